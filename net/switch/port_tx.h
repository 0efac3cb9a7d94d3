/* SPDX-License-Identifier: BSD-3-Clause */
/* Shared by port_tx.c, which finds the receivers of a frame, and deliver.c,
 * which gives the frame to an rxq or a direct of each. */
#ifndef PORT_TX_H
#define PORT_TX_H

#include "network_priv.h"
#include "pkt.h"

/** PORT_TX_BATCH - most frames that are forwarded together */
#define PORT_TX_BATCH 64
/** FLOOD_RUN - most flooded frames that are given to one receiver before the
 * next receiver gets them */
#define FLOOD_RUN 16
#define DEFERRED_MAX (FLOOD_RUN * NETWORK_PORTS_MAX)

/** struct deferred - a frame for a direct, to be sent without network.lock */
struct deferred {
	struct tx_direct *direct;
	uint16_t pkt;
	bool tag, segments;
};

/**
 * struct port_tx - the port through which a queue sends into the network
 * @waiter:  its fd is the port's
 * @memory:  mapping of @buffer and @arena
 * @buffer:   copies of frames
 * @arena:   segments of the GSO frame in packet @arena_pkt; -1: of none
 * @wire:    there is one receiver, and the sender waits for it
 * @stopped: the packet for which an rxq had no space; @npkts: none
 * @rxq:     the rxq that is locked now, or NULL
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
	struct deferred deferred[DEFERRED_MAX];
};

/**
 * deliver() - give packet @i to a member; holding network.lock for reading
 *
 * Frames for direct transmits are deferred: deliver_flush() must follow when
 * the lock is released. If a wire is full, @stopped is set.
 */
void deliver(struct port_tx *t, struct swport *m, unsigned int i);

/** deliver_end() - unlock the last rxq */
void deliver_end(struct port_tx *t);

/** deliver_flush() - send deferred frames; without network.lock */
void deliver_flush(struct port_tx *t);

/** deliver_needs() - whether an offload has to be completed for @m */
bool deliver_needs(const struct swport *m, const struct pkt *s);

#endif
