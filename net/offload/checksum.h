/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The Internet's one's-complement sum. Pure.
 *
 * Sums are of 16-bit words in network order as they are in memory: nothing is
 * swapped, and the result is stored as it is.
 *
 * Source: RFC 1071.
 */
#ifndef CHECKSUM_H
#define CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/**
 * checksum_add() - add @len bytes at @p to @sum
 * @sum: 0, or what this returned for the bytes before; they were even in number
 * @len: below 2^31; if odd, a zero byte is added at the end
 *
 * Return: not folded. Small numbers may be added to it freely: it stays below
 * 2^48 for 2^31 bytes.
 */
uint64_t checksum_add(uint64_t sum, const void *p, size_t len);

/**
 * checksum_fold() - @sum as 16 bits, not complemented
 *
 * 0 only for a sum of nothing but zeros; else 0 is 0xffff.
 */
static inline uint16_t checksum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

#endif
