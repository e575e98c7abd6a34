#include "latency.h"

static unsigned class_of(uint64_t ns)
{
	unsigned power;

	if (ns < LATENCY_STEPS)
		return (unsigned)ns;
	power = 63 - (unsigned)__builtin_clzll(ns);
	return (power - 3) * LATENCY_STEPS + (unsigned)(ns >> (power - 4)) % LATENCY_STEPS;
}

/* The smallest that is above the class. */
static uint64_t class_end_ns(unsigned class)
{
	unsigned power = class / LATENCY_STEPS + 3;

	if (class < LATENCY_STEPS)
		return class + 1;
	return (uint64_t)(LATENCY_STEPS + class % LATENCY_STEPS + 1) << (power - 4);
}

void latency_add(struct latency *latency, uint64_t ns)
{
	latency->counts[class_of(ns)]++;
	latency->count++;
	latency->total_ns += ns;
	if (ns > latency->max_ns)
		latency->max_ns = ns;
}

double latency_us(const struct latency *latency, double part)
{
	double wanted = part * (double)latency->count;
	uint64_t below = 0;

	for (unsigned class = 0; class < 64 * LATENCY_STEPS; class++) {
		below += latency->counts[class];
		if (below && (double)below >= wanted)
			return (double)(class_end_ns(class) < latency->max_ns ? class_end_ns(class)
									      : latency->max_ns) / 1e3;
	}
	return 0;
}
