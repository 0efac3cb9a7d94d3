/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a device gets its ports from when nobody hands it descriptors: named on
 * the command line as KIND[:ARG][,KEY=VALUE...], where a comma of ARG or VALUE
 * is written twice. netif_print_kinds() tells what there is. A source
 * outlives the devices that use it, so a tap stays while guests come and go.
 * One device uses a source at a time.
 */
#ifndef NETIF_H
#define NETIF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "netport.h"

struct netif;

/** NETIF_SPEC_MAX - longest specification, bytes: room for two paths of
 * sockets with every comma twice */
#define NETIF_SPEC_MAX 511

/**
 * netif_check() - is @spec well-formed?
 * @error: @size bytes; on failure one line that says what is wrong
 *
 * Pure. Return: 0 or -EINVAL.
 */
int netif_check(const char *spec, char *error, size_t size);

/**
 * netif_has_key() - does the kind that @spec begins with take @key?
 * @key: also with "=VALUE" behind it
 *
 * For who reads "port=SPEC,KEY=VALUE,..." and has keys of its own: the words
 * that belong to SPEC are those for which this is true. Pure.
 */
bool netif_has_key(const char *spec, const char *key);

/** netif_print_kinds() - usage and explanation of each kind, for --help */
void netif_print_kinds(FILE *out);

/**
 * netif_new() - open what @spec names
 * @queues: queue pairs that it shall serve, 1...256
 * @error: @size bytes; on failure one line with cause and cure
 *
 * Return: 0; -EINVAL (@spec); -EPERM, -EBUSY, -ENODEV, ... of what it names;
 * -ENOMEM.
 */
int netif_new(const char *spec, unsigned int queues, struct netif **out,
	      char *error, size_t size);
void netif_free(struct netif *s);

/** netif_features() - VIRTIO_NET_F_* that it can take and give */
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
 * netif_enable() - shall queue pair @pair carry traffic?
 *
 * A tap spreads frames over those that do.
 */
void netif_enable(struct netif *s, unsigned int pair, bool on);

/**
 * netif_set_offload() - what the guest has acked
 * @features: virtio feature bits; they decide the length of virtio_net_hdr and
 *            what the kernel may leave undone in frames for the guest
 */
void netif_set_offload(struct netif *s, uint64_t features);

#endif
