/*
 * Layer file: header, log, and (once sealed) index and footer.
 *
 *   [0, 4096)          header: whose it is and where its history begins
 *   [4096, log end)    batches, back to back: LSN n lies at 4096 + n - start
 *   from the next multiple of 4096, blocks of 4096 bytes, each ending in a
 *   checksum seeded with store, layer and block number:
 *     filter blocks    a Bloom filter in lines of 64 bytes
 *     key blocks       keys in order, with where their versions begin
 *     version blocks   per key, newest first
 *     fence blocks     the first key of each key block
 *     footer           one block, the last
 *
 * Sealing adds what follows the log and writes nothing before it a second
 * time. Numbers are little-endian; FORMAT.md gives every byte.
 */
#ifndef VARVE_LAYERS_LAYER_FILE_H
#define VARVE_LAYERS_LAYER_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "key.h"
#include "lsn.h"

#define LAYER_HEADER_BYTES 4096u
#define LAYER_BLOCK_BYTES 4096u
#define LAYER_BLOCK_PAYLOAD_BYTES (LAYER_BLOCK_BYTES - 8u)
#define LAYER_SIZE_MIN (4u << 20)       /* the largest batch must fit, with its index */
#define LAYER_SIZE_MAX (UINT64_C(2) << 30)      /* offsets are 32 bits wide */
#define LAYER_FORMAT_VERSION 1u

/* What names a store's bytes as its own. */
struct store_identity {
	uint8_t id[16];                 /* UUID */
	uint64_t seed;                  /* of its checksums, drawn from the id */
	uint32_t page_size_bytes;
};

/*
 * The head that the files of both kinds of layers begin with: 8 bytes of magic, u32 format version, u32 page
 * size, the store's id.
 */
#define LAYER_HEAD_BYTES 32u
#define LAYER_MAGIC_BYTES 8u
struct get_cursor;
struct put_cursor;
void layer_head_put(struct put_cursor *c, const char magic[LAYER_MAGIC_BYTES], uint32_t version,
		    const struct store_identity *store);
/* 0; -EUCLEAN: another magic, or another page size; -EXDEV: of another store; -EPROTONOSUPPORT: a format above
 * @version. */
int layer_head_get(struct get_cursor *c, const char magic[LAYER_MAGIC_BYTES], uint32_t version,
		   const struct store_identity *store);
/* Whose it says that it is; the seed is what the id gives (@seed_of). */
void layer_head_identity(const uint8_t bytes[LAYER_HEAD_BYTES], uint64_t (*seed_of)(const uint8_t id[16]),
			 struct store_identity *store_out);

struct layer_header {
	uint64_t layer_id;
	struct lsn start;               /* the LSN before its first batch */
	uint64_t chain_start;           /* chain of the batch before its first */
};

void layer_header_encode(const struct layer_header *header, const struct store_identity *store,
			 uint8_t bytes_out[LAYER_HEADER_BYTES]);
/* 0; 1: all zeros, the layer was never started; -EUCLEAN: damaged;
 * -EXDEV: of another store; -EPROTONOSUPPORT: a newer format. */
int layer_header_decode(const uint8_t bytes[LAYER_HEADER_BYTES],
			const struct store_identity *store, struct layer_header *header_out);

/* Whose layer it is, by its header alone; @store_out->seed is what the id gives (@seed_of).
 * 0; -EUCLEAN. */
int layer_header_identity(const uint8_t bytes[LAYER_HEADER_BYTES],
			  uint64_t (*seed_of)(const uint8_t id[16]),
			  struct store_identity *store_out);

#define LAYER_KEY_BYTES 24u             /* ino 8, sub 8, first version 4, version count 4 */
#define LAYER_VERSION_BYTES 24u         /* lsn 4, offset 4, size 4, form, weight, 2 zeros, checksum 8 */
#define LAYER_FENCE_BYTES 16u           /* ino 8, sub 8 */
#define LAYER_KEYS_PER_BLOCK (LAYER_BLOCK_PAYLOAD_BYTES / LAYER_KEY_BYTES)
#define LAYER_VERSIONS_PER_BLOCK (LAYER_BLOCK_PAYLOAD_BYTES / LAYER_VERSION_BYTES)
#define LAYER_FENCES_PER_BLOCK (LAYER_BLOCK_PAYLOAD_BYTES / LAYER_FENCE_BYTES)
#define LAYER_FILTER_LINE_BYTES 64u
#define LAYER_FILTER_LINES_PER_BLOCK (LAYER_BLOCK_PAYLOAD_BYTES / LAYER_FILTER_LINE_BYTES)

struct layer_footer {
	uint64_t layer_id;
	struct lsn start, end;          /* holds exactly the batches with start < LSN <= end */
	uint64_t chain_start, chain_end;
	int64_t time_first_ns, time_last_ns;
	uint64_t ino_max;               /* highest inode number among its keys */
	uint32_t key_count, version_count, filter_lines;
	/* first block of each part, counted in the file */
	uint32_t filter_block, key_block, version_block, fence_block, footer_block;
};

void layer_footer_encode(const struct layer_footer *footer, const struct store_identity *store,
			 uint8_t block_out[LAYER_BLOCK_BYTES]);
/* 0; -EUCLEAN: not a footer of this store's layer, or one that contradicts itself. */
int layer_footer_decode(const uint8_t block[LAYER_BLOCK_BYTES], const struct store_identity *store,
			uint64_t layer_id, uint64_t file_bytes, struct layer_footer *footer_out);

/* Set, or check, the checksum at the end of block @number of layer @layer_id. */
void layer_block_seal(uint8_t block[LAYER_BLOCK_BYTES], const struct store_identity *store,
		      uint64_t layer_id, uint32_t number);
bool layer_block_good(const uint8_t block[LAYER_BLOCK_BYTES], const struct store_identity *store,
		      uint64_t layer_id, uint32_t number);

/* How many blocks the index of so many keys and versions takes, footer and all. */
struct layer_index_shape {
	uint32_t filter_lines, filter_blocks, key_blocks, version_blocks, fence_blocks;
};
struct layer_index_shape layer_index_shape(uint32_t key_count, uint32_t version_count);
uint64_t layer_index_bytes(uint32_t key_count, uint32_t version_count);

/*
 * The filter: each key sets LAYER_FILTER_PROBES bits of one 64-byte line. Lines
 * keep a probe to one cache line (Putze, Sanders, Singler, "Cache-, hash- and
 * space-efficient Bloom filters", 2007). 10 bits a key: about 1 % false hits.
 */
#define LAYER_FILTER_BITS_PER_KEY 10u
#define LAYER_FILTER_PROBES 6u

static inline uint32_t layer_filter_line(uint64_t hash, uint32_t line_count)
{
	return (uint32_t)(((hash >> 32) * line_count) >> 32);
}

static inline unsigned layer_filter_bit(uint64_t hash, unsigned probe)
{
	return (unsigned)((hash * UINT64_C(0x9e3779b97f4a7c15)) >> (probe * 9)) & 511u;
}

/* Does the line that @hash leads to have all its bits? */
static inline bool layer_filter_line_has(const uint8_t line[LAYER_FILTER_LINE_BYTES], uint64_t hash)
{
	for (unsigned probe = 0; probe < LAYER_FILTER_PROBES; probe++) {
		unsigned bit = layer_filter_bit(hash, probe);

		if (!(line[bit / 8] & 1u << bit % 8))
			return false;
	}
	return true;
}

static inline void layer_filter_line_set(uint8_t line[LAYER_FILTER_LINE_BYTES], uint64_t hash)
{
	for (unsigned probe = 0; probe < LAYER_FILTER_PROBES; probe++) {
		unsigned bit = layer_filter_bit(hash, probe);

		line[bit / 8] |= (uint8_t)(1u << bit % 8);
	}
}

/* "<16 hexadecimal digits>.layer", NUL included. */
#define LAYER_NAME_BYTES 24u
void layer_name(uint64_t layer_id, char name_out[LAYER_NAME_BYTES]);
/* 0 and *layer_id_out; 1: not a layer's name. */
int layer_name_parse(const char *name, uint64_t *layer_id_out);

#endif
