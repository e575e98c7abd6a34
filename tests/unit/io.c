/* I/O: the whole effect or an errno, locks that tell files apart, names that appear whole. */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io.h"
#include "test_place.h"

static int open_file(struct place *place)
{
	int fd;

	assert_ok(io_open(place->dir_fd, PLACE_FILE, O_RDWR | O_CREAT, 0600, &fd));
	return fd;
}

static uint64_t size_of(int fd)
{
	uint64_t size;

	assert_ok(io_size(fd, &size));
	return size;
}

static void what_is_written_is_read_back_at_its_offset(void **state)
{
	uint8_t bytes[10000], found[sizeof(bytes)];
	int fd = open_file(*state);

	seed_fill(1, bytes, sizeof(bytes));
	assert_ok(io_write(fd, bytes, sizeof(bytes), 12345));
	assert_int_equal(size_of(fd), 12345 + sizeof(bytes));
	assert_ok(io_read(fd, found, sizeof(found), 12345));
	assert_memory_equal(found, bytes, sizeof(bytes));
	assert_ok(io_read(fd, found, 10, 12345 + 77));
	assert_memory_equal(found, bytes + 77, 10);
	assert_ok(io_read(fd, found, 0, 99999));
	io_close(fd);
}

static void a_read_past_the_end_is_damage(void **state)
{
	uint8_t bytes[100] = { 0 };
	int fd = open_file(*state);

	assert_ok(io_write(fd, bytes, sizeof(bytes), 0));
	assert_err(io_read(fd, bytes, sizeof(bytes), 1), -EUCLEAN);
	assert_err(io_read(fd, bytes, 1, 100), -EUCLEAN);
	io_close(fd);
}

/* More pieces than one call takes, some of them empty. */
static void many_pieces_arrive_in_order(void **state)
{
	enum { PIECES = 2 * IOV_MAX + 3 };
	static uint8_t bytes[PIECES * 7], found[sizeof(bytes)];
	static struct iovec pieces[PIECES];
	struct prng prng = { test_seed() };
	int fd = open_file(*state);
	size_t size = 0;

	seed_fill(2, bytes, sizeof(bytes));
	for (unsigned i = 0; i < PIECES; i++) {
		pieces[i] = (struct iovec){ bytes + size, prng_below(&prng, 8) };
		size += pieces[i].iov_len;
	}
	assert_ok(io_write_vectors(fd, pieces, PIECES, 50));
	assert_int_equal(size_of(fd), 50 + size);
	assert_ok(io_read(fd, found, size, 50));
	assert_memory_equal(found, bytes, size);
	io_close(fd);
}

/* The kernel first writes as much as it may, then refuses the rest. */
static void a_write_cut_short_is_an_error(void **state)
{
	static uint8_t bytes[20000];
	struct iovec pieces[] = { { bytes, 6000 }, { bytes, 6000 }, { bytes, 6000 } };
	struct rlimit before, limit;
	int fd = open_file(*state);

	must(!getrlimit(RLIMIT_FSIZE, &before), "getrlimit", "file size");
	limit = before;
	limit.rlim_cur = 10000;
	signal(SIGXFSZ, SIG_IGN);
	must(!setrlimit(RLIMIT_FSIZE, &limit), "setrlimit", "file size");
	int err = io_write(fd, bytes, sizeof(bytes), 0);
	uint64_t size = size_of(fd);
	int vectors_err = io_write_vectors(fd, pieces, array_size(pieces), 0);
	int allowed_err = io_write(fd, bytes, 10000, 0);
	must(!setrlimit(RLIMIT_FSIZE, &before), "setrlimit", "file size");
	signal(SIGXFSZ, SIG_DFL);
	assert_err(err, -EFBIG);
	assert_int_equal(size, 10000);
	assert_err(vectors_err, -EFBIG);
	assert_ok(allowed_err);
	io_close(fd);
}

static int note_name(void *context, const char *name)
{
	strcat(strcat(context, name), " ");
	return strcmp(name, "stop") == 0 ? 7 : 0;
}

static void a_directory_is_listed_without_its_dots(void **state)
{
	struct place *place = *state;
	char names[100] = "";
	int fd;

	assert_ok(io_make_dir(place->dir_fd, "dir"));
	assert_ok(io_make_dir(place->dir_fd, "dir"));
	assert_ok(io_list(place->dir_fd, "dir", note_name, names));
	assert_string_equal(names, "");
	assert_ok(io_open(place->dir_fd, "dir/one", O_WRONLY | O_CREAT, 0600, &fd));
	io_close(fd);
	assert_ok(io_list(place->dir_fd, "dir", note_name, names));
	assert_string_equal(names, "one ");
	assert_ok(io_open(place->dir_fd, "dir/stop", O_WRONLY | O_CREAT, 0600, &fd));
	io_close(fd);
	assert_err(io_list(place->dir_fd, "dir", note_name, names), 7);
}

static void a_mapping_is_the_file(void **state)
{
	int fd = open_file(*state);
	char found[4];
	size_t count;
	void *map;

	assert_ok(io_reserve(fd, 8192));
	assert_ok(io_map(fd, 8192, true, &map));
	memcpy((char *)map + 4094, "text", 4);
	io_unmap_pages((char *)map, 8192);
	assert_ok(io_read(fd, found, 4, 4094));
	assert_memory_equal(found, "text", 4);
	assert_memory_equal((char *)map + 4094, "text", 4);
	assert_ok(io_read_up_to(fd, found, 4, 8190, &count));
	assert_int_equal(count, 2);
	io_unmap(map, 8192);
	io_close(fd);
}

static void errors_travel_unchanged(void **state)
{
	struct place *place = *state;
	uint8_t byte = 0, *bytes = &byte;
	struct iovec piece = { &byte, 1 };
	char names[100] = "", *path;
	size_t slurped = 1;
	uint64_t size = 1;
	int fd = 77;
	void *map;

	assert_err(io_open(place->dir_fd, "missing", O_RDONLY, 0, &fd), -ENOENT);
	assert_int_equal(fd, -1);
	io_close(fd);
	assert_err(io_read(-1, &byte, 1, 0), -EBADF);
	assert_err(io_write(-1, &byte, 1, 0), -EBADF);
	assert_err(io_write_vectors(-1, &piece, 1, 0), -EBADF);
	assert_err(io_size(-1, &size), -EBADF);
	assert_int_equal(size, 0);
	assert_err(io_truncate(-1, 0), -EBADF);
	assert_err(io_reserve(-1, 4096), -EBADF);
	assert_err(io_zero(-1, 0, 4096), -EBADF);
	assert_err(io_sync(-1), -EBADF);
	assert_err(io_sync_dir(-1), -EBADF);
	assert_err(io_lock(-1), -EBADF);
	assert_err(io_lock_test(-1), -EBADF);
	assert_err(io_list(place->dir_fd, "missing", note_name, names), -ENOENT);
	assert_err(io_make_dir(place->dir_fd, "missing/dir"), -ENOENT);
	assert_err(io_resolve("/missing/dir", &path), -ENOENT);
	assert_null(path);
	assert_err(io_map(-1, 4096, false, &map), -EBADF);
	assert_null(map);
	assert_err(io_publish(place->dir_fd, "missing", "other"), -ENOENT);
	assert_err(io_slurp(place->dir_fd, "missing", 100, &bytes, &slurped), -ENOENT);
	assert_null(bytes);
	assert_int_equal(slurped, 0);
	assert_ok(io_open(AT_FDCWD, "/dev/full", O_WRONLY, 0, &fd));
	assert_err(io_write(fd, &byte, 1, 0), -ENOSPC);
	piece = (struct iovec){ &byte, 1 };
	assert_err(io_write_vectors(fd, &piece, 1, 0), -ENOSPC);
	io_close(fd);
}

static void no_descriptor_is_left_to_a_child_program(void **state)
{
	int fd = open_file(*state);

	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	io_close(fd);
}

static void a_file_is_cut_and_grown(void **state)
{
	uint8_t bytes[1000], expected[1000] = { 0 };
	int fd = open_file(*state);

	seed_fill(3, bytes, sizeof(bytes));
	memcpy(expected, bytes, 300);
	assert_ok(io_write(fd, bytes, sizeof(bytes), 0));
	assert_ok(io_truncate(fd, 300));
	assert_int_equal(size_of(fd), 300);
	assert_ok(io_truncate(fd, 1000));
	assert_ok(io_read(fd, bytes, sizeof(bytes), 0));
	assert_memory_equal(bytes, expected, sizeof(bytes));
	io_close(fd);
}

static uint64_t blocks_of(int fd)
{
	struct stat st;

	must(!fstat(fd, &st), "stat", "the file");
	return (uint64_t)st.st_blocks * 512;
}

static void check_reserved(int fd)
{
	static uint8_t found[200000];
	uint8_t bytes[5000];

	seed_fill(4, bytes, sizeof(bytes));
	require(!io_write(fd, bytes, sizeof(bytes), 0));
	require(!io_reserve(fd, sizeof(found)));
	require(blocks_of(fd) >= sizeof(found));
	/* Less than there is changes nothing. */
	require(!io_reserve(fd, 100));
	require(size_of(fd) == sizeof(found));
	require(!io_read(fd, found, sizeof(found), 0));
	require(!memcmp(found, bytes, sizeof(bytes)));
	for (size_t i = sizeof(bytes); i < sizeof(found); i++)
		require(!found[i]);
}

static void a_reserved_file_has_its_blocks_and_keeps_its_bytes(void **state)
{
	int fd = open_file(*state);

	check_reserved(fd);
	io_close(fd);
}

/* A file system without fallocate, as this child finds all of them. */
static void forbid_fallocate(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fallocate, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { array_size(filter), filter };

	require(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	require(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

static void where_nothing_can_be_reserved_zeros_are_written(void **state)
{
	int fd = open_file(*state), status;
	pid_t child = fork();

	must(child >= 0, "fork", "a child");
	if (!child) {
		forbid_fallocate();
		check_reserved(fd);
		require(io_zero(fd, 0, 4096) == -EOPNOTSUPP);
		_exit(0);
	}
	must(waitpid(child, &status, 0) == child, "wait for", "the child");
	assert_int_equal(status, 0);
	io_close(fd);
}

static void zeroed_bytes_stay_reserved(void **state)
{
	static uint8_t bytes[100000], found[sizeof(bytes)];
	int fd = open_file(*state);

	seed_fill(5, bytes, sizeof(bytes));
	assert_ok(io_write(fd, bytes, sizeof(bytes), 0));
	assert_ok(io_sync(fd));
	assert_ok(io_zero(fd, 500, 500));
	int err = io_zero(fd, 5001, 90003);
	if (err == -EOPNOTSUPP) {
		print_message("SKIPPED: the file system of $TMPDIR can't zero a range\n");
		io_close(fd);
		skip();
	}
	assert_ok(err);
	memset(bytes + 5001, 0, 90003 - 5001);
	assert_int_equal(size_of(fd), sizeof(bytes));
	assert_true(blocks_of(fd) >= sizeof(bytes));
	assert_ok(io_read(fd, found, sizeof(found), 0));
	assert_memory_equal(found, bytes, sizeof(bytes));
	io_close(fd);
}

static void a_published_file_takes_the_place_of_the_one_before(void **state)
{
	struct place *place = *state;
	uint8_t *bytes;
	size_t size;
	int fd;

	fd = open_file(place);
	assert_ok(io_write(fd, "before", 6, 0));
	io_close(fd);
	assert_ok(io_open(place->dir_fd, "new", O_WRONLY | O_CREAT, 0600, &fd));
	assert_ok(io_write(fd, "after", 5, 0));
	assert_ok(io_sync(fd));
	io_close(fd);
	assert_ok(io_publish(place->dir_fd, "new", PLACE_FILE));
	assert_ok(io_slurp(place->dir_fd, PLACE_FILE, 100, &bytes, &size));
	assert_int_equal(size, 5);
	assert_memory_equal(bytes, "after", 5);
	free(bytes);
	assert_err(io_open(place->dir_fd, "new", O_RDONLY, 0, &fd), -ENOENT);
}

static void unlinking_what_is_gone_is_no_error(void **state)
{
	struct place *place = *state;

	io_close(open_file(place));
	assert_ok(io_unlink(place->dir_fd, PLACE_FILE));
	assert_int_equal(access(place->path, F_OK), -1);
	assert_ok(io_unlink(place->dir_fd, PLACE_FILE));
	must(!mkdirat(place->dir_fd, "dir", 0700), "mkdir", "dir");
	assert_err(io_unlink(place->dir_fd, "dir"), -EISDIR);
}

static void a_lock_belongs_to_the_open_file(void **state)
{
	int first = open_file(*state), second = open_file(*state);

	assert_ok(io_lock_test(first));
	assert_ok(io_lock_test(second));
	/* The tests took nothing, or the other could not have it. */
	assert_ok(io_lock(first));
	assert_ok(io_lock(first));
	/* The same process, but not the same open file. */
	assert_err(io_lock(second), -EBUSY);
	assert_err(io_lock_test(second), -EBUSY);
	/* Closing another descriptor of the file gives nothing up, as a POSIX lock would. */
	io_close(open_file(*state));
	assert_err(io_lock_test(second), -EBUSY);
	io_close(first);
	assert_ok(io_lock_test(second));
	assert_ok(io_lock(second));
	io_close(second);
}

static void a_small_file_is_read_whole(void **state)
{
	struct place *place = *state;
	uint8_t *bytes;
	size_t size = 1;
	int fd = open_file(place);

	assert_ok(io_slurp(place->dir_fd, PLACE_FILE, 0, &bytes, &size));
	assert_non_null(bytes);
	assert_int_equal(size, 0);
	free(bytes);
	assert_ok(io_write(fd, "twelve bytes", 12, 0));
	assert_ok(io_slurp(place->dir_fd, PLACE_FILE, 12, &bytes, &size));
	assert_int_equal(size, 12);
	assert_memory_equal(bytes, "twelve bytes", 12);
	free(bytes);
	assert_err(io_slurp(place->dir_fd, PLACE_FILE, 11, &bytes, &size), -EFBIG);
	assert_null(bytes);
	assert_int_equal(size, 0);
	io_close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		place_test(what_is_written_is_read_back_at_its_offset),
		place_test(a_read_past_the_end_is_damage),
		place_test(many_pieces_arrive_in_order),
		place_test(a_write_cut_short_is_an_error),
		place_test(a_directory_is_listed_without_its_dots),
		place_test(a_mapping_is_the_file),
		place_test(errors_travel_unchanged),
		place_test(no_descriptor_is_left_to_a_child_program),
		place_test(a_file_is_cut_and_grown),
		place_test(a_reserved_file_has_its_blocks_and_keeps_its_bytes),
		place_test(where_nothing_can_be_reserved_zeros_are_written),
		place_test(zeroed_bytes_stay_reserved),
		place_test(a_published_file_takes_the_place_of_the_one_before),
		place_test(unlinking_what_is_gone_is_no_error),
		place_test(a_lock_belongs_to_the_open_file),
		place_test(a_small_file_is_read_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
