/*
 * Front: what a mount consists of, carried by libfuse as its user data.
 */
#ifndef VARVE_FS_FRONT_H
#define VARVE_FS_FRONT_H

#include <stdint.h>
#include <time.h>

#include "lsn.h"

struct store;
struct view;
struct census;
struct expire;
struct state_files;
struct fuse_session;

struct front {
	struct store *store;
	struct view *view;
	struct census *census;
	struct expire *expire;
	struct state_files *state_files;
	struct fuse_session *session; /* for what the kernel is told unasked */
	const char *mountpoint;
	time_t mounted_at;
	struct lsn newest_at_start;
};

#endif
