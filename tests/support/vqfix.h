/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vqfix.h is a fixture for unit tests of virtq.c: one virtqueue, split or
 * packed, over an arena, with a driver (drv.h) and no device around it.
 */
#ifndef VQFIX_H
#define VQFIX_H

#include "bytes.h"
#include "drv.h"
#include "log.h"
#include "virtq.h"
#include <linux/virtio_config.h>

/* What an IOTLB adds to the addresses of rings. */
#define IOVA_SHIFT (UINT64_C(1) << 40)
#define VQFIX_LOG SPARE_OFF /* where the dirty bitmap is in the arena */

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT
#define EVENT_IDX BIT(VIRTIO_RING_F_EVENT_IDX)
#define IN_ORDER BIT(VIRTIO_F_IN_ORDER)
#define DESC sizeof(struct vring_desc) /* of both formats */
#define TABLE (GPA_C + 0x1000)         /* where tests put indirect tables */
/* A size that only a packed ring can have, next to @num, where it has one. */
#define ODD(f, num) ((num) - (f)->packed)

/**
 * struct vqfix - the fixture
 * @packed: the format that vqfix_start() gives the ring
 * @call, @err: eventfds of the ring
 * @misses, @miss_addr, @miss_perm: what the IOTLB was asked for, the last time
 */
struct vqfix {
	bool packed;
	struct arena arena;
	struct memview mv;
	struct dirtylog log;
	struct virtq vq;
	struct virtq_batch batch;
	struct drv d;
	int call, err;
	unsigned int misses, log_events;
	uint64_t miss_addr;
	uint8_t miss_perm;
};

/* cmocka fixtures; *state is the mode (arena.h), then the vqfix */
int vqfix_setup(void **state);
int vqfix_teardown(void **state);

#define IN_FORMAT(prefix, format, mode, name) \
	ARENA_TEST(vqfix, prefix, format, mode, name)

/** vqfix_start() - an empty ring of @num entries, driver and device ready */
void vqfix_start(struct vqfix *f, uint32_t num, uint64_t features);
/** vqfix_start_at() - the same with all indexes at @at, as drv.h has them */
void vqfix_start_at(struct vqfix *f, uint32_t num, uint64_t features,
		    uint16_t at);
/** vqfix_start_after() - the same, as if @n chains of one descriptor had passed
 * since the reset */
void vqfix_start_after(struct vqfix *f, uint32_t num, uint64_t features,
		       uint32_t n);
/** vqfix_push() - virtq_push() of one chain */
void vqfix_push(struct vqfix *f, uint16_t id, uint16_t ndescs, uint32_t len);
/** vqfix_push_batch() - the same of the first @n chains of the batch */
void vqfix_push_batch(struct vqfix *f, unsigned int n, uint32_t len);
/** vqfix_check_used() - the driver's next used element is of such a chain */
void vqfix_check_used(struct vqfix *f, uint16_t id, uint32_t ndescs,
		      uint32_t len);
/** vqfix_fetch() - a batch as large as it can be */
int vqfix_fetch(struct vqfix *f);
/** vqfix_check_seg() - a piece is @len bytes at @gpa, mapped or not */
void vqfix_check_seg(struct vqfix *f, const struct seg *seg, uint64_t gpa,
		     uint32_t len);
/** vqfix_no_error() - none was signalled or counted */
void vqfix_no_error(struct vqfix *f);
/** vqfix_signalled() - virtq_signal(): did it? */
bool vqfix_signalled(struct vqfix *f);

/** vqfix_check_stuck() - the ring does not move, nothing is used, and every
 * fetch returns @ret and signals err once */
void vqfix_check_stuck(struct vqfix *f, int ret);
/** vqfix_check_stuck_in_table() - the same of a fault in an indirect table,
 * which a split ring signals twice, as the kernel does */
void vqfix_check_stuck_in_table(struct vqfix *f, int ret);
/** vqfix_check_bytes() - the first chain, of id 2, is of @n bytes, from GPA_A
 * on */
void vqfix_check_bytes(struct vqfix *f, unsigned int n);
/** vqfix_fill_table() - an indirect table at @gpa (one region) of @n
 * descriptors of a byte each, from GPA_A on, the last @writable of them
 * writable. In a packed ring's table the other flags and ids have no meaning,
 * and are arbitrary. */
void vqfix_fill_table(struct vqfix *f, uint64_t gpa, unsigned int n,
		      unsigned int writable);
/** vqfix_offer_table() - start a ring of 8, and offer @len bytes at @gpa as an
 * indirect table, id 2 */
void vqfix_offer_table(struct vqfix *f, uint64_t gpa, uint32_t len);
/** vqfix_iotlb() - a ring whose addresses are IOVAs, IOVA_SHIFT beside the
 * owner's; not started */
void vqfix_iotlb(struct vqfix *f, uint32_t num, uint64_t features);
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
