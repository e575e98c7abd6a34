/*
 * Change: one change of the tree, from locking its inodes to its LSN.
 *
 * begin locks up to four inodes in ascending order; the caller edits their next
 * attributes and the buckets of names; commit writes one batch with all that
 * was edited; end unlocks. Nothing in memory changes unless the commit succeeds.
 */
#ifndef VARVE_STORE_CHANGE_H
#define VARVE_STORE_CHANGE_H

#include "batch.h"
#include "inode.h"
#include "names.h"

#define CHANGE_INODES_MAX 4u
#define CHANGE_BUCKETS_MAX 2u
#define ATTR_PATCH_MAX (ATTR_BYTES / 2)

struct change_inode {
	struct inode *inode;            /* locked; NULL for one that is new */
	struct attr next;               /* what the attributes will be */
	bool edited;
	uint8_t raw[ATTR_BYTES];
	uint8_t payload[ATTR_BYTES];
	uint8_t weight;
};

struct change {
	struct store *store;
	struct tree_time now;
	int64_t now_ns;
	struct change_inode inodes[CHANGE_INODES_MAX];
	uint32_t inode_count;
	struct name_bucket buckets[CHANGE_BUCKETS_MAX];
	uint32_t bucket_count;
	struct batch_entry *entries;    /* pages and their map, which the caller adds; owned */
	uint32_t entry_count, entry_room;
	struct lsn lsn;                 /* once committed */
};

/* Lock @inos (in any order, doubles allowed). Sleeps before where writers are slowed, so no guard or lock of an
 * inode is held. -ENOENT; -errno: nothing is locked. */
int change_begin(struct change *change, struct store *store, const uint64_t *inos, uint32_t count);
void change_end(struct change *change);

/* The locked inode @ino; it must be one of begin's. */
struct change_inode *change_inode(struct change *change, uint64_t ino);

/* Its attributes will be written, with ctime now; with @content mtime too. */
void change_touch(struct change *change, struct change_inode *inode, bool content);

/* Attributes of an inode that does not exist yet, all times now. At most one. */
struct change_inode *change_new_inode(struct change *change, uint64_t ino);

/* Look a name up as the change sees it. -ENOENT; -errno. */
int change_name_find(struct change *change, uint64_t dir, const char *name,
		     struct name_entry *entry_out);
/* Add or remove it; the directory's size and times follow. The directory is locked. */
int change_name_add(struct change *change, uint64_t dir, const char *name, uint64_t ino,
		    uint32_t type);
int change_name_remove(struct change *change, uint64_t dir, const char *name);

/* Room for one more entry of the caller's; NULL: no memory. */
struct batch_entry *change_entry(struct change *change);

/* Write the batch. 0; -errno: nothing changed. */
int change_commit(struct change *change);

#endif
