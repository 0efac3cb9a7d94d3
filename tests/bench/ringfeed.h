/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ringfeed.c is a guest that costs next to nothing: it keeps one split ring
 * full.
 *
 * A slot of the available ring always names the same descriptor, and the buffer
 * of a descriptor never changes. So all that the guest does for a batch is to
 * read the used index and to move the available index behind it. This supposes
 * that the device returns buffers in the order in which it got them, which is
 * checked at the end of each run.
 *
 * A run begins and ends at rest: no buffer is with the device, and its worker
 * sleeps. What the worker's processor time has grown by is the price of the
 * frames of this run alone: the time of a thread that sleeps is exact, while
 * that of a running thread is known to a tick of the kernel, and a worker
 * without work polls for at most some 50 µs before it sleeps.
 */
#ifndef RINGFEED_H
#define RINGFEED_H

#include <stdint.h>
#include <sys/types.h>

#include "bench.h"
#include "vmm.h"

/** RINGFEED_HDR - bytes of virtio_net_hdr before each frame */
#define RINGFEED_HDR 12
/** RINGFEED_MEM - bytes of the guest's memory */
#define RINGFEED_MEM (UINT64_C(16) << 20)

/**
 * struct ringfeed_config - what the guest is
 * @path:    its device
 * @copied:  its memory is private, so the daemon copies; else memfd, mapped
 * @to_guest: the ring is RX, else TX
 * @num:     entries of the ring
 * @size:    bytes of a frame, without its virtio_net_hdr
 * @room:    bytes from one buffer to the next
 * @backend: descriptor for SET_BACKEND; -1: a packet socket of its own
 */
struct ringfeed_config {
	const char *path;
	bool copied;
	bool to_guest;
	unsigned int num;
	unsigned int size;
	unsigned int room;
	int backend;
};

/**
 * struct ringfeed - a guest
 * @tid:    the daemon's worker that serves it
 * @refills: batches of buffers that were offered again while a run lasted
 * @starved: of these, those for which the device had used up the whole ring
 */
struct ringfeed {
	struct ringfeed_config config;
	struct vmm *v;
	struct vmm_queue *q;
	unsigned int qi;
	int backend; /* if it is our own; else -1 */
	pid_t pid, tid;
	uint64_t refills, starved;
};

/** ringfeed_frame() - the frame of @size bytes that all scenarios of this kind
 * send, behind a virtio_net_hdr of zeroes */
void ringfeed_frame(uint8_t *at, unsigned int size);

/**
 * ringfeed_buffers() - @num buffers of @room bytes with such a frame in each
 *
 * All pages are touched. Return: guest physical address; 0: no room.
 */
uint64_t ringfeed_buffers(struct vmm_mem *m, unsigned int num,
			  unsigned int room, unsigned int size);

/** ringfeed_open() - 0, or -errno with bench_why() called */
int ringfeed_open(struct bench *b, struct ringfeed *f,
		  const struct ringfeed_config *config);

/**
 * ringfeed_run() - frames for about @ns, or until there were @limit
 * @limit: frames; 0: no limit. That many buffers are offered and no more
 * @out:   ops, ns, cpu_ns and bytes are filled in
 *
 * Return: 0, or -errno with bench_why() called.
 */
int ringfeed_run(struct bench *b, struct ringfeed *f, uint64_t ns,
		 uint64_t limit, struct bench_sample *out);

/** ringfeed_close() - an @f of zeroes is fine */
void ringfeed_close(struct ringfeed *f);

#endif
