/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * keeper.c is uvhost-keeper. It runs a command, keeps descriptors for it, and
 * starts it again after it died, as systemd does with Restart=on-failure and
 * FileDescriptorStoreMax=; for hosts without systemd.
 *
 *   uvhost-keeper ── NOTIFY_SOCKET: FDSTORE=1, FDSTOREREMOVE=1 ◄── COMMAND
 *                 ── LISTEN_FDS, LISTEN_FDNAMES ─────────────────► next COMMAND
 *
 * States, and the events that change them (function):
 *
 *   RUNNING   the command runs
 *     -> WAITING   it crashed, was killed, or failed (child_ended)
 *     -> RUNNING   it ended after SIGHUP to the keeper (child_ended)
 *     -> ENDED     it ended with a final status, is_final() (child_ended)
 *     -> ENDED     it ended after SIGTERM or SIGINT to the keeper (child_ended)
 *
 *   WAITING   until --delay is over
 *     -> RUNNING   (child_start)
 *     -> ENDED     it was started --burst times in --interval (child_start)
 *     -> ENDED     SIGTERM, SIGINT (signal_received)
 *
 *   ENDED     exit closes all descriptors
 *
 * The next command is started after the last one was reaped, when no thread of
 * it is left, and after its messages were read.
 *
 * Exit status: the command's; 128 + the signal that killed it; 125: the keeper
 * itself failed; 127: there is no such command.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "bytes.h"
#include "clock.h"
#include "fd.h"
#include "notify.h"
#include "parse.h"

enum {
	EXIT_KEEPER = 125,
	EXIT_NO_COMMAND = 127,
};

#define BURST 20
#define INTERVAL_S 10
#define DELAY_MS 200
#define STOP_MS 10000
#define STORE_MAX 65536
#define BURST_MAX 1000

/* Most bytes of a message; a longer message is ignored. */
#define TEXT_MAX 4096
/* Most descriptors of a message (SCM_MAX_FD). */
#define FDS_MAX 253

struct kept_fd {
	int fd;
	bool poll;
	char name[NOTIFY_NAME_MAX + 1];
};

struct keeper {
	/* options */
	unsigned int burst, interval_s, delay_ms, stop_ms;
	char **argv;

	struct kept_fd *kept;
	size_t nkept, room;
	struct pollfd *pollfds; /* space for room + 2 */
	int notify_fd, signal_fd;
	char notify_path[32];
	sigset_t old_mask;

	pid_t child;         /* 0: none */
	bool stopping;       /* SIGTERM or SIGINT was received */
	bool restarting;     /* SIGHUP was received */
	int64_t kill_at_ms;  /* when SIGKILL is sent; 0: never */
	int64_t start_at_ms; /* when WAITING ends; 0: not WAITING */
	int64_t started_ms[BURST_MAX];
	unsigned int nstarted;
	bool ended;
	int status;
};

static void __attribute__((format(printf, 1, 2))) say(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	dprintf(STDERR_FILENO, "uvhost-keeper: %s\n", text);
}

static const char *command_name(const struct keeper *k)
{
	assert(k->argv);
	return k->argv[0];
}

/* ---- the store ---- */

static bool store_grow(struct keeper *k)
{
	size_t room = k->room ? 2 * k->room : 64;
	void *kept, *fds;

	if (k->nkept < k->room)
		return true;
	if (k->nkept >= STORE_MAX)
		return false;
	kept = realloc(k->kept, room * sizeof(*k->kept));
	if (!kept)
		return false;
	k->kept = kept;
	memset(&k->kept[k->room], 0, (room - k->room) * sizeof(*k->kept));
	fds = realloc(k->pollfds, (room + 2) * sizeof(*k->pollfds));
	if (!fds)
		return false;
	k->pollfds = fds;
	k->room = room;
	return true;
}

/* Owns @fd. */
static void store_add(struct keeper *k, const char *name, int fd, bool poll)
{
	struct kept_fd *e;

	if (!store_grow(k)) {
		say("too many descriptors: '%s' is not kept", name);
		close(fd);
		return;
	}
	e = &k->kept[k->nkept++];
	e->fd = fd;
	e->poll = poll;
	snprintf(e->name, sizeof(e->name), "%s", name);
}

static void store_drop(struct keeper *k, size_t i)
{
	close(k->kept[i].fd);
	k->nkept--;
	memmove(&k->kept[i], &k->kept[i + 1],
		(k->nkept - i) * sizeof(*k->kept));
}

static void store_drop_name(struct keeper *k, const char *name)
{
	for (size_t i = k->nkept; i-- > 0;)
		if (strcmp(k->kept[i].name, name) == 0)
			store_drop(k, i);
}

/* ---- messages ---- */

/* @out: value of the first line "@key=VALUE"; false: there is none. */
static bool get_line(const char *text, const char *key, char *out, size_t room)
{
	size_t len = strlen(key);

	while (*text) {
		size_t line = strcspn(text, "\n");

		if (line > len && strncmp(text, key, len) == 0 &&
		    text[len] == '=') {
			snprintf(out, room, "%.*s", (int)(line - len - 1),
				 text + len + 1);
			return true;
		}
		text += line;
		text += *text == '\n';
	}
	return false;
}

static bool has_line(const char *text, const char *key, const char *value)
{
	char got[8];

	return get_line(text, key, got, sizeof(got)) && strcmp(got, value) == 0;
}

/* Owns @fds. Messages that are not about descriptors are passed to the service
 * manager that started the keeper, if any. */
static void message_received(struct keeper *k, const char *text, const int *fds,
			     unsigned int n)
{
	char name[NOTIFY_NAME_MAX + 1] = "stored";
	bool named = get_line(text, "FDNAME", name, sizeof(name));
	bool store = has_line(text, "FDSTORE", "1") && notify_name_ok(name);

	for (unsigned int i = 0; i < n; i++) {
		if (store)
			store_add(k, name, fds[i],
				  !has_line(text, "FDPOLL", "0"));
		else
			close(fds[i]);
	}
	if (has_line(text, "FDSTOREREMOVE", "1") && named)
		store_drop_name(k, name);
	else if (!n)
		notify_send(text);
}

/* Descriptors of a message and the process that sent it. */
struct ancillary {
	pid_t pid;
	unsigned int n;
	int fds[FDS_MAX];
};

static void ancillary_read(struct msghdr *msg, struct ancillary *a)
{
	struct cmsghdr *c;
	struct ucred cred;

	a->pid = 0;
	a->n = 0;
	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t len = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_CREDENTIALS && len == sizeof(cred)) {
			memcpy(&cred, CMSG_DATA(c), sizeof(cred));
			a->pid = cred.pid;
		} else if (c->cmsg_type == SCM_RIGHTS && !a->n) {
			a->n = (unsigned int)(len / sizeof(int));
			memcpy(a->fds, CMSG_DATA(c), a->n * sizeof(int));
		}
	}
}

/* Reads one message; one that another process sent is ignored. False: none
 * waits. */
static bool message_read(struct keeper *k)
{
	union {
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int)) +
			   CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr hdr;
	} control;
	char text[TEXT_MAX + 1];
	struct iovec iov = { text, TEXT_MAX };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct ancillary a;
	ssize_t len =
		recvmsg(k->notify_fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (len < 0)
		return errno == EINTR;
	text[len] = '\0';
	ancillary_read(&msg, &a);
	if (a.pid == k->child && k->child && !(msg.msg_flags & MSG_TRUNC)) {
		message_received(k, text, a.fds, a.n);
		return true;
	}
	for (unsigned int i = 0; i < a.n; i++)
		close(a.fds[i]);
	return true;
}

/* ---- the command ---- */

static void env_number_set(const char *name, unsigned long value)
{
	char text[24];

	snprintf(text, sizeof(text), "%lu", value);
	setenv(name, text, 1);
}

/* Runs in the child. */
static bool env_prepare(const struct keeper *k)
{
	char *names = malloc(k->nkept * (NOTIFY_NAME_MAX + 1) + 1), *at = names;

	if (!names)
		return false;
	*at = '\0';
	for (size_t i = 0; i < k->nkept; i++)
		at += sprintf(at, "%s%s", i ? ":" : "", k->kept[i].name);
	setenv("NOTIFY_SOCKET", k->notify_path, 1);
	env_number_set("FDSTORE", STORE_MAX);
	unsetenv("WATCHDOG_USEC");
	if (k->nkept) {
		env_number_set("LISTEN_FDS", k->nkept);
		env_number_set("LISTEN_PID", (unsigned long)getpid());
		setenv("LISTEN_FDNAMES", names, 1);
	} else {
		unsetenv("LISTEN_FDS");
		unsetenv("LISTEN_PID");
		unsetenv("LISTEN_FDNAMES");
	}
	free(names);
	return true;
}

/* Runs in the child: gives the kept descriptors the numbers from
 * NOTIFY_FIRST_FD on. Descriptors that had these numbers are lost to the
 * command: they are the ones that the keeper was started with. */
static bool fds_prepare(const struct keeper *k)
{
	int end = NOTIFY_FIRST_FD + (int)k->nkept;

	/* Those with numbers in the range are moved behind it first. */
	for (size_t i = 0; i < k->nkept; i++) {
		if (k->kept[i].fd >= end)
			continue;
		k->kept[i].fd = fcntl(k->kept[i].fd, F_DUPFD_CLOEXEC, end);
		if (k->kept[i].fd < 0)
			return false;
	}
	for (size_t i = 0; i < k->nkept; i++)
		if (dup2(k->kept[i].fd, NOTIFY_FIRST_FD + (int)i) < 0)
			return false;
	return true;
}

static _Noreturn void child_exec(struct keeper *k)
{
	sigprocmask(SIG_SETMASK, &k->old_mask, NULL);
	if (!env_prepare(k) || !fds_prepare(k)) {
		say("cannot pass the descriptors on: %s", strerror(errno));
		_exit(EXIT_KEEPER);
	}
	execvp(command_name(k), k->argv);
	say("%s: %s", command_name(k), strerror(errno));
	_exit(EXIT_NO_COMMAND);
}

/* Whether there were --burst starts within --interval. */
static bool starts_too_often(struct keeper *k)
{
	int64_t now = now_ms(), since = k->interval_s * INT64_C(1000);
	unsigned int n = 0;

	for (unsigned int i = 0; i < k->nstarted; i++)
		if (now - k->started_ms[i] < since)
			k->started_ms[n++] = k->started_ms[i];
	k->nstarted = n;
	if (n >= k->burst)
		return true;
	k->started_ms[k->nstarted++] = now;
	return false;
}

static void keeper_end(struct keeper *k, int status)
{
	k->ended = true;
	k->status = status;
}

static void child_start(struct keeper *k)
{
	k->start_at_ms = 0;
	if (starts_too_often(k)) {
		say("%s died %u times within %u s: given up", command_name(k),
		    k->burst, k->interval_s);
		keeper_end(k, EXIT_FAILURE);
		return;
	}
	k->child = fork();
	if (k->child == 0)
		child_exec(k);
	if (k->child > 0)
		return;
	say("fork: %s", strerror(errno));
	k->child = 0;
	k->start_at_ms = now_ms() + MAX(k->delay_ms, 100u);
}

static int exit_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status)
				   : WEXITSTATUS(status);
}

/* Whether the command is not started again: it was stopped, or would fail again
 * (2: its configuration is wrong). */
static bool is_final(int status)
{
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGTERM ||
		       WTERMSIG(status) == SIGINT;
	return WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 2 ||
	       WEXITSTATUS(status) == EXIT_NO_COMMAND;
}

static void child_ended(struct keeper *k, int status)
{
	/* Messages that it sent before it ended. */
	while (message_read(k))
		;
	k->child = 0;
	k->kill_at_ms = 0;
	if (k->stopping) {
		keeper_end(k, exit_status(status));
		return;
	}
	if (k->restarting) {
		k->restarting = false;
		child_start(k);
		return;
	}
	if (is_final(status)) {
		keeper_end(k, exit_status(status));
		return;
	}
	if (WIFSIGNALED(status))
		say("%s was killed by signal %d (%s): starting it again",
		    command_name(k), WTERMSIG(status),
		    strsignal(WTERMSIG(status)));
	else
		say("%s ended with status %d: starting it again",
		    command_name(k), WEXITSTATUS(status));
	k->start_at_ms = now_ms() + k->delay_ms;
}

static void children_reap(struct keeper *k)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == k->child)
			child_ended(k, status);
}

static void child_stop(struct keeper *k)
{
	if (k->child && !k->kill_at_ms) {
		kill(k->child, SIGTERM);
		k->kill_at_ms = now_ms() + k->stop_ms;
	}
}

/* ---- signals and time ---- */

static void signal_received(struct keeper *k, int number)
{
	switch (number) {
	case SIGCHLD:
		children_reap(k);
		break;
	case SIGTERM:
	case SIGINT:
		k->stopping = true;
		child_stop(k);
		if (!k->child)
			keeper_end(k, EXIT_SUCCESS);
		break;
	case SIGHUP:
		k->restarting = k->child != 0;
		child_stop(k);
		break;
	default:
		if (k->child)
			kill(k->child, number);
		break;
	}
}

static void signal_read(struct keeper *k)
{
	struct signalfd_siginfo info;

	if (read(k->signal_fd, &info, sizeof(info)) == sizeof(info))
		signal_received(k, (int)info.ssi_signo);
}

static void time_passed(struct keeper *k)
{
	int64_t now = now_ms();

	if (k->start_at_ms && now >= k->start_at_ms)
		child_start(k);
	if (k->kill_at_ms && now >= k->kill_at_ms && k->child) {
		say("%s does not end: killed", command_name(k));
		kill(k->child, SIGKILL);
		k->kill_at_ms = now + k->stop_ms;
	}
}

static int time_left(const struct keeper *k)
{
	int64_t now = now_ms(), next = INT64_MAX;

	if (k->start_at_ms)
		next = k->start_at_ms;
	if (k->kill_at_ms)
		next = MIN(next, k->kill_at_ms);
	if (next == INT64_MAX)
		return -1;
	return next > now ? (int)MIN(next - now, INT_MAX) : 0;
}

/* Closes descriptors that poll as POLLHUP or POLLERR, as systemd does. */
static void store_sweep(struct keeper *k, size_t polled)
{
	for (size_t i = polled; i-- > 0;)
		if (k->pollfds[2 + i].fd >= 0 &&
		    k->pollfds[2 + i].revents & (POLLHUP | POLLERR))
			store_drop(k, i);
}

static void keeper_turn(struct keeper *k)
{
	size_t polled = k->nkept;
	int n;

	assert(k->pollfds);
	k->pollfds[0] = (struct pollfd){ k->signal_fd, POLLIN, 0 };
	k->pollfds[1] = (struct pollfd){ k->notify_fd, POLLIN, 0 };
	for (size_t i = 0; i < polled; i++)
		k->pollfds[2 + i] = (struct pollfd){
			.fd = k->kept[i].poll ? k->kept[i].fd : -1,
		};
	n = poll(k->pollfds, 2 + polled, time_left(k));
	if (n > 0) {
		store_sweep(k, polled);
		/* Neither call blocks. */
		message_read(k);
		signal_read(k);
	}
	time_passed(k);
}

/* ---- start ---- */

/* Binds to an abstract address that the kernel chooses. Any process can send to
 * it; credentials tell which one did. */
static int notify_open(struct keeper *k)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(addr.sun_family);
	const int on = 1;

	k->notify_fd =
		socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (k->notify_fd < 0 ||
	    setsockopt(k->notify_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) <
		    0 ||
	    bind(k->notify_fd, (struct sockaddr *)&addr, len) < 0)
		return -errno;
	len = sizeof(addr);
	if (getsockname(k->notify_fd, (struct sockaddr *)&addr, &len) < 0)
		return -errno;
	len -= (socklen_t)offsetof(struct sockaddr_un, sun_path);
	if (len >= sizeof(k->notify_path))
		return -EINVAL;
	memcpy(k->notify_path, addr.sun_path, len);
	k->notify_path[0] = '@';
	k->notify_path[len] = '\0';
	return 0;
}

static int signals_take(struct keeper *k)
{
	static const int taken[] = { SIGCHLD, SIGTERM, SIGINT,
				     SIGHUP,  SIGUSR1, SIGUSR2 };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		sigaddset(&set, taken[i]);
	if (sigprocmask(SIG_BLOCK, &set, &k->old_mask) < 0)
		return -errno;
	k->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return k->signal_fd < 0 ? -errno : 0;
}

static int keeper_run(struct keeper *k)
{
	int ret;

	/* Descriptors in messages that are not read yet count as well. */
	fd_raise_limit();
	ret = notify_open(k);
	if (ret == 0)
		ret = signals_take(k);
	if (ret == 0 && !store_grow(k))
		ret = -ENOMEM;
	if (ret < 0) {
		say("%s", strerror(-ret));
		return EXIT_KEEPER;
	}
	child_start(k);
	while (!k->ended)
		keeper_turn(k);
	return k->status;
}

static void print_usage(FILE *out)
{
	fputs("Usage: uvhost-keeper [OPTION]... COMMAND [ARGUMENT]...\n"
	      "Runs COMMAND, keeps its descriptors, and starts it again when "
	      "it dies.\n"
	      "  --delay MS       wait before the next start (200)\n"
	      "  --burst N        give up after N starts (20) ...\n"
	      "  --interval S     ... within S seconds (10)\n"
	      "  --stop-wait MS   from SIGTERM to SIGKILL (10000)\n"
	      "  --help, --version\n"
	      "SIGTERM, SIGINT: stop. SIGHUP: end COMMAND and start it "
	      "again.\n"
	      "SIGUSR1, SIGUSR2 are passed on.\n",
	      out);
}

static bool number_parse(const char *arg, uint64_t min, uint64_t max,
			 unsigned int *out)
{
	uint64_t v;

	if (parse_number(arg, min, max, &v) < 0)
		return false;
	*out = (unsigned int)v;
	return true;
}

/* Return: -1: run the command; else the exit status. */
static int arguments_parse(struct keeper *k, int argc, char **argv)
{
	static const struct option options[] = {
		{ "burst", required_argument, NULL, 'b' },
		{ "interval", required_argument, NULL, 'i' },
		{ "delay", required_argument, NULL, 'd' },
		{ "stop-wait", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	bool ok = true;
	int opt;

	while (ok && (opt = getopt_long(argc, argv, "+", options, NULL)) >= 0) {
		if (opt == 'b')
			ok = number_parse(optarg, 1, BURST_MAX, &k->burst);
		else if (opt == 'i')
			ok = number_parse(optarg, 1, 86400, &k->interval_s);
		else if (opt == 'd')
			ok = number_parse(optarg, 0, 3600000, &k->delay_ms);
		else if (opt == 's')
			ok = number_parse(optarg, 1, 3600000, &k->stop_ms);
		else if (opt == 'h')
			print_usage(stdout);
		else if (opt == 'v')
			printf("uvhost-keeper %s\n", UVHOST_VERSION);
		else
			ok = false;
		if (ok && (opt == 'h' || opt == 'v'))
			return EXIT_SUCCESS;
	}
	k->argv = argv + optind;
	if (ok && *k->argv)
		return -1;
	print_usage(stderr);
	return EXIT_KEEPER;
}

int main(int argc, char **argv)
{
	static struct keeper keeper = {
		.burst = BURST,
		.interval_s = INTERVAL_S,
		.delay_ms = DELAY_MS,
		.stop_ms = STOP_MS,
	};
	int status = arguments_parse(&keeper, argc, argv);

	return status >= 0 ? status : keeper_run(&keeper);
}
