/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_tx.c tests frames from the guest: chains of every layout, and chains
 * that are dropped or retried.
 */
#include "rig.h"

#include <stdlib.h>
#include <unistd.h>

#include <linux/if_ether.h>
#include <linux/if_tun.h>

#define V1 (&(struct rig_config){ 0 })

static void one_frame_is_sent_and_used_with_length_0(void **state)
{
	struct rig *r = rig_open(V1);
	struct vmm_used used;

	(void)state;
	rig_add_tx(r, 100, 1);
	rig_go(r, VMM_TX);
	rig_seen(r, 100, 1);
	check_ret(vmm_wait_event(r->v->q[VMM_TX].call, CONF_MS), 0);
	rig_used_is(r, VMM_TX, 1);
	rig_reap(r, VMM_TX, 1, &used);
	assert_int_equal(used.head, 0);
	assert_int_equal(used.len, 0);
	assert_int_equal(rig_base(r, VMM_TX), 1);
	rig_no_err(r, VMM_TX);
	rig_close(r);
}

/* A frame of @len bytes cut into @n descriptors at the given places. */
static void send_cut(struct rig *r, size_t len, const size_t *cut,
		     unsigned int n, bool indirect)
{
	static struct vmm_seg seg[1024];
	uint64_t gpa = rig_alloc(r, len + 64, 1);
	size_t total = r->v->hdr_len + len;
	size_t at = 0;
	unsigned int i;

	rig_fill(r, gpa, len, n);
	for (i = 0; i < n; i++) {
		size_t end = i < n - 1 ? cut[i] : total;

		seg[i] = (struct vmm_seg){ .addr = gpa + at,
					   .len = (uint32_t)(end - at) };
		at = end;
	}
	rig_tx_chain(r, seg, n, indirect ? rig_alloc(r, 16 * n, 16) : 0, len,
		     n);
}

static void any_layout_is_sent(void **state)
{
	struct rig *r = rig_open(
		&(struct rig_config){ .vmm.features = F_V1 | F_INDIRECT });
	static const size_t header_alone[] = { 12 };
	static const size_t in_header[] = { 5, 11 };
	static const size_t empty[] = { 0, 12, 12, 12, 20 };
	static const size_t odd[] = { 1, 2, 3, 14, 27, 400, 401 };
	size_t bytes[255];
	unsigned int i;

	(void)state;
	for (i = 0; i < 255; i++)
		bytes[i] = i + 1;
	for (i = 0; i < 2; i++) {
		send_cut(r, 500, NULL, 1, i);
		send_cut(r, 500, header_alone, 2, i);
		send_cut(r, 500, in_header, 3, i);
		send_cut(r, 500, empty, 6, i);
		send_cut(r, 500, odd, 8, i);
		send_cut(r, 500, bytes, 256, i);
	}
	rig_no_err(r, VMM_TX);
	rig_close(r);
}

static void indirect_table_longer_than_the_ring_is_sent(void **state)
{
	struct rig *r = rig_open(&(struct rig_config){
		.vmm.features = F_V1 | F_INDIRECT, .vmm.num = { 4, 4 } });
	size_t cut[1023];
	unsigned int i;

	(void)state;
	for (i = 0; i < 1023; i++)
		cut[i] = i + 1;
	send_cut(r, 1200, cut, 1024, true);
	rig_close(r);
}

static void chain_goes_on_after_an_indirect_table(void **state)
{
	struct rig *r = rig_open(
		&(struct rig_config){ .vmm.features = F_V1 | F_INDIRECT });
	struct vmm_ring *ring = rig_ring(r, VMM_TX);
	uint64_t gpa = rig_slot(r, 0);
	uint64_t table = rig_alloc(r, 32, 16);
	struct vring_desc *t = (struct vring_desc *)(void *)rig_ptr(r, table);

	(void)state;
	rig_fill(r, gpa, 200, 3);
	vmm_ring_set_desc(ring, &t[0], gpa, 12, VRING_DESC_F_NEXT, 1);
	vmm_ring_set_desc(ring, &t[1], gpa + 12, 50, 0, 0);
	vmm_ring_set_desc(ring, &ring->desc[0], table, 32,
			  VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1);
	vmm_ring_set_desc(ring, &ring->desc[1], gpa + 62, 150, 0, 0);
	vmm_ring_add_raw(ring, 0);
	rig_go(r, VMM_TX);
	rig_seen(r, 200, 3);
	rig_close(r);
}

static void unknown_descriptor_flags_are_ignored(void **state)
{
	struct rig *r = rig_open(V1);
	struct vmm_ring *ring = rig_ring(r, VMM_TX);

	(void)state;
	rig_add_tx(r, 80, 1);
	ring->desc[0].flags = 0xfff8;
	rig_go(r, VMM_TX);
	rig_seen(r, 80, 1);
	rig_close(r);
}

static void frames_of_a_burst_arrive_in_order(void **state)
{
	static struct vmm_used used[256];
	struct rig *r = rig_open(V1);
	unsigned int i;

	(void)state;
	for (i = 0; i < 200; i++)
		rig_add_tx(r, 60 + i, i);
	rig_go(r, VMM_TX);
	for (i = 0; i < 200; i++)
		rig_seen(r, 60 + i, i);
	rig_reap(r, VMM_TX, 200, used);
	for (i = 0; i < 200; i++)
		assert_int_equal(used[i].head, i);
	rig_close(r);
}

static void big_frames_are_sent(void **state)
{
	static const size_t sizes[] = { 1514, 4000, 9014, 65000, 65535 };
	struct rig *r = rig_open(&(struct rig_config){ .tap.mtu = 65521 });
	unsigned int i;

	(void)state;
	for (i = 0; i < 5; i++) {
		static const size_t cut[] = { 12, 4096 };

		send_cut(r, sizes[i], cut, sizes[i] > 4096 ? 3 : 2, false);
	}
	rig_close(r);
}

static void small_sndbuf_sends_all_the_same(void **state)
{
	struct rig *r = rig_open(&(struct rig_config){ .tap.sndbuf = 1 << 20 });
	unsigned int i;

	(void)state;
	for (i = 0; i < 50; i++)
		rig_tx(r, 60 + 10 * i, i);
	rig_close(r);
}

/* Ethernet, IPv4 and TCP headers, checksum left to the receiver. */
static void make_tcp(uint8_t *f, size_t len)
{
	static const uint8_t ip[] = { 0x45, 0, 0,  0, 0, 1, 0,  0, 64, 6,
				      0,    0, 10, 0, 0, 1, 10, 0, 0,  2 };
	uint16_t total = (uint16_t)(len - 14);
	uint32_t sum = 0;
	unsigned int i;

	vmm_frame(f, len, 99);
	f[12] = 0x08;
	f[13] = 0x00;
	memcpy(f + 14, ip, sizeof(ip));
	f[16] = (uint8_t)(total >> 8);
	f[17] = (uint8_t)total;
	for (i = 0; i < 20; i += 2)
		sum += (uint32_t)f[14 + i] << 8 | f[15 + i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~((sum & 0xffff) + (sum >> 16));
	f[24] = (uint8_t)(sum >> 8);
	f[25] = (uint8_t)sum;
	f[46] = 0x50; /* data offset 5 */
	f[47] = 0x10; /* ACK */
}

static const struct virtio_net_hdr gso_header = {
	.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
	.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
	.hdr_len = 54,
	.gso_size = 1000,
	.csum_start = 34,
	.csum_offset = 16,
};

static void gso_frame_and_header_are_passed_as_they_are(void **state)
{
	struct rig *r = rig_open(V1);
	static uint8_t buf[10000];
	struct virtio_net_hdr seen;
	uint64_t gpa = rig_alloc(r, 5100, 8);
	struct vmm_seg seg = { .addr = gpa, .len = 12 + 5000 };
	uint8_t *p = rig_ptr(r, gpa);
	int s = check_ok(vmm_packet_open(r->ifname, ETH_P_IP, true));

	(void)state;
	memset(p, 0, 12);
	memcpy(p, &gso_header, sizeof(gso_header));
	make_tcp(p + 12, 5000);
	check_ok(vmm_ring_add(rig_ring(r, VMM_TX), &seg, 1, NULL));
	rig_go(r, VMM_TX);
	check_ret(vmm_packet_recv(s, buf, sizeof(buf), CONF_MS), 10 + 5000);
	memcpy(&seen, buf, sizeof(seen));
	assert_int_equal(seen.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM,
			 VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(seen.gso_type, gso_header.gso_type);
	assert_int_equal(seen.gso_size, gso_header.gso_size);
	assert_int_equal(seen.csum_start, gso_header.csum_start);
	assert_int_equal(seen.csum_offset, gso_header.csum_offset);
	assert_memory_equal(buf + 10, p + 12, 5000);
	close(s);
	rig_close(r);
}

/* ---- what is dropped: used all the same ---- */

static void send_raw(struct rig *r, uint32_t len)
{
	struct vmm_seg seg = { .addr = rig_slot(r, 0), .len = len };

	rig_fill(r, seg.addr, 1000, 0);
	check_ok(vmm_ring_add(rig_ring(r, VMM_TX), &seg, 1, NULL));
	rig_go(r, VMM_TX);
}

static void dropped_and_used(struct rig *r)
{
	struct vmm_used used;

	rig_reap(r, VMM_TX, 1, &used);
	assert_int_equal(used.len, 0);
	rig_no_err(r, VMM_TX);
}

static void runts_are_dropped(void **state)
{
	static const int sndbufs[] = { 0, 1 << 20 };
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct rig *r = rig_open(
			&(struct rig_config){ .tap.sndbuf = sndbufs[i] });

		send_raw(r, 12); /* header alone */
		dropped_and_used(r);
		send_raw(r, 12 + 5);
		dropped_and_used(r);
		send_raw(r, 12 + 13);
		dropped_and_used(r);
		rig_tx(r, 14, 7); /* the shortest */
		rig_close(r);
	}
}

static void frames_are_dropped_while_the_link_is_down(void **state)
{
	struct rig *r = rig_open(&(struct rig_config){ .tap.down = true });

	(void)state;
	send_raw(r, 12 + 100);
	dropped_and_used(r);
	check_ret(vmm_link_set(r->ifname, true), 0);
	rig_tx(r, 100, 1);
	rig_close(r);
}

static void malformed_net_header_is_dropped(void **state)
{
	struct rig *r = rig_open(&(struct rig_config){ .tap.sndbuf = 1 << 20 });
	struct vmm_seg seg = { .addr = rig_slot(r, 0), .len = 12 + 200 };
	struct virtio_net_hdr h = gso_header;

	(void)state;
	h.gso_type = 77;
	rig_fill(r, seg.addr, 200, 0);
	memcpy(rig_ptr(r, seg.addr), &h, sizeof(h));
	check_ok(vmm_ring_add(rig_ring(r, VMM_TX), &seg, 1, NULL));
	rig_go(r, VMM_TX);
	dropped_and_used(r);
	rig_tx(r, 100, 1);
	rig_close(r);
}

static void chain_shorter_than_the_header_is_dropped(void **state)
{
	struct rig *r = rig_open(&(struct rig_config){ .tap.sndbuf = 1 << 20 });

	(void)state;
	send_raw(r, 7);
	dropped_and_used(r);
	rig_tx(r, 100, 1);
	rig_close(r);
}

/* The kernel's batched path cannot build the frame and retries without end. */
static void short_chain_on_a_tap_without_sndbuf(void **state)
{
	struct rig *r = rig_open(V1);
	long used = conf_expect("tx short chain without sndbuf", 0);

	(void)state;
	send_raw(r, 7);
	if (used) {
		dropped_and_used(r);
		rig_tx(r, 100, 1);
	} else {
		rig_not_seen(r);
		rig_used_is(r, VMM_TX, 0);
		assert_int_equal(rig_base(r, VMM_TX), 0);
		assert_int_equal(vmm_event_count(r->v->q[VMM_TX].err), 0);
	}
	rig_close(r);
}

static void csum_beyond_the_frame_without_sndbuf(void **state)
{
	struct rig *r = rig_open(V1);
	struct vmm_seg seg = { .addr = rig_slot(r, 0), .len = 12 + 100 };
	struct virtio_net_hdr h = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.csum_start = 200,
		.csum_offset = 16,
	};
	long used = conf_expect("tx csum beyond the frame", 0);

	(void)state;
	rig_fill(r, seg.addr, 100, 0);
	memcpy(rig_ptr(r, seg.addr), &h, sizeof(h));
	check_ok(vmm_ring_add(rig_ring(r, VMM_TX), &seg, 1, NULL));
	rig_go(r, VMM_TX);
	if (used)
		dropped_and_used(r);
	rig_not_seen(r);
	rig_used_is(r, VMM_TX, 0);
	rig_close(r);
}

/* ---- what is skipped: never used, err, and the next kick goes on ---- */

static void chain_with_a_writable_part_is_skipped(void **state)
{
	struct rig *r = rig_open(V1);
	struct vmm_seg seg[2] = {
		{ .addr = rig_slot(r, 0), .len = 12 + 100 },
		{ .addr = rig_slot(r, 1), .len = 10, .write = true },
	};
	struct vmm_used used;

	(void)state;
	rig_fill(r, seg[0].addr, 100, 1);
	check_ok(vmm_ring_add(rig_ring(r, VMM_TX), seg, 2, NULL));
	rig_go(r, VMM_TX);
	assert_int_equal(rig_err(r, VMM_TX), 1);
	assert_int_equal(rig_base(r, VMM_TX), 1);
	rig_used_is(r, VMM_TX, 0);

	rig_add_tx(r, 90, 2);
	vmm_ring_publish(rig_ring(r, VMM_TX));
	vmm_kick(r->v, VMM_TX);
	rig_seen(r, 90, 2);
	rig_reap(r, VMM_TX, 1, &used);
	assert_int_equal(used.head, 2);
	assert_int_equal(rig_base(r, VMM_TX), 2);
	rig_close(r);
}

static void
chain_without_frame_is_skipped_when_vhost_has_the_header(void **state)
{
	struct rig *r = rig_open(
		&(struct rig_config){ .vmm.features = F_V1 | F_NET_HDR });

	(void)state;
	send_raw(r, 12);
	assert_int_equal(rig_err(r, VMM_TX), 1);
	assert_int_equal(rig_base(r, VMM_TX), 1);
	rig_used_is(r, VMM_TX, 0);
	rig_add_tx(r, 100, 1);
	vmm_ring_publish(rig_ring(r, VMM_TX));
	vmm_kick(r->v, VMM_TX);
	rig_seen(r, 100, 1);
	rig_close(r);
}

/* ---- headers and backends ---- */

static void legacy_header_has_10_bytes(void **state)
{
	struct rig *r =
		rig_open(&(struct rig_config){ .vmm.features = F_INDIRECT });

	(void)state;
	assert_int_equal(r->v->hdr_len, 10);
	rig_tx(r, 100, 1);
	rig_tx(r, 1500, 2);
	rig_close(r);
}

static void bit_27_strips_the_header(void **state)
{
	static const uint64_t features[] = { F_V1, F_MRG, F_INDIRECT };
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		struct rig *r = rig_open(&(struct rig_config){
			.vmm.features = features[i] | F_NET_HDR });
		static const size_t cut[] = { 3, 5, 30 };

		rig_tx(r, 100, 1);
		send_cut(r, 700, cut, 4, false);
		rig_close(r);
	}
}

/* ---- a tap whose header is not the one that the features say ---- */

struct header_row {
	const char *name;
	uint64_t features;
	int tap;    /* its header; -1: none */
	int sndbuf; /* 0: no limit */
	int want;   /* bytes of a frame of 100 that get out; -ETIMEDOUT: none */
};

// clang-format off
#define LIMIT (1 << 20)
static const struct header_row header_rows[] = {
{ "tx header 10 on a tap of 12",               F_INDIRECT,                12,     0,     100 },
{ "tx header 12 on a tap of 10, MRG_RXBUF",    F_MRG,                     10,     0,     100 },
{ "tx header 12 on a tap of 10, VERSION_1",    F_V1,                      10,     0,     100 },
{ "tx header 12 on a tap of 10, both",         F_V1 | F_MRG,              10,     0,     100 },
{ "tx header 0 on a tap of 10",                F_INDIRECT | F_NET_HDR,    10,     0,     100 },
{ "tx header 0 on a tap of 12",                F_V1 | F_MRG | F_NET_HDR,  12,     0,     100 },
{ "tx header 10 on a tap of 12, send limit",   F_INDIRECT,                12,     LIMIT, 98 },
{ "tx header 12 on a tap of 10, send limit",   F_V1,                      10,     LIMIT, 102 },
{ "tx header 0 on a tap of 12, send limit",    F_V1 | F_NET_HDR,          12,     LIMIT, -ETIMEDOUT },
{ "tx header 10 on a tap without, send limit", F_INDIRECT,                -1,     LIMIT, 110 },
{ "tx header 12 on a tap without, send limit", F_V1,                      -1,     LIMIT, 112 },
};
// clang-format on

/* From the guest: the kernel sends what the features call the frame, unless the
 * tap has a send limit, when it takes the tap's idea of the header. */
static void tap_has_another_header(void **state)
{
	const struct header_row *row = *state;
	struct rig *r = rig_open(&(struct rig_config){
		.vmm.features = row->features,
		.tap = { .hdr_len = row->tap, .sndbuf = row->sndbuf } });
	int peer = check_ok(vmm_packet_open(r->peer_ifname, ETH_P_ALL, false));
	static uint8_t buf[70000];
	struct vmm_used used;
	long want = conf_expect(row->name, row->want);

	rig_add_tx(r, 100, 1);
	rig_go(r, VMM_TX);
	rig_reap(r, VMM_TX, 1, &used);
	conf_settle(r->v);
	check_ret(
		vmm_packet_recv(peer, buf, sizeof(buf), want < 0 ? 0 : CONF_MS),
		want);
	if (want == 100)
		assert_true(vmm_frame_is(buf, 100, 1));
	rig_no_err(r, VMM_TX);
	close(peer);
	rig_close(r);
}

static void packet_socket_sends(void **state)
{
	struct rig *r = rig_open(&(struct rig_config){
		.backend = RIG_PACKET, .vmm.features = F_V1 | F_NET_HDR });
	unsigned int i;

	(void)state;
	for (i = 0; i < 20; i++)
		rig_tx(r, 60 + 70 * i, i);
	rig_close(r);
}

static void macvtap_sends(void **state)
{
	struct rig *r = rig_open(&(struct rig_config){
		.backend = RIG_MACVTAP, .vmm.features = F_INDIRECT });

	(void)state;
	rig_tx(r, 200, 1);
	rig_tx(r, 1000, 2);
	rig_close(r);
}

static const struct CMUnitTest functions[] = {
	cmocka_unit_test(one_frame_is_sent_and_used_with_length_0),
	cmocka_unit_test(any_layout_is_sent),
	cmocka_unit_test(indirect_table_longer_than_the_ring_is_sent),
	cmocka_unit_test(chain_goes_on_after_an_indirect_table),
	cmocka_unit_test(unknown_descriptor_flags_are_ignored),
	cmocka_unit_test(frames_of_a_burst_arrive_in_order),
	cmocka_unit_test(big_frames_are_sent),
	cmocka_unit_test(small_sndbuf_sends_all_the_same),
	cmocka_unit_test(gso_frame_and_header_are_passed_as_they_are),
	cmocka_unit_test(runts_are_dropped),
	cmocka_unit_test(frames_are_dropped_while_the_link_is_down),
	cmocka_unit_test(malformed_net_header_is_dropped),
	cmocka_unit_test(chain_shorter_than_the_header_is_dropped),
	cmocka_unit_test(short_chain_on_a_tap_without_sndbuf),
	cmocka_unit_test(csum_beyond_the_frame_without_sndbuf),
	cmocka_unit_test(chain_with_a_writable_part_is_skipped),
	cmocka_unit_test(
		chain_without_frame_is_skipped_when_vhost_has_the_header),
	cmocka_unit_test(legacy_header_has_10_bytes),
	cmocka_unit_test(bit_27_strips_the_header),
	cmocka_unit_test(packet_socket_sends),
	cmocka_unit_test(macvtap_sends),
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

int main(int argc, char **argv)
{
	static struct CMUnitTest tests[COUNT(functions) + COUNT(header_rows)];
	size_t n = 0, i;

	for (i = 0; i < COUNT(functions); i++)
		tests[n++] = functions[i];
	for (i = 0; i < COUNT(header_rows); i++)
		tests[n++] = (struct CMUnitTest){
			.name = header_rows[i].name,
			.test_func = tap_has_another_header,
			.initial_state = (void *)(uintptr_t)&header_rows[i],
		};
	return conf_main("tx", tests, n, argc, argv);
}
