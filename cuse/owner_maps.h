/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * owner_maps.c maps the owner's shared memory into this process, with the
 * descriptors and addresses that peermaps.c has collected.
 *
 * Collecting needs rights over the owner's process. Mapping needs only the
 * descriptors, so a worker process without rights can do it.
 */
#ifndef OWNER_MAPS_H
#define OWNER_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "aspace.h"

/** PEER_MAPS_MAX - most shared mappings of one owner; other memory is copied */
#define PEER_MAPS_MAX 1024
/** OWNER_FILES_MAX - most files of these mappings; memory of other files is
 * copied. Below the limit of one message of a unix socket (SCM_MAX_FD, 253) */
#define OWNER_FILES_MAX 192
/** OWNER_BARS_MAX - most address ranges that the owner itself may not read or
 * write; QEMU has about a hundred */
#define OWNER_BARS_MAX 16384
/** OWNER_NO_FILE - struct owner_map.file: there is no descriptor */
#define OWNER_NO_FILE UINT32_MAX

/**
 * struct owner_map - a shared mapping of the owner
 * @uva, @size: its address range in the owner, bytes
 * @off: offset of @uva in the file, bytes
 * @dev, @ino: the file
 * @file: index of its descriptor in struct owner_maps; OWNER_NO_FILE: none, the
 *        mapping of the last table is used again
 */
struct owner_map {
	uint64_t uva, size, off;
	dev_t dev;
	ino_t ino;
	uint32_t file;
};

/**
 * struct owner_maps - result of peer_find_maps()
 * @map: @nmaps mappings, at most PEER_MAPS_MAX, sorted by address, disjoint
 * @fd: @nfds descriptors of regular files, at most OWNER_FILES_MAX, O_RDWR;
 *      owned
 * @bars: @nbars ranges, at most OWNER_BARS_MAX, sorted by address, disjoint
 *
 * All zero: empty.
 */
struct owner_maps {
	struct owner_map *map;
	size_t nmaps;
	int *fd;
	size_t nfds;
	struct aspace_bar *bars;
	size_t nbars;
};

/** owner_map_same() - whether both have the same addresses and the same part of
 * the same file; @file can differ */
bool owner_map_same(const struct owner_map *a, const struct owner_map *b);

/** owner_map_compare() - compare by address, for qsort() and bsearch() */
int owner_map_compare(const void *a, const void *b);

/**
 * owner_maps_free() - close the descriptors, free the arrays, clear @m
 *
 * close(2) can block if the owner itself serves the file system (FUSE).
 */
void owner_maps_free(struct owner_maps *m);

/**
 * owner_maps_apply() - map the memory in @m
 * @m: its descriptors are borrowed
 * @as: the owner's address space. Mappings that it has already are used again,
 *      unless they were lost (aspace.h); its bars are replaced by those of @m
 * @maps: on success *@nmaps references for vdev_set_mem_table(); the caller
 *        frees the array
 *
 * A mapping is left out, and its memory copied, if it does not have the form
 * that struct owner_maps describes, if its descriptor is not that regular file,
 * or if mmap(2) fails. Runs on the thread that uses @as; can block as
 * owner_maps_free(). Return: 0 or -ENOMEM (nothing changed).
 */
int owner_maps_apply(const struct owner_maps *m, struct aspace *as,
		     struct aspace_map ***maps, size_t *nmaps);

#endif
