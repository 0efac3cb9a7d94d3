/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * node.c checks the name of a device in sysfs and its node below /dev. CUSE
 * reports no error if the name or the device number is taken, so both are
 * checked before the device is made, and the node after that.
 */
#ifndef NODE_H
#define NODE_H

#include <stddef.h>
#include "loop.h"

/** NODE_WAIT_MS - how long to wait for the kernel and udev, ms */
#define NODE_WAIT_MS 10000

/**
 * node_check_free() - whether a device with this name can be made
 *
 * Return: 0; -EEXIST, logged with a remedy.
 */
int node_check_free(const char *name);

struct node_wait;

/**
 * node_wait_start() - wait for the node on a thread of its own
 * @done: called once on the loop: the node has the device's number and can be
 *        opened (0), or that has not happened within NODE_WAIT_MS (-errno,
 *        logged with a remedy)
 *
 * The thread never opens the node, so the process can be killed meanwhile.
 * Return: 0 or -errno.
 */
int node_wait_start(const char *name, struct loop *loop,
		    void (*done)(void *ctx, int result), void *ctx,
		    struct node_wait **out);

/** node_wait_cancel() - have @done called soon, with -ECANCELED; logs nothing
 */
void node_wait_cancel(struct node_wait *w);

/** node_wait_free() - free @w; call it after @done was called */
void node_wait_free(struct node_wait *w);

#endif
