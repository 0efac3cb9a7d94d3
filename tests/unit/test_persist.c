/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a session keeps, across processes: the service manager is played here,
 * and each successor is a child that gets what the manager has, from descriptor
 * 3 on.
 */
#include "check.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>
#include <linux/vhost.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "bag.h"
#include "manager.h"
#include "notify.h"
#include "persist.h"

#define FIRST_FD 3
#define RING_BYTES 10000
#define NAME "session-7-uvhost-net"

static int manager = -1;
static int kept[2] = { -1, -1 }; /* both ends of the bag */

static int set_up(void **state)
{
	char path[MANAGER_PATH_MAX];

	(void)state;
	manager = manager_open(path);
	setenv("NOTIFY_SOCKET", path, 1);
	setenv("FDSTORE", "16", 1);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(manager);
	for (int i = 0; i < 2; i++)
		if (kept[i] >= 0)
			close(kept[i]);
	kept[0] = kept[1] = -1;
	return 0;
}

/* The manager does what the next message says; false: there is none. */
static bool manage(void)
{
	int fds[MANAGER_FDS_MAX];
	char text[512];
	int n = manager_next(manager, text, sizeof(text), fds);

	if (n < 0)
		return false;
	if (strncmp(text, "FDSTORE=1", 9) == 0) {
		assert_string_equal(text,
				    "FDSTORE=1\nFDNAME=" NAME "\nFDPOLL=0");
		assert_int_equal(n, 2);
		memcpy(kept, fds, sizeof(kept));
	} else {
		assert_string_equal(text, "FDSTOREREMOVE=1\nFDNAME=" NAME);
		close(kept[0]);
		close(kept[1]);
		kept[0] = kept[1] = -1;
	}
	return true;
}

static void check(bool ok, const char *what, int line)
{
	if (ok)
		return;
	dprintf(STDERR_FILENO, "line %d: %s\n", line, what);
	_exit(1);
}
#define MUST(cond) check(cond, #cond, __LINE__)

/* Runs @fn as the process that has what the manager keeps. */
static void in_process(void (*fn)(struct store *s))
{
	int status;
	pid_t pid = check_ok(fork());

	if (pid == 0) {
		struct store *s;
		char text[16];

		if (kept[0] >= 0) {
			int a = fcntl(kept[0], F_DUPFD, 100);
			int b = fcntl(kept[1], F_DUPFD, 100);

			dup2(a, FIRST_FD);
			dup2(b, FIRST_FD + 1);
			snprintf(text, sizeof(text), "%d", getpid());
			setenv("LISTEN_PID", text, 1);
			setenv("LISTEN_FDS", "2", 1);
			setenv("LISTEN_FDNAMES", NAME ":" NAME, 1);
		}
		MUST(store_open(&s) == 0 && s);
		fn(s);
		_exit(0);
	}
	check_ok(waitpid(pid, &status, 0));
	assert_int_equal(status, 0);
	while (manage())
		;
}

static int memfd_of(const char *text)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	MUST(fd >= 0 && pwrite(fd, text, strlen(text), 0) > 0);
	return fd;
}

static bool says(int fd, const char *text)
{
	char got[64] = "";

	return fd >= 0 && pread(fd, got, sizeof(got) - 1, 0) >= 0 &&
	       strcmp(got, text) == 0;
}

static const struct record_owner owner = { 17, 18, 1000, 19, 99 };

/* The process that begins: an owner, a kick, something in its rings. */
static void begin(struct store *s)
{
	const struct record_answer answer = { .unique = 42 };
	struct persist *p;

	MUST(persist_new(s, "uvhost-net", 7, RING_BYTES, &p) == 0);
	persist_set_worker(p, owner.worker, memfd_of("worker"),
			   memfd_of("socket"));
	persist_own(p, &owner, memfd_of("memory"), memfd_of("pidfd"));
	persist_set(p, VHOST_SET_VRING_KICK, 0, "kick", 4, memfd_of("kick0"));
	persist_set(p, VHOST_SET_FEATURES, RECORD_NO_INDEX, "f", 1, -1);
	MUST(persist_commit(p, &answer) == 0);
	strcpy(devmem_rings(persist_devmem(p)), "rings");
	persist_set_poll(p, 77);
}

static struct persist *adopt(struct store *s)
{
	struct persist *p;
	struct persist_fds left;
	const struct record *r;

	MUST(persist_adopt(s, NAME, RING_BYTES, &p, &left) == 0);
	r = persist_record(p);
	MUST(memcmp(&r->owner, &owner, sizeof(owner)) == 0);
	MUST(says(left.mem_fd, "memory") && says(left.pidfd, "pidfd") &&
	     says(left.worker, "worker") && says(left.sock, "socket"));
	MUST(strcmp(devmem_rings(persist_devmem(p)), "rings") == 0);
	MUST(persist_poll(p) == 77);
	return p;
}

static int kick_of(struct persist *p, uint32_t index)
{
	const struct record_call *c =
		record_find(persist_record(p), VHOST_SET_VRING_KICK, index);

	return c ? c->fd : -1;
}

static void finds_begin(struct store *s)
{
	struct persist *p = adopt(s);

	MUST(persist_record(p)->answer.unique == 42);
	MUST(says(kick_of(p, 0), "kick0") && kick_of(p, 1) < 0);
}

static void a_session_is_found_again_and_again(void **state)
{
	(void)state;
	in_process(begin);
	in_process(finds_begin);
	in_process(finds_begin);
}

static void other_worker(struct store *s)
{
	struct persist *p = adopt(s);

	MUST(persist_call(p, 42) == 0);
	persist_set_worker(p, 0, -1, -1);
	persist_set_call(p, 43, 7);
	MUST(!persist_ready(p));
	persist_set_ready(p, true);
	MUST(persist_commit(p, NULL) == 0);
}

static void finds_no_worker(struct store *s)
{
	struct persist_fds left;
	struct persist *p;

	MUST(persist_adopt(s, NAME, RING_BYTES, &p, &left) == 0);
	MUST(persist_record(p)->answer.unique == 42);
	MUST(persist_record(p)->owner.pid == owner.pid);
	MUST(says(left.pidfd, "pidfd") && left.worker < 0 && left.sock < 0);
	MUST(persist_ready(p));
	MUST(persist_call(p, 43) == 7 && persist_call(p, 42) == 0 &&
	     persist_call(p, 0) == 0);
	MUST(says(kick_of(p, 0), "kick0"));
}

static void a_worker_process_comes_and_goes(void **state)
{
	(void)state;
	in_process(begin);
	in_process(other_worker);
	in_process(finds_no_worker);
}

static void a_record_needs_no_store(void **state)
{
	const struct record_answer answer = { .unique = 42 };
	struct persist *p;

	(void)state;
	assert_int_equal(persist_new(NULL, "uvhost-net", 7, RING_BYTES, &p), 0);
	persist_set(p, VHOST_SET_VRING_KICK, 0, "kick", 4, memfd_of("kick0"));
	assert_int_equal(persist_commit(p, &answer), 0);
	assert_int_equal(persist_commit(p, NULL), 0);
	assert_int_equal(persist_record(p)->answer.unique, 42);
	assert_true(says(kick_of(p, 0), "kick0"));
	persist_set_poll(p, 7);
	persist_end(p, true);
}

static void changes(struct store *s)
{
	const struct record_answer answer = { .unique = 43 };
	struct persist *p = adopt(s);

	persist_set(p, VHOST_SET_VRING_KICK, 1, "kick", 4, memfd_of("kick1"));
	persist_drop(p, VHOST_SET_VRING_KICK, 0);
	MUST(persist_commit(p, &answer) == 0);
	/* This change is not committed. */
	persist_set(p, VHOST_SET_VRING_KICK, 0, "kick", 4, memfd_of("no"));
}

static void finds_changes(struct store *s)
{
	struct persist *p = adopt(s);

	MUST(persist_record(p)->answer.unique == 43);
	MUST(says(kick_of(p, 1), "kick1") && kick_of(p, 0) < 0);
}

static void what_was_committed_counts(void **state)
{
	(void)state;
	in_process(begin);
	in_process(changes);
	in_process(finds_changes);
	in_process(finds_changes);
}

/* As a process that dies after it has filled the bag. */
static void fills_the_bag_and_dies(struct store *s)
{
	int ends[2], fds[BAG_FDS_MAX], n;
	struct bag b;

	MUST(store_take(s, NAME, ends, 2) == 2);
	MUST(bag_adopt(&b, ends) == 0);
	n = bag_peek(&b, BAG_ANY, fds);
	MUST(n == 7);
	fds[4] = memfd_of("wrong");
	/* The number that the next message of the record would have. */
	for (uint64_t number = 1; number < 64; number++) {
		int got[BAG_FDS_MAX], m = bag_peek(&b, number, got);

		if (m < 0)
			continue;
		MUST(bag_fill(&b, number + 1, fds, (unsigned int)n) == 0);
		return;
	}
	MUST(false);
}

static void a_message_that_was_not_committed_is_dropped(void **state)
{
	(void)state;
	in_process(begin);
	in_process(fills_the_bag_and_dies);
	in_process(finds_begin);
	in_process(finds_begin);
	in_process(changes);
	in_process(finds_changes);
}

/* sendmsg(2) fails so often, as on a host that is short of something. */
static unsigned int fails;

ssize_t __real_sendmsg(int sock, const struct msghdr *msg, int flags);
ssize_t __wrap_sendmsg(int sock, const struct msghdr *msg, int flags);
ssize_t __wrap_sendmsg(int sock, const struct msghdr *msg, int flags)
{
	if (fails && msg->msg_controllen) {
		fails--;
		errno = ENOBUFS;
		return -1;
	}
	return __real_sendmsg(sock, msg, flags);
}

static void changes_late(struct store *s)
{
	const struct record_answer answer = { .unique = 43 };
	struct persist *p = adopt(s);

	fails = 1;
	persist_set(p, VHOST_SET_VRING_KICK, 1, "kick", 4, memfd_of("kick1"));
	persist_drop(p, VHOST_SET_VRING_KICK, 0);
	MUST(persist_commit(p, &answer) == -ENOBUFS);
	MUST(persist_commit(p, NULL) == 0);
}

static void adopts_late(struct store *s)
{
	const struct record_answer answer = { .unique = 43 };
	struct persist *p;

	fails = 1;
	p = adopt(s);
	MUST(fails == 0);
	MUST(persist_record(p)->answer.unique == 42);
	/* The next change goes with all descriptors. */
	persist_drop(p, VHOST_SET_VRING_KICK, 0);
	persist_set(p, VHOST_SET_VRING_KICK, 1, "kick", 4, memfd_of("kick1"));
	MUST(persist_commit(p, &answer) == 0);
}

static void a_change_that_failed_is_made_by_the_next(void **state)
{
	(void)state;
	in_process(begin);
	in_process(changes_late);
	in_process(finds_changes);
}

static void what_cannot_be_written_again_stays_in_force(void **state)
{
	(void)state;
	in_process(begin);
	in_process(adopts_late);
	in_process(finds_changes);
}

static void fails_to_change(struct store *s)
{
	const struct record_answer answer = { .unique = 43 };
	struct persist *p = adopt(s);

	fails = 1;
	persist_set(p, VHOST_SET_VRING_KICK, 1, "kick", 4, memfd_of("kick1"));
	MUST(persist_commit(p, &answer) == -ENOBUFS);
}

static void finds_nothing_in_force(struct store *s)
{
	struct persist_fds left;
	struct persist *p;

	MUST(persist_adopt(s, NAME, RING_BYTES, &p, &left) == -ENODATA);
}

/* The caller has been answered: an older state is worse than none. */
static void what_is_old_is_not_in_force(void **state)
{
	(void)state;
	in_process(begin);
	in_process(fails_to_change);
	in_process(finds_nothing_in_force);
	assert_int_equal(kept[0], -1);
}

static void ends(struct store *s)
{
	struct persist *p = adopt(s);

	persist_end(p, true);
}

static void leaves(struct store *s)
{
	struct persist *p = adopt(s);

	persist_end(p, false);
}

static void finds_nothing(struct store *s)
{
	struct persist_fds left;
	struct persist *p;

	MUST(persist_adopt(s, NAME, RING_BYTES, &p, &left) == -ENOENT);
}

static void the_end_of_a_session_is_the_end(void **state)
{
	int copies[2];

	(void)state;
	in_process(begin);
	in_process(leaves);
	in_process(finds_begin);
	copies[0] = check_ok(fcntl(kept[0], F_DUPFD_CLOEXEC, 100));
	copies[1] = check_ok(fcntl(kept[1], F_DUPFD_CLOEXEC, 100));
	in_process(ends);
	assert_int_equal(kept[0], -1);
	/* The descriptors went before the store knew. */
	kept[0] = copies[0];
	kept[1] = copies[1];
	in_process(finds_nothing);
}

static void resized(struct store *s)
{
	struct persist_fds left;
	struct persist *p;

	MUST(persist_adopt(s, NAME, 10 * RING_BYTES, &p, &left) == -EBADMSG);
	MUST(left.mem_fd < 0 && left.pidfd < 0 && left.worker < 0);
}

static void memory_of_another_size_is_refused(void **state)
{
	(void)state;
	in_process(begin);
	in_process(resized);
	assert_int_equal(kept[0], -1);
}

static void names_say_what_they_are_of(void **state)
{
	(void)state;
	assert_int_equal(persist_parse_name(NAME, "uvhost-net"), 7);
	assert_int_equal(persist_parse_name(NAME, "uvhost"), 0);
	assert_int_equal(persist_parse_name("session-7-a-b", "a-b"), 7);
	assert_int_equal(persist_parse_name("session--a", "a"), 0);
	assert_int_equal(persist_parse_name("session-7", "a"), 0);
	assert_int_equal(persist_parse_name("channel-a", "a"), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_worker_process_comes_and_goes),
		TEST(a_record_needs_no_store),
		TEST(a_session_is_found_again_and_again),
		TEST(what_was_committed_counts),
		TEST(a_message_that_was_not_committed_is_dropped),
		TEST(a_change_that_failed_is_made_by_the_next),
		TEST(what_cannot_be_written_again_stays_in_force),
		TEST(what_is_old_is_not_in_force),
		TEST(the_end_of_a_session_is_the_end),
		TEST(memory_of_another_size_is_refused),
		TEST(names_say_what_they_are_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
