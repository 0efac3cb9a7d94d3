/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One frame a datagram.
 *
 * Unix: two sockets. The one with our name receives; it is not connected, or a
 * QEMU that starts anew could not send to it. Another, without a name, sends:
 * it is connected, for only then does it poll writable when the peer has room
 * again. The peer may come and go: where it is not, frames are lost, as on a
 * cable with nothing at the other end, and the name is tried again after a
 * while.
 *
 * UDP: one connected socket, which hears nobody but the peer. What the peer's
 * host says of a port that is closed comes up as an error of the next call, and
 * means nothing.
 */
#include "qemu_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"
#include "portutil.h"

#define BATCH 64
#define IOVS 1024
#define RETRY_MS 100

/**
 * struct qemu_dgram - the sockets
 * @out: what sends; the same as @in.fd but for unix
 * @connected, @retry_at_ms: of @out; the sending port's
 */
struct qemu_dgram {
	struct unix_listener in;
	struct netaddr remote;
	int out;
	bool connected;
	int64_t retry_at_ms;
};

/* One end; used by one thread. */
struct dgram_port {
	struct netport port;
	struct qemu_dgram *d;
	struct mmsghdr msgs[BATCH];
	struct iovec iov[IOVS];
};

static struct dgram_port *to_dgram_port(struct netport *port)
{
	return container_of(port, struct dgram_port, port);
}

static void end_close(struct netport *port)
{
	close(port->fd);
	free(to_dgram_port(port));
}

/* As many as there are entries for, at least one: what is behind the headers.
 */
static unsigned int dgram_msgs_set(struct dgram_port *e,
				   const struct frame *frames, unsigned int n)
{
	unsigned int used = 0, i;

	for (i = 0; i < MIN(n, BATCH); i++) {
		if (used + frames[i].iovcnt > IOVS)
			break;
		e->msgs[i].msg_hdr.msg_iov = e->iov + used;
		e->msgs[i].msg_hdr.msg_iovlen =
			iov_from(frames[i].iov, frames[i].iovcnt,
				 e->port.hdr_len, e->iov + used);
		used += frames[i].iovcnt;
	}
	return i;
}

/* ---- sending ---- */

static bool is_connected(struct qemu_dgram *d)
{
	int64_t now;

	if (d->connected || !d->remote.len)
		return d->connected;
	now = now_ms();
	if (now < d->retry_at_ms)
		return false;
	d->retry_at_ms = now + RETRY_MS;
	d->connected = connect(d->out, (struct sockaddr *)&d->remote.ss,
			       d->remote.len) == 0;
	return d->connected;
}

/* Of a unix socket: it will not be there for the next frame either. */
static bool peer_is_gone(int err)
{
	return err == ECONNREFUSED || err == ENOTCONN || err == ECONNRESET ||
	       err == ENOENT || err == EPIPE || err == EDESTADDRREQ;
}

/* Frames that are done with, 0: later. */
static unsigned int send_some(struct dgram_port *e, const struct frame *frames,
			      unsigned int n)
{
	struct qemu_dgram *d = e->d;
	unsigned int batch = 0;
	int ret;

	/* An empty datagram means the end of the connection to QEMU. */
	while (batch < n &&
	       frames[batch].len >= e->port.hdr_len + NETPORT_ETH_MIN)
		batch++;
	if (!batch)
		return (unsigned int)port_drop(&e->port, 1);
	batch = dgram_msgs_set(e, frames, batch);
	ret = sendmmsg(e->port.fd, e->msgs, batch, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (ret > 0)
		return (unsigned int)ret;
	if (try_later(errno))
		return 0;
	if (netaddr_path(&d->remote) && peer_is_gone(errno)) {
		/* A new one may have come to the same name. */
		d->connected = false;
		if (is_connected(d))
			return send_some(e, frames, n);
		return (unsigned int)port_drop(&e->port, n);
	}
	return (unsigned int)port_drop(&e->port, 1);
}

static int dgram_send(struct netport *port, const struct frame *frames,
		      unsigned int n)
{
	struct dgram_port *e = to_dgram_port(port);
	unsigned int done = 0;

	if (!n)
		return -EAGAIN;
	if (!is_connected(e->d))
		return port_drop(port, n);
	while (done < n) {
		unsigned int some = send_some(e, frames + done, n - done);

		if (!some)
			break;
		done += some;
	}
	return done ? (int)done : -EAGAIN;
}

/* ---- receiving ---- */

static int dgram_recv_batch(struct dgram_port *e, unsigned int batch)
{
	int ret = recvmmsg(e->port.fd, e->msgs, batch, MSG_DONTWAIT, NULL);

	/* News of the peer, told once: frames may be waiting behind it. */
	if (ret < 0 && !try_later(errno) && !frame_lost(errno))
		ret = recvmmsg(e->port.fd, e->msgs, batch, MSG_DONTWAIT, NULL);
	return ret < 0 ? -errno : ret;
}

static void finish_frame(struct dgram_port *e, struct frame *f,
			 const struct mmsghdr *m)
{
	unsigned int hdr_len = e->port.hdr_len;

	f->trunc = m->msg_hdr.msg_flags & MSG_TRUNC ||
		   m->msg_len < NETPORT_ETH_MIN;
	f->len = 0;
	if (iov_put(f->iov, f->iovcnt, 0, NULL, hdr_len) == hdr_len)
		f->len = hdr_len + m->msg_len;
}

static int dgram_recv(struct netport *port, struct frame *frames,
		      unsigned int n)
{
	struct dgram_port *e = to_dgram_port(port);
	unsigned int done = 0;

	while (done < n) {
		struct frame *f = frames + done;
		unsigned int batch = dgram_msgs_set(e, f, n - done);
		int ret = dgram_recv_batch(e, batch);

		if (ret < 0 && frame_lost(-ret)) {
			*f = (struct frame){ f->iov, f->iovcnt, 0, true };
			ret = 1;
			batch = 1;
		} else {
			for (int i = 0; i < ret; i++)
				finish_frame(e, &f[i], &e->msgs[i]);
		}
		if (ret > 0)
			done += (unsigned int)ret;
		if (ret != (int)batch)
			break;
	}
	return done ? (int)done : -EAGAIN;
}

static const struct netport_ops ops = {
	.name = "qemu",
	.send = dgram_send,
	.recv = dgram_recv,
	.close = end_close,
};

/* ---- both ---- */

static int dgram_port_new(struct qemu_dgram *d, int fd, struct netport **out)
{
	struct dgram_port *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->port.ops = &ops;
	e->d = d;
	e->port.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (e->port.fd < 0) {
		int ret = -errno;

		free(e);
		return ret;
	}
	*out = &e->port;
	return 0;
}

int qemu_dgram_open(struct qemu_dgram *d, struct netport **rx,
		    struct netport **tx)
{
	struct netport *port = NULL;
	int ret = dgram_port_new(d, d->in.fd, &port);

	if (ret < 0)
		return ret;
	ret = dgram_port_new(d, d->out, tx);
	if (ret < 0)
		netport_close(port);
	else
		*rx = port;
	return ret;
}

static int take_fd(struct qemu_dgram *d, int fd)
{
	int ret = netaddr_connected(fd, SOCK_DGRAM);

	if (ret < 0)
		return ret;
	d->in.fd = d->out = fd;
	d->connected = true;
	return 0;
}

static int dgram_open(struct qemu_dgram *d, const struct qemu_config *c)
{
	int ret;

	if (c->fd >= 0)
		return take_fd(d, c->fd);
	d->remote = c->remote;
	ret = netaddr_listen(&c->local, SOCK_DGRAM, &d->in);
	if (ret < 0)
		return ret;
	d->out = d->in.fd;
	if (netaddr_path(&c->remote)) {
		d->out = socket(AF_UNIX,
				SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (d->out < 0)
			return -errno;
	} else if (!is_connected(d)) {
		return -EADDRNOTAVAIL;
	}
	return 0;
}

int qemu_dgram_new(const struct qemu_config *config, struct qemu_dgram **out)
{
	struct qemu_dgram *d = calloc(1, sizeof(*d));
	int ret;

	if (!d)
		return -ENOMEM;
	d->in.fd = d->out = -1;
	ret = dgram_open(d, config);
	if (ret < 0)
		qemu_dgram_free(d);
	else
		*out = d;
	return ret;
}

void qemu_dgram_free(struct qemu_dgram *d)
{
	if (d->out != d->in.fd && d->out >= 0)
		close(d->out);
	unix_listener_close(&d->in);
	free(d);
}
