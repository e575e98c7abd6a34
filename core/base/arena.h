/*
 * Arena: an append-only region of one file, reserved on disk ahead and mapped
 * shared. (Reserving ahead and accounting for use are from Neon's issue 657;
 * flushing only what is dirty is Voron's.)
 *
 * What is stored into the mapping belongs to the kernel's page cache at once,
 * so it outlives a killed process; arena_flush makes it outlive a power cut.
 * Bytes below the tail never change, so all that can be dirty is one range,
 * [flushed, tail), and a flush is one ranged write-out and one sync.
 *
 * Measured beside pwrite of the same bytes: storing 200 bytes into the mapping
 * takes less time than the call, a page more, for
 * each page's first store is a fault. So batches of 4 KiB and more are written
 * (layers/open_layer.c), and what is here serves both.
 *
 * The arena takes no locks. Its owner says what guards the tail; the mapping's
 * bytes may be filled by several threads, each its own range. Counters are
 * atomic and may be read at any time.
 */
#ifndef VARVE_BASE_ARENA_H
#define VARVE_BASE_ARENA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* What the arena's bytes are for. */
enum arena_purpose {
	ARENA_FRAMING,          /* file header, batch and entry headers */
	ARENA_ATTR,             /* attributes and floors */
	ARENA_NAME,             /* directory entries */
	ARENA_IMAGE,            /* whole pages */
	ARENA_PATCH,            /* changed ranges of pages */
	ARENA_PURPOSE_COUNT,
};

struct arena {
	int fd;                         /* owned */
	uint8_t *base;                  /* mapping of the whole file */
	uint64_t capacity_bytes;        /* size of file and mapping */
	_Atomic uint64_t flushed_bytes; /* below this all is on disk; written by the flusher alone */
	uint64_t ahead_bytes;           /* below this there are blocks on disk, if it is above that; the flusher's alone */
	_Atomic uint64_t held_bytes[ARENA_PURPOSE_COUNT];
};

/* Make the file @name of @capacity_bytes (a multiple of 4096), reserved and
 * mapped; not yet synced. 0; -ENOSPC: the disk has no such room; -errno. The
 * file is removed again on failure. */
int arena_create(struct arena *arena, int dir_fd, const char *name, uint64_t capacity_bytes);

/* Map what is there, to be read only unless @writable. -EUCLEAN: the size
 * of the file is not a positive multiple of 4096. */
int arena_open(struct arena *arena, int dir_fd, const char *name, bool writable);

/* Make everything from @tail_bytes on zeros, durably; it stays reserved. Only while
 * nothing else uses the arena. -errno. */
int arena_clear_tail(struct arena *arena, uint64_t tail_bytes);

/*
 * Make [flushed, @tail_bytes) durable. One caller at a time. -errno: what was
 * dirty may be lost; do not try again.
 *
 * A block that is reserved and was never written is noted as such by the file system: the first sync
 * of it has to write that note too, which takes as long as the block. So a small flush writes blocks
 * behind the tail as well, as the zeros they are, and those that follow find them there: two thirds
 * of the time for 4 KiB.
 */
int arena_flush(struct arena *arena, uint64_t tail_bytes);

/* Note that @bytes more are held for @purpose. */
static inline void arena_account(struct arena *arena, enum arena_purpose purpose, uint64_t bytes)
{
	atomic_fetch_add_explicit(&arena->held_bytes[purpose], bytes, memory_order_relaxed);
}

/*
 * Take what is stored in [@from_bytes, @to_bytes) out of this process's page tables; it
 * stays in the kernel's page cache, dirty if it was, and in the mapping. Before a
 * sync this costs one shot at the processors' TLBs, where the sync itself would
 * write-protect page by page, with a shot for each.
 */
void arena_unmap_range(struct arena *arena, uint64_t from_bytes, uint64_t to_bytes);

void arena_close(struct arena *arena);

#endif
