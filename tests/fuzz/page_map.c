/*
 * Page maps, over nodes that an input makes: none makes a look-up leave its nodes or go on for ever, a
 * map that contradicts itself is refused, and whatever it is asked it says of a block one thing.
 *
 * An input is [u8 height and what is made right][u8 pages more than there are][u16 where to look] and
 * edits of 5 bytes each: u8 node, u16 where in it, u8 how, u8 value. The nodes stand for the store's:
 * the look-up of a version (engine_find, engine_load) is this file's.
 */
#include "page_map.h"

#include <errno.h>

#include "engine.h"
#include "fuzz.h"

#define MAKE_RIGHT 0x80u                /* counts, from the leaves up */
#define CHILDREN (1u << PAGE_MAP_CHILD_BITS)
#define LEAF_BLOCKS (UINT64_C(1) << PAGE_MAP_LEAF_BITS)

/* Leaves first: what is above a node comes behind it. */
static struct node {
	unsigned level;
	uint64_t index;
	bool there;                     /* it has a record */
	uint8_t value[PAGE_MAP_INNER_BYTES];
} nodes[] = {
	{ .level = 0, .index = 0 }, { .level = 0, .index = 1 }, { .level = 0, .index = 255 },
	{ .level = 0, .index = 256 }, { .level = 0, .index = 65535 },
	{ .level = 1, .index = 0 }, { .level = 1, .index = 1 }, { .level = 1, .index = 255 },
	{ .level = 2, .index = 0 }, { .level = 3, .index = 0 }, { .level = 6, .index = 0 },
};

int __wrap_engine_find(const struct layer_guard *guard, struct key key, struct lsn lsn,
		       struct version *version_out);
int __wrap_engine_load(const struct layer_guard *guard, const struct version *version, void *value,
		       size_t room_bytes, size_t *size_out);

static struct node *node_at(unsigned level, uint64_t index)
{
	for (size_t i = 0; i < array_size(nodes); i++)
		if (nodes[i].level == level && nodes[i].index == index)
			return &nodes[i];
	return NULL;
}

static struct node *node_of(struct key key)
{
	uint64_t number = key_index(key) & ((UINT64_C(1) << 48) - 1);
	struct node *node = node_at((unsigned)(key_index(key) >> 48), number);

	return node && node->there ? node : NULL;
}

int __wrap_engine_find(const struct layer_guard *guard, struct key key, struct lsn lsn,
		       struct version *version_out)
{
	(void)guard;
	require(key_kind(key) == KEY_MAP);
	*version_out = (struct version){ .key = key, .lsn = lsn, .form = VERSION_IMAGE };
	return !node_of(key);
}

int __wrap_engine_load(const struct layer_guard *guard, const struct version *version, void *value,
		       size_t room_bytes, size_t *size_out)
{
	const struct node *node = node_of(version->key);

	(void)guard;
	require(node && room_bytes == (node->level ? PAGE_MAP_INNER_BYTES : PAGE_MAP_LEAF_BYTES));
	memcpy(value, node->value, room_bytes);
	*size_out = room_bytes;
	return 0;
}

static uint64_t capacity(unsigned level)
{
	return LEAF_BLOCKS << level * PAGE_MAP_CHILD_BITS;
}

static uint64_t child_count(const struct node *node, unsigned child)
{
	struct get_cursor c = get_cursor(node->value + (size_t)child * 8, 8);

	return get_u64(&c);
}

static void child_count_set(struct node *node, unsigned child, uint64_t count)
{
	struct put_cursor c = put_cursor(node->value + (size_t)child * 8, 8);

	put_u64(&c, count);
}

static uint64_t count_of(const struct node *node)
{
	uint64_t count = 0;

	for (unsigned i = 0; node->level && i < CHILDREN; i++)
		count += child_count(node, i);
	for (unsigned i = 0; !node->level && i < PAGE_MAP_LEAF_BYTES; i++)
		count += (unsigned)__builtin_popcount(node->value[i]);
	return count;
}

static void edit(const uint8_t *at)
{
	struct node *node = &nodes[at[0] % array_size(nodes)];
	uint32_t where = at[1] | (uint32_t)at[2] << 8, size;

	node->there = true;
	if (node->level) {
		child_count_set(node, where % CHILDREN, at[3] == 255 ? capacity(node->level - 1) + at[4] - 1
								     : (uint64_t)at[4] << at[3] % 57);
		return;
	}
	where %= PAGE_MAP_LEAF_BYTES;
	size = at[3] * 8u + 1 < PAGE_MAP_LEAF_BYTES - where ? at[3] * 8u + 1 : PAGE_MAP_LEAF_BYTES - where;
	memset(node->value + where, at[4], size);
}

/* Who is above a node that has a record says what it holds. */
static void make_right(void)
{
	for (size_t i = 0; i < array_size(nodes); i++) {
		struct node *node = &nodes[i], *above = node_at(node->level + 1, node->index / CHILDREN);

		if (node->there && above) {
			above->there = true;
			child_count_set(above, node->index % CHILDREN, count_of(node));
		}
	}
}

static bool is_sound(int err)
{
	return err == 0 || err == 1 || err == -EUCLEAN;
}

/* What the nodes say of a block: 1; 0; -EUCLEAN. */
static int expect(unsigned level, uint64_t count, uint64_t block)
{
	const struct node *node;
	unsigned child;

	if (!count || block >= capacity(level))
		return 0;
	for (;; level--) {
		if (!count || count == capacity(level))
			return count != 0;
		node = node_at(level, block / capacity(level));
		if (!node || !node->there || count_of(node) != count)
			return -EUCLEAN;
		if (!level)
			return node->value[block % LEAF_BLOCKS / 8] >> block % 8 & 1;
		for (unsigned i = 0; i < CHILDREN; i++)
			if (child_count(node, i) > capacity(level - 1))
				return -EUCLEAN;
		child = (unsigned)(block / capacity(level - 1) % CHILDREN);
		count = child_count(node, child);
	}
}

static void look(struct page_map *map, uint64_t block)
{
	int there = page_map_has(map, block), err;
	uint64_t found;

	require(there == expect(map->height, map->page_count, block));
	err = page_map_next_page(map, block, &found);
	require(is_sound(err));
	if (err == 0) {
		require(found >= block && page_map_has(map, found) == 1);
		require(there < 0 || (found == block) == there);
	}
	require(err != 1 || there != 1);
	err = page_map_next_hole(map, block, &found);
	require(err <= 0 && is_sound(err));
	if (err == 0) {
		require(found >= block && page_map_has(map, found) == 0);
		require(there < 0 || (found == block) == !there);
	}
}

static void change(struct page_map *map, uint64_t block, uint64_t to)
{
	int err = page_map_set(map, block);
	uint64_t count = map->page_count, found;

	require(is_sound(err));
	if (err)
		return;
	require(page_map_has(map, block) == 1 && count);
	err = page_map_clear(map, block, to);
	require(is_sound(err));
	if (err)
		return;
	require(map->page_count < count);
	require(page_map_has(map, block) == 0);
	err = page_map_next_page(map, block, &found);
	require(is_sound(err) && (err || found >= to));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	static const struct layer_guard *no_guard;
	unsigned height;
	struct page_map map;
	uint64_t where, count, block_end;
	const struct node *root;

	if (size_bytes < 4)
		return 0;
	for (size_t i = 0; i < array_size(nodes); i++) {
		nodes[i].there = false;
		memset(nodes[i].value, 0, sizeof(nodes[i].value));
	}
	for (size_t i = 4; i + 5 <= size_bytes; i += 5)
		edit(data + i);
	if (data[0] & MAKE_RIGHT)
		make_right();
	height = data[0] % 7;
	root = node_at(height, 0);
	count = (root ? count_of(root) : capacity(height)) + data[1];
	where = data[2] | (uint64_t)data[3] << 8;
	block_end = height ? capacity(height - 1) + 1 : 1;
	page_map_begin(&map, no_guard, 18, lsn_make(1000), block_end, count);
	for (unsigned level = 0; level <= height; level++) {
		look(&map, where % CHILDREN * (capacity(level) / CHILDREN));
		look(&map, capacity(level) - 1 - where % 3);
	}
	look(&map, where);
	look(&map, where * LEAF_BLOCKS);
	change(&map, where, where + (UINT64_C(1) << data[1] % 50));
	page_map_end(&map);
	return 0;
}
