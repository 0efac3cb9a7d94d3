/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_packed.c tests packed rings, and rings used in order: frames both ways,
 * every kind of chain, event suppression, errors, and rings of any size that
 * are stopped and started again. The kernel offers neither packed rings nor,
 * before 7.2, VIRTIO_F_IN_ORDER: tests of what a device does not offer are
 * skipped.
 */
#include "rig.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define PACKED (F_V1 | F_PACKED)
#define NEXT VRING_DESC_F_NEXT
#define INDIRECT VRING_DESC_F_INDIRECT
#define WRAP 0x8000u

/* @num, or the next power of two where it must be one */
static unsigned int size(unsigned int num)
{
	unsigned int n = 1;

	if (conf_expect("packed rings of any size", 1))
		return num;
	while (n < num)
		n *= 2;
	return n;
}

static struct rig *open_packed(uint64_t more, unsigned int num)
{
	num = size(num);
	return rig_open(&(struct rig_config){
		.vmm.features = PACKED | more,
		.vmm.num = { num, num },
	});
}

/* ---- the base ---- */

/* Where it is set a driver may give the low half alone; it gets back what it
 * gave. The ring goes on from there (both_ways() with a base). */
static void base_is_read_back_as_it_was_set(void **state)
{
	static const uint32_t bases[] = { 1, 0x8000, 0x80008000, 0x80050003 };
	struct rig *r = rig_open(
		&(struct rig_config){ .idle = true, .vmm.features = PACKED });
	unsigned int i, base;

	(void)state;
	check_ret(vmm_init(r->v), 0);
	check_ret(vmm_prepare(r->v), 0);
	for (i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
		check_ret(uvh_set_vring_base(r->v->fe, VMM_TX, bases[i]), 0);
		check_ret(uvh_get_vring_base(r->v->fe, VMM_TX, &base), 0);
		assert_int_equal(base, bases[i]);
	}
	rig_close(r);
}

/* ---- frames ---- */

static void both_ways(const struct rig_config *config, unsigned int n)
{
	struct rig *r = rig_open(config);

	for (unsigned int i = 0; i < n; i++) {
		rig_tx(r, 60 + i, i);
		rig_rx(r, 60 + i, 1000 + i);
	}
	rig_no_err(r, VMM_TX);
	rig_no_err(r, VMM_RX);
	rig_close(r);
}

static void frames_go_both_ways_in_every_kind_of_memory(void **state)
{
	(void)state;
	for (enum vmm_mem_kind kind = VMM_MEM_PRIVATE; kind <= VMM_MEM_MEMFD;
	     kind++)
		both_ways(&(struct rig_config){ .vmm.features = PACKED,
						.vmm.mem_kind = kind },
			  20);
}

static void frames_go_both_ways_for_every_vmm(void **state)
{
	static const enum vmm_style styles[] = { VMM_QEMU, VMM_DPDK,
						 VMM_CROSVM };
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(styles) / sizeof(styles[0]); i++)
		both_ways(
			&(struct rig_config){ .vmm.features = PACKED | F_EVENT,
					      .vmm.style = styles[i] },
			20);
}

static void a_ring_of_any_size_goes_round(void **state)
{
	static const unsigned int nums[] = { 1, 2, 3, 7, 100, 256, 1000 };
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(nums) / sizeof(nums[0]); i++)
		both_ways(&(struct rig_config){ .vmm.features = PACKED,
						.vmm.num = { size(nums[i]),
							     size(nums[i]) },
						.base = nums[i] / 2 },
			  nums[i] < 10 ? 4 * nums[i] : 40);
}

/* A frame as a chain of pieces, direct or in a table. */
static void send_pieces(struct rig *r, unsigned int n, bool indirect,
			uint32_t seed)
{
	uint64_t at = rig_slot(r, seed), table = rig_slot(r, seed + 1);
	size_t len = 200, total = r->v->hdr_len + len, piece = total / n;
	struct vmm_seg seg[64];

	rig_fill(r, at, len, seed);
	for (unsigned int i = 0; i < n; i++)
		seg[i] = (struct vmm_seg){
			.addr = at + i * piece,
			.len = (uint32_t)(i + 1 < n ? piece
						    : total - i * piece),
		};
	rig_tx_chain(r, seg, n, indirect ? table : 0, len, seed);
}

static void any_layout_is_sent(void **state)
{
	struct rig *r = open_packed(F_INDIRECT, 67);
	unsigned int n;

	(void)state;
	for (n = 1; n <= 64; n += 7) {
		send_pieces(r, n, false, 2 * n);
		send_pieces(r, n, true, 2 * n);
	}
	rig_no_err(r, VMM_TX);
	rig_close(r);
}

static void bursts_are_sent(struct rig *r)
{
	static struct vmm_used used[256];
	uint32_t seed = 0;

	for (unsigned int n = 1; n <= 97; n += 12) {
		for (unsigned int i = 0; i < n; i++)
			rig_add_tx(r, 60, seed + i);
		rig_go(r, VMM_TX);
		for (unsigned int i = 0; i < n; i++)
			rig_seen(r, 60, seed + i);
		rig_reap(r, VMM_TX, n, used);
		rig_used_is(r, VMM_TX, 0);
		assert_int_equal(rig_ring(r, VMM_TX)->nout, 0);
		seed += n;
	}
	rig_no_err(r, VMM_TX);
	rig_close(r);
}

static void bursts_come_back(void **state)
{
	(void)state;
	bursts_are_sent(open_packed(0, 100));
}

static void bursts_come_back_in_order(void **state)
{
	(void)state;
	bursts_are_sent(open_packed(F_IN_ORDER, 100));
}

static void bursts_come_back_in_order_split(void **state)
{
	(void)state;
	bursts_are_sent(rig_open(
		&(struct rig_config){ .vmm.features = F_V1 | F_IN_ORDER }));
}

static void received_frames_have_their_lengths_in_order(void **state)
{
	static const uint64_t features[] = { F_V1, PACKED };
	unsigned int i, k;

	(void)state;
	for (k = 0; k < 2; k++) {
		struct rig *r = rig_open(&(struct rig_config){
			.vmm.features = features[k] | F_IN_ORDER });

		for (i = 0; i < 30; i++)
			rig_add_rx(r, RIG_SLOT_BYTES, i);
		rig_go(r, VMM_RX);
		for (i = 0; i < 30; i++)
			rig_inject(r, 60 + i, i);
		for (i = 0; i < 30; i++)
			rig_got(r, 60 + i, i);
		rig_close(r);
	}
}

static void a_long_frame_takes_several_buffers(void **state)
{
	struct rig *r = open_packed(F_MRG, 19);
	struct vmm_used used[8];
	uint8_t frame[1500];
	unsigned int i, k;

	(void)state;
	for (k = 0; k < 10; k++) {
		size_t at = 0;

		for (i = 0; i < 8; i++)
			rig_add_rx(r, 200, i);
		rig_go(r, VMM_RX);
		rig_inject(r, 1500, k);
		rig_reap(r, VMM_RX, 8, used);
		for (i = 0; i < 8; i++) {
			const uint8_t *p = used[i].token;
			size_t skip = i ? 0 : r->v->hdr_len;

			if (!i)
				assert_int_equal(p[10] | p[11] << 8, 8);
			assert_int_equal(used[i].len, i < 7 ? 200 : 112);
			memcpy(frame + at, p + skip, used[i].len - skip);
			at += used[i].len - skip;
		}
		assert_int_equal(at, 1500);
		assert_true(vmm_frame_is(frame, 1500, k));
	}
	rig_no_err(r, VMM_RX);
	rig_close(r);
}

static void a_frame_waits_for_buffers(void **state)
{
	struct rig *r = open_packed(F_EVENT, 5);
	unsigned int i;

	(void)state;
	for (i = 0; i < 12; i++) {
		rig_inject(r, 100, i);
		conf_settle(r->v);
		rig_add_rx(r, RIG_SLOT_BYTES, i);
		rig_go(r, VMM_RX); /* only if the device wants a kick */
		rig_got(r, 100, i);
	}
	rig_close(r);
}

/* ---- events ---- */

static void a_burst_is_signalled_once(void **state)
{
	struct rig *r = open_packed(0, 11);

	(void)state;
	rig_tx_quietly(r, 10, 0);
	assert_int_equal(vmm_event_count(r->v->q[VMM_TX].call), 1);
	rig_close(r);
}

static void signals_can_be_switched_off(void **state)
{
	static const uint64_t features[] = { 0, F_EVENT };
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct rig *r = open_packed(features[i], 11);

		rig_tx_quietly(r, 1, 0);
		vmm_event_count(r->v->q[VMM_TX].call);
		vmm_ring_calls_off(rig_ring(r, VMM_TX));
		rig_tx_quietly(r, 3, 1);
		conf_quiet(r->v, r->v->q[VMM_TX].call);
		vmm_ring_calls_on(rig_ring(r, VMM_TX));
		rig_tx_quietly(r, 1, 4);
		assert_int_equal(vmm_event_count(r->v->q[VMM_TX].call), 1);
		rig_close(r);
	}
}

static void a_signal_comes_at_a_place(void **state)
{
	struct rig *r = open_packed(F_EVENT, 7);
	struct vmm_ring *ring = rig_ring(r, VMM_TX);
	unsigned int i;

	(void)state;
	rig_tx_quietly(r, 1, 0);
	vmm_event_count(r->v->q[VMM_TX].call);
	for (i = 0; i < 20; i += 5) {
		/* the fifth, past the end of the ring now and then */
		vmm_ring_call_at(ring, vmm_ring_step(ring, ring->used_idx, 4));
		rig_tx_quietly(r, 2, 0);
		rig_tx_quietly(r, 2, 2);
		conf_quiet(r->v, r->v->q[VMM_TX].call);
		rig_tx_quietly(r, 1, 4);
		assert_int_equal(vmm_event_count(r->v->q[VMM_TX].call), 1);
	}
	rig_close(r);
}

static void kicks_are_wanted_from_an_idle_device(void **state)
{
	struct rig *r = open_packed(0, 7);

	(void)state;
	rig_tx(r, 60, 0);
	rig_eventually(r, VMM_TX, vmm_ring_used_flags,
		       VRING_PACKED_EVENT_FLAG_ENABLE);
	rig_close(r);
	r = open_packed(F_EVENT, 7);
	for (unsigned int i = 0; i < 10; i++) {
		rig_tx(r, 60, 0);
		rig_eventually(r, VMM_TX, vmm_ring_used_flags,
			       VRING_PACKED_EVENT_FLAG_DESC);
		rig_eventually(r, VMM_TX, vmm_ring_avail_event,
			       rig_ring(r, VMM_TX)->avail_idx);
	}
	rig_close(r);
}

/* ---- errors ---- */

/* The ring stays before the bad chain, and goes on once it is repaired. */
static void check_stuck(struct rig *r, unsigned int base)
{
	assert_int_not_equal(rig_err(r, VMM_TX), 0);
	check_ret(vmm_backend(r->v, VMM_TX, -1), 0);
	assert_int_equal(rig_base(r, VMM_TX),
			 (WRAP | base) << 16 | WRAP | base);
	rig_used_is(r, VMM_TX, 0);
	rig_close(r);
}

static void a_chain_past_what_is_available_is_an_error(void **state)
{
	struct rig *r = open_packed(0, 8);

	(void)state;
	vmm_ring_put(rig_ring(r, VMM_TX), rig_slot(r, 0), 60, NEXT, 0);
	rig_go(r, VMM_TX);
	check_stuck(r, 0);
}

static void a_chain_longer_than_the_ring_is_an_error(void **state)
{
	struct rig *r = open_packed(0, 8);

	(void)state;
	for (unsigned int i = 0; i < 8; i++)
		vmm_ring_put(rig_ring(r, VMM_TX), rig_slot(r, 0), 60, NEXT, 0);
	rig_go(r, VMM_TX);
	check_stuck(r, 0);
}

static void an_indirect_descriptor_in_a_chain_is_an_error(void **state)
{
	static const uint16_t flags[][2] = { { INDIRECT | NEXT, 0 },
					     { NEXT, INDIRECT } };

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		struct rig *r = open_packed(F_INDIRECT, 8);

		for (unsigned int k = 0; k < 2; k++)
			vmm_ring_put(rig_ring(r, VMM_TX), rig_slot(r, 0), 64,
				     flags[i][k], 0);
		rig_go(r, VMM_TX);
		check_stuck(r, 0);
	}
}

static void a_buffer_outside_guest_memory_is_an_error(void **state)
{
	struct rig *r = open_packed(0, 8);

	(void)state;
	rig_tx(r, 60, 1);
	vmm_ring_put(rig_ring(r, VMM_TX), UINT64_C(1) << 50, 60, 0, 0);
	rig_go(r, VMM_TX);
	check_stuck(r, 1);
}

static void wait_used_at(struct rig *r, uint16_t place)
{
	int64_t end = vmm_now_ms() + CONF_MS;
	uint16_t id;
	uint32_t len;

	while (!packed_used(rig_ring(r, VMM_TX), place, &id, &len)) {
		assert_true(vmm_now_ms() < end);
		poll(NULL, 0, 1);
	}
}

static void any_buffer_id_comes_back(void **state)
{
	static const uint16_t ids[] = { 0, 8, 0x7fff, 0xffff };
	struct rig *r = open_packed(0, 8);
	struct vmm_ring *ring = rig_ring(r, VMM_TX);

	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		uint16_t place = ring->avail_idx, id;
		uint32_t len;

		rig_fill(r, rig_slot(r, i), 60, i);
		vmm_ring_put(ring, rig_slot(r, i), 72, 0, ids[i]);
		rig_go(r, VMM_TX);
		rig_seen(r, 60, i);
		wait_used_at(r, place);
		assert_true(packed_used(ring, place, &id, &len));
		assert_int_equal(id, ids[i]);
		assert_int_equal(len, 0);
	}
	rig_close(r);
}

/* ---- start and stop ---- */

static void a_stopped_ring_goes_on_where_it_was(void **state)
{
	static const enum vmm_style styles[] = { VMM_QEMU, VMM_DPDK };
	unsigned int i, k;

	(void)state;
	for (k = 0; k < 2; k++) {
		struct rig *r = rig_open(&(struct rig_config){
			.vmm.features = PACKED,
			.vmm.num = { size(5), size(5) },
			.vmm.style = styles[k],
		});

		for (i = 0; i < 13; i++) {
			uint32_t at = rig_ring(r, VMM_TX)->avail_idx;

			check_ret(vmm_stop(r->v), 0);
			assert_int_equal(r->v->q[VMM_TX].base, at << 16 | at);
			check_ret(vmm_start(r->v, r->backend), 0);
			rig_tx(r, 60, i);
			rig_rx(r, 60, i);
		}
		rig_close(r);
	}
}

/* Some transports set it with each start. */
static void set_base(struct rig *r, unsigned int base)
{
	r->v->q[VMM_TX].base = base;
	check_ret(uvh_set_vring_base(r->v->fe, VMM_TX, base), 0);
}

static void a_base_outside_the_ring_keeps_it_from_starting(void **state)
{
	struct rig *r = open_packed(0, 5);

	(void)state;
	check_ret(vmm_backend(r->v, VMM_TX, -1), 0);
	set_base(r, WRAP | 5);
	check_ret(vmm_backend(r->v, VMM_TX, r->backend),
		  conf_expect("start with a base outside the ring", -EINVAL));
	set_base(r, WRAP);
	check_ret(vmm_backend(r->v, VMM_TX, r->backend), 0);
	rig_tx(r, 60, 0);
	rig_close(r);
}

static void only_a_packed_ring_has_any_size(void **state)
{
	struct rig *r = open_packed(0, 5);

	(void)state;
	check_ret(vmm_stop(r->v), 0);
	check_ret(uvh_set_vring_num(r->v->fe, VMM_TX, 32767), 0);
	check_ret(uvh_set_vring_num(r->v->fe, VMM_TX, 32768), 0);
	check_ret(uvh_set_vring_num(r->v->fe, VMM_TX, 32769), -EINVAL);
	check_ret(uvh_set_vring_num(r->v->fe, VMM_TX, 0), -EINVAL);
	check_ret(uvh_set_vring_num(r->v->fe, VMM_TX, 5), 0);
	check_ret(uvh_set_features(r->v->fe, F_V1), 0);
	check_ret(uvh_set_vring_num(r->v->fe, VMM_TX, 5), -EINVAL);
	check_ret(vmm_backend(r->v, VMM_TX, r->backend), -EINVAL);
	rig_close(r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(base_is_read_back_as_it_was_set),
	cmocka_unit_test(frames_go_both_ways_in_every_kind_of_memory),
	cmocka_unit_test(frames_go_both_ways_for_every_vmm),
	cmocka_unit_test(a_ring_of_any_size_goes_round),
	cmocka_unit_test(any_layout_is_sent),
	cmocka_unit_test(bursts_come_back),
	cmocka_unit_test(bursts_come_back_in_order),
	cmocka_unit_test(bursts_come_back_in_order_split),
	cmocka_unit_test(received_frames_have_their_lengths_in_order),
	cmocka_unit_test(a_long_frame_takes_several_buffers),
	cmocka_unit_test(a_frame_waits_for_buffers),
	cmocka_unit_test(a_burst_is_signalled_once),
	cmocka_unit_test(signals_can_be_switched_off),
	cmocka_unit_test(a_signal_comes_at_a_place),
	cmocka_unit_test(kicks_are_wanted_from_an_idle_device),
	cmocka_unit_test(a_chain_past_what_is_available_is_an_error),
	cmocka_unit_test(a_chain_longer_than_the_ring_is_an_error),
	cmocka_unit_test(an_indirect_descriptor_in_a_chain_is_an_error),
	cmocka_unit_test(a_buffer_outside_guest_memory_is_an_error),
	cmocka_unit_test(any_buffer_id_comes_back),
	cmocka_unit_test(a_stopped_ring_goes_on_where_it_was),
	cmocka_unit_test(a_base_outside_the_ring_keeps_it_from_starting),
	cmocka_unit_test(only_a_packed_ring_has_any_size),
};

int main(int argc, char **argv)
{
	conf_want_packed();
	return conf_main("packed", tests, sizeof(tests) / sizeof(tests[0]),
			 argc, argv);
}
