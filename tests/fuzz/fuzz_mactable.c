/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of addresses against a naive model: an array with a place for each
 * address there is. Addresses, ports and times are few, so that they meet; and
 * where they lie is either the hash's affair or the input's, which fills pairs
 * of buckets.
 *
 * Each step is held against the model, and the address that it was about. All
 * addresses are compared before what would hide a difference (time passes, a
 * port is forgotten) and at the end: until then one stays.
 */
#include "fuzz.h"

#include <errno.h>

#include "mactable.h"

#define PORTS 4
#define MACS 96
#define PAIR 8 /* entries of two buckets */

/**
 * struct naive - what is known, and since when
 * @addr: the addresses, by the numbers that they have here
 */
struct naive {
	struct macaddr addr[MACS];
	struct {
		bool known;
		unsigned int port;
		uint32_t seen;
	} m[MACS];
	unsigned int limit[PORTS];
	uint32_t age;
};

static bool fresh(const struct naive *m, unsigned int i, uint32_t now)
{
	return m->m[i].known && now - m->m[i].seen <= m->age;
}

static unsigned int fresh_of(const struct naive *m, unsigned int port,
			     uint32_t now)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < MACS; i++)
		n += m->m[i].port == port && fresh(m, i, now);
	return n;
}

/* @where: 0: as the hash has it; else in few buckets: of each address its
 * number modulo the upper half, and divided by the lower. */
static void make_addresses(struct naive *m, const struct mactable *t,
			   uint8_t where)
{
	for (unsigned int i = 0; i < MACS; i++) {
		const uint8_t mac[6] = { 2, 0, 0, 0, 0, (uint8_t)(i / 2) };

		m->addr[i] = mactable_addr(t, mac, i % 2);
		if (where)
			m->addr[i].hash = (uint64_t)(i / (1 + where % 16))
						  << 32 |
					  i % (1 + where / 16);
	}
}

static bool in_pair(const struct mactable *t, struct macaddr a, uint64_t bucket)
{
	uint64_t mask = mactable_buckets(t) - 1;
	uint64_t one = a.hash & mask, two = a.hash >> 32 & mask;

	return bucket == one || bucket == (two == one ? two ^ 1 : two);
}

/* Addresses that may be where @i may be. */
static unsigned int rivals(const struct mactable *t, const struct naive *m,
			   unsigned int i, uint32_t now)
{
	unsigned int n = 0;

	for (uint64_t b = 0; b < mactable_buckets(t); b++)
		for (unsigned int k = 0; in_pair(t, m->addr[i], b) && k < MACS;
		     k++)
			n += fresh(m, k, now) && in_pair(t, m->addr[k], b);
	return n;
}

static void learn(struct mactable *t, struct naive *m, unsigned int i,
		  unsigned int port, uint32_t now)
{
	bool was = fresh(m, i, now), moves = was && m->m[i].port != port;
	unsigned int limit = m->limit[port];
	unsigned int has = limit ? fresh_of(m, port, now) : 0;

	switch (mactable_learn(t, m->addr[i], port, now)) {
	case MAC_KNOWN:
		must(was && !moves);
		break;
	case MAC_NEW:
		must(!was);
		must(!limit || has < limit);
		break;
	case MAC_MOVED:
		must(moves);
		must(!limit || has < limit);
		break;
	case MAC_LIMIT:
		must(!was || moves);
		must(limit && mactable_count(t, port) >= limit);
		return;
	case MAC_FULL:
		must(!was);
		must(!mactable_has_space(t, port) ||
		     rivals(t, m, i, now) >= PAIR);
		return;
	}
	m->m[i].known = true;
	m->m[i].port = port;
	m->m[i].seen = now;
}

static void compare_one(const struct mactable *t, const struct naive *m,
			unsigned int i, uint32_t now)
{
	must(mactable_find(t, m->addr[i], now) ==
	     (fresh(m, i, now) ? (int)m->m[i].port : -ENOENT));
}

static void compare_sum(const struct mactable *t)
{
	unsigned int sum = 0;

	for (unsigned int p = 0; p < PORTS; p++)
		sum += mactable_count(t, p);
	must(sum == mactable_total(t));
}

/* All that is known to one is known to the other. */
static void compare(const struct mactable *t, const struct naive *m,
		    uint32_t now)
{
	unsigned int has[PORTS] = { 0 };

	for (unsigned int i = 0; i < MACS; i++) {
		compare_one(t, m, i, now);
		has[m->m[i].port] += fresh(m, i, now);
	}
	for (unsigned int p = 0; p < PORTS; p++)
		must(mactable_count(t, p) >= has[p]);
}

static void age_all(struct mactable *t, const struct naive *m, uint32_t now)
{
	mactable_age(t, now, mactable_buckets(t));
	for (unsigned int p = 0; p < PORTS; p++)
		must(mactable_count(t, p) == fresh_of(m, p, now));
}

static void forget(struct mactable *t, struct naive *m, unsigned int port)
{
	mactable_forget(t, port);
	must(mactable_count(t, port) == 0);
	for (unsigned int i = 0; i < MACS; i++)
		if (m->m[i].port == port)
			m->m[i].known = false;
}

static void step(struct input *in, struct mactable *t, struct naive *m,
		 uint32_t *now)
{
	uint8_t op = in_u8(in);
	unsigned int i = in_below(in, MACS), port = op / 16 % PORTS;

	switch (op % 16) {
	case 0:
		compare(t, m, *now);
		forget(t, m, port);
		break;
	case 1:
		m->limit[port] = i;
		mactable_set_limit(t, port, i);
		break;
	case 2:
		compare(t, m, *now);
		*now += i;
		break;
	case 3:
		age_all(t, m, *now);
		break;
	case 4:
	case 5:
		must(mactable_seen(t, m->addr[i], port, *now) ==
		     (fresh(m, i, *now) && m->m[i].port == port));
		if (fresh(m, i, *now) && m->m[i].port == port)
			m->m[i].seen = *now;
		break;
	case 6:
		mactable_age(t, *now, i);
		break;
	default:
		learn(t, m, i, port, *now);
	}
	compare_one(t, m, i, *now);
	compare_sum(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	uint64_t seed[2] = { in_u8(&in), 1 };
	uint8_t where = in_u8(&in);
	unsigned int macs = 1 + in_below(&in, MACS);
	struct naive m = { .age = 1 + in_below(&in, 200) };
	uint32_t now = UINT32_MAX - in_u8(&in);
	struct mactable *t;

	must(mactable_new(macs, m.age, seed, &t) == 0);
	make_addresses(&m, t, where);
	while (!in_empty(&in)) {
		step(&in, t, &m, &now);
		must(mactable_total(t) <= macs);
	}
	compare(t, &m, now);
	mactable_free(t);
	return 0;
}
