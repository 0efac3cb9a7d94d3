/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What network.c (who is there), member.c (the ports of a member) and forward.c
 * (the way of a frame) share.
 *
 * Locks, in the order in which they are taken:
 *   network.lock   who is there, which queues run, the table of addresses.
 *                  Senders read; learning and all changes write
 *   sink.lock      the port of a source; without network.lock
 *   inbox.lock     who puts into an inbox
 *   network.wait_lock  senders that wait for room
 */
#ifndef NETWORK_PRIV_H
#define NETWORK_PRIV_H

#include <pthread.h>
#include <time.h>

#include "inbox.h"
#include "mactable.h"
#include "netsink.h"
#include "network.h"

/**
 * struct waiter - a sender of a wire whose receiver is full
 * @fd:   an eventfd whose counter is at its end while it waits
 * @box:  that has no room; not followed. NULL: it does not wait
 *
 * Under network.wait_lock.
 */
struct waiter {
	struct waiter *next;
	const struct inbox *box;
	int fd;
};

struct network {
	struct network_config config;
	pthread_rwlock_t lock;
	struct netmember *member[NETWORK_PORTS_MAX]; /* by number */
	struct netmember *list[NETWORK_PORTS_MAX];   /* those that are there */
	unsigned int nmembers;
	struct mactable *table;
	uint64_t serial; /* for names made up */

	pthread_mutex_t wait_lock;
	struct waiter *waiters;
};

/** struct member_counters - as struct netmember_counters; relaxed atomics */
struct member_counters {
	uint64_t sent, sent_bytes, flooded, segmented, checksummed, moved;
	uint64_t drop_in[NETWORK_DROPS], drop_out[NETWORK_DROPS];
};

/**
 * struct queue - of a member
 * @box:  frames for it; NULL: there is no receiving end
 * @sink: what takes them on the sender's thread; or NULL
 * @received, @received_bytes: written by who takes, or under the sink's lock
 *
 * Under network.lock but for the counters.
 */
struct queue {
	struct netmember *member;
	struct inbox *box;
	struct sink *sink;
	bool tx_open, enabled;
	uint64_t received, received_bytes;
};

/**
 * struct netmember - a port of a network
 * @number:  in the network, and in the table of addresses
 * @active:  queues that are open and enabled; @nactive of them
 * @tokens:  flooded frames it may send, in units of 1 / 1,000,000,000
 */
struct netmember {
	struct network *network;
	struct netmember_config config;
	unsigned int number, nqueues, mtu;
	uint64_t takes; /* relaxed atomic */
	struct queue *queue;
	uint16_t *active;
	unsigned int nactive;
	struct member_counters count;

	pthread_mutex_t flood_lock;
	uint64_t tokens, tokens_at_ns;
};

#define NS_PER_S UINT64_C(1000000000)

/** coarse_ns() - to 4 ms: for ageing and for limits of floods */
static inline uint64_t coarse_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static inline void count_add(uint64_t *counter, uint64_t n)
{
	if (n)
		__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static inline uint64_t count_read(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/** count_own() - a counter that one thread writes */
static inline void count_own(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, count_read(counter) + n, __ATOMIC_RELAXED);
}

/** member_carries() - may @m have frames of @vlan? */
static inline bool member_carries(const struct netmember *m, unsigned int vlan)
{
	return vlan == m->config.vlan ||
	       (m->config.trunk[vlan / 64] >> vlan % 64 & 1);
}

/** member_tags() - does @m get them tagged? */
static inline bool member_tags(const struct netmember *m, unsigned int vlan)
{
	return vlan != m->config.vlan;
}

/** waiters_wake() - those that wait for @box; NULL: all */
void waiters_wake(struct network *n, const struct inbox *box);

/** sender_new() - the port into the network of a queue; forward.c */
int sender_new(struct queue *q, struct netport **out);

/** sender_discard() - one that was never attached */
void sender_discard(struct netport *port);

/** queue_tx_closed() - its sender is gone */
void queue_tx_closed(struct queue *q);

#endif
