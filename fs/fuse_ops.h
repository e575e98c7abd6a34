/*
 * The FUSE requests, each carried to the view and the store and answered.
 * With fuse_session.c the only place that knows libfuse; the only place where
 * an errno's sign is flipped.
 */
#ifndef VARVE_FS_FUSE_OPS_H
#define VARVE_FS_FUSE_OPS_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

/* Their user data is a struct front. */
extern const struct fuse_lowlevel_ops fuse_ops;

#endif
