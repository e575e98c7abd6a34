/* Extents of the past, kept: what is found is right; what is not found was forgotten. */
#include "past_extent.h"
#include "test_tree.h"

static struct extent extent_of(uint64_t ino, uint64_t since)
{
	return (struct extent){ .size_bytes = since * 3, .type = S_IFREG, .flags = ino % 2, .has_name = true };
}

static void keep(struct extent_cache *cache, uint64_t ino, uint64_t since, uint64_t until)
{
	struct extent extent = extent_of(ino, since);

	extent_keep(cache, ino, lsn_make(since), lsn_make(until), &extent);
}

/* True if one is kept, and then it must be the one since @since. */
static bool found(struct extent_cache *cache, uint64_t ino, uint64_t lsn, uint64_t since)
{
	struct extent extent, expected = extent_of(ino, since);

	if (!extent_get(cache, ino, lsn_make(lsn), &extent))
		return false;
	assert_true(extent_equal(&extent, &expected));
	return true;
}

static int setup(void **state)
{
	struct extent_cache *cache;

	assert_ok(extent_cache_create(&cache));
	*state = cache;
	return 0;
}

static int teardown(void **state)
{
	extent_cache_free(*state);
	return 0;
}

static void an_extent_is_found_from_since_to_until_and_nowhere_else(void **state)
{
	keep(*state, 20, 100, 200);
	assert_false(found(*state, 20, 99, 0));
	assert_true(found(*state, 20, 100, 100));
	assert_true(found(*state, 20, 150, 100));
	assert_true(found(*state, 20, 200, 100));
	assert_false(found(*state, 20, 201, 0));
	for (uint64_t ino = 1; ino < 5000; ino++)
		assert_int_equal(found(*state, ino, 150, 100), ino == 20);
}

static void a_later_look_makes_it_longer_and_an_earlier_one_no_shorter(void **state)
{
	keep(*state, 20, 100, 200);
	keep(*state, 20, 100, 300);
	assert_true(found(*state, 20, 300, 100));
	keep(*state, 20, 100, 150);
	assert_true(found(*state, 20, 300, 100));
	assert_false(found(*state, 20, 301, 0));
}

/* A file that grows with every write has one at every LSN. */
static void what_came_last_is_found_among_many(void **state)
{
	struct prng prng = { test_seed() };

	for (unsigned i = 0; i < 20000; i++) {
		uint64_t ino = 1 + prng_below(&prng, 300), since = 10 * (1 + prng_below(&prng, 300));

		keep(*state, ino, since, since + prng_below(&prng, 10));
		assert_true(found(*state, ino, since, since));
		ino = 1 + prng_below(&prng, 300);
		since = 10 * (1 + prng_below(&prng, 300));
		found(*state, ino, since + prng_below(&prng, 10), since);
	}
}

static void freeing_nothing_is_no_error(void **state)
{
	(void)state;
	extent_cache_free(NULL);
}

#define cache_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cache_test(an_extent_is_found_from_since_to_until_and_nowhere_else),
		cache_test(a_later_look_makes_it_longer_and_an_earlier_one_no_shorter),
		cache_test(what_came_last_is_found_among_many),
		cmocka_unit_test(freeing_nothing_is_no_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
