#include "census.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "store.h"
#include "tree.h"

/* Entries taken from a directory at a time. */
#define BATCH_MAX 256u

struct census {
	struct store *store;
	atomic_bool stopped;
	pthread_mutex_t mutex;
	/* under mutex */
	bool walked;
	/* of the last walk */
	int err;
	struct census_count count;
	int64_t ended_ns, took_ns;
};

struct walk {
	struct census *census;
	struct census_count count;
	double shared_bytes;            /* of files with several names, a part for each name */
	double shared_inodes;
	/* directories to be gone through */
	uint64_t *waiting;
	size_t waiting_count, waiting_room;
	/* of the directory at hand */
	unsigned batch_count;
	struct {
		uint64_t ino, cookie;
		bool is_directory, is_dots;
	} batch[BATCH_MAX];
};

static int64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int census_open(struct store *store, struct census **census_out)
{
	struct census *census = calloc(1, sizeof(*census));

	*census_out = census;
	if (!census)
		return -ENOMEM;
	census->store = store;
	pthread_mutex_init(&census->mutex, NULL);
	return 0;
}

void census_close(struct census *census)
{
	if (!census)
		return;
	pthread_mutex_destroy(&census->mutex);
	free(census);
}

void census_stop(struct census *census)
{
	atomic_store(&census->stopped, true);
}

static int wait_for(struct walk *walk, uint64_t dir)
{
	if (walk->waiting_count == walk->waiting_room) {
		size_t room = walk->waiting_room ? 2 * walk->waiting_room : 64;
		uint64_t *waiting = realloc(walk->waiting, room * sizeof(*waiting));

		if (!waiting)
			return -ENOMEM;
		walk->waiting = waiting;
		walk->waiting_room = room;
	}
	walk->waiting[walk->waiting_count++] = dir;
	return 0;
}

static bool is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static bool batch_add(void *context, const struct tree_entry *entry)
{
	struct walk *walk = context;

	if (walk->batch_count == BATCH_MAX)
		return false;
	walk->batch[walk->batch_count].ino = entry->ino;
	walk->batch[walk->batch_count].cookie = entry->cookie;
	walk->batch[walk->batch_count].is_directory = S_ISDIR(entry->type);
	walk->batch[walk->batch_count++].is_dots = is_dots(entry->name);
	return true;
}

static int count_file(struct walk *walk, uint64_t ino)
{
	struct tree_attr attr;
	int err = tree_getattr(walk->census->store, ino, LSN_HEAD, &attr);
	uint64_t bytes;

	if (err == -ENOENT || (!err && !attr.nlink))
		return 0;       /* gone since it was listed */
	if (err)
		return err;
	bytes = S_ISREG(attr.mode) ? attr.size_bytes : 0;
	if (attr.nlink == 1) {
		walk->count.inode_count++;
		walk->count.file_bytes += bytes;
	} else {
		walk->shared_inodes += 1.0 / attr.nlink;
		walk->shared_bytes += (double)bytes / attr.nlink;
	}
	return 0;
}

static int count_batch(struct walk *walk)
{
	int err = 0;

	for (unsigned i = 0; i < walk->batch_count && !err; i++) {
		if (walk->batch[i].is_dots)
			continue;
		err = walk->batch[i].is_directory ? wait_for(walk, walk->batch[i].ino)
						  : count_file(walk, walk->batch[i].ino);
	}
	return err;
}

static int count_directory(struct walk *walk, uint64_t dir)
{
	uint64_t cookie = 0;
	int err;

	walk->count.inode_count++;
	do {
		if (atomic_load(&walk->census->stopped))
			return -ESHUTDOWN;
		walk->batch_count = 0;
		err = tree_readdir(walk->census->store, dir, LSN_HEAD, cookie, batch_add, walk);
		if (err == -ENOENT)
			return 0;
		if (!err && walk->batch_count)
			cookie = walk->batch[walk->batch_count - 1].cookie;
		if (!err)
			err = count_batch(walk);
	} while (!err && walk->batch_count == BATCH_MAX);
	return err;
}

static int walk_all(struct walk *walk)
{
	struct lsn oldest;
	int err;

	store_window(walk->census->store, &oldest, &walk->count.at);
	err = wait_for(walk, TREE_ROOT_INO);
	while (!err && walk->waiting_count)
		err = count_directory(walk, walk->waiting[--walk->waiting_count]);
	walk->count.inode_count += (uint64_t)(walk->shared_inodes + 0.5);
	walk->count.file_bytes += (uint64_t)(walk->shared_bytes + 0.5);
	free(walk->waiting);
	return err;
}

/* With the mutex held. */
static void count_anew(struct census *census)
{
	struct walk *walk = calloc(1, sizeof(*walk));
	int64_t began_ns = clock_ns();

	census->err = -ENOMEM;
	if (walk) {
		walk->census = census;
		census->err = walk_all(walk);
		census->count = walk->count;
	}
	census->ended_ns = clock_ns();
	census->took_ns = census->ended_ns - began_ns;
	census->walked = true;
	free(walk);
}

static bool is_recent(const struct census *census)
{
	struct lsn oldest, newest;

	store_window(census->store, &oldest, &newest);
	return census->walked &&
	       ((!census->err && newest.value == census->count.at.value) ||
		clock_ns() - census->ended_ns < CENSUS_SHARE * census->took_ns);
}

int census_get(struct census *census, struct census_count *count_out)
{
	int err;

	pthread_mutex_lock(&census->mutex);
	if (!is_recent(census))
		count_anew(census);
	*count_out = census->count;
	err = census->err;
	pthread_mutex_unlock(&census->mutex);
	return err;
}
