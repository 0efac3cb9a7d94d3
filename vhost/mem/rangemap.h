/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rangemap.h: a map from address ranges to virtual addresses of the owner. The
 * memory table (keys are guest physical addresses) and the IOTLB (keys are I/O
 * virtual addresses) are rangemaps. Ranges may overlap. A look-up finds the
 * same range as the kernel's interval tree: of those that overlap the given
 * range the one with the lowest start; of several the oldest.
 */
#ifndef RANGEMAP_H
#define RANGEMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** RANGEMAP_MAX - most ranges; adding one more drops the oldest (the kernel's
 * max_iotlb_entries) */
#define RANGEMAP_MAX 2048

enum range_perm {
	RANGE_RO = 1, /* the device may read */
	RANGE_WO = 2, /* the device may write */
	RANGE_RW = 3,
};

struct range {
	uint64_t start, last; /* inclusive */
	uint64_t uva;
	uint8_t *ptr;  /* pointer to start if one mapping covers the range */
	bool unmapped; /* no mapping covers any of it */
	uint64_t seq;  /* order of insertion */
	uint8_t perm;  /* enum range_perm */
};

struct rangemap {
	struct range *r; /* sorted by start, then seq */
	size_t n, capacity;
	uint64_t seq;
	bool overlap; /* some ranges overlap: look-ups are linear */
};

void rangemap_clear(struct rangemap *m);
void rangemap_free(struct rangemap *m);

/**
 * rangemap_add() - add start...last; replaces no range
 *
 * A range of all 2^64 addresses is stored as two halves, as in the kernel.
 * Return: 0, -EFAULT (last < start), -ENOMEM.
 */
int rangemap_add(struct rangemap *m, uint64_t start, uint64_t last,
		 uint64_t uva, uint8_t perm);

/** rangemap_del() - remove each range that overlaps start...last, completely */
void rangemap_del(struct rangemap *m, uint64_t start, uint64_t last);

/** rangemap_first() - the range that a look-up of start...last finds (see the
 * top); NULL if none overlaps */
struct range *rangemap_first(const struct rangemap *m, uint64_t start,
			     uint64_t last);

#endif
