/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A frame on its way through a network, in memory of the sending port: checked
 * and put into a VLAN (slot.c), and made into what a receiver takes
 * (slot_out.c). No locks; nothing here reads a member but the one that sent it.
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

/** SLOT_OK - in struct slot.drop: the frame is not dropped */
#define SLOT_OK NETWORK_DROPS

/**
 * struct slot - one frame
 * @data:   SLOT_HDR bytes, then the Ethernet frame
 * @len:    bytes of both
 * @longest: bytes behind Ethernet header and tag, of the longest packet in it
 * @drop:   enum network_drop, or SLOT_OK
 * @vlan:   VLAN of the frame
 * @tci:    priority and VLAN of its tag, if it has or gets one
 * @tagged: it has a tag now
 * @stacked: a second tag follows; then it must not leave without the first
 * @src, @dst, @to: set by forward.c; @dst.key 0: a group address
 * @nto:    receivers
 * @token:  the frame was charged to the flood limit
 * @completed: its checksum was completed
 * @segments: struct segment in the sender's arena, @nsegments of them; 0: not
 *          made. @segments_sum, @segment_longest: bytes that they take in an
 *          inbox
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

/** slot_plain() - it needs no offload of its receiver */
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
 * slot_check() - check a frame
 * @c: of the member that sent it
 *
 * @data and @len are set before; sets the rest, but for what forward.c and
 * slot_segment() fill in. A priority tag is removed.
 */
void slot_check(struct slot *s, const struct netmember_config *c);

/** slot_is_group() - broadcast or multicast */
static inline bool slot_is_group(const struct slot *s)
{
	return slot_frame(s)[0] & 1;
}

/**
 * struct segment - a packet of a segmented frame
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
 * slot_segment() - segment a GSO frame
 * @arena: SLOT_ARENA bytes, 8-aligned, for the segments
 *
 * Return: false if no inbox has space for all segments.
 */
bool slot_segment(struct slot *s, uint8_t *arena);
/** SLOT_SEGMENTS_MAX - most bytes of all segments in an inbox, plus those of
 * the longest: they fit in half an inbox */
#define SLOT_SEGMENTS_MAX ((size_t)256 * 1024)
#define SLOT_ARENA (SLOT_SEGMENTS_MAX + 1024)

/** struct slot_head - header, addresses and tag of a frame whose tag changes */
struct slot_head {
	_Alignas(8) uint8_t bytes[SLOT_HDR + SLOT_MACS + SLOT_TAG];
};

/** slot_shift_header() - adjust offsets: the frame gets @by bytes more before
 * its network header. hdr_len is set only with GSO (offload_check()) */
void slot_shift_header(struct virtio_net_hdr *h, int by);

/**
 * slot_pieces() - a frame, or a segment of it, with or without a tag
 * @data, @len: of frame or segment, header included
 * @tag:   whether it leaves with a tag
 * @iov:   two entries
 * @total: bytes of all pieces
 *
 * Return: entries of @iov.
 */
unsigned int slot_pieces(const struct slot *s, const uint8_t *data, size_t len,
			 bool tag, struct slot_head *head, struct iovec *iov,
			 size_t *total);

#endif
