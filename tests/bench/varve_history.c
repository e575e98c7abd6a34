/*
 * varve as a history store: a file of the tree for each file, through the store's own
 * calls, without a mount. A moment is an LSN.
 */
#include "history_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "compaction_plan.h"
#include "tree.h"
#include "store.h"

#define STORE_FOLDER "store"
#define MEMORY_BYTES (UINT64_C(256) << 20)      /* of it a block cache of 64 MiB, as RocksDB gets */
#define IDLE_NS 1000000000      /* a minute by default */

struct history_store {
	struct store *store;
	uint64_t inos[HISTORY_FILES_MAX];       /* 0: not looked up yet */
};

static int report_error(int err, const struct report *report)
{
	if (err)
		fprintf(stderr, "varve-bench: %s\n", report->text);
	return err;
}

static int varve_open(const char *path, bool at_random, struct history_store **store_out)
{
	const struct store_mkfs_options mkfs = { .page_size_bytes = HISTORY_PAGE_BYTES };
	const struct store_options options = { .holder = "varve-bench", .memory_bytes = MEMORY_BYTES,
					       .idle_ns = IDLE_NS };
	struct history_store *store = calloc(1, sizeof(*store));
	struct report report = { "" };
	char folder[4096];
	int err = 0;

	(void)at_random;
	*store_out = NULL;
	if (!store)
		return -ENOMEM;
	snprintf(folder, sizeof(folder), "%s/" STORE_FOLDER, path);
	if (access(folder, F_OK) < 0)
		err = store_mkfs(folder, &mkfs, &report);
	if (!err)
		err = store_open(folder, &options, &report, &store->store);
	if (err)
		free(store);
	else
		*store_out = store;
	return report_error(err, &report);
}

static int varve_close(struct history_store *store)
{
	int err = store ? store_close(store->store) : 0;

	free(store);
	return err;
}

/* The inode of file number @file, made if it is not there. */
static int file_ino(struct history_store *store, uint32_t file, uint64_t *ino_out)
{
	const struct tree_new what = { .mode = S_IFREG | 0644 };
	struct tree_attr attr = { 0 };
	char name[16];
	int err = 0;

	if (!store->inos[file]) {
		snprintf(name, sizeof(name), "file%u", file);
		err = tree_lookup(store->store, TREE_ROOT_INO, name, LSN_HEAD, &attr);
		if (err == -ENOENT)
			err = tree_create(store->store, TREE_ROOT_INO, name, &what, &attr);
		if (!err)
			store->inos[file] = attr.ino;
	}
	*ino_out = store->inos[file];
	return err;
}

static int varve_write(struct history_store *store, struct history_place place, const uint8_t *bytes,
		       size_t size_bytes)
{
	uint64_t ino;
	int err = file_ino(store, place.file, &ino);

	return err ? err : tree_write(store->store, ino, place.offset_bytes, bytes, size_bytes, false);
}

static int varve_sync(struct history_store *store)
{
	return store_sync(store->store, NULL);
}

static uint64_t varve_moment(struct history_store *store)
{
	struct lsn oldest, newest;

	store_window(store->store, &oldest, &newest);
	return newest.value;
}

static int varve_read(struct history_store *store, struct history_place place, uint64_t moment,
		      uint8_t *bytes_out, size_t size_bytes)
{
	size_t count = 0;
	uint64_t ino;
	int err = file_ino(store, place.file, &ino);

	if (!err)
		err = tree_read(store->store, ino, lsn_make(moment), place.offset_bytes, bytes_out,
				size_bytes, &count);
	if (err == -ENOENT)             /* the file came later */
		err = 0;
	memset(bytes_out + count, 0, size_bytes - count);
	return err;
}

static bool is_busy(struct store *store)
{
	struct store_usage usage;

	store_usage_get(store, &usage);
	return !usage.compaction_error && (usage.merge_count || usage.level_0_count >= PLAN_REST_RUNS);
}

/* As a store is that is left alone: the open layer is sealed, and what is merged then has been merged. */
static int settle(struct history_store *store)
{
	const struct timespec idle = { .tv_sec = 2 + IDLE_NS / 1000000000 }, poll = { .tv_nsec = 10000000 };
	int err = store_freeze(store->store);

	if (!err)
		nanosleep(&idle, NULL);
	while (!err && is_busy(store->store))
		nanosleep(&poll, NULL);
	return err;
}

static int compact(struct history_store *store)
{
	return store_compact(store->store);
}

const struct history_store_type varve_history = {
	.name = "varve",
	.open = varve_open,
	.close = varve_close,
	.write = varve_write,
	.sync = varve_sync,
	.moment = varve_moment,
	.read = varve_read,
	.settle = settle,
	.compact = compact,
};
