/*
 * Cut steps: what each event of a trace was to the store whose files it changed, told from the
 * files' names and bytes alone.
 */
#ifndef VARVE_TESTS_CUT_STEPS_H
#define VARVE_TESTS_CUT_STEPS_H

#include "sim_disk.h"

enum cut_step {
	/* of a merge's piece, in this order */
	STEP_TABLE_NAMED,               /* a table's file was made */
	STEP_TABLE_WRITTEN,
	STEP_TABLE_SYNCED,
	STEP_NAMES_SYNCED,              /* the directory of layers, while a table was new in it */
	STEP_PIECE,                     /* a record of a piece was written, */
	STEP_LAST_PIECE,                /* ... of the last of its merge, */
	STEP_RECORD_SYNCED,             /* ... and synced */
	STEP_LOG_REMOVED,               /* a log-order layer's file */
	STEP_TABLE_REMOVED,
	/* of garbage collection */
	STEP_INODES,                    /* a record of that was written */
	STEP_OLDEST,
	STEP_WINDOW,
	/* of the manifest */
	STEP_MANIFEST_WRITTEN,          /* of a new one, under its own name */
	STEP_MANIFEST_RENAMED,
	STEPS,
};
extern const char *const cut_step_names[STEPS];

struct cut_steps {
	struct cut_event {
		uint32_t steps;         /* a bit for each */
		uint64_t reach;         /* no LSN above it had been given out; UINT64_MAX: not known */
	} *events;
	uint64_t count;
};

/* The disk's trace must not grow any more. */
struct cut_steps *cut_steps_new(const struct sim_disk *disk);
void cut_steps_free(struct cut_steps *steps);   /* NULL is ignored */

/* Add event @at to the counts of each step. */
void cut_steps_count(const struct cut_steps *steps, uint64_t at, uint64_t counts[STEPS]);
/* Print and, for steps in @needed (a bit each), require that each was met. */
void cut_steps_print(const char *what, const uint64_t counts[STEPS], uint32_t needed);

#endif
