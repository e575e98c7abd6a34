/* Patch: what differs between two values, and only that. */
#include "codec.h"
#include "patch.h"
#include "test_support.h"

enum { SIZE = 4096 };

/* Diff, apply, compare. Returns the payload's size. */
static size_t assert_round_trip(const uint8_t *before, const uint8_t *after)
{
	uint8_t payload[2 * SIZE], value[SIZE];
	size_t used = patch_diff(before, after, SIZE, 0, payload, sizeof(payload));

	assert_true(used > 0 && used <= sizeof(payload));
	memcpy(value, before, SIZE);
	assert_ok(patch_apply(payload, used, value, SIZE));
	assert_memory_equal(value, after, SIZE);
	return used;
}

static void one_change_costs_about_itself(void **state)
{
	uint8_t before[SIZE], after[SIZE];

	(void)state;
	for (unsigned at = 0; at < SIZE; at += 500) {
		for (unsigned length = 1; at + length <= SIZE; length = length * 3 + 1) {
			seed_fill(1, before, SIZE);
			memcpy(after, before, SIZE);
			for (unsigned i = at; i < at + length; i++)
				after[i] = before[i] + 1 + i % 100;
			assert_true(assert_round_trip(before, after) <= length + 6);
		}
	}
}

static void a_value_that_did_not_change_makes_a_patch_that_changes_nothing(void **state)
{
	uint8_t value[SIZE];

	(void)state;
	seed_fill(2, value, SIZE);
	assert_true(assert_round_trip(value, value) <= 8);
	memset(value, 0, SIZE);
	assert_true(assert_round_trip(value, value) <= 8);
}

static void what_becomes_zeros_takes_no_bytes(void **state)
{
	uint8_t before[SIZE], after[SIZE];

	(void)state;
	seed_fill(3, before, SIZE);
	memset(after, 0, SIZE);
	assert_round_trip(before, after);
	memcpy(after, before, SIZE);
	memset(after + 100, 0, 3000);
	assert_round_trip(before, after);
}

static void any_two_values_come_back(void **state)
{
	struct prng prng = { test_seed() };
	uint8_t before[SIZE], after[SIZE];

	(void)state;
	for (unsigned i = 0; i < 2000; i++) {
		prng_fill(&prng, before, SIZE);
		memcpy(after, before, SIZE);
		for (uint64_t n = prng_below(&prng, 20); n; n--) {
			size_t at = prng_below(&prng, SIZE);
			size_t length = prng_below(&prng, prng_below(&prng, 2) ? 8 : SIZE);

			if (length > SIZE - at)
				length = SIZE - at;
			if (prng_below(&prng, 3))
				prng_fill(&prng, after + at, length);
			else
				memset(after + at, 0, length);
		}
		assert_round_trip(before, after);
	}
}

static void a_patch_over_its_limit_is_none(void **state)
{
	uint8_t before[SIZE], after[SIZE], payload[2 * SIZE];

	(void)state;
	seed_fill(4, before, SIZE);
	seed_fill(5, after, SIZE);
	memset(payload, 0x5a, sizeof(payload));
	for (size_t limit = 0; limit < SIZE; limit += 97) {
		assert_int_equal(patch_diff(before, after, SIZE, 0, payload, limit), 0);
		assert_int_equal(payload[limit], 0x5a);         /* not a byte beyond */
	}
	size_t used = patch_diff(before, after, SIZE, 0, payload, sizeof(payload));
	assert_int_equal(patch_diff(before, after, SIZE, 0, payload, used), used);
	assert_int_equal(patch_diff(before, after, SIZE, 0, payload, used - 1), 0);
}

static void ranges_written_by_hand_apply(void **state)
{
	uint8_t payload[64], value[100];
	struct put_cursor put = put_cursor(payload, sizeof(payload));
	uint8_t head[PATCH_RANGE_HEAD_MAX];

	(void)state;
	memset(value, 'x', sizeof(value));
	put_bytes(&put, head, patch_range_head(head, 0, 3, false));
	put_bytes(&put, "abc", 3);
	put_bytes(&put, head, patch_range_head(head, 10, 80, true));
	put_bytes(&put, head, patch_range_head(head, 0, 7, false));
	put_bytes(&put, "defghij", 7);
	assert_false(put.bad);
	assert_ok(patch_apply(payload, put.at - payload, value, sizeof(value)));
	assert_memory_equal(value, "abcxxxxxxxxxx", 13);
	for (unsigned i = 13; i < 93; i++)
		assert_int_equal(value[i], 0);
	assert_memory_equal(value + 93, "defghij", 7);
}

static void assert_no_patch(const uint8_t *payload, size_t size_bytes)
{
	uint8_t value[110];

	memset(value, 'x', sizeof(value));
	assert_err(patch_apply(payload, size_bytes, value, 100), -EUCLEAN);
	for (unsigned i = 100; i < sizeof(value); i++)
		assert_int_equal(value[i], 'x');
}

static void ranges_that_leave_the_value_are_refused(void **state)
{
	static const struct {
		size_t gap, length;
		bool zeros;
	} bad[] = {
		{ 101, 1, true }, { 100, 1, true }, { 99, 2, true }, { 0, 101, true },
		{ SIZE_MAX, 1, true }, { 1, SIZE_MAX >> 1, true }, { 0, 5, false },
	};
	uint8_t head[PATCH_RANGE_HEAD_MAX];

	(void)state;
	/* The last: five bytes are promised and none are there. */
	for (unsigned i = 0; i < array_size(bad); i++)
		assert_no_patch(head, patch_range_head(head, bad[i].gap, bad[i].length,
						       bad[i].zeros));
	assert_no_patch((const uint8_t[]){ 0x80 }, 1);
	assert_no_patch((const uint8_t[]){ 0x00 }, 1);
}

/* Whatever the payload: applied or refused, and not a byte outside the value. */
static void random_payloads_do_no_harm(void **state)
{
	struct prng prng = { test_seed() };
	uint8_t payload[40], value[120];
	unsigned refused = 0;

	(void)state;
	for (unsigned i = 0; i < 200000; i++) {
		size_t size = prng_below(&prng, sizeof(payload));

		prng_fill(&prng, payload, size);
		for (size_t b = 0; b < size; b++)
			payload[b] &= prng_below(&prng, 2) ? 0xff : 0x1f;
		memset(value + 100, 'x', 20);
		int err = patch_apply(payload, size, value, 100);
		assert_true(err == 0 || err == -EUCLEAN);
		refused += err != 0;
		for (unsigned b = 100; b < 120; b++)
			assert_int_equal(value[b], 'x');
	}
	assert_true(refused > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_change_costs_about_itself),
		cmocka_unit_test(a_value_that_did_not_change_makes_a_patch_that_changes_nothing),
		cmocka_unit_test(what_becomes_zeros_takes_no_bytes),
		cmocka_unit_test(any_two_values_come_back),
		cmocka_unit_test(a_patch_over_its_limit_is_none),
		cmocka_unit_test(ranges_written_by_hand_apply),
		cmocka_unit_test(ranges_that_leave_the_value_are_refused),
		cmocka_unit_test(random_payloads_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
