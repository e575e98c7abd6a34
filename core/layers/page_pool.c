#include "page_pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#define SLAB_BYTES (UINT64_C(2) << 20)
#define CLASS_PAGES_MAX 64u     /* larger stretches are mapped one by one: too few to matter */

/* Free stretches of one size. What is resident is taken first. */
struct page_class {
	void **warm, **cold;            /* each with room for all stretches there are */
	uint32_t warm_count, cold_count;
	uint32_t room, stretch_count;
};

struct slab {
	struct slab *next;
	void *bytes;
};

struct page_pool {
	pthread_mutex_t lock;           /* guards what follows */
	uint64_t limit_bytes;
	uint64_t taken_bytes, warm_bytes;       /* of all classes; both are resident */
	uint32_t sweep;                 /* the class that gave back last */
	struct slab *slabs;
	struct page_class classes[CLASS_PAGES_MAX + 1]; /* by pages a stretch */
};

int page_pool_create(uint64_t limit_bytes, struct page_pool **pool_out)
{
	struct page_pool *pool = calloc(1, sizeof(*pool));

	*pool_out = pool;
	if (!pool)
		return -ENOMEM;
	pool->limit_bytes = limit_bytes;
	pthread_mutex_init(&pool->lock, NULL);
	return 0;
}

void page_pool_free(struct page_pool *pool)
{
	if (!pool)
		return;
	while (pool->slabs) {
		struct slab *slab = pool->slabs;

		pool->slabs = slab->next;
		munmap(slab->bytes, SLAB_BYTES);
		free(slab);
	}
	for (uint32_t pages = 1; pages <= CLASS_PAGES_MAX; pages++) {
		free(pool->classes[pages].warm);
		free(pool->classes[pages].cold);
	}
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

static void *map_pages(uint64_t size_bytes)
{
	void *bytes = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);

	if (bytes == MAP_FAILED)
		return NULL;
	/* A huge page would make resident what nobody took. */
	(void)madvise(bytes, size_bytes, MADV_NOHUGEPAGE);
	return bytes;
}

/* On the border of a huge page, and such if the kernel has one. */
static void *map_slab(bool huge)
{
	char *bytes = map_pages(2 * SLAB_BYTES);
	uint64_t before;

	if (!bytes)
		return NULL;
	before = -(uintptr_t)bytes % SLAB_BYTES;
	if (before)
		munmap(bytes, before);
	munmap(bytes + before + SLAB_BYTES, SLAB_BYTES - before);
	if (huge)
		(void)madvise(bytes + before, SLAB_BYTES, MADV_HUGEPAGE);
	return bytes + before;
}

/* Give the pages of a stretch back. Its slab is of small pages from now on: the kernel would make one huge page
 * of it again, with what was given back. */
static void unmap_stretch(void *bytes, uint64_t stretch_bytes)
{
	void *slab = (char *)bytes - (uintptr_t)bytes % SLAB_BYTES;

	(void)madvise(slab, SLAB_BYTES, MADV_NOHUGEPAGE);
	(void)madvise(bytes, stretch_bytes, MADV_DONTNEED);
}

static int class_make_room(struct page_class *class, uint32_t count)
{
	void **warm, **cold;
	uint32_t room;

	if (class->stretch_count + count <= class->room)
		return 0;
	room = 2 * (class->stretch_count + count);
	warm = realloc(class->warm, room * sizeof(*warm));
	if (warm)
		class->warm = warm;
	cold = realloc(class->cold, room * sizeof(*cold));
	if (cold)
		class->cold = cold;
	if (!warm || !cold)
		return -ENOMEM;
	class->room = room;
	return 0;
}

/* Cut another slab into free stretches. The lock is held. */
static int class_grow(struct page_pool *pool, uint32_t pages)
{
	struct page_class *class = &pool->classes[pages];
	uint64_t stretch_bytes = (uint64_t)pages * POOL_PAGE_BYTES;
	uint32_t count = (uint32_t)(SLAB_BYTES / stretch_bytes);
	struct slab *slab;
	bool huge = pool->limit_bytes >= POOL_HUGE_MIN &&
		    pool->taken_bytes + pool->warm_bytes + SLAB_BYTES <= pool->limit_bytes;

	if (class_make_room(class, count))
		return -ENOMEM;
	slab = malloc(sizeof(*slab));
	if (!slab)
		return -ENOMEM;
	slab->bytes = map_slab(huge);
	if (!slab->bytes) {
		free(slab);
		return -ENOMEM;
	}
	slab->next = pool->slabs;
	pool->slabs = slab;
	class->stretch_count += count;
	for (uint32_t i = count; i > 0; i--) {
		void *bytes = (char *)slab->bytes + (i - 1) * stretch_bytes;

		if (huge)
			class->warm[class->warm_count++] = bytes;
		else
			class->cold[class->cold_count++] = bytes;
	}
	pool->warm_bytes += huge ? count * stretch_bytes : 0;
	return 0;
}

/* Give stretches back until the limit is kept, each class in turn. The lock is held: a stretch that is
 * being given back must not be taken. */
static void keep_limit(struct page_pool *pool)
{
	while (pool->warm_bytes && pool->taken_bytes + pool->warm_bytes > pool->limit_bytes) {
		struct page_class *class;
		uint64_t stretch_bytes;

		pool->sweep = pool->sweep % CLASS_PAGES_MAX + 1;
		class = &pool->classes[pool->sweep];
		if (!class->warm_count)
			continue;
		stretch_bytes = (uint64_t)pool->sweep * POOL_PAGE_BYTES;
		unmap_stretch(class->warm[--class->warm_count], stretch_bytes);
		class->cold[class->cold_count++] = class->warm[class->warm_count];
		pool->warm_bytes -= stretch_bytes;
	}
}

/* Take a stretch of a class. The lock is held. */
static void *class_take(struct page_pool *pool, uint32_t pages)
{
	struct page_class *class = &pool->classes[pages];

	if (class->warm_count) {
		pool->warm_bytes -= (uint64_t)pages * POOL_PAGE_BYTES;
		return class->warm[--class->warm_count];
	}
	if (class->cold_count)
		return class->cold[--class->cold_count];
	return class_grow(pool, pages) ? NULL : class_take(pool, pages);
}

void *page_pool_take(struct page_pool *pool, uint32_t size_bytes)
{
	uint64_t rounded = page_pool_round(size_bytes);
	uint32_t pages = (uint32_t)(rounded / POOL_PAGE_BYTES);
	void *bytes = pages > CLASS_PAGES_MAX ? map_pages(rounded) : NULL;

	pthread_mutex_lock(&pool->lock);
	if (pages <= CLASS_PAGES_MAX)
		bytes = class_take(pool, pages);
	if (bytes)
		pool->taken_bytes += rounded;
	keep_limit(pool);
	pthread_mutex_unlock(&pool->lock);
	return bytes;
}

void page_pool_give(struct page_pool *pool, void *bytes, uint32_t size_bytes)
{
	uint64_t rounded = page_pool_round(size_bytes);
	uint32_t pages = (uint32_t)(rounded / POOL_PAGE_BYTES);

	if (pages > CLASS_PAGES_MAX)
		munmap(bytes, rounded);
	pthread_mutex_lock(&pool->lock);
	pool->taken_bytes -= rounded;
	if (pages <= CLASS_PAGES_MAX) {
		struct page_class *class = &pool->classes[pages];

		class->warm[class->warm_count++] = bytes;
		pool->warm_bytes += rounded;
	}
	keep_limit(pool);
	pthread_mutex_unlock(&pool->lock);
}

void page_pool_set_limit(struct page_pool *pool, uint64_t limit_bytes)
{
	pthread_mutex_lock(&pool->lock);
	pool->limit_bytes = limit_bytes;
	keep_limit(pool);
	pthread_mutex_unlock(&pool->lock);
}
