/*
 * Page map cache: the nodes that the last change of a file left, for its next one.
 *
 * Who adds pages to a file reads a leaf and what is above it each time, a chain of patches
 * each; the next to come adds its own mostly next to them. A place is known by the inode
 * and the LSN of its last change, so what is kept can be stale but never wrong. Nodes are
 * moved out and in, not copied. Any thread; the inode is locked.
 */
#ifndef VARVE_STORE_PAGE_MAP_CACHE_H
#define VARVE_STORE_PAGE_MAP_CACHE_H

#include "page_map.h"

struct page_map_cache;

int page_map_cache_create(struct page_map_cache **cache_out);
void page_map_cache_free(struct page_map_cache *cache);         /* NULL is ignored */

/* Give @map, which was just begun, the nodes as the change at @changed left them, if they are there. */
void page_map_cache_take(struct page_map_cache *cache, struct page_map *map, struct lsn changed);
/* The change of @map was committed at @lsn: keep some of its nodes. The map is ended. */
void page_map_cache_put(struct page_map_cache *cache, struct page_map *map, struct lsn lsn);

#endif
