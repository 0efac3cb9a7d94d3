/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vdev.c makes and frees vhost-net devices and sets their owner and features.
 *
 * All functions of a device run on its worker, between two batches of frames.
 * So memory, addresses or ports never change while a ring is in use.
 *
 * Order of checks and errno are those of drivers/vhost/vhost.c and net.c. Where
 * kernels differ this follows the newest, but offers only features of
 * Linux 6.12.
 */
#include "vdev_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "evfd.h"

#define FEATURES                                                            \
	(BIT(VIRTIO_F_NOTIFY_ON_EMPTY) | BIT(VIRTIO_RING_F_INDIRECT_DESC) | \
	 BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VHOST_F_LOG_ALL) |              \
	 BIT(VIRTIO_F_ANY_LAYOUT) | BIT(VIRTIO_F_VERSION_1) |               \
	 BIT(VHOST_NET_F_VIRTIO_NET_HDR) | BIT(VIRTIO_NET_F_MRG_RXBUF) |    \
	 BIT(VIRTIO_F_ACCESS_PLATFORM) | BIT(VIRTIO_F_RING_RESET))
#define BACKEND_FEATURES BIT(VHOST_BACKEND_F_IOTLB_MSG_V2)

uint64_t vdev_features(unsigned int word)
{
	return word == 0 ? FEATURES : 0;
}

uint64_t vdev_offered(const struct vdev *v, unsigned int word)
{
	return vdev_features(word) | (word == 0 ? v->cfg.features : 0);
}

uint64_t vdev_backend_features(void)
{
	return BACKEND_FEATURES;
}

static void on_log_event(struct virtq *vq)
{
	const struct vdev *v = container_of(vq, struct vdev_queue, vq)->v;

	if (v->log_fd >= 0)
		evfd_signal_peer(v->log_fd, 1);
}

static void init_queue(struct vdev *v, unsigned int i)
{
	struct vdev_queue *q = &v->queue[i];

	q->v = v;
	q->vq.mv = &v->mv;
	q->vq.log = &q->log;
	q->vq.limit = v->cfg.limit;
	q->vq.read_only = i == VHOST_NET_VQ_TX;
	q->vq.iotlb_miss = iotlb_miss;
	q->vq.log_event = on_log_event;
	log_tag_init(&q->vq.tag, "%s.%s", v->cfg.tag.name,
		     i == VHOST_NET_VQ_RX ? "rx" : "tx");
	virtq_init(&q->vq);
	q->base = -1;
	vdev_queue_init(q);
	vdev_backend_init(q);
}

int vdev_new(const struct vdev_config *config, struct vdev **out)
{
	struct vdev *v = calloc(1, sizeof(*v));
	int ret;

	if (!v)
		return -ENOMEM;
	v->cfg = *config;
	v->log_fd = -1;
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		init_queue(v, i);
	ret = virtio_net_new(v);
	if (ret < 0) {
		free(v);
		return ret;
	}
	vdev_idle_init(v);
	*out = v;
	return 0;
}

static void release_fds(struct vdev *v)
{
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		vdev_queue_release(&v->queue[i]);
	fd_drop(&v->log_fd);
}

static void stop_all(struct vdev *v)
{
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		vdev_detach(&v->queue[i]);
	virtio_net_drop_held(v);
	release_fds(v);
}

void vdev_free(struct vdev *v)
{
	if (!v)
		return;
	vdev_check_thread(v);
	stop_all(v);
	worker_set_idle(v->cfg.worker, NULL);
	virtio_net_free(v);
	rangemap_free(&v->mv.table);
	rangemap_free(&v->mv.iotlb);
	aspace_free(v->mv.as);
	free(v);
}

bool vdev_has_owner(const struct vdev *v)
{
	return v->mv.as != NULL;
}

struct aspace *vdev_aspace(struct vdev *v)
{
	return v->mv.as;
}

int vdev_set_owner(struct vdev *v, struct aspace *as)
{
	vdev_check_thread(v);
	if (v->mv.as)
		return -EBUSY;
	v->mv.as = as;
	v->dead = false;
	aspace_enter(as);
	memview_bind(&v->mv);
	return 0;
}

int vdev_reset_owner(struct vdev *v)
{
	vdev_check_thread(v);
	stop_all(v);
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		virtq_init(&v->queue[i].vq);
		v->queue[i].busyloop_us = 0;
		v->queue[i].log.base = 0;
		v->queue[i].base = -1;
	}
	iotlb_disable(v);
	rangemap_clear(&v->mv.table);
	v->mv.have_table = true;
	v->features = v->backend_features = 0;
	virtio_net_set_hdr(v);
	aspace_free(v->mv.as);
	v->mv.as = NULL;
	v->mv.hit = NULL;
	return 0;
}

void vdev_owner_died(struct vdev *v)
{
	vdev_check_thread(v);
	v->dead = true;
	stop_all(v);
	if (v->mv.as)
		aspace_set_maps(v->mv.as, NULL, 0);
	memview_bind(&v->mv);
}

/* ---- features ---- */

/* Features that change the addresses or sizes of a ring's areas. */
#define RING_FEATURES                                               \
	(BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_F_RING_PACKED) | \
	 BIT(VIRTIO_F_ACCESS_PLATFORM))

void vdev_queues_changed(struct vdev *v)
{
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		virtq_changed(&v->queue[i].vq);
		if (v->queue[i].port)
			worker_queue(v->cfg.worker, &v->queue[i].work);
	}
}

static void clear_ring_addresses(struct vdev *v)
{
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		memset(&v->queue[i].vq.addr, 0, sizeof(v->queue[i].vq.addr));
}

int vdev_set_features(struct vdev *v, uint64_t features)
{
	uint64_t old = v->features;

	vdev_check_thread(v);
	if (features & ~vdev_offered(v, 0))
		return -EOPNOTSUPP;
	v->features = features;
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		const struct vdev_queue *q = &v->queue[i];

		if (q->port &&
		    !vdev_table_log_ok(v, &v->mv.table, q->log.base)) {
			v->features = old;
			return -EFAULT;
		}
	}
	if (vdev_has(v, VIRTIO_F_ACCESS_PLATFORM)) {
		if (!v->mv.have_iotlb)
			clear_ring_addresses(v);
		iotlb_enable(v);
	} else if (v->mv.have_iotlb) {
		clear_ring_addresses(v);
		iotlb_disable(v);
	}
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		v->queue[i].vq.features = features;
	virtio_net_set_hdr(v);
	if ((old ^ features) & RING_FEATURES ||
	    vdev_has(v, VIRTIO_F_ACCESS_PLATFORM))
		vdev_queues_changed(v);
	return 0;
}

int vdev_set_backend_features(struct vdev *v, uint64_t features)
{
	vdev_check_thread(v);
	if (features & ~BACKEND_FEATURES)
		return -EOPNOTSUPP;
	v->backend_features = features;
	return 0;
}
