/* SPDX-License-Identifier: BSD-3-Clause */
/* Shared by forward.c, which finds the receivers of a frame, and deliver.c,
 * which gives the frame to an inbox or a sink of each. */
#ifndef SENDER_H
#define SENDER_H

#include "network_priv.h"
#include "slot.h"

/** SENDER_BATCH - most frames that are forwarded together */
#define SENDER_BATCH 64
/** FLOOD_RUN - most flooded frames that are given to one receiver before the
 * next receiver gets them */
#define FLOOD_RUN 16
#define DEFERRED_MAX (FLOOD_RUN * NETWORK_PORTS_MAX)

/** struct deferred - a frame for a sink, to be sent without network.lock */
struct deferred {
	struct sink *sink;
	uint16_t slot;
	bool tag, segments;
};

/**
 * struct sender - the port through which a queue sends into the network
 * @waiter:  its fd is the port's
 * @memory:  mapping of stage and arena
 * @stage:   copies of frames
 * @arena:   segments of the GSO frame in slot @arena_slot; -1: of none
 * @wire:    there is one receiver, and the sender waits for it
 * @stopped: the slot for which an inbox had no space; @nslots: none
 * @box:     the inbox that is locked now, or NULL
 */
struct sender {
	struct netport port;
	struct queue *queue;
	struct waiter waiter;
	uint8_t *memory, *stage, *arena;
	int arena_slot;
	bool wire;
	unsigned int nslots, stopped;
	struct inbox *box;
	unsigned int ndeferred;
	struct slot slot[SENDER_BATCH];
	struct deferred deferred[DEFERRED_MAX];
};

/**
 * deliver() - give slot @i to a member; holding network.lock for reading
 *
 * Frames for sinks are deferred: deliver_flush() must follow when the lock is
 * released. If a wire is full, @stopped is set.
 */
void deliver(struct sender *t, struct netmember *m, unsigned int i);

/** deliver_end() - unlock the last inbox */
void deliver_end(struct sender *t);

/** deliver_flush() - send deferred frames; without network.lock */
void deliver_flush(struct sender *t);

/** deliver_needs() - whether an offload has to be completed for @m */
bool deliver_needs(const struct netmember *m, const struct slot *s);

#endif
