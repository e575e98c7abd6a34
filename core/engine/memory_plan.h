/*
 * Memory plan: one budget, divided over all that a store holds in memory and that grows with what
 * it is used for. Pure but for the default, which asks how much the machine has.
 *
 *   1/2   layers that take writes or wait to be sealed: the part of their files that is not synced, and their
 *         indexes in memory, which where writes are small take about as much again
 *   1/4   block cache; and what layers and merges do not need (lend.c)
 *   1/16  views of mapped files (mapped_views.h)
 *   1/32  pages written last (store/recent_pages.h)
 *   1/16  what a merge reads into (merge.h); one at a time has buffers
 *   rest  what it writes from, and what is small
 */
#ifndef VARVE_ENGINE_MEMORY_PLAN_H
#define VARVE_ENGINE_MEMORY_PLAN_H

#include <stdint.h>

#define MEMORY_MIN (UINT64_C(32) << 20)
#define MEMORY_DEFAULT_MIN (UINT64_C(128) << 20)
#define MEMORY_DEFAULT_MAX (UINT64_C(1) << 30)
#define FROZEN_MAX 8u           /* frozen layers that wait for sealing before writers must, at most */

struct memory_plan {
	uint64_t memory_bytes;          /* the budget */
	uint64_t layer_bytes;           /* size of a layer's file */
	uint32_t frozen_max;            /* frozen layers that wait for sealing before writers must */
	uint64_t cache_bytes, views_bytes, recent_bytes, merge_bytes;
	uint64_t layers_bytes;          /* for layers that take writes: lent to the cache while they need less; 0: nothing is */
};

/* What an open layer takes of memory, in its file's size. */
#define MEMORY_LAYER_COST 2u

/* Divide @memory_bytes (0: an eighth of the machine's, within the limits above). @layer_bytes and @cache_bytes, where not
 * 0, are taken as they are. */
struct memory_plan memory_plan_make(uint64_t memory_bytes, uint64_t layer_bytes, uint64_t cache_bytes);

#endif
