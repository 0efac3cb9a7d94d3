/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio_net_priv.h: what virtio_net.c, virtio_net_tx.c and virtio_net_rx.c
 * share, the state of the data path. virtio_net.c explains how it works.
 */
#ifndef VIRTIO_NET_PRIV_H
#define VIRTIO_NET_PRIV_H

#include "vdev_priv.h"

/* Frames of a batch: few where memory is mapped, to stay in the cache; many
 * where each batch costs system calls. */
#define BATCH_MAPPED 64
#define BATCH_COPIED 256

/* Bytes of frames in a copy buffer: together with the memory that they are
 * copied to they fit the L2 cache. */
#define BUF_FILL ((size_t)256 * 1024)
/* Before each received frame, for a header that the port lacks. */
#define HEADROOM 16
#define BUF_SIZE (BUF_FILL + HEADROOM + NETPORT_FRAME_MAX + 64)

struct held {
	uint8_t *data; /* in the copy buffer or the port; the device's header
			  first */
	uint32_t len;
};

struct virtio_net {
	/* Header lengths: what the guest sees, and the part of it that the
	 * port exchanges; the rest is made up or stripped here. */
	unsigned int hdr_len, port_hdr_len;
	bool has_num_buffers, mergeable;

	struct virtq_batch batch;
	struct frame frame[BATCH_COPIED];
	uint16_t frame_chain[BATCH_COPIED]; /* index of a frame's chain */
	struct iovec iov[VIRTQ_BATCH_SEGS];
	struct aspace_range range[VIRTQ_BATCH_SEGS];
	size_t nranges;
	struct virtq_used elem[VIRTQ_BATCH_CHAINS];

	uint8_t *buf[VDEV_VQS];
	struct held held[BATCH_COPIED];
	unsigned int held_first, nheld;
	bool borrowed; /* held frames are in the port, and not released */
	int held_from; /* dup of the descriptor that held frames came from; -1
			*/
	uint32_t rx_buffer;     /* bytes of the last receive buffer seen */
	unsigned int rx_single; /* the next so many frames are moved one by one,
				   to find the buffer that is not writable */
};

/* ---- virtio_net_tx.c, virtio_net_rx.c ---- */

/** virtio_net_tx_batch(), virtio_net_rx_batch() - move one batch of frames
 * @bytes: bytes moved are added
 * Return: frames moved, or -1 when the run is over. */
int virtio_net_tx_batch(struct vdev_queue *q, uint64_t *bytes);
int virtio_net_rx_batch(struct vdev_queue *q, uint64_t *bytes);

static inline unsigned int batch_size(const struct virtq *vq)
{
	return virtq_copied(&vq->desc) ? BATCH_COPIED : BATCH_MAPPED;
}

/* true if the port cannot tell */
static inline bool port_has_frames(struct netport *port)
{
	return !port->ops->has_frames || port->ops->has_frames(port);
}

#endif
