/* varve info STORE|PATH [--json] */
#include <argp.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client.h"
#include "command.h"
#include "info.h"
#include "store.h"
#include "text.h"

struct arguments {
	const char *path;
	bool json;
};

static error_t info_parse(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case 'j':
		arguments->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > 0)
			argp_error(state, "one store at a time");
		arguments->path = argument;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "STORE is missing, or a path in a mount");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option info_options[] = {
	{"json", 'j', NULL, 0, "print JSON, with every field", 0},
	{0},
};

static const struct argp info_argp = {
	.options = info_options,
	.parser = info_parse,
	.args_doc = "STORE|PATH",
	.doc = "Tell about a store, named by its directory or by any path in its mount: its LSNs, "
	       "what "
	       "its history holds, and what its daemon did since it was mounted.",
};

/*
 * Asking
 */

/* From the daemon, which knows most. */
static int info_from_daemon(const char *store, json_t **info_out)
{
	FILE *answer;
	int err;

	*info_out = NULL;
	err = client_request(store, json_pack("{s:s}", "op", "info"), &answer);
	if (err)
		return err;
	err = client_next(answer, info_out);
	fclose(answer);
	return err;
}

/* From the disk, as nobody serves it, or we may not speak with who does. */
static int info_from_disk(const char *path, json_t **info_out)
{
	char store[PATH_MAX], holder[256];
	struct report report = {""};
	struct store_usage usage;
	int pid = 0;

	*info_out = NULL;
	if (store_peek(path, &usage, &report) != 0)
		return fail("%s", report.text);
	*info_out = info_usage(realpath(path, store) ? store : path, &usage, false);
	if (!*info_out)
		return fail("no memory left");
	json_object_set_new(*info_out, "mounted", json_false());
	if (store_holder(path, holder, sizeof(holder), &pid) == 0) {
		json_object_set_new(*info_out, "holder", info_string(holder));
		json_object_set_new(*info_out, "pid", json_integer(pid));
	}
	return STATUS_OK;
}

static int info_get(const char *path, json_t **info_out)
{
	char store[PATH_MAX];

	if (client_store_of(path, store) != 0)
		snprintf(store, sizeof(store), "%s", path);
	if (info_from_daemon(store, info_out) == 0)
		return STATUS_OK;
	return info_from_disk(store, info_out);
}

/*
 * Telling
 */

static uint64_t number(const json_t *info, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(info, name));
}

static const char *size(const json_t *info, const char *name, char out[TEXT_SIZE_MAX])
{
	return text_size(number(info, name), out);
}

static const char *string(const json_t *info, const char *name)
{
	const char *text = json_string_value(json_object_get(info, name));

	return text ? text : "";
}

static void print_mount(const json_t *info)
{
	time_t since = (time_t)number(info, "mounted_at");
	char date[64];
	struct tm utc;

	if (json_is_true(json_object_get(info, "mounted"))) {
		strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&since, &utc));
		printf("mounted at       %s, since %s, by process %" PRIu64 "\n",
		       string(info, "mountpoint"), date, number(info, "pid"));
	} else if (json_object_get(info, "holder")) {
		printf("held by          process %" PRIu64 ": %s\n", number(info, "pid"),
		       string(info, "holder"));
	} else {
		puts("mounted at       -");
	}
}

static void print_history(const json_t *info)
{
	bool live = json_is_integer(json_object_get(info, "oldest_lsn"));
	char a[TEXT_SIZE_MAX];

	if (live)
		printf("LSNs             %" PRIu64 " to %" PRIu64 ", on disk up to %" PRIu64 "%s\n",
		       number(info, "oldest_lsn"), number(info, "newest_lsn"),
		       number(info, "durable_lsn"),
		       json_is_true(json_object_get(info, "read_only")) ? ", read-only" : "");
	else
		printf("LSNs             up to %" PRIu64 ", more if it was not unmounted\n",
		       number(info, "newest_lsn"));
	printf("history          %s\n", text_size(number(info, "newest_lsn"), a));
	printf("sealed layers    %" PRIu64 ", %s\n", number(info, "layer_count"),
	       size(info, "sealed_bytes", a));
}

static void print_open_layer(const json_t *info)
{
	char a[TEXT_SIZE_MAX], b[TEXT_SIZE_MAX], c[TEXT_SIZE_MAX];

	printf("open layer       %s of %s, %s of it not yet synced, %" PRIu64 " versions\n",
	       size(info, "arena_used_bytes", a), size(info, "arena_capacity_bytes", b),
	       size(info, "arena_dirty_bytes", c), number(info, "version_count"));
	printf("  page images    %s\n", size(info, "arena_image_bytes", a));
	printf("  page patches   %s\n", size(info, "arena_patch_bytes", a));
	printf("  attributes     %s\n", size(info, "arena_attr_bytes", a));
	printf("  names          %s\n", size(info, "arena_name_bytes", a));
	printf("  framing        %s\n", size(info, "arena_framing_bytes", a));
}

static void print_daemon(const json_t *info)
{
	char a[TEXT_SIZE_MAX], b[TEXT_SIZE_MAX];

	printf("memory           %s index of the open layer, %s index blocks of sealed ones\n",
	       size(info, "index_bytes", a), size(info, "cache_bytes", b));
	printf("the past         %" PRIu64 " files and directories known to the kernel\n",
	       number(info, "past_node_count"));
	printf("since mounted    %" PRIu64 " changes, %" PRIu64 " syncs, %" PRIu64 " freezes\n",
	       number(info, "commit_count"), number(info, "sync_count"),
	       number(info, "freeze_count"));
	printf("flushed          %s in %" PRIu64 " flushes of %" PRIu64 " ranges\n",
	       size(info, "flush_bytes", a), number(info, "flush_count"),
	       number(info, "flush_range_count"));
}

static void print_info(const json_t *info)
{
	char a[TEXT_SIZE_MAX];

	printf("store            %s\n", string(info, "store"));
	printf("id               %s\n", string(info, "id"));
	print_mount(info);
	printf("format           version %" PRIu64 ", pages of %s\n",
	       number(info, "format_version"), size(info, "page_size_bytes", a));
	print_history(info);
	if (json_is_true(json_object_get(info, "mounted"))) {
		print_open_layer(info);
		print_daemon(info);
	}
}

int cmd_info(int argc, char **argv)
{
	struct arguments arguments = {0};
	json_t *info;
	int status;

	argp_parse(&info_argp, argc, argv, 0, NULL, &arguments);
	status = info_get(arguments.path, &info);
	if (status)
		return status;
	if (arguments.json) {
		json_dumpf(info, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_info(info);
	}
	json_decref(info);
	return STATUS_OK;
}
