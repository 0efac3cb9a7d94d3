/* SPDX-License-Identifier: BSD-3-Clause */
/* machine.c reads what a report says about the machine. */
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define HUGE_PAGES "/proc/sys/vm/nr_hugepages"

static void keep(char *to, const char *text)
{
	snprintf(to, MACHINE_TEXT, "%.*s", (int)strcspn(text, "\n"), text);
}

/* The first line that @command prints; @none if it prints nothing. */
static void ask(char *to, const char *command, const char *none)
{
	char line[256];
	FILE *p = popen(command, "re"); /* NOLINT: a constant command */

	keep(to, none);
	if (!p)
		return;
	if (fgets(line, sizeof(line), p) && line[0] != '\n')
		keep(to, line);
	while (fgets(line, sizeof(line), p))
		; /* no SIGPIPE for it */
	pclose(p);
}

static void read_cpu_model(char *to)
{
	char line[256];
	FILE *f = fopen("/proc/cpuinfo", "re");

	keep(to, "unknown");
	while (f && fgets(line, sizeof(line), f)) {
		const char *colon = strstr(line, ": ");

		if (strncmp(line, "model name", 10) != 0 || !colon)
			continue;
		keep(to, colon + 2);
		break;
	}
	if (f)
		fclose(f);
}

static void read_date(char *to)
{
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(to, MACHINE_TEXT, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

void machine_read(struct machine *m)
{
	struct utsname u;

	uname(&u);
	keep(m->kernel, u.release);
	m->processors = sysconf(_SC_NPROCESSORS_ONLN);
	read_date(m->date);
	read_cpu_model(m->cpu_model);
	ask(m->name,
	    "v=$(cat /sys/class/dmi/id/sys_vendor"
	    " /sys/class/dmi/id/product_name 2>/dev/null | tr '\\n' ' ');"
	    "grep -q '^flags.* hypervisor' /proc/cpuinfo && v=\"$v virtual\";"
	    "echo $v $(uname -m)",
	    u.machine);
	ask(m->commit,
	    "git rev-parse --short=12 HEAD 2>/dev/null | tr -d '\\n';"
	    "git diff --quiet HEAD 2>/dev/null || echo +",
	    "unknown");
	ask(m->dpdk, "pkg-config --modversion libdpdk 2>/dev/null", "none");
	ask(m->qemu,
	    "qemu-system-x86_64 --version 2>/dev/null |"
	    " sed -n 's/QEMU emulator version //p'",
	    "none");
	ask(m->libfuse, "pkg-config --modversion fuse3 2>/dev/null", "unknown");
	ask(m->libpcap, "pkg-config --modversion libpcap 2>/dev/null",
	    "unknown");
#ifdef __clang__
	keep(m->compiler, "clang " __clang_version__);
#else
	keep(m->compiler, "gcc " __VERSION__);
#endif
}

void machine_ticks(struct machine_ticks *t)
{
	unsigned long long v[8] = { 0 };
	FILE *f = fopen("/proc/stat", "re");

	*t = (struct machine_ticks){ 0 };
	if (!f)
		return;
	/* user nice system idle iowait irq softirq steal; guests are in user */
	if (fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0],
		   &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]) == 8)
		t->steal = v[7];
	for (unsigned int i = 0; i < 8; i++)
		t->all += v[i];
	fclose(f);
}

double machine_steal_percent(const struct machine_ticks *a,
			     const struct machine_ticks *b)
{
	return b->all > a->all ? 100 * (double)(b->steal - a->steal) /
					 (double)(b->all - a->all)
			       : 0;
}

double machine_load_1min(void)
{
	double load;

	return getloadavg(&load, 1) == 1 ? load : 0;
}

static long huge_pages(void)
{
	FILE *f = fopen(HUGE_PAGES, "re");
	long n = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%ld", &n) != 1)
		n = 0;
	fclose(f);
	return n;
}

void machine_take_huge_pages(const char *path)
{
	FILE *f = fopen(path, "re");
	long added = 0, n;

	while (f && fscanf(f, "%ld", &n) == 1)
		added += n;
	if (f)
		fclose(f);
	unlink(path);
	f = added ? fopen(HUGE_PAGES, "we") : NULL;
	if (!f)
		return;
	fprintf(f, "%ld\n", huge_pages() - added);
	fclose(f);
}
