/* SPDX-License-Identifier: BSD-3-Clause */
/* How often something may happen; the time is the test's. */
#include "check.h"

#include "pace.h"

#define BURST 50
#define MS 100
#define START 1000000

static unsigned int take_all(struct pace *p, int64_t now)
{
	unsigned int n = 0;

	while (n < 10 * BURST && pace_take(p, now))
		n++;
	return n;
}

static void a_burst_and_no_more_happens_at_once(void **state)
{
	struct pace p;

	(void)state;
	pace_init(&p, BURST, MS, START);
	assert_int_equal(take_all(&p, START), BURST);
	assert_false(pace_take(&p, START));
}

static void then_there_is_one_per_interval(void **state)
{
	struct pace p;

	(void)state;
	pace_init(&p, BURST, MS, START);
	take_all(&p, START);
	for (int64_t now = START + MS; now < START + 100 * MS; now += MS) {
		assert_false(pace_take(&p, now - 1));
		assert_true(pace_take(&p, now));
		assert_false(pace_take(&p, now));
	}
}

static void parts_of_an_interval_add_up(void **state)
{
	struct pace p;
	unsigned int n = 0;

	(void)state;
	pace_init(&p, BURST, MS, START);
	take_all(&p, START);
	for (int64_t now = START + 1; now <= START + 10 * MS; now++)
		n += pace_take(&p, now);
	assert_int_equal(n, 10);
}

static void who_waits_long_saves_no_more_than_a_burst(void **state)
{
	struct pace p;

	(void)state;
	pace_init(&p, BURST, MS, START);
	assert_int_equal(take_all(&p, START + 3600 * 1000), BURST);
	assert_int_equal(take_all(&p, START + 3600 * 1000 + 7 * MS), 7);
	assert_int_equal(take_all(&p, INT64_MAX), BURST);
}

static void a_clock_that_goes_back_stands_still(void **state)
{
	struct pace p;

	(void)state;
	pace_init(&p, BURST, MS, START);
	assert_int_equal(take_all(&p, 0), BURST);
	assert_int_equal(take_all(&p, INT64_MIN), 0);
	assert_int_equal(take_all(&p, START), 0);
	assert_int_equal(take_all(&p, START + MS), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_burst_and_no_more_happens_at_once),
		cmocka_unit_test(then_there_is_one_per_interval),
		cmocka_unit_test(parts_of_an_interval_add_up),
		cmocka_unit_test(who_waits_long_saves_no_more_than_a_burst),
		cmocka_unit_test(a_clock_that_goes_back_stands_still),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
