/*
 * Operation: what commands ask of an open store about its history, as JSON: one
 * request, and a row of objects as the answer. The daemon runs it for the control
 * socket; a command does itself for a store that nobody holds.
 *
 *   {"op": "window"}                     {"window": {...}} (info.h)
 *     with "time_ns": N, "bytes": N      ... which are set first; 0: no limit
 *   {"op": "gc", "dry_run": B}           {"begin": BYTES}, now and then {"bytes": MORE}
 *                                        while it runs, then {"gc": {...}} (info.h)
 *   {"op": "compact"}                    the same, with {"compact": {...}}
 *   {"op": "layers"}                     {"layer": {...}} for each, then {"count": N}
 *   {"op": "layer", "id": N}             {"version": {...}} for each in its index, then {"count": N}
 *   {"op": "page", "block": N,           {"version": {...}} for each, newest first,
 *    "inode": N or "path": TEXT}         then {"count": N}; a path is one at the head, from its root
 */
#ifndef VARVE_FS_OPERATION_H
#define VARVE_FS_OPERATION_H

#include <jansson.h>
#include <stdbool.h>

#include "report.h"

struct store;

struct operation_sink {
	/* The next object of the answer; its reference is taken over, NULL is no memory. Must not wait for
	 * a client. Not 0: the operation ends with that error. */
	int (*add)(void *context, json_t *object);
	/* How it gets on: to be told at once, or never. As above. */
	void (*tell)(void *context, json_t *object);
	bool (*stops)(void *context);   /* true: nobody wants the rest */
	void *context;
};

/* 0; 1: @request is none of these; -errno, and @report says what and the cure. Any thread. */
int operation_run(struct store *store, const json_t *request, const struct operation_sink *sink,
		  struct report *report);

/* The names of all, for a message: "window, gc, ...". */
extern const char operation_names[];

#endif
