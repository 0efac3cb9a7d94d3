/* SPDX-License-Identifier: BSD-3-Clause */
#include "ring.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>

#define NO_DESC 0xffff

static uint16_t v16(const struct vmm_ring *r, uint16_t v)
{
	return r->legacy ? v : htole16(v);
}

static uint32_t v32(const struct vmm_ring *r, uint32_t v)
{
	return r->legacy ? v : htole32(v);
}

static uint64_t v64(const struct vmm_ring *r, uint64_t v)
{
	return r->legacy ? v : htole64(v);
}

static uint16_t load16(const struct vmm_ring *r, const uint16_t *p)
{
	return v16(r, __atomic_load_n(p, __ATOMIC_ACQUIRE));
}

static void store16(const struct vmm_ring *r, uint16_t *p, uint16_t v)
{
	__atomic_store_n(p, v16(r, v), __ATOMIC_RELEASE);
}

static size_t used_offset(unsigned int num)
{
	/* avail: flags, idx, ring, used_event; used is aligned to 4 */
	return 16 * (size_t)num + (6 + 2 * (size_t)num + 3) / 4 * 4;
}

size_t vmm_ring_bytes(unsigned int num)
{
	return used_offset(num) + 6 + 8 * (size_t)num;
}

static uint16_t *used_event(const struct vmm_ring *r)
{
	return &r->avail->ring[r->num];
}

static const uint16_t *avail_event(const struct vmm_ring *r)
{
	return (const uint16_t *)(const void *)&r->used->ring[r->num];
}

int vmm_ring_init(struct vmm_ring *r, void *mem, unsigned int num,
		  uint64_t features)
{
	uint8_t *p = mem;

	bool packed = features >> VIRTIO_F_RING_PACKED & 1;

	if (!num || num > 32768 || (!packed && (num & (num - 1))))
		return -EINVAL;

	*r = (struct vmm_ring){
		.num = num,
		.legacy = !(features >> VIRTIO_F_VERSION_1 & 1),
		.event_idx = features >> VIRTIO_RING_F_EVENT_IDX & 1,
		.packed = packed,
		.in_order = features >> VIRTIO_F_IN_ORDER & 1,
		.desc = (struct vring_desc *)(void *)p,
		.avail = (struct vring_avail *)(void *)(p + 16 * (size_t)num),
		.used = (struct vring_used *)(void *)(p + used_offset(num)),
	};
	r->next = calloc(num, sizeof(*r->next));
	r->count = calloc(num, sizeof(*r->count));
	r->token = calloc(num, sizeof(*r->token));
	r->out = calloc(num, sizeof(*r->out));
	if (!r->next || !r->count || !r->token || !r->out) {
		vmm_ring_free(r);
		return -ENOMEM;
	}
	vmm_ring_reset(r, 0);
	return 0;
}

void vmm_ring_free(struct vmm_ring *r)
{
	free(r->next);
	free(r->count);
	free(r->token);
	free(r->out);
	*r = (struct vmm_ring){ 0 };
}

void vmm_ring_reset(struct vmm_ring *r, uint16_t idx)
{
	unsigned int i;

	memset(r->desc, 0, vmm_ring_bytes(r->num));
	for (i = 0; i < r->num; i++) {
		r->next[i] = i + 1 < r->num ? i + 1 : NO_DESC;
		r->count[i] = 0;
	}
	r->free_head = 0;
	r->num_free = r->num;
	r->nout = 0;
	r->batch = -1;
	if (r->packed) {
		packed_reset(r, idx);
		return;
	}
	r->avail_idx = r->published = r->used_idx = idx;
	r->used->idx = v16(r, idx);
	store16(r, &r->avail->idx, idx);
}

void vmm_ring_set_desc(struct vmm_ring *r, struct vring_desc *d, uint64_t addr,
		       uint32_t len, uint16_t flags, uint16_t next)
{
	d->addr = v64(r, addr);
	d->len = v32(r, len);
	d->flags = v16(r, flags);
	d->next = v16(r, next);
}

void vmm_ring_add_raw(struct vmm_ring *r, uint16_t head)
{
	r->avail->ring[r->avail_idx & (r->num - 1)] = v16(r, head);
	r->avail_idx++;
}

uint32_t vmm_ring_base(const struct vmm_ring *r)
{
	return r->packed ? (uint32_t)r->avail_idx << 16 | r->avail_idx
			 : r->avail_idx;
}

uint16_t vmm_ring_step(const struct vmm_ring *r, uint16_t idx, unsigned int n)
{
	unsigned int slot = (idx & 0x7fff) + n;

	if (!r->packed)
		return (uint16_t)(idx + n);
	if (slot < r->num)
		return (uint16_t)(idx + n);
	return (uint16_t)((slot - r->num) | (~idx & 0x8000));
}

/* The chain @head of @n descriptors goes to the device. */
static void lend(struct vmm_ring *r, uint16_t head, unsigned int n, void *token)
{
	r->num_free -= n;
	r->count[head] = (uint16_t)n;
	r->token[head] = token;
	if (r->in_order)
		r->out[(r->out_first + r->nout) % r->num] = head;
	r->nout++;
}

static uint16_t seg_flags(const struct vmm_seg *seg, bool last)
{
	return (seg->write ? VRING_DESC_F_WRITE : 0) |
	       (last ? 0 : VRING_DESC_F_NEXT);
}

int vmm_ring_add(struct vmm_ring *r, const struct vmm_seg *seg, unsigned int n,
		 void *token)
{
	uint16_t head = r->free_head;
	uint16_t i = head;
	unsigned int k;

	if (!n || n > r->num_free)
		return -ENOSPC;

	if (r->packed) {
		/* The id is the slot, as DPDK has it: free in any order of
		 * completion as long as the ring is no longer than its ids. */
		head = r->free_head;
		r->free_head = r->next[head];
		for (k = 0; k < n; k++)
			vmm_ring_put(r, seg[k].addr, seg[k].len,
				     seg_flags(&seg[k], k == n - 1), head);
		lend(r, head, n, token);
		return head;
	}
	for (k = 0; k < n; k++) {
		bool last = k == n - 1;

		vmm_ring_set_desc(r, &r->desc[i], seg[k].addr, seg[k].len,
				  seg_flags(&seg[k], last),
				  last ? 0 : r->next[i]);
		if (!last)
			i = r->next[i];
	}
	r->free_head = r->next[i];
	lend(r, head, n, token);
	vmm_ring_add_raw(r, head);
	return head;
}

static void fill_packed_table(struct vmm_ring *r, const struct vmm_seg *seg,
			      unsigned int n, struct vring_desc *table)
{
	struct vring_packed_desc *t = (struct vring_packed_desc *)(void *)table;

	for (unsigned int k = 0; k < n; k++)
		t[k] = (struct vring_packed_desc){
			.addr = v64(r, seg[k].addr),
			.len = v32(r, seg[k].len),
			.flags = v16(r, seg[k].write ? VRING_DESC_F_WRITE : 0),
		};
}

int vmm_ring_add_indirect(struct vmm_ring *r, const struct vmm_seg *seg,
			  unsigned int n, struct vring_desc *table,
			  uint64_t table_addr, void *token)
{
	uint16_t head = r->free_head;
	unsigned int k;

	if (!r->num_free)
		return -ENOSPC;

	r->free_head = r->next[head];
	if (r->packed) {
		fill_packed_table(r, seg, n, table);
		vmm_ring_put(r, table_addr, n * (uint32_t)sizeof(*table),
			     VRING_DESC_F_INDIRECT, head);
		lend(r, head, 1, token);
		return head;
	}
	for (k = 0; k < n; k++)
		vmm_ring_set_desc(r, &table[k], seg[k].addr, seg[k].len,
				  seg_flags(&seg[k], k == n - 1),
				  (uint16_t)(k + 1));
	vmm_ring_set_desc(r, &r->desc[head], table_addr,
			  n * (uint32_t)sizeof(*table), VRING_DESC_F_INDIRECT,
			  0);
	lend(r, head, 1, token);
	vmm_ring_add_raw(r, head);
	return head;
}

bool vmm_ring_publish(struct vmm_ring *r)
{
	uint16_t old = r->published;

	/* Entries and buffers before the index (virtio 1.2 §2.7.13.3.1), or
	 * before the flags of the first (§2.8.21.1). */
	if (!r->packed)
		store16(r, &r->avail->idx, r->avail_idx);
	else if (old != r->avail_idx)
		packed_show(r);
	r->published = r->avail_idx;
	if (old == r->published)
		return false;

	/* Pairs with the device's barrier between enabling notifications and
	 * looking at the index again. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (r->packed)
		return packed_wants_kick(r, old);
	if (r->event_idx)
		return vring_need_event(vmm_ring_avail_event(r), r->published,
					old);
	return !(vmm_ring_used_flags(r) & VRING_USED_F_NO_NOTIFY);
}

uint16_t vmm_ring_used_idx(const struct vmm_ring *r)
{
	return load16(r, &r->used->idx);
}

uint16_t vmm_ring_used_flags(const struct vmm_ring *r)
{
	return load16(r, r->packed ? &r->used->idx : &r->used->flags);
}

uint16_t vmm_ring_avail_event(const struct vmm_ring *r)
{
	return load16(r, r->packed ? &r->used->flags : avail_event(r));
}

/* Where reaping is, to look ahead without doing it. */
struct reaper {
	uint16_t idx;
	unsigned int gone; /* chains */
	int batch;
	uint32_t batch_len;
};

/* A used element for the oldest chains (in order), or for the one it names. */
static bool look_used(const struct vmm_ring *r, uint16_t idx, uint32_t *id,
		      uint32_t *len)
{
	const struct vring_used_elem *e;
	uint16_t packed_id;

	if (r->packed) {
		if (!packed_used(r, idx, &packed_id, len))
			return false;
		*id = packed_id;
		return true;
	}
	if (idx == vmm_ring_used_idx(r))
		return false;
	e = &r->used->ring[idx & (r->num - 1)];
	*id = v32(r, e->id);
	*len = v32(r, e->len);
	return true;
}

/* The next completion: 1, 0 if there is none, -EPROTO. */
static int next_used(const struct vmm_ring *r, struct reaper *at,
		     struct vmm_used *out)
{
	uint32_t id, len = at->batch_len;

	if (at->gone == r->nout && at->batch < 0 && r->packed)
		return 0; /* what is there is of the lap before */
	if (at->batch < 0) {
		if (!look_used(r, at->idx, &id, &len))
			return 0;
		if (id >= r->num || !r->count[id])
			return -EPROTO;
		if (r->in_order) {
			at->batch = (int)id;
			at->batch_len = len;
		}
	}
	if (at->batch >= 0) {
		if (at->gone == r->nout)
			return -EPROTO;
		id = r->out[(r->out_first + at->gone) % r->num];
		if (id != (uint32_t)at->batch)
			len = 0; /* the length is the last one's */
		else
			at->batch = -1;
	}
	at->gone++;
	at->idx = vmm_ring_step(r, at->idx, r->packed ? r->count[id] : 1);
	*out = (struct vmm_used){ (uint16_t)id, len, r->token[id] };
	return 1;
}

static struct reaper reaper(const struct vmm_ring *r)
{
	return (struct reaper){ r->used_idx, 0, r->batch, r->batch_len };
}

unsigned int vmm_ring_pending(const struct vmm_ring *r)
{
	struct reaper at = reaper(r);
	struct vmm_used used;
	unsigned int n = 0;

	if (!r->packed)
		return (uint16_t)(vmm_ring_used_idx(r) - r->used_idx);
	while (next_used(r, &at, &used))
		if (++n > r->num)
			break;
	return n;
}

/* Takes @head off the list of those with the device, which there is only for
 * use in order. */
static void take_back(struct vmm_ring *r, uint16_t head)
{
	unsigned int k = 0;

	if (!r->in_order) {
		r->nout--;
		return;
	}
	while (k < r->nout && r->out[(r->out_first + k) % r->num] != head)
		k++;
	if (k == r->nout)
		return;
	for (; k; k--)
		r->out[(r->out_first + k) % r->num] =
			r->out[(r->out_first + k - 1) % r->num];
	r->out_first = (r->out_first + 1) % r->num;
	r->nout--;
}

void vmm_ring_drop(struct vmm_ring *r, uint16_t head)
{
	unsigned int n = r->count[head];
	uint16_t tail = head;
	unsigned int k;

	if (!n)
		return;
	take_back(r, head);
	for (k = 1; k < n && !r->packed; k++)
		tail = r->next[tail];
	r->next[tail] = r->free_head;
	r->free_head = head;
	r->num_free += n;
	r->count[head] = 0;
}

/* The usual case, without the cost of the general one: for benches. */
static int reap_split(struct vmm_ring *r, struct vmm_used *out, unsigned int n)
{
	unsigned int pending = vmm_ring_pending(r);
	unsigned int k;

	if (n > pending)
		n = pending;
	for (k = 0; k < n; k++) {
		const struct vring_used_elem *e =
			&r->used->ring[r->used_idx & (r->num - 1)];
		uint32_t id = v32(r, e->id);

		if (id >= r->num || !r->count[id])
			return -EPROTO;
		out[k] = (struct vmm_used){
			.head = (uint16_t)id,
			.len = v32(r, e->len),
			.token = r->token[id],
		};
		vmm_ring_drop(r, (uint16_t)id);
		r->used_idx++;
	}
	return (int)n;
}

int vmm_ring_reap(struct vmm_ring *r, struct vmm_used *out, unsigned int n)
{
	unsigned int k;

	if (!r->packed && !r->in_order)
		return reap_split(r, out, n);
	for (k = 0; k < n; k++) {
		struct reaper at = reaper(r);
		int ret = next_used(r, &at, &out[k]);

		if (ret < 0)
			return ret;
		if (!ret)
			break;
		r->used_idx = at.idx;
		r->batch = at.batch;
		r->batch_len = at.batch_len;
		vmm_ring_drop(r, out[k].head);
	}
	return (int)k;
}

void vmm_ring_call_at(struct vmm_ring *r, uint16_t idx)
{
	if (r->packed)
		packed_call(r, VRING_PACKED_EVENT_FLAG_DESC, idx);
	else
		store16(r, used_event(r), idx);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void vmm_ring_calls_off(struct vmm_ring *r)
{
	if (r->packed)
		packed_call(r, VRING_PACKED_EVENT_FLAG_DISABLE, 0);
	else if (r->event_idx)
		/* as far away as it can be */
		vmm_ring_call_at(r, (uint16_t)(r->used_idx - 1));
	else
		store16(r, &r->avail->flags, VRING_AVAIL_F_NO_INTERRUPT);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

bool vmm_ring_calls_on(struct vmm_ring *r)
{
	if (r->event_idx)
		vmm_ring_call_at(r, r->used_idx);
	else if (r->packed)
		packed_call(r, VRING_PACKED_EVENT_FLAG_ENABLE, 0);
	else
		store16(r, &r->avail->flags, 0);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return vmm_ring_pending(r) != 0;
}
