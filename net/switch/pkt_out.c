/* SPDX-License-Identifier: BSD-3-Clause */
/* pkt_out.c adds or removes the VLAN tag of a frame, and segments it, as its
 * receiver takes it. */
#include "pkt.h"

#include <endian.h>
#include <string.h>

#include <linux/if_ether.h>

#include "bytes.h"
#include "rxq.h"
#include "offload.h"

_Static_assert(PKT_SEGMENTS_MAX <= RXQ_BYTES / 2,
	       "on a wire, an rxq that is half free takes any frame");

static void shift_field(__virtio16 *field, int by)
{
	*field = htole16((uint16_t)(le16toh(*field) + by));
}

void pkt_shift_header(struct virtio_net_hdr *h, int by)
{
	if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		shift_field(&h->csum_start, by);
	if (h->hdr_len)
		shift_field(&h->hdr_len, by);
}

unsigned int pkt_pieces(const struct pkt *s, const uint8_t *data, size_t len,
			bool tag, struct pkt_head *head, struct iovec *iov,
			size_t *total)
{
	const size_t front = PKT_HDR + PKT_MACS;
	struct virtio_net_hdr *h = (struct virtio_net_hdr *)head->bytes;
	size_t skip = front, kept = front;

	*total = len;
	if (likely(tag == s->tagged)) {
		iov[0] = (struct iovec){ (void *)data, len };
		return 1;
	}
	memcpy(head->bytes, data, front);
	if (tag) {
		const uint8_t bytes[PKT_TAG] = { ETH_P_8021Q >> 8,
						 ETH_P_8021Q & 0xff,
						 (uint8_t)(s->tci >> 8),
						 (uint8_t)s->tci };

		memcpy(head->bytes + front, bytes, sizeof(bytes));
		kept += PKT_TAG;
		*total += PKT_TAG;
	} else {
		skip += PKT_TAG;
		*total -= PKT_TAG;
	}
	pkt_shift_header(h, tag ? PKT_TAG : -PKT_TAG);
	iov[0] = (struct iovec){ head->bytes, kept };
	iov[1] = (struct iovec){ (void *)(data + skip), len - skip };
	return 2;
}

bool pkt_segment(struct pkt *s, uint8_t *arena)
{
	struct segment *to = (struct segment *)arena;
	struct offload_segments seg;
	size_t head, n, most;
	const uint8_t *payload;

	if (offload_segments_begin(&seg, pkt_hdr(s), pkt_frame(s),
				   s->len - PKT_HDR) < 0)
		return false;
	s->segments = to;
	s->nsegments = 0;
	s->segments_sum = 0;
	/* Each may get a tag. */
	most = PKT_HDR + offload_segment_max(&seg) + PKT_TAG;
	s->segment_longest = rxq_entry_size(most);
	while (s->segments_sum + 2 * s->segment_longest <= PKT_SEGMENTS_MAX) {
		head = offload_segments_next(&seg, to->data + PKT_HDR, &payload,
					     &n);
		if (!head)
			return true;
		memset(to->data, 0, PKT_HDR);
		memcpy(to->data + PKT_HDR + head, payload, n);
		to->len = (uint32_t)(PKT_HDR + head + n);
		s->segments_sum += rxq_entry_size(to->len + PKT_TAG);
		s->nsegments++;
		to = (struct segment *)segment_next(to);
	}
	/* The last one may have been made just now. */
	return !offload_segments_next(&seg, to->data, &payload, &n);
}
