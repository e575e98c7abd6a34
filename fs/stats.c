#include "stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "census.h"
#include "front.h"
#include "info.h"
#include "prune.h"
#include "store.h"
#include "view.h"

/* Layers of one kind. */
struct kind_sum {
	uint64_t count, file_bytes;
};

enum { KIND_COUNT = STORE_LAYER_LOST + 1 };

static int add_layer(void *context, const struct store_layer *layer)
{
	struct kind_sum *sum = (struct kind_sum *)context + layer->kind;

	sum->count++;
	sum->file_bytes += layer->file_bytes;
	return 0;
}

static json_t *layers_json(const struct kind_sum sums[KIND_COUNT])
{
	json_t *object = json_object();

	for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
		struct store_layer layer = {.kind = (enum store_layer_kind)kind};

		json_object_set_new(object, info_layer_kind(&layer),
				    json_pack("{s:I, s:I}", "count", (json_int_t)sums[kind].count,
					      "file_bytes", (json_int_t)sums[kind].file_bytes));
	}
	return object;
}

static json_t *ratio(uint64_t part, uint64_t whole)
{
	return whole ? json_real((double)part / (double)whole) : json_null();
}

static json_t *head_json(const struct census_count *head, int err)
{
	if (err)
		return json_null();
	return json_pack("{s:I, s:I, s:I}", "inode_count", (json_int_t)head->inode_count, "file_bytes",
			 (json_int_t)head->file_bytes, "as_of_lsn", (json_int_t)head->at.value);
}

/* Bytes written for the history made since @start, and what a read may cost. Each byte of history
 * goes to the log once at least: by a flush, or else when its layer is sealed. */
static json_t *amplification_json(const struct store_usage *usage, struct lsn start,
				  uint64_t disk_bytes, const struct census_count *head)
{
	uint64_t made = usage->newest.value - start.value;
	uint64_t logged = usage->flush_bytes > made ? usage->flush_bytes : made;
	uint64_t written = logged + usage->merge_written_bytes;

	return json_pack("{s:I, s:I, s:I, s:o, s:o}", "read_runs", (json_int_t)usage->run_count,
			 "read_runs_limit", (json_int_t)usage->run_limit, "read_patches_limit",
			 (json_int_t)usage->patch_limit, "write", ratio(written, made),
			 "space", ratio(disk_bytes, head->file_bytes));
}

/* @more's members into @stats; both are used up. */
static json_t *joined(json_t *stats, json_t *more)
{
	if (!stats || !more || json_object_update(stats, more) != 0) {
		json_decref(stats);
		stats = NULL;
	}
	json_decref(more);
	return stats;
}

json_t *stats_of_store(struct store *store, struct census *census, struct lsn start)
{
	struct kind_sum sums[KIND_COUNT] = {0};
	struct census_count head = {0};
	struct store_usage usage;
	uint64_t disk_bytes = 0;
	int head_err;

	store_usage_get(store, &usage);
	store_each_layer(store, add_layer, sums);
	for (unsigned kind = 0; kind < KIND_COUNT; kind++)
		disk_bytes += sums[kind].file_bytes;
	head_err = census_get(census, &head);
	return joined(info_usage(store_path(store), &usage, true),
		      json_pack("{s:o, s:o, s:o, s:I, s:o}", "window", info_window(store), "head",
				head_json(&head, head_err), "layers", layers_json(sums), "disk_bytes",
				(json_int_t)disk_bytes, "amplification",
				amplification_json(&usage, start, disk_bytes, &head)));
}

json_t *stats_json(const struct front *front)
{
	return joined(stats_of_store(front->store, front->census, front->newest_at_start),
		      json_pack("{s:b, s:o, s:i, s:I, s:I, s:I}", "mounted", true, "mountpoint",
				info_string(front->mountpoint), "pid", (int)getpid(), "mounted_at",
				(json_int_t)front->mounted_at, "past_node_count",
				(json_int_t)view_node_count(front->view), "past_node_limit",
				(json_int_t)PRUNE_LIMIT));
}

/*
 * Metrics
 */

struct metric {
	const char *name;
	const char *type;       /* "gauge", or "counter", whose name ends in _total */
	const char *group;      /* an object in the stats; NULL: the stats themselves */
	const char *field;
	double scale;           /* 0: as it is */
	const char *help;
};

static const struct metric metrics[] = {
	{"varve_newest_lsn", "gauge", NULL, "newest_lsn", 0, "Newest LSN: bytes of history ever made."},
	{"varve_oldest_lsn", "gauge", NULL, "oldest_lsn", 0, "Oldest LSN that can be read."},
	{"varve_durable_lsn", "gauge", NULL, "durable_lsn", 0, "LSN up to which all is on disk."},
	{"varve_read_only", "gauge", NULL, "read_only", 0, "1 if the store takes no changes."},
	{"varve_window_seconds", "gauge", "window", "time_ns", 1e-9,
	 "How long history is kept; 0: no limit."},
	{"varve_window_bytes", "gauge", "window", "bytes", 0, "How much history is kept; 0: no limit."},
	{"varve_pins", "gauge", NULL, "pin_count", 0, "LSNs of the past that are held."},
	{"varve_disk_bytes", "gauge", NULL, "disk_bytes", 0, "Bytes of all layers on disk."},
	{"varve_head_file_bytes", "gauge", "head", "file_bytes", 0, "Sizes of all files at head."},
	{"varve_head_inodes", "gauge", "head", "inode_count", 0, "Inodes at head."},
	{"varve_arena_used_bytes", "gauge", NULL, "arena_used_bytes", 0, "History in the open layer."},
	{"varve_arena_dirty_bytes", "gauge", NULL, "arena_dirty_bytes", 0,
	 "History in the open layer that is not yet synced."},
	{"varve_index_bytes", "gauge", NULL, "index_bytes", 0, "Memory of the open layer's index."},
	{"varve_cache_bytes", "gauge", NULL, "cache_bytes", 0, "Memory of the block cache."},
	{"varve_past_nodes", "gauge", NULL, "past_node_count", 0,
	 "Files and directories of the past that the kernel knows."},
	{"varve_runs", "gauge", NULL, "run_count", 0, "Runs of layers: the most a read visits."},
	{"varve_runs_limit", "gauge", NULL, "run_limit", 0, "Runs there are never more than."},
	{"varve_patches_limit", "gauge", "amplification", "read_patches_limit", 0,
	 "Patches that one read applies, at most."},
	{"varve_unmerged_runs", "gauge", NULL, "level_0_count", 0, "Sealed layers that no merge took yet."},
	{"varve_unmerged_runs_free", "gauge", NULL, "level_0_free", 0,
	 "Unmerged runs from which on writers are slowed."},
	{"varve_unmerged_runs_limit", "gauge", NULL, "level_0_limit", 0,
	 "Unmerged runs at which writers wait."},
	{"varve_merges_running", "gauge", NULL, "merge_count", 0, "Merges of runs under way."},
	{"varve_compaction_error", "gauge", NULL, "compaction_error", 0,
	 "Error number of the last merge; 0: it went well."},
	{"varve_start_time_seconds", "gauge", NULL, "mounted_at", 0, "When the store was mounted."},
	{"varve_changes_total", "counter", NULL, "commit_count", 0, "Changes of the tree."},
	{"varve_syncs_total", "counter", NULL, "sync_count", 0, "Syncs asked for."},
	{"varve_flushes_total", "counter", NULL, "flush_count", 0, "Flushes of the open layer."},
	{"varve_flushed_bytes_total", "counter", NULL, "flush_bytes", 0, "Bytes flushed."},
	{"varve_freezes_total", "counter", NULL, "freeze_count", 0, "Layers frozen."},
	{"varve_merge_read_bytes_total", "counter", NULL, "merge_read_bytes", 0, "Bytes read by merges."},
	{"varve_merge_written_bytes_total", "counter", NULL, "merge_written_bytes", 0,
	 "Bytes written by merges."},
	{"varve_dropped_versions_total", "counter", NULL, "gc_dropped_versions", 0,
	 "Versions dropped that nothing kept."},
	{"varve_dropped_bytes_total", "counter", NULL, "gc_dropped_bytes", 0,
	 "Bytes of versions dropped that nothing kept."},
	{"varve_paced_seconds_total", "counter", NULL, "paced_ns", 1e-9,
	 "Time for which writers were slowed."},
};

static void put_metric_head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_value(FILE *out, const json_t *value, double scale)
{
	if (scale != 0)
		fprintf(out, " %.9g\n", json_number_value(value) * scale);
	else if (json_is_boolean(value))
		fprintf(out, " %d\n", json_is_true(value));
	else
		fprintf(out, " %" JSON_INTEGER_FORMAT "\n", json_integer_value(value));
}

/* What isn't known is left out. */
static void put_metric(FILE *out, const json_t *stats, const struct metric *metric)
{
	const json_t *group = metric->group ? json_object_get(stats, metric->group) : stats;
	const json_t *value = json_object_get(group, metric->field);

	if (!value || json_is_null(value))
		return;
	put_metric_head(out, metric->name, metric->type, metric->help);
	fputs(metric->name, out);
	put_value(out, value, metric->scale);
}

static void put_by_kind(FILE *out, json_t *stats, const char *name, const char *field, const char *help)
{
	const char *kind;
	json_t *sum;

	put_metric_head(out, name, "gauge", help);
	json_object_foreach(json_object_get(stats, "layers"), kind, sum) {
		fprintf(out, "%s{kind=\"%s\"}", name, kind);
		put_value(out, json_object_get(sum, field), 0);
	}
}

char *stats_metrics(json_t *stats)
{
	char *text = NULL;
	size_t size;
	FILE *out = stats ? open_memstream(&text, &size) : NULL;

	if (!out)
		return NULL;
	put_metric_head(out, "varve_info", "gauge", "The store and the program that serves it.");
	fprintf(out, "varve_info{id=\"%s\",version=\"" VARVE_VERSION "\"} 1\n",
		json_string_value(json_object_get(stats, "id")));
	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++)
		put_metric(out, stats, &metrics[i]);
	put_by_kind(out, stats, "varve_layers", "count", "Layers, by kind.");
	put_by_kind(out, stats, "varve_layer_bytes", "file_bytes",
		    "Bytes of layers on disk, by kind.");
	if (ferror(out) | fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}
