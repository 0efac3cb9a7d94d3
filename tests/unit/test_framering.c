/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_framering.c tests the ring of frames between a worker process and a
 * network. Both sides are in this process, each with mappings of its own; what
 * a hostile guest's side writes is written by the test.
 */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/virtio_net.h>

#include "bytes.h"
#include "framering.h"
#include "framering_priv.h"

#define HDR sizeof(struct virtio_net_hdr_mrg_rxbuf)
#define DEADLINE_MS 60000

/** struct side - of a ring, as one process has it */
struct side {
	struct framering *ring;
	struct netport *rx, *tx;
};

struct fixture {
	struct side net, guest;
};

static _Alignas(8) uint8_t in[NETPORT_FRAME_MAX], out[NETPORT_FRAME_MAX];

static void side_open(struct side *s, enum framering_side side)
{
	check_ret(framering_open(s->ring, side, &s->rx, &s->tx), 0);
}

static void side_close(struct side *s)
{
	netport_close(s->rx);
	netport_close(s->tx);
	framering_free(s->ring);
}

/* As the other process does with the descriptors that it got. */
static struct framering *adopt(const struct framering *of)
{
	int fds[FRAMERING_FDS];
	struct framering *r;

	framering_fds(of, fds);
	for (unsigned int i = 0; i < FRAMERING_FDS; i++)
		fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
	check_ret(framering_adopt(fds, &r), 0);
	return r;
}

/* The process has died, and another one goes on. */
static void replace(struct side *s, enum framering_side side)
{
	struct side next = { .ring = adopt(s->ring) };

	side_close(s);
	*s = next;
	side_open(s, side);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	check_ret(framering_new(&f->net.ring), 0);
	check_ok(framering_alarm(f->net.ring));
	f->guest.ring = adopt(f->net.ring);
	side_open(&f->net, FRAMERING_NET);
	side_open(&f->guest, FRAMERING_GUEST);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	side_close(&f->net);
	side_close(&f->guest);
	free(f);
	return 0;
}

/* ---- frames ---- */

/* A frame of @len bytes, header included, with a number in it. */
static struct frame make(struct iovec *iov, uint32_t number, uint32_t len)
{
	memset(out, 0, HDR);
	for (uint32_t i = HDR; i < len; i++)
		out[i] = (uint8_t)(number + i);
	if (len >= HDR + sizeof(number))
		memcpy(out + HDR, &number, sizeof(number));
	*iov = (struct iovec){ out, len };
	return (struct frame){ iov, 1, len, false };
}

static int send_one(struct netport *tx, uint32_t number, uint32_t len)
{
	struct iovec iov;
	struct frame f = make(&iov, number, len);

	return tx->ops->send(tx, &f, 1);
}

static int recv_one(struct netport *rx, struct frame *f, struct iovec *iov)
{
	*iov = (struct iovec){ in, sizeof(in) };
	*f = (struct frame){ iov, 1, 0, false };
	return rx->ops->recv(rx, f, 1);
}

static void expect(struct netport *rx, uint32_t number, uint32_t len)
{
	struct iovec iov;
	struct frame f;

	check_ret(recv_one(rx, &f, &iov), 1);
	assert_int_equal(f.len, len);
	assert_false(f.trunc);
	make(&iov, number, len);
	assert_memory_equal(in, out, len);
}

static void expect_none(struct netport *rx, int error)
{
	struct iovec iov;
	struct frame f;

	check_ret(recv_one(rx, &f, &iov), error);
}

static bool polls(const struct netport *port, short events)
{
	struct pollfd p = { .fd = port->fd, .events = events };

	return poll(&p, 1, 0) > 0;
}

/* Return: frames that fit. */
static unsigned int fill(struct netport *tx, uint32_t len)
{
	unsigned int n = 0;

	while (send_one(tx, n, len) == 1)
		n++;
	return n;
}

/* ---- what both do ---- */

static void frames_pass_in_both_directions(void **state)
{
	static const uint32_t lens[] = { HDR, HDR + 14, HDR + 1500,
					 NETPORT_FRAME_MAX, HDR + 60 };
	struct fixture *f = *state;

	for (uint32_t round = 0; round < 40; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
			check_ret(send_one(f->net.tx, round, lens[i]), 1);
			check_ret(send_one(f->guest.tx, ~round, lens[i]), 1);
		}
		for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
			expect(f->guest.rx, round, lens[i]);
			expect(f->net.rx, ~round, lens[i]);
		}
	}
	expect_none(f->guest.rx, -EAGAIN);
	expect_none(f->net.rx, -EAGAIN);
}

static void headers_are_as_long_as_the_device_has_them(void **state)
{
	struct fixture *f = *state;
	struct virtio_net_hdr_mrg_rxbuf hdr = { 0 };
	struct iovec iov = { out, 10 + 60 };
	struct frame fr = { &iov, 1, 10 + 60, false };

	memset(out, 7, sizeof(out));
	f->guest.tx->hdr_len = 10;
	check_ret(f->guest.tx->ops->send(f->guest.tx, &fr, 1), 1);
	check_ret(recv_one(f->net.rx, &fr, &iov), 1);
	assert_int_equal(fr.len, HDR + 60);
	assert_memory_equal(in, out, 10);
	assert_int_equal(in[10] | in[11], 0);
	assert_memory_equal(in + HDR, out, 60);

	/* A device without a header does not get what needs one. */
	f->guest.rx->hdr_len = 0;
	hdr.hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	memcpy(out, &hdr, HDR);
	iov = (struct iovec){ out, HDR + 60 };
	fr = (struct frame){ &iov, 1, HDR + 60, false };
	check_ret(f->net.tx->ops->send(f->net.tx, &fr, 1), 1);
	check_ret(send_one(f->net.tx, 3, HDR + 60), 1);
	check_ret(recv_one(f->guest.rx, &fr, &iov), 1);
	assert_int_equal(fr.len, 60);
	expect_none(f->guest.rx, -EAGAIN);
}

static void frames_that_are_none_are_dropped(void **state)
{
	struct fixture *f = *state;
	struct iovec iov = { out, sizeof(out) };
	struct frame fr = { &iov, 1, HDR - 1, false };

	check_ret(f->guest.tx->ops->send(f->guest.tx, &fr, 1), 1);
	fr.len = NETPORT_FRAME_MAX + 1;
	check_ret(f->guest.tx->ops->send(f->guest.tx, &fr, 1), 1);
	assert_int_equal(f->guest.tx->tx_dropped, 2);
	expect_none(f->net.rx, -EAGAIN);
	assert_false(framering_is_broken(f->guest.ring));
}

static void a_full_ring_polls_as_writable_when_half_is_free(void **state)
{
	struct fixture *f = *state;
	unsigned int n = fill(f->net.tx, HDR + 1500), i;

	assert_in_range(n, 300, 400);
	assert_false(polls(f->net.tx, POLLOUT));
	for (i = 0; i < n && !polls(f->net.tx, POLLOUT); i++)
		expect(f->guest.rx, i, HDR + 1500);
	assert_in_range(i, n / 2 - 1, n / 2 + 2);
	check_ret(send_one(f->net.tx, n, HDR + 1500), 1);
	for (; i <= n; i++)
		expect(f->guest.rx, i, HDR + 1500);
	expect_none(f->guest.rx, -EAGAIN);
}

static void a_sleeping_receiver_is_woken_once(void **state)
{
	struct fixture *f = *state;

	expect_none(f->guest.rx, -EAGAIN);
	assert_false(polls(f->guest.rx, POLLIN));
	check_ret(send_one(f->net.tx, 1, 100), 1);
	assert_true(polls(f->guest.rx, POLLIN));
	expect(f->guest.rx, 1, 100);
	expect_none(f->guest.rx, -EAGAIN);
	assert_false(polls(f->guest.rx, POLLIN));
	assert_false(f->guest.rx->ops->has_frames(f->guest.rx));
	check_ret(send_one(f->net.tx, 2, 100), 1);
	assert_true(f->guest.rx->ops->has_frames(f->guest.rx));
}

static void borrowed_frames_stay_until_they_are_released(void **state)
{
	struct fixture *f = *state;
	struct netport *rx = f->guest.rx;
	struct iovec iov[4];

	for (uint32_t i = 0; i < 3; i++)
		check_ret(send_one(f->net.tx, i, 200 + i), 1);
	check_ret(rx->ops->borrow(rx, iov, 4), 3);
	rx->ops->release(rx, 1);
	check_ret(rx->ops->borrow(rx, iov, 4), 2);
	assert_int_equal(iov[0].iov_len, 201);
	assert_int_equal(iov[1].iov_len, 202);
	rx->ops->release(rx, 2);
	check_ret(rx->ops->borrow(rx, iov, 4), -EAGAIN);
	rx->hdr_len = 10;
	check_ret(rx->ops->borrow(rx, iov, 4), -EOPNOTSUPP);
}

static void what_the_guest_enables_wakes_the_network(void **state)
{
	struct fixture *f = *state;

	expect_none(f->net.rx, -EAGAIN);
	assert_false(framering_enabled(f->net.ring));
	framering_enable(f->guest.ring, true);
	assert_true(framering_enabled(f->net.ring));
	assert_true(polls(f->net.rx, POLLIN));
	framering_enable(f->guest.ring, false);
	assert_false(framering_enabled(f->net.ring));
}

static void what_the_guest_accepts_wakes_the_network(void **state)
{
	struct fixture *f = *state;

	expect_none(f->net.rx, -EAGAIN);
	assert_int_equal(framering_offload(f->net.ring), 0);
	framering_set_offload(f->guest.ring, 5);
	assert_int_equal(framering_offload(f->net.ring), 5);
	assert_true(polls(f->net.rx, POLLIN));
}

static void the_guest_waits_until_the_network_has_followed(void **state)
{
	struct fixture *f = *state;

	assert_true(framering_await(f->guest.ring, 0));
	framering_enable(f->guest.ring, true);
	assert_false(framering_await(f->guest.ring, 2));
	framering_followed(f->net.ring, true);
	assert_true(framering_await(f->guest.ring, 0));
}

static void a_ring_that_nobody_uses_is_emptied(void **state)
{
	struct fixture *f = *state;

	fill(f->net.tx, HDR + 1500);
	check_ret(send_one(f->guest.tx, 1, 100), 1);
	framering_enable(f->guest.ring, true);
	framering_page(f->guest.ring)->state[FRAMERING_FROM_GUEST].tail = 1;
	expect_none(f->net.rx, -EPROTO);
	side_close(&f->guest);
	netport_close(f->net.rx);
	netport_close(f->net.tx);
	framering_reset(f->net.ring);
	f->guest.ring = adopt(f->net.ring);
	side_open(&f->net, FRAMERING_NET);
	side_open(&f->guest, FRAMERING_GUEST);
	assert_false(framering_enabled(f->net.ring));
	expect_none(f->net.rx, -EAGAIN);
	expect_none(f->guest.rx, -EAGAIN);
	check_ret(send_one(f->net.tx, 2, 100), 1);
	expect(f->guest.rx, 2, 100);
}

/* ---- two threads ---- */

#define STREAM 20000

static void wait_for(const struct netport *port, short events)
{
	struct pollfd p = { .fd = port->fd, .events = events };

	if (poll(&p, 1, DEADLINE_MS) <= 0)
		fail_msg("no event within %d s", DEADLINE_MS / 1000);
}

static uint32_t stream_len(uint32_t i)
{
	return HDR + 14 + i * 7919 % 3000;
}

static void *send_stream(void *arg)
{
	static uint8_t mine[NETPORT_FRAME_MAX];
	struct netport *tx = arg;

	for (uint32_t i = 0; i < STREAM;) {
		struct iovec iov = { mine, stream_len(i) };
		struct frame f = { &iov, 1, stream_len(i), false };

		memcpy(mine + HDR, &i, sizeof(i));
		if (tx->ops->send(tx, &f, 1) == 1)
			i++;
		else
			wait_for(tx, POLLOUT);
	}
	return NULL;
}

static void two_threads_lose_nothing(void **state)
{
	struct fixture *f = *state;
	struct netport *rx = f->guest.rx;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, send_stream, f->net.tx),
			 0);
	for (uint32_t i = 0; i < STREAM;) {
		struct iovec iov;
		struct frame fr;
		uint32_t number;

		if (recv_one(rx, &fr, &iov) != 1) {
			wait_for(rx, POLLIN);
			continue;
		}
		memcpy(&number, in + HDR, sizeof(number));
		assert_int_equal(number, i);
		assert_int_equal(fr.len, stream_len(i));
		i++;
	}
	pthread_join(thread, NULL);
	expect_none(rx, -EAGAIN);
}

/* ---- processes that are replaced ---- */

static void the_next_process_goes_on(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 0; i < 6; i++) {
		check_ret(send_one(f->net.tx, i, 100), 1);
		check_ret(send_one(f->guest.tx, i, 100), 1);
	}
	expect(f->guest.rx, 0, 100);
	expect(f->net.rx, 0, 100);
	replace(&f->guest, FRAMERING_GUEST);
	expect(f->guest.rx, 1, 100);
	check_ret(send_one(f->guest.tx, 6, 100), 1);
	replace(&f->net, FRAMERING_NET);
	check_ret(send_one(f->net.tx, 6, 100), 1);
	for (uint32_t i = 2; i < 7; i++)
		expect(f->guest.rx, i, 100);
	for (uint32_t i = 1; i < 7; i++)
		expect(f->net.rx, i, 100);
	expect_none(f->guest.rx, -EAGAIN);
	expect_none(f->net.rx, -EAGAIN);
}

/* They may be in the guest's ring already: none comes twice. */
static void frames_that_a_dead_process_has_borrowed_are_lost(void **state)
{
	struct fixture *f = *state;
	struct netport *rx = f->guest.rx;
	struct iovec iov[3];

	for (uint32_t i = 0; i < 5; i++)
		check_ret(send_one(f->net.tx, i, 100), 1);
	check_ret(rx->ops->borrow(rx, iov, 3), 3);
	rx->ops->release(rx, 1);
	replace(&f->guest, FRAMERING_GUEST);
	expect(f->guest.rx, 3, 100);
	expect(f->guest.rx, 4, 100);
	expect_none(f->guest.rx, -EAGAIN);
}

static void a_producer_that_died_waiting_is_no_obstacle(void **state)
{
	struct fixture *f = *state;
	unsigned int n = fill(f->guest.tx, HDR + 1500);

	replace(&f->guest, FRAMERING_GUEST);
	check_ret(send_one(f->guest.tx, n, HDR + 1500), -EAGAIN);
	assert_false(polls(f->guest.tx, POLLOUT));
	for (unsigned int i = 0; i < n; i++)
		expect(f->net.rx, i, HDR + 1500);
	assert_true(polls(f->guest.tx, POLLOUT));
	check_ret(send_one(f->guest.tx, n, HDR + 1500), 1);
	expect(f->net.rx, n, HDR + 1500);
}

static struct framering_state *state_of(struct fixture *f,
					enum framering_dir dir)
{
	return &framering_page(f->guest.ring)->state[dir];
}

/* It had released all, and not yet woken the producer. */
static void a_consumer_that_died_is_no_obstacle(void **state)
{
	struct fixture *f = *state;
	unsigned int n = fill(f->net.tx, HDR + 1500);

	for (unsigned int i = 0; i < n; i++)
		expect(f->guest.rx, i, HDR + 1500);
	framering_fill(f->net.ring, f->net.tx->fd);
	state_of(f, FRAMERING_TO_GUEST)->wanted = 1;
	assert_false(polls(f->net.tx, POLLOUT));
	replace(&f->guest, FRAMERING_GUEST);
	assert_true(polls(f->net.tx, POLLOUT));
}

/* It was about to wake the producer, and had noted that it has. */
static void a_consumer_that_died_a_little_later_is_none(void **state)
{
	struct fixture *f = *state;
	unsigned int n = fill(f->net.tx, HDR + 1500);

	for (unsigned int i = 0; i < n; i++)
		expect(f->guest.rx, i, HDR + 1500);
	framering_fill(f->net.ring, f->net.tx->fd);
	assert_int_equal(state_of(f, FRAMERING_TO_GUEST)->wanted, 0);
	assert_false(polls(f->net.tx, POLLOUT));
	replace(&f->guest, FRAMERING_GUEST);
	assert_true(polls(f->net.tx, POLLOUT));
}

/* It had written a frame, and not yet woken the consumer. */
static void a_frame_that_nobody_was_told_of_is_found(void **state)
{
	struct fixture *f = *state;

	expect_none(f->guest.rx, -EAGAIN);
	check_ret(send_one(f->net.tx, 1, 100), 1);
	framering_drain(f->guest.ring, f->guest.rx->fd);
	state_of(f, FRAMERING_TO_GUEST)->asleep = 1;
	assert_false(polls(f->guest.rx, POLLIN));
	replace(&f->net, FRAMERING_NET);
	assert_true(polls(f->guest.rx, POLLIN));
	expect(f->guest.rx, 1, 100);
}

/* ---- a hostile guest's side ---- */

/* The broker is told of a broken ring. */
static void expect_alarm(struct fixture *f, unsigned int n)
{
	uint64_t count = 0;
	int fd = framering_alarm(f->net.ring);

	if (read(fd, &count, sizeof(count)) < 0)
		assert_int_equal(errno, EAGAIN);
	assert_int_equal(count, n);
}

static void lengths_are_checked(void **state)
{
	static const uint32_t bad[] = {
		0,          1,  HDR - 1, NETPORT_FRAME_MAX + 1, FRAMERING_BYTES,
		UINT32_MAX, 104
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint8_t *bytes;

		expect_none(f->net.rx, -EAGAIN);
		bytes = framering_bytes(f->guest.ring, FRAMERING_FROM_GUEST);
		check_ret(send_one(f->guest.tx, 1, 96), 1);
		memcpy(bytes, &bad[i], sizeof(bad[i]));
		expect_none(f->net.rx, -EPROTO);
		assert_true(framering_is_broken(f->net.ring));
		expect_alarm(f, 1);
		expect_none(f->net.rx, -EPROTO);
		expect_alarm(f, 0); /* told once */
		assert_false(f->net.rx->ops->has_frames(f->net.rx));
		teardown(state);
		setup(state);
		f = *state;
	}
}

static void positions_are_checked(void **state)
{
	static const uint64_t bad[] = { 1, 12, FRAMERING_BYTES + 8,
					UINT64_MAX - 7, UINT64_MAX };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		state_of(f, FRAMERING_FROM_GUEST)->tail = bad[i];
		expect_none(f->net.rx, -EPROTO);
		assert_true(framering_is_broken(f->net.ring));
		expect_alarm(f, 1);
		teardown(state);
		setup(state);
		f = *state;
	}
}

/* What the network sends to it is dropped, and nobody waits for it. */
static void a_position_that_cannot_be_ends_the_sending(void **state)
{
	struct fixture *f = *state;
	unsigned int n;

	fill(f->net.tx, HDR + 1500);
	state_of(f, FRAMERING_TO_GUEST)->head = FRAMERING_BYTES * 3;
	for (n = 0; n < 1000; n++)
		check_ret(send_one(f->net.tx, 1, HDR + 1500), 1);
	assert_true(framering_is_broken(f->net.ring));
	expect_alarm(f, 1);
	/* But for the one with which that is noticed. */
	assert_int_equal(f->net.tx->tx_dropped, 999);
}

/* The frame that was checked is the frame that was copied: a length that
 * changes meanwhile changes nothing. */
static void *change_length(void *arg)
{
	struct fixture *f = arg;
	uint32_t *len =
		(void *)framering_bytes(f->guest.ring, FRAMERING_FROM_GUEST);
	struct framering_page *page = framering_page(f->guest.ring);

	for (uint32_t i = 0; !__atomic_load_n(&page->enabled, __ATOMIC_RELAXED);
	     i++)
		__atomic_store_n(len, i % 2 ? 96 : 40, __ATOMIC_RELAXED);
	return NULL;
}

static void a_length_that_changes_is_read_once(void **state)
{
	struct fixture *f = *state;
	pthread_t thread;

	check_ret(send_one(f->guest.tx, 1, 96), 1);
	assert_int_equal(pthread_create(&thread, NULL, change_length, f), 0);
	for (unsigned int i = 0; i < 20000; i++) {
		struct side again = { .ring = f->net.ring };
		struct framering_state *s = state_of(f, FRAMERING_FROM_GUEST);
		struct iovec iov;
		struct frame fr;
		int ret;

		__atomic_store_n(&s->head, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&s->taken, 0, __ATOMIC_RELAXED);
		side_open(&again, FRAMERING_NET);
		ret = recv_one(again.rx, &fr, &iov);
		netport_close(again.rx);
		netport_close(again.tx);
		assert_int_equal(ret, 1);
		assert_true(fr.len == 96 || fr.len == 40);
	}
	framering_enable(f->guest.ring, true);
	pthread_join(thread, NULL);
}

static void an_eventfd_that_waits_is_not_touched(void **state)
{
	struct fixture *f = *state;
	int fd = f->guest.rx->fd;

	expect_none(f->guest.rx, -EAGAIN);
	check_ret(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0);
	check_ret(send_one(f->net.tx, 1, 100), 1);
	assert_true(framering_is_broken(f->net.ring));
	assert_false(polls(f->guest.rx, POLLIN));
}

/* ---- descriptors ---- */

static void close_all(int *fds)
{
	for (unsigned int i = 0; i < FRAMERING_FDS; i++)
		close(fds[i]);
}

static void other_descriptors_are_refused(void **state)
{
	struct fixture *f = *state;
	int fds[FRAMERING_FDS], mine[FRAMERING_FDS];
	struct framering *r;

	framering_fds(f->net.ring, fds);
	for (unsigned int i = 0; i < FRAMERING_FDS; i++)
		mine[i] = dup(fds[i]);

	/* Memory that can be made shorter, or is. */
	close(mine[0]);
	mine[0] = memfd_create("test", MFD_ALLOW_SEALING);
	check_ret(framering_adopt(mine, &r), -EBADMSG);
	check_ret(ftruncate(mine[0], (off_t)FRAMERING_SIZE), 0);
	check_ret(framering_adopt(mine, &r), -EBADMSG);
	check_ret(fcntl(mine[0], F_ADD_SEALS,
			F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
		  0);
	/* It is of something else. */
	check_ret(framering_adopt(mine, &r), -EBADMSG);
	dup2(fds[0], mine[0]);
	/* An eventfd on which one could wait. */
	close(mine[2]);
	mine[2] = eventfd(0, EFD_CLOEXEC);
	check_ret(framering_adopt(mine, &r), -EBADMSG);
	dup2(fds[2], mine[2]);
	check_ret(framering_adopt(mine, &r), 0);
	framering_free(r);
	assert_int_equal(fcntl(mine[0], F_GETFD), -1);
	for (unsigned int i = 0; i < FRAMERING_FDS; i++)
		mine[i] = dup(fds[i]);
	close_all(mine);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(frames_pass_in_both_directions),
		TEST(headers_are_as_long_as_the_device_has_them),
		TEST(frames_that_are_none_are_dropped),
		TEST(a_full_ring_polls_as_writable_when_half_is_free),
		TEST(a_sleeping_receiver_is_woken_once),
		TEST(borrowed_frames_stay_until_they_are_released),
		TEST(what_the_guest_enables_wakes_the_network),
		TEST(what_the_guest_accepts_wakes_the_network),
		TEST(the_guest_waits_until_the_network_has_followed),
		TEST(a_ring_that_nobody_uses_is_emptied),
		TEST(two_threads_lose_nothing),
		TEST(the_next_process_goes_on),
		TEST(frames_that_a_dead_process_has_borrowed_are_lost),
		TEST(a_producer_that_died_waiting_is_no_obstacle),
		TEST(a_consumer_that_died_is_no_obstacle),
		TEST(a_consumer_that_died_a_little_later_is_none),
		TEST(a_frame_that_nobody_was_told_of_is_found),
		TEST(lengths_are_checked),
		TEST(positions_are_checked),
		TEST(a_position_that_cannot_be_ends_the_sending),
		TEST(a_length_that_changes_is_read_once),
		TEST(an_eventfd_that_waits_is_not_touched),
		TEST(other_descriptors_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
