/* SPDX-License-Identifier: BSD-3-Clause */
/* What forward.c (from a sender to its receivers) and deliver.c (into what they
 * have: an inbox, or the port of a source) share. */
#ifndef SENDER_H
#define SENDER_H

#include "network_priv.h"
#include "slot.h"

/** SENDER_BATCH - frames on their way at a time */
#define SENDER_BATCH 64
/** FLOOD_RUN - flooded frames that go to a receiver one behind the other */
#define FLOOD_RUN 16
#define DEFERRED_MAX (FLOOD_RUN * NETWORK_PORTS_MAX)

/** struct deferred - a frame for a sink, to be sent without network.lock */
struct deferred {
	struct sink *sink;
	uint16_t slot;
	bool tag, segments;
};

/**
 * struct sender - the port into the network of a queue
 * @waiter:  its fd is the port's
 * @memory:  stage and arena, mapped
 * @stage:   where frames are copied to
 * @arena:   segments of one GSO frame; @arena_slot: which, -1: of none
 * @wire:    there is one receiver, and it is waited for
 * @stopped: slot that found no room; @nslots: none did
 * @box:     locked now, or NULL
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
 * deliver() - slot @i to a member; holding network.lock for reading
 *
 * All that is deferred must be flushed by deliver_flush() when the lock is
 * released. If a wire is full, @stopped is set.
 */
void deliver(struct sender *t, struct netmember *m, unsigned int i);

/** deliver_end() - for now; no inbox is locked any more */
void deliver_end(struct sender *t);

/** deliver_flush() - what was deferred; without network.lock */
void deliver_flush(struct sender *t);

/** deliver_needs() - must @m have the frame changed? */
bool deliver_needs(const struct netmember *m, const struct slot *s);

#endif
