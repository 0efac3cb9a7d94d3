/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtq_priv.h: what virtq.c (areas, errors, buffers, indirect tables) and the
 * two formats, virtq_split.c and virtq_packed.c, share.
 *
 * Code accesses the three areas of a ring through vring_area.ptr. If the area
 * is mapped, ptr is the ring itself. If not, ptr is a shadow, a local copy:
 * virtq_shadow_read() updates a range of it before it is read, and
 * virtq_shadow_write() writes a range back after it was changed. Both do
 * nothing for a mapped area, so the code of a format is the same for both.
 */
#ifndef VIRTQ_PRIV_H
#define VIRTQ_PRIV_H

#include "virtq.h"

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <linux/virtio_config.h>

#include "bytes.h"

#define NO_NOTIFY VRING_USED_F_NO_NOTIFY
/* Descriptors that are copied together if they were not copied ahead. */
#define CHUNK 64
/* Most ranges that one virtq_ranges() returns. */
#define AREA_RANGES AREA_PIECES

/** struct desc - copy of a descriptor; @next: in a packed ring its buffer id */
struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

/** struct indirect - where the descriptors of an indirect table come from */
struct indirect {
	const struct vring_desc *table; /* entry lo */
	uint32_t lo, n;                 /* entries at hand */
	uint32_t count;                 /* entries of the table */
	unsigned int nseg;
	struct vring_desc chunk[CHUNK];
};

/* Flags and idx of a split ring's available or used ring: two fields of 16 bits
 * that are copied together, as one of 32 (aspace.c says why). */
#define AVAIL_HEAD offsetof(struct vring_avail, ring)
#define USED_HEAD offsetof(struct vring_used, ring)

static inline bool virtq_event_idx(const struct virtq *vq)
{
	return vq->features & BIT(VIRTIO_RING_F_EVENT_IDX);
}

/* ---- areas: virtq.c ---- */

/** virtq_ranges() - store the ranges of bytes [off, off + len) of a copied area
 * in @r; returns how many */
size_t virtq_ranges(const struct vring_area *area, size_t off, size_t len,
		    struct aspace_range *r);
/** virtq_shadow_read(), virtq_shadow_write() - copy a range of an area from or
 * to the owner's memory, if the area is not mapped */
int virtq_shadow_read(struct virtq *vq, struct vring_area *area, size_t off,
		      size_t len);
int virtq_shadow_write(struct virtq *vq, struct vring_area *area, size_t off,
		       size_t len);
/**
 * virtq_shadow_write_after() - write @n ranges @r, and bytes [off, off + len)
 * of a copied area after them
 * @r: space for AREA_RANGES more
 *
 * The last range does not begin where the others end, so it is a system call
 * of its own, after theirs.
 */
int virtq_shadow_write_after(struct virtq *vq, struct aspace_range *r, size_t n,
			     const struct vring_area *area, size_t off,
			     size_t len);
/** virtq_log_area() - mark the pages of an area that lie in guest memory in the
 * dirty log */
void virtq_log_area(struct virtq *vq, const struct vring_area *area, size_t off,
		    size_t len);
/** signal_fd() - signal an eventfd, if there is one */
void signal_fd(int fd);

static inline bool virtq_logged(const struct virtq *vq)
{
	return unlikely(vq->addr.flags & BIT(VHOST_VRING_F_LOG));
}

/* ---- chains: virtq.c ---- */

/** virtq_buffer_error() - report an error of virtq_add_buffer(); returns @err
 */
int virtq_buffer_error(struct virtq *vq, int err, const struct desc *d,
		       uint64_t miss, uint8_t perm);

/**
 * virtq_add_buffer() - add the buffer of a descriptor to a chain
 * Return: 0; -ENOSPC: the batch is full, the chain has to wait for the next
 * one; another -errno: reported.
 */
static inline int virtq_add_buffer(struct virtq *vq, struct virtq_batch *b,
				   struct chain *chain, const struct desc *d)
{
	bool in = d->flags & VRING_DESC_F_WRITE;
	uint8_t perm = in ? RANGE_WO : RANGE_RO;
	size_t left = VIRTQ_CHAIN_SEGS - (b->nsegs - chain->seg);
	size_t space = VIRTQ_BATCH_SEGS - b->nsegs;
	uint64_t miss = 0;
	int n;

	n = memview_translate(vq->mv, d->addr, d->len, perm, &b->seg[b->nsegs],
			      MIN(left, space), &miss);
	if (unlikely(n == -ENOBUFS && space < left))
		return -ENOSPC;
	if (unlikely(n < 0))
		return virtq_buffer_error(vq, n, d, miss, perm);
	b->nsegs += (unsigned int)n;
	if (in) {
		chain->nin += (uint16_t)n;
		chain->in_len += d->len;
		return 0;
	}
	/* virtio 1.2 §2.7.4.2, §2.8.17 */
	if (unlikely(chain->nin))
		return virtq_buffer_error(vq, -EINVAL, d, miss, perm);
	chain->nout += (uint16_t)n;
	chain->out_len += d->len;
	return 0;
}

/** virtq_simple_chain() - make chain @ci of the batch from this one descriptor,
 * in one piece @seg; false: it has several pieces, or an error */
static inline bool virtq_simple_chain(struct virtq *vq, struct virtq_batch *b,
				      unsigned int ci, uint32_t seg,
				      const struct desc *d, uint16_t id)
{
	bool in = d->flags & VRING_DESC_F_WRITE;
	uint64_t miss;

	if (memview_translate(vq->mv, d->addr, d->len, in ? RANGE_WO : RANGE_RO,
			      &b->seg[seg], 1, &miss) != 1)
		return false;
	b->chain[ci] = (struct chain){
		.id = id,
		.ndescs = 1,
		.nout = !in,
		.nin = in,
		.seg = seg,
		.out_len = in ? 0 : d->len,
		.in_len = in ? d->len : 0,
	};
	return true;
}

/** virtq_indirect_open() - translate an indirect table; @ci: index of its chain
 * in the batch */
int virtq_indirect_open(struct virtq *vq, struct virtq_batch *b,
			unsigned int ci, const struct desc *d,
			struct indirect *it);
/** virtq_indirect_copy() - copy entry @i of a table and some after it; 0 or
 * -errno (reported) */
int virtq_indirect_copy(struct virtq *vq, const struct virtq_batch *b,
			struct indirect *it, uint32_t i);

/**
 * struct prefetch - copies the indirect tables of a whole batch at once
 * Nothing is checked here: a table that is not prefetched, or that has changed
 * meanwhile, is read and checked when its chain is walked.
 */
struct prefetch {
	size_t n;
	struct aspace_range r[VIRTQ_BATCH_CHAINS];
};

/** virtq_prefetch_add() - add the table of @d, the first descriptor of chain
 * @ci of the batch (NULL: not known); called for each chain from 0 on */
void virtq_prefetch_add(struct virtq *vq, struct virtq_batch *b,
			struct prefetch *p, unsigned int ci,
			const struct desc *d);
/** virtq_prefetch_run() - copy the tables of chains 0...@n - 1 */
void virtq_prefetch_run(struct virtq *vq, struct virtq_batch *b,
			const struct prefetch *p, unsigned int n);

/* ---- packed ring: off_wrap (virtq_packed.c) ---- */

#define F_AVAIL BIT(VRING_PACKED_DESC_F_AVAIL)
#define F_USED BIT(VRING_PACKED_DESC_F_USED)
#define WRAP BIT(VRING_PACKED_EVENT_F_WRAP_CTR)
static inline uint32_t slot_of(uint16_t off_wrap)
{
	return off_wrap & (WRAP - 1);
}

/* @n is at most the size of the ring. */
static inline uint16_t advance(const struct virtq *vq, uint16_t off_wrap,
			       uint32_t n)
{
	uint32_t slot = slot_of(off_wrap) + n, wrap = off_wrap & WRAP;

	if (slot >= vq->num) {
		slot -= vq->num;
		wrap ^= WRAP;
	}
	return (uint16_t)(slot | wrap);
}

static inline bool is_available(uint16_t flags, uint16_t off_wrap)
{
	return (flags & (F_AVAIL | F_USED)) ==
	       (off_wrap & WRAP ? F_AVAIL : F_USED);
}

/* ---- formats: virtq_split.c, virtq_packed.c ---- */

int split_start(struct virtq *vq);
int split_avail_count(struct virtq *vq);
int split_avail_more(struct virtq *vq);
int split_fetch(struct virtq *vq, struct virtq_batch *b, unsigned int max);
bool split_avail_changed(struct virtq *vq);
int split_push(struct virtq *vq, const struct virtq_used *elems,
	       unsigned int n);
bool split_wants_signal(struct virtq *vq);
/* Publishes notification suppression: used->flags, or avail_event. */
int split_publish_notify(struct virtq *vq);

void split_log_ring(struct virtq *vq);

int packed_start(struct virtq *vq);
void packed_log_ring(struct virtq *vq);
int packed_avail_count(struct virtq *vq);
int packed_avail_more(struct virtq *vq);
int packed_fetch(struct virtq *vq, struct virtq_batch *b, unsigned int max);
void packed_rewind(struct virtq *vq, const struct virtq_batch *b,
		   unsigned int n);
bool packed_avail_changed(struct virtq *vq);
int packed_push(struct virtq *vq, const struct virtq_used *used,
		unsigned int n);
bool packed_wants_signal(struct virtq *vq);
int packed_publish_notify(struct virtq *vq);

#endif
