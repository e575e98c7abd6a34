#include "retention.h"

#include <errno.h>
#include <stdlib.h>

#include "floors.h"
#include "page_map.h"
#include "store_internal.h"

/* Will nothing above @at name the inode again, and has nobody it open? It has no name at @at. */
static int is_dead_for_good(struct store *store, const struct layer_guard *guard, uint64_t ino,
			    struct lsn at)
{
	struct version newest;
	int err;

	if (orphans_has(&store->orphans, ino))
		return 0;
	err = engine_find(guard, key_make(ino, KEY_ATTR, 0), LSN_HEAD, &newest);
	if (err < 0)
		return err;
	return err == 1 || newest.lsn.value <= at.value;
}

/* Which pages of a file are seen at an LSN. */
struct page_view {
	struct floors floors;
	struct page_map map;            /* nodes at hand; its guard is that of the call */
	bool mapped;
};

static int open_inode(void *context, const struct layer_guard *guard, uint64_t ino, struct lsn at,
		      bool for_good, void **view_out)
{
	struct store *store = context;
	struct page_view *pages;
	struct attr attr;
	int err = attr_load(guard, ino, at, &attr, NULL, NULL);

	*view_out = NULL;
	if (err == -ENOENT || (!err && attr.shown.nlink == 0)) {
		int dead = for_good ? is_dead_for_good(store, guard, ino, at) : 1;

		return dead < 0 ? dead : !dead;
	}
	if (err)
		return err;
	if (!(attr.flags & (ATTR_HAS_FLOORS | ATTR_HAS_HOLES)))
		return 1;
	pages = calloc(1, sizeof(*pages));
	if (!pages)
		return -ENOMEM;
	pages->mapped = attr.flags & ATTR_MAPPED;
	if (pages->mapped)
		page_map_begin(&pages->map, guard, attr.shown.ino, at, attr.block_end,
			       attr.shown.page_count);
	else
		err = floors_load(guard, ino, at, &pages->floors);
	if (err) {
		free(pages);
		return err;
	}
	*view_out = pages;
	return 1;
}

/* What can't be told is seen. */
static bool sees_page(void *context, const struct layer_guard *guard, void *view, uint64_t block,
		      struct lsn lsn)
{
	struct page_view *pages = view;

	(void)context;
	if (!pages->mapped)
		return lsn.value > floors_at(&pages->floors, block).value;
	pages->map.guard = guard;
	return page_map_has(&pages->map, block) != 0;
}

static void close_inode(void *context, void *view)
{
	struct page_view *pages = view;

	(void)context;
	floors_free(&pages->floors);
	page_map_end(&pages->map);
	free(pages);
}

struct retention_hooks retention_hooks_of(struct store *store)
{
	return (struct retention_hooks){ store, open_inode, sees_page, close_inode, ATTR_BYTES };
}
