/* Pace: writers are slowed in proportion to the runs that wait to be merged, and wait at the last limit
 * until compaction goes on. */
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <unistd.h>

#include "engine_internal.h"
#include "test_fixture.h"
#include "test_place.h"

#define PAGE_BYTES 4096u
#define TIME_NS 1234567890123456789

static void what_a_byte_costs_grows_evenly_with_the_backlog(void **state)
{
	uint64_t bytes = 4096, cost_ns = 10, step = bytes * cost_ns / PACE_STEP;

	(void)state;
	for (uint32_t runs = 0; runs <= PACE_FREE; runs++)
		assert_int_equal(pace_debt(runs, bytes, cost_ns), 0);
	/* No wall: each run more costs the same more, from nothing on. */
	for (uint32_t runs = PACE_FREE + 1; runs <= 2 * PACE_MAX; runs++)
		assert_int_equal(pace_debt(runs, bytes, cost_ns),
				 pace_debt(runs - 1, bytes, cost_ns) + step);
	/* Where both go at one speed the backlog stays, well below the last limit. */
	assert_int_equal(pace_debt(PACE_FREE + PACE_STEP, bytes, cost_ns), bytes * cost_ns);
	assert_true(PACE_FREE + PACE_STEP < PACE_MAX);
	/* Beyond, writers are the slower ones. */
	assert_true(pace_debt(PACE_MAX - 1, bytes, cost_ns) > 2 * bytes * cost_ns);
	assert_int_equal(pace_debt(PACE_MAX, 2 * bytes, cost_ns), 2 * pace_debt(PACE_MAX, bytes, cost_ns));
}

/* ---- an engine whose compaction is held back ---- */

struct held {
	struct place *place;
	struct engine_options options;
	struct engine *engine;
	uint64_t next;                  /* block to be written */
	atomic_bool hold;               /* who merges waits in the hook */
	sem_t reached, go;
};

static int hold_open(void *context, const struct layer_guard *guard, uint64_t ino, struct lsn at,
		     bool for_good, void **view_out)
{
	struct held *held = context;

	(void)guard, (void)ino, (void)at, (void)for_good;
	*view_out = NULL;
	if (atomic_exchange(&held->hold, false)) {
		sem_post(&held->reached);
		sem_wait(&held->go);
	}
	return 1;
}

static void held_start(struct held *held, uint32_t fanin_0)
{
	struct report report = { "" };

	*held = (struct held){
		.place = place_new("layers"),
		.options = { .layer_size_bytes = LAYER_SIZE_MIN, .fanin_0 = fanin_0,
			     .retention = { .context = held, .open = hold_open } },
	};
	sem_init(&held->reached, 0, 0);
	sem_init(&held->go, 0, 0);
	assert_ok(engine_create(held->place->dir_fd, PAGE_BYTES, COMPRESSION_NONE));
	assert_ok(engine_open(held->place->dir_fd, &held->options, &report, &held->engine));
}

static void held_stop(struct held *held)
{
	assert_ok(engine_close(held->engine));
	sem_destroy(&held->reached);
	sem_destroy(&held->go);
	place_free(held->place);
}

static int write_some(struct held *held)
{
	struct batch_entry entry = {
		.key = key_make(20, KEY_PAGE, held->next++), .form = VERSION_IMAGE, .body = "some", .body_bytes = 4,
	};
	struct lsn lsn;

	engine_pace(held->engine);
	return engine_commit(held->engine, &entry, 1, TIME_NS, &lsn);
}

static struct engine_usage usage_of(struct held *held)
{
	struct engine_usage usage;

	engine_usage_get(held->engine, &usage);
	assert_true(usage.run_count <= usage.run_limit);
	return usage;
}

static void add_run(struct held *held)
{
	assert_ok(write_some(held));
	assert_ok(engine_freeze(held->engine));
}

static void *write_one_more(void *context)
{
	assert_ok(write_some(context));
	return NULL;
}

static void writers_wait_at_the_limit_until_compaction_goes_on(void **state)
{
	struct engine_window window = { .bytes = 1 };
	struct held held;
	pthread_t writer;

	(void)state;
	held_start(&held, 0);
	atomic_store(&held.hold, true);
	for (unsigned i = 0; i < PACE_MAX; i++) {
		add_run(&held);
		/* All up to here lies below the horizon: the hook is asked. */
		if (i == 0)
			assert_ok(engine_window_set(held.engine, &window));
	}
	sem_wait(&held.reached);
	assert_int_equal(usage_of(&held).level_0_count, PACE_MAX);
	/* Half a second is no proof that it waits for ever, but it would have been done in a millisecond. */
	assert_ok(-pthread_create(&writer, NULL, write_one_more, &held));
	usleep(500000);
	assert_int_equal(pthread_tryjoin_np(writer, NULL), EBUSY);
	assert_int_equal(usage_of(&held).commit_count, PACE_MAX);
	sem_post(&held.go);
	assert_ok(-pthread_join(writer, NULL));
	assert_true(usage_of(&held).level_0_count < PACE_MAX);
	/* From here on it keeps up. */
	for (unsigned i = 0; i < PACE_MAX; i++) {
		add_run(&held);
		assert_true(usage_of(&held).level_0_count <= PACE_MAX);
	}
	held_stop(&held);
}

/* ---- a store whose compaction has fallen behind ---- */

struct backlog {
	struct store *store;
	uint64_t ino;
};

static void *write_to_file(void *context)
{
	const struct backlog *backlog = context;

	require(tree_write(backlog->store, backlog->ino, 0, "more", 4, false) == 0);
	return NULL;
}

static void *read_file(void *context)
{
	const struct backlog *backlog = context;
	uint8_t byte;
	size_t size;

	require(tree_read(backlog->store, backlog->ino, LSN_HEAD, 0, &byte, 1, &size) == 0 && size == 1);
	return NULL;
}

static bool ends_in_time(pthread_t thread, unsigned seconds)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += seconds;
	return pthread_timedjoin_np(thread, NULL, &until) == 0;
}

/* Compaction waits for guards with each piece of a merge, so nobody may hold one who waits for compaction. */
static void a_writer_that_waits_holds_nothing_that_others_need(void **state)
{
	const struct store_mkfs_options mkfs = { .page_size_bytes = PAGE_BYTES };
	const struct store_options options = { .no_compaction = true };
	struct fixture *fixture = fixture_new(&mkfs, &options);
	static uint8_t bytes[64 * KIB];
	struct backlog backlog;
	pthread_t writer, reader;

	(void)state;
	backlog.ino = make_file(fixture->store, TREE_ROOT_INO, "f");
	for (unsigned i = 0; i < PACE_MAX + 20; i++) {
		seed_fill(i, bytes, sizeof(bytes));
		write_bytes(fixture->store, backlog.ino, 0, bytes, sizeof(bytes));
		fixture_freeze(fixture);
	}
	fixture_close(fixture);
	fixture->options.no_compaction = false;
	fixture->options.piece_bytes = 32 * KIB;
	fixture_open(fixture);
	backlog.store = fixture->store;
	assert_ok(-pthread_create(&writer, NULL, write_to_file, &backlog));
	usleep(20000);
	assert_ok(-pthread_create(&reader, NULL, read_file, &backlog));
	require(ends_in_time(reader, 60));
	require(ends_in_time(writer, 60));
	fixture_free(fixture);
}

/* Layers come as fast as those of level 0 can be merged, for as long as the test lasts. */
static void no_level_starves_while_writers_keep_level_0_busy(void **state)
{
	const struct store_mkfs_options mkfs = { .page_size_bytes = PAGE_BYTES };
	const struct store_options options = { .fanin_0 = 2, .fanin = 2, .piece_bytes = 16 * KIB };
	struct fixture *fixture = fixture_new(&mkfs, &options);
	uint64_t ino = make_file(fixture->store, TREE_ROOT_INO, "f");
	static uint8_t bytes[64 * KIB];
	uint32_t most = 0, backlog = 0;

	(void)state;
	for (unsigned i = 0; i < 3 * PACE_MAX; i++) {
		struct store_usage usage;

		seed_fill(i, bytes, sizeof(bytes));
		write_bytes(fixture->store, ino, 0, bytes, sizeof(bytes));
		fixture_freeze(fixture);
		store_usage_get(fixture->store, &usage);
		if (usage.run_count - usage.level_0_count > most)
			most = usage.run_count - usage.level_0_count;
		if (usage.level_0_count > backlog)
			backlog = usage.level_0_count;
	}
	print_message("at most %u runs above level 0, %u of it\n", most, backlog);
	/* All of them, half as many, would be there at level 1 alone. */
	assert_true(most < PACE_MAX);
	fixture_free(fixture);
}

struct stream_of_writes {
	struct backlog backlog;
	atomic_bool stop;
};

static void *write_on(void *context)
{
	struct stream_of_writes *stream = context;
	static uint8_t bytes[64 * KIB];

	for (uint64_t at = 0; !atomic_load(&stream->stop); at = (at + 1) % 64) {
		for (size_t i = 0; i < sizeof(bytes); i += 8)
			++bytes[i];
		require(tree_write(stream->backlog.store, stream->backlog.ino, at * sizeof(bytes), bytes, sizeof(bytes),
				   false) == 0);
	}
	return NULL;
}

/* A freeze waits for what there was, not for what writers fill meanwhile. */
static void a_freeze_ends_while_layers_fill(void **state)
{
	const struct store_options options = { .no_compaction = true };
	struct fixture *fixture = fixture_new(NULL, &options);
	struct store_usage before, after;
	struct stream_of_writes stream;
	pthread_t writer;

	(void)state;
	stream.backlog.store = fixture->store;
	stream.backlog.ino = make_file(fixture->store, TREE_ROOT_INO, "f");
	atomic_init(&stream.stop, false);
	assert_ok(-pthread_create(&writer, NULL, write_on, &stream));
	usleep(300000);
	store_usage_get(fixture->store, &before);
	assert_ok(store_freeze(fixture->store));
	store_usage_get(fixture->store, &after);
	atomic_store(&stream.stop, true);
	assert_ok(-pthread_join(writer, NULL));
	print_message("%llu layers were sealed meanwhile, %u may wait\n",
		      (unsigned long long)(after.freeze_count - before.freeze_count), before.frozen_max);
	/* Those that waited and the one that was open, and what was under way. */
	assert_true(after.freeze_count - before.freeze_count <= before.frozen_max + 4);
	fixture_free(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_byte_costs_grows_evenly_with_the_backlog),
		cmocka_unit_test(writers_wait_at_the_limit_until_compaction_goes_on),
		cmocka_unit_test(a_writer_that_waits_holds_nothing_that_others_need),
		cmocka_unit_test(no_level_starves_while_writers_keep_level_0_busy),
		cmocka_unit_test(a_freeze_ends_while_layers_fill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
