/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What virtio_net_hdr leaves undone, done: partial checksums completed, GSO
 * frames cut up. Pure: no allocation, no locks; the frame must be private
 * memory (it is read more than once). Results are those of the kernel
 * (skb_checksum_help(), skb_segment()) byte for byte.
 *
 * Source: virtio 1.3 §5.1.6; <linux/virtio_net.h>; include/linux/virtio_net.h
 * of the kernel (what is malformed).
 */
#ifndef OFFLOAD_H
#define OFFLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/virtio_net.h>

/** What must be done with a frame before a receiver can have it */
enum offload {
	OFFLOAD_NOTHING,
	OFFLOAD_CHECKSUM, /* offload_checksum() */
	OFFLOAD_SEGMENT,  /* struct offload_segments; checksums included */
};

/**
 * offload_check() - is @hdr true of the frame?
 * @frame: Ethernet frame of @len bytes, tags included, without @hdr
 * @hdr:   may be corrected as the kernel corrects it (flags it does not know,
 *         csum offsets, hdr_len too short)
 *
 * Return: 0, or -EINVAL where the kernel drops the frame.
 */
int offload_check(struct virtio_net_hdr *hdr, const uint8_t *frame, size_t len);

/**
 * offload_needed() - what a receiver cannot take
 * @takes: VIRTIO_NET_F_GUEST_CSUM, _TSO4, _TSO6, _ECN, _UFO, _USO4, _USO6
 *
 * @hdr has passed offload_check().
 */
enum offload offload_needed(const struct virtio_net_hdr *hdr, uint64_t takes);

/** offload_checksum() - complete the checksum in @frame, clear NEEDS_CSUM */
void offload_checksum(struct virtio_net_hdr *hdr, uint8_t *frame, size_t len);

/**
 * struct offload_segments - a GSO frame being cut up
 *
 * Private to offload.c, which may add to it.
 */
struct offload_segments {
	const struct virtio_net_hdr *hdr;
	const uint8_t *frame;
	size_t len;
	size_t header_len; /* link header to the end of TCP's or UDP's */
	size_t next;       /* byte of the payload that is next */
	unsigned int index;
};

/** OFFLOAD_HEADER_MAX - bytes of link, tag, IP and transport headers of a
 * segment, tunnel included */
#define OFFLOAD_HEADER_MAX 512

/**
 * offload_segments_begin() - @frame must stay until the last segment
 *
 * Return: number of segments, or -EINVAL (no such packet; headers too long).
 */
int offload_segments_begin(struct offload_segments *s,
			   const struct virtio_net_hdr *hdr,
			   const uint8_t *frame, size_t len);

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

#endif
