/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The split ring, device side. Every test runs in four ways: all memory mapped,
 * all copied, and each half mapped with the other copied.
 */
#include "check.h"

#include <endian.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/virtio_config.h>

#include "vqfix.h"

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT
#define EVENT_IDX BIT(VIRTIO_RING_F_EVENT_IDX)
#define DESC sizeof(struct vring_desc)
#define TABLE (GPA_C + 0x1000) /* where tests put indirect tables */

/* A ring of @num entries whose indexes start at @idx. */
static void start_at(struct vqfix *f, uint32_t num, uint64_t features,
		     uint16_t idx)
{
	drv_init(&f->d, &f->arena, 0, num);
	drv_index(&f->d, idx);
	f->vq.num = num;
	f->vq.addr = drv_addr(&f->d, 0);
	f->vq.features = features;
	f->vq.call_fd = f->call;
	f->vq.err_fd = f->err;
	f->vq.last_avail_idx = idx;
	check_ret(virtq_start(&f->vq), 0);
}

static void start(struct vqfix *f, uint32_t num, uint64_t features)
{
	start_at(f, num, features, 0);
}

/* And nothing is used. */
static void check_stuck(struct vqfix *f, int ret, unsigned int bumps)
{
	vqfix_check_stuck(f, ret, bumps);
	assert_int_equal(drv_used_idx(&f->d), 0);
}

static void push(struct vqfix *f, uint32_t id, uint32_t len)
{
	struct virtq_used e = { len, (uint16_t)id, 1, 1 };

	check_ret(virtq_push(&f->vq, &e, 1), 0);
}

/* ---- taking chains ---- */

static void an_empty_ring_gives_nothing(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	check_ret(vqfix_fetch(f), 0);
	check_ret(virtq_avail_count(&f->vq), 0);
	vqfix_no_error(f);
}

static void a_chain_comes_with_its_pieces_in_order(void **state)
{
	struct vqfix *f = *state;
	struct chain *c = f->batch.chain;

	start(f, 8, 0);
	drv_desc(&f->d.desc[3], GPA_A, 10, NEXT, 5);
	drv_desc(&f->d.desc[5], GPA_C + 7, 1500, NEXT, 0);
	drv_desc(&f->d.desc[0], GPA_B, 12, NEXT | WRITE, 7);
	drv_desc(&f->d.desc[7], GPA_B + 100, 64, WRITE, 0);
	drv_add(&f->d, 3);
	drv_publish(&f->d);

	check_ret(virtq_avail_count(&f->vq), 1);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.n, 1);
	assert_int_equal(f->batch.nsegs, 4);
	assert_int_equal(c->id, 3);
	assert_int_equal(c->nout, 2);
	assert_int_equal(c->nin, 2);
	assert_int_equal(c->out_len, 1510);
	assert_int_equal(c->in_len, 76);
	vqfix_check_seg(f, &f->batch.seg[c->seg], GPA_A, 10);
	vqfix_check_seg(f, &f->batch.seg[c->seg + 1], GPA_C + 7, 1500);
	vqfix_check_seg(f, &f->batch.seg[c->seg + 2], GPA_B, 12);
	vqfix_check_seg(f, &f->batch.seg[c->seg + 3], GPA_B + 100, 64);
	check_ret(vqfix_fetch(f), 0);
	vqfix_no_error(f);
}

static void no_more_chains_are_taken_than_asked_for(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	for (uint16_t i = 0; i < 5; i++)
		drv_offer(&f->d, i, GPA_A, 1, 0);
	check_ret(virtq_fetch(&f->vq, &f->batch, 2), 2);
	check_ret(virtq_avail_count(&f->vq), 3);
	check_ret(virtq_fetch(&f->vq, &f->batch, 2), 2);
	assert_int_equal(f->batch.chain[1].id, 3);
	check_ret(virtq_fetch(&f->vq, &f->batch, 2), 1);
	assert_int_equal(f->batch.chain[0].id, 4);
}

static void rewound_chains_come_again(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	for (uint16_t i = 0; i < 4; i++)
		drv_offer(&f->d, i, GPA_A, 1, 0);
	check_ret(vqfix_fetch(f), 4);
	virtq_rewind(&f->vq, &f->batch, 3);
	check_ret(vqfix_fetch(f), 3);
	assert_int_equal(f->batch.chain[0].id, 1);
}

static void chains_are_judged_as_they_are_when_they_come_again(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	drv_offer(&f->d, 1, GPA_A, 1, 0);
	check_ret(vqfix_fetch(f), 1);
	virtq_rewind(&f->vq, &f->batch, 1);
	drv_desc(&f->d.desc[1], GPA_C, 2, WRITE, 0);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].nin, 1);
	vqfix_check_seg(f, &f->batch.seg[0], GPA_C, 2);
}

/* Every size, its indexes going past 65536 and round the ring. */
static void a_ring_of_any_size_wraps(void **state)
{
	struct vqfix *f = *state;

	for (uint32_t num = 1; num <= VIRTQ_MAX_NUM; num *= 2) {
		uint32_t total = MAX(3 * num, 20), done = 0;
		uint16_t at = (uint16_t)(65536 - total / 2);

		start_at(f, num, EVENT_IDX, at);
		while (done < total) {
			int n;

			for (uint32_t i = 0; i < num; i++) {
				uint16_t slot = (uint16_t)(num - 1 - i);

				drv_desc(&f->d.desc[slot], GPA_A + slot, 1 + i,
					 WRITE, 0);
				drv_add(&f->d, slot);
			}
			drv_publish(&f->d);
			for (uint32_t i = 0; i < num; i += (uint32_t)n) {
				n = check_ok(vqfix_fetch(f));
				assert_int_equal(n,
						 MIN(num, VIRTQ_BATCH_CHAINS));
				for (int k = 0; k < n; k++) {
					const struct chain *c =
						&f->batch.chain[k];

					assert_int_equal(c->id,
							 num - 1 - i - k);
					assert_int_equal(c->in_len, 1 + i + k);
					push(f, c->id, 7);
				}
			}
			for (uint32_t i = 0; i < num; i++)
				assert_int_equal(drv_reap(&f->d).id,
						 num - 1 - i);
			done += num;
		}
		check_ret(vqfix_fetch(f), 0);
		assert_int_equal(f->vq.last_avail_idx, f->d.next);
		assert_int_equal(drv_used_idx(&f->d), f->d.next);
		vqfix_no_error(f);
	}
}

static void zero_length_buffers_contribute_nothing(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	drv_desc(&f->d.desc[0], 0xdead, 0, NEXT, 1); /* wherever it points */
	drv_desc(&f->d.desc[1], GPA_A, 5, NEXT, 2);
	drv_desc(&f->d.desc[2], ~0ull, 0, WRITE, 0);
	drv_add(&f->d, 0);
	drv_publish(&f->d);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].nout, 1);
	assert_int_equal(f->batch.chain[0].nin, 0);
	assert_int_equal(f->batch.chain[0].out_len, 5);
	vqfix_no_error(f);
}

static void unknown_descriptor_flags_are_ignored(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	drv_offer(&f->d, 0, GPA_A, 5, 0xfff8);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].nout, 1);
	vqfix_no_error(f);
}

/* ---- addresses ---- */

static void the_last_byte_of_a_region_can_be_used(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	drv_offer(&f->d, 0, GPA_C + RAM_SIZE - 1, 1, WRITE);
	drv_offer(&f->d, 1, GPA_C, RAM_SIZE, WRITE);
	check_ret(vqfix_fetch(f), 2);
	vqfix_no_error(f);
}

static void one_byte_past_a_region_is_stuck(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	drv_offer(&f->d, 0, GPA_C + RAM_SIZE - 1, 2, WRITE);
	check_stuck(f, -EFAULT, 1);
}

static void a_buffer_before_a_region_is_stuck(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	drv_offer(&f->d, 0, GPA_A - 1, 2, 0);
	check_stuck(f, -EFAULT, 1);
}

static void a_buffer_in_no_region_is_stuck(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	drv_offer(&f->d, 0, GPA_B_END, 1, 0);
	check_stuck(f, -EFAULT, 1);
}

static void a_buffer_that_wraps_around_is_stuck(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	drv_offer(&f->d, 0, UINT64_MAX - 10, 100, 0);
	check_stuck(f, -EFAULT, 1);
}

static void a_buffer_across_neighbouring_regions_is_cut(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	drv_offer(&f->d, 0, GPA_B - 10, 30, 0);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].nout, 2);
	assert_int_equal(f->batch.chain[0].out_len, 30);
	vqfix_check_seg(f, &f->batch.seg[0], GPA_B - 10, 10);
	vqfix_check_seg(f, &f->batch.seg[1], GPA_B, 20);
	vqfix_no_error(f);
}

static void a_buffer_of_four_gigabytes_is_stuck(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	drv_offer(&f->d, 0, GPA_A, UINT32_MAX, 0);
	check_stuck(f, -EFAULT, 1);
}

/* ---- what is wrong with a chain ---- */

static void a_head_past_the_ring_is_stuck(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	drv_add(&f->d, 8);
	drv_publish(&f->d);
	check_stuck(f, -EINVAL, 1);
}

static void the_greatest_head_is_stuck(void **state)
{
	struct vqfix *f = *state;

	start(f, VIRTQ_MAX_NUM, 0);
	drv_add(&f->d, 0xffff);
	drv_publish(&f->d);
	check_stuck(f, -EINVAL, 1);
}

static void a_next_past_the_ring_is_stuck(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	drv_desc(&f->d.desc[0], GPA_A, 1, NEXT, 8);
	drv_add(&f->d, 0);
	drv_publish(&f->d);
	check_stuck(f, -EINVAL, 1);
}

static void a_chain_as_long_as_the_ring_is_taken(void **state)
{
	struct vqfix *f = *state;

	start(f, 1024, 0);
	for (uint16_t i = 0; i < 1024; i++)
		drv_desc(&f->d.desc[i], GPA_A, 1, i < 1023 ? NEXT : 0, i + 1);
	drv_add(&f->d, 0);
	drv_publish(&f->d);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].nout, 1024);
	vqfix_no_error(f);
}

static void a_loop_of_descriptors_is_stuck(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	for (uint16_t i = 0; i < 8; i++)
		drv_desc(&f->d.desc[i], GPA_A, 1, NEXT, (i + 1) & 7);
	drv_add(&f->d, 0);
	drv_publish(&f->d);
	check_stuck(f, -EINVAL, 1);
}

static void a_readable_buffer_behind_a_writable_one_is_stuck(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	drv_desc(&f->d.desc[0], GPA_A, 1, NEXT | WRITE, 1);
	drv_desc(&f->d.desc[1], GPA_A, 1, 0, 0);
	drv_add(&f->d, 0);
	drv_publish(&f->d);
	check_stuck(f, -EINVAL, 1);
}

static void direct_chain(struct vqfix *f, unsigned int n)
{
	start(f, 2048, 0);
	for (uint16_t i = 0; i < n; i++)
		drv_desc(&f->d.desc[i], GPA_A + i, 1, i + 1u < n ? NEXT : 0,
			 i + 1);
	drv_add(&f->d, 0);
	drv_publish(&f->d);
}

static void a_chain_of_1024_pieces_is_taken(void **state)
{
	struct vqfix *f = *state;

	direct_chain(f, 1024);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].nout, 1024);
	vqfix_no_error(f);
}

static void a_chain_of_1025_pieces_is_stuck(void **state)
{
	struct vqfix *f = *state;

	direct_chain(f, 1025);
	check_stuck(f, -ENOBUFS, 1);
}

/* 1023 descriptors, then one across two regions: two pieces. */
static void pieces_are_counted_and_not_descriptors(void **state)
{
	struct vqfix *f = *state;

	direct_chain(f, 1024);
	drv_desc(&f->d.desc[1023], GPA_B - 1, 2, 0, 0);
	check_stuck(f, -ENOBUFS, 1);
}

static void a_mended_chain_is_taken(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	drv_offer(&f->d, 0, GPA_B_END, 1, 0);
	check_stuck(f, -EFAULT, 1);
	drv_desc(&f->d.desc[0], GPA_A, 1, 0, 0);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(event_take(f->err), 0);
}

static void a_bad_chain_is_not_reported_before_those_ahead_of_it(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	drv_offer(&f->d, 0, GPA_A, 1, 0);
	drv_offer(&f->d, 1, GPA_A, 1, 0);
	drv_offer(&f->d, 2, GPA_B_END, 1, 0);
	drv_offer(&f->d, 3, GPA_A, 1, 0);
	check_ret(vqfix_fetch(f), 2);
	vqfix_no_error(f);
	check_stuck(f, -EFAULT, 1);
}

static void a_fault_is_logged_once_and_counted_every_time(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	drv_offer(&f->d, 0, GPA_B_END, 1, 0);
	for (int i = 0; i < 3; i++)
		check_ret(vqfix_fetch(f), -EFAULT);
	assert_int_equal(f->vq.counters.errors, 3);
	assert_true(f->vq.error_logged);
}

static void without_an_error_descriptor_faults_are_only_counted(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	f->vq.err_fd = -1;
	drv_offer(&f->d, 0, GPA_B_END, 1, 0);
	check_ret(vqfix_fetch(f), -EFAULT);
	assert_int_equal(f->vq.counters.errors, 1);
}

/* ---- the available index ---- */

static void an_index_a_ring_ahead_is_believed(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	for (uint16_t i = 0; i < 8; i++)
		drv_offer(&f->d, i, GPA_A, 1, 0);
	check_ret(vqfix_fetch(f), 8);
	vqfix_no_error(f);
}

static void an_index_further_ahead_is_stuck_until_it_is_sane(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	drv_desc(&f->d.desc[0], GPA_A, 1, 0, 0);
	f->d.next = 9;
	drv_publish(&f->d);
	check_stuck(f, -EINVAL, 1);
	f->d.next = 1;
	drv_publish(&f->d);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(event_take(f->err), 0);
}

static void an_index_that_goes_back_is_stuck(void **state)
{
	struct vqfix *f = *state;

	start_at(f, 8, 0, 0);
	f->d.next = (uint16_t)-1;
	drv_publish(&f->d);
	check_stuck(f, -EINVAL, 1);
}

static void the_index_is_looked_at_only_when_chains_run_out(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	drv_offer(&f->d, 0, GPA_A, 1, 0);
	drv_offer(&f->d, 1, GPA_A, 1, 0);
	check_ret(virtq_fetch(&f->vq, &f->batch, 1), 1);
	f->d.next = 1000; /* nonsense, but nobody has to know yet */
	drv_publish(&f->d);
	check_ret(virtq_fetch(&f->vq, &f->batch, 1), 1);
	vqfix_no_error(f);
	check_stuck(f, -EINVAL, 1);
}

/* ---- indirect tables ---- */

static struct vring_desc *table_at(struct vqfix *f, uint64_t gpa)
{
	return (struct vring_desc *)arena_ram(&f->arena, gpa);
}

/* @n descriptors of a byte each, as a table at @gpa (one region). */
static void fill_table(struct vqfix *f, uint64_t gpa, unsigned int n)
{
	struct vring_desc d;

	for (unsigned int i = 0; i < n; i++) {
		drv_desc(&d, GPA_A + i, 1, i + 1 < n ? NEXT : 0,
			 (uint16_t)(i + 1));
		memcpy(arena_ram(&f->arena, gpa) + i * DESC, &d, sizeof(d));
	}
}

static void offer_table(struct vqfix *f, uint64_t gpa, uint32_t len)
{
	start(f, 8, 0);
	drv_offer(&f->d, 2, gpa, len, INDIRECT);
}

static void an_indirect_table_is_followed(void **state)
{
	static const unsigned int sizes[] = { 1,   2,   3,    63,  64,
					      65,  127, 128,  129, 200,
					      512, 513, 1023, 1024 };
	struct vqfix *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		fill_table(f, TABLE, sizes[i]);
		offer_table(f, TABLE, (uint32_t)(sizes[i] * DESC));
		vqfix_check_bytes(f, sizes[i]);
	}
}

/* Round and round by a step that has no divisor in common with the size. */
static void an_indirect_table_need_not_be_in_order(void **state)
{
	struct vqfix *f = *state;
	unsigned int n = 200, step = 77, at = 0;

	for (unsigned int i = 0; i < n; i++) {
		unsigned int next = (at + step) % n;

		drv_desc(&table_at(f, TABLE)[at], GPA_A + i, 1,
			 i + 1 < n ? NEXT : 0, (uint16_t)next);
		at = next;
	}
	offer_table(f, TABLE, n * DESC);
	vqfix_check_bytes(f, n);
}

static void an_indirect_table_may_lie_across_regions(void **state)
{
	struct vqfix *f = *state;

	for (uint32_t before = 8; before < 100 * DESC; before += 8 * 23) {
		uint64_t at = GPA_B - before;
		struct vring_desc d;

		for (unsigned int i = 0; i < 100; i++) {
			drv_desc(&d, GPA_A + i, 1, i < 99 ? NEXT : 0,
				 (uint16_t)(i + 1));
			for (size_t k = 0; k < DESC; k++)
				*arena_ram(&f->arena, at + i * DESC + k) =
					((uint8_t *)&d)[k];
		}
		offer_table(f, at, 100 * DESC);
		vqfix_check_bytes(f, 100);
	}
}

static void an_indirect_table_may_be_misaligned(void **state)
{
	struct vqfix *f = *state;

	for (uint64_t off = 1; off < 16; off++) {
		fill_table(f, TABLE + off, 100);
		offer_table(f, TABLE + off, 100 * DESC);
		vqfix_check_bytes(f, 100);
	}
}

static void entries_behind_the_end_of_a_chain_do_not_matter(void **state)
{
	struct vqfix *f = *state;

	fill_table(f, TABLE, 3);
	drv_desc(&table_at(f, TABLE)[3], 0, 1, INDIRECT, 0);
	offer_table(f, TABLE, 4 * DESC);
	vqfix_check_bytes(f, 3);
}

static void a_table_of_65536_is_the_largest(void **state)
{
	struct vqfix *f = *state;

	fill_table(f, GPA_C, 2);
	offer_table(f, GPA_C, 65536 * DESC);
	vqfix_check_bytes(f, 2);
}

static void a_larger_table_is_stuck(void **state)
{
	struct vqfix *f = *state;

	fill_table(f, GPA_C, 2);
	offer_table(f, GPA_C, 65537 * DESC);
	check_stuck(f, -EINVAL, 2);
}

static void a_table_with_a_remainder_is_stuck(void **state)
{
	struct vqfix *f = *state;

	fill_table(f, TABLE, 2);
	offer_table(f, TABLE, 2 * DESC + 1);
	check_stuck(f, -EINVAL, 2);
}

static void an_empty_table_is_stuck(void **state)
{
	struct vqfix *f = *state;

	offer_table(f, TABLE, 0);
	check_stuck(f, -EINVAL, 2);
}

static void a_table_in_a_table_is_stuck(void **state)
{
	struct vqfix *f = *state;

	fill_table(f, TABLE, 3);
	drv_desc(&table_at(f, TABLE)[1], TABLE, DESC, INDIRECT, 0);
	offer_table(f, TABLE, 3 * DESC);
	check_stuck(f, -EINVAL, 2);
}

static void a_next_past_a_table_is_stuck(void **state)
{
	struct vqfix *f = *state;

	for (unsigned int n = 3; n < 300; n += 99) {
		fill_table(f, TABLE, n);
		drv_desc(&table_at(f, TABLE)[1], GPA_A, 1, NEXT, (uint16_t)n);
		offer_table(f, TABLE, (uint32_t)(n * DESC));
		check_stuck(f, -EINVAL, 2);
	}
}

static void a_loop_in_a_table_is_stuck(void **state)
{
	struct vqfix *f = *state;

	for (unsigned int n = 2; n < 300; n += 99) {
		fill_table(f, TABLE, n);
		drv_desc(&table_at(f, TABLE)[n - 1], GPA_A, 1, NEXT, 0);
		offer_table(f, TABLE, (uint32_t)(n * DESC));
		check_stuck(f, -EINVAL, 2);
	}
}

static void a_table_in_no_region_is_stuck(void **state)
{
	struct vqfix *f = *state;

	offer_table(f, GPA_B_END - DESC, 2 * DESC);
	check_stuck(f, -EFAULT, 2);
}

static void a_bad_buffer_in_a_table_is_stuck(void **state)
{
	struct vqfix *f = *state;

	fill_table(f, TABLE, 3);
	drv_desc(&table_at(f, TABLE)[1], GPA_B_END, 1, NEXT, 2);
	offer_table(f, TABLE, 3 * DESC);
	check_stuck(f, -EFAULT, 2);
}

static void more_than_1024_pieces_in_a_table_are_stuck(void **state)
{
	struct vqfix *f = *state;

	fill_table(f, TABLE, 1025);
	offer_table(f, TABLE, 1025 * DESC);
	check_stuck(f, -ENOBUFS, 2);
}

static void a_chain_goes_on_behind_an_indirect_descriptor(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	fill_table(f, TABLE, 2);
	drv_desc(&f->d.desc[2], TABLE, 2 * DESC, INDIRECT | NEXT, 4);
	drv_desc(&f->d.desc[4], GPA_A + 2, 1, 0, 0);
	drv_add(&f->d, 2);
	drv_publish(&f->d);
	vqfix_check_bytes(f, 3);
}

static void the_write_flag_of_an_indirect_descriptor_is_ignored(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	fill_table(f, TABLE, 2);
	drv_offer(&f->d, 2, TABLE, 2 * DESC, INDIRECT | WRITE);
	vqfix_check_bytes(f, 2);
}

static void a_readable_table_behind_a_writable_buffer_is_stuck(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	fill_table(f, TABLE, 2);
	drv_desc(&f->d.desc[0], GPA_A, 1, NEXT | WRITE, 1);
	drv_desc(&f->d.desc[1], TABLE, 2 * DESC, INDIRECT, 0);
	drv_add(&f->d, 0);
	drv_publish(&f->d);
	check_stuck(f, -EINVAL, 2);
}

static void a_batch_of_indirect_chains_is_followed(void **state)
{
	struct vqfix *f = *state;

	start(f, 256, 0);
	for (uint16_t i = 0; i < 256; i++) {
		uint64_t at = TABLE + i * 1024u;

		fill_table(f, at, 1u + i % 40);
		drv_desc(&f->d.desc[i], at, (uint32_t)((1u + i % 40) * DESC),
			 INDIRECT, 0);
		drv_add(&f->d, i);
	}
	drv_publish(&f->d);
	for (unsigned int i = 0; i < 256; i += f->batch.n) {
		check_ok(vqfix_fetch(f));
		assert_int_not_equal(f->batch.n, 0);
		for (unsigned int k = 0; k < f->batch.n; k++)
			assert_int_equal(f->batch.chain[k].out_len,
					 1 + (i + k) % 40);
	}
	vqfix_no_error(f);
}

/* ---- limits of a batch ---- */

static void a_batch_ends_where_its_pieces_do(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	fill_table(f, TABLE, 1000);
	for (uint16_t i = 0; i < 5; i++)
		drv_offer(&f->d, i, TABLE, 1000 * DESC, INDIRECT);
	check_ret(vqfix_fetch(f), 2);
	assert_int_equal(f->batch.nsegs, 2000);
	check_ret(vqfix_fetch(f), 2);
	assert_int_equal(f->batch.chain[0].id, 2);
	check_ret(vqfix_fetch(f), 1);
	check_ret(vqfix_fetch(f), 0);
	vqfix_no_error(f);
}

static void
a_direct_chain_that_does_not_fit_waits_for_the_next_batch(void **state)
{
	struct vqfix *f = *state;

	start(f, 4096, 0);
	for (uint16_t c = 0; c < 3; c++) {
		for (uint16_t i = 0; i < 1000; i++)
			drv_desc(&f->d.desc[c * 1000 + i], GPA_A, 1,
				 i < 999 ? NEXT : 0,
				 (uint16_t)(c * 1000 + i + 1));
		drv_add(&f->d, (uint16_t)(c * 1000));
	}
	drv_publish(&f->d);
	check_ret(vqfix_fetch(f), 2);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].id, 2000);
	assert_int_equal(f->batch.chain[0].nout, 1000);
	vqfix_no_error(f);
}

static void a_batch_has_at_most_1024_chains(void **state)
{
	struct vqfix *f = *state;

	start(f, 2048, 0);
	for (uint16_t i = 0; i < 2048; i++)
		drv_offer(&f->d, i, GPA_A, 1, 0);
	check_ret(virtq_fetch(&f->vq, &f->batch, 5000), 1024);
	check_ret(virtq_fetch(&f->vq, &f->batch, 5000), 1024);
	assert_int_equal(f->batch.chain[0].id, 1024);
}

/* Heads at both ends of a table that is too large to be copied whole. */
static void chains_are_found_anywhere_in_a_large_table(void **state)
{
	struct vqfix *f = *state;

	start(f, VIRTQ_MAX_NUM, 0);
	for (uint16_t i = 0; i < 20; i++) {
		uint16_t head = i % 2 ? 32767 - i : i;

		drv_desc(&f->d.desc[head], GPA_A + i, 1, NEXT,
			 (uint16_t)(16000 + 100 * i));
		drv_desc(&f->d.desc[16000 + 100 * i], GPA_C, 100u + i, WRITE,
			 0);
		drv_add(&f->d, head);
	}
	drv_publish(&f->d);
	check_ret(vqfix_fetch(f), 20);
	for (unsigned int i = 0; i < 20; i++) {
		const struct chain *c = &f->batch.chain[i];

		assert_int_equal(c->in_len, 100 + i);
		vqfix_check_seg(f, &f->batch.seg[c->seg], GPA_A + i, 1);
	}
	vqfix_no_error(f);
}

/* ---- used ring ---- */

static void used_elements_are_published_in_order(void **state)
{
	struct vqfix *f = *state;
	struct virtq_used e[3] = { { 100, 5, 1, 1 },
				   { 0, 0, 1, 1 },
				   { ~0u, 7, 1, 1 } };

	start(f, 8, 0);
	check_ret(virtq_push(&f->vq, e, 3), 0);
	assert_int_equal(drv_used_idx(&f->d), 3);
	for (int i = 0; i < 3; i++) {
		struct vring_used_elem got = drv_reap(&f->d);

		assert_int_equal(got.id, e[i].id);
		assert_int_equal(got.len, e[i].len);
	}
	assert_int_equal(f->vq.counters.batches, 1);
}

static void used_elements_go_round_the_ring(void **state)
{
	struct vqfix *f = *state;
	struct virtq_used e[8];

	for (uint16_t i = 0; i < 8; i++)
		e[i] = (struct virtq_used){ 10u * i, i, 1, 1 };
	for (unsigned int from = 0; from < 8; from++) {
		start_at(f, 8, EVENT_IDX, (uint16_t)(65536 - 8 + from));
		check_ret(virtq_push(&f->vq, e, 8), 0);
		assert_int_equal(drv_used_idx(&f->d), from);
		for (uint32_t i = 0; i < 8; i++)
			assert_int_equal(drv_reap(&f->d).len, 10 * i);
		assert_int_equal(*drv_avail_event(&f->d), 0);
	}
}

/* In order: the last one's id, in the place of the first, for all. */
static void an_element_can_stand_for_several_chains(void **state)
{
	struct vqfix *f = *state;
	struct virtq_used e = { .id = 5, .nchains = 3 };
	struct vring_used_elem before;

	start_at(f, 8, BIT(VIRTIO_F_IN_ORDER), 65530);
	memset(f->d.used->ring, 0xa5, 8 * sizeof(before));
	before = f->d.used->ring[0];
	check_ret(virtq_push(&f->vq, &e, 1), 0); /* 2, 3, 4 */
	assert_int_equal(drv_used_idx(&f->d), 65533);
	assert_int_equal(f->d.used->ring[2].id, htole32(5));
	assert_int_equal(f->d.used->ring[2].len, 0);
	for (unsigned int i = 3; i != 2; i = (i + 1) % 8)
		assert_memory_equal(&f->d.used->ring[i], &before,
				    sizeof(before));
	e.nchains = 8; /* the whole ring, past its end and that of the index */
	e.id = 4;
	check_ret(virtq_push(&f->vq, &e, 1), 0);
	assert_int_equal(drv_used_idx(&f->d), 5);
	assert_int_equal(f->d.used->ring[5].id, htole32(4));
	assert_int_equal(f->d.used->ring[6].id, before.id);
	push(f, 1, 7);
	assert_int_equal(drv_used_idx(&f->d), 6);
}

static void several_chains_at_once_pass_the_used_event(void **state)
{
	struct vqfix *f = *state;
	struct virtq_used e = { .id = 5, .nchains = 3 };

	start(f, 8, BIT(VIRTIO_F_IN_ORDER) | EVENT_IDX);
	push(f, 0, 0);
	virtq_signal(&f->vq);
	for (uint16_t event = 0; event < 8; event++) {
		start(f, 8, BIT(VIRTIO_F_IN_ORDER) | EVENT_IDX);
		push(f, 0, 0);
		virtq_signal(&f->vq);
		event_take(f->call);
		*drv_used_event(&f->d) = htole16(event);
		check_ret(virtq_push(&f->vq, &e, 1), 0); /* 1...3 */
		virtq_signal(&f->vq);
		assert_int_equal(event_take(f->call), event >= 1 && event <= 3);
	}
}

static void a_split_ring_of_no_power_of_two_is_refused(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	f->vq.num = 7;
	check_ret(virtq_start(&f->vq), -EINVAL);
}

static void what_keeps_the_next_chain_is_told_with_the_batch(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	drv_offer(&f->d, 0, GPA_A, 1, 0);
	drv_offer(&f->d, 1, GPA_B_END, 1, 0);
	check_ret(virtq_fetch(&f->vq, &f->batch, 1), 1);
	assert_int_equal(f->batch.next, 0);
	virtq_rewind(&f->vq, &f->batch, 1);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.next, -EFAULT);
	vqfix_no_error(f);
}

static void a_start_takes_the_used_index_from_memory(void **state)
{
	struct vqfix *f = *state;

	start_at(f, 8, 0, 1234);
	f->d.used->idx = htole16(4321);
	check_ret(virtq_start(&f->vq), 0);
	push(f, 1, 2);
	assert_int_equal(drv_used_idx(&f->d), 4322);
	assert_int_equal(f->d.used->ring[4321 & 7].id, 1);
	assert_int_equal(f->vq.last_avail_idx, 1234);
}

static void a_start_writes_the_flags_last_in_force(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	virtq_disable_notify(&f->vq);
	f->d.used->flags = htole16(0xffff);
	check_ret(virtq_start(&f->vq), 0);
	assert_int_equal(le16toh(f->d.used->flags), VRING_USED_F_NO_NOTIFY);
}

static void a_start_without_a_used_ring_is_refused(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	f->vq.addr.used_user_addr = 0;
	check_ret(virtq_start(&f->vq), -EFAULT);
	f->vq.addr.used_user_addr = arena_uva(&f->arena, ARENA_SIZE);
	check_ret(virtq_start(&f->vq), -EFAULT);
	f->vq.addr.used_user_addr = arena_uva(&f->arena, 0) - PAGE;
	check_ret(virtq_start(&f->vq), -EFAULT);
}

static void a_used_ring_out_of_reach_is_reported(void **state)
{
	struct vqfix *f = *state;
	struct virtq_used e = { 2, 1, 1, 1 };

	start(f, 8, 0);
	f->vq.addr.used_user_addr = arena_uva(&f->arena, ARENA_SIZE);
	virtq_changed(&f->vq);
	drv_offer(&f->d, 0, GPA_A, 1, 0);
	check_ret(vqfix_fetch(f), 1);
	check_ret(virtq_push(&f->vq, &e, 1), -EFAULT);
	assert_int_equal(event_take(f->err), 1);
	assert_int_equal(f->vq.last_used_idx, 0);
}

/* ---- signals ---- */

static void a_completion_is_signalled(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	push(f, 0, 0);
	assert_true(vqfix_signalled(f));
}

static void no_interrupt_is_obeyed(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	f->d.avail->flags = htole16(VRING_AVAIL_F_NO_INTERRUPT);
	push(f, 0, 0);
	assert_false(vqfix_signalled(f));
	f->d.avail->flags = htole16(0xfffe); /* only that bit */
	assert_true(vqfix_signalled(f));
}

static void an_empty_ring_is_signalled_if_negotiated(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, BIT(VIRTIO_F_NOTIFY_ON_EMPTY));
	f->d.avail->flags = htole16(VRING_AVAIL_F_NO_INTERRUPT);
	drv_offer(&f->d, 0, GPA_A, 1, 0);
	drv_offer(&f->d, 1, GPA_A, 1, 0);
	check_ret(virtq_fetch(&f->vq, &f->batch, 1), 1);
	push(f, 0, 0);
	assert_false(vqfix_signalled(f));
	check_ret(virtq_fetch(&f->vq, &f->batch, 1), 1);
	push(f, 1, 0);
	assert_true(vqfix_signalled(f));
}

static void without_a_call_descriptor_nothing_is_decided(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, EVENT_IDX);
	f->vq.call_fd = -1;
	push(f, 0, 0);
	virtq_signal(&f->vq);
	assert_int_equal(f->vq.counters.signals, 0);
	assert_int_equal(f->vq.counters.suppressed, 0);
	assert_false(f->vq.signalled_used_valid);
}

static void the_first_signal_after_a_start_is_unconditional(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, EVENT_IDX);
	*drv_used_event(&f->d) = htole16(100);
	push(f, 0, 0);
	assert_true(vqfix_signalled(f));
	push(f, 0, 0);
	assert_false(vqfix_signalled(f));
	check_ret(virtq_start(&f->vq), 0);
	push(f, 0, 0);
	assert_true(vqfix_signalled(f));
}

static void a_signal_comes_when_the_used_event_is_passed(void **state)
{
	struct vqfix *f = *state;

	start_at(f, 8, EVENT_IDX, 65530);
	f->d.avail->flags = htole16(VRING_AVAIL_F_NO_INTERRUPT); /* ignored */
	push(f, 0, 0);
	vqfix_signalled(f);
	for (uint16_t i = 1; i < 20; i++) {
		/* used idx goes from 65530 + i to the next */
		*drv_used_event(&f->d) = htole16((uint16_t)(65530 + 10));
		push(f, 0, 0);
		assert_int_equal(vqfix_signalled(f), i == 10);
	}
}

static void a_batch_that_passes_the_used_event_is_signalled(void **state)
{
	struct vqfix *f = *state;
	const struct virtq_used e[8] = { [0 ... 7] = { .nchains = 1 } };

	start(f, 8, EVENT_IDX);
	check_ret(virtq_push(&f->vq, e, 1), 0);
	vqfix_signalled(f);
	*drv_used_event(&f->d) = htole16(4);
	check_ret(virtq_push(&f->vq, e, 3), 0); /* 1...3 */
	assert_false(vqfix_signalled(f));
	check_ret(virtq_push(&f->vq, e, 8), 0); /* 4...11 */
	assert_true(vqfix_signalled(f));
	*drv_used_event(&f->d) = htole16(11);
	check_ret(virtq_push(&f->vq, e, 8), 0);
	assert_false(vqfix_signalled(f));
}

/* With no look at used_event for 65536 completions nothing can be compared. */
static void a_lap_without_a_signal_makes_the_next_unconditional(void **state)
{
	struct vqfix *f = *state;
	const struct virtq_used e[8] = { [0 ... 7] = { .nchains = 1 } };

	start(f, 8, EVENT_IDX);
	check_ret(virtq_push(&f->vq, e, 8), 0);
	vqfix_signalled(f);
	*drv_used_event(&f->d) = htole16(30000);
	for (unsigned int i = 0; i < 65536 / 8 - 1; i++)
		check_ret(virtq_push(&f->vq, e, 8), 0);
	assert_true(f->vq.signalled_used_valid);
	check_ret(virtq_push(&f->vq, e, 8), 0);
	assert_false(f->vq.signalled_used_valid);
	*drv_used_event(&f->d) = htole16(10000);
	assert_true(vqfix_signalled(f));
	assert_true(f->vq.signalled_used_valid);
}

/* ---- notifications ---- */

static void notifications_are_a_flag(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	assert_int_equal(f->d.used->flags, 0);
	virtq_disable_notify(&f->vq);
	assert_int_equal(le16toh(f->d.used->flags), VRING_USED_F_NO_NOTIFY);
	assert_false(virtq_enable_notify(&f->vq));
	assert_int_equal(f->d.used->flags, 0);
	assert_int_equal(*drv_avail_event(&f->d), 0);
}

static void chains_that_came_meanwhile_are_noticed(void **state)
{
	static const uint64_t features[] = { 0, EVENT_IDX };
	struct vqfix *f = *state;

	for (unsigned int i = 0; i < 2; i++) {
		start(f, 8, features[i]);
		virtq_disable_notify(&f->vq);
		check_ret(vqfix_fetch(f), 0);
		assert_false(virtq_avail_changed(&f->vq));
		drv_offer(&f->d, 0, GPA_A, 1, 0);
		assert_true(virtq_avail_changed(&f->vq));
		assert_true(virtq_enable_notify(&f->vq));
		virtq_disable_notify(&f->vq);
		check_ret(vqfix_fetch(f), 1);
		assert_false(virtq_avail_changed(&f->vq));
		assert_false(virtq_enable_notify(&f->vq));
	}
}

static void the_avail_event_is_written_only_when_kicks_are_wanted(void **state)
{
	struct vqfix *f = *state;

	start_at(f, 8, EVENT_IDX, 65534);
	*drv_avail_event(&f->d) = htole16(0x1234);
	virtq_disable_notify(&f->vq);
	for (uint16_t i = 0; i < 4; i++)
		drv_offer(&f->d, i, GPA_A, 1, 0);
	check_ret(vqfix_fetch(f), 4);
	assert_int_equal(le16toh(*drv_avail_event(&f->d)), 0x1234);
	assert_false(virtq_enable_notify(&f->vq));
	assert_int_equal(le16toh(*drv_avail_event(&f->d)), 2);
	assert_int_equal(f->d.used->flags, 0);
}

/* ---- the log of the used ring ---- */

#define LOG_GPA UINT64_C(0x7ffc) /* elements of a ring of 8 on page 8, too */

static void start_logged(struct vqfix *f, uint32_t num, uint64_t features)
{
	start(f, num, features);
	vqfix_log_ring(f, LOG_GPA);
}

static void used_ring_writes_are_logged_at_the_log_address(void **state)
{
	struct vqfix *f = *state;

	start_logged(f, 8, 0);
	push(f, 0, 0); /* element at 4...11: page 8; idx: page 7 */
	assert_int_equal(vqfix_take_log(f), vqfix_pages(f, 0x180));
	assert_int_equal(f->log_events, 1);
	virtq_disable_notify(&f->vq);
	assert_int_equal(vqfix_take_log(f), vqfix_pages(f, 0x80));
	assert_int_equal(f->log_events, 2);
	virtq_enable_notify(&f->vq);
	assert_int_equal(vqfix_take_log(f), vqfix_pages(f, 0x80));
	assert_int_equal(f->log_events, 3);
}

static void the_avail_event_is_logged(void **state)
{
	struct vqfix *f = *state;

	start_logged(f, 8, EVENT_IDX);
	/* at 4 + 8 * 8 = 68 */
	f->vq.addr.log_guest_addr = 16 * 4096 - 68;
	virtq_disable_notify(&f->vq);
	assert_int_equal(vqfix_take_log(f), 0);
	virtq_enable_notify(&f->vq);
	assert_int_equal(vqfix_take_log(f), vqfix_pages(f, 0x10000));
	assert_int_equal(f->log_events, 1);
}

static void a_wrapped_batch_logs_both_its_parts(void **state)
{
	struct vqfix *f = *state;
	const struct virtq_used e[4] = { [0 ... 3] = { .nchains = 1 } };

	start_logged(f, 1024, 0);
	for (unsigned int i = 0; i < 1022; i++)
		push(f, 0, 0);
	vqfix_take_log(f);
	/* idx ends page 7; elements 0, 1 begin page 8; 1022 is on page 9 */
	f->vq.addr.log_guest_addr = 7 * 4096 + 4092;
	check_ret(virtq_push(&f->vq, e, 4), 0);
	assert_int_equal(vqfix_take_log(f), vqfix_pages(f, 0x380));
}

static void without_the_log_flag_nothing_is_logged(void **state)
{
	struct vqfix *f = *state;

	start_logged(f, 8, 0);
	f->vq.addr.flags = 0;
	push(f, 0, 0);
	virtq_disable_notify(&f->vq);
	assert_int_equal(vqfix_take_log(f), 0);
	assert_int_equal(f->log_events, 0);
}

/* Under an IOTLB: every guest physical alias of the used ring's pages. */
static void under_an_iotlb_all_aliases_of_the_used_ring_are_logged(void **state)
{
	struct vqfix *f = *state;
	uint64_t ring = arena_uva(&f->arena, 0);

	rangemap_clear(&f->mv.table);
	vqfix_range(&f->mv.table, 3 * PAGE, PAGE, ring, RANGE_RW);
	vqfix_range(&f->mv.table, 17 * PAGE, PAGE, ring, RANGE_RW);
	vqfix_range(&f->mv.iotlb, (uintptr_t)f->arena.base, RINGS_SIZE, ring,
		    RANGE_RW);
	f->mv.have_iotlb = true;
	memview_bind(&f->mv);
	start_logged(f, 8, 0);
	push(f, 0, 0);
	assert_int_equal(vqfix_take_log(f), vqfix_pages(f, 0x20008));
	assert_int_equal(f->misses, 0);
}

/* ---- IOTLB ---- */

/* Ring parts under I/O virtual addresses that are the owner's plus this. */

static void start_iotlb(struct vqfix *f, uint32_t num)
{
	struct vhost_vring_addr addr;

	drv_init(&f->d, &f->arena, 0, num);
	addr = drv_addr(&f->d, 0);
	vqfix_iotlb(f, &addr, num);
}

static void a_ring_in_many_pieces_works(void **state)
{
	static const struct {
		uint32_t num;
		uint64_t step, total;
	} cuts[] = {
		{ 8, 64, 1024 },        { 8, 24, 1008 },
		{ 256, 4096, 0x2000 },  { 512, 256, 0x4000 },
		{ 1024, 1028, 0x8000 },
	};
	struct vqfix *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		uint32_t num = cuts[i].num;

		rangemap_clear(&f->mv.iotlb);
		start_iotlb(f, num);
		vqfix_iotlb_rings(f, cuts[i].step, cuts[i].total);
		vqfix_iotlb_add(f, 0x1000, RAM_SIZE, RAM_A_OFF, RANGE_RW);
		f->vq.features = EVENT_IDX;
		f->vq.last_avail_idx = 0;
		f->vq.used_flags = 0;
		check_ret(virtq_start(&f->vq), 0);
		for (uint32_t round = 0; round < 3; round++) {
			for (uint16_t k = 0; k < num; k++) {
				drv_desc(&f->d.desc[k], 0x1000u + k, 1, 0, 0);
				drv_add(&f->d, k);
			}
			drv_publish(&f->d);
			check_ret(vqfix_fetch(f), num);
			for (uint32_t k = 0; k < num; k++) {
				assert_int_equal(f->batch.chain[k].id, k);
				assert_int_equal(
					f->batch.seg[k].uva,
					arena_uva(&f->arena, RAM_A_OFF) + k);
				push(f, k, k);
			}
			for (uint32_t k = 0; k < num; k++)
				assert_int_equal(drv_reap(&f->d).len, k);
			virtq_disable_notify(&f->vq);
			assert_false(virtq_enable_notify(&f->vq));
			assert_int_equal(le16toh(*drv_avail_event(&f->d)),
					 f->d.next);
		}
		vqfix_no_error(f);
		assert_int_equal(f->misses, 0);
	}
}

static void a_start_needs_the_used_ring_in_the_iotlb(void **state)
{
	struct vqfix *f = *state;

	start_iotlb(f, 8);
	check_ret(virtq_start(&f->vq), -EFAULT);
	assert_int_equal(event_take(f->err), 1);
	assert_int_equal(f->misses, 1);
	assert_int_equal(f->miss_addr, f->vq.addr.used_user_addr);
	assert_int_equal(f->miss_perm, RANGE_WO);
	/* but not the rest */
	vqfix_iotlb_add(f, f->vq.addr.used_user_addr, 4 + 8 * 8,
			(uint64_t)((uint8_t *)f->d.used - f->arena.base),
			RANGE_RW);
	check_ret(virtq_start(&f->vq), 0);
	assert_int_equal(event_take(f->err), 0);
}

static void a_hole_under_a_ring_part_is_asked_for_in_order(void **state)
{
	struct vqfix *f = *state;
	uint64_t used, avail, desc;

	start_iotlb(f, 8);
	used = f->vq.addr.used_user_addr;
	avail = f->vq.addr.avail_user_addr;
	desc = f->vq.addr.desc_user_addr;
	vqfix_iotlb_add(f, used, 68,
			used - IOVA_SHIFT - arena_uva(&f->arena, 0), RANGE_RW);
	check_ret(virtq_start(&f->vq), 0);

	check_ret(vqfix_fetch(f), -EAGAIN);
	assert_int_equal(f->miss_addr, desc);
	assert_int_equal(f->miss_perm, RANGE_RO);
	vqfix_iotlb_add(f, desc, 100, 0, RANGE_RO); /* not all of it */
	check_ret(vqfix_fetch(f), -EAGAIN);
	assert_int_equal(f->miss_addr, desc + 100);
	vqfix_iotlb_add(f, desc + 100, 28, 100, RANGE_RO);
	check_ret(vqfix_fetch(f), -EAGAIN);
	assert_int_equal(f->miss_addr, avail);
	assert_int_equal(f->miss_perm, RANGE_RO);
	vqfix_iotlb_add(f, avail, 64, avail - desc, RANGE_RO);
	check_ret(vqfix_fetch(f), 0);
	assert_int_equal(f->misses, 3);
	vqfix_no_error(f);
}

static void a_ring_part_without_permission_is_no_error_and_no_miss(void **state)
{
	struct vqfix *f = *state;

	start_iotlb(f, 8);
	vqfix_iotlb_add(f, arena_uva(&f->arena, 0) + IOVA_SHIFT, 64, 0,
			RANGE_WO);
	vqfix_iotlb_add(f, arena_uva(&f->arena, 64) + IOVA_SHIFT, PAGE, 64,
			RANGE_RW);
	check_ret(virtq_start(&f->vq), 0);
	check_ret(vqfix_fetch(f), -EPERM);
	assert_int_equal(f->misses, 0);
	vqfix_no_error(f);
}

static void start_iotlb_rings(struct vqfix *f)
{
	start_iotlb(f, 8);
	vqfix_iotlb_add(f, arena_uva(&f->arena, 0) + IOVA_SHIFT, PAGE, 0,
			RANGE_RW);
	check_ret(virtq_start(&f->vq), 0);
}

static void a_hole_under_a_buffer_is_asked_for(void **state)
{
	struct vqfix *f = *state;

	start_iotlb_rings(f);
	vqfix_iotlb_add(f, 0x1000, 0x1000, RAM_A_OFF, RANGE_RW);
	drv_offer(&f->d, 0, 0x1800, 100, 0);
	drv_offer(&f->d, 1, 0x1ff0, 100, WRITE);
	check_ret(vqfix_fetch(f), 1); /* the one behind it may wait */
	assert_int_equal(f->misses, 0);
	check_ret(vqfix_fetch(f), -EAGAIN);
	assert_int_equal(f->misses, 1);
	assert_int_equal(f->miss_addr, 0x2000);
	assert_int_equal(f->miss_perm, RANGE_WO);
	vqfix_iotlb_add(f, 0x2000, 0x1000, RAM_C_OFF, RANGE_WO);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].nin, 2);
	vqfix_no_error(f);
}

static void a_hole_under_an_indirect_table_is_asked_for(void **state)
{
	struct vqfix *f = *state;

	start_iotlb_rings(f);
	drv_offer(&f->d, 0, 0x1000, 32, INDIRECT);
	check_ret(vqfix_fetch(f), -EAGAIN);
	assert_int_equal(f->miss_addr, 0x1000);
	assert_int_equal(f->miss_perm, RANGE_RO);
	vqfix_iotlb_add(f, 0x1000, 16, RAM_A_OFF, RANGE_RO);
	check_ret(vqfix_fetch(f), -EAGAIN);
	assert_int_equal(f->miss_addr, 0x1010);
	vqfix_no_error(f);
}

static void a_buffer_without_permission_is_stuck(void **state)
{
	struct vqfix *f = *state;

	start_iotlb_rings(f);
	vqfix_iotlb_add(f, 0x1000, 0x1000, RAM_A_OFF, RANGE_RO);
	drv_offer(&f->d, 0, 0x1000, 1, WRITE);
	check_stuck(f, -EPERM, 1);
	assert_int_equal(f->misses, 0);
}

static void a_table_in_65_pieces_is_too_many(void **state)
{
	struct vqfix *f = *state;

	start_iotlb(f, 128);
	vqfix_iotlb_rings(f, 16, 0x1000);
	check_ret(virtq_start(&f->vq), -ENOBUFS);
}

/* ---- memory that changes ---- */

static void a_moved_ring_is_found_after_a_change(void **state)
{
	struct vqfix *f = *state;
	struct drv moved;

	start(f, 8, 0);
	drv_init(&moved, &f->arena, 0x10000, 8);
	drv_offer(&moved, 0, GPA_A, 1, 0);
	f->vq.addr = drv_addr(&moved, 0);
	virtq_changed(&f->vq);
	check_ret(vqfix_fetch(f), 1);
	push(f, 0, 9);
	assert_int_equal(drv_reap(&moved).len, 9);
	assert_int_equal(drv_used_idx(&f->d), 0);
}

static void event_idx_can_come_while_the_ring_runs(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	check_ret(vqfix_fetch(f), 0);
	f->vq.features = EVENT_IDX;
	virtq_changed(&f->vq);
	drv_offer(&f->d, 0, GPA_A, 1, 0);
	*drv_used_event(&f->d) = htole16(1);
	check_ret(vqfix_fetch(f), 1);
	push(f, 0, 0);
	assert_true(vqfix_signalled(f));
	push(f, 0, 0);
	assert_true(vqfix_signalled(f));
	push(f, 0, 0);
	assert_false(vqfix_signalled(f));
	virtq_disable_notify(&f->vq);
	virtq_enable_notify(&f->vq);
	assert_int_equal(le16toh(*drv_avail_event(&f->d)), 1);
}

static void rings_may_be_misaligned_in_our_mapping_only(void **state)
{
	struct vqfix *f = *state;

	/* the descriptor table's alignment is nobody's business */
	start(f, 8, 0);
	memmove((uint8_t *)f->d.desc + 0x8001, f->d.desc, 8 * DESC);
	f->vq.addr.desc_user_addr += 0x8001;
	f->d.desc = (struct vring_desc *)((uint8_t *)f->d.desc + 0x8001);
	virtq_changed(&f->vq);
	memcpy(&f->d.desc[1],
	       &(struct vring_desc){ .addr = htole64(GPA_A),
				     .len = htole32(5) },
	       DESC);
	drv_add(&f->d, 1);
	drv_publish(&f->d);
	check_ret(vqfix_fetch(f), 1);
	vqfix_check_seg(f, &f->batch.seg[0], GPA_A, 5);
}

static void a_truncated_file_breaks_the_ring(void **state)
{
	struct vqfix *f = *state;

	aspace_guard_install(); /* cmocka has handlers of its own */
	start(f, 8, 0);
	drv_offer(&f->d, 0, GPA_A, 1, 0);
	drv_offer(&f->d, 1, GPA_A, 1, 0);
	check_ret(virtq_fetch(&f->vq, &f->batch, 1), 1);
	check_ret(ftruncate(f->arena.memfd, 0), 0);
	/* zeros instead of the ring from here on, to the end of the batch */
	check_ok(virtq_fetch(&f->vq, &f->batch, 1));
	push(f, 0, 0);
	check_ret(vqfix_fetch(f), -EIO);
	assert_int_equal(event_take(f->err), 1);
	assert_true(f->vq.broken);
	check_ret(vqfix_fetch(f), -EIO); /* told once */
	assert_false(virtq_avail_changed(&f->vq));
	assert_false(virtq_enable_notify(&f->vq));
	assert_int_equal(event_take(f->err), 0);
}

static void an_owner_that_is_gone_breaks_the_ring(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	drv_offer(&f->d, 0, GPA_A, 1, 0);
	check_ret(vqfix_fetch(f), 1);
	arena_end_child(&f->arena);
	drv_offer(&f->d, 1, GPA_A, 1, 0);
	check_ret(vqfix_fetch(f), -ESRCH);
	assert_true(f->vq.broken);
	assert_int_equal(event_take(f->err), 1);
	check_ret(vqfix_fetch(f), -EIO);
	assert_int_equal(event_take(f->err), 0);
}

static void a_ring_of_another_process_works(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, EVENT_IDX);
	drv_offer(&f->d, 0, GPA_A, 1, 0);
	check_ret(vqfix_fetch(f), 1);
	push(f, 0, 3);
	assert_int_equal(drv_reap(&f->d).len, 3);
	vqfix_no_error(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		EVERYWHERE(an_empty_ring_gives_nothing),
		EVERYWHERE(a_chain_comes_with_its_pieces_in_order),
		EVERYWHERE(no_more_chains_are_taken_than_asked_for),
		EVERYWHERE(rewound_chains_come_again),
		EVERYWHERE(chains_are_judged_as_they_are_when_they_come_again),
		EVERYWHERE(a_ring_of_any_size_wraps),
		EVERYWHERE(zero_length_buffers_contribute_nothing),
		EVERYWHERE(unknown_descriptor_flags_are_ignored),
		EVERYWHERE(the_last_byte_of_a_region_can_be_used),
		EVERYWHERE(one_byte_past_a_region_is_stuck),
		EVERYWHERE(a_buffer_before_a_region_is_stuck),
		EVERYWHERE(a_buffer_in_no_region_is_stuck),
		EVERYWHERE(a_buffer_that_wraps_around_is_stuck),
		EVERYWHERE(a_buffer_across_neighbouring_regions_is_cut),
		EVERYWHERE(a_buffer_of_four_gigabytes_is_stuck),
		EVERYWHERE(a_head_past_the_ring_is_stuck),
		EVERYWHERE(the_greatest_head_is_stuck),
		EVERYWHERE(a_next_past_the_ring_is_stuck),
		EVERYWHERE(a_chain_as_long_as_the_ring_is_taken),
		EVERYWHERE(a_loop_of_descriptors_is_stuck),
		EVERYWHERE(a_readable_buffer_behind_a_writable_one_is_stuck),
		EVERYWHERE(a_chain_of_1024_pieces_is_taken),
		EVERYWHERE(a_chain_of_1025_pieces_is_stuck),
		EVERYWHERE(pieces_are_counted_and_not_descriptors),
		EVERYWHERE(a_mended_chain_is_taken),
		EVERYWHERE(
			a_bad_chain_is_not_reported_before_those_ahead_of_it),
		EVERYWHERE(a_fault_is_logged_once_and_counted_every_time),
		EVERYWHERE(without_an_error_descriptor_faults_are_only_counted),
		EVERYWHERE(an_index_a_ring_ahead_is_believed),
		EVERYWHERE(an_index_further_ahead_is_stuck_until_it_is_sane),
		EVERYWHERE(an_index_that_goes_back_is_stuck),
		EVERYWHERE(the_index_is_looked_at_only_when_chains_run_out),
		EVERYWHERE(an_indirect_table_is_followed),
		EVERYWHERE(an_indirect_table_need_not_be_in_order),
		EVERYWHERE(an_indirect_table_may_lie_across_regions),
		EVERYWHERE(an_indirect_table_may_be_misaligned),
		EVERYWHERE(entries_behind_the_end_of_a_chain_do_not_matter),
		EVERYWHERE(a_table_of_65536_is_the_largest),
		EVERYWHERE(a_larger_table_is_stuck),
		EVERYWHERE(a_table_with_a_remainder_is_stuck),
		EVERYWHERE(an_empty_table_is_stuck),
		EVERYWHERE(a_table_in_a_table_is_stuck),
		EVERYWHERE(a_next_past_a_table_is_stuck),
		EVERYWHERE(a_loop_in_a_table_is_stuck),
		EVERYWHERE(a_table_in_no_region_is_stuck),
		EVERYWHERE(a_bad_buffer_in_a_table_is_stuck),
		EVERYWHERE(more_than_1024_pieces_in_a_table_are_stuck),
		EVERYWHERE(a_chain_goes_on_behind_an_indirect_descriptor),
		EVERYWHERE(the_write_flag_of_an_indirect_descriptor_is_ignored),
		EVERYWHERE(a_readable_table_behind_a_writable_buffer_is_stuck),
		EVERYWHERE(a_batch_of_indirect_chains_is_followed),
		EVERYWHERE(a_batch_ends_where_its_pieces_do),
		EVERYWHERE(
			a_direct_chain_that_does_not_fit_waits_for_the_next_batch),
		EVERYWHERE(a_batch_has_at_most_1024_chains),
		EVERYWHERE(chains_are_found_anywhere_in_a_large_table),
		EVERYWHERE(used_elements_are_published_in_order),
		EVERYWHERE(used_elements_go_round_the_ring),
		EVERYWHERE(an_element_can_stand_for_several_chains),
		EVERYWHERE(several_chains_at_once_pass_the_used_event),
		EVERYWHERE(a_split_ring_of_no_power_of_two_is_refused),
		EVERYWHERE(what_keeps_the_next_chain_is_told_with_the_batch),
		EVERYWHERE(a_start_takes_the_used_index_from_memory),
		EVERYWHERE(a_start_writes_the_flags_last_in_force),
		EVERYWHERE(a_start_without_a_used_ring_is_refused),
		IN(copied, a_used_ring_out_of_reach_is_reported),
		IN(ram_mapped, a_used_ring_out_of_reach_is_reported),
		EVERYWHERE(a_completion_is_signalled),
		EVERYWHERE(no_interrupt_is_obeyed),
		EVERYWHERE(an_empty_ring_is_signalled_if_negotiated),
		EVERYWHERE(without_a_call_descriptor_nothing_is_decided),
		EVERYWHERE(the_first_signal_after_a_start_is_unconditional),
		EVERYWHERE(a_signal_comes_when_the_used_event_is_passed),
		EVERYWHERE(a_batch_that_passes_the_used_event_is_signalled),
		EVERYWHERE(a_lap_without_a_signal_makes_the_next_unconditional),
		EVERYWHERE(notifications_are_a_flag),
		EVERYWHERE(chains_that_came_meanwhile_are_noticed),
		EVERYWHERE(
			the_avail_event_is_written_only_when_kicks_are_wanted),
		EVERYWHERE(used_ring_writes_are_logged_at_the_log_address),
		EVERYWHERE(the_avail_event_is_logged),
		EVERYWHERE(a_wrapped_batch_logs_both_its_parts),
		EVERYWHERE(without_the_log_flag_nothing_is_logged),
		EVERYWHERE(
			under_an_iotlb_all_aliases_of_the_used_ring_are_logged),
		EVERYWHERE(a_ring_in_many_pieces_works),
		EVERYWHERE(a_start_needs_the_used_ring_in_the_iotlb),
		EVERYWHERE(a_hole_under_a_ring_part_is_asked_for_in_order),
		EVERYWHERE(
			a_ring_part_without_permission_is_no_error_and_no_miss),
		EVERYWHERE(a_hole_under_a_buffer_is_asked_for),
		EVERYWHERE(a_hole_under_an_indirect_table_is_asked_for),
		EVERYWHERE(a_buffer_without_permission_is_stuck),
		EVERYWHERE(a_table_in_65_pieces_is_too_many),
		EVERYWHERE(a_moved_ring_is_found_after_a_change),
		EVERYWHERE(event_idx_can_come_while_the_ring_runs),
		EVERYWHERE(rings_may_be_misaligned_in_our_mapping_only),
		IN(mapped, a_truncated_file_breaks_the_ring),
		IN(rings_mapped, a_truncated_file_breaks_the_ring),
		IN(child, an_owner_that_is_gone_breaks_the_ring),
		IN(child, a_ring_of_another_process_works),
	};

	return cmocka_run_group_tests_name("virtq", tests, NULL, NULL);
}
