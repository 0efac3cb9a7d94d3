/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A packet: one frame on its way through a network, in memory of the sending
 * port. It is checked and gets a VLAN when it comes in, and its tag and
 * segments are made for each receiver. No locks are taken here.
 */
#ifndef PKT_H
#define PKT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <linux/virtio_net.h>

#include "mactable.h"
#include "network.h"

/** PKT_HDR - bytes of virtio_net_hdr before each frame, inside of a network */
#define PKT_HDR sizeof(struct virtio_net_hdr_mrg_rxbuf)
#define PKT_MACS 12 /* both addresses */
#define PKT_TAG 4

/** PKT_FRAME_MAX - bytes of the longest frame without header */
#define PKT_FRAME_MAX (NETPORT_FRAME_MAX - 24)

/** PKT_OK - in struct pkt.drop: the packet is not dropped */
#define PKT_OK NETWORK_DROPS

/**
 * struct pkt - a packet
 * @data:   PKT_HDR bytes, then the Ethernet frame
 * @len:    bytes of both
 * @longest: bytes behind Ethernet header and tag, of the longest segment if it
 * is GSO
 * @drop:   enum network_drop, or PKT_OK
 * @vlan:   VLAN of the frame
 * @tci:    priority and VLAN of its tag, if it has or gets one
 * @tagged: it has a tag in @data
 * @stacked: a second tag follows: it must not leave without the first
 * @src, @dst, @to: set by port_tx.c; @dst.key 0: a group address
 * @nto:    receivers
 * @token:  the packet was charged to the flood limit
 * @completed: its checksum was completed
 * @segments: @nsegments in the arena of struct port_tx; 0: not made.
 * @segments_sum,
 *          @segment_longest: bytes of them in an rxq
 */
struct pkt {
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

static inline uint8_t *pkt_frame(const struct pkt *pkt)
{
	return pkt->data + PKT_HDR;
}

static inline struct virtio_net_hdr *pkt_hdr(const struct pkt *pkt)
{
	return (struct virtio_net_hdr *)pkt->data;
}

/** pkt_plain() - whether any receiver accepts it without offloads */
static inline bool pkt_plain(const struct pkt *pkt)
{
	const struct virtio_net_hdr *h = pkt_hdr(pkt);

	return !h->flags && h->gso_type == VIRTIO_NET_HDR_GSO_NONE;
}

static inline bool pkt_gso(const struct pkt *pkt)
{
	return pkt_hdr(pkt)->gso_type != VIRTIO_NET_HDR_GSO_NONE;
}

/**
 * pkt_check() - check a packet
 * @c: of the port that sent it
 *
 * @data and @len are set before; sets the other fields, except those that
 * port_tx.c and pkt_segment() set. A priority tag is removed.
 */
void pkt_check(struct pkt *pkt, const struct swport_config *c);

/** pkt_is_group() - broadcast or multicast */
static inline bool pkt_is_group(const struct pkt *pkt)
{
	return pkt_frame(pkt)[0] & 1;
}

/**
 * struct segment - a segment of a GSO packet
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
 * pkt_segment() - segment a GSO packet
 * @arena: PKT_ARENA bytes, 8-aligned, for the segments
 *
 * Return: false if the segments have more than PKT_SEGMENTS_MAX bytes.
 */
bool pkt_segment(struct pkt *pkt, uint8_t *arena);
/** PKT_SEGMENTS_MAX - most bytes of all segments in an rxq, plus those of
 * the longest segment: they fit in half an rxq */
#define PKT_SEGMENTS_MAX ((size_t)256 * 1024)
#define PKT_ARENA (PKT_SEGMENTS_MAX + 1024)

/** struct pkt_head - header, addresses and tag of a packet whose tag changes */
struct pkt_head {
	_Alignas(8) uint8_t bytes[PKT_HDR + PKT_MACS + PKT_TAG];
};

/**
 * pkt_pieces() - a packet, or a segment of it, with or without a tag
 * @data, @len: of the packet or segment, header included
 * @tag:   whether it leaves with a tag
 * @iov:   two entries
 * @total: bytes of all pieces
 *
 * Return: entries of @iov.
 */
unsigned int pkt_pieces(const struct pkt *pkt, const uint8_t *data, size_t len,
			bool tag, struct pkt_head *head, struct iovec *iov,
			size_t *total);

#endif
