/*
 * Remount: change the flags of a mount that is there, as `mount -o remount` does.
 */
#ifndef VARVE_TOOLS_REMOUNT_H
#define VARVE_TOOLS_REMOUNT_H

struct mount_options;

/* Set the flags that are named in @options (ro, nodev, nosuid, noexec, noatime and their opposites)
 * on what is mounted at the absolute path @mountpoint, and leave all else as it was mounted. The
 * exit status; what is wrong is said. */
int remount(const char *mountpoint, const struct mount_options *options);

#endif
