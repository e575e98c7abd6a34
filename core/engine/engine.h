/*
 * Engine: one history of versions by key. Commits batches, reads any key at any
 * LSN, makes durable, freezes and seals in the background, recovers at open.
 *
 * It knows keys and values; what they mean is the store's business.
 *
 * Threads: any call from any thread but engine_close, which must be the last.
 * No two of its locks are held at once (engine_internal.h). Readers take
 * none; they hold a guard, which also keeps what version structs point to.
 *
 * After a failed sync or a failed write to the manifest the engine takes no more
 * commits (-EROFS) until it is opened again.
 */
#ifndef VARVE_ENGINE_ENGINE_H
#define VARVE_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "batch.h"
#include "layer_map.h"
#include "lsn.h"
#include "report.h"

struct engine;

/*
 * What the engine asks about inodes when it drops history: it knows keys, not what they mean. A hook
 * that is NULL: everything is seen.
 */
struct retention_hooks {
	void *context;
	/* They may be called before engine_open returned.
	 *
	 * Is anything of inode @ino seen at @at? With @for_good: or at any LSN above it, or by an open
	 * descriptor at the head. 1 and *view_out, closed by close; 0: nothing is; -errno: it can't be
	 * told, so all is kept.
	 */
	int (*open)(void *context, const struct layer_guard *guard, uint64_t ino, struct lsn at,
		    bool for_good, void **view_out);
	/* Is the version at @lsn of page @block, the newest one there, seen? */
	bool (*sees_page)(void *context, const struct layer_guard *guard, void *view, uint64_t block,
			  struct lsn lsn);
	void (*close)(void *context, void *view);
	size_t attr_bytes;              /* of a value of KEY_ATTR; 0: a page's */
};

struct engine_options {
	bool read_only;
	uint64_t memory_bytes;          /* memory_plan.h divides it; 0: its default */
	uint64_t layer_size_bytes;      /* of a new open layer's file; rounded to 4096, kept in limits; 0: of memory_bytes */
	uint64_t freeze_age_ns;         /* an open layer that holds something freezes at this age */
	uint64_t idle_ns;               /* ... or when it took nothing for so long */
	uint64_t cache_size_bytes;      /* 0: of memory_bytes */
	uint64_t table_size_bytes;      /* of a layer that compaction makes, about; 0: as layer_size_bytes */
	uint32_t fanin_0, fanin;        /* tests: compaction_plan.h; 0: as there */
	uint64_t piece_bytes;           /* tests: a merge is done in pieces of about so much; 0: layer_size_bytes */
	bool no_compaction;             /* tests, and a look at a store: no thread merges */
	struct retention_hooks retention;
};

/* Make an empty engine in the empty directory @dir_fd; durable. -EEXIST; -errno. */
int engine_create(int dir_fd, uint32_t page_size_bytes, enum compression compression);

/* Recover and start. @dir_fd stays the caller's and must outlive the engine.
 * 0; -errno as store_open's, with @report. */
int engine_open(int dir_fd, const struct engine_options *options, struct report *report,
		struct engine **engine_out);

/* Sync, note what is durable, stop the background, free. 0 or the sync's -errno. */
int engine_close(struct engine *engine);

uint32_t engine_page_size(const struct engine *engine);
/* What the memory budget leaves for pages kept by the caller (memory_plan.h). */
uint64_t engine_recent_bytes(const struct engine *engine);
const struct store_identity *engine_identity(const struct engine *engine);

/* The newest LSN that can be read; 0 before the first commit. */
struct lsn engine_newest(const struct engine *engine);
/* Where the layer begins that takes what is committed next. It may have given way to another by then. */
struct lsn engine_layer_start(const struct engine *engine);
/* The oldest; 0 before the first commit. */
struct lsn engine_oldest(const struct engine *engine);
/* Above every inode number in any key. */
uint64_t engine_ino_next(const struct engine *engine);

/*
 * Append one batch: whole, visible at its LSN and in the kernel's hands when this
 * returns. No key may be in it twice. Entries' payload_at and checksum are set.
 * 0 and *lsn_out; -ENOSPC; -EROFS; -EFBIG: it fits no layer; -ENOMEM; -errno.
 */
int engine_commit(struct engine *engine, struct batch_entry *entries, size_t count,
		  int64_t time_ns, struct lsn *lsn_out);

/*
 * To be called before each change, with no lock and no guard held: where compaction has fallen behind, writers sleep as
 * long as what they committed so far costs, and at the last limit until it has caught up.
 */
void engine_pace(struct engine *engine);

/* Make everything up to now durable. 0 and *lsn_out; -errno. */
int engine_sync(struct engine *engine, struct lsn *lsn_out);

/* Freeze the open layer, if it holds anything, and wait until it is sealed. 0; -EROFS; -errno. */
int engine_freeze(struct engine *engine);

/* ---- how long history is kept ---- */

/* What is beyond either limit goes; 0: no limit. Kept in the store. */
struct engine_window {
	uint64_t time_ns;
	uint64_t bytes;
};

/* 0; -EROFS; -ENOSPC; -errno. */
int engine_window_set(struct engine *engine, const struct engine_window *window);
void engine_window_get(struct engine *engine, struct engine_window *window_out);

/* Keep @lsn readable, and what it needs, until engine_unpin. 0; -ENOENT: it is gone already, or not
 * there yet; -ENOMEM. */
int engine_pin(struct engine *engine, struct lsn lsn);
void engine_unpin(struct engine *engine, struct lsn lsn);

/* Each pin, ascending; stops at the first result that is not 0 and returns it. @fn takes no pin. */
typedef int engine_pin_fn(void *context, struct lsn lsn, uint32_t count);
int engine_each_pin(struct engine *engine, engine_pin_fn *fn, void *context);

/* Can @lsn be read? To be asked under a guard: then it can for as long as the guard lasts. */
bool engine_is_kept(struct engine *engine, struct lsn lsn);

/* When the newest change at or below @lsn was made, in nanoseconds since the epoch: exact where it lies in
 * a layer in the order of the log, to a millisecond elsewhere. 0; 1: nothing tells; -errno. */
int engine_lsn_time(struct engine *engine, struct lsn lsn, int64_t *time_ns_out);

/* ---- compaction ---- */

#define ENGINE_GC_PINS_MAX 256u

/* What a garbage collection did, or would do. */
struct engine_gc {
	uint64_t dropped_versions, dropped_bytes;       /* their payloads */
	uint64_t bytes_before;          /* of the runs it went through, on disk */
	uint64_t written_bytes;         /* of what took their place */
	uint32_t run_count;             /* that it went through */
	uint32_t pin_count;             /* the pins that something is kept for, and no other */
	struct engine_gc_pin {
		struct lsn lsn;
		uint64_t bytes;
	} pins[ENGINE_GC_PINS_MAX];
};

/* Freeze, and merge all there is into one run. Waits. 0; -EROFS; -ENOSPC; -EBADMSG: a layer can't be
 * read; -ESHUTDOWN: engine_end_waits; -errno. */
int engine_compact(struct engine *engine);
/* Drop what nobody needs: merge all that begins below the horizon. @dry: count only. Waits. As above. */
int engine_gc(struct engine *engine, bool dry, struct engine_gc *gc_out);
/* The engine is about to be closed: those who wait in the two calls above, and who come, are let go. What was begun for
 * them goes on until the close, and in the next life. Any thread. */
void engine_end_waits(struct engine *engine);

/* ---- reading: under a guard ---- */

/* Before a read that may bring blocks into the cache: wait a moment while those that left it take too much memory
 * (block_cache_pace). The caller holds no guard and no lock. */
void engine_read_pace(struct engine *engine);

/* Pin the layers there are. Returns the newest LSN, which they cover. An LSN learnt
 * before the guard was taken is covered too; one learnt later may not be. */
struct lsn engine_guard_take(struct engine *engine, struct layer_guard *guard);

/* The newest version of @key at or below @lsn. 0; 1: none; -errno. */
int engine_find(const struct layer_guard *guard, struct key key, struct lsn lsn,
		struct version *version_out);

/*
 * The value of @version, with what lies below it, in @value (@room_bytes; zeros
 * beyond the value). *size_out is the value's length: of an image its own, of a
 * patched one @room_bytes. 0; 1: a tombstone; -EBADMSG; -EUCLEAN; -errno.
 */
int engine_load(const struct layer_guard *guard, const struct version *version, void *value,
		size_t room_bytes, size_t *size_out);

/* engine_find and engine_load in one pass through the layers. 1: there is none, or a tombstone. */
int engine_get(const struct layer_guard *guard, struct key key, struct lsn lsn, void *value,
	       size_t room_bytes, size_t *size_out, struct version *version_out);

/* engine_load, unless it would read much, or from the disk. 2: it would. */
int engine_load_at_hand(const struct layer_guard *guard, const struct version *version, void *value,
			size_t room_bytes, size_t *size_out);

/* Find the pages [@first, @first + @count) of @ino; a slot's form is 0 where there
 * is none. Each layer is visited once. 0 or -errno. */
int engine_find_pages(const struct layer_guard *guard, uint64_t ino, uint64_t first,
		      uint32_t count, struct lsn lsn, struct version *versions_out);

/* Find the names of directory @ino with @hashes, ascending; a slot's form is 0 where there is none. For many that
 * lie next to one another among those there are: most layers are gone through once. 0 or -errno. */
int engine_find_names(const struct layer_guard *guard, uint64_t ino, const uint64_t *hashes,
		      uint32_t count, struct lsn lsn, struct version *versions_out);

/*
 * The page of a version found so: where it lies in its layer, if it lies there
 * whole and, of a file in log order, is one of many (@stream: else a read costs less than a fault and brings no
 * more than it into memory); or put together in @scratch (@page_bytes). Its bytes are verified. Valid
 * while the guard lasts; touch it as version_view says. *page_out is NULL for a
 * hole or a tombstone. 0 or -errno.
 */
int engine_page(const struct layer_guard *guard, const struct version *version,
		size_t page_bytes, bool stream, uint8_t *scratch, const uint8_t **page_out);

/* The page of block @block at @lsn in one pass through the layers, as engine_page gives it to who reads a few: a
 * version at or below @floor counts as a hole. */
int engine_get_page(const struct layer_guard *guard, uint64_t ino, uint64_t block, struct lsn lsn,
		    struct lsn floor, size_t page_bytes, uint8_t *scratch, const uint8_t **page_out);

/* Each name key of directory @ino, at any LSN, index >= @from, in any order, perhaps
 * more than once. Stops at a result that is not 0 and returns it. */
int engine_each_name(const struct layer_guard *guard, uint64_t ino, uint64_t from,
		     layer_key_fn *fn, void *context);

/* Each version of each key of inode @ino, in any order. As above. */
int engine_each_version(const struct layer_guard *guard, uint64_t ino, layer_version_fn *fn,
			void *context);

/* ---- numbers ---- */

struct engine_usage {
	bool read_only;
	struct lsn oldest, newest, durable;
	uint64_t layer_count, sealed_bytes;
	uint64_t arena_capacity_bytes, arena_used_bytes, arena_dirty_bytes;
	uint64_t arena_held_bytes[5];           /* by enum arena_purpose */
	uint64_t index_bytes, cache_bytes, version_count;
	uint64_t cache_waiting_bytes;           /* evicted from the cache and not yet freed */
	uint64_t memory_bytes, cache_budget_bytes;      /* the budget, and what the cache has of it */
	uint64_t view_bytes;                    /* of mapped files that are in this process's page tables, at most */
	uint64_t merge_bytes;                   /* buffers of merges under way */
	uint64_t layer_size_bytes;              /* of the next open layer */
	uint32_t frozen_max;                    /* layers that may wait to be sealed before writers must */
	uint64_t commit_count, sync_count, flush_count, flush_range_count, flush_bytes;
	uint64_t freeze_count;
	/* compaction */
	uint32_t run_count, level_0_count;              /* a read visits at most run_count layers */
	uint32_t run_limit;                             /* ... and never more than this */
	uint32_t level_0_free, level_0_limit;           /* from the one on writers are slowed, at the other they wait */
	uint32_t patch_limit;                           /* that one read applies */
	uint32_t merge_count;                           /* under way */
	int compaction_error;                           /* of its last attempt; 0: none */
	uint64_t table_count, table_bytes;
	uint64_t merge_read_bytes, merge_written_bytes, gc_dropped_bytes, gc_dropped_versions;
	uint64_t piece_count, paced_ns;                 /* pieces of merges; time writers were slowed */
	struct engine_window window;
	uint32_t pin_count;
};

void engine_usage_get(struct engine *engine, struct engine_usage *usage_out);

#endif
