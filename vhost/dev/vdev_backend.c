/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vdev_backend.c attaches a port to a ring, detaches it, and queues the ring's
 * work on the worker when the port or the driver has something for it.
 *
 * A port comes from a descriptor (VHOST_NET_SET_BACKEND) or from the caller
 * (vdev_start()). The ring holds a reference to it while it is attached. A ring
 * that has a port is active:
 *
 *   inactive ─ vdev_net_set_backend(fd), vdev_start() ─► active
 *   active   ─ vdev_net_set_backend(other fd)         ─► active
 *   active   ─ vdev_net_set_backend(-1), vdev_stop(), vdev_reset_owner(),
 *              vdev_owner_died(), vdev_free()         ─► inactive
 */
#include "vdev_priv.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* ---- events that queue a ring's work ---- */

static void on_port(struct loop_watch *watch, uint32_t events)
{
	struct vdev_queue *q =
		container_of(watch, struct vdev_queue, port_watch);

	(void)events;
	q->port_ready = true;
	iotlb_ask_again(q);
	/* A starved ring waits for buffers, not for frames. The driver may
	 * have added some without a kick: check for that here. */
	if (!q->want_kick || virtq_avail_changed(&q->vq))
		worker_queue(q->v->cfg.worker, &q->work);
}

/* Busy polling: finds chains that the driver added without a kick. */
static bool idle_poll(struct worker_idle *idle)
{
	struct vdev *v = container_of(idle, struct vdev, idle);
	bool found = false;

	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		struct vdev_queue *q = &v->queue[i];

		if (!q->port || !q->want_kick || !virtq_avail_changed(&q->vq))
			continue;
		worker_queue(v->cfg.worker, &q->work);
		found = true;
	}
	return found;
}

static bool idle_arm(struct worker_idle *idle)
{
	struct vdev *v = container_of(idle, struct vdev, idle);
	bool found = false;

	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		struct vdev_queue *q = &v->queue[i];

		if (q->port && q->poll) {
			worker_queue(v->cfg.worker, &q->work);
			found = true;
			continue;
		}
		if (!q->port || !q->want_kick)
			continue;
		if (virtq_enable_notify(&q->vq)) {
			worker_queue(v->cfg.worker, &q->work);
			found = true;
		}
	}
	return found;
}

/* The worker polls for the longest busy-loop time of the active rings. */
void vdev_update_idle(struct vdev *v)
{
	bool active = false;

	v->idle.min_us = 0;
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		const struct vdev_queue *q = &v->queue[i];

		if (!q->port)
			continue;
		active = true;
		v->idle.min_us = MAX(v->idle.min_us, q->busyloop_us);
	}
	worker_set_idle(v->cfg.worker, active ? &v->idle : NULL);
}

void vdev_idle_init(struct vdev *v)
{
	v->idle.poll = idle_poll;
	v->idle.arm = idle_arm;
}

/* ---- attach and detach ---- */

void vdev_backend_init(struct vdev_queue *q)
{
	q->backend_fd = -1;
	q->enabled = true;
	q->port_watch = (struct loop_watch){ .fn = on_port, .fd = -1 };
	q->work = (struct worker_work){ .fn = virtio_net_run };
}

/* Detaches the port. The shadows of the ring's areas stay. */
static void detach_port(struct vdev_queue *q)
{
	struct vdev *v = q->v;

	if (!q->port)
		return;
	worker_cancel(v->cfg.worker, &q->work);
	worker_watch_del(v->cfg.worker, &q->port_watch);
	if (q == &v->queue[VHOST_NET_VQ_RX])
		virtio_net_detached(v, q->port);
	if (q->backend_fd != q->port->fd)
		fd_drop(&q->backend_fd);
	q->backend_fd = -1;
	netport_close(q->port);
	q->port = NULL;
	q->want_kick = false;
	vdev_update_idle(v);
}

void vdev_detach(struct vdev_queue *q)
{
	if (!q->port)
		return;
	detach_port(q);
	virtq_free_shadow(&q->vq);
}

bool vdev_vq_active(const struct vdev *v, uint32_t qi)
{
	return v->queue[qi].port != NULL;
}

/* Finds the port for a descriptor. If cfg.open_port returns a port that does
 * not own the descriptor, the ring keeps the descriptor, to recognise a
 * repeated call with the same one. */
static int port_of_fd(const struct vdev_queue *q, int fd, struct netport **port)
{
	const struct vdev_config *cfg = &q->v->cfg;

	if (!cfg->open_port)
		return netport_from_fd(fd, port);
	return cfg->open_port(cfg->ctx, (unsigned int)(q - q->v->queue), fd,
			      port);
}

static int attach_port(struct vdev_queue *q, struct netport *port,
		       int backend_fd)
{
	struct vdev *v = q->v;
	uint32_t events =
		q == &v->queue[VHOST_NET_VQ_RX] ? EPOLLIN | EPOLLET : EPOLLET;
	int ret = 0;

	assert(!q->port);
	if (port->fd >= 0)
		ret = worker_watch_add(v->cfg.worker, &q->port_watch, port->fd,
				       events);
	if (ret < 0)
		return ret;
	q->port = port;
	q->backend_fd = backend_fd;
	q->port_ready = true;
	q->base = -1;
	virtio_net_set_hdr(v);
	/* As in the kernel, a receive ring first runs when there is a frame.
	 * Until then kicks stay enabled. */
	if (q == &v->queue[VHOST_NET_VQ_RX])
		q->port_ready = virtio_net_attached(v, port);
	vdev_update_idle(v);
	if (q->port_ready)
		worker_queue(v->cfg.worker, &q->work);
	return 0;
}

/* ---- rings that outlive a process ---- */

size_t vdev_cursor_size(void)
{
	return VDEV_VQS * inflight_stride(VIRTQ_MAX_NUM, true);
}

static void place_cursor(struct inflight *f, void *cursors, uint32_t qi)
{
	f->ptr = (uint8_t *)cursors + qi * inflight_stride(VIRTQ_MAX_NUM, true);
	f->num = VIRTQ_MAX_NUM;
	f->own = true;
}

void vdev_cursor_forget(void *cursors, uint32_t qi)
{
	struct inflight f = { 0 };

	place_cursor(&f, cursors, qi);
	inflight_forget(&f);
}

void vdev_repeat(struct vdev *v, bool on)
{
	vdev_check_thread(v);
	v->repeating = on;
}

void vdev_resume(struct vdev *v, bool on)
{
	vdev_check_thread(v);
	v->resuming = on;
}

static bool find_cursor(struct vdev_queue *q)
{
	const struct vdev *v = q->v;

	if (!v->cfg.cursors)
		return false;
	place_cursor(&q->inflight, v->cfg.cursors, (uint32_t)(q - v->queue));
	return true;
}

/* Does a ring that is being started go on where another process had it? */
static bool goes_on(struct vdev_queue *q)
{
	return q->v->resuming ||
	       (q->v->repeating && find_cursor(q) &&
		inflight_has_place(&q->inflight, q->vq.num,
				   vdev_has(q->v, VIRTIO_F_RING_PACKED)));
}

/* The cursor of a ring that was just started. */
static int start_cursor(struct vdev_queue *q)
{
	struct virtq *vq = &q->vq;
	int ret;

	if (!find_cursor(q))
		return 0;
	if (!goes_on(q)) {
		inflight_forget(&q->inflight);
		return inflight_start(&q->inflight, vq);
	}
	ret = virtq_ready(vq);
	if (ret < 0)
		return ret;
	virtq_log_ring(vq);
	/* Unless the cursor knows better. */
	if (!vq->packed)
		vq->last_avail_idx = vq->avail_idx = vq->last_used_idx;
	return inflight_start(&q->inflight, vq);
}

/* Initialises the ring for a new port. On failure the ring is as it was and
 * continues with the port it has: vhost_net_set_backend(), err_used. */
static int restart_queue(struct vdev_queue *q)
{
	struct virtq old = q->vq;
	int ret;

	memset(&q->vq.desc, 0, sizeof(q->vq.desc));
	memset(&q->vq.avail, 0, sizeof(q->vq.avail));
	memset(&q->vq.used, 0, sizeof(q->vq.used));
	ret = virtq_start(&q->vq);
	if (ret == 0)
		ret = start_cursor(q);
	if (ret == 0) {
		virtq_free_shadow(&old);
		return 0;
	}
	virtq_free_shadow(&q->vq);
	old.counters = q->vq.counters;
	q->vq = old;
	if (q->port)
		worker_queue(q->v->cfg.worker, &q->work);
	return ret;
}

/* Of a ring that does not go on: the VMM may ask how far it has come. */
static void find_place(struct vdev_queue *q)
{
	if (find_cursor(q) &&
	    inflight_place(&q->inflight, &q->vq,
			   vdev_has(q->v, VIRTIO_F_RING_PACKED)))
		q->base = -1;
}

/* Of a ring that is resumed. Until it can be, its place is known all the same,
 * as the VMM may stop it. */
static int find_used(struct vdev_queue *q)
{
	int ret = virtq_find_used(&q->vq);

	if (ret == -EAGAIN)
		find_place(q);
	return ret;
}

static int start_backend(struct vdev_queue *q, int fd)
{
	struct netport *port = NULL;
	int ret = 0;

	if (q->v->mv.have_iotlb && goes_on(q))
		ret = find_used(q);
	if (ret == 0)
		ret = port_of_fd(q, fd, &port);
	if (ret != 0) {
		close(fd);
		return ret;
	}
	ret = restart_queue(q);
	if (ret < 0)
		goto err_port;
	detach_port(q);
	ret = attach_port(q, port, fd);
	if (ret < 0)
		goto err_ring;
	return 0;

err_ring:
	virtq_free_shadow(&q->vq);
err_port:
	if (fd != port->fd)
		close(fd);
	netport_close(port);
	return ret;
}

int vdev_net_set_backend(struct vdev *v, uint32_t qi, int fd)
{
	struct vdev_queue *q = vdev_find_queue_fd(v, qi, fd);

	if (!q)
		return -ENOBUFS;
	if (fd == VDEV_FD_NONE)
		vdev_iotlb_drop(v);
	if (fd == VDEV_FD_NONE && v->resuming)
		find_place(q);
	if (!vdev_access_ok(v, q)) {
		fd_drop(&fd);
		return -EFAULT;
	}
	if (fd == VDEV_FD_BAD)
		return -ENOTSOCK;
	if (fd == VDEV_FD_NONE) {
		vdev_detach(q);
		return 0;
	}
	if (q->port && netport_same_fd(fd, q->backend_fd)) {
		close(fd);
		return 0;
	}
	return start_backend(q, fd);
}

/* ---- ports of the caller ---- */

void vdev_set_inflight(struct vdev *v, struct aspace_map *map,
		       unsigned int first, unsigned int rings, uint16_t num)
{
	vdev_check_thread(v);
	/* Rings that run must not use the old record any more. */
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		v->queue[i].inflight.ptr = NULL;
	aspace_set_extra(v->mv.as, map);
	v->inflight = map;
	v->inflight_first = first;
	v->inflight_rings = rings;
	v->inflight_num = num;
}

/* Finds the in-flight record of a ring that is about to run. Its place depends
 * on the ring's format, which is known only now. */
static int start_inflight(struct vdev_queue *q, uint32_t qi)
{
	const struct vdev *v = q->v;
	unsigned int at = v->inflight_first + qi;
	size_t stride = inflight_stride(v->inflight_num, q->vq.packed);

	q->inflight.ptr = NULL;
	if (!v->inflight || at >= v->inflight_rings)
		return 0;
	if (stride * (at + 1) > v->inflight->size)
		return -EINVAL;
	q->inflight.ptr = v->inflight->ptr + at * stride;
	q->inflight.num = v->inflight_num;
	return inflight_start(&q->inflight, &q->vq);
}

int vdev_start(struct vdev *v, uint32_t qi, struct netport *port, bool enabled)
{
	struct vdev_queue *q = vdev_find_queue(v, qi);
	int ret = 0;

	if (!q)
		return -ENOBUFS;
	if (q->port)
		return -EBUSY;
	if (!v->mv.as || !vdev_access_ok(v, q))
		return -EFAULT;
	/* A miss here is -EAGAIN, and the start is tried again; virtq_start()
	 * would make it an error. */
	if (v->mv.have_iotlb)
		ret = virtq_find_used(&q->vq);
	if (ret == 0)
		ret = virtq_start(&q->vq);
	if (ret == 0)
		ret = start_inflight(q, qi);
	q->enabled = enabled;
	if (ret == 0)
		ret = attach_port(q, port, -1);
	if (ret < 0)
		virtq_free_shadow(&q->vq);
	else
		netport_get(port);
	return ret;
}

int vdev_stop(struct vdev *v, uint32_t qi)
{
	struct vdev_queue *q = vdev_find_queue(v, qi);

	if (!q)
		return -ENOBUFS;
	vdev_detach(q);
	q->miss.state = MISS_NONE;
	return 0;
}

/* Runs a ring once, for what arrived while it was disabled or not polled. As in
 * attach_port(), a receive ring runs only if there is a frame for it. */
static void run_once(struct vdev_queue *q)
{
	struct vdev *v = q->v;

	if (!q->port)
		return;
	q->port_ready = q != &v->queue[VHOST_NET_VQ_RX] ||
			virtio_net_has_frames(v, q->port);
	if (q->port_ready)
		worker_queue(v->cfg.worker, &q->work);
}

int vdev_set_enabled(struct vdev *v, uint32_t qi, bool on)
{
	struct vdev_queue *q = vdev_find_queue(v, qi);

	if (!q)
		return -ENOBUFS;
	q->enabled = on;
	run_once(q);
	return 0;
}

int vdev_set_vring_poll(struct vdev *v, uint32_t qi, bool on)
{
	struct vdev_queue *q = vdev_find_queue(v, qi);

	if (!q)
		return -ENOBUFS;
	q->poll = on;
	run_once(q);
	return 0;
}
