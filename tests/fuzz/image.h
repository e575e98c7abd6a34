/*
 * Image: a golden store's files, in memory, to be edited by an input and put back. There are two: of the
 * one with tables the blocks are not compressed, so that an edit is met as it is.
 *
 * An input is [u8 what to seal again][u8 how to open] and edits of 5 bytes each:
 * u8 region, u16 offset in it, u8 what to do, u8 value. Regions are the parts that
 * the format has (a header, a log, each part of an index, a footer), so that the few
 * bytes that matter are as likely to be met as the many that don't.
 *
 * A change to what has a checksum is met at the checksum. So an input may ask for
 * any of them to be made right again after its edits, from the payloads outward, and
 * what lies behind the checksum is reached.
 */
#ifndef VARVE_TESTS_FUZZ_IMAGE_H
#define VARVE_TESTS_FUZZ_IMAGE_H

#include "layer_file.h"
#include "mem_disk.h"
#include "table_format.h"
#include "test_golden.h"

enum image_seal {
	IMAGE_SEAL_PAYLOADS = 0x01,     /* checksums of payloads, in log and index, and of tables' data blocks */
	IMAGE_SEAL_CHAINS = 0x02,       /* of batches, layers, and the manifest's copies */
	IMAGE_SEAL_BLOCKS = 0x04,       /* of index blocks and footers */
	IMAGE_SEAL_HEADERS = 0x08,      /* of layers */
	IMAGE_SEAL_MANIFEST = 0x10,     /* its header and records */
};

#define IMAGE_SEAL_ALL 0x1fu
#define IMAGE_OF_TABLES 0x80u           /* in the same byte of an input: which image, of those who use both */

#define IMAGE_FILES_MAX 16u
#define IMAGE_REGIONS_MAX 128u

struct image_file {
	char path[PATH_MAX];
	uint64_t layer_id;              /* 0: the manifest */
	size_t size_bytes, used_bytes;  /* used: beyond it are zeros */
	uint8_t *base;                  /* as it was, used_bytes */
	uint8_t *map;                   /* as it is to be, size_bytes */
	bool sealed, table;
	struct layer_footer footer;     /* of a sealed one, as it was */
	struct table_shape shape;       /* of a table */
	bool resized;
	size_t new_size_bytes;
};

struct image {
	struct golden *golden;          /* for its LSNs: the store is a copy, on @disk */
	struct mem_disk *disk;          /* in use */
	const char *path, *layers;      /* there: the store, and the directory of its layers */
	struct store_identity store;
	struct image_file files[IMAGE_FILES_MAX];       /* log layers by LSN, tables, the manifest */
	size_t file_count;
	struct image_region {
		struct image_file *file;
		size_t start, size_bytes;
	} regions[IMAGE_REGIONS_MAX];
	size_t region_count;
	bool written;                   /* by a store: more than the edits has to be undone */
};

/* One of each for the process, made at the first call. Its disk is in use then. */
struct image *image_get(bool tables);
/* Edit it, and put that on the disk. */
void image_apply(struct image *image, const uint8_t *data, size_t size_bytes);
/* Put it back. Who used it has closed all. */
void image_reset(struct image *image);

/* Is it as it was? Then so is what it holds. */
bool image_file_is_unchanged(const struct image_file *file);

/* The fields of an input. */
static inline uint8_t image_seal_of(const uint8_t *data, size_t size_bytes)
{
	return size_bytes ? data[0] & IMAGE_SEAL_ALL : 0;
}
static inline bool image_tables_of(const uint8_t *data, size_t size_bytes)
{
	return size_bytes && data[0] & IMAGE_OF_TABLES;
}
static inline uint8_t image_how_of(const uint8_t *data, size_t size_bytes)
{
	return size_bytes > 1 ? data[1] : 0;
}
static inline size_t image_edit_count(size_t size_bytes)
{
	return size_bytes > 2 ? (size_bytes - 2) / 5 : 0;
}

#endif
