/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio_net_tx.c moves frames from the guest's transmit ring to the port. */
#include "virtio_net_priv.h"

#include <errno.h>
#include <sys/epoll.h>

/* Alignment of a frame in the copy buffer. */
#define BUF_ALIGN 8

/* Frames that are built from a batch; tx_copy_in() copies their bytes later. */
struct tx_build {
	struct vdev_queue *q;
	unsigned int nframes, niov, nchains;
	size_t copied;  /* bytes of the copy buffer in use */
	bool bad_chain; /* the chain at index nchains is invalid */
};

/* Appends an iovec for a piece, in guest memory or, if that is not mapped, in
 * the copy buffer. */
static void tx_add_piece(struct virtio_net *n, struct tx_build *t,
			 const struct seg *seg, uint32_t skip)
{
	uint32_t len = seg->len - skip;
	uint8_t *p = seg->ptr ? seg->ptr + skip : NULL;

	if (!p) {
		p = n->buf[VHOST_NET_VQ_TX] + t->copied;
		t->copied += len;
		n->range[n->nranges++] = (struct aspace_range){
			.uva = seg->uva + skip,
			.ptr = p,
			.len = len,
		};
	}
	n->iov[t->niov++] = (struct iovec){ p, len };
}

static void tx_add_frame(struct virtio_net *n, struct tx_build *t,
			 const struct chain *c, uint32_t strip)
{
	unsigned int first = t->niov, stripped = strip;
	const struct seg *seg = &n->batch.seg[c->seg];

	for (unsigned int i = 0; i < c->nout; i++) {
		uint32_t skip = MIN(strip, seg[i].len);

		strip -= skip;
		if (skip < seg[i].len)
			tx_add_piece(n, t, &seg[i], skip);
	}
	n->frame_chain[t->nframes] = (uint16_t)t->nchains;
	n->frame[t->nframes++] = (struct frame){
		.iov = &n->iov[first],
		.iovcnt = t->niov - first,
		.len = (uint32_t)c->out_len - stripped,
	};
}

/*
 * Builds frames from the chains of the batch, up to the first chain that is
 * invalid or does not fit the rest of the copy buffer.
 */
static void tx_build(struct virtio_net *n, struct tx_build *t)
{
	unsigned int strip = n->hdr_len - n->port_hdr_len;

	n->nranges = 0;
	for (; t->nchains < n->batch.n; t->nchains++) {
		const struct chain *c = &n->batch.chain[t->nchains];

		if (unlikely(c->nin || (strip && c->out_len <= strip))) {
			t->bad_chain = true;
			return;
		}
		/* No port takes such a frame: dropped, but its chain is pushed.
		 */
		if (unlikely(c->out_len <= strip ||
			     c->out_len > NETPORT_FRAME_MAX))
			continue;
		t->copied =
			(t->copied + BUF_ALIGN - 1) & ~(size_t)(BUF_ALIGN - 1);
		if (t->nframes == BATCH_COPIED ||
		    t->copied + c->out_len > BUF_SIZE)
			return;
		tx_add_frame(n, t, c, strip);
	}
}

/*
 * Copies the bytes that are not mapped. If that fails each frame is tried
 * alone, and the iovcnt of those that cannot be read becomes 0.
 */
static int tx_copy_in(struct vdev *v, struct tx_build *t)
{
	struct virtio_net *n = v->net;
	size_t first = 0, last;
	int ret;

	if (!n->nranges)
		return 0;
	ret = aspace_read(v->mv.as, n->range, n->nranges);
	if (likely(ret != -EFAULT))
		return ret;
	for (unsigned int i = 0; i < t->nframes; i++, first = last) {
		struct frame *f = &n->frame[i];

		last = first;
		for (unsigned int k = 0; k < f->iovcnt; k++)
			if (last < n->nranges &&
			    n->range[last].ptr == f->iov[k].iov_base)
				last++;
		ret = aspace_read(v->mv.as, &n->range[first], last - first);
		if (ret == -ESRCH)
			return ret;
		if (ret == 0)
			continue;
		f->iovcnt = 0;
		virtq_unreadable(&v->queue[VHOST_NET_VQ_TX].vq,
				 n->batch.chain[n->frame_chain[i]].id);
	}
	return 0;
}

/* Sends frames; returns how many are finished, sent or dropped. */
static unsigned int tx_send(struct virtio_net *n, struct vdev_queue *q,
			    unsigned int nframes)
{
	struct vdev_counters *count = &q->vq.counters;
	uint64_t refused = q->port->tx_dropped;
	uint64_t refused_bytes = q->port->tx_dropped_bytes;
	unsigned int done = 0;

	if (unlikely(!q->enabled)) {
		count->dropped += nframes;
		return nframes;
	}
	while (done < nframes) {
		unsigned int run = 0;
		int ret;

		while (done + run < nframes && n->frame[done + run].iovcnt)
			run++;
		if (unlikely(!run)) {
			count->dropped++; /* unreadable */
			done++;
			continue;
		}
		ret = q->port->ops->send(q->port, &n->frame[done], run);
		if (ret < 0)
			break;
		for (int i = 0; i < ret; i++) {
			uint32_t len = n->frame[done + (unsigned int)i].len;

			count->bytes += len - MIN(len, n->port_hdr_len);
		}
		count->frames += (unsigned int)ret;
		done += (unsigned int)ret;
	}
	refused = q->port->tx_dropped - refused;
	count->frames -= refused;
	count->bytes -= q->port->tx_dropped_bytes - refused_bytes;
	count->dropped += refused;
	return done;
}

/* Used elements for the first chains of the batch; returns how many. */
static unsigned int tx_elements(struct virtio_net *n, unsigned int nchains,
				bool in_order)
{
	struct virtq_used *e = n->elem;
	const struct chain *c = n->batch.chain;

	for (unsigned int i = 0; i < nchains; i++)
		e[i] = (struct virtq_used){ 0, c[i].id, c[i].ndescs, 1 };
	if (!in_order)
		return nchains;
	/* One element stands for all, as all lengths are 0 (virtio 1.2
	 * §2.7.9). */
	for (unsigned int i = 1; i < nchains; i++)
		e[0].ndescs += e[i].ndescs;
	e[0].id = e[nchains - 1].id;
	e[0].nchains = (uint16_t)nchains;
	return 1;
}

static int tx_complete(struct vdev *v, struct virtq *vq, unsigned int nchains)
{
	struct virtio_net *n = v->net;
	unsigned int nelems;
	int ret;

	if (!nchains)
		return 0;
	nelems = tx_elements(n, nchains, vdev_has(v, VIRTIO_F_IN_ORDER));
	ret = virtq_push(vq, n->elem, nelems);
	if (ret == 0)
		virtq_signal(vq);
	return ret;
}

static void wait_for_space(struct vdev_queue *q)
{
	q->port_ready = false;
	if (q->port_watch.fd >= 0)
		worker_watch_mod(q->v->cfg.worker, &q->port_watch,
				 EPOLLOUT | EPOLLET | EPOLLONESHOT);
}

int virtio_net_tx_batch(struct vdev_queue *q, uint64_t *bytes)
{
	struct vdev *v = q->v;
	struct virtio_net *n = v->net;
	struct tx_build t = { .q = q };
	struct virtq *vq = &q->vq;
	unsigned int sent, done, skipped;
	uint64_t before = vq->counters.bytes;
	int ret, got = virtq_fetch(vq, &n->batch, batch_size(vq));

	if (got <= 0) {
		q->want_kick = got == 0;
		return -1;
	}
	tx_build(n, &t);
	ret = tx_copy_in(v, &t);
	if (unlikely(ret < 0)) {
		virtq_rewind(vq, &n->batch, n->batch.n);
		vq->broken = true;
		virtq_memory_error(vq, ret, "buffers");
		return -1;
	}
	skipped = t.bad_chain && virtq_may_skip(vq);
	/* A skipped chain is never pushed, so it stays marked as in flight. */
	if (unlikely(q->inflight.ptr))
		inflight_mark(&q->inflight, vq, &n->batch, t.nchains + skipped);
	/* All frames are in the copy buffer. */
	q->port->tx_own = n->nranges == t.niov;
	sent = tx_send(n, q, t.nframes);
	q->port->tx_own = false;
	done = sent < t.nframes ? n->frame_chain[sent] : t.nchains;
	vq->counters.dropped += done - sent; /* chains without a frame */
	if (done < t.nchains)
		t.bad_chain = false; /* reported when it is next */
	virtq_rewind(vq, &n->batch,
		     n->batch.n - done - (t.bad_chain && virtq_may_skip(vq)));
	*bytes += vq->counters.bytes - before;
	if (unlikely(q->inflight.ptr))
		inflight_using(&q->inflight, vq, &n->batch, done);
	if (tx_complete(v, vq, done) < 0)
		return -1;
	if (unlikely(q->inflight.ptr))
		inflight_used(&q->inflight, vq, &n->batch,
			      t.nchains + (done < t.nchains ? skipped : 0));
	if (unlikely(t.bad_chain)) {
		virtq_error(vq, "chain with writable buffers, or without a "
				"frame, on a transmit ring");
		return -1;
	}
	if (unlikely(sent < t.nframes)) {
		wait_for_space(q);
		return -1;
	}
	return (int)done;
}
