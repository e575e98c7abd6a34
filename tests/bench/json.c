#include "json.h"

#include <assert.h>
#include <math.h>

static void put_text(struct json *json, const char *text)
{
	putc('"', json->file);
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (*c == '"' || *c == '\\')
			fprintf(json->file, "\\%c", *c);
		else if (*c < 0x20)
			fprintf(json->file, "\\u%04x", *c);
		else
			putc(*c, json->file);
	}
	putc('"', json->file);
}

/* What stands before a value: the comma, a line of its own, the name. */
static void put_lead(struct json *json, const char *name)
{
	if (json->has_items[json->depth])
		putc(',', json->file);
	json->has_items[json->depth] = true;
	if (json->depth > 0 && name)
		fprintf(json->file, "\n%*s", (int)json->depth * 2, "");
	if (name) {
		put_text(json, name);
		fputs(": ", json->file);
	}
}

void json_begin(struct json *json, const char *name, char bracket)
{
	if (!json->file)
		return;
	assert(json->depth + 1 < JSON_DEPTH_MAX);
	put_lead(json, name);
	putc(bracket, json->file);
	json->has_items[++json->depth] = false;
}

void json_end(struct json *json, char bracket)
{
	if (!json->file)
		return;
	assert(json->depth > 0);
	json->depth--;
	putc(bracket, json->file);
	if (json->depth == 0)
		putc('\n', json->file);
}

void json_string(struct json *json, const char *name, const char *value)
{
	if (!json->file)
		return;
	put_lead(json, name);
	put_text(json, value);
}

void json_number(struct json *json, const char *name, double value)
{
	if (!json->file)
		return;
	put_lead(json, name);
	if (isfinite(value))
		fprintf(json->file, "%.10g", value);
	else
		fputs("null", json->file);
}

void json_bool(struct json *json, const char *name, bool value)
{
	if (!json->file)
		return;
	put_lead(json, name);
	fputs(value ? "true" : "false", json->file);
}
