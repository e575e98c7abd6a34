/*
 * Simulated disk, inside: what sim_disk.c (operations), sim_memory.c (the memory
 * of files, and what was stored there) and sim_replay.c (the trace) share.
 */
#ifndef VARVE_TESTS_SIM_DISK_INTERNAL_H
#define VARVE_TESTS_SIM_DISK_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "sim_disk.h"

#define SIM_FILES_MAX 256u
#define SIM_PAGES_PER_FILE (SIM_FILE_BYTES_MAX / SIM_PAGE_BYTES)

/*
 * A file as it can be read and stored into now. While it is mapped to be written its
 * memory below the size is write-protected but for pages that were stored into since
 * the last look, which are marked dirty. @spin guards protection and marks together.
 */
struct sim_memory {
	uint8_t *base;                  /* SIM_FILE_BYTES_MAX of address space */
	struct sim_page **known;        /* as last recorded; SIM_PAGES_PER_FILE of them */
	uint8_t *dirty;                 /* a byte a page */
	uint32_t known_end;             /* no page from here on is known to hold anything */
	unsigned writable_maps;
	uint64_t size_bytes;
	atomic_flag spin;
};

/* All of @inode's bytes, ready to be read. */
struct sim_memory *sim_memory_new(const struct sim_inode *inode);
void sim_memory_free(struct sim_memory *memory);
/* From now on stores are noted, or no longer. */
void sim_memory_watch(struct sim_memory *memory);
void sim_memory_unwatch(struct sim_memory *memory);
/* Let the caller change [@from, @to), which is to be marked dirty. */
void sim_memory_touch(struct sim_memory *memory, uint64_t from_bytes, uint64_t to_bytes);
void sim_memory_resize(struct sim_memory *memory, uint64_t size_bytes);
/* What changed since the last call, as a write of data. False: nothing. */
bool sim_memory_collect(struct sim_memory *memory, struct sim_write *write_out);

struct sim_file {
	bool used;
	uint32_t inode;
	bool locked;
};

struct sim_map {
	void *base;
	uint32_t inode;
	bool writable;
};

struct sim_disk {
	struct io_disk ops;             /* first: what the core sees */
	pthread_mutex_t lock;           /* guards all below */
	struct sim_state *start;        /* at the trace's beginning */
	struct sim_state *names;        /* namespace and sizes now; of the pages only what was there at the start */
	struct sim_memory **memories;   /* by inode; NULL: not touched yet */
	uint32_t memory_room;
	struct sim_file files[SIM_FILES_MAX];
	struct sim_map maps[SIM_FILES_MAX];
	struct sim_event *events;
	uint64_t event_count, event_room;
	uint64_t calls;
	struct {
		enum sim_fault_kind kind;
		uint64_t at, seen, met, syncs;
		bool persistent;
	} fault;
};

/* The lock is held. Takes the write over. */
void sim_trace_write(struct sim_disk *disk, const struct sim_write *write);
struct sim_event *sim_trace_add(struct sim_disk *disk, enum sim_event_kind kind);
/* Note all stores made through mappings. */
void sim_trace_collect(struct sim_disk *disk);
void sim_disk_enter(struct sim_disk *disk);
void sim_disk_leave(struct sim_disk *disk);

#endif
