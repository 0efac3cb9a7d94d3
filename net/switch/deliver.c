/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * deliver.c completes the offloads that a receiver does not take, and puts the
 * frame into the rxq of one of the receiver's queues. Consecutive frames for
 * an rxq are put under one lock.
 *
 * Frames for direct transmits are deferred until network.lock is released: a
 * system call under it would delay writers, which learn addresses, and behind a
 * writer all senders.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "log.h"
#include "offload.h"
#include "port_tx.h"

/* An eventfd with this counter does not poll as writable. */
#define EVENTFD_FULL UINT64_C(0xfffffffffffffffe)

static uint64_t guest_offloads_of_port(const struct swport *m)
{
	return __atomic_load_n(&m->guest_offloads, __ATOMIC_RELAXED);
}

bool deliver_needs(const struct swport *m, const struct pkt *s)
{
	return !pkt_plain(s) &&
	       offload_needed(pkt_hdr(s), guest_offloads_of_port(m)) !=
		       OFFLOAD_NOTHING;
}

static void drop_out(struct swport *m, const struct pkt *s,
		     enum network_drop why)
{
	const struct swport_config *c = &m->config;

	count_add(&m->count.drop_out[why], 1);
	if (unlikely(c->capture)) {
		struct iovec iov = { s->data, s->len };
		struct frame f = { &iov, 1, s->len, false };

		capture_frames(c->capture, c->capture_if, CAPTURE_OUT, &f, 1,
			       PKT_HDR, network_drop_name(why));
	}
}

/* ---- waiting for space ---- */

static void wait_begin(struct port_tx *t, const struct rxq *rxq)
{
	struct network *n = t->queue->swport->network;
	const uint64_t count = EVENTFD_FULL;

	pthread_mutex_lock(&n->wait_lock);
	if (!t->waiter.rxq) {
		t->waiter.next = n->waiters;
		n->waiters = &t->waiter;
		/* Does not block: the counter is 0. */
		if (write(t->waiter.fd, &count, sizeof(count)) < 0)
			log_err(NULL, "network: eventfd: %s", strerror(errno));
	}
	t->waiter.rxq = rxq;
	pthread_mutex_unlock(&n->wait_lock);
}

/*
 * The rxq of a wire is full, and locked. Return: false if the sender has to
 * wait; true: try again. A member that joins or leaves changes the network and
 * then wakes all waiters: a sender that begins to wait after that sees the
 * change here.
 */
static bool wait_for_rxq(struct port_tx *t, struct rxq *rxq)
{
	struct network *n = t->queue->swport->network;

	wait_begin(t, rxq);
	t->wire = __atomic_load_n(&n->nports, __ATOMIC_SEQ_CST) == 2;
	if (t->wire && !rxq_wait_for_space(rxq))
		return false;
	waiters_wake(n, rxq);
	return true;
}

/* ---- into an rxq ---- */

void deliver_end(struct port_tx *t)
{
	if (t->rxq)
		rxq_unlock(t->rxq);
	t->rxq = NULL;
}

static void lock_rxq(struct port_tx *t, struct rxq *rxq)
{
	if (likely(t->rxq == rxq))
		return;
	deliver_end(t);
	rxq_lock(rxq);
	t->rxq = rxq;
}

static bool push_one(struct rxq *rxq, const struct pkt *s, const uint8_t *data,
		     size_t len, bool tag)
{
	struct pkt_head head;
	struct iovec iov[2];
	size_t total;
	unsigned int n = pkt_pieces(s, data, len, tag, &head, iov, &total);

	return rxq_push(rxq, iov, n, total);
}

/* Puts all segments, or none if they do not fit. */
static bool push_segments(struct rxq *rxq, const struct pkt *s,
			  const struct segment *from, uint32_t n, bool tag)
{
	if (!rxq_fits(rxq, s->segments_sum, s->segment_longest))
		return false;
	for (; n; n--, from = segment_next(from))
		push_one(rxq, s, from->data, from->len, tag);
	return true;
}

/* A frame, or the remaining segments of one. */
struct pkt_part {
	const struct pkt *s;
	const struct segment *segments; /* NULL: the frame itself */
	uint32_t n;
	bool tag;
};

static bool rxq_push_part(struct rxq *rxq, const struct pkt_part *p)
{
	if (p->segments)
		return push_segments(rxq, p->s, p->segments, p->n, p->tag);
	return push_one(rxq, p->s, p->s->data, p->s->len, p->tag);
}

/* Puts into a locked rxq. @wait: the sender may wait, on a wire. Return:
 * false if it has to. */
static bool push_or_wait(struct port_tx *t, struct rxq *rxq, struct swport *m,
			 const struct pkt_part *p, bool wait)
{
	while (!rxq_push_part(rxq, p)) {
		if (!wait || !t->wire) {
			drop_out(m, p->s, DROP_FULL);
			return true;
		}
		if (!wait_for_rxq(t, rxq))
			return false;
	}
	return true;
}

/* ---- offloads ---- */

/* Return: false if the frame is dropped for @m. */
static bool prepare_frame(struct port_tx *t, struct swport *m, unsigned int i,
			  bool *segments)
{
	struct pkt *s = &t->pkt[i];
	enum offload need;

	*segments = false;
	if (unlikely(s->longest > m->mtu)) {
		drop_out(m, s, DROP_TOO_LONG);
		return false;
	}
	if (likely(pkt_plain(s)) && likely(!s->completed))
		return true;
	need = offload_needed(pkt_hdr(s), guest_offloads_of_port(m));
	if (need == OFFLOAD_CHECKSUM) {
		offload_checksum(pkt_hdr(s), pkt_frame(s), s->len - PKT_HDR);
		s->completed = true;
	}
	if (s->completed &&
	    !(guest_offloads_of_port(m) & BIT(VIRTIO_NET_F_GUEST_CSUM)))
		count_add(&m->count.checksummed, 1);
	if (need != OFFLOAD_SEGMENT)
		return true;
	if (t->arena_pkt != (int)i) {
		t->arena_pkt = (int)i;
		if (!pkt_segment(s, t->arena))
			s->nsegments = 0;
	}
	if (!s->nsegments) {
		drop_out(m, s, DROP_TOO_LONG);
		return false;
	}
	count_add(&m->count.segmented, 1);
	*segments = true;
	return true;
}

/* ---- to a member ---- */

static struct queue *choose_queue(struct swport *m, const struct pkt *s)
{
	unsigned int k = 0;

	if (!m->nactive)
		return NULL;
	if (m->nactive > 1)
		k = (unsigned int)((uint64_t)flow_hash(pkt_frame(s),
						       s->len - PKT_HDR) *
					   m->nactive >>
				   32);
	return &m->queue[m->active[k]];
}

static void defer(struct port_tx *t, struct tx_direct *direct, unsigned int i,
		  bool tag, bool segments)
{
	const struct deferred *last = &t->deferred[t->ndeferred];

	/* Consecutive frames for a direct share a reference. */
	if (!t->ndeferred || last[-1].direct != direct)
		tx_direct_get(direct);
	t->deferred[t->ndeferred++] = (struct deferred){
		.direct = direct,
		.pkt = (uint16_t)i,
		.tag = tag,
		.segments = segments,
	};
}

void deliver(struct port_tx *t, struct swport *m, unsigned int i)
{
	struct pkt *s = &t->pkt[i];
	struct pkt_part p = { .s = s, .tag = swport_tags_vlan(m, s->vlan) };
	struct queue *q = choose_queue(m, s);
	bool segments;

	if (unlikely(!q)) {
		drop_out(m, s, DROP_NO_QUEUE);
		return;
	}
	if (unlikely(s->stacked && !p.tag)) {
		drop_out(m, s, DROP_STACKED);
		return;
	}
	if (!prepare_frame(t, m, i, &segments))
		return;
	s->nto++;
	if (q->direct) {
		defer(t, q->direct, i, p.tag, segments);
		return;
	}
	if (segments) {
		p.segments = s->segments;
		p.n = s->nsegments;
	}
	lock_rxq(t, q->rxq);
	if (!push_or_wait(t, q->rxq, m, &p, true))
		t->stopped = i;
}

/* ---- to direct transmits ---- */

/* Iterates over the packets of a group of deferred frames. */
struct packets {
	const struct port_tx *t;
	const struct deferred *d, *end;
	const struct segment *seg;
	uint32_t nseg; /* segments of *d from @seg on; 0: *d is not begun */
};

static const uint8_t *packet(struct packets *p, uint32_t *len)
{
	const struct pkt *s = &p->t->pkt[p->d->pkt];

	if (!p->d->segments) {
		*len = s->len;
		return s->data;
	}
	if (!p->nseg) {
		p->seg = s->segments;
		p->nseg = s->nsegments;
	}
	*len = p->seg->len;
	return p->seg->data;
}

static void packet_done(struct packets *p)
{
	if (p->d->segments && --p->nseg)
		p->seg = segment_next(p->seg);
	else
		p->d++;
}

/* Return: false if the port does not take all packets. */
static bool send_direct_batch(struct packets *p, struct tx_direct *direct)
{
	struct pkt_head head[TX_DIRECT_BATCH];
	struct iovec iov[TX_DIRECT_BATCH][2];
	struct frame frames[TX_DIRECT_BATCH];
	struct packets at = *p;
	unsigned int n = 0, done;

	for (; n < TX_DIRECT_BATCH && at.d != at.end; n++, packet_done(&at)) {
		const struct pkt *s = &at.t->pkt[at.d->pkt];
		uint32_t len;
		const uint8_t *data = packet(&at, &len);
		size_t total;

		frames[n].iov = iov[n];
		frames[n].iovcnt = pkt_pieces(s, data, len, at.d->tag, &head[n],
					      iov[n], &total);
		frames[n].len = (uint32_t)total;
		frames[n].trunc = false;
	}
	done = tx_direct_send(direct, frames, n);
	for (unsigned int i = 0; i < done; i++) {
		uint32_t len;

		packet(p, &len);
		packet_done(p);
	}
	return done == n;
}

/* Packets that the port did not take wait in the rxq. On a full wire the
 * sender keeps its frame, unless some segments of it are sent: they are dropped
 * then. */
static void push_rest(struct port_tx *t, struct tx_direct *direct,
		      struct packets *p)
{
	rxq_lock(direct->rxq);
	for (; p->d != p->end; p->d++, p->nseg = 0) {
		const struct pkt *s = &t->pkt[p->d->pkt];
		struct pkt_part rest = { .s = s, .tag = p->d->tag };
		bool begun = p->nseg && p->nseg < s->nsegments;

		if (p->d->segments) {
			rest.segments = p->nseg ? p->seg : s->segments;
			rest.n = p->nseg ? p->nseg : s->nsegments;
		}
		if (push_or_wait(t, direct->rxq, direct->queue->swport, &rest,
				 !begun))
			continue;
		t->stopped = p->d->pkt;
		break;
	}
	rxq_unlock(direct->rxq);
}

static void flush_group(struct port_tx *t, const struct deferred *d,
			const struct deferred *end)
{
	struct packets p = { .t = t, .d = d, .end = end };
	struct tx_direct *direct = d->direct;
	/* Preserves order: nothing is sent after the packet that stopped. */
	bool go = t->stopped == t->npkts;

	pthread_mutex_lock(&direct->lock);
	/* Preserves order: queued frames are sent first. */
	if (go && rxq_empty(direct->rxq))
		while (p.d != p.end && send_direct_batch(&p, direct))
			;
	if (go && p.d != p.end)
		push_rest(t, direct, &p);
	tx_direct_put(direct);
	pthread_mutex_unlock(&direct->lock);
}

void deliver_flush(struct port_tx *t)
{
	const struct deferred *d = t->deferred, *end = d + t->ndeferred;

	while (d < end) {
		const struct deferred *group = d;

		while (d < end && d->direct == group->direct)
			d++;
		flush_group(t, group, d);
	}
	t->ndeferred = 0;
	t->arena_pkt = -1;
}
