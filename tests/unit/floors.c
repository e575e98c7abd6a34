/* Floors: which page versions a cut killed. */
#include "floors.h"
#include "test_support.h"

enum { BLOCKS = 50 };

static void without_cuts_nothing_is_dead(void **state)
{
	struct floors floors = { 0 };

	(void)state;
	assert_int_equal(floors_at(&floors, 0).value, 0);
	assert_int_equal(floors_at(&floors, UINT64_MAX).value, 0);
	floors_free(&floors);
}

static void a_cut_counts_from_its_block_on(void **state)
{
	struct floors floors = { 0 };

	(void)state;
	assert_ok(floors_cut(&floors, 7, lsn_make(100)));
	assert_int_equal(floors_at(&floors, 6).value, 0);
	assert_int_equal(floors_at(&floors, 7).value, 100);
	assert_int_equal(floors_at(&floors, UINT64_MAX).value, 100);
	floors_free(&floors);
}

/* Beside the plain truth: each block's newest cut. */
static void cuts_pile_up_in_any_order(void **state)
{
	struct prng prng = { test_seed() };

	(void)state;
	for (unsigned round = 0; round < 500; round++) {
		struct floors floors = { 0 };
		uint64_t newest[BLOCKS] = { 0 };

		for (uint64_t lsn = 1; lsn <= 40; lsn++) {
			uint64_t block = round % 3 == 0 ? lsn : round % 3 == 1 ? BLOCKS - lsn :
					 prng_below(&prng, BLOCKS);

			assert_ok(floors_cut(&floors, block, lsn_make(lsn)));
			for (uint64_t b = block; b < BLOCKS; b++)
				newest[b] = lsn;
			for (uint64_t b = 0; b < BLOCKS; b++)
				assert_int_equal(floors_at(&floors, b).value, newest[b]);
		}
		floors_free(&floors);
	}
}

/* A log that is cut to nothing again and again must not grow a list. */
static void repeated_cuts_at_one_block_are_one_entry(void **state)
{
	struct floors floors = { 0 };

	(void)state;
	for (uint64_t lsn = 1; lsn <= 1000; lsn++)
		assert_ok(floors_cut(&floors, 3, lsn_make(lsn)));
	assert_int_equal(floors.count, 1);
	assert_ok(floors_cut(&floors, 0, lsn_make(1001)));
	assert_int_equal(floors.count, 1);
	assert_int_equal(floors_at(&floors, 3).value, 1001);
	floors_free(&floors);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_cuts_nothing_is_dead),
		cmocka_unit_test(a_cut_counts_from_its_block_on),
		cmocka_unit_test(cuts_pile_up_in_any_order),
		cmocka_unit_test(repeated_cuts_at_one_block_are_one_entry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
