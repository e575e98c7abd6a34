/* Guard: what is freed later is freed after the guards, and not before. */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "guard.h"
#include "test_support.h"

/* Long enough for a freeing that waits for nobody to have happened. */
#define A_WHILE_US 50000u

static atomic_uint freed;

struct counted {
	uint64_t bytes;                 /* the garbage need not lie first */
	struct guard_garbage garbage;
};

static void count_free(struct guard_garbage *garbage)
{
	free((char *)garbage - offsetof(struct counted, garbage));
	atomic_fetch_add(&freed, 1);
}

static void throw_away(void)
{
	struct counted *counted = calloc(1, sizeof(*counted));

	require(counted != NULL);
	guard_free_later(&counted->garbage, count_free);
}

static int setup(void **state)
{
	(void)state;
	atomic_store(&freed, 0);
	return 0;
}

static void what_is_freed_later_outlives_the_guards_there_are(void **state)
{
	(void)state;
	guard_take();
	throw_away();
	usleep(A_WHILE_US);
	assert_int_equal(atomic_load(&freed), 0);
	guard_drop();
	guard_barrier();
	assert_int_equal(atomic_load(&freed), 1);
}

static void guards_nest(void **state)
{
	(void)state;
	guard_take();
	guard_take();
	throw_away();
	guard_drop();
	usleep(A_WHILE_US);
	assert_int_equal(atomic_load(&freed), 0);
	guard_drop();
	guard_barrier();
	assert_int_equal(atomic_load(&freed), 1);
}

static void a_barrier_waits_for_all_that_was_thrown_away(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		throw_away();
	guard_barrier();
	assert_int_equal(atomic_load(&freed), 1000);
}

struct holder {
	pthread_barrier_t taken;
	atomic_bool dropped;
};

static void *holder_main(void *argument)
{
	struct holder *holder = argument;

	guard_take();
	pthread_barrier_wait(&holder->taken);
	usleep(A_WHILE_US);
	atomic_store(&holder->dropped, true);
	guard_drop();
	return NULL;
}

static void with_holder(void (*check)(struct holder *holder))
{
	struct holder holder = { .dropped = false };
	pthread_t thread;

	pthread_barrier_init(&holder.taken, NULL, 2);
	assert_int_equal(pthread_create(&thread, NULL, holder_main, &holder), 0);
	pthread_barrier_wait(&holder.taken);
	check(&holder);
	assert_int_equal(pthread_join(thread, NULL), 0);
	pthread_barrier_destroy(&holder.taken);
}

static void wait_for_holder(struct holder *holder)
{
	guard_wait();
	assert_true(atomic_load(&holder->dropped));
}

static void a_wait_ends_with_another_threads_guard(void **state)
{
	(void)state;
	with_holder(wait_for_holder);
}

static void barrier_for_holder(struct holder *holder)
{
	throw_away();
	guard_barrier();
	assert_true(atomic_load(&holder->dropped));
	assert_int_equal(atomic_load(&freed), 1);
}

static void nothing_is_freed_under_another_threads_guard(void **state)
{
	(void)state;
	with_holder(barrier_for_holder);
}

static void take_beside_holder(struct holder *holder)
{
	guard_take();
	throw_away();
	guard_drop();
	assert_false(atomic_load(&holder->dropped));
}

static void taking_dropping_and_throwing_away_wait_for_nobody(void **state)
{
	(void)state;
	with_holder(take_beside_holder);
	guard_barrier();
	assert_int_equal(atomic_load(&freed), 1);
}

/* How much garbage there is when it is made as fast as can be. */
static void pacing_keeps_garbage_few(void **state)
{
	unsigned made = 0, most = 0;

	(void)state;
	while (made < 100 * GUARD_WAITING_MAX) {
		guard_pace();
		for (unsigned i = 0; i < 16; i++, made++)
			throw_away();
		if (made - atomic_load(&freed) > most)
			most = made - atomic_load(&freed);
	}
	guard_barrier();
	assert_true(most <= GUARD_WAITING_MAX + 16);
}

/* The guard is this thread's own, so waiting for it would never end. */
static void pacing_ends_though_a_guard_does_not(void **state)
{
	(void)state;
	guard_take();
	for (unsigned i = 0; i <= GUARD_WAITING_MAX; i++)
		throw_away();
	guard_pace();
	assert_int_equal(atomic_load(&freed), 0);
	guard_drop();
	guard_barrier();
	assert_int_equal(atomic_load(&freed), GUARD_WAITING_MAX + 1);
}

#define guard_test(test) cmocka_unit_test_setup(test, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		guard_test(what_is_freed_later_outlives_the_guards_there_are),
		guard_test(guards_nest),
		guard_test(a_barrier_waits_for_all_that_was_thrown_away),
		guard_test(a_wait_ends_with_another_threads_guard),
		guard_test(nothing_is_freed_under_another_threads_guard),
		guard_test(taking_dropping_and_throwing_away_wait_for_nobody),
		guard_test(pacing_keeps_garbage_few),
		guard_test(pacing_ends_though_a_guard_does_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
