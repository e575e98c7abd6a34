/*
 * Golden stores: a store made by an earlier build is read right by this one, at
 * every LSN, before and after it is written to.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "manifest.h"
#include "test_acl.h"
#include "test_golden.h"

static struct store *open_store(const struct golden *golden, bool read_only)
{
	struct store_options options = { .holder = "a test", .read_only = read_only,
					 .layer_size_bytes = 4 * MIB };
	struct report report = { "" };
	struct store *store;

	int err = store_open(golden->store, &options, &report, &store);
	if (err)
		fail_msg("%s", report.text);
	return store;
}

/* Each noted LSN, the LSNs between two, and the head if it is the last noted. */
static void assert_all_as_noted(const struct golden *golden, struct store *store, bool untouched)
{
	for (size_t i = 0; i < golden->count; i++) {
		struct census *census = census_take(store, golden->lsns[i]);

		if (census_digest(census) != golden->digests[i])
			fail_msg("the tree at LSN %" PRIu64 " is not what it was",
				 golden->lsns[i].value);
		census_free(census);
	}
	if (untouched) {
		struct census *census = census_take(store, LSN_HEAD);

		assert_int_equal(newest(store).value, golden->lsns[golden->count - 1].value);
		assert_true(census_digest(census) == golden->digests[golden->count - 1]);
		census_free(census);
	}
}

static void a_golden_store_reads_as_it_was_written(void **state)
{
	struct golden *golden = golden_new(*state);
	struct store *store = open_store(golden, true);
	uint64_t before = dir_digest(golden->store);

	assert_all_as_noted(golden, store, true);
	assert_ok(store_close(store));
	assert_true(dir_digest(golden->store) == before);
	golden_free(golden);
}

/* A file that was cut by floors before there were page maps gets one: what was cut stays away. */
static void map_what_was_cut(struct store *store)
{
	uint64_t big = find_now(store, TREE_ROOT_INO, "big"), size = attr_now(store, big).size_bytes;
	struct lsn before = newest(store);
	uint8_t *bytes = malloc(size);
	size_t count;

	assert_non_null(bytes);
	assert_ok(tree_read(store, big, LSN_HEAD, 0, bytes, size, &count));
	bytes[size - 1] = '!';
	write_bytes(store, big, size - 1, "!", 1);
	assert_bytes(store, big, LSN_HEAD, 0, bytes, size);
	assert_space(store, big, LSN_HEAD);
	assert_true(attr_now(store, big).page_count != TREE_PAGES_UNKNOWN);
	assert_space(store, big, before);
	set_size(store, big, size + 900 * KIB);
	assert_zeros(store, big, LSN_HEAD, size, 900 * KIB);
	punch(store, big, 0, size);
	assert_zeros(store, big, LSN_HEAD, 0, size);
	assert_int_equal(attr_now(store, big).page_count, 0);
	free(bytes);
}

static void its_past_stays_while_it_is_written_to(void **state)
{
	struct golden *golden = golden_new(*state);
	struct store *store = open_store(golden, false);
	struct lsn first = newest(store), second;
	uint64_t ino = make_file(store, TREE_ROOT_INO, "new");

	assert_true(newest(store).value > first.value);
	write_text(store, ino, "written by a later build");
	write_text(store, find_now(store, TREE_ROOT_INO, "pages"), "written over");
	map_what_was_cut(store);
	second = newest(store);
	assert_all_as_noted(golden, store, false);
	assert_ok(store_freeze(store));
	assert_all_as_noted(golden, store, false);
	for (unsigned i = 0; i < 2; i++) {
		assert_ok(store_close(store));
		store = open_store(golden, i == 1);
		assert_all_as_noted(golden, store, false);
		assert_text(store, ino, second, "written by a later build");
	}
	assert_ok(store_close(store));
	golden_free(golden);
}

/* Files that older formats have are not mapped, and one piece of data. */
static void older_files_are_not_counted(void **state)
{
	struct golden *golden = golden_new(*state);
	struct store *store = open_store(golden, true);
	uint64_t ino = find_now(store, TREE_ROOT_INO, "pages");
	struct tree_attr attr = attr_now(store, ino);

	assert_int_equal(attr.page_count, TREE_PAGES_UNKNOWN);
	assert_int_equal(seek_at(store, ino, LSN_HEAD, 10, false), 10);
	assert_int_equal(seek_at(store, ino, LSN_HEAD, 10, true), attr.size_bytes);
	assert_ok(store_close(store));
	golden_free(golden);
}

/* -1: there is none. */
static ssize_t xattr_at(struct store *store, uint64_t ino, struct lsn at, const char *name, uint8_t *value_out)
{
	size_t size;
	int err = tree_getxattr(store, ino, at, name, value_out, TEST_ACL_BYTES, &size);

	assert_true(!err || err == -ENODATA);
	return err ? -1 : (ssize_t)size;
}

/* A file of an older format gets a page map by its first write, and keeps the attributes it was given before. */
static void a_map_takes_no_attributes_away(void **state)
{
	struct golden *golden = golden_new(*state);
	struct store *store = open_store(golden, false);
	const char *names[] = { "pages", "big" };
	uint8_t value[TEST_ACL_BYTES];

	for (unsigned i = 0; i < 2; i++) {
		uint64_t ino = find_now(store, TREE_ROOT_INO, names[i]);

		assert_ok(tree_setxattr(store, ino, "user.kept", "one", 3, 0));
		assert_int_equal(attr_now(store, ino).page_count, TREE_PAGES_UNKNOWN);
		write_text(store, ino, "written over");
		assert_true(attr_now(store, ino).page_count != TREE_PAGES_UNKNOWN);
		assert_int_equal(xattr_at(store, ino, LSN_HEAD, "user.kept", value), 3);
		assert_memory_equal(value, "one", 3);
	}
	assert_ok(store_close(store));
	golden_free(golden);
}

static void v3_has_page_maps(void **state)
{
	struct golden *golden = golden_new(*state);
	struct store *store = open_store(golden, true);
	uint64_t holes = find_now(store, TREE_ROOT_INO, "holes");

	assert_int_equal(attr_now(store, holes).page_count, 4 + 1 + 7);
	assert_int_equal(seek_at(store, holes, LSN_HEAD, 4 * 4096, false), 20 * 4096);
	assert_space(store, holes, LSN_HEAD);
	assert_ok(store_close(store));
	golden_free(golden);
}

static void v3_has_extended_attributes(void **state)
{
	struct golden *golden = golden_new(*state);
	struct store *store = open_store(golden, true);
	uint64_t dir = find_now(store, TREE_ROOT_INO, "shared"), file = find_now(store, dir, "attributed");
	struct lsn first = attr_now(store, dir).changed;
	uint8_t value[TEST_ACL_BYTES];

	assert_int_equal(xattr_at(store, file, LSN_HEAD, "user.first", value), 3);
	assert_memory_equal(value, "two", 3);
	/* The noted LSN before the last change of it. */
	for (size_t i = golden->count; i-- > 0;)
		if (golden->lsns[i].value < attr_now(store, file).changed.value) {
			assert_true(golden->lsns[i].value > first.value);
			assert_int_equal(xattr_at(store, file, golden->lsns[i], "user.first", value), 3);
			assert_memory_equal(value, "one", 3);
			break;
		}
	assert_int_equal(xattr_at(store, file, LSN_HEAD, "user.empty", value), 0);
	assert_int_equal(xattr_at(store, file, LSN_HEAD, "trusted.gone", value), -1);
	assert_acl(value, (size_t)xattr_at(store, file, LSN_HEAD, "system.posix_acl_access", value),
		   "u:6 u1000:4 g:0 m:4 o:0");
	assert_int_equal(attr_now(store, file).mode & 0777, 0640);
	assert_acl(value, (size_t)xattr_at(store, dir, LSN_HEAD, "system.posix_acl_default", value),
		   "u:7 u1000:6 g:5 m:7 o:0");
	assert_ok(store_close(store));
	golden_free(golden);
}

/* What v1 has not, and tests that start from a later one rely on. */
static void it_has_what_compaction_leaves(void **state)
{
	struct golden *golden = golden_new(*state);
	struct report report = { "" };
	struct manifest manifest;
	unsigned images = 0, deltas = 0, under_way = 0;
	int dir_fd = open(golden->store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(dir_fd >= 0);
	assert_ok(manifest_open(&manifest, dir_fd, false, &report));
	for (uint32_t r = 0; r < manifest.run_count; r++) {
		const struct manifest_run *run = &manifest.runs[r];

		under_way += run->into != 0;
		for (uint32_t i = 0; i < run->layer_count; i++) {
			images += manifest_run_layers(run)[i].kind == TABLE_IMAGE;
			deltas += manifest_run_layers(run)[i].kind == TABLE_DELTA;
		}
	}
	assert_true(images > 0 && deltas > 0 && under_way > 1);
	assert_int_equal(manifest.compression, COMPRESSION_LZ4);
	assert_int_equal(manifest.tag_count, 1);
	assert_true(manifest.window_bytes > 0);
	assert_true(manifest.oldest.value > manifest.tags[0].lsn.value);
	assert_int_equal(golden->lsns[0].value, manifest.tags[0].lsn.value);
	manifest_close(&manifest);
	close(dir_fd);
	golden_free(golden);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(a_golden_store_reads_as_it_was_written, "v1"),
		cmocka_unit_test_prestate(its_past_stays_while_it_is_written_to, "v1"),
		cmocka_unit_test_prestate(a_golden_store_reads_as_it_was_written, "v2"),
		cmocka_unit_test_prestate(its_past_stays_while_it_is_written_to, "v2"),
		cmocka_unit_test_prestate(it_has_what_compaction_leaves, "v2"),
		cmocka_unit_test_prestate(a_golden_store_reads_as_it_was_written, "v3"),
		cmocka_unit_test_prestate(its_past_stays_while_it_is_written_to, "v3"),
		cmocka_unit_test_prestate(it_has_what_compaction_leaves, "v3"),
		cmocka_unit_test_prestate(older_files_are_not_counted, "v1"),
		cmocka_unit_test_prestate(older_files_are_not_counted, "v2"),
		cmocka_unit_test_prestate(a_map_takes_no_attributes_away, "v1"),
		cmocka_unit_test_prestate(a_map_takes_no_attributes_away, "v2"),
		cmocka_unit_test_prestate(v3_has_page_maps, "v3"),
		cmocka_unit_test_prestate(v3_has_extended_attributes, "v3"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
