/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtq.h: the device side of a virtqueue, split or packed (virtio 1.2 §2.7,
 * §2.8), in batches of chains:
 *   virtq_fetch()   takes available chains, checked and translated
 *   virtq_rewind()  makes the last of them available again
 *   virtq_push()    returns buffers to the driver, with their lengths
 *   virtq_signal()  interrupts the driver unless it suppresses that
 *
 * Ring and buffers are hostile memory. All functions run on the device's
 * worker.
 *
 * virtq_start() selects the format of a ring by the features. The areas of a
 * packed ring are those of vhost: desc_user_addr is the descriptor ring,
 * avail_user_addr the driver's event structure, used_user_addr the device's.
 */
#ifndef VIRTQ_H
#define VIRTQ_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/vhost.h>
#include <linux/virtio_ring.h>
#include "dirtylog.h"
#include "log.h"
#include "vhost/mem/memview.h"
#include "vdev.h"

/** VIRTQ_MAX_NUM - largest ring (virtio 1.2 §2.7, §2.8.10.1: 2^15) */
#define VIRTQ_MAX_NUM 32768
/** VIRTQ_CHAIN_SEGS - most pieces of one chain (the kernel's UIO_MAXIOV) */
#define VIRTQ_CHAIN_SEGS 1024
/** VIRTQ_BATCH_CHAINS - most chains of a batch; one received frame may take
 * as many */
#define VIRTQ_BATCH_CHAINS 1024
#define VIRTQ_BATCH_SEGS (2 * VIRTQ_CHAIN_SEGS)
/** VIRTQ_PREFETCH - indirect descriptors copied ahead for a batch */
#define VIRTQ_PREFETCH 2048

/**
 * struct chain - a chain of buffers that the driver made available
 * @id:     split: index of its first descriptor; packed: the driver's buffer
 *          id, any number
 * @ndescs: its descriptors in a packed ring
 * @nout:   pieces that the device reads; they come first
 * @nin:    pieces that the device writes
 * @seg:    its first piece in the batch's seg[]
 * @out_len, @in_len: bytes of both parts
 */
struct chain {
	uint16_t id, ndescs;
	uint16_t nout, nin;
	uint32_t seg;
	uint64_t out_len, in_len;
};

/**
 * struct virtq_batch - chains of one virtq_fetch(); shared by the rings of a
 * device, valid until the next fetch
 * @at:   last_avail_idx before the first of them
 * @next: deferred error (-errno) of the chain after the last one, not reported
 *        yet; 0: none known
 */
struct virtq_batch {
	unsigned int n;
	unsigned int nsegs;
	uint16_t at;
	int next;
	struct chain chain[VIRTQ_BATCH_CHAINS];
	struct seg seg[VIRTQ_BATCH_SEGS];

	/* Copies of indirect tables that are not mapped. */
	struct seg table_seg[VIRTQ_CHAIN_SEGS];
	unsigned int nprefetched, nprefetch_descs;
	struct vring_desc prefetched[VIRTQ_PREFETCH];
	struct {
		uint64_t addr; /* of the table; len 0: not prefetched */
		uint32_t len, first;
	} prefetch[VIRTQ_BATCH_CHAINS];
};

/**
 * struct virtq_used - a buffer that is returned to the driver
 * @len:     bytes written into it
 * @id, @ndescs: as in its chain
 * @nchains: 1; with VIRTIO_F_IN_ORDER the number of chains that this element
 *           stands for: @id is that of the last one, @ndescs the sum
 */
struct virtq_used {
	uint32_t len;
	uint16_t id, ndescs, nchains;
};

/** AREA_PIECES - most pieces of a ring's area with an IOTLB (the kernel's) */
#define AREA_PIECES 64

/** struct vring_area - descriptor table (or ring), available or used ring (or
 * the event structure in its place)
 * @ptr:    where ring code reads and writes: the ring itself, or @shadow
 * @shadow: local copy of an area that is not mapped; NULL: never needed
 */
struct vring_area {
	uint8_t *ptr;
	uint8_t *shadow;
	unsigned int npieces;
	struct seg piece[AREA_PIECES];
};

/** virtq_copied() - is the area used through its shadow? */
static inline bool virtq_copied(const struct vring_area *area)
{
	return area->ptr == area->shadow;
}

struct virtq {
	/* The device's; set before anything else. */
	struct memview *mv;
	struct dirtylog *log;
	struct log_tag tag;
	struct log_limit *limit; /* of lines; NULL: none */
	bool read_only;          /* TX: buffers are never written */
	/* Reports a miss of @addr to the VMM. */
	void (*iotlb_miss)(struct virtq *vq, uint64_t addr, uint8_t perm);
	void (*log_event)(struct virtq *vq);

	/* What the VMM set. */
	uint32_t num;
	struct vhost_vring_addr addr;
	uint64_t features;
	int call_fd, err_fd;

	/* Split: free-running indexes; packed: off_wrap (virtq_packed.c). */
	bool packed;
	uint16_t last_avail_idx, avail_idx; /* taken; last seen */
	uint16_t last_used_idx, signalled_used;
	bool signalled_used_valid;
	uint16_t used_flags; /* as last written or to be written, as in a split
				ring, for both formats */

	struct vring_area desc, avail, used;
	bool resolved; /* the areas are as addr and mv say now */
	bool broken;   /* memory is gone; no work until a restart */
	bool ahead; /* not the first chain of the batch: errors are deferred */
	bool error_logged, unreadable_logged;
	uint16_t desc_lo, desc_n; /* copied descriptors, for this batch */
	struct vdev_counters counters;
};

/** virtq_init() - state after open or RESET_OWNER; fds are -1, mv etc. stay */
void virtq_init(struct virtq *vq);
/** virtq_free_shadow() - free the shadows of a stopped ring */
void virtq_free_shadow(struct virtq *vq);

/** virtq_addr_ok() - access_ok() on the three areas for num */
bool virtq_addr_ok(const struct virtq *vq);
/** virtq_log_ok() - the log window of the used ring, if it is logged */
bool virtq_log_ok(const struct virtq *vq, uint64_t log_base);

/**
 * virtq_start() - make a ring ready to run
 *
 * Split: writes used->flags and reads used->idx, as the kernel's
 * vhost_vq_init_access(). Packed: writes the device's event structure.
 *
 * Return: 0, -EFAULT (what is written is out of reach), -ENOMEM, -EINVAL (split
 * ring of no power of two; packed ring whose base is not in the ring).
 */
int virtq_start(struct virtq *vq);

/**
 * virtq_find_used() - is the used ring in the IOTLB?
 *
 * Of a stopped ring. Return: 0; -EAGAIN (not all of it: the VMM was asked);
 * another -errno as memview_translate().
 */
int virtq_find_used(struct virtq *vq);

/** virtq_ready() - resolve the areas, if that is due: before each use of a
 * ring; 0; -EAGAIN (the IOTLB lacks something, and the VMM was asked); -errno
 */
int virtq_ready(struct virtq *vq);

/** virtq_log_ring() - mark all that the device writes in the ring in the dirty
 * log, if the ring is logged */
void virtq_log_ring(struct virtq *vq);

/** virtq_changed() - memory, IOTLB or addresses changed: areas are resolved
 * again before the next use */
void virtq_changed(struct virtq *vq);

/**
 * virtq_avail_count() - number of chains that are known to be available
 *
 * Reads the driver's index only if none are known.
 * Return: their number, or -errno as virtq_fetch().
 */
int virtq_avail_count(struct virtq *vq);

/**
 * virtq_avail_more() - read the driver's index although chains are known
 * Return: 1 if there are more now, 0 if not; -errno as virtq_fetch().
 */
int virtq_avail_more(struct virtq *vq);

/**
 * virtq_fetch() - take up to @max chains
 * An invalid chain is reported when it is the first of a batch. It is not
 * taken, and the ring makes no progress until the driver corrects it (as in the
 * kernel).
 *
 * Return: chains in @b, 0 if the ring is empty; -EAGAIN if the IOTLB lacks
 * something (the VMM was asked); another -errno if the ring is broken (err
 * eventfd signalled, counted, logged once).
 */
int virtq_fetch(struct virtq *vq, struct virtq_batch *b, unsigned int max);

/** virtq_rewind() - make the last @n chains of @b, just fetched, available
 * again */
void virtq_rewind(struct virtq *vq, const struct virtq_batch *b,
		  unsigned int n);

/**
 * virtq_may_skip() - may an invalid chain be skipped and never be used?
 *
 * The kernel does so. With VIRTIO_F_IN_ORDER the driver would take a skipped
 * chain for a used one, and a packed ring would lose its descriptors: there the
 * chain stays until the driver corrects it.
 */
bool virtq_may_skip(const struct virtq *vq);

/** virtq_report() - report that a ring is broken: err eventfd and counter each
 * time, the log once */
void virtq_report(struct virtq *vq, enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/** virtq_error() - the same for a fault of the driver */
#define virtq_error(vq, ...) virtq_report(vq, LOG_LEVEL_WARNING, __VA_ARGS__)

/**
 * virtq_memory_error() - report that the owner's memory cannot be accessed
 * @err:  -errno; after -ESRCH (the owner has exited or exec'ed, which is
 *        logged as no fault) the ring is broken
 * @what: for the log
 * Return: @err.
 */
int virtq_memory_error(struct virtq *vq, int err, const char *what);

/**
 * virtq_unreadable() - count a chain that is dropped as a buffer is unreadable
 *
 * Logged once until RESET_OWNER. As in the kernel this is no fault of the ring:
 * the err eventfd is not signalled.
 */
void virtq_unreadable(struct virtq *vq, uint16_t id);

/**
 * virtq_push() - return @n buffers to the driver
 * @used: in the order they were taken, or any order without IN_ORDER; one that
 *        stands for several chains comes alone
 * Return: 0, or -errno if the used ring cannot be written (reported).
 */
int virtq_push(struct virtq *vq, const struct virtq_used *used, unsigned int n);

/** virtq_signal() - signal the call eventfd unless the driver suppresses it */
void virtq_signal(struct virtq *vq);

/** virtq_disable_notify() - ask the driver for no kicks */
void virtq_disable_notify(struct virtq *vq);
/**
 * virtq_enable_notify() - ask the driver for kicks
 * Return: true if chains were added since the ring was last read.
 */
bool virtq_enable_notify(struct virtq *vq);
/** virtq_avail_changed() - were chains added since the ring was last read? */
bool virtq_avail_changed(struct virtq *vq);

#endif
