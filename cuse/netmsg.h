/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bodies of the messages (wmsg.h) to a worker process that has a network.
 *
 *   NET_START, NET_CAPTURE..., NET_PORT (interfaces of the host)..., NET_RUN
 *   then NET_PORT (guests), NET_RING, NET_LEAVE, NET_PRINT in any order
 *
 * The process opens nothing after NET_RUN, and reads no frame before. It
 * answers NET_RUN, and has nothing else to say.
 */
#ifndef NETMSG_H
#define NETMSG_H

#include <stdint.h>

#include "capture.h"
#include "framering.h"
#include "netif.h"
#include "network.h"
#include "wmsg.h"

/** NETMSG_PORT_FDS - descriptors of an interface, which has one queue pair */
#define NETMSG_PORT_FDS 1
/** NETMSG_PATH_MAX - bytes of the name of a capture, its 0 included */
#define NETMSG_PATH_MAX 256
/** NETMSG_QUEUES_MAX - queue pairs of a guest */
#define NETMSG_QUEUES_MAX 256

/** struct netmsg_start - @build, @tag, @log_level: as in struct wmsg_start; the
 * others: struct network_config */
struct netmsg_start {
	char build[WMSG_BUILD_MAX];
	char tag[48];
	char name[NETWORK_NAME_MAX + 1];
	uint32_t macs, age_s, mtu;
	int32_t log_level;
};

/** NETMSG_MARK_BYTES - of the memory (fd_memory()) of a struct capture_mark */
#define NETMSG_MARK_BYTES 4096

/** struct netmsg_capture - as struct capture_config; they are numbered in the
 * order in which they come, from 0 on */
struct netmsg_capture {
	char path[NETMSG_PATH_MAX];
	uint32_t snaplen;
	uint32_t vnet_hdr;
};

/** NETMSG_OFFLOADS - flag: @guest_offloads are used in place of those of the
 * interface */
#define NETMSG_OFFLOADS 1

/**
 * struct netmsg_port - a port of the network
 * @id:     of later messages
 * @spec:   for netif_adopt(); "": of a guest
 * @queues: 1 with @spec
 * @capture: its number; -1: none
 * @flags:  NETMSG_OFFLOADS or 0
 *
 * The others: struct swport_config.
 */
struct netmsg_port {
	char name[NETWORK_NAME_MAX + 1];
	char spec[NETIF_SPEC_MAX + 1];
	uint64_t trunk[NETWORK_VLANS / 64];
	uint64_t guest_offloads;
	uint32_t id, queues;
	uint32_t vlan, macs, flood_fps, mtu;
	int32_t capture;
	uint32_t flags;
};

/** struct netmsg_ring - the network's side of a frame ring for @queue of the
 * port @id; @offload: 0 or 1: as uplink_ring_new() */
struct netmsg_ring {
	uint32_t id, queue, offload;
	uint32_t unused; /* 0 */
};

/** NETMSG_ALL - for @queue: the port leaves */
#define NETMSG_ALL UINT32_MAX

/** struct netmsg_leave - @queue of the port @id has no ring any more */
struct netmsg_leave {
	uint32_t id, queue;
};

/* What was received, if it is as described above: else -EPROTO. The descriptors
 * stay in @in. */

int netmsg_get_start(const struct wmsg_in *in, struct netmsg_start *out);
int netmsg_get_capture(const struct wmsg_in *in, struct netmsg_capture *out);
int netmsg_get_port(const struct wmsg_in *in, struct netmsg_port *out);
int netmsg_get_ring(const struct wmsg_in *in, struct netmsg_ring *out);
int netmsg_get_leave(const struct wmsg_in *in, struct netmsg_leave *out);

/** netmsg_put_swport(), netmsg_swport() - struct swport_config as it is sent,
 * without capture; and back */
void netmsg_put_swport(struct netmsg_port *p, const struct swport_config *c);
void netmsg_swport(const struct netmsg_port *p, struct swport_config *c);

#endif
