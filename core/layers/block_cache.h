/*
 * Block cache: checked index blocks of sealed layers, within a byte budget.
 *
 * A block is read and its checksum verified once, when it enters; it is
 * evicted by the second-chance clock. Any thread; a shard's mutex is held for
 * the look-up only, never across a read.
 */
#ifndef VARVE_LAYERS_BLOCK_CACHE_H
#define VARVE_LAYERS_BLOCK_CACHE_H

#include <stdint.h>

#include "layer_file.h"

struct block_cache;
struct cached_block;

int block_cache_create(uint64_t budget_bytes, struct block_cache **cache_out);
void block_cache_free(struct block_cache *cache);       /* NULL is ignored; no block may be pinned */

/*
 * Pin block @number of the layer's file @fd. 0, *bytes_out (LAYER_BLOCK_BYTES, valid
 * until the block is put) and *block_out; -EBADMSG: its checksum is wrong; -ENOMEM;
 * other -errno.
 */
int block_cache_get(struct block_cache *cache, const struct store_identity *store,
		    uint64_t layer_id, int fd, uint32_t number, struct cached_block **block_out,
		    const uint8_t **bytes_out);
void block_cache_put(struct block_cache *cache, struct cached_block *block);    /* NULL is ignored */

uint64_t block_cache_bytes(const struct block_cache *cache);

#endif
