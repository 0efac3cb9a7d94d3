/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The packed ring, device side. Every test runs in four ways: all memory
 * mapped, all copied, and each half mapped with the other copied.
 */
#include "check.h"

#include <endian.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/virtio_config.h>

#include "vqfix.h"

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT
#define PACKED BIT(VIRTIO_F_RING_PACKED)
#define EVENT_IDX BIT(VIRTIO_RING_F_EVENT_IDX)
#define IN_ORDER BIT(VIRTIO_F_IN_ORDER)
#define ENABLE VRING_PACKED_EVENT_FLAG_ENABLE
#define DISABLE VRING_PACKED_EVENT_FLAG_DISABLE
#define AT VRING_PACKED_EVENT_FLAG_DESC
#define WRAP PDRV_WRAP
#define DESC sizeof(struct vring_packed_desc)
#define TABLE (GPA_C + 0x1000) /* where tests put indirect tables */

/* A ring of @num descriptors where both sides are at @place. */
static void start_at(struct vqfix *f, uint32_t num, uint64_t features,
		     uint16_t place)
{
	pdrv_init(&f->p, &f->arena, 0, num);
	pdrv_move(&f->p, place);
	f->vq.num = num;
	f->vq.addr = pdrv_addr(&f->p, 0);
	f->vq.features = PACKED | features;
	f->vq.call_fd = f->call;
	f->vq.err_fd = f->err;
	f->vq.used_flags = 0;
	f->vq.last_avail_idx = f->vq.last_used_idx = place;
	check_ret(virtq_start(&f->vq), 0);
}

static void start(struct vqfix *f, uint32_t num, uint64_t features)
{
	start_at(f, num, features, WRAP);
}

/* And nothing is used. */
static void check_stuck(struct vqfix *f, int ret, unsigned int bumps)
{
	vqfix_check_stuck(f, ret, bumps);
	assert_int_equal(f->vq.last_used_idx, f->p.reaped);
}

/* Gives back the first @n chains of the batch, with length @len. */
static void push_batch(struct vqfix *f, unsigned int n, uint32_t len)
{
	static struct virtq_used e[VIRTQ_BATCH_CHAINS];

	for (unsigned int i = 0; i < n; i++)
		e[i] = (struct virtq_used){ len, f->batch.chain[i].id,
					    f->batch.chain[i].ndescs, 1 };
	check_ret(virtq_push(&f->vq, e, n), 0);
}

static void push(struct vqfix *f, uint16_t id, uint16_t ndescs, uint32_t len)
{
	struct virtq_used e = { len, id, ndescs, 1 };

	check_ret(virtq_push(&f->vq, &e, 1), 0);
}

static void check_used(struct vqfix *f, uint16_t id, uint32_t ndescs,
		       uint32_t len)
{
	struct pdrv_used u = pdrv_reap(&f->p, ndescs);

	assert_int_equal(u.id, id);
	assert_int_equal(u.len, len);
	assert_int_equal(u.flags, len ? WRITE : 0);
}

/* ---- taking chains ---- */

static void an_empty_ring_gives_nothing(void **state)
{
	struct vqfix *f = *state;

	for (uint16_t place = 0; place < 8; place++) {
		start_at(f, 8, 0, place);
		check_ret(vqfix_fetch(f), 0);
		start_at(f, 8, 0, place | WRAP);
		check_ret(vqfix_fetch(f), 0);
		check_ret(virtq_avail_count(&f->vq), 0);
		assert_false(virtq_avail_changed(&f->vq));
	}
	vqfix_no_error(f);
}

/* AVAIL is the wrap counter, and USED is not (virtio 1.2 §2.8.1). */
static void a_descriptor_is_available_by_its_two_flags(void **state)
{
	static const uint16_t flags[] = { 0, PDRV_AVAIL, PDRV_USED,
					  PDRV_AVAIL | PDRV_USED };
	struct vqfix *f = *state;

	for (unsigned int i = 0; i < 8; i++) {
		uint16_t place = i & 4 ? WRAP | 3 : 3;
		bool there = flags[i & 3] == (i & 4 ? PDRV_AVAIL : PDRV_USED);

		start_at(f, 8, 0, place);
		pdrv_set(&f->p, place, GPA_A, 1, 0, 0);
		f->p.desc[3].flags = htole16(flags[i & 3]);
		check_ret(virtq_avail_count(&f->vq), there);
		assert_int_equal(virtq_avail_changed(&f->vq), false);
		start_at(f, 8, 0, place);
		f->p.desc[3].flags = htole16(flags[i & 3]);
		check_ret(vqfix_fetch(f), there);
	}
	vqfix_no_error(f);
}

static void a_chain_comes_with_its_pieces_in_order(void **state)
{
	struct vqfix *f = *state;
	struct chain *c = f->batch.chain;

	start_at(f, 7, 0, 5); /* across the end */
	pdrv_add(&f->p, GPA_A, 10, NEXT, 1);
	pdrv_add(&f->p, GPA_C + 7, 1500, NEXT, 2);
	pdrv_add(&f->p, GPA_B, 12, NEXT | WRITE, 3);
	pdrv_add(&f->p, GPA_B + 100, 64, WRITE, 0xbeef);

	check_ret(virtq_avail_count(&f->vq), 1);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.nsegs, 4);
	assert_int_equal(c->id, 0xbeef); /* the last one's (§2.8.6) */
	assert_int_equal(c->ndescs, 4);
	assert_int_equal(c->nout, 2);
	assert_int_equal(c->nin, 2);
	assert_int_equal(c->out_len, 1510);
	assert_int_equal(c->in_len, 76);
	vqfix_check_seg(f, &f->batch.seg[c->seg], GPA_A, 10);
	vqfix_check_seg(f, &f->batch.seg[c->seg + 1], GPA_C + 7, 1500);
	vqfix_check_seg(f, &f->batch.seg[c->seg + 2], GPA_B, 12);
	vqfix_check_seg(f, &f->batch.seg[c->seg + 3], GPA_B + 100, 64);
	assert_int_equal(f->vq.last_avail_idx, WRAP | 2);
	check_ret(vqfix_fetch(f), 0);
	vqfix_no_error(f);
}

static void no_more_chains_are_taken_than_asked_for(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	for (uint16_t i = 0; i < 5; i++)
		pdrv_add(&f->p, GPA_A, 1, 0, i);
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

	start(f, 9, 0);
	for (uint16_t i = 0; i < 9; i++)
		pdrv_add(&f->p, GPA_A, 1, i % 3 < 2 ? NEXT : 0, i);
	check_ret(virtq_avail_count(&f->vq), 3);
	check_ret(virtq_fetch(&f->vq, &f->batch, 2), 2);
	assert_int_equal(f->batch.chain[1].id, 5);
	check_ret(virtq_avail_count(&f->vq), 1);
	check_ret(vqfix_fetch(f), 1);
	check_ret(virtq_avail_count(&f->vq), 0);
}

/* A mapped ring is looked at a little ahead, a copied one as far as a copy
 * goes.
 */
static void many_chains_are_counted(void **state)
{
	struct vqfix *f = *state;
	bool mapped = f->arena.mode == MAPPED || f->arena.mode == RINGS_MAPPED;

	start_at(f, 300, 0, 290);
	for (uint16_t i = 0; i < 200; i++)
		pdrv_add(&f->p, GPA_A, 1, 0, i);
	for (unsigned int i = 0; i < 2; i++)
		check_ret(virtq_avail_count(&f->vq), mapped ? 64 : 200);
	check_ret(virtq_fetch(&f->vq, &f->batch, 70), 70);
	check_ret(virtq_avail_count(&f->vq), mapped ? 64 : 130);
}

static void a_look_tells_whether_there_is_more(void **state)
{
	struct vqfix *f = *state;

	start(f, 4, 0);
	pdrv_add(&f->p, GPA_A, 1, 0, 0);
	check_ret(virtq_avail_count(&f->vq), 1);
	check_ret(virtq_avail_more(&f->vq), 0);
	pdrv_add(&f->p, GPA_A, 1, 0, 1);
	check_ret(virtq_avail_more(&f->vq), 1);
	check_ret(vqfix_fetch(f), 2);
	virtq_rewind(&f->vq, &f->batch, 2);
	check_ret(virtq_avail_more(&f->vq), 0);
	pdrv_add(&f->p, GPA_A, 1, 0, 2);
	pdrv_add(&f->p, GPA_A, 1, 0, 3);
	check_ret(virtq_avail_more(&f->vq), 1);
	check_ret(vqfix_fetch(f), 4);
	virtq_rewind(&f->vq, &f->batch, 4);
	check_ret(virtq_avail_more(&f->vq), 0); /* full */
}

static void rewound_chains_come_again(void **state)
{
	struct vqfix *f = *state;

	start_at(f, 11, 0, 8);
	for (uint16_t n = 1; n <= 4; n++) /* of 1, 2, 3, 4 descriptors */
		for (uint16_t i = 0; i < n; i++)
			pdrv_add(&f->p, GPA_A, 1, i + 1 < n ? NEXT : 0, n);
	check_ret(vqfix_fetch(f), 4);
	virtq_rewind(&f->vq, &f->batch, 3);
	assert_int_equal(f->vq.last_avail_idx, 9);
	check_ret(vqfix_fetch(f), 3);
	assert_int_equal(f->batch.chain[0].ndescs, 2);
	assert_int_equal(f->batch.chain[0].id, 2);
	virtq_rewind(&f->vq, &f->batch, 0);
	check_ret(vqfix_fetch(f), 0);
	assert_int_equal(f->vq.last_avail_idx, f->p.next);
}

static void chains_are_judged_as_they_are_when_they_come_again(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	pdrv_add(&f->p, GPA_A, 1, 0, 1);
	check_ret(vqfix_fetch(f), 1);
	virtq_rewind(&f->vq, &f->batch, 1);
	pdrv_set(&f->p, WRAP, GPA_C, 2, WRITE, 7);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].nin, 1);
	assert_int_equal(f->batch.chain[0].id, 7);
	vqfix_check_seg(f, &f->batch.seg[0], GPA_C, 2);
}

/* Fills the ring with chains of 1, 2, 3 descriptors in turn; how many. */
static uint32_t fill_ring(struct vqfix *f, uint8_t *ndescs)
{
	uint32_t room = f->p.num, chains = 0;

	while (room) {
		uint8_t n = (uint8_t)MIN(1 + chains % 3, room);

		for (uint32_t i = 0; i < n; i++)
			pdrv_add(&f->p, GPA_A + chains, 1 + i,
				 WRITE | (i + 1u < n ? NEXT : 0),
				 (uint16_t)~chains);
		ndescs[chains++] = n;
		room -= n;
	}
	return chains;
}

static void go_round(struct vqfix *f)
{
	static uint8_t ndescs[VIRTQ_MAX_NUM];
	uint32_t chains = fill_ring(f, ndescs), back = 0;

	while (back < chains) {
		int n = check_ok(vqfix_fetch(f));

		assert_in_range(n, 1, chains - back);
		for (int k = 0; k < n; k++) {
			const struct chain *c = &f->batch.chain[k];

			assert_int_equal(c->id,
					 (uint16_t)~(back + (unsigned)k));
			assert_int_equal(c->ndescs, ndescs[back + (unsigned)k]);
		}
		push_batch(f, (unsigned int)n, 7);
		back += (uint32_t)n;
	}
	for (uint32_t i = 0; i < chains; i++)
		check_used(f, (uint16_t)~i, ndescs[i], 7);
}

static void a_ring_of_any_size_wraps(void **state)
{
	static const uint32_t sizes[] = { 1,    2,    3,    4,     5,
					  7,    8,    64,   65,    100,
					  255,  256,  257,  1000,  1023,
					  1024, 1025, 4099, 32767, 32768 };
	struct vqfix *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint16_t place = (uint16_t)(sizes[i] / 2);

		start_at(f, sizes[i], EVENT_IDX, place);
		for (unsigned int lap = 0; lap < 3; lap++)
			go_round(f);
		check_ret(vqfix_fetch(f), 0);
		/* three laps turn the counter three times */
		assert_int_equal(f->vq.last_avail_idx, place | WRAP);
		assert_int_equal(f->vq.last_used_idx, place | WRAP);
		assert_int_equal(f->p.reaped, place | WRAP);
		vqfix_no_error(f);
	}
}

static void zero_length_buffers_contribute_nothing(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	pdrv_add(&f->p, 0xdead, 0, NEXT, 0); /* wherever it points */
	pdrv_add(&f->p, GPA_A, 5, NEXT, 0);
	pdrv_add(&f->p, ~0ull, 0, WRITE, 0);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].nout, 1);
	assert_int_equal(f->batch.chain[0].nin, 0);
	assert_int_equal(f->batch.chain[0].out_len, 5);
	assert_int_equal(f->batch.chain[0].ndescs, 3);
	vqfix_no_error(f);
}

static void unknown_descriptor_flags_are_ignored(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	pdrv_add(&f->p, GPA_A, 5, 0x7f78, 0);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].nout, 1);
	vqfix_no_error(f);
}

/* ---- what is wrong with a chain ---- */

static void a_buffer_outside_guest_memory_is_stuck(void **state)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
	} bad[] = {
		{ GPA_C + RAM_SIZE - 1, 2 },
		{ GPA_A - 1, 2 },
		{ GPA_B_END, 1 },
		{ UINT64_MAX - 10, 100 },
		{ GPA_A, UINT32_MAX },
	};
	struct vqfix *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		start(f, 8, 0);
		pdrv_add(&f->p, bad[i].addr, bad[i].len, WRITE, 0);
		check_stuck(f, -EFAULT, 1);
	}
}

static void a_buffer_across_neighbouring_regions_is_cut(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	pdrv_add(&f->p, GPA_B - 10, 30, 0, 0);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].nout, 2);
	vqfix_check_seg(f, &f->batch.seg[0], GPA_B - 10, 10);
	vqfix_check_seg(f, &f->batch.seg[1], GPA_B, 20);
}

static void a_chain_as_long_as_the_ring_is_taken(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 7, 8, 100, 1023, 1024 };
	struct vqfix *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		start_at(f, sizes[i], 0, (uint16_t)(sizes[i] - 1));
		for (uint32_t k = 0; k < sizes[i]; k++)
			pdrv_add(&f->p, GPA_A + k, 1,
				 k + 1 < sizes[i] ? NEXT : 0, (uint16_t)k);
		check_ret(virtq_avail_count(&f->vq), 1);
		check_ret(vqfix_fetch(f), 1);
		assert_int_equal(f->batch.chain[0].nout, sizes[i]);
		assert_int_equal(f->batch.chain[0].ndescs, sizes[i]);
		push_batch(f, 1, 9);
		check_used(f, (uint16_t)(sizes[i] - 1), sizes[i], 9);
		check_ret(vqfix_fetch(f), 0);
		vqfix_no_error(f);
	}
}

static void a_chain_longer_than_the_ring_is_stuck(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 7, 8, 300 };
	struct vqfix *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		start(f, sizes[i], 0);
		for (uint32_t k = 0; k < sizes[i]; k++)
			pdrv_add(&f->p, GPA_A, 1, NEXT, 0);
		check_ret(virtq_avail_count(&f->vq), 1);
		check_stuck(f, -EINVAL, 1);
	}
}

static void a_chain_past_what_is_available_is_stuck(void **state)
{
	struct vqfix *f = *state;

	for (uint32_t n = 1; n < 8; n++) {
		start_at(f, 8, 0, 6);
		for (uint32_t k = 0; k < n; k++)
			pdrv_add(&f->p, GPA_A, 1, NEXT, 0);
		check_stuck(f, -EINVAL, 1);
		/* the rest comes: now it is a chain */
		pdrv_add(&f->p, GPA_A, 1, 0, 5);
		check_ret(vqfix_fetch(f), 1);
		assert_int_equal(f->batch.chain[0].ndescs, n + 1);
	}
}

/* The second of two would go on into the first. */
static void a_chain_into_one_that_was_taken_is_stuck(void **state)
{
	struct vqfix *f = *state;

	start(f, 4, 0);
	pdrv_add(&f->p, GPA_A, 1, 0, 0);
	for (unsigned int i = 0; i < 3; i++)
		pdrv_add(&f->p, GPA_A, 1, NEXT, 1);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.next, -EINVAL);
	push_batch(f, 1, 0);
	check_used(f, 0, 1, 0);
	check_stuck(f, -EINVAL, 1);
}

static void a_readable_buffer_behind_a_writable_one_is_stuck(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	pdrv_add(&f->p, GPA_A, 1, NEXT | WRITE, 0);
	pdrv_add(&f->p, GPA_A, 1, 0, 0);
	check_stuck(f, -EINVAL, 1);
}

static void a_chain_of_1025_pieces_is_stuck(void **state)
{
	struct vqfix *f = *state;

	for (uint32_t n = 1024; n <= 1025; n++) {
		start(f, 2000, 0);
		for (uint32_t k = 0; k < n; k++)
			pdrv_add(&f->p, GPA_A, 1, k + 1 < n ? NEXT : 0, 0);
		if (n == 1025)
			check_stuck(f, -ENOBUFS, 1);
		else
			check_ret(vqfix_fetch(f), 1);
	}
}

static void a_mended_chain_is_taken(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	pdrv_add(&f->p, GPA_B_END, 1, 0, 0);
	check_stuck(f, -EFAULT, 1);
	pdrv_set(&f->p, WRAP, GPA_A, 1, 0, 0);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(event_take(f->err), 0);
}

static void a_bad_chain_is_not_reported_before_those_ahead_of_it(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	pdrv_add(&f->p, GPA_A, 1, 0, 0);
	pdrv_add(&f->p, GPA_A, 1, 0, 1);
	pdrv_add(&f->p, GPA_B_END, 1, 0, 2);
	pdrv_add(&f->p, GPA_A, 1, 0, 3);
	check_ret(vqfix_fetch(f), 2);
	assert_int_equal(f->batch.next, -EFAULT);
	vqfix_no_error(f);
	push_batch(f, 2, 0);
	check_used(f, 0, 1, 0);
	check_used(f, 1, 1, 0);
	check_stuck(f, -EFAULT, 1);
}

/* A driver that takes back what it showed. */
static void a_descriptor_that_is_gone_again_was_not_there(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	pdrv_add(&f->p, GPA_A, 1, 0, 0);
	pdrv_add(&f->p, GPA_A, 1, 0, 1);
	check_ret(virtq_avail_count(&f->vq), 2);
	f->p.desc[1].flags = 0;
	check_ret(vqfix_fetch(f), 1);
	check_ret(virtq_avail_count(&f->vq), 0);
	assert_false(virtq_avail_changed(&f->vq));
	pdrv_set(&f->p, WRAP | 1, GPA_A, 1, 0, 2);
	assert_true(virtq_avail_changed(&f->vq));
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].id, 2);
	vqfix_no_error(f);
}

/* Else it would be looked for again and again: there seems to be more. */
static void nothing_is_known_behind_what_is_gone_again(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	for (uint16_t i = 0; i < 3; i++)
		pdrv_add(&f->p, GPA_A, 1, 0, i);
	check_ret(virtq_avail_count(&f->vq), 3);
	f->p.desc[0].flags = 0;
	pdrv_add(&f->p, GPA_A, 1, 0, 3);
	if (virtq_avail_count(&f->vq)) /* a copy from before */
		check_ret(vqfix_fetch(f), 0);
	check_ret(virtq_avail_count(&f->vq), 0);
	assert_false(virtq_avail_changed(&f->vq));
}

/* ---- indirect tables ---- */

/* @n descriptors of a byte each, as a table at @gpa (one region). Their flags
 * say whatever a table's should not, but WRITE. */
static void fill_table(struct vqfix *f, uint64_t gpa, unsigned int n,
		       unsigned int writable)
{
	for (unsigned int i = 0; i < n; i++) {
		bool w = i >= n - writable;
		struct vring_packed_desc d = {
			.addr = htole64(GPA_A + i),
			.len = htole32(1),
			.id = htole16((uint16_t)(i * 77)),
			.flags = htole16((uint16_t)((i * 0x1357 & ~WRITE) |
						    (w ? WRITE : 0))),
		};

		memcpy(arena_ram(&f->arena, gpa) + i * DESC, &d, sizeof(d));
	}
}

static void offer_table(struct vqfix *f, uint64_t gpa, uint32_t len)
{
	start(f, 8, 0);
	pdrv_add(&f->p, gpa, len, INDIRECT, 2);
}

static void an_indirect_table_is_read_to_its_end(void **state)
{
	static const unsigned int sizes[] = { 1,   2,   3,    63,  64,
					      65,  127, 128,  129, 200,
					      512, 513, 1023, 1024 };
	struct vqfix *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		fill_table(f, TABLE, sizes[i], 0);
		offer_table(f, TABLE, (uint32_t)(sizes[i] * DESC));
		vqfix_check_bytes(f, sizes[i]);
	}
}

static void the_write_flag_counts_in_a_table(void **state)
{
	struct vqfix *f = *state;

	fill_table(f, TABLE, 10, 4);
	offer_table(f, TABLE, 10 * DESC);
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].nout, 6);
	assert_int_equal(f->batch.chain[0].nin, 4);
}

static void an_indirect_table_may_lie_anywhere(void **state)
{
	struct vqfix *f = *state;

	for (uint64_t off = 1; off < 16; off++) {
		fill_table(f, TABLE + off, 100, 0);
		offer_table(f, TABLE + off, 100 * DESC);
		vqfix_check_bytes(f, 100);
	}
	for (uint32_t before = 8; before < 100 * DESC; before += 8 * 23) {
		uint64_t at = GPA_B - before;

		fill_table(f, TABLE, 100, 0);
		for (size_t k = 0; k < 100 * DESC; k++)
			*arena_ram(&f->arena, at + k) =
				*arena_ram(&f->arena, TABLE + k);
		offer_table(f, at, 100 * DESC);
		vqfix_check_bytes(f, 100);
	}
}

static void a_bad_table_is_stuck(void **state)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
		int err;
	} bad[] = {
		{ TABLE, 0, -EINVAL },
		{ TABLE, 2 * DESC + 1, -EINVAL },
		{ GPA_C, 65537 * DESC, -EINVAL },
		{ TABLE, 1025 * DESC, -ENOBUFS },
		{ GPA_B_END - DESC, 2 * DESC, -EFAULT },
	};
	struct vqfix *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		fill_table(f, TABLE, 1025, 0);
		offer_table(f, bad[i].addr, bad[i].len);
		check_stuck(f, bad[i].err, 1);
	}
}

/* All its entries without bytes. */
static void a_table_of_65536_is_the_largest(void **state)
{
	struct vqfix *f = *state;

	memset(arena_ram(&f->arena, GPA_C), 0, 65536 * DESC);
	offer_table(f, GPA_C, 65536 * DESC);
	vqfix_check_bytes(f, 0);
}

static void a_bad_buffer_in_a_table_is_stuck(void **state)
{
	struct vqfix *f = *state;
	struct vring_packed_desc *d =
		(struct vring_packed_desc *)arena_ram(&f->arena, TABLE);

	fill_table(f, TABLE, 3, 0);
	d[1].addr = htole64(GPA_B_END);
	offer_table(f, TABLE, 3 * DESC);
	check_stuck(f, -EFAULT, 1);
	fill_table(f, TABLE, 3, 2);
	d[2].flags = 0;
	offer_table(f, TABLE, 3 * DESC);
	check_stuck(f, -EINVAL, 1);
}

static void a_table_that_the_owner_took_away_is_stuck(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	fill_table(f, TABLE, 100, 0);
	pdrv_add(&f->p, TABLE, 100 * DESC, INDIRECT, 2);
	assert_int_equal(munmap(arena_ram(&f->arena, TABLE), PAGE), 0);
	check_stuck(f, -EFAULT, 1);
}

/* §2.8.19: an indirect descriptor and NEXT exclude each other. */
static void an_indirect_descriptor_in_a_chain_is_stuck(void **state)
{
	struct vqfix *f = *state;

	fill_table(f, TABLE, 3, 0);
	start(f, 8, 0);
	pdrv_add(&f->p, TABLE, 3 * DESC, INDIRECT | NEXT, 0);
	pdrv_add(&f->p, GPA_A, 1, 0, 0);
	check_stuck(f, -EINVAL, 1);
	start(f, 8, 0);
	pdrv_add(&f->p, GPA_A, 1, NEXT, 0);
	pdrv_add(&f->p, TABLE, 3 * DESC, INDIRECT, 0);
	check_stuck(f, -EINVAL, 1);
}

static void the_write_flag_of_an_indirect_descriptor_is_ignored(void **state)
{
	struct vqfix *f = *state;

	fill_table(f, TABLE, 2, 0);
	start(f, 8, 0);
	pdrv_add(&f->p, TABLE, 2 * DESC, INDIRECT | WRITE, 2);
	vqfix_check_bytes(f, 2);
}

static void a_batch_of_indirect_chains_is_followed(void **state)
{
	struct vqfix *f = *state;

	start_at(f, 200, 0, 150);
	for (uint16_t i = 0; i < 200; i++) {
		uint64_t at = TABLE + i * 1024u;

		fill_table(f, at, 1u + i % 40, 0);
		/* some direct ones, of two, between them */
		if (i % 7 == 5 && i < 199) {
			pdrv_add(&f->p, GPA_A, 1, NEXT, i++);
			pdrv_add(&f->p, GPA_A, 1, 0, 0x100 + i);
			continue;
		}
		pdrv_add(&f->p, at, (uint32_t)((1u + i % 40) * DESC), INDIRECT,
			 i);
	}
	for (unsigned int done = 0; done < 200;) {
		check_ok(vqfix_fetch(f));
		assert_int_not_equal(f->batch.n, 0);
		for (unsigned int k = 0; k < f->batch.n; k++) {
			const struct chain *c = &f->batch.chain[k];

			assert_int_equal(c->out_len,
					 c->id >= 0x100 ? 2 : 1 + c->id % 40);
			done += c->ndescs;
		}
	}
	vqfix_no_error(f);
}

static void a_batch_ends_where_its_pieces_do(void **state)
{
	struct vqfix *f = *state;

	fill_table(f, TABLE, 1000, 0);
	start(f, 8, 0);
	for (uint16_t i = 0; i < 5; i++)
		pdrv_add(&f->p, TABLE, 1000 * DESC, INDIRECT, i);
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

	fill_table(f, TABLE, 1000, 0);
	start(f, 200, 0);
	for (uint16_t i = 0; i < 2; i++)
		pdrv_add(&f->p, TABLE, 1000 * DESC, INDIRECT, i);
	for (uint16_t i = 2; i < 100; i++)
		pdrv_add(&f->p, GPA_A, 1, 0, i);
	check_ret(vqfix_fetch(f), 50);
	assert_int_equal(f->batch.nsegs, VIRTQ_BATCH_SEGS);
	assert_int_equal(f->batch.next, -ENOSPC);
	check_ret(vqfix_fetch(f), 50);
	assert_int_equal(f->batch.chain[0].id, 50);
	vqfix_no_error(f);
}

static void a_batch_has_at_most_1024_chains(void **state)
{
	struct vqfix *f = *state;
	unsigned int total = 0;

	start(f, 2047, 0);
	for (uint16_t i = 0; i < 2047; i++)
		pdrv_add(&f->p, GPA_A, 1, 0, i);
	while (total < 2047) {
		int n = check_ok(virtq_fetch(&f->vq, &f->batch, 5000));

		assert_in_range(n, 1, 1024);
		assert_int_equal(f->batch.chain[0].id, total);
		total += (unsigned int)n;
		push_batch(f, (unsigned int)n, 0);
	}
	check_ret(vqfix_fetch(f), 0);
}

/* ---- used descriptors ---- */

static void used_descriptors_are_written_where_the_chains_began(void **state)
{
	struct vqfix *f = *state;
	struct virtq_used e[3] = { { 100, 0xfff0, 2, 1 },
				   { 0, 1, 3, 1 },
				   { ~0u, 0, 1, 1 } };

	start_at(f, 7, 0, 5);
	for (unsigned int i = 0; i < 7; i++)
		pdrv_add(&f->p, 0x1000u + i, 1000 + i, i < 6 ? NEXT : 0, 99);
	f->vq.last_avail_idx = f->p.next;
	/* of the rest the device has copies, which it may write back */
	if (f->arena.mode != MAPPED && f->arena.mode != RINGS_MAPPED)
		memcpy(f->vq.desc.shadow, f->p.desc, 7 * DESC);
	check_ret(virtq_push(&f->vq, e, 3), 0);
	check_used(f, 0xfff0, 2, 100);
	check_used(f, 1, 3, 0);
	check_used(f, 0, 1, ~0u);
	assert_false(pdrv_used_at(&f->p, f->p.reaped));
	for (unsigned int i = 0; i < 7; i++) {
		const struct vring_packed_desc *d = &f->p.desc[(5 + i) % 7];

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

	start_at(f, 7, IN_ORDER, 5);
	for (uint16_t i = 0; i < 7; i++)
		pdrv_add(&f->p, GPA_A, 1, i < 2 ? NEXT : 0, i);
	check_ret(vqfix_fetch(f), 5);
	check_ret(virtq_push(&f->vq, &e, 1), 0);
	assert_false(pdrv_used_at(&f->p, 6));
	assert_false(pdrv_used_at(&f->p, WRAP | 0));
	check_used(f, 77, 6, 0);
	push(f, 6, 1, 0);
	check_used(f, 6, 1, 0);
	assert_int_equal(f->p.reaped, f->p.next);
	e.ndescs = 7; /* all of the ring */
	check_ret(virtq_push(&f->vq, &e, 1), 0);
	check_used(f, 77, 7, 0);
	assert_int_equal(f->vq.last_used_idx, f->p.reaped);
}

static void a_start_writes_the_wish_last_in_force(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	virtq_disable_notify(&f->vq);
	memset(f->p.device, 0xff, 4);
	check_ret(virtq_start(&f->vq), 0);
	assert_int_equal(pdrv_wanted(&f->p), DISABLE);
	start(f, 8, 0);
	assert_int_equal(pdrv_wanted(&f->p), ENABLE);
	start_at(f, 8, EVENT_IDX, 5);
	assert_int_equal(pdrv_wanted(&f->p), AT);
	assert_int_equal(pdrv_wanted_at(&f->p), 5);
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

	start(f, 7, 0);
	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		f->vq.last_avail_idx = bases[i].avail;
		f->vq.last_used_idx = bases[i].used;
		check_ret(virtq_start(&f->vq), bases[i].ret);
	}
}

static void a_start_goes_on_where_another_device_stopped(void **state)
{
	struct vqfix *f = *state;

	start_at(f, 7, 0, 5);
	for (uint16_t i = 0; i < 4; i++)
		pdrv_add(&f->p, GPA_A, 1, 0, i);
	check_ret(virtq_fetch(&f->vq, &f->batch, 2), 2);
	/* those two are in flight */
	check_ret(virtq_start(&f->vq), 0);
	assert_int_equal(f->vq.last_used_idx, 5);
	check_ret(vqfix_fetch(f), 2);
	assert_int_equal(f->batch.chain[0].id, 2);
	push(f, 0, 1, 0);
	push(f, 1, 1, 0);
	push_batch(f, 2, 0);
	for (uint16_t i = 0; i < 4; i++)
		check_used(f, i, 1, 0);
}

static void a_start_without_its_memory_is_refused(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	f->vq.addr.used_user_addr = 0;
	check_ret(virtq_start(&f->vq), -EFAULT);
	f->vq.addr.used_user_addr = arena_uva(&f->arena, ARENA_SIZE);
	check_ret(virtq_start(&f->vq), -EFAULT);
	f->vq.addr.used_user_addr = arena_uva(&f->arena, 0) - 2;
	check_ret(virtq_start(&f->vq), -EFAULT);
}

static void a_ring_out_of_reach_is_reported(void **state)
{
	struct vqfix *f = *state;
	struct virtq_used e = { 2, 1, 1, 1 };

	start(f, 8, 0);
	pdrv_add(&f->p, GPA_A, 1, 0, 0);
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

	start(f, 8, 0);
	push(f, 0, 1, 0);
	assert_true(vqfix_signalled(f));
	pdrv_want(&f->p, DISABLE, 0);
	push(f, 0, 1, 0);
	assert_false(vqfix_signalled(f));
	pdrv_want(&f->p, DISABLE | 0xfffc, 0xffff); /* only two bits */
	assert_false(vqfix_signalled(f));
	pdrv_want(&f->p, 0xfffc, 0);
	assert_true(vqfix_signalled(f));
	pdrv_want(&f->p, 3, 0); /* reserved */
	assert_true(vqfix_signalled(f));
	pdrv_want(&f->p, AT, WRAP | 6); /* not negotiated */
	assert_true(vqfix_signalled(f));
}

static void a_signal_at_a_place_needs_the_feature_only_for_that(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, EVENT_IDX);
	push(f, 0, 1, 0);
	vqfix_signalled(f);
	pdrv_want(&f->p, DISABLE, 0);
	push(f, 0, 1, 0);
	assert_false(vqfix_signalled(f));
	pdrv_want(&f->p, ENABLE, WRAP | 6);
	push(f, 0, 1, 0);
	assert_true(vqfix_signalled(f));
}

/* Every place against every step from every place, by counting. */
static void a_signal_comes_when_the_place_is_passed(void **state)
{
	struct vqfix *f = *state;
	const uint32_t num = 5;

	for (uint32_t from = 0; from < 2 * num; from++)
		for (uint32_t step = 1; step <= num; step++)
			for (uint32_t at = 0; at < 2 * num; at++) {
				uint16_t place = pdrv_step(&f->p, 0, 0);
				bool want = false;

				start_at(f, num, EVENT_IDX, WRAP);
				place = pdrv_step(&f->p, WRAP, from);
				start_at(f, num, EVENT_IDX,
					 pdrv_step(&f->p, place, 2 * num - 1));
				pdrv_want(&f->p, ENABLE, 0);
				push(f, 0, 1, 0);
				assert_true(vqfix_signalled(f));
				assert_int_equal(f->vq.last_used_idx, place);
				for (uint32_t i = 0; i < step; i++)
					want |= (from + i) % (2 * num) == at;
				pdrv_want(&f->p, AT,
					  pdrv_step(&f->p, WRAP, at));
				push(f, 0, (uint16_t)step, 0);
				assert_int_equal(vqfix_signalled(f), want);
			}
}

static void a_place_that_is_not_in_the_ring_is_always_passed(void **state)
{
	struct vqfix *f = *state;

	start(f, 7, EVENT_IDX);
	push(f, 0, 1, 0);
	vqfix_signalled(f);
	pdrv_want(&f->p, AT, 7);
	push(f, 0, 1, 0);
	assert_true(vqfix_signalled(f));
	pdrv_want(&f->p, AT, 0xffff);
	push(f, 0, 1, 0);
	assert_true(vqfix_signalled(f));
	pdrv_want(&f->p, AT, 6);
	push(f, 0, 1, 0);
	assert_false(vqfix_signalled(f));
}

static void the_first_signal_after_a_start_is_unconditional(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, EVENT_IDX);
	pdrv_want(&f->p, AT, 6);
	push(f, 0, 1, 0);
	assert_true(vqfix_signalled(f));
	push(f, 0, 1, 0);
	assert_false(vqfix_signalled(f));
	f->vq.last_avail_idx = f->vq.last_used_idx;
	check_ret(virtq_start(&f->vq), 0);
	push(f, 0, 1, 0);
	assert_true(vqfix_signalled(f));
}

/* With no look at the driver's wish for two laps nothing can be compared. */
static void
two_laps_without_a_look_make_the_next_signal_unconditional(void **state)
{
	struct vqfix *f = *state;

	start(f, 7, EVENT_IDX);
	push(f, 0, 7, 0);
	vqfix_signalled(f);
	pdrv_want(&f->p, AT, WRAP | 3);
	push(f, 0, 7, 0);
	assert_true(f->vq.signalled_used_valid);
	push(f, 0, 6, 0);
	assert_true(f->vq.signalled_used_valid);
	push(f, 0, 1, 0);
	assert_false(f->vq.signalled_used_valid);
	assert_true(vqfix_signalled(f));
}

static void without_a_call_descriptor_nothing_is_decided(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, EVENT_IDX);
	f->vq.call_fd = -1;
	push(f, 0, 1, 0);
	virtq_signal(&f->vq);
	assert_int_equal(f->vq.counters.signals, 0);
	assert_int_equal(f->vq.counters.suppressed, 0);
	assert_false(f->vq.signalled_used_valid);
}

/* ---- notifications ---- */

static void notifications_are_switched(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	virtq_disable_notify(&f->vq);
	assert_int_equal(pdrv_wanted(&f->p), DISABLE);
	assert_false(virtq_enable_notify(&f->vq));
	assert_int_equal(pdrv_wanted(&f->p), ENABLE);
}

static void kicks_are_wanted_at_what_was_not_seen(void **state)
{
	struct vqfix *f = *state;

	start_at(f, 7, EVENT_IDX, WRAP | 5);
	virtq_disable_notify(&f->vq);
	assert_int_equal(pdrv_wanted(&f->p), DISABLE);
	for (uint16_t i = 0; i < 4; i++)
		pdrv_add(&f->p, GPA_A, 1, 0, i);
	check_ret(vqfix_fetch(f), 4);
	assert_false(virtq_enable_notify(&f->vq));
	assert_int_equal(pdrv_wanted(&f->p), AT);
	assert_int_equal(pdrv_wanted_at(&f->p), 2);
	/* seen, and left where they are */
	virtq_disable_notify(&f->vq);
	virtq_rewind(&f->vq, &f->batch, 4);
	assert_false(virtq_enable_notify(&f->vq));
	assert_int_equal(pdrv_wanted_at(&f->p), 2);
}

static void chains_that_came_meanwhile_are_noticed(void **state)
{
	static const uint64_t features[] = { 0, EVENT_IDX };
	struct vqfix *f = *state;

	for (unsigned int i = 0; i < 2; i++) {
		start_at(f, 3, features[i], 2);
		virtq_disable_notify(&f->vq);
		check_ret(vqfix_fetch(f), 0);
		assert_false(virtq_avail_changed(&f->vq));
		pdrv_add(&f->p, GPA_A, 1, 0, 0);
		assert_true(virtq_avail_changed(&f->vq));
		assert_true(virtq_enable_notify(&f->vq));
		virtq_disable_notify(&f->vq);
		check_ret(vqfix_fetch(f), 1);
		assert_false(virtq_avail_changed(&f->vq));
		assert_false(virtq_enable_notify(&f->vq));
		/* and with the whole ring in flight */
		pdrv_add(&f->p, GPA_A, 1, 0, 0);
		pdrv_add(&f->p, GPA_A, 1, 0, 0);
		check_ret(vqfix_fetch(f), 2);
		assert_false(virtq_avail_changed(&f->vq));
	}
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
	start_at(f, 300, 0, place);
	vqfix_log_ring(f, 7 * PAGE); /* nothing is there */
}

static void what_is_written_is_logged_at_all_its_addresses(void **state)
{
	struct vqfix *f = *state;
	struct virtq_used e[300] = { { .ndescs = 0 } };

	start_logged(f, 254);
	push(f, 0, 1, 0);
	assert_int_equal(vqfix_take_log(f), vqfix_pages(f, 0x20008));
	assert_int_equal(f->log_events, 1);
	for (unsigned int i = 0; i < 2; i++)
		e[i] = (struct virtq_used){ 0, 0, 1, 1 };
	check_ret(virtq_push(&f->vq, e, 2), 0); /* 255, 256 */
	assert_int_equal(vqfix_take_log(f), vqfix_pages(f, 0x60018));
	push(f, 0, 1, 0);
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
	push(f, 0, 1, 0);
	virtq_disable_notify(&f->vq);
	assert_int_equal(vqfix_take_log(f), 0);
	assert_int_equal(f->log_events, 0);
}

/* ---- IOTLB ---- */

static void start_iotlb(struct vqfix *f, uint32_t num)
{
	struct vhost_vring_addr addr;

	pdrv_init(&f->p, &f->arena, 0, num);
	addr = pdrv_addr(&f->p, 0);
	vqfix_iotlb(f, &addr, num);
	f->vq.features = PACKED;
	f->vq.last_avail_idx = f->vq.last_used_idx = WRAP;
}

static void a_ring_in_many_pieces_works(void **state)
{
	static const struct {
		uint32_t num;
		uint64_t step, total;
	} cuts[] = {
		{ 8, 64, 1024 },      { 7, 24, 1008 },
		{ 8, 20, 1000 },      { 300, 4096, 0x2000 },
		{ 513, 256, 0x3000 }, { 1024, 1028, 0x8000 },
	};
	struct vqfix *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		rangemap_clear(&f->mv.iotlb);
		start_iotlb(f, cuts[i].num);
		vqfix_iotlb_rings(f, cuts[i].step, cuts[i].total);
		vqfix_iotlb_add(f, GPA_A, RAM_SIZE, RAM_A_OFF, RANGE_RW);
		f->vq.features |= EVENT_IDX;
		f->vq.used_flags = 0;
		check_ret(virtq_start(&f->vq), 0);
		for (unsigned int lap = 0; lap < 3; lap++) {
			go_round(f);
			virtq_disable_notify(&f->vq);
			assert_false(virtq_enable_notify(&f->vq));
			assert_int_equal(pdrv_wanted_at(&f->p), f->p.next);
		}
		vqfix_no_error(f);
		assert_int_equal(f->misses, 0);
	}
}

static void a_start_needs_the_events_in_the_iotlb(void **state)
{
	struct vqfix *f = *state;

	start_iotlb(f, 8);
	check_ret(virtq_start(&f->vq), -EFAULT);
	assert_int_equal(event_take(f->err), 1);
	assert_int_equal(f->misses, 1);
	assert_int_equal(f->miss_addr, f->vq.addr.used_user_addr);
	assert_int_equal(f->miss_perm, RANGE_WO);
	/* but not the rest */
	vqfix_iotlb_add(f, f->vq.addr.used_user_addr, 4,
			(uint64_t)((uint8_t *)f->p.device - f->arena.base),
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
	vqfix_iotlb_add(f, used, 4, used - desc, RANGE_RW);
	check_ret(virtq_start(&f->vq), 0);

	check_ret(vqfix_fetch(f), -EAGAIN);
	assert_int_equal(f->miss_addr, desc);
	assert_int_equal(f->miss_perm, RANGE_WO);
	vqfix_iotlb_add(f, desc, 100, 0, RANGE_RW); /* not all of it */
	check_ret(vqfix_fetch(f), -EAGAIN);
	assert_int_equal(f->miss_addr, desc + 100);
	vqfix_iotlb_add(f, desc + 100, 28, 100, RANGE_RW);
	check_ret(vqfix_fetch(f), -EAGAIN);
	assert_int_equal(f->miss_addr, avail);
	assert_int_equal(f->miss_perm, RANGE_RO);
	vqfix_iotlb_add(f, avail, 4, avail - desc, RANGE_RO);
	check_ret(vqfix_fetch(f), 0);
	assert_int_equal(f->misses, 3);
	vqfix_no_error(f);
}

static void the_ring_must_be_readable_and_writable(void **state)
{
	struct vqfix *f = *state;

	for (uint8_t perm = RANGE_RO; perm <= RANGE_WO; perm++) {
		rangemap_clear(&f->mv.iotlb);
		start_iotlb(f, 8);
		vqfix_iotlb_add(f, f->vq.addr.desc_user_addr, 128, 0, perm);
		vqfix_iotlb_add(f, f->vq.addr.desc_user_addr + 128, PAGE, 128,
				RANGE_RW);
		check_ret(virtq_start(&f->vq), 0);
		check_ret(vqfix_fetch(f), -EPERM);
		assert_int_equal(f->misses, 0);
		vqfix_no_error(f);
	}
}

static void a_hole_under_a_buffer_is_asked_for(void **state)
{
	struct vqfix *f = *state;

	start_iotlb(f, 8);
	vqfix_iotlb_rings(f, PAGE, PAGE);
	check_ret(virtq_start(&f->vq), 0);
	vqfix_iotlb_add(f, 0x1000, 0x1000, RAM_A_OFF, RANGE_RW);
	pdrv_add(&f->p, 0x1800, 100, 0, 0);
	pdrv_add(&f->p, 0x1ff0, 100, WRITE, 1);
	pdrv_add(&f->p, 0x3000, 32, INDIRECT, 2);
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
	check_ret(vqfix_fetch(f), -EAGAIN);
	assert_int_equal(f->miss_addr, 0x3000);
	assert_int_equal(f->miss_perm, RANGE_RO);
	vqfix_no_error(f);
}

static void a_buffer_without_permission_is_stuck(void **state)
{
	struct vqfix *f = *state;

	for (uint16_t write = 0; write <= WRITE; write += WRITE) {
		rangemap_clear(&f->mv.iotlb);
		start_iotlb(f, 8);
		vqfix_iotlb_rings(f, PAGE, PAGE);
		check_ret(virtq_start(&f->vq), 0);
		vqfix_iotlb_add(f, 0x1000, 0x1000, RAM_A_OFF,
				write ? RANGE_RO : RANGE_WO);
		pdrv_add(&f->p, 0x1000, 1, write ^ WRITE, 0);
		pdrv_add(&f->p, 0x1000, 1, write, 1);
		check_ret(vqfix_fetch(f), 1);
		assert_int_equal(f->batch.next, -EPERM);
		push_batch(f, 1, 0);
		check_used(f, 0, 1, 0);
		check_stuck(f, -EPERM, 1);
		assert_int_equal(f->misses, 0);
	}
}

/* ---- memory that changes ---- */

static void a_moved_ring_is_found_after_a_change(void **state)
{
	struct vqfix *f = *state;
	struct pdrv moved;

	start(f, 8, 0);
	pdrv_add(&f->p, GPA_A, 1, 0, 0);
	check_ret(virtq_avail_count(&f->vq), 1);
	pdrv_init(&moved, &f->arena, 0x10000, 8);
	f->vq.addr = pdrv_addr(&moved, 0);
	virtq_changed(&f->vq);
	check_ret(vqfix_fetch(f), 0); /* nothing is known of this one */
	pdrv_add(&moved, GPA_A, 1, 0, 3);
	check_ret(vqfix_fetch(f), 1);
	push(f, 3, 1, 9);
	assert_int_equal(pdrv_reap(&moved, 1).len, 9);
	assert_false(pdrv_used_at(&f->p, WRAP));
}

static void event_idx_can_come_while_the_ring_runs(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	check_ret(vqfix_fetch(f), 0);
	f->vq.features |= EVENT_IDX;
	virtq_changed(&f->vq);
	pdrv_want(&f->p, AT, WRAP | 1);
	push(f, 0, 1, 0);
	assert_true(vqfix_signalled(f));
	push(f, 0, 1, 0);
	assert_true(vqfix_signalled(f));
	push(f, 0, 1, 0);
	assert_false(vqfix_signalled(f));
	virtq_disable_notify(&f->vq);
	virtq_enable_notify(&f->vq);
	assert_int_equal(pdrv_wanted(&f->p), AT);
}

/* The format is that of the start. */
static void the_format_does_not_change_while_the_ring_runs(void **state)
{
	struct vqfix *f = *state;

	start(f, 8, 0);
	f->vq.features &= ~PACKED;
	virtq_changed(&f->vq);
	pdrv_add(&f->p, GPA_A, 1, 0, 4);
	check_ret(vqfix_fetch(f), 1);
	push(f, 4, 1, 0);
	check_used(f, 4, 1, 0);
}

static void a_ring_may_be_misaligned(void **state)
{
	struct vqfix *f = *state;

	for (unsigned int off = 1; off < 16; off++) {
		struct vring_packed_desc d;

		start(f, 8, 0);
		f->vq.addr.desc_user_addr += 0x8000 + off;
		f->vq.addr.used_user_addr += 0x8000 + off;
		memset(f->arena.base + 0x8000, 0, 0x1000);
		virtq_changed(&f->vq);
		pdrv_add(&f->p, GPA_A, 5, 0, 9);
		memcpy(f->arena.base + 0x8000 + off, f->p.desc, DESC);
		check_ret(vqfix_fetch(f), 1);
		vqfix_check_seg(f, &f->batch.seg[0], GPA_A, 5);
		push_batch(f, 1, 33);
		virtq_disable_notify(&f->vq);
		memcpy(&d, f->arena.base + 0x8000 + off, DESC);
		assert_int_equal(le32toh(d.len), 33);
		assert_int_equal(le16toh(d.flags),
				 WRITE | PDRV_AVAIL | PDRV_USED);
		memcpy(&d, f->arena.base + 0x8000 + off + 8 * DESC + 64, 4);
		assert_int_equal(d.addr >> 16 & 0xffff, DISABLE);
		f->vq.used_flags = 0;
	}
	vqfix_no_error(f);
}

static void a_truncated_file_breaks_the_ring(void **state)
{
	struct vqfix *f = *state;

	aspace_guard_install(); /* cmocka has handlers of its own */
	start(f, 8, 0);
	pdrv_add(&f->p, GPA_A, 1, 0, 0);
	pdrv_add(&f->p, GPA_A, 1, 0, 1);
	check_ret(virtq_fetch(&f->vq, &f->batch, 1), 1);
	check_ret(ftruncate(f->arena.memfd, 0), 0);
	/* zeros instead of the ring from here on, to the end of the batch */
	check_ok(virtq_fetch(&f->vq, &f->batch, 1));
	push(f, 0, 1, 0);
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
	pdrv_add(&f->p, GPA_A, 1, 0, 0);
	check_ret(vqfix_fetch(f), 1);
	push_batch(f, 1, 3);
	check_used(f, 0, 1, 3);
	arena_end_child(&f->arena);
	pdrv_add(&f->p, GPA_A, 1, 0, 1);
	check_ret(vqfix_fetch(f), -ESRCH);
	assert_true(f->vq.broken);
	assert_int_equal(event_take(f->err), 1);
	check_ret(vqfix_fetch(f), -EIO);
	assert_int_equal(event_take(f->err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		EVERYWHERE(an_empty_ring_gives_nothing),
		EVERYWHERE(a_descriptor_is_available_by_its_two_flags),
		EVERYWHERE(a_chain_comes_with_its_pieces_in_order),
		EVERYWHERE(no_more_chains_are_taken_than_asked_for),
		EVERYWHERE(chains_are_counted_and_not_descriptors),
		EVERYWHERE(many_chains_are_counted),
		EVERYWHERE(a_look_tells_whether_there_is_more),
		EVERYWHERE(rewound_chains_come_again),
		EVERYWHERE(chains_are_judged_as_they_are_when_they_come_again),
		EVERYWHERE(a_ring_of_any_size_wraps),
		EVERYWHERE(zero_length_buffers_contribute_nothing),
		EVERYWHERE(unknown_descriptor_flags_are_ignored),
		EVERYWHERE(a_buffer_outside_guest_memory_is_stuck),
		EVERYWHERE(a_buffer_across_neighbouring_regions_is_cut),
		EVERYWHERE(a_chain_as_long_as_the_ring_is_taken),
		EVERYWHERE(a_chain_longer_than_the_ring_is_stuck),
		EVERYWHERE(a_chain_past_what_is_available_is_stuck),
		EVERYWHERE(a_chain_into_one_that_was_taken_is_stuck),
		EVERYWHERE(a_readable_buffer_behind_a_writable_one_is_stuck),
		EVERYWHERE(a_chain_of_1025_pieces_is_stuck),
		EVERYWHERE(a_mended_chain_is_taken),
		EVERYWHERE(
			a_bad_chain_is_not_reported_before_those_ahead_of_it),
		EVERYWHERE(a_descriptor_that_is_gone_again_was_not_there),
		EVERYWHERE(nothing_is_known_behind_what_is_gone_again),
		EVERYWHERE(an_indirect_table_is_read_to_its_end),
		EVERYWHERE(the_write_flag_counts_in_a_table),
		EVERYWHERE(an_indirect_table_may_lie_anywhere),
		EVERYWHERE(a_bad_table_is_stuck),
		EVERYWHERE(a_table_of_65536_is_the_largest),
		EVERYWHERE(a_bad_buffer_in_a_table_is_stuck),
		IN(copied, a_table_that_the_owner_took_away_is_stuck),
		IN(rings_mapped, a_table_that_the_owner_took_away_is_stuck),
		EVERYWHERE(an_indirect_descriptor_in_a_chain_is_stuck),
		EVERYWHERE(the_write_flag_of_an_indirect_descriptor_is_ignored),
		EVERYWHERE(a_batch_of_indirect_chains_is_followed),
		EVERYWHERE(a_batch_ends_where_its_pieces_do),
		EVERYWHERE(short_chains_behind_long_ones_end_it_too),
		EVERYWHERE(a_batch_has_at_most_1024_chains),
		EVERYWHERE(used_descriptors_are_written_where_the_chains_began),
		EVERYWHERE(an_element_can_stand_for_several_chains),
		EVERYWHERE(a_start_writes_the_wish_last_in_force),
		EVERYWHERE(a_start_needs_a_place_in_the_ring),
		EVERYWHERE(a_start_goes_on_where_another_device_stopped),
		EVERYWHERE(a_start_without_its_memory_is_refused),
		IN(copied, a_ring_out_of_reach_is_reported),
		IN(ram_mapped, a_ring_out_of_reach_is_reported),
		EVERYWHERE(the_driver_can_switch_signals_off),
		EVERYWHERE(a_signal_at_a_place_needs_the_feature_only_for_that),
		EVERYWHERE(a_signal_comes_when_the_place_is_passed),
		EVERYWHERE(a_place_that_is_not_in_the_ring_is_always_passed),
		EVERYWHERE(the_first_signal_after_a_start_is_unconditional),
		EVERYWHERE(
			two_laps_without_a_look_make_the_next_signal_unconditional),
		EVERYWHERE(without_a_call_descriptor_nothing_is_decided),
		EVERYWHERE(notifications_are_switched),
		EVERYWHERE(kicks_are_wanted_at_what_was_not_seen),
		EVERYWHERE(chains_that_came_meanwhile_are_noticed),
		EVERYWHERE(what_is_written_is_logged_at_all_its_addresses),
		EVERYWHERE(a_batch_across_the_end_logs_both_its_parts),
		EVERYWHERE(without_the_log_flag_nothing_is_logged),
		EVERYWHERE(a_ring_in_many_pieces_works),
		EVERYWHERE(a_start_needs_the_events_in_the_iotlb),
		EVERYWHERE(a_hole_under_a_ring_part_is_asked_for_in_order),
		EVERYWHERE(the_ring_must_be_readable_and_writable),
		EVERYWHERE(a_hole_under_a_buffer_is_asked_for),
		EVERYWHERE(a_buffer_without_permission_is_stuck),
		EVERYWHERE(a_moved_ring_is_found_after_a_change),
		EVERYWHERE(event_idx_can_come_while_the_ring_runs),
		EVERYWHERE(the_format_does_not_change_while_the_ring_runs),
		EVERYWHERE(a_ring_may_be_misaligned),
		IN(mapped, a_truncated_file_breaks_the_ring),
		IN(rings_mapped, a_truncated_file_breaks_the_ring),
		IN(child, an_owner_that_is_gone_breaks_the_ring),
	};

	return cmocka_run_group_tests_name("packed", tests, NULL, NULL);
}
