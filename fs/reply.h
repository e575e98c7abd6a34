/*
 * Reply: what the files that carry requests share. Included by those that see libfuse.
 */
#ifndef VARVE_FS_REPLY_H
#define VARVE_FS_REPLY_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

struct front;

struct front *front_of(fuse_req_t req);

/* Answer with 0 or -errno. Damage becomes EIO, and a line in the log that names the inode. */
void reply_error(fuse_req_t req, fuse_ino_t id, int err);

#endif
