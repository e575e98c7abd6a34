/*
 * Key: what a version is a version of. (inode number, kind, index), ordered so
 * that everything of one inode lies together and each kind is a range.
 *
 * Kind and index share one word: the kind in the top 8 bits, the index (block
 * number, hash of a name) in the other 56. The numbers are on disk; FORMAT.md
 * lists them.
 */
#ifndef VARVE_BASE_KEY_H
#define VARVE_BASE_KEY_H

#include <stdbool.h>
#include <stdint.h>

enum key_kind {
	KEY_ATTR = 1,           /* index 0: the inode's attributes */
	KEY_FLOOR = 2,          /* index 0: which blocks were cut off, and when */
	KEY_NAME = 3,           /* index: hash of a name in this directory */
	KEY_XATTR = 4,          /* index 0: names of extended attributes; else the value of one */
	KEY_PAGE = 5,           /* index: block number */
	KEY_MAP = 6,            /* index: level << 48 | number of a node of the page map */
	KEY_TIME = 9,           /* of inode KEY_TIME_INO alone, index 0: when the batch at an LSN was made */
};

/* Kinds are below; the index in memory has one of its own (version_index.c). On disk it is damage. */
#define KEY_KIND_LIMIT 0xffu

#define KEY_TIME_INO UINT64_C(1)        /* no inode of the tree has it */

#define KEY_INDEX_BITS 56
#define KEY_INDEX_MAX ((UINT64_C(1) << KEY_INDEX_BITS) - 1)

struct key {
	uint64_t ino;
	uint64_t sub;           /* kind << 56 | index */
};

/* Above every key there is. */
#define KEY_END ((struct key){ UINT64_MAX, UINT64_MAX })

static inline struct key key_make(uint64_t ino, enum key_kind kind, uint64_t index)
{
	return (struct key){ ino, (uint64_t)kind << KEY_INDEX_BITS | index };
}

static inline enum key_kind key_kind(struct key key)
{
	return (enum key_kind)(key.sub >> KEY_INDEX_BITS);
}

static inline uint64_t key_index(struct key key)
{
	return key.sub & KEY_INDEX_MAX;
}

static inline bool key_equal(struct key a, struct key b)
{
	return a.ino == b.ino && a.sub == b.sub;
}

static inline int key_compare(struct key a, struct key b)
{
	if (a.ino != b.ino)
		return a.ino < b.ino ? -1 : 1;
	return a.sub < b.sub ? -1 : a.sub > b.sub;
}

/* A well mixed 64-bit hash (the finalizer of MurmurHash3 over both words).
 * On disk: a layer's filter is made of it. */
static inline uint64_t key_hash(struct key key)
{
	uint64_t h = key.ino * UINT64_C(0x9e3779b97f4a7c15) ^ key.sub;

	h ^= h >> 33;
	h *= UINT64_C(0xff51afd7ed558ccd);
	h ^= h >> 33;
	h *= UINT64_C(0xc4ceb9fe1a85ec53);
	h ^= h >> 33;
	return h;
}

#endif
