/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hijack_ways.c tries the ways out of a worker process that its guest has taken
 * over. None does harm if it is open: signals are number 0, files are only
 * opened, names do not exist. A call that fails with EPERM is denied; where
 * another error is a denial as well, the row says so.
 */
#include "hijack.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/openat2.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>

#include "wproc.h"

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x20
#endif
#ifndef PTRACE_SEIZE
#define PTRACE_SEIZE 0x4206
#endif

/* Arguments that the order or this process has: process ids, and descriptors.
 */
enum {
	BROKER = 0x7eef0000,
	OTHER,
	OTHER_WORKER,
	SELF,
	CHANNEL,
	LOG,
	MEMORY, /* the memory that outlives this process */
	TAP,
	ARGS,
};

/* Flags of a row. */
enum {
	ANY_ERROR = 1, /* each is a denial */
};

/** struct way - a system call, or a function that returns what one does */
struct way {
	const char *name;
	long nr;
	long arg[6];
	unsigned int flags;
	long (*fn)(void);
};

/* What the arguments point to. */
static char page[8192] __attribute__((aligned(4096)));
static char broker_mem[40], other_mem[40], other_fd[40];
static struct iovec local = { page, 8 }, remote = { 0, 8 };
static struct open_how how;
static siginfo_t info = { .si_code = SI_QUEUE };
static struct io_uring_params ring;
static union bpf_attr map_attr = { .map_type = BPF_MAP_TYPE_ARRAY,
				   .key_size = 4,
				   .value_size = 4,
				   .max_entries = 1 };
static struct perf_event_attr perf = { .type = PERF_TYPE_SOFTWARE,
				       .size = sizeof(perf),
				       .exclude_kernel = 1 };
static unsigned long all_cpus[16] = { ~0UL };
static struct sockaddr_in addr = { .sin_family = AF_INET };
static struct ifreq ifreq = { .ifr_name = "hijack0" };
static int one = 1;
static char *no_args[1];
static struct {
	unsigned int version;
	int pid;
} cap_header = { 0x20080522, 0 };
static char cap_data[24];

#define P(p) ((long)(p))
#define CALL(name, ...) .nr = SYS_##name, .arg = { __VA_ARGS__ }
#define NO_FILE P("/nonexistent/hijack")

static long try_fork(void)
{
	long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (pid == 0)
		_exit(0);
	if (pid > 0)
		waitpid((pid_t)pid, NULL, 0);
	return pid;
}

static long try_user_namespace(void)
{
	long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);

	if (pid == 0)
		_exit(0);
	if (pid > 0)
		waitpid((pid_t)pid, NULL, 0);
	return pid;
}

static long try_new_code(void)
{
	void *p = mmap(NULL, sizeof(page), PROT_READ | PROT_WRITE | PROT_EXEC,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? -1 : 0;
}

static const struct way ways[] = {
	/* other processes */
	{ "ptrace: seize the broker",
	  CALL(ptrace, PTRACE_SEIZE, BROKER, 0, 0) },
	{ "ptrace: attach to process 1", CALL(ptrace, PTRACE_ATTACH, 1) },
	{ "ptrace: seize another VMM of this user",
	  CALL(ptrace, PTRACE_SEIZE, OTHER, 0, 0) },
	{ "ptrace: seize another guest's worker",
	  CALL(ptrace, PTRACE_SEIZE, OTHER_WORKER, 0, 0) },
	{ "process_vm_readv of the broker",
	  CALL(process_vm_readv, BROKER, P(&local), 1, P(&remote), 1, 0) },
	{ "process_vm_readv of another VMM of this user",
	  CALL(process_vm_readv, OTHER, P(&local), 1, P(&remote), 1, 0) },
	{ "process_vm_readv of process 1",
	  CALL(process_vm_readv, 1, P(&local), 1, P(&remote), 1, 0) },
	{ "process_vm_writev to another VMM of this user",
	  CALL(process_vm_writev, OTHER, P(&local), 0, P(&remote), 0, 0) },
	{ "process_vm_writev to the broker",
	  CALL(process_vm_writev, BROKER, P(&local), 0, P(&remote), 0, 0) },
	{ "pidfd_open of the broker", CALL(pidfd_open, BROKER, 0) },
	{ "pidfd_open of another VMM", CALL(pidfd_open, OTHER, 0) },
	{ "pidfd_getfd", CALL(pidfd_getfd, CHANNEL, 0, 0) },
	{ "pidfd_send_signal", CALL(pidfd_send_signal, CHANNEL, 0, 0, 0) },
	{ "kill the broker", CALL(kill, BROKER, 0) },
	{ "kill another VMM", CALL(kill, OTHER, 0) },
	{ "kill everything", CALL(kill, -1, 0) },
	{ "tgkill another VMM", CALL(tgkill, OTHER, OTHER, 0) },
	{ "tkill another VMM", CALL(tkill, OTHER, 0) },
	{ "rt_sigqueueinfo to another VMM",
	  CALL(rt_sigqueueinfo, OTHER, 0, P(&info)) },
	{ "kcmp with another VMM", CALL(kcmp, SELF, OTHER, 0, 0, 0) },
	{ "sched_setaffinity of another VMM",
	  CALL(sched_setaffinity, OTHER, sizeof(all_cpus), P(all_cpus)) },
	{ "setpriority of another VMM", CALL(setpriority, 0, OTHER, 0) },
	{ "prlimit64 of another VMM", CALL(prlimit64, OTHER, 7, 0, P(page)) },
	{ "get_robust_list of another VMM",
	  CALL(get_robust_list, OTHER, P(page), P(page + 8)) },
	{ "process_madvise", CALL(process_madvise, CHANNEL, P(&local), 1) },
	{ "move_pages of another VMM",
	  CALL(move_pages, OTHER, 0, P(page), 0, P(page), 0) },
/* files */
#ifdef SYS_open
	{ "open /etc/passwd", CALL(open, P("/etc/passwd"), O_RDONLY) },
	{ "creat", CALL(creat, NO_FILE, 0600) },
#endif
	{ "openat /etc/passwd",
	  CALL(openat, AT_FDCWD, P("/etc/passwd"), O_RDONLY) },
	{ "openat its own memory",
	  CALL(openat, AT_FDCWD, P("/proc/self/mem"), O_RDWR) },
	{ "openat the broker's memory",
	  CALL(openat, AT_FDCWD, P(broker_mem), O_RDONLY) },
	{ "openat another VMM's memory",
	  CALL(openat, AT_FDCWD, P(other_mem), O_RDWR) },
	{ "openat another VMM's descriptor",
	  CALL(openat, AT_FDCWD, P(other_fd), O_RDWR) },
	{ "openat /dev/net/tun",
	  CALL(openat, AT_FDCWD, P("/dev/net/tun"), O_RDWR) },
	{ "openat /dev/uvhost-net",
	  CALL(openat, AT_FDCWD, P("/dev/uvhost-net"), O_RDWR) },
	{ "openat /dev/null", CALL(openat, AT_FDCWD, P("/dev/null"), O_RDWR) },
	{ "openat the log again",
	  CALL(openat, AT_FDCWD, P("/proc/self/fd/2"), O_WRONLY) },
	{ "openat2 /etc/passwd",
	  CALL(openat2, AT_FDCWD, P("/etc/passwd"), P(&how), sizeof(how)) },
	{ "name_to_handle_at", CALL(name_to_handle_at, AT_FDCWD, P("/etc"),
				    P(page), P(page + 64), 0) },
	{ "open_by_handle_at",
	  CALL(open_by_handle_at, CHANNEL, P(page), O_RDONLY) },
	{ "getdents64", CALL(getdents64, LOG, P(page), sizeof(page)) },
	{ "inotify_init1", CALL(inotify_init1, 0) },
	{ "fanotify_init", CALL(fanotify_init, 0, 0) },
	{ "mkdirat", CALL(mkdirat, AT_FDCWD, NO_FILE, 0700) },
	{ "mknodat", CALL(mknodat, AT_FDCWD, NO_FILE, S_IFIFO | 0600, 0) },
	{ "symlinkat", CALL(symlinkat, NO_FILE, AT_FDCWD, NO_FILE) },
	{ "linkat", CALL(linkat, AT_FDCWD, NO_FILE, AT_FDCWD, NO_FILE, 0) },
	{ "renameat2",
	  CALL(renameat2, AT_FDCWD, NO_FILE, AT_FDCWD, NO_FILE, 0) },
	{ "unlinkat", CALL(unlinkat, AT_FDCWD, NO_FILE, 0) },
	{ "fchmodat", CALL(fchmodat, AT_FDCWD, NO_FILE, 0600) },
	{ "fchmod of its memory", CALL(fchmod, MEMORY, 0777) },
	{ "fchownat", CALL(fchownat, AT_FDCWD, NO_FILE, -1, -1, 0) },
	{ "chdir", CALL(chdir, P("/")) },
	{ "chroot", CALL(chroot, P("/")) },
	{ "mount", CALL(mount, P("none"), NO_FILE, P("tmpfs"), 0, 0) },
	{ "umount2", CALL(umount2, NO_FILE, 0) },
	{ "pivot_root", CALL(pivot_root, NO_FILE, NO_FILE) },
	{ "open_tree", CALL(open_tree, AT_FDCWD, P("/"), 0) },
	{ "fsopen", CALL(fsopen, P("tmpfs"), 0) },
	/* memory that was given to it */
	{ "ftruncate of its memory", CALL(ftruncate, MEMORY, -2) },
	{ "longer memory by ftruncate", CALL(ftruncate, MEMORY, -1) },
	{ "holes in its memory", CALL(fallocate, MEMORY, 3, 0, 0) },
	{ "longer memory by fallocate", CALL(fallocate, MEMORY, 0, 0, 0) },
	{ "more seals", CALL(fcntl, MEMORY, F_ADD_SEALS, 0) },
	{ "MADV_REMOVE", CALL(madvise, P(page), 4096, MADV_REMOVE) },
	{ "reads the log", CALL(pread64, LOG, P(page), 1, 0),
	  .flags = ANY_ERROR },
	{ "maps the log", CALL(mmap, 0, 4096, PROT_READ, MAP_SHARED, LOG, 0),
	  .flags = ANY_ERROR },
	{ "overwrites the log",
	  CALL(pwritev2, LOG, P(&local), 1, 0, 0, RWF_NOAPPEND) },
	{ "cuts the log", CALL(ftruncate, LOG, -1) },
	{ "types into the log's terminal", CALL(ioctl, LOG, 0x5412, P("x")) },
	{ "the log's O_NONBLOCK", CALL(fcntl, LOG, F_SETFL, 0) },
	{ "the log's owner (SIGIO)", CALL(fcntl, LOG, F_SETOWN, OTHER) },
	/* new code */
	{ "mmap PROT_EXEC", .fn = try_new_code },
	{ "mprotect PROT_EXEC",
	  CALL(mprotect, P(page), 4096, PROT_READ | PROT_WRITE | PROT_EXEC) },
	{ "mmap PROT_EXEC of its memory",
	  CALL(mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, MEMORY, 0) },
	{ "pkey_mprotect",
	  CALL(pkey_mprotect, P(page), 4096, PROT_READ | PROT_WRITE, -1) },
	{ "memfd_create", CALL(memfd_create, P("hijack"), 0) },
	{ "memfd_secret", CALL(memfd_secret, 0) },
	{ "execve", CALL(execve, NO_FILE, P(no_args), P(no_args)) },
	{ "execveat of its memory", CALL(execveat, MEMORY, P(""), P(no_args),
					 P(no_args), AT_EMPTY_PATH) },
	{ "fork", .fn = try_fork },
	{ "clone with a user namespace", .fn = try_user_namespace },
	{ "clone3", CALL(clone3, P(page), 64) },
	/* namespaces, users, rights */
	{ "unshare", CALL(unshare, CLONE_NEWUSER) },
	{ "setns", CALL(setns, CHANNEL, 0) },
	{ "setuid to root", CALL(setuid, 0) },
	{ "setgid to root", CALL(setgid, 0) },
	{ "setresuid to its own", CALL(setresuid, -1, -1, -1) },
	{ "setresgid to its own", CALL(setresgid, -1, -1, -1) },
	{ "setgroups", CALL(setgroups, 0, 0) },
	{ "capset", CALL(capset, P(&cap_header), P(cap_data)) },
	{ "prctl PR_SET_DUMPABLE", CALL(prctl, PR_SET_DUMPABLE, 1, 0, 0, 0) },
	{ "prctl PR_SET_PTRACER", CALL(prctl, PR_SET_PTRACER, OTHER, 0, 0, 0) },
	{ "prctl PR_SET_SECCOMP",
	  CALL(prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, 0, 0, 0) },
	{ "seccomp", CALL(seccomp, SECCOMP_SET_MODE_FILTER, 0, 0) },
	{ "personality", CALL(personality, 0xffffffff) },
	{ "setsid", CALL(setsid, 0) },
	{ "setrlimit", CALL(prlimit64, 0, 7, 0, P(page)) },
	{ "keyctl", CALL(keyctl, KEYCTL_GET_KEYRING_ID, -3, 0) },
	{ "add_key", CALL(add_key, P("none"), P("hijack"), 0, 0, -3) },
	/* sockets, and the descriptors that it has */
	{ "socket: TCP", CALL(socket, AF_INET, SOCK_STREAM, 0) },
	{ "socket: packets", CALL(socket, AF_PACKET, SOCK_RAW, 0) },
	{ "socket: netlink", CALL(socket, AF_NETLINK, SOCK_RAW, 0) },
	{ "socketpair", CALL(socketpair, AF_UNIX, SOCK_STREAM, 0, P(page)) },
	{ "connect", CALL(connect, CHANNEL, P(&addr), sizeof(addr)) },
	{ "bind", CALL(bind, CHANNEL, P(&addr), sizeof(addr)) },
	{ "listen", CALL(listen, CHANNEL, 1) },
	{ "accept4", CALL(accept4, CHANNEL, 0, 0, 0) },
	{ "sendto", CALL(sendto, TAP, P(page), 0, 0, P(&addr), 16) },
	{ "shutdown of its channel", CALL(shutdown, CHANNEL, 7) },
	{ "setsockopt SO_SNDBUF", CALL(setsockopt, CHANNEL, SOL_SOCKET,
				       SO_SNDBUF, P(&one), sizeof(one)) },
	{ "setsockopt SO_PASSCRED", CALL(setsockopt, CHANNEL, SOL_SOCKET,
					 SO_PASSCRED, P(&one), sizeof(one)) },
	{ "setsockopt SO_ATTACH_FILTER", CALL(setsockopt, CHANNEL, SOL_SOCKET,
					      SO_ATTACH_FILTER, P(page), 16) },
	{ "getsockopt SO_PEERCRED", CALL(getsockopt, CHANNEL, SOL_SOCKET,
					 SO_PEERCRED, P(page), P(page + 64)) },
	{ "TUNSETIFF to another name", CALL(ioctl, TAP, TUNSETIFF, P(&ifreq)) },
	{ "TUNSETOWNER", CALL(ioctl, TAP, TUNSETOWNER, 0) },
	{ "TUNSETPERSIST", CALL(ioctl, TAP, TUNSETPERSIST, 1) },
	{ "TUNSETOFFLOAD", CALL(ioctl, TAP, TUNSETOFFLOAD, 0) },
	{ "TUNSETSNDBUF", CALL(ioctl, TAP, TUNSETSNDBUF, P(&one)) },
	{ "SIOCSIFFLAGS", CALL(ioctl, TAP, SIOCSIFFLAGS, P(&ifreq)) },
	{ "SIOCSIFHWADDR", CALL(ioctl, TAP, SIOCSIFHWADDR, P(&ifreq)) },
	{ "the tap's O_NONBLOCK", CALL(fcntl, TAP, F_SETFL, 0) },
	{ "splice", CALL(splice, TAP, 0, CHANNEL, 0, 1, 0) },
	{ "pipe2", CALL(pipe2, P(page), 0) },
	{ "eventfd2", CALL(eventfd2, 0, 0) },
	{ "epoll_create1", CALL(epoll_create1, 0) },
	/* the kernel */
	{ "userfaultfd", CALL(userfaultfd, 1) },
	{ "io_uring_setup", CALL(io_uring_setup, 1, P(&ring)) },
	{ "bpf", CALL(bpf, BPF_MAP_CREATE, P(&map_attr), sizeof(map_attr)) },
	{ "perf_event_open", CALL(perf_event_open, P(&perf), 0, -1, -1, 0) },
	{ "shmget", CALL(shmget, 0, 0, 0600) },
	{ "mq_open", CALL(mq_open, P("hijack"), O_RDONLY, 0, 0) },
	{ "io_setup", CALL(io_setup, 1, P(page)) },
	{ "syslog", CALL(syslog, 3, P(page), 1) },
	{ "reboot", CALL(reboot, 0, 0, 0, 0) },
	{ "finit_module", CALL(finit_module, LOG, P(""), 0) },
	{ "kexec_load", CALL(kexec_load, 0, -1, 0, -1) },
	{ "clock_settime", CALL(clock_settime, -1, 0) },
};

/* ---- what the arguments stand for ---- */

static long given[ARGS - BROKER];

int hijack_memory(void)
{
	for (int fd = WPROC_SOCK; fd < 256; fd++) {
		int seals = fcntl(fd, F_GET_SEALS);

		if (seals >= 0 && seals & F_SEAL_SHRINK)
			return fd;
	}
	return -1;
}

static int find_tap(void)
{
	struct ifreq ifr;

	for (int fd = WPROC_SOCK; fd < 256; fd++)
		if (ioctl(fd, TUNGETIFF, &ifr) == 0)
			return fd;
	return -1;
}

static void prepare(const struct hijack_order *o)
{
	given[BROKER - BROKER] = o->broker;
	given[OTHER - BROKER] = o->other;
	given[OTHER_WORKER - BROKER] = o->other_worker;
	given[SELF - BROKER] = getpid();
	given[CHANNEL - BROKER] = WPROC_SOCK;
	given[LOG - BROKER] = STDERR_FILENO;
	given[MEMORY - BROKER] = hijack_memory();
	given[TAP - BROKER] = find_tap();
	remote.iov_base = (void *)(uintptr_t)o->secret_uva;
	snprintf(broker_mem, sizeof(broker_mem), "/proc/%d/mem", o->broker);
	snprintf(other_mem, sizeof(other_mem), "/proc/%d/mem", o->other);
	snprintf(other_fd, sizeof(other_fd), "/proc/%d/fd/0", o->other);
	for (int i = MEMORY; i <= TAP; i++)
		if (given[i - BROKER] < 0)
			hijack_say("no %s is found",
				   i == TAP ? "tap" : "memory");
}

static long real_arg(long arg)
{
	return arg >= BROKER && arg < ARGS ? given[arg - BROKER] : arg;
}

static void try_way(const struct way *w)
{
	const long *a = w->arg;
	long ret;
	bool denied;

	errno = 0;
	ret = w->fn ? w->fn()
		    : syscall(w->nr, real_arg(a[0]), real_arg(a[1]),
			      real_arg(a[2]), real_arg(a[3]), real_arg(a[4]),
			      real_arg(a[5]));
	denied = ret == -1 && (errno == EPERM || w->flags & ANY_ERROR);
	if (ret == -1)
		hijack_say("way: %s: %s (%s)", w->name,
			   denied ? "denied" : "OPEN", strerrorname_np(errno));
	else
		hijack_say("way: %s: OPEN (%ld)", w->name, ret);
}

/* The memory file of a VMM, if there is one among the descriptors. */
static void say_reach(const struct hijack_order *o)
{
	int own = hijack_find(0, &o->secret, sizeof(o->secret), o->secret_uva);
	int other = hijack_find(0, &o->other_secret, sizeof(o->other_secret),
				o->secret_uva);

	hijack_say("reach: memory of its own VMM: %s", own < 0 ? "no" : "yes");
	hijack_say("reach: memory of another VMM: %s",
		   other < 0 ? "no" : "yes");
}

void hijack_try_ways(const struct hijack_order *o)
{
	prepare(o);
	say_reach(o);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		try_way(&ways[i]);
	/* At the start of the log, if that is a file: the script looks. */
	if (pwrite(STDERR_FILENO, "OVERWRITTEN\n", 12, 0) < 0)
		hijack_say("the log takes no offset");
}
