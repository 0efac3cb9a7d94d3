/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iotlb.c handles IOTLB messages (VIRTIO_F_ACCESS_PLATFORM). A ring that finds
 * no translation of an iova stops and reports one miss; the update that covers
 * the iova makes it run again. States of a miss: struct iotlb_miss. Source:
 * vhost_chr_read_iter(), vhost_chr_write_iter() and vhost_process_iotlb_msg()
 * in drivers/vhost/vhost.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "abi.h"
#include "vdev_priv.h"

/* Minimum bytes of a write(2): the type with its padding, and the message. */
#define MSG_MIN_LEN (8 + sizeof(struct vhost_iotlb_msg))
#define MSG_LEN ((ssize_t)sizeof(struct vhost_msg))

static void notify(struct vdev *v)
{
	if (v->cfg.iotlb_event)
		v->cfg.iotlb_event(v->cfg.ctx);
}

void iotlb_miss(struct virtq *vq, uint64_t iova, uint8_t perm)
{
	struct vdev_queue *q = container_of(vq, struct vdev_queue, vq);

	if (q->miss.state != MISS_NONE)
		return;
	q->miss.state = MISS_QUEUED;
	q->miss.iova = iova;
	q->miss.perm = perm;
	q->miss.order = q->v->miss_order++;
	notify(q->v);
}

void iotlb_ask_again(struct vdev_queue *q)
{
	if (unlikely(q->miss.state == MISS_READ))
		q->miss.state = MISS_NONE;
}

static void forget_misses(struct vdev *v)
{
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		v->queue[i].miss.state = MISS_NONE;
}

void iotlb_enable(struct vdev *v)
{
	rangemap_clear(&v->mv.iotlb);
	v->mv.have_iotlb = true;
	v->mv.hit = NULL;
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		iotlb_ask_again(&v->queue[i]);
}

void iotlb_disable(struct vdev *v)
{
	rangemap_free(&v->mv.iotlb);
	v->mv.have_iotlb = false;
	v->mv.hit = NULL;
	forget_misses(v);
	notify(v);
}

/* A ring that runs asks again: without an answer it would wait for a kick that
 * its driver need not send. (The kernel's waits.) */
void vdev_iotlb_drop(struct vdev *v)
{
	vdev_check_thread(v);
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		struct vdev_queue *q = &v->queue[i];

		if (q->miss.state == MISS_NONE)
			continue;
		q->miss.state = MISS_NONE;
		if (q->port)
			worker_queue(v->cfg.worker, &q->work);
	}
}

void vdev_iotlb_repeat(struct vdev *v)
{
	bool any = false;

	vdev_check_thread(v);
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		struct iotlb_miss *miss = &v->queue[i].miss;

		if (miss->state == MISS_READ)
			miss->state = MISS_QUEUED;
		any |= miss->state == MISS_QUEUED;
	}
	if (any)
		notify(v);
}

static struct vdev_queue *oldest_queued(const struct vdev *v)
{
	const struct vdev_queue *found = NULL;

	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		const struct vdev_queue *q = &v->queue[i];

		if (q->miss.state == MISS_QUEUED &&
		    (!found || q->miss.order < found->miss.order))
			found = q;
	}
	return (struct vdev_queue *)found;
}

bool vdev_iotlb_readable(const struct vdev *v)
{
	vdev_check_thread(v);
	return oldest_queued(v) != NULL;
}

ssize_t vdev_iotlb_read(struct vdev *v, void *buf, size_t len)
{
	union {
		struct vhost_msg v1;
		struct vhost_msg_v2 v2;
	} m;
	struct vhost_iotlb_msg *msg;
	struct vdev_queue *q;

	vdev_check_thread(v);
	if (len < (size_t)MSG_LEN)
		return 0;
	if (!v->mv.have_iotlb)
		return -EBADFD;
	q = oldest_queued(v);
	if (!q)
		return -EAGAIN;
	/* The reader gets padding too, which an initialiser would not clear. */
	memset(&m, 0, sizeof(m));
	if (v->backend_features & BIT(VHOST_BACKEND_F_IOTLB_MSG_V2)) {
		m.v2.type = VHOST_IOTLB_MSG_V2;
		msg = &m.v2.iotlb;
	} else {
		m.v1.type = VHOST_IOTLB_MSG;
		msg = &m.v1.iotlb;
	}
	msg->type = VHOST_IOTLB_MISS;
	msg->iova = q->miss.iova;
	msg->perm = q->miss.perm;
	q->miss.state = MISS_READ;
	memcpy(buf, &m, sizeof(m));
	return MSG_LEN;
}

/* Runs the rings that missed an iova of the range. */
static void wake_missed(struct vdev *v, uint64_t start, uint64_t last)
{
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		struct vdev_queue *q = &v->queue[i];

		if (q->miss.state != MISS_READ || q->miss.iova < start ||
		    q->miss.iova > last)
			continue;
		q->miss.state = MISS_NONE;
		if (q->port)
			worker_queue(v->cfg.worker, &q->work);
	}
}

static void queues_changed(struct vdev *v)
{
	v->mv.hit = NULL;
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		virtq_changed(&v->queue[i].vq);
}

static int update(struct vdev *v, const struct vhost_iotlb_msg *msg)
{
	uint64_t last;
	int ret;

	/* Works without an owner, as VHOST_SET_FEATURES does. */
	if (!v->mv.have_iotlb)
		return -EFAULT;
	if ((msg->perm & VHOST_ACCESS_RW) && !aspace_ok(msg->uaddr, msg->size))
		return -EFAULT;
	if (!range_last(msg->iova, msg->size, &last))
		return -EFAULT;
	ret = rangemap_add(&v->mv.iotlb, msg->iova, last, msg->uaddr,
			   msg->perm);
	if (ret < 0)
		return ret;
	memview_bind(&v->mv);
	queues_changed(v);
	wake_missed(v, msg->iova, last);
	return 0;
}

static int invalidate(struct vdev *v, const struct vhost_iotlb_msg *msg)
{
	if (!v->mv.have_iotlb)
		return -EFAULT;
	/* An empty range wraps here as it does in the kernel up to 7.2. */
	rangemap_del(&v->mv.iotlb, msg->iova, msg->iova + msg->size - 1);
	queues_changed(v);
	return 0;
}

ssize_t vdev_iotlb_write(struct vdev *v, const void *buf, size_t len)
{
	struct vhost_iotlb_msg msg;
	int type, ret = -EFAULT;

	vdev_check_thread(v);
	if (len < sizeof(type))
		return -EINVAL;
	memcpy(&type, buf, sizeof(type));
	if ((type != VHOST_IOTLB_MSG && type != VHOST_IOTLB_MSG_V2) ||
	    len < MSG_MIN_LEN)
		return -EINVAL;
	memcpy(&msg, (const char *)buf + 8, sizeof(msg));

	if (msg.type == VHOST_IOTLB_UPDATE && msg.size == 0)
		return -EINVAL;
	if (msg.type == VHOST_IOTLB_UPDATE)
		ret = update(v, &msg);
	else if (msg.type == VHOST_IOTLB_INVALIDATE)
		ret = invalidate(v, &msg);
	return ret < 0 ? -EFAULT : MSG_LEN;
}

static int by_age(const void *a, const void *b)
{
	const struct range *const *ra = a, *const *rb = b;

	return ((*ra)->seq > (*rb)->seq) - ((*ra)->seq < (*rb)->seq);
}

int vdev_iotlb_each(const struct vdev *v,
		    void (*fn)(void *ctx, const struct vhost_iotlb_msg *msg),
		    void *ctx)
{
	const struct rangemap *m = &v->mv.iotlb;
	const struct range **sorted;

	vdev_check_thread(v);
	if (!m->n)
		return 0;
	sorted = calloc(m->n, sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < m->n; i++)
		sorted[i] = &m->r[i];
	qsort(sorted, m->n, sizeof(*sorted), by_age);
	for (size_t i = 0; i < m->n; i++) {
		const struct range *r = sorted[i];
		const struct vhost_iotlb_msg msg = {
			.iova = r->start,
			.size = r->last - r->start + 1,
			.uaddr = r->uva,
			.perm = r->perm,
			.type = VHOST_IOTLB_UPDATE,
		};

		fn(ctx, &msg);
	}
	free(sorted);
	return 0;
}
