/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fe_user.c is the transport "user", the frontend's side of vhost-user. It
 * makes messages from calls and frees connections; fe_user_connect.c makes
 * them. fe_user_msg.c and fe_user_events.c read the bytes of the backend.
 */
#include "fe_user.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "evfd.h"

/* The numbers of frontend.h are those of the protocol. */
#define SAME(name)                                                \
	_Static_assert((int)UVH_PROTOCOL_F_##name ==              \
			       (int)VHOST_USER_PROTOCOL_F_##name, \
		       "UVH_PROTOCOL_F_" #name)
SAME(MQ);
SAME(LOG_SHMFD);
SAME(RARP);
SAME(REPLY_ACK);
SAME(MTU);
SAME(BACKEND_REQ);
SAME(PAGEFAULT);
SAME(CONFIG);
SAME(BACKEND_SEND_FD);
SAME(HOST_NOTIFIER);
SAME(INFLIGHT_SHMFD);
SAME(RESET_DEVICE);
SAME(INBAND_NOTIFICATIONS);
SAME(CONFIGURE_MEM_SLOTS);
SAME(STATUS);
SAME(DEVICE_STATE);
SAME(GET_VRING_BASE_INFLIGHT);
SAME(GPA_ADDRESSES);
#undef SAME

/* Rings while MQ is not negotiated. */
#define QUEUES_DEFAULT 2

static int user_get_config(struct uvh *fe, uint32_t offset, void *buf,
			   uint32_t len);

static int tell(struct uvh *fe, uint32_t request)
{
	struct vu_msg m = fe_user_message(request, 0);

	return fe_user_tell(fe_user_of(fe), &m);
}

static int tell_u64(struct uvh *fe, uint32_t request, uint64_t value)
{
	struct vu_msg m = fe_user_message_u64(request, value);

	return fe_user_tell(fe_user_of(fe), &m);
}

static int tell_state(struct uvh *fe, uint32_t request, unsigned int qi,
		      unsigned int num)
{
	struct vu_msg m = fe_user_message_state(request, qi, num);

	return fe_user_tell(fe_user_of(fe), &m);
}

/* ---- features, owner ---- */

static int get_offered(struct fe_user *u)
{
	int ret = fe_user_ask_u64(u, VHOST_USER_GET_FEATURES, &u->offered);

	if (ret == 0)
		u->offered_known = true;
	return ret;
}

/* Does the backend support protocol features? 0, 1 or -errno. */
static int has_protocol_features(struct fe_user *u)
{
	int ret = u->offered_known ? 0 : get_offered(u);

	if (ret < 0)
		return ret;
	return u->offered & BIT(VHOST_USER_F_PROTOCOL_FEATURES) ? 1 : 0;
}

static int user_get_features(struct uvh *fe, uint64_t *features)
{
	struct fe_user *u = fe_user_of(fe);
	int ret = get_offered(u);

	if (ret == 0)
		*features = u->offered & ~BIT(VHOST_USER_F_PROTOCOL_FEATURES);
	return ret;
}

static int user_set_features(struct uvh *fe, uint64_t features)
{
	int ret = has_protocol_features(fe_user_of(fe));

	if (ret < 0)
		return ret;
	if (ret)
		features |= BIT(VHOST_USER_F_PROTOCOL_FEATURES);
	return tell_u64(fe, VHOST_USER_SET_FEATURES, features);
}

static int user_get_protocol_features(struct uvh *fe, uint64_t *features)
{
	struct fe_user *u = fe_user_of(fe);
	int ret = has_protocol_features(u);

	if (ret == 1)
		return fe_user_ask_u64(u, VHOST_USER_GET_PROTOCOL_FEATURES,
				       features);
	if (ret == 0)
		*features = 0;
	return ret;
}

/*
 * The reply to GET_QUEUE_NUM is a number of virtqueues (rust-vmm,
 * libvhost-user, uvhost) or of queue pairs (DPDK, the first uvhost). Without
 * NET_F_MQ there is one pair, or the device is no net device and the number is
 * of virtqueues. With NET_F_MQ the configuration space, if there is one, has
 * the number of pairs; else the number is taken for pairs, as in QEMU, so that
 * no ring is left out. A backend refuses rings that it does not have.
 */
static unsigned int rings_of(const struct fe_user *u, uint64_t answer,
			     uint64_t pairs_known)
{
	const uint64_t max = UVH_QUEUES_MAX / 2;

	if (!(u->offered & BIT(VIRTIO_NET_F_MQ)))
		return (unsigned int)MAX(QUEUES_DEFAULT, MIN(answer, 2 * max));
	if (pairs_known && pairs_known <= answer)
		answer = pairs_known;
	return (unsigned int)MIN(answer, max) * 2;
}

/* Reads the number of pairs from the configuration space; 0: not known. */
static int configured_pairs(struct fe_user *u, uint64_t *pairs)
{
	uint16_t n = 0;
	int ret;

	*pairs = 0;
	if (!(u->offered & BIT(VIRTIO_NET_F_MQ)) ||
	    !fe_user_negotiated(u, VHOST_USER_PROTOCOL_F_CONFIG))
		return 0;
	ret = user_get_config(
		&u->fe, offsetof(struct virtio_net_config, max_virtqueue_pairs),
		&n, sizeof(n));
	if (ret == 0)
		*pairs = le16toh(n);
	return ret == -EIO ? 0 : ret;
}

static int count_queues(struct fe_user *u)
{
	uint64_t answer = 0, pairs = 0;
	int ret = fe_user_ask_u64(u, VHOST_USER_GET_QUEUE_NUM, &answer);

	if (ret == 0)
		ret = configured_pairs(u, &pairs);
	if (ret < 0)
		return ret;
	if (answer == 0)
		return fe_user_fail(u, -EPROTO);
	__atomic_store_n(&u->fe.queues, rings_of(u, answer, pairs),
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

/* Are the bits there that others require (vhost-user.rst)? */
static bool is_complete(uint64_t features)
{
	if ((features & BIT(VHOST_USER_PROTOCOL_F_GET_VRING_BASE_INFLIGHT)) &&
	    !(features & BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD)))
		return false;
	return inband_complete(features);
}

/* The negotiated features decide whether a request has a reply: this one
 * follows the old features, later ones the new. */
static int user_set_protocol_features(struct uvh *fe, uint64_t features)
{
	struct fe_user *u = fe_user_of(fe);
	struct vu_msg m =
		fe_user_message_u64(VHOST_USER_SET_PROTOCOL_FEATURES, features);
	int ret = has_protocol_features(u);

	if (ret <= 0)
		return ret;
	if (!is_complete(features))
		return -EINVAL;
	ret = fe_user_tell(u, &m);
	if (ret < 0)
		return ret;
	__atomic_store_n(&u->protocol, features, __ATOMIC_RELAXED);
	if (fe_user_negotiated(u, VHOST_USER_PROTOCOL_F_MQ))
		ret = count_queues(u);
	if (ret == 0 &&
	    fe_user_negotiated(u, VHOST_USER_PROTOCOL_F_BACKEND_REQ) &&
	    !u->have_back)
		ret = fe_user_open_back(u);
	return ret;
}

static int user_set_owner(struct uvh *fe)
{
	return tell(fe, VHOST_USER_SET_OWNER);
}

static int user_reset_owner(struct uvh *fe)
{
	return tell(fe, VHOST_USER_RESET_OWNER);
}

/* ---- memory ---- */

static int user_max_mem_slots(struct uvh *fe, unsigned int *slots)
{
	struct fe_user *u = fe_user_of(fe);
	uint64_t n = 0;
	int ret;

	if (!fe_user_negotiated(u, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS)) {
		*slots = VU_MEM_REGIONS_LISTED;
		return 0;
	}
	if (!u->slots) {
		ret = fe_user_ask_u64(u, VHOST_USER_GET_MAX_MEM_SLOTS, &n);
		if (ret < 0)
			return ret;
		u->slots = (unsigned int)MIN(n, UVH_REGIONS_MAX);
	}
	*slots = u->slots;
	return 0;
}

/* With GPA_ADDRESSES no address of this process is sent. */
static bool hides_addresses(const struct fe_user *u)
{
	return fe_user_negotiated(u, VHOST_USER_PROTOCOL_F_GPA_ADDRESSES);
}

static struct vu_mem_region wire_region(const struct fe_user *u,
					const struct uvh_region *r)
{
	return (struct vu_mem_region){
		.guest_phys_addr = r->gpa,
		.memory_size = r->size,
		.userspace_addr = hides_addresses(u) ? r->gpa : r->uva,
		.mmap_offset = r->fd_offset,
	};
}

/* The region of the table in force that has @uva; NULL: none. */
static const struct uvh_region *region_at(const struct fe_user *u, uint64_t uva)
{
	for (unsigned int i = 0; i < u->fe.nregions; i++)
		if (uva - u->fe.table[i].uva < u->fe.table[i].size)
			return &u->fe.table[i];
	return NULL;
}

static int to_gpa(const struct fe_user *u, __u64 *addr)
{
	const struct uvh_region *r = region_at(u, *addr);

	if (!r)
		return -EFAULT;
	*addr = r->gpa + (*addr - r->uva);
	return 0;
}

/* During postcopy the reply has the backend's addresses of the regions, and the
 * backend waits for an acknowledgement of them. */
static int set_table_postcopy(struct fe_user *u, const struct vu_msg *m)
{
	struct vu_msg reply,
		ack = fe_user_message_u64(VHOST_USER_SET_MEM_TABLE, 0);
	unsigned int n = m->payload.memory.nregions;
	int ret = fe_user_ask(u, m, m->hdr.size, 0, &reply);

	if (ret < 0)
		return ret;
	if (reply.payload.memory.nregions != n)
		return fe_user_fail(u, -EPROTO);
	ret = fe_user_set_bases(u, reply.payload.memory.regions, n);
	return ret < 0 ? ret : fe_user_tell(u, &ack);
}

static int set_table(struct fe_user *u, const struct uvh_region *regions,
		     unsigned int n)
{
	struct vu_msg m =
		fe_user_message(VHOST_USER_SET_MEM_TABLE,
				offsetof(struct vu_memory, regions) +
					n * sizeof(struct vu_mem_region));

	m.payload.memory.nregions = n;
	for (unsigned int i = 0; i < n; i++) {
		m.payload.memory.regions[i] = wire_region(u, &regions[i]);
		fe_user_attach(&m, regions[i].fd);
	}
	if (u->postcopy)
		return set_table_postcopy(u, &m);
	return fe_user_tell_and_wait(u, &m);
}

static struct vu_msg message_region(const struct fe_user *u, uint32_t request,
				    const struct uvh_region *region)
{
	struct vu_msg m = fe_user_message(request, sizeof(m.payload.region));

	m.payload.region.region = wire_region(u, region);
	return m;
}

static int add_slot(struct uvh *fe, const struct uvh_region *region)
	NEEDS(fe->lock)
{
	struct fe_user *u = fe_user_of(fe);
	struct vu_msg m = message_region(u, VHOST_USER_ADD_MEM_REG, region);
	int ret;

	fe_user_attach(&m, region->fd);
	ret = fe_user_tell_and_wait(u, &m);
	return ret < 0 ? ret : fe_table_add(fe, region);
}

static int remove_slot(struct uvh *fe, const struct uvh_region *region)
	NEEDS(fe->lock)
{
	struct fe_user *u = fe_user_of(fe);
	struct vu_msg m = message_region(u, VHOST_USER_REM_MEM_REG, region);
	int ret = fe_user_tell_and_wait(u, &m);

	if (ret == 0)
		fe_table_remove(fe, (unsigned int)fe_table_find(fe, region));
	return ret;
}

static int user_set_mem_table(struct uvh *fe, const struct uvh_region *regions,
			      unsigned int n) NEEDS(fe->lock)
{
	struct fe_user *u = fe_user_of(fe);

	for (unsigned int i = 0; i < n; i++)
		if (regions[i].fd < 0)
			return -EBADF;
	u->nbases = 0;
	if (fe_user_negotiated(u, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		return fe_table_diff(fe, regions, n, add_slot, remove_slot);
	return set_table(u, regions, n);
}

static int user_add_region(struct uvh *fe, const struct uvh_region *region)
	NEEDS(fe->lock)
{
	if (region->fd < 0)
		return -EBADF;
	if (fe_user_negotiated(fe_user_of(fe),
			       VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		return add_slot(fe, region);
	return fe_add_by_table(fe, region);
}

static int user_remove_region(struct uvh *fe, const struct uvh_region *region)
	NEEDS(fe->lock)
{
	if (fe_user_negotiated(fe_user_of(fe),
			       VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		return remove_slot(fe, region);
	return fe_remove_by_table(fe, region);
}

/*
 * Backends reply with no payload (DPDK), the first 8 bytes of the request
 * (libvhost-user), all 16 (rust-vmm), those or 16 zeros (uvhost), or 8 bytes
 * with an error number or 0 (the first uvhost).
 */
static bool log_refused(const struct vu_msg *reply, uint64_t size)
{
	uint64_t value = reply->payload.u64;

	if (reply->hdr.size == sizeof(struct vu_log))
		return !value;
	return reply->hdr.size == sizeof(value) && value && value != size;
}

static int user_set_log_base(struct uvh *fe, uint64_t uva, uint64_t size,
			     int fd, uint64_t offset)
{
	struct fe_user *u = fe_user_of(fe);
	struct vu_msg m =
		fe_user_message(VHOST_USER_SET_LOG_BASE, sizeof(m.payload.log));
	struct vu_msg reply;
	int ret = fe_user_need(u, VHOST_USER_PROTOCOL_F_LOG_SHMFD);

	(void)uva;
	if (ret < 0)
		return ret;
	if (fd < 0)
		return -EBADF;
	m.payload.log.mmap_size = size;
	m.payload.log.mmap_offset = offset;
	fe_user_attach(&m, fd);
	ret = fe_user_ask(u, &m, FE_USER_ANY_SIZE, 0, &reply);
	if (ret < 0)
		return ret;
	return log_refused(&reply, size) ? -EIO : 0;
}

static int user_set_log_fd(struct uvh *fe, int fd)
{
	struct vu_msg m = fe_user_message(VHOST_USER_SET_LOG_FD, 0);

	fe_user_attach(&m, fd);
	return fe_user_tell(fe_user_of(fe), &m);
}

/* ---- rings ---- */

static int user_set_vring_num(struct uvh *fe, unsigned int qi, unsigned int num)
{
	return tell_state(fe, VHOST_USER_SET_VRING_NUM, qi, num);
}

static int user_set_vring_addr(struct uvh *fe,
			       const struct vhost_vring_addr *addr)
{
	struct fe_user *u = fe_user_of(fe);
	struct vu_msg m = fe_user_message(VHOST_USER_SET_VRING_ADDR,
					  sizeof(m.payload.addr));
	struct vhost_vring_addr *a = &m.payload.addr;
	__u64 *part[] = { &a->desc_user_addr, &a->avail_user_addr,
			  &a->used_user_addr };
	bool translate = hides_addresses(u);
	int ret = 0;

	*a = *addr;
	if (fe->features & BIT(VIRTIO_F_ACCESS_PLATFORM))
		translate = false; /* they are iovas */
	for (size_t i = 0; translate && ret == 0 && i < ARRAY_SIZE(part); i++)
		ret = to_gpa(u, part[i]);
	return ret < 0 ? ret : fe_user_tell(u, &m);
}

static int user_set_vring_base(struct uvh *fe, unsigned int qi, uint32_t base)
{
	return tell_state(fe, VHOST_USER_SET_VRING_BASE, qi, base);
}

static int user_get_vring_base(struct uvh *fe, unsigned int qi, uint32_t *base)
{
	struct fe_user *u = fe_user_of(fe);
	struct vu_msg m =
		fe_user_message_state(VHOST_USER_GET_VRING_BASE, qi, 0);
	struct vu_msg reply;
	int ret = fe_user_ask(u, &m, sizeof(reply.payload.state), 0, &reply);

	if (ret < 0)
		return ret;
	if (reply.payload.state.index != qi)
		return fe_user_fail(u, -EPROTO);
	*base = reply.payload.state.num;
	return 0;
}

static int set_vring_fd(struct uvh *fe, uint32_t request, unsigned int qi,
			int fd)
{
	struct vu_msg m = fe_user_message_u64(
		request, fd < 0 ? qi | VU_VRING_NOFD_MASK : qi);

	fe_user_attach(&m, fd);
	return fe_user_tell(fe_user_of(fe), &m);
}

/* vhost-user.rst requires a kick here, since backends that follow its earlier
 * versions start a ring at the first kick. */
static int user_set_vring_kick(struct uvh *fe, unsigned int qi, int fd)
{
	int ret = set_vring_fd(fe, VHOST_USER_SET_VRING_KICK, qi, fd);

	if (ret == 0 && fd >= 0)
		evfd_signal_peer(fd, 1);
	return ret;
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
	int ret = has_protocol_features(fe_user_of(fe));

	if (ret < 0)
		return ret;
	if (ret)
		return tell_state(fe, VHOST_USER_SET_VRING_ENABLE, qi, enable);
	return enable ? 0 : -EOPNOTSUPP;
}

static int user_vring_kick(struct uvh *fe, unsigned int qi)
{
	return tell_state(fe, VHOST_USER_VRING_KICK, qi, 0);
}

/* Translates an update to guest addresses; one message for each region in it.
 */
static int send_update(struct fe_user *u, const struct vhost_iotlb_msg *msg)
{
	struct vu_msg m =
		fe_user_message(VHOST_USER_IOTLB_MSG, sizeof(m.payload.iotlb));
	int ret = 0;

	for (uint64_t done = 0; done < msg->size && ret == 0;) {
		uint64_t uva = msg->uaddr + done, off;
		const struct uvh_region *r = region_at(u, uva);

		if (!r)
			return -EFAULT;
		off = uva - r->uva;
		memcpy(&m.payload.iotlb, msg, sizeof(*msg));
		m.payload.iotlb.iova += done;
		m.payload.iotlb.uaddr = r->gpa + off;
		m.payload.iotlb.size = MIN(msg->size - done, r->size - off);
		done += m.payload.iotlb.size;
		ret = fe_user_tell(u, &m);
	}
	return ret;
}

/* Needs REPLY_ACK: the caller must know when the update is in force. */
static int user_iotlb_send(struct uvh *fe, const struct vhost_iotlb_msg *msg,
			   uint32_t asid)
{
	struct fe_user *u = fe_user_of(fe);
	struct vu_msg m =
		fe_user_message(VHOST_USER_IOTLB_MSG, sizeof(m.payload.iotlb));
	int ret = fe_user_need(u, VHOST_USER_PROTOCOL_F_REPLY_ACK);

	if (ret < 0)
		return ret;
	if (msg->type >= VHOST_IOTLB_BATCH_BEGIN)
		return -EOPNOTSUPP;
	if (asid)
		return -EINVAL;
	if (msg->type == VHOST_IOTLB_UPDATE && hides_addresses(u))
		return send_update(u, msg);
	memcpy(&m.payload.iotlb, msg, sizeof(*msg));
	return fe_user_tell(u, &m);
}

/* ---- net ---- */

static int user_net_set_mtu(struct uvh *fe, uint16_t mtu)
{
	return tell_u64(fe, VHOST_USER_NET_SET_MTU, mtu);
}

static int user_net_send_rarp(struct uvh *fe, const uint8_t mac[6])
{
	struct vu_msg m = fe_user_message_u64(VHOST_USER_SEND_RARP, 0);

	memcpy(m.payload.bytes, mac, 6);
	return fe_user_tell(fe_user_of(fe), &m);
}

/* ---- configuration space, status ---- */

static struct vu_msg message_config(uint32_t request, uint32_t offset,
				    uint32_t len, uint32_t flags)
{
	struct vu_msg m = fe_user_message(request, VU_CONFIG_HDR + len);

	m.payload.config.offset = offset;
	m.payload.config.size = len;
	m.payload.config.flags = flags;
	return m;
}

static int user_get_config(struct uvh *fe, uint32_t offset, void *buf,
			   uint32_t len)
{
	struct fe_user *u = fe_user_of(fe);
	struct vu_msg m = message_config(VHOST_USER_GET_CONFIG, offset, len, 0);
	struct vu_msg reply;
	int ret = fe_user_ask(u, &m, FE_USER_ANY_SIZE, 0, &reply);

	if (ret < 0)
		return ret;
	/* A backend refuses by size 0 of the field, rust-vmm by an empty reply.
	 */
	if (reply.hdr.size == 0 ||
	    (reply.hdr.size == VU_CONFIG_HDR && reply.payload.config.size == 0))
		return -EIO;
	if (reply.hdr.size != m.hdr.size ||
	    reply.payload.config.offset != offset ||
	    reply.payload.config.size != len)
		return fe_user_fail(u, -EPROTO);
	memcpy(buf, reply.payload.config.region, len);
	return 0;
}

static int user_set_config(struct uvh *fe, uint32_t offset, const void *buf,
			   uint32_t len, enum uvh_config_writer writer)
{
	struct vu_msg m = message_config(VHOST_USER_SET_CONFIG, offset, len,
					 writer == UVH_CONFIG_MIGRATION
						 ? VU_CONFIG_F_MIGRATION
						 : VU_CONFIG_F_WRITABLE);

	memcpy(m.payload.config.region, buf, len);
	return fe_user_tell(fe_user_of(fe), &m);
}

static int user_get_status(struct uvh *fe, uint8_t *status)
{
	uint64_t value = 0;
	int ret =
		fe_user_ask_u64(fe_user_of(fe), VHOST_USER_GET_STATUS, &value);

	if (ret == 0)
		*status = (uint8_t)value;
	return ret;
}

static int user_set_status(struct uvh *fe, uint8_t status)
{
	return tell_u64(fe, VHOST_USER_SET_STATUS, status);
}

static int user_reset_device(struct uvh *fe)
{
	return tell(fe, VHOST_USER_RESET_DEVICE);
}

/* ---- life ---- */

static void user_close(struct uvh *fe)
{
	struct fe_user *u = fe_user_of(fe);

	vu_endpoint_close(&u->ep);
	fe_user_fini_events(u);
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
	.iotlb_recv = fe_user_iotlb_recv,
	.handle_events = fe_user_handle_events,
	.net_set_mtu = user_net_set_mtu,
	.net_send_rarp = user_net_send_rarp,
	.get_config = user_get_config,
	.set_config = user_set_config,
	.get_status = user_get_status,
	.set_status = user_set_status,
	.reset_device = user_reset_device,
	.get_inflight = fe_user_get_inflight,
	.set_inflight = fe_user_set_inflight,
	.postcopy_advise = fe_user_postcopy_advise,
	.postcopy_listen = fe_user_postcopy_listen,
	.postcopy_end = fe_user_postcopy_end,
	.postcopy_base = fe_user_postcopy_base,
	.set_device_state = fe_user_set_device_state,
	.check_device_state = fe_user_check_device_state,
	.vring_kick = user_vring_kick,
	.event_fd = fe_user_event_fd,
	.close = user_close,
};

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
	ret = fe_user_init_events(u, sock);
	if (ret < 0) {
		free(u);
		return ret;
	}
	fe_init(&u->fe, &fe_user_ops, QUEUES_DEFAULT);
	vu_endpoint_init(&u->ep, sock);
	u->timeout_ms = timeout_ms ? MAX(timeout_ms, -1) : FE_USER_TIMEOUT_MS;
	*out = &u->fe;
	return 0;
}
