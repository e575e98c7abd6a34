/*
 * Runs: a history of versions in layers of dummies, sealed and merged at random, kept in a manifest and a map, with
 * a plain list of all versions beside it.
 *
 * The layers are lists in memory. Merges go piece by piece, several at once, and collect garbage as compaction
 * does: at or below the horizon only the newest version of a key is kept, and of the oldest run no tombstone.
 */
#ifndef VARVE_TESTS_TEST_RUNS_H
#define VARVE_TESTS_TEST_RUNS_H

#include "layer_map.h"
#include "manifest.h"
#include "test_support.h"

enum { RUNS_KEYS = 48, RUNS_LAYERS_MAX = 65536, RUNS_MERGES_MAX = 3, RUNS_INPUTS_MAX = 6 };

struct runs_version {
	unsigned key;                   /* number of it */
	uint64_t lsn;
	bool tombstone;
};

struct runs_layer {
	struct layer base;
	struct table_summary summary;   /* of a table; of a sealed layer only its end */
	struct runs_version *versions;  /* by key, then LSN */
	unsigned count;
	_Atomic uint64_t alive;         /* RUNS_ALIVE while it is */
};

#define RUNS_ALIVE UINT64_C(0xa11f3)

struct runs_merge {
	uint64_t run_id, inputs[RUNS_INPUTS_MAX];
	uint32_t level, input_count;    /* level 0: none is under way here */
	struct lsn start, end;
	unsigned upto;                  /* number of the first key that is not merged */
	uint32_t number;                /* of the next table */
	struct lsn horizon;
};

struct runs_world {
	struct prng prng;
	struct manifest manifest;       /* open, writable */
	struct layer_maps maps;
	struct runs_version *history;   /* all there ever were, by LSN */
	unsigned history_count, history_room;
	struct runs_layer **layers;     /* by id; NULL: not there */
	struct runs_merge merges[RUNS_MERGES_MAX];
	struct lsn end, horizon;
	uint64_t next_id;
	uint64_t gone_count;            /* layers that merges have put away */
	bool exact;                     /* each piece ends just behind its last table */
	/* Put away by the last piece: the files may be there still, those of the oldest runs first to go. */
	uint64_t *leftover;
	uint32_t leftover_count;
};

struct key runs_key(unsigned number);

/* @manifest was made in @dir_fd. */
void runs_start(struct runs_world *world, int dir_fd, uint64_t seed);
void runs_stop(struct runs_world *world);

/* One thing: a layer is sealed, the horizon rises, a merge begins, or one goes on by a piece. */
void runs_step(struct runs_world *world);

/* What a piece that is under way has written when its process is killed: tables that the manifest does not
 * name. They are added to @found, *count of them. 0: no merge is under way. */
void runs_write_half_piece(struct runs_world *world, struct table_summary *found, uint32_t *count);
/* Files that are no more: those that neither the manifest names nor the last piece has put away. */
void runs_sweep(struct runs_world *world);

/* The newest version of a key at or below @lsn: by the history; 0: none, or a tombstone. */
uint64_t runs_truth(const struct runs_world *world, unsigned key, struct lsn lsn);
/* By a map, as the engine looks. */
uint64_t runs_look(const struct layer_map *map, unsigned key, struct lsn lsn);
/* Each key at the moments that can be read. */
void runs_check_map(struct runs_world *world, const struct layer_map *map);
/* Each key is in one run of each moment; with @gaps, in one at most. */
void runs_check_manifest(const struct runs_world *world, const struct manifest *manifest, bool gaps);

/* A new map of what @manifest says. */
void runs_build_map(const struct runs_world *world, const struct manifest *manifest, struct layer_maps *maps);

/* Do they say the same? */
void runs_assert_same(const struct manifest *a, const struct manifest *b);

#endif
