#include "sealed_cursor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "codec.h"
#include "io.h"
#include "open_layer.h"
#include "sealed_layer.h"
#include "stream.h"

#define LOG_WINDOW_BYTES (16u << 10)    /* of payloads, read at once */

/* Blocks of one part of the index, read some at a time. */
struct block_window {
	uint8_t *bytes;
	uint32_t room;                  /* blocks; read at once */
	uint32_t first, count;          /* which are there, by number in the file */
	uint32_t from, until;           /* the part */
	uint32_t good;                  /* number of the block that was verified last; 0: none */
};

struct sealed_cursor {
	struct sealed_layer *layer;
	const struct layer_footer *footer;
	struct block_window keys, versions;
	uint32_t key_number;            /* of the key that comes next, or whose versions come */
	struct key key;
	uint32_t version_first, version_left;   /* of it: left to come, the oldest is the last record */
	struct key key_before;
	struct lsn lsn_before;
	uint8_t *payload;
	uint32_t payload_room;
	uint8_t log[LOG_WINDOW_BYTES];  /* part of the log */
	uint64_t log_at, log_next;      /* where it lies in the file; the end of the payload read last */
	size_t log_bytes;
};

static int window_init(struct block_window *window, uint32_t from, uint32_t until, uint32_t room)
{
	window->bytes = malloc((size_t)room * LAYER_BLOCK_BYTES);
	window->room = room;
	window->from = from;
	window->until = until;
	return window->bytes ? 0 : -ENOMEM;
}

static int window_read(const struct sealed_cursor *cursor, struct block_window *window,
		       uint32_t number)
{
	uint32_t count, first = number;
	int err;

	/* Backward, along the versions of one key, as well as forward. */
	if (window->count && number < window->first)
		first = number - window->from < window->room ? window->from
							     : number + 1 - window->room;
	count = window->until - first;
	if (count > window->room)
		count = window->room;
	window->count = window->good = 0;
	err = io_read(sealed_layer_fd(cursor->layer), window->bytes,
		      (size_t)count * LAYER_BLOCK_BYTES, (uint64_t)first * LAYER_BLOCK_BYTES);
	if (err)
		return err;
	window->first = first;
	window->count = count;
	return 0;
}

static int window_get(const struct sealed_cursor *cursor, struct block_window *window,
		      uint32_t number, const uint8_t **bytes_out)
{
	const struct layer *layer = sealed_layer_base(cursor->layer);
	int err;

	if (number < window->first || number - window->first >= window->count) {
		err = window_read(cursor, window, number);
		if (err)
			return err;
	}
	*bytes_out = window->bytes + (size_t)(number - window->first) * LAYER_BLOCK_BYTES;
	if (number == window->good)
		return 0;
	if (!layer_block_good(*bytes_out, layer->store, layer->id, number))
		return -EBADMSG;
	window->good = number;
	return 0;
}

static int read_key(struct sealed_cursor *cursor, uint32_t number, struct key *key_out)
{
	const struct layer_footer *footer = cursor->footer;
	const uint8_t *bytes;
	struct get_cursor c;
	int err = window_get(cursor, &cursor->keys, footer->key_block + number / LAYER_KEYS_PER_BLOCK,
			     &bytes);

	if (err)
		return err;
	c = get_cursor(bytes + (size_t)(number % LAYER_KEYS_PER_BLOCK) * LAYER_KEY_BYTES,
		       LAYER_KEY_BYTES);
	key_out->ino = get_u64(&c);
	key_out->sub = get_u64(&c);
	cursor->version_first = get_u32(&c);
	cursor->version_left = get_u32(&c);
	if (cursor->version_left == 0 || cursor->version_first > footer->version_count ||
	    cursor->version_left > footer->version_count - cursor->version_first)
		return -EUCLEAN;
	return 0;
}

/* Find the first key >= @from. */
static int seek(struct sealed_cursor *cursor, struct key from)
{
	uint32_t low = 0, high = cursor->footer->key_count;
	int err = 0;

	while (low < high && !err) {
		uint32_t middle = low + (high - low) / 2;
		struct key key;

		err = read_key(cursor, middle, &key);
		if (!err && key_compare(key, from) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	cursor->key_number = low;
	cursor->version_left = 0;
	return err;
}

int sealed_cursor_open(struct layer *layer, struct key from, uint32_t window_bytes,
		       struct sealed_cursor **cursor_out)
{
	/* A half for the keys, a half for the versions. */
	uint32_t blocks = window_bytes / 2 / LAYER_BLOCK_BYTES, room = blocks ? blocks : 1;
	struct sealed_cursor *cursor = calloc(1, sizeof(*cursor));
	const struct layer_footer *footer;
	int err;

	*cursor_out = NULL;
	if (!cursor)
		return -ENOMEM;
	cursor->layer = (struct sealed_layer *)layer;
	cursor->footer = footer = sealed_layer_footer(cursor->layer);
	err = window_init(&cursor->keys, footer->key_block, footer->version_block, room);
	if (!err)
		err = window_init(&cursor->versions, footer->version_block, footer->fence_block,
				  room);
	if (!err)
		err = seek(cursor, from);
	if (err) {
		sealed_cursor_close(cursor);
		return err;
	}
	/* Payloads are met in no order of the file's. */
	io_prefetch(sealed_layer_fd(cursor->layer), 0, sealed_layer_file_bytes(cursor->layer));
	*cursor_out = cursor;
	return 0;
}

void sealed_cursor_close(struct sealed_cursor *cursor)
{
	if (!cursor)
		return;
	free(cursor->keys.bytes);
	free(cursor->versions.bytes);
	free(cursor->payload);
	free(cursor);
}

static int read_version(struct sealed_cursor *cursor, uint32_t number, struct version *version_out)
{
	const struct layer_footer *footer = cursor->footer;
	const uint8_t *bytes;
	struct get_cursor c;
	int err = window_get(cursor, &cursor->versions,
			     footer->version_block + number / LAYER_VERSIONS_PER_BLOCK, &bytes);

	if (err)
		return err;
	c = get_cursor(bytes + (size_t)(number % LAYER_VERSIONS_PER_BLOCK) * LAYER_VERSION_BYTES,
		       LAYER_VERSION_BYTES);
	*version_out = (struct version){ .layer = sealed_layer_base(cursor->layer),
					 .key = cursor->key };
	version_out->lsn = lsn_make(footer->start.value + get_u32(&c));
	version_out->offset = get_u32(&c);
	version_out->size_bytes = get_u32(&c);
	version_out->form = get_u8(&c);
	version_out->weight = get_u8(&c);
	get_u16(&c);
	version_out->checksum = get_u64(&c);
	return 0;
}

/* It lies in the log, before the LSN of its batch, and above the version before. */
static bool is_possible(const struct sealed_cursor *cursor, const struct version *version)
{
	int order = key_compare(cursor->key_before, version->key);

	return version->form >= VERSION_IMAGE && version->form <= VERSION_TOMBSTONE &&
	       version->weight <= VERSION_WEIGHT_MAX && version->offset >= LAYER_HEADER_BYTES &&
	       version->lsn.value > cursor->footer->start.value &&
	       version->lsn.value <= cursor->footer->end.value &&
	       version_position(version) + version->size_bytes <= version->lsn.value &&
	       (cursor->lsn_before.value == 0 || order < 0 ||
		(order == 0 && cursor->lsn_before.value < version->lsn.value));
}

/* Bytes of the log. Where payloads lie one behind the other, as a file's attributes do, more is read than is
 * asked for; else it would be read for nothing. */
static int log_read(struct sealed_cursor *cursor, uint64_t at, uint32_t size_bytes)
{
	bool near = at >= cursor->log_next && at - cursor->log_next < LOG_WINDOW_BYTES / 2;
	int err;

	cursor->log_next = at + size_bytes;
	if (at < cursor->log_at || at + size_bytes > cursor->log_at + cursor->log_bytes) {
		if (!near || size_bytes > LOG_WINDOW_BYTES / 2)
			return io_read(sealed_layer_fd(cursor->layer), cursor->payload, size_bytes, at);
		cursor->log_at = at;
		err = io_read_up_to(sealed_layer_fd(cursor->layer), cursor->log, LOG_WINDOW_BYTES, at,
				    &cursor->log_bytes);
		if (!err && cursor->log_bytes < size_bytes)
			err = -EUCLEAN;
		if (err) {
			cursor->log_bytes = 0;
			return err;
		}
	}
	memcpy(cursor->payload, cursor->log + (at - cursor->log_at), size_bytes);
	return 0;
}

/* Read and verify the payload. */
static int read_payload(struct sealed_cursor *cursor, const struct version *version)
{
	int err;

	if (version->size_bytes > cursor->payload_room || !cursor->payload) {
		free(cursor->payload);
		cursor->payload_room = 0;
		cursor->payload = malloc((size_t)version->size_bytes + 1);
		if (!cursor->payload)
			return -ENOMEM;
		cursor->payload_room = version->size_bytes;
	}
	err = log_read(cursor, version->offset, version->size_bytes);
	if (err)
		return err;
	return checksum(cursor->payload, version->size_bytes,
			checksum_version_seed(version->layer->store->seed, version->key, version->lsn,
					      version->form, version->weight)) == version->checksum
		       ? 0 : -EBADMSG;
}

/* The version that comes next. 0; 1: there is none; -errno: the index is damaged. */
static int next_version(struct sealed_cursor *cursor, struct version *version_out)
{
	int err = 0;

	if (!cursor->version_left) {
		if (cursor->key_number == cursor->footer->key_count)
			return 1;
		err = read_key(cursor, cursor->key_number, &cursor->key);
		if (err)
			cursor->version_left = 0;
		else
			cursor->key_number++;
	}
	if (!err)
		err = read_version(cursor, cursor->version_first + cursor->version_left - 1,
				   version_out);
	if (!err && !is_possible(cursor, version_out))
		err = -EUCLEAN;
	return err;
}

int sealed_cursor_next(struct sealed_cursor *cursor, struct table_entry *entry_out)
{
	struct version version;
	int err = next_version(cursor, &version);

	memset(entry_out, 0, sizeof(*entry_out));
	if (err)
		return err;
	err = read_payload(cursor, &version);
	if (err && err != -EBADMSG)
		return err;
	cursor->version_left--;
	cursor->key_before = version.key;
	cursor->lsn_before = version.lsn;
	*entry_out = (struct table_entry){
		.key = version.key,
		.lsn = version.lsn,
		.position = key_kind(version.key) == KEY_ATTR ? version_position(&version) : 0,
		.form = version.form,
		.weight = version.weight,
		.size_bytes = version.size_bytes,
		.payload = err ? NULL : cursor->payload,
	};
	return err;
}

/* The batch at @at of the file, its payloads not looked at. 0; 1: it does not follow; -ENOMEM. */
static int batch_at(struct stream *stream, uint64_t at, uint64_t end, uint64_t chain,
		    struct batch_view *batch_out)
{
	struct get_cursor c;
	const uint8_t *bytes;
	uint32_t size;
	int err;

	if (end - at < BATCH_HEADER_BYTES)
		return 1;
	err = stream_get(stream, at, BATCH_HEADER_BYTES, &bytes);
	if (err)
		return err;
	c = get_cursor(bytes + 8, 4);
	size = get_u32(&c);
	if (size < BATCH_HEADER_BYTES || size > end - at)
		return 1;
	err = stream_get(stream, at, size, &bytes);
	return err ? err : batch_view_open(bytes, size, chain, batch_out);
}

/* The log in @fd, of which @end bytes are there. */
static int log_each_time(int fd, struct lsn start, uint64_t end, uint64_t chain, sealed_time_fn *fn,
			 void *context)
{
	uint64_t at = LAYER_HEADER_BYTES;
	struct batch_view batch;
	struct stream *stream;
	int err = stream_open(fd, at, end, &stream);

	if (err)
		return err;
	while (!err && at < end) {
		err = batch_at(stream, at, end, chain, &batch);
		if (err == 1)
			err = -EBADMSG;
		if (err)
			break;
		at += batch.size_bytes;
		chain = batch.chain;
		err = fn(context, lsn_make(start.value + at - LAYER_HEADER_BYTES), batch.time_ns);
	}
	stream_close(stream);
	return err;
}

int sealed_each_time(struct layer *layer, sealed_time_fn *fn, void *context)
{
	struct sealed_layer *sealed = (struct sealed_layer *)layer;
	const struct layer_footer *footer = sealed_layer_footer(sealed);

	return log_each_time(sealed_layer_fd(sealed), footer->start,
			     LAYER_HEADER_BYTES + footer->end.value - footer->start.value,
			     footer->chain_start, fn, context);
}

int open_each_time(struct open_layer *layer, sealed_time_fn *fn, void *context)
{
	return log_each_time(layer->arena.fd, layer->base.start, atomic_load(&layer->tail),
			     layer->chain_start, fn, context);
}
