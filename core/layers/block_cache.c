#include "block_cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "io.h"
#include "key.h"

#define SHARD_COUNT 16u
#define SHARD_BLOCKS_MIN 16u

struct cached_block {
	uint64_t layer_id;
	uint32_t number;
	uint32_t next;                  /* slot number in the bucket's chain; guarded by the shard */
	uint32_t pin_count;             /* guarded by the shard */
	bool used;                      /* since the clock passed; guarded by the shard */
	bool valid;                     /* in a chain; guarded by the shard */
	uint8_t *bytes;                 /* NULL until first used; constant while pinned */
};

struct cache_shard {
	pthread_mutex_t lock;
	uint32_t hand;                  /* guarded by lock */
	uint32_t slot_count;            /* constant */
	uint32_t *buckets;              /* slot numbers + 1; slot_count of them; guarded by lock */
	struct cached_block *slots;
};

struct block_cache {
	struct cache_shard shards[SHARD_COUNT];
	_Atomic uint64_t held_bytes;
};

/* Hashed and compared alike. */
static uint64_t block_hash(uint64_t layer_id, uint32_t number)
{
	return key_hash((struct key){ layer_id, number });
}

static struct cache_shard *shard_of(struct block_cache *cache, uint64_t hash)
{
	return &cache->shards[hash >> 60 & (SHARD_COUNT - 1)];
}

int block_cache_create(uint64_t budget_bytes, struct block_cache **cache_out)
{
	struct block_cache *cache = calloc(1, sizeof(*cache));
	uint64_t slots = budget_bytes / SHARD_COUNT / LAYER_BLOCK_BYTES;

	*cache_out = NULL;
	if (!cache)
		return -ENOMEM;
	if (slots < SHARD_BLOCKS_MIN)
		slots = SHARD_BLOCKS_MIN;
	for (unsigned i = 0; i < SHARD_COUNT; i++) {
		struct cache_shard *shard = &cache->shards[i];

		pthread_mutex_init(&shard->lock, NULL);
		shard->slot_count = (uint32_t)slots;
		shard->buckets = calloc(slots, sizeof(*shard->buckets));
		shard->slots = calloc(slots, sizeof(*shard->slots));
		if (!shard->buckets || !shard->slots) {
			block_cache_free(cache);
			return -ENOMEM;
		}
	}
	*cache_out = cache;
	return 0;
}

void block_cache_free(struct block_cache *cache)
{
	if (!cache)
		return;
	for (unsigned i = 0; i < SHARD_COUNT; i++) {
		struct cache_shard *shard = &cache->shards[i];

		for (uint32_t s = 0; shard->slots && s < shard->slot_count; s++)
			free(shard->slots[s].bytes);
		free(shard->slots);
		free(shard->buckets);
		if (shard->slot_count)
			pthread_mutex_destroy(&shard->lock);
	}
	free(cache);
}

static uint32_t *bucket_of(struct cache_shard *shard, uint64_t hash)
{
	return &shard->buckets[(uint32_t)hash % shard->slot_count];
}

/* The shard's lock is held. */
static struct cached_block *shard_find(struct cache_shard *shard, uint64_t layer_id,
				       uint32_t number, uint64_t hash)
{
	uint32_t at = *bucket_of(shard, hash);

	while (at) {
		struct cached_block *block = &shard->slots[at - 1];

		if (block->layer_id == layer_id && block->number == number)
			return block;
		at = block->next;
	}
	return NULL;
}

/* The shard's lock is held. */
static void shard_unlink(struct cache_shard *shard, struct cached_block *block)
{
	uint32_t self = (uint32_t)(block - shard->slots) + 1;
	uint32_t *link = bucket_of(shard, block_hash(block->layer_id, block->number));

	while (*link != self)
		link = &shard->slots[*link - 1].next;
	*link = block->next;
	block->valid = false;
}

/* An unpinned slot by the clock; NULL if all are pinned. The shard's lock is held. */
static struct cached_block *shard_evict(struct cache_shard *shard)
{
	for (uint32_t tries = 0; tries < 2 * shard->slot_count; tries++) {
		struct cached_block *block = &shard->slots[shard->hand];

		shard->hand = (shard->hand + 1) % shard->slot_count;
		if (block->pin_count)
			continue;
		if (block->used) {
			block->used = false;
			continue;
		}
		if (block->valid)
			shard_unlink(shard, block);
		return block;
	}
	return NULL;
}

/* Read and check outside the lock. *bytes_out is owned by the caller. */
static int block_load(const struct store_identity *store, uint64_t layer_id, int fd,
		      uint32_t number, uint8_t **bytes_out)
{
	uint8_t *bytes = aligned_alloc(64, LAYER_BLOCK_BYTES);
	int err;

	*bytes_out = NULL;
	if (!bytes)
		return -ENOMEM;
	err = io_read(fd, bytes, LAYER_BLOCK_BYTES, (uint64_t)number * LAYER_BLOCK_BYTES);
	if (!err && !layer_block_good(bytes, store, layer_id, number))
		err = -EBADMSG;
	if (err)
		free(bytes);
	else
		*bytes_out = bytes;
	return err;
}

/* Put loaded bytes into the shard, or drop them if another thread was first.
 * The shard's lock is held. NULL: every slot is pinned. */
static struct cached_block *shard_insert(struct block_cache *cache, struct cache_shard *shard,
					 uint64_t layer_id, uint32_t number, uint64_t hash,
					 uint8_t **bytes)
{
	struct cached_block *block = shard_find(shard, layer_id, number, hash);
	uint32_t *bucket = bucket_of(shard, hash);

	if (block)
		return block;
	block = shard_evict(shard);
	if (!block)
		return NULL;
	if (block->bytes)
		free(block->bytes);
	else
		atomic_fetch_add_explicit(&cache->held_bytes, LAYER_BLOCK_BYTES,
					  memory_order_relaxed);
	block->bytes = *bytes;
	*bytes = NULL;
	block->layer_id = layer_id;
	block->number = number;
	block->next = *bucket;
	block->valid = true;
	*bucket = (uint32_t)(block - shard->slots) + 1;
	return block;
}

int block_cache_get(struct block_cache *cache, const struct store_identity *store,
		    uint64_t layer_id, int fd, uint32_t number, struct cached_block **block_out,
		    const uint8_t **bytes_out)
{
	uint64_t hash = block_hash(layer_id, number);
	struct cache_shard *shard = shard_of(cache, hash);
	struct cached_block *block;
	uint8_t *bytes = NULL;
	int err = 0;

	*block_out = NULL;
	*bytes_out = NULL;
	pthread_mutex_lock(&shard->lock);
	block = shard_find(shard, layer_id, number, hash);
	if (!block) {
		pthread_mutex_unlock(&shard->lock);
		err = block_load(store, layer_id, fd, number, &bytes);
		if (err)
			return err;
		pthread_mutex_lock(&shard->lock);
		block = shard_insert(cache, shard, layer_id, number, hash, &bytes);
	}
	if (block) {
		block->pin_count++;
		block->used = true;
		*bytes_out = block->bytes;
	} else {
		err = -ENOMEM;
	}
	pthread_mutex_unlock(&shard->lock);
	free(bytes);
	*block_out = block;
	return err;
}

void block_cache_put(struct block_cache *cache, struct cached_block *block)
{
	struct cache_shard *shard;

	if (!block)
		return;
	shard = shard_of(cache, block_hash(block->layer_id, block->number));
	pthread_mutex_lock(&shard->lock);
	block->pin_count--;
	pthread_mutex_unlock(&shard->lock);
}

uint64_t block_cache_bytes(const struct block_cache *cache)
{
	return atomic_load_explicit(&cache->held_bytes, memory_order_relaxed);
}
