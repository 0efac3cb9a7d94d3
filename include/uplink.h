/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An uplink connects a network interface (tap, pcap, ...) to a port of a
 * network: frames that the interface receives are sent into the network, and
 * frames for the port are sent through the interface.
 *
 * It has one thread, which receives from the interface, and sends the frames
 * that could not be sent at once; the others are sent on the thread of their
 * sender. While the other end of a wire is full, the interface is not read.
 */
#ifndef UPLINK_H
#define UPLINK_H

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

/** uplink_free() - disconnect them; NULL is harmless */
void uplink_free(struct uplink *u);

#endif
