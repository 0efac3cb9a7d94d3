/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes out of frames and into them; private to net/. */
#ifndef FRAMES_H
#define FRAMES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bytes.h"
#include "netport.h"

/** frame_load() - bytes of @f behind the first @skip, at most @max; how many */
static inline size_t frame_load(const struct frame *f, size_t skip, void *to,
				size_t max)
{
	size_t done = 0;

	for (unsigned int i = 0; i < f->iovcnt && done < max; i++) {
		const struct iovec *iov = &f->iov[i];
		size_t part;

		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		part = MIN(iov->iov_len - skip, max - done);
		memcpy((uint8_t *)to + done,
		       (const uint8_t *)iov->iov_base + skip, part);
		done += part;
		skip = 0;
	}
	return done;
}

/**
 * frame_store() - receive a frame of @len bytes, behind a header of zeroes
 *
 * Sets @f->len and @f->trunc as struct frame has it.
 */
static inline void frame_store(struct frame *f, size_t hdr_len,
			       const void *from, size_t len)
{
	size_t zeroes = hdr_len, done = 0;

	for (unsigned int i = 0; i < f->iovcnt && done < len; i++) {
		uint8_t *to = f->iov[i].iov_base;
		size_t room = f->iov[i].iov_len;
		size_t part = MIN(zeroes, room);

		if (part)
			memset(to, 0, part);
		zeroes -= part;
		to += part;
		part = MIN(room - part, len - done);
		if (part)
			memcpy(to, (const uint8_t *)from + done, part);
		done += part;
	}
	f->len = zeroes ? 0 : (uint32_t)(hdr_len + done);
	f->trunc = done < len;
}

#endif
