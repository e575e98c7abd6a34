/*
 * Updates: a file of pages exists, then 96 bytes change at random places of random
 * pages, with a sync after every thousand. No end if @update_count is UINT64_MAX.
 */
#ifndef VARVE_BENCH_UPDATE_SOURCE_H
#define VARVE_BENCH_UPDATE_SOURCE_H

#include "history_source.h"

#define UPDATE_BYTES 96u
#define UPDATES_A_SYNC 1000u

struct update_source {
	struct history_source source;
	uint32_t page_count;            /* a multiple of those in HISTORY_WRITE_MAX */
	uint64_t update_count;
	unsigned random_percent;
	uint64_t number;                /* of the next operation */
	uint8_t *bytes;
};

/* 0 or -ENOMEM; freed by update_source_destroy. */
int update_source_init(struct update_source *source, uint32_t page_count, uint64_t update_count,
		       unsigned random_percent);
void update_source_destroy(struct update_source *source);

#endif
