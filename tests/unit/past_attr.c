/* Attributes of the past, kept: what is found is right; what is not found was forgotten. */
#include "past_attr.h"
#include "test_tree.h"

static struct attr attr_of(uint64_t ino, uint64_t lsn)
{
	return (struct attr){ .shown = { .ino = ino, .size_bytes = lsn, .position = ino * lsn,
					 .changed = lsn_make(lsn), .mode = S_IFREG },
			      .block_end = ino + lsn, .flags = ino % 2 };
}

static void keep(struct past_attr_cache *cache, uint64_t ino, uint64_t lsn)
{
	struct attr attr = attr_of(ino, lsn);

	past_attr_keep(cache, ino, lsn_make(lsn), &attr);
}

/* True if it is kept, and then it must be right. */
static bool found(struct past_attr_cache *cache, uint64_t ino, uint64_t lsn)
{
	struct attr attr, expected = attr_of(ino, lsn);

	if (!past_attr_get(cache, ino, lsn_make(lsn), &attr))
		return false;
	assert_attr_equal(&attr.shown, &expected.shown);
	assert_int_equal(attr.block_end, expected.block_end);
	assert_int_equal(attr.flags, expected.flags);
	return true;
}

static int setup(void **state)
{
	struct past_attr_cache *cache;

	assert_ok(past_attr_cache_create(&cache));
	*state = cache;
	return 0;
}

static int teardown(void **state)
{
	past_attr_cache_free(*state);
	return 0;
}

static void a_new_cache_holds_nothing(void **state)
{
	for (uint64_t i = 0; i < 5000; i++)
		assert_false(found(*state, i + 1, i));
}

static void what_is_kept_is_found_under_its_inode_and_lsn_only(void **state)
{
	keep(*state, 20, 1000);
	assert_true(found(*state, 20, 1000));
	for (uint64_t i = 1; i < 5000; i++) {
		assert_false(found(*state, 20, 1000 + i));
		assert_false(found(*state, 20 + i, 1000));
	}
	assert_true(found(*state, 20, 1000));
}

static void what_comes_last_is_always_kept(void **state)
{
	struct prng prng = { test_seed() };

	for (unsigned i = 0; i < 20000; i++) {
		uint64_t ino = 1 + prng_below(&prng, 300), lsn = 1 + prng_below(&prng, 300);

		keep(*state, ino, lsn);
		assert_true(found(*state, ino, lsn));
	}
}

/* One file at many LSNs, many files at one LSN: either spreads over the cache. */
static void it_is_small_but_used_in_full(void **state)
{
	unsigned by_ino = 0, by_lsn = 0;

	for (uint64_t i = 1; i <= 20000; i++)
		keep(*state, i, 7);
	for (uint64_t i = 1; i <= 20000; i++)
		by_ino += found(*state, i, 7);
	for (uint64_t i = 1; i <= 20000; i++)
		keep(*state, 7, 100 * i);
	for (uint64_t i = 1; i <= 20000; i++)
		by_lsn += found(*state, 7, 100 * i);
	assert_in_range(by_ino, 900, 1024);
	assert_in_range(by_lsn, 900, 1024);
}

static void freeing_nothing_is_no_error(void **state)
{
	(void)state;
	past_attr_cache_free(NULL);
}

#define cache_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cache_test(a_new_cache_holds_nothing),
		cache_test(what_is_kept_is_found_under_its_inode_and_lsn_only),
		cache_test(what_comes_last_is_always_kept),
		cache_test(it_is_small_but_used_in_full),
		cmocka_unit_test(freeing_nothing_is_no_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
