/* Census: what is counted, how often it is counted, and what becomes of an inode that can't be read. */
#include <errno.h>
#include <unistd.h>

#include "attr.h"
#include "census.h"
#include "store_internal.h"
#include "test_fixture.h"

#define FILES 10000u

static void commit(struct store *store, uint64_t ino, const void *bytes, uint32_t size_bytes)
{
	struct batch_entry entry = { .key = key_make(ino, KEY_ATTR, 0), .form = VERSION_IMAGE,
				     .body = bytes, .body_bytes = size_bytes };
	struct lsn lsn;

	assert_ok(engine_commit(store->engine, &entry, 1, 1, &lsn));
}

/* What was last in the walk can't be read. */
static void a_walk_that_failed_is_not_repeated_at_once(void **state)
{
	struct fixture *fixture = fixture_new(NULL, NULL);
	struct store *store = fixture->store;
	struct census_count count;
	struct layer_guard guard;
	struct census *census;
	uint8_t raw[ATTR_BYTES];
	struct attr attr;
	char name[32];
	uint64_t bad;

	(void)state;
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "file%u", i);
		make_file(store, TREE_ROOT_INO, name);
	}
	bad = make_file(store, make_dir(store, TREE_ROOT_INO, "dir"), "bad");
	assert_ok(census_open(store, &census));
	assert_ok(census_get(census, &count));
	assert_int_equal(count.inode_count, FILES + 3);

	struct lsn lsn = engine_guard_take(store->engine, &guard);
	assert_ok(attr_load(&guard, bad, lsn, &attr, NULL, NULL));
	layer_guard_drop(&guard);
	attr_encode(&attr, raw);
	commit(store, bad, raw, 7);
	census_close(census);
	/* The head's inodes are remembered until then. */
	fixture_reopen(fixture);
	store = fixture->store;
	assert_ok(census_open(store, &census));
	assert_err(census_get(census, &count), -EUCLEAN);
	commit(store, bad, raw, sizeof(raw));
	assert_err(census_get(census, &count), -EUCLEAN);
	while (census_get(census, &count))
		usleep(10000);
	assert_int_equal(count.inode_count, FILES + 3);
	census_close(census);
	fixture_free(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_walk_that_failed_is_not_repeated_at_once),
	};

	return cmocka_run_group_tests_name("census", tests, NULL, NULL);
}
