/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Is include/offload.h what the kernel does? Thousands of frames, good ones and
 * damaged ones, go with their virtio_net_hdr through a packet socket into one
 * end of a veth pair that has no offload at all, so the kernel must do the
 * work. What comes out at the other end must be, byte for byte, what
 * net/offload/ makes of the same frame; where that refuses, nothing.
 *
 * All on one CPU, so that frames keep their order: the frames of one sending
 * end with a marker. OFFLOAD_SEED and OFFLOAD_CASES in the environment repeat a
 * run or lengthen it.
 */
#include "check.h"

#include <endian.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <netinet/in.h>

#include "bytes.h"
#include "netframe_any.h"
#include "offload_priv.h"
#include "vmm_net.h"

#define TCP4 VIRTIO_NET_HDR_GSO_TCPV4
#define TCP6 VIRTIO_NET_HDR_GSO_TCPV6
#define UFO VIRTIO_NET_HDR_GSO_UDP
#define USO VIRTIO_NET_HDR_GSO_UDP_L4
#define ECN VIRTIO_NET_HDR_GSO_ECN

#define MTU 65535
#define LINK_MAX (MTU + 14 + 4) /* bytes that a veth carries */
#define PIECES_MAX 300          /* the kernel queues 1000 for a CPU */
#define CASES 4000
#define TUN_F_USO 0x60 /* newer than some <linux/if_tun.h> */
#define WAIT_MS 60000

/** struct list - frames, one behind the other */
struct list {
	unsigned int n;
	size_t len[PIECES_MAX];
	size_t used;
	uint8_t bytes[PIECES_MAX * 512 + 2 * LINK_MAX];
};

/** struct route - a way through the kernel
 * @tap: else a packet socket
 */
struct route {
	const char *why_not;
	bool tap;
	int tx, rx;
};

/** struct trial - a frame to send, and what it became */
struct trial {
	const struct route *route;
	struct netframe_any sent;
	bool refused;      /* by offload_check() or what follows */
	bool long_headers; /* by what follows: this is its only reason */
	bool many;         /* more than a list holds: not sent */
	bool send_failed;
	struct list ours, kernels;
};

static struct route by_packet = { .tx = -1, .rx = -1 };
static struct route by_tap = { .tap = true, .tx = -1, .rx = -1 };
static unsigned int kernel_version; /* 0x0602: 6.2 */
static struct trial t;

/* ---- differences that stay ---- */

static unsigned int ethertype_behind_tags(unsigned int *tags)
{
	size_t at = 12;

	*tags = 0;
	while (at + 2 <= t.sent.len) {
		unsigned int type = (unsigned int)t.sent.frame[at] << 8 |
				    t.sent.frame[at + 1];

		if (type != ETH_P_8021Q && type != ETH_P_8021AD)
			return type;
		at += 4;
		++*tags;
	}
	return ETH_P_8021Q; /* cut off */
}

static bool short_hdr_len(void)
{
	return t.route->tap && t.send_failed &&
	       le16toh(t.sent.hdr.hdr_len) < 14;
}

static bool tags_no_bridge_counts(void)
{
	unsigned int tags;
	unsigned int type = ethertype_behind_tags(&tags);

	return t.route->tap && !t.kernels.n &&
	       (tags > 7 || type == ETH_P_8021Q || (tags && !type)) &&
	       (t.sent.hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
}

static bool is_gso_without_csum(void)
{
	return t.sent.hdr.gso_type &&
	       !(t.sent.hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
}

static bool tagged_without_csum(void)
{
	unsigned int tags;

	ethertype_behind_tags(&tags);
	return !t.route->tap && is_gso_without_csum() && tags && !t.refused &&
	       !t.kernels.n;
}

static bool one_without_csum(void)
{
	return t.route->tap && is_gso_without_csum() && t.ours.n == 1 &&
	       !t.kernels.n;
}

static bool dissected_without_csum(void)
{
	return is_gso_without_csum() && t.refused && t.kernels.n == 1;
}

static bool type_0(void)
{
	unsigned int tags;

	return ethertype_behind_tags(&tags) == 0 && !tags &&
	       t.sent.hdr.gso_type && t.refused;
}

static bool tag_cut_off(void)
{
	unsigned int tags;

	ethertype_behind_tags(&tags);
	return tags && t.sent.len < 12 + 4 + 4 && !t.kernels.n;
}

static bool too_long_for_veth(void)
{
	for (size_t i = 0, n = 0; i < t.ours.n; i++) {
		n = MAX(n, t.ours.len[i]);
		if (n > LINK_MAX)
			return true;
	}
	return false;
}

static bool long_headers(void)
{
	return t.long_headers;
}

static bool start_near_64k(void)
{
	return (t.sent.hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
	       le16toh(t.sent.hdr.csum_start) > UINT16_MAX - 1024 &&
	       !t.kernels.n;
}

static bool tiny_tcp(void)
{
	uint8_t type = t.sent.hdr.gso_type & (uint8_t)~(ECN | 0x60);
	uint16_t size = le16toh(t.sent.hdr.gso_size);

	return (type == TCP4 || type == TCP6) && size > 0 && size < 8;
}

static bool old_without_uso(void)
{
	return kernel_version < 0x0602 && t.sent.hdr.gso_type == USO;
}

static bool old_start(void)
{
	size_t least = (t.sent.hdr.gso_type & ~ECN) == TCP6 ? 40 : 20;

	return kernel_version < 0x060c && t.refused &&
	       (t.sent.hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
	       le16toh(t.sent.hdr.csum_start) < least;
}

static const struct difference {
	const char *what, *why;
	bool (*is)(void);
} differences[] = {
	{ "hdr_len of 1...13", "a tap refuses it, a packet socket does not",
	  short_hdr_len },
	{ "GSO, tagged, without NEEDS_CSUM",
	  "a packet socket refuses it by mistake (it dissects the IP header as "
	  "a tag), a tap takes it: so do we",
	  tagged_without_csum },
	{ "GSO without NEEDS_CSUM that just fits one segment",
	  "a packet socket sees that, a tap guesses shorter headers, takes it "
	  "for GSO, and segmentation refuses it: as the packet socket",
	  one_without_csum },
	{ "more than 7 tags, or type 0 behind a tag, NEEDS_CSUM",
	  "a bridge parses what is behind them: not compared",
	  tags_no_bridge_counts },
	{ "GSO without NEEDS_CSUM that fits one segment, in a tunnel",
	  "the kernel's dissector finds TCP in IPIP, GRE, MPLS, ...; virtio "
	  "wants NEEDS_CSUM with GSO",
	  dissected_without_csum },
	{ "GSO of Ethernet type 0",
	  "a packet socket guesses the type from gso_type, a tap does not",
	  type_0 },
	{ "a tag with nothing behind it",
	  "it is sent; the receiving end drops it when it takes the tag off",
	  tag_cut_off },
	{ "segments longer than 64 KiB", "veth drops them", too_long_for_veth },
	{ "headers longer than OFFLOAD_HEADER_MAX", "no room in a segment",
	  long_headers },
	{ "a checksum from behind byte 64511",
	  "the kernel counts its headroom in, and refuses from 65535 on",
	  start_near_64k },
	{ "TCP segments of less than 8 bytes",
	  "newer kernels (6.12.117 is one) make 8 bytes of it", tiny_tcp },
	{ "USO before Linux 6.2", "unknown there", old_without_uso },
	{ "a checksum from before where an IP header ends",
	  "refused since somewhere before Linux 6.12", old_start },
};

/* ---- surroundings ---- */

static unsigned int version_of_kernel(void)
{
	struct utsname u;
	unsigned int major = 0, minor = 0;

	uname(&u);
	/* NOLINTNEXTLINE(cert-err34-c): 0.0 is a fine default */
	sscanf(u.release, "%u.%u", &major, &minor);
	return major << 8 | minor;
}

/* Every feature that can be turned off. */
static void features_off(const char *ifname)
{
	union {
		struct ethtool_gfeatures get;
		struct ethtool_sfeatures set;
		uint8_t room[sizeof(struct ethtool_gfeatures) +
			     8 * sizeof(struct ethtool_get_features_block)];
	} u = { .get = { .cmd = ETHTOOL_GFEATURES, .size = 8 } };
	struct ifreq ifr = { .ifr_data = (void *)&u };
	struct ethtool_get_features_block blocks[8];
	int ctl = check_ok(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	uint32_t n;

	strncpy(ifr.ifr_name, ifname, IFNAMSIZ - 1);
	check_ok(ioctl(ctl, SIOCETHTOOL, &ifr));
	n = MIN(u.get.size, 8u);
	memcpy(blocks, u.get.features, n * sizeof(blocks[0]));
	memset(&u, 0, sizeof(u));
	u.set.cmd = ETHTOOL_SFEATURES;
	u.set.size = n;
	for (uint32_t i = 0; i < n; i++)
		u.set.features[i].valid =
			blocks[i].available & ~blocks[i].never_changed;
	check_ok(ioctl(ctl, SIOCETHTOOL, &ifr));
	close(ctl);
}

static void set_option(int fd, int level, int name, int value)
{
	check_ret(setsockopt(fd, level, name, &value, sizeof(value)), 0);
}

static int open_receiver(const char *ifname)
{
	int fd = check_ok(vmm_packet_open(ifname, ETH_P_ALL, false));
	int room = 64 << 20;

	set_option(fd, SOL_PACKET, PACKET_AUXDATA, 1);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) < 0)
		set_option(fd, SOL_SOCKET, SO_RCVBUF, room);
	return fd;
}

/* A pair without offloads; what enters @a is received on the descriptor. */
static int open_pair(char a[IFNAMSIZ])
{
	char b[IFNAMSIZ];
	int ret = vmm_veth(a, b);

	if (ret < 0)
		return ret;
	check_ret(vmm_link_set_mtu(a, MTU), 0);
	check_ret(vmm_link_set_mtu(b, MTU), 0);
	features_off(a);
	features_off(b);
	return open_receiver(b);
}

static void write_sysctl(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return; /* not in this kernel */
	check_ret(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void bridge(const char *a, const char *b)
{
	struct ifreq ifr = { .ifr_name = "uvbr" };
	int ctl = check_ok(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));

	/* Where a bridge asks netfilter, trailers and bad headers are lost. */
	write_sysctl("/proc/sys/net/bridge/bridge-nf-call-iptables", "0");
	write_sysctl("/proc/sys/net/bridge/bridge-nf-call-ip6tables", "0");
	write_sysctl("/proc/sys/net/bridge/bridge-nf-call-arptables", "0");
	check_ok(ioctl(ctl, SIOCBRADDBR, "uvbr"));
	ifr.ifr_ifindex = (int)if_nametoindex(a);
	check_ok(ioctl(ctl, SIOCBRADDIF, &ifr));
	ifr.ifr_ifindex = (int)if_nametoindex(b);
	check_ok(ioctl(ctl, SIOCBRADDIF, &ifr));
	check_ret(vmm_link_set("uvbr", true), 0);
	close(ctl);
}

/* A tap, bridged to a pair. */
static void open_tap_route(void)
{
	static const struct vmm_tap_config config = {
		/* With more, tun counts what follows the header as frame. */
		.hdr_len = sizeof(struct virtio_net_hdr),
		.offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 |
			    TUN_F_TSO_ECN | TUN_F_USO,
	};
	char tap[IFNAMSIZ], a[IFNAMSIZ];

	by_tap.tx = vmm_tap_open(&config, tap);
	if (by_tap.tx < 0) {
		by_tap.why_not = "no tap, or none with USO (Linux 6.2)";
		return;
	}
	by_tap.rx = check_ok(open_pair(a));
	bridge(tap, a);
}

static int begin(void **state)
{
	char a[IFNAMSIZ];
	cpu_set_t one;

	(void)state;
	alarm(300);
	kernel_version = version_of_kernel();
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one);
	if (vmm_net_enter() < 0 || (by_packet.rx = open_pair(a)) < 0) {
		by_packet.why_not = by_tap.why_not =
			"no right to make a network namespace with a veth";
		return 0;
	}
	by_packet.tx = check_ok(vmm_packet_open(a, 0, true));
	open_tap_route();
	return 0;
}

static int end(void **state)
{
	(void)state;
	close(by_packet.tx);
	close(by_packet.rx);
	close(by_tap.tx);
	close(by_tap.rx);
	return 0;
}

/* ---- the kernel's answer ---- */

static bool sent(const struct virtio_net_hdr *hdr, const void *frame,
		 size_t len)
{
	struct iovec iov[2] = { { (void *)hdr, sizeof(*hdr) },
				{ (void *)frame, len } };

	return writev(t.route->tx, iov, 2) >= 0;
}

/* A tag that the kernel took off is put back. */
static size_t put_tag_back(struct msghdr *m, uint8_t *frame, size_t len)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(m);
	struct tpacket_auxdata aux;
	uint16_t tag[2];

	assert_non_null(c);
	assert_int_equal(c->cmsg_type, PACKET_AUXDATA);
	memcpy(&aux, CMSG_DATA(c), sizeof(aux));
	if (!(aux.tp_status & TP_STATUS_VLAN_VALID))
		return len;
	tag[0] = htons(aux.tp_vlan_tpid);
	tag[1] = htons(aux.tp_vlan_tci);
	memmove(frame + 16, frame + 12, len - 12);
	memcpy(frame + 12, tag, sizeof(tag));
	return len + sizeof(tag);
}

static size_t receive(uint8_t *frame, size_t room)
{
	union {
		struct cmsghdr align;
		uint8_t room[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	} control;
	struct iovec iov = { frame, room - 4 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	struct pollfd p = { .fd = t.route->rx, .events = POLLIN };

	if (poll(&p, 1, WAIT_MS) != 1)
		fail_msg("the marker did not arrive");
	return put_tag_back(
		&m, frame,
		(size_t)check_ok(recvmsg(t.route->rx, &m, MSG_TRUNC)));
}

static void ask_kernel(void)
{
	static const struct virtio_net_hdr plain;
	static uint8_t marker[60], room[LINK_MAX + 100];
	static uint32_t turn;
	struct list *l = &t.kernels;

	turn++;
	vmm_frame(marker, sizeof(marker), turn);
	t.send_failed = !sent(&t.sent.hdr, t.sent.frame, t.sent.len);
	assert_true(sent(&plain, marker, sizeof(marker)));
	l->n = 0;
	l->used = 0;
	for (;;) {
		size_t len = receive(room, sizeof(room));

		if (len == sizeof(marker) && vmm_frame_is(room, len, turn))
			return;
		/* what a bridge says of its own accord */
		if (memcmp(room + 6, t.sent.frame + 6, 6) != 0)
			continue;
		/* more than ours can be are only counted */
		if (l->n < PIECES_MAX && l->used + len <= sizeof(l->bytes)) {
			memcpy(l->bytes + l->used, room, len);
			l->used += len;
			l->len[l->n] = len;
		}
		l->n++;
	}
}

/* ---- ours ---- */

static void add(const uint8_t *header, size_t n, const uint8_t *payload,
		size_t payload_len)
{
	struct list *l = &t.ours;

	memcpy(l->bytes + l->used, header, n);
	memcpy(l->bytes + l->used + n, payload, payload_len);
	l->len[l->n++] = n + payload_len;
	l->used += n + payload_len;
}

static bool cut(const struct virtio_net_hdr *hdr)
{
	uint8_t header[OFFLOAD_HEADER_MAX];
	struct offload_segments s;
	const uint8_t *payload;
	size_t n, payload_len;
	int pieces = offload_segments_begin(&s, hdr, t.sent.frame, t.sent.len);

	t.many = pieces > PIECES_MAX ||
		 (pieces > 0 && (size_t)pieces * s.header_len + t.sent.len >
					sizeof(t.ours.bytes));
	if (pieces < 0 || t.many)
		return false;
	while ((n = offload_segments_next(&s, header, &payload, &payload_len)) >
	       0)
		add(header, n, payload, payload_len);
	assert_int_equal(t.ours.n, pieces);
	return true;
}

static void ask_ourselves(void)
{
	static uint8_t copy[NETFRAME_MAX];
	struct virtio_net_hdr hdr = t.sent.hdr;

	t.many = t.long_headers = false;
	t.ours.n = 0;
	t.ours.used = 0;
	t.refused = offload_check(&hdr, t.sent.frame, t.sent.len) < 0;
	if (t.refused)
		return;
	switch (offload_needed(&hdr, 0)) {
	case OFFLOAD_NOTHING:
		add(t.sent.frame, t.sent.len, t.sent.frame, 0);
		break;
	case OFFLOAD_CHECKSUM:
		memcpy(copy, t.sent.frame, t.sent.len);
		offload_checksum(&hdr, copy, t.sent.len);
		add(copy, t.sent.len, copy, 0);
		break;
	case OFFLOAD_SEGMENT:
		t.refused = t.long_headers = !cut(&hdr);
	}
}

/* ---- the comparison ---- */

/* IPv6 fragments have random numbers, here and there: the kernel's must be the
 * same in all, then it is put into ours. */
static void level_fragment_ids(void)
{
	size_t ours = 0, theirs = 0;
	const uint8_t *first = NULL;

	for (unsigned int i = 0; i < t.ours.n && i < t.kernels.n; i++) {
		uint8_t *f = t.ours.bytes + ours;
		size_t at = 12, next;

		while ((f[at] == 0x81 && f[at + 1] == 0) ||
		       (f[at] == 0x88 && f[at + 1] == 0xa8))
			at += 4;
		next = at + 2 + 6;
		at += 2 + 40;
		while (f[next] != IPPROTO_FRAGMENT) {
			next = at;
			at += (f[at + 1] + 1u) * 8;
		}
		if (!first)
			first = t.kernels.bytes + theirs + at + 4;
		memcpy(f + at + 4, first, 4);
		ours += t.ours.len[i];
		theirs += t.kernels.len[i];
	}
}

static bool is_ufo6(void)
{
	unsigned int tags;

	return (t.sent.hdr.gso_type & ~ECN) == UFO && t.ours.n > 1 &&
	       ethertype_behind_tags(&tags) == ETH_P_IPV6;
}

/* NULL, or what differs. */
static const char *compare(void)
{
	static char text[200];
	const struct list *a = &t.ours, *b = &t.kernels;
	size_t at = 0;

	if (t.send_failed && b->n)
		return "the kernel refused it and sent it";
	if (a->n != b->n) {
		snprintf(text, sizeof(text), "%u frames, the kernel's %u", a->n,
			 b->n);
		return text;
	}
	for (unsigned int i = 0; i < a->n; i++) {
		if (a->len[i] != b->len[i]) {
			snprintf(text, sizeof(text),
				 "frame %u has %zu bytes, the kernel's %zu", i,
				 a->len[i], b->len[i]);
			return text;
		}
		for (size_t j = 0; j < a->len[i]; j++, at++) {
			if (a->bytes[at] == b->bytes[at])
				continue;
			snprintf(text, sizeof(text),
				 "byte %zu of frame %u is %02x, the kernel's "
				 "%02x",
				 j, i, a->bytes[at], b->bytes[at]);
			return text;
		}
	}
	return NULL;
}

static void print_trial(void)
{
	print_error("%s: %zu bytes, flags %02x gso_type %02x hdr_len %u "
		    "gso_size %u csum_start %u csum_offset %u\n",
		    t.sent.kind, t.sent.len, t.sent.hdr.flags,
		    t.sent.hdr.gso_type, le16toh(t.sent.hdr.hdr_len),
		    le16toh(t.sent.hdr.gso_size),
		    le16toh(t.sent.hdr.csum_start),
		    le16toh(t.sent.hdr.csum_offset));
	for (size_t i = 0; i < MIN(t.sent.len, (size_t)160); i++)
		print_error("%02x%s", t.sent.frame[i],
			    i % 16 == 15 ? "\n" : " ");
	print_error("\n");
}

/** struct tally - of a run */
struct tally {
	unsigned int same, nothing, segmented, many;
	unsigned int differ[ARRAY_SIZE(differences)];
};

static void tally_difference(struct tally *y, const char *what)
{
	for (size_t i = 0; i < ARRAY_SIZE(differences); i++) {
		if (differences[i].is()) {
			y->differ[i]++;
			return;
		}
	}
	print_trial();
	fail_msg("%s (send %s)", what, t.send_failed ? "failed" : "succeeded");
}

static void run_trial(struct tally *y)
{
	const char *what;

	ask_ourselves();
	if (t.many) {
		y->many++;
		return;
	}
	ask_kernel();
	if (is_ufo6())
		level_fragment_ids();
	what = compare();
	if (what) {
		tally_difference(y, what);
		return;
	}
	y->same++;
	y->nothing += t.ours.n == 0;
	y->segmented += t.ours.n > 1;
}

static void print_tally(const struct tally *y)
{
	print_message("# same: %u (nothing %u, more than one %u); not tried, "
		      "too many frames: %u\n",
		      y->same, y->nothing, y->segmented, y->many);
	for (size_t i = 0; i < ARRAY_SIZE(differences); i++) {
		if (y->differ[i])
			print_message("# differ: %u: %s: %s\n", y->differ[i],
				      differences[i].what, differences[i].why);
	}
}

/* ---- runs ---- */

static uint32_t number(const char *name, uint32_t otherwise)
{
	const char *text = getenv(name);

	return text ? (uint32_t)strtoul(text, NULL, 0) : otherwise;
}

static void run(const struct route *route)
{
	uint32_t seed = number("OFFLOAD_SEED", (uint32_t)time(NULL));
	uint32_t cases = number("OFFLOAD_CASES", CASES);
	struct tally y = { 0 };

	if (route->why_not)
		skip_because("%s", route->why_not);
	print_message("# OFFLOAD_SEED=%u OFFLOAD_CASES=%u\n", seed, cases);
	t.route = route;
	for (uint32_t i = 0; i < cases; i++) {
		netframe_any(&seed, &t.sent);
		run_trial(&y);
	}
	print_tally(&y);
	assert_true(y.segmented > 0 && y.nothing > 0);
}

static void a_packet_sockets_frames_become_what_the_kernel_makes(void **state)
{
	(void)state;
	run(&by_packet);
}

static void a_taps_frames_become_what_the_kernel_makes(void **state)
{
	(void)state;
	run(&by_tap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_packet_sockets_frames_become_what_the_kernel_makes),
		cmocka_unit_test(a_taps_frames_become_what_the_kernel_makes),
	};

	return cmocka_run_group_tests_name("offload and the kernel", tests,
					   begin, end);
}
