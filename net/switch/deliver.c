/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * deliver.c completes the offloads that the receiving port lacks, and pushes
 * the packet into the rxq of one of its queues, or sends it through the queue's
 * tx_direct. Consecutive packets for an rxq are pushed under one lock.
 *
 * Packets for a tx_direct are deferred until network.lock is released: a system
 * call under the lock would delay writers, which learn addresses, and behind a
 * writer all senders.
 */
#include "bytes.h"
#include "evfd.h"
#include "offload.h"
#include "port_tx.h"

static uint64_t offloads_of(const struct swport *swport)
{
	return __atomic_load_n(&swport->guest_offloads, __ATOMIC_RELAXED);
}

bool deliver_needs(const struct swport *swport, const struct pkt *pkt)
{
	return !pkt_plain(pkt) &&
	       offload_needed(pkt_hdr(pkt), offloads_of(swport)) !=
		       OFFLOAD_NOTHING;
}

/* Counts and captures a packet that @swport does not get. */
static void drop_for(struct swport *swport, const struct pkt *pkt,
		     enum network_drop why)
{
	const struct swport_config *c = &swport->config;

	count_add(&swport->count.drop_out[why], 1);
	if (unlikely(c->capture)) {
		struct iovec iov = { pkt->data, pkt->len };
		struct frame f = { &iov, 1, pkt->len, false };

		capture_frames(c->capture, c->capture_if, CAPTURE_OUT, &f, 1,
			       PKT_HDR, network_drop_name(why));
	}
}

/* ---- waiting for space ---- */

static void wait_begin(struct port_tx *t, const struct rxq *rxq)
	NEEDS(rxq->lock)
{
	struct network *n = t->queue->swport->network;

	mutex_lock(&n->wait_lock);
	if (!t->waiter.rxq) {
		t->waiter.next = n->waiters;
		n->waiters = &t->waiter;
		evfd_fill(t->waiter.fd);
	}
	t->waiter.rxq = rxq;
	mutex_unlock(&n->wait_lock);
}

/*
 * The rxq of a wire is full, and locked. Return: false if the sender has to
 * wait; true: try again. A port that joins or leaves changes the network and
 * then wakes all waiters: a sender that begins to wait after that sees the
 * change here.
 */
static bool wait_for_rxq(struct port_tx *t, struct rxq *rxq) NEEDS(rxq->lock)
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

/* @t->rxq tells whether a lock is held, and which. */
void deliver_end(struct port_tx *t) UNCHECKED
{
	if (t->rxq)
		rxq_unlock(t->rxq);
	t->rxq = NULL;
}

static void lock_rxq(struct port_tx *t, struct rxq *rxq)
	HOLDS(rxq->lock) UNCHECKED
{
	if (likely(t->rxq == rxq))
		return;
	deliver_end(t);
	rxq_lock(rxq);
	t->rxq = rxq;
}

static bool push_one(struct rxq *rxq, const struct pkt *pkt,
		     const uint8_t *data, size_t len, bool tag) NEEDS(rxq->lock)
{
	struct pkt_head head;
	struct iovec iov[2];
	size_t total;
	unsigned int n = pkt_pieces(pkt, data, len, tag, &head, iov, &total);

	return rxq_push(rxq, iov, n, total);
}

/* Pushes all segments, or none if they do not fit. */
static bool push_segments(struct rxq *rxq, const struct pkt_part *p)
	NEEDS(rxq->lock)
{
	const struct segment *seg = p->segment;

	if (!rxq_fits(rxq, p->pkt->segments_sum, p->pkt->segment_longest))
		return false;
	for (uint32_t n = p->nsegments; n; n--, seg = segment_next(seg))
		push_one(rxq, p->pkt, seg->data, seg->len, p->tag);
	return true;
}

static bool push_part(struct rxq *rxq, const struct pkt_part *p)
	NEEDS(rxq->lock)
{
	if (p->segment)
		return push_segments(rxq, p);
	return push_one(rxq, p->pkt, p->pkt->data, p->pkt->len, p->tag);
}

/* Pushes into a locked rxq. @wait: the sender may wait, on a wire. Return:
 * false if it has to wait. */
static bool push_or_wait(struct port_tx *t, struct rxq *rxq,
			 struct swport *swport, const struct pkt_part *p,
			 bool wait) NEEDS(rxq->lock)
{
	while (!push_part(rxq, p)) {
		if (!wait || !t->wire) {
			drop_for(swport, p->pkt, DROP_FULL);
			return true;
		}
		if (!wait_for_rxq(t, rxq))
			return false;
	}
	return true;
}

/* ---- offloads ---- */

/* Checks the length, and completes the offloads that @swport does not accept.
 * @segments: it gets the segments. Return: false if the packet is dropped for
 * @swport. */
static bool prepare_or_drop(struct port_tx *t, struct swport *swport,
			    unsigned int i, bool *segments)
{
	struct pkt *pkt = &t->pkt[i];
	enum offload need;

	*segments = false;
	if (unlikely(pkt->longest > swport->mtu)) {
		drop_for(swport, pkt, DROP_TOO_LONG);
		return false;
	}
	if (likely(pkt_plain(pkt)) && likely(!pkt->completed))
		return true;
	need = offload_needed(pkt_hdr(pkt), offloads_of(swport));
	if (need == OFFLOAD_CHECKSUM) {
		offload_checksum(pkt_hdr(pkt), pkt_frame(pkt),
				 pkt->len - PKT_HDR);
		pkt->completed = true;
	}
	if (pkt->completed &&
	    !(offloads_of(swport) & BIT(VIRTIO_NET_F_GUEST_CSUM)))
		count_add(&swport->count.checksummed, 1);
	if (need != OFFLOAD_SEGMENT)
		return true;
	if (t->arena_pkt != (int)i) {
		t->arena_pkt = (int)i;
		if (!pkt_segment(pkt, t->arena))
			pkt->nsegments = 0;
	}
	if (!pkt->nsegments) {
		drop_for(swport, pkt, DROP_TOO_LONG);
		return false;
	}
	count_add(&swport->count.segmented, 1);
	*segments = true;
	return true;
}

/* ---- to a port ---- */

static struct queue *choose_queue(struct swport *swport, const struct pkt *pkt)
{
	unsigned int k = 0;

	if (!swport->nactive)
		return NULL;
	if (swport->nactive > 1)
		k = (unsigned int)((uint64_t)flow_hash(pkt_frame(pkt),
						       pkt->len - PKT_HDR) *
					   swport->nactive >>
				   32);
	return &swport->queue[swport->active[k]];
}

void deliver(struct port_tx *t, struct swport *swport, unsigned int i)
{
	struct pkt *pkt = &t->pkt[i];
	struct pkt_part p = { .pkt = pkt,
			      .tag = swport_tags_vlan(swport, pkt->vlan) };
	struct queue *q = choose_queue(swport, pkt);
	bool segments;

	if (unlikely(!q)) {
		drop_for(swport, pkt, DROP_NO_QUEUE);
		return;
	}
	if (unlikely(pkt->stacked && !p.tag)) {
		drop_for(swport, pkt, DROP_STACKED);
		return;
	}
	if (!prepare_or_drop(t, swport, i, &segments))
		return;
	pkt->nto++;
	if (segments) {
		p.segment = pkt->segments;
		p.nsegments = pkt->nsegments;
	}
	if (q->direct) {
		p.direct = q->direct;
		/* Consecutive packets for a tx_direct share a reference. */
		if (!t->ndeferred ||
		    t->deferred[t->ndeferred - 1].direct != p.direct)
			tx_direct_get(p.direct);
		t->deferred[t->ndeferred++] = p;
		return;
	}
	lock_rxq(t, q->rxq);
	if (!push_or_wait(t, q->rxq, swport, &p, true))
		t->stopped = i;
}

/* ---- through tx_direct ---- */

static const uint8_t *part_data(const struct pkt_part *p, uint32_t *len)
{
	*len = p->segment ? p->segment->len : p->pkt->len;
	return p->segment ? p->segment->data : p->pkt->data;
}

/* The first packet of a part is sent. Return: false if it was the last. */
static bool part_next(struct pkt_part *p)
{
	if (!p->segment || !--p->nsegments)
		return false;
	p->segment = segment_next(p->segment);
	p->begun = true;
	return true;
}

/* Sends packets from @*first on, and moves @*first behind them. Return: false
 * if the port does not accept all. */
static bool send_batch(struct tx_direct *direct, struct pkt_part **first,
		       const struct pkt_part *end) NEEDS(direct->lock)
{
	struct pkt_head head[TX_DIRECT_BATCH];
	struct iovec iov[TX_DIRECT_BATCH][2];
	struct frame frames[TX_DIRECT_BATCH];
	struct pkt_part *d = *first, at = *d;
	unsigned int n, done;

	for (n = 0; n < TX_DIRECT_BATCH && d != end; n++) {
		uint32_t len;
		const uint8_t *data = part_data(&at, &len);
		size_t total;

		frames[n].iov = iov[n];
		frames[n].iovcnt = pkt_pieces(at.pkt, data, len, at.tag,
					      &head[n], iov[n], &total);
		frames[n].len = (uint32_t)total;
		frames[n].trunc = false;
		if (!part_next(&at) && ++d != end)
			at = *d;
	}
	done = tx_direct_send(direct, frames, n);
	for (unsigned int i = 0; i < done; i++)
		if (!part_next(*first))
			++*first;
	return done == n;
}

/* Packets that the port did not accept wait in the rxq. On a full wire the
 * sender keeps its frame, unless some segments of it are sent: the rest of them
 * is dropped then. */
static void push_rest(struct port_tx *t, const struct pkt_part *d,
		      const struct pkt_part *end)
{
	struct tx_direct *direct = d->direct;

	rxq_lock(direct->rxq);
	for (; d != end; d++) {
		if (push_or_wait(t, direct->rxq, direct->queue->swport, d,
				 !d->begun))
			continue;
		t->stopped = (unsigned int)(d->pkt - t->pkt);
		break;
	}
	rxq_unlock(direct->rxq);
}

/* @d...@end: for one tx_direct */
static void flush_group(struct port_tx *t, struct pkt_part *d,
			const struct pkt_part *end)
{
	struct tx_direct *direct = d->direct;
	/* Preserves order: nothing is sent after the packet that stopped. */
	bool go = t->stopped == t->npkts;

	mutex_lock(&direct->lock);
	/* Preserves order: queued packets are sent first. */
	if (go && rxq_empty(direct->rxq))
		while (d != end && send_batch(direct, &d, end))
			;
	if (go && d != end)
		push_rest(t, d, end);
	tx_direct_put(direct);
	mutex_unlock(&direct->lock);
}

void deliver_flush(struct port_tx *t)
{
	struct pkt_part *d = t->deferred, *end = d + t->ndeferred;

	while (d < end) {
		struct pkt_part *group = d;

		while (d < end && d->direct == group->direct)
			d++;
		flush_group(t, group, d);
	}
	t->ndeferred = 0;
	t->arena_pkt = -1;
}
