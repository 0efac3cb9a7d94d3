/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A virtqueue by itself, over an arena: what tests of both formats share. The
 * driver, d or p, is the test's to set up.
 */
#ifndef VQFIX_H
#define VQFIX_H

#include "bytes.h"
#include "drv.h"
#include "modes.h"
#include "log.h"
#include "pdrv.h"
#include "virtq.h"

/* What an IOTLB adds to the addresses of rings. */
#define IOVA_SHIFT (UINT64_C(1) << 40)
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

#define IN(mode, name) ARENA_TEST(vqfix, mode, name)

/** vqfix_fetch() - a batch as large as it can be */
int vqfix_fetch(struct vqfix *f);
/** vqfix_check_seg() - a piece is @len bytes at @gpa, mapped or not */
void vqfix_check_seg(struct vqfix *f, const struct seg *seg, uint64_t gpa,
		     uint32_t len);
/** vqfix_no_error() - none was signalled or counted */
void vqfix_no_error(struct vqfix *f);
/** vqfix_signalled() - virtq_signal(): did it? */
bool vqfix_signalled(struct vqfix *f);

/** vqfix_check_stuck() - the ring does not move, and every look at it gives
 * @ret and is reported @bumps times */
void vqfix_check_stuck(struct vqfix *f, int ret, unsigned int bumps);
/** vqfix_check_bytes() - the first chain is of @n bytes, from GPA_A on */
void vqfix_check_bytes(struct vqfix *f, unsigned int n);
/** vqfix_iotlb() - the ring's addresses are IOVAs, IOVA_SHIFT beside the
 * owner's; not started */
void vqfix_iotlb(struct vqfix *f, const struct vhost_vring_addr *addr,
		 uint32_t num);
/** vqfix_iotlb_rings() - entries for the first @total bytes, @step each */
void vqfix_iotlb_rings(struct vqfix *f, uint64_t step, uint64_t total);
/** vqfix_log_ring() - what is written to the ring is logged at @gpa */
void vqfix_log_ring(struct vqfix *f, uint64_t gpa);

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
