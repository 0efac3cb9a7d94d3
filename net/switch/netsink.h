/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A sink: the sending port of a source (tap, ...) as the receiver of a member's
 * queue. The thread that has a frame for it calls the port at once; waking
 * another thread would take longer. Frames that the port does not take wait in
 * the queue's inbox, and the source's thread (patch.c) sends them.
 */
#ifndef NETSINK_H
#define NETSINK_H

#include <pthread.h>
#include <stdint.h>

#include "inbox.h"
#include "network.h"

/** SINK_BATCH - frames that are given to the port in one call */
#define SINK_BATCH 64

struct queue;

/**
 * struct sink
 * @port: borrowed; used under @lock
 * @refs: senders that are about to use the sink; changed under @lock, or by
 *        sink_get()
 */
struct sink {
	pthread_mutex_t lock;
	pthread_cond_t unused;
	uint32_t refs;
	struct netport *port;
	struct queue *queue;
	struct inbox *box;
};

/** sink_get() - announce a sender, holding network.lock; ends with sink_put()
 */
static inline void sink_get(struct sink *s)
{
	__atomic_fetch_add(&s->refs, 1, __ATOMIC_RELAXED);
}

/** sink_put() - holding sink.lock */
void sink_put(struct sink *s);

/**
 * sink_send() - give frames to the port, holding sink.lock, with an empty inbox
 *
 * Return: frames taken, 0...@n.
 */
unsigned int sink_send(struct sink *s, const struct frame *frames,
		       unsigned int n);

/**
 * netmember_open_sink() - as netmember_open(), with a sink as the receiver
 * @port: takes the frames for the member; borrowed until sink_close()
 */
int netmember_open_sink(struct netmember *m, unsigned int queue,
			struct netport *port, struct sink **sink,
			struct netport **tx);

/** sink_close() - close it, after senders that use it */
void sink_close(struct sink *s);

/** sink_fd() - readable when sink_run() has work */
int sink_fd(const struct sink *s);

/**
 * sink_run() - send at most @max frames from the inbox
 *
 * Return: frames sent, 0 if there are none, -EAGAIN if the port takes none now.
 */
int sink_run(struct sink *s, unsigned int max);

#endif
