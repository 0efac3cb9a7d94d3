/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * inflight.h: the record of in-flight descriptors of a ring, in memory that
 * outlives this process (VHOST_USER_SET_INFLIGHT_FD). TX chains are marked
 * before their frames are sent and unmarked after they are pushed. So no frame
 * is sent twice after a crash: the next process pushes a chain that is marked
 * and not used without sending it.
 *
 * RX buffers need no mark until they are pushed. A split RX ring stores only
 * its used index; a packed one marks the chains that are about to be pushed,
 * since used descriptors overwrite available ones.
 *
 * The record is consistent after every single store, also while one process
 * takes over from another, as the process may die between any two.
 *
 * The memory belongs to the frontend and is hostile: an index read from it is
 * checked before it is used, other values are harmless. If a ring's part is
 * inconsistent the ring is not tracked any more. The device's worker uses it.
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
 * struct inflight - the part of the record for one ring
 * @ptr:   NULL: this ring is not tracked
 * @num:   entries in it
 * @own:   the memory is our own, and not laid out as vhost-user has it: a split
 *         ring has one word there (union cursor in inflight.c)
 * @nusing: number of chains of the batch that are about to be pushed
 * @entry: packed: first entry of each chain of the batch that is marked
 */
struct inflight {
	uint8_t *ptr;
	uint16_t num;
	uint64_t counter;
	bool own;
	unsigned int nusing;
	uint16_t entry[VIRTQ_BATCH_CHAINS];
};

/** inflight_stride() - bytes from one ring's part to the next one's */
size_t inflight_stride(unsigned int num, bool packed);

/**
 * inflight_start() - take over the marks when a ring has been started
 *
 * Pushes the chains that the process before this one left marked, and moves the
 * ring past them.
 * Return: 0; -EINVAL (fewer entries than the ring); -ENOMEM; an error of
 * virtq_push().
 */
int inflight_start(struct inflight *f, struct virtq *vq);

/** inflight_has_place() - does the memory of a ring of @num entries tell where
 * a process before this one was? @f->own */
bool inflight_has_place(const struct inflight *f, unsigned int num,
			bool packed);

/** inflight_place() - set the base of a ring that is not started yet to where a
 * process before this one was; @f->own. False: its memory does not tell */
bool inflight_place(const struct inflight *f, struct virtq *vq, bool packed);

/** inflight_forget() - there are no marks of a process before this one */
void inflight_forget(struct inflight *f);

/** inflight_mark() - the first @n chains of @b are about to be sent */
void inflight_mark(struct inflight *f, const struct virtq *vq,
		   const struct virtq_batch *b, unsigned int n);
/** inflight_using() - the first @n of them are about to be used */
void inflight_using(struct inflight *f, const struct virtq *vq,
		    const struct virtq_batch *b, unsigned int n);
/** inflight_used() - those are used now; the others of the @n marked (there may
 * be none) are available again */
void inflight_used(struct inflight *f, const struct virtq *vq,
		   const struct virtq_batch *b, unsigned int n);

#endif
