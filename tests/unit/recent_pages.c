/* Recent pages: what is known of a page is right for the LSN it is known at. */
#include "recent_pages.h"
#include "test_support.h"

enum { PAGE = 4096 };

static struct recent_pages *pages_new(uint64_t budget_bytes)
{
	struct recent_pages *pages;

	assert_ok(recent_pages_create(PAGE, budget_bytes, &pages));
	return pages;
}

static bool knows(struct recent_pages *pages, uint64_t ino, uint64_t block, uint64_t lsn,
		  uint64_t seed)
{
	uint8_t page[PAGE], expected[PAGE];

	if (!recent_pages_get(pages, ino, block, lsn_make(lsn), page))
		return false;
	seed_fill(seed, expected, PAGE);
	assert_memory_equal(page, expected, PAGE);
	return true;
}

static void note(struct recent_pages *pages, uint64_t ino, uint64_t block, uint64_t lsn,
		 uint64_t seed)
{
	uint8_t page[PAGE];

	seed_fill(seed, page, PAGE);
	recent_pages_put(pages, ino, block, lsn_make(lsn), page);
}

static void a_page_is_known_at_its_lsn_alone(void **state)
{
	struct recent_pages *pages = pages_new(64 * PAGE);

	(void)state;
	assert_false(knows(pages, 20, 3, 100, 1));
	note(pages, 20, 3, 100, 1);
	assert_true(knows(pages, 20, 3, 100, 1));
	assert_false(knows(pages, 20, 3, 99, 1));
	assert_false(knows(pages, 20, 3, 101, 1));
	assert_false(knows(pages, 20, 4, 100, 1));
	assert_false(knows(pages, 21, 3, 100, 1));
	note(pages, 20, 3, 200, 2);
	assert_false(knows(pages, 20, 3, 100, 1));
	assert_true(knows(pages, 20, 3, 200, 2));
	recent_pages_free(pages);
}

static void the_last_to_come_takes_the_place(void **state)
{
	struct recent_pages *pages = pages_new(16 * PAGE);
	unsigned known = 0;

	(void)state;
	for (uint64_t block = 0; block < 1000; block++)
		note(pages, 20, block, 1 + block, block);
	for (uint64_t block = 0; block < 1000; block++)
		known += knows(pages, 20, block, 1 + block, block);
	assert_in_range(known, 10, 17);
	recent_pages_free(pages);
}

static void the_smallest_budget_has_one_place(void **state)
{
	struct recent_pages *pages = pages_new(0);

	(void)state;
	note(pages, 20, 3, 100, 1);
	assert_true(knows(pages, 20, 3, 100, 1));
	recent_pages_free(pages);
	recent_pages_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_page_is_known_at_its_lsn_alone),
		cmocka_unit_test(the_last_to_come_takes_the_place),
		cmocka_unit_test(the_smallest_budget_has_one_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
