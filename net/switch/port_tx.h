/* SPDX-License-Identifier: BSD-3-Clause */
/* Shared by port_tx.c, which finds the receivers of a packet, and deliver.c,
 * which gives the packet to each of them. */
#ifndef PORT_TX_H
#define PORT_TX_H

#include "network_priv.h"
#include "pkt.h"

/** PORT_TX_BATCH - most packets that are forwarded together */
#define PORT_TX_BATCH 64
/** FLOOD_RUN - most flooded packets that one receiver gets before the next
 * receiver gets them */
#define FLOOD_RUN 16
#define DEFERRED_MAX (FLOOD_RUN * NETWORK_PORTS_MAX)

/**
 * struct pkt_part - a packet for one receiver, or segments of it
 * @direct:  through which it is sent; NULL: it is pushed into an rxq
 * @segment: the first of @nsegments; NULL: the packet itself
 * @tag:     whether it leaves with a tag
 * @begun:   segments before @segment have been sent
 */
struct pkt_part {
	struct tx_direct *direct;
	const struct pkt *pkt;
	const struct segment *segment;
	uint32_t nsegments;
	bool tag, begun;
};

/**
 * struct port_tx - the port through which a queue sends into the network
 * @waiter:  its fd is the port's
 * @memory:  mapping of @buffer and @arena
 * @buffer:  copies of frames
 * @arena:   segments of the GSO frame in @pkt[@arena_pkt]; -1: of none
 * @wire:    there is one receiver, and the sender waits for it
 * @stopped: the packet for which an rxq had no space; @npkts: none
 * @rxq:     the rxq that is locked now, or NULL
 * @deferred: to be sent without network.lock
 */
struct port_tx {
	struct netport port;
	struct queue *queue;
	struct waiter waiter;
	uint8_t *memory, *buffer, *arena;
	int arena_pkt;
	bool wire;
	unsigned int npkts, stopped;
	struct rxq *rxq;
	unsigned int ndeferred;
	struct pkt pkt[PORT_TX_BATCH];
	struct pkt_part deferred[DEFERRED_MAX];
};

/**
 * deliver() - give packet @i to port @swport; holding network.lock for reading
 *
 * Packets for a tx_direct are deferred: deliver_flush() must follow when the
 * lock is released. If a wire is full, @stopped is set.
 */
void deliver(struct port_tx *t, struct swport *swport, unsigned int i);

/** deliver_end() - unlock the last rxq */
void deliver_end(struct port_tx *t);

/** deliver_flush() - send deferred packets */
void deliver_flush(struct port_tx *t) EXCLUDES(t->queue->swport->network->lock);

/** deliver_needs() - whether an offload has to be completed for @swport */
bool deliver_needs(const struct swport *swport, const struct pkt *pkt);

#endif
