/*
 * Flush: what a sync of the store costs under load, against a bare pwrite and
 * fdatasync of the same bytes.
 *
 * varve's arenas are append-only, so only their tails are ever dirty: there are
 * no scattered pages to gather. That is shown by counting: how many ranges,
 * bytes and I/Os a flush takes while random pages of a file are updated. The
 * bare one appends the bytes that varve's last flush had, at the same distance
 * from one another, to a file reserved in the same way, on the same disk, and
 * the two take turns from flush to flush.
 */
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bare_file.h"
#include "clock.h"
#include "machine.h"
#include "store_fixture.h"
#include "tree.h"

#define PAGE_COUNT 16384u
#define UPDATE_BYTES 96u
#define FILL_CALL_BYTES (1u << 20)
#define BARE_WRITE_MAX (16u << 20)
#define TARGET 1.1

/* What the flushes of one side came to. */
struct flush_sums {
	uint64_t flushes;
	struct machine_io io;
};

struct flush {
	struct bench *bench;
	struct store_fixture store;
	struct dice dice;
	unsigned updates;               /* before each flush */
	uint64_t bytes;                 /* that varve's last flush wrote */
	uint64_t ranges, total_bytes, store_flushes;    /* of all of varve's flushes */
	struct bare_file bare;
	uint8_t *bare_bytes;
	struct flush_sums varve_sums, bare_sums;
};

static void sums_add(struct flush *flush, struct flush_sums *sums, const struct machine_io *before)
{
	struct machine_io after, io;

	machine_io_get(flush->store.path, &after);
	io = machine_io_since(before, &after);
	sums->flushes++;
	sums->io.disk_writes += io.disk_writes;
	sums->io.disk_written_bytes += io.disk_written_bytes;
	sums->io.disk_flushes += io.disk_flushes;
}

static int pages_update(struct flush *flush)
{
	uint32_t page_bytes = store_page_size(flush->store.store);
	uint8_t bytes[UPDATE_BYTES];
	int err = 0;

	for (unsigned i = 0; i < flush->updates && !err; i++) {
		uint64_t page = dice_below(&flush->dice, PAGE_COUNT);
		uint64_t within = dice_below(&flush->dice, page_bytes - UPDATE_BYTES);

		memset(bytes, (int)dice_below(&flush->dice, 256), sizeof(bytes));
		err = tree_write(flush->store.store, flush->store.ino, page * page_bytes + within,
				 bytes, sizeof(bytes), false);
	}
	return err;
}

static int varve_sample(void *context, double *figure_out)
{
	struct flush *flush = context;
	struct store_usage before, after;
	struct machine_io io;
	uint64_t start;
	int err = pages_update(flush);

	if (err)
		return err;
	store_usage_get(flush->store.store, &before);
	machine_io_get(flush->store.path, &io);
	start = clock_ns();
	err = store_sync(flush->store.store, NULL);
	*figure_out = (double)(clock_ns() - start) / 1000;
	if (err)
		return err;
	sums_add(flush, &flush->varve_sums, &io);
	store_usage_get(flush->store.store, &after);
	flush->bytes = after.flush_bytes - before.flush_bytes;
	flush->total_bytes += flush->bytes;
	flush->ranges += after.flush_range_count - before.flush_range_count;
	flush->store_flushes += after.flush_count - before.flush_count;
	return 0;
}

static int bare_sample(void *context, double *figure_out)
{
	struct flush *flush = context;
	struct machine_io io;
	uint64_t start;
	int err = flush->bytes > BARE_WRITE_MAX ? -EFBIG
						: bare_file_prepare(&flush->bare, flush->bytes);

	if (err)
		return err;
	machine_io_get(flush->store.path, &io);
	start = clock_ns();
	err = bare_file_append(&flush->bare, flush->bare_bytes, flush->bytes);
	*figure_out = (double)(clock_ns() - start) / 1000;
	sums_add(flush, &flush->bare_sums, &io);
	return err;
}

static void sums_report(struct flush *flush, const char *name, const struct flush_sums *sums)
{
	double flushes = (double)sums->flushes;

	bench_say(flush->bench, "        %-6s %.2f disk writes of together %.1f KiB and %.2f cache flushes a flush",
		  name, (double)sums->io.disk_writes / flushes,
		  (double)sums->io.disk_written_bytes / flushes / 1024,
		  (double)sums->io.disk_flushes / flushes);
}

static int flush_measure(struct flush *flush, unsigned updates, unsigned rounds, const char *what)
{
	const struct contender contenders[] = {
		{ "varve: store_sync", varve_sample, flush, false },
		{ "pwrite and fdatasync of the same bytes", bare_sample, flush, false },
	};
	const struct claim claim = {
		.what = what,
		.unit = "us",
		.better = LOWER_IS_BETTER,
		.contenders = contenders,
		.contender_count = sizeof(contenders) / sizeof(contenders[0]),
		.ratio_limit = TARGET,
		.rounds = rounds,
	};
	int err;

	if (!bench_wants(flush->bench, what))
		return 0;
	flush->updates = updates;
	flush->bytes = 1;               /* for the warming round, in which the bare one may come first */
	flush->ranges = flush->total_bytes = flush->store_flushes = 0;
	flush->varve_sums = flush->bare_sums = (struct flush_sums){ 0 };
	err = claim_measure(flush->bench, &claim);
	if (err)
		return err;
	/* A layer that fills up meanwhile leaves its own tail behind: two then. */
	bench_fact(flush->bench, "dirty ranges for each layer flushed",
		   (double)flush->ranges / (double)flush->store_flushes, "ranges", FACT_AT_MOST, 1);
	bench_fact(flush->bench, "history flushed",
		   (double)flush->total_bytes / (double)flush->varve_sums.flushes, "bytes a flush",
		   FACT_NOTE, 0);
	sums_report(flush, "varve", &flush->varve_sums);
	sums_report(flush, "bare", &flush->bare_sums);
	return 0;
}

static int flush_all(struct flush *flush)
{
	unsigned many = (unsigned)bench_size(flush->bench, 400, 40);
	unsigned few = (unsigned)bench_size(flush->bench, 150, 15);
	int err = flush_measure(flush, 1, many, "flush after 1 update of 96 bytes");

	if (!err)
		err = flush_measure(flush, 10, many, "flush after 10 updates of 96 bytes");
	if (!err)
		err = flush_measure(flush, 1000, few, "flush after 1000 updates of 96 bytes");
	return err;
}

static int flush_run(struct bench *bench)
{
	struct flush flush = { .bench = bench, .dice = { 1 } };
	int err, close_err;

	bare_file_init(&flush.bare, bench_dir(bench));
	flush.bare_bytes = malloc(BARE_WRITE_MAX);
	if (!flush.bare_bytes)
		return bench_fail(bench, -ENOMEM, "the bytes to write");
	memset(flush.bare_bytes, 0x5a, BARE_WRITE_MAX);
	bench_say(bench, "a file of %u pages of 8 KiB, updates at random pages; the two take turns from flush to flush",
		  PAGE_COUNT);
	err = store_fixture_make(&flush.store, bench, "store");
	if (!err)
		err = store_fixture_open(&flush.store, bench, 0);
	if (!err)
		err = store_fixture_fill(&flush.store, bench,
					 (uint64_t)PAGE_COUNT * STORE_PAGE_SIZE_DEFAULT, FILL_CALL_BYTES);
	if (!err) {
		err = store_sync(flush.store.store, NULL);
		if (err)
			bench_fail(bench, err, "store_sync");
	}
	if (!err)
		err = flush_all(&flush);
	close_err = store_fixture_close(&flush.store);
	bare_file_destroy(&flush.bare);
	free(flush.bare_bytes);
	return err ? err : close_err;
}

const struct bench_subject flush_subject = {
	.name = "flush",
	.doc = "a sync under load, against pwrite and fdatasync of the same bytes",
	.run = flush_run,
};
