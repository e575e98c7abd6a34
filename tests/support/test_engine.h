/*
 * An engine in a directory of its own, and what tests do with it: commit, look, begin another life.
 */
#ifndef VARVE_TESTS_TEST_ENGINE_H
#define VARVE_TESTS_TEST_ENGINE_H

#include "engine_internal.h"
#include "test_place.h"

#define TEST_ENGINE_PAGE_BYTES 4096u
#define TEST_ENGINE_TIME_NS 1234567890123456789

struct test_engine {
	struct place *place;
	struct engine_options options;
	struct engine *engine;          /* NULL while closed */
};

/* Of a cmocka test, in *state: a new one, open, with layers of LAYER_SIZE_MIN. */
int test_engine_setup(void **state);
int test_engine_teardown(void **state);

void test_engine_start(struct test_engine *test);
void test_engine_stop(struct test_engine *test);
void test_engine_restart(struct test_engine *test);

struct batch_entry test_engine_entry(struct key key, enum version_form form, unsigned weight, const void *bytes,
				     size_t size_bytes);
/* Commit one entry; its LSN. */
struct lsn test_engine_commit(struct test_engine *test, struct batch_entry entry);
/* An image of the bytes that @seed stands for. */
struct lsn test_engine_commit_image(struct test_engine *test, struct key key, uint64_t seed, size_t size_bytes);
/* How long the batch of an image is. */
size_t test_engine_image_bytes(struct key key, size_t size_bytes);

/* The value of @key at @lsn. 0; 1: there is none, or a tombstone; -errno. */
int test_engine_load(struct test_engine *test, struct key key, struct lsn lsn, void *value, size_t room_bytes,
		     size_t *size_out);
/* The value is what test_engine_commit_image made; there is none. */
void test_engine_check_image(struct test_engine *test, struct key key, struct lsn lsn, uint64_t seed,
			     size_t size_bytes);
void test_engine_check_absent(struct test_engine *test, struct key key, struct lsn lsn);

struct engine_usage test_engine_usage(struct test_engine *test);

/* A page of the file that all tests use. */
struct key test_engine_page(uint64_t block);

#endif
