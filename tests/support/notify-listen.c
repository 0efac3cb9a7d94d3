/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * notify-listen LOG COMMAND...: runs a command with NOTIFY_SOCKET set, and
 * appends what arrives there to LOG, a line each. Exit status: the command's.
 *
 * notify-listen --check-ready DAEMON ARG...: plays a slow kernel towards a CUSE
 * daemon, which gets --cuse-fd=N appended. The daemon waits for CUSE_INIT and
 * has said nothing; CUSE_INIT makes it READY=1, SIGTERM makes it STOPPING=1 and
 * end with status 0.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <linux/fuse.h>

#define DEADLINE_MS 60000
#define ARGS_MAX 16

static char dir[] = "/tmp/notify-XXXXXX";
static char path[64];
static pid_t child;

static void clean_up(void)
{
	unlink(path);
	rmdir(dir);
}

static void __attribute__((noreturn)) fail(const char *what)
{
	fprintf(stderr, "notify-listen: %s\n", what);
	if (child > 0)
		kill(child, SIGKILL);
	clean_up();
	exit(125);
}

static int listen_at(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || !mkdtemp(dir))
		fail(strerror(errno));
	snprintf(path, sizeof(path), "%s/socket", dir);
	strcpy(addr.sun_path, path);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		fail(strerror(errno));
	if (setenv("NOTIFY_SOCKET", path, 1) < 0)
		fail("no memory");
	return fd;
}

static pid_t run(char **argv, const sigset_t *mask)
{
	child = fork();
	if (child < 0)
		fail(strerror(errno));
	if (child == 0) {
		sigprocmask(SIG_SETMASK, mask, NULL);
		execvp(argv[0], argv);
		fprintf(stderr, "notify-listen: %s: %s\n", argv[0],
			strerror(errno));
		_exit(126);
	}
	return child;
}

/* ---- notify-listen LOG COMMAND... ---- */

static void log_one(int log, int fd)
{
	char text[256];
	ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	if (n < 0)
		return;
	text[n++] = '\n';
	if (write(log, text, (size_t)n) != n)
		fail("cannot write the log");
}

/* Passes on what asks us to end, and ends with the child. */
static bool child_ended(int signals, int *status)
{
	struct signalfd_siginfo si;

	if (read(signals, &si, sizeof(si)) != sizeof(si))
		return false;
	if (si.ssi_signo != SIGCHLD) {
		kill(child, (int)si.ssi_signo);
		return false;
	}
	return waitpid(child, status, WNOHANG) == child;
}

static int listen_for(const char *log_path, char **command)
{
	int log =
		open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	int fd = listen_at(), signals, status = 0;
	sigset_t set, old;
	struct pollfd p[2];

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, &old);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (log < 0 || signals < 0)
		fail(strerror(errno));
	run(command, &old);
	p[0] = (struct pollfd){ .fd = fd, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = signals, .events = POLLIN };
	for (;;) {
		if (poll(p, 2, -1) < 0)
			continue;
		if (p[0].revents)
			log_one(log, fd);
		else if (p[1].revents && child_ended(signals, &status))
			break;
	}
	clean_up();
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- notify-listen --check-ready DAEMON ARG... ---- */

/* Is the daemon's only thread asleep in the system call that waits for us? */
static bool waits(void)
{
	static const long calls[] = { SYS_epoll_wait, SYS_epoll_pwait };
	char name[40], text[32] = "";
	ssize_t n;
	int fd;

	snprintf(name, sizeof(name), "/proc/%d/syscall", child);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail("the daemon has ended, or /proc/PID/syscall is not there");
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	return n > 0 && (atol(text) == calls[0] || atol(text) == calls[1]);
}

static void expect(int fd, const char *want)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char text[256];
	ssize_t n;

	if (poll(&p, 1, DEADLINE_MS) != 1)
		fail(want);
	n = recv(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	printf("%s\n", text);
	if (strcmp(text, want) != 0)
		fail(want);
}

static void send_init(int chan)
{
	struct {
		struct fuse_in_header head;
		struct cuse_init_in init;
	} msg = {
		.head = { .len = sizeof(msg),
			  .opcode = CUSE_INIT,
			  .unique = 1 },
		.init = { .major = FUSE_KERNEL_VERSION,
			  .minor = FUSE_KERNEL_MINOR_VERSION,
			  .flags = CUSE_UNRESTRICTED_IOCTL },
	};

	if (send(chan, &msg, sizeof(msg), 0) != sizeof(msg))
		fail("cannot send CUSE_INIT");
}

static int check_ready(int argc, char **argv)
{
	char *args[ARGS_MAX + 2], option[32];
	int fd = listen_at(), chan[2], status;
	char text[64];
	sigset_t none;

	if (argc > ARGS_MAX)
		fail("too many arguments");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, chan) < 0 ||
	    fcntl(chan[0], F_SETFD, FD_CLOEXEC) < 0)
		fail(strerror(errno));
	snprintf(option, sizeof(option), "--cuse-fd=%d", chan[1]);
	memcpy(args, argv, (size_t)argc * sizeof(*args));
	args[argc] = option;
	args[argc + 1] = NULL;
	sigemptyset(&none);
	run(args, &none);
	close(chan[1]);
	for (int ms = 0; !waits(); ms++) {
		if (ms == DEADLINE_MS)
			fail("the daemon does not come to wait for CUSE_INIT");
		poll(NULL, 0, 1);
	}
	if (recv(fd, text, sizeof(text), MSG_DONTWAIT) >= 0)
		fail("it spoke before CUSE_INIT");
	send_init(chan[0]);
	expect(fd, "READY=1");
	kill(child, SIGTERM);
	expect(fd, "STOPPING=1");
	if (waitpid(child, &status, 0) != child || status)
		fail("the daemon did not end with status 0");
	clean_up();
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: notify-listen LOG COMMAND...\n"
				"       notify-listen --check-ready "
				"DAEMON ARG...\n");
		return 125;
	}
	if (strcmp(argv[1], "--check-ready") == 0)
		return check_ready(argc - 2, argv + 2);
	return listen_for(argv[1], argv + 2);
}
