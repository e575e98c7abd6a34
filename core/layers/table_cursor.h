/*
 * Cursors: every version of a layer in (key, LSN) order, for compaction, dumps and checks.
 *
 * A cursor reads ahead in large reads into buffers of its own, so that a walk does not
 * sweep the block cache. It needs no guard; the layer must live. One thread at a time.
 */
#ifndef VARVE_LAYERS_TABLE_CURSOR_H
#define VARVE_LAYERS_TABLE_CURSOR_H

#include <stdint.h>

#include "key.h"
#include "lsn.h"

struct layer;
struct table_cursor;

struct table_entry {
	struct key key;
	struct lsn lsn;
	uint64_t position;              /* version_position of a version of KEY_ATTR, else 0 */
	uint8_t form, weight;           /* enum version_form */
	uint32_t size_bytes;
	const uint8_t *payload;         /* valid until the next call; size_bytes of it */
};

/* As much in one read as pays. */
#define CURSOR_WINDOW_BYTES (512u << 10)

/* A walk of a table layer from the first key >= @from, by reads of @window_bytes, or of a block if that is more.
 * No I/O. 0 and *cursor_out; -ENOMEM. */
int table_cursor_open(struct layer *layer, struct key from, uint32_t window_bytes,
		      struct table_cursor **cursor_out);
/*
 * The next version. 0 and *entry_out; 1: there are no more; -EBADMSG, -EUCLEAN: a block is
 * damaged, and each call from now on says so again; -ENOMEM; other -errno, a call later may
 * do better.
 */
int table_cursor_next(struct table_cursor *cursor, struct table_entry *entry_out);
void table_cursor_close(struct table_cursor *cursor);   /* NULL is ignored */

#endif
