/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_virtio_net.c tests frames between the rings of a device and its port,
 * through vdev.h, with a socketpair as the wire. Tests run with split and
 * packed rings, but for what only one format does; where memory matters, with
 * all of it mapped, all copied, and each half mapped with the other copied.
 */
#include "check.h"

#include <endian.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
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
#define OWN_HDR BIT(VHOST_NET_F_VIRTIO_NET_HDR)
#define EVENT_IDX BIT(VIRTIO_RING_F_EVENT_IDX)
#define IN_ORDER BIT(VIRTIO_F_IN_ORDER)
#define LOG_ALL BIT(VHOST_F_LOG_ALL)
#define IOTLB BIT(VIRTIO_F_ACCESS_PLATFORM)

#define LOG_OFF SPARE_OFF
#define TABLE (GPA_C + 0x100000) /* where tests put indirect tables */

static uint8_t got[NETPORT_FRAME_MAX + 100];

/* Both rings of @num entries; packed ones of one less, which no split ring can
 * have. */
static void start(struct devfix *f, uint64_t features, uint32_t num)
{
	devfix_start(f, features, num - f->packed);
}

static void set_features(struct devfix *f, uint64_t features)
{
	if (f->packed)
		features |= BIT(VIRTIO_F_RING_PACKED);
	check_ret(vdev_set_features(f->v, features), 0);
}

static void offer(struct devfix *f, unsigned int qi, uint16_t id, uint64_t addr,
		  uint32_t len, uint16_t flags)
{
	drv_offer(&f->q[qi], id, addr, len, flags);
}

/* A frame of id @id, in a buffer of its own, its bytes counting up from @id. */
static void offer_tx(struct devfix *f, uint16_t id, uint32_t len)
{
	uint64_t at = TX_BUF + 2048u * (id % 256);

	devfix_fill(f, at, len, (uint8_t)id);
	offer(f, TXQ, id, at, len, 0);
}

/* The receive buffer of @id */
static uint64_t rx_buf(uint16_t id)
{
	return RX_BUF + 2048u * (id % 256);
}

static void offer_rx(struct devfix *f, uint16_t id, uint32_t len)
{
	offer(f, RXQ, id, rx_buf(id), len, WRITE);
}

static void check_used_chain(struct devfix *f, unsigned int qi, uint32_t id,
			     uint32_t ndescs, uint32_t len)
{
	struct vring_used_elem e = drv_reap_chain(&f->q[qi], ndescs);

	assert_int_equal(e.id, id);
	assert_int_equal(e.len, len);
}

static void check_used(struct devfix *f, unsigned int qi, uint32_t id,
		       uint32_t len)
{
	check_used_chain(f, qi, id, 1, len);
}

static void check_nothing_used(struct devfix *f, unsigned int qi)
{
	assert_false(drv_pending(&f->q[qi]));
}

static uint16_t num_buffers(const uint8_t *frame)
{
	return (uint16_t)(frame[10] | frame[11] << 8);
}

/* A frame whose bytes count up from @seed, but for its num_buffers. */
static void check_frame(uint8_t *p, uint16_t buffers, uint32_t len,
			uint8_t seed)
{
	assert_int_equal(num_buffers(p), buffers);
	p[10] = (uint8_t)(seed + 10);
	p[11] = (uint8_t)(seed + 11);
	check_counts_up(p, len, seed);
}

/* The next used buffer is that of @id, with a whole frame. */
static void check_rx(struct devfix *f, uint16_t id, uint32_t len, uint8_t seed)
{
	check_used(f, RXQ, id, len);
	check_frame(arena_ram(&f->arena, rx_buf(id)), 1, len, seed);
}

/* An address in guest memory that the owner has taken away. */
static void unmap_ram(struct devfix *f, uint64_t gpa)
{
	assert_int_equal(munmap(arena_ram(&f->arena, gpa), PAGE), 0);
}

/* ---- transmit ---- */

static void a_frame_goes_out_and_its_buffer_comes_back(void **state)
{
	struct devfix *f = *state;
	uint16_t id = f->packed ? 0xfe03 : 3;

	start(f, V1, 8);
	offer_tx(f, id, 100);
	devfix_kick(f, TXQ);
	check_wire(f, 100, 3);
	check_wire_empty(f);
	check_used(f, TXQ, id, 0);
	check_nothing_used(f, TXQ);
	assert_int_equal(event_take(f->call[TXQ]), 1);
	assert_int_equal(devfix_counters(f, TXQ)->frames, 1);
	assert_int_equal(devfix_counters(f, TXQ)->bytes, 100 - 12);
	assert_int_equal(devfix_counters(f, TXQ)->kicks, 1);
	check_errors(f, TXQ, 0);
}

static void a_frame_in_pieces_goes_out_whole(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	for (unsigned int lap = 0; lap < 20; lap++) {
		uint16_t id = f->packed ? (uint16_t)lap : 0;

		devfix_fill(f, GPA_A + 5, 12, 0);
		devfix_fill(f, GPA_C, 1, 12);
		devfix_fill(f, GPA_B - 7, 87, 13);
		offer(f, TXQ, id, GPA_A + 5, 12, NEXT);
		offer(f, TXQ, id, GPA_C, 1, NEXT);
		offer(f, TXQ, id, GPA_C, 0, NEXT);
		offer(f, TXQ, id, GPA_B - 7, 87, 0);
		devfix_kick(f, TXQ);
		check_wire(f, 100, 0);
		check_used_chain(f, TXQ, id, 4, 0);
	}
	check_errors(f, TXQ, 0);
}

/* Two entries, at @table, that in a packed ring's table are no chain but by
 * their number. */
static void fill_table(struct devfix *f, uint64_t table, uint32_t len)
{
	struct vring_packed_desc p[2] = {
		{ .addr = htole64(GPA_A), .len = htole32(12) },
		{ .addr = htole64(GPA_B), .len = htole32(len - 12) },
	};
	struct vring_desc *d = (void *)arena_ram(&f->arena, table);

	if (f->packed) {
		memcpy(d, p, sizeof(p));
		return;
	}
	drv_desc(&d[0], GPA_A, 12, NEXT, 1);
	drv_desc(&d[1], GPA_B, len - 12, 0, 0);
}

static void an_indirect_frame_goes_out(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	for (uint16_t i = 0; i < 5; i++) {
		fill_table(f, TABLE + 32u * i, 62u + i);
		offer(f, TXQ, i, TABLE + 32u * i, 32, INDIRECT);
	}
	devfix_fill(f, GPA_A, 12, 0);
	devfix_fill(f, GPA_B, 60, 12);
	devfix_kick(f, TXQ);
	for (uint16_t i = 0; i < 5; i++) {
		check_wire(f, 62u + i, 0);
		check_used(f, TXQ, i, 0);
	}
}

/* DPDK's driver never clears it in the entry of its header. */
static void the_write_flag_in_a_transmit_table_is_ignored(void **state)
{
	struct devfix *f = *state;
	struct vring_packed_desc *p = (void *)arena_ram(&f->arena, TABLE);

	start(f, V1, 8);
	fill_table(f, TABLE, 62);
	p[0].flags = htole16(WRITE);
	offer(f, TXQ, 5, TABLE, 32, INDIRECT);
	devfix_fill(f, GPA_A, 12, 0);
	devfix_fill(f, GPA_B, 50, 12);
	devfix_kick(f, TXQ);
	check_wire(f, 62, 0);
	check_used(f, TXQ, 5, 0);
	check_errors(f, TXQ, 0);
}

static void bursts_go_round_the_ring(void **state)
{
	struct devfix *f = *state;
	uint16_t ids = f->packed ? 0xffff : 0x7f, id = 0;

	start(f, V1 | EVENT_IDX, 128);
	for (uint16_t n = 1; n <= 100; n += 9) {
		for (unsigned int i = 0; i < n; i++)
			offer_tx(f, id++ & ids, 60);
		devfix_kick(f, TXQ);
		for (uint16_t k = id - n; k != id; k++) {
			check_wire(f, 60, (uint8_t)(k & ids));
			check_used(f, TXQ, k & ids, 0);
		}
		check_nothing_used(f, TXQ);
	}
	check_errors(f, TXQ, 0);
}

static void the_longest_frame_goes_out(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 16);
	for (uint16_t i = 0; i < 8; i++) {
		devfix_fill(f, TX_BUF + i * 70000u, NETPORT_FRAME_MAX,
			    (uint8_t)i);
		offer(f, TXQ, i, TX_BUF + i * 70000u, NETPORT_FRAME_MAX, 0);
	}
	devfix_kick(f, TXQ);
	for (uint16_t i = 0; i < 8;) {
		int n = wire_recv(f, got, sizeof(got));

		if (n == -EAGAIN) { /* the socket was full */
			devfix_settle(f);
			continue;
		}
		assert_int_equal(n, NETPORT_FRAME_MAX);
		check_counts_up(got, NETPORT_FRAME_MAX, (uint8_t)i++);
	}
	devfix_settle(f);
	for (uint16_t i = 0; i < 8; i++)
		check_used(f, TXQ, i, 0);
}

static void a_frame_that_no_port_takes_is_dropped_and_comes_back(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	offer(f, TXQ, 0, GPA_A, NETPORT_FRAME_MAX + 1, 0);
	offer(f, TXQ, 1, GPA_A, RAM_SIZE, 0);
	offer_tx(f, 2, 60);
	devfix_kick(f, TXQ);
	check_wire(f, 60, 2);
	check_wire_empty(f);
	for (uint16_t i = 0; i < 3; i++)
		check_used(f, TXQ, i, 0);
	assert_int_equal(devfix_counters(f, TXQ)->dropped, 2);
	assert_int_equal(devfix_counters(f, TXQ)->frames, 1);
	check_errors(f, TXQ, 0);
}

static void a_chain_without_bytes_is_dropped_and_comes_back(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	offer(f, TXQ, 5, GPA_A, 0, 0);
	devfix_kick(f, TXQ);
	check_used(f, TXQ, 5, 0);
	assert_int_equal(devfix_counters(f, TXQ)->dropped, 1);
	check_wire_empty(f);
	check_errors(f, TXQ, 0);
}

static void
a_frame_without_a_whole_header_takes_no_bytes_from_others(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	offer_tx(f, 0, 60);
	offer_tx(f, 1, 4);
	devfix_kick(f, TXQ);
	check_wire(f, 60, 0);
	check_wire(f, 4, 1);
	assert_int_equal(devfix_counters(f, TXQ)->bytes, 48);
}

static void a_burst_is_signalled_once(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 16);
	for (uint16_t i = 0; i < 10; i++)
		offer_tx(f, i, 60);
	devfix_kick(f, TXQ);
	for (uint16_t i = 0; i < 10; i++) {
		check_wire(f, 60, (uint8_t)i);
		check_used(f, TXQ, i, 0);
	}
	assert_int_equal(event_take(f->call[TXQ]), 1);
	assert_int_equal(sockport.longest, 10);
}

static void a_transmit_chain_with_a_writable_part_is_skipped(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	offer_tx(f, 0, 60);
	offer(f, TXQ, 1, GPA_A, 60, WRITE);
	offer_tx(f, 2, 60);
	devfix_kick(f, TXQ);
	check_wire(f, 60, 0);
	check_wire_empty(f); /* the run ended */
	check_used(f, TXQ, 0, 0);
	check_nothing_used(f, TXQ);
	devfix_check_base(f, TXQ, 2);
	check_errors(f, TXQ, 1);

	devfix_kick(f, TXQ);
	check_wire(f, 60, 2);
	check_used(f, TXQ, 2, 0);
	check_errors(f, TXQ, 0);
}

/* It would lose its descriptors. */
static void a_transmit_chain_with_a_writable_part_stays(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	offer_tx(f, 0, 60);
	offer(f, TXQ, 1, GPA_A, 60, WRITE);
	offer_tx(f, 2, 60);
	for (unsigned int i = 0; i < 3; i++) {
		devfix_kick(f, TXQ);
		check_errors(f, TXQ, 1);
		devfix_check_base(f, TXQ, 1);
	}
	check_wire(f, 60, 0);
	check_wire_empty(f);
	check_used(f, TXQ, 0, 0);
	check_nothing_used(f, TXQ);

	devfix_fill(f, TX_BUF + 2048, 60, 1);
	drv_rewrite(&f->q[TXQ], 1, TX_BUF + 2048, 60, 0);
	devfix_kick(f, TXQ);
	check_wire(f, 60, 1);
	check_wire(f, 60, 2);
	check_used(f, TXQ, 1, 0);
	check_used(f, TXQ, 2, 0);
	check_errors(f, TXQ, 0);
}

static void
a_stuck_transmit_ring_repeats_its_error_with_every_kick(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	offer_tx(f, 0, 60);
	offer(f, TXQ, 1, GPA_B_END, 60, 0);
	devfix_kick(f, TXQ);
	check_wire(f, 60, 0);
	for (int i = 0; i < 3; i++) {
		check_errors(f, TXQ, 1);
		devfix_check_base(f, TXQ, 1);
		devfix_kick(f, TXQ);
	}
	/* kicks are not asked for: the driver has to see to it itself */
	assert_false(drv_kicks(&f->q[TXQ]));
}

static void kicks_are_wanted_only_from_an_empty_ring(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	assert_true(drv_kicks(&f->q[TXQ]));
	offer_tx(f, 0, 60);
	devfix_kick(f, TXQ);
	assert_true(drv_kicks(&f->q[TXQ]));
}

/* ---- in order ---- */

/* What is dropped, in the middle, comes back with the rest. */
static void in_order_a_burst_comes_back_as_one_packed(void **state)
{
	struct devfix *f = *state;

	start(f, V1 | IN_ORDER, 8);
	for (uint16_t lap = 0; lap < 10; lap++) {
		uint16_t first = f->q[TXQ].next;

		offer_tx(f, 10, 60);
		offer(f, TXQ, 11, GPA_A, 0, NEXT);
		offer(f, TXQ, 11, GPA_A, 0, 0);
		offer_tx(f, 12, 60);
		offer_tx(f, 13, 60);
		devfix_kick(f, TXQ);
		check_wire(f, 60, 10);
		check_wire(f, 60, 12);
		check_wire(f, 60, 13);
		for (unsigned int i = 1; i < 5; i++)
			assert_false(drv_used_at(
				&f->q[TXQ], drv_step(&f->q[TXQ], first, i)));
		check_used_chain(f, TXQ, 13, 5, 0);
		check_nothing_used(f, TXQ);
	}
}

static void in_order_a_burst_comes_back_as_one_split(void **state)
{
	struct devfix *f = *state;

	start(f, V1 | IN_ORDER, 8);
	for (uint16_t lap = 0; lap < 10; lap++) {
		uint16_t slot = f->q[TXQ].next & 7;
		uint16_t last = (uint16_t)(slot + 2) & 7;

		memset(f->q[TXQ].used->ring, 0xa5, 64);
		for (uint16_t i = 0; i < 3; i++) {
			devfix_fill(f, TX_BUF + i * 2048u, 60, (uint8_t)i);
			offer(f, TXQ, (slot + i) & 7, TX_BUF + i * 2048u, 60,
			      0);
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
static void in_order_a_bad_transmit_chain_stays(void **state)
{
	struct devfix *f = *state;

	start(f, V1 | IN_ORDER, 8);
	offer(f, TXQ, 0, GPA_A, 60, WRITE);
	for (unsigned int i = 0; i < 2; i++) {
		devfix_kick(f, TXQ);
		check_errors(f, TXQ, 1);
		devfix_check_base(f, TXQ, 0);
	}
}

static void in_order_received_frames_have_their_lengths(void **state)
{
	struct devfix *f = *state;

	start(f, V1 | IN_ORDER, 8);
	for (uint16_t i = 0; i < 5; i++)
		offer_rx(f, i, 2048);
	for (uint8_t i = 0; i < 5; i++)
		wire_send(f, 60u + i, i);
	devfix_kick(f, RXQ);
	for (uint16_t i = 0; i < 5; i++)
		check_rx(f, i, 60u + i, (uint8_t)i);
}

/* ---- a port that is full, or refuses ---- */

static void a_blocked_port_gives_the_frames_back_to_the_ring(void **state)
{
	struct devfix *f = *state;
	unsigned int stuffing;

	start(f, V1, 8);
	stuffing = sockport_stuff(f->backend);
	for (uint16_t i = 0; i < 6; i += 2) {
		offer(f, TXQ, i, TX_BUF, 30, NEXT);
		offer(f, TXQ, i, TX_BUF + 30, 30, 0);
	}
	devfix_fill(f, TX_BUF, 60, 9);
	devfix_kick(f, TXQ);
	devfix_check_base(f, TXQ, 0);
	check_nothing_used(f, TXQ);
	assert_int_equal(devfix_counters(f, TXQ)->frames, 0);
	assert_int_equal(event_take(f->call[TXQ]), 0);

	sockport_unstuff(f->wire, stuffing);
	devfix_kick(f, TXQ);
	for (uint16_t i = 0; i < 6; i += 2) {
		check_wire(f, 60, 9);
		check_used_chain(f, TXQ, i, 2, 0);
	}
	check_errors(f, TXQ, 0);
}

static void frames_that_were_taken_come_back_before_the_rest(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	sockport.send_most = 2;
	for (uint16_t i = 0; i < 5; i++)
		offer_tx(f, i, 60);
	devfix_kick(f, TXQ);
	for (uint16_t i = 0; i < 5; i++) {
		check_wire(f, 60, (uint8_t)i);
		check_used(f, TXQ, i, 0);
	}
	assert_int_equal(devfix_counters(f, TXQ)->frames, 5);
	assert_int_equal(devfix_counters(f, TXQ)->bytes, 5 * 48);
}

/* A real socket: fills up, and says when there is room again. */
static void a_full_port_is_waited_for_without_a_kick(void **state)
{
	struct devfix *f = *state;
	int small = 4096;
	unsigned int sent = 0;

	check_ret(setsockopt(f->backend, SOL_SOCKET, SO_SNDBUF, &small,
			     sizeof(small)),
		  0);
	start(f, V1, 128);
	for (uint16_t i = 0; i < 64; i++)
		offer_tx(f, i, 1000);
	devfix_kick(f, TXQ);
	assert_in_range(devfix_taken(f, TXQ), 1, 63);
	while (sent < 64) {
		int n = wire_recv(f, got, sizeof(got));

		if (n == -EAGAIN) {
			devfix_settle(f); /* no kick */
			continue;
		}
		assert_int_equal(n, 1000);
		check_counts_up(got, 1000, (uint8_t)sent++);
	}
	devfix_settle(f);
	for (uint16_t i = 0; i < 64; i++)
		check_used(f, TXQ, i, 0);
	assert_int_equal(devfix_counters(f, TXQ)->kicks, 1);
	check_errors(f, TXQ, 0);
}

static void frames_dropped_beside_a_blocked_one_are_counted_once(void **state)
{
	struct devfix *f = *state;
	unsigned int stuffing;

	start(f, V1, 8);
	stuffing = sockport_stuff(f->backend);
	offer_tx(f, 0, 60);
	offer(f, TXQ, 1, GPA_A, 0, 0);
	for (int i = 0; i < 3; i++)
		devfix_kick(f, TXQ);
	sockport_unstuff(f->wire, stuffing);
	devfix_kick(f, TXQ);
	check_used(f, TXQ, 0, 0);
	check_used(f, TXQ, 1, 0);
	assert_int_equal(devfix_counters(f, TXQ)->dropped, 1);
}

static void a_bad_chain_behind_a_blocked_frame_waits_for_its_turn(void **state)
{
	struct devfix *f = *state;
	unsigned int stuffing;

	start(f, V1, 8);
	stuffing = sockport_stuff(f->backend);
	offer_tx(f, 0, 60);
	offer(f, TXQ, 1, GPA_A, 60, WRITE);
	devfix_kick(f, TXQ);
	check_errors(f, TXQ, 0);
	devfix_check_base(f, TXQ, 0);
	sockport_unstuff(f->wire, stuffing);
	devfix_kick(f, TXQ);
	check_errors(f, TXQ, 1);
	devfix_check_base(f, TXQ, f->packed ? 1 : 2);
	check_used(f, TXQ, 0, 0);
}

static void a_refused_frame_is_dropped_and_comes_back(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	sockport.refuse = 2;
	for (uint16_t i = 0; i < 3; i++)
		offer_tx(f, i, 60);
	devfix_kick(f, TXQ);
	check_wire(f, 60, 2);
	for (uint16_t i = 0; i < 3; i++)
		check_used(f, TXQ, i, 0);
	assert_int_equal(devfix_counters(f, TXQ)->frames, 1);
	assert_int_equal(devfix_counters(f, TXQ)->bytes, 60 - 12);
	assert_int_equal(devfix_counters(f, TXQ)->dropped, 2);
}

static void a_run_ends_after_256_frames_and_goes_on_by_itself(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 1024);
	for (uint16_t i = 0; i < 600; i++)
		offer(f, TXQ, i, GPA_A, 60, 0);
	sockport.refuse = 600; /* the wire need not hold them */
	check_ret(write(f->kick[TXQ], &(uint64_t){ 1 }, 8), 8);
	worker_look(f->worker);
	worker_round(f->worker);
	assert_in_range(devfix_taken(f, TXQ), 256, 320);
	assert_true(worker_busy(f->worker));
	worker_round(f->worker);
	assert_in_range(devfix_taken(f, TXQ), 512, 599);
	devfix_settle(f);
	devfix_check_base(f, TXQ, 600);
}

static void a_run_ends_after_half_a_megabyte(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 128);
	for (uint16_t i = 0; i < 64; i++)
		offer(f, TXQ, i, GPA_A, 60000, 0);
	check_ret(write(f->kick[TXQ], &(uint64_t){ 1 }, 8), 8);
	worker_look(f->worker);
	for (int rounds = 0; devfix_taken(f, TXQ) < 64; rounds++) {
		uint32_t before = devfix_taken(f, TXQ);

		assert_true(rounds < 20);
		worker_round(f->worker);
		assert_in_range((devfix_taken(f, TXQ) - before) * 59988, 0,
				0x80000 + 64 * 60000);
		while (wire_recv(f, got, sizeof(got)) > 0)
			;
		worker_look(f->worker);
	}
}

/* ---- headers ---- */

static const struct {
	uint64_t features;
	unsigned int guest, port;
} headers[] = {
	{ 0, 10, 10 },           { MRG, 12, 12 },
	{ V1, 12, 12 },          { V1 | MRG, 12, 12 },
	{ OWN_HDR, 10, 0 },      { OWN_HDR | MRG, 12, 0 },
	{ OWN_HDR | V1, 12, 0 }, { OWN_HDR | V1 | MRG, 12, 0 },
};

static void send_in_pieces(struct devfix *f)
{
	start(f, V1, 8);
	devfix_fill(f, TX_BUF, 100, 0);
	offer(f, TXQ, 0, TX_BUF, 13, NEXT);
	offer(f, TXQ, 0, TX_BUF + 13, 87, 0);
	offer_tx(f, 2, 75);
	devfix_kick(f, TXQ);
	check_wire(f, 100, 0);
	check_wire(f, 75, 2);
}

static void frames_in_guest_memory_are_read_only_for_the_port(void **state)
{
	send_in_pieces(*state);
	assert_false(sockport.tx_own);
}

static void copies_of_frames_are_writable_for_the_port(void **state)
{
	send_in_pieces(*state);
	assert_true(sockport.tx_own);
}

static void the_port_gets_its_header_length(void **state)
{
	struct devfix *f = *state;

	start(f, 0, 8);
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		set_features(f, headers[i].features);
		offer_tx(f, 0, 60);
		devfix_kick(f, TXQ);
		assert_int_equal(sockport.hdr_len, headers[i].port);
		check_ret(wire_recv(f, got, sizeof(got)),
			  60 - headers[i].guest + headers[i].port);
		check_counts_up(got, 60 - headers[i].guest + headers[i].port,
				(uint8_t)(headers[i].guest - headers[i].port));
	}
}

static void a_stripped_header_may_be_in_pieces(void **state)
{
	struct devfix *f = *state;

	start(f, OWN_HDR | V1, 8);
	devfix_fill(f, GPA_A, 100, 0);
	for (uint16_t cut = 1; cut < 99; cut++) {
		uint16_t second = cut / 2;

		offer(f, TXQ, 0, GPA_A, second, NEXT);
		offer(f, TXQ, 0, GPA_A + second, cut - second, NEXT);
		offer(f, TXQ, 0, GPA_A + cut, 100 - cut, 0);
		devfix_kick(f, TXQ);
		check_wire(f, 88, 12);
	}
}

static void a_chain_no_longer_than_a_stripped_header_is_skipped(void **state)
{
	struct devfix *f = *state;

	start(f, OWN_HDR | V1, 8);
	offer_tx(f, 0, 12);
	devfix_kick(f, TXQ);
	check_errors(f, TXQ, 1);
	devfix_check_base(f, TXQ, 1);
	check_nothing_used(f, TXQ);
	offer_tx(f, 1, 13);
	devfix_kick(f, TXQ);
	check_wire(f, 1, 13);
	check_used(f, TXQ, 1, 0);
}

static void a_received_frame_has_the_guests_header(void **state)
{
	static const uint8_t zero[12];
	struct devfix *f = *state;

	start(f, 0, 16);
	for (uint16_t i = 0; i < ARRAY_SIZE(headers); i++) {
		unsigned int hdr = headers[i].guest, port = headers[i].port;
		uint8_t *buf = arena_ram(&f->arena, rx_buf(i));
		uint32_t len = 60 + hdr - port;

		set_features(f, headers[i].features);
		memset(buf, 0xee, 200);
		offer_rx(f, i, 200);
		wire_send(f, 60, 1);
		devfix_kick(f, RXQ);
		check_used(f, RXQ, i, len);
		assert_int_equal(sockport.hdr_len, port);
		if (port) /* the port's own, but for the count */
			check_counts_up(buf, 10, 1);
		else
			assert_memory_equal(buf, zero, 10);
		if (hdr == 12)
			assert_int_equal(num_buffers(buf), 1);
		check_counts_up(buf + hdr, len - hdr, (uint8_t)(1 + port));
		assert_int_equal(buf[len], 0xee);
		assert_int_equal(devfix_counters(f, RXQ)->bytes,
				 (60 - port) +
					 (i ? devfix_counters(f, RXQ)->bytes -
							  (60 - port)
					    : 0));
	}
	assert_int_equal(devfix_counters(f, RXQ)->frames, ARRAY_SIZE(headers));
}

/* ---- receive ---- */

static void a_frame_comes_in(void **state)
{
	struct devfix *f = *state;
	uint16_t first = f->packed ? 0x4000 : 0, ids = f->packed ? 0xffff : 7;

	start(f, V1, 8);
	offer_rx(f, first, 2048);
	for (uint16_t i = 0; i < 30; i++) {
		offer_rx(f, (first + i + 1) & ids, 2048);
		wire_send(f, 100, (uint8_t)i);
		devfix_kick(f, RXQ);
		check_rx(f, (first + i) & ids, 100, (uint8_t)i);
		check_nothing_used(f, RXQ);
		assert_int_equal(event_take(f->call[RXQ]), 1);
		devfix_check_base(f, RXQ, i + 1u);
	}
	assert_int_equal(devfix_counters(f, RXQ)->frames, 30);
	assert_int_equal(devfix_counters(f, RXQ)->bytes, 30 * 88);
	check_errors(f, RXQ, 0);
}

static void a_buffer_in_pieces_is_filled_in_order(void **state)
{
	struct devfix *f = *state;

	start(f, OWN_HDR | V1, 8);
	memset(arena_ram(&f->arena, GPA_C), 0xee, 100);
	offer(f, RXQ, 0, GPA_A, 12, NEXT | WRITE);
	offer(f, RXQ, 0, GPA_B - 3, 10, NEXT | WRITE);
	offer(f, RXQ, 0, GPA_C, 100, WRITE);
	wire_send(f, 60, 0);
	devfix_kick(f, RXQ);
	check_used_chain(f, RXQ, 0, 3, 72);
	check_counts_up(arena_ram(&f->arena, GPA_B - 3), 3, 0);
	check_counts_up(arena_ram(&f->arena, GPA_B), 7, 3);
	check_counts_up(arena_ram(&f->arena, GPA_C), 50, 10);
	assert_int_equal(*arena_ram(&f->arena, GPA_C + 50), 0xee);
}

static void the_ports_header_fills_the_first_pieces(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	offer(f, RXQ, 5, RX_BUF, 12, NEXT | WRITE);
	offer(f, RXQ, 5, RX_BUF + 12, 1, NEXT | WRITE);
	offer(f, RXQ, 5, RX_BUF + 13, 2000, WRITE);
	wire_send(f, 100, 0);
	devfix_kick(f, RXQ);
	check_used_chain(f, RXQ, 5, 3, 100);
	check_frame(arena_ram(&f->arena, RX_BUF), 1, 100, 0);
}

static void a_long_frame_takes_several_buffers(void **state)
{
	struct devfix *f = *state;

	start(f, V1 | MRG, 16);
	for (uint8_t lap = 0; lap < 12; lap++) {
		uint32_t at = 0;

		for (uint16_t i = 0; i < 5; i++)
			offer_rx(f, i, 1000);
		wire_send(f, 4321, lap);
		devfix_kick(f, RXQ);
		for (uint16_t i = 0; i < 5; i++) {
			uint32_t len = MIN(1000, 4321 - at);
			uint8_t *p = arena_ram(&f->arena, rx_buf(i));

			check_used(f, RXQ, i, len);
			if (i)
				check_counts_up(p, len, (uint8_t)(lap + at));
			else
				check_frame(p, 5, len, lap);
			at += len;
		}
		check_nothing_used(f, RXQ);
	}
	check_errors(f, RXQ, 0);
}

static void mergeable_buffers_are_filled_one_after_the_other(void **state)
{
	struct devfix *f = *state;

	start(f, V1 | MRG, 8);
	for (uint16_t i = 0; i < 3; i++)
		offer_rx(f, i, 64);
	wire_send(f, 100 + 12, 0);
	devfix_kick(f, RXQ);
	check_used(f, RXQ, 0, 64);
	check_used(f, RXQ, 1, 48);
	check_nothing_used(f, RXQ);
	devfix_check_base(f, RXQ, 2);
	assert_int_equal(num_buffers(arena_ram(&f->arena, RX_BUF)), 2);
	check_counts_up(arena_ram(&f->arena, RX_BUF) + 12, 52, 12);
	check_counts_up(arena_ram(&f->arena, RX_BUF + 2048), 48, 64);
}

static void the_count_of_buffers_may_lie_across_two_buffers(void **state)
{
	struct devfix *f = *state;

	start(f, V1 | MRG, 8);
	offer(f, RXQ, 0, RX_BUF, 11, WRITE);
	offer(f, RXQ, 1, RX_BUF + 100, 1, WRITE);
	offer(f, RXQ, 2, RX_BUF + 200, 100, WRITE);
	wire_send(f, 72, 0);
	devfix_kick(f, RXQ);
	assert_int_equal(*arena_ram(&f->arena, RX_BUF + 10), 3);
	assert_int_equal(*arena_ram(&f->arena, RX_BUF + 100), 0);
	check_used(f, RXQ, 0, 11);
	check_used(f, RXQ, 1, 1);
	check_used(f, RXQ, 2, 60);
}

static void a_starved_ring_keeps_the_frame_for_later(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	for (uint8_t i = 0; i < 3; i++)
		wire_send(f, 60, i);
	devfix_kick(f, RXQ);
	check_nothing_used(f, RXQ);
	assert_true(drv_kicks(&f->q[RXQ])); /* kick us */
	assert_true(devfix_counters(f, RXQ)->starved > 0);

	for (uint16_t i = 0; i < 4; i++)
		offer_rx(f, i, 100);
	devfix_kick(f, RXQ);
	for (uint16_t i = 0; i < 3; i++) {
		check_used(f, RXQ, i, 60);
		check_counts_up(arena_ram(&f->arena, rx_buf(i)) + 12, 48,
				(uint8_t)(i + 12));
	}
	assert_int_equal(devfix_counters(f, RXQ)->dropped, 0);
	/* the wire is empty and there is room: kicks are not wanted */
	assert_false(drv_kicks(&f->q[RXQ]));
}

/* A port that is never empty, and a ring that fills while it is looked at. */
static void a_starved_ring_goes_on_when_buffers_come(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	for (uint8_t i = 0; i < 20; i++)
		wire_send(f, 60, i);
	for (uint8_t i = 0; i < 20; i += 4) {
		for (uint8_t k = 0; k < 4; k++)
			offer_rx(f, k, 2048);
		devfix_kick(f, RXQ);
		for (uint8_t k = 0; k < 4; k++)
			check_rx(f, k, 60, (uint8_t)(i + k));
		check_nothing_used(f, RXQ);
		assert_true(drv_kicks(&f->q[RXQ]));
	}
	assert_int_not_equal(devfix_counters(f, RXQ)->starved, 0);
}

static void a_frame_waits_for_enough_buffers(void **state)
{
	struct devfix *f = *state;

	start(f, V1 | MRG | EVENT_IDX, 8);
	offer_rx(f, 0, 1000);
	wire_send(f, 3500, 0);
	for (uint16_t i = 1; i < 4; i++) {
		devfix_kick(f, RXQ);
		check_nothing_used(f, RXQ);
		/* a kick is wanted for what comes next */
		assert_int_equal(drv_kick_at(&f->q[RXQ]), f->q[RXQ].next);
		offer_rx(f, i, 1000);
	}
	devfix_kick(f, RXQ);
	for (uint16_t i = 0; i < 4; i++)
		check_used(f, RXQ, i, i < 3 ? 1000 : 500);
	check_errors(f, RXQ, 0);
}

static void buffers_that_arrive_in_steps_make_up_a_frame(void **state)
{
	struct devfix *f = *state;

	start(f, V1 | MRG, 16);
	offer_rx(f, 0, 64);
	wire_send(f, 500, 0);
	devfix_kick(f, RXQ);
	for (uint16_t i = 1; i < 8; i++) {
		check_nothing_used(f, RXQ);
		devfix_check_base(f, RXQ, 0);
		assert_true(drv_kicks(&f->q[RXQ]));
		offer_rx(f, i, 64);
		devfix_kick(f, RXQ);
	}
	for (uint16_t i = 0; i < 7; i++)
		check_used(f, RXQ, i, 64);
	check_used(f, RXQ, 7, 500 - 7 * 64);
	assert_int_equal(num_buffers(arena_ram(&f->arena, RX_BUF)), 8);
	assert_int_equal(devfix_counters(f, RXQ)->frames, 1);
}

static void buffers_that_arrive_without_a_kick_are_found(void **state)
{
	struct devfix *f = *state;

	start(f, V1 | MRG, 16);
	offer_rx(f, 0, 64);
	wire_send(f, 500, 0);
	check_ret(write(f->kick[RXQ], &(uint64_t){ 1 }, 8), 8);
	worker_look(f->worker);
	worker_round(f->worker);
	/* after the run, before the device asks for kicks */
	for (uint16_t i = 1; i < 8; i++)
		offer_rx(f, i, 64);
	devfix_settle(f);
	for (uint16_t i = 0; i < 7; i++)
		check_used(f, RXQ, i, 64);
}

static void a_frame_too_long_for_its_only_buffer_is_dropped(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	offer_rx(f, 0, 59);
	offer_rx(f, 1, 58); /* the next buffer is no help */
	wire_send(f, 60, 0);
	wire_send(f, 59, 5);
	devfix_kick(f, RXQ);
	check_used(f, RXQ, 0, 59); /* the buffer served the next frame */
	check_nothing_used(f, RXQ);
	assert_int_equal(devfix_counters(f, RXQ)->dropped, 1);
	assert_int_equal(devfix_counters(f, RXQ)->frames, 1);
	check_errors(f, RXQ, 0);
}

static void a_frame_longer_than_any_is_dropped(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	offer_rx(f, 0, 2 * NETPORT_FRAME_MAX);
	wire_send(f, NETPORT_FRAME_MAX + 1, 0);
	wire_send(f, 60, 5);
	devfix_kick(f, RXQ);
	check_used(f, RXQ, 0, 60);
	assert_int_equal(devfix_counters(f, RXQ)->dropped, 1);
}

static void a_frame_shorter_than_its_header_is_dropped(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	offer_rx(f, 0, 2048);
	wire_send(f, 11, 0);
	wire_send(f, 12, 5);
	devfix_kick(f, RXQ);
	check_used(f, RXQ, 0, 12);
	assert_int_equal(devfix_counters(f, RXQ)->dropped, 1);
}

static void the_longest_frame_comes_in(void **state)
{
	struct devfix *f = *state;

	start(f, V1 | MRG, 256);
	for (uint16_t i = 0; i < 64; i++)
		offer_rx(f, i, 1526);
	for (uint8_t k = 0; k < 2; k++) {
		uint32_t at = 0;

		wire_send(f, NETPORT_FRAME_MAX, k);
		for (uint16_t i = 64u * (k + 1u); i < 64u * (k + 2u); i++)
			offer_rx(f, i % 192, 1526);
		devfix_kick(f, RXQ);
		while (at < NETPORT_FRAME_MAX) {
			struct vring_used_elem e = drv_reap(&f->q[RXQ]);
			uint8_t *p =
				arena_ram(&f->arena, rx_buf((uint16_t)e.id));

			if (at)
				check_counts_up(p, e.len, (uint8_t)(k + at));
			else
				check_frame(p, 44, e.len, k);
			at += e.len;
		}
		check_nothing_used(f, RXQ);
	}
}

/* One frame may take 1024 buffers, and no more. */
static void a_frame_may_fill_1024_buffers(void **state)
{
	struct devfix *f = *state;

	start(f, V1 | MRG, 2048);
	for (uint16_t i = 0; i < 1100; i++)
		offer(f, RXQ, i, RX_BUF + i * 16u, 16, WRITE);
	wire_send(f, 1024 * 16, 0);
	devfix_kick(f, RXQ);
	for (uint16_t i = 0; i < 1024; i++)
		check_used(f, RXQ, i, 16);
	check_nothing_used(f, RXQ);
	assert_int_equal(num_buffers(arena_ram(&f->arena, RX_BUF)), 1024);
}

static void a_frame_that_needs_more_than_1024_buffers_is_dropped(void **state)
{
	struct devfix *f = *state;

	start(f, V1 | MRG, 2048);
	for (uint16_t i = 0; i < 1100; i++)
		offer(f, RXQ, i, RX_BUF + i * 16u, 16, WRITE);
	wire_send(f, 1024 * 16 + 1, 0);
	wire_send(f, 32, 0);
	devfix_kick(f, RXQ);
	check_used(f, RXQ, 0, 16);
	check_used(f, RXQ, 1, 16);
	check_nothing_used(f, RXQ);
	assert_int_equal(devfix_counters(f, RXQ)->dropped, 1);
	check_errors(f, RXQ, 0);
}

/* Chains of 1000 one-byte pieces: two of them are all that a batch takes. */
static void a_frame_that_needs_more_pieces_than_a_batch_is_dropped(void **state)
{
	struct devfix *f = *state;

	start(f, V1 | MRG, 4096);
	for (uint16_t c = 0; c < 4000; c += 1000)
		for (uint16_t i = 0; i < 1000; i++)
			offer(f, RXQ, c, RX_BUF + i, 1,
			      (i < 999 ? NEXT : 0) | WRITE);
	wire_send(f, 3000, 0);
	wire_send(f, 100, 0);
	devfix_kick(f, RXQ);
	assert_int_equal(devfix_counters(f, RXQ)->dropped, 1);
	/* and the next one came in */
	check_used_chain(f, RXQ, 0, 1000, 100);
	check_nothing_used(f, RXQ);
	check_errors(f, RXQ, 0);
}

static void a_receive_chain_with_a_readable_part_is_skipped(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	offer(f, RXQ, 0, RX_BUF, 100, 0);
	offer_rx(f, 1, 100);
	wire_send(f, 60, 0);
	devfix_kick(f, RXQ);
	check_errors(f, RXQ, 1);
	check_nothing_used(f, RXQ);
	devfix_check_base(f, RXQ, 1);
	devfix_kick(f, RXQ);
	check_used(f, RXQ, 1, 60); /* and the frame was kept */
	check_errors(f, RXQ, 0);
}

static void a_receive_chain_with_both_parts_is_skipped(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	offer(f, RXQ, 0, RX_BUF, 10, NEXT);
	offer(f, RXQ, 0, RX_BUF, 100, WRITE);
	offer_rx(f, 2, 100);
	wire_send(f, 60, 0);
	devfix_kick(f, RXQ);
	check_errors(f, RXQ, 1);
	check_nothing_used(f, RXQ);
	devfix_kick(f, RXQ);
	check_used(f, RXQ, 2, 60);
}

static void an_empty_receive_chain_is_skipped(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	offer(f, RXQ, 0, RX_BUF, 0, WRITE);
	offer_rx(f, 1, 100);
	wire_send(f, 60, 0);
	devfix_kick(f, RXQ);
	check_errors(f, RXQ, 1);
	devfix_kick(f, RXQ);
	check_used(f, RXQ, 1, 60);
}

static void frames_before_a_bad_receive_chain_are_delivered(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	offer_rx(f, 0, 100);
	offer_rx(f, 1, 100);
	offer(f, RXQ, 2, RX_BUF, 100, 0);
	offer_rx(f, 3, 100);
	for (uint8_t i = 0; i < 4; i++)
		wire_send(f, 60, i);
	devfix_kick(f, RXQ);
	check_used(f, RXQ, 0, 60);
	check_used(f, RXQ, 1, 60);
	check_nothing_used(f, RXQ);
	check_errors(f, RXQ, 1);
	devfix_check_base(f, RXQ, 3);
	devfix_kick(f, RXQ);
	check_used(f, RXQ, 3, 60);
	check_counts_up(arena_ram(&f->arena, RX_BUF + 3 * 2048) + 12, 48, 14);
}

/* The kernel's arithmetic: of the chains of a frame the first is passed over,
 * and the bad one is met again. */
static void a_bad_chain_within_a_frame_costs_its_first_chain(void **state)
{
	struct devfix *f = *state;

	start(f, V1 | MRG, 8);
	offer_rx(f, 0, 64);
	offer(f, RXQ, 1, RX_BUF, 64, 0);
	offer_rx(f, 2, 64);
	offer_rx(f, 3, 64);
	wire_send(f, 100, 0);
	devfix_kick(f, RXQ);
	check_errors(f, RXQ, 1);
	devfix_check_base(f, RXQ, 1);
	devfix_kick(f, RXQ);
	check_errors(f, RXQ, 1);
	devfix_check_base(f, RXQ, 2);
	devfix_kick(f, RXQ);
	check_used(f, RXQ, 2, 64);
	check_used(f, RXQ, 3, 36);
}

static void a_bad_receive_chain_stays(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	offer_rx(f, 0, 2048);
	offer(f, RXQ, 1, GPA_A, 100, 0);
	offer_rx(f, 2, 2048);
	wire_send(f, 60, 0);
	wire_send(f, 60, 1);
	devfix_kick(f, RXQ);
	check_rx(f, 0, 60, 0);
	check_nothing_used(f, RXQ);
	devfix_check_base(f, RXQ, 1);
	assert_int_not_equal(event_take(f->err[RXQ]), 0);
	drv_rewrite(&f->q[RXQ], 1, rx_buf(1), 2048, WRITE);
	devfix_kick(f, RXQ);
	check_rx(f, 1, 60, 1);
}

static void a_broken_chain_within_a_frame_stops_the_ring(void **state)
{
	struct devfix *f = *state;

	start(f, V1 | MRG, 8);
	offer_rx(f, 0, 64);
	offer(f, RXQ, 1, GPA_B_END, 64, WRITE);
	wire_send(f, 100, 0);
	devfix_kick(f, RXQ);
	check_errors(f, RXQ, 1);
	devfix_check_base(f, RXQ, 0);
	devfix_kick(f, RXQ);
	check_errors(f, RXQ, 1);
	drv_rewrite(&f->q[RXQ], 1, RX_BUF + 2048, 64, WRITE);
	devfix_kick(f, RXQ);
	check_used(f, RXQ, 0, 64);
	check_used(f, RXQ, 1, 36);
	check_errors(f, RXQ, 0);
}

static void a_burst_comes_in_as_a_batch(void **state)
{
	struct devfix *f = *state;

	start(f, V1 | EVENT_IDX, 256);
	for (uint16_t i = 0; i < 100; i++)
		offer_rx(f, i, 100);
	for (uint8_t i = 0; i < 60; i++)
		wire_send(f, 60, i);
	devfix_kick(f, RXQ);
	for (uint16_t i = 0; i < 60; i++) {
		check_used(f, RXQ, i, 60);
		check_counts_up(arena_ram(&f->arena, rx_buf(i)) + 12, 48,
				(uint8_t)(i + 12));
	}
	assert_int_equal(event_take(f->call[RXQ]), 1);
	assert_in_range(devfix_counters(f, RXQ)->batches, 1, 2);
}

/* ---- memory that cannot be reached ---- */

static void an_unreadable_frame_is_dropped_and_comes_back(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	for (uint16_t i = 0; i < 5; i++)
		offer_tx(f, i, 60);
	drv_rewrite(&f->q[TXQ], 1, GPA_C + 0x10000 - 30, 60, 0);
	drv_rewrite(&f->q[TXQ], 3, GPA_C + 0x10000, 60, 0);
	unmap_ram(f, GPA_C + 0x10000);
	devfix_kick(f, TXQ);
	check_wire(f, 60, 0);
	check_wire(f, 60, 2);
	check_wire(f, 60, 4);
	check_wire_empty(f);
	for (uint16_t i = 0; i < 5; i++)
		check_used(f, TXQ, i, 0);
	assert_int_equal(devfix_counters(f, TXQ)->dropped, 2);
	assert_int_equal(devfix_counters(f, TXQ)->unreadable, 2);
	assert_int_equal(devfix_counters(f, TXQ)->frames, 3);
	check_errors(f, TXQ, 0);
}

static void a_frame_with_an_unreadable_piece_is_dropped(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 16);
	unmap_ram(f, GPA_C + 0x10000);
	for (uint16_t i = 0; i < 4; i++) {
		uint64_t at = TX_BUF + i * 100u;

		devfix_fill(f, at, 100, (uint8_t)i);
		offer(f, TXQ, 4 * i, at, 20, NEXT);
		offer(f, TXQ, 4 * i, i == 1 ? GPA_C + 0x10000 : at + 20, 30,
		      NEXT);
		offer(f, TXQ, 4 * i, at + 50, 50, 0);
	}
	devfix_kick(f, TXQ);
	check_wire(f, 100, 0);
	check_wire(f, 100, 2);
	check_wire(f, 100, 3);
	check_wire_empty(f);
	assert_int_equal(devfix_counters(f, TXQ)->dropped, 1);
}

static void a_frame_for_an_unwritable_buffer_is_lost_alone(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	for (uint16_t i = 0; i < 5; i++)
		offer_rx(f, i, 100);
	drv_rewrite(&f->q[RXQ], 2, GPA_C + 0x10000, 100, WRITE);
	unmap_ram(f, GPA_C + 0x10000);
	for (uint8_t i = 0; i < 4; i++)
		wire_send(f, 60, i);
	devfix_kick(f, RXQ);
	check_used(f, RXQ, 0, 60);
	check_used(f, RXQ, 1, 60);
	/* frames 2, 3 find that buffer and are lost; it never comes back */
	check_nothing_used(f, RXQ);
	assert_int_equal(devfix_counters(f, RXQ)->frames, 2);
	assert_int_equal(devfix_counters(f, RXQ)->dropped, 2);
	assert_int_equal(devfix_counters(f, RXQ)->bytes, 2 * 48);
	check_errors(f, RXQ, 2);
	devfix_check_base(f, RXQ, 2);

	/* a buffer that can be written heals it */
	drv_rewrite(&f->q[RXQ], 2, RX_BUF, 100, WRITE);
	for (uint8_t i = 0; i < 3; i++)
		wire_send(f, 60, (uint8_t)(100 + i));
	devfix_kick(f, RXQ);
	for (uint16_t i = 2; i < 5; i++)
		check_used(f, RXQ, i, 60);
	check_counts_up(arena_ram(&f->arena, RX_BUF) + 12, 48, 112);
	check_errors(f, RXQ, 0);
}

static void
one_unwritable_buffer_is_one_error_among_dropped_frames(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	offer(f, RXQ, 0, GPA_C + 0x10000, 100, WRITE);
	unmap_ram(f, GPA_C + 0x10000);
	offer_rx(f, 1, 100);
	offer_rx(f, 2, 100);
	wire_send(f, 101, 0); /* too long for the buffer */
	wire_send(f, 102, 0);
	wire_send(f, 60, 0);
	devfix_kick(f, RXQ);
	check_errors(f, RXQ, 1);
	assert_int_equal(devfix_counters(f, RXQ)->dropped, 3);
	assert_int_equal(devfix_counters(f, RXQ)->bytes, 0);
}

static void a_truncated_file_stops_both_rings_until_a_new_table(void **state)
{
	struct devfix *f = *state;

	aspace_guard_install(); /* cmocka has handlers of its own */
	start(f, V1, 8);
	check_ret(ftruncate(f->arena.memfd, PAGE), 0);
	devfix_kick(f, TXQ);
	devfix_kick(f, RXQ);
	assert_in_range(event_take(f->err[TXQ]), 1, 2);
	assert_in_range(event_take(f->err[RXQ]), 1, 2);
	devfix_kick(f, TXQ);
	devfix_kick(f, RXQ);
	check_errors(f, TXQ, 0);
	check_errors(f, RXQ, 0);

	check_ret(ftruncate(f->arena.memfd, ARENA_SIZE), 0);
	for (unsigned int i = 0; i < 2; i++)
		drv_move(&f->q[i], drv_after(&f->q[i], 0));
	devfix_table(f);
	devfix_settle(f);
	offer_rx(f, 0, 100);
	wire_send(f, 60, 0);
	devfix_kick(f, RXQ);
	check_counts_up(arena_ram(&f->arena, RX_BUF) + 12, 48, 12);
	offer_tx(f, 0, 60);
	devfix_kick(f, TXQ);
	check_wire(f, 60, 0);
	check_errors(f, TXQ, 0);
	check_errors(f, RXQ, 0);
}

static void a_truncated_file_does_not_affect_other_devices(void **state)
{
	struct devfix *f = *state, *other;
	struct sockport_script script = { 0 };

	aspace_guard_install();
	other = devfix_open(MAPPED);
	start(f, V1, 8);
	start(other, V1, 8);
	check_ret(ftruncate(f->arena.memfd, 0), 0);
	/* on a thread of its own each would enter only its own */
	aspace_enter(vdev_aspace(f->v));
	devfix_kick(f, TXQ);
	assert_true(event_take(f->err[TXQ]) > 0);
	aspace_enter(vdev_aspace(other->v));
	offer_tx(other, 0, 60);
	devfix_kick(other, TXQ);
	check_wire(other, 60, 0);
	check_errors(other, TXQ, 0);
	script.ports = sockport.ports - 2;
	vdev_net_set_backend(other->v, RXQ, VDEV_FD_NONE);
	vdev_net_set_backend(other->v, TXQ, VDEV_FD_NONE);
	assert_int_equal(sockport.ports, script.ports);
	sockport.ports = 0; /* those of @f are checked with it */
	devfix_close(other);
	sockport.ports = script.ports;
}

static void an_owner_that_is_gone_stops_the_ring(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	offer_tx(f, 0, 60);
	devfix_kick(f, TXQ);
	check_wire(f, 60, 0);
	arena_end_child(&f->arena);
	offer_tx(f, 1, 60);
	offer_rx(f, 1, 100);
	wire_send(f, 60, 0);
	devfix_kick(f, TXQ);
	devfix_kick(f, TXQ);
	check_errors(f, TXQ, 1);
	check_wire_empty(f);
	check_nothing_used(f, RXQ);
}

/* ---- held frames ---- */

/* Leaves one frame in the device's hands that the ring has no room for. */
static void hold_a_frame(struct devfix *f)
{
	start(f, V1 | MRG, 8);
	offer_rx(f, 0, 64);
	wire_send(f, 100, 0);
	devfix_kick(f, RXQ);
	check_nothing_used(f, RXQ);
}

static void give_room(struct devfix *f)
{
	offer_rx(f, 1, 64);
	devfix_kick(f, RXQ);
}

static void a_held_frame_survives_a_pause(void **state)
{
	struct devfix *f = *state;

	hold_a_frame(f);
	check_ret(devfix_backend(f, RXQ, -1), 0);
	give_room(f);
	check_nothing_used(f, RXQ);
	check_ret(devfix_backend(f, RXQ, f->backend), 0);
	devfix_settle(f);
	check_used(f, RXQ, 0, 64);
	check_used(f, RXQ, 1, 36);
	assert_int_equal(devfix_counters(f, RXQ)->dropped, 0);
}

static void a_held_frame_is_not_for_another_backend(void **state)
{
	struct devfix *f = *state;
	int fds[2];

	hold_a_frame(f);
	check_ret(devfix_backend(f, RXQ, -1), 0);
	sockport_pair(fds);
	check_ret(devfix_backend(f, RXQ, fds[0]), 0);
	give_room(f);
	check_nothing_used(f, RXQ);
	assert_int_equal(devfix_counters(f, RXQ)->dropped, 1);
	close(fds[0]);
	close(fds[1]);
}

static void a_held_frame_is_dropped_with_its_header_length(void **state)
{
	struct devfix *f = *state;

	hold_a_frame(f);
	set_features(f, OWN_HDR | V1 | MRG);
	give_room(f);
	check_nothing_used(f, RXQ);
	assert_int_equal(devfix_counters(f, RXQ)->dropped, 1);
}

static void a_held_frame_does_not_keep_a_dead_owners_backend_open(void **state)
{
	struct devfix *f = *state;
	uint8_t byte;

	hold_a_frame(f);
	vdev_owner_died(f->v);
	close(f->backend);
	f->backend = dup(f->wire); /* something to close */
	assert_int_equal(recv(f->wire, &byte, 1, MSG_DONTWAIT), 0); /* EOF */
}

static void
a_held_frame_does_not_keep_a_backend_open_after_a_reset(void **state)
{
	struct devfix *f = *state;
	uint8_t byte;

	start(f, 0, 8); /* a header as after the reset */
	offer(f, RXQ, 0, GPA_B_END, 64, WRITE);
	wire_send(f, 100, 0);
	devfix_kick(f, RXQ);
	check_errors(f, RXQ, 1);
	check_ret(vdev_reset_owner(f->v), 0);
	close(f->backend);
	f->backend = dup(f->wire);
	assert_int_equal(recv(f->wire, &byte, 1, MSG_DONTWAIT), 0);
}

/* What a device gets of @ctx, a port that outlives it. */
static int open_shared(void *ctx, unsigned int qi, int fd,
		       struct netport **port)
{
	struct netport **rx = ctx;
	int ret = netport_check_fd(fd);

	if (ret < 0)
		return ret;
	if (qi != RXQ)
		return netport_null_new(0, false, port);
	*port = netport_get(*rx);
	return 0;
}

static void a_frame_that_was_borrowed_survives_pause_and_reset(void **state)
{
	struct devfix *f = *state;
	struct netport *rx;
	struct vdev_config config = { .worker = f->worker,
				      .open_port = open_shared,
				      .ctx = &rx };

	check_ret(netport_from_fd(dup(f->backend), &rx), 0);
	vdev_free(f->v);
	check_ret(vdev_new(&config, &f->v), 0);
	hold_a_frame(f);
	check_ret(devfix_backend(f, RXQ, -1), 0);
	give_room(f);
	check_ret(devfix_backend(f, RXQ, f->backend), 0);
	devfix_settle(f);
	check_used(f, RXQ, 0, 64);
	check_used(f, RXQ, 1, 36);
	wire_send(f, 300, 0);
	offer_rx(f, 2, 64);
	devfix_kick(f, RXQ);
	check_nothing_used(f, RXQ);
	assert_int_equal(devfix_counters(f, RXQ)->dropped, 0);
	vdev_free(f->v);
	check_ret(vdev_new(&config, &f->v), 0);
	start(f, V1 | MRG, 8);
	offer_rx(f, 0, 400);
	devfix_kick(f, RXQ);
	check_used(f, RXQ, 0, 300);
	vdev_free(f->v);
	netport_close(rx);
	check_ret(vdev_new(&config, &f->v), 0); /* to be freed */
}

static void frames_on_the_wire_survive_a_pause(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	check_ret(devfix_backend(f, RXQ, -1), 0);
	offer_rx(f, 0, 100);
	wire_send(f, 60, 0);
	devfix_kick(f, RXQ);
	check_nothing_used(f, RXQ);
	check_ret(devfix_backend(f, RXQ, f->backend), 0);
	devfix_settle(f);
	check_used(f, RXQ, 0, 60);
}

static void a_stopped_ring_goes_on_where_it_was(void **state)
{
	struct devfix *f = *state;

	start(f, V1, 8);
	offer_tx(f, 0, 60);
	devfix_kick(f, TXQ);
	check_wire(f, 60, 0);
	check_ret(devfix_backend(f, TXQ, -1), 0);
	offer_tx(f, 1, 60);
	devfix_kick(f, TXQ);
	check_wire_empty(f);
	devfix_check_base(f, TXQ, 1);
	check_ret(devfix_backend(f, TXQ, f->backend), 0);
	devfix_settle(f); /* no kick needed */
	check_wire(f, 60, 1);
	check_used(f, TXQ, 0, 0);
	check_used(f, TXQ, 1, 0);
}

/* QEMU sends both halves of a packed ring's base, DPDK the low one. */
static void a_packed_ring_goes_on_from_its_base(void **state)
{
	struct devfix *f = *state;
	uint32_t base;

	start(f, V1, 6);
	for (uint16_t i = 0; i < 12; i++) {
		offer_tx(f, i, 60);
		devfix_kick(f, TXQ);
		check_wire(f, 60, (uint8_t)i);
		check_used(f, TXQ, i, 0);
		check_ret(devfix_backend(f, TXQ, -1), 0);
		devfix_check_base(f, TXQ, i + 1u);
		base = devfix_base(f, TXQ);
		check_ret(vdev_set_vring_base(f->v, TXQ, 0), 0);
		check_ret(vdev_set_vring_base(f->v, TXQ,
					      i & 1 ? base : base & 0xffff),
			  0);
		check_ret(devfix_backend(f, TXQ, f->backend), 0);
	}
	check_errors(f, TXQ, 0);
}

/* ---- the log of pages written ---- */

/* The bytes of the bitmap around page @first: was each page marked? */
static bool page_logged(struct devfix *f, uint64_t gpa)
{
	const uint8_t *log = f->arena.base + LOG_OFF;

	return log[gpa / PAGE / 8] >> (gpa / PAGE % 8) & 1;
}

static void pages_written_are_logged_and_no_others(void **state)
{
	struct devfix *f = *state;
	bool exact = f->arena.mode == MAPPED || f->arena.mode == RAM_MAPPED;
	unsigned int marked = 0;

	start(f, V1 | LOG_ALL, 8);
	check_ret(vdev_set_log_base(f->v, arena_uva(&f->arena, LOG_OFF)), 0);
	check_ret(vdev_set_log_fd(f->v, dup(f->log)), 0);
	/* 112 bytes from 0x21ff0 on, of a buffer three pages long */
	offer(f, RXQ, 0, 0x21ff0, 3 * PAGE, WRITE);
	wire_send(f, 112, 0);
	devfix_kick(f, RXQ);
	check_used(f, RXQ, 0, 112);
	assert_true(page_logged(f, 0x21000));
	assert_true(page_logged(f, 0x22000));
	for (uint64_t gpa = 0; gpa < GPA_B_END; gpa += PAGE)
		marked += page_logged(f, gpa);
	assert_int_equal(marked, exact ? 2 : 8);
	assert_int_equal(event_take(f->log), 1);
}

static void mergeable_buffers_are_logged_each(void **state)
{
	struct devfix *f = *state;

	start(f, V1 | MRG | LOG_ALL, 8);
	check_ret(vdev_set_log_base(f->v, arena_uva(&f->arena, LOG_OFF)), 0);
	offer(f, RXQ, 0, 0x20000, 64, WRITE);
	offer(f, RXQ, 1, 0x60000, 64, WRITE);
	offer(f, RXQ, 2, 0xa0000, 64, WRITE);
	wire_send(f, 100, 0);
	devfix_kick(f, RXQ);
	assert_true(page_logged(f, 0x20000));
	assert_true(page_logged(f, 0x60000));
	assert_false(page_logged(f, 0xa0000));
}

static void pieces_of_a_buffer_are_logged_each(void **state)
{
	struct devfix *f = *state;

	start(f, V1 | LOG_ALL, 8);
	check_ret(vdev_set_log_base(f->v, arena_uva(&f->arena, LOG_OFF)), 0);
	offer(f, RXQ, 0, 0x20000, 12, NEXT | WRITE);
	offer(f, RXQ, 0, 0x60000, 40, NEXT | WRITE);
	offer(f, RXQ, 0, 0xa0000, 40, NEXT | WRITE);
	offer(f, RXQ, 0, 0xe0000, 40, WRITE);
	wire_send(f, 60, 0);
	devfix_kick(f, RXQ);
	assert_true(page_logged(f, 0x20000));
	assert_true(page_logged(f, 0x60000));
	assert_true(page_logged(f, 0xa0000));
	assert_false(page_logged(f, 0xe0000));
}

static void transmitting_logs_nothing(void **state)
{
	struct devfix *f = *state;

	start(f, V1 | LOG_ALL, 8);
	check_ret(vdev_set_log_base(f->v, arena_uva(&f->arena, LOG_OFF)), 0);
	check_ret(vdev_set_log_fd(f->v, dup(f->log)), 0);
	offer_tx(f, 0, 60);
	devfix_kick(f, TXQ);
	for (uint64_t gpa = 0; gpa < GPA_B_END; gpa += PAGE)
		assert_false(page_logged(f, gpa));
	assert_int_equal(event_take(f->log), 0);
}

/* A packed ring is not guest memory here, and has no log address of its own. */
static void the_log_has_no_page_of_a_packed_ring(void **state)
{
	struct devfix *f = *state;
	uint8_t *log = f->arena.base + LOG_OFF;
	struct vhost_vring_addr addr;

	start(f, V1 | LOG_ALL, 8);
	check_ret(vdev_set_log_base(f->v, arena_uva(&f->arena, LOG_OFF)), 0);
	addr = drv_addr(&f->q[RXQ], RXQ);
	addr.flags = BIT(VHOST_VRING_F_LOG);
	addr.log_guest_addr = 0;
	check_ret(vdev_set_vring_addr(f->v, &addr), 0);
	memset(log, 0, 0x20000);
	offer_rx(f, 3, 2048);
	wire_send(f, 60, 0);
	devfix_kick(f, RXQ);
	check_used(f, RXQ, 3, 60);
	assert_true(page_logged(f, rx_buf(3)));
	assert_int_equal(log[0], 0);
}

/* ---- a port of the device's own ---- */

static int open_null_port(void *ctx, unsigned int qi, int fd,
			  struct netport **port)
{
	int ret = netport_check_fd(fd);

	(void)ctx;
	(void)qi;
	return ret < 0 ? ret : netport_null_new(60, false, port);
}

static void a_null_port_takes_and_makes_frames(void **state)
{
	struct devfix *f = *state;
	struct vdev_config config = { .worker = f->worker,
				      .open_port = open_null_port };

	vdev_free(f->v);
	check_ret(vdev_new(&config, &f->v), 0);
	start(f, V1, 8);
	offer_tx(f, 0, 60);
	devfix_kick(f, TXQ);
	check_used(f, TXQ, 0, 0);
	check_wire_empty(f);
	for (uint16_t i = 0; i < 8; i++)
		offer_rx(f, i, 100);
	devfix_kick(f, RXQ);
	for (uint16_t i = 0; i < 8; i++)
		check_used(f, RXQ, i, 72);
	assert_int_equal(sockport.ports, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		EVERY_PORT(FORMATS_IN,
			   a_frame_goes_out_and_its_buffer_comes_back),
		EVERY_PORT(FORMATS_IN, a_frame_in_pieces_goes_out_whole),
		EVERY_PORT(FORMATS_IN, an_indirect_frame_goes_out),
		EVERY_PORT(PACKED_IN,
			   the_write_flag_in_a_transmit_table_is_ignored),
		EVERY_PORT(FORMATS_IN, bursts_go_round_the_ring),
		EVERY_PORT(FORMATS_IN, the_longest_frame_goes_out),
		EVERY_PORT(
			FORMATS_IN,
			a_frame_that_no_port_takes_is_dropped_and_comes_back),
		EVERY_PORT(FORMATS_IN,
			   a_chain_without_bytes_is_dropped_and_comes_back),
		EVERY_PORT(
			FORMATS_IN,
			a_frame_without_a_whole_header_takes_no_bytes_from_others),
		EVERY_PORT(FORMATS_IN, a_burst_is_signalled_once),
		EVERY_PORT(SPLIT_IN,
			   a_transmit_chain_with_a_writable_part_is_skipped),
		EVERY_PORT(PACKED_IN,
			   a_transmit_chain_with_a_writable_part_stays),
		EVERY_PORT(
			FORMATS_IN,
			a_stuck_transmit_ring_repeats_its_error_with_every_kick),
		EVERY_PORT(FORMATS_IN,
			   kicks_are_wanted_only_from_an_empty_ring),
		EVERY_PORT(PACKED_IN,
			   in_order_a_burst_comes_back_as_one_packed),
		EVERY_PORT(SPLIT_IN, in_order_a_burst_comes_back_as_one_split),
		EVERY_PORT(FORMATS_IN, in_order_a_bad_transmit_chain_stays),
		EVERY_PORT(FORMATS_IN,
			   in_order_received_frames_have_their_lengths),
		EVERY_PORT(FORMATS_IN,
			   a_blocked_port_gives_the_frames_back_to_the_ring),
		EVERY_PORT(FORMATS_IN,
			   frames_that_were_taken_come_back_before_the_rest),
		EVERY_PORT(FORMATS_IN,
			   a_full_port_is_waited_for_without_a_kick),
		EVERY_PORT(
			FORMATS_IN,
			frames_dropped_beside_a_blocked_one_are_counted_once),
		EVERY_PORT(
			FORMATS_IN,
			a_bad_chain_behind_a_blocked_frame_waits_for_its_turn),
		EVERY_PORT(FORMATS_IN,
			   a_refused_frame_is_dropped_and_comes_back),
		EVERY_PORT(FORMATS_IN,
			   a_run_ends_after_256_frames_and_goes_on_by_itself),
		EVERY_PORT(FORMATS_IN, a_run_ends_after_half_a_megabyte),
		FORMATS_IN(mapped,
			   frames_in_guest_memory_are_read_only_for_the_port),
		FORMATS_IN(ram_mapped,
			   frames_in_guest_memory_are_read_only_for_the_port),
		FORMATS_IN(copied, copies_of_frames_are_writable_for_the_port),
		FORMATS_IN(rings_mapped,
			   copies_of_frames_are_writable_for_the_port),
		EVERY_PORT(FORMATS_IN, the_port_gets_its_header_length),
		EVERY_PORT(FORMATS_IN, a_stripped_header_may_be_in_pieces),
		EVERY_PORT(SPLIT_IN,
			   a_chain_no_longer_than_a_stripped_header_is_skipped),
		EVERY_PORT(FORMATS_IN, a_received_frame_has_the_guests_header),
		EVERY_PORT(FORMATS_IN, a_frame_comes_in),
		EVERY_PORT(FORMATS_IN, a_buffer_in_pieces_is_filled_in_order),
		EVERY_PORT(FORMATS_IN, the_ports_header_fills_the_first_pieces),
		EVERY_PORT(FORMATS_IN, a_long_frame_takes_several_buffers),
		EVERY_PORT(FORMATS_IN,
			   mergeable_buffers_are_filled_one_after_the_other),
		EVERY_PORT(FORMATS_IN,
			   the_count_of_buffers_may_lie_across_two_buffers),
		EVERY_PORT(FORMATS_IN,
			   a_starved_ring_keeps_the_frame_for_later),
		EVERY_PORT(FORMATS_IN,
			   a_starved_ring_goes_on_when_buffers_come),
		EVERY_PORT(FORMATS_IN, a_frame_waits_for_enough_buffers),
		EVERY_PORT(FORMATS_IN,
			   buffers_that_arrive_in_steps_make_up_a_frame),
		EVERY_PORT(FORMATS_IN,
			   buffers_that_arrive_without_a_kick_are_found),
		EVERY_PORT(FORMATS_IN,
			   a_frame_too_long_for_its_only_buffer_is_dropped),
		EVERY_MODE(FORMATS_IN, a_frame_longer_than_any_is_dropped),
		EVERY_MODE(FORMATS_IN,
			   a_frame_shorter_than_its_header_is_dropped),
		EVERY_PORT(FORMATS_IN, the_longest_frame_comes_in),
		EVERY_PORT(FORMATS_IN, a_frame_may_fill_1024_buffers),
		EVERY_PORT(
			FORMATS_IN,
			a_frame_that_needs_more_than_1024_buffers_is_dropped),
		EVERY_PORT(
			FORMATS_IN,
			a_frame_that_needs_more_pieces_than_a_batch_is_dropped),
		EVERY_PORT(SPLIT_IN,
			   a_receive_chain_with_a_readable_part_is_skipped),
		EVERY_PORT(SPLIT_IN,
			   a_receive_chain_with_both_parts_is_skipped),
		EVERY_PORT(SPLIT_IN, an_empty_receive_chain_is_skipped),
		EVERY_PORT(SPLIT_IN,
			   frames_before_a_bad_receive_chain_are_delivered),
		EVERY_PORT(SPLIT_IN,
			   a_bad_chain_within_a_frame_costs_its_first_chain),
		EVERY_PORT(PACKED_IN, a_bad_receive_chain_stays),
		EVERY_PORT(FORMATS_IN,
			   a_broken_chain_within_a_frame_stops_the_ring),
		EVERY_PORT(FORMATS_IN, a_burst_comes_in_as_a_batch),
		FORMATS_IN(copied,
			   an_unreadable_frame_is_dropped_and_comes_back),
		FORMATS_IN(rings_mapped,
			   an_unreadable_frame_is_dropped_and_comes_back),
		FORMATS_IN(copied, a_frame_with_an_unreadable_piece_is_dropped),
		FORMATS_IN(rings_mapped,
			   a_frame_with_an_unreadable_piece_is_dropped),
		FORMATS_IN(copied,
			   a_frame_for_an_unwritable_buffer_is_lost_alone),
		FORMATS_IN(rings_mapped,
			   a_frame_for_an_unwritable_buffer_is_lost_alone),
		FORMATS_IN(
			copied,
			one_unwritable_buffer_is_one_error_among_dropped_frames),
		FORMATS_IN(
			rings_mapped,
			one_unwritable_buffer_is_one_error_among_dropped_frames),
		FORMATS_IN(mapped,
			   a_truncated_file_stops_both_rings_until_a_new_table),
		FORMATS_IN(rings_mapped,
			   a_truncated_file_stops_both_rings_until_a_new_table),
		IN(mapped, a_truncated_file_does_not_affect_other_devices),
		FORMATS_IN(child, an_owner_that_is_gone_stops_the_ring),
		EVERY_MODE(FORMATS_IN, a_held_frame_survives_a_pause),
		EVERY_MODE(FORMATS_IN, a_held_frame_is_not_for_another_backend),
		EVERY_MODE(FORMATS_IN,
			   a_held_frame_is_dropped_with_its_header_length),
		IN(mapped,
		   a_held_frame_does_not_keep_a_dead_owners_backend_open),
		IN(mapped,
		   a_held_frame_does_not_keep_a_backend_open_after_a_reset),
		IN(borrowed,
		   a_frame_that_was_borrowed_survives_pause_and_reset),
		IN(borrowed_copied,
		   a_frame_that_was_borrowed_survives_pause_and_reset),
		EVERY_PORT(FORMATS_IN, frames_on_the_wire_survive_a_pause),
		EVERY_PORT(FORMATS_IN, a_stopped_ring_goes_on_where_it_was),
		EVERY_PORT(PACKED_IN, a_packed_ring_goes_on_from_its_base),
		EVERY_PORT(FORMATS_IN, pages_written_are_logged_and_no_others),
		EVERY_PORT(FORMATS_IN, mergeable_buffers_are_logged_each),
		EVERY_PORT(FORMATS_IN, pieces_of_a_buffer_are_logged_each),
		EVERY_PORT(FORMATS_IN, transmitting_logs_nothing),
		EVERY_PORT(PACKED_IN, the_log_has_no_page_of_a_packed_ring),
		EVERY_PORT(IN, a_null_port_takes_and_makes_frames),
	};

	return cmocka_run_group_tests_name("virtio_net", tests, NULL, NULL);
}
