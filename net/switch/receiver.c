/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * receiver.c is the port from which a device receives the frames of a queue. It
 * copies them out of the inbox, or lends them where they are. It runs on the
 * device's thread and takes no lock to read the inbox.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_net.h>

#include "bytes.h"
#include "network_priv.h"
#include "portutil.h"
#include "slot.h"

struct receiver {
	struct netport port;
	struct queue *queue;
	struct inbox *box;
};

static struct receiver *to_receiver(struct netport *port)
{
	return container_of(port, struct receiver, port);
}

/* @from: SLOT_HDR bytes of header, then the frame. A device with a shorter
 * header gets no num_buffers. */
static void give(struct frame *f, unsigned int hdr_len, const uint8_t *from,
		 uint32_t len)
{
	frame_store(f, MIN(hdr_len, SLOT_HDR), from, from + SLOT_HDR,
		    len - SLOT_HDR);
}

/* Such a frame is refused if the device has no headers. */
static bool needs_header(const uint8_t *from)
{
	struct virtio_net_hdr hdr;

	memcpy(&hdr, from, sizeof(hdr));
	return hdr.flags || hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE;
}

static unsigned int take(struct receiver *r, struct frame *frames,
			 unsigned int n)
{
	struct inbox_cursor c = inbox_begin(r->box);
	unsigned int done = 0, refused = 0;
	uint64_t bytes = 0;
	const uint8_t *from;
	uint32_t len;

	while (done < n && (from = inbox_next(r->box, &c, &len))) {
		struct iovec iov = { (void *)from, len };
		struct frame whole = { &iov, 1, len, false };

		if (unlikely(!r->port.hdr_len && needs_header(from))) {
			queue_capture(r->queue, &whole, 1,
				      network_drop_name(DROP_REFUSED));
			refused++;
			continue;
		}
		give(&frames[done++], r->port.hdr_len, from, len);
		queue_capture(r->queue, &whole, 1, NULL);
		bytes += len - SLOT_HDR;
	}
	if (!done && !refused)
		return 0;
	inbox_take(r->box, &c);
	queue_received(r->queue, done, bytes);
	count_add(&r->queue->member->count.drop_out[DROP_REFUSED], refused);
	return done;
}

static void wake_senders(struct receiver *r)
{
	if (unlikely(inbox_roomy(r->box)))
		waiters_wake(r->queue->member->network, r->box);
}

static int receiver_recv(struct netport *port, struct frame *frames,
			 unsigned int n)
{
	struct receiver *r = to_receiver(port);
	unsigned int done = take(r, frames, n);

	if (!done && n && inbox_sleep(r->box))
		done = take(r, frames, n);
	wake_senders(r);
	return done ? (int)done : -EAGAIN;
}

static unsigned int peek(const struct receiver *r, struct iovec *frames,
			 unsigned int n)
{
	struct inbox_cursor c = inbox_begin(r->box);
	unsigned int found = 0;
	const uint8_t *p;
	uint32_t len;

	while (found < n && (p = inbox_next(r->box, &c, &len)))
		frames[found++] = (struct iovec){ (void *)p, len };
	return found;
}

static int receiver_borrow(struct netport *port, struct iovec *frames,
			   unsigned int n)
{
	struct receiver *r = to_receiver(port);
	unsigned int found;

	if (port->hdr_len != SLOT_HDR)
		return -EOPNOTSUPP;
	found = peek(r, frames, n);
	if (found)
		return (int)found;
	if (n && inbox_sleep(r->box))
		found = peek(r, frames, n);
	wake_senders(r);
	return found ? (int)found : -EAGAIN;
}

static bool receiver_has_frames(struct netport *port)
{
	const struct receiver *r = to_receiver(port);

	return !inbox_empty(r->box) || inbox_sleep(r->box);
}

/* The device has written num_buffers: it is 0 in captures. */
static void capture_released(const struct queue *q, uint8_t *p, uint32_t len)
{
	struct iovec iov = { p, len };
	struct frame f = { &iov, 1, len, false };

	memset(p + sizeof(struct virtio_net_hdr), 0,
	       SLOT_HDR - sizeof(struct virtio_net_hdr));
	queue_capture(q, &f, 1, NULL);
}

static void receiver_release(struct netport *port, unsigned int n)
{
	struct receiver *r = to_receiver(port);
	struct inbox_cursor c = inbox_begin(r->box);
	unsigned int done = 0;
	uint64_t bytes = 0;
	const uint8_t *p;
	uint32_t len;

	while (done < n && (p = inbox_next(r->box, &c, &len))) {
		if (unlikely(r->queue->member->config.capture))
			capture_released(r->queue, (uint8_t *)p, len);
		bytes += len - SLOT_HDR;
		done++;
	}
	inbox_take(r->box, &c);
	queue_received(r->queue, done, bytes);
	wake_senders(r);
}

static void receiver_close(struct netport *port)
{
	struct receiver *r = to_receiver(port);

	queue_detach(r->queue);
	queue_drop_rest(r->queue, r->box);
	free(r);
}

static const struct netport_ops receiver_ops = {
	.name = "network",
	.send = port_send_drops,
	.recv = receiver_recv,
	.borrow = receiver_borrow,
	.release = receiver_release,
	.has_frames = receiver_has_frames,
	.close = receiver_close,
};

int netmember_open(struct netmember *m, unsigned int queue, struct netport **rx,
		   struct netport **tx)
{
	struct receiver *r;
	int ret;

	if (queue >= m->nqueues)
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->queue = &m->queue[queue];
	r->port.ops = &receiver_ops;
	r->port.hdr_len = SLOT_HDR;
	ret = queue_open(r->queue, NULL, &r->box, tx);
	if (ret < 0) {
		free(r);
		return ret;
	}
	r->port.fd = r->box->fd;
	*rx = &r->port;
	return 0;
}
