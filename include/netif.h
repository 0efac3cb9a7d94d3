/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A network interface that is named on the command line, as KIND[:ARG]
 * [,KEY=VALUE...]: a tap, a packet socket, a pcap file, ... A comma of ARG or
 * VALUE is written twice. netif_print_kinds() lists the kinds.
 *
 * An interface outlives the devices that use it, so a tap stays while guests
 * come and go. One device uses an interface at a time.
 */
#ifndef NETIF_H
#define NETIF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "netport.h"

struct netif;

/** NETIF_SPEC_MAX - longest specification, bytes: two paths of sockets with
 * every comma twice */
#define NETIF_SPEC_MAX 511

/**
 * netif_check() - whether a specification is well-formed
 * @error: @size bytes; on failure one line that says what is wrong
 *
 * Pure. Return: 0 or -EINVAL.
 */
int netif_check(const char *text, char *error, size_t size);

/**
 * netif_has_key() - whether the kind that @text begins with has @key
 * @key: "=VALUE" may follow
 *
 * In a list "port=SPEC,KEY=VALUE,..." the keys for which this is true belong to
 * SPEC. Pure.
 */
bool netif_has_key(const char *text, const char *key);

/** netif_print_kinds() - usage and explanation of each kind, for --help */
void netif_print_kinds(FILE *out);

/**
 * netif_new() - open the interface that @text specifies
 * @queues: queue pairs of the interface, 1...256
 * @error: @size bytes; on failure one line with cause and cure
 *
 * Return: 0; -EINVAL (@text); -EPERM, -EBUSY, -ENODEV, ... of what it names;
 * -ENOMEM.
 */
int netif_new(const char *text, unsigned int queues, struct netif **out,
	      char *error, size_t size);
void netif_free(struct netif *s);

/**
 * netif_moves() - whether another process can have the interface: all that its
 * kind has is a descriptor for each queue pair, or nothing
 * @text: well-formed
 *
 * Pure.
 */
bool netif_moves(const char *text);

/**
 * netif_fds() - the descriptors that netif_adopt() in another process needs
 * @fds: space for as many as the interface has queue pairs; they stay the
 *       interface's
 *
 * Return: how many; -EOPNOTSUPP (netif_moves()).
 */
int netif_fds(const struct netif *s, int *fds);

/**
 * netif_adopt() - netif_new() with descriptors of a process that has opened the
 * interface
 * @fds: @n descriptors from netif_fds(), in their order; the interface's on
 *       success
 *
 * The process that opened it keeps it, and uses its ports no more as long as
 * the other one does. The interface stays as it is: which queue pairs are
 * enabled, and its offloads. Opens nothing.
 * Return: as netif_new(); -EINVAL (also: @n); -ENODEV (it was deleted);
 * -EOPNOTSUPP (netif_moves()).
 */
int netif_adopt(const char *text, unsigned int queues, const int *fds,
		unsigned int n, struct netif **out, char *error, size_t size);

/** netif_features() - VIRTIO_NET_F_* of offloads in both directions */
uint64_t netif_features(const struct netif *s);

/**
 * netif_open() - ports for both rings of queue pair @pair
 * @rx, @tx: two ports, to be closed by netport_close(); each for one thread
 *
 * Return: 0, -ENOMEM, -EMFILE; -EINVAL (@pair); -EBUSY (the kind has one pair
 * of ports at a time, and it is open).
 */
int netif_open(struct netif *s, unsigned int pair, struct netport **rx,
	       struct netport **tx);

/**
 * netif_enable() - whether queue pair @pair carries traffic
 *
 * A tap spreads frames over the enabled queue pairs.
 */
void netif_enable(struct netif *s, unsigned int pair, bool on);

/**
 * netif_set_offload() - set the features that the guest has acked
 * @features: virtio feature bits; they decide the length of virtio_net_hdr and
 *            what the kernel may leave undone in frames for the guest
 */
void netif_set_offload(struct netif *s, uint64_t features);

#endif
