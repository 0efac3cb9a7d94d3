/* SPDX-License-Identifier: BSD-3-Clause */
/* Scattered bytes; private to net/. */
#ifndef IOVS_H
#define IOVS_H

#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include "bytes.h"

/**
 * iov_from() - what is behind the first @skip bytes
 * @to: at most @n entries; nothing is written that is empty
 * Return: entries in @to.
 */
static inline unsigned int iov_from(const struct iovec *iov, unsigned int n,
				    size_t skip, struct iovec *to)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < n; i++) {
		size_t cut = MIN(skip, iov[i].iov_len);

		skip -= cut;
		if (cut < iov[i].iov_len)
			to[count++] = (struct iovec){
				(char *)iov[i].iov_base + cut,
				iov[i].iov_len - cut,
			};
	}
	return count;
}

/** iov_upto() - the first @len bytes; @to and result as of iov_from() */
static inline unsigned int iov_upto(const struct iovec *iov, unsigned int n,
				    size_t len, struct iovec *to)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < n && len; i++) {
		size_t part = MIN(len, iov[i].iov_len);

		if (part)
			to[count++] = (struct iovec){ iov[i].iov_base, part };
		len -= part;
	}
	return count;
}

/** iov_put() - write @len bytes at offset @at; those written: as many as fit.
 * @from: NULL: zeroes */
static inline size_t iov_put(const struct iovec *iov, unsigned int n, size_t at,
			     const void *from, size_t len)
{
	size_t done = 0;

	for (unsigned int i = 0; i < n && done < len; i++) {
		size_t part;

		if (at >= iov[i].iov_len) {
			at -= iov[i].iov_len;
			continue;
		}
		part = MIN(len - done, iov[i].iov_len - at);
		if (from)
			memcpy((char *)iov[i].iov_base + at,
			       (const char *)from + done, part);
		else
			memset((char *)iov[i].iov_base + at, 0, part);
		done += part;
		at = 0;
	}
	return done;
}

/** iov_get() - read @len bytes at offset @at; those there were */
static inline size_t iov_get(const struct iovec *iov, unsigned int n, size_t at,
			     void *to, size_t len)
{
	size_t done = 0;

	for (unsigned int i = 0; i < n && done < len; i++) {
		size_t part;

		if (at >= iov[i].iov_len) {
			at -= iov[i].iov_len;
			continue;
		}
		part = MIN(len - done, iov[i].iov_len - at);
		memcpy((char *)to + done, (const char *)iov[i].iov_base + at,
		       part);
		done += part;
		at = 0;
	}
	return done;
}

#endif
