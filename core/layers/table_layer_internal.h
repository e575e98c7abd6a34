/*
 * Table layer, for those that read its file: the reader, its cursor, the check.
 */
#ifndef VARVE_LAYERS_TABLE_LAYER_INTERNAL_H
#define VARVE_LAYERS_TABLE_LAYER_INTERNAL_H

#include <stdatomic.h>

#include "table_format.h"
#include "table_layer.h"

struct table_layer {
	struct layer base;              /* first: a struct layer of kind LAYER_TABLE is one of these */
	struct table_summary summary;
	struct block_cache *cache;
	struct layer_file file;
	_Atomic(struct table_shape *) shape;    /* NULL until the footer was read, then constant */
};

static inline struct table_layer *as_table(struct layer *layer)
{
	return (struct table_layer *)layer;
}

/* Where the parts of the file are; the footer is read if it was not yet. 0 and *shape_out, which lives
 * as long as the layer; errors as layer.h has them. */
int table_layer_shape(struct table_layer *layer, const struct table_shape **shape_out);

/* Read and verify one block, past the cache. As above. */
int table_read_index_block(struct table_layer *layer, uint32_t number, uint8_t *bytes);

/* Verify, decompress and decode the data block that @stored holds as @fence says, to
 * fence->block_bytes at @bytes. As above. */
int table_unpack(const struct table_summary *summary, const struct store_identity *store,
		 const struct table_fence *fence, const uint8_t *stored, uint8_t *bytes);

/* The same where no fence is at hand: of @fence offset and sizes are what the block says, the rest is filled. */
int table_unpack_alone(const struct table_summary *summary, const struct store_identity *store,
		       struct table_fence *fence, const uint8_t *stored, uint8_t *bytes);

/* Read from the file, which is opened for it if need be. As above: never -ENOENT. */
int table_read(struct table_layer *layer, void *buffer, uint64_t size_bytes, uint64_t offset_bytes);

static inline uint32_t table_fences_in_block(const struct table_shape *shape, uint32_t fence_block)
{
	uint32_t left = shape->block_count - fence_block * TABLE_FENCES_PER_BLOCK;

	return left < TABLE_FENCES_PER_BLOCK ? left : TABLE_FENCES_PER_BLOCK;
}

#endif
