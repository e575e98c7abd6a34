/* Look-ups in a table layer, by way of the block cache. */
#include "table_layer_internal.h"

#include <errno.h>
#include <stdlib.h>

#define CACHE_LINE_BYTES 64u
#define PAYLOAD_LINES_AHEAD 8u

struct index_source {
	struct table_layer *layer;
	uint32_t number;
};

static int index_fill(void *context, uint8_t *bytes)
{
	const struct index_source *source = context;

	return table_read_index_block(source->layer, source->number, bytes);
}

static int index_block(struct table_layer *layer, uint32_t number, const uint8_t **bytes_out)
{
	struct index_source source = { layer, number };
	struct block_id id = { layer->base.id, number };

	*bytes_out = block_cache_look(layer->cache, id);
	return *bytes_out ? 0
			  : block_cache_load(layer->cache, id, BLOCK_OF_INDEX, LAYER_BLOCK_BYTES, index_fill,
					     &source, bytes_out);
}

/* 0: the filter says it may be here; 1: it is not; -errno. */
static int filter_probe(struct table_layer *layer, const struct table_shape *shape, struct key key)
{
	uint64_t hash = key_hash(key);
	uint32_t line = layer_filter_line(hash, shape->filter_lines);
	const uint8_t *bytes;
	int err = index_block(layer, shape->filter_block + line / LAYER_FILTER_LINES_PER_BLOCK,
			      &bytes);

	if (err)
		return err;
	bytes += line % LAYER_FILTER_LINES_PER_BLOCK * LAYER_FILTER_LINE_BYTES;
	return layer_filter_line_has(bytes, hash) ? 0 : 1;
}

/* The last of @count blocks from number @first on that begin at or below (key, lsn); the first
 * if there is none. */
static int last_block_below(struct table_layer *layer, uint32_t first, uint32_t count,
			    struct key key, struct lsn lsn, uint32_t stride, uint32_t *index_out)
{
	uint32_t low = 0, high = count;
	const uint8_t *bytes;
	int err = 0;

	while (high - low > 1 && !err) {
		uint32_t middle = low + (high - low) / 2;

		err = index_block(layer, first + middle, &bytes);
		if (!err && table_count_at_or_below(bytes, 1, stride, key, lsn))
			low = middle;
		else
			high = middle;
	}
	*index_out = low;
	return err;
}

/* The fence block that leads to (key, lsn). */
static int find_fence_block(struct table_layer *layer, const struct table_shape *shape,
			    struct key key, struct lsn lsn, uint32_t *index_out)
{
	uint32_t fence_blocks = shape->top_block - shape->fence_block, top, count, below;
	const uint8_t *bytes;
	int err;

	*index_out = 0;
	if (fence_blocks == 1)
		return 0;
	err = last_block_below(layer, shape->top_block, shape->footer_block - shape->top_block,
			       key, lsn, TABLE_TOP_BYTES, &top);
	if (!err)
		err = index_block(layer, shape->top_block + top, &bytes);
	if (err)
		return err;
	count = fence_blocks - top * TABLE_TOPS_PER_BLOCK;
	if (count > TABLE_TOPS_PER_BLOCK)
		count = TABLE_TOPS_PER_BLOCK;
	below = table_count_at_or_below(bytes, count, TABLE_TOP_BYTES, key, lsn);
	*index_out = top * TABLE_TOPS_PER_BLOCK + (below ? below - 1 : 0);
	return 0;
}

/* The last data block that begins at or below (key, lsn). 0; 1: there is none; -errno. */
static int find_block(struct table_layer *layer, const struct table_shape *shape, struct key key,
		      struct lsn lsn, uint32_t *number_out)
{
	uint32_t fence_block, below;
	const uint8_t *bytes;
	int err = find_fence_block(layer, shape, key, lsn, &fence_block);

	*number_out = 0;
	if (!err)
		err = index_block(layer, shape->fence_block + fence_block, &bytes);
	if (err)
		return err;
	below = table_count_at_or_below(bytes, table_fences_in_block(shape, fence_block),
					TABLE_FENCE_BYTES, key, lsn);
	if (!below)
		return 1;
	*number_out = fence_block * TABLE_FENCES_PER_BLOCK + below - 1;
	return 0;
}

static int fence_read(struct table_layer *layer, const struct table_shape *shape, uint32_t number,
		      struct table_fence *fence_out)
{
	const uint8_t *bytes;
	int err = index_block(layer, shape->fence_block + number / TABLE_FENCES_PER_BLOCK, &bytes);

	if (err)
		return err;
	return table_fence_decode(bytes + number % TABLE_FENCES_PER_BLOCK * TABLE_FENCE_BYTES,
				  shape->data_end, fence_out);
}

struct data_source {
	struct table_layer *layer;
	struct table_fence fence;
};

static int data_fill(void *context, uint8_t *bytes)
{
	const struct data_source *source = context;
	uint8_t *stored = malloc(source->fence.stored_bytes);
	int err;

	if (!stored)
		return -ENOMEM;
	err = table_read(source->layer, stored, source->fence.stored_bytes, source->fence.offset);
	if (!err)
		err = table_unpack(&source->layer->summary, source->layer->base.store,
				   &source->fence, stored, bytes);
	free(stored);
	return err;
}

static int data_load(struct table_layer *layer, uint32_t number, struct block_id id,
		     const uint8_t **bytes_out)
{
	const struct table_shape *shape;
	struct data_source source = { .layer = layer };
	int err = table_layer_shape(layer, &shape);

	if (!err && number >= shape->block_count)
		err = -EUCLEAN;
	if (!err)
		err = fence_read(layer, shape, number, &source.fence);
	return err ? err
		   : block_cache_load(layer->cache, id, BLOCK_OF_CONTENT, source.fence.block_bytes, data_fill, &source,
				      bytes_out);
}

/* The decoded data block @number. */
static int data_block(struct table_layer *layer, uint32_t number, const uint8_t **bytes_out)
{
	struct block_id id = { layer->base.id, BLOCK_DATA | number };

	*bytes_out = block_cache_look(layer->cache, id);
	return *bytes_out ? 0 : data_load(layer, number, id, bytes_out);
}

/* A data block that is looked at. */
struct block_view {
	uint32_t number;
	const uint8_t *bytes;
	struct table_block block;
};

static int view_block(struct table_layer *layer, uint32_t number, struct block_view *view_out)
{
	int err = data_block(layer, number, &view_out->bytes);

	view_out->number = number;
	if (!err)
		table_block_view(view_out->bytes, &view_out->block);
	return err;
}

static void version_make(struct table_layer *layer, const struct block_view *view, struct key key,
			 uint32_t number, struct version *version_out)
{
	const struct table_block *block = &view->block;

	*version_out = (struct version){
		.layer = &layer->base,
		.key = key,
		.lsn = table_block_lsn(block, number),
		.payload = block->payloads + table_block_payload_at(block, number),
		.offset = (uint32_t)(block->payloads - view->bytes) +
			  table_block_payload_at(block, number),
		.size_bytes = table_block_payload_bytes(block, number),
		.form = block->forms[number],
		.weight = block->weights[number],
		.back = table_u32(block->backs, number),
	};
}

/* The columns lie far apart: ask for what is needed of each at once, not as it is come to. */
static void prefetch_versions(const struct table_block *block, uint32_t number)
{
	__builtin_prefetch(block->lsn_lows + (size_t)number * 4);
	__builtin_prefetch(block->lsn_highs + (size_t)number * 4);
	__builtin_prefetch(block->ends + (size_t)number * 4);
	__builtin_prefetch(block->backs + (size_t)number * 4);
	__builtin_prefetch(block->forms + number);
	__builtin_prefetch(block->weights + number);
}

/* Its payload is read next, but not before those below it in the chain are found. From its first lines on the processor
 * goes on by itself; not only as many as it has, for its size is not there yet either. */
static void prefetch_payload(const struct version *version)
{
	for (unsigned line = 0; line < PAYLOAD_LINES_AHEAD; line++)
		__builtin_prefetch((const void *)((uintptr_t)version->payload + line * CACHE_LINE_BYTES));
}

/* Where the newest version of a key at or below an LSN is. */
struct place {
	struct block_view view;
	uint32_t key_number, number;    /* in the block */
};

/* 0; 1: the layer has none; -errno. */
static int find_place(struct table_layer *layer, struct key key, struct lsn lsn,
		      struct place *place_out)
{
	const struct table_shape *shape;
	struct block_view *view = &place_out->view;
	uint32_t number;
	int err = table_layer_shape(layer, &shape);

	if (!err)
		err = filter_probe(layer, shape, key);
	if (!err)
		err = find_block(layer, shape, key, lsn, &number);
	if (!err)
		err = view_block(layer, number, view);
	if (err)
		return err;
	place_out->key_number = table_block_lower_bound(&view->block, key);
	if (place_out->key_number == view->block.key_count ||
	    !key_equal(table_block_key(&view->block, place_out->key_number), key))
		return 1;
	prefetch_versions(&view->block, table_block_first(&view->block, place_out->key_number));
	place_out->number = table_block_newest(&view->block, place_out->key_number, lsn);
	return place_out->number == UINT32_MAX;
}

int table_layer_find(struct layer *base, struct key key, struct lsn lsn,
		     struct version *version_out)
{
	struct table_layer *layer = as_table(base);
	struct place place;
	int err = find_place(layer, key, lsn, &place);

	if (err)
		memset(version_out, 0, sizeof(*version_out));
	else
		version_make(layer, &place.view, key, place.number, version_out);
	return err;
}

/* Its versions lie before one another, from the older to the newer; a chain may have begun in the block before. */
int table_layer_find_chain(struct layer *base, struct key key, struct lsn lsn,
			   struct version *versions, uint32_t room, uint32_t *count_out)
{
	struct table_layer *layer = as_table(base);
	uint32_t count = 0;
	struct place place;
	int err = 0;

	*count_out = 0;
	while (count < room && !(err = find_place(layer, key, lsn, &place))) {
		uint32_t first = table_block_first(&place.view.block, place.key_number);

		for (uint32_t n = place.number + 1; n-- > first && count < room;) {
			version_make(layer, &place.view, key, n, &versions[count]);
			prefetch_payload(&versions[count++]);
			if (!versions[count - 1].weight)
				goto out;
		}
		lsn = lsn_make(versions[count - 1].lsn.value - 1);
		/* The layer has no older one but if this was the block's first key. */
		if (place.key_number || !lsn.value)
			break;
	}
	if (err < 0)
		return err;
out:
	*count_out = count;
	return 0;
}

/* The pages of a range that are still looked for. */
struct page_range {
	uint64_t ino, first, next, last;        /* next: the lowest not done */
	struct lsn lsn;
	struct version *versions;
	uint32_t *found;
};

static struct key page_key(const struct page_range *range, uint64_t page)
{
	return key_make(range->ino, KEY_PAGE, page);
}

/* False: none is left. */
static bool skip_found(struct page_range *range)
{
	while (range->next <= range->last && range->versions[range->next - range->first].form)
		range->next++;
	while (range->last >= range->next && range->versions[range->last - range->first].form)
		range->last--;
	return range->next <= range->last;
}

/* Does the last key of block @number go on in the next, at or below @lsn? 0: no; 1; -errno. */
static int goes_on(struct table_layer *layer, const struct table_shape *shape, uint32_t number,
		   struct key key, struct lsn lsn)
{
	struct table_fence fence;
	int err;

	if (number + 1 >= shape->block_count)
		return 0;
	err = fence_read(layer, shape, number + 1, &fence);
	return err ? err : key_equal(fence.key, key) && fence.lsn.value <= lsn.value;
}

/* Take from a block what it has of the range, and step behind it. */
static int take_pages(struct table_layer *layer, const struct table_shape *shape,
		      const struct block_view *view, struct page_range *range)
{
	const struct table_block *block = &view->block;

	for (uint32_t k = table_block_lower_bound(block, page_key(range, range->next));
	     k < block->key_count; k++) {
		struct key key = table_block_key(block, k);
		struct version *version;
		uint32_t newest;
		int more = 0;

		if (key_compare(key, page_key(range, range->last)) > 0)
			break;
		if (k + 1 == block->key_count)
			more = goes_on(layer, shape, view->number, key, range->lsn);
		range->next = key_index(key);
		if (more)
			return more < 0 ? more : 0;
		version = &range->versions[range->next++ - range->first];
		newest = version->form ? UINT32_MAX : table_block_newest(block, k, range->lsn);
		if (newest == UINT32_MAX)
			continue;
		version_make(layer, view, key, newest, version);
		++*range->found;
	}
	return 0;
}

/* The block to look at for the lowest page left, behind block @before (UINT32_MAX: none). 0; 1: no
 * block holds any of the range; -errno. */
static int next_block_of(struct table_layer *layer, const struct table_shape *shape,
			 const struct page_range *range, uint32_t before, uint32_t *number_out)
{
	struct table_fence fence;
	int err = find_block(layer, shape, page_key(range, range->next), range->lsn, number_out);

	if (err < 0)
		return err;
	if (err == 0 && (before == UINT32_MAX || *number_out > before))
		return 0;
	/* It was looked at already, or none begins below: the next begins above. */
	*number_out = before + 1;
	if (*number_out >= shape->block_count)
		return 1;
	err = fence_read(layer, shape, *number_out, &fence);
	return err ? err : key_compare(fence.key, page_key(range, range->last)) > 0;
}

int table_layer_find_pages(struct layer *base, uint64_t ino, uint64_t first, uint32_t count,
			   struct lsn lsn, struct version *versions, uint32_t *found)
{
	struct table_layer *layer = as_table(base);
	struct page_range range = { ino, first, first, first + count - 1, lsn, versions, found };
	uint32_t number = UINT32_MAX;
	const struct table_shape *shape;
	struct block_view view;
	int err;

	if (count == 0)
		return 0;
	err = table_layer_shape(layer, &shape);
	while (!err && skip_found(&range)) {
		/* For one page the filter may save a block. */
		if (range.next == range.last)
			err = filter_probe(layer, shape, page_key(&range, range.next));
		if (!err)
			err = next_block_of(layer, shape, &range, number, &number);
		if (!err)
			err = view_block(layer, number, &view);
		if (!err)
			err = take_pages(layer, shape, &view, &range);
	}
	return err < 0 ? err : 0;
}

/* On to the last of the blocks from @number on that begin with a version of @key: where they end, and the next
 * key may begin. 0; -errno. */
static int skip_key(struct table_layer *layer, const struct table_shape *shape, struct key key, uint32_t *number)
{
	uint32_t last;
	int err = find_block(layer, shape, key, LSN_HEAD, &last);

	if (!err && last > *number)
		*number = last;
	return err < 0 ? err : 0;
}

/* Call @fn with each key in [@low, @high] of each block, in key order: a key whose versions span blocks comes
 * once for each, or with @skip for the first and the last of them: what lies between is not read. */
typedef int block_key_fn(void *context, struct table_layer *layer, const struct block_view *view,
			 uint32_t key_number);

static int each_key(struct layer *base, struct key low, struct key high, bool skip, block_key_fn *fn,
		    void *context)
{
	struct table_layer *layer = as_table(base);
	const struct table_shape *shape;
	struct table_fence fence;
	struct block_view view;
	struct key last = low;
	uint32_t number;
	int err = table_layer_shape(layer, &shape);

	if (!err)
		err = find_block(layer, shape, low, lsn_make(0), &number);
	for (err = err < 0 ? err : 0; !err && number < shape->block_count; number++) {
		err = fence_read(layer, shape, number, &fence);
		if (!err && skip && key_equal(fence.key, last))
			err = skip_key(layer, shape, last, &number);
		if (err || key_compare(fence.key, high) > 0)
			break;
		err = view_block(layer, number, &view);
		if (err)
			break;
		for (uint32_t k = table_block_lower_bound(&view.block, low);
		     k < view.block.key_count && !err; k++) {
			last = table_block_key(&view.block, k);
			if (key_compare(last, high) > 0)
				break;
			err = fn(context, layer, &view, k);
		}
	}
	return err;
}

struct each_name {
	layer_key_fn *fn;
	void *context;
	struct key before;
};

static int each_one_name(void *context, struct table_layer *layer, const struct block_view *view,
			 uint32_t key_number)
{
	struct each_name *each = context;
	struct key key = table_block_key(&view->block, key_number);

	(void)layer;
	if (key_equal(key, each->before))
		return 0;
	each->before = key;
	return each->fn(each->context, key);
}

int table_layer_each_name(struct layer *layer, uint64_t ino, uint64_t from, layer_key_fn *fn,
			  void *context)
{
	struct each_name each = { fn, context, { 0, 0 } };

	return each_key(layer, key_make(ino, KEY_NAME, from),
			key_make(ino, KEY_NAME, KEY_INDEX_MAX), true, each_one_name, &each);
}

struct each_version {
	layer_version_fn *fn;
	void *context;
};

static int each_version_of_key(void *context, struct table_layer *layer,
			       const struct block_view *view, uint32_t key_number)
{
	const struct each_version *each = context;
	struct key key = table_block_key(&view->block, key_number);
	struct version version;
	int err = 0;

	for (uint32_t v = table_block_first(&view->block, key_number);
	     v < table_block_first(&view->block, key_number + 1) && !err; v++) {
		version_make(layer, view, key, v, &version);
		err = each->fn(each->context, &version);
	}
	return err;
}

int table_layer_each_version(struct layer *layer, uint64_t ino, layer_version_fn *fn, void *context)
{
	struct each_version each = { fn, context };

	return each_key(layer, (struct key){ ino, 0 }, (struct key){ ino, UINT64_MAX }, false,
			each_version_of_key, &each);
}
