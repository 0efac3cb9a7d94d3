/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wproc.c starts worker processes, and ends them.
 *
 * Start: fork (spawner.h), give up rights, exec. Between fork and exec the
 * child is a copy of the broker's memory that has the owner's user already. So
 * it is made undumpable first, which keeps other processes of that user out,
 * and again after the change of user, which sets that flag from
 * fs.suid_dumpable. In between only system calls are made, as other threads of
 * the broker may have held locks at the fork.
 *
 * The installed program cannot be read (mode 0711), which makes a process of it
 * undumpable from its first instruction on. One of a build folder can be read;
 * it makes itself undumpable at the start of main().
 *
 * The child goes on when the broker has its pidfd, and reports an error through
 * a socket that exec closes. Until then it ends with the broker, whose memory
 * it has.
 *
 * The capabilities for this (CAP_SETUID, CAP_SETGID, and CAP_KILL for a worker
 * of another user) are permitted to the broker and not in force: the child puts
 * two of them into force for its change of user, and the thread that calls
 * wproc_fence() puts the third into force for its one signal.
 *
 * The bounding set is emptied where we may (CAP_SETPCAP, which a confined
 * broker has not). With "no new privileges" no exec gives anything from it.
 */
#include "wproc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "bytes.h"
#include "clock.h"
#include "confine.h"
#include "fd.h"
#include "log.h"
#include "parse.h"
#include "spawner.h"

#define PROGRAM "uvhost-worker"
#define USER "uvhost"
#define NOBODY 65534

#define SETIDS (BIT(CAP_SETUID) | BIT(CAP_SETGID))

/* The wrappers of libc for these may wait for locks and other threads. */
#ifdef SYS_setresuid32
#define SYS_SETRESUID SYS_setresuid32
#define SYS_SETRESGID SYS_setresgid32
#define SYS_SETGROUPS SYS_setgroups32
#else
#define SYS_SETRESUID SYS_setresuid
#define SYS_SETRESGID SYS_setresgid
#define SYS_SETGROUPS SYS_setgroups
#endif

/* Variables of the environment that the log and the sanitizers need. */
static const char *const env_kept[] = {
	"JOURNAL_STREAM",
#ifdef UVHOST_SANITIZED
	"ASAN_OPTIONS",   "LSAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS",
#endif
};

/* Set by wproc_prepare(), read by all threads. */
static struct {
	uid_t uid;
	gid_t gid;
	char *env[ARRAY_SIZE(env_kept) + 1];
} prepared = { .uid = NOBODY, .gid = NOBODY };

_Static_assert(SPAWNER_FIRST == WPROC_SOCK, "the socket is the first");
_Static_assert(1 + WPROC_FDS_MAX + 1 <= SPAWNER_FDS_MAX,
	       "socket, descriptors and the report fit");

/* ---- once, at the start ---- */

static int open_beside(const char *dir, const char *name)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/%s", dir, name);

	if (n < 0 || (size_t)n >= sizeof(path))
		return -1;
	return open(path, O_PATH | O_CLOEXEC);
}

static int find_program(void)
{
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *end;
	int fd;

	exe[MAX(n, 0)] = '\0';
	end = strrchr(exe, '/');
	if (end) {
		*end = '\0';
		fd = open_beside(exe, PROGRAM);
		if (fd < 0)
			fd = open_beside(exe, "../libexec/uvhost/" PROGRAM);
		if (fd >= 0)
			return fd;
	}
	return open_beside(UVHOST_LIBEXECDIR "/uvhost", PROGRAM);
}

static void find_user(void)
{
	const struct passwd *user = getpwnam(USER);

	if (user && user->pw_uid && user->pw_gid) {
		prepared.uid = user->pw_uid;
		prepared.gid = user->pw_gid;
	}
}

static int keep_environment(void)
{
	unsigned int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(env_kept); i++) {
		const char *value = getenv(env_kept[i]);

		if (!value)
			continue;
		if (asprintf(&prepared.env[n], "%s=%s", env_kept[i], value) <
		    0) {
			prepared.env[n] = NULL;
			return -ENOMEM;
		}
		n++;
	}
	return 0;
}

void wproc_finish(void)
{
	spawner_stop();
	for (size_t i = 0; i < ARRAY_SIZE(prepared.env); i++) {
		free(prepared.env[i]);
		prepared.env[i] = NULL;
	}
}

/* The log for workers, opened to append: if it is a file or a terminal, a
 * worker can neither read it nor overwrite lines. The broker's own lines to a
 * file are appended then too, as its offset is no longer the end. -1: workers
 * get the broker's stderr. */
static int open_log(void)
{
	struct stat st;
	int flags = fcntl(STDERR_FILENO, F_GETFL);

	if (flags < 0 || fstat(STDERR_FILENO, &st) < 0)
		return -1;
	if (S_ISREG(st.st_mode))
		fcntl(STDERR_FILENO, F_SETFL, flags | O_APPEND);
	if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))
		return -1;
	return open("/proc/self/fd/2",
		    O_WRONLY | O_APPEND | O_NOCTTY | O_CLOEXEC);
}

static int start_spawner(int program)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), log, ret;

	if (null < 0)
		return -errno;
	log = open_log();
	ret = spawner_start(&(struct spawner_files){ .std = { null, null, log },
						     .program = program });
	close(null);
	fd_drop(&log);
	if (ret < 0)
		log_err(NULL, "worker processes cannot be started: %s",
			strerror(-ret));
	return ret;
}

int wproc_prepare(const char *path)
{
	int program, ret;

	wproc_finish();
	/* If it were ignored, a child would leave no status, and its number
	 * could be used again before its pidfd is opened. */
	if (signal(SIGCHLD, SIG_DFL) == SIG_ERR)
		return -errno;
	find_user();
	ret = keep_environment();
	if (ret < 0)
		return ret;
	program = path ? open(path, O_PATH | O_CLOEXEC) : find_program();
	if (program < 0) {
		ret = -errno;
		log_err(NULL, "%s: %s", path ? path : PROGRAM, strerror(-ret));
		return ret;
	}
	ret = start_spawner(program);
	close(program);
	return ret;
}

/* ---- whom it runs as ---- */

/* The four ids of a line "Uid:\t0\t0\t0\t0" if they are equal. */
static bool parse_ids(const char *line, const char *key, uint64_t *id)
{
	size_t len = strlen(key);
	uint64_t v[4];

	if (strncmp(line, key, len) != 0)
		return false;
	line += len;
	for (unsigned int i = 0; i < 4; i++) {
		line += strspn(line, " \t");
		if (parse_digits(&line, 10, &v[i]) < 0 || v[i] != v[0])
			return false;
	}
	*id = v[0];
	return *line == '\n' && v[0] < UINT32_MAX;
}

/* Sets @uid and @gid: 0 if the four ids of the thread differ or are root's. */
static int read_ids(pid_t tid, uid_t *uid, gid_t *gid)
{
	char path[40], line[256];
	uint64_t u = 0, g = 0, id;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	f = fopen(path, "re");
	if (!f)
		return errno == ENOENT ? -ESRCH : -errno;
	while (fgets(line, sizeof(line), f)) {
		if (parse_ids(line, "Uid:", &id))
			u = id;
		else if (parse_ids(line, "Gid:", &id))
			g = id;
	}
	fclose(f);
	*uid = (uid_t)u;
	*gid = (gid_t)g;
	return 0;
}

struct wproc_user wproc_own_user(void)
{
	if (!confine_permitted(SETIDS))
		return (struct wproc_user){ geteuid(), getegid() };
	return (struct wproc_user){ prepared.uid, prepared.gid };
}

int wproc_user(pid_t tid, struct wproc_user *out)
{
	uid_t uid = 0;
	gid_t gid = 0;
	int ret = read_ids(tid, &uid, &gid);

	if (ret < 0)
		return ret;
	if (uid && gid && confine_permitted(SETIDS))
		*out = (struct wproc_user){ uid, gid };
	else
		*out = wproc_own_user();
	return 0;
}

/* ---- the child ---- */

/* Its steps, for the message if one fails. */
enum step {
	STEP_SIGNALS,
	STEP_DUMPABLE,
	STEP_SESSION,
	STEP_DESCRIPTORS,
	STEP_CORE,
	STEP_GROUPS,
	STEP_GID,
	STEP_UID,
	STEP_CAPABILITIES,
	STEP_PRIVILEGES,
	STEP_EXEC,
};

static const char *const step_names[] = {
	[STEP_SIGNALS] = "signal mask",
	[STEP_DUMPABLE] = "PR_SET_DUMPABLE",
	[STEP_SESSION] = "setsid",
	[STEP_DESCRIPTORS] = "descriptors",
	[STEP_CORE] = "RLIMIT_CORE",
	[STEP_GROUPS] = "setgroups",
	[STEP_GID] = "setresgid",
	[STEP_UID] = "setresuid",
	[STEP_CAPABILITIES] = "capabilities",
	[STEP_PRIVILEGES] = "PR_SET_NO_NEW_PRIVS",
	[STEP_EXEC] = "exec",
};

struct failure {
	enum step step;
	int error;
};

/**
 * struct start - what the child needs
 * @nfds:   descriptors that the worker has beside 0, 1, 2
 * @report: a byte from the broker lets it go on; it writes struct failure
 * @broker: process id of the broker
 */
struct start {
	const struct wproc_user *user;
	char *argv[3];
	unsigned int nfds;
	int report;
	pid_t broker;
};

static void __attribute__((noreturn)) report_failure(int report, enum step step)
{
	const struct failure f = { step, errno };

	if (syscall(SYS_write, report, &f, sizeof(f)) < 0)
		_exit(126);
	_exit(127);
}

/* Waits for the broker's byte, and exits if the stream ends instead: the
 * broker has no pidfd. System calls by number, as for all descriptors of the
 * child: ThreadSanitizer takes them for those of the parent. */
static void wait_for_broker(int report)
{
	ssize_t n;
	char go;

	do {
		n = syscall(SYS_read, report, &go, sizeof(go));
	} while (n < 0 && errno == EINTR);
	if (n != sizeof(go))
		_exit(0);
}

static bool set_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	return sigprocmask(SIG_SETMASK, &none, NULL) == 0;
}

/* Descriptors behind those of the worker are closed by exec. Before Linux 5.11
 * only those with O_CLOEXEC are, which all of the broker's have. */
static bool keep_descriptors(unsigned int nfds)
{
	unsigned int end = WPROC_SOCK + nfds;

	for (unsigned int fd = WPROC_SOCK; fd < end; fd++)
		if (fcntl((int)fd, F_SETFD, 0) < 0)
			return false;
	return close_range(end, ~0U, CLOSE_RANGE_CLOEXEC) == 0 ||
	       errno == ENOSYS || errno == EINVAL;
}

/* Without the capabilities the child keeps the broker's user and groups. */
static void set_user(const struct wproc_user *u, int report)
{
	if (!confine_permitted(SETIDS))
		return;
	confine_raise(SETIDS);
	confine_no_bounds();
	if (syscall(SYS_SETGROUPS, 0, NULL) < 0)
		report_failure(report, STEP_GROUPS);
	if (syscall(SYS_SETRESGID, u->gid, u->gid, u->gid) < 0)
		report_failure(report, STEP_GID);
	if (syscall(SYS_SETRESUID, u->uid, u->uid, u->uid) < 0)
		report_failure(report, STEP_UID);
}

static void __attribute__((noreturn)) run_child(void *arg)
{
	static const struct rlimit no_core;
	const struct start *s = arg;
	int report = s->report;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != s->broker)
		_exit(126);
	wait_for_broker(report);
	if (prctl(PR_SET_PDEATHSIG, 0) < 0)
		_exit(126);
	if (!set_signals())
		report_failure(report, STEP_SIGNALS);
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		report_failure(report, STEP_DUMPABLE);
	/* The terminal's signals do not reach it. */
	if (setsid() < 0)
		report_failure(report, STEP_SESSION);
	if (!keep_descriptors(s->nfds))
		report_failure(report, STEP_DESCRIPTORS);
	if (setrlimit(RLIMIT_CORE, &no_core) < 0)
		report_failure(report, STEP_CORE);
	set_user(s->user, report);
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		report_failure(report, STEP_DUMPABLE);
	if (confine_none() < 0)
		report_failure(report, STEP_CAPABILITIES);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		report_failure(report, STEP_PRIVILEGES);
	/* As execveat(2) with the wrapper that older libcs lack. */
	syscall(SYS_execveat, SPAWNER_PROGRAM, "", s->argv, prepared.env,
		AT_EMPTY_PATH);
	report_failure(report, STEP_EXEC);
}

/* ---- the broker's side of a start ---- */

/* Waits until the child has executed the program, or failed to; 0 or -errno.
 * If the child was killed, read(2) returns 0, as after exec, or fails. */
static int wait_for_exec(int report, const char *name)
{
	struct failure f;
	ssize_t n;

	do {
		n = read(report, &f, sizeof(f));
	} while (n < 0 && errno == EINTR);
	if (n == 0)
		return 0;
	if (n < 0)
		return -ECONNRESET;
	if (n != sizeof(f) || f.step >= ARRAY_SIZE(step_names)) {
		log_err(NULL, "%s: %s did not start", name, PROGRAM);
		return -EIO;
	}
	log_err(NULL, "%s: %s: %s: %s", name, PROGRAM, step_names[f.step],
		strerror(f.error));
	return f.error ? -f.error : -EIO;
}

/* Lets a forked child go on until it has executed the program. On failure the
 * child ends by itself, and is waited for here. */
static int let_go(pid_t pid, int report, const char *name, struct wproc *out)
{
	/* The child is not reaped yet: its number is not used again. */
	int pidfd = pidfd_open(pid, 0), ret = pidfd < 0 ? -errno : 0;

	/* Fails if it was killed. */
	if (ret == 0 && send(report, "", 1, MSG_NOSIGNAL) != 1)
		ret = -ECONNRESET;
	if (ret == 0)
		ret = wait_for_exec(report, name);
	if (ret == 0) {
		*out = (struct wproc){ pid, pidfd };
		return 0;
	}
	shutdown(report, SHUT_RDWR);
	fd_drop(&pidfd);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return ret;
}

/* Is a user or group root's, or -1, which setresuid(2) ignores? */
static bool is_no_user(const struct wproc_user *u)
{
	return !u->uid || !u->gid || u->uid == (uid_t)-1 || u->gid == (gid_t)-1;
}

/* Forks the child with the descriptors @fds, and @report behind them. Return:
 * its process id, -errno. */
static pid_t fork_child(struct start *s, const int *fds, unsigned int nfds,
			int report)
{
	int all[SPAWNER_FDS_MAX];

	memcpy(all, fds, nfds * sizeof(*fds));
	all[nfds] = report;
	s->nfds = nfds;
	s->report = SPAWNER_FIRST + (int)nfds;
	return spawner_fork(all, nfds + 1, run_child, s);
}

int wproc_start(const struct wproc_user *user, const char *name, const int *fds,
		unsigned int nfds, struct wproc *out)
{
	char program[] = PROGRAM, title[64];
	struct start s = { .user = user,
			   .argv = { program, title, NULL },
			   .broker = getpid() };
	int report[2], ret;
	pid_t pid;

	*out = (struct wproc){ 0 };
	if (nfds > 1 + WPROC_FDS_MAX ||
	    (confine_permitted(SETIDS) && is_no_user(user)))
		return -EINVAL;
	snprintf(title, sizeof(title), "%s", name);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, report) < 0)
		return -errno;
	pid = fork_child(&s, fds, nfds, report[1]);
	close(report[1]);
	ret = pid < 0 ? pid : let_go(pid, report[0], name, out);
	close(report[0]);
	return ret;
}

void wproc_adopt(struct wproc *p, pid_t pid, int pidfd)
{
	*p = (struct wproc){ .pid = pid, .pidfd = pidfd };
}

void wproc_leave(struct wproc *p)
{
	if (p->pid)
		close(p->pidfd);
	*p = (struct wproc){ 0 };
}

/* ---- the end ---- */

/* Return: whether the process is gone, with all its threads. */
static bool wait_for_end(int pidfd, int timeout_ms)
{
	int64_t deadline = now_ms() + timeout_ms;
	int left = timeout_ms;

	for (;;) {
		struct pollfd p = { .fd = pidfd, .events = POLLIN };

		if (poll(&p, 1, left) > 0)
			return true;
		if (timeout_ms < 0)
			continue;
		if (now_ms() >= deadline)
			return false;
		left = (int)(deadline - now_ms());
	}
}

/* struct pidfd_info with PIDFD_INFO_EXIT (Linux 6.15): how a process ended,
 * also if it is not our child, once its parent has waited for it. */
struct pidfd_end {
	uint64_t mask, cgroupid;
	uint32_t pid, tgid, ppid, ids[8];
	int32_t status; /* as of wait(2) */
};
#define PIDFD_END_MASK 8
#define PIDFD_END _IOWR(0xff, 11, struct pidfd_end)
_Static_assert(sizeof(struct pidfd_end) == 64, "the kernel's first size");

/* Milliseconds in which the parent has to wait for the process. */
#define PARENT_MS 200

/* How a process ended that an earlier daemon started: it is not our child. */
static void read_end_of_other(int pidfd, struct wproc_end *end)
{
	for (int ms = 0; ms < PARENT_MS; ms++) {
		struct pidfd_end e = { .mask = PIDFD_END_MASK };

		if (ioctl(pidfd, PIDFD_END, &e) < 0)
			return;
		if (e.mask & PIDFD_END_MASK) {
			end->known = true;
			if (WIFEXITED(e.status))
				end->status = WEXITSTATUS(e.status);
			else
				end->signal = WTERMSIG(e.status);
			return;
		}
		poll(NULL, 0, 1);
	}
}

/* How a process ended that is gone. */
static void read_end(int pidfd, struct wproc_end *end)
{
	siginfo_t info = { 0 };
	int ret;

	*end = (struct wproc_end){ 0 };
	do {
		ret = waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG);
	} while (ret < 0 && errno == EINTR);
	if (ret < 0)
		read_end_of_other(pidfd, end);
	if (ret < 0 || !info.si_pid)
		return;
	end->known = true;
	if (info.si_code == CLD_EXITED)
		end->status = info.si_status;
	else
		end->signal = info.si_status;
}

int wproc_fence(struct wproc *p, int timeout_ms, struct wproc_end *end)
{
	int ret;

	*end = (struct wproc_end){ 0 };
	if (!p->pid)
		return 0;
	if (!wait_for_end(p->pidfd, 0)) {
		/* One that may not be killed can still end by itself. */
		ret = confine_kill(p->pidfd, SIGKILL);
		if (!wait_for_end(p->pidfd, timeout_ms))
			return ret < 0 && ret != -ESRCH ? ret : -ETIMEDOUT;
	}
	read_end(p->pidfd, end);
	close(p->pidfd);
	*p = (struct wproc){ 0 };
	return 0;
}

bool wproc_end_is_crash(const struct wproc_end *end)
{
	if (end->malformed)
		return true;
	if (!end->known)
		return false;
	switch (end->signal) {
	case 0:
		return end->status != 0;
	case SIGSEGV:
	case SIGBUS:
	case SIGILL:
	case SIGFPE:
	case SIGABRT:
	case SIGTRAP:
	case SIGSYS:
	case SIGXCPU: /* wdog.h */
		return true;
	default:
		return false;
	}
}

void wproc_end_text(const struct wproc_end *end, char *text, size_t size)
{
	const char *name = end->signal ? sigabbrev_np(end->signal) : NULL;

	if (end->malformed)
		snprintf(text, size, "sent a malformed message");
	else if (!end->known || (!end->signal && !end->status))
		snprintf(text, size, "ended");
	else if (end->signal == SIGXCPU)
		snprintf(text, size, "used processor time without progress");
	else if (name)
		snprintf(text, size, "killed by SIG%s", name);
	else if (end->signal)
		snprintf(text, size, "killed by signal %d", end->signal);
	else
		snprintf(text, size, "exit status %d", end->status);
}

/* ---- when to start the next one ---- */

void wproc_backoff_started(struct wproc_backoff *b, int64_t now_ms)
{
	b->started_ms = now_ms;
}

/* Notes a crash. Return: is it number WPROC_CRASHES within WPROC_CRASHES_MS? */
static bool crashed_too_often(struct wproc_backoff *b, int64_t now_ms)
{
	if (b->ncrashes == WPROC_CRASHES) {
		memmove(b->crash_ms, b->crash_ms + 1,
			(WPROC_CRASHES - 1) * sizeof(b->crash_ms[0]));
		b->ncrashes--;
	}
	b->crash_ms[b->ncrashes++] = now_ms;
	return b->ncrashes == WPROC_CRASHES &&
	       now_ms - b->crash_ms[0] <= WPROC_CRASHES_MS;
}

int wproc_backoff_ended(struct wproc_backoff *b, const struct wproc_end *end,
			int64_t now_ms)
{
	if (wproc_end_is_crash(end) && crashed_too_often(b, now_ms))
		return -1;
	if (now_ms - b->started_ms >= WPROC_LIVED_MS)
		b->delay_ms = 0;
	else
		b->delay_ms = MAX(WPROC_DELAY_MIN_MS,
				  MIN(2 * b->delay_ms, WPROC_DELAY_MAX_MS));
	return (int)b->delay_ms;
}
