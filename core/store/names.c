#include "names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "codec.h"
#include "engine.h"
#include "store_internal.h"

#define NAME_HEAD_BYTES 11u             /* slot, type, inode number, length */
#define TYPE_SHIFT 12

int name_check(const char *name)
{
	size_t length = strlen(name);

	if (length > TREE_NAME_MAX)
		return -ENAMETOOLONG;
	if (length == 0 || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return -EINVAL;
	return 0;
}

uint64_t name_hash(const struct store *store, const char *name)
{
	uint64_t hash = checksum(name, strlen(name), 0) & store->name_hash_mask;

	/* 0 is left to the cookies of "." and "..". */
	return hash ? hash : 1;
}

int name_bucket_load(const struct layer_guard *guard, uint64_t dir, uint64_t hash, struct lsn lsn,
		     struct name_bucket *bucket_out)
{
	struct version version;
	int err = engine_find(guard, key_make(dir, KEY_NAME, hash), lsn, &version);

	if (err >= 0)
		return name_bucket_read(guard, dir, hash, &version, bucket_out);
	*bucket_out = (struct name_bucket){ .dir = dir, .hash = hash };
	return err;
}

int name_bucket_read(const struct layer_guard *guard, uint64_t dir, uint64_t hash,
		     const struct version *version, struct name_bucket *bucket_out)
{
	size_t size;
	int err;

	*bucket_out = (struct name_bucket){ .dir = dir, .hash = hash };
	if (!version->form || version->form == VERSION_TOMBSTONE)
		return 0;
	bucket_out->bytes = malloc(version->size_bytes + 1);
	if (!bucket_out->bytes)
		return -ENOMEM;
	err = engine_load(guard, version, bucket_out->bytes, version->size_bytes, &size);
	if (err) {
		name_bucket_free(bucket_out);
		return err;
	}
	bucket_out->size_bytes = size;
	return 0;
}

void name_bucket_free(struct name_bucket *bucket)
{
	free(bucket->bytes);
	bucket->bytes = NULL;
	bucket->size_bytes = 0;
}

int name_bucket_next(const struct name_bucket *bucket, size_t *at_bytes,
		     struct name_entry *entry_out)
{
	struct get_cursor c;
	const uint8_t *name;

	if (*at_bytes >= bucket->size_bytes)
		return 1;
	c = get_cursor(bucket->bytes + *at_bytes, bucket->size_bytes - *at_bytes);
	entry_out->slot = get_u8(&c);
	entry_out->type = (uint32_t)get_u8(&c) << TYPE_SHIFT;
	entry_out->ino = get_u64(&c);
	entry_out->length = get_u8(&c);
	name = get_bytes(&c, entry_out->length);
	if (!name || entry_out->length == 0 || entry_out->slot >= NAME_SLOT_COUNT ||
	    memchr(name, 0, entry_out->length) || memchr(name, '/', entry_out->length))
		return -EUCLEAN;
	memcpy(entry_out->name, name, entry_out->length);
	entry_out->name[entry_out->length] = '\0';
	if (strcmp(entry_out->name, ".") == 0 || strcmp(entry_out->name, "..") == 0)
		return -EUCLEAN;
	*at_bytes = (size_t)(c.at - bucket->bytes);
	return 0;
}

int name_bucket_find(const struct name_bucket *bucket, const char *name,
		     struct name_entry *entry_out)
{
	size_t at = 0;
	int err;

	while ((err = name_bucket_next(bucket, &at, entry_out)) == 0)
		if (strcmp(entry_out->name, name) == 0)
			return 0;
	return err < 0 ? err : -ENOENT;
}

/* The lowest slot no name has. */
static int free_slot(const struct name_bucket *bucket, uint8_t *slot_out)
{
	bool taken[NAME_SLOT_COUNT] = { false };
	struct name_entry entry;
	size_t at = 0;
	int err;

	while ((err = name_bucket_next(bucket, &at, &entry)) == 0)
		taken[entry.slot] = true;
	if (err < 0)
		return err;
	for (unsigned slot = 0; slot < NAME_SLOT_COUNT; slot++) {
		if (!taken[slot]) {
			*slot_out = (uint8_t)slot;
			return 0;
		}
	}
	return -ENOSPC;
}

int name_bucket_add(struct name_bucket *bucket, const char *name, uint64_t ino, uint32_t type)
{
	size_t length = strlen(name);
	struct put_cursor c;
	uint8_t *bytes, slot = 0;
	int err = free_slot(bucket, &slot);

	if (err)
		return err;
	bytes = realloc(bucket->bytes, bucket->size_bytes + NAME_HEAD_BYTES + length);
	if (!bytes)
		return -ENOMEM;
	c = put_cursor(bytes + bucket->size_bytes, NAME_HEAD_BYTES + length);
	put_u8(&c, slot);
	put_u8(&c, (uint8_t)(type >> TYPE_SHIFT));
	put_u64(&c, ino);
	put_u8(&c, (uint8_t)length);
	put_bytes(&c, name, length);
	bucket->bytes = bytes;
	bucket->size_bytes += NAME_HEAD_BYTES + length;
	return 0;
}

int name_bucket_remove(struct name_bucket *bucket, const char *name)
{
	struct name_entry entry;
	size_t at = 0, start = 0;
	int err;

	while ((err = name_bucket_next(bucket, &at, &entry)) == 0) {
		if (strcmp(entry.name, name) == 0) {
			memmove(bucket->bytes + start, bucket->bytes + at,
				bucket->size_bytes - at);
			bucket->size_bytes -= at - start;
			return 0;
		}
		start = at;
	}
	return err < 0 ? err : -ENOENT;
}
