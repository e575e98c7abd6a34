/*
 * Every single cut while history is compacted and dropped: random workloads that freeze, compact,
 * collect, limit the history and hold LSNs, with any two runs merged and pieces of a few pages, on a
 * simulated disk that is cut as cuts.c cuts it. What must hold is in tests/support/cut_check.h; which
 * steps of a merge were cut at is counted by what is found in the trace (tests/support/cut_steps.h).
 */
#include <inttypes.h>
#include <sys/prctl.h>
#include <time.h>

#include "cut_check.h"
#include "rcu_at_once.h"

struct size {
	unsigned workloads, ops;
	uint32_t subsets_max, all_pairs_every;
	uint32_t steps_needed, recovery_steps_needed;   /* a bit for each: that were cut at */
};

#define ALL_STEPS ((1u << STEPS) - 1)
/* What a fast run may be too short for. */
#define RARE_STEPS (1u << STEP_MANIFEST_WRITTEN | 1u << STEP_MANIFEST_RENAMED)
/* Of what goes on behind a cut: of what records are written there little is known beforehand. */
#define RECOVERY_STEPS (1u << STEP_TABLE_NAMED | 1u << STEP_TABLE_WRITTEN | 1u << STEP_TABLE_SYNCED | \
			1u << STEP_NAMES_SYNCED | 1u << STEP_LOG_REMOVED | 1u << STEP_TABLE_REMOVED)

static struct size size_of_run(void)
{
	const char *name = getenv("VARVE_TEST_SIZE");

	if (name && strcmp(name, "fast") == 0)
		return (struct size){ 1, 40, 2, 0, ALL_STEPS & ~RARE_STEPS, 0 };
	if (name && strcmp(name, "long") == 0)
		return (struct size){ 100, 80, 16, 40, ALL_STEPS, RECOVERY_STEPS };
	return (struct size){ 3, 40, 2, 0, ALL_STEPS & ~RARE_STEPS, RECOVERY_STEPS };
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Of each workload every fourth operation is one of these, in turn. */
static enum load_op choose(struct load *load, unsigned number)
{
	static const enum load_op steady[] = {
		LOAD_FREEZE, LOAD_PIN, LOAD_WINDOW, LOAD_FREEZE, LOAD_COLLECT, LOAD_FREEZE, LOAD_COMPACT,
	};

	/* A young tree has little to be changed. */
	if (number < 6)
		return number % 2 ? LOAD_APPEND : LOAD_CREATE;
	if (number % 4 == 3)
		return steady[number / 4 % array_size(steady)];
	if (prng_below(&load->prng, 8) == 0)
		return prng_below(&load->prng, 2) ? LOAD_UNLINK : LOAD_CUT;
	return load_choose(load);
}

static void a_workload(struct prng *prng, const struct size *size, unsigned *done,
		       struct cut_counts *counts)
{
	struct sim_disk *disk = sim_disk_new(NULL);
	uint64_t seed = prng_next(prng);
	struct load *load = load_new(disk, seed);
	struct cut_walk walk = { .disk = disk, .history = &load->history,
				 .subsets_max = size->subsets_max, .few = true,
				 .all_pairs_every = size->all_pairs_every };

	cut_place = (struct cut_place){ .what = "a workload that compacts", .seed = seed };
	require(!load_make(load));
	for (unsigned i = 0; i < size->ops; i++) {
		enum load_op op = choose(load, i);
		int err = load_do(load, op);

		require(err >= 0);
		done[op] += !err;
	}
	require(!load_close(load));
	cut_walk(&walk, prng, counts);
	load_free(load);
	sim_disk_free(disk);
}

static void merges_and_collections_survive_every_cut(void **state)
{
	struct size size = size_of_run();
	struct prng prng = { test_seed() };
	struct cut_counts counts = { 0 };
	unsigned done[LOAD_OPS] = { 0 };
	double since = seconds();

	(void)state;
	load_merge_eagerly(true);
	for (unsigned i = 0; i < size.workloads; i++)
		a_workload(&prng, &size, done, &counts);
	load_merge_eagerly(false);
	print_message("%" PRIu64 " cut points, %" PRIu64 " images, %" PRIu64 " distinct, %" PRIu64
		      " LSNs compared, %" PRIu64 " below the window refused, %" PRIu64 " second cuts, %" PRIu64
		      " recoveries' cut points, %" PRIu64 " images compacted to the end, %" PRIu64
		      " checked, %.1f s\n", counts.cut_points, counts.images, counts.distinct, counts.lsns,
		      counts.refused, counts.second_cuts, counts.pairs, counts.compacted, counts.checked,
		      seconds() - since);
	for (unsigned op = LOAD_TREE_OPS; op < LOAD_OPS; op++)
		print_message("%s%s %u", op > LOAD_TREE_OPS ? ", " : "operations: ", load_op_names[op], done[op]);
	print_message("\n");
	cut_steps_print("cut at", counts.steps, size.steps_needed);
	cut_steps_print("and cut again, behind a first cut, at", counts.recovery_steps,
			size.recovery_steps_needed);
	assert_true(counts.refused && counts.compacted && counts.checked);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(merges_and_collections_survive_every_cut),
	};

	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	rcu_at_once();
	cut_place_install();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
