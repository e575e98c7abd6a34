/* varve info STORE|PATH [--json] */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "census.h"
#include "client.h"
#include "command.h"
#include "info.h"
#include "member.h"
#include "stats.h"
#include "store.h"
#include "subject.h"
#include "window_text.h"

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
	       "its history holds, and what its daemon did since it was mounted. One that is not "
	       "mounted is opened for it, to be read only.",
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

/* Of a store that is opened for it, to be read only. */
static json_t *info_of_opened(struct store *store)
{
	struct lsn oldest, newest;
	struct census *census;
	json_t *info;

	if (census_open(store, &census) != 0)
		return NULL;
	store_window(store, &oldest, &newest);
	info = stats_of_store(store, census, newest);
	census_close(census);
	/* It is for us; others may write. */
	json_object_set_new(info, "read_only", json_null());
	return info;
}

/* What the manifest says of a store that somebody holds with whom we may not speak, or that can't be opened. */
static json_t *info_of_manifest(const char *path, const struct store_usage *usage)
{
	char store[PATH_MAX], holder[256];
	json_t *info = info_usage(realpath(path, store) ? store : path, usage, false);
	int pid = 0;

	if (info && store_holder(path, holder, sizeof(holder), &pid) == 0) {
		json_object_set_new(info, "holder", info_string(holder));
		json_object_set_new(info, "pid", json_integer(pid));
	}
	return info;
}

/* From the disk, as nobody serves it, or we may not speak with who does. */
static int info_from_disk(const char *path, json_t **info_out)
{
	const struct store_options options = {
		.holder = "varve info", .read_only = true, .no_compaction = true};
	struct report report = {""};
	struct store_usage usage;
	struct store *store;
	int err;

	*info_out = NULL;
	if (store_peek(path, &usage, &report) != 0)
		return fail("%s", report.text);
	err = store_open(path, &options, &report, &store);
	if (err == 0) {
		*info_out = info_of_opened(store);
		(void)store_close(store);       /* nothing was written */
	} else {
		if (err != -EBUSY)
			fprintf(stderr, "varve: %s; what follows is from its manifest\n", report.text);
		*info_out = info_of_manifest(path, &usage);
	}
	if (!*info_out)
		return fail("no memory left");
	json_object_set_new(*info_out, "mounted", json_false());
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

static void print_lsn(const char *name, const json_t *info, const char *lsn, const char *time)
{
	const char *text = member_string(json_object_get(info, "window"), time);

	printf("%-16s LSN %" PRIu64 "%s%s\n", name, member_number(info, lsn), *text ? ", of " : "", text);
}

static void print_history(const json_t *info)
{
	char a[TEXT_SIZE_MAX], b[TEXT_SIZE_MAX];

	print_lsn("oldest", info, "oldest_lsn", "oldest_time");
	print_lsn("newest", info, "newest_lsn", "newest_time");
	printf("on disk up to    LSN %" PRIu64 "%s\n", member_number(info, "durable_lsn"),
	       member_flag(info, "read_only") ? ", read-only" : "");
	printf("history          %s made, %s of it can be read\n",
	       text_size(member_number(info, "newest_lsn"), a),
	       text_size(member_number(info, "newest_lsn") - member_number(info, "oldest_lsn"), b));
}

static void print_window(const json_t *info)
{
	const json_t *window = json_object_get(info, "window");
	const struct store_window limits = {member_number(window, "time_ns"),
					    member_number(window, "bytes")};
	char text[WINDOW_TEXT_MAX];

	printf("window           %s, %" PRIu64 " LSNs pinned\n", window_format(&limits, text),
	       member_number(info, "pin_count"));
}

static void print_head(const json_t *info)
{
	const json_t *head = json_object_get(info, "head");
	char a[TEXT_SIZE_MAX];

	if (json_is_object(head))
		printf("head             %s in %" PRIu64 " inodes\n", member_size(head, "file_bytes", a),
		       member_number(head, "inode_count"));
}

static void print_layers(const json_t *info)
{
	const char *kind;
	json_t *sum;
	char a[TEXT_SIZE_MAX];

	printf("layers           %s on disk\n", member_size(info, "disk_bytes", a));
	json_object_foreach(json_object_get(info, "layers"), kind, sum) {
		if (member_number(sum, "count"))
			printf("  %-14s %" PRIu64 ", %s\n", kind, member_number(sum, "count"),
			       member_size(sum, "file_bytes", a));
	}
}

/* "3.1", or "-" for what is not known. */
static const char *factor(const json_t *object, const char *name, char out[TEXT_SIZE_MAX])
{
	const json_t *value = json_object_get(object, name);

	if (json_is_real(value))
		snprintf(out, TEXT_SIZE_MAX, "%.2f", json_real_value(value));
	else
		snprintf(out, TEXT_SIZE_MAX, "-");
	return out;
}

static void print_amplification(const json_t *info)
{
	const json_t *amplification = json_object_get(info, "amplification");
	char a[TEXT_SIZE_MAX];

	printf("a read visits    %" PRIu64 " runs of layers at most, never more than %" PRIu64
	       ", and applies %" PRIu64 " patches at most\n",
	       member_number(amplification, "read_runs"),
	       member_number(amplification, "read_runs_limit"),
	       member_number(amplification, "read_patches_limit"));
	printf("not merged yet   %" PRIu64 " runs; from %" PRIu64 " on writers are slowed, at %" PRIu64
	       " they wait\n",
	       member_number(info, "level_0_count"), member_number(info, "level_0_free"),
	       member_number(info, "level_0_limit"));
	if (member_flag(info, "mounted"))
		printf("a byte written   cost %s bytes on disk since mounted\n",
		       factor(amplification, "write", a));
	printf("a byte at head   takes %s bytes on disk\n", factor(amplification, "space", a));
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

static void print_compaction(const json_t *info)
{
	uint64_t error = member_number(info, "compaction_error");
	char a[TEXT_SIZE_MAX], b[TEXT_SIZE_MAX], c[TEXT_SIZE_MAX];

	printf("compaction       %s read, %s written, %s of versions dropped, %" PRIu64
	       " merges under way\n",
	       member_size(info, "merge_read_bytes", a), member_size(info, "merge_written_bytes", b),
	       member_size(info, "gc_dropped_bytes", c), member_number(info, "merge_count"));
	if (error)
		printf("                 its last attempt failed: %s\n", strerror((int)error));
}

static void print_daemon(const json_t *info)
{
	char a[TEXT_SIZE_MAX], b[TEXT_SIZE_MAX];

	printf("memory           %s index of the open layer, %s block cache\n",
	       member_size(info, "index_bytes", a), member_size(info, "cache_bytes", b));
	printf("the past         %" PRIu64 " files and directories known to the kernel, at most about %" PRIu64 "\n",
	       member_number(info, "past_node_count"), member_number(info, "past_node_limit"));
	printf("since mounted    %" PRIu64 " changes, %" PRIu64 " syncs, %" PRIu64 " freezes\n",
	       member_number(info, "commit_count"), member_number(info, "sync_count"),
	       member_number(info, "freeze_count"));
	printf("flushed          %s in %" PRIu64 " flushes of %" PRIu64 " ranges\n",
	       member_size(info, "flush_bytes", a), member_number(info, "flush_count"),
	       member_number(info, "flush_range_count"));
	print_compaction(info);
}

/* What the manifest says. */
static void print_closed(const json_t *info)
{
	char a[TEXT_SIZE_MAX];

	printf("LSNs             up to %" PRIu64 ", more if it was not unmounted\n",
	       member_number(info, "newest_lsn"));
	printf("layers           %" PRIu64 ", %s\n", member_number(info, "layer_count"),
	       member_size(info, "sealed_bytes", a));
}

static void print_info(const json_t *info)
{
	char a[TEXT_SIZE_MAX];

	printf("store            %s\n", member_string(info, "store"));
	printf("id               %s\n", member_string(info, "id"));
	print_mount(info);
	printf("format           version %" PRIu64 ", pages of %s\n",
	       member_number(info, "format_version"), member_size(info, "page_size_bytes", a));
	if (!json_object_get(info, "window")) {
		print_closed(info);
		return;
	}
	print_history(info);
	print_window(info);
	print_head(info);
	print_layers(info);
	print_amplification(info);
	if (member_flag(info, "mounted")) {
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
