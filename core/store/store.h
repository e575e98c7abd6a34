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
 *   leaves: shards of the block cache, listings, kept attributes and extents of the past, kept nodes of page maps
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
	uint8_t compression;            /* of compacted layers: enum store_compression */
};

enum store_compression {
	STORE_COMPRESSION_DEFAULT,
	STORE_COMPRESSION_NONE,
	STORE_COMPRESSION_LZ4,
	STORE_COMPRESSION_ZSTD,
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
	/* What the store may take of memory for layers, caches and merges, in bytes; engine/memory_plan.h divides
	 * it. 0: an eighth of the machine's, from 128 MiB to 1 GiB. */
	uint64_t memory_bytes;
	uint64_t layer_size_bytes;      /* freeze the open layer at this size; 0: of memory_bytes, at most 64 MiB */
	uint64_t freeze_age_ns;         /* ... or at this age; 0: one hour */
	uint64_t idle_ns;               /* ... or when nothing was written for so long; 0: a minute */
	uint64_t cache_size_bytes;      /* the block cache; 0: of memory_bytes, a quarter */
	unsigned name_hash_bits;        /* tests: fewer bits make names collide; 0: all */
	uint32_t drop_tombstones;       /* tests: so many pages at once are dropped by a tombstone each; 0: as page_editor.c has it */
	uint64_t table_size_bytes;      /* tests: of a layer that compaction makes, about; 0: as layer_size_bytes */
	uint32_t fanin_0, fanin;        /* tests: so many runs are merged into one; 0: as compaction_plan.h has it */
	uint64_t piece_bytes;           /* tests: a merge is done in pieces of about so much; 0: of layer_size_bytes */
	bool no_compaction;             /* tests: history is left as it is written */
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

/* When the newest change at or below @lsn was made, in nanoseconds since the epoch; to a millisecond for
 * what is compacted. Reads the log of the layer it lies in. 0; 1: nothing tells; -errno. */
int store_lsn_time(struct store *store, struct lsn lsn, int64_t *time_ns_out);

/* ---- how long history is kept ---- */

/* Limits on the history that is kept: what is beyond either goes. 0: no limit. */
struct store_window {
	uint64_t time_ns;
	uint64_t bytes;
};

/* Kept in the store; in force at once. 0; -EROFS; -ENOSPC; -errno. */
int store_window_set(struct store *store, const struct store_window *limits);
void store_window_limits(struct store *store, struct store_window *limits_out);

/* Keep the tree at @lsn readable until store_unpin, wherever the window moves. 0; -ENOENT: it can't be
 * read; -ENOMEM. */
int store_pin(struct store *store, struct lsn lsn);
void store_unpin(struct store *store, struct lsn lsn);

/* Merge all history into one run of layers, by key. Waits. 0; -EROFS; -ENOSPC; -EBADMSG: a layer can't be
 * read; -errno. */
int store_compact(struct store *store);
/* The store is about to be closed: who waits in store_compact or store_collect, or comes, gets -ESHUTDOWN. What was
 * begun goes on until the close, and in the next life. Any thread. */
void store_end_waits(struct store *store);

/* What a garbage collection dropped, or would. */
struct store_gc {
	uint64_t dropped_versions, dropped_bytes;
	uint64_t bytes_before, bytes_after;     /* on disk, of the layers it went through */
	uint32_t pin_count;                     /* pins that something is kept for, and no other */
	struct store_gc_pin {
		struct lsn lsn;
		uint64_t bytes;
	} pins[256];
};

/* Drop all history that nothing keeps. With @dry count only. Waits. As above. */
int store_collect(struct store *store, bool dry, struct store_gc *gc_out);

/* ---- what the history is kept in ---- */

enum store_layer_kind {
	STORE_LAYER_OPEN,               /* takes what is written, or waits to be sealed */
	STORE_LAYER_SEALED,             /* in the order of the log */
	STORE_LAYER_DELTA,              /* by key, several versions of each */
	STORE_LAYER_IMAGE,              /* by key, one of each */
	STORE_LAYER_LOST,               /* its file is gone, as a repair noted */
};

struct store_key {
	uint64_t ino;
	uint32_t kind;                  /* enum key_kind */
	uint64_t index;
};

struct store_layer {
	uint64_t id, run_id;
	enum store_layer_kind kind;
	uint32_t level;
	struct lsn start, end;          /* of its run; end: of an open layer the newest LSN in it */
	struct store_key first, last;   /* of a layer by key; else zeros and the highest key */
	bool merging;                   /* its run is being merged into another */
	uint64_t file_bytes;
	uint64_t key_count, version_count;      /* 0: not known without reading it (sealed) */
};

/* Every layer, oldest run first, by key within a run. Stops at the first result that is not 0 and
 * returns it. Any thread; @fn must not wait for anything of the store's. */
typedef int store_layer_fn(void *context, const struct store_layer *layer);
int store_each_layer(struct store *store, store_layer_fn *fn, void *context);

/* A version as a layer's index has it. */
struct store_version {
	struct store_key key;
	struct lsn lsn;
	uint64_t layer_id;
	uint32_t size_bytes;            /* of what is stored, before compression */
	uint8_t form, weight;           /* enum version_form */
};

/* Every version in the layer @layer_id, ascending by (key, LSN). As above; -ENOENT: no such layer;
 * -EBUSY: it is open, and has no index on disk yet. */
typedef int store_version_fn(void *context, const struct store_version *version);
int store_each_version_of_layer(struct store *store, uint64_t layer_id, store_version_fn *fn,
				void *context);
/* Every version of page @block of inode @ino, newest first, in whatever layer. As above. */
int store_each_version_of_page(struct store *store, uint64_t ino, uint64_t block,
			       store_version_fn *fn, void *context);

/* Each pin, ascending. As above. */
typedef int store_pin_fn(void *context, struct lsn lsn, uint32_t count);
int store_each_pin(struct store *store, store_pin_fn *fn, void *context);

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
	uint64_t cache_bytes;           /* blocks of sealed layers and of layers by key, held in memory */
	uint64_t cache_waiting_bytes;   /* the same, evicted and not yet freed */
	/* memory: the budget, and what it is for beside those above */
	uint64_t memory_bytes, cache_budget_bytes;
	uint64_t recent_bytes;          /* pages written last: what they may take */
	uint64_t view_bytes;            /* mapped files in this process's page tables, at most */
	uint64_t merge_bytes;           /* buffers of merges under way */
	uint64_t layer_size_bytes;      /* of the next open layer */
	uint32_t frozen_max;            /* layers that may wait to be sealed before writers must */
	uint64_t version_count;         /* versions in the open layer */
	/* since the store was opened */
	uint64_t commit_count, sync_count, flush_count, flush_range_count, flush_bytes, freeze_count;
	/* layers by kind, and what compaction does */
	uint32_t run_count, run_limit;  /* a read visits at most run_count layers, and never more than run_limit */
	uint32_t level_0_count, level_0_free, level_0_limit;    /* runs not merged yet; from the second on writers are
								 * slowed, at the third they wait */
	uint32_t patch_limit;           /* patches that one read applies, at most */
	uint32_t merge_count;           /* under way */
	int compaction_error;           /* errno of its last attempt; 0: none */
	uint64_t table_count, table_bytes;      /* layers by key */
	uint64_t merge_read_bytes, merge_written_bytes, piece_count;    /* since the store was opened */
	uint64_t gc_dropped_versions, gc_dropped_bytes;
	uint64_t paced_ns;              /* time that writers were slowed */
	struct store_window window;
	uint32_t pin_count;
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
