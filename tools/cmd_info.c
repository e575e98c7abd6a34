/* varve info STORE|PATH [--json] */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client.h"
#include "command.h"
#include "info.h"
#include "member.h"
#include "store.h"
#include "subject.h"

static error_t info_parse(int key, char *argument, struct argp_state *state)
{
	return subject_parse(key, argument, state, state->input, SUBJECT_STORE);
}

static const struct argp_option info_options[] = {
	SUBJECT_JSON_OPTION,
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

static void print_mount(const json_t *info)
{
	time_t since = (time_t)member_number(info, "mounted_at");
	char date[64];
	struct tm utc;

	if (json_is_true(json_object_get(info, "mounted"))) {
		strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&since, &utc));
		printf("mounted at       %s, since %s, by process %" PRIu64 "\n",
		       member_string(info, "mountpoint"), date, member_number(info, "pid"));
	} else if (json_object_get(info, "holder")) {
		printf("held by          process %" PRIu64 ": %s\n", member_number(info, "pid"),
		       member_string(info, "holder"));
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
		       member_number(info, "oldest_lsn"), member_number(info, "newest_lsn"),
		       member_number(info, "durable_lsn"),
		       json_is_true(json_object_get(info, "read_only")) ? ", read-only" : "");
	else
		printf("LSNs             up to %" PRIu64 ", more if it was not unmounted\n",
		       member_number(info, "newest_lsn"));
	printf("history          %s\n", text_size(member_number(info, "newest_lsn"), a));
	printf("sealed layers    %" PRIu64 ", %s\n", member_number(info, "layer_count"),
	       member_size(info, "sealed_bytes", a));
}

static void print_open_layer(const json_t *info)
{
	char a[TEXT_SIZE_MAX], b[TEXT_SIZE_MAX], c[TEXT_SIZE_MAX];

	printf("open layer       %s of %s, %s of it not yet synced, %" PRIu64 " versions\n",
	       member_size(info, "arena_used_bytes", a), member_size(info, "arena_capacity_bytes", b),
	       member_size(info, "arena_dirty_bytes", c), member_number(info, "version_count"));
	printf("  page images    %s\n", member_size(info, "arena_image_bytes", a));
	printf("  page patches   %s\n", member_size(info, "arena_patch_bytes", a));
	printf("  attributes     %s\n", member_size(info, "arena_attr_bytes", a));
	printf("  names          %s\n", member_size(info, "arena_name_bytes", a));
	printf("  framing        %s\n", member_size(info, "arena_framing_bytes", a));
}

static void print_daemon(const json_t *info)
{
	char a[TEXT_SIZE_MAX], b[TEXT_SIZE_MAX];

	printf("memory           %s index of the open layer, %s index blocks of sealed ones\n",
	       member_size(info, "index_bytes", a), member_size(info, "cache_bytes", b));
	printf("since mounted    %" PRIu64 " changes, %" PRIu64 " syncs, %" PRIu64 " freezes\n",
	       member_number(info, "commit_count"), member_number(info, "sync_count"),
	       member_number(info, "freeze_count"));
	printf("flushed          %s in %" PRIu64 " flushes of %" PRIu64 " ranges\n",
	       member_size(info, "flush_bytes", a), member_number(info, "flush_count"),
	       member_number(info, "flush_range_count"));
}

static void print_info(const json_t *info)
{
	char a[TEXT_SIZE_MAX];

	printf("store            %s\n", member_string(info, "store"));
	printf("id               %s\n", member_string(info, "id"));
	print_mount(info);
	printf("format           version %" PRIu64 ", pages of %s\n",
	       member_number(info, "format_version"), member_size(info, "page_size_bytes", a));
	print_history(info);
	if (json_is_true(json_object_get(info, "mounted"))) {
		print_open_layer(info);
		print_daemon(info);
	}
}

int cmd_info(int argc, char **argv)
{
	struct subject subject = {0};
	json_t *info;
	int status;

	argp_parse(&info_argp, argc, argv, 0, NULL, &subject);
	status = info_get(subject.path, &info);
	if (status)
		return status;
	if (subject.json) {
		member_print(info);
	} else {
		print_info(info);
	}
	json_decref(info);
	return STATUS_OK;
}
