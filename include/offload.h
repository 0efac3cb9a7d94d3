/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Offloads in software: completes partial checksums and segments GSO frames, as
 * virtio_net_hdr describes them. No allocation, no locks, no state; the frame
 * must be in private memory (it is read more than once). Results are those of
 * the kernel (skb_checksum_help(), skb_segment()) byte for byte; only the
 * identification of IPv6 fragments is random in both.
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
#include "bytes.h"

/* Rows: name in options; the bit by which a device accepts frames that need the
 * offload (HOST), and the bit by which a guest does (GUEST). virtio 1.2 §5.1.3.
 */
/* Those of tap devices and packet sockets. */
#define OFFLOADS_OF_KERNEL(X)          \
	X(csum, CSUM, GUEST_CSUM)      \
	X(tso4, HOST_TSO4, GUEST_TSO4) \
	X(tso6, HOST_TSO6, GUEST_TSO6) \
	X(ecn, HOST_ECN, GUEST_ECN)
/* Those of the functions below. */
#define OFFLOADS_OF_NETWORK(X)        \
	OFFLOADS_OF_KERNEL(X)         \
	X(ufo, HOST_UFO, GUEST_UFO)   \
	X(uso4, HOST_USO, GUEST_USO4) \
	X(uso6, HOST_USO, GUEST_USO6)

#define OFFLOAD_GUEST_BIT(name, host, guest) | BIT(VIRTIO_NET_F_##guest)
#define OFFLOAD_BITS(name, host, guest) \
	| BIT(VIRTIO_NET_F_##host) | BIT(VIRTIO_NET_F_##guest)

/** OFFLOADS_GUEST - VIRTIO_NET_F_GUEST_* of all */
#define OFFLOADS_GUEST (UINT64_C(0) OFFLOADS_OF_NETWORK(OFFLOAD_GUEST_BIT))
/** Both bits of each, for what a port accepts and may send */
#define OFFLOADS_BOTH (UINT64_C(0) OFFLOADS_OF_NETWORK(OFFLOAD_BITS))
#define OFFLOADS_BOTH_KERNEL (UINT64_C(0) OFFLOADS_OF_KERNEL(OFFLOAD_BITS))

/** What must be done with a frame before a receiver accepts it */
enum offload {
	OFFLOAD_NOTHING,
	OFFLOAD_CHECKSUM, /* offload_checksum() */
	OFFLOAD_SEGMENT,  /* struct offload_segments; checksums included */
};

/**
 * offload_check() - whether @hdr is correct for the frame
 * @frame: Ethernet frame of @len bytes, tags included, without @hdr
 * @hdr:   on success as the kernel would pass it on: no flag but NEEDS_CSUM, no
 *         GSO if the frame is not longer than one segment, hdr_len corrected
 *         (0 without GSO), fields that do not apply 0
 *
 * A GSO frame without NEEDS_CSUM is accepted, as in the kernel, unless it is
 * USO. The packet of a frame without GSO and NEEDS_CSUM is not read.
 *
 * Return: 0, or -EINVAL where the kernel drops the frame.
 */
int offload_check(struct virtio_net_hdr *hdr, const uint8_t *frame, size_t len);

/**
 * offload_needed() - the offload that a receiver lacks
 * @guest_offloads: BIT(VIRTIO_NET_F_GUEST_*): CSUM, TSO4, TSO6, ECN, UFO, USO4,
 * USO6
 *
 * @hdr has passed offload_check(). It does not distinguish USO over IPv4 and
 * IPv6, so USO is passed only where both are accepted (as by the kernel's tap).
 */
enum offload offload_needed(const struct virtio_net_hdr *hdr,
			    uint64_t guest_offloads);

/**
 * offload_checksum() - complete the checksum in @frame
 * @hdr: has passed offload_check() for this frame, and is no GSO; its flags are
 *       cleared. Without NEEDS_CSUM nothing is done
 */
void offload_checksum(struct virtio_net_hdr *hdr, uint8_t *frame, size_t len);

/**
 * struct offload_segments - the state of segmenting a GSO frame
 *
 * Private to segment.c. All offsets are from the frame's first byte.
 */
struct offload_segments {
	const uint8_t *frame;
	size_t len;
	size_t network, transport;
	size_t header_len; /* bytes of header of each segment */
	size_t next;       /* offset of the next byte of payload */
	size_t size;       /* bytes of payload of a segment */
	unsigned int index;
	uint8_t type; /* VIRTIO_NET_HDR_GSO_*, without _ECN */
	bool ipv6;
	uint16_t check;     /* TCP, USO: sum of the pseudo header, length 0 */
	uint8_t udp[8];     /* UFO: the finished UDP header */
	size_t fragment_at; /* UFO, IPv6: where the fragment header is inserted
			     */
	size_t fragment_next; /* UFO, IPv6: the next-header field before it */
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
 * Return: number of segments, 2 or more (with UFO there can be one for each
 * byte), or -EINVAL (no such packet; headers longer than OFFLOAD_HEADER_MAX).
 */
int offload_segments_begin(struct offload_segments *s,
			   const struct virtio_net_hdr *hdr,
			   const uint8_t *frame, size_t len);

/** offload_segment_max() - bytes of the longest segment, link header and tags
 * included */
size_t offload_segment_max(const struct offload_segments *s);

/**
 * offload_segments_next() - the next segment: its header, and where its
 * payload is in the frame
 * @header: OFFLOAD_HEADER_MAX bytes
 * @payload, @payload_len: in the frame (of an IP fragment of UFO: its part)
 *
 * Return: bytes of @header; 0: there is no further one.
 */
size_t offload_segments_next(struct offload_segments *s, uint8_t *header,
			     const uint8_t **payload, size_t *payload_len);

/** flow_hash() - a hash of addresses and ports, the same for all frames of a
 * flow. @frame: at least both MAC addresses */
uint32_t flow_hash(const uint8_t *frame, size_t len);

/**
 * checksum_is_partial() - whether the TCP or UDP checksum of a frame is only
 * the sum of the pseudo header, as with VIRTIO_NET_HDR_F_NEEDS_CSUM
 *
 * So is that of one in 65536 frames with a complete checksum. False for other
 * frames and for fragments.
 */
bool checksum_is_partial(const uint8_t *frame, size_t len);

#endif
