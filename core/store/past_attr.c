#include "past_attr.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "key.h"

#define PLACE_COUNT 1024u

struct past_attr_place {
	pthread_mutex_t lock;           /* guards the rest */
	uint64_t ino;                   /* 0: nothing is kept */
	struct lsn lsn;
	struct attr attr;
};

struct past_attr_cache {
	struct past_attr_place places[PLACE_COUNT];
};

int past_attr_cache_create(struct past_attr_cache **cache_out)
{
	*cache_out = calloc(1, sizeof(**cache_out));
	if (!*cache_out)
		return -ENOMEM;
	for (unsigned i = 0; i < PLACE_COUNT; i++)
		pthread_mutex_init(&(*cache_out)->places[i].lock, NULL);
	return 0;
}

void past_attr_cache_free(struct past_attr_cache *cache)
{
	for (unsigned i = 0; cache && i < PLACE_COUNT; i++)
		pthread_mutex_destroy(&cache->places[i].lock);
	free(cache);
}

/* Hashed like a key, the LSN in the index's place. */
static struct past_attr_place *place_of(struct past_attr_cache *cache, uint64_t ino,
					struct lsn lsn)
{
	return &cache->places[key_hash((struct key){ ino, lsn.value }) % PLACE_COUNT];
}

bool past_attr_get(struct past_attr_cache *cache, uint64_t ino, struct lsn lsn,
		   struct attr *attr_out)
{
	struct past_attr_place *place = place_of(cache, ino, lsn);
	bool found;

	pthread_mutex_lock(&place->lock);
	found = place->ino == ino && place->lsn.value == lsn.value;
	if (found)
		*attr_out = place->attr;
	pthread_mutex_unlock(&place->lock);
	return found;
}

void past_attr_keep(struct past_attr_cache *cache, uint64_t ino, struct lsn lsn,
		    const struct attr *attr)
{
	struct past_attr_place *place = place_of(cache, ino, lsn);

	pthread_mutex_lock(&place->lock);
	place->ino = ino;
	place->lsn = lsn;
	place->attr = *attr;
	pthread_mutex_unlock(&place->lock);
}
