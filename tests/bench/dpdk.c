/* SPDX-License-Identifier: BSD-3-Clause */
#include "dpdk.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"

#define PROGRAM "dpdk-testpmd"
#define LOG "testpmd.log"
#define WAIT_MS 60000
#define STEP_MS 5
#define PORTS_MAX 8
/* Of memory, in huge pages of 2 MiB; and mbufs (2 KiB, 64 KiB). */
#define PAGE_MB 2
#define MEMORY_MB 64
#define GSO_MEMORY_MB 192
#define MBUFS 8192
#define GSO_MBUFS 2048
#define GSO_MBUF_SIZE 65535
#define ARGS_MAX 48
#define WORD_MAX 160

/**
 * struct args - a command line that is being made
 * @word: storage of words that had to be made
 */
struct args {
	const char *argv[ARGS_MAX];
	unsigned int n;
	char word[ARGS_MAX][WORD_MAX];
};

__attribute__((format(printf, 2, 3))) static void add(struct args *a,
						      const char *format, ...)
{
	va_list ap;

	if (a->n == ARGS_MAX - 1)
		return;
	va_start(ap, format);
	vsnprintf(a->word[a->n], WORD_MAX, format, ap);
	va_end(ap);
	a->argv[a->n] = a->word[a->n];
	a->n++;
}

static void make_args(struct bench *b, const struct dpdk_config *c,
		      struct args *a)
{
	add(a, PROGRAM);
	if (c->roams)
		add(a, "--lcores=0@(0-1),1@(0-1)");
	else
		add(a, "--lcores=0@%d,1@%d", BENCH_CPU_BACKEND,
		    BENCH_CPU_BACKEND);
	add(a, "--file-prefix=uvbench");
	add(a, "--no-pci");
	add(a, "--in-memory");
	add(a, "--single-file-segments");
	add(a, "--no-telemetry");
	add(a, "-m");
	add(a, "%d", c->gso ? GSO_MEMORY_MB : MEMORY_MB);
	for (unsigned int i = 0; i < c->ports; i++)
		add(a, "--vdev=net_vhost%u,iface=%s/" DPDK_SOCKET ",queues=1%s",
		    i, b->dir, i, c->gso ? ",tso=1,legacy-ol-flags=1" : "");
	add(a, "--");
	add(a, "--nb-cores=1");
	add(a, "--rxd=256");
	add(a, "--txd=256");
	add(a, "--burst=32");
	add(a, "--auto-start");
	add(a, "--disable-link-check");
	add(a, "--stats-period=100000"); /* or it would end: no input */
	add(a, "--forward-mode=%s", c->mode);
	add(a, "--total-num-mbufs=%d", c->gso ? GSO_MBUFS : MBUFS);
	if (c->gso)
		add(a, "--mbuf-size=%d", GSO_MBUF_SIZE);
	if (c->size)
		add(a, "--txpkts=%u", c->size);
	a->argv[a->n] = NULL;
}

static bool installed(void)
{
	const char *path = getenv("PATH");
	char file[PATH_MAX];

	while (path && *path) {
		size_t len = strcspn(path, ":");

		snprintf(file, sizeof(file), "%.*s/" PROGRAM, (int)len, path);
		if (access(file, X_OK) == 0)
			return true;
		path += len + (path[len] == ':');
	}
	return false;
}

int dpdk_why(struct bench *b, int err, const char *what)
{
	char path[PATH_MAX], line[300];

	snprintf(path, sizeof(path), "%s/" LOG, b->dir);
	agent_log_end(path, line, sizeof(line));
	return bench_why(b, err, PROGRAM " %s%s%s", what, line[0] ? ": " : "",
			 line);
}

/* The sockets listen before forwarding begins; with --auto-start it begins
 * before the last of them has a peer. */
static int wait_ready(struct bench *b, const struct dpdk_config *c, pid_t pid)
{
	int left = WAIT_MS;
	char name[32];

	for (unsigned int i = 0; i < c->ports;) {
		snprintf(name, sizeof(name), DPDK_SOCKET, i);
		if (bench_wait_socket(b, name, STEP_MS) == 0) {
			i++;
			continue;
		}
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return dpdk_why(b, -ECHILD, "ended");
		left -= STEP_MS;
		if (left <= 0) {
			dpdk_end(pid);
			return dpdk_why(b, -ETIMEDOUT, "does not listen");
		}
	}
	return 0;
}

pid_t dpdk_start(struct bench *b, const struct dpdk_config *config)
{
	struct args args = { .n = 0 };
	pid_t pid;
	int ret;

	if (!installed())
		return bench_why(b, BENCH_LACKS,
				 "no " PROGRAM " (Debian: dpdk-dev)");
	ret = bench_huge_pages(b, (config->gso ? GSO_MEMORY_MB : MEMORY_MB) /
					  PAGE_MB);
	if (ret < 0)
		return ret;
	make_args(b, config, &args);
	/* There it makes a folder, which it leaves behind. */
	setenv("RUNTIME_DIRECTORY", b->dir, 1);
	pid = bench_spawn(b, config->roams ? -1 : BENCH_CPU_BACKEND, LOG, NULL,
			  args.argv);
	if (pid < 0)
		return bench_why(b, pid, PROGRAM ": %s", strerror(-pid));
	ret = wait_ready(b, config, pid);
	return ret < 0 ? ret : pid;
}

void dpdk_end(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
}
