/* Manifest made anew: runs are put together from what the files of table layers say of themselves. */
#include "manifest_internal.h"
#include "test_place.h"
#include "test_runs.h"

static int setup(void **state)
{
	struct place *place = place_new(MANIFEST_NAME);

	*state = place;
	return manifest_create(place->dir_fd, 4096, COMPRESSION_DEFAULT);
}

/* The files there are: those that the manifest names, some of those that the last piece has put away, and what
 * merges were writing. Tables go to @found, sealed layers to @anew. */
static uint32_t find_files(struct runs_world *world, struct manifest *anew, struct table_summary *found)
{
	uint32_t count = 0, unlinked = (uint32_t)prng_below(&world->prng, world->leftover_count + 1);

	runs_write_half_piece(world, found, &count);
	for (uint64_t id = 0; id < world->next_id; id++) {
		bool there = manifest_names(&world->manifest, id);

		for (uint32_t i = unlinked; i < world->leftover_count; i++)
			there |= world->leftover[i] == id;
		if (!there)
			continue;
		if (world->layers[id]->summary.layer_id) {
			found[count++] = world->layers[id]->summary;
		} else {
			struct manifest_run run = { .run_id = id, .start = world->layers[id]->base.start,
						    .end = world->layers[id]->summary.end };

			assert_ok(manifest_add_run(anew, &run));
		}
	}
	for (uint32_t i = count; i-- > 1;) {
		uint32_t other = (uint32_t)prng_below(&world->prng, i + 1);
		struct table_summary swap = found[i];

		found[i] = found[other];
		found[other] = swap;
	}
	return count;
}

/* Whatever was under way: the runs say what the lost manifest said, or further on, and nothing that was replaced
 * is back. */
static void runs_are_what_they_were(void **state)
{
	static struct table_summary found[RUNS_LAYERS_MAX];
	struct place *place = *state;
	struct runs_world world;

	runs_start(&world, place->dir_fd, test_seed());
	world.exact = true;
	for (unsigned i = 0; i < 1200; i++) {
		struct manifest anew;
		struct layer_maps maps;

		runs_step(&world);
		manifest_init(&anew, place->dir_fd);
		uint32_t count = find_files(&world, &anew, found);
		assert_ok(manifest_add_tables(&anew, found, count));
		assert_int_equal(manifest_check_runs(&anew), 0);
		assert_true(anew.oldest.value <= world.horizon.value);
		runs_check_manifest(&world, &anew, true);
		runs_build_map(&world, &anew, &maps);
		runs_check_map(&world, atomic_load(&maps.current));
		layer_maps_destroy(&maps);
		manifest_close(&anew);
		runs_sweep(&world);
	}
	assert_true(world.gone_count > 500);
	runs_stop(&world);
}

#define TABLE(id, run, number_, first, a, b, ending_) { \
		.layer_id = id, .run_id = run, .level = 1, .kind = TABLE_DELTA, .number = number_, .ending = ending_, \
		.start = { a }, .end = { b }, .first_key = { first, 5 }, .last_key = { (first) + 1, 5 }, \
		.first_lsn = { b }, .last_lsn = { b } }

static void what_makes_no_run_is_refused_and_adds_nothing(void **state)
{
	static const struct {
		const char *name;
		struct table_summary tables[3];
	} cases[] = {
		{ "the first is missing", { TABLE(30, 20, 1, 10, 0, 200, 0), TABLE(31, 20, 2, 20, 0, 200, 2) } },
		{ "one is missing within", { TABLE(30, 20, 0, 10, 0, 200, 0), TABLE(31, 20, 2, 20, 0, 200, 2) } },
		{ "one twice", { TABLE(30, 20, 0, 10, 0, 200, 0), TABLE(31, 20, 0, 10, 0, 200, 2) } },
		{ "two spans in one run", { TABLE(30, 20, 0, 10, 0, 200, 0), TABLE(31, 20, 1, 20, 0, 100, 2) } },
		{ "not in order", { TABLE(30, 20, 0, 20, 0, 200, 0), TABLE(31, 20, 1, 10, 0, 200, 2) } },
		{ "half of a sealed layer", { TABLE(30, 20, 0, 10, 0, 150, 2) } },
		{ "runs that overlap", { TABLE(30, 20, 0, 10, 0, 200, 2), TABLE(31, 21, 0, 10, 100, 300, 2) } },
		{ "the id of a sealed layer", { TABLE(2, 20, 0, 10, 0, 200, 2) } },
	};
	struct place *place = *state;

	for (size_t i = 0; i < array_size(cases); i++) {
		struct manifest manifest;
		struct table_summary tables[3];
		uint32_t count = 0;

		manifest_init(&manifest, place->dir_fd);
		for (uint64_t id = 1; id <= 3; id++) {
			struct manifest_run run = { .run_id = id, .start = lsn_make(100 * id - 100),
						    .end = lsn_make(100 * id) };

			assert_ok(manifest_add_run(&manifest, &run));
		}
		memcpy(tables, cases[i].tables, sizeof(tables));
		while (count < 3 && tables[count].layer_id)
			count++;
		int err = manifest_add_tables(&manifest, tables, count);
		if (err != -EUCLEAN)
			fail_msg("%s: manifest_add_tables says %d", cases[i].name, err);
		assert_int_equal(manifest.run_count, 3);
		assert_int_equal(manifest.ids.count, 3);
		manifest_close(&manifest);
	}
}

#define manifest_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown_place)

int main(void)
{
	const struct CMUnitTest tests[] = {
		manifest_test(runs_are_what_they_were),
		manifest_test(what_makes_no_run_is_refused_and_adds_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
