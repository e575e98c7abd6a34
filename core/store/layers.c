/*
 * Layers: what the history is kept in, for people to look at.
 */
#include <errno.h>

#include "open_layer.h"
#include "sealed_cursor.h"
#include "sealed_layer.h"
#include "store_internal.h"
#include "table_layer.h"

struct each_layer {
	store_layer_fn *fn;
	void *context;
	const struct layer_run *run;
	struct lsn newest;
};

static struct store_key key_shown(struct key key)
{
	return (struct store_key){ key.ino, key_kind(key), key_index(key) };
}

static void describe_table(const struct layer *layer, struct store_layer *shown)
{
	const struct table_summary *summary = table_layer_summary(layer);

	shown->kind = summary->kind == TABLE_IMAGE ? STORE_LAYER_IMAGE : STORE_LAYER_DELTA;
	shown->first = key_shown(summary->first_key);
	shown->last = key_shown(summary->last_key);
	shown->file_bytes = summary->file_bytes;
	shown->key_count = summary->key_count;
	shown->version_count = summary->version_count;
}

static int show_layer(const struct each_layer *each, const struct layer *layer)
{
	const struct layer_run *run = each->run;
	struct store_layer shown = {
		.id = layer ? layer->id : run->id,
		.run_id = run->id,
		.kind = layer ? STORE_LAYER_OPEN : STORE_LAYER_LOST,
		.level = run->level,
		.start = run->start,
		.end = run->end.value < LSN_HEAD.value ? run->end : each->newest,
		.last = key_shown(KEY_END),
		.merging = run->from.ino != 0,
	};

	if (layer && layer->kind == LAYER_TABLE) {
		describe_table(layer, &shown);
	} else if (layer && layer->kind == LAYER_SEALED) {
		const struct layer_footer *footer =
			sealed_layer_footer((const struct sealed_layer *)layer);

		shown.kind = STORE_LAYER_SEALED;
		shown.file_bytes = sealed_layer_file_bytes((const struct sealed_layer *)layer);
		shown.key_count = footer->key_count;
		shown.version_count = footer->version_count;
	} else if (layer) {
		shown.file_bytes = open_layer_file_bytes((const struct open_layer *)layer);
	}
	return each->fn(each->context, &shown);
}

static int show_one(void *context, struct layer *layer)
{
	return show_layer(context, layer);
}

int store_each_layer(struct store *store, store_layer_fn *fn, void *context)
{
	struct each_layer each = { .fn = fn, .context = context };
	struct layer_guard guard;
	int err = 0;

	each.newest = engine_guard_take(store->engine, &guard);
	for (uint32_t i = 0; i < guard.map->run_count && !err; i++) {
		each.run = guard.map->runs[i];
		if (!each.run->level)
			err = show_layer(&each, each.run->layer);
		else
			err = layer_run_each(each.run, each.run->from, KEY_END, show_one, &each);
	}
	layer_guard_drop(&guard);
	return err;
}

/* ---- the versions in a layer ---- */

struct find_layer {
	uint64_t id;
	struct layer *layer;
};

static int is_it(void *context, struct layer *layer)
{
	struct find_layer *find = context;

	if (layer->id == find->id)
		find->layer = layer;
	return find->layer != NULL;
}

static int show_entry(const struct table_entry *entry, uint64_t layer_id, store_version_fn *fn,
		      void *context)
{
	const struct store_version shown = {
		.key = key_shown(entry->key), .lsn = entry->lsn, .layer_id = layer_id,
		.size_bytes = entry->size_bytes, .form = entry->form, .weight = entry->weight,
	};

	return fn(context, &shown);
}

static int each_of_table(struct layer *layer, store_version_fn *fn, void *context)
{
	struct table_cursor *cursor;
	struct table_entry entry;
	int err = table_cursor_open(layer, (struct key){ 0, 0 }, CURSOR_WINDOW_BYTES, &cursor), stop = 0;

	if (err)
		return err;
	while (!stop && !(err = table_cursor_next(cursor, &entry)))
		stop = show_entry(&entry, layer->id, fn, context);
	table_cursor_close(cursor);
	return stop || err == 1 ? stop : err;
}

static int each_of_sealed(struct layer *layer, store_version_fn *fn, void *context)
{
	struct sealed_cursor *cursor;
	struct table_entry entry;
	int err = sealed_cursor_open(layer, (struct key){ 0, 0 }, CURSOR_WINDOW_BYTES, &cursor), stop = 0;

	while (!err && !stop) {
		err = sealed_cursor_next(cursor, &entry);
		/* That its bytes are damaged is not the index's fault. */
		if (err == -EBADMSG && entry.form)
			err = 0;
		if (!err)
			stop = show_entry(&entry, layer->id, fn, context);
	}
	sealed_cursor_close(cursor);
	return stop || err == 1 ? stop : err;
}

int store_each_version_of_layer(struct store *store, uint64_t layer_id, store_version_fn *fn,
				void *context)
{
	struct find_layer find = { layer_id, NULL };
	struct layer_guard guard;
	int err = -ENOENT;

	engine_guard_take(store->engine, &guard);
	(void)layer_map_each(guard.map, is_it, &find);
	if (find.layer && find.layer->kind == LAYER_TABLE)
		err = each_of_table(find.layer, fn, context);
	else if (find.layer && find.layer->kind == LAYER_SEALED)
		err = each_of_sealed(find.layer, fn, context);
	else if (find.layer)
		err = -EBUSY;
	layer_guard_drop(&guard);
	return err;
}

int store_each_version_of_page(struct store *store, uint64_t ino, uint64_t block,
			       store_version_fn *fn, void *context)
{
	struct key key = key_make(ino, KEY_PAGE, block & KEY_INDEX_MAX);
	struct layer_guard guard;
	struct version version;
	struct lsn at = engine_guard_take(store->engine, &guard);
	int err = 0, stop = 0;

	while (!stop && at.value && !(err = engine_find(&guard, key, at, &version))) {
		const struct store_version shown = {
			.key = key_shown(key), .lsn = version.lsn,
			.layer_id = version.layer->id, .size_bytes = version.size_bytes,
			.form = version.form, .weight = version.weight,
		};

		stop = fn(context, &shown);
		at = lsn_make(version.lsn.value - 1);
	}
	layer_guard_drop(&guard);
	return stop || err == 1 ? stop : err;
}

int store_each_pin(struct store *store, store_pin_fn *fn, void *context)
{
	return engine_each_pin(store->engine, fn, context);
}
