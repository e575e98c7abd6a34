/*
 * Attributes of the past, kept: what an inode was at an LSN never changes.
 *
 * A file in a past view is read by many requests that all begin with its
 * attributes at one LSN. The cache is direct-mapped and small; a miss costs what
 * every read cost without it. Any thread.
 */
#ifndef VARVE_STORE_PAST_ATTR_H
#define VARVE_STORE_PAST_ATTR_H

#include <stdbool.h>

#include "attr.h"

struct past_attr_cache;

int past_attr_cache_create(struct past_attr_cache **cache_out);
void past_attr_cache_free(struct past_attr_cache *cache);       /* NULL is ignored */

/* True and *attr_out if it is kept. */
bool past_attr_get(struct past_attr_cache *cache, uint64_t ino, struct lsn lsn,
		   struct attr *attr_out);
void past_attr_keep(struct past_attr_cache *cache, uint64_t ino, struct lsn lsn,
		    const struct attr *attr);

#endif
