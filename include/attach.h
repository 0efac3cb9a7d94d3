/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An attachment says where the frames of a device, of a socket or of a port of
 * the host go: to the descriptor that the VMM brings, to a port by name, or to
 * a network; and which capture records them. What a ring gets of it is a
 * struct netport, whatever is behind.
 *
 *   attach        one for each device, socket and port of the options
 *   attach_guest  one for each guest: a port of the network, or the port by
 *                 name, with all its queue pairs
 *   attach_pair   one for each open file of a character device. Its guest is
 *                 known when the VMM brings a descriptor: open files are queue
 *                 pairs of one guest if one process owns them and their
 *                 descriptors are queues of one tap
 */
#ifndef ATTACH_H
#define ATTACH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "capture.h"
#include "netport.h"
#include "network.h"

struct attach;
struct attach_guest;
struct attach_pair;

/** ATTACH_PAIRS_MAX - open files that can be queue pairs of one guest */
#define ATTACH_PAIRS_MAX 64

/**
 * struct attach_config - copied; what it points to outlives the attachment
 * @port:    as netif_new() takes it; NULL: none. One guest uses it at a
 *           time, but null and loop, which have no state, any number
 * @queues:  queue pairs of a guest: 1...256, ATTACH_PAIRS_MAX for open files
 * @network: NULL: none
 * @swport:  configuration of a guest (with attach_start(): of @port) in
 *           @network, without its capture. @name is used in captures too, also
 *           without @network; characters that names cannot have become '-'
 * @fixed_name: the options give @swport.name: if the network has it already,
 *           that is an error. Else another name is made up
 * @numbered: guests are called NAME.0, NAME.1, ...; the lowest that is free
 * @guest_offloads_given: the options give @swport.takes, whatever @port can
 * take
 * @capture: where frames are recorded; NULL: nowhere
 * @capture_file: its name, for messages
 */
struct attach_config {
	const char *port;
	unsigned int queues;
	struct network *network;
	struct swport_config swport;
	bool fixed_name, numbered, guest_offloads_given;
	struct capture *capture;
	const char *capture_file;
};

/**
 * attach_new() - open the port of @config
 * @error: @size bytes; on failure one line with cause and cure
 *
 * Return: 0; as netif_new(); -ENOSPC (interfaces of the capture); -ENOMEM.
 */
int attach_new(const struct attach_config *config, struct attach **out,
	       char *error, size_t size);

/**
 * attach_start() - join network and port of @config: the port is one of the
 * host, for no guest
 *
 * A thread carries its frames from now on. Return: 0; as attach_join(),
 * uplink_new().
 */
int attach_start(struct attach *a);

/** attach_free() - when all guests and pairs are gone; NULL is harmless */
void attach_free(struct attach *a);

/* ---- guests with all their queue pairs ---- */

/**
 * attach_join() - a guest comes
 *
 * Return: 0; as swport_new(); -ENOSPC (interfaces of the capture; logged).
 */
int attach_join(struct attach *a, struct attach_guest **out);

/** attach_leave() - it goes; its ports are closed. NULL is harmless */
void attach_leave(struct attach_guest *g);

/** attach_features() - VIRTIO_NET_F_* that its ports take and give. Those of a
 * network are all that the network completes for receivers that lack them */
uint64_t attach_features(const struct attach_guest *g);

/** attach_open() - both ports of queue pair @pair, as netif_open() */
int attach_open(struct attach_guest *g, unsigned int pair, struct netport **rx,
		struct netport **tx);

/** attach_enable() - whether queue pair @pair takes frames; any thread */
void attach_enable(struct attach_guest *g, unsigned int pair, bool on);

/** attach_set_offload() - the guest has acked @features; any thread */
void attach_set_offload(struct attach_guest *g, uint64_t features);

/* ---- queue pairs of open files ---- */

/** attach_pair_new() - 0 or -ENOMEM; any thread */
int attach_pair_new(struct attach *a, struct attach_pair **out);
/** attach_pair_free() - when no ring has a port of it; NULL is harmless */
void attach_pair_free(struct attach_pair *p);

/**
 * attach_pair_open() - a reference to the port of ring @qi (0: RX, 1: TX)
 * @fd:    as VHOST_NET_SET_BACKEND brings it, and checked in any case. It is
 * the port's if port->fd == @fd; else, and on failure, the caller's
 * @owner: the process that owns the open file
 *
 * Ports other than those of a descriptor are opened with the first ring, and
 * stay as long as the pair: a guest that resets its driver stops and starts
 * rings one at a time.
 *
 * Return: as netport_check_fd(); -ENOMEM, -EMFILE; -ENOSPC (ports of the
 * network).
 */
int attach_pair_open(struct attach_pair *p, unsigned int qi, int fd,
		     pid_t owner, struct netport **port);

/** attach_pair_enable() - whether it takes frames; at first it does not */
void attach_pair_enable(struct attach_pair *p, bool on);

/** attach_pair_name() - its name in the network; "" while it is in none */
const char *attach_pair_name(const struct attach_pair *p);

#endif
