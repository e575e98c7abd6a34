#include "history_growth.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "child.h"
#include "history_run.h"
#include "history_workload.h"
#include "update_source.h"
#include "workdir.h"

#define MOMENT_STEP 256u                /* of 20 GiB of history these are 4 MiB of the process's memory */

static int unit_shift(char unit)
{
	const char *units = "KMG", *found = unit ? strchr(units, unit) : NULL;

	return found ? 10 * (int)(found - units + 1) : 0;
}

int growth_sizes_parse(const char *text, struct growth_sizes *sizes_out)
{
	*sizes_out = (struct growth_sizes){ .count = 0 };
	for (;;) {
		unsigned long long number;
		int shift;
		char *end;

		if (*text < '1' || *text > '9' || sizes_out->count == GROWTH_SIZES_MAX)
			return -EINVAL;
		number = strtoull(text, &end, 10);
		shift = unit_shift(*end);
		if (number > UINT64_C(1) << 20 && shift == 30)
			return -EINVAL;
		sizes_out->bytes[sizes_out->count++] = (uint64_t)number << shift;
		text = end + (shift != 0);
		if (!*text)
			return 0;
		if (*text++ != ',')
			return -EINVAL;
	}
}

static int plan_run(void *context, void *result)
{
	return history_run(context, result);
}

static int size_build(struct bench *bench, uint64_t until_bytes, struct history_figures *figures_out)
{
	struct update_source updates;
	char path[PATH_MAX + 16];
	struct history_plan plan = {
		.type = &varve_history,
		.source = &updates.source,
		.dir = path,
		.until_bytes = until_bytes,
		.moment_step = MOMENT_STEP,
		.hot_reads = bench_size(bench, 100000, 2000),
		.cold_reads = bench_size(bench, 5000, 200),
	};
	int err = update_source_init(&updates, (uint32_t)bench_size(bench, 16384, 2048), UINT64_MAX,
				     bench_random_percent(bench));

	if (!err)
		err = history_dir_make(bench, "growth", path, sizeof(path));
	if (!err) {
		err = child_run(plan_run, &plan, figures_out, sizeof(*figures_out));
		tree_remove(path);
	}
	update_source_destroy(&updates);
	return err ? bench_fail(bench, err, "history of %llu bytes", (unsigned long long)until_bytes) : 0;
}

/* One line of the table: a figure of each size. */
struct growth_figure {
	const char *what;
	const char *unit;
	double (*get)(const struct history_figures *figures);
};

static double mib(uint64_t bytes)
{
	return (double)bytes / (1 << 20);
}

static double write_rate(const struct history_figures *figures)
{
	return (double)figures->write_count * 1e6
	       / (double)(figures->writes.total_ns + figures->syncs.total_ns);
}

static double write_median(const struct history_figures *figures)
{
	return latency_us(&figures->writes, 0.5);
}

static double write_99(const struct history_figures *figures)
{
	return latency_us(&figures->writes, 0.99);
}

static double write_999(const struct history_figures *figures)
{
	return latency_us(&figures->writes, 0.999);
}

static double write_longest(const struct history_figures *figures)
{
	return latency_us(&figures->writes, 1) / 1e3;
}

static double write_cpu_us(const struct history_figures *figures)
{
	return (double)figures->cpu_ns / 1e3 / (double)figures->write_count;
}

static double read_cpu_us(const struct history_figures *figures)
{
	return (double)figures->hot.cpu_ns / 1e3 / (double)figures->hot.count;
}

static double sync_mean(const struct history_figures *figures)
{
	return (double)figures->syncs.total_ns / 1e6 / (double)figures->syncs.count;
}

static double sync_99(const struct history_figures *figures)
{
	return latency_us(&figures->syncs, 0.99) / 1e3;
}

static double written_part(const struct history_figures *figures)
{
	return (double)figures->io_bytes / (double)figures->stored_bytes;
}

static double settled_written_part(const struct history_figures *figures)
{
	return (double)figures->settled_io_bytes / (double)figures->stored_bytes;
}

static double settle_s(const struct history_figures *figures)
{
	return (double)figures->settle_ns / 1e9;
}

static double disk(const struct history_figures *figures)
{
	return mib(figures->disk_bytes);
}

static double settled_disk(const struct history_figures *figures)
{
	return mib(figures->settled_disk_bytes);
}

static double compact_s(const struct history_figures *figures)
{
	return (double)figures->compact_ns / 1e9;
}

static double compacted_written_part(const struct history_figures *figures)
{
	return (double)figures->compacted_io_bytes / (double)figures->stored_bytes;
}

static double compacted_disk(const struct history_figures *figures)
{
	return mib(figures->compacted_disk_bytes);
}

static double compacted_hot_rate(const struct history_figures *figures)
{
	return history_reads_per_s(&figures->compacted_hot) / 1e3;
}

static double compacted_hot_cpu_us(const struct history_figures *figures)
{
	return (double)figures->compacted_hot.cpu_ns / 1e3 / (double)figures->compacted_hot.count;
}

static double compacted_cold_rate(const struct history_figures *figures)
{
	return history_reads_per_s(&figures->compacted_cold) / 1e3;
}

static double rss_max(const struct history_figures *figures)
{
	return mib(figures->memory_max.rss_bytes);
}

static double anon_max(const struct history_figures *figures)
{
	return mib(figures->memory_max.anon_bytes);
}

static double rss_end(const struct history_figures *figures)
{
	return mib(figures->memory_end.rss_bytes);
}

static double anon_end(const struct history_figures *figures)
{
	return mib(figures->memory_end.anon_bytes);
}

static double file_end(const struct history_figures *figures)
{
	return mib(figures->memory_end.file_bytes);
}

static double hot_rate(const struct history_figures *figures)
{
	return history_reads_per_s(&figures->hot) / 1e3;
}

static double cold_rate(const struct history_figures *figures)
{
	return history_reads_per_s(&figures->cold) / 1e3;
}

static const struct growth_figure shown[] = {
	{ "writes, syncs included", "thousand versions/s", write_rate },
	{ "a write, median", "us", write_median },
	{ "a write, 99 %", "us", write_99 },
	{ "a write, 99.9 %", "us", write_999 },
	{ "a write, longest", "ms", write_longest },
	{ "processor time of a write", "us", write_cpu_us },
	{ "a sync, mean", "ms", sync_mean },
	{ "a sync, 99 %", "ms", sync_99 },
	{ "written to the disk, as it is", "bytes a byte of history", written_part },
	{ "written to the disk, settled", "bytes a byte of history", settled_written_part },
	{ "settling", "s", settle_s },
	{ "disk, as it is", "MiB", disk },
	{ "disk, settled", "MiB", settled_disk },
	{ "VmRSS, most", "MiB", rss_max },
	{ "RssAnon, most", "MiB", anon_max },
	{ "VmRSS, end of the writes", "MiB", rss_end },
	{ "RssAnon, end of the writes", "MiB", anon_end },
	{ "RssFile, end of the writes", "MiB", file_end },
	{ "reads, page cache warm", "thousand reads/s", hot_rate },
	{ "processor time of a read, page cache warm", "us", read_cpu_us },
	{ "reads, page cache dropped", "thousand reads/s", cold_rate },
	{ "compacting", "s", compact_s },
	{ "written to the disk, compacted", "bytes a byte of history", compacted_written_part },
	{ "disk, compacted", "MiB", compacted_disk },
	{ "reads, compacted, page cache warm", "thousand reads/s", compacted_hot_rate },
	{ "processor time of a read, compacted, page cache warm", "us", compacted_hot_cpu_us },
	{ "reads, compacted, page cache dropped", "thousand reads/s", compacted_cold_rate },
};

/* A figure of every size, and how many times that of the first size it is. */
static void figure_report(struct bench *bench, const struct growth_figure *figure, unsigned count,
			  const struct history_figures *figures)
{
	double first = figure->get(&figures[0]);
	char what[128];

	for (unsigned i = 0; i < count; i++) {
		snprintf(what, sizeof(what), "%s, %.3g GiB of history", figure->what,
			 mib(figures[i].history_bytes) / 1024);
		bench_fact(bench, what, figure->get(&figures[i]), figure->unit, FACT_NOTE, 0);
		if (i > 0)
			bench_say(bench, "          %.2fx of the first", figure->get(&figures[i]) / first);
	}
}

#define READ_RATIO_LIMIT 1.5
#define MEMORY_LIMIT_MIB 320.0          /* for the budget of 256 MiB: a quarter more */
#define WRITTEN_LIMIT 3.0

/* What a read takes, of the last size, as a part of what it takes of the first. */
static double slower(const struct history_figures *figures, unsigned count,
		     double (*rate)(const struct history_figures *figures))
{
	return rate(&figures[0]) / rate(&figures[count - 1]);
}

static void claims_report(struct bench *bench, unsigned count, const struct history_figures *figures)
{
	double memory = 0, written = 0;

	if (count > 1) {
		bench_fact(bench, "a read of the longest history against the shortest, page cache warm",
			   slower(figures, count, hot_rate), "x", FACT_AT_MOST, READ_RATIO_LIMIT);
		bench_fact(bench, "a read of the longest history against the shortest, compacted, page cache warm",
			   slower(figures, count, compacted_hot_rate), "x", FACT_AT_MOST, READ_RATIO_LIMIT);
	}
	for (unsigned i = 0; i < count; i++) {
		memory = fmax(memory, rss_max(&figures[i]));
		written = fmax(written, compacted_written_part(&figures[i]));
	}
	bench_fact(bench, "resident memory at most, of a budget of 256 MiB", memory, "MiB", FACT_AT_MOST,
		   MEMORY_LIMIT_MIB);
	bench_fact(bench, "written to the disk, all compaction included", written, "bytes a byte of history",
		   FACT_AT_MOST, WRITTEN_LIMIT);
}

int history_growth_measure(struct bench *bench, const struct growth_sizes *sizes)
{
	struct history_figures *figures = calloc(sizes->count, sizeof(*figures));
	int err = figures ? 0 : bench_fail(bench, -ENOMEM, "the figures");

	for (unsigned i = 0; i < sizes->count && !err; i++)
		err = size_build(bench, sizes->bytes[i], &figures[i]);
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]) && !err; i++)
		figure_report(bench, &shown[i], sizes->count, figures);
	if (!err)
		claims_report(bench, sizes->count, figures);
	free(figures);
	return err;
}
