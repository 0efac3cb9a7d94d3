/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * netmsg.c checks messages (wmsg.h) to a worker process that has a network;
 * here are their bodies. Order of messages:
 *
 *   NET_START, NET_CAPTURE..., NET_PORT (interfaces of the host)..., NET_RUN
 *   then NET_PORT (guests), NET_RING, NET_LEAVE, NET_PRINT in any order
 *
 * The process opens nothing after NET_RUN, and reads no frame before it. It
 * sends the replies to NET_RUN and to each NET_PRINT, and NET_SPOILED, at most
 * once for each NET_RING.
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
/** NETMSG_PATH_MAX - most bytes of the name of a capture, with its NUL */
#define NETMSG_PATH_MAX 256
/** NETMSG_QUEUES_MAX - most queue pairs of a guest */
#define NETMSG_QUEUES_MAX 256

/** struct netmsg_start - @build, @tag, @log_level: see struct wmsg_start; the
 * other members: see struct network_config; @stall_ms: for wdog_start_all(); 0:
 * threads are not watched */
struct netmsg_start {
	char build[WMSG_BUILD_MAX];
	char tag[48];
	char name[NETWORK_NAME_MAX + 1];
	uint32_t macs, age_s, mtu;
	int32_t log_level;
	uint32_t stall_ms;
};

/** NETMSG_MARK_BYTES - size of the memory (fd_memory()) of a struct
 * capture_mark */
#define NETMSG_MARK_BYTES 4096

/** struct netmsg_capture - see struct capture_config; captures are numbered
 * from 0 in the order of their messages */
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
 * @id:     names the port in later messages
 * @spec:   interface, for netif_adopt(); "": the port of a guest
 * @queues: queue pairs; 1 for an interface
 * @capture: number of its capture; -1: none
 * @flags:  NETMSG_OFFLOADS or 0
 *
 * Other members: see struct swport_config.
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

/** struct netmsg_ring - the frame ring of @queue of the port @id, of which the
 * process gets the network's side; @offload: 0 or 1, for uplink_ring_new();
 * @serial: tells it from earlier rings of the queue */
struct netmsg_ring {
	uint32_t id, queue, offload;
	uint32_t serial;
};

/** struct netmsg_spoiled - the guest's side of a frame ring has written what
 * cannot be; the members are those of its struct netmsg_ring */
struct netmsg_spoiled {
	uint32_t id, queue;
	uint32_t serial;
	uint32_t unused; /* 0 */
};

/** NETMSG_ALL - value of @queue: the port leaves the network */
#define NETMSG_ALL UINT32_MAX

/** struct netmsg_leave - @queue of the port @id has no ring any more */
struct netmsg_leave {
	uint32_t id, queue;
};

/* Check a message that was received: 0; -EPROTO: it is not as described above.
 * The descriptors stay in @in. */

int netmsg_get_start(const struct wmsg_in *in, struct netmsg_start *out);
int netmsg_get_capture(const struct wmsg_in *in, struct netmsg_capture *out);
int netmsg_get_port(const struct wmsg_in *in, struct netmsg_port *out);
int netmsg_get_ring(const struct wmsg_in *in, struct netmsg_ring *out);
int netmsg_get_leave(const struct wmsg_in *in, struct netmsg_leave *out);
int netmsg_get_spoiled(const struct wmsg_in *in, struct netmsg_spoiled *out);

/** netmsg_put_swport(), netmsg_swport() - convert a struct swport_config to the
 * message, without its capture; and back */
void netmsg_put_swport(struct netmsg_port *p, const struct swport_config *c);
void netmsg_swport(const struct netmsg_port *p, struct swport_config *c);

#endif
