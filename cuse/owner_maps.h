/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * owner_maps.c maps the owner's shared memory here, from descriptors and
 * numbers that peermaps.c has collected.
 *
 * Collecting takes rights over the owner's process. Mapping takes none but the
 * descriptors, so it can be done in another process, which has no such rights.
 */
#ifndef OWNER_MAPS_H
#define OWNER_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "aspace.h"

/** PEER_MAPS_MAX - shared mappings held for one owner; the rest is copied */
#define PEER_MAPS_MAX 1024
/** OWNER_FILES_MAX - files of these; memory of more is copied. Fewer than one
 * message of a unix socket carries (SCM_MAX_FD, 253) */
#define OWNER_FILES_MAX 192
/** OWNER_BARS_MAX - ranges of addresses that the owner itself may not read or
 * write: QEMU has some hundred */
#define OWNER_BARS_MAX 16384
/** OWNER_NO_FILE - struct owner_map.file: there is no descriptor */
#define OWNER_NO_FILE UINT32_MAX

/**
 * struct owner_map - a shared mapping of the owner
 * @uva, @size: its addresses there, bytes
 * @off: of @uva in the file, bytes
 * @dev, @ino: the file
 * @file: index of its descriptor in struct owner_maps; OWNER_NO_FILE: it can
 *        only be taken over from the table before
 */
struct owner_map {
	uint64_t uva, size, off;
	dev_t dev;
	ino_t ino;
	uint32_t file;
};

/**
 * struct owner_maps - what peer_find_maps() has found
 * @map: @nmaps of them, at most PEER_MAPS_MAX, sorted by address, disjoint
 * @fd: @nfds descriptors of regular files, at most OWNER_FILES_MAX, O_RDWR;
 *      owned
 * @bars: @nbars of them, at most OWNER_BARS_MAX, sorted by address, disjoint
 *
 * Zeroed: nothing.
 */
struct owner_maps {
	struct owner_map *map;
	size_t nmaps;
	int *fd;
	size_t nfds;
	struct aspace_bar *bars;
	size_t nbars;
};

/** owner_map_same() - the same addresses of the same file? @file may differ */
bool owner_map_same(const struct owner_map *a, const struct owner_map *b);

/** owner_map_compare() - by address, for qsort() and bsearch() of owner_map */
int owner_map_compare(const void *a, const void *b);

/**
 * owner_maps_free() - close the descriptors, free the arrays, zero @m
 *
 * close(2) can block if the owner itself serves the file system (FUSE).
 */
void owner_maps_free(struct owner_maps *m);

/**
 * owner_maps_apply() - map what was found
 * @m: its descriptors are borrowed
 * @as: the owner's address space. Mappings that it holds already (and has not
 *      lost) are taken again; its bars are replaced by those of @m
 * @maps: on success *@nmaps references for vdev_set_mem_table(); array to be
 *        free()d
 *
 * What is not in the form that struct owner_maps says, or whose descriptor is
 * not that regular file, or cannot be mapped, is left out, and so left to
 * copying. On the thread that uses @as; may wait as owner_maps_free().
 * Return: 0 or -ENOMEM (nothing changed).
 */
int owner_maps_apply(const struct owner_maps *m, struct aspace *as,
		     struct aspace_map ***maps, size_t *nmaps);

#endif
