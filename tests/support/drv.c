/* SPDX-License-Identifier: BSD-3-Clause */
#include "drv.h"

#include "check.h"

#include <endian.h>

#define EVENTS                                                         \
	64 /* bytes from a packed ring to the device's event structure \
	    */

static size_t desc_bytes(uint32_t num)
{
	return num * sizeof(struct vring_desc);
}

/* With the event word, to a whole number of cache lines. */
static size_t avail_bytes(uint32_t num)
{
	return (6 + num * sizeof(uint16_t) + 63) & ~(size_t)63;
}

static size_t used_bytes(uint32_t num)
{
	return 6 + num * sizeof(struct vring_used_elem);
}

void drv_init(struct drv *d, const struct arena *a, uint64_t off, uint32_t num,
	      bool packed)
{
	size_t used_off =
		desc_bytes(num) + (packed ? EVENTS : avail_bytes(num));
	size_t size = used_off + (packed ? EVENTS : used_bytes(num));
	uint8_t *at = a->base + off;

	assert_in_range(off + size, 0, ARENA_SIZE);
	memset(at, 0, size);
	*d = (struct drv){
		.packed = packed,
		.num = num,
		.stride = 1,
		.desc = (void *)at,
		.avail = (void *)(at + desc_bytes(num)),
		.used = (void *)(at + used_off),
	};
	d->next = d->reaped = drv_after(d, 0);
}

/* ---- both formats ---- */

struct vhost_vring_addr drv_addr(const struct drv *d, unsigned int index)
{
	return (struct vhost_vring_addr){
		.index = index,
		.desc_user_addr = (uintptr_t)d->desc,
		.avail_user_addr = (uintptr_t)d->avail,
		.used_user_addr = (uintptr_t)d->used,
	};
}

static uint16_t packed_step(const struct drv *d, uint16_t at)
{
	return (at & 0x7fff) + 1u < d->num ? at + 1u
					   : (at & DRV_WRAP) ^ DRV_WRAP;
}

/* Step by step, and unlike the device does it. */
uint16_t drv_step(const struct drv *d, uint16_t at, uint32_t n)
{
	if (!d->packed)
		return (uint16_t)(at + n);
	while (n--)
		at = packed_step(d, at);
	return at;
}

uint16_t drv_after(const struct drv *d, uint32_t n)
{
	return drv_step(d, d->packed ? DRV_WRAP : 0, n);
}

static uint16_t avail_flags(uint16_t at)
{
	return at & DRV_WRAP ? DRV_AVAIL : DRV_USED;
}

static uint16_t used_flags(uint16_t at)
{
	return at & DRV_WRAP ? DRV_AVAIL | DRV_USED : 0;
}

void drv_move(struct drv *d, uint16_t at)
{
	d->next = d->reaped = at;
	if (!d->packed) {
		d->avail->idx = d->used->idx = htole16(at);
		return;
	}
	/* What is ahead was used a lap ago. */
	for (uint32_t i = 0; i < d->num; i++, at = packed_step(d, at))
		d->pdesc[at & 0x7fff].flags =
			htole16(used_flags(at) ^ (DRV_AVAIL | DRV_USED));
}

void drv_offer(struct drv *d, uint16_t id, uint64_t addr, uint32_t len,
	       uint16_t flags)
{
	bool more = flags & VRING_DESC_F_NEXT;
	uint16_t slot;

	if (d->packed) {
		drv_set(d, d->next, addr, len, flags, id);
		d->next = packed_step(d, d->next);
		return;
	}
	slot = d->chaining ? d->slot : id;
	if (!d->chaining)
		d->head = id;
	d->slot = (slot + d->stride) & (d->num - 1);
	drv_desc(&d->desc[slot], addr, len, flags, more ? d->slot : 0);
	d->chaining = more;
	if (!more) {
		drv_add(d, d->head);
		drv_publish(d);
	}
}

void drv_rewrite(struct drv *d, uint16_t slot, uint64_t addr, uint32_t len,
		 uint16_t flags)
{
	struct vring_packed_desc *p = &d->pdesc[slot];

	if (!d->packed) {
		drv_desc(&d->desc[slot], addr, len, flags,
			 le16toh(d->desc[slot].next));
		return;
	}
	p->addr = htole64(addr);
	p->len = htole32(len);
	p->flags =
		htole16(flags | (le16toh(p->flags) & (DRV_AVAIL | DRV_USED)));
}

bool drv_pending(const struct drv *d)
{
	return d->packed ? drv_used_at(d, d->reaped)
			 : d->reaped != drv_used_idx(d);
}

struct vring_used_elem drv_reap(struct drv *d)
{
	return drv_reap_chain(d, 1);
}

struct vring_used_elem drv_reap_chain(struct drv *d, uint32_t n)
{
	const struct vring_used_elem *e =
		&d->used->ring[d->reaped & (d->num - 1)];
	const struct vring_packed_desc *p = &d->pdesc[d->reaped & 0x7fff];
	uint16_t flags;

	assert_true(drv_pending(d));
	d->reaped = drv_step(d, d->reaped, d->packed ? n : 1);
	if (!d->packed)
		return (struct vring_used_elem){ le32toh(e->id),
						 le32toh(e->len) };
	flags = le16toh(p->flags) & ~(DRV_AVAIL | DRV_USED);
	assert_int_equal(flags, p->len ? VRING_DESC_F_WRITE : 0);
	return (struct vring_used_elem){ le16toh(p->id), le32toh(p->len) };
}

void drv_signals(struct drv *d, bool on)
{
	if (d->packed)
		drv_want(d,
			 on ? VRING_PACKED_EVENT_FLAG_ENABLE
			    : VRING_PACKED_EVENT_FLAG_DISABLE,
			 0);
	else
		d->avail->flags = htole16(on ? 0 : VRING_AVAIL_F_NO_INTERRUPT);
}

void drv_signal_at(struct drv *d, uint16_t at)
{
	if (d->packed)
		drv_want(d, VRING_PACKED_EVENT_FLAG_DESC, at);
	else
		*drv_used_event(d) = htole16(at);
}

bool drv_kicks(const struct drv *d)
{
	if (d->packed)
		return drv_wanted(d) != VRING_PACKED_EVENT_FLAG_DISABLE;
	return !(le16toh(d->used->flags) & VRING_USED_F_NO_NOTIFY);
}

uint16_t drv_kick_at(const struct drv *d)
{
	if (!d->packed)
		return le16toh(*drv_avail_event(d));
	assert_int_equal(drv_wanted(d), VRING_PACKED_EVENT_FLAG_DESC);
	return le16toh(d->device->off_wrap);
}

/* ---- split rings ---- */

void drv_desc(struct vring_desc *d, uint64_t addr, uint32_t len, uint16_t flags,
	      uint16_t next)
{
	d->addr = htole64(addr);
	d->len = htole32(len);
	d->flags = htole16(flags);
	d->next = htole16(next);
}

void drv_add(struct drv *d, uint16_t head)
{
	d->avail->ring[d->next++ & (d->num - 1)] = htole16(head);
}

void drv_publish(struct drv *d)
{
	__atomic_store_n(&d->avail->idx, htole16(d->next), __ATOMIC_RELEASE);
}

uint16_t drv_used_idx(const struct drv *d)
{
	return le16toh(__atomic_load_n(&d->used->idx, __ATOMIC_ACQUIRE));
}

uint16_t *drv_used_event(struct drv *d)
{
	return &d->avail->ring[d->num];
}

uint16_t *drv_avail_event(const struct drv *d)
{
	return (uint16_t *)&d->used->ring[d->num];
}

/* ---- packed rings ---- */

void drv_set(struct drv *d, uint16_t at, uint64_t addr, uint32_t len,
	     uint16_t flags, uint16_t id)
{
	struct vring_packed_desc *p = &d->pdesc[at & 0x7fff];

	p->addr = htole64(addr);
	p->len = htole32(len);
	p->id = htole16(id);
	__atomic_store_n(&p->flags, htole16(flags | avail_flags(at)),
			 __ATOMIC_RELEASE);
}

bool drv_used_at(const struct drv *d, uint16_t at)
{
	uint16_t flags = le16toh(__atomic_load_n(&d->pdesc[at & 0x7fff].flags,
						 __ATOMIC_ACQUIRE));

	return (flags & (DRV_AVAIL | DRV_USED)) == used_flags(at);
}

void drv_want(struct drv *d, uint16_t flags, uint16_t at)
{
	d->driver->off_wrap = htole16(at);
	d->driver->flags = htole16(flags);
}

uint16_t drv_wanted(const struct drv *d)
{
	return le16toh(d->device->flags);
}
