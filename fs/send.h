/*
 * Send: lines of JSON to a client of the control socket, who may be slow or gone.
 */
#ifndef VARVE_FS_SEND_H
#define VARVE_FS_SEND_H

#include <jansson.h>
#include <stdio.h>

/* Send @object as one line. Takes over the reference; NULL is -ENOMEM. 0 or -errno. */
int send_line(int fd, json_t *object);

/* As send_line if that can be done at once; else the client never hears of it. */
void send_line_if_heard(int fd, json_t *object);

/* All of @file, from its beginning. */
int send_file(int fd, FILE *file);

/* {"error": @text, "errno": N}: the last line of an answer. @text: UTF-8 or not, for it may name a path, cut short. */
json_t *error_object(int err, const char *text);

#endif
