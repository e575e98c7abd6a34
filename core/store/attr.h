/*
 * Attributes: the value of an inode's KEY_ATTR, 96 bytes (FORMAT.md).
 *
 *    0 u64 size            56 u32 mode      80 u64 parent inode number
 *    8 i64,u32 mtime       60 u32 uid       88 u64 block end
 *   20 i64,u32 ctime       64 u32 gid
 *   32 i64,u32 atime       68 u32 nlink
 *   44 i64,u32 btime       72 u32 rdev
 *                          76 u32 flags: 1: a KEY_FLOOR exists; 2: there are extended
 *                             attributes; 4: it never had a name
 *
 * What a write changes stands first, so that its patch is one short range.
 */
#ifndef VARVE_STORE_ATTR_H
#define VARVE_STORE_ATTR_H

#include <stdint.h>

#include "tree.h"

#define ATTR_BYTES 96u

#define ATTR_HAS_FLOORS 1u
#define ATTR_HAS_XATTRS 2u
#define ATTR_UNNAMED 4u                 /* nlink is 0, and may be 1 yet */

struct attr {
	struct tree_attr shown;         /* what the tree's callers see */
	uint64_t block_end;             /* above every block that holds a page since the last cut */
	uint32_t flags;
};

void attr_encode(const struct attr *attr, uint8_t bytes_out[ATTR_BYTES]);
/* All but ino, changed and position. -EUCLEAN: impossible. */
int attr_decode(const uint8_t bytes[ATTR_BYTES], struct attr *attr_out);

#endif
