/* Layer file: what is decoded is what was encoded, for this store and this place only. */
#include "layer_file.h"
#include "test_support.h"

#define HEADER_USED_BYTES 64u           /* the rest is zeros */

static const struct store_identity store = {
	.id = "sixteen bytes id", .seed = 99, .page_size_bytes = 8192,
};

static const struct layer_header header = {
	.layer_id = 0x0102030405060708, .start = { 0x1112131415161718 },
	.chain_start = 0x2122232425262728,
};

static void a_header_survives(void **state)
{
	uint8_t bytes[LAYER_HEADER_BYTES];
	struct layer_header found;

	(void)state;
	layer_header_encode(&header, &store, bytes);
	assert_ok(layer_header_decode(bytes, &store, &found));
	assert_int_equal(found.layer_id, header.layer_id);
	assert_int_equal(found.start.value, header.start.value);
	assert_int_equal(found.chain_start, header.chain_start);
	for (unsigned i = HEADER_USED_BYTES; i < sizeof(bytes); i++)
		assert_int_equal(bytes[i], 0);
}

static void zeros_are_a_layer_never_started(void **state)
{
	uint8_t bytes[LAYER_HEADER_BYTES] = { 0 };
	struct layer_header found;

	(void)state;
	assert_err(layer_header_decode(bytes, &store, &found), 1);
	bytes[LAYER_HEADER_BYTES - 1] = 1;
	assert_err(layer_header_decode(bytes, &store, &found), -EUCLEAN);
}

static void no_flipped_bit_of_a_header_passes(void **state)
{
	uint8_t bytes[LAYER_HEADER_BYTES];
	struct layer_header found;

	(void)state;
	layer_header_encode(&header, &store, bytes);
	for (unsigned bit = 0; bit < HEADER_USED_BYTES * 8; bit++) {
		bytes[bit / 8] ^= 1u << bit % 8;
		int err = layer_header_decode(bytes, &store, &found);
		assert_true(err == -EUCLEAN || err == -EXDEV || err == -EPROTONOSUPPORT);
		bytes[bit / 8] ^= 1u << bit % 8;
	}
	assert_ok(layer_header_decode(bytes, &store, &found));
}

static void a_header_says_why_it_is_refused(void **state)
{
	struct store_identity other_id = store, other_size = store, other_seed = store;
	struct layer_header beyond = header, found;
	uint8_t bytes[LAYER_HEADER_BYTES];

	(void)state;
	other_id.id[15] ^= 1;
	other_size.page_size_bytes = 4096;
	other_seed.seed++;
	layer_header_encode(&header, &store, bytes);
	assert_err(layer_header_decode(bytes, &other_id, &found), -EXDEV);
	assert_err(layer_header_decode(bytes, &other_size, &found), -EUCLEAN);
	assert_err(layer_header_decode(bytes, &other_seed, &found), -EUCLEAN);
	bytes[8]++;                             /* the format's version */
	assert_err(layer_header_decode(bytes, &store, &found), -EPROTONOSUPPORT);
	beyond.start = lsn_make(LSN_LIMIT);
	layer_header_encode(&beyond, &store, bytes);
	assert_err(layer_header_decode(bytes, &store, &found), -EUCLEAN);
}

/* ---- footer ---- */

static struct layer_footer footer_make(uint32_t key_count, uint32_t version_count)
{
	struct layer_index_shape shape = layer_index_shape(key_count, version_count);
	struct layer_footer footer = {
		.layer_id = 7, .start = lsn_make(1000), .end = lsn_make(1000 + 3 * MIB + 1),
		.chain_start = 0x1112131415161718, .chain_end = 0x2122232425262728,
		.time_first_ns = -5, .time_last_ns = 0x3132333435363738,
		.ino_max = 0x4142434445464748, .key_count = key_count,
		.version_count = version_count, .filter_lines = shape.filter_lines,
	};

	footer.filter_block = (LAYER_HEADER_BYTES + 3 * MIB) / LAYER_BLOCK_BYTES + 1;
	footer.key_block = footer.filter_block + shape.filter_blocks;
	footer.version_block = footer.key_block + shape.key_blocks;
	footer.fence_block = footer.version_block + shape.version_blocks;
	footer.footer_block = footer.fence_block + shape.fence_blocks;
	return footer;
}

static uint64_t file_bytes(const struct layer_footer *footer)
{
	return ((uint64_t)footer->footer_block + 1) * LAYER_BLOCK_BYTES;
}

static void a_footer_survives(void **state)
{
	struct layer_footer footer = footer_make(3000, 9000), found;
	uint8_t block[LAYER_BLOCK_BYTES];

	(void)state;
	layer_footer_encode(&footer, &store, block);
	/* What is not set must come out as zeros, not as it lay there. */
	memset(&found, 0xee, sizeof(found));
	assert_ok(layer_footer_decode(block, &store, 7, file_bytes(&footer), &found));
	assert_int_equal(found.layer_id, footer.layer_id);
	assert_int_equal(found.start.value, footer.start.value);
	assert_int_equal(found.end.value, footer.end.value);
	assert_int_equal(found.chain_start, footer.chain_start);
	assert_int_equal(found.chain_end, footer.chain_end);
	assert_int_equal(found.time_first_ns, footer.time_first_ns);
	assert_int_equal(found.time_last_ns, footer.time_last_ns);
	assert_int_equal(found.ino_max, footer.ino_max);
	assert_int_equal(found.key_count, footer.key_count);
	assert_int_equal(found.version_count, footer.version_count);
	assert_int_equal(found.filter_lines, footer.filter_lines);
	assert_int_equal(found.filter_block, footer.filter_block);
	assert_int_equal(found.key_block, footer.key_block);
	assert_int_equal(found.version_block, footer.version_block);
	assert_int_equal(found.fence_block, footer.fence_block);
	assert_int_equal(found.footer_block, footer.footer_block);
}

static void no_flipped_bit_of_a_footer_passes(void **state)
{
	struct layer_footer footer = footer_make(10, 20), found;
	uint8_t block[LAYER_BLOCK_BYTES];

	(void)state;
	layer_footer_encode(&footer, &store, block);
	for (unsigned bit = 0; bit < sizeof(block) * 8; bit++) {
		block[bit / 8] ^= 1u << bit % 8;
		assert_err(layer_footer_decode(block, &store, 7, file_bytes(&footer), &found),
			   -EUCLEAN);
		block[bit / 8] ^= 1u << bit % 8;
	}
}

static void a_footer_of_another_layer_store_or_size_is_refused(void **state)
{
	struct layer_footer footer = footer_make(10, 20), found;
	struct store_identity other = store;
	uint64_t size = file_bytes(&footer);
	uint8_t block[LAYER_BLOCK_BYTES];

	(void)state;
	other.seed++;
	layer_footer_encode(&footer, &store, block);
	assert_ok(layer_footer_decode(block, &store, 7, size, &found));
	assert_err(layer_footer_decode(block, &store, 8, size, &found), -EUCLEAN);
	assert_err(layer_footer_decode(block, &other, 7, size, &found), -EUCLEAN);
	assert_err(layer_footer_decode(block, &store, 7, size - 1, &found), -EUCLEAN);
	assert_err(layer_footer_decode(block, &store, 7, size + LAYER_BLOCK_BYTES, &found),
		   -EUCLEAN);
	assert_int_equal(found.layer_id, 0);
}

/* Under a good checksum: written by a broken program. */
static void a_footer_that_contradicts_itself_is_refused(void **state)
{
	struct layer_footer footer = footer_make(10, 20), found;
	uint32_t *const parts[] = { &footer.filter_lines, &footer.filter_block, &footer.key_block,
				    &footer.version_block, &footer.fence_block,
				    &footer.footer_block };
	const struct lsn ends[] = { { 999 }, { LSN_LIMIT }, { footer.end.value + 4096 },
				    { footer.start.value + LAYER_SIZE_MAX + 1 } };
	const struct lsn end = footer.end;
	uint8_t block[LAYER_BLOCK_BYTES];

	(void)state;
	for (unsigned i = 0; i < array_size(parts); i++) {
		for (int step = -1; step <= 1; step++) {
			*parts[i] += (uint32_t)step;
			layer_footer_encode(&footer, &store, block);
			assert_err(layer_footer_decode(block, &store, 7, file_bytes(&footer),
						       &found), step ? -EUCLEAN : 0);
			*parts[i] -= (uint32_t)step;
		}
	}
	for (unsigned i = 0; i < array_size(ends); i++) {
		footer.end = ends[i];
		layer_footer_encode(&footer, &store, block);
		assert_err(layer_footer_decode(block, &store, 7, file_bytes(&footer), &found),
			   -EUCLEAN);
	}
	footer.end = end;
	footer.key_count += 10 * LAYER_KEYS_PER_BLOCK;
	layer_footer_encode(&footer, &store, block);
	assert_err(layer_footer_decode(block, &store, 7, file_bytes(&footer), &found), -EUCLEAN);
}

/* Each key has a version, and each version is of a byte of history at least. */
static void a_footer_with_more_than_its_history_holds_is_refused(void **state)
{
	struct layer_footer footer = footer_make(21, 20), found;
	uint8_t block[LAYER_BLOCK_BYTES];

	(void)state;
	layer_footer_encode(&footer, &store, block);
	assert_err(layer_footer_decode(block, &store, 7, file_bytes(&footer), &found), -EUCLEAN);
	footer = footer_make(20, 20);
	footer.end = footer.start;
	footer.filter_block = 1;
	footer.key_block = footer.filter_block + 1;
	footer.version_block = footer.key_block + 1;
	footer.fence_block = footer.version_block + 1;
	footer.footer_block = footer.fence_block + 1;
	layer_footer_encode(&footer, &store, block);
	assert_err(layer_footer_decode(block, &store, 7, file_bytes(&footer), &found), -EUCLEAN);
}

/* ---- blocks and their shape ---- */

static void a_block_is_good_in_its_place_only(void **state)
{
	struct store_identity other = store;
	uint8_t block[LAYER_BLOCK_BYTES];

	(void)state;
	other.seed++;
	seed_fill(1, block, sizeof(block));
	assert_false(layer_block_good(block, &store, 7, 3));
	layer_block_seal(block, &store, 7, 3);
	assert_true(layer_block_good(block, &store, 7, 3));
	assert_false(layer_block_good(block, &store, 7, 4));
	assert_false(layer_block_good(block, &store, 8, 3));
	assert_false(layer_block_good(block, &other, 7, 3));
	for (unsigned bit = 0; bit < sizeof(block) * 8; bit++) {
		block[bit / 8] ^= 1u << bit % 8;
		assert_false(layer_block_good(block, &store, 7, 3));
		block[bit / 8] ^= 1u << bit % 8;
	}
}

/* @blocks hold @count items, and one fewer would not. */
static void check_blocks(uint64_t blocks, uint64_t count, uint64_t per_block)
{
	assert_true(blocks * per_block >= count);
	assert_true(!blocks || (blocks - 1) * per_block < count);
}

static void an_index_has_room_for_its_keys_and_no_more(void **state)
{
	const uint32_t counts[] = { 0, 1, LAYER_KEYS_PER_BLOCK, LAYER_KEYS_PER_BLOCK + 1, 51, 52,
				    100000, LAYER_KEYS_PER_BLOCK * LAYER_FENCES_PER_BLOCK + 1,
				    UINT32_MAX };

	(void)state;
	for (unsigned i = 0; i < array_size(counts); i++) {
		struct layer_index_shape shape = layer_index_shape(counts[i], UINT32_MAX);

		check_blocks(shape.key_blocks, counts[i], LAYER_KEYS_PER_BLOCK);
		check_blocks(shape.version_blocks, UINT32_MAX, LAYER_VERSIONS_PER_BLOCK);
		check_blocks(shape.fence_blocks, shape.key_blocks, LAYER_FENCES_PER_BLOCK);
		check_blocks(shape.filter_blocks, shape.filter_lines,
			     LAYER_FILTER_LINES_PER_BLOCK);
		assert_true(shape.filter_lines > 0);
		assert_true((uint64_t)shape.filter_lines * LAYER_FILTER_LINE_BYTES * 8 >=
			    (uint64_t)counts[i] * LAYER_FILTER_BITS_PER_KEY);
		assert_int_equal(layer_index_bytes(counts[i], UINT32_MAX),
				 (1 + (uint64_t)shape.filter_blocks + shape.key_blocks +
				  shape.version_blocks + shape.fence_blocks) * LAYER_BLOCK_BYTES);
	}
}

/* ---- filter ---- */

static bool filter_has(const uint8_t *lines, uint32_t line_count, struct key key, bool add)
{
	uint64_t hash = key_hash(key);
	uint32_t line = layer_filter_line(hash, line_count);
	bool has = true;

	assert_true(line < line_count);
	for (unsigned probe = 0; probe < LAYER_FILTER_PROBES; probe++) {
		unsigned bit = layer_filter_bit(hash, probe);
		uint8_t *byte = (uint8_t *)lines + line * LAYER_FILTER_LINE_BYTES + bit / 8;

		if (add)
			*byte |= 1u << bit % 8;
		has = has && (*byte & 1u << bit % 8);
	}
	return has;
}

static void a_filter_knows_its_keys_and_few_others(void **state)
{
	enum { KEYS = 50000 };
	uint32_t line_count = layer_index_shape(KEYS, KEYS).filter_lines;
	uint8_t *lines = calloc(line_count, LAYER_FILTER_LINE_BYTES);
	unsigned false_hits = 0;

	(void)state;
	assert_non_null(lines);
	for (unsigned i = 0; i < KEYS; i++)
		filter_has(lines, line_count, key_make(16 + i % 7, KEY_PAGE, i), true);
	for (unsigned i = 0; i < KEYS; i++)
		assert_true(filter_has(lines, line_count, key_make(16 + i % 7, KEY_PAGE, i), false));
	for (unsigned i = KEYS; i < 2 * KEYS; i++)
		false_hits += filter_has(lines, line_count, key_make(16 + i % 7, KEY_PAGE, i), false);
	print_message("%u false hits in %u\n", false_hits, KEYS);
	assert_true(false_hits < KEYS * 2 / 100);
	free(lines);
}

/* ---- names ---- */

static void a_layers_name_leads_back_to_its_number(void **state)
{
	const uint64_t ids[] = { 0, 1, 0x123456789abcdef0, UINT64_MAX };
	char name[LAYER_NAME_BYTES];
	uint64_t found;

	(void)state;
	for (unsigned i = 0; i < array_size(ids); i++) {
		layer_name(ids[i], name);
		assert_int_equal(strlen(name), LAYER_NAME_BYTES - 2);
		assert_ok(layer_name_parse(name, &found));
		assert_int_equal(found, ids[i]);
	}
	layer_name(0xab, name);
	assert_string_equal(name, "00000000000000ab.layer");
}

static void other_names_are_no_layers(void **state)
{
	const char *const names[] = {
		"", ".", "..", ".layer", "1.layer", "0000000000000001", "0000000000000001.layer~",
		"0000000000000001.layerlayer", "00000000000000AB.layer", "00000000000000001.layer",
		" 000000000000001.layer", "+000000000000001.layer", "-000000000000001.layer",
		"0x00000000000001.layer", "000000000000000g.layer", "0000000000000001.LAYER",
	};
	uint64_t found;

	(void)state;
	for (unsigned i = 0; i < array_size(names); i++)
		assert_err(layer_name_parse(names[i], &found), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_header_survives),
		cmocka_unit_test(zeros_are_a_layer_never_started),
		cmocka_unit_test(no_flipped_bit_of_a_header_passes),
		cmocka_unit_test(a_header_says_why_it_is_refused),
		cmocka_unit_test(a_footer_survives),
		cmocka_unit_test(no_flipped_bit_of_a_footer_passes),
		cmocka_unit_test(a_footer_of_another_layer_store_or_size_is_refused),
		cmocka_unit_test(a_footer_that_contradicts_itself_is_refused),
		cmocka_unit_test(a_footer_with_more_than_its_history_holds_is_refused),
		cmocka_unit_test(a_block_is_good_in_its_place_only),
		cmocka_unit_test(an_index_has_room_for_its_keys_and_no_more),
		cmocka_unit_test(a_filter_knows_its_keys_and_few_others),
		cmocka_unit_test(a_layers_name_leads_back_to_its_number),
		cmocka_unit_test(other_names_are_no_layers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
