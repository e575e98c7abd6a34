#include "arena.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "fault.h"
#include "io.h"

#define ARENA_MIN_BYTES 4096u

static int arena_map(struct arena *arena, bool writable)
{
	void *base;
	int err = io_map(arena->fd, arena->capacity_bytes, writable, &base);

	arena->base = base;
	/* The kernel reads ahead of a mapping's first store, too, in folios of up to 2 MiB, of which a
	 * sync writes the whole however little is dirty: 4.8 bytes for a byte of history, where
	 * pages of their own write 1.2. */
	if (!err)
		io_map_at_random(base, arena->capacity_bytes);
	return err;
}

int arena_create(struct arena *arena, int dir_fd, const char *name, uint64_t capacity_bytes)
{
	int err;

	assert(capacity_bytes >= ARENA_MIN_BYTES && capacity_bytes % ARENA_MIN_BYTES == 0);
	memset(arena, 0, sizeof(*arena));
	arena->fd = -1;
	arena->capacity_bytes = capacity_bytes;
	err = io_open(dir_fd, name, O_RDWR | O_CREAT | O_TRUNC, 0600, &arena->fd);
	if (err)
		return err;
	err = io_reserve(arena->fd, capacity_bytes);
	if (!err)
		err = arena_map(arena, true);
	if (err) {
		arena_close(arena);
		io_unlink(dir_fd, name);
	}
	return err;
}

int arena_open(struct arena *arena, int dir_fd, const char *name, bool writable)
{
	int err;

	memset(arena, 0, sizeof(*arena));
	err = io_open(dir_fd, name, writable ? O_RDWR : O_RDONLY, 0, &arena->fd);
	if (err)
		return err;
	err = io_size(arena->fd, &arena->capacity_bytes);
	if (!err && (arena->capacity_bytes < ARENA_MIN_BYTES ||
		     arena->capacity_bytes % ARENA_MIN_BYTES))
		err = -EUCLEAN;
	if (!err)
		err = arena_map(arena, writable);
	if (err)
		arena_close(arena);
	return err;
}

struct clearing {
	struct arena *arena;
	uint64_t from_bytes;
};

/* Where the file system can't zero a range: only pages that hold something are touched. */
static int clear_mapped(void *context)
{
	static const uint8_t zeros[ARENA_MIN_BYTES];
	const struct clearing *clearing = context;
	uint8_t *base = clearing->arena->base;
	uint64_t at = clearing->from_bytes;

	while (at < clearing->arena->capacity_bytes) {
		uint64_t count = ARENA_MIN_BYTES - at % ARENA_MIN_BYTES;

		if (memcmp(base + at, zeros, count) != 0)
			memset(base + at, 0, count);
		at += count;
	}
	return 0;
}

int arena_clear_tail(struct arena *arena, uint64_t tail_bytes)
{
	int err;

	assert(tail_bytes <= arena->capacity_bytes);
	err = io_zero(arena->fd, tail_bytes, arena->capacity_bytes);
	if (err == -EOPNOTSUPP || err == -ENOSYS)
		err = fault_guarded(clear_mapped, &(struct clearing){ arena, tail_bytes });
	/* Before anything is stored there: old bytes and new, mixed by a power cut,
	 * could make a whole of what was none. */
	return err ? err : io_sync(arena->fd);
}

void arena_unmap_range(struct arena *arena, uint64_t from_bytes, uint64_t to_bytes)
{
	from_bytes -= from_bytes % ARENA_MIN_BYTES;
	if (from_bytes < to_bytes)
		io_unmap_pages(arena->base + from_bytes, to_bytes - from_bytes);
}

/* From so much on, unmapping before the sync is cheaper than not. */
#define UNMAP_BYTES_MIN (32u << 10)

/* Less than this is flushed for the sake of a sync, and the next will be as small. */
#define AHEAD_DIRTY_MAX (32u << 10)
#define AHEAD_BYTES (256u << 10)

/* Have the next sync write blocks behind the tail, unless one did. */
static void write_ahead(struct arena *arena, uint64_t tail_bytes)
{
	uint64_t from = (tail_bytes + ARENA_MIN_BYTES - 1) / ARENA_MIN_BYTES * ARENA_MIN_BYTES;
	uint64_t left = arena->capacity_bytes - from;
	uint64_t size = left < AHEAD_BYTES ? left : AHEAD_BYTES;

	if (from < arena->ahead_bytes || !size)
		return;
	io_map_make_dirty(arena->fd, arena->base + from, size);
	arena->ahead_bytes = from + size;
}

int arena_flush(struct arena *arena, uint64_t tail_bytes)
{
	uint64_t flushed = atomic_load_explicit(&arena->flushed_bytes, memory_order_relaxed);
	int err;

	assert(tail_bytes <= arena->capacity_bytes);
	if (tail_bytes <= flushed)
		return 0;
	if (tail_bytes - flushed >= UNMAP_BYTES_MIN)
		arena_unmap_range(arena, flushed, tail_bytes);
	if (tail_bytes - flushed < AHEAD_DIRTY_MAX)
		write_ahead(arena, tail_bytes);
	/* Everything else in the file is clean, so syncing the file writes
	 * exactly the dirty tail, and what lies ready behind it; and the extents it fills, which msync of the
	 * range would leave to the journal all the same. */
	err = io_sync(arena->fd);
	if (!err)
		atomic_store_explicit(&arena->flushed_bytes, tail_bytes, memory_order_release);
	return err;
}

void arena_close(struct arena *arena)
{
	io_unmap(arena->base, arena->capacity_bytes);
	arena->base = NULL;
	io_close(arena->fd);
	arena->fd = -1;
}
