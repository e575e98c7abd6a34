/*
 * Unmount, as root by the system call and as another user by fusermount3.
 */
#ifndef VARVE_FS_UNMOUNT_H
#define VARVE_FS_UNMOUNT_H

/*
 * Unmount what is mounted at @mountpoint, once the kernel has written back what it
 * holds of mappings: that is part of an unmount only if no other mount namespace has a
 * copy of the mount. Waits a moment for one that is in use.
 *
 * 0; -EBUSY: in use; -EINVAL: nothing is mounted there; -EPERM; else -errno.
 */
int unmount(const char *mountpoint);

/* Take it out of the tree though it is in use: for a mount that is dead, or about to be, which
 * nobody can use any more. As above, but never -EBUSY. */
int unmount_detach(const char *mountpoint);

#endif
