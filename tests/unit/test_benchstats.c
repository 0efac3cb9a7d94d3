/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_benchstats.c tests the statistics of the bench: medians, their
 * confidence intervals, and when enough was measured.
 */
#include "check.h"

#include <math.h>

#include "bytes.h"
#include "stats.h"

static void is(double got, double want)
{
	if (fabs(got - want) < 1e-9)
		return;
	print_error("got %g, expected %g\n", got, want);
	fail();
}

static void without_values_there_is_nothing(void **state)
{
	struct stats s = stats_of(NULL, 0);

	(void)state;
	assert_int_equal(s.n, 0);
	is(s.median, 0);
	assert_false(stats_settled(&s, 0, 1));
}

static void the_median_is_in_the_middle(void **state)
{
	double odd[] = { 5, 1, 9 }, even[] = { 4, 1, 2, 100 }, one[] = { 7 };

	(void)state;
	is(stats_of(odd, 3).median, 5);
	is(stats_of(even, 4).median, 3);
	is(stats_of(one, 1).median, 7);
}

/* Ranks of the 95 % interval as tables of the sign test have them */
static void ranks_are_those_of_the_sign_test(void **state)
{
	static const struct {
		unsigned int n, rank;
	} known[] = {
		{ 5, 0 },  { 6, 1 },   { 7, 1 },   { 8, 1 },   { 9, 2 },
		{ 10, 2 }, { 11, 2 },  { 12, 3 },  { 15, 4 },  { 20, 6 },
		{ 25, 8 }, { 30, 10 }, { 40, 14 }, { 50, 18 }, { 100, 40 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		assert_int_equal(stats_rank(known[i].n), known[i].rank);
}

/* 2^-2000 is no double. With so many values the binomial distribution is
 * normal: (2000 - 1.96 * sqrt(2000)) / 2 = 956.2 */
static void many_values_have_a_rank_too(void **state)
{
	(void)state;
	assert_in_range(stats_rank(2000), 956, 957);
}

static void the_interval_leaves_out_what_the_ranks_say(void **state)
{
	double v[20];
	struct stats s;

	(void)state;
	for (unsigned int i = 0; i < 20; i++)
		v[i] = (i * 7) % 20 + 1; /* 1...20 in another order */
	s = stats_of(v, 20);
	is(s.median, 10.5);
	is(s.low, 6);
	is(s.high, 15);
}

static void few_values_have_all_of_them_as_interval(void **state)
{
	double v[] = { 3, 1, 2, 5, 4 };
	struct stats s = stats_of(v, 5);

	(void)state;
	is(s.low, 1);
	is(s.high, 5);
	assert_false(stats_settled(&s, 1, 100));
}

/* The interval must contain the true median in 95 of 100 samples; of a skewed
 * distribution, too. */
static void intervals_contain_the_true_median(void **state)
{
	uint64_t x = 88172645463325252u;
	unsigned int inside = 0;

	(void)state;
	for (unsigned int k = 0; k < 4000; k++) {
		double v[25];
		struct stats s;

		for (unsigned int i = 0; i < 25; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			v[i] = -log((double)(x >> 11) / 9007199254740992.0);
		}
		s = stats_of(v, 25);
		inside += s.low <= log(2) && log(2) <= s.high;
	}
	/* 95.7 % for this rank; four deviations */
	assert_in_range(inside, 3777, 3880);
}

/* ---- set-ups ---- */

static const unsigned int three[] = { 1, 1, 1, 2, 2, 2, 3, 3, 3 };

static void set_ups_that_differ_widen_the_interval(void **state)
{
	const double v[] = { 0.9, 0.9, 0.9, 1, 1, 1, 1.1, 1.1, 1.1 };
	struct stats s = { .n = 9, .median = 1, .low = 0.99, .high = 1.01 };
	double space[18];

	(void)state;
	assert_int_equal(stats_widen(&s, v, three, 9, space), 3);
	is(s.low, 0.9);
	is(s.high, 1.1);
	is(s.median, 1);
}

static void set_ups_that_agree_leave_it(void **state)
{
	const double v[] = { 0.9, 1, 1.1, 0.8, 1, 1.2, 0.7, 1, 1.3 };
	struct stats s = { .n = 9, .median = 1, .low = 0.9, .high = 1.1 };
	double space[18];

	(void)state;
	assert_int_equal(stats_widen(&s, v, three, 9, space), 3);
	is(s.low, 0.9);
	is(s.high, 1.1);
}

/* The seventh is twice as fast: it widens the interval of eight set-ups, and
 * not that of nine. */
static void of_nine_set_ups_one_may_be_far_from_the_rest(void **state)
{
	const unsigned int setup[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
	const double v[] = { 1, 0.99, 1.01, 1, 1, 1, 2, 1, 1 };
	struct stats s = { .n = 9, .median = 1, .low = 1, .high = 1 };
	double space[18];

	(void)state;
	assert_int_equal(stats_widen(&s, v, setup, 9, space), 9);
	is(s.low, 1);
	is(s.high, 1.01);
	assert_int_equal(stats_widen(&s, v, setup, 8, space), 8);
	is(s.low, 0.99);
	is(s.high, 2);
}

static void few_set_ups_say_nothing_of_others(void **state)
{
	const unsigned int one[] = { 4, 4, 4 }, two[] = { 4, 4, 5 };
	const double v[] = { 1, 2, 3 };
	struct stats s = { .n = 3, .median = 2, .low = 1, .high = 3 };
	double space[6];

	(void)state;
	assert_int_equal(stats_widen(&s, v, one, 3, space), 1);
	assert_int_equal(stats_widen(&s, v, one, 0, space), 0);
	assert_int_equal(stats_widen(&s, v, two, 3, space), 2);
	is(s.low, 1);
	is(s.high, 3);
}

/* ---- settled ---- */

static void it_is_settled_within_so_much_of_the_median(void **state)
{
	struct stats s = { .n = 8, .median = 2, .low = 1.94, .high = 2.06 };

	(void)state;
	assert_true(stats_settled(&s, 8, 0.0301));
	assert_false(stats_settled(&s, 8, 0.029));
	s.high = 2.1;
	assert_false(stats_settled(&s, 8, 0.0301));
	s.high = 2;
	s.low = 1.9;
	assert_false(stats_settled(&s, 8, 0.0301));
}

static void it_is_not_settled_before_there_are_enough(void **state)
{
	struct stats s = { .n = 7, .median = 1, .low = 1, .high = 1 };

	(void)state;
	assert_false(stats_settled(&s, 8, 0.03));
	assert_true(stats_settled(&s, 7, 0.03));
}

static void nothing_is_never_settled(void **state)
{
	struct stats s = { .n = 100 };

	(void)state;
	assert_false(stats_settled(&s, 8, 0.03));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_values_there_is_nothing),
		cmocka_unit_test(the_median_is_in_the_middle),
		cmocka_unit_test(ranks_are_those_of_the_sign_test),
		cmocka_unit_test(many_values_have_a_rank_too),
		cmocka_unit_test(the_interval_leaves_out_what_the_ranks_say),
		cmocka_unit_test(few_values_have_all_of_them_as_interval),
		cmocka_unit_test(intervals_contain_the_true_median),
		cmocka_unit_test(set_ups_that_differ_widen_the_interval),
		cmocka_unit_test(set_ups_that_agree_leave_it),
		cmocka_unit_test(of_nine_set_ups_one_may_be_far_from_the_rest),
		cmocka_unit_test(few_set_ups_say_nothing_of_others),
		cmocka_unit_test(it_is_settled_within_so_much_of_the_median),
		cmocka_unit_test(it_is_not_settled_before_there_are_enough),
		cmocka_unit_test(nothing_is_never_settled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
