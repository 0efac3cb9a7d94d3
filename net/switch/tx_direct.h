/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Direct transmit: the sending port of an interface (tap, ...) receives the
 * packets of a queue. The thread that has a packet calls the port at once,
 * since waking another thread would take longer. Packets that the port does not
 * accept wait in the queue's rxq, and the uplink's thread (uplink.c) sends
 * them.
 */
#ifndef TX_DIRECT_H
#define TX_DIRECT_H

#include <pthread.h>
#include <stdint.h>

#include "mutex.h"
#include "rxq.h"
#include "network.h"

/** TX_DIRECT_BATCH - packets that are given to the port in one call */
#define TX_DIRECT_BATCH 64

struct queue;

/**
 * struct tx_direct
 * @port: borrowed; used under @lock
 * @refs: senders that are about to send; changed under @lock, or by
 *        tx_direct_get()
 */
struct tx_direct {
	struct mutex lock;
	pthread_cond_t unused;
	uint32_t refs;
	struct netport *port;
	struct queue *queue;
	struct rxq *rxq;
};

/** tx_direct_get() - announce a sender, holding network.lock; ends with
 * tx_direct_put()
 */
static inline void tx_direct_get(struct tx_direct *direct)
{
	__atomic_fetch_add(&direct->refs, 1, __ATOMIC_RELAXED);
}

/** tx_direct_put() - end what tx_direct_get() began */
void tx_direct_put(struct tx_direct *direct) NEEDS(direct->lock);

/**
 * tx_direct_send() - give frames to the port, with an empty rxq
 *
 * Return: frames accepted, 0...@n.
 */
unsigned int tx_direct_send(struct tx_direct *direct,
			    const struct frame *frames, unsigned int n)
	NEEDS(direct->lock);

/**
 * swport_open_direct() - as swport_open(), with a tx_direct in place of a port
 * @port: frames are sent through it; borrowed until tx_direct_close()
 */
int swport_open_direct(struct swport *swport, unsigned int queue,
		       struct netport *port, struct tx_direct **direct,
		       struct netport **tx);

/** tx_direct_close() - wait for senders that use it, and close it */
void tx_direct_close(struct tx_direct *direct);

/** tx_direct_fd() - readable when tx_direct_run() has work */
int tx_direct_fd(const struct tx_direct *direct);

/**
 * tx_direct_run() - send at most @max frames from the rxq
 *
 * Return: frames sent, 0 if there are none, -EAGAIN if the port accepts none
 * now.
 */
int tx_direct_run(struct tx_direct *direct, unsigned int max);

#endif
