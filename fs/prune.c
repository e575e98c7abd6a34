#include "prune.h"

#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <inttypes.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "node.h"
#include "report.h"

/* As <linux/fuse.h> has them from version 7.45 on. */
#define NOTIFY_PRUNE 9
struct notify_prune {
	uint32_t count;
	uint32_t padding;
	uint64_t spare;
};

/* Nodes pruned at a time. A directory goes only after what is in it: the more at a
 * time, the fewer are divided from theirs. */
#define BATCH_MAX 8192u

/* The kernel's FORGETs come as requests; when no more than a few have come for so long,
 * what else was asked for is in use. A few come of themselves. */
#define FORGET_WAIT_MS 50
#define FORGET_FEW (BATCH_MAX / 64)

/* Before all nodes are gone through again when none of them went: they are in use. */
#define IN_USE_WAIT_MS 1000

struct prune {
	struct fuse_session *session;
	struct node_table *nodes;
	char *mountpoint;
	pthread_t thread;
	pthread_mutex_t halt_mutex;
	bool halted; /* the thread was joined; under halt_mutex */
	bool by_id;  /* the kernel knows FUSE_NOTIFY_PRUNE; the thread's own, as below */
	struct node_known batch[BATCH_MAX];
	uint64_t ids[BATCH_MAX];
};

/* Ask for the batch by its ids, what lies in a directory before the directory.
 * 0; -EINVAL: the kernel knows no such notification; -ENOENT and others: the mount
 * is gone. */
static int prune_by_id(struct prune *prune, size_t count)
{
	struct notify_prune argument = {.count = (uint32_t)count};
	struct fuse_out_header header = {.error = NOTIFY_PRUNE};
	struct iovec parts[] = {
		{&header, sizeof(header)},
		{&argument, sizeof(argument)},
		{prune->ids, count * sizeof(prune->ids[0])},
	};

	for (size_t i = 0; i < count; i++)
		prune->ids[i] = prune->batch[count - 1 - i].id;
	header.len = (uint32_t)(sizeof(header) + sizeof(argument) + parts[2].iov_len);
	return writev(fuse_session_fd(prune->session), parts, 3) < 0 ? -errno : 0;
}

/* Put a view back that is in use: the kernel finds the directory it has when the
 * name is looked up. */
static void view_restore(const struct prune *prune, const char *name)
{
	char *path;
	int fd;

	if (asprintf(&path, "%s/lsn/%s", prune->mountpoint, name) < 0)
		return;
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	free(path);
}

static void prune_view(struct prune *prune, const struct node_known *view)
{
	char name[32];
	int length = snprintf(name, sizeof(name), "%" PRIu64, view->at.value);

	if (fuse_lowlevel_notify_inval_entry(prune->session, NODE_LSN, name, (size_t)length) != 0)
		return;
	/* Does the kernel have the directory still? It says so of one it is told to
	 * ask for attributes of. */
	if (fuse_lowlevel_notify_inval_inode(prune->session, view->id, -1, 0) == 0)
		view_restore(prune, name);
}

static void prune_views(struct prune *prune, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (prune->batch[i].ino == NODE_VIEW_INO && !node_is_roused(prune->nodes))
			prune_view(prune, &prune->batch[i]);
	}
}

/* Ask for the oldest; how many that were. */
static size_t prune_oldest(struct prune *prune)
{
	size_t count = node_oldest(prune->nodes, prune->batch, BATCH_MAX);

	if (prune->by_id && prune_by_id(prune, count) == -EINVAL)
		prune->by_id = false;
	if (!prune->by_id)
		prune_views(prune, count);
	return count;
}

static void sleep_ms(const struct prune *prune, unsigned ms)
{
	for (; ms && !node_is_roused(prune->nodes); ms--)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* Wait while the FORGETs of what was asked for come, so that no more is pruned than has to
 * be; how many came. */
static uint64_t forgets_wait(const struct prune *prune, uint64_t gone_before, uint64_t asked_count)
{
	uint64_t gone = gone_before, seen;

	do {
		seen = gone;
		sleep_ms(prune, FORGET_WAIT_MS);
		gone = node_gone_count(prune->nodes);
	} while (gone > seen + FORGET_FEW && gone < gone_before + asked_count &&
		 node_count(prune->nodes) > PRUNE_START);
	return gone - gone_before;
}

static void *prune_run(void *argument)
{
	struct prune *prune = argument;
	uint64_t count, kept_count = 0;

	while ((count = node_wait(prune->nodes, PRUNE_START)) != 0) {
		uint64_t gone_before = node_gone_count(prune->nodes);
		uint64_t asked_count = prune_oldest(prune);

		kept_count += asked_count;
		if (forgets_wait(prune, gone_before, asked_count)) {
			node_limit(prune->nodes, PRUNE_SLOW);
			kept_count = 0;
		}
		if (kept_count >= count) {
			node_limit(prune->nodes, NODE_NO_LIMIT);
			sleep_ms(prune, IN_USE_WAIT_MS);
			kept_count = 0;
		}
	}
	return NULL;
}

static void prune_free(struct prune *prune)
{
	pthread_mutex_destroy(&prune->halt_mutex);
	free(prune->mountpoint);
	free(prune);
}

int prune_start(struct fuse_session *session, struct node_table *nodes, const char *mountpoint,
		struct prune **prune_out)
{
	struct prune *prune = calloc(1, sizeof(*prune));
	int err;

	*prune_out = NULL;
	if (!prune)
		return -ENOMEM;
	prune->session = session;
	prune->nodes = nodes;
	prune->by_id = true;
	pthread_mutex_init(&prune->halt_mutex, NULL);
	prune->mountpoint = strdup(mountpoint);
	err = prune->mountpoint ? -pthread_create(&prune->thread, NULL, prune_run, prune)
				: -ENOMEM;
	if (err) {
		prune_free(prune);
		return err;
	}
	*prune_out = prune;
	return 0;
}

void prune_halt(struct prune *prune)
{
	pthread_mutex_lock(&prune->halt_mutex);
	if (!prune->halted) {
		node_rouse(prune->nodes);
		pthread_join(prune->thread, NULL);
		prune->halted = true;
	}
	pthread_mutex_unlock(&prune->halt_mutex);
}

void prune_stop(struct prune *prune)
{
	if (!prune)
		return;
	prune_halt(prune);
	prune_free(prune);
}
