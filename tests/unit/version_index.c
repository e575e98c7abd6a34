/* Version index: every version by key and LSN, beside a plain list. */
#include "test_support.h"
#include "version_index.h"

static void insert(struct version_index *index, struct key key, uint32_t lsn)
{
	struct version_node node = { .checksum = key_hash(key) + lsn, .lsn = lsn,
				     .offset = lsn * 7, .size_bytes = lsn % 100, .form = 1 };

	assert_ok(version_index_prepare(index, 1));
	version_index_insert(index, key, &node);
}

static struct version_index *index_new(uint32_t limit)
{
	struct version_index *index;

	assert_ok(version_index_create(limit, &index));
	return index;
}

static void an_empty_index_finds_nothing(void **state)
{
	struct version_index *index = index_new(10);
	struct version_index_key *keys;
	uint32_t count = 9;

	(void)state;
	assert_null(version_index_find(index, key_make(1, KEY_ATTR, 0), UINT32_MAX));
	assert_int_equal(version_index_key_count(index), 0);
	assert_int_equal(version_index_version_count(index), 0);
	assert_ok(version_index_sort(index, &keys, &count));
	assert_int_equal(count, 0);
	free(keys);
	version_index_free(index);
	version_index_free(NULL);
}

static void each_lsn_finds_the_version_at_or_below_it(void **state)
{
	enum { VERSIONS = 3000 };
	struct version_index *index = index_new(VERSIONS);
	struct key key = key_make(20, KEY_PAGE, 5);

	(void)state;
	for (uint32_t i = 0; i < VERSIONS; i++)
		insert(index, key, 10 + 3 * i);
	for (uint32_t lsn = 0; lsn < 10 + 3 * VERSIONS + 5; lsn++) {
		const struct version_node *node = version_index_find(index, key, lsn);

		if (lsn < 10) {
			assert_null(node);
			continue;
		}
		uint32_t nth = (lsn - 10) / 3 < VERSIONS ? (lsn - 10) / 3 : VERSIONS - 1;
		assert_non_null(node);
		assert_int_equal(node->lsn, 10 + 3 * nth);
		assert_int_equal(node->offset, node->lsn * 7);
		assert_true(node->checksum == key_hash(key) + node->lsn);
	}
	assert_null(version_index_find(index, key_make(20, KEY_PAGE, 6), UINT32_MAX));
	assert_int_equal(version_index_key_count(index), 1);
	assert_int_equal(version_index_version_count(index), VERSIONS);
	version_index_free(index);
}

static void versions_lead_to_the_ones_before(void **state)
{
	struct version_index *index = index_new(1000);
	struct key key = key_make(20, KEY_ATTR, 0);

	(void)state;
	for (uint32_t i = 1; i <= 500; i++)
		insert(index, key, i);
	const struct version_node *node = version_index_find(index, key, UINT32_MAX);
	for (uint32_t i = 500; i >= 1; i--) {
		assert_non_null(node);
		assert_int_equal(node->lsn, i);
		node = version_index_before(index, node);
	}
	assert_null(node);
	version_index_free(index);
}

static struct key random_key(struct prng *prng)
{
	static const enum key_kind kinds[] = { KEY_ATTR, KEY_FLOOR, KEY_NAME, KEY_PAGE };

	return key_make(16 + prng_below(prng, 40), kinds[prng_below(prng, 4)],
			prng_below(prng, 30));
}

struct listed {
	struct key key;
	uint32_t lsn;
};

/* The newest at or below, by looking at all. */
static const struct listed *list_find(const struct listed *list, uint32_t count, struct key key,
				      uint32_t lsn)
{
	for (uint32_t i = count; i > 0; i--) {
		if (list[i - 1].lsn <= lsn && key_equal(list[i - 1].key, key))
			return &list[i - 1];
	}
	return NULL;
}

static void index_and_list_agree(void **state)
{
	enum { VERSIONS = 20000 };
	struct prng prng = { test_seed() };
	struct version_index *index = index_new(VERSIONS);
	struct listed *list = calloc(VERSIONS, sizeof(*list));

	(void)state;
	assert_non_null(list);
	for (uint32_t i = 0; i < VERSIONS; i++) {
		list[i] = (struct listed){ random_key(&prng), 5 + i * 2 };
		insert(index, list[i].key, list[i].lsn);
		struct key key = random_key(&prng);
		uint32_t lsn = prng_below(&prng, 2 * i + 10);
		const struct listed *expected = list_find(list, i + 1, key, lsn);
		const struct version_node *found = version_index_find(index, key, lsn);

		assert_int_equal(found != NULL, expected != NULL);
		if (found)
			assert_int_equal(found->lsn, expected->lsn);
	}
	free(list);
	version_index_free(index);
}

static void sorting_gives_every_key_once_in_order(void **state)
{
	struct prng prng = { test_seed() };
	struct version_index *index = index_new(20000);
	struct version_index_key *keys;
	uint32_t count;

	(void)state;
	for (uint32_t i = 0; i < 20000; i++)
		insert(index, random_key(&prng), i + 1);
	assert_ok(version_index_sort(index, &keys, &count));
	assert_int_equal(count, version_index_key_count(index));
	for (uint32_t i = 0; i < count; i++) {
		assert_ptr_equal(keys[i].newest,
				 version_index_find(index, keys[i].key, UINT32_MAX));
		if (i)
			assert_true(key_compare(keys[i - 1].key, keys[i].key) < 0);
	}
	free(keys);
	version_index_free(index);
}

struct name_count {
	unsigned seen[100];
	unsigned stop_after, total;
};

static int count_name(void *context, struct key key)
{
	struct name_count *count = context;

	assert_int_equal(key.ino, 30);
	assert_int_equal(key_kind(key), KEY_NAME);
	count->seen[key_index(key)]++;
	return ++count->total == count->stop_after ? 77 : 0;
}

static void names_of_a_directory_are_each_listed(void **state)
{
	struct version_index *index = index_new(10000);
	struct name_count count = { .stop_after = 0 };

	(void)state;
	for (uint32_t i = 0; i < 5000; i++) {
		uint64_t ino = 29 + i % 3;

		insert(index, key_make(ino, i % 2 ? KEY_NAME : KEY_PAGE, i % 100), i + 1);
	}
	assert_ok(version_index_each_name(index, 30, count_name, &count));
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(count.seen[i] > 0, i % 2);
	assert_ok(version_index_each_name(index, 99, count_name, &count));
	count = (struct name_count){ .stop_after = 5 };
	assert_int_equal(version_index_each_name(index, 30, count_name, &count), 77);
	assert_int_equal(count.total, 5);
	version_index_free(index);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_index_finds_nothing),
		cmocka_unit_test(each_lsn_finds_the_version_at_or_below_it),
		cmocka_unit_test(versions_lead_to_the_ones_before),
		cmocka_unit_test(index_and_list_agree),
		cmocka_unit_test(sorting_gives_every_key_once_in_order),
		cmocka_unit_test(names_of_a_directory_are_each_listed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
