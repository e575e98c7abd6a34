/* Extended attributes and access control lists in the tree, and files without a name. */
#include "acl.h"

#include "test_acl.h"
#include "test_fixture.h"

#define ROOT TREE_ROOT_INO

static void assert_xattr(struct fixture *f, uint64_t ino, struct lsn at, const char *name,
			 const char *expected)
{
	char value[100];
	size_t size;

	if (!expected) {
		assert_err(tree_getxattr(f->store, ino, at, name, value, sizeof(value), &size), -ENODATA);
		return;
	}
	assert_ok(tree_getxattr(f->store, ino, at, name, value, sizeof(value), &size));
	assert_int_equal(size, strlen(expected));
	assert_memory_equal(value, expected, size);
}

/* Each change of one is one LSN, and the inode's ctime. */
static struct lsn set(struct fixture *f, uint64_t ino, const char *name, const char *value)
{
	struct tree_attr before = attr_now(f->store, ino), after;
	struct store_usage usage;
	uint64_t commits;

	store_usage_get(f->store, &usage);
	commits = usage.commit_count;
	clock_tick();
	if (value)
		assert_ok(tree_setxattr(f->store, ino, name, value, strlen(value), 0));
	else
		assert_ok(tree_removexattr(f->store, ino, name));
	store_usage_get(f->store, &usage);
	assert_int_equal(usage.commit_count, commits + 1);
	after = attr_now(f->store, ino);
	assert_true(time_before(before.ctime, after.ctime));
	assert_true(time_equal(before.mtime, after.mtime));
	assert_int_equal(after.changed.value, newest(f->store).value);
	return fixture_note(f);
}

static void attributes_are_set_replaced_and_removed_at_their_lsns(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, ROOT, "a");
	struct lsn none = fixture_note(f);
	struct lsn one = set(f, ino, "user.one", "1");
	struct lsn two = set(f, ino, "user.two", "22");
	struct lsn changed = set(f, ino, "user.one", "another");
	struct lsn removed = set(f, ino, "user.one", NULL);
	struct lsn empty = set(f, ino, "user.three", "");
	char names[64];
	size_t size;

	assert_xattr(f, ino, none, "user.one", NULL);
	assert_xattr(f, ino, one, "user.one", "1");
	assert_xattr(f, ino, one, "user.two", NULL);
	assert_xattr(f, ino, two, "user.two", "22");
	assert_xattr(f, ino, changed, "user.one", "another");
	assert_xattr(f, ino, removed, "user.one", NULL);
	assert_xattr(f, ino, removed, "user.two", "22");
	assert_xattr(f, ino, empty, "user.three", "");
	assert_xattr(f, ino, LSN_HEAD, "user.", NULL);
	assert_ok(tree_listxattr(f->store, ino, LSN_HEAD, names, sizeof(names), &size));
	assert_int_equal(size, sizeof("user.two\0user.three"));
	assert_memory_equal(names, "user.two\0user.three", size);
	assert_ok(tree_listxattr(f->store, ino, none, names, sizeof(names), &size));
	assert_int_equal(size, 0);
}

static void create_and_replace_look_first(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, ROOT, "a");
	struct lsn before = newest(f->store);

	assert_err(tree_setxattr(f->store, ino, "user.a", "1", 1, TREE_XATTR_REPLACE), -ENODATA);
	assert_err(tree_removexattr(f->store, ino, "user.a"), -ENODATA);
	assert_int_equal(newest(f->store).value, before.value);
	assert_ok(tree_setxattr(f->store, ino, "user.a", "1", 1, TREE_XATTR_CREATE));
	before = fixture_note(f);
	assert_err(tree_setxattr(f->store, ino, "user.a", "2", 1, TREE_XATTR_CREATE), -EEXIST);
	assert_int_equal(newest(f->store).value, before.value);
	assert_ok(tree_setxattr(f->store, ino, "user.a", "3", 1, TREE_XATTR_REPLACE));
	before = fixture_note(f);
	assert_xattr(f, ino, LSN_HEAD, "user.a", "3");
	assert_ok(tree_setxattr(f->store, ino, "user.a", "3", 1, 0));
	assert_int_equal(newest(f->store).value, before.value);
	assert_err(tree_setxattr(f->store, 123456, "user.a", "3", 1, 0), -ENOENT);
}

static void sizes_are_limited_and_asked_for(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, ROOT, "a");
	static uint8_t value[TREE_XATTR_VALUE_MAX + 1], found[TREE_XATTR_VALUE_MAX];
	char name[300];
	size_t size;

	seed_fill(7, value, sizeof(value));
	memset(name, 'n', sizeof(name));
	name[255] = 0;
	assert_ok(tree_setxattr(f->store, ino, name, value, TREE_XATTR_VALUE_MAX, 0));
	fixture_note(f);
	assert_err(tree_setxattr(f->store, ino, name, value, sizeof(value), 0), -E2BIG);
	assert_ok(tree_getxattr(f->store, ino, LSN_HEAD, name, NULL, 0, &size));
	assert_int_equal(size, TREE_XATTR_VALUE_MAX);
	assert_err(tree_getxattr(f->store, ino, LSN_HEAD, name, found, sizeof(found) - 1, &size), -ERANGE);
	assert_ok(tree_getxattr(f->store, ino, LSN_HEAD, name, found, sizeof(found), &size));
	assert_memory_equal(value, found, sizeof(found));
	assert_ok(tree_listxattr(f->store, ino, LSN_HEAD, NULL, 0, &size));
	assert_int_equal(size, 256);
	assert_err(tree_listxattr(f->store, ino, LSN_HEAD, (char *)found, 255, &size), -ERANGE);
	name[255] = 'n';
	name[256] = 0;
	assert_err(tree_setxattr(f->store, ino, name, "", 0, 0), -ERANGE);
	assert_err(tree_setxattr(f->store, ino, "", "", 0, 0), -ERANGE);
	name[255] = 0;
	for (unsigned i = 0; i < TREE_XATTR_LIST_MAX / 256 - 1; i++) {
		snprintf(name, 5, "%04u", i);
		name[4] = 'n';
		assert_ok(tree_setxattr(f->store, ino, name, &i, sizeof(i), 0));
	}
	fixture_note(f);
	assert_err(tree_setxattr(f->store, ino, "a", "", 0, 0), -ENOSPC);
}

static void directories_and_links_have_them_and_renames_keep_them(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = make_dir(f->store, ROOT, "dir"), ino = make_file(f->store, dir, "a");
	struct tree_new plain = { .uid = 1 };
	struct tree_attr link;

	assert_ok(tree_symlink(f->store, ROOT, "link", "x", &plain, &link));
	set(f, dir, "user.d", "dir");
	set(f, link.ino, "trusted.l", "link");
	set(f, ino, "user.f", "file");
	assert_ok(tree_rename(f->store, dir, "a", ROOT, "b", 0));
	fixture_note(f);
	assert_xattr(f, dir, LSN_HEAD, "user.d", "dir");
	assert_xattr(f, link.ino, LSN_HEAD, "trusted.l", "link");
	assert_xattr(f, find_now(f->store, ROOT, "b"), LSN_HEAD, "user.f", "file");
}

/* In the same LSN: no past has both the new content and the old capability. */
static void a_capability_goes_with_a_write_a_cut_and_a_new_owner(void **state)
{
	static const unsigned which[] = { TREE_SET_SIZE, TREE_SET_UID, TREE_SET_GID };
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, ROOT, "a");
	struct tree_attr to = { .size_bytes = 1, .uid = 7, .gid = 8 }, attr;

	set(f, ino, "user.kept", "k");
	for (unsigned i = 0; i < array_size(which); i++) {
		set(f, ino, TREE_XATTR_CAPABILITY, "cap");
		assert_ok(tree_setattr(f->store, ino, which[i], &to, &attr));
		fixture_note(f);
		assert_xattr(f, ino, attr.changed, TREE_XATTR_CAPABILITY, NULL);
	}
	set(f, ino, TREE_XATTR_CAPABILITY, "cap");
	write_text(f->store, ino, "text");
	assert_xattr(f, ino, fixture_note(f), TREE_XATTR_CAPABILITY, NULL);
	assert_xattr(f, ino, LSN_HEAD, "user.kept", "k");
	set(f, ino, TREE_XATTR_CAPABILITY, "cap");
	assert_ok(tree_setattr(f->store, ino, TREE_SET_MODE | TREE_SET_MTIME_NOW, &to, &attr));
	assert_ok(tree_write_mapped(f->store, ino, 0, "mapped", 6));
	fixture_note(f);
	assert_xattr(f, ino, LSN_HEAD, TREE_XATTR_CAPABILITY, "cap");
	assert_text(f->store, ino, LSN_HEAD, "mapped");
}

/* Reserving, punching and copying write data, too; also where they add no byte. */
static void a_capability_goes_with_what_changes_the_space_of_a_file(void **state)
{
	enum { RESERVE, RESERVE_KEPT, PUNCH, ZERO, COPY, COPY_HOLE, WAYS };
	struct fixture *f = *state;
	struct store *store = f->store;
	uint64_t ino = make_file(store, ROOT, "a"), from = make_file(store, ROOT, "from");
	uint64_t size = 4 * store_page_size(store), count;

	write_text(store, ino, "text");
	write_bytes(store, from, size, "behind a hole", 13);
	set(f, ino, "user.kept", "k");
	for (unsigned way = 0; way < WAYS; way++) {
		struct lsn before = set(f, ino, TREE_XATTR_CAPABILITY, "cap");
		struct store_usage usage;
		uint64_t commits;

		store_usage_get(store, &usage);
		commits = usage.commit_count;
		if (way <= RESERVE_KEPT)
			assert_ok(tree_reserve(store, ino, 0, size, way == RESERVE_KEPT, false));
		else if (way <= ZERO)
			assert_ok(tree_punch(store, ino, 1, size, way == PUNCH, false));
		else
			assert_ok(tree_copy(store, from, LSN_HEAD, way == COPY ? size : 0, ino, 0, 10, false,
					    &count));
		store_usage_get(store, &usage);
		assert_int_equal(usage.commit_count, commits + 1);
		assert_xattr(f, ino, fixture_note(f), TREE_XATTR_CAPABILITY, NULL);
		assert_xattr(f, ino, before, TREE_XATTR_CAPABILITY, "cap");
		assert_xattr(f, ino, LSN_HEAD, "user.kept", "k");
	}
}

static void a_removed_file_takes_them_along(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, ROOT, "a");
	struct lsn had = set(f, ino, "user.a", "here it is, that value");
	struct store_window window = { .bytes = 1 };
	static struct store_gc gc;
	char path[PATH_MAX];
	off_t offset;

	assert_ok(tree_unlink(f->store, ROOT, "a"));
	assert_xattr(f, ino, LSN_HEAD, "user.a", "here it is, that value");
	tree_forget(f->store, ino);
	fixture_freeze(f);
	assert_xattr(f, ino, had, "user.a", "here it is, that value");
	fixture_free(f);
	*state = f = fixture_new(NULL, NULL);
	ino = make_file(f->store, ROOT, "a");
	assert_ok(tree_setxattr(f->store, ino, "user.a", "here it is, that value", 22, 0));
	assert_ok(tree_unlink(f->store, ROOT, "a"));
	tree_forget(f->store, ino);
	make_file(f->store, ROOT, "b");
	fixture_freeze(f);
	assert_true(dir_find_bytes(f->path, "here it is, that value", 22, path, &offset));
	assert_ok(store_window_set(f->store, &window));
	assert_ok(store_collect(f->store, false, &gc));
	assert_true(gc.dropped_versions > 0);
	assert_false(dir_find_bytes(f->path, "here it is, that value", 22, path, &offset));
}

/* ---- access control lists ---- */

static void set_acl(struct fixture *f, uint64_t ino, const char *name, const char *text, int err)
{
	uint8_t bytes[TEST_ACL_BYTES];
	size_t size = test_acl_make(text, bytes);

	assert_err(tree_setxattr(f->store, ino, name, bytes, size, 0), err);
	fixture_note(f);
}

static void assert_has_acl(struct fixture *f, uint64_t ino, const char *name, const char *text)
{
	uint8_t bytes[TEST_ACL_BYTES];
	size_t size;

	if (!text) {
		assert_err(tree_getxattr(f->store, ino, LSN_HEAD, name, bytes, sizeof(bytes), &size), -ENODATA);
		return;
	}
	assert_ok(tree_getxattr(f->store, ino, LSN_HEAD, name, bytes, sizeof(bytes), &size));
	assert_acl(bytes, size, text);
}

static void mode_and_access_list_agree(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, ROOT, "a");
	struct tree_attr to = { .mode = 0640 }, attr;
	uint8_t bytes[TEST_ACL_BYTES];
	size_t size;

	set_acl(f, ino, ACL_ACCESS_NAME, "u:7 u1000:6 g:5 m:7 o:4", 0);
	assert_int_equal(attr_now(f->store, ino).mode, S_IFREG | 0774);
	assert_ok(tree_setattr(f->store, ino, TREE_SET_MODE, &to, &attr));
	fixture_note(f);
	assert_has_acl(f, ino, ACL_ACCESS_NAME, "u:6 u1000:6 g:5 m:4 o:0");
	/* A list that says no more than a mode is one. */
	set_acl(f, ino, ACL_ACCESS_NAME, "u:6 g:4 o:1", 0);
	assert_int_equal(attr_now(f->store, ino).mode, S_IFREG | 0641);
	assert_has_acl(f, ino, ACL_ACCESS_NAME, NULL);
	to.mode = 02755;
	assert_ok(tree_setattr(f->store, ino, TREE_SET_MODE, &to, &attr));
	size = test_acl_make("u:7 u1:7 g:5 m:7 o:5", bytes);
	assert_ok(tree_setxattr(f->store, ino, ACL_ACCESS_NAME, bytes, size, TREE_XATTR_DROP_SGID));
	fixture_note(f);
	assert_int_equal(attr_now(f->store, ino).mode, S_IFREG | 0775);
	assert_ok(tree_removexattr(f->store, ino, ACL_ACCESS_NAME));
	fixture_note(f);
	assert_has_acl(f, ino, ACL_ACCESS_NAME, NULL);
	assert_ok(tree_removexattr(f->store, ino, ACL_ACCESS_NAME));
	set_acl(f, ino, ACL_ACCESS_NAME, "u:7 u1000:6 g:5 o:4", -EINVAL);
	set_acl(f, ino, ACL_DEFAULT_NAME, "u:7 g:5 o:4", -EACCES);
}

static struct tree_attr make(struct fixture *f, uint64_t dir, const char *name, uint32_t mode, uint32_t umask)
{
	struct tree_new what = { .mode = mode, .umask = umask };
	struct store_usage usage;
	struct tree_attr attr;
	uint64_t commits;

	store_usage_get(f->store, &usage);
	commits = usage.commit_count;
	assert_ok(tree_create(f->store, dir, name, &what, &attr));
	store_usage_get(f->store, &usage);
	assert_int_equal(usage.commit_count, commits + 1);
	fixture_note(f);
	return attr;
}

static void a_default_list_is_inherited_in_place_of_the_umask(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = make_dir(f->store, ROOT, "dir");
	struct tree_new plain = { .umask = 0777 };
	struct tree_attr attr;

	assert_int_equal(make(f, dir, "before", S_IFREG | 0666, 027).mode, S_IFREG | 0640);
	set_acl(f, dir, ACL_DEFAULT_NAME, "u:7 u1000:7 g:5 m:7 o:4", 0);
	attr = make(f, dir, "file", S_IFREG | 0666, 077);
	assert_int_equal(attr.mode, S_IFREG | 0664);
	assert_has_acl(f, attr.ino, ACL_ACCESS_NAME, "u:6 u1000:7 g:5 m:6 o:4");
	assert_has_acl(f, attr.ino, ACL_DEFAULT_NAME, NULL);
	attr = make(f, dir, "below", S_IFDIR | 0777, 077);
	assert_int_equal(attr.mode, S_IFDIR | 0774);
	assert_has_acl(f, attr.ino, ACL_ACCESS_NAME, "u:7 u1000:7 g:5 m:7 o:4");
	assert_has_acl(f, attr.ino, ACL_DEFAULT_NAME, "u:7 u1000:7 g:5 m:7 o:4");
	assert_ok(tree_symlink(f->store, dir, "link", "x", &plain, &attr));
	assert_int_equal(attr.mode, S_IFLNK | 0777);
	set_acl(f, dir, ACL_DEFAULT_NAME, "u:7 g:4 o:0", 0);
	attr = make(f, dir, "plain", S_IFREG | 0666, 077);
	assert_int_equal(attr.mode, S_IFREG | 0640);
	assert_has_acl(f, attr.ino, ACL_ACCESS_NAME, NULL);
	assert_ok(tree_create_unnamed(f->store, dir, &(struct tree_new){ .mode = S_IFREG | 0666 }, &attr));
	assert_int_equal(attr.mode, S_IFREG | 0640);
	assert_ok(tree_removexattr(f->store, dir, ACL_DEFAULT_NAME));
	assert_int_equal(make(f, dir, "after", S_IFREG | 0666, 022).mode, S_IFREG | 0644);
}

/* ---- files without a name ---- */

static struct tree_attr make_unnamed(struct fixture *f)
{
	struct tree_new what = { .mode = S_IFREG | 0600, .uid = 5, .gid = 6 };
	struct tree_attr attr;

	assert_ok(tree_create_unnamed(f->store, ROOT, &what, &attr));
	return attr;
}

static void an_unnamed_file_can_be_given_a_name(void **state)
{
	struct fixture *f = *state;
	struct tree_attr root = attr_now(f->store, ROOT), attr = make_unnamed(f), linked;
	struct lsn unnamed;

	assert_int_equal(attr.nlink, 0);
	assert_int_equal(attr_now(f->store, ROOT).changed.value, root.changed.value);
	write_text(f->store, attr.ino, "content");
	unnamed = fixture_note(f);
	assert_err(tree_getattr(f->store, attr.ino, unnamed, &linked), -ENOENT);
	assert_ok(tree_link(f->store, attr.ino, ROOT, "name", &linked));
	fixture_note(f);
	assert_int_equal(linked.nlink, 1);
	assert_text(f->store, find_now(f->store, ROOT, "name"), LSN_HEAD, "content");
	assert_ok(tree_unlink(f->store, ROOT, "name"));
	/* It had one. */
	assert_err(tree_link(f->store, attr.ino, ROOT, "again", &linked), -ENOENT);
}

static void an_unnamed_file_survives_a_collection_while_it_is_open(void **state)
{
	struct fixture *f = *state;
	struct tree_attr kept = make_unnamed(f), left = make_unnamed(f), linked;
	struct store_window window = { .bytes = 1 };
	static struct store_gc gc;

	write_text(f->store, kept.ino, "kept");
	write_text(f->store, left.ino, "left");
	tree_forget(f->store, left.ino);
	make_file(f->store, ROOT, "b");
	fixture_freeze(f);
	assert_ok(store_window_set(f->store, &window));
	assert_ok(store_collect(f->store, false, &gc));
	assert_text(f->store, kept.ino, LSN_HEAD, "kept");
	assert_ok(tree_link(f->store, kept.ino, ROOT, "kept", &linked));
	make_file(f->store, ROOT, "c");
	fixture_freeze(f);
	assert_ok(store_collect(f->store, false, &gc));
	assert_text(f->store, find_now(f->store, ROOT, "kept"), LSN_HEAD, "kept");
	fixture_reopen(f);
	assert_text(f->store, find_now(f->store, ROOT, "kept"), LSN_HEAD, "kept");
	assert_err(tree_create_unnamed(f->store, ROOT, &(struct tree_new){ .mode = S_IFDIR | 0700 }, &kept),
		   -EINVAL);
	assert_err(tree_create_unnamed(f->store, kept.ino, &(struct tree_new){ .mode = S_IFREG }, &kept),
		   -ENOTDIR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fixture_test(attributes_are_set_replaced_and_removed_at_their_lsns),
		fixture_test(create_and_replace_look_first),
		fixture_test(sizes_are_limited_and_asked_for),
		fixture_test(directories_and_links_have_them_and_renames_keep_them),
		fixture_test(a_capability_goes_with_a_write_a_cut_and_a_new_owner),
		fixture_test(a_capability_goes_with_what_changes_the_space_of_a_file),
		fixture_test(a_removed_file_takes_them_along),
		fixture_test(mode_and_access_list_agree),
		fixture_test(a_default_list_is_inherited_in_place_of_the_umask),
		fixture_test(an_unnamed_file_can_be_given_a_name),
		fixture_test(an_unnamed_file_survives_a_collection_while_it_is_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
