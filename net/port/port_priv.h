/* SPDX-License-Identifier: BSD-3-Clause */
/* The constructors of the kinds of port. */
#ifndef PORT_PRIV_H
#define PORT_PRIV_H

#include "portutil.h"

enum tap_kind { TAP_ETHERNET, TAP_L3, TAP_MACVTAP };

/* Both take @fd over on success only; 0 or -ENOMEM. */
int tap_port_new(int fd, enum tap_kind kind, struct netport **out);
int packet_port_new(int fd, struct netport **out);

/**
 * packet_own_port_new() - a port on a socket that we made ourselves
 * @fd:    with PACKET_VNET_HDR and PACKET_AUXDATA; as above
 * @takes: VIRTIO_NET_F_GUEST_* bits that the receiver has acked; read with
 *         every frame, from any thread; borrowed
 *
 * The socket's header has 10 bytes, the port's what port->hdr_len says. VLAN
 * tags that the kernel took out of frames are put back. Frames that the
 * receiver does not take as they are come with 0 bytes and trunc. 0 or -ENOMEM.
 */
int packet_own_port_new(int fd, const uint64_t *takes, struct netport **out);

/** loop_port_new() - what is sent to @tx is received from @rx (and the other
 * way round); one thread uses both; 0 or -ENOMEM */
int loop_port_new(struct netport **rx, struct netport **tx);

#endif
