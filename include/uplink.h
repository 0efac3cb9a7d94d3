/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An uplink connects a network interface (tap, pcap, ...), or the ring of a
 * guest in another process, to a port of a network: frames that the interface
 * receives are sent into the network, and frames for the port are sent through
 * the interface.
 *
 * It has one thread, which receives from the interface, and sends the frames
 * that could not be sent at once; the others are sent on the thread of their
 * sender. While the other end of a wire is full, the interface is not read.
 */
#ifndef UPLINK_H
#define UPLINK_H

#include "framering.h"
#include "netif.h"
#include "network.h"

struct uplink;

/**
 * uplink_new() - connect @netif and @swport
 * @netif, @swport: borrowed until uplink_free(), which alone uses their queues.
 *        One thread may receive from @netif while another one sends: not for
 *        loop
 * @queues: of both; 1...what they have
 *
 * Sets the offloads that @swport accepts and those that @netif may use, and
 * enables the queues. Return: 0; -ENOMEM; -EMFILE; -EAGAIN (threads); -EINVAL
 * (@queues); -EBUSY; -EOPNOTSUPP (loop); what opening the interface returned.
 */
int uplink_new(struct netif *netif, struct swport *swport, unsigned int queues,
	       struct uplink **out);

/**
 * uplink_ring_new() - connect a frame ring, whose guest's side is in another
 * process, and @queue of @swport
 * @ring, @swport: as above
 * @offload: the guest's side says which offloads @swport accepts
 *        (framering_set_offload()), else they stay as they are
 *
 * The guest's side says when the queue is enabled (framering_enable()). Once
 * the ring is broken, nothing more comes out of it, and what is sent to it is
 * dropped. Return: 0; -ENOMEM; -EMFILE; -EAGAIN (threads); -EINVAL (@queue);
 * -EBUSY.
 */
int uplink_ring_new(struct framering *ring, struct swport *swport,
		    unsigned int queue, bool offload, struct uplink **out);

/** uplink_follow() - of a ring: what the guest's side has said by now is done
 * when this returns; any thread but the uplink's */
void uplink_follow(struct uplink *u);

/** uplink_free() - disconnect them; NULL is harmless. What is in a ring goes
 * into the network before, unless that is full */
void uplink_free(struct uplink *u);

#endif
