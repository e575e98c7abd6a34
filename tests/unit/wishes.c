/*
 * What a caller wishes of compaction: it is done whole when the call returns, or the call says why not.
 */
#include <fcntl.h>
#include <unistd.h>

#include "compaction_plan.h"
#include "manifest.h"
#include "open_layer.h"
#include "test_check.h"
#include "test_fixture.h"

static const struct store_mkfs_options mkfs = { .page_size_bytes = 4096 };

static void write_much(struct store *store, uint64_t ino, uint64_t seed, size_t size_bytes)
{
	uint8_t *bytes = malloc(size_bytes);

	seed_fill(seed, bytes, size_bytes);
	write_bytes(store, ino, 0, bytes, size_bytes);
	free(bytes);
}

static struct store_usage usage_of(struct store *store)
{
	struct store_usage usage;

	store_usage_get(store, &usage);
	return usage;
}

static unsigned count_of_sealed(struct store *store)
{
	struct store_usage usage = usage_of(store);

	return usage.run_count - (usage.arena_used_bytes > 0);
}

/* A merge of newer runs is under way when all of them are wished to be one. */
static void all_runs_become_one_also_beside_a_merge_under_way(void **state)
{
	const struct store_options options = { .piece_bytes = 32 * KIB, .fanin_0 = 2, .fanin = 8 };
	struct fixture *fixture = fixture_new(&mkfs, &options);
	struct store *store = fixture->store;
	uint64_t ino = make_file(store, TREE_ROOT_INO, "f");

	(void)state;
	write_much(store, ino, 1, 64 * KIB);
	assert_ok(store_compact(store));
	assert_int_equal(count_of_sealed(store), 1);
	for (unsigned i = 0; i < 2; i++) {
		write_much(store, ino, 2 + i, 1 * MIB);
		assert_ok(store_freeze(store));
	}
	while (!usage_of(store).merge_count)
		usleep(100);
	assert_ok(store_compact(store));
	assert_int_equal(count_of_sealed(store), 1);
	fixture_free(fixture);
}

/* More than a merge has inputs. */
static void very_many_runs_become_one(void **state)
{
	const struct store_options options = { .fanin_0 = 1000 };
	struct fixture *fixture = fixture_new(&mkfs, &options);
	struct store *store = fixture->store;
	uint64_t ino = make_file(store, TREE_ROOT_INO, "f");

	(void)state;
	for (unsigned i = 0; i < PLAN_MERGE_MAX + 10; i++) {
		write_much(store, ino, i, 8 * KIB);
		assert_ok(store_freeze(store));
	}
	assert_int_equal(count_of_sealed(store), PLAN_MERGE_MAX + 10);
	fixture_note(fixture);
	assert_ok(store_compact(store));
	assert_int_equal(count_of_sealed(store), 1);
	fixture_verify(fixture, "merged in two steps");
	fixture_free(fixture);
}

/* What is open of a closed store, and was not written to, becomes a sealed layer of no length. */
static void seal_the_empty_layer(const char *path)
{
	struct report report = { "" };
	struct open_layer_recovery found;
	struct manifest_run run = { 0 };
	struct layer_footer footer;
	struct open_layer *layer;
	struct manifest manifest;
	int dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int layers_fd = openat(dir_fd, "layers", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	must(dir_fd >= 0 && layers_fd >= 0, "open", path);
	assert_ok(manifest_open(&manifest, dir_fd, true, &report));
	if (manifest.run_count)
		run = manifest.runs[manifest.run_count - 1];
	run = (struct manifest_run){ .run_id = manifest.open_ids[0], .start = run.end, .end = run.end,
				     .chain_end = run.chain_end };
	assert_ok(open_layer_recover(layers_fd, run.run_id, &manifest.store, run.end, run.chain_end, run.end, true,
				     &layer, &found));
	assert_true(found.started && open_layer_end(layer).value == run.end.value);
	assert_ok(open_layer_seal(layer, &footer));
	run.file_bytes = ((uint64_t)footer.footer_block + 1) * LAYER_BLOCK_BYTES;
	assert_ok(manifest_layer_sealed(&manifest, &run));
	open_layer_close(layer);
	manifest_close(&manifest);
	close(layers_fd);
	close(dir_fd);
}

/* Earlier builds sealed a layer of no length where a store was opened again and left alone. */
static void layers_that_hold_nothing_are_merged_with_the_others(void **state)
{
	const struct store_options options = { .fanin_0 = 1000 };

	(void)state;
	for (unsigned more = 0; more < 3; more++) {
		struct fixture *fixture = fixture_new(&mkfs, &options);
		uint64_t ino = make_file(fixture->store, TREE_ROOT_INO, "f");
		struct store_gc gc;

		write_much(fixture->store, ino, 1, 64 * KIB);
		fixture_note(fixture);
		assert_ok(store_freeze(fixture->store));
		for (unsigned i = 0; i <= more; i++) {
			fixture_close(fixture);
			seal_the_empty_layer(fixture->path);
			fixture_open(fixture);
			assert_int_equal(count_of_sealed(fixture->store), 2 + 2 * i);
			if (i == more)
				break;
			write_much(fixture->store, ino, 2 + i, 16 * KIB);
			fixture_note(fixture);
			assert_ok(store_freeze(fixture->store));
		}
		fixture_prove(fixture);
		assert_ok(store_collect(fixture->store, false, &gc));
		assert_ok(store_compact(fixture->store));
		assert_int_equal(count_of_sealed(fixture->store), 1);
		fixture_prove(fixture);
		fixture_free(fixture);
	}
}

/* Once nobody has written for a while, and enough has come together: not less, and not before. */
static void what_rests_is_merged(void **state)
{
	const struct store_options options = { .idle_ns = 1500000000 };
	struct fixture *fixture = fixture_new(&mkfs, &options);
	struct store *store = fixture->store;
	uint64_t ino = make_file(store, TREE_ROOT_INO, "f");

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		write_much(store, ino, i, 64 * KIB);
		assert_ok(store_freeze(store));
	}
	usleep(4000000);
	assert_int_equal(count_of_sealed(store), 3);
	write_much(store, ino, 3, 64 * KIB);
	assert_ok(store_freeze(store));
	assert_int_equal(count_of_sealed(store), 4);
	fixture_note(fixture);
	for (unsigned i = 0; i < 1000 && count_of_sealed(store) > 1; i++)
		usleep(10000);
	assert_int_equal(count_of_sealed(store), 1);
	assert_int_equal(usage_of(store).level_0_count, 0);
	fixture_verify(fixture, "at rest");
	fixture_free(fixture);
}

/* A merge that can't go on keeps its runs where they are: who wishes for it again is told again. */
static void a_merge_that_rests_is_told_to_all_who_wish(void **state)
{
	const struct store_options options = { 0 };
	struct fixture *fixture = fixture_new(&mkfs, &options);
	struct store *store = fixture->store;
	char path[PATH_MAX];
	struct stat st;

	(void)state;
	write_much(store, make_file(store, TREE_ROOT_INO, "f"), 1, 256 * KIB);
	assert_ok(store_compact(store));
	layer_path(fixture->path, 0, path);
	for (unsigned i = 0; i < layer_file_count(fixture->path); i++) {
		layer_path(fixture->path, i, path);
		must(stat(path, &st) == 0, "stat", path);
		if (st.st_size < (off_t)(1 * MIB))
			break;
	}
	fixture_reopen(fixture);
	/* A data block in the middle of the table. */
	file_flip(path, st.st_size / 2);
	write_text(fixture->store, make_file(fixture->store, TREE_ROOT_INO, "g"), "new");
	for (unsigned i = 0; i < 2; i++)
		assert_err(store_compact(fixture->store), -EBADMSG);
	assert_int_equal(usage_of(fixture->store).compaction_error, -EBADMSG);
	fixture_free(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_runs_become_one_also_beside_a_merge_under_way),
		cmocka_unit_test(very_many_runs_become_one),
		cmocka_unit_test(layers_that_hold_nothing_are_merged_with_the_others),
		cmocka_unit_test(what_rests_is_merged),
		cmocka_unit_test(a_merge_that_rests_is_told_to_all_who_wish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
