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
