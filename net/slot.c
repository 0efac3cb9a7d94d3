/* SPDX-License-Identifier: BSD-3-Clause */
#include "slot.h"

#include <endian.h>
#include <string.h>

#include <linux/if_ether.h>
#include <netinet/in.h>

#include "bytes.h"
#include "inbox.h"
#include "offload.h"
#include "offload_priv.h"

#define VID_MASK 0xfff
#define VID_LAST 4094

_Static_assert(SLOT_SEGMENTS_MAX <= INBOX_BYTES / 2,
	       "a wire whose inbox is half free takes any frame");

static uint16_t be16_at(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* ---- the header goes with the tag ---- */

static void shift_field(__virtio16 *field, int by)
{
	*field = htole16((uint16_t)(le16toh(*field) + by));
}

/* The header as offload_check() left it: hdr_len only with GSO. */
static void shift_header(struct virtio_net_hdr *h, int by)
{
	if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		shift_field(&h->csum_start, by);
	if (h->hdr_len)
		shift_field(&h->hdr_len, by);
}

/* Header and addresses move up over the tag. */
static void take_tag_out(struct slot *s)
{
	memmove(s->data + SLOT_TAG, s->data, SLOT_HDR + SLOT_MACS);
	s->data += SLOT_TAG;
	s->len -= SLOT_TAG;
	shift_header(slot_hdr(s), -SLOT_TAG);
	s->tagged = false;
}

unsigned int slot_pieces(const struct slot *s, const uint8_t *data, size_t len,
			 bool tag, struct slot_head *head, struct iovec *iov,
			 size_t *total)
{
	const size_t front = SLOT_HDR + SLOT_MACS;
	struct virtio_net_hdr *h = (struct virtio_net_hdr *)head->bytes;
	size_t skip = front, kept = front;

	*total = len;
	if (likely(tag == s->tagged)) {
		iov[0] = (struct iovec){ (void *)data, len };
		return 1;
	}
	memcpy(head->bytes, data, front);
	if (tag) {
		const uint8_t bytes[SLOT_TAG] = { ETH_P_8021Q >> 8,
						  ETH_P_8021Q & 0xff,
						  (uint8_t)(s->tci >> 8),
						  (uint8_t)s->tci };

		memcpy(head->bytes + front, bytes, sizeof(bytes));
		kept += SLOT_TAG;
		*total += SLOT_TAG;
	} else {
		skip += SLOT_TAG;
		*total -= SLOT_TAG;
	}
	shift_header(h, tag ? SLOT_TAG : -SLOT_TAG);
	iov[0] = (struct iovec){ head->bytes, kept };
	iov[1] = (struct iovec){ (void *)(data + skip), len - skip };
	return 2;
}

/* ---- judgement ---- */

/* IEEE 802.1Q, table 8-1: for the next bridge only, which we are. */
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

static bool is_trunk(const struct netmember_config *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(c->trunk); i++)
		if (c->trunk[i])
			return true;
	return false;
}

/* The VLAN of a frame of that VID (0: without); 0 if it may not pass. */
static uint16_t admit(const struct netmember_config *c, unsigned int vid)
{
	if (!vid)
		return (uint16_t)c->vlan;
	if (vid > VID_LAST || !is_trunk(c))
		return 0;
	return c->trunk[vid / 64] >> vid % 64 & 1 ? (uint16_t)vid : 0;
}

/* Types that a switch somewhere takes for a tag: of IEEE 802.1Q, of 802.1ad,
 * and those in use for the outer of two tags before it. */
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

static enum network_drop judge_vlan(struct slot *s,
				    const struct netmember_config *c)
{
	const uint8_t *frame = slot_frame(s);
	size_t type = SLOT_MACS;
	unsigned int vid = 0;

	s->tagged = be16_at(frame + SLOT_MACS) == ETH_P_8021Q;
	if (s->tagged) {
		if (s->len < SLOT_HDR + ETH_HLEN + SLOT_TAG)
			return DROP_MALFORMED;
		s->tci = be16_at(frame + SLOT_MACS + 2);
		vid = s->tci & VID_MASK;
		type += SLOT_TAG;
	}
	s->vlan = admit(c, vid);
	if (!s->vlan)
		return DROP_VLAN;
	s->stacked = is_tag(be16_at(frame + type));
	if (s->stacked && !vid)
		return DROP_STACKED;
	s->tci = (uint16_t)((s->tci & ~VID_MASK) | s->vlan);
	return SLOT_OK;
}

/* Is the header true, and how long is what will leave? */
static enum network_drop judge_offload(struct slot *s)
{
	struct virtio_net_hdr *h = slot_hdr(s);
	size_t len = s->len - SLOT_HDR;
	struct offload_segments seg;

	if (offload_check(h, slot_frame(s), len) < 0)
		return DROP_MALFORMED;
	/* With a tag it must still be a number. */
	if (le16toh(h->csum_start) > UINT16_MAX - SLOT_TAG)
		return DROP_MALFORMED;
	if (slot_gso(s)) {
		if (offload_segments_begin(&seg, h, slot_frame(s), len) < 0)
			return DROP_MALFORMED;
		len = offload_segment_max(&seg);
	}
	s->longest = (uint32_t)(len - ETH_HLEN - (s->tagged ? SLOT_TAG : 0));
	return SLOT_OK;
}

static enum network_drop judge(struct slot *s, const struct netmember_config *c)
{
	const uint8_t *frame = slot_frame(s);
	enum network_drop drop;

	if (s->len < SLOT_HDR + ETH_HLEN)
		return DROP_MALFORMED;
	if (!is_source(frame + ETH_ALEN))
		return DROP_SOURCE;
	if (is_reserved(frame))
		return DROP_RESERVED;
	drop = judge_vlan(s, c);
	if (drop == SLOT_OK)
		drop = judge_offload(s);
	return drop;
}

void slot_judge(struct slot *s, const struct netmember_config *c)
{
	const uint8_t *tci;

	*s = (struct slot){ .data = s->data, .len = s->len };
	s->drop = (uint8_t)judge(s, c);
	if (s->drop != SLOT_OK || !s->tagged)
		return;
	tci = slot_frame(s) + SLOT_MACS + 2;
	if ((be16_at(tci) & VID_MASK) == 0)
		take_tag_out(s);
}

/* ---- flows ---- */

static uint64_t mix(uint64_t sum, const uint8_t *p, size_t len)
{
	for (; len >= 4; p += 4, len -= 4) {
		uint32_t v;

		memcpy(&v, p, sizeof(v));
		sum = (sum ^ v) * UINT64_C(0x9e3779b97f4a7c15);
		sum ^= sum >> 32;
	}
	return sum;
}

/* Fragments have no ports but for the first, and belong together. */
static bool has_ports(const struct headers *h, const uint8_t *frame, size_t len)
{
	if (h->fragment || len < h->transport + 4 ||
	    (h->protocol != IPPROTO_TCP && h->protocol != IPPROTO_UDP))
		return false;
	return h->ipv6 || (be16_at(frame + h->network + 6) & 0x3fff) == 0;
}

uint32_t slot_flow(const struct slot *s)
{
	const uint8_t *frame = slot_frame(s);
	size_t len = s->len - SLOT_HDR;
	struct headers h;
	uint64_t sum;

	if (!headers_find(&h, frame, len))
		return (uint32_t)mix(1, frame, SLOT_MACS);
	if (h.ipv6)
		sum = mix(6, frame + h.network + 8, 32);
	else
		sum = mix(4, frame + h.network + 12, 8);
	if (has_ports(&h, frame, len))
		sum = mix(sum, frame + h.transport, 4);
	return (uint32_t)sum;
}

/* ---- segments ---- */

bool slot_segment(struct slot *s, uint8_t *arena)
{
	struct segment *to = (struct segment *)arena;
	struct offload_segments seg;
	size_t head, n, most;
	const uint8_t *payload;

	if (offload_segments_begin(&seg, slot_hdr(s), slot_frame(s),
				   s->len - SLOT_HDR) < 0)
		return false;
	s->segments = to;
	s->nsegments = 0;
	s->segments_sum = 0;
	/* A tag may come to each. */
	most = SLOT_HDR + offload_segment_max(&seg) + SLOT_TAG;
	s->segment_longest = inbox_record(most);
	while (s->segments_sum + 2 * s->segment_longest <= SLOT_SEGMENTS_MAX) {
		head = offload_segments_next(&seg, to->data + SLOT_HDR,
					     &payload, &n);
		if (!head)
			return true;
		memset(to->data, 0, SLOT_HDR);
		memcpy(to->data + SLOT_HDR + head, payload, n);
		to->len = (uint32_t)(SLOT_HDR + head + n);
		s->segments_sum += inbox_record(to->len + SLOT_TAG);
		s->nsegments++;
		to = (struct segment *)segment_next(to);
	}
	/* The last may just have been made. */
	return !offload_segments_next(&seg, to->data, &payload, &n);
}
