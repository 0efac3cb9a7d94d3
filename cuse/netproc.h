/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * netproc.c has a network in a worker process (wnet.h), and replaces that
 * process when it dies. It is what attach.h knows as a remote network.
 *
 *   none    ─ netproc_start()                           ─► starting
 *   starting ─ the process has its ports, and replies    ─► running
 *   starting, running ─ its pidfd says that it is gone   ─► waiting
 *   starting, running ─ it sends what it should not, or closes its socket and
 *             does not end: killed                       ─► waiting
 *   waiting ─ a delay that grows (wproc_backoff_ended()) ─► starting
 *   waiting ─ WPROC_CRASHES crashes: none is started     ─► stopped
 *
 * What the process should have (captures, ports, frame rings) is written down
 * here, and told to each process from the start on. Rings and interfaces stay
 * as they are, so guests lose at most the frames that the process had taken and
 * not delivered; the network learns its addresses again.
 *
 * The process ends with us. Where guests go on without us, a store keeps its
 * pidfd: the next daemon first kills it, and waits up to ten seconds until it
 * is gone (netproc_drop_left()), since two processes must not use one ring.
 *
 *   thread          may call
 *   main loop's     all
 *   others          what attach.h calls (remotenet.h): it changes the list of
 *                   ports, under a lock, and posts a job to the main loop;
 *                   the main loop alone sends messages
 */
#ifndef NETPROC_H
#define NETPROC_H

#include <stdio.h>

#include "capture.h"
#include "loop.h"
#include "netif.h"
#include "network.h"
#include "remotenet.h"
#include "store.h"

struct netproc;

/**
 * struct netproc_config - copied; what it points to outlives it
 * @store:  NULL: nothing is kept
 * @number: of the network, for its name in the store
 */
struct netproc_config {
	struct loop *loop;
	struct store *store;
	unsigned int number;
	struct network_config network;
};

/** netproc_drop_left() - end the processes that a daemon before us has started;
 * before any of their rings and files is used. @store: NULL: there is none */
void netproc_drop_left(struct store *store);

/** netproc_new() - without a process yet; 0 or -errno */
int netproc_new(const struct netproc_config *config, struct netproc **out);

/**
 * netproc_add_capture() - before netproc_start(): open a file for the process
 * @config: without @file_bytes
 *
 * Return: its number, which remotenet_ops.join() takes; as capture_open().
 */
int netproc_add_capture(struct netproc *n, const struct capture_config *config);

/**
 * netproc_add_interface() - before netproc_start(): a port that is an interface
 * @spec:    well-formed, netif_moves()
 * @netif:   opened, one queue pair; borrowed, and not used by us
 * @config:  its name need not be free, unless @fixed_name
 * @offloads: @config->guest_offloads are used in place of the interface's
 * @capture: number of its capture, or -1
 *
 * Return: 0; as remotenet_ops.join(); as netif_fds().
 */
int netproc_add_interface(struct netproc *n, const char *spec,
			  const struct netif *netif,
			  const struct swport_config *config, bool fixed_name,
			  bool offloads, int capture);

/** netproc_start() - start the first process; after wproc_prepare(), without
 * privileges. Return: 0; as wproc_start() */
int netproc_start(struct netproc *n);

/** netproc_remote() - for attach_config.remote */
struct remotenet *netproc_remote(struct netproc *n);

/** netproc_print() - the process prints counters to stderr; without one, a line
 * to @out says so */
void netproc_print(struct netproc *n, FILE *out);

/** netproc_free() - end the process, which writes its captures to their end,
 * for at most two seconds; when all guests have left. NULL is harmless */
void netproc_free(struct netproc *n);

#endif
