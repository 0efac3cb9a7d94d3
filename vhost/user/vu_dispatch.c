/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vu_dispatch.c handles one message: finds its row in vu_table.c, checks it,
 * runs the handler, starts rings that became ready, sends the reply. It runs on
 * the control thread; handlers of rows with a ring run on the pair's worker.
 *
 * This file and the handlers read hostile bytes. check_shape() and
 * check_state() check a message by its row before its handler runs. A size or
 * number of descriptors that does not fit the row ends the connection; an
 * invalid value, or a request that is not legal in this state, is an error that
 * an acknowledgement reports. The caller closes descriptors that no handler
 * takes.
 */
#include "vu_priv.h"

#include <errno.h>
#include <string.h>

static void send_reply(struct vu_session *s, struct vu_msg *reply)
{
	int ret;

	if (s->closing)
		return;
	ret = vu_send(&s->ep, reply, VU_SEND_MS);
	if (ret < 0)
		vu_drop(s, "cannot send a reply: %s", strerror(-ret));
}

static void init_reply(struct vu_msg *reply, uint32_t request)
{
	vu_msg_init(reply, request);
	reply->hdr.flags |= VU_FLAG_REPLY;
}

void vu_send_reply_u64(struct vu_session *s, uint32_t request, uint64_t value)
{
	struct vu_msg reply;

	init_reply(&reply, request);
	reply.payload.u64 = value;
	reply.hdr.size = sizeof(value);
	send_reply(s, &reply);
}

/* Checks the message itself against its row; a mismatch ends the connection. */
static int check_shape(struct vu_op *op)
{
	const struct vu_row *row = op->row;
	const struct vu_msg *m = op->m;
	unsigned int fds_min = row->fds_min, fds_max = row->fds_max;

	if (m->hdr.flags & VU_FLAG_REPLY) {
		vu_drop(op->s, "%s is marked as a reply", row->name);
		return -EPROTO;
	}
	if (m->hdr.size < row->min || m->hdr.size > row->max) {
		vu_drop(op->s, "%s of %u bytes", row->name, m->hdr.size);
		return -EPROTO;
	}
	if ((row->flags & VU_RING_U64) && (m->payload.u64 & VU_VRING_NOFD_MASK))
		fds_min = fds_max = 0;
	if (m->nfds < fds_min || m->nfds > fds_max) {
		vu_drop(op->s, "%s with %u descriptors", row->name, m->nfds);
		return -EPROTO;
	}
	if (row->measure && row->measure(op) < 0) {
		vu_drop(op->s,
			"%s whose size or descriptors do not fit its "
			"contents",
			row->name);
		return -EPROTO;
	}
	return 0;
}

/* Does the message request an acknowledgement, which can report an error? */
static bool wants_ack(const struct vu_op *op)
{
	return (op->m->hdr.flags & VU_FLAG_NEED_REPLY) &&
	       (vu_has(op->s, VHOST_USER_PROTOCOL_F_REPLY_ACK) ||
		(op->row && op->row->reply == VU_ACK_ASKED));
}

/* QEMU reads GET_QUEUE_NUM as pairs, so it may start rings that do not exist,
 * without requesting an acknowledgement. The connection ends then, since the
 * guest would lose the frames of such a ring without an error. */
static int no_such_ring(struct vu_op *op)
{
	unsigned int pairs = op->s->cfg.queue_pairs;

	if (op->m->hdr.request == VHOST_USER_SET_VRING_KICK && !wants_ack(op))
		vu_drop(op->s, "ring %u is started, there are %u (queues=%u)",
			op->index, pairs * VDEV_VQS, pairs);
	else
		vu_warn(op->s, "ring %u: there are %u (queues=%u)", op->index,
			pairs * VDEV_VQS, pairs);
	return -ENOBUFS;
}

/* Finds the ring that the message names; creates its queue pair if needed. */
static int find_ring(struct vu_op *op)
{
	struct vu_session *s = op->s;
	unsigned int n;
	int ret;

	if (op->row->flags & VU_RING_U64)
		op->index = (uint32_t)(op->m->payload.u64 & VU_VRING_IDX_MASK);
	else if (op->row->flags & VU_RING_STATE)
		op->index = op->m->payload.state.index;
	else
		return 0;
	if (op->index >= s->cfg.queue_pairs * VDEV_VQS)
		return no_such_ring(op);
	n = op->index / VDEV_VQS;
	if (!s->pair[n]) {
		ret = vu_pair_new(s, n);
		if (ret < 0)
			return ret;
	}
	op->pair = s->pair[n];
	op->qi = op->index % VDEV_VQS;
	if ((op->row->flags & VU_RING_STOPPED) &&
	    op->pair->ring[op->qi].state == VRING_RUNNING)
		return -EBUSY;
	return 0;
}

/* Checks the row against the state of the session. */
static int check_state(struct vu_op *op)
{
	const struct vu_row *row = op->row;

	if (row->flags & VU_REFUSED)
		return -EOPNOTSUPP;
	if (row->feature != VU_NO_FEATURE && !vu_has(op->s, row->feature))
		return -EPROTO;
	return find_ring(op);
}

static int run_on_worker(struct vu_pair *p, void *arg)
{
	struct vu_op *op = arg;

	(void)p;
	return op->row->run(op);
}

static int run_handler(struct vu_op *op)
{
	bool suspended = vu_suspended(op->s);
	int ret = check_state(op);

	if (ret < 0)
		return ret;
	if (op->pair)
		ret = vu_pair_call(op->pair, run_on_worker, op);
	else
		ret = op->row->run(op);
	if (ret == 0 && (op->row->flags & VU_MAY_START) && !op->s->closing) {
		ret = vu_start_rings(op->s, op->pair);
		if (ret == 0)
			vu_channel_pump(op->s);
	}
	if ((op->row->flags & VU_STOPS) && !suspended && !op->s->closing)
		vu_channel_flush(op->pair);
	if (op->pair)
		vu_pair_update_ports(op->pair);
	return ret;
}

static void acknowledge(struct vu_op *op)
{
	struct vu_session *s = op->s;

	if (wants_ack(op))
		vu_send_reply_u64(s, op->m->hdr.request, (uint64_t)-op->ret);
	else if (op->ret < 0 && op->row && op->row->reply == VU_ACK_OR_DROP)
		vu_drop(s, "%s failed, and no reply can report it",
			op->row->name);
}

static enum vu_reply reply_kind(const struct vu_op *op)
{
	const struct vu_row *row = op->row;

	if (row->reply != VU_REPLY_FULL)
		return row->reply;
	return op->m->hdr.size == row->max && vu_has(op->s, row->feature)
		       ? VU_REPLY_ZERO
		       : VU_ACK;
}

static void finish_request(struct vu_op *op)
{
	enum vu_reply kind = reply_kind(op);

	if (op->later)
		return;
	if (op->ret < 0) {
		switch (kind) {
		case VU_ACK:
		case VU_ACK_OR_DROP:
		case VU_ACK_ASKED:
			break;
		case VU_REPLY:
			vu_drop(op->s, "%s failed, and its reply cannot say so",
				op->row->name);
			return;
		case VU_REPLY_RESULT:
			vu_send_reply_u64(op->s, op->m->hdr.request,
					  (uint64_t)-op->ret);
			return;
		case VU_REPLY_EMPTY:
			op->reply.hdr.size = op->reply.nfds = 0;
			break;
		case VU_REPLY_ZERO:
		case VU_REPLY_FULL:
			memset(&op->reply.payload, 0,
			       sizeof(op->reply.payload));
			op->reply.hdr.size = op->m->hdr.size;
			op->reply.nfds = 0;
			break;
		}
	}
	if (op->reply.hdr.size || op->reply.nfds || kind >= VU_REPLY)
		send_reply(op->s, &op->reply);
	else
		acknowledge(op);
}

void vu_handle(struct vu_session *s, struct vu_msg *m)
{
	struct vu_op op = {
		.s = s,
		.row = vu_row_find(m->hdr.request),
		.m = m,
		.reply_fd = -1,
	};

	if (!op.row) {
		vu_warn(s, "request %u is unknown", m->hdr.request);
		op.ret = -EOPNOTSUPP;
		acknowledge(&op);
		return;
	}
	log_debug(&s->cfg.tag, "%s: %u bytes, %u descriptors", op.row->name,
		  m->hdr.size, m->nfds);
	if (check_shape(&op) < 0)
		return;
	init_reply(&op.reply, m->hdr.request);
	op.ret = run_handler(&op);
	if (op.ret < 0)
		vu_warn(s, "%s: %s", op.row->name, strerror(-op.ret));
	finish_request(&op);
	fd_drop(&op.reply_fd);
}
