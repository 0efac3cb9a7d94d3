/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * port_rx.c is the port from which a device receives the packets of a queue. It
 * copies them out of the rxq, or lets the device read them in the rxq
 * (borrow()). It runs on the device's thread and reads the rxq without a lock.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_net.h>

#include "bytes.h"
#include "network_priv.h"
#include "portutil.h"
#include "pkt.h"

struct port_rx {
	struct netport port;
	struct queue *queue;
	struct rxq *rxq;
};

static struct port_rx *to_port_rx(struct netport *port)
{
	return container_of(port, struct port_rx, port);
}

/* @from: PKT_HDR bytes of header, then the frame. A shorter header has no
 * num_buffers. */
static void store(struct frame *f, unsigned int hdr_len, const uint8_t *from,
		  uint32_t len)
{
	frame_store(f, MIN(hdr_len, PKT_HDR), from, from + PKT_HDR,
		    len - PKT_HDR);
}

/* A frame that needs its header is dropped if the device has none. */
static bool needs_header(const uint8_t *from)
{
	struct virtio_net_hdr hdr;

	memcpy(&hdr, from, sizeof(hdr));
	return hdr.flags || hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE;
}

/* Copies up to @n packets out of the rxq, and releases them. */
static unsigned int copy_out(struct port_rx *r, struct frame *frames,
			     unsigned int n)
{
	struct rxq_cursor c = rxq_begin(r->rxq);
	unsigned int done = 0, refused = 0;
	uint64_t bytes = 0;
	const uint8_t *from;
	uint32_t len;

	while (done < n && (from = rxq_next(r->rxq, &c, &len))) {
		struct iovec iov = { (void *)from, len };
		struct frame whole = { &iov, 1, len, false };

		if (unlikely(!r->port.hdr_len && needs_header(from))) {
			queue_capture(r->queue, &whole, 1,
				      network_drop_name(DROP_REFUSED));
			refused++;
			continue;
		}
		store(&frames[done++], r->port.hdr_len, from, len);
		queue_capture(r->queue, &whole, 1, NULL);
		bytes += len - PKT_HDR;
	}
	if (!done && !refused)
		return 0;
	rxq_release(r->rxq, &c);
	queue_received(r->queue, done, bytes);
	count_add(&r->queue->swport->count.drop_out[DROP_REFUSED], refused);
	return done;
}

static void wake_senders(struct port_rx *r)
{
	if (unlikely(rxq_wakes_producers(r->rxq)))
		waiters_wake(r->queue->swport->network, r->rxq);
}

static int port_rx_recv(struct netport *port, struct frame *frames,
			unsigned int n)
{
	struct port_rx *r = to_port_rx(port);
	unsigned int done = copy_out(r, frames, n);

	if (!done && n && rxq_sleep(r->rxq))
		done = copy_out(r, frames, n);
	wake_senders(r);
	return done ? (int)done : -EAGAIN;
}

static unsigned int borrow(const struct port_rx *r, struct iovec *frames,
			   unsigned int n)
{
	struct rxq_cursor c = rxq_begin(r->rxq);
	unsigned int found = 0;
	const uint8_t *p;
	uint32_t len;

	while (found < n && (p = rxq_next(r->rxq, &c, &len)))
		frames[found++] = (struct iovec){ (void *)p, len };
	return found;
}

static int port_rx_borrow(struct netport *port, struct iovec *frames,
			  unsigned int n)
{
	struct port_rx *r = to_port_rx(port);
	unsigned int found;

	if (port->hdr_len != PKT_HDR)
		return -EOPNOTSUPP;
	found = borrow(r, frames, n);
	if (found)
		return (int)found;
	if (n && rxq_sleep(r->rxq))
		found = borrow(r, frames, n);
	wake_senders(r);
	return found ? (int)found : -EAGAIN;
}

static bool port_rx_has_frames(struct netport *port)
{
	const struct port_rx *r = to_port_rx(port);

	return !rxq_empty(r->rxq) || rxq_sleep(r->rxq);
}

/* The device has written num_buffers: it is 0 in captures. */
static void capture_released(const struct queue *q, uint8_t *p, uint32_t len)
{
	struct iovec iov = { p, len };
	struct frame f = { &iov, 1, len, false };

	memset(p + sizeof(struct virtio_net_hdr), 0,
	       PKT_HDR - sizeof(struct virtio_net_hdr));
	queue_capture(q, &f, 1, NULL);
}

static void port_rx_release(struct netport *port, unsigned int n)
{
	struct port_rx *r = to_port_rx(port);
	struct rxq_cursor c = rxq_begin(r->rxq);
	unsigned int done = 0;
	uint64_t bytes = 0;
	const uint8_t *p;
	uint32_t len;

	while (done < n && (p = rxq_next(r->rxq, &c, &len))) {
		if (unlikely(r->queue->swport->config.capture))
			capture_released(r->queue, (uint8_t *)p, len);
		bytes += len - PKT_HDR;
		done++;
	}
	rxq_release(r->rxq, &c);
	queue_received(r->queue, done, bytes);
	wake_senders(r);
}

static void port_rx_close(struct netport *port)
{
	struct port_rx *r = to_port_rx(port);

	queue_detach(r->queue);
	queue_drop_rest(r->queue, r->rxq);
	free(r);
}

static const struct netport_ops port_rx_ops = {
	.name = "network",
	.send = port_send_drops,
	.recv = port_rx_recv,
	.borrow = port_rx_borrow,
	.release = port_rx_release,
	.has_frames = port_rx_has_frames,
	.close = port_rx_close,
};

int swport_open(struct swport *swport, unsigned int queue, struct netport **rx,
		struct netport **tx)
{
	struct port_rx *r;
	int ret;

	if (queue >= swport->nqueues)
		return -EINVAL;
	r = port_new(sizeof(*r), &port_rx_ops, -1);
	if (!r)
		return -ENOMEM;
	r->queue = &swport->queue[queue];
	r->port.hdr_len = PKT_HDR;
	ret = queue_open(r->queue, NULL, &r->rxq, tx);
	if (ret < 0) {
		free(r);
		return ret;
	}
	r->port.fd = r->rxq->fd;
	*rx = &r->port;
	return 0;
}
