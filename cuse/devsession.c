/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * devsession.c makes a device with its attachment, runs the ioctls on it, and
 * notes in struct devmem what the next device session needs.
 */
#include "devsession.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "abi.h"
#include "bytes.h"
#include "ioctl.h"

struct devsession {
	struct devsession_config cfg;
	struct vdev *vdev;
	struct attach_pair *attached;
	struct ioctl_target target;
	bool resuming; /* between two devsession_resume(): repeated calls */
};

static int open_port(void *ctx, unsigned int qi, int fd, struct netport **port)
{
	struct devsession *ds = ctx;

	return attach_pair_open(ds->attached, qi, fd, ds->target.owner, port);
}

static void pass_iotlb_event(void *ctx)
{
	struct devsession *ds = ctx;

	ds->cfg.iotlb_event(ds->cfg.ctx);
}

static int make_device(struct devsession *ds)
{
	const struct vdev_config config = {
		.worker = ds->cfg.worker,
		.tag = ds->cfg.tag,
		.limit = ds->cfg.limit,
		.open_port = open_port,
		.iotlb_event = pass_iotlb_event,
		.ctx = ds,
		.features = ds->cfg.features,
		.cursors = ds->cfg.mem ? devmem_rings(ds->cfg.mem) : NULL,
	};
	int ret = attach_pair_new(ds->cfg.attach, &ds->attached);

	if (ret < 0)
		return ret;
	ret = vdev_new(&config, &ds->vdev);
	if (ret < 0)
		attach_pair_free(ds->attached);
	return ret;
}

int devsession_new(const struct devsession_config *config,
		   struct devsession **out)
{
	struct devsession *ds = calloc(1, sizeof(*ds));
	int ret;

	if (!ds)
		return -ENOMEM;
	ds->cfg = *config;
	ret = make_device(ds);
	if (ret < 0) {
		free(ds);
		return ret;
	}
	ds->target = (struct ioctl_target){
		.vdev = ds->vdev,
		.tag = &ds->cfg.tag,
		.limit = config->limit,
		.max_mem_regions = config->max_mem_regions,
		.fork_from_owner = true,
		.fault_in = config->fault_in,
		.ctx = config->ctx,
	};
	*out = ds;
	return 0;
}

void devsession_free(struct devsession *ds)
{
	if (!ds)
		return;
	vdev_free(ds->vdev);
	attach_pair_free(ds->attached);
	free(ds);
}

static void enable_queue(struct devsession *ds)
{
	if (!ds->resuming)
		attach_pair_enable(ds->attached,
				   vdev_vq_active(ds->vdev, VHOST_NET_VQ_RX),
				   vdev_vq_active(ds->vdev, VHOST_NET_VQ_TX));
}

/* These calls empty the IOTLB. */
static void note_call(struct devsession *ds, uint32_t cmd)
{
	if (!ds->cfg.mem || ds->resuming)
		return;
	if (cmd == VHOST_SET_FEATURES || cmd == VHOST_SET_FEATURES_ARRAY ||
	    cmd == VHOST_RESET_OWNER)
		devmem_iotlb_clear(ds->cfg.mem);
}

void devsession_ioctl(struct devsession *ds, const struct ioctl_call *call,
		      const struct call_facts *facts, struct ioctl_verdict *v)
{
	vdev_repeat(ds->vdev, facts->repeated);
	ioctl_run(&ds->target, call, facts, v);
	vdev_repeat(ds->vdev, false);
	if (!v->again && v->error == 0)
		note_call(ds, call->cmd);
	enable_queue(ds);
}

ssize_t devsession_read(struct devsession *ds, void *buf, size_t len)
{
	return vdev_iotlb_read(ds->vdev, buf, len);
}

static void add_iotlb(void *ctx, const struct vhost_iotlb_msg *msg)
{
	devmem_iotlb_add(ctx, msg);
}

static void note_iotlb(struct devsession *ds, const void *buf)
{
	struct devmem *m = ds->cfg.mem;
	struct vhost_iotlb_msg msg;

	if (!m)
		return;
	memcpy(&msg, (const char *)buf + offsetof(struct vhost_msg, iotlb),
	       sizeof(msg));
	if (devmem_iotlb_add(m, &msg))
		return;
	/* The list is full: replace it by the entries that the IOTLB has,
	 * @msg among them. */
	devmem_iotlb_begin(m);
	if (vdev_iotlb_each(ds->vdev, add_iotlb, m) == 0)
		devmem_iotlb_end(m);
	else
		devmem_iotlb_abort(m);
}

ssize_t devsession_write(struct devsession *ds, const void *buf, size_t len,
			 int mem_fd)
{
	ssize_t n = ioctl_take_memory(&ds->target, mem_fd);

	if (n < 0)
		return n;
	n = vdev_iotlb_write(ds->vdev, buf, len);
	if (n >= 0)
		note_iotlb(ds, buf);
	return n;
}

bool devsession_readable(const struct devsession *ds)
{
	return vdev_iotlb_readable(ds->vdev);
}

void devsession_repeat_misses(struct devsession *ds)
{
	vdev_iotlb_repeat(ds->vdev);
}

void devsession_resume(struct devsession *ds, bool on, bool was_reset)
{
	if (on && was_reset)
		vdev_reset_owner(ds->vdev);
	ds->resuming = on;
	vdev_resume(ds->vdev, on);
	enable_queue(ds);
}

void devsession_replay_iotlb(struct devsession *ds)
{
	struct vhost_msg m = { .type = VHOST_IOTLB_MSG };
	const struct vhost_iotlb_msg *msg;
	unsigned int n;

	if (!ds->cfg.mem)
		return;
	n = devmem_iotlb_get(ds->cfg.mem, &msg);
	for (unsigned int i = 0; i < n; i++) {
		m.iotlb = msg[i];
		vdev_iotlb_write(ds->vdev, &m, sizeof(m));
	}
}

void devsession_owner_died(struct devsession *ds)
{
	vdev_owner_died(ds->vdev);
	enable_queue(ds);
}

void devsession_print(const struct devsession *ds, FILE *out)
{
	const char *port = attach_pair_name(ds->attached);

	fprintf(out, "%s: owner %d%s%s\n", ds->cfg.tag.name, ds->target.owner,
		port[0] ? ", port " : "", port);
	vdev_print(ds->vdev, out);
}
