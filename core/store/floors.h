/*
 * Floors: which blocks of a file were cut off, and when, as a varve without page
 * maps noted it. Read, never written: a file that is mapped has none (unmapped.h).
 *
 * A list of (block, LSN), both ascending: a page version of a block is dead if its LSN
 * is not above the floor at the block, which is that of the last entry at or below it.
 *
 * Value of KEY_FLOOR: per entry u64 block, u64 LSN.
 */
#ifndef VARVE_STORE_FLOORS_H
#define VARVE_STORE_FLOORS_H

#include <stddef.h>
#include <stdint.h>

#include "lsn.h"

struct layer_guard;

struct floors {
	struct floor_entry {
		uint64_t block;
		struct lsn lsn;
	} *entries;                     /* owned */
	uint32_t count;
};

/* The floors of @ino as of @lsn; none if there is no such key. -errno. */
int floors_load(const struct layer_guard *guard, uint64_t ino, struct lsn lsn,
		struct floors *floors_out);
void floors_free(struct floors *floors);

/* 0 where nothing was cut. */
struct lsn floors_at(const struct floors *floors, uint64_t block);

#define FLOOR_BYTES 16u
/* *floors_out is to be freed. -EUCLEAN: no such list; -ENOMEM. */
int floors_decode(const uint8_t *bytes, size_t size_bytes, struct floors *floors_out);

#endif
