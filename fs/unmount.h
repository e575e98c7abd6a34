/*
 * Unmount, as root by the system call and as another user by fusermount3.
 */
#ifndef VARVE_FS_UNMOUNT_H
#define VARVE_FS_UNMOUNT_H

/* Unmount what is mounted at @mountpoint.
 * 0; -EBUSY: in use; -EINVAL: nothing is mounted there; -EPERM; else -errno. */
int unmount(const char *mountpoint);

#endif
