/*
 * Open layer, sealed: index and footer are built in memory and added behind the log by few large writes.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "codec.h"
#include "io.h"
#include "open_layer_internal.h"

#define HUGE_PAGE_BYTES (2u << 20)

/* The index while it is built: in memory, to be written by few large writes. */
struct index_builder {
	struct open_layer *layer;
	struct layer_footer footer;
	uint8_t *blocks;                /* from footer.filter_block on */
	size_t size_bytes;
};

/* Fills the blocks of one part of the index, one record after another. */
struct part_writer {
	struct index_builder *builder;
	uint32_t block;                 /* being filled */
	uint32_t per_block, in_block;
	struct put_cursor at;
};

static uint8_t *block_bytes(struct index_builder *builder, uint32_t block)
{
	return builder->blocks + (uint64_t)(block - builder->footer.filter_block) * LAYER_BLOCK_BYTES;
}

static void block_seal(struct index_builder *builder, uint32_t block)
{
	layer_block_seal(block_bytes(builder, block), builder->layer->base.store,
			 builder->layer->base.id, block);
}

static struct part_writer part_begin(struct index_builder *builder, uint32_t block,
				     uint32_t per_block)
{
	return (struct part_writer){ builder, block, per_block, 0,
				     put_cursor(block_bytes(builder, block),
						LAYER_BLOCK_PAYLOAD_BYTES) };
}

static void part_seal_block(struct part_writer *part)
{
	memset(part->at.at, 0, (size_t)(part->at.end - part->at.at));
	block_seal(part->builder, part->block);
}

/* Where the next record goes. */
static struct put_cursor *part_next(struct part_writer *part)
{
	if (part->in_block == part->per_block) {
		part_seal_block(part);
		*part = part_begin(part->builder, part->block + 1, part->per_block);
	}
	part->in_block++;
	return &part->at;
}

static void part_end(struct part_writer *part)
{
	if (part->in_block)
		part_seal_block(part);
}

static void put_key(struct put_cursor *c, struct key key)
{
	put_u64(c, key.ino);
	put_u64(c, key.sub);
}

static uint32_t build_versions(struct index_builder *builder, struct part_writer *versions,
			       const struct version_node *node)
{
	uint32_t count = 0;

	for (; node; node = version_index_before(builder->layer->index, node), count++) {
		struct put_cursor *c = part_next(versions);

		/* Two numbers at a time, the first in the low bits: it halves the time. */
		put_u64(c, (uint64_t)node->offset << 32 | node->lsn);
		put_u64(c, (uint64_t)node->weight << 40 | (uint64_t)node->form << 32 |
				   node->size_bytes);
		put_u64(c, node->checksum);
	}
	return count;
}

/* Keys in order lie in memory in the order they came: fetch some ahead, with the
 * versions that lie before the newest. */
#define PREFETCH_AHEAD 16u
#define PREFETCH_BYTES 256

static void prefetch_versions(const struct version_node *newest)
{
	for (int back = 0; back < PREFETCH_BYTES; back += 64)
		__builtin_prefetch((const uint8_t *)newest - back);
}

static void build_keys(struct index_builder *builder, const struct version_index_key *keys)
{
	const struct layer_footer *footer = &builder->footer;
	struct part_writer key_part = part_begin(builder, footer->key_block, LAYER_KEYS_PER_BLOCK);
	struct part_writer version_part =
		part_begin(builder, footer->version_block, LAYER_VERSIONS_PER_BLOCK);
	struct part_writer fence_part =
		part_begin(builder, footer->fence_block, LAYER_FENCES_PER_BLOCK);
	uint32_t first = 0;

	for (uint32_t i = 0; i < footer->key_count; i++) {
		struct put_cursor *c;
		uint32_t count;

		if (i + PREFETCH_AHEAD < footer->key_count)
			prefetch_versions(keys[i + PREFETCH_AHEAD].newest);
		count = build_versions(builder, &version_part, keys[i].newest);
		c = part_next(&key_part);
		put_key(c, keys[i].key);
		put_u64(c, (uint64_t)count << 32 | first);
		first += count;
		if (i % LAYER_KEYS_PER_BLOCK == 0)
			put_key(part_next(&fence_part), keys[i].key);
	}
	part_end(&key_part);
	part_end(&version_part);
	part_end(&fence_part);
}

static void build_filter(struct index_builder *builder, const struct version_index_key *keys)
{
	const struct layer_footer *footer = &builder->footer;

	memset(block_bytes(builder, footer->filter_block), 0,
	       (size_t)(footer->key_block - footer->filter_block) * LAYER_BLOCK_BYTES);
	for (uint32_t i = 0; i < footer->key_count; i++) {
		uint64_t hash = key_hash(keys[i].key);
		uint32_t line = layer_filter_line(hash, footer->filter_lines);
		uint8_t *bits = block_bytes(builder, footer->filter_block +
							     line / LAYER_FILTER_LINES_PER_BLOCK) +
				line % LAYER_FILTER_LINES_PER_BLOCK * LAYER_FILTER_LINE_BYTES;

		layer_filter_line_set(bits, hash);
	}
	for (uint32_t block = footer->filter_block; block < footer->key_block; block++)
		block_seal(builder, block);
}

static struct layer_footer footer_for(const struct open_layer *layer, uint32_t key_count)
{
	uint32_t version_count = version_index_version_count(layer->index);
	struct layer_index_shape shape = layer_index_shape(key_count, version_count);
	uint64_t tail = atomic_load(&layer->tail);
	struct layer_footer footer = {
		.layer_id = layer->base.id,
		.start = layer->base.start,
		.end = open_layer_end(layer),
		.chain_start = layer->chain_start,
		.chain_end = layer->chain,
		.time_first_ns = layer->time_first_ns,
		.time_last_ns = layer->time_last_ns,
		.ino_max = layer->ino_max,
		.key_count = key_count,
		.version_count = version_count,
		.filter_lines = shape.filter_lines,
		.filter_block = (uint32_t)((tail + LAYER_BLOCK_BYTES - 1) / LAYER_BLOCK_BYTES),
	};

	footer.key_block = footer.filter_block + shape.filter_blocks;
	footer.version_block = footer.key_block + shape.key_blocks;
	footer.fence_block = footer.version_block + shape.version_blocks;
	footer.footer_block = footer.fence_block + shape.fence_blocks;
	return footer;
}

static int index_build(struct index_builder *builder)
{
	struct version_index_key *keys;
	uint32_t key_count;
	int err = version_index_sort(builder->layer->index, &keys, &key_count);

	if (err)
		return err;
	builder->footer = footer_for(builder->layer, key_count);
	builder->size_bytes = (size_t)(builder->footer.footer_block + 1 -
				       builder->footer.filter_block) * LAYER_BLOCK_BYTES;
	builder->blocks = aligned_alloc(HUGE_PAGE_BYTES, (builder->size_bytes / HUGE_PAGE_BYTES + 1) *
								HUGE_PAGE_BYTES);
	if (!builder->blocks) {
		free(keys);
		return -ENOMEM;
	}
	/* Faulting it in by 4 KiB would take as long as filling it. */
	madvise(builder->blocks, builder->size_bytes, MADV_HUGEPAGE);
	build_keys(builder, keys);
	build_filter(builder, keys);
	layer_footer_encode(&builder->footer, builder->layer->base.store,
			    block_bytes(builder, builder->footer.footer_block));
	free(keys);
	return 0;
}

static int sync_file(struct open_layer *layer)
{
	return io_sync(layer->arena.fd);
}

int open_layer_seal(struct open_layer *layer, struct layer_footer *footer_out)
{
	struct index_builder builder = { .layer = layer };
	uint64_t index_at, file_bytes;
	int err;

	memset(footer_out, 0, sizeof(*footer_out));
	assert(layer->started && layer->lease_count == 0);
	err = index_build(&builder);
	if (err)
		return err;
	*footer_out = builder.footer;
	index_at = (uint64_t)builder.footer.filter_block * LAYER_BLOCK_BYTES;
	file_bytes = index_at + builder.size_bytes;
	/* open_layer_lease saw to it that there is room, unless the file was cut short since:
	 * then it grows. */
	err = io_write(layer->arena.fd, builder.blocks, builder.size_bytes, index_at);
	/* Nothing reads or writes the mapping beyond: readers stay in the log. */
	if (!err)
		err = io_truncate(layer->arena.fd, file_bytes);
	if (!err) {
		arena_unmap_range(&layer->arena, 0, index_at);
		err = open_layer_sync(layer, sync_file);
	}
	free(builder.blocks);
	return err;
}
