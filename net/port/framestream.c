/* SPDX-License-Identifier: BSD-3-Clause */
/* framestream.c splits a stream of bytes into frames, each behind its length.
 */
#include "framestream.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

void framestream_reset(struct framestream *s)
{
	s->head = s->tail = 0;
}

uint8_t *framestream_space(struct framestream *s, size_t *len)
{
	if (s->head) {
		memmove(s->buf, s->buf + s->head, s->tail - s->head);
		s->tail -= s->head;
		s->head = 0;
	}
	*len = sizeof(s->buf) - s->tail;
	return s->buf + s->tail;
}

void framestream_filled(struct framestream *s, size_t len)
{
	s->tail += (uint32_t)len;
}

int framestream_next(struct framestream *s, const uint8_t **frame,
		     uint32_t *len)
{
	for (;;) {
		uint32_t have = s->tail - s->head, size;

		if (have < FRAMESTREAM_HDR)
			return 0;
		memcpy(&size, s->buf + s->head, sizeof(size));
		size = be32toh(size);
		*len = size;
		if (size > FRAMESTREAM_MAX)
			return -EPROTO;
		if (have - FRAMESTREAM_HDR < size)
			return 0;
		*frame = s->buf + s->head + FRAMESTREAM_HDR;
		s->head += FRAMESTREAM_HDR + size;
		if (size >= NETPORT_ETH_MIN)
			return 1;
	}
}
