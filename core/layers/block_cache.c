#include "block_cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include "guard.h"
#include "io.h"
#include "key.h"

#define SHARD_COUNT 16u
#define SHARD_BLOCKS_MIN 16u
#define SLAB_BLOCKS 16u

struct cached_block {
	struct cache_shard *shard;      /* whose memory it is; set once */
	struct cached_block *next_free; /* guarded by the shard's lock */
	uint64_t layer_id;              /* constant while in the cache, as all but the atomics */
	uint32_t number;
	_Atomic(struct cached_block *) next;    /* in the bucket; stored under the shard's lock */
	_Atomic bool used;              /* since the clock passed */
	struct guard_garbage garbage;
	_Alignas(64) uint8_t bytes[LAYER_BLOCK_BYTES];
};

/*
 * Blocks live in slabs, which only grow, to the most blocks there were at a time:
 * the slots and those that a guard still saw. From the heap each would be an
 * aligned allocation, which glibc before 2.38 doesn't make from what was freed: the
 * heap grew by 4 KiB with about each block read.
 */
struct slab {
	struct slab *next;
	struct cached_block blocks[SLAB_BLOCKS];
};

struct cache_shard {
	pthread_mutex_t lock;
	uint32_t slot_count, bucket_count;      /* constant */
	uint32_t hand;                  /* guarded by lock */
	struct cached_block **slots;    /* NULL: free; guarded by lock */
	struct cached_block *free_blocks;       /* guarded by lock */
	struct slab *slabs;             /* guarded by lock */
	_Atomic(struct cached_block *) *buckets;        /* stored under lock */
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

static uint32_t power_of_two_above(uint64_t count)
{
	uint32_t power = 1;

	while (power < count && power < UINT32_C(1) << 31)
		power *= 2;
	return power;
}

int block_cache_create(uint64_t budget_bytes, struct block_cache **cache_out)
{
	struct block_cache *cache = calloc(1, sizeof(*cache));
	uint64_t slots = budget_bytes / SHARD_COUNT / sizeof(struct cached_block);

	*cache_out = NULL;
	if (!cache)
		return -ENOMEM;
	if (slots < SHARD_BLOCKS_MIN)
		slots = SHARD_BLOCKS_MIN;
	for (unsigned i = 0; i < SHARD_COUNT; i++) {
		struct cache_shard *shard = &cache->shards[i];

		pthread_mutex_init(&shard->lock, NULL);
		shard->slot_count = (uint32_t)slots;
		shard->bucket_count = power_of_two_above(slots);
		shard->slots = calloc(slots, sizeof(*shard->slots));
		shard->buckets = calloc(shard->bucket_count, sizeof(*shard->buckets));
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
	guard_barrier();
	for (unsigned i = 0; i < SHARD_COUNT; i++) {
		struct cache_shard *shard = &cache->shards[i];

		while (shard->slabs) {
			struct slab *slab = shard->slabs;

			shard->slabs = slab->next;
			free(slab);
		}
		free(shard->slots);
		free(shard->buckets);
		if (shard->slot_count)
			pthread_mutex_destroy(&shard->lock);
	}
	free(cache);
}

static _Atomic(struct cached_block *) *bucket_of(struct cache_shard *shard, uint64_t hash)
{
	return &shard->buckets[(uint32_t)hash & (shard->bucket_count - 1)];
}

/* A guard or the shard's lock is held. A block that is linked out meanwhile still
 * leads on to the rest of its bucket. */
static struct cached_block *shard_find(struct cache_shard *shard, uint64_t layer_id,
				       uint32_t number, uint64_t hash)
{
	struct cached_block *block =
		atomic_load_explicit(bucket_of(shard, hash), memory_order_acquire);

	while (block && (block->layer_id != layer_id || block->number != number))
		block = atomic_load_explicit(&block->next, memory_order_acquire);
	return block;
}

/* The shard's lock is held. */
static int shard_add_slab(struct cache_shard *shard)
{
	struct slab *slab = aligned_alloc(_Alignof(struct slab), sizeof(*slab));

	if (!slab)
		return -ENOMEM;
	slab->next = shard->slabs;
	shard->slabs = slab;
	for (unsigned i = 0; i < SLAB_BLOCKS; i++) {
		slab->blocks[i].shard = shard;
		slab->blocks[i].next_free = shard->free_blocks;
		shard->free_blocks = &slab->blocks[i];
	}
	return 0;
}

/* NULL: no memory. */
static struct cached_block *block_new(struct cache_shard *shard)
{
	struct cached_block *block = NULL;

	pthread_mutex_lock(&shard->lock);
	if (shard->free_blocks || shard_add_slab(shard) == 0) {
		block = shard->free_blocks;
		shard->free_blocks = block->next_free;
	}
	pthread_mutex_unlock(&shard->lock);
	return block;
}

static void block_free(struct cached_block *block)
{
	struct cache_shard *shard = block->shard;

	pthread_mutex_lock(&shard->lock);
	block->next_free = shard->free_blocks;
	shard->free_blocks = block;
	pthread_mutex_unlock(&shard->lock);
}

static void garbage_free(struct guard_garbage *garbage)
{
	block_free((struct cached_block *)((char *)garbage -
					   offsetof(struct cached_block, garbage)));
}

/* The shard's lock is held. */
static void shard_unlink(struct cache_shard *shard, struct cached_block *block)
{
	_Atomic(struct cached_block *) *link =
		bucket_of(shard, block_hash(block->layer_id, block->number));

	while (atomic_load_explicit(link, memory_order_relaxed) != block)
		link = &atomic_load_explicit(link, memory_order_relaxed)->next;
	atomic_store_explicit(link, atomic_load_explicit(&block->next, memory_order_relaxed),
			      memory_order_release);
	guard_free_later(&block->garbage, garbage_free);
}

/* A free slot, or that of the first block the clock meets unused. The shard's lock is held. */
static uint32_t shard_free_slot(struct block_cache *cache, struct cache_shard *shard)
{
	for (;;) {
		uint32_t slot = shard->hand;
		struct cached_block *block = shard->slots[slot];

		shard->hand = (slot + 1) % shard->slot_count;
		if (block && atomic_exchange_explicit(&block->used, false, memory_order_relaxed))
			continue;
		if (block) {
			shard_unlink(shard, block);
			atomic_fetch_sub_explicit(&cache->held_bytes, sizeof(*block),
						  memory_order_relaxed);
		}
		return slot;
	}
}

/* Read and check. *block_out is the caller's. */
static int block_load(struct cache_shard *shard, const struct store_identity *store,
		      uint64_t layer_id, int fd, uint32_t number, struct cached_block **block_out)
{
	struct cached_block *block = block_new(shard);
	int err;

	*block_out = NULL;
	if (!block)
		return -ENOMEM;
	block->layer_id = layer_id;
	block->number = number;
	/* Not yet: what is looked at once goes before what is looked at again. */
	atomic_init(&block->used, false);
	err = io_read(fd, block->bytes, LAYER_BLOCK_BYTES, (uint64_t)number * LAYER_BLOCK_BYTES);
	if (!err && !layer_block_good(block->bytes, store, layer_id, number))
		err = -EBADMSG;
	if (err)
		block_free(block);
	else
		*block_out = block;
	return err;
}

/* Link @loaded in, unless another thread was first: then it is freed. Returns the
 * block that is linked in. */
static struct cached_block *shard_insert(struct block_cache *cache, struct cache_shard *shard,
					 struct cached_block *loaded, uint64_t hash)
{
	_Atomic(struct cached_block *) *bucket = bucket_of(shard, hash);
	struct cached_block *block;

	pthread_mutex_lock(&shard->lock);
	block = shard_find(shard, loaded->layer_id, loaded->number, hash);
	if (!block) {
		block = loaded;
		loaded = NULL;
		shard->slots[shard_free_slot(cache, shard)] = block;
		atomic_init(&block->next, atomic_load_explicit(bucket, memory_order_relaxed));
		atomic_store_explicit(bucket, block, memory_order_release);
		atomic_fetch_add_explicit(&cache->held_bytes, sizeof(*block),
					  memory_order_relaxed);
	}
	pthread_mutex_unlock(&shard->lock);
	if (loaded)
		block_free(loaded);
	return block;
}

int block_cache_get(struct block_cache *cache, const struct store_identity *store,
		    uint64_t layer_id, int fd, uint32_t number, const uint8_t **bytes_out)
{
	uint64_t hash = block_hash(layer_id, number);
	struct cache_shard *shard = shard_of(cache, hash);
	struct cached_block *block = shard_find(shard, layer_id, number, hash), *loaded;
	int err;

	*bytes_out = NULL;
	if (!block) {
		err = block_load(shard, store, layer_id, fd, number, &loaded);
		if (err)
			return err;
		block = shard_insert(cache, shard, loaded, hash);
	} else if (!atomic_load_explicit(&block->used, memory_order_relaxed)) {
		/* Stored only if it changes something: the line stays shared. */
		atomic_store_explicit(&block->used, true, memory_order_relaxed);
	}
	*bytes_out = block->bytes;
	return 0;
}

uint64_t block_cache_bytes(const struct block_cache *cache)
{
	return atomic_load_explicit(&cache->held_bytes, memory_order_relaxed);
}
