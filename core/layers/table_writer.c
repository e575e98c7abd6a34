#include "table_writer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "compress.h"
#include "io.h"
#include "table_format.h"

#define BUFFER_BYTES (1u << 20) /* written at once; a multiple of what disks like */

/* The block that is being filled, its columns apart until it is full. */
struct open_block {
	struct key *keys;
	uint32_t *firsts;
	uint32_t key_count, key_room;
	struct block_version {
		struct lsn lsn;
		uint32_t size_bytes, back;
		uint8_t form, weight;
	} *versions;
	uint32_t version_count, version_room;
	uint8_t *payloads;              /* TABLE_BLOCK_MAX */
	uint32_t payload_bytes;
};

struct table_writer {
	int dir_fd, fd;                 /* -1: a dry run */
	const struct store_identity *store;
	struct table_writer_options options;
	struct table_summary summary;   /* what is known so far */
	struct compressor *compressor;
	struct open_block block;
	uint8_t *plain, *stored;        /* a whole block, decompressed and as stored */
	struct table_fence *fences;
	uint64_t fence_count, fence_room;
	uint64_t *hashes;               /* of the keys, for the filter */
	uint64_t hash_count, hash_room;
	uint8_t *buffer;                /* of BUFFER_BYTES: the end of the file, not yet written */
	uint32_t buffered_bytes;
	uint64_t written_bytes;         /* of the file, before the buffer */
	struct key key;                 /* the last version added */
	struct lsn lsn;
	bool named, finished;           /* the file is there; it is a layer */
};

/* Make room for @count elements of an array. */
static int make_room(void **array, uint64_t *room, uint64_t count, size_t element_bytes)
{
	uint64_t more = *room ? 2 * *room : 64;
	void *larger;

	if (count <= *room)
		return 0;
	larger = realloc(*array, more * element_bytes);
	if (!larger)
		return -ENOMEM;
	*array = larger;
	*room = more;
	return 0;
}

static int buffer_write(struct table_writer *writer)
{
	int err = 0;

	if (writer->fd >= 0 && writer->buffered_bytes) {
		err = io_write(writer->fd, writer->buffer, writer->buffered_bytes,
			       writer->written_bytes);
		/* On its way while the next is made, so that the sync at the end is short. */
		io_write_back(writer->fd, writer->written_bytes, writer->buffered_bytes);
	}
	writer->written_bytes += writer->buffered_bytes;
	writer->buffered_bytes = 0;
	return err;
}

static int put(struct table_writer *writer, const uint8_t *bytes, size_t size_bytes)
{
	int err = 0;

	while (size_bytes && !err) {
		size_t here = BUFFER_BYTES - writer->buffered_bytes;

		if (here > size_bytes)
			here = size_bytes;
		memcpy(writer->buffer + writer->buffered_bytes, bytes, here);
		writer->buffered_bytes += (uint32_t)here;
		bytes += here;
		size_bytes -= here;
		if (writer->buffered_bytes == BUFFER_BYTES)
			err = buffer_write(writer);
	}
	return err;
}

static uint64_t file_end(const struct table_writer *writer)
{
	return writer->written_bytes + writer->buffered_bytes;
}

static int put_header(struct table_writer *writer)
{
	const struct table_header header = {
		.layer_id = writer->summary.layer_id,
		.start = writer->options.start,
		.end = writer->options.end,
	};
	uint8_t bytes[TABLE_HEADER_BYTES];

	table_header_encode(&header, writer->store, bytes);
	return put(writer, bytes, sizeof(bytes));
}

static int create_file(struct table_writer *writer)
{
	char name[LAYER_NAME_BYTES];
	int err;

	if (writer->dir_fd < 0)
		return 0;
	layer_name(writer->summary.layer_id, name);
	err = io_open(writer->dir_fd, name, O_RDWR | O_CREAT | O_TRUNC, 0600, &writer->fd);
	writer->named = !err;
	return err;
}

int table_writer_open(int dir_fd, uint64_t layer_id, const struct store_identity *store,
		      const struct table_writer_options *options, struct table_writer **writer_out)
{
	struct table_writer *writer = calloc(1, sizeof(*writer));
	int err;

	assert(options->start.value < options->end.value && options->end.value < LSN_LIMIT);
	*writer_out = NULL;
	if (!writer)
		return -ENOMEM;
	writer->dir_fd = dir_fd;
	writer->fd = -1;
	writer->store = store;
	writer->options = *options;
	writer->summary = (struct table_summary){
		.layer_id = layer_id, .run_id = options->run_id, .kind = options->kind,
		.level = options->level, .number = options->number, .start = options->start,
		.end = options->end, .oldest = options->oldest,
	};
	writer->buffer = malloc(BUFFER_BYTES);
	writer->plain = malloc(TABLE_BLOCK_MAX);
	writer->stored = malloc(TABLE_BLOCK_MAX + TABLE_BLOCK_HEADER_BYTES);
	writer->block.payloads = malloc(TABLE_BLOCK_MAX);
	err = compressor_new(options->compression, &writer->compressor);
	if (!err && (!writer->buffer || !writer->plain || !writer->stored ||
		     !writer->block.payloads))
		err = -ENOMEM;
	if (!err)
		err = create_file(writer);
	if (!err)
		err = put_header(writer);
	if (err) {
		table_writer_free(writer);
		return err;
	}
	*writer_out = writer;
	return 0;
}

void table_writer_free(struct table_writer *writer)
{
	char name[LAYER_NAME_BYTES];

	if (!writer)
		return;
	io_close(writer->fd);
	if (writer->named && !writer->finished) {
		layer_name(writer->summary.layer_id, name);
		(void)io_unlink(writer->dir_fd, name);
	}
	compressor_free(writer->compressor);
	free(writer->block.keys);
	free(writer->block.firsts);
	free(writer->block.versions);
	free(writer->block.payloads);
	free(writer->plain);
	free(writer->stored);
	free(writer->fences);
	free(writer->hashes);
	free(writer->buffer);
	free(writer);
}

static uint8_t *put_column_u32(uint8_t *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
	return at + sizeof(value);
}

static uint8_t *put_column_u64(uint8_t *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof(value));
	return at + sizeof(value);
}

/* Lay the columns out. Returns the bytes of the block. */
static uint32_t block_encode(const struct open_block *block, uint8_t *bytes)
{
	uint8_t *at = bytes;

	at = put_column_u32(at, block->key_count);
	at = put_column_u32(at, block->version_count);
	for (uint32_t k = 0; k < block->key_count; k++)
		at = put_column_u64(at, block->keys[k].ino);
	for (uint32_t k = 0; k < block->key_count; k++)
		at = put_column_u64(at, block->keys[k].sub);
	for (uint32_t k = 0; k < block->key_count; k++)
		at = put_column_u32(at, block->firsts[k]);
	for (uint32_t v = 0; v < block->version_count; v++)
		at = put_column_u32(at, (uint32_t)block->versions[v].lsn.value);
	for (uint32_t v = 0; v < block->version_count; v++)
		at = put_column_u32(at, (uint32_t)(block->versions[v].lsn.value >> 32));
	for (uint32_t v = 0; v < block->version_count; v++)
		at = put_column_u32(at, block->versions[v].size_bytes);
	for (uint32_t v = 0; v < block->version_count; v++)
		at = put_column_u32(at, block->versions[v].back);
	for (uint32_t v = 0; v < block->version_count; v++)
		*at++ = block->versions[v].form;
	for (uint32_t v = 0; v < block->version_count; v++)
		*at++ = block->versions[v].weight;
	memcpy(at, block->payloads, block->payload_bytes);
	return (uint32_t)(at - bytes) + block->payload_bytes;
}

/* Store the open block and begin another. */
static int block_cut(struct table_writer *writer)
{
	struct open_block *block = &writer->block;
	struct table_fence *fence;
	uint8_t *behind_header = writer->stored + TABLE_BLOCK_HEADER_BYTES;
	enum compression compression;
	size_t stored_bytes;
	void *fences = writer->fences;

	if (!block->version_count)
		return 0;
	if (make_room(&fences, &writer->fence_room, writer->fence_count + 1, sizeof(*fence)))
		return -ENOMEM;
	writer->fences = fences;
	fence = &writer->fences[writer->fence_count++];
	*fence = (struct table_fence){ .key = block->keys[0], .lsn = block->versions[0].lsn,
				       .offset = file_end(writer) };
	fence->block_bytes = block_encode(block, writer->plain);
	compression = compressor_run(writer->compressor, writer->plain, fence->block_bytes,
				     behind_header, &stored_bytes);
	if (compression == COMPRESSION_NONE)
		memcpy(behind_header, writer->plain, stored_bytes);
	fence->stored_bytes = (uint32_t)stored_bytes + TABLE_BLOCK_HEADER_BYTES;
	table_block_seal(writer->stored, fence, compression, writer->store,
			 writer->summary.layer_id);
	block->key_count = block->version_count = block->payload_bytes = 0;
	return put(writer, writer->stored, fence->stored_bytes);
}

static int block_make_room(struct open_block *block)
{
	uint64_t room = block->version_room;
	void *versions = block->versions;
	int err = make_room(&versions, &room, block->version_count + 1, sizeof(*block->versions));

	block->versions = versions;
	block->version_room = (uint32_t)room;
	if (!err && block->key_count == block->key_room) {
		uint64_t key_room = block->key_room, first_room = block->key_room;
		void *keys = block->keys, *firsts = block->firsts;

		err = make_room(&keys, &key_room, block->key_count + 1, sizeof(*block->keys));
		block->keys = keys;
		if (!err)
			err = make_room(&firsts, &first_room, block->key_count + 1,
					sizeof(*block->firsts));
		block->firsts = firsts;
		if (!err)
			block->key_room = (uint32_t)first_room;
	}
	return err;
}

/* Is it what may come next? */
static int check_version(const struct table_writer *writer, struct key key, struct lsn lsn,
			 uint64_t position, uint8_t form, uint8_t weight, uint32_t size_bytes)
{
	int order = writer->summary.version_count ? key_compare(writer->key, key) : -1;

	if (size_bytes > TABLE_PAYLOAD_MAX)
		return -EFBIG;
	if (order > 0 || (order == 0 && lsn.value <= writer->lsn.value) ||
	    lsn.value <= writer->options.start.value || lsn.value > writer->options.end.value ||
	    position > lsn.value || (position && lsn.value - position > UINT32_MAX) ||
	    form < VERSION_IMAGE || form > VERSION_LOST || weight > VERSION_WEIGHT_MAX)
		return -EUCLEAN;
	return 0;
}

static int add_key(struct table_writer *writer, struct key key)
{
	void *hashes = writer->hashes;
	int err = make_room(&hashes, &writer->hash_room, writer->hash_count + 1, sizeof(uint64_t));

	writer->hashes = hashes;
	if (err)
		return err;
	writer->hashes[writer->hash_count++] = key_hash(key);
	writer->summary.key_count++;
	return 0;
}

static void summary_add(struct table_writer *writer, struct key key, struct lsn lsn, bool same_key,
			uint8_t weight, uint32_t size_bytes)
{
	struct table_summary *summary = &writer->summary;

	if (!summary->version_count) {
		summary->first_key = key;
		summary->first_lsn = lsn;
	}
	if (same_key || weight)
		summary->kind = TABLE_DELTA;
	summary->version_count++;
	summary->payload_bytes += size_bytes;
	summary->last_key = key;
	summary->last_lsn = lsn;
	summary->ino_max = key.ino;     /* keys ascend */
	writer->key = key;
	writer->lsn = lsn;
}

int table_writer_add(struct table_writer *writer, struct key key, struct lsn lsn, uint64_t position,
		     uint8_t form, uint8_t weight, const void *payload, uint32_t size_bytes)
{
	struct open_block *block = &writer->block;
	bool same_key = writer->summary.version_count && key_equal(key, writer->key);
	int err = check_version(writer, key, lsn, position, form, weight, size_bytes);

	if (!err && table_block_bytes(block->key_count + 1, block->version_count + 1,
				      (uint64_t)block->payload_bytes + size_bytes) >
			    TABLE_BLOCK_TARGET_BYTES)
		err = block_cut(writer);
	if (!err)
		err = block_make_room(block);
	if (!err && !same_key)
		err = add_key(writer, key);
	if (err)
		return err;
	if (!same_key || !block->version_count) {
		block->keys[block->key_count] = key;
		block->firsts[block->key_count++] = block->version_count;
	}
	block->versions[block->version_count++] = (struct block_version){
		.lsn = lsn, .size_bytes = size_bytes, .form = form, .weight = weight,
		.back = position ? (uint32_t)(lsn.value - position) : 0,
	};
	if (size_bytes)
		memcpy(block->payloads + block->payload_bytes, payload, size_bytes);
	block->payload_bytes += size_bytes;
	summary_add(writer, key, lsn, same_key, weight, size_bytes);
	return 0;
}

uint64_t table_writer_bytes(const struct table_writer *writer)
{
	const struct open_block *block = &writer->block;
	struct table_shape shape;
	uint64_t data_end = file_end(writer) +
			    table_block_bytes(block->key_count, block->version_count,
					      block->payload_bytes);

	if (table_shape_make(data_end, writer->fence_count + 1, writer->summary.key_count, &shape))
		return data_end;
	return table_shape_file_bytes(&shape);
}

uint64_t table_writer_memory_bytes(const struct table_writer *writer)
{
	return BUFFER_BYTES + writer->hash_room * sizeof(*writer->hashes) +
	       writer->fence_room * sizeof(*writer->fences);
}

uint64_t table_writer_count(const struct table_writer *writer)
{
	return writer->summary.version_count;
}

static int put_zeros_to_block(struct table_writer *writer)
{
	static const uint8_t zeros[LAYER_BLOCK_BYTES];
	uint64_t over = file_end(writer) % LAYER_BLOCK_BYTES;

	return over ? put(writer, zeros, LAYER_BLOCK_BYTES - over) : 0;
}

/* Put an index block that is filled but for its checksum. */
static int put_block(struct table_writer *writer, uint8_t block[LAYER_BLOCK_BYTES])
{
	layer_block_seal(block, writer->store, writer->summary.layer_id,
			 (uint32_t)(file_end(writer) / LAYER_BLOCK_BYTES));
	return put(writer, block, LAYER_BLOCK_BYTES);
}

static int put_filter(struct table_writer *writer, const struct table_shape *shape)
{
	uint8_t *lines = calloc(shape->filter_lines, LAYER_FILTER_LINE_BYTES);
	int err = 0;

	if (!lines)
		return -ENOMEM;
	for (uint64_t i = 0; i < writer->hash_count; i++)
		layer_filter_line_set(lines + (size_t)layer_filter_line(writer->hashes[i],
									shape->filter_lines) *
						      LAYER_FILTER_LINE_BYTES,
				      writer->hashes[i]);
	for (uint32_t i = 0; i < shape->filter_lines && !err; i += LAYER_FILTER_LINES_PER_BLOCK) {
		uint8_t block[LAYER_BLOCK_BYTES] = { 0 };
		uint32_t count = shape->filter_lines - i;

		if (count > LAYER_FILTER_LINES_PER_BLOCK)
			count = LAYER_FILTER_LINES_PER_BLOCK;
		memcpy(block, lines + (size_t)i * LAYER_FILTER_LINE_BYTES,
		       (size_t)count * LAYER_FILTER_LINE_BYTES);
		err = put_block(writer, block);
	}
	free(lines);
	return err;
}

static int put_fences(struct table_writer *writer)
{
	int err = 0;

	for (uint64_t i = 0; i < writer->fence_count && !err; i += TABLE_FENCES_PER_BLOCK) {
		uint8_t block[LAYER_BLOCK_BYTES] = { 0 };

		for (uint64_t j = 0; j < TABLE_FENCES_PER_BLOCK && i + j < writer->fence_count; j++)
			table_fence_encode(&writer->fences[i + j], block + j * TABLE_FENCE_BYTES);
		err = put_block(writer, block);
	}
	return err;
}

static int put_tops(struct table_writer *writer)
{
	const uint64_t stride = (uint64_t)TABLE_FENCES_PER_BLOCK * TABLE_TOPS_PER_BLOCK;
	int err = 0;

	for (uint64_t i = 0; i < writer->fence_count && !err; i += stride) {
		uint8_t block[LAYER_BLOCK_BYTES] = { 0 };

		for (uint64_t j = 0; j < TABLE_TOPS_PER_BLOCK; j++) {
			uint64_t fence = i + j * TABLE_FENCES_PER_BLOCK;
			uint8_t bytes[TABLE_FENCE_BYTES];

			if (fence >= writer->fence_count)
				break;
			table_fence_encode(&writer->fences[fence], bytes);
			memcpy(block + j * TABLE_TOP_BYTES, bytes, TABLE_TOP_BYTES);
		}
		err = put_block(writer, block);
	}
	return err;
}

int table_writer_finish(struct table_writer *writer, enum table_ending ending,
			struct table_summary *summary_out)
{
	uint8_t footer[LAYER_BLOCK_BYTES];
	struct table_shape shape;
	int err;

	assert(writer->summary.version_count && !writer->finished);
	memset(summary_out, 0, sizeof(*summary_out));
	writer->summary.ending = ending;
	err = block_cut(writer);
	if (!err)
		err = table_shape_make(file_end(writer), writer->fence_count,
				       writer->summary.key_count, &shape);
	if (!err)
		err = put_zeros_to_block(writer);
	if (!err)
		err = put_filter(writer, &shape);
	if (!err)
		err = put_fences(writer);
	if (!err)
		err = put_tops(writer);
	if (!err) {
		table_footer_encode(&writer->summary, &shape, writer->store, footer);
		err = put(writer, footer, sizeof(footer));
	}
	if (!err)
		err = buffer_write(writer);
	if (!err && writer->fd >= 0)
		err = io_sync(writer->fd);
	if (err)
		return err;
	writer->finished = true;
	*summary_out = writer->summary;
	return 0;
}
