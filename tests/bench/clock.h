/*
 * The clock and the dice of the benches: monotonic nanoseconds, and random
 * numbers that are the same in every run, so that two runs do the same work.
 */
#ifndef VARVE_BENCH_CLOCK_H
#define VARVE_BENCH_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_of_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t clock_ns(void)
{
	return clock_of_ns(CLOCK_MONOTONIC);
}

struct dice {
	uint64_t state;         /* any value */
};

/* splitmix64 (Steele, Lea, Flood 2014): one addition and a mix, no period to fear here. */
static inline uint64_t dice_next(struct dice *dice)
{
	uint64_t z = dice->state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* Below @limit, which is above 0; the bias of the multiplication is far below any noise. */
static inline uint64_t dice_below(struct dice *dice, uint64_t limit)
{
	return (uint64_t)((unsigned __int128)dice_next(dice) * limit >> 64);
}

/* Put @items into a random order. */
static inline void dice_shuffle(struct dice *dice, uint32_t *items, uint32_t count)
{
	for (uint32_t i = count; i > 1; i--) {
		uint32_t j = (uint32_t)dice_below(dice, i);
		uint32_t item = items[i - 1];

		items[i - 1] = items[j];
		items[j] = item;
	}
}

#endif
