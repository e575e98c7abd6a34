/*
 * Layer map, inside: the chunks that runs of table layers are made of.
 *
 * A chunk never changes once its map is published. A run that changes is copied, which copies its list of
 * chunks, and so is the one chunk that changes: a layer more costs little however many there are.
 */
#ifndef VARVE_CATALOG_LAYER_MAP_INTERNAL_H
#define VARVE_CATALOG_LAYER_MAP_INTERNAL_H

#include "layer_map.h"

#define LAYER_CHUNK_MAX 512u

/* The first version a layer has: what it is found by. */
struct layer_bound {
	struct key key;
	struct lsn lsn;
};

/* The rest of what is known of it. */
struct layer_place {
	struct key last_key;
	uint64_t file_bytes;
	struct layer *layer;
};

struct layer_chunk {
	struct layer_map_part part;
	uint32_t count, room;
	struct layer_place *places;     /* behind the bounds */
	struct layer_bound bounds[];    /* ascending; apart, that a search touches few lines of the cache */
};

struct layer_run_chunk {
	struct layer_bound first;
	struct layer_chunk *chunk;
};

/* What layer_run.chunks points into. */
struct layer_chunk_list {
	struct layer_map_part part;
	struct layer_run_chunk chunks[];
};

#endif
