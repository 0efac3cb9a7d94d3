/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * takeover.c implements --takeover: it lets a CUSE device have the name
 * /dev/vhost-net, for programs that have that name built in.
 *
 * The kernel's driver has a static node of that name (10:238), made at boot
 * even while the module is not loaded. A CUSE device of the same name could be
 * made, but the node would still refer to the kernel's driver. So the node is
 * renamed to TAKEOVER_ASIDE while our device exists, and renamed back after.
 *
 * Renaming keeps owner, mode, ACL and label, needs no right but to write to
 * /dev, and survives a daemon that is killed: TAKEOVER_ASIDE tells the next
 * one, or "uvhostd --release-node" (ExecStopPost= of the unit), that the
 * kernel's node has to come back.
 */
#ifndef TAKEOVER_H
#define TAKEOVER_H

#include <stdbool.h>

#define TAKEOVER_NODE "/dev/vhost-net"
#define TAKEOVER_ASIDE "/dev/vhost-net.kernel"

/**
 * takeover_begin() - make room for our /dev/vhost-net
 *
 * A node that is missing, but should be there by what sysfs or modules.devname
 * say, is made first (0660 root:kvm, as udev's own rule has it), lest it be
 * missing at the end as well; that takes CAP_MKNOD and CAP_CHOWN, and is only
 * warned about if it fails. Logs what forbids the takeover.
 *
 * Return: 0; -EBUSY (vhost_net has users); -EEXIST (the node is not the
 * kernel's); -errno.
 */
int takeover_begin(void);

/**
 * takeover_end() - put the kernel's node back, if this or an earlier daemon
 * put it aside
 *
 * Our device has to be gone. Return: 0, also if there was nothing to do;
 * -EBUSY (a device holds the name); -EEXIST (something else does); -errno;
 * logged.
 */
int takeover_end(void);

#endif
