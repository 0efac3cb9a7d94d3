/* SPDX-License-Identifier: BSD-3-Clause */
#include "pdrv.h"

#include "check.h"

#include <endian.h>

#define EVENTS 64 /* bytes from the ring's end to the device's structure */

void pdrv_init(struct pdrv *d, const struct arena *a, uint64_t off,
	       uint32_t num)
{
	size_t size = num * sizeof(struct vring_packed_desc);
	uint8_t *at = a->base + off;

	assert_in_range(off + size + 2 * EVENTS, 0, ARENA_SIZE);
	memset(at, 0, size + 2 * EVENTS);
	*d = (struct pdrv){
		.num = num,
		.desc = (void *)at,
		.driver = (void *)(at + size),
		.device = (void *)(at + size + EVENTS),
		.next = PDRV_WRAP,
		.reaped = PDRV_WRAP,
	};
}

struct vhost_vring_addr pdrv_addr(const struct pdrv *d, unsigned int index)
{
	return (struct vhost_vring_addr){
		.index = index,
		.desc_user_addr = (uintptr_t)d->desc,
		.avail_user_addr = (uintptr_t)d->driver,
		.used_user_addr = (uintptr_t)d->device,
	};
}

static uint16_t avail_flags(uint16_t place)
{
	return place & PDRV_WRAP ? PDRV_AVAIL : PDRV_USED;
}

static uint16_t used_flags(uint16_t place)
{
	return place & PDRV_WRAP ? PDRV_AVAIL | PDRV_USED : 0;
}

void pdrv_move(struct pdrv *d, uint16_t place)
{
	uint16_t at = place;

	/* What is ahead was used a lap ago. */
	for (uint32_t i = 0; i < d->num; i++, at = pdrv_step(d, at, 1))
		d->desc[at & 0x7fff].flags =
			htole16(used_flags(at) ^ (PDRV_AVAIL | PDRV_USED));
	d->next = d->reaped = place;
}

/* Step by step, and unlike the device does it. */
uint16_t pdrv_step(const struct pdrv *d, uint16_t place, uint32_t n)
{
	while (n--)
		place = (place & 0x7fff) + 1u < d->num
				? place + 1u
				: (place & PDRV_WRAP) ^ PDRV_WRAP;
	return place;
}

void pdrv_set(struct pdrv *d, uint16_t place, uint64_t addr, uint32_t len,
	      uint16_t flags, uint16_t id)
{
	struct vring_packed_desc *p = &d->desc[place & 0x7fff];

	p->addr = htole64(addr);
	p->len = htole32(len);
	p->id = htole16(id);
	__atomic_store_n(&p->flags, htole16(flags | avail_flags(place)),
			 __ATOMIC_RELEASE);
}

void pdrv_add(struct pdrv *d, uint64_t addr, uint32_t len, uint16_t flags,
	      uint16_t id)
{
	pdrv_set(d, d->next, addr, len, flags, id);
	d->next = pdrv_step(d, d->next, 1);
}

bool pdrv_used_at(const struct pdrv *d, uint16_t place)
{
	uint16_t flags = le16toh(__atomic_load_n(&d->desc[place & 0x7fff].flags,
						 __ATOMIC_ACQUIRE));

	return (flags & (PDRV_AVAIL | PDRV_USED)) == used_flags(place);
}

struct pdrv_used pdrv_reap(struct pdrv *d, uint32_t n)
{
	const struct vring_packed_desc *p = &d->desc[d->reaped & 0x7fff];

	assert_true(pdrv_used_at(d, d->reaped));
	d->reaped = pdrv_step(d, d->reaped, n);
	return (struct pdrv_used){
		.id = le16toh(p->id),
		.flags = le16toh(p->flags) & ~(PDRV_AVAIL | PDRV_USED),
		.len = le32toh(p->len),
	};
}

void pdrv_want(struct pdrv *d, uint16_t flags, uint16_t place)
{
	d->driver->off_wrap = htole16(place);
	d->driver->flags = htole16(flags);
}

uint16_t pdrv_wanted(const struct pdrv *d)
{
	return le16toh(d->device->flags);
}

uint16_t pdrv_wanted_at(const struct pdrv *d)
{
	return le16toh(d->device->off_wrap);
}
