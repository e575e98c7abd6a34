/*
 * Sync timer: how long the core waited for the disk. The linker puts these in
 * front of the core's io_sync (--wrap, see CMakeLists.txt), so that a bench can
 * take the disk's part out of what it measures.
 */
#ifndef VARVE_BENCH_SYNC_TIMER_H
#define VARVE_BENCH_SYNC_TIMER_H

#include <stdint.h>

/* Nanoseconds and calls since the process began, over all threads. */
struct sync_timer {
	uint64_t ns, count;
};

struct sync_timer sync_timer_get(void);

#endif
