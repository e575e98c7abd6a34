#include "layer_map.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct layer_map *map_new(uint32_t count)
{
	struct layer_map *map = calloc(1, sizeof(*map) + count * sizeof(map->layers[0]));

	if (map)
		map->count = count;
	return map;
}

int layer_maps_init(struct layer_maps *maps)
{
	struct layer_map *map = map_new(0);

	atomic_init(&maps->current, map);
	maps->alone = false;
	return map ? 0 : -ENOMEM;
}

void layer_maps_destroy(struct layer_maps *maps)
{
	free(atomic_load(&maps->current));
	atomic_store(&maps->current, NULL);
}

void layer_guard_take(struct layer_guard *guard, struct layer_maps *maps)
{
	guard_take();
	guard->map = atomic_load_explicit(&maps->current, memory_order_acquire);
}

void layer_guard_drop(struct layer_guard *guard)
{
	guard->map = NULL;
	guard_drop();
}

static void map_free(struct guard_garbage *garbage)
{
	free((char *)garbage - offsetof(struct layer_map, garbage));
}

static void maps_publish(struct layer_maps *maps, struct layer_map *next)
{
	struct layer_map *map =
		atomic_exchange_explicit(&maps->current, next, memory_order_acq_rel);

	if (maps->alone)
		map_free(&map->garbage);
	else
		guard_free_later(&map->garbage, map_free);
}

int layer_maps_append(struct layer_maps *maps, struct layer *layer)
{
	struct layer_map *map = atomic_load_explicit(&maps->current, memory_order_relaxed);
	struct layer_map *next = map_new(map->count + 1);

	if (!next)
		return -ENOMEM;
	assert(map->count == 0 ||
	       map->layers[map->count - 1]->start.value <= layer->start.value);
	memcpy(next->layers, map->layers, map->count * sizeof(map->layers[0]));
	next->layers[map->count] = layer;
	maps_publish(maps, next);
	return 0;
}

int layer_maps_replace(struct layer_maps *maps, struct layer *before, struct layer *after)
{
	struct layer_map *map = atomic_load_explicit(&maps->current, memory_order_relaxed);
	struct layer_map *next = map_new(map->count);
	bool replaced = false;

	if (!next)
		return -ENOMEM;
	for (uint32_t i = 0; i < map->count; i++) {
		bool here = map->layers[i] == before;

		next->layers[i] = here ? after : map->layers[i];
		replaced |= here;
	}
	assert(replaced);
	maps_publish(maps, next);
	return 0;
}

uint32_t layer_map_reach(const struct layer_map *map, struct lsn lsn)
{
	uint32_t low = 0, high = map->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (map->layers[middle]->start.value < lsn.value)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
