/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * arena.h is the memory of a device's owner, for unit tests, and the macros
 * that run one test in several kinds of it.
 *
 * The arena is one memfd with a page that cannot be touched on either side.
 * Its first part holds the rings, the rest is guest memory, in three regions of
 * which two are neighbours in guest physical addresses but not in the owner's:
 *
 *   arena   rings | RAM_B (2nd) | RAM_A (1st) | RAM_C | spare
 *   gpa     RAM_A at GPA_A, RAM_B right behind it, a hole, RAM_C at GPA_C
 */
#ifndef ARENA_H
#define ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <linux/vhost.h>
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

/** event_new() - a non-blocking eventfd */
int event_new(void);
/** event_take() - what an eventfd counts, and reset it; 0 if nothing */
uint64_t event_take(int fd);

/** count_fds() - descriptors this process has open */
unsigned int count_fds(void);

/*
 * ---- one test in several modes, and in both ring formats ----
 *
 * A row of a cmocka table: the test @name with the fixture FIX_setup() and
 * FIX_teardown(); @state, which setup finds in *state, is an arena_mode, with
 * ARENA_PACKED for packed rings and ARENA_BORROWED for a port whose
 * frames are borrowed. Each fixture's header has its IN_FORMAT(prefix, format,
 * mode, name).
 */
#define ARENA_PACKED 0x100
#define ARENA_BORROWED 0x200
#define ARENA_TEST(fix, prefix, state, mode, name)                        \
	{ prefix #name " [" #mode "]", name, fix##_setup, fix##_teardown, \
	  (void *)(uintptr_t)((state) | MODE_##mode) }

#define MODE_mapped MAPPED
#define MODE_copied COPIED
#define MODE_rings_mapped RINGS_MAPPED
#define MODE_ram_mapped RAM_MAPPED
#define MODE_child FROM_CHILD
#define MODE_borrowed (MAPPED | ARENA_BORROWED)
#define MODE_borrowed_copied (COPIED | ARENA_BORROWED)

/* A test that does not depend on the format: it has split rings. */
#define IN(mode, name) IN_FORMAT("", 0, mode, name)
#define SPLIT_IN(mode, name) IN_FORMAT("split: ", 0, mode, name)
#define PACKED_IN(mode, name) IN_FORMAT("packed: ", ARENA_PACKED, mode, name)
/* Both formats, one after the other. */
#define FORMATS_IN(mode, name) SPLIT_IN(mode, name), PACKED_IN(mode, name)

/* All memory mapped, all copied, and each half mapped with the other copied. */
#define EVERY_MODE(in, name)                                        \
	in(mapped, name), in(copied, name), in(rings_mapped, name), \
		in(ram_mapped, name)
#define BOTH(name) IN(mapped, name), IN(copied, name)
#define EVERYWHERE(name) EVERY_MODE(IN, name)
#define SPLIT_EVERYWHERE(name) EVERY_MODE(SPLIT_IN, name)
#define PACKED_EVERYWHERE(name) EVERY_MODE(PACKED_IN, name)
#define FORMATS(name) EVERY_MODE(FORMATS_IN, name)

#endif
