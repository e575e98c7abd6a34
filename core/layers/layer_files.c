#include "layer_files.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

#include "io.h"
#include "layer_file.h"

#define SLOT_NONE UINT32_MAX

struct layer_files {
	int dir_fd;
	pthread_mutex_t lock;           /* guards what follows, and every layer_file */
	pthread_cond_t opened;          /* a file was, or can't be */
	uint32_t limit, hand;
	uint32_t open_count;            /* open or being opened */
	struct layer_file *slots[];     /* @limit of them; NULL: free */
};

int layer_files_create(int dir_fd, uint32_t limit, struct layer_files **files_out)
{
	struct layer_files *files = calloc(1, sizeof(*files) + limit * sizeof(files->slots[0]));

	*files_out = NULL;
	if (!files)
		return -ENOMEM;
	files->dir_fd = dir_fd;
	files->limit = limit;
	pthread_mutex_init(&files->lock, NULL);
	pthread_cond_init(&files->opened, NULL);
	*files_out = files;
	return 0;
}

void layer_files_free(struct layer_files *files)
{
	if (!files)
		return;
	pthread_cond_destroy(&files->opened);
	pthread_mutex_destroy(&files->lock);
	free(files);
}

uint32_t layer_files_open_count(struct layer_files *files)
{
	uint32_t count;

	pthread_mutex_lock(&files->lock);
	count = files->open_count;
	pthread_mutex_unlock(&files->lock);
	return count;
}

void layer_file_init(struct layer_file *file, struct layer_files *files, uint64_t layer_id)
{
	*file = (struct layer_file){ .files = files, .layer_id = layer_id, .fd = -1,
				     .slot = SLOT_NONE };
}

/* Take the descriptor away from its file, to be closed without the lock. The lock is held. */
static int file_take_fd(struct layer_files *files, struct layer_file *file)
{
	int fd = file->fd;

	if (file->slot != SLOT_NONE)
		files->slots[file->slot] = NULL;
	file->slot = SLOT_NONE;
	file->fd = -1;
	files->open_count -= fd >= 0;
	return fd;
}

void layer_file_destroy(struct layer_file *file)
{
	int fd;

	pthread_mutex_lock(&file->files->lock);
	fd = file_take_fd(file->files, file);
	pthread_mutex_unlock(&file->files->lock);
	io_close(fd);
}

/* Close the first file the clock meets that is neither used nor pinned. The descriptor, to be closed
 * without the lock; -1: all are pinned. The lock is held. */
static int evict_one(struct layer_files *files)
{
	for (uint64_t step = 0; step < 2 * (uint64_t)files->limit; step++) {
		struct layer_file *file = files->slots[files->hand];

		files->hand = (files->hand + 1) % files->limit;
		if (file && !file->pins && !file->used)
			return file_take_fd(files, file);
		if (file)
			file->used = false;
	}
	return -1;
}

/* The lock is held. */
static uint32_t free_slot(const struct layer_files *files)
{
	for (uint32_t slot = 0; slot < files->limit; slot++)
		if (!files->slots[slot])
			return slot;
	return SLOT_NONE;
}

/* Open the file, which this thread alone does: @file->opening is set, and one more is counted as open. */
static int file_open(struct layer_file *file)
{
	struct layer_files *files = file->files;
	char name[LAYER_NAME_BYTES];
	int err, fd;

	layer_name(file->layer_id, name);
	err = io_open(files->dir_fd, name, O_RDONLY, 0, &fd);
	pthread_mutex_lock(&files->lock);
	if (err) {
		files->open_count--;
	} else {
		file->fd = fd;
		file->slot = free_slot(files);
		if (file->slot != SLOT_NONE)
			files->slots[file->slot] = file;
	}
	file->opening = false;
	pthread_cond_broadcast(&files->opened);
	pthread_mutex_unlock(&files->lock);
	return err;
}

int layer_file_pin(struct layer_file *file, int *fd_out)
{
	struct layer_files *files = file->files;
	int err = 0, close_fd = -1;
	bool open;

	*fd_out = -1;
	pthread_mutex_lock(&files->lock);
	file->pins++;
	file->used = true;
	while (file->opening)
		pthread_cond_wait(&files->opened, &files->lock);
	open = file->fd >= 0;
	file->opening = !open;
	if (!open && files->open_count >= files->limit)
		close_fd = evict_one(files);
	files->open_count += !open;
	pthread_mutex_unlock(&files->lock);
	io_close(close_fd);
	if (!open)
		err = file_open(file);
	if (err)
		layer_file_unpin(file);
	else
		*fd_out = file->fd;
	return err;
}

void layer_file_unpin(struct layer_file *file)
{
	struct layer_files *files = file->files;
	int close_fd = -1;

	pthread_mutex_lock(&files->lock);
	file->pins--;
	/* One that the clock has no slot for goes at once. */
	if (!file->pins && file->fd >= 0 && file->slot == SLOT_NONE)
		close_fd = file_take_fd(files, file);
	pthread_mutex_unlock(&files->lock);
	io_close(close_fd);
}

int layer_file_read(struct layer_file *file, void *buffer, uint64_t size_bytes,
		    uint64_t offset_bytes)
{
	return io_read(file->fd, buffer, size_bytes, offset_bytes);
}
