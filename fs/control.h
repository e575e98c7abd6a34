/*
 * Control: the socket in a mounted store by which commands reach its daemon.
 *
 * STORE/socket, mode 0600. A client sends one line of JSON and gets lines of
 * JSON until the daemon closes the connection:
 *
 *   {"op": "info"}                    one object (stats.h)
 *   {"op": "log", "inode": N}         an object for each version, oldest
 *                                     first (info.h), then {"count": N}
 *   {"op": "check", "samples": N}     {"begin": BYTES}, now and then {"bytes": MORE}
 *                                     while it runs, then each {"finding": {...}},
 *                                     then {"result": {...}} (info.h)
 *   those of operation.h
 *   {"op": "wait"}                    {"waiting": true}, and {"closed": true}
 *                                     once the mount is gone, all is on disk
 *                                     and the store is free
 *
 * or, at any point, {"error": "...", "errno": N} as the last line.
 *
 * Clients are not trusted to behave: a request is at most CONTROL_REQUEST_MAX
 * bytes, so many may be connected at a time, each has a thread of its own and
 * a limit on how long it may keep it waiting, and no lock or guard of the store
 * is held while one is being sent to.
 */
#ifndef VARVE_FS_CONTROL_H
#define VARVE_FS_CONTROL_H

#include <stdint.h>

#include "report.h"

struct front;
struct control;

#define CONTROL_SOCKET_NAME "socket"
#define CONTROL_REQUEST_MAX 4096u

/* Listen in the store, whose lock the caller holds: a socket that is there
 * already is a dead daemon's and is replaced. @front stays the caller's, and whole
 * until control_stop returned. */
int control_open(const struct front *front, struct report *report, struct control **control_out);

/* Take no more requests, and return once none is under way; NULL is ignored. What @front holds may
 * be closed afterwards. */
void control_stop(struct control *control);

/* Tell those who wait how closing the store ended, and free. NULL is ignored. */
void control_close(struct control *control, int store_err);

/* A connection to the daemon of the store at @store_path, as a file descriptor.
 * -ENOENT, -ECONNREFUSED: no daemon serves it. */
int control_connect(const char *store_path);

#endif
