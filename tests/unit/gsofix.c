/* SPDX-License-Identifier: BSD-3-Clause */
#include "check.h"

#include "gsofix.h"

struct gsofix gso;

void gso_make(struct netframe_order o)
{
	gso.len = netframe_make(&o, &gso.hdr, gso.frame);
}

void gso_wrap(struct netframe_order outer)
{
	uint16_t offsets[2];

	gso.len = netframe_wrap(&outer, &gso.hdr, offsets, gso.frame, gso.len);
	gso.tunnel = (struct offload_tunnel){ offsets[0], offsets[1] };
}

int gso_check(void)
{
	return offload_tunnel_check(&gso.hdr, &gso.tunnel, true, gso.frame,
				    gso.len);
}

static int begin(struct offload_segments *s)
{
	if (gso.hdr.gso_type & OFFLOAD_GSO_TUNNEL)
		return offload_tunnel_begin(s, &gso.hdr, &gso.tunnel, gso.frame,
					    gso.len);
	return offload_segments_begin(s, &gso.hdr, gso.frame, gso.len);
}

void gso_cut(void)
{
	uint8_t header[OFFLOAD_HEADER_MAX];
	struct offload_segments s;
	const uint8_t *payload;
	size_t n, payload_len;
	int want;

	check_ret(gso_check(), 0);
	want = check_ok(begin(&s));
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
