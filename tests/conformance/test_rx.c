/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_rx.c tests frames to the guest: buffers of every layout, too few of
 * them, and too small ones.
 */
#include "rig.h"

#include <stdlib.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <linux/if_ether.h>
#include <linux/if_tun.h>

#define V1 (&(struct rig_config){ 0 })
#define MERGEABLE (&(struct rig_config){ .vmm.features = F_V1 | F_MRG })

static unsigned int num_buffers(const uint8_t *hdr)
{
	return hdr[10] | hdr[11] << 8;
}

static void one_frame_fills_one_buffer(void **state)
{
	struct rig *r = rig_open(V1);
	static const uint8_t zeros[10];
	const uint8_t *p;
	unsigned int i;

	(void)state;
	rig_add_rx(r, 2000, 0);
	rig_go(r, VMM_RX);
	rig_inject(r, 100, 1);
	check_ret(vmm_wait_event(r->v->q[VMM_RX].call, CONF_MS), 0);
	rig_got(r, 100, 1);
	p = rig_ptr(r, rig_slot(r, 0));
	assert_memory_equal(p, zeros, 10);
	for (i = 112; i < 2000; i++)
		assert_int_equal(p[i], 0xa5);
	assert_int_equal(rig_base(r, VMM_RX), 1);
	rig_no_err(r, VMM_RX);
	rig_close(r);
}

static void num_buffers_without_mergeable(void **state)
{
	struct rig *r = rig_open(V1);

	(void)state;
	rig_rx(r, 100, 1);
	assert_int_equal(num_buffers(rig_ptr(r, rig_slot(r, 1))),
			 conf_expect("num_buffers without MRG_RXBUF", 0xa5a5));
	rig_close(r);
}

static void frame_is_spread_over_mergeable_buffers(void **state)
{
	struct rig *r = rig_open(MERGEABLE);
	struct vmm_used used[2];
	uint8_t frame[100];
	const uint8_t *a, *b;

	(void)state;
	rig_add_rx(r, 64, 0);
	rig_add_rx(r, 64, 1);
	rig_add_rx(r, 64, 2);
	rig_go(r, VMM_RX);
	rig_inject(r, 100, 1);
	rig_reap(r, VMM_RX, 2, used);
	assert_int_equal(used[0].len, 64);
	assert_int_equal(used[1].len, 48);
	a = used[0].token;
	b = used[1].token;
	assert_int_equal(num_buffers(a), 2);
	memcpy(frame, a + 12, 52);
	memcpy(frame + 52, b, 48);
	assert_true(vmm_frame_is(frame, 100, 1));
	assert_int_equal(b[48], 0xa5);
	assert_int_equal(rig_base(r, VMM_RX), 2);
	rig_close(r);
}

static void mergeable_frame_in_one_buffer_counts_1(void **state)
{
	struct rig *r = rig_open(MERGEABLE);

	(void)state;
	rig_rx(r, 300, 5);
	assert_int_equal(num_buffers(rig_ptr(r, rig_slot(r, 5))), 1);
	rig_close(r);
}

/* The header may be split over buffers, too. */
static void header_is_split_over_mergeable_buffers(void **state)
{
	struct rig *r = rig_open(MERGEABLE);
	static struct vmm_used used[32];
	uint8_t bytes[12 + 60];
	unsigned int i;

	(void)state;
	for (i = 0; i < 15; i++)
		rig_add_rx(r, 5, i);
	rig_go(r, VMM_RX);
	rig_inject(r, 60, 1);
	rig_reap(r, VMM_RX, 15, used);
	for (i = 0; i < 15; i++) {
		assert_int_equal(used[i].len, i < 14 ? 5 : 2);
		memcpy(bytes + 5 * i, used[i].token, used[i].len);
	}
	assert_int_equal(num_buffers(bytes), 15);
	assert_true(vmm_frame_is(bytes + 12, 60, 1));
	rig_close(r);
}

static void receive_cut(struct rig *r, size_t len, const size_t *size,
			unsigned int n, bool indirect)
{
	static uint8_t bytes[4096];
	struct vmm_seg seg[16];
	struct vmm_used used;
	size_t at = 0;
	unsigned int i;

	for (i = 0; i < n; i++)
		seg[i] = (struct vmm_seg){ .addr = rig_alloc(r, size[i] + 1, 1),
					   .len = (uint32_t)size[i],
					   .write = true };
	if (indirect) {
		uint64_t table = rig_alloc(r, 16 * n, 16);

		check_ok(vmm_ring_add_indirect(
			rig_ring(r, VMM_RX), seg, n,
			(struct vring_desc *)(void *)rig_ptr(r, table), table,
			NULL));
	} else {
		check_ok(vmm_ring_add(rig_ring(r, VMM_RX), seg, n, NULL));
	}
	rig_go(r, VMM_RX);
	rig_inject(r, len, n);
	rig_reap(r, VMM_RX, 1, &used);
	assert_int_equal(used.len, 12 + len);
	for (i = 0; i < n && at < used.len; i++) {
		memcpy(bytes + at, rig_ptr(r, seg[i].addr), size[i]);
		at += size[i];
	}
	assert_true(vmm_frame_is(bytes + 12, len, n));
}

static void any_layout_is_filled(void **state)
{
	struct rig *r = rig_open(
		&(struct rig_config){ .vmm.features = F_V1 | F_INDIRECT });
	static const size_t header_alone[] = { 12, 1600 };
	static const size_t in_header[] = { 5, 6, 1600 };
	static const size_t odd[] = { 1, 0, 3, 0, 27, 13, 100, 1500 };
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		receive_cut(r, 500, header_alone, 2, i);
		receive_cut(r, 500, in_header, 3, i);
		receive_cut(r, 500, odd, 8, i);
		receive_cut(r, 14, odd, 8, i);
	}
	rig_no_err(r, VMM_RX);
	rig_close(r);
}

static void frames_of_a_burst_arrive_in_order(void **state)
{
	struct rig *r = rig_open(V1);
	unsigned int i;

	(void)state;
	for (i = 0; i < 200; i++)
		rig_add_rx(r, 2048, i);
	rig_go(r, VMM_RX);
	for (i = 0; i < 200; i++)
		rig_inject(r, 60 + i, i);
	for (i = 0; i < 200; i++)
		rig_got(r, 60 + i, i);
	rig_close(r);
}

static void big_frames_arrive(void **state)
{
	static const size_t sizes[] = { 1514, 4000, 9014, 65000, 65535 };
	struct rig *r = rig_open(&(struct rig_config){
		.vmm.features = F_V1 | F_MRG, .tap.mtu = 65521 });
	static struct vmm_used used[64];
	static uint8_t bytes[70000];
	unsigned int i, k, n;

	(void)state;
	for (i = 0; i < 5; i++) {
		n = (unsigned int)((sizes[i] + 12 + 2047) / 2048);
		for (k = 0; k < n; k++)
			rig_add_rx(r, 2048, k);
		rig_go(r, VMM_RX);
		rig_inject(r, sizes[i], i);
		rig_reap(r, VMM_RX, n, used);
		for (k = 0; k < n; k++)
			memcpy(bytes + (size_t)2048 * k, used[k].token,
			       used[k].len);
		assert_int_equal(num_buffers(bytes), n);
		assert_true(vmm_frame_is(bytes + 12, sizes[i], i));
	}
	rig_close(r);
}

static void gso_frame_and_header_arrive_as_they_are(void **state)
{
	struct rig *r = rig_open(&(struct rig_config){
		.tap.offloads = TUN_F_CSUM | TUN_F_TSO4 });
	struct virtio_net_hdr h = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = 54,
		.gso_size = 1000,
		.csum_start = 34,
		.csum_offset = 16,
	};
	static const uint8_t ip[] = { 0x45, 0,  0x13, 0x7a, 0,    1,  0,
				      0,    64, 6,    0x4f, 0x7c, 10, 0,
				      0,    1,  10,   0,    0,    2 };
	static uint8_t frame[10 + 5000];
	int s = check_ok(vmm_packet_open(r->ifname, ETH_P_IP, true));
	uint64_t gpa = rig_alloc(r, 6000, 8);
	struct vmm_seg seg = { .addr = gpa, .len = 6000, .write = true };
	struct virtio_net_hdr seen;
	struct vmm_used used;

	(void)state;
	check_ok(vmm_ring_add(rig_ring(r, VMM_RX), &seg, 1, NULL));
	rig_go(r, VMM_RX);
	memcpy(frame, &h, sizeof(h));
	vmm_frame(frame + 10, 5000, 7);
	frame[10 + 12] = 0x08;
	frame[10 + 13] = 0x00;
	memcpy(frame + 10 + 14, ip, sizeof(ip));
	frame[10 + 46] = 0x50;
	frame[10 + 47] = 0x10;
	check_ret(send(s, frame, sizeof(frame), 0), sizeof(frame));
	rig_reap(r, VMM_RX, 1, &used);
	assert_int_equal(used.len, 12 + 5000);
	memcpy(&seen, rig_ptr(r, gpa), sizeof(seen));
	assert_int_equal(seen.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM,
			 VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(seen.gso_type, h.gso_type);
	assert_int_equal(seen.gso_size, h.gso_size);
	assert_int_equal(seen.csum_start, h.csum_start);
	assert_int_equal(seen.csum_offset, h.csum_offset);
	assert_memory_equal(rig_ptr(r, gpa + 12), frame + 10, 5000);
	close(s);
	rig_close(r);
}

/* ---- too few buffers: the frame waits ---- */

static void frames_wait_for_buffers(void **state)
{
	struct rig *r = rig_open(V1);
	unsigned int i;

	(void)state;
	for (i = 0; i < 5; i++)
		rig_inject(r, 100 + i, i);
	rig_not_seen(r); /* lets the device look at them */
	for (i = 0; i < 5; i++) {
		rig_add_rx(r, 2048, i);
		rig_go(r, VMM_RX);
		rig_got(r, 100 + i, i);
	}
	rig_used_is(r, VMM_RX, 0);
	rig_close(r);
}

static void mergeable_frame_waits_for_enough_buffers(void **state)
{
	struct rig *r = rig_open(MERGEABLE);
	struct vmm_used used[4];

	(void)state;
	rig_add_rx(r, 64, 0);
	rig_go(r, VMM_RX);
	rig_inject(r, 200, 1);
	conf_quiet(r->v, r->v->q[VMM_RX].call);
	rig_used_is(r, VMM_RX, 0);
	assert_int_equal(rig_base(r, VMM_RX), 0);

	rig_add_rx(r, 64, 1);
	rig_add_rx(r, 64, 2);
	rig_go(r, VMM_RX);
	conf_quiet(r->v, r->v->q[VMM_RX].call);
	rig_used_is(r, VMM_RX, 0);

	rig_add_rx(r, 64, 3);
	rig_go(r, VMM_RX);
	rig_reap(r, VMM_RX, 4, used);
	assert_int_equal(num_buffers(used[0].token), 4);
	assert_int_equal(used[3].len, 12 + 200 - 3 * 64);
	rig_no_err(r, VMM_RX);
	rig_close(r);
}

/* ---- too small: the frame is dropped, the buffer stays ---- */

static void frame_too_long_for_the_buffer_is_dropped(void **state)
{
	struct rig *r = rig_open(V1);

	(void)state;
	rig_add_rx(r, 100, 0);
	rig_go(r, VMM_RX);
	rig_inject(r, 89, 1); /* one byte too many */
	rig_inject(r, 500, 2);
	rig_inject(r, 88, 3); /* fits exactly */
	rig_got(r, 88, 3);
	assert_int_equal(rig_base(r, VMM_RX), 1);
	rig_used_is(r, VMM_RX, 0);
	rig_no_err(r, VMM_RX);
	rig_close(r);
}

static void frame_for_more_than_1024_buffers_is_dropped(void **state)
{
	struct rig *r = rig_open(&(struct rig_config){
		.vmm.features = F_V1 | F_MRG, .vmm.num = { 2048, 256 } });
	static struct vmm_used used[1024];
	struct vmm_seg seg = { .addr = rig_slot(r, 0),
			       .len = 1,
			       .write = true };
	unsigned int i;

	(void)state;
	for (i = 0; i < 2048; i++)
		check_ok(vmm_ring_add(rig_ring(r, VMM_RX), &seg, 1, NULL));
	rig_go(r, VMM_RX);
	rig_inject(r, 1013, 1); /* 1025 bytes with header */
	rig_inject(r, 1012, 2);
	rig_reap(r, VMM_RX, 1024, used);
	assert_int_equal(rig_base(r, VMM_RX), 1024);
	rig_used_is(r, VMM_RX, 0);
	rig_no_err(r, VMM_RX);
	rig_close(r);
}

/* ---- bad chains are skipped ---- */

static void chain_with_a_readable_part_is_skipped(void **state)
{
	struct rig *r = rig_open(V1);
	struct vmm_seg seg = { .addr = rig_slot(r, 0), .len = 2000 };

	(void)state;
	check_ok(vmm_ring_add(rig_ring(r, VMM_RX), &seg, 1, NULL));
	rig_go(r, VMM_RX);
	rig_inject(r, 100, 1);
	assert_int_equal(rig_err(r, VMM_RX), 1);
	assert_int_equal(rig_base(r, VMM_RX), 1);
	rig_used_is(r, VMM_RX, 0);

	rig_add_rx(r, 2000, 1);
	vmm_ring_publish(rig_ring(r, VMM_RX));
	vmm_kick(r->v, VMM_RX);
	rig_got(r, 100, 1);
	assert_int_equal(rig_base(r, VMM_RX), 2);
	rig_close(r);
}

/*
 * The second of two buffers is bad: the first run goes back by one entry, which
 * is the bad one, and the next run skips that: the good one is lost with it.
 */
static void bad_second_buffer_takes_the_first_along(void **state)
{
	struct rig *r = rig_open(MERGEABLE);
	struct vmm_seg bad = { .addr = rig_slot(r, 9), .len = 64 };

	(void)state;
	rig_add_rx(r, 64, 0);
	check_ok(vmm_ring_add(rig_ring(r, VMM_RX), &bad, 1, NULL));
	rig_go(r, VMM_RX);
	rig_inject(r, 100, 1);
	check_ret(vmm_wait_event(r->v->q[VMM_RX].err, CONF_MS), 0);
	vmm_kick(r->v, VMM_RX); /* the kernel goes on without */
	check_ret(vmm_wait_base(r->v, VMM_RX, 2, CONF_MS), 0);
	assert_int_equal(rig_err(r, VMM_RX), 2);
	rig_used_is(r, VMM_RX, 0);

	rig_add_rx(r, 2000, 1);
	vmm_ring_publish(rig_ring(r, VMM_RX));
	vmm_kick(r->v, VMM_RX);
	rig_got(r, 100, 1);
	rig_close(r);
}

/* ---- headers and backends ---- */

static void legacy_header_has_10_bytes(void **state)
{
	struct rig *r =
		rig_open(&(struct rig_config){ .vmm.features = F_INDIRECT });

	(void)state;
	assert_int_equal(r->v->hdr_len, 10);
	rig_rx(r, 100, 1);
	rig_rx(r, 1500, 2);
	rig_close(r);
}

static void legacy_mergeable_header_has_12_bytes(void **state)
{
	struct rig *r = rig_open(&(struct rig_config){ .vmm.features = F_MRG });

	(void)state;
	assert_int_equal(r->v->hdr_len, 12);
	rig_rx(r, 100, 1);
	assert_int_equal(num_buffers(rig_ptr(r, rig_slot(r, 1))), 1);
	rig_close(r);
}

static void bit_27_supplies_the_header(void **state)
{
	static const uint64_t features[] = { F_V1 | F_MRG, F_V1, F_INDIRECT };
	static const uint8_t zeros[10];
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		struct rig *r = rig_open(&(struct rig_config){
			.vmm.features = features[i] | F_NET_HDR });
		const uint8_t *p = rig_ptr(r, rig_slot(r, 1));

		rig_rx(r, 100, 1);
		assert_memory_equal(p, zeros, 10);
		if (i == 0)
			assert_int_equal(num_buffers(p), 1);
		rig_rx(r, 1000, 2);
		rig_close(r);
	}
}

/* A tap whose header is not the one that the features say: the frame is lost,
 * and its buffer serves the next. */
static void frames_of_a_tap_with_another_header_are_lost(void **state)
{
	static const struct {
		uint64_t features;
		int tap;
	} rows[] = {
		{ F_INDIRECT, -1 },
		{ F_INDIRECT, 12 },
		{ F_MRG, 10 },
		{ F_V1, -1 },
		{ F_V1, 10 },
		{ F_V1 | F_MRG, 10 },
		{ F_INDIRECT | F_NET_HDR, 10 },
		{ F_V1 | F_NET_HDR, 12 },
		{ F_V1 | F_MRG | F_NET_HDR, 12 },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig *r;
		int hdr_len;

		if (rows[i].features & F_NET_HDR &&
		    !conf_expect("bit 27 is the header", 1))
			continue;
		r = rig_open(&(struct rig_config){
			.vmm.features = rows[i].features,
			.tap = { .hdr_len = rows[i].tap, .sndbuf = 1 << 20 } });
		hdr_len =
			rows[i].features & F_NET_HDR ? -1 : (int)r->v->hdr_len;
		rig_add_rx(r, 2000, 0);
		rig_go(r, VMM_RX);
		rig_inject(r, 100, 1);
		conf_quiet(r->v, r->v->q[VMM_RX].call);
		rig_used_is(r, VMM_RX, 0);
		assert_int_equal(rig_base(r, VMM_RX), 0);
		/* the VMM corrects it */
		if (hdr_len > 0 && rows[i].tap > 0) {
			check_ok(ioctl(r->backend, TUNSETVNETHDRSZ, &hdr_len));
			rig_inject(r, 100, 2);
			rig_got(r, 100, 2);
		}
		rig_no_err(r, VMM_RX);
		rig_close(r);
	}
}

static void frames_of_a_packet_socket_without_header_are_lost(void **state)
{
	struct rig *r = rig_open(&(struct rig_config){
		.backend = RIG_PACKET, .vmm.features = F_V1 | F_MRG });

	(void)state;
	rig_add_rx(r, 2000, 0);
	rig_go(r, VMM_RX);
	rig_inject(r, 100, 1);
	conf_quiet(r->v, r->v->q[VMM_RX].call);
	rig_used_is(r, VMM_RX, 0);
	assert_int_equal(rig_base(r, VMM_RX), 0);
	rig_no_err(r, VMM_RX);
	rig_close(r);
}

static void packet_socket_receives(void **state)
{
	struct rig *r = rig_open(&(struct rig_config){
		.backend = RIG_PACKET,
		.vmm.features = F_V1 | F_MRG | F_NET_HDR });
	unsigned int i;

	(void)state;
	for (i = 0; i < 20; i++)
		rig_rx(r, 60 + 70 * i, i);
	rig_close(r);
}

static void packet_socket_frames_wait_for_buffers(void **state)
{
	struct rig *r = rig_open(&(struct rig_config){
		.backend = RIG_PACKET, .vmm.features = F_V1 | F_NET_HDR });
	unsigned int i;

	(void)state;
	for (i = 0; i < 5; i++)
		rig_inject(r, 100 + i, i);
	conf_settle(r->v);
	for (i = 0; i < 5; i++)
		rig_add_rx(r, i == 2 ? 50 : 2048, i);
	rig_go(r, VMM_RX);
	rig_got(r, 100, 0);
	rig_got(r, 101, 1);
	/* too small for any of the others */
	rig_used_is(r, VMM_RX, 0);
	rig_close(r);
}

static void macvtap_receives(void **state)
{
	struct rig *r = rig_open(&(struct rig_config){
		.backend = RIG_MACVTAP, .vmm.features = F_INDIRECT });

	(void)state;
	rig_rx(r, 200, 1);
	rig_rx(r, 1000, 2);
	rig_close(r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(one_frame_fills_one_buffer),
	cmocka_unit_test(num_buffers_without_mergeable),
	cmocka_unit_test(frame_is_spread_over_mergeable_buffers),
	cmocka_unit_test(mergeable_frame_in_one_buffer_counts_1),
	cmocka_unit_test(header_is_split_over_mergeable_buffers),
	cmocka_unit_test(any_layout_is_filled),
	cmocka_unit_test(frames_of_a_burst_arrive_in_order),
	cmocka_unit_test(big_frames_arrive),
	cmocka_unit_test(gso_frame_and_header_arrive_as_they_are),
	cmocka_unit_test(frames_wait_for_buffers),
	cmocka_unit_test(mergeable_frame_waits_for_enough_buffers),
	cmocka_unit_test(frame_too_long_for_the_buffer_is_dropped),
	cmocka_unit_test(frame_for_more_than_1024_buffers_is_dropped),
	cmocka_unit_test(chain_with_a_readable_part_is_skipped),
	cmocka_unit_test(bad_second_buffer_takes_the_first_along),
	cmocka_unit_test(legacy_header_has_10_bytes),
	cmocka_unit_test(legacy_mergeable_header_has_12_bytes),
	cmocka_unit_test(bit_27_supplies_the_header),
	cmocka_unit_test(frames_of_a_tap_with_another_header_are_lost),
	cmocka_unit_test(frames_of_a_packet_socket_without_header_are_lost),
	cmocka_unit_test(packet_socket_receives),
	cmocka_unit_test(packet_socket_frames_wait_for_buffers),
	cmocka_unit_test(macvtap_receives),
};

int main(int argc, char **argv)
{
	return conf_main("rx", tests, sizeof(tests) / sizeof(tests[0]), argc,
			 argv);
}
