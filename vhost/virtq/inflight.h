/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * In-flight descriptors of a ring, in memory that outlives this process
 * (VHOST_USER_SET_INFLIGHT_FD). TX chains are marked before their frames are
 * sent and unmarked after they are pushed. After a crash in between no frame
 * is sent twice: a chain that is marked and not used is pushed without being
 * sent.
 *
 * RX buffers need no mark until they are pushed. So a split RX ring stores
 * only its used index; a packed one marks what is about to be pushed, since a
 * used descriptor overwrites an available one.
 *
 * The process may die between any two stores, also while it takes over from
 * one that died.
 *
 * The memory is the frontend's and hostile: an index read from it is checked
 * before it is used, other values do no harm. A ring whose part is inconsistent
 * is not tracked any more.
 *
 * Source: vhost-user.rst, "Inflight I/O tracking"; parts of rings are aligned
 * to 64 bytes, as libvhost-user and DPDK have it.
 */
#ifndef INFLIGHT_H
#define INFLIGHT_H

#include <stddef.h>
#include <stdint.h>
#include "virtq.h"

/**
 * struct inflight - the part of one ring
 * @ptr:   NULL: this ring is not tracked
 * @num:   entries that it has room for
 * @nusing: first chains of the batch that are about to be pushed
 * @entry: packed: first entry of each chain of the batch that is marked
 */
struct inflight {
	uint8_t *ptr;
	uint16_t num;
	uint64_t counter;
	unsigned int nusing;
	uint16_t entry[VIRTQ_BATCH_CHAINS];
};

/** inflight_stride() - bytes from one ring's part to the next one's */
size_t inflight_stride(unsigned int num, bool packed);

/**
 * inflight_start() - take over the marks when a ring has been started
 *
 * Pushes the chains that a process before this one did not, and moves the ring
 * past them.
 * Return: 0; -EINVAL (not enough room for the ring); -ENOMEM; what
 * virtq_push() gave.
 */
int inflight_start(struct inflight *f, struct virtq *vq);

/** inflight_mark() - the first @n chains of @b are about to be sent */
void inflight_mark(struct inflight *f, const struct virtq *vq,
		   const struct virtq_batch *b, unsigned int n);
/** inflight_using() - the first @n of them are about to be used */
void inflight_using(struct inflight *f, const struct virtq *vq,
		    const struct virtq_batch *b, unsigned int n);
/** inflight_used() - they are, and the others of the @n marked (which may be
 * none) are available again */
void inflight_used(struct inflight *f, const struct virtq *vq,
		   const struct virtq_batch *b, unsigned int n);

#endif
