/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * svg.c draws bench.svg: a bar for each scenario from the line at 1, which is
 * its peer or limit, to its ratio, on a logarithmic axis, so that twice as good
 * is as long as half as good. The whisker is the 95 % interval.
 */
#include "report.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"

#define NAME_X 16
#define PLOT_X 290
#define PLOT_W 460
#define TEXT_X (PLOT_X + PLOT_W + 20)
#define WIDTH (TEXT_X + 390)
#define TOP 108
#define ROW 22
#define BAR 12
#define GAP 10 /* between families */
#define REASON_MAX 120

static const double tick[] = { 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1,
			       2,    5,    10,   20,  50,  100 };

/** struct picture - @low, @high: ends of the axis, each a tick */
struct picture {
	FILE *f;
	double low, high;
	int y;
};

/* ---- primitives ---- */

static void put_escaped(FILE *f, const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '&':
			fputs("&amp;", f);
			break;
		case '<':
			fputs("&lt;", f);
			break;
		case '>':
			fputs("&gt;", f);
			break;
		default:
			fputc(*text, f);
		}
	}
}

__attribute__((format(printf, 5, 6))) static void text(struct picture *p, int x,
						       int y, const char *class,
						       const char *format, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	fprintf(p->f, "<text x=\"%d\" y=\"%d\" class=\"%s\">", x, y, class);
	put_escaped(p->f, line);
	fputs("</text>\n", p->f);
}

static void line(struct picture *p, double x1, double y1, double x2, double y2,
		 const char *class)
{
	fprintf(p->f,
		"<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\""
		" class=\"%s\"/>\n",
		x1, y1, x2, y2, class);
}

/* ---- the axis ---- */

static double place(const struct picture *p, double ratio)
{
	ratio = MIN(MAX(ratio, p->low), p->high);
	return PLOT_X + PLOT_W * log(ratio / p->low) / log(p->high / p->low);
}

static void choose_axis(struct picture *p, const struct report *r)
{
	double low = 0.9, high = 1.1;

	for (unsigned int i = 0; i < r->results; i++) {
		if (!r->result[i]->ratio.n)
			continue;
		low = MIN(low, r->result[i]->ratio.low);
		high = MAX(high, r->result[i]->ratio.high);
	}
	p->low = tick[0];
	p->high = tick[ARRAY_SIZE(tick) - 1];
	for (size_t i = 0; i < ARRAY_SIZE(tick); i++) {
		if (tick[i] <= low)
			p->low = tick[i];
		if (tick[ARRAY_SIZE(tick) - 1 - i] >= high)
			p->high = tick[ARRAY_SIZE(tick) - 1 - i];
	}
}

static void draw_axis(struct picture *p, int bottom)
{
	for (size_t i = 0; i < ARRAY_SIZE(tick); i++) {
		double x = place(p, tick[i]);

		if (tick[i] < p->low || tick[i] > p->high)
			continue;
		line(p, x, TOP - 4, x, bottom, tick[i] == 1 ? "one" : "grid");
		text(p, (int)x, TOP - 10, "tick", "%g", tick[i]);
		text(p, (int)x, bottom + 16, "tick", "%g", tick[i]);
	}
	text(p, (int)place(p, 1), TOP - 28, "axis",
	     "peer or limit = 1; further right: uvhost is ahead");
	text(p, PLOT_X + PLOT_W / 2, bottom + 36, "axis",
	     "ratio of uvhost to its peer or limit, logarithmic; whisker: "
	     "95 %% interval of the median; pale: not settled");
}

/* ---- rows ---- */

static void draw_bar(struct picture *p, const struct result *r)
{
	double one = place(p, 1), end = place(p, r->ratio.median);
	double low = place(p, r->ratio.low), high = place(p, r->ratio.high);
	double middle = p->y + ROW / 2.0;

	fprintf(p->f,
		"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\""
		" class=\"%s\"/>\n",
		MIN(one, end), middle - BAR / 2.0, MAX(fabs(end - one), 1), BAR,
		r->settled ? "bar" : "bar open");
	line(p, low, middle, high, middle, "whisker");
	line(p, low, middle - 4, low, middle + 4, "whisker");
	line(p, high, middle - 4, high, middle + 4, "whisker");
}

static void draw_values(struct picture *p, const struct result *r)
{
	enum bench_measure m = r->scenario->measure;
	int y = p->y + ROW / 2 + 4;
	char ours[32], peer[32];

	report_value(ours, sizeof(ours), m, r->c[0].value.median);
	if (!r->ratio.n) {
		text(p, TEXT_X, y, "value", "%s", ours);
		text(p, PLOT_X + 6, y, "reason", "no peer here%s%s",
		     r->reason[0] ? "; " : "", r->reason);
		return;
	}
	report_value(peer, sizeof(peer), m, r->c[1].value.median);
	text(p, TEXT_X, y, "ratio", r->ratio.median < 10 ? "%.3f" : "%.1f",
	     r->ratio.median);
	text(p, TEXT_X + 52, y, "value", "%s : %s  %s", ours, peer, r->peer);
}

static void draw_row(struct picture *p, const struct result *r)
{
	int y = p->y + ROW / 2 + 4;

	text(p, NAME_X, y, "name", "%s", r->scenario->name);
	if (r->state != ENGINE_MEASURED)
		text(p, PLOT_X + 6, y, "reason", "not measured: %.*s",
		     REASON_MAX, r->reason);
	else
		draw_values(p, r);
	if (r->state == ENGINE_MEASURED && r->ratio.n)
		draw_bar(p, r);
	p->y += ROW;
}

/* Are both of one family: the word in front of the first '/'? */
static bool related(const struct result *a, const struct result *b)
{
	size_t n = strcspn(a->scenario->name, "/");

	return n == strcspn(b->scenario->name, "/") &&
	       strncmp(a->scenario->name, b->scenario->name, n) == 0;
}

static int gap_before(const struct report *r, unsigned int i)
{
	return i > 0 && !related(r->result[i - 1], r->result[i]) ? GAP : 0;
}

static int bottom_of(const struct report *r)
{
	int y = TOP;

	for (unsigned int i = 0; i < r->results; i++)
		y += gap_before(r, i) + ROW;
	return y;
}

/* ---- the whole ---- */

static void draw_head(struct picture *p, const struct report *r, int height)
{
	const struct machine *m = &r->machine;

	fprintf(p->f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\""
		" height=\"%d\" viewBox=\"0 0 %d %d\">\n"
		"<style>\n"
		"text { font: 12px sans-serif; fill: #333 }\n"
		".title { font-size: 17px; font-weight: bold }\n"
		".sub, .reason { fill: #707070 }\n"
		".ratio { font-weight: bold }\n"
		".tick, .axis { text-anchor: middle; fill: #707070;"
		" font-size: 11px }\n"
		".grid { stroke: #e4e4e4 }\n"
		".one { stroke: #333; stroke-width: 1.5 }\n"
		".bar { fill: #4a86c5 }\n"
		".open { fill: #c3d7ec }\n"
		".whisker { stroke: #222; stroke-width: 1.2 }\n"
		"</style>\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
		WIDTH, height, WIDTH, height);
	text(p, NAME_X, 28, "title", "uvhost beside %s",
	     r->base ? r->base : "its peers and limits");
	text(p, NAME_X, 48, "sub",
	     "%s, commit %s; %s, %ld x %s; Linux %s; DPDK %s; %s; load "
	     "%.1f ... %.1f; stolen %.1f %%",
	     m->date, m->commit, m->name, m->processors, m->cpu_model,
	     m->kernel, m->dpdk, m->compiler, r->load_before, r->load_after,
	     r->steal_percent);
}

int report_svg(const struct report *r, const char *path)
{
	struct picture p = { .f = fopen(path, "we"), .y = TOP };
	int bottom = bottom_of(r);

	if (!p.f)
		return -errno;
	choose_axis(&p, r);
	draw_head(&p, r, bottom + 52);
	draw_axis(&p, bottom);
	for (unsigned int i = 0; i < r->results; i++) {
		p.y += gap_before(r, i);
		draw_row(&p, r->result[i]);
	}
	fputs("</svg>\n", p.f);
	return fclose(p.f) ? -errno : 0;
}
