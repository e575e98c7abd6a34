/*
 * Layers: how long a store of 100,000 layers takes to open, and what the process then holds.
 *
 * The layers are real: a file of noise is written and compacted into tables of a few pages. The rival
 * is a look at each name in the directory (readdir), which opening can't do without.
 */
#include "bench.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "store_fixture.h"
#include "workdir.h"

#define LAYER_COUNT 100000u
#define TABLE_BYTES 32768u              /* two pages, and the index */
#define CALL_BYTES 8192u
#define LAYER_BYTES (64u << 20)
#define LIMIT_MS 1000
#define STORE_NAME "layers"

struct layers_bench {
	struct bench *bench;
	struct store_fixture store;
	uint64_t table_count;
};

static int open_store(struct layers_bench *layers, struct store **store_out)
{
	const struct store_options options = {
		.layer_size_bytes = LAYER_BYTES, .table_size_bytes = TABLE_BYTES,
	};
	struct report report = { "" };
	int err = store_open(layers->store.path, &options, &report, store_out);

	return err ? bench_fail(layers->bench, err, "%s", report.text) : 0;
}

static int build(struct layers_bench *layers, uint64_t layer_count)
{
	struct store_usage usage;
	int err = store_fixture_make(&layers->store, layers->bench, STORE_NAME), close_err;

	if (!err)
		err = open_store(layers, &layers->store.store);
	if (!err)
		err = store_fixture_fill(&layers->store, layers->bench, layer_count * 2 * CALL_BYTES,
					 CALL_BYTES);
	if (!err)
		err = store_compact(layers->store.store);
	if (layers->store.store)
		store_usage_get(layers->store.store, &usage);
	close_err = store_fixture_close(&layers->store);
	if (err || close_err)
		return err ? err : close_err;
	layers->table_count = usage.table_count;
	return 0;
}

static int open_sample(void *context, double *figure_out)
{
	struct layers_bench *layers = context;
	uint64_t start = clock_ns();
	struct store *store;
	int err = open_store(layers, &store);

	*figure_out = (double)(clock_ns() - start) / 1e6;
	return err ? err : store_close(store);
}

static int list_sample(void *context, double *figure_out)
{
	const struct layers_bench *layers = context;
	char path[PATH_MAX + 16];
	uint64_t start = clock_ns();
	uint64_t count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/layers", layers->store.path);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while (readdir(dir))
		count++;
	closedir(dir);
	*figure_out = (double)(clock_ns() - start) / 1e6;
	return count < layers->table_count ? -EIO : 0;
}

static int layers_run(struct bench *bench)
{
	struct layers_bench layers = { .bench = bench };
	const struct contender contenders[] = {
		{ "varve: store_open", open_sample, &layers, false },
		{ "readdir of its layers", list_sample, &layers, true },
	};
	const struct claim claim = {
		.what = "open a store of many layers",
		.unit = "ms",
		.better = LOWER_IS_BETTER,
		.contenders = contenders,
		.contender_count = sizeof(contenders) / sizeof(contenders[0]),
		.value_limit = LIMIT_MS,
	};
	int err = build(&layers, bench_size(bench, LAYER_COUNT, 2000));

	if (!err) {
		bench_say(bench, "a store of %llu layers, page cache warm",
			  (unsigned long long)layers.table_count);
		err = claim_measure(bench, &claim);
	}
	if (layers.store.path[0])
		tree_remove(layers.store.path);
	return err;
}

const struct bench_subject layers_subject = {
	.name = "layers",
	.doc = "opening a store of 100,000 layers",
	.run = layers_run,
};
