/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * spawner.c forks children on a thread that has a descriptor table of its own
 * (spawner.h). That table:
 *
 *   0, 1, 2            the same for all children
 *   3...               of the child that is being started; else free
 *   SPAWNER_PROGRAM    the same for all children
 *   SPAWNER_SELF       a pidfd of this process, by which pidfd_getfd(2) finds
 *                      the table of its main thread. Within a process this
 *                      needs no capability
 *
 * The spawner's thread closes its copies without waiting: files that do
 * something at the close of each copy (FUSE, NFS) are not needed for a start.
 */
#include "spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <unistd.h>
#include <sys/pidfd.h>
#include <sys/queue.h>
#include <sys/syscall.h>

#include "bytes.h"
#include "fd.h"
#include "mutex.h"

#define SPAWNER_SELF (SPAWNER_PROGRAM + 1)
#define SPAWNER_END (SPAWNER_SELF + 1)

/** struct order - one child to fork; on the stack of the caller, which waits
 * for @done */
struct order {
	STAILQ_ENTRY(order) link;
	const int *fd;
	unsigned int nfds;
	void (*child)(void *arg);
	void *arg;
	pid_t ret;
	bool done;
};

/* All under the lock, but for @thread, which spawner_start() and spawner_stop()
 * use. */
static struct {
	struct mutex lock;
	pthread_cond_t ordered; /* or to stop */
	pthread_cond_t done;    /* one of the orders, or the start */
	STAILQ_HEAD(, order) orders;
	bool running, ready, stop;
	int error; /* of the start */
	pthread_t thread;
} spawner = {
	.lock = MUTEX_INITIALIZER,
	.ordered = PTHREAD_COND_INITIALIZER,
	.done = PTHREAD_COND_INITIALIZER,
	.orders = STAILQ_HEAD_INITIALIZER(spawner.orders),
};

/* ---- its table ---- */

/* System calls: ThreadSanitizer takes the arguments of libc's functions for
 * descriptors of the process's table. */
static void drop(int fd)
{
	syscall(SYS_close, fd);
}

static bool copy_to(int fd, int at, int flags)
{
	return syscall(SYS_dup3, fd, at, flags) >= 0;
}

/* Linux 5.9 has the call. */
static void drop_all(int first, int last)
{
	if (close_range((unsigned int)first, (unsigned int)last, 0) == 0)
		return;
	last = MIN(last, (int)sysconf(_SC_OPEN_MAX) - 1);
	for (int fd = first; fd <= last; fd++)
		drop(fd);
}

/* A copy behind the numbers that the table uses. */
static int copy_aside(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, SPAWNER_END);
}

/* A copy of @fd of the process's table, at number @at. */
static int take(int fd, int at)
{
	int got = pidfd_getfd(SPAWNER_SELF, fd, 0), ret;

	if (got < 0)
		return -errno;
	if (got == at)
		return 0;
	ret = copy_to(got, at, O_CLOEXEC) ? 0 : -errno;
	drop(got);
	return ret;
}

/* After that the table is this thread's own. */
static int make_table(const struct spawner_files *files)
{
	int std[3] = { -1, -1, -1 }, program, self;

	if (unshare(CLONE_FILES) < 0)
		return -errno;
	self = pidfd_open(getpid(), 0);
	if (self < 0)
		return -errno;
	self = copy_aside(self);
	program = copy_aside(files->program);
	if (self < 0 || program < 0)
		return -EMFILE; /* or EINVAL: the limit is below SPAWNER_END */
	for (int i = 0; i < 3; i++)
		if (files->std[i] >= 0)
			std[i] = copy_aside(files->std[i]);
	for (int i = 0; i < 3; i++)
		if (files->std[i] >= 0 && !copy_to(std[i], i, 0))
			return -errno;
	if (!copy_to(program, SPAWNER_PROGRAM, O_CLOEXEC) ||
	    !copy_to(self, SPAWNER_SELF, O_CLOEXEC))
		return -errno;
	drop_all(SPAWNER_FIRST, SPAWNER_PROGRAM - 1);
	drop_all(SPAWNER_END, INT32_MAX);
	/* Does the kernel have pidfd_getfd(2), and allow it? */
	return take(files->program, SPAWNER_FIRST);
}

/* ---- its thread ---- */

static pid_t carry_out(const struct order *o)
{
	int ret = 0;
	unsigned int n;

	for (n = 0; n < o->nfds && ret == 0; n += ret == 0)
		ret = take(o->fd[n], SPAWNER_FIRST + (int)n);
	if (ret == 0) {
		/* fork(3) waits for locks of libc that other threads may
		 * hold. */
		ret = _Fork();
		if (ret == 0)
			o->child(o->arg);
		else if (ret < 0)
			ret = -errno;
	}
	while (n)
		drop(SPAWNER_FIRST + (int)--n);
	return ret;
}

static void carry_out_all(void) NEEDS(spawner.lock)
{
	struct order *o;

	while ((o = STAILQ_FIRST(&spawner.orders))) {
		pid_t ret;

		STAILQ_REMOVE_HEAD(&spawner.orders, link);
		mutex_unlock(&spawner.lock);
		ret = carry_out(o);
		mutex_lock(&spawner.lock);
		o->ret = ret;
		o->done = true;
		pthread_cond_broadcast(&spawner.done);
	}
}

static void *run_spawner(void *arg)
{
	int error = make_table(arg);

	if (error == 0)
		drop(SPAWNER_FIRST);
	mutex_lock(&spawner.lock);
	spawner.error = error;
	spawner.ready = true;
	pthread_cond_broadcast(&spawner.done);
	while (!spawner.stop && error == 0) {
		carry_out_all();
		if (!spawner.stop)
			mutex_wait(&spawner.ordered, &spawner.lock);
	}
	mutex_unlock(&spawner.lock);
	return NULL;
}

/* ---- others ---- */

/* The main thread handles signals; SIGRTMIN removes privileges (confine.c). */
static int start_thread(const struct spawner_files *files)
{
	sigset_t all, old;
	int ret;

	sigfillset(&all);
	sigdelset(&all, SIGRTMIN);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = -pthread_create(&spawner.thread, NULL, run_spawner,
			      (void *)(uintptr_t)files);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret == 0)
		pthread_setname_np(spawner.thread, "uvhost-spawner");
	return ret;
}

int spawner_start(const struct spawner_files *files)
{
	int ret = start_thread(files);

	if (ret < 0)
		return ret;
	mutex_lock(&spawner.lock);
	while (!spawner.ready)
		mutex_wait(&spawner.done, &spawner.lock);
	spawner.ready = false;
	spawner.running = true;
	ret = spawner.error;
	mutex_unlock(&spawner.lock);
	if (ret < 0)
		spawner_stop();
	return ret;
}

void spawner_stop(void)
{
	bool running;

	mutex_lock(&spawner.lock);
	running = spawner.running;
	spawner.running = false;
	spawner.stop = true;
	pthread_cond_signal(&spawner.ordered);
	mutex_unlock(&spawner.lock);
	if (running)
		pthread_join(spawner.thread, NULL);
	spawner.stop = false;
}

pid_t spawner_fork(const int *fd, unsigned int nfds, void (*child)(void *arg),
		   void *arg)
{
	struct order o = { .fd = fd, .nfds = nfds, .child = child, .arg = arg };

	if (nfds > SPAWNER_FDS_MAX)
		return -E2BIG;
	mutex_lock(&spawner.lock);
	if (!spawner.running) {
		mutex_unlock(&spawner.lock);
		return -ENOENT;
	}
	STAILQ_INSERT_TAIL(&spawner.orders, &o, link);
	pthread_cond_signal(&spawner.ordered);
	while (!o.done)
		mutex_wait(&spawner.done, &spawner.lock);
	mutex_unlock(&spawner.lock);
	return o.ret;
}
