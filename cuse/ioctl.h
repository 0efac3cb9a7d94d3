/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ioctl.c runs one pass of a vhost-net ioctl on a device. It does not use FUSE
 * and accesses no process: its input are bytes and struct call_facts, its
 * output is a verdict, so that a fuzzer can drive it.
 */
#ifndef IOCTL_H
#define IOCTL_H

#include <stdbool.h>
#include <sys/types.h>
#include "devlink.h"
#include "ioctl_table.h"
#include "vdev.h"

/**
 * struct ioctl_target - the device that a call concerns
 * @tag, @limit: for log lines
 * @max_mem_regions: limit of VHOST_SET_MEM_TABLE, at most 4095
 * @fork_from_owner: value of VHOST_SET_FORK_FROM_OWNER; true at first
 * @owner: the process that VHOST_SET_OWNER made the owner; 0: none
 * @fault_in, @ctx: arguments of aspace_set_fault_in()
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
 * ioctl_run() - run one pass
 * @facts: a handler looks only at those that it needs; the descriptors are
 *         borrowed, and duplicated for the device
 * @v:     filled in completely
 *
 * Runs on the device's worker.
 */
void ioctl_run(struct ioctl_target *t, const struct ioctl_call *call,
	       const struct call_facts *facts, struct ioctl_verdict *v);

/**
 * ioctl_take_memory() - give the device the owner's memory file, with which it
 * copies memory that is not mapped
 * @mem_fd: the file, borrowed; -1: nothing changes
 *
 * Nothing changes if the device has no owner, or has the file. Return: 0,
 * -ENOMEM.
 */
int ioctl_take_memory(struct ioctl_target *t, int mem_fd);

#endif
