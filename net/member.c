/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ends of a member's queues. Frames for a queue lie in its inbox; the
 * receiving end, or a sink, takes them out.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_net.h>

#include "bytes.h"
#include "network_priv.h"
#include "port_priv.h"

#define HDR sizeof(struct virtio_net_hdr_mrg_rxbuf)

/* ---- which queues run ---- */

/* Holding the network's lock for writing. */
static void choose_active(struct netmember *m)
{
	m->nactive = 0;
	for (unsigned int i = 0; i < m->nqueues; i++)
		if (m->queue[i].box && m->queue[i].enabled)
			m->active[m->nactive++] = (uint16_t)i;
}

void netmember_enable(struct netmember *m, unsigned int queue, bool on)
{
	if (queue >= m->nqueues)
		return;
	pthread_rwlock_wrlock(&m->network->lock);
	m->queue[queue].enabled = on;
	choose_active(m);
	pthread_rwlock_unlock(&m->network->lock);
	waiters_wake(m->network, NULL);
}

/* 0 or -EBUSY */
static int attach(struct queue *q, struct inbox *box, struct sink *sink)
{
	struct network *n = q->member->network;
	int ret = -EBUSY;

	pthread_rwlock_wrlock(&n->lock);
	if (!q->box && !q->tx_open) {
		q->box = box;
		q->sink = sink;
		q->tx_open = true;
		choose_active(q->member);
		ret = 0;
	}
	pthread_rwlock_unlock(&n->lock);
	return ret;
}

/* Nobody puts anything into it afterwards. */
static void detach(struct queue *q)
{
	struct network *n = q->member->network;

	pthread_rwlock_wrlock(&n->lock);
	q->box = NULL;
	q->sink = NULL;
	choose_active(q->member);
	pthread_rwlock_unlock(&n->lock);
	waiters_wake(n, NULL);
}

void queue_tx_closed(struct queue *q)
{
	struct network *n = q->member->network;

	pthread_rwlock_wrlock(&n->lock);
	q->tx_open = false;
	pthread_rwlock_unlock(&n->lock);
}

/* What is left in the inbox of a queue that ends. */
static void drop_rest(struct queue *q, struct inbox *box)
{
	struct inbox_cursor c = inbox_begin(box);
	uint64_t rest = 0;
	uint32_t len;

	while (inbox_next(box, &c, &len))
		rest++;
	count_add(&q->member->count.drop_out[DROP_NO_QUEUE], rest);
	inbox_free(box);
}

static void capture_out(const struct queue *q, const struct frame *frames,
			unsigned int n, const char *reason)
{
	const struct netmember_config *c = &q->member->config;

	if (unlikely(c->capture))
		capture_frames(c->capture, c->capture_if, CAPTURE_OUT, frames,
			       n, HDR, reason);
}

static void count_received(struct queue *q, uint64_t frames, uint64_t bytes)
{
	count_own(&q->received, frames);
	count_own(&q->received_bytes, bytes);
}

/* ---- the receiving end ---- */

struct receiver {
	struct netport port;
	struct queue *queue;
	struct inbox *box;
};

static struct receiver *to_receiver(struct netport *port)
{
	return container_of(port, struct receiver, port);
}

/* @from: HDR bytes and the frame */
static void give(struct frame *f, unsigned int hdr_len, const uint8_t *from,
		 uint32_t len)
{
	unsigned int cut = hdr_len < HDR ? hdr_len : (unsigned int)HDR;
	/* Two pieces only if num_buffers is left out. */
	struct {
		const uint8_t *p;
		size_t n;
	} piece[2] = { { from, cut }, { from + HDR, len - HDR } };
	size_t room = 0, need = cut + len - HDR;
	unsigned int i = 0;
	size_t off = 0;

	for (unsigned int k = 0; k < 2; k++) {
		while (piece[k].n && i < f->iovcnt) {
			size_t n = MIN(piece[k].n, f->iov[i].iov_len - off);

			memcpy((uint8_t *)f->iov[i].iov_base + off, piece[k].p,
			       n);
			piece[k].p += n;
			piece[k].n -= n;
			off += n;
			room += n;
			if (off == f->iov[i].iov_len) {
				off = 0;
				i++;
			}
		}
	}
	f->len = room < cut ? 0 : (uint32_t)room;
	f->trunc = room < need;
}

/* A device without headers gets only what needs none. */
static bool wants_header(const uint8_t *from)
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

		if (unlikely(!r->port.hdr_len && wants_header(from))) {
			capture_out(r->queue, &whole, 1,
				    network_drop_name(DROP_REFUSED));
			refused++;
			continue;
		}
		give(&frames[done++], r->port.hdr_len, from, len);
		capture_out(r->queue, &whole, 1, NULL);
		bytes += len - HDR;
	}
	if (!done && !refused)
		return 0;
	inbox_take(r->box, &c);
	count_received(r->queue, done, bytes);
	count_add(&r->queue->member->count.drop_out[DROP_REFUSED], refused);
	return done;
}

static void tell_if_roomy(struct receiver *r)
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
	tell_if_roomy(r);
	return done ? (int)done : -EAGAIN;
}

static unsigned int look(const struct receiver *r, struct iovec *frames,
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

	if (port->hdr_len != HDR)
		return -EOPNOTSUPP;
	found = look(r, frames, n);
	if (found)
		return (int)found;
	if (n && inbox_sleep(r->box))
		found = look(r, frames, n);
	tell_if_roomy(r);
	return found ? (int)found : -EAGAIN;
}

static bool receiver_has_frames(struct netport *port)
{
	const struct receiver *r = to_receiver(port);

	return !inbox_empty(r->box) || inbox_sleep(r->box);
}

/* As it was before it was borrowed: num_buffers is the borrower's. */
static void capture_released(const struct queue *q, uint8_t *p, uint32_t len)
{
	struct iovec iov = { p, len };
	struct frame f = { &iov, 1, len, false };

	memset(p + sizeof(struct virtio_net_hdr), 0,
	       HDR - sizeof(struct virtio_net_hdr));
	capture_out(q, &f, 1, NULL);
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
		bytes += len - HDR;
		done++;
	}
	inbox_take(r->box, &c);
	count_received(r->queue, done, bytes);
	tell_if_roomy(r);
}

static void receiver_close(struct netport *port)
{
	struct receiver *r = to_receiver(port);

	detach(r->queue);
	drop_rest(r->queue, r->box);
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

/* The box of a queue, and its other end; @sink: NULL, or what empties it. */
static int open_ends(struct queue *q, struct sink *sink, struct inbox **box,
		     struct netport **tx)
{
	int ret = inbox_new(box);

	if (ret < 0)
		return ret;
	ret = sender_new(q, tx);
	if (ret < 0)
		goto err_box;
	ret = attach(q, *box, sink);
	if (ret < 0)
		goto err_sender;
	return 0;

err_sender:
	sender_discard(*tx);
err_box:
	inbox_free(*box);
	return ret;
}

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
	r->port.hdr_len = HDR;
	ret = open_ends(r->queue, NULL, &r->box, tx);
	if (ret < 0) {
		free(r);
		return ret;
	}
	r->port.fd = r->box->fd;
	*rx = &r->port;
	return 0;
}

/* ---- sinks ---- */

int netmember_open_sink(struct netmember *m, unsigned int queue,
			struct netport *port, struct sink **sink,
			struct netport **tx)
{
	struct sink *s;
	int ret;

	if (queue >= m->nqueues)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->unused, NULL);
	s->queue = &m->queue[queue];
	s->port = port;
	ret = open_ends(s->queue, s, &s->box, tx);
	if (ret < 0) {
		pthread_cond_destroy(&s->unused);
		pthread_mutex_destroy(&s->lock);
		free(s);
		return ret;
	}
	*sink = s;
	return 0;
}

void sink_put(struct sink *s)
{
	if (__atomic_sub_fetch(&s->refs, 1, __ATOMIC_RELAXED) == 0)
		pthread_cond_broadcast(&s->unused);
}

void sink_close(struct sink *s)
{
	detach(s->queue);
	pthread_mutex_lock(&s->lock);
	while (__atomic_load_n(&s->refs, __ATOMIC_RELAXED))
		pthread_cond_wait(&s->unused, &s->lock);
	pthread_mutex_unlock(&s->lock);
	/* One of them may have begun to wait for this inbox. */
	waiters_wake(s->queue->member->network, NULL);
	drop_rest(s->queue, s->box);
	pthread_cond_destroy(&s->unused);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int sink_fd(const struct sink *s)
{
	return s->box->fd;
}

unsigned int sink_send(struct sink *s, const struct frame *frames,
		       unsigned int n)
{
	uint64_t dropped = s->port->tx_dropped;
	unsigned int done = 0;
	uint64_t bytes = 0;

	while (done < n) {
		int ret = s->port->ops->send(s->port, &frames[done], n - done);

		if (ret <= 0)
			break;
		done += (unsigned int)ret;
	}
	if (!done)
		return 0;
	capture_out(s->queue, frames, done, NULL);
	for (unsigned int i = 0; i < done; i++)
		bytes += frames[i].len - HDR;
	dropped = s->port->tx_dropped - dropped;
	count_received(s->queue, done - dropped, bytes);
	count_add(&s->queue->member->count.drop_out[DROP_REFUSED], dropped);
	return done;
}

/* Up to a batch of what waits; those that the port took. -1: there is none. */
static int send_waiting(struct sink *s, unsigned int max)
{
	struct frame frames[SINK_BATCH];
	struct iovec iov[SINK_BATCH];
	struct inbox_cursor c = inbox_begin(s->box), taken = c;
	unsigned int n = 0, done;
	const uint8_t *from;
	uint32_t len;

	max = MIN(max, SINK_BATCH);
	while (n < max && (from = inbox_next(s->box, &c, &len))) {
		iov[n] = (struct iovec){ (void *)from, len };
		frames[n] = (struct frame){ &iov[n], 1, len, false };
		n++;
	}
	if (!n)
		return -1;
	done = sink_send(s, frames, n);
	for (unsigned int i = 0; i < done; i++)
		inbox_next(s->box, &taken, &len);
	inbox_take(s->box, &taken);
	return (int)done;
}

int sink_run(struct sink *s, unsigned int max)
{
	unsigned int done = 0;
	int ret = 1;

	pthread_mutex_lock(&s->lock);
	while (done < max && ret > 0) {
		ret = send_waiting(s, max - done);
		if (ret < 0 && inbox_sleep(s->box))
			ret = send_waiting(s, max - done);
		done += (unsigned int)MAX(ret, 0);
	}
	pthread_mutex_unlock(&s->lock);
	if (inbox_roomy(s->box))
		waiters_wake(s->queue->member->network, s->box);
	if (done)
		return (int)done;
	return ret < 0 ? 0 : -EAGAIN;
}
