/*
 * Simulated disk: files in memory whose power can be cut and whose calls can fail.
 *
 * It stands under the core's io.h (base/io_disk.h). What is written is readable at
 * once; a power cut leaves of it what was synced and any part of the rest: a
 * file's sectors and size from the last sync of that file on, a directory's names
 * from the last sync of that directory on. (POSIX promises no more.) Syncing a
 * file does not make its name durable.
 *
 * A mapping is the file's own memory, so the core stores into it without a call.
 * Pages mapped to be written are write-protected; the first store to one is a
 * fault that notes it. At every call, and at sim_disk_mark, noted pages are compared
 * with what they held before: changed sectors are one unsynced write.
 *
 * A disk records all of this as a trace, in the order it happened on whatever
 * threads. sim_replay walks it afterwards; cuts are made there, offline, so one run
 * serves every cut. (A sync counts as done at one moment: a store that another thread
 * makes meanwhile comes before it or after.)
 *
 * Threads: the operations from any, as the core's; everything else from the test's.
 */
#ifndef VARVE_TESTS_SIM_DISK_H
#define VARVE_TESTS_SIM_DISK_H

#include "io_disk.h"
#include "sim_state.h"

#define SIM_FILE_BYTES_MAX (UINT64_C(16) << 20) /* a file can't grow beyond: -EFBIG */

struct sim_disk;

/* An empty disk, or one that holds @state, which it takes over (NULL: empty). */
struct sim_disk *sim_disk_new(struct sim_state *state);
void sim_disk_free(struct sim_disk *disk);      /* NULL is ignored */

/* io_disk_use it. NULL: the kernel's again. */
void sim_disk_use(struct sim_disk *disk);

/* Not 0 while this thread is inside the simulation: what it allocates is not the core's.
 * A test adds 1 while it looks at a store: then its calls meet no fault either. (Volatile,
 * for the compiler knows that malloc does not look at it. Ours does.) */
extern _Thread_local volatile unsigned sim_disk_busy;

/* ---- what is there ---- */

/* A copy of what can be read now. */
struct sim_state *sim_disk_state(struct sim_disk *disk);

struct sim_usage {
	uint64_t calls;                 /* since the disk was made */
	unsigned open_files, mappings, locks;   /* now */
};
struct sim_usage sim_disk_usage(struct sim_disk *disk);

/* ---- faults ---- */

enum sim_fault_kind {
	SIM_FAULT_NONE,
	SIM_FAULT_EIO,                  /* any call */
	SIM_FAULT_ENOSPC,               /* what takes space: write, allocate, sync, and making names */
	SIM_FAULT_EINTR,                /* what may sleep: open, read, write, allocate, truncate, sync */
	SIM_FAULT_SHORT,                /* read, write: half of it, at least a byte */
	SIM_FAULT_NO_HANDLE,            /* open: EMFILE; map: ENOMEM */
	SIM_FAULT_KINDS,
};

/*
 * Fail the @at-th call from now on (0: the next) of those that can fail so, and
 * with @persistent every one after it. A persistent EINTR is every other call, for
 * callers retry. A failed sync loses what it should have written, as Linux does:
 * the next sync of that file does not bring it back.
 */
void sim_disk_fail(struct sim_disk *disk, enum sim_fault_kind kind, uint64_t at, bool persistent);
/* How many calls failed since sim_disk_fail; how many of them were syncs. */
uint64_t sim_disk_faults_met(const struct sim_disk *disk);
uint64_t sim_disk_syncs_failed(const struct sim_disk *disk);

/* ---- the trace ---- */

/* A note of the test's own in the trace: what happened before is before it. */
void sim_disk_mark(struct sim_disk *disk, uint32_t kind, uint64_t value);

enum sim_event_kind { SIM_EVENT_WRITE, SIM_EVENT_SYNC, SIM_EVENT_SYNC_FAILED, SIM_EVENT_MARK };

struct sim_event {
	enum sim_event_kind kind;
	struct sim_write write;         /* a write */
	uint32_t inode;                 /* a sync: of this file or directory */
	uint32_t mark_kind;
	uint64_t mark_value;
};

uint64_t sim_disk_event_count(struct sim_disk *disk);

/* A walk along a trace. The disk must stay, and grow no more. */
struct sim_replay {
	const struct sim_disk *disk;
	uint64_t position;              /* events passed */
	struct sim_state *durable;      /* what any cut here leaves */
	const struct sim_write **pending;       /* what it may leave besides, oldest first */
	uint32_t pending_count, pending_room;
};

struct sim_replay *sim_replay_new(const struct sim_disk *disk);
void sim_replay_free(struct sim_replay *replay);
/* Pass the next event; NULL: there is none. */
const struct sim_event *sim_replay_step(struct sim_replay *replay);

/* What a cut at this position leaves if of pending write @i the sector @sector stays
 * where @keep says so (of names and sizes: sector 0 stands for all of it). */
typedef bool sim_cut_fn(void *context, uint32_t i, uint32_t sector);
struct sim_state *sim_replay_cut(const struct sim_replay *replay, sim_cut_fn *keep,
				 void *context);

#endif
