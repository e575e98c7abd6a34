#include "table_rebuild.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "io.h"
#include "table_layer_internal.h"
#include "table_writer.h"

struct rebuild {
	const struct table_summary *table;
	const struct store_identity *store;
	int fd;
	uint64_t file_bytes, at;        /* of the next block */
	uint8_t *stored, *bytes;        /* a block, as it is stored and decompressed */
	uint64_t version_count;
	struct table_writer *writer;
};

/* What a block says of itself; where it begins is known, with which key not yet. */
static int read_block(struct rebuild *rebuild, struct table_fence *fence)
{
	struct get_cursor c;
	int err;

	*fence = (struct table_fence){ .offset = rebuild->at };
	if (rebuild->at + TABLE_BLOCK_HEADER_BYTES > rebuild->file_bytes)
		return -EUCLEAN;
	err = io_read(rebuild->fd, rebuild->stored, TABLE_BLOCK_HEADER_BYTES, rebuild->at);
	if (err)
		return err;
	c = get_cursor(rebuild->stored + 8, 8);
	fence->stored_bytes = get_u32(&c);
	fence->block_bytes = get_u32(&c);
	if (fence->stored_bytes > TABLE_BLOCK_MAX || fence->block_bytes > TABLE_BLOCK_MAX)
		return -EUCLEAN;
	fence->stored_bytes += TABLE_BLOCK_HEADER_BYTES;
	if (rebuild->at + fence->stored_bytes > rebuild->file_bytes)
		return -EUCLEAN;
	return io_read(rebuild->fd, rebuild->stored, fence->stored_bytes, rebuild->at);
}

static int add_block(struct rebuild *rebuild)
{
	struct table_block block;
	int err = 0;

	table_block_view(rebuild->bytes, &block);
	for (uint32_t k = 0; k < block.key_count && !err; k++) {
		uint32_t end = table_block_first(&block, k + 1);

		for (uint32_t v = table_block_first(&block, k); v < end && !err; v++) {
			struct lsn lsn = table_block_lsn(&block, v);
			uint32_t back = table_u32(block.backs, v);

			err = table_writer_add(rebuild->writer, table_block_key(&block, k), lsn,
					       back ? lsn.value - back : 0, block.forms[v],
					       block.weights[v],
					       block.payloads + table_block_payload_at(&block, v),
					       table_block_payload_bytes(&block, v));
		}
	}
	rebuild->version_count += block.version_count;
	return err;
}

static int take_block(struct rebuild *rebuild)
{
	struct table_fence fence;
	int err = read_block(rebuild, &fence);

	/* What can't be read is damaged; that nothing can be written is another matter. */
	if (err == -EIO)
		err = -EBADMSG;
	if (!err)
		err = table_unpack_alone(rebuild->table, rebuild->store, &fence, rebuild->stored,
					 rebuild->bytes);
	rebuild->at += fence.stored_bytes;
	return err ? err : add_block(rebuild);
}

static bool says_the_same(const struct table_summary *a, const struct table_summary *b)
{
	return a->kind == b->kind && a->key_count == b->key_count &&
	       a->version_count == b->version_count && a->payload_bytes == b->payload_bytes &&
	       key_equal(a->first_key, b->first_key) && key_equal(a->last_key, b->last_key) &&
	       a->first_lsn.value == b->first_lsn.value && a->last_lsn.value == b->last_lsn.value;
}

static int open_file(struct rebuild *rebuild, int dir_fd)
{
	char name[LAYER_NAME_BYTES];
	int err;

	layer_name(rebuild->table->layer_id, name);
	err = io_open(dir_fd, name, O_RDONLY, 0, &rebuild->fd);
	if (!err)
		err = io_size(rebuild->fd, &rebuild->file_bytes);
	rebuild->stored = malloc(TABLE_BLOCK_MAX + TABLE_BLOCK_HEADER_BYTES);
	rebuild->bytes = malloc(TABLE_BLOCK_MAX);
	if (!err && (!rebuild->stored || !rebuild->bytes))
		err = -ENOMEM;
	return err;
}

int table_rebuild(int dir_fd, const struct table_summary *table, const struct store_identity *store,
		  uint64_t layer_id, enum compression compression, struct table_summary *summary_out)
{
	struct rebuild rebuild = { .table = table, .store = store, .fd = -1, .at = TABLE_HEADER_BYTES };
	const struct table_writer_options options = {
		.kind = table->kind, .run_id = table->run_id, .level = table->level,
		.number = table->number, .start = table->start, .end = table->end,
		.oldest = table->oldest, .compression = compression,
	};
	char name[LAYER_NAME_BYTES];
	int err = open_file(&rebuild, dir_fd);

	memset(summary_out, 0, sizeof(*summary_out));
	if (!err)
		err = table_writer_open(dir_fd, layer_id, store, &options, &rebuild.writer);
	while (!err && rebuild.version_count < table->version_count)
		err = take_block(&rebuild);
	if (!err)
		err = table_writer_finish(rebuild.writer, table->ending, summary_out);
	if (!err && !says_the_same(summary_out, table)) {
		layer_name(layer_id, name);
		io_unlink(dir_fd, name);
		err = -EUCLEAN;
	}
	table_writer_free(rebuild.writer);
	free(rebuild.stored);
	free(rebuild.bytes);
	io_close(rebuild.fd);
	return err;
}
