/*
 * Own mounts: a mount namespace for a test, so that what it mounts goes with it however it ends.
 *
 * A new namespace has copies of all mounts there are, and of a FUSE mount a copy keeps its server
 * alive after it was unmounted elsewhere. So those are given up.
 */
#ifndef VARVE_TESTS_OWN_MOUNTS_H
#define VARVE_TESTS_OWN_MOUNTS_H

#include <stdbool.h>

/* For the calling thread and those it makes from then on. False: this process may not. */
bool own_mounts(void);

#endif
