/*
 * The check of a store: each kind of damage is found and named, an undamaged store
 * is clean, and a repair leaves a store that opens and reads as before wherever its
 * bytes were whole.
 */
#include "test_check.h"
#include "test_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "codec.h"
#include "io_disk.h"
#include "layer_file.h"
#include "manifest.h"
#include "page_map.h"
#include "store_internal.h"

#define SEALED 3u

struct damaged {
	struct fixture *fixture;
	char pristine[PATH_MAX];
	uint64_t file, dir;
};

static void fill(struct fixture *fixture, uint64_t file, unsigned round)
{
	struct store *store = fixture->store;
	uint8_t bytes[20000];
	char name[32];

	seed_fill(round + 1, bytes, sizeof(bytes));
	write_bytes(store, file, round * 3000, bytes, sizeof(bytes));
	for (unsigned i = 0; i < 20; i++)
		write_bytes(store, file, i * 700, bytes + i, 40);
	snprintf(name, sizeof(name), "file%u", round);
	write_text(store, make_file(store, TREE_ROOT_INO, name), name);
	fixture_note(fixture);
}

static void make_every_kind(struct fixture *fixture, uint64_t dir)
{
	struct store *store = fixture->store;
	const struct tree_new fifo = { .mode = S_IFIFO | 0600 }, link = { .mode = 0777 };
	struct tree_attr attr;
	uint64_t cut = make_file(store, dir, "cut");

	assert_ok(tree_create(store, dir, "fifo", &fifo, &attr));
	assert_ok(tree_symlink(store, dir, "link", "../somewhere", &link, &attr));
	make_dir(store, make_dir(store, dir, "deep"), "deeper");
	for (unsigned i = 0; i < 50; i++)
		write_text(store, cut, "x");
	for (unsigned i = 0; i < 50; i++)
		write_bytes(store, cut, i * 8192, "page", 4);
	set_size(store, cut, 100);
	set_size(store, cut, 1000000);
	assert_ok(tree_link(store, cut, TREE_ROOT_INO, "hard", &attr));
	make_file(store, dir, "gone");
	assert_ok(tree_unlink(store, dir, "gone"));
	fixture_note(fixture);
}

static int setup_damaged(void **state)
{
	struct damaged *damaged = calloc(1, sizeof(*damaged));
	struct fixture *fixture = fixture_new(NULL, NULL);

	assert_non_null(damaged);
	damaged->fixture = fixture;
	damaged->dir = make_dir(fixture->store, TREE_ROOT_INO, "dir");
	damaged->file = make_file(fixture->store, TREE_ROOT_INO, "file");
	make_every_kind(fixture, damaged->dir);
	for (unsigned i = 0; i < SEALED; i++) {
		fill(fixture, damaged->file, i);
		fixture_freeze(fixture);
	}
	fill(fixture, damaged->file, SEALED);
	fixture_close(fixture);
	path_join(damaged->pristine, fixture->dir, "pristine");
	dir_copy(fixture->path, damaged->pristine);
	*state = damaged;
	return 0;
}

static int teardown_damaged(void **state)
{
	struct damaged *damaged = *state;

	fixture_free(damaged->fixture);
	free(damaged);
	return 0;
}

/* The store as it was before any damage. */
static void restore(struct damaged *damaged)
{
	dir_remove(damaged->fixture->path);
	dir_copy(damaged->pristine, damaged->fixture->path);
}

static off_t file_size(const char *path)
{
	struct stat st;

	must(stat(path, &st) == 0, "stat", path);
	return st.st_size;
}

static void read_u64s(const char *path, off_t offset, uint64_t *out, size_t count)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	must(fd >= 0 && pread(fd, out, count * 8, offset) == (ssize_t)(count * 8), "read", path);
	close(fd);
}

/* Where the log of a sealed layer file ends. */
static off_t log_end(const char *path)
{
	uint64_t lsns[2];

	read_u64s(path, file_size(path) - LAYER_BLOCK_BYTES + 16, lsns, 2);
	return (off_t)(LAYER_HEADER_BYTES + le64toh(lsns[1]) - le64toh(lsns[0]));
}

/* The check finds something of @kind and in @file, and changes nothing. */
static const struct finding *assert_found(struct damaged *damaged, struct check_run **run_out,
					  enum finding_kind kind, const char *path)
{
	struct check_run *run;
	const struct finding *finding;
	char lock[PATH_MAX];
	uint64_t before;

	path_join(lock, damaged->fixture->path, "lock");
	unlink(lock);
	before = dir_digest(damaged->fixture->path);
	*run_out = run = check_run_new(damaged->fixture->path, false, 0);
	unlink(lock);
	assert_true(dir_digest(damaged->fixture->path) == before);
	finding = check_run_find(run, kind);
	if (run->err || !finding || !run->result.finding_count) {
		check_run_print(run);
		fail_msg("no finding of kind %s", finding_kind_name(kind));
	}
	if (path)
		assert_string_equal(finding->file, strstr(path, "layers/"));
	return finding;
}

/* Repair, after which a check is clean. */
static void assert_repaired(struct damaged *damaged)
{
	struct check_run *run = check_run_new(damaged->fixture->path, true, 0);

	if (run->err || run->result.finding_count || !run->result.mended_count) {
		check_run_print(run);
		fail_msg("not repaired: %llu faults left, %llu steps",
			 (unsigned long long)run->result.finding_count,
			 (unsigned long long)run->result.mended_count);
	}
	free(run);
	run = check_run_new(damaged->fixture->path, false, 0);
	if (run->err || run->result.finding_count) {
		check_run_print(run);
		fail_msg("the second check is not clean");
	}
	assert_true(run->result.state_count > 0);
	free(run);
}

/* Nothing is found that a repair did not note. */
static void assert_clean_but_known(const char *path)
{
	struct check_run *run = check_run_new(path, false, 0);

	if (run->err || run->result.finding_count)
		check_run_print(run);
	assert_int_equal(run->err, 0);
	assert_int_equal(run->result.finding_count, 0);
	assert_true(run->result.known_count > 0);
	free(run);
}

static void assert_reads_as_before(struct damaged *damaged, const char *when)
{
	fixture_open(damaged->fixture);
	fixture_verify(damaged->fixture, when);
	fixture_close(damaged->fixture);
}

static void an_undamaged_store_is_clean(void **state)
{
	struct damaged *damaged = *state;
	struct check_run *run = check_run_new(damaged->fixture->path, false, 0);

	assert_int_equal(run->err, 0);
	assert_int_equal(run->count, 0);
	assert_true(run->result.layer_count >= SEALED + 1);
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

	for (unsigned layer = 0; layer < SEALED; layer++) {
		layer_path(damaged->fixture->path, layer, path);
		off_t first = (log_end(path) + LAYER_BLOCK_BYTES - 1) / LAYER_BLOCK_BYTES;

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
			restore(damaged);
			layer_path(damaged->fixture->path, layer, path);
		}
	}
	assert_true(count >= 5 * SEALED);
}

static void a_damaged_header_is_found_and_made_anew(void **state)
{
	struct damaged *damaged = *state;
	struct check_run *run;
	char path[PATH_MAX];

	for (unsigned layer = 0; layer <= SEALED; layer++) {
		layer_path(damaged->fixture->path, layer, path);
		file_flip(path, 3 + (off_t)layer * 14);
		assert_found(damaged, &run, FINDING_HEADER, path);
		free(run);
		assert_repaired(damaged);
		assert_reads_as_before(damaged, "with a header made anew");
		restore(damaged);
	}
}

static void a_file_cut_in_its_index_is_made_whole(void **state)
{
	struct damaged *damaged = *state;
	struct check_run *run;
	char path[PATH_MAX];

	layer_path(damaged->fixture->path, 1, path);
	must(truncate(path, log_end(path) + 100) == 0, "cut", path);
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

		restore(damaged);
		layer_path(damaged->fixture->path, i % SEALED, path);
		uint64_t range = i % 4 ? (uint64_t)(log_end(path) - LAYER_HEADER_BYTES)
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

		restore(damaged);
		layer_path(damaged->fixture->path, i % SEALED, path);
		off_t at = (LAYER_HEADER_BYTES + i * 1536) / 512 * 512;

		if (at + 512 > log_end(path))
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
		restore(damaged);
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
	bool named[SEALED] = { false };

	for (unsigned layer = 0; layer < SEALED; layer++) {
		layer_path(damaged->fixture->path, layer, path);
		file_flip(path, file_size(path) - 100);
	}
	run = check_run_new(damaged->fixture->path, false, 0);
	for (size_t i = 0; i < run->count; i++)
		for (unsigned layer = 0; layer < SEALED; layer++) {
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

		restore(damaged);
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

static void a_damaged_manifest_is_found_and_made_anew(void **state)
{
	struct damaged *damaged = *state;
	char path[PATH_MAX];

	for (off_t at = 1; at < 64 + 4 * 21; at += 5) {
		struct check_run *run;

		if (at >= 8 && at < 12)         /* a newer format is refused, not repaired */
			continue;
		restore(damaged);
		path_join(path, damaged->fixture->path, "manifest");
		file_flip(path, at);
		if (at >= 40 && at < 56)
			file_flip(path, 60);
		assert_found(damaged, &run, FINDING_MANIFEST, NULL);
		free(run);
		assert_repaired(damaged);
		assert_reads_as_before(damaged, "with a manifest made anew");
	}
}

static void a_missing_or_empty_manifest_is_made_anew(void **state)
{
	struct damaged *damaged = *state;
	char path[PATH_MAX];

	for (unsigned i = 0; i < 2; i++) {
		struct check_run *run;

		restore(damaged);
		path_join(path, damaged->fixture->path, "manifest");
		must((i ? truncate(path, 0) : unlink(path)) == 0, "lose", path);
		assert_found(damaged, &run, FINDING_MANIFEST, NULL);
		free(run);
		assert_repaired(damaged);
		assert_reads_as_before(damaged, "with a manifest made anew");
	}
}

/* The open layer's history was synced by the close: what is damaged is rot, and costs
 * its version alone. */
static void a_damaged_payload_of_the_open_layer_costs_its_version(void **state)
{
	struct damaged *damaged = *state;
	const struct finding *finding;
	struct check_run *run;
	char path[PATH_MAX];

	layer_path(damaged->fixture->path, SEALED, path);
	file_flip(path, LAYER_HEADER_BYTES + 9000);
	finding = assert_found(damaged, &run, FINDING_VERSION, path);
	assert_int_equal(run->count, 1);
	assert_true(finding->from.value < finding->until.value);
	free(run);
	fixture_open(damaged->fixture);
	assert_bytes(damaged->fixture->store, find_now(damaged->fixture->store, TREE_ROOT_INO, "file3"),
		     LSN_HEAD, 0, "file3", 5);
	fixture_close(damaged->fixture);
}

/* Where the heads of a batch are. */
static off_t second_batch(const char *path)
{
	uint64_t word;

	read_u64s(path, LAYER_HEADER_BYTES + 8, &word, 1);
	return (off_t)(LAYER_HEADER_BYTES + (uint32_t)le64toh(word));
}

static void damage_to_synced_heads_of_the_open_layer_ends_the_history_there(void **state)
{
	struct damaged *damaged = *state;
	struct report report;
	struct store *store;
	struct check_run *run;
	char path[PATH_MAX], aside[PATH_MAX];
	uint8_t bytes[16384], again[16384];
	uint64_t header[7];
	int fd;

	layer_path(damaged->fixture->path, SEALED, path);
	read_u64s(path, 0, header, 7);
	file_flip(path, second_batch(path) + 20);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	must(pread(fd, bytes, sizeof(bytes), LAYER_HEADER_BYTES) == sizeof(bytes), "read", path);
	close(fd);
	assert_err(store_open(damaged->fixture->path, &damaged->fixture->options, &report, &store),
		   -EUCLEAN);
	const struct finding *finding = assert_found(damaged, &run, FINDING_LOG, path);

	assert_true(finding->from.value > le64toh(header[5]));
	free(run);
	assert_repaired(damaged);
	/* What was there lies in damaged, byte for byte. */
	path_join(aside, damaged->fixture->path, "damaged");
	must(strlen(aside) + 40 < sizeof(aside), "name", aside);
	strcat(strcat(aside, strrchr(path, '/')), ".1");
	fd = open(aside, O_RDONLY | O_CLOEXEC);
	must(fd >= 0 && pread(fd, again, sizeof(again), LAYER_HEADER_BYTES) == sizeof(again), "read",
	     aside);
	close(fd);
	assert_memory_equal(bytes, again, sizeof(bytes));
	/* The store goes on, and the past is as it was. */
	fixture_open(damaged->fixture);
	write_text(damaged->fixture->store, make_file(damaged->fixture->store, TREE_ROOT_INO, "new"),
		   "after the repair");
	assert_bytes(damaged->fixture->store, find_now(damaged->fixture->store, TREE_ROOT_INO, "file2"),
		     LSN_HEAD, 0, "file2", 5);
	fixture_close(damaged->fixture);
	assert_clean(damaged->fixture->path);
}

static void an_open_layer_cut_short_is_found_and_opens_after_a_repair(void **state)
{
	struct damaged *damaged = *state;
	static const off_t cuts[] = { 0, 100, 4096, 4100, 8192, 20000, 3 << 20 };
	struct check_run *run;
	char path[PATH_MAX];

	for (unsigned i = 0; i < array_size(cuts); i++) {
		restore(damaged);
		layer_path(damaged->fixture->path, SEALED, path);
		must(truncate(path, cuts[i]) == 0, "cut", path);
		if (cuts[i] < 1 << 20)
			assert_repaired(damaged);
		fixture_open(damaged->fixture);
		fixture_freeze(damaged->fixture);
		make_file(damaged->fixture->store, TREE_ROOT_INO, "new");
		fixture_close(damaged->fixture);
		/* A version whose end is gone may be known to be damaged: no more is. */
		run = check_run_new(damaged->fixture->path, false, 0);
		assert_int_equal(run->result.finding_count, 0);
		free(run);
	}
}

static void a_missing_spare_is_no_loss(void **state)
{
	struct damaged *damaged = *state;
	char path[PATH_MAX] = "";
	unsigned count = layer_file_count(damaged->fixture->path);

	fixture_open(damaged->fixture);
	for (unsigned i = 0; layer_file_count(damaged->fixture->path) == count; i++) {
		assert_true(i < 10000);
		write_bytes(damaged->fixture->store, damaged->file, i % 100 * 8192, path, 4096);
		usleep(1000);
	}
	fixture_note(damaged->fixture);
	fixture_close(damaged->fixture);
	layer_path(damaged->fixture->path, count, path);
	must(unlink(path) == 0, "remove", path);
	assert_repaired(damaged);
	assert_reads_as_before(damaged, "without the spare");
}

/* ---- the tree ---- */

/* Change the attributes of @ino behind the tree's back. */
static void commit_attr(struct store *store, uint64_t ino, void (*edit)(struct attr *attr))
{
	struct layer_guard guard;
	struct batch_entry entry = { .key = key_make(ino, KEY_ATTR, 0), .form = VERSION_IMAGE,
				     .body_bytes = ATTR_BYTES };
	uint8_t raw[ATTR_BYTES];
	struct attr attr;
	struct lsn lsn;

	lsn = engine_guard_take(store->engine, &guard);
	assert_ok(attr_load(&guard, ino, lsn, &attr, NULL, NULL));
	layer_guard_drop(&guard);
	edit(&attr);
	attr_encode(&attr, raw);
	entry.body = raw;
	assert_ok(engine_commit(store->engine, &entry, 1, 1, &lsn));
}

static void more_links(struct attr *attr) { attr->shown.nlink++; }
static void no_links(struct attr *attr) { attr->shown.nlink = 0; }
static void more_size(struct attr *attr) { attr->shown.size_bytes++; }
static void less_blocks(struct attr *attr) { attr->block_end--; }
static void more_pages(struct attr *attr) { attr->shown.page_count++; }
static void other_parent(struct attr *attr) { attr->shown.parent_ino = attr->shown.ino; }
static void other_type(struct attr *attr) { attr->shown.mode = S_IFIFO | 0600; attr->block_end = 0; }
static void cut_size(struct attr *attr) { attr->shown.size_bytes -= 3; }
static void two_dir_links(struct attr *attr) { attr->shown.nlink = 2; }

static void what_names_and_attributes_deny_each_other_is_found(void **state)
{
	struct damaged *damaged = *state;
	const struct {
		const char *what;
		bool of_dir;
		void (*edit)(struct attr *attr);
	} edits[] = {
		{ "a link without a name", false, more_links },
		{ "a name without a link", false, no_links },
		{ "a directory's size", true, more_size },
		{ "a page beyond the last", false, less_blocks },
		{ "a page that the map has not", false, more_pages },
		{ "a way up in a circle", true, other_parent },
		{ "a type", false, other_type },
		{ "bytes beyond the size", false, cut_size },
		{ "a directory with two links", true, two_dir_links },
	};

	for (unsigned i = 0; i < array_size(edits); i++) {
		struct check_run *run;
		uint64_t ino = edits[i].of_dir ? damaged->dir : damaged->file;

		restore(damaged);
		fixture_open(damaged->fixture);
		commit_attr(damaged->fixture->store, ino, edits[i].edit);
		run = check_run_running(damaged->fixture->store);
		assert_non_null(check_run_find(run, FINDING_TREE));
		free(run);
		fixture_close(damaged->fixture);
		run = check_run_new(damaged->fixture->path, true, 0);
		if (!check_run_find(run, FINDING_TREE) || !run->result.finding_count)
			fail_msg("not found: %s", edits[i].what);
		free(run);
	}
}

/* A leaf of the file's page map with @count pages from @first on. */
static void commit_leaf(struct store *store, uint64_t ino, uint64_t first, uint64_t count)
{
	uint8_t bits[PAGE_MAP_LEAF_BYTES] = { 0 };
	struct batch_entry entries[] = {
		{ .key = key_make(ino, KEY_MAP, 0), .form = VERSION_IMAGE, .body = bits,
		  .body_bytes = sizeof(bits) },
	};
	struct lsn lsn;

	for (uint64_t bit = first; bit < first + count; bit++)
		bits[bit / 8] |= (uint8_t)(1u << bit % 8);
	assert_ok(engine_commit(store->engine, entries, 1, 1, &lsn));
}

static void a_page_map_that_is_not_the_files_is_found(void **state)
{
	struct damaged *damaged = *state;

	for (unsigned wrong = 0; wrong < 2; wrong++) {
		struct store *store;
		struct check_run *run;
		uint64_t pages, found;

		restore(damaged);
		fixture_open(damaged->fixture);
		store = damaged->fixture->store;
		pages = attr_now(store, damaged->file).page_count;
		assert_true(pages > 1);
		/* Of another number than the attributes say; of other blocks. */
		commit_leaf(store, damaged->file, wrong, wrong ? pages : pages - 1);
		run = check_run_running(store);
		assert_non_null(check_run_find(run, FINDING_TREE));
		free(run);
		assert_err(tree_seek(store, damaged->file, LSN_HEAD, 0, true, &found),
			   wrong ? 0 : -EUCLEAN);
		assert_err(tree_punch(store, damaged->file, 0, 5 * 8192, true, false),
			   wrong ? 0 : -EUCLEAN);
		fixture_close(damaged->fixture);
	}
}

/* ---- a repair that is killed ---- */

static unsigned calls_left;

static void count_call(void)
{
	if (calls_left-- == 0)
		_exit(99);
}

static ssize_t killing_write(struct io_disk *disk, int fd, const struct iovec *pieces, int count,
			     uint64_t offset)
{
	count_call();
	return io_disk_real.write(disk, fd, pieces, count, offset);
}

static int killing_truncate(struct io_disk *disk, int fd, uint64_t size)
{
	count_call();
	return io_disk_real.truncate(disk, fd, size);
}

static int killing_rename(struct io_disk *disk, int dir_fd, const char *from, const char *to)
{
	count_call();
	return io_disk_real.rename(disk, dir_fd, from, to);
}

static int killing_unlink(struct io_disk *disk, int dir_fd, const char *name)
{
	count_call();
	return io_disk_real.unlink(disk, dir_fd, name);
}

static int killing_allocate(struct io_disk *disk, int fd, int mode, uint64_t from, uint64_t size)
{
	count_call();
	return io_disk_real.allocate(disk, fd, mode, from, size);
}

/* True: it ended before the @nth call that changes something. */
static bool repair_killed_at(const char *path, unsigned nth)
{
	int status = 0;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		struct io_disk disk = io_disk_real;
		struct store_check_options options = { .repair = true };
		struct store_check_result result;
		struct report report;

		disk.write = killing_write;
		disk.truncate = killing_truncate;
		disk.rename = killing_rename;
		disk.unlink = killing_unlink;
		disk.allocate = killing_allocate;
		calls_left = nth;
		io_disk_use(&disk);
		_exit(store_check(path, &options, &report, &result) ? 1 : 0);
	}
	must(pid > 0 && waitpid(pid, &status, 0) == pid, "fork", path);
	assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 99 || WEXITSTATUS(status) == 0));
	return WEXITSTATUS(status) == 0;
}

static void a_repair_survives_a_kill_at_every_call(void **state)
{
	struct damaged *damaged = *state;
	char path[PATH_MAX];
	unsigned nth = 0;
	bool ended = false;

	for (; !ended; nth++) {
		struct check_run *run;

		restore(damaged);
		layer_path(damaged->fixture->path, 0, path);
		file_flip(path, file_size(path) - 3000);
		layer_path(damaged->fixture->path, 2, path);
		must(truncate(path, log_end(path) + 1) == 0, "cut", path);
		path_join(path, damaged->fixture->path, "manifest");
		file_flip(path, 80);
		ended = repair_killed_at(damaged->fixture->path, nth);
		run = check_run_new(damaged->fixture->path, true, 0);
		if (run->err || run->result.finding_count)
			check_run_print(run);
		assert_int_equal(run->err, 0);
		assert_int_equal(run->result.finding_count, 0);
		free(run);
		assert_clean(damaged->fixture->path);
		assert_reads_as_before(damaged, "after a repair that was killed");
	}
	print_message("a repair killed at each of %u calls\n", nth);
	assert_true(nth > 20);
}

#define damaged_test(test) cmocka_unit_test_setup_teardown(test, setup_damaged, teardown_damaged)

/* What the core says of each bad version is what these tests expect. */
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
		damaged_test(a_damaged_manifest_is_found_and_made_anew),
		damaged_test(a_missing_or_empty_manifest_is_made_anew),
		damaged_test(a_damaged_payload_of_the_open_layer_costs_its_version),
		damaged_test(damage_to_synced_heads_of_the_open_layer_ends_the_history_there),
		damaged_test(an_open_layer_cut_short_is_found_and_opens_after_a_repair),
		damaged_test(a_missing_spare_is_no_loss),
		damaged_test(what_names_and_attributes_deny_each_other_is_found),
		damaged_test(a_page_map_that_is_not_the_files_is_found),
		damaged_test(a_repair_survives_a_kill_at_every_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
