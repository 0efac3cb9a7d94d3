/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_wvu.c tests the program uvhost-worker where it serves a vhost-user
 * connection: how it starts, what it may do, and how it ends. This program is
 * its broker, and its frontend.
 */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>
#include <linux/capability.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "bytes.h"
#include "confine.h"
#include "fd.h"
#include "fdmsg.h"
#include "log.h"
#include "vhost/user/vu_msg.h"
#include "wmsg.h"
#include "wfix.h"
#include "wproc.h"

/**
 * struct fixture - a worker process
 * @sock:     our end of the socket to it; @end: the other one
 * @conn:     the connection: its end, until the process has it; -1
 * @frontend: our end
 */
struct fixture {
	struct wproc p;
	int sock, end;
	int conn;
	struct vu_endpoint frontend;
	struct wmsg_in in;
};

static int setup(void **state)
{
	static struct fixture f;
	int ends[2], conn[2];

	f = (struct fixture){ .sock = -1 };
	check_ret(wproc_prepare(WORKER), 0);
	check_ret(wmsg_pair(ends), 0);
	check_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, conn));
	f.sock = ends[0];
	f.end = ends[1];
	f.conn = conn[1];
	vu_endpoint_init(&f.frontend, conn[0]);
	check_ret(wmsg_in_init(&f.in, WMSG_PACKET_MAX, false), 0);
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
	fd_drop(&f->conn);
	vu_endpoint_close(&f->frontend);
	wmsg_in_free(&f->in);
	return 0;
}

/* ---- messages ---- */

static struct wmsg_sock good_start(void)
{
	struct wmsg_sock s = { .tag = "vu.sock",
			       .port = "loop",
			       .queue_pairs = 1,
			       .log_level = LOG_LEVEL_INFO };

	snprintf(s.build, sizeof(s.build), "%s", wmsg_build());
	return s;
}

/* With the connection and @more descriptors. */
static void start_with(struct fixture *f, const struct wmsg_sock *s,
		       const int *fds, unsigned int more)
{
	struct wproc_user user = wfix_user();
	int all[16] = { f->end, f->conn };
	const struct wmsg_out out = { .type = WMSG_SOCK_START,
				      .part = { { (void *)(uintptr_t)s,
						  sizeof(*s) } },
				      .nparts = 1,
				      .nfds = 1 + more,
				      .inherited = true };

	for (unsigned int i = 0; i < more; i++)
		all[2 + i] = fds[i];
	check_ret(wproc_start(&user, "vu.sock", all, 2 + more, &f->p), 0);
	fd_drop(&f->end);
	fd_drop(&f->conn);
	check_ret(wmsg_send(f->sock, &out, 0), 0);
}

/* With eventfds. */
static void start(struct fixture *f, const struct wmsg_sock *s,
		  unsigned int more)
{
	int fds[8] = { 0 };

	for (unsigned int i = 0; i < more; i++)
		fds[i] = check_ok(eventfd(0, EFD_CLOEXEC));
	start_with(f, s, fds, more);
	for (unsigned int i = 0; i < more; i++)
		close(fds[i]);
}

static void check_start_reply(struct fixture *f, int want)
{
	int64_t n;

	check_ret(wmsg_recv(f->sock, &f->in, 0), 0);
	assert_int_equal(f->in.hdr.type, WMSG_SOCK_START | WMSG_REPLY);
	check_ret(wmsg_number(&f->in, -WMSG_ERRNO_MAX, 0, &n), 0);
	check_ret(n, want);
}

static void serve(struct fixture *f, struct wmsg_sock s)
{
	start(f, &s, 0);
	check_start_reply(f, 0);
}

static void send_plain(struct fixture *f, unsigned int type)
{
	const struct wmsg_out out = { .type = type };

	check_ret(wmsg_send(f->sock, &out, 0), 0);
}

static void request(struct fixture *f, uint32_t type, uint32_t size)
{
	struct vu_msg m;

	vu_msg_init(&m, type);
	m.hdr.size = size;
	check_ret(vu_send(&f->frontend, &m, WFIX_DEADLINE_MS), 0);
}

/* The session answers. */
static void check_served(struct fixture *f)
{
	struct vu_msg m;

	request(f, VHOST_USER_GET_FEATURES, 0);
	check_ret(vu_recv_wait(&f->frontend, &m, WFIX_DEADLINE_MS), 0);
	assert_int_equal(m.hdr.request, VHOST_USER_GET_FEATURES);
	assert_int_equal(m.hdr.size, 8);
	assert_true(m.payload.u64 & BIT(VHOST_USER_F_PROTOCOL_FEATURES));
}

static void check_closed(struct fixture *f)
{
	struct vu_msg m;

	check_ret(vu_recv_wait(&f->frontend, &m, WFIX_DEADLINE_MS),
		  -ECONNRESET);
}

/* ---- tests ---- */

static void it_serves_a_connection_and_ends_with_it(void **state)
{
	struct fixture *f = *state;

	serve(f, good_start());
	check_served(f);
	send_plain(f, WMSG_SOCK_PRINT);
	check_served(f);
	vu_endpoint_close(&f->frontend);
	wfix_check_exit(&f->p, 0);
}

/* With the guest's side of a frame ring. */
static void start_with_ring(struct fixture *f, const struct framering *r)
{
	struct wmsg_sock s = good_start();
	int fds[FRAMERING_FDS];

	s.port[0] = '\0';
	s.flags = WMSG_SOCK_RINGS;
	framering_fds(r, fds);
	start_with(f, &s, fds, FRAMERING_FDS);
}

static void its_port_may_be_a_frame_ring(void **state)
{
	struct fixture *f = *state;
	struct framering *r;

	check_ret(framering_new(&r), 0);
	start_with_ring(f, r);
	check_start_reply(f, 0);
	check_served(f);
	assert_false(framering_enabled(r));
	vu_endpoint_close(&f->frontend);
	wfix_check_exit(&f->p, 0);
	framering_free(r);
}

static void what_is_no_frame_ring_is_refused(void **state)
{
	struct wmsg_sock s = good_start();
	struct fixture *f = *state;

	s.flags = WMSG_SOCK_RINGS;
	start(f, &s, FRAMERING_FDS);
	check_start_reply(f, -EBADMSG);
	wfix_check_exit(&f->p, 1);
}

/* ---- descriptors in flight ---- */

#define FLIGHT_LIMIT 256

/* Of the calling thread: those with which there is no limit in force, or not.
 */
static void switch_no_limit(bool on)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	const uint32_t caps = BIT(CAP_SYS_RESOURCE) | BIT(CAP_SYS_ADMIN);
	struct __user_cap_data_struct d[2];

	check_ok(syscall(SYS_capget, &head, d));
	d[0].effective &= ~caps;
	if (on)
		d[0].effective |= d[0].permitted & caps;
	check_ok(syscall(SYS_capset, &head, d));
}

/* Until the kernel refuses another one. */
static void fill_flight(int sock, int fd)
{
	int fds[FDMSG_MAX];
	ssize_t ret;

	for (unsigned int i = 0; i < FDMSG_MAX; i++)
		fds[i] = fd;
	do
		ret = fdmsg_send(sock, "x", 1, fds, FDMSG_MAX, MSG_DONTWAIT);
	while (ret == 1);
	check_ret((int)ret, -ETOOMANYREFS);
}

/* Those that others of this user have sent and nobody has received. */
static void descriptors_in_flight_do_not_keep_it_from_starting(void **state)
{
	struct fixture *f = *state;
	struct wmsg_sock s = good_start();
	struct rlimit limit, low;
	int flight[2];

	check_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, flight));
	check_ok(getrlimit(RLIMIT_NOFILE, &limit));
	low = limit;
	low.rlim_cur = FLIGHT_LIMIT;
	check_ok(setrlimit(RLIMIT_NOFILE, &low));
	switch_no_limit(false);
	fill_flight(flight[0], f->conn);
	serve(f, s);
	check_served(f);
	check_ret(fdmsg_send(flight[0], "x", 1, &f->sock, 1, 0), -ETOOMANYREFS);
	switch_no_limit(true);
	check_ok(setrlimit(RLIMIT_NOFILE, &limit));
	close(flight[0]);
	close(flight[1]);
	vu_endpoint_close(&f->frontend);
	wfix_check_exit(&f->p, 0);
}

static void it_goes_on_without_the_broker(void **state)
{
	struct fixture *f = *state;

	serve(f, good_start());
	fd_drop(&f->sock);
	check_served(f);
	check_served(f);
	vu_endpoint_close(&f->frontend);
	wfix_check_exit(&f->p, 0);
}

static void it_ends_when_a_stored_socket_is_closed(void **state)
{
	struct fixture *f = *state;
	struct wmsg_sock s = good_start();

	s.flags = WMSG_SOCK_STORED;
	serve(f, s);
	check_served(f);
	fd_drop(&f->sock);
	check_closed(f);
	wfix_check_exit(&f->p, 0);
}

static void it_ends_when_it_is_told_to(void **state)
{
	struct fixture *f = *state;

	serve(f, good_start());
	check_served(f);
	send_plain(f, WMSG_SOCK_END);
	check_closed(f);
	wfix_check_exit(&f->p, 0);
}

static void it_tells_the_next_broker_what_it_serves(void **state)
{
	struct fixture *f = *state;
	struct wmsg_sock s = good_start(), got;

	snprintf(s.port, sizeof(s.port), "null:64,copy");
	s.queue_pairs = 7;
	s.mtu = 1400;
	serve(f, s);
	send_plain(f, WMSG_SOCK_HELLO);
	check_ret(wmsg_recv(f->sock, &f->in, 0), 0);
	assert_int_equal(f->in.hdr.type, WMSG_SOCK_HELLO | WMSG_REPLY);
	check_ret(wmsg_get_sock(&f->in, &got), 0);
	assert_memory_equal(&got, &s, sizeof(s));
	check_served(f);
}

static void what_the_broker_sends_wrong_does_no_harm(void **state)
{
	struct fixture *f = *state;

	serve(f, good_start());
	check_ret(send(f->sock, "hello", 5, 0), 5);
	check_served(f);
	check_served(f);
	vu_endpoint_close(&f->frontend);
	wfix_check_exit(&f->p, 0);
}

static void a_broker_of_another_build_is_refused(void **state)
{
	struct fixture *f = *state;
	struct wmsg_sock s = good_start();

	snprintf(s.build, sizeof(s.build), "another");
	start(f, &s, 0);
	check_start_reply(f, -ESTALE);
	check_closed(f);
	wfix_check_exit(&f->p, 0);
}

static void a_start_that_does_not_fit_is_refused(void **state)
{
	struct fixture *f = *state;
	struct wmsg_sock s = good_start();

	/* a tap needs one descriptor for each pair */
	snprintf(s.port, sizeof(s.port), "tap:uv0");
	s.queue_pairs = 2;
	start(f, &s, 1);
	check_start_reply(f, -EINVAL);
	check_closed(f);
	wfix_check_exit(&f->p, 1);
}

static void a_connection_has_to_be_one(void **state)
{
	struct fixture *f = *state;
	struct wmsg_sock s = good_start();

	close(f->conn);
	f->conn = check_ok(eventfd(0, EFD_CLOEXEC));
	start(f, &s, 0);
	check_start_reply(f, -EPROTO);
	wfix_check_exit(&f->p, 1);
}

static void a_port_that_stays_where_it_is_is_refused(void **state)
{
	struct fixture *f = *state;
	struct wmsg_sock s = good_start();

	snprintf(s.port, sizeof(s.port), "pcap-out:/tmp/uvhost-no");
	start(f, &s, 0);
	check_start_reply(f, -EINVAL); /* it does not know it */
	wfix_check_exit(&f->p, 1);
}

/* Below the filter it starts threads, makes a memfd and eventfds. */
static void it_has_no_rights_and_makes_threads(void **state)
{
	struct fixture *f = *state;
	struct wmsg_sock s = good_start();
	struct vu_msg m;
	pid_t pid;

	s.queue_pairs = 2;
	serve(f, s);
	pid = f->p.pid;
	check_served(f);
	for (unsigned int i = 0; i < 4; i++) {
		vu_msg_init(&m, VHOST_USER_SET_VRING_NUM);
		m.hdr.size = sizeof(m.payload.state);
		m.payload.state.index = i;
		m.payload.state.num = 256;
		check_ret(vu_send(&f->frontend, &m, WFIX_DEADLINE_MS), 0);
	}
	check_served(f);
	assert_int_equal(wfix_status(pid, "Uid", 10), wfix_user().uid);
	assert_int_equal(wfix_status(pid, "Gid", 10), wfix_user().gid);
	assert_int_equal(wfix_status(pid, "CapPrm", 16), 0);
	assert_int_equal(wfix_status(pid, "CapEff", 16), 0);
	assert_int_equal(wfix_status(pid, "NoNewPrivs", 10), 1);
	assert_int_equal(wfix_status(pid, "Seccomp", 10), 2);
#ifndef __SANITIZE_THREAD__
	assert_int_equal(wfix_status(pid, "Threads", 10), 4);
#endif
	vu_msg_init(&m, VHOST_USER_SET_PROTOCOL_FEATURES);
	m.hdr.size = 8;
	m.payload.u64 = BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD) |
			BIT(VHOST_USER_PROTOCOL_F_MQ);
	check_ret(vu_send(&f->frontend, &m, WFIX_DEADLINE_MS), 0);
	vu_msg_init(&m, VHOST_USER_GET_INFLIGHT_FD);
	m.hdr.size = sizeof(m.payload.inflight);
	m.payload.inflight.num_queues = 4;
	m.payload.inflight.queue_size = 256;
	check_ret(vu_send(&f->frontend, &m, WFIX_DEADLINE_MS), 0);
	check_ret(vu_recv_wait(&f->frontend, &m, WFIX_DEADLINE_MS), 0);
	assert_int_equal(m.hdr.request, VHOST_USER_GET_INFLIGHT_FD);
	assert_int_equal(m.nfds, 1);
	vu_msg_close_fds(&m);
	vu_endpoint_close(&f->frontend);
	wfix_check_exit(&f->p, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_serves_a_connection_and_ends_with_it),
		TEST(its_port_may_be_a_frame_ring),
		TEST(what_is_no_frame_ring_is_refused),
		TEST(descriptors_in_flight_do_not_keep_it_from_starting),
		TEST(it_goes_on_without_the_broker),
		TEST(it_ends_when_a_stored_socket_is_closed),
		TEST(it_ends_when_it_is_told_to),
		TEST(it_tells_the_next_broker_what_it_serves),
		TEST(what_the_broker_sends_wrong_does_no_harm),
		TEST(a_broker_of_another_build_is_refused),
		TEST(a_start_that_does_not_fit_is_refused),
		TEST(a_connection_has_to_be_one),
		TEST(a_port_that_stays_where_it_is_is_refused),
		TEST(it_has_no_rights_and_makes_threads),
	};

	return cmocka_run_group_tests_name("wvu", tests, NULL, NULL);
}
