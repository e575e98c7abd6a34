/*
 * Reply: what the files that carry requests share. Included by those that see libfuse.
 */
#ifndef VARVE_FS_REPLY_H
#define VARVE_FS_REPLY_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <stdbool.h>

#include "lsn.h"

struct front;

struct front *front_of(fuse_req_t req);

/* The answer of a request for @id that failed, or has nothing but success to tell: -errno or 0. Damage
 * becomes EIO, and a line in the log that names the inode. */
void reply_error(fuse_req_t req, fuse_ino_t id, int err);

/*
 * The handle of what is open, but for state files: the LSN to read it at, which is pinned in the past. At the head
 * it tells as well whether it was opened with O_SYNC or O_DSYNC: libfuse hands on the flags with a write alone.
 */
#define HANDLE_HEAD LSN_HEAD.value
#define HANDLE_HEAD_SYNCED (LSN_HEAD.value - 1)
_Static_assert(LSN_LIMIT < UINT64_MAX - 1, "no LSN is a handle of the head");

static inline struct lsn handle_lsn(const struct fuse_file_info *fi)
{
	return fi->fh < LSN_LIMIT ? lsn_make(fi->fh) : LSN_HEAD;
}

static inline bool handle_is_synced(const struct fuse_file_info *fi)
{
	return fi->fh == HANDLE_HEAD_SYNCED;
}

#endif
