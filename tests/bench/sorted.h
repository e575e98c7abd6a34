/*
 * Sorted maps of (page, LSN) to a value: the rivals of the open layer's index.
 *
 * Each finds the newest version of a page at or below an LSN, by one search
 * for the greatest key not above (page, LSN). Keys are 128-bit integers, the
 * page above the LSN, which compares in two instructions; varve's keys are
 * wider, so the rivals are not held back by theirs.
 *
 *   sorted_array: one sorted array and a search without branches. It can't take
 *       an insertion, so it stands for the fastest that a sorted map can read.
 *   sorted_btree: a B+tree with wide nodes, each searched from its start, as the
 *       best of the in-memory maps (Rust's BTreeMap, Abseil's btree) do it.
 *   sorted_rbtree: glibc's tsearch, a red-black tree with a node a version.
 *
 * One thread.
 */
#ifndef VARVE_BENCH_SORTED_H
#define VARVE_BENCH_SORTED_H

#include <stddef.h>
#include <stdint.h>

typedef unsigned __int128 sorted_key;

static inline sorted_key sorted_key_make(uint64_t page, uint64_t lsn)
{
	return (sorted_key)page << 64 | lsn;
}

static inline uint64_t sorted_key_page(sorted_key key)
{
	return (uint64_t)(key >> 64);
}

static inline uint64_t sorted_key_lsn(sorted_key key)
{
	return (uint64_t)key;
}

struct sorted_entry {
	sorted_key key;
	uint64_t value;
};

struct sorted_array;
struct sorted_btree;
struct sorted_rbtree;

/* Makers return NULL without memory. Keys are distinct; the array sorts a copy. */
struct sorted_array *sorted_array_new(const struct sorted_entry *entries, size_t count);
struct sorted_btree *sorted_btree_new(void);
struct sorted_rbtree *sorted_rbtree_new(void);

int sorted_btree_insert(struct sorted_btree *tree, sorted_key key, uint64_t value);     /* 0, -ENOMEM */
int sorted_rbtree_insert(struct sorted_rbtree *tree, sorted_key key, uint64_t value);

/* The entry with the greatest key not above @key; 0 and *entry_out, or 1: there is none. */
int sorted_array_floor(const struct sorted_array *array, sorted_key key,
		       struct sorted_entry *entry_out);
int sorted_btree_floor(const struct sorted_btree *tree, sorted_key key,
		       struct sorted_entry *entry_out);
int sorted_rbtree_floor(const struct sorted_rbtree *tree, sorted_key key,
			struct sorted_entry *entry_out);

/* NULL is ignored. */
void sorted_array_free(struct sorted_array *array);
void sorted_btree_free(struct sorted_btree *tree);
void sorted_rbtree_free(struct sorted_rbtree *tree);

#endif
