/*
 * Inode: the head's attributes of one inode, in memory, and its lock.
 *
 * A change of the tree locks every inode it changes, in ascending order of
 * number, from reading the old state to the publication of the new. The table
 * holds an inode while anybody refers to it, and some thousands more as a cache;
 * nothing is lost by forgetting one: the history has it all.
 */
#ifndef VARVE_STORE_INODE_H
#define VARVE_STORE_INODE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "attr.h"

struct store;

struct inode {
	uint64_t ino;                   /* constant */
	pthread_mutex_t lock;
	/* guarded by lock */
	bool loaded;
	struct attr attr;               /* as of the newest LSN */
	uint8_t raw[ATTR_BYTES];        /* the same, encoded */
	uint8_t weight;                 /* of the version that holds it */
	struct lsn image;               /* of the image that it is patches over; 0: not known */
	uint32_t unlike_count;          /* whole pages since one was written that resembled what it replaced */
	/* guarded by the table's shard */
	uint32_t ref_count;
	struct inode *bucket_next;
	struct inode *idle_next, **idle_link;   /* in the shard's list of unreferenced ones */
};

struct inode_table;

int inode_table_create(struct inode_table **table_out);
void inode_table_free(struct inode_table *table);       /* NULL is ignored; nothing is locked */

/* Lock @ino and load its attributes. -ENOENT: there never was such an inode; -errno:
 * nothing is locked. */
int inode_lock(struct store *store, uint64_t ino, struct inode **inode_out);
void inode_unlock(struct store *store, struct inode *inode);

#endif
