/* How often the kernel was told of an inode: the last forgetting is known for the last, threads or not. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "told.h"

static void only_the_last_forgetting_is_the_last(void **state)
{
	struct told *told;

	(void)state;
	assert_int_equal(told_open(&told), 0);
	for (unsigned i = 0; i < 3; i++)
		told_add(told, 77);
	assert_false(told_forget(told, 77, 2, NULL, NULL));
	/* Looked up again before the kernel's forgetting arrives. */
	told_add(told, 77);
	assert_false(told_forget(told, 77, 1, NULL, NULL));
	assert_int_equal(told_count(told), 1);
	assert_true(told_forget(told, 77, 1, NULL, NULL));
	assert_int_equal(told_count(told), 0);
	/* Of one that it was never told of nothing is said. */
	assert_false(told_forget(told, 77, 1, NULL, NULL));
	assert_false(told_forget(told, 12345, 1, NULL, NULL));
	told_close(told);
	told_close(NULL);
}

/* Random, beside an array of counts; inodes close together and far apart. */
static void counts_are_those_of_an_array(void **state)
{
	enum { INODES = 3000, STEPS = 400000 };
	const char *given = getenv("VARVE_TEST_SEED");
	unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
	static uint64_t counts[INODES];
	struct told *told;

	(void)state;
	printf("seed: VARVE_TEST_SEED=%u\n", seed);
	assert_int_equal(told_open(&told), 0);
	for (unsigned i = 0; i < STEPS; i++) {
		unsigned which = (unsigned)rand_r(&seed) % INODES;
		uint64_t ino = 16 + which + (which & 1 ? (uint64_t)which << 40 : 0);

		/* Growing at first, shrinking later. */
		if ((unsigned)rand_r(&seed) % STEPS > i) {
			told_add(told, ino);
			counts[which]++;
		} else if (counts[which]) {
			uint64_t some = 1 + (uint64_t)rand_r(&seed) % counts[which];

			counts[which] -= some;
			assert_int_equal(told_forget(told, ino, some, NULL, NULL), counts[which] == 0);
		} else {
			assert_false(told_forget(told, ino, 1, NULL, NULL));
		}
	}
	for (unsigned which = 0; which < INODES; which++) {
		uint64_t ino = 16 + which + (which & 1 ? (uint64_t)which << 40 : 0);

		assert_int_equal(told_forget(told, ino, counts[which], NULL, NULL), counts[which] != 0);
	}
	assert_int_equal(told_count(told), 0);
	told_close(told);
}

struct shared {
	struct told *told;
	uint64_t last_count[4];
};

struct worker {
	struct shared *shared;
	unsigned number;
};

static void *tell_and_forget(void *argument)
{
	struct worker *worker = argument;
	uint64_t *last_count = &worker->shared->last_count[worker->number];

	for (unsigned i = 0; i < 50000; i++) {
		told_add(worker->shared->told, 16 + i % 50);
		*last_count += told_forget(worker->shared->told, 16 + i % 50, 1, NULL, NULL);
	}
	return NULL;
}

static void threads_count_together(void **state)
{
	struct shared shared = { 0 };
	struct worker workers[4];
	pthread_t threads[4];
	uint64_t last_count = 0;

	(void)state;
	assert_int_equal(told_open(&shared.told), 0);
	told_add(shared.told, 16);
	for (unsigned i = 0; i < 4; i++) {
		workers[i] = (struct worker){ &shared, i };
		assert_int_equal(pthread_create(&threads[i], NULL, tell_and_forget, &workers[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		last_count += shared.last_count[i];
	}
	/* One is known throughout; of the others each came and went. */
	assert_int_equal(told_count(shared.told), 1);
	assert_in_range(last_count, 49, 4 * 49 * 1000);
	assert_true(told_forget(shared.told, 16, 1, NULL, NULL));
	told_close(shared.told);
}

struct held {
	struct told *told;
	atomic_int holders; /* who were told, and have not forgotten */
	atomic_int last_count;
};

static void nobody_holds_it(void *context, uint64_t ino)
{
	struct held *held = context;

	assert_int_equal(ino, 16);
	sched_yield();
	assert_int_equal(atomic_load(&held->holders), 0);
	atomic_fetch_add(&held->last_count, 1);
}

static void *hold_and_forget(void *argument)
{
	struct held *held = argument;

	for (unsigned i = 0; i < 20000; i++) {
		told_add(held->told, 16);
		atomic_fetch_add(&held->holders, 1);
		sched_yield();
		atomic_fetch_sub(&held->holders, 1);
		(void)told_forget(held->told, 16, 1, nobody_holds_it, held);
	}
	return NULL;
}

/* Who is told of it again meanwhile is not taken for one who forgot. */
static void the_last_is_acted_upon_before_the_next_is_told(void **state)
{
	struct held held = { 0 };
	pthread_t threads[4];

	(void)state;
	assert_int_equal(told_open(&held.told), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hold_and_forget, &held), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(told_count(held.told), 0);
	assert_true(atomic_load(&held.last_count) > 0);
	told_close(held.told);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_last_forgetting_is_the_last),
		cmocka_unit_test(counts_are_those_of_an_array),
		cmocka_unit_test(threads_count_together),
		cmocka_unit_test(the_last_is_acted_upon_before_the_next_is_told),
	};

	return cmocka_run_group_tests_name("told", tests, NULL, NULL);
}
