/* SPDX-License-Identifier: BSD-3-Clause */
#include "bareguest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ringfeed.h"

#define LOCAL_BYTES ((size_t)256 * 1024)

static bool make_buffers(struct bareguest *g)
{
	uint64_t buf = 0;

	if (vmm_mem_add_pc(&g->mem, g->copied ? VMM_MEM_PRIVATE : VMM_MEM_MEMFD,
			   RINGFEED_MEM, RINGFEED_MEM / 2) == 0)
		buf = ringfeed_buffers(&g->mem, g->num, g->room, g->size);
	g->buffers = buf ? vmm_mem_ptr(&g->mem, buf) : NULL;
	return g->buffers;
}

/* A process that makes them, says where they are, and sleeps. */
static pid_t fork_guest(struct bareguest *g)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!make_buffers(g) ||
		    write(ends[1], &g->buffers, sizeof(g->buffers)) < 0)
			_exit(1);
		for (;;)
			pause();
	}
	close(ends[1]);
	if (pid > 0 && read(ends[0], &g->buffers, sizeof(g->buffers)) !=
			       sizeof(g->buffers))
		g->buffers = NULL;
	close(ends[0]);
	return pid;
}

static int open_process(struct bench *b, struct bareguest *g)
{
	char path[40];

	g->pid = fork_guest(g);
	if (g->pid < 0)
		return bench_why(b, -errno, "fork: %s", strerror(errno));
	if (!g->buffers)
		return bench_why(b, -ENOMEM, "no memory for buffers");
	snprintf(path, sizeof(path), "/proc/%d/mem", g->pid);
	g->mem_fd = open(path, O_RDWR | O_CLOEXEC);
	if (g->mem_fd < 0)
		return bench_why(b, -errno, "%s: %s", path, strerror(errno));
	return 0;
}

int bareguest_open(struct bench *b, struct bareguest *g)
{
	g->mem_fd = -1;
	g->local = malloc(LOCAL_BYTES);
	if (!g->local)
		return bench_why(b, -ENOMEM, "no memory");
	memset(g->local, 0, LOCAL_BYTES);
	if (g->copied)
		return open_process(b, g);
	return make_buffers(g) ? 0
			       : bench_why(b, -ENOMEM, "no memory for buffers");
}

void bareguest_close(struct bareguest *g)
{
	if (g->pid > 0) {
		kill(g->pid, SIGKILL);
		waitpid(g->pid, NULL, 0);
	}
	if (g->local && g->mem_fd >= 0)
		close(g->mem_fd);
	vmm_mem_free(&g->mem);
	free(g->local);
	*g = (struct bareguest){ 0 };
}

uint8_t *bareguest_buffer(struct bareguest *g)
{
	uint8_t *p = g->buffers + (size_t)g->next * g->room;

	g->next = (g->next + 1) % g->num;
	return p;
}

uint8_t *bareguest_local(struct bareguest *g, size_t bytes)
{
	uint8_t *p;

	if (g->local_at + bytes > LOCAL_BYTES)
		g->local_at = 0;
	p = g->local + g->local_at;
	g->local_at += bytes;
	return p;
}

static off_t offset_of(const uint8_t *p)
{
	return (off_t)(uintptr_t)p;
}

bool bareguest_read(struct bareguest *g, uint8_t *to, const uint8_t *from,
		    size_t bytes)
{
	errno = 0;
	return pread(g->mem_fd, to, bytes, offset_of(from)) == (ssize_t)bytes;
}

bool bareguest_write(struct bareguest *g, uint8_t *to, const uint8_t *from,
		     size_t bytes)
{
	errno = 0;
	return pwrite(g->mem_fd, from, bytes, offset_of(to)) == (ssize_t)bytes;
}
