/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * report.c writes the table and bench.json.
 *
 * Fields of the JSON keep their names and units; new ones may come. A median
 * has its unit in its name: ours_median_ops_per_s for BENCH_RATE,
 * ours_median_ns_per_op for BENCH_TIME, ours_median_cpu_ns_per_op for
 * BENCH_CPU, and the same with "peer". What is not known is null or missing.
 */
#include "report.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define NAME_WIDTH 34

static const char *const measure_name[] = {
	[BENCH_RATE] = "rate",
	[BENCH_TIME] = "time",
	[BENCH_CPU] = "cpu",
};

static const char *const unit[] = {
	[BENCH_RATE] = "ops_per_s",
	[BENCH_TIME] = "ns_per_op",
	[BENCH_CPU] = "cpu_ns_per_op",
};

/* ---- table ---- */

void report_value(char *to, size_t size, enum bench_measure measure, double v)
{
	static const struct {
		double least;
		const char *rate, *time;
	} step[] = {
		{ 1e9, "G/s", "s" },
		{ 1e6, "M/s", "ms" },
		{ 1e3, "k/s", "us" },
		{ 0, "/s", "ns" },
	};
	unsigned int i = 0;

	while (v < step[i].least)
		i++;
	if (step[i].least > 0)
		v /= step[i].least;
	snprintf(to, size, "%.*f %s%s",
		 v < 10    ? 2
		 : v < 100 ? 1
			   : 0,
		 v, measure == BENCH_RATE ? step[i].rate : step[i].time,
		 measure == BENCH_CPU ? " cpu" : "");
}

static void print_notes(const struct result *r)
{
	static const char *const whose[] = { "", "peer's " };

	for (unsigned int k = 0; k < 2; k++)
		for (unsigned int i = 0; i < r->c[k].notes; i++)
			printf("  %s%s=%.6g", whose[k], r->c[k].note[i].key,
			       r->c[k].note[i].value);
}

/* Of a rate with bytes; 0: unknown */
static double cpu_per_byte(const struct contestant *c)
{
	if (!c->cpu.n || !c->bytes.n)
		return 0;
	return c->cpu.median * c->value.median / c->bytes.median;
}

/* Beside a rate or a time: processor time of the two sides, for an operation
 * and for a byte of it */
static void print_cpu(const struct result *r)
{
	const struct contestant *c = r->c;
	char ours[32], peer[32];

	if (r->scenario->measure == BENCH_CPU || !c[0].cpu.n || !c[1].cpu.n)
		return;
	report_value(ours, sizeof(ours), BENCH_TIME, c[0].cpu.median);
	report_value(peer, sizeof(peer), BENCH_TIME, c[1].cpu.median);
	printf("  cpu %s / %s", ours, peer);
	if (cpu_per_byte(&c[0]) > 0 && cpu_per_byte(&c[1]) > 0)
		printf(" (byte %.3g / %.3g ns)", cpu_per_byte(&c[0]),
		       cpu_per_byte(&c[1]));
}

void report_header(const struct report *r)
{
	const struct machine *m = &r->machine;

	printf("%s, commit %s%s%s\n", m->date, m->commit,
	       r->base ? ", against " : "", r->base ? r->base : "");
	printf("%s; %ld x %s; Linux %s; load %.2f\n", m->name, m->processors,
	       m->cpu_model, m->kernel, r->load_before);
	printf("%s; DPDK %s; QEMU %s; libfuse %s; libpcap %s\n", m->compiler,
	       m->dpdk, m->qemu, m->libfuse, m->libpcap);
	if (r->line_ns > 0)
		printf("a cache line from processor to processor and back: "
		       "%.0f ns\n",
		       r->line_ns);
	printf("\n");
	printf("%-*s %12s %12s  %-22s %6s  %-15s %5s %4s\n", NAME_WIDTH,
	       "scenario", "uvhost", "peer", "peer or limit", "ratio",
	       "95 % interval", "pairs", "line");
	fflush(stdout);
}

static void print_ratio(const struct result *r)
{
	if (r->ratio.n)
		printf(" %6.3f  %.3f ... %.3f", r->ratio.median, r->ratio.low,
		       r->ratio.high);
	else
		printf(" %6s  %-15s", "-", "");
	printf(" %5u", r->pairs);
	if (r->line_ns > 0)
		printf(" %4.0f", r->line_ns);
	else
		printf(" %4s", "-");
}

void report_row(const struct result *r)
{
	enum bench_measure m = r->scenario->measure;
	char ours[32], peer[32] = "-";

	printf("%-*s ", NAME_WIDTH, r->scenario->name);
	if (r->state != ENGINE_MEASURED) {
		printf("not measured: %s\n", r->reason);
		fflush(stdout);
		return;
	}
	report_value(ours, sizeof(ours), m, r->c[0].value.median);
	if (r->ratio.n)
		report_value(peer, sizeof(peer), m, r->c[1].value.median);
	printf("%12s %12s  %-22s", ours, peer, r->peer ? r->peer : "");
	print_ratio(r);
	print_cpu(r);
	print_notes(r);
	printf("%s%s\n", r->reason[0] ? "  " : "", r->reason);
	fflush(stdout);
}

void report_end(const struct report *r)
{
	unsigned int settled = 0, open = 0, values = 0;

	for (unsigned int i = 0; i < r->results; i++) {
		const struct result *one = r->result[i];
		bool measured = one->state == ENGINE_MEASURED;

		settled += one->settled;
		values += measured && !one->peer;
		open += measured && one->peer && !one->settled;
	}
	printf("\n%u scenarios: %u settled, %u not settled, %u without a peer, "
	       "%u not measured; %.0f s; load %.2f; stolen %.1f %%\n",
	       r->results, settled, open, values,
	       r->results - settled - open - values, r->seconds, r->load_after,
	       r->steal_percent);
}

void report_list(const struct scenario *s)
{
	printf("%-*s %s; %s per %s, beside %s\n", NAME_WIDTH, s->name, s->what,
	       measure_name[s->measure], s->op, s->peer ? s->peer : "nothing");
}

void report_tap(const struct result *r, unsigned int n)
{
	const char *name = r->scenario->name;

	if (r->state == ENGINE_MEASURED)
		printf("ok %u - %s\n", n, name);
	else if (r->state == ENGINE_LACKS)
		printf("ok %u - %s # SKIP %s\n", n, name, r->reason);
	else
		printf("not ok %u - %s\n# %s\n", n, name, r->reason);
	fflush(stdout);
}

/* ---- JSON ---- */

static void put_real(json_t *o, const char *key, double v)
{
	json_object_set_new(o, key, json_real(v));
}

static void put_text(json_t *o, const char *key, const char *v)
{
	json_object_set_new(o, key, v ? json_string(v) : json_null());
}

static void put_median(json_t *o, const char *who, const char *what,
		       const struct stats *s)
{
	char key[64];

	if (!s->n)
		return;
	snprintf(key, sizeof(key), "%s_median_%s", who, what);
	put_real(o, key, s->median);
}

static void put_contestant(json_t *o, const char *who, enum bench_measure m,
			   const struct contestant *c)
{
	put_median(o, who, unit[m], &c->value);
	put_median(o, who, "bytes_per_s", &c->bytes);
	if (m != BENCH_CPU)
		put_median(o, who, unit[BENCH_CPU], &c->cpu);
	if (m == BENCH_RATE && cpu_per_byte(c) > 0) {
		char key[64];

		snprintf(key, sizeof(key), "%s_median_cpu_ns_per_byte", who);
		put_real(o, key, cpu_per_byte(c));
	}
}

static json_t *notes_of(const struct contestant *c)
{
	json_t *o = json_object();

	for (unsigned int i = 0; i < c->notes; i++)
		put_real(o, c->note[i].key, c->note[i].value);
	return o;
}

static void put_ratio(json_t *o, const struct result *r)
{
	json_t *list = json_array();

	put_real(o, "ratio_median", r->ratio.median);
	put_real(o, "ratio_low_95", r->ratio.low);
	put_real(o, "ratio_high_95", r->ratio.high);
	for (unsigned int i = 0; i < r->pairs; i++)
		json_array_append_new(list, json_real(r->ratios[i]));
	json_object_set_new(o, "ratio_of_each_pair", list);
}

static json_t *scenario_json(const struct result *r)
{
	const struct scenario *s = r->scenario;
	json_t *o = json_object(), *notes = json_object();

	put_text(o, "name", s->name);
	put_text(o, "what", s->what);
	put_text(o, "op", s->op);
	put_text(o, "measure", measure_name[s->measure]);
	put_text(o, "peer", r->peer);
	json_object_set_new(o, "measured",
			    json_boolean(r->state == ENGINE_MEASURED));
	put_contestant(o, "ours", s->measure, &r->c[0]);
	put_contestant(o, "peer", s->measure, &r->c[1]);
	if (r->ratio.n)
		put_ratio(o, r);
	json_object_set_new(o, "pairs", json_integer(r->pairs));
	json_object_set_new(o, "pairs_left_out", json_integer(r->left_out));
	json_object_set_new(o, "setups", json_integer(r->setups));
	put_real(o, "cache_line_round_trip_ns", r->line_ns);
	json_object_set_new(o, "settled", json_boolean(r->settled));
	put_text(o, "reason", r->reason[0] ? r->reason : NULL);
	put_real(o, "steal_percent", r->steal_percent);
	put_real(o, "duration_s", r->seconds);
	json_object_set_new(notes, "ours", notes_of(&r->c[0]));
	json_object_set_new(notes, "peer", notes_of(&r->c[1]));
	json_object_set_new(o, "notes", notes);
	return o;
}

static json_t *versions_json(const struct machine *m)
{
	json_t *o = json_object();

	put_text(o, "dpdk", m->dpdk);
	put_text(o, "qemu", m->qemu);
	put_text(o, "libfuse", m->libfuse);
	put_text(o, "libpcap", m->libpcap);
	put_text(o, "compiler", m->compiler);
	return o;
}

int report_json(const struct report *r, const char *path)
{
	json_t *o = json_object(), *list = json_array();
	const struct machine *m = &r->machine;
	int ret;

	put_text(o, "suite", "uvbench");
	put_text(o, "date", m->date);
	put_text(o, "commit", m->commit);
	put_text(o, "base", r->base);
	put_text(o, "machine", m->name);
	put_text(o, "kernel", m->kernel);
	put_text(o, "cpu_model", m->cpu_model);
	json_object_set_new(o, "processors", json_integer(m->processors));
	json_object_set_new(o, "versions", versions_json(m));
	put_real(o, "load_1min", r->load_before);
	put_real(o, "load_1min_after", r->load_after);
	put_real(o, "cache_line_round_trip_ns", r->line_ns);
	put_real(o, "steal_percent", r->steal_percent);
	put_real(o, "duration_s", r->seconds);
	for (unsigned int i = 0; i < r->results; i++)
		json_array_append_new(list, scenario_json(r->result[i]));
	json_object_set_new(o, "scenarios", list);
	errno = EIO;
	ret = json_dump_file(o, path, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) <
			      0
		      ? -errno
		      : 0;
	json_decref(o);
	return ret;
}
