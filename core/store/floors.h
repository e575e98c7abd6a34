/*
 * Floors: which of a file's blocks were cut off, and when.
 *
 * A list of (block, LSN), both ascending: a page version of a block is dead if its LSN
 * is not above the floor at the block, which is that of the last entry at or
 * below it. Cutting a file at a block drops the entries from there on and adds
 * one, so truncation writes a few bytes whatever the file's size, and no page
 * of before shows through when the file grows again. A cut of a few pages
 * leaves tombstones instead (tree_data.c), or the list would grow with every
 * cut of a file that grows between them.
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
	uint32_t count, room;
};

/* The floors of @ino as of @lsn; none if there is no such key. -errno. */
int floors_load(const struct layer_guard *guard, uint64_t ino, struct lsn lsn,
		struct floors *floors_out);
void floors_free(struct floors *floors);

/* 0 where nothing was cut. */
struct lsn floors_at(const struct floors *floors, uint64_t block);

/* All versions up to @lsn of blocks from @block on are dead. -ENOMEM. */
int floors_cut(struct floors *floors, uint64_t block, struct lsn lsn);

#define FLOOR_BYTES 16u
/* The other way; *floors_out is to be freed. -EUCLEAN: no such list; -ENOMEM. */
int floors_decode(const uint8_t *bytes, size_t size_bytes, struct floors *floors_out);
/* Encode into @bytes_out, FLOOR_BYTES for each entry. */
void floors_encode(const struct floors *floors, uint8_t *bytes_out);

#endif
