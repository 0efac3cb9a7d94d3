/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmas.c reads /proc/PID/maps and finds the mappings that matter for some
 * memory regions. It only parses and compares; the text and the regions are
 * input that the caller of an ioctl controls.
 */
#ifndef VMAS_H
#define VMAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <linux/vhost.h>
#include "aspace.h"

/**
 * struct vma - a line of /proc/PID/maps
 * @start, @end: addresses, @end excluded
 * @off: offset of @start in the file, bytes
 * @dev, @ino: the file; @ino 0 if there is none
 * @shared, @readable, @writable: all: "rw-s"
 */
struct vma {
	uint64_t start;
	uint64_t end;
	uint64_t off;
	dev_t dev;
	ino_t ino;
	bool shared;
	bool readable;
	bool writable;
};

/** struct span - addresses @start up to @end, which is excluded */
struct span {
	uint64_t start;
	uint64_t end;
};

/**
 * spans_of_regions() - the user addresses that regions cover
 * @spans: room for @n; on return sorted, merged, disjoint
 *
 * Regions that are empty or wrap cover nothing. Return: how many spans.
 */
size_t spans_of_regions(const struct vhost_memory_region *regions, size_t n,
			struct span *spans);

/** struct vma_list - @n of at most @max; borrowed */
struct vma_list {
	struct vma *vma;
	size_t n, max;
};

/** struct bar_list - @n of at most @max; borrowed */
struct bar_list {
	struct aspace_bar *bar;
	size_t n, max;
};

/**
 * vmas_collect() - what is mapped, and how
 * @maps: open /proc/PID/maps
 * @vmas: set to the shared, readable, writable, file-backed mappings that touch
 *        @spans
 * @bars: set to all addresses with a mapping that the process itself cannot
 *        read or cannot write, sorted and disjoint; or NULL
 *
 * What is found beyond the room for it is left out.
 */
void vmas_collect(FILE *maps, const struct span *spans, size_t nspans,
		  struct vma_list *vmas, struct bar_list *bars);

#endif
