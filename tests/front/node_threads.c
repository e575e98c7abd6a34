/* Node ids: one thing has one id and one id names one thing, collisions and threads or not;
 * the oldest are known. */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "node.h"

static void id_names(struct node_table *table, uint64_t id, uint64_t ino, uint64_t at)
{
	uint64_t found_ino;
	struct lsn found_at;

	assert_int_equal(node_find(table, id, &found_ino, &found_at), 0);
	assert_int_equal(found_ino, ino);
	assert_int_equal(found_at.value, at);
}

static void id_is_unknown(struct node_table *table, uint64_t id)
{
	uint64_t ino;
	struct lsn at;

	assert_int_equal(node_find(table, id, &ino, &at), -ESTALE);
}

static void a_file_is_its_version_under_every_lsn(void **state)
{
	struct node_table *table;
	uint64_t first, again, later;

	(void)state;
	assert_int_equal(node_table_open(0, &table), 0);
	assert_int_equal(node_ref_file(table, 1000, 20, lsn_make(1100), lsn_make(1), &first), 0);
	assert_int_equal(node_ref_file(table, 1000, 20, lsn_make(1100), lsn_make(1), &again), 0);
	assert_int_equal(node_ref_file(table, 5000, 20, lsn_make(5100), lsn_make(1), &later), 0);
	assert_true(first == again);
	assert_true(first != later);
	assert_true(first == node_file_id(1000));
	id_names(table, first, 20, 1100);
	id_names(table, later, 20, 5100);
	node_table_close(table);
}

static void a_directory_is_another_at_each_lsn(void **state)
{
	struct node_table *table;
	uint64_t one, two, view;

	(void)state;
	assert_int_equal(node_table_open(0, &table), 0);
	assert_int_equal(node_ref_directory(table, 16, lsn_make(100), &one), 0);
	assert_int_equal(node_ref_directory(table, 16, lsn_make(101), &two), 0);
	assert_int_equal(node_ref_directory(table, NODE_VIEW_INO, lsn_make(100), &view), 0);
	assert_true(one != two && one != view && two != view);
	assert_true(node_is_past(one) && node_is_past(two) && node_is_past(view));
	assert_true(node_directory_id(table, 16, lsn_make(101)) == two);
	node_table_close(table);
}

static void a_file_is_read_at_the_newest_lsn_it_was_looked_up_at(void **state)
{
	struct lsn oldest = lsn_make(1000);
	struct node_table *table;
	uint64_t id;

	(void)state;
	assert_int_equal(node_table_open(0, &table), 0);
	assert_int_equal(node_ref_file(table, 900, 20, lsn_make(1100), oldest, &id), 0);
	assert_int_equal(node_ref_file(table, 900, 20, lsn_make(1500), oldest, &id), 0);
	id_names(table, id, 20, 1500);
	assert_int_equal(node_ref_file(table, 900, 20, lsn_make(1200), oldest, &id), 0);
	id_names(table, id, 20, 1500);
	/* The window passed that, and 1200 is held by somebody. */
	assert_int_equal(node_ref_file(table, 900, 20, lsn_make(1200), lsn_make(1600), &id), 0);
	id_names(table, id, 20, 1200);
	node_table_close(table);
}

static void views_below_the_window_are_told_once(void **state)
{
	struct node_table *table;
	struct lsn lsns[100];
	uint64_t id;

	(void)state;
	assert_int_equal(node_table_open(0, &table), 0);
	for (unsigned at = 1; at <= 90; at++) {
		assert_int_equal(node_ref_directory(table, NODE_VIEW_INO, lsn_make(at), &id), 0);
		assert_int_equal(node_ref_directory(table, 16, lsn_make(at), &id), 0);
	}
	assert_int_equal(node_take_expired(table, lsn_make(1), lsns, 100), 0);
	assert_int_equal(node_take_expired(table, lsn_make(51), lsns, 20), 20);
	assert_int_equal(node_take_expired(table, lsn_make(51), lsns + 20, 80), 30);
	for (unsigned i = 0; i < 50; i++) {
		assert_in_range(lsns[i].value, 1, 50);
		for (unsigned k = 0; k < i; k++)
			assert_true(lsns[k].value != lsns[i].value);
	}
	assert_int_equal(node_take_expired(table, lsn_make(51), lsns, 100), 0);
	assert_int_equal(node_take_expired(table, lsn_make(1000), lsns, 100), 40);
	node_table_close(table);
}

static void an_id_lives_until_it_is_forgotten_as_often_as_told(void **state)
{
	struct node_table *table;
	uint64_t id, again;

	(void)state;
	assert_int_equal(node_table_open(0, &table), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(node_ref_directory(table, 30, lsn_make(7), &id), 0);
	node_forget(table, id, 2);
	id_names(table, id, 30, 7);
	node_forget(table, id, 1);
	id_is_unknown(table, id);
	assert_int_equal(node_count(table), 0);
	assert_int_equal(node_ref_directory(table, 30, lsn_make(7), &again), 0);
	assert_true(again == id);
	/* Ids of the head are not counted. */
	node_forget(table, 30, 1);
	assert_int_equal(node_count(table), 1);
	node_table_close(table);
}

static void *wait_a_minute(void *table)
{
	node_wait_room(table, 60 * 1000);
	return NULL;
}

static void beyond_the_limit_one_waits_for_room_or_a_while(void **state)
{
	enum { COUNT = 12, LIMIT = 10 };
	struct timespec began, ended;
	struct node_table *table;
	uint64_t ids[COUNT];
	pthread_t waiters[4];

	(void)state;
	assert_int_equal(node_table_open(0, &table), 0);
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(node_ref_directory(table, 30 + i, lsn_make(7), &ids[i]), 0);
	node_wait_room(table, 60 * 1000); /* no limit */
	node_limit(table, LIMIT);
	clock_gettime(CLOCK_MONOTONIC, &began);
	node_wait_room(table, 20);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	assert_true((ended.tv_sec - began.tv_sec) * 1000000000L + ended.tv_nsec - began.tv_nsec >=
		    20 * 1000000L);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&waiters[i], NULL, wait_a_minute, table), 0);
	node_forget(table, ids[0], 1);
	node_forget(table, ids[1], 1);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_join(waiters[i], NULL), 0);
	node_wait_room(table, 60 * 1000);
	node_limit(table, LIMIT / 2);
	assert_int_equal(pthread_create(&waiters[0], NULL, wait_a_minute, table), 0);
	node_limit(table, NODE_NO_LIMIT);
	assert_int_equal(pthread_join(waiters[0], NULL), 0);
	node_limit(table, LIMIT / 2);
	assert_int_equal(pthread_create(&waiters[0], NULL, wait_a_minute, table), 0);
	node_rouse(table);
	assert_int_equal(pthread_join(waiters[0], NULL), 0);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	assert_true(ended.tv_sec - began.tv_sec < 60);
	node_table_close(table);
}

/* Sixteen hashes for a thousand directories: every id is found by probing. */
static void colliding_directories_stay_apart(void **state)
{
	enum { COUNT = 1000 };
	struct node_table *table;
	uint64_t ids[COUNT];

	(void)state;
	assert_int_equal(node_table_open(4, &table), 0);
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(node_ref_directory(table, 16 + i, lsn_make(9), &ids[i]), 0);
	assert_int_equal(node_count(table), COUNT);
	for (unsigned i = 0; i < COUNT; i++) {
		id_names(table, ids[i], 16 + i, 9);
		assert_true(node_directory_id(table, 16 + i, lsn_make(9)) == ids[i]);
	}
	for (unsigned i = 0; i < COUNT; i++)
		node_forget(table, ids[i], 1);
	assert_int_equal(node_count(table), 0);
	node_table_close(table);
}

static void the_oldest_come_first_and_then_count_as_newest(void **state)
{
	struct node_known known[4];
	struct node_table *table;
	uint64_t ids[5];

	(void)state;
	assert_int_equal(node_table_open(0, &table), 0);
	assert_int_equal(node_oldest(table, known, 4), 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(node_ref_directory(table, 16 + i, lsn_make(9), &ids[i]), 0);
	/* Told of again it is new. */
	assert_int_equal(node_ref_directory(table, 16, lsn_make(9), &ids[0]), 0);
	assert_int_equal(node_oldest(table, known, 2), 2);
	assert_true(known[0].id == ids[1] && known[1].id == ids[2]);
	assert_true(known[0].ino == 17 && known[0].at.value == 9);
	node_forget(table, ids[3], 1);
	assert_int_equal(node_gone_count(table), 1);
	assert_int_equal(node_oldest(table, known, 4), 4);
	assert_true(known[0].id == ids[4] && known[1].id == ids[0]);
	assert_true(known[2].id == ids[1] && known[3].id == ids[2]);
	node_table_close(table);
}

/* Its names keep directories of any age, so it is not left for when its turn comes. */
static void a_file_of_several_lsns_comes_behind_the_oldest(void **state)
{
	struct node_known known[4];
	struct node_table *table;
	uint64_t dirs[6], file, once;

	(void)state;
	assert_int_equal(node_table_open(0, &table), 0);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(node_ref_directory(table, 16, lsn_make(9 + i), &dirs[i]), 0);
	assert_int_equal(node_ref_file(table, 500, 30, lsn_make(600), lsn_make(0), &once), 0);
	assert_int_equal(node_ref_file(table, 900, 20, lsn_make(1000), lsn_make(0), &file), 0);
	assert_int_equal(node_ref_file(table, 900, 20, lsn_make(1000), lsn_make(0), &file), 0);
	assert_int_equal(node_oldest(table, known, 3), 3);
	assert_true(known[0].id == dirs[0] && known[1].id == dirs[1] && known[2].id == file);
	/* Until it is told of again it is as any other. */
	assert_int_equal(node_oldest(table, known, 4), 4);
	assert_true(known[0].id == dirs[2] && known[3].id == dirs[5]);
	assert_int_equal(node_oldest(table, known, 4), 4);
	assert_true(known[0].id == once && known[3].id == file);
	node_forget(table, file, 2);
	assert_int_equal(node_count(table), 7);
	node_table_close(table);
}

static void *wait_for_crowd(void *argument)
{
	return (void *)(uintptr_t)node_wait(argument, 3);
}

static void a_wait_ends_with_the_crowd_or_when_roused(void **state)
{
	struct node_table *table;
	pthread_t thread;
	void *count;
	uint64_t id;

	(void)state;
	assert_int_equal(node_table_open(0, &table), 0);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_crowd, table), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(node_ref_directory(table, 16 + i, lsn_make(9), &id), 0);
	pthread_join(thread, &count);
	assert_int_equal((uintptr_t)count, 4);
	node_forget(table, id, 1);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_crowd, table), 0);
	assert_false(node_is_roused(table));
	node_rouse(table);
	pthread_join(thread, &count);
	assert_int_equal((uintptr_t)count, 0);
	assert_true(node_is_roused(table));
	node_table_close(table);
}

/* Takes the oldest, over and over, as others come and go. */
static void *take_oldest(void *argument)
{
	struct node_known known[64];

	for (unsigned i = 0; i < 2000; i++) {
		size_t count = node_oldest(argument, known, 64);

		for (size_t k = 0; k < count; k++) {
			if (!node_is_past(known[k].id) || known[k].ino < 16)
				return "it is no node";
		}
	}
	return NULL;
}

static void *look_up_and_forget(void *argument)
{
	struct node_table *table = argument;
	unsigned seed = (unsigned)(uintptr_t)pthread_self();

	for (unsigned i = 0; i < 20000; i++) {
		uint64_t ino = 16 + (uint64_t)(rand_r(&seed) % 100),
			 at = 1 + (uint64_t)(rand_r(&seed) % 9);
		uint64_t id, found_ino;
		struct lsn found_at;
		int err;

		if (i & 1)
			err = node_ref_directory(table, ino, lsn_make(at), &id);
		else
			err = node_ref_file(table, ino * 10 + at, ino, lsn_make(at), lsn_make(1),
					    &id);
		if (err)
			return "no memory";
		/* Counted in, it stays what it is, whatever the others forget. */
		if (node_find(table, id, &found_ino, &found_at) != 0 || found_ino != ino ||
		    found_at.value != at)
			return "it names something else";
		node_forget(table, id, 1);
	}
	return NULL;
}

static void threads_see_one_table(void **state)
{
	struct node_table *table;
	pthread_t threads[5];
	void *failed;

	(void)state;
	assert_int_equal(node_table_open(0, &table), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, look_up_and_forget, table), 0);
	assert_int_equal(pthread_create(&threads[4], NULL, take_oldest, table), 0);
	for (unsigned i = 0; i < 5; i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	assert_int_equal(node_count(table), 0);
	node_table_close(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_is_its_version_under_every_lsn),
		cmocka_unit_test(a_directory_is_another_at_each_lsn),
		cmocka_unit_test(a_file_is_read_at_the_newest_lsn_it_was_looked_up_at),
		cmocka_unit_test(views_below_the_window_are_told_once),
		cmocka_unit_test(an_id_lives_until_it_is_forgotten_as_often_as_told),
		cmocka_unit_test(beyond_the_limit_one_waits_for_room_or_a_while),
		cmocka_unit_test(colliding_directories_stay_apart),
		cmocka_unit_test(the_oldest_come_first_and_then_count_as_newest),
		cmocka_unit_test(a_file_of_several_lsns_comes_behind_the_oldest),
		cmocka_unit_test(a_wait_ends_with_the_crowd_or_when_roused),
		cmocka_unit_test(threads_see_one_table),
	};

	return cmocka_run_group_tests_name("node", tests, NULL, NULL);
}
