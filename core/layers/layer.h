/*
 * Layer: a stretch of the history, (start, end], with an index by key.
 *
 * An open layer takes batches; a sealed one is read from its file and never
 * changes; a table layer holds, of some keys, the versions that compaction kept. This header is
 * what readers need of any; open_layer.h, sealed_layer.h and table_layer.h make them.
 *
 * A layer handed out under a guard lives until the guard is dropped. The calls
 * here take no lock but a cache shard's and may be made from any thread.
 */
#ifndef VARVE_LAYERS_LAYER_H
#define VARVE_LAYERS_LAYER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "batch.h"
#include "guard.h"
#include "layer_file.h"

enum layer_kind {
	LAYER_OPEN,
	LAYER_SEALED,
	LAYER_TABLE,
};

struct layer {
	enum layer_kind kind;
	uint64_t id;                    /* grows with start */
	struct lsn start;               /* holds batches with LSN > start */
	const struct store_identity *store;     /* outlives the layer */
	struct guard_garbage garbage;
	struct layer *next_held;        /* of one that left the map and is not removed yet: its remover's */
};

/* A version found in a layer. Borrowed while the guard lasts. */
struct version {
	struct layer *layer;
	struct key key;
	struct lsn lsn;
	union {
		uint64_t checksum;      /* of the payload */
		const uint8_t *payload; /* table layers: the payload itself, verified, in the block cache */
	};
	uint32_t offset;                /* of the payload in the layer's file; table layers: in its block */
	uint32_t size_bytes;            /* of the payload */
	uint8_t form;                   /* enum version_form; 0: nothing found */
	uint8_t weight;
	uint32_t back;                  /* table layers: LSN minus position */
};

/* The byte of the history at which the version's payload lay when it was written: of
 * attributes. Of other keys in a table layer it is the LSN. */
static inline uint64_t version_position(const struct version *version)
{
	if (version->layer->kind == LAYER_TABLE)
		return version->lsn.value - version->back;
	return version->layer->start.value + version->offset - LAYER_HEADER_BYTES;
}

/* Find the newest version of @key at or below @lsn. 0; 1: this layer has none;
 * -EBADMSG: an index block is damaged; other -errno. */
int layer_find(struct layer *layer, struct key key, struct lsn lsn, struct version *version_out);

/*
 * The versions of @key from the newest at or below @lsn downward, one behind the other, up to
 * one of weight 0 or the oldest that the layer has, at most @room. 0 and *count_out, which
 * is 0 if it has none; -errno as layer_find.
 */
int layer_find_chain(struct layer *layer, struct key key, struct lsn lsn, struct version *versions,
		     uint32_t room, uint32_t *count_out);

/*
 * layer_find for the @count pages of @ino from block @first on, in one visit:
 * fills those of @versions whose form is still 0 and adds how many to
 * *found. 0 or -errno.
 */
int layer_find_pages(struct layer *layer, uint64_t ino, uint64_t first, uint32_t count,
		     struct lsn lsn, struct version *versions, uint32_t *found);

/*
 * layer_find for the names of directory @ino with @hashes, @count of them, ascending, up to the first that is
 * another layer's: fills those of @versions whose form is still 0. The keys between them are
 * gone through where that is cheaper, so they should be most of those there are. 0 and *done_out, how many
 * were looked for, at least one; -errno.
 */
int layer_find_names(struct layer *layer, uint64_t ino, const uint64_t *hashes, uint32_t count,
		     struct lsn lsn, struct version *versions, uint32_t *done_out);

/* Call @fn with each name key of directory @ino whose index is >= @from, in any
 * order. Stops at the first result that is not 0 and returns it. */
typedef int layer_key_fn(void *context, struct key key);
int layer_each_name(struct layer *layer, uint64_t ino, uint64_t from, layer_key_fn *fn,
		    void *context);

/* Call @fn with every version of every key of inode @ino, in any order. As above. */
typedef int layer_version_fn(void *context, const struct version *version);
int layer_each_version(struct layer *layer, uint64_t ino, layer_version_fn *fn, void *context);

/*
 * The payload of a version, its checksum verified. An open layer's lies in its
 * arena and is not copied, a table layer's lies in the block cache, and so may a sealed layer's that is small;
 * else it is read into @scratch, which has room for version->size_bytes. A guard is held. 0 and
 * *payload_out; -EBADMSG: the checksum is wrong; other -errno. Use an open layer's as version_view says.
 */
int version_load(const struct version *version, void *scratch, const uint8_t **payload_out);

/* Have the payloads of versions nearer by that will be loaded one after the other: what is in memory is fetched side by
 * side, and so is what is on the disk. All are of one engine. A guard is held. */
void versions_prefetch(const struct version *versions, uint32_t count);

/* Would version_load find it in memory? */
bool version_is_at_hand(const struct version *version);

/* Does an image that is at hand have much in common with @bytes (at least as many, and
 * at least 64)? A glance at a few places, unverified: for choosing what to do, not
 * for showing. */
bool version_looks_like(const struct version *version, const uint8_t *bytes, size_t size_bytes);

/*
 * The payload of a version where it lies, in a mapping of its layer's file or in the block
 * cache, its checksum verified. Valid while the guard lasts; whoever touches it does so
 * under fault_guarded, or hands it to a system call. 0 and *payload_out; 1: this layer
 * is not mapped, use version_load; -EBADMSG; -EIO: its pages can't be read; other -errno.
 */
int version_view(const struct version *version, const uint8_t **payload_out);

#endif
