#include "orphans.h"

#include "test_support.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_set_of_inodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
