/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_wnet.c tests the program uvhost-worker where it has a network: this
 * program is its broker, and the guests' sides of its frame rings.
 */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <linux/virtio_net.h>

#include "bytes.h"
#include "clock.h"
#include "fd.h"
#include "framering_priv.h"
#include "log.h"
#include "netmsg.h"
#include "wfix.h"
#include "wmsg.h"
#include "wproc.h"

#define HDR sizeof(struct virtio_net_hdr_mrg_rxbuf)
#define LEN (HDR + 60)
#define GUESTS 3

/** struct guest - the guest's side of a ring */
struct guest {
	struct framering *ring;
	struct netport *rx, *tx;
};

/**
 * struct fixture - a worker process
 * @sock: our end of the socket to it; @end: the other one
 */
struct fixture {
	struct wproc p;
	int sock, end;
	struct guest guest[GUESTS];
	struct wmsg_in in;
};

static void guest_open(struct guest *g)
{
	check_ret(framering_new(&g->ring), 0);
	check_ret(framering_open(g->ring, FRAMERING_GUEST, &g->rx, &g->tx), 0);
}

static void guest_close(struct guest *g)
{
	netport_close(g->rx);
	netport_close(g->tx);
	framering_free(g->ring);
}

static int setup(void **state)
{
	static struct fixture f;
	int ends[2];

	f = (struct fixture){ 0 };
	check_ret(wproc_prepare(WORKER), 0);
	check_ret(wmsg_pair(ends), 0);
	f.sock = ends[0];
	f.end = ends[1];
	check_ret(wmsg_in_init(&f.in, WMSG_PACKET_MAX, true), 0);
	for (unsigned int i = 0; i < GUESTS; i++)
		guest_open(&f.guest[i]);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct wproc_end end;

	wproc_fence(&f->p, -1, &end);
	wproc_finish();
	fd_drop(&f->sock);
	fd_drop(&f->end);
	for (unsigned int i = 0; i < GUESTS; i++)
		guest_close(&f->guest[i]);
	wmsg_in_free(&f->in);
	return 0;
}

/* ---- messages ---- */

static void start_process(struct fixture *f)
{
	const struct wproc_user user = wfix_user();

	check_ret(wproc_start(&user, "network n", &f->end, 1, &f->p), 0);
	fd_drop(&f->end);
}

static void send_body(struct fixture *f, unsigned int type, const void *body,
		      size_t len, const int *fds, unsigned int nfds)
{
	const struct wmsg_out out = {
		.type = type,
		.part = { { (void *)(uintptr_t)body, len } },
		.nparts = len ? 1 : 0,
		.fd = fds,
		.nfds = nfds,
	};

	check_ret(wmsg_send(f->sock, &out, 0), 0);
}

static struct netmsg_start good_start(void)
{
	struct netmsg_start s = { .tag = "n",
				  .name = "n",
				  .macs = 64,
				  .age_s = 300,
				  .mtu = 1500,
				  .log_level = LOG_LEVEL_INFO,
				  .stall_ms = 10000 };

	snprintf(s.build, sizeof(s.build), "%s", wmsg_build());
	return s;
}

static void send_start(struct fixture *f)
{
	const struct netmsg_start s = good_start();

	send_body(f, WMSG_NET_START, &s, sizeof(s), NULL, 0);
}

static struct netmsg_port good_port(uint32_t id)
{
	struct netmsg_port p = {
		.id = id, .queues = 1, .vlan = 1, .capture = -1
	};

	snprintf(p.name, sizeof(p.name), "p%u", id);
	return p;
}

static void send_port(struct fixture *f, uint32_t id)
{
	const struct netmsg_port p = good_port(id);

	send_body(f, WMSG_NET_PORT, &p, sizeof(p), NULL, 0);
}

static void send_ring(struct fixture *f, uint32_t id)
{
	const struct netmsg_ring r = { .id = id, .serial = 100 + id };
	int fds[FRAMERING_FDS];

	framering_fds(f->guest[id].ring, fds);
	send_body(f, WMSG_NET_RING, &r, sizeof(r), fds, FRAMERING_FDS);
}

static void run(struct fixture *f)
{
	int64_t error = -1;

	send_body(f, WMSG_NET_RUN, NULL, 0, NULL, 0);
	check_ret(wmsg_recv(f->sock, &f->in, 0), 0);
	assert_int_equal(f->in.hdr.type, WMSG_NET_RUN | WMSG_REPLY);
	check_ret(wmsg_number(&f->in, -WMSG_ERRNO_MAX, 0, &error), 0);
	assert_int_equal(error, 0);
}

/* A network with all guests. */
static void start_all(struct fixture *f)
{
	/* What a process before has followed is not this one's. */
	for (uint32_t i = 0; i < GUESTS; i++)
		framering_followed(f->guest[i].ring, false);
	start_process(f);
	send_start(f);
	run(f);
	for (uint32_t i = 0; i < GUESTS; i++) {
		send_port(f, i);
		send_ring(f, i);
		framering_enable(f->guest[i].ring, true);
	}
	for (uint32_t i = 0; i < GUESTS; i++)
		assert_true(
			framering_await(f->guest[i].ring, WFIX_DEADLINE_MS));
}

/* ---- frames ---- */

static void make_frame(uint8_t *frame, uint8_t to, uint8_t from)
{
	memset(frame, 0, LEN);
	frame[HDR] = frame[HDR + 6] = 2;
	frame[HDR + 5] = to;
	frame[HDR + 11] = from;
	if (to == 0xff)
		memset(frame + HDR, 0xff, 6);
}

static void send_one(struct guest *g, uint8_t to, uint8_t from)
{
	uint8_t bytes[LEN];
	struct iovec iov = { bytes, LEN };
	const struct frame frame = { .iov = &iov, .iovcnt = 1, .len = LEN };

	make_frame(bytes, to, from);
	check_ret(g->tx->ops->send(g->tx, &frame, 1), 1);
}

static int recv_one(struct guest *g, uint8_t *bytes)
{
	struct iovec iov = { bytes, LEN };
	struct frame frame = { .iov = &iov, .iovcnt = 1 };

	return g->rx->ops->recv(g->rx, &frame, 1);
}

static void expect(struct guest *g, uint8_t to, uint8_t from)
{
	uint8_t bytes[LEN], want[LEN];
	struct pollfd p = { .fd = g->rx->fd, .events = POLLIN };

	make_frame(want, to, from);
	for (int ret; (ret = recv_one(g, bytes)) < 0;) {
		check_ret(ret, -EAGAIN);
		check_ret(poll(&p, 1, WFIX_DEADLINE_MS), 1);
	}
	assert_memory_equal(bytes + HDR, want + HDR, LEN - HDR);
}

static void guests_exchange_frames(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[LEN];

	start_all(f);
	send_one(&f->guest[0], 0xff, 1);
	expect(&f->guest[1], 0xff, 1);
	expect(&f->guest[2], 0xff, 1);
	send_one(&f->guest[1], 1, 2);
	expect(&f->guest[0], 1, 2);
	send_one(&f->guest[0], 2, 1);
	expect(&f->guest[1], 2, 1);
	/* An address that is known is not flooded. */
	check_ret(recv_one(&f->guest[2], bytes), -EAGAIN);
	fd_drop(&f->sock);
	wfix_check_exit(&f->p, 0);
}

/* It was killed. */
static void the_next_process_has_the_same_rings(void **state)
{
	struct fixture *f = *state;
	struct wproc_end end;
	int ends[2];

	start_all(f);
	send_one(&f->guest[0], 0xff, 1);
	expect(&f->guest[1], 0xff, 1);
	expect(&f->guest[2], 0xff, 1);
	check_ret(wproc_fence(&f->p, -1, &end), 0);
	fd_drop(&f->sock);
	check_ret(wmsg_pair(ends), 0);
	f->sock = ends[0];
	f->end = ends[1];
	start_all(f);
	send_one(&f->guest[0], 0xff, 4);
	expect(&f->guest[1], 0xff, 4);
}

static void it_says_that_it_has_printed(void **state)
{
	struct fixture *f = *state;
	int64_t error = -1;

	start_all(f);
	send_body(f, WMSG_NET_PRINT, NULL, 0, NULL, 0);
	check_ret(wmsg_recv(f->sock, &f->in, 0), 0);
	assert_int_equal(f->in.hdr.type, WMSG_NET_PRINT | WMSG_REPLY);
	check_ret(wmsg_number(&f->in, 0, 0, &error), 0);
}

static void a_guest_that_leaves_gets_no_more(void **state)
{
	struct fixture *f = *state;
	const struct netmsg_leave queue = { .id = 1 },
				  port = { .id = 2, .queue = NETMSG_ALL };
	uint8_t bytes[LEN];

	start_all(f);
	send_body(f, WMSG_NET_LEAVE, &queue, sizeof(queue), NULL, 0);
	send_body(f, WMSG_NET_LEAVE, &port, sizeof(port), NULL, 0);
	/* The next one has a ring of its own; this is done after the others. */
	guest_close(&f->guest[2]);
	guest_open(&f->guest[2]);
	send_port(f, 2);
	send_ring(f, 2);
	framering_enable(f->guest[2].ring, true);
	assert_true(framering_await(f->guest[2].ring, WFIX_DEADLINE_MS));
	send_one(&f->guest[0], 0xff, 1);
	expect(&f->guest[2], 0xff, 1);
	check_ret(recv_one(&f->guest[1], bytes), -EAGAIN);
}

/* Timers of a process (timer_create(2)); -1: the kernel does not show them. */
static int timers(pid_t pid)
{
	char path[40], line[128];
	int n = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/timers", pid);
	file = fopen(path, "re");
	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file))
		n += strncmp(line, "ID:", 3) == 0;
	fclose(file);
	return n;
}

/* By a timer for each, made under the filter. */
static void threads_are_watched_for_endless_loops(void **state)
{
	const struct netmsg_leave port = { .id = 2, .queue = NETMSG_ALL };
	struct fixture *f = *state;

	start_all(f);
	if (timers(f->p.pid) < 0)
		skip();
	assert_int_equal(timers(f->p.pid), GUESTS);
	send_body(f, WMSG_NET_LEAVE, &port, sizeof(port), NULL, 0);
	guest_close(&f->guest[2]);
	guest_open(&f->guest[2]);
	send_port(f, 2);
	send_ring(f, 2);
	framering_enable(f->guest[2].ring, true);
	assert_true(framering_await(f->guest[2].ring, WFIX_DEADLINE_MS));
	assert_int_equal(timers(f->p.pid), GUESTS);
}

/* The others go on. */
static void a_guest_that_spoils_its_ring_is_reported(void **state)
{
	struct fixture *f = *state;
	struct framering_page *page = framering_page(f->guest[1].ring);
	struct netmsg_spoiled m;

	start_all(f);
	page->state[FRAMERING_FROM_GUEST].tail += FRAMERING_BYTES + 8;
	framering_ring(f->guest[1].ring,
		       f->guest[1].ring->data[FRAMERING_FROM_GUEST]);
	check_ret(wmsg_recv(f->sock, &f->in, 0), 0);
	assert_int_equal(f->in.hdr.type, WMSG_NET_SPOILED);
	check_ret(netmsg_get_spoiled(&f->in, &m), 0);
	assert_int_equal(m.id, 1);
	assert_int_equal(m.queue, 0);
	assert_int_equal(m.serial, 101);
	send_one(&f->guest[0], 0xff, 1);
	expect(&f->guest[2], 0xff, 1);
}

/* ---- captures ---- */

static off_t size_of(const char *path)
{
	struct stat st;

	check_ok(stat(path, &st));
	return st.st_size;
}

static void a_capture_is_written_to_its_end(void **state)
{
	struct netmsg_capture c = { .snaplen = 100 };
	struct netmsg_port p = good_port(0);
	struct fixture *f = *state;
	struct capture_mark *mark;
	int fds[2];

	snprintf(c.path, sizeof(c.path), "/tmp/test_wnet.XXXXXX");
	fds[0] = check_ok(mkostemp(c.path, O_CLOEXEC));
	fds[1] = check_ok(fd_memory("mark", NETMSG_MARK_BYTES));
	mark = mmap(NULL, NETMSG_MARK_BYTES, PROT_READ, MAP_SHARED, fds[1], 0);
	assert_ptr_not_equal(mark, MAP_FAILED);
	start_process(f);
	send_start(f);
	send_body(f, WMSG_NET_CAPTURE, &c, sizeof(c), fds, 2);
	run(f);
	p.capture = 0;
	send_body(f, WMSG_NET_PORT, &p, sizeof(p), NULL, 0);
	send_ring(f, 0);
	send_one(&f->guest[0], 0xff, 1);
	fd_drop(&f->sock);
	wfix_check_exit(&f->p, 0);
	assert_int_equal(mark->torn, 0);
	assert_int_equal(mark->end, size_of(c.path));
	assert_true(mark->end > 100); /* the frame too */
	munmap(mark, NETMSG_MARK_BYTES);
	close(fds[0]);
	close(fds[1]);
	unlink(c.path);
}

/* ---- what is wrong ---- */

static void another_build_is_no_failure(void **state)
{
	struct fixture *f = *state;
	struct netmsg_start s = good_start();

	s.build[0]++;
	start_process(f);
	send_body(f, WMSG_NET_START, &s, sizeof(s), NULL, 0);
	wfix_check_exit(&f->p, 0);
}

static void a_network_that_cannot_be_is_a_failure(void **state)
{
	struct fixture *f = *state;
	struct netmsg_start s = good_start();

	s.macs = 1;
	start_process(f);
	send_body(f, WMSG_NET_START, &s, sizeof(s), NULL, 0);
	wfix_check_exit(&f->p, 1);
}

/* Interfaces come before the filter, guests after it. */
static void a_guest_before_the_filter_is_a_failure(void **state)
{
	struct fixture *f = *state;

	start_process(f);
	send_start(f);
	send_port(f, 0);
	wfix_check_exit(&f->p, 1);
}

static void an_interface_after_the_filter_ends_it(void **state)
{
	struct netmsg_port p = good_port(0);
	struct fixture *f = *state;

	start_process(f);
	send_start(f);
	run(f);
	snprintf(p.spec, sizeof(p.spec), "null");
	send_body(f, WMSG_NET_PORT, &p, sizeof(p), NULL, 0);
	wfix_check_exit(&f->p, 0);
}

/* The network goes on without it. */
static void an_interface_that_is_gone_is_left_out(void **state)
{
	struct netmsg_port p = good_port(7);
	struct fixture *f = *state;
	int fd = check_ok(open("/dev/null", O_RDWR | O_CLOEXEC));

	start_process(f);
	send_start(f);
	snprintf(p.spec, sizeof(p.spec), "tap:gone");
	send_body(f, WMSG_NET_PORT, &p, sizeof(p), &fd, 1);
	close(fd);
	run(f);
	send_port(f, 0);
	send_ring(f, 0);
	framering_enable(f->guest[0].ring, true);
	assert_true(framering_await(f->guest[0].ring, WFIX_DEADLINE_MS));
}

/* Each message, checked by itself. */
static struct wmsg_in received(const void *body, size_t len, unsigned int nfds)
{
	return (struct wmsg_in){ .hdr.len = (uint32_t)len,
				 .body = body,
				 .nfds = nfds };
}

#define GET(name, m, nfds)                                                  \
	({                                                                  \
		const struct wmsg_in in_ = received(&(m), sizeof(m), nfds); \
		__typeof__(m) out_;                                         \
		netmsg_get_##name(&in_, &out_);                             \
	})

static void messages_are_checked(void **state)
{
	struct netmsg_port port = good_port(1);
	struct netmsg_start start = good_start();
	struct netmsg_ring ring = { .id = 1 };
	struct netmsg_leave leave = { .queue = NETMSG_ALL };
	struct netmsg_capture capture = { .snaplen = 100 };
	struct netmsg_spoiled spoiled = { .id = 1 };

	(void)state;
	check_ret(GET(spoiled, spoiled, 0), 0);
	check_ret(GET(spoiled, spoiled, 1), -EPROTO);
	spoiled.queue = NETMSG_QUEUES_MAX;
	check_ret(GET(spoiled, spoiled, 0), -EPROTO);
	check_ret(GET(start, start, 0), 0);
	check_ret(GET(start, start, 1), -EPROTO);
	memset(start.name, 'n', sizeof(start.name));
	check_ret(GET(start, start, 0), -EPROTO);
	check_ret(GET(capture, capture, 2), 0);
	check_ret(GET(capture, capture, 1), -EPROTO);
	check_ret(GET(port, port, 0), 0);
	check_ret(GET(port, port, 1), -EPROTO);
	port.queues = 0;
	check_ret(GET(port, port, 0), -EPROTO);
	port.queues = NETMSG_QUEUES_MAX + 1;
	check_ret(GET(port, port, 0), -EPROTO);
	port.queues = NETMSG_QUEUES_MAX;
	check_ret(GET(port, port, 0), 0);
	port.spec[0] = 'x';
	check_ret(GET(port, port, 1), -EPROTO);
	port.queues = 1;
	check_ret(GET(port, port, 1), 0);
	check_ret(GET(ring, ring, FRAMERING_FDS), 0);
	check_ret(GET(ring, ring, FRAMERING_FDS - 1), -EPROTO);
	ring.queue = NETMSG_QUEUES_MAX;
	check_ret(GET(ring, ring, FRAMERING_FDS), -EPROTO);
	check_ret(GET(leave, leave, 0), 0);
	leave.queue = NETMSG_QUEUES_MAX;
	check_ret(GET(leave, leave, 0), -EPROTO);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(guests_exchange_frames),
		TEST(the_next_process_has_the_same_rings),
		TEST(it_says_that_it_has_printed),
		TEST(a_guest_that_leaves_gets_no_more),
		TEST(threads_are_watched_for_endless_loops),
		TEST(a_guest_that_spoils_its_ring_is_reported),
		TEST(a_capture_is_written_to_its_end),
		TEST(another_build_is_no_failure),
		TEST(a_network_that_cannot_be_is_a_failure),
		TEST(a_guest_before_the_filter_is_a_failure),
		TEST(an_interface_after_the_filter_ends_it),
		TEST(an_interface_that_is_gone_is_left_out),
		cmocka_unit_test(messages_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
