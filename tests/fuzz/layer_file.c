/*
 * Header and footer of a layer: any bytes, sealed by the target. What decodes is
 * consistent and encodes to the same fields; another layer's or store's does not pass.
 */
#include "layer_file.h"

#include "checksum.h"
#include "fuzz.h"

static const struct store_identity store = { "a store's number", 77, 4096 };
static const struct store_identity other = { "another's number", 78, 4096 };

#define LAYER_ID 5u

static void check_header(const uint8_t *data, size_t size_bytes)
{
	uint8_t bytes[LAYER_HEADER_BYTES] = { 0 }, again[LAYER_HEADER_BYTES];
	struct put_cursor sum = put_cursor(bytes + 56, 8);
	struct layer_header header, second;
	int err;

	memcpy(bytes, data, size_bytes < 56 ? size_bytes : 56);
	memcpy(bytes, "VARVELAY", 8);
	memcpy(bytes + 16, store.id, 16);
	put_u64(&sum, checksum(bytes, 56, store.seed));
	err = layer_header_decode(bytes, &store, &header);
	require(err == 0 || err == -EUCLEAN || err == -EPROTONOSUPPORT);
	require(layer_header_decode(bytes, &other, &second) != 0);
	if (err)
		return;
	require(header.start.value < LSN_LIMIT);
	layer_header_encode(&header, &store, again);
	require(layer_header_decode(again, &store, &second) == 0);
	require(header.layer_id == second.layer_id && header.start.value == second.start.value &&
		header.chain_start == second.chain_start);
	bytes[60] ^= 1;
	require(layer_header_decode(bytes, &store, &second) == -EUCLEAN);
}

static uint32_t u32_at(const uint8_t *data, size_t size_bytes, size_t at)
{
	struct get_cursor c = get_cursor(data, size_bytes);

	get_bytes(&c, at);
	return get_u32(&c);
}

/* A footer whose parts lie where its counts put them; @skew moves one of them. */
static void make_footer(const uint8_t *data, size_t size_bytes, uint8_t block[LAYER_BLOCK_BYTES],
			uint64_t *file_bytes_out)
{
	struct layer_footer footer = { .layer_id = LAYER_ID, .start = { 1000 } };
	struct layer_index_shape shape;
	uint32_t skew = u32_at(data, size_bytes, 20);

	footer.key_count = u32_at(data, size_bytes, 0);
	footer.version_count = u32_at(data, size_bytes, 4);
	footer.end = lsn_make(1000 + (uint64_t)u32_at(data, size_bytes, 8));
	shape = layer_index_shape(footer.key_count, footer.version_count);
	footer.filter_lines = shape.filter_lines + (skew == 1);
	footer.filter_block = (uint32_t)((LAYER_HEADER_BYTES + footer.end.value - 1000 +
					  LAYER_BLOCK_BYTES - 1) / LAYER_BLOCK_BYTES) + (skew == 2);
	footer.key_block = footer.filter_block + shape.filter_blocks + (skew == 3);
	footer.version_block = footer.key_block + shape.key_blocks + (skew == 4);
	footer.fence_block = footer.version_block + shape.version_blocks + (skew == 5);
	footer.footer_block = footer.fence_block + shape.fence_blocks + (skew == 6);
	*file_bytes_out = ((uint64_t)footer.footer_block + 1) * LAYER_BLOCK_BYTES + (skew == 7);
	layer_footer_encode(&footer, &store, block);
}

static void check_footer(const uint8_t block[LAYER_BLOCK_BYTES], uint64_t file_bytes)
{
	uint8_t again[LAYER_BLOCK_BYTES];
	struct layer_footer footer, second;
	int err = layer_footer_decode(block, &store, LAYER_ID, file_bytes, &footer);

	require(err == 0 || err == -EUCLEAN);
	require(layer_footer_decode(block, &other, LAYER_ID, file_bytes, &second) == -EUCLEAN);
	require(layer_footer_decode(block, &store, LAYER_ID + 1, file_bytes, &second) == -EUCLEAN);
	if (err)
		return;
	require(footer.start.value <= footer.end.value && footer.end.value < LSN_LIMIT);
	require(footer.filter_lines > 0 && footer.filter_block < footer.key_block);
	require((uint64_t)footer.key_count <= (uint64_t)(footer.version_block - footer.key_block) *
						       LAYER_KEYS_PER_BLOCK);
	require((uint64_t)footer.version_count <=
		(uint64_t)(footer.fence_block - footer.version_block) * LAYER_VERSIONS_PER_BLOCK);
	require(((uint64_t)footer.footer_block + 1) * LAYER_BLOCK_BYTES == file_bytes);
	layer_footer_encode(&footer, &store, again);
	require(layer_footer_decode(again, &store, LAYER_ID, file_bytes, &second) == 0);
	require(!memcmp(&footer, &second, sizeof(footer)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	uint8_t block[LAYER_BLOCK_BYTES] = { 0 };
	char name[64] = "";
	uint64_t file_bytes, id, again;

	check_header(data, size_bytes);
	make_footer(data, size_bytes, block, &file_bytes);
	check_footer(block, file_bytes);
	/* Any fields at all. */
	memcpy(block + 8, data, size_bytes < 96 ? size_bytes : 96);
	layer_block_seal(block, &store, LAYER_ID, u32_at(block, sizeof(block), 100));
	check_footer(block, ((uint64_t)u32_at(block, sizeof(block), 100) + 1) * LAYER_BLOCK_BYTES);
	memcpy(name, data, size_bytes < sizeof(name) - 1 ? size_bytes : sizeof(name) - 1);
	if (layer_name_parse(name, &id) == 0) {
		char back[LAYER_NAME_BYTES];

		layer_name(id, back);
		require(!strcmp(back, name) && layer_name_parse(back, &again) == 0 && again == id);
	}
	return 0;
}
