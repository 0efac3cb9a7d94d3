/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fe_vdpa.c is the transport "vdpa": /dev/vhost-vdpa-N. Rings and eventfds are
 * set with the ioctls of the kernel transport; status, configuration and groups
 * with ioctls of vdpa. Such a device has no memory table, only an IOTLB. So a
 * table becomes updates with iova = gpa, between BATCH_BEGIN and BATCH_END if
 * those are accepted, as each change may reprogram hardware.
 */
#include "fe_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "abi.h"

static int need_backend_feature(const struct uvh *fe, unsigned int bit)
{
	return chardev(fe)->backend_features & BIT(bit) ? 0 : -EOPNOTSUPP;
}

/* ---- memory ---- */

static int send_iotlb(struct uvh *fe, uint8_t type, const struct uvh_region *r)
{
	struct vhost_iotlb_msg msg;

	memset(&msg, 0, sizeof(msg));
	msg.type = type;
	if (r) {
		msg.iova = r->gpa;
		msg.size = r->size;
		msg.uaddr = r->uva;
		msg.perm = VHOST_ACCESS_RW;
	}
	return fe_chardev_iotlb_send(fe, &msg, 0);
}

static int map_region(struct uvh *fe, const struct uvh_region *region)
	NEEDS(fe->lock)
{
	int ret = send_iotlb(fe, VHOST_IOTLB_UPDATE, region);

	return ret < 0 ? ret : fe_table_add(fe, region);
}

static int unmap_region(struct uvh *fe, const struct uvh_region *region)
	NEEDS(fe->lock)
{
	int ret = send_iotlb(fe, VHOST_IOTLB_INVALIDATE, region);

	if (ret == 0)
		fe_table_remove(fe, (unsigned int)fe_table_find(fe, region));
	return ret;
}

static int vdpa_set_mem_table(struct uvh *fe, const struct uvh_region *regions,
			      unsigned int n) NEEDS(fe->lock)
{
	bool batch = need_backend_feature(fe, VHOST_BACKEND_F_IOTLB_BATCH) == 0;
	int ret = 0, end = 0;

	if (batch)
		ret = send_iotlb(fe, VHOST_IOTLB_BATCH_BEGIN, NULL);
	if (ret < 0)
		return ret;
	ret = fe_table_diff(fe, regions, n, map_region, unmap_region);
	/* Sent after an error too, for the updates before it. */
	if (batch)
		end = send_iotlb(fe, VHOST_IOTLB_BATCH_END, NULL);
	return ret < 0 ? ret : end;
}

static int vdpa_max_mem_slots(struct uvh *fe, unsigned int *slots)
{
	(void)fe;
	*slots = UVH_REGIONS_MAX;
	return 0;
}

/* ---- the device ---- */

static int vdpa_set_vring_enable(struct uvh *fe, unsigned int qi, bool enable)
{
	struct vhost_vring_state s = { .index = qi, .num = enable };

	return fe_ioctl(fe, VHOST_VDPA_SET_VRING_ENABLE, &s);
}

static struct vhost_vdpa_config *new_config(uint32_t offset, uint32_t len)
{
	struct vhost_vdpa_config *c = calloc(1, sizeof(*c) + len);

	if (c) {
		c->off = offset;
		c->len = len;
	}
	return c;
}

static int vdpa_get_config(struct uvh *fe, uint32_t offset, void *buf,
			   uint32_t len)
{
	struct vhost_vdpa_config *c = new_config(offset, len);
	int ret;

	if (!c)
		return -ENOMEM;
	ret = fe_ioctl(fe, VHOST_VDPA_GET_CONFIG, c);
	if (ret == 0)
		memcpy(buf, c->buf, len);
	free(c);
	return ret;
}

static int vdpa_set_config(struct uvh *fe, uint32_t offset, const void *buf,
			   uint32_t len, enum uvh_config_writer writer)
{
	struct vhost_vdpa_config *c = new_config(offset, len);
	int ret;

	(void)writer;
	if (!c)
		return -ENOMEM;
	memcpy(c->buf, buf, len);
	ret = fe_ioctl(fe, VHOST_VDPA_SET_CONFIG, c);
	free(c);
	return ret;
}

static int vdpa_set_config_call(struct uvh *fe, int fd)
{
	return fe_ioctl(fe, VHOST_VDPA_SET_CONFIG_CALL, &fd);
}

static int vdpa_get_status(struct uvh *fe, uint8_t *status)
{
	return fe_ioctl(fe, VHOST_VDPA_GET_STATUS, status);
}

static int vdpa_set_status(struct uvh *fe, uint8_t status)
{
	return fe_ioctl(fe, VHOST_VDPA_SET_STATUS, &status);
}

static int vdpa_reset_device(struct uvh *fe)
{
	return vdpa_set_status(fe, 0);
}

static int vdpa_get_device_id(struct uvh *fe, uint32_t *id)
{
	return fe_ioctl(fe, VHOST_VDPA_GET_DEVICE_ID, id);
}

static int vdpa_get_vring_num_max(struct uvh *fe, uint16_t *num)
{
	return fe_ioctl(fe, VHOST_VDPA_GET_VRING_NUM, num);
}

static int vdpa_get_config_size(struct uvh *fe, uint32_t *size)
{
	return fe_ioctl(fe, VHOST_VDPA_GET_CONFIG_SIZE, size);
}

static int vdpa_get_iova_range(struct uvh *fe, uint64_t *first, uint64_t *last)
{
	struct vhost_vdpa_iova_range range;
	int ret = fe_ioctl(fe, VHOST_VDPA_GET_IOVA_RANGE, &range);

	if (ret < 0)
		return ret;
	*first = range.first;
	*last = range.last;
	return 0;
}

static int vdpa_get_group_count(struct uvh *fe, uint32_t *count)
{
	return fe_ioctl(fe, VHOST_VDPA_GET_GROUP_NUM, count);
}

static int vdpa_get_as_count(struct uvh *fe, uint32_t *count)
{
	return fe_ioctl(fe, VHOST_VDPA_GET_AS_NUM, count);
}

static int get_ring_number(struct uvh *fe, unsigned long cmd, unsigned int qi,
			   uint32_t *num)
{
	struct vhost_vring_state s = { .index = qi };
	int ret = fe_ioctl(fe, cmd, &s);

	if (ret == 0)
		*num = s.num;
	return ret;
}

static int vdpa_get_vring_group(struct uvh *fe, unsigned int qi,
				uint32_t *group)
{
	return get_ring_number(fe, VHOST_VDPA_GET_VRING_GROUP, qi, group);
}

static int vdpa_get_vring_desc_group(struct uvh *fe, unsigned int qi,
				     uint32_t *group)
{
	int ret = need_backend_feature(fe, VHOST_BACKEND_F_DESC_ASID);

	return ret < 0 ? ret
		       : get_ring_number(fe, VHOST_VDPA_GET_VRING_DESC_GROUP,
					 qi, group);
}

static int vdpa_get_vring_size(struct uvh *fe, unsigned int qi, uint32_t *num)
{
	return get_ring_number(fe, VHOST_VDPA_GET_VRING_SIZE, qi, num);
}

static int vdpa_set_group_asid(struct uvh *fe, uint32_t group, uint32_t asid)
{
	struct vhost_vring_state s = { .index = group, .num = asid };

	return fe_ioctl(fe, VHOST_VDPA_SET_GROUP_ASID, &s);
}

static int vdpa_suspend(struct uvh *fe)
{
	int ret = need_backend_feature(fe, VHOST_BACKEND_F_SUSPEND);

	return ret < 0 ? ret : fe_ioctl(fe, VHOST_VDPA_SUSPEND, NULL);
}

static int vdpa_resume(struct uvh *fe)
{
	int ret = need_backend_feature(fe, VHOST_BACKEND_F_RESUME);

	return ret < 0 ? ret : fe_ioctl(fe, VHOST_VDPA_RESUME, NULL);
}

const struct uvh_ops fe_vdpa_ops = {
	.name = "vdpa",
	.start = UVH_START_ENABLE,
	.checks_owner = true,
	.get_features = fe_chardev_get_features,
	.set_features = fe_chardev_set_features,
	.get_backend_features = fe_chardev_get_backend_features,
	.set_backend_features = fe_chardev_set_backend_features,
	.set_owner = fe_chardev_set_owner,
	.set_mem_table = vdpa_set_mem_table,
	.add_region = map_region,
	.remove_region = unmap_region,
	.max_mem_slots = vdpa_max_mem_slots,
	.set_vring_num = fe_chardev_set_vring_num,
	.set_vring_addr = fe_chardev_set_vring_addr,
	.set_vring_base = fe_chardev_set_vring_base,
	.get_vring_base = fe_chardev_get_vring_base,
	.set_vring_kick = fe_chardev_set_vring_kick,
	.set_vring_call = fe_chardev_set_vring_call,
	.set_vring_err = fe_chardev_set_vring_err,
	.set_vring_enable = vdpa_set_vring_enable,
	.iotlb_send = fe_chardev_iotlb_send,
	.get_config = vdpa_get_config,
	.set_config = vdpa_set_config,
	.set_config_call = vdpa_set_config_call,
	.get_status = vdpa_get_status,
	.set_status = vdpa_set_status,
	.reset_device = vdpa_reset_device,
	.get_device_id = vdpa_get_device_id,
	.get_vring_num_max = vdpa_get_vring_num_max,
	.get_config_size = vdpa_get_config_size,
	.get_iova_range = vdpa_get_iova_range,
	.get_group_count = vdpa_get_group_count,
	.get_as_count = vdpa_get_as_count,
	.get_vring_group = vdpa_get_vring_group,
	.get_vring_desc_group = vdpa_get_vring_desc_group,
	.set_group_asid = vdpa_set_group_asid,
	.get_vring_size = vdpa_get_vring_size,
	.suspend = vdpa_suspend,
	.resume = vdpa_resume,
	.close = fe_chardev_close,
};

/* VQS_COUNT came with Linux 6.0. */
static int count_vrings(struct uvh *fe)
{
	uint32_t count;
	int ret = fe_ioctl(fe, VHOST_VDPA_GET_VQS_COUNT, &count);

	if (ret == -EPERM || ret == -ENOTTY)
		return 2;
	return ret < 0 ? ret : (int)MIN(count, UVH_QUEUES_MAX);
}

int uvh_vdpa_open(const char *path, struct uvh **out)
{
	struct fe_chardev *v;
	uint32_t id;
	int ret;

	if (!path || !out)
		return -EINVAL;
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->fd = open(path, O_RDWR | O_CLOEXEC);
	if (v->fd < 0) {
		ret = -errno;
		free(v);
		return ret;
	}
	fe_init(&v->fe, &fe_vdpa_ops, 0);
	/* Only a vdpa device serves this ioctl without an owner. */
	ret = vdpa_get_device_id(&v->fe, &id);
	if (ret == 0)
		ret = count_vrings(&v->fe);
	if (ret < 0) {
		fe_chardev_close(&v->fe);
		return ret;
	}
	v->fe.queues = (unsigned int)ret;
	*out = &v->fe;
	return 0;
}
