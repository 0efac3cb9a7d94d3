/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An inbox: a ring buffer with the frames for a queue. Many threads put frames,
 * under a lock. One thread takes them, without the lock: it may block in the
 * memory that it copies to.
 *
 * The consumer sleeps on an eventfd, which is written only after the consumer
 * has announced that it sleeps: a busy one costs no system call.
 */
#ifndef INBOX_H
#define INBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/** INBOX_BYTES - size of the ring: seven of the longest frames */
#define INBOX_BYTES ((size_t)512 * 1024)

/**
 * struct inbox - offsets are free-running
 * @fd:      readable when the consumer should look
 * @head:    end of the frames that were taken; written by the consumer
 * @tail:    end of the frames that can be taken; written under @lock
 * @put:     the same, with frames put since inbox_lock(); under @lock
 * @head_seen: producers' copy of @head; under @lock
 * @asleep:  the consumer has to be woken
 * @wakes:   writes to @fd, done or about to be done; @wakes_seen: those that
 * the consumer has read
 * @wanted:  a producer waits for space
 */
struct inbox {
	uint8_t *buf;
	int fd;
	uint64_t wakes_seen;
	_Alignas(64) uint64_t head;
	_Alignas(64) uint64_t tail;
	uint64_t put, head_seen;
	pthread_mutex_t lock;
	_Alignas(64) uint32_t asleep;
	uint32_t wanted;
	uint64_t wakes;
};

/** inbox_new() - 0, -ENOMEM, -EMFILE */
int inbox_new(struct inbox **out);
void inbox_free(struct inbox *b);

/* ---- producers ---- */

void inbox_lock(struct inbox *b);

/** inbox_record() - bytes that a frame of @len takes in the ring */
static inline size_t inbox_record(size_t len)
{
	return (sizeof(uint64_t) + len + 7) & ~(size_t)7;
}

/** inbox_fits() - whether frames of @sum bytes (inbox_record()) in all fit, the
 * longest of @longest */
bool inbox_fits(struct inbox *b, size_t sum, size_t longest);

/**
 * inbox_put() - put one frame, in pieces; holding the lock
 * @len: bytes of all pieces, at most NETPORT_FRAME_MAX
 *
 * Return: false if there is no space.
 */
bool inbox_put(struct inbox *b, const struct iovec *piece, unsigned int n,
	       size_t len);

/** inbox_unlock() - publish the frames that were put */
void inbox_unlock(struct inbox *b);

/**
 * inbox_want() - register the producer as waiting for space; holding the lock
 *
 * Return: true if half of the ring is free; then it is not registered.
 */
bool inbox_want(struct inbox *b);

/* ---- the consumer ---- */

/** struct inbox_cursor - a place between two frames */
struct inbox_cursor {
	uint64_t at, end;
};

/** inbox_begin() - the place before the oldest frame */
struct inbox_cursor inbox_begin(const struct inbox *b);

/** inbox_next() - the next frame, of *@len bytes; valid until inbox_take().
 * NULL: there is none */
const uint8_t *inbox_next(const struct inbox *b, struct inbox_cursor *c,
			  uint32_t *len);

/** inbox_take() - free the space of the frames before @c */
void inbox_take(struct inbox *b, const struct inbox_cursor *c);

/**
 * inbox_sleep() - announce that the consumer waits for @fd
 *
 * Return: true if there are frames after all.
 */
bool inbox_sleep(struct inbox *b);

/** inbox_empty() - any thread; may be outdated at once */
bool inbox_empty(const struct inbox *b);

/**
 * inbox_roomy() - whether producers have to be woken: true once if one waits
 * (inbox_want()) and half of the ring is free
 */
bool inbox_roomy(struct inbox *b);

#endif
