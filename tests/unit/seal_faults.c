/*
 * A layer that can't be sealed for want of room: writers are told, and go on when there is some.
 */
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "test_fixture.h"
#include "test_full_disk.h"

#define PAGE_BYTES 4096u

struct writer {
	struct store *store;
	uint64_t ino;
	int err;
};

/* Until there is an error, or more than all layers that may wait can hold. */
static void *write_until_refused(void *context)
{
	struct writer *writer = context;
	struct prng prng = { 1 };
	uint8_t bytes[PAGE_BYTES];

	for (unsigned i = 0; i < 10000 && !writer->err; i++) {
		prng_fill(&prng, bytes, sizeof(bytes));
		writer->err = tree_write(writer->store, writer->ino, i % 64 * PAGE_BYTES, bytes, sizeof(bytes), false);
	}
	return NULL;
}

static void writers_are_told_that_no_layer_can_be_sealed(void **state)
{
	const struct store_mkfs_options mkfs = { .page_size_bytes = PAGE_BYTES };
	const struct store_options options = { .memory_bytes = 32 * MIB };
	struct fixture *fixture;
	struct writer writer = { .err = 0 };
	struct timespec until;
	pthread_t thread;

	(void)state;
	full_disk_begin();
	fixture = fixture_new(&mkfs, &options);
	writer.store = fixture->store;
	writer.ino = make_file(fixture->store, TREE_ROOT_INO, "f");
	full_disk_fill(fixture->path);
	assert_ok(-pthread_create(&thread, NULL, write_until_refused, &writer));
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 60;
	require(pthread_timedjoin_np(thread, NULL, &until) == 0);
	assert_err(writer.err, -ENOSPC);
	full_disk_empty();
	fixture_freeze(fixture);
	write_text(fixture->store, writer.ino, "there is room again");
	fixture_prove(fixture);
	fixture_free(fixture);
	full_disk_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writers_are_told_that_no_layer_can_be_sealed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
