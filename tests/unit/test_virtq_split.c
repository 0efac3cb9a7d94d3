/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_virtq_split.c tests what only a split ring has, device side: chains by
 * index, the available index, linked indirect tables, and the used ring.
 * test_virtq.c has what both formats have in common.
 */
#include "check.h"

#include <endian.h>

#include "vqfix.h"

static void a_head_past_the_ring_stops_the_ring(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	drv_add(&f->d, 8);
	drv_publish(&f->d);
	vqfix_check_stuck(f, -EINVAL);
}

static void the_greatest_head_stops_the_ring(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, VIRTQ_MAX_NUM, 0);
	drv_add(&f->d, 0xffff);
	drv_publish(&f->d);
	vqfix_check_stuck(f, -EINVAL);
}

static void a_next_past_the_ring_stops_the_ring(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	drv_desc(&f->d.desc[0], GPA_A, 1, NEXT, 8);
	drv_add(&f->d, 0);
	drv_publish(&f->d);
	vqfix_check_stuck(f, -EINVAL);
}

static void a_loop_of_descriptors_stops_the_ring(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	for (uint16_t i = 0; i < 8; i++)
		drv_desc(&f->d.desc[i], GPA_A, 1, NEXT, (i + 1) & 7);
	drv_add(&f->d, 0);
	drv_publish(&f->d);
	vqfix_check_stuck(f, -EINVAL);
}

/* ---- the available index ---- */

static void an_index_a_whole_ring_ahead_is_valid(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	for (uint16_t i = 0; i < 8; i++)
		drv_offer(&f->d, i, GPA_A, 1, 0);
	check_ret(vqfix_fetch(f), 8);
	vqfix_no_error(f);
}

static void
an_index_further_ahead_stops_the_ring_until_it_is_valid(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	drv_desc(&f->d.desc[0], GPA_A, 1, 0, 0);
	f->d.next = 9;
	drv_publish(&f->d);
	vqfix_check_stuck(f, -EINVAL);
	f->d.next = 1;
	drv_publish(&f->d);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(event_take(f->err), 0);
}

static void an_index_that_goes_back_stops_the_ring(void **state)
{
	struct vqfix *f = *state;

	vqfix_start_at(f, 8, 0, 0);
	f->d.next = (uint16_t)-1;
	drv_publish(&f->d);
	vqfix_check_stuck(f, -EINVAL);
}

static void the_index_is_read_only_when_chains_run_out(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	drv_offer(&f->d, 0, GPA_A, 1, 0);
	drv_offer(&f->d, 1, GPA_A, 1, 0);
	check_ret(virtq_fetch(&f->vq, &f->batch, 1), 1);
	f->d.next = 1000; /* invalid, but not read yet */
	drv_publish(&f->d);
	check_ret(virtq_fetch(&f->vq, &f->batch, 1), 1);
	vqfix_no_error(f);
	vqfix_check_stuck(f, -EINVAL);
}

/* ---- indirect tables ---- */

static struct vring_desc *table_at(struct vqfix *f, uint64_t gpa)
{
	return (struct vring_desc *)arena_ram(&f->arena, gpa);
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
	vqfix_offer_table(f, TABLE, n * DESC);
	vqfix_check_bytes(f, n);
}

static void entries_behind_the_end_of_a_chain_do_not_matter(void **state)
{
	struct vqfix *f = *state;

	vqfix_fill_table(f, TABLE, 3, 0);
	drv_desc(&table_at(f, TABLE)[3], 0, 1, INDIRECT, 0);
	vqfix_offer_table(f, TABLE, 4 * DESC);
	vqfix_check_bytes(f, 3);
}

static void a_table_in_a_table_stops_the_ring(void **state)
{
	struct vqfix *f = *state;

	vqfix_fill_table(f, TABLE, 3, 0);
	drv_desc(&table_at(f, TABLE)[1], TABLE, DESC, INDIRECT, 0);
	vqfix_offer_table(f, TABLE, 3 * DESC);
	vqfix_check_stuck_in_table(f, -EINVAL);
}

static void a_next_past_a_table_stops_the_ring(void **state)
{
	struct vqfix *f = *state;

	for (unsigned int n = 3; n < 300; n += 99) {
		vqfix_fill_table(f, TABLE, n, 0);
		drv_desc(&table_at(f, TABLE)[1], GPA_A, 1, NEXT, (uint16_t)n);
		vqfix_offer_table(f, TABLE, (uint32_t)(n * DESC));
		vqfix_check_stuck_in_table(f, -EINVAL);
	}
}

static void a_loop_in_a_table_stops_the_ring(void **state)
{
	struct vqfix *f = *state;

	for (unsigned int n = 2; n < 300; n += 99) {
		vqfix_fill_table(f, TABLE, n, 0);
		drv_desc(&table_at(f, TABLE)[n - 1], GPA_A, 1, NEXT, 0);
		vqfix_offer_table(f, TABLE, (uint32_t)(n * DESC));
		vqfix_check_stuck_in_table(f, -EINVAL);
	}
}

static void a_chain_goes_on_behind_an_indirect_descriptor(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	vqfix_fill_table(f, TABLE, 2, 0);
	drv_desc(&f->d.desc[2], TABLE, 2 * DESC, INDIRECT | NEXT, 4);
	drv_desc(&f->d.desc[4], GPA_A + 2, 1, 0, 0);
	drv_add(&f->d, 2);
	drv_publish(&f->d);
	vqfix_check_bytes(f, 3);
}

static void
a_readable_table_behind_a_writable_buffer_stops_the_ring(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	vqfix_fill_table(f, TABLE, 2, 0);
	drv_desc(&f->d.desc[0], GPA_A, 1, NEXT | WRITE, 1);
	drv_desc(&f->d.desc[1], TABLE, 2 * DESC, INDIRECT, 0);
	drv_add(&f->d, 0);
	drv_publish(&f->d);
	vqfix_check_stuck_in_table(f, -EINVAL);
}

/* ---- limits of a batch ---- */

/* Heads at both ends of a table that is too large to be copied whole. */
static void chains_are_found_anywhere_in_a_large_table(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, VIRTQ_MAX_NUM, 0);
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

	vqfix_start(f, 8, 0);
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
		vqfix_start_at(f, 8, EVENT_IDX, (uint16_t)(65536 - 8 + from));
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

	vqfix_start_at(f, 8, IN_ORDER, 65530);
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
	vqfix_push(f, 1, 1, 7);
	assert_int_equal(drv_used_idx(&f->d), 6);
}

static void a_split_ring_of_no_power_of_two_is_refused(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	f->vq.num = 7;
	check_ret(virtq_start(&f->vq), -EINVAL);
}

static void a_start_takes_the_used_index_from_memory(void **state)
{
	struct vqfix *f = *state;

	vqfix_start_at(f, 8, 0, 1234);
	f->d.used->idx = htole16(4321);
	check_ret(virtq_start(&f->vq), 0);
	vqfix_push(f, 1, 1, 2);
	assert_int_equal(drv_used_idx(&f->d), 4322);
	assert_int_equal(f->d.used->ring[4321 & 7].id, 1);
	assert_int_equal(f->vq.last_avail_idx, 1234);
}

static void a_start_writes_the_flags_last_in_force(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	virtq_disable_notify(&f->vq);
	f->d.used->flags = htole16(0xffff);
	check_ret(virtq_start(&f->vq), 0);
	assert_int_equal(le16toh(f->d.used->flags), VRING_USED_F_NO_NOTIFY);
}

static void a_used_ring_out_of_reach_is_reported(void **state)
{
	struct vqfix *f = *state;
	struct virtq_used e = { 2, 1, 1, 1 };

	vqfix_start(f, 8, 0);
	f->vq.addr.used_user_addr = arena_uva(&f->arena, ARENA_SIZE);
	virtq_changed(&f->vq);
	drv_offer(&f->d, 0, GPA_A, 1, 0);
	check_ret(vqfix_fetch(f), 1);
	check_ret(virtq_push(&f->vq, &e, 1), -EFAULT);
	assert_int_equal(event_take(f->err), 1);
	assert_int_equal(f->vq.last_used_idx, 0);
}

/* ---- signals ---- */

static void no_interrupt_is_obeyed(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	f->d.avail->flags = htole16(VRING_AVAIL_F_NO_INTERRUPT);
	vqfix_push(f, 0, 1, 0);
	assert_false(vqfix_signalled(f));
	f->d.avail->flags = htole16(0xfffe); /* only that bit */
	assert_true(vqfix_signalled(f));
}

static void an_empty_ring_is_signalled_if_negotiated(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, BIT(VIRTIO_F_NOTIFY_ON_EMPTY));
	f->d.avail->flags = htole16(VRING_AVAIL_F_NO_INTERRUPT);
	drv_offer(&f->d, 0, GPA_A, 1, 0);
	drv_offer(&f->d, 1, GPA_A, 1, 0);
	check_ret(virtq_fetch(&f->vq, &f->batch, 1), 1);
	vqfix_push(f, 0, 1, 0);
	assert_false(vqfix_signalled(f));
	check_ret(virtq_fetch(&f->vq, &f->batch, 1), 1);
	vqfix_push(f, 1, 1, 0);
	assert_true(vqfix_signalled(f));
}

/* With no look at used_event for 65536 completions nothing can be compared. */
static void a_lap_without_a_signal_makes_the_next_unconditional(void **state)
{
	struct vqfix *f = *state;
	const struct virtq_used e[8] = { [0 ... 7] = { .nchains = 1 } };

	vqfix_start(f, 8, EVENT_IDX);
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

static void the_avail_event_is_written_only_when_kicks_are_wanted(void **state)
{
	struct vqfix *f = *state;

	vqfix_start_at(f, 8, EVENT_IDX, 65534);
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
	vqfix_start(f, num, features);
	vqfix_log_ring(f, LOG_GPA);
}

static void used_ring_writes_are_logged_at_the_log_address(void **state)
{
	struct vqfix *f = *state;

	start_logged(f, 8, 0);
	vqfix_push(f, 0, 1, 0); /* element at 4...11: page 8; idx: page 7 */
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
		vqfix_push(f, 0, 1, 0);
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
	vqfix_push(f, 0, 1, 0);
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
	vqfix_push(f, 0, 1, 0);
	assert_int_equal(vqfix_take_log(f), vqfix_pages(f, 0x20008));
	assert_int_equal(f->misses, 0);
}

/* ---- IOTLB ---- */

/* Ring parts under I/O virtual addresses that are the owner's plus this. */

static void a_table_in_65_pieces_is_too_many(void **state)
{
	struct vqfix *f = *state;

	vqfix_iotlb(f, 128, 0);
	vqfix_iotlb_rings(f, 16, 0x1000);
	check_ret(virtq_start(&f->vq), -ENOBUFS);
}

/* ---- memory that changes ---- */

static void rings_may_be_misaligned_in_our_mapping_only(void **state)
{
	struct vqfix *f = *state;

	/* the device does not need the alignment of the descriptor table */
	vqfix_start(f, 8, 0);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		SPLIT_EVERYWHERE(a_head_past_the_ring_stops_the_ring),
		SPLIT_EVERYWHERE(the_greatest_head_stops_the_ring),
		SPLIT_EVERYWHERE(a_next_past_the_ring_stops_the_ring),
		SPLIT_EVERYWHERE(a_loop_of_descriptors_stops_the_ring),
		SPLIT_EVERYWHERE(an_index_a_whole_ring_ahead_is_valid),
		SPLIT_EVERYWHERE(
			an_index_further_ahead_stops_the_ring_until_it_is_valid),
		SPLIT_EVERYWHERE(an_index_that_goes_back_stops_the_ring),
		SPLIT_EVERYWHERE(the_index_is_read_only_when_chains_run_out),
		SPLIT_EVERYWHERE(an_indirect_table_need_not_be_in_order),
		SPLIT_EVERYWHERE(
			entries_behind_the_end_of_a_chain_do_not_matter),
		SPLIT_EVERYWHERE(a_table_in_a_table_stops_the_ring),
		SPLIT_EVERYWHERE(a_next_past_a_table_stops_the_ring),
		SPLIT_EVERYWHERE(a_loop_in_a_table_stops_the_ring),
		SPLIT_EVERYWHERE(a_chain_goes_on_behind_an_indirect_descriptor),
		SPLIT_EVERYWHERE(
			a_readable_table_behind_a_writable_buffer_stops_the_ring),
		SPLIT_EVERYWHERE(chains_are_found_anywhere_in_a_large_table),
		SPLIT_EVERYWHERE(used_elements_are_published_in_order),
		SPLIT_EVERYWHERE(used_elements_go_round_the_ring),
		SPLIT_EVERYWHERE(an_element_can_stand_for_several_chains),
		SPLIT_EVERYWHERE(a_split_ring_of_no_power_of_two_is_refused),
		SPLIT_EVERYWHERE(a_start_takes_the_used_index_from_memory),
		SPLIT_EVERYWHERE(a_start_writes_the_flags_last_in_force),
		SPLIT_IN(copied, a_used_ring_out_of_reach_is_reported),
		SPLIT_IN(ram_mapped, a_used_ring_out_of_reach_is_reported),
		SPLIT_EVERYWHERE(no_interrupt_is_obeyed),
		SPLIT_EVERYWHERE(an_empty_ring_is_signalled_if_negotiated),
		SPLIT_EVERYWHERE(
			a_lap_without_a_signal_makes_the_next_unconditional),
		SPLIT_EVERYWHERE(
			the_avail_event_is_written_only_when_kicks_are_wanted),
		SPLIT_EVERYWHERE(
			used_ring_writes_are_logged_at_the_log_address),
		SPLIT_EVERYWHERE(the_avail_event_is_logged),
		SPLIT_EVERYWHERE(a_wrapped_batch_logs_both_its_parts),
		SPLIT_EVERYWHERE(without_the_log_flag_nothing_is_logged),
		SPLIT_EVERYWHERE(
			under_an_iotlb_all_aliases_of_the_used_ring_are_logged),
		SPLIT_EVERYWHERE(a_table_in_65_pieces_is_too_many),
		SPLIT_EVERYWHERE(rings_may_be_misaligned_in_our_mapping_only),
	};

	return cmocka_run_group_tests_name("virtq_split", tests, NULL, NULL);
}
