/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The networks of the options, their ports that are neither devices nor
 * sockets, and the captures of all. For the main loop's thread.
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
 * nets_new() - open captures and what ports are connected to, make networks
 * @opts:  borrowed, outlives them
 * @loop:  for networks that are in processes of their own
 * @store: for the same; NULL: nothing is kept
 *
 * Before privileges are given up. Return: 0; -errno, logged with the cure.
 */
int nets_new(const struct options *opts, struct loop *loop, struct store *store,
	     struct nets **out);

/** nets_start() - start the ports, and the processes of networks; without
 * privileges, after wproc_prepare(). As nets_new() */
int nets_start(struct nets *n);

/** nets_free() - when no other attachment is left; captures are written to
 * their end; NULL is harmless */
void nets_free(struct nets *n);

/**
 * nets_attach() - an attachment as @end describes it; any time
 * @config: @queues and @numbered are the caller's, and @swport.name is the name
 *          if @end has none; the rest is set here
 * @error:  @size bytes; as attach_new()
 *
 * Return: as attach_new().
 */
int nets_attach(struct nets *n, const struct option_end *end,
		struct attach_config *config, struct attach **out, char *error,
		size_t size);

/** nets_print() - counters, for people; networks in processes of their own
 * print them to stderr, a little later */
void nets_print(struct nets *n, FILE *out);

#endif
