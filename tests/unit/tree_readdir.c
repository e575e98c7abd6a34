/* Listing: dots first, stable cookies, names that stay are listed once however
 * others come and go. */
#include "test_fixture.h"

#define ROOT TREE_ROOT_INO

struct listing {
	struct listed {
		char name[TREE_NAME_MAX + 1];
		uint64_t ino, cookie;
		uint32_t type;
	} entries[6000];
	size_t count;
	size_t limit;                   /* refuse the entry after this many */
};

static bool listing_add(void *context, const struct tree_entry *entry)
{
	struct listing *listing = context;

	if (listing->count == listing->limit)
		return false;
	struct listed *listed = &listing->entries[listing->count++];
	snprintf(listed->name, sizeof(listed->name), "%s", entry->name);
	listed->ino = entry->ino;
	listed->cookie = entry->cookie;
	listed->type = entry->type;
	return true;
}

static void list(struct fixture *f, uint64_t dir, struct lsn at, uint64_t cookie, size_t limit,
		 struct listing *listing)
{
	listing->count = 0;
	listing->limit = limit;
	assert_ok(tree_readdir(f->store, dir, at, cookie, listing_add, listing));
	assert_true(listing->count <= limit);
}

static struct listing *list_all(struct fixture *f, uint64_t dir, struct lsn at)
{
	struct listing *listing = malloc(sizeof(*listing));

	assert_non_null(listing);
	list(f, dir, at, 0, array_size(listing->entries), listing);
	return listing;
}

static void make_names(struct fixture *f, uint64_t dir, const char *prefix, unsigned count)
{
	char name[32];

	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%s%u", prefix, i);
		make_file(f->store, dir, name);
	}
}

static void remove_names(struct fixture *f, uint64_t dir, const char *prefix, unsigned count)
{
	char name[32];

	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%s%u", prefix, i);
		assert_ok(tree_unlink(f->store, dir, name));
	}
}

static void dots_come_first(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = make_dir(f->store, ROOT, "dir");

	make_names(f, dir, "!", 5);     /* sorts before a dot */
	struct listing *listing = list_all(f, dir, LSN_HEAD);
	assert_int_equal(listing->count, 7);
	assert_string_equal(listing->entries[0].name, ".");
	assert_int_equal(listing->entries[0].ino, dir);
	assert_int_equal(listing->entries[0].type, S_IFDIR);
	assert_string_equal(listing->entries[1].name, "..");
	assert_int_equal(listing->entries[1].ino, ROOT);
	assert_int_equal(listing->entries[1].type, S_IFDIR);
	free(listing);
	listing = list_all(f, ROOT, LSN_HEAD);
	assert_string_equal(listing->entries[1].name, "..");
	assert_int_equal(listing->entries[1].ino, ROOT);
	free(listing);
}

static void entries_tell_number_and_type(void **state)
{
	struct fixture *f = *state;
	static const uint32_t types[] = { S_IFREG, S_IFDIR, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK };
	struct tree_attr attr;

	for (unsigned i = 0; i < array_size(types); i++) {
		struct tree_new what = { .mode = types[i] | 0600 };
		char name[] = { 'a' + i, 0 };

		assert_ok(tree_create(f->store, ROOT, name, &what, &attr));
	}
	assert_ok(tree_symlink(f->store, ROOT, "link", "a", &(struct tree_new){ .mode = S_IFLNK },
			       &attr));
	struct listing *listing = list_all(f, ROOT, LSN_HEAD);
	assert_int_equal(listing->count, 2 + array_size(types) + 1);
	for (size_t i = 2; i < listing->count; i++) {
		struct listed *listed = &listing->entries[i];

		assert_int_equal(listed->ino, find_now(f->store, ROOT, listed->name));
		assert_int_equal(listed->type, attr_now(f->store, listed->ino).mode & S_IFMT);
	}
	free(listing);
}

static void listing_wants_a_directory(void **state)
{
	struct fixture *f = *state;
	uint64_t file = make_file(f->store, ROOT, "file");
	struct lsn before = newest(f->store);
	uint64_t dir = make_dir(f->store, ROOT, "dir");
	struct listing listing = { .limit = 10 };

	assert_err(tree_readdir(f->store, file, LSN_HEAD, 0, listing_add, &listing), -ENOTDIR);
	assert_err(tree_readdir(f->store, 123456789, LSN_HEAD, 0, listing_add, &listing), -ENOENT);
	assert_err(tree_readdir(f->store, dir, before, 0, listing_add, &listing), -ENOENT);
	assert_int_equal(listing.count, 0);
}

static void cookies_are_distinct_positive_offsets(void **state)
{
	struct fixture *f = *state;

	make_names(f, ROOT, "n", 200);
	struct listing *listing = list_all(f, ROOT, LSN_HEAD);
	assert_int_equal(listing->count, 202);
	for (size_t i = 0; i < listing->count; i++) {
		assert_true(listing->entries[i].cookie > 0);
		assert_true(listing->entries[i].cookie <= INT64_MAX);
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(listing->entries[i].cookie, listing->entries[j].cookie);
	}
	free(listing);
}

/* From the cookie of any entry the rest follows, whatever is done to the store between. */
static void assert_every_cookie_resumes(struct fixture *f, uint64_t dir, struct lsn at,
					const struct listing *all)
{
	struct listing *rest = malloc(sizeof(*rest));

	assert_non_null(rest);
	for (size_t i = 0; i < all->count; i++) {
		list(f, dir, at, all->entries[i].cookie, array_size(rest->entries), rest);
		assert_int_equal(rest->count, all->count - i - 1);
		for (size_t j = 0; j < rest->count; j++)
			assert_string_equal(rest->entries[j].name, all->entries[i + 1 + j].name);
	}
	free(rest);
}

static void listing_resumes_at_every_cookie(void **state)
{
	struct fixture *f = *state;
	struct lsn at;

	make_names(f, ROOT, "n", 60);
	at = fixture_note(f);
	struct listing *all = list_all(f, ROOT, LSN_HEAD);
	assert_every_cookie_resumes(f, ROOT, LSN_HEAD, all);
	remove_names(f, ROOT, "n", 60);
	assert_every_cookie_resumes(f, ROOT, at, all);
	fixture_freeze(f);
	assert_every_cookie_resumes(f, ROOT, at, all);
	fixture_reopen(f);
	assert_every_cookie_resumes(f, ROOT, at, all);
	free(all);
}

static void a_refused_entry_is_not_consumed(void **state)
{
	struct fixture *f = *state;

	make_names(f, ROOT, "n", 30);
	struct listing *all = list_all(f, ROOT, LSN_HEAD);
	struct listing *part = malloc(sizeof(*part));
	assert_non_null(part);
	for (size_t step = 1; step < 8; step++) {
		uint64_t cookie = 0;
		size_t seen = 0;

		for (;;) {
			list(f, ROOT, LSN_HEAD, cookie, step, part);
			if (!part->count)
				break;
			for (size_t i = 0; i < part->count; i++)
				assert_string_equal(part->entries[i].name,
						    all->entries[seen++].name);
			cookie = part->entries[part->count - 1].cookie;
		}
		assert_int_equal(seen, all->count);
	}
	list(f, ROOT, LSN_HEAD, 0, 0, part);
	assert_int_equal(part->count, 0);
	free(part);
	free(all);
}

/* Three names at a time, while others are made and removed between the calls. */
static void names_that_stay_are_listed_once(void **state)
{
	struct fixture *f = *state;
	enum { STAY = 40, COME_AND_GO = 40 };
	struct prng prng = { test_seed() };
	unsigned seen[STAY];
	struct listing *part = malloc(sizeof(*part));
	char name[32];

	assert_non_null(part);
	make_names(f, ROOT, "guest", COME_AND_GO / 2);
	make_names(f, ROOT, "stay", STAY);
	for (unsigned round = 0; round < 12; round++) {
		uint64_t cookie = 0;

		memset(seen, 0, sizeof(seen));
		for (;;) {
			list(f, ROOT, LSN_HEAD, cookie, 3, part);
			if (!part->count)
				break;
			for (size_t i = 0; i < part->count; i++) {
				if (!strncmp(part->entries[i].name, "stay", 4))
					seen[atoi(part->entries[i].name + 4)]++;
			}
			cookie = part->entries[part->count - 1].cookie;
			for (unsigned i = 0; i < 4; i++) {
				snprintf(name, sizeof(name), "guest%u",
					 (unsigned)prng_below(&prng, COME_AND_GO));
				if (find_now(f->store, ROOT, name))
					assert_ok(tree_unlink(f->store, ROOT, name));
				else
					make_file(f->store, ROOT, name);
			}
		}
		for (unsigned i = 0; i < STAY; i++)
			assert_int_equal(seen[i], 1);
		if (round % 4 == 3)
			fixture_freeze(f);
		if (round % 4 == 1)
			fixture_reopen(f);
	}
	free(part);
}

/* rm -r lists, removes what it saw, and goes on from the cookie of a name that is gone. */
static void a_cookie_of_a_removed_name_still_leads_on(void **state)
{
	struct fixture *f = *state;
	struct listing *part = malloc(sizeof(*part));
	uint64_t cookie = 0;
	unsigned removed = 0;

	assert_non_null(part);
	make_names(f, ROOT, "n", 100);
	for (;;) {
		list(f, ROOT, LSN_HEAD, cookie, 7, part);
		if (!part->count)
			break;
		cookie = part->entries[part->count - 1].cookie;
		for (size_t i = 0; i < part->count; i++) {
			if (part->entries[i].name[0] != 'n')
				continue;
			assert_ok(tree_unlink(f->store, ROOT, part->entries[i].name));
			removed++;
		}
	}
	assert_int_equal(removed, 100);
	assert_names(f->store, ROOT, LSN_HEAD, "");
	free(part);
}

static void the_past_lists_the_past(void **state)
{
	struct fixture *f = *state;
	struct lsn empty = newest(f->store), full, half;

	make_names(f, ROOT, "a", 3);
	full = fixture_note(f);
	assert_ok(tree_unlink(f->store, ROOT, "a1"));
	half = fixture_note(f);
	assert_ok(tree_rename(f->store, ROOT, "a0", ROOT, "b", 0));
	for (unsigned round = 0; round < 2; round++) {
		assert_names(f->store, ROOT, empty, "");
		assert_names(f->store, ROOT, full, "a0 a1 a2");
		assert_names(f->store, ROOT, half, "a0 a2");
		assert_names(f->store, ROOT, LSN_HEAD, "a2 b");
		fixture_freeze(f);
	}
}

static void thousands_of_names_are_each_listed_once(void **state)
{
	struct fixture *f = *state;
	enum { COUNT = 5000 };
	unsigned char *seen = calloc(COUNT, 1);

	assert_non_null(seen);
	make_names(f, ROOT, "name-", COUNT / 2);
	fixture_freeze(f);
	for (unsigned i = COUNT / 2; i < COUNT; i++) {
		char name[32];

		snprintf(name, sizeof(name), "name-%u", i);
		make_file(f->store, ROOT, name);
	}
	struct listing *all = list_all(f, ROOT, LSN_HEAD);
	assert_int_equal(all->count, COUNT + 2);
	for (size_t i = 2; i < all->count; i++)
		assert_int_equal(seen[atoi(all->entries[i].name + 5)]++, 0);
	assert_int_equal(attr_now(f->store, ROOT).size_bytes, COUNT);
	free(all);
	free(seen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fixture_test(dots_come_first),
		fixture_test(entries_tell_number_and_type),
		fixture_test(listing_wants_a_directory),
		fixture_test(cookies_are_distinct_positive_offsets),
		fixture_test(listing_resumes_at_every_cookie),
		fixture_test(a_refused_entry_is_not_consumed),
		fixture_test(names_that_stay_are_listed_once),
		fixture_test(a_cookie_of_a_removed_name_still_leads_on),
		fixture_test(the_past_lists_the_past),
		fixture_test(thousands_of_names_are_each_listed_once),
		colliding_test(dots_come_first),
		colliding_test(cookies_are_distinct_positive_offsets),
		colliding_test(listing_resumes_at_every_cookie),
		colliding_test(a_refused_entry_is_not_consumed),
		colliding_test(names_that_stay_are_listed_once),
		colliding_test(a_cookie_of_a_removed_name_still_leads_on),
		colliding_test(the_past_lists_the_past),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
