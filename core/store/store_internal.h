/*
 * Store, inside: what the files of this folder share.
 */
#ifndef VARVE_STORE_INTERNAL_H
#define VARVE_STORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "attr.h"
#include "engine.h"
#include "inode.h"
#include "orphans.h"
#include "store.h"
#include "tree.h"

struct listing_cache;
struct page_map_cache;
struct past_attr_cache;
struct extent_cache;
struct recent_pages;

struct store {
	/* constant after store_open */
	char *path;
	int dir_fd, lock_fd;
	uint32_t page_size_bytes;
	uint64_t name_hash_mask;
	uint32_t drop_tombstones;
	struct engine *engine;
	struct inode_table *inodes;
	struct listing_cache *listings;
	struct past_attr_cache *past_attrs;
	struct extent_cache *past_extents;
	struct recent_pages *recent_pages;
	struct page_map_cache *page_maps;
	struct orphans orphans;

	_Atomic uint64_t ino_next;      /* the next number to give out */
	pthread_mutex_t rename_lock;    /* held while a directory moves: parents stay put; outside inode locks */
};

/* The steps of store_open, in order; each with its errors. */
struct store *store_new(unsigned name_hash_bits);       /* NULL: no memory */
int store_open_dir(struct store *store, const char *path, struct report *report);
int store_lock(struct store *store, const char *holder, struct report *report);
int store_start(struct store *store, const struct store_options *options, struct report *report);
void store_stop(struct store *store);   /* undo store_start; not started is no error */
/* Undo whatever of them was done. */
void store_free(struct store *store);

/* Can @at, an LSN of the past, be read? A guard is held: then it can for as long as the guard lasts. */
bool store_can_read(struct store *store, struct lsn at);

/* Attributes of @ino as of @lsn; @raw_out (ATTR_BYTES) and @version_out may be NULL.
 * -ENOENT; -errno. */
int attr_load(const struct layer_guard *guard, uint64_t ino, struct lsn lsn, struct attr *attr_out,
	      uint8_t *raw_out, struct version *version_out);

/* Clear the set-user-id bit and, where group-executable, the set-group-id bit; of a directory, where they say
 * something else, neither. */
void tree_drop_set_id(struct tree_attr *shown);

struct change;
struct change_inode;

/* Commit a change of a file's data, and with it that TREE_XATTR_CAPABILITY goes; with @drop_set_id the set-id bits
 * too. As change_commit; -EUCLEAN; -ENOMEM. */
int tree_commit_unprivileged(struct change *change, struct change_inode *inode, bool drop_set_id);

/* Attributes at @at, *lsn_out, which is the LSN to read at, and a guard that covers it. In the past an inode
 * without a name is gone. -ENOENT; -errno: no guard is held. */
int attr_guarded(struct store *store, struct layer_guard *guard, uint64_t ino, struct lsn at,
		 struct attr *attr_out, struct lsn *lsn_out);

/* tree_seek, and how large the file was that was looked at, also with -ENXIO. */
int tree_seek_sized(struct store *store, uint64_t ino, struct lsn at, uint64_t offset_bytes, bool hole,
		    uint64_t *offset_out, uint64_t *size_out);

/* An extended attribute of @ino as of @lsn, to be freed. -ENODATA; -EUCLEAN; -ENOMEM; -errno. */
int xattr_load(const struct layer_guard *guard, uint64_t ino, struct lsn lsn, const char *name,
	       uint8_t **value_out, size_t *size_out);
/* The same of one whose number is known (xattr_list.h), so that it must be there. */
int xattr_value_load(const struct layer_guard *guard, uint64_t ino, uint16_t number, struct lsn lsn,
		     uint8_t **value_out, size_t *size_out);

struct tree_time tree_now(int64_t *ns_out);     /* CLOCK_REALTIME */

/* Write the first batch, which makes the root directory. */
int tree_make_root(struct store *store, uint32_t mode, uint32_t uid, uint32_t gid);

#endif
