/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A sink: the sending port of a source, as the receiver of a member's queue.
 * Who has a frame for it sends it there and then, on his own thread; a wake-up
 * of another would take longer. What the port does not take waits in the
 * queue's inbox, and the source's thread (net/patch.c) sends it.
 */
#ifndef NETSINK_H
#define NETSINK_H

#include <pthread.h>
#include <stdint.h>

#include "inbox.h"
#include "network.h"

/** SINK_BATCH - frames of a call of the port */
#define SINK_BATCH 64

struct queue;

/**
 * struct sink - one
 * @port: borrowed; used under @lock
 * @refs: senders that are about to use it; under @lock but for sink_get()
 */
struct sink {
	pthread_mutex_t lock;
	pthread_cond_t unused;
	uint32_t refs;
	struct netport *port;
	struct queue *queue;
	struct inbox *box;
};

/** sink_get() - while network.lock is held; sink_put() must follow */
static inline void sink_get(struct sink *s)
{
	__atomic_fetch_add(&s->refs, 1, __ATOMIC_RELAXED);
}

/** sink_put() - holding the lock */
void sink_put(struct sink *s);

/**
 * sink_send() - to the port, holding the lock, while nothing waits in the inbox
 *
 * Return: frames taken, 0...@n.
 */
unsigned int sink_send(struct sink *s, const struct frame *frames,
		       unsigned int n);

/**
 * netmember_open_sink() - as netmember_open(), for a source
 * @port: frames for the member are sent to; stays the caller's, and open until
 *        sink_close()
 */
int netmember_open_sink(struct netmember *m, unsigned int queue,
			struct netport *port, struct sink **sink,
			struct netport **tx);

/** sink_close() - waits for senders that use it */
void sink_close(struct sink *s);

/** sink_fd() - readable: sink_run() is wanted */
int sink_fd(const struct sink *s);

/**
 * sink_run() - send what waits, at most @max frames
 *
 * Return: frames sent, 0 if there are none, -EAGAIN if the port takes none now.
 */
int sink_run(struct sink *s, unsigned int max);

#endif
