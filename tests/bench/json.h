/*
 * JSON, written as a stream: begin, values, end. The writer keeps count of
 * commas and nesting; the caller names a member inside an object and passes
 * NULL as the name inside an array.
 */
#ifndef VARVE_BENCH_JSON_H
#define VARVE_BENCH_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_DEPTH_MAX 16

struct json {
	FILE *file;                     /* NULL: every call does nothing */
	unsigned depth;
	bool has_items[JSON_DEPTH_MAX];
};

void json_begin(struct json *json, const char *name, char bracket);     /* '{' or '[' */
void json_end(struct json *json, char bracket);                         /* '}' or ']' */
void json_string(struct json *json, const char *name, const char *value);
void json_number(struct json *json, const char *name, double value);
void json_bool(struct json *json, const char *name, bool value);

#endif
