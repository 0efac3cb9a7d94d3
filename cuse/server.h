/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server.c makes the devices, sockets and networks of the options, handles
 * signals, and decides when the daemon ends. All functions run on the loop's
 * thread.
 */
#ifndef SERVER_H
#define SERVER_H

#include "options.h"
#include "store.h"

struct server;

/**
 * server_new() - take the signals over and make the devices
 * @opts: borrowed, outlives the server
 * @store: likewise; NULL: there is none
 *
 * Before any thread is started. Return: 0; -errno, logged with the cure.
 */
int server_new(const struct options *opts, struct store *store,
	       struct server **out);

/**
 * server_run() - serve until a signal or the end of all channels
 *
 * Return: 0 (a signal, or all channels that were handed over were closed);
 * -errno (a device did not come up, or the kernel aborted a channel; logged).
 */
int server_run(struct server *s);

/**
 * server_free() - end the sessions, within a bounded time, and the devices
 *
 * With a store they are left to the next process, however this one ends; if
 * none comes the store drops them.
 *
 * The process is to exit next: where sessions that hang are left behind, all
 * descriptors but those of stdio are closed.
 */
void server_free(struct server *s);

#endif
