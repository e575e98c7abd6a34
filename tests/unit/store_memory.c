/*
 * Memory: a store that was given a budget keeps this process within it and a quarter more, which is the
 * program's own and what no budget counts, whatever is written and read, and by however many.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "test_fixture.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#define BUDGET_BYTES (256 * MIB)
#define LIMIT_BYTES (320 * MIB)
#define PAGE_BYTES STORE_PAGE_SIZE_DEFAULT
#define PAGES 32768u
#define WRITE_BYTES MIB
#define UPDATES 150000u
#define UPDATE_BYTES 96u
#define UPDATES_A_SYNC 1000u
#define READS 15000u
#define READERS 5u
#define STREAM_EVERY 16u                /* one read in so many is of a stretch */
#define STREAM_BYTES (256u << 10)

struct memory_test {
	struct fixture *fixture;
	uint64_t ino;
	struct lsn filled;              /* from here on every page is there */
	_Atomic uint64_t most_bytes;    /* VmRSS, of all samples */
};

static void sample(struct memory_test *test)
{
	FILE *file = fopen("/proc/self/statm", "re");
	unsigned long pages = 0;
	uint64_t bytes, most = atomic_load(&test->most_bytes);

	require(file && fscanf(file, "%*u %lu", &pages) == 1);
	fclose(file);
	bytes = (uint64_t)pages * 4096;
	while (bytes > most && !atomic_compare_exchange_weak(&test->most_bytes, &most, bytes))
		;
}

/* The first eight bytes of a page say which it is; updates lie behind them. */
static void fill(struct memory_test *test, struct prng *prng)
{
	uint8_t *bytes = malloc(WRITE_BYTES);

	assert_non_null(bytes);
	for (uint64_t page = 0; page < PAGES;) {
		uint64_t offset = page * PAGE_BYTES;

		for (uint64_t at = 0; at < WRITE_BYTES; at += PAGE_BYTES, page++) {
			for (uint64_t i = 8; i < PAGE_BYTES; i += 8) {
				uint64_t word = prng_next(prng);

				memcpy(bytes + at + i, &word, 8);
			}
			memcpy(bytes + at, &page, 8);
		}
		assert_ok(tree_write(test->fixture->store, test->ino, offset, bytes, WRITE_BYTES, false));
		sample(test);
	}
	free(bytes);
	assert_ok(store_sync(test->fixture->store, &test->filled));
}

static void update(struct memory_test *test, struct prng *prng)
{
	uint8_t bytes[UPDATE_BYTES];

	for (uint32_t i = 0; i < UPDATES; i++) {
		uint64_t page = prng_next(prng) % PAGES;
		uint64_t within = 8 + prng_next(prng) % (PAGE_BYTES - UPDATE_BYTES - 8);

		memset(bytes, (int)i, sizeof(bytes));
		assert_ok(tree_write(test->fixture->store, test->ino, page * PAGE_BYTES + within, bytes,
				     sizeof(bytes), false));
		if (i % UPDATES_A_SYNC == 0) {
			assert_ok(store_sync(test->fixture->store, NULL));
			sample(test);
		}
	}
}

static void read_some(struct memory_test *test, struct prng *prng, uint32_t count)
{
	uint8_t *bytes = malloc(STREAM_BYTES);
	struct lsn oldest, newest;

	require(bytes != NULL);
	store_window(test->fixture->store, &oldest, &newest);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t span = newest.value - test->filled.value;
		struct lsn at = lsn_make(test->filled.value + prng_next(prng) % (span + 1));
		size_t size = i % STREAM_EVERY ? PAGE_BYTES : STREAM_BYTES, got;
		uint64_t page = prng_next(prng) % (PAGES - STREAM_BYTES / PAGE_BYTES), found;

		require(tree_read(test->fixture->store, test->ino, at, page * PAGE_BYTES, bytes, size,
				  &got) == 0 && got == size);
		memcpy(&found, bytes, sizeof(found));
		require(found == page);
		if (i % 256 == 0)
			sample(test);
	}
	free(bytes);
}

struct reader {
	struct memory_test *test;
	struct prng prng;
	pthread_t thread;
};

static void *reader_main(void *context)
{
	struct reader *reader = context;

	read_some(reader->test, &reader->prng, READS);
	return NULL;
}

static void read_by_many(struct memory_test *test)
{
	struct reader readers[READERS];

	for (unsigned i = 0; i < READERS; i++) {
		readers[i] = (struct reader){ test, { test_seed() + i + 1 }, 0 };
		assert_int_equal(pthread_create(&readers[i].thread, NULL, reader_main, &readers[i]), 0);
	}
	for (unsigned i = 0; i < READERS; i++)
		assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
}

static void check_and_say(struct memory_test *test, const char *what)
{
	struct store_usage usage;

	store_usage_get(test->fixture->store, &usage);
	assert_int_equal(usage.memory_bytes, BUDGET_BYTES);
	assert_true(usage.cache_bytes <= usage.cache_budget_bytes);
	print_message("%s: %llu MiB at most; cache %llu, views %llu\n", what,
		      (unsigned long long)(test->most_bytes / MIB),
		      (unsigned long long)(usage.cache_bytes / MIB),
		      (unsigned long long)(usage.view_bytes / MIB));
	assert_true(test->most_bytes <= LIMIT_BYTES);
}

static void a_budget_of_256_mib_is_kept(void **state)
{
	const struct store_options options = { .memory_bytes = BUDGET_BYTES };
	struct memory_test test = { 0 };
	struct prng prng = { test_seed() };

	(void)state;
#ifdef SANITIZED
	skip();
#endif
	test.fixture = fixture_new(NULL, NULL);
	/* The fixture's own layers are small. */
	fixture_close(test.fixture);
	test.fixture->options = options;
	fixture_open(test.fixture);
	test.ino = make_file(test.fixture->store, TREE_ROOT_INO, "file");
	fill(&test, &prng);
	update(&test, &prng);
	check_and_say(&test, "writing");
	read_by_many(&test);
	check_and_say(&test, "reading what was written");
	assert_ok(store_compact(test.fixture->store));
	sample(&test);
	check_and_say(&test, "compacting");
	read_by_many(&test);
	check_and_say(&test, "reading what was compacted");
	fixture_free(test.fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_budget_of_256_mib_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
