/* Listing: every name's hash, in order, once; kept for the requests that go on. */
#include "layer_map.h"
#include "listing.h"
#include "store_internal.h"
#include "test_fixture.h"

static struct listing *get_at(struct store *store, uint64_t dir, struct lsn at, bool fresh)
{
	struct layer_guard guard;
	struct listing *listing;
	struct lsn newest = engine_guard_take(store->engine, &guard);

	assert_ok(listing_get(store, &guard, dir, at, newest, fresh, &listing));
	layer_guard_drop(&guard);
	assert_int_equal(listing->dir, dir);
	assert_int_equal(listing->at.value, at.value);
	for (size_t i = 1; i < listing->count; i++)
		assert_true(listing->hashes[i - 1] < listing->hashes[i]);
	return listing;
}

static struct listing *get(struct store *store, uint64_t dir, bool fresh)
{
	return get_at(store, dir, LSN_HEAD, fresh);
}

static void make_files(struct store *store, uint64_t dir, unsigned from, unsigned to)
{
	char name[32];

	for (unsigned i = from; i < to; i++) {
		snprintf(name, sizeof(name), "name-%u", i);
		make_file(store, dir, name);
	}
}

static size_t count_fresh(struct store *store, uint64_t dir)
{
	struct listing *listing = get(store, dir, true);
	size_t count = listing->count;

	listing_put(store->listings, listing);
	return count;
}

static void an_empty_directory_has_none(void **state)
{
	struct fixture *fixture = *state;
	uint64_t dir = make_dir(fixture->store, TREE_ROOT_INO, "dir");
	struct listing *listing = get(fixture->store, dir, true);

	assert_int_equal(listing->count, 0);
	assert_int_equal(listing_seek(listing, 0), 0);
	listing_put(fixture->store->listings, listing);
}

/* Names in the open layer, in sealed ones, and in several. */
static void names_of_all_layers_are_listed_once(void **state)
{
	struct fixture *fixture = *state;
	uint64_t dir = make_dir(fixture->store, TREE_ROOT_INO, "dir");

	make_files(fixture->store, dir, 0, 200);
	assert_int_equal(count_fresh(fixture->store, dir), 200);
	fixture_freeze(fixture);
	assert_int_equal(count_fresh(fixture->store, dir), 200);
	for (unsigned i = 0; i < 10; i++) {
		char name[32];

		snprintf(name, sizeof(name), "name-%u", i);
		assert_ok(tree_unlink(fixture->store, dir, name));
	}
	make_files(fixture->store, dir, 0, 5);
	make_files(fixture->store, dir, 200, 250);
	make_files(fixture->store, TREE_ROOT_INO, 1000, 1100);
	assert_int_equal(count_fresh(fixture->store, dir), 250);
	fixture_freeze(fixture);
	assert_int_equal(count_fresh(fixture->store, dir), 250);
}

static void it_is_kept_until_a_fresh_one_is_asked_for(void **state)
{
	struct fixture *fixture = *state;
	struct store *store = fixture->store;
	struct listing *first, *kept, *fresh;

	make_files(store, TREE_ROOT_INO, 0, 20);
	first = get(store, TREE_ROOT_INO, false);
	assert_int_equal(first->count, 20);
	make_files(store, TREE_ROOT_INO, 20, 30);
	kept = get(store, TREE_ROOT_INO, false);
	assert_ptr_equal(kept, first);
	fresh = get(store, TREE_ROOT_INO, true);
	assert_ptr_not_equal(fresh, first);
	assert_int_equal(fresh->count, 30);
	/* Who still holds the old one sees it unchanged. */
	assert_int_equal(first->count, 20);
	listing_put(store->listings, kept);
	listing_put(store->listings, first);
	kept = get(store, TREE_ROOT_INO, false);
	assert_ptr_equal(kept, fresh);
	listing_put(store->listings, kept);
	listing_put(store->listings, fresh);
}

static void each_lsn_has_a_listing_of_its_own(void **state)
{
	struct fixture *fixture = *state;
	struct store *store = fixture->store;
	struct listing *head, *past, *again;

	make_files(store, TREE_ROOT_INO, 0, 20);
	past = get_at(store, TREE_ROOT_INO, newest(store), true);
	head = get(store, TREE_ROOT_INO, false);
	assert_ptr_not_equal(past, head);
	again = get_at(store, TREE_ROOT_INO, past->at, false);
	assert_ptr_equal(again, past);
	listing_put(store->listings, again);
	listing_put(store->listings, past);
	listing_put(store->listings, head);
}

static void seeking_finds_the_first_that_is_not_below(void **state)
{
	struct fixture *fixture = *state;
	struct listing *listing;

	make_files(fixture->store, TREE_ROOT_INO, 0, 100);
	listing = get(fixture->store, TREE_ROOT_INO, true);
	assert_int_equal(listing->count, 100);
	assert_int_equal(listing_seek(listing, 0), 0);
	for (size_t i = 0; i < listing->count; i++) {
		assert_int_equal(listing_seek(listing, listing->hashes[i]), i);
		assert_true(listing_seek(listing, listing->hashes[i] + 1) == i + 1);
	}
	assert_int_equal(listing_seek(listing, UINT64_MAX), 100);
	listing_put(fixture->store->listings, listing);
}

/* The one used longest ago goes; who holds it keeps it. */
static void few_are_kept_and_those_in_hand_live(void **state)
{
	enum { DIRS = 40 };
	struct fixture *fixture = *state;
	struct store *store = fixture->store;
	struct listing *listings[DIRS], *again;
	uint64_t dirs[DIRS];
	unsigned kept = 0;

	for (unsigned i = 0; i < DIRS; i++) {
		char name[32];

		snprintf(name, sizeof(name), "dir-%u", i);
		dirs[i] = make_dir(store, TREE_ROOT_INO, name);
		make_files(store, dirs[i], 0, i);
	}
	for (unsigned i = 0; i < DIRS; i++)
		listings[i] = get(store, dirs[i], true);
	for (unsigned i = DIRS; i-- > 0;) {
		assert_int_equal(listings[i]->count, i);
		again = get(store, dirs[i], false);
		kept += again == listings[i];
		assert_int_equal(again->count, i);
		/* The newest are the kept ones. */
		if (i == DIRS - 1)
			assert_ptr_equal(again, listings[i]);
		listing_put(store->listings, again);
		listing_put(store->listings, listings[i]);
	}
	assert_in_range(kept, 8, DIRS / 2);
}

/* Two readers begin, and the one that began first ends last: what it made must not
 * take the place of a listing that knows more names. */
static void the_one_that_knows_more_is_kept(void **state)
{
	struct fixture *fixture = *state;
	struct store *store = fixture->store;
	struct listing *early, *late, *kept;
	struct layer_guard guard;
	struct lsn before;

	make_files(store, TREE_ROOT_INO, 0, 3);
	before = engine_guard_take(store->engine, &guard);
	make_files(store, TREE_ROOT_INO, 3, 5);
	late = get(store, TREE_ROOT_INO, true);
	assert_ok(listing_get(store, &guard, TREE_ROOT_INO, LSN_HEAD, before, true, &early));
	layer_guard_drop(&guard);
	kept = get(store, TREE_ROOT_INO, false);
	assert_ptr_equal(kept, late);
	assert_int_equal(kept->count, 5);
	listing_put(store->listings, kept);
	listing_put(store->listings, late);
	listing_put(store->listings, early);
}

static void freeing_no_cache_is_no_error(void **state)
{
	(void)state;
	listing_cache_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fixture_test(an_empty_directory_has_none),
		fixture_test(names_of_all_layers_are_listed_once),
		fixture_test(it_is_kept_until_a_fresh_one_is_asked_for),
		fixture_test(each_lsn_has_a_listing_of_its_own),
		fixture_test(seeking_finds_the_first_that_is_not_below),
		fixture_test(few_are_kept_and_those_in_hand_live),
		fixture_test(the_one_that_knows_more_is_kept),
		cmocka_unit_test(freeing_no_cache_is_no_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
