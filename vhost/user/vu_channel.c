/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vu_channel.c sends requests to the frontend, on the socket of
 * SET_BACKEND_REQ_FD: IOTLB misses, in-band calls and errors, changes of the
 * configuration. It runs on the control thread.
 *
 * Misses are sent as they occur and request no reply: the frontend sends an
 * update on the main socket. Each kick of a waiting ring repeats its miss, so
 * misses are sent only while the socket is writable; the others stay in the
 * devices, one for each ring. Calls and errors request a reply, which a
 * frontend that simulates time uses to hold the backend. At most one such
 * request has no reply yet; calls of a ring meanwhile become one pending call.
 * So the bytes that wait in a full socket are limited.
 *
 * A suspended device sends nothing: only started rings have misses, and the
 * other requests wait until a ring starts.
 */
#include "vu_priv.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "evfd.h"

static bool is_open(const struct vu_session *s)
{
	return s->ch.ep.sock >= 0;
}

static void close_channel(struct vu_session *s)
{
	worker_watch_del(s->control, &s->ch.watch);
	vu_endpoint_close(&s->ch.ep);
	s->ch.waiting = false;
}

static int send_request(struct vu_session *s, struct vu_msg *m, bool ack)
{
	int ret;

	if (ack && vu_has(s, VHOST_USER_PROTOCOL_F_REPLY_ACK)) {
		m->hdr.flags |= VU_FLAG_NEED_REPLY;
		s->ch.waiting = true;
	}
	ret = vu_send(&s->ch.ep, m, VU_SEND_MS);
	if (ret < 0)
		vu_drop(s, "cannot send on the backend's channel: %s",
			strerror(-ret));
	return ret;
}

/* ---- calls and errors ---- */

static struct vu_notice *next_notice(struct vu_session *s)
{
	for (unsigned int i = 0; i < s->cfg.queue_pairs; i++) {
		struct vu_pair *p = s->pair[i];

		for (unsigned int k = 0; p && k < VDEV_VQS; k++) {
			if (p->ring[k].call.state == NOTICE_PENDING)
				return &p->ring[k].call;
			if (p->ring[k].err.state == NOTICE_PENDING)
				return &p->ring[k].err;
		}
	}
	return NULL;
}

static bool may_send(const struct vu_session *s)
{
	return is_open(s) && !s->ch.waiting && !s->closing;
}

static void send_notices(struct vu_session *s)
{
	struct vu_notice *n;

	while (may_send(s) && (n = next_notice(s))) {
		struct vu_msg m;

		vu_msg_init(&m, n->request);
		m.payload.state.index = n->pair->n * VDEV_VQS + n->qi;
		m.hdr.size = sizeof(m.payload.state);
		n->state = NOTICE_IDLE;
		send_request(s, &m, true);
	}
}

void vu_channel_pump(struct vu_session *s)
{
	struct vu_msg m;

	if (vu_suspended(s))
		return;
	send_notices(s);
	if (!s->ch.config_pending || !may_send(s))
		return;
	vu_msg_init(&m, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG);
	s->ch.config_pending = false;
	send_request(s, &m, true);
}

static void take_notice(struct vu_notice *n)
{
	if (n->watch.fd >= 0 && evfd_drain(n->watch.fd))
		n->state = NOTICE_PENDING;
}

void vu_channel_flush(struct vu_pair *p)
{
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		take_notice(&p->ring[i].call);
		take_notice(&p->ring[i].err);
	}
	send_notices(p->s);
}

static void drop_notice(struct vu_notice *n)
{
	take_notice(n);
	if (n->state == NOTICE_PENDING)
		n->state = NOTICE_IDLE;
}

void vu_channel_forget(struct vu_session *s)
{
	for (unsigned int i = 0; i < s->cfg.queue_pairs; i++)
		for (unsigned int k = 0; s->pair[i] && k < VDEV_VQS; k++) {
			drop_notice(&s->pair[i]->ring[k].call);
			drop_notice(&s->pair[i]->ring[k].err);
		}
}

static void on_notice(struct loop_watch *watch, uint32_t events)
{
	struct vu_notice *n = container_of(watch, struct vu_notice, watch);

	(void)events;
	take_notice(n);
	vu_channel_pump(n->pair->s);
}

int vu_notice_open(struct vu_session *s, struct vu_notice *n)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), copy, ret;

	if (fd < 0)
		return -errno;
	copy = dup(fd);
	ret = copy < 0 ? -errno : 0;
	n->watch.fn = on_notice;
	if (ret == 0)
		ret = worker_watch_add(s->control, &n->watch, fd, EPOLLIN);
	if (ret == 0) {
		n->state = NOTICE_IDLE;
		return copy;
	}
	close(fd);
	if (copy >= 0)
		close(copy);
	return ret;
}

void vu_notice_close(struct vu_session *s, struct vu_notice *n)
{
	int fd = n->watch.fd;

	worker_watch_del(s->control, &n->watch);
	if (fd >= 0)
		close(fd);
	n->state = NOTICE_FRONTEND;
}

void vu_config_changed(struct vu_session *s)
{
	if (!vu_has(s, VHOST_USER_PROTOCOL_F_CONFIG))
		return;
	s->ch.config_pending = true;
	vu_channel_pump(s);
}

/* ---- misses ---- */

void vu_iotlb_event(void *ctx)
{
	const struct vu_pair *p = ctx;

	evfd_signal(p->s->ch.misses.fd);
}

struct misses {
	unsigned int n;
	struct vhost_iotlb_msg q[VDEV_VQS];
};

static int read_misses(struct vu_pair *p, void *arg)
{
	struct misses *out = arg;
	struct vhost_msg m;

	memset(&m, 0, sizeof(m));
	while (out->n < VDEV_VQS &&
	       vdev_iotlb_read(p->vdev, &m, sizeof(m)) == sizeof(m))
		memcpy(&out->q[out->n++], &m.iotlb, sizeof(m.iotlb));
	return 0;
}

/* If not, on_channel() calls send_misses() when it is. */
static bool is_writable(struct vu_session *s)
{
	struct pollfd p = { .fd = s->ch.ep.sock, .events = POLLOUT };

	if (poll(&p, 1, 0) > 0)
		return true;
	worker_watch_mod(s->control, &s->ch.watch, EPOLLIN | EPOLLOUT);
	return false;
}

/* Without a channel the misses stay in the devices. */
static void send_misses(struct vu_session *s)
{
	for (unsigned int i = 0; i < s->cfg.queue_pairs && is_open(s); i++) {
		struct misses q = { 0 };

		if (!is_writable(s))
			return;
		if (s->pair[i] && s->pair[i]->vdev)
			vu_pair_call(s->pair[i], read_misses, &q);
		for (unsigned int k = 0; k < q.n && !s->closing; k++) {
			struct vu_msg m;

			vu_msg_init(&m, VHOST_USER_BACKEND_IOTLB_MSG);
			memcpy(&m.payload.iotlb, &q.q[k], sizeof(q.q[k]));
			m.hdr.size = sizeof(m.payload.iotlb);
			send_request(s, &m, false);
		}
	}
}

static void on_miss(struct loop_watch *watch, uint32_t events)
{
	struct vu_channel *ch = container_of(watch, struct vu_channel, misses);
	struct vu_session *s = container_of(ch, struct vu_session, ch);

	(void)events;
	if (!evfd_drain(watch->fd))
		return;
	send_misses(s);
}

static int write_iotlb(struct vu_pair *p, void *arg)
{
	struct vhost_msg m;
	ssize_t n;

	memset(&m, 0, sizeof(m));
	m.type = VHOST_IOTLB_MSG;
	m.iotlb = *(const struct vhost_iotlb_msg *)arg;
	n = vdev_iotlb_write(p->vdev, &m, sizeof(m));
	return n < 0 ? (int)n : 0;
}

int vu_iotlb_msg(struct vu_op *op)
{
	return vu_each_pair(op->s, write_iotlb, &op->m->payload.iotlb);
}

/* ---- the socket ---- */

static void on_channel(struct loop_watch *watch, uint32_t events)
{
	struct vu_channel *ch = container_of(watch, struct vu_channel, watch);
	struct vu_session *s = container_of(ch, struct vu_session, ch);

	if (events & EPOLLOUT) {
		worker_watch_mod(s->control, &ch->watch, EPOLLIN);
		send_misses(s);
	}
	for (unsigned int i = 0; i < VDEV_VQS * 16 && is_open(s); i++) {
		struct vu_msg m;
		int ret = vu_recv(&ch->ep, &m);

		if (ret == -EAGAIN)
			return;
		if (ret < 0) {
			if (ret != -ECONNRESET)
				vu_warn(s, "not a reply: %s", strerror(-ret));
			close_channel(s);
			return;
		}
		vu_msg_close_fds(&m);
		ch->waiting = false;
		vu_channel_pump(s);
	}
}

int vu_set_backend_req_fd(struct vu_op *op)
{
	struct vu_session *s = op->s;
	int type = 0, fd = vu_msg_take_fd(op->m, 0), ret;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    type != SOCK_STREAM) {
		close(fd);
		return -ENOTSOCK;
	}
	close_channel(s);
	vu_endpoint_init(&s->ch.ep, fd);
	s->ch.watch.fn = on_channel;
	ret = worker_watch_add(s->control, &s->ch.watch, fd, EPOLLIN);
	if (ret < 0) {
		close_channel(s);
		return ret;
	}
	send_misses(s);
	vu_channel_pump(s);
	return 0;
}

int vu_channel_open(struct vu_session *s)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), ret;

	if (fd < 0)
		return -errno;
	s->ch.misses.fn = on_miss;
	ret = worker_watch_add(s->control, &s->ch.misses, fd, EPOLLIN);
	if (ret < 0)
		close(fd);
	return ret;
}

void vu_channel_close(struct vu_session *s)
{
	int fd = s->ch.misses.fd;

	close_channel(s);
	worker_watch_del(s->control, &s->ch.misses);
	if (fd >= 0)
		close(fd);
}
