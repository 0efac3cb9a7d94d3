/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pkt.c checks the packets that a port sends, and finds their VLAN; and adds or
 * removes their VLAN tag, and segments them, for a receiver.
 */
#include "pkt.h"

#include <endian.h>
#include <string.h>

#include <linux/if_ether.h>

#include "bytes.h"
#include "offload.h"
#include "rxq.h"

_Static_assert(PKT_SEGMENTS_MAX <= RXQ_BYTES / 2,
	       "on a wire, an rxq that is half free takes any frame");

#define VID_MASK 0xfff
#define VID_LAST 4094

/* IEEE 802.1Q, table 8-1: not forwarded by bridges. */
static bool is_reserved(const uint8_t *mac)
{
	static const uint8_t prefix[5] = { 0x01, 0x80, 0xc2, 0, 0 };

	return memcmp(mac, prefix, sizeof(prefix)) == 0 && mac[5] < 0x10;
}

static bool is_source(const uint8_t *mac)
{
	static const uint8_t none[ETH_ALEN];

	return !(mac[0] & 1) && memcmp(mac, none, ETH_ALEN) != 0;
}

static bool is_trunk(const struct swport_config *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(c->trunk); i++)
		if (c->trunk[i])
			return true;
	return false;
}

/* The VLAN of a frame with @vid in its tag (0: no tag, or a priority tag);
 * 0: it is dropped. */
static uint16_t vlan_of(const struct swport_config *c, unsigned int vid)
{
	if (!vid)
		return (uint16_t)c->vlan;
	if (vid > VID_LAST || !is_trunk(c))
		return 0;
	return c->trunk[vid / 64] >> vid % 64 & 1 ? (uint16_t)vid : 0;
}

/* EtherTypes of VLAN tags: IEEE 802.1Q, 802.1ad, and those of vendors for the
 * outer of two tags. */
static bool is_tag(uint16_t type)
{
	switch (type) {
	case ETH_P_8021Q:
	case ETH_P_8021AD:
	case ETH_P_QINQ1:
	case ETH_P_QINQ2:
	case ETH_P_QINQ3:
		return true;
	default:
		return false;
	}
}

static enum network_drop check_vlan(struct pkt *pkt,
				    const struct swport_config *c)
{
	const uint8_t *frame = pkt_frame(pkt);
	size_t type = PKT_MACS;
	unsigned int vid = 0;

	pkt->tagged = load_be16(frame + PKT_MACS) == ETH_P_8021Q;
	if (pkt->tagged) {
		if (pkt->len < PKT_HDR + ETH_HLEN + PKT_TAG)
			return DROP_MALFORMED;
		pkt->tci = load_be16(frame + PKT_MACS + 2);
		vid = pkt->tci & VID_MASK;
		type += PKT_TAG;
	}
	pkt->vlan = vlan_of(c, vid);
	if (!pkt->vlan)
		return DROP_VLAN;
	pkt->stacked = is_tag(load_be16(frame + type));
	if (pkt->stacked && !vid)
		return DROP_STACKED;
	pkt->tci = (uint16_t)((pkt->tci & ~VID_MASK) | pkt->vlan);
	return PKT_OK;
}

/* Checks virtio_net_hdr, and finds the longest segment. */
static enum network_drop check_offload(struct pkt *pkt)
{
	struct virtio_net_hdr *h = pkt_hdr(pkt);
	size_t len = pkt->len - PKT_HDR;
	struct offload_segments seg;

	if (offload_check(h, pkt_frame(pkt), len) < 0)
		return DROP_MALFORMED;
	/* A tag moves it: it must not overflow. */
	if (le16toh(h->csum_start) > UINT16_MAX - PKT_TAG)
		return DROP_MALFORMED;
	if (pkt_gso(pkt)) {
		if (offload_segments_begin(&seg, h, pkt_frame(pkt), len) < 0)
			return DROP_MALFORMED;
		len = offload_segment_max(&seg);
	}
	pkt->longest = (uint32_t)(len - ETH_HLEN - (pkt->tagged ? PKT_TAG : 0));
	return PKT_OK;
}

static enum network_drop drop_reason(struct pkt *pkt,
				     const struct swport_config *c)
{
	const uint8_t *frame = pkt_frame(pkt);
	enum network_drop drop;

	if (pkt->len < PKT_HDR + ETH_HLEN)
		return DROP_MALFORMED;
	if (!is_source(frame + ETH_ALEN))
		return DROP_SOURCE;
	if (is_reserved(frame))
		return DROP_RESERVED;
	drop = check_vlan(pkt, c);
	if (drop == PKT_OK)
		drop = check_offload(pkt);
	return drop;
}

static void shift_field(__virtio16 *field, int by)
{
	*field = htole16((uint16_t)(le16toh(*field) + by));
}

/* The packet has @by bytes more before its network header. hdr_len is set only
 * with GSO (offload_check()). */
static void shift_header(struct virtio_net_hdr *h, int by)
{
	if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		shift_field(&h->csum_start, by);
	if (h->hdr_len)
		shift_field(&h->hdr_len, by);
}

/* Moves header and addresses over the tag. */
static void remove_tag(struct pkt *pkt)
{
	memmove(pkt->data + PKT_TAG, pkt->data, PKT_HDR + PKT_MACS);
	pkt->data += PKT_TAG;
	pkt->len -= PKT_TAG;
	shift_header(pkt_hdr(pkt), -PKT_TAG);
	pkt->tagged = false;
}

void pkt_check(struct pkt *pkt, const struct swport_config *c)
{
	const uint8_t *tci;

	*pkt = (struct pkt){ .data = pkt->data, .len = pkt->len };
	pkt->drop = (uint8_t)drop_reason(pkt, c);
	if (pkt->drop != PKT_OK || !pkt->tagged)
		return;
	tci = pkt_frame(pkt) + PKT_MACS + 2;
	if ((load_be16(tci) & VID_MASK) == 0)
		remove_tag(pkt);
}

/* ---- as a receiver gets it ---- */

unsigned int pkt_pieces(const struct pkt *pkt, const uint8_t *data, size_t len,
			bool tag, struct pkt_head *head, struct iovec *iov,
			size_t *total)
{
	const size_t front = PKT_HDR + PKT_MACS;
	struct virtio_net_hdr *h = (struct virtio_net_hdr *)head->bytes;
	size_t skip = front, kept = front;

	*total = len;
	if (likely(tag == pkt->tagged)) {
		iov[0] = (struct iovec){ (void *)data, len };
		return 1;
	}
	memcpy(head->bytes, data, front);
	if (tag) {
		const uint8_t bytes[PKT_TAG] = { ETH_P_8021Q >> 8,
						 ETH_P_8021Q & 0xff,
						 (uint8_t)(pkt->tci >> 8),
						 (uint8_t)pkt->tci };

		memcpy(head->bytes + front, bytes, sizeof(bytes));
		kept += PKT_TAG;
		*total += PKT_TAG;
	} else {
		skip += PKT_TAG;
		*total -= PKT_TAG;
	}
	shift_header(h, tag ? PKT_TAG : -PKT_TAG);
	iov[0] = (struct iovec){ head->bytes, kept };
	iov[1] = (struct iovec){ (void *)(data + skip), len - skip };
	return 2;
}

bool pkt_segment(struct pkt *pkt, uint8_t *arena)
{
	struct segment *to = (struct segment *)arena;
	struct offload_segments seg;
	size_t head, n, most;
	const uint8_t *payload;

	if (offload_segments_begin(&seg, pkt_hdr(pkt), pkt_frame(pkt),
				   pkt->len - PKT_HDR) < 0)
		return false;
	pkt->segments = to;
	pkt->nsegments = 0;
	pkt->segments_sum = 0;
	/* A receiver may need a tag in each. */
	most = PKT_HDR + offload_segment_max(&seg) + PKT_TAG;
	pkt->segment_longest = rxq_entry_size(most);
	while (pkt->segments_sum + 2 * pkt->segment_longest <=
	       PKT_SEGMENTS_MAX) {
		head = offload_segments_next(&seg, to->data + PKT_HDR, &payload,
					     &n);
		if (!head)
			return true;
		memset(to->data, 0, PKT_HDR);
		memcpy(to->data + PKT_HDR + head, payload, n);
		to->len = (uint32_t)(PKT_HDR + head + n);
		pkt->segments_sum += rxq_entry_size(to->len + PKT_TAG);
		pkt->nsegments++;
		to = (struct segment *)segment_next(to);
	}
	/* True if the last iteration made the last segment. */
	return !offload_segments_next(&seg, to->data, &payload, &n);
}
