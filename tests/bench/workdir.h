/*
 * Working directory: where a run keeps its stores, files and mounts, and how
 * all of it goes away again, whichever way the run ends.
 *
 * The benches run in a child, the worker, in a process group of its own. The
 * parent only waits: when the worker ends, is interrupted or crashes, it ends
 * what is left of the group, unmounts what is mounted below the directory and
 * removes the tree.
 */
#ifndef VARVE_BENCH_WORKDIR_H
#define VARVE_BENCH_WORKDIR_H

#include <limits.h>

struct workdir {
	char path[PATH_MAX];            /* absolute */
};

/* Make a fresh directory below @parent. 0 or -errno. */
int workdir_make(struct workdir *workdir, const char *parent);

/*
 * Run @worker in a child and clean up behind it. Returns the worker's exit
 * status; 128 + the signal's number if a signal ended it or the run was
 * interrupted; -errno if it could not be started.
 */
int workdir_guard(const struct workdir *workdir, int (*worker)(void *context), void *context);

/* Remove a directory and everything in it; does not enter mounts. 0 or -errno. */
int tree_remove(const char *path);

#endif
