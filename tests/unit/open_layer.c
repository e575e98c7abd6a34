/* Open layer: appended, read back, recovered to its last whole batch. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "fault.h"
#include "io_disk.h"
#include "test_layer.h"

static int setup(void **state)
{
	*state = test_layer_new();
	return 0;
}

static int teardown(void **state)
{
	test_layer_free(*state);
	return 0;
}

static void every_version_is_found_at_its_lsn(void **state)
{
	struct test_layer *test = *state;

	test_layer_append_many(test, 1500);
	test_layer_compare(test, &test->open->base, 5000);
	test_layer_compare_lists(test, &test->open->base);
}

static void lsns_are_positions(void **state)
{
	struct test_layer *test = *state;
	uint64_t end = TEST_LAYER_START;
	struct batch_entry entry = { .key = key_make(20, KEY_ATTR, 0), .form = VERSION_IMAGE,
				     .head_bytes = 5 };
	size_t size = batch_size(&entry, 1);
	struct lease lease;

	for (unsigned i = 0; i < 100; i++) {
		assert_ok(open_layer_lease(test->open, size, 1, 5, &lease));
		end += size;
		assert_int_equal(lease.lsn.value, end);
		assert_int_equal(lease.at, LAYER_HEADER_BYTES + end - size - TEST_LAYER_START);
		lease_fill(&lease, &entry, 1, lsn_make(TEST_LAYER_START));
		lease_publish(&lease, &entry, 1);
		assert_int_equal(open_layer_end(test->open).value, end);
	}
}

static void leases_are_filled_in_any_order_and_published_in_theirs(void **state)
{
	struct test_layer *test = *state;
	struct batch_entry entries[8] = { 0 };
	struct lease leases[8];
	struct version found;

	for (unsigned i = 0; i < 8; i++) {
		entries[i] = (struct batch_entry){ .key = key_make(20 + i, KEY_ATTR, 0),
						   .form = VERSION_IMAGE, .head_bytes = i };
		assert_ok(open_layer_lease(test->open, batch_size(&entries[i], 1), 1, 5,
					   &leases[i]));
	}
	for (unsigned i = 8; i > 0; i--)
		lease_fill(&leases[i - 1], &entries[i - 1], 1, lsn_make(TEST_LAYER_START));
	assert_int_equal(open_layer_end(test->open).value, TEST_LAYER_START);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(layer_find(&test->open->base, entries[i].key, leases[i].lsn,
					    &found), 1);
		lease_publish(&leases[i], &entries[i], 1);
		assert_ok(layer_find(&test->open->base, entries[i].key, leases[i].lsn, &found));
		assert_int_equal(open_layer_end(test->open).value, leases[i].lsn.value);
	}
}

static void a_full_layer_says_so_and_can_still_be_sealed(void **state)
{
	struct test_layer *test = *state;
	struct layer_footer footer;

	while (test_layer_append(test))
		;
	assert_true(test->batch_count > 1000);
	test_layer_compare(test, &test->open->base, 500);
	assert_ok(open_layer_seal(test->open, &footer));
	/* Readers of the open layer go on. */
	test_layer_compare(test, &test->open->base, 500);
	assert_int_equal(footer.end.value, open_layer_end(test->open).value);
	assert_int_equal(footer.version_count, test->version_count);
}

static void recover(struct test_layer *test, struct open_layer_recovery *recovery)
{
	test_layer_close(test);
	assert_ok(open_layer_recover(test->dir_fd, 7, &test->store, lsn_make(TEST_LAYER_START),
				     TEST_LAYER_CHAIN, lsn_make(0), true, &test->open, recovery));
}

/* Forget the versions beyond @end. */
static void forget_beyond(struct test_layer *test, struct lsn end)
{
	while (test->version_count &&
	       test->versions[test->version_count - 1].lsn.value > end.value)
		test->version_count--;
}

static void recovery_finds_all_that_was_published(void **state)
{
	struct test_layer *test = *state;
	struct open_layer_recovery recovery;

	test_layer_append_many(test, 800);
	struct lsn end = open_layer_end(test->open);
	recover(test, &recovery);
	assert_true(recovery.started);
	assert_int_equal(open_layer_end(test->open).value, end.value);
	test_layer_compare(test, &test->open->base, 2000);
	test_layer_compare_lists(test, &test->open->base);
	/* And goes on where it ended. */
	assert_ok(open_layer_clear_tail(test->open));
	test_layer_append_many(test, 300);
	recover(test, &recovery);
	test_layer_compare(test, &test->open->base, 2000);
}

/* Nobody was told of it: it may be there, but whole, or not at all. */
static void a_lease_that_was_not_published_is_there_whole_or_not_at_all(void **state)
{
	struct test_layer *test = *state;
	struct batch_entry entry = { .key = key_make(20, KEY_ATTR, 0), .form = VERSION_IMAGE,
				     .head_bytes = 5, .head = "whole" };
	struct open_layer_recovery recovery;
	struct version found;
	struct lease lease;
	uint8_t scratch[8];
	const uint8_t *payload;

	test_layer_append_many(test, 10);
	struct lsn end = open_layer_end(test->open);
	assert_ok(open_layer_lease(test->open, batch_size(&entry, 1), 1, 5, &lease));
	lease_fill(&lease, &entry, 1, end);
	recover(test, &recovery);
	if (open_layer_end(test->open).value != end.value) {
		assert_int_equal(open_layer_end(test->open).value, lease.lsn.value);
		assert_ok(layer_find(&test->open->base, entry.key, lease.lsn, &found));
		assert_int_equal(found.lsn.value, lease.lsn.value);
		assert_ok(version_load(&found, scratch, &payload));
		assert_memory_equal(payload, "whole", 5);
	}
	for (size_t i = 0; i < test->version_count; i++) {
		assert_ok(layer_find(&test->open->base, test->versions[i].key,
				     test->versions[i].lsn, &found));
		test_version_check(&found, &test->versions[i]);
	}
}

static void a_filled_lease_behind_an_unfilled_one_is_not_history(void **state)
{
	struct test_layer *test = *state;
	struct batch_entry entries[2] = {
		{ .key = key_make(20, KEY_ATTR, 0), .form = VERSION_IMAGE, .head_bytes = 5 },
		{ .key = key_make(21, KEY_ATTR, 0), .form = VERSION_IMAGE, .head_bytes = 5 },
	};
	struct open_layer_recovery recovery;
	struct lease leases[2];

	test_layer_append_many(test, 10);
	struct lsn end = open_layer_end(test->open);
	for (unsigned i = 0; i < 2; i++)
		assert_ok(open_layer_lease(test->open, batch_size(&entries[i], 1), 1, 5,
					   &leases[i]));
	lease_fill(&leases[1], &entries[1], 1, end);
	recover(test, &recovery);
	assert_int_equal(open_layer_end(test->open).value, end.value);
	test_layer_compare(test, &test->open->base, 500);
}

/* Whatever byte of the log is wrong, the history ends before its batch. */
static void a_flipped_byte_ends_the_history_before_it(void **state)
{
	struct test_layer *test = *state;
	struct open_layer_recovery recovery;
	struct prng prng = { test_seed() };

	test_layer_append_many(test, 200);
	struct lsn end = open_layer_end(test->open);
	size_t version_count = test->version_count;
	for (unsigned i = 0; i < 300; i++) {
		uint64_t at = prng_below(&prng, end.value - TEST_LAYER_START);
		uint8_t *byte = test->open->arena.base + LAYER_HEADER_BYTES + at;
		uint8_t right = *byte;
		uint64_t expected = TEST_LAYER_START;

		for (size_t v = 0; v < test->version_count; v++) {
			if (test->versions[v].lsn.value <= TEST_LAYER_START + at)
				expected = test->versions[v].lsn.value;
		}
		*byte ^= 1 + prng_below(&prng, 255);
		recover(test, &recovery);
		assert_int_equal(open_layer_end(test->open).value, expected);
		forget_beyond(test, lsn_make(expected));
		if (test->version_count)
			test_layer_compare(test, &test->open->base, 20);
		test->version_count = version_count;
		test->open->arena.base[LAYER_HEADER_BYTES + at] = right;
	}
	recover(test, &recovery);
	assert_int_equal(open_layer_end(test->open).value, end.value);
}

static void a_layer_behind_another_history_counts_as_a_spare(void **state)
{
	struct test_layer *test = *state;
	struct open_layer_recovery recovery;

	test_layer_append_many(test, 10);
	test_layer_close(test);
	assert_ok(open_layer_recover(test->dir_fd, 7, &test->store, lsn_make(TEST_LAYER_START),
				     TEST_LAYER_CHAIN + 1, lsn_make(0), false, &test->open, &recovery));
	assert_false(recovery.started);
	test_layer_close(test);
	assert_ok(open_layer_recover(test->dir_fd, 7, &test->store,
				     lsn_make(TEST_LAYER_START + 1), TEST_LAYER_CHAIN,
				     lsn_make(0), false,
				     &test->open, &recovery));
	assert_false(recovery.started);
}

static void a_layer_of_another_store_is_refused(void **state)
{
	struct test_layer *test = *state;
	struct store_identity other = test->store;
	struct open_layer_recovery recovery;

	test_layer_append_many(test, 10);
	test_layer_close(test);
	other.id[3] ^= 1;
	assert_err(open_layer_recover(test->dir_fd, 7, &other, lsn_make(TEST_LAYER_START),
				      TEST_LAYER_CHAIN, lsn_make(0), false, &test->open, &recovery), -EXDEV);
	assert_null(test->open);
	assert_err(open_layer_recover(test->dir_fd, 8, &test->store, lsn_make(TEST_LAYER_START),
				      TEST_LAYER_CHAIN, lsn_make(0), false, &test->open, &recovery), -ENOENT);
}

/* One that no program of ours would make, with checksums that are right: the index in memory has names of an inode
 * under a kind of its own. */
static void a_batch_of_a_kind_that_is_none_ends_the_history(void **state)
{
	struct test_layer *test = *state;
	struct batch_entry name = { .key = key_make(20, KEY_NAME, 1), .form = VERSION_TOMBSTONE };
	struct batch_entry none = { .key = { 20, UINT64_C(0xff) << KEY_INDEX_BITS }, .form = VERSION_IMAGE };
	struct open_layer_recovery recovery;
	struct lease lease;
	struct lsn end;

	assert_ok(open_layer_lease(test->open, batch_size(&name, 1), 1, 5, &lease));
	assert_ok(lease_fill(&lease, &name, 1, lsn_make(TEST_LAYER_START)));
	assert_ok(lease_publish(&lease, &name, 1));
	end = open_layer_end(test->open);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t chain = lease.chain;

		assert_ok(open_layer_lease(test->open, batch_size(&none, 1), 1, 5, &lease));
		assert_ok(lease_fill(&lease, &none, 1, lsn_make(TEST_LAYER_START)));
		if (i)
			lease.chain = batch_finish(test->open->arena.base + lease.at, lease.heads_bytes, chain);
	}
	recover(test, &recovery);
	assert_int_equal(open_layer_end(test->open).value, end.value);
}

/* Nothing is lost, but there is no room left for the index that sealing adds. */
static void a_file_cut_short_behind_its_log_is_refused(void **state)
{
	struct test_layer *test = *state;
	struct open_layer_recovery recovery;
	uint64_t tail;

	test_layer_append_many(test, 20);
	tail = atomic_load(&test->open->tail);
	test_layer_close(test);
	assert_int_equal(truncate(test->path, (off_t)((tail + 4095) / 4096 * 4096)), 0);
	assert_err(open_layer_recover(test->dir_fd, 7, &test->store, lsn_make(TEST_LAYER_START),
				      TEST_LAYER_CHAIN, lsn_make(0), true, &test->open, &recovery), -EUCLEAN);
}

/* cmocka takes SIGBUS for itself at each test's beginning: give it back. */
static struct sigaction of_the_core;

static int do_nothing(void *context)
{
	(void)context;
	return 0;
}

/* A file cut while it is mapped, as a disk that can't be read, is SIGBUS. */
static int map_and_cut(struct io_disk *disk, int fd, size_t size_bytes, bool writable, void **map_out)
{
	int err = io_disk_real.map(disk, fd, size_bytes, writable, map_out);

	return err ? err : io_disk_real.truncate(disk, fd, LAYER_HEADER_BYTES);
}

/* Whatever is mapped from now on can't be read behind its header; NULL: no more. */
static void use_cutting_disk(struct io_disk *disk)
{
	if (disk) {
		must(!sigaction(SIGBUS, &of_the_core, NULL), "sigaction", "SIGBUS");
		*disk = io_disk_real;
		disk->map = map_and_cut;
	}
	io_disk_use(disk ? disk : &io_disk_real);
}

static void a_log_that_cannot_be_read_is_an_error_to_recovery(void **state)
{
	struct test_layer *test = *state;
	struct open_layer_recovery recovery;
	struct io_disk disk;

	test_layer_append_many(test, 100);
	test_layer_close(test);
	use_cutting_disk(&disk);
	assert_err(open_layer_recover(test->dir_fd, 7, &test->store, lsn_make(TEST_LAYER_START),
				      TEST_LAYER_CHAIN, lsn_make(0), true, &test->open, &recovery), -EIO);
	use_cutting_disk(NULL);
	assert_null(test->open);
}

static void a_copy_that_cannot_be_read_is_an_error_to_rebuilding(void **state)
{
	struct test_layer *test = *state;
	struct io_disk disk;
	struct layer_footer footer;
	uint64_t file_bytes;

	test_layer_append_many(test, 100);
	assert_ok(open_layer_seal(test->open, &footer));
	test_layer_close(test);
	use_cutting_disk(&disk);
	assert_err(open_layer_rebuild(test->dir_fd, 7, &test->store, &footer, "new", &file_bytes), -EIO);
	use_cutting_disk(NULL);
	assert_int_equal(faccessat(test->dir_fd, "new", F_OK, 0), -1);
}

/* A disk that can't zero a range, of a file that is cut meanwhile. */
static int cut_and_refuse(struct io_disk *disk, int fd, int mode, uint64_t from_bytes, uint64_t size_bytes)
{
	(void)mode;
	(void)from_bytes;
	(void)size_bytes;
	return io_disk_real.truncate(disk, fd, LAYER_HEADER_BYTES) ? -EIO : -EOPNOTSUPP;
}

static void a_tail_that_cannot_be_cleared_is_an_error(void **state)
{
	struct test_layer *test = *state;
	struct open_layer_recovery recovery;
	struct io_disk disk;

	test_layer_append_many(test, 100);
	recover(test, &recovery);
	use_cutting_disk(&disk);
	disk.allocate = cut_and_refuse;
	assert_err(open_layer_clear_tail(test->open), -EIO);
	use_cutting_disk(NULL);
}

/* A write that failed behind the back of those that sync is told to one of them, as the kernel has it. */
static unsigned syncs_that_fail;

static int sync_and_tell_once(struct io_disk *disk, int fd)
{
	if (!syncs_that_fail)
		return io_disk_real.sync(disk, fd);
	syncs_that_fail--;
	return -EIO;
}

/* Versions to be synced, and the next sync fails until io_disk_real is used again. */
static void fail_next_sync(struct test_layer *test)
{
	static struct io_disk disk;

	test_layer_append_many(test, 100);
	disk = io_disk_real;
	disk.sync = sync_and_tell_once;
	io_disk_use(&disk);
	syncs_that_fail = 1;
}

static void a_sync_that_failed_is_told_to_all_that_sync(void **state)
{
	struct test_layer *test = *state;
	struct layer_footer footer;

	fail_next_sync(test);
	assert_err(open_layer_seal(test->open, &footer), -EIO);
	assert_err(open_layer_flush(test->open), -EIO);
	assert_int_equal(atomic_load(&test->open->arena.flushed_bytes), 0);
	io_disk_use(&io_disk_real);
}

static void a_layer_whose_flush_failed_is_not_sealed(void **state)
{
	struct test_layer *test = *state;
	struct layer_footer footer;

	fail_next_sync(test);
	assert_err(open_layer_flush(test->open), -EIO);
	assert_err(open_layer_seal(test->open, &footer), -EIO);
	assert_true(atomic_load(&test->open->sync_failed));
	io_disk_use(&io_disk_real);
}

#define layer_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		layer_test(every_version_is_found_at_its_lsn),
		layer_test(lsns_are_positions),
		layer_test(leases_are_filled_in_any_order_and_published_in_theirs),
		layer_test(a_full_layer_says_so_and_can_still_be_sealed),
		layer_test(recovery_finds_all_that_was_published),
		layer_test(a_lease_that_was_not_published_is_there_whole_or_not_at_all),
		layer_test(a_filled_lease_behind_an_unfilled_one_is_not_history),
		layer_test(a_flipped_byte_ends_the_history_before_it),
		layer_test(a_layer_behind_another_history_counts_as_a_spare),
		layer_test(a_layer_of_another_store_is_refused),
		layer_test(a_batch_of_a_kind_that_is_none_ends_the_history),
		layer_test(a_file_cut_short_behind_its_log_is_refused),
		layer_test(a_log_that_cannot_be_read_is_an_error_to_recovery),
		layer_test(a_copy_that_cannot_be_read_is_an_error_to_rebuilding),
		layer_test(a_tail_that_cannot_be_cleared_is_an_error),
		layer_test(a_sync_that_failed_is_told_to_all_that_sync),
		layer_test(a_layer_whose_flush_failed_is_not_sealed),
	};

	fault_guarded(do_nothing, NULL);
	sigaction(SIGBUS, NULL, &of_the_core);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
