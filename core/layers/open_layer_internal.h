/*
 * Open layer, inside: what appending, recovery and rebuilding share.
 */
#ifndef VARVE_LAYERS_OPEN_LAYER_INTERNAL_H
#define VARVE_LAYERS_OPEN_LAYER_INTERNAL_H

#include "open_layer.h"

/* The least a version takes of the file: an entry head of 14 bytes and an empty
 * payload in the log, a record in the index. */
#define VERSION_BYTES_MIN (14u + LAYER_VERSION_BYTES)

static inline uint32_t open_layer_version_limit(const struct open_layer *layer)
{
	return (uint32_t)((layer->arena.capacity_bytes - LAYER_HEADER_BYTES) / VERSION_BYTES_MIN);
}

/* One without a file and an index, for open_layer_close. -ENOMEM. */
int open_layer_new(uint64_t layer_id, const struct store_identity *store, struct open_layer **layer_out);
/* An empty index for as many versions as the file can hold. -ENOMEM. */
int open_layer_make_index(struct open_layer *layer);

/* Sync the file by @sync_part, unless a sync of it has failed: the kernel tells that once for a descriptor, to whoever
 * happens to sync then, and the next sync would seem to have done all. 0 or -errno. */
int open_layer_sync(struct open_layer *layer, int (*sync_part)(struct open_layer *layer));

/* Take one entry of a published or recovered batch into index and account. */
void open_layer_take_entry(struct open_layer *layer, struct key key, const struct version_node *node);
/* Take the end of a batch: everything of it is in the index. */
void open_layer_take_end(struct open_layer *layer, uint64_t tail, uint64_t chain, int64_t time_ns);

#endif
