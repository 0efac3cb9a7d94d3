/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A character device: its channel to the kernel (/dev/cuse, or a socket on
 * which somebody plays the kernel) and its open files. Everything here runs on
 * the loop's thread and never blocks.
 */
#ifndef CHARDEV_H
#define CHARDEV_H

#include <stdbool.h>
#include "session.h"

struct chardev;

/** CHARDEV_PREFIX - before a device's name: the name of its channel in the
 * store */
#define CHARDEV_PREFIX "channel-"

/**
 * struct chardev_config - what a device is made of; copied
 * @name: as CUSE takes it, '!' for '/'; outlives the device
 * @fd: open channel, the device's on success; -1 opens /dev/cuse
 * @dev_major, @dev_minor: 0 as major: the kernel chooses
 * @quota: open files at a time
 * @store: keeps the channel, unanswered requests and open files for another
 *         process, and has what one before this left; NULL: nothing is kept
 * @session: dev_name, store, the callbacks and ctx are filled in by the device
 * @ready: the device can be opened (0), or will never be (-errno, logged)
 * @ended: the channel is closed and all workers are through, but those that
 *         hang; chardev_free() is due. @error: 0 if the other side ended it, or
 * it was asked for
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
 * Return: 0; -errno, logged with the cure.
 */
int chardev_new(const struct chardev_config *config, struct chardev **out);

/**
 * chardev_leave() - stop all sessions, for another process to go on with them;
 * ended() follows
 *
 * With a store only. Callers wait until that process has come.
 */
void chardev_leave(struct chardev *c);

/** chardev_end() - close all sessions; ended() follows */
void chardev_end(struct chardev *c);

/**
 * chardev_free() - close the channel: the device disappears
 *
 * Sessions whose workers hang are left behind.
 * Return: false if some were: what the configuration names, and the loop, must
 * stay.
 */
bool chardev_free(struct chardev *c);

/** chardev_name() - for log lines */
const char *chardev_name(const struct chardev *c);

/** chardev_print() - have all sessions print themselves */
void chardev_print(struct chardev *c);

#endif
