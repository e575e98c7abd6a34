/* Page editor: a page costs what changed in it, and every LSN still shows the whole. */
#include "test_shadow.h"

enum { PAGE = STORE_PAGE_SIZE_DEFAULT, PAGES = 8, SMALL_COST = 300 };

/* How much history the write takes. */
static uint64_t cost_of(struct store *store, uint64_t ino, uint64_t offset, const void *bytes,
			size_t size)
{
	uint64_t before = newest(store).value;

	write_bytes(store, ino, offset, bytes, size);
	return newest(store).value - before;
}

/* A file of PAGES pages of noise, and the noise. */
static uint64_t noisy_file(struct store *store, uint8_t *bytes)
{
	uint64_t ino = make_file(store, TREE_ROOT_INO, "noise");

	seed_fill(1, bytes, PAGES * PAGE);
	write_bytes(store, ino, 0, bytes, PAGES * PAGE);
	return ino;
}

static void a_page_costs_what_changed_in_it(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[PAGES * PAGE];
	uint64_t ino = noisy_file(f->store, bytes);
	struct lsn before = newest(f->store);

	memset(bytes + 3 * PAGE + 100, 'x', 100);
	assert_in_range(cost_of(f->store, ino, 3 * PAGE, bytes + 3 * PAGE, PAGE), 100, SMALL_COST);
	assert_bytes(f->store, ino, LSN_HEAD, 0, bytes, sizeof(bytes));
	seed_fill(1, bytes, sizeof(bytes));
	assert_bytes(f->store, ino, before, 0, bytes, sizeof(bytes));
}

/* Many changes over a page: now a patch, now an image, always the same bytes. */
static void a_page_changed_for_ever_stays_cheap_and_right(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[PAGES * PAGE];
	uint64_t ino = noisy_file(f->store, bytes), start;
	struct prng prng = { test_seed() };

	start = newest(f->store).value;
	for (unsigned i = 0; i < 2000; i++) {
		size_t block = prng_below(&prng, PAGES), at = prng_below(&prng, PAGE - 100);

		prng_fill(&prng, bytes + block * PAGE + at, 100);
		write_bytes(f->store, ino, block * PAGE, bytes + block * PAGE, PAGE);
		if (i % 100 == 0)
			fixture_note(f);
		if (i % 300 == 299)
			fixture_freeze(f);
	}
	assert_in_range(newest(f->store).value - start, 2000 * 100, 2000 * 2 * SMALL_COST);
	assert_bytes(f->store, ino, LSN_HEAD, 0, bytes, sizeof(bytes));
	fixture_prove(f);
}

static void what_is_written_again_unchanged_costs_its_times(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[PAGES * PAGE];
	uint64_t ino = noisy_file(f->store, bytes);
	struct tree_attr before = attr_now(f->store, ino), after;

	clock_tick();
	assert_in_range(cost_of(f->store, ino, 0, bytes, sizeof(bytes)), 1, SMALL_COST);
	assert_in_range(cost_of(f->store, ino, PAGE + 7, bytes + PAGE + 7, 1000), 1,
			1000 + SMALL_COST);
	after = attr_now(f->store, ino);
	assert_true(time_before(before.mtime, after.mtime));
	assert_bytes(f->store, ino, LSN_HEAD, 0, bytes, sizeof(bytes));
	fixture_note(f);
	fixture_prove(f);
}

static void the_version_before_is_found_in_a_sealed_layer_too(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[PAGES * PAGE];
	uint64_t ino = noisy_file(f->store, bytes);

	fixture_freeze(f);
	fixture_reopen(f);              /* nothing is recent now */
	bytes[5 * PAGE] ^= 1;
	assert_in_range(cost_of(f->store, ino, 5 * PAGE, bytes + 5 * PAGE, PAGE), 1, SMALL_COST);
	assert_bytes(f->store, ino, LSN_HEAD, 0, bytes, sizeof(bytes));
}

static void zeros_take_no_room(void **state)
{
	static const uint8_t zeros[PAGES * PAGE];
	struct fixture *f = *state;
	uint8_t bytes[PAGES * PAGE];
	uint64_t hole = make_file(f->store, TREE_ROOT_INO, "hole"), ino;

	assert_in_range(cost_of(f->store, hole, 0, zeros, sizeof(zeros)), 1, SMALL_COST);
	assert_int_equal(attr_now(f->store, hole).size_bytes, sizeof(zeros));
	assert_zeros(f->store, hole, LSN_HEAD, 0, sizeof(zeros));
	ino = noisy_file(f->store, bytes);
	assert_in_range(cost_of(f->store, ino, 0, zeros, sizeof(zeros)), 1,
			SMALL_COST + PAGES * 40);
	assert_zeros(f->store, ino, LSN_HEAD, 0, sizeof(zeros));
	assert_in_range(cost_of(f->store, ino, 3, zeros, 4000), 1, SMALL_COST);
	fixture_note(f);
	fixture_prove(f);
}

static void zeros_at_a_pages_end_take_no_room(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "file");
	uint8_t bytes[PAGE] = "short";

	assert_in_range(cost_of(f->store, ino, 0, bytes, sizeof(bytes)), 5, SMALL_COST);
	assert_bytes(f->store, ino, LSN_HEAD, 0, bytes, sizeof(bytes));
	/* A page that shrinks to little is a short image too, whatever it was. */
	seed_fill(1, bytes, sizeof(bytes));
	write_bytes(f->store, ino, 0, bytes, sizeof(bytes));
	memset(bytes + 10, 0, sizeof(bytes) - 10);
	assert_in_range(cost_of(f->store, ino, 0, bytes, sizeof(bytes)), 10, SMALL_COST);
	assert_bytes(f->store, ino, LSN_HEAD, 0, bytes, sizeof(bytes));
	fixture_note(f);
	fixture_prove(f);
}

/* A writer of other bytes is soon left alone; one that comes back to small changes
 * is noticed again. */
static void small_changes_are_noticed_after_large_ones(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[PAGES * PAGE];
	uint64_t ino = noisy_file(f->store, bytes), cost = 0;

	for (unsigned i = 0; i < 20; i++) {
		seed_fill(100 + i, bytes, sizeof(bytes));
		assert_in_range(cost_of(f->store, ino, 0, bytes, sizeof(bytes)), sizeof(bytes),
				sizeof(bytes) + PAGES * 100);
	}
	for (unsigned i = 0; i < 50; i++) {
		bytes[i % PAGES * PAGE + i] ^= 1;
		cost = cost_of(f->store, ino, i % PAGES * PAGE, bytes + i % PAGES * PAGE, PAGE);
	}
	assert_in_range(cost, 1, SMALL_COST);
	assert_bytes(f->store, ino, LSN_HEAD, 0, bytes, sizeof(bytes));
	fixture_note(f);
	fixture_prove(f);
}

/* What was cut off is no version to compare with: the bytes are stored again. */
static void a_page_cut_off_and_written_again_is_there(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[PAGES * PAGE];
	uint64_t ino = noisy_file(f->store, bytes);

	set_size(f->store, ino, 0);
	write_bytes(f->store, ino, PAGE, bytes + PAGE, PAGE);
	assert_zeros(f->store, ino, LSN_HEAD, 0, PAGE);
	assert_bytes(f->store, ino, LSN_HEAD, PAGE, bytes + PAGE, PAGE);
	fixture_note(f);
	fixture_prove(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fixture_test(a_page_costs_what_changed_in_it),
		fixture_test(a_page_changed_for_ever_stays_cheap_and_right),
		fixture_test(what_is_written_again_unchanged_costs_its_times),
		fixture_test(the_version_before_is_found_in_a_sealed_layer_too),
		fixture_test(zeros_take_no_room),
		fixture_test(zeros_at_a_pages_end_take_no_room),
		fixture_test(small_changes_are_noticed_after_large_ones),
		fixture_test(a_page_cut_off_and_written_again_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
