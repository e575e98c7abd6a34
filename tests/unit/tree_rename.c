/* Rename in all its cases: what moves, what is replaced, what is refused, and
 * that each rename is one step in the history. */
#include "test_fixture.h"

#define ROOT TREE_ROOT_INO

static void rename_within_a_directory_keeps_the_inode(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, ROOT, "a");
	struct tree_attr before, after, root_before;

	write_text(f->store, ino, "text");
	before = attr_now(f->store, ino);
	root_before = attr_now(f->store, ROOT);
	fixture_note(f);
	clock_tick();
	assert_ok(tree_rename(f->store, ROOT, "a", ROOT, "b", 0));
	assert_names(f->store, ROOT, LSN_HEAD, "b");
	assert_int_equal(find_now(f->store, ROOT, "b"), ino);
	after = attr_now(f->store, ino);
	assert_int_equal(after.nlink, 1);
	assert_true(time_before(before.ctime, after.ctime));
	assert_true(time_equal(before.mtime, after.mtime));
	assert_true(time_before(root_before.mtime, attr_now(f->store, ROOT).mtime));
	assert_true(time_before(root_before.ctime, attr_now(f->store, ROOT).ctime));
	assert_text(f->store, ino, LSN_HEAD, "text");
	fixture_note(f);
}

static void rename_across_directories_stamps_both(void **state)
{
	struct fixture *f = *state;
	uint64_t from = make_dir(f->store, ROOT, "from"), to = make_dir(f->store, ROOT, "to");
	uint64_t ino = make_file(f->store, from, "a");
	struct tree_attr from_before = attr_now(f->store, from), to_before = attr_now(f->store, to);
	struct tree_attr root_before = attr_now(f->store, ROOT);

	fixture_note(f);
	clock_tick();
	assert_ok(tree_rename(f->store, from, "a", to, "b", 0));
	assert_names(f->store, from, LSN_HEAD, "");
	assert_names(f->store, to, LSN_HEAD, "b");
	assert_int_equal(find_now(f->store, to, "b"), ino);
	assert_true(time_before(from_before.mtime, attr_now(f->store, from).mtime));
	assert_true(time_before(to_before.mtime, attr_now(f->store, to).mtime));
	assert_true(time_equal(root_before.mtime, attr_now(f->store, ROOT).mtime));
	assert_int_equal(attr_now(f->store, from).changed.value, newest(f->store).value);
	assert_int_equal(attr_now(f->store, to).changed.value, newest(f->store).value);
	fixture_note(f);
}

static void renamed_directory_finds_its_new_parent(void **state)
{
	struct fixture *f = *state;
	uint64_t from = make_dir(f->store, ROOT, "from"), to = make_dir(f->store, ROOT, "to");
	uint64_t dir = make_dir(f->store, from, "dir");
	struct lsn before;

	make_file(f->store, dir, "inside");
	before = fixture_note(f);
	assert_ok(tree_rename(f->store, from, "dir", to, "dir", 0));
	fixture_note(f);
	assert_int_equal(find_now(f->store, dir, ".."), to);
	assert_int_equal(attr_now(f->store, dir).parent_ino, to);
	assert_int_equal(find_at(f->store, dir, "..", before), from);
	assert_int_equal(attr_at(f->store, dir, before).parent_ino, from);
	assert_names(f->store, dir, LSN_HEAD, "inside");
	assert_int_equal(attr_now(f->store, from).size_bytes, 0);
	assert_int_equal(attr_now(f->store, to).size_bytes, 1);
}

static void rename_replaces_a_file_in_one_step(void **state)
{
	struct fixture *f = *state;
	uint64_t new = make_file(f->store, ROOT, "new"), old = make_file(f->store, ROOT, "old");
	struct lsn before, after;
	struct tree_attr attr;

	write_text(f->store, new, "new");
	write_text(f->store, old, "old");
	before = fixture_note(f);
	assert_ok(tree_rename(f->store, ROOT, "new", ROOT, "old", 0));
	after = fixture_note(f);
	assert_names(f->store, ROOT, LSN_HEAD, "old");
	assert_int_equal(find_now(f->store, ROOT, "old"), new);
	/* At every LSN between, the name leads to the one or to the other. */
	for (uint64_t n = before.value; n <= after.value; n++) {
		uint64_t found = find_at(f->store, ROOT, "old", lsn_make(n));

		assert_int_equal(found, n < after.value ? old : new);
	}
	assert_int_equal(attr_now(f->store, old).nlink, 0);
	assert_text(f->store, old, LSN_HEAD, "old");
	assert_text(f->store, old, before, "old");
	assert_err(tree_getattr(f->store, old, after, &attr), -ENOENT);
}

static void rename_over_one_name_of_a_linked_file_drops_that_name(void **state)
{
	struct fixture *f = *state;
	uint64_t new = make_file(f->store, ROOT, "new"), old = make_file(f->store, ROOT, "old");
	struct tree_attr before, after;

	assert_ok(tree_link(f->store, old, ROOT, "other", &before));
	clock_tick();
	assert_ok(tree_rename(f->store, ROOT, "new", ROOT, "old", 0));
	after = attr_now(f->store, old);
	assert_int_equal(after.nlink, 1);
	assert_true(time_before(before.ctime, after.ctime));
	assert_int_equal(find_now(f->store, ROOT, "other"), old);
	assert_int_equal(find_now(f->store, ROOT, "old"), new);
}

static void rename_replaces_an_empty_directory(void **state)
{
	struct fixture *f = *state;
	uint64_t from = make_dir(f->store, ROOT, "from"), to = make_dir(f->store, ROOT, "to");

	make_file(f->store, from, "inside");
	fixture_note(f);
	assert_ok(tree_rename(f->store, ROOT, "from", ROOT, "to", 0));
	fixture_note(f);
	assert_names(f->store, ROOT, LSN_HEAD, "to");
	assert_int_equal(find_now(f->store, ROOT, "to"), from);
	assert_int_equal(attr_now(f->store, to).nlink, 0);
	assert_names(f->store, from, LSN_HEAD, "inside");
}

static void rename_refuses_what_rename_2_refuses(void **state)
{
	struct fixture *f = *state;
	uint64_t full = make_dir(f->store, ROOT, "full"), dir = make_dir(f->store, ROOT, "dir");
	uint64_t file = make_file(f->store, ROOT, "file");
	uint64_t gone = make_dir(f->store, ROOT, "gone");

	make_file(f->store, full, "inside");
	assert_ok(tree_rmdir(f->store, ROOT, "gone"));
	fixture_note(f);
	assert_err(tree_rename(f->store, ROOT, "dir", ROOT, "full", 0), -ENOTEMPTY);
	assert_err(tree_rename(f->store, ROOT, "file", ROOT, "dir", 0), -EISDIR);
	assert_err(tree_rename(f->store, ROOT, "dir", ROOT, "file", 0), -ENOTDIR);
	assert_err(tree_rename(f->store, ROOT, "none", ROOT, "x", 0), -ENOENT);
	assert_err(tree_rename(f->store, ROOT, "none", ROOT, "file", 0), -ENOENT);
	assert_err(tree_rename(f->store, file, "x", ROOT, "y", 0), -ENOTDIR);
	assert_err(tree_rename(f->store, ROOT, "file", file, "y", 0), -ENOTDIR);
	assert_err(tree_rename(f->store, ROOT, "file", gone, "y", 0), -ENOENT);
	assert_err(tree_rename(f->store, gone, "y", ROOT, "z", 0), -ENOENT);
	assert_err(tree_rename(f->store, ROOT, "file", 123456789, "y", 0), -ENOENT);
	assert_err(tree_rename(f->store, ROOT, "file", dir, "y", 0x40), -EINVAL);
	assert_err(tree_rename(f->store, ROOT, "file", dir, "y",
			       TREE_RENAME_NOREPLACE | TREE_RENAME_EXCHANGE), -EINVAL);
	fixture_note(f);
}

static void rename_into_itself_is_invalid_at_any_depth(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make_dir(f->store, ROOT, "a"), b = make_dir(f->store, a, "b");
	uint64_t c = make_dir(f->store, b, "c");

	fixture_note(f);
	assert_err(tree_rename(f->store, ROOT, "a", a, "x", 0), -EINVAL);
	assert_err(tree_rename(f->store, ROOT, "a", b, "x", 0), -EINVAL);
	assert_err(tree_rename(f->store, ROOT, "a", c, "x", 0), -EINVAL);
	assert_err(tree_rename(f->store, a, "b", c, "x", 0), -EINVAL);
	assert_err(tree_rename(f->store, ROOT, "a", c, "x", TREE_RENAME_NOREPLACE), -EINVAL);
	fixture_note(f);
	/* The other way is fine: a child may take its grandparent's place beside it. */
	assert_ok(tree_rename(f->store, b, "c", ROOT, "c", 0));
	assert_ok(tree_rename(f->store, ROOT, "a", c, "a", 0));
	assert_int_equal(find_now(f->store, a, ".."), c);
	fixture_note(f);
}

static void rename_over_an_ancestor_is_not_empty(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make_dir(f->store, ROOT, "a"), b = make_dir(f->store, a, "b");

	make_dir(f->store, b, "c");
	fixture_note(f);
	assert_err(tree_rename(f->store, b, "c", ROOT, "a", 0), -ENOTEMPTY);
	fixture_note(f);
}

static void rename_to_its_own_name_changes_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = make_dir(f->store, ROOT, "dir");

	make_file(f->store, ROOT, "a");
	make_file(f->store, dir, "b");
	fixture_note(f);
	assert_ok(tree_rename(f->store, ROOT, "a", ROOT, "a", 0));
	assert_ok(tree_rename(f->store, ROOT, "dir", ROOT, "dir", 0));
	fixture_note(f);
	assert_err(tree_rename(f->store, ROOT, "a", ROOT, "a", TREE_RENAME_NOREPLACE), -EEXIST);
	fixture_note(f);
}

static void rename_between_names_of_one_inode_changes_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = make_dir(f->store, ROOT, "dir"), ino = make_file(f->store, ROOT, "a");
	struct tree_attr attr;

	assert_ok(tree_link(f->store, ino, ROOT, "b", &attr));
	assert_ok(tree_link(f->store, ino, dir, "c", &attr));
	fixture_note(f);
	assert_ok(tree_rename(f->store, ROOT, "a", ROOT, "b", 0));
	assert_ok(tree_rename(f->store, ROOT, "a", dir, "c", 0));
	assert_names(f->store, ROOT, LSN_HEAD, "a b dir");
	assert_int_equal(attr_now(f->store, ino).nlink, 3);
	fixture_note(f);
}

static void noreplace_spares_what_is_there(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make_file(f->store, ROOT, "a");

	make_file(f->store, ROOT, "b");
	make_dir(f->store, ROOT, "dir");
	fixture_note(f);
	assert_err(tree_rename(f->store, ROOT, "a", ROOT, "b", TREE_RENAME_NOREPLACE), -EEXIST);
	assert_err(tree_rename(f->store, ROOT, "a", ROOT, "dir", TREE_RENAME_NOREPLACE), -EEXIST);
	fixture_note(f);
	assert_ok(tree_rename(f->store, ROOT, "a", ROOT, "c", TREE_RENAME_NOREPLACE));
	assert_int_equal(find_now(f->store, ROOT, "c"), a);
	assert_names(f->store, ROOT, LSN_HEAD, "b c dir");
	fixture_note(f);
}

static void exchange_swaps_files(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = make_dir(f->store, ROOT, "dir");
	uint64_t a = make_file(f->store, ROOT, "a"), b = make_file(f->store, dir, "b");
	struct tree_attr a_before = attr_now(f->store, a), b_before = attr_now(f->store, b);
	struct lsn before = fixture_note(f), after;

	clock_tick();
	assert_ok(tree_rename(f->store, ROOT, "a", dir, "b", TREE_RENAME_EXCHANGE));
	after = fixture_note(f);
	assert_int_equal(find_now(f->store, ROOT, "a"), b);
	assert_int_equal(find_now(f->store, dir, "b"), a);
	assert_int_equal(attr_now(f->store, a).nlink, 1);
	assert_int_equal(attr_now(f->store, b).nlink, 1);
	assert_true(time_before(a_before.ctime, attr_now(f->store, a).ctime));
	assert_true(time_before(b_before.ctime, attr_now(f->store, b).ctime));
	assert_int_equal(attr_now(f->store, dir).size_bytes, 1);
	assert_int_equal(attr_now(f->store, ROOT).size_bytes, 2);
	for (uint64_t n = before.value; n < after.value; n++)
		assert_int_equal(find_at(f->store, ROOT, "a", lsn_make(n)), a);
}

static void exchange_swaps_a_file_with_a_full_directory(void **state)
{
	struct fixture *f = *state;
	uint64_t left = make_dir(f->store, ROOT, "left"), right = make_dir(f->store, ROOT, "right");
	uint64_t dir = make_dir(f->store, left, "dir"), file = make_file(f->store, right, "file");

	make_file(f->store, dir, "inside");
	fixture_note(f);
	assert_ok(tree_rename(f->store, left, "dir", right, "file", TREE_RENAME_EXCHANGE));
	fixture_note(f);
	assert_int_equal(find_now(f->store, left, "dir"), file);
	assert_int_equal(find_now(f->store, right, "file"), dir);
	assert_int_equal(find_now(f->store, dir, ".."), right);
	assert_names(f->store, dir, LSN_HEAD, "inside");
}

static void exchange_swaps_directories_and_their_parents(void **state)
{
	struct fixture *f = *state;
	uint64_t left = make_dir(f->store, ROOT, "left"), right = make_dir(f->store, ROOT, "right");
	uint64_t a = make_dir(f->store, left, "a"), b = make_dir(f->store, right, "b");

	fixture_note(f);
	assert_ok(tree_rename(f->store, left, "a", right, "b", TREE_RENAME_EXCHANGE));
	fixture_note(f);
	assert_int_equal(find_now(f->store, a, ".."), right);
	assert_int_equal(find_now(f->store, b, ".."), left);
	assert_int_equal(find_now(f->store, left, "a"), b);
	assert_int_equal(find_now(f->store, right, "b"), a);
}

static void exchange_refuses_the_missing_and_the_ancestor(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make_dir(f->store, ROOT, "a"), b = make_dir(f->store, a, "b");

	make_dir(f->store, b, "c");
	fixture_note(f);
	assert_err(tree_rename(f->store, ROOT, "a", ROOT, "none", TREE_RENAME_EXCHANGE), -ENOENT);
	assert_err(tree_rename(f->store, ROOT, "none", ROOT, "a", TREE_RENAME_EXCHANGE), -ENOENT);
	assert_err(tree_rename(f->store, ROOT, "a", b, "c", TREE_RENAME_EXCHANGE), -EINVAL);
	assert_err(tree_rename(f->store, b, "c", ROOT, "a", TREE_RENAME_EXCHANGE), -EINVAL);
	fixture_note(f);
}

static void rename_among_many_names_touches_only_two(void **state)
{
	struct fixture *f = *state;
	uint64_t inos[30];
	char name[16], moved[16];

	for (unsigned i = 0; i < array_size(inos); i++) {
		snprintf(name, sizeof(name), "n%u", i);
		inos[i] = make_file(f->store, ROOT, name);
	}
	fixture_note(f);
	for (unsigned i = 0; i < array_size(inos); i += 3) {
		snprintf(name, sizeof(name), "n%u", i);
		snprintf(moved, sizeof(moved), "moved%u", i);
		assert_ok(tree_rename(f->store, ROOT, name, ROOT, moved, 0));
		fixture_note(f);
	}
	for (unsigned i = 0; i < array_size(inos); i++) {
		snprintf(name, sizeof(name), i % 3 ? "n%u" : "moved%u", i);
		assert_int_equal(find_now(f->store, ROOT, name), inos[i]);
	}
	assert_int_equal(attr_now(f->store, ROOT).size_bytes, array_size(inos));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fixture_test(rename_within_a_directory_keeps_the_inode),
		fixture_test(rename_across_directories_stamps_both),
		fixture_test(renamed_directory_finds_its_new_parent),
		fixture_test(rename_replaces_a_file_in_one_step),
		fixture_test(rename_over_one_name_of_a_linked_file_drops_that_name),
		fixture_test(rename_replaces_an_empty_directory),
		fixture_test(rename_refuses_what_rename_2_refuses),
		fixture_test(rename_into_itself_is_invalid_at_any_depth),
		fixture_test(rename_over_an_ancestor_is_not_empty),
		fixture_test(rename_to_its_own_name_changes_nothing),
		fixture_test(rename_between_names_of_one_inode_changes_nothing),
		fixture_test(noreplace_spares_what_is_there),
		fixture_test(exchange_swaps_files),
		fixture_test(exchange_swaps_a_file_with_a_full_directory),
		fixture_test(exchange_swaps_directories_and_their_parents),
		fixture_test(exchange_refuses_the_missing_and_the_ancestor),
		fixture_test(rename_among_many_names_touches_only_two),
		colliding_test(rename_within_a_directory_keeps_the_inode),
		colliding_test(rename_replaces_a_file_in_one_step),
		colliding_test(rename_refuses_what_rename_2_refuses),
		colliding_test(exchange_swaps_files),
		colliding_test(exchange_swaps_directories_and_their_parents),
		colliding_test(rename_among_many_names_touches_only_two),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
