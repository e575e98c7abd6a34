#include "layer_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "checksum.h"
#include "codec.h"
#include "zeros.h"

static const char header_magic[8] = { 'V', 'A', 'R', 'V', 'E', 'L', 'A', 'Y' };
static const char footer_magic[8] = { 'V', 'A', 'R', 'V', 'E', 'E', 'N', 'D' };

#define HEADER_USED_BYTES 56u
#define BLOCK_CHECKSUM_AT LAYER_BLOCK_PAYLOAD_BYTES

void layer_head_put(struct put_cursor *c, const char magic[LAYER_MAGIC_BYTES], uint32_t version,
		    const struct store_identity *store)
{
	put_bytes(c, magic, LAYER_MAGIC_BYTES);
	put_u32(c, version);
	put_u32(c, store->page_size_bytes);
	put_bytes(c, store->id, sizeof(store->id));
}

int layer_head_get(struct get_cursor *c, const char magic[LAYER_MAGIC_BYTES], uint32_t version,
		   const struct store_identity *store)
{
	const uint8_t *found_magic = get_bytes(c, LAYER_MAGIC_BYTES);
	uint32_t found_version = get_u32(c), page_size = get_u32(c);
	const uint8_t *id = get_bytes(c, sizeof(store->id));

	if (c->bad || memcmp(found_magic, magic, LAYER_MAGIC_BYTES) != 0)
		return -EUCLEAN;
	if (found_version > version)
		return -EPROTONOSUPPORT;
	if (memcmp(id, store->id, sizeof(store->id)) != 0)
		return -EXDEV;
	return page_size == store->page_size_bytes ? 0 : -EUCLEAN;
}

void layer_head_identity(const uint8_t bytes[LAYER_HEAD_BYTES], uint64_t (*seed_of)(const uint8_t id[16]),
			 struct store_identity *store_out)
{
	struct get_cursor c = get_cursor(bytes, LAYER_HEAD_BYTES);

	memset(store_out, 0, sizeof(*store_out));
	get_bytes(&c, LAYER_MAGIC_BYTES);
	get_u32(&c);
	store_out->page_size_bytes = get_u32(&c);
	memcpy(store_out->id, get_bytes(&c, sizeof(store_out->id)), sizeof(store_out->id));
	store_out->seed = seed_of(store_out->id);
}

void layer_header_encode(const struct layer_header *header, const struct store_identity *store,
			 uint8_t bytes_out[LAYER_HEADER_BYTES])
{
	struct put_cursor c = put_cursor(bytes_out, LAYER_HEADER_BYTES);

	memset(bytes_out, 0, LAYER_HEADER_BYTES);
	layer_head_put(&c, header_magic, LAYER_FORMAT_VERSION, store);
	put_u64(&c, header->layer_id);
	put_u64(&c, header->start.value);
	put_u64(&c, header->chain_start);
	put_u64(&c, checksum(bytes_out, HEADER_USED_BYTES, store->seed));
}

int layer_header_decode(const uint8_t bytes[LAYER_HEADER_BYTES],
			const struct store_identity *store, struct layer_header *header_out)
{
	struct get_cursor c = get_cursor(bytes, LAYER_HEADER_BYTES);
	int err;

	memset(header_out, 0, sizeof(*header_out));
	if (all_zero(bytes, LAYER_HEADER_BYTES))
		return 1;
	err = layer_head_get(&c, header_magic, LAYER_FORMAT_VERSION, store);
	if (err)
		return err;
	header_out->layer_id = get_u64(&c);
	header_out->start = lsn_make(get_u64(&c));
	header_out->chain_start = get_u64(&c);
	if (get_u64(&c) != checksum(bytes, HEADER_USED_BYTES, store->seed) ||
	    header_out->start.value >= LSN_LIMIT - LAYER_SIZE_MAX)
		return -EUCLEAN;
	return 0;
}

int layer_header_identity(const uint8_t bytes[LAYER_HEADER_BYTES],
			  uint64_t (*seed_of)(const uint8_t id[16]),
			  struct store_identity *store_out)
{
	struct layer_header header;

	layer_head_identity(bytes, seed_of, store_out);
	return layer_header_decode(bytes, store_out, &header) ? -EUCLEAN : 0;
}

static uint64_t block_seed(const struct store_identity *store, uint64_t layer_id, uint32_t number)
{
	uint8_t bytes[12];
	struct put_cursor c = put_cursor(bytes, sizeof(bytes));

	put_u64(&c, layer_id);
	put_u32(&c, number);
	return checksum(bytes, sizeof(bytes), store->seed);
}

void layer_block_seal(uint8_t block[LAYER_BLOCK_BYTES], const struct store_identity *store,
		      uint64_t layer_id, uint32_t number)
{
	struct put_cursor c = put_cursor(block + BLOCK_CHECKSUM_AT, 8);

	put_u64(&c, checksum(block, LAYER_BLOCK_PAYLOAD_BYTES,
			     block_seed(store, layer_id, number)));
}

bool layer_block_good(const uint8_t block[LAYER_BLOCK_BYTES], const struct store_identity *store,
		      uint64_t layer_id, uint32_t number)
{
	struct get_cursor c = get_cursor(block + BLOCK_CHECKSUM_AT, 8);

	return get_u64(&c) == checksum(block, LAYER_BLOCK_PAYLOAD_BYTES,
				       block_seed(store, layer_id, number));
}

void layer_footer_encode(const struct layer_footer *footer, const struct store_identity *store,
			 uint8_t block_out[LAYER_BLOCK_BYTES])
{
	struct put_cursor c = put_cursor(block_out, LAYER_BLOCK_PAYLOAD_BYTES);

	memset(block_out, 0, LAYER_BLOCK_BYTES);
	put_bytes(&c, footer_magic, sizeof(footer_magic));
	put_u64(&c, footer->layer_id);
	put_u64(&c, footer->start.value);
	put_u64(&c, footer->end.value);
	put_u64(&c, footer->chain_start);
	put_u64(&c, footer->chain_end);
	put_u64(&c, (uint64_t)footer->time_first_ns);
	put_u64(&c, (uint64_t)footer->time_last_ns);
	put_u64(&c, footer->ino_max);
	put_u32(&c, footer->key_count);
	put_u32(&c, footer->version_count);
	put_u32(&c, footer->filter_lines);
	put_u32(&c, footer->filter_block);
	put_u32(&c, footer->key_block);
	put_u32(&c, footer->version_block);
	put_u32(&c, footer->fence_block);
	put_u32(&c, footer->footer_block);
	layer_block_seal(block_out, store, footer->layer_id, footer->footer_block);
}

/* The parts must lie where so many keys and versions put them, and these be no more than the log can hold. */
static bool footer_is_consistent(const struct layer_footer *footer, uint64_t file_bytes)
{
	struct layer_index_shape shape =
		layer_index_shape(footer->key_count, footer->version_count);
	uint64_t log_end, first_block;

	if (footer->end.value < footer->start.value || footer->end.value >= LSN_LIMIT ||
	    footer->end.value - footer->start.value > LAYER_SIZE_MAX)
		return false;
	if (footer->key_count > footer->version_count ||
	    footer->version_count > footer->end.value - footer->start.value)
		return false;
	log_end = LAYER_HEADER_BYTES + footer->end.value - footer->start.value;
	first_block = (log_end + LAYER_BLOCK_BYTES - 1) / LAYER_BLOCK_BYTES;
	return footer->filter_lines == shape.filter_lines && footer->filter_block == first_block &&
	       footer->key_block == first_block + shape.filter_blocks &&
	       footer->version_block == (uint64_t)footer->key_block + shape.key_blocks &&
	       footer->fence_block == (uint64_t)footer->version_block + shape.version_blocks &&
	       footer->footer_block == (uint64_t)footer->fence_block + shape.fence_blocks &&
	       file_bytes == ((uint64_t)footer->footer_block + 1) * LAYER_BLOCK_BYTES;
}

int layer_footer_decode(const uint8_t block[LAYER_BLOCK_BYTES], const struct store_identity *store,
			uint64_t layer_id, uint64_t file_bytes, struct layer_footer *footer_out)
{
	struct get_cursor c = get_cursor(block, LAYER_BLOCK_PAYLOAD_BYTES);
	const uint8_t *magic = get_bytes(&c, sizeof(footer_magic));
	struct layer_footer footer;

	memset(footer_out, 0, sizeof(*footer_out));
	footer.layer_id = get_u64(&c);
	footer.start = lsn_make(get_u64(&c));
	footer.end = lsn_make(get_u64(&c));
	footer.chain_start = get_u64(&c);
	footer.chain_end = get_u64(&c);
	footer.time_first_ns = (int64_t)get_u64(&c);
	footer.time_last_ns = (int64_t)get_u64(&c);
	footer.ino_max = get_u64(&c);
	footer.key_count = get_u32(&c);
	footer.version_count = get_u32(&c);
	footer.filter_lines = get_u32(&c);
	footer.filter_block = get_u32(&c);
	footer.key_block = get_u32(&c);
	footer.version_block = get_u32(&c);
	footer.fence_block = get_u32(&c);
	footer.footer_block = get_u32(&c);
	if (memcmp(magic, footer_magic, sizeof(footer_magic)) != 0 ||
	    !layer_block_good(block, store, layer_id, footer.footer_block) ||
	    footer.layer_id != layer_id || !footer_is_consistent(&footer, file_bytes))
		return -EUCLEAN;
	*footer_out = footer;
	return 0;
}

static uint32_t blocks_for(uint32_t count, uint32_t per_block)
{
	return (uint32_t)(((uint64_t)count + per_block - 1) / per_block);
}

struct layer_index_shape layer_index_shape(uint32_t key_count, uint32_t version_count)
{
	struct layer_index_shape shape;
	uint64_t bits = (uint64_t)key_count * LAYER_FILTER_BITS_PER_KEY;

	shape.filter_lines = (uint32_t)(bits / (LAYER_FILTER_LINE_BYTES * 8) + 1);
	shape.filter_blocks = blocks_for(shape.filter_lines, LAYER_FILTER_LINES_PER_BLOCK);
	shape.key_blocks = blocks_for(key_count, LAYER_KEYS_PER_BLOCK);
	shape.version_blocks = blocks_for(version_count, LAYER_VERSIONS_PER_BLOCK);
	shape.fence_blocks = blocks_for(shape.key_blocks, LAYER_FENCES_PER_BLOCK);
	return shape;
}

uint64_t layer_index_bytes(uint32_t key_count, uint32_t version_count)
{
	struct layer_index_shape shape = layer_index_shape(key_count, version_count);

	return ((uint64_t)shape.filter_blocks + shape.key_blocks + shape.version_blocks +
		shape.fence_blocks + 1) * LAYER_BLOCK_BYTES;
}

void layer_name(uint64_t layer_id, char name_out[LAYER_NAME_BYTES])
{
	snprintf(name_out, LAYER_NAME_BYTES, "%016" PRIx64 ".layer", layer_id);
}

int layer_name_parse(const char *name, uint64_t *layer_id_out)
{
	char again[LAYER_NAME_BYTES];

	*layer_id_out = 0;
	if (sscanf(name, "%16" SCNx64, layer_id_out) != 1)
		return 1;
	layer_name(*layer_id_out, again);
	return strcmp(name, again) == 0 ? 0 : 1;
}
