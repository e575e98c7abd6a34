/*
 * Every single cut: random workloads on a simulated disk, cut at each write, sync and
 * return of a call; of what was not synced, nothing, everything, each write alone, all but
 * each, torn and shuffled sectors are kept. tests/support/cut_check.h says what must hold.
 */
#include <inttypes.h>
#include <sys/prctl.h>
#include <time.h>

#include "cut_check.h"
#include "manifest.h"
#include "rcu_at_once.h"

struct size {
	unsigned workloads, ops;
	unsigned sequence;              /* how many operations in every sequence of so many */
	uint32_t subsets_max, all_pairs_every;
	unsigned lives;                 /* each with a new manifest */
	uint64_t cut_points_min;        /* less would prove less than is claimed */
};

static struct size size_of_run(void)
{
	const char *name = getenv("VARVE_TEST_SIZE");

	if (name && strcmp(name, "fast") == 0)
		return (struct size){ 6, 50, 1, 6, 0, 4, 300 };
	if (name && strcmp(name, "long") == 0)
		return (struct size){ 100, 80, 2, 24, 40, 40, 10000 };
	return (struct size){ 40, 60, 1, 8, 400, 12, 2000 };
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void print_counts(const char *what, const struct cut_counts *counts, double since)
{
	uint64_t short_points = counts->cut_points - counts->wide_points - counts->narrow_points;

	/* Who looks for 8 in vain 400 times has found all there are, or nearly always. */
	assert_true(short_points * 100 <= counts->cut_points);
	print_message("%s: %" PRIu64 " cut points (%" PRIu64 " with 8 different images or more, %" PRIu64
		      " with all there are, which is fewer, %" PRIu64 " with fewer after 400 tries), %"
		      PRIu64 " within the replacement of a manifest, %" PRIu64 " images, %" PRIu64
		      " distinct, %" PRIu64 " LSNs compared, %" PRIu64 " second cuts, %" PRIu64
		      " recoveries' cut points, %" PRIu64 " stores checked, %.1f s\n", what, counts->cut_points, counts->wide_points,
		      counts->narrow_points, short_points, counts->replace_points, counts->images,
		      counts->distinct, counts->lsns, counts->second_cuts, counts->pairs,
		      counts->checked, seconds() - since);
	assert_true(counts->checked > 0);
}

/* Make a store, do random things to it, leave it in the middle. */
static void a_random_workload(struct prng *prng, const struct size *size, unsigned *done,
			      struct cut_counts *counts)
{
	struct sim_disk *disk = sim_disk_new(NULL);
	uint64_t seed = prng_next(prng);
	struct load *load = load_new(disk, seed);
	struct cut_walk walk = { .disk = disk, .history = &load->history,
				 .subsets_max = size->subsets_max,
				 .all_pairs_every = size->all_pairs_every };

	cut_place = (struct cut_place){ .what = "random workload", .seed = seed };
	require(!load_make(load));
	for (unsigned i = 0; i < size->ops; i++) {
		/* A young tree has little to be changed. */
		enum load_op op = i < 4 ? LOAD_CREATE : load_choose(load);
		int err = load_do(load, op);

		require(err >= 0);
		done[op] += !err;
	}
	require(!load_close(load));
	cut_walk(&walk, prng, counts);
	load_free(load);
	sim_disk_free(disk);
}

static void random_workloads_survive_every_cut(void **state)
{
	struct size size = size_of_run();
	struct prng prng = { test_seed() };
	struct cut_counts counts = { 0 };
	unsigned done[LOAD_OPS] = { 0 };
	double since = seconds();

	(void)state;
	for (unsigned i = 0; i < size.workloads; i++)
		a_random_workload(&prng, &size, done, &counts);
	print_counts("random workloads", &counts, since);
	for (unsigned op = 0; op < LOAD_OPS; op++) {
		print_message("%s%s %u", op ? ", " : "operations: ", load_op_names[op], done[op]);
		assert_true(done[op] > 0 || size.workloads < 20);
	}
	print_message("\n");
	assert_true(counts.wide_points >= size.cut_points_min);
}

/* Layers that fill up and are sealed by themselves, while more is written. */
static void layers_that_fill_up_survive_every_cut(void **state)
{
	const char *name = getenv("VARVE_TEST_SIZE");
	unsigned batches = name && strcmp(name, "fast") == 0 ? 5 : 11;
	struct sim_disk *disk = sim_disk_new(NULL);
	struct load *load = load_new(disk, test_seed());
	struct prng prng = { test_seed() };
	struct cut_counts counts = { 0 };
	struct cut_walk walk = { .disk = disk, .history = &load->history, .subsets_max = 2 };
	struct store_usage usage;
	double since = seconds();

	(void)state;
	cut_place = (struct cut_place){ .what = "layers that fill up", .seed = test_seed() };
	load->bulky = true;
	assert_ok(load_make(load));
	assert_ok(load_do(load, LOAD_CREATE));
	for (unsigned i = 0; i < batches; i++) {
		if (load_do(load, LOAD_BATCH))
			assert_ok(load_do(load, LOAD_CUT_ALL));
		assert_true(load_do(load, LOAD_APPEND) >= 0);
		if (i % 3 == 2)
			assert_ok(load_do(load, LOAD_SYNC));
	}
	store_usage_get(load->store, &usage);
	assert_ok(load_close(load));
	cut_walk(&walk, &prng, &counts);
	print_message("%" PRIu64 " layers sealed when it ended\n", usage.layer_count);
	print_counts("layers that fill up", &counts, since);
	load_free(load);
	sim_disk_free(disk);
}

/* Every life replaces the manifest, those after a cut too. */
static void a_manifest_that_is_replaced_survives_every_cut(void **state)
{
	struct size size = size_of_run();
	struct sim_disk *disk = sim_disk_new(NULL);
	struct load *load = load_new(disk, test_seed());
	struct prng prng = { test_seed() };
	struct cut_counts counts = { 0 };
	struct cut_walk walk = { .disk = disk, .history = &load->history,
				 .subsets_max = size.subsets_max,
				 .all_pairs_every = size.all_pairs_every / 4 };
	double since = seconds();

	(void)state;
	cut_place = (struct cut_place){ .what = "a manifest that is replaced", .seed = test_seed() };
	manifest_rewrite_from(1);
	assert_ok(load_make(load));
	for (unsigned life = 0; life < size.lives; life++) {
		assert_ok(load_do(load, LOAD_REOPEN));
		assert_true(load_do(load, LOAD_CREATE) >= 0);
		assert_true(load_do(load, LOAD_APPEND) >= 0);
		if (life % 3 == 2)
			assert_ok(load_do(load, LOAD_FREEZE));
		assert_true(load_do(load, load_choose(load)) >= 0);
	}
	assert_ok(load_close(load));
	cut_walk(&walk, &prng, &counts);
	manifest_rewrite_from(0);
	print_counts("manifests replaced", &counts, since);
	assert_true(counts.replace_points > 5 * size.lives);
	load_free(load);
	sim_disk_free(disk);
}

/*
 * A small tree, synced; then @ops, each followed by a sync or not. Cut where a sync
 * returned, as a file system's tests do (of CrashMonkey's kind), and everywhere between.
 */
static void one_sequence(const enum load_op *ops, unsigned count, struct prng *prng,
			 const struct size *size, struct cut_counts *counts)
{
	static const enum load_op before[] = {
		LOAD_CREATE, LOAD_BATCH, LOAD_CREATE, LOAD_APPEND, LOAD_MKDIR, LOAD_SYNC,
	};
	struct sim_disk *disk = sim_disk_new(NULL);
	uint64_t seed = prng_next(prng);
	struct load *load = load_new(disk, seed);
	struct cut_walk walk = { .disk = disk, .history = &load->history,
				 .subsets_max = size->subsets_max };

	cut_place = (struct cut_place){ .what = load_op_names[ops[0]], .seed = seed };
	require(!load_make(load));
	for (unsigned i = 0; i < array_size(before); i++)
		require(load_do(load, before[i]) >= 0);
	walk.from = sim_disk_event_count(disk);
	for (unsigned i = 0; i < count; i++)
		require(load_do(load, ops[i]) >= 0);
	require(!load_do(load, LOAD_SYNC));
	require(!load_close(load));
	cut_walk(&walk, prng, counts);
	load_free(load);
	sim_disk_free(disk);
}

static void every_short_sequence_of_operations_survives_every_cut(void **state)
{
	struct size size = size_of_run();
	struct prng prng = { test_seed() };
	struct cut_counts counts = { 0 };
	double since = seconds();
	unsigned sequences = 0;

	(void)state;
	for (unsigned first = 0; first < LOAD_OPS; first++) {
		for (unsigned second = 0; second < LOAD_OPS; second++) {
			enum load_op alone[] = { (enum load_op)first };
			enum load_op ops[] = { (enum load_op)first, LOAD_SYNC,
					       (enum load_op)second };

			if (!second) {
				one_sequence(alone, 1, &prng, &size, &counts);
				sequences++;
			}
			if (size.sequence < 2)
				continue;
			one_sequence(ops, 3, &prng, &size, &counts);
			/* And with nothing synced between the two. */
			ops[1] = (enum load_op)second;
			one_sequence(ops, 2, &prng, &size, &counts);
			sequences += 2;
		}
	}
	print_message("%u sequences of up to %u operations\n", sequences, size.sequence);
	print_counts("sequences", &counts, since);
	assert_true(counts.cut_points > 4 * sequences);
}

/* Of the writes that were not synced, those to the header of layer @inode are
 * treated one way and those to the rest of it the other; others are kept. */
struct header_cut {
	const struct sim_replay *replay;
	int64_t inode;
	bool header_kept;
};

static bool keep_by_header(void *context, uint32_t i, uint32_t sector)
{
	const struct header_cut *cut = context;
	const struct sim_write *write = cut->replay->pending[i];
	uint32_t page = 0;

	if (write->kind != SIM_WRITE_DATA || (int64_t)write->inode != cut->inode)
		return true;
	while (sector >= (uint32_t)__builtin_popcount(write->pages[page].sectors))
		sector -= (uint32_t)__builtin_popcount(write->pages[page++].sectors);
	return (write->pages[page].number == 0) == cut->header_kept;
}

static struct sim_state *cut_by_header(struct sim_disk *disk, const char *layer, bool header_kept)
{
	struct sim_state *now = sim_disk_state(disk), *cut;
	struct sim_replay *replay = sim_replay_new(disk);
	struct header_cut context = { replay, 0, header_kept };

	for (const char *name = "store\0layers\0"; *name; name += strlen(name) + 1)
		context.inode = sim_state_find(now, (uint32_t)context.inode, name);
	context.inode = sim_state_find(now, (uint32_t)context.inode, layer);
	assert_true(context.inode > 0);
	while (sim_replay_step(replay))
		;
	cut = sim_replay_cut(replay, keep_by_header, &context);
	sim_replay_free(replay);
	sim_state_free(now);
	return cut;
}

static uint64_t newest_of(const struct load *load)
{
	struct lsn oldest_lsn, newest_lsn;

	store_window(load->store, &oldest_lsn, &newest_lsn);
	return newest_lsn.value;
}

/*
 * The first cut loses the header of the layer that was begun last and keeps the batch
 * in it: the layer is a spare again. The next life begins it with the very same header,
 * which is all that a second cut keeps. The batch must not be there again.
 */
static void a_batch_of_an_earlier_life_does_not_come_back(void **state)
{
	struct sim_disk *first = sim_disk_new(NULL), *second, *third;
	struct load *load = load_new(first, 1);
	struct sim_state *image;
	uint64_t recovered;

	(void)state;
	cut_place = (struct cut_place){ .what = "an earlier life" };
	assert_ok(load_make(load));
	assert_ok(load_do(load, LOAD_CREATE));
	assert_ok(load_do(load, LOAD_FREEZE));
	recovered = newest_of(load);
	assert_ok(load_do(load, LOAD_APPEND));
	image = cut_by_header(first, "0000000000000002.layer", false);
	load_free(load);

	second = sim_disk_new(image);
	load = load_new(second, 1);
	assert_ok(load_open(load));
	assert_int_equal(newest_of(load), recovered);
	struct tree_new what = { .mode = S_IFDIR | 0700 };
	struct tree_attr attr;
	assert_ok(tree_create(load->store, TREE_ROOT_INO, "new", &what, &attr));
	image = cut_by_header(second, "0000000000000002.layer", true);
	load_free(load);

	third = sim_disk_new(image);
	load = load_new(third, 1);
	assert_ok(load_open(load));
	assert_int_equal(newest_of(load), recovered);
	load_free(load);
	sim_disk_free(first);
	sim_disk_free(second);
	sim_disk_free(third);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_batch_of_an_earlier_life_does_not_come_back),
		cmocka_unit_test(layers_that_fill_up_survive_every_cut),
		cmocka_unit_test(a_manifest_that_is_replaced_survives_every_cut),
		cmocka_unit_test(every_short_sequence_of_operations_survives_every_cut),
		cmocka_unit_test(random_workloads_survive_every_cut),
	};

	/* Clearing 2 MiB for each index of a few versions would be most of the time. */
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	rcu_at_once();
	cut_place_install();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
