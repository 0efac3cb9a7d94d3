/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine.c measures one scenario: it sets both sides up, lets them take turns
 * and makes ratios of neighbouring slices.
 *
 * A process may be fast or slow for as long as it lives, by the addresses and
 * pages that it happened to get. So sides are set up anew every now and then:
 * after SETUP_PAIRS pairs, unless setting up takes more than a fifth of the
 * time (DPDK's).
 *
 * Sides run in the order ABBA ABBA ...: a trend of the machine's speed meets
 * both alike. The side that runs twice in a row is not stopped in between. Each
 * slice has a short one before it that does not count: caches are cold after a
 * stop, and queues may have filled or drained.
 */
#include "engine.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "machine.h"

#define STARVED_TRIES 5
#define SETUP_PAIRS 4
#define SETUP_SHARE 4 /* slices take so many times as long as setting up */

/* What has been measured so far, in order of time */
struct series {
	double value[2][ENGINE_PAIRS];
	double bytes[2][ENGINE_PAIRS], cpu[2][ENGINE_PAIRS];
	unsigned int n;
};

/* ---- sides ---- */

static const char *peer_name(const struct engine *e, const struct scenario *s)
{
	return e->base ? e->base : s->peer;
}

static void configure(const struct engine *e, const struct scenario *s,
		      unsigned int k, struct side_config *c)
{
	bool base = k == 1 && e->base;

	*c = (struct side_config){
		.scenario = s,
		.role = k == 1 && !base ? BENCH_PEER : BENCH_OURS,
		.agent = base && s->linked ? e->base_agent : e->agent,
		.uvhostd = base ? e->base_uvhostd : e->uvhostd,
	};
	c->device = c->role == BENCH_PEER ? s->peer_device : s->device;
	/* Two daemons cannot make the same /dev/NAME. */
	if (access("/dev/cuse", F_OK) < 0 || e->base ||
	    (s->device && s->peer_device))
		c->host = e->host;
}

static int start_sides(const struct engine *e, const struct scenario *s,
		       struct side *side, unsigned int sides)
{
	char dir[PATH_MAX];
	int ret;

	for (unsigned int k = 0; k < sides; k++) {
		struct side_config c;

		configure(e, s, k, &c);
		snprintf(dir, sizeof(dir), "%s/%u", e->dir, k);
		c.dir = dir;
		ret = side_start(&side[k], &c);
		if (ret < 0)
			return ret;
		if (sides > 1)
			side_pause(&side[k]);
	}
	return 0;
}

/* ---- slices ---- */

static double value_of(enum bench_measure m, const struct bench_sample *s)
{
	switch (m) {
	case BENCH_RATE:
		return (double)s->ops * 1e9 / (double)s->ns;
	case BENCH_TIME:
		return (double)s->ns / (double)s->ops;
	case BENCH_CPU:
		break;
	}
	return (double)s->cpu_ns / (double)s->ops;
}

static bool is_usable(const struct bench_sample *s, enum bench_measure m)
{
	return s->ops && s->ns && (m != BENCH_CPU || s->cpu_ns);
}

static int slice(const struct engine *e, struct side *s,
		 struct bench_sample *out)
{
	enum bench_measure m = s->config.scenario->measure;
	unsigned int tries = 0;
	int ret = side_slice(s, e->warm_ns, out);

	/* On a machine that is busy with other things a whole slice may pass
	 * without any operation, or between two ticks of the accounting. */
	*out = (struct bench_sample){ 0 };
	while (ret == 0 && !is_usable(out, m) && tries++ < STARVED_TRIES)
		ret = side_slice(s, e->slice_ns, out);
	if (ret < 0 || is_usable(out, m))
		return ret;
	snprintf(s->why, sizeof(s->why), "%s in %d slices of %u ms",
		 out->ops ? "no time was seen" : "nothing was done",
		 STARVED_TRIES, (unsigned int)(e->slice_ns / 1000000));
	return -ENODATA;
}

static void record(struct series *t, unsigned int k, enum bench_measure m,
		   const struct bench_sample *s)
{
	t->value[k][t->n] = value_of(m, s);
	t->bytes[k][t->n] = (double)s->bytes * 1e9 / (double)s->ns;
	t->cpu[k][t->n] = (double)s->cpu_ns / (double)s->ops;
}

/* The next slice of each side. -errno; *@failed is then the side's number. */
static int pair(const struct engine *e, struct side *side, unsigned int sides,
		struct series *t, unsigned int *failed)
{
	enum bench_measure m = side[0].config.scenario->measure;

	for (unsigned int i = 0; i < sides; i++) {
		unsigned int k = sides > 1 ? (t->n + i) % 2 : 0;
		struct bench_sample sample = { 0 };
		int ret;

		if (sides > 1 && side[!k].running)
			side_pause(&side[!k]);
		if (!side[k].running)
			side_resume(&side[k]);
		ret = slice(e, &side[k], &sample);
		if (ret < 0) {
			*failed = k;
			return ret;
		}
		record(t, k, m, &sample);
	}
	t->n++;
	return 0;
}

/* ---- results ---- */

/* stats_of() sorts: of a copy */
static struct stats sum_up(const double *v, unsigned int n)
{
	static double copy[ENGINE_PAIRS];

	memcpy(copy, v, n * sizeof(*v));
	return stats_of(copy, n);
}

static bool all_known(const double *v, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (!(v[i] > 0))
			return false;
	return n > 0;
}

static void calculate(const struct series *t, unsigned int sides,
		      struct result *r)
{
	const struct stats *decisive = sides > 1 ? &r->ratio : &r->c[0].value;
	bool rate = r->scenario->measure == BENCH_RATE;

	r->pairs = t->n;
	for (unsigned int k = 0; k < sides; k++)
		r->c[k].value = sum_up(t->value[k], t->n);
	for (unsigned int i = 0; sides > 1 && i < t->n; i++)
		r->ratios[i] = t->value[!rate][i] / t->value[rate][i];
	if (sides > 1)
		r->ratio = sum_up(r->ratios, t->n);
	r->settled = stats_settled(decisive, ENGINE_LEAST_PAIRS, ENGINE_WITHIN);
}

static void calculate_rest(const struct series *t, const struct side *side,
			   unsigned int sides, struct result *r)
{
	for (unsigned int k = 0; k < sides; k++) {
		struct contestant *c = &r->c[k];

		if (all_known(t->bytes[k], t->n))
			c->bytes = sum_up(t->bytes[k], t->n);
		if (all_known(t->cpu[k], t->n))
			c->cpu = sum_up(t->cpu[k], t->n);
		memcpy(c->note, side[k].note, sizeof(c->note));
		c->notes = side[k].notes;
	}
}

static void not_measured(struct result *r, unsigned int k, const char *why,
			 int err)
{
	r->state = err == BENCH_LACKS ? ENGINE_LACKS : ENGINE_FAILED;
	snprintf(r->reason, sizeof(r->reason), "%s: %s", k ? r->peer : "uvhost",
		 why);
}

static void say_not_settled(const struct engine *e, struct result *r)
{
	const struct stats *s = r->ratio.n ? &r->ratio : &r->c[0].value;

	if (r->settled || e->once)
		return;
	snprintf(r->reason, sizeof(r->reason),
		 "not settled: 95 %% interval %+.1f ... %+.1f %% after %.0f s",
		 100 * (s->low / s->median - 1),
		 100 * (s->high / s->median - 1), (double)e->limit_ns / 1e9);
}

/**
 * struct run - of one scenario
 * @start:    of the first pair, ns; 0: not yet
 * @setup_ns: what the last set-up took
 */
struct run {
	const struct engine *e;
	struct side side[2];
	unsigned int sides;
	struct series t;
	uint64_t start, setup_ns;
	struct result *r;
};

static bool over(const struct run *m)
{
	return m->e->once || m->r->settled || m->t.n == ENGINE_PAIRS ||
	       side_stopping || now_ns() - m->start >= m->e->limit_ns;
}

/* Pairs until it is over, or until it is time to set up anew */
static int measure(struct run *m)
{
	unsigned int failed = 0, pairs = 0;
	uint64_t start = now_ns();
	int ret;

	if (!m->start)
		m->start = start;
	do {
		ret = pair(m->e, m->side, m->sides, &m->t, &failed);
		if (ret < 0) {
			not_measured(m->r, failed, m->side[failed].why, ret);
			return ret;
		}
		calculate(&m->t, m->sides, m->r);
	} while (!over(m) && (++pairs < SETUP_PAIRS ||
			      now_ns() - start < SETUP_SHARE * m->setup_ns));
	return 0;
}

static int set_up_and_measure(struct run *m, const struct scenario *s)
{
	uint64_t start = now_ns();
	unsigned int failed;
	int ret;

	memset(m->side, 0, sizeof(m->side));
	ret = start_sides(m->e, s, m->side, m->sides);
	m->setup_ns = now_ns() - start;
	m->r->setups++;
	failed = m->side[1].path[0] != '\0';
	if (ret < 0)
		not_measured(m->r, failed, m->side[failed].why, ret);
	else
		ret = measure(m);
	calculate_rest(&m->t, m->side, m->sides, m->r);
	for (unsigned int k = 0; k < m->sides; k++)
		if (m->side[k].path[0])
			side_end(&m->side[k]);
	side_end_orphans();
	return ret;
}

int engine_run(const struct engine *e, const struct scenario *s,
	       struct result *r)
{
	static struct run m;
	struct machine_ticks before, after;
	uint64_t start = now_ns();

	memset(r, 0, sizeof(*r));
	r->scenario = s;
	r->peer = peer_name(e, s);
	m.e = e;
	m.r = r;
	m.sides = r->peer ? 2 : 1;
	m.t.n = 0;
	m.start = 0;
	machine_ticks(&before);
	while (set_up_and_measure(&m, s) == 0 && !over(&m))
		;
	if (r->state == ENGINE_MEASURED)
		say_not_settled(e, r);
	machine_ticks(&after);
	r->steal_percent = machine_steal_percent(&before, &after);
	r->seconds = (double)(now_ns() - start) / 1e9;
	return side_stopping ? -EINTR : 0;
}
