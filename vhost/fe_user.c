/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Transport "user": vhost-user, the frontend's end of the socket. This file
 * reads what another process sends: sizes and kinds of all answers and requests
 * are judged before anything of them is used, descriptors that nobody wants are
 * closed, and no wait is longer than the caller allowed.
 *
 * Answers carry no number that would tell to what they belong. So a connection
 * is given up (fail) as soon as an answer is late or is not what was asked:
 * from then on every call is -EPIPE.
 *
 * Two channels, two locks. The frontend's lock covers the main one, on which we
 * ask. ev_lock covers the other, on which the backend asks, and is held while
 * handlers run; a handler may take the frontend's lock, so whoever holds that
 * never takes ev_lock.
 */
#include "fe_priv.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "bytes.h"
#include "vu_msg.h"
#include "vu_proto.h"

#define TIMEOUT_MS 5000
#define QUEUED_MAX 64

/* Before MQ tells more. GET_QUEUE_NUM of a net device counts pairs. */
#define QUEUES_DEFAULT 2

struct fe_user {
	struct uvh fe;
	struct vu_endpoint ep;
	int timeout_ms;
	bool dead;        /* atomic */
	uint64_t offered; /* features, as they came */
	bool offered_known;
	uint64_t protocol;  /* accepted; atomic */
	unsigned int slots; /* 0: not asked yet */
	bool postcopy;      /* between listen and end */
	uint64_t *bases;    /* of the table in force, in the backend */
	unsigned int nbases;

	int epfd;                /* for the caller to poll */
	pthread_mutex_t ev_lock; /* the rest */
	struct vu_endpoint back;
	bool have_back; /* atomic: set once, when back is complete */
	bool back_dead;
	int queued_fd; /* eventfd, up while queue is not empty */
	struct vhost_iotlb_msg queue[QUEUED_MAX];
	unsigned int queue_head, queued;
};

static struct fe_user *user(const struct uvh *fe)
{
	return container_of(fe, struct fe_user, fe);
}

static bool is_dead(const struct fe_user *u)
{
	return __atomic_load_n(&u->dead, __ATOMIC_ACQUIRE);
}

/* The connection is of no more use; @why goes to the caller. The socket stays
 * open until the end, since another thread may look at it. */
static int fail(struct fe_user *u, int why)
{
	__atomic_store_n(&u->dead, true, __ATOMIC_RELEASE);
	shutdown(u->ep.sock, SHUT_RDWR);
	return why == -ECONNRESET ? -EPIPE : why;
}

static bool accepted(const struct fe_user *u, unsigned int protocol_feature)
{
	return __atomic_load_n(&u->protocol, __ATOMIC_RELAXED) &
	       BIT(protocol_feature);
}

static int need(const struct fe_user *u, unsigned int protocol_feature)
{
	return accepted(u, protocol_feature) ? 0 : -EOPNOTSUPP;
}

/* ---- questions and answers ---- */

static struct vu_msg message(uint32_t request, uint32_t size)
{
	struct vu_msg m;

	vu_msg_init(&m, request);
	m.hdr.size = size;
	return m;
}

static struct vu_msg message_u64(uint32_t request, uint64_t value)
{
	struct vu_msg m = message(request, sizeof(m.payload.u64));

	m.payload.u64 = value;
	return m;
}

static struct vu_msg message_state(uint32_t request, unsigned int index,
				   unsigned int num)
{
	struct vu_msg m = message(request, sizeof(m.payload.state));

	m.payload.state.index = index;
	m.payload.state.num = num;
	return m;
}

static void attach(struct vu_msg *m, int fd)
{
	if (fd >= 0)
		m->fds[m->nfds++] = fd;
}

static int send_msg(struct fe_user *u, const struct vu_msg *m)
{
	int ret;

	if (is_dead(u))
		return -EPIPE;
	ret = vu_send(&u->ep, m, u->timeout_ms);
	return ret < 0 ? fail(u, ret) : 0;
}

#define ANY_SIZE UINT32_MAX

/*
 * The answer to @request, of exactly @size bytes. Of its descriptors @nfds_max
 * may be wanted: if it has more, or any and none is wanted, they are closed.
 */
static int recv_reply(struct fe_user *u, uint32_t request, uint32_t size,
		      unsigned int nfds_max, struct vu_msg *reply)
{
	int ret = vu_recv_wait(&u->ep, reply, u->timeout_ms);

	if (ret < 0)
		return fail(u, ret == -EMSGSIZE ? -EPROTO : ret);
	if (reply->hdr.request != request ||
	    !(reply->hdr.flags & VU_FLAG_REPLY) ||
	    (size != ANY_SIZE && reply->hdr.size != size)) {
		vu_msg_close_fds(reply);
		return fail(u, -EPROTO);
	}
	if (reply->nfds > nfds_max)
		vu_msg_close_fds(reply);
	return 0;
}

/* A request that has an answer of its own. */
static int ask(struct fe_user *u, const struct vu_msg *m, uint32_t size,
	       unsigned int nfds_max, struct vu_msg *reply)
{
	int ret = send_msg(u, m);

	return ret < 0 ? ret
		       : recv_reply(u, m->hdr.request, size, nfds_max, reply);
}

static int ask_u64(struct fe_user *u, uint32_t request, uint64_t *value)
{
	struct vu_msg m = message(request, 0), reply;
	int ret = ask(u, &m, sizeof(*value), 0, &reply);

	if (ret == 0)
		*value = reply.payload.u64;
	return ret;
}

/* A request that has none: whether it was done is known with REPLY_ACK. */
static int tell(struct fe_user *u, struct vu_msg *m)
{
	struct vu_msg reply;
	int ret;

	if (!accepted(u, VHOST_USER_PROTOCOL_F_REPLY_ACK))
		return send_msg(u, m);
	m->hdr.flags |= VU_FLAG_NEED_REPLY;
	ret = ask(u, m, sizeof(reply.payload.u64), 0, &reply);
	if (ret < 0)
		return ret;
	return reply.payload.u64 ? -EIO : 0;
}

/* The same, and in any case not before it is done: requests are handled in
 * order, so any answer to a later one will do. */
static int tell_and_wait(struct fe_user *u, struct vu_msg *m)
{
	uint64_t unused;
	int ret = tell(u, m);

	if (ret < 0 || accepted(u, VHOST_USER_PROTOCOL_F_REPLY_ACK))
		return ret;
	return ask_u64(u, VHOST_USER_GET_FEATURES, &unused);
}

/* ---- features, owner ---- */

static int get_offered(struct fe_user *u)
{
	int ret = ask_u64(u, VHOST_USER_GET_FEATURES, &u->offered);

	if (ret == 0)
		u->offered_known = true;
	return ret;
}

/* Does the backend know protocol features at all? 0, 1 or -errno. */
static int knows_protocol(struct fe_user *u)
{
	int ret = u->offered_known ? 0 : get_offered(u);

	if (ret < 0)
		return ret;
	return u->offered & BIT(VHOST_USER_F_PROTOCOL_FEATURES) ? 1 : 0;
}

static int user_get_features(struct uvh *fe, uint64_t *features)
{
	struct fe_user *u = user(fe);
	int ret = get_offered(u);

	if (ret == 0)
		*features = u->offered & ~BIT(VHOST_USER_F_PROTOCOL_FEATURES);
	return ret;
}

static int user_set_features(struct uvh *fe, uint64_t features)
{
	struct fe_user *u = user(fe);
	struct vu_msg m;
	int ret = knows_protocol(u);

	if (ret < 0)
		return ret;
	if (ret)
		features |= BIT(VHOST_USER_F_PROTOCOL_FEATURES);
	m = message_u64(VHOST_USER_SET_FEATURES, features);
	return tell(u, &m);
}

static int user_get_protocol_features(struct uvh *fe, uint64_t *features)
{
	struct fe_user *u = user(fe);
	int ret = knows_protocol(u);

	if (ret == 1)
		return ask_u64(u, VHOST_USER_GET_PROTOCOL_FEATURES, features);
	if (ret == 0)
		*features = 0;
	return ret;
}

static int watch(struct fe_user *u, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events };

	return epoll_ctl(u->epfd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

/* The channel for the backend's requests: a pair of sockets, one for each. */
static int open_back(struct fe_user *u)
{
	struct vu_msg m = message(VHOST_USER_SET_BACKEND_REQ_FD, 0);
	int pair[2], ret;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	attach(&m, pair[1]);
	ret = tell(u, &m);
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

static int count_queues(struct fe_user *u)
{
	uint64_t pairs = 0;
	int ret = ask_u64(u, VHOST_USER_GET_QUEUE_NUM, &pairs);

	if (ret < 0)
		return ret;
	if (pairs == 0)
		return fail(u, -EPROTO);
	pairs = MIN(pairs, UVH_QUEUES_MAX / 2);
	__atomic_store_n(&u->fe.queues, (unsigned int)pairs * 2,
			 __ATOMIC_RELAXED);
	return 0;
}

static bool inband_complete(uint64_t features)
{
	const uint64_t with = BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ) |
			      BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK);

	if (!(features & BIT(VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS)))
		return true;
	return (features & with) == with;
}

/* Answers depend on what is accepted, so the request itself goes by what was
 * so far; later calls by what is then. */
static int user_set_protocol_features(struct uvh *fe, uint64_t features)
{
	struct fe_user *u = user(fe);
	struct vu_msg m =
		message_u64(VHOST_USER_SET_PROTOCOL_FEATURES, features);
	int ret = knows_protocol(u);

	if (ret <= 0)
		return ret;
	if (!inband_complete(features))
		return -EINVAL;
	ret = tell(u, &m);
	if (ret < 0)
		return ret;
	__atomic_store_n(&u->protocol, features, __ATOMIC_RELAXED);
	if (accepted(u, VHOST_USER_PROTOCOL_F_MQ))
		ret = count_queues(u);
	if (ret == 0 && accepted(u, VHOST_USER_PROTOCOL_F_BACKEND_REQ) &&
	    !u->have_back)
		ret = open_back(u);
	return ret;
}

static int user_set_owner(struct uvh *fe)
{
	struct vu_msg m = message(VHOST_USER_SET_OWNER, 0);

	return tell(user(fe), &m);
}

static int user_reset_owner(struct uvh *fe)
{
	struct vu_msg m = message(VHOST_USER_RESET_OWNER, 0);

	return tell(user(fe), &m);
}

/* ---- memory ---- */

static int user_max_mem_slots(struct uvh *fe, unsigned int *slots)
{
	struct fe_user *u = user(fe);
	uint64_t n = 0;
	int ret;

	if (!accepted(u, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS)) {
		*slots = VU_MEM_REGIONS;
		return 0;
	}
	if (!u->slots) {
		ret = ask_u64(u, VHOST_USER_GET_MAX_MEM_SLOTS, &n);
		if (ret < 0)
			return ret;
		u->slots = (unsigned int)MIN(n, UVH_REGIONS_MAX);
	}
	*slots = u->slots;
	return 0;
}

static struct vu_mem_region wire_region(const struct uvh_region *r)
{
	return (struct vu_mem_region){
		.guest_phys_addr = r->gpa,
		.memory_size = r->size,
		.userspace_addr = r->uva,
		.mmap_offset = r->fd_offset,
	};
}

static int set_bases(struct fe_user *u, const struct vu_mem_region *r,
		     unsigned int n, bool append)
{
	unsigned int from = append ? u->nbases : 0;
	uint64_t *b = realloc(u->bases, (from + n + 1) * sizeof(*b));

	if (!b)
		return -ENOMEM;
	for (unsigned int i = 0; i < n; i++)
		b[from + i] = r[i].userspace_addr;
	u->bases = b;
	u->nbases = from + n;
	return 0;
}

/* In postcopy the backend answers with its own addresses, and goes on when it
 * has heard that they have arrived. */
static int set_table_postcopy(struct fe_user *u, const struct vu_msg *m)
{
	struct vu_msg reply, ack = message_u64(VHOST_USER_SET_MEM_TABLE, 0);
	unsigned int n = m->payload.memory.nregions;
	int ret = ask(u, m, m->hdr.size, 0, &reply);

	if (ret < 0)
		return ret;
	if (reply.payload.memory.nregions != n)
		return fail(u, -EPROTO);
	ret = set_bases(u, reply.payload.memory.regions, n, false);
	return ret < 0 ? ret : tell(u, &ack);
}

static int set_table(struct fe_user *u, const struct uvh_region *regions,
		     unsigned int n)
{
	struct vu_msg m = message(VHOST_USER_SET_MEM_TABLE,
				  offsetof(struct vu_memory, regions) +
					  n * sizeof(struct vu_mem_region));

	m.payload.memory.nregions = n;
	for (unsigned int i = 0; i < n; i++) {
		m.payload.memory.regions[i] = wire_region(&regions[i]);
		attach(&m, regions[i].fd);
	}
	if (u->postcopy)
		return set_table_postcopy(u, &m);
	return tell_and_wait(u, &m);
}

static struct vu_msg message_region(uint32_t request,
				    const struct uvh_region *region)
{
	struct vu_msg m = message(request, sizeof(m.payload.region));

	m.payload.region.region = wire_region(region);
	return m;
}

static int add_slot_postcopy(struct fe_user *u, const struct vu_msg *m)
{
	struct vu_msg reply;
	int ret = ask(u, m, sizeof(reply.payload.region), 0, &reply);

	if (ret == 0)
		ret = set_bases(u, &reply.payload.region.region, 1, true);
	return ret;
}

static int add_slot(struct uvh *fe, const struct uvh_region *region)
{
	struct fe_user *u = user(fe);
	struct vu_msg m = message_region(VHOST_USER_ADD_MEM_REG, region);
	int ret;

	attach(&m, region->fd);
	if (u->postcopy)
		ret = add_slot_postcopy(u, &m);
	else
		ret = tell_and_wait(u, &m);
	return ret < 0 ? ret : fe_table_add(fe, region);
}

static int remove_slot(struct uvh *fe, const struct uvh_region *region)
{
	struct vu_msg m = message_region(VHOST_USER_REM_MEM_REG, region);
	int ret = tell_and_wait(user(fe), &m);

	if (ret == 0)
		fe_table_remove(fe, (unsigned int)fe_table_find(fe, region));
	return ret;
}

static int user_set_mem_table(struct uvh *fe, const struct uvh_region *regions,
			      unsigned int n)
{
	struct fe_user *u = user(fe);

	for (unsigned int i = 0; i < n; i++)
		if (regions[i].fd < 0)
			return -EBADF;
	u->nbases = 0;
	if (accepted(u, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		return fe_table_diff(fe, regions, n, add_slot, remove_slot);
	return set_table(u, regions, n);
}

static int user_add_region(struct uvh *fe, const struct uvh_region *region)
{
	if (region->fd < 0)
		return -EBADF;
	if (accepted(user(fe), VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		return add_slot(fe, region);
	return fe_add_by_table(fe, region);
}

static int user_remove_region(struct uvh *fe, const struct uvh_region *region)
{
	if (accepted(user(fe), VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		return remove_slot(fe, region);
	return fe_remove_by_table(fe, region);
}

/* The answer has no contents that mean anything, and not always any. */
static int user_set_log_base(struct uvh *fe, uint64_t uva, uint64_t size,
			     int fd, uint64_t offset)
{
	struct fe_user *u = user(fe);
	struct vu_msg m =
		message(VHOST_USER_SET_LOG_BASE, sizeof(m.payload.log));
	struct vu_msg reply;
	int ret = need(u, VHOST_USER_PROTOCOL_F_LOG_SHMFD);

	(void)uva;
	if (ret < 0)
		return ret;
	if (fd < 0)
		return -EBADF;
	m.payload.log.mmap_size = size;
	m.payload.log.mmap_offset = offset;
	attach(&m, fd);
	ret = ask(u, &m, ANY_SIZE, 0, &reply);
	if (ret < 0)
		return ret;
	return reply.hdr.size >= sizeof(reply.payload.u64) && reply.payload.u64
		       ? -EIO
		       : 0;
}

static int user_set_log_fd(struct uvh *fe, int fd)
{
	struct vu_msg m = message(VHOST_USER_SET_LOG_FD, 0);

	attach(&m, fd);
	return tell(user(fe), &m);
}

/* ---- rings ---- */

static int user_set_vring_num(struct uvh *fe, unsigned int qi, unsigned int num)
{
	struct vu_msg m = message_state(VHOST_USER_SET_VRING_NUM, qi, num);

	return tell(user(fe), &m);
}

static int user_set_vring_addr(struct uvh *fe,
			       const struct vhost_vring_addr *addr)
{
	struct vu_msg m =
		message(VHOST_USER_SET_VRING_ADDR, sizeof(m.payload.addr));

	m.payload.addr = *addr;
	return tell(user(fe), &m);
}

static int user_set_vring_base(struct uvh *fe, unsigned int qi, uint32_t base)
{
	struct vu_msg m = message_state(VHOST_USER_SET_VRING_BASE, qi, base);

	return tell(user(fe), &m);
}

static int user_get_vring_base(struct uvh *fe, unsigned int qi, uint32_t *base)
{
	struct fe_user *u = user(fe);
	struct vu_msg m = message_state(VHOST_USER_GET_VRING_BASE, qi, 0);
	struct vu_msg reply;
	int ret = ask(u, &m, sizeof(reply.payload.state), 0, &reply);

	if (ret < 0)
		return ret;
	if (reply.payload.state.index != qi)
		return fail(u, -EPROTO);
	*base = reply.payload.state.num;
	return 0;
}

static int set_vring_fd(struct uvh *fe, uint32_t request, unsigned int qi,
			int fd)
{
	struct vu_msg m =
		message_u64(request, fd < 0 ? qi | VU_VRING_NOFD_MASK : qi);

	attach(&m, fd);
	return tell(user(fe), &m);
}

static int user_set_vring_kick(struct uvh *fe, unsigned int qi, int fd)
{
	return set_vring_fd(fe, VHOST_USER_SET_VRING_KICK, qi, fd);
}

static int user_set_vring_call(struct uvh *fe, unsigned int qi, int fd)
{
	return set_vring_fd(fe, VHOST_USER_SET_VRING_CALL, qi, fd);
}

static int user_set_vring_err(struct uvh *fe, unsigned int qi, int fd)
{
	return set_vring_fd(fe, VHOST_USER_SET_VRING_ERR, qi, fd);
}

static int user_set_vring_enable(struct uvh *fe, unsigned int qi, bool enable)
{
	struct fe_user *u = user(fe);
	struct vu_msg m =
		message_state(VHOST_USER_SET_VRING_ENABLE, qi, enable);
	int ret = knows_protocol(u);

	if (ret < 0)
		return ret;
	if (ret)
		return tell(u, &m);
	return enable ? 0 : -EOPNOTSUPP;
}

static int user_vring_kick(struct uvh *fe, unsigned int qi)
{
	struct fe_user *u = user(fe);
	struct vu_msg m = message_state(VHOST_USER_VRING_KICK, qi, 0);
	int ret = need(u, VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS);

	return ret < 0 ? ret : tell(u, &m);
}

/* The answer is part of this request, so there must be answers. */
static int user_iotlb_send(struct uvh *fe, const struct vhost_iotlb_msg *msg,
			   uint32_t asid)
{
	struct fe_user *u = user(fe);
	struct vu_msg m =
		message(VHOST_USER_IOTLB_MSG, sizeof(m.payload.iotlb));
	int ret = need(u, VHOST_USER_PROTOCOL_F_REPLY_ACK);

	if (ret < 0)
		return ret;
	if (msg->type >= VHOST_IOTLB_BATCH_BEGIN)
		return -EOPNOTSUPP;
	if (asid)
		return -EINVAL;
	m.payload.iotlb = *msg;
	return tell(u, &m);
}

/* ---- net ---- */

static int user_net_set_mtu(struct uvh *fe, uint16_t mtu)
{
	struct fe_user *u = user(fe);
	struct vu_msg m = message_u64(VHOST_USER_NET_SET_MTU, mtu);
	int ret = need(u, VHOST_USER_PROTOCOL_F_MTU);

	return ret < 0 ? ret : tell(u, &m);
}

static int user_net_send_rarp(struct uvh *fe, const uint8_t mac[6])
{
	struct fe_user *u = user(fe);
	struct vu_msg m = message_u64(VHOST_USER_SEND_RARP, 0);
	int ret = need(u, VHOST_USER_PROTOCOL_F_RARP);

	memcpy(m.payload.bytes, mac, 6);
	return ret < 0 ? ret : tell(u, &m);
}

/* ---- configuration space, status ---- */

static struct vu_msg message_config(uint32_t request, uint32_t offset,
				    uint32_t len, uint32_t flags)
{
	struct vu_msg m = message(request, VU_CONFIG_HDR + len);

	m.payload.config.offset = offset;
	m.payload.config.size = len;
	m.payload.config.flags = flags;
	return m;
}

static int user_get_config(struct uvh *fe, uint32_t offset, void *buf,
			   uint32_t len)
{
	struct fe_user *u = user(fe);
	struct vu_msg m = message_config(VHOST_USER_GET_CONFIG, offset, len, 0);
	struct vu_msg reply;
	int ret = need(u, VHOST_USER_PROTOCOL_F_CONFIG);

	if (ret == 0)
		ret = ask(u, &m, ANY_SIZE, 0, &reply);
	if (ret < 0)
		return ret;
	if (reply.hdr.size == 0) /* how a backend says no */
		return -EIO;
	if (reply.hdr.size != m.hdr.size ||
	    reply.payload.config.offset != offset ||
	    reply.payload.config.size != len)
		return fail(u, -EPROTO);
	memcpy(buf, reply.payload.config.region, len);
	return 0;
}

static int user_set_config(struct uvh *fe, uint32_t offset, const void *buf,
			   uint32_t len, enum uvh_config_writer writer)
{
	struct fe_user *u = user(fe);
	struct vu_msg m = message_config(VHOST_USER_SET_CONFIG, offset, len,
					 writer == UVH_CONFIG_MIGRATION
						 ? VU_CONFIG_F_MIGRATION
						 : VU_CONFIG_F_WRITABLE);
	int ret = need(u, VHOST_USER_PROTOCOL_F_CONFIG);

	if (ret < 0)
		return ret;
	memcpy(m.payload.config.region, buf, len);
	return tell(u, &m);
}

static int user_get_status(struct uvh *fe, uint8_t *status)
{
	struct fe_user *u = user(fe);
	uint64_t value = 0;
	int ret = need(u, VHOST_USER_PROTOCOL_F_STATUS);

	if (ret == 0)
		ret = ask_u64(u, VHOST_USER_GET_STATUS, &value);
	if (ret == 0)
		*status = (uint8_t)value;
	return ret;
}

static int user_set_status(struct uvh *fe, uint8_t status)
{
	struct fe_user *u = user(fe);
	struct vu_msg m = message_u64(VHOST_USER_SET_STATUS, status);
	int ret = need(u, VHOST_USER_PROTOCOL_F_STATUS);

	return ret < 0 ? ret : tell(u, &m);
}

static int user_reset_device(struct uvh *fe)
{
	struct fe_user *u = user(fe);
	struct vu_msg m = message(VHOST_USER_RESET_DEVICE, 0);
	int ret = need(u, VHOST_USER_PROTOCOL_F_RESET_DEVICE);

	return ret < 0 ? ret : tell(u, &m);
}

/* ---- migration ---- */

static int user_get_inflight(struct uvh *fe, struct uvh_inflight *inflight)
{
	struct fe_user *u = user(fe);
	struct vu_msg m =
		message(VHOST_USER_GET_INFLIGHT_FD, sizeof(m.payload.inflight));
	const struct vu_inflight *got;
	struct vu_msg reply;
	int ret = need(u, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD);

	m.payload.inflight.num_queues = inflight->queues;
	m.payload.inflight.queue_size = inflight->queue_size;
	if (ret == 0)
		ret = ask(u, &m, sizeof(reply.payload.inflight), 1, &reply);
	if (ret < 0)
		return ret;
	got = &reply.payload.inflight;
	if (!reply.nfds || !got->mmap_size) {
		vu_msg_close_fds(&reply);
		return -EIO;
	}
	inflight->size = got->mmap_size;
	inflight->offset = got->mmap_offset;
	inflight->fd = vu_msg_take_fd(&reply, 0);
	return 0;
}

static int user_set_inflight(struct uvh *fe,
			     const struct uvh_inflight *inflight)
{
	struct fe_user *u = user(fe);
	struct vu_msg m =
		message(VHOST_USER_SET_INFLIGHT_FD, sizeof(m.payload.inflight));
	int ret = need(u, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD);

	if (ret < 0)
		return ret;
	m.payload.inflight = (struct vu_inflight){
		.mmap_size = inflight->size,
		.mmap_offset = inflight->offset,
		.num_queues = inflight->queues,
		.queue_size = inflight->queue_size,
	};
	attach(&m, inflight->fd);
	return tell(u, &m);
}

static int user_postcopy_advise(struct uvh *fe, int *uffd)
{
	struct fe_user *u = user(fe);
	struct vu_msg m = message(VHOST_USER_POSTCOPY_ADVISE, 0), reply;
	int ret = need(u, VHOST_USER_PROTOCOL_F_PAGEFAULT);

	if (ret == 0)
		ret = ask(u, &m, ANY_SIZE, 1, &reply);
	if (ret < 0)
		return ret;
	if (!reply.nfds)
		return -EIO;
	*uffd = vu_msg_take_fd(&reply, 0);
	return 0;
}

static int user_postcopy_listen(struct uvh *fe)
{
	struct fe_user *u = user(fe);
	struct vu_msg m = message(VHOST_USER_POSTCOPY_LISTEN, 0);
	int ret = need(u, VHOST_USER_PROTOCOL_F_PAGEFAULT);

	if (ret == 0)
		ret = tell(u, &m);
	if (ret == 0) {
		u->postcopy = true;
		u->nbases = 0;
	}
	return ret;
}

static int user_postcopy_end(struct uvh *fe)
{
	struct fe_user *u = user(fe);
	uint64_t result = 0;
	int ret = need(u, VHOST_USER_PROTOCOL_F_PAGEFAULT);

	if (ret == 0)
		ret = ask_u64(u, VHOST_USER_POSTCOPY_END, &result);
	if (ret < 0)
		return ret;
	u->postcopy = false;
	return result ? -EIO : 0;
}

static int user_postcopy_base(struct uvh *fe, unsigned int i, uint64_t *base)
{
	struct fe_user *u = user(fe);
	int ret = need(u, VHOST_USER_PROTOCOL_F_PAGEFAULT);

	if (ret < 0)
		return ret;
	if (i >= u->nbases)
		return -ENOENT;
	*base = u->bases[i];
	return 0;
}

/* The answer: an error in the low byte; bit 8: no descriptor comes with it */
#define STATE_ERROR_MASK 0xff
#define STATE_NOFD 0x100

static int user_set_device_state(struct uvh *fe,
				 enum uvh_state_direction direction, int fd,
				 int *other)
{
	struct fe_user *u = user(fe);
	struct vu_msg m = message(VHOST_USER_SET_DEVICE_STATE_FD,
				  sizeof(m.payload.device_state));
	struct vu_msg reply;
	int ret = need(u, VHOST_USER_PROTOCOL_F_DEVICE_STATE);

	if (ret < 0)
		return ret;
	m.payload.device_state.direction = direction;
	attach(&m, fd);
	ret = ask(u, &m, sizeof(reply.payload.u64), 1, &reply);
	if (ret < 0)
		return ret;
	if (reply.payload.u64 & STATE_ERROR_MASK) {
		vu_msg_close_fds(&reply);
		return -EIO;
	}
	if (!(reply.payload.u64 & STATE_NOFD) != !!reply.nfds) {
		vu_msg_close_fds(&reply);
		return fail(u, -EPROTO);
	}
	*other = vu_msg_take_fd(&reply, 0);
	return 0;
}

static int user_check_device_state(struct uvh *fe)
{
	struct fe_user *u = user(fe);
	uint64_t result = 0;
	int ret = need(u, VHOST_USER_PROTOCOL_F_DEVICE_STATE);

	if (ret == 0)
		ret = ask_u64(u, VHOST_USER_CHECK_DEVICE_STATE, &result);
	if (ret < 0)
		return ret;
	return result ? -EIO : 0;
}

/* ---- requests of the backend ---- */

static int queue_iotlb(struct fe_user *u, const struct vhost_iotlb_msg *msg)
{
	uint64_t one = 1;

	if (u->queued == QUEUED_MAX)
		return -ENOBUFS;
	u->queue[(u->queue_head + u->queued++) % QUEUED_MAX] = *msg;
	if (write(u->queued_fd, &one, sizeof(one)) < 0)
		return -errno;
	return 0;
}

static bool unqueue_iotlb(struct fe_user *u, struct vhost_iotlb_msg *msg)
{
	uint64_t count;

	if (!u->queued)
		return false;
	*msg = u->queue[u->queue_head];
	u->queue_head = (u->queue_head + 1) % QUEUED_MAX;
	if (--u->queued == 0 && read(u->queued_fd, &count, sizeof(count)) < 0)
		return true; /* down already */
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

	if (!fn || need(u, VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS) < 0)
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
	    need(u, VHOST_USER_PROTOCOL_F_HOST_NOTIFIER) < 0)
		return -EOPNOTSUPP;
	if (qi >= uvh_queue_count(&u->fe))
		return -EINVAL;
	return ops->host_notifier(u->fe.backend_ctx, (unsigned int)qi, fd,
				  area->size, area->offset);
}

static const struct {
	uint32_t size;
	int (*fn)(struct fe_user *u, struct vu_msg *m);
} requests[VHOST_USER_BACKEND_REQUESTS] = {
	// clang-format off
	[VHOST_USER_BACKEND_IOTLB_MSG] =
		{ sizeof(struct vhost_iotlb_msg), on_iotlb },
	[VHOST_USER_BACKEND_CONFIG_CHANGE_MSG] = { 0, on_config_change },
	[VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG] =
		{ sizeof(struct vu_vring_area), on_host_notifier },
	[VHOST_USER_BACKEND_VRING_CALL] =
		{ sizeof(struct vhost_vring_state), on_vring_call },
	[VHOST_USER_BACKEND_VRING_ERR] =
		{ sizeof(struct vhost_vring_state), on_vring_err },
	// clang-format on
};

static int handle_request(struct fe_user *u, struct vu_msg *m)
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
	    !accepted(u, VHOST_USER_PROTOCOL_F_REPLY_ACK))
		return 0;
	reply = message_u64(m->hdr.request, ret < 0 ? (uint64_t)-ret : 0);
	reply.hdr.flags |= VU_FLAG_REPLY;
	return vu_send(&u->back, &reply, u->timeout_ms);
}

/* A backend may close its channel and go on with the main one. */
static void close_back(struct fe_user *u)
{
	epoll_ctl(u->epfd, EPOLL_CTL_DEL, u->back.sock, NULL);
	u->back_dead = true;
}

static bool hung_up(const struct fe_user *u)
{
	struct pollfd p = { .fd = u->ep.sock, .events = POLLRDHUP };

	return poll(&p, 1, 0) > 0;
}

/* How many requests were handled, or -errno; with ev_lock. */
static int drain(struct fe_user *u)
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
			return fail(u, ret == -EMSGSIZE ? -EPROTO : ret);
	}
	if (n)
		return n;
	if (is_dead(u))
		return -EPIPE;
	return hung_up(u) ? fail(u, -EPIPE) : 0;
}

static int user_handle_events(struct uvh *fe)
{
	struct fe_user *u = user(fe);
	int ret;

	pthread_mutex_lock(&u->ev_lock);
	ret = drain(u);
	pthread_mutex_unlock(&u->ev_lock);
	return ret;
}

static int user_iotlb_recv(struct uvh *fe, struct vhost_iotlb_msg *msg)
{
	struct fe_user *u = user(fe);
	int ret = 0;

	if (need(u, VHOST_USER_PROTOCOL_F_BACKEND_REQ) < 0)
		return -EOPNOTSUPP;
	pthread_mutex_lock(&u->ev_lock);
	if (!u->queued)
		ret = drain(u);
	if (unqueue_iotlb(u, msg))
		ret = 0;
	else if (ret >= 0)
		ret = -EAGAIN;
	pthread_mutex_unlock(&u->ev_lock);
	return ret;
}

static int user_event_fd(const struct uvh *fe)
{
	return user(fe)->epfd;
}

/* ---- life ---- */

static void user_close(struct uvh *fe)
{
	struct fe_user *u = user(fe);

	vu_endpoint_close(&u->ep);
	if (u->have_back)
		vu_endpoint_close(&u->back);
	close(u->epfd);
	close(u->queued_fd);
	pthread_mutex_destroy(&u->ev_lock);
	free(u->bases);
	fe_fini(fe);
	free(u);
}

const struct uvh_ops fe_user_ops = {
	.name = "user",
	.start = UVH_START_KICK,
	.get_features = user_get_features,
	.set_features = user_set_features,
	.get_protocol_features = user_get_protocol_features,
	.set_protocol_features = user_set_protocol_features,
	.set_owner = user_set_owner,
	.reset_owner = user_reset_owner,
	.set_mem_table = user_set_mem_table,
	.add_region = user_add_region,
	.remove_region = user_remove_region,
	.max_mem_slots = user_max_mem_slots,
	.set_log_base = user_set_log_base,
	.set_log_fd = user_set_log_fd,
	.set_vring_num = user_set_vring_num,
	.set_vring_addr = user_set_vring_addr,
	.set_vring_base = user_set_vring_base,
	.get_vring_base = user_get_vring_base,
	.set_vring_kick = user_set_vring_kick,
	.set_vring_call = user_set_vring_call,
	.set_vring_err = user_set_vring_err,
	.set_vring_enable = user_set_vring_enable,
	.iotlb_send = user_iotlb_send,
	.iotlb_recv = user_iotlb_recv,
	.handle_events = user_handle_events,
	.net_set_mtu = user_net_set_mtu,
	.net_send_rarp = user_net_send_rarp,
	.get_config = user_get_config,
	.set_config = user_set_config,
	.get_status = user_get_status,
	.set_status = user_set_status,
	.reset_device = user_reset_device,
	.get_inflight = user_get_inflight,
	.set_inflight = user_set_inflight,
	.postcopy_advise = user_postcopy_advise,
	.postcopy_listen = user_postcopy_listen,
	.postcopy_end = user_postcopy_end,
	.postcopy_base = user_postcopy_base,
	.set_device_state = user_set_device_state,
	.check_device_state = user_check_device_state,
	.vring_kick = user_vring_kick,
	.event_fd = user_event_fd,
	.close = user_close,
};

static int init_events(struct fe_user *u, int sock)
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
	return 0;

err_queued:
	close(u->queued_fd);
err_epoll:
	close(u->epfd);
	return ret;
}

int uvh_user_from_socket(int sock, int timeout_ms, struct uvh **out)
{
	struct fe_user *u;
	int type, ret;

	if (!out)
		return -EINVAL;
	if (getsockopt(sock, SOL_SOCKET, SO_TYPE, &type,
		       &(socklen_t){ sizeof(type) }) < 0)
		return -errno;
	if (type != SOCK_STREAM)
		return -ENOTSOCK;
	u = calloc(1, sizeof(*u));
	if (!u)
		return -ENOMEM;
	ret = init_events(u, sock);
	if (ret < 0) {
		free(u);
		return ret;
	}
	pthread_mutex_init(&u->ev_lock, NULL);
	fe_init(&u->fe, &fe_user_ops, QUEUES_DEFAULT);
	vu_endpoint_init(&u->ep, sock);
	u->timeout_ms = timeout_ms ? MAX(timeout_ms, -1) : TIMEOUT_MS;
	*out = &u->fe;
	return 0;
}

/* ---- making a connection ---- */

static int socket_address(const char *path, struct sockaddr_un *addr)
{
	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(addr->sun_path))
		return -ENAMETOOLONG;
	memcpy(addr->sun_path, path, strlen(path));
	return 0;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A listener whose backlog is full says so at once: try again. */
static int connect_until(int sock, const struct sockaddr_un *addr,
			 int timeout_ms)
{
	int64_t end = now_ms() + timeout_ms;

	while (connect(sock, (const struct sockaddr *)addr, sizeof(*addr)) <
	       0) {
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		if (timeout_ms >= 0 && now_ms() >= end)
			return -ETIMEDOUT;
		poll(NULL, 0, 10);
	}
	return 0;
}

int uvh_user_connect(const char *path, int timeout_ms, struct uvh **out)
{
	struct sockaddr_un addr;
	int sock, ret;

	if (!path || !out)
		return -EINVAL;
	ret = socket_address(path, &addr);
	if (ret < 0)
		return ret;
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock < 0)
		return -errno;
	ret = connect_until(sock, &addr, timeout_ms ? timeout_ms : TIMEOUT_MS);
	if (ret == 0)
		ret = uvh_user_from_socket(sock, timeout_ms, out);
	if (ret < 0)
		close(sock);
	return ret;
}

static int accept_until(int listener, int timeout_ms)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };
	int64_t end = now_ms() + timeout_ms;
	int n;

	do
		n = poll(&p, 1,
			 timeout_ms < 0 ? -1 : (int)MAX(end - now_ms(), 0));
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return -ETIMEDOUT;
	n = n < 0 ? n : accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	return n < 0 ? -errno : n;
}

int uvh_user_accept(const char *path, int timeout_ms, struct uvh **out)
{
	struct sockaddr_un addr;
	int listener, sock = -1, ret;

	if (!path || !out)
		return -EINVAL;
	ret = socket_address(path, &addr);
	if (ret < 0)
		return ret;
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0)
		return -errno;
	if (bind(listener, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		ret = -errno;
		goto out_close;
	}
	ret = listen(listener, 1) < 0 ? -errno : 0;
	if (ret == 0)
		ret = accept_until(listener,
				   timeout_ms ? timeout_ms : TIMEOUT_MS);
	unlink(path);
	if (ret >= 0) {
		sock = ret;
		ret = uvh_user_from_socket(sock, timeout_ms, out);
	}
	if (ret < 0 && sock >= 0)
		close(sock);
out_close:
	close(listener);
	return ret;
}
