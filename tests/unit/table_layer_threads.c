/* Table layers: readers of many layers with few descriptors and a cache that holds little of them. */
#include <pthread.h>
#include <stdatomic.h>

#include "test_table.h"

enum { LAYERS = 24, READERS = 5, LIMIT = 6, KEYS = 400, ROUNDS = TEST_TSAN ? 1500 : 20000 };

struct crowd {
	struct place *place;
	struct store_identity store;
	struct block_cache *cache;
	struct layer_files *files;
	struct layer *layers[LAYERS];
	struct table_summary summaries[LAYERS];
	_Atomic uint32_t most_open, readers_left;
};

struct reader {
	struct crowd *crowd;
	struct prng prng;
};

/* Page k of layer i, twice: at LSN 100 + k and 10000 + k; its bytes are (i, k, LSN). */
static void make_layer(struct crowd *crowd, unsigned i)
{
	const struct table_writer_options options = {
		.kind = TABLE_DELTA, .start = { 1 }, .end = { 20000 }, .compression = i % 3 + 1,
	};
	struct table_writer *writer;

	assert_ok(table_writer_open(crowd->place->dir_fd, i + 1, &crowd->store, &options, &writer));
	for (uint64_t k = 0; k < KEYS; k++) {
		for (uint64_t lsn = 100; lsn <= 10000; lsn += 9900) {
			uint64_t payload[128] = { i, k, lsn + k };

			assert_ok(table_writer_add(writer, key_make(20, KEY_PAGE, k), lsn_make(lsn + k), 0,
						   VERSION_IMAGE, 0, payload, sizeof(payload)));
		}
	}
	assert_ok(table_writer_finish(writer, TABLE_ENDS_RUN, &crowd->summaries[i]));
	table_writer_free(writer);
}

static void note_open(struct crowd *crowd)
{
	uint32_t count = layer_files_open_count(crowd->files);
	uint32_t most = atomic_load(&crowd->most_open);

	while (count > most && !atomic_compare_exchange_weak(&crowd->most_open, &most, count))
		;
}

static void look_up(struct crowd *crowd, struct prng *prng)
{
	unsigned i = (unsigned)prng_below(prng, LAYERS);
	uint64_t k = prng_below(prng, KEYS + 10), lsn = prng_below(prng, 20001), at;
	struct version version;
	const uint8_t *payload;
	uint64_t words[3];
	int err;

	guard_take();
	err = layer_find(crowd->layers[i], key_make(20, KEY_PAGE, k), lsn_make(lsn), &version);
	at = k >= KEYS || lsn < 100 + k ? 0 : lsn < 10000 + k ? 100 + k : 10000 + k;
	require(err == (at ? 0 : 1));
	if (!err) {
		require(version_view(&version, &payload) == 0);
		memcpy(words, payload, sizeof(words));
		require(version.lsn.value == at && words[0] == i && words[1] == k && words[2] == at);
	}
	guard_drop();
}

static void walk(struct crowd *crowd, struct prng *prng)
{
	unsigned i = (unsigned)prng_below(prng, LAYERS);
	struct table_cursor *cursor;
	struct table_entry entry;
	unsigned count = 0;

	require(table_cursor_open(crowd->layers[i], (struct key){ 0, 0 }, CURSOR_WINDOW_BYTES, &cursor) == 0);
	while (table_cursor_next(cursor, &entry) == 0)
		count++;
	require(count == 2 * KEYS);
	table_cursor_close(cursor);
}

static void *reader_main(void *argument)
{
	struct reader *reader = argument;

	for (unsigned round = 0; round < ROUNDS; round++) {
		look_up(reader->crowd, &reader->prng);
		if (round % 500 == 0)
			walk(reader->crowd, &reader->prng);
		note_open(reader->crowd);
	}
	atomic_fetch_sub(&reader->crowd->readers_left, 1);
	return NULL;
}

static void many_layers_are_read_with_few_descriptors(void **state)
{
	struct crowd crowd = { .store = { .seed = 7, .page_size_bytes = 4096 } };
	struct reader readers[READERS];
	pthread_t threads[READERS];

	(void)state;
	crowd.place = place_new("any");
	for (unsigned i = 0; i < LAYERS; i++)
		make_layer(&crowd, i);
	assert_ok(block_cache_create(1, &crowd.cache));
	assert_ok(layer_files_create(crowd.place->dir_fd, LIMIT, &crowd.files));
	for (unsigned i = 0; i < LAYERS; i++)
		assert_ok(table_layer_new(&crowd.summaries[i], &crowd.store, crowd.cache, crowd.files,
					  &crowd.layers[i]));
	atomic_store(&crowd.readers_left, READERS);
	for (unsigned i = 0; i < READERS; i++) {
		readers[i] = (struct reader){ &crowd, { test_seed() + i } };
		assert_int_equal(pthread_create(&threads[i], NULL, reader_main, &readers[i]), 0);
	}
	/* The budget moves under them. */
	for (unsigned i = 0; atomic_load(&crowd.readers_left); i++)
		block_cache_set_budget(crowd.cache, i % 3 * 2 * MIB);
	for (unsigned i = 0; i < READERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	print_message("at most %u descriptors open, limit %u\n", atomic_load(&crowd.most_open), LIMIT);
	assert_true(atomic_load(&crowd.most_open) <= LIMIT);
	assert_true(layer_files_open_count(crowd.files) <= LIMIT);
	for (unsigned i = 0; i < LAYERS; i++)
		table_layer_free(crowd.layers[i]);
	assert_int_equal(layer_files_open_count(crowd.files), 0);
	layer_files_free(crowd.files);
	block_cache_free(crowd.cache);
	place_free(crowd.place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_layers_are_read_with_few_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
