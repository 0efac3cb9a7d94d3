/* SPDX-License-Identifier: BSD-3-Clause */
/* Copies to and from scatter-gather lists (struct iovec), and parts of them. */
#ifndef IOV_H
#define IOV_H

#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include "bytes.h"

/**
 * iov_slice() - @len bytes of @iov after its first @skip bytes
 * @to: space for @n entries; entries of length 0 are left out
 *
 * Return: entries in @to.
 */
static inline unsigned int iov_slice(const struct iovec *iov, unsigned int n,
				     size_t skip, size_t len, struct iovec *to)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < n && len; i++) {
		size_t cut = MIN(skip, iov[i].iov_len);
		size_t part = MIN(len, iov[i].iov_len - cut);

		skip -= cut;
		len -= part;
		if (part)
			to[count++] =
				(struct iovec){ (char *)iov[i].iov_base + cut,
						part };
	}
	return count;
}

/** iov_from() - all bytes of @iov after its first @skip bytes */
static inline unsigned int iov_from(const struct iovec *iov, unsigned int n,
				    size_t skip, struct iovec *to)
{
	return iov_slice(iov, n, skip, SIZE_MAX, to);
}

/**
 * iov_part() - one step of a walk over a list: the bytes of one entry
 * @at:   offset from the start of the entry; afterwards from the start of the
 *        next one
 * @part: where the bytes are
 *
 * Return: number of bytes, at most @want; 0 if *@at is behind the entry.
 */
static inline size_t iov_part(const struct iovec *iov, size_t *at, size_t want,
			      uint8_t **part)
{
	size_t skip = *at;

	if (skip >= iov->iov_len) {
		*at -= iov->iov_len;
		return 0;
	}
	*at = 0;
	*part = (uint8_t *)iov->iov_base + skip;
	return MIN(want, iov->iov_len - skip);
}

/**
 * iov_put() - write @len bytes at offset @at of the list
 * @from: NULL: write zeroes
 *
 * Return: bytes written: as many as fit.
 */
static inline size_t iov_put(const struct iovec *iov, unsigned int n, size_t at,
			     const void *from, size_t len)
{
	size_t done = 0;

	for (unsigned int i = 0; i < n && done < len; i++) {
		uint8_t *to = NULL;
		size_t part = iov_part(&iov[i], &at, len - done, &to);

		if (part && from)
			memcpy(to, (const uint8_t *)from + done, part);
		else if (part)
			memset(to, 0, part);
		done += part;
	}
	return done;
}

/**
 * iov_get() - read @len bytes at offset @at of the list
 *
 * Return: bytes read: as many as the list has there.
 */
static inline size_t iov_get(const struct iovec *iov, unsigned int n, size_t at,
			     void *to, size_t len)
{
	size_t done = 0;

	for (unsigned int i = 0; i < n && done < len; i++) {
		uint8_t *from = NULL;
		size_t part = iov_part(&iov[i], &at, len - done, &from);

		if (part)
			memcpy((uint8_t *)to + done, from, part);
		done += part;
	}
	return done;
}

#endif
