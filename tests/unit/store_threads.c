/*
 * Many threads on one store: writers, readers at head and at random LSNs,
 * syncs and freezes at once. Each test keeps an invariant that holds at every
 * LSN, looks for a breach while it runs, and again at the end, after a reopen.
 *
 * VARVE_THREADS_MS sets how long each runs. Threads may not use cmocka's
 * asserts: they require().
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "io_disk.h"
#include "test_fixture.h"

#define ROOT TREE_ROOT_INO
#define RUN_MS_STANDARD 1500u
#define THREADS_MAX 16u

struct crowd {
	struct fixture *fixture;
	void *shared;                   /* the test's own */
	atomic_bool stop;
	struct lsn first;               /* the invariant holds from here on */
	struct member {
		struct crowd *crowd;
		pthread_t thread;
		struct prng prng;
		unsigned number;        /* among those of its kind */
		void (*step)(struct member *member);
		uint64_t steps;
	} members[THREADS_MAX];
	unsigned count;
};

static void *member_run(void *argument)
{
	struct member *member = argument;

	while (!atomic_load_explicit(&member->crowd->stop, memory_order_relaxed)) {
		member->step(member);
		member->steps++;
	}
	return NULL;
}

static void crowd_add(struct crowd *crowd, unsigned count, void (*step)(struct member *member))
{
	for (unsigned i = 0; i < count; i++) {
		assert_true(crowd->count < THREADS_MAX);
		struct member *member = &crowd->members[crowd->count++];

		member->crowd = crowd;
		member->number = i;
		member->step = step;
		member->prng.state = test_seed() + crowd->count;
	}
}

/* Every member works until the time is up, and each has worked. */
static void crowd_run(struct crowd *crowd)
{
	uint64_t run_ms = test_count("VARVE_THREADS_MS", RUN_MS_STANDARD);
	struct timespec time = { .tv_sec = run_ms / 1000, .tv_nsec = run_ms % 1000 * 1000000 };

	crowd->first = newest(crowd->fixture->store);
	for (unsigned i = 0; i < crowd->count; i++)
		assert_int_equal(pthread_create(&crowd->members[i].thread, NULL, member_run,
						&crowd->members[i]), 0);
	nanosleep(&time, NULL);
	atomic_store(&crowd->stop, true);
	for (unsigned i = 0; i < crowd->count; i++)
		assert_int_equal(pthread_join(crowd->members[i].thread, NULL), 0);
	for (unsigned i = 0; i < crowd->count; i++)
		assert_true(crowd->members[i].steps > 0);
}

static struct store *store_of(struct member *member)
{
	return member->crowd->fixture->store;
}

static struct lsn random_lsn(struct member *member)
{
	uint64_t first = member->crowd->first.value;
	uint64_t last = newest(store_of(member)).value;

	return lsn_make(first + prng_below(&member->prng, last - first + 1));
}

/* Run @step, which checks one random LSN, over the store at rest: as it is, reopened, killed. */
static void check_at_rest(struct crowd *crowd, void (*step)(struct member *member))
{
	struct member checker = { .crowd = crowd, .prng = { test_seed() } };

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 400; i++)
			step(&checker);
		if (round == 0)
			fixture_reopen(crowd->fixture);
		else if (round == 1)
			fixture_kill(crowd->fixture);
	}
}

static void sync_step(struct member *member)
{
	struct lsn before = newest(store_of(member)), synced;

	require(store_sync(store_of(member), &synced) == 0);
	require(synced.value >= before.value);
	require(synced.value <= newest(store_of(member)).value);
}

static void freeze_step(struct member *member)
{
	struct timespec pause = { .tv_nsec = 1000000 * (1 + prng_below(&member->prng, 40)) };

	require(store_freeze(store_of(member)) == 0);
	nanosleep(&pause, NULL);
}

static void usage_step(struct member *member)
{
	struct timespec pause = { .tv_nsec = 2000000 };
	struct store_usage usage;

	store_usage_get(store_of(member), &usage);
	require(usage.oldest.value <= usage.newest.value);
	require(usage.durable.value <= usage.newest.value);
	require(usage.arena_used_bytes <= usage.arena_capacity_bytes);
	nanosleep(&pause, NULL);
}

static struct fixture *crowd_fixture(unsigned name_hash_bits)
{
	struct store_options options = { .layer_size_bytes = 1 * MIB,
					 .name_hash_bits = name_hash_bits };

	return fixture_new(NULL, &options);
}

/* ---- two pages that always change together ---- */

enum { PAIR_FILES = 3, PAIR_SIZE = 2 * STORE_PAGE_SIZE_DEFAULT, PAIR_EDGE = 24 };

struct pairs {
	uint64_t inos[PAIR_FILES];
};

/* Whole pages, or only the bytes around the page edge; all of one value. */
static void pair_write_step(struct member *member)
{
	struct pairs *pairs = member->crowd->shared;
	uint64_t ino = pairs->inos[prng_below(&member->prng, PAIR_FILES)];
	uint8_t bytes[PAIR_SIZE];
	size_t reach = prng_below(&member->prng, 4) ? PAIR_EDGE : PAIR_SIZE / 2;

	memset(bytes, (int)prng_next(&member->prng), 2 * reach);
	require(tree_write(store_of(member), ino, PAIR_SIZE / 2 - reach, bytes, 2 * reach,
			   false) == 0);
}

static void pair_check(struct member *member, uint64_t ino, struct lsn at)
{
	uint8_t bytes[PAIR_SIZE];
	size_t count;

	require(tree_read(store_of(member), ino, at, 0, bytes, sizeof(bytes), &count) == 0);
	require(count == sizeof(bytes));
	for (size_t i = 1; i < PAIR_SIZE / 2 - PAIR_EDGE; i++) {
		require(bytes[i] == bytes[0]);
		require(bytes[PAIR_SIZE - 1 - i] == bytes[0]);
	}
	for (size_t i = PAIR_SIZE / 2 - PAIR_EDGE; i < PAIR_SIZE / 2 + PAIR_EDGE; i++)
		require(bytes[i] == bytes[PAIR_SIZE / 2]);
}

static void pair_read_head_step(struct member *member)
{
	struct pairs *pairs = member->crowd->shared;

	pair_check(member, pairs->inos[prng_below(&member->prng, PAIR_FILES)], LSN_HEAD);
}

static void pair_read_past_step(struct member *member)
{
	struct pairs *pairs = member->crowd->shared;

	pair_check(member, pairs->inos[prng_below(&member->prng, PAIR_FILES)],
		   random_lsn(member));
}

static void pages_written_together_match_at_every_lsn(void **state)
{
	struct crowd crowd = { .fixture = crowd_fixture(0) };
	struct pairs pairs;
	static const uint8_t zeros[PAIR_SIZE];
	char name[16];

	(void)state;
	crowd.shared = &pairs;
	for (unsigned i = 0; i < PAIR_FILES; i++) {
		snprintf(name, sizeof(name), "pair%u", i);
		pairs.inos[i] = make_file(crowd.fixture->store, ROOT, name);
		write_bytes(crowd.fixture->store, pairs.inos[i], 0, zeros, sizeof(zeros));
	}
	crowd_add(&crowd, 4, pair_write_step);
	crowd_add(&crowd, 2, pair_read_head_step);
	crowd_add(&crowd, 2, pair_read_past_step);
	crowd_add(&crowd, 1, sync_step);
	crowd_add(&crowd, 1, freeze_step);
	crowd_add(&crowd, 1, usage_step);
	crowd_run(&crowd);
	check_at_rest(&crowd, pair_read_past_step);
	fixture_free(crowd.fixture);
}

/* ---- counters that only grow ---- */

enum { COUNTERS = 3, NOTES_MAX = 200000 };

struct counters {
	struct counter {
		uint64_t ino;
		_Atomic uint64_t value;
		struct lsn notes[NOTES_MAX];    /* [v]: an LSN at which the value was v */
	} list[COUNTERS];
};

static uint64_t counter_read(struct member *member, struct counter *counter, struct lsn at)
{
	uint64_t value = 0;
	size_t count;

	require(tree_read(store_of(member), counter->ino, at, 0, &value, sizeof(value), &count) ==
		0);
	require(count == sizeof(value));
	return value;
}

/* Each counter has one writer, which knows the value before and after its write. */
static void counter_write_step(struct member *member)
{
	struct counters *counters = member->crowd->shared;
	struct counter *counter = &counters->list[member->number];
	uint64_t value = atomic_load(&counter->value) + 1;
	struct lsn before = newest(store_of(member));

	if (value == NOTES_MAX)
		return;
	require(tree_write(store_of(member), counter->ino, 0, &value, sizeof(value), false) == 0);
	counter->notes[value] = newest(store_of(member));
	require(counter->notes[value].value > before.value);
	require(counter_read(member, counter, LSN_HEAD) == value);
	require(counter_read(member, counter, counter->notes[value]) == value);
	require(counter_read(member, counter, before) == value - 1);
	atomic_store(&counter->value, value);
}

static void counter_read_step(struct member *member)
{
	struct counters *counters = member->crowd->shared;
	struct counter *counter = &counters->list[prng_below(&member->prng, COUNTERS)];
	struct lsn early = random_lsn(member), late = random_lsn(member);
	uint64_t value = atomic_load(&counter->value);

	if (early.value > late.value) {
		struct lsn swap = early;

		early = late;
		late = swap;
	}
	require(counter_read(member, counter, early) <= counter_read(member, counter, late));
	/* What a writer was told is done is seen at head and by number. */
	require(counter_read(member, counter, LSN_HEAD) >= value);
	require(counter_read(member, counter, newest(store_of(member))) >= value);
}

static void counter_check_notes(struct fixture *fixture, struct counters *counters)
{
	for (unsigned c = 0; c < COUNTERS; c++) {
		struct counter *counter = &counters->list[c];

		for (uint64_t value = 1; value <= counter->value; value++)
			assert_bytes(fixture->store, counter->ino, counter->notes[value], 0,
				     &value, sizeof(value));
	}
}

static void counters_never_go_back(void **state)
{
	struct crowd crowd = { .fixture = crowd_fixture(0) };
	struct counters *counters = calloc(1, sizeof(*counters));
	static const uint64_t zero;
	char name[16];

	(void)state;
	assert_non_null(counters);
	crowd.shared = counters;
	for (unsigned i = 0; i < COUNTERS; i++) {
		snprintf(name, sizeof(name), "counter%u", i);
		counters->list[i].ino = make_file(crowd.fixture->store, ROOT, name);
		write_bytes(crowd.fixture->store, counters->list[i].ino, 0, &zero, sizeof(zero));
	}
	crowd_add(&crowd, COUNTERS, counter_write_step);
	crowd_add(&crowd, 3, counter_read_step);
	crowd_add(&crowd, 2, sync_step);
	crowd_add(&crowd, 1, freeze_step);
	crowd_run(&crowd);
	counter_check_notes(crowd.fixture, counters);
	check_at_rest(&crowd, counter_read_step);
	counter_check_notes(crowd.fixture, counters);
	fixture_free(crowd.fixture);
	free(counters);
}

/* ---- names that move ---- */

enum { MOVE_DIRS = 4, MOVE_FILES = 6 };

struct moves {
	uint64_t dirs[MOVE_DIRS], files[MOVE_FILES];
};

static void file_name(char *out, size_t size_bytes, uint64_t number)
{
	snprintf(out, size_bytes, "file%" PRIu64, number);
}

/* Any name of any directory to any other; only what rename refuses may go wrong. */
static void move_step(struct member *member)
{
	struct moves *moves = member->crowd->shared;
	uint64_t from = moves->dirs[prng_below(&member->prng, MOVE_DIRS)];
	uint64_t to = moves->dirs[prng_below(&member->prng, MOVE_DIRS)];
	unsigned flags = prng_below(&member->prng, 2) ? TREE_RENAME_NOREPLACE
						      : TREE_RENAME_EXCHANGE;
	char name[32], new_name[32];

	file_name(name, sizeof(name), prng_below(&member->prng, MOVE_FILES));
	file_name(new_name, sizeof(new_name), prng_below(&member->prng, MOVE_FILES));
	int err = tree_rename(store_of(member), from, name, to, new_name, flags);
	require(err == 0 || err == -ENOENT || (err == -EEXIST && flags == TREE_RENAME_NOREPLACE));
}

static bool count_file(void *context, const struct tree_entry *entry)
{
	uint64_t *counts = context;

	if (entry->type == S_IFREG)
		counts[entry->ino]++;
	return true;
}

/* Each file has exactly one name somewhere. */
static void move_check_step(struct member *member)
{
	struct moves *moves = member->crowd->shared;
	struct lsn at = random_lsn(member);
	uint64_t counts[256] = { 0 };

	for (unsigned i = 0; i < MOVE_DIRS; i++)
		require(tree_readdir(store_of(member), moves->dirs[i], at, 0, count_file,
				     counts) == 0);
	for (unsigned i = 0; i < MOVE_FILES; i++) {
		require(moves->files[i] < array_size(counts));
		require(counts[moves->files[i]] == 1);
	}
}

static void renames_under_way(unsigned name_hash_bits)
{
	struct crowd crowd = { .fixture = crowd_fixture(name_hash_bits) };
	struct moves moves;
	char name[32];

	crowd.shared = &moves;
	for (unsigned i = 0; i < MOVE_DIRS; i++) {
		snprintf(name, sizeof(name), "dir%u", i);
		moves.dirs[i] = make_dir(crowd.fixture->store, ROOT, name);
	}
	for (unsigned i = 0; i < MOVE_FILES; i++) {
		file_name(name, sizeof(name), i);
		moves.files[i] = make_file(crowd.fixture->store, moves.dirs[i % MOVE_DIRS], name);
	}
	crowd_add(&crowd, 4, move_step);
	crowd_add(&crowd, 3, move_check_step);
	crowd_add(&crowd, 1, freeze_step);
	crowd_add(&crowd, 1, sync_step);
	crowd_run(&crowd);
	check_at_rest(&crowd, move_check_step);
	fixture_free(crowd.fixture);
}

static void every_file_has_one_name_at_every_lsn(void **state)
{
	(void)state;
	renames_under_way(0);
}

static void every_file_has_one_name_when_names_collide(void **state)
{
	(void)state;
	renames_under_way(1);
}

/* ---- directories that move into one another ---- */

enum { NEST_DIRS = 6 };

struct nest {
	uint64_t dirs[NEST_DIRS];
};

/* Two of these at once could make a loop if each looked only at what it holds. */
static void nest_step(struct member *member)
{
	struct nest *nest = member->crowd->shared;
	unsigned what = prng_below(&member->prng, NEST_DIRS);
	struct tree_attr attr;
	char name[32];

	snprintf(name, sizeof(name), "dir%u", what);
	require(tree_getattr(store_of(member), nest->dirs[what], LSN_HEAD, &attr) == 0);
	uint64_t to = prng_below(&member->prng, 3) ?
		nest->dirs[prng_below(&member->prng, NEST_DIRS)] : ROOT;
	int err = tree_rename(store_of(member), attr.parent_ino, name, to, name, 0);
	require(err == 0 || err == -ENOENT || err == -EINVAL);
}

/* From each directory ".." leads to the root, and its parent holds its name. */
static void nest_check_step(struct member *member)
{
	struct nest *nest = member->crowd->shared;
	struct lsn at = random_lsn(member);
	struct tree_attr attr, found;
	char name[32];

	for (unsigned i = 0; i < NEST_DIRS; i++) {
		uint64_t ino = nest->dirs[i];

		require(tree_getattr(store_of(member), ino, at, &attr) == 0);
		snprintf(name, sizeof(name), "dir%u", i);
		require(tree_lookup(store_of(member), attr.parent_ino, name, at, &found) == 0);
		require(found.ino == ino);
		for (unsigned depth = 0; ino != ROOT; depth++) {
			require(depth <= NEST_DIRS);
			require(tree_getattr(store_of(member), ino, at, &attr) == 0);
			ino = attr.parent_ino;
		}
	}
}

static void directories_never_form_a_loop(void **state)
{
	struct crowd crowd = { .fixture = crowd_fixture(0) };
	struct nest nest;
	char name[32];

	(void)state;
	crowd.shared = &nest;
	for (unsigned i = 0; i < NEST_DIRS; i++) {
		snprintf(name, sizeof(name), "dir%u", i);
		nest.dirs[i] = make_dir(crowd.fixture->store, ROOT, name);
	}
	crowd_add(&crowd, 4, nest_step);
	crowd_add(&crowd, 2, nest_check_step);
	crowd_add(&crowd, 1, freeze_step);
	crowd_run(&crowd);
	check_at_rest(&crowd, nest_check_step);
	fixture_free(crowd.fixture);
}

/* ---- names that come and go ---- */

enum { CHURN_NAMES = 10 };

struct churn {
	uint64_t dir;
};

static void churn_step(struct member *member)
{
	struct churn *churn = member->crowd->shared;
	struct tree_new what = { .mode = S_IFREG | 0600 };
	struct tree_attr attr;
	char name[32], other[32];
	int err = 0;

	file_name(name, sizeof(name), prng_below(&member->prng, CHURN_NAMES));
	file_name(other, sizeof(other), prng_below(&member->prng, CHURN_NAMES));
	switch (prng_below(&member->prng, 4)) {
	case 0:
		err = tree_create(store_of(member), churn->dir, name, &what, &attr);
		break;
	case 1:
		err = tree_unlink(store_of(member), churn->dir, name);
		break;
	case 2:
		err = tree_rename(store_of(member), churn->dir, name, churn->dir, other, 0);
		break;
	default:
		err = tree_lookup(store_of(member), churn->dir, name, LSN_HEAD, &attr);
		if (!err)
			err = tree_link(store_of(member), attr.ino, churn->dir, other, &attr);
	}
	require(err == 0 || err == -EEXIST || err == -ENOENT);
}

struct churn_list {
	struct churn_entry {
		char name[32];
		uint64_t ino;
	} entries[CHURN_NAMES + 1];
	unsigned count;
};

static bool churn_list_add(void *context, const struct tree_entry *entry)
{
	struct churn_list *list = context;

	if (name_is_dot(entry->name))
		return true;
	require(list->count < array_size(list->entries));
	snprintf(list->entries[list->count].name, sizeof(list->entries[0].name), "%s", entry->name);
	list->entries[list->count++].ino = entry->ino;
	return true;
}

/* A directory counts its names, and each inode the names that lead to it. */
static void churn_check_step(struct member *member)
{
	struct churn *churn = member->crowd->shared;
	struct lsn at = random_lsn(member);
	struct churn_list list = { .count = 0 };
	struct tree_attr attr;

	require(tree_readdir(store_of(member), churn->dir, at, 0, churn_list_add, &list) == 0);
	require(tree_getattr(store_of(member), churn->dir, at, &attr) == 0);
	require(attr.size_bytes == list.count);
	for (unsigned i = 0; i < list.count; i++) {
		unsigned links = 0;

		require(tree_lookup(store_of(member), churn->dir, list.entries[i].name, at,
				    &attr) == 0);
		require(attr.ino == list.entries[i].ino);
		for (unsigned j = 0; j < list.count; j++)
			links += list.entries[j].ino == attr.ino;
		require(attr.nlink == links);
	}
}

static void churn_under_way(unsigned name_hash_bits)
{
	struct crowd crowd = { .fixture = crowd_fixture(name_hash_bits) };
	struct churn churn = { make_dir(crowd.fixture->store, ROOT, "dir") };

	crowd.shared = &churn;
	crowd_add(&crowd, 5, churn_step);
	crowd_add(&crowd, 3, churn_check_step);
	crowd_add(&crowd, 1, freeze_step);
	crowd_run(&crowd);
	check_at_rest(&crowd, churn_check_step);
	fixture_free(crowd.fixture);
}

static void links_and_sizes_count_names_at_every_lsn(void **state)
{
	(void)state;
	churn_under_way(0);
}

static void links_and_sizes_count_names_when_names_collide(void **state)
{
	(void)state;
	churn_under_way(1);
}

/* ---- one file, cut and grown by many ---- */

struct cuts {
	uint64_t ino;
};

enum { CUT_SIZE = 5 * STORE_PAGE_SIZE_DEFAULT };

/* Everyone writes 0xAA only, so each byte of each state is that or a hole's zero. */
static void cut_step(struct member *member)
{
	struct cuts *cuts = member->crowd->shared;
	uint8_t bytes[STORE_PAGE_SIZE_DEFAULT];
	struct tree_attr to = { .size_bytes = prng_below(&member->prng, CUT_SIZE) }, attr;
	uint64_t offset = prng_below(&member->prng, CUT_SIZE - sizeof(bytes));

	memset(bytes, 0xaa, sizeof(bytes));
	if (prng_below(&member->prng, 3))
		require(tree_write(store_of(member), cuts->ino, offset, bytes,
				   1 + prng_below(&member->prng, sizeof(bytes)), false) == 0);
	else
		require(tree_setattr(store_of(member), cuts->ino, TREE_SET_SIZE, &to, &attr) == 0);
}

static void cut_check_step(struct member *member)
{
	struct cuts *cuts = member->crowd->shared;
	struct lsn at = random_lsn(member);
	uint8_t bytes[CUT_SIZE + 100], again[CUT_SIZE + 100];
	struct tree_attr attr;
	size_t count, count_again;

	require(tree_getattr(store_of(member), cuts->ino, at, &attr) == 0);
	require(tree_read(store_of(member), cuts->ino, at, 0, bytes, sizeof(bytes), &count) == 0);
	require(count == attr.size_bytes);
	for (size_t i = 0; i < count; i++)
		require(bytes[i] == 0xaa || bytes[i] == 0);
	/* The past does not change, not even while it is looked at. */
	require(tree_read(store_of(member), cuts->ino, at, 0, again, sizeof(again),
			  &count_again) == 0);
	require(count == count_again && !memcmp(bytes, again, count));
}

static void a_past_state_holds_still_while_others_cut_and_write(void **state)
{
	struct crowd crowd = { .fixture = crowd_fixture(0) };
	struct cuts cuts = { make_file(crowd.fixture->store, ROOT, "file") };

	(void)state;
	crowd.shared = &cuts;
	crowd_add(&crowd, 4, cut_step);
	crowd_add(&crowd, 3, cut_check_step);
	crowd_add(&crowd, 1, freeze_step);
	crowd_run(&crowd);
	check_at_rest(&crowd, cut_check_step);
	fixture_free(crowd.fixture);
}

/* ---- many that sync ---- */

#define SLOW_SYNC_NS 3000000    /* longer than who was let go takes to write and come again */

static int slow_sync(struct io_disk *disk, int fd)
{
	struct timespec pause = { .tv_nsec = SLOW_SYNC_NS };

	nanosleep(&pause, NULL);
	return io_disk_real.sync(disk, fd);
}

static void write_and_sync_step(struct member *member)
{
	const uint64_t *inos = member->crowd->shared;

	require(tree_write(store_of(member), inos[member->number], 0, &member->steps, sizeof(member->steps),
			   false) == 0);
	sync_step(member);
}

/* How many syncs a crowd of @count asks for, and how many flushes that takes. */
static void count_flushes(unsigned count, uint64_t *syncs_out, uint64_t *flushes_out)
{
	struct crowd crowd = { .fixture = crowd_fixture(0) };
	struct store_usage before, after;
	uint64_t inos[THREADS_MAX];
	char name[32];

	crowd.shared = inos;
	for (unsigned i = 0; i < count; i++) {
		file_name(name, sizeof(name), i);
		inos[i] = make_file(crowd.fixture->store, ROOT, name);
	}
	crowd_add(&crowd, count, write_and_sync_step);
	store_usage_get(crowd.fixture->store, &before);
	crowd_run(&crowd);
	store_usage_get(crowd.fixture->store, &after);
	*syncs_out = after.sync_count - before.sync_count;
	*flushes_out = after.flush_count - before.flush_count;
	print_message("%u threads: %" PRIu64 " syncs, %" PRIu64 " flushes\n", count, *syncs_out, *flushes_out);
	fixture_free(crowd.fixture);
}

/* The disk takes its time, also where the store lies in memory: so those that sync meet. */
static void syncs_of_many_threads_go_in_one_flush(void **state)
{
	struct io_disk slow = io_disk_real;
	uint64_t syncs, flushes;

	(void)state;
	slow.sync = slow_sync;
	io_disk_use(&slow);
	count_flushes(1, &syncs, &flushes);
	assert_true(2 * flushes > syncs);
	count_flushes(8, &syncs, &flushes);
	io_disk_use(&io_disk_real);
	assert_true(flushes > 0 && 3 * flushes < syncs);
}

/* ---- a file that grows while it is copied, and while its history is told ---- */

enum { GROWS_MAX = 1 << 20 };

struct growing {
	uint64_t ino;
	uint64_t size_bytes;            /* the writer's */
};

/* Each change adds pages and attributes. */
static void grow_step(struct member *member)
{
	struct growing *growing = member->crowd->shared;

	if (growing->size_bytes == GROWS_MAX) {
		struct tree_attr to = { .size_bytes = 0 }, attr;

		require(tree_setattr(store_of(member), growing->ino, TREE_SET_SIZE, &to, &attr) == 0);
		growing->size_bytes = 0;
	}
	require(tree_write(store_of(member), growing->ino, growing->size_bytes++, "x", 1, false) == 0);
}

/* What is at its end is no hole, whether it is seen to be there or not. */
static void copy_end_step(struct member *member)
{
	struct growing *growing = member->crowd->shared;
	struct store *store = store_of(member);
	struct tree_attr attr;
	uint64_t copied = 0;
	uint8_t bytes[256];
	size_t count;

	require(tree_getattr(store, growing->ino, LSN_HEAD, &attr) == 0);
	if (attr.size_bytes > GROWS_MAX - 4096)
		return;
	require(tree_copy(store, growing->ino, LSN_HEAD, attr.size_bytes, growing->ino + 1, 0, sizeof(bytes),
			  false, &copied) == 0);
	require(tree_read(store, growing->ino + 1, LSN_HEAD, 0, bytes, copied, &count) == 0);
	require(count == copied);
	for (size_t i = 0; i < count; i++)
		require(bytes[i] == 'x');
}

static bool count_change(void *context, const struct tree_change *change)
{
	struct lsn *before = context;

	require(change->lsn.value > before->value);
	*before = change->lsn;
	return true;
}

static void history_step(struct member *member)
{
	struct growing *growing = member->crowd->shared;
	struct lsn last = { 0 };

	require(tree_history(store_of(member), growing->ino, count_change, &last) == 0);
}

static void run_growing(void (*step)(struct member *member))
{
	struct growing growing = { 0 };
	struct crowd crowd = { .shared = &growing };

	crowd.fixture = crowd_fixture(0);
	growing.ino = make_file(crowd.fixture->store, ROOT, "grows");
	assert_int_equal(make_file(crowd.fixture->store, ROOT, "copy"), growing.ino + 1);
	crowd_add(&crowd, 1, grow_step);
	crowd_add(&crowd, 1, step);
	crowd_run(&crowd);
	fixture_free(crowd.fixture);
}

static void what_is_added_is_copied_or_not_seen(void **state)
{
	(void)state;
	run_growing(copy_end_step);
}

static void history_is_told_while_it_is_made(void **state)
{
	(void)state;
	run_growing(history_step);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_written_together_match_at_every_lsn),
		cmocka_unit_test(counters_never_go_back),
		cmocka_unit_test(every_file_has_one_name_at_every_lsn),
		cmocka_unit_test(every_file_has_one_name_when_names_collide),
		cmocka_unit_test(directories_never_form_a_loop),
		cmocka_unit_test(links_and_sizes_count_names_at_every_lsn),
		cmocka_unit_test(links_and_sizes_count_names_when_names_collide),
		cmocka_unit_test(a_past_state_holds_still_while_others_cut_and_write),
		cmocka_unit_test(syncs_of_many_threads_go_in_one_flush),
		cmocka_unit_test(what_is_added_is_copied_or_not_seen),
		cmocka_unit_test(history_is_told_while_it_is_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
