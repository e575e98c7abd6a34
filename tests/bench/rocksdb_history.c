/*
 * RocksDB as a history store: LZ4, the write-ahead log on, writes gathered into batches,
 * the batch that a sync ends written with a sync of the log. Else as it comes, but for
 * as many threads as there are processors, and a block cache as large as varve's.
 */
#include "history_store.h"

#include <errno.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "rival_pages.h"

#define CACHE_BYTES (64u << 20)
#define BATCH_BYTES (1u << 20)          /* of a batch that is not yet synced */
#define BATCH_PAGES (BATCH_BYTES / HISTORY_PAGE_BYTES)
#define POLL_NS 20000000

struct history_store {
	rocksdb_t *db;
	rocksdb_options_t *options;
	rocksdb_block_based_table_options_t *table;
	rocksdb_cache_t *cache;
	rocksdb_writeoptions_t *write_options, *sync_options;
	rocksdb_readoptions_t *read_options;
	rocksdb_flushoptions_t *flush_options;
	rocksdb_writebatch_t *batch;
	rocksdb_iterator_t *iterator;   /* NULL: none since the last write */
	struct rival_pages pages;
	uint64_t moment;
};

/* RocksDB tells what failed as text. */
static int failure(char *text)
{
	if (!text)
		return 0;
	fprintf(stderr, "varve-bench: RocksDB: %s\n", text);
	rocksdb_free(text);
	return -EIO;
}

static void iterator_drop(struct history_store *store)
{
	if (store->iterator)
		rocksdb_iter_destroy(store->iterator);
	store->iterator = NULL;
}

static int rocks_close(struct history_store *store)
{
	if (!store)
		return 0;
	iterator_drop(store);
	if (store->db)
		rocksdb_close(store->db);
	rocksdb_writebatch_destroy(store->batch);
	rocksdb_flushoptions_destroy(store->flush_options);
	rocksdb_readoptions_destroy(store->read_options);
	rocksdb_writeoptions_destroy(store->write_options);
	rocksdb_writeoptions_destroy(store->sync_options);
	rocksdb_options_destroy(store->options);
	rocksdb_block_based_options_destroy(store->table);
	rocksdb_cache_destroy(store->cache);
	rival_pages_free(&store->pages);
	free(store);
	return 0;
}

static int rocks_open(const char *path, bool at_random, struct history_store **store_out)
{
	struct history_store *store = calloc(1, sizeof(*store));
	char *text = NULL;

	*store_out = NULL;
	if (!store)
		return -ENOMEM;
	store->options = rocksdb_options_create();
	rocksdb_options_set_create_if_missing(store->options, 1);
	rocksdb_options_set_compression(store->options, rocksdb_lz4_compression);
	rocksdb_options_increase_parallelism(store->options, (int)sysconf(_SC_NPROCESSORS_ONLN));
	rocksdb_options_set_advise_random_on_open(store->options, at_random);
	store->cache = rocksdb_cache_create_lru(CACHE_BYTES);
	store->table = rocksdb_block_based_options_create();
	rocksdb_block_based_options_set_block_cache(store->table, store->cache);
	rocksdb_options_set_block_based_table_factory(store->options, store->table);
	store->write_options = rocksdb_writeoptions_create();
	store->sync_options = rocksdb_writeoptions_create();
	rocksdb_writeoptions_set_sync(store->sync_options, 1);
	store->read_options = rocksdb_readoptions_create();
	store->flush_options = rocksdb_flushoptions_create();
	rocksdb_flushoptions_set_wait(store->flush_options, 1);
	store->batch = rocksdb_writebatch_create();
	store->db = rocksdb_open(store->options, path, &text);
	if (text) {
		rocks_close(store);
		return failure(text);
	}
	*store_out = store;
	return 0;
}

static int batch_write(struct history_store *store, const rocksdb_writeoptions_t *options)
{
	char *text = NULL;

	rocksdb_write(store->db, options, store->batch, &text);
	rocksdb_writebatch_clear(store->batch);
	return failure(text);
}

static int version_put(void *context, struct rival_key key, const uint8_t *page_bytes)
{
	struct history_store *store = context;

	rocksdb_writebatch_put(store->batch, (const char *)key.bytes, sizeof(key.bytes),
			       (const char *)page_bytes, HISTORY_PAGE_BYTES);
	return rocksdb_writebatch_count(store->batch) < (int)BATCH_PAGES ? 0
		: batch_write(store, store->write_options);
}

static int rocks_write(struct history_store *store, struct history_place place, const uint8_t *bytes,
		       size_t size_bytes)
{
	iterator_drop(store);
	return rival_pages_write(&store->pages, place, bytes, size_bytes, ++store->moment, version_put, store);
}

static int rocks_sync(struct history_store *store)
{
	return batch_write(store, store->sync_options);
}

static uint64_t rocks_moment(struct history_store *store)
{
	return store->moment;
}

static int page_read(struct history_store *store, struct rival_key key, uint8_t *page_out)
{
	const char *found;
	size_t size;
	char *text = NULL;

	rocksdb_iter_seek(store->iterator, (const char *)key.bytes, sizeof(key.bytes));
	if (rocksdb_iter_valid(store->iterator)) {
		found = rocksdb_iter_key(store->iterator, &size);
		if (rival_key_is_of(found, size, key)) {
			found = rocksdb_iter_value(store->iterator, &size);
			if (size != HISTORY_PAGE_BYTES)
				return -EUCLEAN;
			memcpy(page_out, found, size);
			return 0;
		}
	}
	memset(page_out, 0, HISTORY_PAGE_BYTES);
	rocksdb_iter_get_error(store->iterator, &text);
	return failure(text);
}

static int rocks_read(struct history_store *store, struct history_place place, uint64_t moment,
		      uint8_t *bytes_out, size_t size_bytes)
{
	int err = 0;

	if (!store->iterator)
		store->iterator = rocksdb_create_iterator(store->db, store->read_options);
	for (size_t at = 0; at < size_bytes && !err; at += HISTORY_PAGE_BYTES) {
		err = page_read(store, rival_key_make(place, moment), bytes_out + at);
		place.offset_bytes += HISTORY_PAGE_BYTES;
	}
	return err;
}

static bool is_busy(struct history_store *store)
{
	static const char *const properties[] = {
		"rocksdb.num-running-flushes", "rocksdb.mem-table-flush-pending",
		"rocksdb.num-running-compactions", "rocksdb.compaction-pending",
	};
	uint64_t value = 0;

	for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++) {
		if (rocksdb_property_int(store->db, properties[i], &value) == 0 && value)
			return true;
	}
	return false;
}

static int rocks_rest(struct history_store *store)
{
	char *text = NULL;
	int err;

	rocksdb_flush(store->db, store->flush_options, &text);
	err = failure(text);
	while (!err && is_busy(store))
		nanosleep(&(struct timespec){ .tv_nsec = POLL_NS }, NULL);
	return err;
}

static int rocks_settle(struct history_store *store)
{
	iterator_drop(store);
	rocksdb_compact_range(store->db, NULL, 0, NULL, 0);
	return rocks_rest(store);
}

const struct history_store_type rocksdb_history = {
	.name = "RocksDB",
	.open = rocks_open,
	.close = rocks_close,
	.write = rocks_write,
	.sync = rocks_sync,
	.moment = rocks_moment,
	.read = rocks_read,
	.rest = rocks_rest,
	.settle = rocks_settle,
};
