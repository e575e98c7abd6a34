/*
 * A repair on a disk with a sector that can't be read: it costs what lies in the sector.
 */
#include <fcntl.h>
#include <unistd.h>

#include "io_disk.h"
#include "layer_file.h"
#include "test_check.h"
#include "test_fixture.h"

#define PAGE_BYTES 4096u
#define PAGES 16u
#define BAD_PAGE 5u

/* The kernel's disk, with a sector of one file that can't be read. */
static struct {
	struct io_disk disk;
	ino_t file;                     /* 0: all can be read */
	uint64_t sector;
} bad;

static ssize_t bad_read(struct io_disk *disk, int fd, void *buffer, size_t size_bytes, uint64_t offset_bytes)
{
	struct stat st;

	(void)disk;
	if (bad.file && fstat(fd, &st) == 0 && st.st_ino == bad.file &&
	    offset_bytes < bad.sector + PAGE_BYTES && offset_bytes + size_bytes > bad.sector)
		return -EIO;
	return io_disk_real.read(&io_disk_real, fd, buffer, size_bytes, offset_bytes);
}

static void read_file(const char *path, off_t offset, void *bytes, size_t size_bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	must(fd >= 0 && pread(fd, bytes, size_bytes, offset) == (ssize_t)size_bytes, "read", path);
	close(fd);
}

/* A sealed layer whose index is damaged, and in whose log a page lies where the disk is bad. */
static uint64_t make_damaged(struct fixture *fixture, uint8_t *bytes, char path_out[PATH_MAX])
{
	uint64_t ino = make_file(fixture->store, TREE_ROOT_INO, "f");
	struct stat st;
	off_t at;

	seed_fill(1, bytes, PAGES * PAGE_BYTES);
	write_bytes(fixture->store, ino, 0, bytes, PAGES * PAGE_BYTES);
	write_text(fixture->store, make_file(fixture->store, TREE_ROOT_INO, "g"), "behind");
	fixture_freeze(fixture);
	fixture_close(fixture);
	assert_true(dir_find_bytes(fixture->path, bytes + BAD_PAGE * PAGE_BYTES, 100, path_out, &at));
	must(stat(path_out, &st) == 0, "stat", path_out);
	file_flip(path_out, st.st_size - 3 * LAYER_BLOCK_BYTES);
	bad.file = st.st_ino;
	/* The sector in which the page begins has the end of the page before. */
	bad.sector = (uint64_t)at / PAGE_BYTES * PAGE_BYTES;
	return ino;
}

/* What was set aside is the file as it was, but for the sector. */
static void check_set_aside(struct fixture *fixture, const char *path)
{
	static uint8_t was[64 * KIB], aside[64 * KIB];
	char name[64], copy[PATH_MAX], damaged[PATH_MAX];
	uint64_t count = bad.sector < sizeof(was) ? bad.sector : sizeof(was);

	snprintf(name, sizeof(name), "%s.1", strrchr(path, '/') + 1);
	path_join(damaged, fixture->path, "damaged");
	path_join(copy, damaged, name);
	assert_true(count > PAGE_BYTES);
	read_file(path, LAYER_HEADER_BYTES, was, count - LAYER_HEADER_BYTES);
	read_file(copy, LAYER_HEADER_BYTES, aside, count - LAYER_HEADER_BYTES);
	assert_memory_equal(aside, was, count - LAYER_HEADER_BYTES);
	read_file(path, (off_t)bad.sector + PAGE_BYTES, was, PAGE_BYTES);
	read_file(copy, (off_t)bad.sector + PAGE_BYTES, aside, PAGE_BYTES);
	assert_memory_equal(aside, was, PAGE_BYTES);
}

static void a_bad_sector_costs_what_lies_in_it(void **state)
{
	const struct store_mkfs_options mkfs = { .page_size_bytes = PAGE_BYTES };
	struct fixture *fixture = fixture_new(&mkfs, NULL);
	static uint8_t bytes[PAGES * PAGE_BYTES], found[PAGE_BYTES];
	char path[PATH_MAX];
	uint64_t ino = make_damaged(fixture, bytes, path);
	struct check_run *run;
	size_t size;

	(void)state;
	bad.disk = io_disk_real;
	bad.disk.read = bad_read;
	io_disk_use(&bad.disk);
	run = check_run_new(fixture->path, true, 0);
	assert_ok(run->err);
	free(run);
	fixture_open(fixture);
	for (unsigned page = 0; page < PAGES; page++) {
		int err = tree_read(fixture->store, ino, LSN_HEAD, page * PAGE_BYTES, found, PAGE_BYTES, &size);

		if (page + 1 == BAD_PAGE || page == BAD_PAGE) {
			assert_err(err, -EBADMSG);
			continue;
		}
		assert_ok(err);
		assert_memory_equal(found, bytes + page * PAGE_BYTES, PAGE_BYTES);
	}
	assert_text(fixture->store, find_now(fixture->store, TREE_ROOT_INO, "g"), LSN_HEAD, "behind");
	check_set_aside(fixture, path);
	fixture_close(fixture);
	io_disk_use(&io_disk_real);
	fixture_free(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bad_sector_costs_what_lies_in_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
