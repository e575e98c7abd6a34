/*
 * Store: the façade of the core. A directory on a local disk that holds one
 * history; open it, change its tree (tree.h), sync it, close it.
 *
 * Threads: every call may be made from any thread, several at once, except
 * store_close, which must be the last.
 *
 * Promises kept here (core/README.md argues each):
 *   (1) Every change has one LSN; LSNs only grow; the state at n is the effect
 *       of exactly the changes with LSN <= n.
 *   (2) A change is there whole or not at all, at every LSN and after a crash.
 *   (3) Once store_sync returned 0, everything up to its LSN survives power loss.
 *   (4) A process killed at any instruction loses no change that had returned.
 *   (5) After a failed sync no call reports success for a change (-EROFS).
 *
 * Order of locks, outermost first; a thread takes them only downward:
 *   inode locks (ascending inode number; store/inode.h)
 *   inode table shard (store/inode.h)
 *   engine: sync_lock or commit_lock or manifest_lock, none inside another (engine/engine_internal.h)
 *   leaves: shards of the block cache, listings, kept attributes of the past
 * Readers of the layer map take no lock, only a guard.
 */
#ifndef VARVE_STORE_STORE_H
#define VARVE_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lsn.h"
#include "report.h"

struct store;

#define STORE_PAGE_SIZE_MIN 4096u
#define STORE_PAGE_SIZE_MAX 65536u
#define STORE_PAGE_SIZE_DEFAULT 8192u

struct store_mkfs_options {
	uint32_t page_size_bytes;       /* power of two within the limits above; 0: default */
	uint32_t root_mode;             /* permission bits of the tree's root; 0: 0755 */
	uint32_t root_uid, root_gid;
};

/*
 * Make a store at @path, which must not exist, be an empty directory, or hold
 * what an interrupted mkfs left. Durable when it returns.
 *
 * 0; -EEXIST: a store is there already; -ENOTEMPTY: something else is;
 * -EINVAL: bad page size; else -errno. @report says which and the cure.
 */
int store_mkfs(const char *path, const struct store_mkfs_options *options,
	       struct report *report);

struct store_options {
	const char *holder;             /* who holds the store, for others to read, e.g. "mounted at /mnt" */
	bool read_only;                 /* take no changes */
	uint64_t layer_size_bytes;      /* freeze the open layer at this size; 0: 64 MiB */
	uint64_t freeze_age_ns;         /* ... or at this age; 0: one hour */
	uint64_t cache_size_bytes;      /* index blocks of sealed layers; 0: 64 MiB */
	unsigned name_hash_bits;        /* tests: fewer bits make names collide; 0: all */
};

/*
 * Open the store at @path, take its lock, recover what a crash left.
 *
 * 0 and *store_out, freed by store_close; -ENOENT / -ENOTDIR: nothing there;
 * -EMEDIUMTYPE: not a store; -EBUSY: another process holds it (the report
 * names it); -EPROTONOSUPPORT: a newer format; -EUCLEAN / -EBADMSG: damaged,
 * nothing was changed; else -errno. @report names the file and the cure.
 */
int store_open(const char *path, const struct store_options *options,
	       struct report *report, struct store **store_out);

/* Sync, mark the store clean, release the lock, free. NULL is ignored.
 * 0, or -errno if the last sync failed (the store is released all the same). */
int store_close(struct store *store);

/* Make everything up to now durable. Calls that overlap share one disk sync.
 * 0 and *lsn_out (may be NULL), the LSN that is durable; -errno: the store is
 * read-only from now on. */
int store_sync(struct store *store, struct lsn *lsn_out);

/* The LSNs that can be read now: oldest <= n <= newest. Never fails. */
void store_window(struct store *store, struct lsn *oldest_out, struct lsn *newest_out);

const char *store_path(const struct store *store);      /* absolute; lives as long as the store */
uint32_t store_page_size(const struct store *store);    /* bytes */

/* Freeze the open layer now and wait until it is sealed. For tests and tools.
 * 0 or -errno. */
int store_freeze(struct store *store);

/* What a layer or the arena holds, in bytes, and for what. */
struct arena_usage;

struct store_usage {
	char id[37];                    /* UUID text */
	uint32_t page_size_bytes;
	uint32_t format_version;
	bool read_only;                 /* by option or after a failed sync */
	struct lsn oldest, newest, durable;
	uint64_t layer_count;           /* sealed */
	uint64_t sealed_bytes;          /* files of sealed layers */
	uint64_t inode_next;            /* next inode number to be given out */
	/* the open layer's arena */
	uint64_t arena_capacity_bytes;  /* reserved on disk */
	uint64_t arena_used_bytes;      /* history in it, framing included */
	uint64_t arena_dirty_bytes;     /* not yet synced */
	uint64_t arena_framing_bytes;   /* batch and entry headers */
	uint64_t arena_attr_bytes, arena_name_bytes, arena_image_bytes, arena_patch_bytes;
	uint64_t index_bytes;           /* memory of the open layer's index */
	uint64_t cache_bytes;           /* index blocks held in memory */
	uint64_t version_count;         /* versions in the open layer */
	/* since the store was opened */
	uint64_t commit_count, sync_count, flush_count, flush_range_count, flush_bytes, freeze_count;
};

void store_usage_get(struct store *store, struct store_usage *usage_out);

/* Read what can be known of a store without opening it (no lock is taken, so
 * it works while another process holds it): id, page size, format, layer count
 * and bytes, and the newest LSN the manifest knows. Errors as store_open. */
int store_peek(const char *path, struct store_usage *usage_out, struct report *report);

/* Who holds the store at @path: 0 and the holder's line in @holder_out and its
 * pid in *pid_out; -ENOENT if nobody does; else -errno. */
int store_holder(const char *path, char *holder_out, size_t size_bytes, int *pid_out);

#endif
