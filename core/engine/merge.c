#include "merge.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "sealed_cursor.h"

#define TIME_BYTES 8u
#define WINDOW_BYTES_MIN (16u << 10)
#define CURSOR_OTHER_BYTES (32u << 10)  /* of a cursor besides its window: a block, a part of a log */

struct batch_time {
	struct lsn lsn;
	int64_t time_ns;
};

/* One run as it is gone through. */
struct source {
	struct layer **layers;          /* owned; the pointers, not the layers */
	uint32_t count, at;             /* @at: the layer under the cursor */
	struct table_cursor *table;     /* one of the two, or none between layers */
	struct sealed_cursor *sealed;
	bool times_due;                 /* of a log-order layer: its times come first */
	struct batch_time *times;       /* owned */
	uint32_t time_count, time_room, time_at;
	uint8_t time_bytes[TIME_BYTES];
	struct table_entry head;        /* the next version; its payload lies in the cursor */
	bool ended;
};

struct merge {
	struct source *sources;
	uint32_t count;
	uint32_t current;               /* whose head was given out last; @count: none was */
	struct key from;
	uint32_t window_bytes;
	uint64_t bytes;
};

uint64_t merge_input_bytes(uint32_t window_bytes)
{
	return (uint64_t)window_bytes + CURSOR_OTHER_BYTES;
}

uint32_t merge_window_bytes(uint64_t budget_bytes, uint32_t input_count)
{
	uint64_t each = budget_bytes / (input_count ? input_count : 1);

	if (each >= merge_input_bytes(CURSOR_WINDOW_BYTES))
		return CURSOR_WINDOW_BYTES;
	if (each <= merge_input_bytes(WINDOW_BYTES_MIN))
		return WINDOW_BYTES_MIN;
	return (uint32_t)(each - CURSOR_OTHER_BYTES);
}

static const struct key time_key = { KEY_TIME_INO, (uint64_t)KEY_TIME << KEY_INDEX_BITS };

static int keep_time(void *context, struct lsn lsn, int64_t time_ns)
{
	struct source *source = context;
	const struct batch_time *last =
		source->time_count ? &source->times[source->time_count - 1] : NULL;

	/* The clock may have been set back; and any time may be in a file. */
	if (last && (time_ns < last->time_ns || (uint64_t)time_ns - (uint64_t)last->time_ns < MERGE_TIME_STEP_NS))
		return 0;
	if (source->time_count == source->time_room) {
		uint32_t room = source->time_room ? 2 * source->time_room : 256;
		struct batch_time *times = realloc(source->times, room * sizeof(*times));

		if (!times)
			return -ENOMEM;
		source->times = times;
		source->time_room = room;
	}
	source->times[source->time_count++] = (struct batch_time){ lsn, time_ns };
	return 0;
}

static void drop_times(struct source *source)
{
	free(source->times);
	source->times = NULL;
	source->time_count = source->time_room = source->time_at = 0;
}

/* The head is the next of the layer's times. 1: there are no more. */
static int next_time(struct source *source)
{
	const struct batch_time *time = &source->times[source->time_at];
	struct put_cursor c = put_cursor(source->time_bytes, TIME_BYTES);

	if (source->time_at == source->time_count) {
		drop_times(source);
		return 1;
	}
	source->time_at++;
	put_u64(&c, (uint64_t)time->time_ns);
	source->head = (struct table_entry){
		.key = time_key, .lsn = time->lsn, .form = VERSION_IMAGE,
		.size_bytes = TIME_BYTES, .payload = source->time_bytes,
	};
	return 0;
}

static int next_of_sealed(struct source *source)
{
	int err = sealed_cursor_next(source->sealed, &source->head);

	if (err == -EBADMSG && source->head.form) {
		source->head.form = VERSION_LOST;
		source->head.weight = 0;
		source->head.size_bytes = 0;
		source->head.payload = NULL;
		err = 0;
	}
	return err;
}

static void close_cursors(struct source *source)
{
	table_cursor_close(source->table);
	sealed_cursor_close(source->sealed);
	source->table = NULL;
	source->sealed = NULL;
}

static int open_cursor(const struct merge *merge, struct source *source)
{
	struct layer *layer = source->layers[source->at];

	if (layer->kind == LAYER_TABLE)
		return table_cursor_open(layer, merge->from, merge->window_bytes, &source->table);
	return sealed_cursor_open(layer, merge->from, merge->window_bytes, &source->sealed);
}

/* Load the times of a log-order layer, whose turn has come. */
static int start_times(struct source *source)
{
	source->times_due = false;
	return sealed_each_time(source->layers[source->at], keep_time, source);
}

/* Go on to the next version of a source, in its next layer if need be. 0 or -errno. */
static int source_next(struct merge *merge, struct source *source)
{
	int err = 1;

	if (source->times_due) {
		err = start_times(source);
		if (err)
			return err;
		err = 1;
	}
	if (source->times)
		err = next_time(source);
	while (err == 1) {
		if (source->at == source->count) {
			source->ended = true;
			return 0;
		}
		if (!source->table && !source->sealed) {
			err = open_cursor(merge, source);
			if (err)
				return err;
		}
		err = source->table ? table_cursor_next(source->table, &source->head)
				    : next_of_sealed(source);
		if (err == 1) {
			close_cursors(source);
			source->at++;
		}
	}
	if (!err)
		merge->bytes += source->head.size_bytes;
	return err;
}

/* A head that stands for the times of a layer that are still to be read: they are only when
 * it is their turn, for there may be many. */
static void promise_times(struct source *source)
{
	source->times_due = true;
	source->head = (struct table_entry){ .key = time_key };
}

static int source_open(struct merge *merge, struct source *source, const struct merge_input *input)
{
	source->layers = malloc((input->count + (size_t)1) * sizeof(struct layer *));
	if (!source->layers)
		return -ENOMEM;
	memcpy(source->layers, input->layers, input->count * sizeof(struct layer *));
	source->count = input->count;
	if (source->count && source->layers[0]->kind != LAYER_TABLE &&
	    key_compare(merge->from, time_key) <= 0) {
		promise_times(source);
		return 0;
	}
	return source_next(merge, source);
}

int merge_open(const struct merge_input *inputs, uint32_t count, struct key from,
	       uint32_t window_bytes, struct merge **merge_out)
{
	struct merge *merge = calloc(1, sizeof(*merge));
	int err = 0;

	*merge_out = NULL;
	if (!merge)
		return -ENOMEM;
	merge->from = from;
	merge->window_bytes = window_bytes;
	merge->current = count;
	merge->sources = calloc(count + (size_t)1, sizeof(*merge->sources));
	if (!merge->sources)
		err = -ENOMEM;
	for (; merge->count < count && !err; merge->count++)
		err = source_open(merge, &merge->sources[merge->count], &inputs[merge->count]);
	if (err) {
		merge_close(merge);
		return err;
	}
	*merge_out = merge;
	return 0;
}

void merge_close(struct merge *merge)
{
	if (!merge)
		return;
	for (uint32_t i = 0; i < merge->count; i++) {
		close_cursors(&merge->sources[i]);
		drop_times(&merge->sources[i]);
		free(merge->sources[i].layers);
	}
	free(merge->sources);
	free(merge);
}

/* The source with the lowest key, of several with it the one with the oldest span. */
static uint32_t choose(const struct merge *merge)
{
	uint32_t best = merge->count;

	for (uint32_t i = 0; i < merge->count; i++) {
		const struct source *source = &merge->sources[i];

		if (source->ended)
			continue;
		if (best == merge->count ||
		    key_compare(source->head.key, merge->sources[best].head.key) < 0)
			best = i;
	}
	return best;
}

int merge_next(struct merge *merge, struct table_entry *entry_out)
{
	struct source *source;
	struct key before = { 0, 0 };
	int err;

	if (merge->current < merge->count) {
		source = &merge->sources[merge->current];
		before = source->head.key;
		err = source_next(merge, source);
		if (err)
			return err;
	}
	/* One that goes on with the same key stays the one to be asked. */
	if (merge->current == merge->count || merge->sources[merge->current].ended ||
	    !key_equal(merge->sources[merge->current].head.key, before))
		merge->current = choose(merge);
	while (merge->current < merge->count && merge->sources[merge->current].times_due) {
		err = source_next(merge, &merge->sources[merge->current]);
		if (err)
			return err;
		merge->current = choose(merge);
	}
	if (merge->current == merge->count)
		return 1;
	*entry_out = merge->sources[merge->current].head;
	return 0;
}

uint64_t merge_bytes(const struct merge *merge)
{
	return merge->bytes;
}
