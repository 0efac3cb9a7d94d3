/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * qemu_dgram.c sends and receives one frame a datagram.
 *
 * Unix: two sockets. The one with the local name receives; it is not connected,
 * or a QEMU that is started again could not send to it. Another, without a
 * name, sends: it is connected, since only then it polls writable when the peer
 * has space again. The peer may come and go: while it is absent, frames are
 * lost, as on a cable with an open end, and the name is tried again after
 * RETRY_MS.
 *
 * UDP: one connected socket, which receives only from the peer. An ICMP error
 * of the peer's host (the port is closed) is returned by the next call, and
 * ignored.
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
 * @out: sends; the same as @in.fd, except with unix
 * @connected, @retry_at_ms: of @out; used by the sending port
 */
struct qemu_dgram {
	struct netif netif;
	struct unix_listener in;
	struct netaddr remote;
	int out;
	bool connected;
	int64_t retry_at_ms;
};

static struct qemu_dgram *to_dgram(struct netif *s)
{
	return container_of(s, struct qemu_dgram, netif);
}

/* A port; used by one thread. */
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

/* As many frames as there are entries for, at least one, without their headers.
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

/* Of a unix socket: the next frame would fail too. */
static bool peer_is_gone(int err)
{
	return err == ECONNREFUSED || err == ENOTCONN || err == ECONNRESET ||
	       err == ENOENT || err == EPIPE || err == EDESTADDRREQ;
}

/* Return: frames that were accepted; 0: try later. */
static unsigned int send_some(struct dgram_port *e, const struct frame *frames,
			      unsigned int n)
{
	struct qemu_dgram *d = e->d;
	unsigned int batch = 0;
	int ret;

	/* For QEMU an empty datagram ends the connection. */
	while (batch < n &&
	       frames[batch].len >= e->port.hdr_len + NETPORT_ETH_MIN)
		batch++;
	if (!batch)
		return (unsigned int)port_drop(&e->port, frames, 1);
	batch = dgram_msgs_set(e, frames, batch);
	ret = sendmmsg(e->port.fd, e->msgs, batch, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (ret > 0)
		return (unsigned int)ret;
	if (try_later(errno))
		return 0;
	if (netaddr_path(&d->remote) && peer_is_gone(errno)) {
		/* Another process may have bound the name. */
		d->connected = false;
		if (is_connected(d))
			return send_some(e, frames, n);
		return (unsigned int)port_drop(&e->port, frames, n);
	}
	return (unsigned int)port_drop(&e->port, frames, 1);
}

static int dgram_send(struct netport *port, const struct frame *frames,
		      unsigned int n)
{
	struct dgram_port *e = to_dgram_port(port);
	unsigned int done = 0;

	if (!n)
		return -EAGAIN;
	if (!is_connected(e->d))
		return port_drop(port, frames, n);
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

	/* An error of the peer, reported once: frames may wait behind it. */
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
	.close = port_free,
};

/* ---- both ---- */

static int dgram_open(struct netif *s, unsigned int pair, enum netif_dir dir,
		      struct netport **out)
{
	struct qemu_dgram *d = to_dgram(s);
	int fd = fcntl(dir == NETIF_RX ? d->in.fd : d->out, F_DUPFD_CLOEXEC, 0);
	struct dgram_port *e;

	(void)pair;
	if (fd < 0)
		return -errno;
	e = port_new(sizeof(*e), &ops, fd);
	if (!e) {
		close(fd);
		return -ENOMEM;
	}
	e->d = d;
	*out = &e->port;
	return 0;
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

static int open_sockets(struct qemu_dgram *d, const struct qemu_config *c)
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

static void dgram_free(struct netif *s)
{
	struct qemu_dgram *d = to_dgram(s);

	if (d->out != d->in.fd && d->out >= 0)
		close(d->out);
	unix_listener_close(&d->in);
	free(d);
}

int qemu_dgram_new(const struct qemu_config *config, struct netif **out)
{
	static const struct netif_ops netif_ops = {
		.open = dgram_open,
		.free = dgram_free,
	};
	struct qemu_dgram *d = calloc(1, sizeof(*d));
	int ret;

	if (!d)
		return -ENOMEM;
	d->netif.ops = &netif_ops;
	d->in.fd = d->out = -1;
	ret = open_sockets(d, config);
	if (ret < 0)
		dgram_free(&d->netif);
	else
		*out = &d->netif;
	return ret;
}
