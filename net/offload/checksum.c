/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * checksum.c adds 64 bytes a turn, in eight lanes of 64 bits that take 32-bit
 * words: no carry is lost before 2^32 words. With AVX2 that costs no more than
 * a copy; AVX2 is detected at run time, so that the program runs on any x86-64.
 */
#include "checksum.h"

#include <string.h>

#include "bytes.h"

typedef uint64_t lanes __attribute__((vector_size(32)));

#define LOW ((lanes){ 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff })

static inline __attribute__((always_inline)) uint64_t
add_blocks(uint64_t sum, const uint8_t *p, size_t len)
{
	lanes a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };

	for (; len >= 64; len -= 64, p += 64) {
		lanes x, y;

		memcpy(&x, p, sizeof(x));
		memcpy(&y, p + sizeof(x), sizeof(y));
		a += x & LOW;
		b += x >> 32;
		c += y & LOW;
		d += y >> 32;
	}
	a += b + c + d;
	return sum + a[0] + a[1] + a[2] + a[3];
}

#ifdef __x86_64__
static __attribute__((target("avx2"))) uint64_t
add_blocks_avx2(uint64_t sum, const uint8_t *p, size_t len)
{
	return add_blocks(sum, p, len);
}

static bool has_avx2(void)
{
	return __builtin_cpu_supports("avx2");
}
#else
#define add_blocks_avx2 add_blocks

static bool has_avx2(void)
{
	return false;
}
#endif

/* Fewer than 64 bytes. */
static uint64_t add_rest(uint64_t sum, const uint8_t *p, size_t len)
{
	uint64_t w;

	for (; len >= sizeof(w); len -= sizeof(w), p += sizeof(w)) {
		memcpy(&w, p, sizeof(w));
		sum += (w & 0xffffffff) + (w >> 32);
	}
	w = 0;
	memcpy(&w, p, len);
	return sum + (w & 0xffffffff) + (w >> 32);
}

uint64_t checksum_add(uint64_t sum, const void *p, size_t len)
{
	const uint8_t *bytes = p;
	size_t blocks = len & ~(size_t)63;

	if (blocks) {
		if (likely(has_avx2()))
			sum = add_blocks_avx2(sum, bytes, blocks);
		else
			sum = add_blocks(sum, bytes, blocks);
	}
	return add_rest(sum, bytes + blocks, len - blocks);
}
