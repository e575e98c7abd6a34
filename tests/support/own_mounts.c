#include "own_mounts.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

/* 36 35 0:41 / /mount/point rw - fuse.varve /store rw. False: it is no FUSE mount that went. A path
 * that is written with escapes is passed over. */
static bool give_up(const char *line)
{
	char mountpoint[4096];

	return strstr(line, " - fuse") && sscanf(line, "%*s %*s %*s %*s %4095s", mountpoint) == 1 &&
	       umount2(mountpoint, MNT_DETACH) == 0;
}

/* The table is read anew after each that went: what lay below or above it may be at its place now. */
static bool give_up_one(void)
{
	FILE *table = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t room = 0;
	bool gone = false;

	while (table && !gone && getline(&line, &room, table) > 0)
		gone = give_up(line);
	free(line);
	if (table)
		fclose(table);
	return gone;
}

bool own_mounts(void)
{
	if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return false;
	while (give_up_one())
		;
	return true;
}
