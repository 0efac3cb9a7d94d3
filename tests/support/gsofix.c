/* SPDX-License-Identifier: BSD-3-Clause */
#include "check.h"

#include "gsofix.h"

struct gsofix gso;

void gso_make(struct netframe_order o)
{
	gso.len = netframe_make(&o, &gso.hdr, gso.frame);
}

int gso_check(void)
{
	return offload_check(&gso.hdr, gso.frame, gso.len);
}

void gso_cut(void)
{
	uint8_t header[OFFLOAD_HEADER_MAX];
	struct offload_segments s;
	const uint8_t *payload;
	size_t n, payload_len;
	int want;

	check_ret(gso_check(), 0);
	want = check_ok(
		offload_segments_begin(&s, &gso.hdr, gso.frame, gso.len));
	assert_in_range(want, 2, GSO_PIECES_MAX);
	gso.pieces = 0;
	while ((n = offload_segments_next(&s, header, &payload, &payload_len)) >
	       0) {
		uint8_t *to = gso.piece[gso.pieces];

		assert_in_range(n + payload_len, 1, offload_segment_max(&s));
		memcpy(to, header, n);
		memcpy(to + n, payload, payload_len);
		gso.piece_len[gso.pieces++] = n + payload_len;
	}
	assert_int_equal(gso.pieces, want);
}
