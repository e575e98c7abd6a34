/* Open layer, made anew for a repair: the log of a sealed layer is copied and sealed once more. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "fault.h"
#include "io.h"
#include "open_layer_internal.h"

#define COPY_BYTES (1u << 20)

/* A sector that can't be read costs the versions in it, if no heads are there. */
static int copy_log(int dir_fd, uint64_t layer_id, int to_fd, uint64_t log_end)
{
	char name[LAYER_NAME_BYTES];
	uint8_t *buffer = malloc(COPY_BYTES);
	int fd = -1, err = buffer ? 0 : -ENOMEM;

	layer_name(layer_id, name);
	if (!err)
		err = io_open(dir_fd, name, O_RDONLY, 0, &fd);
	for (uint64_t at = LAYER_HEADER_BYTES; at < log_end && !err; at += COPY_BYTES) {
		size_t here = log_end - at < COPY_BYTES ? (size_t)(log_end - at) : COPY_BYTES;

		io_read_salvage(fd, buffer, here, at, NULL, NULL);
		err = io_write(to_fd, buffer, here, at);
	}
	io_close(fd);
	free(buffer);
	return err;
}

struct mapped_log {
	struct open_layer *layer;
	uint64_t end;
};

/* Every version of the log, with the checksum that its head has, right or not. */
static int index_log(void *context)
{
	const struct mapped_log *log = context;
	struct open_layer *layer = log->layer;
	uint64_t at = LAYER_HEADER_BYTES;

	while (at < log->end) {
		struct batch_view batch;
		struct batch_view_entry entry;
		uint64_t end;

		if (batch_view_parse(layer->arena.base + at, log->end - at, &batch))
			return -EUCLEAN;
		if (version_index_prepare(layer->index, batch.entry_count))
			return -ENOMEM;
		end = at + batch.size_bytes;
		while (batch_view_next(&batch, &entry) == 0) {
			struct version_node node = {
				.checksum = entry.checksum,
				.lsn = (uint32_t)(end - LAYER_HEADER_BYTES),
				.offset = (uint32_t)(at + entry.payload_at),
				.size_bytes = entry.payload_bytes,
				.form = entry.form,
				.weight = entry.weight,
			};

			open_layer_take_entry(layer, entry.key, &node);
		}
		open_layer_take_end(layer, end, batch.chain, batch.time_ns);
		at = end;
	}
	return 0;
}

/* Room for the index of any log of this size: what is too much is cut by the seal. */
static uint64_t rebuild_capacity(uint64_t log_end)
{
	uint64_t versions = (log_end - LAYER_HEADER_BYTES) / 14 + 1;
	uint64_t bytes = (log_end + LAYER_BLOCK_BYTES) / LAYER_BLOCK_BYTES * LAYER_BLOCK_BYTES +
			 LAYER_BLOCK_BYTES +
			 layer_index_bytes((uint32_t)versions, (uint32_t)versions);

	return bytes < 2 * LAYER_SIZE_MAX ? bytes : 2 * LAYER_SIZE_MAX;
}

int open_layer_rebuild(int dir_fd, uint64_t layer_id, const struct store_identity *store,
		       const struct layer_footer *footer, const char *new_name,
		       uint64_t *file_bytes_out)
{
	uint64_t log_end = LAYER_HEADER_BYTES + footer->end.value - footer->start.value;
	struct layer_header header = { layer_id, footer->start, footer->chain_start };
	uint8_t bytes[LAYER_HEADER_BYTES];
	struct layer_footer sealed;
	struct open_layer *layer;
	int fd, err;

	*file_bytes_out = 0;
	err = open_layer_new(layer_id, store, &layer);
	if (err)
		return err;
	layer_header_encode(&header, store, bytes);
	err = io_open(dir_fd, new_name, O_RDWR | O_CREAT | O_TRUNC, 0600, &fd);
	if (!err)
		err = io_write(fd, bytes, sizeof(bytes), 0);
	if (!err)
		err = copy_log(dir_fd, layer_id, fd, log_end);
	/* A hole where the index will be: it is written, never stored through the mapping. */
	if (!err)
		err = io_truncate(fd, rebuild_capacity(log_end));
	io_close(fd);
	if (!err)
		err = arena_open(&layer->arena, dir_fd, new_name, true);
	if (err) {
		layer->arena.base = NULL;
		layer->arena.fd = -1;
		goto out;
	}
	layer->base.start = footer->start;
	layer->chain_start = footer->chain_start;
	layer->started = true;
	err = open_layer_make_index(layer);
	if (!err)
		err = fault_guarded(index_log, &(struct mapped_log){ layer, log_end });
	layer->chain = footer->chain_end;
	if (!err)
		err = open_layer_seal(layer, &sealed);
	if (!err)
		*file_bytes_out = ((uint64_t)sealed.footer_block + 1) * LAYER_BLOCK_BYTES;
out:
	open_layer_close(layer);
	if (err)
		io_unlink(dir_fd, new_name);
	return err;
}
