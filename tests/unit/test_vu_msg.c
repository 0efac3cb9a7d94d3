/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_vu_msg.c tests sending and receiving of vhost-user messages, with a
 * hostile peer.
 */
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "fdmsg.h"
#include "vufix.h"

/**
 * struct ends - both ends of a connection
 * @peer: the socket that tests write to by hand
 */
struct ends {
	struct vu_endpoint e;
	int peer;
	unsigned int fds;
};

static int setup(void **state)
{
	struct ends *s = calloc(1, sizeof(*s));
	int fds[2];

	assert_non_null(s);
	s->fds = count_fds();
	check_ret(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	vu_endpoint_init(&s->e, fds[0]);
	s->peer = fds[1];
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct ends *s = *state;

	vu_endpoint_close(&s->e);
	vu_endpoint_close(&s->e); /* harmless */
	close(s->peer);
	assert_int_equal(count_fds(), s->fds);
	free(s);
	return 0;
}

/* @nfds copies of stderr with @len bytes */
static void put(struct ends *s, const void *bytes, size_t len,
		unsigned int nfds)
{
	int fds[FDMSG_MAX];

	for (unsigned int i = 0; i < nfds; i++)
		fds[i] = STDERR_FILENO;
	check_ret(fdmsg_send(s->peer, bytes, len, fds, nfds, 0), len);
}

struct wire {
	struct vu_hdr hdr;
	uint8_t payload[sizeof(union vu_payload) + 8];
};

static struct wire wire(uint32_t request, uint32_t size)
{
	struct wire w = { .hdr = { request, VU_VERSION, size } };

	for (unsigned int i = 0; i < sizeof(w.payload); i++)
		w.payload[i] = (uint8_t)(i + 1);
	return w;
}

static void a_message_arrives_as_it_was_sent(void **state)
{
	struct ends *s = *state;
	struct vu_endpoint other = { .sock = s->peer };
	struct vu_msg m, got;

	vu_msg_init(&m, 77);
	m.hdr.size = 20;
	memset(m.payload.bytes, 0xab, sizeof(m.payload.bytes));
	m.nfds = 2;
	m.fds[0] = m.fds[1] = STDERR_FILENO;
	check_ret(vu_send(&other, &m, 0), 0);
	check_ret(vu_recv(&s->e, &got), 0);
	assert_int_equal(got.hdr.request, 77);
	assert_int_equal(got.hdr.flags, VU_VERSION);
	assert_int_equal(got.hdr.size, 20);
	assert_memory_equal(got.payload.bytes, m.payload.bytes, 20);
	for (unsigned int i = 20; i < sizeof(got.payload.bytes); i++)
		assert_int_equal(got.payload.bytes[i], 0);
	assert_int_equal(got.nfds, 2);
	assert_true(fcntl(got.fds[0], F_GETFD) & FD_CLOEXEC);
	close(vu_msg_take_fd(&got, 0));
	assert_int_equal(vu_msg_take_fd(&got, 0), -1);
	assert_int_equal(vu_msg_take_fd(&got, 2), -1);
	vu_msg_close_fds(&got);
	check_ret(vu_recv(&s->e, &got), -EAGAIN);
}

static void a_message_may_be_cut_anywhere(void **state)
{
	struct ends *s = *state;
	struct wire w = wire(5, 40);
	struct vu_msg m;

	for (size_t cut = 1; cut < 52; cut++) {
		put(s, &w, cut, 1);
		check_ret(vu_recv(&s->e, &m), -EAGAIN);
		put(s, (char *)&w + cut, 52 - cut, 0);
		check_ret(vu_recv(&s->e, &m), 0);
		assert_memory_equal(m.payload.bytes, w.payload, 40);
		assert_int_equal(m.nfds, 1);
		vu_msg_close_fds(&m);
	}
}

static void descriptors_come_with_the_first_bytes_alone(void **state)
{
	struct ends *s = *state;
	struct wire w = wire(5, 40);
	struct vu_msg m;

	for (size_t cut = 1; cut < 52; cut++) {
		for (unsigned int first = 0; first < 2; first++) {
			put(s, &w, cut, first);
			check_ret(vu_recv(&s->e, &m), -EAGAIN);
			put(s, (char *)&w + cut, 52 - cut, 1);
			check_ret(vu_recv(&s->e, &m), -EPROTO);
			teardown(state);
			setup(state);
			s = *state;
		}
	}
}

static void messages_that_arrive_together_are_separated(void **state)
{
	struct ends *s = *state;
	struct wire w = wire(6, 8);
	struct vu_msg m;

	for (unsigned int i = 0; i < 5; i++) {
		w.hdr.request = i;
		put(s, &w, 20, i);
	}
	for (unsigned int i = 0; i < 5; i++) {
		check_ret(vu_recv(&s->e, &m), 0);
		assert_int_equal(m.hdr.request, i);
		assert_int_equal(m.nfds, i);
		vu_msg_close_fds(&m);
	}
	check_ret(vu_recv(&s->e, &m), -EAGAIN);
}

static void the_longest_payload_fits_and_no_longer_one(void **state)
{
	struct ends *s = *state;
	struct wire w = wire(1, sizeof(union vu_payload));
	struct vu_msg m;

	put(s, &w, sizeof(w.hdr) + w.hdr.size, 0);
	check_ret(vu_recv(&s->e, &m), 0);
	assert_memory_equal(m.payload.bytes, w.payload, w.hdr.size);
	w.hdr.size++;
	put(s, &w, sizeof(w.hdr) + w.hdr.size, 0);
	check_ret(vu_recv(&s->e, &m), -EMSGSIZE);
}

static void another_version_is_an_error(void **state)
{
	struct ends *s = *state;
	struct wire w = wire(1, 0);
	struct vu_msg m;

	w.hdr.flags = 2;
	put(s, &w, sizeof(w.hdr), 3);
	check_ret(vu_recv(&s->e, &m), -EPROTO);
}

static void a_peer_that_has_gone_is_noticed(void **state)
{
	struct ends *s = *state;
	struct vu_msg m;

	put(s, "12345", 5, 2);
	check_ret(shutdown(s->peer, SHUT_WR), 0);
	check_ret(vu_recv(&s->e, &m), -ECONNRESET);
	check_ret(vu_recv_wait(&s->e, &m, 1000), -ECONNRESET);
}

static void sending_on_a_socket_shut_down_fails(void **state)
{
	struct ends *s = *state;
	struct vu_msg m;

	vu_msg_init(&m, 1);
	check_ret(shutdown(s->e.sock, SHUT_WR), 0);
	check_ret(vu_send(&s->e, &m, 1000), -ECONNRESET);
}

/* In one message or spread over its pieces: all of them are closed. */
static void a_flood_of_descriptors_is_an_error(void **state)
{
	static const unsigned int n[] = { VU_FDS + 1, 4 * VU_FDS,
					  4 * VU_FDS + 1, 253 };
	struct wire w = wire(1, 8);
	struct vu_msg m;
	int ret;

	for (unsigned int i = 0; i < ARRAY_SIZE(n); i++) {
		struct ends *s = *state;

		put(s, &w, 20, n[i]);
		ret = vu_recv(&s->e, &m);
		assert_true(ret == -EPROTO || ret == -EMFILE);
		teardown(state);
		setup(state);
	}
}

static void a_flood_of_descriptors_in_pieces_is_an_error(void **state)
{
	struct ends *s = *state;
	struct wire w = wire(1, 8);
	struct vu_msg m;
	int ret = -EAGAIN;

	for (unsigned int i = 0; i < 12 && ret == -EAGAIN; i++) {
		put(s, (char *)&w + i, 1, VU_FDS / 8);
		ret = vu_recv(&s->e, &m);
	}
	check_ret(ret, -EPROTO);
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void waiting_ends_in_time(void **state)
{
	struct ends *s = *state;
	int64_t start = now_ms();
	struct vu_msg m;

	check_ret(vu_recv_wait(&s->e, &m, 0), -ETIMEDOUT);
	put(s, "1234", 4, 0); /* a beginning does not extend it */
	check_ret(vu_recv_wait(&s->e, &m, 50), -ETIMEDOUT);
	assert_in_range(now_ms() - start, 49, 5000);
}

static void a_full_socket_is_said_or_waited_for(void **state)
{
	struct ends *s = *state;
	int64_t start;
	struct vu_msg m;
	int ret;

	vu_msg_init(&m, 1);
	m.hdr.size = sizeof(m.payload);
	do
		ret = vu_send(&s->e, &m, 0);
	while (ret == 0);
	/* nothing of it, or a part of it and no way back */
	assert_true(ret == -EAGAIN || ret == -ETIMEDOUT);
	start = now_ms();
	check_ret(vu_send(&s->e, &m, 50), -ETIMEDOUT);
	assert_in_range(now_ms() - start, 49, 5000);
}

static void *drain(void *arg)
{
	char buf[4096];
	size_t total = 0;
	ssize_t n;

	while ((n = recv(*(int *)arg, buf, sizeof(buf), 0)) > 0)
		total += (size_t)n;
	return (void *)total;
}

/* Much more than the socket holds, to a peer that reads in its own pace. */
static void a_slow_peer_gets_everything(void **state)
{
	struct ends *s = *state;
	const unsigned int n = 4000;
	pthread_t thread;
	struct vu_msg m;
	void *total;

	vu_msg_init(&m, 1);
	m.hdr.size = sizeof(m.payload);
	check_ret(pthread_create(&thread, NULL, drain, &s->peer), 0);
	for (unsigned int i = 0; i < n; i++)
		check_ret(vu_send(&s->e, &m, VUFIX_MS), 0);
	check_ret(shutdown(s->e.sock, SHUT_WR), 0);
	pthread_join(thread, &total);
	assert_int_equal((size_t)total,
			 n * (sizeof(m.hdr) + sizeof(m.payload)));
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_message_arrives_as_it_was_sent),
		T(a_message_may_be_cut_anywhere),
		T(descriptors_come_with_the_first_bytes_alone),
		T(messages_that_arrive_together_are_separated),
		T(the_longest_payload_fits_and_no_longer_one),
		T(another_version_is_an_error),
		T(a_peer_that_has_gone_is_noticed),
		T(sending_on_a_socket_shut_down_fails),
		T(a_flood_of_descriptors_is_an_error),
		T(a_flood_of_descriptors_in_pieces_is_an_error),
		T(waiting_ends_in_time),
		T(a_full_socket_is_said_or_waited_for),
		T(a_slow_peer_gets_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
