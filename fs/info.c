#include "info.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "store.h"
#include "tree.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

json_t *info_string(const char *text)
{
	json_t *string = json_string(text);

	if (string)
		return string;
	string = json_string("");
	for (; string && *text; text++) {
		char one[] = {(unsigned char)*text < 0x80 ? *text : '?', '\0'};
		json_t *longer = json_sprintf("%s%s", json_string_value(string), one);

		json_decref(string);
		string = longer;
	}
	return string;
}

struct number {
	const char *name;
	uint64_t value;
};

/* Add @numbers to @object, which is let go if that fails. */
static json_t *with_numbers(json_t *object, const struct number *numbers, size_t count)
{
	for (size_t i = 0; object && i < count; i++) {
		json_t *value = json_integer((json_int_t)numbers[i].value);

		if (json_object_set_new(object, numbers[i].name, value) != 0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

static json_t *with_nulls(json_t *object, const struct number *numbers, size_t count)
{
	for (size_t i = 0; object && i < count; i++) {
		if (json_object_set_new(object, numbers[i].name, json_null()) != 0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

json_t *info_usage(const char *store_path, const struct store_usage *usage, bool live)
{
	const struct number stored[] = {
		{"format_version", usage->format_version},
		{"page_size_bytes", usage->page_size_bytes},
		{"newest_lsn", usage->newest.value},
		{"durable_lsn", usage->durable.value},
		{"layer_count", usage->layer_count},
		{"sealed_bytes", usage->sealed_bytes},
	};
	const struct number known_when_open[] = {
		{"oldest_lsn", usage->oldest.value},
		{"inode_next", usage->inode_next},
		{"version_count", usage->version_count},
		{"arena_capacity_bytes", usage->arena_capacity_bytes},
		{"arena_used_bytes", usage->arena_used_bytes},
		{"arena_dirty_bytes", usage->arena_dirty_bytes},
		{"arena_framing_bytes", usage->arena_framing_bytes},
		{"arena_attr_bytes", usage->arena_attr_bytes},
		{"arena_name_bytes", usage->arena_name_bytes},
		{"arena_image_bytes", usage->arena_image_bytes},
		{"arena_patch_bytes", usage->arena_patch_bytes},
		{"index_bytes", usage->index_bytes},
		{"cache_bytes", usage->cache_bytes},
		{"memory_bytes", usage->memory_bytes},
		{"cache_budget_bytes", usage->cache_budget_bytes},
		{"recent_bytes", usage->recent_bytes},
		{"view_bytes", usage->view_bytes},
		{"merge_bytes", usage->merge_bytes},
		{"layer_size_bytes", usage->layer_size_bytes},
		{"frozen_max", usage->frozen_max},
		{"commit_count", usage->commit_count},
		{"sync_count", usage->sync_count},
		{"flush_count", usage->flush_count},
		{"flush_range_count", usage->flush_range_count},
		{"flush_bytes", usage->flush_bytes},
		{"freeze_count", usage->freeze_count},
	};
	json_t *object =
		json_pack("{s:o, s:s, s:o}", "store", info_string(store_path), "id", usage->id,
			  "read_only", live ? json_boolean(usage->read_only) : json_null());

	object = with_numbers(object, stored, COUNT_OF(stored));
	return live ? with_numbers(object, known_when_open, COUNT_OF(known_when_open))
		    : with_nulls(object, known_when_open, COUNT_OF(known_when_open));
}

static void time_format(struct tree_time time, char *out, size_t size_bytes)
{
	time_t seconds = (time_t)time.seconds;
	char date[40] = "";
	struct tm utc;

	if (gmtime_r(&seconds, &utc))
		strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(out, size_bytes, "%s.%09uZ", date, (unsigned)time.nanoseconds);
}

json_t *info_change(const struct tree_change *change)
{
	const struct number numbers[] = {
		{"size_bytes", change->size_bytes},
		{"size_before_bytes", change->size_before_bytes},
		{"mode", change->mode},
		{"mode_before", change->mode_before},
		{"nlink", change->nlink},
		{"nlink_before", change->nlink_before},
		{"uid", change->uid},
		{"uid_before", change->uid_before},
		{"gid", change->gid},
		{"gid_before", change->gid_before},
		{"pages_written", change->pages_written},
		{"data_bytes", change->data_bytes},
	};
	char time[64];
	json_t *object;

	time_format(change->time, time, sizeof(time));
	object = json_pack("{s:I, s:s, s:b, s:b, s:b, s:n, s:n}", "lsn",
			   (json_int_t)change->lsn.value, "time", time, "created", change->created,
			   "deleted", change->deleted, "times_set", change->times_set, "page_first",
			   "page_last");
	object = with_numbers(object, numbers, COUNT_OF(numbers));
	if (change->pages_written) {
		const struct number pages[] = {
			{"page_first", change->page_first},
			{"page_last", change->page_last},
		};
		object = with_numbers(object, pages, COUNT_OF(pages));
	}
	return object;
}

static json_t *number_or_null(uint64_t value, bool known)
{
	return known ? json_integer((json_int_t)value) : json_null();
}

static const char *key_kind_name(struct key key)
{
	switch (key_kind(key)) {
	case KEY_ATTR:
		return "attributes";
	case KEY_FLOOR:
		return "floors";
	case KEY_NAME:
		return "name";
	case KEY_PAGE:
		return "page";
	case KEY_TIME:
		return "time";
	}
	return "unknown";
}

json_t *info_finding(const struct finding *finding)
{
	bool harms = finding->until.value != 0;
	bool of_key = finding->key.ino != 0;
	bool page = of_key && key_kind(finding->key) == KEY_PAGE;
	bool placed = finding->layer_id && finding->size_bytes;

	return json_pack(
		"{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o}", "kind",
		finding_kind_name(finding->kind), "file", info_string(finding->file), "layer",
		number_or_null(finding->layer_id, finding->layer_id), "offset",
		number_or_null(finding->offset, placed), "size_bytes",
		number_or_null(finding->size_bytes, placed), "path", info_string(finding->path),
		"inode", number_or_null(finding->key.ino, of_key), "what",
		of_key ? json_string(key_kind_name(finding->key)) : json_null(), "page",
		number_or_null(key_index(finding->key), page), "damaged_from",
		number_or_null(finding->from.value, harms), "readable_from",
		number_or_null(finding->until.value,
			       harms && finding->until.value != FINDING_OPEN_END),
		"readable_before", number_or_null(finding->from.value, harms), "known",
		(int)finding->known, "text", info_string(finding->text));
}

json_t *info_check(const char *store_path, const struct store_check_result *result)
{
	const struct number numbers[] = {
		{"finding_count", result->finding_count},
		{"known_count", result->known_count},
		{"mended_count", result->mended_count},
		{"layer_count", result->layer_count},
		{"version_count", result->version_count},
		{"state_count", result->state_count},
		{"inode_count", result->inode_count},
		{"oldest_lsn", result->oldest.value},
		{"newest_lsn", result->newest.value},
	};
	const char *status = result->finding_count  ? "errors"
			     : result->mended_count ? "repaired"
						    : "clean";
	json_t *object = json_pack("{s:o, s:s}", "store", info_string(store_path), "status", status);

	return with_numbers(object, numbers, COUNT_OF(numbers));
}
