/*
 * A table layer and a list of what it should hold: random versions go to both, and any key at any
 * LSN is compared.
 */
#ifndef VARVE_TESTS_TEST_TABLE_H
#define VARVE_TESTS_TEST_TABLE_H

#include "table_layer.h"
#include "table_writer.h"
#include "test_place.h"

#define TEST_TABLE_LAYER 9u
#define TEST_TABLE_START 5000u
#define TEST_TABLE_END 100000000u

struct test_table {
	struct place *place;            /* of the layer's file */
	struct store_identity store;
	struct prng prng;
	struct table_row {
		struct key key;
		struct lsn lsn;
		uint64_t position, seed;        /* seed: of its payload */
		uint32_t size_bytes;
		uint8_t form, weight;
	} *rows;                        /* by (key, LSN) */
	size_t row_count, row_room;
	struct table_summary summary;
	struct block_cache *cache;
	struct layer_files *files;
	struct layer *layer;            /* NULL: not made */
};

struct test_table *test_table_new(void);
void test_table_free(struct test_table *test);          /* NULL is ignored */

/* A version of any of 30 inodes; test_table_write sorts. No two of one key and LSN are made. */
void test_table_add_random(struct test_table *test, size_t count, uint32_t payload_max);
void test_table_add(struct test_table *test, const struct table_row *row);
/* Sort what was added, write it as a layer, open it with an empty cache of @budget_bytes. */
void test_table_write(struct test_table *test, enum compression compression, uint64_t budget_bytes);
/* Make the layer anew, as the file is now, with an empty cache. */
void test_table_reopen(struct test_table *test, uint64_t budget_bytes);

/* The newest of @key at or below @lsn, or NULL. */
const struct table_row *test_table_expect(const struct test_table *test, struct key key,
					  struct lsn lsn);
/* Is the version found that row, payload and all? 0; what version_load returned. */
int test_table_row_check(const struct version *found, const struct table_row *expected);
/* Compare @count look-ups of random keys at random LSNs, and of rows there are. */
void test_table_compare(struct test_table *test, unsigned count);
/* Compare the listings of names and versions of every inode. */
void test_table_compare_lists(struct test_table *test);

#endif
