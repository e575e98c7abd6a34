/*
 * Sync: an application that makes each small change durable, as a database's
 * commit does: write 8 KiB, sync, again.
 *
 * One thread is held against pwrite and fdatasync of the same bytes, behind one
 * another in a file reserved in the same way; sixteen are held against one, for
 * syncs that are gathered go to the disk together. Beside them stands what bare calls reach: one change a sync,
 * and sixteen a sync, where nobody has to come or be woken.
 */
#include "bench.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "bare_file.h"
#include "clock.h"
#include "store_fixture.h"
#include "tree.h"

#define CHANGE_BYTES STORE_PAGE_SIZE_DEFAULT
#define PAGE_COUNT 16384u
#define FILL_CALL_BYTES (1u << 20)
#define BARE_CHANGE_BYTES (CHANGE_BYTES + 128u)  /* a change and what varve puts about it */
#define THREADS_MANY 16u
#define TARGET_ONE 1.2
#define TARGET_MANY 4.0

struct sync_bench {
	struct bench *bench;
	struct store_fixture store;
	unsigned changes;               /* of each thread, in a sample */
	struct bare_file bare;
	uint8_t bytes[THREADS_MANY * BARE_CHANGE_BYTES];
};

/* One thread that changes and syncs. */
struct syncer {
	struct sync_bench *sync;
	struct dice dice;
	int err;
};

static int change_and_sync(struct sync_bench *sync, struct dice *dice)
{
	uint8_t bytes[CHANGE_BYTES];
	int err;

	memset(bytes, (int)dice_below(dice, 256), sizeof(bytes));
	err = tree_write(sync->store.store, sync->store.ino,
			 dice_below(dice, PAGE_COUNT) * CHANGE_BYTES, bytes, sizeof(bytes), false);
	return err ? err : store_sync(sync->store.store, NULL);
}

static void *syncer_run(void *context)
{
	struct syncer *syncer = context;

	for (unsigned i = 0; i < syncer->sync->changes && !syncer->err; i++)
		syncer->err = change_and_sync(syncer->sync, &syncer->dice);
	return NULL;
}

/* In thousand syncs a second, of all threads together. */
static int syncers_sample(struct sync_bench *sync, unsigned thread_count, double *figure_out)
{
	struct syncer syncers[THREADS_MANY];
	pthread_t threads[THREADS_MANY];
	uint64_t start = clock_ns();
	unsigned started = 0;
	int err = 0;

	for (unsigned i = 0; i < thread_count; i++)
		syncers[i] = (struct syncer){ sync, { start + i }, 0 };
	while (!err && started < thread_count) {
		err = -pthread_create(&threads[started], NULL, syncer_run, &syncers[started]);
		started += !err;
	}
	for (unsigned i = 0; i < started; i++) {
		pthread_join(threads[i], NULL);
		err = err ? err : syncers[i].err;
	}
	*figure_out = (double)thread_count * sync->changes * 1e6 / (double)(clock_ns() - start);
	return err;
}

static int many_sample(void *context, double *figure_out)
{
	return syncers_sample(context, THREADS_MANY, figure_out);
}

static int one_sample(void *context, double *figure_out)
{
	return syncers_sample(context, 1, figure_out);
}

/* In thousand changes a second, @gathered of which go with each fdatasync. */
static int bare_rate_sample(struct sync_bench *sync, unsigned gathered, double *figure_out)
{
	uint64_t ns = 0, start;
	int err = 0;

	for (unsigned i = 0; i < sync->changes && !err; i++) {
		err = bare_file_prepare(&sync->bare, gathered * BARE_CHANGE_BYTES);
		start = clock_ns();
		if (!err)
			err = bare_file_append(&sync->bare, sync->bytes, gathered * BARE_CHANGE_BYTES);
		ns += clock_ns() - start;
	}
	*figure_out = (double)sync->changes * gathered * 1e6 / (double)ns;
	return err;
}

static int bare_one_sample(void *context, double *figure_out)
{
	return bare_rate_sample(context, 1, figure_out);
}

static int bare_many_sample(void *context, double *figure_out)
{
	return bare_rate_sample(context, THREADS_MANY, figure_out);
}

/* In microseconds. */
static int varve_sample(void *context, double *figure_out)
{
	struct sync_bench *sync = context;
	uint64_t start = clock_ns();
	struct dice dice = { start };
	int err = change_and_sync(sync, &dice);

	*figure_out = (double)(clock_ns() - start) / 1000;
	return err;
}

static int bare_sample(void *context, double *figure_out)
{
	struct sync_bench *sync = context;
	uint64_t start;
	int err = bare_file_prepare(&sync->bare, BARE_CHANGE_BYTES);

	start = clock_ns();
	if (!err)
		err = bare_file_append(&sync->bare, sync->bytes, BARE_CHANGE_BYTES);
	*figure_out = (double)(clock_ns() - start) / 1000;
	return err;
}

static int one_measure(struct sync_bench *sync)
{
	const struct contender contenders[] = {
		{ "varve: tree_write and store_sync", varve_sample, sync, false },
		{ "pwrite and fdatasync of the same bytes", bare_sample, sync, false },
	};
	const struct claim claim = {
		.what = "8 KiB change made durable, 1 thread",
		.unit = "us",
		.better = LOWER_IS_BETTER,
		.contenders = contenders,
		.contender_count = sizeof(contenders) / sizeof(contenders[0]),
		.ratio_limit = TARGET_ONE,
		.rounds = (unsigned)bench_size(sync->bench, 1000, 40),
	};

	return claim_measure(sync->bench, &claim);
}

static int many_measure(struct sync_bench *sync)
{
	const struct contender contenders[] = {
		{ "varve: 16 threads", many_sample, sync, false },
		{ "varve: 1 thread", one_sample, sync, false },
		{ "pwrite and fdatasync, a change each", bare_one_sample, sync, true },
		{ "pwrite and fdatasync, 16 changes each", bare_many_sample, sync, true },
	};
	const struct claim claim = {
		.what = "8 KiB changes made durable, 16 threads",
		.unit = "thousand syncs/s",
		.better = HIGHER_IS_BETTER,
		.contenders = contenders,
		.contender_count = sizeof(contenders) / sizeof(contenders[0]),
		.ratio_limit = TARGET_MANY,
	};

	return claim_measure(sync->bench, &claim);
}

static int sync_prepare(struct sync_bench *sync)
{
	int err = store_fixture_make(&sync->store, sync->bench, "store");

	if (!err)
		err = store_fixture_open(&sync->store, sync->bench, 0);
	if (!err)
		err = store_fixture_fill(&sync->store, sync->bench,
					 (uint64_t)PAGE_COUNT * CHANGE_BYTES, FILL_CALL_BYTES);
	if (!err) {
		err = store_sync(sync->store.store, NULL);
		if (err)
			bench_fail(sync->bench, err, "store_sync");
	}
	return err;
}

static int sync_run(struct bench *bench)
{
	struct sync_bench sync = {
		.bench = bench,
		.changes = (unsigned)bench_size(bench, 400, 40),
	};
	int err, close_err;

	bare_file_init(&sync.bare, bench_dir(bench));
	bench_say(bench, "a file of %u pages of 8 KiB; each change a page at random, followed by a sync",
		  PAGE_COUNT);
	err = sync_prepare(&sync);
	if (!err)
		err = one_measure(&sync);
	if (!err)
		err = many_measure(&sync);
	close_err = store_fixture_close(&sync.store);
	bare_file_destroy(&sync.bare);
	return err ? err : close_err;
}

const struct bench_subject sync_subject = {
	.name = "sync",
	.doc = "small changes made durable one by one, by one thread and by sixteen",
	.run = sync_run,
};
