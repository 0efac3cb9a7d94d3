/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nets.c makes the networks, host ports and captures that the options describe.
 * All functions run on the main loop's thread.
 */
#ifndef NETS_H
#define NETS_H

#include <stdio.h>
#include "attach.h"
#include "loop.h"
#include "options.h"
#include "store.h"

struct nets;

/**
 * nets_new() - make networks, open captures and the interfaces of ports
 * @opts:  borrowed, outlives the result
 * @loop, @store: for networks with a process of their own; @store NULL: nothing
 *         is kept
 *
 * Call it before privileges are given up. Return: 0; -errno, logged with a
 * remedy.
 */
int nets_new(const struct options *opts, struct loop *loop, struct store *store,
	     struct nets **out);

/**
 * nets_start() - start the ports, and the processes of networks; call it after
 * wproc_prepare(), with privileges given up
 * @started: called once with @ctx on success, here or from the loop: all
 *           processes have their ports, or cannot have them now
 *           (netproc_config.settled)
 *
 * Return: as nets_new().
 */
int nets_start(struct nets *n, void (*started)(void *ctx), void *ctx);

/** nets_free() - call it when devices and sockets have no attachment any more;
 * writes what captures have. @n may be NULL */
void nets_free(struct nets *n);

/**
 * nets_attach() - make the attachment that @end describes; at any time
 * @config: the caller sets @queues and @numbered, and @swport.name, which is
 *          used if @end has no name; the other members are set here
 * @error:  @size bytes; as attach_new()
 *
 * Return: as attach_new().
 */
int nets_attach(struct nets *n, const struct option_end *end,
		struct attach_config *config, struct attach **out, char *error,
		size_t size);

/** nets_print() - print counters; a network in a process of its own prints them
 * to stderr, a little later */
void nets_print(struct nets *n, FILE *out);

#endif
