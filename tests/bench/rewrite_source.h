/*
 * Rewriting: files are written anew from end to end, one after another, round after
 * round, with a sync after each. Read is a file of a round, from its start to its end.
 */
#ifndef VARVE_BENCH_REWRITE_SOURCE_H
#define VARVE_BENCH_REWRITE_SOURCE_H

#include "history_source.h"

struct rewrite_source {
	struct history_source source;
	uint32_t file_count, round_count;
	uint64_t file_bytes;            /* a multiple of HISTORY_WRITE_MAX */
	unsigned random_percent;
	uint64_t number;                /* of the next operation */
	struct history_question last;   /* asked */
	uint8_t *bytes;
};

/* 0 or -ENOMEM; freed by rewrite_source_destroy. */
int rewrite_source_init(struct rewrite_source *source, uint32_t file_count, uint64_t file_bytes,
			uint32_t round_count, unsigned random_percent);
void rewrite_source_destroy(struct rewrite_source *source);

#endif
