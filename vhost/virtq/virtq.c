/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtq.c has what split and packed rings share: the areas of a ring, errors,
 * buffers, indirect tables, and the dispatch to the format. Everything of a
 * ring runs on the device's worker.
 *
 * This file and those of the formats read hostile memory: the driver can
 * rewrite ring and descriptors at any time. A descriptor is copied once and
 * all checks are on the copy; every address goes through memview_translate()
 * with its length; chains are bounded by the ring size (virtio 1.2 §2.7.5.3.1,
 * §2.8.17) and by VIRTQ_CHAIN_SEGS pieces.
 */
#include "virtq_priv.h"

#include <assert.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "evfd.h"

/* Most descriptors of an indirect table that is prefetched. */
#define PREFETCH_TABLE 64

/* ---- the three areas ---- */

struct area_layout {
	size_t size;
	uint8_t perm;
	size_t align; /* a mapping that is aligned to less is not used */
};

struct layout {
	struct area_layout desc, avail, used;
};

static struct layout split_layout(const struct virtq *vq)
{
	size_t event = virtq_event_idx(vq) ? sizeof(uint16_t) : 0;

	return (struct layout){
		.desc = { vq->num * sizeof(struct vring_desc), RANGE_RO,
			  _Alignof(struct vring_desc) },
		.avail = { sizeof(struct vring_avail) +
				   vq->num * sizeof(uint16_t) + event,
			   RANGE_RO, 2 },
		.used = { sizeof(struct vring_used) +
				  vq->num * sizeof(struct vring_used_elem) +
				  event,
			  RANGE_WO, 4 },
	};
}

static struct layout packed_layout(const struct virtq *vq)
{
	return (struct layout){
		.desc = { vq->num * sizeof(struct vring_packed_desc), RANGE_RW,
			  sizeof(uint64_t) },
		.avail = { sizeof(struct vring_packed_desc_event), RANGE_RO,
			   sizeof(uint32_t) },
		.used = { sizeof(struct vring_packed_desc_event), RANGE_WO,
			  sizeof(uint32_t) },
	};
}

static bool wants_packed(const struct virtq *vq)
{
	return vq->features & BIT(VIRTIO_F_RING_PACKED);
}

/* Layout of the ring that runs. */
static struct layout layout(const struct virtq *vq)
{
	return vq->packed ? packed_layout(vq) : split_layout(vq);
}

/* Layout of a ring that starts now, with the features as they are. */
static struct layout next_layout(const struct virtq *vq)
{
	return wants_packed(vq) ? packed_layout(vq) : split_layout(vq);
}

bool virtq_addr_ok(const struct virtq *vq)
{
	struct layout l = next_layout(vq);

	return aspace_ok(vq->addr.desc_user_addr, l.desc.size) &&
	       aspace_ok(vq->addr.avail_user_addr, l.avail.size) &&
	       aspace_ok(vq->addr.used_user_addr, l.used.size);
}

bool virtq_log_ok(const struct virtq *vq, uint64_t log_base)
{
	return !(vq->addr.flags & BIT(VHOST_VRING_F_LOG)) ||
	       dirtylog_window_ok(log_base, vq->addr.log_guest_addr,
				  next_layout(vq).used.size);
}

void virtq_init(struct virtq *vq)
{
	vq->num = 1;
	memset(&vq->addr, 0, sizeof(vq->addr));
	vq->features = 0;
	vq->call_fd = vq->err_fd = -1;
	vq->last_avail_idx = vq->avail_idx = 0;
	vq->last_used_idx = vq->signalled_used = 0;
	vq->signalled_used_valid = false;
	vq->used_flags = 0;
	vq->packed = false;
	vq->resolved = vq->broken = false;
	vq->error_logged = vq->unreadable_logged = false;
}

void virtq_free_shadow(struct virtq *vq)
{
	struct vring_area *area[] = { &vq->desc, &vq->avail, &vq->used };

	for (size_t i = 0; i < ARRAY_SIZE(area); i++) {
		free(area[i]->shadow);
		memset(area[i], 0, sizeof(*area[i]));
	}
	vq->resolved = false;
}

void virtq_changed(struct virtq *vq)
{
	vq->resolved = false;
}

/* With an IOTLB: translates the iova of an area. */
static int area_translate(struct virtq *vq, struct vring_area *area,
			  uint64_t iova, size_t size, uint8_t perm)
{
	uint64_t miss;
	int n;

	/* memview_translate() is satisfied by one of several permissions. */
	if (perm == RANGE_RW) {
		n = area_translate(vq, area, iova, size, RANGE_WO);
		return n < 0 ? n
			     : area_translate(vq, area, iova, size, RANGE_RO);
	}
	n = memview_translate(vq->mv, iova, size, perm, area->piece,
			      AREA_PIECES, &miss);
	if (n == -EAGAIN)
		vq->iotlb_miss(vq, miss, perm);
	if (n < 0)
		return n;
	area->npieces = (unsigned int)n;
	return 0;
}

/* Sets area->ptr to the ring itself if one mapping covers the area, else to a
 * shadow. @addr (without IOTLB the owner's) need not be in the memory table. */
static int area_resolve(struct virtq *vq, struct vring_area *area,
			uint64_t addr, struct area_layout l)
{
	int ret;

	area->npieces = 1;
	area->piece[0].uva = addr;
	area->piece[0].len = (uint32_t)l.size;
	if (vq->mv->have_iotlb) {
		ret = area_translate(vq, area, addr, l.size, l.perm);
		if (ret < 0)
			return ret;
	}
	area->ptr = area->npieces == 1
			    ? aspace_ptr(vq->mv->as, area->piece[0].uva, l.size)
			    : NULL;
	if (area->ptr && !((uintptr_t)area->ptr & (l.align - 1)))
		return 0;
	if (!area->shadow)
		area->shadow = calloc(1, l.size + sizeof(uint16_t));
	area->ptr = area->shadow;
	return area->ptr ? 0 : -ENOMEM;
}

static int resolve(struct virtq *vq)
{
	struct layout l = layout(vq);
	int ret;

	if (!vq->mv->as)
		return -EFAULT;
	ret = area_resolve(vq, &vq->desc, vq->addr.desc_user_addr, l.desc);
	if (ret == 0)
		ret = area_resolve(vq, &vq->avail, vq->addr.avail_user_addr,
				   l.avail);
	if (ret == 0)
		ret = area_resolve(vq, &vq->used, vq->addr.used_user_addr,
				   l.used);
	if (ret < 0)
		return ret;
	/* The shadows may be new. A packed ring's known descriptors were in the
	 * old one. A split ring's used->flags are written together with its
	 * idx; if they cannot be read here, that write fails and is reported.
	 */
	if (vq->packed)
		vq->avail_idx = vq->last_avail_idx;
	else
		(void)virtq_shadow_read(vq, &vq->used, 0, USED_HEAD);
	vq->resolved = true;
	return 0;
}

size_t virtq_ranges(const struct vring_area *area, size_t off, size_t len,
		    struct aspace_range *r)
{
	return seg_ranges(area->piece, area->npieces, off, len,
			  area->shadow + off, r, AREA_RANGES);
}

int virtq_shadow_read(struct virtq *vq, struct vring_area *area, size_t off,
		      size_t len)
{
	struct aspace_range r[AREA_RANGES];

	if (!virtq_copied(area))
		return 0;
	return aspace_read(vq->mv->as, r, virtq_ranges(area, off, len, r));
}

int virtq_shadow_write(struct virtq *vq, struct vring_area *area, size_t off,
		       size_t len)
{
	struct aspace_range r[AREA_RANGES];

	if (!virtq_copied(area))
		return 0;
	return aspace_write(vq->mv->as, r, virtq_ranges(area, off, len, r));
}

int virtq_shadow_write_after(struct virtq *vq, struct aspace_range *r, size_t n,
			     const struct vring_area *area, size_t off,
			     size_t len)
{
	n += virtq_ranges(area, off, len, r + n);
	return aspace_write(vq->mv->as, r, n);
}

static void log_gpa(void *ctx, uint64_t gpa, uint64_t len)
{
	struct virtq *vq = ctx;

	dirtylog_mark(vq->log, vq->mv->as, gpa, len);
}

void virtq_log_area(struct virtq *vq, const struct vring_area *area, size_t off,
		    size_t len)
{
	struct aspace_range r[AREA_RANGES];
	size_t n = seg_ranges(area->piece, area->npieces, off, len, NULL, r,
			      ARRAY_SIZE(r));

	for (size_t i = 0; i < n; i++)
		memview_gpa_of(vq->mv, r[i].uva, r[i].len, log_gpa, vq);
}

/* ---- errors ---- */

void signal_fd(int fd)
{
	if (fd >= 0)
		evfd_signal_peer(fd, 1);
}

void virtq_report(struct virtq *vq, enum log_level level, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	if (vq->ahead)
		return;
	vq->counters.errors++;
	signal_fd(vq->err_fd);
	if (vq->error_logged)
		return;
	vq->error_logged = true;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_limited(vq->limit, &vq->tag, level, "%s%s",
		    level == LOG_LEVEL_INFO ? "" : "ring error: ", text);
}

int virtq_memory_error(struct virtq *vq, int err, const char *what)
{
	if (vq->ahead)
		return err; /* reported at the start of the next batch */
	if (err == -ESRCH) {
		vq->broken = true;
		virtq_report(vq, LOG_LEVEL_INFO, "the owner of the %s is gone",
			     what);
	} else {
		virtq_error(vq, "cannot reach the %s: %s", what,
			    strerror(-err));
	}
	return err;
}

void virtq_unreadable(struct virtq *vq, uint16_t id)
{
	vq->counters.unreadable++;
	if (vq->unreadable_logged)
		return;
	vq->unreadable_logged = true;
	log_write(
		&vq->tag, LOG_LEVEL_WARNING,
		"chain %u: a buffer cannot be read: dropped; from now on such "
		"chains are only counted (unreadable)",
		id);
}

/* ---- start ---- */

int virtq_find_used(struct virtq *vq)
{
	struct area_layout l = next_layout(vq).used;

	return area_translate(vq, &vq->used, vq->addr.used_user_addr, l.size,
			      l.perm);
}

int virtq_start(struct virtq *vq)
{
	int ret;

	virtq_free_shadow(vq);
	vq->packed = wants_packed(vq);
	if (!vq->packed && !is_power_of_two(vq->num))
		return -EINVAL; /* set while RING_PACKED was negotiated */
	vq->broken = vq->error_logged = false;
	vq->signalled_used_valid = false;
	vq->avail_idx = vq->last_avail_idx;
	vq->mv->hit = NULL;
	if (vq->mv->have_iotlb) {
		/* The kernel requires only the used ring here. */
		ret = area_resolve(vq, &vq->used, vq->addr.used_user_addr,
				   layout(vq).used);
		if (ret == -EAGAIN || ret == -EPERM) {
			virtq_error(vq, "used ring is not in the IOTLB");
			ret = -EFAULT;
		}
	} else {
		ret = resolve(vq);
	}
	if (ret < 0)
		return ret;
	return vq->packed ? packed_start(vq) : split_start(vq);
}

void virtq_log_ring(struct virtq *vq)
{
	if (!virtq_logged(vq))
		return;
	if (vq->packed)
		packed_log_ring(vq);
	else
		split_log_ring(vq);
}

int virtq_ready(struct virtq *vq)
{
	int ret;

	if (unlikely(vq->broken))
		return -EIO;
	if (unlikely(aspace_faulted(vq->mv->as))) {
		vq->broken = true;
		virtq_error(vq, "the file behind guest memory was truncated");
		return -EIO;
	}
	if (likely(vq->resolved))
		return 0;
	ret = resolve(vq);
	if (ret < 0 && ret != -EAGAIN && ret != -EPERM)
		return virtq_memory_error(vq, ret, "ring");
	return ret;
}

/* ---- buffers ---- */

int virtq_buffer_error(struct virtq *vq, int err, const struct desc *d,
		       uint64_t miss, uint8_t perm)
{
	switch (err) {
	case -EAGAIN:
		if (!vq->ahead)
			vq->iotlb_miss(vq, miss, perm);
		break;
	case -ENOBUFS:
		virtq_error(vq, "chain of more than %d pieces",
			    VIRTQ_CHAIN_SEGS);
		break;
	case -EINVAL:
		virtq_error(vq, "device-readable buffer after a writable one");
		break;
	default:
		virtq_error(vq, "buffer 0x%llx+%u is not in guest memory",
			    (unsigned long long)d->addr, d->len);
		break;
	}
	return err;
}

/* ---- indirect tables ---- */

int virtq_indirect_copy(struct virtq *vq, const struct virtq_batch *b,
			struct indirect *it, uint32_t i)
{
	struct aspace_range r[CHUNK + 1];
	uint32_t n = MIN(CHUNK, it->count - i);
	size_t nr, done = 0;
	int ret;

	nr = seg_ranges(b->table_seg, it->nseg, i * sizeof(struct vring_desc),
			n * sizeof(struct vring_desc), it->chunk, r,
			ARRAY_SIZE(r));
	for (size_t k = 0; k < nr; k++)
		done += r[k].len;
	it->table = it->chunk;
	it->lo = i;
	it->n = (uint32_t)(done / sizeof(struct vring_desc));
	ret = it->n ? aspace_read(vq->mv->as, r, nr) : -EFAULT;
	return ret < 0 ? virtq_memory_error(vq, ret, "indirect table") : 0;
}

int virtq_indirect_open(struct virtq *vq, struct virtq_batch *b,
			unsigned int ci, const struct desc *d,
			struct indirect *it)
{
	uint64_t miss = 0;
	int n;

	if (d->len % sizeof(struct vring_desc) || !d->len ||
	    d->len / sizeof(struct vring_desc) > 65536) {
		virtq_error(vq, "indirect table of %u bytes", d->len);
		return -EINVAL;
	}
	it->lo = it->n = it->nseg = 0;
	it->count = d->len / sizeof(struct vring_desc);
	if (ci < b->nprefetched && b->prefetch[ci].len == d->len &&
	    b->prefetch[ci].addr == d->addr) {
		it->table = &b->prefetched[b->prefetch[ci].first];
		it->n = it->count;
		return 0;
	}
	n = memview_translate(vq->mv, d->addr, d->len, RANGE_RO, b->table_seg,
			      ARRAY_SIZE(b->table_seg), &miss);
	if (n < 0)
		return virtq_buffer_error(vq, n, d, miss, RANGE_RO);
	it->nseg = (unsigned int)n;
	if (n == 1 && b->table_seg[0].ptr &&
	    !((uintptr_t)b->table_seg[0].ptr &
	      (_Alignof(struct vring_desc) - 1))) {
		it->table = (const struct vring_desc *)b->table_seg[0].ptr;
		it->n = it->count;
	}
	return 0;
}

void virtq_prefetch_add(struct virtq *vq, struct virtq_batch *b,
			struct prefetch *p, unsigned int ci,
			const struct desc *d)
{
	uint32_t count, used = b->nprefetch_descs;
	uint64_t miss;
	struct seg seg;

	b->prefetch[ci].len = 0;
	if (!d || !(d->flags & VRING_DESC_F_INDIRECT))
		return;
	count = d->len / sizeof(struct vring_desc);
	if (!count || d->len % sizeof(struct vring_desc) ||
	    count > PREFETCH_TABLE || used + count > VIRTQ_PREFETCH)
		return;
	if (memview_translate(vq->mv, d->addr, d->len, RANGE_RO, &seg, 1,
			      &miss) != 1 ||
	    seg.ptr)
		return;
	b->prefetch[ci].addr = d->addr;
	b->prefetch[ci].len = d->len;
	b->prefetch[ci].first = used;
	p->r[p->n++] =
		(struct aspace_range){ seg.uva, &b->prefetched[used], d->len };
	b->nprefetch_descs += count;
}

void virtq_prefetch_run(struct virtq *vq, struct virtq_batch *b,
			const struct prefetch *p, unsigned int n)
{
	if (p->n && aspace_read(vq->mv->as, p->r, p->n) == 0)
		b->nprefetched = n;
}

/* ---- the formats ---- */

int virtq_avail_count(struct virtq *vq)
{
	return vq->packed ? packed_avail_count(vq) : split_avail_count(vq);
}

int virtq_avail_more(struct virtq *vq)
{
	return vq->packed ? packed_avail_more(vq) : split_avail_more(vq);
}

int virtq_fetch(struct virtq *vq, struct virtq_batch *b, unsigned int max)
{
	b->n = b->nsegs = 0;
	b->nprefetched = b->nprefetch_descs = 0;
	b->next = 0;
	b->at = vq->last_avail_idx;
	max = MIN(max, VIRTQ_BATCH_CHAINS);
	return vq->packed ? packed_fetch(vq, b, max) : split_fetch(vq, b, max);
}

void virtq_rewind(struct virtq *vq, const struct virtq_batch *b, unsigned int n)
{
	assert(n <= b->n);
	if (vq->packed)
		packed_rewind(vq, b, n);
	else
		vq->last_avail_idx -= (uint16_t)n;
}

bool virtq_may_skip(const struct virtq *vq)
{
	return !vq->packed && !(vq->features & BIT(VIRTIO_F_IN_ORDER));
}

int virtq_push(struct virtq *vq, const struct virtq_used *used, unsigned int n)
{
	return vq->packed ? packed_push(vq, used, n) : split_push(vq, used, n);
}

void virtq_signal(struct virtq *vq)
{
	if (vq->call_fd < 0)
		return;
	if (!(vq->packed ? packed_wants_signal(vq) : split_wants_signal(vq))) {
		vq->counters.suppressed++;
		return;
	}
	signal_fd(vq->call_fd);
	vq->counters.signals++;
}

void virtq_disable_notify(struct virtq *vq)
{
	if (vq->used_flags & NO_NOTIFY)
		return;
	vq->used_flags |= NO_NOTIFY;
	/* A failure is harmless: the driver sends kicks that are not needed. */
	if (vq->resolved && vq->packed)
		packed_publish_notify(vq);
	else if (vq->resolved && !virtq_event_idx(vq))
		split_publish_notify(vq);
}

bool virtq_enable_notify(struct virtq *vq)
{
	int ret;

	if (!(vq->used_flags & NO_NOTIFY))
		return false;
	if (virtq_ready(vq) < 0)
		return false;
	vq->used_flags &= (uint16_t)~NO_NOTIFY;
	ret = vq->packed ? packed_publish_notify(vq) : split_publish_notify(vq);
	if (ret < 0) {
		virtq_memory_error(vq, ret, "used ring");
		return false;
	}
	/* Publish, then check again: virtio 1.2 §2.7.10, §2.8.21.3.1. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return virtq_avail_changed(vq);
}

bool virtq_avail_changed(struct virtq *vq)
{
	if (vq->broken || !vq->resolved)
		return false;
	return vq->packed ? packed_avail_changed(vq) : split_avail_changed(vq);
}
