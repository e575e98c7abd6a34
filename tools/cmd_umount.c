/* varve umount MOUNTPOINT */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "command.h"
#include "mount_table.h"
#include "store.h"
#include "unmount.h"

static error_t umount_parse(int key, char *argument, struct argp_state *state)
{
	const char **mountpoint = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		if (state->arg_num > 0)
			argp_error(state, "one mount point at a time");
		*mountpoint = argument;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "MOUNTPOINT is missing");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp umount_argp = {
	.parser = umount_parse,
	.args_doc = "MOUNTPOINT",
	.doc = "Unmount, and return once everything is on disk and the store is free to be mounted "
	       "again. Also clears a dead mount (\"Transport endpoint is not connected\"). If the store "
	       "is mounted at another place too (mount --bind), it stays in use there, and is told of.",
};

/* The absolute path without asking what is mounted there, which may be dead:
 * only the directories above the last name are looked at. */
static int mountpoint_resolve(const char *path, char out[PATH_MAX])
{
	char above[PATH_MAX], *slash;
	const char *name;

	if (realpath(path, out))
		return 0;
	if ((errno != ENOTCONN && errno != ECONNABORTED) || strlen(path) >= sizeof(above))
		return -errno;
	strcpy(above, path);
	for (slash = above + strlen(above); slash > above + 1 && slash[-1] == '/'; slash--)
		slash[-1] = '\0';
	slash = strrchr(above, '/');
	name = slash ? slash + 1 : above;
	if (slash)
		*slash = '\0';
	if (!realpath(slash ? (slash == above ? "/" : above) : ".", out))
		return -errno;
	if (strlen(out) + strlen(name) + 2 > PATH_MAX)
		return -ENAMETOOLONG;
	if (strcmp(out, "/") != 0)
		strcat(out, "/");
	strcat(out, name);
	return 0;
}

static int fail_not_mounted(const char *mountpoint)
{
	struct mount_entry above;

	if (mount_table_find_above(mountpoint, &above) == 0 && strcmp(above.type, MOUNT_TYPE) == 0)
		return fail("%s is not a mount point but lies in one: varve umount '%s'",
			    mountpoint, above.mountpoint);
	return fail("nothing is mounted at %s; `findmnt -t " MOUNT_TYPE
		    "` lists what varve has mounted",
		    mountpoint);
}

static int fail_unmount(const char *mountpoint, int err)
{
	if (err == -EBUSY)
		return fail("%s is in use: some process has a file open there or works in it; "
			    "`fuser -vm "
			    "'%s'` lists them, end them and try again",
			    mountpoint, mountpoint);
	if (err == -EPERM)
		return fail("%s was mounted by another user; unmount it as that user or as root",
			    mountpoint);
	return fail("%s can't be unmounted: %s", mountpoint, strerror(-err));
}

/* After an unmount a daemon is at its end at once. If it isn't after this time the mount
 * is left in another mount namespace, or busy closing its store: telling it to end does
 * no harm then. */
#define END_WAIT_MS 2000

/* A daemon that will tell us how the end went, and whose own end we see. */
struct waiter {
	FILE *answer; /* NULL: there is none that answers */
	int pid_fd;   /* -1: its end can't be seen */
};

static int peer_pid_fd(int socket_fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
		return -1;
	return pidfd_open(peer.pid, 0);
}

static void waiter_close(struct waiter *waiter)
{
	if (waiter->answer)
		fclose(waiter->answer);
	if (waiter->pid_fd >= 0)
		close(waiter->pid_fd);
	*waiter = (struct waiter){.pid_fd = -1};
}

static void waiter_open(const char *store, struct waiter *waiter)
{
	json_t *waiting;

	*waiter = (struct waiter){.pid_fd = -1};
	if (client_request(store, json_pack("{s:s}", "op", "wait"), &waiter->answer) != 0)
		return;
	waiter->pid_fd = peer_pid_fd(fileno(waiter->answer));
	if (client_next(waiter->answer, &waiting) != 0) {
		fclose(waiter->answer);
		waiter->answer = NULL;
		return;
	}
	json_decref(waiting);
}

/* Wait until @fd can be read; a daemon that goes on for too long is told to end. */
static void daemon_wait(const struct waiter *waiter, int fd)
{
	struct pollfd end = {.fd = fd, .events = POLLIN};
	int timeout_ms = END_WAIT_MS, ready;

	do {
		ready = poll(&end, 1, timeout_ms);
		if (ready == 0) {
			pidfd_send_signal(waiter->pid_fd, SIGTERM, NULL, 0);
			timeout_ms = -1;
		}
	} while (ready == 0 || (ready < 0 && errno == EINTR));
}

static int waiter_wait(const struct waiter *waiter, const char *store)
{
	json_t *closed;
	int err;

	if (waiter->pid_fd >= 0)
		daemon_wait(waiter, fileno(waiter->answer));
	err = client_next(waiter->answer, &closed);
	json_decref(closed);
	if (err == -ENODATA)
		return fail("the daemon of %s ended without saying that all is on disk; what had "
			    "returned is not lost: mount it again and it recovers",
			    store);
	if (err)
		return fail("the last sync of %s failed; what was not synced before may be lost, "
			    "look at "
			    "the disk",
			    store);
	/* All is done; only the process still has to go. */
	if (waiter->pid_fd >= 0)
		daemon_wait(waiter, waiter->pid_fd);
	return STATUS_OK;
}

/* It has too many who wait already: its end is all we see. */
static int end_wait(const struct waiter *waiter)
{
	daemon_wait(waiter, waiter->pid_fd);
	return STATUS_OK;
}

/* Without a daemon that can be seen, the lock tells that it is done, though not how it
 * went. */
static int lock_wait(const char *store)
{
	const struct timespec pause = {.tv_nsec = 20000000};
	char holder[256];
	int pid;

	while (store_holder(store, holder, sizeof(holder), &pid) == 0)
		nanosleep(&pause, NULL);
	return STATUS_OK;
}

/* The mount goes, and others of the same store stay: what was written by it is to be on disk all the
 * same. */
static int umount_one_of_several(const struct mount_entry *entry, const struct mount_entry *other)
{
	int fd = open(entry->mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = fd < 0 || fsync(fd) == 0 ? 0 : -errno;

	if (fd >= 0)
		close(fd);
	if (err)
		return fail("%s can't be synced: %s", entry->source, strerror(-err));
	err = unmount(entry->mountpoint);
	if (err)
		return fail_unmount(entry->mountpoint, err);
	printf("%s is still mounted at %s\n", entry->source, other->mountpoint);
	return STATUS_OK;
}

/* A mount whose daemon is gone: nobody can use it, whoever has files open there. */
static int umount_dead(const char *mountpoint)
{
	int err = unmount_detach(mountpoint);

	return err ? fail_unmount(mountpoint, err) : STATUS_OK;
}

static int umount_last(const char *mountpoint, const char *store)
{
	struct waiter waiter;
	int err, status;

	waiter_open(store, &waiter);
	err = unmount(mountpoint);
	if (err)
		status = fail_unmount(mountpoint, err);
	else if (waiter.answer)
		status = waiter_wait(&waiter, store);
	else if (waiter.pid_fd >= 0)
		status = end_wait(&waiter);
	else
		status = lock_wait(store);
	waiter_close(&waiter);
	return status;
}

static int umount_varve(const struct mount_entry *entry)
{
	struct mount_entry other;
	char store[PATH_MAX];
	int err;

	err = client_store_of(entry->mountpoint, store);
	if (err == -ENOTCONN || err == -ECONNABORTED)
		return umount_dead(entry->mountpoint);
	if (mount_table_find_other(entry->major, entry->minor, entry->mountpoint, &other) == 0)
		return umount_one_of_several(entry, &other);
	/* Root is kept out of a user's mount, but not of the table. */
	return umount_last(entry->mountpoint, err ? entry->source : store);
}

int cmd_umount(int argc, char **argv)
{
	const char *path = NULL;
	char mountpoint[PATH_MAX];
	struct mount_entry entry;
	int err;

	argp_parse(&umount_argp, argc, argv, 0, NULL, &path);
	err = mountpoint_resolve(path, mountpoint);
	if (err)
		return fail("%s: %s; name the directory a store is mounted at", path,
			    strerror(-err));
	err = mount_table_find(mountpoint, &entry);
	if (err == -ENOENT)
		return fail_not_mounted(mountpoint);
	if (err)
		return fail("the mount table can't be read: %s", strerror(-err));
	if (strcmp(entry.type, MOUNT_TYPE) != 0)
		return fail(
			"what is mounted at %s is of type %s, not varve's; unmount it: umount '%s'",
			mountpoint, entry.type, mountpoint);
	return umount_varve(&entry);
}
