/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * chardev.c serves a character device: its channel to the kernel (/dev/cuse, or
 * a socket, see channel.h) and its open files. All functions run on the loop's
 * thread and never block.
 */
#ifndef CHARDEV_H
#define CHARDEV_H

#include <stdbool.h>
#include "session.h"

struct chardev;

/** CHARDEV_PREFIX - the channel of device NAME is in the store under
 * CHARDEV_PREFIX NAME */
#define CHARDEV_PREFIX "channel-"

/**
 * struct chardev_config - configuration of a device; copied
 * @name: in the form of CUSE, with '!' for '/'; outlives the device
 * @fd: open channel, owned by the device on success; -1: open /dev/cuse
 * @dev_major, @dev_minor: number of the device; major 0: the kernel chooses
 * @quota: limits of open files and mappings
 * @store: keeps the channel, unanswered requests and open files for the next
 *         process, and has those of an earlier one; NULL: nothing is kept
 * @session: the device fills in dev_name, store, quota, the callbacks and ctx
 * @ready: the device can be opened (@error 0), or never will be (-errno)
 * @ended: the channel is closed and all workers have ended, except those that
 *         hang; the caller calls chardev_free() next. @error: 0 if the other
 *         side closed the channel, or after chardev_end() or chardev_leave()
 */
struct chardev_config {
	const char *name;
	int fd;
	unsigned int dev_major;
	unsigned int dev_minor;
	struct quota_limits quota;
	struct store *store;
	struct session_config session;
	void (*ready)(void *ctx, struct chardev *c, int error);
	void (*ended)(void *ctx, struct chardev *c, int error);
	void *ctx;
};

/**
 * chardev_new() - open the channel and start to serve it
 *
 * Return: 0; -errno, logged with a remedy.
 */
int chardev_new(const struct chardev_config *config, struct chardev **out);

/**
 * chardev_leave() - stop all sessions, so that the next process can continue
 * them; ended() follows
 *
 * Only with a store. Callers wait until the next process answers.
 */
void chardev_leave(struct chardev *c);

/** chardev_end() - close all sessions; ended() follows */
void chardev_end(struct chardev *c);

/**
 * chardev_free() - close the channel: the device disappears
 *
 * Return: false if workers of sessions hang, or ended() was not called and the
 * wait for the node still runs: the device is not freed then, and the loop and
 * what the configuration refers to must live as long as the process.
 */
bool chardev_free(struct chardev *c);

/** chardev_name() - for log lines */
const char *chardev_name(const struct chardev *c);

/** chardev_print() - have all sessions print state and counters to the log */
void chardev_print(struct chardev *c);

#endif
