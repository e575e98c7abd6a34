/*
 * Content: bytes like those of a database's pages, made again at will from a seed.
 * They come in rows of which a part is random and the rest repeats, so that a
 * compressor finds in them about what it finds in tables.
 */
#ifndef VARVE_BENCH_CONTENT_H
#define VARVE_BENCH_CONTENT_H

#include <stddef.h>
#include <stdint.h>

#define CONTENT_RANDOM_PERCENT 25u

/* Fill @size_bytes, a multiple of 8. The same seed and percentage give the same bytes. */
void content_fill(uint64_t seed, unsigned random_percent, uint8_t *bytes_out, size_t size_bytes);

#endif
