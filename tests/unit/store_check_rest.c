/*
 * The check of a store: damage to its manifest, its open layer and its tree is found and repaired, also by a
 * repair that is killed at any call.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io_disk.h"
#include "layer_file.h"
#include "manifest.h"
#include "page_map.h"
#include "store_internal.h"
#include "test_damaged.h"

static void a_damaged_manifest_is_found_and_made_anew(void **state)
{
	struct damaged *damaged = *state;
	char path[PATH_MAX];

	for (off_t at = 1; at < 64 + 4 * 21; at += 5) {
		struct check_run *run;

		if (at >= 8 && at < 12)         /* a newer format is refused, not repaired */
			continue;
		damaged_restore(damaged);
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

		damaged_restore(damaged);
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

	layer_path(damaged->fixture->path, DAMAGED_SEALED, path);
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

	layer_path(damaged->fixture->path, DAMAGED_SEALED, path);
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
		damaged_restore(damaged);
		layer_path(damaged->fixture->path, DAMAGED_SEALED, path);
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

/* As by a permission that is missing, which root never meets: the file is there, and nothing of it is known. */
static void a_file_that_cannot_be_opened_is_not_given_up(void **state)
{
	struct damaged *damaged = *state;
	const struct store_check_options options = { .repair = true };
	struct store_check_result result;
	struct report report = { "" };
	char path[PATH_MAX], aside[PATH_MAX];

	layer_path(damaged->fixture->path, 1, path);
	path_join(aside, damaged->fixture->dir, "aside");
	must(!rename(path, aside) && !symlink(path, path), "link", path);
	assert_err(store_check(damaged->fixture->path, &options, &report, &result), -ELOOP);
	assert_int_equal(result.mended_count, 0);
	assert_true(result.finding_count > 0);
	must(!rename(aside, path), "rename", path);
	assert_reads_as_before(damaged, "with the file back");
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

		damaged_restore(damaged);
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

/* The way up is walked whenever a directory may move. */
static void a_way_up_in_a_circle_holds_up_no_rename(void **state)
{
	struct damaged *damaged = *state;
	uint64_t deep, deeper;
	struct store *store;

	fixture_open(damaged->fixture);
	store = damaged->fixture->store;
	deep = find_now(store, damaged->dir, "deep");
	deeper = find_now(store, deep, "deeper");
	commit_attr(store, damaged->dir, other_parent);
	fixture_reopen(damaged->fixture);
	store = damaged->fixture->store;
	alarm(20);
	assert_err(tree_rename(store, TREE_ROOT_INO, "file", damaged->dir, "file", 0), -EUCLEAN);
	assert_err(tree_rename(store, TREE_ROOT_INO, "file", deeper, "file", 0), -EUCLEAN);
	alarm(0);
	assert_ok(tree_rename(store, TREE_ROOT_INO, "file", TREE_ROOT_INO, "moved", 0));
	fixture_close(damaged->fixture);
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

		damaged_restore(damaged);
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

/* Its checksum is right, and still nothing can be made of it. */
static void a_last_page_that_makes_no_sense_is_found(void **state)
{
	struct damaged *damaged = *state;
	struct batch_entry entry = { .form = VERSION_PATCH, .body = "\xff\xff\xff\x7f\x02x", .body_bytes = 6 };
	struct store *store;
	struct check_run *run;
	struct lsn lsn;
	uint64_t size;
	size_t count;
	char byte;

	fixture_open(damaged->fixture);
	store = damaged->fixture->store;
	size = attr_now(store, damaged->file).size_bytes;
	assert_true(size % STORE_PAGE_SIZE_DEFAULT > 0);
	entry.key = key_make(damaged->file, KEY_PAGE, size / STORE_PAGE_SIZE_DEFAULT);
	assert_ok(engine_commit(store->engine, &entry, 1, 1, &lsn));
	assert_err(tree_read(store, damaged->file, LSN_HEAD, size - 1, &byte, 1, &count), -EUCLEAN);
	run = check_run_running(store);
	assert_non_null(check_run_find(run, FINDING_TREE));
	free(run);
	fixture_close(damaged->fixture);
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

		damaged_restore(damaged);
		layer_path(damaged->fixture->path, 0, path);
		file_flip(path, file_size(path) - 3000);
		layer_path(damaged->fixture->path, 2, path);
		must(truncate(path, sealed_log_end(path) + 1) == 0, "cut", path);
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

static void ignore_line(const char *line)
{
	(void)line;
}

int main(void)
{
	log_set_sink(ignore_line);
	const struct CMUnitTest tests[] = {
		damaged_test(a_damaged_manifest_is_found_and_made_anew),
		damaged_test(a_missing_or_empty_manifest_is_made_anew),
		damaged_test(a_damaged_payload_of_the_open_layer_costs_its_version),
		damaged_test(damage_to_synced_heads_of_the_open_layer_ends_the_history_there),
		damaged_test(an_open_layer_cut_short_is_found_and_opens_after_a_repair),
		damaged_test(a_missing_spare_is_no_loss),
		damaged_test(a_file_that_cannot_be_opened_is_not_given_up),
		damaged_test(what_names_and_attributes_deny_each_other_is_found),
		damaged_test(a_way_up_in_a_circle_holds_up_no_rename),
		damaged_test(a_page_map_that_is_not_the_files_is_found),
		damaged_test(a_last_page_that_makes_no_sense_is_found),
		damaged_test(a_repair_survives_a_kill_at_every_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
