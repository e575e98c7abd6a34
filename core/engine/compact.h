/*
 * Compaction: the thread that merges runs, drops what nobody needs, and moves the horizon.
 *
 * A merge goes through the key space a piece at a time (merge_piece.c). Between pieces the thread
 * looks for a merge of another level, so several may be under way and take turns; each is written
 * down in the manifest with its first piece and goes on after a restart.
 *
 * Locks: compact_lock guards wishes and figures, and is never held across I/O. The jobs are the
 * thread's own.
 */
#ifndef VARVE_ENGINE_COMPACT_H
#define VARVE_ENGINE_COMPACT_H

#include <pthread.h>
#include <stdatomic.h>

#include "compaction_plan.h"
#include "engine.h"
#include "keeper.h"
#include "layer_map.h"
#include "manifest.h"
#include "merge.h"

#define MERGE_LEVELS 64u        /* of runs: more than the manifest takes */

struct compactor;

/* A merge under way. */
struct merge_job {
	struct merge_job *next;
	uint64_t run_id;                /* of what comes out */
	uint32_t level;
	struct lsn start, end;
	uint64_t inputs[MERGE_INPUTS_MAX];      /* run ids, oldest first */
	uint32_t input_count;
	bool bottom;                    /* the oldest run is among them */
	bool dry;                       /* only counted */
	bool wished;
	int barred;                     /* -errno: it can't go on, so it rests until the store is opened again; 0 */
	struct key from;                /* where the next piece begins */
	uint32_t layer_count;           /* that came out so far */
	/* open between pieces until another merge has its turn; NULL: from @from */
	struct merge *merge;
	struct table_entry entry;       /* the version the next piece begins with, if have_entry */
	bool have_entry;
	struct layer **layers;          /* those of all inputs, which @merge reads */
	uint64_t bytes_before;          /* of the merge, when its last piece ended */
	uint64_t buffer_bytes;          /* of @merge */
	struct engine_gc gc;
};

/* What a piece needs beside the job. */
struct piece_limits {
	uint64_t layer_bytes;           /* of one file that comes out, about */
	uint64_t output_bytes;          /* of all that come out of one piece, about */
	uint64_t input_bytes;           /* read for one piece, about */
};

/*
 * Do the next piece of @job: write it, make it durable, put it in the map, remove what it replaces. The
 * compaction thread. 0; 1: it was the last; an error that may pass (error_may_pass), -ECANCELED: nothing
 * changed, try again later; -EBADMSG, other -errno of reading: it can't go on; *fatal_out: a write failed for good.
 */
int merge_piece(struct engine *engine, struct merge_job *job, const struct piece_limits *limits,
		bool *fatal_out);
/* Close what is open between pieces, and give its memory back. */
void merge_job_rest(struct compactor *compactor, struct merge_job *job);

struct compactor {
	pthread_t thread;
	bool runs;                      /* changed before there are other threads, and when none is left */
	/* the thread's own */
	struct merge_job *jobs;         /* newest first */
	uint64_t turn, turns[MERGE_LEVELS];     /* of each level when it had its last; 0: it had none */
	uint64_t looked_newest;         /* the newest LSN when it looked last */
	int64_t rests_since_ns;         /* CLOCK_MONOTONIC since which it is that; 0: it has not looked */

	pthread_mutex_t lock;           /* compact_lock; guards what follows */
	pthread_cond_t wake;            /* the thread's: something came */
	pthread_cond_t done;            /* a wish was fulfilled, or can't be */
	bool stopping;
	enum plan_wish wish;
	bool wish_dry;
	uint64_t wishes_done;
	int wish_error;
	struct engine_gc gc;            /* of the last wish */
	bool wish_busy;                 /* a caller waits for its wish; others wait for it */
	bool waits_ended;               /* engine_end_waits was called */
	bool poked;                     /* something came since the thread looked last */
	bool idle;                      /* it found nothing to do, and nothing came since */
	int error;                      /* what keeps it from going on, or from all of it: -ENOSPC, ...; 0 */

	uint32_t hold_count;            /* who wants layers that leave the map to stay */
	struct layer *held, **held_end; /* that did since, oldest first */
	_Atomic uint64_t piece_steps;   /* odd while a piece is in the manifest and not yet in the map */

	/* figures */
	_Atomic uint64_t read_bytes, written_bytes, dropped_bytes, dropped_versions, piece_count;
	_Atomic uint64_t busy_ns;
	_Atomic uint32_t merge_count;   /* under way */
	_Atomic uint64_t buffer_bytes;  /* that their inputs are read into, and what comes out is written from */
};

void compactor_init(struct compactor *compactor);
void compactor_destroy(struct compactor *compactor);
/* Take up the merges that the manifest says are under way. Before the thread runs. -ENOMEM; -EUCLEAN. */
int compactor_resume(struct engine *engine);
int compactor_start(struct engine *engine);
void compactor_stop(struct engine *engine);
/* leaving_layers.c */
/* From here to the release layers that leave the map live on, and their files stay. Nests. Any thread. */
void compactor_hold(struct compactor *compactor);
void compactor_release(struct engine *engine);
/* No map leads to @layer and nobody sees it: free it and remove its file, once nobody holds it. */
void compactor_remove_layer(struct engine *engine, struct layer *layer);

/* There may be something to do. */
void compactor_poke(struct engine *engine);

/* horizon.c */
/* The newest time at or below @lsn that a run of table layers has a sample of. 0; 1: none; -errno. */
int run_time_at(const struct layer_guard *guard, const struct layer_run *run, struct lsn lsn,
		struct version *version_out, int64_t *time_out);
/* Move the horizon as far as the window allows. */
void horizon_move(struct engine *engine);

#endif
