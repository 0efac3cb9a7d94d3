/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A network from inside:
 *
 *   network.c   the network
 *   member.c    its ports
 *   queue.c     the queues of a port; frames wait in inboxes (inbox.c)
 *   receiver.c  a device takes them from there
 *   sink.c      or they are sent through the port of a source (patch.c)
 *   forward.c   frames that a port sends: to which ports they go (mactable.c)
 *   deliver.c   and into their queues, as those take them (slot.c)
 *
 * Locks, in the order in which they are taken:
 *   network.lock   members, which queues are active, the table of addresses.
 *                  Senders read; learning and all changes write
 *   sink.lock      the port of a source; taken without network.lock
 *   inbox.lock     putting frames into an inbox
 *   network.wait_lock  senders that wait for space
 */
#ifndef NETWORK_PRIV_H
#define NETWORK_PRIV_H

#include <pthread.h>
#include <string.h>
#include <time.h>

#include <linux/virtio_net.h>

#include "bytes.h"
#include "clock.h"
#include "inbox.h"
#include "mactable.h"
#include "netsink.h"
#include "network.h"
#include "ratelimit.h"

/**
 * struct waiter - a sender on a wire whose receiver has a full inbox
 * @fd:   an eventfd; while the sender waits its counter is full, so that it
 * does not poll as writable
 * @box:  the full inbox, for comparison only; NULL: the sender does not wait
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
	struct netmember *list[NETWORK_PORTS_MAX];   /* without gaps */
	unsigned int nmembers;
	struct mactable *table;
	uint64_t serial; /* of names that are made up */

	pthread_mutex_t wait_lock;
	struct waiter *waiters;
};

/**
 * struct queue - of a member
 * @box:  frames for it; NULL: it has no receiver and no sink
 * @sink: sends them on the thread of the sender; NULL: it has a receiver
 * @received, @received_bytes: written by the receiver's thread, or under
 *            sink.lock; @member's own are not used
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
 * @flood:   flooded frames it may send, under @flood_lock; all 0 before the
 *           first one
 */
struct netmember {
	struct network *network;
	struct netmember_config config;
	unsigned int number, nqueues, mtu;
	uint64_t takes; /* relaxed atomic */
	struct queue *queue;
	uint16_t *active;
	unsigned int nactive;
	struct netmember_counters count; /* relaxed atomics */

	pthread_mutex_t flood_lock;
	struct ratelimit flood;
};

/** coarse_ns() - monotonic, exact to 4 ms: for ageing and flood limits */
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

/** member_carries() - whether @m is in @vlan */
static inline bool member_carries(const struct netmember *m, unsigned int vlan)
{
	return vlan == m->config.vlan ||
	       (m->config.trunk[vlan / 64] >> vlan % 64 & 1);
}

/** member_tags() - whether @m gets frames of @vlan tagged */
static inline bool member_tags(const struct netmember *m, unsigned int vlan)
{
	return vlan != m->config.vlan;
}

/** network_mtu_ok(), network_name_ok() - may a configuration have it? */
static inline bool network_mtu_ok(unsigned int mtu)
{
	return mtu >= 68 && mtu <= 65535;
}

static inline bool network_name_ok(const char *name)
{
	return memchr(name, '\0', NETWORK_NAME_MAX + 1) != NULL;
}

/** member_print() - its line of network_print(); @macs: addresses behind it */
void member_print(const struct netmember *m, unsigned int macs, FILE *out);

/* ---- queue.c ---- */

/**
 * queue_open() - give a queue its inbox and the port into the network
 * @sink: what the network sends through; NULL: a receiver takes from @box
 *
 * Return: 0; -EBUSY (it is open); -ENOMEM; -EMFILE.
 */
int queue_open(struct queue *q, struct sink *sink, struct inbox **box,
	       struct netport **tx);
/** queue_detach() - no more frames for it; then queue_drop_rest() */
void queue_detach(struct queue *q);
/** queue_drop_rest() - frees the inbox, and counts what is left in it */
void queue_drop_rest(struct queue *q, struct inbox *box);
/** queue_tx_closed() - the port into the network is closed */
void queue_tx_closed(struct queue *q);

/** queue_received() - frames have left the network; on the thread that takes */
static inline void queue_received(struct queue *q, uint64_t frames,
				  uint64_t bytes)
{
	count_own(&q->received, frames);
	count_own(&q->received_bytes, bytes);
}

/** queue_capture() - records frames for the member; @reason: of a drop, or
 * NULL */
static inline void queue_capture(const struct queue *q,
				 const struct frame *frames, unsigned int n,
				 const char *reason)
{
	const struct netmember_config *c = &q->member->config;

	if (unlikely(c->capture))
		capture_frames(c->capture, c->capture_if, CAPTURE_OUT, frames,
			       n, sizeof(struct virtio_net_hdr_mrg_rxbuf),
			       reason);
}

/* ---- network.c, forward.c ---- */

/** waiters_wake() - wake the senders that wait for @box; NULL: all */
void waiters_wake(struct network *n, const struct inbox *box);

/** sender_new() - the port through which a queue sends into the network */
int sender_new(struct queue *q, struct netport **out);

/** sender_discard() - close one whose queue was never opened */
void sender_discard(struct netport *port);

#endif
