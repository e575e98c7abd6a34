/*
 * Name buckets: what is listed are names a caller could have given, each in a slot
 * there is; adding to a bucket and removing again gives the same bytes.
 */
#include "names.h"

#include "fuzz.h"
#include "tree.h"

static struct name_bucket bucket_of(const uint8_t *data, size_t size_bytes)
{
	struct name_bucket bucket = { .bytes = malloc(size_bytes + 1), .size_bytes = size_bytes };

	require(bucket.bytes != NULL);
	memcpy(bucket.bytes, data, size_bytes);
	return bucket;
}

/* How many names; -EUCLEAN. */
static int walk(const struct name_bucket *bucket)
{
	struct name_entry entry, found;
	size_t at = 0, before = 0;
	int count = 0, err;

	while ((err = name_bucket_next(bucket, &at, &entry)) == 0) {
		require(at > before && at <= bucket->size_bytes);
		require(strlen(entry.name) == entry.length && name_check(entry.name) == 0);
		require(entry.slot < NAME_SLOT_COUNT);
		require(name_bucket_find(bucket, entry.name, &found) == 0);
		require(!strcmp(found.name, entry.name));
		before = at;
		count++;
	}
	require(err == 1 || err == -EUCLEAN);
	return err < 0 ? err : count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	struct name_bucket bucket = bucket_of(data, size_bytes);
	struct name_entry entry;
	int count = walk(&bucket), err;

	err = name_bucket_find(&bucket, "a name", &entry);
	if (count < 0) {
		require(err == 0 || err == -EUCLEAN);
		require(name_bucket_add(&bucket, "b", 20, S_IFREG) == -EUCLEAN);
	} else if (err == -ENOENT) {
		err = name_bucket_add(&bucket, "a name", 20, S_IFREG);
		require(err == 0 || (err == -ENOSPC && count >= (int)NAME_SLOT_COUNT));
		if (!err) {
			require(walk(&bucket) == count + 1);
			require(name_bucket_remove(&bucket, "a name") == 0);
		}
		require(bucket.size_bytes == size_bytes);
		require(!memcmp(bucket.bytes, data, size_bytes));
	}
	name_bucket_free(&bucket);
	return 0;
}
