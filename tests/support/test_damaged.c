#include "test_damaged.h"

#include <endian.h>
#include <fcntl.h>
#include <unistd.h>

#include "layer_file.h"

static void fill(struct fixture *fixture, uint64_t file, unsigned round)
{
	struct store *store = fixture->store;
	uint8_t bytes[20000];
	char name[32];

	seed_fill(round + 1, bytes, sizeof(bytes));
	write_bytes(store, file, round * 3000, bytes, sizeof(bytes));
	for (unsigned i = 0; i < 20; i++)
		write_bytes(store, file, i * 700, bytes + i, 40);
	snprintf(name, sizeof(name), "file%u", round);
	write_text(store, make_file(store, TREE_ROOT_INO, name), name);
	fixture_note(fixture);
}

static void make_every_kind(struct fixture *fixture, uint64_t dir)
{
	struct store *store = fixture->store;
	const struct tree_new fifo = { .mode = S_IFIFO | 0600 }, link = { .mode = 0777 };
	struct tree_attr attr;
	uint64_t cut = make_file(store, dir, "cut");

	assert_ok(tree_create(store, dir, "fifo", &fifo, &attr));
	assert_ok(tree_symlink(store, dir, "link", "../somewhere", &link, &attr));
	make_dir(store, make_dir(store, dir, "deep"), "deeper");
	for (unsigned i = 0; i < 50; i++)
		write_text(store, cut, "x");
	for (unsigned i = 0; i < 50; i++)
		write_bytes(store, cut, i * 8192, "page", 4);
	set_size(store, cut, 100);
	set_size(store, cut, 1000000);
	assert_ok(tree_link(store, cut, TREE_ROOT_INO, "hard", &attr));
	make_file(store, dir, "gone");
	assert_ok(tree_unlink(store, dir, "gone"));
	fixture_note(fixture);
}

int damaged_setup(void **state)
{
	struct damaged *damaged = calloc(1, sizeof(*damaged));
	struct fixture *fixture = fixture_new(NULL, NULL);

	assert_non_null(damaged);
	damaged->fixture = fixture;
	damaged->dir = make_dir(fixture->store, TREE_ROOT_INO, "dir");
	damaged->file = make_file(fixture->store, TREE_ROOT_INO, "file");
	make_every_kind(fixture, damaged->dir);
	for (unsigned i = 0; i < DAMAGED_SEALED; i++) {
		fill(fixture, damaged->file, i);
		fixture_freeze(fixture);
	}
	fill(fixture, damaged->file, DAMAGED_SEALED);
	damaged_keep(damaged);
	*state = damaged;
	return 0;
}

int damaged_teardown(void **state)
{
	struct damaged *damaged = *state;

	fixture_free(damaged->fixture);
	free(damaged);
	return 0;
}

void damaged_keep(struct damaged *damaged)
{
	fixture_close(damaged->fixture);
	path_join(damaged->pristine, damaged->fixture->dir, "pristine");
	dir_copy(damaged->fixture->path, damaged->pristine);
}

void damaged_restore(struct damaged *damaged)
{
	dir_remove(damaged->fixture->path);
	dir_copy(damaged->pristine, damaged->fixture->path);
}

off_t file_size(const char *path)
{
	struct stat st;

	must(stat(path, &st) == 0, "stat", path);
	return st.st_size;
}

void read_u64s(const char *path, off_t offset, uint64_t *out, size_t count)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	must(fd >= 0 && pread(fd, out, count * 8, offset) == (ssize_t)(count * 8), "read", path);
	close(fd);
}

off_t sealed_log_end(const char *path)
{
	uint64_t lsns[2];

	read_u64s(path, file_size(path) - LAYER_BLOCK_BYTES + 16, lsns, 2);
	return (off_t)(LAYER_HEADER_BYTES + le64toh(lsns[1]) - le64toh(lsns[0]));
}

const struct finding *assert_found(struct damaged *damaged, struct check_run **run_out,
				   enum finding_kind kind, const char *path)
{
	struct check_run *run;
	const struct finding *finding;
	char lock[PATH_MAX];
	uint64_t before;

	path_join(lock, damaged->fixture->path, "lock");
	unlink(lock);
	before = dir_digest(damaged->fixture->path);
	*run_out = run = check_run_new(damaged->fixture->path, false, 0);
	unlink(lock);
	assert_true(dir_digest(damaged->fixture->path) == before);
	finding = check_run_find(run, kind);
	if (run->err || !finding || !run->result.finding_count) {
		check_run_print(run);
		fail_msg("no finding of kind %s", finding_kind_name(kind));
	}
	if (path)
		assert_string_equal(finding->file, strstr(path, "layers/"));
	return finding;
}

void assert_repaired(struct damaged *damaged)
{
	struct check_run *run = check_run_new(damaged->fixture->path, true, 0);

	if (run->err || run->result.finding_count || !run->result.mended_count) {
		check_run_print(run);
		fail_msg("not repaired: %llu faults left, %llu steps",
			 (unsigned long long)run->result.finding_count,
			 (unsigned long long)run->result.mended_count);
	}
	free(run);
	run = check_run_new(damaged->fixture->path, false, 0);
	if (run->err || run->result.finding_count) {
		check_run_print(run);
		fail_msg("the second check is not clean");
	}
	assert_true(run->result.state_count > 0);
	free(run);
}

void assert_clean_but_known(const char *path)
{
	struct check_run *run = check_run_new(path, false, 0);

	if (run->err || run->result.finding_count)
		check_run_print(run);
	assert_int_equal(run->err, 0);
	assert_int_equal(run->result.finding_count, 0);
	assert_true(run->result.known_count > 0);
	free(run);
}

void assert_reads_as_before(struct damaged *damaged, const char *when)
{
	fixture_open(damaged->fixture);
	fixture_verify(damaged->fixture, when);
	fixture_close(damaged->fixture);
}
