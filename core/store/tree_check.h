/*
 * Tree check: names against attributes, attributes against pages, at one LSN.
 *
 * Every inode number ever given out is looked up; so what no name leads to is seen as
 * well. What can't be read for a wrong checksum is the layers' matter and told there;
 * what then can't be known is passed over.
 */
#ifndef VARVE_STORE_TREE_CHECK_H
#define VARVE_STORE_TREE_CHECK_H

#include "finding.h"
#include "store_internal.h"

/* Told of each name that leads to an inode; may be NULL. */
typedef void tree_check_name_fn(void *context, uint64_t dir, const char *name, uint64_t ino);

/* The tree as of @at. 0 and the number of inodes; -ECANCELED; -ENOMEM. */
int tree_check(struct store *store, struct lsn at, const struct check_hooks *hooks,
	       tree_check_name_fn *named, void *named_context, uint64_t *inode_count_out);

/* The path of directory @dir as of @at, "" for the root; false: it can't be told. */
bool tree_path(struct store *store, struct lsn at, uint64_t dir, char *path_out, size_t size_bytes);

#endif
