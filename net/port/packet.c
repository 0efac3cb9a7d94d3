/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * packet.c sends and receives the frames of AF_PACKET SOCK_RAW sockets, up to
 * 64 frames a call.
 *
 * sendmmsg(2) returns an error only for its first message; an error further on
 * ends the call early and comes back when that message is first. recvmmsg(2)
 * likewise, but the kernel keeps the error in the socket and the next call of
 * either kind returns it, once.
 *
 * The kernel removes a received VLAN tag, and only PACKET_AUXDATA returns it.
 * That option belongs to the socket, so it is not set where a VMM passed the
 * socket: there the frame arrives untagged (the kernel's vhost loses it). On
 * sockets that the daemon made the tag is put back.
 */
#include "netport.h"

#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>

#include "abi.h"
#include "bytes.h"
#include "port_priv.h"

#define BATCH 64
#define IOVS 2048
#define SOCK_HDR sizeof(struct virtio_net_hdr) /* PACKET_VNET_HDR */
#define TAG_LEN 4
#define TAG_AT (2 * ETH_ALEN)

/**
 * struct packet_own - state of a port on a socket that the daemon made
 * @hdr_len: bytes of the socket's header: SOCK_HDR, or 0
 * @guest_offloads: see packet_own_port_new(); NULL: the port only sends
 * @iov:     the frames, with the socket's header in place of the port's
 * @spare:   a header where the port has none
 * @control: for PACKET_AUXDATA
 */
struct packet_own {
	size_t hdr_len;
	const uint64_t *guest_offloads;
	struct iovec iov[IOVS];
	struct virtio_net_hdr spare;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	} control[BATCH];
};

/**
 * struct packet - a packet socket
 * @msgs: for one call; zero except the iov, and what recvmmsg writes
 * @sock_hdr: bytes of virtio_net_hdr of the socket, read again while they
 * differ from port.hdr_len
 * @own:  NULL: a VMM passed the socket
 */
struct packet {
	struct netport port;
	struct mmsghdr msgs[BATCH];
	unsigned int sock_hdr;
	struct packet_own *own;
};

static struct packet *to_packet(struct netport *port)
{
	return container_of(port, struct packet, port);
}

/* The socket's header and the frame; at most two entries more than @f has. */
static unsigned int own_iov(struct packet *p, const struct frame *f,
			    struct iovec *to)
{
	unsigned int n;

	if (!p->own->hdr_len)
		return iov_from(f->iov, f->iovcnt, p->port.hdr_len, to);
	if (p->port.hdr_len < SOCK_HDR) {
		to[0] = (struct iovec){ &p->own->spare, SOCK_HDR };
		return 1 + iov_from(f->iov, f->iovcnt, p->port.hdr_len, to + 1);
	}
	n = iov_slice(f->iov, f->iovcnt, 0, SOCK_HDR, to);
	return n + iov_from(f->iov, f->iovcnt, p->port.hdr_len, to + n);
}

static unsigned int own_set(struct packet *p, const struct frame *frames,
			    unsigned int n)
{
	unsigned int used = 0, i;

	for (i = 0; i < n && used + frames[i].iovcnt + 2 <= IOVS; i++) {
		struct msghdr *m = &p->msgs[i].msg_hdr;

		m->msg_iov = p->own->iov + used;
		m->msg_iovlen = own_iov(p, &frames[i], m->msg_iov);
		used += (unsigned int)m->msg_iovlen;
	}
	p->own->spare = (struct virtio_net_hdr){ 0 };
	return i;
}

static unsigned int packet_msgs_set(struct packet *p,
				    const struct frame *frames, unsigned int n)
{
	n = MIN(n, BATCH);
	if (p->own)
		return own_set(p, frames, n);
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
		unsigned int batch =
			packet_msgs_set(p, frames + done, n - done);
		int ret = sendmmsg(port->fd, p->msgs, batch,
				   MSG_DONTWAIT | MSG_NOSIGNAL);

		if (ret > 0) {
			done += (unsigned int)ret;
			continue;
		}
		if (try_later(errno))
			break;
		done += (unsigned int)port_drop(port, &frames[done], 1);
	}
	return done ? (int)done : -EAGAIN;
}

/* ---- receiving on a socket that the daemon made ---- */

/* Moves the bytes from @at on by @len; bytes for which @f has no space are
 * lost. */
static void make_hole(struct frame *f, size_t at, size_t len)
{
	uint8_t buf[2048];

	for (size_t end = f->len; end > at;) {
		size_t part = MIN(end - at, sizeof(buf));

		end -= part;
		iov_get(f->iov, f->iovcnt, end, buf, part);
		iov_put(f->iov, f->iovcnt, end + len, buf, part);
	}
	f->len = (uint32_t)MIN(f->len + len, frame_space(f));
}

static bool find_tag(struct msghdr *m, uint8_t tag[TAG_LEN])
{
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		struct tpacket_auxdata aux;
		uint16_t part;

		if (c->cmsg_level != SOL_PACKET ||
		    c->cmsg_type != PACKET_AUXDATA)
			continue;
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		if (!(aux.tp_status & TP_STATUS_VLAN_VALID))
			return false;
		part = htobe16(aux.tp_status & TP_STATUS_VLAN_TPID_VALID
				       ? aux.tp_vlan_tpid
				       : ETH_P_8021Q);
		memcpy(tag, &part, sizeof(part));
		part = htobe16(aux.tp_vlan_tci);
		memcpy(tag + sizeof(part), &part, sizeof(part));
		return true;
	}
	return false;
}

static void put_tag(struct packet *p, struct frame *f, struct msghdr *m,
		    struct virtio_net_hdr *hdr)
{
	size_t at = p->port.hdr_len + TAG_AT;
	uint8_t tag[TAG_LEN];

	if (f->len < at || !find_tag(m, tag))
		return;
	if (f->len + TAG_LEN > frame_space(f))
		f->trunc = true;
	make_hole(f, at, TAG_LEN);
	iov_put(f->iov, f->iovcnt, at, tag, TAG_LEN);
	if (hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		hdr->csum_start += TAG_LEN;
	if (hdr->gso_type)
		hdr->hdr_len += TAG_LEN;
}

static bool accepts_gso(uint8_t type, uint64_t guest_offloads)
{
	if (type & VIRTIO_NET_HDR_GSO_ECN &&
	    !(guest_offloads & BIT(VIRTIO_NET_F_GUEST_ECN)))
		return false;
	switch (type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return true;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return guest_offloads & BIT(VIRTIO_NET_F_GUEST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return guest_offloads & BIT(VIRTIO_NET_F_GUEST_TSO6);
	default:
		return false;
	}
}

/* Whether the receiver accepts what the kernel left undone. */
static bool accepts_frame(struct virtio_net_hdr *hdr, uint64_t guest_offloads)
{
	if (guest_offloads & BIT(VIRTIO_NET_F_GUEST_CSUM))
		return accepts_gso(hdr->gso_type, guest_offloads);
	hdr->flags &= (uint8_t)~VIRTIO_NET_HDR_F_DATA_VALID;
	return !hdr->flags && !hdr->gso_type;
}

static void own_finish(struct packet *p, struct frame *f, struct mmsghdr *m)
{
	uint64_t guest_offloads =
		__atomic_load_n(p->own->guest_offloads, __ATOMIC_RELAXED);
	unsigned int hdr_len = p->port.hdr_len;
	struct virtio_net_hdr hdr = { 0 };

	f->trunc = m->msg_hdr.msg_flags & MSG_TRUNC;
	f->len = 0;
	if (m->msg_len < SOCK_HDR || frame_space(f) < hdr_len) {
		f->trunc = true;
		return;
	}
	f->len = hdr_len + m->msg_len - (uint32_t)SOCK_HDR;
	if (hdr_len < SOCK_HDR) {
		put_tag(p, f, &m->msg_hdr, &hdr);
		return;
	}
	iov_get(f->iov, f->iovcnt, 0, &hdr, sizeof(hdr));
	put_tag(p, f, &m->msg_hdr, &hdr);
	if (!accepts_frame(&hdr, guest_offloads)) {
		f->len = 0;
		f->trunc = true;
		return;
	}
	iov_put(f->iov, f->iovcnt, 0, &hdr, sizeof(hdr));
	iov_put(f->iov, f->iovcnt, sizeof(hdr), NULL, hdr_len - sizeof(hdr));
}

static void set_control_buffers(struct packet *p, unsigned int batch)
{
	for (unsigned int i = 0; p->own && i < batch; i++) {
		p->msgs[i].msg_hdr.msg_control = p->own->control[i].bytes;
		p->msgs[i].msg_hdr.msg_controllen =
			sizeof(p->own->control[i].bytes);
	}
}

/* ENETDOWN reports a change of the link, once: frames may be waiting behind it.
 */
static int packet_recv_batch(struct packet *p, unsigned int batch)
{
	int ret;

	set_control_buffers(p, batch);
	ret = recvmmsg(p->port.fd, p->msgs, batch, MSG_DONTWAIT, NULL);

	if (ret < 0 && errno == ENETDOWN)
		ret = recvmmsg(p->port.fd, p->msgs, batch, MSG_DONTWAIT, NULL);
	return ret < 0 ? -errno : ret;
}

/* A socket that does not answer (a test's) has the length of the device. */
static unsigned int ask_sock_hdr(const struct packet *p)
{
	int value = 0;
	socklen_t len = sizeof(value);

	if (getsockopt(p->port.fd, SOL_PACKET, PACKET_VNET_HDR_SZ, &value,
		       &len) == 0)
		return (unsigned int)value;
	if (getsockopt(p->port.fd, SOL_PACKET, PACKET_VNET_HDR, &value, &len) <
	    0)
		return p->port.hdr_len;
	return value ? SOCK_HDR : 0;
}

/* As the kernel's vhost-net, which expects another length and loses the frame.
 */
static void lose_other_hdr(struct packet *p, struct frame *frames,
			   unsigned int n)
{
	if (likely(p->own || p->sock_hdr == p->port.hdr_len))
		return;
	for (unsigned int i = 0; i < n; i++) {
		frames[i].len = 0;
		frames[i].trunc = true;
	}
}

static int packet_recv(struct netport *port, struct frame *frames,
		       unsigned int n)
{
	struct packet *p = to_packet(port);
	unsigned int done = 0, batch;
	int ret;

	if (unlikely(!p->own && p->sock_hdr != port->hdr_len))
		p->sock_hdr = ask_sock_hdr(p);
	do {
		struct frame *f = frames + done;

		batch = packet_msgs_set(p, f, n - done);
		ret = packet_recv_batch(p, batch);
		if (ret < 0 && frame_lost(-ret)) {
			f[0].len = 0;
			f[0].trunc = true;
			done++;
			continue;
		}
		for (int i = 0; i < ret; i++) {
			if (p->own) {
				own_finish(p, &f[i], &p->msgs[i]);
				continue;
			}
			f[i].len = p->msgs[i].msg_len;
			f[i].trunc = p->msgs[i].msg_hdr.msg_flags & MSG_TRUNC;
		}
		if (ret > 0)
			done += (unsigned int)ret;
		if (ret != (int)batch)
			break;
	} while (done < n);

	lose_other_hdr(p, frames, done);
	if (done)
		return (int)done;
	return try_later(-ret) || ret == -ENETDOWN ? -EAGAIN : ret;
}

static void packet_close(struct netport *port)
{
	free(to_packet(port)->own);
	port_free(port);
}

static const struct netport_ops packet_ops = {
	.name = "packet",
	.send = packet_send,
	.recv = packet_recv,
	.has_frames = port_polls_in,
	.close = packet_close,
};

int packet_port_new(int fd, struct netport **out)
{
	struct packet *p = port_new(sizeof(*p), &packet_ops, fd);

	if (!p)
		return -ENOMEM;
	p->sock_hdr = UINT_MAX;
	*out = &p->port;
	return 0;
}

static int own_port_new(int fd, size_t hdr_len, const uint64_t *guest_offloads,
			struct netport **out)
{
	struct packet_own *own = calloc(1, sizeof(*own));
	int ret;

	if (!own)
		return -ENOMEM;
	own->hdr_len = hdr_len;
	own->guest_offloads = guest_offloads;
	ret = packet_port_new(fd, out);
	if (ret < 0)
		free(own);
	else
		container_of(*out, struct packet, port)->own = own;
	return ret;
}

int packet_own_port_new(int fd, const uint64_t *guest_offloads,
			struct netport **out)
{
	return own_port_new(fd, SOCK_HDR, guest_offloads, out);
}

int packet_tx_port_new(int fd, struct netport **out)
{
	static const struct netport_ops ops = {
		.name = "packet",
		.send = packet_send,
		.recv = port_recv_none,
		.close = packet_close,
	};
	int ret = own_port_new(fd, 0, NULL, out);

	if (ret == 0)
		(*out)->ops = &ops;
	return ret;
}
