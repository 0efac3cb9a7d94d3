/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_pcap.c tests ports by libpcap: on one end of a veth pair in a namespace
 * of the test, with a packet socket on the other end; and on files.
 */
#include "check.h"

#include <fcntl.h>
#include <ftw.h>
#include <net/if.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include "bytes.h"
#include "clock.h"
#include "log.h"
#include "netif.h"

#define NEAR "pc0"
#define FAR "pc1"
#define ETHERTYPE 0x88b5 /* local experiments: no other program sends it */
#define WAIT_MS 60000
#define FRAMES 150

struct fixture {
	char dir[32], path[64];
	struct netif *source;
	struct netport *rx, *tx;
	int peer; /* on the far end */
	unsigned int logged;
	char line[512];
};

static char error[512];
static uint8_t room[FRAMES][2048];

/* ---- surroundings ---- */

static void on_line(void *ctx, enum log_level level, const char *line)
{
	struct fixture *f = ctx;

	if (level == LOG_LEVEL_WARNING)
		f->logged++;
	snprintf(f->line, sizeof(f->line), "%s", line);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	alarm(120);
	if (!f)
		return -1;
	strcpy(f->dir, "/tmp/test-pcap-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	f->peer = -1;
	log_set_sink(on_line, f);
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind,
		      struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static void close_ports(struct fixture *f)
{
	netport_close(f->rx);
	netport_close(f->tx);
	f->rx = f->tx = NULL;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close_ports(f);
	netif_free(f->source);
	if (f->peer >= 0)
		close(f->peer);
	log_set_sink(NULL, NULL);
	nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static int run(const char *cmd)
{
	return system(cmd); /* NOLINT(bugprone-command-processor) */
}

static int packet_socket(const char *ifname)
{
	struct sockaddr_ll sll = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(ifname),
	};
	int fd = check_ok(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));

	check_ret(bind(fd, (struct sockaddr *)&sll, sizeof(sll)), 0);
	return fd;
}

static bool readable(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) > 0;
}

/* An interface that is up carries frames a little later: until one gets
 * through. */
static void wait_for_wire(int from, int to)
{
	static const uint8_t frame[60] = "\xff\xff\xff\xff\xff\xff"
					 "\2\0\0\0\0\1\x88\xb6";
	int64_t deadline = now_ms() + WAIT_MS;

	do {
		assert_true(now_ms() < deadline);
		check_ret(send(from, frame, sizeof(frame), 0), sizeof(frame));
	} while (!readable(to, 10));
}

/* The wire, or skip. */
static struct fixture *begin(void **state)
{
	struct fixture *f = *state;
	int host;

	if (geteuid() != 0 && unshare(CLONE_NEWUSER) < 0)
		skip_because("needs root or a user namespace");
	if (unshare(CLONE_NEWNET) < 0)
		skip_because("no right to make a network namespace");
	/* or every interface that comes up talks about IPv6 */
	run("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6");
	if (run("ip link add " NEAR " type veth peer name " FAR
		" && ip link set " NEAR " up && ip link set " FAR " up"))
		skip_because("no veth");
	f->peer = packet_socket(FAR);
	host = packet_socket(NEAR);
	wait_for_wire(host, f->peer);
	wait_for_wire(f->peer, host);
	close(host);
	return f;
}

static void open_pair(struct fixture *f, unsigned int pair)
{
	check_ret(netif_open(f->source, pair, &f->rx, &f->tx), 0);
}

static void open_source(struct fixture *f, const char *spec,
			unsigned int queues)
{
	int ret = netif_new(spec, queues, &f->source, error, sizeof(error));

	if (ret < 0)
		fail_msg("%s", error);
}

static void open_port(struct fixture *f, const char *spec)
{
	open_source(f, spec, 1);
	open_pair(f, 0);
}

/* ---- frames ---- */

static size_t make(uint8_t *p, size_t len, unsigned int seq)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i + seq);
	memcpy(p, "\xff\xff\xff\xff\xff\xff\2\0\0\0\0\1\x88\xb5", 14);
	return len;
}

static void peer_sends(struct fixture *f, size_t len, unsigned int seq)
{
	uint8_t frame[2048];

	make(frame, len, seq);
	check_ret(send(f->peer, frame, len, 0), (long)len);
}

/* Receives @n frames, in batches as they come, into room[] */
static void recv_all(struct netport *port, struct frame *frames, unsigned int n)
{
	static struct iovec iov[FRAMES][2];
	unsigned int done = 0;

	for (unsigned int i = 0; i < n; i++) {
		iov[i][0] = (struct iovec){ room[i], 7 };
		iov[i][1] = (struct iovec){ room[i] + 7, sizeof(room[i]) - 7 };
		frames[i] = (struct frame){ .iov = iov[i], .iovcnt = 2 };
	}
	memset(room, 0xee, sizeof(room));
	while (done < n) {
		int ret;

		assert_true(readable(port->fd, WAIT_MS));
		ret = port->ops->recv(port, frames + done, n - done);
		if (ret != -EAGAIN)
			done += (unsigned int)check_ok(ret);
	}
}

static void assert_frame(const uint8_t *got, size_t len, unsigned int seq)
{
	uint8_t want[2048];

	make(want, len, seq);
	assert_memory_equal(got, want, len);
}

static void assert_nothing(struct netport *port)
{
	struct iovec iov = { room, sizeof(room) };
	struct frame frame = { .iov = &iov, .iovcnt = 1 };

	check_ret(port->ops->recv(port, &frame, 1), -EAGAIN);
}

static void peer_receives(struct fixture *f, size_t len, unsigned int seq)
{
	uint8_t got[2048];

	ssize_t n;

	do {
		assert_true(readable(f->peer, WAIT_MS));
		n = recv(f->peer, got, sizeof(got), MSG_DONTWAIT);
	} while (got[13] != (ETHERTYPE & 0xff)); /* of wait_for_wire() */
	check_ret(n, (long)len);
	assert_frame(got, len, seq);
}

/* ---- specifications ---- */

static void specifications_are_checked(void **state)
{
	static const char *const bad[] = {
		"pcap",
		"pcap:",
		"pcap:a/b",
		"pcap:eth0,snaplen=13",
		"pcap:eth0,snaplen=65551",
		"pcap:eth0,snaplen",
		"pcap:eth0,promisc=yes",
		"pcap:eth0,buffer=1",
		"pcap:eth0,buffer=99999999999",
		"pcap:eth0,speed=max",
		"pcap-in",
		"pcap-in:",
		"pcap-in:x,speed=fast",
		"pcap-in:x,loop=-1",
		"pcap-in:x,loop=",
		"pcap-out",
		"pcap-out:x,snaplen=1",
		"pcap-out:x,snaplen=99999",
	};
	static const char *const good[] = {
		"pcap:eth0",
		"pcap:eth0,filter=tcp port 80,snaplen=96,promisc=off",
		"pcap:eth0,buffer=1000000,promisc=on",
		"pcap:eth0,filter=ip[0] & 1 = 0",
		"pcap-in:/a/b.pcap,speed=max,loop=0",
		"pcap-in:a,,b,speed=real",
		"pcap-out:x.pcapng,snaplen=64",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		error[0] = '\0';
		check_ret(netif_check(bad[i], error, sizeof(error)), -EINVAL);
		assert_int_not_equal(error[0], '\0');
	}
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		check_ret(netif_check(good[i], error, sizeof(error)), 0);
}

static void assert_refused(const char *spec, int ret, const char *why)
{
	struct netif *s;

	check_ret(netif_new(spec, 1, &s, error, sizeof(error)), ret);
	if (!strstr(error, why))
		fail_msg("'%s' does not say '%s'", error, why);
}

static void what_cannot_be_opened_is_refused_with_a_reason(void **state)
{
	begin(state);
	assert_refused("pcap:nosuch0", -ENODEV, "nosuch0: there is no such");
	assert_refused("pcap:any", -EINVAL, "any: its frames are not Ethernet");
	assert_refused("pcap:" NEAR ",filter=tcp prot 80", -EINVAL,
		       "filter 'tcp prot 80': ");
}

/* ---- a live interface ---- */

static void frames_come_behind_a_zero_header(void **state)
{
	static const unsigned int lens[] = { 0, 10, 12 };
	struct fixture *f = begin(state);
	struct frame frames[FRAMES];

	open_port(f, "pcap:" NEAR);
	for (size_t l = 0; l < ARRAY_SIZE(lens); l++) {
		static const uint8_t zeroes[12];
		unsigned int hdr_len = lens[l];

		f->rx->hdr_len = hdr_len;
		for (unsigned int i = 0; i < FRAMES; i++)
			peer_sends(f, 60 + 5 * i, i);
		recv_all(f->rx, frames, FRAMES);
		for (unsigned int i = 0; i < FRAMES; i++) {
			assert_int_equal(frames[i].len, hdr_len + 60 + 5 * i);
			assert_false(frames[i].trunc);
			assert_memory_equal(room[i], zeroes, hdr_len);
			assert_frame(room[i] + hdr_len, 60 + 5 * i, i);
		}
		assert_nothing(f->rx);
		assert_false(readable(f->rx->fd, 0));
	}
}

static void a_room_too_short_is_reported(void **state)
{
	struct fixture *f = begin(state);
	struct iovec iov = { room, 50 };
	struct frame frame = { .iov = &iov, .iovcnt = 1 };

	open_port(f, "pcap:" NEAR);
	f->rx->hdr_len = 12;
	peer_sends(f, 100, 1);
	peer_sends(f, 100, 2);
	assert_true(readable(f->rx->fd, WAIT_MS));
	check_ret(f->rx->ops->recv(f->rx, &frame, 1), 1);
	assert_true(frame.trunc);
	assert_int_equal(frame.len, 50);
	assert_frame(room[0] + 12, 38, 1);
	iov.iov_len = 11;
	check_ret(f->rx->ops->recv(f->rx, &frame, 1), 1);
	assert_true(frame.trunc);
	assert_int_equal(frame.len, 0);
}

static void what_is_sent_goes_out_without_its_header(void **state)
{
	struct fixture *f = begin(state);
	uint8_t bytes[FRAMES][12 + 200];
	struct iovec iov[FRAMES][3];
	struct frame frames[FRAMES];

	open_port(f, "pcap:" NEAR);
	f->tx->hdr_len = 12;
	for (unsigned int i = 0; i < FRAMES; i++) {
		size_t first = i % 30; /* shorter and longer than the header */

		memset(bytes[i], 0xee, 12);
		make(bytes[i] + 12, 200, i);
		iov[i][0] = (struct iovec){ bytes[i], first };
		iov[i][1] = (struct iovec){ bytes[i] + first, 12 };
		iov[i][2] =
			(struct iovec){ bytes[i] + first + 12, 200 - first };
		frames[i] = (struct frame){ .iov = iov[i],
					    .iovcnt = 3,
					    .len = 212 };
	}
	check_ret(f->tx->ops->send(f->tx, frames, FRAMES), FRAMES);
	for (unsigned int i = 0; i < FRAMES; i++)
		peer_receives(f, 200, i);
	assert_int_equal(f->tx->tx_dropped, 0);
	assert_nothing(f->rx); /* it does not come back */
}

static void a_frame_that_is_refused_is_counted(void **state)
{
	struct fixture *f = begin(state);
	uint8_t big[4000], header[12] = { 0 };
	struct iovec iov[] = { { big, sizeof(big) }, { header, 12 } };
	struct frame frames[] = {
		{ .iov = &iov[0], .iovcnt = 1, .len = sizeof(big) },
		{ .iov = &iov[1], .iovcnt = 1, .len = 12 },
	};

	make(big, sizeof(big), 0);
	open_port(f, "pcap:" NEAR);
	f->tx->hdr_len = 12;
	check_ret(f->tx->ops->send(f->tx, frames, 2), 2);
	assert_int_equal(f->tx->tx_dropped, 2);
}

static void what_the_host_sends_is_not_received(void **state)
{
	struct fixture *f = begin(state);
	int host = packet_socket(NEAR);
	struct frame frame;
	uint8_t bytes[60];

	open_port(f, "pcap:" NEAR);
	make(bytes, 60, 1);
	check_ret(send(host, bytes, 60, 0), 60);
	peer_receives(f, 60, 1);
	peer_sends(f, 60, 2);
	recv_all(f->rx, &frame, 1);
	assert_frame(room[0], 60, 2);
	assert_nothing(f->rx);
	close(host);
}

static void a_filter_chooses(void **state)
{
	struct fixture *f = begin(state);
	struct frame frames[2];

	open_port(f, "pcap:" NEAR ",filter=ether[20] = 21 or ether[20] = 23");
	for (unsigned int i = 0; i < 5; i++)
		peer_sends(f, 60, i);
	recv_all(f->rx, frames, 2);
	assert_frame(room[0], 60, 1);
	assert_frame(room[1], 60, 3);
	assert_nothing(f->rx);
}

static void a_vlan_tag_stays(void **state)
{
	struct fixture *f = begin(state);
	uint8_t bytes[64];
	struct frame frame;

	make(bytes, sizeof(bytes), 0);
	memcpy(bytes + 12, "\x81\x00\x00\x7b\x88\xb5", 6);
	open_port(f, "pcap:" NEAR);
	check_ret(send(f->peer, bytes, sizeof(bytes), 0), sizeof(bytes));
	recv_all(f->rx, &frame, 1);
	assert_int_equal(frame.len, sizeof(bytes));
	assert_memory_equal(room[0], bytes, sizeof(bytes));
}

static void a_frame_beyond_snaplen_is_left_out_and_told_once(void **state)
{
	struct fixture *f = begin(state);
	struct frame frame;

	open_port(f, "pcap:" NEAR ",snaplen=100");
	peer_sends(f, 101, 1);
	peer_sends(f, 1000, 2);
	peer_sends(f, 100, 3);
	recv_all(f->rx, &frame, 1);
	assert_int_equal(frame.len, 100);
	assert_frame(room[0], 100, 3);
	assert_nothing(f->rx);
	assert_int_equal(f->logged, 1);
	assert_non_null(strstr(f->line, "101 bytes"));
}

/* UDP between hosts of which one is behind the far end; @sum: its checksum */
static void peer_sends_udp(struct fixture *f, bool ipv6, unsigned int sum)
{
	static const uint8_t v4[] = "\x45\0\0\x20\0\1\x40\0\x40\x11\0\0"
				    "\x0a\0\0\1\x0a\0\0\2";
	static const uint8_t v6[] = "\x60\0\0\0\0\x0c\x11\x40"
				    "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\1"
				    "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\2";
	const uint8_t udp[] = {
		0, 9, 0, 9, 0, 12, (uint8_t)(sum >> 8), (uint8_t)sum
	};
	size_t ip_len = ipv6 ? 40 : 20;
	uint8_t frame[80];

	make(frame, sizeof(frame), 0);
	memcpy(frame + 12, ipv6 ? "\x86\xdd" : "\x08\x00", 2);
	memcpy(frame + 14, ipv6 ? v6 : v4, ip_len);
	memcpy(frame + 14 + ip_len, udp, sizeof(udp));
	check_ret(send(f->peer, frame, sizeof(frame), 0), sizeof(frame));
}

static void unfinished_checksums_are_logged_once(void **state)
{
	/* The sum of a pseudo header: addresses, protocol, length */
	const unsigned int v4 = 0x1400 + 3 + 17 + 12;
	const unsigned int v6 = 0xfe80 + 0xfe80 - 0xffff + 3 + 17 + 12;
	struct fixture *f = begin(state);
	struct frame frames[FRAMES];

	open_port(f, "pcap:" NEAR);
	for (int i = 0; i < 100; i++)
		peer_sends_udp(f, i % 2, i % 40 ? 0x1234 : i % 2 ? v6 : v4);
	recv_all(f->rx, frames, 100);
	assert_int_equal(f->logged, 0); /* now and then is chance */
	for (int i = 0; i < 20; i++)
		peer_sends_udp(f, i % 2, i % 2 ? v6 : v4);
	recv_all(f->rx, frames, 20); /* they are there all the same */
	assert_int_equal(f->logged, 1);
	assert_non_null(strstr(f->line, "unfinished checksums"));
}

static void frames_from_before_the_start_are_discarded(void **state)
{
	struct fixture *f = begin(state);
	struct netport *rx, *tx;
	struct frame frame;

	open_port(f, "pcap:" NEAR);
	check_ret(netif_open(f->source, 0, &rx, &tx), -EBUSY);
	close_ports(f);
	peer_sends(f, 60, 1);
	open_pair(f, 0);
	assert_nothing(f->rx);
	peer_sends(f, 60, 2);
	recv_all(f->rx, &frame, 1);
	assert_frame(room[0], 60, 2);
}

static void a_second_queue_only_sends(void **state)
{
	struct fixture *f = begin(state);
	uint8_t bytes[60];
	struct iovec iov = { bytes, 60 };
	struct frame frame = { .iov = &iov, .iovcnt = 1, .len = 60 };

	open_source(f, "pcap:" NEAR, 2);
	open_pair(f, 1);
	make(bytes, 60, 9);
	check_ret(f->tx->ops->send(f->tx, &frame, 1), 1);
	peer_receives(f, 60, 9);
	peer_sends(f, 60, 1);
	assert_nothing(f->rx);
}

static void a_link_that_goes_down_comes_back(void **state)
{
	struct fixture *f = begin(state);
	uint8_t bytes[60];
	struct iovec iov = { bytes, 60 };
	struct frame frame = { .iov = &iov, .iovcnt = 1, .len = 60 };

	make(bytes, 60, 1);
	open_port(f, "pcap:" NEAR);
	check_ret(run("ip link set " NEAR " down"), 0);
	assert_true(readable(f->rx->fd, WAIT_MS)); /* the news */
	assert_nothing(f->rx);
	assert_false(readable(f->rx->fd, 0));
	check_ret(f->tx->ops->send(f->tx, &frame, 1), 1);
	assert_int_equal(f->tx->tx_dropped, 1);
	assert_nothing(f->rx);
	check_ret(run("ip link set " NEAR " up"), 0);
	wait_for_wire(f->peer, f->rx->fd);
	recv_all(f->rx, &frame, 1);
	assert_int_equal(frame.len, 60);
}

static void an_interface_that_is_removed_breaks_nothing(void **state)
{
	struct fixture *f = begin(state);
	uint8_t bytes[60];
	struct iovec iov = { bytes, 60 };
	struct frame frame = { .iov = &iov, .iovcnt = 1, .len = 60 };

	make(bytes, 60, 1);
	open_port(f, "pcap:" NEAR);
	check_ret(run("ip link del " NEAR), 0);
	check_ret(f->rx->ops->recv(f->rx, &frame, 1), -EIO);
	check_ret(f->tx->ops->send(f->tx, &frame, 1), 1);
	assert_int_equal(f->tx->tx_dropped, 1);
	assert_false(readable(f->rx->fd, 0)); /* and nothing spins */
}

static void the_loopback_will_do(void **state)
{
	struct fixture *f = begin(state);
	uint8_t bytes[60];
	struct iovec iov = { bytes, 60 };
	struct frame frame = { .iov = &iov, .iovcnt = 1, .len = 60 };

	check_ret(run("ip link set lo up"), 0);
	open_port(f, "pcap:lo");
	make(bytes, 60, 1);
	check_ret(f->tx->ops->send(f->tx, &frame, 1), 1);
	recv_all(f->rx, &frame, 1); /* comes in by it, as with any sender */
	assert_frame(room[0], 60, 1);
	assert_nothing(f->rx);
}

/* ---- files ---- */

static const char *file_spec(struct fixture *f, const char *kind,
			     const char *name, const char *keys)
{
	static char spec[128];

	snprintf(f->path, sizeof(f->path), "%s/%s", f->dir, name);
	snprintf(spec, sizeof(spec), "%s:%s%s", kind, f->path, keys);
	return spec;
}

struct record {
	long sec, usec;
	uint32_t len, cut;
};

static void write_capture(const char *path, int linktype,
			  const struct record *records, unsigned int n)
{
	pcap_t *dead = pcap_open_dead(linktype, 65535);
	pcap_dumper_t *d = pcap_dump_open(dead, path);

	assert_non_null(d);
	for (unsigned int i = 0; i < n; i++) {
		uint8_t bytes[2048];
		struct pcap_pkthdr h = {
			.ts = { records[i].sec, records[i].usec },
			.caplen = records[i].len - records[i].cut,
			.len = records[i].len,
		};

		make(bytes, MAX(records[i].len, 14), i);
		pcap_dump((u_char *)d, &h, bytes);
	}
	pcap_dump_close(d);
	pcap_close(dead);
}

static const struct record plain[] = {
	{ 1000, 0, 60, 0 },
	{ 1000, 5, 100, 0 },
	{ 999, 0, 1514, 0 },
};

static void a_file_is_played_to_its_end(void **state)
{
	struct fixture *f = *state;
	const char *spec = file_spec(f, "pcap-in", "x.pcap", ",speed=max");
	struct frame frames[3];

	write_capture(f->path, DLT_EN10MB, plain, 3);
	open_port(f, spec);
	f->rx->hdr_len = 10;
	recv_all(f->rx, frames, 3);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(frames[i].len, 10 + plain[i].len);
		assert_frame(room[i] + 10, plain[i].len, i);
	}
	assert_nothing(f->rx);
	assert_false(readable(f->rx->fd, 0));
	assert_nothing(f->rx);

	close_ports(f); /* the next device has it all again */
	open_pair(f, 0);
	recv_all(f->rx, frames, 3);
	assert_frame(room[2], 1514, 2);
}

static void a_file_is_played_several_times(void **state)
{
	struct fixture *f = *state;
	const char *spec =
		file_spec(f, "pcap-in", "x.pcap", ",speed=max,loop=40");
	struct frame frames[120];

	write_capture(f->path, DLT_EN10MB, plain, 3);
	open_port(f, spec);
	recv_all(f->rx, frames, 120);
	for (unsigned int i = 0; i < 120; i++)
		assert_frame(room[i], plain[i % 3].len, i % 3);
	assert_nothing(f->rx);
	assert_false(readable(f->rx->fd, 0));
}

static void a_file_without_frames_ends_even_without_end(void **state)
{
	static const struct record cut = { 1, 0, 1000, 1 };
	struct fixture *f = *state;
	const char *spec =
		file_spec(f, "pcap-in", "x.pcap", ",speed=max,loop=0");

	write_capture(f->path, DLT_EN10MB, &cut, 1);
	open_port(f, spec);
	assert_nothing(f->rx);
	assert_false(readable(f->rx->fd, 0));
	assert_non_null(strstr(f->line, "0 frames played, 1 left out"));
}

static void frames_keep_their_distance(void **state)
{
	static const struct record timed[] = {
		{ 1000, 0, 60, 0 },
		{ 1000, 1, 61, 0 },
		{ 1000, 80000, 62, 0 },
	};
	struct fixture *f = *state;
	const char *spec = file_spec(f, "pcap-in", "x.pcap", "");
	struct frame frames[3];
	uint64_t before;

	write_capture(f->path, DLT_EN10MB, timed, 3);
	open_port(f, spec);
	before = now_ns();
	recv_all(f->rx, frames, 3);
	assert_true(now_ns() - before >= 80000000);
	assert_frame(room[2], 62, 2);
}

static void what_is_no_whole_frame_is_left_out(void **state)
{
	static const struct record mixed[] = {
		{ 1, 0, 60, 0 },  { 1, 0, 60, 1 }, { 1, 0, 13, 0 },
		{ 1, 0, 0, 0 },   { 1, 0, 14, 0 }, { 1, 0, 1514, 1514 },
		{ 1, 0, 200, 0 },
	};
	struct fixture *f = *state;
	const char *spec = file_spec(f, "pcap-in", "x.pcap", ",speed=max");
	struct frame frames[3];

	write_capture(f->path, DLT_EN10MB, mixed, ARRAY_SIZE(mixed));
	open_port(f, spec);
	recv_all(f->rx, frames, 3);
	assert_int_equal(frames[0].len, 60);
	assert_int_equal(frames[1].len, 14);
	assert_int_equal(frames[2].len, 200);
	assert_nothing(f->rx);
	assert_non_null(strstr(f->line, "3 frames played, 4 left out"));
}

static void files_that_are_none_are_refused(void **state)
{
	struct fixture *f = *state;
	const char *spec = file_spec(f, "pcap-in", "x", "");
	FILE *file;

	assert_refused(spec, -ENOENT, "No such file");
	check_ret(mkfifo(f->path, 0600), 0);
	assert_refused(spec, -EINVAL, "no regular file");
	assert_refused("pcap-in:/", -EINVAL, "no regular file");
	assert_refused("pcap-in:/dev/zero", -EINVAL, "no regular file");
	assert_refused(file_spec(f, "pcap-out", "x", ""), -EINVAL,
		       "no regular file");
	spec = file_spec(f, "pcap-in", "y", "");
	file = fopen(f->path, "we");
	assert_non_null(file);
	fputs("this is not what it is thought to be", file);
	fclose(file);
	assert_refused(spec, -EINVAL, f->path);
	write_capture(f->path, DLT_RAW, plain, 0);
	assert_refused(spec, -EINVAL, "not Ethernet");
}

static void a_file_cut_short_is_played_that_far(void **state)
{
	struct fixture *f = *state;
	const char *spec = file_spec(f, "pcap-in", "x.pcap", ",speed=max");
	struct frame frames[2];
	struct stat st;

	write_capture(f->path, DLT_EN10MB, plain, 3);
	check_ret(stat(f->path, &st), 0);
	check_ret(truncate(f->path, st.st_size - 1), 0);
	open_port(f, spec);
	recv_all(f->rx, frames, 2);
	assert_nothing(f->rx);
	assert_int_equal(f->logged, 1);
	assert_nothing(f->rx);
	assert_false(readable(f->rx->fd, 0));
}

static void send_some(struct fixture *f, unsigned int n, size_t len)
{
	uint8_t bytes[12 + 2048];
	struct iovec iov[] = { { bytes, 30 }, { bytes + 30, len + 12 - 30 } };
	struct frame frame = { .iov = iov,
			       .iovcnt = 2,
			       .len = (uint32_t)len + 12 };

	f->tx->hdr_len = 12;
	memset(bytes, 0xee, 12);
	for (unsigned int i = 0; i < n; i++) {
		make(bytes + 12, len, i);
		check_ret(f->tx->ops->send(f->tx, &frame, 1), 1);
	}
}

static void what_is_sent_is_written(void **state)
{
	static const char *const names[] = { "x.pcap", "x.pcapng" };
	struct fixture *f = *state;

	for (size_t t = 0; t < ARRAY_SIZE(names); t++) {
		struct pcap_pkthdr *h;
		const u_char *bytes;
		pcap_t *p;

		open_port(f,
			  file_spec(f, "pcap-out", names[t], ",snaplen=100"));
		assert_nothing(f->rx);
		send_some(f, FRAMES, 200);
		/* All is there before anything is closed. */
		p = pcap_open_offline(f->path, error);
		if (!p)
			fail_msg("%s", error);
		assert_int_equal(pcap_datalink(p), DLT_EN10MB);
		assert_int_equal(pcap_snapshot(p), 100);
		for (unsigned int i = 0; i < FRAMES; i++) {
			check_ret(pcap_next_ex(p, &h, &bytes), 1);
			assert_int_equal(h->len, 200);
			assert_int_equal(h->caplen, 100);
			assert_true(labs(h->ts.tv_sec - time(NULL)) < 60);
			assert_frame(bytes, 100, i);
		}
		check_ret(pcap_next_ex(p, &h, &bytes), PCAP_ERROR_BREAK);
		pcap_close(p);
		close_ports(f);
		netif_free(f->source);
		f->source = NULL;
	}
}

static void a_full_disk_costs_frames_until_there_is_room(void **state)
{
	int64_t until = now_ms() + WAIT_MS;
	struct rlimit old, limit;
	struct fixture *f = *state;
	struct pcap_pkthdr *h;
	const u_char *bytes;
	unsigned int n = 0, sent = FRAMES;
	pcap_t *p;

	signal(SIGXFSZ, SIG_IGN);
	check_ret(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = old;
	limit.rlim_cur = 10001;
	open_port(f, file_spec(f, "pcap-out", "x.pcap", ""));
	check_ret(setrlimit(RLIMIT_FSIZE, &limit), 0);
	send_some(f, FRAMES, 200);
	assert_int_equal(f->logged, 1);
	check_ret(setrlimit(RLIMIT_FSIZE, &old), 0);
	for (; !strstr(f->line, "written again"); sent++) {
		assert_true(now_ms() < until);
		send_some(f, 1, 200);
		usleep(1000);
	}
	p = pcap_open_offline(f->path, error);
	assert_non_null(p);
	while (pcap_next_ex(p, &h, &bytes) == 1)
		n++;
	assert_string_equal(pcap_geterr(p), ""); /* no half record */
	pcap_close(p);
	assert_in_range(n, 40, FRAMES - 1);
	assert_int_equal(f->tx->tx_dropped, sent - n);
	assert_int_equal(f->logged, 1);
}

static void a_link_is_not_written_through(void **state)
{
	struct fixture *f = *state;
	const char *spec = file_spec(f, "pcap-out", "x.pcap", "");
	struct stat st;
	char victim[64];

	snprintf(victim, sizeof(victim), "%s/victim", f->dir);
	close(check_ok(open(victim, O_WRONLY | O_CREAT | O_EXCL, 0644)));
	check_ret(truncate(victim, 77), 0);
	check_ret(symlink("victim", f->path), 0);
	assert_refused(spec, -ELOOP, "symbolic link");
	check_ret(unlink(f->path), 0);
	check_ret(link(victim, f->path), 0);
	assert_refused(spec, -EMLINK, "several names");
	check_ret(stat(victim, &st), 0);
	assert_int_equal(st.st_size, 77);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(specifications_are_checked),
		T(what_cannot_be_opened_is_refused_with_a_reason),
		T(frames_come_behind_a_zero_header),
		T(a_room_too_short_is_reported),
		T(what_is_sent_goes_out_without_its_header),
		T(a_frame_that_is_refused_is_counted),
		T(what_the_host_sends_is_not_received),
		T(a_filter_chooses),
		T(a_vlan_tag_stays),
		T(a_frame_beyond_snaplen_is_left_out_and_told_once),
		T(unfinished_checksums_are_logged_once),
		T(frames_from_before_the_start_are_discarded),
		T(a_second_queue_only_sends),
		T(a_link_that_goes_down_comes_back),
		T(an_interface_that_is_removed_breaks_nothing),
		T(the_loopback_will_do),
		T(a_file_is_played_to_its_end),
		T(a_file_is_played_several_times),
		T(a_file_without_frames_ends_even_without_end),
		T(frames_keep_their_distance),
		T(what_is_no_whole_frame_is_left_out),
		T(files_that_are_none_are_refused),
		T(a_file_cut_short_is_played_that_far),
		T(what_is_sent_is_written),
		T(a_full_disk_costs_frames_until_there_is_room),
		T(a_link_is_not_written_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
