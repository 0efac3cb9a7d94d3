/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * map_budget.c counts the mappings in the memory tables of a session, by the
 * difference between the old table and the new one.
 *
 * peer_find_maps() counts each mapping of the new table that is not in the old
 * table. If the device accepts the new table, the mappings that only the old
 * one has are given back; otherwise those that only the new one has. So the
 * mappings of both tables count while one replaces the other.
 */
#ifndef MAP_BUDGET_H
#define MAP_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "owner_maps.h"

/**
 * struct map_budget - the mappings of one session
 * @take: counts one more mapping, of @bytes; false: a limit is reached
 * @give: counts one mapping less, of @bytes
 * @map: the @n mappings of the table in force, sorted by address; owned
 *
 * All zero except @take, @give and @ctx: no mapping counts. Used by one thread.
 */
struct map_budget {
	bool (*take)(void *ctx, uint64_t bytes);
	void (*give)(void *ctx, uint64_t bytes);
	void *ctx;
	struct owner_map *map;
	size_t n;
};

/** map_budget_has() - whether @m is in the table in force */
bool map_budget_has(const struct map_budget *b, const struct owner_map *m);

/** map_budget_take() - count @m for the next table; false: a limit is reached
 */
bool map_budget_take(const struct map_budget *b, const struct owner_map *m);

/**
 * map_budget_commit() - the table with the mappings of @next is in force now
 * @next: the mappings that map_budget_take() counted, sorted by address. The
 *        budget takes its array, and @next has none then. Empty: no mapping
 *        counts any more
 */
void map_budget_commit(struct map_budget *b, struct owner_maps *next);

/** map_budget_abort() - the table with the mappings of @next was not set */
void map_budget_abort(const struct map_budget *b,
		      const struct owner_maps *next);

/** map_budget_clear() - no table is in force any more; may be repeated */
void map_budget_clear(struct map_budget *b);

#endif
