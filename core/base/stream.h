/*
 * Stream: a file read once, from front to back, by a thread that runs ahead.
 *
 * The disk is kept busy while what was read is looked at: a thread of the stream's
 * own fills one buffer after another with large reads. The reader of the stream
 * sees contiguous bytes wherever it asks, and asks only forward.
 *
 * What can't be read counts as zeros and is noted: a bad sector costs what lies in
 * it, not what follows. Memory: STREAM_BUFFERS buffers, and the largest stretch
 * that was asked for across a border of two.
 */
#ifndef VARVE_BASE_STREAM_H
#define VARVE_BASE_STREAM_H

#include <stddef.h>
#include <stdint.h>

struct stream;

/* Begin to read [@from_bytes, @to_bytes) of @fd, which is borrowed. 0; -ENOMEM; -errno: no thread. */
int stream_open(int fd, uint64_t from_bytes, uint64_t to_bytes, struct stream **stream_out);
void stream_close(struct stream *stream);       /* NULL is ignored */

/*
 * The bytes [@at, @at + @size_bytes), within the stream's range; valid until the next call. @at
 * is not below that of the call before. 0; -ENOMEM.
 */
int stream_get(struct stream *stream, uint64_t at, size_t size_bytes, const uint8_t **bytes_out);

/* The next stretch that could not be read, in order, of those that were passed.
 * 0; 1: no more yet. */
int stream_next_bad(struct stream *stream, uint64_t *at_out, uint64_t *size_out);

#endif
