#include "unmount.h"

#include <errno.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>

extern char **environ;

/* fusermount3 tells by its exit status that it failed, not why; in use is by
 * far the likeliest, as it checked who we are when it mounted. */
static int unmount_as_user(const char *mountpoint)
{
	char *const argv[] = {"fusermount3", "-u", "-q", "--", (char *)mountpoint, NULL};
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

int unmount(const char *mountpoint)
{
	if (umount2(mountpoint, UMOUNT_NOFOLLOW) == 0)
		return 0;
	return errno == EPERM ? unmount_as_user(mountpoint) : -errno;
}
