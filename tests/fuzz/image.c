#include "image.h"

#include <fcntl.h>

#include "checksum.h"
#include "fuzz.h"
#include "io.h"
#include "manifest.h"
#include "table_rebuild.h"

#define EDIT_BYTES 5u
#define EDITS_MAX 200u
#define TAIL_BYTES 8192u        /* beyond what is used; edited and put back too */
#define ROOM_BYTES (24u << 10)  /* left of an open layer's reserve: an index, and some batches */
#define UNUSED_ID (UINT64_C(1) << 40)
#define SUMMARY_BYTES 118u      /* of a table, in the manifest */
#define PIECE_COUNTS_AT 50u     /* in a record of a piece */

/* ---- making it ---- */

static uint64_t u64_at(const uint8_t *bytes)
{
	struct get_cursor c = get_cursor(bytes, 8);

	return get_u64(&c);
}

static void set_u64(uint8_t *bytes, uint64_t value)
{
	struct put_cursor c = put_cursor(bytes, 8);

	put_u64(&c, value);
}

/* What was reserved and not used is most of a small store, and recovery looks at all
 * of it. A little is enough; then a layer also fills up once it is written to. */
static size_t size_less_reserve(const struct image_file *file)
{
	size_t room = file->layer_id ? ROOM_BYTES : LAYER_BLOCK_BYTES - 1;
	size_t keep = (file->used_bytes + room) & ~(size_t)(LAYER_BLOCK_BYTES - 1);

	return keep < file->size_bytes ? keep : file->size_bytes;
}

static struct image_file *add_file(struct image *image, const char *name, uint64_t layer_id)
{
	struct image_file *file = &image->files[image->file_count++];

	require(image->file_count <= IMAGE_FILES_MAX);
	path_join(file->path, image->path, name);
	file->layer_id = layer_id;
	file->size_bytes = file->used_bytes = mem_disk_size(image->disk, file->path);
	file->map = malloc(file->size_bytes);
	must(file->map != NULL, "no memory for", file->path);
	mem_disk_get(image->disk, file->path, file->map, file->size_bytes);
	while (file->used_bytes && !file->map[file->used_bytes - 1])
		file->used_bytes--;
	file->used_bytes += TAIL_BYTES;
	if (file->used_bytes > file->size_bytes)
		file->used_bytes = file->size_bytes;
	file->size_bytes = size_less_reserve(file);
	mem_disk_resize(image->disk, file->path, file->size_bytes);
	file->base = malloc(file->used_bytes);
	must(file->base != NULL, "no memory for", file->path);
	memcpy(file->base, file->map, file->used_bytes);
	return file;
}

static void add_region(struct image *image, struct image_file *file, uint64_t start, uint64_t end)
{
	require(image->region_count < IMAGE_REGIONS_MAX);
	if (start < end)
		image->regions[image->region_count++] =
			(struct image_region){ file, (size_t)start, (size_t)(end - start) };
}

static void add_layer(struct image *image, uint64_t layer_id, bool sealed)
{
	char name[LAYER_NAME_BYTES], path[64];
	const struct layer_footer *footer;
	struct image_file *file;

	layer_name(layer_id, name);
	snprintf(path, sizeof(path), "layers/%s", name);
	file = add_file(image, path, layer_id);
	file->sealed = sealed;
	footer = &file->footer;
	add_region(image, file, 0, 64);
	add_region(image, file, LAYER_HEADER_BYTES, LAYER_HEADER_BYTES + 512);
	if (!sealed) {
		add_region(image, file, LAYER_HEADER_BYTES, file->used_bytes);
		add_region(image, file, file->used_bytes - TAIL_BYTES - 512, file->used_bytes);
		return;
	}
	must(layer_footer_decode(file->map + file->size_bytes - LAYER_BLOCK_BYTES, &image->store,
				 layer_id, file->size_bytes, &file->footer) == 0,
	     "no footer in", file->path);
	add_region(image, file, LAYER_HEADER_BYTES, (uint64_t)footer->filter_block * LAYER_BLOCK_BYTES);
	add_region(image, file, (uint64_t)footer->filter_block * LAYER_BLOCK_BYTES,
		   (uint64_t)footer->key_block * LAYER_BLOCK_BYTES);
	add_region(image, file, (uint64_t)footer->key_block * LAYER_BLOCK_BYTES,
		   (uint64_t)footer->key_block * LAYER_BLOCK_BYTES +
			   (uint64_t)footer->key_count * LAYER_KEY_BYTES);
	add_region(image, file, (uint64_t)footer->version_block * LAYER_BLOCK_BYTES,
		   (uint64_t)footer->version_block * LAYER_BLOCK_BYTES +
			   (uint64_t)footer->version_count * LAYER_VERSION_BYTES);
	add_region(image, file, (uint64_t)footer->fence_block * LAYER_BLOCK_BYTES,
		   (uint64_t)footer->fence_block * LAYER_BLOCK_BYTES + 64);
	add_region(image, file, file->size_bytes - LAYER_BLOCK_BYTES,
		   file->size_bytes - LAYER_BLOCK_BYTES + 104);
}

/* Make the table anew with nothing compressed, by the same name. */
static void unpack_table(const struct image *image, const struct table_summary *table)
{
	char name[LAYER_NAME_BYTES], other_name[LAYER_NAME_BYTES];
	struct table_summary other, again;
	int layers_fd;

	layer_name(table->layer_id, name);
	layer_name(UNUSED_ID, other_name);
	must(!io_open(AT_FDCWD, image->layers, O_RDONLY | O_DIRECTORY, 0, &layers_fd) &&
		     !table_rebuild(layers_fd, table, &image->store, UNUSED_ID, COMPRESSION_NONE, &other) &&
		     !io_unlink(layers_fd, name) &&
		     !table_rebuild(layers_fd, &other, &image->store, table->layer_id, COMPRESSION_NONE,
				    &again) &&
		     !io_unlink(layers_fd, other_name), "cannot unpack", name);
	io_close(layers_fd);
}

static bool fence_of(const struct image_file *file, const uint8_t *bytes, uint32_t number,
		     struct table_fence *fence)
{
	return table_fence_decode(bytes + (uint64_t)file->shape.fence_block * LAYER_BLOCK_BYTES +
					  number * TABLE_FENCE_BYTES, file->shape.data_end, fence) == 0;
}

static void add_table(struct image *image, const struct table_summary *table)
{
	char name[LAYER_NAME_BYTES], path[64];
	struct table_summary summary;
	struct table_fence fence;
	struct image_file *file;
	const struct table_shape *shape;

	unpack_table(image, table);
	layer_name(table->layer_id, name);
	snprintf(path, sizeof(path), "layers/%s", name);
	file = add_file(image, path, table->layer_id);
	file->table = true;
	shape = &file->shape;
	must(table_footer_decode(file->map + file->size_bytes - LAYER_BLOCK_BYTES, &image->store,
				 table->layer_id, file->size_bytes, &summary, &file->shape) == 0 &&
		     shape->block_count <= TABLE_FENCES_PER_BLOCK, "no footer in", file->path);
	add_region(image, file, 0, TABLE_HEADER_BYTES);
	add_region(image, file, TABLE_HEADER_BYTES, shape->data_end);
	for (uint32_t i = 0; i < shape->block_count; i++) {
		require(fence_of(file, file->map, i, &fence));
		const uint8_t *block = file->map + fence.offset + TABLE_BLOCK_HEADER_BYTES;

		add_region(image, file, fence.offset, fence.offset + TABLE_BLOCK_HEADER_BYTES +
			   table_block_bytes(table_u32(block, 0), table_u32(block, 1), 0));
	}
	add_region(image, file, (uint64_t)shape->filter_block * LAYER_BLOCK_BYTES,
		   (uint64_t)shape->fence_block * LAYER_BLOCK_BYTES);
	add_region(image, file, (uint64_t)shape->fence_block * LAYER_BLOCK_BYTES,
		   (uint64_t)shape->fence_block * LAYER_BLOCK_BYTES + shape->block_count * TABLE_FENCE_BYTES);
	add_region(image, file, (uint64_t)shape->top_block * LAYER_BLOCK_BYTES,
		   (uint64_t)shape->top_block * LAYER_BLOCK_BYTES + TABLE_TOP_BYTES);
	add_region(image, file, (uint64_t)shape->footer_block * LAYER_BLOCK_BYTES,
		   (uint64_t)shape->footer_block * LAYER_BLOCK_BYTES + 184);
}

static struct image images[2];

static void free_images(void)
{
	mem_disk_use(NULL);
	for (size_t i = 0; i < array_size(images); i++) {
		mem_disk_free(images[i].disk);
		golden_free(images[i].golden);
	}
}

static void seal_manifest(const struct image *image, struct image_file *file, uint8_t seal);
static void seal_all(struct image *image, uint8_t seal);

/* Made right again, what was right is as it was. */
static void check_seals(struct image *image)
{
	seal_all(image, IMAGE_SEAL_ALL);
	for (size_t i = 0; i < image->file_count; i++)
		must(image_file_is_unchanged(&image->files[i]), "sealed otherwise:", image->files[i].path);
}

struct image *image_get(bool tables)
{
	struct image *image = &images[tables];
	struct report report = { "" };
	struct manifest manifest;
	int dir_fd;

	if (image->golden) {
		mem_disk_use(image->disk);
		return image;
	}
	if (!images[!tables].golden) {
		fuzz_prepare();
		atexit(free_images);
	}
	image->golden = golden_new(tables ? GOLDEN_TABLES_NAME : GOLDEN_NAME);
	image->path = "/store";
	image->layers = "/store/layers";
	image->disk = mem_disk_new(image->golden->store, image->path);
	mem_disk_use(image->disk);
	must(!io_open(AT_FDCWD, image->path, O_RDONLY | O_DIRECTORY, 0, &dir_fd) &&
		     !manifest_open(&manifest, dir_fd, false, &report), "no manifest in",
	     image->golden->store);
	image->store = manifest.store;
	for (uint32_t i = 0; i < manifest.run_count; i++)
		if (manifest.runs[i].level == 0)
			add_layer(image, manifest.runs[i].run_id, true);
	for (uint32_t i = 0; i < manifest.open_count; i++)
		add_layer(image, manifest.open_ids[i], false);
	for (uint32_t i = 0; i < manifest.run_count; i++)
		for (uint32_t t = 0; t < manifest.runs[i].layer_count; t++)
			add_table(image, &manifest_run_layers(&manifest.runs[i])[t]);
	struct image_file *file = add_file(image, "manifest", 0);
	if (tables) {           /* it says of them what they say now */
		seal_manifest(image, file, IMAGE_SEAL_CHAINS);
		memcpy(file->base, file->map, file->used_bytes);
		mem_disk_put(image->disk, file->path, file->map, file->used_bytes);
	}
	add_region(image, file, 0, 64);
	add_region(image, file, 64, file->used_bytes);
	manifest_close(&manifest);
	io_close(dir_fd);
	check_seals(image);
	mem_disk_save(image->disk);
	return image;
}

/* ---- sealing again ---- */

/* A head of an entry, read without batch.c. */
struct head {
	struct key key;
	uint8_t form, weight;
	uint64_t payload_bytes;
	size_t checksum_at;
};

static bool head_read(struct get_cursor *c, const uint8_t *bytes, struct head *head)
{
	uint64_t kind = get_u8(c);

	head->form = get_u8(c);
	head->weight = get_u8(c);
	head->key.ino = get_varint(c);
	head->key.sub = kind << KEY_INDEX_BITS | get_varint(c);
	head->payload_bytes = get_varint(c);
	head->checksum_at = (size_t)(c->at - bytes);
	get_u64(c);
	return !c->bad;
}

/* Make checksums and chain of the batch at @at right. Its size; 0: it is none. */
static size_t seal_batch(const struct image *image, uint8_t seal, uint8_t *bytes, size_t limit,
			 uint64_t end_lsn_less_size, uint64_t *chain)
{
	struct get_cursor c = get_cursor(bytes, limit);
	size_t heads_end, payload_at;
	uint16_t count, flags;
	uint32_t size;
	struct head head;

	get_u64(&c);
	size = get_u32(&c);
	count = get_u16(&c);
	flags = get_u16(&c);
	get_bytes(&c, 12 + (flags & 1 ? 16 : 0));
	struct get_cursor heads = c;
	for (uint16_t i = 0; i < count; i++)
		if (!head_read(&c, bytes, &head))
			return 0;
	heads_end = payload_at = (size_t)(c.at - bytes);
	if (c.bad || size < heads_end || size > limit)
		return 0;
	for (uint16_t i = 0; seal & IMAGE_SEAL_PAYLOADS && i < count; i++) {
		head_read(&heads, bytes, &head);
		if (head.payload_bytes > size - payload_at)
			break;
		set_u64(bytes + head.checksum_at,
			checksum(bytes + payload_at, head.payload_bytes,
				 checksum_version_seed(image->store.seed, head.key,
						       lsn_make(end_lsn_less_size + size), head.form,
						       head.weight)));
		payload_at += head.payload_bytes;
	}
	*chain = checksum(bytes + 8, heads_end - 8, *chain);
	set_u64(bytes, *chain);
	return size;
}

/* The records of the index get the payloads' checksums, by the keys that name them. */
static void seal_index_payloads(const struct image *image, struct image_file *file)
{
	const struct layer_footer *footer = &file->footer;

	for (uint32_t k = 0; k < footer->key_count; k++) {
		const uint8_t *record = file->map + (uint64_t)footer->key_block * LAYER_BLOCK_BYTES +
					k * LAYER_KEY_BYTES;
		struct get_cursor c = get_cursor(record, LAYER_KEY_BYTES);
		struct key key = { get_u64(&c), 0 };
		uint32_t first, count;

		key.sub = get_u64(&c);
		first = get_u32(&c);
		count = get_u32(&c);
		for (uint32_t v = first; v < footer->version_count && v - first < count; v++) {
			uint8_t *at = file->map +
				      (uint64_t)footer->version_block * LAYER_BLOCK_BYTES +
				      v * LAYER_VERSION_BYTES;
			struct get_cursor r = get_cursor(at, LAYER_VERSION_BYTES);
			struct lsn lsn = lsn_make(footer->start.value + get_u32(&r));
			uint32_t offset = get_u32(&r), size = get_u32(&r);
			uint8_t form = get_u8(&r), weight = get_u8(&r);

			if ((uint64_t)offset + size > file->size_bytes)
				continue;
			set_u64(at + 16, checksum(file->map + offset, size,
						  checksum_version_seed(image->store.seed, key, lsn,
									form, weight)));
		}
	}
}

static void seal_layer(const struct image *image, uint8_t seal, struct image_file *file,
		       uint64_t *chain)
{
	uint64_t start = u64_at(file->map + 40);
	size_t at = LAYER_HEADER_BYTES, size;
	size_t end = file->sealed ? (size_t)file->footer.filter_block * LAYER_BLOCK_BYTES
				  : file->used_bytes;

	if (file->used_bytes < LAYER_HEADER_BYTES || !u64_at(file->map))
		return;
	if (seal & IMAGE_SEAL_CHAINS) {
		set_u64(file->map + 48, *chain);
		while (at < end && (size = seal_batch(image, seal, file->map + at, end - at,
						      start + at - LAYER_HEADER_BYTES, chain)))
			at += size;
	}
	if (seal & IMAGE_SEAL_HEADERS)
		set_u64(file->map + 56, checksum(file->map, 56, image->store.seed));
	if (!file->sealed)
		return;
	uint8_t *footer = file->map + file->size_bytes - LAYER_BLOCK_BYTES;
	if (seal & IMAGE_SEAL_PAYLOADS)
		seal_index_payloads(image, file);
	if (seal & IMAGE_SEAL_CHAINS) {
		set_u64(footer + 32, u64_at(file->map + 48));
		set_u64(footer + 40, *chain);
	}
	for (uint32_t b = file->footer.filter_block;
	     seal & IMAGE_SEAL_BLOCKS && b <= file->footer.footer_block; b++)
		layer_block_seal(file->map + (uint64_t)b * LAYER_BLOCK_BYTES, &image->store,
				 file->layer_id, b);
}

/* Where the index leads to, and where it led to before it was edited. */
static void seal_table_block(const struct image *image, struct image_file *file, const uint8_t *index,
			     uint32_t number)
{
	struct table_fence fence;

	if (fence_of(file, index, number, &fence))
		table_block_seal(file->map + fence.offset, &fence,
				 (enum compression)u64_at(file->map + fence.offset + 16), &image->store,
				 file->layer_id);
}

static void seal_table(const struct image *image, uint8_t seal, struct image_file *file)
{
	for (uint32_t i = 0; seal & IMAGE_SEAL_PAYLOADS && i < file->shape.block_count; i++) {
		seal_table_block(image, file, file->base, i);
		seal_table_block(image, file, file->map, i);
	}
	for (uint32_t b = file->shape.filter_block;
	     seal & IMAGE_SEAL_BLOCKS && b <= file->shape.footer_block; b++)
		layer_block_seal(file->map + (uint64_t)b * LAYER_BLOCK_BYTES, &image->store,
				 file->layer_id, b);
	if (seal & IMAGE_SEAL_HEADERS)
		set_u64(file->map + 56, checksum(file->map, 56, image->store.seed));
}

/* What the manifest has of the table's footer, if that is one. */
static void copy_footer(const struct image *image, const struct image_file *file, uint8_t *out)
{
	struct put_cursor c = put_cursor(out, SUMMARY_BYTES);
	struct table_summary table;
	struct table_shape shape;

	if (table_footer_decode(file->map + file->size_bytes - LAYER_BLOCK_BYTES, &image->store,
				file->layer_id, file->size_bytes, &table, &shape))
		return;
	put_u64(&c, table.layer_id);
	put_u8(&c, (uint8_t)table.kind);
	put_u8(&c, (uint8_t)table.ending);
	put_u32(&c, table.number);
	put_u64(&c, table.oldest.value);
	put_u64(&c, table.first_key.ino);
	put_u64(&c, table.first_key.sub);
	put_u64(&c, table.last_key.ino);
	put_u64(&c, table.last_key.sub);
	put_u64(&c, table.first_lsn.value);
	put_u64(&c, table.last_lsn.value);
	put_u64(&c, table.file_bytes);
	put_u64(&c, table.key_count);
	put_u64(&c, table.version_count);
	put_u64(&c, table.payload_bytes);
	put_u64(&c, table.ino_max);
	put_u64(&c, table.checksum);
}

/* A piece of a merge gets what the tables that it names say. */
static void seal_piece(const struct image *image, uint8_t *record, uint32_t size)
{
	struct get_cursor c = get_cursor(record, size);

	get_bytes(&c, PIECE_COUNTS_AT);
	size_t at = PIECE_COUNTS_AT + 4 + get_u16(&c) * (size_t)8;
	for (uint16_t count = get_u16(&c); !c.bad && count && at + SUMMARY_BYTES + 8 <= size; count--) {
		for (size_t i = 0; i < image->file_count; i++)
			if (image->files[i].table && image->files[i].layer_id == u64_at(record + at))
				copy_footer(image, &image->files[i], record + at);
		at += SUMMARY_BYTES;
	}
}

static void seal_manifest(const struct image *image, struct image_file *file, uint8_t seal)
{
	uint64_t chain = image->store.seed;
	size_t at = 64;

	set_u64(file->map + 56, checksum(file->map, 56, 0));
	while (at + 13 <= file->used_bytes) {
		struct get_cursor c = get_cursor(file->map + at, 13);
		uint32_t size = get_u32(&c);
		uint8_t type = get_u8(&c);
		uint64_t id = get_u64(&c);

		if (size < 13 || at + (uint64_t)size > file->used_bytes)
			break;
		if (type == 5 && seal & IMAGE_SEAL_CHAINS)
			seal_piece(image, file->map + at, size);
		for (size_t i = 0; type == 2 && size == 53 && seal & IMAGE_SEAL_CHAINS &&
				   i < image->file_count; i++)
			if (image->files[i].sealed && image->files[i].layer_id == id)
				set_u64(file->map + at + 29,
					u64_at(image->files[i].map + image->files[i].size_bytes -
					       LAYER_BLOCK_BYTES + 40));
		chain = checksum(file->map + at, size - 8, chain);
		set_u64(file->map + at + size - 8, chain);
		at += size;
	}
}

static void seal_all(struct image *image, uint8_t seal)
{
	/* What lay before the first log layer there is may be in tables. */
	uint64_t chain = u64_at(image->files[0].base + 48);

	for (size_t i = 0; i < image->file_count; i++)
		if (image->files[i].table)
			seal_table(image, seal, &image->files[i]);
		else if (image->files[i].layer_id)
			seal_layer(image, seal, &image->files[i], &chain);
	for (size_t i = 0; i < image->file_count && seal & IMAGE_SEAL_MANIFEST; i++)
		if (!image->files[i].layer_id)
			seal_manifest(image, &image->files[i], seal);
}

/* ---- editing ---- */

enum edit { EDIT_FLIP, EDIT_SET, EDIT_ADD, EDIT_FILL, EDIT_COPY, EDIT_PAGE, EDIT_RESIZE, EDITS };

static void edit_one(struct image *image, const uint8_t *edit)
{
	struct image_region *region = &image->regions[edit[0] % image->region_count];
	uint8_t *map = region->file->map + region->start, value = edit[4];
	size_t offset = (edit[1] | (size_t)edit[2] << 8) % region->size_bytes;
	size_t left = region->size_bytes - offset;

	switch ((enum edit)(edit[3] % EDITS)) {
	case EDIT_FLIP:
		map[offset] ^= value;
		break;
	case EDIT_SET:
		map[offset] = value;
		break;
	case EDIT_ADD:
		map[offset] = (uint8_t)(map[offset] + value);
		break;
	case EDIT_FILL:         /* up to 16 bytes of 0x00, 0xff, 0x7f, 0x80 */
		memset(map + offset, (uint8_t)("\0\377\177\200"[value >> 6]),
		       (value & 15) + 1u < left ? (value & 15) + 1u : left);
		break;
	case EDIT_COPY:         /* up to 64 bytes from elsewhere in the region */
		if (left > 64)
			memmove(map + offset, map + (size_t)value * 24 % (region->size_bytes - 63), 64);
		break;
	case EDIT_PAGE:         /* a sector of another region */
		if (left > 512 && image->regions[value % image->region_count].size_bytes >= 512)
			memcpy(map + offset / 512 * 512,
			       image->regions[value % image->region_count].file->base +
				       image->regions[value % image->region_count].start, 512);
		break;
	case EDIT_RESIZE:
		region->file->resized = true;
		region->file->new_size_bytes = value & 1 ? (region->start + offset) & ~(size_t)4095
							 : region->start + offset;
		break;
	case EDITS:
		break;
	}
}

void image_apply(struct image *image, const uint8_t *data, size_t size_bytes)
{
	size_t count = image_edit_count(size_bytes);

	for (size_t i = 0; i < count && i < EDITS_MAX; i++)
		edit_one(image, data + 2 + i * EDIT_BYTES);
	if (image_seal_of(data, size_bytes))
		seal_all(image, image_seal_of(data, size_bytes));
	for (size_t i = 0; i < image->file_count; i++) {
		const struct image_file *file = &image->files[i];

		mem_disk_put(image->disk, file->path, file->map, file->used_bytes);
		if (file->resized)
			mem_disk_resize(image->disk, file->path, file->new_size_bytes);
	}
}

bool image_file_is_unchanged(const struct image_file *file)
{
	return !file->resized && memcmp(file->map, file->base, file->used_bytes) == 0;
}

void image_reset(struct image *image)
{
	bool changed = image->written;

	require(mem_disk_is_idle(image->disk));
	for (size_t i = 0; i < image->file_count; i++) {
		struct image_file *file = &image->files[i];

		changed |= file->resized;
		file->resized = false;
		memcpy(file->map, file->base, file->used_bytes);
	}
	if (changed)
		mem_disk_restore(image->disk);
	image->written = false;
}
