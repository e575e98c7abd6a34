/* The simulated disk does what a disk may do, no less; and io.h's loops hold over it. */
#include <fcntl.h>

#include "io.h"
#include "sim_disk.h"
#include "test_support.h"

#define ALL UINT32_MAX          /* of the writes, or of the sectors */

/* Keep write @write, of it the first @sectors. */
struct kept {
	uint32_t write, sectors;
};

static bool keep(void *context, uint32_t i, uint32_t sector)
{
	const struct kept *kept = context;

	return (kept->write == ALL || kept->write == i) && sector < kept->sectors;
}

static int setup_disk(void **state)
{
	struct sim_disk *disk = sim_disk_new(NULL);

	*state = disk;
	sim_disk_use(disk);
	return 0;
}

static int teardown_disk(void **state)
{
	struct sim_usage usage = sim_disk_usage(*state);

	sim_disk_use(NULL);
	assert_int_equal(usage.open_files, 0);
	assert_int_equal(usage.mappings, 0);
	sim_disk_free(*state);
	return 0;
}

static int root(void)
{
	int fd;

	assert_ok(io_open(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY, 0, &fd));
	return fd;
}

static int create(const char *name)
{
	int dir_fd = root(), fd;

	assert_ok(io_open(dir_fd, name, O_RDWR | O_CREAT, 0600, &fd));
	io_close(dir_fd);
	return fd;
}

static void sync_root(void)
{
	int dir_fd = root();

	assert_ok(io_sync_dir(dir_fd));
	io_close(dir_fd);
}

/* A file @name that is durably there. */
static int create_durable(const char *name)
{
	int fd = create(name);

	assert_ok(io_sync(fd));
	sync_root();
	return fd;
}

/* Walk to the end of the trace. */
static struct sim_replay *replay_all(struct sim_disk *disk)
{
	struct sim_replay *replay = sim_replay_new(disk);

	while (sim_replay_step(replay))
		;
	return replay;
}

/* The content of @name after a cut here, NUL-terminated; NULL: no such file. */
static char *after_cut_here(const struct sim_replay *replay, struct kept kept, const char *name)
{
	struct sim_state *state = sim_replay_cut(replay, keep, &kept);
	int64_t inode = sim_state_find(state, 0, name);
	char *bytes = NULL;

	if (inode >= 0) {
		const struct sim_inode *file = &state->inodes[inode];

		bytes = calloc(1, file->size_bytes + 1);
		assert_non_null(bytes);
		for (uint64_t i = 0; i < file->size_bytes; i++)
			bytes[i] = i / SIM_PAGE_BYTES < file->page_count
					   ? (char)sim_page_bytes(file->pages[i / SIM_PAGE_BYTES])
						     [i % SIM_PAGE_BYTES]
					   : '\0';
	}
	sim_state_free(state);
	return bytes;
}

static char *after_cut(struct sim_disk *disk, struct kept kept, const char *name)
{
	struct sim_replay *replay = replay_all(disk);
	char *bytes = after_cut_here(replay, kept, name);

	sim_replay_free(replay);
	return bytes;
}

static void assert_content(char *found, const char *expected)
{
	if (expected) {
		assert_non_null(found);
		assert_string_equal(found, expected);
	} else {
		assert_null(found);
	}
	free(found);
}

static void assert_after_cut(struct sim_disk *disk, struct kept kept, const char *name,
			     const char *expected)
{
	assert_content(after_cut(disk, kept, name), expected);
}

static const struct kept none = { 0, 0 }, all = { ALL, ALL };

static void what_was_not_synced_is_kept_or_lost(void **state)
{
	int fd = create_durable("file");

	assert_ok(io_write(fd, "before", 6, 0));
	assert_ok(io_sync(fd));
	assert_ok(io_write(fd, "after", 5, 0));
	assert_after_cut(*state, none, "file", "before");
	assert_after_cut(*state, all, "file", "aftere");
	assert_ok(io_sync(fd));
	assert_after_cut(*state, none, "file", "aftere");
	io_close(fd);
}

static void a_name_needs_its_directory_synced(void **state)
{
	int fd = create("file"), dir_fd = root();

	assert_ok(io_write(fd, "text", 4, 0));
	assert_ok(io_sync(fd));
	assert_after_cut(*state, none, "file", NULL);
	assert_after_cut(*state, all, "file", "text");
	assert_ok(io_sync_dir(dir_fd));
	assert_after_cut(*state, none, "file", "text");
	assert_ok(io_unlink(dir_fd, "file"));
	assert_after_cut(*state, none, "file", "text");
	assert_after_cut(*state, all, "file", NULL);
	io_close(fd);
	io_close(dir_fd);
}

static void check_names(const struct sim_replay *replay, struct kept kept, const char *name,
			const char *new)
{
	assert_content(after_cut_here(replay, kept, "name"), name);
	assert_content(after_cut_here(replay, kept, "new"), new);
}

static void a_rename_is_whole_or_not_at_all(void **state)
{
	int first = create_durable("name"), second = create_durable("new"), dir_fd = root();

	assert_ok(io_write(first, "first", 5, 0));
	assert_ok(io_sync(first));
	assert_ok(io_write(second, "second", 6, 0));
	assert_ok(io_sync(second));
	assert_ok(io_publish(dir_fd, "new", "name"));
	struct sim_replay *replay = sim_replay_new(*state);
	while (!replay->pending_count || replay->pending[0]->inode != 0 ||
	       !replay->pending[0]->unset[0])
		assert_non_null(sim_replay_step(replay));
	check_names(replay, none, "first", "second");
	check_names(replay, all, "second", NULL);
	sim_replay_free(replay);
	assert_after_cut(*state, none, "name", "second");
	assert_after_cut(*state, none, "new", NULL);
	io_close(first);
	io_close(second);
	io_close(dir_fd);
}

static void a_write_tears_between_sectors_and_loses_its_order(void **state)
{
	static uint8_t bytes[1024];
	char expected[1025] = { 0 };
	int fd = create_durable("file");

	assert_ok(io_write(fd, bytes, sizeof(bytes), 0));
	assert_ok(io_sync(fd));
	memset(bytes, 'a', sizeof(bytes));
	assert_ok(io_write(fd, bytes, sizeof(bytes), 0));
	memset(bytes, 'b', sizeof(bytes));
	assert_ok(io_write(fd, bytes, sizeof(bytes), 0));
	/* The first sector of the second write, over nothing of the first. */
	memset(expected, 'b', 512);
	assert_after_cut(*state, (struct kept){ 1, 1 }, "file", expected);
	/* The first write whole, though the second came after. */
	memset(expected, 'a', 1024);
	assert_after_cut(*state, (struct kept){ 0, ALL }, "file", expected);
	io_close(fd);
}

static void a_size_and_its_bytes_come_apart(void **state)
{
	int fd = create_durable("file");

	assert_ok(io_write(fd, "text", 4, 0));
	/* The size was first. */
	assert_after_cut(*state, (struct kept){ 0, ALL }, "file", "");
	char *found = after_cut(*state, (struct kept){ 1, ALL }, "file");
	assert_string_equal(found, "");
	free(found);
	assert_after_cut(*state, all, "file", "text");
	assert_ok(io_sync(fd));
	assert_ok(io_truncate(fd, 2));
	assert_after_cut(*state, none, "file", "text");
	assert_after_cut(*state, all, "file", "te");
	assert_ok(io_truncate(fd, 4));
	char now[5] = "....";
	assert_ok(io_read(fd, now, 4, 0));
	assert_memory_equal(now, "te\0\0", 4);
	io_close(fd);
}

static void a_store_through_a_mapping_is_an_unsynced_write(void **state)
{
	char found[4];
	void *map;
	int fd = create_durable("file");

	assert_ok(io_reserve(fd, 8192));
	assert_ok(io_sync(fd));
	assert_ok(io_map(fd, 8192, true, &map));
	memcpy((char *)map + 4094, "twin", 4);
	assert_ok(io_read(fd, found, 4, 4094));
	assert_memory_equal(found, "twin", 4);
	char *kept = after_cut(*state, (struct kept){ 0, 1 }, "file");
	assert_memory_equal(kept + 4094, "tw\0\0", 4);
	free(kept);
	kept = after_cut(*state, none, "file");
	assert_memory_equal(kept + 4094, "\0\0\0\0", 4);
	free(kept);
	/* A second store to a page that was looked at is seen as well. */
	assert_ok(io_sync(fd));
	memcpy((char *)map, "x", 1);
	sim_disk_mark(*state, 0, 0);
	memcpy((char *)map, "y", 1);
	sim_disk_mark(*state, 0, 0);
	kept = after_cut(*state, (struct kept){ 0, ALL }, "file");
	assert_memory_equal(kept, "x", 1);
	free(kept);
	kept = after_cut(*state, all, "file");
	assert_memory_equal(kept, "y", 1);
	free(kept);
	io_unmap(map, 8192);
	io_close(fd);
}

static void a_failed_sync_loses_what_it_should_have_written(void **state)
{
	int fd = create_durable("file");

	assert_ok(io_write(fd, "1234", 4, 0));
	assert_ok(io_sync(fd));
	assert_ok(io_write(fd, "5678", 4, 0));
	sim_disk_fail(*state, SIM_FAULT_EIO, 0, false);
	assert_err(io_sync(fd), -EIO);
	assert_int_equal(sim_disk_syncs_failed(*state), 1);
	assert_ok(io_sync(fd));
	assert_after_cut(*state, all, "file", "1234");
	io_close(fd);
}

/* ---- the loops of io.h ---- */

static void short_counts_are_gone_on_with(void **state)
{
	uint8_t bytes[1000], found[1000];
	struct iovec pieces[] = { { bytes, 300 }, { bytes + 300, 1 }, { bytes + 301, 699 } };
	int fd = create("file");

	seed_fill(1, bytes, sizeof(bytes));
	sim_disk_fail(*state, SIM_FAULT_SHORT, 0, true);
	assert_ok(io_write_vectors(fd, pieces, array_size(pieces), 5));
	assert_ok(io_read(fd, found, sizeof(found), 5));
	assert_memory_equal(found, bytes, sizeof(found));
	assert_true(sim_disk_faults_met(*state) > 10);
	io_close(fd);
}

static void interrupted_calls_are_made_again(void **state)
{
	char found[4];
	int fd;

	sim_disk_fail(*state, SIM_FAULT_EINTR, 0, true);
	fd = create("file");
	assert_ok(io_write(fd, "text", 4, 0));
	assert_ok(io_read(fd, found, 4, 0));
	assert_ok(io_truncate(fd, 2));
	assert_ok(io_reserve(fd, 4096));
	assert_ok(io_zero(fd, 0, 4096));
	assert_ok(io_sync(fd));
	sync_root();
	/* Opening the directory and the file, six calls, opening and syncing the directory. */
	assert_int_equal(sim_disk_faults_met(*state), 10);
	io_close(fd);
}

static void the_call_that_should_fail_fails_and_no_other(void **state)
{
	int fd = create("file");

	sim_disk_fail(*state, SIM_FAULT_ENOSPC, 1, false);
	assert_ok(io_write(fd, "text", 4, 0));
	assert_err(io_write(fd, "text", 4, 0), -ENOSPC);
	assert_ok(io_write(fd, "text", 4, 0));
	sim_disk_fail(*state, SIM_FAULT_EIO, 1, true);
	assert_ok(io_write(fd, "text", 4, 0));
	assert_err(io_write(fd, "text", 4, 0), -EIO);
	assert_err(io_sync(fd), -EIO);
	assert_err(io_truncate(fd, 0), -EIO);
	sim_disk_fail(*state, SIM_FAULT_NONE, 0, false);
	io_close(fd);
}

static int note_name(void *context, const char *name)
{
	char *names = context;

	strcat(strcat(names, name), " ");
	return strcmp(name, "stop") == 0 ? 7 : 0;
}

static void directories_are_made_listed_and_locked(void **state)
{
	char names[100] = "", *path;
	int dir_fd = root(), first, second;

	(void)state;
	assert_ok(io_make_dir(dir_fd, "dir"));
	assert_ok(io_make_dir(AT_FDCWD, "/dir"));
	io_close(create("dir/one"));
	assert_ok(io_list(dir_fd, "dir", note_name, names));
	assert_string_equal(names, "one ");
	io_close(create("dir/stop"));
	assert_err(io_list(dir_fd, "dir", note_name, names), 7);
	assert_err(io_list(dir_fd, "missing", note_name, names), -ENOENT);
	assert_ok(io_resolve("/dir/one", &path));
	assert_string_equal(path, "/dir/one");
	free(path);
	assert_err(io_open(AT_FDCWD, "/nowhere/one", O_RDONLY, 0, &first), -ENOENT);
	first = create("lock");
	second = create("lock");
	assert_ok(io_lock(first));
	assert_err(io_lock(second), -EBUSY);
	assert_err(io_lock_test(second), -EBUSY);
	io_close(first);
	assert_ok(io_lock_test(second));
	io_close(second);
	io_close(dir_fd);
}

#define disk_test(test) cmocka_unit_test_setup_teardown(test, setup_disk, teardown_disk)

int main(void)
{
	const struct CMUnitTest tests[] = {
		disk_test(what_was_not_synced_is_kept_or_lost),
		disk_test(a_name_needs_its_directory_synced),
		disk_test(a_rename_is_whole_or_not_at_all),
		disk_test(a_write_tears_between_sectors_and_loses_its_order),
		disk_test(a_size_and_its_bytes_come_apart),
		disk_test(a_store_through_a_mapping_is_an_unsynced_write),
		disk_test(a_failed_sync_loses_what_it_should_have_written),
		disk_test(short_counts_are_gone_on_with),
		disk_test(interrupted_calls_are_made_again),
		disk_test(the_call_that_should_fail_fails_and_no_other),
		disk_test(directories_are_made_listed_and_locked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
