/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of a frame ring: framering.c has the memory, framering_port.c the
 * ports, which are all that reads and writes frames.
 *
 * The memory is a page (struct framering_page) and the bytes of both ring
 * buffers. These are mapped twice, one mapping behind the other, so that a
 * record never wraps. A record is 8 bytes, of which the first 4 are the length,
 * then a virtio_net_hdr of 12 bytes and the frame; zeros up to a multiple of 8.
 */
#ifndef FRAMERING_PRIV_H
#define FRAMERING_PRIV_H

#include <stddef.h>
#include <stdint.h>

#include "framering.h"

/** FRAMERING_BYTES - of a ring buffer: seven of the longest frames */
#define FRAMERING_BYTES ((size_t)512 * 1024)
/** FRAMERING_PAGE - bytes before the ring buffers */
#define FRAMERING_PAGE ((size_t)4096)
/** FRAMERING_SIZE - bytes of the memory */
#define FRAMERING_SIZE (FRAMERING_PAGE + 2 * FRAMERING_BYTES)

/** The ring buffers, and their eventfds */
enum framering_dir { FRAMERING_TO_GUEST, FRAMERING_FROM_GUEST };

/**
 * struct framering_state - of a ring buffer, in shared memory; positions are
 * free-running multiples of 8
 * @tail:   end of the records that can be read; the producer's
 * @wanted: the producer waits for space
 * @head:   end of the records whose space is free; the consumer's
 * @taken:  end of the records that the consumer has taken: the next consumer
 *          does not get them
 * @asleep: the consumer has to be woken
 */
struct framering_state {
	_Alignas(64) uint64_t tail;
	uint32_t wanted;
	_Alignas(64) uint64_t head;
	uint64_t taken;
	uint32_t asleep;
};

/** struct framering_page - @offload, @enabled: by the guest's side; @followed:
 * by the network's: @enabled as it has acted on it */
struct framering_page {
	uint64_t magic;
	uint64_t offload;
	uint32_t enabled;
	uint32_t followed;
	struct framering_state state[2];
};

/**
 * struct framering - @map: the page, and each ring buffer twice
 * @memfd: of the memory; @data: eventfds: there are records; @space: eventfds
 *         which have their highest counter while the producer waits for space
 * @broken: by any thread of this process
 * @alarm: an eventfd of this process, which gets 1 then; -1: nobody wants it
 */
struct framering {
	uint8_t *map;
	int memfd;
	int data[2], space[2];
	int alarm;
	uint32_t broken;
};

static inline struct framering_page *framering_page(const struct framering *r)
{
	return (void *)r->map;
}

/** framering_bytes() - a ring buffer, twice */
static inline uint8_t *framering_bytes(const struct framering *r,
				       enum framering_dir dir)
{
	return r->map + FRAMERING_PAGE + (size_t)dir * 2 * FRAMERING_BYTES;
}

/** framering_ring(), framering_fill(), framering_drain() - add 1 to an
 * eventfd; set it to its highest counter; set it to 0. None waits: a peer that
 * has made the eventfd blocking has broken the ring */
void framering_ring(struct framering *r, int fd);
void framering_fill(struct framering *r, int fd);
void framering_drain(struct framering *r, int fd);

#endif
