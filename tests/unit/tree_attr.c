/* Attributes: tree_getattr and every bit of tree_setattr. */
#include <time.h>

#include "test_fixture.h"

static const struct tree_time some_time = { 1234567890, 123456789 };
static const struct tree_time other_time = { 987654321, 1 };

static struct tree_attr set(struct fixture *f, uint64_t ino, unsigned which, struct tree_attr to)
{
	struct tree_attr attr, found;

	clock_tick();
	assert_ok(tree_setattr(f->store, ino, which, &to, &attr));
	found = attr_now(f->store, ino);
	assert_attr_equal(&attr, &found);
	assert_int_equal(attr.changed.value, newest(f->store).value);
	fixture_note(f);
	return attr;
}

static void missing_inodes_have_no_attributes(void **state)
{
	struct fixture *f = *state;
	struct lsn before = newest(f->store);
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	struct tree_attr attr;

	assert_err(tree_getattr(f->store, 0, LSN_HEAD, &attr), -ENOENT);
	assert_err(tree_getattr(f->store, 1, LSN_HEAD, &attr), -ENOENT);
	assert_err(tree_getattr(f->store, ino + 1, LSN_HEAD, &attr), -ENOENT);
	assert_err(tree_getattr(f->store, UINT64_MAX, LSN_HEAD, &attr), -ENOENT);
	assert_err(tree_getattr(f->store, ino, before, &attr), -ENOENT);
	assert_err(tree_setattr(f->store, ino + 1, TREE_SET_MODE, &attr, &attr), -ENOENT);
}

static void mode_keeps_the_type(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	uint64_t dir = make_dir(f->store, TREE_ROOT_INO, "dir");
	struct tree_attr before = attr_now(f->store, ino);
	struct tree_attr attr = set(f, ino, TREE_SET_MODE, (struct tree_attr){ .mode = 04701 });

	assert_int_equal(attr.mode, S_IFREG | 04701);
	assert_true(time_before(before.ctime, attr.ctime));
	assert_true(time_equal(before.mtime, attr.mtime));
	assert_true(time_equal(before.atime, attr.atime));
	attr = set(f, dir, TREE_SET_MODE, (struct tree_attr){ .mode = S_IFDIR | 01777 });
	assert_int_equal(attr.mode, S_IFDIR | 01777);
	/* A type passed along is not taken over. */
	attr = set(f, dir, TREE_SET_MODE, (struct tree_attr){ .mode = S_IFREG | 0700 });
	assert_int_equal(attr.mode, S_IFDIR | 0700);
}

static void owner_and_group_are_set_apart(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	struct tree_attr to = { .uid = 4000000000u, .gid = 4000000001u };
	struct tree_attr attr = set(f, ino, TREE_SET_UID, to);

	assert_int_equal(attr.uid, 4000000000u);
	assert_int_equal(attr.gid, 1001);
	attr = set(f, ino, TREE_SET_GID, to);
	assert_int_equal(attr.gid, 4000000001u);
	to = (struct tree_attr){ .uid = 1, .gid = 2 };
	attr = set(f, ino, TREE_SET_UID | TREE_SET_GID, to);
	assert_int_equal(attr.uid, 1);
	assert_int_equal(attr.gid, 2);
}

static void chown_drops_set_id_bits_when_asked(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	struct tree_attr attr = set(f, ino, TREE_SET_MODE, (struct tree_attr){ .mode = 06755 });

	attr = set(f, ino, TREE_SET_UID, (struct tree_attr){ .uid = 5 });
	assert_int_equal(attr.mode, S_IFREG | 06755);
	attr = set(f, ino, TREE_SET_UID | TREE_DROP_SET_ID, (struct tree_attr){ .uid = 6 });
	assert_int_equal(attr.mode, S_IFREG | 0755);
	set(f, ino, TREE_SET_MODE, (struct tree_attr){ .mode = 06745 });
	attr = set(f, ino, TREE_SET_SIZE | TREE_DROP_SET_ID, (struct tree_attr){ .size_bytes = 9 });
	assert_int_equal(attr.mode, S_IFREG | 02745);
}

static void times_are_set_to_the_nanosecond(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	struct tree_attr before = attr_now(f->store, ino);
	struct tree_attr attr = set(f, ino, TREE_SET_ATIME, (struct tree_attr){ .atime = some_time });

	assert_true(time_equal(attr.atime, some_time));
	assert_true(time_equal(attr.mtime, before.mtime));
	assert_true(time_before(before.ctime, attr.ctime));
	assert_true(time_equal(attr.btime, before.btime));
	attr = set(f, ino, TREE_SET_MTIME, (struct tree_attr){ .mtime = other_time });
	assert_true(time_equal(attr.atime, some_time));
	assert_true(time_equal(attr.mtime, other_time));
	attr = set(f, ino, TREE_SET_MTIME | TREE_SET_ATIME,
		   (struct tree_attr){ .mtime = some_time, .atime = other_time });
	assert_true(time_equal(attr.mtime, some_time));
	assert_true(time_equal(attr.atime, other_time));
}

static void times_reach_far_back_and_ahead(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	static const struct tree_time times[] = {
		{ -1, 999999999 }, { -2208988800, 5 }, { 0, 0 }, { 4294967296, 7 }, { 16725225600, 1 },
	};

	for (unsigned i = 0; i < array_size(times); i++) {
		struct tree_attr attr = set(f, ino, TREE_SET_MTIME,
					    (struct tree_attr){ .mtime = times[i] });

		assert_true(time_equal(attr.mtime, times[i]));
	}
}

static void now_means_the_clock(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	struct tree_attr past = { .mtime = some_time, .atime = some_time };
	struct timespec start;

	set(f, ino, TREE_SET_MTIME | TREE_SET_ATIME, past);
	clock_gettime(CLOCK_REALTIME, &start);
	struct tree_attr attr = set(f, ino, TREE_SET_ATIME_NOW, past);
	assert_true(attr.atime.seconds >= start.tv_sec);
	assert_true(time_equal(attr.mtime, some_time));
	attr = set(f, ino, TREE_SET_MTIME_NOW, past);
	assert_true(attr.mtime.seconds >= start.tv_sec);
	assert_true(time_equal(attr.mtime, attr.ctime));
}

static void one_call_is_one_change(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	struct tree_attr to = { .mode = 0600, .uid = 11, .gid = 12, .size_bytes = 3,
				.mtime = some_time, .atime = other_time };
	struct lsn before, after;
	struct tree_attr old, attr;

	write_text(f->store, ino, "0123456789");
	before = fixture_note(f);
	old = attr_now(f->store, ino);
	attr = set(f, ino, TREE_SET_MODE | TREE_SET_UID | TREE_SET_GID | TREE_SET_SIZE |
			   TREE_SET_MTIME | TREE_SET_ATIME, to);
	after = newest(f->store);
	assert_int_equal(attr.mode, S_IFREG | 0600);
	assert_int_equal(attr.uid, 11);
	assert_int_equal(attr.gid, 12);
	assert_text(f->store, ino, LSN_HEAD, "012");
	assert_true(time_equal(attr.mtime, some_time));
	assert_true(time_equal(attr.atime, other_time));
	for (uint64_t n = before.value; n < after.value; n++) {
		attr = attr_at(f->store, ino, lsn_make(n));
		assert_attr_equal(&attr, &old);
	}
}

static void what_is_not_named_stays(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	struct tree_attr all = { .mode = 07777, .uid = 1, .gid = 2, .size_bytes = 5, .nlink = 9,
				 .mtime = some_time, .atime = some_time, .ctime = some_time,
				 .btime = some_time, .rdev = 3, .parent_ino = 4 };
	struct tree_attr before = attr_now(f->store, ino), after;

	after = set(f, ino, TREE_SET_UID, all);
	before.uid = 1;
	before.ctime = after.ctime;
	before.changed = after.changed;
	before.position = after.position;
	assert_attr_equal(&before, &after);
	assert_false(time_equal(after.ctime, some_time));
}

static void attributes_of_directories_change_too(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = make_dir(f->store, TREE_ROOT_INO, "dir");

	make_file(f->store, dir, "a");
	set(f, dir, TREE_SET_MODE | TREE_SET_UID, (struct tree_attr){ .mode = 0700, .uid = 3 });
	set(f, TREE_ROOT_INO, TREE_SET_MODE | TREE_SET_MTIME,
	    (struct tree_attr){ .mode = 01777, .mtime = some_time });
	assert_int_equal(attr_now(f->store, dir).size_bytes, 1);
	assert_int_equal(attr_now(f->store, TREE_ROOT_INO).mode, S_IFDIR | 01777);
	assert_true(time_equal(attr_now(f->store, TREE_ROOT_INO).mtime, some_time));
	assert_names(f->store, TREE_ROOT_INO, LSN_HEAD, "dir");
}

static void mkfs_options_shape_the_root(void **state)
{
	struct store_mkfs_options mkfs = { .page_size_bytes = 16384, .root_mode = 01750,
					   .root_uid = 21, .root_gid = 22 };
	struct fixture *f = fixture_new(&mkfs, NULL);
	struct tree_attr attr = attr_now(f->store, TREE_ROOT_INO);

	(void)state;
	assert_int_equal(attr.mode, S_IFDIR | 01750);
	assert_int_equal(attr.uid, 21);
	assert_int_equal(attr.gid, 22);
	assert_int_equal(store_page_size(f->store), 16384);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fixture_test(missing_inodes_have_no_attributes),
		fixture_test(mode_keeps_the_type),
		fixture_test(owner_and_group_are_set_apart),
		fixture_test(chown_drops_set_id_bits_when_asked),
		fixture_test(times_are_set_to_the_nanosecond),
		fixture_test(times_reach_far_back_and_ahead),
		fixture_test(now_means_the_clock),
		fixture_test(one_call_is_one_change),
		fixture_test(what_is_not_named_stays),
		fixture_test(attributes_of_directories_change_too),
		cmocka_unit_test(mkfs_options_shape_the_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
