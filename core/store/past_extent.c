#include "past_extent.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "key.h"

#define SET_COUNT 256u
#define WAY_COUNT 8u            /* stretches of LSNs of one inode that are kept at most */

struct stretch {
	uint64_t ino;                   /* 0: nothing is kept */
	struct lsn since, until;
	struct extent extent;
};

struct extent_set {
	pthread_mutex_t lock;           /* guards the rest */
	unsigned next;                  /* which goes next */
	struct stretch stretches[WAY_COUNT];
};

struct extent_cache {
	struct extent_set sets[SET_COUNT];
};

int extent_cache_create(struct extent_cache **cache_out)
{
	*cache_out = calloc(1, sizeof(**cache_out));
	if (!*cache_out)
		return -ENOMEM;
	for (unsigned i = 0; i < SET_COUNT; i++)
		pthread_mutex_init(&(*cache_out)->sets[i].lock, NULL);
	return 0;
}

void extent_cache_free(struct extent_cache *cache)
{
	for (unsigned i = 0; cache && i < SET_COUNT; i++)
		pthread_mutex_destroy(&cache->sets[i].lock);
	free(cache);
}

static struct extent_set *set_of(struct extent_cache *cache, uint64_t ino)
{
	return &cache->sets[key_hash((struct key){ ino, 0 }) % SET_COUNT];
}

bool extent_get(struct extent_cache *cache, uint64_t ino, struct lsn lsn, struct extent *extent_out)
{
	struct extent_set *set = set_of(cache, ino);
	bool found = false;

	pthread_mutex_lock(&set->lock);
	for (unsigned i = 0; i < WAY_COUNT && !found; i++) {
		const struct stretch *stretch = &set->stretches[i];

		found = stretch->ino == ino && stretch->since.value <= lsn.value &&
			stretch->until.value >= lsn.value;
		if (found)
			*extent_out = stretch->extent;
	}
	pthread_mutex_unlock(&set->lock);
	return found;
}

/* Where the stretch that begins so is kept, or where it is to be. The lock is held. */
static struct stretch *place_for(struct extent_set *set, uint64_t ino, struct lsn since)
{
	for (unsigned i = 0; i < WAY_COUNT; i++)
		if (set->stretches[i].ino == ino && set->stretches[i].since.value == since.value)
			return &set->stretches[i];
	return &set->stretches[set->next++ % WAY_COUNT];
}

void extent_keep(struct extent_cache *cache, uint64_t ino, struct lsn since, struct lsn until,
		 const struct extent *extent)
{
	struct extent_set *set = set_of(cache, ino);
	struct stretch *stretch;

	pthread_mutex_lock(&set->lock);
	stretch = place_for(set, ino, since);
	if (stretch->ino == ino && stretch->since.value == since.value && stretch->until.value > until.value)
		until = stretch->until;
	*stretch = (struct stretch){ ino, since, until, *extent };
	pthread_mutex_unlock(&set->lock);
}
