/*
 * Growth: what stays the same of varve, and what does not, as history grows. One size
 * of history after another is built up by updates of 96 bytes, each in a process of its
 * own: latency of the writers, memory, disk, and reads at random moments.
 */
#ifndef VARVE_BENCH_HISTORY_GROWTH_H
#define VARVE_BENCH_HISTORY_GROWTH_H

#include <stdint.h>

struct bench;

#define GROWTH_SIZES_MAX 8u

struct growth_sizes {
	uint64_t bytes[GROWTH_SIZES_MAX];
	unsigned count;
};

/* Read sizes as in "512M,20G". 0; -EINVAL. */
int growth_sizes_parse(const char *text, struct growth_sizes *sizes_out);

/* Says what failed. 0 or -errno. */
int history_growth_measure(struct bench *bench, const struct growth_sizes *sizes);

#endif
