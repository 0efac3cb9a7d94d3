/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A frame and its virtio_net_hdr, as a guest sends them: either any bytes, or a
 * good frame made to the order of the input. Whatever is accepted is finished
 * as for a receiver that takes nothing. The frame has an allocation of its own
 * size, so one byte too many is seen.
 *
 * Input: a byte (1: to order), then 10 bytes of header, 4 that are skipped and
 * the frame, or the numbers of the order.
 */
#include "fuzz.h"

#include <endian.h>

#include "fuzzorder.h"

#define PIECES_MAX 4096 /* looked at, of one frame */

/** struct sent - what the guest sent
 * @right: its partial checksum is, if it has one */
struct sent {
	struct virtio_net_hdr hdr;
	uint8_t *frame;
	size_t len;
	bool right;
};

static void read_raw(struct input *in, struct sent *s)
{
	uint8_t skipped[4];

	in_bytes(in, &s->hdr, sizeof(s->hdr));
	in_bytes(in, skipped, sizeof(skipped));
	s->right = !(s->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
	s->len = in->n;
	s->frame = malloc(s->len ? s->len : 1);
	must(s->frame);
	in_bytes(in, s->frame, s->len);
}

static void read_order(struct input *in, struct sent *s)
{
	static uint8_t room[NETFRAME_MAX];
	struct netframe_order o = in_order(in);

	s->len = netframe_make(&o, &s->hdr, room);
	s->right = true;
	s->frame = malloc(s->len);
	must(s->frame);
	memcpy(s->frame, room, s->len);
}

static void look_at_header(const struct virtio_net_hdr *hdr, size_t len)
{
	must(!(hdr->flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM));
	if (hdr->flags)
		must(le16toh(hdr->csum_start) + le16toh(hdr->csum_offset) +
			     2u <=
		     len);
	else
		must(!hdr->csum_start && !hdr->csum_offset);
	if (hdr->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		must(!hdr->gso_size && !hdr->hdr_len);
	else
		must(hdr->gso_size && hdr->hdr_len &&
		     le16toh(hdr->hdr_len) <= len);
}

static void look_at_segment(const uint8_t *header, size_t n,
			    const uint8_t *payload, size_t payload_len)
{
	uint8_t *piece = malloc(n + payload_len);
	const char *wrong;

	must(piece);
	memcpy(piece, header, n);
	memcpy(piece + n, payload, payload_len);
	wrong = netframe_wrong(piece, n + payload_len);
	if (wrong && n + payload_len < 65536) {
		fprintf(stderr, "%s\n", wrong);
		abort();
	}
	free(piece);
}

/* The payloads lie one behind the other, up to the frame's end. */
static void segment(const struct sent *s)
{
	bool fragments = (s->hdr.gso_type & ~VIRTIO_NET_HDR_GSO_ECN) ==
			 VIRTIO_NET_HDR_GSO_UDP;
	uint8_t *header = malloc(OFFLOAD_HEADER_MAX);
	struct offload_segments seg;
	const uint8_t *payload, *at = NULL;
	size_t n, payload_len, longest;
	int want, i = 0;

	must(header);
	want = offload_segments_begin(&seg, &s->hdr, s->frame, s->len);
	must(want == -22 || want >= 2);
	longest = want > 0 ? offload_segment_max(&seg) : 0;
	while (want > 0 && i < PIECES_MAX &&
	       (n = offload_segments_next(&seg, header, &payload,
					  &payload_len)) > 0) {
		must(n <= OFFLOAD_HEADER_MAX && n + payload_len <= longest);
		if (payload_len) {
			must(!at || payload == at);
			at = payload + payload_len;
			must(payload >= s->frame && at <= s->frame + s->len);
		}
		if (!fragments && s->right)
			look_at_segment(header, n, payload, payload_len);
		i++;
	}
	must(want < 0 || i == (want < PIECES_MAX ? want : PIECES_MAX));
	must(i != want || !at || at == s->frame + s->len);
	free(header);
}

static void complete(struct sent *s)
{
	size_t at = le16toh(s->hdr.csum_start) + le16toh(s->hdr.csum_offset);
	uint8_t *before = malloc(s->len);

	must(before);
	memcpy(before, s->frame, s->len);
	offload_checksum(&s->hdr, s->frame, s->len);
	must(s->hdr.flags == 0);
	must(memcmp(before, s->frame, at) == 0);
	must(memcmp(before + at + 2, s->frame + at + 2, s->len - at - 2) == 0);
	free(before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct sent s = { 0 };
	uint8_t mode = in_u8(&in);

	if (mode & 1)
		read_order(&in, &s);
	else
		read_raw(&in, &s);
	if (offload_check(&s.hdr, s.frame, s.len) == 0) {
		look_at_header(&s.hdr, s.len);
		switch (offload_needed(&s.hdr, 0)) {
		case OFFLOAD_NOTHING:
			break;
		case OFFLOAD_CHECKSUM:
			complete(&s);
			break;
		case OFFLOAD_SEGMENT:
			segment(&s);
		}
	}
	free(s.frame);
	return 0;
}
