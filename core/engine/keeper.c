#include "keeper.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"

#define ENTRY_COST_BYTES 24u            /* of a version besides its payload, about */

enum seen {
	SEEN_UNKNOWN,
	SEEN,
	UNSEEN,
};

/* An inode as one of the points has it. */
struct inode_point {
	enum seen seen;
	void *view;                     /* the hook's; NULL: none was asked for */
};

struct keeper {
	struct engine *engine;
	const struct retention *retention;
	bool bottom;

	uint64_t ino;                   /* whose the points below are */
	struct inode_point *points;     /* one for each of the retention's */

	struct key key;                 /* of the version that came last */
	bool started;                   /* a version came */
	bool before_dropped;            /* the version before the pending one, of the same key, was */
	bool older_kept;                /* a version of this key was kept */
	bool waiting;                   /* there is a pending one */
	struct table_entry pending;     /* its payload is @held's */
	uint8_t *held;
	size_t held_room;
	uint8_t *image;                 /* room for a value, NULL until needed */

	uint64_t dropped_versions, dropped_bytes;
	uint64_t *point_bytes;
};

int keeper_open(struct engine *engine, const struct retention *retention, bool bottom,
		struct keeper **keeper_out)
{
	struct keeper *keeper = calloc(1, sizeof(*keeper));

	*keeper_out = NULL;
	if (!keeper)
		return -ENOMEM;
	keeper->engine = engine;
	keeper->retention = retention;
	keeper->bottom = bottom;
	keeper->points = calloc(retention->count, sizeof(*keeper->points));
	keeper->point_bytes = calloc(retention->count, sizeof(*keeper->point_bytes));
	if (!keeper->points || !keeper->point_bytes) {
		keeper_close(keeper);
		return -ENOMEM;
	}
	*keeper_out = keeper;
	return 0;
}

static void forget_inode(struct keeper *keeper)
{
	const struct retention_hooks *hooks = &keeper->engine->options.retention;

	for (uint32_t i = 0; i < keeper->retention->count; i++) {
		if (keeper->points[i].view)
			hooks->close(hooks->context, keeper->points[i].view);
		keeper->points[i] = (struct inode_point){ SEEN_UNKNOWN, NULL };
	}
}

void keeper_close(struct keeper *keeper)
{
	if (!keeper)
		return;
	if (keeper->points)
		forget_inode(keeper);
	free(keeper->points);
	free(keeper->point_bytes);
	free(keeper->held);
	free(keeper->image);
	free(keeper);
}

/* Ask the store what of the inode is seen at a point. What can't be told is seen. */
static void look_at_inode(struct keeper *keeper, uint32_t point)
{
	const struct retention_hooks *hooks = &keeper->engine->options.retention;
	bool horizon = point + 1 == keeper->retention->count;
	struct layer_guard guard;
	int seen = 1;

	engine_guard_take(keeper->engine, &guard);
	if (hooks->open)
		seen = hooks->open(hooks->context, &guard, keeper->ino,
				   keeper->retention->points[point], horizon,
				   &keeper->points[point].view);
	layer_guard_drop(&guard);
	keeper->points[point].seen = seen == 0 ? UNSEEN : SEEN;
}

static bool inode_is_seen(struct keeper *keeper, uint64_t ino, uint32_t point)
{
	if (ino == KEY_TIME_INO)
		return true;
	if (ino != keeper->ino) {
		forget_inode(keeper);
		keeper->ino = ino;
	}
	if (keeper->points[point].seen == SEEN_UNKNOWN)
		look_at_inode(keeper, point);
	return keeper->points[point].seen == SEEN;
}

static bool block_is_seen(struct keeper *keeper, const struct table_entry *entry, uint32_t point)
{
	const struct retention_hooks *hooks = &keeper->engine->options.retention;
	void *view = keeper->points[point].view;
	struct layer_guard guard;
	bool seen;

	if (key_kind(entry->key) != KEY_PAGE || !view)
		return true;
	engine_guard_take(keeper->engine, &guard);
	seen = hooks->sees_page(hooks->context, &guard, view, key_index(entry->key), entry->lsn);
	layer_guard_drop(&guard);
	return seen;
}

/* A version that says that something is gone: while an older version is kept, so must this be, or
 * what is gone would be there again. */
static bool hides(const struct table_entry *entry)
{
	return entry->form == VERSION_TOMBSTONE || key_kind(entry->key) == KEY_ATTR;
}

/* Is the version, the newest one there, needed at a point? */
static bool is_needed_at(struct keeper *keeper, const struct table_entry *entry, uint32_t point)
{
	bool seen = inode_is_seen(keeper, entry->key.ino, point);

	/* Nobody asks what a dead inode held, whatever else is there of it. */
	if (!seen && key_kind(entry->key) != KEY_ATTR)
		return false;
	if (hides(entry) && (!keeper->bottom || keeper->older_kept))
		return true;
	return seen && entry->form != VERSION_TOMBSTONE && block_is_seen(keeper, entry, point);
}

/* Is it at one of the points from the first at or above it up to the one before @next? */
static bool is_needed(struct keeper *keeper, const struct table_entry *entry, struct lsn next)
{
	uint32_t first = retention_first(keeper->retention, entry->lsn);
	uint32_t needed = 0, point = 0;

	for (uint32_t i = first; i < keeper->retention->count &&
				 keeper->retention->points[i].value < next.value; i++) {
		if (is_needed_at(keeper, entry, i)) {
			needed++;
			point = i;
		}
	}
	if (needed == 1)
		keeper->point_bytes[point] += entry->size_bytes + ENTRY_COST_BYTES;
	return needed > 0;
}

/* Is there a version above in a run that is not part of the merge? It may be a patch over this one. */
static bool is_built_upon(struct keeper *keeper, const struct table_entry *entry)
{
	struct layer_guard guard;
	struct version newest;
	int err;

	engine_guard_take(keeper->engine, &guard);
	err = engine_find(&guard, entry->key, LSN_HEAD, &newest);
	layer_guard_drop(&guard);
	return err || newest.lsn.value > entry->lsn.value;
}

/*
 * Is what is built upon a version that nobody sees to stay readable while it is there? The last attributes of
 * a dead inode, which say that it is; and of an inode that lives a page that was punched. Who merges its later versions
 * asks whether the page is there at the horizon, and it is if it was written anew: they are kept, though nobody sees
 * them either, and so they must not lead nowhere.
 */
static bool leads_on(struct keeper *keeper, const struct table_entry *entry)
{
	uint32_t horizon = keeper->retention->count - 1;

	return key_kind(entry->key) == KEY_ATTR ||
	       (key_kind(entry->key) == KEY_PAGE && entry->form != VERSION_TOMBSTONE &&
		inode_is_seen(keeper, entry->key.ino, horizon));
}

/* May the pending version go, given that of the next one of its key? */
static bool may_go(struct keeper *keeper, struct lsn next)
{
	const struct table_entry *entry = &keeper->pending;
	bool newest = next.value > retention_horizon(keeper->retention).value;

	if (is_needed(keeper, entry, next))
		return false;
	return !(newest && leads_on(keeper, entry) && is_built_upon(keeper, entry));
}

/*
 * The value at a version, whole. One that is damaged is lost, and refused as before. Any other error is the
 * merge's: what can't be read just now may be readable the next time.
 */
static int make_image(struct keeper *keeper, struct table_entry *entry)
{
	const struct retention_hooks *hooks = &keeper->engine->options.retention;
	size_t page_bytes = keeper->engine->store.page_size_bytes;
	size_t room = key_kind(entry->key) == KEY_ATTR && hooks->attr_bytes ? hooks->attr_bytes
									    : page_bytes;
	struct layer_guard guard;
	struct version version;
	size_t size = 0;
	bool found;
	int err;

	if (!keeper->image)
		keeper->image = malloc(page_bytes);
	if (!keeper->image)
		return -ENOMEM;
	assert(room <= page_bytes);
	engine_guard_take(keeper->engine, &guard);
	err = engine_find(&guard, entry->key, entry->lsn, &version);
	if (err == 1 || (!err && version.lsn.value != entry->lsn.value))
		err = -EUCLEAN;
	found = !err;
	if (found)
		err = engine_load(&guard, &version, keeper->image, room, &size);
	layer_guard_drop(&guard);
	if (err && !(found && (err == -EBADMSG || err == -EUCLEAN)))
		return err;
	entry->weight = 0;
	entry->form = err ? VERSION_LOST : VERSION_IMAGE;
	entry->payload = keeper->image;
	/* A page is zeros beyond its image, and so is a node of a page map. */
	while ((key_kind(entry->key) == KEY_PAGE || key_kind(entry->key) == KEY_MAP) && size &&
	       !keeper->image[size - 1])
		size--;
	entry->size_bytes = err ? 0 : (uint32_t)size;
	return 0;
}

/* Decide on the pending version; @next is the LSN of the next of its key. */
static int settle(struct keeper *keeper, struct lsn next, keeper_emit_fn *emit, void *context)
{
	struct table_entry entry = keeper->pending;
	int err = 0;

	if (!keeper->waiting)
		return 0;
	keeper->waiting = false;
	if (may_go(keeper, next)) {
		keeper->dropped_versions++;
		keeper->dropped_bytes += entry.size_bytes;
		keeper->before_dropped = true;
		return 0;
	}
	if (entry.weight && keeper->before_dropped)
		err = make_image(keeper, &entry);
	keeper->before_dropped = false;
	keeper->older_kept = true;
	return err ? err : emit(context, &entry);
}

/* Keep a version back until it is known what follows. */
static int hold(struct keeper *keeper, const struct table_entry *entry)
{
	if (entry->size_bytes > keeper->held_room) {
		free(keeper->held);
		keeper->held_room = 0;
		keeper->held = malloc(entry->size_bytes);
		if (!keeper->held)
			return -ENOMEM;
		keeper->held_room = entry->size_bytes;
	}
	if (entry->size_bytes)
		memcpy(keeper->held, entry->payload, entry->size_bytes);
	keeper->pending = *entry;
	keeper->pending.payload = keeper->held;
	keeper->waiting = true;
	return 0;
}

int keeper_put(struct keeper *keeper, const struct table_entry *entry, keeper_emit_fn *emit,
	       void *context)
{
	bool same = keeper->started && key_equal(keeper->key, entry->key);
	struct table_entry above = *entry;
	int err = settle(keeper, same ? entry->lsn : LSN_HEAD, emit, context);

	if (err)
		return err;
	if (!same) {
		keeper->before_dropped = false;
		keeper->older_kept = false;
	}
	keeper->started = true;
	keeper->key = entry->key;
	if (entry->lsn.value <= retention_horizon(keeper->retention).value)
		return hold(keeper, entry);
	if (above.weight && keeper->before_dropped)
		err = make_image(keeper, &above);
	keeper->before_dropped = false;
	keeper->older_kept = true;
	return err ? err : emit(context, &above);
}

int keeper_end(struct keeper *keeper, keeper_emit_fn *emit, void *context)
{
	return settle(keeper, LSN_HEAD, emit, context);
}

void keeper_dropped(const struct keeper *keeper, uint64_t *versions_out, uint64_t *bytes_out)
{
	*versions_out = keeper->dropped_versions;
	*bytes_out = keeper->dropped_bytes;
}

uint64_t keeper_point_bytes(const struct keeper *keeper, uint32_t point)
{
	return keeper->point_bytes[point];
}
