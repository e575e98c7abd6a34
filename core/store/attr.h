/*
 * Attributes: the value of an inode's KEY_ATTR, 104 bytes (FORMAT.md); 96 as older formats have it.
 *
 *    0 u64 size            56 u32 mode      80 u64 of a directory: parent inode number;
 *                                                of others: LSN since which the extent is this
 *    8 i64,u32 mtime       60 u32 uid       88 u64 block end
 *   20 i64,u32 ctime       64 u32 gid       96 u64 pages of a mapped file, else 0
 *   32 i64,u32 atime       68 u32 nlink
 *   44 i64,u32 btime       72 u32 rdev
 *                          76 u32 flags: 1: a KEY_FLOOR exists; 2: there are extended
 *                             attributes; 4: it never had a name; 0x100, 0x200: below
 *
 * What a write changes stands first, so that its patch is one short range.
 */
#ifndef VARVE_STORE_ATTR_H
#define VARVE_STORE_ATTR_H

#include <stdbool.h>
#include <stdint.h>

#include "tree.h"

#define ATTR_BYTES 104u
#define ATTR_BYTES_OLD 96u      /* without the pages */

#define ATTR_HAS_FLOORS 1u      /* of a file that is not mapped: a KEY_FLOOR exists */
#define ATTR_HAS_XATTRS 2u
#define ATTR_UNNAMED 4u         /* nlink is 0, and may be 1 yet */
/* The file's page map says which pages there are. Files that a varve without one
 * wrote are mapped by the first change of their data. */
#define ATTR_MAPPED 0x100u
/* Pages were cut off or punched and no tombstone says so: who reads asks the map. */
#define ATTR_HAS_HOLES 0x200u
#define ATTR_FLAGS_KNOWN \
	(ATTR_HAS_FLOORS | ATTR_HAS_XATTRS | ATTR_UNNAMED | ATTR_MAPPED | ATTR_HAS_HOLES)

/* What a read of data needs to know. */
struct extent {
	uint64_t size_bytes;
	uint32_t type;                  /* S_IFMT of the mode */
	uint32_t flags;
	bool has_name;
	uint64_t block_end, page_count; /* with ATTR_HAS_HOLES; else 0 */
};

struct attr {
	struct tree_attr shown;         /* what the tree's callers see */
	struct lsn extent_since;        /* but of directories: the LSN since which all versions have this extent;
					   0: this is the first, or it is not known */
	uint64_t block_end;             /* above every block that holds a page since the last cut */
	uint32_t flags;
};

void attr_encode(const struct attr *attr, uint8_t bytes_out[ATTR_BYTES]);
/* All but ino, changed and position. -EUCLEAN: impossible. */
int attr_decode(const uint8_t bytes[ATTR_BYTES], struct attr *attr_out);

struct extent attr_extent(const struct attr *attr);
bool extent_equal(const struct extent *a, const struct extent *b);
/* Say in @attr, which is to follow @before (NULL: it is the first), since when its extent is what it is. */
void attr_follow(struct attr *attr, const struct attr *before);

#endif
