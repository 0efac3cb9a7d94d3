/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets in UDP tunnels: what passes, and what they are cut into. */
#include "check.h"

#include <endian.h>
#include <unistd.h>

#include <linux/if_ether.h>
#include <netinet/in.h>

#include "bytes.h"
#include "gsofix.h"

#define TCP4 VIRTIO_NET_HDR_GSO_TCPV4
#define TCP6 VIRTIO_NET_HDR_GSO_TCPV6
#define UFO VIRTIO_NET_HDR_GSO_UDP
#define USO VIRTIO_NET_HDR_GSO_UDP_L4
#define OVER4 VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4
#define OVER6 VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV6
#define CSUM VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM

#define VXLAN_OVER4 (14 + 20 + 8 + 8)

static void make(bool outer_ipv6, bool outer_csum, bool ipv6, bool udp)
{
	gso_make((struct netframe_order){ .ipv6 = ipv6,
					  .udp = udp,
					  .payload = 3001,
					  .gso_type = udp    ? USO
						      : ipv6 ? TCP6
							     : TCP4,
					  .gso_size = 1000 });
	gso_wrap((struct netframe_order){ .ipv6 = outer_ipv6,
					  .whole_checksum = !outer_csum });
}

static void both_packets_of_a_segment_are_right(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 16; i++) {
		size_t outer = VXLAN_OVER4 + (i & 1 ? 20 : 0);
		bool csum = i & 2;

		make(i & 1, csum, i & 4, i & 8);
		gso_cut();
		assert_int_equal(gso.pieces, 4);
		for (unsigned int j = 0; j < 4; j++) {
			uint8_t *p = gso.piece[j];
			size_t len = gso.piece_len[j];

			assert_int_equal(get16(p + outer - 12),
					 len - (outer - 16));
			assert_null(netframe_wrong(p + outer, len - outer));
			if (csum)
				assert_null(netframe_wrong(p, len));
			else
				assert_int_equal(get16(p + outer - 10), 0);
		}
	}
}

static void the_ids_of_both_packets_count_up(void **state)
{
	(void)state;
	make(false, false, false, false);
	gso_cut();
	for (unsigned int i = 0; i < gso.pieces; i++) {
		assert_int_equal(get16(gso.piece[i] + 18),
				 (get16(gso.frame + 18) + i) & 0xffff);
		assert_int_equal(get16(gso.piece[i] + VXLAN_OVER4 + 18),
				 (get16(gso.frame + VXLAN_OVER4 + 18) + i) &
					 0xffff);
	}
}

static void hdr_len_ends_with_the_inner_header(void **state)
{
	(void)state;
	make(false, true, false, false);
	check_ret(gso_check(), 0);
	assert_int_equal(le16toh(gso.hdr.hdr_len), VXLAN_OVER4 + 54);
	assert_int_equal(gso.hdr.gso_type, TCP4 | OVER4);
	assert_int_equal(gso.hdr.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM | CSUM);
}

static void what_is_in_a_tunnel_is_always_cut(void **state)
{
	(void)state;
	make(false, true, false, false);
	check_ret(gso_check(), 0);
	assert_int_equal(offload_needed(&gso.hdr, UINT64_MAX), OFFLOAD_SEGMENT);
}

static void what_fits_into_one_segment_has_only_its_inner_checksum(void **state)
{
	(void)state;
	make(false, false, false, false);
	gso.hdr.gso_size = htole16(3001);
	check_ret(gso_check(), 0);
	assert_int_equal(gso.hdr.gso_type, VIRTIO_NET_HDR_GSO_NONE);
	assert_int_equal(offload_needed(&gso.hdr, 0), OFFLOAD_CHECKSUM);
	offload_checksum(&gso.hdr, gso.frame, gso.len);
	assert_null(
		netframe_wrong(gso.frame + VXLAN_OVER4, gso.len - VXLAN_OVER4));
}

static void frames_in_no_tunnel_are_judged_as_ever(void **state)
{
	(void)state;
	gso_make((struct netframe_order){
		.payload = 3000, .gso_type = TCP4, .gso_size = 1000 });
	gso_cut();
	assert_int_equal(gso.pieces, 3);
	gso.hdr.gso_size = 0;
	check_ret(gso_check(), -EINVAL);
}

/* ---- what is refused ---- */

static void both_families(void)
{
	gso.hdr.gso_type |= OVER6;
}

static void no_inner_type(void)
{
	gso.hdr.gso_type = OVER4;
}

static void inner_ufo(void)
{
	gso.hdr.gso_type = UFO | OVER4;
}

static void no_csum(void)
{
	gso.hdr.flags = 0;
}

static void outer_too_early(void)
{
	gso.tunnel.outer_th_offset = htole16(33);
}

static void inner_too_early(void)
{
	gso.tunnel.inner_nh_offset = htole16(34 + 7);
}

static void inner_past_end(void)
{
	gso.tunnel.inner_nh_offset = htole16((uint16_t)gso.len);
}

static void start_too_early(void)
{
	gso.hdr.csum_start = htole16(VXLAN_OVER4 + 14 + 19);
}

static void start_not_of_tcp(void)
{
	gso.hdr.csum_start = htole16(VXLAN_OVER4 + 14 + 24);
}

static void inner_elsewhere(void)
{
	gso.tunnel.inner_nh_offset = htole16(VXLAN_OVER4 + 12);
}

static void no_outer_udp(void)
{
	gso.frame[14 + 9] = IPPROTO_TCP;
}

static void outer_options_reach_too_far(void)
{
	gso.frame[14] = 0x4f;
}

static void no_outer_ip(void)
{
	gso.frame[12] = 0x88;
	gso.frame[13] = 0xb5;
}

static void inner_family(void)
{
	gso.hdr.gso_type = TCP6 | OVER4;
}

static const struct {
	const char *what;
	void (*apply)(void);
} damages[] = {
	{ "over IPv4 and IPv6", both_families },
	{ "no type of the inner packet", no_inner_type },
	{ "UFO inside", inner_ufo },
	{ "no NEEDS_CSUM", no_csum },
	{ "the outer UDP header before IPv4's end", outer_too_early },
	{ "the inner packet inside the outer UDP header", inner_too_early },
	{ "the inner packet behind the end", inner_past_end },
	{ "the checksum starts in the inner IP header", start_too_early },
	{ "the checksum starts behind TCP's start", start_not_of_tcp },
	{ "no IP header where the inner one should be", inner_elsewhere },
	{ "the outer IP header reaches into the inner packet",
	  outer_options_reach_too_far },
	{ "TCP outside", no_outer_udp },
	{ "no IP outside", no_outer_ip },
	{ "TCPv6 for inner IPv4", inner_family },
};

static void what_the_kernel_drops_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
		make(false, false, false, false);
		damages[i].apply();
		if (gso_check() != -EINVAL)
			fail_msg("passed: %s", damages[i].what);
	}
}

static void an_outer_checksum_must_be_negotiated(void **state)
{
	(void)state;
	make(false, true, false, false);
	check_ret(offload_tunnel_check(&gso.hdr, &gso.tunnel, false, gso.frame,
				       gso.len),
		  -EINVAL);
	make(false, false, false, false);
	check_ret(offload_tunnel_check(&gso.hdr, &gso.tunnel, false, gso.frame,
				       gso.len),
		  0);
}

static void tunnels_are_not_for_offload_check(void **state)
{
	struct offload_segments s;

	(void)state;
	make(false, true, false, false);
	check_ret(offload_check(&gso.hdr, gso.frame, gso.len), -EINVAL);
	make(false, true, false, false);
	check_ret(gso_check(), 0);
	check_ret(offload_segments_begin(&s, &gso.hdr, gso.frame, gso.len),
		  -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_packets_of_a_segment_are_right),
		cmocka_unit_test(the_ids_of_both_packets_count_up),
		cmocka_unit_test(hdr_len_ends_with_the_inner_header),
		cmocka_unit_test(what_is_in_a_tunnel_is_always_cut),
		cmocka_unit_test(
			what_fits_into_one_segment_has_only_its_inner_checksum),
		cmocka_unit_test(frames_in_no_tunnel_are_judged_as_ever),
		cmocka_unit_test(what_the_kernel_drops_is_refused),
		cmocka_unit_test(an_outer_checksum_must_be_negotiated),
		cmocka_unit_test(tunnels_are_not_for_offload_check),
	};

	alarm(60);
	return cmocka_run_group_tests_name("tunnel", tests, NULL, NULL);
}
