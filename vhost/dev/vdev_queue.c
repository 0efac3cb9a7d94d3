/* SPDX-License-Identifier: BSD-3-Clause */
/* Settings of a ring: its eventfds, size, base, addresses. */
#include "vdev_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bytes.h"
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

int vdev_check_vq_fd(const struct vdev *v, uint32_t qi, int fd)
{
	int ret = vdev_check_vq(v, qi);

	if (ret < 0 && fd >= 0)
		close(fd);
	return ret;
}

int vdev_set_vring_kick(struct vdev *v, uint32_t qi, int fd)
{
	struct vdev_queue *q;
	int ret = vdev_check_vq_fd(v, qi, fd);

	if (ret < 0)
		return ret;
	q = &v->queue[qi];
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
	/* Edge-triggered and never read: the VMM may read the count itself. A
	 * count that is there already is an edge, too. */
	if (fd >= 0)
		ret = worker_watch_add(v->cfg.worker, &q->kick, fd,
				       EPOLLIN | EPOLLET);
	return ret;
}

int vdev_set_vring_call(struct vdev *v, uint32_t qi, int fd)
{
	int ret = vdev_check_vq_fd(v, qi, fd);

	return ret < 0 ? ret : replace_eventfd(&v->queue[qi].vq.call_fd, fd);
}

void vdev_call(struct vdev *v, uint32_t qi)
{
	int fd = qi < VDEV_VQS ? v->queue[qi].vq.call_fd : -1;

	vdev_check_thread(v);
	if (fd >= 0)
		evfd_signal_peer(fd, 1);
}

int vdev_set_vring_err(struct vdev *v, uint32_t qi, int fd)
{
	int ret = vdev_check_vq_fd(v, qi, fd);

	return ret < 0 ? ret : replace_eventfd(&v->queue[qi].vq.err_fd, fd);
}

/* ---- size, base, addresses ---- */

int vdev_set_vring_num(struct vdev *v, uint32_t qi, uint32_t num)
{
	int ret = vdev_check_vq(v, qi);

	if (ret < 0)
		return ret;
	if (v->queue[qi].port)
		return -EBUSY;
	if (!num || num > VIRTQ_MAX_NUM)
		return -EINVAL;
	if (!is_power_of_two(num) && !vdev_has(v, VIRTIO_F_RING_PACKED))
		return -EINVAL;
	v->queue[qi].vq.num = num;
	return 0;
}

int vdev_set_vring_base(struct vdev *v, uint32_t qi, uint32_t base)
{
	int ret = vdev_check_vq(v, qi);
	struct virtq *vq;

	if (ret < 0)
		return ret;
	vq = &v->queue[qi].vq;
	if (v->queue[qi].port)
		return -EBUSY;
	if (vdev_has(v, VIRTIO_F_RING_PACKED))
		/* DPDK leaves the used half 0. A stopped ring has nothing in
		 * flight, so both halves are equal. */
		vq->last_used_idx =
			base >> 16 ? (uint16_t)(base >> 16) : (uint16_t)base;
	else if (base > UINT16_MAX)
		return -EINVAL;
	vq->last_avail_idx = vq->avail_idx = (uint16_t)base;
	v->queue[qi].base = base;
	return 0;
}

int vdev_get_vring_base(struct vdev *v, uint32_t qi, uint32_t *base)
{
	int ret = vdev_check_vq(v, qi);
	const struct vdev_queue *q;

	if (ret < 0)
		return ret;
	q = &v->queue[qi];
	*base = q->vq.last_avail_idx;
	if (!vdev_has(v, VIRTIO_F_RING_PACKED))
		return 0;
	if (q->base >= 0)
		*base = (uint32_t)q->base; /* the used half may be 0 there */
	else
		*base |= (uint32_t)q->vq.last_used_idx << 16;
	return 0;
}

int vdev_set_vring_addr(struct vdev *v, const struct vhost_vring_addr *addr)
{
	int ret = vdev_check_vq(v, addr->index);
	struct virtq checked;
	struct vdev_queue *q;
	bool same;

	if (ret < 0)
		return ret;
	q = &v->queue[addr->index];
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
	/* Only the dirty log was turned on or off. */
	if (same)
		return 0;
	virtq_changed(&q->vq);
	if (q->port)
		worker_queue(v->cfg.worker, &q->work);
	return 0;
}

int vdev_set_vring_busyloop(struct vdev *v, uint32_t qi, uint32_t us)
{
	int ret = vdev_check_vq(v, qi);

	if (ret < 0)
		return ret;
	v->queue[qi].busyloop_us = us;
	vdev_update_idle(v);
	return 0;
}

int vdev_get_vring_busyloop(struct vdev *v, uint32_t qi, uint32_t *us)
{
	int ret = vdev_check_vq(v, qi);

	if (ret == 0)
		*us = v->queue[qi].busyloop_us;
	return ret;
}
