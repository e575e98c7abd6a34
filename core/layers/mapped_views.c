#include "mapped_views.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"

struct mapped_views {
	uint64_t budget_bytes;
	pthread_mutex_t lock;
	struct mapped_file *hand;       /* of the ring: the file whose stretches go next; NULL: none has any */
	_Atomic uint64_t counted_bytes; /* stored under lock */
};

int mapped_views_create(uint64_t budget_bytes, struct mapped_views **views_out)
{
	struct mapped_views *views = calloc(1, sizeof(*views));

	*views_out = views;
	if (!views)
		return -ENOMEM;
	views->budget_bytes = budget_bytes < 2 * MAPPED_STRETCH_BYTES ? 2 * MAPPED_STRETCH_BYTES
								      : budget_bytes;
	pthread_mutex_init(&views->lock, NULL);
	return 0;
}

void mapped_views_free(struct mapped_views *views)
{
	if (!views)
		return;
	pthread_mutex_destroy(&views->lock);
	free(views);
}

static uint64_t stretch_count(const struct mapped_file *file)
{
	return (file->size_bytes + MAPPED_STRETCH_BYTES - 1) / MAPPED_STRETCH_BYTES;
}

void mapped_file_open(struct mapped_file *file, struct mapped_views *views, int fd, uint64_t size_bytes)
{
	void *base;

	*file = (struct mapped_file){ .views = views, .size_bytes = size_bytes };
	file->counted = calloc(stretch_count(file), sizeof(file->counted[0]));
	if (file->counted && io_map(fd, size_bytes, false, &base) == 0)
		file->base = base;
}

/* The lock is held, here and below. */
static void ring_add(struct mapped_views *views, struct mapped_file *file)
{
	if (!views->hand) {
		views->hand = file->next = file->before = file;
		return;
	}
	file->next = views->hand;
	file->before = views->hand->before;
	file->before->next = file->next->before = file;
}

static void ring_remove(struct mapped_views *views, struct mapped_file *file)
{
	if (file->next == file)
		views->hand = NULL;
	else if (views->hand == file)
		views->hand = file->next;
	file->next->before = file->before;
	file->before->next = file->next;
}

static void uncount(struct mapped_views *views, struct mapped_file *file)
{
	ring_remove(views, file);
	atomic_fetch_sub_explicit(&views->counted_bytes, file->counted_count * MAPPED_STRETCH_BYTES,
				  memory_order_relaxed);
	file->counted_count = 0;
}

/* Take all of it out of the page tables. First what is counted is forgotten: who looks at it from
 * then on counts it again. */
static void take_out(struct mapped_views *views, struct mapped_file *file)
{
	for (uint64_t i = 0; i < stretch_count(file); i++)
		atomic_store_explicit(&file->counted[i], 0, memory_order_relaxed);
	uncount(views, file);
	io_unmap_pages(file->base, file->size_bytes);
}

void mapped_file_close(struct mapped_file *file)
{
	if (file->base) {
		pthread_mutex_lock(&file->views->lock);
		if (file->counted_count)
			uncount(file->views, file);
		pthread_mutex_unlock(&file->views->lock);
		io_unmap(file->base, file->size_bytes);
	}
	free((void *)file->counted);
	*file = (struct mapped_file){ 0 };
}

static void count(struct mapped_file *file, uint64_t stretch)
{
	struct mapped_views *views = file->views;

	pthread_mutex_lock(&views->lock);
	if (!atomic_load_explicit(&file->counted[stretch], memory_order_relaxed)) {
		while (views->hand && atomic_load_explicit(&views->counted_bytes, memory_order_relaxed) +
				MAPPED_STRETCH_BYTES > views->budget_bytes)
			take_out(views, views->hand);
		atomic_store_explicit(&file->counted[stretch], 1, memory_order_relaxed);
		if (!file->counted_count++)
			ring_add(views, file);
		atomic_fetch_add_explicit(&views->counted_bytes, MAPPED_STRETCH_BYTES,
					  memory_order_relaxed);
	}
	pthread_mutex_unlock(&views->lock);
}

const uint8_t *mapped_file_view(struct mapped_file *file, uint64_t offset_bytes, uint64_t size_bytes)
{
	uint64_t last = (offset_bytes + (size_bytes ? size_bytes - 1 : 0)) / MAPPED_STRETCH_BYTES;

	if (!file->base)
		return NULL;
	for (uint64_t i = offset_bytes / MAPPED_STRETCH_BYTES; i <= last && i < stretch_count(file); i++)
		if (!atomic_load_explicit(&file->counted[i], memory_order_relaxed))
			count(file, i);
	return file->base + offset_bytes;
}

uint64_t mapped_views_bytes(const struct mapped_views *views)
{
	return atomic_load_explicit(&views->counted_bytes, memory_order_relaxed);
}
