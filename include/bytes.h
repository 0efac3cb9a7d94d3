/* SPDX-License-Identifier: BSD-3-Clause */
/* Arithmetic on untrusted numbers, and small macros that all modules use. */
#ifndef BYTES_H
#define BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define BIT(n) (UINT64_C(1) << (n))

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

/** add_overflows() - @a + @b into *@sum; true if it does not fit 64 bits */
static inline bool add_overflows(uint64_t a, uint64_t b, uint64_t *sum)
{
	return __builtin_add_overflow(a, b, sum);
}

/**
 * range_last() - last address of a range
 * @start: first address
 * @size:  bytes; 0 is allowed only at address 0, where it means all 2^64
 * @last:  set to @start + @size - 1 on success
 *
 * The kernel applies the same rule to memory tables (vhost_overflow()): start +
 * size - 1 must not be below start. Return: false if the range wraps.
 */
static inline bool range_last(uint64_t start, uint64_t size, uint64_t *last)
{
	uint64_t l = start + size - 1;

	if (l < start)
		return false;
	*last = l;
	return true;
}

/** load_be16() - read a big-endian 16-bit field of a frame, at any alignment */
static inline uint16_t load_be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline bool is_power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

#endif
