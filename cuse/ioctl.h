/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ioctl.h: carries out a pass of a vhost-net ioctl on a device. Knows no FUSE
 * and reaches into no process: bytes and struct call_facts come in, a verdict
 * comes out. So it can be fuzzed and tested by feeding bytes.
 */
#ifndef IOCTL_H
#define IOCTL_H

#include <stdbool.h>
#include <sys/types.h>
#include "devlink.h"
#include "ioctl_table.h"
#include "vdev.h"

/**
 * struct ioctl_target - the device a call is made on
 * @tag, @limit: for log lines
 * @max_mem_regions: limit of VHOST_SET_MEM_TABLE, at most 4095
 * @fork_from_owner: what VHOST_SET_FORK_FROM_OWNER left; true at first
 * @owner: the process that VHOST_SET_OWNER made the owner; 0: none
 * @fault_in: for aspace_set_fault_in(), with @ctx
 */
struct ioctl_target {
	struct vdev *vdev;
	const struct log_tag *tag;
	struct log_limit *limit;
	unsigned int max_mem_regions;
	bool fork_from_owner;
	pid_t owner;
	int (*fault_in)(void *ctx, bool write, uint64_t uva, uint64_t len);
	void *ctx;
};

/**
 * ioctl_run() - one pass
 * @facts: looked at only where a handler needs them; the descriptors are
 *         borrowed, and duplicated for the device
 *
 * The device's worker thread. @v is filled in completely.
 */
void ioctl_run(struct ioctl_target *t, const struct ioctl_call *call,
	       const struct call_facts *facts, struct ioctl_verdict *v);

/**
 * ioctl_take_memory() - from now on the device copies what is not mapped
 * @mem_fd: the owner's memory file, borrowed; -1: nothing changes
 *
 * Harmless if the device has no owner, or has the file. Return: 0, -ENOMEM.
 */
int ioctl_take_memory(struct ioctl_target *t, int mem_fd);

#endif
