/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What virtio_net_hdr leaves undone, done: partial checksums completed, GSO
 * frames cut up. No allocation, no locks, no state; the frame must be private
 * memory (it is read more than once). Results are those of the kernel
 * (skb_checksum_help(), skb_segment()) byte for byte; only the identification
 * of IPv6 fragments is random there and here.
 *
 * The fields of virtio_net_hdr are little-endian.
 *
 * Source: virtio 1.3 §5.1.6; <linux/virtio_net.h>; include/linux/virtio_net.h
 * of the kernel (what is malformed).
 */
#ifndef OFFLOAD_H
#define OFFLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "abi.h"

/** What must be done with a frame before a receiver can have it */
enum offload {
	OFFLOAD_NOTHING,
	OFFLOAD_CHECKSUM, /* offload_checksum() */
	OFFLOAD_SEGMENT,  /* struct offload_segments; checksums included */
};

/**
 * offload_check() - is @hdr true of the frame?
 * @frame: Ethernet frame of @len bytes, tags included, without @hdr
 * @hdr:   on success as the kernel would hand it on: no flag but NEEDS_CSUM, no
 *         GSO if the frame is not longer than one segment, hdr_len the true
 *         one (0 without GSO), what does not apply 0
 *
 * A GSO frame without NEEDS_CSUM passes, as it does in the kernel, unless it is
 * USO. Also without GSO and NEEDS_CSUM a frame is not looked into.
 *
 * Return: 0, or -EINVAL where the kernel drops the frame.
 */
int offload_check(struct virtio_net_hdr *hdr, const uint8_t *frame, size_t len);

/**
 * offload_needed() - what a receiver cannot take
 * @takes: BIT(VIRTIO_NET_F_GUEST_*): CSUM, TSO4, TSO6, ECN, UFO, USO4, USO6
 *
 * @hdr has passed offload_check(). It does not tell USO over IPv4 from IPv6, so
 * USO passes whole where both are taken (as in the kernel's tap).
 */
enum offload offload_needed(const struct virtio_net_hdr *hdr, uint64_t takes);

/**
 * offload_checksum() - complete the checksum in @frame
 * @hdr: has passed offload_check() for this frame, and is no GSO; no flag is
 *       left in it. Without NEEDS_CSUM nothing is done
 */
void offload_checksum(struct virtio_net_hdr *hdr, uint8_t *frame, size_t len);

/**
 * struct offload_segments - a GSO frame being cut up
 *
 * Private to segment.c. All offsets are from the frame's first byte.
 */
struct offload_segments {
	const uint8_t *frame;
	size_t len;
	size_t network, transport;
	size_t header_len; /* of the frame, that each segment starts with */
	size_t next;       /* byte of the frame that is next */
	size_t size;       /* bytes of payload a segment */
	unsigned int index;
	uint8_t type; /* VIRTIO_NET_HDR_GSO_*, without _ECN */
	bool ipv6;
	uint16_t check;       /* TCP, USO: sum of the pseudo header, length 0 */
	uint8_t udp[8];       /* UFO: the finished UDP header */
	size_t fragment_at;   /* UFO, IPv6: where the fragment header goes in */
	size_t fragment_next; /* and where the header in front names it */
	uint32_t fragment_id;
	uint32_t fragment_offset; /* UFO: bytes */
};

/** OFFLOAD_HEADER_MAX - bytes of link, tag, IP and transport headers of a
 * segment */
#define OFFLOAD_HEADER_MAX 512

/**
 * offload_segments_begin() - @frame must stay until the last segment
 * @hdr: has passed offload_check() for this frame, and is GSO; not needed
 *       afterwards
 *
 * Return: number of segments, 2 or more (with UFO a guest can ask for one a
 * byte), or -EINVAL (no such packet; headers longer than OFFLOAD_HEADER_MAX).
 */
int offload_segments_begin(struct offload_segments *s,
			   const struct virtio_net_hdr *hdr,
			   const uint8_t *frame, size_t len);

/** offload_segment_max() - bytes of the longest of the segments, link header
 * and tags included */
size_t offload_segment_max(const struct offload_segments *s);

/**
 * offload_segments_next() - the next segment: finished headers, and where its
 * payload lies in the frame
 * @header: OFFLOAD_HEADER_MAX bytes of room
 * @payload, @payload_len: in the frame (an IP fragment of UFO has its part)
 *
 * Return: bytes of @header; 0: there are no more.
 */
size_t offload_segments_next(struct offload_segments *s, uint8_t *header,
			     const uint8_t **payload, size_t *payload_len);

/** flow_hash() - a hash of addresses and ports, the same for all frames of a
 * flow. @frame: at least both MAC addresses */
uint32_t flow_hash(const uint8_t *frame, size_t len);

#endif
