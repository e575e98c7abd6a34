/*
 * Golden stores: small whole stores, committed, that every later build has to read.
 *
 * tests/golden/NAME.tar.gz is a store with a file of every kind; NAME.lsns says,
 * per line, an LSN and the census digest of the tree then. tests/golden/make makes
 * both. The damage tests and the fuzzers start from the same stores.
 */
#ifndef VARVE_TESTS_TEST_GOLDEN_H
#define VARVE_TESTS_TEST_GOLDEN_H

#include "test_census.h"

#define GOLDEN_NAME "v1"                /* the fuzzers': their fixtures mean places in it */
#define GOLDEN_TABLES_NAME "v3"         /* the damage tests': it has tables, too */
#define GOLDEN_TABLES_OPEN_LAYER "layers/000000000000000a.layer"
#define GOLDEN_LSNS_MAX 64u

struct golden {
	char dir[PATH_MAX];             /* temporary, in memory if /dev/shm is there */
	char store[PATH_MAX];           /* in it: the store, writable */
	size_t count;
	struct lsn lsns[GOLDEN_LSNS_MAX];       /* ascending; the last is the newest there is */
	uint64_t digests[GOLDEN_LSNS_MAX];
};

/* Unpack a copy. Fails the test if it can't. */
struct golden *golden_new(const char *name);
void golden_free(struct golden *golden);                /* and the copy; NULL is ignored */

#endif
