/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * QEMU's network sockets: what its -netdev dgram and -netdev stream speak.
 * Frames without virtio_net_hdr: it is cut off, and zero where one is due.
 * Private to net/.
 */
#ifndef QEMU_PRIV_H
#define QEMU_PRIV_H

#include "log.h"
#include "netaddr.h"
#include "netport.h"

/**
 * struct qemu_config - copied
 * @fd:    a connected socket that was handed over, used up on success; -1: none
 * @local: bound to (dgram), listened at (stream); .len 0: none
 * @remote: sent to (dgram), connected to (stream); .len 0: none
 */
struct qemu_config {
	struct log_tag tag;
	int fd;
	struct netaddr local, remote;
};

struct qemu_dgram;
struct qemu_stream;

/** qemu_dgram_new() - 0; as netaddr_listen(); -ENOTSOCK, -ENOTCONN, -EPROTOTYPE
 * (fd); -ENOMEM */
int qemu_dgram_new(const struct qemu_config *config, struct qemu_dgram **out);
/** qemu_dgram_open() - both ends; 0, -ENOMEM, -EMFILE */
int qemu_dgram_open(struct qemu_dgram *d, struct netport **rx,
		    struct netport **tx);
void qemu_dgram_free(struct qemu_dgram *d);

/** qemu_stream_new() - as qemu_dgram_new() */
int qemu_stream_new(const struct qemu_config *config, struct qemu_stream **out);
/** qemu_stream_open() - both ends; 0; -EBUSY (open already); -ENOMEM; -EAGAIN
 * (threads) */
int qemu_stream_open(struct qemu_stream *q, struct netport **rx,
		     struct netport **tx);
/** qemu_stream_free() - after both ends are closed */
void qemu_stream_free(struct qemu_stream *q);

#endif
