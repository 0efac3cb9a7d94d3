/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fe.c has the calls of <uvhost/frontend.h> except those that name a ring
 * (fe_vring.c). It checks arguments and state for all transports, under the
 * frontend's lock, and calls the operation of the transport.
 *
 * The state here (owner, running rings, memory table) comes from calls through
 * this frontend. It is not used if the device checks its state itself
 * (ops->checks_owner, checks_state), as another process may have used the
 * descriptor before.
 */
#include "fe_call.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi.h"

static int check_owner_fd(const struct uvh *fe, int fd)
{
	int ret = check_owner(fe);

	return ret < 0 ? ret : check_fd(fd);
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

int uvh_open(const char *path, int timeout_ms, struct uvh **out)
{
	struct stat st;
	int ret;

	if (!path || !out)
		return -EINVAL;
	/* If there is no file, open(2) may still find a device. */
	if (stat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		return uvh_user_connect(path, timeout_ms, out);
	ret = uvh_vdpa_open(path, out);
	if (ret == -EPERM || ret == -ENOTTY) /* not a vdpa device */
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

	/* Copied by field, as the device also reads the padding. */
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

int uvh_set_group_asid(struct uvh *fe, uint32_t group, uint32_t asid)
{
	return CALL(fe, set_group_asid, check_owner(fe), group, asid);
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
