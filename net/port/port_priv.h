/* SPDX-License-Identifier: BSD-3-Clause */
/* The constructors of the kinds of port. */
#ifndef PORT_PRIV_H
#define PORT_PRIV_H

#include "portutil.h"

enum tap_kind { TAP_ETHERNET, TAP_L3, TAP_MACVTAP };

/* On success @fd belongs to the port. 0 or -ENOMEM. */
int tap_port_new(int fd, enum tap_kind kind, struct netport **out);
int packet_port_new(int fd, struct netport **out);

/**
 * packet_own_port_new() - a port on a socket that the daemon made
 * @fd:    with PACKET_VNET_HDR and PACKET_AUXDATA; as above
 * @guest_offloads: VIRTIO_NET_F_GUEST_* bits that the receiver has acked; read
 *         with every frame, from any thread; borrowed
 *
 * The socket's header has 10 bytes, the port's has port->hdr_len. VLAN tags
 * that the kernel removed from frames are put back. Frames that the receiver
 * does not accept as they are have 0 bytes and trunc. 0 or -ENOMEM.
 */
int packet_own_port_new(int fd, const uint64_t *guest_offloads,
			struct netport **out);

/** packet_tx_port_new() - a port that only sends, on a socket without
 * virtio_net_hdr; as above */
int packet_tx_port_new(int fd, struct netport **out);

/** loop_port_new() - two ports; a frame sent to one is received from the other.
 * One thread uses both. 0 or -ENOMEM */
int loop_port_new(struct netport **rx, struct netport **tx);

#endif
