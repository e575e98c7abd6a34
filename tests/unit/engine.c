/* Engine: batches whole at their LSN, in however many layers; values, pages and lists. */
#include <fcntl.h>
#include <unistd.h>

#include "patch.h"
#include "test_engine.h"

/* ---- a history ---- */

static void a_new_engine_has_no_history(void **state)
{
	struct test_engine *test = *state;
	struct engine_usage usage = test_engine_usage(test);

	assert_int_equal(engine_newest(test->engine).value, 0);
	assert_int_equal(engine_oldest(test->engine).value, 0);
	assert_int_equal(engine_page_size(test->engine), TEST_ENGINE_PAGE_BYTES);
	assert_int_equal(usage.layer_count, 0);
	assert_int_equal(usage.version_count, 0);
	assert_false(usage.read_only);
	test_engine_check_absent(test, test_engine_page(0), LSN_HEAD);
	assert_ok(engine_freeze(test->engine));
	assert_int_equal(test_engine_usage(test).freeze_count, 0);
}

static void an_engine_is_made_once(void **state)
{
	struct test_engine *test = *state;
	struct store_identity before = *engine_identity(test->engine);

	assert_err(engine_create(test->place->dir_fd, TEST_ENGINE_PAGE_BYTES, COMPRESSION_DEFAULT), -EEXIST);
	test_engine_restart(test);
	assert_memory_equal(engine_identity(test->engine)->id, before.id, sizeof(before.id));
}

static void an_lsn_is_the_position_behind_its_batch(void **state)
{
	struct test_engine *test = *state;
	uint64_t position = 0;

	for (unsigned i = 0; i < 50; i++) {
		struct lsn lsn = test_engine_commit_image(test, test_engine_page(i), i, i * 10);

		position += test_engine_image_bytes(test_engine_page(i), i * 10);
		assert_int_equal(lsn.value, position);
		assert_int_equal(engine_newest(test->engine).value, position);
		if (i % 20 == 19)
			assert_ok(engine_freeze(test->engine));
	}
	assert_int_equal(engine_oldest(test->engine).value, test_engine_image_bytes(test_engine_page(0), 0));
}

static void a_batch_is_there_whole_from_its_lsn_on(void **state)
{
	struct test_engine *test = *state;
	struct batch_entry entries[30];
	struct lsn before = test_engine_commit_image(test, test_engine_page(0), 1, 100), lsn;

	for (unsigned i = 0; i < array_size(entries); i++)
		entries[i] = test_engine_entry(test_engine_page(i), VERSION_IMAGE, 0, "new", 3);
	assert_ok(engine_commit(test->engine, entries, array_size(entries), TEST_ENGINE_TIME_NS, &lsn));
	for (unsigned i = 1; i < array_size(entries); i++) {
		char found[3];
		size_t size;

		test_engine_check_absent(test, test_engine_page(i), before);
		test_engine_check_absent(test, test_engine_page(i), lsn_make(lsn.value - 1));
		assert_ok(test_engine_load(test, test_engine_page(i), lsn, found, 3, &size));
		assert_memory_equal(found, "new", 3);
	}
	test_engine_check_image(test, test_engine_page(0), lsn_make(lsn.value - 1), 1, 100);
	test_engine_check_absent(test, test_engine_page(0), lsn_make(before.value - 1));
}

struct note {
	uint64_t block, seed;
	struct lsn lsn;
	size_t size_bytes;
};

static const struct note *expect(const struct note *notes, size_t count, uint64_t block,
				 struct lsn lsn)
{
	while (count-- > 0)
		if (notes[count].block == block && notes[count].lsn.value <= lsn.value)
			return &notes[count];
	return NULL;
}

static void check_notes(struct test_engine *test, const struct note *notes, size_t count)
{
	struct prng prng = { test_seed() };

	for (unsigned i = 0; i < 3000; i++) {
		uint64_t block = prng_below(&prng, 12);
		struct lsn lsn = lsn_make(prng_below(&prng, notes[count - 1].lsn.value + 100));
		const struct note *note = expect(notes, count, block, lsn);

		if (note)
			test_engine_check_image(test, test_engine_page(block), lsn, note->seed, note->size_bytes);
		else
			test_engine_check_absent(test, test_engine_page(block), lsn);
	}
}

/* Sealed, frozen and open layers, and those of an earlier life. */
static void every_version_is_found_at_its_lsn_in_any_layer(void **state)
{
	struct test_engine *test = *state;
	struct prng prng = { test_seed() };
	struct note notes[400];

	for (unsigned i = 0; i < array_size(notes); i++) {
		struct note *note = &notes[i];

		*note = (struct note){ .block = prng_below(&prng, 10), .seed = prng_next(&prng),
				       .size_bytes = prng_below(&prng, TEST_ENGINE_PAGE_BYTES) };
		note->lsn = test_engine_commit_image(test, test_engine_page(note->block), note->seed, note->size_bytes);
		if (i % 60 == 59)
			assert_ok(engine_freeze(test->engine));
		if (i % 150 == 149)
			test_engine_restart(test);
	}
	assert_int_equal(test_engine_usage(test).layer_count, 6);
	check_notes(test, notes, array_size(notes));
	test_engine_restart(test);
	check_notes(test, notes, array_size(notes));
	assert_ok(engine_freeze(test->engine));
	assert_int_equal(test_engine_usage(test).layer_count, 7);
	check_notes(test, notes, array_size(notes));
}

/* ---- values ---- */

static struct lsn commit_patch(struct test_engine *test, struct key key, unsigned weight,
			       size_t at, const char *text)
{
	uint8_t payload[200];
	size_t head = patch_range_head(payload, at, strlen(text), false);

	memcpy(payload + head, text, strlen(text));
	return test_engine_commit(test, test_engine_entry(key, VERSION_PATCH, weight, payload, head + strlen(text)));
}

static void check_text(struct test_engine *test, struct key key, struct lsn lsn,
		       const char *expected)
{
	char found[17] = "";
	size_t size;

	assert_ok(test_engine_load(test, key, lsn, found, 16, &size));
	assert_string_equal(found, expected);
}

/* Each patch in a layer of its own. */
static void a_patch_changes_what_lies_below_it(void **state)
{
	struct test_engine *test = *state;
	struct lsn lsns[4];
	size_t size;
	char found[16];

	lsns[0] = test_engine_commit(test, test_engine_entry(test_engine_page(1), VERSION_IMAGE, 0, "abcdefgh", 8));
	assert_ok(test_engine_load(test, test_engine_page(1), lsns[0], found, 16, &size));
	assert_int_equal(size, 8);
	assert_ok(engine_freeze(test->engine));
	lsns[1] = commit_patch(test, test_engine_page(1), 1, 2, "XY");
	assert_ok(test_engine_load(test, test_engine_page(1), lsns[1], found, 16, &size));
	assert_int_equal(size, 16);
	assert_ok(engine_freeze(test->engine));
	lsns[2] = commit_patch(test, test_engine_page(1), 2, 8, "ij");
	lsns[3] = test_engine_commit(test, test_engine_entry(test_engine_page(1), VERSION_IMAGE, 0, "other", 5));
	for (unsigned round = 0; round < 2; round++) {
		check_text(test, test_engine_page(1), lsns[0], "abcdefgh");
		check_text(test, test_engine_page(1), lsns[1], "abXYefgh");
		check_text(test, test_engine_page(1), lsns[2], "abXYefghij");
		check_text(test, test_engine_page(1), lsns[3], "other");
		test_engine_restart(test);
	}
}

static void a_patch_of_weight_0_changes_zeros(void **state)
{
	struct test_engine *test = *state;
	static const char expected[16] = "\0\0\0abc";
	char found[16];
	size_t size;

	test_engine_commit(test, test_engine_entry(test_engine_page(1), VERSION_IMAGE, 0, "below", 5));
	struct lsn lsn = commit_patch(test, test_engine_page(1), 0, 3, "abc");
	assert_ok(test_engine_load(test, test_engine_page(1), lsn, found, sizeof(found), &size));
	assert_memory_equal(found, expected, sizeof(found));
}

static void a_value_ends_at_its_tombstone(void **state)
{
	struct test_engine *test = *state;
	struct lsn before = test_engine_commit_image(test, test_engine_page(1), 1, 100);
	struct lsn gone = test_engine_commit(test, test_engine_entry(test_engine_page(1), VERSION_TOMBSTONE, 0,
								     NULL, 0));
	struct lsn again = test_engine_commit_image(test, test_engine_page(1), 2, 100);

	for (unsigned round = 0; round < 2; round++) {
		test_engine_check_image(test, test_engine_page(1), before, 1, 100);
		test_engine_check_image(test, test_engine_page(1), lsn_make(gone.value - 1), 1, 100);
		test_engine_check_absent(test, test_engine_page(1), gone);
		test_engine_check_image(test, test_engine_page(1), again, 2, 100);
		assert_ok(engine_freeze(test->engine));
	}
}

/* A history that no writer of ours would make. */
static void patches_over_nothing_are_refused(void **state)
{
	struct test_engine *test = *state;
	uint8_t found[16];
	size_t size;

	commit_patch(test, test_engine_page(1), 1, 0, "over nothing");
	test_engine_commit(test, test_engine_entry(test_engine_page(2), VERSION_TOMBSTONE, 0, NULL, 0));
	commit_patch(test, test_engine_page(2), 1, 0, "a tombstone");
	commit_patch(test, test_engine_page(3), 0, 0, "same");
	commit_patch(test, test_engine_page(3), 2, 0, "same");
	commit_patch(test, test_engine_page(3), 2, 0, "same");
	for (unsigned block = 1; block <= 3; block++)
		assert_err(test_engine_load(test, test_engine_page(block), LSN_HEAD, found, sizeof(found), &size),
			   -EUCLEAN);
}

static void a_value_larger_than_the_room_is_refused(void **state)
{
	struct test_engine *test = *state;
	uint8_t found[100];
	size_t size;

	test_engine_commit_image(test, test_engine_page(1), 1, 101);
	assert_err(test_engine_load(test, test_engine_page(1), LSN_HEAD, found, 100, &size), -EUCLEAN);
}

/* ---- pages ---- */

/* Blocks of the pages test: what each holds. */
enum page_state { PAGE_HOLE, PAGE_WHOLE, PAGE_SHORT, PAGE_PATCHED, PAGE_GONE, PAGE_STATES };

static void commit_page(struct test_engine *test, uint64_t block)
{
	switch ((enum page_state)(block % PAGE_STATES)) {
	case PAGE_WHOLE:
		test_engine_commit_image(test, test_engine_page(block), block, TEST_ENGINE_PAGE_BYTES);
		break;
	case PAGE_SHORT:
		test_engine_commit_image(test, test_engine_page(block), block, 100);
		break;
	case PAGE_PATCHED:
		test_engine_commit_image(test, test_engine_page(block), block, TEST_ENGINE_PAGE_BYTES);
		commit_patch(test, test_engine_page(block), 1, 7, "patched");
		break;
	case PAGE_GONE:
		test_engine_commit_image(test, test_engine_page(block), block, TEST_ENGINE_PAGE_BYTES);
		test_engine_commit(test, test_engine_entry(test_engine_page(block), VERSION_TOMBSTONE, 0, NULL, 0));
		break;
	default:
		break;
	}
}

static void check_page(const struct layer_guard *guard, const struct version *version,
		       uint64_t block)
{
	enum page_state state = block % PAGE_STATES;
	uint8_t expected[TEST_ENGINE_PAGE_BYTES] = { 0 }, scratch[TEST_ENGINE_PAGE_BYTES];
	const uint8_t *found;

	assert_ok(engine_page(guard, version, TEST_ENGINE_PAGE_BYTES, true, scratch, &found));
	if (state == PAGE_HOLE || state == PAGE_GONE) {
		assert_int_equal(version->form, state == PAGE_HOLE ? 0 : VERSION_TOMBSTONE);
		assert_null(found);
		return;
	}
	seed_fill(block, expected, state == PAGE_SHORT ? 100 : TEST_ENGINE_PAGE_BYTES);
	if (state == PAGE_PATCHED)
		memcpy(expected + 7, "patched", 7);
	assert_non_null(found);
	assert_memory_equal(found, expected, TEST_ENGINE_PAGE_BYTES);
	/* What lies whole in its layer is not copied. */
	assert_int_equal(found == scratch, state != PAGE_WHOLE);
}

static void pages_are_found_together_and_read_where_they_lie(void **state)
{
	enum { BLOCKS = 100 };
	struct test_engine *test = *state;
	struct version versions[BLOCKS];
	struct layer_guard guard;

	for (unsigned i = 0; i < BLOCKS; i++) {
		commit_page(test, i * 37 % BLOCKS);
		if (i == 30 || i == 60)
			assert_ok(engine_freeze(test->engine));
	}
	for (uint32_t count = 1; count <= BLOCKS; count += 33) {
		struct lsn newest = engine_guard_take(test->engine, &guard);
		for (uint64_t first = 0; first + count <= BLOCKS; first++) {
			memset(versions, 0xee, sizeof(versions));
			assert_ok(engine_find_pages(&guard, 20, first, count, newest, versions));
			for (uint32_t i = 0; i < count; i++)
				check_page(&guard, &versions[i], first + i);
		}
		layer_guard_drop(&guard);
	}
}

static void a_damaged_page_is_not_handed_out(void **state)
{
	struct test_engine *test = *state;
	uint8_t bytes[TEST_ENGINE_PAGE_BYTES], scratch[TEST_ENGINE_PAGE_BYTES], wrong;
	struct layer_guard guard;
	struct version version;
	const uint8_t *found;
	char path[PATH_MAX];
	off_t at;

	test_engine_commit_image(test, test_engine_page(1), 1, TEST_ENGINE_PAGE_BYTES);
	for (unsigned round = 0; round < 2; round++) {
		seed_fill(1, bytes, sizeof(bytes));
		assert_true(dir_find_bytes(test->place->dir, bytes, sizeof(bytes), path, &at));
		wrong = bytes[999] ^ 1;
		file_overwrite(path, at + 999, &wrong, 1);
		engine_guard_take(test->engine, &guard);
		assert_ok(engine_find(&guard, test_engine_page(1), LSN_HEAD, &version));
		assert_err(engine_page(&guard, &version, TEST_ENGINE_PAGE_BYTES, true, scratch, &found), -EBADMSG);
		layer_guard_drop(&guard);
		file_overwrite(path, at + 999, &bytes[999], 1);
		assert_ok(engine_freeze(test->engine));
	}
}

/* ---- lists ---- */

struct seen {
	unsigned names[100];
	unsigned versions, calls, stop_at;
	uint64_t lsn_sum;
};

static int see_name(void *context, struct key key)
{
	struct seen *seen = context;

	assert_int_equal(key.ino, 20);
	assert_int_equal(key_kind(key), KEY_NAME);
	seen->names[key_index(key)]++;
	return ++seen->calls == seen->stop_at ? 77 : 0;
}

static int see_version(void *context, const struct version *version)
{
	struct seen *seen = context;

	assert_int_equal(version->key.ino, 20);
	seen->lsn_sum += version->lsn.value;
	seen->versions++;
	return ++seen->calls == seen->stop_at ? -77 : 0;
}

static void names_and_versions_of_an_inode_are_listed_from_all_layers(void **state)
{
	struct test_engine *test = *state;
	struct seen names = { .calls = 0 }, versions = { .calls = 0 }, stopped = { .stop_at = 5 };
	struct layer_guard guard;
	uint64_t lsn_sum = 0;

	for (unsigned i = 0; i < 100; i++) {
		lsn_sum += test_engine_commit_image(test, key_make(20, KEY_NAME, i), i, 10).value;
		test_engine_commit_image(test, key_make(19, KEY_NAME, i), i, 10);
		test_engine_commit_image(test, key_make(21, KEY_ATTR, 0), i, 10);
		lsn_sum += test_engine_commit_image(test, test_engine_page(i), i, 10).value;
		if (i % 40 == 39)
			assert_ok(engine_freeze(test->engine));
	}
	engine_guard_take(test->engine, &guard);
	assert_ok(engine_each_name(&guard, 20, 30, see_name, &names));
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(names.names[i] > 0, i >= 30);
	assert_ok(engine_each_version(&guard, 20, see_version, &versions));
	assert_int_equal(versions.versions, 200);
	assert_int_equal(versions.lsn_sum, lsn_sum);
	assert_err(engine_each_name(&guard, 20, 0, see_name, &stopped), 77);
	assert_int_equal(stopped.calls, 5);
	stopped.calls = 0;
	assert_err(engine_each_version(&guard, 20, see_version, &stopped), -77);
	assert_int_equal(stopped.calls, 5);
	layer_guard_drop(&guard);
}

#define engine_unit_test(test) \
	cmocka_unit_test_setup_teardown(test, test_engine_setup, test_engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		engine_unit_test(a_new_engine_has_no_history),
		engine_unit_test(an_engine_is_made_once),
		engine_unit_test(an_lsn_is_the_position_behind_its_batch),
		engine_unit_test(a_batch_is_there_whole_from_its_lsn_on),
		engine_unit_test(every_version_is_found_at_its_lsn_in_any_layer),
		engine_unit_test(a_patch_changes_what_lies_below_it),
		engine_unit_test(a_patch_of_weight_0_changes_zeros),
		engine_unit_test(a_value_ends_at_its_tombstone),
		engine_unit_test(patches_over_nothing_are_refused),
		engine_unit_test(a_value_larger_than_the_room_is_refused),
		engine_unit_test(pages_are_found_together_and_read_where_they_lie),
		engine_unit_test(a_damaged_page_is_not_handed_out),
		engine_unit_test(names_and_versions_of_an_inode_are_listed_from_all_layers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
