/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of addresses against a naive model: an array in which an address is
 * searched from one end to the other. Addresses, ports and times are few, so
 * that they meet.
 */
#include "fuzz.h"

#include <errno.h>

#include "mactable.h"

#define PORTS 4
#define MACS 96

struct naive {
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

static struct macaddr addr(const struct mactable *t, unsigned int i)
{
	const uint8_t mac[6] = { 2, 0, 0, 0, 0, (uint8_t)(i / 2) };

	return mactable_addr(t, mac, i % 2);
}

static void learn(struct mactable *t, struct naive *m, unsigned int i,
		  unsigned int port, uint32_t now)
{
	bool was = fresh(m, i, now), moves = was && m->m[i].port != port;
	unsigned int has = fresh_of(m, port, now);

	switch (mactable_learn(t, addr(t, i), port, now)) {
	case MAC_KNOWN:
		must(was && !moves);
		break;
	case MAC_NEW:
		must(!was);
		must(!m->limit[port] || has < m->limit[port]);
		break;
	case MAC_MOVED:
		must(moves);
		must(!m->limit[port] || has < m->limit[port]);
		break;
	case MAC_LIMIT:
		must(!was || moves);
		must(m->limit[port] &&
		     mactable_count(t, port) >= m->limit[port]);
		return;
	case MAC_FULL:
		must(!was);
		return;
	}
	m->m[i].known = true;
	m->m[i].port = port;
	m->m[i].seen = now;
}

/* All that is known to one is known to the other. */
static void compare(const struct mactable *t, const struct naive *m,
		    uint32_t now)
{
	unsigned int sum = 0;

	for (unsigned int i = 0; i < MACS; i++)
		must(mactable_find(t, addr(t, i), now) ==
		     (fresh(m, i, now) ? (int)m->m[i].port : -ENOENT));
	for (unsigned int p = 0; p < PORTS; p++) {
		must(mactable_count(t, p) >= fresh_of(m, p, now));
		sum += mactable_count(t, p);
	}
	must(sum == mactable_total(t));
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
		forget(t, m, port);
		break;
	case 1:
		m->limit[port] = i;
		mactable_set_limit(t, port, i);
		break;
	case 2:
		*now += i;
		break;
	case 3:
		age_all(t, m, *now);
		break;
	case 4:
	case 5:
		must(mactable_seen(t, addr(t, i), port, *now) ==
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
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	uint64_t seed[2] = { in_u16(&in), 1 };
	unsigned int macs = 1 + in_below(&in, MACS);
	struct naive m = { .age = 1 + in_below(&in, 200) };
	uint32_t now = UINT32_MAX - in_u8(&in);
	struct mactable *t;

	must(mactable_new(macs, m.age, seed, &t) == 0);
	while (!in_empty(&in)) {
		step(&in, t, &m, &now);
		must(mactable_total(t) <= macs);
		compare(t, &m, now);
	}
	mactable_free(t);
	return 0;
}
