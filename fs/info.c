#include "info.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>


#include "check.h"
#include "store.h"
#include "text.h"
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
		{"cache_waiting_bytes", usage->cache_waiting_bytes},
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
		{"run_count", usage->run_count},
		{"run_limit", usage->run_limit},
		{"level_0_count", usage->level_0_count},
		{"level_0_free", usage->level_0_free},
		{"level_0_limit", usage->level_0_limit},
		{"merge_count", usage->merge_count},
		{"compaction_error", (uint64_t)abs(usage->compaction_error)},
		{"table_count", usage->table_count},
		{"table_bytes", usage->table_bytes},
		{"merge_read_bytes", usage->merge_read_bytes},
		{"merge_written_bytes", usage->merge_written_bytes},
		{"piece_count", usage->piece_count},
		{"gc_dropped_versions", usage->gc_dropped_versions},
		{"gc_dropped_bytes", usage->gc_dropped_bytes},
		{"paced_ns", usage->paced_ns},
		{"pin_count", usage->pin_count},
	};
	json_t *object =
		json_pack("{s:o, s:s, s:o}", "store", info_string(store_path), "id", usage->id,
			  "read_only", live ? json_boolean(usage->read_only) : json_null());

	object = with_numbers(object, stored, COUNT_OF(stored));
	return live ? with_numbers(object, known_when_open, COUNT_OF(known_when_open))
		    : with_nulls(object, known_when_open, COUNT_OF(known_when_open));
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
		{"pages_dropped", change->pages_dropped},
	};
	char time[TEXT_TIME_MAX];
	json_t *object;

	text_time(change->time.seconds * INT64_C(1000000000) + change->time.nanoseconds, time);
	object = json_pack("{s:I, s:s, s:b, s:b, s:b, s:b, s:n, s:n}", "lsn",
			   (json_int_t)change->lsn.value, "time", time, "created", change->created,
			   "deleted", change->deleted, "times_set", change->times_set, "xattrs_set",
			   change->xattrs_set, "page_first", "page_last");
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
	case KEY_XATTR:
		return "extended attribute";
	case KEY_PAGE:
		return "page";
	case KEY_MAP:
		return "page map";
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

/*
 * The history
 */

static json_t *time_or_null(struct store *store, struct lsn lsn)
{
	char text[TEXT_TIME_MAX];
	int64_t time_ns;

	if (store_lsn_time(store, lsn, &time_ns) != 0)
		return json_null();
	return json_string(text_time(time_ns, text));
}

static int add_pin(void *context, struct lsn lsn, uint32_t count)
{
	json_t *pin = json_pack("{s:I, s:I}", "lsn", (json_int_t)lsn.value, "count", (json_int_t)count);

	return json_array_append_new(context, pin) ? -ENOMEM : 0;
}

json_t *info_window(struct store *store)
{
	struct store_window limits;
	struct lsn oldest, newest;
	json_t *pins = json_array();

	store_window_limits(store, &limits);
	store_window(store, &oldest, &newest);
	if (store_each_pin(store, add_pin, pins) != 0) {
		json_decref(pins);
		pins = NULL;
	}
	return json_pack("{s:I, s:I, s:I, s:o, s:I, s:o, s:o}", "time_ns",
			 (json_int_t)limits.time_ns, "bytes", (json_int_t)limits.bytes, "oldest_lsn",
			 (json_int_t)oldest.value, "oldest_time", time_or_null(store, oldest),
			 "newest_lsn", (json_int_t)newest.value, "newest_time",
			 time_or_null(store, newest), "pins", pins);
}

json_t *info_gc(const struct store_gc *gc, bool dry)
{
	uint64_t freed = gc->bytes_before > gc->bytes_after ? gc->bytes_before - gc->bytes_after : 0;
	const struct number numbers[] = {
		{"dropped_versions", gc->dropped_versions},
		{"dropped_bytes", gc->dropped_bytes},
		{"bytes_before", gc->bytes_before},
		{"bytes_after", gc->bytes_after},
		{"freed_bytes", freed},
	};
	json_t *pins = json_array();

	for (uint32_t i = 0; i < gc->pin_count; i++)
		json_array_append_new(pins, json_pack("{s:I, s:I}", "lsn",
						      (json_int_t)gc->pins[i].lsn.value, "bytes",
						      (json_int_t)gc->pins[i].bytes));
	return with_numbers(json_pack("{s:b, s:o}", "dry_run", dry, "pins", pins), numbers,
			    COUNT_OF(numbers));
}

const char *info_layer_kind(const struct store_layer *layer)
{
	static const char *const names[] = {
		[STORE_LAYER_OPEN] = "open",   [STORE_LAYER_SEALED] = "sealed",
		[STORE_LAYER_DELTA] = "delta", [STORE_LAYER_IMAGE] = "image",
		[STORE_LAYER_LOST] = "lost",
	};

	return names[layer->kind];
}

static json_t *info_key(const struct store_key *key)
{
	return json_pack("{s:I, s:s, s:I}", "inode", (json_int_t)key->ino, "what",
			 key_kind_name(key_make(key->ino, key->kind, 0)), "index",
			 (json_int_t)key->index);
}

json_t *info_layer(const struct store_layer *layer)
{
	bool by_key = layer->kind == STORE_LAYER_DELTA || layer->kind == STORE_LAYER_IMAGE;
	char file[40];

	snprintf(file, sizeof(file), "layers/%016llx.layer", (unsigned long long)layer->id);
	return json_pack("{s:I, s:s, s:I, s:s, s:I, s:I, s:I, s:o, s:o, s:b, s:I, s:o, s:o}", "id",
			 (json_int_t)layer->id, "file", file, "run", (json_int_t)layer->run_id,
			 "kind", info_layer_kind(layer), "level", (json_int_t)layer->level,
			 "start_lsn", (json_int_t)layer->start.value, "end_lsn",
			 (json_int_t)layer->end.value, "first_key",
			 by_key ? info_key(&layer->first) : json_null(), "last_key",
			 by_key ? info_key(&layer->last) : json_null(), "merging", layer->merging,
			 "file_bytes", (json_int_t)layer->file_bytes, "key_count",
			 number_or_null(layer->key_count, layer->key_count), "version_count",
			 number_or_null(layer->version_count, layer->version_count));
}

/* As core/FORMAT.md numbers them. */
static const char *form_name(uint8_t form)
{
	static const char *const names[] = {"unknown", "image", "patch", "tombstone", "lost"};

	return names[form < COUNT_OF(names) ? form : 0];
}

json_t *info_version(const struct store_version *version)
{
	return json_pack("{s:I, s:I, s:o, s:s, s:I, s:I}", "lsn", (json_int_t)version->lsn.value,
			 "layer", (json_int_t)version->layer_id, "key", info_key(&version->key),
			 "form", form_name(version->form), "weight", (json_int_t)version->weight,
			 "size_bytes", (json_int_t)version->size_bytes);
}
