#include "page_map.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "change.h"
#include "engine.h"
#include "patch.h"
#include "store_internal.h"

#define CHILDREN (1u << PAGE_MAP_CHILD_BITS)
#define LEAF_BLOCKS (UINT64_C(1) << PAGE_MAP_LEAF_BITS)
/* A level above this has room for more blocks than 64 bits can number. */
#define LEVEL_MAX 6u
#define INDEX_LEVEL_SHIFT 48
/* A map that is only read forgets its nodes beyond so many: the way down takes one a level. */
#define READ_NODES_MAX 16u

struct page_map_node {
	unsigned level;
	uint64_t index;
	bool fresh;                     /* no record is leant on */
	bool changed;
	uint8_t weight;                 /* of the record, if not fresh */
	uint8_t next_weight;            /* of what was written */
	uint64_t count;                 /* pages below */
	uint32_t size_bytes;
	uint32_t from, to;              /* bytes of the value that changed lie within */
	uint8_t *before;                /* as the record has it, once changed; NULL: zeros */
	uint8_t *payload;               /* room for a patch, once written */
	uint8_t value[];
};

/* Blocks below a node. */
static uint64_t capacity(unsigned level)
{
	return LEAF_BLOCKS << level * PAGE_MAP_CHILD_BITS;
}

static unsigned height_of(uint64_t block_end)
{
	unsigned level = 0;

	while (level < LEVEL_MAX && block_end > capacity(level))
		level++;
	return level;
}

void page_map_begin(struct page_map *map, const struct layer_guard *guard, uint64_t ino, struct lsn lsn,
		    uint64_t block_end, uint64_t page_count)
{
	*map = (struct page_map){
		.guard = guard, .ino = ino, .lsn = lsn,
		.height = height_of(block_end), .page_count = page_count,
	};
}

static void node_free(struct page_map_node *node)
{
	free(node->before);
	free(node->payload);
	free(node);
}

static void forget_nodes(struct page_map *map)
{
	for (uint32_t i = 0; i < map->node_count; i++)
		node_free(map->nodes[i]);
	map->node_count = 0;
	map->changed_count = 0;
}

/* All below (@level, @index) and it, which is emptied as a whole. */
static void forget_below(struct page_map *map, unsigned level, uint64_t index)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < map->node_count; i++) {
		struct page_map_node *node = map->nodes[i];

		if (node->level > level ||
		    node->index >> (level - node->level) * PAGE_MAP_CHILD_BITS != index) {
			map->nodes[kept++] = node;
			continue;
		}
		map->changed_count -= node->changed;
		node_free(node);
	}
	map->node_count = kept;
}

void page_map_end(struct page_map *map)
{
	forget_nodes(map);
	free(map->nodes);
	*map = (struct page_map){ .guard = NULL };
}

/* ---- a node's value ---- */

static uint64_t child_count(const struct page_map_node *node, unsigned child)
{
	uint64_t count;

	memcpy(&count, node->value + (size_t)child * sizeof(count), sizeof(count));
	return le64toh(count);
}

static void child_count_set(struct page_map_node *node, unsigned child, uint64_t count)
{
	count = htole64(count);
	memcpy(node->value + (size_t)child * sizeof(count), &count, sizeof(count));
}

static bool bit_is_set(const struct page_map_node *leaf, uint64_t bit)
{
	return leaf->value[bit / 8] >> bit % 8 & 1;
}

/* What the node holds in all. UINT64_MAX: impossible. */
static uint64_t count_of(const struct page_map_node *node)
{
	uint64_t count = 0;

	if (node->level == 0) {
		for (size_t i = 0; i < PAGE_MAP_LEAF_BYTES; i += sizeof(uint64_t)) {
			uint64_t word;

			memcpy(&word, node->value + i, sizeof(word));
			count += (uint64_t)__builtin_popcountll(word);
		}
		return count;
	}
	for (unsigned i = 0; i < CHILDREN; i++) {
		uint64_t below = child_count(node, i);

		if (below > capacity(node->level - 1))
			return UINT64_MAX;
		count += below;
	}
	return count;
}

static void fill(struct page_map_node *node)
{
	if (node->level == 0)
		memset(node->value, 0xff, node->size_bytes);
	for (unsigned i = 0; node->level && i < CHILDREN; i++)
		child_count_set(node, i, capacity(node->level - 1));
}

/* ---- getting hold of nodes ---- */

static struct key node_key(const struct page_map *map, const struct page_map_node *node)
{
	return key_make(map->ino, KEY_MAP, (uint64_t)node->level << INDEX_LEVEL_SHIFT | node->index);
}

static int load_value(const struct page_map *map, struct page_map_node *node, uint64_t count)
{
	struct version version;
	size_t size;
	int err = engine_find(map->guard, node_key(map, node), map->lsn, &version);

	if (!err)
		err = engine_load(map->guard, &version, node->value, node->size_bytes, &size);
	if (err)
		return err < 0 ? err : -EUCLEAN;
	node->weight = version.weight;
	return count_of(node) == count ? 0 : -EUCLEAN;
}

static struct page_map_node *node_find(const struct page_map *map, unsigned level, uint64_t index)
{
	for (uint32_t i = map->node_count; i-- > 0;)
		if (map->nodes[i]->index == index && map->nodes[i]->level == level)
			return map->nodes[i];
	return NULL;
}

/* A place for one more node. */
static int make_room(struct page_map *map)
{
	struct page_map_node **nodes;
	uint32_t room;

	if (map->node_count < map->node_room)
		return 0;
	room = map->node_room ? 2 * map->node_room : 8;
	nodes = realloc(map->nodes, room * sizeof(struct page_map_node *));
	if (!nodes)
		return -ENOMEM;
	map->nodes = nodes;
	map->node_room = room;
	return 0;
}

/* The node, of which those above say that it holds @count. */
static int node_get(struct page_map *map, unsigned level, uint64_t index, uint64_t count,
		    struct page_map_node **node_out)
{
	uint32_t size = level ? PAGE_MAP_INNER_BYTES : PAGE_MAP_LEAF_BYTES;
	struct page_map_node *node = node_find(map, level, index);
	int err = 0;

	*node_out = node;
	if (node)
		return 0;
	err = make_room(map);
	node = err ? NULL : calloc(1, sizeof(*node) + size);
	if (!node)
		return -ENOMEM;
	node->level = level;
	node->index = index;
	node->size_bytes = size;
	node->count = count;
	node->fresh = count == 0 || count == capacity(level);
	if (!node->fresh)
		err = load_value(map, node, count);
	else if (count)
		fill(node);
	if (err) {
		free(node);
		return err;
	}
	*node_out = map->nodes[map->node_count++] = node;
	return 0;
}

/* A way down begins. What was only read need not stay. */
static int root_get(struct page_map *map, struct page_map_node **root_out)
{
	if (!map->changed_count && map->node_count > READ_NODES_MAX)
		forget_nodes(map);
	return node_get(map, map->height, 0, map->page_count, root_out);
}

/* @size_bytes of the node are about to change at @at. */
static int node_change(struct page_map *map, struct page_map_node *node, uint32_t at,
		       uint32_t size_bytes)
{
	if (!node->changed) {
		if (!node->fresh) {
			node->before = malloc(node->size_bytes);
			if (!node->before)
				return -ENOMEM;
			memcpy(node->before, node->value, node->size_bytes);
		}
		node->changed = true;
		node->from = at;
		node->to = at + size_bytes;
		map->changed_count++;
	}
	if (at < node->from)
		node->from = at;
	if (at + size_bytes > node->to)
		node->to = at + size_bytes;
	return 0;
}

/* Of @child, which has @before, there are @count now. */
static int child_change(struct page_map *map, struct page_map_node *node, unsigned child,
			uint64_t before, uint64_t count)
{
	int err = node_change(map, node, child * (uint32_t)sizeof(count), sizeof(count));

	if (!err) {
		child_count_set(node, child, count);
		node->count += count - before;
	}
	return err;
}

static unsigned child_of(unsigned level, uint64_t block)
{
	return (unsigned)(block / capacity(level - 1) % CHILDREN);
}

static int child_get(struct page_map *map, const struct page_map_node *node, unsigned child,
		     struct page_map_node **child_out)
{
	return node_get(map, node->level - 1, node->index * CHILDREN + child,
			child_count(node, child), child_out);
}

/* ---- looking ---- */

int page_map_has(struct page_map *map, uint64_t block)
{
	struct page_map_node *node;
	int err;

	if (!map->page_count || block >= capacity(map->height))
		return 0;
	if (map->page_count == capacity(map->height))
		return 1;
	err = root_get(map, &node);
	while (!err && node->level) {
		unsigned child = child_of(node->level, block);
		uint64_t count = child_count(node, child);

		if (!count || count == capacity(node->level - 1))
			return count != 0;
		err = child_get(map, node, child, &node);
	}
	return err ? err : bit_is_set(node, block % LEAF_BLOCKS);
}

/* In what lies below @node: the first block from @block on that is @there. 0; 1: none; -errno. */
static int next_below(struct page_map *map, struct page_map_node *node, uint64_t block, bool there,
		      uint64_t *block_out)
{
	uint64_t first = node->index * capacity(node->level), last = first + capacity(node->level) - 1;
	int err = 1;

	if (block < first)
		block = first;
	if (node->level == 0) {
		while (block <= last && bit_is_set(node, block - first) != there)
			block++;
		*block_out = block;
		return block > last;
	}
	for (unsigned i = child_of(node->level, block); i < CHILDREN && err == 1; i++) {
		uint64_t room = capacity(node->level - 1), count = child_count(node, i);
		uint64_t child_first = first + i * room;
		struct page_map_node *child;

		if (count == (there ? 0 : room))
			continue;
		*block_out = block > child_first ? block : child_first;
		if (count == (there ? room : 0))
			return 0;
		err = child_get(map, node, i, &child);
		if (!err)
			err = next_below(map, child, block, there, block_out);
	}
	return err;
}

int page_map_next_page(struct page_map *map, uint64_t block, uint64_t *block_out)
{
	struct page_map_node *root;
	int err;

	*block_out = 0;
	if (!map->page_count || block >= capacity(map->height))
		return 1;
	err = root_get(map, &root);
	return err ? err : next_below(map, root, block, true, block_out);
}

int page_map_next_hole(struct page_map *map, uint64_t block, uint64_t *block_out)
{
	struct page_map_node *root;
	int err;

	*block_out = block;
	if (!map->page_count || block >= capacity(map->height))
		return 0;
	err = root_get(map, &root);
	if (!err)
		err = next_below(map, root, block, false, block_out);
	if (err == 1)
		*block_out = capacity(map->height);
	return err < 0 ? err : 0;
}

/* ---- changing ---- */

static int set_below(struct page_map *map, struct page_map_node *node, uint64_t block)
{
	struct page_map_node *child;
	unsigned at;
	int err;

	if (node->level == 0) {
		uint64_t bit = block % LEAF_BLOCKS;

		if (bit_is_set(node, bit))
			return 1;
		err = node_change(map, node, (uint32_t)bit / 8, 1);
		if (!err) {
			node->value[bit / 8] |= (uint8_t)(1u << bit % 8);
			node->count++;
		}
		return err;
	}
	at = child_of(node->level, block);
	err = child_get(map, node, at, &child);
	if (!err)
		err = set_below(map, child, block);
	return err ? err : child_change(map, node, at, child_count(node, at), child_count(node, at) + 1);
}

/* Make the tree so high; what there is becomes the first child of each new root. */
static int grow(struct page_map *map, unsigned height)
{
	int err = 0;

	while (map->height < height && !err) {
		struct page_map_node *root;

		if (map->page_count) {
			err = node_get(map, map->height + 1, 0, 0, &root);
			if (!err)
				err = child_change(map, root, 0, 0, map->page_count);
		}
		map->height += !err;
	}
	return err;
}

int page_map_set(struct page_map *map, uint64_t block)
{
	struct page_map_node *root;
	int err = grow(map, height_of(block + 1));

	if (!err)
		err = root_get(map, &root);
	if (!err)
		err = set_below(map, root, block);
	map->page_count += err == 0;
	return err < 0 ? err : 0;
}

static int clear_leaf(struct page_map *map, struct page_map_node *leaf, uint64_t from, uint64_t to,
		      uint64_t *cleared)
{
	int err = 0;

	for (uint64_t bit = from; bit < to && !err; bit++) {
		if (!bit_is_set(leaf, bit))
			continue;
		err = node_change(map, leaf, (uint32_t)bit / 8, 1);
		leaf->value[bit / 8] &= (uint8_t)~(1u << bit % 8);
		leaf->count--;
		++*cleared;
	}
	return err;
}

/* Clear [@from, @to) below @node, which holds a page there or elsewhere; adds to *cleared. */
static int clear_below(struct page_map *map, struct page_map_node *node, uint64_t from, uint64_t to,
		       uint64_t *cleared)
{
	uint64_t first = node->index * capacity(node->level);
	int err = 0;

	from = from > first ? from - first : 0;
	to = to - first < capacity(node->level) ? to - first : capacity(node->level);
	if (node->level == 0)
		return clear_leaf(map, node, from, to, cleared);
	for (unsigned i = child_of(node->level, from); i < CHILDREN && !err; i++) {
		uint64_t room = capacity(node->level - 1), at = i * room;
		uint64_t count = child_count(node, i), gone = 0;
		struct page_map_node *child;

		if (at >= to)
			break;
		if (!count)
			continue;
		if (from <= at && at + room <= to) {
			gone = count;
			forget_below(map, node->level - 1, node->index * CHILDREN + i);
		} else {
			err = child_get(map, node, i, &child);
			if (!err)
				err = clear_below(map, child, first + from, first + to, &gone);
		}
		if (!err && gone)
			err = child_change(map, node, i, count, count - gone);
		*cleared += gone;
	}
	return err;
}

int page_map_clear(struct page_map *map, uint64_t from, uint64_t to)
{
	struct page_map_node *root;
	uint64_t cleared = 0;
	int err = 0;

	if (to > capacity(map->height))
		to = capacity(map->height);
	if (!map->page_count || from >= to)
		return 0;
	if (from == 0 && to == capacity(map->height)) {
		cleared = map->page_count;
		forget_nodes(map);
	} else {
		err = root_get(map, &root);
		if (!err)
			err = clear_below(map, root, from, to, &cleared);
	}
	map->page_count -= err ? 0 : cleared;
	return err;
}

/* ---- writing ---- */

static size_t used_bytes(const struct page_map_node *node)
{
	size_t size = node->size_bytes;

	while (size && !node->value[size - 1])
		size--;
	return size;
}

/* A patch over the record before, or over zeros, if that is smaller than the value. */
static int write_node(struct page_map *map, struct page_map_node *node, struct change *change)
{
	static const uint8_t zeros[PAGE_MAP_INNER_BYTES];
	struct batch_entry *entry = change_entry(change);
	size_t value_bytes = used_bytes(node), patch_bytes;
	unsigned weight;

	node->payload = malloc(node->size_bytes);
	if (!entry || !node->payload)
		return -ENOMEM;
	/* Over zeros all counts, of what was a record only what changed can differ. */
	if (node->fresh)
		patch_bytes = patch_diff(zeros, node->value, node->size_bytes, 0, node->payload,
					 value_bytes);
	else
		patch_bytes = patch_diff(node->before + node->from, node->value + node->from,
					 node->to - node->from, node->from, node->payload, value_bytes);
	weight = node->fresh || !patch_bytes
			 ? 0 : version_patch_weight(node->weight, patch_bytes,
						    change->store->page_size_bytes);
	entry->key = node_key(map, node);
	if (patch_bytes && weight <= VERSION_WEIGHT_MAX) {
		entry->form = VERSION_PATCH;
		entry->weight = (uint8_t)weight;
		entry->body = node->payload;
		entry->body_bytes = (uint32_t)patch_bytes;
	} else {
		weight = 0;
		entry->form = VERSION_IMAGE;
		entry->body = node->value;
		entry->body_bytes = (uint32_t)value_bytes;
	}
	node->next_weight = (uint8_t)weight;
	return 0;
}

int page_map_write(struct page_map *map, struct change *change, uint64_t block_end)
{
	unsigned height = height_of(block_end);
	int err = grow(map, height);

	for (uint32_t i = 0; i < map->node_count && !err; i++) {
		struct page_map_node *node = map->nodes[i];

		if (!node->changed || node->level > height)
			continue;
		if (node->count && node->count != capacity(node->level))
			err = write_node(map, node, change);
	}
	map->height = height;
	return err;
}

/* ---- between changes ---- */

static bool has_record(const struct page_map *map, const struct page_map_node *node)
{
	if (node->level > map->height || (node->fresh && !node->changed))
		return false;
	return node->count && node->count != capacity(node->level);
}

void page_map_settle(struct page_map *map)
{
	uint32_t kept = 0, extra;

	for (uint32_t i = 0; i < map->node_count; i++) {
		struct page_map_node *node = map->nodes[i];

		if (!has_record(map, node)) {
			node_free(node);
			continue;
		}
		if (node->changed) {
			node->fresh = node->changed = false;
			node->weight = node->next_weight;
		}
		free(node->before);
		free(node->payload);
		node->before = node->payload = NULL;
		map->nodes[kept++] = node;
	}
	extra = kept > PAGE_MAP_KEPT_MAX ? kept - PAGE_MAP_KEPT_MAX : 0;
	map->node_count = 0;
	map->changed_count = 0;
	/* The leaves that came first are wanted least. */
	for (uint32_t i = 0; i < kept; i++) {
		if (extra && (!map->nodes[i]->level || kept - i <= extra)) {
			node_free(map->nodes[i]);
			extra--;
		} else {
			map->nodes[map->node_count++] = map->nodes[i];
		}
	}
}

void page_map_move_nodes(struct page_map *from, struct page_map *to)
{
	assert(!to->nodes);
	to->nodes = from->nodes;
	to->node_count = from->node_count;
	to->node_room = from->node_room;
	*from = (struct page_map){ .guard = NULL };
}
