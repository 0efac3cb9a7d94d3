/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sc_roundtrip.c: how long one frame needs there and back when nothing else
 * goes on, and how often threads of the daemon went to sleep for that.
 *
 *   roundtrip/network   two guests (vhost-user) on a network: from the first to
 *                       the second and back; two workers
 *   roundtrip/loop      one guest before a loop port: one worker
 *   roundtrip/tap       a guest (character device) and the host's side of a tap
 *
 * The guest sleeps on the call eventfd. The other side are bare threads that
 * wake each other by eventfds as often, and in the same order, as guest and
 * workers do; before the tap also read(2) and write(2) of it. With "busy" the
 * next frame follows at once, so that workers may still be polling; with
 * "idle-1ms" a millisecond later, when they sleep. Only the trips are timed.
 *
 * All threads may use both processors, as in a daemon that nobody has pinned.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "bench.h"
#include "hops.h"
#include "ringfeed.h"
#include "taps.h"
#include "threads.h"
#include "vmm.h"
#include "vmm_net.h"

#define RING 64
#define SIZE 64
#define BYTES (RINGFEED_HDR + SIZE)
#define ROOM 2048
#define WAIT_MS 60000
#define IDLE_US 1000
#define GUESTS 2

enum path { NETWORK, LOOP, TAP };

struct kind {
	enum path path;
	bool idle;
};

/* @tx: gpa of the frame that it sends; @rx: of RING buffers */
struct guest {
	struct vmm *v;
	uint64_t tx, rx;
};

/**
 * struct trip - one side
 * @pid: the daemon; of the other side, this process
 * @began: daemon that was started here; else 0
 */
struct trip {
	const struct kind *kind;
	struct guest guest[GUESTS];
	struct taps tap;
	struct hops *hops;
	pid_t pid, began;
	uint8_t frame[BYTES];
	uint64_t trips, switches;
};

/* ---- a guest ---- */

static void post_rx(struct guest *g, uintptr_t i)
{
	struct vmm_seg seg = { g->rx + i * ROOM, ROOM, true };

	vmm_ring_add(&g->v->q[VMM_RX].ring, &seg, 1, (void *)i);
}

static int start_guest(struct bench *b, struct guest *g,
		       struct vmm_config *config, int backend)
{
	uint64_t features;
	int ret;

	config->num[VMM_RX] = config->num[VMM_TX] = RING;
	config->mem_kind = VMM_MEM_MEMFD;
	config->features = VMM_BIT(VIRTIO_F_VERSION_1) |
			   VMM_BIT(VIRTIO_NET_F_MRG_RXBUF) |
			   VMM_BIT(VIRTIO_RING_F_EVENT_IDX) |
			   VMM_BIT(VIRTIO_RING_F_INDIRECT_DESC);
	ret = vmm_new(config, &g->v);
	if (ret < 0)
		return bench_why(b, ret, "opening the device: %s",
				 strerror(-ret));
	g->tx = ringfeed_buffers(&g->v->mem, 1, ROOM, SIZE);
	g->rx = ringfeed_buffers(&g->v->mem, RING, ROOM, SIZE);
	if (!g->tx || !g->rx)
		return bench_why(b, -ENOMEM, "guest memory");
	ret = vmm_start(g->v, backend);
	for (uintptr_t i = 0; ret == 0 && i < RING; i++)
		post_rx(g, i);
	if (ret == 0) {
		vmm_ring_publish(&g->v->q[VMM_RX].ring);
		vmm_kick(g->v, VMM_RX);
		/* It has been through all messages when it answers this. */
		ret = uvh_get_features(g->v->fe, &features);
	}
	return ret < 0 ? bench_why(b, ret, "starting the rings: %s",
				   strerror(-ret))
		       : 0;
}

static int guest_send(struct guest *g)
{
	struct vmm_queue *q = &g->v->q[VMM_TX];
	struct vmm_seg seg = { g->tx, BYTES, false };
	struct vmm_used used[RING];

	if (vmm_ring_reap(&q->ring, used, RING) < 0)
		return -EPROTO;
	vmm_ring_calls_off(&q->ring);
	if (vmm_ring_add(&q->ring, &seg, 1, NULL) < 0)
		return -ENOSPC;
	vmm_publish_kick(g->v, VMM_TX);
	return 0;
}

/* Sleeps until a frame has come, and looks whether it is the one. */
static int guest_receive(struct guest *g, const uint8_t *frame)
{
	struct vmm_queue *q = &g->v->q[VMM_RX];
	struct vmm_used used;
	const uint8_t *at;

	while (!vmm_ring_calls_on(&q->ring)) {
		if (vmm_wait_event(q->call, WAIT_MS) < 0)
			return -ETIMEDOUT;
		vmm_event_count(q->call);
	}
	if (vmm_ring_reap(&q->ring, &used, 1) != 1)
		return -EPROTO;
	at = vmm_mem_ptr(&g->v->mem, g->rx + (uintptr_t)used.token * ROOM);
	if (used.len != BYTES ||
	    memcmp(at + RINGFEED_HDR, frame + RINGFEED_HDR, SIZE) != 0)
		return -EBADMSG;
	post_rx(g, (uintptr_t)used.token);
	vmm_publish_kick(g->v, VMM_RX);
	return 0;
}

/* ---- the host's side of a tap ---- */

static int host_receive(struct trip *t)
{
	uint8_t frame[ROOM];
	ssize_t n =
		vmm_packet_recv(t->tap.packet, frame, sizeof(frame), WAIT_MS);

	if (n < 0)
		return (int)n;
	return n == SIZE && memcmp(frame, t->frame + RINGFEED_HDR, SIZE) == 0
		       ? 0
		       : -EBADMSG;
}

static int host_send(struct trip *t)
{
	return send(t->tap.packet, t->frame + RINGFEED_HDR, SIZE, 0) == SIZE
		       ? 0
		       : -errno;
}

/* ---- one trip ---- */

static int trip_network(struct trip *t)
{
	int ret = guest_send(&t->guest[0]);

	if (ret == 0)
		ret = guest_receive(&t->guest[1], t->frame);
	if (ret == 0)
		ret = guest_send(&t->guest[1]);
	return ret ? ret : guest_receive(&t->guest[0], t->frame);
}

static int trip_loop(struct trip *t)
{
	int ret = guest_send(&t->guest[0]);

	return ret ? ret : guest_receive(&t->guest[0], t->frame);
}

static int trip_tap(struct trip *t)
{
	int ret = guest_send(&t->guest[0]);

	if (ret == 0)
		ret = host_receive(t);
	if (ret == 0)
		ret = host_send(t);
	return ret ? ret : guest_receive(&t->guest[0], t->frame);
}

static int bare_tap(struct trip *t)
{
	int ret;

	hops_wake(t->hops);
	ret = host_receive(t);
	if (ret == 0)
		ret = host_send(t);
	return ret ? ret : hops_wait(t->hops);
}

static int one_trip(struct bench *b, struct trip *t)
{
	if (b->side == BENCH_PEER)
		return t->kind->path == TAP ? bare_tap(t) : hops_trip(t->hops);
	switch (t->kind->path) {
	case NETWORK:
		return trip_network(t);
	case LOOP:
		return trip_loop(t);
	case TAP:
		break;
	}
	return trip_tap(t);
}

/* ---- opening ---- */

static int connect_guest(struct bench *b, struct guest *g, const char *name)
{
	char path[128];
	struct vmm_config config = { .transport = VMM_USER, .socket = path };

	snprintf(path, sizeof(path), "%s/%s", b->dir, name);
	return start_guest(b, g, &config, 0);
}

static int open_user(struct bench *b, struct trip *t)
{
	static const char *const network[] = { "--net",
					       "lan",
					       "--socket-path",
					       "@DIR@/a,net=lan",
					       "--socket-path",
					       "@DIR@/b,net=lan",
					       NULL };
	static const char *const loop[] = { "--socket-path",
					    "@DIR@/a,port=loop", NULL };
	bool pair = t->kind->path == NETWORK;
	int ret;

	t->began = bench_daemon(b, -1, "a", pair ? network : loop);
	if (t->began < 0)
		return (int)t->began;
	t->pid = t->began;
	ret = connect_guest(b, &t->guest[0], "a");
	return ret || !pair ? ret : connect_guest(b, &t->guest[1], "b");
}

static int open_tap(struct bench *b, struct trip *t)
{
	struct vmm_config config = { .path = "/dev/bench" };

	t->pid = b->daemon;
	return start_guest(b, &t->guest[0], &config, t->tap.fd);
}

static int open_bare(struct bench *b, struct trip *t)
{
	/* The first worker gives the frame to the second; it comes back from
	 * the second. */
	static const struct hops_order network = {
		.workers = 2,
		.turns = 2,
		.next = { { 1, 2 }, { 2, 0 }, { 0, 1 } }
	};
	static const struct hops_order loop = { .workers = 1,
						.turns = 1,
						.next = { { 1 }, { 0 } } };
	int ret = hops_new(t->kind->path == NETWORK ? &network : &loop,
			   t->tap.fd, t->frame, BYTES, &t->hops);

	t->pid = getpid();
	return ret < 0 ? bench_why(b, ret, "threads: %s", strerror(-ret)) : 0;
}

static int trip_open(struct bench *b)
{
	struct trip *t = calloc(1, sizeof(*t));
	int ret = 0;

	b->priv = t;
	if (!t)
		return bench_why(b, -ENOMEM, "no memory");
	t->kind = b->scenario->arg;
	t->tap = (struct taps){ -1, -1 };
	ringfeed_frame(t->frame, SIZE);
	if (t->kind->path == TAP)
		ret = taps_open(b, &t->tap, true);
	if (ret < 0)
		return ret;
	if (b->side == BENCH_PEER)
		return open_bare(b, t);
	return t->kind->path == TAP ? open_tap(b, t) : open_user(b, t);
}

static void trip_close(struct bench *b)
{
	struct trip *t = b->priv;

	if (!t)
		return;
	for (unsigned int i = 0; i < GUESTS; i++) {
		if (t->guest[i].v)
			vmm_stop(t->guest[i].v);
		vmm_free(t->guest[i].v);
	}
	if (t->began > 0)
		bench_end(t->began);
	hops_free(t->hops);
	taps_close(&t->tap);
	free(t);
	b->priv = NULL;
}

/* ---- slices ---- */

static uint64_t workers_cpu_ns(struct bench *b, const struct trip *t)
{
	return b->side == BENCH_OURS ? bench_cpu_ns(t->pid)
				     : hops_cpu_ns(t->hops);
}

static int trip_slice(struct bench *b, uint64_t ns, struct bench_sample *out)
{
	struct trip *t = b->priv;
	pid_t but = b->side == BENCH_OURS ? 0 : gettid();
	uint64_t begin = bench_now_ns(), cpu = workers_cpu_ns(b, t);
	uint64_t switches = threads_switches(t->pid, but);

	while (bench_now_ns() - begin < ns) {
		uint64_t start;
		int ret;

		if (t->kind->idle)
			usleep(IDLE_US);
		start = bench_now_ns();
		ret = one_trip(b, t);
		if (ret < 0)
			return bench_why(b, ret, "trip %llu: %s",
					 (unsigned long long)t->trips,
					 strerror(-ret));
		out->ns += bench_now_ns() - start;
		out->ops++;
	}
	out->cpu_ns = workers_cpu_ns(b, t) - cpu;
	t->trips += out->ops;
	t->switches += threads_switches(t->pid, but) - switches;
	bench_note(b, "voluntary_switches_per_trip",
		   (double)t->switches / (double)t->trips);
	return 0;
}

/* ---- the list ---- */

static const char *const device[] = { "--device", BENCH_DEVICE("bench"), NULL };

#define TRIP(title, text, other, options, ...)              \
	{                                                   \
		.name = "roundtrip/" title,                 \
		.what = text,                               \
		.op = "round trip",                         \
		.measure = BENCH_TIME,                      \
		.peer = other,                              \
		.device = options,                          \
		.open = trip_open,                          \
		.slice = trip_slice,                        \
		.close = trip_close,                        \
		.arg = &(const struct kind){ __VA_ARGS__ }, \
	}

#define TRIPS(title, text, other, options, path)                           \
	TRIP(title "/busy", text ", one after the other", other, options,  \
	     path, false),                                                 \
		TRIP(title "/idle-1ms", text ", one a millisecond", other, \
		     options, path, true)

const struct scenario scenarios_roundtrip[] = {
	TRIPS("network", "guest to guest on a network and back",
	      "eventfds, 6 hops", NULL, NETWORK),
	TRIPS("loop", "a loop port and back", "eventfds, 2 hops", NULL, LOOP),
	TRIPS("tap", "guest to the host's side of a tap and back",
	      "bare thread on the tap", device, TAP),
	{ 0 },
};
