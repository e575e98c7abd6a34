/*
 * Passes: going once over a file of a mount, as a sample.
 *
 * Invariants:
 *   (1) The kernel doesn't answer for the mount: before every timed pass the file's
 *       pages are dropped from its page cache, and the pass is refused if any is
 *       still there.
 *   (2) Every block of a file begins with its number and its generation, and every
 *       read is checked for them, so a figure can't come from wrong data.
 *   (3) No page is written as it was.
 *
 * Threads: a pass makes its own; the functions are for the bench's first.
 */
#ifndef VARVE_BENCH_PASSES_H
#define VARVE_BENCH_PASSES_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct bench;

#define PASS_BLOCK_BYTES 8192u
#define PASS_THREADS_MAX 4u

struct pass_file {
	struct bench *bench;
	char path[PATH_MAX + 32];
	uint64_t size_bytes;            /* a multiple of every call's */
	const uint32_t *order;          /* of pass_order_new, for random passes */
	uint32_t generation;            /* of every block, as the last pass that wrote left them */
};

/* One way of going over a file. */
struct access {
	struct pass_file *file;
	bool write, random;             /* random: in calls of one block */
	uint32_t call_bytes;
	unsigned threads;
};

/* The blocks of a file of @size_bytes in a random order, the same in every run. For free();
 * NULL: no memory. */
uint32_t *pass_order_new(uint64_t size_bytes);

/* Make the file, write all of it and sync it, untimed. Says what failed. 0 or -errno. */
int pass_file_fill(struct pass_file *file);

/* Go over the file once, in *elapsed_ns_out; what was written is synced after that time.
 * 0; -EBADMSG: a block holds other bytes than were written (says so); -EBUSY: the
 * kernel kept pages (says so); else -errno. */
int access_time(const struct access *access, uint64_t *elapsed_ns_out);

/* access_time as sample_fn (bench.h), of a struct access. In thousand calls a second if
 * random, else in MB/s: */
int access_rate_sample(void *access, double *figure_out);
/* In microseconds a call: */
int access_call_sample(void *access, double *figure_out);

#endif
