/* SPDX-License-Identifier: BSD-3-Clause */
/* vdev_mem.c sets the memory table and the dirty log of a device. */
#include "vdev_priv.h"

#include <errno.h>

bool vdev_table_log_ok(const struct vdev *v, const struct rangemap *table,
		       uint64_t base)
{
	if (!vdev_has(v, VHOST_F_LOG_ALL))
		return true;
	for (size_t i = 0; i < table->n; i++)
		if (!dirtylog_window_ok(base, table->r[i].start,
					table->r[i].last - table->r[i].start +
						1))
			return false;
	return true;
}

/* With an IOTLB the log address of a ring is not used and not checked:
 * vq_log_used_access_ok() in drivers/vhost/vhost.c. */
bool vdev_queue_log_ok(const struct vdev *v, const struct virtq *vq,
		       uint64_t log_base)
{
	return v->mv.have_iotlb || virtq_log_ok(vq, log_base);
}

static void release_maps(struct aspace_map **maps, size_t n)
{
	for (size_t i = 0; i < n; i++)
		aspace_map_put(maps[i]);
}

static int build_table(const struct vhost_memory_region *regions, size_t n,
		       struct rangemap *table)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t last;
		int ret = -EFAULT;

		if (range_last(regions[i].guest_phys_addr,
			       regions[i].memory_size, &last))
			ret = rangemap_add(table, regions[i].guest_phys_addr,
					   last, regions[i].userspace_addr,
					   RANGE_RW);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int swap_table(struct vdev *v, const struct vhost_memory_region *regions,
		      size_t n, struct aspace_map **maps, size_t nmaps)
{
	struct memview new = { 0 };
	int ret;

	ret = build_table(regions, n, &new.table);
	if (ret < 0)
		goto err_free;
	ret = -EFAULT;
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		const struct vdev_queue *q = &v->queue[i];

		if (q->port && (!memview_table_ok(&new) ||
				!vdev_table_log_ok(v, &new.table, q->log.base)))
			goto err_free;
	}
	ret = aspace_set_maps(v->mv.as, maps, nmaps);
	if (ret < 0)
		goto err_free;
	rangemap_free(&v->mv.table);
	v->mv.table = new.table;
	v->mv.have_table = true;
	memview_bind(&v->mv);
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		v->queue[i].vq.broken = false;
	vdev_queues_changed(v);
	return 0;

err_free:
	rangemap_free(&new.table);
	return ret;
}

int vdev_set_mem_table(struct vdev *v,
		       const struct vhost_memory_region *regions, size_t n,
		       struct aspace_map **maps, size_t nmaps)
{
	int ret;

	vdev_check_thread(v);
	ret = swap_table(v, regions, n, maps, nmaps);
	if (ret < 0)
		release_maps(maps, nmaps);
	return ret;
}

int vdev_set_log_base(struct vdev *v, uint64_t uva)
{
	int ret = 0;

	vdev_check_thread(v);
	/* As in the kernel one ring may refuse the base and the other take it.
	 */
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		struct vdev_queue *q = &v->queue[i];

		if (q->port && (!vdev_table_log_ok(v, &v->mv.table, uva) ||
				!vdev_queue_log_ok(v, &q->vq, uva)))
			ret = -EFAULT;
		else
			q->log.base = uva;
	}
	return ret;
}

/* As vhost_vq_access_ok(). Each SET_BACKEND checks it, also one with fd -1. */
bool vdev_access_ok(const struct vdev *v, const struct vdev_queue *q)
{
	if (!v->mv.have_table || !memview_table_ok(&v->mv) ||
	    !vdev_table_log_ok(v, &v->mv.table, q->log.base))
		return false;
	if (v->mv.have_iotlb)
		return true; /* checked when used */
	return virtq_log_ok(&q->vq, q->log.base) && virtq_addr_ok(&q->vq);
}
