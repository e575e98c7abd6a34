/* Block cache: getters under guards while others evict what they look at. */
#include <pthread.h>

#include "guard.h"
#include "test_blocks.h"

enum { GETTERS = 4, ROUNDS = TEST_TSAN ? 1500 : 10000, AT_ONCE = 8 };

struct getter {
	struct test_blocks *blocks;
	struct block_cache *cache;
	uint64_t seed;
};

static void get_some(struct getter *getter, struct prng *prng)
{
	const uint8_t *bytes[AT_ONCE];
	uint32_t numbers[AT_ONCE];

	guard_take();
	for (unsigned i = 0; i < AT_ONCE; i++) {
		numbers[i] = prng_below(prng, TEST_BLOCKS_COUNT);
		require(!test_blocks_get(getter->blocks, getter->cache, numbers[i], &bytes[i]));
	}
	/* Each is still there after the others were got. */
	for (unsigned i = 0; i < AT_ONCE; i++)
		require(test_block_is_right(bytes[i], numbers[i]));
	guard_drop();
}

static void *getter_main(void *argument)
{
	struct getter *getter = argument;
	struct prng prng = { getter->seed };

	for (unsigned round = 0; round < ROUNDS; round++)
		get_some(getter, &prng);
	return NULL;
}

static void what_was_got_lives_until_the_guard_is_dropped(void **state)
{
	struct test_blocks *blocks = test_blocks_new();
	struct getter getters[GETTERS];
	pthread_t threads[GETTERS];
	struct block_cache *cache;

	(void)state;
	/* The fewest blocks a cache holds: an eighth of those asked for. */
	assert_ok(block_cache_create(1, &cache));
	for (unsigned i = 0; i < GETTERS; i++) {
		getters[i] = (struct getter){ blocks, cache, test_seed() + i };
		assert_int_equal(pthread_create(&threads[i], NULL, getter_main, &getters[i]), 0);
	}
	for (unsigned i = 0; i < GETTERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_true(block_cache_bytes(cache) < 256 * (LAYER_BLOCK_BYTES + 256));
	block_cache_free(cache);
	guard_barrier();
	test_blocks_free(blocks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_got_lives_until_the_guard_is_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
