/*
 * Front: what a request needs, carried by libfuse as its user data.
 */
#ifndef VARVE_FS_FRONT_H
#define VARVE_FS_FRONT_H

#include <stdint.h>

struct store;
struct view;

struct front {
	struct store *store;
	struct view *view;
};

#endif
