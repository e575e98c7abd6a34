/*
 * Make a golden store: golden_make DIR writes DIR/store and DIR/lsns, its LSNs and
 * digests; tests/golden/make packs both. Run once for a format: what it made is
 * committed, for a later build may write other bytes.
 *
 * Of everything a store can hold there is a little: a page's image of its own
 * length and of a whole page, patches over it and standing alone, ranges of zeros,
 * a batch large enough to be written by the system call, page maps of one level and of two, holes that
 * tombstones say and holes that the map alone says, extended attributes and access lists, tombstones, names
 * added, moved, exchanged and gone, links, all file types; tables of versions and of images, in blocks that are
 * compressed and blocks that are not, a run of them that lost what the window does not keep, a tag below it, a
 * merge of others that is not at its end; sealed layers that it takes, an open one with a second life in it, a
 * spare, and every type of record in the manifest but those of a repair and of a rewrite.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "io.h"
#include "manifest.h"
#include "open_layer.h"
#include "test_acl.h"
#include "test_census.h"
#include "test_compact.h"

#define ROOT TREE_ROOT_INO
#define PAGE 4096u

#define TABLE_BYTES (28 * KIB)      /* of which some 20 are its header and index */
#define TAGGED 2u                       /* of the notes */
#define OLDEST 6u                       /* of the notes: what lies below it is dropped, but for what is tagged */
#define NOTES_MAX 64u
#define SPARE_ID 1000u

static struct store_options options = { .holder = "golden_make", .layer_size_bytes = LAYER_SIZE_MIN,
					.table_size_bytes = TABLE_BYTES, .piece_bytes = TABLE_BYTES,
					.no_compaction = true };

static FILE *lsns;

static struct {
	struct lsn lsn;
	uint64_t digest;
} notes[NOTES_MAX];
static unsigned note_count;

static void note(struct store *store)
{
	struct census *census = census_take(store, LSN_HEAD);

	assert_true(note_count < NOTES_MAX);
	notes[note_count].lsn = newest(store);
	notes[note_count++].digest = census_digest(census);
	census_free(census);
}

/* Those that can be read in the end. */
static void write_notes(void)
{
	for (unsigned i = 0; i < note_count; i++)
		if (i == TAGGED || i >= OLDEST)
			fprintf(lsns, "%" PRIu64 " %016" PRIx64 "\n", notes[i].lsn.value, notes[i].digest);
}

/* Bytes that are told apart and compress well. */
static void write_pattern(struct store *store, uint64_t ino, uint64_t offset, size_t size,
			  unsigned salt)
{
	uint8_t *bytes = malloc(size);

	assert_non_null(bytes);
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)("varve lake sediment layer "[i % 26] + (i / 512 + salt) % 7);
	write_bytes(store, ino, offset, bytes, size);
	free(bytes);
}

static void make_special(struct store *store, const char *name, uint32_t mode, uint32_t rdev)
{
	struct tree_new what = { .mode = mode, .uid = 1, .gid = 2, .rdev = rdev };
	struct tree_attr attr;

	assert_ok(tree_create(store, ROOT, name, &what, &attr));
}

static void first_layer(struct store *store)
{
	struct tree_new link = { .mode = S_IFLNK | 0777, .uid = 1000, .gid = 1000 };
	struct tree_attr attr;
	uint64_t dir = make_dir(store, ROOT, "dir"), file = make_file(store, dir, "file");

	note(store);
	write_text(store, file, "a first line\n");
	write_pattern(store, make_file(store, ROOT, "pages"), 0, 3 * PAGE, 1);
	note(store);
	write_bytes(store, find_now(store, ROOT, "pages"), 100, "patch", 5);
	write_bytes(store, find_now(store, ROOT, "pages"), PAGE + 7, "patch", 5);
	write_bytes(store, file, 100000, "far out", 7);
	assert_ok(tree_symlink(store, dir, "link", "../pages", &link, &attr));
	assert_ok(tree_link(store, file, ROOT, "hard", &attr));
	note(store);
	make_special(store, "fifo", S_IFIFO | 0600, 0);
	make_special(store, "device", S_IFCHR | 0620, 0x503);
	make_special(store, "socket", S_IFSOCK | 0700, 0);
	note(store);
}

/* So many pages that no tombstones say what was dropped. A map of two levels takes a file of over 32 MiB, which
 * every flipped bit would have read anew. */
static void make_holes(struct store *store)
{
	uint64_t holes = make_file(store, ROOT, "holes");

	for (unsigned i = 0; i < 50; i++)
		write_bytes(store, holes, i * PAGE, "here", 4);
	punch(store, holes, 3 * PAGE + 2, 40 * PAGE);
	write_bytes(store, holes, 20 * PAGE + 100, "again", 5);
}

static void set_xattr(struct store *store, uint64_t ino, const char *name, const char *value)
{
	assert_ok(tree_setxattr(store, ino, name, value, strlen(value), 0));
}

static void set_acl(struct store *store, uint64_t ino, const char *name, const char *text)
{
	uint8_t bytes[TEST_ACL_BYTES];
	size_t size = test_acl_make(text, bytes);

	assert_ok(tree_setxattr(store, ino, name, bytes, size, 0));
}

/* Some that stay, one that is removed; a list that a directory hands on. */
static void make_xattrs(struct store *store)
{
	uint64_t dir = make_dir(store, ROOT, "shared"), file;

	set_acl(store, dir, "system.posix_acl_default", "u:7 u1000:6 g:5 m:7 o:0");
	file = make_file(store, dir, "attributed");
	set_xattr(store, file, "user.first", "one");
	set_xattr(store, file, "user.empty", "");
	set_xattr(store, file, "trusted.gone", "soon");
	assert_ok(tree_removexattr(store, file, "trusted.gone"));
	set_acl(store, file, "system.posix_acl_access", "u:6 u1000:4 g:0 m:4 o:0");
}

static void second_layer(struct store *store)
{
	uint64_t pages = find_now(store, ROOT, "pages"), dir = find_now(store, ROOT, "dir");
	uint64_t big = make_file(store, ROOT, "big");
	struct tree_attr attr = { .mode = 04751, .mtime = { -5, 999999999 } };
	char name[32];

	write_bytes(store, pages, 2 * PAGE - 4, "over the edge", 13);
	note(store);
	write_pattern(store, big, 0, 9 * PAGE, 2);      /* one system call */
	set_size(store, big, 400 * KIB);
	set_size(store, big, PAGE / 2);                 /* tombstones */
	set_size(store, big, 6 * PAGE);
	note(store);
	make_holes(store);
	make_xattrs(store);
	note(store);
	set_size(store, pages, PAGE + 10);              /* a tombstone, zeros */
	for (unsigned i = 0; i < 12; i++) {
		snprintf(name, sizeof(name), "name %u", i);
		make_file(store, dir, name);
	}
	assert_ok(tree_unlink(store, dir, "name 3"));
	note(store);
	assert_ok(tree_setattr(store, pages, TREE_SET_MODE | TREE_SET_MTIME, &attr, &attr));
	assert_ok(tree_rename(store, dir, "name 5", ROOT, "moved", 0));
	assert_ok(tree_rename(store, ROOT, "moved", dir, "file", TREE_RENAME_EXCHANGE));
	note(store);
}

/* Of the kind that does not compress, and over and over. */
static void third_layer(struct store *store)
{
	uint64_t noise = make_file(store, ROOT, "noise"), pages = find_now(store, ROOT, "pages");
	uint8_t bytes[2 * PAGE];

	for (unsigned i = 0; i < 2; i++) {
		seed_fill(i + 1, bytes, sizeof(bytes));
		write_bytes(store, noise, i * PAGE, bytes, sizeof(bytes));
		for (unsigned k = 0; k < 6; k++)
			write_bytes(store, pages, k * 300, "over and over", 13 - i);
		note(store);
	}
}

static void fourth_layer(struct store *store)
{
	uint64_t dir = make_dir(store, ROOT, "later"), once = make_file(store, ROOT, "once");
	uint8_t bytes[4 * PAGE];
	char name[32];

	/* More than a table holds. */
	seed_fill(99, bytes, sizeof(bytes));
	write_bytes(store, once, 0, bytes, sizeof(bytes));

	for (unsigned i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "later %u", i);
		write_pattern(store, make_file(store, dir, name), 0, 700 * i, i);
		if (i % 4 == 3)
			note(store);
	}
	assert_ok(tree_rename(store, dir, "later 2", ROOT, "earlier", 0));
	note(store);
}

static void open_part(struct store *store)
{
	uint64_t pages = find_now(store, ROOT, "pages");

	write_bytes(store, pages, 100, "PATCH", 5);
	set_xattr(store, find_now(store, find_now(store, ROOT, "shared"), "attributed"), "user.first", "two");
	note(store);
	assert_ok(tree_unlink(store, ROOT, "hard"));
	assert_ok(tree_rmdir(store, ROOT, make_dir(store, ROOT, "gone") ? "gone" : ""));
	write_pattern(store, find_now(store, ROOT, "moved"), 3 * PAGE, PAGE, 4);
	note(store);
}

static void second_life(struct store *store)
{
	uint64_t pages = find_now(store, ROOT, "pages");

	write_pattern(store, pages, PAGE, PAGE, 5);
	for (unsigned i = 0; i < 5; i++)
		write_bytes(store, pages, PAGE + 50 * i, "deep patch", 10);
	note(store);
	write_text(store, make_file(store, ROOT, "last"), "the end\n");
	note(store);
}

/* What the maker of spares does, for a store too small to want one; and, first, one
 * that is dropped again. */
static void add_spare(const char *path)
{
	struct manifest manifest;
	struct open_layer *spare;
	struct report report = { "" };
	char name[LAYER_NAME_BYTES];
	int dir_fd = open(path, O_RDONLY | O_DIRECTORY), layers_fd;

	must(dir_fd >= 0, "cannot open", path);
	layers_fd = openat(dir_fd, "layers", O_RDONLY | O_DIRECTORY);
	assert_ok(manifest_open(&manifest, dir_fd, true, &report));
	for (uint64_t id = SPARE_ID - 1; id <= SPARE_ID; id++) {
		assert_ok(open_layer_create(layers_fd, id, LAYER_SIZE_MIN, &manifest.store, &spare));
		assert_ok(manifest_layer_opened(&manifest, id));
		open_layer_close(spare);
	}
	assert_ok(manifest_layer_dropped(&manifest, SPARE_ID - 1));
	layer_name(SPARE_ID - 1, name);
	assert_ok(io_unlink(layers_fd, name));
	manifest_close(&manifest);
	close(layers_fd);
	close(dir_fd);
}

static struct store *open_store(const char *path)
{
	struct report report = { "" };
	struct store *store;

	assert_ok(store_open(path, &options, &report, &store));
	return store;
}

static char path[PATH_MAX];

static void set_tag(void)
{
	struct manifest manifest;
	struct report report = { "" };
	int dir_fd = open(path, O_RDONLY | O_DIRECTORY);

	must(dir_fd >= 0, "cannot open", path);
	assert_ok(manifest_open(&manifest, dir_fd, true, &report));
	assert_ok(manifest_tag_set(&manifest, "kept", notes[TAGGED].lsn));
	manifest_close(&manifest);
	close(dir_fd);
}

/* Drop what lies below the window; afterwards it is wide. */
static void drop_history(void)
{
	struct store_window window = { 0 };
	struct store *store;
	struct store_gc gc;

	options.no_compaction = false;
	store = open_store(path);
	window.bytes = newest(store).value - notes[OLDEST].lsn.value;
	assert_ok(store_window_set(store, &window));
	assert_ok(store_collect(store, false, &gc));
	assert_true(gc.dropped_versions > 0);
	window.bytes = UINT64_C(1) << 40;
	assert_ok(store_window_set(store, &window));
	assert_ok(store_close(store));
	options.no_compaction = true;
}

/* A merge that is killed when most of it is there. */
static void begin_merge(void)
{
	struct store_options compacting = options;
	char before[PATH_MAX];
	unsigned nth, first = 0, last = 0;

	compacting.no_compaction = false;
	snprintf(before, sizeof(before), "%.4000s.before", path);
	dir_copy(path, before);
	for (nth = 0; !compact_killed_at(path, &compacting, nth); nth++) {
		if (merge_is_unfinished(path)) {
			first = first ? first : nth;
			last = nth;
		}
		dir_remove(path);
		dir_copy(before, path);
	}
	dir_remove(path);
	dir_copy(before, path);
	must(!compact_killed_at(path, &compacting, (first + 5 * last) / 6) && merge_is_unfinished(path),
	     "no merge in", path);
	dir_remove(before);
}

static void make(void **state)
{
	struct store_mkfs_options mkfs = { .page_size_bytes = PAGE, .compression = STORE_COMPRESSION_LZ4 };
	struct report report = { "" };
	struct store *store;

	(void)state;
	assert_ok(store_mkfs(path, &mkfs, &report));
	store = open_store(path);
	first_layer(store);
	assert_ok(store_freeze(store));
	second_layer(store);
	assert_ok(store_freeze(store));
	assert_ok(store_close(store));
	set_tag();
	drop_history();
	store = open_store(path);
	third_layer(store);
	assert_ok(store_freeze(store));
	fourth_layer(store);
	assert_ok(store_freeze(store));
	assert_ok(store_close(store));
	begin_merge();
	store = open_store(path);
	open_part(store);
	assert_ok(store_close(store));
	add_spare(path);
	store = open_store(path);
	second_life(store);
	assert_ok(store_close(store));
	write_notes();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest steps[] = { cmocka_unit_test(make) };

	if (argc != 2) {
		fprintf(stderr, "Usage: golden_make DIR\n");
		return 2;
	}
	path_join(path, argv[1], "lsns");
	lsns = fopen(path, "w");
	must(lsns != NULL, "cannot make", path);
	path_join(path, argv[1], "store");
	return cmocka_run_group_tests(steps, NULL, NULL) || fclose(lsns);
}
