/* Sealed cursor: every version of a log in (key, LSN) order, each payload verified; the times of its
 * batches. */
#include <fcntl.h>
#include <unistd.h>

#include "sealed_cursor.h"
#include "sealed_layer.h"
#include "test_layer.h"

struct cursor_test {
	struct test_layer *test;
	struct test_version *sorted;    /* by (key, LSN) */
	struct block_cache *cache;
	struct layer_footer footer;
	struct sealed_layer *layer;
};

static int version_compare(const void *a, const void *b)
{
	const struct test_version *x = a, *y = b;
	int order = key_compare(x->key, y->key);

	return order ? order : x->lsn.value < y->lsn.value ? -1 : x->lsn.value > y->lsn.value;
}

static void reopen(struct cursor_test *t)
{
	sealed_layer_close(t->layer);
	assert_ok(sealed_layer_open(t->test->dir_fd, 7, &t->test->store, t->cache, NULL, &t->layer));
}

static int setup(void **state)
{
	struct cursor_test *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->test = test_layer_new();
	test_layer_append_many(t->test, 5000);
	assert_ok(open_layer_seal(t->test->open, &t->footer));
	test_layer_close(t->test);
	t->sorted = calloc(t->test->version_count, sizeof(*t->sorted));
	assert_non_null(t->sorted);
	memcpy(t->sorted, t->test->versions, t->test->version_count * sizeof(*t->sorted));
	qsort(t->sorted, t->test->version_count, sizeof(*t->sorted), version_compare);
	assert_ok(block_cache_create(MIB, &t->cache));
	reopen(t);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct cursor_test *t = *state;

	sealed_layer_close(t->layer);
	block_cache_free(t->cache);
	free(t->sorted);
	test_layer_free(t->test);
	free(t);
	return 0;
}

static void check_entry(const struct table_entry *entry, const struct test_version *expected)
{
	uint8_t bytes[512];

	assert_true(key_equal(entry->key, expected->key));
	assert_int_equal(entry->lsn.value, expected->lsn.value);
	assert_int_equal(entry->form, expected->form);
	assert_int_equal(entry->weight, expected->weight);
	assert_int_equal(entry->size_bytes, expected->size_bytes);
	if (!entry->payload)
		return;
	seed_fill(expected->seed, bytes, expected->size_bytes);
	assert_memory_equal(entry->payload, bytes, expected->size_bytes);
}

static void all_versions_come_in_order_from_any_key(void **state)
{
	struct cursor_test *t = *state;
	struct layer *layer = sealed_layer_base(t->layer);

	for (unsigned round = 0; round < 30; round++) {
		size_t i = round ? prng_below(&t->test->prng, t->test->version_count) : 0;
		struct key from = round == 1 ? KEY_END : round ? t->sorted[i].key : (struct key){ 0, 0 };
		struct sealed_cursor *cursor;
		struct table_entry entry;
		struct version version;

		for (i = 0; i < t->test->version_count && key_compare(t->sorted[i].key, from) < 0; i++)
			;
		assert_ok(sealed_cursor_open(layer, from, round % 3 ? CURSOR_WINDOW_BYTES : 1, &cursor));
		for (; i < t->test->version_count; i++) {
			assert_ok(sealed_cursor_next(cursor, &entry));
			assert_non_null(entry.payload);
			check_entry(&entry, &t->sorted[i]);
			guard_take();
			assert_ok(layer_find(layer, entry.key, entry.lsn, &version));
			guard_drop();
			assert_int_equal(entry.position, key_kind(entry.key) == KEY_ATTR
								 ? version_position(&version) : 0);
		}
		assert_err(sealed_cursor_next(cursor, &entry), 1);
		sealed_cursor_close(cursor);
	}
}

/* As many versions of one key as need several reads of the index, which has them newest first. */
static void a_key_of_very_many_versions_comes_oldest_first(void **state)
{
	struct test_layer *test = test_layer_new();
	struct layer_footer footer;
	struct sealed_layer *layer;
	struct sealed_cursor *cursor;
	struct block_cache *cache;
	struct table_entry entry;
	uint64_t lsn = 0, count = 0;

	(void)state;
	for (unsigned i = 0; i < 30000; i++) {
		struct batch_entry one = { .key = key_make(20, KEY_PAGE, i % 3 == 2), .body = &i,
					   .form = VERSION_IMAGE, .body_bytes = sizeof(i) };
		struct lease lease;

		assert_ok(open_layer_lease(test->open, batch_size(&one, 1), 1, 1, &lease));
		lease_fill(&lease, &one, 1, lsn_make(TEST_LAYER_START));
		lease_publish(&lease, &one, 1);
	}
	assert_ok(open_layer_seal(test->open, &footer));
	test_layer_close(test);
	assert_ok(block_cache_create(MIB, &cache));
	assert_ok(sealed_layer_open(test->dir_fd, 7, &test->store, cache, NULL, &layer));
	assert_ok(sealed_cursor_open(sealed_layer_base(layer), (struct key){ 0, 0 }, CURSOR_WINDOW_BYTES, &cursor));
	while (sealed_cursor_next(cursor, &entry) == 0) {
		if (count == 20000)
			lsn = 0;
		assert_int_equal(key_index(entry.key), count >= 20000);
		assert_true(entry.lsn.value > lsn);
		lsn = entry.lsn.value;
		count++;
	}
	assert_int_equal(count, 30000);
	sealed_cursor_close(cursor);
	sealed_layer_close(layer);
	block_cache_free(cache);
	test_layer_free(test);
}

/* All but the damaged one are given, and that one is named. */
static void a_damaged_payload_is_told_and_passed(void **state)
{
	struct cursor_test *t = *state;
	struct sealed_cursor *cursor;
	struct table_entry entry;
	unsigned bad = 0;
	int err;

	for (unsigned i = 0; i < 10; i++) {
		const struct test_version *hit;
		struct version version;
		uint8_t byte = 0;
		int fd;

		do {
			hit = &t->sorted[prng_below(&t->test->prng, t->test->version_count)];
		} while (hit->size_bytes == 0);
		guard_take();
		assert_ok(layer_find(sealed_layer_base(t->layer), hit->key, hit->lsn, &version));
		guard_drop();
		fd = open(t->test->path, O_RDONLY | O_CLOEXEC);
		must(fd >= 0 && pread(fd, &byte, 1, version.offset) == 1, "read", t->test->path);
		close(fd);
		byte ^= 4;
		file_overwrite(t->test->path, version.offset, &byte, 1);
		assert_ok(sealed_cursor_open(sealed_layer_base(t->layer), (struct key){ 0, 0 }, CURSOR_WINDOW_BYTES, &cursor));
		for (size_t j = 0; j < t->test->version_count; j++) {
			err = sealed_cursor_next(cursor, &entry);
			assert_true(err == 0 || err == -EBADMSG);
			assert_int_equal(entry.payload == NULL, err != 0);
			check_entry(&entry, &t->sorted[j]);
			if (err)
				assert_true(key_equal(hit->key, entry.key) &&
					    hit->lsn.value == entry.lsn.value);
			bad += err != 0;
		}
		assert_err(sealed_cursor_next(cursor, &entry), 1);
		sealed_cursor_close(cursor);
		byte ^= 4;
		file_overwrite(t->test->path, version.offset, &byte, 1);
	}
	assert_int_equal(bad, 10);
}

static void a_damaged_index_ends_the_walk(void **state)
{
	struct cursor_test *t = *state;
	const uint32_t blocks[] = { t->footer.key_block, t->footer.version_block,
				    t->footer.fence_block - 1 };

	for (unsigned i = 0; i < array_size(blocks); i++) {
		off_t at = (off_t)blocks[i] * LAYER_BLOCK_BYTES + 5;
		int fd = open(t->test->path, O_RDONLY | O_CLOEXEC), err;
		struct sealed_cursor *cursor;
		struct table_entry entry;
		uint8_t byte = 0;
		size_t count = 0;

		must(fd >= 0 && pread(fd, &byte, 1, at) == 1, "read", t->test->path);
		close(fd);
		byte ^= 1;
		file_overwrite(t->test->path, at, &byte, 1);
		err = sealed_cursor_open(sealed_layer_base(t->layer), (struct key){ 0, 0 }, CURSOR_WINDOW_BYTES, &cursor);
		while (!err) {
			err = sealed_cursor_next(cursor, &entry);
			if (!err)
				check_entry(&entry, &t->sorted[count++]);
		}
		assert_err(err, -EBADMSG);
		assert_true(count < t->test->version_count);
		if (cursor) {
			assert_err(sealed_cursor_next(cursor, &entry), -EBADMSG);
			assert_int_equal(entry.form, 0);
		}
		sealed_cursor_close(cursor);
		byte ^= 1;
		file_overwrite(t->test->path, at, &byte, 1);
	}
}

struct times {
	uint64_t count, lsn, stop_at;
	const struct test_layer *test;
};

static int see_time(void *context, struct lsn lsn, int64_t time_ns)
{
	struct times *times = context;

	assert_int_equal(time_ns, 1000 + times->count);
	assert_true(lsn.value > times->lsn);
	times->lsn = lsn.value;
	return ++times->count == times->stop_at ? 7 : 0;
}

static void the_time_of_each_batch_is_told(void **state)
{
	struct cursor_test *t = *state;
	struct layer *layer = sealed_layer_base(t->layer);
	struct times times = { .test = t->test };
	uint8_t byte = 99;

	assert_ok(sealed_each_time(layer, see_time, &times));
	assert_int_equal(times.count, t->test->batch_count);
	assert_int_equal(times.lsn, t->footer.end.value);
	times = (struct times){ .stop_at = 5 };
	assert_err(sealed_each_time(layer, see_time, &times), 7);
	/* The heads of a batch in the middle. */
	times = (struct times){ 0 };
	file_overwrite(t->test->path,
		       (off_t)(t->test->versions[3000].lsn.value - TEST_LAYER_START +
			       LAYER_HEADER_BYTES + 9), &byte, 1);
	assert_err(sealed_each_time(layer, see_time, &times), -EBADMSG);
	assert_int_equal(times.lsn, t->test->versions[3000].lsn.value);
}

#define cursor_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cursor_test(all_versions_come_in_order_from_any_key),
		cmocka_unit_test(a_key_of_very_many_versions_comes_oldest_first),
		cursor_test(a_damaged_payload_is_told_and_passed),
		cursor_test(a_damaged_index_ends_the_walk),
		cursor_test(the_time_of_each_batch_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
