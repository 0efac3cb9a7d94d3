/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peer.c identifies the caller, and opens its memory and its descriptors.
 *
 * FUSE names the calling thread. As long as its request is unanswered that
 * thread sits in the kernel: its id cannot be reused, its address space cannot
 * change (an exec by another thread waits for it). So a handler may look it up
 * without a race; between requests nothing is assumed.
 *
 * vhost's owner is an address space (current->mm == dev->mm), not a process.
 * /proc/TID/mem opened while the caller waits pins which address space that
 * was: the descriptor never moves on to what comes after exec or exit. All
 * copies go through it; a process id is never copied from (aspace.c).
 *
 * The kernel has no call that tells whether a later caller runs in the pinned
 * address space. peer_is_owner() combines two checks:
 *
 * 1. The caller has the current address space of the owner's process: it is a
 *    thread of that process, or kcmp(2) says so. The process is held by a
 *    pidfd; its id is not reused while the pidfd shows it alive. This check
 *    accepts threads and vfork children and refuses fork children. (If the
 *    first thread of the process has ended, the process id names no memory, and
 *    another thread is compared.)
 * 2. The owner's process still has the pinned address space. Only exec gives it
 *    another one. Then the pinned one is not in use any more, or only by a
 *    process that shares it (CLONE_VM), and the program has another auxiliary
 *    vector: the kernel keeps the vector of each address space, with addresses
 *    that it has drawn at random. Fork children inherit it, so this check alone
 *    is not enough. A program that has the vector of its predecessor gains
 *    nothing: copies go to the pinned memory in any case.
 *
 * Neither check reads the owner's memory. It could be mapped from a file whose
 * file system never answers.
 *
 * The owner's thread is checked in the same way before pages are faulted in by
 * its id.
 *
 * A process that shares the owner's memory without being its thread (CLONE_VM)
 * is recognised as long as the owner's process is there to be compared with.
 * Afterwards it is refused, where the kernel would let it pass.
 *
 * Where the kernel has no kcmp, threads pass and vfork children do not.
 *
 * Opening /proc/TID/mem for writing takes the ptrace right (the same user and a
 * dumpable process, or CAP_SYS_PTRACE) and the right to write a file of mode
 * 0600 (the same user, or CAP_DAC_OVERRIDE). Without either the process cannot
 * be the owner: with a file that can only be read, rings would die at their
 * first write.
 *
 * A descriptor number means something in the calling thread's table. Threads
 * share theirs with very few exceptions, so the process is asked; where the
 * kernel can (6.9, PIDFD_THREAD) the thread itself is. What is not of use is
 * not taken into this process: taker.h.
 */
#include "peer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <linux/capability.h>
#include <linux/kcmp.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>

#include "abi.h"
#include "bytes.h"
#include "confine.h"
#include "parse.h"
#include "procfile.h"
#include "vdev.h"

/* Until a taker is asked for again. */
#define RETRY_MS 10

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
	return data[cap / 32].permitted & (1u << (cap % 32));
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
	if (!have_capability(CAP_SYS_PTRACE) ||
	    !have_capability(CAP_DAC_OVERRIDE))
		log_warn(NULL,
			 "%s is missing: only processes of "
			 "user %u can use the device%s",
			 have_capability(CAP_SYS_PTRACE) ? "CAP_DAC_OVERRIDE"
							 : "CAP_SYS_PTRACE",
			 getuid(),
			 yama ? ", and with this kernel.yama.ptrace_scope "
				"only descendants"
			      : "");
	return 0;
}

/* One text for the errors that administrators see most. */
static void log_no_access(struct log_limit *limit, const struct log_tag *tag,
			  pid_t pid, const char *what, int err)
{
	log_limited(limit, tag, LOG_LEVEL_WARNING,
		    "process %d: %s: %s. uvhostd needs CAP_SYS_PTRACE and "
		    "CAP_DAC_OVERRIDE (or the same user, and a dumpable "
		    "process) and kernel.yama.ptrace_scope below 3",
		    pid, what, strerror(err));
}

/* A thread that has memory: the process, unless its first thread has ended. */
static pid_t thread_with_memory(pid_t tid, pid_t tgid)
{
	return tid != tgid && kcmp(tid, tgid, KCMP_VM) > 0 ? tid : tgid;
}

static int open_mem(pid_t tid, int flags)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/mem", tid);
	return confine_open(path, flags | O_CLOEXEC);
}

/* A digest (FNV-1a) of the auxiliary vector that the kernel keeps for the
 * thread's address space; 0: it cannot be read. */
static uint64_t program_digest(pid_t tid)
{
	uint64_t digest = UINT64_C(0xcbf29ce484222325);
	unsigned char aux[1024];
	char path[40];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/auxv", tid);
	fd = confine_open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, aux, sizeof(aux));
	close(fd);
	for (ssize_t i = 0; i < n; i++)
		digest = (digest ^ aux[i]) * UINT64_C(0x100000001b3);
	return n > 0 && digest ? digest : 0;
}

/* No user's memory, also where the kernel ignores the upper bits of an address
 * (arm64, x86 with LAM). */
#define NOWHERE ((off_t)3 << 55)

/* Is the pinned address space in use? A read touches no page: it finds no
 * address space, or fails. */
static bool is_in_use(const struct peer *p)
{
	char c;

	return pread(p->mem_fd, &c, 1, NOWHERE) < 0;
}

/* Does the thread run the program that became the owner? */
static bool is_same_program(const struct peer *p, pid_t tid)
{
	return is_in_use(p) && program_digest(tid) == p->program;
}

bool peer_lives(const struct peer *p)
{
	struct pollfd dead = { .fd = p->pidfd, .events = POLLIN };

	return poll(&dead, 1, 0) == 0;
}

int peer_fault_in(const struct peer *p, const struct taker_order *who,
		  bool write, uint64_t uva, uint64_t len)
{
	struct taker_order o = *who;
	int fd, ret;

	o.tid = p->waiter;
	o.kind = write ? TAKER_FAULT_IN_WRITE : TAKER_FAULT_IN_READ;
	o.start = uva;
	o.end = len;
	for (;;) {
		if (!peer_is_there(p))
			return -ESRCH;
		ret = taker_take(&o, &fd);
		if (ret == 0 || ret == -ECANCELED ||
		    (o.given_up && o.given_up(o.ctx)))
			return ret;
		/* There is no taker, for want of processes for example. */
		poll(NULL, 0, RETRY_MS);
	}
}

bool peer_is_there(const struct peer *p)
{
	return p->pid && thread_group(p->waiter) == p->pid && peer_lives(p) &&
	       is_same_program(p, p->waiter);
}

static void on_owner_death(struct loop_watch *watch, uint32_t events)
{
	struct peer *p = container_of(watch, struct peer, death);

	(void)events;
	worker_watch_del(p->worker, watch);
	p->died(p->ctx);
}

int peer_attach(struct peer *p, pid_t tid, struct worker *w,
		void (*died)(void *ctx), void *ctx, struct log_limit *limit,
		const struct log_tag *tag)
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
	mem = open_mem(tid, O_RDWR);
	if (mem < 0) {
		log_no_access(limit, tag, tgid, "/proc/PID/mem", -mem);
		return mem == -EACCES ? -EPERM : mem;
	}
	*p = (struct peer){
		.pid = tgid,
		.mem_fd = mem,
		.waiter = thread_with_memory(tid, tgid),
		.program = program_digest(tid),
		.worker = w,
		.death = { .fn = on_owner_death, .fd = -1 },
		.died = died,
		.ctx = ctx,
	};
	if (!p->program) {
		log_no_access(limit, tag, tgid, "/proc/PID/auxv", EACCES);
		ret = -EPERM;
		goto err_mem;
	}
	p->pidfd = pidfd_open(tgid, 0);
	if (p->pidfd < 0) {
		ret = -errno;
		goto err_mem;
	}
	ret = worker_watch_add(w, &p->death, p->pidfd, EPOLLIN);
	if (ret < 0)
		goto err_pidfd;
	taker_hold();
	return 0;

err_pidfd:
	close(p->pidfd);
err_mem:
	close(mem);
	p->pid = 0;
	return ret;
}

int peer_restore(struct peer *p, const struct peer *known, int mem_fd,
		 struct worker *w, void (*died)(void *ctx), void *ctx)
{
	int ret;

	*p = (struct peer){
		.pid = known->pid,
		.pidfd = known->pidfd,
		.mem_fd = mem_fd,
		.waiter = known->waiter,
		.program = known->program,
		.worker = w,
		.death = { .fn = on_owner_death, .fd = -1 },
		.died = died,
		.ctx = ctx,
	};
	ret = worker_watch_add(w, &p->death, p->pidfd, EPOLLIN);
	if (ret < 0) {
		p->pid = 0;
		close(mem_fd);
	} else {
		taker_hold();
	}
	return ret;
}

void peer_detach(struct peer *p)
{
	if (!p->pid)
		return;
	worker_watch_del(p->worker, &p->death);
	close(p->pidfd);
	close(p->mem_fd);
	p->pid = 0;
	taker_release();
}

/* Does the caller share its memory with some thread of the owner's process?
 * Only if the first has ended is another one asked. */
static bool shares_with_thread(pid_t tid, pid_t owner)
{
	char path[40];
	struct dirent *e;
	bool same = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", owner);
	dir = opendir(path);
	while (dir && !same && (e = readdir(dir))) {
		uint64_t t;

		same = parse_number(e->d_name, 1, INT_MAX, &t) == 0 &&
		       kcmp(tid, (pid_t)t, KCMP_VM) == 0 &&
		       thread_group((pid_t)t) == owner;
	}
	if (dir)
		closedir(dir);
	return same;
}

/* Does the caller run in the address space that the owner's process has now? */
static bool is_with_process(const struct peer *p, pid_t tid)
{
	if (thread_group(tid) != p->pid && kcmp(tid, p->pid, KCMP_VM) != 0 &&
	    !shares_with_thread(tid, p->pid))
		return false;
	return peer_lives(p);
}

bool peer_is_owner(const struct peer *p, pid_t tid)
{
	return p->pid && tid > 0 && is_with_process(p, tid) &&
	       is_same_program(p, tid);
}

/* Before Linux 6.9 only a process has a pidfd. */
static void log_other_table(pid_t tid, pid_t tgid, struct log_limit *limit,
			    const struct log_tag *tag)
{
	if (kcmp(tid, tgid, KCMP_FILES) > 0)
		log_limited(limit, tag, LOG_LEVEL_WARNING,
			    "thread %d does not share the descriptors of its "
			    "process %d: Linux 6.9 is needed to reach them",
			    tid, tgid);
}

int peer_take(struct taker_order *o, struct log_limit *limit,
	      const struct log_tag *tag, int *fd)
{
	pid_t tgid;
	int ret;

	if (o->tid <= 0)
		return -ESRCH;
	o->table = o->tid;
	ret = taker_take(o, fd);
	if (ret != -ESRCH)
		return ret;
	tgid = thread_group(o->tid);
	if (tgid < 0 || tgid == o->tid)
		return -ESRCH;
	log_other_table(o->tid, tgid, limit, tag);
	o->table = tgid;
	return taker_take(o, fd);
}

int peer_fetch_fd(struct taker_order *o, struct log_limit *limit,
		  const struct log_tag *tag, int *fd)
{
	int ret;

	if (o->number < 0) {
		*fd = o->number == VDEV_FD_NONE ? VDEV_FD_NONE : VDEV_FD_BAD;
		return 0;
	}
	ret = peer_take(o, limit, tag, fd);
	switch (ret) {
	case 0:
		return 0;
	case -EBADF:
		*fd = VDEV_FD_BAD;
		return 0;
	case -EMFILE:
	case -ENFILE:
	case -ENOMEM:
		log_limited(limit, tag, LOG_LEVEL_WARNING,
			    "out of descriptors: raise LimitNOFILE of uvhostd");
		return -ENOMEM;
	case -EAGAIN:
		log_limited(limit, tag, LOG_LEVEL_WARNING,
			    "no process can be started to take a descriptor");
		return -ENOMEM;
	case -ECANCELED:
		return -EPERM;
	default:
		log_no_access(limit, tag, o->tid, "pidfd_getfd", -ret);
		return -EPERM;
	}
}
