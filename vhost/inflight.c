/* SPDX-License-Identifier: BSD-3-Clause */
#include "inflight.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"

#define ALIGN 64
#define VERSION 1
#define WRAP 0x8000u

struct split_desc {
	uint8_t inflight;
	uint8_t padding[5];
	uint16_t next;
	uint64_t counter;
};

struct split_region {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t last_batch_head;
	uint16_t used_idx;
	struct split_desc desc[];
};

struct packed_desc {
	uint8_t inflight;
	uint8_t padding;
	uint16_t next;
	uint16_t last;
	uint16_t num;
	uint64_t counter;
	uint16_t id;
	uint16_t flags;
	uint32_t len;
	uint64_t addr;
};

struct packed_region {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t free_head, old_free_head;
	uint16_t used_idx, old_used_idx;
	uint8_t used_wrap, old_used_wrap;
	uint8_t padding[7];
	struct packed_desc desc[];
};

_Static_assert(sizeof(struct split_desc) == 16, "as in the specification");
_Static_assert(sizeof(struct split_region) == 16, "as in the specification");
_Static_assert(sizeof(struct packed_desc) == 32, "as in the specification");
_Static_assert(sizeof(struct packed_region) == 32, "as in the specification");

/* The other side reads after we have died: what was stored before must be
 * there, and the compiler is all that could reorder it. */
#define STORE(lvalue, value) \
	__atomic_store_n(&(lvalue), value, __ATOMIC_RELEASE)
/* Read once: it may be another number the next time. */
#define LOAD(lvalue) __atomic_load_n(&(lvalue), __ATOMIC_RELAXED)

size_t inflight_stride(unsigned int num, bool packed)
{
	size_t size = packed ? sizeof(struct packed_region) +
				       num * sizeof(struct packed_desc)
			     : sizeof(struct split_region) +
				       num * sizeof(struct split_desc);

	return (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

static struct split_region *split(const struct inflight *f)
{
	return (struct split_region *)f->ptr;
}

static struct packed_region *packed(const struct inflight *f)
{
	return (struct packed_region *)f->ptr;
}

static void give_up(struct inflight *f, const struct virtq *vq)
{
	log_warn(&vq->tag, "the record of chains in flight makes no sense, and "
			   "is kept no longer");
	f->ptr = NULL;
}

/* ---- what a predecessor left ---- */

struct left {
	uint64_t counter;
	uint16_t id, ndescs;
};

static int by_counter(const void *a, const void *b)
{
	const struct left *la = a, *lb = b;

	return (la->counter > lb->counter) - (la->counter < lb->counter);
}

/* @r: a split ring's part, kept true all the time: we may die here as well. */
static int give_back(struct virtq *vq, struct left *left, unsigned int n,
		     struct split_region *r)
{
	qsort(left, n, sizeof(*left), by_counter);
	for (unsigned int i = 0; i < n; i++) {
		struct virtq_used used = { 0, left[i].id, left[i].ndescs, 1 };
		int ret;

		if (r)
			STORE(r->last_batch_head, used.id);
		ret = virtq_push(vq, &used, 1);
		if (ret < 0)
			return ret;
		if (r) {
			STORE(r->desc[used.id].inflight, 0);
			STORE(r->used_idx, vq->last_used_idx);
		}
	}
	if (n) {
		log_info(&vq->tag, "%u chains were in flight: given back", n);
		virtq_signal(vq);
	}
	return 0;
}

/* Used already, though the marks do not say so. */
static void split_finish_batch(struct split_region *r, const struct virtq *vq)
{
	uint16_t n = (uint16_t)(vq->last_used_idx - LOAD(r->used_idx));
	uint16_t i = LOAD(r->last_batch_head);

	for (; n && n <= vq->num && i < vq->num; n--) {
		r->desc[i].inflight = 0;
		i = LOAD(r->desc[i].next);
	}
	r->used_idx = vq->last_used_idx;
}

static unsigned int split_collect(const struct split_region *r,
				  const struct virtq *vq, struct left *left)
{
	unsigned int n = 0;

	for (uint32_t i = 0; i < vq->num; i++)
		if (r->desc[i].inflight == 1)
			left[n++] = (struct left){ r->desc[i].counter,
						   (uint16_t)i, 1 };
	return n;
}

static void split_fresh(struct inflight *f, const struct virtq *vq)
{
	struct split_region *r = split(f);

	memset(r->desc, 0, vq->num * sizeof(r->desc[0]));
	r->features = 0;
	r->desc_num = f->num;
	r->last_batch_head = 0;
	r->used_idx = vq->last_used_idx;
	STORE(r->version, VERSION);
}

static int split_take_over(struct inflight *f, struct virtq *vq,
			   struct left *left)
{
	struct split_region *r = split(f);
	unsigned int n;

	if (r->version != VERSION)
		return 0;
	split_finish_batch(r, vq);
	n = split_collect(r, vq, left);
	if (!n)
		return 0;
	/* Chains are taken in order, so these are the ones behind the last
	 * that was used, whatever base the frontend made up. */
	vq->last_avail_idx = vq->avail_idx = (uint16_t)(vq->last_used_idx + n);
	return give_back(vq, left, n, r);
}

/* Was the first descriptor of the last batch stored? */
static bool packed_was_used(const struct virtq *vq, uint16_t at, bool wrap)
{
	const struct vring_packed_desc *ring =
		(const struct vring_packed_desc *)vq->desc.ptr;
	const uint16_t avail = BIT(VRING_PACKED_DESC_F_AVAIL);
	const uint16_t used = BIT(VRING_PACKED_DESC_F_USED);
	uint16_t flags = le16toh(ring[at].flags);

	return (flags & (avail | used)) != (wrap ? avail : used);
}

/* Where the predecessor was in the ring, as vhost has it; -EINVAL */
static int packed_finish_batch(struct packed_region *r, const struct virtq *vq)
{
	uint16_t old = LOAD(r->old_used_idx), new = LOAD(r->used_idx);
	uint16_t i = LOAD(r->old_free_head);
	bool wrap = LOAD(r->old_used_wrap);

	if (old >= vq->num || new >= vq->num)
		return -EINVAL;
	/* The same place a lap on is another place. */
	if ((new != old || LOAD(r->used_wrap) != wrap) &&
	    packed_was_used(vq, old, wrap)) {
		i = LOAD(r->free_head);
		old = new;
		wrap = LOAD(r->used_wrap);
	}
	for (uint32_t n = 0; n < vq->num && i < vq->num; n++) {
		r->desc[i].inflight = 0;
		i = LOAD(r->desc[i].next);
	}
	return old | (wrap ? (int)WRAP : 0);
}

static unsigned int packed_collect(const struct packed_region *r,
				   const struct virtq *vq, struct left *left)
{
	uint32_t room = vq->num;
	unsigned int n = 0;

	for (uint32_t i = 0; i < vq->num; i++) {
		uint16_t ndescs = LOAD(r->desc[i].num);

		if (r->desc[i].inflight != 1 || !ndescs || ndescs > room)
			continue;
		room -= ndescs;
		left[n++] = (struct left){ r->desc[i].counter, r->desc[i].id,
					   ndescs };
	}
	return n;
}

static void packed_fresh(struct inflight *f, const struct virtq *vq)
{
	struct packed_region *r = packed(f);

	memset(r->desc, 0, vq->num * sizeof(r->desc[0]));
	for (uint32_t i = 0; i < vq->num; i++)
		r->desc[i].next = (uint16_t)(i + 1);
	r->features = 0;
	r->desc_num = f->num;
	r->free_head = r->old_free_head = 0;
	r->used_idx = r->old_used_idx = vq->last_used_idx & (WRAP - 1);
	r->used_wrap = r->old_used_wrap = !!(vq->last_used_idx & WRAP);
	STORE(r->version, VERSION);
}

static int packed_take_over(struct inflight *f, struct virtq *vq,
			    struct left *left)
{
	struct packed_region *r = packed(f);
	int at, ret;

	/* The copied mode has no use for this, and no ring to look at. */
	if (r->version != VERSION || vq->desc.ptr == vq->desc.shadow)
		return 0;
	at = packed_finish_batch(r, vq);
	if (at < 0)
		return 0;
	/* There is no index in the ring: only we know where we were. */
	vq->last_used_idx = (uint16_t)at;
	ret = give_back(vq, left, packed_collect(r, vq, left), NULL);
	vq->last_avail_idx = vq->avail_idx = vq->last_used_idx;
	return ret;
}

int inflight_start(struct inflight *f, struct virtq *vq)
{
	struct left *left;
	int ret;

	if (!f->ptr)
		return 0;
	if (f->num < vq->num)
		return -EINVAL;
	left = calloc(vq->num, sizeof(*left));
	if (!left)
		return -ENOMEM;
	ret = vq->packed ? packed_take_over(f, vq, left)
			 : split_take_over(f, vq, left);
	free(left);
	if (ret < 0)
		return ret;
	f->counter = 0;
	if (vq->packed)
		packed_fresh(f, vq);
	else
		split_fresh(f, vq);
	return 0;
}

/* ---- a batch, split ---- */

static void split_mark(struct inflight *f, const struct virtq_batch *b,
		       unsigned int n)
{
	struct split_region *r = split(f);

	for (unsigned int i = 0; i < n; i++) {
		struct split_desc *d = &r->desc[b->chain[i].id];

		d->counter = f->counter++;
		STORE(d->inflight, 1);
	}
}

static void split_using(struct inflight *f, const struct virtq_batch *b,
			unsigned int n)
{
	struct split_region *r = split(f);
	uint16_t head = LOAD(r->last_batch_head);

	for (unsigned int i = 0; i < n; i++) {
		r->desc[b->chain[i].id].next = head;
		head = b->chain[i].id;
	}
	STORE(r->last_batch_head, head);
}

static void split_used(struct inflight *f, const struct virtq *vq,
		       const struct virtq_batch *b, unsigned int n)
{
	struct split_region *r = split(f);

	for (unsigned int i = 0; i < n; i++)
		STORE(r->desc[b->chain[i].id].inflight, 0);
	STORE(r->used_idx, vq->last_used_idx);
}

/* ---- a batch, packed ---- */

/* Takes entries for a chain whose descriptors start at @slot; false if the
 * list of free ones is spoilt. */
static bool packed_take(struct packed_region *r, const struct virtq *vq,
			const struct chain *c, uint32_t *slot, uint16_t *entry)
{
	const volatile struct vring_packed_desc *ring =
		(const volatile struct vring_packed_desc *)vq->desc.ptr;
	uint16_t head = LOAD(r->free_head), at = head, last = head;

	for (unsigned int i = 0; i < c->ndescs; i++) {
		struct packed_desc *d = &r->desc[at];

		if (at >= vq->num)
			return false;
		d->addr = le64toh(ring[*slot].addr);
		d->len = le32toh(ring[*slot].len);
		d->flags = le16toh(ring[*slot].flags);
		d->id = c->id;
		last = at;
		at = LOAD(d->next);
		*slot = *slot + 1 == vq->num ? 0 : *slot + 1;
	}
	r->desc[head].num = c->ndescs;
	r->desc[head].last = last;
	r->free_head = at;
	*entry = head;
	return true;
}

static void packed_mark(struct inflight *f, const struct virtq *vq,
			const struct virtq_batch *b, unsigned int n)
{
	struct packed_region *r = packed(f);
	uint32_t slot = b->at & (WRAP - 1);

	for (unsigned int i = 0; i < n; i++) {
		struct packed_desc *d;

		if (!packed_take(r, vq, &b->chain[i], &slot, &f->entry[i])) {
			give_up(f, vq);
			return;
		}
		d = &r->desc[f->entry[i]];
		d->counter = f->counter++;
		STORE(d->inflight, 1);
		STORE(r->old_free_head, r->free_head);
	}
}

/* Gives the entries of chains @from...@to - 1 back to the free list. */
static bool packed_free(struct inflight *f, const struct virtq *vq,
			unsigned int from, unsigned int to)
{
	struct packed_region *r = packed(f);

	for (unsigned int i = from; i < to; i++) {
		uint16_t last = LOAD(r->desc[f->entry[i]].last);

		if (last >= vq->num)
			return false;
		r->desc[last].next = r->free_head;
		r->free_head = f->entry[i];
	}
	return true;
}

static void packed_using(struct inflight *f, const struct virtq *vq,
			 const struct virtq_batch *b, unsigned int n)
{
	struct packed_region *r = packed(f);
	uint32_t slot = vq->last_used_idx & (WRAP - 1);
	bool wrap = vq->last_used_idx & WRAP;

	if (!packed_free(f, vq, 0, n)) {
		give_up(f, vq);
		return;
	}
	for (unsigned int i = 0; i < n; i++)
		slot += b->chain[i].ndescs;
	if (slot >= vq->num) {
		slot -= vq->num;
		wrap = !wrap;
	}
	r->used_wrap = wrap;
	STORE(r->used_idx, (uint16_t)slot);
}

static void packed_used(struct inflight *f, const struct virtq *vq,
			unsigned int used, unsigned int n)
{
	struct packed_region *r = packed(f);

	if (!packed_free(f, vq, used, n)) {
		give_up(f, vq);
		return;
	}
	for (unsigned int i = 0; i < n; i++)
		STORE(r->desc[f->entry[i]].inflight, 0);
	r->used_idx = vq->last_used_idx & (WRAP - 1);
	r->used_wrap = !!(vq->last_used_idx & WRAP);
	r->old_used_wrap = r->used_wrap;
	r->old_free_head = r->free_head;
	STORE(r->old_used_idx, r->used_idx);
}

/* ---- a batch ---- */

void inflight_mark(struct inflight *f, const struct virtq *vq,
		   const struct virtq_batch *b, unsigned int n)
{
	f->nusing = 0;
	if (vq->packed)
		packed_mark(f, vq, b, n);
	else
		split_mark(f, b, n);
}

void inflight_using(struct inflight *f, const struct virtq *vq,
		    const struct virtq_batch *b, unsigned int n)
{
	f->nusing = n;
	if (vq->packed)
		packed_using(f, vq, b, n);
	else
		split_using(f, b, n);
}

void inflight_used(struct inflight *f, const struct virtq *vq,
		   const struct virtq_batch *b, unsigned int n)
{
	if (vq->packed)
		packed_used(f, vq, f->nusing, n);
	else
		split_used(f, vq, b, n);
	f->nusing = 0;
}
