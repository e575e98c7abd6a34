/* Memory plan: the shares of any budget fit into it, and what was asked for is taken as it is. */
#include "layer_file.h"
#include "memory_plan.h"
#include "test_support.h"

static uint64_t layers_bytes(const struct memory_plan *plan)
{
	/* Each takes its file, while that is not synced, and about as much for its index. */
	return (plan->frozen_max + UINT64_C(1)) * 2 * plan->layer_bytes;
}

static void the_shares_fit_into_any_budget(void **state)
{
	(void)state;
	for (uint64_t memory = MEMORY_MIN; memory <= UINT64_C(64) << 30; memory += memory / 7) {
		struct memory_plan plan = memory_plan_make(memory, 0, 0);

		assert_int_equal(plan.memory_bytes, memory);
		assert_true(layers_bytes(&plan) <= plan.layers_bytes && plan.layers_bytes <= memory / 2);
		assert_true(plan.layer_bytes >= LAYER_SIZE_MIN && plan.layer_bytes % 4096 == 0);
		assert_true(plan.frozen_max >= 1 && plan.frozen_max <= FROZEN_MAX);
		assert_true(layers_bytes(&plan) + plan.cache_bytes + plan.views_bytes +
				    plan.recent_bytes + plan.merge_bytes < memory);
	}
}

static void what_is_said_is_taken(void **state)
{
	struct memory_plan plan = memory_plan_make(256 * MIB, 64 * MIB, 5 * MIB);

	(void)state;
	assert_int_equal(plan.layer_bytes, 64 * MIB);
	assert_int_equal(plan.cache_bytes, 5 * MIB);
	assert_int_equal(plan.layers_bytes, 0);         /* and nothing is lent to it */
	/* Two layers of such a size are more than the share, but writers shall not wait for each seal. */
	assert_int_equal(plan.frozen_max, 1);
	assert_int_equal(memory_plan_make(256 * MIB, 4 * MIB, 0).frozen_max, FROZEN_MAX);
	assert_int_equal(memory_plan_make(256 * MIB, 1, 0).layer_bytes, LAYER_SIZE_MIN);
	assert_int_equal(memory_plan_make(256 * MIB, UINT64_MAX, 0).layer_bytes, LAYER_SIZE_MAX);
}

static void the_default_is_within_its_limits(void **state)
{
	struct memory_plan plan = memory_plan_make(0, 0, 0);

	(void)state;
	assert_true(plan.memory_bytes >= MEMORY_DEFAULT_MIN && plan.memory_bytes <= MEMORY_DEFAULT_MAX);
	assert_int_equal(memory_plan_make(1, 0, 0).memory_bytes, MEMORY_MIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_shares_fit_into_any_budget),
		cmocka_unit_test(what_is_said_is_taken),
		cmocka_unit_test(the_default_is_within_its_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
