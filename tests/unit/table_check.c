/* Table check: a sound layer is clean, each kind of damage is found where it is. */
#include <fcntl.h>
#include <unistd.h>

#include "layer_check.h"
#include "table_format.h"
#include "test_table.h"

struct told {
	unsigned count;
	struct finding last;
	uint64_t progress;
};

static void tell(void *context, const struct finding *finding)
{
	struct told *told = context;

	told->count++;
	told->last = *finding;
}

static bool progress(void *context, uint64_t bytes)
{
	((struct told *)context)->progress += bytes;
	return true;
}

static struct told check(struct test_table *test, struct layer_check_result *result)
{
	const struct layer_check_target target = {
		.dir_fd = test->place->dir_fd, .store = &test->store, .table = &test->summary,
	};
	struct told told = { 0 };
	const struct check_hooks hooks = { tell, progress, &told };

	assert_ok(layer_check(&target, &hooks, result));
	return told;
}

#define ANYWHERE UINT64_MAX

/* One finding at least, and the last of them says @text of the byte @at. */
static void expect(struct test_table *test, enum finding_kind kind, uint64_t at, const char *text)
{
	struct layer_check_result result;
	struct told told = check(test, &result);

	if (!told.count || told.last.kind != kind || !strstr(told.last.text, text))
		fail_msg("%u findings, the last: %s", told.count, told.last.text);
	if (at != ANYWHERE)
		assert_true(told.last.offset <= at && at <= told.last.offset + told.last.size_bytes);
	assert_int_equal(told.last.layer_id, TEST_TABLE_LAYER);
}

static void read_at(struct test_table *test, uint64_t at, void *bytes, size_t size)
{
	int fd = open(test->place->path, O_RDONLY | O_CLOEXEC);

	must(fd >= 0 && pread(fd, bytes, size, (off_t)at) == (ssize_t)size, "read", test->place->path);
	close(fd);
}

static struct table_shape shape_of(struct test_table *test)
{
	uint8_t block[LAYER_BLOCK_BYTES];
	struct table_summary summary;
	struct table_shape shape;

	read_at(test, test->summary.file_bytes - sizeof(block), block, sizeof(block));
	assert_ok(table_footer_decode(block, &test->store, TEST_TABLE_LAYER,
				      test->summary.file_bytes, &summary, &shape));
	return shape;
}

/* Change the index block @number from byte @at on, under a good checksum. */
static void change_block(struct test_table *test, uint32_t number, size_t at, const void *bytes,
			 size_t size)
{
	uint8_t block[LAYER_BLOCK_BYTES];

	read_at(test, (uint64_t)number * sizeof(block), block, sizeof(block));
	memcpy(block + at, bytes, size);
	layer_block_seal(block, &test->store, TEST_TABLE_LAYER, number);
	file_overwrite(test->place->path, (off_t)number * LAYER_BLOCK_BYTES, block, sizeof(block));
}

static int setup(void **state)
{
	struct test_table *test = test_table_new();

	test_table_add_random(test, 3000, 1000);
	test_table_write(test, COMPRESSION_LZ4, MIB);
	*state = test;
	return 0;
}

static int teardown(void **state)
{
	test_table_free(*state);
	return 0;
}

static void a_sound_layer_is_clean(void **state)
{
	struct test_table *test = *state;
	struct layer_check_result result;
	struct told told = check(test, &result);

	assert_int_equal(told.count, 0);
	assert_false(result.missing || result.header_bad || result.index_bad || result.version_bad);
	assert_int_equal(result.version_count, test->row_count);
	assert_true(told.progress > shape_of(test).data_end - TABLE_HEADER_BYTES);
}

static void a_layer_of_images_is_clean(void **state)
{
	struct test_table *test = test_table_new();
	struct layer_check_result result;

	(void)state;
	for (uint64_t i = 0; i < 3000; i++)
		test_table_add(test, &(struct table_row){
			.key = key_make(20, KEY_PAGE, i), .lsn = { TEST_TABLE_START + 1 + i },
			.form = VERSION_IMAGE, .size_bytes = 4096, .seed = SEED_ZEROS });
	test_table_write(test, COMPRESSION_ZSTD, MIB);
	assert_int_equal(test->summary.kind, TABLE_IMAGE);
	assert_int_equal(check(test, &result).count, 0);
	test_table_free(test);
}

static void every_flipped_bit_that_means_something_is_found(void **state)
{
	struct test_table *test = *state;
	struct table_shape shape = shape_of(test);
	struct layer_check_result result;

	for (unsigned i = 0; i < 400; i++) {
		uint64_t index = (uint64_t)shape.filter_block * LAYER_BLOCK_BYTES;
		uint64_t at = i % 4 == 0 ? prng_below(&test->prng, TABLE_HEADER_BYTES)
			    : i % 4 == 1 ? prng_below(&test->prng, shape.data_end)
					 : index + prng_below(&test->prng, test->summary.file_bytes - index);
		uint8_t right, wrong;

		read_at(test, at, &right, 1);
		wrong = right ^ (uint8_t)(1u << prng_below(&test->prng, 8));
		file_overwrite(test->place->path, (off_t)at, &wrong, 1);
		assert_true(check(test, &result).count > 0);
		file_overwrite(test->place->path, (off_t)at, &right, 1);
	}
	assert_int_equal(check(test, &result).count, 0);
}

static void a_damaged_block_is_named_by_its_keys(void **state)
{
	struct test_table *test = *state;
	struct layer_check_result result;
	uint8_t byte = 0x5a;
	struct told told;

	file_overwrite(test->place->path, TABLE_HEADER_BYTES + 100, &byte, 1);
	expect(test, FINDING_VERSION, TABLE_HEADER_BYTES + 100, "of inodes 16 to ");
	told = check(test, &result);
	assert_int_equal(told.count, 1);
	assert_true(result.version_bad);
	assert_true(key_equal(told.last.key, test->summary.first_key));
	assert_int_equal(told.last.from.value, TEST_TABLE_START + 1);
}

static void a_missing_cut_or_longer_file_is_told(void **state)
{
	struct test_table *test = *state;
	uint64_t size = test->summary.file_bytes;
	struct layer_check_result result;
	uint8_t byte = 1;

	file_overwrite(test->place->path, (off_t)size, &byte, 1);
	expect(test, FINDING_FILE, size, "longer than the manifest says");
	must(!truncate(test->place->path, (off_t)size - 10), "truncate", test->place->path);
	expect(test, FINDING_INDEX, size - 1, "the footer is damaged");
	must(!unlink(test->place->path), "unlink", test->place->path);
	expect(test, FINDING_FILE, 0, "missing");
	check(test, &result);
	assert_true(result.missing);
}

static void what_contradicts_itself_under_good_checksums_is_told(void **state)
{
	struct test_table *test = *state;
	struct table_shape shape = shape_of(test);
	uint8_t fences[2 * TABLE_FENCE_BYTES], swapped[2 * TABLE_FENCE_BYTES], zeros[64] = { 0 };
	uint8_t line[64], top[8], other[8];
	uint64_t filter_at = (uint64_t)shape.filter_block * LAYER_BLOCK_BYTES;
	uint64_t fence_at = (uint64_t)shape.fence_block * LAYER_BLOCK_BYTES;
	uint64_t top_at = (uint64_t)shape.top_block * LAYER_BLOCK_BYTES;

	read_at(test, filter_at, line, sizeof(line));
	change_block(test, shape.filter_block, 0, zeros, sizeof(zeros));
	expect(test, FINDING_INDEX, ANYWHERE, "the filter denies a key");
	change_block(test, shape.filter_block, 0, line, sizeof(line));

	read_at(test, fence_at, fences, sizeof(fences));
	memcpy(swapped, fences + TABLE_FENCE_BYTES, TABLE_FENCE_BYTES);
	memcpy(swapped + TABLE_FENCE_BYTES, fences, TABLE_FENCE_BYTES);
	change_block(test, shape.fence_block, 0, swapped, sizeof(swapped));
	expect(test, FINDING_INDEX, top_at, "does not say where its fences begin");
	memcpy(swapped, fences, sizeof(swapped));
	swapped[TABLE_FENCE_BYTES + 24]++;
	change_block(test, shape.fence_block, 0, swapped, sizeof(swapped));
	expect(test, FINDING_VERSION, ANYWHERE, "damaged");
	/* Another first LSN than the block's. */
	memcpy(swapped, fences, sizeof(swapped));
	swapped[TABLE_FENCE_BYTES + 16] ^= 1;
	change_block(test, shape.fence_block, 0, swapped, sizeof(swapped));
	expect(test, FINDING_VERSION, ANYWHERE, "makes no sense");
	change_block(test, shape.fence_block, 0, fences, sizeof(fences));

	read_at(test, top_at, top, sizeof(top));
	memcpy(other, top, sizeof(top));
	other[0] ^= 1;
	change_block(test, shape.top_block, 0, other, sizeof(other));
	expect(test, FINDING_INDEX, top_at, "does not say where its fences begin");
	change_block(test, shape.top_block, 0, top, sizeof(top));
}

/* A footer, and a manifest that believes it, of other counts. */
static void counts_that_are_not_true_are_told(void **state)
{
	struct test_table *test = *state;
	struct table_shape shape = shape_of(test);
	struct table_summary right = test->summary;
	uint8_t block[LAYER_BLOCK_BYTES];

	for (unsigned i = 0; i < 4; i++) {
		uint64_t *const fields[] = { &test->summary.version_count, &test->summary.payload_bytes,
					     &test->summary.first_lsn.value,
					     &test->summary.last_lsn.value };

		test->summary = right;
		*fields[i] += 1;
		table_footer_encode(&test->summary, &shape, &test->store, block);
		file_overwrite(test->place->path, (off_t)shape.footer_block * LAYER_BLOCK_BYTES, block,
			       sizeof(block));
		expect(test, FINDING_INDEX, test->summary.file_bytes - 1,
		       i < 2 ? "another number of keys, versions or bytes" : "begin or end with another");
	}
	test->summary = right;
	test->summary.kind = TABLE_IMAGE;
	table_footer_encode(&test->summary, &shape, &test->store, block);
	file_overwrite(test->place->path, (off_t)shape.footer_block * LAYER_BLOCK_BYTES, block,
		       sizeof(block));
	struct layer_check_result result;
	assert_true(check(test, &result).count > 0);
	assert_true(result.index_bad);
}

#define check_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		check_test(a_sound_layer_is_clean),
		cmocka_unit_test(a_layer_of_images_is_clean),
		check_test(every_flipped_bit_that_means_something_is_found),
		check_test(a_damaged_block_is_named_by_its_keys),
		check_test(a_missing_cut_or_longer_file_is_told),
		check_test(what_contradicts_itself_under_good_checksums_is_told),
		check_test(counts_that_are_not_true_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
