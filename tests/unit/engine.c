/* Engine: batches whole at their LSN, in however many layers, after however many lives. */
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "engine_internal.h"
#include "own_mounts.h"
#include "patch.h"
#include "test_place.h"

#define PAGE_BYTES 4096u
#define TIME_NS 1234567890123456789

struct engine_test {
	struct place *place;
	struct engine_options options;
	struct engine *engine;          /* NULL while closed */
};

static void engine_start(struct engine_test *test)
{
	struct report report = { "" };
	int err = engine_open(test->place->dir_fd, &test->options, &report, &test->engine);

	if (err)
		fail_msg("engine_open: %s (%s)", report.text, strerror(-err));
}

static void engine_stop(struct engine_test *test)
{
	struct engine *engine = test->engine;

	test->engine = NULL;
	assert_ok(engine_close(engine));
}

static void engine_restart(struct engine_test *test)
{
	engine_stop(test);
	engine_start(test);
}

static int setup(void **state)
{
	struct engine_test *test = calloc(1, sizeof(*test));

	assert_non_null(test);
	test->place = place_new("layers");
	test->options.layer_size_bytes = LAYER_SIZE_MIN;
	assert_ok(engine_create(test->place->dir_fd, PAGE_BYTES, COMPRESSION_DEFAULT));
	engine_start(test);
	*state = test;
	return 0;
}

static int teardown(void **state)
{
	struct engine_test *test = *state;

	engine_close(test->engine);
	place_free(test->place);
	free(test);
	return 0;
}

static struct batch_entry entry_of(struct key key, enum version_form form, unsigned weight,
				   const void *bytes, size_t size_bytes)
{
	return (struct batch_entry){ .key = key, .form = form, .weight = weight, .body = bytes,
				     .body_bytes = size_bytes };
}

static struct lsn commit(struct engine_test *test, struct batch_entry entry)
{
	struct lsn lsn;

	assert_ok(engine_commit(test->engine, &entry, 1, TIME_NS, &lsn));
	return lsn;
}

/* An image of the bytes that @seed stands for. */
static struct lsn commit_image(struct engine_test *test, struct key key, uint64_t seed,
			       size_t size_bytes)
{
	uint8_t *bytes = malloc(size_bytes + 1);
	struct lsn lsn;

	assert_non_null(bytes);
	seed_fill(seed, bytes, size_bytes);
	lsn = commit(test, entry_of(key, VERSION_IMAGE, 0, bytes, size_bytes));
	free(bytes);
	return lsn;
}

/* The value of @key at @lsn. 0; 1: there is none, or a tombstone; -errno. */
static int load(struct engine_test *test, struct key key, struct lsn lsn, void *value,
		size_t room_bytes, size_t *size_out)
{
	struct layer_guard guard;
	struct version version;

	engine_guard_take(test->engine, &guard);
	int err = engine_find(&guard, key, lsn, &version);
	if (!err)
		err = engine_load(&guard, &version, value, room_bytes, size_out);
	layer_guard_drop(&guard);
	return err;
}

static void check_image(struct engine_test *test, struct key key, struct lsn lsn, uint64_t seed,
			size_t size_bytes)
{
	uint8_t *expected = malloc(size_bytes + 1), *found = malloc(size_bytes + 1);
	size_t size;

	assert_true(expected && found);
	seed_fill(seed, expected, size_bytes);
	assert_ok(load(test, key, lsn, found, size_bytes, &size));
	assert_int_equal(size, size_bytes);
	assert_memory_equal(found, expected, size_bytes);
	free(expected);
	free(found);
}

static void check_absent(struct engine_test *test, struct key key, struct lsn lsn)
{
	uint8_t byte;
	size_t size;

	assert_err(load(test, key, lsn, &byte, 0, &size), 1);
}

static struct engine_usage usage_of(struct engine_test *test)
{
	struct engine_usage usage;

	engine_usage_get(test->engine, &usage);
	return usage;
}

static struct key page(uint64_t block)
{
	return key_make(20, KEY_PAGE, block);
}

static size_t image_batch_bytes(struct key key, size_t size_bytes)
{
	struct batch_entry entry = entry_of(key, VERSION_IMAGE, 0, NULL, size_bytes);

	return batch_size(&entry, 1);
}

/* ---- a history ---- */

static void a_new_engine_has_no_history(void **state)
{
	struct engine_test *test = *state;
	struct engine_usage usage = usage_of(test);

	assert_int_equal(engine_newest(test->engine).value, 0);
	assert_int_equal(engine_oldest(test->engine).value, 0);
	assert_int_equal(engine_page_size(test->engine), PAGE_BYTES);
	assert_int_equal(usage.layer_count, 0);
	assert_int_equal(usage.version_count, 0);
	assert_false(usage.read_only);
	check_absent(test, page(0), LSN_HEAD);
	assert_ok(engine_freeze(test->engine));
	assert_int_equal(usage_of(test).freeze_count, 0);
}

static void an_engine_is_made_once(void **state)
{
	struct engine_test *test = *state;
	struct store_identity before = *engine_identity(test->engine);

	assert_err(engine_create(test->place->dir_fd, PAGE_BYTES, COMPRESSION_DEFAULT), -EEXIST);
	engine_restart(test);
	assert_memory_equal(engine_identity(test->engine)->id, before.id, sizeof(before.id));
}

static void an_lsn_is_the_position_behind_its_batch(void **state)
{
	struct engine_test *test = *state;
	uint64_t position = 0;

	for (unsigned i = 0; i < 50; i++) {
		struct lsn lsn = commit_image(test, page(i), i, i * 10);

		position += image_batch_bytes(page(i), i * 10);
		assert_int_equal(lsn.value, position);
		assert_int_equal(engine_newest(test->engine).value, position);
		if (i % 20 == 19)
			assert_ok(engine_freeze(test->engine));
	}
	assert_int_equal(engine_oldest(test->engine).value, image_batch_bytes(page(0), 0));
}

static void a_batch_is_there_whole_from_its_lsn_on(void **state)
{
	struct engine_test *test = *state;
	struct batch_entry entries[30];
	struct lsn before = commit_image(test, page(0), 1, 100), lsn;

	for (unsigned i = 0; i < array_size(entries); i++)
		entries[i] = entry_of(page(i), VERSION_IMAGE, 0, "new", 3);
	assert_ok(engine_commit(test->engine, entries, array_size(entries), TIME_NS, &lsn));
	for (unsigned i = 1; i < array_size(entries); i++) {
		char found[3];
		size_t size;

		check_absent(test, page(i), before);
		check_absent(test, page(i), lsn_make(lsn.value - 1));
		assert_ok(load(test, page(i), lsn, found, 3, &size));
		assert_memory_equal(found, "new", 3);
	}
	check_image(test, page(0), lsn_make(lsn.value - 1), 1, 100);
	check_absent(test, page(0), lsn_make(before.value - 1));
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

static void check_notes(struct engine_test *test, const struct note *notes, size_t count)
{
	struct prng prng = { test_seed() };

	for (unsigned i = 0; i < 3000; i++) {
		uint64_t block = prng_below(&prng, 12);
		struct lsn lsn = lsn_make(prng_below(&prng, notes[count - 1].lsn.value + 100));
		const struct note *note = expect(notes, count, block, lsn);

		if (note)
			check_image(test, page(block), lsn, note->seed, note->size_bytes);
		else
			check_absent(test, page(block), lsn);
	}
}

/* Sealed, frozen and open layers, and those of an earlier life. */
static void every_version_is_found_at_its_lsn_in_any_layer(void **state)
{
	struct engine_test *test = *state;
	struct prng prng = { test_seed() };
	struct note notes[400];

	for (unsigned i = 0; i < array_size(notes); i++) {
		struct note *note = &notes[i];

		*note = (struct note){ .block = prng_below(&prng, 10), .seed = prng_next(&prng),
				       .size_bytes = prng_below(&prng, PAGE_BYTES) };
		note->lsn = commit_image(test, page(note->block), note->seed, note->size_bytes);
		if (i % 60 == 59)
			assert_ok(engine_freeze(test->engine));
		if (i % 150 == 149)
			engine_restart(test);
	}
	assert_int_equal(usage_of(test).layer_count, 6);
	check_notes(test, notes, array_size(notes));
	engine_restart(test);
	check_notes(test, notes, array_size(notes));
	assert_ok(engine_freeze(test->engine));
	assert_int_equal(usage_of(test).layer_count, 7);
	check_notes(test, notes, array_size(notes));
}

/* ---- values ---- */

static struct lsn commit_patch(struct engine_test *test, struct key key, unsigned weight,
			       size_t at, const char *text)
{
	uint8_t payload[200];
	size_t head = patch_range_head(payload, at, strlen(text), false);

	memcpy(payload + head, text, strlen(text));
	return commit(test, entry_of(key, VERSION_PATCH, weight, payload, head + strlen(text)));
}

static void check_text(struct engine_test *test, struct key key, struct lsn lsn,
		       const char *expected)
{
	char found[17] = "";
	size_t size;

	assert_ok(load(test, key, lsn, found, 16, &size));
	assert_string_equal(found, expected);
}

/* Each patch in a layer of its own. */
static void a_patch_changes_what_lies_below_it(void **state)
{
	struct engine_test *test = *state;
	struct lsn lsns[4];
	size_t size;
	char found[16];

	lsns[0] = commit(test, entry_of(page(1), VERSION_IMAGE, 0, "abcdefgh", 8));
	assert_ok(load(test, page(1), lsns[0], found, 16, &size));
	assert_int_equal(size, 8);
	assert_ok(engine_freeze(test->engine));
	lsns[1] = commit_patch(test, page(1), 1, 2, "XY");
	assert_ok(load(test, page(1), lsns[1], found, 16, &size));
	assert_int_equal(size, 16);
	assert_ok(engine_freeze(test->engine));
	lsns[2] = commit_patch(test, page(1), 2, 8, "ij");
	lsns[3] = commit(test, entry_of(page(1), VERSION_IMAGE, 0, "other", 5));
	for (unsigned round = 0; round < 2; round++) {
		check_text(test, page(1), lsns[0], "abcdefgh");
		check_text(test, page(1), lsns[1], "abXYefgh");
		check_text(test, page(1), lsns[2], "abXYefghij");
		check_text(test, page(1), lsns[3], "other");
		engine_restart(test);
	}
}

static void a_patch_of_weight_0_changes_zeros(void **state)
{
	struct engine_test *test = *state;
	static const char expected[16] = "\0\0\0abc";
	char found[16];
	size_t size;

	commit(test, entry_of(page(1), VERSION_IMAGE, 0, "below", 5));
	struct lsn lsn = commit_patch(test, page(1), 0, 3, "abc");
	assert_ok(load(test, page(1), lsn, found, sizeof(found), &size));
	assert_memory_equal(found, expected, sizeof(found));
}

static void a_value_ends_at_its_tombstone(void **state)
{
	struct engine_test *test = *state;
	struct lsn before = commit_image(test, page(1), 1, 100);
	struct lsn gone = commit(test, entry_of(page(1), VERSION_TOMBSTONE, 0, NULL, 0));
	struct lsn again = commit_image(test, page(1), 2, 100);

	for (unsigned round = 0; round < 2; round++) {
		check_image(test, page(1), before, 1, 100);
		check_image(test, page(1), lsn_make(gone.value - 1), 1, 100);
		check_absent(test, page(1), gone);
		check_image(test, page(1), again, 2, 100);
		assert_ok(engine_freeze(test->engine));
	}
}

/* A history that no writer of ours would make. */
static void patches_over_nothing_are_refused(void **state)
{
	struct engine_test *test = *state;
	uint8_t found[16];
	size_t size;

	commit_patch(test, page(1), 1, 0, "over nothing");
	commit(test, entry_of(page(2), VERSION_TOMBSTONE, 0, NULL, 0));
	commit_patch(test, page(2), 1, 0, "a tombstone");
	commit_patch(test, page(3), 0, 0, "same");
	commit_patch(test, page(3), 2, 0, "same");
	commit_patch(test, page(3), 2, 0, "same");
	for (unsigned block = 1; block <= 3; block++)
		assert_err(load(test, page(block), LSN_HEAD, found, sizeof(found), &size),
			   -EUCLEAN);
}

static void a_value_larger_than_the_room_is_refused(void **state)
{
	struct engine_test *test = *state;
	uint8_t found[100];
	size_t size;

	commit_image(test, page(1), 1, 101);
	assert_err(load(test, page(1), LSN_HEAD, found, 100, &size), -EUCLEAN);
}

/* ---- pages ---- */

/* Blocks of the pages test: what each holds. */
enum page_state { PAGE_HOLE, PAGE_WHOLE, PAGE_SHORT, PAGE_PATCHED, PAGE_GONE, PAGE_STATES };

static void commit_page(struct engine_test *test, uint64_t block)
{
	switch ((enum page_state)(block % PAGE_STATES)) {
	case PAGE_WHOLE:
		commit_image(test, page(block), block, PAGE_BYTES);
		break;
	case PAGE_SHORT:
		commit_image(test, page(block), block, 100);
		break;
	case PAGE_PATCHED:
		commit_image(test, page(block), block, PAGE_BYTES);
		commit_patch(test, page(block), 1, 7, "patched");
		break;
	case PAGE_GONE:
		commit_image(test, page(block), block, PAGE_BYTES);
		commit(test, entry_of(page(block), VERSION_TOMBSTONE, 0, NULL, 0));
		break;
	default:
		break;
	}
}

static void check_page(const struct layer_guard *guard, const struct version *version,
		       uint64_t block)
{
	enum page_state state = block % PAGE_STATES;
	uint8_t expected[PAGE_BYTES] = { 0 }, scratch[PAGE_BYTES];
	const uint8_t *found;

	assert_ok(engine_page(guard, version, PAGE_BYTES, true, scratch, &found));
	if (state == PAGE_HOLE || state == PAGE_GONE) {
		assert_int_equal(version->form, state == PAGE_HOLE ? 0 : VERSION_TOMBSTONE);
		assert_null(found);
		return;
	}
	seed_fill(block, expected, state == PAGE_SHORT ? 100 : PAGE_BYTES);
	if (state == PAGE_PATCHED)
		memcpy(expected + 7, "patched", 7);
	assert_non_null(found);
	assert_memory_equal(found, expected, PAGE_BYTES);
	/* What lies whole in its layer is not copied. */
	assert_int_equal(found == scratch, state != PAGE_WHOLE);
}

static void pages_are_found_together_and_read_where_they_lie(void **state)
{
	enum { BLOCKS = 100 };
	struct engine_test *test = *state;
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
	struct engine_test *test = *state;
	uint8_t bytes[PAGE_BYTES], scratch[PAGE_BYTES], wrong;
	struct layer_guard guard;
	struct version version;
	const uint8_t *found;
	char path[PATH_MAX];
	off_t at;

	commit_image(test, page(1), 1, PAGE_BYTES);
	for (unsigned round = 0; round < 2; round++) {
		seed_fill(1, bytes, sizeof(bytes));
		assert_true(dir_find_bytes(test->place->dir, bytes, sizeof(bytes), path, &at));
		wrong = bytes[999] ^ 1;
		file_overwrite(path, at + 999, &wrong, 1);
		engine_guard_take(test->engine, &guard);
		assert_ok(engine_find(&guard, page(1), LSN_HEAD, &version));
		assert_err(engine_page(&guard, &version, PAGE_BYTES, true, scratch, &found), -EBADMSG);
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
	struct engine_test *test = *state;
	struct seen names = { .calls = 0 }, versions = { .calls = 0 }, stopped = { .stop_at = 5 };
	struct layer_guard guard;
	uint64_t lsn_sum = 0;

	for (unsigned i = 0; i < 100; i++) {
		lsn_sum += commit_image(test, key_make(20, KEY_NAME, i), i, 10).value;
		commit_image(test, key_make(19, KEY_NAME, i), i, 10);
		commit_image(test, key_make(21, KEY_ATTR, 0), i, 10);
		lsn_sum += commit_image(test, page(i), i, 10).value;
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

/* ---- layers ---- */

static void a_full_layer_gives_way_to_the_next(void **state)
{
	enum { IMAGES = 24 };
	struct engine_test *test = *state;
	struct lsn lsns[IMAGES];

	for (unsigned i = 0; i < IMAGES; i++)
		lsns[i] = commit_image(test, page(0), i, 1 * MIB);
	assert_ok(engine_freeze(test->engine));
	/* Three fit a layer of 4 MiB, beside its header and index. */
	assert_int_equal(usage_of(test).layer_count, IMAGES / 3);
	assert_int_equal(usage_of(test).freeze_count, IMAGES / 3);
	for (unsigned i = 0; i < IMAGES; i++)
		check_image(test, page(0), lsns[i], i, 1 * MIB);
}

static void what_fits_no_layer_is_refused_and_the_rest_goes_on(void **state)
{
	struct engine_test *test = *state;
	struct batch_entry *many = calloc(BATCH_ENTRY_MAX + 1, sizeof(*many));
	uint8_t *bytes = calloc(1, LAYER_SIZE_MIN);
	struct batch_entry large = entry_of(page(1), VERSION_IMAGE, 0, bytes, LAYER_SIZE_MIN);
	struct lsn lsn, before;

	assert_true(many && bytes);
	/* In an empty engine, and in one that holds something. */
	for (unsigned round = 0; round < 2; round++) {
		before = engine_newest(test->engine);
		assert_err(engine_commit(test->engine, &large, 1, TIME_NS, &lsn), -EFBIG);
		assert_int_equal(lsn.value, 0);
		assert_int_equal(engine_newest(test->engine).value, before.value);
		commit_image(test, page(0), round, 100);
	}
	for (size_t i = 0; i <= BATCH_ENTRY_MAX; i++)
		many[i] = entry_of(page(i), VERSION_TOMBSTONE, 0, NULL, 0);
	assert_err(engine_commit(test->engine, many, BATCH_ENTRY_MAX + 1, TIME_NS, &lsn), -EFBIG);
	check_absent(test, page(1), LSN_HEAD);
	check_image(test, page(0), LSN_HEAD, 1, 100);
	free(many);
	free(bytes);
}

/* The background looks each second. What it sealed may be merged at once, being all there is of the oldest LSN. */
static void check_one_freeze(struct engine_test *test)
{
	for (unsigned i = 0; i < 200 && !usage_of(test).freeze_count; i++)
		usleep(100000);
	assert_int_equal(usage_of(test).freeze_count, 1);
	assert_int_equal(usage_of(test).layer_count + usage_of(test).table_count, 1);
}

static void an_old_layer_freezes_by_itself(void **state)
{
	struct engine_test *test = *state;

	engine_stop(test);
	test->options.freeze_age_ns = 1000000;
	engine_start(test);
	commit_image(test, page(0), 1, 100);
	check_one_freeze(test);
	check_image(test, page(0), LSN_HEAD, 1, 100);
}

static void an_idle_layer_freezes_by_itself(void **state)
{
	struct engine_test *test = *state;

	engine_stop(test);
	test->options.idle_ns = 1000000;
	engine_start(test);
	commit_image(test, page(0), 1, 100);
	check_one_freeze(test);
	/* Nothing was written since: the layer that came after stays open. */
	usleep(2500000);
	assert_int_equal(usage_of(test).freeze_count, 1);
	commit_image(test, page(0), 2, 100);
	check_image(test, page(0), LSN_HEAD, 2, 100);
}

static void what_a_guard_saw_stays_while_its_layer_is_sealed(void **state)
{
	struct engine_test *test = *state;
	uint8_t found[100], expected[100];
	struct layer_guard guard;
	struct version version;
	size_t size;

	commit_image(test, page(0), 1, 100);
	engine_guard_take(test->engine, &guard);
	assert_ok(engine_find(&guard, page(0), LSN_HEAD, &version));
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
	struct engine_test *test = *state;
	struct lsn lsn, newest = commit_image(test, page(0), 1, 100);
	struct engine_usage usage = usage_of(test);

	assert_true(usage.durable.value < newest.value);
	assert_true(usage.arena_dirty_bytes >= 100);
	for (unsigned i = 0; i < 3; i++) {
		assert_ok(engine_sync(test->engine, &lsn));
		assert_int_equal(lsn.value, newest.value);
	}
	usage = usage_of(test);
	assert_int_equal(usage.durable.value, newest.value);
	assert_int_equal(usage.arena_dirty_bytes, 0);
	assert_int_equal(usage.sync_count, 3);
	assert_int_equal(usage.flush_count, 1);
	commit_image(test, page(0), 2, 100);
	assert_ok(engine_sync(test->engine, &lsn));
	assert_int_equal(usage_of(test).flush_count, 2);
}

static void closing_notes_what_is_durable(void **state)
{
	struct engine_test *test = *state;
	struct lsn newest = commit_image(test, page(0), 1, 100);
	struct report report = { "" };
	struct manifest manifest;

	engine_stop(test);
	assert_ok(manifest_open(&manifest, test->place->dir_fd, false, &report));
	assert_int_equal(manifest.durable.value, newest.value);
	manifest_close(&manifest);
	engine_start(test);
	assert_int_equal(usage_of(test).durable.value, newest.value);
}

/* The header of the batch that begins at @start, in the first layer. */
static struct batch_view batch_at(struct engine_test *test, struct lsn start, uint64_t chain,
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
	struct engine_test *test = *state;
	struct lsn first = commit_image(test, page(0), 1, 100), lsn;
	uint64_t seed = engine_identity(test->engine)->seed;
	uint8_t bytes[400];

	/* One that commits nothing leaves nothing. */
	engine_restart(test);
	engine_restart(test);
	assert_int_equal(engine_newest(test->engine).value, first.value);
	lsn = commit_image(test, page(0), 2, 100);
	assert_int_equal(lsn.value, first.value + BATCH_OPENED_BYTES +
				    image_batch_bytes(page(0), 100));
	struct batch_view view = batch_at(test, lsn_make(0), seed, bytes, sizeof(bytes));
	assert_int_equal(view.flags, 0);
	assert_int_equal(view.time_ns, TIME_NS);
	view = batch_at(test, first, view.chain, bytes, BATCH_OPENED_BYTES);
	assert_int_equal(view.flags, BATCH_OPENED);
	assert_int_equal(view.entry_count, 0);
	/* It is a position like any other, and changes nothing. */
	check_image(test, page(0), lsn_make(first.value + BATCH_OPENED_BYTES), 1, 100);
	/* Only once a life. */
	struct lsn next = commit_image(test, page(0), 3, 100);
	assert_int_equal(next.value - lsn.value, image_batch_bytes(page(0), 100));
}

/* What was committed and never synced, as a killed process leaves it. */
static void a_kill_loses_nothing_that_was_committed(void **state)
{
	struct engine_test *test = *state;
	struct lsn lsns[20];
	struct place *other = place_new("copy"), killed;

	for (unsigned i = 0; i < array_size(lsns); i++) {
		lsns[i] = commit_image(test, page(i % 3), i, 100000);
		if (i == 10)
			assert_ok(engine_freeze(test->engine));
	}
	dir_copy(test->place->dir, other->path);
	killed.dir_fd = open(other->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(killed.dir_fd >= 0, "open", other->path);
	struct engine_test after = { &killed, test->options, NULL };
	engine_start(&after);
	assert_int_equal(engine_newest(after.engine).value, lsns[array_size(lsns) - 1].value);
	assert_int_equal(engine_oldest(after.engine).value, lsns[0].value);
	for (unsigned i = 0; i < array_size(lsns); i++)
		check_image(&after, page(i % 3), lsns[i], i, 100000);
	engine_stop(&after);
	close(killed.dir_fd);
	place_free(other);
}

static void the_next_inode_number_is_above_every_key(void **state)
{
	struct engine_test *test = *state;

	commit_image(test, key_make(500, KEY_ATTR, 0), 1, 10);
	assert_int_equal(engine_ino_next(test->engine), 501);
	commit_image(test, key_make(300, KEY_ATTR, 0), 1, 10);
	assert_int_equal(engine_ino_next(test->engine), 501);
	engine_restart(test);
	assert_int_equal(engine_ino_next(test->engine), 501);
	assert_ok(engine_freeze(test->engine));
	engine_restart(test);
	assert_int_equal(engine_ino_next(test->engine), 501);
}

static void numbers_add_up(void **state)
{
	struct engine_test *test = *state;
	struct lsn newest = lsn_make(0);
	struct engine_usage usage;
	uint64_t held = 0;

	for (unsigned i = 0; i < 10; i++)
		newest = commit_image(test, page(i), i, 1000);
	usage = usage_of(test);
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
	usage = usage_of(test);
	assert_int_equal(usage.layer_count, 1);
	assert_int_equal(usage.version_count, 0);
	assert_int_equal(usage.arena_held_bytes[ARENA_IMAGE], 0);
	assert_true(usage.sealed_bytes > newest.value &&
		    usage.sealed_bytes < newest.value + 10 * LAYER_BLOCK_BYTES);
}

/* ---- when nothing may be written ---- */

static void read_only_takes_nothing_and_changes_nothing(void **state)
{
	struct engine_test *test = *state;
	struct batch_entry entry = entry_of(page(0), VERSION_IMAGE, 0, "new", 3);
	struct lsn lsn, newest;
	uint64_t digest;

	commit_image(test, page(0), 1, 100);
	assert_ok(engine_freeze(test->engine));
	newest = commit_image(test, page(1), 2, 100);
	engine_stop(test);
	digest = dir_digest(test->place->dir);
	test->options.read_only = true;
	engine_start(test);
	assert_err(engine_commit(test->engine, &entry, 1, TIME_NS, &lsn), -EROFS);
	assert_err(engine_freeze(test->engine), -EROFS);
	assert_true(usage_of(test).read_only);
	assert_int_equal(engine_newest(test->engine).value, newest.value);
	check_image(test, page(0), LSN_HEAD, 1, 100);
	check_image(test, page(1), LSN_HEAD, 2, 100);
	engine_stop(test);
	assert_int_equal(dir_digest(test->place->dir), digest);
}

/* As after a failed sync; who waits then must not wait for ever. */
static void a_failed_engine_says_so_until_it_is_opened_again(void **state)
{
	struct engine_test *test = *state;
	struct batch_entry entry = entry_of(page(0), VERSION_IMAGE, 0, "new", 3);
	struct engine *engine = test->engine;
	struct lsn lsn;

	commit_image(test, page(0), 1, 100);
	engine_fail(engine, -EIO, "a test of failure");
	alarm(60);
	assert_err(engine_commit(engine, &entry, 1, TIME_NS, &lsn), -EROFS);
	assert_err(engine_sync(engine, &lsn), -EROFS);
	assert_err(engine_freeze(engine), -EROFS);
	assert_true(usage_of(test).read_only);
	check_image(test, page(0), LSN_HEAD, 1, 100);
	test->engine = NULL;
	assert_err(engine_close(engine), -EROFS);
	alarm(0);
	engine_start(test);
	assert_false(usage_of(test).read_only);
	check_image(test, page(0), LSN_HEAD, 1, 100);
	commit_image(test, page(0), 2, 100);
	assert_ok(engine_sync(test->engine, &lsn));
}

/* Give the test a place on a disk of @size. False: this process may not. */
static bool mount_small(const char *path, const char *size)
{
	return own_mounts() && !mount("tmpfs", path, "tmpfs", 0, size);
}

static unsigned commit_until_full(struct engine_test *test, unsigned from)
{
	static uint8_t bytes[1 * MIB];
	int err;

	for (unsigned i = from;; i++) {
		struct batch_entry entry = entry_of(page(i), VERSION_IMAGE, 0, bytes, sizeof(bytes));
		struct lsn lsn;

		seed_fill(i, bytes, sizeof(bytes));
		err = engine_commit(test->engine, &entry, 1, TIME_NS, &lsn);
		if (err) {
			assert_err(err, -ENOSPC);
			return i;
		}
		assert_true(i < 100);
	}
}

static void a_full_disk_refuses_commits_until_there_is_room(void **state)
{
	struct engine_test *outer = *state, test = { .options = outer->options };
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
	assert_ok(engine_create(small.dir_fd, PAGE_BYTES, COMPRESSION_DEFAULT));
	engine_start(&test);
	full = commit_until_full(&test, 0);
	/* Ten megabytes have room for a layer at least, of three images. */
	assert_true(full >= 3);
	assert_int_equal(commit_until_full(&test, full), full);
	assert_false(usage_of(&test).read_only);
	assert_ok(engine_sync(test.engine, &lsn));
	must(!unlinkat(small.dir_fd, "ballast", 0), "unlink", "ballast");
	fuller = commit_until_full(&test, full);
	assert_true(fuller > full);
	engine_restart(&test);
	for (unsigned i = 0; i < fuller; i++)
		check_image(&test, page(i), LSN_HEAD, i, 1 * MIB);
	check_absent(&test, page(fuller), LSN_HEAD);
	engine_stop(&test);
	close(small.dir_fd);
	must(!umount(small.dir), "umount", small.dir);
}

#define engine_unit_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

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
