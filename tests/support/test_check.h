/*
 * What a check of a store found, kept; and damage made to a store's files.
 */
#ifndef VARVE_TESTS_TEST_CHECK_H
#define VARVE_TESTS_TEST_CHECK_H

#include "check.h"
#include "test_support.h"

struct check_run {
	struct finding findings[256];   /* the first so many */
	size_t count;                   /* of all */
	struct store_check_result result;
	struct report report;
	int err;
};

/* Run store_check on the store at @path. Free the run. */
struct check_run *check_run_new(const char *path, bool repair, unsigned name_hash_bits);
/* The same of an open store. */
struct check_run *check_run_running(struct store *store);
/* The first finding of @kind, or NULL. */
const struct finding *check_run_find(const struct check_run *run, enum finding_kind kind);
void check_run_print(const struct check_run *run);

/* The check finds nothing; else it prints what it found and fails the test. */
void assert_clean(const char *path);
void assert_clean_colliding(const char *path, unsigned name_hash_bits);

/* The path of the layer file that is the @nth by name. */
void layer_path(const char *store, unsigned nth, char path_out[PATH_MAX]);
unsigned layer_file_count(const char *store);
/* Change one byte of a file. */
void file_flip(const char *path, off_t offset);

#endif
