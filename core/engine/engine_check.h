/*
 * Engine check: every file of a store against the manifest and against the others.
 *
 * Each layer is looked at by layer_check.h; here is what holds between them: the
 * manifest's records, files that are missing or that nothing names, LSN ranges that
 * meet, chains that go on, and an end of the history that is not before what
 * had been synced.
 *
 * A store that does not open is checked all the same. Where the manifest can't be
 * read, what the layer files say of themselves is put in its place (a survey). One
 * damaged layer does not keep the others from being checked. Nothing on disk changes.
 */
#ifndef VARVE_ENGINE_CHECK_H
#define VARVE_ENGINE_CHECK_H

#include "engine.h"
#include "finding.h"
#include "manifest.h"

struct engine_check_result {
	uint64_t layer_count, version_count;
	uint64_t file_bytes;            /* of the layers looked at */
	struct lsn end;                 /* up to where the history is there */
};

/* How many bytes a check will read, for a progress bar. */
uint64_t engine_check_bytes(int dir_fd);

/* The files in @dir_fd, which no engine uses meanwhile. 0; -ENOENT; -ECANCELED; -errno. */
int engine_check(int dir_fd, bool forget, const struct check_hooks *hooks,
		 struct engine_check_result *result_out);

/*
 * The files of an engine in use. Writers, readers and compaction go on: what is looked at is what was
 * there when the check began; that does not change any more, and its files stay until the check ends. 0 or -errno, as above.
 */
int engine_check_running(struct engine *engine, const struct check_hooks *hooks,
			 struct engine_check_result *result_out);

/*
 * The manifest as the layer files have it, in the order of their ids: those whose ends are
 * whole, or known from the layer behind, are sealed, the others open; tables make the runs that their footers say. What @damaged (may be NULL) still says is taken over.
 * 0 and @manifest_out, to be closed; -EUCLEAN: no file tells whose store it is, or the
 * tables make no runs; -errno.
 */
int engine_survey(int dir_fd, const struct manifest *damaged, struct manifest *manifest_out);

#endif
