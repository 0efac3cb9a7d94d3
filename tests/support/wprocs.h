/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wprocs.h finds the worker processes of a daemon, and moves frames of a guest
 * whose worker process may die meanwhile.
 */
#ifndef WPROCS_H
#define WPROCS_H

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "flow.h"
#include "vmm.h"

/** wprocs_is() - is the process a worker process? */
static inline bool wprocs_is(pid_t pid)
{
	char path[40], name[20] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (!fgets(name, sizeof(name), f))
		name[0] = '\0';
	fclose(f);
	return strcmp(name, "uvhost-worker\n") == 0;
}

/** wprocs_session() - number of the session whose worker process it is; 0: it
 * is none */
static inline unsigned long wprocs_session(pid_t pid)
{
	char path[32], text[64] = "";
	const char *slash;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0 || strcmp(text, "uvhost-worker") != 0)
		return 0;
	slash = memrchr(text, '/', (size_t)n);
	return slash ? strtoul(slash + 1, NULL, 10) : 0;
}

/** wprocs_titled() - is it a worker process that has this title? */
static inline bool wprocs_titled(pid_t pid, const char *title)
{
	char path[32], text[64] = "";
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	return n > 0 && strcmp(text, "uvhost-worker") == 0 &&
	       strcmp(text + strlen(text) + 1, title) == 0;
}

/** wprocs_network() - is it the worker process of the network @name? */
static inline bool wprocs_network(pid_t pid, const char *name)
{
	char title[64];

	snprintf(title, sizeof(title), "network %s", name);
	return wprocs_titled(pid, title);
}

/** wprocs_has_our_log() - does it log where this program does? So do our daemon
 * and its worker processes */
static inline bool wprocs_has_our_log(pid_t pid)
{
	struct stat its, ours;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/fd/2", pid);
	return stat(path, &its) == 0 && fstat(STDERR_FILENO, &ours) == 0 &&
	       its.st_dev == ours.st_dev && its.st_ino == ours.st_ino;
}

/* Those of one list of children; how many there are then. */
static inline unsigned int wprocs_read(const char *path, pid_t *pid,
				       unsigned int n, unsigned int max)
{
	FILE *f = fopen(path, "re");
	int child;

	while (f && n < max && fscanf(f, "%d", &child) == 1)
		if (wprocs_is(child))
			pid[n++] = child;
	if (f)
		fclose(f);
	return n;
}

/**
 * wprocs_list() - the worker processes that a daemon has started
 * @daemon: its process id
 * @pid:    gets at most @max
 *
 * Return: how many. A process that starts or ends meanwhile may be missed.
 */
static inline unsigned int wprocs_list(pid_t daemon, pid_t *pid,
				       unsigned int max)
{
	char pattern[48];
	unsigned int n = 0;
	glob_t lists;

	snprintf(pattern, sizeof(pattern), "/proc/%d/task/*/children", daemon);
	if (glob(pattern, 0, NULL, &lists) != 0)
		return 0;
	for (size_t i = 0; i < lists.gl_pathc; i++)
		n = wprocs_read(lists.gl_pathv[i], pid, n, max);
	globfree(&lists);
	return n;
}

/**
 * wprocs_move() - move frames until @n more have come out each way
 * @f:  lossy, with one port
 * @ms: one way without a frame, then it is -ETIMEDOUT
 *
 * Return: 0; -ETIMEDOUT or -EPROTO (one came twice, late or damaged), and
 * @f->error.
 */
static inline int wprocs_move(struct flow *f, uint32_t n, int ms)
{
	const struct flow_port *p = &f->port[0];
	uint32_t rx = p->rx_got, tx = p->tx_next;
	int64_t rx_ms = vmm_now_ms(), tx_ms = rx_ms;

	while (p->rx_got - rx < n || p->tx_next - tx < n) {
		uint32_t rx_got = p->rx_got, tx_next = p->tx_next;
		int ret = flow_step(f, true);
		int64_t now = vmm_now_ms();

		if (ret < 0)
			return ret;
		if (p->rx_got != rx_got)
			rx_ms = now;
		if (p->tx_next != tx_next)
			tx_ms = now;
		if (now - rx_ms > ms || now - tx_ms > ms) {
			snprintf(f->error, sizeof(f->error),
				 "no frame came to the %s for %d ms",
				 now - rx_ms > ms ? "guest" : "tap", ms);
			return -ETIMEDOUT;
		}
		if (ret == 0)
			flow_wait(f, 1);
	}
	return 0;
}

#endif
