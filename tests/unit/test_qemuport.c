/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_qemuport.c tests the ports that speak QEMU's network sockets, with a
 * peer that the test plays and with a QEMU whose e1000 asks for an address. A
 * call that blocks ends the program by SIGALRM.
 */
#include "check.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bytes.h"
#include "framestream.h"
#include "log.h"
#include "netif.h"
#include "vmm_net.h"

#define WAIT_MS 60000
#define QEMU_MS 60000
#define HDR 12
#define LONGEST 65535

static char dir[] = "/tmp/qemuport-XXXXXX";
static char spec[400], error[256];
static unsigned int lines; /* of the log */
static char last_line[256];

struct fixture {
	struct netif *s;
	struct netport *rx, *tx;
	int peer;
};

static const char *in_dir(const char *name)
{
	static char paths[4][sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	static unsigned int turn;
	char *path = paths[turn++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

static void on_line(void *ctx, enum log_level level, const char *line)
{
	(void)ctx;
	(void)level;
	lines++;
	snprintf(last_line, sizeof(last_line), "%s", line);
}

static int group_setup(void **state)
{
	(void)state;
	alarm(200);
	log_set_sink(on_line, NULL);
	return mkdtemp(dir) ? 0 : -1;
}

static int group_teardown(void **state)
{
	(void)state;
	unlink(in_dir("a"));
	unlink(in_dir("b"));
	return rmdir(dir);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->peer = -1;
	*state = f;
	return 0;
}

static void end(struct fixture *f)
{
	netport_close(f->rx);
	netport_close(f->tx);
	netif_free(f->s);
	f->rx = f->tx = NULL;
	f->s = NULL;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	end(f);
	if (f->peer >= 0)
		close(f->peer);
	free(f);
	return 0;
}

static void begin(struct fixture *f, const char *text)
{
	int ret = netif_new(text, 1, &f->s, error, sizeof(error));

	if (ret < 0)
		fail_msg("%s", error);
	check_ret(netif_open(f->s, 0, &f->rx, &f->tx), 0);
	f->rx->hdr_len = f->tx->hdr_len = HDR;
	netif_enable(f->s, 0, true);
}

/* ---- frames ---- */

static bool wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, WAIT_MS) == 1;
}

/* Sends frame @seed, @len bytes without its header, in two pieces. */
static int send_frame(struct fixture *f, uint32_t len, uint32_t seed)
{
	static uint8_t buf[HDR + LONGEST];
	struct iovec iov[2] = { { buf, 17 }, { buf + 17, HDR + len - 17 } };
	struct frame fr = { iov, 2, HDR + len, false };

	memset(buf, 0xff, HDR); /* not to be seen */
	vmm_frame(buf + HDR, len, seed);
	return f->tx->ops->send(f->tx, &fr, 1);
}

static int try_recv(struct fixture *f, struct frame *fr, uint8_t *room,
		    size_t size)
{
	static struct iovec iov[2];

	iov[0] = (struct iovec){ room, 5 };
	iov[1] = (struct iovec){ room + 5, size - 5 };
	*fr = (struct frame){ iov, 2, 0, false };
	memset(room, 0xee, size);
	return f->rx->ops->recv(f->rx, fr, 1);
}

static void expect_frame(struct fixture *f, uint32_t len, uint32_t seed)
{
	static uint8_t room[HDR + LONGEST];
	static const uint8_t zero[HDR];
	struct frame fr;
	int ret;

	while ((ret = try_recv(f, &fr, room, sizeof(room))) == -EAGAIN)
		assert_true(wait_for(f->rx->fd, POLLIN));
	check_ret(ret, 1);
	assert_int_equal(fr.len, HDR + len);
	assert_false(fr.trunc);
	assert_memory_equal(room, zero, HDR);
	assert_true(vmm_frame_is(room + HDR, len, seed));
}

static void write_all(int fd, const void *from, size_t len)
{
	const char *p = from;

	while (len) {
		ssize_t n = write(fd, p, len);

		assert_true(n > 0);
		p += n;
		len -= (size_t)n;
	}
}

static void read_all(int fd, void *to, size_t len)
{
	char *p = to;

	while (len) {
		ssize_t n;

		assert_true(wait_for(fd, POLLIN));
		n = read(fd, p, len);
		assert_true(n > 0);
		p += n;
		len -= (size_t)n;
	}
}

static void peer_sends(struct fixture *f, uint32_t len, uint32_t seed)
{
	static uint8_t buf[4 + LONGEST];
	uint32_t be = htonl(len);

	memcpy(buf, &be, 4);
	vmm_frame(buf + 4, len, seed);
	write_all(f->peer, buf, 4 + len);
}

static void peer_expects(struct fixture *f, uint32_t len, uint32_t seed)
{
	static uint8_t buf[LONGEST];
	uint32_t be;

	read_all(f->peer, &be, 4);
	assert_int_equal(ntohl(be), len);
	read_all(f->peer, buf, len);
	assert_true(vmm_frame_is(buf, len, seed));
}

/* ---- sockets of the peer ---- */

static struct sockaddr_un un_addr(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	return a;
}

static int un_connect(const char *path, int type)
{
	struct sockaddr_un a = un_addr(path);
	int fd = check_ok(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));

	check_ret(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static int un_bind(const char *path, int type)
{
	struct sockaddr_un a = un_addr(path);
	int fd = check_ok(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));

	unlink(path);
	check_ret(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* A connection is there when a frame arrives; those that were sent after it and
 * before it was seen come too. */
static void until_connected(struct fixture *f)
{
	uint64_t sent = 0, lost = f->tx->tx_dropped;
	struct pollfd p = { .fd = f->peer, .events = POLLIN };
	uint8_t buf[64];
	uint32_t be;

	while (poll(&p, 1, 1) == 0) {
		assert_in_range(sent, 0, WAIT_MS);
		check_ret(send_frame(f, 60, (uint32_t)sent++), 1);
	}
	for (lost = f->tx->tx_dropped - lost; lost < sent; lost++) {
		read_all(f->peer, &be, 4);
		assert_int_equal(ntohl(be), 60);
		read_all(f->peer, buf, 60);
	}
	f->tx->tx_dropped = 0;
}

static void serve_stream(struct fixture *f)
{
	snprintf(spec, sizeof(spec), "qemu:stream,server=unix:%s", in_dir("a"));
	begin(f, spec);
	f->peer = un_connect(in_dir("a"), SOCK_STREAM);
	until_connected(f);
}

/* ---- specifications ---- */

static void a_specification_is_complete_and_unmixed(void **state)
{
	static const char *const good[] = {
		"qemu:dgram,local=unix:/a,remote=unix:/b",
		"qemu:dgram,local=inet:127.0.0.1:1,remote=inet:127.0.0.1:2",
		"qemu:dgram,fd=3",
		"qemu:stream,server=unix:/a,,b",
		"qemu:stream,connect=inet:[::1]:65535",
		"qemu:stream,fd=0",
	};
	static const char *const bad[] = {
		"qemu",
		"qemu:",
		"qemu:dgrams",
		"qemu:dgram",
		"qemu:dgram,local=unix:/a",
		"qemu:dgram,local=unix:/a,remote=inet:127.0.0.1:2",
		"qemu:dgram,local=unix:/a,remote=unix:/b,fd=3",
		"qemu:dgram,server=unix:/a",
		"qemu:stream,server=unix:",
		"qemu:stream,server=/a",
		"qemu:stream,server=unix:/a,connect=unix:/b",
		"qemu:stream,connect=inet:localhost:1",
		"qemu:stream,connect=inet:127.0.0.1:0",
		"qemu:stream,connect=inet:127.0.0.1:65536",
		"qemu:stream,connect=inet:127.0.0.1",
		"qemu:stream,connect=inet:[::1:5",
		"qemu:stream,fd=x",
		"qemu:stream,fd=-1",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (netif_check(good[i], error, sizeof(error)) < 0)
			fail_msg("%s: %s", good[i], error);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (netif_check(bad[i], error, sizeof(error)) != -EINVAL)
			fail_msg("%s was taken", bad[i]);
	snprintf(spec, sizeof(spec), "qemu:stream,server=unix:/%0110d", 0);
	check_ret(netif_check(spec, error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, "107"));
	assert_true(netif_has_key("qemu:stream", "server=x"));
	assert_false(netif_has_key("qemu:stream", "queues=x"));
}

static void one_queue_pair_is_all_there_is(void **state)
{
	struct netif *s;

	(void)state;
	check_ret(netif_new("qemu:dgram,fd=0", 2, &s, error, sizeof(error)),
		  -EINVAL);
	assert_non_null(strstr(error, "one queue pair"));
}

static void a_live_name_is_refused_and_a_dead_one_replaced(void **state)
{
	struct fixture *f = *state;
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM };
	struct netif *s;
	struct stat st;

	for (size_t i = 0; i < 2; i++) {
		int fd = un_bind(in_dir("a"), types[i]);

		if (types[i] == SOCK_STREAM)
			check_ret(listen(fd, 1), 0);
		snprintf(spec, sizeof(spec), "qemu:%s=unix:%s%s",
			 i ? "dgram,local" : "stream,server", in_dir("a"),
			 i ? ",remote=unix:/none" : "");
		check_ret(netif_new(spec, 1, &s, error, sizeof(error)),
			  -EADDRINUSE);
		assert_non_null(strstr(error, in_dir("a")));
		close(fd);
		begin(f, spec);
		end(f);
		check_errno(stat(in_dir("a"), &st), ENOENT);
	}
}

static void a_descriptor_is_looked_at(void **state)
{
	struct fixture *f = *state;
	struct netif *s;
	int sv[2];

	snprintf(spec, sizeof(spec), "qemu:stream,fd=%d", STDERR_FILENO);
	assert_true(netif_new(spec, 1, &s, error, sizeof(error)) < 0);
	check_ret(socketpair(AF_UNIX, SOCK_DGRAM, 0, sv), 0);
	snprintf(spec, sizeof(spec), "qemu:stream,fd=%d", sv[0]);
	check_ret(netif_new(spec, 1, &s, error, sizeof(error)), -EPROTOTYPE);
	f->peer = sv[1];
	snprintf(spec, sizeof(spec), "qemu:dgram,fd=%d", sv[0]);
	begin(f, spec);
	check_ret(send_frame(f, 100, 1), 1);
	assert_true(wait_for(f->peer, POLLIN));
	check_ret(read(f->peer, spec, sizeof(spec)), 100);
	assert_true(vmm_frame_is((uint8_t *)spec, 100, 1));
	vmm_frame((uint8_t *)spec, 200, 2);
	check_ret(write(f->peer, spec, 200), 200);
	expect_frame(f, 200, 2);
}

/* ---- the stream, as bytes ---- */

static void frames_are_found_however_the_bytes_come(void **state)
{
	static struct framestream s;
	static uint8_t wire[8192];
	size_t len = 0, room;
	uint32_t size, be;
	const uint8_t *eth;

	(void)state;
	for (uint32_t i = 0; i < 40; i++) {
		/* every third is too short to be one */
		size = i % 3 == 2 ? i % NETPORT_ETH_MIN : NETPORT_ETH_MIN + i;
		be = htonl(size);
		memcpy(wire + len, &be, 4);
		vmm_frame(wire + len + 4, size, i);
		len += 4 + size;
	}
	for (size_t piece = 1; piece < 200; piece += 7) {
		uint32_t next = 0;

		framestream_reset(&s);
		for (size_t at = 0; at < len; at += piece) {
			size_t part = MIN(piece, len - at);

			memcpy(framestream_space(&s, &room), wire + at, part);
			assert_in_range(part, 1, room);
			framestream_filled(&s, part);
			while (framestream_next(&s, &eth, &size) == 1) {
				next += next % 3 == 2;
				assert_int_equal(size, NETPORT_ETH_MIN + next);
				assert_true(vmm_frame_is(eth, size, next));
				next++;
			}
		}
		assert_in_range(next, 39, 40);
	}
}

static void a_frame_longer_than_any_is_an_error_at_once(void **state)
{
	static struct framestream s;
	const uint32_t lens[] = { FRAMESTREAM_MAX + 1, 0x7fffffff, 0x80000000,
				  0xffffffff };
	const uint8_t *eth;
	uint32_t len, be;
	size_t room;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		framestream_reset(&s);
		be = htonl(lens[i]);
		memcpy(framestream_space(&s, &room), &be, 4);
		framestream_filled(&s, 4);
		check_ret(framestream_next(&s, &eth, &len), -EPROTO);
		assert_true(len == lens[i]);
	}
	framestream_reset(&s);
	be = htonl(FRAMESTREAM_MAX);
	memcpy(framestream_space(&s, &room), &be, 4);
	framestream_filled(&s, 4);
	check_ret(framestream_next(&s, &eth, &len), 0);
}

/* ---- stream ---- */

static void a_stream_carries_frames_both_ways(void **state)
{
	static const uint32_t lens[] = { 14, 60, 1514, 9014, LONGEST };
	struct fixture *f = *state;
	static uint8_t room[100];
	struct frame fr;

	serve_stream(f);
	assert_true(netif_features(f->s) == 0);
	for (uint32_t i = 0; i < 5; i++) {
		check_ret(send_frame(f, lens[i], i), 1);
		peer_expects(f, lens[i], i);
		peer_sends(f, lens[i], i + 7);
		expect_frame(f, lens[i], i + 7);
	}
	assert_int_equal(f->tx->tx_dropped, 0);
	/* no frame at all, and too long a one for its room */
	check_ret(send_frame(f, 13, 1), 1);
	assert_int_equal(f->tx->tx_dropped, 1);
	peer_sends(f, 200, 1);
	assert_true(wait_for(f->rx->fd, POLLIN));
	check_ret(try_recv(f, &fr, room, sizeof(room)), 1);
	assert_int_equal(fr.len, sizeof(room));
	assert_true(fr.trunc);
	check_ret(try_recv(f, &fr, room, sizeof(room)), -EAGAIN);
}

static void a_batch_goes_out_whole_and_in_order(void **state)
{
	static uint8_t buf[150][HDR + 100];
	struct fixture *f = *state;
	struct iovec iov[150];
	struct frame fr[150];
	int sent = 0;

	serve_stream(f);
	for (uint32_t i = 0; i < 150; i++) {
		uint32_t len = i == 70 ? 5 : 100; /* one that is none */

		vmm_frame(buf[i] + HDR, len, i);
		iov[i] = (struct iovec){ buf[i], HDR + len };
		fr[i] = (struct frame){ &iov[i], 1, HDR + len, false };
	}
	while (sent < 150) {
		int n = f->tx->ops->send(f->tx, fr + sent,
					 150 - (unsigned int)sent);

		assert_in_range(n, 1, 150 - sent);
		sent += n;
	}
	assert_int_equal(f->tx->tx_dropped, 1);
	for (uint32_t i = 0; i < 150; i++)
		if (i != 70)
			peer_expects(f, 100, i);
}

static void a_frame_in_very_many_pieces_goes_out(void **state)
{
	static uint8_t buf[HDR + 1012];
	struct fixture *f = *state;
	struct iovec iov[1024];
	struct frame fr = { iov, 1024, sizeof(buf), false };

	serve_stream(f);
	vmm_frame(buf + HDR, 1012, 1);
	for (unsigned int i = 0; i < 1024; i++)
		iov[i] = (struct iovec){ buf + i, 1 };
	check_ret(f->tx->ops->send(f->tx, &fr, 1), 1);
	peer_expects(f, 1012, 1);
}

/* Frames go out in parts; what is left goes without another send. */
static void a_full_stream_holds_the_sender_and_loses_nothing(void **state)
{
	struct fixture *f = *state;
	uint32_t sent = 0, got = 0;

	serve_stream(f);
	for (unsigned int round = 0; round < 3; round++) {
		int ret;

		assert_true(wait_for(f->tx->fd, POLLOUT));
		while ((ret = send_frame(f, 60000 + sent % 999, sent)) == 1)
			assert_in_range(++sent, 1, 1000);
		check_ret(ret, -EAGAIN);
		while (got < sent) {
			peer_expects(f, 60000 + got % 999, got);
			got++;
		}
	}
	assert_in_range(sent, 3, 1000);
	assert_true(wait_for(f->tx->fd, POLLOUT));
	assert_int_equal(f->tx->tx_dropped, 0);
}

static void a_hostile_length_ends_the_connection_with_one_line(void **state)
{
	struct fixture *f = *state;
	uint32_t be = htonl(0x7fffffff);
	unsigned int before;
	uint8_t room[100];
	struct frame fr;

	serve_stream(f);
	before = lines;
	peer_sends(f, 60, 1);
	write_all(f->peer, &be, 4);
	expect_frame(f, 60, 1);
	check_ret(try_recv(f, &fr, room, sizeof(room)), -EAGAIN);
	assert_true(wait_for(f->peer, POLLIN));
	check_ret(read(f->peer, room, 1), 0);
	assert_int_equal(lines, before + 1);
	assert_non_null(strstr(last_line, "2147483647"));
	/* Without a peer frames are lost at once. */
	check_ret(send_frame(f, 60, 1), 1);
	assert_int_equal(f->tx->tx_dropped, 1);
	close(f->peer);
	f->peer = un_connect(in_dir("a"), SOCK_STREAM);
	until_connected(f);
	peer_sends(f, 60, 2);
	expect_frame(f, 60, 2);
}

static void the_next_is_served_when_the_first_has_gone(void **state)
{
	struct fixture *f = *state;
	uint8_t room[100];
	struct frame fr;
	int second;

	serve_stream(f);
	second = un_connect(in_dir("a"), SOCK_STREAM);
	peer_sends(f, 60, 1);
	expect_frame(f, 60, 1);
	check_ret(send_frame(f, 60, 2), 1);
	peer_expects(f, 60, 2);
	close(f->peer);
	f->peer = second;
	peer_sends(f, 60, 3);
	expect_frame(f, 60, 3);
	check_ret(try_recv(f, &fr, room, sizeof(room)), -EAGAIN);
	check_ret(send_frame(f, 60, 4), 1);
	peer_expects(f, 60, 4);
}

static void a_client_tries_until_the_server_is_there(void **state)
{
	struct fixture *f = *state;
	int listener;

	snprintf(spec, sizeof(spec), "qemu:stream,connect=unix:%s",
		 in_dir("a"));
	begin(f, spec);
	check_ret(send_frame(f, 60, 1), 1);
	assert_int_equal(f->tx->tx_dropped, 1);
	for (unsigned int i = 0; i < 2; i++) {
		listener = un_bind(in_dir("a"), SOCK_STREAM);
		check_ret(listen(listener, 1), 0);
		assert_true(wait_for(listener, POLLIN));
		f->peer = check_ok(accept(listener, NULL, NULL));
		until_connected(f);
		peer_sends(f, 60, i);
		expect_frame(f, 60, i);
		close(listener);
		close(f->peer);
		unlink(in_dir("a"));
		/* Sending or receiving notices the loss, whichever is first. */
		send_frame(f, 60, 1);
	}
	f->peer = -1;
}

static void ports_are_opened_again_and_one_pair_at_a_time(void **state)
{
	struct fixture *f = *state;
	struct netport *rx, *tx;

	serve_stream(f);
	check_ret(netif_open(f->s, 0, &rx, &tx), -EBUSY);
	netport_close(f->rx);
	netport_close(f->tx);
	check_ret(netif_open(f->s, 0, &f->rx, &f->tx), 0);
	f->rx->hdr_len = f->tx->hdr_len = HDR;
	check_ret(send_frame(f, 60, 1), 1);
	peer_expects(f, 60, 1);
}

static void need_net(void)
{
	static int entered = 1;

	if (entered > 0)
		entered = vmm_net_enter();
	if (entered < 0)
		skip_because("no network namespace: %s", strerror(-entered));
}

static int inet_socket(int type, unsigned int port, bool bind_it)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr = { htonl(INADDR_LOOPBACK) },
	};
	int fd = check_ok(socket(AF_INET, type | SOCK_CLOEXEC, 0));

	check_ret(bind_it ? bind(fd, (struct sockaddr *)&a, sizeof(a))
			  : connect(fd, (struct sockaddr *)&a, sizeof(a)),
		  0);
	return fd;
}

static void tcp_is_a_stream_too(void **state)
{
	struct fixture *f = *state;
	int listener;

	need_net();
	begin(f, "qemu:stream,server=inet:127.0.0.1:1000");
	f->peer = inet_socket(SOCK_STREAM, 1000, false);
	until_connected(f);
	peer_sends(f, LONGEST, 3);
	expect_frame(f, LONGEST, 3);
	end(f);
	close(f->peer);

	begin(f, "qemu:stream,connect=inet:127.0.0.1:1001");
	check_ret(send_frame(f, 60, 1), 1);
	listener = inet_socket(SOCK_STREAM, 1001, true);
	check_ret(listen(listener, 1), 0);
	assert_true(wait_for(listener, POLLIN));
	f->peer = check_ok(accept(listener, NULL, NULL));
	close(listener);
	until_connected(f);
	check_ret(send_frame(f, LONGEST, 3), 1);
	peer_expects(f, LONGEST, 3);
}

/* ---- dgram ---- */

static void begin_dgram(struct fixture *f)
{
	snprintf(spec, sizeof(spec), "qemu:dgram,local=unix:%s,remote=unix:%s",
		 in_dir("a"), in_dir("b"));
	begin(f, spec);
}

static void dgram_peer_sends(struct fixture *f, uint32_t len, uint32_t seed)
{
	struct sockaddr_un a = un_addr(in_dir("a"));
	static uint8_t buf[LONGEST];

	vmm_frame(buf, len, seed);
	check_ret(
		sendto(f->peer, buf, len, 0, (struct sockaddr *)&a, sizeof(a)),
		len);
}

static void dgram_peer_expects(struct fixture *f, uint32_t len, uint32_t seed)
{
	static uint8_t buf[LONGEST + 1];

	check_ret(vmm_packet_recv(f->peer, buf, sizeof(buf), WAIT_MS), len);
	assert_true(vmm_frame_is(buf, len, seed));
}

/* As QEMU does: a name of its own, and every frame sent to ours. */
static void datagrams_carry_frames_both_ways(void **state)
{
	static const uint32_t lens[] = { 14, 60, 1514, 9014, LONGEST };
	struct fixture *f = *state;
	uint8_t room[100];
	struct frame fr;

	f->peer = un_bind(in_dir("b"), SOCK_DGRAM);
	begin_dgram(f);
	check_ret(try_recv(f, &fr, room, sizeof(room)), -EAGAIN);
	for (uint32_t i = 0; i < 5; i++) {
		check_ret(send_frame(f, lens[i], i), 1);
		dgram_peer_expects(f, lens[i], i);
		dgram_peer_sends(f, lens[i], i + 7);
		expect_frame(f, lens[i], i + 7);
	}
	check_ret(send_frame(f, 13, 1), 1);
	assert_int_equal(f->tx->tx_dropped, 1);
	dgram_peer_sends(f, 89, 1);
	check_ret(try_recv(f, &fr, room, sizeof(room)), 1);
	assert_true(fr.trunc);
	assert_int_equal(fr.len, 100);
	dgram_peer_sends(f, 88, 2); /* fits exactly */
	check_ret(try_recv(f, &fr, room, sizeof(room)), 1);
	assert_false(fr.trunc);
	assert_true(vmm_frame_is(room + HDR, 88, 2));
	dgram_peer_sends(f, 13, 1); /* is none */
	check_ret(try_recv(f, &fr, room, sizeof(room)), 1);
	assert_true(fr.trunc);
	check_ret(try_recv(f, &fr, room, sizeof(room)), -EAGAIN);
}

static void a_full_queue_of_the_peer_holds_the_sender(void **state)
{
	struct fixture *f = *state;
	uint32_t sent = 0;
	int ret;

	f->peer = un_bind(in_dir("b"), SOCK_DGRAM);
	begin_dgram(f);
	while ((ret = send_frame(f, 60, sent)) == 1)
		assert_in_range(++sent, 1, 10000);
	check_ret(ret, -EAGAIN);
	assert_true(poll(&(struct pollfd){ f->tx->fd, POLLOUT, 0 }, 1, 0) == 0);
	for (uint32_t i = 0; i < sent; i++)
		dgram_peer_expects(f, 60, i);
	assert_true(wait_for(f->tx->fd, POLLOUT));
	check_ret(send_frame(f, 60, 7), 1);
	dgram_peer_expects(f, 60, 7);
	assert_int_equal(f->tx->tx_dropped, 0);
}

static void a_peer_may_come_late_and_come_again(void **state)
{
	struct pollfd p = { .events = POLLIN };
	struct fixture *f = *state;

	begin_dgram(f);
	check_ret(send_frame(f, 60, 1), 1);
	assert_int_equal(f->tx->tx_dropped, 1);
	for (unsigned int i = 0; i < 2; i++) {
		unsigned int tries = 0;

		f->peer = p.fd = un_bind(in_dir("b"), SOCK_DGRAM);
		/* It need not be sent to first. */
		dgram_peer_sends(f, 60, i);
		expect_frame(f, 60, i);
		do {
			assert_in_range(tries++, 0, WAIT_MS);
			check_ret(send_frame(f, 60, 5), 1);
		} while (poll(&p, 1, 1) == 0);
		dgram_peer_expects(f, 60, 5);
		close(f->peer);
	}
	f->peer = -1;
	check_ret(send_frame(f, 60, 1), 1);
}

static void udp_carries_frames_and_hears_only_the_peer(void **state)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_port = htons(2000),
		.sin_addr = { htonl(INADDR_LOOPBACK) },
	};
	struct fixture *f = *state;
	uint8_t buf[100];
	struct frame fr;
	int stranger;

	need_net();
	begin(f, "qemu:dgram,local=inet:127.0.0.1:2000,"
		 "remote=inet:127.0.0.1:2001");
	/* Nobody is there: what comes back is an error of the next call. */
	for (unsigned int i = 0; i < 4; i++)
		check_ret(send_frame(f, 60, 1), 1);
	check_ret(try_recv(f, &fr, buf, sizeof(buf)), -EAGAIN);
	stranger = inet_socket(SOCK_DGRAM, 2002, true);
	f->peer = inet_socket(SOCK_DGRAM, 2001, true);
	vmm_frame(buf, 60, 9);
	check_ret(sendto(stranger, buf, 60, 0, (struct sockaddr *)&to,
			 sizeof(to)),
		  60);
	vmm_frame(buf, 60, 2);
	check_ret(
		sendto(f->peer, buf, 60, 0, (struct sockaddr *)&to, sizeof(to)),
		60);
	expect_frame(f, 60, 2);
	check_ret(send_frame(f, 1514, 3), 1);
	dgram_peer_expects(f, 1514, 3);
	/* longer than UDP carries */
	check_ret(send_frame(f, LONGEST, 3), 1);
	assert_in_range(f->tx->tx_dropped, 1, 5);
	close(stranger);
}

/* ---- QEMU itself ---- */

static pid_t start_qemu(const char *netdev)
{
	const char *const argv[] = { "qemu-system-x86_64",
				     "-machine",
				     "pc,accel=tcg",
				     "-m",
				     "64",
				     "-nodefaults",
				     "-no-user-config",
				     "-display",
				     "none",
				     "-netdev",
				     netdev,
				     "-device",
				     "e1000,netdev=n,bootindex=0",
				     NULL };
	pid_t pid = check_ok(fork());

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	return pid;
}

static bool is_dhcp_discover(const uint8_t *eth, uint32_t len)
{
	static const uint8_t broadcast[6] = { 255, 255, 255, 255, 255, 255 };

	return len > 14 + 20 + 8 && !memcmp(eth, broadcast, 6) &&
	       eth[12] == 8 && eth[13] == 0 && eth[14 + 9] == 17 &&
	       eth[14 + 20 + 2] == 0 && eth[14 + 20 + 3] == 67;
}

/* The firmware of its e1000 asks for an address; false: it ended. */
static bool qemu_asks(struct fixture *f, pid_t pid)
{
	static uint8_t room[HDR + LONGEST];
	bool asked = false;
	struct frame fr;

	for (unsigned int ms = 0; !asked && ms < QEMU_MS; ms += 100) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return false;
		poll(&(struct pollfd){ f->rx->fd, POLLIN, 0 }, 1, 100);
		while (!asked && try_recv(f, &fr, room, sizeof(room)) == 1)
			asked = is_dhcp_discover(room + HDR, fr.len - HDR);
	}
	/* It takes what we say, too: more than fits the queue of its socket. */
	for (uint32_t i = 0; asked && i < 100; i++)
		while (send_frame(f, 60 + i, i) != 1)
			assert_true(wait_for(f->tx->fd, POLLOUT));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_true(asked);
	return true;
}

static void an_e1000_of_qemu_talks_by_datagrams(void **state)
{
	struct fixture *f = *state;
	char netdev[400];

	begin_dgram(f);
	snprintf(netdev, sizeof(netdev),
		 "dgram,id=n,local.type=unix,local.path=%s,remote.type=unix,"
		 "remote.path=%s",
		 in_dir("b"), in_dir("a"));
	if (!qemu_asks(f, start_qemu(netdev)))
		skip_because("QEMU is not there, or has no dgram");
}

static void an_e1000_of_qemu_talks_by_a_stream(void **state)
{
	struct fixture *f = *state;
	char netdev[400];

	snprintf(spec, sizeof(spec), "qemu:stream,server=unix:%s", in_dir("a"));
	begin(f, spec);
	snprintf(netdev, sizeof(netdev),
		 "stream,id=n,server=off,addr.type=unix,addr.path=%s",
		 in_dir("a"));
	if (!qemu_asks(f, start_qemu(netdev)))
		skip_because("QEMU is not there, or has no stream");
}

static void an_e1000_of_qemu_talks_by_a_stream_it_serves(void **state)
{
	struct fixture *f = *state;
	char netdev[400];

	snprintf(spec, sizeof(spec), "qemu:stream,connect=unix:%s",
		 in_dir("b"));
	begin(f, spec);
	snprintf(netdev, sizeof(netdev),
		 "stream,id=n,server=on,addr.type=unix,addr.path=%s",
		 in_dir("b"));
	if (!qemu_asks(f, start_qemu(netdev)))
		skip_because("QEMU is not there, or has no stream");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_specification_is_complete_and_unmixed),
		TEST(one_queue_pair_is_all_there_is),
		TEST(a_live_name_is_refused_and_a_dead_one_replaced),
		TEST(a_descriptor_is_looked_at),
		TEST(frames_are_found_however_the_bytes_come),
		TEST(a_frame_longer_than_any_is_an_error_at_once),
		TEST(a_stream_carries_frames_both_ways),
		TEST(a_batch_goes_out_whole_and_in_order),
		TEST(a_frame_in_very_many_pieces_goes_out),
		TEST(a_full_stream_holds_the_sender_and_loses_nothing),
		TEST(a_hostile_length_ends_the_connection_with_one_line),
		TEST(the_next_is_served_when_the_first_has_gone),
		TEST(a_client_tries_until_the_server_is_there),
		TEST(ports_are_opened_again_and_one_pair_at_a_time),
		TEST(tcp_is_a_stream_too),
		TEST(datagrams_carry_frames_both_ways),
		TEST(a_full_queue_of_the_peer_holds_the_sender),
		TEST(a_peer_may_come_late_and_come_again),
		TEST(udp_carries_frames_and_hears_only_the_peer),
		TEST(an_e1000_of_qemu_talks_by_datagrams),
		TEST(an_e1000_of_qemu_talks_by_a_stream),
		TEST(an_e1000_of_qemu_talks_by_a_stream_it_serves),
	};

	return cmocka_run_group_tests_name("qemuport", tests, group_setup,
					   group_teardown);
}
