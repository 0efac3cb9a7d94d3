/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fe_base.c has what the transports of the frontend library share: the common
 * part of a frontend, the memory table in force, and IOTLB messages.
 */
#include "fe_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void fe_init(struct uvh *fe, const struct uvh_ops *ops, unsigned int queues)
{
	fe->ops = ops;
	fe->queues = queues;
	mutex_init(&fe->lock);
}

void fe_fini(struct uvh *fe)
{
	mutex_destroy(&fe->lock);
	free(fe->table);
}

/* ---- the table in force ---- */

int fe_table_add(struct uvh *fe, const struct uvh_region *region)
{
	struct uvh_region *t;

	t = realloc(fe->table, (fe->nregions + 1) * sizeof(*t));
	if (!t)
		return -ENOMEM;
	t[fe->nregions++] = *region;
	fe->table = t;
	return 0;
}

void fe_table_remove(struct uvh *fe, unsigned int i)
{
	fe->nregions--;
	memmove(&fe->table[i], &fe->table[i + 1],
		(fe->nregions - i) * sizeof(fe->table[0]));
}

static bool same_place(const struct uvh_region *a, const struct uvh_region *b)
{
	return a->gpa == b->gpa && a->size == b->size && a->uva == b->uva;
}

int fe_table_find(const struct uvh *fe, const struct uvh_region *region)
{
	for (unsigned int i = 0; i < fe->nregions; i++)
		if (same_place(&fe->table[i], region))
			return (int)i;
	return -1;
}

static bool is_in(const struct uvh_region *r, const struct uvh_region *table,
		  unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (same_place(r, &table[i]) && r->fd == table[i].fd &&
		    r->fd_offset == table[i].fd_offset)
			return true;
	return false;
}

int fe_table_diff(struct uvh *fe, const struct uvh_region *regions,
		  unsigned int n,
		  int (*add)(struct uvh *fe, const struct uvh_region *region),
		  int (*remove)(struct uvh *fe,
				const struct uvh_region *region))
{
	int ret = 0;

	for (unsigned int i = fe->nregions; ret == 0 && i > 0; i--) {
		const struct uvh_region old = fe->table[i - 1];

		if (!is_in(&old, regions, n))
			ret = remove(fe, &old);
	}
	for (unsigned int i = 0; ret == 0 && i < n; i++)
		if (!is_in(&regions[i], fe->table, fe->nregions))
			ret = add(fe, &regions[i]);
	return ret;
}

int fe_replace_table(struct uvh *fe, const struct uvh_region *regions,
		     unsigned int n)
{
	struct uvh_region *t = malloc((n + 1) * sizeof(*t));
	int ret;

	if (!t)
		return -ENOMEM;
	if (n)
		memcpy(t, regions, n * sizeof(*t));
	ret = fe->ops->set_mem_table(fe, t, n);
	if (ret < 0) {
		free(t);
		return ret;
	}
	free(fe->table);
	fe->table = t;
	fe->nregions = n;
	return 0;
}

/* Sets the table in force without @old, and with @new; each may be NULL. */
static int change_table(struct uvh *fe, const struct uvh_region *old,
			const struct uvh_region *new) NEEDS(fe->lock)
{
	struct uvh_region *t = malloc((fe->nregions + 1) * sizeof(*t));
	unsigned int n = 0;
	int ret;

	if (!t)
		return -ENOMEM;
	for (unsigned int i = 0; i < fe->nregions; i++)
		if (!old || !same_place(&fe->table[i], old))
			t[n++] = fe->table[i];
	if (new)
		t[n++] = *new;
	ret = fe_replace_table(fe, t, n);
	free(t);
	return ret;
}

int fe_add_by_table(struct uvh *fe, const struct uvh_region *region)
{
	return change_table(fe, NULL, region);
}

int fe_remove_by_table(struct uvh *fe, const struct uvh_region *region)
{
	return change_table(fe, region, NULL);
}

struct vhost_memory *fe_vhost_table(const struct uvh_region *r, unsigned int n)
{
	struct vhost_memory *t;

	t = calloc(1, sizeof(*t) + n * sizeof(t->regions[0]));
	if (!t)
		return NULL;
	t->nregions = n;
	for (unsigned int i = 0; i < n; i++)
		t->regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = r[i].gpa,
			.memory_size = r[i].size,
			.userspace_addr = r[i].uva,
		};
	return t;
}

/* ---- IOTLB ---- */

int fe_unpack_iotlb(const union fe_iotlb_msg *m, struct vhost_iotlb_msg *msg)
{
	if (m->v1.type == VHOST_IOTLB_MSG)
		*msg = m->v1.iotlb;
	else if (m->v2.type == VHOST_IOTLB_MSG_V2)
		*msg = m->v2.iotlb;
	else
		return -EPROTO;
	return 0;
}

int fe_deliver_iotlb(struct uvh *fe)
{
	struct vhost_iotlb_msg msg;
	int n = 0, ret;

	if (!fe->backend_ops || !fe->backend_ops->iotlb)
		return 0;
	while ((ret = fe->ops->iotlb_recv(fe, &msg)) == 0) {
		fe->backend_ops->iotlb(fe->backend_ctx, &msg);
		n++;
	}
	return ret == -EAGAIN ? n : ret;
}
