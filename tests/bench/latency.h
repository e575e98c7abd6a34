/*
 * Latencies, counted in classes of which each is at most a sixteenth wider than the one
 * before, so that a percentile of any number of them takes a fixed memory and is wrong
 * by no more than that.
 */
#ifndef VARVE_BENCH_LATENCY_H
#define VARVE_BENCH_LATENCY_H

#include <stdint.h>

#define LATENCY_STEPS 16u               /* classes for each power of two */

struct latency {
	uint64_t counts[64 * LATENCY_STEPS];
	uint64_t count, total_ns, max_ns;
};

void latency_add(struct latency *latency, uint64_t ns);
/* What @part of them, 0 to 1, took at most, in microseconds; 0 if there are none. */
double latency_us(const struct latency *latency, double part);

#endif
