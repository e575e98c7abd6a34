#include "random_run.h"

/* Deleted inodes are only promised to the process that held them. */
static void lose_the_dead(struct run *run)
{
	for (size_t i = run->living_count; i > 0; i--) {
		if (is_dead(run->living[i - 1]))
			living_drop_at(run, i - 1);
	}
	assert_int_equal(newest(store_of(run)).value, run->newest.value);
}

void run_freeze(struct run *run)
{
	fixture_freeze(run->fixture);
	run->freezes++;
}

void run_reopen(struct run *run)
{
	fixture_reopen(run->fixture);
	lose_the_dead(run);
	run->reopens++;
}

void run_kill(struct run *run)
{
	fixture_kill(run->fixture);
	lose_the_dead(run);
	run->kills++;
}

void run_thin_out_the_dead(struct run *run)
{
	for (size_t i = run->living_count; i > 0; i--) {
		if (is_dead(run->living[i - 1]) && one_in(run, 8))
			living_drop_at(run, i - 1);
	}
}

struct run *run_new(const struct store_mkfs_options *mkfs, const struct store_options *options,
		    uint64_t operation_count)
{
	struct run *run = calloc(1, sizeof(*run));

	assert_non_null(run);
	run->fixture = fixture_new(mkfs, options);
	struct tree_attr root = attr_now(store_of(run), TREE_ROOT_INO);
	run->model = model_new(&root);
	run->prng.state = test_seed();
	run->operation_count = operation_count;
	run->lsns = calloc(operation_count, sizeof(*run->lsns));
	assert_non_null(run->lsns);
	run->newest = newest(store_of(run));
	living_add(run, run->model->inodes[0]);
	return run;
}

void run_free(struct run *run)
{
	fixture_free(run->fixture);
	model_free(run->model);
	free(run->lsns);
	free(run->living);
	free(run);
}

void run_print(const struct run *run)
{
	print_message("seed %" PRIu64 ", operation %" PRIu64 " of %" PRIu64 ": %" PRIu64
		      " changes, %" PRIu64 " refusals, %" PRIu64 " comparisons, %zu inodes, %" PRIu64
		      " freezes, %" PRIu64 " reopens, %" PRIu64 " kills\n", test_seed(),
		      run->operation, run->operation_count, run->changes, run->refusals,
		      run->comparisons, run->model->inode_count, run->freezes, run->reopens,
		      run->kills);
}
