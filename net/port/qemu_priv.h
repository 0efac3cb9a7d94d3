/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * QEMU's network sockets: the protocols of its -netdev dgram and -netdev
 * stream. Frames have no virtio_net_hdr there: it is removed from frames sent,
 * and zero in frames received.
 */
#ifndef QEMU_PRIV_H
#define QEMU_PRIV_H

#include "log.h"
#include "netaddr.h"
#include "netif_priv.h"

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

/** qemu_dgram_new() - 0; as netaddr_listen(); -ENOTSOCK, -ENOTCONN, -EPROTOTYPE
 * (fd); -ENOMEM */
int qemu_dgram_new(const struct qemu_config *config, struct netif **out);

/** qemu_stream_new() - as qemu_dgram_new(). One pair of ports is open at a
 * time. Its first port starts a thread: -EAGAIN */
int qemu_stream_new(const struct qemu_config *config, struct netif **out);

#endif
