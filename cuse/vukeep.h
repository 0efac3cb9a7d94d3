/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vukeep.c keeps what belongs to a vhost-user socket with worker processes in
 * the store (store.h), and finds what an earlier process kept:
 *
 *   vu-listen-ID   the listening socket
 *   vu-port-ID     the descriptors of the port, or of its frame rings: both
 *                  ends of a bag (bag.h)
 *   vu-worker-ID   our end of the socket to the worker process, and its pidfd
 *
 * ID is a hash of path, role (client or server), port, network and number of
 * queues in the options: a socket that is configured in another way does not
 * find what was kept, and that is dropped.
 *
 * All functions run on the loop's thread.
 */
#ifndef VUKEEP_H
#define VUKEEP_H

#include <stdint.h>

#include "bag.h"
#include "options.h"
#include "store.h"

/** VUKEEP_WORKER - prefix of the name of a worker process */
#define VUKEEP_WORKER "vu-worker-"

/** struct vukeep - what is kept for one socket; @store NULL: nothing is kept */
struct vukeep {
	struct store *store;
	uint64_t id;
	struct bag port;
};

/**
 * vukeep_drop_others() - end the worker processes of sockets that @opts does
 * not have, and drop what else was kept for them
 * @store: NULL: there is none
 *
 * The store closes its copies a little later: a port may be busy until then.
 */
void vukeep_drop_others(struct store *store, const struct options *opts);

/** vukeep_init() - for the socket @o; nothing is kept if @store is NULL, or @o
 * is not vukeep_is_for() */
void vukeep_init(struct vukeep *k, struct store *store,
		 const struct option_sock *o);

/** vukeep_end() - close our copies; the store keeps what is in it */
void vukeep_end(struct vukeep *k);

/** vukeep_has_process() - do connections of this socket get a worker process?
 * Those in a network, and those whose port another process can have
 * (netif_moves()) */
bool vukeep_has_process(const struct option_sock *o);

/** vukeep_is_for() - can something be kept for this socket? */
bool vukeep_is_for(const struct option_sock *o);

/* What an earlier process kept; the descriptors are the caller's. */

/** vukeep_take_listener() - -1: none */
int vukeep_take_listener(struct vukeep *k);

/**
 * vukeep_take_port() - the number of descriptors; 0: none
 * @fds: space for BAG_FDS_MAX
 */
unsigned int vukeep_take_port(struct vukeep *k, int *fds);

/** vukeep_take_process() - false: none; what is of no use is dropped */
bool vukeep_take_process(struct vukeep *k, int *sock, int *pidfd);

/* Have these kept; the descriptors stay the caller's. Return: 0 or -errno;
 * -ENOENT if nothing is kept. */

int vukeep_put_listener(struct vukeep *k, int fd);
int vukeep_put_port(struct vukeep *k, const int *fds, unsigned int n);
int vukeep_put_process(struct vukeep *k, int sock, int pidfd);

/** vukeep_remove_process() - the process is gone */
void vukeep_remove_process(struct vukeep *k);

/** vukeep_drop_port() - the kept port is of no use: end the process that an
 * earlier daemon kept, and keep neither of them */
void vukeep_drop_port(struct vukeep *k);

/** vukeep_none() - from now on nothing is kept */
void vukeep_none(struct vukeep *k);

#endif
