/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_wproc.c tests how worker processes are started and ended. The worker is
 * this program itself: it answers on its socket, and dies in all ways.
 */
#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/pidfd.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "bytes.h"
#include "clock.h"
#include "confine.h"
#include "log.h"
#include "wproc.h"

#define DEADLINE_MS 60000
#define SOME_UID 12345
#define SOME_GID 23456
#define NOBODY_ID 65534

static const struct wproc_user nobody = { NOBODY_ID, NOBODY_ID };

/* ---- the worker ---- */

/* What a worker process finds. */
struct facts {
	uid_t uid[3];
	gid_t gid[3];
	int groups;
	uint64_t caps; /* permitted or effective */
	int no_new_privs, dumpable;
	rlim_t core;
	unsigned int blocked; /* signals */
	unsigned int others;  /* descriptors above WPROC_SOCK */
	bool null[2];         /* 0, 1 */
	int log_flags;
	bool session; /* is of its own */
	size_t environment;
	char argv[2][64];
};

static bool is_null(int fd)
{
	struct stat st, null;

	return fstat(fd, &st) == 0 && stat("/dev/null", &null) == 0 &&
	       st.st_rdev == null.st_rdev;
}

static uint64_t read_caps(bool effective)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &head, d) < 0)
		return UINT64_MAX;
	if (effective)
		return d[0].effective | (uint64_t)d[1].effective << 32;
	return d[0].permitted | (uint64_t)d[1].permitted << 32;
}

static void find_facts(struct facts *f, char **argv)
{
	struct rlimit core;
	sigset_t mask;

	memset(f, 0, sizeof(*f));
	getresuid(&f->uid[0], &f->uid[1], &f->uid[2]);
	getresgid(&f->gid[0], &f->gid[1], &f->gid[2]);
	f->groups = getgroups(0, NULL);
	f->caps = read_caps(false) | read_caps(true);
	f->no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	f->dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
	getrlimit(RLIMIT_CORE, &core);
	f->core = core.rlim_max;
	sigprocmask(SIG_SETMASK, NULL, &mask);
	for (int i = 1; i < NSIG; i++)
		f->blocked += sigismember(&mask, i) == 1;
	for (int fd = WPROC_SOCK + 1; fd < 1024; fd++)
		f->others += fcntl(fd, F_GETFD) >= 0;
	f->null[0] = is_null(0);
	f->null[1] = is_null(1);
	f->log_flags = fcntl(STDERR_FILENO, F_GETFL);
	f->session = getsid(0) == getpid();
	for (char **e = environ; *e; e++)
		f->environment++;
	snprintf(f->argv[0], sizeof(f->argv[0]), "%s", argv[0]);
	snprintf(f->argv[1], sizeof(f->argv[1]), "%s", argv[1]);
}

static void die_by(int sig)
{
	signal(sig, SIG_DFL);
	raise(sig);
}

static void __attribute__((noreturn)) be_worker(char **argv)
{
	struct facts f;
	char verb[32];
	ssize_t n;

	while ((n = recv(WPROC_SOCK, verb, sizeof(verb) - 1, 0)) > 0) {
		verb[n] = '\0';
		if (strncmp(verb, "exit ", 5) == 0)
			_exit(atoi(verb + 5));
		if (strncmp(verb, "die ", 4) == 0)
			die_by(atoi(verb + 4));
		if (strcmp(verb, "stop") == 0)
			raise(SIGSTOP);
		if (strcmp(verb, "stay") == 0)
			signal(SIGTERM, SIG_IGN);
		find_facts(&f, argv);
		if (send(WPROC_SOCK, &f, sizeof(f), MSG_NOSIGNAL) < 0)
			break;
	}
	_exit(0);
}

/* ---- the broker: helpers, also for processes without cmocka ---- */

static bool is_root(void)
{
	return geteuid() == 0 &&
	       confine_permitted(BIT(CAP_SETUID) | BIT(CAP_SETGID) |
				 BIT(CAP_KILL));
}

/* Whom a worker of these tests runs as. */
static struct wproc_user some_user(void)
{
	return is_root() ? nobody : (struct wproc_user){ geteuid(), getegid() };
}

static int start(const struct wproc_user *user, struct wproc *p, int *sock)
{
	int pair[2], ret;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ret = wproc_start(user, "uvhost-net/3", &pair[1], 1, p);
	close(pair[1]);
	*sock = pair[0];
	if (ret < 0)
		close(pair[0]);
	return ret;
}

static bool order(int sock, const char *verb)
{
	return send(sock, verb, strlen(verb), MSG_NOSIGNAL) > 0;
}

static bool ask(int sock, const char *verb, struct facts *f)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };

	return order(sock, verb) && poll(&p, 1, DEADLINE_MS) == 1 &&
	       recv(sock, f, sizeof(*f), 0) == sizeof(*f);
}

static bool ends(const struct wproc *p)
{
	struct pollfd poller = { .fd = p->pidfd, .events = POLLIN };

	return poll(&poller, 1, DEADLINE_MS) == 1;
}

static unsigned int count_descriptors(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Runs @fn in a child; it returns 0, or the line at which it failed. */
static int in_child(int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(fn() ? 1 : 0);
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

#define EXPECT(condition)                                                  \
	do {                                                               \
		if (!(condition)) {                                        \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, \
				#condition);                               \
			return __LINE__;                                   \
		}                                                          \
	} while (0)

/* The last log line. */
static char logged[512];

static void on_log(void *ctx, enum log_level level, const char *line)
{
	(void)ctx;
	(void)level;
	snprintf(logged, sizeof(logged), "%s", line);
}

/* For a test whose children start workers: there is no other thread when they
 * are forked. */
static int setup_alone(void **state)
{
	(void)state;
	logged[0] = '\0';
	log_set_sink(on_log, NULL);
	return 0;
}

static int setup(void **state)
{
	setup_alone(state);
	check_ret(wproc_prepare("/proc/self/exe"), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	wproc_finish();
	log_set_sink(NULL, NULL);
	return 0;
}

/* ---- start ---- */

/* Threads of the broker block all signals, and it may have groups. */
static void a_worker_has_no_rights_and_four_descriptors(void **state)
{
	const gid_t groups[] = { 4, 5 };
	struct wproc_user user = some_user();
	struct wproc_end end;
	struct facts f;
	struct wproc p;
	sigset_t all, old;
	int sock;

	(void)state;
	if (is_root() && setgroups(2, groups) < 0)
		fail_msg("setgroups: %s", strerror(errno));
	check_ok(fcntl(1, F_DUPFD, 100)); /* not close-on-exec */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	check_ret(start(&user, &p, &sock), 0);
	sigprocmask(SIG_SETMASK, &old, NULL);
	assert_true(ask(sock, "facts", &f));
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(f.uid[i], user.uid);
		assert_int_equal(f.gid[i], user.gid);
	}
	if (is_root())
		assert_int_equal(f.groups, 0);
	assert_int_equal(f.caps, 0);
	assert_int_equal(f.no_new_privs, 1);
	assert_int_equal(f.core, 0);
	assert_int_equal(f.blocked, 0);
	assert_int_equal(f.others, 0);
	assert_true(f.null[0] && f.null[1]);
	assert_true(f.session);
	assert_string_equal(f.argv[0], "uvhost-worker");
	assert_string_equal(f.argv[1], "uvhost-net/3");
	close(sock);
	check_ret(wproc_fence(&p, -1, &end), 0);
	close(100);
	if (is_root())
		setgroups(0, NULL);
}

/* Of our environment only what the log needs. */
static void the_environment_does_not_come_along(void **state)
{
	struct wproc_user user = some_user();
	struct wproc_end end;
	struct facts f;
	struct wproc p;
	size_t options;
	int sock;

	(void)state;
	unsetenv("JOURNAL_STREAM");
	setenv("LD_PRELOAD_NOT", "x", 1);
	check_ret(wproc_prepare("/proc/self/exe"), 0);
	check_ret(start(&user, &p, &sock), 0);
	assert_true(ask(sock, "facts", &f));
	options = f.environment;
	close(sock);
	check_ret(wproc_fence(&p, -1, &end), 0);

	setenv("JOURNAL_STREAM", "1:2", 1);
	check_ret(wproc_prepare("/proc/self/exe"), 0);
	check_ret(start(&user, &p, &sock), 0);
	assert_true(ask(sock, "facts", &f));
	assert_int_equal(f.environment, options + 1);
	close(sock);
	check_ret(wproc_fence(&p, -1, &end), 0);
	unsetenv("JOURNAL_STREAM");
	unsetenv("LD_PRELOAD_NOT");
#ifndef UVHOST_SANITIZED
	assert_int_equal(options, 0);
#endif
}

static int serve_with_log_file(void)
{
	int log = memfd_create("log", MFD_CLOEXEC); /* O_RDWR */
	struct wproc_user user = some_user();
	struct wproc_end end;
	struct facts f;
	struct wproc p;
	int sock;

	EXPECT(log >= 0 && dup2(log, STDERR_FILENO) >= 0);
	EXPECT(wproc_prepare("/proc/self/exe") == 0);
	EXPECT(start(&user, &p, &sock) == 0);
	EXPECT(ask(sock, "facts", &f));
	EXPECT((f.log_flags & O_ACCMODE) == O_WRONLY);
	EXPECT(f.log_flags & O_APPEND);
	EXPECT(fcntl(STDERR_FILENO, F_GETFL) & O_APPEND);
	EXPECT(f.others == 0);
	close(sock);
	EXPECT(wproc_fence(&p, -1, &end) == 0);
	return 0;
}

static void a_worker_can_only_add_to_a_log_file(void **state)
{
	(void)state;
	assert_int_equal(in_child(serve_with_log_file), 0);
}

static void what_cannot_be_executed_is_an_error_here(void **state)
{
	unsigned int before;
	struct wproc_user user = some_user();
	struct wproc p;
	int sock;

	(void)state;
	check_ret(wproc_prepare("/etc/passwd"), 0);
	before = count_descriptors();
	check_ret(start(&user, &p, &sock), -EACCES);
	assert_int_equal(p.pid, 0);
	assert_non_null(strstr(logged, "uvhost-net/3"));
	assert_non_null(strstr(logged, "exec: Permission denied"));
	assert_int_equal(count_descriptors(), before);
	/* no child is left */
	check_errno(waitpid(-1, NULL, WNOHANG), ECHILD);
}

static void a_program_that_is_missing_is_said_at_the_start(void **state)
{
	struct wproc_user user = some_user();
	struct wproc p;
	int sock;

	(void)state;
	check_ret(wproc_prepare("/nowhere/uvhost-worker"), -ENOENT);
	assert_non_null(strstr(logged, "/nowhere/uvhost-worker"));
	check_ret(start(&user, &p, &sock), -ENOENT);
}

static void no_worker_runs_as_root(void **state)
{
	static const struct wproc_user users[] = {
		{ 0, SOME_GID },
		{ SOME_UID, 0 },
		{ (uid_t)-1, SOME_GID }, /* "as it is" */
		{ SOME_UID, (gid_t)-1 },
	};
	struct wproc p;
	int sock;

	(void)state;
	if (!is_root())
		skip_because("an ordinary user changes nothing");
	for (size_t i = 0; i < ARRAY_SIZE(users); i++)
		check_ret(start(&users[i], &p, &sock), -EINVAL);
}

static void starting_and_ending_leaves_no_descriptor(void **state)
{
	struct wproc_user user = some_user();
	unsigned int before = count_descriptors();
	struct wproc_end end;
	struct wproc p;
	int sock;

	(void)state;
	for (unsigned int i = 0; i < 5; i++) {
		check_ret(start(&user, &p, &sock), 0);
		close(sock);
		check_ret(wproc_fence(&p, -1, &end), 0);
	}
	assert_int_equal(count_descriptors(), before);
	check_errno(waitpid(-1, NULL, WNOHANG), ECHILD);
}

static void *start_ten(void *arg)
{
	struct wproc_user user = some_user();
	struct wproc_end end;
	struct facts f;
	struct wproc p;
	int sock;

	for (unsigned int i = 0; i < 10; i++) {
		void *memory = malloc(1000); /* its lock, at a fork */

		free(memory);
		if (start(&user, &p, &sock) < 0)
			return "start";
		if (!ask(sock, "facts", &f) || f.others)
			return "facts";
		close(sock);
		if (wproc_fence(&p, -1, &end) < 0 || !end.known)
			return "fence";
	}
	return arg;
}

static void threads_start_workers_at_the_same_time(void **state)
{
	pthread_t thread[4];
	void *result;

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(thread); i++)
		assert_int_equal(
			pthread_create(&thread[i], NULL, start_ten, NULL), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(thread); i++) {
		pthread_join(thread[i], &result);
		if (result)
			fail_msg("%s", (char *)result);
	}
}

/* ---- whom it runs as ---- */

/* A process with these ids, which waits; its end is the pipe's. */
static pid_t process_with(uid_t ruid, uid_t euid, gid_t rgid, gid_t egid,
			  int *hold)
{
	int ready[2], stay[2];
	char c;
	pid_t pid;

	check_ok(pipe2(ready, O_CLOEXEC));
	check_ok(pipe2(stay, O_CLOEXEC));
	pid = fork();
	if (pid == 0) {
		close(stay[1]);
		if (setresgid(rgid, egid, egid) < 0 ||
		    setresuid(ruid, euid, euid) < 0)
			_exit(1);
		close(ready[1]);
		if (read(stay[0], &c, 1) < 0)
			_exit(2);
		_exit(0);
	}
	close(ready[1]);
	close(stay[0]);
	assert_int_equal(read(ready[0], &c, 1), 0);
	close(ready[0]);
	*hold = stay[1];
	return pid;
}

static void check_has_ids(uid_t uid, gid_t gid)
{
	struct wproc_user u;
	int hold;
	pid_t pid = process_with(uid, uid, gid, gid, &hold);

	check_ret(wproc_user(pid, &u), 0);
	assert_int_equal(u.uid, uid);
	assert_int_equal(u.gid, gid);
	close(hold);
	waitpid(pid, NULL, 0);
}

static void check_has_other_ids(uid_t ruid, uid_t euid, gid_t rgid, gid_t egid)
{
	struct wproc_user u;
	int hold;
	pid_t pid = process_with(ruid, euid, rgid, egid, &hold);

	check_ret(wproc_user(pid, &u), 0);
	assert_int_not_equal(u.uid, 0);
	assert_int_not_equal(u.gid, 0);
	assert_int_not_equal(u.uid, ruid);
	assert_int_not_equal(u.uid, euid);
	close(hold);
	waitpid(pid, NULL, 0);
}

static void an_ordinary_owner_gives_its_user_and_group(void **state)
{
	(void)state;
	if (!is_root())
		skip_because("needs root to be another user");
	check_has_ids(SOME_UID, SOME_GID);
	check_has_ids(1, 1);
}

static void root_and_owners_of_two_users_give_none(void **state)
{
	(void)state;
	if (!is_root())
		skip_because("needs root to be another user");
	check_has_other_ids(0, 0, 0, 0);
	check_has_other_ids(SOME_UID, SOME_UID, 0, 0);
	check_has_other_ids(SOME_UID, SOME_UID + 1, SOME_GID, SOME_GID);
	check_has_other_ids(SOME_UID, SOME_UID, SOME_GID, SOME_GID + 1);
	check_has_other_ids(0, SOME_UID, SOME_GID, SOME_GID);
}

static void a_thread_that_is_gone_has_no_user(void **state)
{
	struct wproc_user u;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	check_ret(wproc_user(pid, &u), -ESRCH);
}

static int serve_as_ordinary_user(void)
{
	struct wproc_user u;
	struct wproc_end end;
	struct facts f;
	struct wproc p;
	int sock;

	EXPECT(geteuid() != 0 ||
	       (setgroups(0, NULL) == 0 &&
		setresgid(SOME_GID, SOME_GID, SOME_GID) == 0 &&
		setresuid(SOME_UID, SOME_UID, SOME_UID) == 0));
	EXPECT(wproc_prepare("/proc/self/exe") == 0);
	EXPECT(wproc_user(gettid(), &u) == 0);
	EXPECT(u.uid == geteuid() && u.gid == getegid());
	EXPECT(start(&u, &p, &sock) == 0);
	EXPECT(ask(sock, "facts", &f));
	EXPECT(f.uid[0] == geteuid() && f.gid[0] == getegid());
	EXPECT(f.caps == 0 && f.no_new_privs == 1 && f.others == 0);
	close(sock);
	EXPECT(wproc_fence(&p, -1, &end) == 0);
	return 0;
}

static void an_ordinary_user_runs_workers_as_itself(void **state)
{
	(void)state;
	assert_int_equal(in_child(serve_as_ordinary_user), 0);
}

static int serve_confined(void)
{
	const uint64_t dormant =
		BIT(CAP_SETUID) | BIT(CAP_SETGID) | BIT(CAP_KILL);
	struct wproc_end end;
	struct facts f;
	struct wproc p;
	int sock;

	EXPECT(wproc_prepare("/proc/self/exe") == 0);
	EXPECT(confine_process(CONFINE_DEVICES | CONFINE_WORKERS) == 0);
	EXPECT((read_caps(true) & dormant) == 0);
	EXPECT((read_caps(false) & dormant) == dormant);
	EXPECT(start(&nobody, &p, &sock) == 0);
	EXPECT(ask(sock, "facts", &f));
	EXPECT(f.uid[0] == NOBODY_ID && f.gid[2] == NOBODY_ID && f.caps == 0);
	EXPECT((read_caps(true) & dormant) == 0);
	EXPECT(kill(p.pid, SIGKILL) < 0 && errno == EPERM);
	EXPECT(wproc_fence(&p, DEADLINE_MS, &end) == 0);
	EXPECT(end.known && end.signal == SIGKILL);
	EXPECT((read_caps(true) & dormant) == 0);
	return 0;
}

static void a_confined_broker_has_these_rights_only_for_that(void **state)
{
	(void)state;
	if (!is_root())
		skip_because("needs root to be another user");
	assert_int_equal(in_child(serve_confined), 0);
}

/* As a unit with User= and AmbientCapabilities= gives them. */
static int serve_with_ambient_rights(void)
{
	const uint32_t caps = BIT(CAP_SETUID) | BIT(CAP_SETGID) | BIT(CAP_KILL);
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2] = { { caps, caps, caps } };
	struct wproc_end end;
	struct facts f;
	struct wproc p;
	int sock;

	EXPECT(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0);
	EXPECT(setresgid(SOME_GID, SOME_GID, SOME_GID) == 0);
	EXPECT(setresuid(SOME_UID, SOME_UID, SOME_UID) == 0);
	EXPECT(syscall(SYS_capset, &head, data) == 0);
	for (int cap = 0; cap < 32; cap++)
		EXPECT(!(caps & BIT(cap)) ||
		       prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) ==
			       0);
	EXPECT(wproc_prepare("/proc/self/exe") == 0);
	EXPECT(start(&nobody, &p, &sock) == 0);
	EXPECT(ask(sock, "facts", &f));
	EXPECT(f.uid[1] == NOBODY_ID && f.groups == 0);
	EXPECT(f.caps == 0);
	EXPECT(wproc_fence(&p, DEADLINE_MS, &end) == 0);
	return 0;
}

static void rights_of_a_broker_that_is_not_root_stay_with_it(void **state)
{
	(void)state;
	if (!is_root())
		skip_because("needs root to be another user");
	assert_int_equal(in_child(serve_with_ambient_rights), 0);
}

/* ---- end ---- */

static void a_stopped_process_is_ended(void **state)
{
	struct wproc_user user = some_user();
	struct wproc_end end;
	siginfo_t info = { 0 };
	struct wproc p;
	int sock;

	(void)state;
	check_ret(start(&user, &p, &sock), 0);
	assert_true(order(sock, "stop"));
	assert_int_equal(
		waitid(P_PIDFD, (id_t)p.pidfd, &info, WSTOPPED | WNOWAIT), 0);
	assert_int_equal(info.si_code, CLD_STOPPED);
	check_ret(wproc_fence(&p, DEADLINE_MS, &end), 0);
	assert_true(end.known);
	assert_int_equal(end.signal, SIGKILL);
	assert_int_equal(p.pid, 0);
	close(sock);
	/* There is none any more. */
	check_ret(wproc_fence(&p, DEADLINE_MS, &end), 0);
	assert_false(end.known);
}

static void a_process_that_ignores_sigterm_is_ended(void **state)
{
	struct wproc_user user = some_user();
	struct wproc_end end;
	struct facts f;
	struct wproc p;
	int sock;

	(void)state;
	check_ret(start(&user, &p, &sock), 0);
	assert_true(ask(sock, "stay", &f));
	check_ret(confine_kill(p.pidfd, SIGTERM), 0);
	assert_true(ask(sock, "facts", &f));
	check_ret(wproc_fence(&p, DEADLINE_MS, &end), 0);
	assert_int_equal(end.signal, SIGKILL);
	close(sock);
}

static void ends_by(const char *verb, int sig, int status, bool crash,
		    const char *text)
{
	struct wproc_user user = some_user();
	struct wproc_end end;
	struct wproc p;
	char said[64];
	int sock;

	check_ret(start(&user, &p, &sock), 0);
	assert_true(order(sock, verb));
	assert_true(ends(&p));
	check_ret(wproc_fence(&p, -1, &end), 0);
	assert_true(end.known);
	assert_int_equal(end.signal, sig);
	assert_int_equal(end.status, status);
	assert_int_equal(wproc_end_is_crash(&end), crash);
	wproc_end_text(&end, said, sizeof(said));
	assert_string_equal(said, text);
	close(sock);
}

static void the_status_tells_a_crash_from_a_signal_of_others(void **state)
{
	(void)state;
	ends_by("die 9", SIGKILL, 0, false, "killed by SIGKILL");
	ends_by("die 15", SIGTERM, 0, false, "killed by SIGTERM");
	ends_by("die 11", SIGSEGV, 0, true, "killed by SIGSEGV");
	ends_by("die 7", SIGBUS, 0, true, "killed by SIGBUS");
	ends_by("die 6", SIGABRT, 0, true, "killed by SIGABRT");
	ends_by("die 31", SIGSYS, 0, true, "killed by SIGSYS");
	ends_by("die 24", SIGXCPU, 0, true,
		"used processor time without progress");
	ends_by("exit 0", 0, 0, false, "ended");
	ends_by("exit 3", 0, 3, true, "exit status 3");
}

/* As when uvhostd was started by something that ignores SIGCHLD. */
static void the_status_is_there_if_sigchld_was_ignored(void **state)
{
	(void)state;
	signal(SIGCHLD, SIG_IGN);
	check_ret(wproc_prepare("/proc/self/exe"), 0);
	ends_by("die 11", SIGSEGV, 0, true, "killed by SIGSEGV");
}

/* wproc_start() calls it between the fork and the byte that lets the child go.
 */
static enum {
	NOBODY_DIES,
	BROKER_DIES,
	CHILD_DIES,
	CHILD_STOPS,
	CHILD_IS_LOOKED_AT,
} after_fork;
static unsigned int child_descriptors;
static pid_t stopped_child; /* atomic */

static unsigned int descriptors_of(pid_t pid)
{
	unsigned int n = 0;
	char path[40];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	while (d && (e = readdir(d)))
		n += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

int __real_pidfd_open(pid_t pid, unsigned int flags);
int __wrap_pidfd_open(pid_t pid, unsigned int flags);
int __wrap_pidfd_open(pid_t pid, unsigned int flags)
{
	siginfo_t info;

	switch (after_fork) {
	case BROKER_DIES:
		kill(getpid(), SIGKILL);
		break;
	case CHILD_DIES:
		kill(pid, SIGKILL);
		waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
		break;
	case CHILD_STOPS:
		kill(pid, SIGSTOP);
		waitid(P_PID, (id_t)pid, &info, WSTOPPED);
		__atomic_store_n(&stopped_child, pid, __ATOMIC_RELEASE);
		break;
	case CHILD_IS_LOOKED_AT:
		child_descriptors = descriptors_of(pid);
		break;
	default:
		break;
	}
	return __real_pidfd_open(pid, flags);
}

/* Those that are closed by exec are few as well, and none of the others that
 * the broker has: a close can wait. */
static void a_child_has_no_copies_of_other_descriptors(void **state)
{
	struct wproc_user user = some_user();
	struct wproc_end end;
	struct facts f;
	int fds[5], many[100], pair[2];
	struct wproc p;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = check_ok(dup(STDERR_FILENO));
	check_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	fds[0] = pair[1];
	for (size_t i = 1; i < ARRAY_SIZE(fds); i++)
		fds[i] = many[10 * i];
	after_fork = CHILD_IS_LOOKED_AT;
	check_ret(wproc_start(&user, "few", fds, ARRAY_SIZE(fds), &p), 0);
	after_fork = NOBODY_DIES;
	/* 0 to 2, its own, the report, the program, a pidfd of the broker */
	assert_int_equal(child_descriptors, 3 + ARRAY_SIZE(fds) + 3);
	close(pair[1]);
	assert_true(ask(pair[0], "facts", &f));
	assert_int_equal(f.others, ARRAY_SIZE(fds) - 1);
	close(pair[0]);
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		close(many[i]);
	check_ret(wproc_fence(&p, -1, &end), 0);
}

static void a_child_ends_with_a_broker_that_is_killed(void **state)
{
	int64_t end = now_ms() + DEADLINE_MS;
	int status;
	pid_t pid;

	(void)state;
	check_ok(prctl(PR_SET_CHILD_SUBREAPER, 1));
	pid = check_ok(fork());
	if (pid == 0) {
		struct wproc p;
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
			_exit(1);
		if (wproc_prepare("/proc/self/exe") < 0)
			_exit(1);
		after_fork = BROKER_DIES;
		wproc_start(&nobody, "orphan", &pair[1], 1, &p);
		_exit(2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	/* Its child is ours now. */
	while ((pid = waitpid(-1, &status, WNOHANG)) == 0 && now_ms() < end)
		usleep(1000);
	assert_true(pid > 0);
	check_ok(prctl(PR_SET_CHILD_SUBREAPER, 0));
}

static void *kill_stopped_child(void *arg)
{
	int64_t end = now_ms() + DEADLINE_MS;
	pid_t pid;

	(void)arg;
	do
		pid = __atomic_load_n(&stopped_child, __ATOMIC_ACQUIRE);
	while (!pid && now_ms() < end);
	usleep(10000); /* it has got its byte, most likely */
	if (pid)
		kill(pid, SIGKILL);
	return NULL;
}

/* By another process, or for lack of memory: no fault of the program. */
static void a_child_that_is_killed_before_exec_is_no_failure(void **state)
{
	unsigned int before;
	struct wproc_user user = some_user();
	pthread_t killer;
	struct wproc p;
	int sock;

	(void)state;
	check_ret(wproc_prepare("/proc/self/exe"), 0);
	before = count_descriptors();
	after_fork = CHILD_DIES;
	check_ret(start(&user, &p, &sock), -ECONNRESET);
	after_fork = CHILD_STOPS;
	check_ret(-pthread_create(&killer, NULL, kill_stopped_child, NULL), 0);
	check_ret(start(&user, &p, &sock), -ECONNRESET);
	pthread_join(killer, NULL);
	after_fork = NOBODY_DIES;
	assert_int_equal(p.pid, 0);
	assert_string_equal(logged, "");
	assert_int_equal(count_descriptors(), before);
	check_errno(waitpid(-1, NULL, WNOHANG), ECHILD);
}

/* Waits for all that its descendants leave behind, as uvhost-keeper does. */
static pid_t start_keeper(int sock, int report)
{
	struct wproc_user user = some_user();
	pid_t keeper = check_ok(fork());
	struct wproc p;

	if (keeper)
		return keeper;
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		_exit(1);
	if (fork() == 0) {
		if (wproc_prepare("/proc/self/exe") < 0 ||
		    wproc_start(&user, "adopted", &sock, 1, &p) < 0 ||
		    write(report, &p.pid, sizeof(p.pid)) < 0)
			_exit(1);
		/* _exit() of ThreadSanitizer waits a second for other threads.
		 */
		syscall(SYS_exit_group, 0);
	}
	close(sock);
	close(report);
	while (waitpid(-1, NULL, 0) > 0)
		continue;
	_exit(0);
}

/* A broker before this one started the worker, and is gone. @sig ends the
 * process; 0: wproc_fence() does. */
static void end_adopted(int sig, struct wproc_end *end)
{
	int pair[2], pidfd, report[2];
	pid_t keeper, pid;
	struct wproc p;

	check_ok(pipe2(report, O_CLOEXEC));
	check_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	keeper = start_keeper(pair[1], report[1]);
	close(pair[1]);
	close(report[1]);
	assert_int_equal(read(report[0], &pid, sizeof(pid)), sizeof(pid));
	/* Until the broker is gone, the process is its child. */
	assert_int_equal(read(report[0], &pid, sizeof(pid)), 0);
	pidfd = check_ok(pidfd_open(pid, 0));
	wproc_adopt(&p, pid, pidfd);
	if (sig) {
		struct pollfd gone = { .fd = pidfd, .events = POLLIN };

		check_ok(kill(pid, sig));
		check_ret(poll(&gone, 1, DEADLINE_MS), 1);
	}
	check_ret(wproc_fence(&p, DEADLINE_MS, end), 0);
	close(pair[0]);
	close(report[0]);
	waitpid(keeper, NULL, 0);
}

/* Linux 6.15 tells it. */
static void an_adopted_process_that_crashes_counts(void **state)
{
	unsigned int major = 0, minor = 0;
	struct wproc_end end;
	struct utsname host;

	(void)state;
	end_adopted(SIGSEGV, &end);
	uname(&host);
	if (sscanf(host.release, "%u.%u", &major, &minor) != 2 || major < 6 ||
	    (major == 6 && minor < 15))
		skip();
	assert_true(end.known);
	assert_true(wproc_end_is_crash(&end));
}

static void an_adopted_process_that_was_killed_does_not_count(void **state)
{
	struct wproc_end end;

	(void)state;
	end_adopted(0, &end);
	assert_false(wproc_end_is_crash(&end));
	if (end.known)
		assert_int_equal(end.signal, SIGKILL);
}

/* A process that the kernel keeps, as one in state D: its tracer stops it in
 * its exit. */
static void a_stuck_process_is_not_gone_until_it_is(void **state)
{
	struct wproc_user user = some_user();
	struct wproc_end end;
	struct wproc p;
	int sock, status;

	(void)state;
	check_ret(start(&user, &p, &sock), 0);
	if (ptrace(PTRACE_SEIZE, p.pid, NULL, PTRACE_O_TRACEEXIT) < 0) {
		close(sock);
		wproc_fence(&p, -1, &end);
		skip_because("ptrace: %s", strerror(errno));
	}
	check_ret(wproc_fence(&p, 50, &end), -ETIMEDOUT);
	assert_true(p.pid > 0);
	check_ret(wproc_fence(&p, 50, &end), -ETIMEDOUT);
	assert_int_equal(waitpid(p.pid, &status, 0), p.pid);
	assert_int_equal(status >> 16, PTRACE_EVENT_EXIT);
	check_ok(ptrace(PTRACE_DETACH, p.pid, NULL, NULL));
	check_ret(wproc_fence(&p, DEADLINE_MS, &end), 0);
	assert_true(end.known);
	close(sock);
}

static int end_without_the_right_to_kill(void)
{
	struct wproc_end end;
	struct facts f;
	struct wproc p;
	int sock;

	EXPECT(wproc_prepare("/proc/self/exe") == 0);
	EXPECT(start(&nobody, &p, &sock) == 0);
	EXPECT(ask(sock, "facts", &f));
	EXPECT(confine_keep(BIT(CAP_SETUID) | BIT(CAP_SETGID)) == 0);
	EXPECT(wproc_fence(&p, 50, &end) == -EPERM);
	EXPECT(p.pid > 0 && ask(sock, "facts", &f));
	/* The end of its socket ends it. */
	close(sock);
	EXPECT(wproc_fence(&p, DEADLINE_MS, &end) == 0);
	EXPECT(end.known && end.signal == 0 && end.status == 0 && !p.pid);
	return 0;
}

/* As a broker whose service file gives it no CAP_KILL. */
static void a_process_that_may_not_be_killed_is_waited_for(void **state)
{
	(void)state;
	if (!is_root())
		skip_because("needs root to be another user");
	assert_int_equal(in_child(end_without_the_right_to_kill), 0);
}

/* ---- when the next one is started ---- */

static const struct wproc_end killed = { .known = true, .signal = SIGKILL };
static const struct wproc_end crashed = { .known = true, .signal = SIGSEGV };
static const struct wproc_end unknown = { .known = false };
static const struct wproc_end malformed = { .known = true,
					    .signal = SIGKILL,
					    .malformed = true };

/* One that lived for @ms, from *@now on. */
static int lived(struct wproc_backoff *b, int64_t *now, int64_t ms,
		 const struct wproc_end *end)
{
	wproc_backoff_started(b, *now);
	*now += ms;
	return wproc_backoff_ended(b, end, *now);
}

static void what_has_lived_is_replaced_at_once(void **state)
{
	struct wproc_backoff b = { 0 };
	int64_t now = 5000000;

	(void)state;
	for (unsigned int i = 0; i < 100; i++)
		assert_int_equal(lived(&b, &now, WPROC_LIVED_MS, &killed), 0);
}

static void the_wait_doubles_up_to_a_second(void **state)
{
	static const int waits[] = {
		10, 20, 40, 80, 160, 320, 640, 1000, 1000
	};
	struct wproc_backoff b = { 0 };
	int64_t now = 5000000;

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(waits); i++)
		assert_int_equal(lived(&b, &now, 999, &unknown), waits[i]);
	assert_int_equal(lived(&b, &now, 1000, &killed), 0);
	assert_int_equal(lived(&b, &now, 0, &killed), 10);
}

static void three_crashes_within_a_minute_are_too_many(void **state)
{
	struct wproc_backoff b = { 0 };
	int64_t now = 5000000;

	(void)state;
	assert_int_equal(lived(&b, &now, 2000, &crashed), 0);
	assert_int_equal(lived(&b, &now, 30000, &crashed), 0);
	assert_int_equal(lived(&b, &now, 30000, &crashed), -1);
}

/* They were killed by us. */
static void malformed_messages_count_as_crashes(void **state)
{
	struct wproc_backoff b = { 0 };
	int64_t now = 5000000;
	char text[64];

	(void)state;
	assert_int_equal(lived(&b, &now, 2000, &malformed), 0);
	assert_int_equal(lived(&b, &now, 2000, &crashed), 0);
	assert_int_equal(lived(&b, &now, 2000, &malformed), -1);
	wproc_end_text(&malformed, text, sizeof(text));
	assert_string_equal(text, "sent a malformed message");
}

static void crashes_that_are_long_ago_do_not_count(void **state)
{
	struct wproc_backoff b = { 0 };
	int64_t now = 5000000;

	(void)state;
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(lived(&b, &now, 30001, &crashed), 0);
	assert_int_equal(lived(&b, &now, 29999, &crashed), -1);
}

static void others_signals_are_never_too_many(void **state)
{
	struct wproc_backoff b = { 0 };
	int64_t now = 5000000;

	(void)state;
	for (unsigned int i = 0; i < 100; i++) {
		assert_true(lived(&b, &now, 10, &killed) > 0);
		assert_true(lived(&b, &now, 10, &unknown) > 0);
	}
	assert_true(lived(&b, &now, 10, &crashed) > 0);
	assert_true(lived(&b, &now, 10, &killed) > 0);
	assert_true(lived(&b, &now, 10, &crashed) > 0);
	assert_int_equal(lived(&b, &now, 10, &crashed), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_ALONE(name) \
	cmocka_unit_test_setup_teardown(name, setup_alone, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_worker_has_no_rights_and_four_descriptors),
		TEST(the_environment_does_not_come_along),
		TEST_ALONE(a_worker_can_only_add_to_a_log_file),
		TEST(what_cannot_be_executed_is_an_error_here),
		TEST(a_program_that_is_missing_is_said_at_the_start),
		TEST(no_worker_runs_as_root),
		TEST(starting_and_ending_leaves_no_descriptor),
		TEST(threads_start_workers_at_the_same_time),
		TEST(an_ordinary_owner_gives_its_user_and_group),
		TEST(root_and_owners_of_two_users_give_none),
		TEST_ALONE(a_thread_that_is_gone_has_no_user),
		TEST_ALONE(an_ordinary_user_runs_workers_as_itself),
		TEST_ALONE(a_confined_broker_has_these_rights_only_for_that),
		TEST_ALONE(rights_of_a_broker_that_is_not_root_stay_with_it),
		TEST(a_stopped_process_is_ended),
		TEST(a_process_that_ignores_sigterm_is_ended),
		TEST(the_status_tells_a_crash_from_a_signal_of_others),
		TEST(the_status_is_there_if_sigchld_was_ignored),
		TEST(a_child_has_no_copies_of_other_descriptors),
		TEST_ALONE(a_child_ends_with_a_broker_that_is_killed),
		TEST(a_child_that_is_killed_before_exec_is_no_failure),
		TEST_ALONE(an_adopted_process_that_crashes_counts),
		TEST_ALONE(an_adopted_process_that_was_killed_does_not_count),
		TEST(a_stuck_process_is_not_gone_until_it_is),
		TEST_ALONE(a_process_that_may_not_be_killed_is_waited_for),
		TEST(what_has_lived_is_replaced_at_once),
		TEST(the_wait_doubles_up_to_a_second),
		TEST(three_crashes_within_a_minute_are_too_many),
		TEST(malformed_messages_count_as_crashes),
		TEST(crashes_that_are_long_ago_do_not_count),
		TEST(others_signals_are_never_too_many),
	};

	if (argc == 2 && strcmp(argv[0], "uvhost-worker") == 0)
		be_worker(argv);
	return cmocka_run_group_tests_name("wproc", tests, NULL, NULL);
}
