/*
 * Node ids: what the kernel calls a file by, and st_ino, which is the same.
 *
 *   1 .. 15             varve's own directories and links (enum node_fixed)
 *   16 .. 2^62-1        the head: the inode number itself, so no table
 *   10 in the top bits  a version of a file in the past: 2^63 | position of the
 *                       version's record in the history
 *   11 in the top bits  a directory in the past: 3 * 2^62 | hash of (inode, LSN)
 *
 * Invariants:
 *   (1) One version of a file has one id under every LSN that shows it, so the
 *       kernel keeps one page cache for it; two versions never share an id.
 *   (2) Two directories never share an id, also when the same directory is seen
 *       at two LSNs: diff -r and cp take equal ids for an equal tree below.
 *   (3) An id that was forgotten and comes back names what it named before.
 *       For directories that is certain only up to two hashes that collide, and
 *       then the second moves to the next free id while the first is known.
 *
 * The table holds the past ids that the kernel knows, with the number of times
 * it was told of each, and in which order: prune.h keeps their number bounded.
 * A node takes 80 bytes of heap and a bucket. Any thread may call anything; the locks are
 * leaves: nothing is locked below them.
 */
#ifndef VARVE_FS_NODE_H
#define VARVE_FS_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lsn.h"

enum node_fixed {
	NODE_ROOT = 1,	 /* /           the kernel's number for every root */
	NODE_HEAD = 2,	 /* /head */
	NODE_LSN = 3,	 /* /lsn */
	NODE_LATEST = 4, /* /lsn/latest */
	NODE_OLDEST = 5, /* /lsn/oldest */
	NODE_OWN = 6,	 /* /.varve */
	/* /.varve/..., in the order of enum state_file */
	NODE_STATE = 7,
	NODE_STATE_END = NODE_STATE + 4,
};

#define NODE_PAST_FILE (UINT64_C(2) << 62)
#define NODE_PAST_DIRECTORY (UINT64_C(3) << 62)

/* In place of an inode number: the directory /lsn/<n> itself. */
#define NODE_VIEW_INO UINT64_C(0)

static inline bool node_is_past(uint64_t id)
{
	return id >= NODE_PAST_FILE;
}

static inline bool node_is_state(uint64_t id)
{
	return id >= NODE_STATE && id < NODE_STATE_END;
}

struct node_table;

/* 0 and *table_out, freed by node_table_close; -ENOMEM. @hash_bits is for tests:
 * with fewer than 62 bits the ids of directories collide. 0: all. */
int node_table_open(unsigned hash_bits, struct node_table **table_out);
void node_table_close(struct node_table *table); /* NULL is ignored */

/* What a past id names. 0 and the inode and the LSN to read it at, or -ESTALE:
 * the kernel was never told of it. */
int node_find(struct node_table *table, uint64_t id, uint64_t *ino_out, struct lsn *at_out);

/* The id of a file's version. */
static inline uint64_t node_file_id(uint64_t position)
{
	return NODE_PAST_FILE | position;
}

/* The id of directory @ino at @at: the one the kernel knows, else the one it would get. */
uint64_t node_directory_id(struct node_table *table, uint64_t ino, struct lsn at);

/*
 * Count one more time that the kernel is told of the id. 0 and *id_out, or -ENOMEM.
 * A file is read at the newest LSN it was looked up at, as the window passes others before
 * that; but not at one below @oldest, which may be gone already.
 */
int node_ref_file(struct node_table *table, uint64_t position, uint64_t ino, struct lsn at,
		  struct lsn oldest, uint64_t *id_out);
int node_ref_directory(struct node_table *table, uint64_t ino, struct lsn at, uint64_t *id_out);

/* The kernel forgot @count of the times it was told of @id. Ids that are not in
 * the past are ignored. */
void node_forget(struct node_table *table, uint64_t id, uint64_t count);

/* Up to @room LSNs below @oldest of which the kernel knows the directory /lsn/<n>; how many.
 * Each is returned once. */
size_t node_take_expired(struct node_table *table, struct lsn oldest, struct lsn *lsns_out,
			 size_t room);

/* How many past ids the kernel knows now. */
uint64_t node_count(struct node_table *table);

/* How many it has forgotten since the start. */
uint64_t node_gone_count(struct node_table *table);

struct node_known {
	uint64_t id, ino;
	struct lsn at;
};

/*
 * Up to @room of the nodes the kernel was not told of for longest, oldest first, and
 * behind them files that it was told of more than once, as those keep many directories;
 * how many. They then count as the newest, so that the next call returns others. A
 * directory stands before what was looked up in it, unless one of them was returned
 * meanwhile.
 */
size_t node_oldest(struct node_table *table, struct node_known *known_out, size_t room);

/* Wait until there are more than @crowd_count nodes; how many there are. 0 after
 * node_rouse. One thread may wait. */
uint64_t node_wait(struct node_table *table, uint64_t crowd_count);
void node_rouse(struct node_table *table);

/*
 * From now on whoever is about to tell the kernel of more waits while it knows more than
 * @limit_count nodes; NODE_NO_LIMIT, as at first: nobody does.
 */
#define NODE_NO_LIMIT UINT64_MAX
void node_limit(struct node_table *table, uint64_t limit_count);

/* Wait while there are more nodes than the limit, @most_ms at most, and not after node_rouse. */
void node_wait_room(struct node_table *table, unsigned most_ms);
bool node_is_roused(struct node_table *table);

#endif
