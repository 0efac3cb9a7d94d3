/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A frame on its way through a network, in memory of our own: checked, its VLAN
 * told, and made into what a receiver can take. No locks; nothing here looks at
 * a member but the one that sent it.
 */
#ifndef SLOT_H
#define SLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <linux/virtio_net.h>

#include "mactable.h"
#include "network.h"

/** SLOT_HDR - bytes of virtio_net_hdr before each frame, inside of a network */
#define SLOT_HDR sizeof(struct virtio_net_hdr_mrg_rxbuf)
#define SLOT_MACS 12 /* both addresses */
#define SLOT_TAG 4

/** SLOT_FRAME_MAX - bytes of the longest frame without header */
#define SLOT_FRAME_MAX (NETPORT_FRAME_MAX - 24)

/** SLOT_OK - in struct slot.drop: nothing speaks against it */
#define SLOT_OK NETWORK_DROPS

/**
 * struct slot - one frame
 * @data:   SLOT_HDR bytes, then the Ethernet frame
 * @len:    bytes of both
 * @longest: bytes behind Ethernet header and tag, of the longest packet in it
 * @drop:   enum network_drop, or SLOT_OK
 * @vlan:   that it is in
 * @tci:    priority and VLAN, for a tag
 * @tagged: it has a tag now
 * @stacked: there is another tag behind that; then it may not leave without it
 * @src, @dst, @to: forward.c's; @dst.key 0: a group address
 * @nto:    receivers
 * @token:  it was charged to the flood limit
 * @completed: its checksum was
 * @segments: struct segment in the sender's arena, @nsegments of them; 0: not
 *          made. @segments_sum, @segment_longest: what they take in an inbox
 */
struct slot {
	uint8_t *data;
	uint32_t len, longest;
	uint8_t drop;
	bool tagged, stacked, token, completed;
	uint16_t vlan, tci;
	int16_t to;
	uint16_t nto;
	struct macaddr src, dst;
	const struct segment *segments;
	uint32_t nsegments;
	size_t segments_sum, segment_longest;
};

static inline uint8_t *slot_frame(const struct slot *s)
{
	return s->data + SLOT_HDR;
}

static inline struct virtio_net_hdr *slot_hdr(const struct slot *s)
{
	return (struct virtio_net_hdr *)s->data;
}

/** slot_plain() - it has nothing that a receiver may lack */
static inline bool slot_plain(const struct slot *s)
{
	const struct virtio_net_hdr *h = slot_hdr(s);

	return !h->flags && h->gso_type == VIRTIO_NET_HDR_GSO_NONE;
}

static inline bool slot_gso(const struct slot *s)
{
	return slot_hdr(s)->gso_type != VIRTIO_NET_HDR_GSO_NONE;
}

/**
 * slot_judge() - look at a frame that has just come in
 * @c: of the member that sent it
 *
 * @data and @len are set; sets the rest, but what forward.c or segmentation
 * fills in. A priority tag is taken out.
 */
void slot_judge(struct slot *s, const struct netmember_config *c);

/** slot_is_group() - broadcast or multicast */
static inline bool slot_is_group(const struct slot *s)
{
	return slot_frame(s)[0] & 1;
}

/** slot_flow() - a number that is the same for all frames of a flow */
uint32_t slot_flow(const struct slot *s);

/**
 * struct segment - one of the packets that a GSO frame was cut into
 * @len: bytes of @data, header included
 */
struct segment {
	uint32_t len;
	uint32_t pad;
	uint8_t data[];
};

static inline const struct segment *segment_next(const struct segment *s)
{
	return (const struct segment *)((const uint8_t *)s +
					((sizeof(*s) + s->len + 7) &
					 ~(size_t)7));
}

/**
 * slot_segment() - cut up a GSO frame
 * @arena: room of SLOT_ARENA bytes, 8-aligned; they stay there
 *
 * Return: false if they are too many for any inbox.
 */
bool slot_segment(struct slot *s, uint8_t *arena);
/** SLOT_SEGMENTS_MAX - bytes of all segments in an inbox, and of the longest
 * once more: what fits in half of one */
#define SLOT_SEGMENTS_MAX ((size_t)256 * 1024)
#define SLOT_ARENA (SLOT_SEGMENTS_MAX + 1024)

/** struct slot_head - what is put in front of a frame whose tag changes */
struct slot_head {
	_Alignas(8) uint8_t bytes[SLOT_HDR + SLOT_MACS + SLOT_TAG];
};

/**
 * slot_pieces() - a frame, or a segment of it, as it leaves
 * @data, @len: it, with header
 * @tag:   shall it have a tag?
 * @iov:   two
 * @total: bytes of all
 *
 * Return: entries of @iov.
 */
unsigned int slot_pieces(const struct slot *s, const uint8_t *data, size_t len,
			 bool tag, struct slot_head *head, struct iovec *iov,
			 size_t *total);

#endif
