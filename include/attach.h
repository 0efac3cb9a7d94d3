/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An attachment decides where the frames of a device, of a vhost-user socket or
 * of an interface of the host go: to the descriptor that the VMM passes, to an
 * interface (netif.h), or to a network; and which capture records them. A ring
 * gets a struct netport in each case.
 *
 *   attach        one for each device, socket and port of the options
 *   attach_guest  one for each guest: a port of the network, or the interface,
 *                 with all its queue pairs
 *   attach_pair   one for each open file of a character device. Its guest is
 *                 known when the VMM passes a descriptor: open files are queue
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
#include "framering.h"
#include "netport.h"
#include "network.h"
#include "remotenet.h"

struct attach;
struct attach_guest;
struct attach_pair;

/** ATTACH_PAIRS_MAX - open files that can be queue pairs of one guest */
#define ATTACH_PAIRS_MAX 64

/**
 * struct attach_config - copied; what it points to outlives the attachment
 * @port:    specification for netif_new(); NULL: none. One guest uses it at a
 *           time; null and loop, which have no state, any number of guests
 * @fds:     @nfds descriptors of that port, for netif_adopt() in place of
 *           netif_new(); the attachment's on success
 * @queues:  queue pairs of a guest: 1...256, ATTACH_PAIRS_MAX for open files
 * @network: NULL: none
 * @remote:  a network in another process, in its place; then the queue pairs of
 *           guests are connected, and not opened. @remote_capture: the number
 *           of its capture for frames of guests; -1: none
 * @swport:  configuration of the port of a guest (with attach_start(): of
 * @port) in @network, without its capture. @name is used in captures too, also
 * without @network; characters that names cannot have become
 *           '-'
 * @fixed_name: the options set @swport.name: it is an error if the network has
 * it already. Else the network makes another name
 * @numbered: guests are called NAME.0, NAME.1, ...; the lowest free number is
 * used
 * @guest_offloads_given: the options set @swport.guest_offloads, which is used
 * in place of the offloads of @port
 * @capture: where frames are recorded; NULL: nowhere
 * @capture_file: its name, for messages
 * @ring: guest's side of a frame ring, through which the frames of the one pair
 *          go that is made, in a process that has no network; NULL: none
 */
struct attach_config {
	const char *port;
	const int *fds;
	unsigned int nfds;
	unsigned int queues;
	struct network *network;
	struct remotenet *remote;
	int remote_capture;
	struct swport_config swport;
	bool fixed_name, numbered, guest_offloads_given;
	struct capture *capture;
	const char *capture_file;
	struct framering *ring;
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
 * attach_start() - connect network and interface of @config by an uplink, for
 * no guest
 *
 * Return: 0; as attach_join(), uplink_new().
 */
int attach_start(struct attach *a);

/** attach_clean_name() - characters of @name that names of ports cannot have
 * become '-' */
void attach_clean_name(char *name);

/** attach_is_remote() - is its network in another process? */
bool attach_is_remote(const struct attach *a);

/** attach_free() - after all guests and pairs are freed; NULL is harmless */
void attach_free(struct attach *a);

/* ---- guests with all their queue pairs ---- */

/**
 * attach_join() - add a guest
 *
 * Return: 0; as swport_new(); -ENOSPC (interfaces of the capture; logged).
 */
int attach_join(struct attach *a, struct attach_guest **out);

/** attach_leave() - remove a guest, whose ports are closed. NULL is harmless */
void attach_leave(struct attach_guest *g);

/** attach_leave_running() - the same, but its queue pairs stay enabled: another
 * process has them (attach_fds()) */
void attach_leave_running(struct attach_guest *g);

/**
 * attach_fds() - descriptors with which another process can be the guest
 * @port: specification for netif_adopt(), borrowed
 * @fds:  as in netif_fds()
 *
 * Return: as netif_fds(); -EOPNOTSUPP: also in a network, with a capture, or
 * without an interface.
 */
int attach_fds(const struct attach *a, const char **port, int *fds);

/** attach_features() - VIRTIO_NET_F_* of offloads in both directions. In a
 * network: all those that the network completes for receivers that lack them */
uint64_t attach_features(const struct attach_guest *g);

/** attach_open() - both ports of queue pair @pair, as netif_open() */
int attach_open(struct attach_guest *g, unsigned int pair, struct netport **rx,
		struct netport **tx);

/**
 * attach_connect() - connect queue pair @pair of a guest in another process,
 * which has the guest's side of @ring, to the network; once
 * @ring: borrowed until attach_leave(). With attach_config.remote it is not
 *        used again after that
 *
 * In place of attach_open(), attach_enable() and attach_set_offload(), which
 * are for the guest's side (framering.h). Return: as uplink_ring_new().
 */
int attach_connect(struct attach_guest *g, unsigned int pair,
		   struct framering *ring);

/**
 * attach_enable() - which rings of queue pair @pair run; any thread
 *
 * A network delivers frames to a pair whose RX ring runs: they would wait in
 * its rxq, and on a wire make the sender wait. A queue of a tap is attached
 * (TUNSETQUEUE) while either ring runs, since a detached one cannot send.
 */
void attach_enable(struct attach_guest *g, unsigned int pair, bool rx, bool tx);

/** attach_set_offload() - the guest has acked @features; any thread */
void attach_set_offload(struct attach_guest *g, uint64_t features);

/* ---- queue pairs of open files ---- */

/** attach_pair_new() - 0 or -ENOMEM; any thread */
int attach_pair_new(struct attach *a, struct attach_pair **out);
/** attach_pair_free() - when no ring has a port of it; NULL is harmless */
void attach_pair_free(struct attach_pair *p);

/**
 * attach_pair_open() - a reference to the port of ring @qi (0: RX, 1: TX)
 * @fd:    as VHOST_NET_SET_BACKEND passes it, and checked in any case. It
 * belongs to the port if port->fd == @fd; else, and on failure, to the caller
 * @owner: the process that owns the open file
 *
 * Ports other than those of a descriptor are opened with the first ring, and
 * stay open as long as the pair: a guest that resets its driver stops and
 * starts rings one at a time.
 *
 * Return: as netport_check_fd(); -ENOMEM, -EMFILE; -ENOSPC (ports of the
 * network).
 */
int attach_pair_open(struct attach_pair *p, unsigned int qi, int fd,
		     pid_t owner, struct netport **port);

/**
 * attach_pair_connect() - connect a pair whose device is in another process,
 * and has the guest's side of @ring, to the network
 * @fd:    as above, checked by netport_check_fd(); stays the caller's
 * @owner: as above
 * @ring:  borrowed until attach_pair_free()
 *
 * Once it is connected, further calls have no effect. The guest's side says
 * whether the pair is enabled. Any thread, one at a time.
 * Return: 0; -ENOSPC (ports of the network); -ENOMEM, -EMFILE, -EAGAIN.
 */
int attach_pair_connect(struct attach_pair *p, int fd, pid_t owner,
			struct framering *ring);

/** attach_pair_follow() - as uplink_follow(); without effect on a pair that is
 * not connected. With attach_config.remote it waits half a second at most;
 * false: the network has not done it by then */
bool attach_pair_follow(struct attach_pair *p);

/** attach_pair_enable() - as attach_enable(); at first none runs */
void attach_pair_enable(struct attach_pair *p, bool rx, bool tx);

/** attach_pair_name() - its name in the network; "" while it is in no network
 */
const char *attach_pair_name(const struct attach_pair *p);

#endif
