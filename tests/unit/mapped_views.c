/* Mapped views: whatever is looked at, no more than the budget is counted, and it reads as it was written. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mapped_views.h"
#include "test_place.h"

#define FILE_BYTES (7 * MAPPED_STRETCH_BYTES + 4096)
#define BUDGET_BYTES (4 * MAPPED_STRETCH_BYTES)
#define FILES 3u

struct views_test {
	struct place *place;
	struct mapped_views *views;
	struct mapped_file files[FILES];
	int fd;
};

static uint64_t word_at(uint64_t at)
{
	return at * UINT64_C(0x9e3779b97f4a7c15);
}

static int setup(void **state)
{
	struct views_test *test = calloc(1, sizeof(*test));
	uint64_t words[512];

	assert_non_null(test);
	test->place = place_new(PLACE_FILE);
	test->fd = open(test->place->path, O_RDWR | O_CREAT, 0600);
	assert_true(test->fd >= 0);
	for (uint64_t at = 0; at < FILE_BYTES; at += sizeof(words)) {
		for (unsigned i = 0; i < 512; i++)
			words[i] = word_at(at + 8 * i);
		assert_int_equal(pwrite(test->fd, words, sizeof(words), (off_t)at), sizeof(words));
	}
	assert_ok(mapped_views_create(BUDGET_BYTES, &test->views));
	for (unsigned i = 0; i < FILES; i++) {
		mapped_file_open(&test->files[i], test->views, test->fd, FILE_BYTES);
		assert_non_null(test->files[i].base);
	}
	*state = test;
	return 0;
}

static int teardown(void **state)
{
	struct views_test *test = *state;

	for (unsigned i = 0; i < FILES; i++)
		mapped_file_close(&test->files[i]);
	assert_int_equal(mapped_views_bytes(test->views), 0);
	mapped_views_free(test->views);
	close(test->fd);
	place_free(test->place);
	free(test);
	return 0;
}

static void look(struct views_test *test, unsigned file, uint64_t at)
{
	const uint8_t *bytes = mapped_file_view(&test->files[file], at, sizeof(uint64_t));
	uint64_t word;

	assert_non_null(bytes);
	memcpy(&word, bytes, sizeof(word));
	assert_true(word == word_at(at));
}

static void a_stretch_is_counted_once(void **state)
{
	struct views_test *test = *state;

	for (unsigned i = 0; i < 1000; i++)
		look(test, 0, i * 8);
	assert_int_equal(mapped_views_bytes(test->views), MAPPED_STRETCH_BYTES);
	/* Of two it lies in both count. */
	mapped_file_view(&test->files[0], 2 * MAPPED_STRETCH_BYTES - 4, 8);
	assert_int_equal(mapped_views_bytes(test->views), 3 * MAPPED_STRETCH_BYTES);
}

static void the_budget_is_kept_whatever_is_looked_at(void **state)
{
	struct views_test *test = *state;
	struct prng prng = { test_seed() };

	for (unsigned i = 0; i < 20000; i++) {
		look(test, (unsigned)(prng_next(&prng) % FILES), prng_next(&prng) % (FILE_BYTES / 8) * 8);
		assert_true(mapped_views_bytes(test->views) <= BUDGET_BYTES);
	}
	assert_true(mapped_views_bytes(test->views) > 0);
}

/* Pages of this process that the stretches of a mapping have, by the kernel's own account. */
static uint64_t resident_bytes(const uint8_t *base)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	char line[512];
	uint64_t bytes = 0;
	bool here = false;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		unsigned long from, to, kib;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = from == (unsigned long)base;
		else if (here && sscanf(line, "Rss: %lu kB", &kib) == 1)
			bytes = kib * 1024;
	}
	fclose(file);
	return bytes;
}

static void the_kernel_counts_no_more(void **state)
{
	struct views_test *test = *state;
	uint64_t resident = 0;

	for (uint64_t at = 0; at < FILE_BYTES; at += 4096)
		for (unsigned file = 0; file < FILES; file++)
			look(test, file, at);
	for (unsigned file = 0; file < FILES; file++)
		resident += resident_bytes(test->files[file].base);
	assert_true(resident > 0 && resident <= BUDGET_BYTES);
}

#define views_case(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		views_case(a_stretch_is_counted_once),
		views_case(the_budget_is_kept_whatever_is_looked_at),
		views_case(the_kernel_counts_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
