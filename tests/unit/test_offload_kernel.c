/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Is net/offload.h what the kernel does? Thousands of frames, good ones and
 * damaged ones, go with their virtio_net_hdr through a packet socket into one
 * end of a veth pair that has no offload at all, so the kernel must do the
 * work. What comes out at the other end must be, byte for byte, what
 * net/offload.c makes of the same frame; where that refuses, nothing.
 *
 * All on one CPU, so that frames keep their order: the frames of one sending
 * end with a marker. OFFLOAD_SEED and OFFLOAD_CASES in the environment repeat a
 * run or lengthen it.
 */
#include "check.h"

#include <ctype.h>
#include <endian.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <netinet/in.h>

#include "bytes.h"
#include "netframe.h"
#include "offload.h"
#include "vmm_net.h"

#define TCP4 VIRTIO_NET_HDR_GSO_TCPV4
#define TCP6 VIRTIO_NET_HDR_GSO_TCPV6
#define UFO VIRTIO_NET_HDR_GSO_UDP
#define USO VIRTIO_NET_HDR_GSO_UDP_L4
#define ECN VIRTIO_NET_HDR_GSO_ECN

#define MTU 65535
#define LINK_MAX (MTU + 14 + 4) /* bytes that a veth carries */
#define PIECES_MAX 300          /* the kernel queues 1000 for a CPU */
#define CASES 6000
#define WAIT_MS 5000

/** struct list - frames, one behind the other */
struct list {
	unsigned int n;
	size_t len[PIECES_MAX];
	size_t used;
	uint8_t bytes[PIECES_MAX * 512 + 2 * LINK_MAX];
};

/** struct trial - a frame to send, and what it became */
struct trial {
	struct virtio_net_hdr hdr;
	size_t len;
	uint8_t frame[NETFRAME_MAX];
	const char *kind;
	bool refused;      /* by offload_check() or what follows */
	bool long_headers; /* by what follows: this is its only reason */
	bool many;         /* more than a list holds: not sent */
	bool send_failed;
	struct list ours, kernels;
};

static const char *why_not;
static int tx = -1, rx = -1;
static unsigned int kernel_version; /* 0x0602: 6.2 */
static struct trial t;

/* ---- differences that stay ---- */

static unsigned int ethertype_behind_tags(unsigned int *tags)
{
	size_t at = 12;

	*tags = 0;
	while (at + 2 <= t.len) {
		unsigned int type =
			(unsigned int)t.frame[at] << 8 | t.frame[at + 1];

		if (type != ETH_P_8021Q && type != ETH_P_8021AD)
			return type;
		at += 4;
		++*tags;
	}
	return ETH_P_8021Q; /* cut off */
}

static bool is_gso_without_csum(void)
{
	return t.hdr.gso_type && !(t.hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
}

static bool tagged_without_csum(void)
{
	unsigned int tags;

	ethertype_behind_tags(&tags);
	return is_gso_without_csum() && tags && !t.refused && !t.kernels.n;
}

static bool tunnel_without_csum(void)
{
	return is_gso_without_csum() && t.refused && t.kernels.n == 1;
}

static bool type_0(void)
{
	unsigned int tags;

	return ethertype_behind_tags(&tags) == 0 && !tags && t.hdr.gso_type &&
	       t.refused;
}

static bool tag_cut_off(void)
{
	unsigned int tags;

	ethertype_behind_tags(&tags);
	return tags && t.len < 12 + 4 + 4 && !t.kernels.n;
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
	return (t.hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
	       le16toh(t.hdr.csum_start) > UINT16_MAX - 1024 && !t.kernels.n;
}

static bool tiny_tcp(void)
{
	uint8_t type = t.hdr.gso_type & (uint8_t)~ECN;
	uint16_t size = le16toh(t.hdr.gso_size);

	return (type == TCP4 || type == TCP6) && size > 0 && size < 8;
}

static bool old_without_uso(void)
{
	return kernel_version < 0x0602 && t.hdr.gso_type == USO;
}

static bool old_start(void)
{
	size_t least = (t.hdr.gso_type & ~ECN) == TCP6 ? 40 : 20;

	return kernel_version < 0x060c && t.refused &&
	       (t.hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
	       le16toh(t.hdr.csum_start) < least;
}

static const struct difference {
	const char *what, *why;
	bool (*is)(void);
} differences[] = {
	{ "GSO, tagged, without NEEDS_CSUM",
	  "a packet socket refuses it by mistake (it dissects the IP header as "
	  "a tag), a tap takes it: so do we",
	  tagged_without_csum },
	{ "GSO without NEEDS_CSUM that fits one segment, in a tunnel",
	  "the kernel's dissector finds TCP in IPIP, GRE, MPLS, ...; virtio "
	  "wants NEEDS_CSUM with GSO",
	  tunnel_without_csum },
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

static int begin(void **state)
{
	char a[IFNAMSIZ], b[IFNAMSIZ];
	int room = 64 << 20;
	cpu_set_t one;
	int ret;

	(void)state;
	alarm(300);
	kernel_version = version_of_kernel();
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one);
	ret = vmm_net_enter();
	if (ret == 0)
		ret = vmm_veth(a, b);
	if (ret < 0) {
		why_not = "no right to make a network namespace with a veth";
		return 0;
	}
	check_ret(vmm_link_set_mtu(a, MTU), 0);
	check_ret(vmm_link_set_mtu(b, MTU), 0);
	features_off(a);
	features_off(b);
	tx = check_ok(vmm_packet_open(a, 0, true));
	rx = check_ok(vmm_packet_open(b, ETH_P_ALL, false));
	set_option(rx, SOL_PACKET, PACKET_AUXDATA, 1);
	if (setsockopt(rx, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) < 0)
		set_option(rx, SOL_SOCKET, SO_RCVBUF, room);
	return 0;
}

static int end(void **state)
{
	(void)state;
	close(tx);
	close(rx);
	return 0;
}

/* ---- the kernel's answer ---- */

static bool sent(const struct virtio_net_hdr *hdr, const void *frame,
		 size_t len)
{
	struct iovec iov[2] = { { (void *)hdr, sizeof(*hdr) },
				{ (void *)frame, len } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };

	return sendmsg(tx, &m, 0) >= 0;
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
	struct pollfd p = { .fd = rx, .events = POLLIN };

	if (poll(&p, 1, WAIT_MS) != 1)
		fail_msg("the marker did not arrive");
	return put_tag_back(&m, frame,
			    (size_t)check_ok(recvmsg(rx, &m, MSG_TRUNC)));
}

static void ask_kernel(void)
{
	static const struct virtio_net_hdr plain;
	static uint8_t marker[60], room[LINK_MAX + 100];
	static uint32_t turn;
	struct list *l = &t.kernels;

	turn++;
	vmm_frame(marker, sizeof(marker), turn);
	t.send_failed = !sent(&t.hdr, t.frame, t.len);
	assert_true(sent(&plain, marker, sizeof(marker)));
	l->n = 0;
	l->used = 0;
	for (;;) {
		size_t len = receive(room, sizeof(room));

		if (len == sizeof(marker) && vmm_frame_is(room, len, turn))
			return;
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
	int pieces = offload_segments_begin(&s, hdr, t.frame, t.len);

	t.many = pieces > PIECES_MAX ||
		 (pieces > 0 &&
		  (size_t)pieces * s.header_len + t.len > sizeof(t.ours.bytes));
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
	struct virtio_net_hdr hdr = t.hdr;

	t.many = t.long_headers = false;
	t.ours.n = 0;
	t.ours.used = 0;
	t.refused = offload_check(&hdr, t.frame, t.len) < 0;
	if (t.refused)
		return;
	switch (offload_needed(&hdr, 0)) {
	case OFFLOAD_NOTHING:
		add(t.frame, t.len, t.frame, 0);
		break;
	case OFFLOAD_CHECKSUM:
		memcpy(copy, t.frame, t.len);
		offload_checksum(&hdr, copy, t.len);
		add(copy, t.len, copy, 0);
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

	return (t.hdr.gso_type & ~ECN) == UFO && t.ours.n > 1 &&
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
		    t.kind, t.len, t.hdr.flags, t.hdr.gso_type,
		    le16toh(t.hdr.hdr_len), le16toh(t.hdr.gso_size),
		    le16toh(t.hdr.csum_start), le16toh(t.hdr.csum_offset));
	for (size_t i = 0; i < MIN(t.len, (size_t)160); i++)
		print_error("%02x%s", t.frame[i], i % 16 == 15 ? "\n" : " ");
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

/* ---- frames ---- */

static uint32_t random_state;

static uint32_t any(void)
{
	return netframe_random(&random_state);
}

static uint32_t below(uint32_t n)
{
	return (uint32_t)(((uint64_t)any() * n) >> 32);
}

static bool one_in(uint32_t n)
{
	return below(n) == 0;
}

static size_t payload_size(void)
{
	switch (below(6)) {
	case 0:
		return below(16);
	case 1:
		return below(65000);
	default:
		return below(5000);
	}
}

static uint16_t segment_size(void)
{
	static const uint16_t some[] = { 1,   7,    8,    9,    100,  536,
					 999, 1000, 1448, 1460, 1480, 8000 };

	switch (below(8)) {
	case 0:
		return (uint16_t)any();
	case 1:
		return (uint16_t)below(64);
	default:
		return some[below(ARRAY_SIZE(some))];
	}
}

static struct netframe_order any_order(void)
{
	static const uint8_t kinds[] = { IPPROTO_HOPOPTS, IPPROTO_ROUTING,
					 IPPROTO_DSTOPTS };
	struct netframe_order o = {
		.ipv6 = one_in(2),
		.udp = one_in(2),
		.tags = one_in(3) ? 1 + below(2) : 0,
		.payload = payload_size(),
		.whole_checksum = one_in(6),
		.seed = any() | 1,
	};

	for (size_t i = 0; i < ARRAY_SIZE(o.tag); i++)
		o.tag[i] = one_in(2) ? ETH_P_8021Q : ETH_P_8021AD;
	if (one_in(20))
		o.tags = below(9);
	if (one_in(3))
		o.ip_options = 4 * (size_t)below(11);
	if (one_in(3)) {
		o.extensions_num = 1 + below(3);
		o.extension_len = 8 * (1 + (size_t)below(one_in(8) ? 40 : 4));
	}
	for (size_t i = 0; i < ARRAY_SIZE(o.extensions); i++)
		o.extensions[i] = one_in(30) ? IPPROTO_FRAGMENT
					     : kinds[below(ARRAY_SIZE(kinds))];
	if (one_in(2))
		o.tcp_options = 4 * (size_t)below(11);
	o.tcp_flags = (uint8_t)any();
	if (!one_in(4)) {
		o.gso_size = segment_size();
		if (o.udp)
			o.gso_type = one_in(2) ? UFO : USO;
		else
			o.gso_type = o.ipv6 ? TCP6 : TCP4;
		if (one_in(o.udp ? 20 : 4))
			o.gso_type |= ECN;
	}
	return o;
}

static uint16_t nudge(uint16_t le)
{
	uint16_t v = le16toh(le);

	switch (below(4)) {
	case 0:
		return htole16((uint16_t)any());
	case 1:
		return htole16((uint16_t)below(200));
	case 2:
		return htole16((uint16_t)t.len + (uint16_t)below(5) - 2);
	default:
		return htole16((uint16_t)(v + below(9) - 4));
	}
}

static void damage_hdr(void)
{
	static const uint8_t types[] = { 0,    TCP4,        TCP6, UFO,
					 USO,  ECN,         2,    6,
					 0x20, TCP4 | 0x20, 0x40, TCP4 | ECN,
					 0x60 };

	switch (below(7)) {
	case 0:
		t.hdr.flags = (uint8_t)any();
		break;
	case 1:
		t.hdr.flags ^= VIRTIO_NET_HDR_F_NEEDS_CSUM;
		break;
	case 2:
		t.hdr.gso_type = types[below(ARRAY_SIZE(types))];
		break;
	case 3:
		t.hdr.hdr_len = nudge(t.hdr.hdr_len);
		break;
	case 4:
		t.hdr.gso_size = nudge(t.hdr.gso_size);
		break;
	case 5:
		t.hdr.csum_start = nudge(t.hdr.csum_start);
		break;
	default:
		t.hdr.csum_offset = nudge(t.hdr.csum_offset);
	}
}

static void damage_frame(void)
{
	size_t n;

	switch (below(4)) {
	case 0: /* cut off */
		t.len = one_in(2) ? below((uint32_t)t.len)
				  : MIN(t.len, 14 + (size_t)below(120));
		break;
	case 1: /* a trailer */
		n = below(64);
		memset(t.frame + t.len, 0x55, n);
		t.len += n;
		break;
	default:
		n = 12 + below(100);
		if (n < t.len)
			t.frame[n] = one_in(2) ? (uint8_t)any()
					       : t.frame[n] ^ 1u << below(8);
	}
}

static void make_trial(void)
{
	struct netframe_order o = any_order();

	t.len = netframe_make(&o, &t.hdr, t.frame);
	t.kind = o.ipv6  ? o.udp ? "UDP/IPv6" : "TCP/IPv6"
		 : o.udp ? "UDP/IPv4"
			 : "TCP/IPv4";
	while (one_in(3))
		damage_hdr();
	while (one_in(4))
		damage_frame();
	t.len = MIN(t.len, (size_t)MTU + 14);
}

static uint32_t number(const char *name, uint32_t otherwise)
{
	const char *text = getenv(name);

	return text ? (uint32_t)strtoul(text, NULL, 0) : otherwise;
}

static void frames_are_finished_or_refused_as_by_the_kernel(void **state)
{
	uint32_t seed = number("OFFLOAD_SEED", (uint32_t)time(NULL));
	uint32_t cases = number("OFFLOAD_CASES", CASES);
	struct tally y = { 0 };

	(void)state;
	if (why_not)
		skip_because("%s", why_not);
	print_message("# OFFLOAD_SEED=%u OFFLOAD_CASES=%u\n", seed, cases);
	random_state = seed;
	for (uint32_t i = 0; i < cases; i++) {
		make_trial();
		run_trial(&y);
	}
	print_tally(&y);
	assert_true(y.segmented > 0 && y.nothing > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			frames_are_finished_or_refused_as_by_the_kernel),
	};

	return cmocka_run_group_tests_name("offload and the kernel", tests,
					   begin, end);
}
