/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * netproc.c runs a network in a worker process (wnet.h), and replaces the
 * process when it dies. attach.h uses it as a remote network. States:
 *
 *   none     ─ netproc_start()                           ─► starting
 *   starting ─ the process replies to NET_RUN            ─► running
 *   starting, running ─ the pidfd tells that it has ended ─► waiting
 *   running  ─ it says that a guest has spoiled a ring, or that it has printed
 *                                                        ─► running
 *   starting, running ─ it sends anything else, or closes its socket and does
 *             not end: it is killed                      ─► waiting
 *   waiting  ─ after a delay (wproc_backoff_ended())     ─► starting
 *   waiting  ─ after WPROC_CRASHES crashes               ─► stopped
 *
 * A malformed message counts as a crash; a process that closes its socket and
 * does not end does not, since it may have been killed and wait in the kernel.
 *
 * The list of what the process should have (captures, ports, frame rings) is
 * kept here, and sent to each new process as a whole. Rings and interfaces
 * outlive a process, so guests lose at most the frames that it had received and
 * not delivered. The network of the new process learns addresses anew.
 *
 * The process ends with the daemon. If guests go on without a daemon, the store
 * has its pidfd: the next daemon kills it first and waits until it is gone, for
 * at most ten seconds (netproc_drop_left()), since two processes must not use
 * one ring.
 *
 *   thread          may call
 *   main loop's     all functions
 *   others          the functions of remotenet.h: they change the list of ports
 *                   under the lock and post a job to the main loop, which alone
 *                   sends messages
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
 * struct netproc_config - copied; what it refers to must outlive the netproc
 * @store:  NULL: nothing is kept
 * @number: of the network, for its name in the store
 * @settled: called once, from the loop: the first process has its ports, or has
 *          ended, or has not told within NETPROC_SETTLE_MS; may be NULL
 * @ctx:    for @settled
 */
struct netproc_config {
	struct loop *loop;
	struct store *store;
	unsigned int number;
	struct network_config network;
	void (*settled)(void *ctx);
	void *ctx;
};

/** NETPROC_SETTLE_MS - how long netproc_config.settled is waited for at most */
#define NETPROC_SETTLE_MS 30000

/** netproc_drop_left() - end the processes that an earlier daemon started; call
 * it before their rings and files are used. @store may be NULL */
void netproc_drop_left(struct store *store);

/** netproc_new() - make a network that has no process yet; 0 or -errno */
int netproc_new(const struct netproc_config *config, struct netproc **out);

/**
 * netproc_add_capture() - open the file of a capture for the process; before
 * netproc_start()
 * @config: without @file_bytes
 *
 * Return: its number, for remotenet_ops.join(); or an error of capture_open().
 */
int netproc_add_capture(struct netproc *n, const struct capture_config *config);

/**
 * netproc_add_interface() - add a port that is an interface; before
 * netproc_start()
 * @spec:    valid, and netif_moves()
 * @netif:   opened, one queue pair; borrowed; frames must not be read from it
 * @config:  a name that is taken is changed, unless @fixed_name
 * @offloads: @config->guest_offloads replace those of the interface
 * @capture: number of its capture, or -1
 *
 * Return: 0; as remotenet_ops.join(); as netif_fds().
 */
int netproc_add_interface(struct netproc *n, const char *spec,
			  const struct netif *netif,
			  const struct swport_config *config, bool fixed_name,
			  bool offloads, int capture);

/** netproc_start() - start the first process; call it after wproc_prepare(),
 * with privileges given up. Return: as wproc_start() */
int netproc_start(struct netproc *n);

/** netproc_remote() - value of attach_config.remote */
struct remotenet *netproc_remote(struct netproc *n);

/** netproc_print() - have the process print counters to stderr; print a line to
 * @out if there is none, or if it has not answered the last time, and one about
 * rings that were spoiled. If it does not answer this is logged a moment later
 */
void netproc_print(struct netproc *n, FILE *out);

/** netproc_free() - end the process; call it when all guests have left. The
 * process has END_MS to write what its captures have. @n may be NULL */
void netproc_free(struct netproc *n);

#endif
