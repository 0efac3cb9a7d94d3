/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * devmem.c manages memory in which a device session notes what the next device
 * session needs to continue: the cursors of its rings, and a list of IOTLB
 * messages that fill its IOTLB again. The memory is a memfd, sealed against
 * resizing, which outlives the process that writes it. A worker process gets
 * it.
 *
 * A process that its guest has taken over can write anything there, so readers
 * check what they read. One thread at a time uses the memory.
 */
#ifndef DEVMEM_H
#define DEVMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/vhost.h>

struct devmem;

/** DEVMEM_IOTLB_MAX - most messages in the list */
#define DEVMEM_IOTLB_MAX 4096

/**
 * devmem_new() - make new memory, all zero
 * @ring_bytes: size of devmem_rings(): vdev_cursor_size()
 *
 * Return: 0, -errno.
 */
int devmem_new(size_t ring_bytes, struct devmem **out);

/**
 * devmem_adopt() - map the memory that an earlier process has used
 * @fd: copy of its devmem_fd(); owned on success
 *
 * Return: 0; -EBADMSG (another version or size, or not sealed); -ENOMEM.
 */
int devmem_adopt(int fd, size_t ring_bytes, struct devmem **out);

/** devmem_free() - unmap and close; @m may be NULL */
void devmem_free(struct devmem *m);

/** devmem_fd() - the memfd, borrowed */
int devmem_fd(const struct devmem *m);

/** devmem_rings() - memory of the rings (vdev_config.cursors) */
void *devmem_rings(const struct devmem *m);

/** devmem_iotlb_add() - add a message that was carried out; false: the list is
 * full */
bool devmem_iotlb_add(struct devmem *m, const struct vhost_iotlb_msg *msg);

/** devmem_iotlb_clear() - empty the list */
void devmem_iotlb_clear(struct devmem *m);

/** devmem_iotlb_begin(), devmem_iotlb_end() - replace the list by the messages
 * that are added in between; a reader sees the old list or the new one.
 * devmem_iotlb_abort(): keep the old list */
void devmem_iotlb_begin(struct devmem *m);
void devmem_iotlb_end(struct devmem *m);
void devmem_iotlb_abort(struct devmem *m);

/** devmem_iotlb_get() - the list; returns the number of messages */
unsigned int devmem_iotlb_get(const struct devmem *m,
			      const struct vhost_iotlb_msg **msg);

#endif
