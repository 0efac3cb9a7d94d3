/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's half of a packed ring in an arena, as drv.h has it for a split
 * one: no accounts, so a test can say anything to the device.
 *
 * A place is a slot, with the wrap counter as bit 15.
 */
#ifndef PDRV_H
#define PDRV_H

#include "drv.h"

#define PDRV_WRAP 0x8000u
#define PDRV_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define PDRV_USED (1u << VRING_PACKED_DESC_F_USED)

/**
 * struct pdrv - driver's half of a ring
 * @next:   place of the next descriptor to be made available
 * @reaped: place where the next used descriptor will be
 */
struct pdrv {
	uint32_t num;
	struct vring_packed_desc *desc;
	struct vring_packed_desc_event *driver, *device;
	uint16_t next, reaped;
};

/** pdrv_init() - a zeroed ring of @num entries in the arena, from @off on, as
 * it is after a reset */
void pdrv_init(struct pdrv *d, const struct arena *a, uint64_t off,
	       uint32_t num);
/** pdrv_addr() - as VHOST_SET_VRING_ADDR has it */
struct vhost_vring_addr pdrv_addr(const struct pdrv *d, unsigned int index);
/** pdrv_move() - as if so many descriptors had passed that both are at @place
 */
void pdrv_move(struct pdrv *d, uint16_t place);
/** pdrv_step() - the place @n behind @place */
uint16_t pdrv_step(const struct pdrv *d, uint16_t place, uint32_t n);

/** pdrv_set() - write a descriptor at @place, available there */
void pdrv_set(struct pdrv *d, uint16_t place, uint64_t addr, uint32_t len,
	      uint16_t flags, uint16_t id);
/** pdrv_add() - the next descriptor, available at once */
void pdrv_add(struct pdrv *d, uint64_t addr, uint32_t len, uint16_t flags,
	      uint16_t id);

/** pdrv_used_at() - was the descriptor at @place used? */
bool pdrv_used_at(const struct pdrv *d, uint16_t place);

/** struct pdrv_used - a used descriptor; flags without AVAIL and USED */
struct pdrv_used {
	uint16_t id, flags;
	uint32_t len;
};

/** pdrv_reap() - the next used descriptor, which must be there, of a chain (or
 * chains) of @n descriptors */
struct pdrv_used pdrv_reap(struct pdrv *d, uint32_t n);

/** pdrv_want() - write the driver's event structure */
void pdrv_want(struct pdrv *d, uint16_t flags, uint16_t place);
/** pdrv_wanted() - the device's event structure: flags, or place and flags */
uint16_t pdrv_wanted(const struct pdrv *d);
uint16_t pdrv_wanted_at(const struct pdrv *d);

#endif
