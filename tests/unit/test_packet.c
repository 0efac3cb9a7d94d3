/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_packet.c tests the packet port, bound to a tap in a namespace of the
 * test; the tap's descriptor is the far end of the wire. The socket is a
 * blocking one unless said otherwise: a call that blocks ends the program by
 * SIGALRM.
 */
#include "check.h"

#include <fcntl.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>

#include "netport.h"

#define IFNAME "tap0"
#define ETHERTYPE 0x88b5 /* local experiments: no other program sends it */
#define WAIT_MS 60000
#define FRAMES 150 /* more than two calls' worth */

struct fixture {
	struct netport *port;
	int ctl;  /* any socket, for interface ioctls */
	int wire; /* the tap */
};

static const char *why_not; /* no namespace to make interfaces in */
static uint8_t room[FRAMES][2000];
static uint8_t big[3][NETPORT_FRAME_MAX];

/* ---- surroundings ---- */

static int become_root(void **state)
{
	(void)state;
	alarm(60);
	if (geteuid() != 0 && unshare(CLONE_NEWUSER) < 0)
		why_not = "needs root or a user namespace";
	return 0;
}

static void link_set(struct fixture *f, bool up)
{
	struct ifreq ifr = { .ifr_name = IFNAME, .ifr_flags = up ? IFF_UP : 0 };

	check_ret(ioctl(f->ctl, SIOCSIFFLAGS, &ifr), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	f->ctl = f->wire = -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	netport_close(f->port);
	close(f->wire);
	close(f->ctl);
	free(f);
	return 0;
}

/* A namespace of its own and an interface that is up, or skip. */
static struct fixture *begin_wire(void **state, int kind)
{
	struct ifreq ifr = { .ifr_name = IFNAME, .ifr_flags = (short)kind };
	struct fixture *f = *state;
	int quiet;

	if (!why_not && unshare(CLONE_NEWNET) < 0)
		why_not = "no right to make a network namespace";
	if (!why_not && access("/dev/net/tun", R_OK | W_OK) < 0)
		why_not = "no /dev/net/tun";
	if (why_not)
		skip_because("%s", why_not);
	/* or every interface that comes up talks about IPv6 */
	quiet = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY);
	if (quiet >= 0) {
		check_ret(write(quiet, "1", 1), 1);
		close(quiet);
	}
	f->ctl = check_ok(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	f->wire =
		check_ok(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
	check_ret(ioctl(f->wire, TUNSETIFF, &ifr), 0);
	link_set(f, true);
	return f;
}

static void open_port(struct fixture *f, bool bound, int vnet_hdr)
{
	struct sockaddr_ll sll = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(IFNAME),
	};
	int fd = check_ok(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));

	if (vnet_hdr)
		check_ret(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &vnet_hdr,
				     sizeof(vnet_hdr)),
			  0);
	if (bound)
		check_ret(bind(fd, (struct sockaddr *)&sll, sizeof(sll)), 0);
	check_ret(netport_from_fd(fd, &f->port), 0);
}

static struct fixture *begin(void **state)
{
	struct fixture *f = begin_wire(state, IFF_TAP | IFF_NO_PI);

	open_port(f, true, 0);
	return f;
}

/* ---- frames ---- */

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
	static uint8_t want[2000];

	fill(want, len, seq);
	assert_memory_equal(p, want, len);
}

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, WAIT_MS) == 1;
}

static void wire_gets(struct fixture *f, size_t len, unsigned int seq)
{
	uint8_t buf[2000];

	assert_true(readable(f->wire));
	check_ret(read(f->wire, buf, sizeof(buf)), (long)len);
	check_bytes(buf, len, seq);
}

static void wire_sends(struct fixture *f, size_t len, unsigned int seq)
{
	uint8_t buf[2000];

	fill(buf, len, seq);
	check_ret(write(f->wire, buf, len), (long)len);
}

static int send_one(struct fixture *f, void *bytes, size_t len)
{
	struct iovec iov = { bytes, len };
	struct frame fr = { &iov, 1, (uint32_t)len, false };

	return f->port->ops->send(f->port, &fr, 1);
}

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

/* ---- sending ---- */

static void a_batch_goes_out_whole_and_in_order(void **state)
{
	struct fixture *f = begin(state);
	struct iovec iov[FRAMES][2];
	struct frame fr[FRAMES];

	for (unsigned int i = 0; i < FRAMES; i++) {
		size_t len = 60 + i;

		fill(room[i], len, i);
		iov[i][0] = (struct iovec){ room[i], 20 };
		iov[i][1] = (struct iovec){ room[i] + 20, len - 20 };
		fr[i] = (struct frame){ iov[i], 2, (uint32_t)len, false };
	}
	check_ret(f->port->ops->send(f->port, fr, FRAMES), FRAMES);
	for (unsigned int i = 0; i < FRAMES; i++)
		wire_gets(f, 60 + i, i);
	assert_int_equal(f->port->tx_dropped, 0);
}

/* first, in the middle, twice in a row, and last */
static void refused_frames_are_dropped_and_the_rest_goes_on(void **state)
{
	struct fixture *f = begin(state);
	static const size_t lens[] = { 5, 60, 61, 1900, 5, 62, 5 };
	struct iovec iov[7];
	struct frame fr[7];

	for (unsigned int i = 0; i < 7; i++) {
		fill(room[i], lens[i], i);
		iov[i] = (struct iovec){ room[i], lens[i] };
		fr[i] = (struct frame){ &iov[i], 1, (uint32_t)lens[i], false };
	}
	check_ret(f->port->ops->send(f->port, fr, 7), 7);
	assert_int_equal(f->port->tx_dropped, 4);
	wire_gets(f, 60, 1);
	wire_gets(f, 61, 2);
	wire_gets(f, 62, 5);
}

static void unreadable_bytes_are_dropped(void **state)
{
	struct fixture *f = begin(state);

	check_ret(send_one(f, (void *)16, 60), 1);
	assert_int_equal(f->port->tx_dropped, 1);
}

static void sending_on_a_link_that_is_down_drops(void **state)
{
	struct fixture *f = begin(state);
	uint8_t a[60];

	fill(a, 60, 1);
	link_set(f, false);
	check_ret(send_one(f, a, 60), 1);
	check_ret(send_one(f, a, 60), 1);
	assert_int_equal(f->port->tx_dropped, 2);
}

static void an_unbound_socket_drops_and_receives_nothing(void **state)
{
	struct fixture *f = begin_wire(state, IFF_TAP | IFF_NO_PI);
	uint8_t a[60];

	open_port(f, false, 0);
	fill(a, 60, 1);
	check_ret(send_one(f, a, 60), 1);
	assert_int_equal(f->port->tx_dropped, 1);
	wire_sends(f, 60, 1);
	check_empty(f);
}

static void a_deleted_interface_drops_and_is_silent(void **state)
{
	struct fixture *f = begin(state);
	uint8_t a[60];

	fill(a, 60, 1);
	close(f->wire);
	f->wire = -1;
	check_empty(f);
	check_ret(send_one(f, a, 60), 1);
	assert_int_equal(f->port->tx_dropped, 1);
	check_empty(f);
}

static void hold_back(const char *limit)
{
	char cmd[200];

	snprintf(cmd, sizeof(cmd),
		 "tc qdisc add dev " IFNAME
		 " root tbf rate 8bit burst 2000 limit %s 2>/dev/null",
		 limit);
	if (system(cmd) != 0) /* NOLINT */
		skip_because("tc(8) cannot add a tbf here");
}

static void a_full_send_buffer_stops_and_later_goes_on(void **state)
{
	struct fixture *f = begin(state);
	struct pollfd p = { .fd = f->port->fd, .events = POLLOUT };
	struct iovec iov[FRAMES];
	struct frame fr[FRAMES];
	int sndbuf = 10000, sent;

	hold_back("10000000");
	check_ret(setsockopt(f->port->fd, SOL_SOCKET, SO_SNDBUF, &sndbuf,
			     sizeof(sndbuf)),
		  0);
	for (unsigned int i = 0; i < FRAMES; i++) {
		fill(room[i], 1000, i);
		iov[i] = (struct iovec){ room[i], 1000 };
		fr[i] = (struct frame){ &iov[i], 1, 1000, false };
	}
	sent = f->port->ops->send(f->port, fr, FRAMES);
	assert_in_range(sent, 2, FRAMES - 1);
	check_ret(f->port->ops->send(f->port, fr, FRAMES), -EAGAIN);
	assert_int_equal(f->port->tx_dropped, 0);

	assert_int_equal(poll(&p, 1, 0), 0);
	check_ret(system("tc qdisc del dev " IFNAME " root"), 0); /* NOLINT */
	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	check_ret(send_one(f, room[0], 60), 1);
}

/* The queueing discipline dropped it; the kernel's vhost tries again too. */
static void a_full_queue_is_a_reason_to_wait(void **state)
{
	struct fixture *f = begin(state);
	uint8_t a[1000];
	int sent = 0, ret;

	hold_back("5000");
	fill(a, sizeof(a), 1);
	while ((ret = send_one(f, a, sizeof(a))) == 1 && sent < 1000)
		sent++;
	check_ret(ret, -EAGAIN);
	assert_int_equal(f->port->tx_dropped, 0);
}

/* ---- receiving ---- */

static void what_is_there_is_received_and_no_more(void **state)
{
	struct fixture *f = begin(state);
	struct iovec iov[FRAMES];
	struct frame fr[FRAMES];

	for (unsigned int i = 0; i < FRAMES; i++) {
		iov[i] = (struct iovec){ room[i], sizeof(room[i]) };
		fr[i] = (struct frame){ &iov[i], 1, 0, true };
	}
	check_empty(f);
	for (unsigned int i = 0; i < FRAMES; i++)
		wire_sends(f, 60 + i, i);
	check_ret(f->port->ops->recv(f->port, fr, FRAMES - 10), FRAMES - 10);
	for (unsigned int i = 0; i < FRAMES - 10; i++) {
		assert_int_equal(fr[i].len, 60 + i);
		assert_false(fr[i].trunc);
		check_bytes(room[i], 60 + i, i);
	}
	check_ret(f->port->ops->recv(f->port, fr, FRAMES), 10);
	check_bytes(room[9], 60 + FRAMES - 1, FRAMES - 1);
	check_empty(f);
}

static void a_frame_longer_than_its_room_is_cut_and_marked(void **state)
{
	struct fixture *f = begin(state);
	struct frame fr;

	for (unsigned int i = 0; i < 3; i++)
		wire_sends(f, 100, i);
	fr = recv_into(f, 99);
	assert_int_equal(fr.len, 99);
	assert_true(fr.trunc);
	check_bytes(room[0], 99, 0);
	assert_int_equal(room[0][99], 0xee);

	fr = recv_into(f, 100); /* just fits */
	assert_int_equal(fr.len, 100);
	assert_false(fr.trunc);

	fr = recv_into(f, 0);
	assert_int_equal(fr.len, 0);
	assert_true(fr.trunc);
	check_empty(f);
}

static void a_frame_is_received_in_pieces(void **state)
{
	struct fixture *f = begin(state);
	struct iovec iov[] = { { room[0], 10 },
			       { room[0] + 10, 7 },
			       { NULL, 0 },
			       { room[0] + 17, 83 } };
	struct frame fr = { iov, 4, 0, true };

	wire_sends(f, 100, 3);
	assert_true(readable(f->port->fd));
	check_ret(f->port->ops->recv(f->port, &fr, 1), 1);
	assert_int_equal(fr.len, 100);
	assert_false(fr.trunc);
	check_bytes(room[0], 100, 3);
}

/* ENETDOWN is reported once by the socket, not by the port */
static void frames_behind_a_link_that_went_down_are_received(void **state)
{
	struct fixture *f = begin(state);

	wire_sends(f, 100, 1);
	assert_true(readable(f->port->fd));
	link_set(f, false);
	assert_int_equal(recv_into(f, 2000).len, 100);
	check_bytes(room[0], 100, 1);
	check_empty(f);

	link_set(f, true);
	link_set(f, false); /* news again, and nothing behind it */
	check_empty(f);
	link_set(f, true);
	wire_sends(f, 100, 2);
	assert_int_equal(recv_into(f, 2000).len, 100);
	check_bytes(room[0], 100, 2);
}

/* Room that no frame can be put in costs one frame each, wherever in a call:
 * shorter than the header, or no memory. */
static void bad_room_loses_one_frame(void **state)
{
	struct fixture *f = begin_wire(state, IFF_TAP | IFF_NO_PI);
	struct iovec iov[] = { { room[0], 5 },
			       { room[1], 2000 },
			       { (void *)16, 2000 },
			       { room[3], 2000 } };
	unsigned int got = 0;
	struct frame fr[4];

	open_port(f, true, 1);
	f->port->hdr_len = 10;
	for (unsigned int i = 0; i < 4; i++) {
		fr[i] = (struct frame){ &iov[i], 1, 12345, false };
		wire_sends(f, 100, i);
	}
	while (got < 4) {
		int n = f->port->ops->recv(f->port, fr + got, 4 - got);

		assert_in_range(n, 1, 4 - got);
		got += (unsigned int)n;
	}
	for (unsigned int i = 0; i < 4; i++) {
		bool lost = i % 2 == 0;

		assert_int_equal(fr[i].len, lost ? 0 : 110);
		assert_int_equal(fr[i].trunc, lost);
		if (!lost)
			check_bytes(room[i] + 10, 100, i);
	}
	check_empty(f);
}

static void a_non_blocking_socket_is_as_good(void **state)
{
	struct fixture *f = begin(state);
	int flags = check_ok(fcntl(f->port->fd, F_GETFL));

	assert_false(flags & O_NONBLOCK);
	check_ret(fcntl(f->port->fd, F_SETFL, flags | O_NONBLOCK), 0);
	check_empty(f);
	wire_sends(f, 100, 1);
	assert_int_equal(recv_into(f, 2000).len, 100);
	assert_int_equal(fcntl(f->port->fd, F_GETFL), flags | O_NONBLOCK);
}

/* ---- PACKET_VNET_HDR ---- */

/* a long TCP frame, unsegmented, checksum to be done, behind its header */
#define GSO_LEN (10 + 65535)

static void fill_gso(uint8_t *p)
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
		.tot_len = htons(GSO_LEN - 10 - ETH_HLEN),
		.ttl = 64,
		.protocol = IPPROTO_TCP,
		.saddr = htonl(0x0a000001),
		.daddr = htonl(0x0a000002),
	};
	struct tcphdr tcp = { .doff = 5, .ack = 1 };

	fill(p + 10, GSO_LEN - 10, 1);
	p[10 + 12] = ETH_P_IP >> 8;
	p[10 + 13] = ETH_P_IP & 0xff;
	memcpy(p, &hdr, 10);
	memcpy(p + 10 + 14, &ip, sizeof(ip));
	memcpy(p + 10 + 34, &tcp, sizeof(tcp));
}

static void a_64k_gso_frame_passes_whole(void **state)
{
	struct fixture *f =
		begin_wire(state, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	struct iovec iov = { big[2], NETPORT_FRAME_MAX };
	struct frame fr = { &iov, 1, 0, true };

	check_ret(ioctl(f->wire, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4), 0);
	open_port(f, true, 1);
	f->port->hdr_len = 10;
	fill_gso(big[0]);

	check_ret(send_one(f, big[0], GSO_LEN), 1);
	assert_int_equal(f->port->tx_dropped, 0);
	assert_true(readable(f->wire));
	check_ret(read(f->wire, big[1], sizeof(big[1])), GSO_LEN);
	assert_int_equal(big[1][1], VIRTIO_NET_HDR_GSO_TCPV4);
	assert_memory_equal(big[1] + 10, big[0] + 10, GSO_LEN - 10);

	check_ret(write(f->wire, big[0], GSO_LEN), GSO_LEN);
	assert_true(readable(f->port->fd));
	check_ret(f->port->ops->recv(f->port, &fr, 1), 1);
	assert_int_equal(fr.len, GSO_LEN);
	assert_false(fr.trunc);
	assert_int_equal(big[2][1], VIRTIO_NET_HDR_GSO_TCPV4);
	assert_memory_equal(big[2] + 10, big[0] + 10, GSO_LEN - 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_batch_goes_out_whole_and_in_order),
		TEST(refused_frames_are_dropped_and_the_rest_goes_on),
		TEST(unreadable_bytes_are_dropped),
		TEST(sending_on_a_link_that_is_down_drops),
		TEST(an_unbound_socket_drops_and_receives_nothing),
		TEST(a_deleted_interface_drops_and_is_silent),
		TEST(a_full_send_buffer_stops_and_later_goes_on),
		TEST(a_full_queue_is_a_reason_to_wait),
		TEST(what_is_there_is_received_and_no_more),
		TEST(a_frame_longer_than_its_room_is_cut_and_marked),
		TEST(a_frame_is_received_in_pieces),
		TEST(frames_behind_a_link_that_went_down_are_received),
		TEST(bad_room_loses_one_frame),
		TEST(a_non_blocking_socket_is_as_good),
		TEST(a_64k_gso_frame_passes_whole),
	};

	return cmocka_run_group_tests_name("packet", tests, become_root, NULL);
}
