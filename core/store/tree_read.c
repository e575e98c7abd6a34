/*
 * Tree, reading: attributes, names, data, at head and at any LSN of the window.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

#include "fault.h"
#include "floors.h"
#include "listing.h"
#include "names.h"
#include "page_map.h"
#include "past_attr.h"
#include "past_extent.h"
#include "store_internal.h"

#define READ_PAGES_MAX 256u             /* pages found at a time */
#define FEW_PAGES 3u                    /* so many are found one by one sooner */
#define READ_NAMES_MAX 64u              /* hashes of names looked for at a time */
#define STREAM_BYTES (64u << 10)        /* of a request that is one of a stream */

struct tree_time tree_now(int64_t *ns_out)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	*ns_out = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	return (struct tree_time){ now.tv_sec, (uint32_t)now.tv_nsec };
}

int attr_load(const struct layer_guard *guard, uint64_t ino, struct lsn lsn, struct attr *attr_out,
	      uint8_t *raw_out, struct version *version_out)
{
	uint8_t raw[ATTR_BYTES] = { 0 };
	struct version version;
	size_t size;
	int err;

	err = engine_get(guard, key_make(ino, KEY_ATTR, 0), lsn, raw, sizeof(raw), &size, &version);
	if (err)
		return err == 1 ? -ENOENT : err;
	if (size < ATTR_BYTES_OLD)
		return -EUCLEAN;
	err = attr_decode(raw, attr_out);
	if (err)
		return err;
	if (attr_out->extent_since.value > version.lsn.value)
		return -EUCLEAN;
	attr_out->shown.ino = ino;
	attr_out->shown.changed = version.lsn;
	attr_out->shown.position = version_position(&version);
	if (raw_out)
		memcpy(raw_out, raw, sizeof(raw));
	if (version_out)
		*version_out = version;
	return 0;
}

/* Attributes at head and the newest LSN, which belong together: while the inode
 * is locked nothing changes it. */
static int head_attr(struct store *store, uint64_t ino, struct attr *attr_out, struct lsn *lsn_out)
{
	struct inode *inode;
	int err = inode_lock(store, ino, &inode);

	if (err)
		return err;
	*attr_out = inode->attr;
	*lsn_out = engine_newest(store->engine);
	inode_unlock(store, inode);
	return 0;
}

/* In the past an inode without a name is gone. The guard is held. */
static int past_attr(struct store *store, const struct layer_guard *guard, uint64_t ino,
		     struct lsn lsn, struct attr *attr_out)
{
	int err = 0;

	if (!past_attr_get(store->past_attrs, ino, lsn, attr_out)) {
		err = attr_load(guard, ino, lsn, attr_out, NULL, NULL);
		if (!err)
			past_attr_keep(store->past_attrs, ino, lsn, attr_out);
	}
	return !err && attr_out->shown.nlink == 0 ? -ENOENT : err;
}

/* The extent at @lsn, of which the attributes tell for all LSNs since it came to be. As above. */
static int past_extent(struct store *store, const struct layer_guard *guard, uint64_t ino,
		       struct lsn lsn, struct extent *extent_out)
{
	struct attr attr;
	int err = 0;

	if (!extent_get(store->past_extents, ino, lsn, extent_out)) {
		err = attr_load(guard, ino, lsn, &attr, NULL, NULL);
		if (err)
			return err;
		*extent_out = attr_extent(&attr);
		extent_keep(store->past_extents, ino,
			    attr.extent_since.value ? attr.extent_since : attr.shown.changed, lsn,
			    extent_out);
	}
	return extent_out->has_name ? 0 : -ENOENT;
}

/* The head's attributes, the newest LSN, and a guard that covers it. What was the newest may
 * be gone when the guard is there, with a small window and fast writers. */
static int head_attr_guarded(struct store *store, struct layer_guard *guard, uint64_t ino,
			     struct attr *attr_out, struct lsn *lsn_out)
{
	for (;;) {
		int err = head_attr(store, ino, attr_out, lsn_out);

		if (err)
			return err;
		engine_guard_take(store->engine, guard);
		if (engine_is_kept(store->engine, *lsn_out))
			return 0;
		layer_guard_drop(guard);
	}
}

/* A guard for reading at @at. False: that is not kept, or still to come; not by the newest LSN there is by now, which
 * may lie in a layer that the guard does not cover. */
static bool past_guard_take(struct store *store, struct layer_guard *guard, struct lsn at)
{
	struct lsn newest = engine_guard_take(store->engine, guard);

	return at.value <= newest.value && engine_is_kept(store->engine, at);
}

int attr_guarded(struct store *store, struct layer_guard *guard, uint64_t ino, struct lsn at,
		 struct attr *attr_out, struct lsn *lsn_out)
{
	int err = -ENOENT;

	guard_pace();
	if (lsn_is_head(at))
		return head_attr_guarded(store, guard, ino, attr_out, lsn_out);
	engine_read_pace(store->engine);
	*lsn_out = at;
	if (past_guard_take(store, guard, at))
		err = past_attr(store, guard, ino, at, attr_out);
	if (err)
		layer_guard_drop(guard);
	return err;
}

/* The same of the extent alone. */
static int extent_guarded(struct store *store, struct layer_guard *guard, uint64_t ino,
			  struct lsn at, struct extent *extent_out, struct lsn *lsn_out)
{
	struct attr attr;
	int err = -ENOENT;

	guard_pace();
	if (lsn_is_head(at)) {
		err = head_attr_guarded(store, guard, ino, &attr, lsn_out);
		if (!err)
			*extent_out = attr_extent(&attr);
		return err;
	}
	*lsn_out = at;
	if (past_guard_take(store, guard, at))
		err = past_extent(store, guard, ino, at, extent_out);
	if (err)
		layer_guard_drop(guard);
	return err;
}

static int attr_at_dir(struct store *store, struct layer_guard *guard, uint64_t dir,
		       struct lsn at, struct attr *attr_out, struct lsn *lsn_out)
{
	int err = attr_guarded(store, guard, dir, at, attr_out, lsn_out);

	if (!err && !S_ISDIR(attr_out->shown.mode)) {
		layer_guard_drop(guard);
		err = -ENOTDIR;
	}
	return err;
}

int tree_getattr(struct store *store, uint64_t ino, struct lsn at, struct tree_attr *attr_out)
{
	struct layer_guard guard;
	struct attr attr;
	struct lsn lsn;
	int err = attr_guarded(store, &guard, ino, at, &attr, &lsn);

	if (err)
		return err;
	layer_guard_drop(&guard);
	*attr_out = attr.shown;
	return 0;
}

int tree_lookup(struct store *store, uint64_t dir, const char *name, struct lsn at,
		struct tree_attr *attr_out)
{
	bool dots = strcmp(name, "..") == 0;
	struct name_bucket bucket = { 0 };
	struct name_entry entry;
	struct layer_guard guard;
	struct attr attr;
	struct lsn lsn;
	int err;

	if (!dots && strcmp(name, ".") != 0) {
		err = name_check(name);
		if (err)
			return err;
	}
	err = attr_at_dir(store, &guard, dir, at, &attr, &lsn);
	if (err)
		return err;
	if (dots || strcmp(name, ".") == 0) {
		entry.ino = dots ? attr.shown.parent_ino : dir;
	} else {
		err = name_bucket_load(&guard, dir, name_hash(store, name), lsn, &bucket);
		if (!err)
			err = name_bucket_find(&bucket, name, &entry);
		name_bucket_free(&bucket);
	}
	layer_guard_drop(&guard);
	if (!err)
		err = tree_getattr(store, entry.ino, at, attr_out);
	/* Unlinked between the two looks. */
	return !err && attr_out->nlink == 0 && entry.ino != dir ? -ENOENT : err;
}

static bool emit_dots(const struct attr *attr, uint64_t cookie, tree_entry_fn *fn, void *context)
{
	struct tree_entry dot = { ".", attr->shown.ino, S_IFDIR, NAME_COOKIE_DOT };
	struct tree_entry dotdot = { "..", attr->shown.parent_ino, S_IFDIR, NAME_COOKIE_DOTDOT };

	if (cookie < NAME_COOKIE_DOT && !fn(context, &dot))
		return false;
	return cookie >= NAME_COOKIE_DOTDOT || fn(context, &dotdot);
}

/* Emit the names of one bucket behind @cookie, by slot. 0; 1: the caller has enough; -errno. */
static int emit_bucket(const struct name_bucket *bucket, uint64_t cookie, tree_entry_fn *fn,
		       void *context)
{
	struct name_entry entry;
	uint64_t last = cookie;

	for (;;) {
		struct name_entry best;
		uint64_t best_cookie = UINT64_MAX;
		struct tree_entry shown;
		size_t at = 0;
		int err;

		while ((err = name_bucket_next(bucket, &at, &entry)) == 0) {
			uint64_t here = name_cookie(bucket->hash, entry.slot);

			if (here > last && here < best_cookie) {
				best = entry;
				best_cookie = here;
			}
		}
		if (err < 0)
			return err;
		if (best_cookie == UINT64_MAX)
			return 0;
		shown = (struct tree_entry){ best.name, best.ino, best.type, best_cookie };
		if (!fn(context, &shown))
			return 1;
		last = best_cookie;
	}
}

/* The names of a directory at an LSN, as they are listed. The guard is held. */
struct name_walk {
	const struct layer_guard *guard;
	uint64_t dir, cookie;
	struct lsn lsn;
	tree_entry_fn *fn;
	void *context;
};

/* Emit the names of @count hashes. 0; 1: the caller has enough; -errno. */
static int emit_names(const struct name_walk *walk, const uint64_t *hashes, uint32_t count)
{
	struct version versions[READ_NAMES_MAX];
	int err = engine_find_names(walk->guard, walk->dir, hashes, count, walk->lsn, versions);

	for (uint32_t i = 0; i < count && !err; i++) {
		struct name_bucket bucket;

		err = name_bucket_read(walk->guard, walk->dir, hashes[i], &versions[i], &bucket);
		if (!err)
			err = emit_bucket(&bucket, walk->cookie, walk->fn, walk->context);
		name_bucket_free(&bucket);
	}
	return err;
}

int tree_readdir(struct store *store, uint64_t dir, struct lsn at, uint64_t cookie,
		 tree_entry_fn *fn, void *context)
{
	struct layer_guard guard;
	struct listing *listing;
	struct attr attr;
	struct lsn lsn;
	int err = attr_at_dir(store, &guard, dir, at, &attr, &lsn);

	if (err)
		return err;
	if (!emit_dots(&attr, cookie, fn, context)) {
		layer_guard_drop(&guard);
		return 0;
	}
	err = listing_get(store, &guard, dir, at, lsn, cookie <= NAME_COOKIE_DOTDOT,
			  &listing);
	for (size_t i = err ? 0 : listing_seek(listing, cookie / NAME_SLOT_COUNT), here;
	     !err && i < listing->count; i += here) {
		const struct name_walk walk = { &guard, dir, cookie, lsn, fn, context };

		here = listing->count - i < READ_NAMES_MAX ? listing->count - i : READ_NAMES_MAX;
		err = emit_names(&walk, listing->hashes + i, (uint32_t)here);
	}
	if (listing)
		listing_put(store->listings, listing);
	layer_guard_drop(&guard);
	return err < 0 ? err : 0;
}

/* ---- data ---- */


/* What the pages of holes are read from; one page of the largest size. */
static const uint8_t zeros[STORE_PAGE_SIZE_MAX];

/* One request, cut to the file's size. */
struct read_request {
	struct store *store;
	const struct layer_guard *guard;
	uint64_t ino;
	struct lsn lsn;
	struct floors floors;           /* of a file that is not mapped */
	struct page_map map;            /* of one that is, if it has to be asked */
	uint64_t offset_bytes;
	size_t size_bytes;
	uint8_t *scratch;               /* each page has its own place in it */
	struct iovec *pieces;           /* room for one a page */
	size_t piece_count;
	struct iovec few_pieces[8];     /* where @pieces points if they are enough */
};

static uint64_t page_count(const struct store *store, uint64_t offset_bytes, size_t size_bytes)
{
	uint64_t page = store->page_size_bytes;

	return (offset_bytes + size_bytes + page - 1) / page - offset_bytes / page;
}

static void add_piece(struct read_request *request, const uint8_t *bytes, size_t size_bytes)
{
	struct iovec *last = &request->pieces[request->piece_count] - 1;

	if (request->piece_count && (const uint8_t *)last->iov_base + last->iov_len == bytes)
		last->iov_len += size_bytes;
	else
		request->pieces[request->piece_count++] =
			(struct iovec){ (void *)(uintptr_t)bytes, size_bytes };
}

/* Where the request has a page put together. */
static uint8_t *page_scratch(const struct read_request *request, uint64_t block)
{
	size_t page_bytes = request->store->page_size_bytes;

	return request->scratch + (block - request->offset_bytes / page_bytes) * page_bytes;
}

/* What the request wants of block @block; NULL: a hole. */
static void add_page(struct read_request *request, uint64_t block, const uint8_t *page)
{
	size_t page_bytes = request->store->page_size_bytes;
	uint64_t at = block * page_bytes, end = request->offset_bytes + request->size_bytes;
	size_t from = at < request->offset_bytes ? request->offset_bytes - at : 0;
	size_t to = end - at < page_bytes ? (size_t)(end - at) : page_bytes;

	add_piece(request, (page ? page : zeros) + from, to - from);
}

/* Versions that were cut off or punched count as holes. 0 or -errno. */
static int drop_holes(struct read_request *request, uint64_t first, uint32_t count,
		      struct version *versions)
{
	int there = 1;

	for (uint32_t i = 0; i < count && there >= 0; i++) {
		if (!versions[i].form)
			continue;
		if (request->map.guard)
			there = page_map_has(&request->map, first + i);
		else
			there = versions[i].lsn.value > floors_at(&request->floors, first + i).value;
		if (there == 0)
			versions[i].form = 0;
	}
	return there < 0 ? there : 0;
}

/* Find @count pages from @first on, in one visit of each layer. */
static int read_pages(struct read_request *request, uint64_t first, uint32_t count)
{
	struct version versions[READ_PAGES_MAX];
	int err = engine_find_pages(request->guard, request->ino, first, count, request->lsn,
				    versions);

	if (!err && (request->map.guard || request->floors.count))
		err = drop_holes(request, first, count, versions);
	for (uint32_t i = 0; i < count && !err; i++) {
		const uint8_t *page;

		err = engine_page(request->guard, &versions[i], request->store->page_size_bytes,
				  request->size_bytes >= STREAM_BYTES, page_scratch(request, first + i),
				  &page);
		if (!err)
			add_page(request, first + i, page);
	}
	return err;
}

/* Find them one by one, each with its chain. */
static int read_few_pages(struct read_request *request, uint64_t first, uint32_t count)
{
	int err = 0;

	for (uint64_t block = first; block < first + count && !err; block++) {
		const uint8_t *page = NULL;

		if (request->map.guard) {
			err = page_map_has(&request->map, block);
			if (err == 0)
				add_page(request, block, NULL);
			if (err <= 0)
				continue;
		}
		err = engine_get_page(request->guard, request->ino, block, request->lsn,
				      floors_at(&request->floors, block),
				      request->store->page_size_bytes, page_scratch(request, block),
				      &page);
		if (!err)
			add_page(request, block, page);
	}
	return err;
}

/* The guard is held. */
static int read_guarded(struct read_request *request, const struct extent *extent)
{
	uint64_t first = request->offset_bytes / request->store->page_size_bytes;
	uint64_t count = page_count(request->store, request->offset_bytes, request->size_bytes);
	int err = 0;

	if (extent->flags & ATTR_HAS_FLOORS)
		err = floors_load(request->guard, request->ino, request->lsn, &request->floors);
	if (extent->flags & ATTR_HAS_HOLES)
		page_map_begin(&request->map, request->guard, request->ino, request->lsn,
			       extent->block_end, extent->page_count);
	while (count && !err) {
		uint32_t here = count < READ_PAGES_MAX ? (uint32_t)count : READ_PAGES_MAX;

		err = here <= FEW_PAGES ? read_few_pages(request, first, here)
					: read_pages(request, first, here);
		first += here;
		count -= here;
	}
	floors_free(&request->floors);
	page_map_end(&request->map);
	return err;
}

size_t tree_scratch_size(const struct store *store, size_t size_bytes)
{
	/* A request may begin and end within a page. */
	return (size_bytes / store->page_size_bytes + 2) * store->page_size_bytes;
}

/* The guard is held, the request lies within the file. */
static int read_and_hand_out(struct read_request *request, const struct extent *extent,
			     tree_pieces_fn *fn, void *context)
{
	uint64_t count = page_count(request->store, request->offset_bytes, request->size_bytes);
	int err;

	request->pieces = request->few_pieces;
	if (count > sizeof(request->few_pieces) / sizeof(request->few_pieces[0]))
		request->pieces = malloc(count * sizeof(*request->pieces));
	if (!request->pieces)
		return -ENOMEM;
	err = read_guarded(request, extent);
	if (!err)
		err = fn(context, request->pieces, request->piece_count);
	if (request->pieces != request->few_pieces)
		free(request->pieces);
	return err;
}

int tree_read_pieces(struct store *store, uint64_t ino, struct lsn at, uint64_t offset_bytes,
		     size_t size_bytes, void *scratch, tree_pieces_fn *fn, void *context)
{
	struct read_request request = { .store = store, .ino = ino, .offset_bytes = offset_bytes,
					.size_bytes = size_bytes, .scratch = scratch };
	struct layer_guard guard;
	struct extent extent;
	int err;

	/* Of the head too: attributes are known without, what is read costs blocks. */
	engine_read_pace(store->engine);
	err = extent_guarded(store, &guard, ino, at, &extent, &request.lsn);
	if (err)
		return err;
	request.guard = &guard;
	if (S_ISDIR(extent.type)) {
		err = -EISDIR;
	} else if (offset_bytes >= extent.size_bytes || !size_bytes) {
		err = fn(context, NULL, 0);
	} else {
		if (size_bytes > extent.size_bytes - offset_bytes)
			request.size_bytes = (size_t)(extent.size_bytes - offset_bytes);
		err = read_and_hand_out(&request, &extent, fn, context);
	}
	layer_guard_drop(&guard);
	return err;
}

/* The guard is held, @offset_bytes lies within the file. */
static int seek(struct store *store, const struct layer_guard *guard, const struct attr *attr,
		struct lsn lsn, uint64_t offset_bytes, bool hole, uint64_t *offset_out)
{
	uint64_t page = store->page_size_bytes, size = attr->shown.size_bytes, block;
	struct page_map map;
	int err;

	if (!(attr->flags & ATTR_MAPPED)) {
		*offset_out = hole ? size : offset_bytes;
		return 0;
	}
	page_map_begin(&map, guard, attr->shown.ino, lsn, attr->block_end, attr->shown.page_count);
	err = hole ? page_map_next_hole(&map, offset_bytes / page, &block)
		   : page_map_next_page(&map, offset_bytes / page, &block);
	page_map_end(&map);
	if (err)
		return err == 1 ? -ENXIO : err;
	/* No page lies behind the end; a map that says so may number it beyond any offset. */
	if (block > (size - 1) / page) {
		*offset_out = hole ? size : 0;
		return hole ? 0 : -EUCLEAN;
	}
	*offset_out = block > offset_bytes / page ? block * page : offset_bytes;
	return 0;
}

int tree_seek_sized(struct store *store, uint64_t ino, struct lsn at, uint64_t offset_bytes, bool hole,
		    uint64_t *offset_out, uint64_t *size_out)
{
	struct layer_guard guard;
	struct attr attr;
	struct lsn lsn;
	int err = attr_guarded(store, &guard, ino, at, &attr, &lsn);

	*offset_out = *size_out = 0;
	if (err)
		return err;
	*size_out = attr.shown.size_bytes;
	if (!S_ISREG(attr.shown.mode))
		err = S_ISDIR(attr.shown.mode) ? -EISDIR : -EINVAL;
	else if (offset_bytes >= attr.shown.size_bytes)
		err = -ENXIO;
	else
		err = seek(store, &guard, &attr, lsn, offset_bytes, hole, offset_out);
	layer_guard_drop(&guard);
	return err;
}

int tree_seek(struct store *store, uint64_t ino, struct lsn at, uint64_t offset_bytes, bool hole,
	      uint64_t *offset_out)
{
	uint64_t size;

	return tree_seek_sized(store, ino, at, offset_bytes, hole, offset_out, &size);
}

struct copy_out {
	const struct iovec *pieces;
	size_t piece_count;
	uint8_t *at;
	size_t done_bytes;
};

static int copy_pieces(void *context)
{
	struct copy_out *copy = context;

	for (size_t i = 0; i < copy->piece_count; i++) {
		uint8_t *to = copy->at + copy->done_bytes;

		/* What was put together where it is to be is there. */
		if (to != copy->pieces[i].iov_base)
			memcpy(to, copy->pieces[i].iov_base, copy->pieces[i].iov_len);
		copy->done_bytes += copy->pieces[i].iov_len;
	}
	return 0;
}

static int copy_out(void *context, const struct iovec *pieces, size_t count)
{
	struct copy_out *copy = context;

	copy->pieces = pieces;
	copy->piece_count = count;
	return fault_guarded(copy_pieces, copy);
}

int tree_read(struct store *store, uint64_t ino, struct lsn at, uint64_t offset_bytes,
	      void *buffer, size_t size_bytes, size_t *count_out)
{
	bool whole_pages = size_bytes && offset_bytes % store->page_size_bytes == 0 &&
			   size_bytes % store->page_size_bytes == 0;
	void *scratch = whole_pages ? buffer : malloc(tree_scratch_size(store, size_bytes));
	struct copy_out copy = { .at = buffer };
	int err;

	*count_out = 0;
	if (!scratch)
		return -ENOMEM;
	err = tree_read_pieces(store, ino, at, offset_bytes, size_bytes, scratch, copy_out, &copy);
	if (!err)
		*count_out = copy.done_bytes;
	if (!whole_pages)
		free(scratch);
	return err;
}

int tree_readlink(struct store *store, uint64_t ino, struct lsn at, char *target_out,
		  size_t size_bytes)
{
	struct tree_attr attr;
	size_t count;
	int err = tree_getattr(store, ino, at, &attr);

	if (!err && !S_ISLNK(attr.mode))
		err = -EINVAL;
	if (!err && attr.size_bytes >= size_bytes)
		err = -ENAMETOOLONG;
	if (!err)
		err = tree_read(store, ino, at, 0, target_out, (size_t)attr.size_bytes, &count);
	if (!err)
		target_out[attr.size_bytes] = '\0';
	return err;
}
