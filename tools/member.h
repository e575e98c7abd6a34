/*
 * Member: what an object of JSON has under a name, or nothing: 0, "", false.
 */
#ifndef VARVE_TOOLS_MEMBER_H
#define VARVE_TOOLS_MEMBER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "text.h"

static inline uint64_t member_number(const json_t *object, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(object, name));
}

static inline bool member_flag(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name));
}

static inline const char *member_string(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

/* A number of bytes as people read it; @out is returned. */
static inline const char *member_size(const json_t *object, const char *name,
				      char out[TEXT_SIZE_MAX])
{
	return text_size(member_number(object, name), out);
}

/* Print a string that may hold a name from the tree: as it is, but for control characters, which
 * would be the terminal's, as \ooo. */
static inline void member_print_string(const json_t *object, const char *name)
{
	for (const char *at = member_string(object, name); *at; at++) {
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			printf("\\%03o", (unsigned)*at);
		else
			putchar(*at);
	}
}

/* Print it for programs, and people who look. */
static inline void member_print(const json_t *object)
{
	json_dumpf(object, stdout, JSON_INDENT(2));
	putchar('\n');
}

#endif
