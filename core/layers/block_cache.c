#include "block_cache.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include "guard.h"
#include "io.h"
#include "key.h"
#include "page_pool.h"

#define SHARD_COUNT 16u
#define WAITING_PART 32u        /* of the budget: what may wait to be freed beside it */
#define HELD_PART 4u            /* of the budget: what is held however much waits */
#define GIVE_WAY_STEPS 8u
#define CROWD_PART 12u          /* of the budget: with so much beyond it a load waits a little */
#define CROWD_WAIT_NS 300000
#define PACE_NS 1000000
#define PACE_STEPS_MAX 50u
#define CROWD_STUCK_NS INT64_C(100000000)       /* a guard that is held so long is not waited for */
#define LINE_BYTES 64u
#define AHEAD_LINES 4u
#define LAG_WINDOW_NS INT64_C(500000000)        /* whose peak counts for this and the next */

struct cached_block {
	struct block_id id;             /* constant, as all but what says otherwise */
	uint8_t *bytes;                 /* of the pool */
	uint32_t size_bytes;
	_Atomic bool used;              /* since the clock passed */
	bool stays;                     /* a round longer; guarded by the shard's lock */
	_Atomic(struct cached_block *) next;    /* in the bucket; stored under the shard's lock */
	struct cached_block *ring_next, *ring_before;   /* guarded by the shard's lock */
	struct block_cache *cache;
	uint64_t evicted_at;            /* inserted_bytes when it was evicted */
	struct guard_garbage garbage;
};

/* What malloc takes for a record, about. */
#define RECORD_BYTES (sizeof(struct cached_block) + 16)

struct bucket {
	/* stored under the shard's lock */
	_Atomic(struct cached_block *) first;
	_Atomic uintptr_t ahead;        /* where the bytes of the first lie, or of what was: to be fetched beside its record, not
					 * behind it; never followed */
};

struct block_table {
	struct guard_garbage garbage;
	uint32_t mask;
	struct bucket buckets[];
};

struct cache_shard {
	pthread_mutex_t lock;
	_Atomic(struct block_table *) table;    /* stored under lock, by who sets the budget */
	struct cached_block *hand;      /* of the ring of all blocks; NULL: none; guarded by lock */
	uint32_t count;                 /* of them; guarded by lock */
};

struct block_cache {
	struct cache_shard shards[SHARD_COUNT];
	struct page_pool *pool;
	_Atomic uint64_t budget_bytes;
	_Atomic uint64_t held_bytes;    /* of what is linked in, or about to be */
	_Atomic uint64_t waiting_bytes; /* of what is linked out and not freed yet */
	_Atomic int64_t waiting_since_ns;       /* began to wait, or saw something freed */
	_Atomic uint64_t inserted_bytes;        /* ever */
	_Atomic uint64_t reserve_bytes; /* what waits to be freed, at the rate at which blocks came of late */
	/* of the freeing thread alone */
	int64_t lag_window_ns;          /* when it began */
	uint64_t lag_peak, lag_peak_before;     /* in this window and the one before */
};

static uint64_t block_cost(uint32_t size_bytes)
{
	return page_pool_round(size_bytes) + RECORD_BYTES;
}

static uint64_t block_hash(struct block_id id)
{
	return key_hash((struct key){ id.layer_id, id.number });
}

static unsigned shard_index(uint64_t hash)
{
	return hash >> 60 & (SHARD_COUNT - 1);
}

/* How many buckets a shard has for a budget. */
static uint32_t bucket_count(uint64_t budget_bytes)
{
	uint64_t blocks = budget_bytes / SHARD_COUNT / LAYER_BLOCK_BYTES;
	uint32_t count = 16;

	while (count < blocks && count < UINT32_C(1) << 28)
		count *= 2;
	return count;
}

static struct block_table *table_new(uint64_t budget_bytes)
{
	uint32_t count = bucket_count(budget_bytes);
	struct block_table *table;

	table = calloc(1, sizeof(*table) + count * sizeof(table->buckets[0]));
	if (table)
		table->mask = count - 1;
	return table;
}

int block_cache_create(uint64_t budget_bytes, struct block_cache **cache_out)
{
	struct block_cache *cache = calloc(1, sizeof(*cache));
	int err;

	*cache_out = NULL;
	if (!cache)
		return -ENOMEM;
	if (budget_bytes < BLOCK_CACHE_BYTES_MIN)
		budget_bytes = BLOCK_CACHE_BYTES_MIN;
	atomic_init(&cache->budget_bytes, budget_bytes);
	for (unsigned i = 0; i < SHARD_COUNT; i++)
		pthread_mutex_init(&cache->shards[i].lock, NULL);
	err = page_pool_create(budget_bytes + budget_bytes / WAITING_PART, &cache->pool);
	for (unsigned i = 0; i < SHARD_COUNT && !err; i++) {
		struct block_table *table = table_new(budget_bytes);

		atomic_init(&cache->shards[i].table, table);
		err = table ? 0 : -ENOMEM;
	}
	if (err) {
		block_cache_free(cache);
		return err;
	}
	*cache_out = cache;
	return 0;
}

/* Of no further use to anybody. */
static void block_free(struct cached_block *block)
{
	page_pool_give(block->cache->pool, block->bytes, block->size_bytes);
	free(block);
}

static void shard_destroy(struct cache_shard *shard)
{
	struct cached_block *hand = shard->hand;

	while (hand) {
		struct cached_block *next = hand->ring_next;

		block_free(hand);
		hand = next == shard->hand ? NULL : next;
	}
	free(atomic_load_explicit(&shard->table, memory_order_relaxed));
	pthread_mutex_destroy(&shard->lock);
}

void block_cache_free(struct block_cache *cache)
{
	if (!cache)
		return;
	/* What was evicted goes back to the pool first. */
	guard_barrier();
	for (unsigned i = 0; i < SHARD_COUNT; i++)
		shard_destroy(&cache->shards[i]);
	page_pool_free(cache->pool);
	free(cache);
}

static struct bucket *bucket_of(struct block_table *table, uint64_t hash)
{
	return &table->buckets[(uint32_t)hash & table->mask];
}

/* The shard's lock is held. */
static void bucket_insert(struct bucket *bucket, struct cached_block *block)
{
	atomic_store_explicit(&block->next, atomic_load_explicit(&bucket->first, memory_order_relaxed),
			      memory_order_release);
	atomic_store_explicit(&bucket->ahead, (uintptr_t)block->bytes, memory_order_relaxed);
	atomic_store_explicit(&bucket->first, block, memory_order_release);
}

/* What is looked at first in a data block: its counts, and where it has few keys and versions all about them. */
static void fetch_ahead(const struct bucket *bucket)
{
	uintptr_t ahead = atomic_load_explicit(&bucket->ahead, memory_order_relaxed);

	for (unsigned line = 0; line < AHEAD_LINES; line++)
		__builtin_prefetch((const void *)(ahead + line * LINE_BYTES));
}

/* A guard or the shard's lock is held. A block that is linked out meanwhile still leads on to the
 * rest of its bucket; one that moves to a larger table may hide what was behind it, which
 * is then loaded once more and dropped when it is to be linked in. */
static struct cached_block *shard_find(struct cache_shard *shard, struct block_id id, uint64_t hash)
{
	struct block_table *table = atomic_load_explicit(&shard->table, memory_order_acquire);
	struct bucket *bucket = bucket_of(table, hash);
	struct cached_block *block = atomic_load_explicit(&bucket->first, memory_order_acquire);

	fetch_ahead(bucket);
	while (block && (block->id.layer_id != id.layer_id || block->id.number != id.number))
		block = atomic_load_explicit(&block->next, memory_order_acquire);
	return block;
}

static int64_t coarse_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* What was inserted between an eviction and its freeing is what waits at any time. */
static void note_lag(struct block_cache *cache, uint64_t evicted_at)
{
	uint64_t lag = atomic_load_explicit(&cache->inserted_bytes, memory_order_relaxed) - evicted_at;
	int64_t now_ns = coarse_ns();

	atomic_store_explicit(&cache->waiting_since_ns, now_ns, memory_order_relaxed);
	if (now_ns - cache->lag_window_ns > LAG_WINDOW_NS) {
		cache->lag_peak_before = now_ns - cache->lag_window_ns < 2 * LAG_WINDOW_NS
						 ? cache->lag_peak : 0;
		cache->lag_peak = 0;
		cache->lag_window_ns = now_ns;
	}
	if (lag > cache->lag_peak)
		cache->lag_peak = lag;
	atomic_store_explicit(&cache->reserve_bytes,
			      cache->lag_peak > cache->lag_peak_before ? cache->lag_peak
								       : cache->lag_peak_before,
			      memory_order_relaxed);
}

static void block_free_later(struct guard_garbage *garbage)
{
	struct cached_block *block = (struct cached_block *)((char *)garbage -
							     offsetof(struct cached_block, garbage));

	note_lag(block->cache, block->evicted_at);
	atomic_fetch_sub_explicit(&block->cache->waiting_bytes, block_cost(block->size_bytes),
				  memory_order_relaxed);
	block_free(block);
}

static void ring_insert(struct cache_shard *shard, struct cached_block *block)
{
	shard->count++;
	if (!shard->hand) {
		shard->hand = block->ring_next = block->ring_before = block;
		return;
	}
	/* Where the hand comes last. */
	block->ring_next = shard->hand;
	block->ring_before = shard->hand->ring_before;
	block->ring_before->ring_next = block;
	block->ring_next->ring_before = block;
}

/* The shard's lock is held. */
static void shard_unlink(struct cache_shard *shard, struct cached_block *block)
{
	struct block_table *table = atomic_load_explicit(&shard->table, memory_order_relaxed);
	_Atomic(struct cached_block *) *link = &bucket_of(table, block_hash(block->id))->first;
	uint64_t cost = block_cost(block->size_bytes);

	while (atomic_load_explicit(link, memory_order_relaxed) != block)
		link = &atomic_load_explicit(link, memory_order_relaxed)->next;
	atomic_store_explicit(link, atomic_load_explicit(&block->next, memory_order_relaxed),
			      memory_order_release);
	shard->count--;
	if (block->ring_next == block)
		shard->hand = NULL;
	else if (shard->hand == block)
		shard->hand = block->ring_next;
	block->ring_next->ring_before = block->ring_before;
	block->ring_before->ring_next = block->ring_next;
	block->evicted_at = atomic_load_explicit(&block->cache->inserted_bytes, memory_order_relaxed);
	if (!atomic_fetch_add_explicit(&block->cache->waiting_bytes, cost, memory_order_relaxed))
		atomic_store_explicit(&block->cache->waiting_since_ns, coarse_ns(),
				      memory_order_relaxed);
	atomic_fetch_sub_explicit(&block->cache->held_bytes, cost, memory_order_relaxed);
	guard_free_later(&block->garbage, block_free_later);
}

/* Move the clock on by one block: evict it unless it was used, or is @keep. The shard's lock is held. */
static bool shard_step(struct cache_shard *shard, const struct cached_block *keep)
{
	struct cached_block *block = shard->hand;

	shard->hand = block->ring_next;
	if (block == keep || atomic_exchange_explicit(&block->used, false, memory_order_relaxed))
		return false;
	if (block->stays) {
		block->stays = false;
		return false;
	}
	shard_unlink(shard, block);
	return true;
}

static bool over_budget(const struct block_cache *cache)
{
	return atomic_load_explicit(&cache->held_bytes, memory_order_relaxed) >
	       atomic_load_explicit(&cache->budget_bytes, memory_order_relaxed);
}

/* Does so much wait to be freed that the cache has to give way? */
static bool crowded(const struct block_cache *cache)
{
	uint64_t budget = atomic_load_explicit(&cache->budget_bytes, memory_order_relaxed);
	uint64_t held = atomic_load_explicit(&cache->held_bytes, memory_order_relaxed);
	uint64_t reserve = atomic_load_explicit(&cache->reserve_bytes, memory_order_relaxed);

	return held > budget / HELD_PART && held + reserve > budget + budget / WAITING_PART;
}

bool block_cache_is_crowded(const struct block_cache *cache)
{
	return crowded(cache);
}

/* Evict until the budget is kept, from shard @first on; @keep, which is in there, stays. */
static void cache_evict(struct block_cache *cache, unsigned first, const struct cached_block *keep)
{
	for (unsigned i = 0; i < SHARD_COUNT && over_budget(cache); i++) {
		struct cache_shard *shard = &cache->shards[(first + i) % SHARD_COUNT];

		pthread_mutex_lock(&shard->lock);
		/* Round three times: what was used, or stays, is met again. */
		for (uint32_t steps = 3 * shard->count; steps && shard->hand && over_budget(cache);
		     steps--)
			(void)shard_step(shard, i ? NULL : keep);
		pthread_mutex_unlock(&shard->lock);
	}
}

/* Give way by two blocks for one that came in, and not by what is in use. */
static void cache_give_way(struct block_cache *cache, unsigned index, const struct cached_block *keep)
{
	struct cache_shard *shard = &cache->shards[index];
	uint32_t steps;

	pthread_mutex_lock(&shard->lock);
	steps = shard->count < GIVE_WAY_STEPS ? shard->count : GIVE_WAY_STEPS;
	for (unsigned evicted = 0; steps && evicted < 2 && crowded(cache); steps--)
		evicted += shard_step(shard, keep);
	pthread_mutex_unlock(&shard->lock);
}

/* Is there more than the budget and a little, and can it be waited for? */
static bool overcrowded(const struct block_cache *cache)
{
	uint64_t budget = atomic_load_explicit(&cache->budget_bytes, memory_order_relaxed);
	uint64_t held = atomic_load_explicit(&cache->held_bytes, memory_order_relaxed);
	uint64_t waiting = atomic_load_explicit(&cache->waiting_bytes, memory_order_relaxed);
	int64_t since_ns = atomic_load_explicit(&cache->waiting_since_ns, memory_order_relaxed);

	return held + waiting > budget + budget / CROWD_PART && coarse_ns() - since_ns < CROWD_STUCK_NS;
}

/*
 * When loads begin to come fast, nothing has been freed yet from which the cache could see how
 * much will wait. So for some 30 ms they wait a little each, until it has given way. No longer: the
 * guard that is held here may be what the freeing waits for.
 */
static void wait_if_overcrowded(const struct block_cache *cache)
{
	if (overcrowded(cache))
		nanosleep(&(struct timespec){ .tv_nsec = CROWD_WAIT_NS }, NULL);
}

void block_cache_pace(const struct block_cache *cache)
{
	for (unsigned step = 0; step < PACE_STEPS_MAX && overcrowded(cache); step++)
		nanosleep(&(struct timespec){ .tv_nsec = PACE_NS }, NULL);
}

static void table_free(struct guard_garbage *garbage)
{
	free((char *)garbage - offsetof(struct block_table, garbage));
}

/* Move all blocks to @table. The shard's lock is held. */
static void shard_move(struct cache_shard *shard, struct block_table *table)
{
	struct cached_block *block = shard->hand;

	while (block) {
		bucket_insert(bucket_of(table, block_hash(block->id)), block);
		block = block->ring_next == shard->hand ? NULL : block->ring_next;
	}
	atomic_store_explicit(&shard->table, table, memory_order_release);
}

/* Have buckets for a larger budget. Where there is no memory for them the chains are longer. */
static void shard_grow(struct cache_shard *shard, uint64_t budget_bytes)
{
	struct block_table *table, *old = atomic_load_explicit(&shard->table, memory_order_relaxed);

	/* The table is this thread's to replace. */
	if (bucket_count(budget_bytes) <= old->mask + 1)
		return;
	table = table_new(budget_bytes);
	if (!table)
		return;
	pthread_mutex_lock(&shard->lock);
	shard_move(shard, table);
	pthread_mutex_unlock(&shard->lock);
	guard_free_later(&old->garbage, table_free);
}

void block_cache_set_budget(struct block_cache *cache, uint64_t budget_bytes)
{
	if (budget_bytes < BLOCK_CACHE_BYTES_MIN)
		budget_bytes = BLOCK_CACHE_BYTES_MIN;
	atomic_store_explicit(&cache->budget_bytes, budget_bytes, memory_order_relaxed);
	page_pool_set_limit(cache->pool, budget_bytes + budget_bytes / WAITING_PART);
	for (unsigned i = 0; i < SHARD_COUNT; i++)
		shard_grow(&cache->shards[i], budget_bytes);
	cache_evict(cache, 0, NULL);
}

/* *block_out is the caller's, filled. */
static int block_make(struct block_cache *cache, struct block_id id, enum block_kind kind, uint32_t size_bytes,
		      block_fill_fn *fill, void *context, struct cached_block **block_out)
{
	struct cached_block *block = calloc(1, sizeof(*block));
	int err;

	*block_out = NULL;
	if (!block)
		return -ENOMEM;
	block->id = id;
	block->cache = cache;
	block->size_bytes = size_bytes;
	/* Not yet: what is looked at once goes before what is looked at again. */
	atomic_init(&block->used, false);
	/* It leads to hundreds of others, and will be. */
	block->stays = kind == BLOCK_OF_INDEX;
	block->bytes = page_pool_take(cache->pool, size_bytes);
	if (!block->bytes) {
		free(block);
		return -ENOMEM;
	}
	err = fill(context, block->bytes);
	if (err)
		block_free(block);
	else
		*block_out = block;
	return err;
}

/* Link @loaded in, unless another thread was first: then it is freed. Returns the
 * block that is linked in. */
static struct cached_block *cache_insert(struct block_cache *cache, struct cached_block *loaded,
					 uint64_t hash)
{
	struct cache_shard *shard = &cache->shards[shard_index(hash)];
	struct cached_block *block;

	pthread_mutex_lock(&shard->lock);
	block = shard_find(shard, loaded->id, hash);
	if (!block) {
		block = loaded;
		loaded = NULL;
		atomic_fetch_add_explicit(&cache->held_bytes, block_cost(block->size_bytes),
					  memory_order_relaxed);
		atomic_fetch_add_explicit(&cache->inserted_bytes, block_cost(block->size_bytes),
					  memory_order_relaxed);
		ring_insert(shard, block);
		bucket_insert(bucket_of(atomic_load_explicit(&shard->table, memory_order_relaxed), hash),
			      block);
	}
	pthread_mutex_unlock(&shard->lock);
	if (loaded) {
		block_free(loaded);
	} else {
		cache_evict(cache, shard_index(hash), block);
		if (crowded(cache))
			cache_give_way(cache, shard_index(hash), block);
		wait_if_overcrowded(cache);
	}
	return block;
}

const uint8_t *block_cache_look(struct block_cache *cache, struct block_id id)
{
	uint64_t hash = block_hash(id);
	struct cached_block *block = shard_find(&cache->shards[shard_index(hash)], id, hash);

	if (!block)
		return NULL;
	/* Stored only if it changes something: the line stays shared. */
	if (!atomic_load_explicit(&block->used, memory_order_relaxed))
		atomic_store_explicit(&block->used, true, memory_order_relaxed);
	return block->bytes;
}

bool block_cache_has(struct block_cache *cache, struct block_id id)
{
	uint64_t hash = block_hash(id);

	return shard_find(&cache->shards[shard_index(hash)], id, hash) != NULL;
}

void block_cache_prefetch(struct block_cache *cache, const struct block_place *places, unsigned count)
{
	struct bucket *buckets[BLOCK_PREFETCH_MAX];
	struct cached_block *blocks[BLOCK_PREFETCH_MAX];

	assert(count <= BLOCK_PREFETCH_MAX);
	for (unsigned i = 0; i < count; i++) {
		uint64_t hash = block_hash(places[i].id);
		struct block_table *table = atomic_load_explicit(&cache->shards[shard_index(hash)].table,
								 memory_order_acquire);

		buckets[i] = bucket_of(table, hash);
		__builtin_prefetch(buckets[i]);
	}
	for (unsigned i = 0; i < count; i++) {
		blocks[i] = atomic_load_explicit(&buckets[i]->first, memory_order_acquire);
		__builtin_prefetch(blocks[i]);
	}
	/* Most buckets have one block: another than the one that is looked for does no harm. */
	for (unsigned i = 0; i < count; i++)
		if (blocks[i] && blocks[i]->id.layer_id == places[i].id.layer_id &&
		    blocks[i]->id.number == places[i].id.number)
			__builtin_prefetch(blocks[i]->bytes + places[i].at);
}

int block_cache_load(struct block_cache *cache, struct block_id id, enum block_kind kind, uint32_t size_bytes,
		     block_fill_fn *fill, void *context, const uint8_t **bytes_out)
{
	struct cached_block *loaded;
	int err = block_make(cache, id, kind, size_bytes, fill, context, &loaded);

	*bytes_out = err ? NULL : cache_insert(cache, loaded, block_hash(id))->bytes;
	return err;
}

struct index_block_source {
	const struct store_identity *store;
	struct block_id id;
	int fd;
};

static int index_block_fill(void *context, uint8_t *bytes)
{
	const struct index_block_source *source = context;
	int err = io_read(source->fd, bytes, LAYER_BLOCK_BYTES,
			  source->id.number * LAYER_BLOCK_BYTES);

	if (!err && !layer_block_good(bytes, source->store, source->id.layer_id,
				      (uint32_t)source->id.number))
		err = -EBADMSG;
	return err;
}

int block_cache_get(struct block_cache *cache, const struct store_identity *store,
		    uint64_t layer_id, int fd, uint32_t number, const uint8_t **bytes_out)
{
	struct index_block_source source = { store, { layer_id, number }, fd };

	*bytes_out = block_cache_look(cache, source.id);
	if (*bytes_out)
		return 0;
	return block_cache_load(cache, source.id, BLOCK_OF_INDEX, LAYER_BLOCK_BYTES, index_block_fill, &source,
				bytes_out);
}

uint64_t block_cache_bytes(const struct block_cache *cache)
{
	return atomic_load_explicit(&cache->held_bytes, memory_order_relaxed);
}

uint64_t block_cache_waiting_bytes(const struct block_cache *cache)
{
	return atomic_load_explicit(&cache->waiting_bytes, memory_order_relaxed);
}

uint64_t block_cache_budget(const struct block_cache *cache)
{
	return atomic_load_explicit(&cache->budget_bytes, memory_order_relaxed);
}
