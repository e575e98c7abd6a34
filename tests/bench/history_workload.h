/*
 * A workload of the bench of history: the same source for varve and for every rival
 * that was compiled in, each in a process of its own with a directory of its own on the
 * same disk, in turn, round after round.
 */
#ifndef VARVE_BENCH_HISTORY_WORKLOAD_H
#define VARVE_BENCH_HISTORY_WORKLOAD_H

#include "history_source.h"

struct bench;

struct history_workload {
	const char *name;               /* begins what each claim is called */
	struct history_source *source;
	bool by_bytes;                  /* rates are in MB/s, not in a thousand writes and reads */
	bool is_held;                   /* against its rivals (history_workload.c) */
	uint64_t hot_reads, cold_reads;
	unsigned rounds;                /* unless the command line says otherwise */
};

/* Says what failed. 0; -EBADMSG: stores answered differently; -errno. */
int history_workload_measure(struct bench *bench, const struct history_workload *workload);

/* Make and empty the directory of a store. 0 or -errno. */
int history_dir_make(struct bench *bench, const char *name, char *path, size_t size_bytes);

#endif
