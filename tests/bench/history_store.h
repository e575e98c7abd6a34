/*
 * History store: what keeps every version of every page, so that varve and its rivals
 * take the same writes and answer the same questions.
 *
 * A place is a file's number and an offset in it. A moment is a number that a store
 * hands out after a write and takes back in a read: the state then. What was not
 * written by then reads as zeros.
 *
 * Rivals know pages only: they keep each version of a page whole, under the key
 * (page, moment), newest first (rival_pages.h).
 *
 * Threads: one at a time. Errors: 0 or -errno.
 */
#ifndef VARVE_BENCH_HISTORY_STORE_H
#define VARVE_BENCH_HISTORY_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HISTORY_PAGE_BYTES 8192u
#define HISTORY_FILES_MAX 16u
#define HISTORY_WRITE_MAX (1u << 20)

struct history_place {
	uint32_t file;                  /* below HISTORY_FILES_MAX */
	uint64_t offset_bytes;
};

struct history_store;                   /* each kind's own */

struct history_store_type {
	const char *name;
	/* Open the store in @path, a directory that exists; what is not there is made.
	 * @at_random: how it will be read, for who can be told. */
	int (*open)(const char *path, bool at_random, struct history_store **store_out);
	int (*close)(struct history_store *store);      /* NULL: 0 */
	/* Bytes of any alignment, at most HISTORY_WRITE_MAX: one change. */
	int (*write)(struct history_store *store, struct history_place place, const uint8_t *bytes,
		     size_t size_bytes);
	int (*sync)(struct history_store *store);       /* all writes up to now survive power loss */
	uint64_t (*moment)(struct history_store *store);
	/* Whole pages. Not between a write and its sync. */
	int (*read)(struct history_store *store, struct history_place place, uint64_t moment,
		    uint8_t *bytes_out, size_t size_bytes);
	/* Wait for what the store does by itself behind writes. NULL: it does nothing. */
	int (*rest)(struct history_store *store);
	/* Have it do all that makes it smaller and faster to read. NULL: there is nothing. */
	int (*settle)(struct history_store *store);
	/* Then have it put its history in another order, by which it is read and measured once more.
	 * NULL: it has one. */
	int (*compact)(struct history_store *store);
};

extern const struct history_store_type varve_history;
#ifdef BENCH_ROCKSDB
extern const struct history_store_type rocksdb_history;
#endif
#ifdef BENCH_LMDB
extern const struct history_store_type lmdb_history;
#endif

#endif
