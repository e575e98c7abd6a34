/*
 * Recent pages: what the pages written last hold, so that the next write of one
 * is stored as what it changes without reading history.
 *
 * A page is known by its inode, block and the LSN of its version, so an entry
 * can be stale but never wrong. A place is taken by whoever comes last.
 *
 * Threads: any; each slot has a lock, and who finds it taken does without.
 */
#ifndef VARVE_STORE_RECENT_PAGES_H
#define VARVE_STORE_RECENT_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "lsn.h"

struct recent_pages;

/* Room for @budget_bytes of pages of @page_bytes. -ENOMEM. */
int recent_pages_create(uint32_t page_bytes, uint64_t budget_bytes, struct recent_pages **pages_out);
void recent_pages_free(struct recent_pages *pages);     /* NULL is ignored */

/* Copy what block @block of @ino holds as of its version @lsn. False: not known. */
bool recent_pages_get(struct recent_pages *pages, uint64_t ino, uint64_t block, struct lsn lsn,
		      uint8_t *page_out);

/* Note what it holds since @lsn. Best effort. */
void recent_pages_put(struct recent_pages *pages, uint64_t ino, uint64_t block, struct lsn lsn,
		      const uint8_t *page);

#endif
