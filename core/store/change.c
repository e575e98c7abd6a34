#include "change.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "patch.h"
#include "store_internal.h"

static int compare_inos(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int change_begin(struct change *change, struct store *store, const uint64_t *inos, uint32_t count)
{
	uint64_t sorted[CHANGE_INODES_MAX];
	int err = 0;

	assert(count <= CHANGE_INODES_MAX);
	memset(change, 0, sizeof(*change));
	change->store = store;
	engine_pace(store->engine);
	for (uint32_t i = 0; i < count; i++)
		sorted[i] = inos[i];
	qsort(sorted, count, sizeof(*sorted), compare_inos);
	for (uint32_t i = 0; i < count && !err; i++) {
		struct change_inode *slot = &change->inodes[change->inode_count];

		if (i && sorted[i] == sorted[i - 1])
			continue;
		err = inode_lock(store, sorted[i], &slot->inode);
		if (!err) {
			slot->next = slot->inode->attr;
			change->inode_count++;
		}
	}
	if (err)
		change_end(change);
	/* After the locks: times of one inode follow the order of its changes. */
	change->now = tree_now(&change->now_ns);
	return err;
}

void change_end(struct change *change)
{
	for (uint32_t i = change->inode_count; i-- > 0;)
		if (change->inodes[i].inode)
			inode_unlock(change->store, change->inodes[i].inode);
	for (uint32_t i = 0; i < change->bucket_count; i++)
		name_bucket_free(&change->buckets[i]);
	free(change->entries);
	change->inode_count = 0;
	change->bucket_count = 0;
	change->entries = NULL;
}

struct change_inode *change_inode(struct change *change, uint64_t ino)
{
	for (uint32_t i = 0; i < change->inode_count; i++)
		if (change->inodes[i].next.shown.ino == ino)
			return &change->inodes[i];
	assert(!"an inode that the change did not lock");
	return NULL;
}

void change_touch(struct change *change, struct change_inode *inode, bool content)
{
	inode->edited = true;
	inode->next.shown.ctime = change->now;
	if (content)
		inode->next.shown.mtime = change->now;
}

struct change_inode *change_new_inode(struct change *change, uint64_t ino)
{
	struct change_inode *slot = &change->inodes[change->inode_count];

	assert(change->inode_count < CHANGE_INODES_MAX);
	change->inode_count++;
	memset(slot, 0, sizeof(*slot));
	slot->next.shown.ino = ino;
	slot->next.shown.nlink = 1;
	slot->next.shown.atime = change->now;
	slot->next.shown.btime = change->now;
	change_touch(change, slot, true);
	return slot;
}

/* The bucket @name belongs to, loaded once, so that two edits of one bucket meet. */
static int bucket_get(struct change *change, uint64_t dir, const char *name,
		      struct name_bucket **bucket_out)
{
	uint64_t hash = name_hash(change->store, name);
	struct name_bucket *bucket;
	struct layer_guard guard;
	struct lsn newest;
	int err;

	for (uint32_t i = 0; i < change->bucket_count; i++) {
		*bucket_out = &change->buckets[i];
		if ((*bucket_out)->dir == dir && (*bucket_out)->hash == hash)
			return 0;
	}
	assert(change->bucket_count < CHANGE_BUCKETS_MAX);
	bucket = &change->buckets[change->bucket_count];
	newest = engine_guard_take(change->store->engine, &guard);
	err = name_bucket_load(&guard, dir, hash, newest, bucket);
	layer_guard_drop(&guard);
	if (!err)
		change->bucket_count++;
	*bucket_out = bucket;
	return err;
}

int change_name_find(struct change *change, uint64_t dir, const char *name,
		     struct name_entry *entry_out)
{
	struct name_bucket *bucket;
	int err = bucket_get(change, dir, name, &bucket);

	return err ? err : name_bucket_find(bucket, name, entry_out);
}

int change_name_add(struct change *change, uint64_t dir, const char *name, uint64_t ino,
		    uint32_t type)
{
	struct change_inode *parent = change_inode(change, dir);
	struct name_bucket *bucket;
	int err = bucket_get(change, dir, name, &bucket);

	if (!err)
		err = name_bucket_add(bucket, name, ino, type);
	if (!err) {
		parent->next.shown.size_bytes++;
		change_touch(change, parent, true);
	}
	return err;
}

int change_name_remove(struct change *change, uint64_t dir, const char *name)
{
	struct change_inode *parent = change_inode(change, dir);
	struct name_bucket *bucket;
	int err = bucket_get(change, dir, name, &bucket);

	if (!err)
		err = name_bucket_remove(bucket, name);
	if (!err) {
		parent->next.shown.size_bytes--;
		change_touch(change, parent, true);
	}
	return err;
}

struct batch_entry *change_entry(struct change *change)
{
	struct batch_entry *entry;

	if (change->entry_count == change->entry_room) {
		uint32_t room = change->entry_room ? 2 * change->entry_room : 8;
		struct batch_entry *entries = realloc(change->entries, room * sizeof(*entries));

		if (!entries)
			return NULL;
		change->entries = entries;
		change->entry_room = room;
	}
	entry = &change->entries[change->entry_count++];
	memset(entry, 0, sizeof(*entry));
	return entry;
}

/*
 * A patch against the attributes of before, or an image: each layer has one of an inode before it has patches, so that
 * what is lost with a layer is what that layer held.
 */
static int add_attr_entry(struct change *change, struct change_inode *inode)
{
	struct batch_entry *entry = change_entry(change);
	size_t patch_bytes = 0;
	unsigned weight = 0;

	if (!entry)
		return -ENOMEM;
	attr_follow(&inode->next, inode->inode ? &inode->inode->attr : NULL);
	attr_encode(&inode->next, inode->raw);
	if (inode->inode && inode->inode->image.value > engine_layer_start(change->store->engine).value)
		patch_bytes = patch_diff(inode->inode->raw, inode->raw, ATTR_BYTES, 0,
					 inode->payload, ATTR_PATCH_MAX);
	if (patch_bytes)
		weight = version_patch_weight(inode->inode->weight, patch_bytes, ATTR_BYTES);
	entry->key = key_make(inode->next.shown.ino, KEY_ATTR, 0);
	if (patch_bytes && weight <= VERSION_WEIGHT_MAX) {
		entry->form = VERSION_PATCH;
		entry->weight = (uint8_t)weight;
		entry->body = inode->payload;
		entry->body_bytes = (uint32_t)patch_bytes;
	} else {
		entry->form = VERSION_IMAGE;
		entry->body = inode->raw;
		entry->body_bytes = ATTR_BYTES;
	}
	inode->weight = entry->weight;
	return 0;
}

static int add_bucket_entry(struct change *change, const struct name_bucket *bucket)
{
	struct batch_entry *entry = change_entry(change);

	if (!entry)
		return -ENOMEM;
	entry->key = key_make(bucket->dir, KEY_NAME, bucket->hash);
	entry->form = bucket->size_bytes ? VERSION_IMAGE : VERSION_TOMBSTONE;
	entry->body = bucket->bytes;
	entry->body_bytes = (uint32_t)bucket->size_bytes;
	return 0;
}

static bool bucket_is_edited(struct change *change, const struct name_bucket *bucket)
{
	return change_inode(change, bucket->dir)->edited;
}

/* The attributes just written become those in memory. */
static void take_inode(struct change_inode *inode, struct lsn lsn, uint64_t position)
{
	inode->next.shown.changed = lsn;
	inode->next.shown.position = position;
	if (!inode->inode)
		return;
	inode->inode->attr = inode->next;
	memcpy(inode->inode->raw, inode->raw, ATTR_BYTES);
	inode->inode->weight = inode->weight;
	if (!inode->weight)
		inode->inode->image = lsn;
}

/* Inodes whose last name goes, or that are made without one, are orphans before it is history that may be dropped. */
static int mark_orphans(struct change *change)
{
	int err = 0;

	for (uint32_t i = 0; i < change->inode_count && !err; i++)
		if (change->inodes[i].edited && !change->inodes[i].next.shown.nlink)
			err = orphans_add(&change->store->orphans, change->inodes[i].next.shown.ino);
	return err;
}

/* The change failed: those that were none before are none. */
static void unmark_orphans(struct change *change)
{
	for (uint32_t i = 0; i < change->inode_count; i++) {
		const struct change_inode *inode = &change->inodes[i];

		if (inode->edited && !inode->next.shown.nlink &&
		    (!inode->inode || inode->inode->attr.shown.nlink))
			orphans_remove(&change->store->orphans, inode->next.shown.ino);
	}
}

int change_commit(struct change *change)
{
	uint32_t attrs_from = change->entry_count;
	struct lsn lsn;
	uint64_t start;
	int err = 0;

	for (uint32_t i = 0; i < change->inode_count && !err; i++)
		if (change->inodes[i].edited)
			err = add_attr_entry(change, &change->inodes[i]);
	if (!err)
		err = mark_orphans(change);
	for (uint32_t i = 0; i < change->bucket_count && !err; i++)
		if (bucket_is_edited(change, &change->buckets[i]))
			err = add_bucket_entry(change, &change->buckets[i]);
	if (!err)
		err = engine_commit(change->store->engine, change->entries, change->entry_count,
				    change->now_ns, &lsn);
	if (err) {
		unmark_orphans(change);
		return err;
	}
	change->lsn = lsn;
	start = lsn.value - batch_size(change->entries, change->entry_count);
	for (uint32_t i = 0; i < change->inode_count; i++)
		if (change->inodes[i].edited)
			take_inode(&change->inodes[i], lsn,
				   start + change->entries[attrs_from++].payload_at);
	return 0;
}
