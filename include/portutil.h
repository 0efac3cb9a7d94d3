/* SPDX-License-Identifier: BSD-3-Clause */
/* Helpers for implementations of struct netport. */
#ifndef PORTUTIL_H
#define PORTUTIL_H

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "bytes.h"
#include "iov.h"
#include "netport.h"

/** port_new() - @size bytes of zeroes that begin with a netport; NULL: -ENOMEM
 */
static inline void *port_new(size_t size, const struct netport_ops *ops, int fd)
{
	struct netport *port = calloc(1, size);

	if (port) {
		port->ops = ops;
		port->fd = fd;
	}
	return port;
}

/** port_free() - close the descriptor, and free what port_new() returned */
static inline void port_free(struct netport *port)
{
	if (port->fd >= 0)
		close(port->fd);
	free(port);
}

/** frame_load() - copy bytes of @f after the first @skip, at most @max; returns
 * the number of bytes copied */
static inline size_t frame_load(const struct frame *f, size_t skip, void *to,
				size_t max)
{
	return iov_get(f->iov, f->iovcnt, skip, to, max);
}

/**
 * frame_store() - receive a frame of @len bytes
 * @hdr: @hdr_len bytes of header before it; NULL: zeroes
 *
 * Sets @f->len and @f->trunc as struct frame documents them.
 */
static inline void frame_store(struct frame *f, size_t hdr_len, const void *hdr,
			       const void *from, size_t len)
{
	size_t put = iov_put(f->iov, f->iovcnt, 0, hdr, hdr_len);

	if (put == hdr_len)
		put += iov_put(f->iov, f->iovcnt, hdr_len, from, len);
	f->len = put < hdr_len ? 0 : (uint32_t)put;
	f->trunc = put < hdr_len + len;
}

/** frame_space() - bytes that fit into @f */
static inline size_t frame_space(const struct frame *f)
{
	size_t space = 0;

	for (unsigned int i = 0; i < f->iovcnt; i++)
		space += f->iov[i].iov_len;
	return space;
}

/** port_drop() - count @n frames as dropped; returns @n */
static inline int port_drop(struct netport *port, const struct frame *frames,
			    unsigned int n)
{
	port->tx_dropped += n;
	for (unsigned int i = 0; i < n; i++)
		port->tx_dropped_bytes +=
			frames[i].len - MIN(frames[i].len, port->hdr_len);
	return (int)n;
}

/** port_send_drops(), port_recv_none() - operations of a port that has one
 * direction only */
static inline int port_send_drops(struct netport *port,
				  const struct frame *frames, unsigned int n)
{
	return n ? port_drop(port, frames, n) : -EAGAIN;
}

static inline int port_recv_none(struct netport *port, struct frame *frames,
				 unsigned int n)
{
	(void)port;
	(void)frames;
	(void)n;
	return -EAGAIN;
}

/** port_polls() - whether the port's descriptor has any of the POLL* @events */
static inline bool port_polls(const struct netport *port, short events)
{
	struct pollfd p = { .fd = port->fd, .events = events };

	return poll(&p, 1, 0) > 0;
}

static inline bool port_polls_in(struct netport *port)
{
	return port_polls(port, POLLIN);
}

/** try_later() - the call transferred nothing, and can be repeated later. The
 * kernel's handle_tx() rewinds for the first three; EINTR is a signal */
static inline bool try_later(int err)
{
	return err == EAGAIN || err == ENOMEM || err == ENOBUFS || err == EINTR;
}

/** frame_lost() - errors of a receive that used up a frame: its buffer is
 * shorter than the virtio_net_hdr, or is not mapped any more */
static inline bool frame_lost(int err)
{
	return err == EINVAL || err == EFAULT;
}

#endif
