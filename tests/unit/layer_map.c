/* Layer map: a published map never changes; what a guard sees lives on. */
#include "layer_map.h"
#include "test_support.h"

static unsigned freed;

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_map_reaches_nothing),
		cmocka_unit_test(reach_counts_the_runs_that_begin_below),
		cmocka_unit_test(a_guard_sees_one_map_while_others_are_published),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
