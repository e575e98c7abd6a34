/*
 * Compress: the block compressions of table layers, LZ4 and Zstandard.
 *
 * A compressor has the memory that compressing takes, for one thread at a time.
 * Decompressing takes none but Zstandard's context, of which each thread keeps one.
 */
#ifndef VARVE_LAYERS_COMPRESS_H
#define VARVE_LAYERS_COMPRESS_H

#include <stddef.h>
#include <stdint.h>

#include "table_summary.h"

struct compressor;

/* COMPRESSION_DEFAULT is what compression_resolve says. 0; -EINVAL: no such compression; -ENOMEM. */
int compressor_new(enum compression compression, struct compressor **compressor_out);
void compressor_free(struct compressor *compressor);    /* NULL is ignored */

/* What a layer is compressed with where nothing else was asked for. */
enum compression compression_resolve(enum compression compression);

/*
 * Compress @size_bytes to @stored, which has room for as many. Returns what it is stored with
 * and *stored_bytes_out; COMPRESSION_NONE: it saves less than a sixteenth, @stored is not used.
 */
enum compression compressor_run(struct compressor *compressor, const void *bytes,
				size_t size_bytes, void *stored, size_t *stored_bytes_out);

/* Undo it: exactly @size_bytes come out. 0; -EUCLEAN: the bytes are not that; -ENOMEM. Any thread. */
int decompress(enum compression compression, const void *stored, size_t stored_bytes, void *bytes,
	       size_t size_bytes);

#endif
