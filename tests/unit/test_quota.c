/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_quota.c tests the limits of sessions per user: as sessions are opened,
 * owned, passed on and closed.
 */
#include "check.h"

#include "quota.h"

#define ROOT 0
#define ALICE 1000
#define BOB 1001
#define N 16

struct fix {
	struct quota *q;
	struct quota_session s[N];
	struct log_limit lines[N];
};

static int setup(void **state)
{
	static struct fix f;
	const struct quota_limits limits = { 10, 6, 4, .maps = { 20, 12, 8 },
					     .bytes = { 1000, 600, 400 } };

	f = (struct fix){ .q = NULL };
	check_ret(quota_new(&limits, &f.q), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	for (unsigned int i = 0; i < N; i++)
		if (f->s[i].user) {
			while (f->s[i].maps)
				quota_unmap(f->q, &f->s[i],
					    f->s[i].bytes / f->s[i].maps);
			log_limit_end(&f->lines[i]);
			quota_close(f->q, &f->s[i]);
		}
	assert_int_equal(quota_total(f->q), 0);
	quota_free(f->q);
	return 0;
}

static enum quota_verdict open_one(struct fix *f, unsigned int i, uid_t uid)
{
	bool first;
	enum quota_verdict v = quota_open(f->q, &f->s[i], uid, &first);

	if (v == QUOTA_OK)
		log_limit_init(&f->lines[i], 10, quota_lines(&f->s[i]));
	return v;
}

static enum quota_verdict own(struct fix *f, unsigned int i, uid_t uid,
			      pid_t pid)
{
	bool first;

	return quota_own(f->q, &f->s[i], uid, pid, &f->lines[i], &first);
}

static void close_one(struct fix *f, unsigned int i)
{
	log_limit_end(&f->lines[i]);
	quota_close(f->q, &f->s[i]);
}

static void a_user_at_its_limit_does_not_limit_others(void **state)
{
	struct fix *f = *state;

	for (unsigned int i = 0; i < 6; i++)
		assert_int_equal(open_one(f, i, ALICE), QUOTA_OK);
	assert_int_equal(open_one(f, 6, ALICE), QUOTA_USER);
	assert_int_equal(open_one(f, 6, BOB), QUOTA_OK);
	close_one(f, 0);
	assert_int_equal(open_one(f, 0, ALICE), QUOTA_OK);
}

static void all_together_have_a_limit(void **state)
{
	struct fix *f = *state;

	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(open_one(f, i, i < 5 ? ALICE : BOB), QUOTA_OK);
	assert_int_equal(open_one(f, 10, ROOT), QUOTA_TOTAL);
}

static void what_root_opens_counts_for_its_owner(void **state)
{
	struct fix *f = *state;

	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(open_one(f, i, ROOT), QUOTA_OK);
	for (unsigned int i = 0; i < 6; i++)
		assert_int_equal(own(f, i, ALICE, 100 + (pid_t)i), QUOTA_OK);
	assert_int_equal(own(f, 6, ALICE, 200), QUOTA_USER);
	assert_int_equal(own(f, 6, BOB, 300), QUOTA_OK);
}

static void what_root_owns_counts_as_anyone_s(void **state)
{
	struct fix *f = *state;

	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(open_one(f, i, ROOT), QUOTA_OK);
	for (unsigned int i = 0; i < 6; i++)
		assert_int_equal(own(f, i, ROOT, 100 + (pid_t)i), QUOTA_OK);
	assert_int_equal(own(f, 6, ROOT, 200), QUOTA_USER);
	/* one that root owned before is owned again */
	quota_disown(f->q, &f->s[0]);
	assert_int_equal(own(f, 0, ROOT, 200), QUOTA_OK);
}

static void a_process_has_a_limit_until_it_dies(void **state)
{
	struct fix *f = *state;

	for (unsigned int i = 0; i < 6; i++)
		assert_int_equal(open_one(f, i, ALICE), QUOTA_OK);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(own(f, i, ALICE, 100), QUOTA_OK);
	assert_int_equal(own(f, 4, ALICE, 100), QUOTA_PROCESS);
	assert_int_equal(own(f, 4, ALICE, 101), QUOTA_OK);
	for (unsigned int i = 0; i < 4; i++)
		quota_disown(f->q, &f->s[i]);
	/* its number is another process's now */
	assert_int_equal(own(f, 5, ALICE, 100), QUOTA_OK);
}

/* Or a user could fill root's account with what it was given. */
static void sessions_do_not_return_to_the_account_of_the_opener(void **state)
{
	struct fix *f = *state;

	for (unsigned int i = 0; i < 7; i++)
		assert_int_equal(open_one(f, i, ROOT), QUOTA_OK);
	for (unsigned int i = 0; i < 6; i++) {
		assert_int_equal(own(f, i, ALICE, 100 + (pid_t)i), QUOTA_OK);
		quota_disown(f->q, &f->s[i]);
	}
	assert_int_equal(own(f, 6, ALICE, 200), QUOTA_USER);
	assert_int_equal(own(f, 5, BOB, 300), QUOTA_OK);
	assert_int_equal(own(f, 6, ALICE, 200), QUOTA_OK);
}

static void a_session_that_hangs_counts_for_its_user_alone(void **state)
{
	struct fix *f = *state;

	for (unsigned int i = 0; i < 6; i++) {
		assert_int_equal(open_one(f, i, ALICE), QUOTA_OK);
		assert_int_equal(own(f, i, ALICE, 100 + (pid_t)i / 4),
				 QUOTA_OK);
		quota_strand(f->q, &f->s[i]);
	}
	assert_int_equal(quota_total(f->q), 0);
	assert_int_equal(open_one(f, 6, ALICE), QUOTA_USER);
	for (unsigned int i = 6; i < 12; i++)
		assert_int_equal(open_one(f, i, BOB), QUOTA_OK);
	for (unsigned int i = 12; i < 16; i++)
		assert_int_equal(open_one(f, i, ROOT), QUOTA_OK);
	/* if they end after all */
	for (unsigned int i = 0; i < 6; i++)
		close_one(f, i);
	assert_int_equal(quota_total(f->q), 10);
}

static enum quota_verdict map(struct fix *f, unsigned int i, unsigned int n)
{
	enum quota_verdict v = QUOTA_OK;
	bool first;

	while (n-- && v == QUOTA_OK)
		v = quota_map(f->q, &f->s[i], 1, &first);
	return v;
}

static void mappings_have_limits_of_their_own(void **state)
{
	struct fix *f = *state;

	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(open_one(f, i, ROOT), QUOTA_OK);
		assert_int_equal(own(f, i, ALICE, 100 + (pid_t)(i / 2)),
				 QUOTA_OK);
	}
	for (unsigned int i = 3; i < 5; i++) {
		assert_int_equal(open_one(f, i, ROOT), QUOTA_OK);
		assert_int_equal(own(f, i, BOB, 200 + (pid_t)i), QUOTA_OK);
	}
	assert_int_equal(map(f, 0, 5), QUOTA_OK);
	assert_int_equal(map(f, 1, 3), QUOTA_OK);
	assert_int_equal(map(f, 1, 1), QUOTA_PROCESS);
	assert_int_equal(map(f, 2, 4), QUOTA_OK);
	assert_int_equal(map(f, 2, 1), QUOTA_USER);
	assert_int_equal(map(f, 3, 8), QUOTA_OK); /* all there are */
	assert_int_equal(map(f, 4, 1), QUOTA_TOTAL);
	quota_unmap(f->q, &f->s[0], 1);
	assert_int_equal(map(f, 4, 1), QUOTA_OK);
	assert_int_equal(map(f, 4, 1), QUOTA_TOTAL);
}

static void mappings_stay_with_the_user_of_an_owner_that_died(void **state)
{
	struct fix *f = *state;

	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(open_one(f, i, ALICE), QUOTA_OK);
		assert_int_equal(own(f, i, ALICE, 100), QUOTA_OK);
	}
	assert_int_equal(map(f, 0, 8), QUOTA_OK);
	quota_disown(f->q, &f->s[0]);
	assert_int_equal(map(f, 1, 4), QUOTA_OK);
	assert_int_equal(map(f, 1, 1), QUOTA_USER);
	for (unsigned int i = 0; i < 8; i++)
		quota_unmap(f->q, &f->s[0], 1);
	assert_int_equal(map(f, 1, 4), QUOTA_OK);
	assert_int_equal(map(f, 1, 1), QUOTA_PROCESS);
}

static enum quota_verdict map_bytes(struct fix *f, unsigned int i,
				    uint64_t bytes)
{
	bool first;

	return quota_map(f->q, &f->s[i], bytes, &first);
}

static void bytes_of_mappings_have_limits(void **state)
{
	struct fix *f = *state;

	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(open_one(f, i, ROOT), QUOTA_OK);
		assert_int_equal(own(f, i, i < 2 ? ALICE : BOB, 100 + (pid_t)i),
				 QUOTA_OK);
	}
	assert_int_equal(map_bytes(f, 0, UINT64_MAX), QUOTA_BYTES);
	assert_int_equal(map_bytes(f, 0, 401), QUOTA_BYTES);
	assert_int_equal(map_bytes(f, 0, 400), QUOTA_OK);
	assert_int_equal(map_bytes(f, 0, 1), QUOTA_BYTES);
	assert_int_equal(map_bytes(f, 1, 201), QUOTA_BYTES);
	assert_int_equal(map_bytes(f, 1, 200), QUOTA_OK);
	assert_int_equal(map_bytes(f, 2, 399), QUOTA_OK);
	assert_int_equal(map_bytes(f, 3, 2), QUOTA_BYTES); /* in all */
	assert_int_equal(map_bytes(f, 3, 1), QUOTA_OK);
	quota_unmap(f->q, &f->s[0], 400);
	assert_int_equal(map_bytes(f, 1, 201), QUOTA_BYTES);
	/* They go along to the next owner's user, and are above its limit. */
	quota_disown(f->q, &f->s[1]);
	assert_int_equal(own(f, 1, BOB, 200), QUOTA_OK);
	assert_int_equal(map_bytes(f, 1, 1), QUOTA_BYTES);
	assert_int_equal(map_bytes(f, 0, 400), QUOTA_OK);
}

static void a_limit_is_told_once(void **state)
{
	struct fix *f = *state;
	struct quota_session s = { 0 };
	bool first;

	for (unsigned int i = 0; i < 6; i++)
		assert_int_equal(open_one(f, i, ALICE), QUOTA_OK);
	assert_int_equal(quota_open(f->q, &s, ALICE, &first), QUOTA_USER);
	assert_true(first);
	assert_int_equal(quota_open(f->q, &s, ALICE, &first), QUOTA_USER);
	assert_false(first);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_user_at_its_limit_does_not_limit_others),
		TEST(all_together_have_a_limit),
		TEST(what_root_opens_counts_for_its_owner),
		TEST(what_root_owns_counts_as_anyone_s),
		TEST(a_process_has_a_limit_until_it_dies),
		TEST(sessions_do_not_return_to_the_account_of_the_opener),
		TEST(a_session_that_hangs_counts_for_its_user_alone),
		TEST(mappings_have_limits_of_their_own),
		TEST(bytes_of_mappings_have_limits),
		TEST(mappings_stay_with_the_user_of_an_owner_that_died),
		TEST(a_limit_is_told_once),
	};

	return cmocka_run_group_tests_name("quota", tests, NULL, NULL);
}
