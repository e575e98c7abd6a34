/*
 * Unmount, as root by the system call and as another user by fusermount3.
 */
#ifndef VARVE_FS_UNMOUNT_H
#define VARVE_FS_UNMOUNT_H

#include <stdbool.h>

/* Detach what is mounted at @mountpoint. With @lazy also while it is in use: it
 * is gone from the tree at once and for good when the last user leaves.
 * 0; -EBUSY: in use; -EINVAL: nothing is mounted there; -EPERM; else -errno. */
int unmount(const char *mountpoint, bool lazy);

#endif
