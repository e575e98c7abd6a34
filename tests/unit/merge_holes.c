/*
 * Holes and merges: what is merged apart from what it is built upon, and from what came instead, reads right or not
 * at all, and a check of it finds nothing.
 */
#include <unistd.h>

#include "test_check.h"
#include "test_fixture.h"

#define PAGE 4096u
#define PAGES 64u               /* more than a punch leaves tombstones for */
#define FANIN 3u

static const struct store_mkfs_options mkfs = { .page_size_bytes = PAGE };

static uint32_t level_0_count(struct store *store)
{
	struct store_usage usage;

	store_usage_get(store, &usage);
	return usage.level_0_count;
}

/* Merge the oldest FANIN sealed layers and no others. */
static void merge_oldest(struct fixture *fixture)
{
	uint32_t before = level_0_count(fixture->store);

	fixture_close(fixture);
	fixture->options.no_compaction = false;
	fixture_open(fixture);
	while (level_0_count(fixture->store) != before - FANIN)
		usleep(1000);
	fixture_close(fixture);
	fixture->options.no_compaction = true;
	fixture_open(fixture);
}

/* A layer with nothing in it of the pages. */
static void add_layer(struct fixture *fixture, const char *name)
{
	write_text(fixture->store, make_file(fixture->store, TREE_ROOT_INO, name), name);
	fixture_freeze(fixture);
}

/*
 * The pages, patches over them, a punch, and a page written anew lie in layers that are merged apart. When the pages
 * are, none of them is there at the horizon; when the patches are, one is there again.
 */
static void patches_do_not_lose_the_pages_below_a_punch(void **state)
{
	const struct store_options options = { .no_compaction = true, .fanin_0 = FANIN };
	struct fixture *fixture = fixture_new(&mkfs, &options);
	uint8_t bytes[PAGES * PAGE];
	uint64_t ino;

	(void)state;
	assert_ok(store_window_set(fixture->store, &(struct store_window){ .bytes = 1 }));
	seed_fill(7, bytes, sizeof(bytes));
	ino = make_file(fixture->store, TREE_ROOT_INO, "pages");
	write_bytes(fixture->store, ino, 0, bytes, sizeof(bytes));
	fixture_freeze(fixture);
	add_layer(fixture, "one");
	add_layer(fixture, "two");
	write_bytes(fixture->store, ino, 5 * PAGE + 100, "a patch", 7);
	write_bytes(fixture->store, ino, 5 * PAGE + 200, "another", 7);
	fixture_freeze(fixture);
	assert_ok(tree_punch(fixture->store, ino, 0, sizeof(bytes), true, false));
	make_file(fixture->store, TREE_ROOT_INO, "after the punch");
	merge_oldest(fixture);
	add_layer(fixture, "three");
	add_layer(fixture, "four");
	write_bytes(fixture->store, ino, 5 * PAGE, bytes, PAGE);
	make_file(fixture->store, TREE_ROOT_INO, "after the page");
	fixture_note(fixture);
	merge_oldest(fixture);
	fixture_prove(fixture);
	fixture_free(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(patches_do_not_lose_the_pages_below_a_punch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
