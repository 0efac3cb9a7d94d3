/* SPDX-License-Identifier: BSD-3-Clause */
/* The outputs of a run: table, TAP, JSON, SVG. */
#ifndef REPORT_H
#define REPORT_H

#include "engine.h"
#include "machine.h"

/**
 * struct report - a run
 * @base:  name of the other commit; NULL: none
 * @load_before, @load_after: load average of a minute
 * @steal_percent: over the run
 * @seconds: of the run
 * @result: @results of them, in order
 */
struct report {
	struct machine machine;
	const char *base;
	double line_ns, load_before, load_after, steal_percent, seconds;
	struct result **result;
	unsigned int results;
};

/** report_header(), report_row(), report_end() - the table on stdout */
void report_header(const struct report *r);
void report_row(const struct result *r);
void report_end(const struct report *r);

/** report_list() - scenarios with what they measure */
void report_list(const struct scenario *s);

/** report_tap() - line @n of TAP */
void report_tap(const struct result *r, unsigned int n);

/** report_json() - 0 or -errno */
int report_json(const struct report *r, const char *path);

/** report_svg() - 0 or -errno */
int report_svg(const struct report *r, const char *path);

/** report_value() - "12.34 M/s", "812 ns" into @size bytes; what a median of
 * @measure is */
void report_value(char *to, size_t size, enum bench_measure measure, double v);

#endif
