/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of a network:
 *
 *   network.c    the network; its table of addresses (mactable.c)
 *   swport.c     its ports and their queues; packets for a queue wait in a
 *                ring buffer (rxq.c)
 *   port_tx.c    the netport through which a queue sends into the network:
 *                frames are copied, checked (pkt.c) and looked up
 *   deliver.c    each receiver gets them: in its rxq, or
 *   tx_direct.c  through the port of an interface (uplink.c), on the sender's
 *                thread
 *   port_rx.c    the netport from which a device receives what is in an rxq
 *
 * Locks, in the order in which they are taken:
 *   network.lock   ports, which queues are active, the table of addresses.
 *                  Senders read; learning and all changes write
 *   tx_direct.lock the port of an interface; taken without network.lock
 *   rxq.lock       pushing packets into an rxq
 *   network.wait_lock  senders that wait for space
 */
#ifndef NETWORK_PRIV_H
#define NETWORK_PRIV_H

#include <string.h>

#include <linux/virtio_net.h>

#include "bytes.h"
#include "clock.h"
#include "mutex.h"
#include "rxq.h"
#include "mactable.h"
#include "tx_direct.h"
#include "network.h"
#include "ratelimit.h"

/**
 * struct waiter - a sender on a wire whose receiver has a full rxq
 * @fd:   an eventfd; while the sender waits its counter is full, so that the
 *        eventfd does not poll as writable
 * @rxq:  the full rxq, for comparison only; NULL: the sender does not wait
 *
 * Under network.wait_lock.
 */
struct waiter {
	struct waiter *next;
	const struct rxq *rxq;
	int fd;
};

struct network {
	struct network_config config;
	struct rwlock lock;
	struct swport *port[NETWORK_PORTS_MAX]; /* by number */
	struct swport *list[NETWORK_PORTS_MAX]; /* without gaps */
	unsigned int nports;
	struct mactable *table;
	uint64_t serial; /* of names that are made up */

	struct mutex wait_lock;
	struct waiter *waiters;
};

/**
 * struct queue - a queue of a port
 * @rxq:  frames for it; NULL: the queue is not open
 * @direct: sends them on the thread of the sender; NULL: a port_rx receives
 * them
 * @received, @received_bytes: written by the thread of port_rx, or under
 *            tx_direct.lock; those in swport.count are not used
 *
 * Under network.lock but for the counters.
 */
struct queue {
	struct swport *swport;
	struct rxq *rxq;
	struct tx_direct *direct;
	bool tx_open, enabled;
	uint64_t received, received_bytes;
};

/**
 * struct swport - a port of a network
 * @number:  in the network, and in the table of addresses
 * @active:  queues that are open and enabled; @nactive of them
 * @flood:   flooded frames it may send, under @flood_lock; all 0 before the
 *           first of them
 */
struct swport {
	struct network *network;
	struct swport_config config;
	unsigned int number, nqueues, mtu;
	uint64_t guest_offloads; /* relaxed atomic */
	struct queue *queue;
	uint16_t *active;
	unsigned int nactive;
	struct swport_counters count; /* relaxed atomics */

	struct mutex flood_lock;
	struct ratelimit flood;
};

static inline void count_add(uint64_t *counter, uint64_t n)
{
	if (n)
		__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static inline uint64_t count_read(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/** count_own() - add to a counter that one thread writes */
static inline void count_own(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, count_read(counter) + n, __ATOMIC_RELAXED);
}

/** swport_carries() - whether @swport is in @vlan */
static inline bool swport_carries(const struct swport *swport,
				  unsigned int vlan)
{
	return vlan == swport->config.vlan ||
	       (swport->config.trunk[vlan / 64] >> vlan % 64 & 1);
}

/** swport_tags_vlan() - whether @swport gets frames of @vlan tagged */
static inline bool swport_tags_vlan(const struct swport *swport,
				    unsigned int vlan)
{
	return vlan != swport->config.vlan;
}

/** network_mtu_ok(), network_name_ok() - whether it is valid in a configuration
 */
static inline bool network_mtu_ok(unsigned int mtu)
{
	return mtu >= 68 && mtu <= 65535;
}

static inline bool network_name_ok(const char *name)
{
	return memchr(name, '\0', NETWORK_NAME_MAX + 1) != NULL;
}

/** swport_print() - its line of network_print(); @macs: addresses behind it */
void swport_print(const struct swport *swport, unsigned int macs, FILE *out);

/* ---- swport.c ---- */

/**
 * queue_open() - make the rxq and the port_tx of a queue
 * @direct: through which the network sends; NULL: a port_rx receives from @rxq
 *
 * Return: 0; -EBUSY (it is open); -ENOMEM; -EMFILE.
 */
int queue_open(struct queue *q, struct tx_direct *direct, struct rxq **rxq,
	       struct netport **tx);
/** queue_detach() - no more packets are pushed; queue_drop_rest() must follow
 */
void queue_detach(struct queue *q);
/** queue_drop_rest() - free the rxq, and count what is left in it as dropped */
void queue_drop_rest(struct queue *q, struct rxq *rxq);
/** queue_tx_closed() - the port into the network is closed */
void queue_tx_closed(struct queue *q);

/** queue_received() - count frames that left the network; on the thread that
 * receives from the rxq */
static inline void queue_received(struct queue *q, uint64_t frames,
				  uint64_t bytes)
{
	count_own(&q->received, frames);
	count_own(&q->received_bytes, bytes);
}

/** queue_capture() - record frames for the port; @reason: of a drop, or NULL */
static inline void queue_capture(const struct queue *q,
				 const struct frame *frames, unsigned int n,
				 const char *reason)
{
	const struct swport_config *c = &q->swport->config;

	if (unlikely(c->capture))
		capture_frames(c->capture, c->capture_if, CAPTURE_OUT, frames,
			       n, sizeof(struct virtio_net_hdr_mrg_rxbuf),
			       reason);
}

/* ---- network.c, port_tx.c ---- */

/** waiters_wake() - wake the senders that wait for @rxq; NULL: for any */
void waiters_wake(struct network *n, const struct rxq *rxq);

/** port_tx_new() - the port through which a queue sends into the network */
int port_tx_new(struct queue *q, struct netport **out);

/** port_tx_discard() - close one whose queue was never opened */
void port_tx_discard(struct netport *port);

#endif
