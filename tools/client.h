/*
 * Client: what commands do to reach a store, mounted or not.
 */
#ifndef VARVE_TOOLS_CLIENT_H
#define VARVE_TOOLS_CLIENT_H

#include <jansson.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>

/* The store behind @path, which lies in a mount. A link is not followed.
 * 0; -ENODATA: @path is in no varve mount; else -errno. */
int client_store_of(const char *path, char store_out[PATH_MAX]);

/* The number of the inode at @path, at head or in the past. -ENODATA: it is a
 * directory or link of varve's own. */
int client_inode_of(const char *path, uint64_t *ino_out);

/* Send @request, whose reference is taken over, to the daemon of the store.
 * 0 and the stream of its answer, for fclose; -errno. */
int client_request(const char *store_path, json_t *request, FILE **answer_out);

/* The next object of an answer. 0; -ENODATA: the daemon ended it early; the
 * errno of an error the daemon sent, its text printed. */
int client_next(FILE *answer, json_t **object_out);

#endif
