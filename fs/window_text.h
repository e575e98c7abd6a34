/*
 * Window text: how the limits of the window are written, on a command line and in
 * /.varve/window: "time=7d bytes=50G". 0 and "none" are no limit.
 */
#ifndef VARVE_FS_WINDOW_TEXT_H
#define VARVE_FS_WINDOW_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store.h"

/* In nanoseconds 292 years, in bytes 8 EiB: what JSON's integers hold. */
#define WINDOW_LIMIT_MAX ((uint64_t)INT64_MAX)

/* False: it is no length, no size, or above WINDOW_LIMIT_MAX. */
bool window_parse_time(const char *text, uint64_t *ns_out);
bool window_parse_bytes(const char *text, uint64_t *bytes_out);

/*
 * Any of time=... and bytes=..., with white space between; lines that begin with '#' are
 * passed over. What isn't named stays in *window. False: it is nothing of the kind, or empty.
 */
bool window_parse(const char *text, size_t size_bytes, struct store_window *window);

#define WINDOW_TEXT_MAX 80

/* "time=7d bytes=none" */
const char *window_format(const struct store_window *window, char out[WINDOW_TEXT_MAX]);

#endif
