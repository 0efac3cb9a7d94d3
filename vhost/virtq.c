/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * This file reads hostile memory: the driver can rewrite ring and descriptors
 * at any moment. A descriptor is copied once and the copy is judged; every
 * address goes through memview_translate() with its length; chains are bounded
 * by the ring size (virtio 1.2 §2.7.5.3.1) and by VIRTQ_CHAIN_SEGS pieces.
 *
 * The three parts of the ring are used through ring_part.ptr, which is the
 * ring itself where that is mapped. Where it is not, ptr is a shadow: pull_*()
 * copy ranges of it in before they are read, put() copies ranges out after
 * they were written, and both do nothing for a mapped part. So ring logic
 * exists once, and the copied mode costs a fixed number of system calls a
 * batch: available index, entries with descriptors, indirect tables, used
 * elements, used index, suppression words.
 *
 * Order of publication: used elements, then the index (release), then a full
 * barrier, then the driver's suppression word (virtio 1.2 §2.7.8.2, §2.7.7.2).
 */
#include "virtq.h"

#include <errno.h>
#include <endian.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"

#define NO_NOTIFY VRING_USED_F_NO_NOTIFY
/* A copied descriptor table up to this size is read whole with the entries. */
#define DESC_WHOLE 1024
/* Indirect descriptors copied at a time when not prefetched. */
#define CHUNK 64
#define PREFETCH_TABLE 64

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

/* ---- the three parts ---- */

static size_t desc_size(uint32_t num)
{
	return num * sizeof(struct vring_desc);
}

static bool event_idx(const struct virtq *vq)
{
	return vq->features & BIT(VIRTIO_RING_F_EVENT_IDX);
}

static size_t avail_size(const struct virtq *vq, uint32_t num)
{
	return sizeof(struct vring_avail) + num * sizeof(uint16_t) +
	       (event_idx(vq) ? sizeof(uint16_t) : 0);
}

static size_t used_size(const struct virtq *vq, uint32_t num)
{
	return sizeof(struct vring_used) +
	       num * sizeof(struct vring_used_elem) +
	       (event_idx(vq) ? sizeof(uint16_t) : 0);
}

static size_t used_event_off(const struct virtq *vq)
{
	return sizeof(struct vring_avail) + vq->num * sizeof(uint16_t);
}

static size_t avail_event_off(const struct virtq *vq)
{
	return sizeof(struct vring_used) +
	       vq->num * sizeof(struct vring_used_elem);
}

bool virtq_addr_ok(const struct virtq *vq)
{
	return aspace_ok(vq->addr.desc_user_addr, desc_size(vq->num)) &&
	       aspace_ok(vq->addr.avail_user_addr, avail_size(vq, vq->num)) &&
	       aspace_ok(vq->addr.used_user_addr, used_size(vq, vq->num));
}

bool virtq_log_ok(const struct virtq *vq, uint64_t log_base)
{
	return !(vq->addr.flags & BIT(VHOST_VRING_F_LOG)) ||
	       dirtylog_window_ok(log_base, vq->addr.log_guest_addr,
				  used_size(vq, vq->num));
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
	vq->resolved = vq->broken = vq->error_logged = false;
}

void virtq_free_shadow(struct virtq *vq)
{
	struct ring_part *part[] = { &vq->desc, &vq->avail, &vq->used };

	for (size_t i = 0; i < ARRAY_SIZE(part); i++) {
		free(part[i]->shadow);
		memset(part[i], 0, sizeof(*part[i]));
	}
	vq->resolved = false;
}

void virtq_changed(struct virtq *vq)
{
	vq->resolved = false;
}

/* Finds the pieces of a part under the IOTLB. */
static int part_translate(struct virtq *vq, struct ring_part *part,
			  uint64_t iova, size_t size, uint8_t perm)
{
	struct seg seg[RING_PIECES];
	uint64_t miss;
	int n = memview_translate(vq->mv, iova, size, perm, seg, RING_PIECES,
				  &miss);

	if (n == -EAGAIN)
		vq->iotlb_miss(vq, miss, perm);
	if (n < 0)
		return n;
	part->npieces = (unsigned int)n;
	for (int i = 0; i < n; i++) {
		part->piece[i].uva = seg[i].uva;
		part->piece[i].len = seg[i].len;
	}
	return 0;
}

/*
 * Where a part is: by itself if one mapping covers it, else by its shadow.
 * Owner's addresses need not lie in the memory table.
 */
static int part_resolve(struct virtq *vq, struct ring_part *part, uint64_t addr,
			size_t size, uint8_t perm, size_t align)
{
	int ret;

	part->npieces = 1;
	part->piece[0].uva = addr;
	part->piece[0].len = (uint32_t)size;
	if (vq->mv->have_iotlb) {
		ret = part_translate(vq, part, addr, size, perm);
		if (ret < 0)
			return ret;
	}
	part->ptr = part->npieces == 1
			    ? aspace_ptr(vq->mv->as, part->piece[0].uva, size)
			    : NULL;
	if (part->ptr && !((uintptr_t)part->ptr & (align - 1)))
		return 0;
	if (!part->shadow)
		part->shadow = calloc(1, size + sizeof(uint16_t));
	part->ptr = part->shadow;
	return part->ptr ? 0 : -ENOMEM;
}

static bool copied(const struct ring_part *part)
{
	return part->ptr == part->shadow;
}

static int resolve(struct virtq *vq)
{
	int ret;

	if (!vq->mv->as)
		return -EFAULT;
	ret = part_resolve(vq, &vq->desc, vq->addr.desc_user_addr,
			   desc_size(vq->num), RANGE_RO,
			   _Alignof(struct vring_desc));
	if (ret < 0)
		return ret;
	ret = part_resolve(vq, &vq->avail, vq->addr.avail_user_addr,
			   avail_size(vq, vq->num), RANGE_RO, 2);
	if (ret < 0)
		return ret;
	ret = part_resolve(vq, &vq->used, vq->addr.used_user_addr,
			   used_size(vq, vq->num), RANGE_WO, 4);
	if (ret < 0)
		return ret;
	vq->resolved = true;
	return 0;
}

/* Adds the ranges behind bytes [off, off + len) of a copied part. */
static size_t part_ranges(const struct ring_part *part, size_t off, size_t len,
			  struct aspace_range *r)
{
	size_t n = 0, at = 0;

	for (unsigned int i = 0; i < part->npieces && len; i++) {
		size_t end = at + part->piece[i].len;

		if (off < end) {
			size_t take = MIN(len, end - off);

			r[n++] = (struct aspace_range){
				.uva = part->piece[i].uva + (off - at),
				.ptr = part->shadow + off,
				.len = take,
			};
			off += take;
			len -= take;
		}
		at = end;
	}
	return n;
}

/* At most this many ranges come of one part_ranges(). */
#define PART_RANGES RING_PIECES

static int pull(struct virtq *vq, struct ring_part *part, size_t off,
		size_t len)
{
	struct aspace_range r[PART_RANGES];

	if (!copied(part))
		return 0;
	return aspace_read(vq->mv->as, r, part_ranges(part, off, len, r));
}

static void log_gpa(void *ctx, uint64_t gpa, uint64_t len)
{
	struct virtq *vq = ctx;

	dirtylog_mark(vq->log, vq->mv->as, gpa, len);
}

/* The used ring's own pages; source: log_used() in drivers/vhost/vhost.c. */
static void log_used(struct virtq *vq, size_t off, size_t len)
{
	if (likely(!(vq->addr.flags & BIT(VHOST_VRING_F_LOG))))
		return;
	if (!vq->mv->have_iotlb) {
		log_gpa(vq, vq->addr.log_guest_addr + off, len);
	} else {
		size_t at = 0;

		for (unsigned int i = 0; i < vq->used.npieces; i++) {
			size_t end = at + vq->used.piece[i].len;
			size_t from = MAX(off, at), to = MIN(off + len, end);

			if (from < to)
				memview_gpa_of(vq->mv,
					       vq->used.piece[i].uva + from -
						       at,
					       to - from, log_gpa, vq);
			at = end;
		}
	}
	dirtylog_flush(vq->log, vq->mv->as);
}

/* Makes bytes [off, off + len) of the used ring what ptr has there. */
static int put(struct virtq *vq, size_t off, size_t len)
{
	struct aspace_range r[PART_RANGES];

	if (!copied(&vq->used))
		return 0;
	return aspace_write(vq->mv->as, r, part_ranges(&vq->used, off, len, r));
}

static int put_u16(struct virtq *vq, size_t off, uint16_t value)
{
	uint16_t *p = (uint16_t *)(vq->used.ptr + off);
	int ret;

	__atomic_store_n(p, htole16(value), __ATOMIC_RELEASE);
	ret = put(vq, off, sizeof(value));
	if (unlikely(vq->addr.flags & BIT(VHOST_VRING_F_LOG))) {
		log_used(vq, off, sizeof(value));
		vq->log_event(vq);
	}
	return ret;
}

/* ---- errors ---- */

static void bump(int fd)
{
	uint64_t one = 1;

	/* A full counter is a wake-up too; nothing else can go wrong. */
	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
		return;
}

/* Counted and signalled each time, logged once. */
static void __attribute__((format(printf, 3, 0)))
ring_error(struct virtq *vq, enum log_level level, const char *fmt, va_list ap)
{
	char text[160];

	if (vq->ahead)
		return;
	vq->counters.errors++;
	bump(vq->err_fd);
	if (vq->error_logged)
		return;
	vq->error_logged = true;
	vsnprintf(text, sizeof(text), fmt, ap);
	log_write(&vq->tag, level, "%s%s",
		  level == LOG_LEVEL_INFO ? "" : "ring error: ", text);
}

void virtq_error(struct virtq *vq, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	ring_error(vq, LOG_LEVEL_WARNING, fmt, ap);
	va_end(ap);
}

static void __attribute__((format(printf, 2, 3)))
owner_gone(struct virtq *vq, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	ring_error(vq, LOG_LEVEL_INFO, fmt, ap);
	va_end(ap);
}

int virtq_memory_error(struct virtq *vq, int err, const char *what)
{
	if (vq->ahead)
		return err; /* met again, and reported, when it comes first */
	if (err == -ESRCH) {
		vq->broken = true;
		owner_gone(vq, "the owner of the %s is gone", what);
	} else {
		virtq_error(vq, "cannot reach the %s: %s", what,
			    strerror(-err));
	}
	return err;
}

/* ---- start ---- */

int virtq_start(struct virtq *vq)
{
	int ret;

	virtq_free_shadow(vq);
	vq->broken = vq->error_logged = false;
	vq->signalled_used_valid = false;
	vq->avail_idx = vq->last_avail_idx;
	vq->mv->hit = NULL;
	if (vq->mv->have_iotlb) {
		/* The kernel insists on the used ring alone here. */
		ret = part_resolve(vq, &vq->used, vq->addr.used_user_addr,
				   used_size(vq, vq->num), RANGE_WO, 4);
		if (ret == -EAGAIN || ret == -EPERM) {
			virtq_error(vq, "used ring is not in the IOTLB");
			ret = -EFAULT;
		}
	} else {
		ret = resolve(vq);
	}
	if (ret < 0)
		return ret;
	if (put_u16(vq, offsetof(struct vring_used, flags), vq->used_flags) ||
	    pull(vq, &vq->used, offsetof(struct vring_used, idx),
		 sizeof(uint16_t)))
		return -EFAULT;
	vq->last_used_idx = le16toh(((struct vring_used *)vq->used.ptr)->idx);
	return 0;
}

/* Before each use of the ring. */
static int ready(struct virtq *vq)
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

/* ---- available ring ---- */

static struct vring_avail *avail_ring(const struct virtq *vq)
{
	return (struct vring_avail *)vq->avail.ptr;
}

static uint16_t avail_idx_now(const struct virtq *vq)
{
	/* Pairs with the driver's barrier before its idx store (virtio 1.2
	 * §2.7.13.3.1): idx first, then the entries and buffers it covers. */
	return le16toh(__atomic_load_n(&avail_ring(vq)->idx, __ATOMIC_ACQUIRE));
}

/* Brings avail->idx up to date. */
static int pull_avail_idx(struct virtq *vq)
{
	size_t off = offsetof(struct vring_avail, idx);
	struct aspace_range r[PART_RANGES];
	size_t n;

	if (!copied(&vq->avail))
		return 0;
	n = part_ranges(&vq->avail, off, sizeof(uint16_t), r);
	if (n != 1)
		return aspace_read(vq->mv->as, r, n);
	return aspace_peek(vq->mv->as, r[0].uva, r[0].ptr, sizeof(uint16_t));
}

static int refresh_avail(struct virtq *vq)
{
	int ret = pull_avail_idx(vq);

	if (ret < 0)
		return virtq_memory_error(vq, ret, "available ring");
	vq->avail_idx = avail_idx_now(vq);
	if ((uint16_t)(vq->avail_idx - vq->last_avail_idx) > vq->num) {
		virtq_error(vq, "available index moved from %u to %u",
			    vq->last_avail_idx, vq->avail_idx);
		/* Judged anew next time: the driver may mend it. */
		vq->avail_idx = vq->last_avail_idx;
		return -EINVAL;
	}
	return 0;
}

/* Entries [last_avail_idx, + n), and a small descriptor table with them. */
static int pull_entries(struct virtq *vq, unsigned int n)
{
	struct aspace_range r[3 * PART_RANGES];
	unsigned int first = vq->last_avail_idx & (vq->num - 1);
	unsigned int n1 = MIN(n, vq->num - first);
	size_t nr = 0;

	vq->desc_n = 0;
	if (copied(&vq->avail)) {
		size_t off = offsetof(struct vring_avail, ring);

		nr += part_ranges(&vq->avail, off + first * sizeof(uint16_t),
				  n1 * sizeof(uint16_t), r);
		nr += part_ranges(&vq->avail, off, (n - n1) * sizeof(uint16_t),
				  r + nr);
	}
	if (copied(&vq->desc) && vq->num <= DESC_WHOLE) {
		nr += part_ranges(&vq->desc, 0, desc_size(vq->num), r + nr);
		vq->desc_lo = 0;
		vq->desc_n = (uint16_t)vq->num;
	}
	return aspace_read(vq->mv->as, r, nr);
}

/* Descriptors [lo, lo + n) of a copied table. */
static int pull_descs(struct virtq *vq, uint32_t lo, uint32_t n)
{
	int ret = pull(vq, &vq->desc, desc_size(lo), desc_size(n));

	if (ret < 0)
		return ret;
	vq->desc_lo = (uint16_t)lo;
	vq->desc_n = (uint16_t)n;
	return 0;
}

static uint16_t head_at(const struct virtq *vq, unsigned int i)
{
	uint16_t slot = (vq->last_avail_idx + i) & (vq->num - 1);
	const volatile uint16_t *ring = avail_ring(vq)->ring;

	return le16toh(ring[slot]);
}

/* The span of the table that @n heads of a copied ring lie in. */
static int pull_head_span(struct virtq *vq, unsigned int n)
{
	uint32_t lo = vq->num, hi = 0;

	if (!copied(&vq->desc) || vq->desc_n)
		return 0;
	for (unsigned int i = 0; i < n; i++) {
		uint32_t head = head_at(vq, i);

		if (head >= vq->num)
			continue;
		lo = MIN(lo, head);
		hi = MAX(hi, head);
	}
	if (lo > hi)
		return 0;
	hi = MIN(hi + 8, vq->num - 1); /* the tail of the last chain */
	return pull_descs(vq, lo, hi - lo + 1);
}

/* The driver owns the table and may rewrite it while we look: decide from
 * this copy only, and never go back to the ring for a second reading. */
static struct desc desc_copy(const struct vring_desc *table, uint32_t i)
{
	const volatile struct vring_desc *d = &table[i];

	return (struct desc){
		.addr = le64toh(d->addr),
		.len = le32toh(d->len),
		.flags = le16toh(d->flags),
		.next = le16toh(d->next),
	};
}

static int desc_fetch(struct virtq *vq, uint32_t i, struct desc *d)
{
	if (copied(&vq->desc) && i - vq->desc_lo >= vq->desc_n) {
		int ret = pull_descs(vq, i, MIN(CHUNK, vq->num - i));

		if (ret < 0)
			return virtq_memory_error(vq, ret, "descriptor table");
	}
	*d = desc_copy((const struct vring_desc *)vq->desc.ptr, i);
	return 0;
}

/* ---- chains ---- */

static int translate_error(struct virtq *vq, int err, const struct desc *d,
			   uint64_t miss, uint8_t perm)
{
	if (err == -EAGAIN) {
		if (!vq->ahead)
			vq->iotlb_miss(vq, miss, perm);
		return err;
	}
	if (err == -ENOBUFS)
		virtq_error(vq, "chain of more than %d pieces",
			    VIRTQ_CHAIN_SEGS);
	else
		virtq_error(vq, "buffer 0x%llx+%u is not in guest memory",
			    (unsigned long long)d->addr, d->len);
	return err;
}

/*
 * Adds what a descriptor points at. -ENOSPC: the batch is full, the chain has
 * to wait for the next one.
 */
static int add_buffer(struct virtq *vq, struct virtq_batch *b,
		      struct chain *chain, const struct desc *d)
{
	bool in = d->flags & VRING_DESC_F_WRITE;
	uint8_t perm = in ? RANGE_WO : RANGE_RO;
	size_t left = VIRTQ_CHAIN_SEGS - (b->nsegs - chain->seg);
	size_t room = VIRTQ_BATCH_SEGS - b->nsegs;
	uint64_t miss = 0;
	int n;

	n = memview_translate(vq->mv, d->addr, d->len, perm, &b->seg[b->nsegs],
			      MIN(left, room), &miss);
	if (unlikely(n == -ENOBUFS && room < left))
		return -ENOSPC;
	if (unlikely(n < 0))
		return translate_error(vq, n, d, miss, perm);
	b->nsegs += (unsigned int)n;
	if (in) {
		chain->nin += (uint16_t)n;
		chain->in_len += d->len;
		return 0;
	}
	if (unlikely(chain->nin)) {
		/* virtio 1.2 §2.7.4.2 */
		virtq_error(vq, "device-readable buffer after a writable one");
		return -EINVAL;
	}
	chain->nout += (uint16_t)n;
	chain->out_len += d->len;
	return 0;
}

/* Where the descriptors of an indirect table come from. */
struct indirect {
	const struct vring_desc *table; /* entry lo */
	uint32_t lo, n;                 /* entries at hand */
	uint32_t count;                 /* entries of the table */
	unsigned int nseg;
	struct vring_desc chunk[CHUNK];
};

static int indirect_copy(struct virtq *vq, const struct virtq_batch *b,
			 struct indirect *it, uint32_t i)
{
	struct aspace_range r[CHUNK + 1];
	size_t off = i * sizeof(struct vring_desc), at = 0, nr = 0, done = 0;
	uint32_t n = MIN(CHUNK, it->count - i);
	size_t want = n * sizeof(struct vring_desc);

	for (unsigned int s = 0; s < it->nseg && done < want; s++) {
		const struct seg *seg = &b->table_seg[s];

		if (off + done < at + seg->len) {
			size_t skip = off + done - at;
			size_t len = MIN(want - done, seg->len - skip);

			if (nr == ARRAY_SIZE(r))
				break;
			r[nr++] = (struct aspace_range){ seg->uva + skip,
							 (uint8_t *)it->chunk +
								 done,
							 len };
			done += len;
		}
		at += seg->len;
	}
	it->table = it->chunk;
	it->lo = i;
	it->n = (uint32_t)(done / sizeof(struct vring_desc));
	return it->n ? aspace_read(vq->mv->as, r, nr) : -EFAULT;
}

/* Finds an indirect table; @ci is its chain's place in the batch. */
static int indirect_open(struct virtq *vq, struct virtq_batch *b,
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
		return translate_error(vq, n, d, miss, RANGE_RO);
	it->nseg = (unsigned int)n;
	if (n == 1 && b->table_seg[0].ptr &&
	    !((uintptr_t)b->table_seg[0].ptr &
	      (_Alignof(struct vring_desc) - 1))) {
		it->table = (const struct vring_desc *)b->table_seg[0].ptr;
		it->n = it->count;
	}
	return 0;
}

static int walk_indirect(struct virtq *vq, struct virtq_batch *b,
			 struct chain *chain, const struct desc *indirect)
{
	struct indirect it;
	uint32_t i = 0, found = 0;
	struct desc d;
	int ret;

	ret = indirect_open(vq, b, (unsigned int)(chain - b->chain), indirect,
			    &it);
	if (ret < 0)
		return ret;
	do {
		if (i >= it.count || found++ == it.count) {
			virtq_error(vq,
				    "loop or bad next in an indirect table");
			return -EINVAL;
		}
		if (i - it.lo >= it.n) {
			ret = indirect_copy(vq, b, &it, i);
			if (ret < 0)
				return virtq_memory_error(vq, ret,
							  "indirect table");
		}
		d = desc_copy(it.table, i - it.lo);
		if (d.flags & VRING_DESC_F_INDIRECT) {
			virtq_error(vq, "indirect inside indirect");
			return -EINVAL; /* virtio 1.2 §2.7.5.3.1 */
		}
		ret = add_buffer(vq, b, chain, &d);
		if (ret < 0)
			return ret;
		i = d.next;
	} while (d.flags & VRING_DESC_F_NEXT);
	return 0;
}

/* Reads the chain at @head into the next place of the batch. */
static int walk_chain(struct virtq *vq, struct virtq_batch *b, uint16_t head)
{
	struct chain *chain = &b->chain[b->n];
	uint32_t i = head, found = 0;
	struct desc d;
	int ret;

	*chain = (struct chain){ .head = head, .seg = b->nsegs };
	do {
		if (unlikely(i >= vq->num)) {
			virtq_error(vq, "descriptor %u past a ring of %u", i,
				    vq->num);
			return -EINVAL;
		}
		if (unlikely(found++ == vq->num)) {
			virtq_error(vq, "descriptor chain with a loop");
			return -EINVAL;
		}
		ret = desc_fetch(vq, i, &d);
		if (unlikely(ret < 0))
			return ret;
		if (d.flags & VRING_DESC_F_INDIRECT) {
			ret = walk_indirect(vq, b, chain, &d);
			/* The kernel reports these twice: inside and here. */
			if (ret < 0 && ret != -EAGAIN && ret != -ENOSPC)
				virtq_error(vq, "bad indirect descriptor");
		} else {
			ret = add_buffer(vq, b, chain, &d);
		}
		if (unlikely(ret < 0))
			return ret;
		i = d.next;
	} while (d.flags & VRING_DESC_F_NEXT);
	return 0;
}

/*
 * Copies the indirect tables of a whole batch at once. Nothing is judged here:
 * what is not prefetched, or has changed meanwhile, is read (and judged) when
 * its chain is walked.
 */
static void prefetch_indirect(struct virtq *vq, struct virtq_batch *b,
			      unsigned int n)
{
	struct aspace_range r[VIRTQ_BATCH_CHAINS];
	uint32_t used = 0;
	size_t nr = 0;

	b->nprefetched = 0;
	for (unsigned int i = 0; i < n; i++) {
		uint16_t head = head_at(vq, i);
		uint64_t miss;
		struct seg seg;
		struct desc d;
		uint32_t count;

		b->prefetch[i].len = 0;
		if (head >= vq->num || head - vq->desc_lo >= vq->desc_n)
			continue;
		d = desc_copy((const struct vring_desc *)vq->desc.ptr, head);
		count = d.len / sizeof(struct vring_desc);
		if (!(d.flags & VRING_DESC_F_INDIRECT) || !count ||
		    d.len % sizeof(struct vring_desc) ||
		    count > PREFETCH_TABLE || used + count > VIRTQ_PREFETCH)
			continue;
		if (memview_translate(vq->mv, d.addr, d.len, RANGE_RO, &seg, 1,
				      &miss) != 1 ||
		    seg.ptr)
			continue;
		b->prefetch[i].addr = d.addr;
		b->prefetch[i].len = d.len;
		b->prefetch[i].first = used;
		r[nr++] = (struct aspace_range){ seg.uva, &b->prefetched[used],
						 d.len };
		used += count;
	}
	if (nr && aspace_read(vq->mv->as, r, nr) == 0)
		b->nprefetched = n;
}

/* Everything of the next @n entries that can be copied ahead. */
static int pull_batch(struct virtq *vq, struct virtq_batch *b, unsigned int n)
{
	int ret;

	b->nprefetched = 0;
	if (likely(!copied(&vq->desc) && !copied(&vq->avail)))
		return 0;
	ret = pull_entries(vq, n);
	if (ret == 0)
		ret = pull_head_span(vq, n);
	if (ret < 0)
		return virtq_memory_error(vq, ret, "ring");
	if (copied(&vq->desc))
		prefetch_indirect(vq, b, n);
	return 0;
}

int virtq_look(struct virtq *vq)
{
	unsigned int known = (uint16_t)(vq->avail_idx - vq->last_avail_idx);
	int ret = refresh_avail(vq);

	if (ret < 0)
		return ret;
	return (uint16_t)(vq->avail_idx - vq->last_avail_idx) > known;
}

int virtq_available(struct virtq *vq)
{
	int ret = ready(vq);

	if (ret == 0 && vq->avail_idx == vq->last_avail_idx)
		ret = refresh_avail(vq);
	if (unlikely(ret < 0))
		return ret;
	return (uint16_t)(vq->avail_idx - vq->last_avail_idx);
}

int virtq_fetch(struct virtq *vq, struct virtq_batch *b, unsigned int max)
{
	unsigned int n;
	int ret;

	b->n = b->nsegs = 0;
	ret = virtq_available(vq);
	if (unlikely(ret <= 0))
		return ret;
	n = MIN((unsigned int)ret, MIN(max, VIRTQ_BATCH_CHAINS));
	ret = pull_batch(vq, b, n);
	if (unlikely(ret < 0))
		return ret;

	while (b->n < n) {
		unsigned int nsegs = b->nsegs;

		vq->ahead = b->n > 0;
		ret = walk_chain(vq, b, head_at(vq, b->n));
		vq->ahead = false;
		if (unlikely(ret < 0)) {
			b->nsegs = nsegs;
			break;
		}
		b->n++;
	}
	vq->last_avail_idx += (uint16_t)b->n;
	if (b->n)
		return (int)b->n;
	return ret;
}

bool virtq_has_new(struct virtq *vq)
{
	if (vq->broken || !vq->resolved || pull_avail_idx(vq) < 0)
		return false;
	return avail_idx_now(vq) != vq->avail_idx;
}

/* ---- used ring ---- */

/*
 * Stores @n elements from slot @first on, and then the index, in the owner's
 * memory. One call does both where stores are seen in order (x86): the kernel
 * copies the pieces one after another.
 */
static int put_used(struct virtq *vq, unsigned int first, unsigned int n)
{
	const size_t elem = sizeof(struct vring_used_elem);
	size_t off = offsetof(struct vring_used, ring);
	unsigned int n1 = MIN(n, vq->num - first);
	struct aspace_range r[3 * PART_RANGES];
	size_t nr;

	if (!copied(&vq->used))
		return 0;
	nr = part_ranges(&vq->used, off + first * elem, n1 * elem, r);
	nr += part_ranges(&vq->used, off, (n - n1) * elem, r + nr);
#ifndef __x86_64__
	int ret = aspace_write(vq->mv->as, r, nr);

	if (ret < 0)
		return ret;
	nr = 0;
#endif
	nr += part_ranges(&vq->used, offsetof(struct vring_used, idx),
			  sizeof(uint16_t), r + nr);
	return aspace_write(vq->mv->as, r, nr);
}

static void log_elems(struct virtq *vq, unsigned int first, unsigned int n)
{
	const size_t elem = sizeof(struct vring_used_elem);
	size_t off = offsetof(struct vring_used, ring);
	unsigned int n1 = MIN(n, vq->num - first);

	log_used(vq, off + first * elem, n1 * elem);
	if (n > n1)
		log_used(vq, off, (n - n1) * elem);
	log_used(vq, offsetof(struct vring_used, idx), sizeof(uint16_t));
	vq->log_event(vq);
}

int virtq_push(struct virtq *vq, const struct vring_used_elem *elems,
	       unsigned int n)
{
	struct vring_used *used = (struct vring_used *)vq->used.ptr;
	uint16_t old = vq->last_used_idx, new = (uint16_t)(old + n);
	unsigned int first = old & (vq->num - 1);
	int ret;

	for (unsigned int i = 0; i < n; i++) {
		unsigned int slot = (old + i) & (vq->num - 1);

		used->ring[slot].id = htole32(elems[i].id);
		used->ring[slot].len = htole32(elems[i].len);
	}
	__atomic_store_n(&used->idx, htole16(new), __ATOMIC_RELEASE);
	ret = put_used(vq, first, n);
	if (unlikely(ret < 0))
		return virtq_memory_error(vq, ret, "used ring");
	/* After the stores: a page marked before could be sent without them. */
	if (unlikely(vq->addr.flags & BIT(VHOST_VRING_F_LOG)))
		log_elems(vq, first, n);
	vq->last_used_idx = new;
	/* The driver can no longer tell whether we passed its event index. */
	if ((uint16_t)(new - vq->signalled_used) < (uint16_t)(new - old))
		vq->signalled_used_valid = false;
	vq->counters.batches++;
	return 0;
}

/*
 * Suppression words of the driver, and its idx with them: with an event index
 * that is the whole available ring, in one copy that also proves that the
 * memory is still the owner's. The idx seen here spares the next batch a look;
 * the entries are read again then, after the idx.
 */
static int pull_suppression(struct virtq *vq)
{
	size_t len = event_idx(vq) ? used_event_off(vq) + sizeof(uint16_t)
				   : sizeof(struct vring_avail);
	uint16_t idx;
	int ret;

	if (!copied(&vq->avail))
		return 0;
	if (vq->avail.npieces == 1)
		ret = aspace_peek(vq->mv->as, vq->avail.piece[0].uva,
				  vq->avail.shadow, len);
	else
		ret = pull(vq, &vq->avail, 0, len);
	if (ret < 0)
		return ret;
	idx = avail_idx_now(vq);
	if ((uint16_t)(idx - vq->last_avail_idx) <= vq->num)
		vq->avail_idx = idx;
	return 0;
}

static bool wants_signal(struct virtq *vq)
{
	const volatile uint16_t *used_event;
	uint16_t old, new;
	bool valid;

	/* Used idx before the suppression words: virtio 1.2 §2.7.7.2. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if ((vq->features & BIT(VIRTIO_F_NOTIFY_ON_EMPTY)) &&
	    vq->avail_idx == vq->last_avail_idx)
		return true;
	if (pull_suppression(vq) < 0)
		return true;
	if (!event_idx(vq)) {
		uint16_t flags = __atomic_load_n(&avail_ring(vq)->flags,
						 __ATOMIC_RELAXED);

		return !(le16toh(flags) & VRING_AVAIL_F_NO_INTERRUPT);
	}
	old = vq->signalled_used;
	valid = vq->signalled_used_valid;
	new = vq->signalled_used = vq->last_used_idx;
	vq->signalled_used_valid = true;
	if (!valid)
		return true;
	used_event =
		(const volatile uint16_t *)(vq->avail.ptr + used_event_off(vq));
	return vring_need_event(le16toh(*used_event), new, old);
}

void virtq_signal(struct virtq *vq)
{
	if (vq->call_fd < 0)
		return;
	if (!wants_signal(vq)) {
		vq->counters.suppressed++;
		return;
	}
	bump(vq->call_fd);
	vq->counters.signals++;
}

/* ---- notifications ---- */

void virtq_disable_notify(struct virtq *vq)
{
	if (vq->used_flags & NO_NOTIFY)
		return;
	vq->used_flags |= NO_NOTIFY;
	if (!event_idx(vq) && vq->resolved)
		put_u16(vq, offsetof(struct vring_used, flags), vq->used_flags);
}

bool virtq_enable_notify(struct virtq *vq)
{
	int ret;

	if (!(vq->used_flags & NO_NOTIFY))
		return false;
	if (ready(vq) < 0)
		return false;
	vq->used_flags &= (uint16_t)~NO_NOTIFY;
	if (event_idx(vq))
		ret = put_u16(vq, avail_event_off(vq), vq->avail_idx);
	else
		ret = put_u16(vq, offsetof(struct vring_used, flags),
			      vq->used_flags);
	if (ret < 0) {
		virtq_memory_error(vq, ret, "used ring");
		return false;
	}
	/* Our wish before a last look: virtio 1.2 §2.7.10. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return virtq_has_new(vq);
}
