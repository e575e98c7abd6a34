#include "test_blocks.h"

#include <fcntl.h>
#include <unistd.h>

static void block_make(uint32_t number, uint8_t block_out[LAYER_BLOCK_BYTES])
{
	for (size_t at = 0; at < LAYER_BLOCK_PAYLOAD_BYTES; at += sizeof(number))
		memcpy(block_out + at, &number, sizeof(number));
}

bool test_block_is_right(const uint8_t *bytes, uint32_t number)
{
	uint8_t expected[LAYER_BLOCK_BYTES];

	block_make(number, expected);
	return !memcmp(bytes, expected, LAYER_BLOCK_PAYLOAD_BYTES);
}

struct test_blocks *test_blocks_new(void)
{
	struct test_blocks *blocks = calloc(1, sizeof(*blocks));
	uint8_t block[LAYER_BLOCK_BYTES];

	assert_non_null(blocks);
	blocks->place = place_new("blocks");
	blocks->store = (struct store_identity){ .seed = 99, .page_size_bytes = 4096 };
	blocks->fd = open(blocks->place->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	must(blocks->fd >= 0, "open", blocks->place->path);
	for (uint32_t i = 0; i < TEST_BLOCKS_COUNT; i++) {
		block_make(i, block);
		layer_block_seal(block, &blocks->store, TEST_BLOCKS_LAYER, i);
		must(write(blocks->fd, block, sizeof(block)) == sizeof(block), "write",
		     blocks->place->path);
	}
	return blocks;
}

void test_blocks_free(struct test_blocks *blocks)
{
	close(blocks->fd);
	place_free(blocks->place);
	free(blocks);
}

int test_blocks_get(struct test_blocks *blocks, struct block_cache *cache, uint32_t number,
		    const uint8_t **bytes_out)
{
	return block_cache_get(cache, &blocks->store, TEST_BLOCKS_LAYER, blocks->fd, number,
			       bytes_out);
}
