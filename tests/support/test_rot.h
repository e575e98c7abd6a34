/*
 * Rot: a golden store whose files are mapped, to be damaged in place, and the
 * question what the store makes of it.
 */
#ifndef VARVE_TESTS_TEST_ROT_H
#define VARVE_TESTS_TEST_ROT_H

#include "test_golden.h"

#define ROT_FILES_MAX 16u

struct rot {
	struct golden *golden;
	struct census *noted[GOLDEN_LSNS_MAX];          /* at each of golden's LSNs */
	struct lsn oldest;
	struct rot_file {
		char path[PATH_MAX], name[64];          /* name: within the store */
		uint8_t *map;
		size_t size_bytes, used_bytes;          /* used: zeros from there on */
	} files[ROT_FILES_MAX];
	size_t file_count;
};

struct rot *rot_new(void);
void rot_free(struct rot *rot);
/* Map its files again, after something else made or resized any. */
void rot_map(struct rot *rot);

/* Open it, read-only: 0 or -errno, never without a report. */
int rot_open(const struct rot *rot, struct store **store_out);

enum rot_outcome {
	ROT_DETECTED,   /* the store was refused, or what is bad was, and all else is right */
	ROT_HARMLESS,   /* every answer is right */
	ROT_WRONG,
	ROT_OUTCOMES,
};

/* Ask an open store for all it holds, at the head and at every noted LSN. */
enum rot_outcome rot_ask_open(const struct rot *rot, struct store *store,
			      struct census_verdict *verdict);
/* Open it, ask, close it. */
enum rot_outcome rot_ask(const struct rot *rot, struct census_verdict *verdict);

#endif
