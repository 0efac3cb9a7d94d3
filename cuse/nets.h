/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The networks of the options, their ports that are neither devices nor
 * sockets, and the captures of all. What finds and fills in may be called on
 * any thread, the rest on the loop's.
 */
#ifndef NETS_H
#define NETS_H

#include <stdio.h>
#include "capture.h"
#include "network.h"
#include "options.h"

struct nets;

/**
 * nets_new() - open captures and what ports are connected to, make networks
 * @opts: borrowed, outlives them
 *
 * Before privileges are given up. Return: 0; -errno, logged with the cure.
 */
int nets_new(const struct options *opts, struct nets **out);

/** nets_start() - set the ports going; without privileges. As nets_new() */
int nets_start(struct nets *n);

/** nets_free() - when no member of others is left; captures are written to
 * their end; NULL is harmless */
void nets_free(struct nets *n);

/** nets_find() - the network that is called so, which the options have */
struct network *nets_find(struct nets *n, const char *name);

/** nets_capture() - where @end's frames are recorded; NULL: nowhere */
struct capture *nets_capture(struct nets *n, const struct option_end *end);

/**
 * nets_member() - what a member of @end's network is made of
 * @name: what it is called
 *
 * A capture has an interface of that name. @config->takes is what the options
 * say, else nothing. Return: 0, or -ENOSPC (interfaces; logged).
 */
int nets_member(struct nets *n, const struct option_end *end, const char *name,
		struct netmember_config *config);

/** nets_print() - counters, for people */
void nets_print(struct nets *n, FILE *out);

#endif
