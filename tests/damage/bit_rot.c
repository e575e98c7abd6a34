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
 * VARVE_TEST_SIZE=long takes every bit of what is in use; otherwise it is one bit, drawn
 * from the seed, of each eighth byte (fast: of one byte in 16). Of the zeros reserved beyond
 * the end of a file, which no one reads but recovery, every 16th byte.
 */
#include <inttypes.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test_rot.h"

#define WORKERS 2u
#define ZEROS_STRIDE 16u
#define FAST_STRIDE 16u
#define NORMAL_STRIDE 8u

/* ---- flips ---- */

struct tally {
	uint64_t outcomes[ROT_OUTCOMES];
	uint64_t by_file[ROT_FILES_MAX][ROT_OUTCOMES];
};

static bool test_is_fast(void)
{
	const char *size = getenv("VARVE_TEST_SIZE");

	return size && !strcmp(size, "fast");
}

static bool flip_is_due(const struct rot_file *file, size_t at, unsigned bit, bool every_bit,
			uint64_t seed)
{
	struct prng prng = { seed + at };
	size_t stride = NORMAL_STRIDE;

	if (at >= file->used_bytes)
		stride = ZEROS_STRIDE;
	else if (every_bit)
		stride = 1;
	else if (test_is_fast())
		stride = FAST_STRIDE;
	return at % stride == seed % stride && (every_bit || bit == prng_below(&prng, 8));
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
	struct census_verdict verdict = { 0 };

	for (size_t f = 0; f < rot->file_count; f++) {
		struct rot_file *file = &rot->files[f];

		for (size_t at = 0; at < file->size_bytes; at = next_at(file, at)) {
			for (unsigned bit = 0; bit < 8 && at / 64 % WORKERS == worker; bit++) {
				enum rot_outcome outcome;

				if (!flip_is_due(file, at, bit, every_bit, seed))
					continue;
				file->map[at] ^= (uint8_t)(1u << bit);
				outcome = rot_ask(rot, &verdict);
				file->map[at] ^= (uint8_t)(1u << bit);
				tally->outcomes[outcome]++;
				if (outcome == ROT_WRONG && tally->by_file[f][ROT_WRONG] < 5)
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
			struct rot *own = rot_new();

			flip_all(own, w, every_bit, seed, &tallies[w]);
			rot_free(own);
			_exit(0);
		}
	}
	for (unsigned w = 0; w < WORKERS; w++) {
		must(wait(&status) > 0, "wait", "a worker");
		crashes += status != 0;
	}
	for (unsigned w = 0; w < WORKERS; w++) {
		for (unsigned o = 0; o < ROT_OUTCOMES; o++) {
			sum.outcomes[o] += tallies[w].outcomes[o];
			for (size_t f = 0; f < rot->file_count; f++)
				sum.by_file[f][o] += tallies[w].by_file[f][o];
		}
	}
	for (size_t f = 0; f < rot->file_count; f++)
		print_message("%-32s %8" PRIu64 " detected %8" PRIu64 " harmless %4" PRIu64 " wrong\n",
			      rot->files[f].name, sum.by_file[f][ROT_DETECTED], sum.by_file[f][ROT_HARMLESS],
			      sum.by_file[f][ROT_WRONG]);
	print_message("bits flipped: %" PRIu64 " detected, %" PRIu64 " harmless, %" PRIu64
		      " served wrong bytes, %d crashes\n", sum.outcomes[ROT_DETECTED],
		      sum.outcomes[ROT_HARMLESS], sum.outcomes[ROT_WRONG], crashes);
	assert_true(sum.outcomes[ROT_DETECTED] > (test_is_fast() ? 1000u : 10000u));
	assert_int_equal(sum.outcomes[ROT_WRONG], 0);
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
