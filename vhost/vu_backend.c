/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A session: its control thread, its queue pairs, and the way of a message.
 *
 * This file and the handlers read hostile bytes. A message is judged by its row
 * alone (vu_table.c) before a handler sees it. What cannot be a message of a
 * sane peer (size or descriptors that do not fit the row) ends the connection;
 * what is wrong only now, or with these values, is an error that the peer can
 * ask for. Descriptors that no handler takes are closed behind it.
 *
 * The socket is closed by vu_session_free() only: vu_session_end() may use it
 * on any thread. Everything else a peer gave is let go on the control thread,
 * which may hang in it (a file of a hostile FUSE server) without hurting
 * anybody else.
 */
#include "vu_priv.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"

/* Messages in a row before the other descriptors are looked at. */
#define MESSAGES_PER_TURN 32
/* Complaints that are logged; a hostile peer may cause any number. */
#define ERRORS_LOGGED 32
/* How often a peer is looked for that a worker may wait for. */
#define LOOK_MS 100

/* ---- the log ---- */

static void __attribute__((format(printf, 3, 0))) log_text(struct vu_session *s,
							   enum log_level level,
							   const char *fmt,
							   va_list ap)
{
	char text[160];

	vsnprintf(text, sizeof(text), fmt, ap);
	log_limited(s->cfg.limit, &s->cfg.tag, level, "%s", text);
}

static void __attribute__((format(printf, 3, 4)))
say(struct vu_session *s, enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_text(s, level, fmt, ap);
	va_end(ap);
}

void vu_complain(struct vu_session *s, const char *fmt, ...)
{
	va_list ap;

	if (s->errors == ERRORS_LOGGED)
		say(s, LOG_LEVEL_WARNING,
		    "no more of this peer's errors are logged");
	if (s->errors <= ERRORS_LOGGED)
		s->errors++;
	if (s->errors > ERRORS_LOGGED)
		return;
	va_start(ap, fmt);
	log_text(s, LOG_LEVEL_WARNING, fmt, ap);
	va_end(ap);
}

void vu_drop(struct vu_session *s, const char *fmt, ...)
{
	va_list ap;

	if (s->closing)
		return;
	s->closing = true;
	shutdown(s->ep.sock, SHUT_RDWR); /* on_socket() does the rest */
	va_start(ap, fmt);
	log_text(s, LOG_LEVEL_WARNING, fmt, ap);
	va_end(ap);
}

/* ---- queue pairs ---- */

struct pair_call {
	struct vu_pair *p;
	int (*fn)(struct vu_pair *p, void *arg);
	void *arg;
	int ret;
};

static void run_pair_call(void *arg)
{
	struct pair_call *c = arg;

	c->ret = c->fn(c->p, c->arg);
}

static bool peer_gone(const struct vu_session *s)
{
	struct pollfd p = { .fd = s->ep.sock, .events = POLLRDHUP };

	return poll(&p, 1, 0) > 0;
}

/* The worker may wait for a page that only the frontend brings, or in a call
 * that only the frontend ends. This thread watches the frontend's socket, so
 * while it waits for the worker it has to look for itself. */
static void look_for_peer(void *arg)
{
	const struct pair_call *c = arg;

	if (!peer_gone(c->p->s))
		return;
	vu_postcopy_stop(c->p->s);
	worker_interrupt(c->p->worker);
}

int vu_pair_call(struct vu_pair *p, int (*fn)(struct vu_pair *p, void *arg),
		 void *arg)
{
	struct pair_call c = { .p = p, .fn = fn, .arg = arg };

	worker_call_looking(p->worker, run_pair_call, look_for_peer, &c,
			    LOOK_MS);
	return c.ret;
}

int vu_each_pair(struct vu_session *s, int (*fn)(struct vu_pair *p, void *arg),
		 void *arg)
{
	int ret = 0;

	for (unsigned int i = 0; i < s->cfg.queue_pairs; i++) {
		int one = s->pair[i] ? vu_pair_call(s->pair[i], fn, arg) : 0;

		if (one < 0 && ret == 0)
			ret = one;
	}
	return ret;
}

/* The device, and all that the session knows for it. */
static int pair_begin(struct vu_pair *p, void *unused)
{
	struct vu_session *s = p->s;
	struct vdev_config config = {
		.worker = p->worker,
		.limit = s->cfg.limit,
		.iotlb_event = vu_iotlb_event,
		.ctx = p,
		.own_ports = true,
		.features = vu_device_features(s) &
			    ~BIT(VHOST_USER_F_PROTOCOL_FEATURES),
	};
	struct aspace *as;
	int ret;

	(void)unused;
	if (s->cfg.queue_pairs > 1)
		log_tag_init(&config.tag, "%s.%u", s->cfg.tag.name, p->n);
	else
		config.tag = s->cfg.tag;
	ret = vdev_new(&config, &p->vdev);
	if (ret < 0)
		return ret;
	ret = aspace_new(-1, &as);
	if (ret < 0)
		goto err_free;
	vdev_set_owner(p->vdev, as);
	ret = vu_pair_set_features(p, NULL);
	if (ret == 0)
		ret = vu_pair_set_mem(p, NULL);
	if (ret < 0)
		goto err_free;
	vu_pair_set_inflight(p, NULL);
	if (vu_pair_set_log_fd(p, NULL) < 0)
		vu_complain(s, "the log's descriptor is no eventfd");
	return 0;

err_free:
	vdev_free(p->vdev);
	p->vdev = NULL;
	return ret;
}

static int pair_end(struct vu_pair *p, void *unused)
{
	(void)unused;
	vdev_free(p->vdev);
	p->vdev = NULL;
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		netport_close(p->port[i]);
		p->port[i] = NULL;
	}
	return 0;
}

static void init_ring(struct vu_pair *p, unsigned int qi)
{
	struct vu_ring *r = &p->ring[qi];

	r->kick = -1;
	r->enabled = p->s->enabled;
	r->call = (struct vu_notice){
		.watch.fd = -1,
		.pair = p,
		.qi = qi,
		.request = VHOST_USER_BACKEND_VRING_CALL,
	};
	r->err = r->call;
	r->err.request = VHOST_USER_BACKEND_VRING_ERR;
}

static int pair_new(struct vu_session *s, unsigned int n)
{
	struct vu_pair *p = calloc(1, sizeof(*p));
	char name[24];
	int ret;

	if (!p)
		return -ENOMEM;
	p->s = s;
	p->n = n;
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		init_ring(p, i);
	snprintf(name, sizeof(name), "vu-queue%u", n);
	ret = worker_new(name, s->cfg.busy_poll_us, &p->worker);
	if (ret < 0) {
		free(p);
		return ret;
	}
	ret = vu_pair_call(p, pair_begin, NULL);
	if (ret < 0) {
		worker_finish(p->worker);
		worker_join(p->worker);
		free(p);
		return ret;
	}
	s->pair[n] = p;
	return 0;
}

static void pair_close(struct vu_pair *p)
{
	struct vu_session *s = p->s;

	vu_pair_call(p, vu_pair_stop, NULL);
	vu_pair_show(p);
	vu_pair_call(p, pair_end, NULL);
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		vu_notice_close(s, &p->ring[i].call);
		vu_notice_close(s, &p->ring[i].err);
		if (p->ring[i].kick >= 0)
			close(p->ring[i].kick);
		p->ring[i].kick = -1;
	}
}

static void pair_free(struct vu_pair *p)
{
	worker_finish(p->worker);
	worker_join(p->worker);
	free(p);
}

/* ---- messages ---- */

/* A reply, whatever its payload is. */
static void send_reply(struct vu_session *s, struct vu_msg *reply)
{
	int ret;

	if (s->closing)
		return;
	ret = vu_send(&s->ep, reply, VU_SEND_MS);
	if (ret < 0)
		vu_drop(s, "a reply does not go through: %s", strerror(-ret));
}

static void init_reply(struct vu_msg *reply, uint32_t request)
{
	vu_msg_init(reply, request);
	reply->hdr.flags |= VU_FLAG_REPLY;
}

void vu_reply_u64(struct vu_session *s, uint32_t request, uint64_t value)
{
	struct vu_msg reply;

	init_reply(&reply, request);
	reply.payload.u64 = value;
	reply.hdr.size = sizeof(value);
	send_reply(s, &reply);
}

/* What the row says of the message itself; else the connection ends. */
static int judge_shape(struct vu_op *op)
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
			"%s whose size or descriptors do not fit what "
			"it says",
			row->name);
		return -EPROTO;
	}
	return 0;
}

/* Will the peer hear of an error? */
static bool acks(const struct vu_op *op)
{
	return (op->m->hdr.flags & VU_FLAG_NEED_REPLY) &&
	       (vu_has(op->s, VHOST_USER_PROTOCOL_F_REPLY_ACK) ||
		(op->row && op->row->reply == VU_ACK_ASKED));
}

/* QEMU takes GET_QUEUE_NUM for pairs, so it may have more than there are. It
 * starts them without asking whether they could be: frames in them would be
 * lost unseen. */
static int no_such_ring(struct vu_op *op)
{
	unsigned int pairs = op->s->cfg.queue_pairs;

	if (op->m->hdr.request == VHOST_USER_SET_VRING_KICK && !acks(op))
		vu_drop(op->s, "ring %u is started, there are %u (queues=%u)",
			op->index, pairs * VDEV_VQS, pairs);
	else
		vu_complain(op->s, "ring %u: there are %u (queues=%u)",
			    op->index, pairs * VDEV_VQS, pairs);
	return -ENOBUFS;
}

/* The queue pair that the message names, made if need be. */
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
		ret = pair_new(s, n);
		if (ret < 0)
			return ret;
	}
	op->pair = s->pair[n];
	op->qi = op->index % VDEV_VQS;
	if ((op->row->flags & VU_RING_STOPPED) &&
	    op->pair->ring[op->qi].running)
		return -EBUSY;
	return 0;
}

/* What the row says of the state. */
static int judge_state(struct vu_op *op)
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

/* Rings may have become ready; the message's own tells whether it failed. */
static int start_rings(struct vu_op *op)
{
	struct vu_session *s = op->s;
	int ret;

	for (unsigned int i = 0; i < s->cfg.queue_pairs; i++) {
		if (!s->pair[i] || (op->pair && op->pair != s->pair[i]))
			continue;
		ret = vu_pair_start(s->pair[i]);
		if (ret < 0 && op->pair)
			return ret;
	}
	vu_channel_pump(s);
	return 0;
}

static int run(struct vu_op *op)
{
	bool suspended = vu_suspended(op->s);
	int ret = judge_state(op);

	if (ret < 0)
		return ret;
	if (op->pair)
		ret = vu_pair_call(op->pair, run_on_worker, op);
	else
		ret = op->row->run(op);
	if (ret == 0 && (op->row->flags & VU_MAY_START) && !op->s->closing)
		ret = start_rings(op);
	if ((op->row->flags & VU_STOPS) && !suspended && !op->s->closing)
		vu_channel_flush(op->pair);
	if (op->pair)
		vu_pair_show(op->pair);
	return ret;
}

static void acknowledge(struct vu_op *op)
{
	struct vu_session *s = op->s;

	if (acks(op))
		vu_reply_u64(s, op->m->hdr.request, (uint64_t)-op->ret);
	else if (op->ret < 0 && op->row && op->row->reply == VU_ACK_LOUD)
		vu_drop(s, "%s failed, and the peer cannot be told",
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

static void answer(struct vu_op *op)
{
	enum vu_reply kind = reply_kind(op);

	if (op->later)
		return;
	if (op->ret < 0) {
		switch (kind) {
		case VU_ACK:
		case VU_ACK_LOUD:
		case VU_ACK_ASKED:
			break;
		case VU_REPLY:
			vu_drop(op->s, "%s has no answer", op->row->name);
			return;
		case VU_REPLY_U64:
			vu_reply_u64(op->s, op->m->hdr.request,
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
		vu_complain(s, "request %u is unknown", m->hdr.request);
		op.ret = -EOPNOTSUPP;
		acknowledge(&op);
		return;
	}
	log_debug(&s->cfg.tag, "%s: %u bytes, %u descriptors", op.row->name,
		  m->hdr.size, m->nfds);
	if (judge_shape(&op) < 0)
		return;
	init_reply(&op.reply, m->hdr.request);
	op.ret = run(&op);
	if (op.ret < 0)
		vu_complain(s, "%s: %s", op.row->name, strerror(-op.ret));
	answer(&op);
	if (op.reply_fd >= 0)
		close(op.reply_fd);
}

/* ---- the session ---- */

/* The last deed of the control thread. */
static void session_close(struct vu_session *s)
{
	s->closing = true;
	worker_watch_del(s->control, &s->watch);
	shutdown(s->ep.sock, SHUT_RDWR);
	vu_msg_close_fds(&s->ep.m);
	vu_postcopy_stop(s);
	vu_transfer_stop(s);
	for (unsigned int i = 0; i < s->cfg.queue_pairs; i++)
		if (s->pair[i])
			pair_close(s->pair[i]);
	vu_channel_close(s);
	vu_mem_free(s);
	aspace_map_put(s->inflight);
	s->inflight = NULL;
	if (s->log_fd >= 0)
		close(s->log_fd);
	s->log_fd = -1;
	if (s->cfg.closed)
		s->cfg.closed(s->cfg.ctx, s);
}

static void receive(struct vu_session *s)
{
	for (unsigned int i = 0; i < MESSAGES_PER_TURN && !s->closing; i++) {
		struct vu_msg m;
		int ret = vu_recv(&s->ep, &m);

		if (ret == -EAGAIN)
			return;
		if (ret == -ECONNRESET) {
			say(s, LOG_LEVEL_INFO, "the peer has gone");
			s->closing = true;
			return;
		}
		if (ret < 0) {
			vu_drop(s, "not a message: %s", strerror(-ret));
			return;
		}
		vu_handle(s, &m);
		vu_msg_close_fds(&m);
	}
}

static void on_socket(struct worker_watch *watch, uint32_t events)
{
	struct vu_session *s = container_of(watch, struct vu_session, watch);

	(void)events;
	receive(s);
	if (s->closing)
		session_close(s);
}

/* What was possible at the start may not be without capabilities. */
static void offer_postcopy(struct vu_session *s)
{
	int ret = s->cfg.postcopy ? vu_postcopy_check(s) : -EOPNOTSUPP;

	s->postcopy = ret == 0;
	if (s->cfg.postcopy && ret < 0)
		say(s, LOG_LEVEL_WARNING,
		    "postcopy is not offered: no userfaultfd: %s",
		    strerror(-ret));
}

static void start_session(void *arg)
{
	struct vu_session *s = arg;
	int ret = vu_channel_open(s);

	offer_postcopy(s);
	if (ret == 0)
		ret = worker_watch_add(s->control, &s->watch, s->ep.sock,
				       EPOLLIN);
	if (ret < 0) {
		say(s, LOG_LEVEL_ERROR, "cannot serve: %s", strerror(-ret));
		session_close(s);
	}
}

int vu_session_new(const struct vu_session_config *config, int sock,
		   struct vu_session **out)
{
	struct vu_session *s;
	int ret;

	if (!config->queue_pairs || config->queue_pairs > VU_QUEUE_PAIRS_MAX)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->cfg = *config;
	memcpy(s->mac, config->mac, sizeof(s->mac));
	s->mtu = config->mtu;
	s->watch = (struct worker_watch){ .fn = on_socket, .fd = -1 };
	s->ch.watch.fd = s->ch.misses.fd = s->ch.ep.sock = -1;
	s->transfer.watch.fd = s->transfer.fd = s->uffd = s->log_fd = -1;
	s->transfer.result = -ENOENT;
	ret = worker_new("vu-control", 0, &s->control);
	if (ret < 0) {
		free(s);
		return ret;
	}
	vu_endpoint_init(&s->ep, sock);
	*out = s;
	s->start = (struct worker_job){ .fn = start_session, .arg = s };
	worker_post(s->control, &s->start);
	return 0;
}

void vu_session_end(struct vu_session *s)
{
	shutdown(s->ep.sock, SHUT_RDWR);
}

void vu_session_interrupt(struct vu_session *s)
{
	worker_interrupt(s->control);
}

void vu_session_free(struct vu_session *s)
{
	if (!s)
		return;
	worker_finish(s->control);
	worker_join(s->control);
	for (unsigned int i = 0; i < VU_QUEUE_PAIRS_MAX; i++)
		if (s->pair[i])
			pair_free(s->pair[i]);
	vu_endpoint_close(&s->ep);
	free(s);
}

/* ---- for people ---- */

static int print_pair(struct vu_pair *p, void *out)
{
	if (p->vdev)
		vdev_print(p->vdev, out);
	return 0;
}

struct print {
	struct worker_job job;
	struct vu_session *s;
};

static void run_print(void *arg)
{
	struct print *p = arg;
	struct vu_session *s = p->s;

	fprintf(stderr,
		"%s: vhost-user features 0x%llx protocol 0x%llx status 0x%x "
		"regions %zu log %s\n",
		s->cfg.tag.name, (unsigned long long)s->features,
		(unsigned long long)s->protocol_features, s->status, s->mem.n,
		s->mem.log ? "yes" : "no");
	vu_each_pair(s, print_pair, stderr);
	free(p);
}

void vu_session_print(struct vu_session *s)
{
	struct print *p = malloc(sizeof(*p));

	if (!p)
		return;
	p->s = s;
	p->job = (struct worker_job){ .fn = run_print, .arg = p };
	worker_post(s->control, &p->job);
}
