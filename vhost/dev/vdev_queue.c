/* SPDX-License-Identifier: BSD-3-Clause */
/* vdev_queue.c sets up one ring: its eventfds, size, base and addresses. */
#include "vdev_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "evfd.h"

/* ---- eventfds ---- */

static void on_kick(struct loop_watch *watch, uint32_t events)
{
	struct vdev_queue *q = container_of(watch, struct vdev_queue, kick);

	(void)events;
	q->vq.counters.kicks++;
	iotlb_ask_again(q);
	if (q->port)
		worker_queue(q->v->cfg.worker, &q->work);
}

void vdev_queue_init(struct vdev_queue *q)
{
	q->kick = (struct loop_watch){ .fn = on_kick, .fd = -1 };
	q->kick_fd = -1;
}

void vdev_queue_release(struct vdev_queue *q)
{
	worker_watch_del(q->v->cfg.worker, &q->kick);
	fd_drop(&q->kick_fd);
	fd_drop(&q->vq.call_fd);
	fd_drop(&q->vq.err_fd);
}

static bool is_eventfd(int fd)
{
	char path[32], link[32];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return false;
	link[n] = '\0';
	return strcmp(link, "anon_inode:[eventfd]") == 0;
}

/* Puts an eventfd (or none) into *slot; @fd is consumed. */
static int replace_eventfd(int *slot, int fd)
{
	if (fd == VDEV_FD_BAD)
		return -EBADF;
	if (fd >= 0 && !is_eventfd(fd)) {
		close(fd);
		return -EINVAL;
	}
	fd_drop(slot);
	*slot = fd;
	return 0;
}

int vdev_set_log_fd(struct vdev *v, int fd)
{
	vdev_check_thread(v);
	return replace_eventfd(&v->log_fd, fd);
}

int vdev_check_vq(const struct vdev *v, uint32_t qi)
{
	vdev_check_thread(v);
	return qi < VDEV_VQS ? 0 : -ENOBUFS;
}

struct vdev_queue *vdev_find_queue(struct vdev *v, uint32_t qi)
{
	return vdev_check_vq(v, qi) == 0 ? &v->queue[qi] : NULL;
}

struct vdev_queue *vdev_find_queue_fd(struct vdev *v, uint32_t qi, int fd)
{
	struct vdev_queue *q = vdev_find_queue(v, qi);

	if (!q)
		fd_drop(&fd);
	return q;
}

int vdev_set_vring_kick(struct vdev *v, uint32_t qi, int fd)
{
	struct vdev_queue *q = vdev_find_queue_fd(v, qi, fd);

	if (!q)
		return -ENOBUFS;
	if (fd >= 0 && q->kick_fd >= 0 && netport_same_fd(fd, q->kick_fd)) {
		close(fd);
		return 0;
	}
	if (fd == VDEV_FD_BAD)
		return -EBADF;
	if (fd >= 0 && !is_eventfd(fd)) {
		close(fd);
		return -EINVAL;
	}
	worker_watch_del(v->cfg.worker, &q->kick);
	fd_drop(&q->kick_fd);
	q->kick_fd = fd;
	/* Edge-triggered and never read, as the VMM may read the count. A
	 * count above 0 is an edge when the watch is added. */
	return fd < 0 ? 0
		      : worker_watch_add(v->cfg.worker, &q->kick, fd,
					 EPOLLIN | EPOLLET);
}

int vdev_set_vring_call(struct vdev *v, uint32_t qi, int fd)
{
	struct vdev_queue *q = vdev_find_queue_fd(v, qi, fd);

	return q ? replace_eventfd(&q->vq.call_fd, fd) : -ENOBUFS;
}

void vdev_call(struct vdev *v, uint32_t qi)
{
	const struct vdev_queue *q = vdev_find_queue(v, qi);

	if (q && q->vq.call_fd >= 0)
		evfd_signal_peer(q->vq.call_fd, 1);
}

int vdev_set_vring_err(struct vdev *v, uint32_t qi, int fd)
{
	struct vdev_queue *q = vdev_find_queue_fd(v, qi, fd);

	return q ? replace_eventfd(&q->vq.err_fd, fd) : -ENOBUFS;
}

/* ---- size, base, addresses ---- */

int vdev_set_vring_num(struct vdev *v, uint32_t qi, uint32_t num)
{
	struct vdev_queue *q = vdev_find_queue(v, qi);

	if (!q)
		return -ENOBUFS;
	if (q->port)
		return -EBUSY;
	if (!num || num > VIRTQ_MAX_NUM)
		return -EINVAL;
	if (!is_power_of_two(num) && !vdev_has(v, VIRTIO_F_RING_PACKED))
		return -EINVAL;
	q->vq.num = num;
	return 0;
}

int vdev_set_vring_base(struct vdev *v, uint32_t qi, uint32_t base)
{
	struct vdev_queue *q = vdev_find_queue(v, qi);

	if (!q)
		return -ENOBUFS;
	if (q->port)
		return -EBUSY;
	if (vdev_has(v, VIRTIO_F_RING_PACKED))
		/* DPDK leaves the used half 0. Nothing is in flight in a
		 * stopped ring, so both halves are equal. */
		q->vq.last_used_idx =
			base >> 16 ? (uint16_t)(base >> 16) : (uint16_t)base;
	else if (base > UINT16_MAX)
		return -EINVAL;
	q->vq.last_avail_idx = q->vq.avail_idx = (uint16_t)base;
	q->base = base;
	return 0;
}

int vdev_get_vring_base(struct vdev *v, uint32_t qi, uint32_t *base)
{
	const struct vdev_queue *q = vdev_find_queue(v, qi);

	if (!q)
		return -ENOBUFS;
	*base = q->vq.last_avail_idx;
	if (!vdev_has(v, VIRTIO_F_RING_PACKED))
		return 0;
	if (q->base >= 0)
		*base = (uint32_t)q->base; /* as it was set: used half 0 */
	else
		*base |= (uint32_t)q->vq.last_used_idx << 16;
	return 0;
}

int vdev_set_vring_addr(struct vdev *v, const struct vhost_vring_addr *addr)
{
	struct vdev_queue *q = vdev_find_queue(v, addr->index);
	struct virtq checked;
	bool same;

	if (!q)
		return -ENOBUFS;
	same = addr->desc_user_addr == q->vq.addr.desc_user_addr &&
	       addr->avail_user_addr == q->vq.addr.avail_user_addr &&
	       addr->used_user_addr == q->vq.addr.used_user_addr;
	if (addr->flags & ~BIT(VHOST_VRING_F_LOG))
		return -EOPNOTSUPP;
	if ((addr->avail_user_addr & (VRING_AVAIL_ALIGN_SIZE - 1)) ||
	    (addr->used_user_addr & (VRING_USED_ALIGN_SIZE - 1)) ||
	    (addr->log_guest_addr & (VRING_USED_ALIGN_SIZE - 1)))
		return -EINVAL;
	checked = q->vq;
	checked.addr = *addr;
	if (q->port && ((!v->mv.have_iotlb && !virtq_addr_ok(&checked)) ||
			!vdev_queue_log_ok(v, &checked, q->log.base)))
		return -EINVAL;
	q->vq.addr = *addr;
	/* Only logging of the used ring was turned on or off. */
	if (same)
		return 0;
	virtq_changed(&q->vq);
	if (q->port)
		worker_queue(v->cfg.worker, &q->work);
	return 0;
}

int vdev_set_vring_busyloop(struct vdev *v, uint32_t qi, uint32_t us)
{
	struct vdev_queue *q = vdev_find_queue(v, qi);

	if (!q)
		return -ENOBUFS;
	q->busyloop_us = us;
	vdev_update_idle(v);
	return 0;
}

int vdev_get_vring_busyloop(struct vdev *v, uint32_t qi, uint32_t *us)
{
	const struct vdev_queue *q = vdev_find_queue(v, qi);

	if (!q)
		return -ENOBUFS;
	*us = q->busyloop_us;
	return 0;
}
