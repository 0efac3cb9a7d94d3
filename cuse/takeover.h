/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * --takeover: programs that have /dev/vhost-net built in shall find us there.
 *
 * The kernel's driver has a static node of that name (10:238), made at boot
 * even while the module is not loaded. A CUSE device of the same name would be
 * made, but the node would go on to mean the kernel's driver. So the node is
 * removed before and put back after. If we are killed in between, it is missing
 * until "mknod /dev/vhost-net c 10 238" or the next boot.
 */
#ifndef TAKEOVER_H
#define TAKEOVER_H

#include <stdbool.h>
#include <sys/types.h>

/** struct takeover - the node to be put back */
struct takeover {
	bool removed;
	mode_t mode;
	uid_t uid;
	gid_t gid;
};

/**
 * takeover_begin() - make room for our /dev/vhost-net
 *
 * Logs what forbids it. Return: 0; -EBUSY (vhost_net has users); -EEXIST (the
 * node is nobody's we know); -errno.
 */
int takeover_begin(struct takeover *t);

/** takeover_end() - put the node back, once our device is gone */
void takeover_end(struct takeover *t);

#endif
