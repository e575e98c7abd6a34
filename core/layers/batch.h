/*
 * Batch: the record of the history. One change of the tree, one LSN.
 *
 * On disk (little-endian; FORMAT.md):
 *   header, 28 bytes:
 *      0  u64 chain         XXH3 of the bytes from 8 to the end of the entry
 *                           heads, seeded with the chain of the batch before
 *      8  u32 size          of the whole batch
 *     12  u16 entry count
 *     14  u16 flags         1: opened (16 random bytes follow the header, no entries)
 *     16  i64 time          nanoseconds since the epoch
 *     24  u32 durable lag   the batch's start minus the LSN known to be durable
 *                           when it was written (saturating)
 *   entry heads: u8 kind, u8 form, u8 weight, varint inode number,
 *      varint index, varint payload size, u64 checksum
 *   payloads, in the same order
 *
 * The chain covers the heads and they hold the payloads' checksums, so a batch
 * is accepted only behind the very history it was written behind: bytes of an
 * earlier life beyond a crash's end never pass. The durable lag tells a torn
 * end (nothing beyond it was synced) from damage to what had been synced.
 */
#ifndef VARVE_LAYERS_BATCH_H
#define VARVE_LAYERS_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "codec.h"
#include "key.h"
#include "lsn.h"

#define BATCH_HEADER_BYTES 28u
#define BATCH_NONCE_BYTES 16u
#define BATCH_ENTRY_HEAD_MAX 41u        /* 3 + three varints + 8 */
#define BATCH_ENTRY_MAX 65535u
#define BATCH_INLINE_HEAD_BYTES 24u

enum batch_flag {
	BATCH_OPENED = 1,       /* marks a new life of the store; changes nothing */
};

/* What a version is, given the one before. Numbers are on disk. */
enum version_form {
	VERSION_IMAGE = 1,      /* the value, from its first byte; pages are zeros beyond it */
	VERSION_PATCH = 2,      /* changes to the version before; to zeros if its weight is 0 */
	VERSION_TOMBSTONE = 3,  /* the key has no value from here on */
	VERSION_LOST = 4,       /* table layers alone: there was one, its bytes were damaged and are gone */
};

/*
 * Weight bounds what a reader must go through. 0: the version stands alone.
 * Else it is a patch, to be applied over the version before it, whose weight is
 * lower. No more than VERSION_WEIGHT_MAX patches, of no more bytes than one
 * page, lie over one another.
 */
#define VERSION_WEIGHT_MAX 64u

/* Weight of a patch of @patch_bytes over a version of @weight_before. Above
 * VERSION_WEIGHT_MAX: write an image instead. */
static inline unsigned version_patch_weight(unsigned weight_before, size_t patch_bytes,
					    size_t page_bytes)
{
	return weight_before + 1 + (unsigned)(patch_bytes * VERSION_WEIGHT_MAX / page_bytes);
}

/* One entry to be written. The payload is @head then @body; @body is borrowed
 * until the batch is filled. */
struct batch_entry {
	struct key key;
	uint8_t form, weight;
	uint8_t head_bytes;
	uint8_t head[BATCH_INLINE_HEAD_BYTES];
	const void *body;
	uint32_t body_bytes;
	/* set by batch_fill */
	uint32_t payload_at;    /* offset in the batch */
	uint64_t checksum;
};

static inline uint32_t batch_entry_payload_bytes(const struct batch_entry *entry)
{
	return entry->head_bytes + entry->body_bytes;
}

/* Bytes the batch takes in the history; 0 if it has too many entries. */
size_t batch_size(const struct batch_entry *entries, size_t count);

/* Where a batch stands, and whose it is. */
struct batch_context {
	uint64_t store_seed;
	struct lsn lsn;         /* its own: where it ends */
	int64_t time_ns;
	uint32_t durable_lag;
};

/* Write everything but the chain to @out, of batch_size bytes. Returns the bytes
 * of header and heads, for batch_finish. */
size_t batch_fill(struct batch_entry *entries, size_t count, const struct batch_context *context,
		uint8_t *out);

/*
 * batch_fill for a batch that is written by one system call: its bytes are the
 * @*vector_count_out pieces of @vectors_out, at most 2 * @count + 1. Large payloads stay
 * where they are; the rest goes to @scratch, of batch_scratch_size bytes.
 */
size_t batch_scratch_size(const struct batch_entry *entries, size_t count);
size_t batch_fill_vectors(struct batch_entry *entries, size_t count,
			  const struct batch_context *context, uint8_t *scratch,
			  struct iovec *vectors_out, size_t *vector_count_out);

/* Write the batch that marks a new life, all but its chain. Returns as batch_fill. */
#define BATCH_OPENED_BYTES (BATCH_HEADER_BYTES + BATCH_NONCE_BYTES)
size_t batch_fill_opened(const struct batch_context *context,
		       const uint8_t nonce[BATCH_NONCE_BYTES], uint8_t *out);

/* Write the chain of a filled batch, behind a batch whose chain is @chain_before. Returns it. */
uint64_t batch_finish(uint8_t *batch, size_t heads_bytes, uint64_t chain_before);

/* A batch read back. */
struct batch_view {
	const uint8_t *bytes;
	uint32_t size_bytes;
	uint16_t entry_count, flags;
	int64_t time_ns;
	uint32_t durable_lag;
	uint64_t chain;
	struct get_cursor heads;        /* at the next entry's head */
	uint32_t payload_at;            /* of the next entry */
};

/*
 * Look at the batch at @bytes, of which @limit_bytes are there. 0: its heads
 * are whole and follow @chain_before; 1: they are not (the history ends here,
 * or is damaged). Payloads are not looked at.
 */
int batch_view_open(const uint8_t *bytes, size_t limit_bytes, uint64_t chain_before,
		    struct batch_view *view_out);

/* batch_view_open without a look at the chain, for what lies behind damage: the
 * heads make sense, and nothing else is known. */
int batch_view_parse(const uint8_t *bytes, size_t limit_bytes, struct batch_view *view_out);
/* What the chain of a batch just opened or parsed should be behind @chain_before. */
uint64_t batch_view_chain(const struct batch_view *view, uint64_t chain_before);

struct batch_view_entry {
	struct key key;
	uint8_t form, weight;
	uint32_t payload_at, payload_bytes;     /* within the batch */
	uint64_t checksum;
};

/* The next entry. 0; 1: there are no more. */
int batch_view_next(struct batch_view *view, struct batch_view_entry *entry_out);

#endif
