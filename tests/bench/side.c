/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * side.c starts, stops, continues and ends the processes of a side, and speaks
 * with its agent.
 *
 *   no device        engine ── agent ── what the scenario starts
 *   /dev/cuse        engine ─┬─ uvhostd
 *                            └─ agent ── ...
 *   no /dev/cuse     engine ── cusehost ─┬─ uvhostd
 *                                        └─ agent ── ...
 *
 * Every program in this picture is the leader of a process group (cusehost
 * makes the groups of its two children); what a scenario starts is in the
 * agent's group. Each child has PR_SET_PDEATHSIG, and the engine is the
 * subreaper of all.
 */
#include "side.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"

#define CLOSE_MS 5000
#define TERM_MS 3000
#define KILL_MS 3000
#define STEP_US 2000
#define TURN_MS 200 /* how often side_stopping is looked at */
#define STATUS_TRIES 50

volatile int side_stopping;
int side_answer_ms = 60000;

/* ---- reasons ---- */

__attribute__((format(printf, 3, 4))) static int
set_why(struct side *s, int err, const char *format, ...)
{
	char line[200];
	va_list ap;
	size_t len;

	va_start(ap, format);
	vsnprintf(s->why, sizeof(s->why), format, ap);
	va_end(ap);
	agent_log_end(s->log, line, sizeof(line));
	len = strlen(s->why);
	if (line[0])
		snprintf(s->why + len, sizeof(s->why) - len, " (log: %s)",
			 line);
	return err;
}

/* How the program that was started for the agent ended, if it did. Its end of
 * the socket is closed a moment before that. */
static void put_status(const struct side *s, char *to, size_t size)
{
	siginfo_t si = { 0 };

	to[0] = '\0';
	for (unsigned int i = 0; i < STATUS_TRIES && si.si_pid == 0; i++) {
		usleep(i ? STEP_US : 0);
		if (s->child[0] <= 0 || waitid(P_PID, (id_t)s->child[0], &si,
					       WEXITED | WNOHANG | WNOWAIT) < 0)
			return;
	}
	if (si.si_pid == 0)
		return;
	if (si.si_code == CLD_EXITED)
		snprintf(to, size, " with status %d", si.si_status);
	else
		snprintf(to, size, " by signal %d (%s)", si.si_status,
			 strsignal(si.si_status));
}

static const char *command_name(uint32_t kind)
{
	static const char *const name[] = {
		[AGENT_HELLO] = "start",
		[AGENT_OPEN] = "open()",
		[AGENT_SLICE] = "slice()",
		[AGENT_CLOSE] = "close()",
	};

	return name[kind];
}

/* ---- messages ---- */

static void take_note(struct side *s, const struct agent_msg *m)
{
	unsigned int i = 0;

	while (i < s->notes &&
	       strncmp(s->note[i].key, m->text, SIDE_KEY - 1) != 0)
		i++;
	if (i == SIDE_NOTES)
		return;
	snprintf(s->note[i].key, SIDE_KEY, "%.*s", SIDE_KEY - 1, m->text);
	s->note[i].value = m->value;
	s->notes = MAX(s->notes, i + 1);
}

/* Return: 1: a packet is there; 0: not yet; -ECHILD: and there will be none. */
static int poll_agent(struct side *s)
{
	struct pollfd p[1 + ARRAY_SIZE(s->exited)] = { { s->fd, POLLIN, 0 } };

	for (size_t i = 0; i < ARRAY_SIZE(s->exited); i++)
		p[1 + i] = (struct pollfd){ s->exited[i], POLLIN, 0 };
	if (poll(p, ARRAY_SIZE(p), TURN_MS) <= 0)
		return 0;
	if (p[0].revents & POLLIN)
		return 1;
	return -ECHILD;
}

static int ended(struct side *s, uint32_t kind)
{
	char status[80];

	put_status(s, status, sizeof(status));
	return set_why(s, -ECHILD, "ended%s in %s", status, command_name(kind));
}

/* The agent's next HELLO or DONE, which ends command @kind. */
static int await(struct side *s, uint32_t kind, struct agent_msg *m, int ms)
{
	int64_t until = now_ms() + ms;
	int ret;

	for (;;) {
		ret = side_stopping ? -EINTR : poll_agent(s);
		if (ret == -EINTR)
			return set_why(s, ret, "interrupted");
		if (ret < 0)
			return ended(s, kind);
		if (ret == 0 && now_ms() > until)
			return set_why(s, -ETIMEDOUT, "no answer to %s in %d s",
				       command_name(kind), ms / 1000);
		if (ret == 0)
			continue;
		if (recv(s->fd, m, sizeof(*m), MSG_DONTWAIT) !=
		    (ssize_t)sizeof(*m))
			return ended(s, kind);
		m->text[AGENT_TEXT - 1] = '\0';
		if (m->kind == AGENT_NOTE)
			take_note(s, m);
		else if (m->kind == AGENT_WHY)
			snprintf(s->why, sizeof(s->why), "%s", m->text);
		else
			return 0;
	}
}

static int command(struct side *s, struct agent_msg *m, int ms)
{
	uint32_t kind = m->kind;
	int ret;

	s->why[0] = '\0';
	if (send(s->fd, m, sizeof(*m), MSG_NOSIGNAL) < 0)
		return ended(s, kind);
	ret = await(s, kind, m, ms);
	s->lost = ret < 0;
	if (ret < 0)
		return ret;
	if (m->err < 0 && !s->why[0])
		set_why(s, 0, "%s: %s", command_name(kind), strerror(-m->err));
	return m->err;
}

/* ---- starting ---- */

static _Noreturn void exec_program(struct side *s, const char *const *argv,
				   int keep, pid_t parent)
{
	int log = open(s->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	dup2(null, STDIN_FILENO);
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	if (keep >= 0)
		fcntl(keep, F_SETFD, 0);
	execv(argv[0], (char *const *)argv);
	dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static void add_group(struct side *s, pid_t leader)
{
	for (unsigned int i = 0; i < s->groups; i++)
		if (s->group[i] == leader)
			return;
	if (leader > 0 && s->groups < ARRAY_SIZE(s->group))
		s->group[s->groups++] = leader;
}

static int start_child(struct side *s, unsigned int i, const char *const *argv,
		       int keep)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		return set_why(s, -errno, "fork: %s", strerror(errno));
	if (pid == 0)
		exec_program(s, argv, keep, parent);
	setpgid(pid, pid); /* whichever of the two is first */
	s->child[i] = pid;
	s->exited[i] = pidfd_open(pid, 0);
	add_group(s, pid);
	return 0;
}

/* The name behind "--device" at *@i, which is moved on to it if it is a word of
 * its own; NULL: another option. */
static const char *device_name(const char *const *args, unsigned int *i)
{
	static const char *const option[] = { "--device", "--dev" };

	for (size_t k = 0; k < ARRAY_SIZE(option); k++) {
		size_t len = strlen(option[k]);

		if (strncmp(args[*i], option[k], len) != 0)
			continue;
		if (args[*i][len] == '=')
			return args[*i] + len + 1;
		if (!args[*i][len] && args[*i + 1])
			return args[++*i];
	}
	return NULL;
}

static unsigned int count_devices(const char *const *args)
{
	unsigned int n = 0;

	for (unsigned int i = 0; args[i]; i++)
		n += device_name(args, &i) != NULL;
	return n;
}

/* ---- with a device ---- */

static bool nodes_there(const char *const *args)
{
	for (unsigned int i = 0; args[i]; i++) {
		const char *name = device_name(args, &i);
		char path[PATH_MAX];

		if (!name)
			continue;
		snprintf(path, sizeof(path), "/dev/%.*s",
			 (int)strcspn(name, ","), name);
		if (access(path, F_OK) < 0)
			return false;
	}
	return true;
}

static int start_daemon(struct side *s)
{
	int64_t until = now_ms() + side_answer_ms;
	struct pollfd p = { .events = POLLIN };
	FILE *f;
	int ret;

	ret = start_child(s, 1, (const char *const *)s->daemon, -1);
	if (ret < 0)
		return ret;
	p.fd = s->exited[1];
	while (!nodes_there(s->config.device)) {
		if (poll(&p, 1, 0) > 0)
			return set_why(s, -ECHILD, "uvhostd ended");
		if (now_ms() > until || side_stopping)
			return set_why(s, -ETIMEDOUT, "no device appeared");
		usleep(STEP_US);
	}
	f = fopen(s->pidfile, "we");
	if (f) {
		fprintf(f, "%d\n", s->child[1]);
		fclose(f);
	}
	return 0;
}

static pid_t read_pidfile(const char *path)
{
	FILE *f = fopen(path, "re");
	int pid = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%d", &pid) != 1)
		pid = 0;
	fclose(f);
	return pid;
}

/* ---- the whole ---- */

static void put_environment(const struct side *s, int fd)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", fd);
	setenv(AGENT_ENV_FD, number, 1);
	setenv(AGENT_ENV_DIR, s->path, 1);
	setenv(AGENT_ENV_UVHOSTD, s->config.uvhostd, 1);
	if (s->config.device)
		setenv(AGENT_ENV_PIDFILE, s->pidfile, 1);
	else
		unsetenv(AGENT_ENV_PIDFILE);
}

/* The agent, with the CUSE host around it if there shall be one. */
static int start_agent(struct side *s, int fd)
{
	bool host = s->config.device && s->config.host;
	unsigned int n = 0, daemon = 0;
	const char **argv;
	char devices[16];
	int ret;

	while (host && s->daemon[daemon])
		daemon++;
	argv = calloc(daemon + 12, sizeof(*argv));
	if (!argv)
		return set_why(s, -ENOMEM, "no memory");
	if (host) {
		snprintf(devices, sizeof(devices), "%u",
			 count_devices(s->config.device));
		argv[n++] = s->config.host;
		argv[n++] = "--devices";
		argv[n++] = devices;
		argv[n++] = "--daemon-pidfile";
		argv[n++] = s->pidfile;
		memcpy(&argv[n], s->daemon, daemon * sizeof(*argv));
		n += daemon;
		argv[n++] = "--";
	}
	argv[n++] = s->config.agent;
	argv[n++] = "--agent";
	argv[n++] = s->config.scenario->name;
	argv[n++] = s->config.role == BENCH_OURS ? "ours" : "peer";
	put_environment(s, fd);
	ret = start_child(s, 0, argv, fd);
	free(argv);
	return ret;
}

static int hello(struct side *s)
{
	struct agent_msg m;
	int ret = await(s, AGENT_HELLO, &m, side_answer_ms);

	if (s->config.device)
		add_group(s, read_pidfile(s->pidfile));
	if (ret < 0)
		return ret;
	if (m.kind != AGENT_HELLO || m.err != AGENT_VERSION)
		return set_why(s, -EPROTO, "the agent is of another version");
	add_group(s, (pid_t)m.pid);
	s->exited[2] = pidfd_open((pid_t)m.pid, 0);
	return 0;
}

static int prepare(struct side *s)
{
	snprintf(s->path, sizeof(s->path), "%s", s->config.dir);
	snprintf(s->log, sizeof(s->log), "%.4000s.log", s->config.dir);
	snprintf(s->pidfile, sizeof(s->pidfile), "%.4000s.pid", s->config.dir);
	s->config.dir = s->path;
	if (mkdir(s->path, 0700) < 0)
		return set_why(s, -errno, "%s: %s", s->path, strerror(errno));
	if (!s->config.device)
		return 0;
	s->daemon =
		agent_daemon_args(s->config.uvhostd, s->config.device, s->path);
	return s->daemon ? 0 : set_why(s, -ENOMEM, "no memory");
}

int side_start(struct side *s, const struct side_config *config)
{
	struct agent_msg m = { .kind = AGENT_OPEN };
	int pair[2], ret;

	*s = (struct side){ .config = *config,
			    .fd = -1,
			    .exited = { -1, -1, -1 },
			    .running = true };
	ret = prepare(s);
	if (ret < 0)
		return ret;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return set_why(s, -errno, "socketpair: %s", strerror(errno));
	s->fd = pair[0];
	ret = config->device && !config->host ? start_daemon(s) : 0;
	if (ret == 0)
		ret = start_agent(s, pair[1]);
	close(pair[1]);
	if (ret == 0)
		ret = hello(s);
	return ret < 0 ? ret : command(s, &m, 3 * side_answer_ms);
}

int side_slice(struct side *s, uint64_t ns, struct bench_sample *out)
{
	struct agent_msg m = { .kind = AGENT_SLICE, .ns = ns };
	int ret = command(s, &m, side_answer_ms);

	*out = m.sample;
	return ret;
}

/* ---- stopping and ending ---- */

void side_pause(struct side *s)
{
	/* The agent first: then no call is pending in the others. */
	for (unsigned int i = s->groups; i > 0; i--)
		kill(-s->group[i - 1], SIGSTOP);
	s->running = false;
}

void side_resume(struct side *s)
{
	for (unsigned int i = 0; i < s->groups; i++)
		kill(-s->group[i], SIGCONT);
	s->running = true;
}

static bool any_left(const struct side *s)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	for (unsigned int i = 0; i < s->groups; i++)
		if (kill(-s->group[i], 0) == 0)
			return true;
	return false;
}

static bool wait_gone(const struct side *s, int ms)
{
	int64_t until = now_ms() + ms;

	while (any_left(s)) {
		if (now_ms() > until)
			return false;
		usleep(STEP_US);
	}
	return true;
}

static void signal_all(const struct side *s, int sig)
{
	for (unsigned int i = 0; i < s->groups; i++)
		kill(-s->group[i], sig);
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	remove(path);
	return 0;
}

void side_end(struct side *s)
{
	struct agent_msg m = { .kind = AGENT_CLOSE };
	char why[AGENT_TEXT];

	side_resume(s);
	if (s->exited[2] >= 0 && !s->lost && !side_stopping) {
		/* @why is the reason of the result, not close()'s. */
		memcpy(why, s->why, sizeof(why));
		command(s, &m, CLOSE_MS);
		memcpy(s->why, why, sizeof(why));
	}
	signal_all(s, SIGTERM);
	if (!wait_gone(s, TERM_MS)) {
		signal_all(s, SIGKILL);
		wait_gone(s, KILL_MS);
	}
	for (size_t i = 0; i < ARRAY_SIZE(s->exited); i++)
		if (s->exited[i] >= 0)
			close(s->exited[i]);
	if (s->fd >= 0)
		close(s->fd);
	if (s->path[0])
		nftw(s->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	unlink(s->log);
	unlink(s->pidfile);
	agent_free_args(s->daemon);
	s->groups = 0;
}

void side_end_orphans(void)
{
	char path[64];
	FILE *f;
	int pid;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	f = fopen(path, "re");
	while (f && fscanf(f, "%d", &pid) == 1)
		if (kill(pid, SIGKILL) == 0)
			waitpid(pid, NULL, 0);
	if (f)
		fclose(f);
}
