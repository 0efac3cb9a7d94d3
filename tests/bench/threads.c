/* SPDX-License-Identifier: BSD-3-Clause */
#include "threads.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define REST_MS 20000
#define STEP_US 100

uint64_t threads_own_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* A file of a thread's folder in /proc as text; empty if it cannot be read. */
static void read_proc(pid_t pid, pid_t tid, const char *file, char *text,
		      size_t size)
{
	char path[80];
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", pid, tid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, size - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
}

/* The third word; the second one is in brackets, and may have others in it. */
static char state(pid_t pid, pid_t tid)
{
	char text[512];
	const char *end;

	read_proc(pid, tid, "stat", text, sizeof(text));
	end = strrchr(text, ')');
	return end && end[1] ? end[2] : 0;
}

int threads_rest(pid_t pid, pid_t tid)
{
	for (unsigned int i = 0; i < REST_MS * 1000 / STEP_US; i++) {
		if (state(pid, tid) == 'S')
			return 0;
		usleep(STEP_US);
	}
	return -ETIMEDOUT;
}

/* @fn is called for each thread. */
static void each_thread(pid_t pid, void (*fn)(pid_t pid, pid_t tid, void *ctx),
			void *ctx)
{
	char path[40];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		pid_t tid = (pid_t)strtol(e->d_name, NULL, 10);

		if (tid > 0)
			fn(pid, tid, ctx);
	}
	if (d)
		closedir(d);
}

struct switches {
	pid_t but;
	uint64_t sum;
};

static void add_switches(pid_t pid, pid_t tid, void *ctx)
{
	static const char key[] = "\nvoluntary_ctxt_switches:";
	struct switches *s = ctx;
	char text[4096];
	const char *at;

	if (tid == s->but)
		return;
	read_proc(pid, tid, "status", text, sizeof(text));
	at = strstr(text, key);
	if (at)
		s->sum += strtoull(at + sizeof(key) - 1, NULL, 10);
}

uint64_t threads_switches(pid_t pid, pid_t but)
{
	struct switches s = { .but = but };

	each_thread(pid, add_switches, &s);
	return s.sum;
}

static void pin_thread(pid_t pid, pid_t tid, void *ctx)
{
	(void)pid;
	bench_pin(tid, *(const int *)ctx);
}

void threads_pin(pid_t pid, int cpu)
{
	each_thread(pid, pin_thread, &cpu);
}
