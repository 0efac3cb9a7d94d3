/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtq_split.c is the device side of the split ring (virtio 1.2 §2.7): a table
 * of descriptors; the available ring, in which the driver puts heads of chains;
 * the used ring, in which the device returns them. It runs on the device's
 * worker and reads hostile memory (see virtq.c).
 *
 * A copied ring costs a fixed number of system calls for each batch: available
 * index; entries and descriptors (one call where the areas are adjacent, as
 * they mostly are); indirect tables; used elements; used index; suppression
 * words.
 *
 * Order of publication: used elements, then the index (release), then a full
 * barrier, then the driver's suppression word (virtio 1.2 §2.7.8.2, §2.7.7.2).
 */
#include "virtq_priv.h"

#include <stddef.h>

/* A copied descriptor table is read whole, with the entries of the available
 * ring, if it has at most DESC_WHOLE entries or DESC_PER_CHAIN for each chain.
 */
#define DESC_WHOLE 256
#define DESC_PER_CHAIN 16

static size_t desc_size(uint32_t num)
{
	return num * sizeof(struct vring_desc);
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

/* Marks pages of the used ring itself in the dirty log. Source: log_used() in
 * drivers/vhost/vhost.c. */
static void log_used(struct virtq *vq, size_t off, size_t len)
{
	if (vq->mv->have_iotlb)
		virtq_log_area(vq, &vq->used, off, len);
	else
		dirtylog_mark(vq->log, vq->mv->as,
			      vq->addr.log_guest_addr + off, len);
	dirtylog_flush(vq->log, vq->mv->as);
}

void split_log_ring(struct virtq *vq)
{
	log_used(vq, 0, avail_event_off(vq) + sizeof(uint16_t));
	vq->log_event(vq);
}

static int write_u16(struct virtq *vq, size_t off, uint16_t value)
{
	uint16_t *p = (uint16_t *)(vq->used.ptr + off);
	int ret;

	__atomic_store_n(p, htole16(value), __ATOMIC_RELEASE);
	ret = virtq_shadow_write(vq, &vq->used, off, sizeof(value));
	if (virtq_logged(vq)) {
		log_used(vq, off, sizeof(value));
		vq->log_event(vq);
	}
	return ret;
}

int split_start(struct virtq *vq)
{
	if (write_u16(vq, offsetof(struct vring_used, flags), vq->used_flags) ||
	    virtq_shadow_read(vq, &vq->used, offsetof(struct vring_used, idx),
			      sizeof(uint16_t)))
		return -EFAULT;
	vq->last_used_idx = le16toh(((struct vring_used *)vq->used.ptr)->idx);
	return 0;
}

/* ---- available ring ---- */

static struct vring_avail *avail_ring(const struct virtq *vq)
{
	return (struct vring_avail *)vq->avail.ptr;
}

static uint16_t avail_idx_now(const struct virtq *vq)
{
	/* Pairs with the driver's barrier before its store of idx (virtio 1.2
	 * §2.7.13.3.1): idx is read before the entries and buffers it covers.
	 */
	return le16toh(__atomic_load_n(&avail_ring(vq)->idx, __ATOMIC_ACQUIRE));
}

/* Copies avail->idx and avail->flags, if the ring is not mapped. */
static int read_avail_idx(struct virtq *vq)
{
	return virtq_shadow_read(vq, &vq->avail, 0, AVAIL_HEAD);
}

static int refresh_avail(struct virtq *vq)
{
	int ret = read_avail_idx(vq);

	if (ret < 0)
		return virtq_memory_error(vq, ret, "available ring");
	vq->avail_idx = avail_idx_now(vq);
	if ((uint16_t)(vq->avail_idx - vq->last_avail_idx) > vq->num) {
		virtq_error(vq, "available index moved from %u to %u",
			    vq->last_avail_idx, vq->avail_idx);
		/* Read again at the next run: the driver may correct it. */
		vq->avail_idx = vq->last_avail_idx;
		return -EINVAL;
	}
	return 0;
}

/* Copies entries [last_avail_idx, + n), and the descriptor table if it is small
 * or most of it will be needed. */
static int read_entries(struct virtq *vq, unsigned int n)
{
	struct aspace_range r[3 * AREA_RANGES];
	unsigned int first = vq->last_avail_idx & (vq->num - 1);
	unsigned int n1 = MIN(n, vq->num - first);
	size_t nr = 0;

	vq->desc_n = 0;
	if (virtq_copied(&vq->avail)) {
		size_t off = offsetof(struct vring_avail, ring);

		nr += virtq_ranges(&vq->avail, off + first * sizeof(uint16_t),
				   n1 * sizeof(uint16_t), r);
		nr += virtq_ranges(&vq->avail, off, (n - n1) * sizeof(uint16_t),
				   r + nr);
	}
	if (virtq_copied(&vq->desc) &&
	    vq->num <= MAX(DESC_WHOLE, n * DESC_PER_CHAIN)) {
		nr += virtq_ranges(&vq->desc, 0, desc_size(vq->num), r + nr);
		vq->desc_lo = 0;
		vq->desc_n = (uint16_t)vq->num;
	}
	return aspace_read(vq->mv->as, r, nr);
}

/* Copies descriptors [lo, lo + n). */
static int split_read_descs(struct virtq *vq, uint32_t lo, uint32_t n)
{
	int ret = virtq_shadow_read(vq, &vq->desc, desc_size(lo), desc_size(n));

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

/* Copies the part of the table in which the next @n heads lie. */
static int read_head_span(struct virtq *vq, unsigned int n)
{
	uint32_t lo = vq->num, hi = 0;

	if (!virtq_copied(&vq->desc) || vq->desc_n)
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
	return split_read_descs(vq, lo, hi - lo + 1);
}

/* The driver may rewrite the table at any time: all checks are on this copy,
 * and no field is read from the ring a second time. */
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
	if (virtq_copied(&vq->desc) && i - vq->desc_lo >= vq->desc_n) {
		int ret = split_read_descs(vq, i, MIN(CHUNK, vq->num - i));

		if (ret < 0) {
			virtq_memory_error(vq, ret, "descriptor table");
			return ret;
		}
	}
	*d = desc_copy((const struct vring_desc *)vq->desc.ptr, i);
	return 0;
}

/* ---- chains ---- */

static int walk_indirect(struct virtq *vq, struct virtq_batch *b,
			 struct chain *chain, const struct desc *indirect)
{
	struct indirect it;
	uint32_t i = 0, found = 0;
	struct desc d;
	int ret;

	ret = virtq_indirect_open(vq, b, (unsigned int)(chain - b->chain),
				  indirect, &it);
	if (ret < 0)
		return ret;
	do {
		if (i >= it.count || found++ == it.count) {
			virtq_error(vq,
				    "loop or bad next in an indirect table");
			return -EINVAL;
		}
		if (i - it.lo >= it.n) {
			ret = virtq_indirect_copy(vq, b, &it, i);
			if (ret < 0)
				return ret;
		}
		d = desc_copy(it.table, i - it.lo);
		if (d.flags & VRING_DESC_F_INDIRECT) {
			virtq_error(vq, "indirect inside indirect");
			return -EINVAL; /* virtio 1.2 §2.7.5.3.1 */
		}
		ret = virtq_add_buffer(vq, b, chain, &d);
		if (ret < 0)
			return ret;
		i = d.next;
	} while (d.flags & VRING_DESC_F_NEXT);
	return 0;
}

/* Reads the chain at @head into the next entry of the batch. */
static int walk_chain(struct virtq *vq, struct virtq_batch *b, uint16_t head)
{
	struct chain *chain = &b->chain[b->n];
	uint32_t i = head, found = 0;
	struct desc d;
	int ret;

	*chain = (struct chain){ .id = head, .seg = b->nsegs };
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
			ret = virtq_add_buffer(vq, b, chain, &d);
		}
		if (unlikely(ret < 0))
			return ret;
		i = d.next;
	} while (d.flags & VRING_DESC_F_NEXT);
	return 0;
}

static void prefetch_indirect(struct virtq *vq, struct virtq_batch *b,
			      unsigned int n)
{
	struct prefetch p;

	p.n = 0;
	for (unsigned int i = 0; i < n; i++) {
		uint16_t head = head_at(vq, i);
		bool known = head < vq->num && head - vq->desc_lo < vq->desc_n;
		struct desc d;

		if (known)
			d = desc_copy((const struct vring_desc *)vq->desc.ptr,
				      head);
		virtq_prefetch_add(vq, b, &p, i, known ? &d : NULL);
	}
	virtq_prefetch_run(vq, b, &p, n);
}

/* Copies ahead what the next @n chains need, if the ring is not mapped. */
static int split_read_batch(struct virtq *vq, struct virtq_batch *b,
			    unsigned int n)
{
	int ret;

	if (likely(!virtq_copied(&vq->desc) && !virtq_copied(&vq->avail)))
		return 0;
	ret = read_entries(vq, n);
	if (ret == 0)
		ret = read_head_span(vq, n);
	if (ret < 0)
		return virtq_memory_error(vq, ret, "ring");
	if (virtq_copied(&vq->desc))
		prefetch_indirect(vq, b, n);
	return 0;
}

/*
 * Fast path: takes chains of one direct descriptor in one piece of memory,
 * which nearly all are, until the batch has @n. It stops at any other chain and
 * at an error, which walk_chain() handles.
 */
static void walk_simple(struct virtq *vq, struct virtq_batch *b, unsigned int n)
{
	const struct vring_desc *table = (struct vring_desc *)vq->desc.ptr;
	uint32_t lo = 0, at_hand = vq->num, seg = b->nsegs;
	unsigned int i;

	if (virtq_copied(&vq->desc)) {
		lo = vq->desc_lo;
		at_hand = vq->desc_n;
	}
	n = MIN(n, b->n + (VIRTQ_BATCH_SEGS - seg));
	for (i = b->n; i < n; i++, seg++) {
		uint16_t head = head_at(vq, i);
		struct desc d;

		if (unlikely((uint32_t)(head - lo) >= at_hand))
			break;
		d = desc_copy(table, head);
		if (unlikely(d.flags &
			     (VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT)) ||
		    !virtq_simple_chain(vq, b, i, seg, &d, head))
			break;
	}
	b->n = i;
	b->nsegs = seg;
}

int split_avail_more(struct virtq *vq)
{
	unsigned int known = (uint16_t)(vq->avail_idx - vq->last_avail_idx);
	int ret = refresh_avail(vq);

	if (ret < 0)
		return ret;
	return (uint16_t)(vq->avail_idx - vq->last_avail_idx) > known;
}

int split_avail_count(struct virtq *vq)
{
	int ret = virtq_ready(vq);

	if (ret == 0 && vq->avail_idx == vq->last_avail_idx)
		ret = refresh_avail(vq);
	if (unlikely(ret < 0))
		return ret;
	return (uint16_t)(vq->avail_idx - vq->last_avail_idx);
}

int split_fetch(struct virtq *vq, struct virtq_batch *b, unsigned int max)
{
	unsigned int n;
	int ret;

	ret = split_avail_count(vq);
	if (unlikely(ret <= 0))
		return ret;
	n = MIN((unsigned int)ret, max);
	ret = split_read_batch(vq, b, n);
	if (unlikely(ret < 0))
		return ret;

	for (;;) {
		unsigned int nsegs;

		walk_simple(vq, b, n);
		if (b->n == n)
			break;
		nsegs = b->nsegs;
		vq->ahead = b->n > 0;
		ret = walk_chain(vq, b, head_at(vq, b->n));
		vq->ahead = false;
		if (unlikely(ret < 0)) {
			b->nsegs = nsegs;
			b->next = ret;
			break;
		}
		b->n++;
	}
	vq->last_avail_idx += (uint16_t)b->n;
	if (b->n)
		return (int)b->n;
	return ret;
}

bool split_avail_changed(struct virtq *vq)
{
	return read_avail_idx(vq) == 0 && avail_idx_now(vq) != vq->avail_idx;
}

/* ---- used ring ---- */

/* Copies @n used elements from slot @first on, and then the index, to the
 * owner's memory, if the ring is not mapped. */
static int write_used(struct virtq *vq, unsigned int first, unsigned int n)
{
	const size_t elem = sizeof(struct vring_used_elem);
	size_t off = offsetof(struct vring_used, ring);
	unsigned int n1 = MIN(n, vq->num - first);
	struct aspace_range r[3 * AREA_RANGES];
	size_t nr;

	if (!virtq_copied(&vq->used))
		return 0;
	nr = virtq_ranges(&vq->used, off + first * elem, n1 * elem, r);
	nr += virtq_ranges(&vq->used, off, (n - n1) * elem, r + nr);
	return virtq_shadow_write_after(vq, r, nr, &vq->used, 0, USED_HEAD);
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

int split_push(struct virtq *vq, const struct virtq_used *elems, unsigned int n)
{
	struct vring_used *used = (struct vring_used *)vq->used.ptr;
	uint16_t old = vq->last_used_idx, new = old;
	unsigned int first = old & (vq->num - 1);
	int ret;

	/* An element for several chains is stored in the slot of the first, and
	 * the index skips the slots of the others: virtio 1.2 §2.7.9. */
	for (unsigned int i = 0; i < n; i++) {
		unsigned int slot = new &(vq->num - 1);

		used->ring[slot].id = htole32(elems[i].id);
		used->ring[slot].len = htole32(elems[i].len);
		new += elems[i].nchains;
	}
	__atomic_store_n(&used->idx, htole16(new), __ATOMIC_RELEASE);
	ret = write_used(vq, first, n);
	if (unlikely(ret < 0))
		return virtq_memory_error(vq, ret, "used ring");
	/* After the stores: a page marked before could be sent without them. */
	if (virtq_logged(vq))
		log_elems(vq, first, n);
	vq->last_used_idx = new;
	/* It can no longer be computed whether this passed used_event. */
	if ((uint16_t)(new - vq->signalled_used) < (uint16_t)(new - old))
		vq->signalled_used_valid = false;
	vq->counters.batches++;
	return 0;
}

/*
 * Copies the driver's suppression words and its idx: with an event index both
 * ends of the available ring, which is one call for a small ring. The next
 * batch need not read the idx again; it reads the entries, so after the idx.
 */
static int read_suppression(struct virtq *vq)
{
	struct aspace_range r[2 * AREA_RANGES];
	uint16_t idx;
	size_t nr;
	int ret;

	if (!virtq_copied(&vq->avail))
		return 0;
	nr = virtq_ranges(&vq->avail, 0, AVAIL_HEAD, r);
	if (virtq_event_idx(vq))
		nr += virtq_ranges(&vq->avail, used_event_off(vq),
				   sizeof(uint16_t), r + nr);
	ret = aspace_read(vq->mv->as, r, nr);
	if (ret < 0)
		return ret;
	idx = avail_idx_now(vq);
	if ((uint16_t)(idx - vq->last_avail_idx) <= vq->num)
		vq->avail_idx = idx;
	return 0;
}

bool split_wants_signal(struct virtq *vq)
{
	const volatile uint16_t *used_event;
	uint16_t old, new;
	bool valid;

	/* Store the used idx before reading suppression: virtio 1.2 §2.7.7.2.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if ((vq->features & BIT(VIRTIO_F_NOTIFY_ON_EMPTY)) &&
	    vq->avail_idx == vq->last_avail_idx)
		return true;
	if (read_suppression(vq) < 0)
		return true;
	if (!virtq_event_idx(vq)) {
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

int split_publish_notify(struct virtq *vq)
{
	if (virtq_event_idx(vq))
		return write_u16(vq, avail_event_off(vq), vq->avail_idx);
	return write_u16(vq, offsetof(struct vring_used, flags),
			 vq->used_flags);
}
