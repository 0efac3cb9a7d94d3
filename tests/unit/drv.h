/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What unit tests of the device put before it: an arena that stands for the
 * owner's memory, and a driver that fills rings in it by hand. Unlike
 * support/ring.h the driver here keeps no accounts, so a test can say anything
 * to the device.
 *
 * The arena is one memfd with a page that cannot be touched on either side.
 * Its first part holds the rings, the rest is guest memory, in three regions of
 * which two are neighbours in guest physical addresses but not in the owner's:
 *
 *   arena   rings | RAM_B (2nd) | RAM_A (1st) | RAM_C | spare
 *   gpa     RAM_A at GPA_A, RAM_B right behind it, a hole, RAM_C at GPA_C
 */
#ifndef DRV_H
#define DRV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <linux/vhost.h>
#include <linux/virtio_ring.h>
#include "aspace.h"

#define PAGE 4096u
#define MIB 0x100000u

#define RINGS_SIZE (2 * MIB)
#define RAM_SIZE (2 * MIB) /* of each region */
#define RAM_B_OFF RINGS_SIZE
#define RAM_A_OFF (RAM_B_OFF + RAM_SIZE)
#define RAM_C_OFF (RAM_A_OFF + RAM_SIZE)
#define SPARE_OFF (RAM_C_OFF + RAM_SIZE)
#define ARENA_SIZE (SPARE_OFF + MIB)

#define GPA_A 0x10000u
#define GPA_B (GPA_A + RAM_SIZE)
#define GPA_B_END (GPA_B + RAM_SIZE)
#define GPA_C 0x40000000u

/**
 * enum arena_mode - how the device reaches the arena
 * @MAPPED: all of it through mappings, nothing else can be reached
 * @COPIED: all of it by copying from this very process
 * @RINGS_MAPPED, @RAM_MAPPED: that part mapped, the other copied
 * @FROM_CHILD: by copying from a child that has the arena at the same address
 */
enum arena_mode { MAPPED, COPIED, RINGS_MAPPED, RAM_MAPPED, FROM_CHILD };

/**
 * struct arena - the owner's memory
 * @base: where the owner (the test) has it; its address is the uva
 * @child: FROM_CHILD: its pid, else -1
 */
struct arena {
	enum arena_mode mode;
	int memfd;
	uint8_t *base;
	pid_t child;
};

void arena_open(struct arena *a, enum arena_mode mode);
void arena_close(struct arena *a);
/** arena_end_child() - the owner goes; returns when it has */
void arena_end_child(struct arena *a);

/** arena_uva() - the owner's address of @off bytes into the arena */
static inline uint64_t arena_uva(const struct arena *a, uint64_t off)
{
	return (uintptr_t)a->base + off;
}

/** arena_maps() - new mappings for the mode, into @maps; how many */
size_t arena_maps(const struct arena *a, struct aspace_map *maps[2]);
/** arena_aspace() - a new address space as the mode says, mappings and all */
struct aspace *arena_aspace(const struct arena *a);
/** arena_table() - the three regions, as SET_MEM_TABLE has them */
void arena_table(const struct arena *a, struct vhost_memory_region r[3]);
/** arena_ram() - the driver's pointer to guest physical @gpa; one region only
 */
uint8_t *arena_ram(const struct arena *a, uint64_t gpa);

/**
 * struct drv - driver's half of a ring
 * @next: index that the next entry gets; shown to the device by drv_publish()
 */
struct drv {
	uint32_t num;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t next;
	uint16_t reaped;
};

/** drv_init() - a zeroed ring of @num entries in the arena, from @off on */
void drv_init(struct drv *d, const struct arena *a, uint64_t off, uint32_t num);
/** drv_addr() - as VHOST_SET_VRING_ADDR has it */
struct vhost_vring_addr drv_addr(const struct drv *d, unsigned int index);
/** drv_index() - all indexes as if @idx chains had passed */
void drv_index(struct drv *d, uint16_t idx);
/** drv_desc() - write a descriptor, whatever it says */
void drv_desc(struct vring_desc *d, uint64_t addr, uint32_t len, uint16_t flags,
	      uint16_t next);
/** drv_add() - an avail entry, not shown yet */
void drv_add(struct drv *d, uint16_t head);
void drv_publish(struct drv *d);
/** drv_offer() - a chain of one descriptor, in slot @i, at once */
void drv_offer(struct drv *d, uint16_t i, uint64_t addr, uint32_t len,
	       uint16_t flags);
/** drv_used_idx() - the device's */
uint16_t drv_used_idx(const struct drv *d);
/** drv_reap() - the next used element, which must be there */
struct vring_used_elem drv_reap(struct drv *d);
/** drv_used_event(), drv_avail_event() - the words behind the rings */
uint16_t *drv_used_event(struct drv *d);
uint16_t *drv_avail_event(struct drv *d);

/** event_new() - a non-blocking eventfd */
int event_new(void);
/** event_take() - what an eventfd counts, and reset it; 0 if nothing */
uint64_t event_take(int fd);

/** count_fds() - descriptors this process has open */
unsigned int count_fds(void);

#endif
