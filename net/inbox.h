/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An inbox: a ring of bytes in which frames wait for the queue that shall have
 * them. Many threads put, under a lock; one thread takes, without it, as it may
 * be held up for ever by the memory that it copies to.
 *
 * The taker sleeps on an eventfd that is written only if it has said that it
 * goes to sleep: one that is busy costs nobody a system call.
 */
#ifndef INBOX_H
#define INBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/** INBOX_BYTES - of frames; holds seven of the longest */
#define INBOX_BYTES ((size_t)512 * 1024)

/**
 * struct inbox - offsets are free-running
 * @fd:      readable: look
 * @head:    what was taken; the taker writes it
 * @tail:    what may be taken; written under @lock
 * @put:     the same with what was put since inbox_lock(); under @lock
 * @head_seen: under @lock
 * @asleep:  the taker wants to be woken
 * @wakes:   that are or will be written to @fd; @wakes_seen: read from it
 * @wanted:  somebody waits for room
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

/* ---- who puts ---- */

void inbox_lock(struct inbox *b);

/** inbox_record() - bytes that a frame of @len takes in the ring */
static inline size_t inbox_record(size_t len)
{
	return (sizeof(uint64_t) + len + 7) & ~(size_t)7;
}

/** inbox_fits() - is there room for frames of @sum bytes (inbox_record()) in
 * all, the longest @longest? */
bool inbox_fits(struct inbox *b, size_t sum, size_t longest);

/**
 * inbox_put() - one frame, in pieces
 * @len: bytes of all pieces, at most NETPORT_FRAME_MAX
 *
 * Return: false if there is no room.
 */
bool inbox_put(struct inbox *b, const struct iovec *piece, unsigned int n,
	       size_t len);

/** inbox_unlock() - the taker may have what was put */
void inbox_unlock(struct inbox *b);

/**
 * inbox_want() - inbox_roomy() becomes true some day: tell me
 *
 * Holding the lock. Return: true if it is already; nothing is told then.
 */
bool inbox_want(struct inbox *b);

/* ---- who takes ---- */

/** struct inbox_cursor - between two frames */
struct inbox_cursor {
	uint64_t at, end;
};

/** inbox_begin() - at the oldest frame */
struct inbox_cursor inbox_begin(const struct inbox *b);

/** inbox_next() - a frame of *@len bytes, or NULL; stays until inbox_take() */
const uint8_t *inbox_next(const struct inbox *b, struct inbox_cursor *c,
			  uint32_t *len);

/** inbox_take() - the frames up to @c are done with */
void inbox_take(struct inbox *b, const struct inbox_cursor *c);

/**
 * inbox_sleep() - there is nothing: @fd shall tell
 *
 * Return: true if there is something after all.
 */
bool inbox_sleep(struct inbox *b);

/** inbox_empty() - any thread, at a glance */
bool inbox_empty(const struct inbox *b);

/**
 * inbox_roomy() - true once if somebody waits for room (inbox_want()) and half
 * of all is free
 */
bool inbox_roomy(struct inbox *b);

#endif
