/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A patch connects a source (tap, pcap, ...) to a member of a network: frames
 * that the source receives are sent into the network, and frames for the member
 * leave through the source.
 *
 * It has one thread, which receives, and sends the frames that had to wait; the
 * others are sent by the thread of their sender. While the other end of a wire
 * is full, the source is not read.
 */
#ifndef UPLINK_H
#define UPLINK_H

#include "netif.h"
#include "network.h"

struct uplink;

/**
 * uplink_new() - connect @s and @m
 * @s, @m: borrowed until uplink_free(), which alone uses their queues. One
 *        thread may receive from @s while another one sends: not for loop
 * @queues: of both; 1...what they have
 *
 * Sets the offloads that the member takes and those that the source may use,
 * and enables the queues. Return: 0; -ENOMEM; -EMFILE; -EAGAIN (threads);
 * -EINVAL
 * (@queues); -EBUSY; -EOPNOTSUPP (loop); what opening the source gave.
 */
int uplink_new(struct netif *s, struct swport *m, unsigned int queues,
	       struct uplink **out);

/** uplink_free() - disconnect them; NULL is harmless */
void uplink_free(struct uplink *p);

#endif
