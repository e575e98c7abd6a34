/*
 * Page map: which blocks of a file hold a page. What is not in it is a hole,
 * whatever versions of the block there are below.
 *
 * A radix tree over block numbers, its nodes records of KEY_MAP. A leaf has a bit a
 * block, an inner node counts what lies below each child; how many pages there are
 * in all is an attribute, and the height follows from the attribute block_end. Who
 * reads a node knows its count from above:
 *
 *   count 0            no record is looked at: nothing lies below
 *   count = capacity   no record is looked at: every block below is there
 *   else               the newest record holds exactly that many
 *
 * So a range is emptied by setting the counts of the nodes that it covers to 0: a few
 * bytes for any number of pages, which stay where they are until nobody can see
 * them. What is written there later begins anew and leans on nothing below. How many
 * pages a file has is always known, and the next page or hole is found by one way down.
 *
 * A page map lives while its guard is held. One thread.
 */
#ifndef VARVE_STORE_PAGE_MAP_H
#define VARVE_STORE_PAGE_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "lsn.h"

struct change;
struct layer_guard;

#define PAGE_MAP_LEAF_BITS 13u
#define PAGE_MAP_CHILD_BITS 8u
#define PAGE_MAP_LEAF_BYTES (1u << PAGE_MAP_LEAF_BITS >> 3)
#define PAGE_MAP_INNER_BYTES (8u << PAGE_MAP_CHILD_BITS)

struct page_map_node;

struct page_map {
	const struct layer_guard *guard;
	uint64_t ino;
	struct lsn lsn;
	unsigned height;                /* level of the root; leaves have 0 */
	uint64_t page_count;
	struct page_map_node **nodes;   /* those that were looked at; owned */
	uint32_t node_count, node_room;
	uint32_t changed_count;         /* of them */
};

/* The map of mapped file @ino, of which the attributes at @lsn have @block_end and @page_count. Cannot fail. */
void page_map_begin(struct page_map *map, const struct layer_guard *guard, uint64_t ino, struct lsn lsn,
		    uint64_t block_end, uint64_t page_count);
void page_map_end(struct page_map *map);        /* one of zeros is ignored */

/* Does @block hold a page? 1; 0; -EUCLEAN: the map contradicts itself; -errno. */
int page_map_has(struct page_map *map, uint64_t block);

/* The first block from @block on that holds a page. 0; 1: there is none; -errno. */
int page_map_next_page(struct page_map *map, uint64_t block, uint64_t *block_out);
/* The first that holds none. 0; -errno. */
int page_map_next_hole(struct page_map *map, uint64_t block, uint64_t *block_out);

/* @block holds a page, from this change on. 0; -errno. */
int page_map_set(struct page_map *map, uint64_t block);
/* The blocks [@from, @to) hold none; map->page_count falls. 0; -errno. */
int page_map_clear(struct page_map *map, uint64_t from, uint64_t to);

/* Add what changed to @change, whose file will end at @block_end. The map must live until
 * it is committed. 0; -errno. */
int page_map_write(struct page_map *map, struct change *change, uint64_t block_end);

/* ---- for page_map_cache.h ---- */

#define PAGE_MAP_KEPT_MAX 4u

/* The change is committed: nodes that have a record now stay, up to PAGE_MAP_KEPT_MAX of them. */
void page_map_settle(struct page_map *map);
/* The nodes of @from become those of @to, which has none yet. */
void page_map_move_nodes(struct page_map *from, struct page_map *to);

#endif
