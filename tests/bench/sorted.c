#include "sorted.h"

#include <errno.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_BYTES (2u << 20)

/* Memory in huge pages where the system has them: a search is a chain of cache
 * misses, and each would miss the TLB as well. Freed by free. */
static void *huge_alloc(size_t size_bytes)
{
	size_t rounded = (size_bytes + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
	void *memory = aligned_alloc(HUGE_BYTES, rounded);

	if (memory)
		madvise(memory, rounded, MADV_HUGEPAGE);
	return memory;
}

/* The array: keys and values apart, so that a search touches keys only. */

struct sorted_array {
	size_t count;
	sorted_key *keys;
	uint64_t *values;
};

static int entry_compare(const void *a, const void *b)
{
	sorted_key x = ((const struct sorted_entry *)a)->key;
	sorted_key y = ((const struct sorted_entry *)b)->key;

	return (x > y) - (x < y);
}

static int array_fill(struct sorted_array *array, const struct sorted_entry *entries, size_t count)
{
	struct sorted_entry *sorted = huge_alloc(count * sizeof(*sorted));

	array->keys = huge_alloc(count * sizeof(*array->keys));
	array->values = huge_alloc(count * sizeof(*array->values));
	if (!sorted || !array->keys || !array->values) {
		free(sorted);
		return -ENOMEM;
	}
	memcpy(sorted, entries, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), entry_compare);
	for (size_t i = 0; i < count; i++) {
		array->keys[i] = sorted[i].key;
		array->values[i] = sorted[i].value;
	}
	array->count = count;
	free(sorted);
	return 0;
}

struct sorted_array *sorted_array_new(const struct sorted_entry *entries, size_t count)
{
	struct sorted_array *array = calloc(1, sizeof(*array));

	if (array && array_fill(array, entries, count)) {
		sorted_array_free(array);
		return NULL;
	}
	return array;
}

/* How many of the sorted @keys are at or below @key. The step is an addition
 * and not a jump, because the jump would be guessed wrong every other time. */
static size_t array_search(const sorted_key *keys, size_t count, sorted_key key)
{
	const sorted_key *base = keys;

	while (count > 1) {
		size_t half = count / 2;

		base += half * (base[half] <= key);
		count -= half;
	}
	return (size_t)(base - keys) + (*base <= key);
}

int sorted_array_floor(const struct sorted_array *array, sorted_key key,
		       struct sorted_entry *entry_out)
{
	size_t below = array_search(array->keys, array->count, key);

	if (below == 0)
		return 1;
	entry_out->key = array->keys[below - 1];
	entry_out->value = array->values[below - 1];
	return 0;
}

void sorted_array_free(struct sorted_array *array)
{
	if (!array)
		return;
	free(array->keys);
	free(array->values);
	free(array);
}

/*
 * The B+tree. A separator is the first key of the subtree to its right, and
 * nothing is ever deleted: so the greatest key not above the one searched for
 * is in the leaf the search ends in, unless there is none at all.
 */

#define NODE_KEYS 32u           /* measured: 16 and 48 are no faster */

struct btree_node {
	bool leaf;
	uint32_t count;                         /* keys */
	sorted_key keys[NODE_KEYS];             /* of an inner node: separators */
	union {
		uint64_t values[NODE_KEYS];
		struct btree_node *children[NODE_KEYS + 1];
	};
};

/* Nodes come out of chunks and go with the tree. */
struct btree_chunk {
	struct btree_chunk *next;
	size_t count;
	struct btree_node nodes[];
};

#define CHUNK_NODES ((HUGE_BYTES - sizeof(struct btree_chunk)) / sizeof(struct btree_node))

struct sorted_btree {
	struct btree_node *root;
	struct btree_chunk *chunks;
};

/* How many of the sorted @keys are at or below @key. One after the other: in a
 * node this short that took half the time of halving, as the processor goes on
 * to the next node before it knows the comparisons' outcome. */
static size_t node_search(const struct btree_node *node, sorted_key key)
{
	size_t at = 0;

	while (at < node->count && node->keys[at] <= key)
		at++;
	return at;
}

static struct btree_node *btree_node_new(struct sorted_btree *tree, bool leaf)
{
	struct btree_chunk *chunk = tree->chunks;
	struct btree_node *node;

	if (!chunk || chunk->count == CHUNK_NODES) {
		chunk = huge_alloc(HUGE_BYTES);
		if (!chunk)
			return NULL;
		chunk->count = 0;
		chunk->next = tree->chunks;
		tree->chunks = chunk;
	}
	node = &chunk->nodes[chunk->count++];
	node->leaf = leaf;
	node->count = 0;
	return node;
}

struct sorted_btree *sorted_btree_new(void)
{
	struct sorted_btree *tree = calloc(1, sizeof(*tree));

	if (tree)
		tree->root = btree_node_new(tree, true);
	if (tree && !tree->root) {
		free(tree);
		return NULL;
	}
	return tree;
}

static void btree_leaf_insert(struct btree_node *leaf, uint32_t at, sorted_key key, uint64_t value)
{
	memmove(&leaf->keys[at + 1], &leaf->keys[at], (leaf->count - at) * sizeof(leaf->keys[0]));
	memmove(&leaf->values[at + 1], &leaf->values[at],
		(leaf->count - at) * sizeof(leaf->values[0]));
	leaf->keys[at] = key;
	leaf->values[at] = value;
	leaf->count++;
}

static void btree_child_insert(struct btree_node *node, uint32_t at, sorted_key separator,
			       struct btree_node *right)
{
	memmove(&node->keys[at + 1], &node->keys[at], (node->count - at) * sizeof(node->keys[0]));
	memmove(&node->children[at + 2], &node->children[at + 1],
		(node->count - at) * sizeof(node->children[0]));
	node->keys[at] = separator;
	node->children[at + 1] = right;
	node->count++;
}

/* Move the upper half of a full @node to a new one; its separator goes up. */
static struct btree_node *btree_node_split(struct sorted_btree *tree, struct btree_node *node,
					   sorted_key *separator_out)
{
	struct btree_node *right = btree_node_new(tree, node->leaf);
	uint32_t half = NODE_KEYS / 2;
	/* A leaf keeps the separator as its first key; an inner node gives it away. */
	uint32_t from = node->leaf ? half : half + 1;

	if (!right)
		return NULL;
	*separator_out = node->keys[half];
	right->count = node->count - from;
	memcpy(right->keys, node->keys + from, right->count * sizeof(node->keys[0]));
	if (node->leaf)
		memcpy(right->values, node->values + from, right->count * sizeof(node->values[0]));
	else
		memcpy(right->children, node->children + from,
		       (right->count + 1) * sizeof(node->children[0]));
	node->count = half;
	return right;
}

/* Split child @at of @node, which has room, if the child is full. */
static int btree_child_make_room(struct sorted_btree *tree, struct btree_node *node, uint32_t at)
{
	struct btree_node *right;
	sorted_key separator;

	if (node->children[at]->count < NODE_KEYS)
		return 0;
	right = btree_node_split(tree, node->children[at], &separator);
	if (!right)
		return -ENOMEM;
	btree_child_insert(node, at, separator, right);
	return 0;
}

static int btree_root_make_room(struct sorted_btree *tree)
{
	struct btree_node *root;
	int err;

	if (tree->root->count < NODE_KEYS)
		return 0;
	root = btree_node_new(tree, false);
	if (!root)
		return -ENOMEM;
	root->children[0] = tree->root;
	err = btree_child_make_room(tree, root, 0);
	if (!err)
		tree->root = root;
	return err;
}

int sorted_btree_insert(struct sorted_btree *tree, sorted_key key, uint64_t value)
{
	struct btree_node *node;
	int err = btree_root_make_room(tree);

	if (err)
		return err;
	for (node = tree->root; !node->leaf;) {
		uint32_t at = (uint32_t)node_search(node, key);

		err = btree_child_make_room(tree, node, at);
		if (err)
			return err;
		node = node->children[node_search(node, key)];
	}
	btree_leaf_insert(node, (uint32_t)node_search(node, key), key, value);
	return 0;
}

int sorted_btree_floor(const struct sorted_btree *tree, sorted_key key,
		       struct sorted_entry *entry_out)
{
	const struct btree_node *node = tree->root;
	size_t below;

	while (!node->leaf)
		node = node->children[node_search(node, key)];
	below = node_search(node, key);
	if (below == 0)
		return 1;
	entry_out->key = node->keys[below - 1];
	entry_out->value = node->values[below - 1];
	return 0;
}

void sorted_btree_free(struct sorted_btree *tree)
{
	if (!tree)
		return;
	for (struct btree_chunk *chunk = tree->chunks, *next; chunk; chunk = next) {
		next = chunk->next;
		free(chunk);
	}
	free(tree);
}

/*
 * The red-black tree. tfind knows only equality, but it shows its comparison
 * every node on the way down, and the greatest key not above ours is one of
 * them: the last that was below. glibc passes what is searched for first.
 */

struct sorted_rbtree {
	void *root;
};

struct rbtree_search {
	struct sorted_entry entry;              /* first, so that it compares as one */
	const struct sorted_entry *floor;
};

static int rbtree_compare(const void *a, const void *b)
{
	return entry_compare(a, b);
}

static int rbtree_search_compare(const void *sought, const void *met)
{
	struct rbtree_search *search = (struct rbtree_search *)sought;
	const struct sorted_entry *entry = met;

	if (entry->key > search->entry.key)
		return -1;
	search->floor = entry;
	return entry->key < search->entry.key;
}

struct sorted_rbtree *sorted_rbtree_new(void)
{
	return calloc(1, sizeof(struct sorted_rbtree));
}

int sorted_rbtree_insert(struct sorted_rbtree *tree, sorted_key key, uint64_t value)
{
	struct sorted_entry *entry = aligned_alloc(_Alignof(struct sorted_entry), sizeof(*entry));

	if (!entry)
		return -ENOMEM;
	*entry = (struct sorted_entry){ key, value };
	if (!tsearch(entry, &tree->root, rbtree_compare)) {
		free(entry);
		return -ENOMEM;
	}
	return 0;
}

int sorted_rbtree_floor(const struct sorted_rbtree *tree, sorted_key key,
			struct sorted_entry *entry_out)
{
	struct rbtree_search search = { .entry.key = key };

	tfind(&search, &tree->root, rbtree_search_compare);
	if (!search.floor)
		return 1;
	*entry_out = *search.floor;
	return 0;
}

void sorted_rbtree_free(struct sorted_rbtree *tree)
{
	if (!tree)
		return;
	tdestroy(tree->root, free);
	free(tree);
}
