#include "stream.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"

/* All of them together fit a processor's own cache, so that what was copied is looked at
 * there. Measured, page cache dropped, 512 MiB: 0.34 s; with four of 1 MiB 0.68 s, with eight of
 * 128 KiB 0.41 s (medians of 5 on a busy machine). */
#define STREAM_BUFFERS 4u
#define STREAM_BUFFER_BYTES (256u << 10)
#define STREAM_BAD_MAX 64u              /* stretches noted one by one; the last grows beyond */

struct buffer {
	uint64_t at;
	size_t size_bytes;
	uint8_t *bytes;
};

struct bad_stretch {
	uint64_t at, size_bytes;
};

struct stream {
	int fd;
	uint64_t end;
	pthread_t thread;

	pthread_mutex_t lock;
	pthread_cond_t turn;
	/* under the lock; a filled buffer is the reader's until it is released */
	uint64_t filled, released;      /* buffers, counted from the start */
	bool stopping;
	struct bad_stretch bad[STREAM_BAD_MAX];
	unsigned bad_count;

	struct buffer buffers[STREAM_BUFFERS];
	/* the reader's own */
	const struct buffer *current;   /* NULL: none taken yet */
	uint64_t taken;                 /* buffers taken */
	unsigned bad_told;
	uint8_t *carry;                 /* what lies across buffers; ends within the current one */
	uint64_t carry_at;
	size_t carry_bytes, carry_room;
};

static void note_bad(void *context, uint64_t at, uint64_t size_bytes)
{
	struct stream *stream = context;
	struct bad_stretch *last;

	pthread_mutex_lock(&stream->lock);
	last = stream->bad_count ? &stream->bad[stream->bad_count - 1] : NULL;
	if (last && (last->at + last->size_bytes == at || stream->bad_count == STREAM_BAD_MAX))
		last->size_bytes = at + size_bytes - last->at;
	else
		stream->bad[stream->bad_count++] = (struct bad_stretch){ at, size_bytes };
	pthread_mutex_unlock(&stream->lock);
}

static void *fill_main(void *context)
{
	struct stream *stream = context;
	uint64_t at = stream->buffers[0].at;

	pthread_mutex_lock(&stream->lock);
	while (!stream->stopping && at < stream->end) {
		struct buffer *buffer = &stream->buffers[stream->filled % STREAM_BUFFERS];

		if (stream->filled - stream->released == STREAM_BUFFERS) {
			pthread_cond_wait(&stream->turn, &stream->lock);
			continue;
		}
		pthread_mutex_unlock(&stream->lock);
		buffer->at = at;
		buffer->size_bytes = STREAM_BUFFER_BYTES - at % IO_SECTOR_BYTES;
		if (buffer->size_bytes > stream->end - at)
			buffer->size_bytes = (size_t)(stream->end - at);
		io_read_salvage(stream->fd, buffer->bytes, buffer->size_bytes, buffer->at, note_bad, stream);
		at += buffer->size_bytes;
		pthread_mutex_lock(&stream->lock);
		stream->filled++;
		pthread_cond_signal(&stream->turn);
	}
	pthread_mutex_unlock(&stream->lock);
	return NULL;
}

static void stream_free(struct stream *stream)
{
	for (unsigned i = 0; i < STREAM_BUFFERS; i++)
		free(stream->buffers[i].bytes);
	pthread_cond_destroy(&stream->turn);
	pthread_mutex_destroy(&stream->lock);
	free(stream->carry);
	free(stream);
}

int stream_open(int fd, uint64_t from_bytes, uint64_t to_bytes, struct stream **stream_out)
{
	struct stream *stream = calloc(1, sizeof(*stream));
	int err = 0;

	*stream_out = NULL;
	if (!stream)
		return -ENOMEM;
	stream->fd = fd;
	stream->end = to_bytes;
	pthread_mutex_init(&stream->lock, NULL);
	pthread_cond_init(&stream->turn, NULL);
	for (unsigned i = 0; i < STREAM_BUFFERS && !err; i++) {
		stream->buffers[i].bytes = malloc(STREAM_BUFFER_BYTES);
		if (!stream->buffers[i].bytes)
			err = -ENOMEM;
	}
	stream->buffers[0].at = from_bytes;
	if (!err)
		err = -pthread_create(&stream->thread, NULL, fill_main, stream);
	if (err) {
		stream_free(stream);
		return err;
	}
	*stream_out = stream;
	return 0;
}

void stream_close(struct stream *stream)
{
	if (!stream)
		return;
	pthread_mutex_lock(&stream->lock);
	stream->stopping = true;
	pthread_cond_signal(&stream->turn);
	pthread_mutex_unlock(&stream->lock);
	pthread_join(stream->thread, NULL);
	stream_free(stream);
}

/* Give the current buffer back and wait for the next. */
static void next_buffer(struct stream *stream)
{
	pthread_mutex_lock(&stream->lock);
	if (stream->current) {
		stream->released++;
		pthread_cond_signal(&stream->turn);
	}
	while (stream->filled == stream->taken)
		pthread_cond_wait(&stream->turn, &stream->lock);
	pthread_mutex_unlock(&stream->lock);
	stream->current = &stream->buffers[stream->taken++ % STREAM_BUFFERS];
}

static uint64_t buffer_end(const struct stream *stream)
{
	return stream->current ? stream->current->at + stream->current->size_bytes : 0;
}

static int carry_reserve(struct stream *stream, size_t size_bytes)
{
	uint8_t *carry;

	if (size_bytes <= stream->carry_room)
		return 0;
	carry = realloc(stream->carry, size_bytes);
	if (!carry)
		return -ENOMEM;
	stream->carry = carry;
	stream->carry_room = size_bytes;
	return 0;
}

/* Lengthen the carry by what the current buffer has of [its end, @end). */
static void carry_append(struct stream *stream, uint64_t end)
{
	uint64_t from = stream->carry_at + stream->carry_bytes;
	uint64_t to = buffer_end(stream) < end ? buffer_end(stream) : end;

	if (to <= from)
		return;
	memcpy(stream->carry + stream->carry_bytes,
	       stream->current->bytes + (from - stream->current->at), (size_t)(to - from));
	stream->carry_bytes += (size_t)(to - from);
}

int stream_get(struct stream *stream, uint64_t at, size_t size_bytes, const uint8_t **bytes_out)
{
	uint64_t end = at + size_bytes;
	int err;

	*bytes_out = NULL;
	while (at >= buffer_end(stream) && size_bytes)
		next_buffer(stream);
	if (stream->current && at >= stream->current->at && end <= buffer_end(stream)) {
		*bytes_out = stream->current->bytes + (at - stream->current->at);
		return 0;
	}
	if (at >= stream->carry_at && end <= stream->carry_at + stream->carry_bytes) {
		*bytes_out = stream->carry + (at - stream->carry_at);
		return 0;
	}
	err = carry_reserve(stream, size_bytes);
	if (err)
		return err;
	if (stream->carry_bytes && at >= stream->carry_at &&
	    at < stream->carry_at + stream->carry_bytes) {
		stream->carry_bytes -= (size_t)(at - stream->carry_at);
		memmove(stream->carry, stream->carry + (at - stream->carry_at),
			stream->carry_bytes);
	} else {
		stream->carry_bytes = 0;
	}
	stream->carry_at = at;
	carry_append(stream, end);
	while (at + stream->carry_bytes < end) {
		next_buffer(stream);
		carry_append(stream, end);
	}
	*bytes_out = stream->carry;
	return 0;
}

int stream_next_bad(struct stream *stream, uint64_t *at_out, uint64_t *size_out)
{
	int none = 1;

	pthread_mutex_lock(&stream->lock);
	if (stream->bad_told < stream->bad_count) {
		*at_out = stream->bad[stream->bad_told].at;
		*size_out = stream->bad[stream->bad_told].size_bytes;
		stream->bad_told++;
		none = 0;
	}
	pthread_mutex_unlock(&stream->lock);
	return none;
}
