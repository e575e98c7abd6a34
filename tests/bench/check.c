/*
 * Check: how fast store_check reads a store whose files are not in the page cache,
 * beside a plain read of the same files one after another. Both see the same bytes: the
 * files of the layers, cold.
 */
#include "bench.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "layer_file.h"
#include "store_fixture.h"
#include "workdir.h"

#define HELD_BYTES (UINT64_C(1) << 30)
#define READ_BYTES (1u << 20)
#define RATIO_LIMIT 0.8
#define STORE_NAME "store"
#define SMALL_CALL_BYTES 512u           /* as small as changes of a database's pages */

struct check_bench {
	struct bench *bench;
	struct store_fixture store;
	uint64_t file_bytes;            /* of all layer files */
};

static int is_layer(const struct dirent *entry)
{
	uint64_t layer_id;

	return layer_name_parse(entry->d_name, &layer_id) == 0;
}

/* Call @fn with each layer file, open, and its size. */
typedef int file_fn(int fd, uint64_t size_bytes, void *context);

static int each_layer(struct check_bench *check, file_fn *fn, void *context)
{
	char dir[PATH_MAX + 16], path[PATH_MAX + 300];
	struct dirent **entries = NULL;
	int count, err = 0;

	snprintf(dir, sizeof(dir), "%s/layers", check->store.path);
	count = scandir(dir, &entries, is_layer, alphasort);
	if (count < 0)
		return -errno;
	for (int i = 0; i < count; i++) {
		struct stat st;
		int fd = -1;

		snprintf(path, sizeof(path), "%s/%s", dir, entries[i]->d_name);
		if (!err)
			fd = open(path, O_RDONLY | O_CLOEXEC);
		if (!err && (fd < 0 || fstat(fd, &st) < 0))
			err = -errno;
		if (!err)
			err = fn(fd, (uint64_t)st.st_size, context);
		if (fd >= 0)
			close(fd);
		free(entries[i]);
	}
	free(entries);
	return err;
}

static int forget_file(int fd, uint64_t size_bytes, void *context)
{
	*(uint64_t *)context += size_bytes;
	return fsync(fd) < 0 ? -errno : -posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static int forget_all(struct check_bench *check)
{
	check->file_bytes = 0;
	return each_layer(check, forget_file, &check->file_bytes);
}

static void found(void *context, const struct finding *finding)
{
	bench_warn(context, "the check found: %s: %s", finding->file, finding->text);
}

static int check_sample(void *context, double *figure_out)
{
	struct check_bench *check = context;
	/* One LSN of the past: the tree is not what is measured. */
	const struct store_check_options options = { .sample_count = 1,
						     .hooks = { found, NULL, check->bench } };
	struct store_check_result result;
	struct report report = { "" };
	uint64_t start, elapsed;
	int err = forget_all(check);

	if (err)
		return err;
	start = clock_ns();
	err = store_check(check->store.path, &options, &report, &result);
	elapsed = clock_ns() - start;
	if (err || result.finding_count)
		return bench_fail(check->bench, err ? err : -EIO, "the check failed: %s", report.text);
	*figure_out = (double)check->file_bytes * 1e3 / (double)elapsed;
	return 0;
}

static int read_file(int fd, uint64_t size_bytes, void *buffer)
{
	for (uint64_t at = 0; at < size_bytes; at += READ_BYTES) {
		ssize_t count = pread(fd, buffer, READ_BYTES, (off_t)at);

		if (count <= 0)
			return count < 0 ? -errno : -EIO;
	}
	return 0;
}

static int read_sample(void *context, double *figure_out)
{
	struct check_bench *check = context;
	uint8_t *buffer = malloc(READ_BYTES);
	int err = buffer ? forget_all(check) : -ENOMEM;
	uint64_t start = clock_ns();

	if (!err)
		err = each_layer(check, read_file, buffer);
	*figure_out = (double)check->file_bytes * 1e3 / (double)(clock_ns() - start);
	free(buffer);
	return err;
}

static int check_measure(struct check_bench *check, const char *what, uint32_t call_bytes)
{
	const struct contender contenders[] = {
		{ "varve: store_check", check_sample, check, false },
		{ "a plain read of the files", read_sample, check, false },
	};
	const struct claim claim = {
		.what = what,
		.unit = "MB/s",
		.better = HIGHER_IS_BETTER,
		.contenders = contenders,
		.contender_count = sizeof(contenders) / sizeof(contenders[0]),
		.ratio_limit = RATIO_LIMIT,
	};
	uint64_t held_bytes = bench_size(check->bench, HELD_BYTES, 32u << 20);
	int err, remove_err;

	if (!bench_wants(check->bench, what))
		return 0;
	/* Small changes take about as much of the log for their heads. */
	if (call_bytes < 4096)
		held_bytes /= 4;
	err = store_fixture_make(&check->store, check->bench, STORE_NAME);
	if (!err)
		err = store_fixture_open(&check->store, check->bench, 0);
	if (!err)
		err = store_fixture_fill(&check->store, check->bench, held_bytes, call_bytes);
	if (!err)
		err = store_freeze(check->store.store);
	if (check->store.store && store_fixture_close(&check->store) && !err)
		err = -EIO;
	if (!err)
		err = claim_measure(check->bench, &claim);
	remove_err = tree_remove(check->store.path);
	return err ? err : remove_err;
}

static int check_run(struct bench *bench)
{
	struct check_bench check = { .bench = bench };
	int err;

	bench_say(bench, "layers of 64 MiB; files dropped from the page cache before each sample");
	err = check_measure(&check, "check of a cold store, 8 KiB writes", 8192);
	if (!err)
		err = check_measure(&check, "check of a cold store, 512 byte writes", SMALL_CALL_BYTES);
	return err;
}

const struct bench_subject check_subject = {
	.name = "check",
	.doc = "varve check of a cold store, beside a plain read of its files",
	.run = check_run,
};
