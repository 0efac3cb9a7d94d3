/* SPDX-License-Identifier: BSD-3-Clause */
/* test_ratelimit.c tests the token bucket, with a clock of the test. */
#include "check.h"

#include "clock.h"
#include "ratelimit.h"

#define BURST 50
#define MS (100 * NS_PER_MS)
#define START NS_PER_S

static unsigned int take_all(struct ratelimit *r, uint64_t now)
{
	unsigned int n = 0;

	while (n < 10 * BURST && ratelimit_take(r, now))
		n++;
	return n;
}

static void a_burst_and_no_more_happens_at_once(void **state)
{
	struct ratelimit r;

	(void)state;
	ratelimit_init(&r, 1, MS, BURST, START);
	assert_int_equal(take_all(&r, START), BURST);
	assert_false(ratelimit_take(&r, START));
}

static void then_there_is_one_per_interval(void **state)
{
	struct ratelimit r;

	(void)state;
	ratelimit_init(&r, 1, MS, BURST, START);
	take_all(&r, START);
	for (uint64_t now = START + MS; now < START + 100 * MS; now += MS) {
		assert_false(ratelimit_take(&r, now - 1));
		assert_true(ratelimit_take(&r, now));
		assert_false(ratelimit_take(&r, now));
	}
}

static void parts_of_an_interval_add_up(void **state)
{
	struct ratelimit r;
	unsigned int n = 0;

	(void)state;
	ratelimit_init(&r, 1, MS, BURST, START);
	take_all(&r, START);
	for (uint64_t now = START + MS / 100; now <= START + 10 * MS;
	     now += MS / 100)
		n += ratelimit_take(&r, now);
	assert_int_equal(n, 10);
}

static void a_long_pause_saves_no_more_than_a_burst(void **state)
{
	struct ratelimit r;

	(void)state;
	ratelimit_init(&r, 1, MS, BURST, START);
	assert_int_equal(take_all(&r, START + 3600 * NS_PER_S), BURST);
	assert_int_equal(take_all(&r, START + 3600 * NS_PER_S + 7 * MS), 7);
	assert_int_equal(take_all(&r, UINT64_MAX), BURST);
}

static void a_clock_that_goes_back_stands_still(void **state)
{
	struct ratelimit r;

	(void)state;
	ratelimit_init(&r, 1, MS, BURST, START);
	assert_int_equal(take_all(&r, 0), BURST);
	assert_int_equal(take_all(&r, 1), 0);
	assert_int_equal(take_all(&r, START), 0);
	assert_int_equal(take_all(&r, START + MS), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_burst_and_no_more_happens_at_once),
		cmocka_unit_test(then_there_is_one_per_interval),
		cmocka_unit_test(parts_of_an_interval_add_up),
		cmocka_unit_test(a_long_pause_saves_no_more_than_a_burst),
		cmocka_unit_test(a_clock_that_goes_back_stands_still),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
