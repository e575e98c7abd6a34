/*
 * Keeper: which versions a merge keeps, and in what form.
 *
 * What lies above the horizon is kept. Of what lies at or below it, a version is kept if it is the
 * newest at one of the retention's points (the horizon and the pins below it), and if
 * what it belongs to is seen there at all: hooks of the store's tell of inodes that are gone
 * and of blocks that were cut off.
 *
 * A merge that includes the oldest run there is goes to the *bottom*: only there may a tombstone go, and the
 * last attributes of a dead inode, for elsewhere they hide older versions. They stay
 * while an older version of theirs is kept for a pin.
 *
 * A kept version that is a patch over one that goes is written as an image.
 */
#ifndef VARVE_ENGINE_KEEPER_H
#define VARVE_ENGINE_KEEPER_H

#include "engine.h"
#include "pins.h"
#include "table_layer.h"

struct keeper;

/* @bottom: see above. @engine: to read what a patch lies over, and for the hooks. -ENOMEM. */
int keeper_open(struct engine *engine, const struct retention *retention, bool bottom,
		struct keeper **keeper_out);
void keeper_close(struct keeper *keeper);       /* NULL is ignored */

/* What is to become of a version: written to the callback, in the same order, perhaps in another form. */
typedef int keeper_emit_fn(void *context, const struct table_entry *entry);

/* The next version of the merge. Its payload is copied if it has to wait for the next one. 0;
 * -errno, also @emit's. */
int keeper_put(struct keeper *keeper, const struct table_entry *entry, keeper_emit_fn *emit,
	       void *context);
/* There are no more. As above. */
int keeper_end(struct keeper *keeper, keeper_emit_fn *emit, void *context);

/* What was dropped so far: versions, and bytes of their payloads. */
void keeper_dropped(const struct keeper *keeper, uint64_t *versions_out, uint64_t *bytes_out);

/* Bytes that are kept for the point at place @point of the retention and no other. */
uint64_t keeper_point_bytes(const struct keeper *keeper, uint32_t point);

#endif
