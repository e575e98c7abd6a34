/*
 * A check of an open store beside writers, freezing, syncs, compaction and garbage collection finds nothing,
 * again and again.
 */
#include "test_check.h"
#include "test_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define WRITERS 3u

static atomic_bool stop;
static atomic_ulong changes;

struct writer {
	struct store *store;
	uint64_t dir;
	unsigned number;
};

/* Files come, grow, are cut, renamed and go. */
static void *write_main(void *context)
{
	struct writer *writer = context;
	const struct tree_new file = { .mode = S_IFREG | 0644 };
	struct prng prng = { writer->number };
	uint8_t bytes[30000];
	struct tree_attr attr, to;

	prng_fill(&prng, bytes, sizeof(bytes));
	for (unsigned i = 0; !atomic_load(&stop); i++) {
		char name[32], other[32];

		snprintf(name, sizeof(name), "f%u", (unsigned)prng_below(&prng, 10));
		snprintf(other, sizeof(other), "f%u", (unsigned)prng_below(&prng, 10));
		if (tree_create(writer->store, writer->dir, name, &file, &attr) == -EEXIST)
			require(tree_lookup(writer->store, writer->dir, name, LSN_HEAD, &attr) == 0);
		require(tree_write(writer->store, attr.ino, prng_below(&prng, 40000), bytes,
				   1 + prng_below(&prng, sizeof(bytes) - 1), false) == 0);
		if (i % 5 == 0) {
			to.size_bytes = prng_below(&prng, 40000);
			require(tree_setattr(writer->store, attr.ino, TREE_SET_SIZE, &to, &attr) == 0);
		}
		if (i % 7 == 0)
			require(tree_rename(writer->store, writer->dir, name, writer->dir, other,
					    0) == 0);
		if (i % 11 == 0)
			(void)tree_unlink(writer->store, writer->dir, other);
		atomic_fetch_add(&changes, 1);
		usleep(500);
	}
	return NULL;
}

static void *freeze_main(void *context)
{
	struct fixture *fixture = context;

	while (!atomic_load(&stop)) {
		require(store_freeze(fixture->store) == 0);
		require(store_sync(fixture->store, NULL) == 0);
		/* Each freeze is a layer more to be looked at. */
		usleep(100000);
	}
	return NULL;
}

static uint64_t pieces(struct store *store)
{
	struct store_usage usage;

	store_usage_get(store, &usage);
	return usage.piece_count;
}

static void a_check_beside_writers_finds_nothing(void **state)
{
	const struct store_options options = { .layer_size_bytes = 4 * MIB, .fanin_0 = 3, .fanin = 2,
					       .table_size_bytes = 256 * KIB, .piece_bytes = 256 * KIB };
	struct fixture *fixture = fixture_new(NULL, &options);
	const struct store_window window = { .bytes = 2 * MIB };
	struct store_usage usage;
	pthread_t threads[WRITERS + 1];
	struct writer writers[WRITERS];
	uint64_t checks = test_count("VARVE_TEST_CHECKS", TEST_TSAN ? 4 : 15);
	char name[16];

	(void)state;
	assert_ok(store_window_set(fixture->store, &window));
	for (unsigned i = 0; i < WRITERS; i++) {
		snprintf(name, sizeof(name), "dir%u", i);
		writers[i] = (struct writer){ fixture->store,
					      make_dir(fixture->store, TREE_ROOT_INO, name), i };
		require(pthread_create(&threads[i], NULL, write_main, &writers[i]) == 0);
	}
	require(pthread_create(&threads[WRITERS], NULL, freeze_main, fixture) == 0);
	/* Until pieces of merges were replaced meanwhile, however fast the checks go. */
	for (uint64_t i = 0; i < checks || !pieces(fixture->store); i++) {
		struct check_run *run = check_run_running(fixture->store);

		if (run->err || run->count) {
			atomic_store(&stop, true);
			check_run_print(run);
		}
		assert_int_equal(run->err, 0);
		assert_int_equal(run->count, 0);
		free(run);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i <= WRITERS; i++)
		pthread_join(threads[i], NULL);
	store_usage_get(fixture->store, &usage);
	print_message("%llu checks beside %lu changes and %llu pieces of merges\n",
		      (unsigned long long)checks, atomic_load(&changes),
		      (unsigned long long)usage.piece_count);
	assert_true(usage.piece_count > 0);
	assert_true(atomic_load(&changes) > checks);
	fixture_close(fixture);
	assert_clean(fixture->path);
	fixture_free(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_check_beside_writers_finds_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
