/* Data: write and read at every alignment, sparse files, limits, atomicity. */
#include "test_shadow.h"

static const uint32_t page_sizes[] = { 4096, 8192, 65536 };

static struct fixture *fixture_with_pages(uint32_t page_size_bytes)
{
	struct store_mkfs_options mkfs = { .page_size_bytes = page_size_bytes };
	struct fixture *f = fixture_new(&mkfs, NULL);

	assert_int_equal(store_page_size(f->store), page_size_bytes);
	return f;
}

static void prove_and_free(struct fixture *f)
{
	fixture_prove(f);
	fixture_free(f);
}

static void a_new_file_is_empty(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	size_t count = 99;
	char byte;

	assert_ok(tree_read(f->store, ino, LSN_HEAD, 0, &byte, 1, &count));
	assert_int_equal(count, 0);
	assert_ok(tree_read(f->store, ino, LSN_HEAD, 1 << 30, &byte, 1, &count));
	assert_int_equal(count, 0);
}

static void reads_end_with_the_file(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	char buffer[32];
	size_t count;

	write_text(f->store, ino, "0123456789");
	for (unsigned offset = 0; offset <= 12; offset++) {
		for (unsigned size = 0; size <= 14; size++) {
			size_t expected = offset >= 10 ? 0 : size < 10 - offset ? size : 10 - offset;

			memset(buffer, '#', sizeof(buffer));
			count = 99;
			assert_ok(tree_read(f->store, ino, LSN_HEAD, offset, buffer, size, &count));
			assert_int_equal(count, expected);
			assert_memory_equal(buffer, &"0123456789##"[offset], expected);
			assert_int_equal(buffer[count], '#');   /* not one byte more is touched */
		}
	}
}

static void reads_and_writes_want_a_file(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = make_dir(f->store, TREE_ROOT_INO, "dir");
	size_t count;
	char byte = 0;

	fixture_note(f);
	assert_err(tree_read(f->store, dir, LSN_HEAD, 0, &byte, 1, &count), -EISDIR);
	assert_err(tree_write(f->store, dir, 0, &byte, 1, false), -EISDIR);
	assert_err(tree_read(f->store, 123456789, LSN_HEAD, 0, &byte, 1, &count), -ENOENT);
	assert_err(tree_write(f->store, 123456789, 0, &byte, 1, false), -ENOENT);
	fixture_note(f);
}

static void write_stamps_the_file_and_only_it(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	struct tree_attr before = attr_now(f->store, ino), after;
	struct tree_attr root_before = attr_now(f->store, TREE_ROOT_INO), root_after;

	clock_tick();
	write_text(f->store, ino, "hello");
	after = attr_now(f->store, ino);
	root_after = attr_now(f->store, TREE_ROOT_INO);
	assert_int_equal(after.size_bytes, 5);
	assert_true(time_before(before.mtime, after.mtime));
	assert_true(time_equal(after.mtime, after.ctime));
	assert_true(time_equal(before.atime, after.atime));
	assert_true(time_equal(before.btime, after.btime));
	assert_int_equal(after.changed.value, newest(f->store).value);
	assert_attr_equal(&root_before, &root_after);
	fixture_note(f);
	/* Inside the file the size stays. */
	write_bytes(f->store, ino, 1, "E", 1);
	assert_text(f->store, ino, LSN_HEAD, "hEllo");
	fixture_note(f);
}

static void a_write_of_nothing_changes_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");

	fixture_note(f);
	assert_ok(tree_write(f->store, ino, 0, "", 0, false));
	assert_ok(tree_write(f->store, ino, 1 << 20, "", 0, false));
	fixture_note(f);
}

static void write_drops_set_id_bits_when_asked(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint32_t before;
		bool drop;
		uint32_t after;
	} cases[] = {
		{ 06755, false, 06755 },
		{ 06755, true, 0755 },
		{ 06745, true, 02745 },         /* not group-executable: the bit means locking */
		{ 02711, true, 0711 },
		{ 04644, true, 0644 },
		{ 01777, true, 01777 },
	};

	for (unsigned i = 0; i < array_size(cases); i++) {
		struct tree_new what = { .mode = S_IFREG | cases[i].before };
		char name[] = { 'a' + i, 0 };
		struct tree_attr attr;

		assert_ok(tree_create(f->store, TREE_ROOT_INO, name, &what, &attr));
		assert_ok(tree_write(f->store, attr.ino, 0, "x", 1, cases[i].drop));
		assert_int_equal(attr_now(f->store, attr.ino).mode, S_IFREG | cases[i].after);
		fixture_note(f);
	}
}

static void writes_at_every_page_edge(void **state)
{
	(void)state;
	for (unsigned p = 0; p < array_size(page_sizes); p++) {
		struct fixture *f = fixture_with_pages(page_sizes[p]);
		size_t page = page_sizes[p];
		const size_t offsets[] = { 0, 1, page / 2, page - 1, page, page + 1, 2 * page - 1,
					   2 * page };
		const size_t sizes[] = { 1, 2, page - 1, page, page + 1, 2 * page + 1 };
		uint64_t seed = test_seed();
		struct shadow shadow;

		shadow_init(&shadow, f, "a");
		for (unsigned o = 0; o < array_size(offsets); o++)
			for (unsigned s = 0; s < array_size(sizes); s++)
				shadow_write(&shadow, seed++, offsets[o], sizes[s]);
		shadow_destroy(&shadow);
		prove_and_free(f);
	}
}

static void first_writes_at_every_page_edge(void **state)
{
	(void)state;
	/* Into a fresh file each: what lies before and around is a hole. */
	for (unsigned p = 0; p < array_size(page_sizes); p++) {
		struct fixture *f = fixture_with_pages(page_sizes[p]);
		size_t page = page_sizes[p];
		const size_t offsets[] = { 1, page - 1, page, page + 1, 3 * page - 1 };
		const size_t sizes[] = { 1, 2, page - 1, page, page + 1 };

		for (unsigned o = 0; o < array_size(offsets); o++) {
			for (unsigned s = 0; s < array_size(sizes); s++) {
				struct shadow shadow;
				char name[16];

				snprintf(name, sizeof(name), "%u-%u", o, s);
				shadow_init(&shadow, f, name);
				shadow_write(&shadow, test_seed() + s, offsets[o], sizes[s]);
				shadow_destroy(&shadow);
			}
		}
		prove_and_free(f);
	}
}

static void small_writes_pile_up_on_one_page(void **state)
{
	struct fixture *f = *state;
	struct prng prng = { test_seed() };
	struct shadow shadow;

	shadow_init(&shadow, f, "a");
	for (unsigned i = 0; i < 600; i++) {
		size_t offset = prng_below(&prng, 8192);

		shadow_write(&shadow, prng_next(&prng), offset, 1 + prng_below(&prng, 100));
		if (i % 150 == 149)
			fixture_freeze(f);
	}
	shadow_destroy(&shadow);
}

static void whole_mebibytes_in_one_write(void **state)
{
	struct fixture *f = *state;
	struct shadow shadow;

	shadow_init(&shadow, f, "a");
	shadow_write(&shadow, test_seed(), 0, TREE_WRITE_MAX);
	shadow_write(&shadow, test_seed() + 1, 4097, TREE_WRITE_MAX);
	shadow_write(&shadow, test_seed() + 2, TREE_WRITE_MAX - 1, TREE_WRITE_MAX);
	shadow_write(&shadow, test_seed() + 3, 0, TREE_WRITE_MAX - 1);
	shadow_destroy(&shadow);
}

static void a_write_larger_than_a_layer_still_fits(void **state)
{
	struct store_options options = { .layer_size_bytes = 256 * KIB };
	struct fixture *f = fixture_new(NULL, &options);
	struct shadow shadow;

	(void)state;
	shadow_init(&shadow, f, "a");
	for (unsigned i = 0; i < 4; i++)
		shadow_write(&shadow, test_seed() + i, 777 * i, TREE_WRITE_MAX);
	shadow_destroy(&shadow);
	prove_and_free(f);
}

static void a_write_is_whole_at_every_lsn(void **state)
{
	struct fixture *f = *state;
	enum { SIZE = 300000 };
	uint8_t *old = malloc(SIZE), *new = malloc(SIZE);
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	struct prng prng = { test_seed() };
	struct lsn before, after;

	assert_non_null(old);
	assert_non_null(new);
	prng_fill(&prng, old, SIZE);
	prng_fill(&prng, new, SIZE);
	write_bytes(f->store, ino, 5, old, SIZE);
	before = fixture_note(f);
	write_bytes(f->store, ino, 5, new, SIZE);
	after = fixture_note(f);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 200; i++) {
			uint64_t n = before.value + prng_below(&prng, after.value - before.value);

			assert_bytes(f->store, ino, lsn_make(n), 5, old, SIZE);
		}
		assert_bytes(f->store, ino, lsn_make(after.value - 1), 5, old, SIZE);
		assert_bytes(f->store, ino, after, 5, new, SIZE);
		fixture_freeze(f);
	}
	free(old);
	free(new);
}

static void holes_read_as_zeros(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");

	write_bytes(f->store, ino, 100000, "x", 1);
	fixture_note(f);
	assert_zeros(f->store, ino, LSN_HEAD, 0, 100000);
	assert_bytes(f->store, ino, LSN_HEAD, 100000, "x", 1);
	write_bytes(f->store, ino, 50000, "y", 1);
	fixture_note(f);
	assert_zeros(f->store, ino, LSN_HEAD, 0, 50000);
	assert_zeros(f->store, ino, LSN_HEAD, 50001, 49999);
	assert_int_equal(attr_now(f->store, ino).size_bytes, 100001);
}

static void far_offsets_cost_no_history(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	static const uint64_t offsets[] = { GIB, 1024 * GIB, UINT64_C(1) << 52, TREE_SIZE_MAX - 3 };
	struct lsn before = newest(f->store);

	for (unsigned i = 0; i < array_size(offsets); i++) {
		write_bytes(f->store, ino, offsets[i], "far", 3);
		fixture_note(f);
		assert_int_equal(attr_now(f->store, ino).size_bytes, offsets[i] + 3);
	}
	assert_true(newest(f->store).value - before.value < 64 * KIB);
	for (unsigned i = 0; i < array_size(offsets); i++) {
		assert_bytes(f->store, ino, LSN_HEAD, offsets[i], "far", 3);
		assert_zeros(f->store, ino, LSN_HEAD, offsets[i] - 70000, 70000);
	}
}

static void files_end_at_a_limit(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	struct tree_attr to = { 0 }, attr;

	fixture_note(f);
	assert_err(tree_write(f->store, ino, TREE_SIZE_MAX, "x", 1, false), -EFBIG);
	assert_err(tree_write(f->store, ino, TREE_SIZE_MAX - 1, "xy", 2, false), -EFBIG);
	assert_err(tree_write(f->store, ino, INT64_MAX, "x", 1, false), -EFBIG);
	assert_err(tree_write(f->store, ino, UINT64_MAX, "x", 1, false), -EFBIG);
	assert_err(tree_write(f->store, ino, UINT64_MAX - 1, "xyz", 3, false), -EFBIG);
	to.size_bytes = TREE_SIZE_MAX + 1;
	assert_err(tree_setattr(f->store, ino, TREE_SET_SIZE, &to, &attr), -EFBIG);
	to.size_bytes = UINT64_MAX;
	assert_err(tree_setattr(f->store, ino, TREE_SET_SIZE, &to, &attr), -EFBIG);
	fixture_note(f);
	set_size(f->store, ino, TREE_SIZE_MAX);
	fixture_note(f);
	assert_zeros(f->store, ino, LSN_HEAD, TREE_SIZE_MAX - 100, 100);
}

static void reads_beyond_any_offset_are_empty(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "a");
	static const uint64_t offsets[] = { 5, TREE_SIZE_MAX, INT64_MAX, UINT64_MAX };
	char buffer[8];

	write_text(f->store, ino, "12345");
	for (unsigned i = 0; i < array_size(offsets); i++) {
		size_t count = 99;

		assert_ok(tree_read(f->store, ino, LSN_HEAD, offsets[i], buffer, sizeof(buffer),
				    &count));
		assert_int_equal(count, 0);
	}
}

static void files_do_not_mix(void **state)
{
	struct fixture *f = *state;
	struct prng prng = { test_seed() };
	struct shadow shadows[8];
	char name[16];

	for (unsigned i = 0; i < array_size(shadows); i++) {
		snprintf(name, sizeof(name), "f%u", i);
		shadow_init(&shadows[i], f, name);
	}
	for (unsigned i = 0; i < 300; i++) {
		struct shadow *shadow = &shadows[prng_below(&prng, array_size(shadows))];

		shadow_write(shadow, prng_next(&prng), prng_below(&prng, 30000),
			     prng_below(&prng, 9000));
	}
	for (unsigned i = 0; i < array_size(shadows); i++) {
		assert_bytes(f->store, shadows[i].ino, LSN_HEAD, 0, shadows[i].bytes,
			     shadows[i].size_bytes);
		shadow_destroy(&shadows[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fixture_test(a_new_file_is_empty),
		fixture_test(reads_end_with_the_file),
		fixture_test(reads_and_writes_want_a_file),
		fixture_test(write_stamps_the_file_and_only_it),
		fixture_test(a_write_of_nothing_changes_nothing),
		fixture_test(write_drops_set_id_bits_when_asked),
		cmocka_unit_test(writes_at_every_page_edge),
		cmocka_unit_test(first_writes_at_every_page_edge),
		fixture_test(small_writes_pile_up_on_one_page),
		fixture_test(whole_mebibytes_in_one_write),
		cmocka_unit_test(a_write_larger_than_a_layer_still_fits),
		fixture_test(a_write_is_whole_at_every_lsn),
		fixture_test(holes_read_as_zeros),
		fixture_test(far_offsets_cost_no_history),
		fixture_test(files_end_at_a_limit),
		fixture_test(reads_beyond_any_offset_are_empty),
		fixture_test(files_do_not_mix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
