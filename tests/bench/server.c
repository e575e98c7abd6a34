#include "server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "unmount.h"

#define MOUNT_TIMEOUT_MS 10000
#define POLL_MS 10

/*
 * Starting and ending
 */

int command_run(char *const argv[])
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		/* Our stdout is the report's. */
		dup2(STDERR_FILENO, STDOUT_FILENO);
		execv(argv[0], argv);
		fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

int server_init(struct server *server, struct bench *bench, const char *folder)
{
	*server = (struct server){ .bench = bench };
	if (snprintf(server->mountpoint, sizeof(server->mountpoint), "%s/%s", bench_dir(bench), folder)
	    >= (int)sizeof(server->mountpoint))
		return bench_fail(bench, -ENAMETOOLONG, "%s", bench_dir(bench));
	return mkdir(server->mountpoint, 0755) < 0
		       ? bench_fail(bench, -errno, "%s", server->mountpoint) : 0;
}

/* Wait until something is mounted on the mount point, or its server has ended. */
static int server_await(struct server *server)
{
	struct stat inside, outside;

	for (int waited_ms = 0; waited_ms < MOUNT_TIMEOUT_MS; waited_ms += POLL_MS) {
		if (stat(server->mountpoint, &inside) == 0 && stat(bench_dir(server->bench), &outside) == 0
		    && inside.st_dev != outside.st_dev)
			return 0;
		if (waitpid(server->pid, NULL, WNOHANG) == server->pid) {
			server->pid = 0;
			return bench_fail(server->bench, -EIO, "the server of %s ended before it had mounted",
					  server->mountpoint);
		}
		nanosleep(&(struct timespec){ .tv_nsec = POLL_MS * 1000000L }, NULL);
	}
	return bench_fail(server->bench, -ETIMEDOUT, "nothing was mounted on %s", server->mountpoint);
}

int server_start(struct server *server, server_fn *run, void *context)
{
	fflush(NULL);
	server->pid = fork();
	if (server->pid < 0) {
		server->pid = 0;
		return bench_fail(server->bench, -errno, "fork");
	}
	if (server->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		dup2(STDERR_FILENO, STDOUT_FILENO);
		_exit(run(server->mountpoint, context) ? 1 : 0);
	}
	return server_await(server);
}

int server_end(struct server *server)
{
	int status, err;

	if (!server->pid)
		return 0;
	err = unmount(server->mountpoint);
	if (err)
		return bench_fail(server->bench, err, "unmounting %s", server->mountpoint);
	if (waitpid(server->pid, &status, 0) < 0)
		return bench_fail(server->bench, -errno, "waiting for the server of %s", server->mountpoint);
	server->pid = 0;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return bench_fail(server->bench, -EIO, "the server of %s failed", server->mountpoint);
	return 0;
}

/*
 * Making two mounts alike
 */

static int readahead_path(const struct server *server, char *path, size_t size_bytes)
{
	struct stat stat_buffer;

	if (stat(server->mountpoint, &stat_buffer) < 0)
		return -errno;
	snprintf(path, size_bytes, "/sys/class/bdi/%u:%u/read_ahead_kb", major(stat_buffer.st_dev),
		 minor(stat_buffer.st_dev));
	return 0;
}

static int readahead_get(const struct server *server, unsigned *kib_out)
{
	char path[64];
	FILE *file;
	int err = readahead_path(server, path, sizeof(path));

	if (err)
		return err;
	file = fopen(path, "re");
	if (!file)
		return -errno;
	err = fscanf(file, "%u", kib_out) == 1 ? 0 : -EIO;
	fclose(file);
	return err;
}

static int readahead_set(const struct server *server, unsigned kib)
{
	char path[64];
	FILE *file;
	int err = readahead_path(server, path, sizeof(path));

	if (err)
		return err;
	file = fopen(path, "we");
	if (!file)
		return -errno;
	fprintf(file, "%u\n", kib);
	return fclose(file) == EOF ? -errno : 0;
}

/* The options of the mount on @path, as mountinfo shows them. */
static int mount_options(const char *path, char *text, size_t size_bytes)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char line[PATH_MAX + 1024], mountpoint[PATH_MAX], options[256], super_options[256];
	int err = -ENOENT;

	if (!file)
		return -errno;
	while (err && fgets(line, sizeof(line), file)) {
		char *tail = strstr(line, " - ");

		if (tail && sscanf(line, "%*d %*d %*s %*s %4095s %255s", mountpoint, options) == 2
		    && strcmp(mountpoint, path) == 0
		    && sscanf(tail, " - %*s %*s %255s", super_options) == 1) {
			snprintf(text, size_bytes, "%s;%s", options, super_options);
			err = 0;
		}
	}
	fclose(file);
	return err;
}

int server_make_alike(const struct server *server, const struct server *other,
		      unsigned *readahead_kib_out)
{
	char options[520], other_options[520];
	unsigned other_kib;
	int err = readahead_get(server, readahead_kib_out);

	if (!err)
		err = readahead_get(other, &other_kib);
	if (!err && *readahead_kib_out != other_kib)
		err = readahead_set(other, *readahead_kib_out);
	if (err)
		return bench_fail(server->bench, err,
				  "giving all mounts the same read-ahead (run it as root)");
	err = mount_options(server->mountpoint, options, sizeof(options));
	if (!err)
		err = mount_options(other->mountpoint, other_options, sizeof(other_options));
	if (err)
		return bench_fail(server->bench, err, "/proc/self/mountinfo");
	if (strcmp(options, other_options) != 0)
		bench_warn(server->bench, "the mounts differ: %s %s, %s %s", server->mountpoint,
			   options, other->mountpoint, other_options);
	return 0;
}
