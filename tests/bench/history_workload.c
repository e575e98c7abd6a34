#include "history_workload.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bench.h"
#include "child.h"
#include "history_run.h"
#include "workdir.h"

static const struct history_store_type *const types[] = {
	&varve_history,
#ifdef BENCH_ROCKSDB
	&rocksdb_history,
#endif
#ifdef BENCH_LMDB
	&lmdb_history,
#endif
};

#define TYPE_COUNT (sizeof(types) / sizeof(types[0]))
#define MEMORY_MIB_MAX 320.0    /* of a budget of 256 */

/* A figure that is compared. */
struct figure {
	const char *what;
	const char *unit;
	enum better better;
	double (*get)(const struct history_figures *figures, bool by_bytes);
	const char *rival;      /* whom a workload that is held is held against, NULL: nobody */
	double limit;
};

static double amount(uint64_t count, uint64_t bytes, bool by_bytes)
{
	return by_bytes ? (double)bytes / 1e6 : (double)count / 1e3;
}

static double write_rate(const struct history_figures *figures, bool by_bytes)
{
	return amount(figures->write_count, figures->write_bytes, by_bytes) * 1e9
	       / (double)(figures->writes.total_ns + figures->syncs.total_ns);
}

static double sync_ms(const struct history_figures *figures, bool by_bytes)
{
	(void)by_bytes;
	return (double)figures->syncs.total_ns / 1e6 / (double)figures->syncs.count;
}

/* Of one write, or of a MB. */
static double write_cpu_us(const struct history_figures *figures, bool by_bytes)
{
	return (double)figures->cpu_ns / 1e3
	       / (by_bytes ? (double)figures->write_bytes / 1e6 : (double)figures->write_count);
}

static double cpu_us_of(const struct history_reads *reads, bool by_bytes)
{
	return (double)reads->cpu_ns / 1e3 / (double)reads->count / (by_bytes ? HISTORY_WRITE_MAX / 1e6 : 1);
}

static double read_cpu_us(const struct history_figures *figures, bool by_bytes)
{
	return cpu_us_of(&figures->hot, by_bytes);
}

static double disk_mb(const struct history_figures *figures, bool by_bytes)
{
	(void)by_bytes;
	return (double)figures->disk_bytes / 1e6;
}

static double settled_disk_mb(const struct history_figures *figures, bool by_bytes)
{
	(void)by_bytes;
	return (double)figures->settled_disk_bytes / 1e6;
}

static double hot_rate(const struct history_figures *figures, bool by_bytes)
{
	return amount(1, HISTORY_WRITE_MAX, by_bytes) * history_reads_per_s(&figures->hot);
}

static double cold_rate(const struct history_figures *figures, bool by_bytes)
{
	return amount(1, HISTORY_WRITE_MAX, by_bytes) * history_reads_per_s(&figures->cold);
}

static double cold_cpu_us(const struct history_figures *figures, bool by_bytes)
{
	return cpu_us_of(&figures->cold, by_bytes);
}

static double compacted_disk_mb(const struct history_figures *figures, bool by_bytes)
{
	(void)by_bytes;
	return (double)figures->compacted_disk_bytes / 1e6;
}

static double compacted_hot_rate(const struct history_figures *figures, bool by_bytes)
{
	return amount(1, HISTORY_WRITE_MAX, by_bytes) * history_reads_per_s(&figures->compacted_hot);
}

static double compacted_read_cpu_us(const struct history_figures *figures, bool by_bytes)
{
	return cpu_us_of(&figures->compacted_hot, by_bytes);
}

static double compacted_cold_rate(const struct history_figures *figures, bool by_bytes)
{
	return amount(1, HISTORY_WRITE_MAX, by_bytes) * history_reads_per_s(&figures->compacted_cold);
}

static double compacted_cold_cpu_us(const struct history_figures *figures, bool by_bytes)
{
	return cpu_us_of(&figures->compacted_cold, by_bytes);
}

/* Without a unit it is the workload's. Processor time says most on a machine that others use. */
static const struct figure compared[] = {
	{ "writes, syncs included", NULL, HIGHER_IS_BETTER, write_rate, "RocksDB", 10 },
	{ "processor time of writing", NULL, LOWER_IS_BETTER, write_cpu_us, NULL, 0 },
	{ "a sync", "ms", LOWER_IS_BETTER, sync_ms, NULL, 0 },
	{ "disk, as it is afterwards", "MB", LOWER_IS_BETTER, disk_mb, NULL, 0 },
	{ "disk, settled", "MB", LOWER_IS_BETTER, settled_disk_mb, "RocksDB", 0.2 },
	{ "reads, page cache warm", NULL, HIGHER_IS_BETTER, hot_rate, "LMDB", 1 },
	{ "processor time of a warm read", NULL, LOWER_IS_BETTER, read_cpu_us, NULL, 0 },
	{ "reads, page cache dropped", NULL, HIGHER_IS_BETTER, cold_rate, "LMDB", 1 },
	{ "processor time of a cold read", NULL, LOWER_IS_BETTER, cold_cpu_us, NULL, 0 },
	{ "disk, compacted", "MB", LOWER_IS_BETTER, compacted_disk_mb, "RocksDB", 0.2 },
	{ "reads, compacted, page cache warm", NULL, HIGHER_IS_BETTER, compacted_hot_rate, "LMDB", 1 },
	{ "processor time of a warm read, compacted", NULL, LOWER_IS_BETTER, compacted_read_cpu_us, NULL, 0 },
	{ "reads, compacted, page cache dropped", NULL, HIGHER_IS_BETTER, compacted_cold_rate, "LMDB", 1 },
	{ "processor time of a cold read, compacted", NULL, LOWER_IS_BETTER, compacted_cold_cpu_us, NULL, 0 },
};

#define COMPARED_COUNT (sizeof(compared) / sizeof(compared[0]))

int history_dir_make(struct bench *bench, const char *name, char *path, size_t size_bytes)
{
	if (snprintf(path, size_bytes, "%s/%s", bench_dir(bench), name) >= (int)size_bytes)
		return -ENAMETOOLONG;
	return mkdir(path, 0755) < 0 ? -errno : 0;
}

static int plan_run(void *context, void *result)
{
	return history_run(context, result);
}

static int store_run(struct bench *bench, const struct history_workload *workload,
		     const struct history_store_type *type, struct history_figures *figures_out)
{
	char path[PATH_MAX + 16];
	struct history_plan plan = {
		.type = type,
		.source = workload->source,
		.dir = path,
		.moment_step = 1,
		.hot_reads = workload->hot_reads,
		.cold_reads = workload->cold_reads,
	};
	int err = history_dir_make(bench, type->name, path, sizeof(path));

	if (!err) {
		err = child_run(plan_run, &plan, figures_out, sizeof(*figures_out));
		tree_remove(path);
	}
	return err ? bench_fail(bench, err, "%s: %s", workload->name, type->name) : 0;
}

/* Whoever was asked the same has to have answered the same. */
static int answers_compare(struct bench *bench, const struct history_workload *workload,
			   const struct history_figures *figures)
{
	for (size_t i = 0; i < TYPE_COUNT; i++) {
		if (figures[i].hot.sum != figures[0].hot.sum || figures[i].cold.sum != figures[0].cold.sum ||
		    figures[i].compacted_hot.sum != figures[0].hot.sum ||
		    figures[i].compacted_cold.sum != figures[0].cold.sum)
			return bench_fail(bench, -EBADMSG, "%s: %s and %s read different bytes", workload->name,
					  types[0]->name, types[i]->name);
	}
	return 0;
}

static const char *unit_text(const struct figure *figure, bool by_bytes)
{
	if (figure->better == LOWER_IS_BETTER)
		return by_bytes ? "us a MB" : "us";
	return by_bytes ? "MB/s" : figure->get == write_rate ? "thousand versions/s" : "thousand reads/s";
}

static bool has_type(const char *name)
{
	for (size_t i = 0; i < TYPE_COUNT; i++)
		if (strcmp(types[i]->name, name) == 0)
			return true;
	return false;
}

static void figure_report(struct bench *bench, const struct history_workload *workload,
			  const struct figure *figure, unsigned rounds, const struct history_figures *all)
{
	bool is_held = workload->is_held && figure->rival && has_type(figure->rival);
	struct contender contenders[TYPE_COUNT] = { 0 };
	double *samples = calloc(TYPE_COUNT * rounds, sizeof(*samples));
	char what[128];
	const struct claim claim = {
		.what = what,
		.unit = figure->unit ? figure->unit : unit_text(figure, workload->by_bytes),
		.better = figure->better,
		.contenders = contenders,
		.contender_count = TYPE_COUNT,
		.ratio_limit = is_held ? figure->limit : 0,
	};

	if (!samples)
		abort();
	snprintf(what, sizeof(what), "%s: %s", workload->name, figure->what);
	for (size_t i = 0; i < TYPE_COUNT; i++) {
		contenders[i].name = types[i]->name;
		contenders[i].aside = is_held && i > 0 && strcmp(types[i]->name, figure->rival) != 0;
		for (unsigned round = 0; round < rounds; round++)
			samples[i * rounds + round] = figure->get(&all[round * TYPE_COUNT + i],
								  workload->by_bytes);
	}
	claim_report_samples(bench, &claim, rounds, samples);
	free(samples);
}

/* What one write of varve's took; a rival's waits in a batch, and says nothing. */
static void latency_report(struct bench *bench, const struct history_workload *workload, unsigned rounds,
			   const struct history_figures *all)
{
	static const double parts[] = { 0.5, 0.99, 0.999, 1 };
	static const char *const names[] = { "median", "99 %", "99.9 %", "longest" };
	char what[128];

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		double worst = 0;

		for (unsigned round = 0; round < rounds; round++)
			worst = fmax(worst, latency_us(&all[round * TYPE_COUNT].writes, parts[i]));
		snprintf(what, sizeof(what), "%s: a write of varve's, %s of the worst round", workload->name,
			 names[i]);
		bench_fact(bench, what, worst, "us", FACT_NOTE, 0);
	}
}

/* Of varve, the worst round. */
static void store_report(struct bench *bench, const struct history_workload *workload, unsigned rounds,
			 const struct history_figures *all)
{
	double written = 0, compacted = 0, memory = 0;
	char what[128];

	for (unsigned round = 0; round < rounds; round++) {
		const struct history_figures *figures = &all[round * TYPE_COUNT];
		double history = (double)figures->stored_bytes;

		written = fmax(written, (double)figures->settled_io_bytes / history);
		compacted = fmax(compacted, (double)figures->compacted_io_bytes / history);
		memory = fmax(memory, (double)figures->memory_max.rss_bytes / (1 << 20));
	}
	snprintf(what, sizeof(what), "%s: varve: bytes written a byte of history", workload->name);
	bench_fact(bench, what, written, "", FACT_NOTE, 0);
	snprintf(what, sizeof(what), "%s: varve: bytes written a byte of history, compacted", workload->name);
	bench_fact(bench, what, compacted, "", FACT_NOTE, 0);
	snprintf(what, sizeof(what), "%s: varve: memory at most", workload->name);
	bench_fact(bench, what, memory, "MiB", workload->is_held ? FACT_AT_MOST : FACT_NOTE, MEMORY_MIB_MAX);
}

int history_workload_measure(struct bench *bench, const struct history_workload *workload)
{
	unsigned rounds = bench_rounds(bench, workload->rounds);
	struct history_figures *all;
	int err = 0;

	all = calloc(TYPE_COUNT * rounds, sizeof(*all));
	if (!all)
		return bench_fail(bench, -ENOMEM, "%s", workload->name);
	for (unsigned round = 0; round < rounds && !err; round++) {
		struct history_figures *figures = all + round * TYPE_COUNT;

		for (size_t i = 0; i < TYPE_COUNT && !err; i++) {
			size_t turn = round % 2 ? TYPE_COUNT - 1 - i : i;

			err = store_run(bench, workload, types[turn], &figures[turn]);
		}
		if (!err)
			err = answers_compare(bench, workload, figures);
	}
	for (size_t i = 0; i < COMPARED_COUNT && !err; i++)
		figure_report(bench, workload, &compared[i], rounds, all);
	if (!err)
		latency_report(bench, workload, rounds, all);
	if (!err)
		store_report(bench, workload, rounds, all);
	free(all);
	return err;
}
