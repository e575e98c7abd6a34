/* Engine: its layers give way to the next; what was committed is there after however many lives, and on a full disk. */
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "own_mounts.h"
#include "test_engine.h"

/* ---- layers ---- */

static void a_full_layer_gives_way_to_the_next(void **state)
{
	enum { IMAGES = 24 };
	struct test_engine *test = *state;
	struct lsn lsns[IMAGES];

	for (unsigned i = 0; i < IMAGES; i++)
		lsns[i] = test_engine_commit_image(test, test_engine_page(0), i, 1 * MIB);
	assert_ok(engine_freeze(test->engine));
	/* Three fit a layer of 4 MiB, beside its header and index. */
	assert_int_equal(test_engine_usage(test).layer_count, IMAGES / 3);
	assert_int_equal(test_engine_usage(test).freeze_count, IMAGES / 3);
	for (unsigned i = 0; i < IMAGES; i++)
		test_engine_check_image(test, test_engine_page(0), lsns[i], i, 1 * MIB);
}

static void what_fits_no_layer_is_refused_and_the_rest_goes_on(void **state)
{
	struct test_engine *test = *state;
	struct batch_entry *many = calloc(BATCH_ENTRY_MAX + 1, sizeof(*many));
	uint8_t *bytes = calloc(1, LAYER_SIZE_MIN);
	struct batch_entry large = test_engine_entry(test_engine_page(1), VERSION_IMAGE, 0, bytes, LAYER_SIZE_MIN);
	struct lsn lsn, before;

	assert_true(many && bytes);
	/* In an empty engine, and in one that holds something. */
	for (unsigned round = 0; round < 2; round++) {
		before = engine_newest(test->engine);
		assert_err(engine_commit(test->engine, &large, 1, TEST_ENGINE_TIME_NS, &lsn), -EFBIG);
		assert_int_equal(lsn.value, 0);
		assert_int_equal(engine_newest(test->engine).value, before.value);
		test_engine_commit_image(test, test_engine_page(0), round, 100);
	}
	for (size_t i = 0; i <= BATCH_ENTRY_MAX; i++)
		many[i] = test_engine_entry(test_engine_page(i), VERSION_TOMBSTONE, 0, NULL, 0);
	assert_err(engine_commit(test->engine, many, BATCH_ENTRY_MAX + 1, TEST_ENGINE_TIME_NS, &lsn), -EFBIG);
	test_engine_check_absent(test, test_engine_page(1), LSN_HEAD);
	test_engine_check_image(test, test_engine_page(0), LSN_HEAD, 1, 100);
	free(many);
	free(bytes);
}

/* The background looks each second. What it sealed may be merged at once, being all there is of the oldest LSN. */
static void check_one_freeze(struct test_engine *test)
{
	for (unsigned i = 0; i < 200 && !test_engine_usage(test).freeze_count; i++)
		usleep(100000);
	assert_int_equal(test_engine_usage(test).freeze_count, 1);
	assert_int_equal(test_engine_usage(test).layer_count + test_engine_usage(test).table_count, 1);
}

static void an_old_layer_freezes_by_itself(void **state)
{
	struct test_engine *test = *state;

	test_engine_stop(test);
	test->options.freeze_age_ns = 1000000;
	test_engine_start(test);
	test_engine_commit_image(test, test_engine_page(0), 1, 100);
	check_one_freeze(test);
	test_engine_check_image(test, test_engine_page(0), LSN_HEAD, 1, 100);
}

static void an_idle_layer_freezes_by_itself(void **state)
{
	struct test_engine *test = *state;

	test_engine_stop(test);
	test->options.idle_ns = 1000000;
	test_engine_start(test);
	test_engine_commit_image(test, test_engine_page(0), 1, 100);
	check_one_freeze(test);
	/* Nothing was written since: the layer that came after stays open. */
	usleep(2500000);
	assert_int_equal(test_engine_usage(test).freeze_count, 1);
	test_engine_commit_image(test, test_engine_page(0), 2, 100);
	test_engine_check_image(test, test_engine_page(0), LSN_HEAD, 2, 100);
}

static void what_a_guard_saw_stays_while_its_layer_is_sealed(void **state)
{
	struct test_engine *test = *state;
	uint8_t found[100], expected[100];
	struct layer_guard guard;
	struct version version;
	size_t size;

	test_engine_commit_image(test, test_engine_page(0), 1, 100);
	engine_guard_take(test->engine, &guard);
	assert_ok(engine_find(&guard, test_engine_page(0), LSN_HEAD, &version));
	assert_ok(engine_freeze(test->engine));
	usleep(50000);
	assert_ok(engine_load(&guard, &version, found, sizeof(found), &size));
	seed_fill(1, expected, sizeof(expected));
	assert_memory_equal(found, expected, sizeof(found));
	layer_guard_drop(&guard);
}

/* ---- durability, lives ---- */

static void a_sync_reaches_the_newest_lsn_and_flushes_once(void **state)
{
	struct test_engine *test = *state;
	struct lsn lsn, newest = test_engine_commit_image(test, test_engine_page(0), 1, 100);
	struct engine_usage usage = test_engine_usage(test);

	assert_true(usage.durable.value < newest.value);
	assert_true(usage.arena_dirty_bytes >= 100);
	for (unsigned i = 0; i < 3; i++) {
		assert_ok(engine_sync(test->engine, &lsn));
		assert_int_equal(lsn.value, newest.value);
	}
	usage = test_engine_usage(test);
	assert_int_equal(usage.durable.value, newest.value);
	assert_int_equal(usage.arena_dirty_bytes, 0);
	assert_int_equal(usage.sync_count, 3);
	assert_int_equal(usage.flush_count, 1);
	test_engine_commit_image(test, test_engine_page(0), 2, 100);
	assert_ok(engine_sync(test->engine, &lsn));
	assert_int_equal(test_engine_usage(test).flush_count, 2);
}

static void closing_notes_what_is_durable(void **state)
{
	struct test_engine *test = *state;
	struct lsn newest = test_engine_commit_image(test, test_engine_page(0), 1, 100);
	struct report report = { "" };
	struct manifest manifest;

	test_engine_stop(test);
	assert_ok(manifest_open(&manifest, test->place->dir_fd, false, &report));
	assert_int_equal(manifest.durable.value, newest.value);
	manifest_close(&manifest);
	test_engine_start(test);
	assert_int_equal(test_engine_usage(test).durable.value, newest.value);
}

/* The header of the batch that begins at @start, in the first layer. */
static struct batch_view batch_at(struct test_engine *test, struct lsn start, uint64_t chain,
				  uint8_t *bytes, size_t size_bytes)
{
	char name[LAYER_NAME_BYTES], path[PATH_MAX];
	struct batch_view view;

	layer_name(1, name);
	path_join(path, test->place->path, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	must(fd >= 0 && pread(fd, bytes, size_bytes, LAYER_HEADER_BYTES + start.value) ==
			(ssize_t)size_bytes, "read", path);
	close(fd);
	assert_ok(batch_view_open(bytes, size_bytes, chain, &view));
	return view;
}

static void a_second_life_begins_with_its_mark(void **state)
{
	struct test_engine *test = *state;
	struct lsn first = test_engine_commit_image(test, test_engine_page(0), 1, 100), lsn;
	uint64_t seed = engine_identity(test->engine)->seed;
	uint8_t bytes[400];

	/* One that commits nothing leaves nothing. */
	test_engine_restart(test);
	test_engine_restart(test);
	assert_int_equal(engine_newest(test->engine).value, first.value);
	lsn = test_engine_commit_image(test, test_engine_page(0), 2, 100);
	assert_int_equal(lsn.value, first.value + BATCH_OPENED_BYTES +
				    test_engine_image_bytes(test_engine_page(0), 100));
	struct batch_view view = batch_at(test, lsn_make(0), seed, bytes, sizeof(bytes));
	assert_int_equal(view.flags, 0);
	assert_int_equal(view.time_ns, TEST_ENGINE_TIME_NS);
	view = batch_at(test, first, view.chain, bytes, BATCH_OPENED_BYTES);
	assert_int_equal(view.flags, BATCH_OPENED);
	assert_int_equal(view.entry_count, 0);
	/* It is a position like any other, and changes nothing. */
	test_engine_check_image(test, test_engine_page(0), lsn_make(first.value + BATCH_OPENED_BYTES), 1, 100);
	/* Only once a life. */
	struct lsn next = test_engine_commit_image(test, test_engine_page(0), 3, 100);
	assert_int_equal(next.value - lsn.value, test_engine_image_bytes(test_engine_page(0), 100));
}

/* What was committed and never synced, as a killed process leaves it. */
static void a_kill_loses_nothing_that_was_committed(void **state)
{
	struct test_engine *test = *state;
	struct lsn lsns[20];
	struct place *other = place_new("copy"), killed;

	for (unsigned i = 0; i < array_size(lsns); i++) {
		lsns[i] = test_engine_commit_image(test, test_engine_page(i % 3), i, 100000);
		if (i == 10)
			assert_ok(engine_freeze(test->engine));
	}
	dir_copy(test->place->dir, other->path);
	killed.dir_fd = open(other->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(killed.dir_fd >= 0, "open", other->path);
	struct test_engine after = { &killed, test->options, NULL };
	test_engine_start(&after);
	assert_int_equal(engine_newest(after.engine).value, lsns[array_size(lsns) - 1].value);
	assert_int_equal(engine_oldest(after.engine).value, lsns[0].value);
	for (unsigned i = 0; i < array_size(lsns); i++)
		test_engine_check_image(&after, test_engine_page(i % 3), lsns[i], i, 100000);
	test_engine_stop(&after);
	close(killed.dir_fd);
	place_free(other);
}

static void the_next_inode_number_is_above_every_key(void **state)
{
	struct test_engine *test = *state;

	test_engine_commit_image(test, key_make(500, KEY_ATTR, 0), 1, 10);
	assert_int_equal(engine_ino_next(test->engine), 501);
	test_engine_commit_image(test, key_make(300, KEY_ATTR, 0), 1, 10);
	assert_int_equal(engine_ino_next(test->engine), 501);
	test_engine_restart(test);
	assert_int_equal(engine_ino_next(test->engine), 501);
	assert_ok(engine_freeze(test->engine));
	test_engine_restart(test);
	assert_int_equal(engine_ino_next(test->engine), 501);
}

static void numbers_add_up(void **state)
{
	struct test_engine *test = *state;
	struct lsn newest = lsn_make(0);
	struct engine_usage usage;
	uint64_t held = 0;

	for (unsigned i = 0; i < 10; i++)
		newest = test_engine_commit_image(test, test_engine_page(i), i, 1000);
	usage = test_engine_usage(test);
	assert_int_equal(usage.commit_count, 10);
	assert_int_equal(usage.version_count, 10);
	assert_int_equal(usage.newest.value, newest.value);
	assert_int_equal(usage.arena_capacity_bytes, LAYER_SIZE_MIN);
	assert_int_equal(usage.arena_used_bytes, LAYER_HEADER_BYTES + newest.value);
	assert_int_equal(usage.arena_held_bytes[ARENA_IMAGE], 10 * 1000);
	for (unsigned i = 0; i < array_size(usage.arena_held_bytes); i++)
		held += usage.arena_held_bytes[i];
	assert_int_equal(held, usage.arena_used_bytes);
	assert_ok(engine_freeze(test->engine));
	usage = test_engine_usage(test);
	assert_int_equal(usage.layer_count, 1);
	assert_int_equal(usage.version_count, 0);
	assert_int_equal(usage.arena_held_bytes[ARENA_IMAGE], 0);
	assert_true(usage.sealed_bytes > newest.value &&
		    usage.sealed_bytes < newest.value + 10 * LAYER_BLOCK_BYTES);
}

/* ---- when nothing may be written ---- */

static void read_only_takes_nothing_and_changes_nothing(void **state)
{
	struct test_engine *test = *state;
	struct batch_entry entry = test_engine_entry(test_engine_page(0), VERSION_IMAGE, 0, "new", 3);
	struct lsn lsn, newest;
	uint64_t digest;

	test_engine_commit_image(test, test_engine_page(0), 1, 100);
	assert_ok(engine_freeze(test->engine));
	newest = test_engine_commit_image(test, test_engine_page(1), 2, 100);
	test_engine_stop(test);
	digest = dir_digest(test->place->dir);
	test->options.read_only = true;
	test_engine_start(test);
	assert_err(engine_commit(test->engine, &entry, 1, TEST_ENGINE_TIME_NS, &lsn), -EROFS);
	assert_err(engine_freeze(test->engine), -EROFS);
	assert_true(test_engine_usage(test).read_only);
	assert_int_equal(engine_newest(test->engine).value, newest.value);
	test_engine_check_image(test, test_engine_page(0), LSN_HEAD, 1, 100);
	test_engine_check_image(test, test_engine_page(1), LSN_HEAD, 2, 100);
	test_engine_stop(test);
	assert_int_equal(dir_digest(test->place->dir), digest);
}

/* As after a failed sync; who waits then must not wait for ever. */
static void a_failed_engine_says_so_until_it_is_opened_again(void **state)
{
	struct test_engine *test = *state;
	struct batch_entry entry = test_engine_entry(test_engine_page(0), VERSION_IMAGE, 0, "new", 3);
	struct engine *engine = test->engine;
	struct lsn lsn;

	test_engine_commit_image(test, test_engine_page(0), 1, 100);
	engine_fail(engine, -EIO, "a test of failure");
	alarm(60);
	assert_err(engine_commit(engine, &entry, 1, TEST_ENGINE_TIME_NS, &lsn), -EROFS);
	assert_err(engine_sync(engine, &lsn), -EROFS);
	assert_err(engine_freeze(engine), -EROFS);
	assert_true(test_engine_usage(test).read_only);
	test_engine_check_image(test, test_engine_page(0), LSN_HEAD, 1, 100);
	test->engine = NULL;
	assert_err(engine_close(engine), -EROFS);
	alarm(0);
	test_engine_start(test);
	assert_false(test_engine_usage(test).read_only);
	test_engine_check_image(test, test_engine_page(0), LSN_HEAD, 1, 100);
	test_engine_commit_image(test, test_engine_page(0), 2, 100);
	assert_ok(engine_sync(test->engine, &lsn));
}

/* Give the test a place on a disk of @size. False: this process may not. */
static bool mount_small(const char *path, const char *size)
{
	return own_mounts() && !mount("tmpfs", path, "tmpfs", 0, size);
}

static unsigned commit_until_full(struct test_engine *test, unsigned from)
{
	static uint8_t bytes[1 * MIB];
	int err;

	for (unsigned i = from;; i++) {
		struct batch_entry entry = test_engine_entry(test_engine_page(i), VERSION_IMAGE, 0, bytes,
							     sizeof(bytes));
		struct lsn lsn;

		seed_fill(i, bytes, sizeof(bytes));
		err = engine_commit(test->engine, &entry, 1, TEST_ENGINE_TIME_NS, &lsn);
		if (err) {
			assert_err(err, -ENOSPC);
			return i;
		}
		assert_true(i < 100);
	}
}

static void a_full_disk_refuses_commits_until_there_is_room(void **state)
{
	struct test_engine *outer = *state, test = { .options = outer->options };
	static uint8_t ballast[5 * MIB];
	struct place small = { .dir_fd = -1 };
	unsigned full, fuller;
	struct lsn lsn;
	int fd;

	path_join(small.dir, outer->place->dir, "small");
	must(!mkdir(small.dir, 0700), "mkdir", small.dir);
	if (!mount_small(small.dir, "size=15m")) {
		print_message("SKIPPED: this process may not mount a small disk: run it as root\n");
		skip();
	}
	small.dir_fd = open(small.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(small.dir_fd >= 0, "open", small.dir);
	fd = openat(small.dir_fd, "ballast", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	must(fd >= 0 && write(fd, ballast, sizeof(ballast)) == sizeof(ballast), "write", "ballast");
	close(fd);
	test.place = &small;
	assert_ok(engine_create(small.dir_fd, TEST_ENGINE_PAGE_BYTES, COMPRESSION_DEFAULT));
	test_engine_start(&test);
	full = commit_until_full(&test, 0);
	/* Ten megabytes have room for a layer at least, of three images. */
	assert_true(full >= 3);
	assert_int_equal(commit_until_full(&test, full), full);
	assert_false(test_engine_usage(&test).read_only);
	assert_ok(engine_sync(test.engine, &lsn));
	must(!unlinkat(small.dir_fd, "ballast", 0), "unlink", "ballast");
	fuller = commit_until_full(&test, full);
	assert_true(fuller > full);
	test_engine_restart(&test);
	for (unsigned i = 0; i < fuller; i++)
		test_engine_check_image(&test, test_engine_page(i), LSN_HEAD, i, 1 * MIB);
	test_engine_check_absent(&test, test_engine_page(fuller), LSN_HEAD);
	test_engine_stop(&test);
	close(small.dir_fd);
	must(!umount(small.dir), "umount", small.dir);
}

#define engine_unit_test(test) \
	cmocka_unit_test_setup_teardown(test, test_engine_setup, test_engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		engine_unit_test(a_full_layer_gives_way_to_the_next),
		engine_unit_test(what_fits_no_layer_is_refused_and_the_rest_goes_on),
		engine_unit_test(an_old_layer_freezes_by_itself),
		engine_unit_test(an_idle_layer_freezes_by_itself),
		engine_unit_test(what_a_guard_saw_stays_while_its_layer_is_sealed),
		engine_unit_test(a_sync_reaches_the_newest_lsn_and_flushes_once),
		engine_unit_test(closing_notes_what_is_durable),
		engine_unit_test(a_second_life_begins_with_its_mark),
		engine_unit_test(a_kill_loses_nothing_that_was_committed),
		engine_unit_test(the_next_inode_number_is_above_every_key),
		engine_unit_test(numbers_add_up),
		engine_unit_test(read_only_takes_nothing_and_changes_nothing),
		engine_unit_test(a_failed_engine_says_so_until_it_is_opened_again),
		engine_unit_test(a_full_disk_refuses_commits_until_there_is_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
