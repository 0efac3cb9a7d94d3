/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the fuzz targets share. Each has the entry of libFuzzer, and is linked
 * with libFuzzer to search, or with replay.c to go through its corpus.
 *
 * A target reads its input as a stream of numbers; where the input ends they
 * are zero, so every input means something.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** struct input - what is left of it */
struct input {
	const uint8_t *p;
	size_t n;
};

static inline bool in_empty(const struct input *in)
{
	return in->n == 0;
}

static inline void in_bytes(struct input *in, void *to, size_t len)
{
	size_t n = len < in->n ? len : in->n;

	memset(to, 0, len);
	if (n)
		memcpy(to, in->p, n);
	in->p += n;
	in->n -= n;
}

static inline uint8_t in_u8(struct input *in)
{
	uint8_t v;

	in_bytes(in, &v, sizeof(v));
	return v;
}

static inline uint16_t in_u16(struct input *in)
{
	uint16_t v;

	in_bytes(in, &v, sizeof(v));
	return v;
}

static inline uint32_t in_u32(struct input *in)
{
	uint32_t v;

	in_bytes(in, &v, sizeof(v));
	return v;
}

static inline uint64_t in_u64(struct input *in)
{
	uint64_t v;

	in_bytes(in, &v, sizeof(v));
	return v;
}

/** in_below() - a number below @n, which is not 0 */
static inline uint32_t in_below(struct input *in, uint32_t n)
{
	return n <= 256 ? in_u8(in) % n : in_u16(in) % n;
}

/** must() - an invariant; a target ends with abort() where it does not hold */
#define must(cond)                                                          \
	do {                                                                \
		if (!(cond)) {                                              \
			fprintf(stderr, "%s:%d: must hold: %s\n", __FILE__, \
				__LINE__, #cond);                           \
			abort();                                            \
		}                                                           \
	} while (0)

#endif
