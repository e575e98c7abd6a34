/* Wishes: who waits for a compaction or a garbage collection is let go when the store is about to be closed. */
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "test_fixture.h"

#define ROUNDS 40u

static void *compact(void *context)
{
	struct store *store = context;

	return (void *)(intptr_t)store_compact(store);
}

static void nobody_waits_behind_the_end(void **state)
{
	struct fixture *fixture = fixture_new(NULL, NULL);
	struct store_gc gc;

	(void)state;
	make_file(fixture->store, TREE_ROOT_INO, "file");
	assert_ok(store_compact(fixture->store));
	store_end_waits(fixture->store);
	assert_err(store_compact(fixture->store), -ESHUTDOWN);
	assert_err(store_collect(fixture->store, false, &gc), -ESHUTDOWN);
	fixture_free(fixture);
}

/* Wherever the merge is, what was written is there in the next life. */
static void who_waits_is_let_go(void **state)
{
	unsigned let_go = 0;

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		struct fixture *fixture = fixture_new(NULL, NULL);
		uint8_t bytes[8192];
		pthread_t thread;
		void *result;

		for (unsigned round = 0; round < ROUNDS; round++) {
			uint64_t ino = make_file(fixture->store, TREE_ROOT_INO, (char[]){ (char)('0' + round), 0 });

			for (unsigned block = 0; block < 20; block++) {
				seed_fill(round * 100 + block, bytes, sizeof(bytes));
				write_bytes(fixture->store, ino, block * sizeof(bytes), bytes, sizeof(bytes));
			}
		}
		fixture_note(fixture);
		must(!pthread_create(&thread, NULL, compact, fixture->store), "thread", "");
		usleep(i * 1500);
		store_end_waits(fixture->store);
		pthread_join(thread, &result);
		assert_true(result == NULL || (intptr_t)result == -ESHUTDOWN);
		let_go += result != NULL;
		fixture_reopen(fixture);
		fixture_verify(fixture, "with a merge that nobody waited for");
		fixture_free(fixture);
	}
	assert_true(let_go > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_waits_behind_the_end),
		cmocka_unit_test(who_waits_is_let_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
