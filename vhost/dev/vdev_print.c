/* SPDX-License-Identifier: BSD-3-Clause */
/* vdev_print.c prints the counters and the state of a device. */
#include "vdev_priv.h"

#include <inttypes.h>

/* Prints an index; of a packed ring slot and wrap counter. */
static void print_index(const struct virtq *vq, uint16_t idx, char *to,
			size_t size)
{
	if (vq->packed)
		snprintf(to, size, "%u+%u", idx & 0x7fff, idx >> 15);
	else
		snprintf(to, size, "%u", idx);
}

static void print_queue(const struct vdev_queue *q, FILE *out)
{
	const struct vdev_counters *c = &q->vq.counters;
	char avail[16], used[16];

	print_index(&q->vq, q->vq.last_avail_idx, avail, sizeof(avail));
	print_index(&q->vq, q->vq.last_used_idx, used, sizeof(used));
	fprintf(out,
		"%s: port %s num %" PRIu32
		" ring %s avail %s used %s memory %s\n"
		"%s: frames %" PRIu64 " bytes %" PRIu64 " dropped %" PRIu64
		" unreadable %" PRIu64 " kicks %" PRIu64 " signals %" PRIu64
		" suppressed %" PRIu64 " batches %" PRIu64 " errors %" PRIu64
		" starved %" PRIu64 "\n",
		q->vq.tag.name, q->port ? q->port->ops->name : "none",
		q->vq.num, q->vq.packed ? "packed" : "split", avail, used,
		!q->vq.resolved             ? "unknown"
		: virtq_copied(&q->vq.desc) ? "copied"
					    : "mapped",
		q->vq.tag.name, c->frames, c->bytes, c->dropped, c->unreadable,
		c->kicks, c->signals, c->suppressed, c->batches, c->errors,
		c->starved);
}

void vdev_print(const struct vdev *v, FILE *out)
{
	size_t mapped = 0;

	vdev_check_thread(v);
	for (size_t i = 0; i < v->mv.table.n; i++)
		mapped += v->mv.table.r[i].ptr != NULL;
	fprintf(out,
		"%s: owner %s features 0x%" PRIx64 " regions %zu mapped %zu"
		" copied bytes %" PRIu64 "\n",
		v->cfg.tag.name,
		v->dead    ? "died"
		: v->mv.as ? "yes"
			   : "none",
		v->features, v->mv.table.n, mapped,
		v->mv.as ? aspace_copied_bytes(v->mv.as) : 0);
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		print_queue(&v->queue[i], out);
}
