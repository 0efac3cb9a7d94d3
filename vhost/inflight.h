/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which chains of a transmit ring are in our hands, in memory that outlives us
 * (VHOST_USER_SET_INFLIGHT_FD). Chains are marked before their frames leave and
 * unmarked once they are used, so that after a crash in between none is sent
 * twice: what is marked and not used then goes back to the driver unsent.
 *
 * On a receive ring a buffer that was taken is as good as new as long as it is
 * not used. So split ones mark nothing, and only how far they are is kept;
 * packed ones mark only what is about to be used, for a descriptor cannot be
 * both.
 *
 * We may die between any two stores, while a successor takes over included.
 *
 * The memory is the frontend's and hostile: what is read from it is an index
 * that is checked, or does not matter. A ring whose part makes no sense is not
 * tracked any more.
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
 * @nusing: chains of the batch that go back, the first ones
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
 * inflight_start() - the ring has just been started: take over what was marked
 *
 * Gives the driver back what a predecessor did not; moves the ring behind that.
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
