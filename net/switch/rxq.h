/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An rxq is a ring buffer with the packets that wait for a queue of a switch
 * port. Many threads push packets, under a lock. One thread, the consumer,
 * reads packets where they are and then releases them, without the lock, since
 * it may block in the memory to which it copies. A packet stays until it is
 * released.
 *
 * The consumer sleeps on an eventfd, which is written only after the consumer
 * has announced that it sleeps: a busy consumer costs no system call.
 */
#ifndef RXQ_H
#define RXQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "mutex.h"

/** RXQ_BYTES - size of the ring: seven of the longest packets */
#define RXQ_BYTES ((size_t)512 * 1024)

/**
 * struct rxq - offsets are free-running
 * @fd:      readable when the consumer has to check the ring
 * @head:    end of the packets that were released; written by the consumer
 * @tail:    end of the packets that can be read; written under @lock
 * @put:     @tail, and the packets pushed since rxq_lock(); under @lock
 * @head_seen: producers' copy of @head; under @lock
 * @asleep:  the consumer has to be woken
 * @wakes:   writes to @fd, done or about to be done; @wakes_seen: those that
 *          the consumer has read
 * @wanted:  a producer waits for space
 */
struct rxq {
	uint8_t *buf;
	int fd;
	uint64_t wakes_seen;
	_Alignas(64) uint64_t head;
	_Alignas(64) uint64_t tail;
	uint64_t put, head_seen;
	struct mutex lock;
	_Alignas(64) uint32_t asleep;
	uint32_t wanted;
	uint64_t wakes;
};

/** rxq_new() - 0, -ENOMEM, -EMFILE */
int rxq_new(struct rxq **out);
void rxq_free(struct rxq *rxq);

/* ---- producers ---- */

void rxq_lock(struct rxq *rxq) TAKES(rxq->lock);

/** rxq_entry_size() - bytes of a packet of @len bytes in the ring */
static inline size_t rxq_entry_size(size_t len)
{
	return (sizeof(uint64_t) + len + 7) & ~(size_t)7;
}

/** rxq_fits() - whether packets of @sum bytes (rxq_entry_size()) fit, the
 * longest of @longest */
bool rxq_fits(struct rxq *rxq, size_t sum, size_t longest) NEEDS(rxq->lock);

/**
 * rxq_push() - push one packet, in pieces; holding the lock
 * @len: bytes of all pieces, at most NETPORT_FRAME_MAX
 *
 * Return: false if there is no space.
 */
bool rxq_push(struct rxq *rxq, const struct iovec *piece, unsigned int n,
	      size_t len) NEEDS(rxq->lock);

/** rxq_unlock() - publish the packets that were pushed */
void rxq_unlock(struct rxq *rxq) RELEASES(rxq->lock);

/**
 * rxq_wait_for_space() - register the producer as waiting for space; holding
 * the lock
 *
 * Return: true if half of the ring is free; then it is not registered.
 */
bool rxq_wait_for_space(struct rxq *rxq) NEEDS(rxq->lock);

/* ---- the consumer ---- */

/** struct rxq_cursor - a position between two packets */
struct rxq_cursor {
	uint64_t at, end;
};

/** rxq_begin() - the position before the oldest packet */
struct rxq_cursor rxq_begin(const struct rxq *rxq);

/** rxq_next() - the next packet, of *@len bytes; valid until rxq_release().
 * NULL: there is none */
const uint8_t *rxq_next(const struct rxq *rxq, struct rxq_cursor *c,
			uint32_t *len);

/** rxq_release() - remove the packets before @c: their space is free */
void rxq_release(struct rxq *rxq, const struct rxq_cursor *c);

/**
 * rxq_sleep() - announce that the consumer waits for @fd
 *
 * Return: true if there are packets after all.
 */
bool rxq_sleep(struct rxq *rxq);

/** rxq_empty() - any thread; may be outdated at once */
bool rxq_empty(const struct rxq *rxq);

/**
 * rxq_wakes_producers() - whether producers have to be woken: true once if one
 * waits (rxq_wait_for_space()) and half of the ring is free
 */
bool rxq_wakes_producers(struct rxq *rxq);

#endif
