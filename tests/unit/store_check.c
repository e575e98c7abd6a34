/*
 * The check of a store: each kind of damage to its layers is found and named, an undamaged store
 * is clean, and a repair leaves a store that opens and reads as before wherever its
 * bytes were whole.
 */
#include <fcntl.h>
#include <unistd.h>

#include "batch.h"
#include "layer_file.h"
#include "test_damaged.h"

static void an_undamaged_store_is_clean(void **state)
{
	struct damaged *damaged = *state;
	struct check_run *run = check_run_new(damaged->fixture->path, false, 0);

	assert_int_equal(run->err, 0);
	assert_int_equal(run->count, 0);
	assert_true(run->result.layer_count >= DAMAGED_SEALED + 1);
	assert_true(run->result.state_count > 1);
	assert_true(run->result.version_count > 100);
	free(run);
	assert_reads_as_before(damaged, "after a check");
}

static void what_is_no_store_or_in_use_is_refused(void **state)
{
	struct damaged *damaged = *state;
	struct check_run *run = check_run_new(damaged->fixture->dir, false, 0);

	assert_int_equal(run->err, -EMEDIUMTYPE);
	free(run);
	run = check_run_new("/nonexistent", false, 0);
	assert_int_equal(run->err, -ENOENT);
	free(run);
	fixture_open(damaged->fixture);
	run = check_run_new(damaged->fixture->path, true, 0);
	assert_int_equal(run->err, -EBUSY);
	free(run);
	run = check_run_running(damaged->fixture->store);
	assert_int_equal(run->err, 0);
	assert_int_equal(run->count, 0);
	free(run);
	fixture_close(damaged->fixture);
}

/* Each block of the index, and several places in each. */
static void every_damaged_index_block_is_found_and_made_anew(void **state)
{
	struct damaged *damaged = *state;
	struct check_run *run;
	char path[PATH_MAX];
	unsigned count = 0;

	for (unsigned layer = 0; layer < DAMAGED_SEALED; layer++) {
		layer_path(damaged->fixture->path, layer, path);
		off_t first = (sealed_log_end(path) + LAYER_BLOCK_BYTES - 1) / LAYER_BLOCK_BYTES;

		for (off_t block = first; block < file_size(path) / LAYER_BLOCK_BYTES; block++) {
			off_t at = block * LAYER_BLOCK_BYTES + (off_t)(count++ * 811 % 4096);

			file_flip(path, at);
			const struct finding *finding =
				assert_found(damaged, &run, FINDING_INDEX, path);
			assert_true(finding->offset <= (uint64_t)at &&
				    (uint64_t)at < finding->offset + finding->size_bytes);
			free(run);
			assert_repaired(damaged);
			assert_reads_as_before(damaged, "with an index made anew");
			damaged_restore(damaged);
			layer_path(damaged->fixture->path, layer, path);
		}
	}
	assert_true(count >= 5 * DAMAGED_SEALED);
}

static void a_damaged_header_is_found_and_made_anew(void **state)
{
	struct damaged *damaged = *state;
	struct check_run *run;
	char path[PATH_MAX];

	for (unsigned layer = 0; layer <= DAMAGED_SEALED; layer++) {
		layer_path(damaged->fixture->path, layer, path);
		file_flip(path, 3 + (off_t)layer * 14);
		assert_found(damaged, &run, FINDING_HEADER, path);
		free(run);
		assert_repaired(damaged);
		assert_reads_as_before(damaged, "with a header made anew");
		damaged_restore(damaged);
	}
}

static void a_file_cut_in_its_index_is_made_whole(void **state)
{
	struct damaged *damaged = *state;
	struct check_run *run;
	char path[PATH_MAX];

	layer_path(damaged->fixture->path, 1, path);
	must(truncate(path, sealed_log_end(path) + 100) == 0, "cut", path);
	assert_found(damaged, &run, FINDING_FILE, path);
	free(run);
	assert_repaired(damaged);
	assert_reads_as_before(damaged, "after the cut file was made whole");
}

/* Flip bytes in the log of each sealed layer, each fourth in its first heads. What the finding says can be
 * read can, what it says is damaged is refused, and nothing is ever wrong. */
static void damage_to_a_log_costs_what_the_finding_says(void **state)
{
	struct damaged *damaged = *state;
	unsigned versions = 0, harmless = 0;
	char path[PATH_MAX];

	for (unsigned i = 0; i < 60; i++) {
		struct check_run *run;

		damaged_restore(damaged);
		layer_path(damaged->fixture->path, i % DAMAGED_SEALED, path);
		uint64_t range = i % 4 ? (uint64_t)(sealed_log_end(path) - LAYER_HEADER_BYTES)
				       : BATCH_HEADER_BYTES;
		off_t at = LAYER_HEADER_BYTES + (off_t)((uint64_t)i * 7919 % range);

		file_flip(path, at);
		run = check_run_new(damaged->fixture->path, false, 0);
		assert_int_equal(run->err, 0);
		if (run->count != 1)
			check_run_print(run);
		assert_int_equal(run->count, 1);
		const struct finding *finding = &run->findings[0];

		assert_string_equal(finding->file, strstr(path, "layers/"));
		assert_true(finding->offset <= (uint64_t)at &&
			    (uint64_t)at < finding->offset + finding->size_bytes);
		assert_repaired(damaged);
		fixture_open(damaged->fixture);
		if (finding->kind == FINDING_LOG) {
			harmless++;
			assert_true(finding->until.value == 0);
			fixture_verify(damaged->fixture, "with damaged heads");
		} else {
			struct tree_attr attr;

			versions++;
			assert_int_equal(finding->kind, FINDING_VERSION);
			assert_true(finding->from.value < finding->until.value);
			if (key_kind(finding->key) == KEY_ATTR) {
				assert_err(tree_getattr(damaged->fixture->store, finding->key.ino,
							finding->from, &attr), -EBADMSG);
			} else if (key_kind(finding->key) == KEY_PAGE) {
				uint8_t bytes[8192];
				size_t count;

				assert_string_not_equal(finding->path, "");
				assert_err(tree_read(damaged->fixture->store, finding->key.ino,
						     finding->from, key_index(finding->key) * 8192,
						     bytes, sizeof(bytes), &count), -EBADMSG);
				if (finding->until.value != FINDING_OPEN_END)
					assert_ok(tree_read(damaged->fixture->store,
							    finding->key.ino, finding->until,
							    key_index(finding->key) * 8192, bytes,
							    sizeof(bytes), &count));
			}
		}
		fixture_close(damaged->fixture);
		free(run);
	}
	print_message("%u flips in logs: %u versions, %u heads that cost nothing\n",
		      versions + harmless, versions, harmless);
	assert_true(versions > 10 && harmless > 5);
}

static void a_lost_sector_of_the_log_costs_its_payloads_alone(void **state)
{
	struct damaged *damaged = *state;
	static const uint8_t zeros[512];
	char path[PATH_MAX];

	for (unsigned i = 0; i < 10; i++) {
		struct check_run *run;

		damaged_restore(damaged);
		layer_path(damaged->fixture->path, i % DAMAGED_SEALED, path);
		off_t at = (LAYER_HEADER_BYTES + i * 1536) / 512 * 512;

		if (at + 512 > sealed_log_end(path))
			continue;
		file_overwrite(path, at, zeros, sizeof(zeros));
		run = check_run_new(damaged->fixture->path, false, 0);
		assert_int_equal(run->err, 0);
		assert_true(run->result.finding_count > 0);
		assert_null(check_run_find(run, FINDING_INDEX));
		if (check_run_find(run, FINDING_TREE))
			check_run_print(run);
		assert_null(check_run_find(run, FINDING_TREE));
		free(run);
		assert_repaired(damaged);
	}
}

/* The first batch says where the window begins; its heads alone must not be believed. */
static void the_oldest_lsn_is_right_when_the_first_batch_is_damaged(void **state)
{
	struct damaged *damaged = *state;
	struct lsn oldest, found, newest_lsn;
	struct tree_attr attr;
	char path[PATH_MAX];

	fixture_open(damaged->fixture);
	store_window(damaged->fixture->store, &oldest, &newest_lsn);
	fixture_close(damaged->fixture);
	for (off_t at = 0; at < 28; at++) {
		damaged_restore(damaged);
		layer_path(damaged->fixture->path, 0, path);
		file_flip(path, LAYER_HEADER_BYTES + at);
		fixture_open(damaged->fixture);
		store_window(damaged->fixture->store, &found, &newest_lsn);
		assert_int_equal(found.value, oldest.value);
		assert_ok(tree_getattr(damaged->fixture->store, TREE_ROOT_INO, found, &attr));
		fixture_close(damaged->fixture);
	}
}

static void each_damaged_layer_is_named(void **state)
{
	struct damaged *damaged = *state;
	struct check_run *run;
	char path[PATH_MAX];
	bool named[DAMAGED_SEALED] = { false };

	for (unsigned layer = 0; layer < DAMAGED_SEALED; layer++) {
		layer_path(damaged->fixture->path, layer, path);
		file_flip(path, file_size(path) - 100);
	}
	run = check_run_new(damaged->fixture->path, false, 0);
	for (size_t i = 0; i < run->count; i++)
		for (unsigned layer = 0; layer < DAMAGED_SEALED; layer++) {
			layer_path(damaged->fixture->path, layer, path);
			named[layer] |= !strcmp(run->findings[i].file, strstr(path, "layers/"));
		}
	free(run);
	assert_true(named[0] && named[1] && named[2]);
	assert_repaired(damaged);
	assert_reads_as_before(damaged, "after three layers were mended");
}

/* Index and log both, or no file: what the layer held is refused, what was written since reads. */
static void a_layer_beyond_repair_costs_what_it_held(void **state)
{
	struct damaged *damaged = *state;
	char path[PATH_MAX];

	for (unsigned i = 0; i < 2; i++) {
		struct store *store;
		struct report report;
		struct tree_attr attr;

		damaged_restore(damaged);
		layer_path(damaged->fixture->path, 1, path);
		if (i) {
			must(unlink(path) == 0, "remove", path);
		} else {
			file_flip(path, LAYER_HEADER_BYTES + 9);
			file_flip(path, file_size(path) - 100);
		}
		assert_err(store_open(damaged->fixture->path, &damaged->fixture->options, &report, &store),
			   -EUCLEAN);
		assert_non_null(strstr(report.text, "varve check --repair"));
		assert_repaired(damaged);
		fixture_open(damaged->fixture);
		store = damaged->fixture->store;
		assert_bytes(store, find_now(store, TREE_ROOT_INO, "file3"), LSN_HEAD, 0, "file3", 5);
		assert_err(tree_lookup(store, TREE_ROOT_INO, "file1", LSN_HEAD, &attr), -EBADMSG);
		write_text(store, find_now(store, TREE_ROOT_INO, "file3"), "after the repair");
		fixture_freeze(damaged->fixture);
		fixture_close(damaged->fixture);
		assert_clean_but_known(damaged->fixture->path);
	}
}

static void ignore_line(const char *line)
{
	(void)line;
}

int main(void)
{
	log_set_sink(ignore_line);
	const struct CMUnitTest tests[] = {
		damaged_test(an_undamaged_store_is_clean),
		damaged_test(what_is_no_store_or_in_use_is_refused),
		damaged_test(every_damaged_index_block_is_found_and_made_anew),
		damaged_test(a_damaged_header_is_found_and_made_anew),
		damaged_test(a_file_cut_in_its_index_is_made_whole),
		damaged_test(damage_to_a_log_costs_what_the_finding_says),
		damaged_test(a_lost_sector_of_the_log_costs_its_payloads_alone),
		damaged_test(the_oldest_lsn_is_right_when_the_first_batch_is_damaged),
		damaged_test(each_damaged_layer_is_named),
		damaged_test(a_layer_beyond_repair_costs_what_it_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
