/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sc_table.c measures the table of MAC addresses (net/switch/mactable.c) beside
 * bare memory: as many cache lines, touched in the same order.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "bytes.h"
#include "mactable.h"

#define BATCH 64
#define TURNS 64 /* batches between two looks at the clock */
#define LINE 64
#define AGE_S 300

static const uint64_t seed[2] = { 1, 2 };

struct table_case;

/** struct lines - memory of the limit: @mask + 1 lines */
struct table {
	struct mactable *t;
	uint8_t (*line)[LINE];
	uint32_t mask;
	uint32_t x; /* state of the random numbers */
	uint32_t next;
	uint64_t sum; /* what was found or read, so that it is */
};

/**
 * struct table_case
 * @macs: addresses in the table
 * @batch, @bare: BATCH operations, with the table and without
 */
struct table_case {
	unsigned int macs;
	void (*batch)(struct table *p, unsigned int macs);
	void (*bare)(struct table *p, unsigned int macs);
};

static uint32_t next_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

static struct macaddr numbered(const struct mactable *t, uint32_t i)
{
	uint8_t mac[6] = { 2 };

	memcpy(mac + 2, &i, sizeof(i));
	return mactable_addr(t, mac, 1);
}

static struct macaddr any_known(struct table *p, unsigned int macs)
{
	return numbered(p->t, next_random(&p->x) % macs);
}

static uint8_t *any_line(struct table *p, unsigned int macs)
{
	/* Scattered as a hash scatters, for the addresses that there are */
	uint32_t i = next_random(&p->x) % macs;

	return p->line[i * UINT32_C(2654435761) & p->mask];
}

/* ---- operations ---- */

static void find_batch(struct table *p, unsigned int macs)
{
	struct macaddr a[BATCH];

	for (unsigned int k = 0; k < BATCH; k++) {
		a[k] = any_known(p, macs);
		mactable_prefetch(p->t, a[k]);
	}
	for (unsigned int k = 0; k < BATCH; k++)
		p->sum += mactable_find(p->t, a[k], 0) >= 0;
}

static void read_batch(struct table *p, unsigned int macs)
{
	const uint8_t *at[BATCH];

	for (unsigned int k = 0; k < BATCH; k++) {
		at[k] = any_line(p, macs);
		__builtin_prefetch(at[k]);
	}
	for (unsigned int k = 0; k < BATCH; k++)
		p->sum += *(const volatile uint8_t *)at[k];
}

static void find_single(struct table *p, unsigned int macs)
{
	for (unsigned int k = 0; k < BATCH; k++)
		p->sum += mactable_find(p->t, any_known(p, macs), 0) >= 0;
}

static void read_single(struct table *p, unsigned int macs)
{
	for (unsigned int k = 0; k < BATCH; k++)
		p->sum += *(const volatile uint8_t *)any_line(p, macs);
}

static void see(struct table *p, unsigned int macs)
{
	for (unsigned int k = 0; k < BATCH; k++)
		p->sum += mactable_seen(p->t, any_known(p, macs), 1, 0);
}

static void write_single(struct table *p, unsigned int macs)
{
	for (unsigned int k = 0; k < BATCH; k++)
		*(volatile uint8_t *)any_line(p, macs) = (uint8_t)k;
}

/* Addresses that are new until there are @macs; then all are forgotten. */
static void learn(struct table *p, unsigned int macs)
{
	if (p->next + BATCH > macs) {
		mactable_forget(p->t, 1);
		p->next = 0;
	}
	for (unsigned int k = 0; k < BATCH; k++)
		p->sum += mactable_learn(p->t, numbered(p->t, p->next++), 1,
					 0) == MAC_NEW;
}

/* ---- the scenarios' functions ---- */

static int fill(struct table *p, const struct table_case *c)
{
	int ret = mactable_new(2 * c->macs, AGE_S, seed, &p->t);

	if (ret < 0)
		return ret;
	for (uint32_t i = 0; i < c->macs && c->batch != learn; i++)
		mactable_learn(p->t, numbered(p->t, i), 1, 0);
	return 0;
}

static int table_open(struct bench *b)
{
	const struct table_case *c = b->scenario->arg;
	struct table *p = calloc(1, sizeof(*p));
	int ret = -ENOMEM;

	if (!p)
		return ret;
	b->priv = p;
	p->x = 1;
	p->mask = 16;
	while (p->mask < c->macs)
		p->mask *= 2;
	p->mask--;
	bench_pin(0, BENCH_CPU_BACKEND);
	if (b->side == BENCH_OURS)
		return fill(p, c);
	p->line = aligned_alloc(LINE, (p->mask + 1) * sizeof(*p->line));
	if (!p->line)
		return ret;
	memset(p->line, 1, (p->mask + 1) * sizeof(*p->line));
	return 0;
}

static int table_slice(struct bench *b, uint64_t ns, struct bench_sample *out)
{
	const struct table_case *c = b->scenario->arg;
	uint64_t start = bench_now_ns(), now = start;
	struct table *p = b->priv;

	while (now - start < ns) {
		for (unsigned int k = 0; k < TURNS; k++)
			(p->t ? c->batch : c->bare)(p, c->macs);
		out->ops += TURNS * BATCH;
		now = bench_now_ns();
	}
	out->ns = now - start;
	return 0;
}

static void table_close(struct bench *b)
{
	struct table *p = b->priv;

	if (!p)
		return;
	mactable_free(p->t);
	free(p->line);
	free(p);
}

#define TABLE(n, w, o, peername, ...)                             \
	{                                                         \
		.name = "table/" n,                               \
		.what = w,                                        \
		.op = o,                                          \
		.measure = BENCH_TIME,                            \
		.peer = peername,                                 \
		.linked = true,                                   \
		.open = table_open,                               \
		.slice = table_slice,                             \
		.close = table_close,                             \
		.arg = &(const struct table_case){ __VA_ARGS__ }, \
	}

const struct scenario scenarios_table[] = {
	TABLE("lookup/1000", "a random one of 1000 addresses, in batches",
	      "look-up", "load", 1000, find_batch, read_batch),
	TABLE("lookup/100000", "a random one of 100000 addresses, in batches",
	      "look-up", "load", 100000, find_batch, read_batch),
	TABLE("lookup-single/1000", "one after the other", "look-up", "load",
	      1000, find_single, read_single),
	TABLE("lookup-single/100000", "one after the other", "look-up", "load",
	      100000, find_single, read_single),
	TABLE("seen/100000", "a sender that is known", "look-up", "load",
	      100000, see, read_single),
	TABLE("learn/100000", "new senders, from an empty table", "address",
	      "store", 100000, learn, write_single),
	{ 0 },
};
