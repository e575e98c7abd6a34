/*
 * Names: a directory of a million files beside one of a hundred, through the mount.
 *
 * Created one after another; listed as ls -f does, by a server that starts with nothing in memory; and looked up
 * at random by one that has just started, so that neither the kernel nor the daemon knows the names. The
 * hundred and the thousand of the large one take turns, and medians are compared.
 *
 * Creating and listing wait for the processor alone, so they are held to the processor time that caller and server
 * take, what is merged behind them included; what a clock on the wall says is told beside it.
 */
#include "bench.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "server.h"

#define SMALL_COUNT 100u
#define WINDOW 10000u                   /* files created between two looks at the clock */
#define WINDOWS_MAX 100u
#define ENDS 5u                         /* windows of which the middle one counts, at either end */
#define LIST_LIMIT_S_A_MILLION 3.0
#define STATS_OF_LARGE 10u              /* for each of the small one */

struct names_bench {
	struct bench *bench;
	struct server server;
	char store[PATH_MAX], large[PATH_MAX + 32], small[PATH_MAX + 32];
	unsigned count;
};

static int names_serve(const char *mountpoint, void *context)
{
	const struct names_bench *names = context;
	const char *program = bench_varve(names->bench);

	execl(program, program, "mount", names->store, mountpoint, "-f", (char *)NULL);
	return -errno;
}

static int names_start(struct names_bench *names)
{
	char *program = (char *)bench_varve(names->bench);
	char *mkfs[] = { program, "mkfs", names->store, NULL };
	int err = server_init(&names->server, names->bench, "varve");

	if (err)
		return err;
	snprintf(names->store, sizeof(names->store), "%.4000s/store", bench_dir(names->bench));
	snprintf(names->large, sizeof(names->large), "%s/head/rel/large", names->server.mountpoint);
	snprintf(names->small, sizeof(names->small), "%s/head/rel/small", names->server.mountpoint);
	err = command_run(mkfs);
	if (err)
		return bench_fail(names->bench, err, "%s mkfs %s; build varve, or name it with --varve", program,
				  names->store);
	return server_start(&names->server, names_serve, names);
}

/* A server that knows nothing, and a kernel that knows nothing of it. */
static int names_restart(struct names_bench *names)
{
	int err = server_end(&names->server);

	return err ? err : server_start(&names->server, names_serve, names);
}

static void name_of(unsigned number, char name_out[32])
{
	snprintf(name_out, 32, "file-%07u", number);
}

static int files_create(int dir, unsigned from, unsigned count)
{
	char name[32];

	for (unsigned i = from; i < from + count; i++) {
		int fd;

		name_of(i, name);
		fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY, 0644);
		if (fd < 0)
			return -errno;
		close(fd);
	}
	return 0;
}

static int dir_make(const char *path, int *fd_out)
{
	*fd_out = -1;
	if (mkdir(path, 0755) < 0)
		return -errno;
	*fd_out = open(path, O_RDONLY | O_DIRECTORY);
	return *fd_out < 0 ? -errno : 0;
}

static int small_make(struct names_bench *names)
{
	int dir, err = dir_make(names->small, &dir);

	if (err)
		return err;
	err = files_create(dir, 0, SMALL_COUNT);
	close(dir);
	return err;
}

/* What caller and server have taken so far. */
struct spent {
	double wall_s, processor_s;
};

static int spent_get(const struct names_bench *names, struct spent *spent_out)
{
	unsigned long user, system;
	char path[64];
	FILE *file;
	int fields;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)names->server.pid);
	file = fopen(path, "r");
	if (!file)
		return -errno;
	fields = fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
	fclose(file);
	if (fields != 2)
		return -EIO;
	spent_out->wall_s = (double)clock_ns() / 1e9;
	spent_out->processor_s = (double)clock_of_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e9 +
				 (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
	return 0;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *samples, unsigned count)
{
	qsort(samples, count, sizeof(*samples), compare_doubles);
	return samples[count / 2];
}

static int window_create(struct names_bench *names, int dir, unsigned from, double *processor_s_out)
{
	struct spent before, after;
	int err = spent_get(names, &before);

	if (!err)
		err = files_create(dir, from, WINDOW);
	if (!err)
		err = spent_get(names, &after);
	*processor_s_out = err ? 0 : after.processor_s - before.processor_s;
	return err;
}

static int large_make(struct names_bench *names)
{
	unsigned windows = names->count / WINDOW;
	double spent_s[WINDOWS_MAX], first_s, last_s;
	uint64_t start = clock_ns();
	int dir, err = dir_make(names->large, &dir);

	if (err)
		return err;
	for (unsigned i = 0; i < windows && !err; i++)
		err = window_create(names, dir, i * WINDOW, &spent_s[i]);
	close(dir);
	if (err)
		return err;
	bench_fact(names->bench, "files created, by the clock on the wall",
		   names->count / ((double)(clock_ns() - start) / 1e9), "files/s", FACT_NOTE, 0);
	first_s = median(spent_s, ENDS);
	last_s = median(spent_s + windows - ENDS, ENDS);
	bench_fact(names->bench, "processor time of a file, the first 10,000", first_s * 1e6 / WINDOW, "us", FACT_NOTE,
		   0);
	bench_fact(names->bench, "the last 10,000", last_s * 1e6 / WINDOW, "us", FACT_NOTE, 0);
	bench_fact(names->bench, "rate of the last, of that of the first", first_s / last_s, "x", FACT_AT_LEAST, 0.8);
	return 0;
}

/* As ls -f does: all names, nothing of the files. */
static int large_list(struct names_bench *names, const char *what)
{
	double limit_s = LIST_LIMIT_S_A_MILLION * (names->count < 100000 ? 100000 : names->count) / 1e6;
	struct spent before, after;
	unsigned count = 0;
	DIR *dir;
	int err = spent_get(names, &before);

	if (err)
		return err;
	dir = opendir(names->large);
	if (!dir)
		return -errno;
	while (readdir(dir))
		count++;
	closedir(dir);
	if (count != names->count + 2)
		return -EIO;
	err = spent_get(names, &after);
	if (err)
		return err;
	bench_fact(names->bench, what, after.processor_s - before.processor_s, "s", FACT_AT_MOST, limit_s);
	bench_fact(names->bench, "the same by the clock on the wall", after.wall_s - before.wall_s, "s", FACT_NOTE, 0);
	return 0;
}

static int stat_time(const char *path, unsigned number, double *us_out)
{
	char name[PATH_MAX + 64];
	struct stat found;
	uint64_t start;

	snprintf(name, sizeof(name), "%s/file-%07u", path, number);
	start = clock_ns();
	if (lstat(name, &found) < 0)
		return -errno;
	*us_out = (double)(clock_ns() - start) / 1e3;
	return 0;
}

/* The small directory's in a random order, ten of the large one's after each. No name is asked for twice but by
 * chance. */
static int stats_measure(struct names_bench *names)
{
	double small[SMALL_COUNT], large[SMALL_COUNT * STATS_OF_LARGE], small_us, large_us;
	struct dice dice = { 7 };
	int err = 0;

	for (unsigned i = 0; i < SMALL_COUNT && !err; i++) {
		err = stat_time(names->small, i * 37 % SMALL_COUNT, &small[i]);
		for (unsigned j = 0; j < STATS_OF_LARGE && !err; j++) {
			uint32_t number = (uint32_t)dice_below(&dice, names->count);

			err = stat_time(names->large, number, &large[i * STATS_OF_LARGE + j]);
		}
	}
	if (err)
		return err;
	small_us = median(small, SMALL_COUNT);
	large_us = median(large, SMALL_COUNT * STATS_OF_LARGE);
	bench_fact(names->bench, "stat of a random name of 100, uncached", small_us, "us", FACT_NOTE, 0);
	bench_fact(names->bench, "stat of a random name of all, uncached", large_us, "us", FACT_NOTE, 0);
	bench_fact(names->bench, "the second, of the first", large_us / small_us, "x", FACT_AT_MOST, 2);
	return 0;
}

static int names_measure(struct names_bench *names)
{
	int err = small_make(names);

	if (!err)
		err = large_make(names);
	if (!err)
		err = names_restart(names);
	if (!err)
		err = large_list(names, "listing all of them, by a server just started");
	if (!err)
		err = large_list(names, "listing them again");
	if (!err)
		err = names_restart(names);
	return err ? err : stats_measure(names);
}

static int names_run(struct bench *bench)
{
	struct names_bench names = { .bench = bench, .count = (unsigned)bench_size(bench, 1000000, 50000) };
	int end_err, err;

	bench_say(bench, "a directory of %u files, one of %u", names.count, SMALL_COUNT);
	err = names_start(&names);
	if (!err) {
		err = names_measure(&names);
		if (err)
			bench_fail(bench, err, "%s", names.large);
	}
	end_err = server_end(&names.server);
	return err ? err : end_err;
}

const struct bench_subject names_subject = {
	.name = "names",
	.doc = "a directory of a million files: created, listed, looked up",
	.run = names_run,
};
