/* SPDX-License-Identifier: BSD-3-Clause */
/* pkt.c checks the frames that a port sends, and finds their VLAN. */
#include "pkt.h"

#include <endian.h>
#include <string.h>

#include <linux/if_ether.h>

#include "bytes.h"
#include "offload.h"

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

static enum network_drop check_vlan(struct pkt *s,
				    const struct swport_config *c)
{
	const uint8_t *frame = pkt_frame(s);
	size_t type = PKT_MACS;
	unsigned int vid = 0;

	s->tagged = load_be16(frame + PKT_MACS) == ETH_P_8021Q;
	if (s->tagged) {
		if (s->len < PKT_HDR + ETH_HLEN + PKT_TAG)
			return DROP_MALFORMED;
		s->tci = load_be16(frame + PKT_MACS + 2);
		vid = s->tci & VID_MASK;
		type += PKT_TAG;
	}
	s->vlan = vlan_of(c, vid);
	if (!s->vlan)
		return DROP_VLAN;
	s->stacked = is_tag(load_be16(frame + type));
	if (s->stacked && !vid)
		return DROP_STACKED;
	s->tci = (uint16_t)((s->tci & ~VID_MASK) | s->vlan);
	return PKT_OK;
}

/* Checks virtio_net_hdr, and finds the longest packet of the frame. */
static enum network_drop check_offload(struct pkt *s)
{
	struct virtio_net_hdr *h = pkt_hdr(s);
	size_t len = s->len - PKT_HDR;
	struct offload_segments seg;

	if (offload_check(h, pkt_frame(s), len) < 0)
		return DROP_MALFORMED;
	/* A tag moves it: it must not overflow. */
	if (le16toh(h->csum_start) > UINT16_MAX - PKT_TAG)
		return DROP_MALFORMED;
	if (pkt_gso(s)) {
		if (offload_segments_begin(&seg, h, pkt_frame(s), len) < 0)
			return DROP_MALFORMED;
		len = offload_segment_max(&seg);
	}
	s->longest = (uint32_t)(len - ETH_HLEN - (s->tagged ? PKT_TAG : 0));
	return PKT_OK;
}

static enum network_drop drop_reason(struct pkt *s,
				     const struct swport_config *c)
{
	const uint8_t *frame = pkt_frame(s);
	enum network_drop drop;

	if (s->len < PKT_HDR + ETH_HLEN)
		return DROP_MALFORMED;
	if (!is_source(frame + ETH_ALEN))
		return DROP_SOURCE;
	if (is_reserved(frame))
		return DROP_RESERVED;
	drop = check_vlan(s, c);
	if (drop == PKT_OK)
		drop = check_offload(s);
	return drop;
}

/* Moves header and addresses over the tag. */
static void remove_tag(struct pkt *s)
{
	memmove(s->data + PKT_TAG, s->data, PKT_HDR + PKT_MACS);
	s->data += PKT_TAG;
	s->len -= PKT_TAG;
	pkt_shift_header(pkt_hdr(s), -PKT_TAG);
	s->tagged = false;
}

void pkt_check(struct pkt *s, const struct swport_config *c)
{
	const uint8_t *tci;

	*s = (struct pkt){ .data = s->data, .len = s->len };
	s->drop = (uint8_t)drop_reason(s, c);
	if (s->drop != PKT_OK || !s->tagged)
		return;
	tci = pkt_frame(s) + PKT_MACS + 2;
	if ((load_be16(tci) & VID_MASK) == 0)
		remove_tag(s);
}
