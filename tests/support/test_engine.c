#include "test_engine.h"

void test_engine_start(struct test_engine *test)
{
	struct report report = { "" };
	int err = engine_open(test->place->dir_fd, &test->options, &report, &test->engine);

	if (err)
		fail_msg("engine_open: %s (%s)", report.text, strerror(-err));
}

void test_engine_stop(struct test_engine *test)
{
	struct engine *engine = test->engine;

	test->engine = NULL;
	assert_ok(engine_close(engine));
}

void test_engine_restart(struct test_engine *test)
{
	test_engine_stop(test);
	test_engine_start(test);
}

int test_engine_setup(void **state)
{
	struct test_engine *test = calloc(1, sizeof(*test));

	assert_non_null(test);
	test->place = place_new("layers");
	test->options.layer_size_bytes = LAYER_SIZE_MIN;
	assert_ok(engine_create(test->place->dir_fd, TEST_ENGINE_PAGE_BYTES, COMPRESSION_DEFAULT));
	test_engine_start(test);
	*state = test;
	return 0;
}

int test_engine_teardown(void **state)
{
	struct test_engine *test = *state;

	engine_close(test->engine);
	place_free(test->place);
	free(test);
	return 0;
}

struct batch_entry test_engine_entry(struct key key, enum version_form form, unsigned weight,
				   const void *bytes, size_t size_bytes)
{
	return (struct batch_entry){ .key = key, .form = form, .weight = weight, .body = bytes,
				     .body_bytes = size_bytes };
}

struct lsn test_engine_commit(struct test_engine *test, struct batch_entry entry)
{
	struct lsn lsn;

	assert_ok(engine_commit(test->engine, &entry, 1, TEST_ENGINE_TIME_NS, &lsn));
	return lsn;
}

/* An image of the bytes that @seed stands for. */
struct lsn test_engine_commit_image(struct test_engine *test, struct key key, uint64_t seed,
			       size_t size_bytes)
{
	uint8_t *bytes = malloc(size_bytes + 1);
	struct lsn lsn;

	assert_non_null(bytes);
	seed_fill(seed, bytes, size_bytes);
	lsn = test_engine_commit(test, test_engine_entry(key, VERSION_IMAGE, 0, bytes, size_bytes));
	free(bytes);
	return lsn;
}

/* The value of @key at @lsn. 0; 1: there is none, or a tombstone; -errno. */
int test_engine_load(struct test_engine *test, struct key key, struct lsn lsn, void *value,
		size_t room_bytes, size_t *size_out)
{
	struct layer_guard guard;
	struct version version;

	engine_guard_take(test->engine, &guard);
	int err = engine_find(&guard, key, lsn, &version);
	if (!err)
		err = engine_load(&guard, &version, value, room_bytes, size_out);
	layer_guard_drop(&guard);
	return err;
}

void test_engine_check_image(struct test_engine *test, struct key key, struct lsn lsn, uint64_t seed,
			size_t size_bytes)
{
	uint8_t *expected = malloc(size_bytes + 1), *found = malloc(size_bytes + 1);
	size_t size;

	assert_true(expected && found);
	seed_fill(seed, expected, size_bytes);
	assert_ok(test_engine_load(test, key, lsn, found, size_bytes, &size));
	assert_int_equal(size, size_bytes);
	assert_memory_equal(found, expected, size_bytes);
	free(expected);
	free(found);
}

void test_engine_check_absent(struct test_engine *test, struct key key, struct lsn lsn)
{
	uint8_t byte;
	size_t size;

	assert_err(test_engine_load(test, key, lsn, &byte, 0, &size), 1);
}

struct engine_usage test_engine_usage(struct test_engine *test)
{
	struct engine_usage usage;

	engine_usage_get(test->engine, &usage);
	return usage;
}

struct key test_engine_page(uint64_t block)
{
	return key_make(20, KEY_PAGE, block);
}

size_t test_engine_image_bytes(struct key key, size_t size_bytes)
{
	struct batch_entry entry = test_engine_entry(key, VERSION_IMAGE, 0, NULL, size_bytes);

	return batch_size(&entry, 1);
}
