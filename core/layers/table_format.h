/*
 * Table format: the bytes of a table layer's file. Pure: no I/O, no memory of its own.
 *
 *   [0, 64)            header: whose file it is
 *   [64, data end)     data blocks, back to back, each compressed by itself
 *   from the next multiple of 4096, blocks of 4096 bytes with a checksum each, as a
 *   sealed layer's index has them (layer_file.h):
 *     filter blocks    a Bloom filter of the keys, in lines of 64 bytes
 *     fence blocks     per data block: its first (key, LSN), where it is, its sizes
 *     top blocks       the first (key, LSN) of each fence block
 *     footer           one block, the last
 *
 * A data block, decompressed, is columns: its keys, then its versions, then their payloads in
 * the same order. Versions are in (key, LSN) order over the whole file. A payload lies in
 * one block; the versions of a key may go on in the next, which then has the key again.
 *
 * What comes from disk is checked where it is decoded: table_block_decode once when a block is
 * read, so that what looks at a decoded block can trust it. FORMAT.md gives every byte.
 */
#ifndef VARVE_LAYERS_TABLE_FORMAT_H
#define VARVE_LAYERS_TABLE_FORMAT_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "key.h"
#include "layer_file.h"
#include "lsn.h"
#include "table_summary.h"

#define TABLE_HEADER_BYTES 64u
#define TABLE_FORMAT_VERSION 1u

struct table_header {
	uint64_t layer_id;
	struct lsn start, end;
};

/* Does a file begin as a table layer's does? */
bool table_header_is(const uint8_t bytes[8]);
void table_header_encode(const struct table_header *header, const struct store_identity *store,
			 uint8_t bytes_out[TABLE_HEADER_BYTES]);
/* 0; -EUCLEAN: damaged; -EXDEV: of another store; -EPROTONOSUPPORT: a newer format. */
int table_header_decode(const uint8_t bytes[TABLE_HEADER_BYTES], const struct store_identity *store,
			struct table_header *header_out);

/* Whose store a header says it is of, if it is whole. @seed_of: the seed of a store's id. 0; -EUCLEAN. */
int table_header_identity(const uint8_t bytes[TABLE_HEADER_BYTES],
			  uint64_t (*seed_of)(const uint8_t id[16]), struct store_identity *store_out);

/*
 * A block is cut before it would pass this many bytes, decompressed: a page of 8 KiB or two of 4 KiB
 * with some patches and their columns, and three of the 4 KiB pages that the cache's memory comes in.
 * Larger ones would compress a little better, and each read at random unpacks a whole one.
 */
#define TABLE_BLOCK_TARGET_BYTES (12u << 10)
#define TABLE_PAYLOAD_MAX (1u << 20)
#define TABLE_BLOCK_MAX (TABLE_PAYLOAD_MAX + 4096u)     /* decompressed */

/* What a fence says of a data block. */
struct table_fence {
	struct key key;                 /* of its first version */
	struct lsn lsn;
	uint64_t offset;                /* in the file */
	uint32_t stored_bytes;          /* in the file, its header included */
	uint32_t block_bytes;           /* decompressed */
};

/* The header of a data block, in front of the stored bytes. */
#define TABLE_BLOCK_HEADER_BYTES 24u
/* Fill the header at @bytes, behind which @fence->stored_bytes - TABLE_BLOCK_HEADER_BYTES are stored. */
void table_block_seal(uint8_t *bytes, const struct table_fence *fence, enum compression compression,
		      const struct store_identity *store, uint64_t layer_id);
/* Check checksum and header of fence->stored_bytes at @bytes. 0 and what they are compressed with; -EBADMSG: the
 * checksum is wrong; -EUCLEAN: the header is not what the fence says. */
int table_block_open(const uint8_t *bytes, const struct table_fence *fence,
		     const struct store_identity *store, uint64_t layer_id,
		     enum compression *compression_out);

/* A decompressed block: where its columns begin. */
#define TABLE_BLOCK_COUNTS_BYTES 8u     /* u32 keys, u32 versions */
#define TABLE_KEY_COLUMNS_BYTES 20u     /* per key: u64 ino, u64 sub, u32 number of its first version */
#define TABLE_VERSION_COLUMNS_BYTES 18u /* per version: u32, u32 LSN; u32 size; u32 back; u8 form; u8 weight */

struct table_block {
	uint32_t key_count, version_count;
	const uint8_t *inos, *subs, *firsts;
	const uint8_t *lsn_lows, *lsn_highs, *ends, *backs, *forms, *weights;
	const uint8_t *payloads;
};

/* Bytes of a block of so many. */
static inline uint64_t table_block_bytes(uint64_t keys, uint64_t versions, uint64_t payload_bytes)
{
	return TABLE_BLOCK_COUNTS_BYTES + keys * TABLE_KEY_COLUMNS_BYTES +
	       versions * TABLE_VERSION_COLUMNS_BYTES + payload_bytes;
}

/* Find the columns of the decoded block at @bytes. */
void table_block_view(const uint8_t *bytes, struct table_block *block_out);
/*
 * Check a block that was decompressed, and make the sizes in it the ends that a view expects.
 * Its first version must be the fence's, and all LSNs within (start, end]. 0 or -EUCLEAN.
 */
int table_block_decode(uint8_t *bytes, const struct table_fence *fence, struct lsn start,
		       struct lsn end);

static inline uint32_t table_u32(const uint8_t *column, uint32_t index)
{
	uint32_t value;

	memcpy(&value, column + (size_t)index * 4, 4);
	return le32toh(value);
}

static inline uint64_t table_u64(const uint8_t *column, uint32_t index)
{
	uint64_t value;

	memcpy(&value, column + (size_t)index * 8, 8);
	return le64toh(value);
}

static inline struct key table_block_key(const struct table_block *block, uint32_t number)
{
	return (struct key){ table_u64(block->inos, number), table_u64(block->subs, number) };
}

/* Number of the key's first version; of key_count the version count. */
static inline uint32_t table_block_first(const struct table_block *block, uint32_t key_number)
{
	return key_number == block->key_count ? block->version_count
					      : table_u32(block->firsts, key_number);
}

static inline struct lsn table_block_lsn(const struct table_block *block, uint32_t number)
{
	return lsn_make((uint64_t)table_u32(block->lsn_highs, number) << 32 |
			table_u32(block->lsn_lows, number));
}

/* Where the payload of a version lies among the payloads. */
static inline uint32_t table_block_payload_at(const struct table_block *block, uint32_t number)
{
	return number ? table_u32(block->ends, number - 1) : 0;
}

static inline uint32_t table_block_payload_bytes(const struct table_block *block, uint32_t number)
{
	return table_u32(block->ends, number) - table_block_payload_at(block, number);
}

/* Number of the first key >= @key; the key count if there is none. */
uint32_t table_block_lower_bound(const struct table_block *block, struct key key);
/* Number of the newest version of key @key_number at or below @lsn; UINT32_MAX if there is none. */
uint32_t table_block_newest(const struct table_block *block, uint32_t key_number, struct lsn lsn);

/* Index blocks. */
#define TABLE_FENCE_BYTES 40u           /* ino 8, sub 8, lsn 8, offset 8, stored 4, block 4 */
#define TABLE_TOP_BYTES 24u             /* ino 8, sub 8, lsn 8 */
#define TABLE_FENCES_PER_BLOCK (LAYER_BLOCK_PAYLOAD_BYTES / TABLE_FENCE_BYTES)
#define TABLE_TOPS_PER_BLOCK (LAYER_BLOCK_PAYLOAD_BYTES / TABLE_TOP_BYTES)

void table_fence_encode(const struct table_fence *fence, uint8_t bytes_out[TABLE_FENCE_BYTES]);
/* 0; -EUCLEAN: it leads out of [TABLE_HEADER_BYTES, @data_end), or to a block of an impossible size. */
int table_fence_decode(const uint8_t bytes[TABLE_FENCE_BYTES], uint64_t data_end,
		       struct table_fence *fence_out);

/* How many of @count records of @stride bytes, each of which begins with ino, sub and LSN, are at or
 * below (key, lsn). */
uint32_t table_count_at_or_below(const uint8_t *records, uint32_t count, uint32_t stride,
				 struct key key, struct lsn lsn);

/* Where the parts of a file are, from the footer. */
struct table_shape {
	uint64_t data_end;
	uint32_t block_count;           /* data blocks */
	uint32_t filter_lines;
	uint32_t filter_block, fence_block, top_block, footer_block;    /* numbers in the file */
};

/* 0; -EFBIG: more blocks than can be numbered. */
int table_shape_make(uint64_t data_end, uint64_t block_count, uint64_t key_count,
		     struct table_shape *shape_out);
static inline uint64_t table_shape_file_bytes(const struct table_shape *shape)
{
	return ((uint64_t)shape->footer_block + 1) * LAYER_BLOCK_BYTES;
}

/* @summary->checksum and ->file_bytes are set. */
void table_footer_encode(struct table_summary *summary, const struct table_shape *shape,
			 const struct store_identity *store, uint8_t block_out[LAYER_BLOCK_BYTES]);
/* 0; -EUCLEAN: not the footer of this store's layer, or one that contradicts itself. */
int table_footer_decode(const uint8_t block[LAYER_BLOCK_BYTES], const struct store_identity *store,
			uint64_t layer_id, uint64_t file_bytes, struct table_summary *summary_out,
			struct table_shape *shape_out);
bool table_summary_equal(const struct table_summary *a, const struct table_summary *b);

#endif
