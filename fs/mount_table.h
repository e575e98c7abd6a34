/*
 * Mount table: what is mounted where, from /proc/self/mountinfo.
 *
 * Reading it asks no file system anything, so it also answers for a mount whose
 * daemon is dead, busy, or is the caller.
 */
#ifndef VARVE_FS_MOUNT_TABLE_H
#define VARVE_FS_MOUNT_TABLE_H

#include <limits.h>
#include <stdbool.h>

#define MOUNT_TYPE "fuse.varve"

struct mount_entry {
	unsigned major, minor; /* st_dev of what is mounted */
	char mountpoint[PATH_MAX];
	char type[64];
	char source[PATH_MAX];
};

/* What is mounted at the absolute path @mountpoint, the topmost if several are.
 * 0; -ENOENT: nothing is; else -errno. */
int mount_table_find(const char *mountpoint, struct mount_entry *entry_out);

/* Another mount of the file system whose st_dev is @major, @minor: a bind mount, or the one that was
 * bound. The one mounted last that is not at @but. 0; -ENOENT: there is none; else -errno. */
int mount_table_find_other(unsigned major, unsigned minor, const char *but,
			   struct mount_entry *entry_out);

/* What is mounted at @path or, failing that, at the nearest directory above. */
int mount_table_find_above(const char *path, struct mount_entry *entry_out);

#endif
