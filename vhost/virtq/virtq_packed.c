/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtq_packed.c is the device side of the packed ring (virtio 1.2 §2.8): one
 * ring of descriptors, which the driver makes available and the device
 * overwrites with used ones, and two event structures of four bytes. It runs on
 * the device's worker and reads hostile memory (see virtq.c).
 *
 *     last_used_idx           last_avail_idx      avail_idx
 *        ▼                       ▼                   ▼
 *   ─────┬───────────────────────┬───────────────────┬──────────────
 *    used│ taken, not used yet   │ known to be       │ not read yet
 *        │                       │ available         │
 *   ─────┴───────────────────────┴───────────────────┴──────────────
 *
 * An off_wrap is an offset in the ring (bits 0...14) with the wrap counter of
 * that lap as bit 15, as in SET_VRING_BASE; the same offset a lap later is
 * another off_wrap. A descriptor is available at an off_wrap if its flag AVAIL
 * equals the wrap counter and its flag USED does not. There is no index: only
 * the descriptors show how far the driver is.
 *
 * Reading: the flags with acquire, then the rest of the descriptor. A copied
 * ring is copied twice: the first copy, which may have been made while the
 * driver wrote, decides which flags are set; the second has the descriptors.
 * The driver makes the first descriptor of a chain available last (§2.8.19.1),
 * so only first descriptors need this.
 *
 * Writing: length, id and flags of a used descriptor are one store of eight
 * bytes. The first descriptor of a batch is stored last, so the driver sees
 * none or all of the batch (§2.8.12: never a part of a frame). Then a full
 * barrier, then the driver's event structure.
 */
#include "virtq_priv.h"

#include <stddef.h>
#include <string.h>

#define DESC sizeof(struct vring_packed_desc)
/* Descriptors read ahead to count available chains. */
#define AHEAD_MAPPED 64
#define AHEAD_COPIED 256
/* Result of walk_chain() when no chain starts there. */
#define NOTHING 1

/* ---- off_wrap ---- */

/* Descriptors from @from on to @to; below two laps. */
static uint32_t distance(const struct virtq *vq, uint16_t from, uint16_t to)
{
	uint32_t a = slot_of(from) + (from & WRAP ? vq->num : 0);
	uint32_t b = slot_of(to) + (to & WRAP ? vq->num : 0);

	return b >= a ? b - a : b + 2 * vq->num - a;
}

static inline struct vring_packed_desc *desc_at(const struct virtq *vq,
						uint16_t off_wrap)
{
	return (struct vring_packed_desc *)vq->desc.ptr + slot_of(off_wrap);
}

/* Pairs with the driver's barrier before it stores the flags (§2.8.21.1): the
 * flags are read before the rest and the buffers. */
static inline uint16_t load_flags(const struct virtq *vq, uint16_t off_wrap)
{
	return le16toh(__atomic_load_n(&desc_at(vq, off_wrap)->flags,
				       __ATOMIC_ACQUIRE));
}

/* ---- start ---- */

static void log_written(struct virtq *vq, const struct vring_area *part,
			size_t off, size_t len)
{
	virtq_log_area(vq, part, off, len);
	dirtylog_flush(vq->log, vq->mv->as);
}

void packed_log_ring(struct virtq *vq)
{
	log_written(vq, &vq->desc, 0, vq->num * DESC);
	log_written(vq, &vq->used, 0, sizeof(uint32_t));
	vq->log_event(vq);
}

int packed_publish_notify(struct virtq *vq)
{
	uint32_t flags = vq->used_flags & NO_NOTIFY
				 ? VRING_PACKED_EVENT_FLAG_DISABLE
			 : virtq_event_idx(vq) ? VRING_PACKED_EVENT_FLAG_DESC
					       : VRING_PACKED_EVENT_FLAG_ENABLE;
	uint32_t off_wrap =
		flags == VRING_PACKED_EVENT_FLAG_DESC ? vq->avail_idx : 0;
	int ret;

	/* Both words of the structure at once. */
	__atomic_store_n((uint32_t *)vq->used.ptr,
			 htole32(off_wrap | flags << 16), __ATOMIC_RELEASE);
	ret = virtq_shadow_write(vq, &vq->used, 0, sizeof(uint32_t));
	if (virtq_logged(vq)) {
		log_written(vq, &vq->used, 0, sizeof(uint32_t));
		vq->log_event(vq);
	}
	return ret;
}

int packed_start(struct virtq *vq)
{
	if (slot_of(vq->last_avail_idx) >= vq->num ||
	    slot_of(vq->last_used_idx) >= vq->num ||
	    distance(vq, vq->last_used_idx, vq->last_avail_idx) > vq->num)
		return -EINVAL;
	return packed_publish_notify(vq) < 0 ? -EFAULT : 0;
}

/* ---- what is available ---- */

/* Copies descriptors [slot, + n) of a copied ring. */
static int copy_descs(struct virtq *vq, uint32_t slot, uint32_t n)
{
	struct aspace_range r[2 * AREA_RANGES];
	uint32_t n1 = MIN(n, vq->num - slot);
	size_t nr;
	int ret;

	nr = virtq_ranges(&vq->desc, slot * DESC, n1 * DESC, r);
	nr += virtq_ranges(&vq->desc, 0, (n - n1) * DESC, r + nr);
	ret = aspace_read(vq->mv->as, r, nr);
	return ret < 0 ? virtq_memory_error(vq, ret, "descriptor ring") : 0;
}

/* The same for use by desc_fetch(): desc_lo and desc_n say which are valid. */
static int packed_read_descs(struct virtq *vq, uint32_t slot, uint32_t n)
{
	int ret = copy_descs(vq, slot, n);

	if (ret < 0)
		return ret;
	vq->desc_lo = (uint16_t)slot;
	vq->desc_n = (uint16_t)n;
	return 0;
}

/*
 * Counts the chains that start within the next @limit descriptors. @end:
 * off_wrap after the available ones; @all: all @limit are available.
 */
static unsigned int count_chains(const struct virtq *vq, uint32_t limit,
				 uint16_t *end, bool *all)
{
	const struct vring_packed_desc *desc =
		(const struct vring_packed_desc *)vq->desc.ptr;
	uint32_t slot = slot_of(vq->last_avail_idx), i;
	uint16_t want = vq->last_avail_idx & WRAP ? F_AVAIL : F_USED;
	unsigned int chains = 0, first = 1;

	for (i = 0; i < limit; i++) {
		uint16_t flags = le16toh(
			__atomic_load_n(&desc[slot].flags, __ATOMIC_ACQUIRE));

		if ((flags & (F_AVAIL | F_USED)) != want)
			break;
		chains += first;
		first = !(flags & VRING_DESC_F_NEXT);
		if (++slot == vq->num) {
			slot = 0;
			want ^= F_AVAIL | F_USED;
		}
	}
	*end = advance(vq, vq->last_avail_idx, i);
	*all = i == limit;
	return chains;
}

static uint32_t avail_known(const struct virtq *vq)
{
	return distance(vq, vq->last_avail_idx, vq->avail_idx);
}

/* Copied ring: moves avail_idx past the descriptors that are available. */
static int avail_extend(struct virtq *vq)
{
	uint32_t n = MIN(vq->num - avail_known(vq), AHEAD_COPIED);
	int ret = copy_descs(vq, slot_of(vq->avail_idx), n);

	if (ret < 0)
		return ret;
	while (n-- &&
	       is_available(load_flags(vq, vq->avail_idx), vq->avail_idx))
		vq->avail_idx = advance(vq, vq->avail_idx, 1);
	return 0;
}

int packed_avail_count(struct virtq *vq)
{
	uint32_t limit = MIN(AHEAD_MAPPED, vq->num);
	int ret = virtq_ready(vq);
	unsigned int chains;
	uint16_t end;
	bool all;

	if (unlikely(ret < 0))
		return ret;
	if (virtq_copied(&vq->desc)) {
		if (!avail_known(vq)) {
			ret = avail_extend(vq);
			if (unlikely(ret < 0))
				return ret;
		}
		limit = avail_known(vq);
	}
	chains = count_chains(vq, limit, &end, &all);
	/* There are fewer if the driver withdrew some, which it must not. */
	if (!all || distance(vq, vq->last_avail_idx, end) > avail_known(vq))
		vq->avail_idx = end;
	return (int)chains;
}

/* Reads the flags again: is the descriptor available now? */
static bool avail_at(struct virtq *vq, uint16_t off_wrap)
{
	size_t off = slot_of(off_wrap) * DESC +
		     offsetof(struct vring_packed_desc, flags);

	return virtq_shadow_read(vq, &vq->desc, off, sizeof(uint16_t)) == 0 &&
	       is_available(load_flags(vq, off_wrap), off_wrap);
}

bool packed_avail_changed(struct virtq *vq)
{
	return avail_at(vq, vq->avail_idx);
}

int packed_avail_more(struct virtq *vq)
{
	uint16_t before = vq->avail_idx;
	int ret;

	if (!virtq_copied(&vq->desc))
		return avail_at(vq, before); /* packed_fetch() reads on as far
						as it needs */
	ret = avail_extend(vq);
	return ret < 0 ? ret : vq->avail_idx != before;
}

/* ---- chains ---- */

/* Number of descriptors from @off_wrap on that are mapped or copied already. */
static uint32_t at_hand(const struct virtq *vq, uint16_t off_wrap)
{
	uint32_t slot = slot_of(off_wrap);
	uint32_t at = slot >= vq->desc_lo ? slot - vq->desc_lo
					  : slot + vq->num - vq->desc_lo;

	if (!virtq_copied(&vq->desc))
		return vq->num;
	return at < vq->desc_n ? vq->desc_n - at : 0;
}

/* Copies the descriptor at @off_wrap; NOTHING if it is not available. The
 * driver may rewrite it at any time: all checks are on this copy, and no field
 * is read from the ring a second time. */
static inline int desc_fetch(struct virtq *vq, uint16_t off_wrap,
			     struct desc *d)
{
	const volatile struct vring_packed_desc *p = desc_at(vq, off_wrap);

	if (virtq_copied(&vq->desc) && !at_hand(vq, off_wrap)) {
		uint32_t n = MIN(CHUNK, vq->num);
		int ret = packed_read_descs(vq, slot_of(off_wrap), n);

		if (ret < 0)
			return ret;
	}
	d->flags = load_flags(vq, off_wrap);
	if (unlikely(!is_available(d->flags, off_wrap)))
		return NOTHING;
	d->addr = le64toh(p->addr);
	d->len = le32toh(p->len);
	d->next = le16toh(p->id);
	return 0;
}

/*
 * Adds the buffers of an indirect table, from its start to its end. Only the
 * flag WRITE counts (§2.8.7), and not on a TX ring: DPDK's virtio driver leaves
 * it set in the entry of the header.
 */
static int walk_indirect(struct virtq *vq, struct virtq_batch *b,
			 struct chain *chain, const struct desc *indirect)
{
	struct indirect it;
	int ret;

	ret = virtq_indirect_open(vq, b, (unsigned int)(chain - b->chain),
				  indirect, &it);
	for (uint32_t i = 0; ret == 0 && i < it.count; i++) {
		const volatile struct vring_packed_desc *p;
		struct desc d;

		if (i - it.lo >= it.n) {
			ret = virtq_indirect_copy(vq, b, &it, i);
			if (ret < 0)
				return ret;
		}
		p = (const struct vring_packed_desc *)it.table + (i - it.lo);
		d = (struct desc){
			.addr = le64toh(p->addr),
			.len = le32toh(p->len),
			.flags = vq->read_only ? 0 : le16toh(p->flags),
		};
		ret = virtq_add_buffer(vq, b, chain, &d);
	}
	return ret;
}

static int chain_error(struct virtq *vq, const char *what)
{
	virtq_error(vq, "%s", what);
	return -EINVAL;
}

/* Reads the chain at @off_wrap into the next entry of the batch; @space: most
 * descriptors it may have. NOTHING: no chain is available there.
 */
static int walk_chain(struct virtq *vq, struct virtq_batch *b,
		      uint16_t off_wrap, uint32_t space)
{
	struct chain *chain = &b->chain[b->n];
	struct desc d;
	int ret;

	*chain = (struct chain){ .seg = b->nsegs };
	do {
		if (unlikely(chain->ndescs == space))
			return chain_error(vq, "chain longer than the ring");
		ret = desc_fetch(vq, off_wrap, &d);
		if (unlikely(ret == NOTHING && chain->ndescs))
			return chain_error(vq, "chain past what is available");
		if (ret != 0)
			return ret;
		if (unlikely(d.flags & VRING_DESC_F_INDIRECT)) {
			/* §2.8.19: an indirect descriptor is a whole chain. */
			if (chain->ndescs || d.flags & VRING_DESC_F_NEXT)
				return chain_error(
					vq, "indirect descriptor in a chain");
			ret = walk_indirect(vq, b, chain, &d);
		} else {
			ret = virtq_add_buffer(vq, b, chain, &d);
		}
		if (unlikely(ret < 0))
			return ret;
		chain->ndescs++;
		off_wrap = advance(vq, off_wrap, 1);
	} while (unlikely(d.flags & VRING_DESC_F_NEXT));
	chain->id = d.next; /* the id of the last descriptor counts (§2.8.6) */
	return 0;
}

/* Prefetches indirect tables of chains in descriptors [last_avail_idx, + n). */
static void prefetch_indirect(struct virtq *vq, struct virtq_batch *b,
			      uint32_t n)
{
	uint16_t off_wrap = vq->last_avail_idx;
	unsigned int ci = 0;
	bool first = true;
	struct prefetch p;

	p.n = 0;
	for (uint32_t i = 0; i < n; i++, off_wrap = advance(vq, off_wrap, 1)) {
		const struct vring_packed_desc *at = desc_at(vq, off_wrap);
		struct desc d = { le64toh(at->addr), le32toh(at->len),
				  le16toh(at->flags), 0 };

		if (first && is_available(d.flags, off_wrap))
			virtq_prefetch_add(vq, b, &p, ci++, &d);
		first = !(d.flags & VRING_DESC_F_NEXT);
	}
	virtq_prefetch_run(vq, b, &p, ci);
}

/* Copies ahead what the next @max chains need. */
static int packed_read_batch(struct virtq *vq, struct virtq_batch *b,
			     unsigned int max)
{
	uint32_t n;
	int ret;

	if (!avail_known(vq)) {
		ret = avail_extend(vq);
		if (ret < 0)
			return ret;
	}
	/* Further descriptors of long chains are copied when they are reached.
	 */
	n = MIN(avail_known(vq), max);
	if (!n)
		return 0;
	ret = packed_read_descs(vq, slot_of(vq->last_avail_idx), n);
	if (ret == 0)
		prefetch_indirect(vq, b, n);
	return ret;
}

/* Fast path: takes up to @limit chains of one direct descriptor in one piece of
 * memory, which nearly all are. It stops at any other chain and at an error,
 * which walk_chain() handles. Returns the number taken. */
static uint32_t walk_simple(struct virtq *vq, struct virtq_batch *b,
			    uint16_t off_wrap, uint32_t limit)
{
	const uint16_t what =
		F_AVAIL | F_USED | VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT;
	uint16_t want = off_wrap & WRAP ? F_AVAIL : F_USED;
	struct vring_packed_desc *desc =
		(struct vring_packed_desc *)vq->desc.ptr;
	uint32_t slot = slot_of(off_wrap), seg = b->nsegs, n;

	limit = MIN(limit, at_hand(vq, off_wrap));
	limit = MIN(limit, VIRTQ_BATCH_SEGS - seg);
	for (n = 0; n < limit; n++, seg++) {
		const volatile struct vring_packed_desc *p = &desc[slot];
		struct desc d;

		d.flags = le16toh(
			__atomic_load_n(&desc[slot].flags, __ATOMIC_ACQUIRE));
		d.addr = le64toh(p->addr);
		d.len = le32toh(p->len);
		if ((d.flags & what) != want ||
		    !virtq_simple_chain(vq, b, b->n + n, seg, &d,
					le16toh(p->id)))
			break;
		if (++slot == vq->num) {
			slot = 0;
			want ^= F_AVAIL | F_USED;
		}
	}
	b->n += n;
	b->nsegs = seg;
	return n;
}

/* Takes chains until the batch has @max; @taken: their descriptors. In a copied
 * ring only the @heads descriptors that were available before the copy may
 * start a chain. */
static int walk_chains(struct virtq *vq, struct virtq_batch *b,
		       unsigned int max, uint32_t heads, uint32_t *taken)
{
	uint16_t off_wrap = vq->last_avail_idx;
	uint32_t n = 0;
	int ret = 0;

	for (;;) {
		uint32_t simple = walk_simple(vq, b, off_wrap,
					      MIN(max - b->n, heads - n));
		unsigned int nsegs = b->nsegs;

		off_wrap = advance(vq, off_wrap, simple);
		n += simple;
		if (b->n == max || n >= heads)
			break;
		vq->ahead = b->n > 0;
		ret = walk_chain(vq, b, off_wrap, vq->num - n);
		vq->ahead = false;
		if (unlikely(ret != 0)) {
			b->nsegs = nsegs;
			break;
		}
		off_wrap = advance(vq, off_wrap, b->chain[b->n].ndescs);
		n += b->chain[b->n++].ndescs;
	}
	vq->last_avail_idx = off_wrap;
	*taken = n;
	return ret;
}

int packed_fetch(struct virtq *vq, struct virtq_batch *b, unsigned int max)
{
	uint32_t heads = vq->num, seen, taken;
	int ret = virtq_ready(vq);

	if (unlikely(ret < 0))
		return ret;
	if (virtq_copied(&vq->desc)) {
		ret = packed_read_batch(vq, b, max);
		if (unlikely(ret < 0))
			return ret;
		heads = avail_known(vq);
	}
	seen = avail_known(vq);
	ret = walk_chains(vq, b, max, heads, &taken);
	if (ret == NOTHING || taken > seen)
		vq->avail_idx = vq->last_avail_idx;
	if (ret == NOTHING)
		ret = 0;
	b->next = ret;
	return b->n ? (int)b->n : ret;
}

void packed_rewind(struct virtq *vq, const struct virtq_batch *b,
		   unsigned int n)
{
	uint16_t off_wrap = b->at;

	if (likely(!n))
		return;
	for (unsigned int i = 0; i < b->n - n; i++)
		off_wrap = advance(vq, off_wrap, b->chain[i].ndescs);
	vq->last_avail_idx = off_wrap;
}

/* ---- used descriptors ---- */

static inline void store_used(const struct virtq *vq, uint16_t off_wrap,
			      const struct virtq_used *u)
{
	struct vring_packed_desc *d = desc_at(vq, off_wrap);
	uint16_t flags = u->len ? VRING_DESC_F_WRITE : 0;
	struct {
		__le32 len;
		__le16 id, flags;
	} words;
	uint64_t all;

	if (off_wrap & WRAP)
		flags |= F_AVAIL | F_USED;
	words.len = htole32(u->len);
	words.id = htole16(u->id);
	words.flags = htole16(flags);
	memcpy(&all, &words, sizeof(all));
	__atomic_store_n((uint64_t *)&d->len, all, __ATOMIC_RELEASE);
}

/* Writes slots @first to @last of a copied ring back, @first after the others.
 * Slots between them that belong to long chains are written as they were read.
 */
static int write_back_used(struct virtq *vq, uint32_t first, uint32_t last)
{
	struct aspace_range r[3 * AREA_RANGES];
	size_t nr = 0;

	if (!virtq_copied(&vq->desc))
		return 0;
	if (last > first) {
		nr = virtq_ranges(&vq->desc, (first + 1) * DESC,
				  (last - first) * DESC, r);
	} else if (last < first) {
		nr = virtq_ranges(&vq->desc, (first + 1) * DESC,
				  (vq->num - first - 1) * DESC, r);
		nr += virtq_ranges(&vq->desc, 0, (last + 1) * DESC, r + nr);
	}
	return virtq_shadow_write_after(
		vq, r, nr, &vq->desc,
		first * DESC + offsetof(struct vring_packed_desc, len),
		sizeof(uint64_t));
}

static void log_used(struct virtq *vq, uint32_t first, uint32_t last)
{
	if (last < first) {
		log_written(vq, &vq->desc, 0, (last + 1) * DESC);
		last = vq->num - 1;
	}
	log_written(vq, &vq->desc, first * DESC, (last - first + 1) * DESC);
	vq->log_event(vq);
}

int packed_push(struct virtq *vq, const struct virtq_used *used, unsigned int n)
{
	uint16_t first = vq->last_used_idx, last = first;
	uint16_t off_wrap = advance(vq, first, used[0].ndescs);
	int ret;

	for (unsigned int i = 1; i < n; i++) {
		last = off_wrap;
		store_used(vq, off_wrap, &used[i]);
		off_wrap = advance(vq, off_wrap, used[i].ndescs);
	}
	store_used(vq, first, &used[0]);
	ret = write_back_used(vq, slot_of(first), slot_of(last));
	if (unlikely(ret < 0))
		return virtq_memory_error(vq, ret, "descriptor ring");
	/* After the stores: a page marked before could be sent without them. */
	if (virtq_logged(vq))
		log_used(vq, slot_of(first), slot_of(last));
	vq->last_used_idx = off_wrap;
	/* It can no longer be computed whether this passed the driver's event.
	 */
	if (distance(vq, vq->signalled_used, off_wrap) <
	    distance(vq, first, off_wrap))
		vq->signalled_used_valid = false;
	vq->counters.batches++;
	return 0;
}

/* ---- signals ---- */

/* Did used descriptors pass @event on their way from @old to @new? */
static bool passed(const struct virtq *vq, uint16_t event, uint16_t old,
		   uint16_t new)
{
	/* An invalid event: an unneeded signal is harmless. */
	if (slot_of(event) >= vq->num)
		return true;
	return distance(vq, old, event) < distance(vq, old, new);
}

bool packed_wants_signal(struct virtq *vq)
{
	uint16_t old = vq->signalled_used, new = vq->last_used_idx;
	bool valid = vq->signalled_used_valid;
	uint32_t words;

	/* Store used descriptors before reading the event structure: §2.8.22.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (virtq_shadow_read(vq, &vq->avail, 0, sizeof(words)) < 0)
		return true;
	words = le32toh(__atomic_load_n((const uint32_t *)vq->avail.ptr,
					__ATOMIC_RELAXED));
	if (virtq_event_idx(vq)) {
		vq->signalled_used = new;
		vq->signalled_used_valid = true;
	}
	switch (words >> 16 & 3) {
	case VRING_PACKED_EVENT_FLAG_DISABLE:
		return false;
	case VRING_PACKED_EVENT_FLAG_DESC:
		return !virtq_event_idx(vq) || !valid ||
		       passed(vq, (uint16_t)words, old, new);
	default:
		return true;
	}
}
