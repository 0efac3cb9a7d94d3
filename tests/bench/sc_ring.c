/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sc_ring.c: one ring over vhost-user, against DPDK's vhost backend, with the
 * same frontend (guest.c) before both.
 *
 *   from-guest  the guest sends; the backend copies each frame and drops it
 *   to-guest    the backend copies a frame into each buffer that it is given
 *   loop        the guest sends, and receives each frame again
 *
 * Both backends copy every byte of every frame: DPDK into its mbufs or out of
 * them, uvhostd's port null with "copy" into memory of the port or out of it.
 * DPDK's txonly makes its mbufs for each frame (it takes them from a pool and
 * writes their headers), which port=null:LEN has no counterpart for.
 * Both backends poll, on processor BENCH_CPU_BACKEND; the frontend on the
 * other. The note frontend_idle_percent says how much of the time the frontend
 * waited for the backend: near 0 it is the frontend that was measured.
 */
#include "bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dpdk.h"
#include "guest.h"

enum way { FROM_GUEST, TO_GUEST, LOOP };

struct ring_arg {
	bool packed;
	unsigned int size;
	enum way way;
};

struct ring {
	pid_t backend;
	struct guest *guest;
	struct guest_pair pair;
};

static int start_uvhostd(struct bench *b, const struct ring_arg *a)
{
	char option[128], port[64];
	const char *const args[] = { "--busy-poll-us", "1000000",
				     "--socket-path", option, NULL };

	if (a->way == LOOP)
		snprintf(port, sizeof(port), "loop");
	else if (a->way == TO_GUEST)
		snprintf(port, sizeof(port), "null:%u,copy", a->size);
	else
		snprintf(port, sizeof(port), "null,copy");
	snprintf(option, sizeof(option), "@DIR@/s,port=%s", port);
	return bench_daemon(b, BENCH_CPU_BACKEND, "s", args);
}

static int start_dpdk(struct bench *b, const struct ring_arg *a)
{
	static const char *const modes[] = { "rxonly", "txonly", "io" };
	const struct dpdk_config config = {
		.ports = 1,
		.mode = modes[a->way],
		.size = a->way == TO_GUEST ? a->size : 0,
	};

	return dpdk_start(b, &config);
}

static void ring_close(struct bench *b)
{
	struct ring *r = b->priv;

	if (!r)
		return;
	guest_free(r->guest);
	if (b->side == BENCH_OURS)
		bench_end(r->backend);
	else
		dpdk_end(r->backend);
	free(r);
	b->priv = NULL;
}

static int ring_open(struct bench *b)
{
	const struct ring_arg *a = b->scenario->arg;
	struct ring *r = calloc(1, sizeof(*r));
	char path[128];
	const struct guest_config config = {
		.socket = path,
		.packed = a->packed,
		.size = a->size,
		.number = 2,
		.to = 1,
	};
	int ret;

	if (!r)
		return bench_why(b, -ENOMEM, "no memory");
	b->priv = r;
	if (bench_pin(0, BENCH_CPU_FRONTEND) < 0)
		return bench_why(b, BENCH_LACKS, "needs two processors");
	r->backend =
		b->side == BENCH_OURS ? start_uvhostd(b, a) : start_dpdk(b, a);
	if (r->backend < 0)
		return r->backend;
	snprintf(path, sizeof(path), "%s/%s", b->dir,
		 b->side == BENCH_OURS ? "s" : DPDK_FIRST);
	ret = guest_new(&config, &r->guest);
	if (ret < 0)
		return guest_why(b, ret, "frontend");
	r->pair = (struct guest_pair){
		.from = a->way == TO_GUEST ? NULL : r->guest,
		.to = a->way == FROM_GUEST ? NULL : r->guest,
	};
	ret = guest_begin(&r->pair, 1);
	if (ret < 0)
		return guest_why(b, ret, "no frames");
	return 0;
}

static int ring_slice(struct bench *b, uint64_t ns, struct bench_sample *out)
{
	const struct ring_arg *a = b->scenario->arg;
	struct ring *r = b->priv;
	uint64_t cpu = bench_cpu_ns(r->backend);
	struct guest_flow f;
	int ret = guest_run(&r->pair, 1, ns, &f);

	if (ret < 0)
		return guest_why(b, ret, "no frames");
	out->ops = f.frames;
	out->ns = f.ns;
	out->bytes = out->ops * a->size;
	out->cpu_ns = bench_cpu_ns(r->backend) - cpu;
	bench_note(b, "frontend_idle_percent",
		   100.0 * (double)f.idle_ns / (double)f.ns);
	return 0;
}

#define ARG(packed_, size_, way_)  \
	(&(const struct ring_arg){ \
		.packed = (packed_), .size = (size_), .way = (way_) })
#define RING(name_, what_, packed_, size_, way_) \
	{ .name = "ring/" name_,                 \
	  .what = what_,                         \
	  .op = "frame",                         \
	  .measure = BENCH_RATE,                 \
	  .peer = "DPDK vhost",                  \
	  .open = ring_open,                     \
	  .slice = ring_slice,                   \
	  .close = ring_close,                   \
	  .arg = ARG(packed_, size_, way_) }
#define RINGS(kind, packed_, size_)                                           \
	RING(kind "/" #size_ "/from-guest",                                   \
	     "guest to a port that copies and drops, " kind " ring", packed_, \
	     size_, FROM_GUEST),                                              \
		RING(kind "/" #size_ "/to-guest",                             \
		     "port that makes up frames to guest, " kind " ring",     \
		     packed_, size_, TO_GUEST),                               \
		RING(kind "/" #size_ "/loop",                                 \
		     "guest to itself through the backend, " kind " ring",    \
		     packed_, size_, LOOP)

const struct scenario scenarios_ring[] = {
	RINGS("split", false, 64), RINGS("split", false, 1500),
	RINGS("packed", true, 64), RINGS("packed", true, 1500),
	{ .name = NULL },
};
