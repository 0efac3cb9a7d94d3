/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_netvlan.c tests what a network changes in a frame: VLAN tags, and
 * offloads that the receiver lacks.
 */
#include "netfix.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "netframe.h"

#define ALL_OFFLOADS                                                   \
	(BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) | \
	 BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN))
#define TAG 4
#define MACS 12

struct fixture {
	struct network *n;
	struct station a, b, c, d;
	_Alignas(8) uint8_t frame[FIX_HDR + NETFRAME_MAX];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->n = fix_network();
	*state = f;
	return 0;
}

static int setup_own(void **state)
{
	fix_own = true;
	return setup(state);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct station *s[] = { &f->a, &f->b, &f->c, &f->d };

	for (unsigned int i = 0; i < 4; i++)
		if (s[i]->m)
			fix_leave(s[i]);
	network_free(f->n);
	free(f);
	fix_own = false;
	return 0;
}

static void access_port(struct fixture *f, struct station *s, unsigned int vlan)
{
	struct swport_config c = { .vlan = vlan,
				   .guest_offloads = ALL_OFFLOADS };

	fix_join(f->n, s, &c);
}

static void trunk_port(struct fixture *f, struct station *s,
		       unsigned int native, unsigned int v1, unsigned int v2)
{
	struct swport_config c = { .vlan = native,
				   .guest_offloads = ALL_OFFLOADS };

	c.trunk[v1 / 64] |= BIT(v1 % 64);
	c.trunk[v2 / 64] |= BIT(v2 % 64);
	fix_join(f->n, s, &c);
}

static void insert_tag(uint8_t *frame, size_t *len, uint16_t tci)
{
	uint8_t *at = frame + FIX_HDR + MACS;

	memmove(at + TAG, at, *len - FIX_HDR - MACS);
	at[0] = 0x81;
	at[1] = 0;
	at[2] = (uint8_t)(tci >> 8);
	at[3] = (uint8_t)tci;
	*len += TAG;
}

/* A frame with a tag, sent; what send() says is that it was taken. */
static void say_tagged(struct station *s, uint8_t dst, uint8_t src,
		       uint16_t tci)
{
	uint8_t frame[FIX_HDR + 60 + TAG];
	size_t len = fix_frame(frame, dst, src, 60);

	insert_tag(frame, &len, tci);
	check_ret(fix_send(s, frame, len), 1);
}

/* The frame of fix_say(), and nothing else */
static bool hears_untagged(struct station *s, uint8_t src)
{
	uint8_t want[FIX_HDR + 60];

	if (!fix_recv(s))
		return false;
	fix_frame(want, s->got[FIX_HDR], src, 60);
	memcpy(want + FIX_HDR, s->got + FIX_HDR, 6);
	assert_int_equal(s->len, sizeof(want));
	assert_memory_equal(s->got, want, sizeof(want));
	return true;
}

static bool hears_tagged(struct station *s, uint8_t src, uint16_t tci)
{
	uint8_t want[FIX_HDR + 60 + TAG];
	size_t len;

	if (!fix_recv(s))
		return false;
	len = fix_frame(want, s->got[FIX_HDR], src, 60);
	memcpy(want + FIX_HDR, s->got + FIX_HDR, 6);
	insert_tag(want, &len, tci);
	assert_int_equal(s->len, len);
	assert_memory_equal(s->got, want, len);
	return true;
}

/* ---- VLANs ---- */

static void access_ports_of_two_vlans_are_separate(void **state)
{
	struct fixture *f = *state;

	access_port(f, &f->a, 1);
	access_port(f, &f->b, 1);
	access_port(f, &f->c, 2);
	fix_say(&f->c, 0xff, 3);
	assert_false(fix_recv(&f->a));
	/* Not even when its address is known: in the other VLAN */
	fix_say(&f->a, 3, 1);
	assert_true(hears_untagged(&f->b, 1));
	assert_false(fix_recv(&f->c));
}

static void an_access_port_sends_no_tags(void **state)
{
	struct fixture *f = *state;

	access_port(f, &f->a, 5);
	access_port(f, &f->b, 5);
	say_tagged(&f->a, 0xff, 1, 5);
	say_tagged(&f->a, 0xff, 1, 6);
	assert_false(fix_recv(&f->b));
	assert_int_equal(fix_count(&f->a).drop_in[DROP_VLAN], 2);
}

static void a_priority_tag_is_none(void **state)
{
	struct fixture *f = *state;

	access_port(f, &f->a, 5);
	access_port(f, &f->b, 5);
	trunk_port(f, &f->c, 0, 5, 5);
	say_tagged(&f->a, 0xff, 1, 0xe000);
	assert_true(hears_untagged(&f->b, 1));
	/* The priority goes on where there is a tag to carry it. */
	assert_true(hears_tagged(&f->c, 1, 0xe005));
}

static void a_trunk_port_gets_tags_and_sends_them(void **state)
{
	struct fixture *f = *state;

	access_port(f, &f->a, 100);
	access_port(f, &f->b, 200);
	trunk_port(f, &f->c, 0, 100, 4094);
	trunk_port(f, &f->d, 0, 100, 200);
	fix_say(&f->a, 0xff, 1);
	assert_true(hears_tagged(&f->c, 1, 100));
	assert_true(hears_tagged(&f->d, 1, 100));
	assert_false(fix_recv(&f->b));
	say_tagged(&f->d, 0xff, 4, 0xa064);
	assert_true(hears_untagged(&f->a, 4));
	assert_true(hears_tagged(&f->c, 4, 0xa064));
	say_tagged(&f->d, 0xff, 4, 200);
	assert_true(hears_untagged(&f->b, 4));
	assert_false(fix_recv(&f->c));
}

static void what_a_trunk_port_does_not_carry_is_dropped(void **state)
{
	struct fixture *f = *state;

	trunk_port(f, &f->a, 0, 100, 200);
	access_port(f, &f->b, 300);
	say_tagged(&f->a, 0xff, 1, 300);
	say_tagged(&f->a, 0xff, 1, 4095);
	fix_say(&f->a, 0xff, 1);
	say_tagged(&f->a, 0xff, 1, 0);
	assert_false(fix_recv(&f->b));
	assert_int_equal(fix_count(&f->a).drop_in[DROP_VLAN], 4);
	fix_say(&f->b, 0xff, 2);
	assert_false(fix_recv(&f->a));
}

static void the_native_vlan_of_a_trunk_port_is_untagged(void **state)
{
	struct fixture *f = *state;

	trunk_port(f, &f->a, 7, 100, 100);
	access_port(f, &f->b, 7);
	access_port(f, &f->c, 100);
	fix_say(&f->b, 0xff, 2);
	assert_true(hears_untagged(&f->a, 2));
	fix_say(&f->a, 0xff, 1);
	assert_true(hears_untagged(&f->b, 1));
	assert_false(fix_recv(&f->c));
	/* Tagged it is none of those that the port carries. */
	say_tagged(&f->a, 0xff, 1, 7);
	assert_int_equal(fix_count(&f->a).drop_in[DROP_VLAN], 1);
}

/* ---- a tag behind the first ---- */

static size_t make(struct fixture *f, const struct netframe_order *o);

/* Types that say that a tag follows. */
static const uint16_t tag_types[] = { 0x8100, 0x88a8, 0x9100, 0x9200, 0x9300 };

static void insert_typed(uint8_t *frame, size_t *len, uint16_t type,
			 uint16_t tci)
{
	insert_tag(frame, len, tci);
	frame[FIX_HDR + MACS] = (uint8_t)(type >> 8);
	frame[FIX_HDR + MACS + 1] = (uint8_t)type;
}

/* A broadcast with tags of VLANs @vids, the first outermost; ~0 ends them. */
static size_t stack(uint8_t *frame, uint8_t src, const uint16_t *vids,
		    uint16_t inner_type)
{
	size_t len = fix_frame(frame, 0xff, src, 60);
	unsigned int n = 0;

	while (vids[n] != 0xffff)
		n++;
	while (n--)
		insert_typed(frame, &len, n ? inner_type : 0x8100, vids[n]);
	return len;
}

/* The port sends untagged frames of VLAN 10: none of these is one. */
static void untagged_frames_have_no_tag_inside(struct fixture *f)
{
	static const uint16_t under_priority[] = { 0, 20, 0xffff },
			      high_priority[] = { 0xe000, 20, 0xffff },
			      two_of_none[] = { 0, 0, 0xffff },
			      three[] = { 0, 0, 20, 0xffff };
	static const uint16_t *const stacks[] = { under_priority, high_priority,
						  two_of_none, three };
	uint64_t dropped = 0;
	size_t len;

	for (unsigned int i = 0; i < ARRAY_SIZE(tag_types); i++) {
		for (unsigned int k = 0; k < ARRAY_SIZE(stacks); k++) {
			len = stack(f->frame, 1, stacks[k], tag_types[i]);
			check_ret(fix_send(&f->a, f->frame, len), 1);
			dropped++;
		}
		if (tag_types[i] == 0x8100)
			continue; /* that is a tag, not one inside */
		len = fix_frame(f->frame, 0xff, 1, 60);
		insert_typed(f->frame, &len, tag_types[i], 20);
		check_ret(fix_send(&f->a, f->frame, len), 1);
		dropped++;
	}
	assert_int_equal(fix_count(&f->a).drop_in[DROP_STACKED], dropped);
	assert_int_equal(fix_count(&f->a).sent, 0);
	assert_false(fix_recv(&f->b));
	assert_false(fix_recv(&f->c));
	assert_false(fix_recv(&f->d));
}

static void an_access_port_takes_no_tag_inside(void **state)
{
	struct fixture *f = *state;

	access_port(f, &f->a, 10);
	access_port(f, &f->b, 10);
	/* What leaves here untagged would be of VLAN 20 for the next switch. */
	trunk_port(f, &f->c, 10, 20, 30);
	trunk_port(f, &f->d, 0, 10, 20);
	untagged_frames_have_no_tag_inside(f);
	fix_say(&f->a, 0xff, 1);
	assert_true(hears_untagged(&f->b, 1));
	assert_true(hears_untagged(&f->c, 1));
	assert_true(hears_tagged(&f->d, 1, 10));
}

static void a_native_vlan_takes_no_tag_inside(void **state)
{
	struct fixture *f = *state;

	trunk_port(f, &f->a, 10, 20, 30);
	access_port(f, &f->b, 10);
	trunk_port(f, &f->c, 10, 20, 30);
	trunk_port(f, &f->d, 0, 10, 20);
	untagged_frames_have_no_tag_inside(f);
}

/* A trunk port is trusted with the tags of its VLANs, and what is behind them
 * is not changed as long as the first one stays. */
static void a_tag_inside_passes_between_trunks_only(void **state)
{
	static const uint16_t two[] = { 10, 20, 0xffff },
			      three[] = { 0xa00a, 0, 20, 0xffff };
	static const uint16_t *const stacks[] = { two, three };
	struct fixture *f = *state;
	uint64_t dropped = 0;
	size_t len;

	trunk_port(f, &f->a, 0, 10, 10);
	access_port(f, &f->b, 10);
	trunk_port(f, &f->c, 10, 20, 30);
	trunk_port(f, &f->d, 0, 10, 20);
	for (unsigned int i = 0; i < ARRAY_SIZE(tag_types); i++) {
		for (unsigned int k = 0; k < ARRAY_SIZE(stacks); k++) {
			len = stack(f->frame, 1, stacks[k], tag_types[i]);
			check_ret(fix_send(&f->a, f->frame, len), 1);
			assert_true(fix_recv(&f->d));
			assert_int_equal(f->d.len, len);
			assert_memory_equal(f->d.got + FIX_HDR,
					    f->frame + FIX_HDR, len - FIX_HDR);
			dropped++;
		}
	}
	assert_false(fix_recv(&f->b));
	assert_false(fix_recv(&f->c));
	assert_int_equal(fix_count(&f->b).drop_out[DROP_STACKED], dropped);
	assert_int_equal(fix_count(&f->c).drop_out[DROP_STACKED], dropped);
	assert_int_equal(fix_count(&f->a).sent, dropped);
	assert_int_equal(fix_count(&f->a).flooded, 0);
	/* Known addresses change nothing. */
	fix_say(&f->b, 0xff, 2);
	assert_true(fix_recv(&f->d));
	len = stack(f->frame, 1, two, 0x8100);
	f->frame[FIX_HDR] = 0x02;
	memset(f->frame + FIX_HDR + 1, 0, 4);
	f->frame[FIX_HDR + 5] = 2;
	check_ret(fix_send(&f->a, f->frame, len), 1);
	assert_false(fix_recv(&f->b));
	assert_int_equal(fix_count(&f->b).drop_out[DROP_STACKED], dropped + 1);
}

/* Segments of such a frame are told by it. */
static void
a_gso_frame_with_a_tag_inside_passes_between_trunks_only(void **state)
{
	struct netframe_order o = {
		.payload = 20000,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = 1400,
		.tags = 2,
		.tag = { 0x8100, 0x88a8 },
	};
	struct fixture *f = *state;
	size_t len;

	trunk_port(f, &f->a, 0, 10, 10);
	access_port(f, &f->b, 10);
	trunk_port(f, &f->c, 0, 10, 20);
	swport_set_guest_offloads(f->c.m, 0);
	len = make(f, &o);
	f->frame[FIX_HDR + MACS + 2] = 0;
	f->frame[FIX_HDR + MACS + 3] = 10;
	check_ret(fix_send(&f->a, f->frame, len), 1);
	assert_int_equal(fix_drain(&f->c), 15);
	assert_false(fix_recv(&f->b));
	assert_int_equal(fix_count(&f->b).drop_out[DROP_STACKED], 1);
}

static void a_tag_that_is_cut_off_is_dropped(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[FIX_HDR + 64];
	size_t len = fix_frame(frame, 0xff, 1, 60);

	trunk_port(f, &f->a, 1, 100, 100);
	access_port(f, &f->b, 100);
	insert_tag(frame, &len, 100);
	for (len = FIX_HDR + 14; len < FIX_HDR + 18; len++)
		check_ret(fix_send(&f->a, frame, len), 1);
	assert_int_equal(fix_count(&f->a).drop_in[DROP_MALFORMED], 4);
	assert_false(fix_recv(&f->b));
}

static void the_tag_does_not_count_for_the_mtu(void **state)
{
	struct fixture *f = *state;
	size_t len = fix_frame(f->frame, 0xff, 1, 14 + 1500);

	trunk_port(f, &f->a, 0, 100, 100);
	trunk_port(f, &f->b, 0, 100, 100);
	insert_tag(f->frame, &len, 100);
	check_ret(fix_send(&f->a, f->frame, len), 1);
	assert_true(fix_recv(&f->b));
	check_ret(fix_send(&f->a, f->frame, len + 1), 1);
	assert_false(fix_recv(&f->b));
}

/* ---- offloads ---- */

/* Frames of netframe.c have addresses of their own: unknown, so flooded. */
static size_t make(struct fixture *f, const struct netframe_order *o)
{
	struct virtio_net_hdr *h = (struct virtio_net_hdr *)f->frame;
	size_t len;

	memset(f->frame, 0, FIX_HDR);
	len = netframe_make(o, h, f->frame + FIX_HDR);
	if (!o->gso_type)
		h->hdr_len = 0; /* it would be cleared */
	return FIX_HDR + len;
}

static void join_taking(struct fixture *f, struct station *s, uint64_t takes)
{
	struct swport_config c = { .vlan = 1, .guest_offloads = takes };

	fix_join(f->n, s, &c);
}

static void is_finished(const struct station *s)
{
	static const uint8_t zero[FIX_HDR];

	assert_memory_equal(s->got, zero, FIX_HDR);
	assert_null(netframe_wrong(s->got + FIX_HDR, s->len - FIX_HDR));
}

static void a_partial_checksum_is_completed_for_who_needs_it(void **state)
{
	static const struct netframe_order o = { .payload = 1000 };
	struct fixture *f = *state;
	size_t len;

	join_taking(f, &f->a, 0);
	join_taking(f, &f->b, 0);
	join_taking(f, &f->c, ALL_OFFLOADS);
	join_taking(f, &f->d, 0);
	len = make(f, &o);
	check_ret(fix_send(&f->a, f->frame, len), 1);
	assert_true(fix_recv(&f->c));
	assert_int_equal(f->c.len, len);
	assert_memory_equal(f->c.got, f->frame, len);
	assert_true(fix_recv(&f->b));
	is_finished(&f->b);
	assert_true(fix_recv(&f->d));
	is_finished(&f->d);
	assert_int_equal(fix_count(&f->b).checksummed, 1);
	assert_int_equal(fix_count(&f->d).checksummed, 1);
	assert_int_equal(fix_count(&f->c).checksummed, 0);
}

static void what_a_receiver_takes_can_change(void **state)
{
	static const struct netframe_order o = { .payload = 1000 };
	struct fixture *f = *state;
	size_t len = make(f, &o);

	join_taking(f, &f->a, 0);
	join_taking(f, &f->b, 0);
	swport_set_guest_offloads(f->b.m, ALL_OFFLOADS);
	check_ret(fix_send(&f->a, f->frame, len), 1);
	assert_true(fix_recv(&f->b));
	assert_memory_equal(f->b.got, f->frame, len);
}

/* All segments of a frame with @payload, in order; bytes of payload in all. */
static unsigned int hear_segments(struct station *s, size_t header,
				  size_t payload, size_t size)
{
	unsigned int n = 0;

	while (payload) {
		size_t now = MIN(payload, size);

		assert_true(fix_recv(s));
		assert_int_equal(s->len, FIX_HDR + header + now);
		is_finished(s);
		payload -= now;
		n++;
	}
	assert_false(fix_recv(s));
	return n;
}

static void a_gso_frame_is_cut_up_for_who_needs_it(void **state)
{
	static const struct netframe_order o = {
		.payload = 60000,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = 1448,
		.tcp_options = 12,
	};
	struct fixture *f = *state;
	size_t len;

	join_taking(f, &f->a, 0);
	join_taking(f, &f->b, 0);
	join_taking(f, &f->c, ALL_OFFLOADS);
	join_taking(f, &f->d, BIT(VIRTIO_NET_F_GUEST_CSUM));
	len = make(f, &o);
	check_ret(fix_send(&f->a, f->frame, len), 1);
	assert_true(fix_recv(&f->c));
	assert_int_equal(f->c.len, len);
	assert_memory_equal(f->c.got + FIX_HDR, f->frame + FIX_HDR,
			    len - FIX_HDR);
	assert_int_equal(hear_segments(&f->b, 66, 60000, 1448), 42);
	assert_int_equal(hear_segments(&f->d, 66, 60000, 1448), 42);
	assert_int_equal(fix_count(&f->b).segmented, 1);
	assert_int_equal(fix_count(&f->b).received, 42);
	assert_int_equal(fix_count(&f->a).sent, 1);
}

static void segments_must_fit_the_mtu(void **state)
{
	struct netframe_order o = {
		.payload = 20000,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = 1461,
	};
	struct fixture *f = *state;
	size_t len = make(f, &o);

	join_taking(f, &f->a, 0);
	join_taking(f, &f->b, ALL_OFFLOADS);
	check_ret(fix_send(&f->a, f->frame, len), 1);
	assert_false(fix_recv(&f->b));
	assert_int_equal(fix_count(&f->b).drop_out[DROP_TOO_LONG], 1);
	o.gso_size = 1460;
	len = make(f, &o);
	check_ret(fix_send(&f->a, f->frame, len), 1);
	assert_true(fix_recv(&f->b));
}

static void more_segments_than_half_an_rxq_are_dropped(void **state)
{
	static const struct netframe_order o = {
		.payload = 60000,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = 8,
	};
	struct fixture *f = *state;
	size_t len = make(f, &o);

	join_taking(f, &f->a, 0);
	join_taking(f, &f->b, 0);
	check_ret(fix_send(&f->a, f->frame, len), 1);
	assert_false(fix_recv(&f->b));
	assert_int_equal(fix_count(&f->b).drop_out[DROP_TOO_LONG], 1);
	fix_say(&f->a, 0xff, 1);
	assert_true(fix_hears(&f->b, 1));
}

static void segments_find_room_all_or_none(void **state)
{
	static const struct netframe_order o = {
		.payload = 60000,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = 1400,
	};
	struct fixture *f = *state;
	unsigned int taken = 0;
	size_t len;

	join_taking(f, &f->a, 0);
	join_taking(f, &f->b, 0);
	join_taking(f, &f->c, ALL_OFFLOADS);
	len = fix_frame(f->frame, 0xff, 1, 1514);
	while (!fix_count(&f->b).drop_out[DROP_FULL]) {
		check_ret(fix_send(&f->a, f->frame, len), 1);
		taken++;
	}
	for (unsigned int i = 0; i < 10; i++)
		assert_true(fix_recv(&f->b));
	fix_drain(&f->c);
	len = make(f, &o);
	check_ret(fix_send(&f->a, f->frame, len), 1);
	assert_int_equal(fix_count(&f->b).drop_out[DROP_FULL], 2);
	assert_true(fix_recv(&f->c));
	assert_int_equal(fix_drain(&f->b), taken - 1 - 10);
}

static void segments_of_the_least_usual_size_pass(void **state)
{
	static const struct netframe_order o = {
		.payload = 64000,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = 88, /* TCP_MIN_SND_MSS and more */
	};
	struct fixture *f = *state;
	size_t len = make(f, &o);

	join_taking(f, &f->a, 0);
	join_taking(f, &f->b, 0);
	for (unsigned int i = 0; i < 3; i++) {
		check_ret(fix_send(&f->a, f->frame, len), 1);
		hear_segments(&f->b, 54, 64000, 88);
	}
}

/* ---- both ---- */

static uint16_t csum_start(const uint8_t *frame)
{
	return le16toh(((const struct virtio_net_hdr *)frame)->csum_start);
}

static uint16_t hdr_len(const uint8_t *frame)
{
	return le16toh(((const struct virtio_net_hdr *)frame)->hdr_len);
}

static void offsets_move_with_the_tag(void **state)
{
	static const struct netframe_order plain = {
		.payload = 20000,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = 1400,
	};
	struct netframe_order tagged = plain;
	struct fixture *f = *state;
	size_t len;

	access_port(f, &f->a, 100);
	access_port(f, &f->b, 100);
	trunk_port(f, &f->c, 0, 100, 100);
	len = make(f, &plain);
	check_ret(fix_send(&f->a, f->frame, len), 1);
	assert_true(fix_recv(&f->c));
	assert_int_equal(f->c.len, len + TAG);
	assert_int_equal(csum_start(f->c.got), 34 + TAG);
	assert_int_equal(hdr_len(f->c.got), 54 + TAG);
	assert_true(fix_recv(&f->b));
	assert_int_equal(csum_start(f->b.got), 34);
	assert_int_equal(hdr_len(f->b.got), 54);

	tagged.tags = 1;
	tagged.tag[0] = 0x8100;
	len = make(f, &tagged);
	f->frame[FIX_HDR + MACS + 2] = 0;
	f->frame[FIX_HDR + MACS + 3] = 100;
	check_ret(fix_send(&f->c, f->frame, len), 1);
	assert_true(fix_recv(&f->a));
	assert_int_equal(f->a.len, len - TAG);
	assert_int_equal(csum_start(f->a.got), 34);
	assert_int_equal(hdr_len(f->a.got), 54);
	assert_memory_equal(f->a.got + FIX_HDR + MACS,
			    f->frame + FIX_HDR + MACS + TAG,
			    len - FIX_HDR - MACS - TAG);
}

static void a_checksum_is_completed_behind_a_tag(void **state)
{
	static const struct netframe_order o = { .payload = 1000 };
	struct fixture *f = *state;
	size_t len = make(f, &o);

	access_port(f, &f->a, 100);
	trunk_port(f, &f->b, 0, 100, 100);
	swport_set_guest_offloads(f->b.m, 0);
	check_ret(fix_send(&f->a, f->frame, len), 1);
	assert_true(fix_recv(&f->b));
	assert_int_equal(f->b.len, len + TAG);
	is_finished(&f->b);
}

static void segments_get_tags(void **state)
{
	static const struct netframe_order o = {
		.payload = 60000,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = 1460,
	};
	struct fixture *f = *state;
	size_t len = make(f, &o);

	access_port(f, &f->a, 100);
	access_port(f, &f->b, 100);
	trunk_port(f, &f->c, 0, 100, 100);
	swport_set_guest_offloads(f->b.m, 0);
	swport_set_guest_offloads(f->c.m, 0);
	check_ret(fix_send(&f->a, f->frame, len), 1);
	hear_segments(&f->b, 54, 60000, 1460);
	hear_segments(&f->c, 58, 60000, 1460);
}

static void a_device_without_headers_gets_only_what_needs_none(void **state)
{
	static const struct netframe_order o = { .payload = 1000 };
	struct fixture *f = *state;
	size_t len = make(f, &o);

	join_taking(f, &f->a, 0);
	join_taking(f, &f->b, ALL_OFFLOADS);
	f->b.rx->hdr_len = 0;
	check_ret(fix_send(&f->a, f->frame, len), 1);
	assert_false(fix_recv(&f->b));
	assert_int_equal(fix_count(&f->b).drop_out[DROP_REFUSED], 1);
	swport_set_guest_offloads(f->b.m, 0);
	check_ret(fix_send(&f->a, f->frame, len), 1);
	assert_true(fix_recv(&f->b));
	assert_int_equal(f->b.len, len - FIX_HDR);
}

int main(void)
{
#define T(f)                                                 \
	cmocka_unit_test_setup_teardown(f, setup, teardown), \
	{                                                    \
		#f " [own]", f, setup_own, teardown, NULL    \
	}
	const struct CMUnitTest tests[] = {
		T(access_ports_of_two_vlans_are_separate),
		T(an_access_port_sends_no_tags),
		T(a_priority_tag_is_none),
		T(a_trunk_port_gets_tags_and_sends_them),
		T(what_a_trunk_port_does_not_carry_is_dropped),
		T(the_native_vlan_of_a_trunk_port_is_untagged),
		T(an_access_port_takes_no_tag_inside),
		T(a_native_vlan_takes_no_tag_inside),
		T(a_tag_inside_passes_between_trunks_only),
		T(a_gso_frame_with_a_tag_inside_passes_between_trunks_only),
		T(a_tag_that_is_cut_off_is_dropped),
		T(the_tag_does_not_count_for_the_mtu),
		T(a_partial_checksum_is_completed_for_who_needs_it),
		T(what_a_receiver_takes_can_change),
		T(a_gso_frame_is_cut_up_for_who_needs_it),
		T(segments_must_fit_the_mtu),
		T(more_segments_than_half_an_rxq_are_dropped),
		T(segments_find_room_all_or_none),
		T(segments_of_the_least_usual_size_pass),
		T(offsets_move_with_the_tag),
		T(a_checksum_is_completed_behind_a_tag),
		T(segments_get_tags),
		T(a_device_without_headers_gets_only_what_needs_none),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
