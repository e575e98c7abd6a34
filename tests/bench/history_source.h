/*
 * A source of history: writes and syncs in an order that is the same each time it is
 * gone through. So every store takes the same, and what a page held at any moment can be
 * made again without believing a store (history_truth.h).
 */
#ifndef VARVE_BENCH_HISTORY_SOURCE_H
#define VARVE_BENCH_HISTORY_SOURCE_H

#include <stdbool.h>

#include "clock.h"
#include "history_store.h"

struct history_op {
	bool is_sync;
	bool is_fill;                   /* makes what the history begins with; not measured */
	struct history_place place;     /* of a write */
	const uint8_t *bytes;           /* valid until the next operation is asked for */
	size_t size_bytes;
};

/* A read, and the write just after which it looks: number 1 is the first. */
struct history_question {
	struct history_place place;
	uint64_t write_number;
};

struct history_source {
	/* Start at the first operation. 0 or -errno. */
	int (*rewind)(struct history_source *source);
	/* 0; 1: that was the last one; -errno. */
	int (*next)(struct history_source *source, struct history_op *op_out);
	/* Question number @number, where the writes up to @written were taken. */
	struct history_question (*ask)(struct history_source *source, struct dice *dice, uint64_t number,
				       uint64_t written);
	size_t read_bytes;              /* of each question; whole pages */
};

#endif
