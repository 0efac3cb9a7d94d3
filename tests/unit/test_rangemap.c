/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_rangemap.c tests address ranges: single cases, then random ones beside a
 * naive model.
 */
#include "check.h"

#include <stdlib.h>

#include "bytes.h"
#include "rangemap.h"

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct rangemap));
	assert_non_null(*state);
	return 0;
}

static int teardown(void **state)
{
	rangemap_free(*state);
	free(*state);
	return 0;
}

static uint64_t find(const struct rangemap *m, uint64_t start, uint64_t last)
{
	const struct range *r = rangemap_first(m, start, last);

	return r ? r->uva : 0;
}

static void an_empty_map_has_nothing(void **state)
{
	assert_null(rangemap_first(*state, 0, UINT64_MAX));
	rangemap_del(*state, 0, UINT64_MAX);
}

static void a_range_is_found_by_any_overlap(void **state)
{
	struct rangemap *m = *state;

	check_ret(rangemap_add(m, 100, 199, 7, RANGE_RW), 0);
	assert_int_equal(find(m, 0, 99), 0);
	assert_int_equal(find(m, 0, 100), 7);
	assert_int_equal(find(m, 150, 150), 7);
	assert_int_equal(find(m, 199, 300), 7);
	assert_int_equal(find(m, 200, 300), 0);
	assert_int_equal(find(m, 0, UINT64_MAX), 7);
}

static void a_range_that_wraps_is_refused(void **state)
{
	check_ret(rangemap_add(*state, 100, 99, 1, RANGE_RW), -EFAULT);
	assert_null(rangemap_first(*state, 0, UINT64_MAX));
}

static void the_lowest_start_wins_then_the_oldest(void **state)
{
	struct rangemap *m = *state;

	check_ret(rangemap_add(m, 100, 199, 1, RANGE_RW), 0);
	check_ret(rangemap_add(m, 150, 299, 2, RANGE_RW), 0);
	check_ret(rangemap_add(m, 100, 399, 3, RANGE_RW), 0);
	assert_int_equal(find(m, 160, 160), 1);
	assert_int_equal(find(m, 250, 250), 3);
	assert_int_equal(find(m, 350, 350), 3);
	rangemap_del(m, 350, 350);
	assert_int_equal(find(m, 250, 250), 2);
}

static void removal_takes_whole_ranges(void **state)
{
	struct rangemap *m = *state;

	check_ret(rangemap_add(m, 100, 199, 1, RANGE_RW), 0);
	check_ret(rangemap_add(m, 200, 299, 2, RANGE_RW), 0);
	check_ret(rangemap_add(m, 300, 399, 3, RANGE_RW), 0);
	rangemap_del(m, 199, 200);
	assert_int_equal(find(m, 0, 299), 0);
	assert_int_equal(find(m, 0, UINT64_MAX), 3);
}

static void all_addresses_become_two_halves(void **state)
{
	struct rangemap *m = *state;

	check_ret(rangemap_add(m, 0, UINT64_MAX, 0x1000, RANGE_RW), 0);
	assert_int_equal(m->n, 2);
	assert_int_equal(find(m, INT64_MAX, INT64_MAX), 0x1000);
	assert_int_equal(find(m, BIT(63), UINT64_MAX), 0x1000 + BIT(63));
	assert_false(m->overlap);
}

static void beyond_2048_the_oldest_goes(void **state)
{
	struct rangemap *m = *state;

	/* oldest in the middle of the order of addresses */
	for (uint64_t i = 0; i < RANGEMAP_MAX; i++) {
		uint64_t at = (i * 1021 + 500) % RANGEMAP_MAX * 10;

		check_ret(rangemap_add(m, at, at + 9, i + 1, RANGE_RW), 0);
	}
	assert_int_equal(m->n, RANGEMAP_MAX);
	assert_int_equal(find(m, 5000, 5000), 1);
	for (uint64_t i = 0; i < 10; i++) {
		check_ret(
			rangemap_add(m, 100000 + i, 100000 + i, 9999, RANGE_RW),
			0);
		assert_int_equal(m->n, RANGEMAP_MAX);
		assert_int_equal(find(m, (i * 1021 + 500) % RANGEMAP_MAX * 10,
				      (i * 1021 + 500) % RANGEMAP_MAX * 10),
				 0);
	}
	assert_int_equal(find(m, (10 * 1021 + 500) % RANGEMAP_MAX * 10,
			      (10 * 1021 + 500) % RANGEMAP_MAX * 10),
			 11);
}

/* ---- against a model ---- */

/* In order of age; the kernel's rules word by word. */
struct model {
	size_t n;
	struct {
		uint64_t start, last, uva;
	} r[RANGEMAP_MAX + 1];
};

static void model_add(struct model *m, uint64_t start, uint64_t last,
		      uint64_t uva)
{
	if (m->n == RANGEMAP_MAX)
		memmove(&m->r[0], &m->r[1], --m->n * sizeof(m->r[0]));
	m->r[m->n].start = start;
	m->r[m->n].last = last;
	m->r[m->n++].uva = uva;
}

static void model_del(struct model *m, uint64_t start, uint64_t last)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->n; i++)
		if (m->r[i].last < start || m->r[i].start > last)
			m->r[kept++] = m->r[i];
	m->n = kept;
}

static uint64_t model_find(const struct model *m, uint64_t start, uint64_t last)
{
	size_t best = m->n;

	for (size_t i = 0; i < m->n; i++)
		if (m->r[i].last >= start && m->r[i].start <= last &&
		    (best == m->n || m->r[i].start < m->r[best].start))
			best = i;
	return best < m->n ? m->r[best].uva : 0;
}

static uint32_t seed;

static uint32_t rnd(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(seed >> 8) * below >> 24);
}

static void compare(struct rangemap *m, uint32_t space, uint32_t longest,
		    unsigned int ops, uint32_t dels)
{
	static struct model model;

	model.n = 0;
	rangemap_clear(m);
	for (unsigned int i = 1; i <= ops; i++) {
		uint64_t start = rnd(space), last = start + rnd(longest);

		if (rnd(100) < dels) {
			rangemap_del(m, start, last);
			model_del(&model, start, last);
		} else {
			check_ret(rangemap_add(m, start, last, i, RANGE_RW), 0);
			model_add(&model, start, last, i);
		}
		assert_int_equal(m->n, model.n);
		for (int k = 0; k < 4; k++) {
			start = rnd(space);
			last = start + rnd(2) * rnd(longest);
			assert_int_equal(find(m, start, last),
					 model_find(&model, start, last));
		}
	}
}

static void random_ranges_match_the_model(void **state)
{
	seed = 1;
	for (int i = 0; i < 20; i++) {
		compare(*state, 1000, 5, 500, 20);    /* few overlap */
		compare(*state, 100000, 200, 500, 5); /* some do */
		compare(*state, 50, 50, 200, 30);     /* all do */
	}
}

static void more_random_ranges_than_fit_match_the_model(void **state)
{
	seed = 2;
	compare(*state, 1000000, 200, 5000, 1);
	compare(*state, 100000000, 2, 5000, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_empty_map_has_nothing),
		TEST(a_range_is_found_by_any_overlap),
		TEST(a_range_that_wraps_is_refused),
		TEST(the_lowest_start_wins_then_the_oldest),
		TEST(removal_takes_whole_ranges),
		TEST(all_addresses_become_two_halves),
		TEST(beyond_2048_the_oldest_goes),
		TEST(random_ranges_match_the_model),
		TEST(more_random_ranges_than_fit_match_the_model),
	};

	return cmocka_run_group_tests_name("rangemap", tests, NULL, NULL);
}
