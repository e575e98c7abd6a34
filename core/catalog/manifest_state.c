/*
 * Manifest state: what its records say, all together.
 *
 * A record is checked, and room made for it, before it is applied; applying can't fail.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "manifest_internal.h"

/* ---- runs ---- */

static bool run_is_before(const struct manifest_run *run, struct lsn start, uint64_t run_id)
{
	return run->start.value < start.value || (run->start.value == start.value && run->run_id < run_id);
}

/* The first run that is not before (@start, @run_id). */
uint32_t state_runs_from(const struct manifest *manifest, struct lsn start, uint64_t run_id)
{
	uint32_t low = 0, high = manifest->run_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (run_is_before(&manifest->runs[middle], start, run_id))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct manifest_run *state_run(const struct manifest *manifest, uint64_t run_id)
{
	unsigned kind = id_set_get(&manifest->ids, run_id);

	if (kind != MANIFEST_SEALED && kind != MANIFEST_RUN)
		return NULL;
	for (uint32_t i = manifest->run_count; i-- > 0;)
		if (manifest->runs[i].run_id == run_id)
			return &manifest->runs[i];
	return NULL;
}

const struct manifest_run *manifest_find(const struct manifest *manifest, uint64_t run_id)
{
	return state_run(manifest, run_id);
}

int state_make_run_room(struct manifest *manifest)
{
	uint32_t room = manifest->run_room ? 2 * manifest->run_room : 64;
	struct manifest_run *runs;

	if (manifest->run_count < manifest->run_room)
		return 0;
	runs = realloc(manifest->runs, room * sizeof(*runs));
	if (!runs)
		return -ENOMEM;
	manifest->runs = runs;
	manifest->run_room = room;
	return 0;
}

static struct manifest_run *runs_insert(struct manifest *manifest, const struct manifest_run *run)
{
	uint32_t at = state_runs_from(manifest, run->start, run->run_id);

	assert(manifest->run_count < manifest->run_room);
	memmove(&manifest->runs[at + 1], &manifest->runs[at],
		(manifest->run_count - at) * sizeof(*manifest->runs));
	manifest->runs[at] = *run;
	manifest->run_count++;
	return &manifest->runs[at];
}

int state_make_layer_room(struct manifest_run *run, uint32_t count)
{
	uint64_t needed = (uint64_t)run->layer_count + count, room = needed + needed / 8;
	struct table_summary *layers;

	if (run->layer_first + needed <= run->layer_room)
		return 0;
	if (room > UINT32_MAX)
		return -ENOMEM;
	if (run->layer_first)
		memmove(run->layers, run->layers + run->layer_first, run->layer_count * sizeof(*run->layers));
	run->layer_first = 0;
	layers = realloc(run->layers, room * sizeof(*layers));
	if (!layers)
		return -ENOMEM;
	run->layers = layers;
	run->layer_room = (uint32_t)room;
	return 0;
}

const struct table_summary *manifest_run_layers(const struct manifest_run *run)
{
	return run->layers ? run->layers + run->layer_first : NULL;
}

const struct table_summary *state_last_layer(const struct manifest_run *run)
{
	return run->layer_count ? &run->layers[run->layer_first + run->layer_count - 1] : NULL;
}

void state_run_trim(struct manifest *manifest, struct manifest_run *run, struct key from)
{
	struct table_summary *layers;

	while (run->layer_count && key_compare(run->layers[run->layer_first].last_key, from) < 0) {
		id_set_remove(&manifest->ids, run->layers[run->layer_first].layer_id);
		run->layer_first++;
		run->layer_count--;
	}
	if (!run->layer_first || run->layer_first < run->layer_room / 2)
		return;
	memmove(run->layers, run->layers + run->layer_first, run->layer_count * sizeof(*run->layers));
	run->layer_first = 0;
	layers = realloc(run->layers, (run->layer_count ? run->layer_count : 1) * sizeof(*layers));
	if (layers) {
		run->layers = layers;
		run->layer_room = run->layer_count ? run->layer_count : 1;
	}
}

static void run_remove(struct manifest *manifest, uint32_t at)
{
	struct manifest_run *run = &manifest->runs[at];

	for (uint32_t i = 0; i < run->layer_count; i++)
		id_set_remove(&manifest->ids, run->layers[run->layer_first + i].layer_id);
	id_set_remove(&manifest->ids, run->run_id);
	free(run->layers);
	memmove(run, run + 1, (manifest->run_count - at - 1) * sizeof(*run));
	manifest->run_count--;
}

uint64_t manifest_layer_count(const struct manifest *manifest)
{
	uint64_t count = 0;

	for (uint32_t i = 0; i < manifest->run_count; i++)
		count += manifest->runs[i].level ? manifest->runs[i].layer_count : 1;
	return count;
}

bool manifest_replaced(const struct manifest *manifest, struct lsn start, struct lsn end)
{
	for (uint32_t i = 0; i < manifest->run_count; i++) {
		const struct manifest_run *run = &manifest->runs[i];

		if (run->level && run->start.value <= start.value && end.value <= run->end.value)
			return true;
	}
	return false;
}

/* ---- ids ---- */

enum manifest_kind manifest_kind_of(const struct manifest *manifest, uint64_t id)
{
	return (enum manifest_kind)id_set_get(&manifest->ids, id);
}

bool manifest_names(const struct manifest *manifest, uint64_t layer_id)
{
	enum manifest_kind kind = manifest_kind_of(manifest, layer_id);

	return kind != MANIFEST_NONE && kind != MANIFEST_RUN;
}

bool state_id_is_new(const struct manifest *manifest, uint64_t id)
{
	return id && id < ID_LIMIT && !id_set_get(&manifest->ids, id);
}

static void id_put(struct manifest *manifest, uint64_t id, enum manifest_kind kind)
{
	id_set_put(&manifest->ids, id, kind);
	if (id >= manifest->id_next)
		manifest->id_next = id + 1;
}

/* Ids that are new, and no two of them the same. They are put and taken away again. */
bool state_layer_ids_are_new(struct manifest *manifest, uint64_t run_id, const struct table_summary *layers,
			     uint32_t count)
{
	uint32_t i = 0;

	while (i < count && layers[i].layer_id != run_id && state_id_is_new(manifest, layers[i].layer_id))
		id_set_put(&manifest->ids, layers[i++].layer_id, MANIFEST_TABLE);
	for (uint32_t j = 0; j < i; j++)
		id_set_remove(&manifest->ids, layers[j].layer_id);
	return i == count;
}

static uint32_t open_find(const struct manifest *manifest, uint64_t layer_id)
{
	uint32_t at = 0;

	while (at < manifest->open_count && manifest->open_ids[at] != layer_id)
		at++;
	return at;
}

static void open_remove(struct manifest *manifest, uint64_t layer_id)
{
	uint32_t at = open_find(manifest, layer_id);

	assert(at < manifest->open_count);
	memmove(&manifest->open_ids[at], &manifest->open_ids[at + 1],
		(manifest->open_count - at - 1) * sizeof(*manifest->open_ids));
	manifest->open_count--;
}

int state_make_open_room(struct manifest *manifest)
{
	uint32_t room = manifest->open_room ? 2 * manifest->open_room : 16;
	uint64_t *ids;

	if (manifest->open_count < manifest->open_room)
		return 0;
	ids = realloc(manifest->open_ids, room * sizeof(*ids));
	if (!ids)
		return -ENOMEM;
	manifest->open_ids = ids;
	manifest->open_room = room;
	return 0;
}

/* ---- tags ---- */

/* Where the tag is, or would be. */
uint32_t state_tag_place(const struct manifest *manifest, const char *name, uint32_t name_bytes, bool *there)
{
	uint32_t low = 0, high = manifest->tag_count;

	*there = false;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const char *other = manifest->tags[middle].name;
		int order = strncmp(other, name, name_bytes);

		if (!order && other[name_bytes])
			order = 1;
		if (!order) {
			*there = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int state_make_tag_room(struct manifest *manifest)
{
	uint32_t room = manifest->tag_room ? 2 * manifest->tag_room : 16;
	struct manifest_tag *tags;

	if (manifest->tag_count < manifest->tag_room)
		return 0;
	tags = realloc(manifest->tags, room * sizeof(*tags));
	if (!tags)
		return -ENOMEM;
	manifest->tags = tags;
	manifest->tag_room = room;
	return 0;
}

static void tag_apply(struct manifest *manifest, const struct record *record)
{
	bool there;
	uint32_t at = state_tag_place(manifest, record->name, record->name_bytes, &there);
	struct manifest_tag *tag = &manifest->tags[at];

	if (!record->lsn.value) {
		memmove(tag, tag + 1, (manifest->tag_count - at - 1) * sizeof(*tag));
		manifest->tag_count--;
		return;
	}
	if (!there) {
		memmove(tag + 1, tag, (manifest->tag_count - at) * sizeof(*tag));
		manifest->tag_count++;
		memset(tag, 0, sizeof(*tag));
		memcpy(tag->name, record->name, record->name_bytes);
	}
	tag->lsn = record->lsn;
}

/* ---- what it does ---- */

static void layers_add(struct manifest *manifest, struct manifest_run *run,
		       const struct table_summary *layers, uint32_t count)
{
	assert(run->layer_first + run->layer_count + count <= run->layer_room || !count);
	if (count)
		memcpy(&run->layers[run->layer_first + run->layer_count], layers, count * sizeof(*layers));
	run->layer_count += count;
	for (uint32_t i = 0; i < count; i++)
		id_put(manifest, layers[i].layer_id, MANIFEST_TABLE);
}

static void sealed_apply(struct manifest *manifest, const struct manifest_run *from)
{
	struct manifest_run run = {
		.run_id = from->run_id, .start = from->start, .end = from->end,
		.chain_end = from->chain_end, .file_bytes = from->file_bytes,
	};

	open_remove(manifest, run.run_id);
	id_put(manifest, run.run_id, MANIFEST_SEALED);
	runs_insert(manifest, &run);
}

/* A run that was not there before, with the room that was made for its tables. */
static struct manifest_run *run_begin(struct manifest *manifest, struct record *record, uint64_t run_id,
				      uint32_t level, struct lsn start, struct lsn end, uint32_t layer_room)
{
	struct manifest_run run = {
		.run_id = run_id, .level = level, .start = start, .end = end,
		.layers = record->fresh, .layer_room = record->fresh ? layer_room : 0,
	};

	record->fresh = NULL;
	id_put(manifest, run_id, MANIFEST_RUN);
	return runs_insert(manifest, &run);
}

static void piece_apply(struct manifest *manifest, struct record *record)
{
	const struct manifest_piece *piece = &record->piece;
	struct manifest_run *output = state_run(manifest, piece->run_id);
	uint32_t at;

	if (!output)
		output = run_begin(manifest, record, piece->run_id, piece->level, piece->start, piece->end,
				   piece->layer_count);
	layers_add(manifest, output, piece->layers, piece->layer_count);
	at = state_runs_from(manifest, piece->start, piece->inputs[0]);
	for (uint32_t inputs = 0; inputs < piece->input_count;) {
		struct manifest_run *run = &manifest->runs[at];

		if (run->run_id == piece->run_id) {
			at++;
			continue;
		}
		inputs++;
		if (run->end.value == piece->end.value)
			state_run(manifest, piece->run_id)->chain_end = run->chain_end;
		if (piece->last) {
			run_remove(manifest, at);
			continue;
		}
		run->from = piece->upto;
		run->into = piece->run_id;
		state_run_trim(manifest, run, piece->upto);
		at++;
	}
}

static void run_apply(struct manifest *manifest, struct record *record)
{
	const struct manifest_run *from = &record->run;
	struct manifest_run *run = state_run(manifest, from->run_id);

	if (!run)
		run = run_begin(manifest, record, from->run_id, from->level, from->start, from->end,
				from->layer_count);
	run->from = from->from;
	run->into = from->into;
	run->chain_end = from->chain_end;
	layers_add(manifest, run, from->layers, from->layer_count);
}

static void lost_apply(struct manifest *manifest, uint64_t layer_id)
{
	struct manifest_run *sealed = state_run(manifest, layer_id);

	if (sealed)
		sealed->lost = true;
	for (uint32_t r = 0; r < manifest->run_count && !sealed; r++) {
		struct manifest_run *run = &manifest->runs[r];

		for (uint32_t i = run->layer_first; i < run->layer_first + run->layer_count; i++)
			if (run->layers[i].layer_id == layer_id)
				run->layers[i].lost = true;
	}
}

void record_apply(struct manifest *manifest, struct record *record)
{
	switch (record->type) {
	case RECORD_LAYER_OPENED:
		manifest->open_ids[manifest->open_count++] = record->id;
		id_put(manifest, record->id, MANIFEST_OPEN);
		break;
	case RECORD_LAYER_SEALED:
		sealed_apply(manifest, &record->run);
		break;
	case RECORD_LAYER_DROPPED:
		open_remove(manifest, record->id);
		id_set_remove(&manifest->ids, record->id);
		break;
	case RECORD_DURABLE:
		if (record->lsn.value > manifest->durable.value)
			manifest->durable = record->lsn;
		break;
	case RECORD_PIECE:
		piece_apply(manifest, record);
		break;
	case RECORD_WINDOW:
		manifest->window_ns = record->window_ns;
		manifest->window_bytes = record->window_bytes;
		break;
	case RECORD_OLDEST:
		manifest->oldest = record->lsn;
		break;
	case RECORD_TAG:
		tag_apply(manifest, record);
		break;
	case RECORD_LOST:
		lost_apply(manifest, record->id);
		break;
	case RECORD_RUN:
		run_apply(manifest, record);
		break;
	case RECORD_INODES:
		if (record->id > manifest->ino_next)
			manifest->ino_next = record->id;
		break;
	case RECORD_IDS:
		if (record->id > manifest->id_next)
			manifest->id_next = record->id;
		break;
	}
}

uint64_t record_weight(const struct record *record)
{
	if (record->type == RECORD_PIECE)
		return 1 + (uint64_t)record->piece.layer_count;
	return 1 + (uint64_t)(record->type == RECORD_RUN ? record->run.layer_count : 0);
}

uint64_t manifest_needed(const struct manifest *manifest)
{
	uint64_t needed = manifest->open_count + manifest->tag_count + 4;

	for (uint32_t i = 0; i < manifest->run_count; i++) {
		const struct manifest_run *run = &manifest->runs[i];

		needed += run->level ? 1 + run->layer_count / MANIFEST_PIECE_LAYERS_MAX + run->layer_count
				     : 2u + (run->into != 0) + run->lost;
	}
	return needed;
}

void manifest_free_state(struct manifest *manifest)
{
	for (uint32_t i = 0; i < manifest->run_count; i++)
		free(manifest->runs[i].layers);
	free(manifest->runs);
	free(manifest->open_ids);
	free(manifest->tags);
	id_set_destroy(&manifest->ids);
	manifest->runs = NULL;
	manifest->open_ids = NULL;
	manifest->tags = NULL;
	manifest->run_count = manifest->open_count = manifest->tag_count = 0;
	manifest->run_room = manifest->open_room = manifest->tag_room = 0;
}

/* ---- changing what is in memory alone ---- */

int manifest_add_open(struct manifest *manifest, uint64_t layer_id)
{
	uint32_t at = manifest->open_count;
	int err;

	if (!state_id_is_new(manifest, layer_id))
		return -EUCLEAN;
	err = id_set_reserve(&manifest->ids, 1);
	if (!err)
		err = state_make_open_room(manifest);
	if (err)
		return err;
	while (at && manifest->open_ids[at - 1] > layer_id)
		at--;
	memmove(&manifest->open_ids[at + 1], &manifest->open_ids[at],
		(manifest->open_count - at) * sizeof(*manifest->open_ids));
	manifest->open_ids[at] = layer_id;
	manifest->open_count++;
	id_put(manifest, layer_id, MANIFEST_OPEN);
	return 0;
}

int manifest_add_run(struct manifest *manifest, const struct manifest_run *run)
{
	struct manifest_run copy = *run;
	int err = id_set_reserve(&manifest->ids, run->layer_count + 1);

	copy.layers = NULL;
	copy.layer_first = copy.layer_count = copy.layer_room = 0;
	if (!state_id_is_new(manifest, run->run_id))
		return -EUCLEAN;
	if (!err)
		err = state_make_run_room(manifest);
	if (!err)
		err = state_make_layer_room(&copy, run->layer_count);
	if (!err && !state_layer_ids_are_new(manifest, run->run_id, manifest_run_layers(run), run->layer_count))
		err = -EUCLEAN;
	if (err) {
		free(copy.layers);
		return err;
	}
	id_put(manifest, run->run_id, run->level ? MANIFEST_RUN : MANIFEST_SEALED);
	layers_add(manifest, &copy, manifest_run_layers(run), run->layer_count);
	runs_insert(manifest, &copy);
	return 0;
}

int manifest_take_settings(struct manifest *manifest, const struct manifest *from)
{
	struct manifest_tag *tags = NULL;

	if (from->tag_count) {
		tags = malloc(from->tag_count * sizeof(*tags));
		if (!tags)
			return -ENOMEM;
		memcpy(tags, from->tags, from->tag_count * sizeof(*tags));
	}
	free(manifest->tags);
	manifest->tags = tags;
	manifest->tag_count = manifest->tag_room = from->tag_count;
	manifest->store = from->store;
	manifest->made_ns = from->made_ns;
	manifest->compression = from->compression;
	manifest->durable = from->durable;
	manifest->oldest = from->oldest;
	manifest->window_ns = from->window_ns;
	manifest->window_bytes = from->window_bytes;
	if (from->id_next > manifest->id_next)
		manifest->id_next = from->id_next;
	if (from->ino_next > manifest->ino_next)
		manifest->ino_next = from->ino_next;
	return 0;
}

void manifest_leave_out(struct manifest *manifest, uint64_t id)
{
	struct manifest_run *run = state_run(manifest, id);

	if (run) {
		run_remove(manifest, (uint32_t)(run - manifest->runs));
	} else if (manifest_kind_of(manifest, id) == MANIFEST_OPEN) {
		open_remove(manifest, id);
		id_set_remove(&manifest->ids, id);
	}
}
