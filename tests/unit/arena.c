/* Arena: reserved ahead, mapped, flushed by its tail. */
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "arena.h"
#include "test_place.h"

static void its_room_is_reserved_on_disk(void **state)
{
	struct place *place = *state;
	struct arena arena;
	struct stat st;

	assert_ok(arena_create(&arena, place->dir_fd, PLACE_FILE, 1 * MIB));
	must(!stat(place->path, &st), "stat", place->path);
	assert_int_equal(st.st_size, 1 * MIB);
	assert_true((uint64_t)st.st_blocks * 512 >= 1 * MIB);
	assert_int_equal(arena.capacity_bytes, 1 * MIB);
	for (uint64_t i = 0; i < 1 * MIB; i += 4096)
		assert_int_equal(arena.base[i], 0);
	arena_close(&arena);
}

static void no_room_is_no_arena_and_leaves_no_file(void **state)
{
	struct place *place = *state;
	struct arena arena;

	/* More than any disk of this decade. */
	int err = arena_create(&arena, place->dir_fd, PLACE_FILE, UINT64_C(1) << 50);
	assert_true(err == -ENOSPC || err == -EFBIG || err == -ENOMEM);
	assert_int_equal(access(place->path, F_OK), -1);
}

static void what_is_stored_is_in_the_file_at_once(void **state)
{
	struct place *place = *state;
	struct arena arena, again;

	assert_ok(arena_create(&arena, place->dir_fd, PLACE_FILE, 64 * KIB));
	seed_fill(1, arena.base + 5000, 20000);
	/* Opened beside, as after the death of the process. */
	assert_ok(arena_open(&again, place->dir_fd, PLACE_FILE, false));
	assert_int_equal(again.capacity_bytes, 64 * KIB);
	assert_memory_equal(again.base, arena.base, 64 * KIB);
	arena_close(&again);
	arena_close(&arena);
}

static void flushes_go_forward(void **state)
{
	struct place *place = *state;
	struct arena arena;

	assert_ok(arena_create(&arena, place->dir_fd, PLACE_FILE, 64 * KIB));
	assert_int_equal(atomic_load(&arena.flushed_bytes), 0);
	for (uint64_t tail = 100; tail <= 64 * KIB; tail += 7777) {
		memset(arena.base + tail - 100, 1, 100);
		assert_ok(arena_flush(&arena, tail));
		assert_int_equal(atomic_load(&arena.flushed_bytes), tail);
		assert_ok(arena_flush(&arena, tail));
		assert_int_equal(atomic_load(&arena.flushed_bytes), tail);
	}
	arena_close(&arena);
}

/* Where there is data next, as far as the file system tells; the arena's end: nowhere. */
static uint64_t data_from(const struct arena *arena, uint64_t from_bytes)
{
	off_t at = lseek(arena->fd, (off_t)from_bytes, SEEK_DATA);

	return at < 0 ? arena->capacity_bytes : (uint64_t)at;
}

static void a_small_flush_writes_blocks_behind_the_tail_and_a_large_one_does_not(void **state)
{
	struct place *place = *state;
	uint64_t large = 512 * KIB, small = large + 4000;
	struct arena arena, again;
	struct statfs fs;

	assert_ok(arena_create(&arena, place->dir_fd, PLACE_FILE, 1 * MIB));
	must(!fstatfs(arena.fd, &fs), "fstatfs", place->path);
	if (fs.f_type != EXT4_SUPER_MAGIC && fs.f_type != XFS_SUPER_MAGIC) {
		print_message("this file system gains nothing by it\n");
		arena_close(&arena);
		skip();
	}
	memset(arena.base, 1, large);
	assert_ok(arena_flush(&arena, large));
	assert_int_equal(data_from(&arena, large), 1 * MIB);
	memset(arena.base + large, 2, small - large);
	assert_ok(arena_flush(&arena, small));
	assert_int_equal(data_from(&arena, large + 8 * KIB), large + 8 * KIB);
	/* They are there for the next ones, and are zeros until then. */
	memset(arena.base + small, 3, 20000);
	assert_ok(arena_open(&again, place->dir_fd, PLACE_FILE, false));
	assert_memory_equal(again.base, arena.base, 1 * MIB);
	for (uint64_t at = small + 20000; at < 1 * MIB; at++)
		assert_int_equal(again.base[at], 0);
	arena_close(&again);
	/* Up to the last block, and not beyond. */
	for (uint64_t tail = small + 20000; tail < 1 * MIB; tail += 20000)
		assert_ok(arena_flush(&arena, tail));
	assert_ok(arena_flush(&arena, 1 * MIB));
	assert_int_equal(arena.base[1 * MIB - 1], 0);
	arena_close(&arena);
}

static void a_cleared_tail_is_zeros_and_still_reserved(void **state)
{
	struct place *place = *state;
	struct arena arena;
	struct stat st;
	static const uint64_t tails[] = { 60000, 8192, 8191, 4097, 1, 0 };
	uint8_t expected[64 * 1024];

	assert_ok(arena_create(&arena, place->dir_fd, PLACE_FILE, 64 * KIB));
	seed_fill(2, arena.base, 64 * KIB);
	memcpy(expected, arena.base, sizeof(expected));
	for (unsigned i = 0; i < array_size(tails); i++) {
		assert_ok(arena_clear_tail(&arena, tails[i]));
		memset(expected + tails[i], 0, sizeof(expected) - tails[i]);
		assert_memory_equal(arena.base, expected, sizeof(expected));
	}
	must(!stat(place->path, &st), "stat", place->path);
	assert_true((uint64_t)st.st_blocks * 512 >= 64 * KIB);
	arena_close(&arena);
}

static void odd_files_are_refused(void **state)
{
	struct place *place = *state;
	static const off_t sizes[] = { 0, 1, 4095, 4097 };
	struct arena arena;

	assert_err(arena_open(&arena, place->dir_fd, PLACE_FILE, true), -ENOENT);
	int fd = open(place->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	must(fd >= 0, "open", place->path);
	for (unsigned i = 0; i < array_size(sizes); i++) {
		must(!ftruncate(fd, sizes[i]), "truncate", place->path);
		assert_err(arena_open(&arena, place->dir_fd, PLACE_FILE, true), -EUCLEAN);
	}
	close(fd);
}

static void it_accounts_for_what_it_holds(void **state)
{
	struct place *place = *state;
	struct arena arena;

	assert_ok(arena_create(&arena, place->dir_fd, PLACE_FILE, 64 * KIB));
	arena_account(&arena, ARENA_PATCH, 10);
	arena_account(&arena, ARENA_IMAGE, 4096);
	arena_account(&arena, ARENA_PATCH, 20);
	assert_int_equal(atomic_load(&arena.held_bytes[ARENA_PATCH]), 30);
	assert_int_equal(atomic_load(&arena.held_bytes[ARENA_IMAGE]), 4096);
	assert_int_equal(atomic_load(&arena.held_bytes[ARENA_NAME]), 0);
	arena_close(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		place_test(its_room_is_reserved_on_disk),
		place_test(no_room_is_no_arena_and_leaves_no_file),
		place_test(what_is_stored_is_in_the_file_at_once),
		place_test(flushes_go_forward),
		place_test(a_small_flush_writes_blocks_behind_the_tail_and_a_large_one_does_not),
		place_test(a_cleared_tail_is_zeros_and_still_reserved),
		place_test(odd_files_are_refused),
		place_test(it_accounts_for_what_it_holds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
