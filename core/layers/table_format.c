#include "table_format.h"

#include <assert.h>
#include <errno.h>

#include "batch.h"
#include "checksum.h"
#include "codec.h"

static const char header_magic[8] = { 'V', 'A', 'R', 'V', 'E', 'T', 'A', 'B' };
static const char footer_magic[8] = { 'V', 'A', 'R', 'V', 'E', 'T', 'E', 'N' };

#define HEADER_USED_BYTES 56u

void table_header_encode(const struct table_header *header, const struct store_identity *store,
			 uint8_t bytes_out[TABLE_HEADER_BYTES])
{
	struct put_cursor c = put_cursor(bytes_out, TABLE_HEADER_BYTES);

	layer_head_put(&c, header_magic, TABLE_FORMAT_VERSION, store);
	put_u64(&c, header->layer_id);
	put_u64(&c, header->start.value);
	put_u64(&c, header->end.value);
	put_u64(&c, checksum(bytes_out, HEADER_USED_BYTES, store->seed));
}

bool table_header_is(const uint8_t bytes[8])
{
	return memcmp(bytes, header_magic, sizeof(header_magic)) == 0;
}

int table_header_decode(const uint8_t bytes[TABLE_HEADER_BYTES], const struct store_identity *store,
			struct table_header *header_out)
{
	struct get_cursor c = get_cursor(bytes, TABLE_HEADER_BYTES);
	int err = layer_head_get(&c, header_magic, TABLE_FORMAT_VERSION, store);

	memset(header_out, 0, sizeof(*header_out));
	if (err)
		return err;
	header_out->layer_id = get_u64(&c);
	header_out->start = lsn_make(get_u64(&c));
	header_out->end = lsn_make(get_u64(&c));
	if (get_u64(&c) != checksum(bytes, HEADER_USED_BYTES, store->seed) ||
	    header_out->end.value >= LSN_LIMIT ||
	    header_out->start.value >= header_out->end.value)
		return -EUCLEAN;
	return 0;
}

int table_header_identity(const uint8_t bytes[TABLE_HEADER_BYTES],
			  uint64_t (*seed_of)(const uint8_t id[16]), struct store_identity *store_out)
{
	struct table_header header;

	layer_head_identity(bytes, seed_of, store_out);
	return table_header_decode(bytes, store_out, &header) ? -EUCLEAN : 0;
}

static uint64_t block_seed(const struct store_identity *store, uint64_t layer_id, uint64_t offset)
{
	uint8_t bytes[16];
	struct put_cursor c = put_cursor(bytes, sizeof(bytes));

	put_u64(&c, layer_id);
	put_u64(&c, offset);
	return checksum(bytes, sizeof(bytes), store->seed);
}

static uint64_t block_checksum(const uint8_t *bytes, const struct table_fence *fence,
			       const struct store_identity *store, uint64_t layer_id)
{
	return checksum(bytes + 8, fence->stored_bytes - 8,
			block_seed(store, layer_id, fence->offset));
}

void table_block_seal(uint8_t *bytes, const struct table_fence *fence, enum compression compression,
		      const struct store_identity *store, uint64_t layer_id)
{
	struct put_cursor c = put_cursor(bytes + 8, TABLE_BLOCK_HEADER_BYTES - 8);

	put_u32(&c, fence->stored_bytes - TABLE_BLOCK_HEADER_BYTES);
	put_u32(&c, fence->block_bytes);
	put_u64(&c, compression);
	c = put_cursor(bytes, 8);
	put_u64(&c, block_checksum(bytes, fence, store, layer_id));
}

int table_block_open(const uint8_t *bytes, const struct table_fence *fence,
		     const struct store_identity *store, uint64_t layer_id,
		     enum compression *compression_out)
{
	struct get_cursor c = get_cursor(bytes, TABLE_BLOCK_HEADER_BYTES);
	uint64_t sum = get_u64(&c), compression;
	uint32_t stored = get_u32(&c), size = get_u32(&c);

	compression = get_u64(&c);
	*compression_out = COMPRESSION_NONE;
	if (sum != block_checksum(bytes, fence, store, layer_id))
		return -EBADMSG;
	if (stored != fence->stored_bytes - TABLE_BLOCK_HEADER_BYTES ||
	    size != fence->block_bytes || compression < COMPRESSION_NONE ||
	    compression > COMPRESSION_ZSTD)
		return -EUCLEAN;
	*compression_out = (enum compression)compression;
	return 0;
}

void table_block_view(const uint8_t *bytes, struct table_block *block_out)
{
	uint32_t keys = table_u32(bytes, 0), versions = table_u32(bytes, 1);
	const uint8_t *at = bytes + TABLE_BLOCK_COUNTS_BYTES;

	block_out->key_count = keys;
	block_out->version_count = versions;
	block_out->inos = at;
	block_out->subs = at += (size_t)keys * 8;
	block_out->firsts = at += (size_t)keys * 8;
	block_out->lsn_lows = at += (size_t)keys * 4;
	block_out->lsn_highs = at += (size_t)versions * 4;
	block_out->ends = at += (size_t)versions * 4;
	block_out->backs = at += (size_t)versions * 4;
	block_out->forms = at += (size_t)versions * 4;
	block_out->weights = at += versions;
	block_out->payloads = at + versions;
}

static bool keys_ascend(const struct table_block *block)
{
	if (table_u32(block->firsts, 0) != 0)
		return false;
	for (uint32_t k = 1; k < block->key_count; k++)
		if (key_compare(table_block_key(block, k - 1), table_block_key(block, k)) >= 0 ||
		    table_u32(block->firsts, k) <= table_u32(block->firsts, k - 1))
			return false;
	return table_u32(block->firsts, block->key_count - 1) < block->version_count;
}

/* The sizes are not ends yet. */
static bool versions_are_possible(const struct table_block *block, struct lsn start, struct lsn end)
{
	for (uint32_t v = 0; v < block->version_count; v++) {
		struct lsn lsn = table_block_lsn(block, v);

		if (lsn.value <= start.value || lsn.value > end.value ||
		    table_u32(block->backs, v) > lsn.value ||
		    block->forms[v] < VERSION_IMAGE || block->forms[v] > VERSION_LOST ||
		    (block->forms[v] == VERSION_LOST && table_u32(block->ends, v)) ||
		    block->weights[v] > VERSION_WEIGHT_MAX)
			return false;
	}
	for (uint32_t k = 0; k < block->key_count; k++)
		for (uint32_t v = table_block_first(block, k) + 1;
		     v < table_block_first(block, k + 1); v++)
			if (table_block_lsn(block, v).value <= table_block_lsn(block, v - 1).value)
				return false;
	return true;
}

/* Make each size the end of its payload. False: they do not come to what there is. */
static bool sizes_to_ends(uint8_t *sizes, uint32_t count, uint64_t payload_bytes)
{
	uint64_t end = 0;

	for (uint32_t v = 0; v < count; v++) {
		uint32_t stored;

		end += table_u32(sizes, v);
		if (end > payload_bytes)
			return false;
		stored = htole32((uint32_t)end);
		memcpy(sizes + (size_t)v * 4, &stored, 4);
	}
	return end == payload_bytes;
}

int table_block_decode(uint8_t *bytes, const struct table_fence *fence, struct lsn start,
		       struct lsn end)
{
	uint32_t size_bytes = fence->block_bytes;
	struct table_block block;

	if (size_bytes < table_block_bytes(1, 1, 0) || table_u32(bytes, 0) == 0 ||
	    table_block_bytes(table_u32(bytes, 0), table_u32(bytes, 1), 0) > size_bytes)
		return -EUCLEAN;
	table_block_view(bytes, &block);
	if (!keys_ascend(&block) || !versions_are_possible(&block, start, end) ||
	    !key_equal(table_block_key(&block, 0), fence->key) ||
	    table_block_lsn(&block, 0).value != fence->lsn.value ||
	    !sizes_to_ends(bytes + (block.ends - bytes), block.version_count,
			   size_bytes - (uint64_t)(block.payloads - bytes)))
		return -EUCLEAN;
	return 0;
}

uint32_t table_block_lower_bound(const struct table_block *block, struct key key)
{
	uint32_t low = 0, high = block->key_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (key_compare(table_block_key(block, middle), key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

uint32_t table_block_newest(const struct table_block *block, uint32_t key_number, struct lsn lsn)
{
	uint32_t first = table_block_first(block, key_number), low = first;
	uint32_t high = table_block_first(block, key_number + 1);

	/* The newest is asked for mostly. */
	if (table_block_lsn(block, high - 1).value <= lsn.value)
		return high - 1;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (table_block_lsn(block, middle).value <= lsn.value)
			low = middle + 1;
		else
			high = middle;
	}
	return low == first ? UINT32_MAX : low - 1;
}

void table_fence_encode(const struct table_fence *fence, uint8_t bytes_out[TABLE_FENCE_BYTES])
{
	struct put_cursor c = put_cursor(bytes_out, TABLE_FENCE_BYTES);

	put_u64(&c, fence->key.ino);
	put_u64(&c, fence->key.sub);
	put_u64(&c, fence->lsn.value);
	put_u64(&c, fence->offset);
	put_u32(&c, fence->stored_bytes);
	put_u32(&c, fence->block_bytes);
}

int table_fence_decode(const uint8_t bytes[TABLE_FENCE_BYTES], uint64_t data_end,
		       struct table_fence *fence_out)
{
	struct get_cursor c = get_cursor(bytes, TABLE_FENCE_BYTES);

	fence_out->key.ino = get_u64(&c);
	fence_out->key.sub = get_u64(&c);
	fence_out->lsn = lsn_make(get_u64(&c));
	fence_out->offset = get_u64(&c);
	fence_out->stored_bytes = get_u32(&c);
	fence_out->block_bytes = get_u32(&c);
	if (fence_out->offset < TABLE_HEADER_BYTES || fence_out->offset > data_end ||
	    fence_out->stored_bytes > data_end - fence_out->offset ||
	    fence_out->stored_bytes <= TABLE_BLOCK_HEADER_BYTES ||
	    fence_out->stored_bytes - TABLE_BLOCK_HEADER_BYTES > fence_out->block_bytes ||
	    fence_out->block_bytes > TABLE_BLOCK_MAX)
		return -EUCLEAN;
	return 0;
}

uint32_t table_count_at_or_below(const uint8_t *records, uint32_t count, uint32_t stride,
				 struct key key, struct lsn lsn)
{
	uint32_t low = 0, high = count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const uint8_t *record = records + (size_t)middle * stride;
		int order = key_compare((struct key){ table_u64(record, 0), table_u64(record, 1) },
					key);

		if (order < 0 || (order == 0 && table_u64(record, 2) <= lsn.value))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static uint64_t blocks_for(uint64_t count, uint32_t per_block)
{
	return count / per_block + (count % per_block != 0);
}

int table_shape_make(uint64_t data_end, uint64_t block_count, uint64_t key_count,
		     struct table_shape *shape_out)
{
	uint64_t lines, filter, fence, top, footer;

	memset(shape_out, 0, sizeof(*shape_out));
	if (key_count > UINT32_MAX * (uint64_t)(LAYER_FILTER_LINE_BYTES * 8) / LAYER_FILTER_BITS_PER_KEY ||
	    block_count > UINT32_MAX || data_end > (uint64_t)UINT32_MAX * LAYER_BLOCK_BYTES)
		return -EFBIG;
	lines = key_count * LAYER_FILTER_BITS_PER_KEY / (LAYER_FILTER_LINE_BYTES * 8) + 1;
	filter = blocks_for(data_end, LAYER_BLOCK_BYTES);
	fence = filter + blocks_for(lines, LAYER_FILTER_LINES_PER_BLOCK);
	top = fence + blocks_for(block_count, TABLE_FENCES_PER_BLOCK);
	footer = top + blocks_for(top - fence, TABLE_TOPS_PER_BLOCK);
	if (lines > UINT32_MAX || footer >= UINT32_MAX)
		return -EFBIG;
	*shape_out = (struct table_shape){
		.data_end = data_end,
		.block_count = (uint32_t)block_count,
		.filter_lines = (uint32_t)lines,
		.filter_block = (uint32_t)filter,
		.fence_block = (uint32_t)fence,
		.top_block = (uint32_t)top,
		.footer_block = (uint32_t)footer,
	};
	return 0;
}

void table_footer_encode(struct table_summary *summary, const struct table_shape *shape,
			 const struct store_identity *store, uint8_t block_out[LAYER_BLOCK_BYTES])
{
	struct put_cursor c = put_cursor(block_out, LAYER_BLOCK_PAYLOAD_BYTES);

	memset(block_out, 0, LAYER_BLOCK_BYTES);
	put_bytes(&c, footer_magic, sizeof(footer_magic));
	put_u64(&c, summary->layer_id);
	put_u64(&c, summary->kind);
	put_u64(&c, summary->start.value);
	put_u64(&c, summary->end.value);
	put_u64(&c, summary->first_key.ino);
	put_u64(&c, summary->first_key.sub);
	put_u64(&c, summary->first_lsn.value);
	put_u64(&c, summary->last_key.ino);
	put_u64(&c, summary->last_key.sub);
	put_u64(&c, summary->last_lsn.value);
	put_u64(&c, summary->key_count);
	put_u64(&c, summary->version_count);
	put_u64(&c, summary->payload_bytes);
	put_u64(&c, summary->ino_max);
	put_u64(&c, summary->run_id);
	put_u32(&c, summary->level);
	put_u32(&c, summary->number);
	put_u64(&c, summary->oldest.value);
	put_u64(&c, summary->ending);
	put_u64(&c, shape->data_end);
	put_u32(&c, shape->block_count);
	put_u32(&c, shape->filter_lines);
	put_u32(&c, shape->filter_block);
	put_u32(&c, shape->fence_block);
	put_u32(&c, shape->top_block);
	put_u32(&c, shape->footer_block);
	layer_block_seal(block_out, store, summary->layer_id, shape->footer_block);
	summary->checksum = table_u64(block_out + LAYER_BLOCK_PAYLOAD_BYTES, 0);
	summary->file_bytes = table_shape_file_bytes(shape);
}

static bool summary_is_possible(const struct table_summary *summary)
{
	int order = key_compare(summary->first_key, summary->last_key);

	return (summary->kind == TABLE_DELTA || summary->kind == TABLE_IMAGE) &&
	       summary->end.value < LSN_LIMIT && summary->start.value < summary->first_lsn.value &&
	       summary->first_lsn.value <= summary->end.value &&
	       summary->start.value < summary->last_lsn.value &&
	       summary->last_lsn.value <= summary->end.value &&
	       (order < 0 || (order == 0 && summary->first_lsn.value <= summary->last_lsn.value)) &&
	       summary->last_key.ino == summary->ino_max && summary->key_count > 0 &&
	       summary->key_count <= summary->version_count;
}

static bool shape_equal(const struct table_shape *a, const struct table_shape *b)
{
	return a->data_end == b->data_end && a->block_count == b->block_count &&
	       a->filter_lines == b->filter_lines && a->filter_block == b->filter_block &&
	       a->fence_block == b->fence_block && a->top_block == b->top_block &&
	       a->footer_block == b->footer_block;
}

int table_footer_decode(const uint8_t block[LAYER_BLOCK_BYTES], const struct store_identity *store,
			uint64_t layer_id, uint64_t file_bytes, struct table_summary *summary_out,
			struct table_shape *shape_out)
{
	struct get_cursor c = get_cursor(block, LAYER_BLOCK_PAYLOAD_BYTES);
	const uint8_t *magic = get_bytes(&c, sizeof(footer_magic));
	struct table_summary s = { .file_bytes = file_bytes };
	struct table_shape shape, expected;
	uint64_t kind, ending;

	memset(summary_out, 0, sizeof(*summary_out));
	memset(shape_out, 0, sizeof(*shape_out));
	s.layer_id = get_u64(&c);
	kind = get_u64(&c);
	s.kind = kind == TABLE_IMAGE ? TABLE_IMAGE : TABLE_DELTA;
	s.start = lsn_make(get_u64(&c));
	s.end = lsn_make(get_u64(&c));
	s.first_key.ino = get_u64(&c);
	s.first_key.sub = get_u64(&c);
	s.first_lsn = lsn_make(get_u64(&c));
	s.last_key.ino = get_u64(&c);
	s.last_key.sub = get_u64(&c);
	s.last_lsn = lsn_make(get_u64(&c));
	s.key_count = get_u64(&c);
	s.version_count = get_u64(&c);
	s.payload_bytes = get_u64(&c);
	s.ino_max = get_u64(&c);
	s.run_id = get_u64(&c);
	s.level = get_u32(&c);
	s.number = get_u32(&c);
	s.oldest = lsn_make(get_u64(&c));
	ending = get_u64(&c);
	s.ending = (enum table_ending)(ending & 3);
	shape.data_end = get_u64(&c);
	shape.block_count = get_u32(&c);
	shape.filter_lines = get_u32(&c);
	shape.filter_block = get_u32(&c);
	shape.fence_block = get_u32(&c);
	shape.top_block = get_u32(&c);
	shape.footer_block = get_u32(&c);
	s.checksum = table_u64(block + LAYER_BLOCK_PAYLOAD_BYTES, 0);
	if (memcmp(magic, footer_magic, sizeof(footer_magic)) != 0 ||
	    !layer_block_good(block, store, layer_id, shape.footer_block) ||
	    s.layer_id != layer_id || kind != s.kind || ending > TABLE_ENDS_RUN ||
	    !summary_is_possible(&s) ||
	    shape.data_end <= TABLE_HEADER_BYTES || shape.block_count == 0 ||
	    table_shape_make(shape.data_end, shape.block_count, s.key_count, &expected) ||
	    !shape_equal(&shape, &expected) || table_shape_file_bytes(&shape) != file_bytes)
		return -EUCLEAN;
	*summary_out = s;
	*shape_out = shape;
	return 0;
}

bool table_summary_equal(const struct table_summary *a, const struct table_summary *b)
{
	return a->layer_id == b->layer_id && a->kind == b->kind && a->start.value == b->start.value &&
	       a->end.value == b->end.value && key_equal(a->first_key, b->first_key) &&
	       key_equal(a->last_key, b->last_key) && a->first_lsn.value == b->first_lsn.value &&
	       a->last_lsn.value == b->last_lsn.value && a->file_bytes == b->file_bytes &&
	       a->key_count == b->key_count && a->version_count == b->version_count &&
	       a->payload_bytes == b->payload_bytes && a->ino_max == b->ino_max &&
	       a->run_id == b->run_id && a->level == b->level && a->number == b->number &&
	       a->oldest.value == b->oldest.value && a->ending == b->ending &&
	       a->checksum == b->checksum;
}
