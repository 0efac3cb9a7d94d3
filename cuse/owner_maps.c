/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * owner_maps.c maps the owner's shared memory into this process. What it gets
 * from the broker is checked again here: a worker process uses it too.
 */
#include "owner_maps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "bytes.h"

bool owner_map_same(const struct owner_map *a, const struct owner_map *b)
{
	return a->uva == b->uva && a->size == b->size && a->off == b->off &&
	       a->dev == b->dev && a->ino == b->ino;
}

int owner_map_compare(const void *a, const void *b)
{
	const struct owner_map *x = a, *y = b;

	return x->uva < y->uva ? -1 : x->uva > y->uva;
}

void owner_maps_free(struct owner_maps *m)
{
	for (size_t i = 0; i < m->nfds; i++)
		close(m->fd[i]);
	free(m->fd);
	free(m->map);
	free(m->bars);
	*m = (struct owner_maps){ .map = NULL };
}

/* Return: a new reference to the mapping that @as has of @o, or NULL. */
static struct aspace_map *map_held(const struct aspace *as,
				   const struct owner_map *o)
{
	struct aspace_map *m = aspace_find_map(as, o->uva);

	if (!m || m->uva != o->uva || m->size != o->size || m->off != o->off ||
	    m->dev != o->dev || m->ino != o->ino)
		return NULL;
	return aspace_map_get(m);
}

/* Only regular files are mapped: mmap(2) of a device can do anything. */
static bool is_file_of(int fd, const struct owner_map *o)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       st.st_dev == o->dev && st.st_ino == o->ino;
}

static struct aspace_map *map_new(const struct owner_maps *m,
				  const struct owner_map *o)
{
	struct aspace_map *map;
	void *ptr;

	if (o->file >= m->nfds || !is_file_of(m->fd[o->file], o))
		return NULL;
	ptr = mmap(NULL, o->size, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_NORESERVE, m->fd[o->file], (off_t)o->off);
	if (ptr == MAP_FAILED)
		return NULL;
	/* Keeps guest memory out of our core dumps. */
	madvise(ptr, o->size, MADV_DONTDUMP);
	/* A child that outlives the guest would keep its memory. */
	madvise(ptr, o->size, MADV_DONTFORK);
	map = aspace_map_new(o->uva, o->size, ptr);
	if (!map) {
		munmap(ptr, o->size);
		return NULL;
	}
	map->dev = o->dev;
	map->ino = o->ino;
	map->off = o->off;
	return map;
}

/* @found: all mappings that can be made. Return: their number. */
static size_t map_all(const struct owner_maps *m, const struct aspace *as,
		      struct aspace_map **found)
{
	uint64_t end = 0;
	size_t n = 0;

	for (size_t i = 0; i < m->nmaps; i++) {
		const struct owner_map *o = &m->map[i];
		struct aspace_map *map;
		uint64_t stop;

		if (!o->size || o->uva < end ||
		    add_overflows(o->uva, o->size, &stop))
			continue;
		map = map_held(as, o);
		if (!map)
			map = map_new(m, o);
		if (!map)
			continue;
		found[n++] = map;
		end = stop;
	}
	return n;
}

int owner_maps_apply(const struct owner_maps *m, struct aspace *as,
		     struct aspace_map ***maps, size_t *nmaps)
{
	struct aspace_map **found = calloc(m->nmaps + 1, sizeof(*found));
	struct aspace_bar *bars = calloc(m->nbars + 1, sizeof(*bars));

	if (!found || !bars) {
		free(found);
		free(bars);
		return -ENOMEM;
	}
	if (m->nbars)
		memcpy(bars, m->bars, m->nbars * sizeof(*bars));
	aspace_set_bars(as, bars, m->nbars);
	*nmaps = map_all(m, as, found);
	*maps = found;
	return 0;
}
