/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * drv.h is the driver's half of a virtqueue in an arena, split or packed, for
 * unit tests of the device. It keeps no accounts: a test can write anything
 * into a ring. (ring.h is a driver that does keep accounts.)
 *
 * An index (@next, @reaped, the argument @at) has the device's form: the
 * free-running index of a split ring; of a packed one a slot, with the wrap
 * counter as bit 15.
 */
#ifndef DRV_H
#define DRV_H

#include <linux/virtio_ring.h>
#include "arena.h"

#define DRV_WRAP 0x8000u
#define DRV_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define DRV_USED (1u << VRING_PACKED_DESC_F_USED)

/**
 * struct drv - driver's half of a ring
 * @packed: the format
 * @next:   of the next available entry; packed: of the next descriptor
 * @reaped: of the next used entry; packed: of the next used descriptor
 * @stride: split: slots from one descriptor of a chain to the next; 1
 * @slot, @head, @chaining: split: where an unfinished chain goes on, its first
 *          slot, and whether there is one
 */
struct drv {
	bool packed;
	uint32_t num;
	union {
		struct vring_desc *desc;
		struct vring_packed_desc *pdesc;
	};
	union {
		struct vring_avail *avail;
		struct vring_packed_desc_event *driver;
	};
	union {
		struct vring_used *used;
		struct vring_packed_desc_event *device;
	};
	uint16_t next, reaped;
	uint16_t stride, slot, head;
	bool chaining;
};

/** drv_init() - a zeroed ring of @num entries in the arena, from @off on, as it
 * is after a reset */
void drv_init(struct drv *d, const struct arena *a, uint64_t off, uint32_t num,
	      bool packed);

/* ---- both formats ---- */

/** drv_addr() - as VHOST_SET_VRING_ADDR has it */
struct vhost_vring_addr drv_addr(const struct drv *d, unsigned int index);
/** drv_step() - the index @n entries (packed: descriptors) behind @at */
uint16_t drv_step(const struct drv *d, uint16_t at, uint32_t n);
/** drv_after() - the index after @n of them since the reset */
uint16_t drv_after(const struct drv *d, uint32_t n);
/** drv_move() - as if so many had passed that driver and device are at @at */
void drv_move(struct drv *d, uint16_t at);
/**
 * drv_offer() - the next descriptor of a chain, which @flags with NEXT continue
 * @id: split: the chain's first slot, looked at with its first descriptor;
 *      packed: the buffer id of this descriptor
 *
 * The device sees a split chain when it is complete, a packed descriptor at
 * once.
 */
void drv_offer(struct drv *d, uint16_t id, uint64_t addr, uint32_t len,
	       uint16_t flags);
/** drv_rewrite() - the descriptor in @slot means other memory from now on */
void drv_rewrite(struct drv *d, uint16_t slot, uint64_t addr, uint32_t len,
		 uint16_t flags);
/** drv_pending() - is there something used that was not reaped? */
bool drv_pending(const struct drv *d);
/** drv_reap() - the next used element, which must be there; of a chain of one
 * descriptor */
struct vring_used_elem drv_reap(struct drv *d);
/** drv_reap_chain() - the same of a chain (packed: or chains) of @n
 * descriptors; packed: WRITE must tell whether bytes were written */
struct vring_used_elem drv_reap_chain(struct drv *d, uint32_t n);
/** drv_signals() - the driver wants signals, or not; without EVENT_IDX */
void drv_signals(struct drv *d, bool on);
/** drv_signal_at() - EVENT_IDX: the driver wants one when @at is passed */
void drv_signal_at(struct drv *d, uint16_t at);
/** drv_kicks() - does the device want kicks? Split: without EVENT_IDX */
bool drv_kicks(const struct drv *d);
/** drv_kick_at() - EVENT_IDX: the index at which the device wants a kick */
uint16_t drv_kick_at(const struct drv *d);

/* ---- split rings ---- */

/** drv_desc() - write a descriptor, whatever it says */
void drv_desc(struct vring_desc *d, uint64_t addr, uint32_t len, uint16_t flags,
	      uint16_t next);
/** drv_add() - an avail entry, not shown yet */
void drv_add(struct drv *d, uint16_t head);
void drv_publish(struct drv *d);
/** drv_used_idx() - the device's */
uint16_t drv_used_idx(const struct drv *d);
/** drv_used_event(), drv_avail_event() - the words behind the rings */
uint16_t *drv_used_event(struct drv *d);
uint16_t *drv_avail_event(const struct drv *d);

/* ---- packed rings ---- */

/** drv_set() - write the descriptor at @at, available there */
void drv_set(struct drv *d, uint16_t at, uint64_t addr, uint32_t len,
	     uint16_t flags, uint16_t id);
/** drv_used_at() - was the descriptor at @at used? */
bool drv_used_at(const struct drv *d, uint16_t at);
/** drv_want() - write the driver's event structure */
void drv_want(struct drv *d, uint16_t flags, uint16_t at);
/** drv_wanted() - the flags of the device's event structure */
uint16_t drv_wanted(const struct drv *d);

#endif
