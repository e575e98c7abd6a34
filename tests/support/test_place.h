/*
 * Place: a temporary directory, open, and the path of one file in it.
 */
#ifndef VARVE_TESTS_TEST_PLACE_H
#define VARVE_TESTS_TEST_PLACE_H

#include "test_support.h"

struct place {
	char dir[PATH_MAX], path[PATH_MAX];     /* the directory, the file */
	int dir_fd;
};

struct place *place_new(const char *file_name);         /* the file is not made */
void place_free(struct place *place);                   /* with all in it; NULL is ignored */

/* Set-up and tear-down of a cmocka test over a place in *state, whose file is
 * PLACE_FILE. */
#define PLACE_FILE "file"
int setup_place(void **state);
int teardown_place(void **state);
#define place_test(test) cmocka_unit_test_setup_teardown(test, setup_place, teardown_place)

#endif
