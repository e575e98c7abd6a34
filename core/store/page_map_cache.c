#include "page_map_cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "key.h"

/* Of at most PAGE_MAP_KEPT_MAX nodes each: 1.8 MiB in all. */
#define PLACE_COUNT 256u

struct place {
	pthread_mutex_t lock;           /* guards the rest */
	struct lsn changed;
	struct page_map map;            /* its nodes; of inode 0: none */
};

struct page_map_cache {
	struct place places[PLACE_COUNT];
};

int page_map_cache_create(struct page_map_cache **cache_out)
{
	*cache_out = calloc(1, sizeof(**cache_out));
	if (!*cache_out)
		return -ENOMEM;
	for (unsigned i = 0; i < PLACE_COUNT; i++)
		pthread_mutex_init(&(*cache_out)->places[i].lock, NULL);
	return 0;
}

void page_map_cache_free(struct page_map_cache *cache)
{
	for (unsigned i = 0; cache && i < PLACE_COUNT; i++) {
		page_map_end(&cache->places[i].map);
		pthread_mutex_destroy(&cache->places[i].lock);
	}
	free(cache);
}

static struct place *place_of(struct page_map_cache *cache, uint64_t ino)
{
	return &cache->places[key_hash(key_make(ino, KEY_MAP, 0)) % PLACE_COUNT];
}

void page_map_cache_take(struct page_map_cache *cache, struct page_map *map, struct lsn changed)
{
	struct place *place = place_of(cache, map->ino);

	pthread_mutex_lock(&place->lock);
	if (place->map.ino == map->ino && place->changed.value == changed.value)
		page_map_move_nodes(&place->map, map);
	pthread_mutex_unlock(&place->lock);
}

void page_map_cache_put(struct page_map_cache *cache, struct page_map *map, struct lsn lsn)
{
	struct place *place = place_of(cache, map->ino);
	struct page_map before;

	page_map_settle(map);
	pthread_mutex_lock(&place->lock);
	before = place->map;
	place->map = *map;
	place->changed = lsn;
	pthread_mutex_unlock(&place->lock);
	*map = (struct page_map){ .guard = NULL };
	page_map_end(&before);
}
