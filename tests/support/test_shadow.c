#include "test_shadow.h"

void shadow_init(struct shadow *shadow, struct fixture *fixture, const char *name)
{
	memset(shadow, 0, sizeof(*shadow));
	shadow->fixture = fixture;
	shadow->ino = make_file(fixture->store, TREE_ROOT_INO, name);
}

void shadow_destroy(struct shadow *shadow)
{
	free(shadow->bytes);
}

static void shadow_resize(struct shadow *shadow, size_t size_bytes)
{
	if (size_bytes > shadow->capacity) {
		shadow->bytes = realloc(shadow->bytes, size_bytes);
		assert_non_null(shadow->bytes);
		shadow->capacity = size_bytes;
	}
	if (size_bytes > shadow->size_bytes)
		memset(shadow->bytes + shadow->size_bytes, 0, size_bytes - shadow->size_bytes);
	shadow->size_bytes = size_bytes;
}

static void shadow_check(struct shadow *shadow)
{
	struct fixture *fixture = shadow->fixture;

	if (shadow->freeze_each)
		fixture_freeze(fixture);
	assert_int_equal(attr_now(fixture->store, shadow->ino).size_bytes, shadow->size_bytes);
	assert_bytes(fixture->store, shadow->ino, LSN_HEAD, 0, shadow->bytes, shadow->size_bytes);
	fixture_note(fixture);
}

void shadow_write(struct shadow *shadow, uint64_t seed, size_t offset_bytes, size_t size_bytes)
{
	struct store *store = shadow->fixture->store;

	if (size_bytes == 0) {          /* does not extend the file */
		write_bytes(store, shadow->ino, offset_bytes, "", 0);
	} else {
		if (offset_bytes + size_bytes > shadow->size_bytes)
			shadow_resize(shadow, offset_bytes + size_bytes);
		seed_fill(seed, shadow->bytes + offset_bytes, size_bytes);
		write_bytes(store, shadow->ino, offset_bytes, shadow->bytes + offset_bytes,
			    size_bytes);
	}
	shadow_check(shadow);
}

void shadow_truncate(struct shadow *shadow, size_t size_bytes)
{
	shadow_resize(shadow, size_bytes);
	set_size(shadow->fixture->store, shadow->ino, size_bytes);
	shadow_check(shadow);
}

void shadow_punch(struct shadow *shadow, size_t offset_bytes, size_t size_bytes, bool grow)
{
	size_t end = offset_bytes + size_bytes;

	if (grow && end > shadow->size_bytes)
		shadow_resize(shadow, end);
	assert_ok(tree_punch(shadow->fixture->store, shadow->ino, offset_bytes, size_bytes, !grow,
			     false));
	end = end < shadow->size_bytes ? end : shadow->size_bytes;
	if (offset_bytes < end)
		memset(shadow->bytes + offset_bytes, 0, end - offset_bytes);
	shadow_check(shadow);
}

void shadow_copy(struct shadow *shadow, const struct shadow *from, size_t from_bytes,
		 size_t offset_bytes, size_t size_bytes)
{
	struct store *store = shadow->fixture->store;

	for (uint64_t count = 1; count && size_bytes; size_bytes -= count) {
		size_t left = from_bytes < from->size_bytes ? from->size_bytes - from_bytes : 0;

		assert_ok(tree_copy(store, from->ino, LSN_HEAD, from_bytes, shadow->ino, offset_bytes,
				    size_bytes, false, &count));
		assert_true(count <= size_bytes && count <= left && (count || !left));
		if (count && offset_bytes + count > shadow->size_bytes)
			shadow_resize(shadow, offset_bytes + count);
		if (count)
			memcpy(shadow->bytes + offset_bytes, from->bytes + from_bytes, count);
		from_bytes += count;
		offset_bytes += count;
	}
	shadow_check(shadow);
}
