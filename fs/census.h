/*
 * Census: how much the tree at head holds, counted by walking it.
 *
 * A walk asks for the attributes of every inode, so it is made when somebody wants to know,
 * and not more often than that it takes one part in CENSUS_SHARE of the time: a small tree is
 * counted anew each time, one of a million files now and then. So is a tree that can't be read to its
 * end. Changes go on meanwhile: the count is of no single LSN.
 *
 * Any thread; who asks while a walk is under way waits for it.
 */
#ifndef VARVE_FS_CENSUS_H
#define VARVE_FS_CENSUS_H

#include <stdint.h>

#include "lsn.h"

#define CENSUS_SHARE 50

struct store;
struct census;

struct census_count {
	uint64_t inode_count;           /* directories and all else, each once */
	uint64_t file_bytes;            /* sizes of regular files; holes count as what they stand for */
	struct lsn at;                  /* the newest when the walk began */
};

/* 0 and *census_out, freed by census_close; -ENOMEM. @store stays the caller's. */
int census_open(struct store *store, struct census **census_out);
void census_close(struct census *census);       /* NULL is ignored */

/* 0; -ESHUTDOWN; -ENOMEM; -errno of the last walk. */
int census_get(struct census *census, struct census_count *count_out);

/* End a walk that is under way, and all to come. */
void census_stop(struct census *census);

#endif
