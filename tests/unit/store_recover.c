/*
 * Recovery: after a kill -9 at any moment everything that had returned is
 * there, at head and at its LSN; what a torn, damaged or left-over tail costs
 * is a suffix and nothing but a suffix.
 */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test_fixture.h"

#define ROOT TREE_ROOT_INO

/* ---- kill -9 under writers ---- */

enum { WRITERS = 3, PAGES = 6, PAGE = 4096, WRITES_MAX = 30000, KILLS = 8 };

/* What the writers of a child saw return, in memory shared with the parent. */
struct acknowledged {
	struct writer_log {
		uint64_t ino;
		_Atomic uint64_t count;
		_Atomic uint64_t started;       /* writes begun, acknowledged or not */
		uint64_t lsns[WRITES_MAX];      /* at or just above the LSN of write i */
	} writers[WRITERS];
};

/* Write i of a writer: which bytes of its file, and what they are. */
struct planned {
	uint64_t offset;
	size_t size_bytes;
	uint64_t seed;
};

static struct planned plan(unsigned writer, uint64_t i)
{
	struct prng prng = { writer * UINT64_C(1000003) + i };
	struct planned planned;

	planned.size_bytes = prng_below(&prng, 8) ? 1 + prng_below(&prng, 200)
						  : 1 + prng_below(&prng, 3 * PAGE);
	planned.offset = prng_below(&prng, PAGES * PAGE - planned.size_bytes);
	planned.seed = prng_next(&prng);
	return planned;
}

struct writer {
	struct store *store;
	struct writer_log *log;
	unsigned number;
};

static void *writer_main(void *argument)
{
	struct writer *writer = argument;
	struct writer_log *log = writer->log;
	struct lsn oldest, after;
	uint8_t bytes[3 * PAGE];

	for (uint64_t i = log->count; i < WRITES_MAX; i++) {
		struct planned planned = plan(writer->number, i);

		seed_fill(planned.seed, bytes, planned.size_bytes);
		atomic_store(&log->started, i + 1);
		require(tree_write(writer->store, log->ino, planned.offset, bytes,
				   planned.size_bytes, false) == 0);
		store_window(writer->store, &oldest, &after);
		log->lsns[i] = after.value;
		atomic_store(&log->count, i + 1);
	}
	return NULL;
}

static void *disturber_main(void *argument)
{
	struct store *store = argument;
	struct timespec pause = { .tv_nsec = 3000000 };

	for (unsigned i = 0;; i++) {
		require(store_sync(store, NULL) == 0);
		if (i % 4 == 3)
			require(store_freeze(store) == 0);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

/* Never returns: writes until it is killed. */
static _Noreturn void child_main(const struct fixture *fixture, struct acknowledged *shared)
{
	struct writer writers[WRITERS];
	struct report report;
	struct store *store;
	pthread_t thread;

	require(store_open(fixture->path, &fixture->options, &report, &store) == 0);
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){ store, &shared->writers[i], i };
		require(pthread_create(&thread, NULL, writer_main, &writers[i]) == 0);
	}
	require(pthread_create(&thread, NULL, disturber_main, store) == 0);
	for (;;)
		pause();
}

static void apply(uint8_t content[PAGES * PAGE], unsigned writer, uint64_t i)
{
	struct planned planned = plan(writer, i);

	seed_fill(planned.seed, content + planned.offset, planned.size_bytes);
}

static bool content_is(struct store *store, uint64_t ino, struct lsn at,
		       const uint8_t expected[PAGES * PAGE])
{
	uint8_t found[PAGES * PAGE];
	size_t count;

	assert_ok(tree_read(store, ino, at, 0, found, sizeof(found), &count));
	assert_int_equal(count, sizeof(found));
	return !memcmp(found, expected, sizeof(found));
}

/* Every acknowledged write at its LSN; at head all of them, and perhaps the one
 * that was under way. */
static void assert_nothing_acknowledged_is_lost(struct store *store, unsigned number,
						struct writer_log *log)
{
	uint8_t content[PAGES * PAGE] = { 0 };

	for (uint64_t i = 0; i < log->count; i++) {
		apply(content, number, i);
		if (i % 16 == 0 || log->count - i < 50)
			assert_true(content_is(store, log->ino, lsn_make(log->lsns[i]), content));
	}
	if (content_is(store, log->ino, LSN_HEAD, content))
		return;
	assert_int_equal(log->started, log->count + 1);
	apply(content, number, log->count);
	assert_true(content_is(store, log->ino, LSN_HEAD, content));
	/* It is there whole; the next run goes on after it. */
	log->lsns[log->count] = newest(store).value;
	log->count++;
}

static void kill_9_loses_nothing_that_had_returned(void **state)
{
	if (TEST_TSAN)
		skip();         /* it can't follow the threads of a forked child */
	struct store_mkfs_options mkfs = { .page_size_bytes = PAGE };
	struct store_options options = { .layer_size_bytes = 1 * MIB };
	struct fixture *f = fixture_new(&mkfs, &options);
	struct acknowledged *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
					   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct prng prng = { test_seed() };
	char name[16];

	(void)state;
	must(shared != MAP_FAILED, "mmap", "shared memory");
	for (unsigned i = 0; i < WRITERS; i++) {
		snprintf(name, sizeof(name), "file%u", i);
		shared->writers[i].ino = make_file(f->store, ROOT, name);
		set_size(f->store, shared->writers[i].ino, PAGES * PAGE);
	}
	for (unsigned round = 0; round < KILLS; round++) {
		fixture_close(f);
		pid_t child = fork();
		must(child >= 0, "fork", f->path);
		if (!child)
			child_main(f, shared);
		usleep(20000 + prng_below(&prng, 200000));
		assert_int_equal(waitpid(child, NULL, WNOHANG), 0);     /* still at work */
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		fixture_open(f);
		for (unsigned i = 0; i < WRITERS; i++)
			assert_nothing_acknowledged_is_lost(f->store, i, &shared->writers[i]);
	}
	print_message("%u kills, %" PRIu64 " acknowledged writes\n", KILLS,
		      shared->writers[0].count + shared->writers[1].count +
		      shared->writers[2].count);
	assert_true(shared->writers[0].count > KILLS);
	munmap(shared, sizeof(*shared));
	fixture_free(f);
}

/* ---- tails ---- */

enum { RECORDS = 12, RECORD = 3000 };

/* A killed store whose last records are known: record i is RECORD random bytes
 * at its own place in one file. */
struct tail {
	struct fixture *fixture;
	uint64_t ino;
	struct lsn before;              /* the file is made, no record yet */
	struct lsn lsns[RECORDS];
};

static void record_bytes(unsigned record, uint8_t out[RECORD])
{
	seed_fill(9000 + record, out, RECORD);
}

static void tail_write(struct tail *tail, unsigned record)
{
	uint8_t bytes[RECORD];

	record_bytes(record, bytes);
	write_bytes(tail->fixture->store, tail->ino, record * RECORD, bytes, RECORD);
	tail->lsns[record] = newest(tail->fixture->store);
}

static struct tail tail_new(void)
{
	struct tail tail = { .fixture = fixture_new(NULL, NULL) };

	tail.ino = make_file(tail.fixture->store, ROOT, "file");
	set_size(tail.fixture->store, tail.ino, RECORDS * RECORD);
	tail.before = newest(tail.fixture->store);
	fixture_note(tail.fixture);
	for (unsigned i = 0; i < RECORDS; i++)
		tail_write(&tail, i);
	return tail;
}

/* The first @count records are there, each at its LSN, and nothing else. */
static void assert_records(struct tail *tail, unsigned count)
{
	struct store *store = tail->fixture->store;
	uint8_t bytes[RECORD];

	assert_int_equal(newest(store).value, count ? tail->lsns[count - 1].value
						    : tail->before.value);
	for (unsigned i = 0; i < RECORDS; i++) {
		record_bytes(i, bytes);
		if (i < count) {
			assert_bytes(store, tail->ino, tail->lsns[i], i * RECORD, bytes, RECORD);
			assert_bytes(store, tail->ino, LSN_HEAD, i * RECORD, bytes, RECORD);
		} else {
			assert_zeros(store, tail->ino, LSN_HEAD, i * RECORD, RECORD);
		}
	}
	fixture_verify(tail->fixture, "after recovery");
}

/* Where a record's bytes lie in the store's files. */
struct place {
	char path[PATH_MAX];
	off_t offset;
};

static struct place find_record(const char *store, unsigned record)
{
	struct place place;
	uint8_t bytes[RECORD];

	record_bytes(record, bytes);
	if (!dir_find_bytes(store, bytes, 64, place.path, &place.offset))
		fail_msg("record %u is in no file of %s", record, store);
	return place;
}

/* The store as a kill leaves it, closed, so that its files may be changed. */
static void take_the_killed_copy(struct fixture *f)
{
	char copy[PATH_MAX];

	path_join(copy, f->dir, "tail");
	dir_copy(f->path, copy);
	fixture_close(f);
	dir_remove(f->path);
	memcpy(f->path, copy, sizeof(copy));
}

static void a_tail_that_is_whole_is_kept(void **state)
{
	struct tail tail = tail_new();

	(void)state;
	take_the_killed_copy(tail.fixture);
	fixture_open(tail.fixture);
	assert_records(&tail, RECORDS);
	fixture_free(tail.fixture);
}

static void a_torn_record_ends_the_history(void **state)
{
	static const unsigned keep_bytes[] = { 0, 1, 100, 512, 1500, RECORD - 1 };

	(void)state;
	for (unsigned n = 0; n < array_size(keep_bytes); n++) {
		struct tail tail = tail_new();
		static const uint8_t zeros[RECORD];

		take_the_killed_copy(tail.fixture);
		struct place place = find_record(tail.fixture->path, RECORDS - 1);
		file_overwrite(place.path, place.offset + keep_bytes[n], zeros, RECORD - keep_bytes[n]);
		fixture_open(tail.fixture);
		assert_records(&tail, RECORDS - 1);
		/* Its place can be written anew. */
		tail_write(&tail, RECORDS - 1);
		assert_records(&tail, RECORDS);
		fixture_prove(tail.fixture);
		fixture_free(tail.fixture);
	}
}

/* Unsynced pages reach the disk in any order: a later record may be whole where an
 * earlier one is not. The first bad one ends the history. */
static void the_first_bad_record_ends_the_history_whatever_follows(void **state)
{
	(void)state;
	for (unsigned bad = 0; bad < RECORDS; bad += 3) {
		struct tail tail = tail_new();
		uint8_t bytes[RECORD];

		take_the_killed_copy(tail.fixture);
		struct place place = find_record(tail.fixture->path, bad);
		record_bytes(bad, bytes);
		bytes[1000] ^= 4;
		file_overwrite(place.path, place.offset + 1000, &bytes[1000], 1);
		fixture_open(tail.fixture);
		assert_records(&tail, bad);
		fixture_free(tail.fixture);
	}
}

static void garbage_beyond_the_tail_is_no_history(void **state)
{
	static const off_t gaps[] = { 0, 8, 100, 4096 };

	(void)state;
	for (unsigned n = 0; n < 2 * array_size(gaps); n++) {
		struct tail tail = tail_new();
		uint8_t garbage[8192];

		if (n % 2)
			memset(garbage, 0xff, sizeof(garbage));
		else
			seed_fill(test_seed() + n, garbage, sizeof(garbage));
		take_the_killed_copy(tail.fixture);
		/* Past the last record's payload and whatever of its batch follows it. */
		struct place place = find_record(tail.fixture->path, RECORDS - 1);
		file_overwrite(place.path, place.offset + RECORD + 256 + gaps[n / 2], garbage,
			  sizeof(garbage));
		fixture_open(tail.fixture);
		assert_records(&tail, RECORDS);
		fixture_prove(tail.fixture);
		fixture_free(tail.fixture);
	}
}

/*
 * An earlier life: record B is lost in a crash, C behind it is whole. The store
 * recovers to before B and goes on with a record of B's very size; then it
 * crashes again. C, in its place and with a right checksum, must not come back.
 */
static void records_of_an_earlier_life_do_not_come_back(void **state)
{
	(void)state;
	for (unsigned lost = 2; lost < RECORDS - 2; lost += 3) {
		struct tail tail = tail_new();
		static const uint8_t zeros[RECORD];

		take_the_killed_copy(tail.fixture);
		struct place place = find_record(tail.fixture->path, lost);
		file_overwrite(place.path, place.offset, zeros, RECORD);
		fixture_open(tail.fixture);
		assert_records(&tail, lost);
		tail_write(&tail, lost);
		assert_records(&tail, lost + 1);
		fixture_kill(tail.fixture);
		assert_records(&tail, lost + 1);
		fixture_kill(tail.fixture);
		assert_records(&tail, lost + 1);
		fixture_free(tail.fixture);
	}
}

/* The same when nothing was written between the two crashes. */
static void recovery_can_itself_be_killed(void **state)
{
	struct tail tail = tail_new();
	static const uint8_t zeros[RECORD];

	(void)state;
	take_the_killed_copy(tail.fixture);
	struct place place = find_record(tail.fixture->path, 5);
	file_overwrite(place.path, place.offset, zeros, RECORD);
	fixture_open(tail.fixture);
	for (unsigned i = 0; i < 4; i++) {
		assert_records(&tail, 5);
		fixture_kill(tail.fixture);
	}
	assert_records(&tail, 5);
	fixture_prove(tail.fixture);
	fixture_free(tail.fixture);
}

/* Does record @a lie in a page in which @b lies, too? */
static bool records_share_a_page(unsigned a, unsigned b)
{
	const unsigned page = STORE_PAGE_SIZE_DEFAULT;

	return a * RECORD / page <= ((b + 1) * RECORD - 1) / page &&
	       b * RECORD / page <= ((a + 1) * RECORD - 1) / page;
}

/* A sync said that it was on disk, so it is rot and no torn end: it costs that version and
 * what lies over it, nothing else. */
static void a_payload_that_rots_where_all_was_synced_costs_its_page(void **state)
{
	struct tail tail = tail_new();
	struct store_options options = { .holder = "a test" };
	struct report report = { "" };
	static const uint8_t zeros[RECORD];
	const unsigned bad = 5;
	uint8_t bytes[RECORD], pages[5 * STORE_PAGE_SIZE_DEFAULT];
	struct store *store;
	unsigned apart = 0;
	size_t count;

	(void)state;
	fixture_close(tail.fixture);            /* syncs, and notes how far */
	struct place place = find_record(tail.fixture->path, bad);
	file_overwrite(place.path, place.offset, zeros, RECORD);
	assert_ok(store_open(tail.fixture->path, &options, &report, &store));
	assert_true(newest(store).value >= tail.lsns[RECORDS - 1].value);
	for (unsigned i = 0; i < RECORDS; i++) {
		record_bytes(i, bytes);
		if (i < bad)
			assert_bytes(store, tail.ino, tail.lsns[i], i * RECORD, bytes, RECORD);
		if (records_share_a_page(i, bad))
			continue;
		assert_bytes(store, tail.ino, LSN_HEAD, i * RECORD, bytes, RECORD);
		apart++;
	}
	assert_true(apart > 0);
	assert_err(tree_read(store, tail.ino, tail.lsns[bad], bad * RECORD, bytes, RECORD, &count),
		   -EBADMSG);
	/* A page written anew is whole again. */
	seed_fill(77, pages, sizeof(pages));
	assert_ok(tree_write(store, tail.ino, 0, pages, sizeof(pages), false));
	assert_bytes(store, tail.ino, LSN_HEAD, 0, pages, sizeof(pages));
	assert_ok(store_close(store));
	fixture_free(tail.fixture);
}

/* Heads that are gone where all was synced hide what lay behind them: that is damage, not
 * a crash, and the store does not open. */
static void a_hole_in_what_was_synced_is_reported(void **state)
{
	struct tail tail = tail_new();
	struct store_options options = { .holder = "a test" };
	struct report report = { "" };
	static const uint8_t zeros[RECORD + 32];
	struct store *store;

	(void)state;
	fixture_close(tail.fixture);
	struct place place = find_record(tail.fixture->path, 5);
	file_overwrite(place.path, place.offset - 32, zeros, sizeof(zeros));
	assert_err(store_open(tail.fixture->path, &options, &report, &store), -EUCLEAN);
	assert_non_null(strstr(report.text, tail.fixture->path));
	fixture_free(tail.fixture);
}

/* The power went after a freeze, before the header of the layer that was begun was
 * synced: all there is is sealed, and nothing says where to go on but that. */
static void history_goes_on_where_only_sealed_layers_are_left(void **state)
{
	static const uint8_t zeros[4096];
	struct fixture *f = *state;
	struct path_list *files;
	char path[PATH_MAX];
	struct lsn before;
	uint64_t ino = make_file(f->store, TREE_ROOT_INO, "file");

	write_text(f->store, ino, "sealed");
	fixture_freeze(f);
	before = fixture_note(f);
	fixture_close(f);
	files = path_list_new(f->path);
	for (size_t i = 0; i < files->count; i++)
		if (strstr(files->items[i].path, ".layer"))
			path_join(path, f->path, files->items[i].path);
	free(files);
	file_overwrite(path, 0, zeros, sizeof(zeros));
	fixture_open(f);
	assert_int_equal(newest(f->store).value, before.value);
	write_text(f->store, ino, "beyond");
	assert_true(newest(f->store).value > before.value);
	assert_text(f->store, ino, LSN_HEAD, "beyond");
	assert_text(f->store, ino, before, "sealed");
}

static void history_goes_on_after_each_of_many_kills(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make_file(f->store, ROOT, "file");
	struct prng prng = { test_seed() };
	uint8_t bytes[5000];

	for (unsigned i = 0; i < 25; i++) {
		for (unsigned n = prng_below(&prng, 4); n; n--) {
			prng_fill(&prng, bytes, sizeof(bytes));
			write_bytes(f->store, ino, prng_below(&prng, 50000), bytes,
				    1 + prng_below(&prng, sizeof(bytes)));
			fixture_note(f);
		}
		if (prng_below(&prng, 3) == 0)
			fixture_freeze(f);
		fixture_kill(f);
		fixture_verify(f, "after a kill");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kill_9_loses_nothing_that_had_returned),
		cmocka_unit_test(a_tail_that_is_whole_is_kept),
		cmocka_unit_test(a_torn_record_ends_the_history),
		cmocka_unit_test(the_first_bad_record_ends_the_history_whatever_follows),
		cmocka_unit_test(garbage_beyond_the_tail_is_no_history),
		cmocka_unit_test(records_of_an_earlier_life_do_not_come_back),
		cmocka_unit_test(recovery_can_itself_be_killed),
		cmocka_unit_test(a_payload_that_rots_where_all_was_synced_costs_its_page),
		cmocka_unit_test(a_hole_in_what_was_synced_is_reported),
		fixture_test(history_goes_on_where_only_sealed_layers_are_left),
		fixture_test(history_goes_on_after_each_of_many_kills),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
