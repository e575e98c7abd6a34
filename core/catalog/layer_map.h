/*
 * Layer map: which layers there are, oldest first.
 *
 * A published map never changes. Whoever adds or replaces a layer builds the
 * next map and swaps it in; an old map, and a layer that only it names, live
 * until the last guard that could see them is dropped. (Guards instead of
 * counted copies: Neon's issue 657.)
 *
 * Publishing: one caller at a time, who says what is to be freed. Reading: any
 * thread, under a guard.
 */
#ifndef VARVE_CATALOG_LAYER_MAP_H
#define VARVE_CATALOG_LAYER_MAP_H

#include "layer.h"

struct layer_map {
	struct guard_garbage garbage;
	uint32_t count;
	struct layer *layers[];         /* ascending by start; each begins where the one before ends */
};

/* The place from which the current map is reached. */
struct layer_maps {
	_Atomic(struct layer_map *) current;
	bool alone;             /* no guard is or will be taken: what is replaced is freed at once */
};

int layer_maps_init(struct layer_maps *maps);           /* an empty map; -ENOMEM */
/* Free the current map, not its layers. No guard is held. */
void layer_maps_destroy(struct layer_maps *maps);

struct layer_guard {
	const struct layer_map *map;
};

/* Pin the current map and its layers. Cannot fail. Any thread; drop it on the same thread. */
void layer_guard_take(struct layer_guard *guard, struct layer_maps *maps);
void layer_guard_drop(struct layer_guard *guard);

/* Publish a map with @layer behind the others. -ENOMEM: nothing changed. */
int layer_maps_append(struct layer_maps *maps, struct layer *layer);

/* Publish a map with @after in the place of @before, which is in the current
 * one. The caller frees @before by guard_free_later. -ENOMEM: nothing changed. */
int layer_maps_replace(struct layer_maps *maps, struct layer *before, struct layer *after);

/* How many layers, from the oldest, can hold versions at or below @lsn. O(log layers). */
uint32_t layer_map_reach(const struct layer_map *map, struct lsn lsn);

#endif
