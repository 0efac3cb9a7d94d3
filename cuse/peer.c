/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who is calling, and what of him we can reach.
 *
 * FUSE names the calling thread. As long as its request is unanswered that
 * thread sits in the kernel and its id cannot be reused, so a handler may
 * look it up without a race; between requests nothing is assumed.
 *
 * vhost's owner is an address space (current->mm == dev->mm), not a process.
 * /proc/TID/mem opened while the caller waits pins which address space that
 * was: the descriptor never moves on to what comes after exec or exit.
 * "Same address space" is then: the pinned one is alive, and kcmp(2) finds the
 * caller and the owner to share theirs. Where the kernel has no kcmp, the same
 * process id has to do: threads pass, fork children do not, but vfork children
 * do not either.
 *
 * Copies go by process id. If the first thread of the owner has ended (pthread
 * programs may do that), the process id names a thread without memory, and the
 * id of the calling thread is taken instead; the device then lives as long as
 * that thread.
 *
 * A descriptor number means something in the calling thread's table. Threads
 * share theirs with very few exceptions, so the process is asked; where the
 * kernel can (6.9, PIDFD_THREAD) the thread itself is.
 */
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/capability.h>
#include <linux/kcmp.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>

#include "bytes.h"
#include "procfile.h"
#include "vdev.h"

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

static int kcmp(pid_t a, pid_t b, int type)
{
	int ret = (int)syscall(SYS_kcmp, a, b, type, 0, 0);

	return ret < 0 ? -errno : ret;
}

static pid_t thread_group(pid_t tid)
{
	char path[40];
	long tgid;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	if (procfile_number(path, "Tgid:", &tgid) < 0 || tgid <= 0)
		return -1;
	return (pid_t)tgid;
}

static bool have_capability(unsigned int cap)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data) < 0)
		return false;
	return data[cap / 32].effective & (1u << (cap % 32));
}

int peer_check_host(void)
{
	long yama;
	int fd;

	/* Bad arguments on purpose: EBADF says that the call is there. */
	if (pidfd_getfd(-1, 0, 0) < 0 && errno == ENOSYS) {
		log_err(NULL, "this kernel has no pidfd_getfd(2): Linux 5.6 or "
			      "newer is needed (or a seccomp filter hides it)");
		return -ENOSYS;
	}
	fd = pidfd_open(getpid(), 0);
	if (fd < 0) {
		log_err(NULL, "pidfd_open(2): %s: Linux 5.6 or newer is needed",
			strerror(errno));
		return -ENOSYS;
	}
	close(fd);
	if (procfile_number("/proc/sys/kernel/yama/ptrace_scope", NULL, &yama) <
	    0)
		yama = 0;
	if (yama >= 3) {
		log_err(NULL, "kernel.yama.ptrace_scope is 3: nobody may reach "
			      "another process's memory and descriptors. Set "
			      "it to 2 or less in /etc/sysctl.d and reboot");
		return -EPERM;
	}
	if (!have_capability(CAP_SYS_PTRACE))
		log_warn(NULL,
			 "CAP_SYS_PTRACE is missing: only processes of "
			 "user %u can use the device%s",
			 getuid(),
			 yama ? ", and with this kernel.yama.ptrace_scope "
				"only descendants"
			      : "");
	return 0;
}

/* One text for what every administrator hits first. */
static void log_no_access(struct log_limit *limit, const struct log_tag *tag,
			  pid_t pid, const char *what, int err)
{
	log_limited(limit, tag, LOG_LEVEL_WARNING,
		    "process %d: %s: %s. uvhostd needs CAP_SYS_PTRACE, "
		    "CAP_DAC_READ_SEARCH (or the same user, and a dumpable "
		    "process) and kernel.yama.ptrace_scope below 3",
		    pid, what, strerror(err));
}

/* The id that copies go to: the process, unless its first thread has ended. */
static pid_t copy_pid(pid_t tid, pid_t tgid)
{
	int same;

	if (tid == tgid)
		return tgid;
	same = kcmp(tid, tgid, KCMP_VM);
	return same > 0 ? tid : tgid;
}

static int open_mem(pid_t tid)
{
	char path[40];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", tid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	/* CAP_DAC_READ_SEARCH goes as far as reading, which is all we do. */
	if (fd < 0 && errno == EACCES)
		fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void owner_death(struct worker_watch *watch, uint32_t events)
{
	struct peer *p = container_of(watch, struct peer, death);

	(void)events;
	worker_watch_del(p->worker, watch);
	p->died(p->ctx);
}

int peer_attach(struct peer *p, pid_t tid, struct worker *w,
		void (*died)(void *ctx), void *ctx, struct log_limit *limit,
		const struct log_tag *tag, struct aspace **as)
{
	pid_t tgid;
	int mem, ret;

	if (tid <= 0) {
		log_limited(limit, tag, LOG_LEVEL_WARNING,
			    "the caller is in a pid namespace that uvhostd "
			    "cannot see: run uvhostd in the host's");
		return -EPERM;
	}
	tgid = thread_group(tid);
	if (tgid < 0)
		return -ESRCH;
	mem = open_mem(tid);
	if (mem < 0) {
		log_no_access(limit, tag, tgid, "/proc/PID/mem", -mem);
		return mem == -EACCES ? -EPERM : mem;
	}
	*p = (struct peer){
		.pid = copy_pid(tid, tgid),
		.worker = w,
		.death = { .fn = owner_death, .fd = -1 },
		.died = died,
		.ctx = ctx,
	};
	p->pidfd = pidfd_open(tgid, 0);
	if (p->pidfd < 0) {
		ret = -errno;
		goto err_mem;
	}
	ret = worker_watch_add(w, &p->death, p->pidfd, EPOLLIN);
	if (ret < 0)
		goto err_pidfd;
	ret = aspace_new(p->pid, mem, as);
	if (ret < 0)
		goto err_watch;
	return 0;

err_watch:
	worker_watch_del(w, &p->death);
err_pidfd:
	close(p->pidfd);
err_mem:
	close(mem);
	p->pid = 0;
	return ret;
}

void peer_detach(struct peer *p)
{
	if (!p->pid)
		return;
	worker_watch_del(p->worker, &p->death);
	close(p->pidfd);
	p->pid = 0;
}

bool peer_is_owner(const struct peer *p, const struct aspace *as, pid_t tid)
{
	struct pollfd dead = { .fd = p->pidfd, .events = POLLIN };
	int same;

	if (!p->pid || tid <= 0 || !as || !aspace_alive(as))
		return false;
	/* As long as it is not dead its id is not another process's. */
	if (poll(&dead, 1, 0) != 0)
		return false;
	if (tid == p->pid)
		return true;
	same = kcmp(tid, p->pid, KCMP_VM);
	if (same >= 0)
		return same == 0;
	return thread_group(tid) == p->pid;
}

int peer_open_table(pid_t tid, struct log_limit *limit,
		    const struct log_tag *tag)
{
	pid_t tgid;
	int fd;

	fd = pidfd_open(tid, 0);
	if (fd >= 0)
		return fd; /* the first thread */
	fd = pidfd_open(tid, PIDFD_THREAD);
	if (fd >= 0)
		return fd;
	tgid = thread_group(tid);
	if (tgid < 0)
		return -ESRCH;
	if (kcmp(tid, tgid, KCMP_FILES) > 0)
		log_limited(limit, tag, LOG_LEVEL_WARNING,
			    "thread %d does not share the descriptors of its "
			    "process %d: Linux 6.9 is needed to reach them",
			    tid, tgid);
	fd = pidfd_open(tgid, 0);
	return fd < 0 ? -errno : fd;
}

int peer_fetch_fd(pid_t tid, int number, struct log_limit *limit,
		  const struct log_tag *tag, int *fd)
{
	int table, err;

	if (number == VDEV_FD_NONE) {
		*fd = VDEV_FD_NONE;
		return 0;
	}
	if (number < 0) {
		*fd = VDEV_FD_BAD;
		return 0;
	}
	table = tid > 0 ? peer_open_table(tid, limit, tag) : -ESRCH;
	if (table < 0) {
		err = -table;
	} else {
		*fd = pidfd_getfd(table, number, 0); /* close-on-exec */
		err = *fd < 0 ? errno : 0;
		close(table);
	}
	switch (err) {
	case 0:
		/* fget() finds no O_PATH descriptors, pidfd_getfd does. */
		if (fcntl(*fd, F_GETFL) & O_PATH) {
			close(*fd);
			*fd = VDEV_FD_BAD;
		}
		return 0;
	case EBADF:
		*fd = VDEV_FD_BAD;
		return 0;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
		log_limited(limit, tag, LOG_LEVEL_WARNING,
			    "out of descriptors: raise LimitNOFILE of uvhostd");
		return -ENOMEM;
	default:
		log_no_access(limit, tag, tid, "pidfd_getfd", err);
		return -EPERM;
	}
}
