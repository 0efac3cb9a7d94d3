/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * AF_PACKET SOCK_RAW sockets: up to 64 frames a call.
 *
 * sendmmsg(2) returns an error only for its first message; an error further on
 * ends the call early and comes back when that message is first. recvmmsg(2)
 * likewise, but the kernel keeps the error in the socket and the next call of
 * either kind returns it, once.
 *
 * Missing: the kernel strips a received VLAN tag, and only PACKET_AUXDATA, an
 * option of the shared socket and so not ours to set, would give it back. The
 * frame arrives untagged; the kernel's vhost loses it altogether.
 */
#include "netport.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "port_priv.h"

#define BATCH 64

/**
 * struct packet - a packet socket
 * @msgs: for one call; all zero but the iov, and what recvmmsg leaves behind
 */
struct packet {
	struct netport port;
	struct mmsghdr msgs[BATCH];
};

static struct packet *to_packet(struct netport *port)
{
	return container_of(port, struct packet, port);
}

static unsigned int msgs_set(struct packet *p, const struct frame *frames,
			     unsigned int n)
{
	n = MIN(n, BATCH);
	for (unsigned int i = 0; i < n; i++) {
		p->msgs[i].msg_hdr.msg_iov = frames[i].iov;
		p->msgs[i].msg_hdr.msg_iovlen = frames[i].iovcnt;
	}
	return n;
}

static int packet_send(struct netport *port, const struct frame *frames,
		       unsigned int n)
{
	struct packet *p = to_packet(port);
	unsigned int done = 0;

	while (done < n) {
		unsigned int batch = msgs_set(p, frames + done, n - done);
		int ret = sendmmsg(port->fd, p->msgs, batch,
				   MSG_DONTWAIT | MSG_NOSIGNAL);

		if (ret > 0) {
			done += (unsigned int)ret;
			continue;
		}
		if (try_later(errno))
			break;
		port->tx_dropped++;
		done++;
	}
	return done ? (int)done : -EAGAIN;
}

/* ENETDOWN is news of the link, told once: frames may be waiting behind it. */
static int recv_batch(struct packet *p, unsigned int batch)
{
	int ret = recvmmsg(p->port.fd, p->msgs, batch, MSG_DONTWAIT, NULL);

	if (ret < 0 && errno == ENETDOWN)
		ret = recvmmsg(p->port.fd, p->msgs, batch, MSG_DONTWAIT, NULL);
	return ret < 0 ? -errno : ret;
}

static int packet_recv(struct netport *port, struct frame *frames,
		       unsigned int n)
{
	struct packet *p = to_packet(port);
	unsigned int done = 0, batch;
	int ret;

	do {
		struct frame *f = frames + done;

		batch = msgs_set(p, f, n - done);
		ret = recv_batch(p, batch);
		if (ret < 0 && frame_lost(-ret)) {
			f[0].len = 0;
			f[0].trunc = true;
			done++;
			continue;
		}
		for (int i = 0; i < ret; i++) {
			f[i].len = p->msgs[i].msg_len;
			f[i].trunc = p->msgs[i].msg_hdr.msg_flags & MSG_TRUNC;
		}
		if (ret > 0)
			done += (unsigned int)ret;
		if (ret != (int)batch)
			break;
	} while (done < n);

	if (done)
		return (int)done;
	return try_later(-ret) || ret == -ENETDOWN ? -EAGAIN : ret;
}

static void packet_close(struct netport *port)
{
	close(port->fd);
	free(to_packet(port));
}

static const struct netport_ops packet_ops = {
	.name = "packet",
	.send = packet_send,
	.recv = packet_recv,
	.close = packet_close,
};

int packet_port_new(int fd, struct netport **out)
{
	struct packet *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->port.ops = &packet_ops;
	p->port.fd = fd;
	*out = &p->port;
	return 0;
}
