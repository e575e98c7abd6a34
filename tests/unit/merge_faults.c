/*
 * A merge during which calls about files fail: what it was to keep can be read as before.
 */
#include <fcntl.h>

#include "io_disk.h"
#include "test_fixture.h"

/* The kernel's disk, of which one call fails. */
struct failing_disk {
	struct io_disk disk;
	_Atomic int reads_left, opens_left;     /* until the one that fails; 0: none does */
	int err;
};

static struct failing_disk failing;

static bool is_the_one(_Atomic int *left)
{
	return *left > 0 && --*left == 0;
}

static ssize_t failing_read(struct io_disk *disk, int fd, void *buffer, size_t size_bytes, uint64_t offset_bytes)
{
	(void)disk;
	if (is_the_one(&failing.reads_left))
		return failing.err;
	return io_disk_real.read(&io_disk_real, fd, buffer, size_bytes, offset_bytes);
}

static int failing_open(struct io_disk *disk, int dir_fd, const char *name, int flags, mode_t mode)
{
	(void)disk;
	if ((flags & O_ACCMODE) == O_RDONLY && is_the_one(&failing.opens_left))
		return failing.err;
	return io_disk_real.open(&io_disk_real, dir_fd, name, flags, mode);
}

static int setup(void **state)
{
	(void)state;
	failing.disk = io_disk_real;
	failing.disk.read = failing_read;
	failing.disk.open = failing_open;
	io_disk_use(&failing.disk);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	io_disk_use(&io_disk_real);
	return 0;
}

#define PAGES 8u
#define PAGE_BYTES 4096u

/* Pages of which the last versions are patches, over images that the window has passed. */
static uint64_t write_patched(struct fixture *fixture, uint8_t *bytes)
{
	struct store *store = fixture->store;
	uint64_t ino = make_file(store, TREE_ROOT_INO, "f");

	seed_fill(1, bytes, PAGES * PAGE_BYTES);
	write_bytes(store, ino, 0, bytes, PAGES * PAGE_BYTES);
	for (unsigned page = 0; page < PAGES; page++) {
		memset(bytes + page * PAGE_BYTES + 100, 'x', 10);
		write_bytes(store, ino, page * PAGE_BYTES + 100, bytes + page * PAGE_BYTES + 100, 10);
	}
	return ino;
}

/* Compact a store of which the @nth such call fails. True: there was none. */
static bool compact_with_fault(_Atomic int *left, int nth, int err, bool of_tables)
{
	const struct store_mkfs_options mkfs = { .page_size_bytes = PAGE_BYTES };
	struct fixture *fixture = fixture_new(&mkfs, NULL);
	static uint8_t bytes[PAGES * PAGE_BYTES];
	uint64_t ino = write_patched(fixture, bytes);
	bool none;

	if (of_tables)
		assert_ok(store_compact(fixture->store));
	/* Nothing of it is in a cache. */
	fixture_reopen(fixture);
	write_text(fixture->store, make_file(fixture->store, TREE_ROOT_INO, "g"), "behind");
	assert_ok(store_window_set(fixture->store, &(struct store_window){ .bytes = 1 }));
	assert_ok(store_freeze(fixture->store));
	failing.err = err;
	*left = nth;
	(void)store_compact(fixture->store);
	none = *left > 0;
	*left = 0;
	assert_bytes(fixture->store, ino, LSN_HEAD, 0, bytes, sizeof(bytes));
	fixture_reopen(fixture);
	assert_bytes(fixture->store, ino, LSN_HEAD, 0, bytes, sizeof(bytes));
	assert_ok(store_compact(fixture->store));
	assert_bytes(fixture->store, ino, LSN_HEAD, 0, bytes, sizeof(bytes));
	fixture_free(fixture);
	return none;
}

static void a_read_that_fails_once_costs_no_version(void **state)
{
	(void)state;
	for (unsigned of_tables = 0; of_tables < 2; of_tables++) {
		int nth = 1;

		while (!compact_with_fault(&failing.reads_left, nth, -EIO, of_tables))
			nth++;
		print_message("%d reads\n", nth - 1);
		assert_true(nth > 5);
	}
}

static void want_of_descriptors_costs_no_version(void **state)
{
	(void)state;
	for (unsigned of_tables = 0; of_tables < 2; of_tables++) {
		int nth = 1;

		while (!compact_with_fault(&failing.opens_left, nth, -EMFILE, of_tables))
			nth++;
		print_message("%d opens\n", nth - 1);
		assert_true(nth > 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_read_that_fails_once_costs_no_version),
		cmocka_unit_test(want_of_descriptors_costs_no_version),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
