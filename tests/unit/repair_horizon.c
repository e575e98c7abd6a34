/*
 * Repair: a history that ends below the oldest LSN that was kept.
 */
#include <fcntl.h>
#include <unistd.h>

#include "engine_repair.h"
#include "test_check.h"
#include "test_engine.h"

static void ignore_done(void *context, const char *text)
{
	(void)context;
	(void)text;
}

/* Heads of the open layer's second batch, which was synced, rot. */
static void damage_open_layer(struct test_engine *test, uint64_t layer_id, uint64_t at)
{
	char name[LAYER_NAME_BYTES], layers[PATH_MAX], path[PATH_MAX];

	layer_name(layer_id, name);
	path_join(layers, test->place->dir, "layers");
	path_join(path, layers, name);
	file_flip(path, (off_t)at);
}

static void an_end_below_the_horizon_becomes_the_horizon(void **state)
{
	const struct engine_window window = { .bytes = 1 };
	const struct repair_hooks hooks = { .done = ignore_done };
	struct test_engine *test = *state;
	struct report report = { "" };
	struct lsn first, newest;
	uint64_t layer_id;

	/* Two, or all of the layer would have expired already. */
	for (unsigned i = 0; i < 2; i++)
		test_engine_commit_image(test, test_engine_page(0), 0, 100);
	assert_ok(engine_freeze(test->engine));
	first = test_engine_commit_image(test, test_engine_page(1), 1, 100);
	for (unsigned i = 2; i < 5; i++)
		newest = test_engine_commit_image(test, test_engine_page(i), i, 100);
	layer_id = test->engine->open->base.id;
	assert_ok(engine_window_set(test->engine, &window));
	/* What expired is merged, and so the horizon is written down. */
	for (unsigned i = 0; i < 1000 && !test_engine_usage(test).table_count; i++)
		usleep(10000);
	assert_int_equal(engine_oldest(test->engine).value, newest.value - 1);
	damage_open_layer(test, layer_id, LAYER_HEADER_BYTES + first.value - test->engine->open->base.start.value + 30);
	test_engine_stop(test);
	assert_err(engine_open(test->place->dir_fd, &test->options, &report, &test->engine), -EUCLEAN);
	assert_ok(engine_repair(test->place->dir_fd, &hooks));
	alarm(60);
	for (unsigned life = 0; life < 2; life++) {
		test_engine_start(test);
		assert_int_equal(engine_newest(test->engine).value, first.value);
		assert_int_equal(engine_oldest(test->engine).value, first.value);
		test_engine_check_image(test, test_engine_page(0), LSN_HEAD, 0, 100);
		test_engine_check_image(test, test_engine_page(1), LSN_HEAD, 1, 100);
		test_engine_check_absent(test, test_engine_page(2), LSN_HEAD);
		if (!life)
			test_engine_stop(test);
	}
	test_engine_commit_image(test, test_engine_page(2), 2, 100);
	test_engine_check_image(test, test_engine_page(2), LSN_HEAD, 2, 100);
	alarm(0);
}

#define engine_unit_test(test) \
	cmocka_unit_test_setup_teardown(test, test_engine_setup, test_engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		engine_unit_test(an_end_below_the_horizon_becomes_the_horizon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
