/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * random.h is a pseudo-random generator (xorshift64*) with the same numbers for
 * the same seed.
 */
#ifndef RANDOM_H
#define RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static uint64_t random_state; /* the seed, not 0 */

static inline uint64_t random_u64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state * 0x2545f4914f6cdd1d;
}

static inline uint32_t random_below(uint32_t n)
{
	return (uint32_t)(random_u64() >> 33) % n;
}

static inline bool one_in(uint32_t n)
{
	return random_below(n) == 0;
}

static inline void random_fill(void *to, size_t len)
{
	uint8_t *p = to;

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(random_u64() >> 40);
}

/** random_words() - the same, faster; @len is a multiple of 8 */
static inline void random_words(void *to, size_t len)
{
	uint8_t *p = to;

	for (size_t i = 0; i < len; i += 8) {
		uint64_t word = random_u64();

		memcpy(p + i, &word, 8);
	}
}

#endif
