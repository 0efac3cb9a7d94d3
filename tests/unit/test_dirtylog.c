/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_dirtylog.c tests the dirty bitmap: exactly the pages written where it is
 * mapped; where it is not, whole bytes and never a page too few.
 */
#include "check.h"

#include <stdlib.h>

#include "bytes.h"
#include "dirtylog.h"
#include "drv.h"

struct fixture {
	struct arena arena;
	struct aspace *as;
	struct dirtylog log;
	uint8_t *map; /* the bitmap */
};

static int setup_mode(void **state, enum arena_mode mode)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	arena_open(&f->arena, mode);
	f->as = arena_aspace(&f->arena);
	f->log.base = arena_uva(&f->arena, 0x1001); /* any alignment */
	f->map = f->arena.base + 0x1001;
	*state = f;
	return 0;
}

static int setup_mapped(void **state)
{
	return setup_mode(state, MAPPED);
}

static int setup_copied(void **state)
{
	return setup_mode(state, COPIED);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	aspace_free(f->as);
	arena_close(&f->arena);
	free(f);
	return 0;
}

/* Pages first...last are marked and, as far as can be, no others. */
static void check_marked(struct fixture *f, uint64_t first, uint64_t last)
{
	check_ret(dirtylog_flush(&f->log, f->as), 0);
	for (uint64_t p = first; p <= last; p++)
		assert_true(f->map[p / 8] & 1 << p % 8);
	if (f->arena.mode == MAPPED) {
		for (uint64_t p = first; p <= last; p++)
			f->map[p / 8] &= (uint8_t)~(1u << p % 8);
	} else {
		memset(f->map + first / 8, 0, last / 8 - first / 8 + 1);
	}
	for (uint64_t i = 0; i < ARENA_SIZE; i++)
		if (f->arena.base[i])
			fail_msg("byte %ld of the bitmap is 0x%02x",
				 (long)(f->arena.base + i - f->map),
				 f->arena.base[i]);
}

static void every_page_of_a_range_is_marked(void **state)
{
	static const struct {
		uint64_t gpa, len, first, last;
	} ranges[] = {
		{ 0, 1, 0, 0 },
		{ 0, 4096, 0, 0 },
		{ 0, 4097, 0, 1 },
		{ 4095, 1, 0, 0 },
		{ 4095, 2, 0, 1 },
		{ 0x21ff0, 112, 0x21, 0x22 },
		{ 7 * 4096, 4096 * 2, 7, 8 },
		{ 5 * 4096 + 1, 4096 * 30, 5, 35 },
		{ 8 * 4096, 8 * 4096, 8, 15 },
		{ 0x12345678, 0x1234567, 0x12345, 0x13579 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		dirtylog_mark(&f->log, f->as, ranges[i].gpa, ranges[i].len);
		check_marked(f, ranges[i].first, ranges[i].last);
	}
}

static void nothing_marks_nothing(void **state)
{
	struct fixture *f = *state;

	dirtylog_mark(&f->log, f->as, 4096, 0);
	dirtylog_mark(&f->log, f->as, UINT64_MAX, 2); /* wraps */
	assert_int_equal(f->log.n, 0);
	check_marked(f, 1, 0);
}

static void marks_are_added_to_what_is_there(void **state)
{
	struct fixture *f = *state;

	f->map[1] = 0x81;
	dirtylog_mark(&f->log, f->as, 9 * 4096, 1);
	check_ret(dirtylog_flush(&f->log, f->as), 0);
	if (f->arena.mode == MAPPED)
		assert_int_equal(f->map[1], 0x83);
	else
		assert_int_equal(f->map[1], 0xff);
}

/* More than are kept, in any order, with and without gaps. */
static void any_number_of_marks_is_kept(void **state)
{
	struct fixture *f = *state;
	uint8_t want[4096] = { 0 };

	for (unsigned int i = 0; i < 1000; i++) {
		uint64_t page = i * 7919u % 32000;

		dirtylog_mark(&f->log, f->as, page * 4096 + 17, 4096);
		want[page / 8] |= (uint8_t)(1u << page % 8);
		want[(page + 1) / 8] |= (uint8_t)(1u << (page + 1) % 8);
		assert_in_range(f->log.n, 0, DIRTYLOG_PENDING);
	}
	check_ret(dirtylog_flush(&f->log, f->as), 0);
	assert_int_equal(f->log.n, 0);
	for (size_t i = 0; i < sizeof(want); i++)
		assert_int_equal(f->map[i], f->arena.mode == MAPPED ? want[i]
					    : want[i]               ? 0xff
								    : 0);
}

static void marks_near_each_other_stay_apart(void **state)
{
	struct fixture *f = *state;
	unsigned int want[] = { 1, 0, 1, 0, 1, 1, 1, 0, 1 };

	dirtylog_mark(&f->log, f->as, 0, 1);
	dirtylog_mark(&f->log, f->as, 16 * 4096, 1); /* a byte between them */
	dirtylog_mark(&f->log, f->as, 32 * 4096, 17 * 4096); /* three bytes */
	dirtylog_mark(&f->log, f->as, 33 * 4096, 1);         /* within these */
	dirtylog_mark(&f->log, f->as, 64 * 4096, 1);
	check_ret(dirtylog_flush(&f->log, f->as), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(want); i++)
		assert_int_equal(f->map[i] != 0, want[i]);
}

/* 4 GiB: 128 KiB of bitmap. */
static void a_very_long_range_is_marked(void **state)
{
	struct fixture *f = *state;

	dirtylog_mark(&f->log, f->as, 3 * 4096, UINT32_MAX);
	check_marked(f, 3, 3 + UINT32_MAX / 4096);
}

static void a_bitmap_out_of_reach_is_an_error_once(void **state)
{
	struct fixture *f = *state;

	f->log.base = arena_uva(&f->arena, ARENA_SIZE);
	dirtylog_mark(&f->log, f->as, 0, 1);
	check_ret(dirtylog_flush(&f->log, f->as), -EFAULT);
	check_ret(dirtylog_flush(&f->log, f->as), 0);
}

static void marks_in_reach_are_stored_beside_those_out_of_reach(void **state)
{
	struct fixture *f = *state;

	f->log.base = arena_uva(&f->arena, ARENA_SIZE - 2);
	dirtylog_mark(&f->log, f->as, 0x10 * 4096, 1); /* byte 2: not there */
	dirtylog_mark(&f->log, f->as, 0, 1);
	dirtylog_mark(&f->log, f->as, 0x18 * 4096, 1);
	check_ret(dirtylog_flush(&f->log, f->as), -EFAULT);
	assert_int_equal(f->arena.base[ARENA_SIZE - 2] & 1, 1);
	assert_int_equal(f->arena.base[ARENA_SIZE - 1], 0);
}

static void the_window_is_checked_without_access(void **state)
{
	uint64_t limit = aspace_limit(), page = 4096;

	(void)state;
	assert_true(dirtylog_window_ok(0, 0, 0));
	assert_true(dirtylog_window_ok(0, 0, page));
	assert_false(dirtylog_window_ok(UINT64_MAX, 0, page));
	assert_true(dirtylog_window_ok(limit - 1, 0, 8 * page));
	assert_false(dirtylog_window_ok(limit - 1, 0, 8 * page + 1));
	assert_false(dirtylog_window_ok(limit - 1, 8 * page, 1));
	assert_true(dirtylog_window_ok(limit - 2, 8 * page, 1));
	assert_false(dirtylog_window_ok(UINT64_MAX, 8 * page, 1)); /* wraps */
	assert_true(dirtylog_window_ok(0, limit, limit));
}

#define EVERY_WAY(name)                                               \
	{ #name " [mapped]", name, setup_mapped, teardown, NULL },    \
	{                                                             \
		#name " [copied]", name, setup_copied, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		EVERY_WAY(every_page_of_a_range_is_marked),
		EVERY_WAY(nothing_marks_nothing),
		EVERY_WAY(marks_are_added_to_what_is_there),
		EVERY_WAY(any_number_of_marks_is_kept),
		EVERY_WAY(marks_near_each_other_stay_apart),
		EVERY_WAY(a_very_long_range_is_marked),
		EVERY_WAY(a_bitmap_out_of_reach_is_an_error_once),
		EVERY_WAY(marks_in_reach_are_stored_beside_those_out_of_reach),
		cmocka_unit_test(the_window_is_checked_without_access),
	};

	return cmocka_run_group_tests_name("dirty log", tests, NULL, NULL);
}
