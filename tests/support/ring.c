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

	if (!num || num > 32768 || (num & (num - 1)))
		return -EINVAL;

	*r = (struct vmm_ring){
		.num = num,
		.legacy = !(features >> VIRTIO_F_VERSION_1 & 1),
		.event_idx = features >> VIRTIO_RING_F_EVENT_IDX & 1,
		.desc = (struct vring_desc *)(void *)p,
		.avail = (struct vring_avail *)(void *)(p + 16 * (size_t)num),
		.used = (struct vring_used *)(void *)(p + used_offset(num)),
	};
	r->next = calloc(num, sizeof(*r->next));
	r->count = calloc(num, sizeof(*r->count));
	r->token = calloc(num, sizeof(*r->token));
	if (!r->next || !r->count || !r->token) {
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

	for (k = 0; k < n; k++) {
		bool last = k == n - 1;

		vmm_ring_set_desc(r, &r->desc[i], seg[k].addr, seg[k].len,
				  seg_flags(&seg[k], last),
				  last ? 0 : r->next[i]);
		if (!last)
			i = r->next[i];
	}
	r->free_head = r->next[i];
	r->num_free -= n;
	r->count[head] = (uint16_t)n;
	r->token[head] = token;
	vmm_ring_add_raw(r, head);
	return head;
}

int vmm_ring_add_indirect(struct vmm_ring *r, const struct vmm_seg *seg,
			  unsigned int n, struct vring_desc *table,
			  uint64_t table_addr, void *token)
{
	uint16_t head = r->free_head;
	unsigned int k;

	if (!r->num_free)
		return -ENOSPC;

	for (k = 0; k < n; k++)
		vmm_ring_set_desc(r, &table[k], seg[k].addr, seg[k].len,
				  seg_flags(&seg[k], k == n - 1),
				  (uint16_t)(k + 1));
	vmm_ring_set_desc(r, &r->desc[head], table_addr,
			  n * (uint32_t)sizeof(*table), VRING_DESC_F_INDIRECT,
			  0);
	r->free_head = r->next[head];
	r->num_free--;
	r->count[head] = 1;
	r->token[head] = token;
	vmm_ring_add_raw(r, head);
	return head;
}

bool vmm_ring_publish(struct vmm_ring *r)
{
	uint16_t old = r->published;

	/* Entries and buffers before the index (virtio 1.2 §2.7.13.3.1). */
	store16(r, &r->avail->idx, r->avail_idx);
	r->published = r->avail_idx;
	if (old == r->published)
		return false;

	/* Pairs with the device's barrier between enabling notifications and
	 * looking at the index again. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
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
	return load16(r, &r->used->flags);
}

uint16_t vmm_ring_avail_event(const struct vmm_ring *r)
{
	return load16(r, avail_event(r));
}

unsigned int vmm_ring_pending(const struct vmm_ring *r)
{
	return (uint16_t)(vmm_ring_used_idx(r) - r->used_idx);
}

void vmm_ring_drop(struct vmm_ring *r, uint16_t head)
{
	unsigned int n = r->count[head];
	uint16_t tail = head;
	unsigned int k;

	if (!n)
		return;
	for (k = 1; k < n; k++)
		tail = r->next[tail];
	r->next[tail] = r->free_head;
	r->free_head = head;
	r->num_free += n;
	r->count[head] = 0;
}

int vmm_ring_reap(struct vmm_ring *r, struct vmm_used *out, unsigned int n)
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

void vmm_ring_call_at(struct vmm_ring *r, uint16_t idx)
{
	store16(r, used_event(r), idx);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void vmm_ring_calls_off(struct vmm_ring *r)
{
	if (r->event_idx)
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
	else
		store16(r, &r->avail->flags, 0);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return vmm_ring_pending(r) != 0;
}
