/* Manifest: what was said last holds; a torn end is ignored, other damage refused. */
#include <fcntl.h>
#include <unistd.h>

#include "manifest.h"
#include "test_place.h"

static int setup(void **state)
{
	*state = place_new(MANIFEST_NAME);
	return 0;
}

static void open_it(struct place *place, bool writable, struct manifest *manifest)
{
	struct report report = { "" };
	int err = manifest_open(manifest, place->dir_fd, writable, &report);

	if (err)
		fail_msg("manifest_open: %s (%s)", strerror(-err), report.text);
	if (writable)
		assert_ok(manifest_tidy(manifest));
}

static void assert_refused(struct place *place, int expected)
{
	struct manifest manifest;
	struct report report = { "" };

	assert_err(manifest_open(&manifest, place->dir_fd, true, &report), expected);
	assert_true(report.text[0] != 0);
}

static void seal(struct manifest *manifest, uint64_t layer_id, uint64_t start, uint64_t end)
{
	struct manifest_run run = { .run_id = layer_id, .start = lsn_make(start), .end = lsn_make(end),
				    .chain_end = end * 3, .file_bytes = 4096 * layer_id };

	assert_ok(manifest_layer_sealed(manifest, &run));
}

static void a_new_manifest_is_empty_and_knows_its_store(void **state)
{
	struct place *place = *state;
	struct manifest manifest;

	assert_ok(manifest_create(place->dir_fd, 16384, COMPRESSION_ZSTD));
	assert_err(manifest_create(place->dir_fd, 16384, COMPRESSION_ZSTD), -EEXIST);
	open_it(place, false, &manifest);
	assert_int_equal(manifest.store.page_size_bytes, 16384);
	assert_int_equal(manifest.format_version, MANIFEST_FORMAT_VERSION);
	assert_int_equal(manifest.compression, COMPRESSION_ZSTD);
	assert_int_equal(manifest.run_count, 0);
	assert_int_equal(manifest.open_count, 0);
	assert_int_equal(manifest.durable.value, 0);
	assert_false(manifest.torn);
	manifest_close(&manifest);
}

static void what_was_said_is_read_back(void **state)
{
	struct place *place = *state;
	struct manifest manifest;

	assert_ok(manifest_create(place->dir_fd, 8192, COMPRESSION_DEFAULT));
	open_it(place, true, &manifest);
	assert_ok(manifest_layer_opened(&manifest, 1));
	assert_ok(manifest_layer_opened(&manifest, 2));
	seal(&manifest, 1, 100, 5000);
	assert_ok(manifest_layer_opened(&manifest, 3));
	assert_ok(manifest_layer_dropped(&manifest, 2));
	assert_ok(manifest_durable(&manifest, lsn_make(4711)));
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(manifest.run_count, 1);
		assert_int_equal(manifest.open_count, 1);
		const struct manifest_run *run = manifest_find(&manifest, 1);
		assert_non_null(run);
		assert_int_equal(manifest_kind_of(&manifest, 1), MANIFEST_SEALED);
		assert_int_equal(run->level, 0);
		assert_int_equal(run->start.value, 100);
		assert_int_equal(run->end.value, 5000);
		assert_int_equal(run->chain_end, 15000);
		assert_int_equal(run->file_bytes, 4096);
		assert_false(manifest_names(&manifest, 2));
		assert_null(manifest_find(&manifest, 3));
		assert_int_equal(manifest_kind_of(&manifest, 3), MANIFEST_OPEN);
		assert_int_equal(manifest.durable.value, 4711);
		manifest_close(&manifest);
		open_it(place, round == 0, &manifest);
	}
	manifest_close(&manifest);
}

static void open_layers_are_listed_by_id(void **state)
{
	struct place *place = *state;
	struct manifest manifest;

	assert_ok(manifest_create(place->dir_fd, 8192, COMPRESSION_DEFAULT));
	open_it(place, true, &manifest);
	for (uint64_t id = 1; id <= 300; id++)
		assert_ok(manifest_layer_opened(&manifest, id));
	for (uint64_t id = 1; id <= 300; id += 2)
		assert_ok(manifest_layer_dropped(&manifest, id));
	manifest_close(&manifest);
	open_it(place, true, &manifest);
	assert_int_equal(manifest.open_count, 150);
	for (uint32_t i = 0; i < 150; i++)
		assert_int_equal(manifest.open_ids[i], 2 * (i + 1));
	manifest_close(&manifest);
}

static void reading_changes_nothing(void **state)
{
	struct place *place = *state;
	struct manifest manifest;

	assert_ok(manifest_create(place->dir_fd, 8192, COMPRESSION_DEFAULT));
	open_it(place, true, &manifest);
	assert_ok(manifest_layer_opened(&manifest, 1));
	manifest_close(&manifest);
	uint64_t before = dir_digest(place->dir);
	open_it(place, false, &manifest);
	manifest_close(&manifest);
	assert_true(dir_digest(place->dir) == before);
}

/* However much is said, the file stays within a bound: it is rewritten as soon as most of it is outdated. */
static void outdated_records_are_dropped(void **state)
{
	struct place *place = *state;
	struct manifest manifest;
	struct stat st;

	assert_ok(manifest_create(place->dir_fd, 8192, COMPRESSION_DEFAULT));
	for (uint64_t round = 0; round < 5; round++) {
		open_it(place, true, &manifest);
		assert_ok(manifest_layer_opened(&manifest, round + 1));
		for (uint64_t i = 1; i <= 1000; i++)
			assert_ok(manifest_durable(&manifest, lsn_make(round * 1000 + i)));
		assert_true(manifest.record_count < manifest.rewrite_min);
		manifest_close(&manifest);
	}
	must(!stat(place->path, &st), "stat", place->path);
	assert_in_range(st.st_size, 0, 4096 * 21 + 65536);
	open_it(place, true, &manifest);
	assert_int_equal(manifest.durable.value, 5000);
	assert_int_equal(manifest.open_count, 5);
	manifest_close(&manifest);
}

/* Cut anywhere in its last record, the manifest is what it was before that
 * record, and takes the next. */
static void a_torn_last_record_is_ignored_and_replaced(void **state)
{
	struct place *place = *state;
	struct manifest manifest;
	struct stat whole, before;

	assert_ok(manifest_create(place->dir_fd, 8192, COMPRESSION_DEFAULT));
	open_it(place, true, &manifest);
	assert_ok(manifest_layer_opened(&manifest, 1));
	must(!stat(place->path, &before), "stat", place->path);
	uint64_t kept = manifest.tail_bytes;
	seal(&manifest, 1, 0, 999);
	uint64_t end = manifest.tail_bytes;
	manifest_close(&manifest);
	must(!stat(place->path, &whole), "stat", place->path);
	for (uint64_t size = end - 1; size > kept; size--) {
		must(!truncate(place->path, size), "truncate", place->path);
		open_it(place, false, &manifest);
		assert_true(manifest.torn);
		assert_int_equal(manifest_kind_of(&manifest, 1), MANIFEST_OPEN);
		manifest_close(&manifest);
	}
	open_it(place, true, &manifest);
	seal(&manifest, 1, 0, 1000);
	manifest_close(&manifest);
	open_it(place, false, &manifest);
	assert_false(manifest.torn);
	assert_int_equal(manifest_find(&manifest, 1)->end.value, 1000);
	manifest_close(&manifest);
}

/* The header, or a record with others behind it. */
static void damage_that_is_no_torn_end_is_refused(void **state)
{
	struct place *place = *state;
	struct manifest manifest;
	uint8_t bytes[4096];

	assert_ok(manifest_create(place->dir_fd, 8192, COMPRESSION_DEFAULT));
	open_it(place, true, &manifest);
	assert_ok(manifest_layer_opened(&manifest, 1));
	seal(&manifest, 1, 0, 999);
	uint64_t kept = manifest.tail_bytes;
	assert_ok(manifest_durable(&manifest, lsn_make(900)));
	manifest_close(&manifest);
	int fd = open(place->path, O_RDONLY | O_CLOEXEC);
	must(fd >= 0 && pread(fd, bytes, kept, 0) == (ssize_t)kept, "read", place->path);
	close(fd);
	for (uint64_t bit = 0; bit < 8 * kept; bit++) {
		struct report report = { "" };
		uint8_t flipped = bytes[bit / 8] ^ (uint8_t)(1u << bit % 8);

		file_overwrite(place->path, bit / 8, &flipped, 1);
		int err = manifest_open(&manifest, place->dir_fd, true, &report);
		if (err != -EUCLEAN && err != -EMEDIUMTYPE && err != -EPROTONOSUPPORT)
			fail_msg("bit %u flipped: manifest_open says %d", (unsigned)bit, err);
		assert_true(report.text[0] != 0);
		file_overwrite(place->path, bit / 8, &bytes[bit / 8], 1);
	}
	open_it(place, false, &manifest);
	manifest_close(&manifest);
}

static void a_header_cut_anywhere_is_refused(void **state)
{
	struct place *place = *state;

	assert_ok(manifest_create(place->dir_fd, 8192, COMPRESSION_DEFAULT));
	for (off_t size = 63; size >= 0; size--) {
		must(!truncate(place->path, size), "truncate", place->path);
		assert_refused(place, size && size < 8 ? -EMEDIUMTYPE : -EUCLEAN);
	}
}

static void what_is_no_manifest_is_told_apart(void **state)
{
	struct place *place = *state;
	uint8_t junk[200];

	assert_refused(place, -ENOENT);
	seed_fill(1, junk, sizeof(junk));
	int fd = open(place->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	must(fd >= 0, "open", place->path);
	assert_refused(place, -EUCLEAN);        /* emptied */
	must(pwrite(fd, junk, sizeof(junk), 0) == sizeof(junk), "write", place->path);
	close(fd);
	assert_refused(place, -EMEDIUMTYPE);
}

#define manifest_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown_place)

int main(void)
{
	const struct CMUnitTest tests[] = {
		manifest_test(a_new_manifest_is_empty_and_knows_its_store),
		manifest_test(what_was_said_is_read_back),
		manifest_test(open_layers_are_listed_by_id),
		manifest_test(reading_changes_nothing),
		manifest_test(outdated_records_are_dropped),
		manifest_test(a_torn_last_record_is_ignored_and_replaced),
		manifest_test(damage_that_is_no_torn_end_is_refused),
		manifest_test(a_header_cut_anywhere_is_refused),
		manifest_test(what_is_no_manifest_is_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
