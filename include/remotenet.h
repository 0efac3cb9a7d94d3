/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A network that is in another process, as an attachment (attach.h) uses it:
 * guests join it with a port, and the frame rings of their queue pairs are
 * connected to that port. What is asked for here is done a little later, and
 * again if that process is replaced by another one; nothing waits for it.
 *
 * Any thread may call.
 */
#ifndef REMOTENET_H
#define REMOTENET_H

#include <stdbool.h>

#include "framering.h"
#include "network.h"

struct remotenet;
struct remotenet_port;

/**
 * struct remotenet_ops - operations
 * @join:  a new port with @queues queues. @config: without a capture; its name
 *         as for swport_new(). @fixed_name: else the network makes another one
 *         if it has that name. @capture: number of the capture of its frames;
 *         -1: none. Return: 0; -EEXIST; -ENOSPC (ports); -ENOMEM
 * @name:  of the port
 * @connect: the network's side of @ring for @queue, which is not connected.
 *         @ring: borrowed until @disconnect. @offload: as uplink_ring_new()
 * @disconnect: harmless if it is not connected. The process may use the ring
 *         for a moment yet: it is not used again
 * @leave: disconnects all, and frees the port
 */
struct remotenet_ops {
	int (*join)(struct remotenet *n, const struct swport_config *config,
		    bool fixed_name, unsigned int queues, int capture,
		    struct remotenet_port **out);
	const char *(*name)(const struct remotenet_port *p);
	void (*connect)(struct remotenet_port *p, unsigned int queue,
			struct framering *ring, bool offload);
	void (*disconnect)(struct remotenet_port *p, unsigned int queue);
	void (*leave)(struct remotenet_port *p);
};

/** struct remotenet - embedded in what implements it */
struct remotenet {
	const struct remotenet_ops *ops;
};

#endif
