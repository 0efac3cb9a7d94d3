/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device's name in sysfs and its node below /dev. Neither a name that is
 * taken nor a device number that is taken makes CUSE report an error, so we
 * look before and after.
 */
#ifndef NODE_H
#define NODE_H

#include <stddef.h>
#include "loop.h"

/** NODE_WAIT_MS - how long the kernel and udev may take */
#define NODE_WAIT_MS 10000

/**
 * node_check_free() - may a device of this name be made?
 *
 * Logs what is in the way and what to do. Return: 0 or -EEXIST.
 */
int node_check_free(const char *name);

struct node_wait;

/**
 * node_wait_start() - watch for the node in a thread of its own
 * @done: called on the loop once: the node has the device's number and may be
 *        opened (0), or has not come to it within NODE_WAIT_MS (-errno, logged
 *        with the cure)
 *
 * The thread needs nothing of the loop: a process can be killed meanwhile.
 * Return: 0 or -errno.
 */
int node_wait_start(const char *name, struct loop *loop,
		    void (*done)(void *ctx, int result), void *ctx,
		    struct node_wait **out);

/** node_wait_cancel() - @done comes soon, with -ECANCELED and nothing logged */
void node_wait_cancel(struct node_wait *w);

/** node_wait_free() - after @done was called */
void node_wait_free(struct node_wait *w);

#endif
