/*
 * varve-bench: varve's claims of speed, each measured beside its rival or its
 * limit in the same run.
 */
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include <unistd.h>

#include "bench.h"
#include "content.h"
#include "history_growth.h"
#include "machine.h"
#include "workdir.h"

static const struct bench_subject *const subjects[] = {
	&append_subject, &lookup_subject, &freeze_subject, &flush_subject, &sync_subject,
	&open_subject, &check_subject, &history_subject, &layers_subject, &map_subject, &table_subject,
#ifdef BENCH_MOUNT
	&mount_subject, &names_subject, &checksum_subject,
#endif
};

#define SUBJECT_COUNT (sizeof(subjects) / sizeof(subjects[0]))

struct arguments {
	struct bench_options options;
	const char *dir;
	const struct bench_subject *chosen[SUBJECT_COUNT];
	size_t chosen_count;
	struct workdir workdir;
	bool strict, hold_memory;
};

#define HOLD_BYTES (8ull << 30)         /* more than any subject has in memory at a time */

enum {
	OPTION_STRICT = 256,
	OPTION_LIST,
	OPTION_VARVE,
	OPTION_HOLD_MEMORY,
	OPTION_TRACE,
	OPTION_HISTORY,
	OPTION_RANDOM,
};

static const struct argp_option options[] = {
	{ "quick", 'q', NULL, 0, "Smaller sizes and fewer rounds: does it run, not how fast", 0 },
	{ "json", 'j', NULL, 0, "Write JSON to stdout and the text to stderr", 0 },
	{ "dir", 'd', "DIR", 0, "Work below DIR, on the disk to be measured (default: beside the program)",
	  0 },
	{ "rounds", 'r', "N", 0, "Sample every contender N times", 0 },
	{ "only", 'o', "TEXT", 0, "Only claims that hold TEXT, as in --only 'random 8 KiB read'", 0 },
	{ "strict", OPTION_STRICT, NULL, 0, "Exit with 1 if a target is missed", 0 },
	{ "hold-memory", OPTION_HOLD_MEMORY, NULL, 0,
	  "Keep the machine's free memory from going back to its host meanwhile (root; for virtual machines)",
	  0 },
	{ "trace", OPTION_TRACE, "FILE", 0, "history: replay the writes of FILE, made by trace.py, and nothing else",
	  0 },
	{ "history", OPTION_HISTORY, "BYTES[,BYTES...]", 0,
	  "history: build up so much history of varve alone, K, M and G allowed, and nothing else", 0 },
	{ "random", OPTION_RANDOM, "PERCENT", 0,
	  "history: how much of what is written is random; the rest repeats (default: 25)", 0 },
	{ "list", OPTION_LIST, NULL, 0, "List the benches and exit", 0 },
#ifdef BENCH_MOUNT
	{ "varve", OPTION_VARVE, "PROGRAM", 0, "The varve command to mount with (default: beside this program)",
	  0 },
#endif
	{ 0 },
};

static void subjects_list(void)
{
	for (size_t i = 0; i < SUBJECT_COUNT; i++)
		printf("%-8s %s\n", subjects[i]->name, subjects[i]->doc);
}

static error_t subject_choose(struct arguments *arguments, const char *name, struct argp_state *state)
{
	for (size_t i = 0; i < SUBJECT_COUNT; i++) {
		if (strcmp(subjects[i]->name, name) != 0)
			continue;
		for (size_t j = 0; j < arguments->chosen_count; j++) {
			if (arguments->chosen[j] == subjects[i])
				return 0;
		}
		arguments->chosen[arguments->chosen_count++] = subjects[i];
		return 0;
	}
	argp_error(state, "no bench is called '%s'; --list names them all", name);
	return EINVAL;
}

static unsigned number_parse(const char *option, const char *text, unsigned min, unsigned max,
			     struct argp_state *state)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || number < min || number > max)
		argp_error(state, "%s takes a number from %u to %u, not '%s'", option, min, max, text);
	return (unsigned)number;
}

static error_t option_parse(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = state->input;
	struct growth_sizes sizes;

	switch (key) {
	case 'q':
		arguments->options.quick = true;
		return 0;
	case 'j':
		arguments->options.json = true;
		return 0;
	case 'd':
		arguments->dir = argument;
		return 0;
	case 'r':
		arguments->options.rounds = number_parse("--rounds", argument, 1, 100000, state);
		return 0;
	case 'o':
		arguments->options.only = argument;
		return 0;
	case OPTION_STRICT:
		arguments->strict = true;
		return 0;
	case OPTION_HOLD_MEMORY:
		arguments->hold_memory = true;
		return 0;
	case OPTION_LIST:
		subjects_list();
		exit(0);
	case OPTION_VARVE:
		arguments->options.varve = argument;
		return 0;
	case OPTION_TRACE:
		arguments->options.trace = argument;
		return 0;
	case OPTION_HISTORY:
		if (growth_sizes_parse(argument, &sizes))
			argp_error(state, "--history takes sizes as in 1G,20G, not '%s'", argument);
		arguments->options.history = argument;
		return 0;
	case OPTION_RANDOM:
		arguments->options.random_percent = number_parse("--random", argument, 0, 100, state);
		return 0;
	case ARGP_KEY_ARG:
		return subject_choose(arguments, argument, state);
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp parser = {
	.options = options,
	.parser = option_parse,
	.args_doc = "[BENCH...]",
	.doc = "Measure varve beside its rivals and limits; all benches unless some are named."
	       "\vExit status: 0 measured, whether or not the targets are met; 1 something could not be "
	       "measured, or with --strict a target is missed; 2 usage.",
};

static int subject_run(struct bench *bench, const struct arguments *arguments,
		       const struct bench_subject *subject)
{
	char dir[PATH_MAX + 16];
	int err;

	snprintf(dir, sizeof(dir), "%s/%s", arguments->workdir.path, subject->name);
	if (mkdir(dir, 0755) < 0) {
		fprintf(stderr, "varve-bench: %s: %s\n", dir, strerror(errno));
		return -errno;
	}
	err = bench_run(bench, subject, dir);
	/* At once, not at the end: the next subject wants the disk and the page cache. */
	tree_remove(dir);
	return err;
}

static int subjects_run(void *context)
{
	const struct arguments *arguments = context;
	struct bench *bench = bench_new(&arguments->options);
	int status = 0;

	if (!bench) {
		fprintf(stderr, "varve-bench: out of memory\n");
		return 1;
	}
	for (size_t i = 0; i < arguments->chosen_count; i++) {
		if (subject_run(bench, arguments, arguments->chosen[i]))
			status = 1;
	}
	if (arguments->strict && bench_missed(bench) > 0)
		status = 1;
	bench_free(bench);
	return status;
}

static void memory_hold(bool hold)
{
	int err = machine_memory_hold(hold, HOLD_BYTES);

	if (err < 0)
		fprintf(stderr, "varve-bench: warning: --hold-memory: %s; figures of writes may be the host's\n",
			strerror(-err));
}

/* The directory this program lies in. */
static void program_dir(char *dir, size_t size_bytes)
{
	ssize_t length = readlink("/proc/self/exe", dir, size_bytes - 1);
	char *slash;

	dir[length > 0 ? length : 0] = '\0';
	slash = strrchr(dir, '/');
	if (slash && slash != dir)
		*slash = '\0';
	else
		snprintf(dir, size_bytes, ".");
}

static void memory_disk_warn(const char *dir)
{
	struct statfs filesystem;

	if (statfs(dir, &filesystem) == 0
	    && (filesystem.f_type == TMPFS_MAGIC || filesystem.f_type == RAMFS_MAGIC))
		fprintf(stderr, "varve-bench: warning: %s is in memory; name a directory on a disk with --dir\n",
			dir);
}

int main(int argc, char **argv)
{
	static char dir[PATH_MAX], varve[PATH_MAX + 8];
	static struct arguments arguments;
	int status;

	program_dir(dir, sizeof(dir));
	snprintf(varve, sizeof(varve), "%s/varve", dir);
	arguments.dir = dir;
	arguments.options.varve = varve;
	arguments.options.random_percent = CONTENT_RANDOM_PERCENT;
	argp_program_version = "varve-bench " VARVE_VERSION;
	argp_err_exit_status = 2;
	argp_parse(&parser, argc, argv, 0, NULL, &arguments);
	if (arguments.chosen_count == 0) {
		memcpy(arguments.chosen, subjects, sizeof(subjects));
		arguments.chosen_count = SUBJECT_COUNT;
	}
	memory_disk_warn(arguments.dir);
	if (arguments.hold_memory)
		memory_hold(true);
	status = workdir_make(&arguments.workdir, arguments.dir);
	if (status == 0)
		status = workdir_guard(&arguments.workdir, subjects_run, &arguments);
	if (arguments.hold_memory)
		memory_hold(false);
	if (status < 0) {
		fprintf(stderr, "varve-bench: %s: %s; name a directory that can be written with --dir\n",
			arguments.dir, strerror(-status));
		return 1;
	}
	return status;
}
