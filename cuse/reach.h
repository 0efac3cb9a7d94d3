/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * reach.h: does a device reach memory of its owner that is not mapped? What the
 * calls of the owner have set decides, and what was found to be mappable. The
 * broker asks for devices in worker processes: such a process gets the owner's
 * memory file with the first call after which the device needs it.
 *
 * Nothing that a worker process says counts: its guest may have taken it over,
 * and the file gives access to all memory of the VMM.
 */
#ifndef REACH_H
#define REACH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/vhost.h>
#include "ioctl_table.h"
#include "owner_maps.h"
#include "record.h"
#include "vdev.h"

/** struct reach_ring - a ring; @num: entries; @has_addr: @addr was set */
struct reach_ring {
	uint32_t num;
	bool has_addr;
	struct vhost_vring_addr addr;
};

/**
 * struct reach - what a device reaches
 * @map:      what is mapped: @nmaps, sorted by address, disjoint
 * @regions:  @nregions struct vhost_memory_region, without alignment; NULL:
 *            there is no memory table
 * @features: acknowledged
 * @log_base: address of the dirty log, if @has_log
 *
 * @map and @regions are borrowed.
 */
struct reach {
	const struct owner_map *map;
	size_t nmaps;
	const void *regions;
	size_t nregions;
	uint64_t features;
	bool has_log;
	uint64_t log_base;
	struct reach_ring ring[VDEV_VQS];
};

/** reach_matters() - can an ioctl make a device reach more? */
bool reach_matters(uint32_t cmd);

/** reach_of_record() - what the calls in @r have set; @map and @nmaps are
 * the caller's to set */
void reach_of_record(struct reach *reach, const struct record *r);

/** reach_add() - what @call would set; false: nothing, as its argument is not
 * complete */
bool reach_add(struct reach *reach, const struct ioctl_call *call);

/**
 * reach_is_mapped() - is all of it mapped?
 *
 * Each memory region, each area of a ring and the dirty log, if it is used,
 * have to lie within one mapping. Without a memory table no ring runs: nothing
 * is reached. With VIRTIO_F_ACCESS_PLATFORM the rings are where the IOTLB says.
 */
bool reach_is_mapped(const struct reach *reach);

/**
 * reach_iotlb_is_mapped() - is all mapped that a message for the IOTLB adds?
 * @map: @nmaps mappings as in struct reach
 * @msg: struct vhost_msg or struct vhost_msg_v2 as the owner wrote it, @len
 *       bytes, not aligned; a malformed message adds nothing
 */
bool reach_iotlb_is_mapped(const struct owner_map *map, size_t nmaps,
			   const void *msg, size_t len);

#endif
