/* Lend: memory that writers do not use is the block cache's, until they do. */
#include <time.h>

#include "test_fixture.h"

#define MEMORY_BYTES (64 * MIB)
#define SHARE_BYTES (MEMORY_BYTES / 4)          /* the cache's own */
#define WRITE_BYTES (64 * KIB)
#define WAIT_MS 20000u                          /* far beyond the second that it takes */

static uint64_t cache_budget(struct store *store)
{
	struct store_usage usage;

	store_usage_get(store, &usage);
	assert_true(usage.cache_budget_bytes <= SHARE_BYTES + MEMORY_BYTES / 2 * 15 / 16 + MEMORY_BYTES / 16);
	return usage.cache_budget_bytes;
}

static void wait_for_loan(struct store *store)
{
	for (unsigned ms = 0; cache_budget(store) == SHARE_BYTES; ms += 10) {
		assert_true(ms < WAIT_MS);
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
}

static struct fixture *fixture_of(uint64_t memory_bytes, uint64_t cache_bytes)
{
	const struct store_options options = { .memory_bytes = memory_bytes, .cache_size_bytes = cache_bytes };
	struct fixture *fixture = fixture_new(NULL, NULL);

	/* The fixture's own layers and cache are small. */
	fixture_close(fixture);
	fixture->options = options;
	fixture_open(fixture);
	return fixture;
}

static void a_store_that_is_only_read_lends_it_and_one_that_writes_has_it_back(void **state)
{
	struct fixture *fixture = fixture_of(MEMORY_BYTES, 0);
	uint64_t ino = make_file(fixture->store, TREE_ROOT_INO, "file");
	uint8_t *bytes = calloc(1, WRITE_BYTES);

	(void)state;
	assert_non_null(bytes);
	for (unsigned round = 0; round < 2; round++) {
		bool given_back = false;

		wait_for_loan(fixture->store);
		/* A little changes nothing. */
		write_text(fixture->store, ino, "a little");
		assert_true(cache_budget(fixture->store) > SHARE_BYTES);
		/* Twice as much as there is memory for. */
		for (unsigned i = 0; i < 2 * MEMORY_BYTES / WRITE_BYTES; i++) {
			memset(bytes, (int)(1 + (i + round) % 250), WRITE_BYTES);
			assert_ok(tree_write(fixture->store, ino, (uint64_t)i * WRITE_BYTES, bytes, WRITE_BYTES,
					     false));
			given_back |= cache_budget(fixture->store) == SHARE_BYTES;
		}
		assert_true(given_back);
	}
	free(bytes);
	fixture_free(fixture);
}

static void a_cache_whose_size_was_said_has_that(void **state)
{
	struct fixture *fixture = fixture_of(MEMORY_BYTES, 8 * MIB);

	(void)state;
	for (unsigned i = 0; i < 25; i++) {
		assert_int_equal(cache_budget(fixture->store), 8 * MIB);
		nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	}
	fixture_free(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_store_that_is_only_read_lends_it_and_one_that_writes_has_it_back),
		cmocka_unit_test(a_cache_whose_size_was_said_has_that),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
