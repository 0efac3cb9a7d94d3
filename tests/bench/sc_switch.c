/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sc_switch.c measures the learning switch (net/switch/) without guests, on
 * one thread: frames sent at one port and received at another, beside the two
 * copies that each frame costs; and what a flood leaves of it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "bytes.h"
#include "network.h"

#define HDR 12
#define BATCH 64
#define SPACE 2048
#define STATIONS 3
#define COPIES (2 * BATCH) /* buffers that the limit goes through */
#define FLOODER 2

/* A port of the switch with buffers */
struct station {
	struct swport *m;
	struct netport *rx, *tx;
	struct iovec iov[BATCH];
	struct frame frame[BATCH];
	uint8_t space[BATCH][SPACE];
};

struct switch_bench {
	struct network *net;
	struct station *s[STATIONS];
	uint8_t (*copy)[SPACE]; /* of the limit */
	uint32_t x;             /* state of the random numbers */
	bool flooding, end;
	pthread_t flooder;
};

/**
 * struct switch_case
 * @macs:  addresses behind the receiving ports
 * @len:   of frames, without header
 * @own:   tx_own of the sender
 * @flood: a thread floods the switch; the peer is the same without
 */
struct switch_case {
	unsigned int macs;
	size_t len;
	bool own, flood;
};

static uint32_t next_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

static void make_frame(struct station *s, unsigned int i, uint32_t dst,
		       uint32_t src, size_t len)
{
	uint8_t *eth = s->space[i] + HDR;

	memset(s->space[i], 0, HDR + len);
	eth[0] = eth[6] = 2;
	memcpy(eth + 2, &dst, sizeof(dst));
	memcpy(eth + 8, &src, sizeof(src));
	eth[12] = 0x88;
	eth[13] = 0xb5;
	s->iov[i].iov_len = HDR + len;
	s->frame[i].len = (uint32_t)(HDR + len);
}

/* Those of more than @longer bytes among all that have come */
static unsigned int drain(struct station *s, size_t longer)
{
	unsigned int n = 0;
	int ret;

	while ((ret = s->rx->ops->recv(s->rx, s->frame, BATCH)) > 0)
		for (int i = 0; i < ret; i++)
			n += s->frame[i].len > longer;
	return n;
}

/* ---- set-up ---- */

static int join(struct switch_bench *p, unsigned int k)
{
	struct swport_config c = { .vlan = 1 };
	struct station *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return -ENOMEM;
	p->s[k] = s;
	ret = swport_new(p->net, &c, 1, &s->m);
	if (ret == 0)
		ret = swport_open(s->m, 0, &s->rx, &s->tx);
	if (ret < 0)
		return ret;
	swport_enable(s->m, 0, true);
	for (unsigned int i = 0; i < BATCH; i++) {
		s->iov[i] = (struct iovec){ s->space[i], SPACE };
		s->frame[i] = (struct frame){ .iov = &s->iov[i], .iovcnt = 1 };
	}
	return 0;
}

static void leave(struct station *s)
{
	if (!s)
		return;
	if (s->rx)
		netport_close(s->rx);
	if (s->tx)
		netport_close(s->tx);
	if (s->m)
		swport_free(s->m);
	free(s);
}

/* The addresses of the receivers, by turns */
static void introduce(struct switch_bench *p, unsigned int macs)
{
	for (uint32_t i = 0; i < macs; i++) {
		struct station *s = p->s[1 + (macs > 1 && i % 2)];

		make_frame(s, 0, 0xffffffff, i, 60);
		s->tx->ops->send(s->tx, s->frame, 1);
		s->iov[0].iov_len = SPACE;
		for (unsigned int k = 0; k < STATIONS; k++)
			drain(p->s[k], 0);
	}
}

static void *flood(void *arg)
{
	struct switch_bench *p = arg;
	struct station *s = p->s[FLOODER];
	uint32_t x = 7;

	bench_pin(0, BENCH_CPU_FRONTEND);
	while (!__atomic_load_n(&p->end, __ATOMIC_RELAXED)) {
		for (unsigned int i = 0; i < BATCH; i++)
			make_frame(s, i, i % 2 ? 0xffffffff : next_random(&x),
				   next_random(&x), 60);
		s->tx->ops->send(s->tx, s->frame, BATCH);
	}
	return NULL;
}

static int set_up(struct switch_bench *p, const struct switch_case *c,
		  bool flooded)
{
	struct network_config config = { "bench", MAX(2 * c->macs, 16), 300,
					 1500 };
	int ret = network_new(&config, &p->net);

	for (unsigned int k = 0; k < STATIONS && ret == 0; k++)
		ret = join(p, k);
	if (ret < 0)
		return ret;
	introduce(p, c->macs);
	for (unsigned int i = 0; i < BATCH; i++)
		make_frame(p->s[0], i, 0, c->macs, c->len);
	p->s[0]->tx->tx_own = c->own;
	if (!flooded)
		return 0;
	ret = -pthread_create(&p->flooder, NULL, flood, p);
	p->flooding = ret == 0;
	return ret;
}

static int switch_open(struct bench *b)
{
	const struct switch_case *c = b->scenario->arg;
	struct switch_bench *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	b->priv = p;
	p->x = 1;
	bench_pin(0, BENCH_CPU_BACKEND);
	if (b->side == BENCH_OURS || c->flood)
		return set_up(p, c, c->flood && b->side == BENCH_OURS);
	p->copy = calloc(2 + COPIES, SPACE);
	return p->copy ? 0 : -ENOMEM;
}

static void switch_close(struct bench *b)
{
	struct switch_bench *p = b->priv;

	if (!p)
		return;
	__atomic_store_n(&p->end, true, __ATOMIC_RELAXED);
	if (p->flooding)
		pthread_join(p->flooder, NULL);
	for (unsigned int k = 0; k < STATIONS; k++)
		leave(p->s[k]);
	if (p->net)
		network_free(p->net);
	free(p->copy);
	free(p);
}

/* ---- slices ---- */

/* A batch to random addresses; frames received */
static unsigned int forward(struct switch_bench *p, const struct switch_case *c)
{
	struct station *s = p->s[0];

	for (unsigned int i = 0; c->macs > 1 && i < BATCH; i++) {
		uint32_t dst = next_random(&p->x) % c->macs;

		memcpy(s->space[i] + HDR + 2, &dst, sizeof(dst));
	}
	s->tx->ops->send(s->tx, s->frame, BATCH);
	return drain(p->s[1], c->len) + (c->flood ? 0 : drain(p->s[2], c->len));
}

/* In and out of a queue, nothing else */
static unsigned int copy_twice(struct switch_bench *p,
			       const struct switch_case *c)
{
	for (unsigned int i = 0; i < BATCH; i++) {
		uint8_t *queued = p->copy[2 + i];

		memcpy(queued, p->copy[0], HDR + c->len);
		__asm__ volatile("" : : "r"(queued) : "memory");
	}
	for (unsigned int i = 0; i < BATCH; i++) {
		memcpy(p->copy[2 + BATCH + i], p->copy[2 + i], HDR + c->len);
		__asm__ volatile("" : : "r"(p->copy) : "memory");
	}
	return BATCH;
}

static int switch_slice(struct bench *b, uint64_t ns, struct bench_sample *out)
{
	const struct switch_case *c = b->scenario->arg;
	uint64_t start = bench_now_ns(), now = start;
	struct switch_bench *p = b->priv;

	while (now - start < ns) {
		out->ops += p->copy ? copy_twice(p, c) : forward(p, c);
		now = bench_now_ns();
	}
	out->ns = now - start;
	out->bytes = out->ops * c->len;
	return 0;
}

#define SWITCH(n, w, p, ...)                                       \
	{                                                          \
		.name = "switch/" n,                               \
		.what = w,                                         \
		.op = "frame",                                     \
		.measure = BENCH_RATE,                             \
		.peer = p,                                         \
		.linked = true,                                    \
		.open = switch_open,                               \
		.slice = switch_slice,                             \
		.close = switch_close,                             \
		.arg = &(const struct switch_case){ __VA_ARGS__ }, \
	}

const struct scenario scenarios_switch[] = {
	SWITCH("forward/1000", "60 bytes to a random one of 1000 addresses",
	       "memcpy() twice", 1000, 60, false, false),
	SWITCH("forward/100000", "60 bytes to a random one of 100000 addresses",
	       "memcpy() twice", 100000, 60, false, false),
	SWITCH("pair/64", "64 bytes to one address", "memcpy() twice", 1, 64,
	       false, false),
	SWITCH("pair/1500", "1500 bytes to one address", "memcpy() twice", 1,
	       1500, false, false),
	SWITCH("pair-own/1500", "the same, frames that may be written to",
	       "memcpy() twice", 1, 1500, true, false),
	SWITCH("flooded/1500", "1500 bytes to one address beside a flood",
	       "without the flood", 1, 1500, false, true),
	{ 0 },
};
