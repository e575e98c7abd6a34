/*
 * Info: what a store and a change are, as JSON. The daemon sends it and the
 * commands print it, so that one place names the fields.
 */
#ifndef VARVE_FS_INFO_H
#define VARVE_FS_INFO_H

#include <jansson.h>
#include <stdbool.h>

struct store;
struct store_gc;
struct store_layer;
struct store_usage;
struct store_version;
struct tree_change;
struct finding;
struct store_check_result;

/* Each call returns a new reference, or NULL for want of memory. */

/* JSON is UTF-8, a path need not be: bytes beyond ASCII become '?' in one that isn't. */
json_t *info_string(const char *text);

/* Every field of @usage under its own name, LSNs as numbers. Without @live, it
 * comes from store_peek, and what only an open store knows is null. */
json_t *info_usage(const char *store_path, const struct store_usage *usage, bool live);

/* Every field of @change, its time in RFC 3339; null where there is nothing to tell. */
json_t *info_change(const struct tree_change *change);

/* Every field of @finding; null where there is nothing to tell: "readable_before" and
 * "readable_from" are the LSNs around the damage. */
json_t *info_finding(const struct finding *finding);

/* What a check counted; "status" is "clean", "repaired" or "errors". */
json_t *info_check(const char *store_path, const struct store_check_result *result);

/* The window's limits, what can be read now, and what is pinned below. */
json_t *info_window(struct store *store);

/* Every field of @gc; "freed_bytes" is what its files take less on disk. */
json_t *info_gc(const struct store_gc *gc, bool dry);

/* Every field; null where nothing is known. */
json_t *info_layer(const struct store_layer *layer);
json_t *info_version(const struct store_version *version);

/* "open", "sealed", "delta", "image", "lost" */
const char *info_layer_kind(const struct store_layer *layer);

#endif
