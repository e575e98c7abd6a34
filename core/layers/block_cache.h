/*
 * Block cache: checked index blocks of sealed layers, within a byte budget.
 *
 * A block is read and its checksum verified once, when it enters; it is
 * evicted by the second-chance clock. Look-ups take no lock: they run under a
 * guard, and an evicted block is freed when no guard can see it, so what was
 * got stays valid until the caller's guard is dropped. A shard's mutex is held
 * only to take a block or link one in or out, never across a read. Any thread.
 */
#ifndef VARVE_LAYERS_BLOCK_CACHE_H
#define VARVE_LAYERS_BLOCK_CACHE_H

#include <stdint.h>

#include "layer_file.h"

struct block_cache;

/* However small the budget, 256 blocks are held. -ENOMEM. */
int block_cache_create(uint64_t budget_bytes, struct block_cache **cache_out);
void block_cache_free(struct block_cache *cache);       /* NULL is ignored; the caller holds no guard */

/*
 * Get block @number of the layer's file @fd. A guard is held. 0 and *bytes_out
 * (LAYER_BLOCK_BYTES, valid until the guard is dropped); -EBADMSG: its checksum is
 * wrong; -ENOMEM; other -errno.
 */
int block_cache_get(struct block_cache *cache, const struct store_identity *store,
		    uint64_t layer_id, int fd, uint32_t number, const uint8_t **bytes_out);

/* Bytes of the blocks held. */
uint64_t block_cache_bytes(const struct block_cache *cache);

#endif
