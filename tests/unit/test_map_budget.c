/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_map_budget.c tests which mappings count while one memory table replaces
 * another.
 */
#include "check.h"

#include "map_budget.h"

#define SIZE UINT64_C(0x1000)

struct fix {
	struct map_budget budget;
	unsigned int n, most;
	uint64_t bytes;
};

static bool take(void *ctx, uint64_t bytes)
{
	struct fix *f = ctx;

	if (f->n == f->most)
		return false;
	f->n++;
	f->bytes += bytes;
	return true;
}

static void give(void *ctx, uint64_t bytes)
{
	struct fix *f = ctx;

	assert_true(f->n > 0 && f->bytes >= bytes);
	f->n--;
	f->bytes -= bytes;
}

static int setup(void **state)
{
	static struct fix f;

	f = (struct fix){ .budget = { take, give, .ctx = &f }, .most = 8 };
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	map_budget_clear(&f->budget);
	assert_int_equal(f->n, 0);
	assert_int_equal(f->bytes, 0);
	return 0;
}

/* Page @page of file 7, at the same page of the owner. */
static struct owner_map map_at(unsigned int page)
{
	return (struct owner_map){
		.uva = page * SIZE, .size = SIZE, .off = page * SIZE, .ino = 7
	};
}

/* A table with as many of the mappings as the budget allows. */
static void take_all(struct fix *f, const struct owner_map *map, size_t n,
		     struct owner_maps *out)
{
	*out = (struct owner_maps){ .map = calloc(n + 1, sizeof(*map)) };
	assert_non_null(out->map);
	for (size_t i = 0; i < n; i++)
		if (map_budget_take(&f->budget, &map[i]))
			out->map[out->nmaps++] = map[i];
}

static void set(struct fix *f, const struct owner_map *map, size_t n)
{
	struct owner_maps next;

	take_all(f, map, n, &next);
	map_budget_commit(&f->budget, &next);
	owner_maps_free(&next);
}

static void what_stays_counts_once(void **state)
{
	struct fix *f = *state;
	const struct owner_map a[] = { map_at(1), map_at(2), map_at(3) };
	const struct owner_map b[] = { map_at(2), map_at(3), map_at(4) };
	struct owner_maps next;

	set(f, a, 3);
	assert_int_equal(f->n, 3);
	take_all(f, b, 3, &next);
	assert_int_equal(f->n, 4); /* both tables */
	map_budget_commit(&f->budget, &next);
	assert_int_equal(f->n, 3);
	assert_int_equal(f->bytes, 3 * SIZE);
	assert_false(map_budget_has(&f->budget, &a[0]));
	assert_true(map_budget_has(&f->budget, &b[2]));
	owner_maps_free(&next);
}

static void a_table_that_was_not_set_does_not_count(void **state)
{
	struct fix *f = *state;
	const struct owner_map a[] = { map_at(1), map_at(2) };
	const struct owner_map b[] = { map_at(2), map_at(3), map_at(4) };
	struct owner_maps next;

	set(f, a, 2);
	take_all(f, b, 3, &next);
	map_budget_abort(&f->budget, &next);
	owner_maps_free(&next);
	assert_int_equal(f->n, 2);
	assert_true(map_budget_has(&f->budget, &a[0]));
	assert_true(map_budget_has(&f->budget, &a[1]));
}

/* A table whose mappings are all there already needs no room for itself. */
static void a_full_budget_takes_what_is_there(void **state)
{
	struct fix *f = *state;
	const struct owner_map a[] = { map_at(1), map_at(2), map_at(3) };

	f->most = 2;
	set(f, a, 3);
	assert_int_equal(f->n, 2);
	assert_int_equal(f->budget.n, 2);
	set(f, a, 3);
	assert_int_equal(f->n, 2);
	assert_int_equal(f->budget.n, 2);
	set(f, &a[1], 2); /* page 1 still counts meanwhile */
	assert_int_equal(f->n, 1);
	set(f, &a[1], 2);
	assert_int_equal(f->n, 2);
}

static void another_file_or_offset_is_another_mapping(void **state)
{
	struct fix *f = *state;
	struct owner_map m = map_at(1);
	struct owner_map other[] = { m, m, m, m };

	other[0].ino++;
	other[1].dev++;
	other[2].off += SIZE;
	other[3].size += SIZE;
	set(f, &m, 1);
	for (unsigned int i = 0; i < 4; i++)
		assert_false(map_budget_has(&f->budget, &other[i]));
	m.file = OWNER_NO_FILE;
	assert_true(map_budget_has(&f->budget, &m));
	set(f, &other[3], 1);
	assert_int_equal(f->n, 1);
	assert_int_equal(f->bytes, 2 * SIZE);
}

static void no_table_counts_nothing(void **state)
{
	struct fix *f = *state;
	const struct owner_map a[] = { map_at(1), map_at(2) };

	set(f, a, 2);
	set(f, NULL, 0);
	assert_int_equal(f->n, 0);
	set(f, a, 2);
	map_budget_clear(&f->budget);
	assert_int_equal(f->n, 0);
	assert_false(map_budget_has(&f->budget, &a[0]));
}

#define BUDGET(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BUDGET(what_stays_counts_once),
		BUDGET(a_table_that_was_not_set_does_not_count),
		BUDGET(a_full_budget_takes_what_is_there),
		BUDGET(another_file_or_offset_is_another_mapping),
		BUDGET(no_table_counts_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
