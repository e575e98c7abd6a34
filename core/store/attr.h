/*
 * Attributes: the value of an inode's KEY_ATTR, 96 bytes (FORMAT.md).
 *
 *    0 u64 size            56 u32 mode      80 u64 of a directory: parent inode number;
 *    8 i64,u32 mtime       60 u32 uid               of a mapped file: its pages
 *   20 i64,u32 ctime       64 u32 gid       88 u64 block end
 *   32 i64,u32 atime       68 u32 nlink
 *   44 i64,u32 btime       72 u32 rdev
 *                          76 u32 flags
 *
 * What a write changes stands first, so that its patch is one short range.
 */
#ifndef VARVE_STORE_ATTR_H
#define VARVE_STORE_ATTR_H

#include <stdint.h>

#include "tree.h"

#define ATTR_BYTES 96u

#define ATTR_HAS_FLOORS 1u      /* of a file that is not mapped: a KEY_FLOOR exists */
/* The file's page map says which pages there are. Files that a varve without one
 * wrote are mapped by the first change of their data. */
#define ATTR_MAPPED 0x100u
/* Pages were cut off or punched and no tombstone says so: who reads asks the map. */
#define ATTR_HAS_HOLES 0x200u
#define ATTR_FLAGS_KNOWN (ATTR_HAS_FLOORS | ATTR_MAPPED | ATTR_HAS_HOLES)

struct attr {
	struct tree_attr shown;         /* what the tree's callers see */
	uint64_t block_end;             /* above every block that holds a page since the last cut */
	uint32_t flags;
};

void attr_encode(const struct attr *attr, uint8_t bytes_out[ATTR_BYTES]);
/* All but ino, changed and position. -EUCLEAN: impossible. */
int attr_decode(const uint8_t bytes[ATTR_BYTES], struct attr *attr_out);

#endif
