/*
 * Manifest, inside: a record in memory, its bytes (manifest_records.c), and what it does to
 * what the manifest says (manifest_state.c).
 */
#ifndef VARVE_CATALOG_MANIFEST_INTERNAL_H
#define VARVE_CATALOG_MANIFEST_INTERNAL_H

#include <stddef.h>

#include "manifest.h"

#define MANIFEST_HEADER_BYTES 64u

/* On disk. */
enum record_type {
	RECORD_LAYER_OPENED = 1,
	RECORD_LAYER_SEALED = 2,
	RECORD_LAYER_DROPPED = 3,
	RECORD_DURABLE = 4,
	RECORD_PIECE = 5,
	RECORD_WINDOW = 6,
	RECORD_OLDEST = 7,
	RECORD_TAG = 8,
	RECORD_LOST = 9,
	/* of a rewrite: */
	RECORD_RUN = 10,                /* a run, or more tables of the one before; of level 0 its from and into */
	RECORD_IDS = 11,                /* ids below were given out */
	RECORD_INODES = 12,             /* inode numbers below were given out */
};

struct record {
	enum record_type type;
	uint64_t id;                    /* opened, dropped, lost, ids */
	struct lsn lsn;                 /* durable, oldest, tag */
	uint64_t window_ns, window_bytes;
	struct manifest_run run;        /* sealed, run; with its tables from layers[0] on */
	struct manifest_piece piece;
	const char *name;               /* tag; @name_bytes, no zero behind */
	uint32_t name_bytes;
	struct table_summary *fresh;    /* from record_check to record_apply: room for the tables of a new run */
};

/* What a decoded record's arrays lie in: one for all records of a file. */
struct record_room {
	uint64_t *inputs;
	struct table_summary *layers;
	uint32_t input_room, layer_room;
};

/* ---- bytes ---- */

void header_encode(const struct manifest *manifest, uint8_t out[MANIFEST_HEADER_BYTES]);
/* 0; -EUCLEAN; -EMEDIUMTYPE; -EPROTONOSUPPORT. */
int header_decode(struct manifest *manifest, const uint8_t *bytes, size_t size_bytes,
		  struct report *report);

uint32_t record_size(const struct record *record);
/* @out: record_size bytes. Returns the chain behind it. */
uint64_t record_encode(const struct record *record, uint64_t chain_before, uint8_t *out);
/* 0, *size_out and *chain_out; 1: nothing more; -EUCLEAN: bytes that are no record; -ENOMEM. */
int record_decode(const uint8_t *at, const uint8_t *end, uint64_t chain_before, struct record_room *room,
		  struct record *record_out, uint32_t *size_out, uint64_t *chain_out);
void record_room_destroy(struct record_room *room);
/* A record that does not check begins at @at: can it be one that was not written to its end? */
bool record_is_torn_end(const uint8_t *at, const uint8_t *end);

/* ---- what they say ---- */

/* Room for what @record says, and does it follow? 0; -ENOMEM; -EUCLEAN. If it is not applied then,
 * record->fresh is to be freed. */
int record_check(struct manifest *manifest, struct record *record);
/* Do what it says. It was checked. */
void record_apply(struct manifest *manifest, struct record *record);
/* @layers, to come behind @before (may be NULL), are in order, within their span, >= @from and < @upto. */
bool layers_are_sane(const struct table_summary *before, const struct table_summary *layers, uint32_t count,
		     struct key from, struct key upto);
/* All of it together, behind the last record. 0 or -EUCLEAN. */
int manifest_check_runs(const struct manifest *manifest);
/* How many records a rewrite takes, as record_count counts. */
uint64_t manifest_needed(const struct manifest *manifest);
/* What record_count grows by with a record. */
uint64_t record_weight(const struct record *record);
void manifest_free_state(struct manifest *manifest);

/* ---- what rules and state share ---- */

/* The first run that is not before (@start, @run_id). */
uint32_t state_runs_from(const struct manifest *manifest, struct lsn start, uint64_t run_id);
struct manifest_run *state_run(const struct manifest *manifest, uint64_t run_id);
const struct table_summary *state_last_layer(const struct manifest_run *run);        /* NULL: it has none */
bool state_id_is_new(const struct manifest *manifest, uint64_t id);
/* Are they new, no two the same, and none that of the run they are of? There is room for them among the ids. */
bool state_layer_ids_are_new(struct manifest *manifest, uint64_t run_id, const struct table_summary *layers,
			     uint32_t count);
/* Tables of @run wholly below @from leave. */
void state_run_trim(struct manifest *manifest, struct manifest_run *run, struct key from);
/* Where the tag is, or would be. */
uint32_t state_tag_place(const struct manifest *manifest, const char *name, uint32_t name_bytes, bool *there);
/* Room for one more, or @count. -ENOMEM. */
int state_make_run_room(struct manifest *manifest);
int state_make_open_room(struct manifest *manifest);
int state_make_tag_room(struct manifest *manifest);
int state_make_layer_room(struct manifest_run *run, uint32_t count);

#endif
