/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A ring and its port: attach and detach, and what sets the ring to work.
 *
 * A port comes from a descriptor (VHOST_NET_SET_BACKEND; it is the device's)
 * or from the device's owner (vdev_start(); it stays the owner's). A ring that
 * has a port is active.
 */
#include "vdev_priv.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bytes.h"

/* ---- what sets a ring to work ---- */

static void on_port(struct worker_watch *watch, uint32_t events)
{
	struct ring *r = container_of(watch, struct ring, port_watch);

	(void)events;
	r->port_ready = true;
	iotlb_ask_again(r);
	/* A starved ring waits for buffers, not for frames. But if the driver
	 * added some without a kick, this is where they are seen. */
	if (!r->want_kick || virtq_avail_changed(&r->vq))
		worker_queue(r->v->cfg.worker, &r->work);
}

/* Busy polling: looks for chains that came without a kick. */
static bool idle_poll(struct worker_idle *idle)
{
	struct vdev *v = container_of(idle, struct vdev, idle);
	bool found = false;

	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		struct ring *r = &v->ring[i];

		if (!r->port || !r->want_kick || !virtq_avail_changed(&r->vq))
			continue;
		worker_queue(v->cfg.worker, &r->work);
		found = true;
	}
	return found;
}

static bool idle_arm(struct worker_idle *idle)
{
	struct vdev *v = container_of(idle, struct vdev, idle);
	bool found = false;

	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		struct ring *r = &v->ring[i];

		if (r->port && r->poll) {
			worker_queue(v->cfg.worker, &r->work);
			found = true;
			continue;
		}
		if (!r->port || !r->want_kick)
			continue;
		if (virtq_enable_notify(&r->vq)) {
			worker_queue(v->cfg.worker, &r->work);
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
		const struct ring *r = &v->ring[i];

		if (!r->port)
			continue;
		active = true;
		v->idle.min_us = MAX(v->idle.min_us, r->busyloop_us);
	}
	worker_set_idle(v->cfg.worker, active ? &v->idle : NULL);
}

void vdev_idle_init(struct vdev *v)
{
	v->idle.poll = idle_poll;
	v->idle.arm = idle_arm;
}

/* ---- attach and detach ---- */

void vdev_backend_init(struct ring *r)
{
	r->backend_fd = -1;
	r->enabled = true;
	r->port_watch = (struct worker_watch){ .fn = on_port, .fd = -1 };
	r->work = (struct worker_work){ .fn = netdev_run };
}

/* Takes the port away; the shadows of a ring that is not mapped stay. */
static void detach_port(struct ring *r)
{
	struct vdev *v = r->v;

	if (!r->port)
		return;
	worker_cancel(v->cfg.worker, &r->work);
	worker_watch_del(v->cfg.worker, &r->port_watch);
	if (r == &v->ring[RX])
		netdev_detached(v, r->port);
	if (r->backend_fd != r->port->fd)
		fd_drop(&r->backend_fd);
	r->backend_fd = -1;
	if (!v->cfg.own_ports)
		netport_close(r->port);
	r->port = NULL;
	r->want_kick = false;
	vdev_update_idle(v);
}

void vdev_detach(struct ring *r)
{
	if (!r->port)
		return;
	detach_port(r);
	virtq_free_shadow(&r->vq);
}

bool vdev_vq_active(const struct vdev *v, uint32_t qi)
{
	return v->ring[qi].port != NULL;
}

/* The port for a descriptor. cfg.open_port may give another one than that of
 * the descriptor, which is then kept, to see whether a later one is the same.
 */
static int open_port(const struct ring *r, int fd, struct netport **port)
{
	const struct vdev_config *cfg = &r->v->cfg;

	if (!cfg->open_port)
		return netport_from_fd(fd, port);
	return cfg->open_port(cfg->ctx, (unsigned int)(r - r->v->ring), fd,
			      port);
}

static int attach(struct ring *r, struct netport *port, int backend_fd)
{
	struct vdev *v = r->v;
	uint32_t events = r == &v->ring[RX] ? EPOLLIN | EPOLLET : EPOLLET;
	int ret = 0;

	assert(!r->port);
	if (port->fd >= 0)
		ret = worker_watch_add(v->cfg.worker, &r->port_watch, port->fd,
				       events);
	if (ret < 0)
		return ret;
	r->port = port;
	r->backend_fd = backend_fd;
	r->port_ready = true;
	r->base = -1;
	netdev_set_hdr(v);
	/* As in the kernel a receive ring runs first when it has a frame: until
	 * then the driver is asked for kicks. */
	if (r == &v->ring[RX])
		r->port_ready = netdev_attached(v, port);
	vdev_update_idle(v);
	if (r->port_ready)
		worker_queue(v->cfg.worker, &r->work);
	return 0;
}

/* Initialises the ring for a new backend. On failure it is as it was, and a
 * backend that it has goes on: vhost_net_set_backend(), err_used. */
static int restart_ring(struct ring *r)
{
	struct virtq old = r->vq;
	int ret;

	memset(&r->vq.desc, 0, sizeof(r->vq.desc));
	memset(&r->vq.avail, 0, sizeof(r->vq.avail));
	memset(&r->vq.used, 0, sizeof(r->vq.used));
	ret = virtq_start(&r->vq);
	if (ret == 0) {
		virtq_free_shadow(&old);
		return 0;
	}
	virtq_free_shadow(&r->vq);
	old.counters = r->vq.counters;
	r->vq = old;
	if (r->port)
		worker_queue(r->v->cfg.worker, &r->work);
	return ret;
}

static int start_backend(struct ring *r, int fd)
{
	struct netport *port = NULL;
	int ret;

	ret = open_port(r, fd, &port);
	if (ret < 0) {
		close(fd);
		return ret;
	}
	ret = restart_ring(r);
	if (ret < 0)
		goto err_port;
	detach_port(r);
	ret = attach(r, port, fd);
	if (ret < 0)
		goto err_ring;
	return 0;

err_ring:
	virtq_free_shadow(&r->vq);
err_port:
	if (fd != port->fd)
		close(fd);
	netport_close(port);
	return ret;
}

int vdev_net_set_backend(struct vdev *v, uint32_t qi, int fd)
{
	int ret = vdev_check_vq_fd(v, qi, fd);
	struct ring *r;

	if (ret < 0)
		return ret;
	r = &v->ring[qi];
	if (fd == VDEV_FD_NONE)
		vdev_iotlb_drop(v);
	if (!vdev_access_ok(v, r)) {
		fd_drop(&fd);
		return -EFAULT;
	}
	if (fd == VDEV_FD_BAD)
		return -ENOTSOCK;
	if (fd == VDEV_FD_NONE) {
		vdev_detach(r);
		return 0;
	}
	if (r->port && netport_same_fd(fd, r->backend_fd)) {
		close(fd);
		return 0;
	}
	return start_backend(r, fd);
}

/* ---- ports of the owner ---- */

void vdev_set_inflight(struct vdev *v, struct aspace_map *map,
		       unsigned int first, unsigned int rings, uint16_t num)
{
	vdev_check_thread(v);
	/* Rings that run must not use the old record any more. */
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		v->ring[i].inflight.ptr = NULL;
	aspace_set_extra(v->mv.as, map);
	v->inflight = map;
	v->inflight_first = first;
	v->inflight_rings = rings;
	v->inflight_num = num;
}

/* The record of a ring that is about to run: its place depends on the format,
 * which is known only now. */
static int start_inflight(struct ring *r, uint32_t qi)
{
	const struct vdev *v = r->v;
	unsigned int at = v->inflight_first + qi;
	size_t stride = inflight_stride(v->inflight_num, r->vq.packed);

	r->inflight.ptr = NULL;
	if (!v->inflight || at >= v->inflight_rings)
		return 0;
	if (stride * (at + 1) > v->inflight->size)
		return -EINVAL;
	r->inflight.ptr = v->inflight->ptr + at * stride;
	r->inflight.num = v->inflight_num;
	return inflight_start(&r->inflight, &r->vq);
}

int vdev_start(struct vdev *v, uint32_t qi, struct netport *port, bool enabled)
{
	int ret = vdev_check_vq(v, qi);
	struct ring *r;

	if (ret < 0)
		return ret;
	r = &v->ring[qi];
	if (r->port)
		return -EBUSY;
	if (!v->mv.as || !vdev_access_ok(v, r))
		return -EFAULT;
	/* A miss here is -EAGAIN, and the start is tried again; virtq_start()
	 * would make it an error. */
	if (v->mv.have_iotlb)
		ret = virtq_find_used(&r->vq);
	if (ret == 0)
		ret = virtq_start(&r->vq);
	if (ret == 0)
		ret = start_inflight(r, qi);
	r->enabled = enabled;
	if (ret == 0)
		ret = attach(r, port, -1);
	if (ret < 0)
		virtq_free_shadow(&r->vq);
	return ret;
}

int vdev_stop(struct vdev *v, uint32_t qi)
{
	int ret = vdev_check_vq(v, qi);

	if (ret < 0)
		return ret;
	vdev_detach(&v->ring[qi]);
	v->ring[qi].miss.state = MISS_NONE;
	return 0;
}

/* Serves what came while the ring was disabled or not polled. As in attach(), a
 * receive ring runs only if there is a frame for it. */
static void run_once(struct ring *r)
{
	struct vdev *v = r->v;

	if (!r->port)
		return;
	r->port_ready = r != &v->ring[RX] || netdev_has_frames(v, r->port);
	if (r->port_ready)
		worker_queue(v->cfg.worker, &r->work);
}

int vdev_set_enabled(struct vdev *v, uint32_t qi, bool on)
{
	int ret = vdev_check_vq(v, qi);
	struct ring *r;

	if (ret < 0)
		return ret;
	r = &v->ring[qi];
	r->enabled = on;
	run_once(r);
	return 0;
}

int vdev_set_vring_poll(struct vdev *v, uint32_t qi, bool on)
{
	int ret = vdev_check_vq(v, qi);

	if (ret < 0)
		return ret;
	v->ring[qi].poll = on;
	run_once(&v->ring[qi]);
	return 0;
}
