/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ring_packed.c has the part of ring.c that is different in packed rings:
 * descriptors and event structures.
 */
#include "ring.h"

#include <endian.h>
#include <string.h>

#define WRAP 0x8000u
#define F_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define F_USED (1u << VRING_PACKED_DESC_F_USED)

static struct vring_packed_desc *desc_at(const struct vmm_ring *r,
					 uint16_t place)
{
	struct vring_packed_desc *desc = (void *)r->desc;

	return &desc[place & (WRAP - 1)];
}

void packed_reset(struct vmm_ring *r, uint16_t slot)
{
	uint16_t place = (uint16_t)(slot % r->num) | WRAP;

	/* the slots before count as used in this lap, for those behind 0 is
	 * what they were a lap ago */
	for (uint16_t i = 0; i < slot % r->num; i++)
		desc_at(r, i)->flags = htole16(F_AVAIL | F_USED);
	r->avail_idx = r->published = r->used_idx = place;
}

void vmm_ring_put(struct vmm_ring *r, uint64_t addr, uint32_t len,
		  uint16_t flags, uint16_t id)
{
	struct vring_packed_desc *d = desc_at(r, r->avail_idx);

	flags |= r->avail_idx & WRAP ? F_AVAIL : F_USED;
	d->addr = htole64(addr);
	d->len = htole32(len);
	d->id = htole16(id);
	if (r->avail_idx == r->published) {
		/* the first one is shown last */
		r->held = r->avail_idx;
		r->held_flags = flags;
	} else {
		d->flags = htole16(flags);
	}
	r->avail_idx = vmm_ring_step(r, r->avail_idx, 1);
}

void packed_show(struct vmm_ring *r)
{
	__atomic_store_n(&desc_at(r, r->held)->flags, htole16(r->held_flags),
			 __ATOMIC_RELEASE);
}

static unsigned int distance(const struct vmm_ring *r, uint16_t from,
			     uint16_t to)
{
	unsigned int a = (from & 0x7fffu) + (from & WRAP ? r->num : 0);
	unsigned int b = (to & 0x7fffu) + (to & WRAP ? r->num : 0);

	return (b + 2 * r->num - a) % (2 * r->num);
}

bool packed_wants_kick(const struct vmm_ring *r, uint16_t old)
{
	uint16_t flags = vmm_ring_used_flags(r);

	if (flags != VRING_PACKED_EVENT_FLAG_DESC)
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	return distance(r, old, vmm_ring_avail_event(r)) <
	       distance(r, old, r->published);
}

/* Length, id and flags at once, as the device stores them: ThreadSanitizer
 * knows no order between accesses of different sizes. */
bool packed_used(const struct vmm_ring *r, uint16_t place, uint16_t *id,
		 uint32_t *len)
{
	const struct vring_packed_desc *d = desc_at(r, place);
	struct vring_packed_desc used;
	uint64_t words = __atomic_load_n(
		(const uint64_t *)(const void *)&d->len, __ATOMIC_ACQUIRE);
	uint16_t flags;

	memcpy(&used.len, &words, sizeof(words));
	flags = le16toh(used.flags);
	if ((flags & (F_AVAIL | F_USED)) !=
	    (place & WRAP ? F_AVAIL | F_USED : 0))
		return false;
	*id = le16toh(used.id);
	*len = le32toh(used.len);
	return true;
}

void packed_call(struct vmm_ring *r, uint16_t flags, uint16_t place)
{
	struct vring_packed_desc_event e = { htole16(place), htole16(flags) };
	uint32_t words;

	memcpy(&words, &e, sizeof(words));
	__atomic_store_n((uint32_t *)(void *)r->avail, words, __ATOMIC_RELEASE);
}
