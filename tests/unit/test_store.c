/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The store of descriptors: messages to a service manager that is played here,
 * and descriptors that a process before this one left. The latter begin at
 * number 3, so they are put there in a child.
 */
#include "check.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "manager.h"
#include "store.h"
#include "notify.h"

#define FIRST_FD 3

static char manager_path[MANAGER_PATH_MAX];
static int manager;

static int set_up(void **state)
{
	(void)state;
	manager = manager_open(manager_path);
	setenv("NOTIFY_SOCKET", manager_path, 1);
	setenv("FDSTORE", "16", 1);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(manager);
	unsetenv("NOTIFY_SOCKET");
	unsetenv("FDSTORE");
	return 0;
}

/* The next message; how many descriptors came with it. */
static unsigned int next_message(char *text, size_t room, int *fds)
{
	return (unsigned int)check_ok(manager_next(manager, text, room, fds));
}

static bool is_same_file(int a, int b)
{
	struct stat sa, sb;

	return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 &&
	       sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* ---- messages ---- */

static void descriptors_are_sent_with_their_name(void **state)
{
	int pipes[2], got[NOTIFY_FDS_MAX];
	struct store *s;
	char text[512];

	(void)state;
	check_ok(pipe2(pipes, O_CLOEXEC));
	check_ret(store_open(&s), 0);
	assert_non_null(s);
	check_ret(store_put(s, "bag-7", pipes, 2, false), 0);
	assert_int_equal(next_message(text, sizeof(text), got), 2);
	assert_string_equal(text, "FDSTORE=1\nFDNAME=bag-7\nFDPOLL=0");
	assert_true(is_same_file(got[0], pipes[0]));
	assert_true(is_same_file(got[1], pipes[1]));
	close(got[0]);
	close(got[1]);
	check_ret(store_put(s, "channel", pipes, 1, true), 0);
	assert_int_equal(next_message(text, sizeof(text), got), 1);
	assert_string_equal(text, "FDSTORE=1\nFDNAME=channel");
	close(got[0]);
	check_ret(store_remove(s, "bag-7"), 0);
	assert_int_equal(next_message(text, sizeof(text), got), 0);
	assert_string_equal(text, "FDSTOREREMOVE=1\nFDNAME=bag-7");
	close(pipes[0]);
	close(pipes[1]);
	store_free(s);
}

static void names_that_systemd_refuses_are_refused(void **state)
{
	static const char *const bad[] = { "", "a:b", "a b", "a\nFDSTORE=1",
					   "\xc3\xa4" };
	char longest[STORE_NAME_MAX + 2], text[512];
	struct store *s;
	int got[NOTIFY_FDS_MAX];

	(void)state;
	memset(longest, 'n', sizeof(longest));
	longest[STORE_NAME_MAX + 1] = '\0';
	check_ret(store_open(&s), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		check_ret(store_put(s, bad[i], &manager, 1, true), -EINVAL);
		check_ret(store_remove(s, bad[i]), -EINVAL);
	}
	check_ret(store_put(s, longest, &manager, 1, true), -EINVAL);
	longest[STORE_NAME_MAX] = '\0';
	check_ret(store_remove(s, longest), 0);
	next_message(text, sizeof(text), got);
	check_errno(recv(manager, text, sizeof(text), MSG_DONTWAIT), EAGAIN);
	store_free(s);
}

static void there_is_a_store_only_if_the_manager_says_so(void **state)
{
	struct store *s;

	(void)state;
	setenv("FDSTORE", "0", 1);
	check_ret(store_open(&s), 0);
	assert_null(s);
	unsetenv("FDSTORE");
	check_ret(store_open(&s), 0);
	assert_null(s);
	setenv("FDSTORE", "16", 1);
	unsetenv("NOTIFY_SOCKET");
	check_ret(store_open(&s), 0);
	assert_null(s);
}

/* ---- what was left ---- */

/* Runs @fn in a child with three pipes at numbers 3...5. */
static void in_successor(bool (*fn)(const int *files), const char *names,
			 bool other_pid)
{
	int status;
	pid_t pid = check_ok(fork());

	if (pid == 0) {
		int files[3], p[2];
		char text[16];

		for (int i = 0; i < 3; i++) {
			if (pipe(p) < 0)
				_exit(2);
			files[i] = fcntl(p[0], F_DUPFD, 100);
		}
		for (int i = 0; i < 3; i++)
			dup2(files[i], FIRST_FD + i);
		snprintf(text, sizeof(text), "%d", getpid() + other_pid);
		setenv("LISTEN_PID", text, 1);
		setenv("LISTEN_FDS", "3", 1);
		setenv("LISTEN_FDNAMES", names, 1);
		_exit(fn(files) ? 0 : 1);
	}
	check_ok(waitpid(pid, &status, 0));
	assert_int_equal(status, 0);
}

#define MUST(cond)   \
	if (!(cond)) \
	return dprintf(STDERR_FILENO, "%d: %s\n", __LINE__, #cond) < 0

static bool takes_by_name(const int *files)
{
	unsigned int at = 0;
	struct store *s;
	int fds[4];

	MUST(store_open(&s) == 0 && s);
	MUST(!getenv("LISTEN_FDS") && !getenv("LISTEN_PID"));
	MUST(fcntl(FIRST_FD, F_GETFD) == FD_CLOEXEC);
	MUST(strcmp(store_next_name(s, "bag-", &at), "bag-1") == 0);
	MUST(!store_next_name(s, "bag-", &at));
	MUST(store_take(s, "nobody", fds, 4) == 0);
	MUST(store_take(s, "bag-1", fds, 1) == 1);
	MUST(is_same_file(fds[0], files[0]));
	MUST(store_take(s, "bag-1", fds, 4) == 1);
	MUST(is_same_file(fds[0], files[2]));
	MUST(store_take(s, "bag-1", fds, 4) == 0);
	at = 0;
	MUST(!store_next_name(s, "bag-", &at));
	store_free(s);
	/* The second was not taken: closed. The third stays its taker's. */
	MUST(fcntl(FIRST_FD + 1, F_GETFD) < 0);
	MUST(fcntl(FIRST_FD + 2, F_GETFD) >= 0);
	return true;
}

static void what_was_left_is_taken_by_name(void **state)
{
	(void)state;
	in_successor(takes_by_name, "bag-1:channel:bag-1", false);
}

static bool takes_nothing(const int *files)
{
	unsigned int at = 0;
	struct store *s;

	(void)files;
	MUST(store_open(&s) == 0 && s);
	MUST(!store_next_name(s, "", &at));
	store_free(s);
	MUST(fcntl(FIRST_FD, F_GETFD) == 0);
	return true;
}

static void what_was_left_to_another_process_is_not_touched(void **state)
{
	(void)state;
	in_successor(takes_nothing, "a:b:c", true);
}

static bool has_names_missing(const int *files)
{
	struct store *s;
	int fds[4];

	(void)files;
	MUST(store_open(&s) == 0 && s);
	MUST(store_take(s, "a", fds, 4) == 1);
	MUST(store_take(s, "", fds, 4) == 2);
	store_free(s);
	return true;
}

static void missing_names_are_empty(void **state)
{
	(void)state;
	in_successor(has_names_missing, "a", false);
}

static bool closes_without_store(const int *files)
{
	struct store *s;

	(void)files;
	unsetenv("FDSTORE");
	MUST(store_open(&s) == 0 && !s);
	MUST(fcntl(FIRST_FD, F_GETFD) < 0);
	return true;
}

static void what_was_left_is_closed_without_a_store(void **state)
{
	(void)state;
	in_successor(closes_without_store, "a:b:c", false);
}

static bool skips_bad_number(const int *files)
{
	struct store *s;
	int fds[4];

	(void)files;
	close(FIRST_FD + 1);
	MUST(store_open(&s) == 0 && s);
	MUST(store_take(s, "b", fds, 4) == 0);
	MUST(store_take(s, "c", fds, 4) == 1);
	store_free(s);
	return true;
}

static void a_number_that_is_not_open_is_left_out(void **state)
{
	(void)state;
	in_successor(skips_bad_number, "a:b:c", false);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(descriptors_are_sent_with_their_name),
		TEST(names_that_systemd_refuses_are_refused),
		TEST(there_is_a_store_only_if_the_manager_says_so),
		TEST(what_was_left_is_taken_by_name),
		TEST(what_was_left_to_another_process_is_not_touched),
		TEST(missing_names_are_empty),
		TEST(what_was_left_is_closed_without_a_store),
		TEST(a_number_that_is_not_open_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
