/*
 * Requests for extended attributes.
 *
 * user.*, trusted.*, security.* and the two POSIX ACLs are kept in the tree; varve.* tell of varve. Who
 * may set which is the kernel's to check.
 */
#ifndef VARVE_FS_OPS_XATTR_H
#define VARVE_FS_OPS_XATTR_H

#include "reply.h"

void op_setxattr(fuse_req_t req, fuse_ino_t id, const char *name, const char *value, size_t size,
		 int flags);
void op_getxattr(fuse_req_t req, fuse_ino_t id, const char *name, size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t id, size_t size);
void op_removexattr(fuse_req_t req, fuse_ino_t id, const char *name);

#endif
