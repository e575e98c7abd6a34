#include "page_editor.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "page_map_cache.h"
#include "patch.h"
#include "recent_pages.h"
#include "store_internal.h"
#include "unmapped.h"
#include "zeros.h"

/* From so many pages on a write is a stream. */
#define STREAM_PAGES 3u
/* Once so many whole pages in a row were unlike what they replaced, only one in
 * PROBE_INTERVAL is compared: a look costs time and helps none of such writes. */
#define UNLIKE_MAX 8u
#define PROBE_INTERVAL 16u
/* A patch that takes more of a page than a half is none. */
#define PATCH_DIVISOR 2u
#define PAGE_BYTES_MAX 65536u

static size_t page_size(const struct page_editor *editor)
{
	return editor->change->store->page_size_bytes;
}

int page_editor_begin(struct page_editor *editor, struct change *change,
		      struct change_inode *inode)
{
	struct attr *next = &inode->next;
	int err = 0;

	*editor = (struct page_editor){ .change = change, .inode = inode };
	editor->newest = engine_guard_take(change->store->engine, &editor->guard);
	page_map_begin(&editor->map, &editor->guard, next->shown.ino, editor->newest, next->block_end,
		       next->shown.page_count);
	if (next->flags & ATTR_MAPPED) {
		page_map_cache_take(change->store->page_maps, &editor->map, next->shown.changed);
	} else {
		err = unmapped_gather(next, &editor->map);
		next->flags |= ATTR_MAPPED | (next->flags & ATTR_HAS_FLOORS ? ATTR_HAS_HOLES : 0);
		next->flags &= ~ATTR_HAS_FLOORS;
	}
	if (err)
		page_editor_end(editor);
	return err;
}

void page_editor_end(struct page_editor *editor)
{
	layer_guard_drop(&editor->guard);
	page_map_end(&editor->map);
	for (uint32_t i = 0; i < editor->owned_count; i++)
		free(editor->owned[i]);
	free(editor->owned);
	free(editor->before);
}

int page_editor_find(struct page_editor *editor, uint64_t block, struct version *version_out)
{
	int err;

	if (block >= editor->inode->next.block_end)
		return 1;
	if (editor->inode->next.flags & ATTR_HAS_HOLES) {
		err = page_map_has(&editor->map, block);
		if (err != 1)
			return err ? err : 1;
	}
	err = engine_find(&editor->guard, key_make(editor->inode->next.shown.ino, KEY_PAGE, block),
			  editor->newest, version_out);
	return err == 0 && version_out->form == VERSION_TOMBSTONE ? 1 : err;
}

/* Memory that lives until the editor ends. NULL: there is none. */
static void *own(struct page_editor *editor, size_t size_bytes)
{
	void *bytes;

	if (editor->owned_count == editor->owned_room) {
		uint32_t room = editor->owned_room ? 2 * editor->owned_room : 4;
		void **owned = realloc(editor->owned, room * sizeof(*owned));

		if (!owned)
			return NULL;
		editor->owned = owned;
		editor->owned_room = room;
	}
	bytes = malloc(size_bytes);
	if (bytes)
		editor->owned[editor->owned_count++] = bytes;
	return bytes;
}

static size_t without_trailing_zeros(const uint8_t *bytes, size_t size_bytes)
{
	while (size_bytes && bytes[size_bytes - 1] == 0)
		size_bytes--;
	return size_bytes;
}

/* What a put does to one page. */
struct page_put {
	uint64_t block;
	size_t from, size_bytes;
	const uint8_t *bytes;           /* NULL: zeros */
	bool missing;                   /* nothing was there */
	struct version version;         /* what was there */
	const uint8_t *before;          /* what it held; NULL: nothing, or not at hand */
};

static struct batch_entry *entry_new(struct page_editor *editor, const struct page_put *put)
{
	struct batch_entry *entry = change_entry(editor->change);

	if (entry)
		entry->key = key_make(editor->inode->next.shown.ino, KEY_PAGE, put->block);
	return entry;
}

static int put_image(struct page_editor *editor, const struct page_put *put, const uint8_t *bytes,
		     size_t size_bytes)
{
	struct batch_entry *entry = entry_new(editor, put);

	if (!entry)
		return -ENOMEM;
	entry->form = VERSION_IMAGE;
	entry->body = bytes;
	entry->body_bytes = bytes ? (uint32_t)without_trailing_zeros(bytes, size_bytes) : 0;
	return 0;
}

/* The page as it will be, put together from what was there. */
static int put_merged(struct page_editor *editor, const struct page_put *put)
{
	size_t size;
	uint8_t *page = own(editor, page_size(editor));
	int err = 0;

	if (!page)
		return -ENOMEM;
	/* A chain that is at its bound is the longest there is to read. */
	if (put->before)
		memcpy(page, put->before, page_size(editor));
	else
		err = engine_load(&editor->guard, &put->version, page, page_size(editor), &size);
	if (err < 0)
		return err;
	if (put->bytes)
		memcpy(page + put->from, put->bytes, put->size_bytes);
	else
		memset(page + put->from, 0, put->size_bytes);
	return put_image(editor, put, page, page_size(editor));
}

static unsigned patch_weight(const struct page_editor *editor, const struct page_put *put,
			     size_t patch_bytes)
{
	return put->missing ? 0
			    : version_patch_weight(put->version.weight, patch_bytes,
						   page_size(editor));
}

/* The range as it came, as a patch; the whole page if the chain has no room. */
static int put_range(struct page_editor *editor, const struct page_put *put)
{
	uint8_t head[PATCH_RANGE_HEAD_MAX];
	size_t head_bytes = patch_range_head(head, put->from, put->size_bytes, !put->bytes);
	uint32_t body_bytes = put->bytes ? (uint32_t)put->size_bytes : 0;
	unsigned weight = patch_weight(editor, put, head_bytes + body_bytes);
	struct batch_entry *entry;

	if (weight > VERSION_WEIGHT_MAX)
		return put_merged(editor, put);
	entry = entry_new(editor, put);
	if (!entry)
		return -ENOMEM;
	entry->form = VERSION_PATCH;
	entry->weight = (uint8_t)weight;
	memcpy(entry->head, head, head_bytes);
	entry->head_bytes = (uint8_t)head_bytes;
	entry->body = put->bytes;
	entry->body_bytes = body_bytes;
	return 0;
}

/* The bytes of the range that differ from what was there. 0; 1: a patch of them is no
 * good, nothing was added; -errno. */
static int put_difference(struct page_editor *editor, const struct page_put *put)
{
	uint8_t payload[PAGE_BYTES_MAX / PATCH_DIVISOR];
	size_t limit = page_size(editor) / PATCH_DIVISOR;
	struct batch_entry *entry;
	size_t used;
	unsigned weight;
	void *bytes;

	if (limit > put->size_bytes)
		limit = put->size_bytes;
	used = patch_diff(put->before + put->from, put->bytes, put->size_bytes, put->from, payload,
			  limit);
	weight = patch_weight(editor, put, used);
	if (!used || weight > VERSION_WEIGHT_MAX)
		return 1;
	bytes = own(editor, used);
	entry = bytes ? entry_new(editor, put) : NULL;
	if (!entry)
		return -ENOMEM;
	memcpy(bytes, payload, used);
	entry->form = VERSION_PATCH;
	entry->weight = (uint8_t)weight;
	entry->body = bytes;
	entry->body_bytes = (uint32_t)used;
	return 0;
}

/* Have at hand what was there, if it can be had without the disk. 0 or -errno. */
static int fetch_before(struct page_editor *editor, struct page_put *put)
{
	size_t size_bytes = page_size(editor);
	bool whole = put->size_bytes == size_bytes;
	size_t size;
	int err;

	if (!editor->before)
		editor->before = malloc(size_bytes);
	if (!editor->before)
		return -ENOMEM;
	if (recent_pages_get(editor->change->store->recent_pages, editor->inode->next.shown.ino,
			     put->block, put->version.lsn, editor->before)) {
		put->before = editor->before;
		return 0;
	}
	/* A part of a page is not worth the whole of one; nor is a page that will be
	 * an image all the same. */
	if (!whole || put->version.size_bytes > size_bytes ||
	    (put->version.form == VERSION_IMAGE && put->bytes &&
	     !version_looks_like(&put->version, put->bytes, size_bytes)))
		return 0;
	err = engine_load_at_hand(&editor->guard, &put->version, editor->before, size_bytes,
				  &size);
	/* What is damaged is no base for a patch; an image heals the page. */
	if (err == -ENOMEM)
		return err;
	if (!err)
		put->before = editor->before;
	return 0;
}

static bool is_unchanged(const struct page_put *put)
{
	const uint8_t *before = put->before + put->from;

	return put->bytes ? memcmp(before, put->bytes, put->size_bytes) == 0
			  : all_zero(before, put->size_bytes);
}

/* Keep what the page holds now, if that is known. */
static void keep(struct page_editor *editor, const struct page_put *put)
{
	size_t size_bytes = page_size(editor);
	bool whole = put->size_bytes == size_bytes;
	struct edited_page *page = &editor->kept[editor->kept_count];
	uint8_t *bytes;

	if (editor->streaming || editor->kept_count == EDITOR_KEPT_MAX ||
	    !(whole || put->before || put->missing))
		return;
	page->block = put->block;
	page->bytes = put->bytes;
	if (!whole || !put->bytes) {
		bytes = own(editor, size_bytes);
		if (!bytes)
			return;
		if (put->before)
			memcpy(bytes, put->before, size_bytes);
		else
			memset(bytes, 0, size_bytes);
		if (put->bytes)
			memcpy(bytes + put->from, put->bytes, put->size_bytes);
		else
			memset(bytes + put->from, 0, put->size_bytes);
		page->bytes = bytes;
	}
	editor->kept_count++;
}

/* Over a version: what changed, if that is known and little; else the range or the page. */
static int put_over(struct page_editor *editor, struct page_put *put)
{
	bool whole = put->size_bytes == page_size(editor);
	struct inode *inode = editor->inode->inode;
	int err = fetch_before(editor, put);

	if (err)
		return err;
	if (put->before && is_unchanged(put)) {
		inode->unlike_count = 0;
		return 0;
	}
	keep(editor, put);
	if (whole && !put->bytes)
		return put_image(editor, put, NULL, 0);
	err = put->before && put->bytes ? put_difference(editor, put) : 1;
	if (whole)
		inode->unlike_count = err == 1 ? inode->unlike_count + 1 : 0;
	if (err <= 0)
		return err;
	return whole ? put_image(editor, put, put->bytes, put->size_bytes)
		     : put_range(editor, put);
}

/* Pages that replace other bytes are seldom followed by pages that don't. */
static bool is_worth_a_look(struct page_editor *editor, const struct page_put *put)
{
	struct inode *inode = editor->inode->inode;

	if (put->size_bytes < page_size(editor) || inode->unlike_count < UNLIKE_MAX)
		return true;
	inode->unlike_count++;
	return inode->unlike_count % PROBE_INTERVAL == 0;
}

static int put_one(struct page_editor *editor, struct page_put *put)
{
	int err;

	if (put->bytes && all_zero(put->bytes, put->size_bytes))
		put->bytes = NULL;
	if (put->bytes && !is_worth_a_look(editor, put)) {
		err = page_map_set(&editor->map, put->block);
		return err ? err : put_image(editor, put, put->bytes, put->size_bytes);
	}
	err = page_editor_find(editor, put->block, &put->version);
	if (err < 0)
		return err;
	put->missing = err == 1;
	if (!put->missing)
		return put_over(editor, put);
	if (!put->bytes)
		return 0;
	keep(editor, put);
	err = page_map_set(&editor->map, put->block);
	if (err)
		return err;
	return put->from == 0 ? put_image(editor, put, put->bytes, put->size_bytes)
			      : put_range(editor, put);
}

int page_editor_put(struct page_editor *editor, uint64_t offset_bytes, const uint8_t *bytes,
		    size_t size_bytes)
{
	size_t page_bytes = page_size(editor);
	int err = 0;

	assert(page_bytes <= PAGE_BYTES_MAX);
	editor->streaming = size_bytes >= STREAM_PAGES * page_bytes;
	while (size_bytes && !err) {
		struct page_put put = {
			.block = offset_bytes / page_bytes,
			.from = offset_bytes % page_bytes,
			.bytes = bytes,
		};

		put.size_bytes = page_bytes - put.from;
		if (put.size_bytes > size_bytes)
			put.size_bytes = size_bytes;
		err = put_one(editor, &put);
		offset_bytes += put.size_bytes;
		bytes = bytes ? bytes + put.size_bytes : NULL;
		size_bytes -= put.size_bytes;
	}
	return err;
}

/* Add a tombstone for each page of [@from, @to). 0; 1: they are too many, nothing was added; -errno. */
static int put_tombstones(struct page_editor *editor, uint64_t from, uint64_t to)
{
	uint64_t blocks[EDITOR_TOMBSTONES_MAX], block;
	uint32_t count = 0;
	int err;

	while ((err = page_map_next_page(&editor->map, from, &block)) == 0 && block < to) {
		if (count == editor->change->store->drop_tombstones)
			return 1;
		blocks[count++] = block;
		from = block + 1;
	}
	if (err < 0)
		return err;
	for (uint32_t i = 0; i < count; i++) {
		struct batch_entry *entry = change_entry(editor->change);

		if (!entry)
			return -ENOMEM;
		entry->key = key_make(editor->inode->next.shown.ino, KEY_PAGE, blocks[i]);
		entry->form = VERSION_TOMBSTONE;
	}
	return 0;
}

int page_editor_drop(struct page_editor *editor, uint64_t from, uint64_t to)
{
	int err = put_tombstones(editor, from, to);

	if (err == 1)
		editor->inode->next.flags |= ATTR_HAS_HOLES;
	return err < 0 ? err : page_map_clear(&editor->map, from, to);
}

int page_editor_finish(struct page_editor *editor)
{
	struct attr *next = &editor->inode->next;

	next->shown.page_count = editor->map.page_count;
	return page_map_write(&editor->map, editor->change, next->block_end);
}

void page_editor_committed(struct page_editor *editor)
{
	for (uint32_t i = 0; i < editor->kept_count; i++)
		recent_pages_put(editor->change->store->recent_pages,
				 editor->inode->next.shown.ino, editor->kept[i].block,
				 editor->change->lsn, editor->kept[i].bytes);
	page_map_cache_put(editor->change->store->page_maps, &editor->map, editor->change->lsn);
}
