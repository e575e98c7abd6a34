/*
 * Table layers. The first byte says what the rest is: a decompressed block, a fence, a footer, stored
 * bytes of a compression; or edits of a small layer's file, sealed again if the input says so.
 * What is found is of the key, at or below the LSN that was asked for, and within its block; every way
 * of asking ends. Where nothing was sealed again every answer is right or refused.
 */
#include "table_layer.h"

#include <fcntl.h>
#include <unistd.h>

#include "compress.h"
#include "fuzz.h"
#include "layer_check.h"
#include "table_format.h"
#include "test_table.h"

#define START 5000u
#define END 100000u
#define LAYER_ID 9u
#define ROWS 160u
#define PAYLOAD_MAX 2000u

static const struct store_identity store = { "a store's number", 77, 4096 };

/* The layer that edits begin from: pages 0 to 9 of inodes 18 to 20, and one of inode 19 that spans blocks. */
struct row {
	struct key key;
	struct lsn lsn;
	uint32_t size_bytes;
};

struct base {
	char dir[PATH_MAX];
	int dir_fd, fd;
	struct row rows[ROWS];
	struct table_summary summary;
	struct table_shape shape;
	struct table_fence fences[TABLE_FENCES_PER_BLOCK];
	uint8_t *bytes, *edited;        /* summary.file_bytes each */
};

static uint8_t row_byte(const struct row *row, uint32_t at)
{
	return (uint8_t)(row->lsn.value + at * 7 + row->key.sub);
}

static void make_rows(struct base *base)
{
	uint64_t lsn = START;

	for (unsigned i = 0; i < ROWS; i++) {
		struct row *row = &base->rows[i];
		/* 40 rows of 10 pages, 80 of one page, 40 of 10 pages. */
		unsigned page = i < 40 ? i / 4 : i < 120 ? 3 : (i - 120) / 4;

		row->key = key_make(i < 40 ? 18 : i < 120 ? 19 : 20, KEY_PAGE, page);
		row->lsn = lsn_make(lsn += 100);
		row->size_bytes = i % 10 == 0 ? 0 : i * 37 % PAYLOAD_MAX;
	}
}

static void write_rows(struct base *base)
{
	const struct table_writer_options options = {
		.kind = TABLE_DELTA, .start = { START }, .end = { END }, .compression = COMPRESSION_NONE,
	};
	static uint8_t payload[PAYLOAD_MAX];
	struct table_writer *writer;

	require(table_writer_open(base->dir_fd, LAYER_ID, &store, &options, &writer) == 0);
	for (unsigned i = 0; i < ROWS; i++) {
		const struct row *row = &base->rows[i];

		for (uint32_t at = 0; at < row->size_bytes; at++)
			payload[at] = row_byte(row, at);
		require(table_writer_add(writer, row->key, row->lsn, 0, VERSION_PATCH, i % 64, payload,
					 row->size_bytes) == 0);
	}
	require(table_writer_finish(writer, TABLE_ENDS_RUN, &base->summary) == 0);
	table_writer_free(writer);
}

static void read_base(struct base *base)
{
	uint64_t size = base->summary.file_bytes;
	struct table_summary summary;
	char name[LAYER_NAME_BYTES];

	layer_name(LAYER_ID, name);
	base->fd = openat(base->dir_fd, name, O_RDWR | O_CLOEXEC);
	base->bytes = malloc(size);
	base->edited = malloc(size);
	must(base->fd >= 0 && base->bytes && base->edited, "open", base->dir);
	must(pread(base->fd, base->bytes, size, 0) == (ssize_t)size, "read", base->dir);
	require(table_footer_decode(base->bytes + size - LAYER_BLOCK_BYTES, &store, LAYER_ID, size,
				    &summary, &base->shape) == 0);
	require(base->shape.block_count > 2 && base->shape.block_count <= TABLE_FENCES_PER_BLOCK);
	for (uint32_t i = 0; i < base->shape.block_count; i++)
		require(table_fence_decode(base->bytes + (size_t)base->shape.fence_block * LAYER_BLOCK_BYTES +
						   (size_t)i * TABLE_FENCE_BYTES,
					   base->shape.data_end, &base->fences[i]) == 0);
}

static struct base *the_base;

static void remove_base(void)
{
	dir_remove(the_base->dir);
}

static struct base *base_get(void)
{
	struct base *base = the_base;

	if (base)
		return base;
	fuzz_prepare();
	the_base = base = calloc(1, sizeof(*base));
	must(base != NULL, "no memory for", "the layer");
	setenv("TMPDIR", "/dev/shm", 1);
	dir_make_temporary(base->dir);
	base->dir_fd = open(base->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(base->dir_fd >= 0, "cannot open", base->dir);
	make_rows(base);
	write_rows(base);
	read_base(base);
	atexit(remove_base);
	return base;
}

static void fuzz_block(const uint8_t *data, size_t size_bytes)
{
	struct table_fence fence = { .block_bytes = (uint32_t)size_bytes };
	uint8_t *bytes = malloc(size_bytes + 1);
	struct table_block block;
	uint64_t payload_bytes = 0;

	require(bytes != NULL);
	memcpy(bytes, data, size_bytes);
	if (size_bytes >= table_block_bytes(1, 1, 0) && table_u32(bytes, 0) > 0 &&
	    table_block_bytes(table_u32(bytes, 0), table_u32(bytes, 1), 0) <= size_bytes) {
		table_block_view(bytes, &block);
		fence.key = table_block_key(&block, 0);
		if (table_u32(bytes, 1))
			fence.lsn = table_block_lsn(&block, 0);
	}
	if (table_block_decode(bytes, &fence, lsn_make(0), lsn_make(LSN_LIMIT - 1)) == 0) {
		table_block_view(bytes, &block);
		for (uint32_t k = 0; k < block.key_count; k++) {
			uint32_t first = table_block_first(&block, k);
			uint32_t end = table_block_first(&block, k + 1);

			require(first < end && end <= block.version_count);
			require(table_block_lower_bound(&block, table_block_key(&block, k)) == k);
			for (uint32_t v = first; v < end; v++) {
				require(table_block_payload_at(&block, v) == payload_bytes);
				payload_bytes += table_block_payload_bytes(&block, v);
				require(table_block_newest(&block, k, table_block_lsn(&block, v)) == v);
			}
			require(table_block_newest(&block, k, LSN_HEAD) == end - 1);
			require(table_block_newest(&block, k, lsn_make(0)) == UINT32_MAX);
		}
		require(block.payloads + payload_bytes == bytes + size_bytes);
	}
	free(bytes);
}

static void fuzz_fence(const uint8_t *data, size_t size_bytes)
{
	uint8_t bytes[TABLE_FENCE_BYTES] = { 0 }, again[TABLE_FENCE_BYTES];
	struct table_fence fence;

	memcpy(bytes, data, size_bytes < sizeof(bytes) ? size_bytes : sizeof(bytes));
	if (table_fence_decode(bytes, UINT64_C(1) << 40, &fence) == 0) {
		require(fence.offset + fence.stored_bytes <= UINT64_C(1) << 40);
		require(fence.block_bytes <= TABLE_BLOCK_MAX);
		table_fence_encode(&fence, again);
		require(!memcmp(bytes, again, sizeof(bytes)));
	}
}

static void fuzz_footer(const uint8_t *data, size_t size_bytes)
{
	struct base *base = base_get();
	uint8_t block[LAYER_BLOCK_BYTES], again[LAYER_BLOCK_BYTES];
	struct table_summary summary;
	struct table_shape shape;
	uint32_t footer_block;
	uint64_t file_bytes;

	/* Fields of a good one, overwritten where the input has other than zeros. */
	memcpy(block, base->bytes + base->summary.file_bytes - sizeof(block), sizeof(block));
	for (size_t i = 0; i < size_bytes && i + 16 < 160; i++)
		block[i + 16] ^= data[i];
	footer_block = table_u32(block + 148, 0);
	file_bytes = ((uint64_t)footer_block + 1) * LAYER_BLOCK_BYTES;
	layer_block_seal(block, &store, LAYER_ID, footer_block);
	require(table_footer_decode(block, &store, LAYER_ID + 1, file_bytes, &summary, &shape) == -EUCLEAN);
	if (table_footer_decode(block, &store, LAYER_ID, file_bytes, &summary, &shape))
		return;
	require(summary.start.value < summary.end.value && summary.key_count <= summary.version_count);
	require(shape.filter_block < shape.fence_block && shape.fence_block < shape.top_block &&
		shape.top_block < shape.footer_block);
	table_footer_encode(&summary, &shape, &store, again);
	require(!memcmp(block, again, sizeof(block)));
}

static void fuzz_stored(const uint8_t *data, size_t size_bytes)
{
	for (enum compression c = COMPRESSION_DEFAULT; c <= COMPRESSION_ZSTD + 1; c++) {
		uint8_t *bytes = malloc(5000);

		require(bytes != NULL);
		(void)decompress(c, data, size_bytes, bytes, 5000);
		free(bytes);
	}
}

/* Edits of five bytes: which part, where in it, what. */
static void apply_edits(struct base *base, const uint8_t *data, size_t size_bytes,
			uint64_t compressions[TABLE_FENCES_PER_BLOCK])
{
	const struct table_shape *shape = &base->shape;

	for (size_t i = 0; i + 5 <= size_bytes; i += 5) {
		uint32_t where = data[i + 1] | (uint32_t)data[i + 2] << 8 | (uint32_t)data[i + 3] << 16;
		uint32_t number = data[i + 3] % shape->block_count;
		const struct table_fence *fence = &base->fences[number];
		uint64_t at;

		switch (data[i] % 7) {
		case 0:         /* the columns of a block */
		case 1:
			at = fence->offset + TABLE_BLOCK_HEADER_BYTES + where % 1200;
			break;
		case 2:
			at = where % shape->data_end;
			break;
		case 3:
			at = (uint64_t)shape->fence_block * LAYER_BLOCK_BYTES +
			     where % (shape->block_count * TABLE_FENCE_BYTES);
			break;
		case 4:
			at = (uint64_t)shape->filter_block * LAYER_BLOCK_BYTES + where % 512;
			break;
		case 5:
			at = (uint64_t)shape->footer_block * LAYER_BLOCK_BYTES + where % 160;
			break;
		default:
			compressions[number] = data[i + 4] % 5;
			continue;
		}
		base->edited[at] ^= data[i + 4];
	}
}

static void seal_again(struct base *base, const uint64_t compressions[TABLE_FENCES_PER_BLOCK])
{
	const struct table_shape *shape = &base->shape;

	for (uint32_t i = 0; i < shape->block_count; i++)
		table_block_seal(base->edited + base->fences[i].offset, &base->fences[i],
				 (enum compression)compressions[i], &store, LAYER_ID);
	for (uint32_t block = shape->filter_block; block <= shape->footer_block; block++)
		layer_block_seal(base->edited + (size_t)block * LAYER_BLOCK_BYTES, &store, LAYER_ID,
				 block);
}

/* What a question was about, and whether its answer has to be right. */
struct look {
	struct base *base;
	bool sealed_again;
	uint64_t ino, from;
	unsigned count;
};

/* The newest of the rows; NULL: there is none. */
static const struct row *expect(const struct base *base, struct key key, struct lsn lsn)
{
	const struct row *found = NULL;

	for (unsigned i = 0; i < ROWS; i++)
		if (key_equal(base->rows[i].key, key) && base->rows[i].lsn.value <= lsn.value)
			found = &base->rows[i];
	return found;
}

static void check_version(struct look *look, const struct version *version, struct key key,
			  struct lsn lsn)
{
	const uint8_t *payload;
	uint8_t sum = 0;
	int err;

	require(key_equal(version->key, key) && version->lsn.value <= lsn.value);
	require(version->form >= VERSION_IMAGE && version->form <= VERSION_LOST);
	require(version->form != VERSION_LOST || version->size_bytes == 0);
	require(version_position(version) <= version->lsn.value);
	err = version_view(version, &payload);
	/* A cache that held the block just now may not any more, and the file says no again. */
	require(err == 0 || err == -EBADMSG || err == -EUCLEAN);
	for (uint32_t i = 0; !err && i < version->size_bytes; i++)
		sum ^= payload[i];
	if (!look->sealed_again && !err) {
		const struct row *row = expect(look->base, key, lsn);

		require(row && row->lsn.value == version->lsn.value &&
			row->size_bytes == version->size_bytes);
		for (uint32_t i = 0; i < row->size_bytes; i++)
			require(payload[i] == row_byte(row, i));
	}
	(void)sum;
}

static int look_at_name(void *context, struct key key)
{
	struct look *look = context;

	require(key.ino == look->ino && key_kind(key) == KEY_NAME && key_index(key) >= look->from);
	return ++look->count > 10000;
}

static int look_at_version(void *context, const struct version *version)
{
	struct look *look = context;

	require(version->key.ino == look->ino);
	check_version(look, version, version->key, version->lsn);
	return ++look->count > 10000;
}

static bool is_answer(int err)
{
	return err == 0 || err == 1 || err == -EBADMSG || err == -EUCLEAN;
}

static void look_up(struct look *look, struct layer *layer, uint64_t ino, struct lsn lsn)
{
	struct version pages[12], version;
	uint32_t found = 0, there = 0;
	int err;

	memset(pages, 0, sizeof(pages));
	err = layer_find_pages(layer, ino, 0, array_size(pages), lsn, pages, &found);
	require(err == 0 || err == -EBADMSG || err == -EUCLEAN);
	for (unsigned i = 0; i < array_size(pages); i++) {
		there += pages[i].form != 0;
		if (pages[i].form)
			check_version(look, &pages[i], key_make(ino, KEY_PAGE, i), lsn);
		else if (!err && !look->sealed_again)
			require(!expect(look->base, key_make(ino, KEY_PAGE, i), lsn));
	}
	require(there == found);
	for (unsigned i = 0; i < array_size(pages); i++) {
		struct key key = key_make(ino, KEY_PAGE, i);

		err = layer_find(layer, key, lsn, &version);
		require(is_answer(err));
		if (err == 0)
			check_version(look, &version, key, lsn);
		if (err == 1 && !look->sealed_again)
			require(!expect(look->base, key, lsn));
	}
}

static void walk(struct look *look, struct layer *layer)
{
	struct table_cursor *cursor;
	struct table_entry entry;
	struct key key = { 0, 0 };
	struct lsn lsn = { 0 };
	unsigned count = 0;
	int err;

	require(table_cursor_open(layer, (struct key){ 0, 0 }, CURSOR_WINDOW_BYTES, &cursor) == 0);
	while ((err = table_cursor_next(cursor, &entry)) == 0) {
		require(key_compare(key, entry.key) < 0 ||
			(key_equal(key, entry.key) && lsn.value < entry.lsn.value));
		key = entry.key;
		lsn = entry.lsn;
		if (!look->sealed_again)
			require(count < ROWS && key_equal(key, look->base->rows[count].key) &&
				lsn.value == look->base->rows[count].lsn.value);
		count++;
	}
	require(is_answer(err) && (err < 0 || look->sealed_again || count == ROWS));
	table_cursor_close(cursor);
}

static void found(void *context, const struct finding *finding)
{
	++*(unsigned *)context;
	require(finding->layer_id == LAYER_ID && finding->text[0]);
}

/* A check has to find what a walk stumbles over. */
static void check(struct base *base, const struct table_summary *summary, bool harmed)
{
	const struct layer_check_target target = { .dir_fd = base->dir_fd, .store = &store,
						   .table = summary };
	unsigned count = 0;
	const struct check_hooks hooks = { found, NULL, &count };
	struct layer_check_result result;

	require(layer_check(&target, &hooks, &result) == 0);
	require(!harmed || count > 0);
}

static void fuzz_file(const uint8_t *data, size_t size_bytes, bool reseal)
{
	struct base *base = base_get();
	uint64_t compressions[TABLE_FENCES_PER_BLOCK], size = base->summary.file_bytes;
	struct table_summary summary = base->summary, decoded;
	struct table_shape shape;
	struct look look = { .base = base, .sealed_again = reseal };
	struct block_cache *cache;
	struct layer_files *files;
	struct layer *layer;
	bool harmed;

	for (uint32_t i = 0; i < TABLE_FENCES_PER_BLOCK; i++)
		compressions[i] = COMPRESSION_NONE;
	memcpy(base->edited, base->bytes, size);
	apply_edits(base, data, size_bytes, compressions);
	if (reseal)
		seal_again(base, compressions);
	must(pwrite(base->fd, base->edited, size, 0) == (ssize_t)size, "write", base->dir);
	/* The manifest says what the footer does, as far as that is one. */
	if (reseal && table_footer_decode(base->edited + size - LAYER_BLOCK_BYTES, &store, LAYER_ID, size,
					  &decoded, &shape) == 0)
		summary = decoded;
	require(block_cache_create(0, &cache) == 0);
	require(layer_files_create(base->dir_fd, 1, &files) == 0);
	require(table_layer_new(&summary, &store, cache, files, &layer) == 0);
	guard_take();
	for (uint64_t ino = 17; ino < 22; ino++) {
		struct look names = look, versions = look;

		names.ino = versions.ino = ino;
		look_up(&look, layer, ino, LSN_HEAD);
		look_up(&look, layer, ino, lsn_make(START + 5000));
		(void)layer_each_name(layer, ino, 0, look_at_name, &names);
		(void)layer_each_version(layer, ino, look_at_version, &versions);
	}
	guard_drop();
	walk(&look, layer);
	harmed = table_layer_verify(layer) != 0;
	table_layer_free(layer);
	layer_files_free(files);
	block_cache_free(cache);
	check(base, &summary, harmed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	if (!size_bytes)
		return 0;
	switch (data[0] % 8) {
	case 0:
		fuzz_block(data + 1, size_bytes - 1);
		break;
	case 1:
		fuzz_fence(data + 1, size_bytes - 1);
		break;
	case 2:
		fuzz_footer(data + 1, size_bytes - 1);
		break;
	case 3:
		fuzz_stored(data + 1, size_bytes - 1);
		break;
	default:
		fuzz_file(data + 1, size_bytes - 1, data[0] % 8 < 7);
		break;
	}
	return 0;
}
