/* Floors: which page versions a cut killed. */
#include "floors.h"

#include "codec.h"
#include "test_support.h"

enum { BLOCKS = 50 };

struct entry {
	uint64_t block, lsn;
};

static int decode(const struct entry *entries, uint32_t count, struct floors *floors)
{
	uint8_t bytes[BLOCKS * FLOOR_BYTES] = { 0 };
	struct put_cursor c = put_cursor(bytes, sizeof(bytes));

	for (uint32_t i = 0; i < count; i++) {
		put_u64(&c, entries[i].block);
		put_u64(&c, entries[i].lsn);
	}
	return floors_decode(bytes, count * FLOOR_BYTES, floors);
}

static void without_cuts_nothing_is_dead(void **state)
{
	struct floors floors = { 0 };

	(void)state;
	assert_int_equal(floors_at(&floors, 0).value, 0);
	assert_int_equal(floors_at(&floors, UINT64_MAX).value, 0);
	assert_ok(decode(NULL, 0, &floors));
	assert_int_equal(floors_at(&floors, UINT64_MAX).value, 0);
	floors_free(&floors);
}

static void a_cut_counts_from_its_block_on(void **state)
{
	const struct entry cuts[] = { { 7, 100 }, { 9, 100 }, { 30, 400 } };
	struct floors floors;

	(void)state;
	assert_ok(decode(cuts, array_size(cuts), &floors));
	assert_int_equal(floors_at(&floors, 6).value, 0);
	assert_int_equal(floors_at(&floors, 7).value, 100);
	assert_int_equal(floors_at(&floors, 29).value, 100);
	assert_int_equal(floors_at(&floors, 30).value, 400);
	assert_int_equal(floors_at(&floors, UINT64_MAX).value, 400);
	floors_free(&floors);
}

static void what_does_not_ascend_is_no_list(void **state)
{
	const struct entry same_block[] = { { 7, 100 }, { 7, 200 } };
	const struct entry older_above[] = { { 7, 100 }, { 8, 99 } };
	const struct entry beyond[] = { { 7, LSN_LIMIT } };
	struct floors floors;

	(void)state;
	assert_err(decode(same_block, 2, &floors), -EUCLEAN);
	assert_err(decode(older_above, 2, &floors), -EUCLEAN);
	assert_err(decode(beyond, 1, &floors), -EUCLEAN);
	assert_err(floors_decode((const uint8_t *)"seventeen bytes..", 17, &floors), -EUCLEAN);
	assert_null(floors.entries);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_cuts_nothing_is_dead),
		cmocka_unit_test(a_cut_counts_from_its_block_on),
		cmocka_unit_test(what_does_not_ascend_is_no_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
