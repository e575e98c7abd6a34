/* Version index: a reader that has seen LSN n finds every version <= n, while a
 * writer adds and the table is outgrown. */
#include <pthread.h>
#include <stdatomic.h>

#include "test_support.h"
#include "version_index.h"

struct race {
	struct version_index *index;
	_Atomic uint32_t published;
	atomic_bool stop;
};

enum { RACE_KEYS = 64 };

static struct key race_key(uint32_t lsn)
{
	return key_make(16 + lsn % RACE_KEYS, KEY_PAGE, lsn % RACE_KEYS);
}

static void *race_reader(void *argument)
{
	struct race *race = argument;
	struct prng prng = { 5 };

	while (!atomic_load(&race->stop)) {
		uint32_t seen = atomic_load_explicit(&race->published, memory_order_acquire);
		uint32_t lsn = 1 + prng_below(&prng, seen + 1);

		if (lsn > seen)
			continue;
		const struct version_node *node = version_index_find(race->index, race_key(lsn), lsn);
		require(node != NULL);
		require(node->lsn == lsn);
	}
	return NULL;
}

static void readers_find_all_they_may_ask_for_while_a_writer_adds(void **state)
{
	enum { VERSIONS = 200000 };
	struct race race = { .index = NULL };
	pthread_t readers[2];

	(void)state;
	assert_ok(version_index_create(VERSIONS, &race.index));
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, race_reader, &race), 0);
	for (uint32_t lsn = 1; lsn <= VERSIONS; lsn++) {
		struct version_node node = { .lsn = lsn, .form = 1 };

		assert_ok(version_index_prepare(race.index, 1));
		version_index_insert(race.index, race_key(lsn), &node);
		atomic_store_explicit(&race.published, lsn, memory_order_release);
	}
	atomic_store(&race.stop, true);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_join(readers[i], NULL), 0);
	version_index_free(race.index);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readers_find_all_they_may_ask_for_while_a_writer_adds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
