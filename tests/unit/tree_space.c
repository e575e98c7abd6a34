/* The space of a file: what is reserved, punched and copied reads right, at every LSN; holes are
 * told, pages are counted, and none of it costs more for being larger. */
#include "test_shadow.h"

enum { PAGE = STORE_PAGE_SIZE_DEFAULT };

static uint64_t cost(struct fixture *f, struct lsn before)
{
	return newest(f->store).value - before.value;
}

/* ---- reserve ---- */

static void reserving_grows_the_file_and_reads_as_zeros(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");

	write_text(f->store, ino, "what is there stays");
	assert_ok(tree_reserve(f->store, ino, 10, 1024 * GIB, true, false));
	assert_text(f->store, ino, LSN_HEAD, "what is there stays");
	fixture_note(f);
	assert_ok(tree_reserve(f->store, ino, 10, 1024 * GIB, false, false));
	assert_int_equal(attr_now(f->store, ino).size_bytes, 1024 * GIB + 10);
	assert_bytes(f->store, ino, LSN_HEAD, 0, "what is there stays", 19);
	assert_zeros(f->store, ino, LSN_HEAD, 19, MIB);
	assert_int_equal(attr_now(f->store, ino).page_count, 1);
	assert_ok(tree_reserve(f->store, ino, 0, 5, false, false));
	assert_int_equal(attr_now(f->store, ino).size_bytes, 1024 * GIB + 10);
	fixture_note(f);
}

static void what_stamps_and_set_id_bits_do(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	struct tree_attr attr = { .mode = 06755 }, before;

	for (unsigned drop = 0; drop < 2; drop++) {
		assert_ok(tree_setattr(f->store, ino, TREE_SET_MODE, &attr, &before));
		clock_tick();
		assert_ok(tree_reserve(f->store, ino, 0, 1, true, drop));
		assert_int_equal(attr_now(f->store, ino).mode & 07777, drop ? 0755 : 06755);
		assert_true(time_before(before.mtime, attr_now(f->store, ino).mtime));
		assert_ok(tree_setattr(f->store, ino, TREE_SET_MODE, &attr, &before));
		clock_tick();
		assert_ok(tree_punch(f->store, ino, 0, 1, true, drop));
		assert_int_equal(attr_now(f->store, ino).mode & 07777, drop ? 0755 : 06755);
		assert_true(time_before(before.mtime, attr_now(f->store, ino).mtime));
		fixture_note(f);
	}
}

static void what_can_have_no_space_is_refused(void **state)
{
	struct fixture *f = *state;
	struct tree_new fifo = { .mode = S_IFIFO | 0600 };
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a"), found;
	struct tree_attr attr;

	assert_ok(tree_create(f->store, TREE_ROOT_INO, "fifo", &fifo, &attr));
	fixture_note(f);
	assert_err(tree_reserve(f->store, TREE_ROOT_INO, 0, 1, false, false), -EISDIR);
	assert_err(tree_punch(f->store, TREE_ROOT_INO, 0, 1, false, false), -EISDIR);
	assert_err(tree_seek(f->store, TREE_ROOT_INO, LSN_HEAD, 0, true, &found), -EISDIR);
	assert_err(tree_punch(f->store, attr.ino, 0, 1, false, false), -EINVAL);
	assert_err(tree_punch(f->store, ino, 5, 0, false, false), -EINVAL);
	assert_err(tree_reserve(f->store, ino, TREE_SIZE_MAX, 1, false, false), -EFBIG);
	assert_err(tree_punch(f->store, ino, 1, TREE_SIZE_MAX, true, false), -EFBIG);
	assert_err(tree_punch(f->store, 12345678, 0, 1, true, false), -ENOENT);
	assert_err(tree_seek(f->store, ino, LSN_HEAD, 0, true, &found), -ENXIO);
	fixture_note(f);
}

static void a_file_may_end_at_the_last_offset_there_is(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");

	assert_ok(tree_reserve(f->store, ino, 0, TREE_SIZE_MAX, false, false));
	assert_int_equal(attr_now(f->store, ino).size_bytes, INT64_MAX);
	write_bytes(f->store, ino, TREE_SIZE_MAX - 3, "end", 3);
	write_bytes(f->store, ino, 1024 * GIB - 1, "over the edge", 13);
	assert_bytes(f->store, ino, LSN_HEAD, TREE_SIZE_MAX - 3, "end", 3);
	assert_int_equal(attr_now(f->store, ino).page_count, 3);
	assert_int_equal(seek_at(f->store, ino, LSN_HEAD, 0, false), 1024 * GIB - PAGE);
	assert_int_equal(seek_at(f->store, ino, LSN_HEAD, 1024 * GIB, true), 1024 * GIB + PAGE);
	assert_int_equal(seek_at(f->store, ino, LSN_HEAD, 2048 * GIB, false),
			 TREE_SIZE_MAX / PAGE * PAGE);
	assert_int_equal(seek_at(f->store, ino, LSN_HEAD, TREE_SIZE_MAX - 1, true), TREE_SIZE_MAX);
	fixture_note(f);
	punch(f->store, ino, 1, TREE_SIZE_MAX - 1);
	assert_int_equal(attr_now(f->store, ino).page_count, 0);
	assert_int_equal(seek_at(f->store, ino, LSN_HEAD, 0, false), UINT64_MAX);
	fixture_note(f);
}

/* ---- punch ---- */

static void random_holes(struct shadow *shadow, struct prng *prng, unsigned page_count, unsigned rounds)
{
	uint64_t limit = (uint64_t)page_count * PAGE;

	for (unsigned i = 0; i < rounds; i++) {
		uint64_t offset = prng_below(prng, limit), size = 1 + prng_below(prng, limit / 2);

		if (prng_below(prng, 3) == 0) {
			offset -= offset % PAGE;
			size += PAGE - size % PAGE;
		}
		switch (prng_below(prng, 5)) {
		case 0:
			shadow_truncate(shadow, offset);
			break;
		case 1:
			shadow_punch(shadow, offset, size, false);
			break;
		case 2:
			shadow_punch(shadow, offset, size, true);
			break;
		default:
			shadow_write(shadow, prng_below(prng, 6) ? prng_next(prng) : SEED_ZEROS, offset,
				     prng_below(prng, 2) ? size : prng_below(prng, 300));
		}
		if (prng_below(prng, 40) == 0)
			fixture_freeze(shadow->fixture);
		if (prng_below(prng, 100) == 0)
			fixture_kill(shadow->fixture);
	}
}

/* A few pages are dropped by tombstones, many by the map. */
static void random_holes_in_a_few_pages(void **state)
{
	struct prng prng = { test_seed() };
	struct shadow shadow;

	shadow_init(&shadow, *state, "a");
	random_holes(&shadow, &prng, 6, 300);
	shadow_destroy(&shadow);
}

static void random_holes_in_many_pages(void **state)
{
	struct prng prng = { test_seed() };
	struct shadow shadow;

	shadow_init(&shadow, *state, "a");
	random_holes(&shadow, &prng, 120, 120);
	shadow_destroy(&shadow);
}

static void a_hole_costs_the_same_at_any_size(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	static uint8_t mebibyte[MIB];
	struct lsn before, full;
	uint64_t small, large;

	seed_fill(test_seed(), mebibyte, sizeof(mebibyte));
	for (unsigned i = 0; i < 24; i++)
		write_bytes(f->store, ino, i * MIB, mebibyte, MIB);
	/* Sparse, in every part of four tebibytes. */
	for (uint64_t at = GIB; at < 4096 * GIB; at *= 2)
		write_bytes(f->store, ino, at, "there", 5);
	set_size(f->store, ino, 4096 * GIB);
	full = fixture_note(f);
	before = newest(f->store);
	punch(f->store, ino, 100 * PAGE, PAGE);
	small = cost(f, before);
	assert_int_equal(attr_now(f->store, ino).page_count, 24 * MIB / PAGE + 12 - 1);
	before = newest(f->store);
	punch(f->store, ino, 200 * PAGE, 4096 * GIB - 300 * PAGE);
	large = cost(f, before);
	print_message("a hole of a page took %llu bytes of history, one of 4 TiB %llu\n",
		      (unsigned long long)small, (unsigned long long)large);
	assert_true(large < small + 200 && large < 400);
	assert_int_equal(attr_now(f->store, ino).page_count, 199);
	assert_zeros(f->store, ino, LSN_HEAD, 200 * PAGE, 30 * MIB);
	assert_bytes(f->store, ino, LSN_HEAD, 199 * PAGE, mebibyte + 199 * PAGE % MIB, 1);
	assert_bytes(f->store, ino, full, 23 * MIB, mebibyte, MIB);
	before = newest(f->store);
	assert_ok(tree_punch(f->store, ino, 0, 8192 * GIB, false, false));
	assert_true(cost(f, before) < 400);
	assert_int_equal(attr_now(f->store, ino).size_bytes, 8192 * GIB);
	assert_int_equal(attr_now(f->store, ino).page_count, 0);
	fixture_note(f);
}

/* Whoever reuses a block that was punched as one of many starts from zeros. */
static void nothing_shows_through_a_hole_that_is_written_to(void **state)
{
	struct fixture *f = *state;
	struct shadow shadow;

	shadow_init(&shadow, f, "a");
	for (unsigned freeze = 0; freeze < 2; freeze++) {
		shadow_write(&shadow, 1, 0, 100 * PAGE);
		shadow_punch(&shadow, 0, 100 * PAGE, false);
		shadow_write(&shadow, 2, 50 * PAGE + 100, 7);
		shadow_punch(&shadow, 20 * PAGE + 5, 60 * PAGE, false);
		shadow_write(&shadow, 3, 50 * PAGE + 90, 100);
		if (freeze)
			fixture_freeze(f);
	}
	shadow_destroy(&shadow);
}

/* ---- a map of several levels, against the plain list of pages ---- */

#define PAGES_MAX 600u
#define NOTES 40u

struct pages {
	uint64_t blocks[PAGES_MAX];     /* ascending */
	unsigned count;
	struct lsn lsn;
};

static unsigned pages_below(const struct pages *pages, uint64_t block)
{
	unsigned i = 0;

	while (i < pages->count && pages->blocks[i] < block)
		i++;
	return i;
}

static void pages_add(struct pages *pages, uint64_t block)
{
	unsigned at = pages_below(pages, block);

	if (at < pages->count && pages->blocks[at] == block)
		return;
	assert_true(pages->count < PAGES_MAX);
	memmove(pages->blocks + at + 1, pages->blocks + at,
		(pages->count - at) * sizeof(pages->blocks[0]));
	pages->blocks[at] = block;
	pages->count++;
}

static void pages_remove(struct pages *pages, uint64_t from, uint64_t to)
{
	unsigned low = pages_below(pages, from), high = pages_below(pages, to);

	memmove(pages->blocks + low, pages->blocks + high,
		(pages->count - high) * sizeof(pages->blocks[0]));
	pages->count -= high - low;
}

/* Near one of those that were drawn before, or anywhere, small numbers as likely as large ones. */
static uint64_t draw_block(struct prng *prng, const struct pages *pages)
{
	uint64_t block;

	if (pages->count && prng_below(prng, 2)) {
		block = pages->blocks[prng_below(prng, pages->count)] + prng_below(prng, 5);
		return block > 2 ? block - 2 : 0;
	}
	return prng_next(prng) >> (15 + prng_below(prng, 49));
}

static void pages_compare(struct fixture *f, uint64_t ino, const struct pages *pages, struct prng *prng)
{
	struct tree_attr attr = attr_at(f->store, ino, pages->lsn);

	assert_int_equal(attr.page_count, pages->count);
	for (unsigned i = 0; i < 30; i++) {
		uint64_t block = draw_block(prng, pages), end = attr.size_bytes / PAGE;
		unsigned at = pages_below(pages, block);
		uint64_t hole = block;

		if (block >= end)
			continue;
		assert_int_equal(seek_at(f->store, ino, pages->lsn, block * PAGE + 1, false),
				 at == pages->count ? UINT64_MAX
				 : pages->blocks[at] == block ? block * PAGE + 1 : pages->blocks[at] * PAGE);
		while (at < pages->count && pages->blocks[at] == hole) {
			hole++;
			at++;
		}
		assert_int_equal(seek_at(f->store, ino, pages->lsn, block * PAGE, true), hole * PAGE);
		if (hole > block)
			assert_bytes(f->store, ino, pages->lsn, block * PAGE, "x", 1);
		else
			assert_zeros(f->store, ino, pages->lsn, block * PAGE, 100);
	}
}

static void a_map_of_any_height_is_right_at_every_lsn(void **state)
{
	static struct pages notes[NOTES];
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	struct prng prng = { test_seed() };
	struct pages pages = { .count = 0 };

	set_size(f->store, ino, TREE_SIZE_MAX / PAGE * PAGE);
	for (unsigned note = 0; note < NOTES; note++) {
		for (unsigned i = 0; i < 12; i++) {
			uint64_t block = draw_block(&prng, &pages), end = draw_block(&prng, &pages);

			if (prng_below(&prng, 8) == 0 && block < end) {
				punch(f->store, ino, block * PAGE, (end - block) * PAGE);
				pages_remove(&pages, block, end);
			} else if (prng_below(&prng, 40) == 0) {
				set_size(f->store, ino, block * PAGE);
				set_size(f->store, ino, TREE_SIZE_MAX / PAGE * PAGE);
				pages_remove(&pages, block, UINT64_MAX);
			} else {
				write_bytes(f->store, ino, block * PAGE, "x", 1);
				pages_add(&pages, block);
			}
		}
		pages.lsn = newest(f->store);
		notes[note] = pages;
		pages_compare(f, ino, &pages, &prng);
		pages_compare(f, ino, &notes[prng_below(&prng, note + 1)], &prng);
		if (prng_below(&prng, 6) == 0)
			fixture_freeze(f);
		if (prng_below(&prng, 10) == 0)
			fixture_kill(f);
		if (prng_below(&prng, 20) == 0)
			assert_ok(store_compact(f->store));
	}
	assert_ok(store_compact(f->store));
	for (unsigned note = 0; note < NOTES; note++)
		pages_compare(f, ino, &notes[note], &prng);
}

/* Leaves that are full have no record; one that is no more has one again. */
static void a_file_without_holes_has_a_small_map(void **state)
{
	enum { PAGES = 3 * 8192 + 5 };
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	struct lsn full;

	for (unsigned i = 0; i < PAGES; i++)
		write_bytes(f->store, ino, (uint64_t)i * PAGE, "x", 1);
	full = fixture_note(f);
	assert_int_equal(attr_now(f->store, ino).page_count, PAGES);
	assert_int_equal(seek_at(f->store, ino, LSN_HEAD, 0, true), (PAGES - 1) * PAGE + 1);
	punch(f->store, ino, 9000 * PAGE, PAGE);
	punch(f->store, ino, 10000 * PAGE, 8192 * PAGE);
	assert_int_equal(attr_now(f->store, ino).page_count, PAGES - 8193);
	assert_int_equal(seek_at(f->store, ino, LSN_HEAD, 0, true), 9000 * PAGE);
	assert_int_equal(seek_at(f->store, ino, LSN_HEAD, 9001 * PAGE, true), 10000 * PAGE);
	assert_int_equal(seek_at(f->store, ino, LSN_HEAD, 10000 * PAGE, false), 18192 * PAGE);
	assert_int_equal(seek_at(f->store, ino, full, 9000 * PAGE, true), (PAGES - 1) * PAGE + 1);
	set_size(f->store, ino, 5000 * PAGE);
	assert_int_equal(attr_now(f->store, ino).page_count, 5000);
	fixture_note(f);
}

/* ---- copy ---- */

static void a_copy_equals_its_source(void **state)
{
	struct fixture *f = *state;
	struct prng prng = { test_seed() };
	struct shadow from, to;

	shadow_init(&from, f, "from");
	shadow_init(&to, f, "to");
	for (unsigned i = 0; i < 12; i++) {
		random_holes(&from, &prng, 60, 6);
		random_holes(&to, &prng, 60, 2);
		shadow_copy(&to, &from, prng_below(&prng, 60 * PAGE), prng_below(&prng, 60 * PAGE),
			    prng_below(&prng, 60 * PAGE));
		shadow_copy(&to, &from, prng_below(&prng, 30) * PAGE, prng_below(&prng, 30) * PAGE,
			    prng_below(&prng, 30) * PAGE);
	}
	shadow_truncate(&to, 0);
	shadow_copy(&to, &from, 0, 0, from.size_bytes);
	/* Whole and from the start: as many holes, but for pages of zeros that were written. */
	assert_true(attr_now(f->store, to.ino).page_count <= attr_now(f->store, from.ino).page_count);
	shadow_destroy(&from);
	shadow_destroy(&to);
}

static void the_past_is_copied_as_it_was(void **state)
{
	struct fixture *f = *state;
	uint64_t from = make_file(f->store, TREE_ROOT_INO, "from"), count, at = 0;
	uint64_t to = make_file(f->store, TREE_ROOT_INO, "to");
	unsigned requests = 0;
	struct lsn then;

	write_text(f->store, from, "as it was");
	write_bytes(f->store, from, 900 * GIB, "far out", 7);
	then = fixture_note(f);
	write_text(f->store, from, "as it has become since");
	set_size(f->store, from, 30);
	for (;; at += count, requests++) {
		struct lsn before = newest(f->store);

		assert_ok(tree_copy(f->store, from, then, at, to, at, 2000 * GIB, false, &count));
		if (!count)
			break;
		assert_true(cost(f, before) < 400);
	}
	assert_true(requests <= 4);
	assert_int_equal(at, 900 * GIB + 7);
	assert_bytes(f->store, to, LSN_HEAD, 0, "as it was\0", 10);
	assert_bytes(f->store, to, LSN_HEAD, 900 * GIB, "far out", 7);
	assert_true(attr_now(f->store, to).page_count <= MIB / PAGE + 1);
	fixture_note(f);
	/* Within the file itself: from its past to its head, but not over itself. */
	assert_ok(tree_copy(f->store, from, then, 0, from, 0, 9, false, &count));
	assert_int_equal(count, 9);
	assert_bytes(f->store, from, LSN_HEAD, 0, "as it was", 9);
	fixture_note(f);
	assert_err(tree_copy(f->store, from, LSN_HEAD, 0, from, 5, 6, false, &count), -EINVAL);
	assert_ok(tree_copy(f->store, from, LSN_HEAD, 0, from, 6, 6, false, &count));
	assert_err(tree_copy(f->store, TREE_ROOT_INO, LSN_HEAD, 0, to, 0, 1, false, &count), -EISDIR);
	assert_err(tree_copy(f->store, from, LSN_HEAD, 0, TREE_ROOT_INO, 0, 1, false, &count), -EISDIR);
	assert_err(tree_copy(f->store, from, LSN_HEAD, 0, to, TREE_SIZE_MAX, 1, false, &count), -EFBIG);
	fixture_note(f);
}

/* ---- what lies below a hole goes ---- */

static uint64_t layer_bytes(struct store *store)
{
	struct store_usage usage;

	store_usage_get(store, &usage);
	return usage.sealed_bytes + usage.table_bytes;
}

static void what_was_punched_is_collected(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a"), before;
	struct store_window window = { .bytes = 1 };
	static uint8_t mebibyte[MIB];
	struct store_gc gc;
	struct lsn full;

	seed_fill(test_seed(), mebibyte, sizeof(mebibyte));
	for (unsigned i = 0; i < 12; i++)
		write_bytes(f->store, ino, i * MIB, mebibyte, MIB);
	full = newest(f->store);
	assert_ok(store_pin(f->store, full));
	punch(f->store, ino, MIB, 10 * MIB);
	write_bytes(f->store, ino, 5 * MIB, "anew", 4);
	assert_ok(store_compact(f->store));
	before = layer_bytes(f->store);
	assert_ok(store_window_set(f->store, &window));
	assert_ok(store_collect(f->store, false, &gc));
	assert_true(layer_bytes(f->store) > before - MIB);
	assert_bytes(f->store, ino, full, 5 * MIB, mebibyte, MIB);
	store_unpin(f->store, full);
	write_text(f->store, ino, "what makes the window move");
	assert_ok(store_collect(f->store, false, &gc));
	assert_true(layer_bytes(f->store) < 3 * MIB);
	assert_bytes(f->store, ino, LSN_HEAD, 11 * MIB, mebibyte, MIB);
	assert_bytes(f->store, ino, LSN_HEAD, 5 * MIB, "anew", 4);
	assert_zeros(f->store, ino, LSN_HEAD, 6 * MIB, 5 * MIB);
	assert_int_equal(attr_now(f->store, ino).page_count, 2 * MIB / PAGE + 1);
	fixture_note(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fixture_test(reserving_grows_the_file_and_reads_as_zeros),
		fixture_test(what_stamps_and_set_id_bits_do),
		fixture_test(what_can_have_no_space_is_refused),
		fixture_test(a_file_may_end_at_the_last_offset_there_is),
		fixture_test(random_holes_in_a_few_pages),
		fixture_test(random_holes_in_many_pages),
		fixture_test(a_hole_costs_the_same_at_any_size),
		fixture_test(nothing_shows_through_a_hole_that_is_written_to),
		fixture_test(a_map_of_any_height_is_right_at_every_lsn),
		fixture_test(a_file_without_holes_has_a_small_map),
		fixture_test(a_copy_equals_its_source),
		fixture_test(the_past_is_copied_as_it_was),
		fixture_test(what_was_punched_is_collected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
