/*
 * What the exercisers share: options, a seeded source of numbers, the last operations,
 * and the end of a run that found something wrong. They use a mount as any program does
 * and know nothing of varve but its paths.
 */
#ifndef EXERCISE_H
#define EXERCISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct options {
	const char *dir;        /* where to work; empty and existing */
	const char *mount;      /* the varve mount that dir is on, to compare the past; or NULL */
	const char *lacks;      /* operations that may and must be missing, with commas */
	uint64_t ops;           /* of each process */
	uint64_t seed;
	unsigned processes;
};

/* From the command line and VARVE_TEST_SEED; prints the seed. Ends the process if called wrongly. */
void options_parse(struct options *options, int argc, char **argv);

/* Is @word one of the list's words? */
bool options_lack(const struct options *options, const char *word);

/* A number; the state is the caller's, any value is a seed. */
uint64_t random_next(uint64_t *state);
/* A number below @limit, which is not 0. */
uint64_t random_below(uint64_t *state, uint64_t limit);

/* Note an operation, as printf does; the last of them are printed by die(). */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Something is wrong: print it, errno's name if there is one, and the last operations; exit 1. */
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* The newest LSN of the mount, from /lsn/latest. */
uint64_t lsn_latest(const struct options *options);
/* The path of options->dir at @lsn. */
void lsn_path(const struct options *options, uint64_t lsn, char *path_out, size_t size);

#endif
