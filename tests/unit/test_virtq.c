/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_virtq.c tests a virtqueue, device side, in what split and packed rings
 * have in common: each test runs with both formats. What only one format has is
 * in test_virtq_split.c and test_virtq_packed.c. The memory of each test is
 * mapped, copied, and each half mapped with the other copied.
 */
#include "check.h"

#include <sys/mman.h>
#include <unistd.h>

#include "vqfix.h"

static void offer(struct vqfix *f, uint16_t id, uint64_t addr, uint32_t len,
		  uint16_t flags)
{
	drv_offer(&f->d, id, addr, len, flags);
}

/* Chain @c says how many descriptors it has; only a packed ring's does. */
static void check_ndescs(const struct vqfix *f, const struct chain *c,
			 unsigned int n)
{
	if (f->packed)
		assert_int_equal(c->ndescs, n);
}

/* A ring can have @num entries. */
static bool size_ok(const struct vqfix *f, uint32_t num)
{
	return f->packed || !(num & (num - 1));
}

/* ---- taking chains ---- */

static void an_empty_ring_gives_nothing(void **state)
{
	struct vqfix *f = *state;

	for (uint32_t n = 0; n < 16; n++) {
		vqfix_start_after(f, 8, 0, n);
		check_ret(vqfix_fetch(f), 0);
		check_ret(virtq_avail_count(&f->vq), 0);
		assert_false(virtq_avail_changed(&f->vq));
	}
	vqfix_no_error(f);
}

/* A packed one goes across the end of the ring, and has the id of its last
 * descriptor (virtio 1.2 §2.8.6); a split one has its slots in any order. */
static void a_chain_comes_with_its_pieces_in_order(void **state)
{
	struct vqfix *f = *state;
	struct chain *c = f->batch.chain;
	uint16_t last = f->packed ? 0xbeef : 0;

	vqfix_start_after(f, ODD(f, 8), 0, 12);
	f->d.stride = 3;
	offer(f, 3, GPA_A, 10, NEXT);
	offer(f, 1, GPA_C + 7, 1500, NEXT);
	offer(f, 2, GPA_B, 12, NEXT | WRITE);
	offer(f, last, GPA_B + 100, 64, WRITE);

	check_ret(virtq_avail_count(&f->vq), 1);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.n, 1);
	assert_int_equal(f->batch.nsegs, 4);
	assert_int_equal(c->id, f->packed ? 0xbeef : 3);
	check_ndescs(f, c, 4);
	assert_int_equal(c->nout, 2);
	assert_int_equal(c->nin, 2);
	assert_int_equal(c->out_len, 1510);
	assert_int_equal(c->in_len, 76);
	vqfix_check_seg(f, &f->batch.seg[c->seg], GPA_A, 10);
	vqfix_check_seg(f, &f->batch.seg[c->seg + 1], GPA_C + 7, 1500);
	vqfix_check_seg(f, &f->batch.seg[c->seg + 2], GPA_B, 12);
	vqfix_check_seg(f, &f->batch.seg[c->seg + 3], GPA_B + 100, 64);
	assert_int_equal(f->vq.last_avail_idx, f->d.next);
	check_ret(vqfix_fetch(f), 0);
	vqfix_no_error(f);
}

static void no_more_chains_are_taken_than_asked_for(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	for (uint16_t i = 0; i < 5; i++)
		offer(f, i, GPA_A, 1, 0);
	check_ret(virtq_fetch(&f->vq, &f->batch, 2), 2);
	check_ret(virtq_avail_count(&f->vq), 3);
	check_ret(virtq_fetch(&f->vq, &f->batch, 2), 2);
	assert_int_equal(f->batch.chain[1].id, 3);
	check_ret(virtq_fetch(&f->vq, &f->batch, 2), 1);
	assert_int_equal(f->batch.chain[0].id, 4);
	assert_int_equal(f->batch.next, 0);
}

static void chains_are_counted_and_not_descriptors(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, f->packed ? 9 : 16, 0);
	for (uint16_t i = 0; i < 9; i++)
		offer(f, i - i % 3, GPA_A, 1, i % 3 < 2 ? NEXT : 0);
	check_ret(virtq_avail_count(&f->vq), 3);
	check_ret(virtq_fetch(&f->vq, &f->batch, 2), 2);
	assert_int_equal(f->batch.chain[1].id, 3);
	check_ret(virtq_avail_count(&f->vq), 1);
	check_ret(vqfix_fetch(f), 1);
	check_ret(virtq_avail_count(&f->vq), 0);
}

static void avail_more_tells_whether_chains_were_added(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 4, 0);
	offer(f, 0, GPA_A, 1, 0);
	check_ret(virtq_avail_count(&f->vq), 1);
	check_ret(virtq_avail_more(&f->vq), 0);
	offer(f, 1, GPA_A, 1, 0);
	check_ret(virtq_avail_more(&f->vq), 1);
	check_ret(vqfix_fetch(f), 2);
	virtq_rewind(&f->vq, &f->batch, 2);
	check_ret(virtq_avail_more(&f->vq), 0);
	offer(f, 2, GPA_A, 1, 0);
	offer(f, 3, GPA_A, 1, 0);
	check_ret(virtq_avail_more(&f->vq), 1);
	check_ret(vqfix_fetch(f), 4);
	virtq_rewind(&f->vq, &f->batch, 4);
	check_ret(virtq_avail_more(&f->vq), 0); /* full */
}

static void rewound_chains_come_again(void **state)
{
	struct vqfix *f = *state;

	vqfix_start_after(f, ODD(f, 16), 0, 12);
	for (uint16_t n = 1; n <= 4; n++) /* of 1, 2, 3, 4 descriptors */
		for (uint16_t i = 0; i < n; i++)
			offer(f, 4 * n - 4, GPA_A, 1, i + 1 < n ? NEXT : 0);
	check_ret(vqfix_fetch(f), 4);
	virtq_rewind(&f->vq, &f->batch, 3);
	assert_int_equal(f->vq.last_avail_idx, drv_after(&f->d, 13));
	check_ret(vqfix_fetch(f), 3);
	check_ndescs(f, f->batch.chain, 2);
	assert_int_equal(f->batch.chain[0].id, 4);
	virtq_rewind(&f->vq, &f->batch, 0);
	check_ret(vqfix_fetch(f), 0);
	assert_int_equal(f->vq.last_avail_idx, f->d.next);
}

static void chains_are_read_anew_when_they_come_again(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	offer(f, 0, GPA_A, 1, 0);
	check_ret(vqfix_fetch(f), 1);
	virtq_rewind(&f->vq, &f->batch, 1);
	drv_rewrite(&f->d, 0, GPA_C, 2, WRITE);
	if (f->packed)
		f->d.pdesc[0].id = htole16(7);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].nin, 1);
	assert_int_equal(f->batch.chain[0].id, f->packed ? 7 : 0);
	vqfix_check_seg(f, &f->batch.seg[0], GPA_C, 2);
}

/* The chains that fill_ring() offered. */
static struct {
	uint16_t id;
	uint8_t ndescs;
} offered[VIRTQ_MAX_NUM];

/* Fills the ring with chains of 1, 2, 3 descriptors in turn, those of a split
 * ring from the last slot down to the first; how many. */
static uint32_t fill_ring(struct vqfix *f)
{
	uint32_t room = f->d.num, chains = 0;

	f->d.stride = (uint16_t)-1;
	while (room) {
		uint8_t n = (uint8_t)MIN(1 + chains % 3, room);
		uint16_t id = (uint16_t)(f->packed ? ~chains : room - 1);

		for (uint32_t i = 0; i < n; i++)
			offer(f, id, GPA_A + chains, 1 + i,
			      WRITE | (i + 1u < n ? NEXT : 0));
		offered[chains].id = id;
		offered[chains++].ndescs = n;
		room -= n;
	}
	return chains;
}

static void check_chain(struct vqfix *f, const struct chain *c, uint32_t i)
{
	unsigned int n = offered[i].ndescs;

	assert_int_equal(c->id, offered[i].id);
	check_ndescs(f, c, n);
	assert_int_equal(c->in_len, n * (n + 1) / 2);
	assert_int_equal(f->batch.seg[c->seg].uva,
			 arena_uva(&f->arena, RAM_A_OFF) + i);
}

/* Fills the ring; the device takes and uses all of it. */
static void go_round(struct vqfix *f)
{
	uint32_t chains = fill_ring(f), back = 0;

	while (back < chains) {
		int n = check_ok(vqfix_fetch(f));

		assert_in_range(n, 1, chains - back);
		for (int k = 0; k < n; k++)
			check_chain(f, &f->batch.chain[k], back + (uint32_t)k);
		vqfix_push_batch(f, (unsigned int)n, 7);
		back += (uint32_t)n;
	}
	for (uint32_t i = 0; i < chains; i++)
		vqfix_check_used(f, offered[i].id, offered[i].ndescs, 7);
}

/* A packed ring's wrap counter turns, and a split one's indexes go past 65536.
 */
static void a_ring_of_any_size_wraps(void **state)
{
	static const uint32_t sizes[] = { 1,    2,     3,     4,    5,    7,
					  8,    16,    32,    64,   65,   100,
					  128,  255,   256,   257,  512,  1000,
					  1023, 1024,  1025,  2048, 4096, 4099,
					  8192, 16384, 32767, 32768 };
	struct vqfix *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint32_t num = sizes[i], laps = 3 + 20 / num;

		if (!size_ok(f, num))
			continue;
		vqfix_start_after(f, num, EVENT_IDX,
				  f->packed ? num + num / 2
					    : 65536 - laps * num / 2);
		for (uint32_t lap = 0; lap < laps; lap++)
			go_round(f);
		check_ret(vqfix_fetch(f), 0);
		assert_int_equal(f->vq.last_avail_idx, f->d.next);
		assert_int_equal(f->vq.last_used_idx, f->d.reaped);
		assert_false(drv_pending(&f->d));
		vqfix_no_error(f);
	}
}

static void zero_length_buffers_contribute_nothing(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	offer(f, 0, 0xdead, 0, NEXT); /* wherever it points */
	offer(f, 0, GPA_A, 5, NEXT);
	offer(f, 0, ~0ull, 0, WRITE);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].nout, 1);
	assert_int_equal(f->batch.chain[0].nin, 0);
	assert_int_equal(f->batch.chain[0].out_len, 5);
	check_ndescs(f, f->batch.chain, 3);
	vqfix_no_error(f);
}

static void unknown_descriptor_flags_are_ignored(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	offer(f, 0, GPA_A, 5, f->packed ? 0x7f78 : 0xfff8);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].nout, 1);
	vqfix_no_error(f);
}

/* ---- addresses ---- */

static void the_last_byte_of_a_region_can_be_used(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	offer(f, 0, GPA_C + RAM_SIZE - 1, 1, WRITE);
	offer(f, 1, GPA_C, RAM_SIZE, WRITE);
	check_ret(vqfix_fetch(f), 2);
	vqfix_no_error(f);
}

/* A buffer outside guest memory, readable and writable. */
static void bad_buffer(struct vqfix *f, uint64_t addr, uint32_t len)
{
	vqfix_start(f, 8, 0);
	offer(f, 0, addr, len, 0);
	vqfix_check_stuck(f, -EFAULT);
	drv_rewrite(&f->d, 0, addr, len, WRITE);
	vqfix_check_stuck(f, -EFAULT);
}

static void one_byte_past_a_region_stops_the_ring(void **state)
{
	bad_buffer(*state, GPA_C + RAM_SIZE - 1, 2);
}

static void a_buffer_before_a_region_stops_the_ring(void **state)
{
	bad_buffer(*state, GPA_A - 1, 2);
}

static void a_buffer_in_no_region_stops_the_ring(void **state)
{
	bad_buffer(*state, GPA_B_END, 1);
}

static void a_buffer_that_wraps_around_stops_the_ring(void **state)
{
	bad_buffer(*state, UINT64_MAX - 10, 100);
}

static void a_buffer_of_four_gigabytes_stops_the_ring(void **state)
{
	bad_buffer(*state, GPA_A, UINT32_MAX);
}

static void a_buffer_across_neighbouring_regions_is_cut(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	offer(f, 0, GPA_B - 10, 30, 0);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].nout, 2);
	assert_int_equal(f->batch.chain[0].out_len, 30);
	vqfix_check_seg(f, &f->batch.seg[0], GPA_B - 10, 10);
	vqfix_check_seg(f, &f->batch.seg[1], GPA_B, 20);
	vqfix_no_error(f);
}

/* ---- broken chains ---- */

/* A chain of @n descriptors of a byte each, from GPA_A on, id 0. */
static void offer_bytes(struct vqfix *f, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		offer(f, 0, GPA_A + i, 1, i + 1 < n ? NEXT : 0);
}

static void a_chain_as_long_as_the_ring_is_taken(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 7, 8, 100, 1023, 1024 };
	struct vqfix *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		if (!size_ok(f, sizes[i]))
			continue;
		vqfix_start_after(f, sizes[i], 0, 2 * sizes[i] - 1);
		offer_bytes(f, sizes[i]);
		check_ret(virtq_avail_count(&f->vq), 1);
		check_ret(vqfix_fetch(f), 1);
		assert_int_equal(f->batch.chain[0].nout, sizes[i]);
		check_ndescs(f, f->batch.chain, sizes[i]);
		vqfix_push_batch(f, 1, 9);
		vqfix_check_used(f, 0, sizes[i], 9);
		check_ret(vqfix_fetch(f), 0);
		vqfix_no_error(f);
	}
}

static void a_readable_buffer_behind_a_writable_one_stops_the_ring(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	offer(f, 0, GPA_A, 1, NEXT | WRITE);
	offer(f, 0, GPA_A, 1, 0);
	vqfix_check_stuck(f, -EINVAL);
}

static void a_chain_of_1024_pieces_is_taken(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, ODD(f, 2048), 0);
	offer_bytes(f, 1024);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].nout, 1024);
	vqfix_no_error(f);
}

static void a_chain_of_1025_pieces_stops_the_ring(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, ODD(f, 2048), 0);
	offer_bytes(f, 1025);
	vqfix_check_stuck(f, -ENOBUFS);
}

/* 1023 descriptors, then one across two regions: two pieces. */
static void pieces_are_counted_and_not_descriptors(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, ODD(f, 2048), 0);
	offer_bytes(f, 1024);
	drv_rewrite(&f->d, 1023, GPA_B - 1, 2, 0);
	vqfix_check_stuck(f, -ENOBUFS);
}

static void a_corrected_chain_is_taken(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	offer(f, 0, GPA_B_END, 1, 0);
	vqfix_check_stuck(f, -EFAULT);
	drv_rewrite(&f->d, 0, GPA_A, 1, 0);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(event_take(f->err), 0);
}

static void a_bad_chain_is_not_reported_before_those_ahead_of_it(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	offer(f, 0, GPA_A, 1, 0);
	offer(f, 1, GPA_A, 1, 0);
	offer(f, 2, GPA_B_END, 1, 0);
	offer(f, 3, GPA_A, 1, 0);
	check_ret(vqfix_fetch(f), 2);
	assert_int_equal(f->batch.next, -EFAULT);
	vqfix_no_error(f);
	vqfix_push_batch(f, 2, 0);
	vqfix_check_used(f, 0, 1, 0);
	vqfix_check_used(f, 1, 1, 0);
	vqfix_check_stuck(f, -EFAULT);
}

static void the_error_of_the_next_chain_comes_with_the_batch(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	offer(f, 0, GPA_A, 1, 0);
	offer(f, 1, GPA_B_END, 1, 0);
	check_ret(virtq_fetch(&f->vq, &f->batch, 1), 1);
	assert_int_equal(f->batch.next, 0);
	virtq_rewind(&f->vq, &f->batch, 1);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.next, -EFAULT);
	vqfix_no_error(f);
}

static void a_fault_is_logged_once_and_counted_every_time(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	offer(f, 0, GPA_B_END, 1, 0);
	for (int i = 0; i < 3; i++)
		check_ret(vqfix_fetch(f), -EFAULT);
	assert_int_equal(f->vq.counters.errors, 3);
	assert_true(f->vq.error_logged);
}

static void without_an_error_descriptor_faults_are_only_counted(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	f->vq.err_fd = -1;
	offer(f, 0, GPA_B_END, 1, 0);
	check_ret(vqfix_fetch(f), -EFAULT);
	assert_int_equal(f->vq.counters.errors, 1);
}

/* ---- indirect tables ---- */

static void an_indirect_table_is_followed(void **state)
{
	static const unsigned int sizes[] = { 1,   2,   3,    63,  64,
					      65,  127, 128,  129, 200,
					      512, 513, 1023, 1024 };
	struct vqfix *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		vqfix_fill_table(f, TABLE, sizes[i], 0);
		vqfix_offer_table(f, TABLE, (uint32_t)(sizes[i] * DESC));
		vqfix_check_bytes(f, sizes[i]);
	}
}

static void the_write_flag_counts_in_a_table(void **state)
{
	struct vqfix *f = *state;

	vqfix_fill_table(f, TABLE, 10, 4);
	vqfix_offer_table(f, TABLE, 10 * DESC);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].nout, 6);
	assert_int_equal(f->batch.chain[0].nin, 4);
}

static void an_indirect_table_may_lie_across_regions(void **state)
{
	struct vqfix *f = *state;

	vqfix_fill_table(f, TABLE, 100, 0);
	for (uint32_t before = 8; before < 100 * DESC; before += 8 * 23) {
		uint64_t at = GPA_B - before;

		for (size_t k = 0; k < 100 * DESC; k++)
			*arena_ram(&f->arena, at + k) =
				*arena_ram(&f->arena, TABLE + k);
		vqfix_offer_table(f, at, 100 * DESC);
		vqfix_check_bytes(f, 100);
	}
}

static void an_indirect_table_may_be_misaligned(void **state)
{
	struct vqfix *f = *state;

	for (uint64_t off = 1; off < 16; off++) {
		vqfix_fill_table(f, TABLE + off, 100, 0);
		vqfix_offer_table(f, TABLE + off, 100 * DESC);
		vqfix_check_bytes(f, 100);
	}
}

/* All its entries but two without bytes. */
static void a_table_of_65536_is_the_largest(void **state)
{
	struct vqfix *f = *state;

	memset(arena_ram(&f->arena, GPA_C), 0, 65536 * DESC);
	vqfix_fill_table(f, GPA_C, 2, 0);
	vqfix_offer_table(f, GPA_C, 65536 * DESC);
	vqfix_check_bytes(f, 2);
}

/* Indirect tables that are wrong by their address or length alone. */
static void bad_table(struct vqfix *f, uint64_t addr, uint32_t len, int err)
{
	vqfix_fill_table(f, TABLE, 1025, 0);
	vqfix_offer_table(f, addr, len);
	vqfix_check_stuck_in_table(f, err);
}

static void a_larger_table_stops_the_ring(void **state)
{
	bad_table(*state, GPA_C, 65537 * DESC, -EINVAL);
}

static void a_table_with_a_remainder_stops_the_ring(void **state)
{
	bad_table(*state, TABLE, 2 * DESC + 1, -EINVAL);
}

static void an_empty_table_stops_the_ring(void **state)
{
	bad_table(*state, TABLE, 0, -EINVAL);
}

static void a_table_in_no_region_stops_the_ring(void **state)
{
	bad_table(*state, GPA_B_END - DESC, 2 * DESC, -EFAULT);
}

static void more_than_1024_pieces_in_a_table_stop_the_ring(void **state)
{
	bad_table(*state, TABLE, 1025 * DESC, -ENOBUFS);
}

/* Address and flags are in the same place in both formats, but for a split
 * descriptor's flags. */
static void a_bad_buffer_in_a_table_stops_the_ring(void **state)
{
	struct vqfix *f = *state;
	struct vring_desc *t = (void *)arena_ram(&f->arena, TABLE);
	struct vring_packed_desc *p = (void *)t;

	vqfix_fill_table(f, TABLE, 3, 0);
	t[1].addr = htole64(GPA_B_END);
	vqfix_offer_table(f, TABLE, 3 * DESC);
	vqfix_check_stuck_in_table(f, -EFAULT);
	/* readable behind writable */
	vqfix_fill_table(f, TABLE, 3, 2);
	if (f->packed)
		p[2].flags = 0;
	else
		t[2].flags = 0;
	vqfix_offer_table(f, TABLE, 3 * DESC);
	vqfix_check_stuck_in_table(f, -EINVAL);
}

static void a_table_that_the_owner_unmapped_stops_the_ring(void **state)
{
	struct vqfix *f = *state;

	vqfix_fill_table(f, TABLE, 100, 0);
	vqfix_offer_table(f, TABLE, 100 * DESC);
	assert_int_equal(munmap(arena_ram(&f->arena, TABLE), PAGE), 0);
	vqfix_check_stuck_in_table(f, -EFAULT);
}

static void the_write_flag_of_an_indirect_descriptor_is_ignored(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	vqfix_fill_table(f, TABLE, 2, 0);
	offer(f, 2, TABLE, 2 * DESC, INDIRECT | WRITE);
	vqfix_check_bytes(f, 2);
}

/* With some direct chains, of two, between them. */
static void a_batch_of_indirect_chains_is_followed(void **state)
{
	struct vqfix *f = *state;
	unsigned int chains = 0;

	vqfix_start_after(f, ODD(f, 256), 0, 150);
	for (uint16_t i = 0; i < ODD(f, 256); i++, chains++) {
		uint64_t at = TABLE + i * 1024u;

		if (i % 7 == 5) {
			offer(f, i, GPA_A, 1, NEXT);
			offer(f, i++, GPA_A, 1, 0);
			continue;
		}
		vqfix_fill_table(f, at, 1u + i % 40, 0);
		offer(f, i, at, (uint32_t)((1u + i % 40) * DESC), INDIRECT);
	}
	for (unsigned int i = 0; i < chains; i += f->batch.n) {
		check_ok(vqfix_fetch(f));
		assert_int_not_equal(f->batch.n, 0);
		for (unsigned int k = 0; k < f->batch.n; k++) {
			const struct chain *c = &f->batch.chain[k];

			assert_int_equal(c->out_len,
					 c->id % 7 == 5 ? 2 : 1 + c->id % 40);
		}
	}
	check_ret(vqfix_fetch(f), 0);
	vqfix_no_error(f);
}

/* ---- limits of a batch ---- */

static void a_batch_ends_where_its_pieces_do(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	vqfix_fill_table(f, TABLE, 1000, 0);
	for (uint16_t i = 0; i < 5; i++)
		offer(f, i, TABLE, 1000 * DESC, INDIRECT);
	check_ret(vqfix_fetch(f), 2);
	assert_int_equal(f->batch.nsegs, 2000);
	assert_int_equal(f->batch.next, -ENOSPC);
	check_ret(vqfix_fetch(f), 2);
	assert_int_equal(f->batch.chain[0].id, 2);
	check_ret(vqfix_fetch(f), 1);
	check_ret(vqfix_fetch(f), 0);
	vqfix_no_error(f);
}

static void short_chains_behind_long_ones_end_it_too(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, ODD(f, 256), 0);
	vqfix_fill_table(f, TABLE, 1000, 0);
	for (uint16_t i = 0; i < 2; i++)
		offer(f, i, TABLE, 1000 * DESC, INDIRECT);
	for (uint16_t i = 2; i < 100; i++)
		offer(f, i, GPA_A, 1, 0);
	check_ret(vqfix_fetch(f), 50);
	assert_int_equal(f->batch.nsegs, VIRTQ_BATCH_SEGS);
	assert_int_equal(f->batch.next, -ENOSPC);
	check_ret(vqfix_fetch(f), 50);
	assert_int_equal(f->batch.chain[0].id, 50);
	vqfix_no_error(f);
}

static void
a_direct_chain_that_does_not_fit_waits_for_the_next_batch(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, ODD(f, 4096), 0);
	for (uint16_t c = 0; c < 3000; c += 1000)
		for (uint16_t i = 0; i < 1000; i++)
			offer(f, c, GPA_A, 1, i < 999 ? NEXT : 0);
	for (unsigned int i = 0; i < 3; i += f->batch.n) {
		int n = check_ok(vqfix_fetch(f));

		/* of a copied packed ring, as many as were copied */
		assert_in_range(n, f->packed || i ? 1 : 2, 2);
		assert_int_equal(f->batch.chain[0].id, i * 1000);
		assert_int_equal(f->batch.chain[0].nout, 1000);
	}
	check_ret(vqfix_fetch(f), 0);
	vqfix_no_error(f);
}

/* A packed ring may give fewer: as many as it has looked at. */
static void a_batch_has_at_most_1024_chains(void **state)
{
	struct vqfix *f = *state;
	unsigned int num = ODD(f, 2048), total = 0;

	vqfix_start(f, num, 0);
	for (uint16_t i = 0; i < num; i++)
		offer(f, i, GPA_A, 1, 0);
	while (total < num) {
		int n = check_ok(virtq_fetch(&f->vq, &f->batch, 5000));

		assert_in_range(n, f->packed ? 1 : 1024, 1024);
		assert_int_equal(f->batch.chain[0].id, total);
		total += (unsigned int)n;
		vqfix_push_batch(f, (unsigned int)n, 0);
	}
	check_ret(vqfix_fetch(f), 0);
}

/* ---- starting ---- */

static void a_start_without_its_memory_is_refused(void **state)
{
	struct vqfix *f = *state;
	const uint64_t bad[] = {
		0,
		arena_uva(&f->arena, ARENA_SIZE),
		arena_uva(&f->arena, 0) - PAGE,
		arena_uva(&f->arena, 0) - 2,
	};

	vqfix_start(f, 8, 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		f->vq.addr.used_user_addr = bad[i];
		check_ret(virtq_start(&f->vq), -EFAULT);
	}
}

/* ---- signals ---- */

static void a_completion_is_signalled_unless_switched_off(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	vqfix_push(f, 0, 1, 0);
	assert_true(vqfix_signalled(f));
	drv_signals(&f->d, false);
	vqfix_push(f, 0, 1, 0);
	assert_false(vqfix_signalled(f));
	drv_signals(&f->d, true);
	vqfix_push(f, 0, 1, 0);
	assert_true(vqfix_signalled(f));
}

static void without_a_call_descriptor_nothing_is_decided(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, EVENT_IDX);
	f->vq.call_fd = -1;
	vqfix_push(f, 0, 1, 0);
	virtq_signal(&f->vq);
	assert_int_equal(f->vq.counters.signals, 0);
	assert_int_equal(f->vq.counters.suppressed, 0);
	assert_false(f->vq.signalled_used_valid);
}

static void the_first_signal_after_a_start_is_unconditional(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, EVENT_IDX);
	drv_signal_at(&f->d, drv_after(&f->d, 14));
	vqfix_push(f, 0, 1, 0);
	assert_true(vqfix_signalled(f));
	vqfix_push(f, 0, 1, 0);
	assert_false(vqfix_signalled(f));
	f->vq.last_avail_idx = f->vq.last_used_idx;
	check_ret(virtq_start(&f->vq), 0);
	vqfix_push(f, 0, 1, 0);
	assert_true(vqfix_signalled(f));
}

/* The ring has used @from entries, and signalled; it uses @step more, with the
 * event @ahead of it. */
static void pass_event(struct vqfix *f, uint32_t num, uint32_t from,
		       uint32_t step, int ahead)
{
	vqfix_start_after(f, num, EVENT_IDX, from - 1);
	vqfix_push(f, 0, 1, 0);
	assert_true(vqfix_signalled(f));
	if (!f->packed) /* has no meaning with EVENT_IDX */
		f->d.avail->flags = htole16(VRING_AVAIL_F_NO_INTERRUPT);
	drv_signal_at(&f->d, drv_after(&f->d, from + (uint32_t)ahead));
	if (f->packed)
		vqfix_push(f, 0, (uint16_t)step, 0);
	for (uint32_t i = 0; !f->packed && i < step; i++)
		vqfix_push(f, 0, 1, 0);
	assert_int_equal(vqfix_signalled(f), ahead >= 0 && ahead < (int)step);
}

/* Every event against every step from every place: of a packed ring, all that
 * there are; of a split one, those around 65536. */
static void a_signal_comes_when_the_event_is_passed(void **state)
{
	struct vqfix *f = *state;
	int num = f->packed ? 5 : 4, behind = f->packed ? 0 : num;
	uint32_t from = f->packed ? 10 : 65536 - 4;

	for (int i = 0; i < 2 * num; i++)
		for (int step = 1; step <= num; step++)
			for (int ahead = -behind; ahead < 2 * num; ahead++)
				pass_event(f, (uint32_t)num, from + (uint32_t)i,
					   (uint32_t)step, ahead);
}

static void a_batch_that_passes_the_event_is_signalled(void **state)
{
	struct vqfix *f = *state;
	const struct virtq_used e[8] = { [0 ... 7] = { .ndescs = 1,
						       .nchains = 1 } };

	vqfix_start(f, ODD(f, 16), EVENT_IDX);
	check_ret(virtq_push(&f->vq, e, 1), 0);
	vqfix_signalled(f);
	drv_signal_at(&f->d, drv_after(&f->d, 4));
	check_ret(virtq_push(&f->vq, e, 3), 0); /* 1...3 */
	assert_false(vqfix_signalled(f));
	check_ret(virtq_push(&f->vq, e, 8), 0); /* 4...11 */
	assert_true(vqfix_signalled(f));
	drv_signal_at(&f->d, drv_after(&f->d, 11));
	check_ret(virtq_push(&f->vq, e, 8), 0);
	assert_false(vqfix_signalled(f));
}

static void several_chains_at_once_pass_the_event(void **state)
{
	struct vqfix *f = *state;
	struct virtq_used e = { .id = 5, .ndescs = 3, .nchains = 3 };

	for (uint16_t event = 0; event < 8; event++) {
		vqfix_start(f, 8, IN_ORDER | EVENT_IDX);
		vqfix_push(f, 0, 1, 0);
		assert_true(vqfix_signalled(f));
		drv_signal_at(&f->d, drv_after(&f->d, event));
		check_ret(virtq_push(&f->vq, &e, 1), 0); /* 1...3 */
		assert_int_equal(vqfix_signalled(f), event >= 1 && event <= 3);
	}
}

/* ---- kicks ---- */

static void kicks_are_switched_off_and_on(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	assert_true(drv_kicks(&f->d));
	virtq_disable_notify(&f->vq);
	assert_false(drv_kicks(&f->d));
	assert_false(virtq_enable_notify(&f->vq));
	assert_true(drv_kicks(&f->d));
	if (!f->packed)
		assert_int_equal(*drv_avail_event(&f->d), 0);
}

static void a_kick_is_wanted_at_the_first_chain_not_seen(void **state)
{
	struct vqfix *f = *state;

	vqfix_start_after(f, ODD(f, 8), EVENT_IDX, f->packed ? 5 : 65534);
	virtq_disable_notify(&f->vq);
	for (uint16_t i = 0; i < 4; i++)
		offer(f, i, GPA_A, 1, 0);
	check_ret(vqfix_fetch(f), 4);
	assert_false(virtq_enable_notify(&f->vq));
	assert_int_equal(drv_kick_at(&f->d), f->d.next);
	/* seen, and left where they are */
	virtq_disable_notify(&f->vq);
	virtq_rewind(&f->vq, &f->batch, 4);
	assert_false(virtq_enable_notify(&f->vq));
	assert_int_equal(drv_kick_at(&f->d), f->d.next);
}

static void chains_that_came_meanwhile_are_noticed(void **state)
{
	static const uint64_t features[] = { 0, EVENT_IDX };
	struct vqfix *f = *state;

	for (unsigned int i = 0; i < 2; i++) {
		unsigned int num = ODD(f, 4);

		vqfix_start_after(f, num, features[i], 5);
		virtq_disable_notify(&f->vq);
		check_ret(vqfix_fetch(f), 0);
		assert_false(virtq_avail_changed(&f->vq));
		offer(f, 0, GPA_A, 1, 0);
		assert_true(virtq_avail_changed(&f->vq));
		assert_true(virtq_enable_notify(&f->vq));
		virtq_disable_notify(&f->vq);
		check_ret(vqfix_fetch(f), 1);
		assert_false(virtq_avail_changed(&f->vq));
		assert_false(virtq_enable_notify(&f->vq));
		/* and with the whole ring in flight */
		for (uint16_t k = 1; k < num; k++)
			offer(f, k, GPA_A, 1, 0);
		check_ret(vqfix_fetch(f), num - 1);
		assert_false(virtq_avail_changed(&f->vq));
	}
}

/* ---- IOTLB ---- */

static void a_ring_in_many_pieces_works(void **state)
{
	static const struct {
		uint32_t num;
		uint64_t step, total;
	} cuts[] = {
		{ 8, 64, 1024 },        { 7, 24, 1008 },
		{ 8, 24, 1008 },        { 8, 20, 1000 },
		{ 256, 4096, 0x2000 },  { 300, 4096, 0x2000 },
		{ 512, 256, 0x4000 },   { 513, 256, 0x3000 },
		{ 1024, 1028, 0x8000 },
	};
	struct vqfix *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		if (!size_ok(f, cuts[i].num))
			continue;
		rangemap_clear(&f->mv.iotlb);
		vqfix_iotlb(f, cuts[i].num, EVENT_IDX);
		vqfix_iotlb_rings(f, cuts[i].step, cuts[i].total);
		vqfix_iotlb_add(f, GPA_A, RAM_SIZE, RAM_A_OFF, RANGE_RW);
		check_ret(virtq_start(&f->vq), 0);
		for (unsigned int lap = 0; lap < 3; lap++) {
			go_round(f);
			virtq_disable_notify(&f->vq);
			assert_false(virtq_enable_notify(&f->vq));
			assert_int_equal(drv_kick_at(&f->d), f->d.next);
		}
		vqfix_no_error(f);
		assert_int_equal(f->misses, 0);
	}
}

/* Bytes of the used ring of 8, or of the event structure in its place. */
static uint32_t used_size(const struct vqfix *f)
{
	return f->packed ? 4 : 4 + 8 * 8;
}

/* The used ring's (the event structure's) entry in the IOTLB. */
static void add_used(struct vqfix *f)
{
	uint64_t used = f->vq.addr.used_user_addr;

	vqfix_iotlb_add(f, used, used_size(f),
			used - IOVA_SHIFT - arena_uva(&f->arena, 0), RANGE_RW);
}

static void a_start_needs_the_used_ring_in_the_iotlb(void **state)
{
	struct vqfix *f = *state;

	vqfix_iotlb(f, 8, 0);
	check_ret(virtq_start(&f->vq), -EFAULT);
	assert_int_equal(event_take(f->err), 1);
	assert_int_equal(f->misses, 1);
	assert_int_equal(f->miss_addr, f->vq.addr.used_user_addr);
	assert_int_equal(f->miss_perm, RANGE_WO);
	add_used(f); /* but not the rest */
	check_ret(virtq_start(&f->vq), 0);
	assert_int_equal(event_take(f->err), 0);
}

static void a_hole_under_a_ring_part_is_asked_for_in_order(void **state)
{
	struct vqfix *f = *state;
	uint8_t perm = f->packed ? RANGE_RW : RANGE_RO;
	uint64_t avail, desc;

	vqfix_iotlb(f, 8, 0);
	avail = f->vq.addr.avail_user_addr;
	desc = f->vq.addr.desc_user_addr;
	add_used(f);
	check_ret(virtq_start(&f->vq), 0);

	check_ret(vqfix_fetch(f), -EAGAIN);
	assert_int_equal(f->miss_addr, desc);
	assert_int_equal(f->miss_perm, f->packed ? RANGE_WO : RANGE_RO);
	vqfix_iotlb_add(f, desc, 100, 0, perm); /* not all of it */
	check_ret(vqfix_fetch(f), -EAGAIN);
	assert_int_equal(f->miss_addr, desc + 100);
	vqfix_iotlb_add(f, desc + 100, 28, 100, perm);
	check_ret(vqfix_fetch(f), -EAGAIN);
	assert_int_equal(f->miss_addr, avail);
	assert_int_equal(f->miss_perm, RANGE_RO);
	vqfix_iotlb_add(f, avail, f->packed ? 4 : 64, avail - desc, RANGE_RO);
	check_ret(vqfix_fetch(f), 0);
	assert_int_equal(f->misses, 3);
	vqfix_no_error(f);
}

/* The device reads a split ring's descriptors, and a packed one's it writes,
 * too. */
static void a_ring_part_without_permission_is_no_error_and_no_miss(void **state)
{
	struct vqfix *f = *state;

	for (uint8_t perm = f->packed ? RANGE_RO : RANGE_WO; perm <= RANGE_WO;
	     perm++) {
		rangemap_clear(&f->mv.iotlb);
		vqfix_iotlb(f, 8, 0);
		vqfix_iotlb_add(f, f->vq.addr.desc_user_addr, 128, 0, perm);
		vqfix_iotlb_add(f, f->vq.addr.desc_user_addr + 128, PAGE, 128,
				RANGE_RW);
		check_ret(virtq_start(&f->vq), 0);
		check_ret(vqfix_fetch(f), -EPERM);
		assert_int_equal(f->misses, 0);
		vqfix_no_error(f);
	}
}

/* A started ring of 8; the IOTLB has the ring and nothing else. */
static void start_iotlb_rings(struct vqfix *f)
{
	rangemap_clear(&f->mv.iotlb);
	vqfix_iotlb(f, 8, 0);
	vqfix_iotlb_rings(f, PAGE, PAGE);
	check_ret(virtq_start(&f->vq), 0);
}

static void a_hole_under_a_buffer_is_asked_for(void **state)
{
	struct vqfix *f = *state;

	start_iotlb_rings(f);
	vqfix_iotlb_add(f, 0x1000, 0x1000, RAM_A_OFF, RANGE_RW);
	offer(f, 0, 0x1800, 100, 0);
	offer(f, 1, 0x1ff0, 100, WRITE);
	check_ret(vqfix_fetch(f), 1); /* the one behind it may wait */
	assert_int_equal(f->batch.next, -EAGAIN);
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
	offer(f, 0, 0x1000, 32, INDIRECT);
	check_ret(vqfix_fetch(f), -EAGAIN);
	assert_int_equal(f->miss_addr, 0x1000);
	assert_int_equal(f->miss_perm, RANGE_RO);
	vqfix_iotlb_add(f, 0x1000, 16, RAM_A_OFF, RANGE_RO);
	check_ret(vqfix_fetch(f), -EAGAIN);
	assert_int_equal(f->miss_addr, 0x1010);
	vqfix_no_error(f);
}

static void a_buffer_without_permission_stops_the_ring(void **state)
{
	struct vqfix *f = *state;

	for (uint16_t write = 0; write <= WRITE; write += WRITE) {
		start_iotlb_rings(f);
		vqfix_iotlb_add(f, 0x1000, 0x1000, RAM_A_OFF,
				write ? RANGE_RO : RANGE_WO);
		offer(f, 0, 0x1000, 1, write ^ WRITE);
		offer(f, 1, 0x1000, 1, write);
		check_ret(vqfix_fetch(f), 1);
		assert_int_equal(f->batch.next, -EPERM);
		vqfix_push_batch(f, 1, 0);
		vqfix_check_used(f, 0, 1, 0);
		vqfix_check_stuck(f, -EPERM);
		assert_int_equal(f->misses, 0);
	}
}

/* ---- memory that changes ---- */

static void a_moved_ring_is_found_after_a_change(void **state)
{
	struct vqfix *f = *state;
	struct drv old;

	vqfix_start(f, 8, 0);
	offer(f, 0, GPA_A, 1, 0);
	check_ret(virtq_avail_count(&f->vq), 1);
	check_ret(vqfix_fetch(f), 1);
	virtq_rewind(&f->vq, &f->batch, 1);
	old = f->d;
	drv_init(&f->d, &f->arena, 0x10000, 8, f->packed);
	f->vq.addr = drv_addr(&f->d, 0);
	virtq_changed(&f->vq);
	if (f->packed) /* nothing is known of this one */
		check_ret(vqfix_fetch(f), 0);
	offer(f, 3, GPA_A, 1, 0);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].id, 3);
	vqfix_push(f, 3, 1, 9);
	vqfix_check_used(f, 3, 1, 9);
	assert_false(drv_pending(&old));
}

static void event_idx_can_come_while_the_ring_runs(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	check_ret(vqfix_fetch(f), 0);
	f->vq.features |= EVENT_IDX;
	virtq_changed(&f->vq);
	offer(f, 0, GPA_A, 1, 0);
	drv_signal_at(&f->d, drv_after(&f->d, 1));
	check_ret(vqfix_fetch(f), 1);
	vqfix_push(f, 0, 1, 0);
	assert_true(vqfix_signalled(f));
	vqfix_push(f, 0, 1, 0);
	assert_true(vqfix_signalled(f));
	vqfix_push(f, 0, 1, 0);
	assert_false(vqfix_signalled(f));
	virtq_disable_notify(&f->vq);
	virtq_enable_notify(&f->vq);
	assert_int_equal(drv_kick_at(&f->d), f->d.next);
}

static void a_truncated_file_breaks_the_ring(void **state)
{
	struct vqfix *f = *state;

	aspace_guard_install(); /* cmocka has handlers of its own */
	vqfix_start(f, 8, 0);
	offer(f, 0, GPA_A, 1, 0);
	offer(f, 1, GPA_A, 1, 0);
	check_ret(virtq_fetch(&f->vq, &f->batch, 1), 1);
	check_ret(ftruncate(f->arena.memfd, 0), 0);
	/* zeros instead of the ring from here on, to the end of the batch */
	check_ok(virtq_fetch(&f->vq, &f->batch, 1));
	vqfix_push(f, 0, 1, 0);
	check_ret(vqfix_fetch(f), -EIO);
	assert_int_equal(event_take(f->err), 1);
	assert_true(f->vq.broken);
	check_ret(vqfix_fetch(f), -EIO); /* reported once */
	assert_false(virtq_avail_changed(&f->vq));
	assert_false(virtq_enable_notify(&f->vq));
	assert_int_equal(event_take(f->err), 0);
}

static void an_owner_that_exited_breaks_the_ring(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	offer(f, 0, GPA_A, 1, 0);
	check_ret(vqfix_fetch(f), 1);
	arena_end_child(&f->arena);
	offer(f, 1, GPA_A, 1, 0);
	check_ret(vqfix_fetch(f), -ESRCH);
	assert_true(f->vq.broken);
	assert_int_equal(event_take(f->err), 1);
	check_ret(vqfix_fetch(f), -EIO);
	assert_int_equal(event_take(f->err), 0);
}

static void a_ring_of_another_process_works(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, EVENT_IDX);
	offer(f, 0, GPA_A, 1, 0);
	check_ret(vqfix_fetch(f), 1);
	vqfix_push_batch(f, 1, 3);
	vqfix_check_used(f, 0, 1, 3);
	vqfix_no_error(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FORMATS(an_empty_ring_gives_nothing),
		FORMATS(a_chain_comes_with_its_pieces_in_order),
		FORMATS(no_more_chains_are_taken_than_asked_for),
		FORMATS(chains_are_counted_and_not_descriptors),
		FORMATS(avail_more_tells_whether_chains_were_added),
		FORMATS(rewound_chains_come_again),
		FORMATS(chains_are_read_anew_when_they_come_again),
		FORMATS(a_ring_of_any_size_wraps),
		FORMATS(zero_length_buffers_contribute_nothing),
		FORMATS(unknown_descriptor_flags_are_ignored),
		FORMATS(the_last_byte_of_a_region_can_be_used),
		FORMATS(one_byte_past_a_region_stops_the_ring),
		FORMATS(a_buffer_before_a_region_stops_the_ring),
		FORMATS(a_buffer_in_no_region_stops_the_ring),
		FORMATS(a_buffer_that_wraps_around_stops_the_ring),
		FORMATS(a_buffer_of_four_gigabytes_stops_the_ring),
		FORMATS(a_buffer_across_neighbouring_regions_is_cut),
		FORMATS(a_chain_as_long_as_the_ring_is_taken),
		FORMATS(a_readable_buffer_behind_a_writable_one_stops_the_ring),
		FORMATS(a_chain_of_1024_pieces_is_taken),
		FORMATS(a_chain_of_1025_pieces_stops_the_ring),
		FORMATS(pieces_are_counted_and_not_descriptors),
		FORMATS(a_corrected_chain_is_taken),
		FORMATS(a_bad_chain_is_not_reported_before_those_ahead_of_it),
		FORMATS(the_error_of_the_next_chain_comes_with_the_batch),
		FORMATS(a_fault_is_logged_once_and_counted_every_time),
		FORMATS(without_an_error_descriptor_faults_are_only_counted),
		FORMATS(an_indirect_table_is_followed),
		FORMATS(the_write_flag_counts_in_a_table),
		FORMATS(an_indirect_table_may_lie_across_regions),
		FORMATS(an_indirect_table_may_be_misaligned),
		FORMATS(a_table_of_65536_is_the_largest),
		FORMATS(a_larger_table_stops_the_ring),
		FORMATS(a_table_with_a_remainder_stops_the_ring),
		FORMATS(an_empty_table_stops_the_ring),
		FORMATS(a_table_in_no_region_stops_the_ring),
		FORMATS(more_than_1024_pieces_in_a_table_stop_the_ring),
		FORMATS(a_bad_buffer_in_a_table_stops_the_ring),
		FORMATS_IN(copied,
			   a_table_that_the_owner_unmapped_stops_the_ring),
		FORMATS_IN(rings_mapped,
			   a_table_that_the_owner_unmapped_stops_the_ring),
		FORMATS(the_write_flag_of_an_indirect_descriptor_is_ignored),
		FORMATS(a_batch_of_indirect_chains_is_followed),
		FORMATS(a_batch_ends_where_its_pieces_do),
		FORMATS(short_chains_behind_long_ones_end_it_too),
		FORMATS(a_direct_chain_that_does_not_fit_waits_for_the_next_batch),
		FORMATS(a_batch_has_at_most_1024_chains),
		FORMATS(a_start_without_its_memory_is_refused),
		FORMATS(a_completion_is_signalled_unless_switched_off),
		FORMATS(without_a_call_descriptor_nothing_is_decided),
		FORMATS(the_first_signal_after_a_start_is_unconditional),
		FORMATS(a_signal_comes_when_the_event_is_passed),
		FORMATS(a_batch_that_passes_the_event_is_signalled),
		FORMATS(several_chains_at_once_pass_the_event),
		FORMATS(kicks_are_switched_off_and_on),
		FORMATS(a_kick_is_wanted_at_the_first_chain_not_seen),
		FORMATS(chains_that_came_meanwhile_are_noticed),
		FORMATS(a_ring_in_many_pieces_works),
		FORMATS(a_start_needs_the_used_ring_in_the_iotlb),
		FORMATS(a_hole_under_a_ring_part_is_asked_for_in_order),
		FORMATS(a_ring_part_without_permission_is_no_error_and_no_miss),
		FORMATS(a_hole_under_a_buffer_is_asked_for),
		FORMATS(a_hole_under_an_indirect_table_is_asked_for),
		FORMATS(a_buffer_without_permission_stops_the_ring),
		FORMATS(a_moved_ring_is_found_after_a_change),
		FORMATS(event_idx_can_come_while_the_ring_runs),
		FORMATS_IN(mapped, a_truncated_file_breaks_the_ring),
		FORMATS_IN(rings_mapped, a_truncated_file_breaks_the_ring),
		FORMATS_IN(child, an_owner_that_exited_breaks_the_ring),
		FORMATS_IN(child, a_ring_of_another_process_works),
	};

	return cmocka_run_group_tests_name("virtq", tests, NULL, NULL);
}
