#include "test_fixture.h"

#include "test_check.h"

#include <inttypes.h>

/* ---- the witness ---- */

struct witness {
	struct snapshot {
		struct lsn lsn;
		char *text;
	} *snapshots;
	size_t count, capacity;
};

/* Of a huge sparse file only the ends are compared. */
#define DESCRIBE_MAX (4 * MIB)
#define DESCRIBE_TAIL (64 * KIB)

static uint64_t content_digest(struct store *store, uint64_t ino, struct lsn at, uint64_t start,
			       uint64_t end)
{
	static uint8_t buffer[1 << 20];
	uint64_t hash = DIGEST_START;

	while (start < end) {
		size_t want = end - start < sizeof(buffer) ? end - start : sizeof(buffer);
		size_t count = 0;

		assert_ok(tree_read(store, ino, at, start, buffer, want, &count));
		assert_int_equal(count, want);
		hash = digest_add(hash, buffer, count);
		start += count;
	}
	return hash;
}

struct description {
	struct store *store;
	struct lsn at;
	FILE *out;
	uint64_t dir;
	unsigned depth;
};

static void describe_content(struct description *d, const struct tree_attr *attr)
{
	char target[PATH_MAX];
	uint64_t head = attr->size_bytes < DESCRIBE_MAX ? attr->size_bytes : DESCRIBE_MAX;
	uint64_t tail = attr->size_bytes - head > DESCRIBE_TAIL ? attr->size_bytes - DESCRIBE_TAIL
								: head;

	if (S_ISREG(attr->mode)) {
		fprintf(d->out, " digest %016" PRIx64,
			content_digest(d->store, attr->ino, d->at, 0, head));
		fprintf(d->out, ",%016" PRIx64,
			content_digest(d->store, attr->ino, d->at, tail, attr->size_bytes));
		fprintf(d->out, " pages %" PRId64 ",%016" PRIx64, attr->page_count,
			assert_space(d->store, attr->ino, d->at));
	} else if (S_ISLNK(attr->mode)) {
		assert_ok(tree_readlink(d->store, attr->ino, d->at, target, sizeof(target)));
		fprintf(d->out, " -> %s", target);
	}
}

static void describe_time(FILE *out, const char *name, struct tree_time t)
{
	fprintf(out, " %s %" PRId64 ".%09" PRIu32, name, t.seconds, t.nanoseconds);
}

static void describe_xattrs(struct description *d, uint64_t ino)
{
	static char names[TREE_XATTR_LIST_MAX];
	static uint8_t value[TREE_XATTR_VALUE_MAX];
	size_t names_bytes, size;

	assert_ok(tree_listxattr(d->store, ino, d->at, names, sizeof(names), &names_bytes));
	for (char *name = names; name < names + names_bytes; name += strlen(name) + 1) {
		assert_ok(tree_getxattr(d->store, ino, d->at, name, value, sizeof(value), &size));
		fprintf(d->out, " %s %zu bytes, digest %016" PRIx64, name, size,
			digest_add(DIGEST_START, value, size));
	}
}

static void describe_inode(struct description *d, uint64_t ino)
{
	struct tree_attr attr;

	assert_ok(tree_getattr(d->store, ino, d->at, &attr));
	fprintf(d->out, "%*sino %" PRIu64 " mode %o %u:%u nlink %u rdev %u size %" PRIu64
		" parent %" PRIu64 " changed %" PRIu64 " position %" PRIu64, d->depth, "",
		attr.ino, attr.mode, attr.uid, attr.gid, attr.nlink, attr.rdev, attr.size_bytes,
		S_ISDIR(attr.mode) ? attr.parent_ino : 0, attr.changed.value, attr.position);
	describe_time(d->out, "mtime", attr.mtime);
	describe_time(d->out, "ctime", attr.ctime);
	describe_time(d->out, "atime", attr.atime);
	describe_time(d->out, "btime", attr.btime);
	describe_content(d, &attr);
	describe_xattrs(d, ino);
	fputc('\n', d->out);
}

static void describe_dir(struct description *d, uint64_t dir)
{
	struct name_list list = { 0 };

	assert_ok(tree_readdir(d->store, dir, d->at, 0, name_list_add, &list));
	d->depth++;
	for (size_t i = 0; i < list.count; i++) {
		struct name_entry *entry = &list.entries[i];

		fprintf(d->out, "%*s%s ino %" PRIu64 " type %o cookie %" PRIu64 "\n", d->depth, "",
			entry->name, entry->ino, entry->type, entry->cookie);
		if (name_is_dot(entry->name))
			continue;
		assert_int_equal(find_at(d->store, dir, entry->name, d->at), entry->ino);
		describe_inode(d, entry->ino);
		if (S_ISDIR(entry->type))
			describe_dir(d, entry->ino);
	}
	d->depth--;
	free(list.entries);
}

char *tree_describe(struct store *store, struct lsn at)
{
	char *text = NULL;
	size_t size_bytes = 0;
	struct description d = { .store = store, .at = at,
				 .out = open_memstream(&text, &size_bytes) };

	assert_non_null(d.out);
	describe_inode(&d, TREE_ROOT_INO);
	describe_dir(&d, TREE_ROOT_INO);
	fclose(d.out);
	return text;
}

static void print_difference(const char *expected, const char *found)
{
	while (*expected && *expected == *found) {
		size_t line = strcspn(expected, "\n");

		if (strncmp(expected, found, line + 1))
			break;
		expected += line + 1;
		found += line + 1;
	}
	print_error("\tnoted: %.*s\n\tfound: %.*s\n", (int)strcspn(expected, "\n"), expected,
		    (int)strcspn(found, "\n"), found);
}

static void snapshot_compare(const struct snapshot *snapshot, const char *found, const char *when)
{
	if (!strcmp(snapshot->text, found))
		return;
	print_error("LSN %" PRIu64 " looks different %s\n", snapshot->lsn.value, when);
	print_difference(snapshot->text, found);
	fail();
}

static void witness_add(struct witness *witness, struct lsn lsn, char *text)
{
	if (witness->count == witness->capacity) {
		witness->capacity = witness->capacity ? witness->capacity * 2 : 64;
		witness->snapshots = realloc(witness->snapshots,
					     witness->capacity * sizeof(*witness->snapshots));
		assert_non_null(witness->snapshots);
	}
	witness->snapshots[witness->count++] = (struct snapshot){ lsn, text };
}

static void witness_free(struct witness *witness)
{
	for (size_t i = 0; i < witness->count; i++)
		free(witness->snapshots[i].text);
	free(witness->snapshots);
	free(witness);
}

/* ---- the fixture ---- */

/* Small, so that a kill copies little. */
#define FIXTURE_LAYER_SIZE (4 * MIB)

struct fixture *fixture_new(const struct store_mkfs_options *mkfs,
			    const struct store_options *options)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct store_mkfs_options standard = { 0 };
	struct report report = { "" };

	assert_non_null(fixture);
	fixture->witness = calloc(1, sizeof(*fixture->witness));
	assert_non_null(fixture->witness);
	dir_make_temporary(fixture->dir);
	path_join(fixture->path, fixture->dir, "store");
	if (options)
		fixture->options = *options;
	if (!fixture->options.layer_size_bytes)
		fixture->options.layer_size_bytes = FIXTURE_LAYER_SIZE;
	if (!fixture->options.holder)
		fixture->options.holder = "a test";
	int err = store_mkfs(fixture->path, mkfs ? mkfs : &standard, &report);
	if (err)
		fail_msg("mkfs %s: %s (%s)", fixture->path, report.text, strerror(-err));
	fixture_open(fixture);
	return fixture;
}

void fixture_open(struct fixture *fixture)
{
	struct report report = { "" };
	int err = store_open(fixture->path, &fixture->options, &report, &fixture->store);

	if (err)
		fail_msg("open %s: %s (%s)", fixture->path, report.text, strerror(-err));
}

void fixture_close(struct fixture *fixture)
{
	struct store *store = fixture->store;

	fixture->store = NULL;
	assert_ok(store_close(store));
}

void fixture_free(struct fixture *fixture)
{
	if (!fixture)
		return;
	store_close(fixture->store);
	witness_free(fixture->witness);
	dir_remove(fixture->dir);
	free(fixture);
}

void fixture_reopen(struct fixture *fixture)
{
	fixture_close(fixture);
	fixture_open(fixture);
}

void fixture_kill(struct fixture *fixture)
{
	char copy[PATH_MAX], name[32];

	snprintf(name, sizeof(name), "killed-%u", fixture->copies++);
	path_join(copy, fixture->dir, name);
	dir_copy(fixture->path, copy);
	fixture_close(fixture);
	/* The check opens nothing for writing: what a kill leaves stays as it is. */
	assert_clean_colliding(fixture->path, fixture->options.name_hash_bits);
	assert_clean_colliding(copy, fixture->options.name_hash_bits);
	dir_remove(fixture->path);
	memcpy(fixture->path, copy, sizeof(copy));
	fixture_open(fixture);
}

void fixture_freeze(struct fixture *fixture)
{
	assert_ok(store_freeze(fixture->store));
}

struct lsn fixture_note(struct fixture *fixture)
{
	struct witness *witness = fixture->witness;
	struct snapshot snapshot = { newest(fixture->store),
				     tree_describe(fixture->store, LSN_HEAD) };
	char *same = tree_describe(fixture->store, snapshot.lsn);

	snapshot_compare(&snapshot, same, "by number than as head");
	free(same);
	if (witness->count && witness->snapshots[witness->count - 1].lsn.value ==
			      snapshot.lsn.value) {
		snapshot_compare(&witness->snapshots[witness->count - 1], snapshot.text,
				 "though no LSN was given out");
		free(snapshot.text);
	} else {
		witness_add(witness, snapshot.lsn, snapshot.text);
	}
	return snapshot.lsn;
}

void fixture_verify(struct fixture *fixture, const char *when)
{
	struct witness *witness = fixture->witness;

	for (size_t i = 0; i < witness->count; i++) {
		char *found = tree_describe(fixture->store, witness->snapshots[i].lsn);

		snapshot_compare(&witness->snapshots[i], found, when);
		free(found);
	}
}

static void check_running(struct fixture *fixture)
{
	struct check_run *run = check_run_running(fixture->store);

	if (run->err || run->count) {
		check_run_print(run);
		fail_msg("the open store is not clean");
	}
	free(run);
}

void fixture_prove(struct fixture *fixture)
{
	fixture_verify(fixture, "at the end of the test");
	fixture_kill(fixture);
	fixture_verify(fixture, "after a kill");
	fixture_freeze(fixture);
	fixture_verify(fixture, "after a freeze");
	fixture_kill(fixture);
	fixture_verify(fixture, "after a kill that followed a freeze");
	fixture_reopen(fixture);
	fixture_verify(fixture, "after a reopen");
	check_running(fixture);
}

int setup_fixture(void **state)
{
	*state = fixture_new(NULL, NULL);
	return 0;
}

int setup_fixture_colliding(void **state)
{
	struct store_options options = { .name_hash_bits = 2 };

	*state = fixture_new(NULL, &options);
	return 0;
}

int teardown_fixture(void **state)
{
	fixture_note(*state);
	fixture_prove(*state);
	fixture_free(*state);
	return 0;
}
