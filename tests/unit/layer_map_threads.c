/* Layer map: readers under guards while maps are published and layers freed. */
#include <pthread.h>
#include <stdatomic.h>

#include "layer_map.h"
#include "test_place.h"
#include "test_runs.h"

enum { READERS = 3, ROUNDS = 3000, LAYERS = 20 };

struct shared {
	struct layer_maps maps;
	atomic_bool stop;
	_Atomic uint64_t reads;
};

/* A layer that says of itself, while it lives, that it does. */
struct counted_layer {
	struct layer base;
	uint64_t alive;
};

#define ALIVE UINT64_C(0xa11f3)

static void layer_free(struct guard_garbage *garbage)
{
	struct counted_layer *layer = (struct counted_layer *)((char *)garbage -
					offsetof(struct counted_layer, base.garbage));

	layer->alive = 0;
	free(layer);
}

static struct layer *layer_make(uint64_t id)
{
	struct counted_layer *layer = calloc(1, sizeof(*layer));

	require(layer != NULL);
	layer->base.kind = LAYER_SEALED;
	layer->base.id = id;
	layer->base.start = lsn_make(100 * id);
	layer->alive = ALIVE;
	return &layer->base;
}

static void *reader_main(void *argument)
{
	struct shared *shared = argument;

	while (!atomic_load(&shared->stop)) {
		struct layer_guard guard;

		layer_guard_take(&guard, &shared->maps);
		for (uint32_t i = 0; i < guard.map->run_count; i++) {
			const struct layer *layer = guard.map->runs[i]->layer;

			require(layer->id == i + 1);
			require(((const struct counted_layer *)layer)->alive == ALIVE);
		}
		require(layer_map_reach(guard.map, LSN_HEAD) == guard.map->run_count);
		layer_guard_drop(&guard);
		atomic_fetch_add(&shared->reads, 1);
	}
	return NULL;
}

static void what_a_guard_sees_lives_until_it_is_dropped(void **state)
{
	struct shared shared = { .reads = 0 };
	struct prng prng = { test_seed() };
	struct layer *current[LAYERS];
	pthread_t readers[READERS];

	(void)state;
	assert_ok(layer_maps_init(&shared.maps));
	for (unsigned i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, reader_main, &shared), 0);
	for (unsigned i = 0; i < LAYERS; i++) {
		current[i] = layer_make(i + 1);
		assert_ok(layer_maps_add(&shared.maps, current[i], i + 1, current[i]->start, LSN_HEAD));
	}
	for (unsigned round = 0; round < ROUNDS || atomic_load(&shared.reads) < ROUNDS; round++) {
		unsigned i = prng_below(&prng, LAYERS);
		struct layer *next = layer_make(i + 1);

		assert_ok(layer_maps_replace(&shared.maps, current[i], next, LSN_HEAD));
		guard_free_later(&current[i]->garbage, layer_free);
		current[i] = next;
	}
	atomic_store(&shared.stop, true);
	for (unsigned i = 0; i < READERS; i++)
		assert_int_equal(pthread_join(readers[i], NULL), 0);
	layer_maps_destroy(&shared.maps);
	for (unsigned i = 0; i < LAYERS; i++)
		guard_free_later(&current[i]->garbage, layer_free);
	guard_barrier();
}

/* ---- merges ---- */

enum { STEPS = 1500 };

struct merging {
	struct runs_world world;
	atomic_bool stop;
	_Atomic uint64_t reads, seed;
};

/* What a look-up says does not change while a guard is held, whatever is published; and no layer it meets is
 * dead (runs_look). */
static void *looking_main(void *argument)
{
	struct merging *merging = argument;
	struct prng prng = { atomic_fetch_add(&merging->seed, 1) };

	while (!atomic_load(&merging->stop)) {
		unsigned keys[8];
		uint64_t seen[8];
		struct layer_guard guard;

		layer_guard_take(&guard, &merging->world.maps);
		for (unsigned i = 0; i < array_size(keys); i++) {
			keys[i] = (unsigned)prng_below(&prng, RUNS_KEYS);
			seen[i] = runs_look(guard.map, keys[i], LSN_HEAD);
		}
		for (unsigned i = 0; i < array_size(keys); i++)
			require(runs_look(guard.map, keys[i], LSN_HEAD) == seen[i]);
		for (uint32_t i = 1; i < guard.map->run_count; i++)
			require(guard.map->runs[i - 1]->start.value <= guard.map->runs[i]->start.value);
		layer_guard_drop(&guard);
		atomic_fetch_add(&merging->reads, 1);
	}
	return NULL;
}

static int setup_manifest(void **state)
{
	struct place *place = place_new(MANIFEST_NAME);

	*state = place;
	return manifest_create(place->dir_fd, 4096, COMPRESSION_DEFAULT);
}

static void look_ups_go_on_while_runs_are_merged(void **state)
{
	struct place *place = *state;
	struct merging *merging = calloc(1, sizeof(*merging));
	pthread_t readers[READERS];

	assert_non_null(merging);
	runs_start(&merging->world, place->dir_fd, test_seed());
	atomic_store(&merging->seed, test_seed());
	for (unsigned i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, looking_main, merging), 0);
	for (unsigned i = 0; i < STEPS || atomic_load(&merging->reads) < STEPS; i++)
		runs_step(&merging->world);
	runs_check_map(&merging->world, atomic_load(&merging->world.maps.current));
	atomic_store(&merging->stop, true);
	for (unsigned i = 0; i < READERS; i++)
		assert_int_equal(pthread_join(readers[i], NULL), 0);
	runs_stop(&merging->world);
	free(merging);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_guard_sees_lives_until_it_is_dropped),
		cmocka_unit_test_setup_teardown(look_ups_go_on_while_runs_are_merged, setup_manifest, teardown_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
