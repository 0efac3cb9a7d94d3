/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames in a stream of bytes, each behind its length: 4 bytes, big-endian.
 * Pure; private to net/.
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
/** FRAMESTREAM_MAX - longest frame that is taken */
#define FRAMESTREAM_MAX (NETPORT_FRAME_MAX - 24)
/* several long frames, and the beginning of the next */
#define FRAMESTREAM_BUFFER (256 * 1024)

/**
 * struct framestream - what has been read and not yet been taken
 * @head, @tail: offsets of those bytes
 */
struct framestream {
	uint32_t head, tail;
	uint8_t buf[FRAMESTREAM_BUFFER];
};

void framestream_reset(struct framestream *s);

/**
 * framestream_space() - where to put bytes next; never 0 after
 * framestream_next() has said that a frame is not complete
 */
uint8_t *framestream_space(struct framestream *s, size_t *len);
/** framestream_filled() - @len bytes are there */
void framestream_filled(struct framestream *s, size_t len);

/**
 * framestream_next() - the next frame
 * @frame: valid until the next call with @s
 * @len:   NETPORT_ETH_MIN...FRAMESTREAM_MAX; with -EPROTO what was announced
 *
 * Frames without a whole Ethernet header are passed over. Return: 1; 0 (not
 * complete); -EPROTO (longer than any frame: nothing behind it can be trusted).
 */
int framestream_next(struct framestream *s, const uint8_t **frame,
		     uint32_t *len);

#endif
