/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_log.c tests the log. Stderr is a datagram socket, so that one recv(2)
 * reads what one write(2) wrote.
 */
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"

#define LINES 500
#define NAME "test_log"

static int stderr_was = -1, out = -1;

static int capture(void **state)
{
	int s[2];

	(void)state;
	program_invocation_short_name = NAME;
	log_set_level(LOG_LEVEL_INFO);
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, s) < 0)
		return -1;
	stderr_was = dup(STDERR_FILENO);
	dup2(s[0], STDERR_FILENO);
	close(s[0]);
	out = s[1];
	return 0;
}

static int release(void **state)
{
	(void)state;
	dup2(stderr_was, STDERR_FILENO);
	close(stderr_was);
	close(out);
	return 0;
}

/* the next line, or "" */
static const char *line(void)
{
	static char buf[4096];
	ssize_t n = recv(out, buf, sizeof(buf) - 1, MSG_DONTWAIT);

	buf[n < 0 ? 0 : n] = '\0';
	return buf;
}

static void a_line_has_tag_level_and_text(void **state)
{
	struct log_tag tag;

	(void)state;
	log_tag_init(&tag, "uvhost-net/%d.%s", 3, "tx");
	log_set_level(LOG_LEVEL_DEBUG);
	log_err(&tag, "next %u past table of %u", 9u, 8u);
	assert_string_equal(line(),
			    "uvhost-net/3.tx: error: next 9 past table of 8\n");
	log_warn(&tag, "a");
	assert_string_equal(line(), "uvhost-net/3.tx: warning: a\n");
	log_info(&tag, "b");
	assert_string_equal(line(), "uvhost-net/3.tx: b\n");
	log_debug(&tag, "c");
	assert_string_equal(line(), "uvhost-net/3.tx: debug: c\n");
	assert_string_equal(line(), "");
}

static void without_a_tag_the_program_speaks(void **state)
{
	(void)state;
	log_info(NULL, "ready");
	assert_string_equal(line(), NAME ": ready\n");
}

static void less_important_lines_are_left_out(void **state)
{
	(void)state;
	log_debug(NULL, "x");
	assert_string_equal(line(), "");
	assert_false(log_enabled(LOG_LEVEL_DEBUG));
	assert_true(log_enabled(LOG_LEVEL_INFO));

	log_set_level(LOG_LEVEL_ERROR);
	log_warn(NULL, "x");
	assert_string_equal(line(), "");
	log_err(NULL, "y");
	assert_string_equal(line(), NAME ": error: y\n");
}

static void errno_is_kept_and_can_be_printed(void **state)
{
	(void)state;
	errno = EBADFD;
	log_info(NULL, "read: %m");
	assert_int_equal(errno, EBADFD);
	assert_string_equal(line(), NAME ": read: "
					 "File descriptor in bad state\n");
}

static void a_tag_is_cut_to_fit(void **state)
{
	struct log_tag tag;

	(void)state;
	log_tag_init(&tag, "%0100d", 1);
	assert_int_equal(strlen(tag.name), sizeof(tag.name) - 1);
}

static void a_long_line_is_cut_and_still_ends(void **state)
{
	const char *got;

	(void)state;
	log_info(NULL, "%05000d", 1);
	got = line();
	assert_in_range(strlen(got), 500, 2000);
	assert_ptr_equal(strchr(got, '\n'), got + strlen(got) - 1);
	log_info(NULL, "next");
	assert_string_equal(line(), NAME ": next\n");
}

static void control_characters_cannot_forge_a_line(void **state)
{
	(void)state;
	log_info(NULL, "name \"%s\"", "a\nroot: b\r\033[2J\177\t\xc3\xa4");
	assert_string_equal(line(),
			    NAME ": name \"a?root: b??[2J??\xc3\xa4\"\n");
}

static void a_closed_stderr_does_no_harm(void **state)
{
	(void)state;
	close(STDERR_FILENO);
	errno = 7;
	log_err(NULL, "this is not logged");
	assert_int_equal(errno, 7);
}

static void *chatter(void *arg)
{
	for (int i = 0; i < LINES; i++)
		log_info(NULL, "thread %s line %d of many", (char *)arg, i);
	return NULL;
}

static void lines_of_two_threads_do_not_mix(void **state)
{
	static char names[2][2] = { "a", "b" };
	int next[2] = { 0, 0 };
	pthread_t t[2];

	(void)state;
	for (int i = 0; i < 2; i++)
		check_ret(pthread_create(&t[i], NULL, chatter, names[i]), 0);
	for (int i = 0; i < 2 * LINES; i++) {
		char buf[200], *who, *end;
		ssize_t n = recv(out, buf, sizeof(buf) - 1, 0);
		long number;

		assert_true(n > 0);
		buf[n] = '\0';
		assert_ptr_equal(strchr(buf, '\n'), buf + n - 1);
		assert_memory_equal(buf, NAME ": thread ", 17);
		who = buf + 17;
		assert_true(*who == 'a' || *who == 'b');
		assert_memory_equal(who + 1, " line ", 6);
		number = strtol(who + 7, &end, 10);
		assert_string_equal(end, " of many\n");
		assert_int_equal(number, next[*who - 'a']++);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
}

/* The journal is found out once a process: this test has its own program run,
 * see main(). */
static void log_to_journal(bool other_stream)
{
	struct stat st;
	char id[64];

	fstat(STDERR_FILENO, &st);
	snprintf(id, sizeof(id), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino + other_stream);
	setenv("JOURNAL_STREAM", id, 1);
	log_set_level(LOG_LEVEL_DEBUG);
	log_err(NULL, "e");
	log_warn(NULL, "w");
	log_info(NULL, "i");
	log_debug(NULL, "d");
}

static void in_child(const char *how)
{
	pid_t pid = check_ok(fork());
	int status;

	if (pid == 0) {
		execl("/proc/self/exe", NAME, how, NULL);
		_exit(127);
	}
	check_ret(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void the_journal_gets_priorities(void **state)
{
	(void)state;
	in_child("journal");
	assert_string_equal(line(), "<3>" NAME ": e\n");
	assert_string_equal(line(), "<4>" NAME ": w\n");
	assert_string_equal(line(), "<6>" NAME ": i\n");
	assert_string_equal(line(), "<7>" NAME ": d\n");
}

static void a_redirected_stderr_is_not_the_journal(void **state)
{
	(void)state;
	in_child("elsewhere");
	assert_string_equal(line(), NAME ": error: e\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, capture, release)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_line_has_tag_level_and_text),
		TEST(without_a_tag_the_program_speaks),
		TEST(less_important_lines_are_left_out),
		TEST(errno_is_kept_and_can_be_printed),
		TEST(a_tag_is_cut_to_fit),
		TEST(a_long_line_is_cut_and_still_ends),
		TEST(control_characters_cannot_forge_a_line),
		TEST(a_closed_stderr_does_no_harm),
		TEST(lines_of_two_threads_do_not_mix),
		TEST(the_journal_gets_priorities),
		TEST(a_redirected_stderr_is_not_the_journal),
	};

	if (argc == 2) {
		log_to_journal(strcmp(argv[1], "journal") != 0);
		return 0;
	}
	unsetenv("JOURNAL_STREAM");
	alarm(60);
	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
