/*
 * A layer and a list of what it should hold: batches of random keys, forms and
 * sizes go to both, and any key at any LSN is compared.
 */
#ifndef VARVE_TESTS_TEST_LAYER_H
#define VARVE_TESTS_TEST_LAYER_H

#include "open_layer.h"
#include "test_support.h"

#define TEST_LAYER_START 1000u
#define TEST_LAYER_CHAIN UINT64_C(0x1234)

struct test_layer {
	char dir[PATH_MAX], path[PATH_MAX];     /* the directory, the layer's file */
	int dir_fd;
	struct store_identity store;
	struct open_layer *open;                /* NULL once sealed or closed */
	struct prng prng;
	struct test_version {
		struct key key;
		struct lsn lsn;
		uint64_t seed;                  /* of its payload */
		uint32_t size_bytes;
		uint8_t form, weight;
	} *versions;                            /* by LSN */
	size_t version_count, version_room;
	uint64_t batch_count;
};

/* A started layer of LAYER_SIZE_MIN. */
struct test_layer *test_layer_new(void);
void test_layer_free(struct test_layer *test);          /* NULL is ignored */
void test_layer_close(struct test_layer *test);         /* the open layer */

/* A random key, of those that batches are made of. */
struct key test_layer_key(struct prng *prng);
/* Append a batch of random entries. False: the layer is full. */
bool test_layer_append(struct test_layer *test);
void test_layer_append_many(struct test_layer *test, unsigned count);

/* The newest of @key at or below @lsn, or NULL. */
const struct test_version *test_layer_expect(const struct test_layer *test, struct key key,
					     struct lsn lsn);
/* The version found is @expected, payload and all. */
void test_version_check(const struct version *found, const struct test_version *expected);
/* Compare @count random keys at random LSNs. */
void test_layer_compare(struct test_layer *test, struct layer *layer, unsigned count);
/* Compare the listings of names and versions of every inode. */
void test_layer_compare_lists(struct test_layer *test, struct layer *layer);

#endif
