/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * map_budget.c counts the mappings that the memory tables of a session have, by
 * the difference between two tables.
 *
 * peer_find_maps() counts each mapping of the new table that is not in the old
 * table. If the device takes the new table, the mappings that are in the old
 * table only are given back; if it does not, those that are in the new table
 * only. So both tables count while one replaces the other.
 */
#ifndef MAP_BUDGET_H
#define MAP_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "owner_maps.h"

/**
 * struct map_budget - the mappings of one session
 * @take: may there be one more mapping, of @bytes? It counts if so
 * @give: one less
 * @map: those of the table in force, @n of them, sorted by address; owned
 *
 * Zeroed but for @take, @give and @ctx: nothing counts. One thread.
 */
struct map_budget {
	bool (*take)(void *ctx, uint64_t bytes);
	void (*give)(void *ctx, uint64_t bytes);
	void *ctx;
	struct owner_map *map;
	size_t n;
};

/** map_budget_has() - is @m in the table in force? */
bool map_budget_has(const struct map_budget *b, const struct owner_map *m);

/** map_budget_take() - may @m be in the next table? It counts if so */
bool map_budget_take(const struct map_budget *b, const struct owner_map *m);

/**
 * map_budget_commit() - the table with the mappings of @next is in force now
 * @next: what was taken, sorted by address; its array of mappings becomes the
 *        budget's: afterwards @next has none. Empty: nothing counts any more
 */
void map_budget_commit(struct map_budget *b, struct owner_maps *next);

/** map_budget_abort() - the table with the mappings of @next was not set */
void map_budget_abort(const struct map_budget *b,
		      const struct owner_maps *next);

/** map_budget_clear() - no table is in force any more; safe to repeat */
void map_budget_clear(struct map_budget *b);

#endif
