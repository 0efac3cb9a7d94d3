/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio_net.c runs the data path of a virtio-net device, which moves frames
 * between the rings and their ports. It runs on the device's worker.
 *
 * TX (from the guest): virtq_fetch() gives a batch of chains. Each becomes a
 * frame, whose iovecs point to guest memory (mapped) or into the copy buffer
 * (copied mode: one copy for all of the batch). The port sends the frames, and
 * the chains are pushed with length 0.
 *
 * RX (to the guest): frames are read from the port into the copy buffer, at
 * most as many as the ring has chains, so that the frames of a starved guest
 * stay in the port's own queue. Then chains are fetched for all of them, the
 * bytes are copied, the dirty log is written, and the chains are pushed. A
 * frame that needs more buffers than there are is held in the copy buffer
 * until they come: the ring is starved. From a port with ops->borrow, such as
 * that of a network, frames are borrowed instead: they stay in the port's
 * memory, also while they are held, and ops->release removes them after they
 * were copied to the guest. The copy buffer is not used then.
 *
 * A run ends when the ring or the port has no more, or after the budget, which
 * prevents one direction from starving the other. Nothing is allocated on the
 * data path.
 *
 * What is dropped, and what happens to a chain that does not fit, is as in
 * drivers/vhost/net.c.
 */
#include "virtio_net_priv.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/virtio_net.h>

/* Budget of one run: the kernel's VHOST_NET_PKT_WEIGHT and VHOST_NET_WEIGHT */
#define RUN_FRAMES 256
#define RUN_BYTES 0x80000
/* First guess at the size of a receive buffer: Linux without TSO. */
#define RX_BUFFER_GUESS 1526

static uint8_t *map_buffer(void)
{
	void *p = mmap(NULL, BUF_SIZE, PROT_READ | PROT_WRITE,
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
	n->buf[VHOST_NET_VQ_RX] = map_buffer();
	n->buf[VHOST_NET_VQ_TX] = map_buffer();
	v->net = n;
	if (!n->buf[VHOST_NET_VQ_RX] || !n->buf[VHOST_NET_VQ_TX]) {
		virtio_net_free(v);
		return -ENOMEM;
	}
	virtio_net_set_hdr(v);
	return 0;
}

void virtio_net_drop_held(struct vdev *v)
{
	struct virtio_net *n = v->net;

	/* Borrowed frames stay in the port. */
	if (!n->borrowed)
		v->queue[VHOST_NET_VQ_RX].vq.counters.dropped += n->nheld;
	n->nheld = 0;
	fd_drop(&n->held_from);
}

void virtio_net_free(struct vdev *v)
{
	struct virtio_net *n = v->net;

	if (!n)
		return;
	virtio_net_drop_held(v);
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		if (n->buf[i])
			munmap(n->buf[i], BUF_SIZE);
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

bool virtio_net_has_frames(const struct vdev *v, struct netport *port)
{
	return v->net->nheld || port_has_frames(port);
}

bool virtio_net_attached(struct vdev *v, struct netport *port)
{
	struct virtio_net *n = v->net;

	/* Only frames in the copy buffer are still held after a stop
	 * (virtio_net_detached()). If the ring has the same tap as before the
	 * stop (the guest was paused), they are kept, as if they had stayed in
	 * the tap's queue. Borrowed frames need nothing: they are in the port,
	 * and port_has_frames() finds them. */
	if (n->nheld && n->held_from >= 0 && port->fd >= 0 &&
	    netport_same_fd(n->held_from, port->fd)) {
		fd_drop(&n->held_from);
		return true;
	}
	virtio_net_drop_held(v);
	return port_has_frames(port);
}

void virtio_net_detached(struct vdev *v, const struct netport *port)
{
	struct virtio_net *n = v->net;

	/* Borrowed frames are not lost: they are not released, so they stay in
	 * the port, and borrow() gives them again when a ring has the port. If
	 * this was the last reference to the port, they are dropped with it. */
	if (n->borrowed)
		n->nheld = 0;
	/* Frames in the copy buffer stay held: virtio_net_attached(). */
	if (n->nheld && port->fd >= 0)
		n->held_from = dup(port->fd);
}

void virtio_net_run(struct worker_work *work)
{
	struct vdev_queue *q = container_of(work, struct vdev_queue, work);
	bool rx = q == &q->v->queue[VHOST_NET_VQ_RX];
	unsigned int frames = 0;
	uint64_t bytes = 0;

	vdev_check_thread(q->v);
	if (!q->port)
		return;
	/* vhost-user.rst, Ring states: a ring that is started and disabled
	 * gives the guest no frames, and drops those of the guest (tx_send). */
	if (unlikely(!q->enabled && rx))
		return;
	q->want_kick = false;
	virtq_disable_notify(&q->vq);
	while (frames < RUN_FRAMES && bytes < RUN_BYTES) {
		int n = rx ? virtio_net_rx_batch(q, &bytes)
			   : virtio_net_tx_batch(q, &bytes);

		if (n < 0)
			return;
		frames += (unsigned int)n;
	}
	worker_queue(q->v->cfg.worker, &q->work);
}
