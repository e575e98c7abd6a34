/*
 * The FUSE requests about space: that of a file, and the disk's.
 */
#ifndef VARVE_FS_OPS_SPACE_H
#define VARVE_FS_OPS_SPACE_H

#include "reply.h"

void op_fallocate(fuse_req_t req, fuse_ino_t id, int mode, off_t offset, off_t length,
		  struct fuse_file_info *fi);
void op_lseek(fuse_req_t req, fuse_ino_t id, off_t offset, int whence, struct fuse_file_info *fi);
/* A seek may wait for the kernel to write back what lies in mappings, by requests that others answer: no more of
 * that from now on. Returns once nobody waits, so call it while requests are still answered. */
void seek_flush_halt(void);

void op_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_offset, struct fuse_file_info *from_fi,
			fuse_ino_t to, off_t to_offset, struct fuse_file_info *to_fi, size_t length,
			int flags);
void op_statfs(fuse_req_t req, fuse_ino_t id);

#endif
