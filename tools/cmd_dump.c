/* varve dump STORE|PATH [layers | layer ID | page PATH BLOCK] [--json] */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ask.h"
#include "client.h"
#include "command.h"
#include "info.h"
#include "member.h"
#include "subject.h"

#define WORD_MAX 4

struct arguments {
	const char *words[WORD_MAX]; /* the store, and what of it */
	unsigned word_count;
	bool json;
	uint64_t layer_id, block;
	uint64_t printed_count;
};

static const char *what_of(const struct arguments *arguments)
{
	return arguments->word_count > 1 ? arguments->words[1] : "layers";
}

static bool is_number(const char *text, uint64_t *value_out)
{
	return text_parse_number(text, value_out) && *value_out <= INT64_MAX;
}

static void words_check(struct arguments *arguments, struct argp_state *state)
{
	const char *what = what_of(arguments);
	unsigned count = arguments->word_count;

	if (!count)
		argp_error(state, SUBJECT_STORE);
	if (strcmp(what, "layers") == 0) {
		if (count > 2)
			argp_error(state, "'%s' is one too many", arguments->words[2]);
	} else if (strcmp(what, "layer") == 0) {
		if (count != 3 || !is_number(arguments->words[2], &arguments->layer_id))
			argp_error(state, "'layer' wants the number of a layer, as 'layers' lists them");
	} else if (strcmp(what, "page") == 0) {
		if (count != 4 || !is_number(arguments->words[3], &arguments->block))
			argp_error(state, "'page' wants a path and the number of a page, from 0 on");
	} else {
		argp_error(state, "'%s' can't be dumped; there are layers, layer ID and page PATH BLOCK",
			   what);
	}
}

static error_t dump_parse(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case 'j':
		arguments->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (arguments->word_count == WORD_MAX)
			argp_error(state, "'%s' is one too many", argument);
		arguments->words[arguments->word_count++] = argument;
		return 0;
	case ARGP_KEY_END:
		words_check(arguments, state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option dump_options[] = {
	SUBJECT_JSON_OPTION,
	{0},
};

static const struct argp dump_argp = {
	.options = dump_options,
	.parser = dump_parse,
	.args_doc = "STORE|PATH [layers]\nSTORE|PATH layer ID\nSTORE|PATH page PATH BLOCK",
	.doc = "Show what the history of a store is kept in, which is named by its directory or by any path in "
	       "its mount: its layers, the oldest first; with 'layer', every version in the index of one; "
	       "with 'page', every version of a page of the file PATH, the newest first.\v"
	       "PATH is a path in the mount, of the head or the past, or one from the root of the tree at "
	       "head.",
};

/*
 * Printing
 */

static void print_key(const json_t *key)
{
	printf("inode %" PRIu64 " %s", member_number(key, "inode"), member_string(key, "what"));
	if (member_number(key, "index") || strcmp(member_string(key, "what"), "page") == 0)
		printf(" %" PRIu64, member_number(key, "index"));
}

static void print_layer(const json_t *layer)
{
	const json_t *first = json_object_get(layer, "first_key");
	char size[TEXT_SIZE_MAX];

	printf("%8" PRIu64 "  %-6s %5" PRIu64 "  %8" PRIu64 "  %14" PRIu64 "  %14" PRIu64 "  %10s  ",
	       member_number(layer, "id"), member_string(layer, "kind"), member_number(layer, "level"),
	       member_number(layer, "run"), member_number(layer, "start_lsn"),
	       member_number(layer, "end_lsn"), member_size(layer, "file_bytes", size));
	if (json_is_object(first)) {
		print_key(first);
		fputs(" to ", stdout);
		print_key(json_object_get(layer, "last_key"));
	} else {
		fputs("all keys", stdout);
	}
	puts(member_flag(layer, "merging") ? ", is being merged" : "");
}

static void print_version(const json_t *version)
{
	printf("%14" PRIu64 "  %8" PRIu64 "  %-9s %6" PRIu64 "  %7" PRIu64 " B  ",
	       member_number(version, "lsn"), member_number(version, "layer"),
	       member_string(version, "form"), member_number(version, "weight"),
	       member_number(version, "size_bytes"));
	print_key(json_object_get(version, "key"));
	putchar('\n');
}

static void print_head(const struct arguments *arguments)
{
	bool layers = strcmp(what_of(arguments), "layers") == 0;

	if (arguments->json)
		printf("{\"%s\": [", layers ? "layers" : "versions");
	else if (layers)
		printf("%8s  %-6s %5s  %8s  %14s  %14s  %10s  %s\n", "LAYER", "KIND", "LEVEL", "RUN",
		       "AFTER LSN", "UP TO LSN", "ON DISK", "KEYS");
	else
		printf("%14s  %8s  %-9s %6s  %9s  %s\n", "LSN", "LAYER", "FORM", "WEIGHT", "SIZE", "KEY");
}

static void on_answer(void *context, const json_t *object)
{
	struct arguments *arguments = context;
	const json_t *layer = json_object_get(object, "layer");
	const json_t *row = layer ? layer : json_object_get(object, "version");

	if (!arguments->printed_count++)
		print_head(arguments);
	if (!row)
		return;
	if (arguments->json) {
		fputs(arguments->printed_count > 1 ? ",\n" : "\n", stdout);
		json_dumpf(row, stdout, 0);
	} else if (layer) {
		print_layer(row);
	} else {
		print_version(row);
	}
}

/*
 * Asking
 */

static json_t *page_request(const struct arguments *arguments)
{
	const char *path = arguments->words[2];
	json_int_t block = (json_int_t)arguments->block;
	uint64_t ino;

	if (client_inode_of(path, &ino) == 0)
		return json_pack("{s:s, s:I, s:I}", "op", "page", "inode", (json_int_t)ino, "block", block);
	return json_pack("{s:s, s:o, s:I}", "op", "page", "path", info_string(path), "block", block);
}

int cmd_dump(int argc, char **argv)
{
	struct arguments arguments = {0};
	json_t *request;
	int status;

	argp_parse(&dump_argp, argc, argv, 0, NULL, &arguments);
	if (strcmp(what_of(&arguments), "layers") == 0)
		request = json_pack("{s:s}", "op", "layers");
	else if (strcmp(what_of(&arguments), "layer") == 0)
		request = json_pack("{s:s, s:I}", "op", "layer", "id", (json_int_t)arguments.layer_id);
	else
		request = page_request(&arguments);
	status = ask(arguments.words[0], request, ASK_READS, "", on_answer, &arguments);
	/* Also where an error cut it short. */
	if (arguments.json && arguments.printed_count)
		puts("\n]}");
	return status;
}
