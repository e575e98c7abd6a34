#include "table_layer_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "compress.h"
#include "io.h"

int table_layer_new(const struct table_summary *summary, const struct store_identity *store,
		    struct block_cache *cache, struct layer_files *files, struct layer **layer_out)
{
	struct table_layer *layer = calloc(1, sizeof(*layer));

	*layer_out = NULL;
	if (!layer)
		return -ENOMEM;
	layer->base.kind = LAYER_TABLE;
	layer->base.id = summary->layer_id;
	layer->base.start = summary->start;
	layer->base.store = store;
	layer->summary = *summary;
	layer->cache = cache;
	layer_file_init(&layer->file, files, summary->layer_id);
	*layer_out = &layer->base;
	return 0;
}

void table_layer_free(struct layer *layer)
{
	if (!layer)
		return;
	layer_file_destroy(&as_table(layer)->file);
	free(atomic_load_explicit(&as_table(layer)->shape, memory_order_relaxed));
	free(layer);
}

const struct table_summary *table_layer_summary(const struct layer *layer)
{
	return &((const struct table_layer *)layer)->summary;
}

int table_read(struct table_layer *layer, void *buffer, uint64_t size_bytes, uint64_t offset_bytes)
{
	int fd, err = layer_file_pin(&layer->file, &fd);

	if (!err) {
		err = layer_file_read(&layer->file, buffer, size_bytes, offset_bytes);
		layer_file_unpin(&layer->file);
	}
	return err == -ENOENT ? -EUCLEAN : err;
}

int table_read_index_block(struct table_layer *layer, uint32_t number, uint8_t *bytes)
{
	int err = table_read(layer, bytes, LAYER_BLOCK_BYTES, (uint64_t)number * LAYER_BLOCK_BYTES);

	if (!err && !layer_block_good(bytes, layer->base.store, layer->base.id, number))
		err = -EBADMSG;
	return err;
}

static int read_footer(struct table_layer *layer, struct table_shape *shape_out)
{
	uint8_t block[LAYER_BLOCK_BYTES];
	struct table_summary summary;
	int err;

	if (layer->summary.lost)
		return -EBADMSG;
	if (layer->summary.file_bytes < LAYER_BLOCK_BYTES)
		return -EUCLEAN;
	err = table_read(layer, block, sizeof(block), layer->summary.file_bytes - sizeof(block));
	if (!err)
		err = table_footer_decode(block, layer->base.store, layer->base.id,
					  layer->summary.file_bytes, &summary, shape_out);
	if (!err && !table_summary_equal(&summary, &layer->summary))
		err = -EUCLEAN;
	return err;
}

int table_layer_shape(struct table_layer *layer, const struct table_shape **shape_out)
{
	struct table_shape *shape = atomic_load_explicit(&layer->shape, memory_order_acquire);
	struct table_shape *none = NULL;
	int err;

	*shape_out = shape;
	if (shape)
		return 0;
	shape = malloc(sizeof(*shape));
	if (!shape)
		return -ENOMEM;
	err = read_footer(layer, shape);
	if (err) {
		free(shape);
		return err;
	}
	if (!atomic_compare_exchange_strong_explicit(&layer->shape, &none, shape,
						     memory_order_acq_rel, memory_order_acquire)) {
		free(shape);
		shape = none;
	}
	*shape_out = shape;
	return 0;
}

static int verify_size(struct table_layer *layer)
{
	uint64_t size;
	int fd, err = layer_file_pin(&layer->file, &fd);

	if (err)
		return err;
	err = io_size(fd, &size);
	layer_file_unpin(&layer->file);
	return !err && size != layer->summary.file_bytes ? -EUCLEAN : err;
}

int table_layer_verify(struct layer *layer_base)
{
	struct table_layer *layer = as_table(layer_base);
	uint8_t bytes[TABLE_HEADER_BYTES];
	struct table_header header;
	struct table_shape shape;
	int err = verify_size(layer);

	if (!err)
		err = table_read(layer, bytes, sizeof(bytes), 0);
	if (!err)
		err = table_header_decode(bytes, layer->base.store, &header);
	if (!err && (header.layer_id != layer->base.id ||
		     header.start.value != layer->summary.start.value ||
		     header.end.value != layer->summary.end.value))
		err = -EUCLEAN;
	return err ? err : read_footer(layer, &shape);
}

static int unpack_bytes(const struct table_summary *summary, const struct store_identity *store,
			const struct table_fence *fence, const uint8_t *stored, uint8_t *bytes)
{
	enum compression compression;
	int err = table_block_open(stored, fence, store, summary->layer_id, &compression);

	return err ? err : decompress(compression, stored + TABLE_BLOCK_HEADER_BYTES,
				      fence->stored_bytes - TABLE_BLOCK_HEADER_BYTES, bytes,
				      fence->block_bytes);
}

int table_unpack(const struct table_summary *summary, const struct store_identity *store,
		 const struct table_fence *fence, const uint8_t *stored, uint8_t *bytes)
{
	int err = unpack_bytes(summary, store, fence, stored, bytes);

	return err ? err : table_block_decode(bytes, fence, summary->start, summary->end);
}

int table_unpack_alone(const struct table_summary *summary, const struct store_identity *store,
		       struct table_fence *fence, const uint8_t *stored, uint8_t *bytes)
{
	struct table_block block;
	int err = unpack_bytes(summary, store, fence, stored, bytes);

	if (err)
		return err;
	if (fence->block_bytes < table_block_bytes(1, 1, 0) || !table_u32(bytes, 0) ||
	    table_block_bytes(table_u32(bytes, 0), table_u32(bytes, 1), 0) > fence->block_bytes)
		return -EUCLEAN;
	table_block_view(bytes, &block);
	fence->key = table_block_key(&block, 0);
	fence->lsn = table_block_lsn(&block, 0);
	return table_block_decode(bytes, fence, summary->start, summary->end);
}
