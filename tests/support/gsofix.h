/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gsofix.h makes a GSO frame and cuts it into segments, for tests of
 * include/offload.h.
 */
#ifndef GSOFIX_H
#define GSOFIX_H

#include "netframe.h"
#include "offload.h"

#define GSO_PIECES_MAX 200

/** struct gsofix - one a program
 * @piece:  segments, each whole, of @piece_len bytes
 */
struct gsofix {
	struct virtio_net_hdr hdr;
	size_t len;
	unsigned int pieces;
	size_t piece_len[GSO_PIECES_MAX];
	uint8_t frame[NETFRAME_MAX];
	uint8_t piece[GSO_PIECES_MAX][9000];
};

extern struct gsofix gso;

/** gso_make() - the frame, to order */
void gso_make(struct netframe_order o);

/** gso_check() - offload_check() of it */
int gso_check(void);

/** gso_cut() - the frame passes, and has all the segments that are announced */
void gso_cut(void);

static inline uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

#endif
