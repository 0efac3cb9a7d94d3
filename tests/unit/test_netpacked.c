/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets between packed rings and a port, as test_netdev.c has them for split
 * ones, and what VIRTIO_F_IN_ORDER changes in both.
 */
#include "check.h"

#include <endian.h>
#include <stdlib.h>
#include <unistd.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "devfix.h"

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT
#define MRG BIT(VIRTIO_NET_F_MRG_RXBUF)
#define V1 BIT(VIRTIO_F_VERSION_1)
#define EVENT_IDX BIT(VIRTIO_RING_F_EVENT_IDX)
#define IN_ORDER BIT(VIRTIO_F_IN_ORDER)
#define LOG_ALL BIT(VHOST_F_LOG_ALL)
#define WRAP PDRV_WRAP

#define TABLE (GPA_C + 0x100000)

static void offer_tx(struct devfix *f, uint16_t id, uint32_t len)
{
	uint64_t at = TX_BUF + 2048u * (id % 256);

	devfix_fill(f, at, len, (uint8_t)id);
	pdrv_add(&f->p[TXQ], at, len, 0, id);
}

static void offer_rx(struct devfix *f, uint16_t id, uint32_t len)
{
	pdrv_add(&f->p[RXQ], RX_BUF + 2048u * (id % 256), len, WRITE, id);
}

static void check_used(struct devfix *f, unsigned int qi, uint16_t id,
		       uint32_t ndescs, uint32_t len)
{
	struct pdrv_used u = pdrv_reap(&f->p[qi], ndescs);

	assert_int_equal(u.id, id);
	assert_int_equal(u.len, len);
	assert_int_equal(u.flags, len ? WRITE : 0);
}

static void check_nothing_used(struct devfix *f, unsigned int qi)
{
	assert_false(pdrv_used_at(&f->p[qi], f->p[qi].reaped));
}

static unsigned int num_buffers(const uint8_t *p)
{
	return p[10] | p[11] << 8;
}

/* A frame in the buffer of @id; its num_buffers were a seed's bytes. */
static void check_rx(struct devfix *f, uint16_t id, uint32_t len, uint8_t seed)
{
	uint8_t *p = arena_ram(&f->arena, RX_BUF + 2048u * (id % 256));

	check_used(f, RXQ, id, 1, len);
	assert_int_equal(num_buffers(p), 1);
	p[10] = (uint8_t)(seed + 10);
	p[11] = (uint8_t)(seed + 11);
	check_counts_up(p, len, seed);
}

/* ---- transmit ---- */

static void a_frame_goes_out_and_its_buffer_comes_back(void **state)
{
	struct devfix *f = *state;

	devfix_start_packed(f, V1, 7);
	offer_tx(f, 0xfe03, 100);
	devfix_kick(f, TXQ);
	check_wire(f, 100, 3);
	check_wire_empty(f);
	check_used(f, TXQ, 0xfe03, 1, 0);
	check_nothing_used(f, TXQ);
	assert_int_equal(event_take(f->call[TXQ]), 1);
	assert_int_equal(devfix_counters(f, TXQ)->frames, 1);
	assert_int_equal(devfix_counters(f, TXQ)->bytes, 100 - 12);
	check_errors(f, TXQ, 0);
}

static void a_frame_in_pieces_goes_out_whole(void **state)
{
	struct devfix *f = *state;

	devfix_start_packed(f, V1, 7);
	for (unsigned int lap = 0; lap < 20; lap++) {
		devfix_fill(f, GPA_A + 5, 12, 0);
		devfix_fill(f, GPA_C, 1, 12);
		devfix_fill(f, GPA_B - 7, 87, 13);
		pdrv_add(&f->p[TXQ], GPA_A + 5, 12, NEXT, 0);
		pdrv_add(&f->p[TXQ], GPA_C, 1, NEXT, 0);
		pdrv_add(&f->p[TXQ], GPA_C, 0, NEXT, 0);
		pdrv_add(&f->p[TXQ], GPA_B - 7, 87, 0, (uint16_t)lap);
		devfix_kick(f, TXQ);
		check_wire(f, 100, 0);
		check_used(f, TXQ, (uint16_t)lap, 4, 0);
	}
	check_errors(f, TXQ, 0);
}

static void an_indirect_frame_goes_out(void **state)
{
	struct devfix *f = *state;

	devfix_start_packed(f, V1, 8);
	for (unsigned int i = 0; i < 5; i++) {
		struct vring_packed_desc d[2] = {
			{ .addr = htole64(GPA_A), .len = htole32(12) },
			{ .addr = htole64(GPA_B), .len = htole32(50 + i) },
		};

		memcpy(arena_ram(&f->arena, TABLE + 32 * i), d, sizeof(d));
		pdrv_add(&f->p[TXQ], TABLE + 32 * i, 32, INDIRECT, (uint16_t)i);
	}
	devfix_fill(f, GPA_A, 12, 0);
	devfix_fill(f, GPA_B, 60, 12);
	devfix_kick(f, TXQ);
	for (unsigned int i = 0; i < 5; i++) {
		check_wire(f, 62 + i, 0);
		check_used(f, TXQ, (uint16_t)i, 1, 0);
	}
}

/* DPDK's driver never clears it in the entry of its header. */
static void write_in_a_table_for_transmission_means_nothing(void **state)
{
	struct devfix *f = *state;
	struct vring_packed_desc d[2] = {
		{ .addr = htole64(GPA_A), .len = htole32(12) },
		{ .addr = htole64(GPA_B), .len = htole32(50) },
	};

	d[0].flags = htole16(WRITE);
	devfix_start_packed(f, V1, 8);
	memcpy(arena_ram(&f->arena, TABLE), d, sizeof(d));
	pdrv_add(&f->p[TXQ], TABLE, 32, INDIRECT, 5);
	devfix_fill(f, GPA_A, 12, 0);
	devfix_fill(f, GPA_B, 50, 12);
	devfix_kick(f, TXQ);
	check_wire(f, 62, 0);
	check_used(f, TXQ, 5, 1, 0);
	check_errors(f, TXQ, 0);
}

static void bursts_go_round_the_ring(void **state)
{
	struct devfix *f = *state;
	uint16_t id = 0;

	devfix_start_packed(f, V1 | EVENT_IDX, 100);
	for (unsigned int n = 1; n <= 100; n += 9) {
		for (unsigned int i = 0; i < n; i++)
			offer_tx(f, id++, 60);
		devfix_kick(f, TXQ);
		for (unsigned int i = 0; i < n; i++) {
			check_wire(f, 60, (uint8_t)(id - n + i));
			check_used(f, TXQ, (uint16_t)(id - n + i), 1, 0);
		}
		check_nothing_used(f, TXQ);
	}
	check_errors(f, TXQ, 0);
}

static void a_burst_is_signalled_once(void **state)
{
	struct devfix *f = *state;

	devfix_start_packed(f, V1, 16);
	for (uint16_t i = 0; i < 10; i++)
		offer_tx(f, i, 60);
	devfix_kick(f, TXQ);
	for (uint16_t i = 0; i < 10; i++)
		check_wire(f, 60, (uint8_t)i);
	assert_int_equal(event_take(f->call[TXQ]), 1);
	assert_int_equal(sockport.longest, 10);
}

/* Where a split ring leaves it out, as the kernel does. */
static void a_transmit_chain_with_a_writable_part_stays(void **state)
{
	struct devfix *f = *state;

	devfix_start_packed(f, V1, 8);
	offer_tx(f, 0, 60);
	pdrv_add(&f->p[TXQ], GPA_A, 60, WRITE, 1);
	offer_tx(f, 2, 60);
	for (unsigned int i = 0; i < 3; i++) {
		devfix_kick(f, TXQ);
		check_errors(f, TXQ, 1);
		assert_int_equal(devfix_base(f, TXQ),
				 (WRAP | 1) << 16 | WRAP | 1);
	}
	check_wire(f, 60, 0);
	check_wire_empty(f);
	check_used(f, TXQ, 0, 1, 0);
	check_nothing_used(f, TXQ);

	devfix_fill(f, TX_BUF + 2048, 60, 1);
	pdrv_set(&f->p[TXQ], WRAP | 1, TX_BUF + 2048, 60, 0, 1);
	devfix_kick(f, TXQ);
	check_wire(f, 60, 1);
	check_wire(f, 60, 2);
	check_used(f, TXQ, 1, 1, 0);
	check_used(f, TXQ, 2, 1, 0);
	check_errors(f, TXQ, 0);
}

static void a_blocked_port_gives_the_frames_back_to_the_ring(void **state)
{
	struct devfix *f = *state;
	unsigned int stuffing;

	devfix_start_packed(f, V1, 7);
	stuffing = sockport_stuff(f->backend);
	for (uint16_t i = 0; i < 3; i++) {
		pdrv_add(&f->p[TXQ], TX_BUF, 30, NEXT, 0);
		pdrv_add(&f->p[TXQ], TX_BUF + 30, 30, 0, i);
	}
	devfix_fill(f, TX_BUF, 60, 9);
	devfix_kick(f, TXQ);
	assert_int_equal(devfix_base(f, TXQ), WRAP << 16 | WRAP);
	check_nothing_used(f, TXQ);

	sockport_unstuff(f->wire, stuffing);
	devfix_kick(f, TXQ);
	for (uint16_t i = 0; i < 3; i++) {
		check_wire(f, 60, 9);
		check_used(f, TXQ, i, 2, 0);
	}
	check_errors(f, TXQ, 0);
}

static void frames_that_were_taken_come_back_before_the_rest(void **state)
{
	struct devfix *f = *state;

	devfix_start_packed(f, V1, 7);
	sockport.send_most = 2;
	for (uint16_t i = 0; i < 5; i++)
		offer_tx(f, i, 60);
	devfix_kick(f, TXQ);
	for (uint16_t i = 0; i < 5; i++) {
		check_wire(f, 60, (uint8_t)i);
		check_used(f, TXQ, i, 1, 0);
	}
}

/* ---- in order ---- */

/* What is dropped, in the middle, comes back with the rest. */
static void in_order_a_burst_comes_back_at_once(void **state)
{
	struct devfix *f = *state;

	devfix_start_packed(f, V1 | IN_ORDER, 7);
	for (uint16_t lap = 0; lap < 10; lap++) {
		offer_tx(f, 10, 60);
		pdrv_add(&f->p[TXQ], GPA_A, 0, NEXT, 0);
		pdrv_add(&f->p[TXQ], GPA_A, 0, 0, 11);
		offer_tx(f, 12, 60);
		offer_tx(f, 13, 60);
		devfix_kick(f, TXQ);
		check_wire(f, 60, 10);
		check_wire(f, 60, 12);
		check_wire(f, 60, 13);
		for (unsigned int i = 1; i < 5; i++)
			assert_false(pdrv_used_at(
				&f->p[TXQ],
				pdrv_step(&f->p[TXQ], f->p[TXQ].reaped, i)));
		check_used(f, TXQ, 13, 5, 0);
		check_nothing_used(f, TXQ);
	}
}

static void in_order_a_burst_comes_back_at_once_split(void **state)
{
	struct devfix *f = *state;

	devfix_start(f, V1 | IN_ORDER, 8);
	for (uint16_t lap = 0; lap < 10; lap++) {
		uint16_t slot = f->q[TXQ].next & 7;
		uint16_t last = (uint16_t)(slot + 2) & 7;

		memset(f->q[TXQ].used->ring, 0xa5, 64);
		for (uint16_t i = 0; i < 3; i++) {
			devfix_fill(f, TX_BUF + i * 2048u, 60, (uint8_t)i);
			drv_offer(&f->q[TXQ], (slot + i) & 7,
				  TX_BUF + i * 2048u, 60, 0);
		}
		devfix_kick(f, TXQ);
		for (uint8_t i = 0; i < 3; i++)
			check_wire(f, 60, i);
		assert_int_equal(drv_used_idx(&f->q[TXQ]), f->q[TXQ].next);
		assert_int_equal(f->q[TXQ].used->ring[slot].id, last);
		assert_int_equal(f->q[TXQ].used->ring[slot].len, 0);
		assert_int_equal(f->q[TXQ].used->ring[last].id, 0xa5a5a5a5);
	}
}

/* The driver would take a chain that is left out for one that came back. */
static void in_order_a_bad_transmit_chain_stays_split(void **state)
{
	struct devfix *f = *state;

	devfix_start(f, V1 | IN_ORDER, 8);
	drv_offer(&f->q[TXQ], 0, GPA_A, 60, WRITE);
	for (unsigned int i = 0; i < 2; i++) {
		devfix_kick(f, TXQ);
		check_errors(f, TXQ, 1);
		assert_int_equal(devfix_base(f, TXQ), 0);
	}
}

static void in_order_received_frames_have_their_lengths(void **state)
{
	struct devfix *f = *state;

	devfix_start_packed(f, V1 | IN_ORDER, 7);
	for (uint16_t i = 0; i < 5; i++)
		offer_rx(f, i, 2048);
	for (uint8_t i = 0; i < 5; i++)
		wire_send(f, 60u + i, i);
	devfix_kick(f, RXQ);
	for (uint16_t i = 0; i < 5; i++)
		check_rx(f, i, 60u + i, (uint8_t)i);
}

/* ---- receive ---- */

static void a_frame_comes_in(void **state)
{
	struct devfix *f = *state;

	devfix_start_packed(f, V1, 7);
	for (uint16_t i = 0; i < 30; i++) {
		offer_rx(f, 0x4000 + i, 2048);
		wire_send(f, 100, (uint8_t)i);
		devfix_kick(f, RXQ);
		check_rx(f, 0x4000 + i, 100, (uint8_t)i);
		check_nothing_used(f, RXQ);
		assert_int_equal(event_take(f->call[RXQ]), 1);
	}
	check_errors(f, RXQ, 0);
}

static void a_buffer_in_pieces_is_filled_in_order(void **state)
{
	struct devfix *f = *state;

	devfix_start_packed(f, V1, 5);
	pdrv_add(&f->p[RXQ], RX_BUF, 12, NEXT | WRITE, 0);
	pdrv_add(&f->p[RXQ], RX_BUF + 12, 1, NEXT | WRITE, 0);
	pdrv_add(&f->p[RXQ], RX_BUF + 13, 2000, WRITE, 8);
	wire_send(f, 100, 0);
	devfix_kick(f, RXQ);
	check_used(f, RXQ, 8, 3, 100);
	arena_ram(&f->arena, RX_BUF)[10] = 10;
	arena_ram(&f->arena, RX_BUF)[11] = 11;
	check_counts_up(arena_ram(&f->arena, RX_BUF), 100, 0);
}

static void a_long_frame_takes_several_buffers(void **state)
{
	struct devfix *f = *state;

	devfix_start_packed(f, V1 | MRG, 11);
	for (uint8_t lap = 0; lap < 12; lap++) {
		uint32_t at = 0;

		for (uint16_t i = 0; i < 5; i++)
			offer_rx(f, i, 1000);
		wire_send(f, 4321, lap);
		devfix_kick(f, RXQ);
		for (uint16_t i = 0; i < 5; i++) {
			uint32_t len = MIN(1000, 4321 - at);
			uint8_t *p = arena_ram(&f->arena, RX_BUF + 2048u * i);

			check_used(f, RXQ, i, 1, len);
			if (!i) {
				assert_int_equal(num_buffers(p), 5);
				p[10] = (uint8_t)(lap + 10);
				p[11] = (uint8_t)(lap + 11);
			}
			check_counts_up(p, len, (uint8_t)(lap + at));
			at += len;
		}
		check_nothing_used(f, RXQ);
	}
	check_errors(f, RXQ, 0);
}

static void a_frame_waits_for_enough_buffers(void **state)
{
	struct devfix *f = *state;

	devfix_start_packed(f, V1 | MRG | EVENT_IDX, 9);
	offer_rx(f, 0, 1000);
	wire_send(f, 3500, 0);
	for (uint16_t i = 1; i < 4; i++) {
		devfix_kick(f, RXQ);
		check_nothing_used(f, RXQ);
		/* a kick is wanted for what comes next */
		assert_int_equal(pdrv_wanted(&f->p[RXQ]),
				 VRING_PACKED_EVENT_FLAG_DESC);
		assert_int_equal(pdrv_wanted_at(&f->p[RXQ]), f->p[RXQ].next);
		offer_rx(f, i, 1000);
	}
	devfix_kick(f, RXQ);
	for (uint16_t i = 0; i < 4; i++)
		check_used(f, RXQ, i, 1, i < 3 ? 1000 : 500);
	check_errors(f, RXQ, 0);
}

/* A port that is never empty, and a ring that fills while it is looked at. */
static void a_starved_ring_goes_on_when_buffers_come(void **state)
{
	struct devfix *f = *state;

	devfix_start_packed(f, V1, 6);
	for (uint8_t i = 0; i < 20; i++)
		wire_send(f, 60, i);
	for (uint8_t i = 0; i < 20; i += 4) {
		for (uint8_t k = 0; k < 4; k++)
			offer_rx(f, k, 2048);
		devfix_kick(f, RXQ);
		for (uint8_t k = 0; k < 4; k++)
			check_rx(f, k, 60, (uint8_t)(i + k));
		check_nothing_used(f, RXQ);
		assert_int_equal(pdrv_wanted(&f->p[RXQ]),
				 VRING_PACKED_EVENT_FLAG_ENABLE);
	}
	assert_int_not_equal(devfix_counters(f, RXQ)->starved, 0);
}

static void a_bad_receive_chain_stays(void **state)
{
	struct devfix *f = *state;

	devfix_start_packed(f, V1, 6);
	offer_rx(f, 0, 2048);
	pdrv_add(&f->p[RXQ], GPA_A, 100, 0, 1);
	offer_rx(f, 2, 2048);
	wire_send(f, 60, 0);
	wire_send(f, 60, 1);
	devfix_kick(f, RXQ);
	check_rx(f, 0, 60, 0);
	check_nothing_used(f, RXQ);
	assert_int_equal(devfix_base(f, RXQ), (WRAP | 1) << 16 | WRAP | 1);
	assert_int_not_equal(event_take(f->err[RXQ]), 0);
	pdrv_set(&f->p[RXQ], WRAP | 1, RX_BUF + 2048, 2048, WRITE, 1);
	devfix_kick(f, RXQ);
	check_rx(f, 1, 60, 1);
}

static void a_frame_that_needs_more_than_1024_buffers_is_dropped(void **state)
{
	struct devfix *f = *state;

	devfix_start_packed(f, V1 | MRG, 2000);
	for (uint16_t i = 0; i < 1100; i++)
		pdrv_add(&f->p[RXQ], RX_BUF + i * 16u, 16, WRITE, i);
	wire_send(f, 1024 * 16 + 1, 0);
	wire_send(f, 32, 0);
	devfix_kick(f, RXQ);
	check_used(f, RXQ, 0, 1, 16);
	check_used(f, RXQ, 1, 1, 16);
	check_nothing_used(f, RXQ);
	assert_int_equal(devfix_counters(f, RXQ)->dropped, 1);
}

/* ---- from one start to the next ---- */

static void a_ring_goes_on_after_a_stop(void **state)
{
	struct devfix *f = *state;
	uint32_t base;

	devfix_start_packed(f, V1, 5);
	for (uint16_t i = 0; i < 12; i++) {
		offer_tx(f, i, 60);
		devfix_kick(f, TXQ);
		check_wire(f, 60, (uint8_t)i);
		check_used(f, TXQ, i, 1, 0);
		check_ret(devfix_backend(f, TXQ, -1), 0);
		base = devfix_base(f, TXQ);
		assert_int_equal(base & 0xffff, f->p[TXQ].next);
		assert_int_equal(base >> 16, f->p[TXQ].next);
		check_ret(vdev_set_vring_base(f->v, TXQ, 0), 0);
		/* QEMU sends both halves, DPDK the low one */
		check_ret(vdev_set_vring_base(f->v, TXQ,
					      i & 1 ? base : base & 0xffff),
			  0);
		check_ret(devfix_backend(f, TXQ, f->backend), 0);
	}
	check_errors(f, TXQ, 0);
}

static void the_log_has_what_the_ring_and_the_frames_wrote(void **state)
{
	struct devfix *f = *state;
	uint8_t *log = f->arena.base + SPARE_OFF;
	struct vhost_vring_addr addr;

	devfix_start_packed(f, V1 | LOG_ALL, 8);
	check_ret(vdev_set_log_base(f->v, arena_uva(&f->arena, SPARE_OFF)), 0);
	addr = pdrv_addr(&f->p[RXQ], RXQ);
	addr.flags = BIT(VHOST_VRING_F_LOG);
	addr.log_guest_addr = 0;
	check_ret(vdev_set_vring_addr(f->v, &addr), 0);
	memset(log, 0, 0x20000);
	offer_rx(f, 3, 2048);
	wire_send(f, 60, 0);
	devfix_kick(f, RXQ);
	check_used(f, RXQ, 3, 1, 60);
	/* RX_BUF + 6144 is on page GPA_C / PAGE + 2; the ring is not guest
	 * memory here */
	assert_true(log[(GPA_C / PAGE + 2) / 8] & 1 << 2);
	assert_int_equal(log[0], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		EVERY_PORT(a_frame_goes_out_and_its_buffer_comes_back),
		EVERY_PORT(a_frame_in_pieces_goes_out_whole),
		EVERY_PORT(an_indirect_frame_goes_out),
		EVERY_PORT(write_in_a_table_for_transmission_means_nothing),
		EVERY_PORT(bursts_go_round_the_ring),
		EVERY_PORT(a_burst_is_signalled_once),
		EVERY_PORT(a_transmit_chain_with_a_writable_part_stays),
		EVERY_PORT(a_blocked_port_gives_the_frames_back_to_the_ring),
		EVERY_PORT(frames_that_were_taken_come_back_before_the_rest),
		EVERY_PORT(in_order_a_burst_comes_back_at_once),
		EVERY_PORT(in_order_a_burst_comes_back_at_once_split),
		EVERY_PORT(in_order_a_bad_transmit_chain_stays_split),
		EVERY_PORT(in_order_received_frames_have_their_lengths),
		EVERY_PORT(a_frame_comes_in),
		EVERY_PORT(a_buffer_in_pieces_is_filled_in_order),
		EVERY_PORT(a_long_frame_takes_several_buffers),
		EVERY_PORT(a_frame_waits_for_enough_buffers),
		EVERY_PORT(a_starved_ring_goes_on_when_buffers_come),
		EVERY_PORT(a_bad_receive_chain_stays),
		EVERY_PORT(
			a_frame_that_needs_more_than_1024_buffers_is_dropped),
		EVERY_PORT(a_ring_goes_on_after_a_stop),
		EVERY_PORT(the_log_has_what_the_ring_and_the_frames_wrote),
	};

	return cmocka_run_group_tests_name("netpacked", tests, NULL, NULL);
}
