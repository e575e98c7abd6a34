/*
 * Extents of the past, kept: what a read of data needs to know of an inode, and from which LSN to
 * which that was so.
 *
 * The attributes change with every write, for they hold its time; size, kind and name or none stay
 * for long. They say since when (attr.h), so one look tells of all LSNs from there up to the one
 * that was asked for, and reads of a file at many LSNs seldom look again. What is kept is true for ever.
 * The cache is small; a miss costs what every read cost without it. Any thread.
 */
#ifndef VARVE_STORE_PAST_EXTENT_H
#define VARVE_STORE_PAST_EXTENT_H

#include <stdbool.h>

#include "attr.h"

struct extent_cache;

int extent_cache_create(struct extent_cache **cache_out);
void extent_cache_free(struct extent_cache *cache);     /* NULL is ignored */

/* True and *extent_out if it is kept of @ino at @lsn. */
bool extent_get(struct extent_cache *cache, uint64_t ino, struct lsn lsn, struct extent *extent_out);
/* @ino had this extent at all LSNs from @since to @until; before @since it had another, or @since is that of
 * one version. */
void extent_keep(struct extent_cache *cache, uint64_t ino, struct lsn since, struct lsn until,
		 const struct extent *extent);

#endif
