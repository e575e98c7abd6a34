/* Truncate and extend: bytes cut off never come back, at any LSN, however the
 * file grows again; and what a truncate costs does not depend on the size. */
#include "test_shadow.h"

enum { PAGE = STORE_PAGE_SIZE_DEFAULT };

/* Sizes that sit on, before, after and between page edges. */
static const size_t cuts[] = { 0, 1, PAGE / 2, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE - 1, 2 * PAGE,
			       2 * PAGE + PAGE / 2, 3 * PAGE - 1 };

static void shadow_start(struct shadow *shadow, struct fixture *f, const char *name, bool freeze)
{
	shadow_init(shadow, f, name);
	shadow->freeze_each = freeze;
	shadow_write(shadow, test_seed(), 0, 3 * PAGE);
}

/* Each shape runs with all changes in the open layer, then with a layer for each change. */
static void each_shape(struct fixture *f, void (*shape)(struct shadow *shadow, size_t cut))
{
	char name[32];

	for (unsigned freeze = 0; freeze < 2; freeze++) {
		for (unsigned i = 0; i < array_size(cuts); i++) {
			struct shadow shadow;

			snprintf(name, sizeof(name), "cut-%zu-%u", cuts[i], freeze);
			shadow_start(&shadow, f, name, freeze);
			shape(&shadow, cuts[i]);
			shadow_destroy(&shadow);
			assert_ok(tree_unlink(f->store, TREE_ROOT_INO, name));
		}
	}
}

static void cut_and_extend(struct shadow *shadow, size_t cut)
{
	shadow_truncate(shadow, cut);
	shadow_truncate(shadow, 3 * PAGE);
}

static void cut_then_extend_reads_zeros(void **state)
{
	each_shape(*state, cut_and_extend);
}

static void cut_and_write_beyond(struct shadow *shadow, size_t cut)
{
	shadow_truncate(shadow, cut);
	shadow_write(shadow, 1, cut + 10, 10);
	shadow_write(shadow, 2, cut + PAGE + 10, 10);
}

static void cut_then_write_beyond_leaves_zeros_between(void **state)
{
	each_shape(*state, cut_and_write_beyond);
}

static void cut_and_patch_below(struct shadow *shadow, size_t cut)
{
	shadow_truncate(shadow, cut);
	if (cut > 20)
		shadow_write(shadow, 1, cut - 20, 10);
	shadow_truncate(shadow, 3 * PAGE);
	shadow_write(shadow, 2, cut, 1);
}

static void a_patch_on_a_cut_page_does_not_revive_its_tail(void **state)
{
	each_shape(*state, cut_and_patch_below);
}

static void cut_after_partial_page(struct shadow *shadow, size_t cut)
{
	shadow_truncate(shadow, cut);
	shadow_write(shadow, 3, cut, 5);                /* append just there */
	shadow_truncate(shadow, cut + 2);
	shadow_truncate(shadow, cut + PAGE);
}

static void append_at_the_cut_then_cut_again(void **state)
{
	each_shape(*state, cut_after_partial_page);
}

/* The later, higher cut must not show what the earlier, lower one took. */
static void ascending_cuts(struct shadow *shadow, size_t cut)
{
	for (size_t to = cut; to < 3 * PAGE; to += 3000) {
		shadow_truncate(shadow, to);
		shadow_truncate(shadow, 3 * PAGE);
	}
}

static void ascending_cuts_pile_up(void **state)
{
	each_shape(*state, ascending_cuts);
}

static void ascending_cuts_with_writes(struct shadow *shadow, size_t cut)
{
	for (size_t to = cut; to < 3 * PAGE; to += 2500) {
		shadow_truncate(shadow, to);
		shadow_write(shadow, to, 2 * PAGE + 100, 200);
		shadow_write(shadow, to + 1, to / 2, 7);
	}
}

static void ascending_cuts_pile_up_between_writes(void **state)
{
	each_shape(*state, ascending_cuts_with_writes);
}

static void descending_cuts(struct shadow *shadow, size_t cut)
{
	for (size_t to = 3 * PAGE; to > cut; to -= to - cut < 2800 ? to - cut : 2800)
		shadow_truncate(shadow, to);
	shadow_truncate(shadow, 3 * PAGE);
	shadow_write(shadow, 4, cut / 2, PAGE);
	shadow_truncate(shadow, cut);
	shadow_truncate(shadow, 3 * PAGE);
}

static void descending_cuts_pile_up(void **state)
{
	each_shape(*state, descending_cuts);
}

static void whole_page_after_cut(struct shadow *shadow, size_t cut)
{
	shadow_truncate(shadow, cut);
	shadow_write(shadow, 5, PAGE, PAGE);            /* an image over what was cut */
	shadow_truncate(shadow, 2 * PAGE + 1);
}

static void a_whole_page_written_after_a_cut_is_seen(void **state)
{
	each_shape(*state, whole_page_after_cut);
}

/* Cuts that take many pages at once, of a file that had many cuts before. */
static void large_cuts_pile_up(void **state)
{
	struct fixture *f = *state;
	struct prng prng = { test_seed() };
	struct shadow shadow;

	shadow_init(&shadow, f, "a");
	for (unsigned i = 0; i < 120; i++) {
		shadow_write(&shadow, prng_next(&prng), prng_below(&prng, 90) * PAGE + 100,
			     prng_below(&prng, 20 * PAGE));
		shadow_truncate(&shadow, prng_below(&prng, 3) ?
				prng_below(&prng, shadow.size_bytes + 1) :
				prng_below(&prng, 110 * PAGE));
		if (i % 40 == 39)
			fixture_freeze(f);
	}
	shadow_destroy(&shadow);
}

static void random_cuts_and_writes(void **state)
{
	struct fixture *f = *state;
	struct prng prng = { test_seed() };
	struct shadow shadow;

	shadow_init(&shadow, f, "a");
	for (unsigned i = 0; i < 800; i++) {
		if (prng_below(&prng, 2))
			shadow_truncate(&shadow, prng_below(&prng, 40000));
		else
			shadow_write(&shadow, prng_next(&prng), prng_below(&prng, 40000),
				     prng_below(&prng, prng_below(&prng, 4) ? 300 : 20000));
		if (prng_below(&prng, 100) == 0)
			fixture_freeze(f);
		if (prng_below(&prng, 300) == 0)
			fixture_kill(f);
	}
	shadow_destroy(&shadow);
}

static void truncate_stamps_the_file(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	static const uint64_t sizes[] = { 100, 5, 0 };
	struct tree_attr before, after;

	for (unsigned i = 0; i < array_size(sizes); i++) {
		before = attr_now(f->store, ino);
		clock_tick();
		set_size(f->store, ino, sizes[i]);
		after = attr_now(f->store, ino);
		assert_true(time_before(before.mtime, after.mtime));
		assert_true(time_equal(after.mtime, after.ctime));
		assert_true(time_equal(before.atime, after.atime));
		assert_int_equal(after.changed.value, newest(f->store).value);
		fixture_note(f);
	}
}

static uint64_t history_of_truncate(struct fixture *f, uint64_t ino, uint64_t size_bytes)
{
	struct lsn before = newest(f->store);

	set_size(f->store, ino, size_bytes);
	return newest(f->store).value - before.value;
}

static void truncate_costs_the_same_at_any_size(void **state)
{
	struct fixture *f = *state;
	uint64_t small = make_file(f->store, TREE_ROOT_INO, "small");
	uint64_t large = make_file(f->store, TREE_ROOT_INO, "large");
	static uint8_t mebibyte[MIB];

	seed_fill(test_seed(), mebibyte, sizeof(mebibyte));
	write_bytes(f->store, small, 0, mebibyte, 100);
	for (unsigned i = 0; i < 16; i++)
		write_bytes(f->store, large, i * MIB, mebibyte, MIB);
	set_size(f->store, large, 1024 * GIB);

	/* Attributes, a floor, zeros for the rest of the page that is cut. */
	assert_true(history_of_truncate(f, small, 50) < 400);
	assert_true(history_of_truncate(f, large, 50) < 400);
	assert_true(history_of_truncate(f, large, 1024 * GIB) < 400);
	assert_bytes(f->store, large, LSN_HEAD, 0, mebibyte, 50);
	assert_zeros(f->store, large, LSN_HEAD, 50, 2 * MIB);
	assert_zeros(f->store, large, LSN_HEAD, 1024 * GIB - MIB, MIB);
}

/* A log that grows by two pages and is cut back by one, again and again. */
static void truncate_costs_the_same_after_any_number_of_cuts(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "log");
	static uint8_t pages[2 * PAGE];

	seed_fill(test_seed(), pages, sizeof(pages));
	for (uint64_t i = 0; i < 600; i++) {
		write_bytes(f->store, ino, i * PAGE, pages, sizeof(pages));
		assert_true(history_of_truncate(f, ino, (i + 1) * PAGE) < 1024);
	}
	assert_bytes(f->store, ino, LSN_HEAD, 599 * PAGE, pages, PAGE);
}

static void truncate_of_nothing_is_refused(void **state)
{
	struct fixture *f = *state;
	struct tree_attr to = { .size_bytes = 1 }, attr;

	fixture_note(f);
	assert_err(tree_setattr(f->store, TREE_ROOT_INO, TREE_SET_SIZE, &to, &attr), -EISDIR);
	assert_err(tree_setattr(f->store, 123456789, TREE_SET_SIZE, &to, &attr), -ENOENT);
	fixture_note(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fixture_test(cut_then_extend_reads_zeros),
		fixture_test(cut_then_write_beyond_leaves_zeros_between),
		fixture_test(a_patch_on_a_cut_page_does_not_revive_its_tail),
		fixture_test(append_at_the_cut_then_cut_again),
		fixture_test(ascending_cuts_pile_up),
		fixture_test(ascending_cuts_pile_up_between_writes),
		fixture_test(descending_cuts_pile_up),
		fixture_test(a_whole_page_written_after_a_cut_is_seen),
		fixture_test(large_cuts_pile_up),
		fixture_test(random_cuts_and_writes),
		fixture_test(truncate_stamps_the_file),
		fixture_test(truncate_costs_the_same_at_any_size),
		fixture_test(truncate_costs_the_same_after_any_number_of_cuts),
		fixture_test(truncate_of_nothing_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
