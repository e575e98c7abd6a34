/*
 * Check and repair of a store whose history is compacted: damage to table layers and to sealed layers is
 * found and named; an index is made anew from its data; a layer that is gone costs what it held and no more.
 */
#include "test_compact.h"
#include "test_damaged.h"

#include <fcntl.h>
#include <unistd.h>

#include "layer_file.h"
#include "manifest.h"
#include "table_format.h"

#define PAGE 4096u
#define FILES 12u

struct compacted {
	struct damaged damaged;
	struct store_options options;
	uint64_t last;                  /* a file of the open layer */
};

static void fill(struct fixture *fixture, unsigned round)
{
	struct store *store = fixture->store;
	uint8_t bytes[2 * PAGE];
	char name[32];

	for (unsigned i = 0; i < FILES; i++) {
		uint64_t ino;

		snprintf(name, sizeof(name), "file%u", i);
		ino = round ? find_now(store, TREE_ROOT_INO, name) : make_file(store, TREE_ROOT_INO, name);
		seed_fill(round * FILES + i + 1, bytes, sizeof(bytes));
		write_bytes(store, ino, 0, bytes, sizeof(bytes));
		write_bytes(store, ino, 5000, name, sizeof(name));
	}
	snprintf(name, sizeof(name), "round%u", round);
	write_text(store, make_file(store, make_dir(store, TREE_ROOT_INO, name), "text"), name);
	fixture_note(fixture);
	fixture_freeze(fixture);
}

/* Two runs of tables, two sealed layers behind them, and an open one. */
static int setup_compacted(void **state)
{
	struct compacted *compacted = calloc(1, sizeof(*compacted));
	struct store_mkfs_options mkfs = { .page_size_bytes = PAGE, .compression = STORE_COMPRESSION_LZ4 };
	struct fixture *fixture;

	assert_non_null(compacted);
	compacted->options = (struct store_options){ .layer_size_bytes = LAYER_SIZE_MIN, .no_compaction = true };
	fixture = compacted->damaged.fixture = fixture_new(&mkfs, &compacted->options);
	for (unsigned round = 0; round < 4; round++)
		fill(fixture, round);
	fixture_close(fixture);
	compacted->options = fixture->options;
	struct store_options compacting = fixture->options;

	compacting.no_compaction = false;
	compacting.table_size_bytes = compacting.piece_bytes = 64 * KIB;
	assert_true(compact_killed_at(fixture->path, &compacting, 1u << 30));
	fixture_open(fixture);
	for (unsigned round = 4; round < 6; round++)
		fill(fixture, round);
	compacted->last = make_file(fixture->store, TREE_ROOT_INO, "last");
	write_text(fixture->store, compacted->last, "last");
	fixture_note(fixture);
	damaged_keep(&compacted->damaged);
	*state = compacted;
	return 0;
}

static int teardown_compacted(void **state)
{
	struct compacted *compacted = *state;

	fixture_free(compacted->damaged.fixture);
	free(compacted);
	return 0;
}

/* A bit of a last record that says nothing new does no harm. */
static bool is_clean(const char *path)
{
	struct check_run *run = check_run_new(path, false, 0);
	bool clean = !run->err && !run->result.finding_count;

	free(run);
	return clean;
}

static struct check_run *find_damage(struct compacted *compacted, enum finding_kind kind, const char *path)
{
	struct check_run *run;

	assert_found(&compacted->damaged, &run, kind, path);
	return run;
}

/* Where the data of a table end: what its footer says. */
static off_t data_end(const char *path)
{
	uint64_t word = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	must(fd >= 0 && pread(fd, &word, 8, file_size(path) - LAYER_BLOCK_BYTES + 152) == 8, "read", path);
	close(fd);
	return (off_t)le64toh(word);
}

static void file_copy(const char *from, const char *to)
{
	size_t size = (size_t)file_size(from);
	uint8_t *bytes = malloc(size);
	int fd = open(from, O_RDONLY | O_CLOEXEC);

	must(bytes && fd >= 0 && pread(fd, bytes, size, 0) == (ssize_t)size, "read", from);
	close(fd);
	fd = open(to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	must(fd >= 0 && pwrite(fd, bytes, size, 0) == (ssize_t)size, "write", to);
	close(fd);
	free(bytes);
}

/* Of each file's two pages at each noted LSN: what can be read, what is refused, all that is read being right. */
struct answers {
	unsigned right, refused;
};

static struct answers ask(struct compacted *compacted, struct lsn at)
{
	struct answers answers = { 0, 0 };
	struct store *store = compacted->damaged.fixture->store;

	for (unsigned i = 0; i < FILES; i++) {
		struct tree_attr attr;
		uint8_t bytes[2 * PAGE];
		char name[32];
		size_t count;
		int err;

		snprintf(name, sizeof(name), "file%u", i);
		err = tree_lookup(store, TREE_ROOT_INO, name, at, &attr);
		if (!err)
			err = tree_read(store, attr.ino, at, 0, bytes, sizeof(bytes), &count);
		/* A name that was there may be refused, never denied. */
		assert_true(!err || err == -EBADMSG || err == -EUCLEAN);
		answers.right += !err;
		answers.refused += err != 0;
	}
	return answers;
}

static void a_compacted_store_is_clean(void **state)
{
	struct compacted *compacted = *state;
	struct check_run *run = check_run_new(compacted->damaged.fixture->path, false, 0);
	struct table_paths *tables = table_paths_new(compacted->damaged.fixture->path);

	if (run->count)
		check_run_print(run);
	assert_int_equal(run->err, 0);
	assert_int_equal(run->count, 0);
	assert_true(tables->count >= 3);
	assert_true(run->result.layer_count >= tables->count + 2);
	free(run);
	fixture_open(compacted->damaged.fixture);
	run = check_run_running(compacted->damaged.fixture->store);
	assert_int_equal(run->err, 0);
	assert_int_equal(run->count, 0);
	assert_true(run->result.layer_count >= tables->count + 2);
	free(run);
	fixture_close(compacted->damaged.fixture);
	free(tables);
}

/* Header, and each block of index and footer, of each table. */
static void a_damaged_index_of_a_table_is_made_anew(void **state)
{
	struct compacted *compacted = *state;
	struct table_paths *tables = table_paths_new(compacted->damaged.fixture->path);
	unsigned count = 0;

	for (unsigned t = 0; t < tables->count; t++) {
		const char *path = tables->paths[t];
		off_t block = (data_end(path) + LAYER_BLOCK_BYTES - 1) / LAYER_BLOCK_BYTES;

		file_flip(path, 20 + t);
		free(find_damage(compacted, FINDING_HEADER, path));
		assert_repaired(&compacted->damaged);
		assert_reads_as_before(&compacted->damaged, "with a table's header made anew");
		damaged_restore(&compacted->damaged);
		for (; block < file_size(path) / LAYER_BLOCK_BYTES; block++) {
			file_flip(path, block * LAYER_BLOCK_BYTES + (off_t)(count++ * 811 % 4096));
			free(find_damage(compacted, FINDING_INDEX, path));
			assert_repaired(&compacted->damaged);
			assert_reads_as_before(&compacted->damaged, "with a table's index made anew");
			assert_true(access(path, F_OK) != 0);
			damaged_restore(&compacted->damaged);
		}
	}
	print_message("%u blocks of %u tables made anew\n", count, tables->count);
	assert_true(count >= 3 * tables->count);
	free(tables);
}

/* What the finding names is refused, before and after a repair, and all else reads. */
static void a_damaged_block_of_a_table_costs_its_versions(void **state)
{
	struct compacted *compacted = *state;
	struct table_paths *tables = table_paths_new(compacted->damaged.fixture->path);
	unsigned refused = 0, right = 0;

	for (unsigned t = 0; t < tables->count; t++) {
		const char *path = tables->paths[t];
		off_t at = TABLE_HEADER_BYTES + 100 + (off_t)t * 777 % (data_end(path) - TABLE_HEADER_BYTES - 100);
		struct check_run *run;
		struct lsn oldest, head;
		struct answers answers;

		file_flip(path, at);
		run = find_damage(compacted, FINDING_VERSION, path);
		assert_int_equal(run->result.finding_count, 1);
		assert_true(run->findings[0].offset <= (uint64_t)at &&
			    (uint64_t)at < run->findings[0].offset + run->findings[0].size_bytes);
		free(run);
		assert_repaired(&compacted->damaged);
		fixture_open(compacted->damaged.fixture);
		store_window(compacted->damaged.fixture->store, &oldest, &head);
		answers = ask(compacted, lsn_make(head.value / 2));
		right += answers.right;
		refused += answers.refused;
		answers = ask(compacted, head);
		right += answers.right;
		fixture_close(compacted->damaged.fixture);
		damaged_restore(&compacted->damaged);
	}
	print_message("a block of each of %u tables: %u files read, %u refused\n", tables->count, right, refused);
	assert_true(right > 0 && refused > 0);
	free(tables);
}

/* Index and data both, or no file at all. */
static void a_table_that_is_gone_costs_what_it_held(void **state)
{
	struct compacted *compacted = *state;
	struct table_paths *tables = table_paths_new(compacted->damaged.fixture->path);
	unsigned refused = 0, right = 0;

	for (unsigned t = 0; t < 2 * tables->count; t++) {
		const char *path = tables->paths[t / 2];
		struct report report = { "" };
		struct answers answers;
		struct check_run *run;
		struct store *store;
		struct lsn oldest, head;

		if (t % 2) {
			must(unlink(path) == 0, "remove", path);
			assert_err(store_open(compacted->damaged.fixture->path, &compacted->options, &report,
					      &store), -EUCLEAN);
			assert_non_null(strstr(report.text, "varve check --repair"));
			free(find_damage(compacted, FINDING_FILE, path));
		} else {
			file_flip(path, TABLE_HEADER_BYTES + 50);
			file_flip(path, file_size(path) - 3000);
			free(find_damage(compacted, FINDING_INDEX, path));
		}
		assert_repaired(&compacted->damaged);
		assert_true(access(path, F_OK) != 0);
		run = check_run_new(compacted->damaged.fixture->path, false, 0);
		assert_true(run->count >= 1 && run->findings[0].known);
		free(run);
		fixture_open(compacted->damaged.fixture);
		store_window(compacted->damaged.fixture->store, &oldest, &head);
		answers = ask(compacted, lsn_make(head.value / 2));
		right += answers.right;
		refused += answers.refused;
		/* It goes on; merges leave the run alone. */
		(void)tree_write(compacted->damaged.fixture->store, 17, 0, "new", 3, false);
		run = check_run_running(compacted->damaged.fixture->store);
		assert_int_equal(run->result.finding_count, 0);
		assert_true(run->count >= 1 && run->findings[0].known);
		free(run);
		fixture_close(compacted->damaged.fixture);
		damaged_restore(&compacted->damaged);
	}
	print_message("%u tables gone, two ways: %u files read, %u refused\n", tables->count, right, refused);
	assert_true(right > 0 && refused > 0);
	free(tables);
}

static void a_sealed_layer_that_is_gone_costs_what_it_held(void **state)
{
	struct compacted *compacted = *state;
	unsigned count = layer_file_count(compacted->damaged.fixture->path), sealed = 0;
	struct table_paths *tables = table_paths_new(compacted->damaged.fixture->path);

	for (unsigned i = 0; i < 2 * count; i++) {
		char path[PATH_MAX], kept[PATH_MAX];
		struct answers answers;
		struct lsn oldest, head;
		bool table = false;

		layer_path(compacted->damaged.fixture->path, i / 2, path);
		for (unsigned t = 0; t < tables->count; t++)
			table |= !strcmp(path, tables->paths[t]);
		if (table || file_size(path) >= (off_t)LAYER_SIZE_MIN)
			continue;
		sealed++;
		path_join(kept, compacted->damaged.pristine, strstr(path, "layers/"));
		if (i % 2) {
			must(unlink(path) == 0, "remove", path);
		} else {
			file_flip(path, LAYER_HEADER_BYTES + 9);
			file_flip(path, file_size(path) - 100);
		}
		assert_repaired(&compacted->damaged);
		fixture_open(compacted->damaged.fixture);
		store_window(compacted->damaged.fixture->store, &oldest, &head);
		/* Below it all reads; what was read at it or above is refused, or was written since. */
		answers = ask(compacted, lsn_make(head.value / 2));
		assert_int_equal(answers.refused, 0);
		answers = ask(compacted, head);
		assert_true(answers.refused > 0);
		/* What was written since, and does not build on what is lost, is there, and can be written to. */
		assert_text(compacted->damaged.fixture->store, compacted->last, LSN_HEAD, "last");
		write_text(compacted->damaged.fixture->store, compacted->last, "more");
		fixture_close(compacted->damaged.fixture);
		/* From a backup it comes back. */
		file_copy(kept, path);
		assert_repaired(&compacted->damaged);
		assert_reads_as_before(&compacted->damaged, "with the layer from a backup");
		damaged_restore(&compacted->damaged);
	}
	assert_int_equal(sealed, 4);
	free(tables);
}

static void a_lost_manifest_is_made_anew_from_tables_too(void **state)
{
	struct compacted *compacted = *state;
	char path[PATH_MAX];

	for (unsigned i = 0; i < 40; i++) {
		path_join(path, compacted->damaged.fixture->path, "manifest");
		if (i == 0)
			must(unlink(path) == 0, "remove", path);
		else
			file_flip(path, i == 1 ? 17 : (off_t)(64 + i * 37));
		if (i > 1 && is_clean(compacted->damaged.fixture->path)) {
			damaged_restore(&compacted->damaged);
			continue;
		}
		assert_repaired(&compacted->damaged);
		assert_reads_as_before(&compacted->damaged, "with a manifest made anew");
		damaged_restore(&compacted->damaged);
	}
}

/* A merge killed at each of its writes: the check finds nothing, and a manifest that is lost then is made
 * anew; what the inputs hold below the keys that were moved counts no more. */
static void an_unfinished_merge_is_clean_and_its_manifest_can_be_lost(void **state)
{
	struct compacted *compacted = *state;
	struct store_options compacting = compacted->options;
	unsigned unfinished = 0, nth = 0;
	bool ended = false;

	compacting.no_compaction = false;
	compacting.table_size_bytes = compacting.piece_bytes = 32 * KIB;
	for (; !ended; nth++) {
		char path[PATH_MAX];

		damaged_restore(&compacted->damaged);
		ended = compact_killed_at(compacted->damaged.fixture->path, &compacting, nth);
		if (!merge_is_unfinished(compacted->damaged.fixture->path) && nth % 8)
			continue;
		unfinished += merge_is_unfinished(compacted->damaged.fixture->path);
		assert_clean(compacted->damaged.fixture->path);
		path_join(path, compacted->damaged.fixture->path, "manifest");
		must(unlink(path) == 0, "remove", path);
		assert_repaired(&compacted->damaged);
		assert_reads_as_before(&compacted->damaged, "with the manifest of an unfinished merge made anew");
	}
	print_message("a merge killed at each of %u writes, %u times between two pieces\n", nth, unfinished);
	assert_true(unfinished > 3);
}

#define compacted_test(test) cmocka_unit_test_setup_teardown(test, setup_compacted, teardown_compacted)

/* What the core says of each bad version is what these tests expect. */
static void ignore_line(const char *line)
{
	(void)line;
}

int main(void)
{
	log_set_sink(ignore_line);
	const struct CMUnitTest tests[] = {
		compacted_test(a_compacted_store_is_clean),
		compacted_test(a_damaged_index_of_a_table_is_made_anew),
		compacted_test(a_damaged_block_of_a_table_costs_its_versions),
		compacted_test(a_table_that_is_gone_costs_what_it_held),
		compacted_test(a_sealed_layer_that_is_gone_costs_what_it_held),
		compacted_test(a_lost_manifest_is_made_anew_from_tables_too),
		compacted_test(an_unfinished_merge_is_clean_and_its_manifest_can_be_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
