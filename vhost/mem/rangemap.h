/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Address ranges → owner's virtual addresses: the memory table (guest physical)
 * and the IOTLB (I/O virtual) are both one of these. Look-up gives what the
 * kernel's interval tree gives, overlaps included: the range with the lowest
 * start that overlaps, the oldest among equals.
 */
#ifndef RANGEMAP_H
#define RANGEMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** RANGEMAP_MAX - ranges kept; the oldest is dropped beyond (kernel's
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
	uint8_t *ptr;  /* our pointer to start if one mapping covers it all */
	bool unmapped; /* no mapping covers any of it */
	uint64_t seq;  /* order of insertion */
	uint8_t perm;  /* enum range_perm */
};

struct rangemap {
	struct range *r; /* sorted by start, then seq */
	size_t n, capacity;
	uint64_t seq;
	bool overlap; /* some ranges overlap: binary search is not enough */
};

void rangemap_clear(struct rangemap *m);
void rangemap_free(struct rangemap *m);

/**
 * rangemap_add() - add start...last; never replaces
 *
 * All 2^64 addresses become two halves, as in the kernel.
 * Return: 0, -EFAULT (last < start), -ENOMEM.
 */
int rangemap_add(struct rangemap *m, uint64_t start, uint64_t last,
		 uint64_t uva, uint8_t perm);

/** rangemap_del() - remove every range that overlaps start...last, whole */
void rangemap_del(struct rangemap *m, uint64_t start, uint64_t last);

/** rangemap_first() - see the top; NULL if none overlaps */
struct range *rangemap_first(const struct rangemap *m, uint64_t start,
			     uint64_t last);

#endif
