/*
 * The FUSE requests, each carried to the view and the store and answered.
 * Files that are named ops_ have some of them. An errno's sign is flipped in reply_error alone.
 */
#ifndef VARVE_FS_FUSE_OPS_H
#define VARVE_FS_FUSE_OPS_H

#include "reply.h"

/* Their user data is a struct front. */
extern const struct fuse_lowlevel_ops fuse_ops;

#endif
