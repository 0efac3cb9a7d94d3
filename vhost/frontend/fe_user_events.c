/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fe_user_events.c handles requests of the backend to transport "user", on a
 * channel of their own. uvh_handle_events() and uvh_iotlb_recv() read it, under
 * ev_lock, and check requests before use. IOTLB messages without a handler are
 * queued for uvh_iotlb_recv().
 */
#include "fe_user.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "evfd.h"
#include "vhost/user/vu_backend_req.h"

/* ---- requests of the backend ---- */

static int queue_iotlb(struct fe_user *u, const struct vhost_iotlb_msg *msg)
{
	if (u->queued == FE_USER_QUEUED_MAX)
		return -ENOBUFS;
	u->queue[(u->queue_head + u->queued++) % FE_USER_QUEUED_MAX] = *msg;
	evfd_signal(u->queued_fd);
	return 0;
}

static bool unqueue_iotlb(struct fe_user *u, struct vhost_iotlb_msg *msg)
	NEEDS(u->ev_lock)
{
	if (!u->queued)
		return false;
	*msg = u->queue[u->queue_head];
	u->queue_head = (u->queue_head + 1) % FE_USER_QUEUED_MAX;
	if (--u->queued == 0)
		evfd_drain(u->queued_fd);
	return true;
}

static int on_iotlb(struct fe_user *u, struct vu_msg *m)
{
	const struct uvh_backend_ops *ops = u->fe.backend_ops;

	if (!ops || !ops->iotlb)
		return queue_iotlb(u, &m->payload.iotlb);
	return ops->iotlb(u->fe.backend_ctx, &m->payload.iotlb);
}

static int on_config_change(struct fe_user *u, struct vu_msg *m)
{
	const struct uvh_backend_ops *ops = u->fe.backend_ops;

	(void)m;
	if (!ops || !ops->config_changed)
		return -EOPNOTSUPP;
	return ops->config_changed(u->fe.backend_ctx);
}

static int on_vring_event(struct fe_user *u, const struct vu_msg *m,
			  int (*fn)(void *ctx, unsigned int qi))
{
	unsigned int qi = m->payload.state.index;

	if (!fn ||
	    fe_user_need(u, VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS) < 0)
		return -EOPNOTSUPP;
	if (qi >= uvh_queue_count(&u->fe))
		return -EINVAL;
	return fn(u->fe.backend_ctx, qi);
}

static int on_vring_call(struct fe_user *u, struct vu_msg *m)
{
	const struct uvh_backend_ops *ops = u->fe.backend_ops;

	return on_vring_event(u, m, ops ? ops->vring_call : NULL);
}

static int on_vring_err(struct fe_user *u, struct vu_msg *m)
{
	const struct uvh_backend_ops *ops = u->fe.backend_ops;

	return on_vring_event(u, m, ops ? ops->vring_err : NULL);
}

static int on_host_notifier(struct fe_user *u, struct vu_msg *m)
{
	const struct uvh_backend_ops *ops = u->fe.backend_ops;
	const struct vu_vring_area *area = &m->payload.area;
	uint64_t qi = area->u64 & VU_VRING_IDX_MASK;
	int fd = area->u64 & VU_VRING_NOFD_MASK || !m->nfds ? -1 : m->fds[0];

	if (!ops || !ops->host_notifier ||
	    fe_user_need(u, VHOST_USER_PROTOCOL_F_HOST_NOTIFIER) < 0)
		return -EOPNOTSUPP;
	if (qi >= uvh_queue_count(&u->fe))
		return -EINVAL;
	return ops->host_notifier(u->fe.backend_ctx, (unsigned int)qi, fd,
				  area->size, area->offset);
}

#define SERVED(handler) handler
#define NOT_SERVED NULL

static const struct {
	uint32_t size;
	int (*fn)(struct fe_user *u, struct vu_msg *m);
} requests[VHOST_USER_BACKEND_REQUESTS] = {
#define R(id, payload, size, needs, sent, handler, note) \
	[VHOST_USER_BACKEND_##id] = { size, handler },
	VU_BACKEND_REQUESTS(R)
#undef R
};

static int handle_request(struct fe_user *u, struct vu_msg *m) NEEDS(u->ev_lock)
{
	struct vu_msg reply;
	int ret = -EOPNOTSUPP;

	if (m->hdr.flags & VU_FLAG_REPLY)
		return -EPROTO;
	if (m->hdr.request < ARRAY_SIZE(requests) &&
	    requests[m->hdr.request].fn) {
		if (m->hdr.size != requests[m->hdr.request].size)
			return -EPROTO;
		ret = requests[m->hdr.request].fn(u, m);
	}
	if (!(m->hdr.flags & VU_FLAG_NEED_REPLY) ||
	    !fe_user_negotiated(u, VHOST_USER_PROTOCOL_F_REPLY_ACK))
		return 0;
	reply = fe_user_message_u64(m->hdr.request,
				    ret < 0 ? (uint64_t)-ret : 0);
	reply.hdr.flags |= VU_FLAG_REPLY;
	return vu_send(&u->back, &reply, u->timeout_ms);
}

/* A backend may close this channel and keep the main one. */
static void close_back(struct fe_user *u) NEEDS(u->ev_lock)
{
	epoll_ctl(u->epfd, EPOLL_CTL_DEL, u->back.sock, NULL);
	u->back_dead = true;
}

static bool hung_up(const struct fe_user *u)
{
	struct pollfd p = { .fd = u->ep.sock, .events = POLLRDHUP };

	return poll(&p, 1, 0) > 0;
}

/* Handles the requests that have arrived; returns their number, or -errno. */
static int drain(struct fe_user *u) NEEDS(u->ev_lock)
{
	struct vu_msg m;
	int n = 0, ret = 0;

	while (__atomic_load_n(&u->have_back, __ATOMIC_ACQUIRE) &&
	       !u->back_dead) {
		ret = vu_recv(&u->back, &m);
		if (ret == -EAGAIN)
			break;
		if (ret == 0) {
			ret = handle_request(u, &m);
			vu_msg_close_fds(&m);
			n++;
		}
		if (ret == -ECONNRESET)
			close_back(u);
		else if (ret < 0)
			return fe_user_fail(u,
					    ret == -EMSGSIZE ? -EPROTO : ret);
	}
	if (n)
		return n;
	if (fe_user_is_dead(u))
		return -EPIPE;
	return hung_up(u) ? fe_user_fail(u, -EPIPE) : 0;
}

int fe_user_handle_events(struct uvh *fe)
{
	struct fe_user *u = fe_user_of(fe);
	int ret;

	mutex_lock(&u->ev_lock);
	ret = drain(u);
	mutex_unlock(&u->ev_lock);
	return ret;
}

int fe_user_iotlb_recv(struct uvh *fe, struct vhost_iotlb_msg *msg)
{
	struct fe_user *u = fe_user_of(fe);
	int ret = 0;

	if (fe_user_need(u, VHOST_USER_PROTOCOL_F_BACKEND_REQ) < 0)
		return -EOPNOTSUPP;
	mutex_lock(&u->ev_lock);
	if (!u->queued)
		ret = drain(u);
	if (unqueue_iotlb(u, msg))
		ret = 0;
	else if (ret >= 0)
		ret = -EAGAIN;
	mutex_unlock(&u->ev_lock);
	return ret;
}

int fe_user_event_fd(const struct uvh *fe)
{
	return fe_user_of(fe)->epfd;
}

/* ---- life ---- */

static int watch(struct fe_user *u, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events };

	return epoll_ctl(u->epfd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

int fe_user_open_back(struct fe_user *u)
{
	struct vu_msg m = fe_user_message(VHOST_USER_SET_BACKEND_REQ_FD, 0);
	int pair[2], ret;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	fe_user_attach(&m, pair[1]);
	ret = fe_user_tell(u, &m);
	close(pair[1]);
	if (ret == 0)
		ret = watch(u, pair[0], EPOLLIN);
	if (ret < 0) {
		close(pair[0]);
		return ret;
	}
	vu_endpoint_init(&u->back, pair[0]);
	__atomic_store_n(&u->have_back, true, __ATOMIC_RELEASE);
	return 0;
}

int fe_user_init_events(struct fe_user *u, int sock)
{
	int ret;

	u->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (u->epfd < 0)
		return -errno;
	u->queued_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (u->queued_fd < 0) {
		ret = -errno;
		goto err_epoll;
	}
	ret = watch(u, u->queued_fd, EPOLLIN);
	if (ret == 0)
		ret = watch(u, sock, EPOLLRDHUP);
	if (ret < 0)
		goto err_queued;
	mutex_init(&u->ev_lock);
	return 0;

err_queued:
	close(u->queued_fd);
err_epoll:
	close(u->epfd);
	return ret;
}

void fe_user_fini_events(struct fe_user *u)
{
	if (u->have_back)
		vu_endpoint_close(&u->back);
	close(u->epfd);
	close(u->queued_fd);
	mutex_destroy(&u->ev_lock);
}
