/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * deliver.c completes the offloads that a receiver does not take, and puts the
 * frame into the inbox of one of the receiver's queues. Consecutive frames for
 * an inbox are put under one lock.
 *
 * Frames for sinks are deferred until network.lock is released: a system call
 * under it would delay writers, which learn addresses, and behind a writer all
 * senders.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "log.h"
#include "offload.h"
#include "sender.h"

/* An eventfd with this counter does not poll as writable. */
#define EVENTFD_FULL UINT64_C(0xfffffffffffffffe)

static uint64_t takes_of(const struct netmember *m)
{
	return __atomic_load_n(&m->takes, __ATOMIC_RELAXED);
}

bool deliver_needs(const struct netmember *m, const struct slot *s)
{
	return !slot_plain(s) &&
	       offload_needed(slot_hdr(s), takes_of(m)) != OFFLOAD_NOTHING;
}

static void drop_out(struct netmember *m, const struct slot *s,
		     enum network_drop why)
{
	const struct netmember_config *c = &m->config;

	count_add(&m->count.drop_out[why], 1);
	if (unlikely(c->capture)) {
		struct iovec iov = { s->data, s->len };
		struct frame f = { &iov, 1, s->len, false };

		capture_frames(c->capture, c->capture_if, CAPTURE_OUT, &f, 1,
			       SLOT_HDR, network_drop_name(why));
	}
}

/* ---- waiting for space ---- */

static void wait_begin(struct sender *t, const struct inbox *box)
{
	struct network *n = t->queue->member->network;
	const uint64_t count = EVENTFD_FULL;

	pthread_mutex_lock(&n->wait_lock);
	if (!t->waiter.box) {
		t->waiter.next = n->waiters;
		n->waiters = &t->waiter;
		/* Does not block: the counter is 0. */
		if (write(t->waiter.fd, &count, sizeof(count)) < 0)
			log_err(NULL, "network: eventfd: %s", strerror(errno));
	}
	t->waiter.box = box;
	pthread_mutex_unlock(&n->wait_lock);
}

/*
 * The inbox of a wire is full, and locked. Return: false if the sender has to
 * wait; true: try again. A member that joins or leaves changes the network and
 * then wakes all waiters: a sender that begins to wait after that sees the
 * change here.
 */
static bool wait_for_inbox(struct sender *t, struct inbox *box)
{
	struct network *n = t->queue->member->network;

	wait_begin(t, box);
	t->wire = __atomic_load_n(&n->nmembers, __ATOMIC_SEQ_CST) == 2;
	if (t->wire && !inbox_want(box))
		return false;
	waiters_wake(n, box);
	return true;
}

/* ---- into an inbox ---- */

void deliver_end(struct sender *t)
{
	if (t->box)
		inbox_unlock(t->box);
	t->box = NULL;
}

static void choose_box(struct sender *t, struct inbox *box)
{
	if (likely(t->box == box))
		return;
	deliver_end(t);
	inbox_lock(box);
	t->box = box;
}

static bool put_one(struct inbox *box, const struct slot *s,
		    const uint8_t *data, size_t len, bool tag)
{
	struct slot_head head;
	struct iovec iov[2];
	size_t total;
	unsigned int n = slot_pieces(s, data, len, tag, &head, iov, &total);

	return inbox_put(box, iov, n, total);
}

/* Puts all segments, or none if they do not fit. */
static bool put_segments(struct inbox *box, const struct slot *s,
			 const struct segment *from, uint32_t n, bool tag)
{
	if (!inbox_fits(box, s->segments_sum, s->segment_longest))
		return false;
	for (; n; n--, from = segment_next(from))
		put_one(box, s, from->data, from->len, tag);
	return true;
}

/* A frame, or the remaining segments of one. */
struct parcel {
	const struct slot *s;
	const struct segment *segments; /* NULL: the frame itself */
	uint32_t n;
	bool tag;
};

static bool inbox_put_parcel(struct inbox *box, const struct parcel *p)
{
	if (p->segments)
		return put_segments(box, p->s, p->segments, p->n, p->tag);
	return put_one(box, p->s, p->s->data, p->s->len, p->tag);
}

/* Puts into a locked inbox. @wait: the sender may wait, on a wire. Return:
 * false if it has to. */
static bool put_or_wait(struct sender *t, struct inbox *box,
			struct netmember *m, const struct parcel *p, bool wait)
{
	while (!inbox_put_parcel(box, p)) {
		if (!wait || !t->wire) {
			drop_out(m, p->s, DROP_FULL);
			return true;
		}
		if (!wait_for_inbox(t, box))
			return false;
	}
	return true;
}

/* ---- offloads ---- */

/* Return: false if the frame is dropped for @m. */
static bool prepare_frame(struct sender *t, struct netmember *m, unsigned int i,
			  bool *segments)
{
	struct slot *s = &t->slot[i];
	enum offload need;

	*segments = false;
	if (unlikely(s->longest > m->mtu)) {
		drop_out(m, s, DROP_TOO_LONG);
		return false;
	}
	if (likely(slot_plain(s)) && likely(!s->completed))
		return true;
	need = offload_needed(slot_hdr(s), takes_of(m));
	if (need == OFFLOAD_CHECKSUM) {
		offload_checksum(slot_hdr(s), slot_frame(s), s->len - SLOT_HDR);
		s->completed = true;
	}
	if (s->completed && !(takes_of(m) & BIT(VIRTIO_NET_F_GUEST_CSUM)))
		count_add(&m->count.checksummed, 1);
	if (need != OFFLOAD_SEGMENT)
		return true;
	if (t->arena_slot != (int)i) {
		t->arena_slot = (int)i;
		if (!slot_segment(s, t->arena))
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

static struct queue *choose_queue(struct netmember *m, const struct slot *s)
{
	unsigned int k = 0;

	if (!m->nactive)
		return NULL;
	if (m->nactive > 1)
		k = (unsigned int)((uint64_t)flow_hash(slot_frame(s),
						       s->len - SLOT_HDR) *
					   m->nactive >>
				   32);
	return &m->queue[m->active[k]];
}

static void defer(struct sender *t, struct sink *sink, unsigned int i, bool tag,
		  bool segments)
{
	const struct deferred *last = &t->deferred[t->ndeferred];

	/* Consecutive frames for a sink share a reference. */
	if (!t->ndeferred || last[-1].sink != sink)
		sink_get(sink);
	t->deferred[t->ndeferred++] = (struct deferred){
		.sink = sink,
		.slot = (uint16_t)i,
		.tag = tag,
		.segments = segments,
	};
}

void deliver(struct sender *t, struct netmember *m, unsigned int i)
{
	struct slot *s = &t->slot[i];
	struct parcel p = { .s = s, .tag = member_tags(m, s->vlan) };
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
	if (q->sink) {
		defer(t, q->sink, i, p.tag, segments);
		return;
	}
	if (segments) {
		p.segments = s->segments;
		p.n = s->nsegments;
	}
	choose_box(t, q->box);
	if (!put_or_wait(t, q->box, m, &p, true))
		t->stopped = i;
}

/* ---- to sinks ---- */

/* Iterates over the packets of a group of deferred frames. */
struct packets {
	const struct sender *t;
	const struct deferred *d, *end;
	const struct segment *seg;
	uint32_t nseg; /* segments of *d from @seg on; 0: *d is not begun */
};

static const uint8_t *packet(struct packets *p, uint32_t *len)
{
	const struct slot *s = &p->t->slot[p->d->slot];

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
static bool sink_send_batch(struct packets *p, struct sink *sink)
{
	struct slot_head head[SINK_BATCH];
	struct iovec iov[SINK_BATCH][2];
	struct frame frames[SINK_BATCH];
	struct packets at = *p;
	unsigned int n = 0, done;

	for (; n < SINK_BATCH && at.d != at.end; n++, packet_done(&at)) {
		const struct slot *s = &at.t->slot[at.d->slot];
		uint32_t len;
		const uint8_t *data = packet(&at, &len);
		size_t total;

		frames[n].iov = iov[n];
		frames[n].iovcnt = slot_pieces(s, data, len, at.d->tag,
					       &head[n], iov[n], &total);
		frames[n].len = (uint32_t)total;
		frames[n].trunc = false;
	}
	done = sink_send(sink, frames, n);
	for (unsigned int i = 0; i < done; i++) {
		uint32_t len;

		packet(p, &len);
		packet_done(p);
	}
	return done == n;
}

/* Packets that the port did not take wait in the inbox. On a full wire the
 * sender keeps its frame, unless some segments of it are sent: they are dropped
 * then. */
static void put_rest(struct sender *t, struct sink *sink, struct packets *p)
{
	inbox_lock(sink->box);
	for (; p->d != p->end; p->d++, p->nseg = 0) {
		const struct slot *s = &t->slot[p->d->slot];
		struct parcel rest = { .s = s, .tag = p->d->tag };
		bool begun = p->nseg && p->nseg < s->nsegments;

		if (p->d->segments) {
			rest.segments = p->nseg ? p->seg : s->segments;
			rest.n = p->nseg ? p->nseg : s->nsegments;
		}
		if (put_or_wait(t, sink->box, sink->queue->member, &rest,
				!begun))
			continue;
		t->stopped = p->d->slot;
		break;
	}
	inbox_unlock(sink->box);
}

static void flush_group(struct sender *t, const struct deferred *d,
			const struct deferred *end)
{
	struct packets p = { .t = t, .d = d, .end = end };
	struct sink *sink = d->sink;
	/* Preserves order: nothing is sent after the slot that stopped. */
	bool go = t->stopped == t->nslots;

	pthread_mutex_lock(&sink->lock);
	/* Preserves order: queued frames are sent first. */
	if (go && inbox_empty(sink->box))
		while (p.d != p.end && sink_send_batch(&p, sink))
			;
	if (go && p.d != p.end)
		put_rest(t, sink, &p);
	sink_put(sink);
	pthread_mutex_unlock(&sink->lock);
}

void deliver_flush(struct sender *t)
{
	const struct deferred *d = t->deferred, *end = d + t->ndeferred;

	while (d < end) {
		const struct deferred *group = d;

		while (d < end && d->sink == group->sink)
			d++;
		flush_group(t, group, d);
	}
	t->ndeferred = 0;
	t->arena_slot = -1;
}
