/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine.c measures one scenario: it sets both sides up, lets them take turns
 * and makes ratios of neighbouring slices.
 *
 * Slices are short, because the machine is not steady: another virtual machine
 * on the same core makes a processor 1.6 times slower or faster, for some ms to
 * some hundred ms. Both slices of a pair of 2 x 4 ms mostly meet the same
 * speed; of a pair of 2 x 25 ms they mostly do not. The median over many pairs
 * leaves out those in which the speed changed.
 *
 * A process may be fast or slow for as long as it lives, by the addresses and
 * pages that it happened to get. So sides are set up anew after SETUP_NS, or,
 * where setting up takes long (DPDK's), when slices have taken a certain part
 * of that time (@slices_percent).
 *
 * Sides run in the order ABBA ABBA ...: a trend of the machine's speed meets
 * both alike. Each slice has a short one before it that does not count: caches
 * are cold after a stop, and queues may have filled or drained.
 *
 * Before and after each pair, with both sides stopped, line_ns() measures how
 * far the two processors are from each other. A pair with another distance than
 * at the start of the run is left out; before one, the engine waits up to half
 * a second for the usual distance. Code that is linked into the agent runs on
 * one processor, and needs none of this. A pair during which the hypervisor
 * took a processor away (steal time in /proc/stat) is left out too.
 */
#include "engine.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"
#include "line.h"
#include "machine.h"

/* So long, and so many slices, without any operation are a fault. */
#define STARVED_NS (UINT64_C(10) * 1000 * 1000 * 1000)
#define STARVED_TRIES 5
#define SETUP_NS (UINT64_C(350) * 1000 * 1000)
#define VALUE_NS (UINT64_C(2) * 1000 * 1000 * 1000) /* without a peer */
#define LINE_TIMES                                                  \
	1.7 /* distances up to that many times the usual one, or as \
	     * many times less, count as usual */
#define STEAL_PERCENT 2
#define LINE_TRIES 25
#define LINE_WAIT_US 20000

/**
 * struct series - pairs of slices, in order of time
 * @setup: number of the set-up that the pair is of
 * @usual_line: engine's @line_ns; 0: only one processor is used, it does not
 *         matter
 * @line:  line_ns() before and after the pair
 * @steal: of the pair's time, %
 */
struct series {
	double value[2][ENGINE_PAIRS];
	double bytes[2][ENGINE_PAIRS], cpu[2][ENGINE_PAIRS];
	unsigned int setup[ENGINE_PAIRS];
	double usual_line, line[2][ENGINE_PAIRS];
	double steal[ENGINE_PAIRS];
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
	uint64_t until = now_ns() + STARVED_NS;

	/* On a machine that is busy with other things whole slices may pass
	 * without any operation, or between two ticks of the accounting. */
	*out = (struct bench_sample){ 0 };
	while (ret == 0 && !is_usable(out, m) &&
	       (tries++ < STARVED_TRIES || now_ns() < until))
		ret = side_slice(s, e->slice_ns, out);
	if (ret < 0 || is_usable(out, m))
		return ret;
	snprintf(s->why, sizeof(s->why), "%s in %u slices of %u ms",
		 out->ops ? "no time was seen" : "nothing was done", tries - 1,
		 (unsigned int)(e->slice_ns / 1000000));
	return -ENODATA;
}

static void record(struct series *t, unsigned int k, enum bench_measure m,
		   const struct bench_sample *s)
{
	t->value[k][t->n] = value_of(m, s);
	t->bytes[k][t->n] = (double)s->bytes * 1e9 / (double)s->ns;
	t->cpu[k][t->n] = (double)s->cpu_ns / (double)s->ops;
}

/* ---- how far the processors are from each other ---- */

static bool is_usual(double usual, double line)
{
	return !(usual > 0) ||
	       (line < usual * LINE_TIMES && line > usual / LINE_TIMES);
}

static double distance(const struct series *t, struct side *side,
		       unsigned int sides)
{
	if (!(t->usual_line > 0))
		return 0;
	for (unsigned int k = 0; k < sides; k++)
		if (side[k].running)
			side_pause(&side[k]);
	return line_ns();
}

/* Before the next pair: that after the one before, with the same sides; if it
 * is not the usual one, waits a little for that */
static double distance_before(const struct series *t, struct side *side,
			      unsigned int sides)
{
	bool known = t->n > 0 && t->setup[t->n - 1] == t->setup[t->n];
	double line = known ? t->line[1][t->n - 1] : distance(t, side, sides);

	for (unsigned int i = 0;
	     i < LINE_TRIES && !is_usual(t->usual_line, line); i++) {
		usleep(LINE_WAIT_US);
		line = line_ns();
	}
	return line;
}

/* ---- pairs ---- */

/* The next slice of each side. -errno; *@failed is then the side's number. */
static int pair(const struct engine *e, struct side *side, unsigned int sides,
		struct series *t, unsigned int *failed)
{
	enum bench_measure m = side[0].config.scenario->measure;
	struct machine_ticks before, after;

	t->line[0][t->n] = distance_before(t, side, sides);
	machine_ticks(&before);
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
	machine_ticks(&after);
	t->steal[t->n] = machine_steal_percent(&before, &after);
	t->line[1][t->n] = distance(t, side, sides);
	t->n++;
	return 0;
}

/* ---- results ---- */

static void copy_pair(struct series *to, const struct series *t, unsigned int i)
{
	for (unsigned int k = 0; k < 2; k++) {
		to->value[k][to->n] = t->value[k][i];
		to->bytes[k][to->n] = t->bytes[k][i];
		to->cpu[k][to->n] = t->cpu[k][i];
	}
	to->setup[to->n++] = t->setup[i];
}

static bool counts(const struct engine *e, const struct series *t,
		   unsigned int i)
{
	return is_usual(t->usual_line, t->line[0][i]) &&
	       is_usual(t->usual_line, t->line[1][i]) &&
	       (!(e->line_ns > 0) || t->steal[i] <= STEAL_PERCENT);
}

/* The pairs that count: all of them, if too few were undisturbed */
static const struct series *choose(const struct engine *e,
				   const struct series *t, struct result *r)
{
	static double line[2 * ENGINE_PAIRS];
	static struct series chosen;
	unsigned int lines = 0;

	chosen.n = 0;
	for (unsigned int i = 0; i < t->n; i++) {
		line[lines++] = t->line[0][i];
		line[lines++] = t->line[1][i];
		if (counts(e, t, i))
			copy_pair(&chosen, t, i);
	}
	r->line_ns = stats_of(line, lines).median;
	r->pairs = chosen.n;
	r->left_out = t->n - chosen.n;
	r->far = false;
	if (chosen.n >= STATS_LEAST || !r->left_out)
		return &chosen;
	r->pairs = t->n;
	r->left_out = 0;
	r->far = true;
	return t;
}

static struct stats sum_up(const struct series *t, const double *v,
			   unsigned int *setups)
{
	static double space[2 * ENGINE_PAIRS];
	struct stats s;

	memcpy(space, v, t->n * sizeof(*v)); /* stats_of() sorts */
	s = stats_of(space, t->n);
	*setups = stats_widen(&s, v, t->setup, t->n, space);
	return s;
}

static bool all_known(const double *v, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (!(v[i] > 0))
			return false;
	return n > 0;
}

static void calculate(const struct engine *e, const struct series *all,
		      unsigned int sides, struct result *r)
{
	bool rate = r->scenario->measure == BENCH_RATE;
	const struct series *t = choose(e, all, r);
	unsigned int setups = 0;

	for (unsigned int k = 0; k < sides; k++)
		r->c[k].value = sum_up(t, t->value[k], &setups);
	for (unsigned int i = 0; sides > 1 && i < t->n; i++)
		r->ratios[i] = t->value[!rate][i] / t->value[rate][i];
	if (sides > 1)
		r->ratio = sum_up(t, r->ratios, &setups);
	r->settled =
		sides > 1 && !r->far && setups >= e->least_setups &&
		stats_settled(&r->ratio, ENGINE_LEAST_PAIRS, ENGINE_WITHIN);
}

static void calculate_rest(const struct engine *e, const struct series *all,
			   const struct side *side, unsigned int sides,
			   struct result *r)
{
	const struct series *t = choose(e, all, r);
	unsigned int setups;

	for (unsigned int k = 0; k < sides; k++) {
		struct contestant *c = &r->c[k];

		if (all_known(t->bytes[k], t->n))
			c->bytes = sum_up(t, t->bytes[k], &setups);
		if (all_known(t->cpu[k], t->n))
			c->cpu = sum_up(t, t->cpu[k], &setups);
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

/* The reason; @r->seconds is known. */
static void say_not_settled(const struct engine *e, struct result *r)
{
	const struct stats *s = &r->ratio;

	r->reason[0] = '\0';
	if (r->settled || e->once || !s->n)
		return;
	if (r->far) {
		snprintf(r->reason, sizeof(r->reason),
			 "not settled: too few pairs were undisturbed: stolen "
			 "%.1f %%, a cache line took %.0f ns from processor to "
			 "processor and back, at the start of the run %.0f",
			 r->steal_percent, r->line_ns, e->line_ns);
		return;
	}
	snprintf(r->reason, sizeof(r->reason),
		 "not settled: 95 %% interval %+.1f ... %+.1f %% after %.0f s, "
		 "%u set-ups",
		 100 * (s->low / s->median - 1),
		 100 * (s->high / s->median - 1), r->seconds, r->setups);
}

/**
 * struct run - of one scenario, in one round
 * @t:        of all rounds
 * @begin:    of the round, ns
 * @setup_ns: what the last set-up took
 */
struct run {
	const struct engine *e;
	struct side side[2];
	unsigned int sides;
	struct series *t;
	uint64_t begin, setup_ns;
	struct result *r;
};

static bool over(const struct run *m)
{
	uint64_t limit =
		m->sides > 1 ? m->e->limit_ns : MIN(m->e->limit_ns, VALUE_NS);

	return m->e->once || m->t->n == ENGINE_PAIRS || side_stopping ||
	       m->r->measured_ns >= limit ||
	       now_ns() - m->begin >= m->e->share_ns;
}

/* Is it time to set up anew, or over? @spent: ns since the first pair of these
 * sides; @pairs: so many have been measured */
static bool enough(const struct run *m, uint64_t spent, unsigned int pairs)
{
	if (m->e->once || m->t->n == ENGINE_PAIRS || side_stopping)
		return true;
	if (pairs < ENGINE_LEAST_PAIRS || spent < SETUP_NS)
		return false;
	return m->r->settled || over(m) ||
	       spent >= m->setup_ns / 100 * m->e->slices_percent;
}

/* Pairs of one set-up */
static int measure(struct run *m)
{
	uint64_t start = now_ns(), before = m->r->measured_ns, spent;
	unsigned int failed = 0, pairs = 0;
	int ret;

	do {
		m->t->setup[m->t->n] = m->r->setups;
		ret = pair(m->e, m->side, m->sides, m->t, &failed);
		if (ret < 0) {
			not_measured(m->r, failed, m->side[failed].why, ret);
			return ret;
		}
		if (++pairs % ENGINE_LEAST_PAIRS == 0)
			calculate(m->e, m->t, m->sides, m->r);
		spent = now_ns() - start;
		m->r->measured_ns = before + spent;
	} while (!enough(m, spent, pairs));
	calculate(m->e, m->t, m->sides, m->r);
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
	calculate_rest(m->e, m->t, m->side, m->sides, m->r);
	for (unsigned int k = 0; k < m->sides; k++)
		if (m->side[k].path[0])
			side_end(&m->side[k]);
	side_end_orphans();
	return ret;
}

/* Of all rounds so far */
static void account(const struct run *m, const struct machine_ticks *before,
		    const struct machine_ticks *after)
{
	double now = (double)(now_ns() - m->begin) / 1e9;
	double all = m->r->seconds + now;

	m->r->steal_percent = (m->r->steal_percent * m->r->seconds +
			       machine_steal_percent(before, after) * now) /
			      all;
	m->r->seconds = all;
}

int engine_run(const struct engine *e, const struct scenario *s,
	       struct result *r)
{
	struct run m = { .e = e, .r = r, .t = r->series, .begin = now_ns() };
	struct machine_ticks before, after;

	if (!m.t)
		m.t = r->series = calloc(1, sizeof(*r->series));
	if (!m.t)
		return -ENOMEM;
	r->scenario = s;
	r->peer = peer_name(e, s);
	m.t->usual_line = s->linked ? 0 : e->line_ns;
	m.sides = r->peer ? 2 : 1;
	machine_ticks(&before);
	while (set_up_and_measure(&m, s) == 0 && !r->settled && !over(&m))
		;
	machine_ticks(&after);
	account(&m, &before, &after);
	if (r->state == ENGINE_MEASURED)
		say_not_settled(e, r);
	return side_stopping ? -EINTR : 0;
}

bool engine_is_done(const struct engine *e, const struct result *r)
{
	return r->settled || r->state != ENGINE_MEASURED ||
	       (r->setups && (!r->peer || e->once)) ||
	       r->pairs + r->left_out == ENGINE_PAIRS ||
	       r->measured_ns >= e->limit_ns;
}

void engine_free(struct result *r)
{
	free(r->series);
	free(r);
}
