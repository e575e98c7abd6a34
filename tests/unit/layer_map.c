/* Layer map: a published map never changes; what a guard sees lives on. */
#include "layer_map_internal.h"
#include "test_place.h"
#include "test_runs.h"

static _Atomic unsigned freed;

static void layer_free(struct guard_garbage *garbage)
{
	freed++;
	free((char *)garbage - offsetof(struct layer, garbage));
}

static struct layer *layer_make(uint64_t id, uint64_t start)
{
	struct layer *layer = calloc(1, sizeof(*layer));

	assert_non_null(layer);
	layer->kind = LAYER_SEALED;
	layer->id = id;
	layer->start = lsn_make(start);
	return layer;
}

static int layer_free_later(void *context, struct layer *layer)
{
	(void)context;
	guard_free_later(&layer->garbage, layer_free);
	return 0;
}

static void maps_free(struct layer_maps *maps)
{
	struct layer_guard guard;

	layer_guard_take(&guard, maps);
	layer_map_each(guard.map, layer_free_later, NULL);
	layer_guard_drop(&guard);
	layer_maps_destroy(maps);
	guard_barrier();
}

static void an_empty_map_reaches_nothing(void **state)
{
	struct layer_maps maps;
	struct layer_guard guard;

	(void)state;
	assert_ok(layer_maps_init(&maps));
	layer_guard_take(&guard, &maps);
	assert_int_equal(guard.map->run_count, 0);
	assert_int_equal(layer_map_reach(guard.map, lsn_make(5)), 0);
	assert_int_equal(layer_map_reach(guard.map, LSN_HEAD), 0);
	layer_guard_drop(&guard);
	maps_free(&maps);
}

/* A run that starts at s holds LSNs above s. */
static void reach_counts_the_runs_that_begin_below(void **state)
{
	enum { LAYERS = 1000 };
	struct layer_maps maps;
	struct layer_guard guard;

	(void)state;
	assert_ok(layer_maps_init(&maps));
	for (uint64_t i = 0; i < LAYERS; i++)
		assert_ok(layer_maps_add(&maps, layer_make(i + 1, 100 * i), i + 1, lsn_make(100 * i),
					 lsn_make(100 * i + 100)));
	layer_guard_take(&guard, &maps);
	assert_int_equal(guard.map->run_count, LAYERS);
	for (uint64_t lsn = 0; lsn < 100 * LAYERS + 300; lsn += 7) {
		uint32_t expected = 0;

		while (expected < LAYERS && 100 * expected < lsn)
			expected++;
		assert_int_equal(layer_map_reach(guard.map, lsn_make(lsn)), expected);
	}
	assert_int_equal(layer_map_reach(guard.map, lsn_make(100)), 1);
	assert_int_equal(layer_map_reach(guard.map, lsn_make(101)), 2);
	assert_int_equal(layer_map_reach(guard.map, LSN_HEAD), LAYERS);
	layer_guard_drop(&guard);
	maps_free(&maps);
}

static void a_guard_sees_one_map_while_others_are_published(void **state)
{
	struct layer_maps maps;
	struct layer_guard before, after;
	struct layer *first = layer_make(1, 0), *second = layer_make(2, 100);
	struct layer *replaced = layer_make(1, 0);

	(void)state;
	freed = 0;
	assert_ok(layer_maps_init(&maps));
	assert_ok(layer_maps_add(&maps, first, 1, first->start, LSN_HEAD));
	layer_guard_take(&before, &maps);
	assert_ok(layer_maps_add(&maps, second, 2, second->start, LSN_HEAD));
	assert_ok(layer_maps_replace(&maps, first, replaced, lsn_make(100)));
	guard_free_later(&first->garbage, layer_free);
	layer_guard_take(&after, &maps);
	assert_int_equal(before.map->run_count, 1);
	assert_ptr_equal(before.map->runs[0]->layer, first);
	assert_int_equal(first->id, 1);                 /* still there to be read */
	assert_int_equal(after.map->run_count, 2);
	assert_ptr_equal(after.map->runs[0]->layer, replaced);
	assert_ptr_equal(after.map->runs[1]->layer, second);
	layer_guard_drop(&after);
	assert_int_equal(freed, 0);
	layer_guard_drop(&before);
	guard_barrier();
	assert_int_equal(freed, 1);
	maps_free(&maps);
	assert_int_equal(freed, 3);
}

/* ---- runs of tables ---- */

static int setup_manifest(void **state)
{
	struct place *place = place_new(MANIFEST_NAME);

	*state = place;
	return manifest_create(place->dir_fd, 4096, COMPRESSION_DEFAULT);
}

/* Merges of several runs at once, a piece at a time; after each step every key at many moments is found as the
 * plain list has it, in the map that was edited and in one built from the manifest. */
static void whatever_is_merged_each_version_is_found(void **state)
{
	struct place *place = *state;
	struct runs_world world;

	runs_start(&world, place->dir_fd, test_seed());
	for (unsigned i = 0; i < 1500; i++) {
		struct layer_guard guard;
		struct layer_maps built;

		runs_step(&world);
		layer_guard_take(&guard, &world.maps);
		runs_check_map(&world, guard.map);
		assert_int_equal(guard.map->run_count, world.manifest.run_count);
		runs_build_map(&world, &world.manifest, &built);
		for (uint32_t j = 0; j < guard.map->run_count; j++) {
			const struct layer_run *run = guard.map->runs[j];
			const struct layer_run *other = atomic_load(&built.current)->runs[j];

			assert_int_equal(run->id, other->id);
			assert_true(key_equal(run->from, other->from));
			assert_int_equal(run->layer_count, other->layer_count);
			assert_int_equal(run->file_bytes, other->file_bytes);
			assert_true(j == 0 || guard.map->runs[j - 1]->start.value <= run->start.value);
		}
		if (i % 10 == 0)
			runs_check_map(&world, atomic_load(&built.current));
		layer_guard_drop(&guard);
		layer_maps_destroy(&built);
	}
	assert_true(world.gone_count > 500);
	runs_stop(&world);
}

/* An old map, with all its layers, while merges go on. */
static void a_guard_keeps_a_map_through_merges(void **state)
{
	struct place *place = *state;
	struct runs_world world;

	runs_start(&world, place->dir_fd, test_seed());
	for (unsigned round = 0; round < 30; round++) {
		struct layer_guard guard;
		struct lsn end, horizon;
		uint64_t seen[RUNS_KEYS];

		layer_guard_take(&guard, &world.maps);
		end = world.end;
		horizon = world.horizon;
		for (unsigned key = 0; key < RUNS_KEYS; key++)
			seen[key] = runs_look(guard.map, key, end);
		for (unsigned i = 0; i < 40; i++)
			runs_step(&world);
		assert_true(end.value >= horizon.value);
		for (unsigned key = 0; key < RUNS_KEYS; key++)
			assert_int_equal(runs_look(guard.map, key, end), seen[key]);
		layer_guard_drop(&guard);
	}
	runs_stop(&world);
}

/* A run of @count tables of dummies: table i holds the keys 10 i to 10 i + 5; each 7th goes on in the next, which
 * begins with its last key at a later LSN. */
static void make_big_run(struct layer_maps *maps, uint32_t count, struct layer *layers)
{
	struct table_summary *tables = calloc(count, sizeof(*tables));
	struct layer **pointers = calloc(count, sizeof(*pointers));
	struct manifest_run run = { .run_id = 1, .level = 2, .end = lsn_make(1000), .layers = tables,
				    .layer_count = count };
	struct layer_map_edit edit;

	assert_true(tables && pointers);
	for (uint32_t i = 0; i < count; i++) {
		tables[i] = (struct table_summary){
			.layer_id = i + 2, .first_key = { 10 * (uint64_t)i, 1 }, .last_key = { 10 * (uint64_t)i + 5, 1 },
			.first_lsn = { i % 7 == 1 ? 500 : 1 }, .last_lsn = { 400 }, .file_bytes = 1,
		};
		if (i % 7 == 1)
			tables[i].first_key = tables[i - 1].last_key;
		layers[i].id = i + 2;
		pointers[i] = &layers[i];
	}
	assert_ok(layer_maps_init(maps));
	assert_ok(layer_map_edit_begin(maps, &edit));
	assert_ok(layer_map_edit_run(&edit, &run, pointers));
	layer_map_edit_publish(&edit);
	free(tables);
	free(pointers);
}

static void a_run_is_searched_by_key_and_lsn(void **state)
{
	enum { COUNT = 2 * LAYER_CHUNK_MAX + 100 };
	static struct layer layers[COUNT];
	struct layer_maps maps;

	(void)state;
	make_big_run(&maps, COUNT, layers);
	const struct layer_run *run = atomic_load(&maps.current)->runs[0];
	assert_int_equal(run->layer_count, COUNT);
	assert_int_equal(run->file_bytes, COUNT);
	assert_int_equal(run->chunk_count, 3);
	for (uint64_t i = 0; i < COUNT; i++) {
		bool splits = i + 1 < COUNT && i % 7 == 0;

		assert_ptr_equal(layer_run_find(run, (struct key){ 10 * i + 3, 9 }, LSN_HEAD), &layers[i]);
		assert_ptr_equal(layer_run_find(run, (struct key){ 10 * i, 1 }, lsn_make(300)), &layers[i]);
		assert_ptr_equal(layer_run_find(run, (struct key){ 10 * i + 5, 1 }, lsn_make(499)), &layers[i]);
		assert_ptr_equal(layer_run_find(run, (struct key){ 10 * i + 5, 1 }, lsn_make(500)),
				 splits ? &layers[i + 1] : &layers[i]);
		/* Between two tables, but where the second begins with the first's last key. */
		assert_ptr_equal(layer_run_find(run, (struct key){ 10 * i + 7, 1 }, LSN_HEAD),
				 splits ? &layers[i + 1] : NULL);
	}
	assert_null(layer_run_find(run, (struct key){ 0, 0 }, LSN_HEAD));
	assert_null(layer_run_find(run, (struct key){ 10 * COUNT, 1 }, LSN_HEAD));
	layer_maps_destroy(&maps);
}

struct walk {
	uint64_t next_id, count;
};

static int walk_on(void *context, struct layer *layer)
{
	struct walk *walk = context;

	if (walk->count++)
		assert_int_equal(layer->id, walk->next_id);
	walk->next_id = layer->id + 1;
	return walk->count == 2000 ? 7 : 0;
}

static void layers_of_a_range_are_given_in_order(void **state)
{
	enum { COUNT = 3 * LAYER_CHUNK_MAX };
	static struct layer layers[COUNT];
	struct prng prng = { test_seed() };
	struct layer_maps maps;

	(void)state;
	make_big_run(&maps, COUNT, layers);
	const struct layer_run *run = atomic_load(&maps.current)->runs[0];
	for (unsigned round = 0; round < 3000; round++) {
		struct key low = { prng_below(&prng, 10 * COUNT + 20), prng_below(&prng, 3) };
		struct key high = { low.ino + prng_below(&prng, round % 2 ? 40 : 10 * COUNT), prng_below(&prng, 3) };
		struct walk walk = { 0, 0 };
		uint64_t expected = 0;

		for (uint64_t i = 0; i < COUNT; i++) {
			struct key first = { i % 7 == 1 ? 10 * i - 5 : 10 * i, 1 }, last = { 10 * i + 5, 1 };

			expected += key_compare(low, high) <= 0 && key_compare(first, high) <= 0 &&
				    key_compare(last, low) >= 0;
		}
		assert_int_equal(layer_run_each(run, low, high, walk_on, &walk), 0);
		assert_int_equal(walk.count, expected);
	}
	/* What stops it is handed on. */
	struct walk walk = { layers[0].id, 1990 };
	assert_int_equal(layer_run_each(run, (struct key){ 0, 0 }, KEY_END, walk_on, &walk), 7);
	layer_maps_destroy(&maps);
}

/* Add @count tables of dummies to run 1 by one piece: table i holds key i. */
static void add_piece(struct layer_maps *maps, struct layer *layers, uint32_t first, uint32_t count)
{
	struct table_summary *tables = calloc(count, sizeof(*tables));
	struct layer **pointers = calloc(count, sizeof(*pointers));
	struct manifest_piece piece = { .run_id = 1, .level = 2, .end = lsn_make(1000), .upto = { first + count, 0 },
					.layers = tables, .layer_count = count };
	struct layer_map_edit edit;

	assert_true(tables && pointers);
	for (uint32_t i = 0; i < count; i++) {
		tables[i].first_key = tables[i].last_key = (struct key){ first + i, 1 };
		tables[i].first_lsn = tables[i].last_lsn = lsn_make(1);
		pointers[i] = &layers[first + i];
	}
	assert_ok(layer_map_edit_begin(maps, &edit));
	assert_ok(layer_map_edit_piece(&edit, &piece, pointers));
	layer_map_edit_publish(&edit);
	free(tables);
	free(pointers);
}

/* Whatever the last chunk holds when a piece of many tables comes, and one behind it. */
static void a_run_grows_by_pieces_of_any_size(void **state)
{
	enum { MANY = LAYER_CHUNK_MAX - 200 };
	static struct layer layers[LAYER_CHUNK_MAX + MANY + 1];

	(void)state;
	for (uint32_t before = 1; before <= LAYER_CHUNK_MAX; before++) {
		uint32_t count = before + MANY + 1;
		struct layer_maps maps;

		assert_ok(layer_maps_init(&maps));
		add_piece(&maps, layers, 0, before);
		add_piece(&maps, layers, before, MANY);
		add_piece(&maps, layers, before + MANY, 1);
		const struct layer_run *run = atomic_load(&maps.current)->runs[0];
		assert_int_equal(run->layer_count, count);
		for (uint32_t i = 0; i < run->chunk_count; i++)
			assert_true(run->chunks[i].chunk->count <= LAYER_CHUNK_MAX);
		for (uint64_t i = 0; i < count; i++)
			assert_ptr_equal(layer_run_find(run, (struct key){ i, 1 }, LSN_HEAD), &layers[i]);
		layer_maps_destroy(&maps);
	}
	guard_barrier();
}

static void an_aborted_edit_changes_nothing(void **state)
{
	static struct layer layers[100], more = { .id = 999 };
	struct layer_maps maps;
	struct layer_map_edit edit;

	(void)state;
	make_big_run(&maps, array_size(layers), layers);
	const struct layer_map *before = atomic_load(&maps.current);
	assert_ok(layer_map_edit_begin(&maps, &edit));
	assert_ok(layer_map_edit_add(&edit, &more, 999, lsn_make(1000), LSN_HEAD));
	assert_ok(layer_map_edit_replace(&edit, &more, &layers[0], lsn_make(1100)));
	assert_ok(layer_map_edit_piece(&edit, &(struct manifest_piece){
			.run_id = 2000, .level = 3, .end = lsn_make(1000), .upto = { 500, 0 },
			.inputs = (const uint64_t[]){ 1 }, .input_count = 1 }, NULL));
	assert_int_equal(edit.gone_count, 50);
	layer_map_edit_abort(&edit);
	assert_ptr_equal(atomic_load(&maps.current), before);
	assert_int_equal(before->run_count, 1);
	assert_int_equal(before->runs[0]->layer_count, 100);
	assert_ptr_equal(layer_run_find(before->runs[0], (struct key){ 0, 1 }, LSN_HEAD), &layers[0]);
	layer_maps_destroy(&maps);
}

#define merge_test(test) cmocka_unit_test_setup_teardown(test, setup_manifest, teardown_place)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_map_reaches_nothing),
		cmocka_unit_test(reach_counts_the_runs_that_begin_below),
		cmocka_unit_test(a_guard_sees_one_map_while_others_are_published),
		cmocka_unit_test(a_run_is_searched_by_key_and_lsn),
		cmocka_unit_test(layers_of_a_range_are_given_in_order),
		cmocka_unit_test(a_run_grows_by_pieces_of_any_size),
		cmocka_unit_test(an_aborted_edit_changes_nothing),
		merge_test(whatever_is_merged_each_version_is_found),
		merge_test(a_guard_keeps_a_map_through_merges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
