/*
 * LMDB as a history store: a transaction from sync to sync, its commit synced as it
 * comes. Reads are by one transaction and cursor, kept from read to read, and at random
 * without the kernel's read-ahead, as its manual advises.
 */
#include "history_store.h"

#include <errno.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rival_pages.h"

#define MAP_BYTES (UINT64_C(1) << 38)   /* address space, not disk */

struct history_store {
	MDB_env *env;
	MDB_dbi dbi;
	MDB_txn *writer, *reader;       /* NULL: none; never both */
	MDB_cursor *cursor;             /* the reader's */
	struct rival_pages pages;
	uint64_t moment;
};

/* LMDB's own codes are negative, the system's positive. */
static int failure(int code)
{
	if (!code)
		return 0;
	fprintf(stderr, "varve-bench: LMDB: %s\n", mdb_strerror(code));
	return code > 0 ? -code : -EIO;
}

static void reader_end(struct history_store *store)
{
	if (store->cursor)
		mdb_cursor_close(store->cursor);
	if (store->reader)
		mdb_txn_abort(store->reader);
	store->cursor = NULL;
	store->reader = NULL;
}

static int lmdb_close(struct history_store *store)
{
	if (!store)
		return 0;
	reader_end(store);
	if (store->writer)
		mdb_txn_abort(store->writer);
	if (store->env)
		mdb_env_close(store->env);
	rival_pages_free(&store->pages);
	free(store);
	return 0;
}

static int env_open(struct history_store *store, const char *path, bool at_random)
{
	MDB_txn *txn;
	int code = mdb_env_create(&store->env);

	if (!code)
		code = mdb_env_set_mapsize(store->env, MAP_BYTES);
	if (!code)
		code = mdb_env_open(store->env, path, at_random ? MDB_NORDAHEAD : 0, 0644);
	if (!code)
		code = mdb_txn_begin(store->env, NULL, 0, &txn);
	if (code)
		return code;
	code = mdb_dbi_open(txn, NULL, 0, &store->dbi);
	if (code) {
		mdb_txn_abort(txn);
		return code;
	}
	return mdb_txn_commit(txn);
}

static int lmdb_open(const char *path, bool at_random, struct history_store **store_out)
{
	struct history_store *store = calloc(1, sizeof(*store));
	int err;

	*store_out = NULL;
	if (!store)
		return -ENOMEM;
	err = failure(env_open(store, path, at_random));
	if (err)
		lmdb_close(store);
	else
		*store_out = store;
	return err;
}

static int version_put(void *context, struct rival_key key, const uint8_t *page_bytes)
{
	struct history_store *store = context;
	MDB_val name = { sizeof(key.bytes), key.bytes };
	MDB_val value = { HISTORY_PAGE_BYTES, (void *)(uintptr_t)page_bytes };

	return failure(mdb_put(store->writer, store->dbi, &name, &value, 0));
}

static int lmdb_write(struct history_store *store, struct history_place place, const uint8_t *bytes,
		      size_t size_bytes)
{
	int err = 0;

	reader_end(store);
	if (!store->writer)
		err = failure(mdb_txn_begin(store->env, NULL, 0, &store->writer));
	if (!err)
		err = rival_pages_write(&store->pages, place, bytes, size_bytes, ++store->moment, version_put,
					store);
	return err;
}

static int lmdb_sync(struct history_store *store)
{
	MDB_txn *writer = store->writer;

	store->writer = NULL;
	return writer ? failure(mdb_txn_commit(writer)) : 0;
}

static uint64_t lmdb_moment(struct history_store *store)
{
	return store->moment;
}

static int reader_begin(struct history_store *store)
{
	int code;

	if (store->cursor)
		return 0;
	code = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &store->reader);
	if (!code)
		code = mdb_cursor_open(store->reader, store->dbi, &store->cursor);
	return failure(code);
}

static int page_read(struct history_store *store, struct rival_key key, uint8_t *page_out)
{
	MDB_val name = { sizeof(key.bytes), key.bytes };
	MDB_val value;
	int code = mdb_cursor_get(store->cursor, &name, &value, MDB_SET_RANGE);

	if (code && code != MDB_NOTFOUND)
		return failure(code);
	if (code || !rival_key_is_of(name.mv_data, name.mv_size, key)) {
		memset(page_out, 0, HISTORY_PAGE_BYTES);
		return 0;
	}
	if (value.mv_size != HISTORY_PAGE_BYTES)
		return -EUCLEAN;
	memcpy(page_out, value.mv_data, value.mv_size);
	return 0;
}

static int lmdb_read(struct history_store *store, struct history_place place, uint64_t moment,
		     uint8_t *bytes_out, size_t size_bytes)
{
	int err = reader_begin(store);

	for (size_t at = 0; at < size_bytes && !err; at += HISTORY_PAGE_BYTES) {
		err = page_read(store, rival_key_make(place, moment), bytes_out + at);
		place.offset_bytes += HISTORY_PAGE_BYTES;
	}
	return err;
}

const struct history_store_type lmdb_history = {
	.name = "LMDB",
	.open = lmdb_open,
	.close = lmdb_close,
	.write = lmdb_write,
	.sync = lmdb_sync,
	.moment = lmdb_moment,
	.read = lmdb_read,
};
