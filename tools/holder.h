/*
 * Holder: who has a store that is to be mounted, and whether that is about to end.
 */
#ifndef VARVE_TOOLS_HOLDER_H
#define VARVE_TOOLS_HOLDER_H

#include <limits.h>
#include <stdbool.h>

struct holder {
	int pid;
	bool shows_all;            /* every LSN is shown at the mount point, not one alone */
	char mountpoint[PATH_MAX]; /* where it says to have mounted the store; "": it doesn't */
};

enum holder_state {
	HOLDER_NONE,      /* the store is free */
	HOLDER_STAYS,     /* it is mounted, or held for something else */
	HOLDER_ELSEWHERE, /* nothing is mounted at its mount point here, and yet it goes on: it is in use
			   * there still, or in another mount namespace */
};

/* umount(8) and fusermount3 return before the daemon has closed the store: wait for the end of one whose
 * mount is gone. */
enum holder_state holder_wait(const char *store, struct holder *holder_out);

#endif
