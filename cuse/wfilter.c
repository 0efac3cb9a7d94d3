/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wfilter.c lists the system calls of a worker process (seccomp(2), with
 * libseccomp).
 *
 * All that a worker has was given to it: it opens nothing, makes no socket and
 * no process; threads only if it serves a vhost-user connection or a network.
 * So a call is in the list because the code makes it after wfilter_install(),
 * and where a call has a dangerous half, a rule for its arguments leaves that
 * half out:
 *
 *   fcntl     no F_SETFL (the open file is shared with the VMM), no F_SETOWN
 *             (signals to others), no F_ADD_SEALS (on memory of the guest)
 *   ioctl     the questions that tap.c asks, nothing that changes a tap
 *   mmap      no PROT_EXEC; mprotect(2) too: there is no new code
 *   madvise   no MADV_REMOVE: it makes holes in shared files
 *   tgkill    threads of this process (abort(3))
 *   pwritev2  no RWF_NOAPPEND (Linux 6.9), if the log is a file: lines are
 *             added to it, and stay
 *   kcmp      descriptors of this process
 *
 * What is not in the list fails with EPERM. To end the process instead would
 * turn a call that was forgotten here into the death of a guest's network, and
 * a refused call gives an attacker nothing.
 *
 * The kernel looks at the list before each call. Those without a rule for
 * arguments cost next to nothing (Linux 5.11), and fcntl(2), which is called
 * once for each signal to the guest (evfd.h), comes first among the others.
 *
 * Sanitizers make calls of their own: they read /proc/self/maps and the program
 * itself for a report, and look for leaks at the end from a process that traces
 * this one. A program that is built with them is for tests, and has a second
 * list.
 */
#include "wfilter.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>
#include <linux/kcmp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/userfaultfd.h>

#include "abi.h"
#include "bytes.h"

static const int plain[] = {
	/* frames, eventfds, the socket, the log, the owner's memory file */
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(readv),
	SCMP_SYS(writev),
	SCMP_SYS(pread64),
	SCMP_SYS(pwrite64),
	SCMP_SYS(preadv2),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmsg),
	SCMP_SYS(recvmmsg),
	SCMP_SYS(sendmmsg),
	SCMP_SYS(recvmmsg_time64),
	/* the loop */
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(ppoll_time64),
	SCMP_SYS(futex),
	SCMP_SYS(futex_time64),
	SCMP_SYS(restart_syscall),
	/* descriptors that come and go; what they are */
	SCMP_SYS(close),
	SCMP_SYS(dup),
	SCMP_SYS(fstat),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	/* memory */
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(brk),
	/* time, where it takes a system call; random numbers, for malloc(3) */
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_gettime64),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(getrandom),
	/* malloc(3): how many arenas; qsort(3): how much memory */
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sysinfo),
	/* handlers, and the end */
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
#ifdef UVHOST_SANITIZED
	/* /proc/self, the program's symbols */
	SCMP_SYS(open),
	SCMP_SYS(openat),
	SCMP_SYS(lseek),
	SCMP_SYS(getdents64),
	SCMP_SYS(getdents),
	SCMP_SYS(access),
	SCMP_SYS(stat),
	SCMP_SYS(lstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(ioctl),
	SCMP_SYS(fcntl),
	SCMP_SYS(madvise),
	SCMP_SYS(pipe2),
	SCMP_SYS(dup2),
	/* stacks, threads, limits */
	SCMP_SYS(sigaltstack),
	SCMP_SYS(sched_yield),
	SCMP_SYS(prlimit64),
	SCMP_SYS(getrlimit),
	SCMP_SYS(arch_prctl),
	SCMP_SYS(prctl),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),
	SCMP_SYS(getppid),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(mincore),
	SCMP_SYS(msync),
	/* leaks: a traced process */
	SCMP_SYS(clone),
	SCMP_SYS(ptrace),
	SCMP_SYS(wait4),
#endif
};

/* Arguments that a call may have. All are 32 bits wide: the rest of a register
 * is undefined. */
#define ARG(n, value) { n, SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint32_t)(value) }
/* None of the bits is set; all of them are. */
#define ARG_CLEAR(n, bits) { n, SCMP_CMP_MASKED_EQ, (bits), 0 }
#define ARG_SET(n, bits) { n, SCMP_CMP_MASKED_EQ, (bits), (bits) }

static const struct rule {
	int call;
	unsigned int nargs;
	struct scmp_arg_cmp arg[2];
} rules[] = {
	{ SCMP_SYS(fcntl), 1, { ARG(1, F_GETFL) } },
	{ SCMP_SYS(fcntl), 1, { ARG(1, F_GETFD) } },
	{ SCMP_SYS(fcntl), 1, { ARG(1, F_DUPFD_CLOEXEC) } },
	{ SCMP_SYS(fcntl), 1, { ARG(1, F_DUPFD_QUERY) } },
	{ SCMP_SYS(fcntl), 1, { ARG(1, F_GET_SEALS) } },

	{ SCMP_SYS(ioctl), 1, { ARG(1, TUNGETIFF) } },
	{ SCMP_SYS(ioctl), 1, { ARG(1, TUNGETVNETHDRSZ) } },
	{ SCMP_SYS(ioctl), 1, { ARG(1, TUNGETSNDBUF) } },

	{ SCMP_SYS(getsockopt), 2, { ARG(1, SOL_SOCKET), ARG(2, SO_DOMAIN) } },
	{ SCMP_SYS(getsockopt), 2, { ARG(1, SOL_SOCKET), ARG(2, SO_TYPE) } },
	{ SCMP_SYS(getsockopt),
	  2,
	  { ARG(1, SOL_PACKET), ARG(2, PACKET_VNET_HDR) } },
	{ SCMP_SYS(getsockopt),
	  2,
	  { ARG(1, SOL_PACKET), ARG(2, PACKET_VNET_HDR_SZ) } },

	/* Of a descriptor alone; libc passes "" as the path. */
	{ SCMP_SYS(newfstatat), 1, { ARG_SET(3, AT_EMPTY_PATH) } },
	{ SCMP_SYS(statx), 1, { ARG_SET(2, AT_EMPTY_PATH) } },

	{ SCMP_SYS(mmap), 1, { ARG_CLEAR(2, PROT_EXEC) } },
	{ SCMP_SYS(mmap2), 1, { ARG_CLEAR(2, PROT_EXEC) } },
	{ SCMP_SYS(mprotect), 1, { ARG_CLEAR(2, PROT_EXEC) } },
	{ SCMP_SYS(madvise), 1, { ARG(2, MADV_DONTDUMP) } },
	{ SCMP_SYS(madvise), 1, { ARG(2, MADV_DONTFORK) } },
	{ SCMP_SYS(madvise), 1, { ARG(2, MADV_DONTNEED) } },
};

static int add_rules(scmp_filter_ctx ctx)
{
	int ret = 0;

	for (size_t i = 0; i < ARRAY_SIZE(plain) && ret == 0; i++)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, plain[i], 0);
	for (size_t i = 0; i < ARRAY_SIZE(rules) && ret == 0; i++)
		ret = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, rules[i].call,
					     rules[i].nargs, rules[i].arg);
	return ret;
}

/* If the log is no file, pwritev2(2), which each frame takes once, has no rule
 * for its arguments, and is faster. */
static bool log_is_file(void)
{
	struct stat st;

	return fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode);
}

/* Rules whose arguments are known only at run time. */
static int add_own_rules(scmp_filter_ctx ctx)
{
	const struct scmp_arg_cmp kcmp_args[] = {
		ARG(0, getpid()),
		ARG(1, getpid()),
		ARG(2, KCMP_FILE),
	};
	const struct scmp_arg_cmp self = ARG(0, getpid());
	const struct scmp_arg_cmp nowait = ARG_CLEAR(5, (uint32_t)~RWF_NOWAIT);
	int ret;

	ret = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(kcmp),
				     ARRAY_SIZE(kcmp_args), kcmp_args);
	if (ret == 0)
		ret = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW,
					     SCMP_SYS(tgkill), 1, &self);
	if (ret == 0)
		ret = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW,
					     SCMP_SYS(pwritev2),
					     log_is_file() ? 1 : 0, &nowait);
	return ret;
}

/* ---- a vhost-user connection ---- */

static const int sock_plain[] = {
	/* threads: their start, beside memory */
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(epoll_create1),
	SCMP_SYS(eventfd2),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(timerfd_settime64),
	/* the connection; the size of huge pages; the in-flight record */
	SCMP_SYS(shutdown),
	SCMP_SYS(fstatfs),
	SCMP_SYS(fstatfs64),
	SCMP_SYS(memfd_create),
};

/* A thread of this process: no process, and no namespace. */
#define CLONE_NEVER                                                     \
	(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |    \
	 CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP | CLONE_PTRACE | \
	 CLONE_UNTRACED | CLONE_VFORK | CLONE_PARENT)
#define CLONE_ALWAYS \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)

static const struct rule sock_rules[] = {
	{ SCMP_SYS(clone),
	  1,
	  { { 0, SCMP_CMP_MASKED_EQ, CLONE_NEVER | CLONE_ALWAYS,
	      CLONE_ALWAYS } } },

	{ SCMP_SYS(ioctl), 1, { ARG(1, TUNSETQUEUE) } },
	{ SCMP_SYS(ioctl), 1, { ARG(1, TUNSETOFFLOAD) } },
	{ SCMP_SYS(ioctl), 1, { ARG(1, TUNSETVNETHDRSZ) } },

	{ SCMP_SYS(getsockopt),
	  2,
	  { ARG(1, SOL_PACKET), ARG(2, PACKET_FANOUT) } },
	{ SCMP_SYS(setsockopt),
	  2,
	  { ARG(1, SOL_PACKET), ARG(2, PACKET_FANOUT) } },
	{ SCMP_SYS(setsockopt),
	  2,
	  { ARG(1, SOL_SOCKET), ARG(2, SO_ATTACH_FILTER) } },
	{ SCMP_SYS(setsockopt),
	  2,
	  { ARG(1, SOL_SOCKET), ARG(2, SO_DETACH_FILTER) } },
	{ SCMP_SYS(setsockopt), 2, { ARG(1, SOL_SOCKET), ARG(2, SO_RCVBUF) } },
};

/* The system call makes a userfaultfd of this process, if the kernel lets its
 * user: faults of the kernel count, since it copies frames for us, so the flag
 * UFFD_USER_MODE_ONLY cannot be asked for. */
static const struct rule postcopy_rules[] = {
	{ SCMP_SYS(userfaultfd), 1, { ARG(0, O_CLOEXEC | O_NONBLOCK) } },
	{ SCMP_SYS(ioctl), 1, { ARG(1, USERFAULTFD_IOC_NEW) } },
	{ SCMP_SYS(ioctl), 1, { ARG(1, UFFDIO_API) } },
	{ SCMP_SYS(ioctl), 1, { ARG(1, UFFDIO_REGISTER) } },
	{ SCMP_SYS(ioctl), 1, { ARG(1, UFFDIO_UNREGISTER) } },
	{ SCMP_SYS(madvise), 1, { ARG(2, MADV_NOHUGEPAGE) } },
};

/* ---- a network ---- */

/* Captures: a part of a block is removed; what is no file may be a socket.
 * Timers: net_rules. */
static const int net_plain[] = {
	SCMP_SYS(ftruncate),     SCMP_SYS(ftruncate64),
	SCMP_SYS(lseek),         SCMP_SYS(_llseek),
	SCMP_SYS(timer_settime), SCMP_SYS(timer_settime64),
	SCMP_SYS(timer_delete),
};

/* What libc makes of CLOCK_THREAD_CPUTIME_ID: the calling thread's. */
#define OWN_CLOCK (-2)

/* sendto(2) without an address. Timers of the processor time of a thread
 * (wdog.h): the signal goes to this process. */
static const struct rule net_rules[] = {
	{ SCMP_SYS(timer_create), 1, { ARG(0, CLOCK_THREAD_CPUTIME_ID) } },
	{ SCMP_SYS(timer_create), 1, { ARG(0, OWN_CLOCK) } },
	{ SCMP_SYS(sendto), 1, { { 4, SCMP_CMP_EQ, 0, 0 } } },
};

static int add_table(scmp_filter_ctx ctx, const struct rule *rule, size_t n)
{
	int ret = 0;

	for (size_t i = 0; i < n && ret == 0; i++)
		ret = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, rule[i].call,
					     rule[i].nargs, rule[i].arg);
	return ret;
}

static int add_sock_rules(scmp_filter_ctx ctx, bool postcopy)
{
	int ret = 0;

	for (size_t i = 0; i < ARRAY_SIZE(sock_plain) && ret == 0; i++)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, sock_plain[i], 0);
	if (ret == 0)
		ret = add_table(ctx, sock_rules, ARRAY_SIZE(sock_rules));
	if (ret == 0 && postcopy)
		ret = add_table(ctx, postcopy_rules,
				ARRAY_SIZE(postcopy_rules));
	/* clone3(2) has its flags in memory, where a filter does not see them:
	 * libc falls back to clone(2). */
	if (ret == 0)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS),
				       SCMP_SYS(clone3), 0);
	return ret;
}

static int add_net_rules(scmp_filter_ctx ctx)
{
	int ret = 0;

	for (size_t i = 0; i < ARRAY_SIZE(net_plain) && ret == 0; i++)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, net_plain[i], 0);
	return ret < 0 ? ret : add_table(ctx, net_rules, ARRAY_SIZE(net_rules));
}

/* ---- all together ---- */

static int set_attributes(scmp_filter_ctx ctx)
{
	int ret = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);

	/* The default ends one thread, and leaves the others waiting for it. */
	if (ret == 0)
		ret = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH,
				       SCMP_ACT_KILL_PROCESS);
	if (ret < 0)
		return ret;
	/* Else Linux before 5.16 makes all of the process slower: against a
	 * guest that measures it, which has its own processor for that.
	 * Libraries and kernels that lack it do without. */
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_SSB, 1);
	(void)seccomp_syscall_priority(ctx, SCMP_SYS(fcntl), UINT8_MAX);
	return 0;
}

enum wfilter_for { FOR_DEVICE, FOR_SOCK, FOR_SOCK_POSTCOPY, FOR_NET };

static int install(enum wfilter_for what)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int ret;

	if (!ctx)
		return -ENOMEM;
	ret = set_attributes(ctx);
	if (ret == 0)
		ret = add_rules(ctx);
	if (ret == 0)
		ret = add_own_rules(ctx);
	if (ret == 0 && what != FOR_DEVICE)
		ret = add_sock_rules(ctx, what == FOR_SOCK_POSTCOPY);
	if (ret == 0 && what == FOR_NET)
		ret = add_net_rules(ctx);
	if (ret == 0)
		ret = seccomp_load(ctx);
	seccomp_release(ctx);
	return ret;
}

int wfilter_install(void)
{
	return install(FOR_DEVICE);
}

int wfilter_install_sock(bool postcopy)
{
	return install(postcopy ? FOR_SOCK_POSTCOPY : FOR_SOCK);
}

int wfilter_install_net(void)
{
	return install(FOR_NET);
}
