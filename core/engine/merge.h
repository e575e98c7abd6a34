/*
 * Merge: the versions of several adjacent runs, in (key, LSN) order.
 *
 * The runs' spans follow one another, so of one key all versions of an older run come
 * before those of a newer one: no two need to be compared by LSN.
 *
 * Log-order layers have their times in batch headers. The merge shows them as versions of
 * the key (KEY_TIME_INO, KEY_TIME), at most one a millisecond, which is how table
 * layers keep them.
 *
 * One thread. The layers must live; no guard is held or needed.
 */
#ifndef VARVE_ENGINE_MERGE_H
#define VARVE_ENGINE_MERGE_H

#include <stdint.h>

#include "layer.h"
#include "table_layer.h"

#define MERGE_INPUTS_MAX 256u
#define MERGE_TIME_STEP_NS 1000000      /* of batches nearer than this the first one's time is kept */

/* One run: its layers, ascending. */
struct merge_input {
	struct layer **layers;          /* borrowed */
	uint32_t count;
};

struct merge;

/*
 * The window through which each of @input_count runs may be read if all of them together are to take
 * @budget_bytes: at most as much as pays, and at least 16 KiB, however many there are.
 */
uint32_t merge_window_bytes(uint64_t budget_bytes, uint32_t input_count);
/* Memory that a run is read into, about: its cursor with such a window, and a block. */
uint64_t merge_input_bytes(uint32_t window_bytes);

/*
 * Begin with the first key >= @from. @inputs are in the order of their spans; they are
 * copied. 0 and *merge_out, freed by merge_close; -ENOMEM; -EBADMSG, -errno: a layer can't be read.
 */
int merge_open(const struct merge_input *inputs, uint32_t count, struct key from,
	       uint32_t window_bytes, struct merge **merge_out);

/*
 * The next version; its payload is valid until the next call. One whose bytes are damaged
 * comes as VERSION_LOST, without a payload. 0; 1: the end; -EBADMSG: versions are damaged and it is not
 * known which; -errno. After an error there is no going on.
 */
int merge_next(struct merge *merge, struct table_entry *entry_out);

/* Bytes that were read from the inputs so far. */
uint64_t merge_bytes(const struct merge *merge);

void merge_close(struct merge *merge);          /* NULL is ignored */

#endif
