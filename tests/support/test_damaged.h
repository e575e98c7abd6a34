/*
 * A store that is damaged and repaired, again and again: a copy of it stays as it was.
 */
#ifndef VARVE_TESTS_TEST_DAMAGED_H
#define VARVE_TESTS_TEST_DAMAGED_H

#include "test_check.h"
#include "test_fixture.h"

struct damaged {
	struct fixture *fixture;
	char pristine[PATH_MAX];
	uint64_t file, dir;             /* of damaged_setup */
};

/* Of a cmocka test, in *state: a closed store of every kind of inode, with DAMAGED_SEALED sealed layers and an
 * open one, of which damaged_keep was called. */
#define DAMAGED_SEALED 3u
int damaged_setup(void **state);
int damaged_teardown(void **state);
#define damaged_test(test) cmocka_unit_test_setup_teardown(test, damaged_setup, damaged_teardown)

/* Close the store; as it is now damaged_restore brings it back. */
void damaged_keep(struct damaged *damaged);
void damaged_restore(struct damaged *damaged);

/* The check finds something of @kind and in @path (NULL: anywhere), and changes nothing. Free the run. */
const struct finding *assert_found(struct damaged *damaged, struct check_run **run_out, enum finding_kind kind,
				   const char *path);
/* Repair, after which a check is clean. */
void assert_repaired(struct damaged *damaged);
/* Nothing is found that a repair did not note. */
void assert_clean_but_known(const char *path);
void assert_reads_as_before(struct damaged *damaged, const char *when);

off_t file_size(const char *path);
/* Little-endian numbers of a file, as they are. */
void read_u64s(const char *path, off_t offset, uint64_t *out, size_t count);
/* Where the log of a sealed layer file ends. */
off_t sealed_log_end(const char *path);

#endif
