#include "table_cursor.h"

#include <errno.h>
#include <stdlib.h>

#include "table_layer_internal.h"

struct table_cursor {
	struct table_layer *layer;
	struct key from;
	uint32_t window_most;           /* bytes read at once, if a block is not more */
	const struct table_shape *shape;        /* NULL: not begun */
	uint8_t fences[LAYER_BLOCK_BYTES];      /* the fence block that is there */
	uint32_t fence_block;           /* its index; UINT32_MAX: none */
	uint32_t number;                /* of the block that comes next */
	uint8_t *window;                /* part of the file as it is stored */
	uint64_t window_at, window_bytes, window_room;
	uint8_t *bytes;                 /* the block at hand, decoded */
	uint32_t bytes_room;
	struct table_block block;
	uint32_t key_number, version_number;    /* in it, of the version that comes next */
	struct key key;                 /* of the version before */
	struct lsn lsn;                 /* ... value 0: there was none */
};

int table_cursor_open(struct layer *layer, struct key from, uint32_t window_bytes,
		      struct table_cursor **cursor_out)
{
	struct table_cursor *cursor = calloc(1, sizeof(*cursor));

	*cursor_out = cursor;
	if (!cursor)
		return -ENOMEM;
	cursor->layer = as_table(layer);
	cursor->from = from;
	cursor->window_most = window_bytes;
	cursor->fence_block = UINT32_MAX;
	return 0;
}

void table_cursor_close(struct table_cursor *cursor)
{
	if (!cursor)
		return;
	free(cursor->window);
	free(cursor->bytes);
	free(cursor);
}

static int load_fence_block(struct table_cursor *cursor, const struct table_shape *shape,
			    uint32_t index)
{
	int err = 0;

	if (cursor->fence_block == index)
		return 0;
	cursor->fence_block = UINT32_MAX;
	err = table_read_index_block(cursor->layer, shape->fence_block + index, cursor->fences);
	if (!err)
		cursor->fence_block = index;
	return err;
}

/* Find the block to begin with: the last that begins at or below the first version of @from. */
static int seek(struct table_cursor *cursor, const struct table_shape *shape)
{
	uint32_t low = 0, high = shape->top_block - shape->fence_block, below;
	struct lsn none = lsn_make(0);
	int err = 0;

	while (high - low > 1 && !err) {
		uint32_t middle = low + (high - low) / 2;

		err = load_fence_block(cursor, shape, middle);
		if (!err && table_count_at_or_below(cursor->fences, 1, TABLE_FENCE_BYTES,
						    cursor->from, none))
			low = middle;
		else
			high = middle;
	}
	if (!err)
		err = load_fence_block(cursor, shape, low);
	if (err)
		return err;
	below = table_count_at_or_below(cursor->fences, table_fences_in_block(shape, low),
					TABLE_FENCE_BYTES, cursor->from, none);
	cursor->number = low * TABLE_FENCES_PER_BLOCK + (below ? below - 1 : 0);
	return 0;
}

static int begin(struct table_cursor *cursor)
{
	const struct table_shape *shape;
	int err = table_layer_shape(cursor->layer, &shape);

	if (!err)
		err = seek(cursor, shape);
	if (!err)
		cursor->shape = shape;
	return err;
}

static int make_room(uint8_t **bytes, uint64_t size_bytes)
{
	free(*bytes);
	*bytes = malloc(size_bytes);
	return *bytes ? 0 : -ENOMEM;
}

/* The stored bytes of a block, with what lies behind it for the next. */
static int read_stored(struct table_cursor *cursor, const struct table_fence *fence,
		       const uint8_t **stored_out)
{
	uint64_t left = cursor->shape->data_end - fence->offset;
	uint64_t count = left < cursor->window_most ? left : cursor->window_most;
	int err = 0;

	if (fence->offset < cursor->window_at || fence->offset + fence->stored_bytes >
							cursor->window_at + cursor->window_bytes) {
		if (count < fence->stored_bytes)
			count = fence->stored_bytes;
		if (count > cursor->window_room) {
			cursor->window_room = 0;
			err = make_room(&cursor->window, count);
			cursor->window_room = err ? 0 : count;
		}
		cursor->window_bytes = 0;
		if (!err)
			err = table_read(cursor->layer, cursor->window, count, fence->offset);
		if (err)
			return err;
		cursor->window_at = fence->offset;
		cursor->window_bytes = count;
	}
	*stored_out = cursor->window + (fence->offset - cursor->window_at);
	return 0;
}

/* What a block begins with must lie above all before it. */
static bool follows(const struct table_cursor *cursor, const struct table_fence *fence)
{
	int order = key_compare(cursor->key, fence->key);

	return cursor->lsn.value == 0 || order < 0 ||
	       (order == 0 && cursor->lsn.value < fence->lsn.value);
}

static int load_block(struct table_cursor *cursor)
{
	uint32_t number = cursor->number;
	const uint8_t *stored;
	struct table_fence fence;
	int err = load_fence_block(cursor, cursor->shape, number / TABLE_FENCES_PER_BLOCK);

	if (!err)
		err = table_fence_decode(cursor->fences + number % TABLE_FENCES_PER_BLOCK *
								  TABLE_FENCE_BYTES,
					 cursor->shape->data_end, &fence);
	if (!err && !follows(cursor, &fence))
		err = -EUCLEAN;
	if (!err)
		err = read_stored(cursor, &fence, &stored);
	if (!err && fence.block_bytes > cursor->bytes_room) {
		cursor->bytes_room = 0;
		err = make_room(&cursor->bytes, fence.block_bytes);
		cursor->bytes_room = err ? 0 : fence.block_bytes;
	}
	if (!err)
		err = table_unpack(&cursor->layer->summary, cursor->layer->base.store, &fence, stored,
				   cursor->bytes);
	if (err)
		return err;
	table_block_view(cursor->bytes, &cursor->block);
	cursor->key_number = table_block_lower_bound(&cursor->block, cursor->from);
	cursor->version_number = table_block_first(&cursor->block, cursor->key_number);
	cursor->number++;
	return 0;
}

int table_cursor_next(struct table_cursor *cursor, struct table_entry *entry_out)
{
	const struct table_block *block = &cursor->block;
	uint32_t v, back;
	int err = 0;

	memset(entry_out, 0, sizeof(*entry_out));
	if (!cursor->shape)
		err = begin(cursor);
	while (!err && cursor->version_number == block->version_count) {
		if (cursor->number == cursor->shape->block_count)
			return 1;
		err = load_block(cursor);
	}
	if (err)
		return err;
	v = cursor->version_number++;
	if (v == table_block_first(block, cursor->key_number + 1))
		cursor->key_number++;
	back = table_u32(block->backs, v);
	entry_out->key = cursor->key = table_block_key(block, cursor->key_number);
	entry_out->lsn = cursor->lsn = table_block_lsn(block, v);
	entry_out->position = back ? entry_out->lsn.value - back : 0;
	entry_out->form = block->forms[v];
	entry_out->weight = block->weights[v];
	entry_out->size_bytes = table_block_payload_bytes(block, v);
	entry_out->payload = block->payloads + table_block_payload_at(block, v);
	return 0;
}
