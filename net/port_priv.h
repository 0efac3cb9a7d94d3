/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kinds of port share; private to net/. */
#ifndef PORT_PRIV_H
#define PORT_PRIV_H

#include <errno.h>
#include <poll.h>
#include <stddef.h>

#include "netport.h"

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

/** port_drop() - count @n frames as dropped; @n */
static inline int port_drop(struct netport *port, unsigned int n)
{
	port->tx_dropped += n;
	return (int)n;
}

/* Operations of a port that has one direction only. */
static inline int port_send_drops(struct netport *port,
				  const struct frame *frames, unsigned int n)
{
	(void)frames;
	return n ? port_drop(port, n) : -EAGAIN;
}

static inline int port_recv_none(struct netport *port, struct frame *frames,
				 unsigned int n)
{
	(void)port;
	(void)frames;
	(void)n;
	return -EAGAIN;
}

/* Is any of the POLL* @events up on the port's descriptor? */
static inline bool port_polls(const struct netport *port, short events)
{
	struct pollfd p = { .fd = port->fd, .events = events };

	return poll(&p, 1, 0) > 0;
}

static inline size_t frame_room(const struct frame *f)
{
	size_t room = 0;

	for (unsigned int i = 0; i < f->iovcnt; i++)
		room += f->iov[i].iov_len;
	return room;
}

/* No space or no frame now, but later: the frame concerned is not taken. The
 * kernel's handle_tx() rewinds for the first three; the last is a signal. */
static inline bool try_later(int err)
{
	return err == EAGAIN || err == ENOMEM || err == ENOBUFS || err == EINTR;
}

/* Errors of a receive that used up a frame: its room is shorter than the
 * virtio_net_hdr, or is no memory any more. */
static inline bool frame_lost(int err)
{
	return err == EINVAL || err == EFAULT;
}

#endif
