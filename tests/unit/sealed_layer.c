/* Sealed layer: the same answers from the file as from the open layer, and
 * none that is wrong from a damaged one. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "io_disk.h"
#include "layer_check.h"
#include "sealed_layer.h"
#include "test_layer.h"

struct sealed_test {
	struct test_layer *test;
	struct block_cache *cache;
	struct layer_footer footer;
	struct sealed_layer *layer;
};

static void reopen(struct sealed_test *s)
{
	sealed_layer_close(s->layer);
	block_cache_free(s->cache);
	assert_ok(block_cache_create(16 * MIB, &s->cache));
	assert_ok(sealed_layer_open(s->test->dir_fd, 7, &s->test->store, s->cache, NULL, &s->layer));
}

static int setup(void **state)
{
	struct sealed_test *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->test = test_layer_new();
	test_layer_append_many(s->test, 1500);
	assert_ok(open_layer_seal(s->test->open, &s->footer));
	test_layer_close(s->test);
	reopen(s);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct sealed_test *s = *state;

	sealed_layer_close(s->layer);
	block_cache_free(s->cache);
	test_layer_free(s->test);
	free(s);
	return 0;
}

static void every_version_is_found_at_its_lsn(void **state)
{
	struct sealed_test *s = *state;

	test_layer_compare(s->test, sealed_layer_base(s->layer), 5000);
	test_layer_compare_lists(s->test, sealed_layer_base(s->layer));
	assert_int_equal(s->footer.version_count, s->test->version_count);
	assert_int_equal(sealed_layer_footer(s->layer)->end.value, s->footer.end.value);
	assert_int_equal(sealed_layer_footer(s->layer)->time_first_ns, 1000);
	assert_int_equal(sealed_layer_footer(s->layer)->time_last_ns,
			 1000 + (int64_t)s->test->batch_count - 1);
}

static void the_file_is_no_longer_than_its_footer_says(void **state)
{
	struct sealed_test *s = *state;
	struct stat st;

	must(!stat(s->test->path, &st), "stat", s->test->path);
	assert_int_equal(st.st_size, (s->footer.footer_block + 1) * LAYER_BLOCK_BYTES);
	assert_int_equal(sealed_layer_file_bytes(s->layer), st.st_size);
}

static void a_range_of_pages_is_found_in_one_visit(void **state)
{
	struct sealed_test *s = *state;
	struct prng prng = { test_seed() };
	struct version versions[64];

	for (unsigned round = 0; round < 300; round++) {
		uint64_t ino = 16 + prng_below(&prng, 30), first = prng_below(&prng, 45);
		uint32_t count = 1 + prng_below(&prng, 64), found = 0, expected_count = 0;
		struct lsn lsn = lsn_make(TEST_LAYER_START +
					  prng_below(&prng, s->footer.end.value - TEST_LAYER_START));

		memset(versions, 0, sizeof(versions));
		versions[count / 2].form = 99;          /* found already, in a newer layer */
		assert_ok(layer_find_pages(sealed_layer_base(s->layer), ino, first, count, lsn,
					   versions, &found));
		for (uint32_t i = 0; i < count; i++) {
			const struct test_version *expected = test_layer_expect(
				s->test, key_make(ino, KEY_PAGE, first + i), lsn);

			if (i == count / 2) {
				assert_int_equal(versions[i].form, 99);
			} else if (expected) {
				expected_count++;
				test_version_check(&versions[i], expected);
			} else {
				assert_int_equal(versions[i].form, 0);
			}
		}
		assert_int_equal(found, expected_count);
	}
}

static void a_small_cache_gives_the_same_answers(void **state)
{
	struct sealed_test *s = *state;

	sealed_layer_close(s->layer);
	block_cache_free(s->cache);
	assert_ok(block_cache_create(1, &s->cache));
	assert_ok(sealed_layer_open(s->test->dir_fd, 7, &s->test->store, s->cache, NULL, &s->layer));
	test_layer_compare(s->test, sealed_layer_base(s->layer), 3000);
	test_layer_compare_lists(s->test, sealed_layer_base(s->layer));
}

/* Right, absent because its layer says so under a good checksum, or -EBADMSG. */
static unsigned compare_damaged(struct sealed_test *s, unsigned count)
{
	struct prng prng = { test_seed() };
	unsigned damaged = 0;

	for (unsigned i = 0; i < count; i++) {
		const struct test_version *expected =
			&s->test->versions[prng_below(&prng, s->test->version_count)];
		struct version found;
		const uint8_t *payload;
		uint8_t scratch[512];
		int err = layer_find(sealed_layer_base(s->layer), expected->key, expected->lsn,
				     &found);

		if (!err)
			err = version_load(&found, scratch, &payload);
		if (err) {
			assert_true(err == -EBADMSG || err == -EUCLEAN);
			damaged++;
		} else {
			test_version_check(&found, expected);
		}
	}
	return damaged;
}

#define HEADER_USED_BYTES 64u

static void no_flipped_bit_gives_a_wrong_answer(void **state)
{
	struct sealed_test *s = *state;
	struct prng prng = { test_seed() };
	uint64_t size = sealed_layer_file_bytes(s->layer);
	unsigned damaged = 0, refused = 0;

	for (unsigned i = 0; i < 400; i++) {
		/* Half anywhere, half in the index behind the log; some in the header. */
		uint64_t index = s->footer.filter_block * (uint64_t)LAYER_BLOCK_BYTES;
		uint64_t at = i % 20 == 1 ? prng_below(&prng, HEADER_USED_BYTES)
			      : i % 2     ? prng_below(&prng, size)
					  : index + prng_below(&prng, size - index);
		int fd = open(s->test->path, O_RDONLY | O_CLOEXEC);
		uint8_t right = 0, wrong;
		struct sealed_layer *layer = NULL;

		must(fd >= 0 && pread(fd, &right, 1, at) == 1, "read", s->test->path);
		close(fd);
		wrong = right ^ (uint8_t)(1u << prng_below(&prng, 8));
		file_overwrite(s->test->path, at, &wrong, 1);
		sealed_layer_close(s->layer);
		block_cache_free(s->cache);
		assert_ok(block_cache_create(16 * MIB, &s->cache));
		int err = sealed_layer_open(s->test->dir_fd, 7, &s->test->store, s->cache, NULL, &layer);
		s->layer = layer;
		if (err) {
			assert_true(err == -EUCLEAN || err == -EXDEV || err == -EPROTONOSUPPORT);
			refused++;
		} else {
			damaged += compare_damaged(s, 300) > 0;
		}
		file_overwrite(s->test->path, at, &right, 1);
	}
	print_message("%u opens refused, %u with damaged versions\n", refused, damaged);
	assert_true(refused > 0 && damaged > 0);
	reopen(s);
	assert_int_equal(compare_damaged(s, 1000), 0);
}

static void a_cut_layer_is_refused(void **state)
{
	struct sealed_test *s = *state;
	uint64_t size = sealed_layer_file_bytes(s->layer);
	const uint64_t cuts[] = { size - 1, size - LAYER_BLOCK_BYTES, size / 2, LAYER_HEADER_BYTES,
				  1, 0 };

	for (unsigned i = 0; i < array_size(cuts); i++) {
		struct sealed_layer *layer;

		must(!truncate(s->test->path, cuts[i]), "truncate", s->test->path);
		assert_err(sealed_layer_open(s->test->dir_fd, 7, &s->test->store, s->cache, NULL, &layer),
			   -EUCLEAN);
		assert_null(layer);
	}
	must(!unlink(s->test->path), "unlink", s->test->path);
	struct sealed_layer *layer;
	assert_err(sealed_layer_open(s->test->dir_fd, 7, &s->test->store, s->cache, NULL, &layer),
		   -ENOENT);
}

/* While it is open: an error, not SIGBUS. */
static void a_layer_cut_under_its_reader_gives_errors(void **state)
{
	struct sealed_test *s = *state;

	sealed_layer_close(s->layer);
	block_cache_free(s->cache);
	assert_ok(block_cache_create(1, &s->cache));
	assert_ok(sealed_layer_open(s->test->dir_fd, 7, &s->test->store, s->cache, NULL, &s->layer));
	must(!truncate(s->test->path, LAYER_HEADER_BYTES + 10000), "truncate", s->test->path);
	assert_true(compare_damaged(s, 500) > 0);
}

static void a_layer_of_another_store_is_refused(void **state)
{
	struct sealed_test *s = *state;
	struct store_identity other = s->test->store;
	struct sealed_layer *layer;

	other.id[0] ^= 1;
	assert_err(sealed_layer_open(s->test->dir_fd, 7, &other, s->cache, NULL, &layer), -EXDEV);
}

/* The keys of the index, when the check reads them by themselves, beside the versions. */
static uint64_t keys_at;

static ssize_t read_all_but_keys(struct io_disk *disk, int fd, void *buffer, size_t size_bytes, uint64_t offset_bytes)
{
	return offset_bytes == keys_at ? -EIO : io_disk_real.read(disk, fd, buffer, size_bytes, offset_bytes);
}

static void count_finding(void *context, const struct finding *finding)
{
	(void)finding;
	++*(unsigned *)context;
}

static bool go_on(void *context, uint64_t bytes)
{
	(void)context;
	(void)bytes;
	return true;
}

/* What could not be compared is not said to be whole. */
static void a_check_that_cannot_read_the_keys_again_says_so(void **state)
{
	struct sealed_test *s = *state;
	const struct layer_check_target target = {
		.dir_fd = s->test->dir_fd, .store = &s->test->store, .layer_id = 7, .sealed = true,
		.start = s->footer.start, .end = s->footer.end, .chain_start = TEST_LAYER_CHAIN, .chain_known = true,
		.chain_end = s->footer.chain_end, .file_bytes = sealed_layer_file_bytes(s->layer),
	};
	unsigned count = 0;
	const struct check_hooks hooks = { count_finding, go_on, &count };
	struct layer_check_result result;
	struct io_disk disk = io_disk_real;

	assert_ok(layer_check(&target, &hooks, &result));
	assert_int_equal(count, 0);
	assert_false(result.index_bad);
	keys_at = (uint64_t)s->footer.key_block * LAYER_BLOCK_BYTES;
	disk.read = read_all_but_keys;
	io_disk_use(&disk);
	assert_ok(layer_check(&target, &hooks, &result));
	io_disk_use(&io_disk_real);
	assert_true(count > 0);
	assert_true(result.index_bad);
}

#define layer_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		layer_test(every_version_is_found_at_its_lsn),
		layer_test(the_file_is_no_longer_than_its_footer_says),
		layer_test(a_range_of_pages_is_found_in_one_visit),
		layer_test(a_small_cache_gives_the_same_answers),
		layer_test(no_flipped_bit_gives_a_wrong_answer),
		layer_test(a_cut_layer_is_refused),
		layer_test(a_layer_cut_under_its_reader_gives_errors),
		layer_test(a_layer_of_another_store_is_refused),
		layer_test(a_check_that_cannot_read_the_keys_again_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
