/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_offload.c tests the rules of offload.h, one at a time.
 * test_offload_kernel.c compares them with the kernel.
 */
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
#define ECN VIRTIO_NET_HDR_GSO_ECN

#define FIN 0x01
#define PSH 0x08
#define ACK 0x10
#define CWR 0x80

static void assert_pieces_right(void)
{
	for (unsigned int i = 0; i < gso.pieces; i++) {
		const char *wrong =
			netframe_wrong(gso.piece[i], gso.piece_len[i]);

		if (wrong)
			fail_msg("segment %u: %s", i, wrong);
	}
}

/* The payloads, one behind the other, are what followed @header_len bytes. */
static void assert_payload_kept(size_t header_len)
{
	size_t at = header_len;

	for (unsigned int i = 0; i < gso.pieces; i++) {
		size_t n = gso.piece_len[i] - header_len;

		assert_memory_equal(gso.piece[i] + header_len, gso.frame + at,
				    n);
		at += n;
	}
	assert_int_equal(at, gso.len);
}

/* ---- completing a checksum ---- */

static void a_partial_checksum_is_completed(void **state)
{
	static const size_t payloads[] = { 0, 1, 2, 3, 63, 64, 65, 1447, 1448 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(payloads) * 4; i++) {
		gso_make((struct netframe_order){ .payload = payloads[i / 4],
						  .udp = i & 1,
						  .ipv6 = i & 2,
						  .seed = (uint32_t)i });
		check_ret(gso_check(), 0);
		assert_int_equal(offload_needed(&gso.hdr, 0), OFFLOAD_CHECKSUM);
		offload_checksum(&gso.hdr, gso.frame, gso.len);
		assert_null(netframe_wrong(gso.frame, gso.len));
		assert_int_equal(gso.hdr.flags, 0);
		assert_int_equal(gso.hdr.csum_start, 0);
		assert_int_equal(gso.hdr.csum_offset, 0);
	}
}

static void a_checksum_that_comes_out_0_is_sent_as_ffff(void **state)
{
	uint16_t sum;

	(void)state;
	gso_make((struct netframe_order){ .udp = true, .payload = 100 });
	memset(gso.frame + 42, 0, 2);
	sum = netframe_sum(0, gso.frame + 34, gso.len - 34);
	gso.frame[42] = (uint8_t)(~sum >> 8);
	gso.frame[43] = (uint8_t)~sum;
	check_ret(gso_check(), 0);
	offload_checksum(&gso.hdr, gso.frame, gso.len);
	assert_int_equal(get16(gso.frame + 40), 0xffff);
}

static void without_needs_csum_nothing_is_touched(void **state)
{
	static uint8_t before[NETFRAME_MAX];

	(void)state;
	gso_make((struct netframe_order){ .whole_checksum = true,
					  .payload = 100 });
	memcpy(before, gso.frame, gso.len);
	gso.hdr.csum_start = htole16(34);
	check_ret(gso_check(), 0);
	assert_int_equal(offload_needed(&gso.hdr, 0), OFFLOAD_NOTHING);
	offload_checksum(&gso.hdr, gso.frame, gso.len);
	assert_memory_equal(gso.frame, before, gso.len);
}

/* ---- what passes, and how it is corrected ---- */

static void flags_but_needs_csum_are_taken_away(void **state)
{
	(void)state;
	gso_make((struct netframe_order){ .payload = 100 });
	gso.hdr.flags = 0xff;
	check_ret(gso_check(), 0);
	assert_int_equal(gso.hdr.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(le16toh(gso.hdr.csum_start), 34);

	gso.hdr.flags = 0xfe;
	check_ret(gso_check(), 0);
	assert_int_equal(gso.hdr.flags, 0);
	assert_int_equal(gso.hdr.csum_start, 0);
	assert_int_equal(gso.hdr.csum_offset, 0);
}

static void without_gso_its_fields_become_0(void **state)
{
	(void)state;
	gso_make((struct netframe_order){ .payload = 100, .gso_size = 77 });
	check_ret(gso_check(), 0);
	assert_int_equal(gso.hdr.gso_size, 0);
	assert_int_equal(gso.hdr.hdr_len, 0);
}

static void what_fits_into_one_segment_is_no_gso(void **state)
{
	(void)state;
	gso_make((struct netframe_order){
		.payload = 1000, .gso_type = TCP4 | ECN, .gso_size = 1000 });
	check_ret(gso_check(), 0);
	assert_int_equal(gso.hdr.gso_type, VIRTIO_NET_HDR_GSO_NONE);
	assert_int_equal(gso.hdr.gso_size, 0);
	assert_int_equal(offload_needed(&gso.hdr, 0), OFFLOAD_CHECKSUM);

	gso_make((struct netframe_order){
		.payload = 1001, .gso_type = TCP4 | ECN, .gso_size = 1000 });
	check_ret(gso_check(), 0);
	assert_int_equal(gso.hdr.gso_type, TCP4 | ECN);
}

static void hdr_len_is_put_right(void **state)
{
	(void)state;
	gso_make((struct netframe_order){ .payload = 3000,
					  .tcp_options = 12,
					  .tags = 2,
					  .tag = { ETH_P_8021AD, ETH_P_8021Q },
					  .gso_type = TCP4,
					  .gso_size = 1000 });
	gso.hdr.hdr_len = htole16(20);
	check_ret(gso_check(), 0);
	assert_int_equal(le16toh(gso.hdr.hdr_len), 14 + 8 + 20 + 32);
}

static void tiny_tcp_segments_are_made_8_bytes(void **state)
{
	(void)state;
	gso_make((struct netframe_order){
		.payload = 81, .gso_type = TCP4, .gso_size = 1 });
	gso_cut();
	assert_int_equal(gso.pieces, 11);
	assert_int_equal(le16toh(gso.hdr.gso_size), 8);
}

static void gso_without_needs_csum_passes_and_is_always_cut(void **state)
{
	(void)state;
	gso_make((struct netframe_order){ .payload = 3000,
					  .gso_type = TCP4,
					  .gso_size = 1000,
					  .whole_checksum = true });
	gso_cut();
	assert_int_equal(offload_needed(&gso.hdr, UINT64_MAX), OFFLOAD_SEGMENT);
	assert_pieces_right();
}

static void what_is_no_ip_passes_without_gso_and_checksum(void **state)
{
	(void)state;
	gso.len = 14;
	memset(gso.frame, 0, 14);
	memset(&gso.hdr, 0, sizeof(gso.hdr));
	check_ret(gso_check(), 0);
}

/* ---- what is refused ---- */

/** struct damage - one thing done to a good TCPv4 GSO frame */
struct damage {
	const char *what;
	struct netframe_order order;
	void (*apply)(void);
};

static void cut_to_13(void)
{
	gso.len = 13;
}

static void hdr_len_past_end(void)
{
	gso.hdr.hdr_len = htole16((uint16_t)(gso.len + 1));
}

static void size_0(void)
{
	gso.hdr.gso_size = 0;
}

static void size_ffff(void)
{
	gso.hdr.gso_size = 0xffff;
}

static void unknown_type(void)
{
	gso.hdr.gso_type = 2;
}

static void only_ecn(void)
{
	gso.hdr.gso_type = ECN;
}

static void tunnel_bits(void)
{
	gso.hdr.gso_type |= 0x20;
}

static void wrong_type(void)
{
	gso.hdr.gso_type = gso.hdr.gso_type == TCP4 ? TCP6 : TCP4;
}

static void udp_type(void)
{
	gso.hdr.gso_type = UFO;
}

static void tcp_type(void)
{
	gso.hdr.gso_type = TCP4;
	gso.hdr.csum_offset = htole16(16);
}

static void start_off_by_2(void)
{
	gso.hdr.csum_start = htole16(le16toh(gso.hdr.csum_start) + 2);
}

static void start_in_the_link_header(void)
{
	gso.hdr.csum_start = htole16(19);
}

static void start_at_end(void)
{
	gso.hdr.csum_start = htole16((uint16_t)(gso.len - 19));
}

static void offset_of_udp(void)
{
	gso.hdr.csum_offset = htole16(6);
}

static void offset_of_tcp(void)
{
	gso.hdr.csum_offset = htole16(16);
}

static void offset_past_end(void)
{
	gso.hdr.csum_offset =
		htole16((uint16_t)(gso.len - le16toh(gso.hdr.csum_start) - 1));
}

static void offset_ffff(void)
{
	gso.hdr.csum_offset = 0xffff;
}

static void doff_4(void)
{
	gso.frame[34 + 12] = 4 << 4;
}

static void doff_past_end(void)
{
	gso.frame[34 + 12] = 15 << 4;
	gso.hdr.gso_size = htole16(8);
	gso.len = 34 + 59;
}

static void options_eat_the_payload(void)
{
	gso.frame[34 + 12] = 15 << 4;
	gso.hdr.gso_size = htole16(2970);
}

static void ihl_4(void)
{
	gso.frame[14] = 0x44;
}

static void no_ip(void)
{
	gso.frame[12] = 0x88;
	gso.frame[13] = 0xb5;
}

static void ecn_on_uso(void)
{
	gso.hdr.gso_type |= ECN;
}

static void no_csum(void)
{
	gso.hdr.flags = 0;
}

static void extension_cut_off(void)
{
	gso.frame[14 + 40 + 1] = 0xff;
}

#define TSO4 { .payload = 3000, .gso_type = TCP4, .gso_size = 1000 }
#define TSO6 \
	{ .ipv6 = true, .payload = 3000, .gso_type = TCP6, .gso_size = 1000 }
#define USO4 { .udp = true, .payload = 3000, .gso_type = USO, .gso_size = 1000 }
#define PLAIN { .payload = 100 }

static const struct damage damages[] = {
	/* clang-format off */
	{ "no whole Ethernet header", PLAIN, cut_to_13 },
	{ "hdr_len behind the end", PLAIN, hdr_len_past_end },
	{ "the checksum starts in the link header", PLAIN, start_in_the_link_header },
	{ "the checksum is behind the end", PLAIN, offset_past_end },
	{ "the checksum is far behind the end", PLAIN, offset_ffff },
	{ "only the ECN bit", PLAIN, only_ecn },
	{ "segments of 0 bytes", TSO4, size_0 },
	{ "segments of 0xffff bytes", TSO4, size_ffff },
	{ "an unknown type", TSO4, unknown_type },
	{ "a tunnel", TSO4, tunnel_bits },
	{ "TCPv6 for IPv4", TSO4, wrong_type },
	{ "TCPv4 for IPv6", TSO6, wrong_type },
	{ "UDP for TCP", TSO4, udp_type },
	{ "TCP for UDP", USO4, tcp_type },
	{ "the checksum starts behind TCP's header", TSO4, start_off_by_2 },
	{ "no TCP header behind the checksum's start", TSO4, start_at_end },
	{ "TCP's checksum where UDP's is", TSO4, offset_of_udp },
	{ "UDP's checksum where TCP's is", USO4, offset_of_tcp },
	{ "a TCP header of 16 bytes", TSO4, doff_4 },
	{ "a TCP header longer than the frame", TSO4, doff_past_end },
	{ "with its options, TCP has one segment", TSO4, options_eat_the_payload },
	{ "an IP header of 16 bytes", TSO4, ihl_4 },
	{ "no IP", TSO4, no_ip },
	{ "USO with the ECN bit", USO4, ecn_on_uso },
	{ "USO without NEEDS_CSUM", USO4, no_csum },
	{ "USO of 129 segments", { .udp = true, .payload = 129 * 8, .gso_type = USO, .gso_size = 8 }, NULL },
	{ "an IPv6 fragment", { .ipv6 = true, .extensions = { IPPROTO_FRAGMENT }, .extensions_num = 1,
		.payload = 3000, .gso_type = TCP6, .gso_size = 1000 }, NULL },
	{ "an extension header longer than the frame", { .ipv6 = true, .extensions = { IPPROTO_HOPOPTS },
		.extensions_num = 1, .payload = 1300, .gso_type = TCP6, .gso_size = 1000 }, extension_cut_off },
	{ "eight tags", { .tags = 8, .tag = { ETH_P_8021Q, ETH_P_8021Q, ETH_P_8021Q, ETH_P_8021Q, ETH_P_8021Q,
		ETH_P_8021Q, ETH_P_8021Q, ETH_P_8021Q }, .payload = 3000, .gso_type = TCP4, .gso_size = 1000 }, NULL },
	/* clang-format on */
};

static void what_the_kernel_drops_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
		gso_make(damages[i].order);
		if (damages[i].apply)
			damages[i].apply();
		if (gso_check() != -EINVAL)
			fail_msg("passed: %s", damages[i].what);
	}
}

static void the_same_frames_undamaged_pass(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
		gso_make(damages[i].order);
		if (damages[i].apply && gso_check() != 0)
			fail_msg("refused: %s", damages[i].what);
	}
	gso_make((struct netframe_order){ .udp = true,
					  .payload = 128 * 8,
					  .gso_type = USO,
					  .gso_size = 8 });
	check_ret(gso_check(), 0);
}

/* ---- what a receiver takes ---- */

static void gso_frames_pass_whole_to_receivers_with_the_offload(void **state)
{
#define F(x) BIT(VIRTIO_NET_F_GUEST_##x)
	static const struct {
		uint8_t type;
		uint64_t takes;
	} rows[] = {
		{ TCP4, F(CSUM) | F(TSO4) },
		{ TCP6, F(CSUM) | F(TSO6) },
		{ TCP4 | ECN, F(CSUM) | F(TSO4) | F(ECN) },
		{ TCP6 | ECN, F(CSUM) | F(TSO6) | F(ECN) },
		{ UFO, F(CSUM) | F(UFO) },
		{ USO, F(CSUM) | F(USO4) | F(USO6) },
	};
#undef F

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct virtio_net_hdr hdr = {
			.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			.gso_type = rows[i].type,
			.gso_size = htole16(1000),
		};

		assert_int_equal(offload_needed(&hdr, rows[i].takes),
				 OFFLOAD_NOTHING);
		for (unsigned int bit = 0; bit < 64; bit++) {
			if (rows[i].takes & BIT(bit))
				assert_int_equal(
					offload_needed(&hdr, ~BIT(bit)),
					OFFLOAD_SEGMENT);
		}
	}
}

/* ---- segments ---- */

static void tcp_over_ipv4_is_cut_into_right_segments(void **state)
{
	(void)state;
	gso_make((struct netframe_order){ .payload = 3001,
					  .tcp_options = 12,
					  .ip_options = 8,
					  .tcp_flags = ACK,
					  .gso_type = TCP4,
					  .gso_size = 1000 });
	gso_cut();
	assert_int_equal(gso.pieces, 4);
	assert_pieces_right();
	assert_payload_kept(14 + 28 + 32);
	for (unsigned int i = 0; i < 4; i++) {
		const uint8_t *ip = gso.piece[i] + 14, *tcp = ip + 28;

		assert_int_equal(get16(ip + 4),
				 (get16(gso.frame + 18) + i) & 0xffff);
		assert_int_equal(get32(tcp + 4),
				 get32(gso.frame + 46) + i * 1000);
		assert_int_equal(gso.piece_len[i], i == 3 ? 75 : 1074);
	}
}

static void tcp_over_ipv6_is_cut_with_its_extension_headers(void **state)
{
	(void)state;
	gso_make((struct netframe_order){ .ipv6 = true,
					  .extensions = { IPPROTO_HOPOPTS,
							  IPPROTO_ROUTING,
							  IPPROTO_DSTOPTS },
					  .extensions_num = 3,
					  .extension_len = 16,
					  .tags = 1,
					  .tag = { ETH_P_8021Q },
					  .payload = 2000,
					  .gso_type = TCP6,
					  .gso_size = 999 });
	gso_cut();
	assert_int_equal(gso.pieces, 3);
	assert_pieces_right();
	assert_payload_kept(14 + 4 + 40 + 48 + 20);
}

static void seven_tags_are_kept(void **state)
{
	(void)state;
	gso_make((struct netframe_order){
		.tags = 7,
		.tag = { ETH_P_8021AD, ETH_P_8021Q, ETH_P_8021Q, ETH_P_8021Q,
			 ETH_P_8021Q, ETH_P_8021Q, ETH_P_8021Q },
		.payload = 3000,
		.gso_type = TCP4,
		.gso_size = 1000 });
	gso_cut();
	assert_pieces_right();
	assert_payload_kept(14 + 28 + 40);
}

static void a_checksum_of_uso_that_comes_out_0_is_sent_as_ffff(void **state)
{
	uint16_t sum;

	(void)state;
	gso_make((struct netframe_order){ .udp = true,
					  .payload = 200,
					  .gso_type = USO,
					  .gso_size = 100 });
	gso_cut();
	/* What is missing to 0 goes into the first segment's payload. */
	sum = netframe_sum(get16(gso.piece[0] + 40), gso.frame + 42, 2);
	gso.frame[42] = (uint8_t)(sum >> 8);
	gso.frame[43] = (uint8_t)sum;
	gso_cut();
	assert_int_equal(get16(gso.piece[0] + 40), 0xffff);
	assert_pieces_right();
}

static void fin_and_psh_stay_in_the_last_cwr_in_the_first(void **state)
{
	(void)state;
	gso_make((struct netframe_order){ .payload = 2500,
					  .tcp_flags = FIN | PSH | ACK | CWR,
					  .gso_type = TCP4 | ECN,
					  .gso_size = 1000 });
	gso_cut();
	assert_int_equal(gso.pieces, 3);
	assert_pieces_right();
	assert_int_equal(gso.piece[0][47], ACK | CWR);
	assert_int_equal(gso.piece[1][47], ACK);
	assert_int_equal(gso.piece[2][47], ACK | FIN | PSH);
}

static void the_ip_id_and_the_sequence_number_wrap(void **state)
{
	(void)state;
	gso_make((struct netframe_order){
		.payload = 3000, .gso_type = TCP4, .gso_size = 1000 });
	memset(gso.frame + 18, 0xff, 2);
	memset(gso.frame + 38, 0xff, 4);
	gso_cut();
	assert_pieces_right();
	assert_int_equal(get16(gso.piece[1] + 18), 0);
	assert_int_equal(get32(gso.piece[1] + 38), 999);
	assert_int_equal(get16(gso.piece[2] + 18), 1);
}

static void uso_makes_datagrams_of_their_own(void **state)
{
	(void)state;
	for (int ipv6 = 0; ipv6 < 2; ipv6++) {
		gso_make((struct netframe_order){ .ipv6 = ipv6,
						  .udp = true,
						  .payload = 2501,
						  .gso_type = USO,
						  .gso_size = 1000 });
		gso_cut();
		assert_int_equal(gso.pieces, 3);
		assert_pieces_right();
		assert_payload_kept(14 + (ipv6 ? 40 : 20) + 8);
	}
}

static void a_wrong_partial_checksum_stays_as_wrong(void **state)
{
	(void)state;
	gso_make((struct netframe_order){
		.payload = 3000, .gso_type = TCP4, .gso_size = 1000 });
	gso.frame[50] ^= 1;
	gso_cut();
	for (unsigned int i = 0; i < gso.pieces; i++)
		assert_string_equal(
			netframe_wrong(gso.piece[i], gso.piece_len[i]),
			"the checksum of TCP/UDP");
}

static void odd_segments_have_right_checksums(void **state)
{
	(void)state;
	for (uint16_t size = 8; size < 200; size++) {
		gso_make((struct netframe_order){ .payload = 1500,
						  .gso_type = TCP4,
						  .gso_size = size,
						  .seed = size });
		gso_cut();
		assert_pieces_right();
		assert_payload_kept(54);
	}
}

/* ---- fragments ---- */

/* The datagram that the fragments make is whole and has a right checksum. */
static void assert_fragments_make(size_t ip_len)
{
	static uint8_t whole[NETFRAME_MAX];
	size_t len = 0, header = 14 + ip_len;
	bool ipv6 = ip_len >= 48;

	for (unsigned int i = 0; i < gso.pieces; i++) {
		const uint8_t *ip = gso.piece[i] + 14;
		size_t n = gso.piece_len[i] - header;
		uint16_t offset = ipv6 ? get16(ip + ip_len - 6)
				       : (uint16_t)(get16(ip + 6) << 3);

		assert_int_equal(offset & 0xfff8, len);
		assert_int_equal(ipv6 ? offset & 1 : get16(ip + 6) >> 13,
				 i + 1 < gso.pieces);
		assert_int_equal(get16(ip + (ipv6 ? 4 : 2)),
				 gso.piece_len[i] - 14 - (ipv6 ? 40 : 0));
		if (!ipv6)
			assert_int_equal(netframe_sum(0, ip, ip_len), 0xffff);
		memcpy(whole + header + len, gso.piece[i] + header, n);
		len += n;
	}
	assert_int_equal(len, gso.len - (ipv6 ? 54 : 34));
	/* as it was before, but for the checksum that is whole now */
	memcpy(gso.frame + (ipv6 ? 60 : 40), whole + header + 6, 2);
	assert_null(netframe_wrong(gso.frame, gso.len));
	assert_memory_equal(whole + header, gso.frame + (ipv6 ? 54 : 34), len);
}

static void ufo_over_ipv4_makes_ip_fragments(void **state)
{
	(void)state;
	gso_make((struct netframe_order){ .udp = true,
					  .payload = 4000,
					  .gso_type = UFO,
					  .gso_size = 1480 });
	gso_cut();
	assert_int_equal(gso.pieces, 3);
	assert_fragments_make(20);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(get16(gso.piece[i] + 18),
				 get16(gso.frame + 18));
}

static void ufo_over_ipv6_puts_in_fragment_headers(void **state)
{
	uint32_t id;

	(void)state;
	gso_make((struct netframe_order){ .ipv6 = true,
					  .udp = true,
					  .payload = 4000,
					  .gso_type = UFO,
					  .gso_size = 1448 });
	gso_cut();
	assert_int_equal(gso.pieces, 3);
	assert_fragments_make(48);
	id = get32(gso.piece[0] + 58);
	assert_int_not_equal(id, 0);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(gso.piece[i][20], IPPROTO_FRAGMENT);
		assert_int_equal(gso.piece[i][54], IPPROTO_UDP);
		assert_int_equal(gso.piece[i][55], 0);
		assert_int_equal(get32(gso.piece[i] + 58), id);
	}
	gso_cut();
	assert_int_not_equal(get32(gso.piece[0] + 58), id);
}

static void a_fragment_header_goes_behind_the_routing_header(void **state)
{
	(void)state;
	gso_make((struct netframe_order){ .ipv6 = true,
					  .udp = true,
					  .extensions = { IPPROTO_HOPOPTS,
							  IPPROTO_ROUTING,
							  IPPROTO_DSTOPTS },
					  .extensions_num = 3,
					  .payload = 3000,
					  .gso_type = UFO,
					  .gso_size = 1000 });
	gso_cut();
	for (unsigned int i = 0; i < gso.pieces; i++) {
		const uint8_t *ip = gso.piece[i] + 14;

		assert_int_equal(ip[6], IPPROTO_HOPOPTS);
		assert_int_equal(ip[40], IPPROTO_ROUTING);
		assert_int_equal(ip[48], IPPROTO_FRAGMENT);
		assert_int_equal(ip[56], IPPROTO_DSTOPTS);
		assert_int_equal(ip[64], IPPROTO_UDP);
	}
}

static void fragments_may_be_shorter_than_udps_header(void **state)
{
	uint8_t datagram[8 + 100];

	(void)state;
	gso_make((struct netframe_order){
		.udp = true, .payload = 100, .gso_type = UFO, .gso_size = 3 });
	gso_cut();
	assert_int_equal(gso.pieces, 36);
	for (unsigned int i = 0; i < gso.pieces; i++)
		memcpy(datagram + 3 * i, gso.piece[i] + 34, 3);
	memcpy(gso.frame + 34, datagram, sizeof(datagram));
	assert_null(netframe_wrong(gso.frame, gso.len));
}

/* ---- long headers ---- */

static void headers_that_no_segment_has_room_for_are_not_cut(void **state)
{
	struct offload_segments s;

	(void)state;
	for (size_t n = 0; n < 2; n++) {
		gso_make((struct netframe_order){
			.ipv6 = true,
			.extensions = { IPPROTO_HOPOPTS },
			.extensions_num = 1,
			.extension_len = 424 + 8 * n,
			.payload = 3000,
			.gso_type = TCP6,
			.gso_size = 1000 });
		check_ret(gso_check(), 0);
		if (n == 0)
			check_ret(offload_segments_begin(&s, &gso.hdr,
							 gso.frame, gso.len),
				  3);
		else
			check_ret(offload_segments_begin(&s, &gso.hdr,
							 gso.frame, gso.len),
				  -EINVAL);
	}
}

static void what_is_no_gso_is_not_cut(void **state)
{
	struct offload_segments s;

	(void)state;
	gso_make((struct netframe_order){ .payload = 3000 });
	check_ret(gso_check(), 0);
	check_ret(offload_segments_begin(&s, &gso.hdr, gso.frame, gso.len),
		  -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_partial_checksum_is_completed),
		cmocka_unit_test(a_checksum_that_comes_out_0_is_sent_as_ffff),
		cmocka_unit_test(without_needs_csum_nothing_is_touched),
		cmocka_unit_test(flags_but_needs_csum_are_taken_away),
		cmocka_unit_test(without_gso_its_fields_become_0),
		cmocka_unit_test(what_fits_into_one_segment_is_no_gso),
		cmocka_unit_test(hdr_len_is_put_right),
		cmocka_unit_test(tiny_tcp_segments_are_made_8_bytes),
		cmocka_unit_test(
			gso_without_needs_csum_passes_and_is_always_cut),
		cmocka_unit_test(what_is_no_ip_passes_without_gso_and_checksum),
		cmocka_unit_test(what_the_kernel_drops_is_refused),
		cmocka_unit_test(the_same_frames_undamaged_pass),
		cmocka_unit_test(
			gso_frames_pass_whole_to_receivers_with_the_offload),
		cmocka_unit_test(tcp_over_ipv4_is_cut_into_right_segments),
		cmocka_unit_test(
			tcp_over_ipv6_is_cut_with_its_extension_headers),
		cmocka_unit_test(seven_tags_are_kept),
		cmocka_unit_test(
			a_checksum_of_uso_that_comes_out_0_is_sent_as_ffff),
		cmocka_unit_test(fin_and_psh_stay_in_the_last_cwr_in_the_first),
		cmocka_unit_test(the_ip_id_and_the_sequence_number_wrap),
		cmocka_unit_test(uso_makes_datagrams_of_their_own),
		cmocka_unit_test(a_wrong_partial_checksum_stays_as_wrong),
		cmocka_unit_test(odd_segments_have_right_checksums),
		cmocka_unit_test(ufo_over_ipv4_makes_ip_fragments),
		cmocka_unit_test(ufo_over_ipv6_puts_in_fragment_headers),
		cmocka_unit_test(
			a_fragment_header_goes_behind_the_routing_header),
		cmocka_unit_test(fragments_may_be_shorter_than_udps_header),
		cmocka_unit_test(
			headers_that_no_segment_has_room_for_are_not_cut),
		cmocka_unit_test(what_is_no_gso_is_not_cut),
	};

	alarm(60);
	return cmocka_run_group_tests_name("offload", tests, NULL, NULL);
}
