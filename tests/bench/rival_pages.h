/*
 * What a rival needs to be a history store: the newest bytes of every page, as a
 * database has its pages in memory when it writes them, and the key of a version.
 *
 * A key sorts by page, within a page the newest moment first: whatever is found at or
 * behind (page, moment) is the version to be read, if it is of that page.
 */
#ifndef VARVE_BENCH_RIVAL_PAGES_H
#define VARVE_BENCH_RIVAL_PAGES_H

#include <stdbool.h>

#include "history_store.h"

#define RIVAL_KEY_BYTES 16u

struct rival_key {
	uint8_t bytes[RIVAL_KEY_BYTES];
};

struct rival_key rival_key_make(struct history_place place, uint64_t moment);
bool rival_key_is_of(const void *found, size_t found_bytes, struct rival_key wanted);   /* the same page? */

struct rival_pages {
	uint8_t *files[HISTORY_FILES_MAX];      /* NULL: not written yet */
};

/* Take one version: @page_bytes is valid during the call. */
typedef int rival_put_fn(void *context, struct rival_key key, const uint8_t *page_bytes);

/* Change the bytes and call @put for each page touched, whole. 0, -EFBIG, -ENOMEM, or what @put returned. */
int rival_pages_write(struct rival_pages *pages, struct history_place place, const uint8_t *bytes,
		      size_t size_bytes, uint64_t moment, rival_put_fn *put, void *context);
void rival_pages_free(struct rival_pages *pages);

#endif
