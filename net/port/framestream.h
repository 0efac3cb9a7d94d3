/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames in a stream of bytes, each behind its length: 4 bytes, big-endian.
 * Pure.
 *
 * Source: QEMU net/net.c net_fill_rstate() and net/stream.c (QEMU 7.2), without
 * vnet_hdr, which `-netdev stream` never sends.
 */
#ifndef FRAMESTREAM_H
#define FRAMESTREAM_H

#include <stddef.h>
#include <stdint.h>

#include "netport.h"

/** FRAMESTREAM_HDR - bytes of a length */
#define FRAMESTREAM_HDR 4
/** FRAMESTREAM_MAX - longest frame */
#define FRAMESTREAM_MAX (NETPORT_FRAME_MAX - 24)
/* several long frames, and the start of the next */
#define FRAMESTREAM_BUFFER (256 * 1024)

/**
 * struct framestream - bytes that were read and not yet returned as frames
 * @head, @tail: offsets of those bytes
 */
struct framestream {
	uint32_t head, tail;
	uint8_t buf[FRAMESTREAM_BUFFER];
};

void framestream_reset(struct framestream *s);

/**
 * framestream_space() - where the next bytes go; @len is not 0 after
 * framestream_next() returned 0
 */
uint8_t *framestream_space(struct framestream *s, size_t *len);
/** framestream_filled() - @len bytes were written there */
void framestream_filled(struct framestream *s, size_t len);

/**
 * framestream_next() - the next frame
 * @frame: valid until the next call with @s
 * @len:   NETPORT_ETH_MIN...FRAMESTREAM_MAX; with -EPROTO the length that was
 * announced
 *
 * Frames without a whole Ethernet header are skipped. Return: 1; 0 (not
 * complete); -EPROTO (longer than any frame: the stream is lost).
 */
int framestream_next(struct framestream *s, const uint8_t **frame,
		     uint32_t *len);

#endif
