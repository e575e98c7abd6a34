/*
 * Repair, inside: what its parts share. repair_aside.c puts files aside, repair_runs.c mends sealed layers and
 * tables, engine_repair.c the end of the history and the manifest.
 */
#ifndef VARVE_ENGINE_REPAIR_INTERNAL_H
#define VARVE_ENGINE_REPAIR_INTERNAL_H

#include "engine_repair.h"
#include "finding.h"
#include "manifest.h"

struct repair {
	const struct repair_hooks *hooks;
	int dir_fd, layers_fd, damaged_fd;
	struct manifest manifest;
	bool manifest_changed;
	struct lsn end;                 /* where the history leads to so far */
	uint64_t chain;
	struct lsn durable;
	bool broken;                    /* what there is makes no history: it stays as it is */
	uint64_t *replaced;             /* layers whose files go once the manifest doesn't need them; owned */
	uint32_t replaced_count;
};

extern const struct check_hooks repair_quiet;  /* findings that nobody wants */

/* Tell of a step that is durable. */
void repair_done(struct repair *repair, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Copy file @name of @dir_fd to STORE/damaged, durable. One that is not there is nothing to be copied. */
int repair_set_aside(struct repair *repair, int dir_fd, const char *name);
/* Set the file of @layer_id aside; it goes once the manifest is written. */
int repair_lose_file(struct repair *repair, uint64_t layer_id);
/* The manifest is written: remove those. */
void repair_remove_replaced(struct repair *repair);

/* Mend the layers of @run, an entry of repair->manifest, and follow the history to its end. */
int repair_run(struct repair *repair, struct manifest_run *run);

#endif
