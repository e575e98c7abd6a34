/*
 * Version index: from a key to its versions, in memory, newest first.
 *
 * One writer at a time (the owner says which lock), any number of readers, who
 * take no lock. A hash table leads to the key, which holds its first version;
 * the later ones lie in chunks, each of three times the room of the one before,
 * newest chunk first. So a key's versions lie together, few cache lines are touched,
 * and the newest version at or below an LSN is found by a walk along chunks and
 * a binary search in one. (Measured: a list with skip links took twice the
 * time at 12 versions a page; varve-bench lookup.)
 *
 * Invariants:
 *   (1) A node never changes once it can be reached. What grows are a chunk's
 *       count, a key's newest chunk and a group's head, all stored with release.
 *   (2) A reader that has seen LSN n (acquire) finds every version <= n: each
 *       is inserted before its LSN is published.
 *   (3) A table that was outgrown stays as it was until the index is freed, so
 *       a reader in it is right about all it may ask for, by (2).
 *
 * Names are also linked into a group per inode, so that a directory can be
 * listed; the group's order is that of insertion.
 */
#ifndef VARVE_LAYERS_VERSION_INDEX_H
#define VARVE_LAYERS_VERSION_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "key.h"

struct version_index;

/* A version as the index holds it. Offsets and LSNs are relative to the layer. */
struct version_node {
	uint64_t checksum;      /* of the payload */
	uint32_t lsn;           /* minus the layer's start */
	uint32_t offset;        /* of the payload in the file */
	uint32_t size_bytes;    /* of the payload */
	uint8_t form, weight;
	uint16_t nth;           /* place in its chunk; set by the index */
};

/* Room for at most @version_limit versions; memory is taken as it fills.
 * 0 or -ENOMEM. */
int version_index_create(uint32_t version_limit, struct version_index **index_out);
void version_index_free(struct version_index *index);   /* NULL is ignored */

/* Make sure that @count insertions of new keys will succeed. The writer. -ENOMEM. */
int version_index_prepare(struct version_index *index, uint32_t count);

/* Add a version, newer than all of its key. The writer; prepared. */
void version_index_insert(struct version_index *index, struct key key,
			  const struct version_node *node);

/* The newest version of @key with node->lsn <= @lsn; NULL if there is none. */
const struct version_node *version_index_find(const struct version_index *index, struct key key,
					      uint32_t lsn);

/* The version before @node; NULL if it is the oldest. */
const struct version_node *version_index_before(const struct version_index *index,
						const struct version_node *node);

/* Call @fn with every name key of @ino. Stops at the first that is not 0 and
 * returns it. */
typedef int version_index_key_fn(void *context, struct key key);
int version_index_each_name(const struct version_index *index, uint64_t ino,
			    version_index_key_fn *fn, void *context);

/* Call @fn with every key and its newest version, in no order. As above. */
typedef int version_index_version_fn(void *context, struct key key,
				     const struct version_node *newest);
int version_index_each_key(const struct version_index *index, version_index_version_fn *fn,
			   void *context);

uint32_t version_index_key_count(const struct version_index *index);
uint32_t version_index_version_count(const struct version_index *index);
uint64_t version_index_memory_bytes(const struct version_index *index);

/* All keys in key order, with their newest version. No writer may be left.
 * *keys_out is freed by the caller. -ENOMEM. */
struct version_index_key {
	struct key key;
	const struct version_node *newest;
};
int version_index_sort(const struct version_index *index, struct version_index_key **keys_out,
		       uint32_t *count_out);

#endif
