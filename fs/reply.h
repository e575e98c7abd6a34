/*
 * Reply: what the files that carry requests share. Included by those that see libfuse.
 */
#ifndef VARVE_FS_REPLY_H
#define VARVE_FS_REPLY_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

struct front;

struct front *front_of(fuse_req_t req);

/* The answer of a request for @id that failed, or has nothing but success to tell: -errno or 0. Damage
 * becomes EIO, and a line in the log that names the inode. */
void reply_error(fuse_req_t req, fuse_ino_t id, int err);

#endif
