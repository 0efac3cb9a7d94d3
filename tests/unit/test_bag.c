/* SPDX-License-Identifier: BSD-3-Clause */
/* Bags of descriptors: what is in them survives the process that filled them.
 */
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "bag.h"
#include "fdmsg.h"

static int memfd_of(const char *text)
{
	int fd = check_ok(memfd_create("test", MFD_CLOEXEC));

	check_ok(pwrite(fd, text, strlen(text), 0));
	return fd;
}

static void expect_text(int fd, const char *text)
{
	char got[64] = "";

	check_ok(pread(fd, got, sizeof(got) - 1, 0));
	assert_string_equal(got, text);
	close(fd);
}

static void expect(const struct bag *b, uint64_t number, const char *text)
{
	int fds[BAG_FDS_MAX];

	check_ret(bag_peek(b, number, fds), 1);
	assert_int_equal(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
	expect_text(fds[0], text);
}

static void fill(struct bag *b, uint64_t number, const char *text)
{
	int fd = memfd_of(text);

	check_ret(bag_fill(b, number, &fd, 1), 0);
	close(fd);
}

static void a_message_can_be_looked_at_again_and_again(void **state)
{
	int fds[BAG_FDS_MAX];
	struct bag b;

	(void)state;
	check_ret(bag_open(&b), 0);
	check_ret(bag_peek(&b, 1, fds), -ENOENT);
	fill(&b, 1, "one");
	expect(&b, 1, "one");
	expect(&b, 1, "one");
	expect(&b, BAG_ANY, "one");
	check_ret(bag_peek(&b, 2, fds), -ENOENT);
	bag_close(&b);
}

static void the_number_says_which_message_counts(void **state)
{
	int fds[BAG_FDS_MAX];
	struct bag b;

	(void)state;
	check_ret(bag_open(&b), 0);
	fill(&b, 1, "one");
	fill(&b, 2, "two");
	expect(&b, 1, "one");
	expect(&b, 2, "two");
	expect(&b, BAG_ANY, "one");
	bag_trim(&b);
	check_ret(bag_peek(&b, 1, fds), -ENOENT);
	expect(&b, 2, "two");
	bag_trim(&b);
	expect(&b, 2, "two");
	for (uint64_t i = 3; i < 200; i++) {
		fill(&b, i, "more");
		bag_trim(&b);
	}
	expect(&b, 199, "more");
	bag_close(&b);
}

static void a_full_bag_keeps_the_order(void **state)
{
	int fds[BAG_FDS_MAX + 1], got[BAG_FDS_MAX];
	struct bag b;

	(void)state;
	check_ret(bag_open(&b), 0);
	for (int i = 0; i <= BAG_FDS_MAX; i++) {
		char text[16];

		snprintf(text, sizeof(text), "%d", i);
		fds[i] = memfd_of(text);
	}
	check_ret(bag_fill(&b, 1, fds, BAG_FDS_MAX + 1), -EINVAL);
	check_ret(bag_fill(&b, 1, fds, 0), -EINVAL);
	check_ret(bag_fill(&b, 1, fds, BAG_FDS_MAX), 0);
	check_ret(bag_peek(&b, 1, got), BAG_FDS_MAX);
	for (int i = 0; i < BAG_FDS_MAX; i++) {
		char text[16];

		snprintf(text, sizeof(text), "%d", i);
		expect_text(got[i], text);
	}
	for (int i = 0; i <= BAG_FDS_MAX; i++)
		close(fds[i]);
	bag_close(&b);
}

/* @swap: the store gives the ends back in the other order */
static void adopt_after_death(bool swap)
{
	int status, fds[BAG_FDS_MAX];
	struct bag b, next;
	pid_t pid;

	check_ret(bag_open(&b), 0);
	pid = check_ok(fork());
	if (pid == 0) {
		fill(&b, 1, "one");
		fill(&b, 2, "two");
		_exit(0);
	}
	check_ok(waitpid(pid, &status, 0));
	assert_int_equal(status, 0);
	check_ret(bag_adopt(&next, swap ? (int[]){ b.out, b.in }
					: (int[]){ b.in, b.out }),
		  0);
	assert_int_equal(next.messages, 2);
	expect(&next, 1, "one");
	expect(&next, 2, "two");
	fill(&next, 3, "three");
	bag_trim(&next);
	check_ret(bag_peek(&next, 2, fds), -ENOENT);
	expect(&next, 3, "three");
	bag_close(&next);
}

static void a_bag_survives_who_filled_it(void **state)
{
	(void)state;
	adopt_after_death(false);
	adopt_after_death(true);
}

static void strange_sockets_are_refused(void **state)
{
	int pair[2], fds[BAG_FDS_MAX];
	struct bag b;

	(void)state;
	check_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	check_ret(bag_adopt(&b, pair), -ENOENT);
	check_ok(send(pair[0], "x", 1, 0));
	check_ret(bag_adopt(&b, pair), 0);
	check_ret(bag_peek(&b, BAG_ANY, fds), -EBADMSG);
	bag_close(&b);
	pair[0] = memfd_of("x");
	pair[1] = memfd_of("x");
	check_ret(bag_adopt(&b, pair), -ENOENT);
	close(pair[0]);
	close(pair[1]);
}

/* ---- descriptors in flight ---- */

/* Changes to a user that no other process has, and without rights. */
static void be_nobody_else(void)
{
	const struct rlimit few = { .rlim_cur = 40, .rlim_max = 40 };
	uid_t uid = 1000000 + (uid_t)getpid();

	if (getuid() == 0 && setresuid(uid, uid, uid) < 0)
		_exit(10);
	if (setrlimit(RLIMIT_NOFILE, &few) < 0)
		_exit(11);
}

/* More than the limit, in a socket that nobody reads. */
static void flood(int pair[2])
{
	int fds[20];

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) < 0)
		_exit(12);
	for (int i = 0; i < 20; i++)
		fds[i] = STDERR_FILENO;
	while (fdmsg_send(pair[0], "x", 1, fds, 20, MSG_DONTWAIT) == 1)
		;
	if (fdmsg_send(pair[0], "x", 1, fds, 1, MSG_DONTWAIT) != -ETOOMANYREFS)
		_exit(13);
}

static void *end_flood(void *arg)
{
	const int *pair = arg;

	usleep(50000);
	close(pair[0]);
	close(pair[1]);
	return NULL;
}

static void fill_in_a_flood(void)
{
	int pair[2], fd = STDERR_FILENO;
	pthread_t thread;
	struct bag b;

	be_nobody_else();
	if (bag_open(&b) < 0)
		_exit(14);
	flood(pair);
	if (bag_fill(&b, 1, &fd, 1) != -ETOOMANYREFS)
		_exit(15);
	if (pthread_create(&thread, NULL, end_flood, pair) != 0)
		_exit(16);
	if (bag_fill(&b, 1, &fd, 1) != 0)
		_exit(17);
	pthread_join(thread, NULL);
	_exit(0);
}

static void a_bag_waits_until_fewer_are_in_flight(void **state)
{
	int status;
	pid_t pid = check_ok(fork());

	(void)state;
	if (pid == 0)
		fill_in_a_flood();
	check_ret(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_can_be_looked_at_again_and_again),
		cmocka_unit_test(the_number_says_which_message_counts),
		cmocka_unit_test(a_full_bag_keeps_the_order),
		cmocka_unit_test(a_bag_survives_who_filled_it),
		cmocka_unit_test(strange_sockets_are_refused),
		cmocka_unit_test(a_bag_waits_until_fewer_are_in_flight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
