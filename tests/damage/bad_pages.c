/*
 * Bad pages: what a disk does to a store by sectors and pages. None passes, whatever
 * its own checksum would say: a page of zeros, another page of the store, the page as
 * it was in an older copy, the page of another store of the same shape. A bad page
 * costs its own version, in a table its block. A file cut short under an open store is an error.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault.h"
#include "test_rot.h"

#define PAGES_PIECE 4096u

static const size_t sizes[] = { 512, 4096 };

struct tally {
	uint64_t outcomes[ROT_OUTCOMES];
};

static void judge(struct rot *rot, const struct rot_file *file, size_t at, const char *what,
		  struct tally *tally)
{
	struct census_verdict verdict = { 0 };
	enum rot_outcome outcome = rot_ask(rot, &verdict);

	tally->outcomes[outcome]++;
	if (outcome == ROT_WRONG)
		print_error("%s, byte %zu, %s: %s\n", file->name, at, what, verdict.first_wrong);
}

/* Put @bytes in the place of the page at @at, ask, and put it back. */
static void judge_page(struct rot *rot, struct rot_file *file, size_t at, size_t size,
		       const uint8_t *bytes, const char *what, struct tally *tally)
{
	uint8_t kept[4096];

	if (!memcmp(file->map + at, bytes, size))
		return;
	memcpy(kept, file->map + at, size);
	memcpy(file->map + at, bytes, size);
	judge(rot, file, at, what, tally);
	memcpy(file->map + at, kept, size);
}

static void report_tally(const struct tally *tally, const char *what)
{
	print_message("pages %s: %" PRIu64 " detected, %" PRIu64 " harmless, %" PRIu64
		      " served wrong bytes\n", what, tally->outcomes[ROT_DETECTED],
		      tally->outcomes[ROT_HARMLESS], tally->outcomes[ROT_WRONG]);
	assert_int_equal(tally->outcomes[ROT_WRONG], 0);
	assert_true(tally->outcomes[ROT_DETECTED] > 20);
}

static void a_page_of_zeros_does_not_pass(void **state)
{
	static const uint8_t zeros[4096];
	struct tally tally = { { 0 } };
	struct rot *rot = rot_new();

	(void)state;
	for (size_t s = 0; s < array_size(sizes); s++)
		for (size_t f = 0; f < rot->file_count; f++)
			for (size_t at = 0; at < rot->files[f].used_bytes; at += sizes[s])
				judge_page(rot, &rot->files[f], at, sizes[s], zeros, "zeros", &tally);
	report_tally(&tally, "of zeros");
	rot_free(rot);
}

/* With the next one, and with one anywhere in the store. */
static void a_page_in_anothers_place_does_not_pass(void **state)
{
	struct prng prng = { test_seed() };
	struct tally tally = { { 0 } };
	struct rot *rot = rot_new();

	(void)state;
	for (size_t s = 0; s < array_size(sizes); s++) {
		for (size_t f = 0; f < rot->file_count; f++) {
			struct rot_file *file = &rot->files[f];

			for (size_t at = 0; at < file->used_bytes; at += sizes[s]) {
				struct rot_file *other = &rot->files[prng_below(&prng, rot->file_count)];
				size_t next = at + sizes[s];
				size_t any = prng_below(&prng, other->size_bytes / sizes[s]) * sizes[s];
				uint8_t kept[4096];

				judge_page(rot, file, at, sizes[s], other->map + any, "another page",
					   &tally);
				if (next + sizes[s] > file->size_bytes)
					continue;
				/* Both ways. */
				memcpy(kept, file->map + at, sizes[s]);
				memcpy(file->map + at, file->map + next, sizes[s]);
				memcpy(file->map + next, kept, sizes[s]);
				judge(rot, file, at, "swapped with the next", &tally);
				memcpy(file->map + next, file->map + at, sizes[s]);
				memcpy(file->map + at, kept, sizes[s]);
			}
		}
	}
	report_tally(&tally, "swapped");
	rot_free(rot);
}

/* The file of this name in another store, or as it was in an older copy. */
static void judge_against(struct rot *rot, const char *other_store, const char *what,
			  struct tally *tally)
{
	for (size_t f = 0; f < rot->file_count; f++) {
		struct rot_file *file = &rot->files[f];
		char path[PATH_MAX];
		int fd;

		path_join(path, other_store, file->name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;       /* made since */
		for (size_t s = 0; s < array_size(sizes); s++) {
			for (size_t at = 0; at < file->used_bytes; at += sizes[s]) {
				uint8_t bytes[4096] = { 0 };

				if (pread(fd, bytes, sizes[s], (off_t)at) > 0)
					judge_page(rot, file, at, sizes[s], bytes, what, tally);
			}
		}
		close(fd);
	}
}

/* Made by the same steps: the same files, sizes and keys, another id. */
static void a_page_of_another_store_does_not_pass(void **state)
{
	struct tally tally = { { 0 } };
	struct rot *rot = rot_new();
	char dir[PATH_MAX], store[PATH_MAX];
	int status;

	(void)state;
	dir_make_temporary(dir);
	pid_t child = fork();
	must(child >= 0, "cannot fork for", VARVE_GOLDEN_MAKE);
	if (!child) {
		int null = open("/dev/null", O_WRONLY);

		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		execl(VARVE_GOLDEN_MAKE, VARVE_GOLDEN_MAKE, dir, (char *)NULL);
		_exit(127);
	}
	must(waitpid(child, &status, 0) == child && !status, "cannot run", VARVE_GOLDEN_MAKE);
	path_join(store, dir, "store");
	judge_against(rot, store, "another store's", &tally);
	report_tally(&tally, "of another store");
	dir_remove(dir);
	rot_free(rot);
}

static void go_on_writing(const char *path)
{
	struct store_options options = { .holder = "a test", .layer_size_bytes = 4 * MIB };
	struct report report = { "" };
	struct store *store;
	uint64_t ino;

	assert_ok(store_open(path, &options, &report, &store));
	ino = find_now(store, TREE_ROOT_INO, "pages");
	for (unsigned i = 0; i < 40; i++)
		write_bytes(store, ino, 500 * i, "going on", 8);
	assert_ok(store_freeze(store));
	write_text(store, make_file(store, TREE_ROOT_INO, "newer"), "newer");
	assert_ok(store_close(store));
}

/* rot_new's notes are of the older state; those at numbers hold for the newer too. */
static void a_page_of_an_older_copy_does_not_pass(void **state)
{
	struct tally tally = { { 0 } };
	struct rot *older = rot_new(), *newer = rot_new();
	struct golden *golden = newer->golden;
	struct store *store;
	struct lsn oldest;

	(void)state;
	go_on_writing(golden->store);
	assert_ok(rot_open(newer, &store));
	store_window(store, &oldest, &golden->lsns[golden->count]);
	newer->noted[golden->count] = census_take(store, golden->lsns[golden->count]);
	golden->count++;
	assert_ok(store_close(store));
	rot_map(newer);
	judge_against(newer, older->golden->store, "an older copy's", &tally);
	report_tally(&tally, "of an older copy");
	rot_free(older);
	rot_free(newer);
}

/* Damage page @index of file @name; @refused_max: so many pages may be refused in each state. */
static void damage_page(const char *dir, const char *name, uint64_t index, uint64_t refused_max)
{
	struct rot *rot = rot_new();
	struct census_verdict verdict = { 0 };
	struct lsn last = rot->golden->lsns[rot->golden->count - 1];
	uint64_t dir_ino = TREE_ROOT_INO;
	uint8_t page[PAGES_PIECE], bad[PAGES_PIECE];
	char path[PATH_MAX];
	struct store *store;
	size_t count;
	off_t offset;

	assert_ok(rot_open(rot, &store));
	if (dir)
		dir_ino = find_at(store, TREE_ROOT_INO, dir, last);
	verdict.refused_ino = find_at(store, dir_ino, name, last);
	assert_ok(tree_read(store, verdict.refused_ino, last, index * PAGES_PIECE, page, sizeof(page), &count));
	assert_ok(store_close(store));
	must(dir_find_bytes(rot->golden->store, page, sizeof(page), path, &offset), "no such page in",
	     rot->golden->store);
	/* A merge under way may have copied it; nobody reads the copy it was made from. */
	do {
		memcpy(bad, page, sizeof(bad));
		bad[77] ^= 1;
		file_overwrite(path, offset, bad, sizeof(bad));
	} while (dir_find_bytes(rot->golden->store, page, sizeof(page), path, &offset));
	assert_int_equal(rot_ask(rot, &verdict), ROT_DETECTED);
	print_message("one bad page: %" PRIu64 " answers right, %" PRIu64 " refused\n", verdict.right,
		      verdict.refused);
	assert_int_equal(verdict.refused_elsewhere, 0);
	/* In all states from when it was written to when it was replaced. */
	assert_in_range(verdict.refused, 1, refused_max * (rot->golden->count + 1));
	assert_true(verdict.right > 500);
	rot_free(rot);
}

static void a_bad_page_costs_its_own_version(void **state)
{
	(void)state;
	damage_page("later", "later 7", 0, 1);
}

static void a_bad_page_of_a_table_costs_its_block(void **state)
{
	(void)state;
	damage_page(NULL, "once", 2, 4);
}

/* ---- cut short while open ---- */

/* cmocka takes SIGBUS for itself at each test's beginning: give it back. */
static struct sigaction of_the_core;

static int do_nothing(void *context)
{
	(void)context;
	return 0;
}

static void setup_fault(void **state)
{
	(void)state;
	must(!sigaction(SIGBUS, &of_the_core, NULL), "sigaction", "SIGBUS");
}

static void restore(const struct rot_file *file, const uint8_t *bytes)
{
	must(!truncate(file->path, (off_t)file->size_bytes), "cannot restore", file->path);
	memcpy(file->map, bytes, file->used_bytes);
}

static void a_file_cut_short_under_a_reader_is_an_error(void **state)
{
	struct tally tally = { { 0 } };
	struct rot *rot = rot_new();

	setup_fault(state);
	for (size_t f = 0; f < rot->file_count; f++) {
		struct rot_file *file = &rot->files[f];
		uint8_t *bytes = malloc(file->used_bytes + 1);

		assert_non_null(bytes);
		memcpy(bytes, file->map, file->used_bytes);
		for (unsigned part = 0; part < 20; part++) {
			struct census_verdict verdict = { 0 };
			struct store *store;

			assert_ok(rot_open(rot, &store));
			must(!truncate(file->path, (off_t)(file->used_bytes * part / 20)),
			     "cannot cut", file->path);
			enum rot_outcome outcome = rot_ask_open(rot, store, &verdict);
			tally.outcomes[outcome]++;
			if (outcome == ROT_WRONG)
				print_error("%s: %s\n", file->name, verdict.first_wrong);
			assert_ok(store_close(store));
			restore(file, bytes);
		}
		free(bytes);
	}
	report_tally(&tally, "cut off under a reader");
	rot_free(rot);
}

/* The writer is told; what it wrote before the cut and what it is told of after it, is
 * right or refused. */
static void a_file_cut_short_under_a_writer_is_an_error(void **state)
{
	static const off_t cuts[] = { 0, 4096, 5000, 8192, 12288, 16384, 1 << 20 };
	unsigned refused = 0, ended = 0;

	setup_fault(state);
	for (size_t c = 0; c < array_size(cuts); c++) {
		struct rot *rot = rot_new();
		struct store_options options = { .holder = "a test", .layer_size_bytes = 4 * MIB };
		struct census_verdict verdict = { 0 };
		struct report report = { "" };
		struct store_usage usage;
		char layer[PATH_MAX];
		struct store *store;
		uint64_t ino;
		int err = 0;

		path_join(layer, rot->golden->store, GOLDEN_TABLES_OPEN_LAYER);
		assert_ok(store_open(rot->golden->store, &options, &report, &store));
		ino = make_file(store, TREE_ROOT_INO, "written");
		must(!truncate(layer, cuts[c]), "cannot cut", layer);
		for (unsigned i = 0; i < 50; i++) {
			err = tree_write(store, ino, 300 * i, "a change\n", 9, false);
			if (err)
				break;
		}
		refused += err != 0;
		assert_true(err == 0 || err == -EIO || err == -EBADMSG || err == -EROFS);
		store_usage_get(store, &usage);
		ended += usage.read_only;
		if (usage.read_only)    /* nothing can follow a hole */
			assert_err(tree_write(store, ino, 10 * MIB, "more", 4, false), -EROFS);
		for (size_t i = 0; i < rot->golden->count; i++)
			census_check(rot->noted[i], store, rot->golden->lsns[i], &verdict);
		assert_int_equal(verdict.wrong, 0);
		(void)store_sync(store, NULL);
		(void)store_freeze(store);
		(void)store_close(store);
		rot_free(rot);
	}
	print_message("%zu cuts: %u writers were refused, %u stores take no more\n", array_size(cuts),
		      refused, ended);
	assert_true(refused >= 4 && ended >= 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_page_of_zeros_does_not_pass),
		cmocka_unit_test(a_page_in_anothers_place_does_not_pass),
		cmocka_unit_test(a_page_of_another_store_does_not_pass),
		cmocka_unit_test(a_page_of_an_older_copy_does_not_pass),
		cmocka_unit_test(a_bad_page_costs_its_own_version),
		cmocka_unit_test(a_bad_page_of_a_table_costs_its_block),
		cmocka_unit_test(a_file_cut_short_under_a_reader_is_an_error),
		cmocka_unit_test(a_file_cut_short_under_a_writer_is_an_error),
	};

	fault_guarded(do_nothing, NULL);
	sigaction(SIGBUS, NULL, &of_the_core);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
