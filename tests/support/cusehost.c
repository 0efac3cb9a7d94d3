/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cusehost - the kernel's half of CUSE, in user space
 *
 *     cusehost [OPTIONS] DAEMON [ARGS...] -- CLIENT [ARGS...]
 *
 * Runs a CUSE daemon without /dev/cuse and a client, unmodified, that finds
 * the daemon's character device where it expects it.
 *
 *   DAEMON  <── one SEQPACKET socket per device ──>  cusehost
 *                 (FUSE messages, --cuse-fd=N)
 *   CLIENT and its descendants  <── seccomp user notification ──>  cusehost
 *
 * The client runs under a filter that stops it in open, ioctl, read and write
 * (which ones exactly: cusehost_trap.c) until we answer. An open of the device
 * path becomes a FUSE OPEN, and the client gets the reading end of a pipe as
 * its descriptor. Later calls are known to be for us by that pipe's inode
 * number, so that dup, fork, exec and SCM_RIGHTS need no care. poll, epoll and
 * select on the pipe are the kernel's own: it holds one byte while the daemon
 * says readable. When no process has the reading end open, RELEASE is sent
 * (cusehost_dev.c). Memory of the client is copied as fs/fuse/ioctl.c and
 * file.c copy it (cusehost_call.c, cusehost_peer.c). All other calls of the
 * client run at full speed, and so does its data path.
 *
 * One thread, one epoll loop, one event at a time, nothing that waits for the
 * daemon or the client. The kernel knows at once that a caller was killed or
 * has a signal to take, and sends INTERRUPT; we look every 10 ms.
 *
 * Where this differs from the kernel:
 *   - fstat says FIFO, F_GETFL says O_RDONLY, there is no node to stat, no
 *     permission check at open, and opening /proc/self/fd/N opens nothing new;
 *   - without --trap-io only vhost ioctls (type 0xAF) and IOTLB-sized reads
 *     and writes are seen; others act on the pipe. With it, everything but
 *     splice, fstat, mmap and fcntl is as on the device;
 *   - poll never reports OUT, ERR or HUP; error conditions show as readable;
 *   - close does not wait for RELEASE, but the next trapped call does;
 *   - a signal whose handler has no SA_RESTART can end a call with EINTR in
 *     the microseconds before we receive it; it was not carried out then;
 *   - a daemon's malformed reply is reported here instead of to its write(2).
 *
 * Exit status: the client's (128 + signal), 125 if it could not be run, 126 if
 * the daemon failed or broke the protocol.
 */
#include "cusehost.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fdmsg.h"

#include <linux/close_range.h>

#define EXIT_HOST 125
#define EXIT_DAEMON 126

#define INIT_MS 30000        /* for the daemon to answer CUSE_INIT */
#define LINGER_MS 3000       /* for descendants to let go of the device */
#define STRAGGLER_MS 2000    /* for killed descendants to be gone */
#define RELEASE_MS 2000      /* for the last RELEASEs */
#define DAEMON_EXIT_MS 10000 /* for the daemon to exit after its channels */
#define TERM_MS 3000         /* from SIGTERM to SIGKILL for the client */
#define INSIST_MS 200        /* a second signal later than this: SIGKILL now */

/* Room for a few messages of the largest size in each direction. */
#define SOCKET_BUFFER (4 * 1024 * 1024)

static struct host the_host;
static sigset_t old_mask;
static struct sigaction old_sigpipe;

/* --- small things --- */

uint64_t ch_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

__attribute__((format(printf, 1, 0))) static void say(const char *fmt,
						      va_list ap)
{
	char text[512];

	vsnprintf(text, sizeof(text), fmt, ap);
	dprintf(STDERR_FILENO, "cusehost: %s\n", text);
}

void ch_say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

void ch_log(const struct host *h, const char *fmt, ...)
{
	va_list ap;

	if (!h->verbose)
		return;
	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

int ch_watch(struct host *h, int epfd, struct watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	(void)h;
	return epoll_ctl(epfd, EPOLL_CTL_ADD, w->fd, &ev) < 0 ? -errno : 0;
}

void ch_unwatch(int epfd, struct watch *w)
{
	epoll_ctl(epfd, EPOLL_CTL_DEL, w->fd, NULL);
}

/* --- options --- */

static void usage(FILE *out)
{
	fputs("usage: cusehost [OPTIONS] DAEMON [ARGS...] -- CLIENT [ARGS...]\n"
	      "\n"
	      "Runs DAEMON with --cuse-fd=FD appended for each device, and\n"
	      "CLIENT with the daemon's /dev/NAME to open.\n"
	      "\n"
	      "  --devices N           give the daemon N channels (1)\n"
	      "  --trap-io             every read, write and ioctl on the\n"
	      "                        device, of any size and type\n"
	      "  --linger SECONDS      how long to wait, after CLIENT, for\n"
	      "                        descendants that hold a device (3)\n"
	      "  --restarts            the daemon may answer a request again\n"
	      "                        (uvhost-keeper starts it again)\n"
	      "  --daemon-pidfile FILE write the daemon's pid there\n"
	      "  --verbose             log each request to stderr\n",
	      out);
}

static bool parse_number(const char *text, unsigned long max, unsigned int *out)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || end == text || *end || value > max)
		return false;
	*out = (unsigned int)value;
	return true;
}

/* Return: 0, or the status to exit with. */
static int parse_options(struct host *h, int argc, char **argv)
{
	static const struct option opts[] = {
		{ "devices", required_argument, NULL, 'n' },
		{ "trap-io", no_argument, NULL, 'i' },
		{ "restarts", no_argument, NULL, 'r' },
		{ "linger", required_argument, NULL, 'l' },
		{ "daemon-pidfile", required_argument, NULL, 'p' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	unsigned int seconds;
	int opt, i;

	while ((opt = getopt_long(argc, argv, "+v", opts, NULL)) != -1) {
		switch (opt) {
		case 'n':
			if (!parse_number(optarg, CH_MAX_DEVICES,
					  &h->device_count) ||
			    h->device_count == 0)
				goto bad;
			break;
		case 'i':
			h->trap_io = true;
			break;
		case 'l':
			if (!parse_number(optarg, 86400, &seconds))
				goto bad;
			h->linger_ms = seconds * 1000;
			break;
		case 'p':
			h->pidfile = optarg;
			break;
		case 'r':
			h->restarts = true;
			break;
		case 'v':
			h->verbose = true;
			break;
		case 'h':
			usage(stdout);
			exit(0);
		default:
			goto bad;
		}
	}
	h->daemon_argv = argv + optind;
	for (i = optind; i < argc && strcmp(argv[i], "--") != 0; i++)
		;
	if (i == optind || i + 1 >= argc)
		goto bad;
	argv[i] = NULL;
	h->client_argv = argv + i + 1;
	return 0;

bad:
	usage(stderr);
	return EXIT_HOST;
}

/* --- the loop --- */

static void child_exited(struct host *h, pid_t pid, int status)
{
	if (pid == h->daemon_pid) {
		h->daemon_pid = 0;
		h->daemon_exited = true;
		h->daemon_status = status;
	} else if (pid == h->client_pid) {
		h->client_pid = 0;
		h->client_exited = true;
		h->client_status = status;
	}
	/* else an orphan of theirs, left to us as the subreaper */
}

static void signal_event(struct watch *w, uint32_t events)
{
	struct host *h = ch_container_of(w, struct host, signals);
	struct signalfd_siginfo si;
	int status;
	pid_t pid;

	(void)events;
	if (read(w->fd, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo != SIGCHLD) {
		/* timeout(1) sends its signal twice in a row */
		if (h->stop_signal && ch_now_ms() - h->stop_ms > INSIST_MS)
			h->stop_insisted = true;
		if (!h->stop_signal)
			h->stop_ms = ch_now_ms();
		h->stop_signal = (int)si.ssi_signo;
		return;
	}
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		child_exited(h, pid, status);
}

static void sessions_event(struct watch *w, uint32_t events)
{
	(void)events;
	session_sweep(ch_container_of(w, struct host, sessions_watch));
}

static void tick(struct host *h, uint64_t now)
{
	h->next_tick_ms = now + CH_TICK_MS;
	call_tick(h);
	trap_run_deferred(h);
}

/* Until @done, or @ms have passed (negative: without limit); whether @done. */
static bool run(struct host *h, bool (*done)(const struct host *h), int64_t ms)
{
	uint64_t start = ch_now_ms();

	while (!done(h)) {
		struct epoll_event ev;
		uint64_t now = ch_now_ms();
		int64_t wait = ms < 0 ? -1 : ms - (int64_t)(now - start);

		if (ms >= 0 && wait <= 0)
			return false;
		if (now >= h->next_tick_ms)
			tick(h, now);
		if (!LIST_EMPTY(&h->calls) || !STAILQ_EMPTY(&h->deferred))
			if (wait < 0 || wait > CH_TICK_MS)
				wait = CH_TICK_MS;
		/* One at a time: a handler may end what another event of the
		 * same batch would be about. */
		if (epoll_wait(h->epfd, &ev, 1, (int)wait) == 1) {
			struct watch *w = ev.data.ptr;

			w->fn(w, ev.events);
		}
	}
	return true;
}

static int host_start(struct host *h)
{
	static const int signals[] = { SIGCHLD, SIGTERM, SIGINT, SIGHUP };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t set, mask;

	LIST_INIT(&h->sessions);
	LIST_INIT(&h->calls);
	STAILQ_INIT(&h->deferred);

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(&set, signals[i]);
	mask = set;
	sigaddset(&mask, SIGTTOU); /* to give the terminal away and take it */
	sigprocmask(SIG_BLOCK, &mask, &old_mask);
	sigaction(SIGPIPE, &ignore, &old_sigpipe);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);

	h->epfd = epoll_create1(EPOLL_CLOEXEC);
	h->sessions_watch.fn = sessions_event;
	h->sessions_watch.fd = epoll_create1(EPOLL_CLOEXEC);
	h->signals.fn = signal_event;
	h->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (h->epfd < 0 || h->sessions_watch.fd < 0 || h->signals.fd < 0 ||
	    ch_watch(h, h->epfd, &h->signals, EPOLLIN) < 0 ||
	    ch_watch(h, h->epfd, &h->sessions_watch, EPOLLIN) < 0)
		return -errno;
	return 0;
}

/* --- starting the two --- */

/* What every child of ours does first. It dies with us. */
static void child_prepare(pid_t parent)
{
	sigaction(SIGPIPE, &old_sigpipe, NULL);
	sigprocmask(SIG_SETMASK, &old_mask, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != parent)
		_exit(EXIT_HOST);
}

static void socket_enlarge(int fd)
{
	int size = SOCKET_BUFFER;

	/* FORCE is for root; others get what net.core.wmem_max allows, which
	 * is enough for one message by default. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

/* The only descriptors it gets are stdio and its channels. */
static _Noreturn void daemon_exec(struct host *h, const int *chan, pid_t parent)
{
	char args[CH_MAX_DEVICES][32];
	char **argv;
	size_t argc = 0;
	int null;

	while (h->daemon_argv[argc])
		argc++;
	argv = calloc(argc + h->device_count + 1, sizeof(*argv));
	if (!argv || argc == 0)
		_exit(EXIT_HOST);
	memcpy(argv, h->daemon_argv, argc * sizeof(*argv));

	close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
	for (unsigned int i = 0; i < h->device_count; i++) {
		fcntl(chan[i], F_SETFD, 0);
		snprintf(args[i], sizeof(args[i]), "--cuse-fd=%d", chan[i]);
		argv[argc + i] = args[i];
	}
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	setpgid(0, 0);
	child_prepare(parent);
	execvp(argv[0], argv);
	dprintf(STDERR_FILENO, "cusehost: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static int write_pidfile(const char *path, pid_t pid)
{
	FILE *f = fopen(path, "we");

	if (!f)
		return -errno;
	fprintf(f, "%d\n", (int)pid);
	return fclose(f) ? -errno : 0;
}

static bool daemon_ready(const struct host *h)
{
	unsigned int ready = 0;

	if (h->daemon_exited || h->stop_signal)
		return true;
	for (unsigned int i = 0; i < h->device_count; i++) {
		if (dev_broken(&h->dev[i]))
			return true;
		ready += dev_ready(&h->dev[i]);
	}
	return ready == h->device_count;
}

/* Returns with all devices ready, or false. */
static bool daemon_start(struct host *h)
{
	int ours[CH_MAX_DEVICES] = { 0 }, theirs[CH_MAX_DEVICES] = { 0 };
	pid_t parent = getpid();

	for (unsigned int i = 0; i < h->device_count; i++) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
			       pair) < 0) {
			ch_say("socketpair: %s", strerror(errno));
			return false;
		}
		socket_enlarge(pair[0]);
		socket_enlarge(pair[1]);
		ours[i] = pair[0];
		theirs[i] = pair[1];
	}
	h->daemon_pid = fork();
	if (h->daemon_pid < 0) {
		ch_say("fork: %s", strerror(errno));
		h->daemon_pid = 0;
		return false;
	}
	if (h->daemon_pid == 0)
		daemon_exec(h, theirs, parent);
	for (unsigned int i = 0; i < h->device_count; i++) {
		close(theirs[i]);
		dev_start(h, &h->dev[i], ours[i]);
	}
	if (h->pidfile && write_pidfile(h->pidfile, h->daemon_pid) < 0) {
		ch_say("%s: %s", h->pidfile, strerror(errno));
		return false;
	}
	if (!run(h, daemon_ready, INIT_MS)) {
		ch_say("no answer to CUSE_INIT in %d s", INIT_MS / 1000);
		return false;
	}
	if (h->daemon_exited)
		return false;
	for (unsigned int i = 0; i < h->device_count; i++)
		if (!dev_ready(&h->dev[i]))
			return false;
	return true;
}

/* From trap_install() on, a trapped call here would wait for a host that has
 * no listener yet: nothing but sendmsg, close and execve. */
static _Noreturn void client_exec(struct host *h, int sock, pid_t parent)
{
	char byte = 0;
	int listener;

	setpgid(0, 0);
	if (tcgetpgrp(STDIN_FILENO) == getpgid(parent))
		tcsetpgrp(STDIN_FILENO, getpid());
	child_prepare(parent);
	/* For daemons without privilege under Yama: the client agrees to be
	 * looked into, as it does by using the real device. */
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	listener = trap_install(h->trap_io);
	if (listener < 0) {
		dprintf(STDERR_FILENO, "cusehost: seccomp: %s%s\n",
			strerror(-listener),
			listener == -EBUSY ? " (already under a listener)"
					   : "");
		_exit(EXIT_HOST);
	}
	if (fdmsg_send(sock, &byte, 1, &listener, 1, 0) < 0)
		_exit(EXIT_HOST);
	close(listener);
	close(sock);
	execvp(h->client_argv[0], h->client_argv);
	dprintf(STDERR_FILENO, "cusehost: %s: %s\n", h->client_argv[0],
		strerror(errno));
	_exit(127);
}

static bool client_start(struct host *h)
{
	struct rlimit files;
	int pair[2], listener, ret;
	pid_t parent = getpid();
	char byte;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		ch_say("socketpair: %s", strerror(errno));
		return false;
	}
	h->client_pid = fork();
	if (h->client_pid < 0) {
		ch_say("fork: %s", strerror(errno));
		h->client_pid = 0;
		return false;
	}
	if (h->client_pid == 0)
		client_exec(h, pair[1], parent);
	setpgid(h->client_pid, h->client_pid); /* whichever of us is first */
	h->client_pgid = h->client_pid;
	close(pair[1]);
	listener = fdmsg_recv(pair[0], &byte, 1, MSG_CMSG_CLOEXEC);
	close(pair[0]);
	if (listener < 0) {
		ch_say("the client could not be put under the filter");
		return false;
	}
	ret = trap_start(h, listener);
	if (ret < 0) {
		ch_say("listener: %s", strerror(-ret));
		return false;
	}
	h->client_started = true;
	/* Until we have received a call a signal can still interrupt it. If
	 * this is not permitted, such cases are a little less rare. */
	setpriority(PRIO_PROCESS, 0, -20);
	/* one descriptor of ours for each that the clients open */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	return true;
}

/* --- the end --- */

static bool client_done(const struct host *h)
{
	return h->client_exited || h->stop_signal;
}

static bool client_gone(const struct host *h)
{
	return h->client_exited;
}

static bool client_gone_or_insisted(const struct host *h)
{
	return h->client_exited || h->stop_insisted;
}

/* Sessions that are open */
static bool no_holders(const struct host *h)
{
	const struct session *s;

	LIST_FOREACH (s, &h->sessions, link)
		if (!s->gone)
			return h->stop_signal;
	return true;
}

static bool all_released(const struct host *h)
{
	return LIST_EMPTY(&h->sessions);
}

static bool listener_gone(const struct host *h)
{
	return h->listener_gone;
}

static bool daemon_gone(const struct host *h)
{
	return h->daemon_exited;
}

static bool daemon_gone_or_insisted(const struct host *h)
{
	return h->daemon_exited || h->stop_insisted;
}

/* Sends SIGKILL to our children apart from the daemon: the client, and what it
 * left behind, which is ours as the subreaper. */
static void kill_stragglers(struct host *h)
{
	struct dirent *e;
	DIR *proc;

	proc = opendir("/proc");
	if (!proc)
		return;
	while ((e = readdir(proc))) {
		char name[300], text[512];
		const char *after;
		unsigned long ppid;
		unsigned int pid;
		ssize_t len;
		int fd;

		if (!parse_number(e->d_name, INT_MAX, &pid) ||
		    (pid_t)pid == h->daemon_pid)
			continue;
		snprintf(name, sizeof(name), "/proc/%s/stat", e->d_name);
		fd = open(name, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		len = read(fd, text, sizeof(text) - 1);
		close(fd);
		text[len > 0 ? len : 0] = '\0';
		/* "pid (name) state ppid" */
		after = strrchr(text, ')');
		ppid = after && strlen(after) > 4 ? strtoul(after + 4, NULL, 10)
						  : 0;
		if (ppid == (unsigned long)getpid())
			kill((pid_t)pid, SIGKILL);
	}
	closedir(proc);
}

static void end_clients(struct host *h)
{
	uint64_t start = ch_now_ms();

	if (!h->client_exited && h->client_pid) {
		kill(-h->client_pid, SIGTERM);
		run(h, client_gone_or_insisted, TERM_MS);
	}
	if (!h->client_exited && h->client_pid) {
		kill(-h->client_pid, SIGKILL);
		run(h, client_gone, TERM_MS);
	}
	if (!h->client_started)
		return;
	if (!run(h, no_holders, h->linger_ms))
		ch_say("descendants of the client still hold a device; killed");
	/* Without a listener their next open would fail. Killing one makes its
	 * children ours, hence the repetition. */
	while (!h->listener_gone &&
	       ch_now_ms() - start < STRAGGLER_MS + h->linger_ms) {
		kill_stragglers(h);
		run(h, listener_gone, 20);
	}
	session_release_all(h);
	if (run(h, all_released, RELEASE_MS))
		return;
	for (unsigned int i = 0; i < h->device_count; i++) {
		unsigned int n = dev_unanswered(&h->dev[i]);

		if (n == 0)
			continue;
		ch_say("%s: %u requests not answered in %d s", h->dev[i].path,
		       n, RELEASE_MS / 1000);
		h->protocol_errors++;
	}
}

static void end_daemon(struct host *h)
{
	for (unsigned int i = 0; i < h->device_count; i++)
		if (h->dev[i].host)
			dev_break(&h->dev[i]);
	/* One that never was ready may not look at its channels at all. */
	if (h->daemon_pid && !h->client_started)
		kill(h->daemon_pid, SIGTERM);
	if (h->daemon_pid)
		run(h, daemon_gone_or_insisted, DAEMON_EXIT_MS);
	if (!h->daemon_pid)
		return;
	ch_say("the daemon did not exit when its channels closed; killed");
	kill(h->daemon_pid, SIGKILL);
	run(h, daemon_gone, DAEMON_EXIT_MS);
}

static bool daemon_failed(const struct host *h)
{
	int status = h->daemon_status;

	if (h->daemon_exited && WIFSIGNALED(status))
		ch_say("the daemon was killed by signal %d (%s)",
		       WTERMSIG(status), strsignal(WTERMSIG(status)));
	else if (h->daemon_exited && WEXITSTATUS(status) != 0)
		ch_say("the daemon exited with status %d", WEXITSTATUS(status));
	else if (h->protocol_errors)
		ch_say("the daemon broke the protocol, see above");
	else
		return false;
	return true;
}

int main(int argc, char **argv)
{
	struct host *h = &the_host;
	int ret;

	h->device_count = 1;
	h->linger_ms = LINGER_MS;
	ret = parse_options(h, argc, argv);
	if (ret)
		return ret;
	ret = host_start(h);
	if (ret < 0) {
		ch_say("%s", strerror(-ret));
		return EXIT_HOST;
	}

	if (daemon_start(h) && client_start(h))
		run(h, client_done, -1);
	end_clients(h);
	end_daemon(h);
	if (h->client_pgid && tcgetpgrp(STDIN_FILENO) == h->client_pgid)
		tcsetpgrp(STDIN_FILENO, getpgrp());

	if (daemon_failed(h))
		return h->client_started ? EXIT_DAEMON : EXIT_HOST;
	if (!h->client_started || !h->client_exited) {
		ch_say("the client was not run to its end");
		return EXIT_HOST;
	}
	if (WIFSIGNALED(h->client_status))
		return 128 + WTERMSIG(h->client_status);
	return WEXITSTATUS(h->client_status);
}
