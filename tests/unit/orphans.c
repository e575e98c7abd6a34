#include "orphans.h"

#include "store_internal.h"
#include "test_fixture.h"

#define INOS 5000u

/* Beside a plain array: whatever comes and goes, what is in is in. */
static void a_set_of_inodes(void **state)
{
	struct prng prng = { test_seed() };
	static bool in[INOS];
	struct orphans orphans;

	orphans_init(&orphans);
	assert_false(orphans_has(&orphans, 17));
	orphans_remove(&orphans, 17);
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t ino = prng_below(&prng, INOS);

		if (prng_below(&prng, 2)) {
			assert_ok(orphans_add(&orphans, ino + 1));
			in[ino] = true;
		} else {
			orphans_remove(&orphans, ino + 1);
			in[ino] = false;
		}
		ino = prng_below(&prng, INOS);
		assert_int_equal(orphans_has(&orphans, ino + 1), in[ino]);
	}
	for (uint64_t ino = 0; ino < INOS; ino++)
		assert_int_equal(orphans_has(&orphans, ino + 1), in[ino]);
	orphans_destroy(&orphans);
}

/* What was not made or unlinked after all is none. */
static void a_change_that_fails_makes_no_orphan(void **state)
{
	struct fixture *f = *state;
	struct tree_new what = { .mode = S_IFREG | 0600 };
	struct tree_attr attr;
	uint64_t open_ino;

	make_file(f->store, TREE_ROOT_INO, "a");
	assert_ok(tree_create_unnamed(f->store, TREE_ROOT_INO, &what, &attr));
	open_ino = attr.ino;
	assert_int_equal(f->store->orphans.count, 1);
	fixture_close(f);
	f->options.read_only = true;
	fixture_open(f);
	assert_err(tree_create_unnamed(f->store, TREE_ROOT_INO, &what, &attr), -EROFS);
	assert_err(tree_unlink(f->store, TREE_ROOT_INO, "a"), -EROFS);
	assert_int_equal(f->store->orphans.count, 0);
	/* One that was an orphan before stays one. */
	assert_ok(orphans_add(&f->store->orphans, open_ino));
	assert_err(tree_write(f->store, open_ino, 0, "x", 1, false), -EROFS);
	assert_true(orphans_has(&f->store->orphans, open_ino));
	fixture_close(f);
	f->options.read_only = false;
	fixture_open(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_set_of_inodes),
		fixture_test(a_change_that_fails_makes_no_orphan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
