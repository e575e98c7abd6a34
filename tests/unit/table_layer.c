/* Table layer: what was written is what is found, at every LSN, and a damaged file gives no
 * wrong answer. */
#include <fcntl.h>
#include <unistd.h>

#include "table_format.h"
#include "test_table.h"

static const enum compression compressions[] = { COMPRESSION_NONE, COMPRESSION_LZ4,
						  COMPRESSION_ZSTD };

static int setup(void **state)
{
	*state = test_table_new();
	return 0;
}

static int teardown(void **state)
{
	test_table_free(*state);
	guard_barrier();
	return 0;
}

static int setup_random(void **state)
{
	struct test_table *test = test_table_new();

	test_table_add_random(test, 6000, 300);
	test_table_write(test, compressions[prng_below(&test->prng, 3)], 16 * MIB);
	*state = test;
	return 0;
}

static void every_version_is_found_at_its_lsn(void **state)
{
	struct test_table *test = *state;

	for (unsigned i = 0; i < array_size(compressions); i++) {
		test_table_write(test, compressions[i], 16 * MIB);
		assert_ok(table_layer_verify(test->layer));
		test_table_compare(test, 5000);
		test_table_compare_lists(test);
	}
}

static void the_summary_says_what_there_is(void **state)
{
	struct test_table *test = *state;
	const struct table_row *first = &test->rows[0], *last = &test->rows[test->row_count - 1];
	const struct table_summary *summary = table_layer_summary(test->layer);
	uint64_t keys = 0, payload_bytes = 0;
	struct stat st;

	for (size_t i = 0; i < test->row_count; i++) {
		keys += i == 0 || !key_equal(test->rows[i - 1].key, test->rows[i].key);
		payload_bytes += test->rows[i].size_bytes;
	}
	must(!stat(test->place->path, &st), "stat", test->place->path);
	assert_int_equal(summary->layer_id, TEST_TABLE_LAYER);
	assert_int_equal(summary->file_bytes, st.st_size);
	assert_int_equal(summary->key_count, keys);
	assert_int_equal(summary->version_count, test->row_count);
	assert_int_equal(summary->payload_bytes, payload_bytes);
	assert_true(key_equal(summary->first_key, first->key));
	assert_true(key_equal(summary->last_key, last->key));
	assert_int_equal(summary->first_lsn.value, first->lsn.value);
	assert_int_equal(summary->last_lsn.value, last->lsn.value);
	assert_int_equal(summary->ino_max, last->key.ino);
	assert_int_equal(summary->kind, TABLE_DELTA);
}

/* An image layer is one only if each key has one version that stands alone. */
static void the_kind_is_what_was_added(void **state)
{
	struct test_table *test = *state;
	struct table_row row = { .key = key_make(20, KEY_PAGE, 0), .lsn = { TEST_TABLE_START + 5 },
				 .form = VERSION_IMAGE, .size_bytes = 10 };

	test_table_add(test, &row);
	row.key = key_make(20, KEY_PAGE, 1);
	test_table_add(test, &row);
	test_table_write(test, COMPRESSION_LZ4, MIB);
	assert_int_equal(test->summary.kind, TABLE_IMAGE);
	row.lsn.value++;
	test_table_add(test, &row);
	test_table_write(test, COMPRESSION_LZ4, MIB);
	assert_int_equal(test->summary.kind, TABLE_DELTA);
	test->rows[2] = test->rows[1];
	test->rows[1].weight = 1;
	test->row_count = 2;
	test_table_write(test, COMPRESSION_LZ4, MIB);
	assert_int_equal(test->summary.kind, TABLE_DELTA);
}

static void check_pages(struct test_table *test, uint64_t ino, uint64_t first, uint32_t count,
			struct lsn lsn)
{
	uint32_t found = 0, expected_count = 0, taken = (uint32_t)prng_below(&test->prng, count);
	struct version versions[64];

	memset(versions, 0, sizeof(versions));
	versions[taken].form = 99;              /* found already, in a newer layer */
	guard_take();
	assert_ok(layer_find_pages(test->layer, ino, first, count, lsn, versions, &found));
	for (uint32_t i = 0; i < count; i++) {
		const struct table_row *expected =
			test_table_expect(test, key_make(ino, KEY_PAGE, first + i), lsn);

		if (i == taken) {
			assert_int_equal(versions[i].form, 99);
		} else if (expected) {
			expected_count++;
			assert_ok(test_table_row_check(&versions[i], expected));
		} else {
			assert_int_equal(versions[i].form, 0);
		}
	}
	guard_drop();
	assert_int_equal(found, expected_count);
}

static void a_range_of_pages_is_found_in_one_visit(void **state)
{
	struct test_table *test = *state;

	for (unsigned round = 0; round < 2000; round++) {
		uint64_t last = TEST_TABLE_START + test->row_count * 1000;

		check_pages(test, 15 + prng_below(&test->prng, 33), prng_below(&test->prng, 45),
			    (uint32_t)(1 + prng_below(&test->prng, 64)),
			    round % 3 == 0 ? LSN_HEAD : lsn_make(prng_below(&test->prng, last)));
	}
}

/* Every key's versions go through several blocks, and every block holds the end of one only. */
static void a_key_of_many_versions_spans_blocks(void **state)
{
	struct test_table *test = *state;
	uint64_t lsn = TEST_TABLE_START;

	for (uint64_t page = 3; page < 12; page += page % 3 + 1) {
		for (unsigned i = 0; i < 2000; i++) {
			lsn += 1 + prng_below(&test->prng, 100);
			test_table_add(test, &(struct table_row){
				.key = key_make(20, KEY_PAGE, page), .lsn = lsn_make(lsn),
				.form = VERSION_PATCH, .weight = 3, .seed = lsn,
				.size_bytes = (uint32_t)prng_below(&test->prng, 150) });
		}
	}
	test_table_write(test, COMPRESSION_LZ4, 16 * MIB);
	test_table_compare(test, 5000);
	test_table_compare_lists(test);
	for (unsigned round = 0; round < 2000; round++)
		check_pages(test, 20, prng_below(&test->prng, 12),
			    (uint32_t)(1 + prng_below(&test->prng, 14)),
			    lsn_make(TEST_TABLE_START + prng_below(&test->prng, lsn - TEST_TABLE_START + 50)));
}

static int count_name(void *context, struct key key)
{
	(void)key;
	++*(unsigned *)context;
	return 0;
}

/* A directory in which the same names come and go for ever is listed at the price of its names. */
static void a_list_of_names_does_not_read_all_their_versions(void **state)
{
	enum { NAMES = 5, VERSIONS = 20000 };
	struct test_table *test = *state;
	struct table_row row = { .form = VERSION_IMAGE, .size_bytes = 20, .lsn = { TEST_TABLE_START } };
	unsigned count = 0;

	for (uint64_t i = 0; i < NAMES * VERSIONS; i++) {
		row.key = key_make(20, KEY_NAME, i / VERSIONS * 7);
		row.lsn.value++;
		test_table_add(test, &row);
	}
	row.key = key_make(21, KEY_NAME, 1);
	test_table_add(test, &row);
	test_table_write(test, COMPRESSION_NONE, 64 * MIB);
	guard_take();
	assert_ok(table_layer_each_name(test->layer, 20, 0, count_name, &count));
	guard_drop();
	assert_int_equal(count, NAMES);
	/* Of each name the first and the last block, and the index. */
	assert_true(test->summary.file_bytes > 3 * MIB);
	assert_true(block_cache_bytes(test->cache) < 2 * (NAMES + 1) * 20 * KIB);
	test_table_compare_lists(test);
}

static void payloads_of_every_size_come_back(void **state)
{
	struct test_table *test = *state;
	const uint32_t sizes[] = { 0, 1, 4096, TABLE_BLOCK_TARGET_BYTES - 60,
				   TABLE_BLOCK_TARGET_BYTES, 64 * KIB, MIB - 1, MIB };
	struct table_row row = { .form = VERSION_IMAGE, .lsn = { TEST_TABLE_START + 1 } };

	for (uint64_t i = 0; i < 200; i++) {
		row.key = key_make(17, KEY_PAGE, i);
		row.size_bytes = sizes[i % array_size(sizes)];
		/* Zeros compress, random bytes don't. */
		row.seed = i % 2 ? SEED_ZEROS : i;
		test_table_add(test, &row);
	}
	for (unsigned i = 0; i < array_size(compressions); i++) {
		test_table_write(test, compressions[i], 2 * MIB);
		test_table_compare(test, 500);
		test_table_compare_lists(test);
	}
}

static void a_small_cache_gives_the_same_answers(void **state)
{
	struct test_table *test = *state;

	test_table_reopen(test, 1);
	test_table_compare(test, 3000);
	test_table_compare_lists(test);
}

/* As many data blocks as take several fence blocks, so that the top block is asked. */
static void a_large_index_leads_to_every_block(void **state)
{
	struct test_table *test = *state;
	struct table_row row = { .form = VERSION_IMAGE, .size_bytes = 30000, .seed = SEED_ZEROS };

	for (uint64_t i = 0; i < 2000; i++) {
		row.key = key_make(20 + i / 100, KEY_PAGE, i % 100 * 3);
		row.lsn = lsn_make(TEST_TABLE_START + 1 + i);
		test_table_add(test, &row);
	}
	test_table_write(test, COMPRESSION_ZSTD, 4 * MIB);
	test_table_compare(test, 3000);
	for (uint64_t i = 0; i < 200; i++)
		check_pages(test, 19 + i % 30, prng_below(&test->prng, 310), 64, LSN_HEAD);
}

/* From any key the cursor gives all rows there are from it on, through a window of any size. */
static void a_cursor_gives_all_rows_from_any_key(void **state)
{
	struct test_table *test = *state;
	uint8_t bytes[512];

	for (unsigned round = 0; round < 40; round++) {
		const struct table_row *at = &test->rows[prng_below(&test->prng, test->row_count)];
		struct key from = round == 0 ? (struct key){ 0, 0 }
				: round == 1 ? KEY_END : at->key;
		struct table_cursor *cursor;
		struct table_entry entry;
		size_t i = 0;

		if (round % 2 && from.sub != UINT64_MAX)
			from.sub++;
		while (i < test->row_count && key_compare(test->rows[i].key, from) < 0)
			i++;
		assert_ok(table_cursor_open(test->layer, from, round % 3 ? CURSOR_WINDOW_BYTES : 1, &cursor));
		for (; i < test->row_count; i++) {
			const struct table_row *row = &test->rows[i];

			assert_ok(table_cursor_next(cursor, &entry));
			assert_true(key_equal(entry.key, row->key));
			assert_int_equal(entry.lsn.value, row->lsn.value);
			assert_int_equal(entry.position, row->position == row->lsn.value
								 ? 0 : row->position);
			assert_int_equal(entry.form, row->form);
			assert_int_equal(entry.weight, row->weight);
			assert_int_equal(entry.size_bytes, row->size_bytes);
			seed_fill(row->seed, bytes, row->size_bytes);
			assert_memory_equal(entry.payload, bytes, row->size_bytes);
		}
		assert_err(table_cursor_next(cursor, &entry), 1);
		assert_err(table_cursor_next(cursor, &entry), 1);
		table_cursor_close(cursor);
	}
}

static void versions_out_of_order_are_refused(void **state)
{
	struct test_table *test = *state;
	const struct table_writer_options options = {
		.kind = TABLE_DELTA, .start = { 100 }, .end = { 200 }, .compression = COMPRESSION_LZ4,
	};
	const struct {
		struct key key;
		uint64_t lsn, position;
		uint32_t size_bytes;
		uint8_t form, weight;
		int err;
	} adds[] = {
		{ { 20, 5 }, 150, 0, 1, VERSION_IMAGE, 0, -EUCLEAN },    /* the same again */
		{ { 20, 5 }, 149, 0, 1, VERSION_IMAGE, 0, -EUCLEAN },
		{ { 20, 4 }, 160, 0, 1, VERSION_IMAGE, 0, -EUCLEAN },
		{ { 20, 6 }, 100, 0, 1, VERSION_IMAGE, 0, -EUCLEAN },    /* outside the span */
		{ { 20, 6 }, 201, 0, 1, VERSION_IMAGE, 0, -EUCLEAN },
		{ { 20, 6 }, 150, 151, 1, VERSION_IMAGE, 0, -EUCLEAN },
		{ { 20, 6 }, 150, 0, 1, 0, 0, -EUCLEAN },
		{ { 20, 6 }, 150, 0, 1, VERSION_LOST + 1, 0, -EUCLEAN },
		{ { 20, 6 }, 150, 0, 1, VERSION_PATCH, VERSION_WEIGHT_MAX + 1, -EUCLEAN },
		{ { 20, 6 }, 150, 0, TABLE_PAYLOAD_MAX + 1, VERSION_IMAGE, 0, -EFBIG },
		{ { 20, 5 }, 151, 0, 1, VERSION_PATCH, 1, 0 },
	};
	static const uint8_t payload[TABLE_PAYLOAD_MAX + 1];

	for (unsigned i = 0; i < array_size(adds); i++) {
		struct table_writer *writer;

		assert_ok(table_writer_open(test->place->dir_fd, TEST_TABLE_LAYER, &test->store,
					    &options, &writer));
		assert_ok(table_writer_add(writer, (struct key){ 20, 5 }, lsn_make(150), 0,
					   VERSION_IMAGE, 0, payload, 10));
		assert_err(table_writer_add(writer, adds[i].key, lsn_make(adds[i].lsn),
					    adds[i].position, adds[i].form, adds[i].weight, payload,
					    adds[i].size_bytes), adds[i].err);
		table_writer_free(writer);
		/* Never finished: no file is left. */
		assert_int_equal(access(test->place->path, F_OK), -1);
	}
}

static void a_dry_run_counts_the_same(void **state)
{
	struct test_table *test = *state;
	const struct table_writer_options options = {
		.kind = TABLE_DELTA, .start = { TEST_TABLE_START }, .end = { TEST_TABLE_END },
		.compression = COMPRESSION_ZSTD,
	};
	struct table_summary summaries[2];
	uint8_t payload[512];
	uint64_t about;

	for (unsigned dry = 0; dry < 2; dry++) {
		struct table_writer *writer;

		assert_ok(table_writer_open(dry ? -1 : test->place->dir_fd, TEST_TABLE_LAYER,
					    &test->store, &options, &writer));
		for (size_t i = 0; i < test->row_count; i++) {
			const struct table_row *row = &test->rows[i];

			seed_fill(row->seed, payload, row->size_bytes);
			assert_ok(table_writer_add(writer, row->key, row->lsn, row->position, row->form,
						   row->weight, payload, row->size_bytes));
		}
		about = table_writer_bytes(writer);
		assert_ok(table_writer_finish(writer, TABLE_ENDS_RUN, &summaries[dry]));
		table_writer_free(writer);
	}
	assert_true(table_summary_equal(&summaries[0], &summaries[1]));
	assert_true(about >= summaries[0].file_bytes &&
		    about <= summaries[0].file_bytes + TABLE_BLOCK_TARGET_BYTES + LAYER_BLOCK_BYTES);
}

/* Right, or refused. Returns how many are refused. */
static unsigned compare_damaged(struct test_table *test, unsigned count)
{
	unsigned refused = 0;

	guard_take();
	for (unsigned i = 0; i < count; i++) {
		const struct table_row *row =
			&test->rows[prng_below(&test->prng, test->row_count)];
		struct version found;
		int err = layer_find(test->layer, row->key, row->lsn, &found);

		if (!err)
			err = test_table_row_check(&found, row);
		if (err)
			assert_true(err == -EBADMSG || err == -EUCLEAN);
		refused += err != 0;
	}
	guard_drop();
	return refused;
}

/* All rows up to an error, none that is wrong. */
static int walk_damaged(struct test_table *test)
{
	struct table_cursor *cursor;
	struct table_entry entry;
	uint8_t bytes[512];
	size_t i = 0;
	int err;

	assert_ok(table_cursor_open(test->layer, (struct key){ 0, 0 }, CURSOR_WINDOW_BYTES, &cursor));
	while ((err = table_cursor_next(cursor, &entry)) == 0) {
		const struct table_row *row = &test->rows[i++];

		assert_true(i <= test->row_count && key_equal(entry.key, row->key) &&
			    entry.lsn.value == row->lsn.value && entry.form == row->form &&
			    entry.size_bytes == row->size_bytes);
		seed_fill(row->seed, bytes, row->size_bytes);
		assert_memory_equal(entry.payload, bytes, row->size_bytes);
	}
	table_cursor_close(cursor);
	assert_true(err == 1 || err == -EBADMSG || err == -EUCLEAN);
	assert_true(err < 0 || i == test->row_count);
	return err;
}

/* One bit of each byte of a small layer, its header and padding included. */
/* The places that FORMAT.md gives. */
static void a_footer_has_its_fields_where_they_are_said_to_be(void **state)
{
	const struct table_shape shape = { .data_end = 18, .block_count = 19, .filter_lines = 20,
					   .filter_block = 21, .fence_block = 22, .top_block = 23,
					   .footer_block = 24 };
	const struct store_identity store = { .seed = 1 };
	struct table_summary summary = {
		.layer_id = 1, .kind = TABLE_IMAGE, .start = { 2 }, .end = { 3 },
		.first_key = { 4, 5 }, .first_lsn = { 6 }, .last_key = { 7, 8 }, .last_lsn = { 9 },
		.key_count = 10, .version_count = 11, .payload_bytes = 12, .ino_max = 13, .run_id = 14,
		.level = 15, .number = 16, .oldest = { 17 }, .ending = TABLE_ENDS_RUN,
	};
	const uint64_t fields[] = { 1, TABLE_IMAGE, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
				    UINT64_C(16) << 32 | 15, 17, TABLE_ENDS_RUN, 18,
				    UINT64_C(20) << 32 | 19, UINT64_C(22) << 32 | 21, UINT64_C(24) << 32 | 23 };
	uint8_t block[LAYER_BLOCK_BYTES];

	(void)state;
	table_footer_encode(&summary, &shape, &store, block);
	assert_memory_equal(block, "VARVETEN", 8);
	for (uint32_t i = 0; i < array_size(fields); i++)
		assert_int_equal(table_u64(block + 8, i), fields[i]);
	for (size_t at = 8 + sizeof(fields); at < LAYER_BLOCK_PAYLOAD_BYTES; at++)
		assert_int_equal(block[at], 0);
}

static void no_flipped_bit_gives_a_wrong_answer(void **state)
{
	struct test_table *test = *state;
	unsigned refused = 0, unharmed = 0, unverified = 0;

	test_table_add_random(test, 150, 60);
	test_table_write(test, compressions[prng_below(&test->prng, 3)], MIB);
	for (uint64_t at = 0; at < test->summary.file_bytes; at++) {
		int fd = open(test->place->path, O_RDONLY | O_CLOEXEC);
		uint8_t right = 0, wrong;
		bool harmed;

		must(fd >= 0 && pread(fd, &right, 1, at) == 1, "read", test->place->path);
		close(fd);
		wrong = right ^ (uint8_t)(1u << prng_below(&test->prng, 8));
		file_overwrite(test->place->path, at, &wrong, 1);
		test_table_reopen(test, 1);
		harmed = compare_damaged(test, 10) > 0;
		harmed |= walk_damaged(test) < 0;
		refused += harmed;
		unharmed += !harmed;
		unverified += !harmed && table_layer_verify(test->layer) == 0;
		file_overwrite(test->place->path, at, &right, 1);
	}
	/* Harmless are the zeros that fill up the data's last 4 KiB, and to these questions the header and the
	 * top block, of which there is no need here. A verify reads the header. */
	print_message("%u refused, %u harmless, %u of them not told by a verify either\n", refused,
		      unharmed, unverified);
	assert_true(refused > test->summary.file_bytes / 2);
	assert_true(unverified < unharmed);
	test_table_reopen(test, MIB);
	assert_int_equal(compare_damaged(test, 1000), 0);
	assert_err(walk_damaged(test), 1);
}

static void a_layer_cut_short_is_refused(void **state)
{
	struct test_table *test = *state;
	uint64_t size = test->summary.file_bytes;
	const uint64_t cuts[] = { size - 1, size - LAYER_BLOCK_BYTES, size / 2, TABLE_HEADER_BYTES, 1, 0 };

	for (unsigned i = 0; i < array_size(cuts); i++) {
		must(!truncate(test->place->path, (off_t)cuts[i]), "truncate", test->place->path);
		test_table_reopen(test, MIB);
		assert_err(table_layer_verify(test->layer), -EUCLEAN);
		assert_int_equal(compare_damaged(test, 50), 50);
		assert_err(walk_damaged(test), -EUCLEAN);
	}
	must(!unlink(test->place->path), "unlink", test->place->path);
	test_table_reopen(test, MIB);
	assert_err(table_layer_verify(test->layer), -ENOENT);
	/* To a reader ENOENT would say that there is no such name. */
	assert_int_equal(compare_damaged(test, 50), 50);
	assert_err(walk_damaged(test), -EUCLEAN);
}

static void a_layer_of_another_store_or_summary_is_refused(void **state)
{
	struct test_table *test = *state;
	struct table_summary right = test->summary;
	struct version version;

	test->store.id[0] ^= 1;
	assert_err(table_layer_verify(test->layer), -EXDEV);
	test->store.id[0] ^= 1;
	test->store.seed ^= 1;
	assert_err(table_layer_verify(test->layer), -EUCLEAN);
	guard_take();
	assert_err(layer_find(test->layer, right.first_key, LSN_HEAD, &version), -EUCLEAN);
	guard_drop();
	test->store.seed ^= 1;
	for (unsigned i = 0; i < 5; i++) {
		uint64_t *const fields[] = { &test->summary.checksum, &test->summary.version_count,
					     &test->summary.first_lsn.value, &test->summary.end.value,
					     &test->summary.file_bytes };

		*fields[i] += 1;
		test_table_reopen(test, MIB);
		assert_err(table_layer_verify(test->layer), -EUCLEAN);
		guard_take();
		assert_err(layer_find(test->layer, right.first_key, LSN_HEAD, &version), -EUCLEAN);
		guard_drop();
		test->summary = right;
	}
	test_table_reopen(test, MIB);
	assert_ok(table_layer_verify(test->layer));
}

#define table_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define random_test(test) cmocka_unit_test_setup_teardown(test, setup_random, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		random_test(every_version_is_found_at_its_lsn),
		random_test(the_summary_says_what_there_is),
		table_test(the_kind_is_what_was_added),
		random_test(a_range_of_pages_is_found_in_one_visit),
		table_test(a_key_of_many_versions_spans_blocks),
		table_test(a_list_of_names_does_not_read_all_their_versions),
		table_test(payloads_of_every_size_come_back),
		random_test(a_small_cache_gives_the_same_answers),
		table_test(a_large_index_leads_to_every_block),
		random_test(a_cursor_gives_all_rows_from_any_key),
		table_test(versions_out_of_order_are_refused),
		random_test(a_dry_run_counts_the_same),
		cmocka_unit_test(a_footer_has_its_fields_where_they_are_said_to_be),
		table_test(no_flipped_bit_gives_a_wrong_answer),
		random_test(a_layer_cut_short_is_refused),
		random_test(a_layer_of_another_store_or_summary_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
