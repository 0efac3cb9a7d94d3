/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * devmem.h: memory in which a device session notes what the next one needs to
 * go on: the cursors of its rings, and a row of IOTLB messages that make its
 * IOTLB again. It is a memfd of its own, sealed against resizing, which a
 * worker process gets; it outlives the process that writes it.
 *
 * Whoever has it may have written anything there: readers check it.
 * One thread at a time uses it.
 */
#ifndef DEVMEM_H
#define DEVMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/vhost.h>

struct devmem;

/** DEVMEM_IOTLB_MAX - messages in the row */
#define DEVMEM_IOTLB_MAX 4096

/**
 * devmem_new() - fresh memory, all of it 0
 * @ring_bytes: of devmem_rings(); vdev_cursor_size()
 *
 * Return: 0, -errno.
 */
int devmem_new(size_t ring_bytes, struct devmem **out);

/**
 * devmem_adopt() - the memory that another process has used
 * @fd: of devmem_fd(); consumed on success
 *
 * Return: 0; -EBADMSG (it is not of this version, has another size, or can
 * be resized); -ENOMEM.
 */
int devmem_adopt(int fd, size_t ring_bytes, struct devmem **out);

/** devmem_free() - unmap and close; NULL is harmless */
void devmem_free(struct devmem *m);

/** devmem_fd() - its memfd, borrowed */
int devmem_fd(const struct devmem *m);

/** devmem_rings() - memory of the rings (vdev_config.cursors) */
void *devmem_rings(const struct devmem *m);

/** devmem_iotlb_add() - one more message, carried out; false: the row is full
 */
bool devmem_iotlb_add(struct devmem *m, const struct vhost_iotlb_msg *msg);

/** devmem_iotlb_clear() - the row is empty */
void devmem_iotlb_clear(struct devmem *m);

/** devmem_iotlb_begin(), devmem_iotlb_end() - replace the row by what is added
 * in between, all at once; devmem_iotlb_abort(): or not at all */
void devmem_iotlb_begin(struct devmem *m);
void devmem_iotlb_end(struct devmem *m);
void devmem_iotlb_abort(struct devmem *m);

/** devmem_iotlb_get() - the row; how many messages */
unsigned int devmem_iotlb_get(const struct devmem *m,
			      const struct vhost_iotlb_msg **msg);

#endif
