/*
 * Random operations through the core beside the model, which keeps every
 * version; then random files, names, attributes and ranges at random LSNs,
 * before and after freezes, kills and reopens. (support/random_run.h)
 *
 * VARVE_MODEL_OPS sets the number of operations, VARVE_TEST_SEED the seed; a
 * failing run prints both the seed and the number of the operation.
 */
#include "random_run.h"

#define OPERATIONS_STANDARD 1000000u

/* About 20 freezes, 10 reopens, 8 kills a run, however long it is. */
static void disturb(struct run *run)
{
	uint64_t span = run->operation_count;

	if (below(run, span) < 20)
		run_freeze(run);
	if (below(run, span) < 10)
		run_reopen(run);
	if (below(run, span) < 8)
		run->kill_at = run->operation + 1 + below(run, 2000);
	if (run->operation == run->kill_at)
		run_kill(run);
}

static void run_operations(struct run *run)
{
	for (run->operation = 1; run->operation <= run->operation_count; run->operation++) {
		run_operate(run);
		if (one_in(run, 10))
			run_compare_something(run);
		if (one_in(run, 500))
			run_thin_out_the_dead(run);
		disturb(run);
	}
	run->operation = run->operation_count;
}

static void prove_every_state(struct run *run)
{
	uint64_t count = run->operation_count / 20 + 1000;

	run_compare_much(run, count);
	run_freeze(run);
	run_compare_much(run, count);
	run_kill(run);
	run_compare_much(run, count);
	run_reopen(run);
	run_compare_much(run, count);
}

static struct run *begin(unsigned name_hash_bits, uint64_t operation_count)
{
	struct store_mkfs_options mkfs = { .page_size_bytes = RANDOM_PAGE_SIZE };
	struct store_options options = { .layer_size_bytes = 4 * MIB,
					 .name_hash_bits = name_hash_bits, .drop_tombstones = 4 };

	return run_new(&mkfs, &options, operation_count);
}

static uint64_t operation_count(void)
{
	return test_count("VARVE_MODEL_OPS", OPERATIONS_STANDARD);
}

static int set_up(void **state)
{
	*state = begin(0, operation_count());
	return 0;
}

/* A tenth as many, with three bits of name hash. */
static int set_up_colliding(void **state)
{
	*state = begin(3, operation_count() / 10 + 1);
	return 0;
}

static int tear_down(void **state)
{
	run_print(*state);
	run_free(*state);
	return 0;
}

static void store_and_model_agree_at_every_lsn(void **state)
{
	run_operations(*state);
	prove_every_state(*state);
}

static void store_and_model_agree_when_names_collide(void **state)
{
	run_operations(*state);
	prove_every_state(*state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(store_and_model_agree_at_every_lsn, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(store_and_model_agree_when_names_collide,
						set_up_colliding, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
