/*
 * A part of a bench in a process of its own, so that its memory, its threads and its
 * I/O are that part's alone.
 */
#ifndef VARVE_BENCH_CHILD_H
#define VARVE_BENCH_CHILD_H

#include <stddef.h>

typedef int child_fn(void *context, void *result);

/* Run @run in a child; what it leaves in @result, of @result_bytes and zeros at first, is
 * brought back. The caller has one thread. What @run returned; -EIO: the child died; -errno. */
int child_run(child_fn *run, void *context, void *result, size_t result_bytes);

#endif
