/*
 * Open: how long a store takes to open whose open layer holds 256 MiB after its
 * process was killed. All of the layer is read, checked and indexed again.
 *
 * Each round a child fills a fresh store and kills itself. The limit is a plain
 * read of the same layer file, into one buffer and with no look at it.
 */
#include "bench.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "layer_file.h"
#include "store_fixture.h"
#include "workdir.h"

#define HELD_BYTES (256u << 20)
#define CALL_BYTES 8192u                /* one page: as many batches and versions as pages go */
#define LAYER_BYTES (512u << 20)        /* nothing freezes meanwhile */
#define READ_BYTES (1u << 20)
#define LIMIT_MS 1000
#define RECOVERY_GB_S 1.0
#define STORE_NAME "store"

struct open_bench {
	struct bench *bench;
	struct store_fixture store;
	uint64_t held_bytes;
	int layer_fd;                   /* -1: none */
	bool cold;                      /* the page cache forgets the file first */
};

/* Runs in the child. Does not return if all goes well. */
static int fill_and_die(struct open_bench *open_bench)
{
	int err = store_fixture_open(&open_bench->store, open_bench->bench, LAYER_BYTES);

	/* The layer that mkfs made is of the usual size; the next is of ours. */
	if (!err)
		err = store_freeze(open_bench->store.store);
	if (!err)
		err = store_fixture_fill(&open_bench->store, open_bench->bench,
					 open_bench->held_bytes, CALL_BYTES);
	if (!err)
		raise(SIGKILL);
	return 1;
}

static int store_fill_and_kill(struct open_bench *open_bench)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		_exit(fill_and_die(open_bench));
	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? 0 : -EIO;
}

static int is_layer(const struct dirent *entry)
{
	uint64_t layer_id;

	return layer_name_parse(entry->d_name, &layer_id) == 0;
}

/* Keep a descriptor of layer file @path if it is large enough to be the open one.
 * 0; 1: it is not; -errno. */
static int layer_try(struct open_bench *open_bench, const char *path)
{
	struct stat stat_buffer;

	open_bench->layer_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (open_bench->layer_fd < 0 || fstat(open_bench->layer_fd, &stat_buffer) < 0)
		return -errno;
	if ((uint64_t)stat_buffer.st_size >= open_bench->held_bytes)
		return 0;
	close(open_bench->layer_fd);
	open_bench->layer_fd = -1;
	return 1;
}

/* Keep a descriptor of the open layer: sealed ones before it are small, and a
 * spare comes behind it. */
static int layer_keep(struct open_bench *open_bench)
{
	char dir[PATH_MAX + 16], path[PATH_MAX + 300];
	struct dirent **entries = NULL;
	int count, err = 1;

	snprintf(dir, sizeof(dir), "%s/layers", open_bench->store.path);
	count = scandir(dir, &entries, is_layer, alphasort);
	if (count < 0)
		return -errno;
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, entries[i]->d_name);
		if (err > 0)
			err = layer_try(open_bench, path);
		free(entries[i]);
	}
	free(entries);
	return err > 0 ? -ENOENT : err;
}

static int round_end(struct open_bench *open_bench)
{
	int err = 0;

	if (open_bench->layer_fd >= 0)
		close(open_bench->layer_fd);
	open_bench->layer_fd = -1;
	if (open_bench->store.path[0])
		err = tree_remove(open_bench->store.path);
	open_bench->store.path[0] = '\0';
	return err;
}

/* A fresh store, left behind by a killed process. */
static int round_prepare(void *context)
{
	struct open_bench *open_bench = context;
	int err = round_end(open_bench);

	if (!err)
		err = store_fixture_make(&open_bench->store, open_bench->bench, STORE_NAME);
	if (!err)
		err = store_fill_and_kill(open_bench);
	if (!err)
		err = layer_keep(open_bench);
	return err;
}

static int cache_set(const struct open_bench *open_bench)
{
	if (!open_bench->cold)
		return 0;
	if (fsync(open_bench->layer_fd) < 0)
		return -errno;
	return -posix_fadvise(open_bench->layer_fd, 0, 0, POSIX_FADV_DONTNEED);
}

static int varve_sample(void *context, double *figure_out)
{
	struct open_bench *open_bench = context;
	struct store_usage usage;
	uint64_t start, elapsed;
	int err = cache_set(open_bench), close_err;

	if (err)
		return err;
	start = clock_ns();
	err = store_fixture_open(&open_bench->store, open_bench->bench, LAYER_BYTES);
	elapsed = clock_ns() - start;
	if (err)
		return err;
	store_usage_get(open_bench->store.store, &usage);
	close_err = store_fixture_close(&open_bench->store);
	if (usage.arena_image_bytes < open_bench->held_bytes)
		return bench_fail(open_bench->bench, -EIO, "the open layer holds %llu bytes of pages after the kill, not %llu",
				  (unsigned long long)usage.arena_image_bytes,
				  (unsigned long long)open_bench->held_bytes);
	*figure_out = (double)elapsed / 1e6;
	return close_err;
}

/* The same as a rate: history that was read, checked and indexed again. */
static int recovery_sample(void *context, double *figure_out)
{
	struct open_bench *open_bench = context;
	double ms;
	int err = varve_sample(context, &ms);

	*figure_out = err ? 0 : (double)open_bench->held_bytes / 1e6 / ms;
	return err;
}

static int read_sample(void *context, double *figure_out)
{
	struct open_bench *open_bench = context;
	uint8_t *buffer = malloc(READ_BYTES);
	int err = buffer ? cache_set(open_bench) : -ENOMEM;
	uint64_t start = clock_ns();

	for (uint64_t at = 0; at < open_bench->held_bytes && !err; at += READ_BYTES) {
		ssize_t count = pread(open_bench->layer_fd, buffer, READ_BYTES, (off_t)at);

		if (count != READ_BYTES)
			err = count < 0 ? -errno : -EIO;
	}
	*figure_out = (double)(clock_ns() - start) / 1e6;
	free(buffer);
	return err;
}

static int open_measure(struct open_bench *open_bench, const char *what, bool cold)
{
	const struct contender contenders[] = {
		{ "varve: store_open", varve_sample, open_bench, false },
		{ "a plain read of the layer", read_sample, open_bench, false },
	};
	const struct claim claim = {
		.what = what,
		.unit = "ms",
		.better = LOWER_IS_BETTER,
		.contenders = contenders,
		.contender_count = sizeof(contenders) / sizeof(contenders[0]),
		.value_limit = LIMIT_MS,
		.prepare = round_prepare,
		.prepare_context = open_bench,
	};

	open_bench->cold = cold;
	return claim_measure(open_bench->bench, &claim);
}

static int recovery_measure(struct open_bench *open_bench)
{
	const struct contender contenders[] = {
		{ "varve: store_open", recovery_sample, open_bench, false },
	};
	const struct claim claim = {
		.what = "recovery of unsealed history, page cache warm",
		.unit = "GB/s",
		.better = HIGHER_IS_BETTER,
		.contenders = contenders,
		.contender_count = 1,
		.value_limit = RECOVERY_GB_S,
		.prepare = round_prepare,
		.prepare_context = open_bench,
	};

	open_bench->cold = false;
	return claim_measure(open_bench->bench, &claim);
}

static int open_run(struct bench *bench)
{
	struct open_bench open_bench = {
		.bench = bench,
		.layer_fd = -1,
		.held_bytes = bench_size(bench, HELD_BYTES, 32u << 20),
	};
	int err;

	bench_say(bench, "%llu MiB of pages in the open layer, written one by one, by a process that was then killed",
		  (unsigned long long)(open_bench.held_bytes >> 20));
	err = open_measure(&open_bench, "open after a kill, page cache warm", false);
	if (!err)
		err = open_measure(&open_bench, "open after a kill, page cache dropped", true);
	if (!err)
		err = recovery_measure(&open_bench);
	round_end(&open_bench);
	return err;
}

const struct bench_subject open_subject = {
	.name = "open",
	.doc = "opening a store whose process was killed, beside a plain read of its layer",
	.run = open_run,
};
