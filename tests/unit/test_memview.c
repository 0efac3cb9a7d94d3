/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_memview.c tests the translation of guest addresses, with mappings and
 * without.
 */
#include "check.h"

#include <stdlib.h>

#include "bytes.h"
#include "drv.h"
#include "memview.h"

struct fixture {
	struct arena arena;
	struct memview mv;
	struct seg seg[8];
	uint64_t miss;
};

static int setup_mode(void **state, enum arena_mode mode)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	arena_open(&f->arena, mode);
	f->mv.as = arena_aspace(&f->arena);
	f->mv.have_table = true;
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

	rangemap_free(&f->mv.table);
	rangemap_free(&f->mv.iotlb);
	aspace_free(f->mv.as);
	arena_close(&f->arena);
	free(f);
	return 0;
}

static void add(struct fixture *f, struct rangemap *m, uint64_t start,
		uint64_t size, uint64_t off, uint8_t perm)
{
	check_ret(rangemap_add(m, start, start + size - 1,
			       arena_uva(&f->arena, off), perm),
		  0);
	memview_bind(&f->mv);
}

static int translate(struct fixture *f, uint64_t addr, uint64_t len)
{
	f->miss = 0;
	return memview_translate(&f->mv, addr, len, RANGE_RO, f->seg,
				 ARRAY_SIZE(f->seg), &f->miss);
}

static void check_seg(struct fixture *f, unsigned int i, uint64_t addr,
		      uint64_t off, uint32_t len)
{
	assert_int_equal(f->seg[i].addr, addr);
	assert_int_equal(f->seg[i].uva, arena_uva(&f->arena, off));
	assert_int_equal(f->seg[i].len, len);
	if (f->arena.mode == MAPPED)
		assert_ptr_equal(f->seg[i].ptr,
				 aspace_ptr(f->mv.as, f->seg[i].uva, len));
	else
		assert_null(f->seg[i].ptr);
}

static void a_range_is_judged_with_its_length(void **state)
{
	struct fixture *f = *state;

	add(f, &f->mv.table, 0x1000, 0x1000, 0x5000, RANGE_RW);
	for (int i = 0; i < 2; i++) { /* the second time from the cache */
		check_ret(translate(f, 0x1000, 0x1000), 1);
		check_seg(f, 0, 0x1000, 0x5000, 0x1000);
		check_ret(translate(f, 0x1fff, 1), 1);
		check_seg(f, 0, 0x1fff, 0x5fff, 1);
		check_ret(translate(f, 0x1fff, 2), -EFAULT);
		assert_int_equal(f->miss, 0x2000);
		check_ret(translate(f, 0xfff, 2), -EFAULT);
		assert_int_equal(f->miss, 0xfff);
		check_ret(translate(f, 0x1000, 0x1001), -EFAULT);
		check_ret(translate(f, 0x1000, UINT64_MAX), -EFAULT);
		check_ret(translate(f, UINT64_MAX, 2), -EFAULT);
		check_ret(translate(f, 0x1800, 1), 1);
	}
}

static void nothing_is_cut_into_nothing(void **state)
{
	struct fixture *f = *state;

	check_ret(translate(f, 0xdead, 0), 0);
	add(f, &f->mv.table, 0x1000, 0x1000, 0x5000, RANGE_RW);
	check_ret(translate(f, 0x1000, 1), 1);
	check_ret(translate(f, 0x1000, 0), 0);
}

static void neighbours_are_cut(void **state)
{
	struct fixture *f = *state;

	add(f, &f->mv.table, 0x1000, 0x1000, 0x5000, RANGE_RW);
	add(f, &f->mv.table, 0x2000, 0x1000, 0x1000, RANGE_RW);
	add(f, &f->mv.table, 0x3000, 0x1000, 0x9000, RANGE_RW);
	check_ret(translate(f, 0x1ff0, 0x1020), 3);
	check_seg(f, 0, 0x1ff0, 0x5ff0, 0x10);
	check_seg(f, 1, 0x2000, 0x1000, 0x1000);
	check_seg(f, 2, 0x3000, 0x9000, 0x10);
	check_ret(memview_translate(&f->mv, 0x1ff0, 0x1020, RANGE_RO, f->seg, 2,
				    &f->miss),
		  -ENOBUFS);
	check_ret(memview_translate(&f->mv, 0x1ff0, 1, RANGE_RO, f->seg, 0,
				    &f->miss),
		  -ENOBUFS);
}

static void the_last_address_of_all_can_be_used(void **state)
{
	struct fixture *f = *state;

	add(f, &f->mv.table, UINT64_MAX - 0xfff, 0x1000, 0x5000, RANGE_RW);
	for (int i = 0; i < 2; i++) {
		check_ret(translate(f, UINT64_MAX, 1), 1);
		check_seg(f, 0, UINT64_MAX, 0x5fff, 1);
		check_ret(translate(f, UINT64_MAX, 2), -EFAULT);
	}
}

static void a_lower_start_hides_what_it_overlaps(void **state)
{
	struct fixture *f = *state;

	add(f, &f->mv.table, 0x1800, 0x1000, 0x9000, RANGE_RW);
	check_ret(translate(f, 0x1900, 1), 1);
	check_seg(f, 0, 0x1900, 0x9100, 1);
	add(f, &f->mv.table, 0x1000, 0x1000, 0x5000, RANGE_RW);
	for (int i = 0; i < 2; i++) {
		check_ret(translate(f, 0x2100, 1), 1); /* for the cache */
		check_seg(f, 0, 0x2100, 0x9900, 1);
		check_ret(translate(f, 0x1900, 1), 1);
		check_seg(f, 0, 0x1900, 0x5900, 1);
		check_ret(translate(f, 0x1ff0, 0x20), 2);
		check_seg(f, 1, 0x2000, 0x9800, 0x10);
	}
}

static void permissions_are_needed_under_an_iotlb(void **state)
{
	struct fixture *f = *state;

	f->mv.have_iotlb = true;
	add(f, &f->mv.iotlb, 0x1000, 0x1000, 0x5000, RANGE_RO);
	add(f, &f->mv.iotlb, 0x2000, 0x1000, 0x6000, RANGE_WO);
	for (int i = 0; i < 2; i++) {
		check_ret(memview_translate(&f->mv, 0x1000, 1, RANGE_RO, f->seg,
					    1, &f->miss),
			  1);
		check_ret(memview_translate(&f->mv, 0x1000, 1, RANGE_WO, f->seg,
					    1, &f->miss),
			  -EPERM);
		check_ret(memview_translate(&f->mv, 0x2000, 1, RANGE_WO, f->seg,
					    1, &f->miss),
			  1);
		check_ret(memview_translate(&f->mv, 0x1fff, 2, RANGE_RO, f->seg,
					    2, &f->miss),
			  -EPERM);
	}
}

static void a_hole_in_the_iotlb_is_a_miss_and_in_the_table_a_fault(void **state)
{
	struct fixture *f = *state;

	add(f, &f->mv.table, 0x1000, 0x1000, 0x5000, RANGE_RW);
	check_ret(translate(f, 0x1ff0, 0x20), -EFAULT);
	f->mv.have_iotlb = true;
	f->mv.hit = NULL;
	check_ret(translate(f, 0x1000, 1), -EAGAIN);
	assert_int_equal(f->miss, 0x1000);
	add(f, &f->mv.iotlb, 0x1000, 0x1000, 0x5000, RANGE_RW);
	check_ret(translate(f, 0x1ff0, 0x20), -EAGAIN);
	assert_int_equal(f->miss, 0x2000);
}

static void a_range_across_two_mappings_is_used_piece_by_piece(void **state)
{
	struct fixture *f = *state;

	/* the arena's mappings meet at RINGS_SIZE */
	add(f, &f->mv.table, 0x1000, 0x2000, RINGS_SIZE - 0x1000, RANGE_RW);
	check_ret(translate(f, 0x1ff0, 0x10), 1);
	check_seg(f, 0, 0x1ff0, RINGS_SIZE - 0x10, 0x10);
	check_ret(translate(f, 0x2000, 0x10), 1);
	check_seg(f, 0, 0x2000, RINGS_SIZE, 0x10);
	check_ret(translate(f, 0x1ff0, 0x20), 1);
	assert_null(f->seg[0].ptr); /* no pointer for both: to be copied */
}

static void the_table_is_checked_without_access(void **state)
{
	struct fixture *f = *state;
	uint64_t limit = aspace_limit();

	assert_true(memview_table_ok(&f->mv));
	check_ret(
		rangemap_add(&f->mv.table, 0, 0xfff, limit - 0x1000, RANGE_RW),
		0);
	assert_true(memview_table_ok(&f->mv));
	check_ret(rangemap_add(&f->mv.table, 0x1000, 0x1fff, limit - 0xfff,
			       RANGE_RW),
		  0);
	assert_false(memview_table_ok(&f->mv));
}

struct aliases {
	unsigned int n;
	uint64_t gpa[4], len[4];
};

static void on_alias(void *ctx, uint64_t gpa, uint64_t len)
{
	struct aliases *a = ctx;

	assert_in_range(a->n, 0, 3);
	a->gpa[a->n] = gpa;
	a->len[a->n++] = len;
}

static void all_aliases_of_an_owners_range_are_found(void **state)
{
	struct fixture *f = *state;
	struct aliases a = { 0 };

	add(f, &f->mv.table, 0x1000, 0x1000, 0x5000, RANGE_RW);
	add(f, &f->mv.table, 0x9000, 0x3000, 0x4000, RANGE_RW);
	memview_gpa_of(&f->mv, arena_uva(&f->arena, 0x5ff0), 0x20, on_alias,
		       &a);
	assert_int_equal(a.n, 2);
	assert_int_equal(a.gpa[0], 0x1ff0);
	assert_int_equal(a.len[0], 0x10);
	assert_int_equal(a.gpa[1], 0xaff0);
	assert_int_equal(a.len[1], 0x20);
	a.n = 0;
	memview_gpa_of(&f->mv, arena_uva(&f->arena, 0x5ff0), 0, on_alias, &a);
	memview_gpa_of(&f->mv, arena_uva(&f->arena, 0x3fff), 1, on_alias, &a);
	memview_gpa_of(&f->mv, arena_uva(&f->arena, 0x7000), 1, on_alias, &a);
	assert_int_equal(a.n, 0);
}

/* ---- against a model ---- */

static uint32_t seed;

static uint32_t rnd(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(seed >> 8) * below >> 24);
}

struct naive {
	size_t n;
	struct {
		uint64_t start, last, uva;
		uint8_t perm;
	} r[16];
};

/* Byte by byte: the owner's address of @addr, if asked for up to @last. */
static int naive_byte(const struct naive *m, uint64_t addr, uint64_t last,
		      uint8_t perm, uint64_t *uva, uint64_t *until)
{
	size_t best = m->n;

	for (size_t i = 0; i < m->n; i++)
		if (m->r[i].last >= addr && m->r[i].start <= last &&
		    (best == m->n || m->r[i].start < m->r[best].start))
			best = i;
	if (best == m->n || m->r[best].start > addr)
		return -EAGAIN;
	if (!(m->r[best].perm & perm))
		return -EPERM;
	*uva = m->r[best].uva + (addr - m->r[best].start);
	*until = MIN(last, m->r[best].last);
	return 0;
}

static void random_addresses_match_the_model(void **state)
{
	struct fixture *f = *state;

	seed = 3;
	f->mv.have_iotlb = true;
	for (int round = 0; round < 300; round++) {
		struct naive m = { .n = rnd(16) };

		rangemap_clear(&f->mv.iotlb);
		for (size_t i = 0; i < m.n; i++) {
			m.r[i].start = rnd(200);
			m.r[i].last = m.r[i].start + rnd(round % 60 + 1);
			m.r[i].uva =
				arena_uva(&f->arena, rnd(ARENA_SIZE - 300));
			m.r[i].perm = (uint8_t)(1 + rnd(3));
			check_ret(rangemap_add(&f->mv.iotlb, m.r[i].start,
					       m.r[i].last, m.r[i].uva,
					       m.r[i].perm),
				  0);
		}
		memview_bind(&f->mv);
		for (int k = 0; k < 200; k++) {
			uint64_t addr = rnd(220), len = 1 + rnd(60), at = addr;
			uint8_t perm = rnd(2) ? RANGE_RO : RANGE_WO;
			struct seg seg[64];
			uint64_t uva, until;
			int n = memview_translate(&f->mv, addr, len, perm, seg,
						  64, &f->miss);
			int ret = 0;

			for (int i = 0; at < addr + len; at = until + 1, i++) {
				ret = naive_byte(&m, at, addr + len - 1, perm,
						 &uva, &until);
				if (ret < 0)
					break;
				if (n < 0)
					continue;
				assert_in_range(i, 0, n - 1);
				assert_int_equal(seg[i].uva, uva);
				assert_int_equal(seg[i].addr, at);
				assert_int_equal(seg[i].len, until - at + 1);
			}
			check_ret(MIN(n, 0), ret);
			if (ret == -EAGAIN)
				assert_int_equal(f->miss, at);
		}
	}
}

#define EVERY_WAY(name)                                               \
	{ #name " [mapped]", name, setup_mapped, teardown, NULL },    \
	{                                                             \
		#name " [copied]", name, setup_copied, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		EVERY_WAY(a_range_is_judged_with_its_length),
		EVERY_WAY(nothing_is_cut_into_nothing),
		EVERY_WAY(neighbours_are_cut),
		EVERY_WAY(the_last_address_of_all_can_be_used),
		EVERY_WAY(a_lower_start_hides_what_it_overlaps),
		EVERY_WAY(permissions_are_needed_under_an_iotlb),
		EVERY_WAY(
			a_hole_in_the_iotlb_is_a_miss_and_in_the_table_a_fault),
		EVERY_WAY(a_range_across_two_mappings_is_used_piece_by_piece),
		EVERY_WAY(the_table_is_checked_without_access),
		EVERY_WAY(all_aliases_of_an_owners_range_are_found),
		EVERY_WAY(random_addresses_match_the_model),
	};

	return cmocka_run_group_tests_name("memview", tests, NULL, NULL);
}
