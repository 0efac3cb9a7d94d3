/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_virtq_packed.c tests what only a packed ring has, device side:
 * descriptors that are available by two flags, wrap counters, and event
 * structures. test_virtq.c has what both formats have in common.
 */
#include "check.h"

#include <endian.h>

#include "vqfix.h"

#define ENABLE VRING_PACKED_EVENT_FLAG_ENABLE
#define DISABLE VRING_PACKED_EVENT_FLAG_DISABLE
#define AT VRING_PACKED_EVENT_FLAG_DESC
#define PACKED BIT(VIRTIO_F_RING_PACKED)
#define WRAP DRV_WRAP

/* AVAIL is the wrap counter, and USED is not (virtio 1.2 §2.8.1). */
static void a_descriptor_is_available_by_its_two_flags(void **state)
{
	static const uint16_t flags[] = { 0, DRV_AVAIL, DRV_USED,
					  DRV_AVAIL | DRV_USED };
	struct vqfix *f = *state;

	for (unsigned int i = 0; i < 8; i++) {
		uint16_t place = i & 4 ? WRAP | 3 : 3;
		bool there = flags[i & 3] == (i & 4 ? DRV_AVAIL : DRV_USED);

		vqfix_start_at(f, 8, 0, place);
		drv_set(&f->d, place, GPA_A, 1, 0, 0);
		f->d.pdesc[3].flags = htole16(flags[i & 3]);
		check_ret(virtq_avail_count(&f->vq), there);
		assert_int_equal(virtq_avail_changed(&f->vq), false);
		vqfix_start_at(f, 8, 0, place);
		f->d.pdesc[3].flags = htole16(flags[i & 3]);
		check_ret(vqfix_fetch(f), there);
	}
	vqfix_no_error(f);
}

/* A mapped ring is looked at a little ahead, a copied one as far as a copy
 * goes.
 */
static void many_chains_are_counted(void **state)
{
	struct vqfix *f = *state;
	bool mapped = f->arena.mode == MAPPED || f->arena.mode == RINGS_MAPPED;

	vqfix_start_at(f, 300, 0, 290);
	for (uint16_t i = 0; i < 200; i++)
		drv_offer(&f->d, i, GPA_A, 1, 0);
	for (unsigned int i = 0; i < 2; i++)
		check_ret(virtq_avail_count(&f->vq), mapped ? 64 : 200);
	check_ret(virtq_fetch(&f->vq, &f->batch, 70), 70);
	check_ret(virtq_avail_count(&f->vq), mapped ? 64 : 130);
}

/* ---- what is wrong with a chain ---- */

static void a_chain_longer_than_the_ring_stops_the_ring(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 7, 8, 300 };
	struct vqfix *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		vqfix_start(f, sizes[i], 0);
		for (uint32_t k = 0; k < sizes[i]; k++)
			drv_offer(&f->d, 0, GPA_A, 1, NEXT);
		check_ret(virtq_avail_count(&f->vq), 1);
		vqfix_check_stuck(f, -EINVAL);
	}
}

static void a_chain_past_what_is_available_stops_the_ring(void **state)
{
	struct vqfix *f = *state;

	for (uint32_t n = 1; n < 8; n++) {
		vqfix_start_at(f, 8, 0, 6);
		for (uint32_t k = 0; k < n; k++)
			drv_offer(&f->d, 0, GPA_A, 1, NEXT);
		vqfix_check_stuck(f, -EINVAL);
		/* the rest comes: now it is a chain */
		drv_offer(&f->d, 5, GPA_A, 1, 0);
		check_ret(vqfix_fetch(f), 1);
		assert_int_equal(f->batch.chain[0].ndescs, n + 1);
	}
}

/* The second of two would go on into the first. */
static void a_chain_into_one_that_was_taken_stops_the_ring(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 4, 0);
	drv_offer(&f->d, 0, GPA_A, 1, 0);
	for (unsigned int i = 0; i < 3; i++)
		drv_offer(&f->d, 1, GPA_A, 1, NEXT);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.next, -EINVAL);
	vqfix_push_batch(f, 1, 0);
	vqfix_check_used(f, 0, 1, 0);
	vqfix_check_stuck(f, -EINVAL);
}

/* A driver that takes back what it showed. */
static void a_descriptor_that_was_taken_back_is_not_available(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	drv_offer(&f->d, 0, GPA_A, 1, 0);
	drv_offer(&f->d, 1, GPA_A, 1, 0);
	check_ret(virtq_avail_count(&f->vq), 2);
	f->d.pdesc[1].flags = 0;
	check_ret(vqfix_fetch(f), 1);
	check_ret(virtq_avail_count(&f->vq), 0);
	assert_false(virtq_avail_changed(&f->vq));
	drv_set(&f->d, WRAP | 1, GPA_A, 1, 0, 2);
	assert_true(virtq_avail_changed(&f->vq));
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].id, 2);
	vqfix_no_error(f);
}

/* Else it would be looked for again and again: there seems to be more. */
static void nothing_counts_as_available_behind_what_was_taken_back(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	for (uint16_t i = 0; i < 3; i++)
		drv_offer(&f->d, i, GPA_A, 1, 0);
	check_ret(virtq_avail_count(&f->vq), 3);
	f->d.pdesc[0].flags = 0;
	drv_offer(&f->d, 3, GPA_A, 1, 0);
	if (virtq_avail_count(&f->vq)) /* a copy from before */
		check_ret(vqfix_fetch(f), 0);
	check_ret(virtq_avail_count(&f->vq), 0);
	assert_false(virtq_avail_changed(&f->vq));
}

/* ---- indirect tables ---- */

/* §2.8.19: an indirect descriptor and NEXT exclude each other. */
static void an_indirect_descriptor_in_a_chain_stops_the_ring(void **state)
{
	struct vqfix *f = *state;

	vqfix_fill_table(f, TABLE, 3, 0);
	vqfix_start(f, 8, 0);
	drv_offer(&f->d, 0, TABLE, 3 * DESC, INDIRECT | NEXT);
	drv_offer(&f->d, 0, GPA_A, 1, 0);
	vqfix_check_stuck(f, -EINVAL);
	vqfix_start(f, 8, 0);
	drv_offer(&f->d, 0, GPA_A, 1, NEXT);
	drv_offer(&f->d, 0, TABLE, 3 * DESC, INDIRECT);
	vqfix_check_stuck(f, -EINVAL);
}

/* ---- used descriptors ---- */

static void used_descriptors_are_written_where_the_chains_began(void **state)
{
	struct vqfix *f = *state;
	struct virtq_used e[3] = { { 100, 0xfff0, 2, 1 },
				   { 0, 1, 3, 1 },
				   { ~0u, 0, 1, 1 } };

	vqfix_start_at(f, 7, 0, 5);
	for (unsigned int i = 0; i < 7; i++)
		drv_offer(&f->d, 99, 0x1000u + i, 1000 + i, i < 6 ? NEXT : 0);
	f->vq.last_avail_idx = f->d.next;
	/* of the rest the device has copies, which it may write back */
	if (f->arena.mode != MAPPED && f->arena.mode != RINGS_MAPPED)
		memcpy(f->vq.desc.shadow, f->d.pdesc, 7 * DESC);
	check_ret(virtq_push(&f->vq, e, 3), 0);
	vqfix_check_used(f, 0xfff0, 2, 100);
	vqfix_check_used(f, 1, 3, 0);
	vqfix_check_used(f, 0, 1, ~0u);
	assert_false(drv_used_at(&f->d, f->d.reaped));
	for (unsigned int i = 0; i < 7; i++) {
		const struct vring_packed_desc *d = &f->d.pdesc[(5 + i) % 7];

		/* addresses stay, and so does what is in between */
		assert_int_equal(le64toh(d->addr), 0x1000 + i);
		if (i != 0 && i != 2 && i != 5) {
			assert_int_equal(le32toh(d->len), 1000 + i);
			assert_int_equal(le16toh(d->id), 99);
		}
	}
	assert_int_equal(f->vq.counters.batches, 1);
}

/* In order: the last one's id, in the place of the first, for all. */
static void an_element_can_stand_for_several_chains(void **state)
{
	struct vqfix *f = *state;
	struct virtq_used e = { 0, 77, 6, 4 };

	vqfix_start_at(f, 7, IN_ORDER, 5);
	for (uint16_t i = 0; i < 7; i++)
		drv_offer(&f->d, i, GPA_A, 1, i < 2 ? NEXT : 0);
	check_ret(vqfix_fetch(f), 5);
	check_ret(virtq_push(&f->vq, &e, 1), 0);
	assert_false(drv_used_at(&f->d, 6));
	assert_false(drv_used_at(&f->d, WRAP | 0));
	vqfix_check_used(f, 77, 6, 0);
	vqfix_push(f, 6, 1, 0);
	vqfix_check_used(f, 6, 1, 0);
	assert_int_equal(f->d.reaped, f->d.next);
	e.ndescs = 7; /* all of the ring */
	check_ret(virtq_push(&f->vq, &e, 1), 0);
	vqfix_check_used(f, 77, 7, 0);
	assert_int_equal(f->vq.last_used_idx, f->d.reaped);
}

static void a_start_writes_the_suppression_last_in_force(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	virtq_disable_notify(&f->vq);
	memset(f->d.device, 0xff, 4);
	check_ret(virtq_start(&f->vq), 0);
	assert_int_equal(drv_wanted(&f->d), DISABLE);
	vqfix_start(f, 8, 0);
	assert_int_equal(drv_wanted(&f->d), ENABLE);
	vqfix_start_at(f, 8, EVENT_IDX, 5);
	assert_int_equal(drv_wanted(&f->d), AT);
	assert_int_equal(drv_kick_at(&f->d), 5);
}

static void a_start_needs_a_place_in_the_ring(void **state)
{
	static const struct {
		uint16_t avail, used;
		int ret;
	} bases[] = {
		{ 6, 6, 0 },
		{ WRAP | 6, WRAP | 6, 0 },
		{ WRAP, 0, 0 }, /* a whole ring in flight */
		{ WRAP | 2, 2, 0 },
		{ 7, 7, -EINVAL },
		{ 0, 7, -EINVAL },
		{ WRAP | 7, 0, -EINVAL },
		{ 0xffff, 0xffff, -EINVAL },
		{ 2, 3, -EINVAL }, /* more than that */
		{ WRAP | 3, 2, -EINVAL },
	};
	struct vqfix *f = *state;

	vqfix_start(f, 7, 0);
	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		f->vq.last_avail_idx = bases[i].avail;
		f->vq.last_used_idx = bases[i].used;
		check_ret(virtq_start(&f->vq), bases[i].ret);
	}
}

static void a_start_goes_on_where_another_device_stopped(void **state)
{
	struct vqfix *f = *state;

	vqfix_start_at(f, 7, 0, 5);
	for (uint16_t i = 0; i < 4; i++)
		drv_offer(&f->d, i, GPA_A, 1, 0);
	check_ret(virtq_fetch(&f->vq, &f->batch, 2), 2);
	/* those two are in flight */
	check_ret(virtq_start(&f->vq), 0);
	assert_int_equal(f->vq.last_used_idx, 5);
	check_ret(vqfix_fetch(f), 2);
	assert_int_equal(f->batch.chain[0].id, 2);
	vqfix_push(f, 0, 1, 0);
	vqfix_push(f, 1, 1, 0);
	vqfix_push_batch(f, 2, 0);
	for (uint16_t i = 0; i < 4; i++)
		vqfix_check_used(f, i, 1, 0);
}

static void a_ring_out_of_reach_is_reported(void **state)
{
	struct vqfix *f = *state;
	struct virtq_used e = { 2, 1, 1, 1 };

	vqfix_start(f, 8, 0);
	drv_offer(&f->d, 0, GPA_A, 1, 0);
	check_ret(vqfix_fetch(f), 1);
	f->vq.addr.desc_user_addr = arena_uva(&f->arena, ARENA_SIZE);
	virtq_changed(&f->vq);
	check_ret(vqfix_fetch(f), -EFAULT);
	assert_int_equal(event_take(f->err), 1);
	check_ret(virtq_push(&f->vq, &e, 1), -EFAULT);
	assert_int_equal(event_take(f->err), 1);
	assert_int_equal(f->vq.last_used_idx, WRAP);
}

/* ---- signals ---- */

static void the_driver_can_switch_signals_off(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	vqfix_push(f, 0, 1, 0);
	assert_true(vqfix_signalled(f));
	drv_want(&f->d, DISABLE, 0);
	vqfix_push(f, 0, 1, 0);
	assert_false(vqfix_signalled(f));
	drv_want(&f->d, DISABLE | 0xfffc, 0xffff); /* only two bits */
	assert_false(vqfix_signalled(f));
	drv_want(&f->d, 0xfffc, 0);
	assert_true(vqfix_signalled(f));
	drv_want(&f->d, 3, 0); /* reserved */
	assert_true(vqfix_signalled(f));
	drv_want(&f->d, AT, WRAP | 6); /* not negotiated */
	assert_true(vqfix_signalled(f));
}

static void a_signal_at_a_place_needs_the_feature_only_for_that(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, EVENT_IDX);
	vqfix_push(f, 0, 1, 0);
	vqfix_signalled(f);
	drv_want(&f->d, DISABLE, 0);
	vqfix_push(f, 0, 1, 0);
	assert_false(vqfix_signalled(f));
	drv_want(&f->d, ENABLE, WRAP | 6);
	vqfix_push(f, 0, 1, 0);
	assert_true(vqfix_signalled(f));
}

static void a_place_that_is_not_in_the_ring_is_always_passed(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 7, EVENT_IDX);
	vqfix_push(f, 0, 1, 0);
	vqfix_signalled(f);
	drv_want(&f->d, AT, 7);
	vqfix_push(f, 0, 1, 0);
	assert_true(vqfix_signalled(f));
	drv_want(&f->d, AT, 0xffff);
	vqfix_push(f, 0, 1, 0);
	assert_true(vqfix_signalled(f));
	drv_want(&f->d, AT, 6);
	vqfix_push(f, 0, 1, 0);
	assert_false(vqfix_signalled(f));
}

/* With no look at the driver's wish for two laps nothing can be compared. */
static void
two_laps_without_a_check_make_the_next_signal_unconditional(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 7, EVENT_IDX);
	vqfix_push(f, 0, 7, 0);
	vqfix_signalled(f);
	drv_want(&f->d, AT, WRAP | 3);
	vqfix_push(f, 0, 7, 0);
	assert_true(f->vq.signalled_used_valid);
	vqfix_push(f, 0, 6, 0);
	assert_true(f->vq.signalled_used_valid);
	vqfix_push(f, 0, 1, 0);
	assert_false(f->vq.signalled_used_valid);
	assert_true(vqfix_signalled(f));
}

/* ---- notifications ---- */

static void notifications_are_switched(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	virtq_disable_notify(&f->vq);
	assert_int_equal(drv_wanted(&f->d), DISABLE);
	assert_false(virtq_enable_notify(&f->vq));
	assert_int_equal(drv_wanted(&f->d), ENABLE);
}

/* ---- the log ---- */

/* The ring, of 300 descriptors, is guest memory at pages 3 and 17. */
static void start_logged(struct vqfix *f, uint16_t place)
{
	uint64_t ring = arena_uva(&f->arena, 0);

	rangemap_clear(&f->mv.table);
	vqfix_range(&f->mv.table, 3 * PAGE, 2 * PAGE, ring, RANGE_RW);
	vqfix_range(&f->mv.table, 17 * PAGE, 2 * PAGE, ring, RANGE_RW);
	memview_bind(&f->mv);
	vqfix_start_at(f, 300, 0, place);
	vqfix_log_ring(f, 7 * PAGE); /* nothing is there */
}

static void what_is_written_is_logged_at_all_its_addresses(void **state)
{
	struct vqfix *f = *state;
	struct virtq_used e[300] = { { .ndescs = 0 } };

	start_logged(f, 254);
	vqfix_push(f, 0, 1, 0);
	assert_int_equal(vqfix_take_log(f), vqfix_pages(f, 0x20008));
	assert_int_equal(f->log_events, 1);
	for (unsigned int i = 0; i < 2; i++)
		e[i] = (struct virtq_used){ 0, 0, 1, 1 };
	check_ret(virtq_push(&f->vq, e, 2), 0); /* 255, 256 */
	assert_int_equal(vqfix_take_log(f), vqfix_pages(f, 0x60018));
	vqfix_push(f, 0, 1, 0);
	assert_int_equal(vqfix_take_log(f), vqfix_pages(f, 0x40010));
	assert_int_equal(f->log_events, 3);
	/* the device's events are behind the ring, on the second page */
	virtq_disable_notify(&f->vq);
	assert_int_equal(vqfix_take_log(f), vqfix_pages(f, 0x40010));
	virtq_enable_notify(&f->vq);
	assert_int_equal(vqfix_take_log(f), vqfix_pages(f, 0x40010));
	assert_int_equal(f->log_events, 5);
}

static void a_batch_across_the_end_logs_both_its_parts(void **state)
{
	struct vqfix *f = *state;
	struct virtq_used e[3] = { { 0, 0, 1, 1 },
				   { 0, 0, 1, 1 },
				   { 0, 0, 1, 1 } };

	start_logged(f, 298);
	check_ret(virtq_push(&f->vq, e, 3), 0);
	assert_int_equal(vqfix_take_log(f), vqfix_pages(f, 0x60018));
}

static void without_the_log_flag_nothing_is_logged(void **state)
{
	struct vqfix *f = *state;

	start_logged(f, 0);
	f->vq.addr.flags = 0;
	vqfix_push(f, 0, 1, 0);
	virtq_disable_notify(&f->vq);
	assert_int_equal(vqfix_take_log(f), 0);
	assert_int_equal(f->log_events, 0);
}

/* ---- IOTLB ---- */

/* ---- memory that changes ---- */

/* The format is that of the start. */
static void the_format_does_not_change_while_the_ring_runs(void **state)
{
	struct vqfix *f = *state;

	vqfix_start(f, 8, 0);
	f->vq.features &= ~PACKED;
	virtq_changed(&f->vq);
	drv_offer(&f->d, 4, GPA_A, 1, 0);
	check_ret(vqfix_fetch(f), 1);
	vqfix_push(f, 4, 1, 0);
	vqfix_check_used(f, 4, 1, 0);
}

static void a_ring_may_be_misaligned(void **state)
{
	struct vqfix *f = *state;

	for (unsigned int off = 1; off < 16; off++) {
		struct vring_packed_desc d;

		vqfix_start(f, 8, 0);
		f->vq.addr.desc_user_addr += 0x8000 + off;
		f->vq.addr.used_user_addr += 0x8000 + off;
		memset(f->arena.base + 0x8000, 0, 0x1000);
		virtq_changed(&f->vq);
		drv_offer(&f->d, 9, GPA_A, 5, 0);
		memcpy(f->arena.base + 0x8000 + off, f->d.pdesc, DESC);
		check_ret(vqfix_fetch(f), 1);
		vqfix_check_seg(f, &f->batch.seg[0], GPA_A, 5);
		vqfix_push_batch(f, 1, 33);
		virtq_disable_notify(&f->vq);
		memcpy(&d, f->arena.base + 0x8000 + off, DESC);
		assert_int_equal(le32toh(d.len), 33);
		assert_int_equal(le16toh(d.flags),
				 WRITE | DRV_AVAIL | DRV_USED);
		memcpy(&d, f->arena.base + 0x8000 + off + 8 * DESC + 64, 4);
		assert_int_equal(d.addr >> 16 & 0xffff, DISABLE);
		f->vq.used_flags = 0;
	}
	vqfix_no_error(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PACKED_EVERYWHERE(a_descriptor_is_available_by_its_two_flags),
		PACKED_EVERYWHERE(many_chains_are_counted),
		PACKED_EVERYWHERE(a_chain_longer_than_the_ring_stops_the_ring),
		PACKED_EVERYWHERE(
			a_chain_past_what_is_available_stops_the_ring),
		PACKED_EVERYWHERE(
			a_chain_into_one_that_was_taken_stops_the_ring),
		PACKED_EVERYWHERE(
			a_descriptor_that_was_taken_back_is_not_available),
		PACKED_EVERYWHERE(
			nothing_counts_as_available_behind_what_was_taken_back),
		PACKED_EVERYWHERE(
			an_indirect_descriptor_in_a_chain_stops_the_ring),
		PACKED_EVERYWHERE(
			used_descriptors_are_written_where_the_chains_began),
		PACKED_EVERYWHERE(an_element_can_stand_for_several_chains),
		PACKED_EVERYWHERE(a_start_writes_the_suppression_last_in_force),
		PACKED_EVERYWHERE(a_start_needs_a_place_in_the_ring),
		PACKED_EVERYWHERE(a_start_goes_on_where_another_device_stopped),
		PACKED_IN(copied, a_ring_out_of_reach_is_reported),
		PACKED_IN(ram_mapped, a_ring_out_of_reach_is_reported),
		PACKED_EVERYWHERE(the_driver_can_switch_signals_off),
		PACKED_EVERYWHERE(
			a_signal_at_a_place_needs_the_feature_only_for_that),
		PACKED_EVERYWHERE(
			a_place_that_is_not_in_the_ring_is_always_passed),
		PACKED_EVERYWHERE(
			two_laps_without_a_check_make_the_next_signal_unconditional),
		PACKED_EVERYWHERE(notifications_are_switched),
		PACKED_EVERYWHERE(
			what_is_written_is_logged_at_all_its_addresses),
		PACKED_EVERYWHERE(a_batch_across_the_end_logs_both_its_parts),
		PACKED_EVERYWHERE(without_the_log_flag_nothing_is_logged),
		PACKED_EVERYWHERE(
			the_format_does_not_change_while_the_ring_runs),
		PACKED_EVERYWHERE(a_ring_may_be_misaligned),
	};

	return cmocka_run_group_tests_name("virtq_packed", tests, NULL, NULL);
}
