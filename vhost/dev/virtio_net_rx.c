/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio_net_rx.c moves frames from the port to the guest's receive ring. */
#include "virtio_net_priv.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <linux/virtio_net.h>

#include "evfd.h"

#define NUM_BUFFERS_OFF 10 /* struct virtio_net_hdr_mrg_rxbuf.num_buffers */

/* Borrows up to @max frames of the port. Return: false if frames of the port
 * cannot be borrowed. */
static bool rx_borrow(struct vdev_queue *q, unsigned int max)
{
	struct virtio_net *n = q->v->net;
	int ret;

	if (!q->port->ops->borrow || n->port_hdr_len != n->hdr_len)
		return false;
	ret = q->port->ops->borrow(q->port, n->iov, max);
	if (ret == -EOPNOTSUPP)
		return false;
	if (ret <= 0) {
		q->port_ready = false;
		return true;
	}
	for (; n->nheld < (unsigned int)ret; n->nheld++)
		n->held[n->nheld] = (struct held){
			.data = n->iov[n->nheld].iov_base,
			.len = (uint32_t)n->iov[n->nheld].iov_len,
		};
	return true;
}

/* Gets up to @max frames, borrowed or read into the copy buffer. */
static unsigned int rx_receive(struct vdev_queue *q, unsigned int max)
{
	struct virtio_net *n = q->v->net;
	unsigned int gap = n->hdr_len - n->port_hdr_len;
	size_t at = HEADROOM;

	n->held_first = n->nheld = 0;
	n->borrowed = rx_borrow(q, max);
	if (n->borrowed)
		return n->nheld;
	while (n->nheld < max && at <= BUF_FILL) {
		struct iovec iov = { n->buf[VHOST_NET_VQ_RX] + at,
				     NETPORT_FRAME_MAX };
		struct frame f = { .iov = &iov, .iovcnt = 1 };

		if (q->port->ops->recv(q->port, &f, 1) <= 0) {
			q->port_ready = false;
			break;
		}
		if (unlikely(f.trunc || f.len < n->port_hdr_len)) {
			q->vq.counters.dropped++;
			continue;
		}
		memset(n->buf[VHOST_NET_VQ_RX] + at - gap, 0, gap);
		n->held[n->nheld++] = (struct held){
			.data = n->buf[VHOST_NET_VQ_RX] + at - gap,
			.len = f.len + gap,
		};
		/* Data starts a 64-byte line; the header ends the one before.
		 */
		at = ((at + f.len + HEADROOM + 63) & ~(size_t)63);
	}
	return n->nheld;
}

/* Estimates how many chains the held frames need, from the size of the last
 * buffer. */
static unsigned int rx_estimate(const struct virtio_net *n)
{
	unsigned int want = 0, frames = n->rx_single ? 1 : n->nheld;

	if (!n->mergeable)
		return frames;
	for (unsigned int i = 0; i < frames; i++)
		want += (n->held[n->held_first + i].len + n->rx_buffer - 1) /
			n->rx_buffer;
	return MIN(want, VIRTQ_BATCH_CHAINS);
}

struct rx_place {
	struct vdev_queue *q;
	unsigned int nchains; /* of the batch, used so far */
	unsigned int nelems;
	unsigned int nframes;
	unsigned int ndropped; /* frames that fit no buffers */
	uint64_t bytes;
	bool bad_chain;
};

/* Number of chains, from nchains on, for @need bytes; 0: there are not enough.
 */
static unsigned int rx_cover(struct virtio_net *n, struct rx_place *p,
			     uint32_t need)
{
	unsigned int limit = n->mergeable ? VIRTQ_CHAIN_SEGS : 1, k = 0;
	uint64_t got = 0;

	while (got < need) {
		const struct chain *c = &n->batch.chain[p->nchains + k];

		if (k == limit || p->nchains + k == n->batch.n)
			return 0;
		if (unlikely(!c->nin || c->nout)) {
			p->bad_chain = true;
			return 0;
		}
		got += c->in_len;
		k++;
	}
	n->rx_buffer = (uint32_t)MAX(
		1, MIN(n->batch.chain[p->nchains].in_len, NETPORT_FRAME_MAX));
	return k;
}

static void rx_write(struct virtio_net *n, const struct seg *seg, uint8_t *from,
		     uint32_t len)
{
	if (likely(seg->ptr)) {
		memcpy(seg->ptr, from, len);
		return;
	}
	n->range[n->nranges++] = (struct aspace_range){ seg->uva, from, len };
}

/* Puts a frame into @k chains. */
static void rx_fill(struct virtio_net *n, struct rx_place *p,
		    const struct held *held, unsigned int k)
{
	uint8_t *from = held->data;
	uint32_t left = held->len;

	if (n->has_num_buffers) {
		uint16_t num_buffers = htole16((uint16_t)k);

		memcpy(from + NUM_BUFFERS_OFF, &num_buffers,
		       sizeof(num_buffers));
	}
	for (unsigned int i = 0; i < k; i++) {
		const struct chain *c = &n->batch.chain[p->nchains + i];
		uint32_t used = (uint32_t)MIN(c->in_len, left);

		n->elem[p->nelems++] =
			(struct virtq_used){ used, c->id, c->ndescs, 1 };
		for (unsigned int s = 0; used; s++) {
			const struct seg *seg = &n->batch.seg[c->seg + s];
			uint32_t len = MIN(used, seg->len);

			rx_write(n, seg, from, len);
			from += len;
			used -= len;
			left -= len;
		}
	}
	p->nchains += k;
	p->nframes++;
	p->bytes += held->len - n->hdr_len;
}

/* Places as many held frames as the batch has buffers for. */
static void rx_place(struct virtio_net *n, struct rx_place *p)
{
	unsigned int max = n->rx_single ? 1 : n->nheld;

	n->nranges = 0;
	for (unsigned int i = 0; i < max; i++) {
		const struct held *held = &n->held[n->held_first + i];
		unsigned int k = rx_cover(n, p, held->len);

		if (likely(k)) {
			rx_fill(n, p, held, k);
			continue;
		}
		if (p->bad_chain)
			return;
		/* Longer than one buffer, or than all chains that a frame may
		 * take: dropped, and the buffers are for the next frame. */
		if (p->nchains == n->batch.n ||
		    (n->mergeable &&
		     n->batch.n - p->nchains < VIRTQ_CHAIN_SEGS))
			return;
		p->ndropped++;
	}
}

static void rx_mark(void *ctx, uint64_t gpa, uint64_t len)
{
	struct vdev *v = ctx;

	dirtylog_mark(&v->queue[VHOST_NET_VQ_RX].log, v->mv.as, gpa, len);
}

/* Marks the pages that were written in the dirty log, in the order of the used
 * elements. */
static void rx_log(struct vdev *v, const struct rx_place *p)
{
	const struct virtio_net *n = v->net;

	for (unsigned int i = 0; i < p->nelems; i++) {
		const struct chain *c = &n->batch.chain[i];
		uint32_t left = n->elem[i].len;

		for (unsigned int s = 0; left; s++) {
			const struct seg *seg = &n->batch.seg[c->seg + s];
			uint32_t len = MIN(left, seg->len);

			if (v->mv.have_iotlb)
				memview_gpa_of(&v->mv, seg->uva, len, rx_mark,
					       v);
			else
				rx_mark(v, seg->addr, len);
			left -= len;
		}
	}
	dirtylog_flush(&v->queue[VHOST_NET_VQ_RX].log, v->mv.as);
}

/* Not with an IOTLB, as vhost_log_write() in drivers/vhost/vhost.c. */
static void signal_log_fd(const struct vdev *v, unsigned int frames)
{
	if (v->log_fd >= 0 && frames && !v->mv.have_iotlb)
		evfd_signal_peer(v->log_fd, frames);
}

/* Handles a batch with a buffer that is not writable: a single frame is
 * dropped, the frames of a larger batch are tried again one by one. */
static void rx_unwritable(struct vdev_queue *q, struct rx_place *p)
{
	struct virtio_net *n = q->v->net;

	virtq_rewind(&q->vq, &n->batch, n->batch.n);
	if (p->nframes + p->ndropped == 1) {
		virtq_error(&q->vq, "receive buffer is not mapped");
		p->ndropped = 1;
	} else {
		n->rx_single = n->nheld;
		p->ndropped = 0;
	}
	p->nframes = 0;
	p->bytes = 0;
	p->bad_chain = false;
}

static int rx_push(struct vdev_queue *q, const struct rx_place *p)
{
	struct virtio_net *n = q->v->net;
	struct inflight *f = &q->inflight;
	unsigned int marked = q->vq.packed ? p->nchains : 0;
	int ret;

	if (unlikely(f->ptr && marked))
		inflight_mark(f, &q->vq, &n->batch, marked);
	if (unlikely(f->ptr && marked))
		inflight_using(f, &q->vq, &n->batch, marked);
	ret = virtq_push(&q->vq, n->elem, p->nelems);
	if (unlikely(f->ptr) && ret == 0)
		inflight_used(f, &q->vq, &n->batch, marked);
	return ret;
}

/* Copies the bytes, marks the dirty log and pushes the chains. Returns -1 if
 * the run is over. */
static int rx_commit(struct vdev_queue *q, struct rx_place *p)
{
	struct vdev *v = q->v;
	struct virtio_net *n = v->net;
	int ret = 0;

	if (n->nranges)
		ret = aspace_write(v->mv.as, n->range, n->nranges);
	if (unlikely(ret == -EFAULT)) {
		rx_unwritable(q, p);
		return 0;
	}
	if (unlikely(ret < 0)) {
		virtq_rewind(&q->vq, &n->batch, n->batch.n);
		q->vq.broken = true;
		virtq_memory_error(&q->vq, ret, "buffers");
		return -1;
	}
	if (unlikely(vdev_has(v, VHOST_F_LOG_ALL))) {
		rx_log(v, p);
		signal_log_fd(v, p->nframes);
	}
	/* One chain is skipped, by the kernel's arithmetic: not the bad one,
	 * but the first of those collected for the same frame. */
	virtq_rewind(&q->vq, &n->batch,
		     n->batch.n - p->nchains -
			     (p->bad_chain && virtq_may_skip(&q->vq)));
	if (p->nelems) {
		ret = rx_push(q, p);
		if (ret == 0)
			virtq_signal(&q->vq);
	}
	return ret < 0 ? -1 : 0;
}

static void rx_account(struct vdev_queue *q, const struct rx_place *p)
{
	struct virtio_net *n = q->v->net;
	unsigned int gone = p->nframes + p->ndropped;

	assert(gone <= n->nheld);
	q->vq.counters.frames += p->nframes;
	q->vq.counters.bytes += p->bytes;
	q->vq.counters.dropped += p->ndropped;
	n->held_first += gone;
	n->nheld -= gone;
	n->rx_single -= MIN(n->rx_single, gone);
	if (n->borrowed && gone)
		q->port->ops->release(q->port, gone);
}

/*
 * The ring has too few chains for a frame, which waits: borrowed or not yet
 * received, in the port; else in the copy buffer. There is no time limit. The
 * run ends; before the worker sleeps idle_arm() (vdev_backend.c) enables kicks,
 * and checks once more for chains. The next kick runs the ring.
 */
static int rx_starve(struct vdev_queue *q)
{
	q->vq.counters.starved++;
	q->want_kick = true;
	return -1;
}

/* Receives frames if none are held and the ring has chains; -1: no frames. */
static int rx_get_frames(struct vdev_queue *q)
{
	struct virtio_net *n = q->v->net;
	int avail;

	if (n->nheld)
		return 0;
	if (!q->port_ready)
		return -1;
	avail = virtq_avail_count(&q->vq);
	if (avail < 0)
		return -1;
	if (avail == 0) {
		/* Kicks are wanted only if a frame waits for buffers. */
		q->port_ready = port_has_frames(q->port);
		return q->port_ready ? rx_starve(q) : -1;
	}
	return rx_receive(q, MIN((unsigned int)avail, batch_size(&q->vq))) ? 0
									   : -1;
}

/*
 * Handles chains that are too small for the first frame. If no more chains are
 * known the index is read again, and the next run fetches new ones. Otherwise
 * the next chain is invalid or not in the IOTLB, which the second fetch
 * reports.
 */
static int rx_short(struct vdev_queue *q)
{
	struct virtq_batch *b = &q->v->net->batch;
	struct virtq *vq = &q->vq;
	uint16_t at = b->at;
	int ret;

	if (!b->next) {
		virtq_rewind(vq, b, b->n);
		ret = virtq_avail_more(vq);
		if (ret == 0)
			return rx_starve(q);
		if (ret > 0)
			worker_queue(q->v->cfg.worker, &q->work);
		return -1;
	}
	ret = virtq_fetch(vq, b, 1);
	vq->last_avail_idx = at;
	if (ret > 0) {
		/* The frame needs more pieces than a batch has. */
		struct rx_place p = { .q = q, .ndropped = 1 };

		rx_account(q, &p);
		worker_queue(q->v->cfg.worker, &q->work);
	}
	return -1;
}

/* Fetches and fills buffers for at least the first frame; -1: the run is over.
 */
static int rx_take(struct vdev_queue *q, struct rx_place *p)
{
	struct virtio_net *n = q->v->net;
	unsigned int want = rx_estimate(n);

	for (;;) {
		int got = virtq_fetch(&q->vq, &n->batch, want);

		if (got == 0)
			return rx_starve(q);
		if (got < 0)
			return -1;
		rx_place(n, p);
		if (p->nframes || p->ndropped || p->bad_chain)
			return 0;
		if ((unsigned int)got < want)
			return rx_short(q);
		virtq_rewind(&q->vq, &n->batch, (unsigned int)got);
		want = MIN(2 * want, VIRTQ_BATCH_CHAINS);
	}
}

int virtio_net_rx_batch(struct vdev_queue *q, uint64_t *bytes)
{
	struct rx_place p = { .q = q };
	int ret;

	if (rx_get_frames(q) < 0 || rx_take(q, &p) < 0)
		return -1;
	ret = rx_commit(q, &p);
	rx_account(q, &p);
	if (ret < 0)
		return -1;
	*bytes += p.bytes;
	if (unlikely(p.bad_chain)) {
		virtq_error(&q->vq, "chain without writable buffers, or with "
				    "others, on a receive ring");
		return -1;
	}
	return (int)(p.nframes + p.ndropped);
}
