/* The memory of merges: however many runs are merged, and however many merges are under way, what they are read
 * into stays within its share of the budget. */
#include <semaphore.h>
#include <stdatomic.h>
#include <unistd.h>

#include "engine_internal.h"
#include "merge.h"
#include "test_place.h"

#define PAGE_BYTES 4096u
#define TIME_NS 1234567890123456789
#define FANIN 4u
#define INODES 12u
#define INODE_FIRST 20u
#define SMALLEST_INPUT_BYTES (48u << 10)        /* however many go in */

static void any_number_of_runs_fits_into_the_share(void **state)
{
	(void)state;
	for (uint64_t memory = MEMORY_MIN; memory <= UINT64_C(64) << 30; memory += memory / 7) {
		struct memory_plan plan = memory_plan_make(memory, 0, 0);
		uint32_t before = CURSOR_WINDOW_BYTES;

		for (uint32_t count = 1; count <= PLAN_MERGE_MAX; count++) {
			uint32_t window = merge_window_bytes(plan.merge_bytes, count);
			uint64_t bytes = count * merge_input_bytes(window);

			assert_true(window && window <= before);
			before = window;
			assert_true(bytes <= plan.merge_bytes || bytes == count * SMALLEST_INPUT_BYTES);
			/* The smallest windows go beyond the share, and into the rest. */
			assert_true(bytes <= plan.memory_bytes / 8);
		}
	}
}

static void with_room_windows_are_as_large_as_pays(void **state)
{
	struct memory_plan plan = memory_plan_make(MEMORY_DEFAULT_MAX, 0, 0);

	(void)state;
	assert_int_equal(merge_window_bytes(plan.merge_bytes, PLAN_MERGE_MAX), CURSOR_WINDOW_BYTES);
	plan = memory_plan_make(MEMORY_DEFAULT_MIN, 0, 0);
	assert_true(merge_window_bytes(plan.merge_bytes, PLAN_FANIN_0) >= CURSOR_WINDOW_BYTES / 2);
}

/* ---- two merges under way ---- */

struct watched {
	struct place *place;
	struct engine_options options;
	struct engine *engine;
	_Atomic bool hold;              /* who merges waits in the hook, once */
	sem_t reached, go;
	_Atomic uint64_t most_bytes, most_merges;       /* of all calls of the hook */
};

/* Called by the thread that merges, in the middle of a piece. */
static int watch(void *context, const struct layer_guard *guard, uint64_t ino, struct lsn at, bool for_good,
		 void **view_out)
{
	struct watched *watched = context;
	struct engine_usage usage;

	(void)guard, (void)ino, (void)at, (void)for_good;
	*view_out = NULL;
	if (atomic_exchange(&watched->hold, false)) {
		sem_post(&watched->reached);
		sem_wait(&watched->go);
	}
	engine_usage_get(watched->engine, &usage);
	if (usage.merge_bytes > atomic_load(&watched->most_bytes))
		atomic_store(&watched->most_bytes, usage.merge_bytes);
	if (usage.merge_count > atomic_load(&watched->most_merges))
		atomic_store(&watched->most_merges, usage.merge_count);
	return 1;
}

static struct key key_of(unsigned inode)
{
	return key_make(INODE_FIRST + inode, KEY_PAGE, 0);
}

/* A run of level 0 in which every inode has a version that says which run it is. */
static void add_run(struct watched *watched, uint64_t number)
{
	struct lsn lsn;

	for (unsigned i = 0; i < INODES; i++) {
		struct batch_entry entry = { .key = key_of(i), .form = VERSION_IMAGE, .body = &number,
					     .body_bytes = sizeof(number) };

		assert_ok(engine_commit(watched->engine, &entry, 1, TIME_NS, &lsn));
	}
	assert_ok(engine_freeze(watched->engine));
}

static void check_newest(struct watched *watched, uint64_t number)
{
	for (unsigned i = 0; i < INODES; i++) {
		struct layer_guard guard;
		struct version version;
		uint64_t found = 0;
		size_t size = 0;

		engine_guard_take(watched->engine, &guard);
		assert_ok(engine_find(&guard, key_of(i), LSN_HEAD, &version));
		assert_ok(engine_load(&guard, &version, &found, sizeof(found), &size));
		layer_guard_drop(&guard);
		assert_int_equal(size, sizeof(found));
		assert_int_equal(found, number);
	}
}

static void one_merge_at_a_time_has_buffers_and_the_others_go_on_without(void **state)
{
	struct engine_window window = { .bytes = 1 };
	struct report report = { "" };
	struct engine_usage usage;
	struct watched watched = {
		.place = place_new("layers"), .hold = true,
		/* A piece a key, so that each merge gives way to the next again and again. */
		.options = { .memory_bytes = MEMORY_MIN, .layer_size_bytes = LAYER_SIZE_MIN, .fanin_0 = FANIN,
			     .piece_bytes = 1,
			     .retention = { .context = &watched, .open = watch } },
	};
	uint64_t number = 0, share = FANIN * merge_input_bytes(merge_window_bytes(
					     memory_plan_make(MEMORY_MIN, 0, 0).merge_bytes, FANIN));

	(void)state;
	sem_init(&watched.reached, 0, 0);
	sem_init(&watched.go, 0, 0);
	assert_ok(engine_create(watched.place->dir_fd, PAGE_BYTES, COMPRESSION_NONE));
	assert_ok(engine_open(watched.place->dir_fd, &watched.options, &report, &watched.engine));
	add_run(&watched, ++number);
	/* All up to here lies below the horizon: the hook is asked. */
	assert_ok(engine_window_set(watched.engine, &window));
	while (number < FANIN)
		add_run(&watched, ++number);
	sem_wait(&watched.reached);
	/* The next merge is due while the first is in its first piece. */
	while (number < 2 * FANIN)
		add_run(&watched, ++number);
	sem_post(&watched.go);
	/* A wish would wait for the first merge before it takes what is left. */
	while (atomic_load(&watched.most_merges) < 2)
		usleep(1000);
	assert_ok(engine_compact(watched.engine));
	assert_true(atomic_load(&watched.most_bytes) > 0);
	/* What it writes from comes on top: the buffer of a layer, and next to nothing for so few keys. */
	assert_true(atomic_load(&watched.most_bytes) <= share + MIB + 64 * KIB);
	engine_usage_get(watched.engine, &usage);
	assert_int_equal(usage.merge_bytes, 0);
	check_newest(&watched, number);
	assert_ok(engine_close(watched.engine));
	sem_destroy(&watched.reached);
	sem_destroy(&watched.go);
	place_free(watched.place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_number_of_runs_fits_into_the_share),
		cmocka_unit_test(with_room_windows_are_as_large_as_pays),
		cmocka_unit_test(one_merge_at_a_time_has_buffers_and_the_others_go_on_without),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
