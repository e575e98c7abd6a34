#include "test_runs.h"

#include "table_format.h"

struct key runs_key(unsigned number)
{
	return key_make(16 + number / 5, KEY_PAGE, number % 5);
}

/* ---- layers ---- */

static void layer_free(struct guard_garbage *garbage)
{
	struct runs_layer *layer = (struct runs_layer *)((char *)garbage - offsetof(struct runs_layer, base.garbage));

	atomic_store_explicit(&layer->alive, 0, memory_order_relaxed);
	free(layer->versions);
	free(layer);
}

static struct runs_layer *layer_new(struct runs_world *world, const struct runs_version *versions, unsigned count)
{
	struct runs_layer *layer = calloc(1, sizeof(*layer));

	assert_non_null(layer);
	layer->versions = malloc((count + 1) * sizeof(*versions));
	assert_non_null(layer->versions);
	memcpy(layer->versions, versions, count * sizeof(*versions));
	layer->count = count;
	layer->base.kind = LAYER_SEALED;
	layer->base.id = world->next_id++;
	atomic_store(&layer->alive, RUNS_ALIVE);
	assert_true(layer->base.id < RUNS_LAYERS_MAX);
	world->layers[layer->base.id] = layer;
	return layer;
}

static struct runs_layer *table_new(struct runs_world *world, struct runs_merge *merge,
				    const struct runs_version *versions, unsigned count)
{
	struct runs_layer *layer = layer_new(world, versions, count);
	const struct runs_version *last = &versions[count - 1];

	layer->summary = (struct table_summary){
		.layer_id = layer->base.id, .run_id = merge->run_id, .kind = TABLE_DELTA, .level = merge->level,
		.number = merge->number++, .start = merge->start, .end = merge->end, .oldest = merge->horizon,
		.first_key = runs_key(versions->key), .last_key = runs_key(last->key),
		.first_lsn = lsn_make(versions->lsn), .last_lsn = lsn_make(last->lsn),
		.file_bytes = 4096 + 100 * count, .version_count = count, .checksum = layer->base.id * 7,
		.key_count = count, .payload_bytes = 100 * count, .ino_max = runs_key(last->key).ino,
	};
	return layer;
}

/* ---- the world ---- */

void runs_start(struct runs_world *world, int dir_fd, uint64_t seed)
{
	struct report report = { "" };

	memset(world, 0, sizeof(*world));
	world->prng.state = seed;
	world->next_id = 1;
	world->layers = calloc(RUNS_LAYERS_MAX, sizeof(struct runs_layer *));
	assert_non_null(world->layers);
	assert_ok(manifest_open(&world->manifest, dir_fd, true, &report));
	assert_ok(manifest_tidy(&world->manifest));
	assert_ok(layer_maps_init(&world->maps));
}

void runs_stop(struct runs_world *world)
{
	layer_maps_destroy(&world->maps);
	for (uint64_t id = 0; id < world->next_id; id++)
		if (world->layers[id])
			guard_free_later(&world->layers[id]->base.garbage, layer_free);
	guard_barrier();
	free(world->layers);
	free(world->leftover);
	free(world->history);
	manifest_close(&world->manifest);
}

static int version_compare(const void *left, const void *right)
{
	const struct runs_version *a = left, *b = right;

	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	return a->lsn < b->lsn ? -1 : a->lsn > b->lsn;
}

static void seal_layer(struct runs_world *world)
{
	struct manifest_run run = { .start = world->end };
	struct runs_version versions[40];
	unsigned count = 1 + (unsigned)prng_below(&world->prng, array_size(versions));
	struct runs_layer *layer;
	struct layer *open;

	for (unsigned i = 0; i < count; i++) {
		world->end.value += 1 + prng_below(&world->prng, 5);
		versions[i] = (struct runs_version){ (unsigned)prng_below(&world->prng, RUNS_KEYS),
						     world->end.value, !prng_below(&world->prng, 5) };
		if (world->history_count == world->history_room) {
			world->history_room = 2 * world->history_room + 64;
			world->history = realloc(world->history, world->history_room * sizeof(versions[0]));
			assert_non_null(world->history);
		}
		world->history[world->history_count++] = versions[i];
	}
	qsort(versions, count, sizeof(versions[0]), version_compare);
	layer = layer_new(world, versions, count);
	open = &layer->base;
	open->start = run.start;
	layer->summary.end = world->end;
	run.run_id = open->id;
	run.end = world->end;
	run.chain_end = run.file_bytes = open->id * 4096;
	assert_ok(manifest_layer_opened(&world->manifest, run.run_id));
	assert_ok(layer_maps_add(&world->maps, open, run.run_id, run.start, LSN_HEAD));
	assert_ok(manifest_layer_sealed(&world->manifest, &run));
	assert_ok(layer_maps_replace(&world->maps, open, open, run.end));
}

/* ---- merging ---- */

/* By a merge, also one of which no piece is done. */
static bool is_in_use(const struct runs_world *world, uint64_t run_id)
{
	for (unsigned i = 0; i < RUNS_MERGES_MAX; i++) {
		const struct runs_merge *merge = &world->merges[i];

		if (merge->level && merge->run_id == run_id)
			return true;
		for (uint32_t j = 0; merge->level && j < merge->input_count; j++)
			if (merge->inputs[j] == run_id)
				return true;
	}
	return false;
}

/* Some free runs, one behind the other. */
static void begin_merge(struct runs_world *world, struct runs_merge *merge)
{
	const struct manifest *manifest = &world->manifest;
	uint32_t wanted = 1 + (uint32_t)prng_below(&world->prng, RUNS_INPUTS_MAX);
	uint32_t at = manifest->run_count ? (uint32_t)prng_below(&world->prng, manifest->run_count) : 0;

	*merge = (struct runs_merge){ .level = 0, .horizon = world->horizon };
	for (; at < manifest->run_count && merge->input_count < wanted; at++) {
		const struct manifest_run *run = &manifest->runs[at];

		if (is_in_use(world, run->run_id))
			break;
		if (!merge->input_count)
			merge->start = run->start;
		merge->end = run->end;
		merge->inputs[merge->input_count++] = run->run_id;
		if (run->level >= merge->level && run->level < 40)
			merge->level = run->level + 1;
	}
	if (merge->input_count) {
		merge->run_id = world->next_id++;
		merge->level = merge->level ? merge->level : 1;
	}
}

/* Drop what the horizon makes garbage of one key's versions, which are all of the merge's span. */
static unsigned collect_garbage(const struct runs_merge *merge, struct runs_version *versions, unsigned count)
{
	unsigned newest = 0;

	while (newest < count && versions[newest].lsn <= merge->horizon.value)
		newest++;
	/* versions[newest - 1] is what the horizon sees. */
	if (newest && versions[newest - 1].tombstone && !merge->start.value)
		newest++;
	if (newest > 1)
		memmove(versions, versions + newest - 1, (count - newest + 1) * sizeof(*versions));
	return newest > 1 ? count - newest + 1 : count;
}

/* What the inputs have of keys [merge->upto, @upto), in order. Freed by the caller. */
static struct runs_version *merge_versions(const struct runs_world *world, const struct runs_merge *merge,
					   unsigned upto, unsigned *count_out)
{
	struct runs_version *versions = malloc((world->history_count + 1) * sizeof(*versions));
	unsigned count = 0;

	assert_non_null(versions);
	for (unsigned key = merge->upto; key < upto; key++) {
		unsigned first = count;

		for (uint32_t i = 0; i < merge->input_count; i++) {
			const struct manifest_run *run = manifest_find(&world->manifest, merge->inputs[i]);
			const struct table_summary *tables = manifest_run_layers(run);

			for (uint32_t j = 0; j < (run->level ? run->layer_count : 1); j++) {
				const struct runs_layer *layer =
					world->layers[run->level ? tables[j].layer_id : run->run_id];

				for (unsigned k = 0; k < layer->count; k++)
					if (layer->versions[k].key == key)
						versions[count++] = layer->versions[k];
			}
		}
		count = first + collect_garbage(merge, versions + first, count - first);
	}
	*count_out = count;
	return versions;
}

/* Cut the versions into tables anywhere, also within a key. Returns how many; *tables_out is freed by the caller. */
static uint32_t write_tables(struct runs_world *world, struct runs_merge *merge, unsigned upto,
			     struct runs_layer ***tables_out)
{
	unsigned count, at = 0;
	struct runs_version *versions = merge_versions(world, merge, upto, &count);
	uint32_t made = 0;

	*tables_out = malloc((count + 1) * sizeof(struct runs_layer *));
	assert_non_null(*tables_out);
	while (at < count) {
		unsigned here = 1 + (unsigned)prng_below(&world->prng, 12);
		struct runs_layer *table;

		if (here > count - at)
			here = count - at;
		table = table_new(world, merge, versions + at, here);
		at += here;
		if (at < count && versions[at].key == versions[at - 1].key)
			table->summary.ending = TABLE_SPLITS_KEY;
		else if (at == count && upto == RUNS_KEYS)
			table->summary.ending = TABLE_ENDS_RUN;
		(*tables_out)[made++] = table;
	}
	free(versions);
	return made;
}

static void layer_forget(struct runs_world *world, uint64_t id)
{
	guard_free_later(&world->layers[id]->base.garbage, layer_free);
	world->layers[id] = NULL;
}

static void put_away(struct runs_world *world, struct layer_map_edit *edit)
{
	for (uint32_t i = 0; i < world->leftover_count; i++)
		if (world->layers[world->leftover[i]])
			layer_forget(world, world->leftover[i]);
	world->leftover = realloc(world->leftover, (edit->gone_count + 1) * sizeof(*world->leftover));
	assert_non_null(world->leftover);
	for (uint32_t i = 0; i < edit->gone_count; i++)
		world->leftover[i] = edit->gone[i]->id;
	world->leftover_count = edit->gone_count;
	world->gone_count += edit->gone_count;
	free(edit->gone);
}

static void merge_piece(struct runs_world *world, struct runs_merge *merge)
{
	unsigned upto = merge->upto + 1 + (unsigned)prng_below(&world->prng, RUNS_KEYS / 3);
	struct runs_layer **tables;
	struct manifest_piece piece = {
		.run_id = merge->run_id, .level = merge->level, .start = merge->start, .end = merge->end,
		.inputs = merge->inputs, .input_count = merge->input_count,
	};
	struct table_summary *summaries;
	struct layer **layers;
	struct layer_map_edit edit;

	if (upto > RUNS_KEYS)
		upto = RUNS_KEYS;
	piece.layer_count = write_tables(world, merge, upto, &tables);
	if (world->exact && upto < RUNS_KEYS && !piece.layer_count) {
		free(tables);
		upto = RUNS_KEYS;
		piece.layer_count = write_tables(world, merge, upto, &tables);
	}
	piece.last = upto == RUNS_KEYS;
	if (world->exact && !piece.last)
		upto = tables[piece.layer_count - 1]->versions[tables[piece.layer_count - 1]->count - 1].key + 1;
	piece.upto = piece.last ? KEY_END : runs_key(upto);
	summaries = calloc(piece.layer_count + 1, sizeof(*summaries));
	layers = calloc(piece.layer_count + 1, sizeof(*layers));
	assert_true(summaries && layers);
	for (uint32_t i = 0; i < piece.layer_count; i++) {
		summaries[i] = tables[i]->summary;
		layers[i] = &tables[i]->base;
	}
	piece.layers = summaries;
	assert_ok(manifest_piece_done(&world->manifest, &piece));
	assert_ok(layer_map_edit_begin(&world->maps, &edit));
	assert_ok(layer_map_edit_piece(&edit, &piece, layers));
	/* Now and then it is begun again. */
	if (!prng_below(&world->prng, 4)) {
		layer_map_edit_abort(&edit);
		assert_ok(layer_map_edit_begin(&world->maps, &edit));
		assert_ok(layer_map_edit_piece(&edit, &piece, layers));
	}
	layer_map_edit_publish(&edit);
	put_away(world, &edit);
	merge->upto = upto;
	if (piece.last)
		merge->level = 0;
	free(summaries);
	free(layers);
	free(tables);
}

void runs_step(struct runs_world *world)
{
	struct runs_merge *merge = &world->merges[prng_below(&world->prng, RUNS_MERGES_MAX)];
	uint64_t roll = prng_below(&world->prng, 20);

	if (roll < 3) {
		seal_layer(world);
	} else if (roll == 3) {
		world->horizon.value += prng_below(&world->prng, world->end.value - world->horizon.value + 1);
		assert_ok(manifest_oldest_set(&world->manifest, world->horizon));
	} else if (!merge->level) {
		begin_merge(world, merge);
	} else {
		merge_piece(world, merge);
	}
}

void runs_write_half_piece(struct runs_world *world, struct table_summary *found, uint32_t *count)
{
	for (unsigned i = 0; i < RUNS_MERGES_MAX; i++) {
		struct runs_merge merge = world->merges[i];
		struct runs_layer **tables;
		uint32_t made, kept;

		if (!merge.level || merge.upto == RUNS_KEYS)
			continue;
		made = write_tables(world, &merge, merge.upto + 1 +
				    (unsigned)prng_below(&world->prng, RUNS_KEYS - merge.upto), &tables);
		kept = (uint32_t)prng_below(&world->prng, made + 1);
		for (uint32_t j = 0; j < kept; j++)
			found[(*count)++] = tables[j]->summary;
		free(tables);
	}
}

void runs_sweep(struct runs_world *world)
{
	for (uint64_t id = 0; id < world->next_id; id++) {
		bool left = false;

		for (uint32_t i = 0; i < world->leftover_count; i++)
			left |= world->leftover[i] == id;
		if (world->layers[id] && !left && !manifest_names(&world->manifest, id))
			layer_forget(world, id);
	}
}

/* ---- looking ---- */

uint64_t runs_truth(const struct runs_world *world, unsigned key, struct lsn lsn)
{
	for (unsigned i = world->history_count; i-- > 0;)
		if (world->history[i].key == key && world->history[i].lsn <= lsn.value)
			return world->history[i].tombstone ? 0 : world->history[i].lsn;
	return 0;
}

uint64_t runs_look(const struct layer_map *map, unsigned key, struct lsn lsn)
{
	for (uint32_t i = layer_map_reach(map, lsn); i-- > 0;) {
		const struct runs_layer *layer =
			(const struct runs_layer *)layer_run_find(map->runs[i], runs_key(key), lsn);

		if (!layer)
			continue;
		require(atomic_load_explicit(&layer->alive, memory_order_relaxed) == RUNS_ALIVE);
		for (unsigned j = layer->count; j-- > 0;)
			if (layer->versions[j].key == key && layer->versions[j].lsn <= lsn.value)
				return layer->versions[j].tombstone ? 0 : layer->versions[j].lsn;
	}
	return 0;
}

void runs_check_map(struct runs_world *world, const struct layer_map *map)
{
	uint64_t span = world->end.value - world->horizon.value;

	for (unsigned key = 0; key < RUNS_KEYS; key++) {
		for (unsigned i = 0; i < 6; i++) {
			struct lsn lsn = i == 0 ? world->horizon : i == 1 ? LSN_HEAD :
				lsn_make(world->horizon.value + prng_below(&world->prng, span + 1));
			uint64_t found = runs_look(map, key, lsn), truth = runs_truth(world, key, lsn);

			if (found != truth)
				fail_msg("key %u at LSN %llu: found that of %llu, not of %llu", key,
					 (unsigned long long)lsn.value, (unsigned long long)found,
					 (unsigned long long)truth);
		}
	}
}

/* Does an unfinished merge move keys from @key on out of the reach of output @run? */
static bool is_beyond_output(const struct manifest *manifest, const struct manifest_run *run, struct key key)
{
	for (uint32_t i = 0; i < manifest->run_count; i++)
		if (manifest->runs[i].into == run->run_id && key_compare(key, manifest->runs[i].from) >= 0)
			return true;
	return false;
}

static bool has_key(const struct manifest_run *run, struct key key)
{
	const struct table_summary *tables = manifest_run_layers(run);

	for (uint32_t i = 0; i < run->layer_count; i++)
		if (key_compare(tables[i].first_key, key) <= 0 && key_compare(tables[i].last_key, key) >= 0)
			return true;
	return false;
}

void runs_check_manifest(const struct runs_world *world, const struct manifest *manifest, bool gaps)
{
	for (unsigned i = 0; i < RUNS_KEYS; i++) {
		struct key key = runs_key(i);
		struct lsn end = { 0 };

		for (uint32_t j = 0; j < manifest->run_count; j++) {
			const struct manifest_run *run = &manifest->runs[j];

			if (is_beyond_output(manifest, run, key)) {
				assert_false(has_key(run, key));
				continue;
			}
			if (key_compare(key, run->from) < 0)
				continue;
			assert_true(gaps ? run->start.value >= end.value : run->start.value == end.value);
			end = run->end;
		}
		assert_true(gaps || end.value == world->end.value);
	}
}

void runs_build_map(const struct runs_world *world, const struct manifest *manifest, struct layer_maps *maps)
{
	struct layer_map_edit edit;

	assert_ok(layer_maps_init(maps));
	assert_ok(layer_map_edit_begin(maps, &edit));
	for (uint32_t i = 0; i < manifest->run_count; i++) {
		const struct manifest_run *run = &manifest->runs[i];
		const struct table_summary *tables = manifest_run_layers(run);
		struct layer **layers = calloc(run->layer_count + 1, sizeof(*layers));

		assert_non_null(layers);
		if (!run->level)
			layers[0] = &world->layers[run->run_id]->base;
		for (uint32_t j = 0; j < run->layer_count; j++)
			layers[j] = &world->layers[tables[j].layer_id]->base;
		assert_ok(layer_map_edit_run(&edit, run, layers));
		free(layers);
	}
	layer_map_edit_publish(&edit);
}

static void assert_same_run(const struct manifest_run *a, const struct manifest_run *b)
{
	assert_int_equal(a->run_id, b->run_id);
	assert_int_equal(a->level, b->level);
	assert_int_equal(a->start.value, b->start.value);
	assert_int_equal(a->end.value, b->end.value);
	assert_true(key_equal(a->from, b->from));
	assert_int_equal(a->into, b->into);
	assert_int_equal(a->lost, b->lost);
	assert_int_equal(a->chain_end, b->chain_end);
	assert_int_equal(a->file_bytes, b->file_bytes);
	assert_int_equal(a->layer_count, b->layer_count);
	/* Field by field: padding is nobody's. */
	for (uint32_t i = 0; i < a->layer_count; i++) {
		assert_true(table_summary_equal(&manifest_run_layers(a)[i], &manifest_run_layers(b)[i]));
		assert_int_equal(manifest_run_layers(a)[i].lost, manifest_run_layers(b)[i].lost);
	}
}

void runs_assert_same(const struct manifest *a, const struct manifest *b)
{
	assert_memory_equal(a->store.id, b->store.id, sizeof(a->store.id));
	assert_int_equal(a->made_ns, b->made_ns);
	assert_int_equal(a->compression, b->compression);
	assert_int_equal(a->durable.value, b->durable.value);
	assert_int_equal(a->oldest.value, b->oldest.value);
	assert_int_equal(a->window_ns, b->window_ns);
	assert_int_equal(a->window_bytes, b->window_bytes);
	assert_int_equal(a->id_next, b->id_next);
	assert_int_equal(a->ids.count, b->ids.count);
	assert_int_equal(a->open_count, b->open_count);
	for (uint32_t i = 0; i < a->open_count; i++)
		assert_int_equal(a->open_ids[i], b->open_ids[i]);
	assert_int_equal(a->tag_count, b->tag_count);
	for (uint32_t i = 0; i < a->tag_count; i++) {
		assert_string_equal(a->tags[i].name, b->tags[i].name);
		assert_int_equal(a->tags[i].lsn.value, b->tags[i].lsn.value);
	}
	assert_int_equal(a->run_count, b->run_count);
	for (uint32_t i = 0; i < a->run_count; i++)
		assert_same_run(&a->runs[i], &b->runs[i]);
}
