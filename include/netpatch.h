/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A patch joins a source (tap, pcap, ...) and a member of a network: what the
 * source receives is sent into the network, and what is for the member leaves
 * through the source.
 *
 * It has one thread, which receives. What is for the source is sent by who has
 * it, at once; the patch's thread sends what had to wait. If the network is a
 * wire whose other end is full, the source is not read.
 */
#ifndef NETPATCH_H
#define NETPATCH_H

#include "netsource.h"
#include "network.h"

struct netpatch;

/**
 * netpatch_new() - join @s and @m
 * @s, @m: borrowed until netpatch_free(); nobody else opens their queues. Each
 *        port of @s is used by one thread at a time, but both by two: not loop
 * @queues: of both; 1...what they have
 *
 * Sets what the member takes and what the source may leave undone, and enables
 * the queues. Return: 0; -ENOMEM; -EMFILE; -EAGAIN (threads); -EINVAL
 * (@queues); -EBUSY; -EOPNOTSUPP (loop); what opening the source gave.
 */
int netpatch_new(struct netsource *s, struct netmember *m, unsigned int queues,
		 struct netpatch **out);

/** netpatch_free() - part them; NULL is harmless */
void netpatch_free(struct netpatch *p);

#endif
