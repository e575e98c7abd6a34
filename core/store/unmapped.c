#include "unmapped.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "engine.h"
#include "floors.h"

#define STRETCH_BLOCKS 256u     /* looked up at a time */

/* Stretches of blocks in which there is a version of a page, ascending. */
struct stretches {
	uint64_t *numbers;
	size_t count, room;
};

static size_t place_of(const struct stretches *stretches, uint64_t number)
{
	size_t low = 0, high = stretches->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (stretches->numbers[middle] < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int note_version(void *context, const struct version *version)
{
	struct stretches *stretches = context;
	uint64_t number = key_index(version->key) / STRETCH_BLOCKS;
	size_t at;

	if (key_kind(version->key) != KEY_PAGE)
		return 0;
	at = place_of(stretches, number);
	if (at < stretches->count && stretches->numbers[at] == number)
		return 0;
	if (stretches->count == stretches->room) {
		size_t room = stretches->room ? 2 * stretches->room : 64;
		uint64_t *numbers = realloc(stretches->numbers, room * sizeof(*numbers));

		if (!numbers)
			return -ENOMEM;
		stretches->numbers = numbers;
		stretches->room = room;
	}
	memmove(stretches->numbers + at + 1, stretches->numbers + at,
		(stretches->count - at) * sizeof(uint64_t));
	stretches->numbers[at] = number;
	stretches->count++;
	return 0;
}

static int gather_stretch(const struct attr *attr, const struct floors *floors, uint64_t first,
			  struct page_map *map)
{
	struct version versions[STRETCH_BLOCKS];
	int err = engine_find_pages(map->guard, map->ino, first, STRETCH_BLOCKS, map->lsn, versions);

	for (uint32_t i = 0; i < STRETCH_BLOCKS && first + i < attr->block_end && !err; i++)
		if (versions[i].form && versions[i].form != VERSION_TOMBSTONE &&
		    versions[i].lsn.value > floors_at(floors, first + i).value)
			err = page_map_set(map, first + i);
	return err;
}

int unmapped_gather(const struct attr *attr, struct page_map *map)
{
	struct stretches stretches = { NULL, 0, 0 };
	struct floors floors = { NULL, 0 };
	int err = 0;

	map->page_count = 0;
	if (!attr->block_end)
		return 0;
	if (attr->flags & ATTR_HAS_FLOORS)
		err = floors_load(map->guard, map->ino, map->lsn, &floors);
	if (!err)
		err = engine_each_version(map->guard, map->ino, note_version, &stretches);
	for (size_t i = 0; i < stretches.count && !err; i++)
		err = gather_stretch(attr, &floors, stretches.numbers[i] * STRETCH_BLOCKS, map);
	floors_free(&floors);
	free(stretches.numbers);
	return err;
}
