/*
 * Block cache: checked index blocks of sealed layers, checked index blocks and decompressed data
 * blocks of table layers, all within one byte budget.
 *
 * A block is read, verified and decoded once, when it enters; it is evicted by the
 * second-chance clock. Look-ups take no lock: they run under a guard, and an evicted block is
 * freed when no guard can see it, so what was got stays valid until the caller's guard is
 * dropped. A shard's mutex is held only to link a block in or out, never across a read. Any thread.
 *
 * What is counted is what is taken: whole pages (page_pool.h) and the block's record. What was evicted
 * and is not freed yet, some 30 ms of what comes in, lies on top; where blocks come so fast that it is
 * more than a thirty-second of the budget, the cache holds that much less, down to a quarter, and until it
 * does loads wait 0.3 ms each. A small cache can't give way by so much: before a guard is taken, who is about to read waits
 * (block_cache_pace).
 */
#ifndef VARVE_LAYERS_BLOCK_CACHE_H
#define VARVE_LAYERS_BLOCK_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "layer_file.h"

struct block_cache;

/* However small the budget, so much is held: 256 index blocks and their records. -ENOMEM. */
#define BLOCK_CACHE_BYTES_MIN (UINT64_C(1056) << 10)
int block_cache_create(uint64_t budget_bytes, struct block_cache **cache_out);
void block_cache_free(struct block_cache *cache);       /* NULL is ignored; no guard is held */

/* Change the budget; what is above it is evicted before this returns, and freed when the guards
 * allow it. One thread at a time. */
void block_cache_set_budget(struct block_cache *cache, uint64_t budget_bytes);

/* Of the layer's blocks: those of LAYER_BLOCK_BYTES by their number in the file, data blocks of table layers
 * by BLOCK_DATA and their number. Layer ids are never used twice. */
#define BLOCK_DATA (UINT64_C(1) << 32)
struct block_id {
	uint64_t layer_id, number;
};

/* The block, if it is held, else NULL. A guard is held; valid until it is dropped. */
const uint8_t *block_cache_look(struct block_cache *cache, struct block_id id);
/* Is it held? Changes nothing. A guard is held. */
bool block_cache_has(struct block_cache *cache, struct block_id id);

/* A byte of a block. */
struct block_place {
	struct block_id id;
	uint32_t at;
};

/* Bring what is held of @places nearer to the processor, all at once and not one after the other: a look-up is three
 * steps in memory. A guard is held. */
#define BLOCK_PREFETCH_MAX 16u
void block_cache_prefetch(struct block_cache *cache, const struct block_place *places, unsigned count);

/* Does more wait to be freed than the budget has room for? Then who can do without a block in the cache does. */
bool block_cache_is_crowded(const struct block_cache *cache);

/*
 * Wait while what is held and what waits to be freed are together over the budget and a twelfth, up to 50 ms, or
 * until nothing was freed for 0.1 s. The caller holds no guard and no lock.
 */
void block_cache_pace(const struct block_cache *cache);

/* Fill @bytes with the block, verified and decoded. What is not 0 comes back from block_cache_load. */
typedef int block_fill_fn(void *context, uint8_t *bytes);

enum block_kind { BLOCK_OF_CONTENT, BLOCK_OF_INDEX };   /* the latter stays a round longer */

/* Let @fill make the block of @size_bytes and keep it. A guard is held. 0 and *bytes_out, valid until
 * the guard is dropped, of this call's block or of one that another thread brought in
 * meanwhile; -ENOMEM; what @fill returned. */
int block_cache_load(struct block_cache *cache, struct block_id id, enum block_kind kind, uint32_t size_bytes,
		     block_fill_fn *fill, void *context, const uint8_t **bytes_out);

/*
 * Get block @number, of LAYER_BLOCK_BYTES, of the layer's file @fd. A guard is held. 0 and *bytes_out,
 * valid until the guard is dropped; -EBADMSG: its checksum is wrong; -ENOMEM; other -errno.
 */
int block_cache_get(struct block_cache *cache, const struct store_identity *store,
		    uint64_t layer_id, int fd, uint32_t number, const uint8_t **bytes_out);

/* Bytes of the blocks held. */
uint64_t block_cache_bytes(const struct block_cache *cache);
/* Of those evicted and not yet freed. */
uint64_t block_cache_waiting_bytes(const struct block_cache *cache);
uint64_t block_cache_budget(const struct block_cache *cache);

#endif
