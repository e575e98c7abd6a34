#include "pins.h"

#include <errno.h>

#include "test_support.h"

static void an_lsn_is_kept_above_the_horizon_or_by_a_pin(void **state)
{
	struct pins pins;

	pins_init(&pins);
	pins_raise(&pins, lsn_make(100));
	assert_ok(pins_add(&pins, lsn_make(150)));
	assert_ok(pins_add(&pins, lsn_make(150)));
	assert_ok(pins_add(&pins, lsn_make(120)));
	assert_err(pins_add(&pins, lsn_make(99)), -ENOENT);
	pins_raise(&pins, lsn_make(200));
	pins_raise(&pins, lsn_make(160));       /* never back */
	assert_true(pins_is_kept(&pins, lsn_make(200)));
	assert_true(pins_is_kept(&pins, lsn_make(150)));
	assert_true(pins_is_kept(&pins, lsn_make(120)));
	assert_false(pins_is_kept(&pins, lsn_make(149)));
	assert_false(pins_is_kept(&pins, lsn_make(199)));
	pins_drop(&pins, lsn_make(150));
	assert_true(pins_is_kept(&pins, lsn_make(150)));
	pins_drop(&pins, lsn_make(150));
	assert_false(pins_is_kept(&pins, lsn_make(150)));
	/* What is held can be held again, though the horizon has passed it. */
	assert_ok(pins_add(&pins, lsn_make(120)));
	pins_drop(&pins, lsn_make(120));
	pins_drop(&pins, lsn_make(120));
	assert_err(pins_add(&pins, lsn_make(120)), -ENOENT);
	pins_destroy(&pins);
}

static void points_are_the_pins_below_and_the_horizon(void **state)
{
	struct retention retention;
	struct pins pins;

	pins_init(&pins);
	for (uint64_t lsn = 50; lsn > 0; lsn -= 10)
		assert_ok(pins_add(&pins, lsn_make(lsn)));
	pins_raise(&pins, lsn_make(40));
	assert_ok(retention_take(&retention, &pins));
	assert_int_equal(retention.count, 4);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(retention.points[i].value, 10 * (i + 1));
	assert_int_equal(retention_horizon(&retention).value, 40);
	assert_int_equal(retention_first(&retention, lsn_make(1)), 0);
	assert_int_equal(retention_first(&retention, lsn_make(20)), 1);
	assert_int_equal(retention_first(&retention, lsn_make(21)), 2);
	assert_int_equal(retention_first(&retention, lsn_make(41)), 4);
	retention_free(&retention);
	pins_destroy(&pins);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_lsn_is_kept_above_the_horizon_or_by_a_pin),
		cmocka_unit_test(points_are_the_pins_below_and_the_horizon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
