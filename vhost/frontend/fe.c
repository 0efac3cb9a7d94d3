/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The calls of <uvhost/frontend.h>: arguments and state are checked here, once
 * for all transports, under the frontend's lock; then the transport acts.
 *
 * The state known here (owner, running rings, the table) is what went through
 * this frontend. It is not used where the device itself checks (ops->
 * checks_owner, checks_state): another process may have used the descriptor
 * before.
 */
#include "fe_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi.h"
#include "bytes.h"
#include "log.h"

/* ---- rings that run ---- */

static bool is_running(const struct uvh *fe, unsigned int qi)
{
	return fe->running[qi / 8] & (1u << qi % 8);
}

static void set_running(struct uvh *fe, unsigned int qi, bool running)
	NEEDS(fe->lock)
{
	if (running)
		fe->running[qi / 8] |= (uint8_t)(1u << qi % 8);
	else
		fe->running[qi / 8] &= (uint8_t)~(1u << qi % 8);
}

static void nothing_runs(struct uvh *fe) NEEDS(fe->lock)
{
	memset(fe->running, 0, sizeof(fe->running));
}

/* ---- checks ---- */

static int check_owner(const struct uvh *fe)
{
	return fe->owner || fe->ops->checks_owner ? 0 : -EPERM;
}

static int check_ring(const struct uvh *fe, unsigned int qi)
{
	int ret = check_owner(fe);

	if (qi >= fe->queues)
		return -EINVAL;
	return ret;
}

/* For what can be set only while the ring is stopped. */
static int check_stopped(const struct uvh *fe, unsigned int qi)
{
	int ret = check_ring(fe, qi);

	if (ret == 0 && !fe->ops->checks_state && is_running(fe, qi))
		ret = -EBUSY;
	return ret;
}

static int check_fd(int fd)
{
	if (fd == -1)
		return 0;
	return fd < 0 || fcntl(fd, F_GETFD) < 0 ? -EBADF : 0;
}

static int check_owner_fd(const struct uvh *fe, int fd)
{
	int ret = check_owner(fe);

	return ret < 0 ? ret : check_fd(fd);
}

static int check_ring_fd(const struct uvh *fe, unsigned int qi, int fd)
{
	int ret = check_ring(fe, qi);

	return ret < 0 ? ret : check_fd(fd);
}

static int check_range(uint64_t start, uint64_t size)
{
	uint64_t last;

	return size && range_last(start, size, &last) ? 0 : -EINVAL;
}

static int check_region(const struct uvh_region *r)
{
	if (check_range(r->gpa, r->size) < 0 ||
	    check_range(r->uva, r->size) < 0 ||
	    check_range(r->fd_offset, r->size) < 0)
		return -EINVAL;
	return check_fd(r->fd);
}

static bool overlap(const struct uvh_region *a, const struct uvh_region *b)
{
	return a->gpa <= b->gpa + b->size - 1 && b->gpa <= a->gpa + a->size - 1;
}

static int check_slots(struct uvh *fe, unsigned int n)
{
	unsigned int slots = UVH_REGIONS_MAX;
	int ret = 0;

	if (n > UVH_REGIONS_MAX)
		return -E2BIG;
	if (fe->ops->max_mem_slots)
		ret = fe->ops->max_mem_slots(fe, &slots);
	if (ret < 0)
		return ret;
	return n > slots ? -E2BIG : 0;
}

static int check_table(struct uvh *fe, const struct uvh_region *regions,
		       unsigned int n)
{
	int ret = check_owner(fe);

	if (n && !regions)
		return -EINVAL;
	if (n > UVH_REGIONS_MAX)
		return -E2BIG;
	for (unsigned int i = 0; ret == 0 && i < n; i++) {
		ret = check_region(&regions[i]);
		for (unsigned int k = 0; ret == 0 && k < i; k++)
			if (!fe->ops->takes_overlaps &&
			    overlap(&regions[i], &regions[k]))
				ret = -EINVAL;
	}
	return ret < 0 ? ret : check_slots(fe, n);
}

static bool is_packed(const struct uvh *fe)
{
	return fe->features & BIT(VIRTIO_F_RING_PACKED);
}

/*
 * The frame of nearly every call: the lock, whether the transport can, a check,
 * the operation; by @via, which wraps it.
 */
#define CALL_VIA(fe, op, via, check, ...)                     \
	({                                                    \
		int ret_;                                     \
                                                              \
		mutex_lock(&(fe)->lock);                      \
		ret_ = (fe)->ops->op ? (check) : -EOPNOTSUPP; \
		if (ret_ == 0)                                \
			ret_ = via((fe), ##__VA_ARGS__);      \
		mutex_unlock(&(fe)->lock);                    \
		ret_;                                         \
	})
#define CALL(fe, op, check, ...) \
	CALL_VIA(fe, op, (fe)->ops->op, check, ##__VA_ARGS__)

#define CHECK_ARG(arg) ((arg) ? check_owner(fe) : -EINVAL)

int uvh_open(const char *path, int timeout_ms, struct uvh **out)
{
	struct stat st;
	int ret;

	if (!path || !out)
		return -EINVAL;
	/* No file at all may yet be a device: some are only there for open(2).
	 */
	if (stat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		return uvh_user_connect(path, timeout_ms, out);
	ret = uvh_vdpa_open(path, out);
	if (ret == -EPERM || ret == -ENOTTY) /* not of that kind */
		ret = uvh_kernel_open(path, out);
	return ret;
}

void uvh_close(struct uvh *fe)
{
	if (fe)
		fe->ops->close(fe);
}

const char *uvh_transport(const struct uvh *fe)
{
	return fe->ops->name;
}

/* ---- features, owner ---- */

int uvh_get_features(struct uvh *fe, uint64_t *features)
{
	return CALL(fe, get_features, features ? 0 : -EINVAL, features);
}

static int check_offered(struct uvh *fe, uint64_t features,
			 int (*get)(struct uvh *fe, uint64_t *features))
{
	uint64_t offered = 0;
	int ret;

	if (fe->ops->checks_state || !get)
		return 0;
	ret = get(fe, &offered);
	if (ret < 0)
		return ret;
	return features & ~offered ? -EOPNOTSUPP : 0;
}

static int set_features(struct uvh *fe, uint64_t features) NEEDS(fe->lock)
{
	int ret = check_offered(fe, features, fe->ops->get_features);

	if (ret == 0)
		ret = fe->ops->set_features(fe, features);
	if (ret == 0)
		fe->features = features;
	return ret;
}

int uvh_set_features(struct uvh *fe, uint64_t features)
{
	return CALL_VIA(fe, set_features, set_features, 0, features);
}

int uvh_get_backend_features(struct uvh *fe, uint64_t *features)
{
	return CALL(fe, get_backend_features, features ? 0 : -EINVAL, features);
}

int uvh_set_backend_features(struct uvh *fe, uint64_t features)
{
	return CALL(fe, set_backend_features,
		    check_offered(fe, features, fe->ops->get_backend_features),
		    features);
}

int uvh_get_protocol_features(struct uvh *fe, uint64_t *features)
{
	return CALL(fe, get_protocol_features, features ? 0 : -EINVAL,
		    features);
}

int uvh_set_protocol_features(struct uvh *fe, uint64_t features)
{
	return CALL(fe, set_protocol_features,
		    features & ~UVH_PROTOCOL_KNOWN
			    ? -EOPNOTSUPP
			    : check_offered(fe, features,
					    fe->ops->get_protocol_features),
		    features);
}

static int set_owner(struct uvh *fe) NEEDS(fe->lock)
{
	int ret = fe->ops->set_owner(fe);

	if (ret == 0)
		fe->owner = true;
	return ret;
}

int uvh_set_owner(struct uvh *fe)
{
	return CALL_VIA(fe, set_owner, set_owner,
			fe->owner && !fe->ops->checks_owner ? -EBUSY : 0);
}

static int reset_owner(struct uvh *fe) NEEDS(fe->lock)
{
	int ret = fe->ops->reset_owner(fe);

	if (ret < 0)
		return ret;
	fe->owner = false;
	fe->features = 0;
	fe->nregions = 0;
	nothing_runs(fe);
	return 0;
}

int uvh_reset_owner(struct uvh *fe)
{
	return CALL_VIA(fe, reset_owner, reset_owner, check_owner(fe));
}

unsigned int uvh_queue_count(const struct uvh *fe)
{
	return __atomic_load_n(&fe->queues, __ATOMIC_RELAXED);
}

/* ---- memory ---- */

int uvh_set_mem_table(struct uvh *fe, const struct uvh_region *regions,
		      unsigned int n)
{
	return CALL_VIA(fe, set_mem_table, fe_replace_table,
			check_table(fe, regions, n), regions, n);
}

static int check_new_region(struct uvh *fe, const struct uvh_region *region)
	NEEDS(fe->lock)
{
	int ret = CHECK_ARG(region);

	if (ret == 0)
		ret = check_region(region);
	if (ret < 0)
		return ret;
	for (unsigned int i = 0; i < fe->nregions; i++)
		if (overlap(region, &fe->table[i]))
			return -EEXIST;
	return check_slots(fe, fe->nregions + 1);
}

int uvh_add_region(struct uvh *fe, const struct uvh_region *region)
{
	return CALL(fe, add_region, check_new_region(fe, region), region);
}

static int check_old_region(struct uvh *fe, const struct uvh_region *region)
	NEEDS(fe->lock)
{
	int ret = CHECK_ARG(region);

	if (ret == 0 && fe_table_find(fe, region) < 0)
		ret = -ENOENT;
	return ret;
}

int uvh_remove_region(struct uvh *fe, const struct uvh_region *region)
{
	return CALL(fe, remove_region, check_old_region(fe, region), region);
}

int uvh_max_mem_slots(struct uvh *fe, unsigned int *slots)
{
	return CALL(fe, max_mem_slots, CHECK_ARG(slots), slots);
}

static int check_log(const struct uvh *fe, uint64_t uva, uint64_t size, int fd,
		     uint64_t offset)
{
	int ret = check_owner(fe);

	if (ret < 0)
		return ret;
	if (size &&
	    (check_range(uva, size) < 0 || check_range(offset, size) < 0))
		return -EINVAL;
	return check_fd(fd);
}

int uvh_set_log_base(struct uvh *fe, uint64_t uva, uint64_t size, int fd,
		     uint64_t offset)
{
	return CALL(fe, set_log_base, check_log(fe, uva, size, fd, offset), uva,
		    size, fd, offset);
}

int uvh_set_log_fd(struct uvh *fe, int fd)
{
	return CALL(fe, set_log_fd, check_owner_fd(fe, fd), fd);
}

/* ---- rings ---- */

static int check_num(const struct uvh *fe, unsigned int qi, unsigned int num)
{
	int ret = check_stopped(fe, qi);

	if (ret < 0)
		return ret;
	if (num == 0 || num > UVH_RING_MAX)
		return -EINVAL;
	return is_power_of_two(num) || is_packed(fe) ? 0 : -EINVAL;
}

int uvh_set_vring_num(struct uvh *fe, unsigned int qi, unsigned int num)
{
	return CALL(fe, set_vring_num, check_num(fe, qi, num), qi, num);
}

static int check_addr(const struct uvh *fe, const struct vhost_vring_addr *addr)
{
	int ret;

	if (!addr)
		return -EINVAL;
	ret = check_ring(fe, addr->index);
	if (ret < 0)
		return ret;
	if (addr->flags & ~BIT(VHOST_VRING_F_LOG))
		return -EOPNOTSUPP;
	if (addr->avail_user_addr % VRING_AVAIL_ALIGN_SIZE ||
	    addr->used_user_addr % VRING_USED_ALIGN_SIZE ||
	    addr->log_guest_addr % VRING_USED_ALIGN_SIZE)
		return -EINVAL;
	return 0;
}

int uvh_set_vring_addr(struct uvh *fe, const struct vhost_vring_addr *addr)
{
	return CALL(fe, set_vring_addr, check_addr(fe, addr), addr);
}

static int check_base(const struct uvh *fe, unsigned int qi, uint32_t base)
{
	int ret = check_stopped(fe, qi);

	if (ret == 0 && base > UINT16_MAX && !is_packed(fe))
		ret = -EINVAL;
	return ret;
}

int uvh_set_vring_base(struct uvh *fe, unsigned int qi, uint32_t base)
{
	return CALL(fe, set_vring_base, check_base(fe, qi, base), qi, base);
}

static int get_base(struct uvh *fe, unsigned int qi, uint32_t *base)
	NEEDS(fe->lock)
{
	int ret = fe->ops->get_vring_base(fe, qi, base);

	if (ret == 0 && fe->ops->start == UVH_START_KICK)
		set_running(fe, qi, false);
	return ret;
}

int uvh_get_vring_base(struct uvh *fe, unsigned int qi, uint32_t *base)
{
	return CALL_VIA(fe, get_vring_base, get_base,
			base ? check_ring(fe, qi) : -EINVAL, qi, base);
}

static int set_kick(struct uvh *fe, unsigned int qi, int fd) NEEDS(fe->lock)
{
	int ret = fe->ops->set_vring_kick(fe, qi, fd);

	if (ret == 0 && fd >= 0 && fe->ops->start == UVH_START_KICK)
		set_running(fe, qi, true);
	return ret;
}

int uvh_set_vring_kick(struct uvh *fe, unsigned int qi, int fd)
{
	return CALL_VIA(fe, set_vring_kick, set_kick, check_ring_fd(fe, qi, fd),
			qi, fd);
}

int uvh_set_vring_call(struct uvh *fe, unsigned int qi, int fd)
{
	return CALL(fe, set_vring_call, check_ring_fd(fe, qi, fd), qi, fd);
}

int uvh_set_vring_err(struct uvh *fe, unsigned int qi, int fd)
{
	return CALL(fe, set_vring_err, check_ring_fd(fe, qi, fd), qi, fd);
}

static int set_enable(struct uvh *fe, unsigned int qi, bool enable)
	NEEDS(fe->lock)
{
	int ret = fe->ops->set_vring_enable(fe, qi, enable);

	if (ret == 0 && fe->ops->start == UVH_START_ENABLE)
		set_running(fe, qi, enable);
	return ret;
}

int uvh_set_vring_enable(struct uvh *fe, unsigned int qi, bool enable)
{
	return CALL_VIA(fe, set_vring_enable, set_enable, check_ring(fe, qi),
			qi, enable);
}

int uvh_set_vring_busyloop(struct uvh *fe, unsigned int qi, uint32_t us)
{
	return CALL(fe, set_vring_busyloop, check_ring(fe, qi), qi, us);
}

static int set_net_backend(struct uvh *fe, unsigned int qi, int fd)
	NEEDS(fe->lock)
{
	int ret = fe->ops->net_set_backend(fe, qi, fd);

	if (ret == 0)
		set_running(fe, qi, fd >= 0);
	return ret;
}

/* Whatever is wrong with the descriptor, the device's word is -ENOTSOCK. */
int uvh_net_set_backend(struct uvh *fe, unsigned int qi, int fd)
{
	return CALL_VIA(fe, net_set_backend, set_net_backend,
			check_ring(fe, qi), qi, fd);
}

int uvh_vring_start(struct uvh *fe, unsigned int qi, int backend)
{
	if (fe->ops->start == UVH_START_BACKEND)
		return uvh_net_set_backend(fe, qi, backend);
	return uvh_set_vring_enable(fe, qi, true);
}

/* vhost-user: what the guest has sent to a ring that is disabled before it is
 * stopped is discarded. A backend that cannot disable a ring is done then. */
static int stop_then_disable(struct uvh *fe, unsigned int qi, uint32_t *base)
{
	int ret = uvh_get_vring_base(fe, qi, base);

	if (ret == 0)
		ret = uvh_set_vring_enable(fe, qi, false);
	return ret == -EOPNOTSUPP ? 0 : ret;
}

int uvh_vring_stop(struct uvh *fe, unsigned int qi, uint32_t *base)
{
	uint32_t dummy;
	int ret;

	base = base ? base : &dummy;
	if (fe->ops->start == UVH_START_KICK)
		return stop_then_disable(fe, qi, base);
	if (fe->ops->start == UVH_START_BACKEND)
		ret = uvh_net_set_backend(fe, qi, -1);
	else
		ret = uvh_set_vring_enable(fe, qi, false);
	return ret < 0 ? ret : uvh_get_vring_base(fe, qi, base);
}

/* ---- IOTLB and events ---- */

static int check_iotlb(const struct uvh *fe, const struct vhost_iotlb_msg *msg)
{
	int ret = CHECK_ARG(msg);

	if (ret < 0)
		return ret;
	switch (msg->type) {
	case VHOST_IOTLB_UPDATE:
	case VHOST_IOTLB_INVALIDATE:
		return check_range(msg->iova, msg->size);
	case VHOST_IOTLB_BATCH_BEGIN:
	case VHOST_IOTLB_BATCH_END:
		return 0;
	default:
		return -EINVAL;
	}
}

int uvh_iotlb_send(struct uvh *fe, const struct vhost_iotlb_msg *msg,
		   uint32_t asid)
{
	struct vhost_iotlb_msg m;

	/* Without the caller's padding: the device reads that too. */
	memset(&m, 0, sizeof(m));
	if (msg) {
		m.iova = msg->iova;
		m.size = msg->size;
		m.uaddr = msg->uaddr;
		m.perm = msg->perm;
		m.type = msg->type;
	}
	return CALL(fe, iotlb_send, check_iotlb(fe, msg), &m, asid);
}

int uvh_iotlb_recv(struct uvh *fe, struct vhost_iotlb_msg *msg)
{
	if (!fe->ops->iotlb_recv)
		return -EOPNOTSUPP;
	return msg ? fe->ops->iotlb_recv(fe, msg) : -EINVAL;
}

void uvh_set_backend_ops(struct uvh *fe, const struct uvh_backend_ops *ops,
			 void *ctx)
{
	mutex_lock(&fe->lock);
	fe->backend_ops = ops;
	fe->backend_ctx = ctx;
	mutex_unlock(&fe->lock);
}

int uvh_event_fd(const struct uvh *fe)
{
	return fe->ops->event_fd ? fe->ops->event_fd(fe) : -EOPNOTSUPP;
}

int uvh_handle_events(struct uvh *fe)
{
	return fe->ops->handle_events ? fe->ops->handle_events(fe)
				      : -EOPNOTSUPP;
}

/* ---- net ---- */

int uvh_net_set_mtu(struct uvh *fe, uint16_t mtu)
{
	return CALL(fe, net_set_mtu, mtu < 68 ? -EINVAL : check_owner(fe), mtu);
}

int uvh_net_send_rarp(struct uvh *fe, const uint8_t mac[6])
{
	return CALL(fe, net_send_rarp, CHECK_ARG(mac), mac);
}

/* ---- configuration space, status ---- */

static int check_config(const struct uvh *fe, uint32_t offset, const void *buf,
			uint32_t len)
{
	int ret = CHECK_ARG(buf);

	if (ret == 0 &&
	    (len == 0 || len > UVH_CONFIG_MAX || offset > UVH_CONFIG_MAX - len))
		ret = -EINVAL;
	return ret;
}

int uvh_get_config(struct uvh *fe, uint32_t offset, void *buf, uint32_t len)
{
	return CALL(fe, get_config, check_config(fe, offset, buf, len), offset,
		    buf, len);
}

int uvh_set_config(struct uvh *fe, uint32_t offset, const void *buf,
		   uint32_t len, enum uvh_config_writer writer)
{
	return CALL(fe, set_config, check_config(fe, offset, buf, len), offset,
		    buf, len, writer);
}

int uvh_set_config_call(struct uvh *fe, int fd)
{
	return CALL(fe, set_config_call, check_owner_fd(fe, fd), fd);
}

int uvh_get_status(struct uvh *fe, uint8_t *status)
{
	return CALL(fe, get_status, CHECK_ARG(status), status);
}

static int set_status(struct uvh *fe, uint8_t status) NEEDS(fe->lock)
{
	int ret = fe->ops->set_status(fe, status);

	if (ret == 0 && status == 0)
		nothing_runs(fe);
	return ret;
}

int uvh_set_status(struct uvh *fe, uint8_t status)
{
	return CALL_VIA(fe, set_status, set_status, check_owner(fe), status);
}

static int reset_device(struct uvh *fe) NEEDS(fe->lock)
{
	int ret = fe->ops->reset_device(fe);

	if (ret == 0)
		nothing_runs(fe);
	return ret;
}

int uvh_reset_device(struct uvh *fe)
{
	return CALL_VIA(fe, reset_device, reset_device, check_owner(fe));
}

/* ---- vdpa ---- */

int uvh_get_device_id(struct uvh *fe, uint32_t *id)
{
	return CALL(fe, get_device_id, CHECK_ARG(id), id);
}

int uvh_get_vring_num_max(struct uvh *fe, uint16_t *num)
{
	return CALL(fe, get_vring_num_max, CHECK_ARG(num), num);
}

int uvh_get_config_size(struct uvh *fe, uint32_t *size)
{
	return CALL(fe, get_config_size, CHECK_ARG(size), size);
}

int uvh_get_iova_range(struct uvh *fe, uint64_t *first, uint64_t *last)
{
	return CALL(fe, get_iova_range, CHECK_ARG(first && last), first, last);
}

int uvh_get_group_count(struct uvh *fe, uint32_t *count)
{
	return CALL(fe, get_group_count, CHECK_ARG(count), count);
}

int uvh_get_as_count(struct uvh *fe, uint32_t *count)
{
	return CALL(fe, get_as_count, CHECK_ARG(count), count);
}

int uvh_get_vring_group(struct uvh *fe, unsigned int qi, uint32_t *group)
{
	return CALL(fe, get_vring_group, group ? check_ring(fe, qi) : -EINVAL,
		    qi, group);
}

int uvh_get_vring_desc_group(struct uvh *fe, unsigned int qi, uint32_t *group)
{
	return CALL(fe, get_vring_desc_group,
		    group ? check_ring(fe, qi) : -EINVAL, qi, group);
}

int uvh_set_group_asid(struct uvh *fe, uint32_t group, uint32_t asid)
{
	return CALL(fe, set_group_asid, check_owner(fe), group, asid);
}

int uvh_get_vring_size(struct uvh *fe, unsigned int qi, uint32_t *num)
{
	return CALL(fe, get_vring_size, num ? check_ring(fe, qi) : -EINVAL, qi,
		    num);
}

int uvh_suspend(struct uvh *fe)
{
	return CALL(fe, suspend, check_owner(fe));
}

int uvh_resume(struct uvh *fe)
{
	return CALL(fe, resume, check_owner(fe));
}

/* ---- vhost-user ---- */

int uvh_get_inflight(struct uvh *fe, struct uvh_inflight *inflight)
{
	return CALL(fe, get_inflight, CHECK_ARG(inflight), inflight);
}

static int check_inflight(const struct uvh *fe,
			  const struct uvh_inflight *inflight)
{
	int ret = CHECK_ARG(inflight);

	if (ret < 0)
		return ret;
	if (inflight->fd < 0)
		return -EBADF;
	if (check_range(inflight->offset, inflight->size) < 0)
		return -EINVAL;
	return check_fd(inflight->fd);
}

int uvh_set_inflight(struct uvh *fe, const struct uvh_inflight *inflight)
{
	return CALL(fe, set_inflight, check_inflight(fe, inflight), inflight);
}

int uvh_postcopy_advise(struct uvh *fe, int *uffd)
{
	return CALL(fe, postcopy_advise, CHECK_ARG(uffd), uffd);
}

int uvh_postcopy_listen(struct uvh *fe)
{
	return CALL(fe, postcopy_listen, check_owner(fe));
}

int uvh_postcopy_end(struct uvh *fe)
{
	return CALL(fe, postcopy_end, check_owner(fe));
}

int uvh_postcopy_base(struct uvh *fe, unsigned int i, uint64_t *base)
{
	return CALL(fe, postcopy_base, CHECK_ARG(base), i, base);
}

int uvh_set_device_state(struct uvh *fe, enum uvh_state_direction direction,
			 int fd, int *other)
{
	int ret = 0;

	if (!other || fd < 0 || direction > UVH_STATE_LOAD)
		ret = -EINVAL;
	if (ret == 0)
		ret = CALL(fe, set_device_state, check_owner(fe), direction, fd,
			   other);
	if (fd >= 0)
		close(fd);
	return ret;
}

int uvh_check_device_state(struct uvh *fe)
{
	return CALL(fe, check_device_state, check_owner(fe));
}

static int vring_kick(struct uvh *fe, unsigned int qi) NEEDS(fe->lock)
{
	int ret = fe->ops->vring_kick(fe, qi);

	if (ret == 0)
		set_running(fe, qi, true);
	return ret;
}

int uvh_vring_kick(struct uvh *fe, unsigned int qi)
{
	return CALL_VIA(fe, vring_kick, vring_kick, check_ring(fe, qi), qi);
}

/* ---- for people ---- */

_Static_assert((int)UVH_LOG_ERROR == LOG_LEVEL_ERROR &&
		       (int)UVH_LOG_DEBUG == LOG_LEVEL_DEBUG,
	       "levels go through as they are");

static void (*log_fn)(void *ctx, enum uvh_log_level level, const char *line);

static void log_line(void *ctx, enum log_level level, const char *line)
{
	log_fn(ctx, (enum uvh_log_level)level, line);
}

void uvh_set_log(enum uvh_log_level level,
		 void (*fn)(void *ctx, enum uvh_log_level level,
			    const char *line),
		 void *ctx)
{
	log_fn = fn;
	log_set_sink(fn ? log_line : NULL, ctx);
	log_set_level(fn ? (enum log_level)level : LOG_LEVEL_NONE);
}

const char *uvh_feature_name(unsigned int bit)
{
	/* virtio 1.2 §5.1.3 and §6; <linux/vhost_types.h> */
	static const char *const names[64] = {
		[0] = "CSUM",
		[1] = "GUEST_CSUM",
		[2] = "CTRL_GUEST_OFFLOADS",
		[3] = "MTU",
		[5] = "MAC",
		[7] = "GUEST_TSO4",
		[8] = "GUEST_TSO6",
		[9] = "GUEST_ECN",
		[10] = "GUEST_UFO",
		[11] = "HOST_TSO4",
		[12] = "HOST_TSO6",
		[13] = "HOST_ECN",
		[14] = "HOST_UFO",
		[15] = "MRG_RXBUF",
		[16] = "STATUS",
		[17] = "CTRL_VQ",
		[18] = "CTRL_RX",
		[19] = "CTRL_VLAN",
		[20] = "CTRL_RX_EXTRA",
		[21] = "GUEST_ANNOUNCE",
		[22] = "MQ",
		[23] = "CTRL_MAC_ADDR",
		[24] = "NOTIFY_ON_EMPTY",
		[26] = "LOG_ALL",
		[27] = "ANY_LAYOUT",
		[28] = "INDIRECT_DESC",
		[29] = "EVENT_IDX",
		[30] = "PROTOCOL_FEATURES",
		[32] = "VERSION_1",
		[33] = "ACCESS_PLATFORM",
		[34] = "RING_PACKED",
		[35] = "IN_ORDER",
		[36] = "ORDER_PLATFORM",
		[37] = "SR_IOV",
		[38] = "NOTIFICATION_DATA",
		[39] = "NOTIF_CONFIG_DATA",
		[40] = "RING_RESET",
		[54] = "GUEST_USO4",
		[55] = "GUEST_USO6",
		[56] = "HOST_USO",
		[57] = "HASH_REPORT",
		[59] = "GUEST_HDRLEN",
		[60] = "RSS",
		[61] = "RSC_EXT",
		[62] = "STANDBY",
		[63] = "SPEED_DUPLEX",
	};

	return bit < ARRAY_SIZE(names) ? names[bit] : NULL;
}
