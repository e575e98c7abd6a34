/*
 * Census: a tree at one LSN, item by item, to hold a damaged store against.
 *
 * Where tree_describe (test_fixture.h) fails the test at the first error, a census
 * that is checked counts: each answer of the store is what was noted, or is
 * refused with an error that names damage, or is wrong. Inodes are looked at by
 * number as well as by name, so what lies behind a bad directory is looked at too.
 */
#ifndef VARVE_TESTS_TEST_CENSUS_H
#define VARVE_TESTS_TEST_CENSUS_H

#include "test_tree.h"

struct census;

/* What the tree at @at holds. Fails the test if anything of it can't be read. */
struct census *census_take(struct store *store, struct lsn at);
void census_free(struct census *census);                /* NULL is ignored */

/* One number over all of it; on disk, in the golden stores' lists: it must not change. */
uint64_t census_digest(const struct census *census);

struct census_verdict {
	uint64_t right, refused, wrong; /* answers */
	uint64_t refused_ino;           /* set by the caller, who expects its pages to be refused */
	uint64_t refused_elsewhere;     /* and how many others were */
	char first_wrong[256];          /* which was the first */
};

/* Ask the store for all that @census holds, as of @at, and add to @verdict. */
void census_check(const struct census *census, struct store *store, struct lsn at,
		  struct census_verdict *verdict);

#endif
