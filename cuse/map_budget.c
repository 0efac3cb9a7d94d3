/* SPDX-License-Identifier: BSD-3-Clause */
/* map_budget.c counts the mappings in the memory tables of a session. */
#include "map_budget.h"

#include <stdlib.h>

/* Whether @m is one of @n mappings that are sorted by address. */
static bool is_among(const struct owner_map *map, size_t n,
		     const struct owner_map *m)
{
	const struct owner_map *found = NULL;

	if (n)
		found = bsearch(m, map, n, sizeof(*map), owner_map_compare);
	return found && owner_map_same(found, m);
}

bool map_budget_has(const struct map_budget *b, const struct owner_map *m)
{
	return is_among(b->map, b->n, m);
}

bool map_budget_take(const struct map_budget *b, const struct owner_map *m)
{
	return map_budget_has(b, m) || b->take(b->ctx, m->size);
}

void map_budget_commit(struct map_budget *b, struct owner_maps *next)
{
	for (size_t i = 0; i < b->n; i++)
		if (!is_among(next->map, next->nmaps, &b->map[i]))
			b->give(b->ctx, b->map[i].size);
	free(b->map);
	b->map = next->map;
	b->n = next->nmaps;
	next->map = NULL;
	next->nmaps = 0;
}

void map_budget_abort(const struct map_budget *b, const struct owner_maps *next)
{
	for (size_t i = 0; i < next->nmaps; i++)
		if (!map_budget_has(b, &next->map[i]))
			b->give(b->ctx, next->map[i].size);
}

void map_budget_clear(struct map_budget *b)
{
	struct owner_maps none = { .map = NULL };

	map_budget_commit(b, &none);
}
