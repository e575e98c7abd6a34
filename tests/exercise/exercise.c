/* What the exercisers share; see exercise.h. */
#include "exercise.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NOTES 40
#define NOTE_SIZE 160

static char notes[NOTES][NOTE_SIZE];
static uint64_t note_count;

static void usage(const char *program)
{
	fprintf(stderr, "Usage: %s DIR [--ops N] [--seed N] [--processes N] [--mount POINT] [--lacks WORD,...]\n",
		program);
	exit(2);
}

void options_parse(struct options *options, int argc, char **argv)
{
	static const struct option known[] = {
		{"ops", required_argument, NULL, 'o'},       {"seed", required_argument, NULL, 's'},
		{"processes", required_argument, NULL, 'p'}, {"mount", required_argument, NULL, 'm'},
		{"lacks", required_argument, NULL, 'l'},     {NULL, 0, NULL, 0},
	};
	const char *seed = getenv("VARVE_TEST_SEED");
	struct timespec now;
	int option;

	clock_gettime(CLOCK_REALTIME, &now);
	*options = (struct options){
		.lacks = "",
		.ops = 10000,
		.processes = 4,
		.seed = seed ? strtoull(seed, NULL, 10) : (uint64_t)now.tv_sec * 1000000007 + (uint64_t)now.tv_nsec,
	};
	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (option) {
		case 'o': options->ops = strtoull(optarg, NULL, 10); break;
		case 's': options->seed = strtoull(optarg, NULL, 10); break;
		case 'p': options->processes = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'm': options->mount = optarg; break;
		case 'l': options->lacks = optarg; break;
		default: usage(argv[0]);
		}
	}
	if (optind != argc - 1 || !options->ops || !options->processes)
		usage(argv[0]);
	options->dir = argv[optind];
	printf("VARVE_TEST_SEED=%" PRIu64 "\n", options->seed);
	fflush(stdout);
}

bool options_lack(const struct options *options, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = options->lacks; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
		if (strncmp(at, word, length) == 0 && (at[length] == ',' || !at[length]))
			return true;
	return false;
}

/* splitmix64, by Sebastiano Vigna. */
uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

uint64_t random_below(uint64_t *state, uint64_t limit)
{
	return random_next(state) % limit;
}

void note(const char *format, ...)
{
	va_list words;

	va_start(words, format);
	vsnprintf(notes[note_count++ % NOTES], NOTE_SIZE, format, words);
	va_end(words);
}

void die(const char *format, ...)
{
	int code = errno;
	uint64_t first = note_count > NOTES ? note_count - NOTES : 0;
	va_list words;

	fprintf(stderr, "process %d: WRONG: ", (int)getpid());
	va_start(words, format);
	vfprintf(stderr, format, words);
	va_end(words);
	fprintf(stderr, "\n(errno %s)\nthe last operations, of %" PRIu64 ":\n", strerrorname_np(code), note_count);
	for (uint64_t i = first; i < note_count; i++)
		fprintf(stderr, "%8" PRIu64 "  %s\n", i, notes[i % NOTES]);
	exit(1);
}

uint64_t lsn_latest(const struct options *options)
{
	char path[PATH_MAX], number[32] = "";

	snprintf(path, sizeof(path), "%s/lsn/latest", options->mount);
	if (readlink(path, number, sizeof(number) - 1) < 0)
		die("%s can't be read", path);
	return strtoull(number, NULL, 10);
}

void lsn_path(const struct options *options, uint64_t lsn, char *path_out, size_t size)
{
	char head[PATH_MAX];
	size_t length = (size_t)snprintf(head, sizeof(head), "%s/head/rel/", options->mount);

	if (strncmp(options->dir, head, length) != 0)
		die("%s is not below %s", options->dir, head);
	snprintf(path_out, size, "%s/lsn/%" PRIu64 "/rel/%s", options->mount, lsn, options->dir + length);
}
