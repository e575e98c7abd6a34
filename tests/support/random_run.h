/*
 * Random run: random operations through the core beside the model (model.h), which keeps every
 * version; and comparisons of random files, names, attributes and ranges at random LSNs.
 *
 * Each operation's outcome, every attribute it should have changed and those
 * it should not, and its LSN are compared at once (random_ops.c). What an operation must not
 * have touched is found by the comparisons at random LSNs (random_compare.c), the newest among them.
 */
#ifndef VARVE_TESTS_RANDOM_RUN_H
#define VARVE_TESTS_RANDOM_RUN_H

#include <inttypes.h>

#include "model.h"
#include "test_fixture.h"

#define RANDOM_FILE_SIZE_MAX (48u * RANDOM_PAGE_SIZE)
#define RANDOM_PAGE_SIZE 4096u
#define RANDOM_XATTR_MAX 6000u          /* bytes of an extended attribute */

struct run {
	struct fixture *fixture;
	struct model *model;
	struct prng prng;
	struct lsn *lsns;               /* of every change, ascending */
	size_t lsn_count;
	struct lsn newest;              /* as the last operation left it */
	bool collects;                  /* history is dropped: the dead may be gone */
	uint64_t operation, operation_count;
	uint64_t kill_at;               /* operation before which to kill; 0: none planned */
	uint64_t changes, refusals, comparisons, freezes, reopens, kills;
	struct model_inode **living;    /* named, or deleted and still open */
	size_t living_count;
};

/* A run of so many operations on a new store. */
struct run *run_new(const struct store_mkfs_options *mkfs, const struct store_options *options,
		    uint64_t operation_count);
void run_free(struct run *run);
/* What it did, in a line. */
void run_print(const struct run *run);

static inline struct store *store_of(struct run *run)
{
	return run->fixture->store;
}

static inline uint64_t below(struct run *run, uint64_t bound)
{
	return prng_below(&run->prng, bound);
}

static inline bool one_in(struct run *run, uint64_t count)
{
	return below(run, count) == 0;
}

/* Deleted, and at most still open. */
static inline bool is_dead(const struct model_inode *inode)
{
	return model_attr_last(inode)->nlink == 0;
}

/* random_ops.c */
/* One random operation, whatever it comes to. */
void run_operate(struct run *run);
void living_add(struct run *run, struct model_inode *inode);
/* One that is dead is forgotten: nobody has it open. */
void living_drop_at(struct run *run, size_t i);
/* So large a file of this inode may become. */
uint64_t run_size_limit(const struct model_inode *inode);

/* A write, a cut or a new owner of @inode took its capability, in the same LSN. */
void run_follow_capability(struct run *run, struct model_inode *inode);
/* The data of @inode changed by one LSN, which leaves it as @expected, but for times and pages. */
void run_follow_data(struct run *run, struct model_inode *inode, struct tree_attr expected);

/* random_space.c */
/* One of a file's space; @other may be the same file. */
void run_operate_on_space(struct run *run, struct model_inode *inode, struct model_inode *other);

/* random_compare.c */
/* One random thing at one random LSN that is kept. */
void run_compare_something(struct run *run);
/* So many of them, and some histories. */
void run_compare_much(struct run *run, uint64_t count);
/* Compare something at @at. */
void run_compare_at(struct run *run, struct lsn at);

/* random_run.c */
void run_freeze(struct run *run);
void run_reopen(struct run *run);
void run_kill(struct run *run);
/* Forget some of the deleted, or they crowd out the living. */
void run_thin_out_the_dead(struct run *run);

#endif
