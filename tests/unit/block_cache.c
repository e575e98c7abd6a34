/* Block cache: checked once, kept within the budget, there as long as a guard looks. */
#include <sys/mman.h>
#include <time.h>
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
	for (uint32_t i = 0; i < TEST_BLOCKS_COUNT; i++) {
		assert_ok(get(test, i));
		/* What waits to be freed counts as well: let little wait. */
		if (i % 16 == 0)
			guard_barrier();
	}
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

/* A block of one byte all over, or an error. */
struct fill {
	uint8_t byte;
	uint32_t size_bytes;
	int err;
};

static int fill(void *context, uint8_t *bytes)
{
	const struct fill *fill = context;

	memset(bytes, fill->byte, fill->size_bytes);
	return fill->err;
}

/* Twice as much content as there is room for, each block looked at once: those of an index that are looked at
 * as it goes by are still there, and content that is as old is not. */
static void blocks_of_an_index_outlive_content(void **state)
{
	const uint32_t blocks = 2 * MIB / LAYER_BLOCK_BYTES, every = 8;
	struct cache_test *test = *state;
	struct fill what = { 7, LAYER_BLOCK_BYTES, 0 };
	uint32_t index_held = 0, content_held = 0;
	const uint8_t *bytes;

	cache_renew(test, 2 * MIB);
	guard_take();
	for (uint32_t i = 0; i < blocks; i++) {
		enum block_kind kind = i < blocks / every ? BLOCK_OF_INDEX : BLOCK_OF_CONTENT;

		assert_ok(block_cache_load(test->cache, (struct block_id){ 99, i }, kind, what.size_bytes, fill, &what,
					   &bytes));
	}
	for (uint32_t i = blocks; i < blocks + blocks / 4; i++)
		assert_ok(block_cache_load(test->cache, (struct block_id){ 99, i }, BLOCK_OF_CONTENT, what.size_bytes,
					   fill, &what, &bytes));
	for (uint32_t i = 0; i < blocks / every; i++) {
		index_held += block_cache_has(test->cache, (struct block_id){ 99, i });
		content_held += block_cache_has(test->cache, (struct block_id){ 99, blocks / every + i });
	}
	guard_drop();
	assert_true(index_held > blocks / every * 9 / 10);
	assert_true(content_held < index_held / 2);
}

/* The same, at the speed of the fastest decompression: 2 GB/s. */
static int fill_slowly(void *context, uint8_t *bytes)
{
	const struct fill *what = context;
	struct timespec from, now;

	clock_gettime(CLOCK_MONOTONIC, &from);
	do {
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - from.tv_sec) * 1000000000 + now.tv_nsec - from.tv_nsec <
		 what->size_bytes / 2);
	return fill(context, bytes);
}

/* Blocks of all sizes, under a layer of their own. Returns the most that was resident meanwhile. */
static uint64_t load_many(struct cache_test *test, uint64_t count, uint64_t size_max)
{
	struct prng prng = { test_seed() };
	uint64_t resident = 0;

	for (uint64_t i = 0; i < count; i++) {
		struct fill what = { (uint8_t)i, 1 + prng_below(&prng, size_max), 0 };
		const uint8_t *bytes;

		guard_take();
		assert_ok(block_cache_load(test->cache, (struct block_id){ 99, BLOCK_DATA | i }, BLOCK_OF_CONTENT,
					   what.size_bytes, fill_slowly, &what, &bytes));
		assert_true(bytes[0] == (uint8_t)i && bytes[what.size_bytes - 1] == (uint8_t)i);
		assert_ptr_equal(block_cache_look(test->cache, (struct block_id){ 99, BLOCK_DATA | i }),
				 bytes);
		guard_drop();
		assert_true(block_cache_bytes(test->cache) <= block_cache_budget(test->cache));
		if (i % 100 == 0 && test_resident_bytes() > resident)
			resident = test_resident_bytes();
	}
	return resident;
}

static void blocks_of_any_size_keep_the_budget(void **state)
{
	struct cache_test *test = *state;

	cache_renew(test, 8 * MIB);
	load_many(test, 4000, 100 * KIB);
	load_many(test, 100, MIB + 4096);
	assert_true(block_cache_bytes(test->cache) > MIB);
}

static void what_can_not_be_filled_is_not_kept(void **state)
{
	struct cache_test *test = *state;
	struct fill what = { 1, 50000, -EBADMSG };
	struct block_id id = { 99, BLOCK_DATA };
	const uint8_t *bytes;

	guard_take();
	assert_err(block_cache_load(test->cache, id, BLOCK_OF_CONTENT, what.size_bytes, fill, &what, &bytes), -EBADMSG);
	assert_null(bytes);
	assert_false(block_cache_has(test->cache, id));
	assert_null(block_cache_look(test->cache, id));
	assert_int_equal(block_cache_bytes(test->cache), 0);
	guard_drop();
}

/* Also of blocks so large that each has a mapping of its own. */
static void what_is_held_goes_with_the_cache(void **state)
{
	struct cache_test *test = *state;
	struct fill what = { 1, 300 * KIB, 0 };
	const uint8_t *bytes;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	guard_take();
	assert_ok(block_cache_load(test->cache, (struct block_id){ 99, BLOCK_DATA }, BLOCK_OF_CONTENT, what.size_bytes, fill, &what,
				   &bytes));
	guard_drop();
	assert_int_equal(msync((void *)(uintptr_t)bytes, page, MS_ASYNC), 0);
	block_cache_free(test->cache);
	test->cache = NULL;
	assert_int_equal(msync((void *)(uintptr_t)bytes, page, MS_ASYNC), -1);
}

static void a_smaller_budget_is_kept_at_once_and_a_larger_one_used(void **state)
{
	struct cache_test *test = *state;

	get_all(test);
	assert_true(block_cache_bytes(test->cache) > 7 * MIB);
	block_cache_set_budget(test->cache, 2 * MIB);
	assert_true(block_cache_bytes(test->cache) <= 2 * MIB);
	get_all(test);
	assert_true(block_cache_bytes(test->cache) <= 2 * MIB);
	block_cache_set_budget(test->cache, 128 * MIB);
	get_all(test);
	assert_true(block_cache_bytes(test->cache) > 7 * MIB);
	/* All of it is found again. */
	flip(test, 5, 1);
	get_all(test);
}

/* 30 times the budget goes through, in mixes of sizes that change. What waits to be freed
 * depends on when the freeing thread is let run, so the limit counts without it. */
static void memory_is_given_back(void **state)
{
	struct cache_test *test = *state;
	const struct {
		uint64_t count, size_max;
	} mixes[] = { { 8000, 64 * KIB }, { 40000, 4096 }, { 8000, 200 * KIB }, { 40000, 40 * KIB } };
	const uint64_t budget = 64 * MIB, records = 4 * MIB;
	uint64_t before, most, after;

	if (TEST_TSAN || TEST_ASAN)
		skip();
	cache_renew(test, budget);
	guard_barrier();
	before = test_resident_bytes();
	for (unsigned i = 0; i < array_size(mixes); i++) {
		most = load_many(test, mixes[i].count, mixes[i].size_max) - before;
		guard_barrier();
		after = test_resident_bytes() - before;
		print_message("up to %u KiB: at most %u KiB resident, %u when all is freed, %u held\n",
			      (unsigned)(mixes[i].size_max / KIB), (unsigned)(most / KIB),
			      (unsigned)(after / KIB),
			      (unsigned)(block_cache_bytes(test->cache) / KIB));
		assert_true(after < budget / 100 * 115);
	}
	block_cache_set_budget(test->cache, 8 * MIB);
	guard_barrier();
	/* The records of the many small ones stay with malloc. */
	assert_true(test_resident_bytes() - before < 8 * MIB / 100 * 115 + records);
}

static uint64_t held_and_waiting(struct cache_test *test)
{
	return block_cache_bytes(test->cache) + block_cache_waiting_bytes(test->cache);
}

/* Let blocks go through a small cache under a guard, which is left to be dropped: nothing of them can be freed. */
static void crowd(struct cache_test *test, uint64_t bytes)
{
	const uint8_t *block;

	cache_renew(test, 2 * MIB);
	guard_take();
	for (uint32_t i = 0; held_and_waiting(test) < bytes; i++)
		assert_ok(test_blocks_get(test->blocks, test->cache, i, &block));
}

static void who_paces_finds_the_budget_kept(void **state)
{
	struct cache_test *test = *state;
	unsigned kept = 0;

	/* Not each time: where this thread or the one that frees is not let run, the wait is given up. */
	for (unsigned i = 0; i < 20; i++) {
		crowd(test, 2 * MIB + MIB / 2);
		guard_drop();
		block_cache_pace(test->cache);
		kept += held_and_waiting(test) <= 2 * MIB + MIB / 4;
	}
	assert_true(kept >= 5);
}

/* The guard is this thread's own, so waiting for it would never end. */
static void pacing_ends_though_a_guard_does_not(void **state)
{
	struct cache_test *test = *state;

	crowd(test, 6 * MIB);
	block_cache_pace(test->cache);
	assert_true(block_cache_waiting_bytes(test->cache) > 3 * MIB);
	guard_drop();
	guard_barrier();
	assert_int_equal(block_cache_waiting_bytes(test->cache), 0);
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
		cache_test(blocks_of_an_index_outlive_content),
		cache_test(however_small_the_budget_256_blocks_are_held),
		cache_test(blocks_of_any_size_keep_the_budget),
		cache_test(what_can_not_be_filled_is_not_kept),
		cache_test(what_is_held_goes_with_the_cache),
		cache_test(a_smaller_budget_is_kept_at_once_and_a_larger_one_used),
		cache_test(memory_is_given_back),
		cache_test(who_paces_finds_the_budget_kept),
		cache_test(pacing_ends_though_a_guard_does_not),
		cache_test(what_was_got_outlives_its_eviction),
		cache_test(a_block_in_use_gets_a_second_chance),
		cmocka_unit_test(freeing_nothing_is_no_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
