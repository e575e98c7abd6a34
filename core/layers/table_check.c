#include "table_check.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "log_check.h"
#include "table_layer_internal.h"

struct table_walk {
	const struct layer_check_target *target;
	const struct table_summary *table;
	const struct check_hooks *hooks;
	struct layer_check_result *result;
	int fd;
	uint64_t file_bytes;            /* what there is */
	struct table_shape shape;
	uint8_t *filter;                /* all its lines; ones where a block is bad */
	struct table_fence *fences;     /* of each data block; stored_bytes 0: not known */
	uint8_t *bytes;                 /* a data block, decoded */
	/* what the data blocks passed so far come to */
	uint64_t key_count, version_count, payload_bytes;
	struct key first_key, key;
	struct lsn first_lsn, lsn;
};

/* Something of the layer, at [@offset, + @size_bytes) of its file. */
static struct finding make_finding(const struct table_walk *walk, enum finding_kind kind,
				   uint64_t offset, uint64_t size_bytes)
{
	struct finding finding = {
		.kind = kind,
		.offset = offset,
		.size_bytes = size_bytes,
		.from = lsn_make(walk->table->start.value + 1),
		.until = lsn_make(FINDING_OPEN_END),
	};

	finding_layer_file(&finding, walk->table->layer_id);
	return finding;
}

static void found_at(struct table_walk *walk, uint64_t offset, uint64_t size_bytes, const char *text)
{
	struct finding finding = make_finding(walk, FINDING_INDEX, offset, size_bytes);

	walk->result->index_bad = true;
	check_found(walk->hooks, &finding, "%s", text);
}

static void found_index(struct table_walk *walk, uint64_t block, const char *text)
{
	found_at(walk, block * LAYER_BLOCK_BYTES, LAYER_BLOCK_BYTES, text);
}

/* A read that can't be is told as damage; what is not the disk's fault is an error. */
static bool is_ours(int err)
{
	return err && err != -EUCLEAN && err != -EIO && err != -EBADMSG;
}

/* 0; 1: there is nothing to be read, and it was told; -errno. */
static int open_file(struct table_walk *walk)
{
	struct finding finding = make_finding(walk, FINDING_FILE, 0, 0);
	char name[LAYER_NAME_BYTES];
	int err;

	layer_name(walk->table->layer_id, name);
	err = io_open(walk->target->dir_fd, name, O_RDONLY, 0, &walk->fd);
	if (!err)
		err = io_size(walk->fd, &walk->file_bytes);
	if (err == -ENOMEM || err == -EMFILE || err == -ENFILE)
		return err;
	if (err) {
		walk->result->missing = true;
		check_found(walk->hooks, &finding, "%s",
			    err == -ENOENT ? "the file is missing" : strerror(-err));
		return 1;
	}
	if (walk->file_bytes == walk->table->file_bytes)
		return 0;
	finding.offset = walk->table->file_bytes;
	if (walk->file_bytes > walk->table->file_bytes)
		finding.from = finding.until = lsn_make(0);
	walk->result->index_bad = true;
	check_found(walk->hooks, &finding, walk->file_bytes < walk->table->file_bytes
						   ? "the file is cut short"
						   : "the file is longer than the manifest says");
	return 0;
}

static int check_header(struct table_walk *walk)
{
	struct finding finding = make_finding(walk, FINDING_HEADER, 0, TABLE_HEADER_BYTES);
	uint8_t bytes[TABLE_HEADER_BYTES];
	struct table_header header;
	const char *fault = NULL;
	int err = io_read(walk->fd, bytes, sizeof(bytes), 0);

	if (is_ours(err))
		return err;
	if (!err)
		err = table_header_decode(bytes, walk->target->store, &header);
	if (err == -EXDEV)
		fault = "the header is of another store";
	else if (err == -EPROTONOSUPPORT)
		fault = "the header is of a newer format: use a newer varve";
	else if (err)
		fault = "the header is damaged";
	else if (header.layer_id != walk->table->layer_id)
		fault = "the header is of another layer";
	else if (header.start.value != walk->table->start.value ||
		 header.end.value != walk->table->end.value)
		fault = "the header says another span than the manifest";
	if (!fault)
		return 0;
	walk->result->header_bad = true;
	/* Readers go by the footer. */
	finding.from = finding.until = lsn_make(0);
	check_found(walk->hooks, &finding, "%s", fault);
	return 0;
}

/* 0; 1: it was told that it is damaged; -errno. */
static int check_footer(struct table_walk *walk)
{
	uint8_t block[LAYER_BLOCK_BYTES];
	uint64_t size = walk->table->file_bytes;
	struct table_summary summary;
	int err = size < sizeof(block) ? -EUCLEAN
				       : io_read(walk->fd, block, sizeof(block), size - sizeof(block));

	if (is_ours(err))
		return err;
	if (!err)
		err = table_footer_decode(block, walk->target->store, walk->table->layer_id, size,
					  &summary, &walk->shape);
	if (!err && table_summary_equal(&summary, walk->table))
		return 0;
	walk->result->footer_bad = true;
	found_index(walk, size / LAYER_BLOCK_BYTES - (size >= LAYER_BLOCK_BYTES),
		    err ? "the footer is damaged, so nothing in the layer is found"
			: "the footer is not the one that the manifest says");
	return 1;
}

/* 0 and the block; 1: it is damaged, and that was told; -errno. */
static int read_block(struct table_walk *walk, uint32_t number, const char *fault, uint8_t *block)
{
	int err = io_read(walk->fd, block, LAYER_BLOCK_BYTES, (uint64_t)number * LAYER_BLOCK_BYTES);

	if (is_ours(err))
		return err;
	if (!err)
		err = check_progress(walk->hooks, LAYER_BLOCK_BYTES);
	if (err == -ECANCELED)
		return err;
	if (!err && layer_block_good(block, walk->target->store, walk->table->layer_id, number))
		return 0;
	found_index(walk, number, fault);
	return 1;
}

static int read_filter(struct table_walk *walk)
{
	const struct table_shape *shape = &walk->shape;
	uint8_t block[LAYER_BLOCK_BYTES];
	int err = 0;

	for (uint32_t i = 0; i < shape->filter_lines && err >= 0; i += LAYER_FILTER_LINES_PER_BLOCK) {
		uint32_t left = shape->filter_lines - i;
		size_t size = (size_t)(left < LAYER_FILTER_LINES_PER_BLOCK
					       ? left : LAYER_FILTER_LINES_PER_BLOCK) *
			      LAYER_FILTER_LINE_BYTES;
		uint8_t *lines = walk->filter + (size_t)i * LAYER_FILTER_LINE_BYTES;

		err = read_block(walk, shape->filter_block + i / LAYER_FILTER_LINES_PER_BLOCK,
				 "a block of the filter is damaged: what it covers is not found",
				 block);
		if (err == 0)
			memcpy(lines, block, size);
		else
			memset(lines, 0xff, size);
	}
	return err < 0 ? err : 0;
}

static bool fence_order_good(const struct table_fence *before, const struct table_fence *fence)
{
	int order = key_compare(before->key, fence->key);

	return order < 0 || (order == 0 && before->lsn.value < fence->lsn.value);
}

/* The fences of one block that was read. */
static const char *take_fences(struct table_walk *walk, const uint8_t *block, uint32_t index)
{
	const struct table_shape *shape = &walk->shape;

	for (uint32_t i = 0; i < table_fences_in_block(shape, index); i++) {
		uint32_t number = index * TABLE_FENCES_PER_BLOCK + i;
		struct table_fence *fence = &walk->fences[number];
		const struct table_fence *before = number ? fence - 1 : NULL;
		uint64_t expected = before ? before->offset + before->stored_bytes
					   : TABLE_HEADER_BYTES;

		if (table_fence_decode(block + (size_t)i * TABLE_FENCE_BYTES, shape->data_end, fence)) {
			memset(fence, 0, sizeof(*fence));
			return "a fence leads out of the layer's data";
		}
		if (before && !before->stored_bytes)
			continue;
		if (fence->offset != expected)
			return "a fence leads to where no block begins";
		if (before && !fence_order_good(before, fence))
			return "fences are out of order";
	}
	return NULL;
}

static int read_fences(struct table_walk *walk)
{
	const struct table_shape *shape = &walk->shape;
	const struct table_fence *last = &walk->fences[shape->block_count - 1];
	uint8_t block[LAYER_BLOCK_BYTES];
	int err = 0;

	for (uint32_t i = 0; i < shape->top_block - shape->fence_block && err >= 0; i++) {
		const char *fault;

		err = read_block(walk, shape->fence_block + i,
				 "a block of fences is damaged: the versions behind it are not found",
				 block);
		fault = err == 0 ? take_fences(walk, block, i) : NULL;
		if (fault)
			found_index(walk, shape->fence_block + i, fault);
	}
	if (err >= 0 && last->stored_bytes && last->offset + last->stored_bytes != shape->data_end)
		found_index(walk, shape->footer_block,
			    "the data do not end where the footer says");
	return err < 0 ? err : 0;
}

static int check_tops(struct table_walk *walk)
{
	const struct table_shape *shape = &walk->shape;
	uint32_t fence_blocks = shape->top_block - shape->fence_block;
	uint8_t block[LAYER_BLOCK_BYTES];
	int err = 0;

	for (uint32_t i = 0; i < fence_blocks && err >= 0; i++) {
		const struct table_fence *fence = &walk->fences[(size_t)i * TABLE_FENCES_PER_BLOCK];
		uint32_t at = i % TABLE_TOPS_PER_BLOCK, number = shape->top_block + i / TABLE_TOPS_PER_BLOCK;
		uint8_t expected[TABLE_FENCE_BYTES];

		if (at == 0)
			err = read_block(walk, number, "a top block of the index is damaged: the versions "
					 "behind it are not found", block);
		if (err || !fence->stored_bytes)
			continue;
		table_fence_encode(fence, expected);
		if (memcmp(block + (size_t)at * TABLE_TOP_BYTES, expected, TABLE_TOP_BYTES) != 0)
			found_index(walk, number, "a top block does not say where its fences begin");
	}
	return err < 0 ? err : 0;
}

static bool filter_knows(const struct table_walk *walk, struct key key)
{
	uint64_t hash = key_hash(key);

	return layer_filter_line_has(walk->filter +
					     (size_t)layer_filter_line(hash, walk->shape.filter_lines) *
						     LAYER_FILTER_LINE_BYTES,
				     hash);
}

/* Versions that could not be read when they were merged. */
static void find_lost_versions(struct table_walk *walk, const struct table_fence *fence,
			       const struct table_block *block)
{
	for (uint32_t k = 0; k < block->key_count; k++) {
		uint32_t end = table_block_first(block, k + 1);

		for (uint32_t v = table_block_first(block, k); v < end; v++) {
			struct finding finding = make_finding(walk, FINDING_VERSION, fence->offset,
							      fence->stored_bytes);

			finding.key = table_block_key(block, k);
			finding.from = table_block_lsn(block, v);
			if (block->forms[v] == VERSION_LOST &&
			    key_compare(finding.key, walk->target->from) >= 0)
				check_found(walk->hooks, &finding,
					    "this version was damaged before it was merged, and is refused");
		}
	}
}

/* A decoded block against what came before it. NULL; what is wrong. */
static const char *take_block(struct table_walk *walk, const struct table_fence *fence)
{
	struct table_block block;
	const char *fault = NULL;

	table_block_view(walk->bytes, &block);
	for (uint32_t k = 0; k < block.key_count; k++) {
		struct key key = table_block_key(&block, k);
		uint32_t first = table_block_first(&block, k), end = table_block_first(&block, k + 1);
		int order = walk->version_count ? key_compare(walk->key, key) : -1;

		if (order > 0 ||
		    (order == 0 && walk->lsn.value >= table_block_lsn(&block, first).value))
			fault = "versions are out of order between blocks";
		if (!filter_knows(walk, key))
			fault = "the filter denies a key that is there";
		if (walk->table->kind == TABLE_IMAGE &&
		    (order == 0 || end - first > 1 || block.weights[first]))
			fault = "a layer of images has a key with another version than one that stands alone";
		if (!walk->version_count) {
			walk->first_key = key;
			walk->first_lsn = table_block_lsn(&block, first);
		}
		walk->key_count += order != 0;
		walk->version_count += end - first;
		walk->key = key;
		walk->lsn = table_block_lsn(&block, end - 1);
	}
	find_lost_versions(walk, fence, &block);
	walk->payload_bytes += fence->block_bytes - (uint32_t)(block.payloads - walk->bytes);
	return fault;
}

static void found_block(struct table_walk *walk, uint32_t number, int err)
{
	const struct table_fence *fence = &walk->fences[number];
	struct finding finding = make_finding(walk, FINDING_VERSION, fence->offset,
					      fence->stored_bytes);
	uint64_t until = number + 1 < walk->shape.block_count && fence[1].stored_bytes
				 ? fence[1].key.ino : walk->table->last_key.ino;

	if (number + 1 < walk->shape.block_count && fence[1].stored_bytes &&
	    key_compare(fence[1].key, walk->target->from) < 0)
		return;
	finding.key = fence->key;
	walk->result->version_bad = true;
	if (err == -EUCLEAN)
		check_found(walk->hooks, &finding, "a block of versions, of inodes %" PRIu64 " to %" PRIu64
			    ", has a good checksum and makes no sense", fence->key.ino, until);
	else
		check_found(walk->hooks, &finding, "a block of versions, of inodes %" PRIu64 " to %" PRIu64
			    ", is damaged: the checksum is wrong", fence->key.ino, until);
}

/* One data block, by its fence. 0; 1: it is damaged, and that was told; -ENOMEM. */
static int check_data_block(struct table_walk *walk, struct stream *stream, uint32_t number)
{
	const struct table_fence *fence = &walk->fences[number];
	const uint8_t *stored;
	const char *fault;
	int err = stream_get(stream, fence->offset, fence->stored_bytes, &stored);

	if (err)
		return err;
	err = table_unpack(walk->table, walk->target->store, fence, stored, walk->bytes);
	if (err == -ENOMEM)
		return err;
	if (err) {
		found_block(walk, number, err);
		return 1;
	}
	fault = take_block(walk, fence);
	if (fault)
		found_at(walk, fence->offset, fence->stored_bytes, fault);
	return 0;
}

static void compare_counts(struct table_walk *walk)
{
	const struct table_summary *table = walk->table;

	if (walk->key_count != table->key_count || walk->version_count != table->version_count ||
	    walk->payload_bytes != table->payload_bytes)
		found_index(walk, walk->shape.footer_block,
			    "the data hold another number of keys, versions or bytes than the footer says");
	else if (!key_equal(walk->first_key, table->first_key) ||
		 !key_equal(walk->key, table->last_key) ||
		 walk->first_lsn.value != table->first_lsn.value ||
		 walk->lsn.value != table->last_lsn.value)
		found_index(walk, walk->shape.footer_block,
			    "the data begin or end with another version than the footer says");
}

static int check_data(struct table_walk *walk)
{
	uint64_t end = walk->shape.data_end < walk->file_bytes ? walk->shape.data_end
							       : walk->file_bytes;
	uint64_t at = TABLE_HEADER_BYTES, bad_at, bad_size;
	bool whole = true;
	struct stream *stream;
	int err;

	if (end <= at)
		return 0;
	err = stream_open(walk->fd, at, end, &stream);
	if (err)
		return err;
	for (uint32_t i = 0; i < walk->shape.block_count && err >= 0; i++) {
		const struct table_fence *fence = &walk->fences[i];

		/* What is not known, or leads back, was told with the fences; beyond the end, with the file. */
		if (!fence->stored_bytes || fence->offset < at ||
		    fence->offset + fence->stored_bytes > end) {
			whole = false;
			continue;
		}
		at = fence->offset;
		err = check_data_block(walk, stream, i);
		whole &= err == 0;
		if (err >= 0)
			err = check_progress(walk->hooks, fence->stored_bytes);
	}
	while (stream_next_bad(stream, &bad_at, &bad_size) == 0) {
		struct finding finding = make_finding(walk, FINDING_FILE, bad_at, bad_size);

		check_found(walk->hooks, &finding, "the disk can't read this");
	}
	stream_close(stream);
	if (err >= 0 && whole)
		compare_counts(walk);
	return err < 0 ? err : 0;
}

static int check_all(struct table_walk *walk)
{
	const struct table_shape *shape = &walk->shape;
	int err = 0;

	walk->filter = malloc((size_t)shape->filter_lines * LAYER_FILTER_LINE_BYTES);
	walk->fences = calloc(shape->block_count, sizeof(*walk->fences));
	walk->bytes = malloc(TABLE_BLOCK_MAX);
	if (!walk->filter || !walk->fences || !walk->bytes)
		err = -ENOMEM;
	if (!err)
		err = read_filter(walk);
	if (!err)
		err = read_fences(walk);
	if (!err)
		err = check_tops(walk);
	if (!err)
		err = check_data(walk);
	free(walk->filter);
	free(walk->fences);
	free(walk->bytes);
	return err;
}

int table_check(const struct layer_check_target *target, const struct check_hooks *hooks,
		struct layer_check_result *result_out)
{
	struct table_walk walk = { .target = target, .table = target->table, .hooks = hooks,
				   .result = result_out, .fd = -1 };
	int err;

	memset(result_out, 0, sizeof(*result_out));
	result_out->started = true;
	result_out->end = target->table->end;
	err = open_file(&walk);
	if (!err)
		err = check_header(&walk);
	if (!err)
		err = check_footer(&walk);
	if (!err)
		err = check_all(&walk);
	result_out->version_count = walk.version_count;
	io_close(walk.fd);
	return err < 0 ? err : 0;
}
