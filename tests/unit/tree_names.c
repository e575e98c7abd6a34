/* Names: create, lookup, symlink, link, unlink, rmdir, and what each does to
 * links, times and the directory. */
#include "test_fixture.h"

static const struct tree_new plain_file = { .mode = S_IFREG | 0640, .uid = 7, .gid = 8 };
static const struct tree_new plain_dir = { .mode = S_IFDIR | 0750, .uid = 7, .gid = 8 };
static const struct tree_new plain_link = { .mode = S_IFLNK | 0777, .uid = 7, .gid = 8 };

/* The change just made stamped this inode, with the newest LSN. */
static void assert_changed_by_last(struct store *store, uint64_t ino)
{
	assert_int_equal(attr_now(store, ino).changed.value, newest(store).value);
}

static void root_is_a_directory_from_the_first_lsn(void **state)
{
	struct fixture *f = *state;
	struct lsn oldest, now;

	store_window(f->store, &oldest, &now);
	assert_true(oldest.value > 0);
	assert_true(oldest.value <= now.value);
	struct tree_attr attr = attr_at(f->store, TREE_ROOT_INO, oldest);
	assert_int_equal(attr.mode, S_IFDIR | 0755);
	assert_int_equal(attr.nlink, 1);
	assert_int_equal(attr.size_bytes, 0);
	assert_int_equal(attr.parent_ino, TREE_ROOT_INO);
	assert_names(f->store, TREE_ROOT_INO, oldest, "");
}

static void create_gives_what_was_asked_for(void **state)
{
	struct fixture *f = *state;
	struct tree_attr attr, found;

	assert_ok(tree_create(f->store, TREE_ROOT_INO, "a", &plain_file, &attr));
	assert_int_equal(attr.mode, S_IFREG | 0640);
	assert_int_equal(attr.uid, 7);
	assert_int_equal(attr.gid, 8);
	assert_int_equal(attr.nlink, 1);
	assert_int_equal(attr.size_bytes, 0);
	assert_true(time_equal(attr.btime, attr.mtime));
	assert_true(time_equal(attr.btime, attr.ctime));
	assert_true(time_equal(attr.btime, attr.atime));
	assert_true(attr.btime.seconds > 1500000000);
	assert_int_equal(attr.changed.value, newest(f->store).value);
	assert_ok(tree_lookup(f->store, TREE_ROOT_INO, "a", LSN_HEAD, &found));
	assert_attr_equal(&attr, &found);
	fixture_note(f);
}

static void create_makes_every_type(void **state)
{
	struct fixture *f = *state;
	static const uint32_t types[] = { S_IFREG, S_IFDIR, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK };

	for (unsigned i = 0; i < array_size(types); i++) {
		char name[] = { 'a' + i, 0 };
		struct tree_new what = { .mode = types[i] | 04711,
					 .rdev = types[i] == S_IFCHR || types[i] == S_IFBLK ?
						 0x12345 : 0 };
		struct tree_attr attr;

		assert_ok(tree_create(f->store, TREE_ROOT_INO, name, &what, &attr));
		assert_int_equal(attr.mode, what.mode);
		assert_int_equal(attr.rdev, what.rdev);
		assert_int_equal(attr.nlink, 1);
		fixture_note(f);
	}
	assert_names(f->store, TREE_ROOT_INO, LSN_HEAD, "a b c d e f");
}

static void create_stamps_the_directory(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = make_dir(f->store, TREE_ROOT_INO, "dir");
	struct tree_attr before = attr_now(f->store, dir), after;

	clock_tick();
	make_file(f->store, dir, "a");
	after = attr_now(f->store, dir);
	assert_int_equal(after.size_bytes, before.size_bytes + 1);
	assert_true(time_before(before.mtime, after.mtime));
	assert_true(time_before(before.ctime, after.ctime));
	assert_true(time_equal(before.btime, after.btime));
	assert_changed_by_last(f->store, dir);
}

static void create_refuses_what_cannot_be(void **state)
{
	struct fixture *f = *state;
	uint64_t file = make_file(f->store, TREE_ROOT_INO, "file");
	uint64_t gone = make_dir(f->store, TREE_ROOT_INO, "gone");
	struct tree_attr attr;

	assert_ok(tree_rmdir(f->store, TREE_ROOT_INO, "gone"));
	fixture_note(f);
	assert_err(tree_create(f->store, TREE_ROOT_INO, "file", &plain_file, &attr), -EEXIST);
	assert_err(tree_create(f->store, TREE_ROOT_INO, "file", &plain_dir, &attr), -EEXIST);
	assert_err(tree_symlink(f->store, TREE_ROOT_INO, "file", "x", &plain_link, &attr), -EEXIST);
	assert_err(tree_create(f->store, file, "a", &plain_file, &attr), -ENOTDIR);
	assert_err(tree_symlink(f->store, file, "a", "x", &plain_link, &attr), -ENOTDIR);
	assert_err(tree_create(f->store, gone, "a", &plain_file, &attr), -ENOENT);
	assert_err(tree_symlink(f->store, gone, "a", "x", &plain_link, &attr), -ENOENT);
	assert_err(tree_create(f->store, 123456789, "a", &plain_file, &attr), -ENOENT);
	fixture_note(f);                /* also: no LSN was spent */
}

static void names_have_one_to_255_bytes(void **state)
{
	struct fixture *f = *state;
	struct tree_attr attr;
	char name[TREE_NAME_MAX + 2];

	memset(name, 'x', sizeof(name));
	name[TREE_NAME_MAX + 1] = 0;
	assert_err(tree_create(f->store, TREE_ROOT_INO, name, &plain_file, &attr), -ENAMETOOLONG);
	assert_err(tree_lookup(f->store, TREE_ROOT_INO, name, LSN_HEAD, &attr), -ENAMETOOLONG);
	assert_err(tree_unlink(f->store, TREE_ROOT_INO, name), -ENAMETOOLONG);
	assert_err(tree_rmdir(f->store, TREE_ROOT_INO, name), -ENAMETOOLONG);
	assert_err(tree_symlink(f->store, TREE_ROOT_INO, name, "x", &plain_link, &attr),
		   -ENAMETOOLONG);
	name[TREE_NAME_MAX] = 0;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, name);
	assert_int_equal(find_now(f->store, TREE_ROOT_INO, name), ino);
	assert_names(f->store, TREE_ROOT_INO, LSN_HEAD, name);
	fixture_note(f);
	name[TREE_NAME_MAX] = 'x';
	assert_err(tree_rename(f->store, TREE_ROOT_INO, name, TREE_ROOT_INO, "y", 0),
		   -ENAMETOOLONG);
	assert_err(tree_link(f->store, ino, TREE_ROOT_INO, name, &attr), -ENAMETOOLONG);
	name[TREE_NAME_MAX] = 0;
	assert_ok(tree_rename(f->store, TREE_ROOT_INO, name, TREE_ROOT_INO, "y", 0));
	name[TREE_NAME_MAX] = 'x';
	assert_err(tree_rename(f->store, TREE_ROOT_INO, "y", TREE_ROOT_INO, name, 0),
		   -ENAMETOOLONG);
}

static void empty_names_and_slashes_are_invalid(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = { "", "/", "a/b", "a/", "/a" };
	struct tree_attr attr;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");

	fixture_note(f);
	for (unsigned i = 0; i < array_size(bad); i++) {
		assert_err(tree_create(f->store, TREE_ROOT_INO, bad[i], &plain_file, &attr),
			   -EINVAL);
		assert_err(tree_lookup(f->store, TREE_ROOT_INO, bad[i], LSN_HEAD, &attr), -EINVAL);
		assert_err(tree_symlink(f->store, TREE_ROOT_INO, bad[i], "x", &plain_link, &attr),
			   -EINVAL);
		assert_err(tree_link(f->store, ino, TREE_ROOT_INO, bad[i], &attr), -EINVAL);
		assert_err(tree_unlink(f->store, TREE_ROOT_INO, bad[i]), -EINVAL);
		assert_err(tree_rmdir(f->store, TREE_ROOT_INO, bad[i]), -EINVAL);
		assert_err(tree_rename(f->store, TREE_ROOT_INO, bad[i], TREE_ROOT_INO, "b", 0),
			   -EINVAL);
		assert_err(tree_rename(f->store, TREE_ROOT_INO, "a", TREE_ROOT_INO, bad[i], 0),
			   -EINVAL);
	}
	fixture_note(f);
}

static void dot_names_cannot_be_made_or_removed(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = make_dir(f->store, TREE_ROOT_INO, "dir");
	static const char *const dots[] = { ".", ".." };
	struct tree_attr attr;

	fixture_note(f);
	for (unsigned i = 0; i < array_size(dots); i++) {
		assert_true(tree_create(f->store, dir, dots[i], &plain_file, &attr) < 0);
		assert_true(tree_symlink(f->store, dir, dots[i], "x", &plain_link, &attr) < 0);
		assert_true(tree_unlink(f->store, dir, dots[i]) < 0);
		assert_true(tree_rmdir(f->store, dir, dots[i]) < 0);
		assert_true(tree_rename(f->store, dir, dots[i], TREE_ROOT_INO, "new", 0) < 0);
		assert_true(tree_rename(f->store, TREE_ROOT_INO, "dir", dir, dots[i], 0) < 0);
	}
	fixture_note(f);
}

static void names_are_bytes(void **state)
{
	struct fixture *f = *state;
	static const char *const odd[] = { "\n", "\xff\xfe", " ", "a\tb", "...", "ä", "\xe4" };

	for (unsigned i = 0; i < array_size(odd); i++) {
		uint64_t ino = make_file(f->store, TREE_ROOT_INO, odd[i]);

		assert_int_equal(find_now(f->store, TREE_ROOT_INO, odd[i]), ino);
	}
	assert_int_equal(attr_now(f->store, TREE_ROOT_INO).size_bytes, array_size(odd));
}

static void lookup_finds_dot_and_dot_dot(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = make_dir(f->store, TREE_ROOT_INO, "dir");
	uint64_t sub = make_dir(f->store, dir, "sub");
	uint64_t file = make_file(f->store, dir, "file");
	struct tree_attr attr;

	assert_int_equal(find_now(f->store, sub, "."), sub);
	assert_int_equal(find_now(f->store, sub, ".."), dir);
	assert_int_equal(find_now(f->store, dir, ".."), TREE_ROOT_INO);
	assert_int_equal(find_now(f->store, TREE_ROOT_INO, ".."), TREE_ROOT_INO);
	assert_int_equal(find_now(f->store, TREE_ROOT_INO, "."), TREE_ROOT_INO);
	assert_err(tree_lookup(f->store, TREE_ROOT_INO, "nothing", LSN_HEAD, &attr), -ENOENT);
	assert_err(tree_lookup(f->store, file, "x", LSN_HEAD, &attr), -ENOTDIR);
	assert_err(tree_lookup(f->store, 123456789, "x", LSN_HEAD, &attr), -ENOENT);
}

static void lookup_in_the_past_sees_the_past(void **state)
{
	struct fixture *f = *state;
	struct lsn empty = newest(f->store), made, removed;
	struct tree_attr attr;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");

	made = fixture_note(f);
	assert_ok(tree_unlink(f->store, TREE_ROOT_INO, "a"));
	removed = fixture_note(f);
	uint64_t second = make_file(f->store, TREE_ROOT_INO, "a");
	fixture_note(f);
	assert_int_not_equal(second, ino);
	for (unsigned round = 0; round < 2; round++) {
		assert_int_equal(find_at(f->store, TREE_ROOT_INO, "a", empty), 0);
		assert_int_equal(find_at(f->store, TREE_ROOT_INO, "a", made), ino);
		assert_int_equal(find_at(f->store, TREE_ROOT_INO, "a", removed), 0);
		assert_int_equal(find_now(f->store, TREE_ROOT_INO, "a"), second);
		assert_err(tree_getattr(f->store, ino, empty, &attr), -ENOENT);
		assert_ok(tree_getattr(f->store, ino, made, &attr));
		assert_err(tree_getattr(f->store, ino, removed, &attr), -ENOENT);
		assert_err(tree_getattr(f->store, second, removed, &attr), -ENOENT);
		fixture_freeze(f);
	}
}

static void set_gid_directories_hand_down_group_and_bit(void **state)
{
	struct fixture *f = *state;
	struct tree_new shared = { .mode = S_IFDIR | S_ISGID | 0775, .uid = 1, .gid = 50 };
	struct tree_attr dir, attr;

	assert_ok(tree_create(f->store, TREE_ROOT_INO, "shared", &shared, &dir));
	assert_int_equal(dir.mode, S_IFDIR | S_ISGID | 0775);
	assert_ok(tree_create(f->store, dir.ino, "file", &plain_file, &attr));
	assert_int_equal(attr.gid, 50);
	assert_int_equal(attr.uid, 7);
	assert_int_equal(attr.mode, S_IFREG | 0640);
	assert_ok(tree_create(f->store, dir.ino, "sub", &plain_dir, &attr));
	assert_int_equal(attr.gid, 50);
	assert_int_equal(attr.mode, S_IFDIR | S_ISGID | 0750);
	assert_ok(tree_symlink(f->store, dir.ino, "link", "x", &plain_link, &attr));
	assert_int_equal(attr.gid, 50);
}

static void symlinks_hold_their_target(void **state)
{
	struct fixture *f = *state;
	struct tree_attr attr;
	char target[PATH_MAX], found[PATH_MAX];

	assert_ok(tree_symlink(f->store, TREE_ROOT_INO, "short", "../a b", &plain_link, &attr));
	assert_true(S_ISLNK(attr.mode));
	assert_int_equal(attr.size_bytes, 6);
	assert_int_equal(attr.nlink, 1);
	assert_ok(tree_readlink(f->store, attr.ino, LSN_HEAD, found, sizeof(found)));
	assert_string_equal(found, "../a b");
	fixture_note(f);

	memset(target, 't', sizeof(target));
	target[PATH_MAX - 1] = 0;
	assert_ok(tree_symlink(f->store, TREE_ROOT_INO, "long", target, &plain_link, &attr));
	assert_int_equal(attr.size_bytes, PATH_MAX - 1);
	assert_ok(tree_readlink(f->store, attr.ino, LSN_HEAD, found, sizeof(found)));
	assert_string_equal(found, target);
	fixture_note(f);
}

static void readlink_wants_a_symlink(void **state)
{
	struct fixture *f = *state;
	uint64_t file = make_file(f->store, TREE_ROOT_INO, "a");
	char found[PATH_MAX];

	assert_err(tree_readlink(f->store, file, LSN_HEAD, found, sizeof(found)), -EINVAL);
	assert_err(tree_readlink(f->store, TREE_ROOT_INO, LSN_HEAD, found, sizeof(found)), -EINVAL);
	assert_err(tree_readlink(f->store, 123456789, LSN_HEAD, found, sizeof(found)), -ENOENT);
}

static void link_adds_a_name_to_the_same_inode(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = make_dir(f->store, TREE_ROOT_INO, "dir");
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	struct tree_attr before = attr_now(f->store, ino), dir_before = attr_now(f->store, dir);
	struct tree_attr after;

	write_text(f->store, ino, "shared");
	before = attr_now(f->store, ino);
	fixture_note(f);
	clock_tick();
	assert_ok(tree_link(f->store, ino, dir, "b", &after));
	assert_int_equal(after.ino, ino);
	assert_int_equal(after.nlink, 2);
	assert_true(time_before(before.ctime, after.ctime));
	assert_true(time_equal(before.mtime, after.mtime));
	assert_true(time_before(dir_before.mtime, attr_now(f->store, dir).mtime));
	assert_changed_by_last(f->store, ino);
	assert_changed_by_last(f->store, dir);
	assert_int_equal(find_now(f->store, dir, "b"), ino);
	fixture_note(f);

	assert_ok(tree_unlink(f->store, TREE_ROOT_INO, "a"));
	assert_int_equal(attr_now(f->store, ino).nlink, 1);
	assert_text(f->store, ino, newest(f->store), "shared");
	fixture_note(f);
}

static void link_refuses_directories_the_dead_and_taken_names(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = make_dir(f->store, TREE_ROOT_INO, "dir");
	uint64_t file = make_file(f->store, TREE_ROOT_INO, "file");
	uint64_t dead = make_file(f->store, TREE_ROOT_INO, "dead");
	uint64_t gone = make_dir(f->store, TREE_ROOT_INO, "gone");
	struct tree_attr attr;

	assert_ok(tree_unlink(f->store, TREE_ROOT_INO, "dead"));
	assert_ok(tree_rmdir(f->store, TREE_ROOT_INO, "gone"));
	fixture_note(f);
	assert_err(tree_link(f->store, dir, TREE_ROOT_INO, "x", &attr), -EPERM);
	assert_err(tree_link(f->store, dead, TREE_ROOT_INO, "x", &attr), -ENOENT);
	assert_err(tree_link(f->store, 123456789, TREE_ROOT_INO, "x", &attr), -ENOENT);
	assert_err(tree_link(f->store, file, TREE_ROOT_INO, "dir", &attr), -EEXIST);
	assert_err(tree_link(f->store, file, TREE_ROOT_INO, "file", &attr), -EEXIST);
	assert_err(tree_link(f->store, file, file, "x", &attr), -ENOTDIR);
	assert_err(tree_link(f->store, file, gone, "x", &attr), -ENOENT);
	fixture_note(f);
}

static void link_count_has_a_limit(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "0");
	struct tree_attr attr;
	char name[16];

	for (unsigned i = 1; i < TREE_LINK_MAX; i++) {
		snprintf(name, sizeof(name), "%u", i);
		assert_ok(tree_link(f->store, ino, TREE_ROOT_INO, name, &attr));
	}
	assert_int_equal(attr.nlink, TREE_LINK_MAX);
	assert_err(tree_link(f->store, ino, TREE_ROOT_INO, "more", &attr), -EMLINK);
	assert_ok(tree_unlink(f->store, TREE_ROOT_INO, "17"));
	assert_ok(tree_link(f->store, ino, TREE_ROOT_INO, "more", &attr));
}

static void unlink_stamps_file_and_directory(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	struct tree_attr before, root_before = attr_now(f->store, TREE_ROOT_INO), after;

	assert_ok(tree_link(f->store, ino, TREE_ROOT_INO, "b", &before));
	root_before = attr_now(f->store, TREE_ROOT_INO);
	clock_tick();
	assert_ok(tree_unlink(f->store, TREE_ROOT_INO, "b"));
	after = attr_now(f->store, ino);
	assert_int_equal(after.nlink, 1);
	assert_true(time_before(before.ctime, after.ctime));
	assert_true(time_equal(before.mtime, after.mtime));
	after = attr_now(f->store, TREE_ROOT_INO);
	assert_int_equal(after.size_bytes, root_before.size_bytes - 1);
	assert_true(time_before(root_before.mtime, after.mtime));
	assert_true(time_before(root_before.ctime, after.ctime));
}

static void unlink_and_rmdir_know_files_from_directories(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = make_dir(f->store, TREE_ROOT_INO, "dir");
	uint64_t file = make_file(f->store, dir, "file");

	fixture_note(f);
	assert_err(tree_unlink(f->store, TREE_ROOT_INO, "dir"), -EISDIR);
	assert_err(tree_rmdir(f->store, dir, "file"), -ENOTDIR);
	assert_err(tree_rmdir(f->store, TREE_ROOT_INO, "dir"), -ENOTEMPTY);
	assert_err(tree_unlink(f->store, dir, "nothing"), -ENOENT);
	assert_err(tree_rmdir(f->store, dir, "nothing"), -ENOENT);
	assert_err(tree_unlink(f->store, file, "x"), -ENOTDIR);
	assert_err(tree_rmdir(f->store, file, "x"), -ENOTDIR);
	fixture_note(f);
	assert_ok(tree_unlink(f->store, dir, "file"));
	fixture_note(f);
	assert_ok(tree_rmdir(f->store, TREE_ROOT_INO, "dir"));
	assert_int_equal(find_now(f->store, TREE_ROOT_INO, "dir"), 0);
	assert_err(tree_unlink(f->store, dir, "x"), -ENOENT);
	fixture_note(f);
}

static void unlinked_file_stays_usable_by_number_until_close(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	struct lsn named, nameless;
	struct tree_attr attr;

	write_text(f->store, ino, "before");
	named = fixture_note(f);
	assert_ok(tree_unlink(f->store, TREE_ROOT_INO, "a"));
	nameless = fixture_note(f);
	attr = attr_now(f->store, ino);
	assert_int_equal(attr.nlink, 0);
	assert_text(f->store, ino, LSN_HEAD, "before");
	write_bytes(f->store, ino, 6, " and after", 10);
	assert_text(f->store, ino, LSN_HEAD, "before and after");
	set_size(f->store, ino, 3);
	assert_text(f->store, ino, LSN_HEAD, "bef");
	fixture_freeze(f);
	assert_text(f->store, ino, LSN_HEAD, "bef");
	write_text(f->store, ino, "BEFORE");
	assert_text(f->store, ino, LSN_HEAD, "BEFORE");
	assert_text(f->store, ino, named, "before");
	assert_err(tree_getattr(f->store, ino, nameless, &attr), -ENOENT);
	assert_err(tree_getattr(f->store, ino, newest(f->store), &attr), -ENOENT);

	fixture_reopen(f);
	assert_names(f->store, TREE_ROOT_INO, LSN_HEAD, "");
	assert_text(f->store, ino, named, "before");
}

static void unlinked_file_gets_no_name_back_by_a_kill(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	struct tree_attr attr;
	struct lsn named;

	write_text(f->store, ino, "before");
	named = fixture_note(f);
	assert_ok(tree_unlink(f->store, TREE_ROOT_INO, "a"));
	write_text(f->store, ino, "afterwards");
	fixture_kill(f);
	assert_names(f->store, TREE_ROOT_INO, LSN_HEAD, "");
	assert_err(tree_getattr(f->store, ino, newest(f->store), &attr), -ENOENT);
	assert_err(tree_link(f->store, ino, TREE_ROOT_INO, "b", &attr), -ENOENT);
	assert_text(f->store, ino, named, "before");
}

static void removed_directory_is_empty_and_takes_no_names(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = make_dir(f->store, TREE_ROOT_INO, "dir");
	uint64_t file = make_file(f->store, TREE_ROOT_INO, "file");
	struct tree_attr attr;

	assert_ok(tree_rmdir(f->store, TREE_ROOT_INO, "dir"));
	assert_int_equal(attr_now(f->store, dir).nlink, 0);
	assert_int_equal(find_now(f->store, dir, "x"), 0);
	assert_err(tree_create(f->store, dir, "x", &plain_file, &attr), -ENOENT);
	assert_err(tree_link(f->store, file, dir, "x", &attr), -ENOENT);
	assert_err(tree_rename(f->store, TREE_ROOT_INO, "file", dir, "x", 0), -ENOENT);
	assert_int_equal(find_now(f->store, TREE_ROOT_INO, "file"), file);
}

static void inode_numbers_are_never_used_again(void **state)
{
	struct fixture *f = *state;
	uint64_t last = TREE_ROOT_INO;

	for (unsigned i = 0; i < 60; i++) {
		uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");

		assert_true(ino > last);
		last = ino;
		assert_ok(tree_unlink(f->store, TREE_ROOT_INO, "a"));
		if (i % 20 == 5)
			fixture_freeze(f);
		if (i % 20 == 10)
			fixture_reopen(f);
		if (i % 20 == 15)
			fixture_kill(f);
	}
}

/* With two bits of hash every directory of five names has a collision. */
static void colliding_names_stay_apart(void **state)
{
	struct fixture *f = *state;
	enum { COUNT = 40 };
	uint64_t inos[COUNT];
	char name[32];

	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(name, sizeof(name), "name-%u", i);
		inos[i] = make_file(f->store, TREE_ROOT_INO, name);
		fixture_note(f);
	}
	for (unsigned i = 0; i < COUNT; i += 2) {
		snprintf(name, sizeof(name), "name-%u", i);
		assert_ok(tree_unlink(f->store, TREE_ROOT_INO, name));
		fixture_note(f);
		if (i == COUNT / 2)
			fixture_freeze(f);
	}
	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(name, sizeof(name), "name-%u", i);
		assert_int_equal(find_now(f->store, TREE_ROOT_INO, name), i % 2 ? inos[i] : 0);
	}
	for (unsigned i = 0; i < COUNT; i += 4) {
		snprintf(name, sizeof(name), "name-%u", i);
		inos[i] = make_dir(f->store, TREE_ROOT_INO, name);
		fixture_note(f);
	}
	fixture_kill(f);
	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(name, sizeof(name), "name-%u", i);
		assert_int_equal(find_now(f->store, TREE_ROOT_INO, name),
				 i % 2 || !(i % 4) ? inos[i] : 0);
	}
	assert_int_equal(attr_now(f->store, TREE_ROOT_INO).size_bytes, 30);
}

static void names_outlive_a_long_directory_history(void **state)
{
	struct fixture *f = *state;
	char name[32];

	for (unsigned i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "n%u", i % 37);
		if (find_now(f->store, TREE_ROOT_INO, name))
			assert_ok(tree_unlink(f->store, TREE_ROOT_INO, name));
		else
			make_file(f->store, TREE_ROOT_INO, name);
		if (i % 50 == 0)
			fixture_note(f);
		if (i % 400 == 399)
			fixture_freeze(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fixture_test(root_is_a_directory_from_the_first_lsn),
		fixture_test(create_gives_what_was_asked_for),
		fixture_test(create_makes_every_type),
		fixture_test(create_stamps_the_directory),
		fixture_test(create_refuses_what_cannot_be),
		fixture_test(names_have_one_to_255_bytes),
		fixture_test(empty_names_and_slashes_are_invalid),
		fixture_test(dot_names_cannot_be_made_or_removed),
		fixture_test(names_are_bytes),
		fixture_test(lookup_finds_dot_and_dot_dot),
		fixture_test(lookup_in_the_past_sees_the_past),
		fixture_test(set_gid_directories_hand_down_group_and_bit),
		fixture_test(symlinks_hold_their_target),
		fixture_test(readlink_wants_a_symlink),
		fixture_test(link_adds_a_name_to_the_same_inode),
		fixture_test(link_refuses_directories_the_dead_and_taken_names),
		fixture_test(link_count_has_a_limit),
		fixture_test(unlink_stamps_file_and_directory),
		fixture_test(unlink_and_rmdir_know_files_from_directories),
		fixture_test(unlinked_file_stays_usable_by_number_until_close),
		fixture_test(unlinked_file_gets_no_name_back_by_a_kill),
		fixture_test(removed_directory_is_empty_and_takes_no_names),
		fixture_test(inode_numbers_are_never_used_again),
		fixture_test(names_outlive_a_long_directory_history),
		colliding_test(colliding_names_stay_apart),
		colliding_test(create_refuses_what_cannot_be),
		colliding_test(create_makes_every_type),
		colliding_test(names_are_bytes),
		colliding_test(unlink_and_rmdir_know_files_from_directories),
		colliding_test(names_outlive_a_long_directory_history),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
