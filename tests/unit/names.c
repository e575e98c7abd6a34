/* Name buckets: all names of one hash. */
#include "names.h"
#include "test_support.h"
#include "tree.h"

static void names_are_checked(void **state)
{
	char name[300];

	(void)state;
	memset(name, 'x', sizeof(name));
	name[255] = 0;
	assert_ok(name_check(name));
	name[255] = 'x';
	name[256] = 0;
	assert_err(name_check(name), -ENAMETOOLONG);
	assert_err(name_check(""), -EINVAL);
	assert_err(name_check("."), -EINVAL);
	assert_err(name_check(".."), -EINVAL);
	assert_err(name_check("a/b"), -EINVAL);
	assert_ok(name_check("..."));
	assert_ok(name_check("\x01\xff"));
}

static void a_name_is_found_under_its_own_name_only(void **state)
{
	struct name_bucket bucket = { .dir = 16, .hash = 1 };
	struct name_entry entry;

	(void)state;
	assert_err(name_bucket_find(&bucket, "a", &entry), -ENOENT);
	assert_err(name_bucket_remove(&bucket, "a"), -ENOENT);
	assert_ok(name_bucket_add(&bucket, "a", 20, S_IFREG));
	assert_ok(name_bucket_add(&bucket, "ab", 21, S_IFDIR));
	assert_ok(name_bucket_find(&bucket, "a", &entry));
	assert_int_equal(entry.ino, 20);
	assert_int_equal(entry.type, S_IFREG);
	assert_string_equal(entry.name, "a");
	assert_ok(name_bucket_find(&bucket, "ab", &entry));
	assert_int_equal(entry.ino, 21);
	assert_int_equal(entry.type, S_IFDIR);
	assert_err(name_bucket_find(&bucket, "b", &entry), -ENOENT);
	assert_err(name_bucket_find(&bucket, "abc", &entry), -ENOENT);
	assert_ok(name_bucket_remove(&bucket, "a"));
	assert_err(name_bucket_find(&bucket, "a", &entry), -ENOENT);
	assert_ok(name_bucket_find(&bucket, "ab", &entry));
	name_bucket_free(&bucket);
}

static uint8_t slot_of(const struct name_bucket *bucket, const char *name)
{
	struct name_entry entry;

	assert_ok(name_bucket_find(bucket, name, &entry));
	return entry.slot;
}

/* The cookie of a name that stays does not change, whatever comes and goes. */
static void a_name_keeps_its_slot(void **state)
{
	struct name_bucket bucket = { .dir = 16, .hash = 1 };
	struct prng prng = { test_seed() };
	uint8_t slots[20];
	char name[32];

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "stay%u", i);
		assert_ok(name_bucket_add(&bucket, name, 100 + i, S_IFREG));
		slots[i] = slot_of(&bucket, name);
		for (unsigned j = 0; j < i; j++)
			assert_int_not_equal(slots[i], slots[j]);
		snprintf(name, sizeof(name), "guest%u", i);
		assert_ok(name_bucket_add(&bucket, name, 200 + i, S_IFREG));
	}
	for (unsigned round = 0; round < 2000; round++) {
		struct name_entry entry;

		snprintf(name, sizeof(name), "guest%u", (unsigned)prng_below(&prng, 60));
		if (name_bucket_find(&bucket, name, &entry))
			assert_ok(name_bucket_add(&bucket, name, 300 + round, S_IFREG));
		else
			assert_ok(name_bucket_remove(&bucket, name));
		unsigned stay = round % 20;
		snprintf(name, sizeof(name), "stay%u", stay);
		assert_int_equal(slot_of(&bucket, name), slots[stay]);
	}
	name_bucket_free(&bucket);
}

static void a_bucket_holds_its_number_of_names_and_no_more(void **state)
{
	struct name_bucket bucket = { .dir = 16, .hash = 1 };
	bool seen[NAME_SLOT_COUNT] = { false };
	struct name_entry entry;
	char name[TREE_NAME_MAX + 1];
	unsigned count = 0;
	size_t at = 0;

	(void)state;
	memset(name, 'n', sizeof(name));
	for (int err = 0; !err; count++) {
		snprintf(name + 240, sizeof(name) - 240, "%u", count);
		err = name_bucket_add(&bucket, name, 20 + count, S_IFREG);
		if (err) {
			assert_err(err, -ENOSPC);
			break;
		}
	}
	assert_true(count >= NAME_SLOT_COUNT - 3 && count <= NAME_SLOT_COUNT);
	for (unsigned i = 0; i < count; i++) {
		assert_ok(name_bucket_next(&bucket, &at, &entry));
		assert_false(seen[entry.slot]);
		seen[entry.slot] = true;
	}
	assert_int_equal(name_bucket_next(&bucket, &at, &entry), 1);
	name_bucket_free(&bucket);
}

/* No bytes crash it or make a name of what is none. */
static void random_buckets_are_read_or_refused(void **state)
{
	struct prng prng = { test_seed() };
	unsigned refused = 0;

	(void)state;
	for (unsigned i = 0; i < 100000; i++) {
		size_t size = prng_below(&prng, 60);
		uint8_t *bytes = malloc(size ? size : 1);
		struct name_bucket bucket = { .bytes = bytes, .size_bytes = size };
		struct name_entry entry;
		size_t at = 0;
		int err;

		assert_non_null(bytes);
		prng_fill(&prng, bytes, size);
		if (size > 10)
			bytes[10] = prng_below(&prng, 60);      /* a likely length */
		while (!(err = name_bucket_next(&bucket, &at, &entry)))
			assert_true(strlen(entry.name) == entry.length && at <= size);
		assert_true(err == 1 || err == -EUCLEAN);
		refused += err != 1;
		free(bytes);
	}
	assert_true(refused > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_checked),
		cmocka_unit_test(a_name_is_found_under_its_own_name_only),
		cmocka_unit_test(a_name_keeps_its_slot),
		cmocka_unit_test(a_bucket_holds_its_number_of_names_and_no_more),
		cmocka_unit_test(random_buckets_are_read_or_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
