/*
 * Listing: the name hashes of a directory, sorted, kept from one readdir to the next.
 *
 * A directory is listed by many small requests; gathering its names from all
 * layers for each would cost the square of its size. A listing is made when a
 * directory is read from its start and serves the requests that go on from
 * there: a name that came later may be missed, as POSIX allows; one that went
 * is found gone when it is looked up.
 */
#ifndef VARVE_STORE_LISTING_H
#define VARVE_STORE_LISTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lsn.h"

struct store;
struct layer_guard;
struct listing_cache;

struct listing {
	uint64_t dir;
	struct lsn at;                  /* as asked for: LSN_HEAD stays that */
	struct lsn made;                /* the head when it was made */
	uint64_t *hashes;               /* ascending, each once */
	size_t count;
	uint32_t ref_count;             /* guarded by the cache's lock */
	uint64_t used;                  /* guarded by the cache's lock */
};

int listing_cache_create(struct listing_cache **cache_out);
void listing_cache_free(struct listing_cache *cache);   /* NULL is ignored */

/* The listing of @dir, made anew if @fresh or none is kept. @newest is the LSN that
 * came with the guard. Put it back. -ENOMEM; -errno. */
int listing_get(struct store *store, const struct layer_guard *guard, uint64_t dir, struct lsn at,
		struct lsn newest, bool fresh, struct listing **listing_out);
void listing_put(struct listing_cache *cache, struct listing *listing);

/* Index of the first hash >= @hash. */
size_t listing_seek(const struct listing *listing, uint64_t hash);

#endif
