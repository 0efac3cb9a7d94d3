/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_tap.c tests the tap port on real taps, each test in a network namespace
 * of its own, with a packet socket on the interface. Everything runs twice:
 * with RWF_NOWAIT, and with a seccomp filter that answers like a kernel whose
 * taps lack it. A call that blocks ends the program by SIGALRM.
 */
#include "check.h"

#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "netport.h"

#define IFNAME "tap0"
#define ETHERTYPE 0x88b5 /* local experiments: no other program sends it */
#define WAIT_MS 60000
#define FRAMES 70

struct fixture {
	struct netport *port;
	int ctl;   /* any socket, for interface ioctls */
	int peer;  /* packet socket on the interface */
	int other; /* another tap */
};

static const char *why_not; /* nothing can be tested */
static uint8_t room[4][NETPORT_FRAME_MAX];

/* ---- surroundings ---- */

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	close(fd);
	return n < 0 ? -EIO : 0;
}

static int run(const char *cmd)
{
	return system(cmd); /* NOLINT(bugprone-command-processor) */
}

/* Without root: in a user namespace that makes us root. */
static int become_root(void **state)
{
	char uid_map[32], gid_map[32];

	(void)state;
	alarm(60);
	if (geteuid() == 0)
		return 0;
	snprintf(uid_map, sizeof(uid_map), "0 %u 1", geteuid());
	snprintf(gid_map, sizeof(gid_map), "0 %u 1", getegid());
	if (unshare(CLONE_NEWUSER) < 0 ||
	    write_file("/proc/self/setgroups", "deny") < 0 ||
	    write_file("/proc/self/uid_map", uid_map) < 0 ||
	    write_file("/proc/self/gid_map", gid_map) < 0)
		why_not = "needs root or a user namespace";
	return 0;
}

static void link_set(struct fixture *f, const char *ifname, bool up)
{
	struct ifreq ifr = { 0 };

	strncpy(ifr.ifr_name, ifname, IFNAMSIZ - 1);
	check_ret(ioctl(f->ctl, SIOCGIFFLAGS, &ifr), 0);
	if (up)
		ifr.ifr_flags |= IFF_UP;
	else
		ifr.ifr_flags &= ~IFF_UP;
	check_ret(ioctl(f->ctl, SIOCSIFFLAGS, &ifr), 0);
}

static int tun_open(const char *ifname, int kind, int open_flags)
{
	struct ifreq ifr = { .ifr_flags = (short)kind };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | open_flags);

	if (fd < 0)
		return -errno;
	strncpy(ifr.ifr_name, ifname, IFNAMSIZ - 1);
	check_ret(ioctl(fd, TUNSETIFF, &ifr), 0);
	return fd;
}

static int peer_open(const char *ifname)
{
	struct sockaddr_ll sll = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(ifname),
	};
	int fd = check_ok(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
	int big = 4 << 20;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &big, sizeof(big));
	check_ret(bind(fd, (struct sockaddr *)&sll, sizeof(sll)), 0);
	return fd;
}

static void open_port(struct fixture *f, int kind, int open_flags)
{
	int fd = check_ok(tun_open(IFNAME, kind, open_flags));

	link_set(f, IFNAME, true);
	check_ret(netport_from_fd(fd, &f->port), 0);
	f->peer = peer_open(IFNAME);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	f->peer = f->ctl = f->other = -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	netport_close(f->port);
	close(f->peer);
	close(f->other);
	close(f->ctl);
	free(f);
	return 0;
}

/* A test's first line: a namespace of its own, or skip. */
static struct fixture *begin(void **state)
{
	struct fixture *f = *state;

	if (!why_not && unshare(CLONE_NEWNET) < 0)
		why_not = "no right to make a network namespace";
	if (!why_not && access("/dev/net/tun", R_OK | W_OK) < 0)
		why_not = "no /dev/net/tun";
	if (why_not)
		skip_because("%s", why_not);
	/* or every interface that comes up talks about IPv6 */
	write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	f->ctl = check_ok(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	return f;
}

static struct fixture *begin_tap(void **state)
{
	struct fixture *f = begin(state);

	open_port(f, IFF_TAP | IFF_NO_PI, O_NONBLOCK);
	return f;
}

/* ---- frames ---- */

/* an Ethernet frame that says which one it is */
static void fill(uint8_t *p, size_t len, unsigned int seq)
{
	static const uint8_t head[ETH_HLEN] = { 2,
						0,
						0,
						0,
						0,
						9,
						2,
						0,
						0,
						0,
						0,
						1,
						ETHERTYPE >> 8,
						ETHERTYPE & 0xff };

	for (size_t i = 0; i < len; i++)
		p[i] = i < ETH_HLEN ? head[i] : (uint8_t)((size_t)seq * 7 + i);
}

static void check_bytes(const uint8_t *p, size_t len, unsigned int seq)
{
	static uint8_t want[NETPORT_FRAME_MAX];

	fill(want, len, seq);
	assert_memory_equal(p, want, len);
}

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, WAIT_MS) == 1;
}

static void peer_gets(struct fixture *f, size_t len, unsigned int seq)
{
	static uint8_t buf[NETPORT_FRAME_MAX];

	assert_true(readable(f->peer));
	check_ret(recv(f->peer, buf, sizeof(buf), MSG_DONTWAIT), (long)len);
	check_bytes(buf, len, seq);
}

static void peer_gets_nothing(struct fixture *f)
{
	char c;

	check_errno(recv(f->peer, &c, 1, MSG_DONTWAIT), EAGAIN);
}

static void peer_sends(struct fixture *f, size_t len, unsigned int seq)
{
	static uint8_t buf[NETPORT_FRAME_MAX];

	fill(buf, len, seq);
	check_ret(send(f->peer, buf, len, 0), (long)len);
}

/* receive one frame into one piece of @bytes */
static struct frame recv_into(struct fixture *f, size_t bytes)
{
	struct iovec iov = { room[0], bytes };
	struct frame fr = { &iov, 1, 12345, false };

	memset(room[0], 0xee, sizeof(room[0]));
	assert_true(readable(f->port->fd));
	check_ret(f->port->ops->recv(f->port, &fr, 1), 1);
	return fr;
}

static void check_empty(struct fixture *f)
{
	struct iovec iov = { room[0], sizeof(room[0]) };
	struct frame fr = { &iov, 1, 0, false };

	check_ret(f->port->ops->recv(f->port, &fr, 1), -EAGAIN);
}

static int send_one(struct fixture *f, void *bytes, size_t len)
{
	struct iovec iov = { bytes, len };
	struct frame fr = { &iov, 1, (uint32_t)len, false };

	return f->port->ops->send(f->port, &fr, 1);
}

/* ---- sending ---- */

static void a_batch_goes_out_whole_and_in_order(void **state)
{
	struct fixture *f = begin_tap(state);
	static uint8_t bytes[FRAMES][256];
	struct iovec iov[FRAMES][3];
	struct frame fr[FRAMES];

	for (unsigned int i = 0; i < FRAMES; i++) {
		size_t len = 60 + i;

		fill(bytes[i], len, i);
		iov[i][0] = (struct iovec){ bytes[i], 1 };
		iov[i][1] = (struct iovec){ bytes[i] + 1, 29 };
		iov[i][2] = (struct iovec){ bytes[i] + 30, len - 30 };
		fr[i] = (struct frame){ iov[i], 3, (uint32_t)len, false };
	}
	check_ret(f->port->ops->send(f->port, fr, FRAMES), FRAMES);
	for (unsigned int i = 0; i < FRAMES; i++)
		peer_gets(f, 60 + i, i);
	assert_int_equal(f->port->tx_dropped, 0);
}

static void a_runt_is_dropped_and_the_rest_goes_on(void **state)
{
	struct fixture *f = begin_tap(state);
	uint8_t a[60], runt[5] = { 0 }, b[61];
	struct iovec iov[] = { { a, 60 }, { runt, 5 }, { b, 61 } };
	struct frame fr[] = { { &iov[0], 1, 60, false },
			      { &iov[1], 1, 5, false },
			      { &iov[2], 1, 61, false } };

	fill(a, 60, 1);
	fill(b, 61, 2);
	check_ret(f->port->ops->send(f->port, fr, 3), 3);
	assert_int_equal(f->port->tx_dropped, 1);
	peer_gets(f, 60, 1);
	peer_gets(f, 61, 2);
}

static void unreadable_bytes_are_dropped(void **state)
{
	struct fixture *f = begin_tap(state);

	check_ret(send_one(f, (void *)16, 60), 1);
	assert_int_equal(f->port->tx_dropped, 1);
}

static void sending_on_a_link_that_is_down_drops(void **state)
{
	struct fixture *f = begin_tap(state);
	uint8_t a[60];
	struct iovec iov[] = { { a, 60 }, { a, 60 } };
	struct frame fr[] = { { &iov[0], 1, 60, false },
			      { &iov[1], 1, 60, false } };

	fill(a, 60, 1);
	link_set(f, IFNAME, false);
	check_ret(f->port->ops->send(f->port, fr, 2), 2);
	assert_int_equal(f->port->tx_dropped, 2);
	check_empty(f);

	link_set(f, IFNAME, true);
	check_ret(f->port->ops->send(f->port, fr, 1), 1);
	assert_int_equal(f->port->tx_dropped, 2);
}

static void a_deleted_interface_drops_and_reports(void **state)
{
	struct fixture *f = begin_tap(state);
	struct iovec iov = { room[0], sizeof(room[0]) };
	struct frame fr = { &iov, 1, 0, false };
	uint8_t a[60];

	fill(a, 60, 1);
	if (run("ip link del " IFNAME) != 0)
		skip_because("no ip(8)");
	check_ret(send_one(f, a, 60), 1);
	assert_int_equal(f->port->tx_dropped, 1);
	check_ret(f->port->ops->recv(f->port, &fr, 1), -EBADFD);
}

/* ---- a send buffer that fills: frames wait in a shaper behind a bridge ----
 */

static void full_send_buffer(struct fixture *f, int open_flags,
			     bool clear_nonblock)
{
	struct pollfd p = { .events = POLLOUT };
	int sndbuf = 20000, sent = 0, ret = 0;
	uint8_t a[1000];

	open_port(f, IFF_TAP | IFF_NO_PI, open_flags);
	f->other = check_ok(tun_open("tap1", IFF_TAP | IFF_NO_PI, O_NONBLOCK));
	if (run("ip link add br0 type bridge && ip link set br0 up && "
		"ip link set " IFNAME " master br0 && "
		"ip link set tap1 master br0 up && "
		"tc qdisc add dev tap1 root tbf rate 8bit burst 2000 "
		"limit 10000000") != 0)
		skip_because("no ip(8), tc(8), bridge or tbf");
	check_ret(ioctl(f->port->fd, TUNSETSNDBUF, &sndbuf), 0);
	fill(a, sizeof(a), 1);
	if (clear_nonblock) { /* after the port has had a look at it */
		check_ret(send_one(f, a, sizeof(a)), 1);
		check_ret(fcntl(f->port->fd, F_SETFL, 0), 0);
	}

	/* the bridge may take a moment to forward: frames until it does are
	 * not held, so only the end matters */
	while (sent < 1000000 && (ret = send_one(f, a, sizeof(a))) == 1)
		sent++;
	check_ret(ret, -EAGAIN);
	assert_in_range(sent, 5, 999999);
	assert_int_equal(f->port->tx_dropped, 0);

	/* in a batch: nothing is taken, nothing is lost */
	check_ret(send_one(f, a, sizeof(a)), -EAGAIN);
	assert_int_equal(f->port->tx_dropped, 0);

	p.fd = f->port->fd;
	assert_int_equal(poll(&p, 1, 0), 0);
	check_ret(run("tc qdisc del dev tap1 root"), 0);
	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	check_ret(send_one(f, a, sizeof(a)), 1);
}

static void a_full_send_buffer_stops_and_later_goes_on(void **state)
{
	full_send_buffer(begin(state), O_NONBLOCK, false);
}

static void a_full_send_buffer_never_blocks(void **state)
{
	full_send_buffer(begin(state), 0, false);
}

static void a_full_send_buffer_never_blocks_later_on(void **state)
{
	full_send_buffer(begin(state), O_NONBLOCK, true);
}

/* ---- receiving ---- */

static void what_is_there_is_received_and_no_more(void **state)
{
	struct fixture *f = begin_tap(state);
	struct iovec iov[4];
	struct frame fr[4];

	for (unsigned int i = 0; i < 4; i++) {
		iov[i] = (struct iovec){ room[i], sizeof(room[i]) };
		fr[i] = (struct frame){ &iov[i], 1, 0, true };
	}
	check_empty(f);
	for (unsigned int i = 0; i < 6; i++)
		peer_sends(f, 100 + i, i);
	check_ret(f->port->ops->recv(f->port, fr, 4), 4);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(fr[i].len, 100 + i);
		assert_false(fr[i].trunc);
		check_bytes(room[i], 100 + i, i);
	}
	check_ret(f->port->ops->recv(f->port, fr, 4), 2);
	assert_int_equal(fr[1].len, 105);
	check_bytes(room[1], 105, 5);
	check_empty(f);
}

static void a_frame_longer_than_its_room_is_cut_and_marked(void **state)
{
	struct fixture *f = begin_tap(state);
	struct frame fr;

	for (unsigned int i = 0; i < 4; i++)
		peer_sends(f, 100, i);

	fr = recv_into(f, 99);
	assert_int_equal(fr.len, 99);
	assert_true(fr.trunc);
	check_bytes(room[0], 99, 0);
	assert_int_equal(room[0][99], 0xee);

	fr = recv_into(f, 100); /* just fits */
	assert_int_equal(fr.len, 100);
	assert_false(fr.trunc);

	fr = recv_into(f, 1);
	assert_int_equal(fr.len, 1);
	assert_true(fr.trunc);

	fr = recv_into(f, 0);
	assert_int_equal(fr.len, 0);
	assert_true(fr.trunc);
	check_empty(f);
}

static void a_frame_is_received_in_pieces(void **state)
{
	struct fixture *f = begin_tap(state);
	uint8_t a[10], b[7], c[83], all[100];
	struct iovec iov[] = { { a, 10 }, { b, 7 }, { NULL, 0 }, { c, 83 } };
	struct frame fr = { iov, 4, 0, false };

	peer_sends(f, 100, 3);
	assert_true(readable(f->port->fd));
	check_ret(f->port->ops->recv(f->port, &fr, 1), 1);
	assert_int_equal(fr.len, 100);
	assert_false(fr.trunc);
	memcpy(all, a, 10);
	memcpy(all + 10, b, 7);
	memcpy(all + 17, c, 83);
	check_bytes(all, 100, 3);
	assert_int_equal(iov[3].iov_len, 83);
}

static void all_1024_pieces_can_be_used(void **state)
{
	struct fixture *f = begin_tap(state);
	static struct iovec iov[1024];
	struct frame fr = { iov, 1024, 0, false };

	for (unsigned int i = 0; i < 1024; i++)
		iov[i] = (struct iovec){ &room[0][i], 1 };
	peer_sends(f, 1000, 1);
	peer_sends(f, 1100, 2);
	peer_sends(f, 100, 3);
	assert_true(readable(f->port->fd));

	check_ret(f->port->ops->recv(f->port, &fr, 1), 1);
	assert_int_equal(fr.len, 1000);
	assert_false(fr.trunc);
	check_bytes(room[0], 1000, 1);

	check_ret(f->port->ops->recv(f->port, &fr, 1), 1);
	assert_int_equal(fr.len, 1024);
	assert_true(fr.trunc);

	fr.iovcnt = 1023; /* and one for the port */
	check_ret(f->port->ops->recv(f->port, &fr, 1), 1);
	assert_int_equal(fr.len, 100);
	assert_false(fr.trunc);
	check_bytes(room[0], 100, 3);
}

static void unwritable_room_loses_one_frame(void **state)
{
	struct fixture *f = begin(state);
	struct iovec iov[] = { { (void *)16, 2000 }, { room[0], 2000 } };
	struct frame fr[] = { { &iov[0], 1, 9, false },
			      { &iov[1], 1, 9, false } };

	/* without a header the tap itself does not notice, and says 100 */
	open_port(f, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, O_NONBLOCK);
	f->port->hdr_len = 10;
	peer_sends(f, 100, 1);
	peer_sends(f, 101, 2);
	assert_true(readable(f->port->fd));
	check_ret(f->port->ops->recv(f->port, fr, 2), 2);
	assert_int_equal(fr[0].len, 0);
	assert_true(fr[0].trunc);
	assert_int_equal(fr[1].len, 111);
	assert_false(fr[1].trunc);
}

/* ---- blocking descriptors ---- */

static void a_blocking_descriptor_never_blocks(void **state)
{
	struct fixture *f = begin(state);
	uint8_t a[60];
	struct iovec iov[] = { { room[0], 2000 }, { room[1], 2000 } };
	struct frame fr[] = { { &iov[0], 1, 0, false },
			      { &iov[1], 1, 0, false } };

	open_port(f, IFF_TAP | IFF_NO_PI, 0);
	check_empty(f);
	peer_sends(f, 100, 1);
	check_ret(f->port->ops->recv(f->port, fr, 2), 1);
	check_bytes(room[0], 100, 1);
	check_empty(f);

	fill(a, 60, 2);
	check_ret(send_one(f, a, 60), 1);
	peer_gets(f, 60, 2);
	link_set(f, IFNAME, false);
	check_ret(send_one(f, a, 60), 1);
	assert_int_equal(f->port->tx_dropped, 1);
	assert_false(fcntl(f->port->fd, F_GETFL) & O_NONBLOCK);
}

static void clearing_o_nonblock_later_never_blocks(void **state)
{
	struct fixture *f = begin_tap(state);
	int flags = check_ok(fcntl(f->port->fd, F_GETFL));

	check_empty(f);
	assert_int_equal(fcntl(f->port->fd, F_GETFL), flags);
	check_ret(fcntl(f->port->fd, F_SETFL, flags & ~O_NONBLOCK), 0);
	check_empty(f);
	assert_int_equal(fcntl(f->port->fd, F_GETFL), flags & ~O_NONBLOCK);
}

/* ---- virtio_net_hdr ---- */

static void header_is_the_taps_own(struct fixture *f, int hdr_len)
{
	uint8_t bytes[112] = { 0 };
	struct frame fr;

	open_port(f, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, O_NONBLOCK);
	check_ret(ioctl(f->port->fd, TUNSETVNETHDRSZ, &hdr_len), 0);
	f->port->hdr_len = (unsigned int)hdr_len;

	fill(bytes + hdr_len, 100, 1);
	check_ret(send_one(f, bytes, (size_t)hdr_len + 100), 1);
	peer_gets(f, 100, 1);

	peer_sends(f, 100, 2);
	fr = recv_into(f, sizeof(room[0]));
	assert_int_equal(fr.len, hdr_len + 100);
	assert_int_equal(room[0][1], VIRTIO_NET_HDR_GSO_NONE);
	check_bytes(room[0] + hdr_len, 100, 2);

	/* a header only, or a bad one: dropped */
	check_ret(send_one(f, bytes, (size_t)hdr_len), 1);
	bytes[1] = 0x55; /* gso_type */
	check_ret(send_one(f, bytes, sizeof(bytes)), 1);
	assert_int_equal(f->port->tx_dropped, 2);
	peer_gets_nothing(f);

	/* room shorter than the header costs that frame only */
	peer_sends(f, 100, 3);
	peer_sends(f, 100, 4);
	fr = recv_into(f, 5);
	assert_int_equal(fr.len, 0);
	assert_true(fr.trunc);
	recv_into(f, 2000);
	check_bytes(room[0] + hdr_len, 100, 4);
	check_empty(f);
}

/* What the device has in front of a frame, and what the tap has. */
static void other_header(struct fixture *f, unsigned int hdr_len, int file_hdr)
{
	uint8_t bytes[112] = { 0 };
	struct frame fr;

	open_port(f, IFF_TAP | IFF_NO_PI | (file_hdr ? IFF_VNET_HDR : 0),
		  O_NONBLOCK);
	if (file_hdr)
		check_ret(ioctl(f->port->fd, TUNSETVNETHDRSZ, &file_hdr), 0);
	f->port->hdr_len = hdr_len;
	fill(bytes + hdr_len, 100, 1);
	check_ret(send_one(f, bytes, hdr_len + 100), 1);
	peer_gets(f, 100, 1);
	assert_int_equal(f->port->tx_dropped, 0);

	peer_sends(f, 100, 2);
	fr = recv_into(f, sizeof(room[0]));
	assert_int_equal(fr.len, 0);
	assert_true(fr.trunc);
	check_empty(f);

	/* The VMM corrects it. */
	if (!file_hdr || !hdr_len)
		return;
	file_hdr = (int)hdr_len;
	check_ret(ioctl(f->port->fd, TUNSETVNETHDRSZ, &file_hdr), 0);
	peer_sends(f, 100, 3);
	fr = recv_into(f, sizeof(room[0]));
	assert_int_equal(fr.len, hdr_len + 100);
	check_bytes(room[0] + hdr_len, 100, 3);
}

static void a_tap_with_a_longer_header_loses_received_frames(void **state)
{
	other_header(begin(state), 10, 12);
}

static void a_tap_with_a_shorter_header_loses_received_frames(void **state)
{
	other_header(begin(state), 12, 10);
}

static void a_tap_with_an_unwanted_header_loses_received_frames(void **state)
{
	other_header(begin(state), 0, 12);
}

static void a_tap_without_header_loses_received_frames(void **state)
{
	other_header(begin(state), 12, 0);
}

static void a_header_of_10_bytes_passes(void **state)
{
	header_is_the_taps_own(begin(state), 10);
}

static void a_header_of_12_bytes_passes(void **state)
{
	header_is_the_taps_own(begin(state), 12);
}

/* a long TCP frame, unsegmented, checksum to be done, behind its header */
static void fill_gso(uint8_t *p, size_t len)
{
	struct virtio_net_hdr hdr = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = 54,
		.gso_size = 1460,
		.csum_start = 34,
		.csum_offset = 16,
	};
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.tot_len = htons((uint16_t)(len - ETH_HLEN)),
		.ttl = 64,
		.protocol = IPPROTO_TCP,
		.saddr = htonl(0x0a000001),
		.daddr = htonl(0x0a000002),
	};
	struct tcphdr tcp = { .doff = 5, .ack = 1 };

	fill(p + 10, len, 1);
	p[10 + 12] = ETH_P_IP >> 8;
	p[10 + 13] = ETH_P_IP & 0xff;
	memcpy(p, &hdr, 10);
	memcpy(p + 10 + 14, &ip, sizeof(ip));
	memcpy(p + 10 + 34, &tcp, sizeof(tcp));
}

static void a_64k_gso_frame_passes_whole(void **state)
{
	struct fixture *f = begin(state);
	static uint8_t out[10 + ETH_HLEN + 65535], in[NETPORT_FRAME_MAX];
	size_t shorter = 10 + 65535; /* above that a tap has it segmented */
	struct frame fr;
	int on = 1;

	open_port(f, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, O_NONBLOCK);
	f->port->hdr_len = 10;
	check_ret(ioctl(f->port->fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4),
		  0);
	check_ret(setsockopt(f->peer, SOL_PACKET, PACKET_VNET_HDR, &on,
			     sizeof(on)),
		  0);
	fill_gso(out, sizeof(out) - 10);

	check_ret(send_one(f, out, sizeof(out)), 1);
	assert_true(readable(f->peer));
	check_ret(recv(f->peer, in, sizeof(in), MSG_DONTWAIT), sizeof(out));
	assert_memory_equal(in + 10, out + 10, sizeof(out) - 10);

	fill_gso(out, shorter - 10);
	check_ret(send(f->peer, out, shorter, 0), (long)shorter);
	fr = recv_into(f, sizeof(room[0]));
	assert_int_equal(fr.len, shorter);
	assert_false(fr.trunc);
	assert_int_equal(room[0][1], VIRTIO_NET_HDR_GSO_TCPV4);
	assert_memory_equal(room[0] + 10, out + 10, shorter - 10);
}

/* ---- the other kinds ---- */

static void an_l3_tun_carries_packets_without_ethernet(void **state)
{
	struct fixture *f = begin(state);
	uint8_t bytes[24], in[100];
	struct iphdr ip = { .version = 4, .ihl = 5, .tot_len = htons(24) };
	struct frame fr;

	open_port(f, IFF_TUN | IFF_NO_PI, O_NONBLOCK);
	assert_string_equal(f->port->ops->name, "tun");
	memset(bytes, 7, sizeof(bytes));
	memcpy(bytes, &ip, sizeof(ip));
	check_ret(send_one(f, bytes, sizeof(bytes)), 1);
	assert_true(readable(f->peer));
	check_ret(recv(f->peer, in, sizeof(in), MSG_DONTWAIT), sizeof(bytes));
	assert_memory_equal(in, bytes, sizeof(bytes));

	check_ret(send(f->peer, bytes, sizeof(bytes), 0), sizeof(bytes));
	fr = recv_into(f, 100);
	assert_int_equal(fr.len, sizeof(bytes));
	assert_memory_equal(room[0], bytes, sizeof(bytes));
}

/* A macvtap on top of a tap; what it sends is read from the tap. Its index and
 * so its node in /dev, which all namespaces share, is unlikely to be another's.
 */
static int macvtap_open(int open_flags)
{
	unsigned int ifindex = 1000000 + (unsigned int)getpid();
	char text[200];
	int fd;

	snprintf(text, sizeof(text),
		 "ip link add link " IFNAME " name mt0 index %u "
		 "address 02:00:00:00:00:09 type macvtap mode bridge && "
		 "ip link set mt0 up",
		 ifindex);
	if (run(text) != 0)
		skip_because("no ip(8) or no macvtap");
	snprintf(text, sizeof(text), "/dev/tap%u", ifindex);
	fd = open(text, O_RDWR | O_CLOEXEC | open_flags);
	if (fd < 0)
		skip_because("cannot open %s", text);
	return fd;
}

static void macvtap_both_ways(struct fixture *f, int open_flags)
{
	uint8_t bytes[110] = { 0 }, in[200];
	struct frame fr;
	int fd;

	f->other = check_ok(tun_open(IFNAME, IFF_TAP | IFF_NO_PI, O_NONBLOCK));
	link_set(f, IFNAME, true);
	fd = macvtap_open(open_flags);
	check_ret(netport_from_fd(fd, &f->port), 0);
	assert_string_equal(f->port->ops->name, "macvtap");
	f->port->hdr_len = 10; /* a macvtap's default */
	check_empty(f);

	fill(bytes + 10, 100, 1);
	bytes[10 + 5] = 8; /* not to itself */
	check_ret(send_one(f, bytes, 110), 1);
	assert_true(readable(f->other));
	check_ret(read(f->other, in, sizeof(in)), 100);
	assert_memory_equal(in, bytes + 10, 100);

	fill(bytes + 10, 100, 1);
	check_ret(write(f->other, bytes + 10, 100), 100);
	fr = recv_into(f, 2000);
	assert_int_equal(fr.len, 110);
	check_bytes(room[0] + 10, 100, 1);
	check_ret(write(f->other, bytes + 10, 100), 100);
	fr = recv_into(f, 109);
	assert_int_equal(fr.len, 109);
	assert_true(fr.trunc);

	check_ret(send_one(f, bytes, 10), 1); /* nothing behind the header */
	assert_int_equal(f->port->tx_dropped, 1);

	check_ret(run("ip link del mt0"), 0);
	check_empty(f);
	check_ret(send_one(f, bytes, 110), 1);
}

static void a_macvtap_carries_frames(void **state)
{
	macvtap_both_ways(begin(state), O_NONBLOCK);
}

static void a_blocking_macvtap_never_blocks(void **state)
{
	macvtap_both_ways(begin(state), 0);
}

/* ---- running it all ---- */

static int refuse_nowait(void **state)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_preadv2, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pwritev2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(code), code };

	(void)state;
	alarm(60);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		why_not = "no seccomp filter to take RWF_NOWAIT away with";
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tap[] = {
		TEST(a_batch_goes_out_whole_and_in_order),
		TEST(a_runt_is_dropped_and_the_rest_goes_on),
		TEST(unreadable_bytes_are_dropped),
		TEST(sending_on_a_link_that_is_down_drops),
		TEST(a_deleted_interface_drops_and_reports),
		TEST(a_full_send_buffer_stops_and_later_goes_on),
		TEST(a_full_send_buffer_never_blocks),
		TEST(a_full_send_buffer_never_blocks_later_on),
		TEST(what_is_there_is_received_and_no_more),
		TEST(a_frame_longer_than_its_room_is_cut_and_marked),
		TEST(a_frame_is_received_in_pieces),
		TEST(all_1024_pieces_can_be_used),
		TEST(unwritable_room_loses_one_frame),
		TEST(a_blocking_descriptor_never_blocks),
		TEST(clearing_o_nonblock_later_never_blocks),
		TEST(a_header_of_10_bytes_passes),
		TEST(a_tap_with_a_longer_header_loses_received_frames),
		TEST(a_tap_with_a_shorter_header_loses_received_frames),
		TEST(a_tap_with_an_unwanted_header_loses_received_frames),
		TEST(a_tap_without_header_loses_received_frames),
		TEST(a_header_of_12_bytes_passes),
		TEST(a_64k_gso_frame_passes_whole),
		TEST(an_l3_tun_carries_packets_without_ethernet),
		TEST(a_macvtap_carries_frames),
		TEST(a_blocking_macvtap_never_blocks),
	};
	int failed = cmocka_run_group_tests_name("tap", tap, become_root, NULL);

	return failed + cmocka_run_group_tests_name("tap without RWF_NOWAIT",
						    tap, refuse_nowait, NULL);
}
