#include "tree_check.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fault.h"
#include "floors.h"
#include "listing.h"
#include "names.h"
#include "page_map.h"
#include "xattr_check.h"

#define PAGES_AT_ONCE 256u
#define BLOCKS_BEYOND 64u       /* looked at behind a file's last block */
/* Of a larger file so many blocks from the front and from the end are looked up: a look-up a
 * block is a tenth of the whole check otherwise, and has no end where the file is a hole. That
 * every version is whole and found was looked at layer by layer. */
#define BLOCKS_MAX (UINT64_C(1) << 14)
#define MAP_STRETCHES_MAX (1u << 16)    /* of pages without a hole, of one file */
#define TYPE_SHIFT 12

enum inode_flag {
	INODE_UNREADABLE = 1,   /* what is told of it elsewhere */
	INODE_ROOTED = 2,       /* the way up leads to the root */
	INODE_ON_WAY = 4,       /* of the walk up that is under way */
};

/* What is kept of each inode number. */
struct inode_state {
	uint16_t names_left;            /* links without a name so far */
	uint8_t type;                   /* mode >> 12; 0: no such inode at this LSN, or no name left */
	uint8_t flags;
};

struct tree_walk {
	struct store *store;
	struct lsn at;
	const struct check_hooks *hooks;
	tree_check_name_fn *named;
	void *named_context;
	struct inode_state *inodes;
	uint64_t ino_end;
	uint64_t inode_count;
	bool incomplete;                /* names could not be read: who has none is not known */
};

static void found(struct tree_walk *walk, uint64_t ino, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void found(struct tree_walk *walk, uint64_t ino, const char *format, ...)
{
	struct finding finding = {
		.kind = FINDING_TREE,
		.key = key_make(ino, KEY_ATTR, 0),
		.from = walk->at,
		.until = lsn_make(walk->at.value + 1),
	};
	char text[sizeof(finding.text)];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	check_found(walk->hooks, &finding, "%s", text);
}

/* A damaged version is a finding of its layer's. */
static bool told_elsewhere(int err)
{
	return err == -EBADMSG || err == -EIO;
}

static struct inode_state *state_of(const struct tree_walk *walk, uint64_t ino)
{
	return ino >= TREE_ROOT_INO && ino < walk->ino_end ? &walk->inodes[ino - TREE_ROOT_INO]
							   : NULL;
}

/* ---- an inode ---- */

/* One file's pages under check. The guard is held. */
struct page_walk {
	struct tree_walk *walk;
	const struct layer_guard *guard;
	const struct attr *attr;
	struct floors floors;           /* of a file that is not mapped */
	struct page_map map;            /* of one that is */
	uint8_t *scratch;
};

static bool is_page(const struct page_walk *pages, const struct version *version)
{
	return version->form && version->form != VERSION_TOMBSTONE &&
	       version->lsn.value > floors_at(&pages->floors, key_index(version->key)).value;
}

/* The newest version of its page; where the map can't be read, which is told by itself, it counts. */
static bool is_live(struct page_walk *pages, const struct version *version)
{
	return is_page(pages, version) && (!(pages->attr->flags & ATTR_HAS_HOLES) ||
					   page_map_has(&pages->map, key_index(version->key)) != 0);
}

/* A patch needs what it is a patch of. NULL: all is well. */
static const char *version_fault(const struct page_walk *pages, const struct version *top)
{
	struct version version = *top, below;

	if (version.form == VERSION_IMAGE &&
	    (version.weight || version.size_bytes > pages->walk->store->page_size_bytes))
		return "an image is larger than a page";
	while (version.weight) {
		int err = engine_find(pages->guard, version.key, lsn_make(version.lsn.value - 1),
				      &below);

		if (err < 0)
			return NULL;
		if (err || !is_page(pages, &below) || below.weight >= version.weight)
			return "a patch has nothing to be applied to";
		version = below;
	}
	return NULL;
}

/* The map says which pages there are, and a version of each is there. NULL: all is well. */
static const char *map_fault(struct page_walk *pages, uint64_t block, const struct version *version)
{
	int there = pages->attr->flags & ATTR_MAPPED ? page_map_has(&pages->map, block) : -ENODATA;

	if (there == 1 && !is_page(pages, version))
		return "the page map has a page that is not there";
	if (there == 0 && is_live(pages, version))
		return "the page map has not the page that is there";
	return NULL;
}

/* Every page of the map lies within the file, and the counts agree down to the leaves. */
static int check_map(struct page_walk *pages)
{
	uint64_t block = 0, ino = pages->attr->shown.ino;
	int err = 0;

	for (uint32_t i = 0; i < MAP_STRETCHES_MAX && !err; i++) {
		err = page_map_next_page(&pages->map, block, &block);
		if (!err && block >= pages->attr->block_end)
			found(pages->walk, ino, "the page map has page %" PRIu64 ", beyond the last, %"
			      PRIu64, block, pages->attr->block_end);
		if (!err)
			err = page_map_next_hole(&pages->map, block, &block);
		if (!err)
			err = check_progress(pages->walk->hooks, 0);
	}
	if (err == -EUCLEAN)
		found(pages->walk, ino, "the page map contradicts itself");
	return err == 1 ? 0 : err;
}

static int check_blocks(struct page_walk *pages, uint64_t first, uint64_t end)
{
	struct version versions[PAGES_AT_ONCE];
	uint64_t ino = pages->attr->shown.ino;
	int err = 0;

	for (; first < end && !err; first += PAGES_AT_ONCE) {
		uint32_t count = end - first < PAGES_AT_ONCE ? (uint32_t)(end - first)
							     : PAGES_AT_ONCE;

		err = engine_find_pages(pages->guard, ino, first, count, pages->walk->at, versions);
		for (uint32_t i = 0; i < count && !err; i++) {
			const char *fault = is_live(pages, &versions[i])
						    ? version_fault(pages, &versions[i])
						    : NULL;

			if (!fault)
				fault = map_fault(pages, first + i, &versions[i]);
			if (fault)
				found(pages->walk, ino, "page %" PRIu64 " at LSN %" PRIu64 ": %s",
				      first + i, versions[i].lsn.value, fault);
		}
		if (!err)
			err = check_progress(pages->walk->hooks, 0);
	}
	return err;
}

static int check_beyond(struct page_walk *pages)
{
	struct version versions[BLOCKS_BEYOND];
	uint64_t first = pages->attr->block_end;
	int err;

	if (first > KEY_INDEX_MAX - BLOCKS_BEYOND)
		return 0;
	err = engine_find_pages(pages->guard, pages->attr->shown.ino, first, BLOCKS_BEYOND,
				pages->walk->at, versions);
	for (uint32_t i = 0; i < BLOCKS_BEYOND && !err; i++)
		if (is_live(pages, &versions[i]))
			found(pages->walk, pages->attr->shown.ino,
			      "page %" PRIu64 " lies beyond the file's last, %" PRIu64, first + i,
			      first);
	return err;
}

struct tail_look {
	const uint8_t *from, *to;
};

static int look_for_bytes(void *context)
{
	const struct tail_look *tail = context;

	for (const uint8_t *at = tail->from; at < tail->to; at++)
		if (*at)
			return 1;
	return 0;
}

/* What lies in the last page beyond the size would show when the file grows. */
static int check_tail(struct page_walk *pages)
{
	size_t page_bytes = pages->walk->store->page_size_bytes;
	uint64_t size = pages->attr->shown.size_bytes;
	struct version version;
	struct tail_look tail;
	const uint8_t *page;
	int err;

	if (size % page_bytes == 0 || size / page_bytes >= pages->attr->block_end)
		return 0;
	err = engine_find_pages(pages->guard, pages->attr->shown.ino, size / page_bytes, 1,
				pages->walk->at, &version);
	if (err || !is_live(pages, &version))
		return err;
	err = engine_page(pages->guard, &version, page_bytes, false, pages->scratch, &page);
	if (err == -EUCLEAN) {
		found(pages->walk, pages->attr->shown.ino, "the last page makes no sense");
		return 0;
	}
	if (err || !page)
		return err;
	tail = (struct tail_look){ page + size % page_bytes, page + page_bytes };
	err = fault_guarded(look_for_bytes, &tail);
	if (err == 1)
		found(pages->walk, pages->attr->shown.ino,
		      "the last page holds bytes beyond the file's size of %" PRIu64, size);
	return err < 0 ? err : 0;
}

static int check_pages(struct tree_walk *walk, const struct layer_guard *guard,
		       const struct attr *attr)
{
	struct page_walk pages = { .walk = walk, .guard = guard, .attr = attr };
	uint64_t end = attr->block_end;
	int err = 0;

	pages.scratch = malloc(walk->store->page_size_bytes);
	if (!pages.scratch)
		return -ENOMEM;
	if (attr->flags & ATTR_HAS_FLOORS) {
		err = floors_load(guard, attr->shown.ino, walk->at, &pages.floors);
		if (err == -EUCLEAN || (!err && !pages.floors.count))
			found(walk, attr->shown.ino, "the floors of its truncations make no sense");
	}
	if (attr->flags & ATTR_MAPPED) {
		page_map_begin(&pages.map, guard, attr->shown.ino, walk->at, attr->block_end,
			       attr->shown.page_count);
		err = check_map(&pages);
	}
	if (!err)
		err = check_blocks(&pages, 0, end < BLOCKS_MAX ? end : BLOCKS_MAX);
	if (!err && end > BLOCKS_MAX)
		err = check_blocks(&pages, end - BLOCKS_MAX > BLOCKS_MAX ? end - BLOCKS_MAX
									 : BLOCKS_MAX, end);
	if (!err)
		err = check_beyond(&pages);
	if (!err)
		err = check_tail(&pages);
	floors_free(&pages.floors);
	page_map_end(&pages.map);
	free(pages.scratch);
	if (err == -ENOMEM || err == -ECANCELED)
		return err;
	if (err && !told_elsewhere(err) && err != -EUCLEAN)
		found(walk, attr->shown.ino, "its pages can't be looked up: %s", strerror(-err));
	return 0;
}

static const char *attr_fault(const struct tree_walk *walk, const struct attr *attr)
{
	const struct tree_attr *shown = &attr->shown;
	uint64_t page_bytes = walk->store->page_size_bytes;
	uint64_t blocks = shown->size_bytes / page_bytes + (shown->size_bytes % page_bytes != 0);

	if (attr->flags & ~ATTR_FLAGS_KNOWN)
		return "its attributes have flags that are not known";
	if (S_ISDIR(shown->mode) && shown->nlink > 1)
		return "a directory has more than one link";
	if (attr->flags & ATTR_UNNAMED && (shown->nlink || !S_ISREG(shown->mode)))
		return "it has a name, but its attributes say that it never had one";
	if (shown->nlink > TREE_LINK_MAX)
		return "it has more links than there can be";
	if (S_ISLNK(shown->mode) && (shown->size_bytes == 0 || shown->size_bytes >= PATH_MAX ||
				     attr->block_end != blocks))
		return "a symlink's target has an impossible length";
	if (S_ISREG(shown->mode) && attr->block_end > blocks)
		return "its pages go on beyond its size";
	if (attr->flags & ATTR_MAPPED ? attr->flags & ATTR_HAS_FLOORS : attr->flags & ATTR_HAS_HOLES)
		return "its attributes have flags that contradict one another";
	if (attr->flags & ATTR_MAPPED && shown->page_count > attr->block_end)
		return "it has more pages than there is room for";
	if (!S_ISREG(shown->mode) && !S_ISLNK(shown->mode) && attr->block_end)
		return "it has pages, which only files have";
	return NULL;
}

/* Reads of the past rely on what attributes say of the LSNs before. What the window took, or can't be read, says
 * nothing. */
static void check_since(struct tree_walk *walk, const struct layer_guard *guard, const struct attr *attr)
{
	struct extent now = attr_extent(attr), then;
	struct attr before;

	if (!attr->extent_since.value || !store_can_read(walk->store, attr->extent_since) ||
	    attr_load(guard, attr->shown.ino, attr->extent_since, &before, NULL, NULL))
		return;
	then = attr_extent(&before);
	if (!extent_equal(&now, &then))
		found(walk, attr->shown.ino, "its size or kind has not been what it is since LSN %" PRIu64,
		      attr->extent_since.value);
}

static int check_xattrs(struct tree_walk *walk, const struct layer_guard *guard, const struct attr *attr)
{
	char fault[XATTR_FAULT_BYTES];
	int err;

	if (!(attr->flags & ATTR_HAS_XATTRS))
		return 0;
	err = xattr_check(guard, attr, walk->at, fault);
	if (err == 1)
		found(walk, attr->shown.ino, "%s", fault);
	else if (err && err != -ENOMEM && !told_elsewhere(err))
		found(walk, attr->shown.ino, "its extended attributes can't be looked up: %s", strerror(-err));
	return err == -ENOMEM ? err : 0;
}

static int check_inode(struct tree_walk *walk, uint64_t ino)
{
	struct inode_state *state = state_of(walk, ino);
	struct layer_guard guard;
	const char *fault;
	struct attr attr;
	int err;

	engine_guard_take(walk->store->engine, &guard);
	err = attr_load(&guard, ino, walk->at, &attr, NULL, NULL);
	if (err == -ENOENT) {
		err = 0;
	} else if (err == -ENOMEM) {
		;
	} else if (err) {
		state->flags = INODE_UNREADABLE;
		walk->incomplete = true;
		if (!told_elsewhere(err))
			found(walk, ino, "its attributes make no sense: %s", strerror(-err));
		err = 0;
	} else {
		fault = attr_fault(walk, &attr);
		if (fault)
			found(walk, ino, "%s", fault);
		if (attr.shown.nlink) {
			state->type = (uint8_t)((attr.shown.mode & S_IFMT) >> TYPE_SHIFT);
			state->names_left = attr.shown.nlink > UINT16_MAX
						    ? UINT16_MAX
						    : (uint16_t)attr.shown.nlink;
			walk->inode_count++;
		}
		if (!fault)
			check_since(walk, &guard, &attr);
		/* Of one that is gone nobody reads pages, and some may be gone before others. */
		if (!fault && attr.shown.nlink &&
		    (S_ISREG(attr.shown.mode) || S_ISLNK(attr.shown.mode)))
			err = check_pages(walk, &guard, &attr);
		if (!err && !fault && attr.shown.nlink)
			err = check_xattrs(walk, &guard, &attr);
	}
	layer_guard_drop(&guard);
	return err;
}

/* ---- a directory ---- */

struct dir_walk {
	struct tree_walk *walk;
	const struct layer_guard *guard;
	uint64_t dir;
	uint64_t name_count;
};

static void check_parent(struct dir_walk *dir, const struct name_entry *entry)
{
	struct attr attr;
	int err = attr_load(dir->guard, entry->ino, dir->walk->at, &attr, NULL, NULL);

	if (!err && attr.shown.parent_ino != dir->dir)
		found(dir->walk, entry->ino,
		      "it is named '%s' in directory %" PRIu64 ", but its '..' leads to %" PRIu64,
		      entry->name, dir->dir, attr.shown.parent_ino);
}

static void check_name(struct dir_walk *dir, const struct name_entry *entry)
{
	struct tree_walk *walk = dir->walk;
	struct inode_state *state = state_of(walk, entry->ino);

	if (state && state->flags & INODE_UNREADABLE)
		return;
	if (!state || !state->type) {
		found(walk, dir->dir, "the name '%s' leads to inode %" PRIu64
		      ", which is not there", entry->name, entry->ino);
		return;
	}
	if ((uint32_t)state->type << TYPE_SHIFT != entry->type)
		found(walk, dir->dir, "the name '%s' and its inode %" PRIu64
		      " are of different types", entry->name, entry->ino);
	if (!state->names_left || entry->ino == TREE_ROOT_INO)
		found(walk, entry->ino, "it has more names than links; one is '%s' in directory %"
		      PRIu64, entry->name, dir->dir);
	else
		state->names_left--;
	if (S_ISDIR((uint32_t)state->type << TYPE_SHIFT))
		check_parent(dir, entry);
	if (walk->named)
		walk->named(walk->named_context, dir->dir, entry->name, entry->ino);
}

/* 0; -EUCLEAN: the bucket makes no sense. */
static int check_bucket(struct dir_walk *dir, const struct name_bucket *bucket)
{
	bool slots[NAME_SLOT_COUNT] = { false };
	struct name_entry entry;
	size_t at = 0;
	int err;

	while ((err = name_bucket_next(bucket, &at, &entry)) == 0) {
		if (slots[entry.slot])
			found(dir->walk, dir->dir, "two names have one place in readdir's order; "
			      "one is '%s'", entry.name);
		slots[entry.slot] = true;
		if (name_check(entry.name) || name_hash(dir->walk->store, entry.name) != bucket->hash)
			found(dir->walk, dir->dir, "the name '%s' is not where it is looked for",
			      entry.name);
		dir->name_count++;
		check_name(dir, &entry);
	}
	return err < 0 ? err : 0;
}

static int check_names(struct dir_walk *dir)
{
	struct store *store = dir->walk->store;
	struct listing *listing;
	int err = listing_get(store, dir->guard, dir->dir, dir->walk->at, dir->walk->at, true,
			      &listing);

	for (size_t i = 0; !err && i < listing->count; i++) {
		struct name_bucket bucket;

		err = name_bucket_load(dir->guard, dir->dir, listing->hashes[i], dir->walk->at,
				       &bucket);
		if (!err)
			err = check_bucket(dir, &bucket);
		name_bucket_free(&bucket);
		if (!err)
			err = check_progress(dir->walk->hooks, 0);
	}
	if (listing)
		listing_put(store->listings, listing);
	return err;
}

static int check_dir(struct tree_walk *walk, uint64_t ino)
{
	struct layer_guard guard;
	struct dir_walk dir = { .walk = walk, .guard = &guard, .dir = ino };
	struct attr attr;
	int err;

	engine_guard_take(walk->store->engine, &guard);
	err = attr_load(&guard, ino, walk->at, &attr, NULL, NULL);
	if (!err)
		err = check_names(&dir);
	if (!err && dir.name_count != attr.shown.size_bytes)
		found(walk, ino, "the directory holds %" PRIu64 " names, its attributes say %" PRIu64,
		      dir.name_count, attr.shown.size_bytes);
	layer_guard_drop(&guard);
	if (err == -ENOMEM || err == -ECANCELED)
		return err;
	if (err)
		walk->incomplete = true;
	if (err && !told_elsewhere(err))
		found(walk, ino, "the names of the directory can't be read: %s", strerror(-err));
	return 0;
}

/* ---- the whole ---- */

static uint64_t parent_of(struct tree_walk *walk, uint64_t ino)
{
	struct layer_guard guard;
	struct attr attr;
	int err;

	engine_guard_take(walk->store->engine, &guard);
	err = attr_load(&guard, ino, walk->at, &attr, NULL, NULL);
	layer_guard_drop(&guard);
	return err ? 0 : attr.shown.parent_ino;
}

/* The way up from @ino ends at the root, or where it is known to lead there. */
static void check_way_up(struct tree_walk *walk, uint64_t ino)
{
	uint64_t at = ino, steps = 0;
	struct inode_state *state = state_of(walk, ino);
	bool rooted;

	while (state && !(state->flags & (INODE_ROOTED | INODE_ON_WAY | INODE_UNREADABLE))) {
		state->flags |= INODE_ON_WAY;
		at = parent_of(walk, at);
		state = state_of(walk, at);
		steps++;
	}
	rooted = !state || state->flags & (INODE_ROOTED | INODE_UNREADABLE);
	if (!rooted)
		found(walk, ino, "the way up from this directory goes round in a circle");
	/* Once more along it: each is known now. What could be read before may not be any more. */
	for (at = ino; steps-- > 0; at = parent_of(walk, at)) {
		state = state_of(walk, at);
		if (!state)
			break;
		state->flags = (uint8_t)((state->flags & ~INODE_ON_WAY) | INODE_ROOTED);
	}
}

static void check_links(struct tree_walk *walk, uint64_t ino)
{
	const struct inode_state *state = state_of(walk, ino);

	if (state->type && state->names_left && ino != TREE_ROOT_INO)
		found(walk, ino, "%u of its links %s no name: it can't be reached by %s",
		      state->names_left, state->names_left == 1 ? "has" : "have",
		      state->names_left == 1 ? "that" : "those");
}

typedef int inode_fn(struct tree_walk *walk, uint64_t ino);

static int each_inode(struct tree_walk *walk, inode_fn *fn, bool directories)
{
	int err = 0;

	for (uint64_t ino = TREE_ROOT_INO; ino < walk->ino_end && !err; ino++) {
		if (directories && !S_ISDIR((uint32_t)state_of(walk, ino)->type << TYPE_SHIFT))
			continue;
		err = fn(walk, ino);
		if (!err && ino % 1024 == 0)
			err = check_progress(walk->hooks, 0);
	}
	return err;
}

static int each_way_up(struct tree_walk *walk, uint64_t ino)
{
	check_way_up(walk, ino);
	return 0;
}

static int each_links(struct tree_walk *walk, uint64_t ino)
{
	check_links(walk, ino);
	return 0;
}

static void check_root(struct tree_walk *walk)
{
	struct inode_state *root = state_of(walk, TREE_ROOT_INO);

	if (!root || (!root->type && !(root->flags & INODE_UNREADABLE))) {
		found(walk, TREE_ROOT_INO, "there is no root directory");
		return;
	}
	if (root->type && !S_ISDIR((uint32_t)root->type << TYPE_SHIFT))
		found(walk, TREE_ROOT_INO, "the root is no directory");
	root->flags |= INODE_ROOTED;
}

int tree_check(struct store *store, struct lsn at, const struct check_hooks *hooks,
	       tree_check_name_fn *named, void *named_context, uint64_t *inode_count_out)
{
	struct tree_walk walk = { .store = store, .at = at, .hooks = hooks, .named = named,
				  .named_context = named_context,
				  .ino_end = atomic_load(&store->ino_next) };
	int err;

	*inode_count_out = 0;
	walk.inodes = calloc(walk.ino_end - TREE_ROOT_INO + 1, sizeof(*walk.inodes));
	if (!walk.inodes)
		return -ENOMEM;
	err = each_inode(&walk, check_inode, false);
	if (!err)
		check_root(&walk);
	if (!err)
		err = each_inode(&walk, check_dir, true);
	if (!err)
		err = each_inode(&walk, each_way_up, true);
	if (!err && !walk.incomplete)
		err = each_inode(&walk, each_links, false);
	*inode_count_out = walk.inode_count;
	free(walk.inodes);
	return err;
}

/* ---- paths ---- */

/* The name of @ino in @dir. */
static bool name_of(struct store *store, const struct layer_guard *guard, struct lsn at,
		    uint64_t dir, uint64_t ino, struct name_entry *entry_out)
{
	struct listing *listing;
	bool known = false;
	int err = listing_get(store, guard, dir, at, at, false, &listing);

	for (size_t i = 0; !err && !known && i < listing->count; i++) {
		struct name_bucket bucket;
		size_t pos = 0;

		if (name_bucket_load(guard, dir, listing->hashes[i], at, &bucket))
			continue;
		while (!known && name_bucket_next(&bucket, &pos, entry_out) == 0)
			known = entry_out->ino == ino;
		name_bucket_free(&bucket);
	}
	if (listing)
		listing_put(store->listings, listing);
	return known;
}

bool tree_path(struct store *store, struct lsn at, uint64_t dir, char *path_out, size_t size_bytes)
{
	struct layer_guard guard;
	struct name_entry entry;
	struct attr attr;
	size_t length = 0;
	bool known = true;

	path_out[0] = '\0';
	engine_guard_take(store->engine, &guard);
	while (dir != TREE_ROOT_INO && known) {
		size_t more;

		known = attr_load(&guard, dir, at, &attr, NULL, NULL) == 0 &&
			name_of(store, &guard, at, attr.shown.parent_ino, dir, &entry);
		more = known ? entry.length + 1u : 0;
		if (!known || length + more >= size_bytes) {
			known = false;
			break;
		}
		memmove(path_out + more, path_out, length + 1);
		path_out[0] = '/';
		memcpy(path_out + 1, entry.name, entry.length);
		length += more;
		dir = attr.shown.parent_ino;
	}
	layer_guard_drop(&guard);
	return known;
}
