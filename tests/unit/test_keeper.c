/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uvhost-keeper, with this program as its command: the command answers on a
 * socket, stores memfds and pipes, and dies in all ways.
 */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "clock.h"
#include "notify.h"
#include "store.h"

#define DEADLINE_MS 60000
/* Above those that the keeper passes on. */
#define SOCK_FD 200
#define TEXT 256

/* ---- the command ---- */

static int memfd_of(const char *text)
{
	int fd = memfd_create(text, MFD_CLOEXEC);

	if (fd < 0 || pwrite(fd, text, strlen(text), 0) < 0)
		abort();
	return fd;
}

/* "PID NAME=CONTENT ..." of all that was left */
static void say_hello(struct store *s)
{
	char line[TEXT * 4], content[TEXT];
	int len = snprintf(line, sizeof(line), "%d", getpid());
	unsigned int at = 0;
	const char *name;

	while ((name = store_next_name(s, "", &at))) {
		int fds[8];
		unsigned int n = store_take(s, name, fds, 8);

		for (unsigned int i = 0; i < n; i++) {
			ssize_t got = pread(fds[i], content, TEXT - 1, 0);

			content[got > 0 ? got : 0] = '\0';
			len += snprintf(line + len, sizeof(line) - (size_t)len,
					" %s=%s", name, content);
		}
	}
	if (send(SOCK_FD, line, (size_t)len, 0) < 0)
		_exit(99);
}

/* "put NAME", "keep NAME" (FDPOLL=0): a memfd, its content is the name; "pipe
 * NAME", "pipe0 NAME": the reading end of a pipe without writer */
static void obey(struct store *s, const char *verb, const char *arg)
{
	int fd, ends[2];

	if (strcmp(verb, "exit") == 0)
		_exit(atoi(arg));
	if (strcmp(verb, "remove") == 0) {
		store_remove(s, arg);
	} else if (strcmp(verb, "status") == 0) {
		notify_send("STATUS=well");
	} else if (strncmp(verb, "pipe", 4) == 0) {
		if (pipe(ends) < 0)
			abort();
		close(ends[1]);
		store_put(s, arg, ends, 1, strcmp(verb, "pipe") == 0);
		close(ends[0]);
	} else {
		fd = memfd_of(arg);
		store_put(s, arg, &fd, 1, strcmp(verb, "put") == 0);
		close(fd);
	}
}

/* A message of another process is none of the command's. */
static void store_from_child(struct store *s, const char *arg)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		obey(s, "put", arg);
		_exit(0);
	}
	waitpid(pid, &status, 0);
}

static int command_main(void)
{
	char line[TEXT], verb[TEXT], arg[TEXT];
	struct store *s;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (store_open(&s) < 0 || !s)
		return 98;
	say_hello(s);
	for (;;) {
		ssize_t len = recv(SOCK_FD, line, sizeof(line) - 1, 0);

		if (len <= 0)
			return 97;
		line[len] = '\0';
		if (sscanf(line, "%s %s", verb, arg) != 2)
			return 96;
		if (strcmp(verb, "foreign") == 0)
			store_from_child(s, arg);
		else
			obey(s, verb, arg);
		if (send(SOCK_FD, "done", 4, 0) < 0)
			return 95;
	}
}

/* ---- the test ---- */

static char self[4096]; /* path of this program */

struct fixture {
	pid_t keeper;
	int sock;
	char hello[TEXT * 4]; /* what was left to the command, after its pid */
	pid_t command;
};

static void keeper_exec(const char *const *options, int sock)
{
	const char *argv[16] = { KEEPER };
	unsigned int n = 1;

	while (*options)
		argv[n++] = *options++;
	argv[n++] = self;
	argv[n] = "--command";
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	dup2(sock, SOCK_FD);
	unsetenv("NOTIFY_SOCKET");
	execv(KEEPER, (char **)(uintptr_t)argv);
	_exit(94);
}

static void wait_line(struct fixture *f, char *line, size_t room)
{
	struct pollfd p = { .fd = f->sock, .events = POLLIN };
	ssize_t len;

	assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
	len = check_ok(recv(f->sock, line, room - 1, 0));
	assert_true(len > 0);
	line[len] = '\0';
}

static void wait_hello(struct fixture *f)
{
	char line[TEXT * 4];
	int n = 0;

	wait_line(f, line, sizeof(line));
	assert_int_equal(sscanf(line, "%d%n", &f->command, &n), 1);
	strcpy(f->hello, line + n);
}

static void start(struct fixture *f, const char *const *options)
{
	int pair[2];

	check_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	f->sock = pair[0];
	f->keeper = check_ok(fork());
	if (f->keeper == 0)
		keeper_exec(options, pair[1]);
	close(pair[1]);
	wait_hello(f);
	assert_string_equal(f->hello, "");
}

static const char *const quick[] = { "--delay", "1", "--burst", "100", NULL };

static void tell(struct fixture *f, const char *line)
{
	char answer[TEXT];

	check_ok(send(f->sock, line, strlen(line), 0));
	if (strncmp(line, "exit", 4) == 0)
		return;
	wait_line(f, answer, sizeof(answer));
	assert_string_equal(answer, "done");
}

static void kill_command(struct fixture *f)
{
	pid_t old = f->command;

	check_ok(kill(f->command, SIGKILL));
	wait_hello(f);
	assert_int_not_equal(f->command, old);
}

static int keeper_status(struct fixture *f)
{
	int status;

	assert_int_equal(check_ok(waitpid(f->keeper, &status, 0)), f->keeper);
	assert_true(WIFEXITED(status));
	/* Nobody was started instead. */
	assert_int_equal(recv(f->sock, &status, sizeof(status), 0), 0);
	close(f->sock);
	return WEXITSTATUS(status);
}

static void stop(struct fixture *f)
{
	int status;

	check_ok(kill(f->keeper, SIGTERM));
	check_ok(waitpid(f->keeper, &status, 0));
	close(f->sock);
}

static void what_was_stored_comes_back_after_a_kill(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, quick);
	tell(&f, "put a");
	tell(&f, "keep b");
	tell(&f, "put a");
	kill_command(&f);
	assert_string_equal(f.hello, " a=a a=a b=b");
	kill_command(&f);
	assert_string_equal(f.hello, " a=a a=a b=b");
	tell(&f, "remove a");
	tell(&f, "put c");
	kill_command(&f);
	assert_string_equal(f.hello, " b=b c=c");
	stop(&f);
}

static void many_descriptors_are_kept(void **state)
{
	struct fixture f;
	char line[32];
	unsigned int n = 0;

	(void)state;
	start(&f, quick);
	for (int i = 0; i < 90; i++) {
		snprintf(line, sizeof(line), "put n%d", i);
		tell(&f, line);
	}
	kill_command(&f);
	for (const char *c = f.hello; *c; c++)
		n += *c == '=';
	assert_int_equal(n, 90);
	stop(&f);
}

/* Descriptors of the keeper that are links to such a name */
static unsigned int count_links(const struct fixture *f, const char *name)
{
	char path[64], target[64];
	unsigned int n = 0;

	for (int fd = 0; fd < 64; fd++) {
		ssize_t len;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", f->keeper, fd);
		len = readlink(path, target, sizeof(target) - 1);
		target[len > 0 ? len : 0] = '\0';
		n += strncmp(target, name, strlen(name)) == 0;
	}
	return n;
}

static void next_look(int64_t end)
{
	assert_true(now_ms() < end);
	usleep(1000);
}

static void what_hangs_up_is_dropped_unless_it_is_not_polled(void **state)
{
	int64_t end = now_ms() + DEADLINE_MS;
	unsigned int before;
	struct fixture f;

	(void)state;
	start(&f, quick);
	before = count_links(&f, "pipe:");
	tell(&f, "pipe gone");
	tell(&f, "pipe0 stays");
	tell(&f, "put last");
	/* It takes messages in their order. */
	while (count_links(&f, "/memfd:last") != 1 ||
	       count_links(&f, "pipe:") != before + 1)
		next_look(end);
	kill_command(&f);
	assert_string_equal(f.hello, " stays= last=last");
	stop(&f);
}

static void messages_of_others_are_ignored(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, quick);
	tell(&f, "foreign a");
	tell(&f, "put b");
	kill_command(&f);
	assert_string_equal(f.hello, " b=b");
	stop(&f);
}

static void an_end_with_status_0_or_2_is_the_end(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, quick);
	tell(&f, "exit 0");
	assert_int_equal(keeper_status(&f), 0);
	start(&f, quick);
	tell(&f, "exit 2");
	assert_int_equal(keeper_status(&f), 2);
	start(&f, quick);
	tell(&f, "exit 1");
	wait_hello(&f);
	check_ok(kill(f.command, SIGTERM));
	assert_int_equal(keeper_status(&f), 128 + SIGTERM);
}

static void a_crash_loop_ends(void **state)
{
	static const char *const few[] = { "--delay",    "1",  "--burst", "3",
					   "--interval", "60", NULL };
	struct fixture f;

	(void)state;
	start(&f, few);
	kill_command(&f);
	kill_command(&f);
	check_ok(kill(f.command, SIGKILL));
	assert_int_equal(keeper_status(&f), 1);
}

static void sigterm_stops_and_sighup_restarts(void **state)
{
	struct fixture f;
	pid_t old;

	(void)state;
	start(&f, quick);
	tell(&f, "put a");
	old = f.command;
	check_ok(kill(f.keeper, SIGHUP));
	wait_hello(&f);
	assert_int_not_equal(f.command, old);
	assert_string_equal(f.hello, " a=a");
	check_ok(kill(f.keeper, SIGTERM));
	assert_int_equal(keeper_status(&f), 128 + SIGTERM);
}

static void sigterm_stops_while_it_waits(void **state)
{
	static const char *const slow[] = { "--delay", "3600000", NULL };
	int64_t end = now_ms() + DEADLINE_MS;
	struct fixture f;

	(void)state;
	start(&f, slow);
	tell(&f, "exit 1");
	while (kill(f.command, 0) == 0)
		next_look(end); /* until the keeper knows that it has ended */
	check_ok(kill(f.keeper, SIGTERM));
	assert_int_equal(keeper_status(&f), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_stored_comes_back_after_a_kill),
		cmocka_unit_test(many_descriptors_are_kept),
		cmocka_unit_test(
			what_hangs_up_is_dropped_unless_it_is_not_polled),
		cmocka_unit_test(messages_of_others_are_ignored),
		cmocka_unit_test(an_end_with_status_0_or_2_is_the_end),
		cmocka_unit_test(a_crash_loop_ends),
		cmocka_unit_test(sigterm_stops_and_sighup_restarts),
		cmocka_unit_test(sigterm_stops_while_it_waits),
	};

	if (argc > 1 && strcmp(argv[1], "--command") == 0)
		return command_main();
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
