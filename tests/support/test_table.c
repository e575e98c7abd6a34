#include "test_table.h"

enum { INODES = 30, INDEXES = 40, PAYLOAD_MAX = 1 << 20 };

struct test_table *test_table_new(void)
{
	struct test_table *test = calloc(1, sizeof(*test));
	char name[LAYER_NAME_BYTES];

	assert_non_null(test);
	layer_name(TEST_TABLE_LAYER, name);
	test->place = place_new(name);
	test->prng.state = test_seed();
	test->store = (struct store_identity){ .seed = 99, .page_size_bytes = 4096 };
	memcpy(test->store.id, "sixteen bytes id", 16);
	return test;
}

static void table_close(struct test_table *test)
{
	table_layer_free(test->layer);
	test->layer = NULL;
	layer_files_free(test->files);
	block_cache_free(test->cache);
}

void test_table_free(struct test_table *test)
{
	if (!test)
		return;
	table_close(test);
	place_free(test->place);
	free(test->rows);
	free(test);
}

void test_table_add(struct test_table *test, const struct table_row *row)
{
	if (test->row_count == test->row_room) {
		test->row_room = test->row_room ? 2 * test->row_room : 1024;
		test->rows = realloc(test->rows, test->row_room * sizeof(*test->rows));
		assert_non_null(test->rows);
	}
	test->rows[test->row_count++] = *row;
}

static struct key random_key(struct prng *prng)
{
	static const enum key_kind kinds[] = { KEY_ATTR, KEY_FLOOR, KEY_NAME, KEY_PAGE, KEY_PAGE };

	return key_make(16 + prng_below(prng, INODES), kinds[prng_below(prng, array_size(kinds))],
			prng_below(prng, INDEXES));
}

void test_table_add_random(struct test_table *test, size_t count, uint32_t payload_max)
{
	for (size_t i = 0; i < count; i++) {
		struct table_row row = {
			.key = random_key(&test->prng),
			/* Steps of 1000, of which no two rows have the same. */
			.lsn = lsn_make(TEST_TABLE_START + 1 + test->row_count * 1000 +
					prng_below(&test->prng, 1000)),
			.seed = prng_next(&test->prng),
			.size_bytes = (uint32_t)prng_below(&test->prng, payload_max + 1),
			.form = (uint8_t)(1 + prng_below(&test->prng, 3)),
		};

		if (row.form == VERSION_TOMBSTONE)
			row.size_bytes = 0;
		if (row.form == VERSION_PATCH)
			row.weight = (uint8_t)prng_below(&test->prng, VERSION_WEIGHT_MAX + 1);
		if (key_kind(row.key) == KEY_ATTR)
			row.position = row.lsn.value - prng_below(&test->prng, 3000);
		assert_true(row.lsn.value <= TEST_TABLE_END);
		test_table_add(test, &row);
	}
}

static int row_compare(const void *a, const void *b)
{
	const struct table_row *x = a, *y = b;
	int order = key_compare(x->key, y->key);

	return order ? order : x->lsn.value < y->lsn.value ? -1 : x->lsn.value > y->lsn.value;
}

void test_table_reopen(struct test_table *test, uint64_t budget_bytes)
{
	table_close(test);
	assert_ok(block_cache_create(budget_bytes, &test->cache));
	assert_ok(layer_files_create(test->place->dir_fd, 4, &test->files));
	assert_ok(table_layer_new(&test->summary, &test->store, test->cache, test->files,
				  &test->layer));
}

void test_table_write(struct test_table *test, enum compression compression, uint64_t budget_bytes)
{
	const struct table_writer_options options = {
		.kind = TABLE_IMAGE, .start = { TEST_TABLE_START }, .end = { TEST_TABLE_END },
		.compression = compression,
	};
	uint8_t *payload = malloc(PAYLOAD_MAX);
	struct table_writer *writer;

	assert_non_null(payload);
	qsort(test->rows, test->row_count, sizeof(*test->rows), row_compare);
	assert_ok(table_writer_open(test->place->dir_fd, TEST_TABLE_LAYER, &test->store, &options,
				    &writer));
	for (size_t i = 0; i < test->row_count; i++) {
		const struct table_row *row = &test->rows[i];

		seed_fill(row->seed, payload, row->size_bytes);
		assert_ok(table_writer_add(writer, row->key, row->lsn, row->position, row->form,
					   row->weight, payload, row->size_bytes));
	}
	assert_int_equal(table_writer_count(writer), test->row_count);
	assert_ok(table_writer_finish(writer, TABLE_ENDS_RUN, &test->summary));
	table_writer_free(writer);
	free(payload);
	test_table_reopen(test, budget_bytes);
}

const struct table_row *test_table_expect(const struct test_table *test, struct key key,
					  struct lsn lsn)
{
	const struct table_row *found = NULL;
	size_t low = 0, high = test->row_count;
	const struct table_row probe = { .key = key, .lsn = lsn };

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (row_compare(&test->rows[middle], &probe) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low > 0 && key_equal(test->rows[low - 1].key, key))
		found = &test->rows[low - 1];
	return found;
}

int test_table_row_check(const struct version *found, const struct table_row *expected)
{
	const uint8_t *payload, *view;
	uint8_t *bytes;
	int err;

	assert_true(key_equal(found->key, expected->key));
	assert_int_equal(found->lsn.value, expected->lsn.value);
	assert_int_equal(found->form, expected->form);
	assert_int_equal(found->weight, expected->weight);
	assert_int_equal(found->size_bytes, expected->size_bytes);
	assert_int_equal(version_position(found),
			 expected->position ? expected->position : expected->lsn.value);
	err = version_load(found, NULL, &payload);
	if (err)
		return err;
	bytes = malloc(expected->size_bytes + 1);
	assert_non_null(bytes);
	seed_fill(expected->seed, bytes, expected->size_bytes);
	assert_memory_equal(payload, bytes, expected->size_bytes);
	assert_ok(version_view(found, &view));
	assert_memory_equal(view, bytes, expected->size_bytes);
	assert_true(version_is_at_hand(found));
	free(bytes);
	return 0;
}

void test_table_compare(struct test_table *test, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct table_row *row =
			&test->rows[prng_below(&test->prng, test->row_count)];
		struct key key = i % 4 == 0 ? random_key(&test->prng) : row->key;
		struct lsn lsn = lsn_make(row->lsn.value + prng_below(&test->prng, 3) - 1);
		const struct table_row *expected;
		struct version found;

		if (i % 4 == 1)
			lsn = LSN_HEAD;
		expected = test_table_expect(test, key, lsn);
		guard_take();
		assert_err(layer_find(test->layer, key, lsn, &found), expected ? 0 : 1);
		if (expected)
			assert_ok(test_table_row_check(&found, expected));
		else
			assert_int_equal(found.form, 0);
		guard_drop();
	}
}

struct names_seen {
	uint64_t ino;
	struct key before;
	unsigned count;
	struct test_table *test;
};

static int see_name(void *context, struct key key)
{
	struct names_seen *names = context;

	assert_int_equal(key.ino, names->ino);
	assert_int_equal(key_kind(key), KEY_NAME);
	assert_true(key_compare(names->before, key) < 0);
	assert_non_null(test_table_expect(names->test, key, LSN_HEAD));
	names->before = key;
	names->count++;
	return 0;
}

struct versions_seen {
	struct test_table *test;
	uint64_t ino;
	size_t count;
};

static int see_version(void *context, const struct version *version)
{
	struct versions_seen *versions = context;

	assert_int_equal(version->key.ino, versions->ino);
	assert_ok(test_table_row_check(
		version, test_table_expect(versions->test, version->key, version->lsn)));
	versions->count++;
	return 0;
}

void test_table_compare_lists(struct test_table *test)
{
	for (uint64_t ino = 15; ino <= 16 + INODES; ino++) {
		uint64_t from = prng_below(&test->prng, 2) ? 0 : prng_below(&test->prng, INDEXES);
		struct names_seen names = { .ino = ino, .test = test };
		struct versions_seen versions = { .test = test, .ino = ino };
		size_t name_count = 0, version_count = 0;

		for (size_t i = 0; i < test->row_count; i++) {
			const struct table_row *row = &test->rows[i];
			bool first = i == 0 || !key_equal(test->rows[i - 1].key, row->key);

			version_count += row->key.ino == ino;
			name_count += row->key.ino == ino && first &&
				      key_kind(row->key) == KEY_NAME && key_index(row->key) >= from;
		}
		guard_take();
		assert_ok(layer_each_name(test->layer, ino, from, see_name, &names));
		assert_ok(layer_each_version(test->layer, ino, see_version, &versions));
		guard_drop();
		assert_int_equal(names.count, name_count);
		assert_int_equal(versions.count, version_count);
	}
}
