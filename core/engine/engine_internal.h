/*
 * Engine, inside: what commit.c, flush.c, freeze.c, recover.c and read.c share.
 *
 * Three locks. sync_lock guards who flushes and is not held meanwhile; syncs that
 * come then gather into the next flush. manifest_lock is held across the append
 * of a record, by the threads behind and who sets the window, and nothing is taken
 * inside it. commit_lock guards everything below it in struct engine that is not atomic
 * or constant. Neither it nor sync_lock is ever held across disk I/O, and
 * no two of the three are held at once.
 */
#ifndef VARVE_ENGINE_INTERNAL_H
#define VARVE_ENGINE_INTERNAL_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "compact.h"
#include "engine.h"
#include "layer_files.h"
#include "manifest.h"
#include "memory_plan.h"
#include "open_layer.h"
#include "pins.h"
#include "sealed_layer.h"
#include "table_layer.h"

#define LAYERS_NAME "layers"    /* the directory of their files */
#define TABLE_FILES_OPEN 256u   /* table layers whose files are open */
#define PACE_FREE 24u           /* runs of level 0 that cost writers nothing */
#define PACE_STEP 8u            /* so many more, and a byte costs a writer what it costs compaction */
#define PACE_MAX 48u            /* ... at which they wait */

/* What the block cache was lent (lend.c). */
struct lend {
	uint64_t lent_bytes;            /* the background's, as all but: */
	uint64_t lend_until;            /* the LSN beyond which it is to be asked back; guarded by commit_lock */
	uint64_t looked_newest;         /* the newest LSN at looked_ns, CLOCK_MONOTONIC */
	int64_t looked_ns;
	bool look_again;                /* it was not known yet, or not quiet; guarded by commit_lock */
};

struct engine {
	/* constant after engine_open */
	int dir_fd, layers_fd;
	struct store_identity store;
	struct engine_options options;
	struct block_cache *cache;
	struct mapped_views *views;
	struct memory_plan memory;
	struct layer_files *files;
	pthread_t background, spare_maker;
	bool background_runs, spare_maker_runs;

	struct layer_maps maps;         /* published by the background, and by whoever flips, under commit_lock */
	_Atomic uint64_t newest;        /* stored under commit_lock, release */
	_Atomic uint64_t layer_start;   /* where the layer begins that takes what is committed next; stored under commit_lock */
	_Atomic uint64_t durable;       /* stored by the one that flushes, release */
	struct pins pins;               /* its own lock, a leaf; the horizon is the oldest LSN */
	_Atomic uint64_t ino_next;
	_Atomic int failed;             /* errno that made the engine read-only; 0: none */
	_Atomic uint64_t commit_count, sync_count, flush_count, flush_bytes, freeze_count;

	pthread_mutex_t sync_lock;
	pthread_cond_t flushed;         /* a flush has ended */
	pthread_cond_t came;            /* as many want a sync as came for the last flush */
	bool flushing;                  /* from here sync_lock; a thread flushes, or gathers to */
	uint32_t came_count;            /* want a sync and came since the last flush began */
	uint32_t gathered_count;        /* came_count when it began */
	int64_t flush_ns;               /* what the last flush took */

	pthread_mutex_t manifest_lock;
	struct manifest manifest;       /* after engine_open: manifest_lock */
	_Atomic uint64_t next_id;       /* of layers and runs */
	_Atomic uint64_t window_ns, window_bytes;       /* stored under manifest_lock */

	struct compactor compactor;     /* its own lock; compact.h */
	_Atomic bool compactor_stops;
	_Atomic uint32_t level_0_count; /* sealed layers of level 0; stored under commit_lock */
	_Atomic uint64_t pace_cost_ns, pace_debt_ns, pace_slept_ns;

	pthread_mutex_t commit_lock;
	pthread_cond_t turn;            /* a batch was published, a spare came or can't come, a layer was sealed or can't be */
	pthread_cond_t work;            /* wakes the background */
	pthread_cond_t spare_work;      /* wakes the maker of spares */
	pthread_cond_t sealed;          /* a layer was sealed, or can't be */
	struct open_layer *open;        /* takes leases; NULL until the first commit if recovery found none started */
	uint64_t chain_recovered;       /* of the newest batch there was at open: what the first layer begins behind if @open is NULL */
	struct open_layer *spare;       /* NULL: none yet */
	struct open_layer *frozen[FROZEN_MAX];  /* oldest first, waiting to be sealed */
	uint32_t frozen_count;
	uint64_t hole;                  /* start of the lowest lease that was abandoned; UINT64_MAX: none */
	bool flipping;                  /* a writer waits for the open layer's leases to end */
	bool spare_wanted;
	bool freeze_wanted;             /* by engine_freeze or age */
	bool new_life;                  /* the first commit must mark a new life */
	bool stopping;
	uint64_t spare_tries;           /* attempts to make a spare that ended */
	int spare_error;                /* of the last attempt */
	int seal_error;                 /* of the last attempt to freeze or seal; engine_freeze's */
	int frozen_error;               /* of the last attempt to seal frozen[0]; 0: none failed */
	uint64_t idle_newest;           /* the newest LSN when the background last looked */
	int64_t idle_since_ns;          /* CLOCK_MONOTONIC since which it is that */
	struct lend lend;
	int64_t open_since_ns;          /* CLOCK_MONOTONIC when the open layer got its first batch; 0: empty */
};

/* Did it fail for want of what there may be more of later? */
static inline bool error_may_pass(int err)
{
	return err == -ENOSPC || err == -EDQUOT || err == -ENOMEM || err == -EMFILE || err == -ENFILE;
}

/* Take no more commits, and say why, once. Any thread. */
void engine_fail(struct engine *engine, int err, const char *what);

int64_t engine_clock_ns(void);          /* CLOCK_MONOTONIC */
uint64_t engine_new_id(struct engine *engine);  /* of a layer or a run; never given twice */
/* Free a layer that no reader sees. NULL is ignored. */
void engine_free_layer(struct layer *layer);
/* Count the runs of level 0 of the current map anew. commit_lock is held. */
void engine_count_level_0(struct engine *engine);
/* Where the open layer begins; LSN_HEAD: there is none. */
struct lsn engine_open_start(struct engine *engine);

/* Is it on disk, and all there, so that it may be merged? */
static inline bool run_is_sealed(const struct layer_run *run)
{
	return !run->lost && (run->level || (run->layer && run->layer->kind == LAYER_SEALED));
}

/* How many layers a read visits at most, however long the history up to @newest came to be. */
uint32_t engine_run_limit(const struct engine *engine, struct lsn newest);

/* compact.c */
void engine_gc_pin(struct engine_gc *gc, struct lsn lsn, uint64_t bytes);
/* Is compaction on its way, so that waiting for it makes sense? */
bool engine_can_compact(struct engine *engine);

/* pace.c */
/* What @bytes cost is owed, and paid by engine_pace. */
void pace_charge(struct engine *engine, size_t bytes);
/* Learn what a byte costs compaction, of which @level_count levels take turns. */
void engine_pace_learn(struct engine *engine, uint32_t level_count);
/* What @bytes cost a writer where there are @run_count runs of level 0 and a byte takes compaction @cost_ns. */
uint64_t pace_debt(uint32_t run_count, uint64_t bytes, uint64_t cost_ns);

/* commit.c */
/* Put the spare in the place of the open layer, which becomes frozen. commit_lock is
 * held and may be released meanwhile. 0: flipped, or the open layer changed; -errno. */
int engine_flip(struct engine *engine);

/* freeze.c */
void *background_main(void *engine);
void *spare_main(void *engine);

/* lend.c */
/* Lend the block cache what is not needed, or ask it back. The background's; commit_lock is held, and
 * released meanwhile if the answer is true: then there may be work that nobody waited for. */
bool engine_lend(struct engine *engine);
/* When it is to be asked again, if nothing else happens. commit_lock is held. */
int64_t engine_lend_wait_ns(const struct engine *engine);

/* recover.c */
int engine_recover(struct engine *engine, struct report *report);
/* A layer file that the manifest doesn't name: 0: it holds nothing and may go; 1: it
 * is none of ours; -EUCLEAN: it holds history. */
int judge_unnamed(int layers_fd, const struct manifest *manifest, const char *name);

#endif
