/*
 * The window by time: what it keeps is there for as long as it says, whatever is merged meanwhile.
 */
#include "test_fixture.h"

#define HOUR_NS (UINT64_C(3600) * 1000000000)

static const struct store_mkfs_options mkfs = { .page_size_bytes = 4096 };

/* 512 KiB that no compressor makes less of. */
static void write_much(struct store *store, uint64_t ino, uint64_t seed)
{
	static uint8_t bytes[512 * KIB];

	seed_fill(seed, bytes, sizeof(bytes));
	write_bytes(store, ino, 0, bytes, sizeof(bytes));
}

static struct lsn oldest(struct store *store)
{
	struct lsn oldest, newest;

	store_window(store, &oldest, &newest);
	return oldest;
}

static uint64_t piece_count(struct store *store)
{
	struct store_usage usage;

	store_usage_get(store, &usage);
	return usage.piece_count;
}

/* The times lie at the front of a run, so of one that is being merged they are in another from the first piece on. */
static void what_is_younger_stays_while_runs_of_tables_are_merged(void **state)
{
	const struct store_options options = { .piece_bytes = 128 * KIB };
	struct fixture *fixture = fixture_new(&mkfs, &options);
	struct store *store = fixture->store;
	uint64_t ino = make_file(store, TREE_ROOT_INO, "f"), pieces;
	struct lsn first;

	(void)state;
	assert_ok(store_window_set(store, &(struct store_window){ .time_ns = HOUR_NS }));
	first = oldest(store);
	for (unsigned i = 0; i < 2; i++) {
		write_much(store, ino, i);
		fixture_note(fixture);
		pieces = piece_count(store);
		assert_ok(store_compact(store));
		assert_true(piece_count(store) > pieces + 2);
		assert_int_equal(oldest(store).value, first.value);
	}
	fixture_prove(fixture);
	fixture_free(fixture);
}

/* As nanoseconds 300 years are more than 63 bits can say. */
static void a_window_longer_than_time_keeps_everything(void **state)
{
	static const uint64_t times_ns[] = { INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX - HOUR_NS, UINT64_MAX };
	struct fixture *fixture = fixture_new(&mkfs, NULL);
	struct store *store = fixture->store;
	uint64_t ino = make_file(store, TREE_ROOT_INO, "f");
	struct lsn first = oldest(store);

	(void)state;
	write_text(store, ino, "kept");
	fixture_note(fixture);
	assert_ok(store_compact(store));
	for (unsigned i = 0; i < array_size(times_ns); i++) {
		assert_ok(store_window_set(store, &(struct store_window){ .time_ns = times_ns[i] }));
		assert_int_equal(oldest(store).value, first.value);
	}
	fixture_prove(fixture);
	fixture_free(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_younger_stays_while_runs_of_tables_are_merged),
		cmocka_unit_test(a_window_longer_than_time_keeps_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
