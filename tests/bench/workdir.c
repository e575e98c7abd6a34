#include "workdir.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GRACE_MS 5000           /* for a mount's server to end by itself before it is killed */
#define POLL_MS 20

int workdir_make(struct workdir *workdir, const char *parent)
{
	char resolved[PATH_MAX];

	if (!realpath(parent, resolved))
		return -errno;
	if ((size_t)snprintf(workdir->path, sizeof(workdir->path), "%s/varve-bench.XXXXXX", resolved)
	    >= sizeof(workdir->path))
		return -ENAMETOOLONG;
	if (!mkdtemp(workdir->path))
		return -errno;
	return 0;
}

static int entry_remove(const char *path, const struct stat *stat_buffer, int type,
			struct FTW *position)
{
	(void)stat_buffer;
	(void)type;
	(void)position;
	return remove(path);
}

int tree_remove(const char *path)
{
	errno = 0;
	if (nftw(path, entry_remove, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0)
		return 0;
	return errno ? -errno : -EIO;
}

/* Mounts made without root are undone by the helper that made them. */
static void unmount(const char *path)
{
	pid_t pid;

	if (umount2(path, MNT_DETACH) == 0 || errno != EPERM)
		return;
	pid = fork();
	if (pid == 0) {
		execlp("fusermount3", "fusermount3", "-u", "-z", "--", path, (char *)NULL);
		_exit(127);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

/* One mount point below @dir into @path_out. mountinfo writes odd bytes in octal;
 * mkdtemp and the benches use none, and a parent that has them is not matched. */
static bool mount_find(const char *dir, char *path_out)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	size_t length = strlen(dir);
	char line[PATH_MAX + 512];
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file)) {
		found = sscanf(line, "%*d %*d %*s %*s %4095s", path_out) == 1
			&& strncmp(path_out, dir, length) == 0 && path_out[length] == '/';
	}
	if (file)
		fclose(file);
	return found;
}

static void unmount_below(const char *dir)
{
	char path[PATH_MAX];

	/* Bounded: a mount that will not go must not hold the others up for ever. */
	for (unsigned tries = 0; tries < 16 && mount_find(dir, path); tries++)
		unmount(path);
}

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

/* Servers of mounts outlive the worker; they became our children with its end. */
static void group_end(pid_t group)
{
	kill(-group, SIGTERM);
	for (int waited_ms = 0; waited_ms < GRACE_MS; waited_ms += POLL_MS) {
		while (waitpid(-group, NULL, WNOHANG) > 0)
			;
		if (kill(-group, 0) < 0)
			return;
		sleep_ms(POLL_MS);
	}
	kill(-group, SIGKILL);
	while (waitpid(-group, NULL, 0) > 0)
		;
}

static pid_t worker_start(int (*worker)(void *context), void *context, const sigset_t *mask)
{
	pid_t pid = fork();

	if (pid == 0) {
		setpgid(0, 0);
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		sigprocmask(SIG_SETMASK, mask, NULL);
		exit(worker(context));
	}
	return pid;
}

/* Wait for the worker to end, or end it when we are told to. */
static int worker_wait(pid_t pid, const sigset_t *awaited)
{
	int status, signal_number;

	for (;;) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		if (sigwait(awaited, &signal_number) != 0 || signal_number == SIGCHLD)
			continue;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return 128 + signal_number;
	}
}

int workdir_guard(const struct workdir *workdir, int (*worker)(void *context), void *context)
{
	sigset_t awaited, before;
	int status;
	pid_t pid;

	sigemptyset(&awaited);
	sigaddset(&awaited, SIGCHLD);
	sigaddset(&awaited, SIGINT);
	sigaddset(&awaited, SIGTERM);
	sigaddset(&awaited, SIGHUP);
	sigprocmask(SIG_BLOCK, &awaited, &before);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	fflush(NULL);
	pid = worker_start(worker, context, &before);
	if (pid < 0) {
		status = -errno;
	} else {
		setpgid(pid, pid);
		status = worker_wait(pid, &awaited);
		unmount_below(workdir->path);
		group_end(pid);
	}
	if (tree_remove(workdir->path) < 0)
		fprintf(stderr, "varve-bench: could not remove %s; remove it by hand\n",
			workdir->path);
	return status;
}
