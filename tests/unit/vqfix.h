/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtqueue by itself, over an arena: what tests of both formats share. The
 * driver, d or p, is the test's to set up.
 */
#ifndef VQFIX_H
#define VQFIX_H

#include "bytes.h"
#include "drv.h"
#include "log.h"
#include "pdrv.h"
#include "virtq.h"

#define VQFIX_LOG SPARE_OFF /* where the dirty bitmap is in the arena */

struct vqfix {
	struct arena arena;
	struct memview mv;
	struct dirtylog log;
	struct virtq vq;
	struct virtq_batch batch;
	struct drv d;
	struct pdrv p;
	int call, err;
	unsigned int misses, log_events;
	uint64_t miss_addr;
	uint8_t miss_perm;
};

/* cmocka fixtures; *state is the vqfix */
int vqfix_setup_mapped(void **state);
int vqfix_setup_copied(void **state);
int vqfix_setup_rings_mapped(void **state);
int vqfix_setup_ram_mapped(void **state);
int vqfix_setup_child(void **state);
int vqfix_teardown(void **state);

#define IN(mode, name)                                          \
	{                                                       \
#name " [" #mode "]", name, vqfix_setup_##mode, \
			vqfix_teardown, NULL                    \
	}
#define EVERYWHERE(name)                                            \
	IN(mapped, name), IN(copied, name), IN(rings_mapped, name), \
		IN(ram_mapped, name)

/** vqfix_fetch() - a batch as large as it can be */
int vqfix_fetch(struct vqfix *f);
/** vqfix_check_seg() - a piece is @len bytes at @gpa, mapped or not */
void vqfix_check_seg(struct vqfix *f, const struct seg *seg, uint64_t gpa,
		     uint32_t len);
/** vqfix_no_error() - none was signalled or counted */
void vqfix_no_error(struct vqfix *f);
/** vqfix_signalled() - virtq_signal(): did it? */
bool vqfix_signalled(struct vqfix *f);

/** vqfix_range() - add to a table or IOTLB */
void vqfix_range(struct rangemap *m, uint64_t start, uint64_t size,
		 uint64_t uva, uint8_t perm);
/** vqfix_iotlb_add() - an entry for bytes of the arena, at once in force */
void vqfix_iotlb_add(struct vqfix *f, uint64_t iova, uint64_t size,
		     uint64_t off, uint8_t perm);

/** vqfix_take_log() - bits of pages 0...23 that are set; clears them. In copied
 * mode a byte is all or nothing. */
unsigned int vqfix_take_log(struct vqfix *f);
/** vqfix_pages() - how @bits come out in the mode of the arena */
unsigned int vqfix_pages(struct vqfix *f, unsigned int bits);

#endif
