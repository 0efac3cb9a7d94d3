/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_patch.c tests a host interface that is joined to a network: its ports
 * are sockets of the test.
 */
#include "netfix.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/virtio_config.h>

#include "bytes.h"
#include "netframe.h"
#include "uplink.h"
#include "tx_direct.h"
#include "sockport.h"
#include "framering_priv.h"
#include "netif_priv.h"
#include "network_priv.h"

#define DEADLINE_MS 60000
#define QUEUES 2
#define LONG (14 + 1500)

/**
 * struct lines - an interface whose ports are sockets
 * @device, @line: ends of a pair for each queue
 */
struct lines {
	struct netif source;
	int device[QUEUES], line[QUEUES];
	struct netif_ops ops;
	uint64_t offload;
	bool enabled[QUEUES];
};

static struct lines *to_lines(const struct netif *s)
{
	return container_of(s, struct lines, source);
}

static int lines_open(struct netif *s, unsigned int pair, enum netif_dir dir,
		      struct netport **out)
{
	(void)dir;
	return netport_from_fd(dup(to_lines(s)->device[pair]), out);
}

static void lines_enable(struct netif *s, unsigned int pair, bool on)
{
	to_lines(s)->enabled[pair] = on;
}

static void lines_set_offload(struct netif *s, uint64_t features)
{
	to_lines(s)->offload = features;
}

static const struct netif_ops lines_ops = {
	.open = lines_open,
	.enable = lines_enable,
	.set_offload = lines_set_offload,
};

struct fixture {
	struct network *n;
	struct lines lines;
	struct swport *m;
	struct uplink *patch;
	struct station a, b;
	_Alignas(8) uint8_t got[NETPORT_FRAME_MAX], frame[NETPORT_FRAME_MAX];
};

static int setup(void **state)
{
	struct swport_config c = fix_config();
	struct fixture *f = calloc(1, sizeof(*f));

	f->n = fix_network();
	f->lines.ops = lines_ops;
	f->lines.source.ops = &f->lines.ops;
	f->lines.source.queues = QUEUES;
	for (unsigned int i = 0; i < QUEUES; i++) {
		int fds[2];

		sockport_pair(fds);
		f->lines.device[i] = fds[0];
		f->lines.line[i] = fds[1];
	}
	check_ret(swport_new(f->n, &c, QUEUES, &f->m), 0);
	fix_join(f->n, &f->a, NULL);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	uplink_free(f->patch);
	swport_free(f->m);
	if (f->a.m)
		fix_leave(&f->a);
	if (f->b.m)
		fix_leave(&f->b);
	network_free(f->n);
	for (unsigned int i = 0; i < QUEUES; i++) {
		close(f->lines.device[i]);
		close(f->lines.line[i]);
	}
	free(f);
	return 0;
}

static void patch(struct fixture *f, unsigned int queues)
{
	check_ret(uplink_new(&f->lines.source, f->m, queues, &f->patch), 0);
}

static void wait_fd(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	if (poll(&p, 1, DEADLINE_MS) != 1)
		fail_msg("nothing in %d ms", DEADLINE_MS);
}

/* The next frame of a station, in time */
static void hear(struct station *s)
{
	while (!fix_recv(s))
		wait_fd(s->rx->fd, POLLIN);
}

/* A numbered frame comes in on a line; false if it takes no more. */
static bool line_say(struct fixture *f, unsigned int i)
{
	size_t len = fix_frame(f->frame, 2, 9, LONG);

	memcpy(f->frame + FIX_HDR + 14, &i, sizeof(i));
	return send(f->lines.line[0], f->frame, len, MSG_DONTWAIT) >= 0;
}

/* Bytes that left on a line, header included; -1: nothing did */
static ssize_t line_got(struct fixture *f, unsigned int queue)
{
	return recv(f->lines.line[queue], f->got, sizeof(f->got), MSG_DONTWAIT);
}

static unsigned int number_at(const uint8_t *frame)
{
	unsigned int i;

	memcpy(&i, frame + FIX_HDR + 14, sizeof(i));
	return i;
}

static bool number_say(struct fixture *f, struct station *s, unsigned int i)
{
	size_t len = fix_frame(f->frame, 9, 1, LONG);

	memcpy(f->frame + FIX_HDR + 14, &i, sizeof(i));
	return fix_send(s, f->frame, len) == 1;
}

static void what_the_source_receives_is_heard(void **state)
{
	struct fixture *f = *state;

	patch(f, 1);
	assert_true(line_say(f, 77));
	hear(&f->a);
	assert_int_equal(f->a.len, FIX_HDR + LONG);
	assert_memory_equal(f->a.got, f->frame, f->a.len);
}

static void what_is_for_the_source_has_left_when_send_returns(void **state)
{
	struct fixture *f = *state;

	fix_join(f->n, &f->b, NULL); /* no wire */
	patch(f, 1);
	assert_true(number_say(f, &f->a, 5));
	assert_int_equal(line_got(f, 0), FIX_HDR + LONG);
	assert_memory_equal(f->got, f->frame, FIX_HDR + LONG);
}

static void
what_the_source_does_not_take_waits_and_keeps_its_order(void **state)
{
	struct fixture *f = *state;
	unsigned int stuffed;

	fix_join(f->n, &f->b, NULL);
	patch(f, 1);
	stuffed = sockport_stuff(f->lines.device[0]);
	for (unsigned int i = 0; i < 100; i++)
		assert_true(number_say(f, &f->a, i));
	sockport_unstuff(f->lines.line[0], stuffed);
	for (unsigned int i = 0; i < 100; i++) {
		wait_fd(f->lines.line[0], POLLIN);
		assert_int_equal(line_got(f, 0), FIX_HDR + LONG);
		assert_int_equal(number_at(f->got), i);
		/* More come while some wait. */
		if (i == 50)
			assert_true(number_say(f, &f->a, 100));
	}
	wait_fd(f->lines.line[0], POLLIN);
	line_got(f, 0);
	assert_int_equal(number_at(f->got), 100);
}

/* A direct transmit without an uplink: only the test sends what waits. */
static void no_frame_overtakes_those_that_wait(void **state)
{
	struct fixture *f = *state;
	struct netport *tx, *in;
	struct tx_direct *direct;
	unsigned int stuffed;

	fix_join(f->n, &f->b, NULL);
	check_ret(netport_from_fd(dup(f->lines.device[0]), &tx), 0);
	check_ret(swport_open_direct(f->m, 0, tx, &direct, &in), 0);
	swport_enable(f->m, 0, true);
	stuffed = sockport_stuff(f->lines.device[0]);
	assert_true(number_say(f, &f->a, 0));
	check_ret(tx_direct_run(direct, 10), -EAGAIN);
	sockport_unstuff(f->lines.line[0], stuffed);
	assert_true(number_say(f, &f->a, 1));
	assert_int_equal(line_got(f, 0), -1);
	check_ret(tx_direct_run(direct, 10), 2);
	check_ret(tx_direct_run(direct, 10), 0);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(line_got(f, 0), FIX_HDR + LONG);
		assert_int_equal(number_at(f->got), i);
	}
	tx_direct_close(direct);
	netport_close(in);
	netport_close(tx);
}

#define MANY 64

/* Numbered frames of as many flows, over both queues of the source */
static unsigned int many_say(struct fixture *f, unsigned int first)
{
	static uint8_t frame[MANY][FIX_HDR + LONG];
	struct iovec iov[MANY];
	struct frame fr[MANY];
	int ret;

	for (unsigned int i = 0; i < MANY; i++) {
		unsigned int number = first + i;

		fix_frame(frame[i], 9, (uint8_t)(100 + i), LONG);
		memcpy(frame[i] + FIX_HDR + 14, &number, sizeof(number));
		iov[i] = (struct iovec){ frame[i], sizeof(frame[i]) };
		fr[i] = (struct frame){ &iov[i], 1, sizeof(frame[i]), false };
	}
	ret = f->a.tx->ops->send(f->a.tx, fr, MANY);
	return ret > 0 ? (unsigned int)ret : 0;
}

/* Takes what is on a line; how many. */
static unsigned int many_got(struct fixture *f, unsigned int queue,
			     uint8_t *seen)
{
	unsigned int n = 0;

	for (; line_got(f, queue) > 0; n++)
		seen[number_at(f->got)]++;
	return n;
}

/* Takes what comes, until @fd can be written or @got is @end. */
static unsigned int many_wait(struct fixture *f, int fd, unsigned int got,
			      unsigned int end, uint8_t *seen)
{
	while (got < end) {
		struct pollfd p[] = { { f->lines.line[0], POLLIN, 0 },
				      { f->lines.line[1], POLLIN, 0 },
				      { fd, POLLOUT, 0 } };

		if (poll(p, 3, DEADLINE_MS) <= 0)
			fail_msg("%u of %u came", got, end);
		got += many_got(f, 0, seen) + many_got(f, 1, seen);
		if (p[2].revents)
			break;
	}
	return got;
}

static void a_wire_with_a_queue_that_is_full_sends_nothing_twice(void **state)
{
	struct fixture *f = *state;
	unsigned int sent = 0, n, stuffed, got = 0;
	static uint8_t seen[20000];

	memset(seen, 0, sizeof(seen));
	patch(f, QUEUES);
	stuffed = sockport_stuff(f->lines.device[0]);
	while ((n = many_say(f, sent)) == MANY && sent < 10000) {
		sent += n;
		got += many_got(f, 1, seen);
	}
	/* Up to the first for the queue that is full, and so again. */
	sent += n;
	sent += many_say(f, sent);
	assert_in_range(sent, 100, sizeof(seen) - MANY);
	sockport_unstuff(f->lines.line[0], stuffed);
	got = many_wait(f, f->a.tx->fd, got, sent, seen);
	sent += many_say(f, sent);
	got = many_wait(f, -1, got, sent, seen);
	assert_int_equal(got, sent);
	for (unsigned int i = 0; i < sent; i++)
		assert_int_equal(seen[i], 1);
}

static void what_does_not_fit_is_dropped_on_a_switch(void **state)
{
	struct fixture *f = *state;
	struct swport_counters c;

	fix_join(f->n, &f->b, NULL);
	patch(f, 1);
	sockport_stuff(f->lines.device[0]);
	for (unsigned int i = 0; i < 1000; i++)
		assert_true(number_say(f, &f->a, i));
	swport_read_counters(f->m, &c);
	assert_in_range(c.drop_out[DROP_FULL], 500, 900);
}

/* The sender's thread calls the port of the interface: see sockport.refuse. */
static void frames_that_the_interface_refuses_are_not_received(void **state)
{
	struct fixture *f = *state;
	struct swport_counters c;

	fix_join(f->n, &f->b, NULL);
	patch(f, 1);
	sockport.refuse = 1;
	assert_true(number_say(f, &f->a, 0));
	assert_true(number_say(f, &f->a, 1));
	assert_int_equal(line_got(f, 0), FIX_HDR + LONG);
	swport_read_counters(f->m, &c);
	assert_int_equal(c.drop_out[DROP_REFUSED], 1);
	assert_int_equal(c.received, 1);
	assert_int_equal(c.received_bytes, LONG);
}

static void a_wire_waits_for_its_source(void **state)
{
	struct fixture *f = *state;
	unsigned int stuffed, sent = 0, got = 0;

	patch(f, 1);
	stuffed = sockport_stuff(f->lines.device[0]);
	while (number_say(f, &f->a, sent))
		sent++;
	assert_in_range(sent, 100, 1000);
	assert_false(fix_polls(f->a.tx->fd, POLLOUT));
	sockport_unstuff(f->lines.line[0], stuffed);
	while (got < sent) {
		wait_fd(f->lines.line[0], POLLIN);
		assert_true(line_got(f, 0) > 0);
		assert_int_equal(number_at(f->got), got);
		got++;
	}
	wait_fd(f->a.tx->fd, POLLOUT);
	assert_true(number_say(f, &f->a, sent));
	assert_int_equal(line_got(f, 0), FIX_HDR + LONG);
}

static void a_source_waits_for_its_wire(void **state)
{
	struct fixture *f = *state;
	const unsigned int n = 3000;
	unsigned int sent = 0;

	patch(f, 1);
	/* Far more than rxq and patch hold: the rest is in the socket. */
	for (unsigned int got = 0; got < n; got++) {
		while (sent < n && line_say(f, sent))
			sent++;
		hear(&f->a);
		assert_int_equal(number_at(f->a.got), got);
	}
	assert_int_equal(fix_count(&f->a).drop_out[DROP_FULL], 0);
}

static void a_source_is_not_read_while_its_wire_is_full(void **state)
{
	struct fixture *f = *state;
	unsigned int sent = 0, more = 0;
	struct pollfd p = { .fd = f->lines.line[0], .events = POLLOUT };

	patch(f, 1);
	/* Until nothing has moved for a while. */
	while (poll(&p, 1, 100) == 1 && sent < 100000)
		sent += line_say(f, sent);
	assert_in_range(sent, 1, 99999);
	hear(&f->a);
	more = 1 + fix_drain(&f->a);
	while (more < sent) {
		hear(&f->a);
		more++;
	}
	assert_false(fix_recv(&f->a));
}

static void what_the_source_takes_follows_from_its_features(void **state)
{
	static const struct netframe_order o = { .payload = 500 };
	struct fixture *f = *state;
	struct virtio_net_hdr *h = (struct virtio_net_hdr *)f->frame;
	size_t len;

	memset(f->frame, 0, FIX_HDR);
	len = FIX_HDR + netframe_make(&o, h, f->frame + FIX_HDR);
	h->hdr_len = 0;
	patch(f, 1);
	check_ret(fix_send(&f->a, f->frame, len), 1);
	assert_int_equal(line_got(f, 0), len);
	assert_null(netframe_wrong(f->got + FIX_HDR, len - FIX_HDR));
	uplink_free(f->patch);
	f->lines.ops.features =
		BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4);
	patch(f, 1);
	check_ret(fix_send(&f->a, f->frame, len), 1);
	assert_int_equal(line_got(f, 0), len);
	assert_memory_equal(f->got, f->frame, len);
	assert_true(f->lines.offload ==
		    (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_GUEST_TSO4)));
}

static void all_queues_are_enabled_until_the_end(void **state)
{
	struct fixture *f = *state;

	patch(f, QUEUES);
	assert_true(f->lines.enabled[0] && f->lines.enabled[1]);
	uplink_free(f->patch);
	f->patch = NULL;
	assert_false(f->lines.enabled[0] || f->lines.enabled[1]);
	assert_true(number_say(f, &f->a, 1));
	assert_int_equal(line_got(f, 0), -1);
}

static void more_queues_than_the_port_has_are_refused(void **state)
{
	struct fixture *f = *state;
	struct swport_config c = fix_config();
	struct uplink *p;
	struct swport *m;

	check_ret(swport_new(f->n, &c, 1, &m), 0);
	check_ret(uplink_new(&f->lines.source, m, 2, &p), -EINVAL);
	swport_free(m);
}

static void a_source_made_of_one_thread_is_refused(void **state)
{
	struct fixture *f = *state;
	struct uplink *p;
	struct netif *s;
	char error[100];

	check_ret(netif_new("loop", 1, &s, error, sizeof(error)), 0);
	check_ret(uplink_new(s, f->m, 1, &p), -EOPNOTSUPP);
	netif_free(s);
}

static void ports_that_are_always_ready_take_turns(void **state)
{
	struct fixture *f = *state;
	struct swport_config c = fix_config();
	struct uplink *p;
	struct netif *s;
	char error[100];

	/* The wire end of a source that never stops, and the other's. */
	check_ret(netif_new("null:60", QUEUES, &s, error, sizeof(error)), 0);
	check_ret(uplink_new(s, f->m, QUEUES, &p), 0);
	for (unsigned int i = 0; i < 1000; i++)
		hear(&f->a);
	fix_join(f->n, &f->b, &c);
	for (unsigned int i = 0; i < 1000; i++)
		hear(&f->b);
	uplink_free(p);
	netif_free(s);
}

static void *talk(void *arg)
{
	struct fixture *f = arg;

	for (unsigned int i = 0; i < 20000; i++) {
		uint8_t frame[FIX_HDR + 60];

		while (fix_send(&f->a, frame, fix_frame(frame, 9, 1, 60)) != 1)
			wait_fd(f->a.tx->fd, POLLOUT);
	}
	return NULL;
}

static void a_patch_comes_and_goes_under_traffic(void **state)
{
	struct fixture *f = *state;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, talk, f), 0);
	for (unsigned int i = 0; i < 100; i++) {
		patch(f, QUEUES);
		while (line_got(f, 0) > 0 || line_got(f, 1) > 0)
			;
		line_say(f, i);
		uplink_free(f->patch);
		fix_drain(&f->a);
	}
	f->patch = NULL;
	pthread_join(thread, NULL);
	assert_int_equal(fix_count(&f->a).sent, 20000);
}

/* ---- a guest in another process ---- */

/** struct guest - its side of a ring, and the uplink of the other side */
struct guest {
	struct framering *net, *ring;
	struct netport *rx, *tx;
	struct uplink *uplink;
};

static void guest_join(struct fixture *f, struct guest *g, unsigned int queue)
{
	int fds[FRAMERING_FDS];

	check_ret(framering_new(&g->net), 0);
	framering_fds(g->net, fds);
	for (unsigned int i = 0; i < FRAMERING_FDS; i++)
		fds[i] = dup(fds[i]);
	check_ret(framering_adopt(fds, &g->ring), 0);
	check_ret(framering_open(g->ring, FRAMERING_GUEST, &g->rx, &g->tx), 0);
	check_ret(uplink_ring_new(g->net, f->m, queue, true, &g->uplink), 0);
}

static void guest_leave(struct guest *g)
{
	uplink_free(g->uplink);
	netport_close(g->rx);
	netport_close(g->tx);
	framering_free(g->ring);
	framering_free(g->net);
}

/* A numbered frame to all; false: the ring is full. */
static bool guest_tries(struct fixture *f, struct guest *g, unsigned int i)
{
	size_t len = fix_frame(f->frame, 0xff, 9, LONG);
	struct iovec iov = { f->frame, len };
	struct frame fr = { &iov, 1, (uint32_t)len, false };

	memcpy(f->frame + FIX_HDR + 14, &i, sizeof(i));
	return g->tx->ops->send(g->tx, &fr, 1) == 1;
}

static void guest_say(struct fixture *f, struct guest *g, unsigned int i)
{
	while (!guest_tries(f, g, i))
		wait_fd(g->tx->fd, POLLOUT);
}

static bool guest_got(struct fixture *f, struct guest *g)
{
	struct iovec iov = { f->got, sizeof(f->got) };
	struct frame fr = { &iov, 1, 0, false };

	return g->rx->ops->recv(g->rx, &fr, 1) == 1;
}

/* They were acknowledged to the guest, which may be resetting its driver. */
static void what_a_guest_has_sent_comes_although_it_leaves(void **state)
{
	struct fixture *f = *state;
	struct guest g;

	for (unsigned int round = 0; round < 20; round++) {
		guest_join(f, &g, 0);
		for (unsigned int i = 0; i < 100; i++)
			guest_say(f, &g, i);
		guest_leave(&g);
		for (unsigned int i = 0; i < 100; i++) {
			assert_true(fix_recv(&f->a));
			assert_int_equal(number_at(f->a.got), i);
		}
	}
}

/* Whether the queue gets frames: one is there when say returns, or never. */
static bool is_active(struct fixture *f, struct guest *g)
{
	fix_say(&f->a, 9, 1);
	return guest_got(f, g);
}

/* The uplink's thread has seen what the guest's side has said. */
static void wait_active(struct fixture *f, struct guest *g, bool active)
{
	for (unsigned int i = 0; i < DEADLINE_MS; i++) {
		if (is_active(f, g) == active)
			return;
		poll(NULL, 0, 1);
	}
	fail_msg("the queue is not %s", active ? "enabled" : "disabled");
}

static void a_guest_behind_a_ring_enables_its_queue(void **state)
{
	struct fixture *f = *state;
	struct guest g;

	guest_join(f, &g, 1);
	fix_say(&f->a, 9, 1);
	assert_false(guest_got(f, &g));
	framering_enable(g.ring, true);
	wait_active(f, &g, true);
	framering_enable(g.ring, false);
	wait_active(f, &g, false);
	for (unsigned int i = 0; i < 200; i++) {
		framering_enable(g.ring, i % 2);
		if (i & 2)
			uplink_follow(g.uplink);
		else
			assert_true(framering_await(g.ring, DEADLINE_MS));
		assert_int_equal(is_active(f, &g), i % 2);
	}
	guest_leave(&g);
	fix_say(&f->a, 9, 1);
}

static void frames_of_a_guest_behind_a_ring_keep_their_order(void **state)
{
	struct fixture *f = *state;
	struct guest g;

	guest_join(f, &g, 0);
	for (unsigned int round = 0; round < 20; round++) {
		for (unsigned int i = 0; i < 1000; i++) {
			guest_say(f, &g, i);
			if (i < 100)
				continue;
			hear(&f->a);
			assert_int_equal(number_at(f->a.got), i - 100);
		}
		for (unsigned int i = 900; i < 1000; i++) {
			hear(&f->a);
			assert_int_equal(number_at(f->a.got), i);
		}
	}
	guest_leave(&g);
}

static unsigned int senders_that_wait(struct network *n)
{
	unsigned int waiting = 0;

	mutex_lock(&n->wait_lock);
	for (const struct waiter *w = n->waiters; w; w = w->next)
		waiting++;
	mutex_unlock(&n->wait_lock);
	return waiting;
}

/* Although frames of its own wait as well. */
static void a_guest_that_stops_frees_the_one_that_waits_for_it(void **state)
{
	struct fixture *f = *state;
	struct guest g;
	unsigned int n = 0;

	guest_join(f, &g, 0);
	framering_enable(g.ring, true);
	wait_active(f, &g, true);
	/* Both directions of the wire get full: nobody receives. */
	while (number_say(f, &f->a, n))
		n++;
	for (unsigned int i = 0; senders_that_wait(f->n) < 2; i++) {
		assert_in_range(i, 0, DEADLINE_MS);
		while (guest_tries(f, &g, 0))
			;
		poll(NULL, 0, 1);
	}
	framering_enable(g.ring, false);
	wait_fd(f->a.tx->fd, POLLOUT);
	assert_true(number_say(f, &f->a, n));
	guest_leave(&g);
}

static void a_hostile_guest_loses_its_queue_and_no_other(void **state)
{
	struct fixture *f = *state;
	struct guest g, other;

	fix_join(f->n, &f->b, NULL);
	guest_join(f, &g, 0);
	guest_join(f, &other, 1);
	framering_enable(g.ring, true);
	framering_enable(other.ring, true);
	guest_say(f, &other, 1);
	hear(&f->a);
	hear(&f->b);
	framering_page(g.ring)->state[FRAMERING_FROM_GUEST].tail = 4;
	framering_ring(g.ring, g.ring->data[FRAMERING_FROM_GUEST]);
	/* All that are sent to the port go to the queue that is left. */
	for (unsigned int i = 0; i < DEADLINE_MS; i++) {
		if (framering_is_broken(g.net))
			break;
		poll(NULL, 0, 1);
	}
	assert_true(framering_is_broken(g.net));
	guest_say(f, &other, 2);
	hear(&f->a);
	hear(&f->b);
	fix_say(&f->a, 3, 1);
	hear(&f->b);
	guest_leave(&g);
	guest_leave(&other);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_the_source_receives_is_heard),
		T(what_is_for_the_source_has_left_when_send_returns),
		T(what_the_source_does_not_take_waits_and_keeps_its_order),
		T(no_frame_overtakes_those_that_wait),
		T(a_wire_with_a_queue_that_is_full_sends_nothing_twice),
		T(what_does_not_fit_is_dropped_on_a_switch),
		T(frames_that_the_interface_refuses_are_not_received),
		T(a_wire_waits_for_its_source),
		T(a_source_waits_for_its_wire),
		T(a_source_is_not_read_while_its_wire_is_full),
		T(what_the_source_takes_follows_from_its_features),
		T(all_queues_are_enabled_until_the_end),
		T(more_queues_than_the_port_has_are_refused),
		T(a_source_made_of_one_thread_is_refused),
		T(ports_that_are_always_ready_take_turns),
		T(a_patch_comes_and_goes_under_traffic),
		T(what_a_guest_has_sent_comes_although_it_leaves),
		T(a_guest_behind_a_ring_enables_its_queue),
		T(frames_of_a_guest_behind_a_ring_keep_their_order),
		T(a_guest_that_stops_frees_the_one_that_waits_for_it),
		T(a_hostile_guest_loses_its_queue_and_no_other),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
