#include "unmount.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A new mount is in use while its daemon has a first look at it, any mount while
 * somebody walks a path through it. */
#define BUSY_TRIES 10
#define BUSY_PAUSE_NS 20000000

extern char **environ;

/* fusermount3 tells by its exit status that it failed, not why; in use is by
 * far the likeliest, as it checked who we are when it mounted. */
static int unmount_as_user(const char *mountpoint, const char *options)
{
	char *const argv[] = {"fusermount3", (char *)options, "--", (char *)mountpoint, NULL};
	pid_t pid;
	int status, err;

	err = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
	if (err)
		return -err;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
}

static void write_back(const char *mountpoint)
{
	int fd = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	syncfs(fd);
	close(fd);
}

static int unmount_now(const char *mountpoint)
{
	if (umount2(mountpoint, UMOUNT_NOFOLLOW) == 0)
		return 0;
	return errno == EPERM ? unmount_as_user(mountpoint, "-uq") : -errno;
}

int unmount(const char *mountpoint)
{
	int err;

	write_back(mountpoint);
	for (unsigned i = 0;; i++) {
		err = unmount_now(mountpoint);
		if (err != -EBUSY || i == BUSY_TRIES)
			return err;
		nanosleep(&(struct timespec){.tv_nsec = BUSY_PAUSE_NS}, NULL);
	}
}

int unmount_detach(const char *mountpoint)
{
	if (umount2(mountpoint, UMOUNT_NOFOLLOW | MNT_DETACH) == 0)
		return 0;
	return errno == EPERM ? unmount_as_user(mountpoint, "-uqz") : -errno;
}
