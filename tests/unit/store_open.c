/*
 * Making and opening: what is refused, in which words, and that a refused
 * store is left as it was; what is read from a damaged store is right or an
 * error, never a wrong byte.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test_fixture.h"

#define ROOT TREE_ROOT_INO

/* A directory to make stores in, as *state. */
static int setup_dir(void **state)
{
	char *dir = malloc(PATH_MAX);

	assert_non_null(dir);
	dir_make_temporary(dir);
	*state = dir;
	return 0;
}

static int teardown_dir(void **state)
{
	dir_remove(*state);
	free(*state);
	return 0;
}

#define dir_test(test) cmocka_unit_test_setup_teardown(test, setup_dir, teardown_dir)

static void put_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	must(file && fputs(text, file) >= 0 && !fclose(file), "cannot write", path);
}

/* The call failed so, and said something a person can use: where, in one line. */
static void assert_refused(int err, int expected, const struct report *report, const char *path)
{
	if (err != expected)
		fail_msg("%s: %s, expected %s (report: %s)", path,
			 err ? strerrorname_np(-err) : "success", strerrorname_np(-expected),
			 report->text);
	if (!strstr(report->text, path) || strchr(report->text, '\n'))
		fail_msg("report does not name %s in one line: \"%s\"", path, report->text);
}

static void assert_open_refused(const char *path, int expected)
{
	struct store_options options = { .holder = "a test" };
	struct store *store = (struct store *)1;
	struct report report = { "" };

	assert_refused(store_open(path, &options, &report, &store), expected, &report, path);
	assert_null(store);
}

static void assert_mkfs_refused(const char *path, uint32_t page_size_bytes, int expected)
{
	struct store_mkfs_options mkfs = { .page_size_bytes = page_size_bytes };
	struct report report = { "" };
	int err = store_mkfs(path, &mkfs, &report);

	assert_int_equal(err, expected);
	assert_true(report.text[0] != 0);
}

static void make_store(const char *path)
{
	struct store_mkfs_options mkfs = { 0 };
	struct report report = { "" };
	int err = store_mkfs(path, &mkfs, &report);

	if (err)
		fail_msg("mkfs %s: %s (%s)", path, strerror(-err), report.text);
}

static struct store *open_store(const char *path)
{
	struct store_options options = { .holder = "a test", .layer_size_bytes = 4 * MIB };
	struct report report = { "" };
	struct store *store;
	int err = store_open(path, &options, &report, &store);

	if (err)
		fail_msg("open %s: %s (%s)", path, strerror(-err), report.text);
	return store;
}

/* ---- mkfs ---- */

static void mkfs_makes_a_store_where_nothing_is(void **state)
{
	char path[PATH_MAX];

	path_join(path, *state, "new");
	make_store(path);
	struct store *store = open_store(path);
	assert_int_equal(store_page_size(store), STORE_PAGE_SIZE_DEFAULT);
	assert_string_equal(store_path(store), path);
	assert_ok(store_close(store));
}

static void mkfs_takes_an_empty_directory(void **state)
{
	char path[PATH_MAX];

	path_join(path, *state, "empty");
	must(!mkdir(path, 0700), "mkdir", path);
	make_store(path);
	assert_ok(store_close(open_store(path)));
}

static void mkfs_spares_what_is_there(void **state)
{
	char store[PATH_MAX], other[PATH_MAX], file[PATH_MAX], missing[PATH_MAX];

	path_join(store, *state, "store");
	make_store(store);
	uint64_t before = dir_digest(store);
	assert_mkfs_refused(store, 0, -EEXIST);
	assert_true(dir_digest(store) == before);

	path_join(other, *state, "other");
	must(!mkdir(other, 0700), "mkdir", other);
	path_join(file, other, "thesis.txt");
	put_file(file, "years of work");
	before = dir_digest(other);
	assert_mkfs_refused(other, 0, -ENOTEMPTY);
	assert_true(dir_digest(other) == before);

	struct report report = { "" };
	assert_true(store_mkfs(file, &(struct store_mkfs_options){ 0 }, &report) < 0);
	assert_true(report.text[0] != 0);
	path_join(missing, *state, "no/such/parent");
	assert_mkfs_refused(missing, 0, -ENOENT);
}

static void mkfs_wants_a_page_size_that_is_a_power_of_two_within_limits(void **state)
{
	static const uint32_t bad[] = { 1, 512, 2048, 4095, 4097, 5000, 12288, 131072, UINT32_MAX };
	static const uint32_t good[] = { 4096, 8192, 16384, 32768, 65536 };
	char path[PATH_MAX], name[32];

	path_join(path, *state, "store");
	for (unsigned i = 0; i < array_size(bad); i++) {
		assert_mkfs_refused(path, bad[i], -EINVAL);
		assert_int_equal(access(path, F_OK), -1);
	}
	for (unsigned i = 0; i < array_size(good); i++) {
		struct store_mkfs_options mkfs = { .page_size_bytes = good[i] };
		struct report report;

		snprintf(name, sizeof(name), "store-%u", good[i]);
		path_join(path, *state, name);
		assert_ok(store_mkfs(path, &mkfs, &report));
		struct store *store = open_store(path);
		assert_int_equal(store_page_size(store), good[i]);
		assert_ok(store_close(store));
	}
}

/* Killed by SIGKILL after @delay_us, or by SIGXFSZ at the first write past @file_limit. */
static void mkfs_and_die(const char *path, useconds_t delay_us, rlim_t file_limit)
{
	pid_t child = fork();

	must(child >= 0, "fork", path);
	if (!child) {
		struct rlimit limit = { file_limit, file_limit };
		struct report report;

		setrlimit(RLIMIT_FSIZE, &limit);
		store_mkfs(path, &(struct store_mkfs_options){ 0 }, &report);
		_exit(0);
	}
	if (file_limit == RLIM_INFINITY) {
		usleep(delay_us);
		kill(child, SIGKILL);
	}
	waitpid(child, NULL, 0);
}

/* Whatever an interrupted mkfs left: no open that half works, and mkfs mends it. */
static void assert_mkfs_can_be_repeated(const char *path)
{
	struct store_options options = { .holder = "a test" };
	struct report report = { "" };
	struct store *store;
	bool whole = store_open(path, &options, &report, &store) == 0;

	if (whole)
		assert_ok(store_close(store));
	else
		assert_true(report.text[0] != 0);
	int err = store_mkfs(path, &(struct store_mkfs_options){ 0 }, &report);
	if (err != (whole ? -EEXIST : 0))
		fail_msg("mkfs over what a killed mkfs left (%s): %d, %s",
			 whole ? "whole" : "half made", err, report.text);
	assert_ok(store_close(open_store(path)));
}

static void an_interrupted_mkfs_can_be_repeated(void **state)
{
	static const rlim_t limits[] = { 0, 1, 100, 511, 4096, 65536, 1 << 20, 16 << 20 };
	char path[PATH_MAX], name[32];

	for (unsigned i = 0; i < 60 + array_size(limits); i++) {
		snprintf(name, sizeof(name), "half-%u", i);
		path_join(path, *state, name);
		if (i < 60)
			mkfs_and_die(path, i * 300, RLIM_INFINITY);
		else
			mkfs_and_die(path, 0, limits[i - 60]);
		assert_mkfs_can_be_repeated(path);
		dir_remove(path);
	}
}

/* ---- open: what is no store ---- */

static void open_refuses_what_is_no_store(void **state)
{
	char path[PATH_MAX], file[PATH_MAX];

	path_join(path, *state, "nothing");
	assert_open_refused(path, -ENOENT);
	path_join(file, *state, "file");
	put_file(file, "not a store");
	assert_open_refused(file, -ENOTDIR);
	path_join(path, *state, "empty");
	must(!mkdir(path, 0700), "mkdir", path);
	assert_open_refused(path, -EMEDIUMTYPE);
	path_join(path, *state, "foreign");
	must(!mkdir(path, 0700), "mkdir", path);
	path_join(file, path, "holiday.jpg");
	put_file(file, "a beach");
	uint64_t before = dir_digest(path);
	assert_open_refused(path, -EMEDIUMTYPE);
	assert_true(dir_digest(path) == before);
}

static void peek_refuses_what_open_refuses(void **state)
{
	struct store_usage usage;
	struct report report = { "" };
	char path[PATH_MAX];

	path_join(path, *state, "nothing");
	assert_refused(store_peek(path, &usage, &report), -ENOENT, &report, path);
	path_join(path, *state, "empty");
	must(!mkdir(path, 0700), "mkdir", path);
	assert_refused(store_peek(path, &usage, &report), -EMEDIUMTYPE, &report, path);
}

static void peek_tells_of_a_store_without_opening_it(void **state)
{
	struct store_usage peeked, usage;
	struct report report = { "" };
	char path[PATH_MAX];

	path_join(path, *state, "store");
	make_store(path);
	struct store *store = open_store(path);
	make_file(store, ROOT, "a");
	assert_ok(store_freeze(store));
	store_usage_get(store, &usage);
	for (unsigned round = 0; round < 2; round++) {
		assert_ok(store_peek(path, &peeked, &report));
		assert_string_equal(peeked.id, usage.id);
		assert_int_equal(strlen(peeked.id), 36);
		assert_int_equal(peeked.page_size_bytes, STORE_PAGE_SIZE_DEFAULT);
		assert_int_equal(peeked.format_version, usage.format_version);
		assert_int_equal(peeked.layer_count, usage.layer_count);
		assert_int_equal(peeked.sealed_bytes, usage.sealed_bytes);
		if (!round)
			assert_ok(store_close(store));
	}
}

static void stores_have_distinct_ids(void **state)
{
	struct store_usage a, b;
	struct report report;
	char path[PATH_MAX];

	path_join(path, *state, "a");
	make_store(path);
	assert_ok(store_peek(path, &a, &report));
	path_join(path, *state, "b");
	make_store(path);
	assert_ok(store_peek(path, &b, &report));
	assert_string_not_equal(a.id, b.id);
}

/* ---- open: one owner ---- */

/* A process that holds the store until it is killed. */
static pid_t hold_in_child(const char *path, const char *holder)
{
	int ready[2];
	char byte;

	must(!pipe(ready), "pipe", path);
	pid_t child = fork();
	must(child >= 0, "fork", path);
	if (!child) {
		struct store_options options = { .holder = holder };
		struct report report;
		struct store *store;

		if (store_open(path, &options, &report, &store) == 0)
			(void)!write(ready[1], "y", 1);
		for (;;)
			pause();
	}
	close(ready[1]);
	must(read(ready[0], &byte, 1) == 1, "child cannot open", path);
	close(ready[0]);
	return child;
}

static void open_names_the_process_that_holds_the_store(void **state)
{
	struct store_options options = { .holder = "a test" };
	struct report report = { "" };
	struct store *store;
	char path[PATH_MAX], holder[256], number[16];
	int pid = 0;

	path_join(path, *state, "store");
	make_store(path);
	assert_err(store_holder(path, holder, sizeof(holder), &pid), -ENOENT);
	pid_t child = hold_in_child(path, "mounted at /mnt/lake");
	assert_err(store_open(path, &options, &report, &store), -EBUSY);
	assert_non_null(strstr(report.text, "mounted at /mnt/lake"));
	snprintf(number, sizeof(number), "%d", child);
	assert_non_null(strstr(report.text, number));
	assert_ok(store_holder(path, holder, sizeof(holder), &pid));
	assert_string_equal(holder, "mounted at /mnt/lake");
	assert_int_equal(pid, child);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	/* The lock went with its holder. */
	assert_err(store_holder(path, holder, sizeof(holder), &pid), -ENOENT);
	assert_ok(store_close(open_store(path)));
	assert_err(store_holder(path, holder, sizeof(holder), &pid), -ENOENT);
}

static void one_process_cannot_open_a_store_twice(void **state)
{
	char path[PATH_MAX], holder[256];
	int pid;

	path_join(path, *state, "store");
	make_store(path);
	struct store *store = open_store(path);
	assert_open_refused(path, -EBUSY);
	/* The refusal did not loosen the first one's hold. */
	assert_open_refused(path, -EBUSY);
	assert_ok(store_holder(path, holder, sizeof(holder), &pid));
	assert_string_equal(holder, "a test");
	assert_int_equal(pid, getpid());
	assert_ok(store_close(store));
	assert_ok(store_close(open_store(path)));
}

static void a_read_only_store_takes_no_change(void **state)
{
	struct fixture *f = fixture_new(NULL, NULL);
	uint64_t ino = make_file(f->store, ROOT, "a");
	struct tree_new what = { .mode = S_IFREG | 0600 };
	struct tree_attr attr, to = { .mode = 0600 };

	(void)state;
	write_text(f->store, ino, "text");
	fixture_note(f);
	fixture_close(f);
	f->options.read_only = true;
	fixture_open(f);
	assert_err(tree_create(f->store, ROOT, "b", &what, &attr), -EROFS);
	assert_err(tree_symlink(f->store, ROOT, "b", "x", &what, &attr), -EROFS);
	assert_err(tree_link(f->store, ino, ROOT, "b", &attr), -EROFS);
	assert_err(tree_unlink(f->store, ROOT, "a"), -EROFS);
	assert_err(tree_rename(f->store, ROOT, "a", ROOT, "b", 0), -EROFS);
	assert_err(tree_write(f->store, ino, 0, "x", 1, false), -EROFS);
	assert_err(tree_setattr(f->store, ino, TREE_SET_MODE, &to, &attr), -EROFS);
	fixture_verify(f, "in a read-only store");
	fixture_close(f);
	f->options.read_only = false;
	fixture_open(f);
	fixture_verify(f, "after a read-only open");
	fixture_free(f);
}

/* ---- open: damage ---- */

enum { FILES = 5, PAGES = 4, VERSIONS = 6, PAGE = STORE_PAGE_SIZE_DEFAULT };

/* A closed store whose every page version is known: two sealed layers and an open one. */
struct known {
	char dir[PATH_MAX], path[PATH_MAX];
	uint64_t inos[FILES];
	struct lsn lsns[VERSIONS];      /* [v]: just after version v of every page */
	struct lsn newest;
};

static void known_page(unsigned file, unsigned page, unsigned version, uint8_t out[PAGE])
{
	seed_fill(1 + file + 100 * page + 10000 * version, out, PAGE);
}

static void known_write(struct known *known, struct store *store, unsigned version)
{
	uint8_t bytes[PAGE];

	for (unsigned file = 0; file < FILES; file++) {
		for (unsigned page = 0; page < PAGES; page++) {
			known_page(file, page, version, bytes);
			write_bytes(store, known->inos[file], page * PAGE, bytes, PAGE);
		}
	}
	known->lsns[version] = newest(store);
}

static struct known *known_new(void)
{
	struct known *known = calloc(1, sizeof(*known));
	char name[16];

	assert_non_null(known);
	dir_make_temporary(known->dir);
	path_join(known->path, known->dir, "store");
	make_store(known->path);
	struct store *store = open_store(known->path);
	for (unsigned file = 0; file < FILES; file++) {
		snprintf(name, sizeof(name), "file%u", file);
		known->inos[file] = make_file(store, ROOT, name);
	}
	for (unsigned version = 0; version < VERSIONS; version++) {
		known_write(known, store, version);
		if (version == 1 || version == 3)
			assert_ok(store_freeze(store));
	}
	known->newest = newest(store);
	assert_ok(store_close(store));
	return known;
}

static void known_free(struct known *known)
{
	dir_remove(known->dir);
	free(known);
}

static bool is_damage(int err)
{
	return err == -EBADMSG || err == -EUCLEAN || err == -EIO;
}

static void assert_page_right_or_damaged(struct store *store, const struct known *known,
					 unsigned file, unsigned page, unsigned version,
					 unsigned *damaged)
{
	uint8_t expected[PAGE], found[PAGE];
	size_t count = 0;
	int err = tree_read(store, known->inos[file], known->lsns[version], page * PAGE, found, PAGE,
			    &count);

	if (is_damage(err)) {
		++*damaged;
		return;
	}
	assert_ok(err);
	assert_int_equal(count, PAGE);
	known_page(file, page, version, expected);
	if (memcmp(found, expected, PAGE))
		fail_msg("file %u page %u version %u: wrong bytes served", file, page, version);
}

/* Read all there is, at every LSN: right, or an error. How many errors there were. */
static unsigned known_check(struct store *store, const struct known *known)
{
	unsigned damaged = 0;
	struct tree_attr attr;
	char name[16];

	assert_int_equal(newest(store).value, known->newest.value);
	for (unsigned version = 0; version < VERSIONS; version++) {
		for (unsigned file = 0; file < FILES; file++) {
			snprintf(name, sizeof(name), "file%u", file);
			int err = tree_lookup(store, ROOT, name, known->lsns[version], &attr);

			if (is_damage(err)) {
				damaged++;
			} else {
				assert_ok(err);
				assert_int_equal(attr.ino, known->inos[file]);
				assert_int_equal(attr.size_bytes, PAGES * PAGE);
			}
			for (unsigned page = 0; page < PAGES; page++)
				assert_page_right_or_damaged(store, known, file, page, version,
							     &damaged);
		}
	}
	return damaged;
}

/* Everything but the lock, which names its last holder. */
static uint64_t digest_without_lock(const char *path)
{
	char lock[PATH_MAX];

	path_join(lock, path, "lock");
	unlink(lock);
	return dir_digest(path);
}

struct tally {
	unsigned refused, served, damaged;
};

/* Open a damaged copy: refused, with a reason and untouched; or what it says is right. */
static void refused_or_right(const struct known *known, const char *copy, struct tally *tally,
			     const char *what)
{
	struct store_options options = { .holder = "a test" };
	struct report report = { "" };
	struct store *store;
	uint64_t before = digest_without_lock(copy);
	int err = store_open(copy, &options, &report, &store);

	if (!err) {
		unsigned damaged = known_check(store, known);

		tally->served++;
		tally->damaged += damaged > 0;
		store_close(store);
		return;
	}
	tally->refused++;
	if (err != -EBADMSG && err != -EUCLEAN && err != -EMEDIUMTYPE && err != -EPROTONOSUPPORT)
		fail_msg("%s: open failed with %s (%s)", what, strerrorname_np(-err), report.text);
	if (!strstr(report.text, copy))
		fail_msg("%s: report names no file: \"%s\"", what, report.text);
	if (digest_without_lock(copy) != before)
		fail_msg("%s: a refused open changed files", what);
}

/* The store's files but the lock. */
static struct path_list *files_of(const struct known *known)
{
	struct path_list *all = path_list_new(known->path);
	size_t count = 0;

	for (size_t i = 0; i < all->count; i++) {
		if (all->items[i].kind == 'f' && strcmp(all->items[i].path, "lock"))
			all->items[count++] = all->items[i];
	}
	all->count = count;
	assert_true(count >= 3);
	return all;
}

static void flip_bit(const char *path, off_t offset, unsigned bit)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t byte = 0;

	must(fd >= 0 && pread(fd, &byte, 1, offset) == 1, "cannot read", path);
	close(fd);
	byte ^= 1u << bit;
	file_overwrite(path, offset, &byte, 1);
}

static void with_damaged_copy(const struct known *known, const char *file, struct tally *tally,
			      void (*damage)(const char *path, uint64_t argument),
			      uint64_t argument)
{
	char copy[PATH_MAX], path[PATH_MAX], what[PATH_MAX + 64];

	path_join(copy, known->dir, "copy");
	dir_copy(known->path, copy);
	path_join(path, copy, file);
	damage(path, argument);
	snprintf(what, sizeof(what), "%s, damage %" PRIu64, file, argument);
	refused_or_right(known, copy, tally, what);
	dir_remove(copy);
}

static void damage_cut(const char *path, uint64_t size_bytes)
{
	must(!truncate(path, size_bytes), "truncate", path);
}

static void damage_remove(const char *path, uint64_t unused)
{
	(void)unused;
	must(!unlink(path), "unlink", path);
}

static void damage_flip(const char *path, uint64_t bit)
{
	flip_bit(path, bit / 8, bit % 8);
}

static void damage_zero_sector(const char *path, uint64_t sector)
{
	static const uint8_t zeros[512];
	struct stat st;

	must(!stat(path, &st), "cannot stat", path);
	size_t size = st.st_size - sector * 512 < 512 ? st.st_size - sector * 512 : 512;
	file_overwrite(path, sector * 512, zeros, size);
}

static void an_undamaged_store_reads_right(void **state)
{
	struct known *known = known_new();
	struct tally tally = { 0 };

	(void)state;
	refused_or_right(known, known->path, &tally, "no damage");
	assert_int_equal(tally.served, 1);
	assert_int_equal(tally.damaged, 0);
	known_free(known);
}

static void cut_emptied_and_missing_files_are_noticed(void **state)
{
	struct known *known = known_new();
	struct tally tally = { 0 };
	struct path_list *files = files_of(known);

	(void)state;
	for (size_t i = 0; i < files->count; i++) {
		with_damaged_copy(known, files->items[i].path, &tally, damage_remove, 0);
		with_damaged_copy(known, files->items[i].path, &tally, damage_cut, 0);
		with_damaged_copy(known, files->items[i].path, &tally, damage_cut, 1);
		with_damaged_copy(known, files->items[i].path, &tally, damage_cut, files->items[i].size_bytes / 2);
		with_damaged_copy(known, files->items[i].path, &tally, damage_cut, files->items[i].size_bytes - 1);
	}
	print_message("%zu files: %u opens refused, %u served, of these %u with errors\n",
		      files->count, tally.refused, tally.served, tally.damaged);
	/* At the least, each file of a store is needed. */
	assert_true(tally.refused + tally.damaged >= 2 * files->count);
	free(files);
	known_free(known);
}

static void flipped_bits_serve_no_wrong_byte(void **state)
{
	struct known *known = known_new();
	struct tally tally = { 0 };
	struct path_list *files = files_of(known);
	struct prng prng = { test_seed() };
	uint64_t flips = test_count("VARVE_TEST_FLIPS", 60);

	(void)state;
	for (size_t i = 0; i < files->count; i++) {
		for (unsigned n = 0; files->items[i].size_bytes && n < flips; n++) {
			uint64_t size = files->items[i].size_bytes;
			/* Half of them where the headers are. */
			uint64_t byte = prng_below(&prng, n % 2 && size > 4096 ? 4096 : size);

			with_damaged_copy(known, files->items[i].path, &tally, damage_flip,
					  byte * 8 + prng_below(&prng, 8));
		}
	}
	print_message("%u opens refused, %u served, of these %u with errors\n", tally.refused,
		      tally.served, tally.damaged);
	assert_true(tally.refused > 0);
	free(files);
	known_free(known);
}

static void zeroed_sectors_serve_no_wrong_byte(void **state)
{
	struct known *known = known_new();
	struct tally tally = { 0 };
	struct path_list *files = files_of(known);
	struct prng prng = { test_seed() };

	(void)state;
	for (size_t i = 0; i < files->count; i++) {
		uint64_t sectors = (files->items[i].size_bytes + 511) / 512;

		for (unsigned n = 0; sectors && n < 30; n++)
			with_damaged_copy(known, files->items[i].path, &tally, damage_zero_sector,
					  n ? prng_below(&prng, sectors) : 0);
	}
	assert_true(tally.refused + tally.damaged > 0);
	free(files);
	known_free(known);
}

/* One bit of one page version in a sealed layer: that page, from that version
 * to the next, is -EBADMSG; nothing else is harmed. */
static void a_bad_page_harms_no_other_page_or_version(void **state)
{
	struct known *known = known_new();
	const unsigned file = 2, page = 1, version = 1;
	uint8_t bytes[PAGE], found[PAGES * PAGE];
	char path[PATH_MAX];
	off_t offset;
	size_t count;

	(void)state;
	known_page(file, page, version, bytes);
	assert_true(dir_find_bytes(known->path, bytes, 64, path, &offset));
	flip_bit(path, offset + 4000, 3);
	struct store *store = open_store(known->path);
	assert_int_equal(known_check(store, known), 1);
	assert_err(tree_read(store, known->inos[file], known->lsns[version], page * PAGE, found, 10,
			     &count), -EBADMSG);
	/* A read that covers it fails; one beside it does not. */
	assert_err(tree_read(store, known->inos[file], known->lsns[version], 0, found,
			     sizeof(found), &count), -EBADMSG);
	assert_ok(tree_read(store, known->inos[file], known->lsns[version], 0, found, PAGE, &count));
	/* The store still takes changes, this page's among them. */
	known_page(file, page, 77, bytes);
	write_bytes(store, known->inos[file], page * PAGE, bytes, PAGE);
	assert_bytes(store, known->inos[file], LSN_HEAD, page * PAGE, bytes, PAGE);
	assert_ok(store_close(store));
	known_free(known);
}

static bool list_nothing(void *context, const struct tree_entry *entry)
{
	(void)context;
	(void)entry;
	return true;
}

/* One letter of a name or a target, in a sealed layer: no other name is ever shown. */
static void a_bad_name_or_target_is_an_error(void **state)
{
	static const char name[] = "needle-in-a-haystack", target[] = "somewhere/quite-unique";
	struct fixture *f = fixture_new(NULL, NULL);
	uint64_t dir = make_dir(f->store, ROOT, "dir"), other = make_dir(f->store, ROOT, "other");
	struct tree_attr attr, link;
	char path[PATH_MAX], found[PATH_MAX];
	off_t offset;

	(void)state;
	make_file(f->store, dir, name);
	make_file(f->store, other, "fine");
	assert_ok(tree_symlink(f->store, ROOT, "link", target,
			       &(struct tree_new){ .mode = S_IFLNK }, &link));
	fixture_freeze(f);
	fixture_close(f);
	assert_true(dir_find_bytes(f->path, name, strlen(name), path, &offset));
	flip_bit(path, offset + 3, 0);
	assert_true(dir_find_bytes(f->path, target, strlen(target), path, &offset));
	flip_bit(path, offset + 5, 1);
	fixture_open(f);
	assert_err(tree_lookup(f->store, dir, name, LSN_HEAD, &attr), -EBADMSG);
	assert_err(tree_readdir(f->store, dir, LSN_HEAD, 0, list_nothing, NULL), -EBADMSG);
	assert_err(tree_readlink(f->store, link.ino, LSN_HEAD, found, sizeof(found)), -EBADMSG);
	assert_names(f->store, other, LSN_HEAD, "fine");
	assert_ok(tree_getattr(f->store, dir, LSN_HEAD, &attr));
	make_file(f->store, other, "also");
	assert_names(f->store, other, LSN_HEAD, "also fine");
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		dir_test(mkfs_makes_a_store_where_nothing_is),
		dir_test(mkfs_takes_an_empty_directory),
		dir_test(mkfs_spares_what_is_there),
		dir_test(mkfs_wants_a_page_size_that_is_a_power_of_two_within_limits),
		dir_test(an_interrupted_mkfs_can_be_repeated),
		dir_test(open_refuses_what_is_no_store),
		dir_test(peek_refuses_what_open_refuses),
		dir_test(peek_tells_of_a_store_without_opening_it),
		dir_test(stores_have_distinct_ids),
		dir_test(open_names_the_process_that_holds_the_store),
		dir_test(one_process_cannot_open_a_store_twice),
		cmocka_unit_test(a_read_only_store_takes_no_change),
		cmocka_unit_test(an_undamaged_store_reads_right),
		cmocka_unit_test(cut_emptied_and_missing_files_are_noticed),
		cmocka_unit_test(flipped_bits_serve_no_wrong_byte),
		cmocka_unit_test(zeroed_sectors_serve_no_wrong_byte),
		cmocka_unit_test(a_bad_page_harms_no_other_page_or_version),
		cmocka_unit_test(a_bad_name_or_target_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
