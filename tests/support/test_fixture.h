/*
 * Fixture: a store in a temporary directory, with simulated kills and a
 * witness of every past state.
 *
 * The witness is how a test proves the past: after each change it notes what
 * the whole tree looks like (names, attributes, contents, cookies, identity)
 * under the LSN of that change. fixture_prove then compares every noted LSN
 * with what the store says of it: live, after a freeze, after a kill and
 * after a clean reopen. A test asserts only what its change should do; that
 * no other LSN was disturbed follows from the witness.
 */
#ifndef VARVE_TESTS_TEST_FIXTURE_H
#define VARVE_TESTS_TEST_FIXTURE_H

#include "test_tree.h"

struct witness;

struct fixture {
	char dir[PATH_MAX];             /* temporary, holds the store and its copies */
	char path[PATH_MAX];            /* the store as it is now */
	struct store_options options;
	struct store *store;            /* NULL while closed */
	struct witness *witness;
	unsigned copies;
};

/* A new store, open. @mkfs and @options may be NULL. Small layers unless the options say. */
struct fixture *fixture_new(const struct store_mkfs_options *mkfs,
			    const struct store_options *options);
void fixture_free(struct fixture *fixture);             /* NULL is ignored */
void fixture_close(struct fixture *fixture);
void fixture_open(struct fixture *fixture);
void fixture_reopen(struct fixture *fixture);
/* Go on with the store as a kill -9 at this moment would leave it. */
void fixture_kill(struct fixture *fixture);
void fixture_freeze(struct fixture *fixture);
/* Note the tree at head under the newest LSN, which it returns. */
struct lsn fixture_note(struct fixture *fixture);
/* Compare every noted LSN with what the store says now. */
void fixture_verify(struct fixture *fixture, const char *when);
/* fixture_verify live, after a freeze, after a kill, after a reopen; each time a check of the
 * store finds nothing. */
void fixture_prove(struct fixture *fixture);

/* The tree at @at as text, one line an inode or name; free it. */
char *tree_describe(struct store *store, struct lsn at);

/* Set-up and tear-down of a cmocka test over one fixture in *state: the
 * tear-down proves every LSN the test noted. */
int setup_fixture(void **state);
int setup_fixture_colliding(void **state);              /* two bits of name hash */
int teardown_fixture(void **state);
#define fixture_test(test) cmocka_unit_test_setup_teardown(test, setup_fixture, teardown_fixture)
#define colliding_test(test) \
	{ #test "_with_colliding_names", test, setup_fixture_colliding, teardown_fixture, NULL }

#endif
