/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_reach.c tests when a device needs its owner's memory file: what the
 * calls have set, against what is mapped.
 */
#include "check.h"

#include <linux/virtio_config.h>

#include "abi.h"
#include "bytes.h"
#include "reach.h"

/* Two mappings that follow each other, and one alone. */
#define A UINT64_C(0x100000)
#define B UINT64_C(0x200000)
#define B_END UINT64_C(0x300000)
#define C UINT64_C(0x800000)
#define SIZE UINT64_C(0x100000)

static const struct owner_map maps[] = {
	{ .uva = A, .size = SIZE },
	{ .uva = B, .size = SIZE },
	{ .uva = C, .size = SIZE },
};

struct table {
	uint32_t nregions, padding; /* struct vhost_memory */
	struct vhost_memory_region r[2];
};

struct fixture {
	struct record r;
	struct table table;
};

static void keep(struct fixture *f, uint32_t cmd, uint32_t index,
		 const void *arg, size_t len)
{
	check_ret(record_set(&f->r, cmd, index, arg, len, -1), 0);
}

static void keep_number(struct fixture *f, uint32_t cmd, uint64_t n)
{
	keep(f, cmd, RECORD_NO_INDEX, &n, sizeof(n));
}

static void keep_ring(struct fixture *f, uint32_t num, uint64_t desc,
		      uint64_t avail, uint64_t used)
{
	struct vhost_vring_state s = { .index = 1, .num = num };
	struct vhost_vring_addr addr = { .index = 1,
					 .desc_user_addr = desc,
					 .avail_user_addr = avail,
					 .used_user_addr = used };

	keep(f, VHOST_SET_VRING_NUM, 1, &s, sizeof(s));
	keep(f, VHOST_SET_VRING_ADDR, 1, &addr, sizeof(addr));
}

static void keep_table(struct fixture *f, uint64_t uva, uint64_t size)
{
	f->table = (struct table){ .nregions = 2,
				   .r = { { .guest_phys_addr = 0,
					    .memory_size = SIZE,
					    .userspace_addr = C },
					  { .guest_phys_addr = SIZE,
					    .memory_size = size,
					    .userspace_addr = uva } } };
	keep(f, VHOST_SET_MEM_TABLE, RECORD_NO_INDEX, &f->table,
	     sizeof(f->table));
}

static struct reach reach_of(const struct fixture *f)
{
	struct reach reach;

	reach_of_record(&reach, &f->r);
	reach.map = maps;
	reach.nmaps = ARRAY_SIZE(maps);
	return reach;
}

static bool is_mapped(const struct fixture *f)
{
	struct reach reach = reach_of(f);

	return reach_is_mapped(&reach);
}

/* With one more call, which is not in the record. */
static bool is_mapped_after(const struct fixture *f, uint32_t cmd,
			    const void *arg, size_t len)
{
	const struct ioctl_call call = { .cmd = cmd, .in = arg, .in_len = len };
	struct reach reach = reach_of(f);

	assert_true(reach_matters(cmd));
	assert_true(reach_add(&reach, &call));
	return reach_is_mapped(&reach);
}

/* A pass that has not all of its argument yet. */
static bool adds_nothing(const struct fixture *f, uint32_t cmd, const void *arg,
			 size_t len)
{
	const struct ioctl_call call = { .cmd = cmd, .in = arg, .in_len = len };
	struct reach reach = reach_of(f), before = reach;

	return !reach_add(&reach, &call) &&
	       memcmp(&reach, &before, sizeof(reach)) == 0;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	record_init(&f->r);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	record_clear(&f->r);
	free(f);
	return 0;
}

/* ---- the table ---- */

static void without_a_table_nothing_is_reached(void **state)
{
	struct fixture *f = *state;

	assert_true(is_mapped(f));
	keep_number(f, VHOST_SET_FEATURES, BIT(VHOST_F_LOG_ALL));
	keep_number(f, VHOST_SET_LOG_BASE, 5);
	keep_ring(f, 256, 5, 5, 5);
	assert_true(is_mapped(f));
}

static void each_region_lies_within_one_mapping(void **state)
{
	static const struct {
		uint64_t uva, size;
		bool mapped;
	} regions[] = {
		{ A, SIZE, true },
		{ A + 1, SIZE - 1, true },
		{ B, SIZE, true },
		{ C + SIZE - 1, 1, true },
		{ A - 1, 2, false },
		{ A, SIZE + 1, false }, /* ends in the next mapping */
		{ A + SIZE - 1, 2, false },
		{ B_END, 1, false },
		{ B_END - 1, 2, false },
		{ 0, 1, false },
		{ C + SIZE, 1, false },
		{ UINT64_MAX, 1, false },
		{ A + 1, UINT64_MAX, true }, /* the device refuses the table */
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(regions); i++) {
		keep_table(f, regions[i].uva, regions[i].size);
		assert_int_equal(is_mapped(f), regions[i].mapped);
	}
	/* all addresses there are */
	f->table.r[1] = (struct vhost_memory_region){ .userspace_addr = A };
	keep(f, VHOST_SET_MEM_TABLE, RECORD_NO_INDEX, &f->table,
	     sizeof(f->table));
	assert_false(is_mapped(f));
}

static void a_table_that_is_about_to_be_set_counts(void **state)
{
	struct fixture *f = *state;
	struct table next;

	keep_table(f, A, SIZE);
	next = f->table;
	next.r[0].userspace_addr = B_END;
	assert_false(
		is_mapped_after(f, VHOST_SET_MEM_TABLE, &next, sizeof(next)));
	assert_true(
		adds_nothing(f, VHOST_SET_MEM_TABLE, &next, sizeof(next) - 1));
	assert_true(adds_nothing(f, VHOST_SET_MEM_TABLE, &next, 8));
	assert_true(adds_nothing(f, VHOST_SET_MEM_TABLE, &next, 7));
	assert_true(adds_nothing(f, VHOST_SET_MEM_TABLE, &next, 0));
	next.nregions = 0;
	assert_true(is_mapped_after(f, VHOST_SET_MEM_TABLE, &next, 8));
	keep_table(f, B_END, SIZE);
	assert_true(is_mapped_after(f, VHOST_SET_MEM_TABLE, &next, 8));
}

/* ---- rings ---- */

/* A ring of 256 entries: 4096, 518 and 2054 bytes, with event indexes. */
static void each_area_of_a_ring_is_mapped(void **state)
{
	const uint64_t desc = B_END - 4096, avail = B_END - 518,
		       used = B_END - 2054;
	struct fixture *f = *state;

	keep_table(f, A, SIZE);
	keep_ring(f, 256, desc, avail, used);
	assert_true(is_mapped(f));
	keep_ring(f, 256, desc + 1, avail, used);
	assert_false(is_mapped(f));
	keep_ring(f, 256, desc, avail + 1, used);
	assert_false(is_mapped(f));
	keep_ring(f, 256, desc, avail, used + 1);
	assert_false(is_mapped(f));
	keep_ring(f, 255, desc + 16, avail + 2, used + 8);
	assert_true(is_mapped(f));
}

static void a_packed_ring_has_small_areas(void **state)
{
	struct fixture *f = *state;

	keep_table(f, A, SIZE);
	keep_number(f, VHOST_SET_FEATURES, BIT(VIRTIO_F_RING_PACKED));
	keep_ring(f, 256, A, B_END - 4, B_END - 4);
	assert_true(is_mapped(f));
	keep_ring(f, 256, A, B_END - 4, B_END - 3);
	assert_false(is_mapped(f));
}

static void calls_for_a_ring_count_before_they_are_made(void **state)
{
	struct vhost_vring_state s = { .index = 1, .num = 512 };
	struct vhost_vring_addr addr = { .index = 0,
					 .desc_user_addr = A,
					 .avail_user_addr = A,
					 .used_user_addr = A };
	struct fixture *f = *state;

	keep_table(f, A, SIZE);
	keep_ring(f, 256, B_END - 4096, A, A);
	assert_false(is_mapped_after(f, VHOST_SET_VRING_NUM, &s, sizeof(s)));
	assert_true(adds_nothing(f, VHOST_SET_VRING_NUM, &s, sizeof(s) - 1));
	s.index = VDEV_VQS; /* the device refuses it */
	assert_true(is_mapped_after(f, VHOST_SET_VRING_NUM, &s, sizeof(s)));
	assert_true(
		is_mapped_after(f, VHOST_SET_VRING_ADDR, &addr, sizeof(addr)));
	addr.used_user_addr = 0x1000;
	assert_false(
		is_mapped_after(f, VHOST_SET_VRING_ADDR, &addr, sizeof(addr)));
	addr.index = VDEV_VQS;
	assert_true(
		is_mapped_after(f, VHOST_SET_VRING_ADDR, &addr, sizeof(addr)));
}

static void with_an_iotlb_the_rings_are_elsewhere(void **state)
{
	uint64_t features = BIT(VIRTIO_F_ACCESS_PLATFORM), none = 0;
	uint64_t array[] = { 1, features };
	struct fixture *f = *state;

	keep_table(f, A, SIZE);
	keep_ring(f, 256, 0x1000, 0x2000, 0x3000);
	assert_false(is_mapped(f));
	/* A change clears the addresses. */
	assert_true(is_mapped_after(f, VHOST_SET_FEATURES, &features, 8));
	assert_true(is_mapped_after(f, VHOST_SET_FEATURES_ARRAY, array, 16));
	assert_true(adds_nothing(f, VHOST_SET_FEATURES_ARRAY, array, 8));
	assert_true(adds_nothing(f, VHOST_GET_FEATURES, array, 16));
	keep_number(f, VHOST_SET_FEATURES, features);
	assert_true(is_mapped(f));
	assert_true(is_mapped_after(f, VHOST_SET_FEATURES, &none, 8));
}

/* ---- the log ---- */

/* Guest addresses end at 2 MiB: 64 bytes of log. */
static void the_log_is_mapped_if_it_is_used(void **state)
{
	uint64_t log_all = BIT(VHOST_F_LOG_ALL), end = B_END - 64;
	struct fixture *f = *state;

	keep_table(f, A, SIZE);
	keep_number(f, VHOST_SET_LOG_BASE, 0x1000);
	assert_true(is_mapped(f));
	assert_false(is_mapped_after(f, VHOST_SET_FEATURES, &log_all, 8));
	keep_number(f, VHOST_SET_FEATURES, log_all);
	assert_false(is_mapped(f));
	assert_true(is_mapped_after(f, VHOST_SET_LOG_BASE, &end, 8));
	end++;
	assert_false(is_mapped_after(f, VHOST_SET_LOG_BASE, &end, 8));
	record_drop(&f->r, VHOST_SET_LOG_BASE, RECORD_NO_INDEX);
	assert_true(is_mapped(f));
}

static void the_log_of_a_used_ring_is_mapped(void **state)
{
	struct vhost_vring_addr addr = { .index = 0,
					 .flags = BIT(VHOST_VRING_F_LOG),
					 .desc_user_addr = A,
					 .avail_user_addr = A,
					 .used_user_addr = A };
	struct fixture *f = *state;

	keep_table(f, A, SIZE);
	keep_number(f, VHOST_SET_LOG_BASE, B_END - 64);
	assert_true(
		is_mapped_after(f, VHOST_SET_VRING_ADDR, &addr, sizeof(addr)));
	addr.log_guest_addr = 2 * SIZE;
	assert_false(
		is_mapped_after(f, VHOST_SET_VRING_ADDR, &addr, sizeof(addr)));
	addr.log_guest_addr = UINT64_MAX;
	assert_false(
		is_mapped_after(f, VHOST_SET_VRING_ADDR, &addr, sizeof(addr)));
	addr.flags = 0;
	assert_true(
		is_mapped_after(f, VHOST_SET_VRING_ADDR, &addr, sizeof(addr)));
}

/* ---- the IOTLB ---- */

static bool update_is_mapped(uint64_t uaddr, uint64_t size)
{
	struct vhost_msg m = { .type = VHOST_IOTLB_MSG,
			       .iotlb = { .size = size,
					  .uaddr = uaddr,
					  .perm = VHOST_ACCESS_RW,
					  .type = VHOST_IOTLB_UPDATE } };
	struct vhost_msg_v2 m2 = { .type = VHOST_IOTLB_MSG_V2,
				   .iotlb = m.iotlb };
	bool mapped =
		reach_iotlb_is_mapped(maps, ARRAY_SIZE(maps), &m, sizeof(m));

	assert_int_equal(
		reach_iotlb_is_mapped(maps, ARRAY_SIZE(maps), &m2, sizeof(m2)),
		mapped);
	return mapped;
}

static void updates_of_the_iotlb_are_mapped(void **state)
{
	struct vhost_msg m = { .type = VHOST_IOTLB_MSG,
			       .iotlb = { .size = 1,
					  .type = VHOST_IOTLB_UPDATE } };

	(void)state;
	assert_true(update_is_mapped(A, SIZE));
	assert_true(update_is_mapped(B_END - 1, 1));
	assert_false(update_is_mapped(A, SIZE + 1));
	assert_false(update_is_mapped(B_END, 1));
	assert_false(update_is_mapped(UINT64_MAX, UINT64_MAX));
	assert_false(reach_iotlb_is_mapped(NULL, 0, &m, sizeof(m)));
	/* none of these adds something */
	assert_true(update_is_mapped(0, 0));
	assert_true(reach_iotlb_is_mapped(NULL, 0, &m, 32));
	assert_true(reach_iotlb_is_mapped(NULL, 0, &m, 0));
	m.iotlb.type = VHOST_IOTLB_INVALIDATE;
	assert_true(reach_iotlb_is_mapped(NULL, 0, &m, sizeof(m)));
	m.iotlb.type = VHOST_IOTLB_UPDATE;
	m.type = 7;
	assert_true(reach_iotlb_is_mapped(NULL, 0, &m, sizeof(m)));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_a_table_nothing_is_reached),
		TEST(each_region_lies_within_one_mapping),
		TEST(a_table_that_is_about_to_be_set_counts),
		TEST(each_area_of_a_ring_is_mapped),
		TEST(a_packed_ring_has_small_areas),
		TEST(calls_for_a_ring_count_before_they_are_made),
		TEST(with_an_iotlb_the_rings_are_elsewhere),
		TEST(the_log_is_mapped_if_it_is_used),
		TEST(the_log_of_a_used_ring_is_mapped),
		TEST(updates_of_the_iotlb_are_mapped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
