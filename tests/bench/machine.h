/*
 * Machine: what the figures were taken on, and what it did meanwhile.
 *
 * Counters of the process and of the disk are read before and after, and the
 * difference is reported. The disk's counters are the whole machine's: they
 * are only ours while nobody else writes to that disk.
 */
#ifndef VARVE_BENCH_MACHINE_H
#define VARVE_BENCH_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void machine_describe(char *text, size_t size_bytes);           /* processors, kernel, memory */
void machine_disk(const char *path, char *text, size_t size_bytes); /* filesystem, device, space */
double machine_load(void);                                      /* load average of a minute; 0 if unknown */

/* Of all processors together, in ticks. */
struct machine_time {
	uint64_t total, stolen;
};

void machine_time_get(struct machine_time *time_out);
double machine_steal(const struct machine_time *before, const struct machine_time *after);

struct machine_io {
	/* of this process, /proc/self/io */
	uint64_t written_bytes;         /* dirtied in the page cache or written past it */
	uint64_t read_bytes;            /* fetched from the disk */
	/* of this thread, getrusage */
	uint64_t minor_faults;
	uint64_t cpu_ns;
	/* of the disk, /sys/dev/block/M:N/stat; all 0 if it has none */
	uint64_t disk_writes, disk_written_bytes, disk_flushes;
};

/* @path: any file on the disk meant. What can't be read stays 0. */
void machine_io_get(const char *path, struct machine_io *io_out);
struct machine_io machine_io_since(const struct machine_io *before, const struct machine_io *after);

/* This process's memory that is resident, and of it what is its own and what is of files. */
struct machine_memory {
	uint64_t rss_bytes, anon_bytes, file_bytes;     /* 0: unknown */
};

void machine_memory_get(struct machine_memory *memory_out);

/*
 * A virtual machine may hand its free pages back to its host at once (free page
 * reporting) and get each again by a fault that costs several times what is
 * measured. Whoever takes fresh pages in a sample is then measured by the host.
 *
 * machine_memory_hold stops that for the whole machine, until it is called again with false,
 * and has the host back @size_bytes first. 0: held; 1: this machine's memory is its
 * own; -errno (only root may).
 * machine_memory_warm only has it back @size_bytes that are free now, best effort.
 */
int machine_memory_hold(bool hold, uint64_t size_bytes);
void machine_memory_warm(uint64_t size_bytes);

#endif
