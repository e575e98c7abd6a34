/*
 * Bit rot: each bit of each file of a small but complete store is flipped, one at a
 * time, and the store is opened and asked for all it holds at the head and at every
 * noted LSN. Each flip is one of
 *
 *   detected   the store is not opened, or what can't be read says so, and all the
 *              rest is right
 *   harmless   every answer is right
 *   wrong      any other answer: there must be none
 *
 * VARVE_TEST_SIZE=long takes every bit; otherwise one bit, drawn from the seed, of
 * each byte of what is in use, and of each 16th byte of the zeros reserved beyond the
 * end of a file, which no one reads but recovery.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "report.h"
#include "test_golden.h"

#define WORKERS 2u
#define ZEROS_STRIDE 16u
#define SECTOR 512u

/* ---- a store whose files are changed in place ---- */

struct rot_file {
	char path[PATH_MAX], name[64];
	uint8_t *map;
	size_t size_bytes, used_bytes;  /* used: zeros from there on */
};

struct rot {
	struct golden *golden;
	struct census *noted[GOLDEN_LSNS_MAX];
	struct lsn oldest;
	struct rot_file files[16];
	size_t file_count;
};

static void say_nothing(const char *line)
{
	(void)line;
}

static int open_store(const struct rot *rot, struct store **store_out)
{
	struct store_options options = { .holder = "a test", .read_only = true,
					 .cache_size_bytes = 1 };
	struct report report = { "" };
	int err = store_open(rot->golden->store, &options, &report, store_out);

	if (err && !report.text[0])
		fail_msg("not opened (%s), and no word why", strerror(-err));
	return err;
}

static void map_files(struct rot *rot)
{
	struct path_list *list = path_list_new(rot->golden->store);

	for (size_t i = 0; i < list->count; i++) {
		struct rot_file *file = &rot->files[rot->file_count];
		int fd;

		if (list->items[i].kind != 'f' || !strcmp(list->items[i].path, "lock"))
			continue;
		rot->file_count++;
		snprintf(file->name, sizeof(file->name), "%.60s", list->items[i].path);
		path_join(file->path, rot->golden->store, list->items[i].path);
		file->size_bytes = file->used_bytes = (size_t)list->items[i].size_bytes;
		fd = open(file->path, O_RDWR | O_CLOEXEC);
		must(fd >= 0, "cannot open", file->path);
		file->map = mmap(NULL, file->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		must(file->map != MAP_FAILED, "cannot map", file->path);
		close(fd);
		while (file->used_bytes && !file->map[file->used_bytes - 1])
			file->used_bytes--;
	}
	free(list);
}

static struct rot *rot_new(void)
{
	struct rot *rot = calloc(1, sizeof(*rot));
	struct store *store;

	assert_non_null(rot);
	log_set_sink(say_nothing);
	rot->golden = golden_new(GOLDEN_NAME);
	struct lsn head;
	assert_ok(open_store(rot, &store));
	store_window(store, &rot->oldest, &head);
	for (size_t i = 0; i < rot->golden->count; i++) {
		rot->noted[i] = census_take(store, rot->golden->lsns[i]);
		assert_true(census_digest(rot->noted[i]) == rot->golden->digests[i]);
	}
	assert_ok(store_close(store));
	map_files(rot);
	return rot;
}

static void rot_free(struct rot *rot)
{
	for (size_t i = 0; i < rot->file_count; i++)
		munmap(rot->files[i].map, rot->files[i].size_bytes);
	for (size_t i = 0; i < rot->golden->count; i++)
		census_free(rot->noted[i]);
	golden_free(rot->golden);
	log_set_sink(NULL);
	free(rot);
}

enum outcome { DETECTED, HARMLESS, WRONG, OUTCOMES };

/* Ask for everything. @first is filled with what was wrong, if something was. */
static enum outcome ask(const struct rot *rot, struct census_verdict *verdict)
{
	size_t last = rot->golden->count - 1;
	struct lsn oldest, head;
	struct store *store;
	int err = open_store(rot, &store);

	memset(verdict, 0, sizeof(*verdict));
	if (err && err != -EUCLEAN && err != -EBADMSG && err != -EIO && err != -EMEDIUMTYPE &&
	    err != -EPROTONOSUPPORT) {
		verdict->wrong++;
		snprintf(verdict->first_wrong, sizeof(verdict->first_wrong), "opening: %s",
			 strerror(-err));
		return WRONG;
	}
	if (err)
		return DETECTED;
	store_window(store, &oldest, &head);
	if (head.value != rot->golden->lsns[last].value || oldest.value != rot->oldest.value) {
		verdict->wrong++;
		snprintf(verdict->first_wrong, sizeof(verdict->first_wrong),
			 "the window is %" PRIu64 " to %" PRIu64, oldest.value, head.value);
	}
	for (size_t i = 0; i <= last; i++)
		census_check(rot->noted[i], store, rot->golden->lsns[i], verdict);
	census_check(rot->noted[last], store, LSN_HEAD, verdict);
	assert_ok(store_close(store));
	return verdict->wrong ? WRONG : verdict->refused ? DETECTED : HARMLESS;
}

/* ---- flips ---- */

struct tally {
	uint64_t outcomes[OUTCOMES];
	uint64_t by_file[16][OUTCOMES];
};

static bool flip_is_due(const struct rot_file *file, size_t at, unsigned bit, bool every_bit,
			uint64_t seed)
{
	struct prng prng = { seed + at };

	if (every_bit && (at < file->used_bytes || at % ZEROS_STRIDE == seed % ZEROS_STRIDE))
		return true;
	if (at >= file->used_bytes && at % ZEROS_STRIDE != seed % ZEROS_STRIDE)
		return false;
	return bit == prng_below(&prng, 8);
}

/* Of the zeros beyond the end, all of the first 64 KiB; behind them a sample of pages. */
static size_t next_at(const struct rot_file *file, size_t at)
{
	size_t near = file->used_bytes + 64 * KIB;

	at++;
	if (at < near || at >= file->size_bytes)
		return at;
	return at % (256 * KIB) < 64 ? at : (at / (256 * KIB) + 1) * 256 * KIB;
}

static void flip_all(struct rot *rot, unsigned worker, bool every_bit, uint64_t seed,
		     struct tally *tally)
{
	struct census_verdict verdict;

	for (size_t f = 0; f < rot->file_count; f++) {
		struct rot_file *file = &rot->files[f];

		for (size_t at = 0; at < file->size_bytes; at = next_at(file, at)) {
			for (unsigned bit = 0; bit < 8 && at / 64 % WORKERS == worker; bit++) {
				enum outcome outcome;

				if (!flip_is_due(file, at, bit, every_bit, seed))
					continue;
				file->map[at] ^= (uint8_t)(1u << bit);
				outcome = ask(rot, &verdict);
				file->map[at] ^= (uint8_t)(1u << bit);
				tally->outcomes[outcome]++;
				if (outcome == WRONG && tally->by_file[f][WRONG] < 5)
					print_error("%s, byte %zu, bit %u: %s\n", file->name, at, bit,
						    verdict.first_wrong);
				tally->by_file[f][outcome]++;
			}
		}
	}
}

static void each_flipped_bit_is_detected_or_harmless(void **state)
{
	const char *size = getenv("VARVE_TEST_SIZE");
	bool every_bit = size && !strcmp(size, "long");
	struct tally *tallies = mmap(NULL, WORKERS * sizeof(*tallies), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t seed = test_seed();
	struct tally sum = { { 0 }, { { 0 } } };
	struct rot *rot = rot_new();
	int status, crashes = 0;

	(void)state;
	must(tallies != MAP_FAILED, "mmap", "the tallies");
	for (unsigned w = 0; w < WORKERS; w++) {
		pid_t child = fork();

		must(child >= 0, "cannot fork", "a worker");
		if (!child) {
			/* With files of its own. */
			flip_all(rot_new(), w, every_bit, seed, &tallies[w]);
			_exit(0);
		}
	}
	for (unsigned w = 0; w < WORKERS; w++) {
		must(wait(&status) > 0, "wait", "a worker");
		crashes += status != 0;
	}
	for (unsigned w = 0; w < WORKERS; w++) {
		for (unsigned o = 0; o < OUTCOMES; o++) {
			sum.outcomes[o] += tallies[w].outcomes[o];
			for (size_t f = 0; f < rot->file_count; f++)
				sum.by_file[f][o] += tallies[w].by_file[f][o];
		}
	}
	for (size_t f = 0; f < rot->file_count; f++)
		print_message("%-32s %8" PRIu64 " detected %8" PRIu64 " harmless %4" PRIu64 " wrong\n",
			      rot->files[f].name, sum.by_file[f][DETECTED], sum.by_file[f][HARMLESS],
			      sum.by_file[f][WRONG]);
	print_message("bits flipped: %" PRIu64 " detected, %" PRIu64 " harmless, %" PRIu64
		      " served wrong bytes, %d crashes\n", sum.outcomes[DETECTED],
		      sum.outcomes[HARMLESS], sum.outcomes[WRONG], crashes);
	assert_true(sum.outcomes[DETECTED] > 10000);
	assert_int_equal(sum.outcomes[WRONG], 0);
	assert_int_equal(crashes, 0);
	munmap(tallies, WORKERS * sizeof(*tallies));
	rot_free(rot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_flipped_bit_is_detected_or_harmless),
	};

	/* Each store takes and gives back the same memory: not from the kernel each time. */
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
