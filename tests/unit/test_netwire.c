/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_netwire.c tests a network of two ports, which is a wire, and networks
 * under many threads.
 */
#include "netfix.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bytes.h"
#include "netframe.h"

#define DEADLINE_MS 60000
#define LONG (14 + 1500)

struct fixture {
	struct network *n;
	struct station a, b, c, d;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->n = fix_network();
	fix_join(f->n, &f->a, NULL);
	fix_join(f->n, &f->b, NULL);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct station *s[] = { &f->a, &f->b, &f->c, &f->d };

	for (unsigned int i = 0; i < 4; i++)
		if (s[i]->m)
			fix_leave(s[i]);
	network_free(f->n);
	free(f);
	return 0;
}

/* ---- a wire ---- */

/* Sends until the other end is full; how many were taken. */
static unsigned int fill(struct station *s)
{
	static uint8_t frame[FIX_HDR + LONG];
	size_t len = fix_frame(frame, 2, 1, LONG);
	unsigned int n = 0;
	int ret;

	while ((ret = fix_send(s, frame, len)) == 1)
		n++;
	check_ret(ret, -EAGAIN);
	return n;
}

static void a_wire_that_is_full_makes_its_sender_wait(void **state)
{
	struct fixture *f = *state;
	unsigned int n = fill(&f->a);

	assert_in_range(n, 100, 1000);
	assert_false(fix_polls(f->a.tx->fd, POLLOUT));
	check_ret(fill(&f->a), 0);
	assert_int_equal(fix_drain(&f->b), n);
	assert_true(fix_polls(f->a.tx->fd, POLLOUT));
	assert_int_equal(fill(&f->a), n);
	/* Nothing was lost, and what had to wait is not counted twice. */
	assert_int_equal(fix_drain(&f->b), n);
	assert_int_equal(fix_count(&f->a).sent, 2 * n);
	assert_int_equal(fix_count(&f->b).drop_out[DROP_FULL], 0);
}

static void what_is_borrowed_takes_room_until_it_is_released(void **state)
{
	struct fixture *f = *state;
	struct netport *rx = f->b.rx;
	static struct iovec iov[1000];
	unsigned int n = fill(&f->a);

	check_ret(rx->ops->borrow(rx, iov, 1000), (int)n);
	check_ret(fill(&f->a), 0);
	assert_false(fix_polls(f->a.tx->fd, POLLOUT));
	for (unsigned int i = 0; i < n; i++)
		rx->ops->release(rx, 1);
	assert_true(fix_polls(f->a.tx->fd, POLLOUT));
	assert_int_equal(fill(&f->a), n);
	assert_int_equal(fix_drain(&f->b), n);
	assert_int_equal(fix_count(&f->b).received, 2 * n);
}

static void send_in_place(struct station *s, void *frame, size_t len, int want)
{
	struct iovec iov = { frame, len };
	struct frame f = { &iov, 1, (uint32_t)len, false };

	s->tx->tx_own = true;
	check_ret(s->tx->ops->send(s->tx, &f, 1), want);
	s->tx->tx_own = false;
}

/* Though the port may have written to it. */
static void a_frame_that_was_not_taken_may_come_again(void **state)
{
	static const struct netframe_order order = { .payload = 100 };
	static const uint8_t tag[4] = { 0x81, 0, 0xe0, 0 };
	struct fixture *f = *state;
	_Alignas(8) static uint8_t frame[FIX_HDR + NETFRAME_MAX];
	_Alignas(8) uint8_t tagged[FIX_HDR + 64];
	uint8_t small[FIX_HDR + 60];
	struct virtio_net_hdr *hdr = (void *)frame;
	size_t len = FIX_HDR + netframe_make(&order, hdr, frame + FIX_HDR);

	fix_frame(small, 2, 1, 60);
	fix_frame(tagged, 2, 1, 64);
	memcpy(tagged + FIX_HDR + 12, tag, sizeof(tag));
	fill(&f->a);
	while (fix_send(&f->a, small, sizeof(small)) == 1)
		continue;
	for (unsigned int i = 0; i < 3; i++) {
		send_in_place(&f->a, frame, len, -EAGAIN);
		send_in_place(&f->a, tagged, sizeof(tagged), -EAGAIN);
	}
	fix_drain(&f->b);
	send_in_place(&f->a, frame, len, 1);
	assert_true(fix_recv(&f->b));
	assert_null(netframe_wrong(f->b.got + FIX_HDR, f->b.len - FIX_HDR));
	send_in_place(&f->a, tagged, sizeof(tagged), 1);
	assert_true(fix_hears(&f->b, 1));
	assert_int_equal(f->b.len, FIX_HDR + 60);
}

static void a_wire_takes_the_beginning_of_a_batch(void **state)
{
	struct fixture *f = *state;
	static uint8_t frame[1000][FIX_HDR + LONG];
	static struct iovec iov[1000];
	static struct frame fr[1000];
	unsigned int n;

	for (unsigned int i = 0; i < 1000; i++) {
		fix_frame(frame[i], 2, 1, LONG);
		memcpy(frame[i] + FIX_HDR + 14, &i, sizeof(i));
		iov[i] = (struct iovec){ frame[i], sizeof(frame[i]) };
		fr[i] = (struct frame){ &iov[i], 1, sizeof(frame[i]), false };
	}
	n = (unsigned int)check_ok(f->a.tx->ops->send(f->a.tx, fr, 1000));
	assert_in_range(n, 100, 999);
	check_ret(f->a.tx->ops->send(f->a.tx, fr + n, 1000 - n), -EAGAIN);
	for (unsigned int i = 0; i < n; i++) {
		assert_true(fix_recv(&f->b));
		assert_memory_equal(f->b.got + FIX_HDR + 14, &i, sizeof(i));
	}
	assert_false(fix_recv(&f->b));
}

static void a_third_member_ends_the_waiting(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[FIX_HDR + LONG];
	unsigned int n = fill(&f->a);
	struct swport_config c = fix_config();
	struct swport *third;

	check_ret(swport_new(f->n, &c, 1, &third), 0);
	assert_true(fix_polls(f->a.tx->fd, POLLOUT));
	swport_free(third);
	fill(&f->a);
	fix_join(f->n, &f->c, NULL);
	assert_true(fix_polls(f->a.tx->fd, POLLOUT));
	check_ret(fix_send(&f->a, frame, fix_frame(frame, 2, 1, LONG)), 1);
	assert_int_equal(fix_count(&f->b).drop_out[DROP_FULL], 1);
	assert_int_equal(fix_drain(&f->b), n);
	/* And a wire again */
	fix_leave(&f->c);
	fill(&f->a);
	assert_false(fix_polls(f->a.tx->fd, POLLOUT));
}

static void waiting_costs_nothing_of_the_flood_limit(void **state)
{
	struct fixture *f = *state;
	struct swport_config c = fix_config();

	/* More than the rxq holds, and little more in a second. */
	c.flood_fps = 4500;
	fix_leave(&f->a);
	fix_join(f->n, &f->a, &c);
	fill(&f->a);
	for (unsigned int i = 0; i < 1000; i++)
		check_ret(fill(&f->a), 0);
	assert_int_equal(fix_count(&f->a).drop_in[DROP_FLOOD], 0);
}

static void the_end_of_the_receiver_ends_the_waiting(void **state)
{
	struct fixture *f = *state;

	fill(&f->a);
	swport_enable(f->b.m, 0, false);
	assert_true(fix_polls(f->a.tx->fd, POLLOUT));
	fix_say(&f->a, 2, 1);
	assert_int_equal(fix_count(&f->b).drop_out[DROP_NO_QUEUE], 1);
	swport_enable(f->b.m, 0, true);
	fill(&f->a);
	fix_leave(&f->b);
	assert_true(fix_polls(f->a.tx->fd, POLLOUT));
	fix_say(&f->a, 2, 1); /* there is no receiver */
}

static void a_sender_that_waits_may_leave(void **state)
{
	struct fixture *f = *state;
	unsigned int n = fill(&f->a);

	fix_leave(&f->a);
	assert_int_equal(fix_drain(&f->b), n);
}

/* ---- several queues ---- */

#define QUEUES 4

struct wide {
	struct swport *m;
	struct netport *rx[QUEUES], *tx[QUEUES];
};

static void join_wide(struct network *n, struct wide *w)
{
	struct swport_config c = fix_config();

	check_ret(swport_new(n, &c, QUEUES, &w->m), 0);
	for (unsigned int i = 0; i < QUEUES; i++) {
		check_ret(swport_open(w->m, i, &w->rx[i], &w->tx[i]), 0);
		swport_enable(w->m, i, true);
	}
}

static void leave_wide(struct wide *w)
{
	for (unsigned int i = 0; i < QUEUES; i++) {
		netport_close(w->rx[i]);
		netport_close(w->tx[i]);
	}
	swport_free(w->m);
}

/* Frames in a queue */
static unsigned int drain(struct netport *rx)
{
	uint8_t room[2000];
	struct iovec iov = { room, sizeof(room) };
	struct frame f = { .iov = &iov, .iovcnt = 1 };
	unsigned int n = 0;

	while (rx->ops->recv(rx, &f, 1) == 1)
		n++;
	return n;
}

/* UDP over IPv4, from one of many ports */
static void say_udp(struct station *s, uint16_t port, uint16_t fragment)
{
	uint8_t frame[FIX_HDR + 60], *ip = frame + FIX_HDR + 14;
	size_t len = fix_frame(frame, 9, 1, 60);

	frame[FIX_HDR + 12] = 8;
	frame[FIX_HDR + 13] = 0;
	ip[0] = 0x45;
	ip[3] = 46;
	ip[6] = (uint8_t)(fragment >> 8);
	ip[7] = (uint8_t)fragment;
	ip[9] = 17;
	ip[12] = ip[16] = 10;
	ip[20] = (uint8_t)(port >> 8);
	ip[21] = (uint8_t)port;
	check_ret(fix_send(s, frame, len), 1);
}

static void flows_are_spread_and_each_stays_on_its_queue(void **state)
{
	struct fixture *f = *state;
	unsigned int got[QUEUES];
	struct wide w;

	join_wide(f->n, &w);
	for (uint16_t port = 0; port < 100; port++)
		say_udp(&f->a, port, 0);
	for (unsigned int i = 0; i < QUEUES; i++) {
		got[i] = drain(w.rx[i]);
		assert_in_range(got[i], 10, 50);
	}
	for (uint16_t port = 0; port < 100; port++)
		say_udp(&f->a, port, 0);
	for (unsigned int i = 0; i < QUEUES; i++)
		assert_int_equal(drain(w.rx[i]), got[i]);
	leave_wide(&w);
}

static void fragments_stay_together(void **state)
{
	struct fixture *f = *state;
	struct wide w;
	unsigned int with = 0;

	join_wide(f->n, &w);
	for (uint16_t i = 0; i < 100; i++)
		say_udp(&f->a, i, i ? i : 0x2000);
	for (unsigned int i = 0; i < QUEUES; i++)
		with += drain(w.rx[i]) > 0;
	assert_int_equal(with, 1);
	leave_wide(&w);
}

static void a_queue_that_is_off_gets_nothing(void **state)
{
	struct fixture *f = *state;
	unsigned int n = 0;
	struct wide w;

	join_wide(f->n, &w);
	swport_enable(w.m, 1, false);
	netport_close(w.rx[2]);
	for (uint16_t port = 0; port < 100; port++)
		say_udp(&f->a, port, 0);
	assert_int_equal(drain(w.rx[1]), 0);
	n = drain(w.rx[0]);
	assert_in_range(n, 20, 80);
	assert_int_equal(n + drain(w.rx[3]), 100);
	w.rx[2] = NULL;
	leave_wide(&w);
}

/* ---- threads ---- */

static void wait_fd(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	if (poll(&p, 1, DEADLINE_MS) != 1) {
		fprintf(stderr, "nothing in %d ms\n", DEADLINE_MS);
		abort();
	}
}

struct flow {
	struct station *s;
	uint8_t dst, src;
	unsigned int n;
	pthread_t thread;
};

/* Numbered frames, waiting where the network makes it wait. */
static void *send_flow(void *arg)
{
	struct flow *w = arg;
	uint8_t frame[FIX_HDR + 60];
	size_t len = fix_frame(frame, w->dst, w->src, 60);
	unsigned int i = 0;

	while (i < w->n) {
		memcpy(frame + FIX_HDR + 14, &i, sizeof(i));
		if (fix_send(w->s, frame, len) == 1)
			i++;
		else
			wait_fd(w->s->tx->fd, POLLOUT);
	}
	return NULL;
}

static void start(struct flow *w, struct station *s, uint8_t dst, uint8_t src,
		  unsigned int n)
{
	*w = (struct flow){ .s = s, .dst = dst, .src = src, .n = n };
	assert_int_equal(pthread_create(&w->thread, NULL, send_flow, w), 0);
}

static unsigned int number_of(const struct station *s)
{
	unsigned int i;

	memcpy(&i, s->got + FIX_HDR + 14, sizeof(i));
	return i;
}

static void a_wire_loses_nothing_in_either_direction(void **state)
{
	struct fixture *f = *state;
	struct flow w[2];
	unsigned int next[2] = { 0, 0 };
	struct station *s[2] = { &f->a, &f->b };
	const unsigned int n = 20000;

	/* One thread sends on a station, another receives: both ends of it. */
	start(&w[0], &f->a, 2, 1, n);
	start(&w[1], &f->b, 1, 2, n);
	while (next[0] < n || next[1] < n) {
		for (unsigned int i = 0; i < 2; i++) {
			bool any = false;

			while (fix_recv(s[1 - i])) {
				any = true;
				assert_int_equal(number_of(s[1 - i]), next[i]);
				next[i]++;
			}
			if (!any && next[i] < n)
				wait_fd(s[1 - i]->rx->fd, POLLIN);
		}
	}
	pthread_join(w[0].thread, NULL);
	pthread_join(w[1].thread, NULL);
}

static void two_senders_keep_their_order_each(void **state)
{
	struct fixture *f = *state;
	struct flow w[2];
	unsigned int next[2] = { 0, 0 }, got = 0;
	const unsigned int n = 20000;
	bool done = false;

	fix_join(f->n, &f->c, NULL);
	fix_say(&f->c, 0xff, 3);
	start(&w[0], &f->a, 3, 1, n);
	start(&w[1], &f->b, 3, 2, n);
	while (!done) {
		/* What is dropped leaves a gap; the rest is in order. */
		while (fix_recv(&f->c)) {
			unsigned int i = f->c.got[FIX_HDR + 11] - 1u;

			assert_in_range(number_of(&f->c), next[i], n - 1);
			next[i] = number_of(&f->c) + 1;
			got++;
		}
		done = got + fix_count(&f->c).drop_out[DROP_FULL] == 2 * n;
		if (!done && fix_polls(f->c.rx->fd, POLLIN) == false)
			sched_yield();
	}
	pthread_join(w[0].thread, NULL);
	pthread_join(w[1].thread, NULL);
	assert_false(fix_recv(&f->c));
	assert_int_equal(fix_count(&f->a).sent, n);
	assert_int_equal(fix_count(&f->c).received, got);
}

static void ports_join_and_leave_under_traffic(void **state)
{
	struct fixture *f = *state;
	struct flow w[2];

	fix_join(f->n, &f->d, NULL);
	start(&w[0], &f->a, 0xff, 1, 20000);
	start(&w[1], &f->b, 3, 2, 20000);
	for (unsigned int i = 0; i < 300; i++) {
		fix_join(f->n, &f->c, NULL);
		fix_say(&f->c, 0xff, 3);
		fix_recv(&f->c);
		swport_enable(f->c.m, 0, i % 2);
		fix_leave(&f->c);
		fix_drain(&f->d);
	}
	pthread_join(w[0].thread, NULL);
	pthread_join(w[1].thread, NULL);
	fix_drain(&f->d);
	fix_drain(&f->a);
	fix_say(&f->a, 0xff, 1);
	assert_true(fix_hears(&f->d, 1));
	assert_int_equal(fix_count(&f->a).sent, 20001);
}

/* ---- memory that blocks ---- */

struct trap {
	int fd;
	uint8_t *page;
	size_t size;
};

static bool trap_set(struct trap *t)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	t->size = (size_t)sysconf(_SC_PAGESIZE);
	t->fd = (int)syscall(SYS_userfaultfd,
			     O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	if (t->fd < 0)
		return false;
	t->page = mmap(NULL, t->size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(t->page != MAP_FAILED);
	reg.range.start = (uintptr_t)t->page;
	reg.range.len = t->size;
	assert_int_equal(ioctl(t->fd, UFFDIO_API, &api), 0);
	assert_int_equal(ioctl(t->fd, UFFDIO_REGISTER, &reg), 0);
	return true;
}

static void trap_release(struct trap *t)
{
	struct uffdio_zeropage zero = {
		.range = { .start = (uintptr_t)t->page, .len = t->size },
	};

	assert_int_equal(ioctl(t->fd, UFFDIO_ZEROPAGE, &zero), 0);
}

static void trap_free(struct trap *t)
{
	munmap(t->page, t->size);
	close(t->fd);
}

struct stuck {
	struct station *s;
	struct trap *t;
	bool receives;
	pthread_t thread;
};

static void *get_stuck(void *arg)
{
	struct stuck *st = arg;
	struct iovec iov = { st->t->page, st->t->size };
	struct frame f = { &iov, 1, FIX_HDR + 60, false };

	if (st->receives)
		st->s->rx->ops->recv(st->s->rx, &f, 1);
	else
		st->s->tx->ops->send(st->s->tx, &f, 1);
	return NULL;
}

static void others_go_on(struct fixture *f)
{
	for (unsigned int i = 0; i < 100; i++) {
		fix_say(&f->b, 3, 2);
		assert_true(fix_hears(&f->c, 2));
		fix_say(&f->c, 0xff, 3);
		assert_true(fix_hears(&f->b, 3));
	}
	fix_join(f->n, &f->d, NULL);
	fix_leave(&f->d);
}

static void stuck_delays_no_other_port(struct fixture *f, bool receives)
{
	struct trap t;
	struct stuck st = { .s = &f->a, .t = &t, .receives = receives };

	if (!trap_set(&t))
		skip_because("userfaultfd: %s", strerror(errno));
	fix_join(f->n, &f->c, NULL);
	fix_say(&f->c, 0xff, 3);
	fix_drain(&f->b);
	assert_int_equal(pthread_create(&st.thread, NULL, get_stuck, &st), 0);
	wait_fd(t.fd, POLLIN); /* it is at the page */
	others_go_on(f);
	trap_release(&t);
	pthread_join(st.thread, NULL);
	trap_free(&t);
}

static void a_sender_whose_memory_blocks_delays_no_other_port(void **state)
{
	struct fixture *f = *state;

	stuck_delays_no_other_port(f, false);
	/* A page of zeroes: no source address */
	assert_int_equal(fix_count(&f->a).drop_in[DROP_SOURCE], 1);
}

static void a_receiver_whose_memory_blocks_delays_no_other_port(void **state)
{
	struct fixture *f = *state;

	fix_say(&f->b, 0xff, 2);
	stuck_delays_no_other_port(f, true);
	assert_int_equal(fix_count(&f->a).received, 1);
}

/* ---- a storm ---- */

static void say_random(struct station *s, unsigned int *x)
{
	uint8_t frame[FIX_HDR + 60];
	size_t len = fix_frame(frame, *x % 2 ? 0xff : 77, 0, 60);

	*x = *x * 1103515245 + 12345;
	memcpy(frame + FIX_HDR + 8, x, sizeof(*x));
	check_ret(fix_send(s, frame, len), 1);
}

static unsigned int addresses(struct network *n)
{
	char text[4096];
	FILE *out = fmemopen(text, sizeof(text), "w");
	unsigned int count = 0;
	const char *at;

	network_print(n, out);
	fclose(out);
	at = strstr(text, "addresses ");
	assert_non_null(at);
	assert_int_equal(sscanf(at, "addresses %u", &count), 1);
	return count;
}

static void a_storm_takes_no_memory_and_no_entries_of_others(void **state)
{
	struct fixture *f = *state;
	unsigned int x = 1;
	size_t before;

	fix_join(f->n, &f->c, NULL);
	fix_join(f->n, &f->d, NULL);
	fix_say(&f->a, 0xff, 1);
	fix_say(&f->b, 0xff, 2);
	fix_drain(&f->c);
	before = mallinfo2().uordblks;
	for (unsigned int i = 0; i < 50000; i++)
		say_random(&f->d, &x);
	assert_int_equal(mallinfo2().uordblks, before);
	assert_in_range(addresses(f->n), 800, 1000);
	fix_drain(&f->a);
	fix_drain(&f->b);
	fix_drain(&f->c);
	/* The pair is known as before, and newcomers find room. */
	fix_say(&f->a, 2, 1);
	assert_true(fix_hears(&f->b, 1));
	assert_false(fix_recv(&f->c));
	fix_say(&f->c, 0xff, 3);
	fix_drain(&f->a);
	fix_drain(&f->b);
	fix_say(&f->a, 3, 1);
	assert_true(fix_hears(&f->c, 1));
	assert_false(fix_recv(&f->b));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_wire_that_is_full_makes_its_sender_wait),
		T(what_is_borrowed_takes_room_until_it_is_released),
		T(a_frame_that_was_not_taken_may_come_again),
		T(a_wire_takes_the_beginning_of_a_batch),
		T(a_third_member_ends_the_waiting),
		T(waiting_costs_nothing_of_the_flood_limit),
		T(the_end_of_the_receiver_ends_the_waiting),
		T(a_sender_that_waits_may_leave),
		T(flows_are_spread_and_each_stays_on_its_queue),
		T(fragments_stay_together),
		T(a_queue_that_is_off_gets_nothing),
		T(a_wire_loses_nothing_in_either_direction),
		T(two_senders_keep_their_order_each),
		T(ports_join_and_leave_under_traffic),
		T(a_sender_whose_memory_blocks_delays_no_other_port),
		T(a_receiver_whose_memory_blocks_delays_no_other_port),
		T(a_storm_takes_no_memory_and_no_entries_of_others),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
