/*
 * Layer map, edited: the next map is built beside the current one.
 *
 * What an edit makes is fresh: it may be changed until the map is published, and is freed when the edit
 * is aborted. What it takes the place of, in the current map, is dead: it is freed with that map, behind the
 * guards that could see it.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "layer_map_internal.h"

static struct layer_map *map_new(uint32_t room)
{
	return calloc(1, sizeof(struct layer_map) + room * sizeof(struct layer_run *));
}

int layer_maps_init(struct layer_maps *maps)
{
	struct layer_map *map = map_new(0);

	atomic_init(&maps->current, map);
	maps->alone = false;
	return map ? 0 : -ENOMEM;
}

/* ---- parts ---- */

static void parts_free(struct layer_map_part *part)
{
	while (part) {
		struct layer_map_part *next = part->next;

		free(part);
		part = next;
	}
}

static void part_is_fresh(struct layer_map_edit *edit, struct layer_map_part *part)
{
	part->fresh = true;
	part->next = edit->fresh;
	edit->fresh = part;
}

/* The next map is without it. A fresh one stays listed as that and is freed with the rest: @fresh
 * false on the list says so. */
static void part_is_dead(struct layer_map_edit *edit, struct layer_map_part *part)
{
	if (part->fresh) {
		part->fresh = false;
		return;
	}
	part->next = edit->dead;
	edit->dead = part;
}

static void map_free(struct guard_garbage *garbage)
{
	struct layer_map *map = (struct layer_map *)((char *)garbage - offsetof(struct layer_map, garbage));

	parts_free(map->dead);
	free(map);
}

/* ---- chunks ---- */

static size_t chunk_bytes(uint32_t room)
{
	return sizeof(struct layer_chunk) + room * (sizeof(struct layer_bound) + sizeof(struct layer_place));
}

/* A fresh chunk of @from's layers from @first on, with room for more. @from may be NULL. */
static struct layer_chunk *chunk_new(struct layer_map_edit *edit, const struct layer_chunk *from, uint32_t first,
				     uint32_t more)
{
	uint32_t count = from ? from->count - first : 0;
	struct layer_chunk *chunk = calloc(1, chunk_bytes(count + more));

	if (!chunk)
		return NULL;
	part_is_fresh(edit, &chunk->part);
	chunk->count = count;
	chunk->room = count + more;
	chunk->places = (struct layer_place *)&chunk->bounds[chunk->room];
	if (count) {
		memcpy(chunk->bounds, from->bounds + first, count * sizeof(chunk->bounds[0]));
		memcpy(chunk->places, from->places + first, count * sizeof(chunk->places[0]));
	}
	return chunk;
}

static struct layer_chunk_list *list_of(const struct layer_run *run)
{
	return (struct layer_chunk_list *)((char *)run->chunks - offsetof(struct layer_chunk_list, chunks));
}

/* Give @run, which is fresh, a list of its own with room for more. The one it has is not touched. */
static int list_copy(struct layer_map_edit *edit, struct layer_run *run)
{
	uint32_t room = run->chunk_count + run->chunk_count / 8 + 2;
	struct layer_chunk_list *list = malloc(sizeof(*list) + room * sizeof(list->chunks[0]));

	if (!list)
		return -ENOMEM;
	part_is_fresh(edit, &list->part);
	if (run->chunk_count)
		memcpy(list->chunks, run->chunks, run->chunk_count * sizeof(list->chunks[0]));
	if (run->chunks)
		part_is_dead(edit, &list_of(run)->part);
	run->chunks = list->chunks;
	run->chunk_room = room;
	return 0;
}

/* The last chunk of @run, with room for a layer more, in a list that is its own. */
static struct layer_chunk *chunk_with_room(struct layer_map_edit *edit, struct layer_run *run)
{
	struct layer_chunk *last = run->chunk_count ? run->chunks[run->chunk_count - 1].chunk : NULL;
	struct layer_chunk *chunk;
	uint32_t more;

	if (last && last->part.fresh && last->count < last->room)
		return last;
	if (last && last->count == LAYER_CHUNK_MAX)
		last = NULL;
	more = last ? last->count + 16 : 16;
	if (last && more > LAYER_CHUNK_MAX - last->count)
		more = LAYER_CHUNK_MAX - last->count;
	if (!last && run->chunk_count == run->chunk_room && list_copy(edit, run))
		return NULL;
	chunk = chunk_new(edit, last, 0, more);
	if (!chunk)
		return NULL;
	if (last)
		part_is_dead(edit, &last->part);
	else
		run->chunk_count++;
	run->chunks[run->chunk_count - 1].chunk = chunk;
	return chunk;
}

static int run_append(struct layer_map_edit *edit, struct layer_run *run, const struct table_summary *summary,
		      struct layer *layer)
{
	struct layer_chunk *chunk = chunk_with_room(edit, run);

	if (!chunk)
		return -ENOMEM;
	chunk->bounds[chunk->count] = (struct layer_bound){ summary->first_key, summary->first_lsn };
	chunk->places[chunk->count] =
		(struct layer_place){ summary->last_key, summary->file_bytes, layer };
	chunk->count++;
	run->chunks[run->chunk_count - 1].first = chunk->bounds[0];
	run->layer_count++;
	run->file_bytes += summary->file_bytes;
	return 0;
}

static int run_append_all(struct layer_map_edit *edit, struct layer_run *run,
			  const struct table_summary *summaries, uint32_t count, struct layer *const *layers)
{
	int err = 0;

	for (uint32_t i = 0; i < count && !err; i++)
		err = run_append(edit, run, &summaries[i], layers[i]);
	return err;
}

/* ---- runs ---- */

static uint32_t runs_lower_bound(const struct layer_map *map, struct lsn start, uint64_t id)
{
	uint32_t low = 0, high = map->run_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct layer_run *run = map->runs[middle];

		if (run->start.value < start.value || (run->start.value == start.value && run->id < id))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* A fresh run at its place in the next map; NULL: no memory. */
static struct layer_run *run_add(struct layer_map_edit *edit, uint64_t id, uint32_t level, struct lsn start,
				 struct lsn end)
{
	struct layer_map *map = edit->next;
	struct layer_run *run = calloc(1, sizeof(*run));
	uint32_t at;

	if (!run)
		return NULL;
	part_is_fresh(edit, &run->part);
	if (map->run_count == edit->run_room) {
		uint32_t room = 2 * edit->run_room;

		map = realloc(map, sizeof(*map) + room * sizeof(map->runs[0]));
		if (!map)
			return NULL;
		edit->next = map;
		edit->run_room = room;
	}
	run->id = id;
	run->level = level;
	run->start = start;
	run->end = end;
	at = runs_lower_bound(map, start, id);
	memmove(&map->runs[at + 1], &map->runs[at], (map->run_count - at) * sizeof(map->runs[0]));
	map->runs[at] = run;
	map->run_count++;
	return run;
}

/* Run @at of the next map, to be changed; NULL: no memory. */
static struct layer_run *run_own(struct layer_map_edit *edit, uint32_t at)
{
	struct layer_run *before = edit->next->runs[at], *run;

	if (before->part.fresh)
		return before;
	run = malloc(sizeof(*run));
	if (!run)
		return NULL;
	*run = *before;
	part_is_fresh(edit, &run->part);
	part_is_dead(edit, &before->part);
	edit->next->runs[at] = run;
	return run->chunks && list_copy(edit, run) ? NULL : run;
}

/* Take the first @count layers of @chunk out of the map. There is room. */
static void layers_leave(struct layer_map_edit *edit, struct layer_run *run, const struct layer_chunk *chunk,
			 uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		edit->gone[edit->gone_count++] = chunk->places[i].layer;
		run->file_bytes -= chunk->places[i].file_bytes;
		run->layer_count--;
	}
}

static int gone_make_room(struct layer_map_edit *edit, uint64_t count)
{
	uint64_t needed = edit->gone_count + count, room = 2 * needed;
	struct layer **gone;

	if (needed <= edit->gone_room)
		return 0;
	if (room > UINT32_MAX)
		return -ENOMEM;
	gone = realloc(edit->gone, room * sizeof(struct layer *));
	if (!gone)
		return -ENOMEM;
	edit->gone = gone;
	edit->gone_room = (uint32_t)room;
	return 0;
}

/* How many layers of @chunk hold no key from @from on. */
static uint32_t layers_below(const struct layer_chunk *chunk, struct key from)
{
	uint32_t low = 0, high = chunk->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (key_compare(chunk->places[middle].last_key, from) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Put @run's layers that hold no key from @from on out of the map. It is fresh, its list is its own. */
static int run_trim(struct layer_map_edit *edit, struct layer_run *run, struct key from)
{
	uint32_t whole = 0;

	run->from = from;
	for (; whole < run->chunk_count; whole++) {
		struct layer_chunk *chunk = run->chunks[whole].chunk, *rest;
		uint32_t below = layers_below(chunk, from);

		if (!below)
			break;
		if (gone_make_room(edit, below))
			return -ENOMEM;
		layers_leave(edit, run, chunk, below);
		part_is_dead(edit, &chunk->part);
		if (below < chunk->count) {
			rest = chunk_new(edit, chunk, below, 0);
			if (!rest)
				return -ENOMEM;
			run->chunks[whole] = (struct layer_run_chunk){ rest->bounds[0], rest };
			break;
		}
	}
	run->chunk_count -= whole;
	if (whole)
		memmove(run->chunks, run->chunks + whole, run->chunk_count * sizeof(run->chunks[0]));
	return 0;
}

/* Put run @at, with all its layers, out of the map. */
static int run_leaves(struct layer_map_edit *edit, uint32_t at)
{
	struct layer_map *map = edit->next;
	struct layer_run *run = map->runs[at];

	if (gone_make_room(edit, run->layer_count))
		return -ENOMEM;
	if (run->layer)
		edit->gone[edit->gone_count++] = run->layer;
	for (uint32_t i = 0; i < run->chunk_count; i++) {
		struct layer_chunk *chunk = run->chunks[i].chunk;

		for (uint32_t j = 0; j < chunk->count; j++)
			edit->gone[edit->gone_count++] = chunk->places[j].layer;
		part_is_dead(edit, &chunk->part);
	}
	if (run->chunks)
		part_is_dead(edit, &list_of(run)->part);
	part_is_dead(edit, &run->part);
	memmove(&map->runs[at], &map->runs[at + 1], (map->run_count - at - 1) * sizeof(map->runs[0]));
	map->run_count--;
	return 0;
}

/* ---- edits ---- */

int layer_map_edit_begin(struct layer_maps *maps, struct layer_map_edit *edit)
{
	const struct layer_map *map = atomic_load_explicit(&maps->current, memory_order_relaxed);

	*edit = (struct layer_map_edit){ .maps = maps, .run_room = map->run_count + 4 };
	edit->next = map_new(edit->run_room);
	if (!edit->next)
		return -ENOMEM;
	memcpy(edit->next->runs, map->runs, map->run_count * sizeof(map->runs[0]));
	edit->next->run_count = map->run_count;
	return 0;
}

int layer_map_edit_add(struct layer_map_edit *edit, struct layer *layer, uint64_t id, struct lsn start,
		       struct lsn end)
{
	struct layer_run *run = run_add(edit, id, 0, start, end);

	if (!run)
		return -ENOMEM;
	run->layer = layer;
	run->layer_count = 1;
	return 0;
}

int layer_map_edit_replace(struct layer_map_edit *edit, struct layer *before, struct layer *after,
			   struct lsn end)
{
	uint32_t at = edit->next->run_count;
	struct layer_run *run;

	while (at-- > 0 && edit->next->runs[at]->layer != before)
		;
	assert(at < edit->next->run_count);
	run = run_own(edit, at);
	if (!run)
		return -ENOMEM;
	run->layer = after;
	run->end = end;
	return 0;
}

int layer_map_edit_run(struct layer_map_edit *edit, const struct manifest_run *from,
		       struct layer *const *layers)
{
	struct layer_run *run = run_add(edit, from->run_id, from->level, from->start, from->end);

	if (!run)
		return -ENOMEM;
	run->from = from->from;
	run->lost = manifest_run_is_lost(from);
	if (from->level)
		return run_append_all(edit, run, manifest_run_layers(from), from->layer_count, layers);
	run->layer = layers ? layers[0] : NULL;
	run->layer_count = run->layer != NULL;
	return 0;
}

/* The output run of @piece, to be changed. */
static struct layer_run *output_own(struct layer_map_edit *edit, const struct manifest_piece *piece)
{
	uint32_t at = runs_lower_bound(edit->next, piece->start, piece->run_id);

	if (at < edit->next->run_count && edit->next->runs[at]->id == piece->run_id)
		return run_own(edit, at);
	return run_add(edit, piece->run_id, piece->level, piece->start, piece->end);
}

static int input_step(struct layer_map_edit *edit, uint32_t at, const struct manifest_piece *piece)
{
	struct layer_run *run;

	if (piece->last)
		return run_leaves(edit, at);
	run = run_own(edit, at);
	return run ? run_trim(edit, run, piece->upto) : -ENOMEM;
}

int layer_map_edit_piece(struct layer_map_edit *edit, const struct manifest_piece *piece,
			 struct layer *const *layers)
{
	struct layer_run *output = output_own(edit, piece);
	int err = output ? run_append_all(edit, output, piece->layers, piece->layer_count, layers) : -ENOMEM;
	uint32_t at = piece->input_count ? runs_lower_bound(edit->next, piece->start, piece->inputs[0]) : 0;
	uint32_t inputs = 0;

	while (!err && inputs < piece->input_count) {
		assert(at < edit->next->run_count);
		if (edit->next->runs[at]->id == piece->run_id) {
			at++;
			continue;
		}
		assert(edit->next->runs[at]->id == piece->inputs[inputs]);
		inputs++;
		err = input_step(edit, at, piece);
		if (!piece->last)
			at++;
	}
	return err;
}

void layer_map_edit_publish(struct layer_map_edit *edit)
{
	struct layer_map_part *part = edit->fresh, *unused = NULL;
	struct layer_map *before;

	while (part) {
		struct layer_map_part *next = part->next;

		if (!part->fresh) {
			part->next = unused;
			unused = part;
		}
		part->fresh = false;
		part = next;
	}
	parts_free(unused);
	before = atomic_exchange_explicit(&edit->maps->current, edit->next, memory_order_acq_rel);
	before->dead = edit->dead;
	if (edit->maps->alone)
		map_free(&before->garbage);
	else
		guard_free_later(&before->garbage, map_free);
	edit->next = NULL;
	edit->fresh = edit->dead = NULL;
}

void layer_map_edit_abort(struct layer_map_edit *edit)
{
	parts_free(edit->fresh);
	free(edit->next);
	free(edit->gone);
	*edit = (struct layer_map_edit){ 0 };
}

static int edit_end(struct layer_map_edit *edit, int err)
{
	if (err)
		layer_map_edit_abort(edit);
	else
		layer_map_edit_publish(edit);
	return err;
}

int layer_maps_add(struct layer_maps *maps, struct layer *layer, uint64_t id, struct lsn start,
		   struct lsn end)
{
	struct layer_map_edit edit;
	int err = layer_map_edit_begin(maps, &edit);

	if (!err)
		err = layer_map_edit_add(&edit, layer, id, start, end);
	return edit_end(&edit, err);
}

int layer_maps_replace(struct layer_maps *maps, struct layer *before, struct layer *after,
		       struct lsn end)
{
	struct layer_map_edit edit;
	int err = layer_map_edit_begin(maps, &edit);

	if (!err)
		err = layer_map_edit_replace(&edit, before, after, end);
	return edit_end(&edit, err);
}

void layer_maps_destroy(struct layer_maps *maps)
{
	struct layer_map *map = atomic_load(&maps->current);

	for (uint32_t i = 0; map && i < map->run_count; i++) {
		struct layer_run *run = map->runs[i];

		for (uint32_t j = 0; j < run->chunk_count; j++)
			free(run->chunks[j].chunk);
		if (run->chunks)
			free(list_of(run));
		free(run);
	}
	free(map);
	atomic_store(&maps->current, NULL);
}
