/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fe_user_migrate.c has the calls of transport "user" for migration and
 * reconnection: in-flight descriptors, postcopy, device state.
 */
#include "fe_user.h"

#include <errno.h>
#include <stdlib.h>

int fe_user_get_inflight(struct uvh *fe, struct uvh_inflight *inflight)
{
	struct fe_user *u = fe_user_of(fe);
	struct vu_msg m = fe_user_message(VHOST_USER_GET_INFLIGHT_FD,
					  sizeof(m.payload.inflight));
	const struct vu_inflight *got;
	struct vu_msg reply;
	int ret;

	m.payload.inflight.num_queues = inflight->queues;
	m.payload.inflight.queue_size = inflight->queue_size;
	ret = fe_user_ask(u, &m, FE_USER_ANY_SIZE, 1, &reply);
	if (ret < 0)
		return ret;
	got = &reply.payload.inflight;
	if (reply.hdr.size != sizeof(*got) &&
	    reply.hdr.size != VU_INFLIGHT_LISTED) {
		vu_msg_close_fds(&reply);
		return fe_user_fail(u, -EPROTO);
	}
	if (!reply.nfds || !got->mmap_size) {
		vu_msg_close_fds(&reply);
		return -EIO;
	}
	inflight->size = got->mmap_size;
	inflight->offset = got->mmap_offset;
	inflight->fd = vu_msg_take_fd(&reply, 0);
	return 0;
}

int fe_user_set_inflight(struct uvh *fe, const struct uvh_inflight *inflight)
{
	struct vu_msg m = fe_user_message(VHOST_USER_SET_INFLIGHT_FD,
					  sizeof(m.payload.inflight));

	m.payload.inflight = (struct vu_inflight){
		.mmap_size = inflight->size,
		.mmap_offset = inflight->offset,
		.num_queues = inflight->queues,
		.queue_size = inflight->queue_size,
	};
	fe_user_attach(&m, inflight->fd);
	return fe_user_tell(fe_user_of(fe), &m);
}

/* vhost-user.rst, Migration: not with memory slots. */
static int need_postcopy(const struct fe_user *u)
{
	if (fe_user_negotiated(u, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		return -EOPNOTSUPP;
	return fe_user_need(u, VHOST_USER_PROTOCOL_F_PAGEFAULT);
}

int fe_user_postcopy_advise(struct uvh *fe, int *uffd)
{
	struct fe_user *u = fe_user_of(fe);
	struct vu_msg m = fe_user_message(VHOST_USER_POSTCOPY_ADVISE, 0), reply;
	int ret = need_postcopy(u);

	if (ret == 0)
		ret = fe_user_ask(u, &m, FE_USER_ANY_SIZE, 1, &reply);
	if (ret < 0)
		return ret;
	if (!reply.nfds)
		return -EIO;
	*uffd = vu_msg_take_fd(&reply, 0);
	return 0;
}

int fe_user_postcopy_listen(struct uvh *fe)
{
	struct fe_user *u = fe_user_of(fe);
	struct vu_msg m = fe_user_message(VHOST_USER_POSTCOPY_LISTEN, 0);
	int ret = need_postcopy(u);

	if (ret == 0)
		ret = fe_user_tell(u, &m);
	if (ret == 0) {
		u->postcopy = true;
		u->nbases = 0;
	}
	return ret;
}

int fe_user_postcopy_end(struct uvh *fe)
{
	struct fe_user *u = fe_user_of(fe);
	struct vu_msg m = fe_user_message(VHOST_USER_POSTCOPY_END, 0), reply;
	int ret = need_postcopy(u);

	/* As QEMU; rust-vmm's backends reply only with this flag. */
	m.hdr.flags |= VU_FLAG_NEED_REPLY;
	if (ret == 0)
		ret = fe_user_ask(u, &m, sizeof(reply.payload.u64), 0, &reply);
	if (ret < 0)
		return ret;
	u->postcopy = false;
	return reply.payload.u64 ? -EIO : 0;
}

int fe_user_postcopy_base(struct uvh *fe, unsigned int i, uint64_t *base)
{
	struct fe_user *u = fe_user_of(fe);
	int ret = need_postcopy(u);

	if (ret < 0)
		return ret;
	if (i >= u->nbases)
		return -ENOENT;
	*base = u->bases[i];
	return 0;
}

/* The reply: an error in the low byte; bit 8: it has no descriptor */
#define STATE_ERROR_MASK 0xff
#define STATE_NOFD 0x100

int fe_user_set_device_state(struct uvh *fe, enum uvh_state_direction direction,
			     int fd, int *other)
{
	struct fe_user *u = fe_user_of(fe);
	struct vu_msg m = fe_user_message(VHOST_USER_SET_DEVICE_STATE_FD,
					  sizeof(m.payload.device_state));
	struct vu_msg reply;
	int ret;

	m.payload.device_state.direction = direction;
	fe_user_attach(&m, fd);
	ret = fe_user_ask(u, &m, sizeof(reply.payload.u64), 1, &reply);
	if (ret < 0)
		return ret;
	if (reply.payload.u64 & STATE_ERROR_MASK) {
		vu_msg_close_fds(&reply);
		return -EIO;
	}
	if (!(reply.payload.u64 & STATE_NOFD) != !!reply.nfds) {
		vu_msg_close_fds(&reply);
		return fe_user_fail(u, -EPROTO);
	}
	*other = vu_msg_take_fd(&reply, 0);
	return 0;
}

int fe_user_check_device_state(struct uvh *fe)
{
	uint64_t result = 0;
	int ret = fe_user_ask_u64(fe_user_of(fe), VHOST_USER_CHECK_DEVICE_STATE,
				  &result);

	if (ret < 0)
		return ret;
	return result ? -EIO : 0;
}

int fe_user_set_bases(struct fe_user *u, const struct vu_mem_region *r,
		      unsigned int n)
{
	uint64_t *b = realloc(u->bases, (n + 1) * sizeof(*b));

	if (!b)
		return -ENOMEM;
	for (unsigned int i = 0; i < n; i++)
		b[i] = r[i].userspace_addr;
	u->bases = b;
	u->nbases = n;
	return 0;
}
