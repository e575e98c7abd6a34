/* LSNs: what they count, what a state between two of them is, version
 * identity, the window, and the history of one inode. */
#include "test_fixture.h"

#define ROOT TREE_ROOT_INO

static struct store_usage usage(struct fixture *f)
{
	struct store_usage found;

	store_usage_get(f->store, &found);
	return found;
}

static void every_kind_of_change_takes_one_larger_lsn(void **state)
{
	struct fixture *f = *state;
	struct tree_new plain = { .mode = S_IFREG | 0600 };
	struct tree_attr attr, to = { .mode = 0640 };
	uint64_t ino = make_file(f->store, ROOT, "a");
	struct lsn last = newest(f->store);
	uint64_t commits = usage(f).commit_count;

#define assert_one_change(call)                                                                    \
	do {                                                                                       \
		assert_ok(call);                                                                   \
		assert_true(newest(f->store).value > last.value);                                  \
		last = fixture_note(f);                                                            \
		assert_int_equal(usage(f).commit_count, ++commits);                                \
	} while (0)
	assert_one_change(tree_create(f->store, ROOT, "b", &plain, &attr));
	assert_one_change(tree_symlink(f->store, ROOT, "c", "b", &plain, &attr));
	assert_one_change(tree_link(f->store, ino, ROOT, "d", &attr));
	assert_one_change(tree_write(f->store, ino, 0, "x", 1, false));
	assert_one_change(tree_setattr(f->store, ino, TREE_SET_MODE, &to, &attr));
	assert_one_change(tree_rename(f->store, ROOT, "a", ROOT, "b", 0));
	assert_one_change(tree_rename(f->store, ROOT, "b", ROOT, "c", TREE_RENAME_EXCHANGE));
	assert_one_change(tree_unlink(f->store, ROOT, "c"));
#undef assert_one_change
}

static void reads_take_no_lsn(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, ROOT, "a");
	struct lsn before = newest(f->store);

	write_text(f->store, ino, "x");
	before = newest(f->store);
	fixture_verify(f, "by reading");
	assert_text(f->store, ino, LSN_HEAD, "x");
	assert_names(f->store, ROOT, LSN_HEAD, "a");
	assert_ok(store_sync(f->store, NULL));
	assert_int_equal(newest(f->store).value, before.value);
	fixture_freeze(f);
	assert_int_equal(newest(f->store).value, before.value);
}

static void lsn_difference_is_the_history_written(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, ROOT, "a");
	struct prng prng = { test_seed() };
	static uint8_t bytes[20000];

	for (unsigned i = 0; i < 50; i++) {
		struct lsn lsn = newest(f->store);
		uint64_t used = usage(f).arena_used_bytes;
		size_t size_bytes = 1 + prng_below(&prng, sizeof(bytes));

		prng_fill(&prng, bytes, size_bytes);
		write_bytes(f->store, ino, prng_below(&prng, 100000), bytes, size_bytes);
		assert_int_equal(usage(f).arena_used_bytes - used,
				 newest(f->store).value - lsn.value);
	}
}

static uint64_t history_of_write(struct fixture *f, uint64_t ino, uint64_t offset, size_t size)
{
	static uint8_t bytes[TREE_WRITE_MAX];
	struct lsn before = newest(f->store);

	seed_fill(before.value, bytes, size);
	write_bytes(f->store, ino, offset, bytes, size);
	return newest(f->store).value - before.value;
}

/* Beside the data: the new attributes, the headers, the checksums. */
#define WRITE_OVERHEAD_MAX 320u

static void a_write_costs_about_what_it_changes(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, ROOT, "a");

	history_of_write(f, ino, 0, 65536);
	assert_true(history_of_write(f, ino, 8192, 8192) < 8192 + WRITE_OVERHEAD_MAX);
	assert_true(history_of_write(f, ino, 8292, 100) < 100 + WRITE_OVERHEAD_MAX);
	assert_true(history_of_write(f, ino, 3, 1) < 1 + WRITE_OVERHEAD_MAX);
	assert_true(history_of_write(f, ino, 65536, 10) < 10 + WRITE_OVERHEAD_MAX);
	/* A page edge in the middle makes two patches, not two pages. */
	assert_true(history_of_write(f, ino, 16384 - 50, 100) < 100 + 2 * WRITE_OVERHEAD_MAX);
	assert_true(history_of_write(f, ino, 0, TREE_WRITE_MAX) < TREE_WRITE_MAX + TREE_WRITE_MAX / 50);
}

static void between_two_lsns_the_earlier_state_holds(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, ROOT, "a");
	struct lsn one, two;

	write_text(f->store, ino, "one");
	one = newest(f->store);
	write_text(f->store, ino, "two");
	two = newest(f->store);
	for (unsigned round = 0; round < 3; round++) {
		for (uint64_t n = one.value; n < two.value; n++)
			assert_text(f->store, ino, lsn_make(n), "one");
		assert_text(f->store, ino, two, "two");
		if (round == 0)
			fixture_freeze(f);
		else
			fixture_reopen(f);
	}
}

static void the_window_is_all_there_is(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, ROOT, "a");
	struct lsn oldest, now;
	struct tree_attr attr;
	size_t count;
	char byte;

	write_text(f->store, ino, "x");
	store_window(f->store, &oldest, &now);
	assert_ok(tree_getattr(f->store, ROOT, oldest, &attr));
	assert_ok(tree_getattr(f->store, ROOT, now, &attr));
	const struct lsn outside[] = { lsn_make(now.value + 1), lsn_make(LSN_LIMIT - 1),
				       lsn_make(oldest.value - 1), lsn_make(0) };
	for (unsigned i = 0; i < array_size(outside); i++) {
		assert_err(tree_getattr(f->store, ROOT, outside[i], &attr), -ENOENT);
		assert_err(tree_lookup(f->store, ROOT, "a", outside[i], &attr), -ENOENT);
		assert_err(tree_read(f->store, ino, outside[i], 0, &byte, 1, &count), -ENOENT);
	}
}

static void the_window_survives_freeze_and_reopen(void **state)
{
	struct fixture *f = *state;
	struct lsn oldest, now, oldest_then, now_then;

	make_file(f->store, ROOT, "a");
	store_window(f->store, &oldest, &now);
	for (unsigned round = 0; round < 6; round++) {
		if (round % 3 == 0)
			fixture_freeze(f);
		else if (round % 3 == 1)
			fixture_reopen(f);
		else
			fixture_kill(f);
		store_window(f->store, &oldest_then, &now_then);
		assert_int_equal(oldest_then.value, oldest.value);
		assert_int_equal(now_then.value, now.value);
	}
}

static void a_change_gives_its_file_a_new_identity_and_no_other(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make_file(f->store, ROOT, "a"), b = make_file(f->store, ROOT, "b");
	struct tree_attr a_before = attr_now(f->store, a), b_before = attr_now(f->store, b), after;
	struct lsn before = newest(f->store);

	write_text(f->store, a, "x");
	after = attr_now(f->store, a);
	assert_true(after.changed.value > a_before.changed.value);
	assert_true(after.position > a_before.position);
	assert_true(after.position >= before.value);
	assert_true(after.position < after.changed.value);
	assert_true(after.position < LSN_LIMIT);
	after = attr_now(f->store, b);
	assert_attr_equal(&after, &b_before);
	after = attr_at(f->store, a, before);
	assert_attr_equal(&after, &a_before);
}

static int position_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Changes of several inodes at once among them: create, link, rename over, exchange. */
static void no_two_versions_share_a_position(void **state)
{
	struct fixture *f = *state;
	enum { INODES = 12, ROUNDS = 40 };
	static uint64_t seen[INODES * ROUNDS * 2];
	uint64_t last[INODES + 1] = { 0 }, inos[INODES + 1] = { ROOT };
	struct prng prng = { test_seed() };
	size_t count = 0;
	char a[16], b[16];

	for (unsigned i = 1; i <= INODES; i++) {
		snprintf(a, sizeof(a), "n%u", i);
		inos[i] = make_file(f->store, ROOT, a);
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		snprintf(a, sizeof(a), "n%u", 1 + (unsigned)prng_below(&prng, INODES));
		snprintf(b, sizeof(b), "n%u", 1 + (unsigned)prng_below(&prng, INODES));
		if (round % 2)
			write_text(f->store, find_now(f->store, ROOT, a), "x");
		else if (strcmp(a, b))
			assert_ok(tree_rename(f->store, ROOT, a, ROOT, b, TREE_RENAME_EXCHANGE));
		for (unsigned i = 0; i <= INODES; i++) {
			uint64_t position = attr_now(f->store, inos[i]).position;

			if (position != last[i])
				seen[count++] = last[i] = position;
		}
	}
	assert_true(count > ROUNDS);
	qsort(seen, count, sizeof(*seen), position_compare);
	for (size_t i = 1; i < count; i++)
		assert_int_not_equal(seen[i], seen[i - 1]);
}

static void inodes_changed_by_one_request_share_its_lsn(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = make_dir(f->store, ROOT, "dir");
	uint64_t a = make_file(f->store, ROOT, "a"), b = make_file(f->store, dir, "b");

	assert_ok(tree_rename(f->store, ROOT, "a", dir, "b", TREE_RENAME_EXCHANGE));
	uint64_t lsn = newest(f->store).value;
	assert_int_equal(attr_now(f->store, a).changed.value, lsn);
	assert_int_equal(attr_now(f->store, b).changed.value, lsn);
	assert_int_equal(attr_now(f->store, ROOT).changed.value, lsn);
	assert_int_equal(attr_now(f->store, dir).changed.value, lsn);
}

/* ---- history ---- */

struct changes {
	struct tree_change list[64];
	size_t count;
	size_t limit;
};

static bool changes_add(void *context, const struct tree_change *change)
{
	struct changes *changes = context;

	assert_true(changes->count < array_size(changes->list));
	changes->list[changes->count++] = *change;
	return changes->count < changes->limit;
}

static struct changes changes_of(struct fixture *f, uint64_t ino)
{
	struct changes changes = { .limit = SIZE_MAX };

	assert_ok(tree_history(f->store, ino, changes_add, &changes));
	return changes;
}

static void history_tells_each_change_of_a_file(void **state)
{
	struct fixture *f = *state;
	struct tree_attr attr, to = { .mode = 0600, .uid = 5, .gid = 6, .mtime = { 1000, 0 } };
	struct lsn lsns[16];
	uint64_t ino = make_file(f->store, ROOT, "a");
	unsigned n = 0;

	lsns[n++] = newest(f->store);
	write_bytes(f->store, ino, 8190, "wxyz", 4);            /* pages 0 and 1 */
	lsns[n++] = newest(f->store);
	assert_ok(tree_setattr(f->store, ino, TREE_SET_MODE, &to, &attr));
	lsns[n++] = newest(f->store);
	assert_ok(tree_setattr(f->store, ino, TREE_SET_UID | TREE_SET_GID, &to, &attr));
	lsns[n++] = newest(f->store);
	make_file(f->store, ROOT, "unrelated");
	assert_ok(tree_setattr(f->store, ino, TREE_SET_MTIME, &to, &attr));
	lsns[n++] = newest(f->store);
	assert_ok(tree_link(f->store, ino, ROOT, "b", &attr));
	lsns[n++] = newest(f->store);
	set_size(f->store, ino, 100);
	lsns[n++] = newest(f->store);
	assert_ok(tree_unlink(f->store, ROOT, "a"));
	lsns[n++] = newest(f->store);
	assert_ok(tree_unlink(f->store, ROOT, "b"));
	lsns[n++] = newest(f->store);

	for (unsigned round = 0; round < 4; round++) {
		struct changes changes = changes_of(f, ino);
		const struct tree_change *c = changes.list;

		assert_int_equal(changes.count, n);
		for (unsigned i = 0; i < n; i++) {
			assert_int_equal(c[i].lsn.value, lsns[i].value);
			assert_int_equal(c[i].created, i == 0);
			assert_int_equal(c[i].deleted, i == n - 1);
			assert_int_equal(c[i].times_set, i == 4);
			/* A cut inside a page is a version of that page: its tail becomes zeros. */
			assert_int_equal(c[i].pages_written, i == 1 ? 2 : i == 6 ? 1 : 0);
			if (i) {
				assert_int_equal(c[i].size_before_bytes, c[i - 1].size_bytes);
				assert_int_equal(c[i].mode_before, c[i - 1].mode);
				assert_int_equal(c[i].nlink_before, c[i - 1].nlink);
				assert_int_equal(c[i].uid_before, c[i - 1].uid);
				assert_int_equal(c[i].gid_before, c[i - 1].gid);
			}
			if (i < n - 1)
				assert_true(time_equal(c[i].time,
						       attr_at(f->store, ino, lsns[i]).ctime));
		}
		assert_int_equal(c[0].size_bytes, 0);
		assert_int_equal(c[0].mode, S_IFREG | 0644);
		assert_int_equal(c[0].nlink, 1);
		assert_int_equal(c[0].nlink_before, 0);
		assert_int_equal(c[1].size_bytes, 8194);
		assert_int_equal(c[1].page_first, 0);
		assert_int_equal(c[1].page_last, 1);
		assert_true(c[1].data_bytes >= 4 && c[1].data_bytes <= 2 * 8192);
		assert_int_equal(c[2].mode, S_IFREG | 0600);
		assert_int_equal(c[3].uid, 5);
		assert_int_equal(c[3].gid, 6);
		assert_int_equal(c[5].nlink, 2);
		assert_int_equal(c[6].size_bytes, 100);
		assert_int_equal(c[7].nlink, 1);
		assert_int_equal(c[8].nlink, 0);
		if (round == 0)
			fixture_freeze(f);
		else if (round == 1)
			fixture_reopen(f);
		else
			fixture_kill(f);
	}
}

static void history_counts_pages_and_bytes(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, ROOT, "a");
	static uint8_t bytes[5 * 8192];

	seed_fill(test_seed(), bytes, sizeof(bytes));
	/* Zeros at the end of a page take no bytes. */
	for (size_t end = 8192; end <= sizeof(bytes); end += 8192)
		bytes[end - 1] |= 1;
	write_bytes(f->store, ino, 3 * 8192, bytes, sizeof(bytes));
	write_bytes(f->store, ino, 4 * 8192 + 10, bytes, 100);
	fixture_freeze(f);
	struct changes changes = changes_of(f, ino);
	assert_int_equal(changes.count, 3);
	assert_int_equal(changes.list[1].pages_written, 5);
	assert_int_equal(changes.list[1].page_first, 3);
	assert_int_equal(changes.list[1].page_last, 7);
	assert_int_equal(changes.list[1].data_bytes, sizeof(bytes));
	assert_int_equal(changes.list[2].pages_written, 1);
	assert_int_equal(changes.list[2].page_first, 4);
	assert_int_equal(changes.list[2].page_last, 4);
	assert_true(changes.list[2].data_bytes >= 100 && changes.list[2].data_bytes < 200);
}

static void history_crosses_layers_in_order(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, ROOT, "a");
	struct lsn lsns[40];

	for (unsigned i = 0; i < array_size(lsns); i++) {
		write_bytes(f->store, ino, i, "x", 1);
		lsns[i] = newest(f->store);
		if (i % 7 == 6)
			fixture_freeze(f);
	}
	struct changes changes = changes_of(f, ino);
	assert_int_equal(changes.count, 1 + array_size(lsns));
	for (unsigned i = 0; i < array_size(lsns); i++) {
		assert_int_equal(changes.list[i + 1].lsn.value, lsns[i].value);
		assert_int_equal(changes.list[i + 1].size_bytes, i + 1);
	}
}

static void history_stops_when_told(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, ROOT, "a");
	struct changes changes = { .limit = 3 };

	for (unsigned i = 0; i < 10; i++)
		write_text(f->store, ino, "x");
	assert_ok(tree_history(f->store, ino, changes_add, &changes));
	assert_int_equal(changes.count, 3);
}

static void what_never_was_has_no_history(void **state)
{
	struct fixture *f = *state;
	struct changes changes = { .limit = 3 };

	assert_err(tree_history(f->store, 123456789, changes_add, &changes), -ENOENT);
	assert_int_equal(changes.count, 0);
}

static void history_of_a_directory_counts_names(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = make_dir(f->store, ROOT, "dir");

	make_file(f->store, dir, "a");
	make_file(f->store, dir, "b");
	assert_ok(tree_unlink(f->store, dir, "a"));
	struct changes changes = changes_of(f, dir);
	static const uint64_t sizes[] = { 0, 1, 2, 1 };
	assert_int_equal(changes.count, array_size(sizes));
	for (unsigned i = 0; i < array_size(sizes); i++) {
		assert_int_equal(changes.list[i].size_bytes, sizes[i]);
		assert_int_equal(changes.list[i].pages_written, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fixture_test(every_kind_of_change_takes_one_larger_lsn),
		fixture_test(reads_take_no_lsn),
		fixture_test(lsn_difference_is_the_history_written),
		fixture_test(a_write_costs_about_what_it_changes),
		fixture_test(between_two_lsns_the_earlier_state_holds),
		fixture_test(the_window_is_all_there_is),
		fixture_test(the_window_survives_freeze_and_reopen),
		fixture_test(a_change_gives_its_file_a_new_identity_and_no_other),
		fixture_test(no_two_versions_share_a_position),
		fixture_test(inodes_changed_by_one_request_share_its_lsn),
		fixture_test(history_tells_each_change_of_a_file),
		fixture_test(history_counts_pages_and_bytes),
		fixture_test(history_crosses_layers_in_order),
		fixture_test(history_stops_when_told),
		fixture_test(what_never_was_has_no_history),
		fixture_test(history_of_a_directory_counts_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
