/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The data path of a virtio-net device: frames between the rings and their
 * ports, on the device's worker.
 *
 * TX (from the guest): virtq_fetch() gives a batch of chains. Each becomes a
 * frame, whose iovecs point to guest memory (mapped) or to copies in the stage
 * buffer (copied mode; one copy for all of the batch). The port sends the
 * frames, and the chains are pushed with length 0.
 *
 * RX (to the guest): frames are read from the port into the stage buffer, at
 * most as many as the ring has chains, so that the frames of a starved guest
 * stay in the port's own queue. Then chains are fetched for all of them, the
 * bytes are copied, the dirty log is written, and the chains are pushed. A
 * frame that needs more buffers than there are is held in the stage buffer
 * until they come. A port that lends frames (ops->borrow) keeps them until
 * they are in the guest; the stage buffer is not used then.
 *
 * A run ends when the ring or the port has no more, or after the budget, which
 * prevents one direction from starving the other. Nothing is allocated on the
 * data path.
 *
 * What is dropped, and what happens to a chain that does not fit, is as in
 * drivers/vhost/net.c.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "evfd.h"
#include "vdev_priv.h"

/* Budget of one run: the kernel's VHOST_NET_PKT_WEIGHT and VHOST_NET_WEIGHT */
#define RUN_FRAMES 256
#define RUN_BYTES 0x80000

/* Frames of a batch: few where memory is mapped, to stay in the cache; many
 * where each batch costs system calls. */
#define BATCH_MAPPED 64
#define BATCH_COPIED 256

/* Alignment of a frame in the stage buffer. */
#define STAGE_ALIGN 8
/* Bytes of copies: with the memory they are copied to they fit the L2 cache. */
#define STAGE_FILL ((size_t)256 * 1024)
#define STAGE_SIZE (STAGE_FILL + HEADROOM + NETPORT_FRAME_MAX + 64)
/* Before each frame of the RX stage, for a header that the port lacks. */
#define HEADROOM 16
#define NUM_BUFFERS_OFF 10 /* struct virtio_net_hdr_mrg_rxbuf.num_buffers */
/* First guess at the size of a receive buffer: Linux without TSO. */
#define RX_BUFFER_GUESS 1526

struct held {
	uint8_t *data; /* in the stage or the port; the device's header first */
	uint32_t len;
};

struct virtio_net {
	/* Header lengths: what the guest sees, and the part of it that the
	 * port exchanges; the rest is made up or stripped here. */
	unsigned int hdr_len, port_hdr_len;
	bool has_num_buffers, mergeable;

	struct virtq_batch batch;
	struct frame frame[BATCH_COPIED];
	uint16_t frame_chain[BATCH_COPIED]; /* chain that a frame is of */
	struct iovec iov[VIRTQ_BATCH_SEGS];
	struct aspace_range range[VIRTQ_BATCH_SEGS];
	size_t nranges;
	struct virtq_used elem[VIRTQ_BATCH_CHAINS];

	uint8_t *stage[VDEV_VQS];
	struct held held[BATCH_COPIED];
	unsigned int held_first, nheld;
	bool borrowed; /* held frames are still the port's */
	int held_from; /* dup of the descriptor that held frames came from */
	uint32_t rx_buffer;     /* bytes of the last receive buffer seen */
	unsigned int rx_single; /* so many frames go one a batch, to find the
				   one whose buffer cannot be written */
};

static uint8_t *stage_map(void)
{
	void *p = mmap(NULL, STAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int virtio_net_new(struct vdev *v)
{
	struct virtio_net *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	n->held_from = -1;
	n->rx_buffer = RX_BUFFER_GUESS;
	n->stage[VHOST_NET_VQ_RX] = stage_map();
	n->stage[VHOST_NET_VQ_TX] = stage_map();
	v->net = n;
	if (!n->stage[VHOST_NET_VQ_RX] || !n->stage[VHOST_NET_VQ_TX]) {
		virtio_net_free(v);
		return -ENOMEM;
	}
	virtio_net_set_hdr(v);
	return 0;
}

void virtio_net_drop_held(struct vdev *v)
{
	struct virtio_net *n = v->net;

	if (!n->borrowed)
		v->queue[VHOST_NET_VQ_RX].vq.counters.dropped += n->nheld;
	n->nheld = 0;
	if (n->held_from >= 0)
		close(n->held_from);
	n->held_from = -1;
}

void virtio_net_free(struct vdev *v)
{
	struct virtio_net *n = v->net;

	if (!n)
		return;
	virtio_net_drop_held(v);
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		if (n->stage[i])
			munmap(n->stage[i], STAGE_SIZE);
	free(n);
	v->net = NULL;
}

void virtio_net_set_hdr(struct vdev *v)
{
	struct virtio_net *n = v->net;
	unsigned int old_hdr = n->hdr_len, old_port_hdr = n->port_hdr_len;

	n->mergeable = vdev_has(v, VIRTIO_NET_F_MRG_RXBUF);
	n->has_num_buffers = n->mergeable || vdev_has(v, VIRTIO_F_VERSION_1);
	n->hdr_len = n->has_num_buffers
			     ? sizeof(struct virtio_net_hdr_mrg_rxbuf)
			     : sizeof(struct virtio_net_hdr);
	n->port_hdr_len =
		vdev_has(v, VHOST_NET_F_VIRTIO_NET_HDR) && !v->cfg.any_layout
			? 0
			: n->hdr_len;
	if (n->hdr_len != old_hdr || n->port_hdr_len != old_port_hdr)
		virtio_net_drop_held(v);
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		if (v->queue[i].port)
			v->queue[i].port->hdr_len = n->port_hdr_len;
}

/* A port that cannot tell is taken to have some. */
static bool port_has_frames(struct netport *port)
{
	return !port->ops->has_frames || port->ops->has_frames(port);
}

bool virtio_net_has_frames(const struct vdev *v, struct netport *port)
{
	return v->net->nheld || port_has_frames(port);
}

bool virtio_net_attached(struct vdev *v, struct netport *port)
{
	struct virtio_net *n = v->net;

	/* The same tap after a stop (guest paused): the frames are kept, as if
	 * they had stayed in its queue. */
	if (n->nheld && n->held_from >= 0 && port->fd >= 0 &&
	    netport_same_fd(n->held_from, port->fd)) {
		close(n->held_from);
		n->held_from = -1;
		return true;
	}
	virtio_net_drop_held(v);
	return port_has_frames(port);
}

void virtio_net_detached(struct vdev *v, const struct netport *port)
{
	struct virtio_net *n = v->net;

	if (n->borrowed)
		n->nheld = 0;
	if (n->nheld && port->fd >= 0)
		n->held_from = dup(port->fd);
}

static unsigned int batch_size(const struct virtq *vq)
{
	return vq->desc.ptr == vq->desc.shadow ? BATCH_COPIED : BATCH_MAPPED;
}

/* ---- TX ---- */

/* Frames of a batch that are being built; their copies are made later. */
struct tx_build {
	struct vdev_queue *q;
	unsigned int nframes, niov, nchains;
	size_t staged;
	bool bad_chain; /* chain nchains must be skipped */
};

/* Appends an iovec for a piece: the guest's memory, or where its copy will be
 * in the stage buffer. */
static void tx_add_piece(struct virtio_net *n, struct tx_build *t,
			 const struct seg *seg, uint32_t skip)
{
	uint32_t len = seg->len - skip;
	uint8_t *p = seg->ptr ? seg->ptr + skip : NULL;

	if (!p) {
		p = n->stage[VHOST_NET_VQ_TX] + t->staged;
		t->staged += len;
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
 * Builds frames from the chains of the batch, up to the first that must be
 * skipped or does not fit the stage buffer any more.
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
		/* No port takes such a frame: dropped, its chain is pushed. */
		if (unlikely(c->out_len <= strip ||
			     c->out_len > NETPORT_FRAME_MAX))
			continue;
		t->staged = (t->staged + STAGE_ALIGN - 1) &
			    ~(size_t)(STAGE_ALIGN - 1);
		if (t->nframes == BATCH_COPIED ||
		    t->staged + c->out_len > STAGE_SIZE)
			return;
		tx_add_frame(n, t, c, strip);
	}
}

/*
 * Copies what is not mapped. If that fails the frames are tried one by one,
 * and the iovcnt of those that cannot be read becomes 0.
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

/* Sends frames; returns how many are done with, sent or dropped. */
static unsigned int tx_send(struct virtio_net *n, struct vdev_queue *q,
			    unsigned int nframes)
{
	struct vdev_counters *count = &q->vq.counters;
	uint64_t refused = q->port->tx_dropped;
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
			count->dropped++; /* one that could not be read */
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

static void wait_for_room(struct vdev_queue *q)
{
	q->port_ready = false;
	if (q->port_watch.fd >= 0)
		worker_watch_mod(q->v->cfg.worker, &q->port_watch,
				 EPOLLOUT | EPOLLET | EPOLLONESHOT);
}

/* One batch. Returns frames moved, or -1 when the run is over. */
static int tx_batch(struct vdev_queue *q, uint64_t *bytes)
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
	/* A skipped chain is never pushed, so it stays in flight. */
	if (unlikely(q->inflight.ptr))
		inflight_mark(&q->inflight, vq, &n->batch, t.nchains + skipped);
	/* All frames are copies in the stage buffer. */
	q->port->tx_own = n->nranges == t.niov;
	sent = tx_send(n, q, t.nframes);
	q->port->tx_own = false;
	done = sent < t.nframes ? n->frame_chain[sent] : t.nchains;
	vq->counters.dropped += done - sent; /* chains without a frame */
	if (done < t.nchains)
		t.bad_chain = false; /* its turn has not come */
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
		wait_for_room(q);
		return -1;
	}
	return (int)done;
}

static void tx_run(struct vdev_queue *q)
{
	unsigned int frames = 0;
	uint64_t bytes = 0;

	virtq_disable_notify(&q->vq);
	while (frames < RUN_FRAMES && bytes < RUN_BYTES) {
		int n = tx_batch(q, &bytes);

		if (n < 0)
			return;
		frames += (unsigned int)n;
	}
	worker_queue(q->v->cfg.worker, &q->work);
}

/* ---- RX ---- */

/* Up to @max frames where the port has them; false: they must be received. */
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

/* Up to @max frames, borrowed or read into the stage. */
static unsigned int rx_receive(struct vdev_queue *q, unsigned int max)
{
	struct virtio_net *n = q->v->net;
	unsigned int gap = n->hdr_len - n->port_hdr_len;
	size_t at = HEADROOM;

	n->held_first = n->nheld = 0;
	n->borrowed = rx_borrow(q, max);
	if (n->borrowed)
		return n->nheld;
	while (n->nheld < max && at <= STAGE_FILL) {
		struct iovec iov = { n->stage[VHOST_NET_VQ_RX] + at,
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
		memset(n->stage[VHOST_NET_VQ_RX] + at - gap, 0, gap);
		n->held[n->nheld++] = (struct held){
			.data = n->stage[VHOST_NET_VQ_RX] + at - gap,
			.len = f.len + gap,
		};
		/* 64-byte lines; the header at the end of one, before data */
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

/* Chains from nchains on that cover @need bytes; 0 if there are not enough. */
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
		/* Too long for one buffer, or for all the chains that a frame
		 * may take: dropped, and the buffers serve the next frame. */
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

/* Not under an IOTLB: vhost_log_write() in drivers/vhost/vhost.c. */
static void signal_log_fd(const struct vdev *v, unsigned int frames)
{
	if (v->log_fd >= 0 && frames && !v->mv.have_iotlb)
		evfd_signal_peer(v->log_fd, frames);
}

/* Some buffer of the batch cannot be written: the frame for it is lost. */
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

/* Copies the bytes, marks the dirty log, pushes. Returns -1 if the run is
 * over. */
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

/* The ring has no, or not enough, chains for the held frames. */
static int rx_starve(struct vdev_queue *q)
{
	q->vq.counters.starved++;
	q->want_kick = true;
	return -1;
}

/* Has held frames, or receives new ones if the ring has chains at all. */
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
 * The fetched chains are too small for the first frame. Either no more are
 * known: the index is read again, and if there are more now the next run
 * fetches them. Or the next chain is broken or not in the IOTLB, which is
 * reported.
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
		/* The frame needs more pieces than a batch has: it is dropped.
		 */
		struct rx_place p = { .q = q, .ndropped = 1 };

		rx_account(q, &p);
		worker_queue(q->v->cfg.worker, &q->work);
	}
	return -1;
}

/* Buffers for at least the first frame; -1 when the run is over. */
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

/* One batch. Returns frames moved, or -1 when the run is over. */
static int rx_batch(struct vdev_queue *q, uint64_t *bytes)
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

static void rx_run(struct vdev_queue *q)
{
	unsigned int frames = 0;
	uint64_t bytes = 0;

	virtq_disable_notify(&q->vq);
	while (frames < RUN_FRAMES && bytes < RUN_BYTES) {
		int n = rx_batch(q, &bytes);

		if (n < 0)
			return;
		frames += (unsigned int)n;
	}
	worker_queue(q->v->cfg.worker, &q->work);
}

void virtio_net_run(struct worker_work *work)
{
	struct vdev_queue *q = container_of(work, struct vdev_queue, work);

	vdev_check_thread(q->v);
	if (!q->port)
		return;
	/* vhost-user.rst, Ring states: a ring that is started and disabled
	 * gives the guest no frames, and drops those of the guest (tx_send). */
	if (unlikely(!q->enabled && q == &q->v->queue[VHOST_NET_VQ_RX]))
		return;
	q->want_kick = false;
	if (q == &q->v->queue[VHOST_NET_VQ_RX])
		rx_run(q);
	else
		tx_run(q);
}
