/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * taker.c takes descriptors of callers in child processes, the takers
 * (taker.h). A taker executes no program. The spawner forks it, so that it has
 * none of our descriptors but /dev/null, the log and its socket. It lives on
 * for the next order.
 *
 *   taker_take() ─ struct taker_job ──► taker: looks at /proc/TID/fd/N as a
 *                                       link; takes it (pidfd_getfd(2)) if it
 *                                       may be of use; looks at what it has
 *                ◄─ struct taker_reply, with a descriptor; the taker then
 *                   closes its own copy
 *
 * The first look is what keeps takers from files that do not close. The caller
 * can have put another file there in between, so what counts is the second. A
 * taker that has got the wrong file says so before it closes it
 * (taker_reply.closes) and once more when it is closed. Until then the taker
 * gets no order, and others are started; but an owner has at most OWNER_MAX
 * takers that close a file, or do not end, and one if its user has USER_MAX.
 * Beyond that the owner's callers wait.
 *
 * States of a taker:
 *   - at work: in no list; the thread of its order has it
 *   - idle: may have the next order; IDLE_MAX are kept while there is an owner
 *   - closing: closes a wrong file
 *   - ended: was sent SIGKILL, or its socket was closed; to be waited for
 *
 * In the child only system calls are made, as other threads of this process
 * may have held locks at the fork; by number, see spawner.c.
 */
#include "taker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "abi.h"
#include "bytes.h"
#include "confine.h"
#include "fd.h"
#include "mutex.h"
#include "netport.h"
#include "spawner.h"

#define IDLE_MAX 2
#define OWNER_MAX 4
#define USER_MAX 64
#define WAIT_MS 10
#define END_MS 10000 /* in which a taker ends that has nothing to close */
#define TRIES 3
#define IN_FLIGHT_TRIES 200 /* 10 ms apart, see fdsend.h */

/* Descriptors of a taker. */
#define NULL_FD STDIN_FILENO
#define SOCK SPAWNER_FIRST

/* An order. Its @seq comes back in the replies, so that no order gets the
 * reply to another. */
struct taker_job {
	int32_t tid, table, number;
	uint32_t kind, seq;
	uint32_t major[NETPORT_MAJORS];
	uint32_t dev_major, dev_minor;
	uint64_t ino, start, end;
};

/* @error 0: a descriptor comes with it, unless it is the second reply, after
 * one with @closes. */
struct taker_reply {
	int32_t error;
	uint32_t closes, seq;
};

struct taker {
	SLIST_ENTRY(taker) link;
	pid_t pid;
	int pidfd, sock;
	bool may_hang; /* it was killed, and may not end */
	uint32_t seq;
	uid_t uid; /* of its last order, as @owner */
	pid_t owner;
};

SLIST_HEAD(takers, taker);

static struct {
	struct mutex lock;
	struct takers idle, closing, ended;
	unsigned int owners; /* taker_hold() */
} pool = { .lock = MUTEX_INITIALIZER };

/* ---- the child ---- */

/* Appends to a path; there is room. */
static char *path_text(char *at, const char *text)
{
	while (*text)
		*at++ = *text++;
	*at = '\0';
	return at;
}

static char *path_number(char *at, int number)
{
	char digits[12];
	unsigned int n = 0, v = (unsigned int)number;

	do
		digits[n++] = (char)('0' + v % 10);
	while (v /= 10);
	while (n)
		*at++ = digits[--n];
	*at = '\0';
	return at;
}

static char *path_hex(char *at, uint64_t number)
{
	char digits[16];
	unsigned int n = 0;

	do
		digits[n++] = "0123456789abcdef"[number & 15];
	while (number >>= 4);
	while (n)
		*at++ = digits[--n];
	*at = '\0';
	return at;
}

/* "/proc/TID/map_files/START-END" */
static void map_path(char path[96], const struct taker_job *o)
{
	char *at = path_text(path, "/proc/");

	at = path_text(path_number(at, o->tid), "/map_files/");
	at = path_text(path_hex(at, o->start), "-");
	path_hex(at, o->end);
}

/* "/proc/TID/fd/N", or "/proc/TID/fdinfo/N"; @tid 0: of the taker itself. */
static void proc_path(char path[64], int tid, const char *dir, int number)
{
	char *at = path_text(path, "/proc/");

	at = tid ? path_number(at, tid) : path_text(at, "self");
	at = path_text(at, dir);
	path_number(at, number);
}

/* The length of the text, or -errno. */
static long read_link(int tid, int number, char *text, size_t size)
{
	char path[64];
	long n;

	proc_path(path, tid, "/fd/", number);
	n = syscall(SYS_readlinkat, AT_FDCWD, path, text, size - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	return n;
}

static bool has_start(const char *text, const char *start)
{
	while (*start && *text == *start) {
		text++;
		start++;
	}
	return !*start;
}

/* An eventfd has this link; a path would begin with '/'. */
static bool is_eventfd_link(const char *text)
{
	return has_start(text, "anon_inode:[eventfd]");
}

/* Of an open file, at @path relative to @fd; does not ask its file system. */
static bool is_net_device(int fd, const char *path, const uint32_t *major)
{
	int flags = AT_STATX_DONT_SYNC | (*path ? 0 : AT_EMPTY_PATH);
	struct statx st;

	if (syscall(SYS_statx, fd, path, flags, STATX_TYPE, &st) < 0 ||
	    !S_ISCHR(st.stx_mode))
		return false;
	return netport_is_device(st.stx_rdev_major, st.stx_rdev_minor, major);
}

/* Is the open file at @path relative to @fd the one that is wanted? Does not
 * ask its file system. */
static bool is_wanted_file(int fd, const char *path, const struct taker_job *o)
{
	int flags = AT_STATX_DONT_SYNC | (*path ? 0 : AT_EMPTY_PATH);
	struct statx st;

	return syscall(SYS_statx, fd, path, flags, STATX_TYPE | STATX_INO,
		       &st) == 0 &&
	       S_ISREG(st.stx_mode) && st.stx_ino == o->ino &&
	       st.stx_dev_major == o->dev_major &&
	       st.stx_dev_minor == o->dev_minor;
}

/* Is the file on a file system of which no call waits for a process or for
 * another machine? May itself wait for one. */
static bool is_on_local_fs(int fd)
{
	static const uint32_t local[] = {
		TMPFS_MAGIC,       HUGETLBFS_MAGIC,  RAMFS_MAGIC,
		SECRETMEM_MAGIC,   EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC,
		BTRFS_SUPER_MAGIC, F2FS_SUPER_MAGIC,
	};
	struct statfs fs;

	if (syscall(SYS_fstatfs, fd, &fs) < 0)
		return false;
	for (unsigned int i = 0; i < ARRAY_SIZE(local); i++)
		if ((uint32_t)fs.f_type == local[i])
			return true;
	return false;
}

static bool is_file_kind(const struct taker_job *o)
{
	return o->kind == TAKER_FILE || o->kind == TAKER_MAPPED;
}

/* The flags in fdinfo: "flags:\t0100002". */
static bool is_path_only(const struct taker_job *o)
{
	char path[64], text[256];
	unsigned long flags = 0;
	long n = -1;
	int fd;

	proc_path(path, o->tid, "/fdinfo/", o->number);
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = syscall(SYS_read, fd, text, sizeof(text) - 1);
		syscall(SYS_close, fd);
	}
	if (n < 0)
		return false;
	text[n] = '\0';
	for (const char *at = text; *at; at++) {
		if (!has_start(at, "flags:\t"))
			continue;
		for (at += 7; *at >= '0' && *at <= '7'; at++)
			flags = flags << 3 | (unsigned long)(*at - '0');
		break;
	}
	return flags & O_PATH;
}

/* Is it the file that is wanted, and on a local file system? 0, -EINVAL,
 * -EOPNOTSUPP. */
static int check_local_file(int fd, const struct taker_job *o)
{
	if (!is_wanted_file(fd, "", o))
		return -EINVAL;
	return is_on_local_fs(fd) ? 0 : -EOPNOTSUPP;
}

/* The close of an O_PATH descriptor does not ask the file system. */
static int look_at_file(const struct taker_job *o)
{
	char path[64];
	int fd, ret;

	if (o->kind == TAKER_MAPPED)
		return 0;
	proc_path(path, o->tid, "/fd/", o->number);
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return -EINVAL;
	ret = check_local_file(fd, o);
	syscall(SYS_close, fd);
	return ret;
}

/* Looks at a descriptor before it is taken. Return: 0: it may be of use;
 * -EBADF, -EOPNOTSUPP: as taker_take(); -EINVAL: it is of another kind. */
static int look_before(const struct taker_job *o)
{
	char text[32], path[64];
	bool fits;
	long n;

	if (is_file_kind(o))
		return look_at_file(o);
	n = read_link(o->tid, o->number, text, sizeof(text));
	if (n == -ENOENT)
		return -EBADF;
	if (n == -ENAMETOOLONG)
		path_text(text, "/");
	else if (n < 0)
		return 0; /* pidfd_getfd(2) returns the error */
	if (o->kind == TAKER_EVENTFD) {
		fits = is_eventfd_link(text);
	} else {
		proc_path(path, o->tid, "/fd/", o->number);
		fits = has_start(text, "socket:[") ||
		       (*text == '/' &&
			is_net_device(AT_FDCWD, path, o->major));
	}
	if (fits)
		return 0;
	return is_path_only(o) ? -EBADF : -EINVAL;
}

static bool is_packet(int fd)
{
	int domain = 0, type = 0;
	socklen_t len = sizeof(int);

	return syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &domain,
		       &len) == 0 &&
	       syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &len) ==
		       0 &&
	       domain == AF_PACKET && type == SOCK_RAW;
}

static int look_at_taken_file(const struct taker_job *o, int fd)
{
	long flags = syscall(SYS_fcntl, fd, F_GETFL);

	if (o->kind == TAKER_FILE && (flags & (O_PATH | O_ACCMODE)) != O_RDWR)
		return -EINVAL;
	return check_local_file(fd, o);
}

/* Looks at the descriptor that was taken; as look_before(). */
static int look_after(const struct taker_job *o, int fd)
{
	char text[32];

	if (is_file_kind(o))
		return look_at_taken_file(o, fd);
	if (syscall(SYS_fcntl, fd, F_GETFL) & O_PATH)
		return -EBADF;
	if (o->kind == TAKER_EVENTFD)
		return read_link(0, fd, text, sizeof(text)) > 0 &&
				       is_eventfd_link(text)
			       ? 0
			       : -EINVAL;
	return is_packet(fd) || is_net_device(fd, "", o->major) ? 0 : -EINVAL;
}

static bool is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOMEM;
}

/* A descriptor without the rights that open a file, and without its driver. */
static int pin_mapped(const struct taker_job *o)
{
	char path[96];
	int fd;

	map_path(path, o);
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_PATH | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The descriptor, or -errno. */
static int take_it(const struct taker_job *o)
{
	int table, fd;

	if (o->kind == TAKER_MAPPED)
		return pin_mapped(o);
	table = (int)syscall(SYS_pidfd_open, o->table, 0);
	if (table < 0 && !is_shortage(errno))
		table = (int)syscall(SYS_pidfd_open, o->table, PIDFD_THREAD);
	if (table < 0)
		return is_shortage(errno) ? -errno : -ESRCH;
	fd = (int)syscall(SYS_pidfd_getfd, table, o->number, 0);
	if (fd < 0)
		fd = -errno;
	syscall(SYS_close, table);
	return fd;
}

/* Sends a reply, with descriptor @fd unless that is below 0. */
static void answer_with(const struct taker_reply *a, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr hdr;
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)a, sizeof(*a) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0)
		fd_attach(&msg, &control.hdr, &fd, 1);
	for (unsigned int i = 0; i < IN_FLIGHT_TRIES; i++) {
		const struct timespec pause = { .tv_nsec = 10000000 };

		if (syscall(SYS_sendmsg, SOCK, &msg, MSG_NOSIGNAL) ==
		    sizeof(*a))
			return;
		if (errno != ETOOMANYREFS)
			break;
		syscall(SYS_nanosleep, &pause, NULL);
	}
	if (errno == ETOOMANYREFS) {
		const struct taker_reply none = { .error = -ENOMEM,
						  .closes = a->closes,
						  .seq = a->seq };

		if (syscall(SYS_write, SOCK, &none, sizeof(none)) ==
		    sizeof(none))
			return;
	}
	syscall(SYS_exit_group, 1);
}

static bool faults_in(enum taker_kind kind)
{
	return kind == TAKER_FAULT_IN_READ || kind == TAKER_FAULT_IN_WRITE;
}

/* Copies nothing: the buffer is invalid. As aspace_fault_in(). */
static void fault_in(const struct taker_job *o)
{
	long call = o->kind == TAKER_FAULT_IN_WRITE ? SYS_process_vm_writev
						    : SYS_process_vm_readv;
	struct iovec nothing = { NULL, o->end };
	struct iovec range = { (void *)(uintptr_t)o->start, o->end };

	syscall(call, o->tid, &nothing, 1, &range, 1, 0);
	answer_with(&(struct taker_reply){ .seq = o->seq }, -1);
}

static void obey(const struct taker_job *o)
{
	struct taker_reply a = { .seq = o->seq };
	int fd = -1;

	if (faults_in(o->kind)) {
		fault_in(o);
		return;
	}
	a.error = look_before(o);
	if (a.error == 0) {
		fd = take_it(o);
		a.error = fd < 0 ? fd : look_after(o, fd);
		a.closes = fd >= 0 && a.error && o->kind != TAKER_MAPPED;
	} else if (a.error == -EINVAL) {
		fd = NULL_FD;
	}
	if (a.error == -EINVAL && !is_file_kind(o))
		a.error = 0;
	answer_with(&a, a.error || fd < 0 ? -1 : a.closes ? NULL_FD : fd);
	if (fd <= NULL_FD)
		return;
	syscall(SYS_close, fd);
	if (a.closes)
		answer_with(&(struct taker_reply){ .seq = o->seq }, -1);
}

static void __attribute__((noreturn)) run_taker(void *arg)
{
	const pid_t *broker = arg;
	struct taker_job o;
	long n;

	if (syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL) < 0 ||
	    syscall(SYS_getppid) != *broker)
		syscall(SYS_exit_group, 1);
	syscall(SYS_prctl, PR_SET_NAME, "uvhost-taker");
	syscall(SYS_close, SPAWNER_PROGRAM);
	syscall(SYS_close, SPAWNER_PROGRAM + 1);
	/* The last one is for map_files. */
	confine_keep(BIT(CAP_SYS_PTRACE) | BIT(CAP_DAC_READ_SEARCH) |
		     BIT(CAP_CHECKPOINT_RESTORE));
	for (;;) {
		n = syscall(SYS_read, SOCK, &o, sizeof(o));
		if (n == sizeof(o))
			obey(&o);
		else if (n >= 0 || errno != EINTR)
			syscall(SYS_exit_group, 0);
	}
}

/* ---- the pool ---- */

/* Frees a taker if it has ended. */
static bool reap_taker(struct taker *t)
{
	siginfo_t info = { 0 };

	if (waitid(P_PIDFD, (id_t)t->pidfd, &info, WEXITED | WNOHANG) == 0 &&
	    !info.si_pid)
		return false;
	close(t->pidfd);
	free(t);
	return true;
}

static void reap_all(void) NEEDS(pool.lock)
{
	struct taker *t, *next;

	for (t = SLIST_FIRST(&pool.ended); t; t = next) {
		next = SLIST_NEXT(t, link);
		SLIST_REMOVE(&pool.ended, t, taker, link);
		if (!reap_taker(t))
			SLIST_INSERT_HEAD(&pool.ended, t, link);
	}
}

/* A taker ends when its socket is closed; @kill: it is killed as well. */
static void end_taker(struct taker *t, bool kill) NEEDS(pool.lock)
{
	fd_drop(&t->sock);
	t->may_hang = kill;
	if (kill)
		confine_kill(t->pidfd, SIGKILL);
	SLIST_INSERT_HEAD(&pool.ended, t, link);
}

/* Forks a taker; starts the spawner first if there is none. */
static pid_t fork_taker(int sock) NEEDS(pool.lock)
{
	static pid_t broker;
	pid_t pid;
	int null, ret;

	broker = getpid();
	pid = spawner_fork(&sock, 1, run_taker, &broker);
	if (pid != -ENOENT)
		return pid;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return -errno;
	ret = spawner_start(&(struct spawner_files){ .std = { null, null, -1 },
						     .program = null });
	close(null);
	return ret < 0 ? ret : spawner_fork(&sock, 1, run_taker, &broker);
}

/* The lock keeps two threads from both starting the spawner. */
static int start_taker(struct taker **out) NEEDS(pool.lock)
{
	struct taker *t = calloc(1, sizeof(*t));
	int ends[2], ret = 0;

	if (!t)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
		ret = -errno;
		free(t);
		return ret;
	}
	t->pid = fork_taker(ends[1]);
	close(ends[1]);
	/* Our child, and not waited for: its number is not used again. */
	t->pidfd = t->pid < 0 ? t->pid : pidfd_open(t->pid, 0);
	if (t->pidfd < 0) {
		ret = t->pid < 0 ? t->pid : -errno;
		close(ends[0]);
		if (t->pid > 0) {
			kill(t->pid, SIGKILL);
			waitpid(t->pid, NULL, 0);
		}
		free(t);
		return ret;
	}
	t->sock = ends[0];
	*out = t;
	return 0;
}

/* The taker has finished its order. */
static void rest_taker(struct taker *t) NEEDS(pool.lock)
{
	const struct taker *i;
	unsigned int n = 0;

	SLIST_FOREACH(i, &pool.idle, link)
	n++;
	if (n < IDLE_MAX)
		SLIST_INSERT_HEAD(&pool.idle, t, link);
	else
		end_taker(t, false);
}

/* Takers that have closed their files become idle again. */
static void look_at_closing(void) NEEDS(pool.lock)
{
	struct takers closing = pool.closing;
	struct taker *t, *next;
	struct taker_reply a;

	SLIST_INIT(&pool.closing);
	for (t = SLIST_FIRST(&closing); t; t = next) {
		ssize_t got = recv(t->sock, &a, sizeof(a), MSG_DONTWAIT);

		next = SLIST_NEXT(t, link);
		if (got == sizeof(a) && a.seq == t->seq)
			rest_taker(t);
		else if (got < 0 && errno == EAGAIN)
			SLIST_INSERT_HEAD(&pool.closing, t, link);
		else
			end_taker(t, true);
	}
}

/* Are too many takers of this owner closing a file, or not ending? */
static bool has_too_many(const struct taker_order *o) NEEDS(pool.lock)
{
	const struct takers *const lists[] = { &pool.closing, &pool.ended };
	unsigned int owners = 0, users = 0;

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		const struct taker *t;

		SLIST_FOREACH(t, lists[i], link)
		{
			users += t->uid == o->uid;
			owners += t->uid == o->uid && t->owner == o->owner;
		}
	}
	return owners >= OWNER_MAX || (owners && users >= USER_MAX);
}

static bool nobody_waits(const struct taker_order *o)
{
	return o->given_up && o->given_up(o->ctx);
}

/* Receives one reply; -ECONNRESET: the taker is gone. */
static int hear(const struct taker *t, const struct taker_order *o,
		struct taker_reply *a, int *fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr hdr;
	} control;
	struct iovec iov = { a, sizeof(*a) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	const struct cmsghdr *c;
	ssize_t n;

	while ((n = recvmsg(t->sock, &msg, MSG_CMSG_CLOEXEC)) < 0 &&
	       errno == EINTR)
		if (nobody_waits(o))
			return -ECANCELED;
	if (n != sizeof(*a))
		return -ECONNRESET;
	*fd = -1;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	if (a->seq == t->seq)
		return 0;
	fd_drop(fd);
	return -ECONNRESET;
}

/* -EBUSY: the caller has to wait. */
static int try_taker(const struct taker_order *o, struct taker **out)
	NEEDS(pool.lock)
{
	reap_all();
	look_at_closing();
	if (has_too_many(o))
		return -EBUSY;
	*out = SLIST_FIRST(&pool.idle);
	if (!*out)
		return start_taker(out);
	SLIST_REMOVE_HEAD(&pool.idle, link);
	return 0;
}

/* A taker for the next order. */
static int get_taker(const struct taker_order *o, struct taker **out)
{
	for (;;) {
		int ret;

		mutex_lock(&pool.lock);
		ret = try_taker(o, out);
		mutex_unlock(&pool.lock);
		if (ret != -EBUSY)
			return ret;
		if (nobody_waits(o))
			return -ECANCELED;
		poll(NULL, 0, WAIT_MS);
	}
}

/* @ret: result of its order; @closes: it closes a wrong file. */
static void put_taker(struct taker *t, int ret, bool closes)
{
	mutex_lock(&pool.lock);
	if (ret < 0)
		end_taker(t, true);
	else if (closes)
		SLIST_INSERT_HEAD(&pool.closing, t, link);
	else
		rest_taker(t);
	mutex_unlock(&pool.lock);
}

/* As taker_take(), or -ECONNRESET. */
static int order_from(struct taker *t, const struct taker_order *o, int *fd)
{
	struct taker_job order = { .tid = o->tid,
				   .table = o->table,
				   .number = o->number,
				   .kind = o->kind,
				   .dev_major = major(o->dev),
				   .dev_minor = minor(o->dev),
				   .ino = o->ino,
				   .start = o->start,
				   .end = o->end };
	struct taker_reply a = { 0 };
	int ret = -ECONNRESET;

	t->uid = o->uid;
	t->owner = o->owner;
	order.seq = ++t->seq;
	if (o->kind == TAKER_NETPORT)
		netport_majors(order.major);
	if (send(t->sock, &order, sizeof(order), MSG_NOSIGNAL) == sizeof(order))
		ret = hear(t, o, &a, fd);
	put_taker(t, ret, a.closes);
	if (ret < 0)
		return ret;
	if (a.error == 0 && *fd < 0 && !faults_in(o->kind))
		return -EMFILE; /* sent, but no number is free here */
	return a.error;
}

int taker_take(const struct taker_order *o, int *fd)
{
	int ret = -ECONNRESET;

	for (unsigned int i = 0; i < TRIES && ret == -ECONNRESET; i++) {
		struct taker *t;

		ret = get_taker(o, &t);
		if (ret == 0)
			ret = order_from(t, o, fd);
	}
	return ret == -ECONNRESET ? -EAGAIN : ret;
}

void taker_hold(void)
{
	mutex_lock(&pool.lock);
	pool.owners++;
	mutex_unlock(&pool.lock);
}

/* Ends all takers. Those that close a file may not end. */
static void end_all(void) NEEDS(pool.lock)
{
	struct taker *t;

	while ((t = SLIST_FIRST(&pool.closing))) {
		SLIST_REMOVE_HEAD(&pool.closing, link);
		end_taker(t, true);
	}
	while ((t = SLIST_FIRST(&pool.idle))) {
		SLIST_REMOVE_HEAD(&pool.idle, link);
		end_taker(t, true);
		t->may_hang = false;
	}
	/* Nothing else may come that reaps them. */
	SLIST_FOREACH(t, &pool.ended, link)
	{
		struct pollfd end = { .fd = t->pidfd, .events = POLLIN };

		if (!t->may_hang)
			poll(&end, 1, END_MS);
	}
	reap_all();
}

void taker_release(void)
{
	mutex_lock(&pool.lock);
	look_at_closing();
	if (--pool.owners == 0)
		end_all();
	mutex_unlock(&pool.lock);
}

void taker_finish(void)
{
	struct taker *t;

	mutex_lock(&pool.lock);
	end_all();
	while ((t = SLIST_FIRST(&pool.ended))) {
		SLIST_REMOVE_HEAD(&pool.ended, link);
		close(t->pidfd);
		free(t);
	}
	mutex_unlock(&pool.lock);
}
