#include "retention.h"

#include <errno.h>
#include <stdlib.h>

#include "floors.h"
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

static int open_inode(void *context, const struct layer_guard *guard, uint64_t ino, struct lsn at,
		      bool for_good, void **view_out)
{
	struct store *store = context;
	struct floors *floors;
	struct attr attr;
	int err = attr_load(guard, ino, at, &attr, NULL, NULL);

	*view_out = NULL;
	if (err == -ENOENT || (!err && attr.shown.nlink == 0)) {
		int dead = for_good ? is_dead_for_good(store, guard, ino, at) : 1;

		return dead < 0 ? dead : !dead;
	}
	if (err)
		return err;
	if (!(attr.flags & ATTR_HAS_FLOORS))
		return 1;
	floors = malloc(sizeof(*floors));
	if (!floors)
		return -ENOMEM;
	err = floors_load(guard, ino, at, floors);
	if (err) {
		free(floors);
		return err;
	}
	*view_out = floors;
	return 1;
}

static bool sees_page(void *context, void *view, uint64_t block, struct lsn lsn)
{
	return lsn.value > floors_at(view, block).value;
}

static void close_inode(void *context, void *view)
{
	floors_free(view);
	free(view);
}

struct retention_hooks retention_hooks_of(struct store *store)
{
	return (struct retention_hooks){ store, open_inode, sees_page, close_inode, ATTR_BYTES };
}
