/*
 * Cut check: open what a power cut left, and hold it against the history.
 *
 * What is there must be the state at one LSN of the history, not below the floor (what
 * a sync returned); every older LSN must read as it did; then the store must go on:
 * more is written, it is closed or cut again at a random point (of recovery, too), and
 * what is there then must be the same history with a prefix of what was added. Some are checked
 * (store/check.h): as the cut left them, when they were closed, and behind the second cut. Of what
 * merges eagerly some are compacted as a whole besides.
 */
#ifndef VARVE_TESTS_CUT_CHECK_H
#define VARVE_TESTS_CUT_CHECK_H

#include "cut_steps.h"
#include "power_load.h"

/* What a cut keeps of the writes that were not synced. */
struct cut_subset {
	enum cut_kind {
		CUT_NONE, CUT_ALL,
		CUT_ONE,                /* write @write alone */
		CUT_BUT,                /* all but it */
		CUT_BEFORE,             /* those before it */
		CUT_TORN_HEAD,          /* those before it, and its first @sectors */
		CUT_TORN_TAIL,          /* those before it, and its sectors from @sectors on */
		CUT_SOME_WRITES,        /* each or not, by @seed */
		CUT_SOME_SECTORS,       /* each sector or not; @sectors of 8 are kept */
		/* of each sector, counted over all writes but those to inode @aside, the
		 * bit in @seed says; those are kept */
		CUT_THESE,
	} kind;
	uint32_t write, sectors;
	uint64_t seed;
	uint32_t aside;
};

struct sim_state *cut_make(const struct sim_replay *replay, const struct cut_subset *subset);
struct cut_subset cut_random(const struct sim_replay *replay, struct prng *prng);

/* Which cut is being looked at; said if anything fails, by whatever assert. */
struct cut_place {
	const char *what;               /* the workload */
	uint64_t seed, position;
	struct cut_subset subset;
};
extern struct cut_place cut_place;
void cut_place_install(void);

struct cut_expect {
	const struct load_history *history;
	uint64_t floor;                 /* the LSN that was durable */
	bool made;                      /* mkfs had returned: there must be a store */
	/* How tight a limit was set on the bytes of history, at most; 0: none was. What can't be read then
	 * is so far below @reach, above which no LSN had been given out (UINT64_MAX: not known). */
	uint64_t limit, reach;
};

struct cut_counts {
	uint64_t cut_points;            /* positions in a trace: each write, sync, and mark */
	uint64_t wide_points;           /* those at which 8 or more different images were made */
	/* those at which no 8 exist: all were made, but for what the lock file says of its
	 * holder, which is never synced and informs only */
	uint64_t narrow_points;
	uint64_t replace_points;        /* those at which a new manifest was under way */
	uint64_t images, distinct;      /* built, and opened: equal images once */
	uint64_t lsns;                  /* older LSNs that were compared */
	uint64_t refused;               /* older LSNs that lay below the window, and were refused */
	uint64_t second_cuts;           /* cuts of what was done to an image */
	uint64_t pairs;                 /* of them: cuts within its recovery */
	uint64_t compacted;             /* images that were compacted to the end, and compared again */
	uint64_t checked;               /* times that a check found nothing: in an image, or in what became of it */
	uint64_t steps[STEPS];          /* positions, by what the event there was */
	uint64_t recovery_steps[STEPS]; /* the same of second cuts, within recovery and what followed */
};

/* How often what is done to an image is cut. */
enum cut_depth {
	CUT_ONE_MORE,                   /* once: at a random point, or at the end */
	CUT_SOME_MORE,                  /* at each of those */
	CUT_ALL_PAIRS,                  /* and recovery at each of its writes and syncs */
};

/*
 * Check one image, which is taken over. Fails the test; returns the LSN it recovered to, 0 if there
 * was rightly no store.
 */
uint64_t cut_check(struct sim_state *image, const struct cut_expect *expect, struct prng *prng,
		   enum cut_depth depth, struct cut_counts *counts);

/*
 * Cut a whole trace at each of its positions from @from on (an index of events), with
 * each of the subsets. @subsets_max bounds how many at one cut.
 */
struct cut_walk {
	const struct sim_disk *disk;
	const struct load_history *history;
	uint64_t from;
	uint32_t subsets_max;
	bool few;                       /* no more at a cut than those, even where they are equal, and one second cut */
	uint32_t all_pairs_every;       /* of so many images, one is cut within its recovery everywhere; 0: none */
};
void cut_walk(const struct cut_walk *walk, struct prng *prng, struct cut_counts *counts);

#endif
