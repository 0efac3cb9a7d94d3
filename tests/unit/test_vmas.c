/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_vmas.c tests the parser of /proc/PID/maps: what can be mapped, and what
 * must not be copied.
 */
#include "check.h"

#include "bytes.h"
#include "vmas.h"

#define MAX_FOUND 4

struct found {
	struct vma vma[MAX_FOUND];
	struct aspace_bar bar[MAX_FOUND];
	struct vma_list vmas;
	struct bar_list bars;
};

/* Of @text, with the addresses from 0x1000 to 0x9000 wanted. */
static void collect(struct found *f, const char *text)
{
	static const struct span span = { 0x1000, 0x9000 };
	FILE *maps = fmemopen((void *)(uintptr_t)text, strlen(text), "r");

	assert_non_null(maps);
	f->vmas = (struct vma_list){ f->vma, 99, MAX_FOUND };
	f->bars = (struct bar_list){ f->bar, 99, MAX_FOUND };
	vmas_collect(maps, &span, 1, &f->vmas, &f->bars);
	fclose(maps);
}

static void check_bar(const struct found *f, size_t i, uint64_t start,
		      uint64_t end, bool no_read, bool no_write)
{
	assert_true(i < f->bars.n);
	assert_int_equal(f->bar[i].start, start);
	assert_int_equal(f->bar[i].end, end);
	assert_int_equal(f->bar[i].no_read, no_read);
	assert_int_equal(f->bar[i].no_write, no_write);
}

static void only_shared_writable_files_are_mapped(void **state)
{
	struct found f;

	(void)state;
	collect(&f, "1000-2000 rw-s 00003000 00:01 7 /memfd:ram (deleted)\n"
		    "2000-3000 rw-p 00000000 00:01 7 /memfd:ram (deleted)\n"
		    "3000-4000 r--s 00000000 00:01 7 /memfd:ram (deleted)\n"
		    "4000-5000 -w-s 00000000 00:01 7 /memfd:ram (deleted)\n"
		    "5000-6000 rw-s 00000000 00:00 0 \n"
		    "9000-a000 rw-s 00000000 00:01 8 /outside\n");
	assert_int_equal(f.vmas.n, 1);
	assert_int_equal(f.vma[0].start, 0x1000);
	assert_int_equal(f.vma[0].end, 0x2000);
	assert_int_equal(f.vma[0].off, 0x3000);
	assert_int_equal(f.vma[0].ino, 7);
}

static void what_the_process_cannot_do_itself_is_barred(void **state)
{
	struct found f;

	(void)state;
	collect(&f, "1000-2000 rw-p 00000000 00:00 0 \n"
		    "2000-3000 r--p 00000000 00:00 0 [rom]\n"
		    "3000-4000 ---p 00000000 00:00 0 \n"
		    "5000-6000 -w-p 00000000 00:00 0 \n"
		    "9000-a000 r-xp 00000000 08:01 9 /outside\n");
	assert_int_equal(f.bars.n, 4);
	check_bar(&f, 0, 0x2000, 0x3000, false, true);
	check_bar(&f, 1, 0x3000, 0x4000, true, true);
	check_bar(&f, 2, 0x5000, 0x6000, true, false);
	check_bar(&f, 3, 0x9000, 0xa000, false, true);
}

static void bars_that_touch_are_one(void **state)
{
	struct found f;

	(void)state;
	collect(&f, "1000-2000 ---p 00000000 00:00 0 \n"
		    "2000-3000 ---p 00000000 08:01 9 /file\n"
		    "3000-4000 --xp 00000000 08:01 9 /file\n"
		    "5000-6000 ---p 00000000 00:00 0 \n");
	assert_int_equal(f.bars.n, 2);
	check_bar(&f, 0, 0x1000, 0x4000, true, true);
	check_bar(&f, 1, 0x5000, 0x6000, true, true);
}

/* The process maps and unmaps while the file is read. */
static void bars_are_sorted_and_disjoint_whatever_maps_says(void **state)
{
	struct found f;

	(void)state;
	collect(&f, "3000-5000 r--p 00000000 00:00 0 \n"
		    "1000-2000 ---p 00000000 00:00 0 \n"
		    "4000-6000 ---p 00000000 00:00 0 \n"
		    "4000-6000 r--p 00000000 00:00 0 \n"
		    "nonsense\n"
		    "7000-7000 ---p 00000000 00:00 0 \n"
		    "ffffffffff600000-ffffffffff601000 --xp 0 00:00 0 [v]\n");
	assert_int_equal(f.bars.n, 3);
	check_bar(&f, 0, 0x3000, 0x5000, false, true);
	check_bar(&f, 1, 0x5000, 0x6000, true, true);
	check_bar(&f, 2, 0xffffffffff600000, 0xffffffffff601000, true, true);
}

static void more_than_there_is_room_for_is_left_out(void **state)
{
	char text[1024] = "";
	struct found f;

	(void)state;
	for (unsigned int i = 1; i < 8; i++) {
		size_t at = strlen(text);

		snprintf(text + at, sizeof(text) - at,
			 "%u000-%u400 rw-s 0 00:01 7 f\n"
			 "%u800-%u900 ---p 0 00:00 0 \n",
			 i, i, i, i);
	}
	collect(&f, text);
	assert_int_equal(f.vmas.n, MAX_FOUND);
	assert_int_equal(f.bars.n, MAX_FOUND);
	check_bar(&f, 3, 0x4800, 0x4900, true, true);
}

/* Neighbours were merged while maps was read. */
static void what_overlaps_is_left_out(void **state)
{
	struct found f;

	(void)state;
	collect(&f, "1000-2000 rw-s 00000000 00:01 7 ram\n"
		    "1000-3000 rw-s 00000000 00:01 7 ram\n"
		    "3000-4000 rw-s 00002000 00:01 7 ram\n");
	assert_int_equal(f.vmas.n, 2);
	assert_int_equal(f.vma[0].end, 0x2000);
	assert_int_equal(f.vma[1].start, 0x3000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_shared_writable_files_are_mapped),
		cmocka_unit_test(what_the_process_cannot_do_itself_is_barred),
		cmocka_unit_test(bars_that_touch_are_one),
		cmocka_unit_test(
			bars_are_sorted_and_disjoint_whatever_maps_says),
		cmocka_unit_test(more_than_there_is_room_for_is_left_out),
		cmocka_unit_test(what_overlaps_is_left_out),
	};

	return cmocka_run_group_tests_name("vmas", tests, NULL, NULL);
}
