/* Block cache: checked once, kept within the budget, there as long as a guard looks. */
#include <malloc.h>
#include <unistd.h>

#include "guard.h"
#include "test_blocks.h"

struct cache_test {
	struct test_blocks *blocks;
	struct block_cache *cache;
};

static void cache_renew(struct cache_test *test, uint64_t budget_bytes)
{
	block_cache_free(test->cache);
	assert_ok(block_cache_create(budget_bytes, &test->cache));
}

static int setup(void **state)
{
	struct cache_test *test = calloc(1, sizeof(*test));

	assert_non_null(test);
	test->blocks = test_blocks_new();
	cache_renew(test, 64 * MIB);
	*state = test;
	return 0;
}

static int teardown(void **state)
{
	struct cache_test *test = *state;

	block_cache_free(test->cache);
	guard_barrier();
	test_blocks_free(test->blocks);
	free(test);
	return 0;
}

/* Get it under a guard of its own. */
static int get(struct cache_test *test, uint32_t number)
{
	const uint8_t *bytes;

	guard_take();
	int err = test_blocks_get(test->blocks, test->cache, number, &bytes);
	if (err)
		assert_null(bytes);
	else
		assert_true(test_block_is_right(bytes, number));
	guard_drop();
	return err;
}

static void get_all(struct cache_test *test)
{
	for (uint32_t i = 0; i < TEST_BLOCKS_COUNT; i++)
		assert_ok(get(test, i));
}

/* Flip a bit of a block in the file; the same again mends it. */
static void flip(struct cache_test *test, uint32_t number, unsigned bit)
{
	uint64_t at = (uint64_t)number * LAYER_BLOCK_BYTES + bit / 8;
	uint8_t byte;

	must(pread(test->blocks->fd, &byte, 1, at) == 1, "read", test->blocks->place->path);
	byte ^= 1u << bit % 8;
	must(pwrite(test->blocks->fd, &byte, 1, at) == 1, "write", test->blocks->place->path);
}

static void a_block_is_read_and_checked_once(void **state)
{
	struct cache_test *test = *state;
	const uint8_t *first, *again;

	assert_int_equal(block_cache_bytes(test->cache), 0);
	guard_take();
	assert_ok(test_blocks_get(test->blocks, test->cache, 3, &first));
	uint64_t held = block_cache_bytes(test->cache);
	assert_true(held >= LAYER_BLOCK_BYTES && held < 2 * LAYER_BLOCK_BYTES);
	flip(test, 3, 100);
	assert_ok(test_blocks_get(test->blocks, test->cache, 3, &again));
	assert_ptr_equal(first, again);
	assert_true(test_block_is_right(again, 3));
	assert_int_equal(block_cache_bytes(test->cache), held);
	guard_drop();
}

static void a_damaged_block_is_refused_and_not_kept(void **state)
{
	struct cache_test *test = *state;
	struct prng prng = { test_seed() };

	for (unsigned i = 0; i < 200; i++) {
		unsigned bit = prng_below(&prng, LAYER_BLOCK_BYTES * 8);

		flip(test, 7, bit);
		assert_err(get(test, 7), -EBADMSG);
		assert_int_equal(block_cache_bytes(test->cache), 0);
		flip(test, 7, bit);
	}
	assert_ok(get(test, 7));
}

static void a_block_beyond_the_end_is_an_error(void **state)
{
	struct cache_test *test = *state;

	assert_err(get(test, TEST_BLOCKS_COUNT), -EUCLEAN);
	assert_int_equal(block_cache_bytes(test->cache), 0);
}

static void a_good_block_in_a_wrong_place_is_refused(void **state)
{
	struct cache_test *test = *state;
	struct test_blocks *blocks = test->blocks;
	struct store_identity other = blocks->store;
	uint8_t block[LAYER_BLOCK_BYTES];
	const uint8_t *bytes;

	other.seed ^= 1;
	guard_take();
	assert_err(block_cache_get(test->cache, &blocks->store, TEST_BLOCKS_LAYER + 1, blocks->fd,
				   3, &bytes), -EBADMSG);
	assert_err(block_cache_get(test->cache, &other, TEST_BLOCKS_LAYER, blocks->fd, 3, &bytes),
		   -EBADMSG);
	guard_drop();
	must(pread(blocks->fd, block, sizeof(block), 2 * sizeof(block)) == sizeof(block), "read",
	     blocks->place->path);
	file_overwrite(blocks->place->path, 3 * sizeof(block), block, sizeof(block));
	assert_err(get(test, 3), -EBADMSG);
	assert_ok(get(test, 2));
}

/* The same number in another layer is another block. */
static void layers_do_not_mix(void **state)
{
	struct cache_test *test = *state;
	struct test_blocks *blocks = test->blocks;
	uint8_t block[LAYER_BLOCK_BYTES] = "of layer 6";
	const uint8_t *bytes;

	assert_ok(get(test, 4));
	layer_block_seal(block, &blocks->store, TEST_BLOCKS_LAYER + 1, 4);
	file_overwrite(blocks->place->path, 4 * sizeof(block), block, sizeof(block));
	guard_take();
	assert_ok(block_cache_get(test->cache, &blocks->store, TEST_BLOCKS_LAYER + 1, blocks->fd, 4,
				  &bytes));
	assert_memory_equal(bytes, block, sizeof(block));
	guard_drop();
	assert_ok(get(test, 4));
}

static void the_budget_is_kept_and_used(void **state)
{
	struct cache_test *test = *state;
	const uint64_t budgets[] = { 2 * MIB, 4 * MIB };

	for (unsigned i = 0; i < array_size(budgets); i++) {
		cache_renew(test, budgets[i]);
		get_all(test);
		assert_true(block_cache_bytes(test->cache) <= budgets[i]);
		/* Blocks go to shards by hash, so all are full. */
		assert_true(block_cache_bytes(test->cache) > budgets[i] / 10 * 9);
	}
}

static void however_small_the_budget_256_blocks_are_held(void **state)
{
	struct cache_test *test = *state;

	cache_renew(test, 1);
	get_all(test);
	uint64_t held = block_cache_bytes(test->cache);
	assert_true(held >= 256 * LAYER_BLOCK_BYTES);
	assert_true(held < 256 * (LAYER_BLOCK_BYTES + 256));
}

static void what_was_got_outlives_its_eviction(void **state)
{
	struct cache_test *test = *state;
	const uint8_t *bytes[50], *other;

	cache_renew(test, 1);
	guard_take();
	for (uint32_t i = 0; i < array_size(bytes); i++)
		assert_ok(test_blocks_get(test->blocks, test->cache, i, &bytes[i]));
	for (unsigned round = 0; round < 3; round++) {
		for (uint32_t i = array_size(bytes); i < TEST_BLOCKS_COUNT; i++)
			assert_ok(test_blocks_get(test->blocks, test->cache, i, &other));
	}
	for (uint32_t i = 0; i < array_size(bytes); i++)
		assert_true(test_block_is_right(bytes[i], i));
	guard_drop();
	/* They had been evicted: they are read again. */
	for (uint32_t i = 0; i < array_size(bytes); i++) {
		flip(test, i, 9);
		assert_err(get(test, i), -EBADMSG);
	}
}

static void a_block_in_use_gets_a_second_chance(void **state)
{
	struct cache_test *test = *state;

	cache_renew(test, 1);
	assert_ok(get(test, 0));
	flip(test, 0, 9);
	for (uint32_t i = 1; i < TEST_BLOCKS_COUNT; i++) {
		assert_ok(get(test, i));
		assert_ok(get(test, 0));
	}
}

/* The heap's size with all blocks read over and over, and a little that stays in
 * between: bytes, 0 under a sanitizer's heap. */
static uint64_t heap_after_rounds(struct cache_test *test, unsigned rounds, void **kept)
{
	for (unsigned i = 0; i < rounds; i++) {
		for (uint32_t n = 0; n < TEST_BLOCKS_COUNT; n++) {
			void **small = malloc(48);

			assert_non_null(small);
			*small = *kept;
			*kept = small;
			assert_ok(get(test, n));
		}
		guard_barrier();
	}
	return mallinfo2().arena + mallinfo2().hblkhd;
}

static void reading_for_ever_takes_no_more_memory(void **state)
{
	struct cache_test *test = *state;
	void *kept = NULL;

	cache_renew(test, 1);
	uint64_t before = heap_after_rounds(test, 3, &kept);
	uint64_t after = heap_after_rounds(test, 20, &kept);

	/* What stays is 64 bytes a block; a block that leaks is 4 KiB. */
	assert_true(after <= before + 20 * TEST_BLOCKS_COUNT * 64 + MIB / 2);
	while (kept) {
		void *next = *(void **)kept;

		free(kept);
		kept = next;
	}
}

static void freeing_nothing_is_no_error(void **state)
{
	(void)state;
	block_cache_free(NULL);
}

#define cache_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cache_test(a_block_is_read_and_checked_once),
		cache_test(a_damaged_block_is_refused_and_not_kept),
		cache_test(a_block_beyond_the_end_is_an_error),
		cache_test(a_good_block_in_a_wrong_place_is_refused),
		cache_test(layers_do_not_mix),
		cache_test(the_budget_is_kept_and_used),
		cache_test(however_small_the_budget_256_blocks_are_held),
		cache_test(what_was_got_outlives_its_eviction),
		cache_test(a_block_in_use_gets_a_second_chance),
		cache_test(reading_for_ever_takes_no_more_memory),
		cmocka_unit_test(freeing_nothing_is_no_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
