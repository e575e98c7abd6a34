/*
 * Sealed cursor: every version of a sealed layer, which is in the order of its log, in
 * (key, LSN) order, for compaction; and the time of each of its batches.
 *
 * Index blocks come in large reads into buffers of the cursor's own, payloads by pread, each
 * verified. It needs no guard; the layer must live. One thread at a time.
 */
#ifndef VARVE_LAYERS_SEALED_CURSOR_H
#define VARVE_LAYERS_SEALED_CURSOR_H

#include "layer.h"
#include "table_cursor.h"

struct sealed_cursor;

/* From the first key >= @from, its index read by reads of @window_bytes together, or of a block if that is more
 * (CURSOR_WINDOW_BYTES). 0 and *cursor_out; -EBADMSG or -EUCLEAN: the index is damaged; -ENOMEM;
 * other -errno. */
int sealed_cursor_open(struct layer *layer, struct key from, uint32_t window_bytes,
		       struct sealed_cursor **cursor_out);
/*
 * The next version, its payload verified. 0 and *entry_out; 1: there are no more; -EBADMSG with
 * entry_out->form not 0: the version's payload is damaged and NULL, all else is known, and the
 * next call goes on behind it; -EBADMSG or -EUCLEAN with form 0: the index is damaged, here the walk
 * ends; -ENOMEM; other -errno.
 */
int sealed_cursor_next(struct sealed_cursor *cursor, struct table_entry *entry_out);
void sealed_cursor_close(struct sealed_cursor *cursor); /* NULL is ignored */

/* Call @fn with LSN and time of each batch, ascending, by one sequential read of the log.
 * Stops at the first result that is not 0 and returns it. -EBADMSG: from some batch on, heads of the
 * log are damaged; -ENOMEM; other -errno. */
typedef int sealed_time_fn(void *context, struct lsn lsn, int64_t time_ns);
int sealed_each_time(struct layer *layer, sealed_time_fn *fn, void *context);

/* The same of a layer that is not sealed yet, up to the batch published last. */
struct open_layer;
int open_each_time(struct open_layer *layer, sealed_time_fn *fn, void *context);

#endif
