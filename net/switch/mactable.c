/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mactable.c maps (VLAN, MAC address) to switch ports.
 *
 * Buckets of one cache line have four addresses each; an address may be in
 * either of two, and is added to the emptier one. There are twice as many
 * entries as may be used, so that practically no pair of buckets is ever full.
 *
 * A port is removed by raising its generation: entries of an older one are
 * free.
 */
#include "mactable.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"

#define WAYS 4
#define LINE 64
#define BUCKETS_MIN 16
/* Buckets that are aged with each address learnt. */
#define AGE_STEP 4

/**
 * struct mac_entry - one address
 * @key:  0: free
 * @seen: second; relaxed atomic: other threads read and write it at the same
 * time
 * @gen:  of the port, when it was learnt
 */
struct mac_entry {
	uint64_t key;
	uint32_t seen;
	uint16_t port, gen;
};

struct bucket {
	struct mac_entry e[WAYS];
};

_Static_assert(sizeof(struct bucket) == LINE, "a bucket is a cache line");

struct port_share {
	unsigned int count, limit; /* limit 0: that of the table */
	uint16_t gen;
};

struct mactable {
	struct bucket *bucket;
	uint64_t mask; /* number of buckets - 1 */
	uint64_t seed[2];
	unsigned int max, total, cursor;
	uint32_t age_s;
	struct port_share port[MACTABLE_PORTS];
};

int mactable_new(unsigned int macs, uint32_t age_s, const uint64_t seed[2],
		 struct mactable **out)
{
	struct mactable *t;
	size_t buckets = BUCKETS_MIN;

	if (!macs || macs > MACTABLE_MAX || !age_s || age_s > 1u << 30)
		return -EINVAL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	while (buckets * WAYS < 2 * (size_t)macs)
		buckets *= 2;
	t->bucket = aligned_alloc(LINE, buckets * LINE);
	if (!t->bucket) {
		free(t);
		return -ENOMEM;
	}
	memset(t->bucket, 0, buckets * LINE);
	t->mask = buckets - 1;
	t->max = macs;
	t->age_s = age_s;
	memcpy(t->seed, seed, sizeof(t->seed));
	*out = t;
	return 0;
}

void mactable_free(struct mactable *t)
{
	if (!t)
		return;
	free(t->bucket);
	free(t);
}

void mactable_set_limit(struct mactable *t, unsigned int port,
			unsigned int limit)
{
	t->port[port].limit = limit;
}

/* ---- addresses ---- */

static uint64_t rotate(uint64_t x, unsigned int by)
{
	return x << by | x >> (64 - by);
}

struct sip {
	uint64_t a, b, c, d;
};

static inline __attribute__((always_inline)) void sip_round(struct sip *v)
{
	v->a += v->b;
	v->c += v->d;
	v->b = rotate(v->b, 13) ^ v->a;
	v->d = rotate(v->d, 16) ^ v->c;
	v->a = rotate(v->a, 32);
	v->c += v->b;
	v->a += v->d;
	v->b = rotate(v->b, 17) ^ v->c;
	v->d = rotate(v->d, 21) ^ v->a;
	v->c = rotate(v->c, 32);
}

/* SipHash-1-3 of the eight bytes of @key. Source: Aumasson, Bernstein,
 * "SipHash: a fast short-input PRF". */
static uint64_t sip_hash(const uint64_t seed[2], uint64_t key)
{
	const uint64_t last = UINT64_C(8) << 56; /* the length of the input */
	struct sip v = {
		seed[0] ^ UINT64_C(0x736f6d6570736575),
		seed[1] ^ UINT64_C(0x646f72616e646f6d),
		seed[0] ^ UINT64_C(0x6c7967656e657261),
		seed[1] ^ UINT64_C(0x7465646279746573),
	};

	v.d ^= key;
	sip_round(&v);
	v.a ^= key;
	v.d ^= last;
	sip_round(&v);
	v.a ^= last;
	v.c ^= 0xff;
	sip_round(&v);
	sip_round(&v);
	sip_round(&v);
	return v.a ^ v.b ^ v.c ^ v.d;
}

struct macaddr mactable_addr(const struct mactable *t, const uint8_t *mac,
			     unsigned int vlan)
{
	struct macaddr a = { .key = BIT(63) | (uint64_t)vlan << 48 };

	for (unsigned int i = 0; i < 6; i++)
		a.key |= (uint64_t)mac[i] << (8 * i);
	a.hash = sip_hash(t->seed, a.key);
	return a;
}

/* Two different buckets. */
static void buckets_of(const struct mactable *t, struct macaddr a,
		       struct bucket *pair[2])
{
	uint64_t one = a.hash & t->mask, two = (a.hash >> 32) & t->mask;

	pair[0] = &t->bucket[one];
	pair[1] = &t->bucket[two == one ? two ^ 1 : two];
}

void mactable_prefetch(const struct mactable *t, struct macaddr a)
{
	struct bucket *pair[2];

	buckets_of(t, a, pair);
	__builtin_prefetch(pair[0]);
	__builtin_prefetch(pair[1]);
}

static bool is_live(const struct mactable *t, const struct mac_entry *e)
{
	return e->key && e->gen == t->port[e->port].gen;
}

/* Signed: @seen may be a second later than @now_s. */
static bool is_aged(const struct mactable *t, const struct mac_entry *e,
		    uint32_t now_s)
{
	uint32_t seen = __atomic_load_n(&e->seen, __ATOMIC_RELAXED);

	return (int32_t)(now_s - seen) > (int32_t)t->age_s;
}

/* Finds aged addresses too. */
static struct mac_entry *find(const struct mactable *t, struct macaddr a)
{
	struct bucket *pair[2];

	buckets_of(t, a, pair);
	for (unsigned int b = 0; b < 2; b++)
		for (unsigned int i = 0; i < WAYS; i++)
			if (pair[b]->e[i].key == a.key &&
			    is_live(t, &pair[b]->e[i]))
				return &pair[b]->e[i];
	return NULL;
}

int mactable_find(const struct mactable *t, struct macaddr a, uint32_t now_s)
{
	const struct mac_entry *e = find(t, a);

	return e && !is_aged(t, e, now_s) ? e->port : -ENOENT;
}

bool mactable_seen(struct mactable *t, struct macaddr a, unsigned int port,
		   uint32_t now_s)
{
	struct mac_entry *e = find(t, a);

	if (!e || e->port != port || is_aged(t, e, now_s))
		return false;
	/* Writes a shared cache line once a second at most. */
	if (__atomic_load_n(&e->seen, __ATOMIC_RELAXED) != now_s)
		__atomic_store_n(&e->seen, now_s, __ATOMIC_RELAXED);
	return true;
}

/* ---- learning ---- */

static void entry_free(struct mactable *t, struct mac_entry *e)
{
	if (is_live(t, e)) {
		t->port[e->port].count--;
		t->total--;
	}
	e->key = 0;
}

void mactable_age(struct mactable *t, uint32_t now_s, unsigned int buckets)
{
	for (; buckets; buckets--) {
		struct bucket *b = &t->bucket[t->cursor++ & t->mask];

		for (unsigned int i = 0; i < WAYS; i++)
			if (b->e[i].key && (!is_live(t, &b->e[i]) ||
					    is_aged(t, &b->e[i], now_s)))
				entry_free(t, &b->e[i]);
	}
}

static bool at_limit(const struct port_share *p)
{
	return p->limit && p->count >= p->limit;
}

bool mactable_has_space(const struct mactable *t, unsigned int port)
{
	const struct port_share *p = &t->port[port];

	return !at_limit(p) &&
	       p->count < MACTABLE_SHARE * (uint64_t)(t->max - t->total);
}

/* Removes aged addresses of the bucket. Return: a free entry; @nfree: how many.
 */
static struct mac_entry *free_entry(struct mactable *t, struct bucket *b,
				    uint32_t now_s, unsigned int *nfree)
{
	struct mac_entry *found = NULL;

	*nfree = 0;
	for (unsigned int i = 0; i < WAYS; i++) {
		struct mac_entry *e = &b->e[i];

		if (e->key && (!is_live(t, e) || is_aged(t, e, now_s)))
			entry_free(t, e);
		if (e->key)
			continue;
		found = e;
		++*nfree;
	}
	return found;
}

static enum mactable_learnt add(struct mactable *t, struct macaddr a,
				unsigned int port, uint32_t now_s)
{
	struct bucket *pair[2];
	struct mac_entry *e[2];
	unsigned int nfree[2];

	buckets_of(t, a, pair);
	for (unsigned int b = 0; b < 2; b++)
		e[b] = free_entry(t, pair[b], now_s, &nfree[b]);
	if (at_limit(&t->port[port]))
		return MAC_LIMIT;
	if (!mactable_has_space(t, port))
		return MAC_FULL;
	if (nfree[1] > nfree[0])
		e[0] = e[1];
	if (!e[0])
		return MAC_FULL;
	*e[0] = (struct mac_entry){ a.key, now_s, (uint16_t)port,
				    t->port[port].gen };
	t->port[port].count++;
	t->total++;
	return MAC_NEW;
}

enum mactable_learnt mactable_learn(struct mactable *t, struct macaddr a,
				    unsigned int port, uint32_t now_s)
{
	struct mac_entry *e;

	mactable_age(t, now_s, AGE_STEP);
	e = find(t, a);
	if (!e || is_aged(t, e, now_s))
		return add(t, a, port, now_s);
	if (e->port != port) {
		if (at_limit(&t->port[port]))
			return MAC_LIMIT;
		t->port[e->port].count--;
		t->port[port].count++;
		*e = (struct mac_entry){ a.key, now_s, (uint16_t)port,
					 t->port[port].gen };
		return MAC_MOVED;
	}
	__atomic_store_n(&e->seen, now_s, __ATOMIC_RELAXED);
	return MAC_KNOWN;
}

void mactable_forget(struct mactable *t, unsigned int port)
{
	struct port_share *p = &t->port[port];

	t->total -= p->count;
	p->count = 0;
	p->gen++;
	if (p->gen)
		return;
	/* The generation has wrapped: removes entries of the first one. */
	for (uint64_t b = 0; b <= t->mask; b++)
		for (unsigned int i = 0; i < WAYS; i++)
			if (t->bucket[b].e[i].port == port)
				t->bucket[b].e[i].key = 0;
}

unsigned int mactable_count(const struct mactable *t, unsigned int port)
{
	return t->port[port].count;
}

unsigned int mactable_total(const struct mactable *t)
{
	return t->total;
}

unsigned int mactable_buckets(const struct mactable *t)
{
	return (unsigned int)t->mask + 1;
}
