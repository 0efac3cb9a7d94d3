/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vhost-net ioctls: one row each. Knows no FUSE and reaches into nobody:
 * bytes come in, a verdict comes out, and what concerns the calling process
 * goes through struct ioctl_ops. So it can be fuzzed and tested by feeding
 * bytes.
 *
 * A character device in user space sees a call in passes. In the first, only
 * command and argument are known; the answer may be to come again with so many
 * bytes of the argument fetched and room for so many to be stored. Between two
 * passes the caller may have changed both its memory and the device's state,
 * hence a pass trusts nothing that an earlier one saw: each judges afresh all
 * that it is given.
 */
#ifndef IOCTL_H
#define IOCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "vdev.h"

/** IOCTL_DATA_MAX - bytes CUSE moves in one direction in one call */
#define IOCTL_DATA_MAX ((size_t)32 * 4096)

/**
 * struct ioctl_ops - what needs the calling process
 *
 * All of them speak of the thread that makes the call at hand, and run on the
 * device's worker. 0 or -errno unless said otherwise.
 */
struct ioctl_ops {
	/* does the caller share the owner's address space? */
	bool (*is_owner)(void *ctx);
	/* make the caller's address space the owner: vdev_set_owner() */
	int (*set_owner)(void *ctx);
	/* vdev_reset_owner(), and forget the owner on success */
	int (*reset_owner)(void *ctx);
	/* *@fd: ours to close, or VDEV_FD_NONE (@number -1), or VDEV_FD_BAD */
	int (*fetch_fd)(void *ctx, int number, int *fd);
	/* shared mappings behind @regions: as vdev_set_mem_table() takes them;
	 * *@maps is malloc()ed, NULL if there are none */
	int (*find_maps)(void *ctx, const struct vhost_memory_region *regions,
			 size_t n, struct aspace_map ***maps, size_t *nmaps);
};

/**
 * struct ioctl_target - the device a call is made on
 * @max_mem_regions: limit of VHOST_SET_MEM_TABLE, at most 4095
 * @fork_from_owner: what VHOST_SET_FORK_FROM_OWNER left; true at first
 */
struct ioctl_target {
	struct vdev *vdev;
	const struct ioctl_ops *ops;
	void *ctx;
	unsigned int max_mem_regions;
	bool fork_from_owner;
};

/**
 * struct ioctl_call - one pass of a call
 * @cmd: as the caller gave it
 * @arg: address in the caller
 * @in: @in_len bytes of its memory at @arg; no alignment is needed
 * @out: where to put @out_room bytes for its memory
 */
struct ioctl_call {
	uint32_t cmd;
	uint64_t arg;
	const void *in;
	size_t in_len;
	void *out;
	size_t out_room;
};

/**
 * struct ioctl_verdict - the outcome of a pass
 * @again: come again with @fetch bytes from the argument, and room for @store
 *         bytes that are to be stored at @store_at
 * @error: not @again: 0 or -errno, the call's result
 * @out_len: bytes written to the call's @out; 0 on error
 */
struct ioctl_verdict {
	bool again;
	size_t fetch;
	uint64_t store_at;
	size_t store;
	int error;
	size_t out_len;
};

/**
 * ioctl_run() - one pass
 *
 * The device's worker thread. @v is filled in completely.
 */
void ioctl_run(struct ioctl_target *t, const struct ioctl_call *call,
	       struct ioctl_verdict *v);

/** ioctl_name() - for log lines: "VHOST_SET_OWNER", or NULL if unknown */
const char *ioctl_name(uint32_t cmd);

/** ioctl_print_table() - every row, as a table in Markdown */
void ioctl_print_table(FILE *out);

#endif
