/*
 * Ask: have an operation (fs/operation.h) done on a store, mounted or not.
 *
 * Its daemon does it, if there is one; else the store is opened here, and closed again.
 */
#ifndef VARVE_TOOLS_ASK_H
#define VARVE_TOOLS_ASK_H

#include <jansson.h>
#include <stdbool.h>

/* One object of the answer, borrowed. */
typedef void ask_fn(void *context, const json_t *object);

/* How a store that nobody holds is opened. */
enum ask_how {
	ASK_READS,              /* nothing in it is changed */
	ASK_CHANGES,            /* ... but what is asked for */
	ASK_MERGES,             /* its layers are merged */
};

/*
 * Ask the store named by @path, its directory or any path in its mount. The reference to @request is
 * taken over. With @bar_text a bar shows how it gets on; it is what the bar says at its end.
 * STATUS_OK, or STATUS_FAILED, and why was printed.
 */
int ask(const char *path, json_t *request, enum ask_how how, const char *bar_text, ask_fn *fn,
	void *context);

#endif
