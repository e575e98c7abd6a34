#include "listing.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "store_internal.h"

#define LISTINGS_KEPT 16u
/* Together they keep no more hashes than this (32 MiB), but at least one listing. */
#define HASHES_KEPT (4u << 20)

struct listing_cache {
	pthread_mutex_t lock;           /* guards everything here */
	struct listing *kept[LISTINGS_KEPT];
	size_t hash_count;              /* of all kept */
	uint64_t clock;
};

int listing_cache_create(struct listing_cache **cache_out)
{
	*cache_out = calloc(1, sizeof(**cache_out));
	if (!*cache_out)
		return -ENOMEM;
	pthread_mutex_init(&(*cache_out)->lock, NULL);
	return 0;
}

static void listing_free(struct listing *listing)
{
	free(listing->hashes);
	free(listing);
}

/* The cache's lock is held. */
static void listing_unref(struct listing *listing)
{
	if (--listing->ref_count == 0)
		listing_free(listing);
}

/* The cache's lock is held. */
static void forget(struct listing_cache *cache, unsigned slot)
{
	cache->hash_count -= cache->kept[slot]->count;
	listing_unref(cache->kept[slot]);
	cache->kept[slot] = NULL;
}

void listing_cache_free(struct listing_cache *cache)
{
	if (!cache)
		return;
	for (unsigned i = 0; i < LISTINGS_KEPT; i++)
		if (cache->kept[i])
			forget(cache, i);
	pthread_mutex_destroy(&cache->lock);
	free(cache);
}

/* The cache's lock is held. LISTINGS_KEPT: not found. */
static unsigned slot_of(const struct listing_cache *cache, uint64_t dir, struct lsn at)
{
	unsigned slot = 0;

	while (slot < LISTINGS_KEPT && !(cache->kept[slot] && cache->kept[slot]->dir == dir &&
					 cache->kept[slot]->at.value == at.value))
		slot++;
	return slot;
}

/* A free slot, or that of the listing used longest ago. The cache's lock is held. */
static unsigned slot_to_use(const struct listing_cache *cache)
{
	unsigned oldest = 0;

	for (unsigned i = 0; i < LISTINGS_KEPT; i++) {
		if (!cache->kept[i])
			return i;
		if (cache->kept[i]->used < cache->kept[oldest]->used)
			oldest = i;
	}
	return oldest;
}

/* Of two made at once the one that knows more names stays. The cache's lock is held. */
static void keep(struct listing_cache *cache, struct listing *listing)
{
	unsigned slot = slot_of(cache, listing->dir, listing->at);

	if (slot == LISTINGS_KEPT)
		slot = slot_to_use(cache);
	else if (cache->kept[slot]->made.value > listing->made.value)
		return;
	if (cache->kept[slot])
		forget(cache, slot);
	for (unsigned i = 0; i < LISTINGS_KEPT; i++)
		if (cache->kept[i] && cache->hash_count + listing->count > HASHES_KEPT)
			forget(cache, i);
	cache->kept[slot] = listing;
	cache->hash_count += listing->count;
	listing->ref_count++;
}

struct gather {
	struct listing *listing;
	size_t room;
};

static int gather_one(void *context, struct key key)
{
	struct gather *gather = context;
	struct listing *listing = gather->listing;

	if (listing->count == gather->room) {
		size_t room = gather->room ? 2 * gather->room : 64;
		uint64_t *hashes = realloc(listing->hashes, room * sizeof(*hashes));

		if (!hashes)
			return -ENOMEM;
		listing->hashes = hashes;
		gather->room = room;
	}
	listing->hashes[listing->count++] = key_index(key);
	return 0;
}

static int compare_hashes(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void sort_and_unite(struct listing *listing)
{
	size_t kept = 0;

	if (listing->count)
		qsort(listing->hashes, listing->count, sizeof(*listing->hashes), compare_hashes);
	for (size_t i = 0; i < listing->count; i++)
		if (i == 0 || listing->hashes[i] != listing->hashes[i - 1])
			listing->hashes[kept++] = listing->hashes[i];
	listing->count = kept;
}

static int listing_make(const struct layer_guard *guard, uint64_t dir, struct lsn at,
			struct listing **listing_out)
{
	struct listing *listing = calloc(1, sizeof(*listing));
	struct gather gather = { listing, 0 };
	int err;

	*listing_out = NULL;
	if (!listing)
		return -ENOMEM;
	listing->dir = dir;
	listing->at = at;
	listing->ref_count = 1;
	err = engine_each_name(guard, dir, 0, gather_one, &gather);
	if (err) {
		listing_free(listing);
		return err;
	}
	sort_and_unite(listing);
	*listing_out = listing;
	return 0;
}

int listing_get(struct store *store, const struct layer_guard *guard, uint64_t dir, struct lsn at,
		struct lsn newest, bool fresh, struct listing **listing_out)
{
	struct listing_cache *cache = store->listings;
	struct listing *listing = NULL;
	unsigned slot;
	int err;

	pthread_mutex_lock(&cache->lock);
	slot = slot_of(cache, dir, at);
	if (slot < LISTINGS_KEPT && !fresh) {
		listing = cache->kept[slot];
		listing->ref_count++;
		listing->used = ++cache->clock;
	}
	pthread_mutex_unlock(&cache->lock);
	*listing_out = listing;
	if (listing)
		return 0;

	err = listing_make(guard, dir, at, &listing);
	if (err)
		return err;
	listing->made = newest;
	pthread_mutex_lock(&cache->lock);
	listing->used = ++cache->clock;
	keep(cache, listing);
	pthread_mutex_unlock(&cache->lock);
	*listing_out = listing;
	return 0;
}

void listing_put(struct listing_cache *cache, struct listing *listing)
{
	pthread_mutex_lock(&cache->lock);
	listing_unref(listing);
	pthread_mutex_unlock(&cache->lock);
}

size_t listing_seek(const struct listing *listing, uint64_t hash)
{
	size_t low = 0, high = listing->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (listing->hashes[middle] < hash)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
