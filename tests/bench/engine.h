/* SPDX-License-Identifier: BSD-3-Clause */
/* The measurement of one scenario. */
#ifndef ENGINE_H
#define ENGINE_H

#include "bench.h"
#include "side.h"
#include "stats.h"

/** ENGINE_PAIRS - most pairs of slices */
#define ENGINE_PAIRS 4000
/** ENGINE_LEAST_PAIRS, ENGINE_WITHIN - when a scenario is settled */
#define ENGINE_LEAST_PAIRS 8
#define ENGINE_WITHIN 0.03

/**
 * struct engine - how to run; constant during a scenario
 * @agent, @uvhostd, @host: programs of this tree; absolute paths. @host: the
 *            CUSE host
 * @dir:      for files of the sides
 * @slice_ns: length of a slice
 * @warm_ns:  length of the slice before each that does not count
 * @limit_ns: most time for the pairs of a scenario, in all rounds
 * @share_ns: most time for it in this round. With both, a set-up that has begun
 *            gets its 0.7 s
 * @line_ns:  usual distance of the two processors (line_usual_ns()); 0: does
 * not matter
 * @least_setups: fewest set-ups for a scenario that is settled
 * @slices_percent: sides are set up anew when slices have taken so much of the
 *            time that setting up takes
 * @once:     one pair is enough (smoke run)
 * @base:     name of the other commit; NULL: scenarios have their peers
 * @base_agent, @base_uvhostd: its programs
 */
struct engine {
	const char *agent, *uvhostd, *host, *dir;
	uint64_t slice_ns, warm_ns, limit_ns, share_ns;
	double line_ns;
	unsigned int least_setups, slices_percent;
	bool once;
	const char *base, *base_agent, *base_uvhostd;
};

enum engine_state {
	ENGINE_MEASURED,
	ENGINE_LACKS, /* BENCH_LACKS */
	ENGINE_FAILED,
};

/**
 * struct contestant - what is known of one side
 * @value: of the scenario's measure: operations a second, or ns an operation
 * @bytes: payload a second; n is 0: not a matter of bytes
 * @cpu:   ns of processor time an operation; n is 0: unknown
 */
struct contestant {
	struct stats value, bytes, cpu;
	struct note note[SIDE_NOTES];
	unsigned int notes;
};

/**
 * struct result - of all rounds so far; starts as zeros
 * @peer:    name of the other side; NULL: none
 * @c:       by enum bench_side; with a base, BENCH_PEER is the base
 * @ratio:   n is 0: no other side
 * @pairs:   pairs of slices that count, or slices if there is no other side
 * @left_out: pairs that do not count, because the processors were further from
 *           each other, or nearer, than usual
 * @far:     so were most; all pairs count, and the scenario is not settled
 * @setups:  how often the sides were set up
 * @line_ns: median over the pairs of line_ns(); 0: unknown
 * @ratios:  of each pair that counts, in order of time
 * @settled: the ratio is known well enough; never so without a peer
 * @steal_percent: of the machine's processor time meanwhile
 * @seconds: set-up and end included
 * @measured_ns: time of the pairs
 * @reason:  why it was not measured or is not settled; else ""
 * @series:  the engine's
 */
struct result {
	const struct scenario *scenario;
	enum engine_state state;
	const char *peer;
	struct contestant c[2];
	struct stats ratio;
	unsigned int pairs, left_out, setups;
	double line_ns, ratios[ENGINE_PAIRS];
	bool far, settled;
	double steal_percent, seconds;
	uint64_t measured_ns;
	char reason[AGENT_TEXT + 64];
	struct series *series;
};

/**
 * engine_run() - measure @s for one round
 *
 * Adds to what the rounds before have put into @r. Return: 0; -EINTR if
 * side_stopping was set; -ENOMEM.
 */
int engine_run(const struct engine *e, const struct scenario *s,
	       struct result *r);

/** engine_is_done() - will another round add nothing to @r? */
bool engine_is_done(const struct engine *e, const struct result *r);

/** engine_free() - free @r */
void engine_free(struct result *r);

#endif
