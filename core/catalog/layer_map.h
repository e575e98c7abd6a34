/*
 * Layer map: which layers there are, as runs, and where in a run a key is.
 *
 * A run is a stretch of the history, (start, end]. A run of level 0 is one open, frozen or
 * sealed layer, of all keys; one of a level above has table layers, ascending by
 * (key, LSN). While a merge is under way its output and its inputs are both
 * in the map: the keys below the inputs' @from are in the output, the others in the inputs.
 *
 * A published map never changes. An edit builds the next one and swaps it in; what both
 * have in common they share. An old map, and what only it names, lives until the last
 * guard that could see it is dropped. (Guards instead of counted copies: Neon's issue 657.)
 * The layers themselves are the caller's.
 *
 * Editing: one caller at a time, from begin to publish. Reading: any thread, under a guard.
 */
#ifndef VARVE_CATALOG_LAYER_MAP_H
#define VARVE_CATALOG_LAYER_MAP_H

#include "layer.h"
#include "manifest.h"

struct layer_run_chunk;

/* What maps share, and one of them frees. */
struct layer_map_part {
	struct layer_map_part *next;
	bool fresh;                     /* of an edit that is not published */
};

struct layer_run {
	struct layer_map_part part;
	uint64_t id;
	uint32_t level;
	struct lsn start, end;          /* end: of an open or frozen layer LSN_HEAD */
	struct key from;                /* its layers are looked at for keys >= this alone */
	uint64_t layer_count, file_bytes;       /* file_bytes: of table layers; 0 at level 0 */
	bool lost;                      /* the file of a layer of it is gone for good */
	struct layer *layer;            /* level 0: the one; NULL if it is lost */
	struct layer_run_chunk *chunks; /* level > 0: ascending (layer_map_internal.h) */
	uint32_t chunk_count, chunk_room;
};

struct layer_map {
	struct guard_garbage garbage;
	struct layer_map_part *dead;    /* what goes with it */
	uint32_t run_count;
	struct layer_run *runs[];       /* ascending by (start, id) */
};

/* The place from which the current map is reached. */
struct layer_maps {
	_Atomic(struct layer_map *) current;
	bool alone;             /* no guard is or will be taken: what is replaced is freed at once */
};

int layer_maps_init(struct layer_maps *maps);           /* an empty map; -ENOMEM */
/* Free the current map, not its layers. No guard is held. */
void layer_maps_destroy(struct layer_maps *maps);

struct layer_guard {
	const struct layer_map *map;
};

/* Pin the current map and its layers. Cannot fail. Any thread; drop it on the same thread. */
void layer_guard_take(struct layer_guard *guard, struct layer_maps *maps);
void layer_guard_drop(struct layer_guard *guard);

/* ---- looking up ---- */

/* How many runs, from the oldest, can hold versions at or below @lsn. O(log runs). */
uint32_t layer_map_reach(const struct layer_map *map, struct lsn lsn);

/* The one layer of @run that can hold the newest version of @key at or below @lsn; NULL: none can.
 * Of a run of level 0: its layer. O(log layers). */
struct layer *layer_run_find(const struct layer_run *run, struct key key, struct lsn lsn);

/* Call @fn with each layer of @run that may hold keys of [@low, @high], ascending. Stops at the
 * first result that is not 0 and returns it. */
typedef int layer_fn(void *context, struct layer *layer);
int layer_run_each(const struct layer_run *run, struct key low, struct key high, layer_fn *fn,
		   void *context);

/* Call @fn with every layer of the map. As above. */
int layer_map_each(const struct layer_map *map, layer_fn *fn, void *context);

/* ---- editing ---- */

/*
 * The next map, being built from the current one. Begin; then any number of changes; then
 * publish or abort, not both. A change that fails (-ENOMEM) is to be followed by abort:
 * nothing has changed then. Publishing can't fail.
 */
struct layer_map_edit {
	struct layer_maps *maps;
	struct layer_map *next;
	uint32_t run_room;
	struct layer_map_part *fresh, *dead;
	/* Input layers that pieces have put out of the map. Once published the array is the
	 * caller's, to be freed by free(); the layers, as ever, are too. Runs' order, oldest first: to be
	 * unlinked in that order. */
	struct layer **gone;
	uint32_t gone_count, gone_room;
};

int layer_map_edit_begin(struct layer_maps *maps, struct layer_map_edit *edit);        /* -ENOMEM */

/* Add a run of level 0. */
int layer_map_edit_add(struct layer_map_edit *edit, struct layer *layer, uint64_t id, struct lsn start,
		       struct lsn end);

/* Put @after in the place of @before, a layer of level 0 that is there: an open one was sealed. The
 * run's id stays. */
int layer_map_edit_replace(struct layer_map_edit *edit, struct layer *before, struct layer *after,
			   struct lsn end);

/* Add a run as the manifest has it. @layers: of each of its tables one, in order; of a run of level 0
 * one, or NULL if it is lost. */
int layer_map_edit_run(struct layer_map_edit *edit, const struct manifest_run *run,
		       struct layer *const *layers);

/*
 * A piece of a merge is done: @layers, of each of piece->layers one, go behind what the output run
 * has (it is made if it is not there); the inputs are trimmed to the keys >= piece->upto, or leave
 * if it is the last. The manifest takes such a piece: what doesn't make sense is refused there.
 */
int layer_map_edit_piece(struct layer_map_edit *edit, const struct manifest_piece *piece,
			 struct layer *const *layers);

void layer_map_edit_publish(struct layer_map_edit *edit);
void layer_map_edit_abort(struct layer_map_edit *edit);

/* The two edits of one step that writing needs. -ENOMEM: nothing changed. */
int layer_maps_add(struct layer_maps *maps, struct layer *layer, uint64_t id, struct lsn start,
		   struct lsn end);
int layer_maps_replace(struct layer_maps *maps, struct layer *before, struct layer *after,
		       struct lsn end);

#endif
