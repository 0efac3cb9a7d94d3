/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_wfilter.c tests the list of system calls of a worker process: in a child
 * that has the filter, what is forbidden fails with EPERM, and what the worker
 * does works. The same calls without the filter fail with other errors, or a
 * test here would prove nothing.
 */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#include <linux/kcmp.h>
#include <net/if.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <linux/if_tun.h>

#include "abi.h"
#include "bytes.h"
#include "netport.h"
#include "wfilter.h"

/* Of calls that Debian 12's headers lack. */
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

/* Flags of a call: the kernel itself may refuse it to this process with EPERM;
 * it is let pass to programs that are built with sanitizers; or to one that
 * serves a vhost-user connection, or that has a network; or to the last alone.
 */
enum {
	BY_KERNEL = 1,
	BY_SANITIZERS = 2,
	BY_SESSION = 4,
	BY_NETWORK = 8,
};

/** struct forbidden - a system call, with arguments that do no harm */
struct forbidden {
	const char *name;
	long nr;
	long arg[6];
	unsigned int flags;
};

#define BAD_FD 9999

static const struct forbidden forbidden[] = {
	/* other processes */
	{ "ptrace", SYS_ptrace, { 0x4206, 0x7ffffff0 }, BY_SANITIZERS },
	{ "process_vm_readv", SYS_process_vm_readv, { 0x7ffffff0 }, 0 },
	{ "process_vm_writev", SYS_process_vm_writev, { 0x7ffffff0 }, 0 },
	{ "kill", SYS_kill, { 0x7ffffff0, 0 }, 0 },
	{ "tkill", SYS_tkill, { 0x7ffffff0, 0 }, 0 },
	{ "tgkill", SYS_tgkill, { 0x7ffffff0, 0x7ffffff0, 0 }, 0 },
	{ "rt_sigqueueinfo", SYS_rt_sigqueueinfo, { 0x7ffffff0, 0, 0 }, 0 },
	{ "pidfd_open", SYS_pidfd_open, { -1 }, 0 },
	{ "pidfd_getfd", SYS_pidfd_getfd, { BAD_FD, 0, 0 }, 0 },
	{ "pidfd_send_signal", SYS_pidfd_send_signal, { BAD_FD, 0, 0, 0 }, 0 },
	{ "process_madvise", SYS_process_madvise, { BAD_FD, 0, 0, 0, 0 }, 0 },
	{ "kcmp", SYS_kcmp, { 0x7ffffff0, 0x7ffffff0, KCMP_FILE }, 0 },
	{ "prlimit64", SYS_prlimit64, { 0x7ffffff0, 0 }, BY_SANITIZERS },
	{ "setpriority", SYS_setpriority, { 7, 0, 0 }, 0 },
	{ "sched_setaffinity", SYS_sched_setaffinity, { 0x7ffffff0, 0, 0 }, 0 },
	{ "get_robust_list", SYS_get_robust_list, { 0x7ffffff0, 0, 0 }, 0 },
/* files */
#ifdef SYS_open
	{ "open", SYS_open, { 0, O_RDONLY }, BY_SANITIZERS },
	{ "stat", SYS_stat, { 0, 0 }, BY_SANITIZERS },
#endif
	{ "openat", SYS_openat, { BAD_FD, 0, O_RDONLY }, BY_SANITIZERS },
	{ "openat2", SYS_openat2, { BAD_FD, 0, 0, 0 }, 0 },
	{ "name_to_handle_at", SYS_name_to_handle_at, { BAD_FD }, 0 },
	{ "open_by_handle_at", SYS_open_by_handle_at, { BAD_FD }, BY_KERNEL },
	{ "getdents64", SYS_getdents64, { BAD_FD }, BY_SANITIZERS },
	{ "statx of a path", SYS_statx, { BAD_FD, 0, 0, 0, 0 }, 0 },
	{ "ftruncate", SYS_ftruncate, { BAD_FD, 0 }, BY_NETWORK },
	{ "fallocate", SYS_fallocate, { BAD_FD, 0, 0, 1 }, 0 },
	{ "fchmod", SYS_fchmod, { BAD_FD, 0 }, 0 },
	{ "fchown", SYS_fchown, { BAD_FD, 0, 0 }, 0 },
	{ "unlinkat", SYS_unlinkat, { BAD_FD, 0, 0 }, 0 },
	{ "linkat", SYS_linkat, { BAD_FD, 0, BAD_FD, 0, 0 }, 0 },
	{ "renameat2", SYS_renameat2, { BAD_FD, 0, BAD_FD, 0, 0 }, 0 },
	{ "mkdirat", SYS_mkdirat, { BAD_FD, 0, 0 }, 0 },
	{ "mknodat", SYS_mknodat, { BAD_FD, 0, 0, 0 }, 0 },
	{ "fchdir", SYS_fchdir, { BAD_FD }, 0 },
	{ "chroot", SYS_chroot, { 0 }, 0 },
	{ "mount", SYS_mount, { 1, 1, 1, 0, 0 }, BY_KERNEL },
	{ "umount2", SYS_umount2, { 0, 0x7fffffff }, BY_KERNEL },
	{ "pivot_root", SYS_pivot_root, { 0, 0 }, BY_KERNEL },
	{ "fsopen", SYS_fsopen, { 0, 0 }, BY_KERNEL },
	{ "open_tree", SYS_open_tree, { BAD_FD, 0, 0 }, 0 },
	{ "inotify_init1", SYS_inotify_init1, { -1 }, 0 },
	{ "fanotify_init", SYS_fanotify_init, { -1, 0 }, BY_KERNEL },
	{ "sendfile", SYS_sendfile, { BAD_FD, BAD_FD, 0, 0 }, 0 },
	{ "splice", SYS_splice, { BAD_FD, 0, BAD_FD, 0, 1, 0 }, 0 },
	{ "vmsplice", SYS_vmsplice, { BAD_FD, 0, 0, 0 }, 0 },
	{ "tee", SYS_tee, { BAD_FD, BAD_FD, 1, 0 }, 0 },
	{ "copy_file_range", SYS_copy_file_range, { BAD_FD, 0, BAD_FD }, 0 },
	/* descriptors */
	{ "F_SETFL", SYS_fcntl, { BAD_FD, F_SETFL, 0 }, BY_SANITIZERS },
	{ "F_SETOWN", SYS_fcntl, { BAD_FD, F_SETOWN, 1 }, BY_SANITIZERS },
	{ "F_ADD_SEALS", SYS_fcntl, { BAD_FD, F_ADD_SEALS, 0 }, BY_SANITIZERS },
	{ "F_SETLK", SYS_fcntl, { BAD_FD, F_SETLK, 0 }, BY_SANITIZERS },
	{ "TUNSETIFF", SYS_ioctl, { BAD_FD, TUNSETIFF, 0 }, BY_SANITIZERS },
	{ "TUNSETOFFLOAD",
	  SYS_ioctl,
	  { BAD_FD, TUNSETOFFLOAD },
	  BY_SANITIZERS | BY_SESSION },
	{ "TUNSETOWNER", SYS_ioctl, { BAD_FD, TUNSETOWNER }, BY_SANITIZERS },
	{ "TIOCSTI", SYS_ioctl, { BAD_FD, TIOCSTI, 0 }, BY_SANITIZERS },
	{ "FS_IOC", SYS_ioctl, { BAD_FD, 0x40086602, 0 }, BY_SANITIZERS },
	{ "memfd_create", SYS_memfd_create, { 0, -1 }, BY_SESSION },
	{ "memfd_secret", SYS_memfd_secret, { -1 }, 0 },
	{ "pipe2", SYS_pipe2, { 0, -1 }, BY_SANITIZERS },
	{ "eventfd2", SYS_eventfd2, { 0, -1 }, BY_SESSION },
	{ "epoll_create1", SYS_epoll_create1, { -1 }, BY_SESSION },
	{ "timerfd_create", SYS_timerfd_create, { -1, -1 }, 0 },
	{ "signalfd4", SYS_signalfd4, { BAD_FD, 0, 8, -1 }, 0 },
	/* sockets */
	{ "socket", SYS_socket, { -1, 0, 0 }, 0 },
	{ "socketpair", SYS_socketpair, { -1, 0, 0, 0 }, 0 },
	{ "connect", SYS_connect, { BAD_FD, 0, 0 }, 0 },
	{ "bind", SYS_bind, { BAD_FD, 0, 0 }, 0 },
	{ "listen", SYS_listen, { BAD_FD, 0 }, 0 },
	{ "accept4", SYS_accept4, { BAD_FD, 0, 0, 0 }, 0 },
	{ "setsockopt", SYS_setsockopt, { BAD_FD, 0, 0, 0, 0 }, 0 },
	{ "SO_RCVBUF",
	  SYS_setsockopt,
	  { BAD_FD, SOL_SOCKET, SO_RCVBUF, 0, 0 },
	  BY_SESSION },
	{ "SO_BINDTODEVICE",
	  SYS_setsockopt,
	  { BAD_FD, SOL_SOCKET, SO_BINDTODEVICE, 0, 0 },
	  0 },
	{ "SO_PEERCRED",
	  SYS_getsockopt,
	  { BAD_FD, SOL_SOCKET, SO_PEERCRED },
	  0 },
	{ "SO_SNDBUF", SYS_getsockopt, { BAD_FD, SOL_SOCKET, SO_SNDBUF }, 0 },
	{ "sendto", SYS_sendto, { BAD_FD, 0, 0, 0, 0, 0 }, BY_NETWORK },
	{ "sendto an address", SYS_sendto, { BAD_FD, 0, 0, 0, 1, 1 }, 0 },
	{ "recvfrom", SYS_recvfrom, { BAD_FD, 0, 0, 0, 0, 0 }, 0 },
	{ "getpeername", SYS_getpeername, { BAD_FD, 0, 0 }, 0 },
	{ "shutdown", SYS_shutdown, { BAD_FD, 0 }, BY_SESSION },
	/* programs, processes, threads */
	{ "execve", SYS_execve, { 0, 0, 0 }, 0 },
	{ "execveat", SYS_execveat, { BAD_FD, 0, 0, 0, 0 }, 0 },
	{ "clone", SYS_clone, { CLONE_SIGHAND, 0, 0, 0, 0 }, BY_SANITIZERS },
	{ "clone3", SYS_clone3, { 0, 0 }, BY_SESSION },
	{ "unshare", SYS_unshare, { 1 }, 0 },
	{ "setns", SYS_setns, { BAD_FD, 0 }, 0 },
	{ "prctl", SYS_prctl, { -1, 0, 0, 0, 0 }, BY_SANITIZERS },
	{ "seccomp", SYS_seccomp, { -1, 0, 0 }, 0 },
	{ "setresuid", SYS_setresuid, { -1, -1, -1 }, 0 },
	{ "setresgid", SYS_setresgid, { -1, -1, -1 }, 0 },
	{ "setgroups", SYS_setgroups, { -1, 0 }, BY_KERNEL },
	{ "capset", SYS_capset, { 0, 0 }, 0 },
	{ "personality", SYS_personality, { 0xffffffff }, 0 },
	{ "setpgid", SYS_setpgid, { -1, 0 }, 0 },
	/* memory */
	{ "mmap PROT_EXEC",
	  SYS_mmap,
	  { 0, 0, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0 },
	  0 },
	{ "mprotect PROT_EXEC", SYS_mprotect, { 1, 4096, PROT_EXEC }, 0 },
	{ "pkey_mprotect", SYS_pkey_mprotect, { 1, 4096, 0, 0 }, 0 },
	{ "MADV_REMOVE", SYS_madvise, { 1, 4096, MADV_REMOVE }, BY_SANITIZERS },
	{ "userfaultfd", SYS_userfaultfd, { -1 }, BY_KERNEL },
	{ "shmget", SYS_shmget, { 0, 0, 0 }, 0 },
	{ "mlock", SYS_mlock, { 0x7ffffffffffff000, 1 }, BY_KERNEL },
	{ "remap_file_pages", SYS_remap_file_pages, { 1, 0, 1, 0, 0 }, 0 },
	/* the kernel */
	{ "io_uring_setup", SYS_io_uring_setup, { 0, 0 }, BY_KERNEL },
	{ "io_uring_enter", SYS_io_uring_enter, { BAD_FD, 0, 0, 0, 0, 0 }, 0 },
	{ "io_setup", SYS_io_setup, { 0, 0 }, 0 },
	{ "bpf", SYS_bpf, { -1, 0, 0 }, BY_KERNEL },
	{ "perf_event_open",
	  SYS_perf_event_open,
	  { 0, 0, 0, -1, -1 },
	  BY_KERNEL },
	{ "add_key", SYS_add_key, { 0, 0, 0, -1, 0 }, 0 },
	{ "keyctl", SYS_keyctl, { -1, 0, 0, 0, 0 }, 0 },
	{ "mq_open", SYS_mq_open, { 0, 0, 0, 0 }, 0 },
	{ "finit_module", SYS_finit_module, { BAD_FD, 0, 0 }, BY_KERNEL },
	{ "kexec_load", SYS_kexec_load, { 0, -1, 0, -1 }, BY_KERNEL },
	{ "reboot", SYS_reboot, { 0, 0, 0, 0 }, BY_KERNEL },
	{ "swapon", SYS_swapon, { 0, -1 }, BY_KERNEL },
	{ "syslog", SYS_syslog, { -1, 0, 0 }, BY_KERNEL },
	{ "clock_settime", SYS_clock_settime, { -1, 0 }, BY_KERNEL },
	{ "no such call", 1023, { 0 }, 0 },
};

#ifdef UVHOST_SANITIZED
static const bool sanitized = true;
#else
static const bool sanitized = false;
#endif

/* What the child found, in memory that both have. */
struct found {
	int error[ARRAY_SIZE(forbidden)];
	int line; /* 0: all was well */
};

static struct found *found;

static int setup(void **state)
{
	(void)state;
	found = mmap(NULL, sizeof(*found), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(found, MAP_FAILED);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	munmap(found, sizeof(*found));
	return 0;
}

/* Runs @fn in a child. Return: the status of waitpid(2). */
static int in_child(void (*fn)(void))
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		fn();
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void try_all(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++) {
		const long *a = forbidden[i].arg;
		long ret = syscall(forbidden[i].nr, a[0], a[1], a[2], a[3],
				   a[4], a[5]);

		found->error[i] = ret < 0 ? errno : 0;
	}
}

static void try_all_with_filter(void)
{
	found->line = wfilter_install();
	if (!found->line)
		try_all();
}

/* But what is let pass by one of @flags. */
static void check_all_refused(unsigned int flags)
{
	check_ret(found->line, 0);
	if (sanitized)
		flags |= BY_SANITIZERS;
	for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++) {
		if (!(forbidden[i].flags & flags) && found->error[i] != EPERM)
			fail_msg("%s: %s", forbidden[i].name,
				 check_errname(-found->error[i]));
		if (forbidden[i].flags & flags & (BY_SESSION | BY_NETWORK) &&
		    found->error[i] == EPERM)
			fail_msg("%s is refused", forbidden[i].name);
	}
}

static void what_is_not_in_the_list_is_refused(void **state)
{
	(void)state;
	assert_int_equal(in_child(try_all_with_filter), 0);
	check_all_refused(0);
}

static void *thread_of_session(void *arg)
{
	return arg;
}

static void try_all_and_threads(void)
{
	pthread_t thread;
	void *ret = NULL;

	try_all();
	found->line = -pthread_create(&thread, NULL, thread_of_session, found);
	if (found->line)
		return;
	pthread_join(thread, &ret);
	if (ret != found)
		found->line = -EIO;
#ifndef UVHOST_SANITIZED
	if (fork() >= 0 || errno != EPERM)
		found->line = -ECHILD;
#endif
}

static void try_all_as_session(void)
{
	found->line = wfilter_install_sock(true);
	if (!found->line)
		try_all_and_threads();
}

static void a_session_makes_threads_and_no_process(void **state)
{
	(void)state;
	assert_int_equal(in_child(try_all_as_session), 0);
	check_all_refused(BY_SESSION);
}

static void try_all_as_network(void)
{
	found->line = wfilter_install_net();
	if (!found->line)
		try_all_and_threads();
}

static void so_does_a_network_which_cuts_its_files(void **state)
{
	(void)state;
	assert_int_equal(in_child(try_all_as_network), 0);
	check_all_refused(BY_SESSION | BY_NETWORK);
}

static void without_the_filter_the_same_calls_say_other_things(void **state)
{
	(void)state;
	assert_int_equal(in_child(try_all), 0);
	for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++)
		if (found->error[i] == EPERM &&
		    !(forbidden[i].flags & BY_KERNEL))
			fail_msg("%s is refused anyway", forbidden[i].name);
}

/* ---- what a worker does ---- */

#define MUST(condition)                         \
	do {                                    \
		if (!(condition)) {             \
			found->line = __LINE__; \
			_exit(1);               \
		}                               \
	} while (0)

/* Opened before the filter. */
static struct {
	int pair[2], efd, epfd, memfd, tun;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool ready, go;
	long thread_error;
} have;

/* A thread that was there before the filter. */
static void *other_thread(void *arg)
{
	pthread_mutex_lock(&have.lock);
	have.ready = true;
	pthread_cond_broadcast(&have.cond);
	while (!have.go)
		pthread_cond_wait(&have.cond, &have.lock);
	pthread_mutex_unlock(&have.lock);
	have.thread_error = syscall(SYS_socket, -1, 0, 0) < 0 ? errno : 0;
	return arg;
}

static void open_things(void)
{
	MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, have.pair) == 0);
	have.efd = eventfd(0, EFD_NONBLOCK);
	have.epfd = epoll_create1(0);
	have.memfd = memfd_create("test", MFD_ALLOW_SEALING);
	have.tun = open("/dev/net/tun", O_RDWR); /* maybe not */
	MUST(have.efd >= 0 && have.epfd >= 0 && have.memfd >= 0);
	MUST(ftruncate(have.memfd, 65536) == 0);
	MUST(netport_open_devices() == 0);
	pthread_mutex_init(&have.lock, NULL);
	pthread_cond_init(&have.cond, NULL);
	MUST(pthread_create(&have.thread, NULL, other_thread, NULL) == 0);
	pthread_mutex_lock(&have.lock);
	while (!have.ready)
		pthread_cond_wait(&have.cond, &have.lock);
	pthread_mutex_unlock(&have.lock);
}

static void use_sockets(void)
{
	char bytes[] = "hello", other[16];
	struct iovec out = { bytes, sizeof(bytes) },
		     in = { other, sizeof(other) };
	struct mmsghdr mo = { .msg_hdr = { .msg_iov = &out, .msg_iovlen = 1 } };
	struct mmsghdr mi = { .msg_hdr = { .msg_iov = &in, .msg_iovlen = 1 } };
	int type;
	socklen_t len = sizeof(type);

	MUST(sendmsg(have.pair[0], &mo.msg_hdr, MSG_NOSIGNAL) == 6);
	MUST(recvmsg(have.pair[1], &mi.msg_hdr, MSG_DONTWAIT) == 6);
	MUST(sendmmsg(have.pair[0], &mo, 1, MSG_DONTWAIT) == 1);
	MUST(recvmmsg(have.pair[1], &mi, 1, MSG_DONTWAIT, NULL) == 1);
	MUST(getsockopt(have.pair[0], SOL_SOCKET, SO_DOMAIN, &type, &len) == 0);
	MUST(getsockopt(have.pair[0], SOL_SOCKET, SO_TYPE, &type, &len) == 0);
}

static void use_files(void)
{
	char bytes[] = "hello", link[64], path[32];
	struct iovec iov = { bytes, sizeof(bytes) };
	struct statx stx;
	struct stat st;
	int copy;

	MUST(pwrite(have.memfd, bytes, 5, 100) == 5);
	MUST(pread(have.memfd, bytes, 5, 100) == 5);
	MUST(pwritev2(have.memfd, &iov, 1, 0, 0) == 6);
	MUST(preadv2(have.memfd, &iov, 1, 0, 0) == 6);
	MUST(readv(have.memfd, &iov, 1) >= 0);
	MUST(writev(have.memfd, &iov, 1) >= 0);
	MUST(fstat(have.memfd, &st) == 0 && S_ISREG(st.st_mode));
	MUST(statx(have.memfd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
		   STATX_TYPE, &stx) == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", have.efd);
	MUST(readlink(path, link, sizeof(link)) > 0);
	MUST(strncmp(link, "anon_inode:[eventfd]", 20) == 0);
	MUST(fcntl(have.memfd, F_GET_SEALS) >= 0);
	copy = fcntl(have.memfd, F_DUPFD_CLOEXEC, 0);
	MUST(copy >= 0 && fcntl(copy, F_GETFL) >= 0);
	MUST(netport_same_fd(copy, have.memfd));
	MUST(!netport_same_fd(copy, have.efd));
	MUST(close(copy) == 0);
	copy = dup(have.memfd);
	MUST(copy >= 0 && close(copy) == 0);
}

static void use_loop(void)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct pollfd p = { .fd = have.efd, .events = POLLIN };
	uint64_t n = 1;

	MUST(epoll_ctl(have.epfd, EPOLL_CTL_ADD, have.efd, &ev) == 0);
	MUST(epoll_wait(have.epfd, &ev, 1, 0) == 0);
	MUST(write(have.efd, &n, sizeof(n)) == sizeof(n));
	MUST(epoll_wait(have.epfd, &ev, 1, 0) == 1);
	MUST(poll(&p, 1, 0) == 1);
	MUST(read(have.efd, &n, sizeof(n)) == sizeof(n));
	MUST(epoll_ctl(have.epfd, EPOLL_CTL_DEL, have.efd, NULL) == 0);
}

static int by_value(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static void use_memory(void)
{
	size_t size = (size_t)4 << 20;
	char *text = NULL;
	size_t len;
	int *big;
	FILE *f;
	void *p;

	p = mmap(NULL, 65536, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_NORESERVE, have.memfd, 0);
	MUST(p != MAP_FAILED);
	MUST(madvise(p, 65536, MADV_DONTDUMP) == 0);
	MUST(mprotect(p, 4096, PROT_READ) == 0);
	MUST(munmap(p, 65536) == 0);
	for (unsigned int i = 0; i < 8; i++) {
		big = malloc(size);
		MUST(big);
		memset(big, (int)i, size);
		big = realloc(big, 2 * size);
		MUST(big);
		qsort(big, size / sizeof(*big), sizeof(*big), by_value);
		free(big);
	}
	f = open_memstream(&text, &len);
	MUST(f);
	fprintf(f, "%d %s\n", getpid(), "text");
	MUST(fclose(f) == 0 && len > 0);
	free(text);
}

static volatile sig_atomic_t handled;

static void on_test_signal(int sig)
{
	(void)sig;
	handled = 1;
}

static void use_signals_and_ports(void)
{
	struct netport *port;
	struct ifreq ifr = { 0 };
	int null = have.memfd;

	signal(SIGUSR1, on_test_signal);
	MUST(raise(SIGUSR1) == 0);
	MUST(handled);
	MUST(netport_from_fd(null, &port) == -ENOTSOCK);
	MUST(netport_from_fd(have.pair[0], &port) == -ENOTSOCK);
	if (have.tun < 0)
		return;
	MUST(ioctl(have.tun, TUNGETIFF, &ifr) < 0 && errno == EBADFD);
	MUST(netport_from_fd(have.tun, &port) == -EINVAL);
}

static void work(void)
{
	struct timespec ts;

	open_things();
	MUST(wfilter_install() == 0);
	use_sockets();
	use_files();
	use_loop();
	use_memory();
	use_signals_and_ports();
	MUST(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &ts) == 0);
	pthread_mutex_lock(&have.lock);
	have.go = true;
	pthread_cond_broadcast(&have.cond);
	pthread_mutex_unlock(&have.lock);
	MUST(pthread_join(have.thread, NULL) == 0);
	MUST(have.thread_error == EPERM);
}

static void what_a_worker_does_works_on_all_its_threads(void **state)
{
	int status;

	(void)state;
	status = in_child(work);
	if (found->line)
		fail_msg("line %d fails", found->line);
	assert_int_equal(status, 0);
}

/* ---- the ends of it ---- */

static void abort_with_filter(void)
{
	MUST(wfilter_install() == 0);
	signal(SIGABRT, SIG_DFL);
	abort();
}

#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x20
#endif

/* Errors of two writes to the log, which is @fd. */
static void write_log(int fd, int *at_end, int *elsewhere)
{
	char bytes[] = "line";
	struct iovec iov = { bytes, 4 };

	MUST(dup2(fd, STDERR_FILENO) >= 0);
	MUST(wfilter_install() == 0);
	*at_end = pwritev2(2, &iov, 1, -1, RWF_NOWAIT) < 0 ? errno : 0;
	*elsewhere = pwritev2(2, &iov, 1, 0, RWF_NOAPPEND) < 0 ? errno : 0;
}

static void log_to_file(void)
{
	int at_end, elsewhere;

	write_log(memfd_create("log", 0), &at_end, &elsewhere);
	MUST(at_end != EPERM && elsewhere == EPERM);
}

static void log_to_pipe(void)
{
	int at_end, elsewhere, fds[2];

	MUST(pipe(fds) == 0);
	write_log(fds[1], &at_end, &elsewhere);
	MUST(at_end != EPERM && elsewhere != EPERM);
}

static void lines_of_a_log_file_stay(void **state)
{
	(void)state;
	assert_int_equal(in_child(log_to_file), 0);
	check_ret(found->line, 0);
	assert_int_equal(in_child(log_to_pipe), 0);
	check_ret(found->line, 0);
}

static void a_failed_assertion_is_seen_as_one(void **state)
{
	int status;

	(void)state;
	status = in_child(abort_with_filter);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

#ifdef __x86_64__
static void call_as_32_bit_program(void)
{
	long ret;

	open_things(); /* with a second thread */
	MUST(wfilter_install() == 0);
	/* getpid() */
	__asm__ volatile("int $0x80" : "=a"(ret) : "a"(20L) : "memory");
	found->line = ret > 0 ? __LINE__ : 0;
}

static void calls_of_another_architecture_end_the_process(void **state)
{
	int status;

	(void)state;
	status = in_child(call_as_32_bit_program);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV)
		skip_because("this kernel runs no 32-bit programs");
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}
#endif

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_not_in_the_list_is_refused),
		TEST(a_session_makes_threads_and_no_process),
		TEST(so_does_a_network_which_cuts_its_files),
		TEST(without_the_filter_the_same_calls_say_other_things),
		TEST(what_a_worker_does_works_on_all_its_threads),
		TEST(lines_of_a_log_file_stay),
		TEST(a_failed_assertion_is_seen_as_one),
#ifdef __x86_64__
		TEST(calls_of_another_architecture_end_the_process),
#endif
	};

	return cmocka_run_group_tests_name("wfilter", tests, NULL, NULL);
}
