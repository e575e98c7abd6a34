/*
 * History: many versions of few pages, kept and asked for at any moment, by varve and by
 * stores that others build such things on.
 *
 * A rival keeps each version as a whole page under the key (page, moment), which is what
 * one does with a sorted map. Which rivals there are is found out by CMake.
 */
#include "bench.h"

#include <errno.h>

#include "history_growth.h"
#include "history_stalls.h"
#include "history_workload.h"
#include "rewrite_source.h"
#include "trace_source.h"
#include "update_source.h"

static void rivals_say(struct bench *bench)
{
#ifndef BENCH_ROCKSDB
	bench_warn(bench, "RocksDB was not found when this was built: no such rival (librocksdb-dev)");
#endif
#ifndef BENCH_LMDB
	bench_warn(bench, "LMDB was not found when this was built: no such rival (liblmdb-dev)");
#endif
	bench_say(bench, "pages of 8 KiB, of whose bytes %u %% are random and the rest repeat",
		  bench_random_percent(bench));
}

static int updates_measure(struct bench *bench)
{
	uint32_t page_count = (uint32_t)bench_size(bench, 16384, 2048);
	uint64_t update_count = bench_size(bench, 200000, 5000);
	struct update_source updates;
	const struct history_workload workload = {
		.name = "96 byte updates",
		.source = &updates.source,
		.is_held = true,
		.hot_reads = bench_size(bench, 100000, 2000),
		.cold_reads = bench_size(bench, 5000, 200),
		.rounds = 3,
	};
	int err;

	if (!bench_wants(bench, workload.name))
		return 0;
	err = update_source_init(&updates, page_count, update_count, bench_random_percent(bench));
	bench_say(bench, "%s: %llu at random in %u pages, a sync every %u; reads of a page at a random moment",
		  workload.name, (unsigned long long)update_count, page_count, UPDATES_A_SYNC);
	if (!err)
		err = history_workload_measure(bench, &workload);
	update_source_destroy(&updates);
	return err;
}

static int rewrite_measure(struct bench *bench)
{
	uint32_t file_count = (uint32_t)bench_size(bench, 8, 2);
	uint64_t file_bytes = bench_size(bench, 64u << 20, 4u << 20);
	uint32_t round_count = (uint32_t)bench_size(bench, 10, 3);
	struct rewrite_source rewrite;
	const struct history_workload workload = {
		.name = "files rewritten",
		.source = &rewrite.source,
		.by_bytes = true,
		.hot_reads = 8 * file_bytes / HISTORY_WRITE_MAX,
		.cold_reads = 4 * file_bytes / HISTORY_WRITE_MAX,
		.rounds = 1,
	};
	int err;

	if (!bench_wants(bench, workload.name))
		return 0;
	err = rewrite_source_init(&rewrite, file_count, file_bytes, round_count, bench_random_percent(bench));
	bench_say(bench, "%s: %u of %llu MiB, %u times, a sync after each; reads of a file as of a round",
		  workload.name, file_count, (unsigned long long)(file_bytes >> 20), round_count);
	if (!err)
		err = history_workload_measure(bench, &workload);
	rewrite_source_destroy(&rewrite);
	return err;
}

static int trace_measure(struct bench *bench, const char *path)
{
	struct trace_source trace;
	const struct history_workload workload = {
		.name = "trace",
		.source = &trace.source,
		.hot_reads = bench_size(bench, 100000, 2000),
		.cold_reads = bench_size(bench, 5000, 200),
		.rounds = 3,
	};
	int err = trace_source_init(&trace, path);

	if (err) {
		bench_fail(bench, err, "%s: no trace that can be read", path);
	} else {
		bench_say(bench, "trace: %s: %llu writes of together %.1f MB, %llu syncs", path,
			  (unsigned long long)trace.write_count, (double)trace.write_bytes / 1e6,
			  (unsigned long long)trace.sync_count);
		err = history_workload_measure(bench, &workload);
	}
	trace_source_destroy(&trace);
	return err;
}

static int growth_measure(struct bench *bench, const char *text)
{
	struct growth_sizes sizes;
	int err = growth_sizes_parse(text, &sizes);

	return err ? err : history_growth_measure(bench, &sizes);
}

static int stalls_measure(struct bench *bench)
{
	bench_say(bench, "stalls: small updates of a file with a small window, a sync every few, while layers are "
			 "merged and what expired is dropped");
	return history_stalls_measure(bench);
}

static int history_bench(struct bench *bench)
{
	const char *trace = bench_trace(bench), *growth = bench_history(bench);
	int err = 0;

	rivals_say(bench);
	if (trace)
		err = trace_measure(bench, trace);
	if (!err && growth)
		err = growth_measure(bench, growth);
	if (trace || growth)
		return err;
	err = updates_measure(bench);
	if (!err && bench_wants(bench, "stalls"))
		err = stalls_measure(bench);
	return err ? err : rewrite_measure(bench);
}

const struct bench_subject history_subject = {
	.name = "history",
	.doc = "versions of pages written, kept and read at any moment, against RocksDB and LMDB",
	.run = history_bench,
};
