/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the targets have in common that put a hostile driver before a whole
 * device: the input is what the driver does, the same to two devices one after
 * the other, of which one has all memory mapped and the other copies some or
 * all of it, out of this very process. Then both must have done the same.
 *
 * The owner's memory is the arena: a few zones with nothing that can be touched
 * between them.
 */
#ifndef FUZZARENA_H
#define FUZZARENA_H

#include "fuzz.h"

#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "fuzzport.h"
#include "inline_worker.h"
#include "vdev_priv.h"

#define PAGE 4096u
#define ARENA_PAGES_MAX 34
#define ARENA_ZONES_MAX 8
/* What an IOTLB adds to the addresses of rings. */
#define IOVA_RINGS (UINT64_C(1) << 40)

enum mode { MAPPED, COPIED, RINGS_MAPPED, RAM_MAPPED };

/**
 * struct dut - a device and its driver
 * @frames: some were given to the device
 * @apart:  the two may differ from here on: it depends on how much was looked
 *          at when
 * @next:   where the driver goes on
 * The others are for one target each.
 */
struct dut {
	struct vdev *v;
	enum mode mode;
	bool frames, apart;
	uint32_t num[VDEV_VQS];
	uint16_t next[VDEV_VQS];
	struct vhost_vring_addr addr[VDEV_VQS];
	/* fuzz_virtq.c */
	bool weird;
	struct vhost_memory_region region[4];
	size_t nregions;
	uint64_t log_base;
	uint16_t avail_at[VDEV_VQS], used_at[VDEV_VQS]; /* last looked at */
	/* fuzz_packed.c */
	bool in_order; /* was, at some time */
};

enum { OUTCOME_ERRORS = 5, OUTCOME_NUMBERS };

/** struct outcome - what both devices must have in common */
struct outcome {
	uint64_t sent; /* a hash of the frames */
	uint64_t ring[VDEV_VQS][OUTCOME_NUMBERS];
	uint8_t memory[ARENA_PAGES_MAX * PAGE];
};

/**
 * struct target - one of them
 * @zones:  in pages, each followed by one that is not there; those of rings
 *          (0...@rings - 1) first
 * @pages:  of the arena
 * @start:  gives the device all it needs to run
 * @settle: lets it come to rest, and checks it
 * @forget: makes zero in an outcome what may differ
 */
struct target {
	struct {
		unsigned int first, pages;
	} zones[ARENA_ZONES_MAX];
	unsigned int nzones, rings, pages;
	void (*start)(struct dut *d, struct input *in);
	void (*settle)(struct dut *d);
	void (*forget)(const struct dut *d, struct outcome *o);
	void (*const *ops)(struct dut *d, struct input *in);
	unsigned int nops, ops_max;
};

extern const struct target target; /* each has its own */
extern uint8_t *arena;
extern struct worker *worker;
/* eventfds: for calls and errors; that a port has frames */
extern int event, backend[2];

static inline uint8_t *zone(unsigned int z)
{
	return arena + target.zones[z].first * PAGE;
}

static inline size_t zone_size(unsigned int z)
{
	return target.zones[z].pages * PAGE;
}

/** in_arena() - where @z is in a copy of the arena */
static inline uint8_t *in_copy(uint8_t *copy, unsigned int z)
{
	return copy + target.zones[z].first * PAGE;
}

/** arena_save() - the zones of which there is a bit in @zones */
void arena_save(uint8_t *copy, unsigned int zones);

/** arena_maps() - the zones that the device of @mode has mapped; their number
 */
size_t arena_maps(enum mode mode, struct aspace_map **out);

/** dut_own() - this process owns the device */
void dut_own(struct dut *d);

void dut_iotlb(struct dut *d, uint8_t type, uint64_t iova, uint64_t size,
	       uint64_t uva, uint8_t perm);
/** dut_iotlb_rings() - the answers for all rings, at IOVA_RINGS */
void dut_iotlb_rings(struct dut *d);

/** in_frame_len() - of a frame that the port hands over */
typedef uint32_t (*in_frame_len)(struct dut *d, struct input *in);
/** dut_frames() - the port has frames */
void dut_frames(struct dut *d, struct input *in, in_frame_len len);

/** op_kick(), op_port() - operations */
void op_kick(struct dut *d, struct input *in);
void op_port(struct dut *d, struct input *in);

#endif
