/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vu_inflight.c makes the buffer for in-flight descriptors, and sets it in the
 * devices. The frontend requests it once (GET_INFLIGHT_FD), keeps it, and sends
 * it to this and each later backend (SET_INFLIGHT_FD). inflight.c has its
 * contents.
 */
#include "vu_priv.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vhost/virtq/inflight.h"

int vu_measure_inflight(const struct vu_op *op)
{
	uint32_t size = op->m->hdr.size;

	return size == VU_INFLIGHT_LISTED || size == sizeof(struct vu_inflight)
		       ? 0
		       : -EPROTO;
}

static int check_inflight_size(const struct vu_session *s,
			       const struct vu_inflight *i)
{
	if (!i->num_queues || i->num_queues > s->cfg.queue_pairs * VDEV_VQS ||
	    !i->queue_size || i->queue_size > VIRTQ_MAX_NUM)
		return -EINVAL;
	return 0;
}

int vu_get_inflight_fd(struct vu_op *op)
{
	const struct vu_inflight *i = &op->m->payload.inflight;
	int ret = check_inflight_size(op->s, i);
	uint64_t size;

	if (ret < 0)
		return ret;
	/* Large enough for packed rings: the format may not be known yet. */
	size = i->num_queues * inflight_stride(i->queue_size, true);
	op->reply_fd = memfd_create("uvhost-inflight",
				    MFD_CLOEXEC | MFD_ALLOW_SEALING);
	/* Not ftruncate(2): a worker process may not, as it would let it cut
	 * files of its guest. */
	if (op->reply_fd < 0 ||
	    pwrite(op->reply_fd, "", 1, (off_t)size - 1) != 1)
		return -errno;
	op->reply.payload.inflight = (struct vu_inflight){
		.mmap_size = size,
		.num_queues = i->num_queues,
		.queue_size = i->queue_size,
	};
	op->reply.hdr.size = op->m->hdr.size;
	op->reply.nfds = 1;
	op->reply.fds[0] = op->reply_fd;
	return 0;
}

int vu_pair_set_inflight(struct vu_pair *p, void *unused)
{
	const struct vu_session *s = p->s;

	(void)unused;
	vdev_set_inflight(p->vdev,
			  s->inflight ? aspace_map_get(s->inflight) : NULL,
			  p->n * VDEV_VQS, s->inflight_queues, s->inflight_num);
	return 0;
}

int vu_set_inflight_fd(struct vu_op *op)
{
	const struct vu_inflight *i = &op->m->payload.inflight;
	struct vu_session *s = op->s;
	struct aspace_map *map = NULL;
	int ret = check_inflight_size(s, i);

	if (ret == 0 && i->mmap_offset % sizeof(uint64_t))
		ret = -EINVAL;
	if (ret == 0)
		ret = vu_map_file(s, op->m->fds[0], i->mmap_offset,
				  i->mmap_size, 0, &map);
	if (ret < 0)
		return ret;
	aspace_map_put(s->inflight);
	s->inflight = map;
	s->inflight_queues = i->num_queues;
	s->inflight_num = i->queue_size;
	return vu_each_pair(s, vu_pair_set_inflight, NULL);
}
