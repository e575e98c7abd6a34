/*
 * Server: a filesystem mounted in the bench's directory, answered for by a child.
 *
 * Threads: the bench's first. A server that a bench doesn't end is ended, and its
 * mount undone, with the run (workdir.h).
 */
#ifndef VARVE_BENCH_SERVER_H
#define VARVE_BENCH_SERVER_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

struct bench;

struct server {
	struct bench *bench;
	char mountpoint[PATH_MAX];
	pid_t pid;                      /* 0: not started, or ended */
};

/* Unless it says otherwise, each says what failed and returns 0 or -errno. */

/* Make the mount point, @folder in the bench's directory. */
int server_init(struct server *server, struct bench *bench, const char *folder);

/* What the child runs: mount on @mountpoint and serve until it is unmounted. 0 or -errno. */
typedef int server_fn(const char *mountpoint, void *context);

/* Start the child and wait until something is mounted. */
int server_start(struct server *server, server_fn *run, void *context);
/* Unmount and wait for the child; that it could not end well is an error. Not started: 0. */
int server_end(struct server *server);

/* Run @argv, a program's path and its arguments, and wait for it; its output goes to stderr.
 * 0; -EIO: it failed, and said why; -errno. Adds nothing to what it said. */
int command_run(char *const argv[]);

/* Give @other the read-ahead of @server, if it has another (root only), and warn if
 * their mount options differ. *readahead_kib_out is what both have. */
int server_make_alike(const struct server *server, const struct server *other,
		      unsigned *readahead_kib_out);

#endif
