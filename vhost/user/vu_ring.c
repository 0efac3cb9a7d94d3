/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vu_ring.c has the state of a session's rings and the handlers of messages
 * that name a ring.
 *
 * SET_VRING_KICK (or VRING_KICK) starts a ring, as vhost-user.rst says today
 * ("Ring states"; in earlier texts the first kick did). The ring runs as soon
 * as its addresses and the memory table are set too, without waiting for a
 * kick. A TX ring that runs before SET_VRING_ENABLE drops the guest's frames.
 *
 * Handlers of rows with a ring run on the worker of its pair.
 */
#include "vu_priv.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "evfd.h"

static struct vu_ring *ring_of(const struct vu_op *op)
{
	return &op->pair->ring[op->qi];
}

/* ---- start and stop ---- */

enum ring_event {
	EVENT_KICK, /* a kick descriptor, or the first in-band kick */
	EVENT_RUN,  /* vdev_start() */
	EVENT_STOP, /* vdev_stop() */
};

static void change_state(struct vu_ring *r, enum ring_event event)
{
	enum { BUG = UINT8_MAX };
	/* clang-format off */
	static const uint8_t next[][3] = {
		/*                  EVENT_KICK     EVENT_RUN      EVENT_STOP */
		/* caused by        ..vring_kick() start_ready()  stop() */
		[VRING_STOPPED] = { VRING_STARTED, BUG,           VRING_STOPPED },
		[VRING_STARTED] = { VRING_STARTED, VRING_RUNNING, VRING_STOPPED },
		[VRING_RUNNING] = { VRING_RUNNING, BUG,           VRING_STOPPED },
	};
	/* clang-format on */
	uint8_t to = next[r->state][event];

	assert(to != BUG);
	r->state = to;
}

static bool ready(const struct vu_ring *r)
{
	return r->has_addr && r->state == VRING_STARTED;
}

/* Makes calls and errors messages if the frontend sent no descriptor for them.
 */
static int open_notices(struct vu_pair *p, unsigned int qi)
{
	struct vu_ring *r = &p->ring[qi];
	int fd;

	if (!vu_has(p->s, VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS))
		return 0;
	if (r->call.state == NOTICE_UNSET) {
		fd = vu_notice_open(p->s, &r->call);
		if (fd < 0)
			return fd;
		vdev_set_vring_call(p->vdev, qi, fd);
	}
	if (r->err.state == NOTICE_UNSET) {
		fd = vu_notice_open(p->s, &r->err);
		if (fd < 0)
			return fd;
		vdev_set_vring_err(p->vdev, qi, fd);
	}
	return 0;
}

static int start_ready(struct vu_pair *p, void *unused)
{
	int ret = 0;

	(void)unused;
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		int one;

		if (!ready(&p->ring[i]))
			continue;
		one = open_notices(p, i);
		if (one == 0)
			one = vdev_start(p->vdev, i, p->port[i],
					 p->ring[i].enabled);
		if (one == 0) {
			change_state(&p->ring[i], EVENT_RUN);
			p->ring[i].base = -1;
		} else if (one != -EAGAIN) {
			/* -EAGAIN: the ring waits for an IOTLB update */
			ret = one;
		}
	}
	return ret;
}

static int start_pair_rings(struct vu_pair *p)
{
	int ret = 0;

	if (!ready(&p->ring[VHOST_NET_VQ_RX]) &&
	    !ready(&p->ring[VHOST_NET_VQ_TX]))
		return 0;
	if (!p->s->mem.have_table || p->s->mem.fresh)
		return 0;
	if (!p->port[VHOST_NET_VQ_RX])
		ret = vu_pair_open_ports(p);
	if (ret < 0) {
		vu_warn(p->s, "no port for queue pair %u: %s", p->n,
			strerror(-ret));
		return ret;
	}
	ret = vu_pair_call(p, start_ready, NULL);
	if (ret < 0)
		vu_warn(p->s, "rings of queue pair %u do not start: %s", p->n,
			strerror(-ret));
	vu_pair_update_ports(p);
	return ret;
}

int vu_start_rings(struct vu_session *s, struct vu_pair *p)
{
	if (p)
		return start_pair_rings(p);
	for (unsigned int i = 0; i < s->cfg.queue_pairs; i++)
		if (s->pair[i])
			start_pair_rings(s->pair[i]);
	return 0;
}

static void stop(struct vu_pair *p, unsigned int qi)
{
	struct vu_ring *r = &p->ring[qi];

	vdev_stop(p->vdev, qi);
	vdev_set_vring_kick(p->vdev, qi, VDEV_FD_NONE);
	vdev_set_vring_poll(p->vdev, qi, false);
	fd_drop(&r->kick);
	change_state(r, EVENT_STOP);
}

bool vu_suspended(const struct vu_session *s)
{
	for (unsigned int i = 0; i < s->cfg.queue_pairs; i++)
		for (unsigned int k = 0; s->pair[i] && k < VDEV_VQS; k++)
			if (s->pair[i]->ring[k].state != VRING_STOPPED)
				return false;
	return true;
}

int vu_pair_stop(struct vu_pair *p, void *unused)
{
	(void)unused;
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		stop(p, i);
	return 0;
}

int vu_pair_enable(struct vu_pair *p, void *arg)
{
	const bool *on = arg;

	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		p->ring[i].enabled = *on;
		vdev_set_enabled(p->vdev, i, *on);
	}
	return 0;
}

/* ---- handlers ---- */

int vu_set_vring_num(struct vu_op *op)
{
	return vdev_set_vring_num(op->pair->vdev, op->qi,
				  op->m->payload.state.num);
}

int vu_set_vring_addr(struct vu_op *op)
{
	struct vhost_vring_addr addr = op->m->payload.addr;
	int ret;

	addr.index = op->qi;
	ret = vdev_set_vring_addr(op->pair->vdev, &addr);
	if (ret == 0)
		ring_of(op)->has_addr = true;
	return ret;
}

int vu_set_vring_base(struct vu_op *op)
{
	ring_of(op)->base = -1;
	return vdev_set_vring_base(op->pair->vdev, op->qi,
				   op->m->payload.state.num);
}

int vu_get_vring_base(struct vu_op *op)
{
	struct vhost_vring_state *state = &op->reply.payload.state;

	stop(op->pair, op->qi);
	state->index = op->index;
	op->reply.hdr.size = sizeof(*state);
	if (ring_of(op)->base >= 0) {
		state->num = (uint32_t)ring_of(op)->base;
		return 0;
	}
	return vdev_get_vring_base(op->pair->vdev, op->qi, &state->num);
}

int vu_set_vring_kick(struct vu_op *op)
{
	struct vu_ring *r = ring_of(op);
	bool poll = op->m->payload.u64 & VU_VRING_NOFD_MASK;
	int fd = vu_msg_take_fd(op->m, 0);
	int ret = vdev_set_vring_kick(op->pair->vdev, op->qi,
				      poll ? VDEV_FD_NONE : fd);

	if (ret < 0)
		return ret;
	fd_drop(&r->kick);
	change_state(r, EVENT_KICK);
	return vdev_set_vring_poll(op->pair->vdev, op->qi, poll);
}

int vu_set_vring_call(struct vu_op *op)
{
	struct vu_ring *r = ring_of(op);
	int ret = vdev_set_vring_call(op->pair->vdev, op->qi,
				      vu_msg_take_fd(op->m, 0));

	if (ret < 0)
		return ret;
	vu_notice_close(op->s, &r->call);
	/* QEMU sends the guest's eventfd after the kick, and discards signals
	 * of the eventfd before. With an event index the driver would wait for
	 * a signal that was sent already. */
	if (r->state == VRING_RUNNING)
		vdev_call(op->pair->vdev, op->qi);
	return 0;
}

int vu_set_vring_err(struct vu_op *op)
{
	struct vu_ring *r = ring_of(op);
	int ret = vdev_set_vring_err(op->pair->vdev, op->qi,
				     vu_msg_take_fd(op->m, 0));

	if (ret == 0)
		vu_notice_close(op->s, &r->err);
	return ret;
}

int vu_set_vring_enable(struct vu_op *op)
{
	uint32_t on = op->m->payload.state.num;

	if (on > 1)
		return -EINVAL;
	ring_of(op)->enabled = on;
	return vdev_set_enabled(op->pair->vdev, op->qi, on);
}

int vu_vring_kick(struct vu_op *op)
{
	struct vu_ring *r = ring_of(op);
	int ret;

	if (op->m->payload.state.num)
		return -EINVAL;
	if (r->state == VRING_STOPPED) {
		int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

		if (fd < 0)
			return -errno;
		r->kick = dup(fd);
		ret = r->kick < 0 ? -errno : 0;
		if (ret < 0)
			close(fd);
		else
			ret = vdev_set_vring_kick(op->pair->vdev, op->qi, fd);
		if (ret < 0)
			return ret;
		change_state(r, EVENT_KICK);
	}
	/* If the frontend sent a kick descriptor the message is ignored. */
	if (r->kick >= 0)
		evfd_signal(r->kick);
	return 0;
}
