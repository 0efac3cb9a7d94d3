/* SPDX-License-Identifier: BSD-3-Clause */
/* test_limit.c tests the rate limit of log lines, with a clock of the test. */
#include "check.h"

#include <pthread.h>
#include <time.h>

#include "log_limit.h"

static unsigned int written;
static time_t now_s = 1000;

int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	(void)id;
	*ts = (struct timespec){ .tv_sec = now_s };
	return 0;
}

static void count(void *ctx, enum log_level level, const char *line)
{
	(void)ctx;
	(void)level;
	(void)line;
	__atomic_fetch_add(&written, 1, __ATOMIC_RELAXED);
}

static int begin(void **state)
{
	(void)state;
	written = 0;
	log_set_level(LOG_LEVEL_INFO);
	log_set_sink(count, NULL);
	return 0;
}

static void say(struct log_limit *l, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		log_limited(l, NULL, LOG_LEVEL_WARNING, "line %u", i);
}

static void a_limit_has_so_many_lines_in_its_time(void **state)
{
	struct log_limit l;

	(void)state;
	log_limit_init(&l, 7, NULL);
	say(&l, 1000);
	assert_int_equal(written, 7);
	now_s += LOG_LIMIT_S - 1;
	say(&l, 1000);
	assert_int_equal(written, 7);
	now_s++;
	say(&l, 1000);
	assert_int_equal(written,
			 7 + 1 + 7); /* one says how many are missing */
	assert_int_equal(l.share[LOG_KIND_EVENT].suppressed, 993);
	log_limit_end(&l);
}

/* Each child has its share, all of them no more than the parent. */
static void children_share_what_their_parent_has(void **state)
{
	struct log_limit all, user[2], session[4];

	(void)state;
	log_limit_init(&all, 25, NULL);
	for (unsigned int i = 0; i < 2; i++)
		log_limit_init(&user[i], 15, &all);
	for (unsigned int i = 0; i < 4; i++)
		log_limit_init(&session[i], 10, &user[i / 2]);
	say(&session[0], 100);
	assert_int_equal(written, 10);
	say(&session[1], 100);
	assert_int_equal(written, 15);
	say(&session[2], 100);
	assert_int_equal(written, 25);
	say(&session[3], 100);
	assert_int_equal(written, 25);
	for (unsigned int i = 0; i < 4; i++)
		log_limit_end(&session[i]);
	for (unsigned int i = 0; i < 2; i++)
		log_limit_end(&user[i]);
	/* each line left out is counted once, and told by what outlives */
	assert_int_equal(all.share[LOG_KIND_EVENT].suppressed, 4 * 100 - 25);
	log_limit_end(&all);
}

/* As a guest that floods the log until its user may say nothing more, and whose
 * worker process dies then. */
static void what_a_guest_has_come_to_is_logged_behind_a_flood(void **state)
{
	struct log_limit all, user, session[2];

	(void)state;
	log_limit_init(&all, 20, NULL);
	log_limit_init(&user, 15, &all);
	for (unsigned int i = 0; i < 2; i++)
		log_limit_init(&session[i], 10, &user);
	for (unsigned int i = 0; i < 2; i++)
		say(&session[i], 100);
	assert_int_equal(written, 15);
	for (unsigned int i = 0; i < 100; i++)
		log_limited_state(&session[1], NULL, LOG_LEVEL_WARNING,
				  "state");
	assert_int_equal(written, 15 + 10);
	now_s += LOG_LIMIT_S;
	say(&session[0], 1);
	assert_int_equal(written, 15 + 10 + 2);
	for (unsigned int i = 0; i < 2; i++)
		log_limit_end(&session[i]);
	assert_int_equal(user.share[LOG_KIND_STATE].suppressed, 90);
	log_limit_end(&user);
	log_limit_end(&all);
}

static void a_child_may_change_its_parent(void **state)
{
	struct log_limit a, b, session;

	(void)state;
	log_limit_init(&a, 1, NULL);
	log_limit_init(&b, 2, NULL);
	log_limit_init(&session, 100, &a);
	say(&session, 10);
	assert_int_equal(written, 1);
	log_limit_set_parent(&session, &b);
	log_limit_end(&a);
	say(&session, 10);
	assert_int_equal(written, 3);
	log_limit_end(&session);
	log_limit_end(&b);
}

static void debug_lines_are_not_limited(void **state)
{
	struct log_limit l;

	(void)state;
	log_limit_init(&l, 1, NULL);
	log_set_level(LOG_LEVEL_DEBUG);
	say(&l, 50);
	assert_int_equal(written, 50);
	log_limit_end(&l);
}

static void *storm(void *arg)
{
	say(arg, 5000);
	return NULL;
}

static void threads_share_a_limit(void **state)
{
	struct log_limit all, session[4];
	pthread_t t[4];

	(void)state;
	log_limit_init(&all, 50, NULL);
	for (unsigned int i = 0; i < 4; i++) {
		log_limit_init(&session[i], 40, &all);
		check_ret(pthread_create(&t[i], NULL, storm, &session[i]), 0);
	}
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(written, 50);
	for (unsigned int i = 0; i < 4; i++)
		log_limit_end(&session[i]);
	log_limit_end(&all);
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_limit_has_so_many_lines_in_its_time),
		TEST(children_share_what_their_parent_has),
		TEST(what_a_guest_has_come_to_is_logged_behind_a_flood),
		TEST(a_child_may_change_its_parent),
		TEST(debug_lines_are_not_limited),
		TEST(threads_share_a_limit),
	};

	return cmocka_run_group_tests_name("limit", tests, NULL, NULL);
}
