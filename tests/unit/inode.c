/* Inode: the newest attributes under a lock, loaded again after they were forgotten. */
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "store_internal.h"
#include "test_fixture.h"

#define TABLE_SHARDS 64u        /* numbers so far apart share a shard of the table */
#define A_WHILE_US 50000u

static void check_loaded(const struct inode *inode, const struct tree_attr *expected)
{
	uint8_t raw[ATTR_BYTES];

	assert_true(inode->loaded);
	assert_int_equal(inode->ino, expected->ino);
	assert_attr_equal(&inode->attr.shown, expected);
	attr_encode(&inode->attr, raw);
	assert_memory_equal(inode->raw, raw, ATTR_BYTES);
}

/* Lock, compare with what the tree says, unlock. */
static void check_inode(struct store *store, uint64_t ino)
{
	struct tree_attr expected = attr_now(store, ino);
	struct inode *inode;

	assert_ok(inode_lock(store, ino, &inode));
	check_loaded(inode, &expected);
	inode_unlock(store, inode);
}

static void locking_loads_the_newest_attributes(void **state)
{
	struct fixture *fixture = *state;
	uint64_t ino = make_file(fixture->store, TREE_ROOT_INO, "file");

	check_inode(fixture->store, ino);
	write_text(fixture->store, ino, "some text");
	check_inode(fixture->store, ino);
	fixture_reopen(fixture);
	check_inode(fixture->store, ino);
	check_inode(fixture->store, TREE_ROOT_INO);
	fixture_freeze(fixture);
	fixture_reopen(fixture);
	check_inode(fixture->store, ino);
}

static void what_never_was_is_not_found_and_nothing_stays_locked(void **state)
{
	struct fixture *fixture = *state;
	struct store_usage usage;
	struct inode *inode;

	store_usage_get(fixture->store, &usage);
	/* A lock left behind would keep the second call for ever. */
	for (unsigned i = 0; i < 3; i++) {
		assert_err(inode_lock(fixture->store, usage.inode_next, &inode), -ENOENT);
		assert_null(inode);
	}
	/* That it was not there is not remembered. */
	uint64_t ino = make_file(fixture->store, TREE_ROOT_INO, "file");
	assert_int_equal(ino, usage.inode_next);
	check_inode(fixture->store, ino);
}

static void an_inode_without_a_name_can_still_be_locked(void **state)
{
	struct fixture *fixture = *state;
	uint64_t ino = make_file(fixture->store, TREE_ROOT_INO, "file");

	assert_ok(tree_unlink(fixture->store, TREE_ROOT_INO, "file"));
	assert_int_equal(attr_now(fixture->store, ino).nlink, 0);
	check_inode(fixture->store, ino);
}

struct contender {
	struct store *store;
	uint64_t ino;
	struct inode *inode;
	atomic_bool locked;
};

static void *contender_main(void *argument)
{
	struct contender *contender = argument;

	require(!inode_lock(contender->store, contender->ino, &contender->inode));
	atomic_store(&contender->locked, true);
	inode_unlock(contender->store, contender->inode);
	return NULL;
}

static void two_who_lock_one_inode_take_turns(void **state)
{
	struct fixture *fixture = *state;
	uint64_t ino = make_file(fixture->store, TREE_ROOT_INO, "file");
	uint64_t other = make_file(fixture->store, TREE_ROOT_INO, "other");
	struct contender same = { fixture->store, ino, NULL, false };
	struct contender apart = { fixture->store, other, NULL, false };
	pthread_t same_thread, apart_thread;
	struct inode *inode;

	assert_ok(inode_lock(fixture->store, ino, &inode));
	assert_int_equal(pthread_create(&same_thread, NULL, contender_main, &same), 0);
	assert_int_equal(pthread_create(&apart_thread, NULL, contender_main, &apart), 0);
	assert_int_equal(pthread_join(apart_thread, NULL), 0);
	usleep(A_WHILE_US);
	assert_false(atomic_load(&same.locked));
	inode_unlock(fixture->store, inode);
	assert_int_equal(pthread_join(same_thread, NULL), 0);
	/* One object to both, or the lock would mean nothing. */
	assert_ptr_equal(same.inode, inode);
}

/* Pass @count other numbers through the shard of @ino. */
static void crowd(struct store *store, uint64_t ino, uint64_t count)
{
	struct inode *inode;

	for (uint64_t i = 1; i <= count; i++)
		assert_err(inode_lock(store, ino + (i + 1000) * TABLE_SHARDS, &inode), -ENOENT);
}

static void what_was_forgotten_is_loaded_again(void **state)
{
	struct fixture *fixture = *state;
	uint64_t ino = make_file(fixture->store, TREE_ROOT_INO, "file");

	write_text(fixture->store, ino, "before");
	crowd(fixture->store, ino, 3000);
	check_inode(fixture->store, ino);
	write_text(fixture->store, ino, "after it was forgotten");
	crowd(fixture->store, ino, 3000);
	check_inode(fixture->store, ino);
}

static void a_locked_inode_is_not_forgotten(void **state)
{
	struct fixture *fixture = *state;
	uint64_t ino = make_file(fixture->store, TREE_ROOT_INO, "file");
	struct tree_attr expected = attr_now(fixture->store, ino);
	struct contender contender = { fixture->store, ino, NULL, false };
	struct inode *inode;
	pthread_t thread;

	assert_ok(inode_lock(fixture->store, ino, &inode));
	crowd(fixture->store, ino, 3000);
	check_loaded(inode, &expected);
	/* The table still leads to it. */
	assert_int_equal(pthread_create(&thread, NULL, contender_main, &contender), 0);
	usleep(A_WHILE_US);
	assert_false(atomic_load(&contender.locked));
	inode_unlock(fixture->store, inode);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_ptr_equal(contender.inode, inode);
}

static void idle_inodes_take_bounded_memory(void **state)
{
	struct fixture *fixture = *state;
	size_t before, after;

	/* Sanitizers bring an allocator of their own, which counts nothing here. */
	before = mallinfo2().uordblks;
	crowd(fixture->store, TREE_ROOT_INO, 100000);
	after = mallinfo2().uordblks;
	/* All of them would take 37 MiB; the layer that is made ready meanwhile takes 2. */
	assert_true(after < before + 4 * MIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fixture_test(locking_loads_the_newest_attributes),
		fixture_test(what_never_was_is_not_found_and_nothing_stays_locked),
		fixture_test(an_inode_without_a_name_can_still_be_locked),
		fixture_test(two_who_lock_one_inode_take_turns),
		fixture_test(what_was_forgotten_is_loaded_again),
		fixture_test(a_locked_inode_is_not_forgotten),
		fixture_test(idle_inodes_take_bounded_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
