/*
 * Writers, readers of the head and of the past, compaction and garbage collection at once, on small layers
 * that are merged a few at a time.
 *
 * Each page of a file says which write it was. Before and after each write the writer
 * notes the newest LSN, so it is known which write a page may show at any LSN. Readers
 * hold an LSN against the window, read there, and require one of those.
 *
 * VARVE_THREADS_MS sets how long it runs. Threads may not use cmocka's asserts: they require().
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "test_fixture.h"

#define FILES 3u
#define PAGES 24u
#define PAGE_BYTES 4096u
#define WRITES_MAX 400000u
#define RUN_MS_STANDARD 3000u

/* Of one page: write i happened after before[i] and at or before after[i]. */
struct page_log {
	_Atomic uint32_t count;         /* writes noted; stored with release */
	uint64_t *before, *after;
};

struct crowd {
	struct store *store;
	uint64_t inos[FILES];
	struct page_log logs[FILES][PAGES];
	atomic_bool stop;
	_Atomic uint64_t writes, reads, held, refused, merges;
};

struct member {
	struct crowd *crowd;
	unsigned number;
	struct prng prng;
	pthread_t thread;
};

static uint64_t now_lsn(struct crowd *crowd)
{
	struct lsn oldest, newest;

	store_window(crowd->store, &oldest, &newest);
	return newest.value;
}

/* What write @nth puts at the start and at the end of a page. */
static uint64_t mark(unsigned file, unsigned page, uint32_t nth)
{
	return ((uint64_t)(file + 1) << 48 | (uint64_t)page << 40 | nth) * UINT64_C(0x9e3779b97f4a7c15);
}

static void write_page(struct member *member, unsigned file, unsigned page)
{
	struct crowd *crowd = member->crowd;
	struct page_log *log = &crowd->logs[file][page];
	uint32_t nth = atomic_load(&log->count);
	uint64_t marks[2] = { nth, mark(file, page, nth) };
	uint8_t bytes[PAGE_BYTES];

	if (nth == WRITES_MAX)
		return;
	memset(bytes, (int)(nth & 0xff), sizeof(bytes));
	memcpy(bytes, marks, sizeof(marks));
	memcpy(bytes + sizeof(bytes) - sizeof(marks), marks, sizeof(marks));
	log->before[nth] = now_lsn(crowd);
	if (prng_below(&member->prng, 4) == 0)
		require(tree_write(crowd->store, crowd->inos[file], page * PAGE_BYTES, bytes,
				   sizeof(bytes), false) == 0);
	else    /* the same in fewer bytes: what lies between the marks is not looked at */
		require(tree_write(crowd->store, crowd->inos[file], page * PAGE_BYTES, bytes,
				   sizeof(marks), false) == 0 &&
			tree_write(crowd->store, crowd->inos[file],
				   (page + 1) * PAGE_BYTES - sizeof(marks),
				   bytes + sizeof(bytes) - sizeof(marks), sizeof(marks), false) == 0);
	log->after[nth] = now_lsn(crowd);
	atomic_store(&log->count, nth + 1);
	atomic_fetch_add(&crowd->writes, 1);
}

static void *writer(void *context)
{
	struct member *member = context;

	while (!atomic_load(&member->crowd->stop)) {
		write_page(member, member->number, (unsigned)prng_below(&member->prng, PAGES));
		if (prng_below(&member->prng, 200) == 0)
			require(store_sync(member->crowd->store, NULL) == 0);
	}
	return NULL;
}

/* The page at @at must show a write that happened by then, and no older one than the last that
 * surely had. Its end is written by a second call: it may be one behind. */
static void check_page(struct member *member, struct lsn at)
{
	struct crowd *crowd = member->crowd;
	unsigned file = (unsigned)prng_below(&member->prng, FILES);
	unsigned page = (unsigned)prng_below(&member->prng, PAGES);
	struct page_log *log = &crowd->logs[file][page];
	uint32_t count = atomic_load(&log->count);
	uint64_t start[2], end[2];
	uint8_t bytes[PAGE_BYTES];
	size_t size;
	int err = tree_read(crowd->store, crowd->inos[file], at, page * PAGE_BYTES, bytes,
			    sizeof(bytes), &size);

	require(err == 0);
	require(size == sizeof(bytes));
	memcpy(start, bytes, sizeof(start));
	memcpy(end, bytes + sizeof(bytes) - sizeof(end), sizeof(end));
	require(start[1] == mark(file, page, (uint32_t)start[0]));
	require(end[1] == mark(file, page, (uint32_t)end[0]));
	require(end[0] == start[0] || end[0] + 1 == start[0]);
	if (lsn_is_head(at)) {
		require(start[0] + 1 >= count);
		return;
	}
	if (start[0] < count)
		require(log->before[start[0]] < at.value);
	if (start[0] + 1 < count)
		require(log->after[start[0] + 1] > at.value);
}

static void *reader(void *context)
{
	struct member *member = context;
	struct crowd *crowd = member->crowd;

	while (!atomic_load(&crowd->stop)) {
		struct lsn oldest, newest, at;

		check_page(member, LSN_HEAD);
		atomic_fetch_add(&crowd->reads, 1);
		store_window(crowd->store, &oldest, &newest);
		at = lsn_make(oldest.value +
			      prng_below(&member->prng, newest.value - oldest.value + 1));
		if (store_pin(crowd->store, at)) {
			atomic_fetch_add(&crowd->refused, 1);
			continue;
		}
		for (unsigned i = 0; i < 20; i++)
			check_page(member, at);
		store_unpin(crowd->store, at);
		atomic_fetch_add(&crowd->held, 1);
	}
	return NULL;
}

static void *collector(void *context)
{
	struct member *member = context;
	struct crowd *crowd = member->crowd;
	struct store_gc gc;

	while (!atomic_load(&crowd->stop)) {
		struct store_window window = {
			.bytes = 1 + prng_below(&member->prng, 8 * MIB),
		};

		require(store_window_set(crowd->store, &window) == 0);
		require(store_collect(crowd->store, prng_below(&member->prng, 3) == 0, &gc) == 0);
		if (prng_below(&member->prng, 3) == 0)
			require(store_compact(crowd->store) == 0);
		atomic_fetch_add(&crowd->merges, 1);
	}
	return NULL;
}

static void crowd_begin(struct crowd *crowd, struct fixture *fixture)
{
	struct member first = { .crowd = crowd, .prng = { test_seed() } };

	crowd->store = fixture->store;
	for (unsigned f = 0; f < FILES; f++) {
		char name[8];

		snprintf(name, sizeof(name), "f%u", f);
		crowd->inos[f] = make_file(crowd->store, TREE_ROOT_INO, name);
		for (unsigned p = 0; p < PAGES; p++) {
			crowd->logs[f][p].before = calloc(WRITES_MAX, sizeof(uint64_t));
			crowd->logs[f][p].after = calloc(WRITES_MAX, sizeof(uint64_t));
			write_page(&first, f, p);
		}
	}
	/* From here on every page has been written: also at the LSN before the last. */
	write_page(&first, 0, 0);
	assert_ok(store_window_set(crowd->store, &(struct store_window){ .bytes = 1 }));
	assert_ok(store_window_set(crowd->store, &(struct store_window){ .bytes = 0 }));
}

static void crowd_end(struct crowd *crowd)
{
	for (unsigned f = 0; f < FILES; f++)
		for (unsigned p = 0; p < PAGES; p++) {
			free(crowd->logs[f][p].before);
			free(crowd->logs[f][p].after);
		}
}

static void readers_writers_compaction_and_gc_at_once(void **state)
{
	const struct store_mkfs_options mkfs = { .page_size_bytes = PAGE_BYTES };
	const struct store_options options = { .layer_size_bytes = 4 * MIB, .fanin_0 = 3, .fanin = 2 };
	uint64_t run_ms = test_count("VARVE_THREADS_MS", RUN_MS_STANDARD);
	struct timespec time = { .tv_sec = run_ms / 1000, .tv_nsec = run_ms % 1000 * 1000000 };
	struct fixture *fixture = fixture_new(&mkfs, &options);
	static struct crowd crowd;
	struct member members[FILES + 3];
	void *(*const work[])(void *) = { writer, writer, writer, reader, reader, collector };

	crowd_begin(&crowd, fixture);
	for (unsigned i = 0; i < FILES + 3; i++) {
		members[i] = (struct member){ &crowd, i, { test_seed() + i + 1 }, 0 };
		assert_int_equal(pthread_create(&members[i].thread, NULL, work[i], &members[i]), 0);
	}
	nanosleep(&time, NULL);
	atomic_store(&crowd.stop, true);
	for (unsigned i = 0; i < FILES + 3; i++)
		assert_int_equal(pthread_join(members[i].thread, NULL), 0);
	print_message("%llu writes, %llu reads of the head, %llu LSNs held, %llu gone before, "
		      "%llu collections\n", (unsigned long long)crowd.writes,
		      (unsigned long long)crowd.reads, (unsigned long long)crowd.held,
		      (unsigned long long)crowd.refused, (unsigned long long)crowd.merges);
	assert_true(crowd.writes && crowd.reads && crowd.held && crowd.merges);
	crowd_end(&crowd);
	fixture_free(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readers_writers_compaction_and_gc_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
