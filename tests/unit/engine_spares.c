/*
 * Engine: layers that were reserved or begun and hold nothing, in the lives that follow.
 */
#include <fcntl.h>
#include <unistd.h>

#include "test_engine.h"
#include "test_full_disk.h"

#define SMALL_BYTES 2000u       /* stored through the mapping */

static void wait_for_spare(struct test_engine *test)
{
	bool there = false;

	for (unsigned i = 0; i < 1000 && !there; i++) {
		pthread_mutex_lock(&test->engine->commit_lock);
		there = test->engine->spare != NULL;
		pthread_mutex_unlock(&test->engine->commit_lock);
		usleep(1000);
	}
	assert_true(there);
}

/*
 * The process is killed: go on with a copy of the store as it is on disk. With @layer_id the power is cut, and that
 * layer's file has @kept_bytes of what was written and @file_bytes in all (0: as many as before).
 */
static void kill_and_restart(struct test_engine *test, uint64_t layer_id, off_t kept_bytes, off_t file_bytes)
{
	struct place *copy = place_new("store");
	char name[LAYER_NAME_BYTES], layers[PATH_MAX], path[PATH_MAX];
	struct stat st;

	close(copy->dir_fd);
	must(!rmdir(copy->dir), "remove", copy->dir);
	dir_copy(test->place->dir, copy->dir);
	full_disk_empty();
	(void)engine_close(test->engine);
	place_free(test->place);
	copy->dir_fd = open(copy->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(copy->dir_fd >= 0, "open", copy->dir);
	test->place = copy;
	if (layer_id) {
		layer_name(layer_id, name);
		path_join(layers, copy->dir, "layers");
		path_join(path, layers, name);
		must(stat(path, &st) == 0 && truncate(path, kept_bytes) == 0 &&
		     truncate(path, file_bytes ? file_bytes : st.st_size) == 0, "cut", path);
	}
	test_engine_start(test);
}

/* The layer that came behind one that was idle was begun, and nothing was ever written to it. */
static void what_holds_nothing_is_not_sealed_by_the_next_life(void **state)
{
	struct test_engine *test = *state;

	test_engine_stop(test);
	test->options.idle_ns = 1000000;
	test_engine_start(test);
	for (unsigned i = 0; i < 2; i++)
		test_engine_commit_image(test, test_engine_page(i), i, 100);
	for (unsigned i = 0; i < 200 && !test_engine_usage(test).freeze_count; i++)
		usleep(100000);
	test->options.freeze_age_ns = 1000000;
	test_engine_restart(test);
	assert_ok(engine_freeze(test->engine));
	usleep(2500000);
	assert_int_equal(test_engine_usage(test).freeze_count, 0);
	assert_int_equal(test_engine_usage(test).layer_count, 1);
	assert_ok(engine_compact(test->engine));
	assert_false(test_engine_usage(test).read_only);
	test_engine_commit_image(test, test_engine_page(2), 2, 100);
	test_engine_restart(test);
	for (unsigned i = 0; i < 3; i++)
		test_engine_check_image(test, test_engine_page(i), LSN_HEAD, i, 100);
}

/* A power cut left two layers that hold nothing. Later ones must not come to lie before one that is used first. */
static void of_two_spares_no_acknowledged_change_is_lost(void **state)
{
	struct test_engine *test = *state;
	struct lsn lsns[4], durable;

	full_disk_begin();
	test_engine_stop(test);
	test->options.no_compaction = true;
	test_engine_start(test);
	lsns[0] = test_engine_commit_image(test, test_engine_page(0), 0, 1 * MIB);
	assert_ok(engine_freeze(test->engine));
	test_engine_commit_image(test, test_engine_page(1), 1, 1 * MIB);
	wait_for_spare(test);
	kill_and_restart(test, test->engine->open->base.id, 0, 0);
	assert_int_equal(engine_newest(test->engine).value, lsns[0].value);

	/* A second life: what it opens next is newer than both. */
	lsns[1] = test_engine_commit_image(test, test_engine_page(1), 1, 1 * MIB);
	wait_for_spare(test);
	assert_ok(engine_freeze(test->engine));
	lsns[2] = test_engine_commit_image(test, test_engine_page(2), 2, SMALL_BYTES);
	kill_and_restart(test, 0, 0, 0);
	assert_int_equal(engine_newest(test->engine).value, lsns[2].value);

	/* A third: its open layer gives way to the next and is not sealed yet when it ends. */
	full_disk_fill(test->place->dir);
	assert_err(engine_freeze(test->engine), -ENOSPC);
	lsns[3] = test_engine_commit_image(test, test_engine_page(3), 3, SMALL_BYTES);
	assert_ok(engine_sync(test->engine, &durable));
	kill_and_restart(test, 0, 0, 0);
	assert_int_equal(engine_newest(test->engine).value, lsns[3].value);
	for (unsigned i = 0; i < array_size(lsns); i++)
		test_engine_check_image(test, test_engine_page(i), lsns[i], i, i < 2 ? 1 * MIB : SMALL_BYTES);
	assert_ok(engine_freeze(test->engine));
	full_disk_end();
}

/* A layer was cut to the size that it has when it is sealed, and of what was written to it nothing was synced. */
static void what_is_left_of_a_seal_takes_no_writes(void **state)
{
	struct test_engine *test = *state;
	const off_t kept[] = { 0, LAYER_HEADER_BYTES };

	for (unsigned i = 0; i < array_size(kept); i++) {
		struct lsn durable;

		test_engine_commit_image(test, test_engine_page(0), i, 100);
		kill_and_restart(test, test->engine->open->base.id, kept[i], 7 * LAYER_BLOCK_BYTES);
		test_engine_check_absent(test, test_engine_page(0), LSN_HEAD);
		for (unsigned k = 0; k < 3; k++) {
			test_engine_commit_image(test, test_engine_page(1), k, SMALL_BYTES);
			test_engine_check_image(test, test_engine_page(1), LSN_HEAD, k, SMALL_BYTES);
		}
		if (i + 1 < array_size(kept)) {
			test_engine_teardown(state);
			test_engine_setup(state);
			test = *state;
		} else {
			assert_ok(engine_sync(test->engine, &durable));
		}
	}
}

#define engine_unit_test(test) \
	cmocka_unit_test_setup_teardown(test, test_engine_setup, test_engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		engine_unit_test(what_holds_nothing_is_not_sealed_by_the_next_life),
		engine_unit_test(of_two_spares_no_acknowledged_change_is_lost),
		engine_unit_test(what_is_left_of_a_seal_takes_no_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
