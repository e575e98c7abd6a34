#include "layer_map.h"

#include "layer_map_internal.h"

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

uint32_t layer_map_reach(const struct layer_map *map, struct lsn lsn)
{
	uint32_t low = 0, high = map->run_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (map->runs[middle]->start.value < lsn.value)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Searches take no branch that depends on a key: half of them would be guessed wrong. */
static bool is_at_or_below(const struct layer_bound *bound, unsigned __int128 key, struct lsn lsn)
{
	unsigned __int128 here = (unsigned __int128)bound->key.ino << 64 | bound->key.sub;

	return (here < key) | ((here == key) & (bound->lsn.value <= lsn.value));
}

/* How many chunks of @run, from the first, begin at or below (@key, @lsn). */
static uint32_t chunks_reach(const struct layer_run *run, struct key key, struct lsn lsn)
{
	unsigned __int128 wanted = (unsigned __int128)key.ino << 64 | key.sub;
	const struct layer_run_chunk *at = run->chunks;
	uint32_t count = run->chunk_count;

	while (count > 1) {
		uint32_t half = count / 2;

		at += is_at_or_below(&at[half - 1].first, wanted, lsn) ? half : 0;
		count -= half;
	}
	return (uint32_t)(at - run->chunks) + (count && is_at_or_below(&at->first, wanted, lsn));
}

/* How many layers of @chunk. */
static uint32_t layers_reach(const struct layer_chunk *chunk, struct key key, struct lsn lsn)
{
	unsigned __int128 wanted = (unsigned __int128)key.ino << 64 | key.sub;
	const struct layer_bound *at = chunk->bounds;
	uint32_t count = chunk->count;

	while (count > 1) {
		uint32_t half = count / 2;

		at += is_at_or_below(&at[half - 1], wanted, lsn) ? half : 0;
		count -= half;
	}
	return (uint32_t)(at - chunk->bounds) + (count && is_at_or_below(at, wanted, lsn));
}

struct layer *layer_run_find(const struct layer_run *run, struct key key, struct lsn lsn)
{
	const struct layer_chunk *chunk;
	const struct layer_place *place;
	uint32_t reach;

	if (key_compare(key, run->from) < 0)
		return NULL;
	if (!run->level)
		return run->layer;
	reach = chunks_reach(run, key, lsn);
	if (!reach)
		return NULL;
	chunk = run->chunks[reach - 1].chunk;
	/* The chunk begins at or below, so its first layer does. */
	place = &chunk->places[layers_reach(chunk, key, lsn) - 1];
	return key_compare(place->last_key, key) < 0 ? NULL : place->layer;
}

/* Those of one chunk. *done: no layer behind can hold keys up to @high. */
static int chunk_each(const struct layer_chunk *chunk, struct key low, struct key high, layer_fn *fn,
		      void *context, bool *done)
{
	uint32_t at = 0, end = chunk->count;

	/* Last keys ascend as first keys do. */
	while (at < end) {
		uint32_t middle = at + (end - at) / 2;

		if (key_compare(chunk->places[middle].last_key, low) < 0)
			at = middle + 1;
		else
			end = middle;
	}
	for (; at < chunk->count; at++) {
		int result;

		if (key_compare(chunk->bounds[at].key, high) > 0) {
			*done = true;
			return 0;
		}
		result = fn(context, chunk->places[at].layer);
		if (result)
			return result;
	}
	return 0;
}

int layer_run_each(const struct layer_run *run, struct key low, struct key high, layer_fn *fn,
		   void *context)
{
	bool done = false;
	uint32_t at;
	int result = 0;

	if (key_compare(low, run->from) < 0)
		low = run->from;
	if (key_compare(low, high) > 0)
		return 0;
	if (!run->level)
		return run->layer ? fn(context, run->layer) : 0;
	/* The last chunk that begins below @low may reach it. */
	at = chunks_reach(run, low, lsn_make(0));
	if (at)
		at--;
	for (; at < run->chunk_count && !done && !result; at++)
		result = chunk_each(run->chunks[at].chunk, low, high, fn, context, &done);
	return result;
}

int layer_map_each(const struct layer_map *map, layer_fn *fn, void *context)
{
	int result = 0;

	for (uint32_t i = 0; i < map->run_count && !result; i++)
		result = layer_run_each(map->runs[i], (struct key){ 0, 0 }, KEY_END, fn, context);
	return result;
}
