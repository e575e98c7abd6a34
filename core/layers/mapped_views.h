/*
 * Mapped views: files mapped to be looked at, of which no more than a budget is in this process's page
 * tables.
 *
 * What a load from a mapping brings into the page tables counts as this process's memory, though it
 * is the kernel's page cache. The kernel brings in what lies around, too, up to a folio of 2 MiB;
 * so it is counted in stretches of that size, each once. When the sum passes the budget, stretches
 * are taken out again, file by file; they stay mapped, and the page cache keeps them. Who
 * is looking at one meanwhile meets a fault, and goes on.
 *
 * Threads: any, but a file is opened and closed by one. A view takes no lock unless its stretch is
 * new; then the one in struct mapped_views, a leaf.
 */
#ifndef VARVE_LAYERS_MAPPED_VIEWS_H
#define VARVE_LAYERS_MAPPED_VIEWS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#define MAPPED_STRETCH_BYTES (UINT64_C(2) << 20)

struct mapped_views;

struct mapped_file {
	struct mapped_views *views;
	uint8_t *base;                  /* NULL: not mapped */
	uint64_t size_bytes;
	_Atomic uint8_t *counted;       /* one for each stretch; set under the lock of @views */
	struct mapped_file *next, *before;      /* in the ring of those that have stretches counted; guarded by it */
	uint32_t counted_count;         /* guarded by it */
};

/* @budget_bytes is at least two stretches. -ENOMEM. */
int mapped_views_create(uint64_t budget_bytes, struct mapped_views **views_out);
void mapped_views_free(struct mapped_views *views);     /* NULL is ignored; no file is left */

/* Map @fd; where there is no address space for it, base is NULL. */
void mapped_file_open(struct mapped_file *file, struct mapped_views *views, int fd, uint64_t size_bytes);
void mapped_file_close(struct mapped_file *file);       /* one of zeros is ignored */

/* Where [@offset_bytes, + @size_bytes), which lies in the file, is to be looked at, under fault_guarded. NULL: it is
 * not mapped. Valid until the file is closed. */
const uint8_t *mapped_file_view(struct mapped_file *file, uint64_t offset_bytes, uint64_t size_bytes);

/* Bytes of the stretches that are counted. */
uint64_t mapped_views_bytes(const struct mapped_views *views);

#endif
