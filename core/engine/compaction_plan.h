/*
 * Compaction plan: which runs are to be merged next. Pure: no I/O, no locks.
 *
 * Runs are adjacent in LSN, oldest first, and their levels never rise from old to new.
 * PLAN_FANIN_0 runs of level 0 become one of level 1, PLAN_FANIN runs of a level above one of the next (size-tiered;
 * RocksDB calls it universal). Each byte is so written once a level, of which there are few,
 * and the number of runs, which bounds what a read visits, grows with the logarithm of the history.
 *
 * While nobody writes, from PLAN_REST_RUNS runs of level 0 on become one: reads of a store that is left alone, and its
 * disk, don't wait for writes that may never come. A byte is merged up to 1.5 times more (unit/compaction_plan).
 *
 * Runs that lie wholly at or below the horizon (expired) are merged into the oldest
 * once they hold as much as it does: what is dropped there pays for what is
 * written again, and dead history never takes more room than what is alive.
 */
#ifndef VARVE_ENGINE_COMPACTION_PLAN_H
#define VARVE_ENGINE_COMPACTION_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "lsn.h"

#define PLAN_FANIN_0 16u
#define PLAN_FANIN 8u
#define PLAN_REST_RUNS 4u
#define PLAN_MERGE_MAX 64u      /* runs merged at once */
#define PLAN_WINDOW_DIVISOR 4u  /* no run spans more of the window than this part, or it would expire too late */

struct plan_run {
	uint32_t level;
	struct lsn start, end;
	uint64_t file_bytes;
	bool sealed;            /* on disk, and may be merged */
	bool merging;           /* part of a merge under way, as input or output */
	bool collected;         /* holds nothing but what the horizon and the pins saw when it was made */
	bool single;            /* of no key more than one version: nothing is there for a pin's sake */
};

struct plan_options {
	uint32_t fanin_0, fanin;        /* 0: as above */
	uint64_t layer_bytes;           /* of a layer of level 0 */
	struct lsn horizon;
	bool rests;             /* nobody has written for a while */
	uint64_t window_bytes;          /* of history between horizon and newest, if it is limited; 0: it is not */
	enum plan_wish {
		PLAN_AS_NEEDED,
		PLAN_COLLECT,           /* merge all runs that begin below the horizon */
		PLAN_ALL,               /* merge everything into one run */
	} wish;
};

struct plan {
	uint32_t first, count;          /* the runs to merge; 0: nothing to do */
	uint32_t level;                 /* of what comes out */
	bool wished;                    /* not needed, but wished for */
};

struct plan compaction_plan(const struct plan_run *runs, uint32_t count,
			    const struct plan_options *options);

/* The level of a run that spans so much history: 1, and one more each PLAN_FANIN times as much. */
uint32_t plan_level_of(uint64_t span_bytes, const struct plan_options *options);

#endif
