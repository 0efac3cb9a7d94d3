/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memview.h: translation of the addresses in a ring, which are guest physical
 * (memory table) or I/O virtual (IOTLB), to pointers where the memory is
 * mapped, or to addresses of the owner for copies. An address is always checked
 * together with its length. The device's thread uses it.
 */
#ifndef MEMVIEW_H
#define MEMVIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "aspace.h"
#include "rangemap.h"

/**
 * struct seg - a piece of a buffer
 * @ptr:  pointer, or NULL: not mapped, copy from/to @uva
 * @uva:  the owner's address
 * @addr: the address in the descriptor (for the dirty log)
 * @len:  bytes
 */
struct seg {
	uint8_t *ptr;
	uint64_t uva;
	uint64_t addr;
	uint32_t len;
};

struct memview {
	struct aspace *as;       /* NULL without an owner */
	struct rangemap table;   /* gpa → uva */
	bool have_table;         /* SET_MEM_TABLE was done, even an empty one */
	struct rangemap iotlb;   /* iova → uva */
	bool have_iotlb;         /* VIRTIO_F_ACCESS_PLATFORM is in force */
	const struct range *hit; /* last range found; NULL: none */
};

/** memview_bind() - set the pointers of all ranges, after ranges or mappings
 * have changed */
void memview_bind(struct memview *mv);

/**
 * memview_translate() - cut an address range into pieces
 * @addr, @len: from a descriptor; @len 0 gives no pieces
 * @perm:  the access: RANGE_RO or RANGE_WO
 * @segs:  space for @max pieces
 * @miss:  set to the first address without a range on -EAGAIN
 *
 * Return: pieces; -EFAULT (not in the table, or past its end); -EAGAIN (not in
 * the IOTLB); -EPERM (in the IOTLB with other permissions); -ENOBUFS (more
 * than @max pieces).
 */
int memview_translate(struct memview *mv, uint64_t addr, uint64_t len,
		      uint8_t perm, struct seg *segs, size_t max,
		      uint64_t *miss);

/** memview_table_ok() - access_ok() on every region of the table */
bool memview_table_ok(const struct memview *mv);

/**
 * memview_gpa_of() - find the guest physical addresses of an owner's range
 * @fn: called for each, aliases included
 */
void memview_gpa_of(const struct memview *mv, uint64_t uva, uint64_t len,
		    void (*fn)(void *ctx, uint64_t gpa, uint64_t len),
		    void *ctx);

/**
 * seg_ranges() - bytes [@off, @off + @len) of @nsegs pieces as ranges to copy
 * @ptr: local memory for the first of the bytes
 * @r:   space for @max ranges; bytes that need more are left out
 * Return: ranges in @r.
 */
size_t seg_ranges(const struct seg *seg, size_t nsegs, size_t off, size_t len,
		  void *ptr, struct aspace_range *r, size_t max);

#endif
