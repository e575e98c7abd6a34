/* Node ids: one thing has one id and one id names one thing, collisions and threads or not. */
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
	pthread_t threads[4];
	void *failed;

	(void)state;
	assert_int_equal(node_table_open(0, &table), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, look_up_and_forget, table), 0);
	for (unsigned i = 0; i < 4; i++) {
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
		cmocka_unit_test(colliding_directories_stay_apart),
		cmocka_unit_test(threads_see_one_table),
	};

	return cmocka_run_group_tests_name("node", tests, NULL, NULL);
}
