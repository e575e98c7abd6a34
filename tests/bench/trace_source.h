/*
 * Trace: the writes and syncs that a program once made, with their bytes, as trace.py
 * took them down. All numbers are little-endian.
 *
 *   "VARVETRC", then until the end of the file:
 *   u8 1, u8 file, u32 size, u64 offset, the bytes    a write
 *   u8 2                                              a sync
 *
 * A file's number stands for its path: one that is removed and made again is written on.
 * A trace whose name ends in .xz is read through xz.
 */
#ifndef VARVE_BENCH_TRACE_SOURCE_H
#define VARVE_BENCH_TRACE_SOURCE_H

#include <stdio.h>
#include <sys/types.h>

#include "history_source.h"

struct trace_source {
	struct history_source source;
	const char *path;
	FILE *file;                     /* NULL: not open */
	pid_t reader;                   /* xz; 0: none */
	uint8_t *bytes;
	uint64_t written_bytes[HISTORY_FILES_MAX];      /* where the last write of each ends */
	uint64_t write_count, write_bytes, sync_count;
};

/* Go through the trace once. 0; -EUCLEAN: not a trace, or torn; -errno. Freed by trace_source_destroy. */
int trace_source_init(struct trace_source *source, const char *path);
void trace_source_destroy(struct trace_source *source);

#endif
