/*
 * Stalls: what writers feel of merges and garbage collection going on behind them, against the
 * same writes with neither.
 */
#ifndef VARVE_BENCH_HISTORY_STALLS_H
#define VARVE_BENCH_HISTORY_STALLS_H

struct bench;

/* Says what failed. 0; -errno, -EAGAIN if less went on behind the writes than is to be measured. */
int history_stalls_measure(struct bench *bench);

#endif
