/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes out of frames and into them; private to net/. */
#ifndef FRAMES_H
#define FRAMES_H

#include <stddef.h>
#include <stdint.h>

#include "iovs.h"
#include "netport.h"

/** frame_load() - bytes of @f behind the first @skip, at most @max; how many */
static inline size_t frame_load(const struct frame *f, size_t skip, void *to,
				size_t max)
{
	return iov_get(f->iov, f->iovcnt, skip, to, max);
}

/**
 * frame_store() - receive a frame of @len bytes
 * @hdr: @hdr_len bytes of header before it; NULL: zeroes
 *
 * Sets @f->len and @f->trunc as struct frame has it.
 */
static inline void frame_store(struct frame *f, size_t hdr_len, const void *hdr,
			       const void *from, size_t len)
{
	size_t put = iov_put(f->iov, f->iovcnt, 0, hdr, hdr_len);

	if (put == hdr_len)
		put += iov_put(f->iov, f->iovcnt, hdr_len, from, len);
	f->len = put < hdr_len ? 0 : (uint32_t)put;
	f->trunc = put < hdr_len + len;
}

#endif
