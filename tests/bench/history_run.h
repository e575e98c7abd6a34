/*
 * One store takes a source's history and answers for it: written, left to rest, settled,
 * read with the page cache warm, closed, forgotten by the page cache, opened and read again;
 * a store that can put its history in another order then does, and is read so once more.
 *
 * Invariants:
 *   (1) Only calls of the store are timed, not the making of what it takes.
 *   (2) Every byte of an answer is copied out and goes into a sum, which must be the same
 *       for every store that was asked the same; a sample of the answers is compared
 *       with what the source wrote.
 */
#ifndef VARVE_BENCH_HISTORY_RUN_H
#define VARVE_BENCH_HISTORY_RUN_H

#include "history_source.h"
#include "latency.h"

struct history_plan {
	const struct history_store_type *type;
	struct history_source *source;
	const char *dir;                /* empty */
	uint64_t until_bytes;           /* end once moments have grown by so much; 0: with the source */
	uint32_t moment_step;           /* reads look at every so manyth write */
	uint64_t hot_reads, cold_reads;
};

struct history_reads {
	uint64_t count, ns, cpu_ns, sum;
};

/* Most, and at the end of the writes. */
struct history_memory {
	uint64_t rss_bytes, anon_bytes, file_bytes;
};

struct history_figures {
	uint64_t write_count;           /* without the fill; so is all that follows */
	uint64_t write_bytes;           /* handed to the store */
	uint64_t history_bytes;         /* that moments grew by: of a store whose moments are bytes */
	uint64_t stored_bytes;          /* the same, with the fill */
	struct latency writes, syncs;
	uint64_t disk_bytes, settled_disk_bytes;
	uint64_t io_bytes, settled_io_bytes;    /* written by the process, the fill too, up to then */
	uint64_t cpu_ns;                /* of all threads while it was written, the making of its bytes
					 * and what the store did behind it included */
	uint64_t settle_ns;
	struct history_memory memory_max, memory_end;
	struct history_reads hot, cold;
	/* once compacted; of a store that isn't as above */
	uint64_t compacted_disk_bytes, compacted_io_bytes;
	uint64_t compact_ns;
	struct history_reads compacted_hot, compacted_cold;
};

/* Says what failed. 0 or -errno. */
int history_run(const struct history_plan *plan, struct history_figures *figures_out);

/* A figure a second of those reads. */
double history_reads_per_s(const struct history_reads *reads);

#endif
