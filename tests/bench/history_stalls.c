#include "history_stalls.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "bench.h"
#include "child.h"
#include "clock.h"
#include "history_workload.h"
#include "latency.h"
#include "store.h"
#include "tree.h"
#include "update_source.h"
#include "workdir.h"

#define MEMORY_BYTES (UINT64_C(256) << 20)
#define LAYER_BYTES (UINT64_C(4) << 20)         /* many layers of a short history, and of few merges many */
#define FANIN 4u
#define WRITES_A_SYNC 200u                      /* so that a 99.9th percentile has syncs enough */
#define RATIO_LIMIT 5.0
#define ROUNDS 3u
#define SIDE_COUNT 2u

static const char *const sides[SIDE_COUNT] = { "varve", "varve, nothing behind the writes" };

struct stalls_plan {
	const char *dir;
	uint32_t page_count;
	uint64_t update_count, window_bytes;
	unsigned random_percent;
	bool alone;                     /* neither merges nor garbage collection */
};

struct stalls_figures {
	struct latency writes, syncs;
	uint64_t merged_bytes, dropped_bytes;
};

/* One write or sync of the source; syncs of its own are not counted on. */
static int op_do(struct store *store, uint64_t ino, const struct history_op *op, struct stalls_figures *figures)
{
	uint64_t start = clock_ns();
	int err;

	if (op->is_sync)
		return op->is_fill ? store_sync(store, NULL) : 0;
	err = tree_write(store, ino, op->place.offset_bytes, op->bytes, op->size_bytes, false);
	if (err || op->is_fill)
		return err;
	latency_add(&figures->writes, clock_ns() - start);
	if (figures->writes.count % WRITES_A_SYNC)
		return 0;
	start = clock_ns();
	err = store_sync(store, NULL);
	latency_add(&figures->syncs, clock_ns() - start);
	return err;
}

static int writes_do(struct store *store, const struct stalls_plan *plan, struct stalls_figures *figures)
{
	const struct tree_new what = { .mode = S_IFREG | 0644 };
	struct update_source updates;
	struct tree_attr attr = { 0 };
	struct history_op op;
	int err = update_source_init(&updates, plan->page_count, plan->update_count, plan->random_percent);

	if (!err)
		err = tree_create(store, TREE_ROOT_INO, "file", &what, &attr);
	while (!err && (err = updates.source.next(&updates.source, &op)) == 0)
		err = op_do(store, attr.ino, &op, figures);
	update_source_destroy(&updates);
	return err < 0 ? err : 0;
}

static int stalls_run(void *context, void *result)
{
	const struct stalls_plan *plan = context;
	struct stalls_figures *figures = result;
	const struct store_mkfs_options mkfs = { .page_size_bytes = HISTORY_PAGE_BYTES };
	const struct store_options options = {
		.holder = "varve-bench",
		.memory_bytes = MEMORY_BYTES,
		.layer_size_bytes = LAYER_BYTES,
		.fanin_0 = FANIN,
		.fanin = FANIN,
		.no_compaction = plan->alone,
	};
	const struct store_window window = { .bytes = plan->alone ? 0 : plan->window_bytes };
	struct report report = { "" };
	struct store_usage usage;
	struct store *store;
	int err = store_mkfs(plan->dir, &mkfs, &report);

	if (!err)
		err = store_open(plan->dir, &options, &report, &store);
	if (err) {
		fprintf(stderr, "varve-bench: %s\n", report.text);
		return err;
	}
	err = store_window_set(store, &window);
	if (!err)
		err = writes_do(store, plan, figures);
	store_usage_get(store, &usage);
	figures->merged_bytes = usage.merge_written_bytes;
	figures->dropped_bytes = usage.gc_dropped_bytes;
	store_close(store);
	return err;
}

static int side_run(struct bench *bench, bool alone, struct stalls_figures *figures_out)
{
	char path[PATH_MAX + 16];
	struct stalls_plan plan = {
		.dir = path,
		.page_count = (uint32_t)bench_size(bench, 2048, 512),
		.update_count = bench_size(bench, 400000, 150000),
		.window_bytes = bench_size(bench, 16, 4) << 20,
		.random_percent = bench_random_percent(bench),
		.alone = alone,
	};
	int err = history_dir_make(bench, "stalls", path, sizeof(path));

	if (!err) {
		err = child_run(stalls_run, &plan, figures_out, sizeof(*figures_out));
		tree_remove(path);
	}
	if (!err && !alone && (!figures_out->merged_bytes || !figures_out->dropped_bytes))
		err = -EAGAIN;
	return err ? bench_fail(bench, err, "stalls: %s", err == -EAGAIN ? "nothing was merged or dropped while "
									   "it was written"
								  : sides[alone])
		   : 0;
}

static double part_us(const struct stalls_figures *figures, bool of_syncs, double part)
{
	return latency_us(of_syncs ? &figures->syncs : &figures->writes, part);
}

static void report(struct bench *bench, const char *what, bool of_syncs, double part, double ratio_limit,
		   unsigned rounds, const struct stalls_figures *all)
{
	const struct contender contenders[SIDE_COUNT] = { { .name = sides[0] }, { .name = sides[1] } };
	double *samples = calloc(SIDE_COUNT * rounds, sizeof(*samples));
	const struct claim claim = {
		.what = what,
		.unit = "us",
		.better = LOWER_IS_BETTER,
		.contenders = contenders,
		.contender_count = SIDE_COUNT,
		.ratio_limit = ratio_limit,
	};

	if (!samples)
		abort();
	for (unsigned side = 0; side < SIDE_COUNT; side++)
		for (unsigned round = 0; round < rounds; round++)
			samples[side * rounds + round] = part_us(&all[round * SIDE_COUNT + side], of_syncs, part);
	claim_report_samples(bench, &claim, rounds, samples);
	free(samples);
}

static void background_say(struct bench *bench, unsigned rounds, const struct stalls_figures *all)
{
	uint64_t merged = 0, dropped = 0;

	for (unsigned round = 0; round < rounds; round++) {
		merged += all[round * SIDE_COUNT].merged_bytes / rounds;
		dropped += all[round * SIDE_COUNT].dropped_bytes / rounds;
	}
	bench_say(bench, "stalls: meanwhile merges wrote %.1f MB and dropped %.1f MB", (double)merged / 1e6,
		  (double)dropped / 1e6);
}

int history_stalls_measure(struct bench *bench)
{
	unsigned rounds = bench_rounds(bench, ROUNDS);
	struct stalls_figures *all = calloc(SIDE_COUNT * rounds, sizeof(*all));
	int err = all ? 0 : bench_fail(bench, -ENOMEM, "stalls");

	for (unsigned i = 0; i < SIDE_COUNT * rounds && !err; i++) {
		unsigned round = i / SIDE_COUNT, side = round % 2 ? SIDE_COUNT - 1 - i % SIDE_COUNT
								  : i % SIDE_COUNT;

		err = side_run(bench, side == 1, &all[round * SIDE_COUNT + side]);
	}
	if (!err) {
		background_say(bench, rounds, all);
		report(bench, "stalls: a write, median", false, 0.5, 0, rounds, all);
		report(bench, "stalls: a write, 99.9 %", false, 0.999, RATIO_LIMIT, rounds, all);
		report(bench, "stalls: a sync, median", true, 0.5, 0, rounds, all);
		report(bench, "stalls: a sync, 99.9 %", true, 0.999, RATIO_LIMIT, rounds, all);
	}
	free(all);
	return err;
}
