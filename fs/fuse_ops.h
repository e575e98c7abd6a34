/*
 * The FUSE requests, each carried to the view and the store and answered.
 * Files that are named ops_ have some of them. The only place where an errno's sign is flipped.
 */
#ifndef VARVE_FS_FUSE_OPS_H
#define VARVE_FS_FUSE_OPS_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

/* Their user data is a struct front. */
extern const struct fuse_lowlevel_ops fuse_ops;

/* The answer of a request for @id that failed, or has nothing but success to tell; -errno or 0. Damage is
 * logged, and EIO to the caller. */
void reply_error(fuse_req_t req, fuse_ino_t id, int err);

#endif
