/* SPDX-License-Identifier: BSD-3-Clause */
/* inflight.c records the in-flight descriptors of a ring in shared memory, for
 * the process that comes after this one. */
#include "inflight.h"
#include "virtq_priv.h"

#include <stdlib.h>
#include <string.h>

#define ALIGN 64
#define VERSION 1

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

/* Used off_wrap, new and old: written by one store. */
union packed_used {
	struct {
		uint16_t idx, old_idx;
		uint8_t wrap, old_wrap;
		uint8_t padding[2];
	};
	uint64_t all;
};

struct packed_region {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t free_head, old_free_head;
	union packed_used used;
	uint8_t padding[5];
	struct packed_desc desc[];
};

/*
 * A split ring in memory of our own: one store. Chains are used in the order in
 * which they are available, so numbers say which they are.
 *   used    used index, before the chains that are marked
 *   marked  chains behind that may have been sent
 *   ahead   available index of the first of them, minus @used: chains that were
 *           skipped, or the VMM has set a base so
 */
union cursor {
	struct {
		uint16_t used, marked, ahead, version;
	};
	uint64_t all;
};

/* inflight_forget() */
_Static_assert(offsetof(union cursor, version) < 16 &&
		       offsetof(struct split_region, version) < 16 &&
		       offsetof(struct packed_region, version) < 16,
	       "in the first two words");
_Static_assert(sizeof(struct split_desc) == 16, "as in the specification");
_Static_assert(sizeof(struct split_region) == 16, "as in the specification");
_Static_assert(sizeof(struct packed_desc) == 32, "as in the specification");
_Static_assert(sizeof(struct packed_region) == 32, "as in the specification");
_Static_assert(offsetof(struct packed_region, used) == 16, "one aligned word");

/* The record is read after this process has died: stores must reach memory in
 * order, and only the compiler could reorder them. */
#define STORE(lvalue, value) \
	__atomic_store_n(&(lvalue), value, __ATOMIC_RELEASE)
/* Reads once: the frontend may change the value at any time. */
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

static void stop_tracking(struct inflight *f, const struct virtq *vq)
{
	log_limited(vq->limit, &vq->tag, LOG_LEVEL_WARNING,
		    "the record of in-flight descriptors is inconsistent and "
		    "is not used any more");
	f->ptr = NULL;
}

/* ---- split: marks of a push ---- */

/* Puts a chain at the head of the batch list. */
static void split_link(struct split_region *r, uint16_t id)
{
	STORE(r->desc[id].next, LOAD(r->last_batch_head));
	STORE(r->last_batch_head, id);
}

/* ---- packed: marks of a push ---- */

/* The free list and the used off_wrap are written while the old ones are kept.
 * The store of the first used descriptor decides which count: before it the old
 * ones, after it the new ones. packed_commit() then makes the new ones the old
 * ones too. */

static void packed_set_used(struct packed_region *r, uint16_t off_wrap,
			    uint16_t old)
{
	union packed_used u = { .idx = slot_of(off_wrap),
				.old_idx = slot_of(old),
				.wrap = !!(off_wrap & WRAP),
				.old_wrap = !!(old & WRAP) };

	STORE(r->used.all, u.all);
}

/* Puts chains on the new free list; false if their entries are invalid. */
static bool packed_free(struct packed_region *r, const struct virtq *vq,
			const uint16_t *entry, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		uint16_t last = LOAD(r->desc[entry[i]].last);

		if (last >= vq->num)
			return false;
		STORE(r->desc[last].next, LOAD(r->free_head));
		STORE(r->free_head, entry[i]);
	}
	return true;
}

static void packed_unmark(struct packed_region *r, const uint16_t *entry,
			  unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		STORE(r->desc[entry[i]].inflight, 0);
}

/* Called after the used descriptors are in the ring. */
static void packed_commit(struct packed_region *r, uint16_t off_wrap)
{
	STORE(r->old_free_head, LOAD(r->free_head));
	packed_set_used(r, off_wrap, off_wrap);
}

/* ---- taking over from the process before ---- */

/* A chain that is marked and was not pushed; @entry: packed: its first entry */
struct unfinished {
	uint64_t counter;
	uint16_t id, ndescs, entry;
};

static int by_counter(const void *a, const void *b)
{
	const struct unfinished *la = a, *lb = b;

	return (la->counter > lb->counter) - (la->counter < lb->counter);
}

static void mark_before_push(struct inflight *f, const struct virtq *vq,
			     const struct unfinished *left, unsigned int n)
{
	uint16_t off_wrap = vq->last_used_idx, next = off_wrap;

	for (unsigned int i = 0; i < n; i++) {
		if (!vq->packed) {
			split_link(split(f), left[i].id);
			continue;
		}
		/* Inconsistent entries come from the frontend, which may
		 * get a chain twice then if this process dies. */
		packed_free(packed(f), vq, &left[i].entry, 1);
		next = advance(vq, next, left[i].ndescs);
	}
	if (vq->packed)
		packed_set_used(packed(f), next, off_wrap);
}

static void unmark_after_push(struct inflight *f, const struct virtq *vq,
			      const struct unfinished *left, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (vq->packed)
			packed_unmark(packed(f), &left[i].entry, 1);
		else
			STORE(split(f)->desc[left[i].id].inflight, 0);
	if (vq->packed)
		packed_commit(packed(f), vq->last_used_idx);
	else
		STORE(split(f)->used_idx, vq->last_used_idx);
}

/*
 * Pushes all unfinished chains in one batch, with the marks of every other
 * push: this process may die here too. One batch, since in a packed ring all
 * used descriptors of an incomplete batch but the first may be stored already,
 * and the driver sees them as soon as it sees the first.
 */
static int push_unfinished(struct inflight *f, struct virtq *vq,
			   struct unfinished *left, unsigned int n)
{
	struct virtq_used *used;
	int ret = 0;

	if (n) {
		used = calloc(n, sizeof(*used));
		if (!used)
			return -ENOMEM;
		qsort(left, n, sizeof(*left), by_counter);
		for (unsigned int i = 0; i < n; i++)
			used[i] = (struct virtq_used){ 0, left[i].id,
						       left[i].ndescs, 1 };
		mark_before_push(f, vq, left, n);
		ret = virtq_push(vq, used, n);
		free(used);
		if (ret < 0)
			return ret;
		unmark_after_push(f, vq, left, n);
		log_limited(vq->limit, &vq->tag, LOG_LEVEL_INFO,
			    "%u chains were in flight: given back", n);
	}
	/* The predecessor may have died before it did. */
	virtq_signal(vq);
	return 0;
}

/* Used already, though the marks do not say so. */
static void split_finish_batch(struct split_region *r, const struct virtq *vq)
{
	uint16_t n = (uint16_t)(vq->last_used_idx - LOAD(r->used_idx));
	uint16_t i = LOAD(r->last_batch_head);

	for (; n && n <= vq->num && i < vq->num; n--) {
		STORE(r->desc[i].inflight, 0);
		i = LOAD(r->desc[i].next);
	}
	STORE(r->used_idx, vq->last_used_idx);
}

static unsigned int split_collect(const struct split_region *r,
				  const struct virtq *vq,
				  struct unfinished *left)
{
	unsigned int n = 0;

	for (uint32_t i = 0; i < vq->num; i++)
		if (r->desc[i].inflight == 1)
			left[n++] = (struct unfinished){ r->desc[i].counter,
							 (uint16_t)i, 1, 0 };
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
			   struct unfinished *left)
{
	struct split_region *r = split(f);
	unsigned int n;

	if (r->version != VERSION)
		return 0;
	split_finish_batch(r, vq);
	n = split_collect(r, vq, left);
	/* Chains are taken in order, so these are the ones behind the last
	 * that was used, whatever base the frontend made up. */
	if (n)
		vq->last_avail_idx = vq->avail_idx =
			(uint16_t)(vq->last_used_idx + n);
	return push_unfinished(f, vq, left, n);
}

/* Was a used descriptor stored at @off_wrap, where one was available? */
static bool packed_was_used(const struct virtq *vq, uint16_t off_wrap)
{
	const struct vring_packed_desc *ring =
		(const struct vring_packed_desc *)vq->desc.ptr;

	return !is_available(le16toh(LOAD(ring[slot_of(off_wrap)].flags)),
			     off_wrap);
}

/*
 * Completes or undoes the push that the process before had begun. Returns its
 * position in the ring as an off_wrap, or -EINVAL.
 */
static int packed_finish_batch(struct packed_region *r, const struct virtq *vq)
{
	union packed_used u = { .all = LOAD(r->used.all) };
	uint16_t off_wrap = u.idx | (u.wrap ? WRAP : 0), i;
	uint16_t old = u.old_idx | (u.old_wrap ? WRAP : 0);

	if (u.idx >= vq->num || u.old_idx >= vq->num)
		return -EINVAL;
	/* Equal slots of different laps are different off_wraps. */
	if (off_wrap != old && packed_was_used(vq, old)) {
		packed_commit(r, off_wrap);
	} else {
		STORE(r->free_head, LOAD(r->old_free_head));
		packed_set_used(r, old, old);
		off_wrap = old;
	}
	i = LOAD(r->free_head);
	for (uint32_t n = 0; n < vq->num && i < vq->num; n++) {
		STORE(r->desc[i].inflight, 0);
		i = LOAD(r->desc[i].next);
	}
	return off_wrap;
}

static unsigned int packed_collect(const struct packed_region *r,
				   const struct virtq *vq,
				   struct unfinished *left)
{
	uint32_t space = vq->num;
	unsigned int n = 0;

	for (uint32_t i = 0; i < vq->num; i++) {
		uint16_t ndescs = LOAD(r->desc[i].num);

		if (r->desc[i].inflight != 1 || !ndescs || ndescs > space)
			continue;
		space -= ndescs;
		left[n++] =
			(struct unfinished){ r->desc[i].counter, r->desc[i].id,
					     ndescs, (uint16_t)i };
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
	packed_set_used(r, vq->last_used_idx, vq->last_used_idx);
	STORE(r->version, VERSION);
}

static int packed_take_over(struct inflight *f, struct virtq *vq,
			    struct unfinished *left)
{
	struct packed_region *r = packed(f);
	int at, ret;

	if (r->version != VERSION)
		return 0;
	/* Of a ring that is not mapped, all that is looked at or written back.
	 */
	ret = virtq_shadow_read(vq, &vq->desc, 0,
				vq->num * sizeof(struct vring_packed_desc));
	if (ret < 0)
		return ret;
	at = packed_finish_batch(r, vq);
	if (at < 0)
		return 0;
	/* A packed ring has no index: only the record has the position. */
	vq->last_used_idx = (uint16_t)at;
	ret = push_unfinished(f, vq, left, packed_collect(r, vq, left));
	vq->last_avail_idx = vq->avail_idx = vq->last_used_idx;
	return ret;
}

/* ---- split, in memory of our own ---- */

static union cursor *cursor_of(const struct inflight *f)
{
	return (union cursor *)f->ptr;
}

static void cursor_set(struct inflight *f, uint16_t used, unsigned int marked,
		       uint16_t ahead)
{
	union cursor c = { .used = used,
			   .marked = (uint16_t)marked,
			   .ahead = ahead,
			   .version = VERSION };

	STORE(cursor_of(f)->all, c.all);
}

/* The chains that follow the used ones are used as well; at most @n. */
static int cursor_give_back(struct virtq *vq, unsigned int n)
{
	const struct vring_avail *avail = (struct vring_avail *)vq->avail.ptr;
	struct virtq_used *used = calloc(n, sizeof(*used));
	unsigned int i;
	int ret;

	if (!used)
		return -ENOMEM;
	ret = virtq_shadow_read(vq, &vq->avail, 0,
				AVAIL_HEAD + vq->num * sizeof(uint16_t));
	for (i = 0; i < n && ret == 0; i++) {
		uint16_t slot = (vq->last_avail_idx + i) & (vq->num - 1);
		uint16_t id = le16toh(LOAD(avail->ring[slot]));

		if (id >= vq->num)
			break;
		used[i] = (struct virtq_used){ 0, id, 1, 1 };
	}
	if (ret == 0 && i)
		ret = virtq_push(vq, used, i);
	free(used);
	if (ret < 0 || !i)
		return ret;
	vq->last_avail_idx = vq->avail_idx = (uint16_t)(vq->last_avail_idx + i);
	log_limited(vq->limit, &vq->tag, LOG_LEVEL_INFO,
		    "%u chains were in flight: given back", i);
	return 0;
}

/* Nothing is stored until the used index is: whoever comes after us finds what
 * we have found. */
static int cursor_take_over(struct inflight *f, struct virtq *vq)
{
	union cursor c = { .all = LOAD(cursor_of(f)->all) };
	uint16_t done = (uint16_t)(vq->last_used_idx - c.used);
	unsigned int left = 0;
	int ret;

	if (c.version != VERSION)
		return 0;
	if (done < c.marked && c.marked <= vq->num)
		left = c.marked - done;
	vq->last_avail_idx = vq->avail_idx =
		(uint16_t)(vq->last_used_idx + c.ahead);
	ret = left ? cursor_give_back(vq, left) : 0;
	if (ret == 0)
		virtq_signal(vq);
	return ret;
}

static int cursor_start(struct inflight *f, struct virtq *vq)
{
	int ret = cursor_take_over(f, vq);

	if (ret == 0)
		cursor_set(f, vq->last_used_idx, 0,
			   (uint16_t)(vq->last_avail_idx - vq->last_used_idx));
	return ret;
}

/* ---- start ---- */

bool inflight_has_place(const struct inflight *f, unsigned int num,
			bool is_packed)
{
	union packed_used u = { .all = LOAD(packed(f)->used.all) };
	union cursor c = { .all = LOAD(cursor_of(f)->all) };

	return is_packed ? packed(f)->version == VERSION && u.idx < num
			 : c.version == VERSION;
}

bool inflight_place(const struct inflight *f, struct virtq *vq, bool is_packed)
{
	union packed_used u = { .all = LOAD(packed(f)->used.all) };
	union cursor c = { .all = LOAD(cursor_of(f)->all) };

	if (!inflight_has_place(f, vq->num, is_packed))
		return false;
	if (is_packed)
		vq->last_avail_idx = vq->avail_idx = vq->last_used_idx =
			u.idx | (u.wrap ? WRAP : 0);
	else
		vq->last_avail_idx = vq->avail_idx =
			(uint16_t)(c.used + c.ahead + c.marked);
	return true;
}

/* All formats have their version within the first words. */
void inflight_forget(struct inflight *f)
{
	uint64_t *words = (uint64_t *)f->ptr;

	STORE(words[0], 0);
	STORE(words[1], 0);
}

int inflight_start(struct inflight *f, struct virtq *vq)
{
	struct unfinished *left;
	int ret;

	if (!f->ptr)
		return 0;
	if (f->own && !vq->packed)
		return cursor_start(f, vq);
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
	f->nusing = 0;
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
	for (unsigned int i = 0; i < n; i++)
		split_link(split(f), b->chain[i].id);
}

static void split_used(struct inflight *f, const struct virtq *vq,
		       const struct virtq_batch *b, unsigned int n)
{
	struct split_region *r = split(f);

	/* The last one first: if this process dies here, the next one pushes
	 * the unused chains that are still marked and continues after them. */
	while (n--)
		STORE(r->desc[b->chain[n].id].inflight, 0);
	STORE(r->used_idx, vq->last_used_idx);
}

/* ---- a batch, packed ---- */

/* Takes entries for a chain whose descriptors start at @slot; false if the free
 * list is invalid. */
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
	STORE(r->free_head, at);
	*entry = head;
	return true;
}

static void packed_mark(struct inflight *f, const struct virtq *vq,
			const struct virtq_batch *b, unsigned int n)
{
	struct packed_region *r = packed(f);
	uint32_t slot = slot_of(b->at);

	for (unsigned int i = 0; i < n; i++) {
		struct packed_desc *d;

		if (!packed_take(r, vq, &b->chain[i], &slot, &f->entry[i])) {
			stop_tracking(f, vq);
			return;
		}
		d = &r->desc[f->entry[i]];
		d->counter = f->counter++;
		STORE(d->inflight, 1);
		STORE(r->old_free_head, LOAD(r->free_head));
	}
}

static void packed_using(struct inflight *f, const struct virtq *vq,
			 const struct virtq_batch *b, unsigned int n)
{
	struct packed_region *r = packed(f);
	uint16_t off_wrap = vq->last_used_idx;
	uint32_t ndescs = 0;

	if (!packed_free(r, vq, f->entry, n)) {
		stop_tracking(f, vq);
		return;
	}
	for (unsigned int i = 0; i < n; i++)
		ndescs += b->chain[i].ndescs;
	packed_set_used(r, advance(vq, off_wrap, ndescs), off_wrap);
}

static void packed_used(struct inflight *f, const struct virtq *vq,
			unsigned int n)
{
	struct packed_region *r = packed(f);
	const uint16_t *unsent = f->entry + f->nusing;

	packed_unmark(r, f->entry, f->nusing);
	packed_commit(r, vq->last_used_idx);
	if (n <= f->nusing)
		return;
	/* The unsent chains become available again, all at once. */
	n -= f->nusing;
	if (!packed_free(r, vq, unsent, n)) {
		stop_tracking(f, vq);
		return;
	}
	STORE(r->old_free_head, LOAD(r->free_head));
	packed_unmark(r, unsent, n);
}

/* ---- a batch, split, in memory of our own ---- */

static void cursor_mark(struct inflight *f, const struct virtq *vq,
			const struct virtq_batch *b, unsigned int n)
{
	cursor_set(f, vq->last_used_idx, n,
		   (uint16_t)(b->at - vq->last_used_idx));
}

/* ---- a batch ---- */

void inflight_mark(struct inflight *f, const struct virtq *vq,
		   const struct virtq_batch *b, unsigned int n)
{
	f->nusing = 0;
	if (vq->packed)
		packed_mark(f, vq, b, n);
	else if (f->own)
		cursor_mark(f, vq, b, n);
	else
		split_mark(f, b, n);
}

void inflight_using(struct inflight *f, const struct virtq *vq,
		    const struct virtq_batch *b, unsigned int n)
{
	f->nusing = n;
	if (vq->packed)
		packed_using(f, vq, b, n);
	else if (f->own)
		cursor_mark(f, vq, b, n);
	else
		split_using(f, b, n);
}

void inflight_used(struct inflight *f, const struct virtq *vq,
		   const struct virtq_batch *b, unsigned int n)
{
	if (vq->packed)
		packed_used(f, vq, n);
	else if (f->own)
		cursor_set(f, vq->last_used_idx, 0,
			   (uint16_t)(vq->last_avail_idx - vq->last_used_idx));
	else
		split_used(f, vq, b, n);
	f->nusing = 0;
}
