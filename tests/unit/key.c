/* Keys and what their checksums cover. */
#include "checksum.h"
#include "key.h"
#include "test_support.h"

static void a_key_gives_back_what_it_was_made_of(void **state)
{
	static const enum key_kind kinds[] = { KEY_ATTR, KEY_FLOOR, KEY_NAME, KEY_PAGE };
	static const uint64_t indexes[] = { 0, 1, 255, KEY_INDEX_MAX - 1, KEY_INDEX_MAX };

	(void)state;
	for (unsigned k = 0; k < array_size(kinds); k++) {
		for (unsigned i = 0; i < array_size(indexes); i++) {
			struct key key = key_make(UINT64_MAX, kinds[k], indexes[i]);

			assert_true(key.ino == UINT64_MAX);
			assert_int_equal(key_kind(key), kinds[k]);
			assert_true(key_index(key) == indexes[i]);
		}
	}
}

/* Inode first, then kind, then index: an inode's keys, and each kind's, are a range. */
static void keys_are_ordered_by_inode_kind_index(void **state)
{
	static const uint64_t inos[] = { 1, 16, UINT64_C(1) << 40 };
	static const enum key_kind kinds[] = { KEY_ATTR, KEY_FLOOR, KEY_NAME, KEY_PAGE };
	static const uint64_t indexes[] = { 0, 1, 300, KEY_INDEX_MAX };
	struct key keys[3 * 4 * 4];
	unsigned count = 0;

	(void)state;
	for (unsigned n = 0; n < 3; n++)
		for (unsigned k = 0; k < 4; k++)
			for (unsigned i = 0; i < 4; i++)
				keys[count++] = key_make(inos[n], kinds[k], indexes[i]);
	for (unsigned a = 0; a < count; a++) {
		for (unsigned b = 0; b < count; b++) {
			int order = key_compare(keys[a], keys[b]);

			assert_int_equal(order < 0, a < b);
			assert_int_equal(order > 0, a > b);
			assert_int_equal(key_equal(keys[a], keys[b]), a == b);
		}
	}
}

static void hashes_of_neighbours_spread(void **state)
{
	enum { KEYS = 4096, BUCKETS = 64 };
	unsigned low[BUCKETS] = { 0 }, high[BUCKETS] = { 0 };

	(void)state;
	for (unsigned i = 0; i < KEYS; i++) {
		uint64_t hash = key_hash(key_make(20, KEY_PAGE, i));

		low[hash % BUCKETS]++;
		high[hash >> 58]++;
	}
	for (unsigned i = 0; i < BUCKETS; i++) {
		assert_true(low[i] > KEYS / BUCKETS / 2 && low[i] < KEYS / BUCKETS * 2);
		assert_true(high[i] > KEYS / BUCKETS / 2 && high[i] < KEYS / BUCKETS * 2);
	}
}

static void a_checksum_depends_on_each_bit_and_the_seed(void **state)
{
	uint8_t bytes[300];
	uint64_t whole;

	(void)state;
	seed_fill(1, bytes, sizeof(bytes));
	whole = checksum(bytes, sizeof(bytes), 7);
	assert_true(checksum(bytes, sizeof(bytes), 7) == whole);
	assert_true(checksum(bytes, sizeof(bytes), 8) != whole);
	assert_true(checksum(bytes, sizeof(bytes) - 1, 7) != whole);
	for (unsigned bit = 0; bit < 8 * sizeof(bytes); bit++) {
		bytes[bit / 8] ^= 1u << bit % 8;
		assert_true(checksum(bytes, sizeof(bytes), 7) != whole);
		bytes[bit / 8] ^= 1u << bit % 8;
	}
}

/* Bytes of another store, page, version, form or weight do not pass. */
static void a_versions_seed_covers_what_the_bytes_are(void **state)
{
	struct key key = key_make(20, KEY_PAGE, 3);
	uint64_t seeds[8];
	unsigned count = 0;

	(void)state;
	seeds[count++] = checksum_version_seed(1, key, lsn_make(100), 1, 0);
	seeds[count++] = checksum_version_seed(2, key, lsn_make(100), 1, 0);
	seeds[count++] = checksum_version_seed(1, key_make(21, KEY_PAGE, 3), lsn_make(100), 1, 0);
	seeds[count++] = checksum_version_seed(1, key_make(20, KEY_PAGE, 4), lsn_make(100), 1, 0);
	seeds[count++] = checksum_version_seed(1, key_make(20, KEY_NAME, 3), lsn_make(100), 1, 0);
	seeds[count++] = checksum_version_seed(1, key, lsn_make(101), 1, 0);
	seeds[count++] = checksum_version_seed(1, key, lsn_make(100), 2, 0);
	seeds[count++] = checksum_version_seed(1, key, lsn_make(100), 1, 1);
	for (unsigned a = 0; a < count; a++)
		for (unsigned b = 0; b < a; b++)
			assert_true(seeds[a] != seeds[b]);
	assert_true(seeds[0] == checksum_version_seed(1, key, lsn_make(100), 1, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_gives_back_what_it_was_made_of),
		cmocka_unit_test(keys_are_ordered_by_inode_kind_index),
		cmocka_unit_test(hashes_of_neighbours_spread),
		cmocka_unit_test(a_checksum_depends_on_each_bit_and_the_seed),
		cmocka_unit_test(a_versions_seed_covers_what_the_bytes_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
