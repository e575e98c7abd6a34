#include "test_layer.h"

#include <fcntl.h>
#include <unistd.h>

enum { INODES = 30, INDEXES = 40, ENTRIES_MAX = 6, PAYLOAD_MAX = 300 };

struct test_layer *test_layer_new(void)
{
	struct test_layer *test = calloc(1, sizeof(*test));
	char name[LAYER_NAME_BYTES];

	assert_non_null(test);
	dir_make_temporary(test->dir);
	layer_name(7, name);
	path_join(test->path, test->dir, name);
	test->dir_fd = open(test->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(test->dir_fd >= 0, "open", test->dir);
	test->prng.state = test_seed();
	test->store = (struct store_identity){ .seed = 99, .page_size_bytes = 4096 };
	memcpy(test->store.id, "sixteen bytes id", 16);
	assert_ok(open_layer_create(test->dir_fd, 7, LAYER_SIZE_MIN, &test->store, &test->open));
	open_layer_start(test->open, lsn_make(TEST_LAYER_START), TEST_LAYER_CHAIN);
	return test;
}

void test_layer_close(struct test_layer *test)
{
	open_layer_close(test->open);
	test->open = NULL;
}

void test_layer_free(struct test_layer *test)
{
	if (!test)
		return;
	test_layer_close(test);
	close(test->dir_fd);
	dir_remove(test->dir);
	free(test->versions);
	free(test);
}

struct key test_layer_key(struct prng *prng)
{
	static const enum key_kind kinds[] = { KEY_ATTR, KEY_FLOOR, KEY_NAME, KEY_PAGE, KEY_PAGE };

	return key_make(16 + prng_below(prng, INODES), kinds[prng_below(prng, array_size(kinds))],
			prng_below(prng, INDEXES));
}

static bool batch_has(const struct batch_entry *entries, size_t count, struct key key)
{
	for (size_t i = 0; i < count; i++) {
		if (key_equal(entries[i].key, key))
			return true;
	}
	return false;
}

static void remember(struct test_layer *test, const struct test_version *version)
{
	if (test->version_count == test->version_room) {
		test->version_room = test->version_room ? 2 * test->version_room : 1024;
		test->versions = realloc(test->versions,
					 test->version_room * sizeof(*test->versions));
		assert_non_null(test->versions);
	}
	test->versions[test->version_count++] = *version;
}

bool test_layer_append(struct test_layer *test)
{
	static uint8_t payloads[ENTRIES_MAX][PAYLOAD_MAX];
	struct batch_entry entries[ENTRIES_MAX] = { 0 };
	struct test_version versions[ENTRIES_MAX];
	size_t count = 1 + prng_below(&test->prng, ENTRIES_MAX);
	struct lease lease;

	for (size_t i = 0; i < count; i++) {
		struct test_version *v = &versions[i];
		struct key key = test_layer_key(&test->prng);

		while (batch_has(entries, i, key))
			key = test_layer_key(&test->prng);
		*v = (struct test_version){ .key = key, .seed = prng_next(&test->prng),
					    .size_bytes = prng_below(&test->prng, PAYLOAD_MAX),
					    .form = 1 + prng_below(&test->prng, 3) };
		v->weight = v->form == VERSION_PATCH ? prng_below(&test->prng, 64) : 0;
		seed_fill(v->seed, payloads[i], v->size_bytes);
		/* Part of the payload in the entry itself, the rest borrowed. */
		size_t head = prng_below(&test->prng, BATCH_INLINE_HEAD_BYTES + 1);
		if (head > v->size_bytes)
			head = v->size_bytes;
		entries[i] = (struct batch_entry){ .key = key, .form = v->form,
						   .weight = v->weight, .head_bytes = head,
						   .body = payloads[i] + head,
						   .body_bytes = v->size_bytes - head };
		memcpy(entries[i].head, payloads[i], head);
	}
	int err = open_layer_lease(test->open, batch_size(entries, count), count,
				   1000 + test->batch_count, &lease);
	if (err == 1)
		return false;
	assert_ok(err);
	lease_fill(&lease, entries, count, lsn_make(TEST_LAYER_START));
	lease_publish(&lease, entries, count);
	for (size_t i = 0; i < count; i++) {
		versions[i].lsn = lease.lsn;
		remember(test, &versions[i]);
	}
	test->batch_count++;
	return true;
}

void test_layer_append_many(struct test_layer *test, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		assert_true(test_layer_append(test));
}

const struct test_version *test_layer_expect(const struct test_layer *test, struct key key,
					     struct lsn lsn)
{
	for (size_t i = test->version_count; i > 0; i--) {
		const struct test_version *version = &test->versions[i - 1];

		if (version->lsn.value <= lsn.value && key_equal(version->key, key))
			return version;
	}
	return NULL;
}

void test_version_check(const struct version *found, const struct test_version *expected)
{
	uint8_t bytes[PAYLOAD_MAX], scratch[PAYLOAD_MAX];
	const uint8_t *payload;

	assert_true(key_equal(found->key, expected->key));
	assert_int_equal(found->lsn.value, expected->lsn.value);
	assert_int_equal(found->form, expected->form);
	assert_int_equal(found->weight, expected->weight);
	assert_int_equal(found->size_bytes, expected->size_bytes);
	assert_ok(version_load(found, scratch, &payload));
	seed_fill(expected->seed, bytes, expected->size_bytes);
	assert_memory_equal(payload, bytes, expected->size_bytes);
}

void test_layer_compare(struct test_layer *test, struct layer *layer, unsigned count)
{
	uint64_t last = test->versions[test->version_count - 1].lsn.value;

	for (unsigned i = 0; i < count; i++) {
		struct key key = test_layer_key(&test->prng);
		struct lsn lsn = lsn_make(TEST_LAYER_START +
					  prng_below(&test->prng, last - TEST_LAYER_START + 100));
		const struct test_version *expected = test_layer_expect(test, key, lsn);
		struct version found;

		assert_err(layer_find(layer, key, lsn, &found), expected ? 0 : 1);
		if (expected)
			test_version_check(&found, expected);
	}
}

struct names_seen {
	uint64_t ino;
	unsigned seen[INDEXES];
};

static int see_name(void *context, struct key key)
{
	struct names_seen *names = context;

	assert_int_equal(key.ino, names->ino);
	assert_int_equal(key_kind(key), KEY_NAME);
	names->seen[key_index(key)]++;
	return 0;
}

struct versions_seen {
	struct test_layer *test;
	uint64_t ino;
	size_t count;
};

static int see_version(void *context, const struct version *version)
{
	struct versions_seen *versions = context;

	assert_int_equal(version->key.ino, versions->ino);
	test_version_check(version, test_layer_expect(versions->test, version->key, version->lsn));
	versions->count++;
	return 0;
}

static void compare_names(struct test_layer *test, struct layer *layer, uint64_t ino)
{
	uint64_t from = prng_below(&test->prng, 2) ? 0 : prng_below(&test->prng, INDEXES);
	struct names_seen names = { .ino = ino };

	assert_ok(layer_each_name(layer, ino, from, see_name, &names));
	for (uint64_t i = 0; i < INDEXES; i++) {
		bool there = test_layer_expect(test, key_make(ino, KEY_NAME, i),
					       lsn_make(UINT64_MAX));

		/* A listing may be generous below @from and repeat itself; it misses nothing. */
		if (i >= from)
			assert_int_equal(names.seen[i] > 0, there);
		else
			assert_true(there || !names.seen[i]);
	}
}

/* Some names at some LSN, looked for together. */
static void compare_names_together(struct test_layer *test, struct layer *layer, uint64_t ino)
{
	const struct test_version *last = &test->versions[test->version_count - 1];
	struct lsn lsn = lsn_make(TEST_LAYER_START + prng_below(&test->prng, last->lsn.value - TEST_LAYER_START + 2));
	struct version versions[INDEXES] = { 0 };
	uint64_t hashes[INDEXES];
	uint32_t count = 0, done;

	for (uint64_t i = 0; i < INDEXES; i++)
		if (prng_below(&test->prng, 3))
			hashes[count++] = i;
	for (uint32_t i = 0; i < count; i += done) {
		assert_ok(layer_find_names(layer, ino, hashes + i, count - i, lsn, versions + i, &done));
		assert_true(done >= 1 && done <= count - i);
	}
	for (uint32_t i = 0; i < count; i++) {
		const struct test_version *expected =
			test_layer_expect(test, key_make(ino, KEY_NAME, hashes[i]), lsn);

		assert_int_equal(versions[i].form != 0, expected != NULL);
		if (expected)
			test_version_check(&versions[i], expected);
	}
}

void test_layer_compare_lists(struct test_layer *test, struct layer *layer)
{
	for (uint64_t ino = 15; ino <= 16 + INODES; ino++) {
		struct versions_seen versions = { .test = test, .ino = ino };
		size_t expected = 0;

		compare_names(test, layer, ino);
		compare_names_together(test, layer, ino);
		assert_ok(layer_each_version(layer, ino, see_version, &versions));
		for (size_t i = 0; i < test->version_count; i++)
			expected += test->versions[i].key.ino == ino;
		assert_int_equal(versions.count, expected);
	}
}
