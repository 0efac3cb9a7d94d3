/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uvbench - named scenarios, each measured beside its peer or its limit
 *
 *     make bench [SCENARIO='ring guests/8*'] [LIST=1] [BASE=REV]
 *     uvbench [OPTIONS] [PATTERN...]
 *
 * A PATTERN is a scenario's name with wildcards (fnmatch(3); "*" matches "/"
 * too), or the words in front of a "/": "ring" is all of them.
 *
 * How a number comes about: both sides of a scenario are set up and stay alive.
 * They take turns in slices of --slice-ms; the side whose turn it is not is
 * stopped (SIGSTOP). A pair of neighbouring slices makes one ratio; the order
 * within pairs alternates. Sides are set up anew every 0.35 s. The result is
 * the median of the ratios. A scenario is settled, and ends, when the 95 %
 * interval of that median (stats.c) is within 3 % of it after 8 pairs and (not
 * in the suite vm) 6 set-ups or more: fewer have no 95 % interval. All
 * scenarios are measured in ROUNDS rounds, which share --total-s; a round goes
 * over those that are not settled, and gives each the same part of its time, so
 * a scenario's set-ups are spread over the whole run. After the last round, or
 * --limit-s for itself, a scenario ends as "not settled". One without a peer
 * has a value and no ratio: it is measured in the first round, for 2 s at most,
 * and is as good as the machine's speed was steady. Column "line": how many ns
 * a cache line takes from one processor to the other and back; pairs with
 * another such time than at the start of the run are left out, and so are those
 * during which the hypervisor took a processor away (engine.c).
 *
 * A ratio above 1 says that this tree is ahead. "Limit" is what the same bytes
 * cost with nothing around them; 1 is as good as it gets there.
 *
 * With --base both sides are this repository: the daemon of this tree and that
 * of another commit, both driven by this tree's agent; scenarios of code that
 * is linked into the agent have the agent of the other commit.
 *
 * --smoke runs one pair of short slices of each scenario and prints TAP: does
 * it still work? A scenario that lacks something here is skipped.
 */
#include <errno.h>
#include <fnmatch.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"
#include "line.h"
#include "report.h"

#define ROUNDS 6

static const struct scenario *const of_host[] = {
	scenarios_ring,
	scenarios_guests,
	scenarios_copy,
	scenarios_port,
	scenarios_table,
	scenarios_roundtrip,
	scenarios_control,
	scenarios_sessions,
	scenarios_offload,
	scenarios_switch,
	NULL,
};

static const struct scenario *const of_vm[] = {
	scenarios_vmcost,
	scenarios_vm,
	scenarios_vmguest,
	NULL,
};

/* What is measured together; the first is what a run has if none is named. In
 * the emulated machine setting up takes far longer than a slice, and a cache
 * line says nothing. */
static const struct suite {
	const char *name;
	const struct scenario *const *families;
	bool line;
	unsigned int least_setups, slices_percent; /* struct engine */
	unsigned int warm_ms;
	unsigned int slice_ms, limit_s, total_s; /* unless options say so */
} suites[] = {
	{ "host", of_host, true, STATS_LEAST, 40, 1, 4, 30, 600 },
	{ "vm", of_vm, false, 1, 400, 10, 100, 7, 0 },
};

struct options {
	const struct suite *suite;
	bool list, smoke;
	unsigned int slice_ms, limit_s, total_s;
	const char *base_dir, *base, *json, *svg;
	char **pattern;
	int patterns;
};

/* ---- which scenarios ---- */

static bool matches(const char *pattern, const char *name)
{
	size_t len = strlen(pattern);

	return fnmatch(pattern, name, 0) == 0 ||
	       (strncmp(name, pattern, len) == 0 && name[len] == '/');
}

static bool wanted(const struct options *o, const struct scenario *s)
{
	for (int i = 0; i < o->patterns; i++)
		if (matches(o->pattern[i], s->name))
			return true;
	return o->patterns == 0;
}

/* The next one that is wanted behind *@family and *@i; NULL: no more */
static const struct scenario *next(const struct options *o, size_t *family,
				   size_t *i)
{
	const struct scenario *const *families = o->suite->families;

	for (; families[*family]; (*family)++, *i = 0)
		while (families[*family][*i].name) {
			const struct scenario *s = &families[*family][(*i)++];

			if (wanted(o, s))
				return s;
		}
	return NULL;
}

static unsigned int count(const struct options *o)
{
	size_t family = 0, i = 0;
	unsigned int n = 0;

	while (next(o, &family, &i))
		n++;
	return n;
}

static const struct scenario *find(const char *name)
{
	const struct scenario *s;

	for (size_t k = 0; k < ARRAY_SIZE(suites); k++) {
		struct options all = { .suite = &suites[k] };
		size_t family = 0, i = 0;

		while ((s = next(&all, &family, &i)))
			if (strcmp(s->name, name) == 0)
				return s;
	}
	return NULL;
}

/* ---- paths ---- */

struct paths {
	char self[PATH_MAX], uvhostd[PATH_MAX], host[PATH_MAX];
	char base_agent[PATH_MAX], base_uvhostd[PATH_MAX];
	char dir[PATH_MAX];
};

/* This program is BUILD/tests/uvbench. */
static int find_paths(struct paths *p, const char *base_dir)
{
	const char *tmp = getenv("TMPDIR");
	ssize_t n = readlink("/proc/self/exe", p->self, sizeof(p->self) - 1);
	char tests[PATH_MAX];

	if (n < 0)
		return -errno;
	p->self[n] = '\0';
	snprintf(tests, sizeof(tests), "%.*s",
		 (int)(strrchr(p->self, '/') - p->self), p->self);
	snprintf(p->host, sizeof(p->host), "%.4000s/cusehost", tests);
	snprintf(p->uvhostd, sizeof(p->uvhostd), "%.*s/uvhostd",
		 (int)(strrchr(tests, '/') - tests), tests);
	if (base_dir) {
		snprintf(p->base_agent, sizeof(p->base_agent),
			 "%.4000s/tests/uvbench", base_dir);
		snprintf(p->base_uvhostd, sizeof(p->base_uvhostd),
			 "%.4000s/uvhostd", base_dir);
	}
	snprintf(p->dir, sizeof(p->dir), "%.4000s/uvbench-XXXXXX",
		 tmp ? tmp : "/tmp");
	return mkdtemp(p->dir) ? 0 : -errno;
}

/* ---- the base's agent ---- */

/* Does the agent of the base know @s, in a version that we understand? */
static bool base_knows(const char *agent, const struct scenario *s)
{
	char command[PATH_MAX + 200];

	snprintf(command, sizeof(command),
		 "test \"$('%s' --agent-version 2>/dev/null)\" = %d &&"
		 " '%s' --names '%s' >/dev/null 2>&1",
		 agent, AGENT_VERSION, agent, s->name);
	return system(command) == 0; /* NOLINT: paths of ours */
}

static bool base_lacks(const struct engine *e, const struct scenario *s,
		       struct result *r)
{
	if (!e->base || !s->linked || base_knows(e->base_agent, s))
		return false;
	*r = (struct result){ .scenario = s, .state = ENGINE_LACKS };
	r->peer = e->base;
	snprintf(r->reason, sizeof(r->reason), "%s has no such scenario",
		 e->base);
	return true;
}

/* ---- a run ---- */

static void on_signal(int sig)
{
	side_stopping = sig;
}

/* The engine gets orphans and goes on in spite of SIGPIPE. */
static void prepare(void)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction sa = { .sa_handler = on_signal };

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		sigaction(ends[i], &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

static void set_engine(const struct options *o, const struct paths *p,
		       struct engine *e)
{
	*e = (struct engine){
		.agent = p->self,
		.uvhostd = p->uvhostd,
		.host = p->host,
		.dir = p->dir,
		.slice_ns = (uint64_t)o->slice_ms * 1000000,
		.warm_ns = (uint64_t)o->suite->warm_ms * 1000000,
		.limit_ns = (uint64_t)o->limit_s * 1000000000,
		.least_setups = o->suite->least_setups,
		.slices_percent = o->suite->slices_percent,
		.once = o->smoke,
		.base = o->base,
		.base_agent = p->base_agent,
		.base_uvhostd = p->base_uvhostd,
	};
}

/* After each scenario: what was measured stays if the machine does not. */
static void write_files(const struct options *o, const struct report *r)
{
	int ret = o->json ? report_json(r, o->json) : 0;

	if (ret < 0)
		fprintf(stderr, "uvbench: %s: %s\n", o->json, strerror(-ret));
	ret = o->svg ? report_svg(r, o->svg) : 0;
	if (ret < 0)
		fprintf(stderr, "uvbench: %s: %s\n", o->svg, strerror(-ret));
}

/* ns for the next scenario of round @round; there are @left more of it */
static uint64_t share_of(const struct options *o, uint64_t start,
			 unsigned int round, unsigned int left)
{
	const uint64_t end =
		(uint64_t)o->total_s * 1000000000 / ROUNDS * (round + 1);
	uint64_t used = now_ns() - start;

	if (!o->total_s)
		return UINT64_MAX;
	return used < end ? (end - used) / MAX(left, 1) : 0;
}

static void say(const struct options *o, const struct result *r, unsigned int n)
{
	if (o->smoke)
		report_tap(r, n);
	else
		report_row(r);
}

static unsigned int count_open(const struct engine *e, const struct report *r)
{
	unsigned int open = 0;

	for (unsigned int i = 0; i < r->results; i++)
		open += !engine_is_done(e, r->result[i]);
	return open;
}

/* Return: false if it was interrupted */
static bool run_round(const struct options *o, struct engine *e,
		      struct report *report, uint64_t start, unsigned int round)
{
	unsigned int left = count_open(e, report);

	for (unsigned int i = 0; i < report->results; i++) {
		struct result *r = report->result[i];

		if (engine_is_done(e, r))
			continue;
		e->share_ns = share_of(o, start, round, left--);
		if (!base_lacks(e, r->scenario, r) &&
		    engine_run(e, r->scenario, r) < 0)
			return false;
		if (engine_is_done(e, r))
			say(o, r, i + 1);
		write_files(o, report);
	}
	return true;
}

/* What another round would have gone on with */
static void say_rest(const struct options *o, const struct engine *e,
		     struct report *report)
{
	for (unsigned int i = 0; i < report->results; i++) {
		struct result *r = report->result[i];

		if (engine_is_done(e, r))
			continue;
		if (!r->pairs) {
			r->state = ENGINE_FAILED;
			snprintf(r->reason, sizeof(r->reason), "interrupted");
		}
		say(o, r, i + 1);
	}
}

static void run_all(const struct options *o, struct engine *e,
		    struct report *report)
{
	size_t family = 0, i = 0;
	const struct scenario *s;
	uint64_t start = now_ns();

	while ((s = next(o, &family, &i))) {
		struct result *r = calloc(1, sizeof(*r));

		if (!r)
			return;
		r->scenario = s;
		report->result[report->results++] = r;
	}
	for (unsigned int round = 0; round < ROUNDS; round++)
		if (!run_round(o, e, report, start, round))
			break;
	say_rest(o, e, report);
}

static int status_of(const struct options *o, const struct report *r)
{
	if (side_stopping)
		return 128 + side_stopping;
	for (unsigned int i = 0; o->smoke && i < r->results; i++)
		if (r->result[i]->state == ENGINE_FAILED)
			return 1;
	return 0;
}

static int run(const struct options *o)
{
	char huge_pages[PATH_MAX + sizeof(AGENT_HUGE_PAGES)];
	struct report report = { .base = o->base };
	struct machine_ticks before, after;
	uint64_t start = now_ns();
	static struct paths p;
	struct engine e;
	int ret = find_paths(&p, o->base_dir);

	report.result = calloc(count(o) + 1, sizeof(struct result *));
	if (ret < 0 || !report.result) {
		fprintf(stderr, "uvbench: %s\n", strerror(ret ? -ret : ENOMEM));
		free(report.result);
		return 2;
	}
	prepare();
	set_engine(o, &p, &e);
	if (!o->smoke && o->suite->line)
		report.line_ns = e.line_ns = line_usual_ns();
	machine_read(&report.machine);
	machine_ticks(&before);
	report.load_before = machine_load_1min();
	if (o->smoke)
		printf("1..%u\n", count(o));
	else
		report_header(&report);
	run_all(o, &e, &report);
	snprintf(huge_pages, sizeof(huge_pages), "%s/" AGENT_HUGE_PAGES, p.dir);
	machine_take_huge_pages(huge_pages);
	rmdir(p.dir);
	machine_ticks(&after);
	report.steal_percent = machine_steal_percent(&before, &after);
	report.load_after = machine_load_1min();
	report.seconds = (double)(now_ns() - start) / 1e9;
	if (!o->smoke)
		report_end(&report);
	write_files(o, &report);
	ret = status_of(o, &report);
	while (report.results > 0)
		engine_free(report.result[--report.results]);
	free(report.result);
	return ret;
}

/* ---- options ---- */

static void usage(FILE *f)
{
	fputs("usage: uvbench [OPTIONS] [PATTERN...]\n"
	      "\n"
	      "  --suite NAME      host, or vm: beside the kernel's vhost-net "
	      "and\n"
	      "                    QEMU's virtio-net (make bench-vm)\n"
	      "  --list            name the scenarios and what they measure\n"
	      "  --smoke           one short pair of each, as TAP\n"
	      "  --slice-ms N      length of a slice, at most 250 (4; vm: "
	      "100)\n"
	      "  --limit-s N       longest time of a scenario's pairs (30; vm: "
	      "7)\n"
	      "  --total-s N       time for all, which scenarios share; 0: any "
	      "(600; vm: 0)\n"
	      "  --answer-s N      time in which a side has to be set up (20)\n"
	      "  --base DIR        compare with the build in DIR\n"
	      "  --base-name TEXT  what it is called\n"
	      "  --json FILE       write the numbers there\n"
	      "  --svg FILE        and a picture\n",
	      f);
}

static unsigned int number(const char *text, unsigned long least,
			   unsigned long most)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (*end || v < least || v > most) {
		fprintf(stderr, "uvbench: %s is not within %lu...%lu\n", text,
			least, most);
		exit(2);
	}
	return (unsigned int)v;
}

enum {
	SUITE = 256,
	LIST,
	SMOKE,
	SLICE,
	LIMIT,
	TOTAL,
	ANSWER,
	BASE_DIR,
	BASE_NAME,
	JSON,
	SVG,
	HELP,
	VERSION,
	NAMES
};

static const struct option long_options[] = {
	{ "suite", required_argument, NULL, SUITE },
	{ "list", no_argument, NULL, LIST },
	{ "smoke", no_argument, NULL, SMOKE },
	{ "slice-ms", required_argument, NULL, SLICE },
	{ "limit-s", required_argument, NULL, LIMIT },
	{ "total-s", required_argument, NULL, TOTAL },
	{ "answer-s", required_argument, NULL, ANSWER },
	{ "base", required_argument, NULL, BASE_DIR },
	{ "base-name", required_argument, NULL, BASE_NAME },
	{ "json", required_argument, NULL, JSON },
	{ "svg", required_argument, NULL, SVG },
	{ "help", no_argument, NULL, HELP },
	{ "agent-version", no_argument, NULL, VERSION }, /* for an engine */
	{ "names", required_argument, NULL, NAMES },     /* likewise */
	{ 0 },
};

static const struct suite *suite(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(suites); i++)
		if (strcmp(suites[i].name, name) == 0)
			return &suites[i];
	fprintf(stderr, "uvbench: no suite %s\n", name);
	exit(2);
}

static void set_suite(struct options *o, const struct suite *suite)
{
	o->suite = suite;
	o->slice_ms = suite->slice_ms;
	o->limit_s = suite->limit_s;
	o->total_s = suite->total_s;
}

static void set_option(struct options *o, int c)
{
	switch (c) {
	case SUITE:
		set_suite(o, suite(optarg));
		break;
	case LIST:
		o->list = true;
		break;
	case SMOKE:
		o->smoke = true;
		o->slice_ms = 20;
		break;
	case SLICE:
		o->slice_ms = number(optarg, 1, BENCH_SLICE_MAX_NS / 1000000);
		break;
	case LIMIT:
		o->limit_s = number(optarg, 1, 3600);
		break;
	case TOTAL:
		o->total_s = number(optarg, 0, 36000);
		break;
	case ANSWER:
		side_answer_ms = (int)number(optarg, 1, 3600) * 1000;
		break;
	case BASE_DIR:
		o->base_dir = optarg;
		break;
	case BASE_NAME:
		o->base = optarg;
		break;
	case JSON:
		o->json = optarg;
		break;
	case SVG:
		o->svg = optarg;
		break;
	case HELP:
		usage(stdout);
		exit(0);
	case VERSION:
		printf("%d\n", AGENT_VERSION);
		exit(0);
	case NAMES:
		exit(find(optarg) ? 0 : 1);
	default:
		usage(stderr);
		exit(2);
	}
}

static int list(const struct options *o)
{
	size_t family = 0, i = 0;
	const struct scenario *s;

	while ((s = next(o, &family, &i)))
		report_list(s);
	return 0;
}

static int be_agent(const char *name, const char *side)
{
	const struct scenario *s = find(name);

	if (!s) {
		fprintf(stderr, "uvbench: no scenario %s\n", name);
		return 2;
	}
	return agent_main(s,
			  strcmp(side, "peer") == 0 ? BENCH_PEER : BENCH_OURS);
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	int c;

	set_suite(&o, suites);
	if (argc == 4 && strcmp(argv[1], "--agent") == 0)
		return be_agent(argv[2], argv[3]);
	while ((c = getopt_long(argc, argv, "", long_options, NULL)) >= 0)
		set_option(&o, c);
	o.pattern = argv + optind;
	o.patterns = argc - optind;
	if (o.base_dir && !o.base)
		o.base = "base";
	if (!count(&o)) {
		fprintf(stderr, "uvbench: no such scenario; see --list\n");
		return 2;
	}
	return o.list ? list(&o) : run(&o);
}
