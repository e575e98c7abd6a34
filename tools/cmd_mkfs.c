/* varve mkfs STORE [--page-size N] [--compression none|lz4|zstd] */
#include <argp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "store.h"
#include "text.h"

struct arguments {
	const char *store;
	uint64_t page_size;
	enum store_compression compression;
};

static void parse_page_size(const char *text, struct arguments *arguments, struct argp_state *state)
{
	uint64_t size;

	if (!text_parse_size(text, &size) || size < STORE_PAGE_SIZE_MIN ||
	    size > STORE_PAGE_SIZE_MAX || (size & (size - 1)) != 0)
		argp_error(state, "'%s' is no page size; take 4K, 8K, 16K, 32K or 64K", text);
	arguments->page_size = size;
}

static void parse_compression(const char *text, struct arguments *arguments,
			      struct argp_state *state)
{
	static const char *const names[] = {
		[STORE_COMPRESSION_NONE] = "none",
		[STORE_COMPRESSION_LZ4] = "lz4",
		[STORE_COMPRESSION_ZSTD] = "zstd",
	};
	unsigned i = STORE_COMPRESSION_NONE;

	while (i < sizeof(names) / sizeof(names[0]) && strcmp(text, names[i]) != 0)
		i++;
	if (i == sizeof(names) / sizeof(names[0]))
		argp_error(state, "'%s' is no compression; take none, lz4 or zstd", text);
	arguments->compression = (enum store_compression)i;
}

static error_t mkfs_parse(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case 'p':
		parse_page_size(argument, arguments, state);
		return 0;
	case 'c':
		parse_compression(argument, arguments, state);
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > 0)
			argp_error(state, "one store at a time");
		arguments->store = argument;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "STORE is missing: the directory to make");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option mkfs_options[] = {
	{"page-size", 'p', "N", 0,
	 "bytes of a page: 4K, 8K (the default), 16K, 32K or 64K; a database's own page size is "
	 "best",
	 0},
	{"compression", 'c', "HOW", 0,
	 "how history is compressed once it is merged: none, lz4 (the default) or zstd, which is "
	 "smaller and slower",
	 0},
	{0},
};

static const struct argp mkfs_argp = {
	.options = mkfs_options,
	.parser = mkfs_parse,
	.args_doc = "STORE",
	.doc = "Make a store in the directory STORE, which must be empty or not there yet.\v"
	       "The root of the new tree belongs to the caller.",
};

int cmd_mkfs(int argc, char **argv)
{
	struct arguments arguments = {0};
	struct store_mkfs_options options = {.root_uid = getuid(), .root_gid = getgid()};
	struct report report = {""};

	argp_parse(&mkfs_argp, argc, argv, 0, NULL, &arguments);
	options.page_size_bytes = (uint32_t)arguments.page_size;
	options.compression = arguments.compression;
	if (store_mkfs(arguments.store, &options, &report) != 0)
		return fail("%s", report.text);
	return STATUS_OK;
}
