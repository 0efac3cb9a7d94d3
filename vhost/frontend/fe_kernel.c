/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fe_kernel.c is the transport "kernel": each call is an ioctl of
 * <linux/vhost.h>, and IOTLB messages are sent by write(2) and received by
 * read(2). The device checks, and its errno is returned. The vdpa transport
 * uses fe_chardev_*().
 */
#include "fe_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>

#include "abi.h"
#include "parse.h"

/* <linux/vhost.h>: the default of the module parameter max_mem_regions */
#define SLOTS_DEFAULT 64
#define SLOTS_FILE "/sys/module/vhost/parameters/max_mem_regions"
#define KERNEL_QUEUES 2

int fe_ioctl(const struct uvh *fe, unsigned long cmd, void *arg)
{
	int ret;

	do
		ret = ioctl(chardev(fe)->fd, cmd, arg);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

/* ---- ioctls of kernel and vdpa ---- */

int fe_chardev_get_features(struct uvh *fe, uint64_t *features)
{
	return fe_ioctl(fe, VHOST_GET_FEATURES, features);
}

int fe_chardev_set_features(struct uvh *fe, uint64_t features)
{
	return fe_ioctl(fe, VHOST_SET_FEATURES, &features);
}

int fe_chardev_get_backend_features(struct uvh *fe, uint64_t *features)
{
	return fe_ioctl(fe, VHOST_GET_BACKEND_FEATURES, features);
}

int fe_chardev_set_backend_features(struct uvh *fe, uint64_t features)
{
	int ret = fe_ioctl(fe, VHOST_SET_BACKEND_FEATURES, &features);

	if (ret == 0)
		chardev(fe)->backend_features = features;
	return ret;
}

int fe_chardev_set_owner(struct uvh *fe)
{
	return fe_ioctl(fe, VHOST_SET_OWNER, NULL);
}

static int set_state(struct uvh *fe, unsigned long cmd, unsigned int qi,
		     unsigned int num)
{
	struct vhost_vring_state s = { .index = qi, .num = num };

	return fe_ioctl(fe, cmd, &s);
}

int fe_chardev_set_vring_num(struct uvh *fe, unsigned int qi, unsigned int num)
{
	return set_state(fe, VHOST_SET_VRING_NUM, qi, num);
}

int fe_chardev_set_vring_addr(struct uvh *fe,
			      const struct vhost_vring_addr *addr)
{
	struct vhost_vring_addr a = *addr;

	return fe_ioctl(fe, VHOST_SET_VRING_ADDR, &a);
}

int fe_chardev_set_vring_base(struct uvh *fe, unsigned int qi, uint32_t base)
{
	return set_state(fe, VHOST_SET_VRING_BASE, qi, base);
}

int fe_chardev_get_vring_base(struct uvh *fe, unsigned int qi, uint32_t *base)
{
	struct vhost_vring_state s = { .index = qi };
	int ret = fe_ioctl(fe, VHOST_GET_VRING_BASE, &s);

	if (ret == 0)
		*base = s.num;
	return ret;
}

static int set_file(struct uvh *fe, unsigned long cmd, unsigned int qi, int fd)
{
	struct vhost_vring_file f = { .index = qi, .fd = fd };

	return fe_ioctl(fe, cmd, &f);
}

int fe_chardev_set_vring_kick(struct uvh *fe, unsigned int qi, int fd)
{
	return set_file(fe, VHOST_SET_VRING_KICK, qi, fd);
}

int fe_chardev_set_vring_call(struct uvh *fe, unsigned int qi, int fd)
{
	return set_file(fe, VHOST_SET_VRING_CALL, qi, fd);
}

int fe_chardev_set_vring_err(struct uvh *fe, unsigned int qi, int fd)
{
	return set_file(fe, VHOST_SET_VRING_ERR, qi, fd);
}

static bool accepted(const struct uvh *fe, unsigned int bit)
{
	return chardev(fe)->backend_features & BIT(bit);
}

static int write_iotlb_msg(const struct uvh *fe, const void *msg, size_t len)
{
	ssize_t n;

	do
		n = write(chardev(fe)->fd, msg, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int fe_chardev_iotlb_send(struct uvh *fe, const struct vhost_iotlb_msg *msg,
			  uint32_t asid)
{
	union fe_iotlb_msg m;

	if (msg->type >= VHOST_IOTLB_BATCH_BEGIN &&
	    !accepted(fe, VHOST_BACKEND_F_IOTLB_BATCH))
		return -EOPNOTSUPP;
	if (asid && !accepted(fe, VHOST_BACKEND_F_IOTLB_ASID))
		return -EINVAL;
	memset(&m, 0, sizeof(m));
	if (accepted(fe, VHOST_BACKEND_F_IOTLB_MSG_V2)) {
		m.v2.type = VHOST_IOTLB_MSG_V2;
		m.v2.asid = asid;
		memcpy(&m.v2.iotlb, msg, sizeof(*msg));
	} else {
		m.v1.type = VHOST_IOTLB_MSG;
		memcpy(&m.v1.iotlb, msg, sizeof(*msg));
	}
	return write_iotlb_msg(fe, &m, sizeof(m));
}

void fe_chardev_close(struct uvh *fe)
{
	close(chardev(fe)->fd);
	fe_fini(fe);
	free(chardev(fe));
}

/* ---- kernel ---- */

static int kernel_reset_owner(struct uvh *fe)
{
	return fe_ioctl(fe, VHOST_RESET_OWNER, NULL);
}

static int kernel_set_mem_table(struct uvh *fe,
				const struct uvh_region *regions,
				unsigned int n)
{
	struct vhost_memory *t = fe_vhost_table(regions, n);
	int ret;

	if (!t)
		return -ENOMEM;
	ret = fe_ioctl(fe, VHOST_SET_MEM_TABLE, t);
	free(t);
	return ret;
}

/* The limit is a module parameter, which can be read if the module is loaded.
 */
static int kernel_max_mem_slots(struct uvh *fe, unsigned int *slots)
{
	FILE *f = fopen(SLOTS_FILE, "re");
	char line[16] = "";
	const char *at = line;
	uint64_t n = 0;

	(void)fe;
	if (f) {
		if (!fgets(line, sizeof(line), f) ||
		    parse_digits(&at, 10, &n) < 0)
			n = 0;
		fclose(f);
	}
	*slots = (unsigned int)MIN(n ? n : SLOTS_DEFAULT, UVH_REGIONS_MAX);
	return 0;
}

static int kernel_set_log_base(struct uvh *fe, uint64_t uva, uint64_t size,
			       int fd, uint64_t offset)
{
	(void)size;
	(void)fd;
	(void)offset;
	return fe_ioctl(fe, VHOST_SET_LOG_BASE, &uva);
}

static int kernel_set_log_fd(struct uvh *fe, int fd)
{
	return fe_ioctl(fe, VHOST_SET_LOG_FD, &fd);
}

static int kernel_set_vring_busyloop(struct uvh *fe, unsigned int qi,
				     uint32_t us)
{
	return set_state(fe, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, qi, us);
}

static int kernel_net_set_backend(struct uvh *fe, unsigned int qi, int fd)
{
	return set_file(fe, VHOST_NET_SET_BACKEND, qi, fd);
}

/* A read(2) of the device may block, and O_NONBLOCK is the caller's: so it is
 * read only if poll(2) reports a message. */
static int kernel_iotlb_recv(struct uvh *fe, struct vhost_iotlb_msg *msg)
{
	struct pollfd p = { .fd = chardev(fe)->fd, .events = POLLIN };
	union fe_iotlb_msg m;
	ssize_t n;

	if (poll(&p, 1, 0) <= 0)
		return -EAGAIN;
	memset(&m, 0, sizeof(m));
	n = read(p.fd, &m, sizeof(m));
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	if (n != sizeof(m))
		return -EPROTO;
	return fe_unpack_iotlb(&m, msg);
}

static int kernel_event_fd(const struct uvh *fe)
{
	return chardev(fe)->fd;
}

const struct uvh_ops fe_kernel_ops = {
	.name = "kernel",
	.start = UVH_START_BACKEND,
	.takes_overlaps = true,
	.checks_owner = true,
	.checks_state = true,
	.get_features = fe_chardev_get_features,
	.set_features = fe_chardev_set_features,
	.get_backend_features = fe_chardev_get_backend_features,
	.set_backend_features = fe_chardev_set_backend_features,
	.set_owner = fe_chardev_set_owner,
	.reset_owner = kernel_reset_owner,
	.set_mem_table = kernel_set_mem_table,
	.add_region = fe_add_by_table,
	.remove_region = fe_remove_by_table,
	.max_mem_slots = kernel_max_mem_slots,
	.set_log_base = kernel_set_log_base,
	.set_log_fd = kernel_set_log_fd,
	.set_vring_num = fe_chardev_set_vring_num,
	.set_vring_addr = fe_chardev_set_vring_addr,
	.set_vring_base = fe_chardev_set_vring_base,
	.get_vring_base = fe_chardev_get_vring_base,
	.set_vring_kick = fe_chardev_set_vring_kick,
	.set_vring_call = fe_chardev_set_vring_call,
	.set_vring_err = fe_chardev_set_vring_err,
	.set_vring_busyloop = kernel_set_vring_busyloop,
	.iotlb_send = fe_chardev_iotlb_send,
	.iotlb_recv = kernel_iotlb_recv,
	.handle_events = fe_deliver_iotlb,
	.net_set_backend = kernel_net_set_backend,
	.event_fd = kernel_event_fd,
	.close = fe_chardev_close,
};

int uvh_kernel_from_fd(int fd, struct uvh **out)
{
	struct fe_chardev *c;
	uint64_t features;
	int ret;

	if (!out)
		return -EINVAL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->fd = fd;
	fe_init(&c->fe, &fe_kernel_ops, KERNEL_QUEUES);
	ret = fe_chardev_get_features(&c->fe, &features);
	if (ret < 0) {
		fe_fini(&c->fe);
		free(c);
		return ret;
	}
	*out = &c->fe;
	return 0;
}

int uvh_kernel_open(const char *path, struct uvh **out)
{
	int fd, ret;

	if (!path || !out)
		return -EINVAL;
	fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	ret = uvh_kernel_from_fd(fd, out);
	if (ret < 0)
		close(fd);
	return ret;
}
