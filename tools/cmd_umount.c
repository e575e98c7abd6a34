/* varve umount MOUNTPOINT */
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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
	       "again. Also clears a dead mount (\"Transport endpoint is not connected\").",
};

/* The absolute path without asking what is mounted there, which may be dead:
 * only the directories above the last name are looked at. */
static int mountpoint_resolve(const char *path, char out[PATH_MAX])
{
	char above[PATH_MAX], *slash;
	const char *name;

	if (realpath(path, out))
		return 0;
	if (errno != ENOTCONN || strlen(path) >= sizeof(above))
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

/* Ask the daemon to tell us the end. NULL: there is none that answers. */
static FILE *waiter_open(const char *store)
{
	FILE *answer;
	json_t *waiting;

	if (client_request(store, json_pack("{s:s}", "op", "wait"), &answer) != 0)
		return NULL;
	if (client_next(answer, &waiting) != 0) {
		fclose(answer);
		return NULL;
	}
	json_decref(waiting);
	return answer;
}

static int waiter_wait(FILE *answer, const char *store)
{
	json_t *closed;
	int err;

	err = client_next(answer, &closed);
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
	return STATUS_OK;
}

/* Without an answer to wait for, the lock tells that the daemon is done, though
 * not how it went. */
static int lock_wait(const char *store)
{
	const struct timespec pause = {.tv_nsec = 20000000};
	char holder[256];
	int pid;

	while (store_holder(store, holder, sizeof(holder), &pid) == 0)
		nanosleep(&pause, NULL);
	return STATUS_OK;
}

static int umount_varve(const char *mountpoint)
{
	char store[PATH_MAX];
	FILE *answer = NULL;
	bool dead;
	int err, status;

	/* A dead mount can't tell its store, and has no daemon to wait for. */
	dead = client_store_of(mountpoint, store) != 0;
	if (!dead)
		answer = waiter_open(store);
	err = unmount(mountpoint);
	if (err)
		status = fail_unmount(mountpoint, err);
	else if (answer)
		status = waiter_wait(answer, store);
	else
		status = dead ? STATUS_OK : lock_wait(store);
	if (answer)
		fclose(answer);
	return status;
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
	return umount_varve(mountpoint);
}
