/*
 * Blocks: a file of sealed index blocks, each of which says its number all over.
 */
#ifndef VARVE_TESTS_TEST_BLOCKS_H
#define VARVE_TESTS_TEST_BLOCKS_H

#include "block_cache.h"
#include "test_place.h"

#define TEST_BLOCKS_LAYER 5u
#define TEST_BLOCKS_COUNT 2000u

struct test_blocks {
	struct place *place;
	int fd;
	struct store_identity store;
};

struct test_blocks *test_blocks_new(void);
void test_blocks_free(struct test_blocks *blocks);
bool test_block_is_right(const uint8_t *bytes, uint32_t number);
/* block_cache_get of one of them. */
int test_blocks_get(struct test_blocks *blocks, struct block_cache *cache, uint32_t number,
		    const uint8_t **bytes_out);

#endif
