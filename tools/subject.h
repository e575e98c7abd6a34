/*
 * Subject: the one thing most commands are about, a store or a path, and --json.
 */
#ifndef VARVE_TOOLS_SUBJECT_H
#define VARVE_TOOLS_SUBJECT_H

#include <argp.h>
#include <stdbool.h>

struct subject {
	const char *path;
	bool json;
};

#define SUBJECT_JSON_OPTION {"json", 'j', NULL, 0, "print JSON, with every field", 0}

/* What a command whose subject is a store says without one. */
#define SUBJECT_STORE "STORE is missing, or a path in a mount"

/* For each key that the command doesn't take itself. @missing: what to say if there is no path. */
error_t subject_parse(int key, char *argument, struct argp_state *state, struct subject *subject,
		      const char *missing);

#endif
