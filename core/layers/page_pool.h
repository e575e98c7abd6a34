/*
 * Page pool: memory in whole pages of 4 KiB, given back to the kernel when it is free.
 *
 * malloc would keep what is freed between what is not, and one mmap for each block would run
 * into the kernel's limit of mappings. Here stretches of one size are cut from slabs, so that a
 * free one fits the next of its size. Free stretches are kept for the next while all that is resident is
 * within a limit; above it their pages are given back, one stretch at a time (MADV_DONTNEED), which
 * leaves address space only. So what is resident is at most what is taken, or the limit.
 *
 * A pool of POOL_HUGE_MIN or more asks for huge pages, a slab being one, while the limit has room for it: a block
 * of three small pages costs three walks of the page tables each time, which made a read a seventh slower. What nobody took of
 * such a slab is resident, and counted. A slab of which a stretch was given back is of small pages from then on.
 *
 * Any thread; the lock is a leaf.
 */
#ifndef VARVE_LAYERS_PAGE_POOL_H
#define VARVE_LAYERS_PAGE_POOL_H

#include <stdint.h>

#define POOL_PAGE_BYTES 4096u
#define POOL_HUGE_MIN (UINT64_C(32) << 20)

struct page_pool;

/* -ENOMEM. */
int page_pool_create(uint64_t limit_bytes, struct page_pool **pool_out);
void page_pool_free(struct page_pool *pool);            /* nothing is taken any more; NULL is ignored */

/* Gives back what is above it. */
void page_pool_set_limit(struct page_pool *pool, uint64_t limit_bytes);

/* What @size_bytes take. */
static inline uint64_t page_pool_round(uint32_t size_bytes)
{
	return ((uint64_t)size_bytes + POOL_PAGE_BYTES - 1) / POOL_PAGE_BYTES * POOL_PAGE_BYTES;
}

/* Any bytes, from a page border on; NULL: no memory. */
void *page_pool_take(struct page_pool *pool, uint32_t size_bytes);
/* @size_bytes as it was taken. */
void page_pool_give(struct page_pool *pool, void *bytes, uint32_t size_bytes);

#endif
