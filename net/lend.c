/* SPDX-License-Identifier: BSD-3-Clause */
#include "netport.h"

#include <errno.h>
#include <stdlib.h>

#include "bytes.h"

/* The table is its own: a port is known by the name of what is behind it. */
struct lent {
	struct netport port;
	struct netport *inner;
	struct netport_ops ops;
	void (*closed)(void *ctx);
	void *ctx;
};

static struct lent *to_lent(struct netport *port)
{
	return container_of(port, struct lent, port);
}

static int lent_send(struct netport *port, const struct frame *frames,
		     unsigned int n)
{
	struct netport *inner = to_lent(port)->inner;
	uint64_t dropped = inner->tx_dropped;
	int ret;

	inner->hdr_len = port->hdr_len;
	inner->tx_own = port->tx_own;
	ret = inner->ops->send(inner, frames, n);
	port->tx_dropped += inner->tx_dropped - dropped;
	return ret;
}

static int lent_recv(struct netport *port, struct frame *frames, unsigned int n)
{
	struct netport *inner = to_lent(port)->inner;

	inner->hdr_len = port->hdr_len;
	return inner->ops->recv(inner, frames, n);
}

static int lent_borrow(struct netport *port, struct iovec *frames,
		       unsigned int n)
{
	struct netport *inner = to_lent(port)->inner;

	inner->hdr_len = port->hdr_len;
	return inner->ops->borrow(inner, frames, n);
}

static void lent_release(struct netport *port, unsigned int n)
{
	struct netport *inner = to_lent(port)->inner;

	inner->ops->release(inner, n);
}

static bool lent_has_frames(struct netport *port)
{
	struct netport *inner = to_lent(port)->inner;

	return inner->ops->has_frames(inner);
}

static void lent_close(struct netport *port)
{
	struct lent *l = to_lent(port);

	if (l->closed)
		l->closed(l->ctx);
	free(l);
}

int netport_lend(struct netport *inner, void (*closed)(void *ctx), void *ctx,
		 struct netport **out)
{
	struct lent *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->inner = inner;
	l->closed = closed;
	l->ctx = ctx;
	l->ops = (struct netport_ops){ .name = inner->ops->name,
				       .send = lent_send,
				       .recv = lent_recv,
				       .close = lent_close };
	if (inner->ops->borrow) {
		l->ops.borrow = lent_borrow;
		l->ops.release = lent_release;
	}
	if (inner->ops->has_frames)
		l->ops.has_frames = lent_has_frames;
	l->port.ops = &l->ops;
	l->port.fd = inner->fd;
	l->port.hdr_len = inner->hdr_len;
	*out = &l->port;
	return 0;
}
