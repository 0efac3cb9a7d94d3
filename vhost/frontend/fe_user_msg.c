/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fe_user_msg.c sends the requests of transport "user" and receives the
 * replies. It checks size and request number of a reply, closes descriptors
 * that do not belong to it, and never waits longer than the caller's timeout.
 * The frontend's lock is held.
 */
#include "fe_user.h"

#include <errno.h>
#include <sys/socket.h>

bool fe_user_is_dead(const struct fe_user *u)
{
	return __atomic_load_n(&u->dead, __ATOMIC_ACQUIRE);
}

int fe_user_fail(struct fe_user *u, int why)
{
	__atomic_store_n(&u->dead, true, __ATOMIC_RELEASE);
	shutdown(u->ep.sock, SHUT_RDWR);
	return why == -ECONNRESET ? -EPIPE : why;
}

struct vu_msg fe_user_message(uint32_t request, uint32_t size)
{
	struct vu_msg m;

	vu_msg_init(&m, request);
	m.hdr.size = size;
	return m;
}

struct vu_msg fe_user_message_u64(uint32_t request, uint64_t value)
{
	struct vu_msg m = fe_user_message(request, sizeof(m.payload.u64));

	m.payload.u64 = value;
	return m;
}

struct vu_msg fe_user_message_state(uint32_t request, unsigned int index,
				    unsigned int num)
{
	struct vu_msg m = fe_user_message(request, sizeof(m.payload.state));

	m.payload.state.index = index;
	m.payload.state.num = num;
	return m;
}

void fe_user_attach(struct vu_msg *m, int fd)
{
	if (fd >= 0)
		m->fds[m->nfds++] = fd;
}

/* The protocol feature that a request needs, plus 1; 0: it needs none */
static const uint8_t feature_of_request[VHOST_USER_REQUESTS] = {
#define R(request, feature) \
	[VHOST_USER_##request] = (VHOST_USER_PROTOCOL_F_##feature + 1)
	R(SET_LOG_BASE, LOG_SHMFD),
	R(SET_BACKEND_REQ_FD, BACKEND_REQ),
	R(GET_MAX_MEM_SLOTS, CONFIGURE_MEM_SLOTS),
	R(ADD_MEM_REG, CONFIGURE_MEM_SLOTS),
	R(REM_MEM_REG, CONFIGURE_MEM_SLOTS),
	R(POSTCOPY_ADVISE, PAGEFAULT),
	R(POSTCOPY_LISTEN, PAGEFAULT),
	R(POSTCOPY_END, PAGEFAULT),
	R(NET_SET_MTU, MTU),
	R(SEND_RARP, RARP),
	R(GET_CONFIG, CONFIG),
	R(SET_CONFIG, CONFIG),
	R(GET_STATUS, STATUS),
	R(SET_STATUS, STATUS),
	R(RESET_DEVICE, RESET_DEVICE),
	R(VRING_KICK, INBAND_NOTIFICATIONS),
	R(GET_INFLIGHT_FD, INFLIGHT_SHMFD),
	R(SET_INFLIGHT_FD, INFLIGHT_SHMFD),
	R(SET_DEVICE_STATE_FD, DEVICE_STATE),
	R(CHECK_DEVICE_STATE, DEVICE_STATE),
#undef R
};

static int send_msg(struct fe_user *u, const struct vu_msg *m)
{
	uint8_t feature = feature_of_request[m->hdr.request];
	int ret;

	if (feature && !fe_user_negotiated(u, feature - 1u))
		return -EOPNOTSUPP;
	if (fe_user_is_dead(u))
		return -EPIPE;
	ret = vu_send(&u->ep, m, u->timeout_ms);
	return ret < 0 ? fe_user_fail(u, ret) : 0;
}

static int recv_reply(struct fe_user *u, uint32_t request, uint32_t size,
		      unsigned int nfds_max, struct vu_msg *reply)
{
	int ret = vu_recv_wait(&u->ep, reply, u->timeout_ms);

	if (ret < 0)
		return fe_user_fail(u, ret == -EMSGSIZE ? -EPROTO : ret);
	if (reply->hdr.request != request ||
	    !(reply->hdr.flags & VU_FLAG_REPLY) ||
	    (size != FE_USER_ANY_SIZE && reply->hdr.size != size)) {
		vu_msg_close_fds(reply);
		return fe_user_fail(u, -EPROTO);
	}
	if (reply->nfds > nfds_max)
		vu_msg_close_fds(reply);
	return 0;
}

int fe_user_ask(struct fe_user *u, const struct vu_msg *m, uint32_t size,
		unsigned int nfds_max, struct vu_msg *reply)
{
	int ret = send_msg(u, m);

	return ret < 0 ? ret
		       : recv_reply(u, m->hdr.request, size, nfds_max, reply);
}

int fe_user_ask_u64(struct fe_user *u, uint32_t request, uint64_t *value)
{
	struct vu_msg m = fe_user_message(request, 0), reply;
	int ret = fe_user_ask(u, &m, sizeof(*value), 0, &reply);

	if (ret == 0)
		*value = reply.payload.u64;
	return ret;
}

int fe_user_tell(struct fe_user *u, struct vu_msg *m)
{
	struct vu_msg reply;
	int ret;

	if (!fe_user_negotiated(u, VHOST_USER_PROTOCOL_F_REPLY_ACK))
		return send_msg(u, m);
	m->hdr.flags |= VU_FLAG_NEED_REPLY;
	ret = fe_user_ask(u, m, sizeof(reply.payload.u64), 0, &reply);
	if (ret < 0)
		return ret;
	return reply.payload.u64 ? -EIO : 0;
}

/* Requests are handled in order, so a reply to a later one confirms this one.
 */
int fe_user_tell_and_wait(struct fe_user *u, struct vu_msg *m)
{
	uint64_t unused;
	int ret = fe_user_tell(u, m);

	if (ret < 0 || fe_user_negotiated(u, VHOST_USER_PROTOCOL_F_REPLY_ACK))
		return ret;
	return fe_user_ask_u64(u, VHOST_USER_GET_FEATURES, &unused);
}
